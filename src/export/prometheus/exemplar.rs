//! Exemplars: which call was a bad one that a bucket or a counter has counted (MEAS 8.4).
//!
//! ```text
//! voip_rtp_mos_bucket{le="3.1",codec="PCMU",...} 7 # {trace_id="6ae1...",span_id="acc4..."} 2.87 1795258549.000
//! ```
//!
//! Only OpenMetrics has them. They are kept beside the families and put behind their samples when these are
//! written: prometheus-client's own cannot be had together with native buckets. The newest wins, at most one a
//! second and sample.

use std::collections::HashMap;
use std::fmt::Write;

use crate::Stamp;
use crate::event::Call;
use crate::export::trace_id::TraceId;

use super::family::{Counters, Histograms, Labels};

/// The exemplar of each sample that has one; no more of them than there are samples.
#[derive(Debug, Default)]
pub(super) struct Exemplars {
    /// By the sample as it is written, up to its value.
    of: HashMap<String, Exemplar>,
}

#[derive(Debug)]
struct Exemplar {
    at: Stamp,
    text: String,
}

impl Exemplars {
    /// Keeps one for the bucket that an observation went to; `labels` are those it was counted under.
    pub(super) fn observed<const N: usize>(
        &mut self,
        histogram: &Histograms<N>,
        labels: Option<&Labels<N>>,
        trace: TraceId,
        value: f64,
        at: Stamp,
    ) {
        let Some(labels) = labels else { return };
        let bound = histogram.bucket(value);
        let mut number = zmij::Buffer::new();
        let bound = if bound.is_finite() { number.format_finite(bound) } else { "+Inf" };
        let labels =
            std::iter::once(("le", bound)).chain(labels.iter().map(|(key, value)| (*key, value.as_ref())));
        self.keep(sample(histogram.name, "_bucket", labels), trace, value, at);
    }

    /// Keeps one for a counter that rose by one.
    pub(super) fn counted<const N: usize>(
        &mut self,
        counter: &Counters<N>,
        labels: Option<&Labels<N>>,
        trace: TraceId,
        at: Stamp,
    ) {
        let Some(labels) = labels else { return };
        let labels = labels.iter().map(|(key, value)| (*key, value.as_ref()));
        self.keep(sample(counter.name, "_total", labels), trace, 1.0, at);
    }

    fn keep(&mut self, sample: String, trace: TraceId, value: f64, at: Stamp) {
        if self.of.get(&sample).is_some_and(|kept| at.nanos_since(kept.at) < APART_NANOS) {
            return;
        }
        let mut text = String::new();
        let (seconds, millis) = (at.0 / 1_000_000_000, at.0 / 1_000_000 % 1000);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            " # {{trace_id=\"{trace}\",span_id=\"{}\"}} {} {seconds}.{millis:03}",
            trace.call_span(),
            zmij::Buffer::new().format_finite(value)
        );
        self.of.insert(sample, Exemplar { at, text });
    }

    /// The same OpenMetrics text with the exemplars behind their samples.
    pub(super) fn put_into(&self, openmetrics: String) -> String {
        if self.of.is_empty() {
            return openmetrics;
        }
        let mut with = String::with_capacity(openmetrics.len() + 160 * self.of.len());
        for line in openmetrics.lines() {
            with.push_str(line);
            let sample = line.rsplit_once(' ').map_or(line, |(sample, _)| sample);
            if let Some(exemplar) = self.of.get(sample) {
                with.push_str(&exemplar.text);
            }
            with.push('\n');
        }
        with
    }
}

/// The trace of a call: the one its INVITE brought, else the one made of its Call-ID (DESIGN 8).
pub(super) fn trace(call: &Call) -> TraceId {
    let brought = call.traceparent.as_deref().and_then(TraceId::of_traceparent);
    brought.unwrap_or_else(|| TraceId::of_call_id(&call.call_id))
}

/// A sample as prometheus-client writes it, up to its value.
fn sample<'a>(name: &str, suffix: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut sample = format!("{name}{suffix}");
    let mut before = '{';
    for (key, value) in labels {
        sample.push(before);
        before = ',';
        sample.push_str(key);
        sample.push_str("=\"");
        for letter in value.chars() {
            match letter {
                '\\' => sample.push_str("\\\\"),
                '"' => sample.push_str("\\\""),
                '\n' => sample.push_str("\\n"),
                other => sample.push(other),
            }
        }
        sample.push('"');
    }
    sample.push('}');
    sample
}

const APART_NANOS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::super::family::Declare;
    use super::*;

    #[test]
    fn the_newest_wins_but_not_within_a_second() {
        let mut declare = Declare::new(10);
        let histogram = declare.histogram("delay_seconds", &["route"], &[1.0, 2.5], "Delay");
        let mut exemplars = Exemplars::default();
        let trace = TraceId::of_call_id("1");
        let start = Stamp(1_795_258_486_000_000_000);
        for (value, after) in [(2.0, 0), (2.25, 900), (2.5, 1_000), (9.0, 1_100)] {
            let labels = histogram.observe(["a \"b\"".into()], Some(value));
            let at = start.plus_nanos(after * 1_000_000);
            exemplars.observed(&histogram, labels.as_ref(), trace, value, at);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &declare.registry).unwrap();
        let text = exemplars.put_into(text);
        let of = |value: &str, at: &str| {
            format!(" # {{trace_id=\"{trace}\",span_id=\"{}\"}} {value} {at}\n", trace.call_span())
        };
        let bucket = "delay_seconds_bucket{le=\"2.5\",route=\"a \\\"b\\\"\"} 3";
        assert!(text.contains(&format!("{bucket}{}", of("2.5", "1795258487.000"))), "{text}");
        let last = "delay_seconds_bucket{le=\"+Inf\",route=\"a \\\"b\\\"\"} 4";
        assert!(text.contains(&format!("{last}{}", of("9.0", "1795258487.100"))), "{text}");
        assert_eq!(text.matches(" # {").count(), 2);
    }
}
