//! The request that Loki takes at `/loki/api/v1/push`: protobuf (`logproto.PushRequest`) in one block of snappy.
//!
//! ```text
//! PushRequest { 1 streams* }     Stream { 1 labels = {a="b"}, 2 entries* }
//! Entry { 1 timestamp { 1 seconds, 2 nanos }, 2 line, 3 structured metadata* }     Pair { 1 name, 2 value }
//! ```

use std::collections::HashMap;
use std::fmt::Write;

use foldhash::fast::RandomState;
use prost::Message;

use super::spool::Kept;

/// Everything that is sent at once.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Request {
    /// Each stream once, in the order of their first lines.
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<Stream>,
}

/// Lines with the same labels.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Stream {
    /// `{job="sidetone",stream="audit"}`
    #[prost(string, tag = "1")]
    pub labels: String,
    /// In order.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<Entry>,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// When.
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    /// The line without its end.
    #[prost(string, tag = "2")]
    pub line: String,
    /// Structured metadata.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<Pair>,
}

/// `google.protobuf.Timestamp`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Since the epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Of the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// One piece of structured metadata.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Pair {
    /// `call_id`
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Request {
    /// Sorts lines by stream; inside a stream they stay in order.
    pub fn of(lines: Vec<Kept>) -> Self {
        let mut streams: Vec<Stream> = Vec::new();
        let mut places: HashMap<String, usize, RandomState> = HashMap::default();
        for Kept { stream, nanos, line, metadata } in lines {
            let timestamp =
                Timestamp { seconds: (nanos / 1_000_000_000) as i64, nanos: (nanos % 1_000_000_000) as i32 };
            let place = *places.entry(stream).or_insert_with_key(|labels| {
                streams.push(Stream { labels: labels.clone(), entries: Vec::new() });
                streams.len() - 1
            });
            if let Some(stream) = streams.get_mut(place) {
                stream.entries.push(Entry { timestamp: Some(timestamp), line, metadata });
            }
        }
        Self { streams }
    }

    /// As it goes over the wire.
    pub fn compressed(&self) -> Result<Vec<u8>, snap::Error> {
        snap::raw::Encoder::new().compress_vec(&self.encode_to_vec())
    }
}

/// Labels as Loki reads them: sorted by name, values in quotes.
pub fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    pairs.sort_unstable();
    pairs.dedup_by_key(|(name, _)| *name);
    let mut text = String::from("{");
    for (at, (name, value)) in pairs.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail. Rust escapes what a Go string literal wants escaped, but for the
        // rarest characters, which it writes another way: those are left out.
        let value: String = value.chars().filter(|letter| !letter.is_control()).collect();
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text.push('}');
    text
}

/// Whether Loki takes this as the name of a label.
pub fn is_label_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !name.starts_with("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(stream: &str, nanos: u64, line: &str) -> Kept {
        Kept { stream: stream.into(), nanos, line: line.into(), metadata: Vec::new() }
    }

    #[test]
    fn lines_are_sorted_by_stream_and_stay_in_order() {
        let request = Request::of(vec![kept("{b}", 1, "1"), kept("{a}", 2, "2"), kept("{b}", 3, "3")]);
        let told: Vec<_> = request
            .streams
            .iter()
            .map(|stream| {
                let lines: Vec<_> = stream.entries.iter().map(|entry| entry.line.as_str()).collect();
                (stream.labels.as_str(), lines.concat())
            })
            .collect();
        assert_eq!(told, [("{b}", "13".to_owned()), ("{a}", "2".to_owned())]);
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut line = kept("{a=\"b\"}", 3_000_000_005, "x");
        line.metadata.push(Pair { name: "n".into(), value: "v".into() });
        let request = Request::of(vec![line]);
        // By hand: tag and length of streams, labels, entries, timestamp, seconds, nanos, line, metadata.
        let expected =
            b"\x0a\x1c\x0a\x07{a=\"b\"}\x12\x11\x0a\x04\x08\x03\x10\x05\x12\x01x\x1a\x06\x0a\x01n\x12\x01v";
        assert_eq!(request.encode_to_vec(), expected);
        let packed = request.compressed().unwrap();
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&packed).unwrap(), expected);
    }

    #[test]
    fn labels_are_sorted_quoted_and_never_empty() {
        let text = labels([("stream", "audit"), ("host", "a\"b\\c\n"), ("tenant", ""), ("job", "sidetone")]);
        assert_eq!(text, r#"{host="a\"b\\c",job="sidetone",stream="audit"}"#);
    }

    #[test]
    fn names_of_labels_are_checked() {
        assert!(is_label_name("_a1") && is_label_name("job"));
        for name in ["", "1a", "a-b", "a.b", "__name", "ä"] {
            assert!(!is_label_name(name), "{name}");
        }
    }
}
