//! Gauges of the worst live sessions (DESIGN 4), written by hand: labels are rendered once a stream, not once a
//! scrape, so that 100,000 series take a few milliseconds.
//!
//! ```text
//! Live -> the `sessions_max` worst by MOS, then by loss -> one Session each (kept from scrape to scrape)
//!      -> voip_rtp_session_mos{call_id="6ae1c030ffdd2da1",direction="to_callee",codec="PCMU"} 3.12
//! ```
//!
//! A Call-ID may tell who calls, so the label is a hash of it (MEAS 8.2): the first half of the trace id. Where two
//! streams would have the same labels (the same media on two hops, a fork, streams without a call), the worst is
//! served.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::event::{Live, LiveStream};
use crate::export::trace_id::TraceId;

use super::family::Declare;
use super::media;
use super::protobuf;

/// The worst sessions at the last snapshot.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Worst first.
    worst: Vec<Session>,
}

#[derive(Debug)]
struct Session {
    serial: u32,
    labels: Box<Labels>,
    loss_ratio: Option<f64>,
    jitter: Option<f64>,
    mos: Option<f64>,
}

/// Labels of a stream, and what they were made of.
#[derive(Debug)]
struct Labels {
    call_id: Option<String>,
    call: String,
    direction: &'static str,
    codec: &'static str,
    /// As they stand in both text formats, braces included.
    text: String,
}

impl Sessions {
    /// Names the families; they are not in the registry.
    pub(super) fn declare(on: &mut Declare) -> Self {
        for family in FAMILIES {
            on.list(family.name.to_owned(), "gauge", KEYS, family.help);
        }
        Self::default()
    }

    /// Takes the `most` worst streams; those that have ended are forgotten.
    pub(super) fn set(&mut self, live: &Live, most: usize) {
        let mut known: HashMap<u32, Box<Labels>, RandomState> =
            self.worst.drain(..).map(|session| (session.serial, session.labels)).collect();
        // What is compared stands together: the streams themselves are far apart in memory.
        let mut streams: Vec<(f64, f64, &LiveStream)> = live
            .streams
            .iter()
            .filter(|stream| measured(stream))
            .map(|stream| (stream.mos.unwrap_or(f64::INFINITY), stream.loss_ratio().unwrap_or(0.0), stream))
            .collect();
        streams.sort_unstable_by(|(mos, loss, stream), (other_mos, other_loss, other)| {
            let by_quality = mos.total_cmp(other_mos).then_with(|| other_loss.total_cmp(loss));
            by_quality.then_with(|| stream.serial.cmp(&other.serial))
        });
        let mut taken = HashSet::with_capacity_and_hasher(most.min(streams.len()), RandomState::default());
        for (_, _, stream) in streams {
            if self.worst.len() == most {
                break;
            }
            if !taken.insert((stream.call, stream.direction, stream.codec)) {
                continue;
            }
            let call = stream.call.and_then(|place| live.calls.get(place as usize));
            let call_id = call.map(|call| call.call_id.as_str());
            let (direction, codec) = (media::direction(stream.direction), media::codec(stream.codec));
            let labels = known
                .remove(&stream.serial)
                .filter(|labels| labels.are_of(call_id, direction, codec))
                .unwrap_or_else(|| Box::new(Labels::new(call_id, direction, codec)));
            self.worst.push(Session {
                serial: stream.serial,
                labels,
                loss_ratio: stream.loss_ratio(),
                jitter: stream.jitter,
                mos: stream.mos,
            });
        }
    }

    /// Appends the families in the text form, which is the same in OpenMetrics and in classic text.
    pub(super) fn write_text(&self, out: &mut Vec<u8>) {
        let mut number = zmij::Buffer::new();
        for family in FAMILIES {
            let mut samples = self.samples(family).peekable();
            if samples.peek().is_none() {
                continue;
            }
            let head = ["# HELP ", family.name, " ", family.help, ".\n# TYPE ", family.name, " gauge\n"];
            out.extend_from_slice(head.concat().as_bytes());
            for (labels, value) in samples {
                out.extend_from_slice(family.name.as_bytes());
                out.extend_from_slice(labels.text.as_bytes());
                out.push(b' ');
                out.extend_from_slice(number.format_finite(value).as_bytes());
                out.push(b'\n');
            }
        }
    }

    /// Appends the families as delimited protobuf messages.
    pub(super) fn write_protobuf(&self, out: &mut Vec<u8>) {
        for family in FAMILIES {
            let samples = self.samples(family).map(|(labels, value)| {
                let [call, direction, codec] = KEYS;
                let labels =
                    [(*call, labels.call.as_str()), (*direction, labels.direction), (*codec, labels.codec)];
                (labels, value)
            });
            protobuf::gauges(out, family.name, family.help, samples);
        }
    }

