//! One line: a JSON object that is written straight into its buffer, with the places of what is personal in it.
//!
//! ```text
//! {"timestamp":"2026-11-21T10:54:46.000000001Z","log":"application","level":"info","call_id":"a84b4c76@pc33",
//!  "component":"call","message":"call answered","metadata":{"setup":1.2,...},"trace_id":"6ae1..."}
//! ```
//!
//! The buffer lacks its last brace: an audit line goes on with its number and the hash of the line before.

use std::io::Write;

use serde::Serialize;

use super::privacy::{Kind, Personal, Policy};
use super::{Level, Stream};
use crate::Stamp;
use crate::export::trace_id::TraceId;

/// A line that is ready to be put out, by the policy of each output.
#[derive(Clone)]
pub struct Line {
    /// Which log it belongs to.
    pub stream: Stream,
    /// How much it matters.
    pub level: Level,
    /// When it was made.
    pub at: Stamp,
    /// Which part of the agent speaks: a closed set.
    pub component: &'static str,
    /// What it is about, as far as that limits the rate: the same for all lines of a kind.
    pub cause: &'static str,
    text: Vec<u8>,
    personal: Vec<Span>,
    call_id: Option<Range>,
    request_id: Option<Range>,
    trace_id: Option<TraceId>,
    is_first: bool,
}

#[derive(Clone, Copy)]
struct Span {
    kind: Kind,
    at: Range,
}

#[derive(Clone, Copy)]
struct Range {
    from: u32,
    to: u32,
}

/// A line as one output shows it.
#[derive(Debug, Default)]
pub struct Shown {
    /// The JSON, without its last brace.
    pub text: Vec<u8>,
    call_id: Option<(usize, usize)>,
    request_id: Option<(usize, usize)>,
}

