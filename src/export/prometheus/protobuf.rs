//! Gauges as one delimited `io.prometheus.client.MetricFamily` message, written by hand: prometheus-client builds
//! a tree of owned strings first.
//!
//! ```text
//! MetricFamily { 1 name, 2 help, 3 type = 1 GAUGE, 4 metric* }
//! Metric       { 1 label*, 2 gauge }     LabelPair { 1 name, 2 value }     Gauge { 1 value, a double }
//! ```

/// Appends the family; nothing when it has no sample.
pub(super) fn gauges<'a, const N: usize>(
    out: &mut Vec<u8>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = ([(&'a str, &'a str); N], f64)>,
) {
    let mut metrics = Vec::new();
    let mut metric = Vec::new();
    for (labels, value) in samples {
        metric.clear();
        for (key, value) in labels {
            metric.push(tag(1, LEN));
            varint(&mut metric, field_len(key.len()) + field_len(value.len()));
            bytes(&mut metric, 1, key.as_bytes());
            bytes(&mut metric, 2, value.as_bytes());
        }
        metric.extend_from_slice(&[tag(2, LEN), 9, tag(1, I64)]);
        metric.extend_from_slice(&value.to_le_bytes());
        bytes(&mut metrics, 4, &metric);
    }
    if metrics.is_empty() {
        return;
    }
    // prometheus-client ends each help with a full stop.
    let help_len = help.len() + 1;
    varint(out, field_len(name.len()) + field_len(help_len) + 2 + metrics.len());
    bytes(out, 1, name.as_bytes());
    out.push(tag(2, LEN));
    varint(out, help_len);
    out.extend_from_slice(help.as_bytes());
    out.push(b'.');
    out.extend_from_slice(&[tag(3, VARINT), GAUGE]);
    out.extend_from_slice(&metrics);
}

fn bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    out.push(tag(field, LEN));
    varint(out, content.len());
    out.extend_from_slice(content);
}

/// Bytes of a field of so many bytes, its tag and length included. Field numbers here are below 16.
fn field_len(content: usize) -> usize {
    let mut len = 2 + content;
    let mut rest = content >> 7;
    while rest > 0 {
        len += 1;
        rest >>= 7;
    }
    len
}

fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

const fn tag(field: u8, wire_type: u8) -> u8 {
    (field << 3) | wire_type
}

const VARINT: u8 = 0;
const I64: u8 = 1;
const LEN: u8 = 2;
/// `MetricType.GAUGE`.
const GAUGE: u8 = 1;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use prometheus_client::encoding::prometheus_protobuf;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn it_writes_what_prometheus_client_writes() {
        let long = "x".repeat(300);
        let labels = [("call_id", "6ae1c030ffdd2da1"), ("codec", long.as_str())];
        let family = Family::<[(&'static str, String); 2], Gauge<f64, AtomicU64>>::default();
        family.get_or_create(&labels.map(|(key, value)| (key, value.to_owned()))).set(3.25);
        let mut registry = Registry::default();
        registry.register("voip_rtp_session_mos", "MOS", family);
        let mut written = Vec::new();
        gauges(&mut written, "voip_rtp_session_mos", "MOS", [(labels, 3.25)].into_iter());
        assert_eq!(written, prometheus_protobuf::encode_to_vec(&registry).unwrap());
    }

    #[test]
    fn a_family_without_a_sample_is_not_written() {
        let mut written = Vec::new();
        gauges::<1>(&mut written, "a", "b", std::iter::empty());
        assert!(written.is_empty());
    }
}