    fn samples(&self, family: &Family) -> impl Iterator<Item = (&Labels, f64)> + use<'_> {
        let value = family.value;
        self.worst.iter().filter_map(move |session| {
            let value = value(session).filter(|value| value.is_finite())?;
            Some((&*session.labels, value))
        })
    }
}

/// There is something to show of it.
fn measured(stream: &LiveStream) -> bool {
    stream.mos.is_some() || stream.counts.expected > 0
}

impl Labels {
    fn new(call_id: Option<&str>, direction: &'static str, codec: &'static str) -> Self {
        let call = call_id.map_or_else(String::new, |id| TraceId::of_call_id(id).short());
        // Hex digits and names of closed sets: nothing to escape.
        let text = format!("{{call_id=\"{call}\",direction=\"{direction}\",codec=\"{codec}\"}}");
        Self { call_id: call_id.map(str::to_owned), call, direction, codec, text }
    }

    /// A stream may be heard before its call is known, and change its codec.
    fn are_of(&self, call_id: Option<&str>, direction: &str, codec: &str) -> bool {
        self.call_id.as_deref() == call_id && self.direction == direction && self.codec == codec
    }
}

struct Family {
    name: &'static str,
    help: &'static str,
    value: fn(&Session) -> Option<f64>,
}

const FAMILIES: &[Family; 3] = &[
    Family {
        name: "voip_rtp_packet_loss_ratio",
        help: "Share of packets lost so far in each of the worst live streams; call_id is a hash",
        value: |session| session.loss_ratio,
    },
    Family {
        name: "voip_rtp_session_jitter_seconds",
        help: "Interarrival jitter (RFC 3550) now in each of the worst live streams; call_id is a hash",
        value: |session| session.jitter,
    },
    Family {
        name: "voip_rtp_session_mos",
        help: "Estimated MOS (E-model) so far of each of the worst live streams; call_id is a hash",
        value: |session| session.mos,
    },
];
const KEYS: &[&str; 3] = &["call_id", "direction", "codec"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Direction;
    use crate::export::samples;
    use crate::rtp::payload::Codec;

    fn stream(serial: u32, mos: Option<f64>, lost: u64) -> LiveStream {
        let mut stream = samples::live().streams.remove(0);
        stream.serial = serial;
        stream.call = None;
        stream.mos = mos;
        stream.counts.lost = lost;
        stream
    }

    fn text(sessions: &Sessions) -> String {
        let mut out = Vec::new();
        sessions.write_text(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn serials(sessions: &Sessions) -> Vec<u32> {
        sessions.worst.iter().map(|session| session.serial).collect()
    }

    #[test]
    fn the_worst_are_served_by_mos_then_by_loss() {
        let mut live = samples::live();
        let codecs = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::G7221];
        live.streams =
            vec![stream(1, Some(4.3), 0), stream(2, Some(2.0), 9), stream(3, None, 40), stream(4, None, 50)];
        live.streams.iter_mut().zip(codecs).for_each(|(stream, codec)| stream.codec = codec);
        let mut sessions = Sessions::default();
        sessions.set(&live, 3);
        assert_eq!(serials(&sessions), [2, 1, 4]);
    }

    #[test]
    fn of_two_with_the_same_labels_the_worst_is_served() {
        let mut live = samples::live();
        live.streams = vec![stream(1, Some(4.3), 0), stream(2, Some(3.9), 9)];
        let mut sessions = Sessions::default();
        sessions.set(&live, 200);
        assert_eq!(serials(&sessions), [2]);
    }

    #[test]
    fn a_series_ends_with_its_stream() {
        let mut live = samples::live();
        let mut sessions = Sessions::default();
        sessions.set(&live, 200);
        let name =
            "voip_rtp_session_mos{call_id=\"6ae1c030ffdd2da1\",direction=\"to_callee\",codec=\"PCMU\"} ";
        assert!(text(&sessions).contains(name), "{}", text(&sessions));
        live.streams.clear();
        sessions.set(&live, 200);
        assert_eq!(text(&sessions), "");
    }

    #[test]
    fn labels_follow_what_becomes_known_of_a_stream() {
        let mut live = samples::live();
        let mut sessions = Sessions::default();
        sessions.set(&live, 200);
        live.streams[0].direction = Some(Direction::ToCaller);
        live.calls[0].call_id = "1".into();
        sessions.set(&live, 200);
        let expected = "{call_id=\"d1d75e0e14cd0680\",direction=\"to_caller\",codec=\"PCMU\"}";
        assert!(text(&sessions).contains(expected), "{}", text(&sessions));
    }

    #[test]
    fn what_is_not_measured_is_absent() {
        let mut live = samples::live();
        live.streams[0].mos = None;
        live.streams[0].jitter = Some(f64::NAN);
        let mut sessions = Sessions::default();
        sessions.set(&live, 200);
        let text = text(&sessions);
        assert!(text.contains("voip_rtp_packet_loss_ratio{") && !text.contains("_mos"), "{text}");
        assert!(!text.contains("jitter"), "{text}");
    }
}