/// What it says stays with those who may see it.
impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("stream", &self.stream)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl Line {
    /// A line about a call, or about none, whose metadata follow.
    pub fn new(
        stream: Stream,
        level: Level,
        at: Stamp,
        component: &'static str,
        message: &'static str,
        call_id: Option<&str>,
    ) -> Self {
        let mut line = Self::begin(stream, level, at, component, message, call_id);
        line.put(message);
        line.text.extend_from_slice(b"\",\"metadata\":{");
        line
    }

    /// A line whose message is not known beforehand.
    pub fn saying(
        stream: Stream,
        level: Level,
        at: Stamp,
        component: &'static str,
        cause: &'static str,
        message: Personal<'_>,
    ) -> Self {
        let mut line = Self::begin(stream, level, at, component, cause, None);
        line.put_personal(message);
        line.text.extend_from_slice(b"\",\"metadata\":{");
        line
    }

    fn begin(
        stream: Stream,
        level: Level,
        at: Stamp,
        component: &'static str,
        cause: &'static str,
        call_id: Option<&str>,
    ) -> Self {
        let text = Vec::with_capacity(USUAL_BYTES);
        let mut line = Self {
            stream,
            level,
            at,
            component,
            cause,
            text,
            personal: Vec::with_capacity(USUAL_PARTS),
            call_id: None,
            request_id: None,
            trace_id: None,
            is_first: true,
        };
        line.text.extend_from_slice(b"{\"timestamp\":\"");
        line.text.extend_from_slice(at.rfc_3339().text().as_bytes());
        line.text.extend_from_slice(b"\",\"log\":\"");
        line.text.extend_from_slice(stream.name().as_bytes());
        line.text.extend_from_slice(b"\",\"level\":\"");
        line.text.extend_from_slice(level.name().as_bytes());
        match call_id {
            Some(call_id) => {
                line.text.extend_from_slice(b"\",\"call_id\":\"");
                let from = line.place();
                line.put_personal(Personal::call_id(call_id));
                line.call_id = Some(Range { from, to: line.place() });
                line.text.extend_from_slice(b"\",\"component\":\"");
            }
            None => line.text.extend_from_slice(b"\",\"call_id\":null,\"component\":\""),
        }
        line.text.extend_from_slice(component.as_bytes());
        line.text.extend_from_slice(b"\",\"message\":\"");
        line
    }

    /// A word of this program.
    pub fn word(&mut self, key: &'static str, word: &'static str) -> &mut Self {
        self.key(key);
        self.text.push(b'"');
        self.text.extend_from_slice(word.as_bytes());
        self.text.push(b'"');
        self
    }

    /// A name that the configuration gave: of a tenant, an interface, a file.
    pub fn label(&mut self, key: &'static str, name: &str) -> &mut Self {
        self.key(key);
        self.text.push(b'"');
        self.put(name);
        self.text.push(b'"');
        self
    }

    /// What may tell who somebody is.
    pub fn personal(&mut self, key: &'static str, value: Personal<'_>) -> &mut Self {
        self.key(key);
        self.text.push(b'"');
        self.put_personal(value);
        self.text.push(b'"');
        self
    }

    /// A count.
    pub fn count(&mut self, key: &'static str, count: u64) -> &mut Self {
        self.key(key);
        self.text.extend_from_slice(decimal(count, &mut [0; 20]).as_bytes());
        self
    }

    /// A measured number; what was not measured is left out.
    pub fn number(&mut self, key: &'static str, number: Option<f64>) -> &mut Self {
        if let Some(number) = number.filter(|number| number.is_finite()) {
            self.key(key);
            let mut buffer = zmij::Buffer::new();
            self.text.extend_from_slice(buffer.format_finite(number).as_bytes());
        }
        self
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &'static str, is_set: bool) -> &mut Self {
        self.key(key);
        self.text.extend_from_slice(if is_set { b"true" } else { b"false" });
        self
    }

    /// A time.
    pub fn time(&mut self, key: &'static str, at: Stamp) -> &mut Self {
        self.key(key);
        self.text.push(b'"');
        self.text.extend_from_slice(at.rfc_3339().text().as_bytes());
        self.text.push(b'"');
        self
    }

    /// A list of personal texts, of which the first few are shown.
    pub fn list<'a>(
        &mut self,
        key: &'static str,
        values: impl IntoIterator<Item = Personal<'a>>,
    ) -> &mut Self {
        self.key(key);
        self.text.push(b'[');
        for (place, value) in values.into_iter().take(LONGEST_LIST).enumerate() {
            self.text.extend_from_slice(if place == 0 { b"\"" } else { b",\"" });
            self.put_personal(value);
            self.text.push(b'"');
        }
        self.text.push(b']');
        self
    }

    /// Anything that has nothing personal in it, such as settings.
    pub fn json(&mut self, key: &'static str, value: &impl Serialize) -> &mut Self {
        if let Ok(json) = serde_json::to_vec(value)
            && json.len() <= LONGEST_JSON
        {
            self.key(key);
            self.text.extend_from_slice(&json);
        }
        self
    }

    /// Ends the metadata: the line is whole, and belongs to a trace or to none.
    #[must_use]
    pub fn traced(mut self, trace: Option<TraceId>) -> Self {
        self.text.push(b'}');
        if let Some(trace) = trace {
            self.text.extend_from_slice(b",\"trace_id\":\"");
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            self.text.extend(trace.bytes().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
            self.text.push(b'"');
        }
        self.trace_id = trace;
        self
    }

    /// Ends the metadata: the line belongs to a request over HTTP, whose identifier was checked to be sane.
    #[must_use]
    pub fn requested(mut self, request_id: &str) -> Self {
        self.text.extend_from_slice(b"},\"request_id\":\"");
        let from = self.place();
        self.put(request_id);
        self.request_id = Some(Range { from, to: self.place() });
        self.text.push(b'"');
        self
    }

    /// Whether anything in it is personal.
    pub fn is_personal(&self) -> bool {
        !self.personal.is_empty()
    }

    /// Its trace.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Bytes of memory it takes, about.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.text.capacity() + self.personal.capacity() * size_of::<Span>()
    }

    /// As an output with this policy shows it; what `shown` held before is overwritten.
    pub fn show(&self, policy: &Policy, shown: &mut Shown) {
        let to = &mut shown.text;
        to.clear();
        let place = |range: Option<Range>| range.map(|range| (range.from as usize, range.to as usize));
        (shown.call_id, shown.request_id) = (place(self.call_id), place(self.request_id));
        if policy.keeps_all() || self.personal.is_empty() {
            return to.extend_from_slice(&self.text);
        }
        let mut done = 0;
        let mut moved: isize = 0;
        for Span { kind, at } in &self.personal {
            let (from, end) = (at.from as usize, at.to as usize);
            to.extend_from_slice(self.text.get(done..from).unwrap_or_default());
            policy.put(*kind, self.text.get(from..end).unwrap_or_default(), to);
            let now = to.len() as isize - end as isize;
            // Only what lies behind a piece is moved by it; a Call-ID that ends with one grows or shrinks with it.
            for range in [&mut shown.call_id, &mut shown.request_id].into_iter().flatten() {
                let shift = now - moved;
                if range.0 as isize >= end as isize + moved {
                    range.0 = range.0.saturating_add_signed(shift);
                }
                if range.1 as isize >= end as isize + moved {
                    range.1 = range.1.saturating_add_signed(shift);
                }
            }
            moved = now;
            done = end;
        }
        to.extend_from_slice(self.text.get(done..).unwrap_or_default());
    }

    fn key(&mut self, key: &'static str) {
        self.text.extend_from_slice(if self.is_first { b"\"" } else { b",\"" });
        self.is_first = false;
        self.text.extend_from_slice(key.as_bytes());
        self.text.extend_from_slice(b"\":");
    }

    fn place(&self) -> u32 {
        self.text.len() as u32
    }

    fn put(&mut self, text: &str) {
        escape(bounded(text), &mut self.text);
        if text.len() > LONGEST_TEXT {
            self.text.extend_from_slice("\u{2026}".as_bytes());
        }
    }

    fn put_personal(&mut self, value: Personal<'_>) {
        let Self { text, personal, .. } = self;
        let begun = text.len();
        value.pieces(&mut |kind, piece| {
            let from = text.len();
            if from - begun >= LONGEST_TEXT {
                return;
            }
            escape(bounded(piece), text);
            let to = text.len();
            if let Some(kind) = kind.filter(|_| to > from) {
                personal.push(Span { kind, at: Range { from: from as u32, to: to as u32 } });
            }
        });
    }
}

