//! Exemplars: which call was a bad one that a bucket or a counter has counted (MEAS 8.4).
//!
//! ```text
//! voip_rtp_mos_bucket{le="3.1",codec="PCMU",...} 7 # {trace_id="6ae1...",span_id="acc4..."} 2.87 1795258549.000
//! ```
//!
//! OpenMetrics and protobuf have them. They are kept beside the families and put behind their samples when these are
//! written: prometheus-client's own cannot be had together with native buckets. The newest wins, at most one a
//! second and sample.
//!
//! Where calls are told as traces, an exemplar is one of a call whose trace is sent, so that it leads somewhere; that
//! is known when the call is over, and what its streams would show waits until then. Where they are not, it is one of
//! a call that was a bad one.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{LabelPair, MetricFamily};
use prost::Message;

use crate::Stamp;
use crate::event::{Band, Call, Direction, Mos, Stream, Window};
use crate::export::trace_id::TraceId;
use crate::rtp::payload::Codec;
use crate::trace::{Sampling, Verdict};

use super::family::{Counters, Histograms, Labels};

/// The exemplar of each sample that has one; no more of them than there are samples.
#[derive(Debug, Default)]
pub(super) struct Exemplars {
    /// By the sample as it is written, up to its value.
    of: HashMap<String, Exemplar>,
    /// What streams would show, by the number of the stream.
    waiting: BTreeMap<u32, Candidate>,
    /// Which calls are told; `None` where none are.
    pub(super) sampling: Option<Sampling>,
}

#[derive(Debug)]
struct Exemplar {
    at: Stamp,
    trace: TraceId,
    value: f64,
}

/// What a stream would show if its call is told.
#[derive(Debug, Default)]
pub(super) struct Candidate {
    /// Window with the largest share of lost packets.
    pub(super) loss: Option<Window>,
    /// Window with the largest jitter.
    pub(super) jitter: Option<Window>,
    /// Window with the lowest MOS.
    pub(super) mos: Option<Window>,
    /// The stream as a whole.
    pub(super) whole: Option<Whole>,
}

/// What a stream was rated as, when it was over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) mos: Mos,
    pub(super) codec: Codec,
    pub(super) direction: Option<Direction>,
    pub(super) band: Band,
    pub(super) last: Stamp,
}

/// The trace that exemplars of a call lead to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lead {
    pub(super) trace: TraceId,
    /// The trace is sent: whatever the call shows may be an exemplar, not only what is bad.
    pub(super) is_told: bool,
}

impl Exemplars {
    /// Where exemplars of a call that is over would lead; `None` = nowhere.
    pub(super) fn lead(&self, call: &Call) -> Option<Lead> {
        let trace = trace(call);
        match &self.sampling {
            None => Some(Lead { trace, is_told: false }),
            Some(sampling) if sampling.of_call(trace, call) == Verdict::PassedOver => None,
            Some(_) => Some(Lead { trace, is_told: true }),
        }
    }

    /// Takes a window that can be trusted.
    pub(super) fn window(&mut self, window: &Window) {
        if !window.tainted && window.expected > 0 {
            self.entry(window.stream).take(window);
        }
    }

    /// A stream that is over; without a call it has no trace.
    pub(super) fn stream(&mut self, stream: &Stream) {
        if stream.call_id.is_none() {
            self.candidate(&stream.id);
        } else if let (Some(serial), Some(mos), Some(band)) = (serial(&stream.id), stream.mos, stream.band) {
            let Stream { codec, direction, last, .. } = *stream;
            self.entry(serial).whole = Some(Whole { mos, codec, direction, band, last });
        }
    }

    fn entry(&mut self, stream: u32) -> &mut Candidate {
        if self.waiting.len() >= MAX_WAITING && !self.waiting.contains_key(&stream) {
            self.waiting.pop_first();
        }
        self.waiting.entry(stream).or_default()
    }

    /// What a stream would show; asked for once.
    pub(super) fn candidate(&mut self, stream: &str) -> Option<Candidate> {
        self.waiting.remove(&serial(stream)?)
    }