impl Shown {
    /// The Call-ID as the output shows it, escaped as in JSON.
    pub fn call_id(&self) -> Option<&str> {
        self.part(self.call_id)
    }

    /// The identifier of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.part(self.request_id)
    }

    fn part(&self, range: Option<(usize, usize)>) -> Option<&str> {
        let (from, to) = range?;
        std::str::from_utf8(self.text.get(from..to)?).ok()
    }
}

/// The beginning of a text that is too long to be of use.
fn bounded(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default()
}

/// As JSON asks, and what could fool who reads it on a terminal too: control characters, line ends of Unicode, marks that
/// turn the direction of writing.
pub(super) fn escape(text: &str, to: &mut Vec<u8>) {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    // All are looked at, many at a time: nearly every text is plain to its end.
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        return to.extend_from_slice(text.as_bytes());
    }
    let mut rest = text;
    while let Some(at) = rest.find(is_escaped) {
        let (plain, special) = rest.split_at(at);
        to.extend_from_slice(plain.as_bytes());
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => to.extend_from_slice(b"\\\""),
            Some('\\') => to.extend_from_slice(b"\\\\"),
            Some('\n') => to.extend_from_slice(b"\\n"),
            Some('\r') => to.extend_from_slice(b"\\r"),
            Some('\t') => to.extend_from_slice(b"\\t"),
            Some(other) => drop(write!(to, "\\u{:04x}", u32::from(other))),
            None => {}
        }
        rest = characters.as_str();
    }
    to.extend_from_slice(rest.as_bytes());
}

/// A number as text, without the machinery of formats: lines have many.
pub(super) fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &str {
    let mut start = buffer.len();
    for place in buffer.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    buffer.get(start..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
}

fn is_escaped(c: char) -> bool {
    matches!(
        c,
        '"' | '\\' | '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// Most lines have room in it.
const USUAL_BYTES: usize = 768;
/// Most lines have no more personal parts.
const USUAL_PARTS: usize = 8;
/// Of one value: a URI that is longer was made to be.
const LONGEST_TEXT: usize = 1024;
const LONGEST_LIST: usize = 16;
const LONGEST_JSON: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::privacy::{HashKey, Treatment, Treatments};

    fn shown(line: &Line, treatment: Treatment) -> (serde_json::Value, Option<String>) {
        let policy = Policy::new(Treatments::all(treatment), Arc::new(HashKey::new(b"k")));
        let mut shown = Shown::default();
        line.show(&policy, &mut shown);
        let call_id = shown.call_id().map(str::to_owned);
        shown.text.push(b'}');
        (serde_json::from_slice(&shown.text).unwrap(), call_id)
    }

    fn line() -> Line {
        let mut line =
            Line::new(Stream::Application, Level::Warn, Stamp(1), "call", "call failed", Some("a@192.0.2.1"));
        line.personal("from", Personal::uri("sip:bob@example.com"))
            .number("setup", Some(1.5))
            .number("ring", None);
        line.count("status", 486).flag("forked", false).label("tenant", "a\"b\u{1b}[31m");
        line.list("participants", [Personal::uri("sip:a@x"), Personal::uri("sip:b@x")]);
        line.traced(Some(TraceId::of_call_id("1")))
    }

    #[test]
    fn it_is_the_json_that_is_promised() {
        let (json, call_id) = shown(&line(), Treatment::Keep);
        let expected = serde_json::json!({
            "timestamp": "1970-01-01T00:00:00.000000001Z", "log": "application", "level": "warn", "call_id": "a@192.0.2.1",
            "component": "call", "message": "call failed",
            "metadata": { "from": "sip:bob@example.com", "setup": 1.5, "status": 486, "forked": false,
                "tenant": "a\"b\u{1b}[31m", "participants": ["sip:a@x", "sip:b@x"] },
            "trace_id": "d1d75e0e14cd06801b22fd72c89d35ae",
        });
        assert_eq!((json, call_id.as_deref()), (expected, Some("a@192.0.2.1")));
    }

    #[test]
    fn each_output_shows_its_own() {
        let (masked, call_id) = shown(&line(), Treatment::Mask);
        assert_eq!(call_id.as_deref(), Some("a@192.0.2.x"));
        assert_eq!(masked["call_id"], "a@192.0.2.x");
        assert_eq!(masked["metadata"]["from"], "sip:b***@example.com");
        let (dropped, call_id) = shown(&line(), Treatment::Drop);
        assert_eq!(call_id.as_deref(), Some("a@"));
        assert_eq!(dropped["metadata"]["participants"], serde_json::json!(["sip:@x", "sip:@x"]));
        let (hashed, call_id) = shown(&line(), Treatment::Hash);
        assert_eq!(call_id.unwrap().len(), 20);
        assert_eq!(hashed["metadata"]["status"], 486);
    }

    #[test]
    fn hostile_text_stays_inside_its_quotes() {
        let text = "a\",\"level\":\"x\n\u{1b}[2J\u{202e}\\\u{85}";
        let mut line = Line::new(Stream::Diagnostics, Level::Info, Stamp(0), "sip", "odd", Some(text));
        line.personal("from", Personal::uri(text));
        let (json, _) = shown(&line.clone().traced(None), Treatment::Keep);
        assert_eq!(json["call_id"], text);
        let mut whole = Shown::default();
        line.show(&Policy::new(Treatments::KEPT, Arc::new(HashKey::new(b""))), &mut whole);
        assert!(!whole.text.iter().any(|byte| *byte < b' ' || *byte == 0x7f));
    }

    #[test]
    fn a_value_has_an_end() {
        let long = "\u{e9}".repeat(100_000);
        let mut line = Line::new(Stream::Diagnostics, Level::Info, Stamp(0), "sip", "odd", Some(&long));
        line.personal("from", Personal::uri(&long))
            .personal("why", Personal::text(&long))
            .label("tenant", &long);
        let (json, _) = shown(&line.traced(None), Treatment::Keep);
        for text in [&json["call_id"], &json["metadata"]["from"], &json["metadata"]["tenant"]] {
            assert!((1000..1100).contains(&text.as_str().unwrap().len()));
        }
    }

    #[test]
    fn a_request_has_its_identifier() {
        let line = Line::new(Stream::Audit, Level::Info, Stamp(0), "http", "call data read", None)
            .requested("abc-1");
        let (json, call_id) = shown(&line, Treatment::Keep);
        assert_eq!((json["request_id"].as_str(), call_id), (Some("abc-1"), None));
        assert_eq!(json["call_id"], serde_json::Value::Null);
    }
}