    /// Keeps one for the bucket that an observation went to; `labels` are those it was counted under.
    pub(super) fn observed<const N: usize>(
        &mut self,
        histogram: &Histograms<N>,
        labels: &Labels<N>,
        trace: TraceId,
        value: f64,
        at: Stamp,
    ) {
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
        // The second test is for a clock that was set back.
        let is_soon = |kept: &Exemplar| (0..APART_NANOS).contains(&at.nanos_since(kept.at));
        if value.is_finite() && !self.of.get(&sample).is_some_and(is_soon) {
            self.of.insert(sample, Exemplar { at, trace, value });
        }
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
                exemplar.write(&mut with);
            }
            with.push('\n');
        }
        with
    }

    /// The same protobuf families with the exemplars in their buckets.
    pub(super) fn put_into_protobuf(&self, families: Vec<u8>) -> Vec<u8> {
        if self.of.is_empty() {
            return families;
        }
        let mut with = Vec::with_capacity(families.len() + 120 * self.of.len());
        let mut rest = families.as_slice();
        while !rest.is_empty() {
            let before = rest;
            let Ok(mut family) = MetricFamily::decode_length_delimited(&mut rest) else {
                // What is not understood goes on as it is.
                with.extend_from_slice(before);
                break;
            };
            if self.put_into_family(&mut family) {
                with.extend_from_slice(&family.encode_length_delimited_to_vec());
            } else {
                with.extend_from_slice(before.get(..before.len() - rest.len()).unwrap_or_default());
            }
        }
        with
    }

    fn put_into_family(&self, family: &mut MetricFamily) -> bool {
        let mut any = false;
        let name = family.name.clone();
        for metric in &mut family.metric {
            let labels = |pairs: &[LabelPair]| -> Vec<(String, String)> {
                pairs.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect()
            };
            let pairs = labels(&metric.label);
            for bucket in metric.histogram.iter_mut().flat_map(|histogram| &mut histogram.bucket) {
                let mut number = zmij::Buffer::new();
                let bound = bucket.upper_bound;
                let bound = if bound.is_finite() { number.format_finite(bound) } else { "+Inf" };
                let all = std::iter::once(("le", bound))
                    .chain(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
                let Some(exemplar) = self.of.get(&sample(&name, "_bucket", all)) else { continue };
                let told = bucket.exemplar.get_or_insert_default();
                told.value = exemplar.value;
                let time = told.timestamp.get_or_insert_default();
                time.seconds = (exemplar.at.0 / 1_000_000_000) as i64;
                time.nanos = (exemplar.at.0 % 1_000_000_000) as i32;
                let span = exemplar.trace.call_span().to_string();
                told.label = [("trace_id", exemplar.trace.to_string()), ("span_id", span)]
                    .map(|(key, value)| LabelPair { name: key.to_owned(), value })
                    .into();
                any = true;
            }
        }
        any
    }
}

impl Exemplar {
    fn write(&self, text: &mut String) {
        let (seconds, millis) = (self.at.0 / 1_000_000_000, self.at.0 / 1_000_000 % 1000);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {seconds}.{millis:03}",
            self.trace,
            self.trace.call_span(),
            zmij::Buffer::new().format_finite(self.value)
        );
    }
}

impl Candidate {
    fn take(&mut self, window: &Window) {
        let share = |window: &Window| f64::from(window.lost) / f64::from(window.expected.max(1));
        if self.loss.as_ref().is_none_or(|worst| share(window) > share(worst)) {
            self.loss = Some(*window);
        }
        if window.jitter.is_some() && self.jitter.as_ref().is_none_or(|worst| window.jitter > worst.jitter) {
            self.jitter = Some(*window);
        }
        if self.mos.as_ref().is_none_or(|worst| window.mos_lq < worst.mos_lq) {
            self.mos = Some(*window);
        }
    }
}

fn serial(id: &str) -> Option<u32> {
    id.strip_prefix('s')?.parse().ok()
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
/// Streams whose call is not over.
const MAX_WAITING: usize = 65_536;

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
            exemplars.observed(&histogram, &labels.unwrap(), trace, value, at);
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
