//! What a contiguous stream of bytes carries: probed once, then cut into records by one framing.
//!
//! ```text
//!            +-> Sip ----> message by Content-Length
//! Unknown ---+-> Http ---> WebSocket ---> message by frames
//!            +-> Hep ----> record by length
//!            +-> Tls, Foreign: nothing is read any more
//! ```
//!
//! Out of step (a gap, a wrong length) a stream looks for the next border where a record begins.

use super::border::{self, Framing, Http, Verdict};
use super::{Counters, Kind, Record};
use crate::Stamp;
use crate::event::SipTransport;
use crate::wire::{Endpoint, ws};

/// What a stream was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Not told yet.
    Unknown,
    /// SIP over TCP.
    Sip,
    /// HTTP/1, which may yet be upgraded.
    Http,
    /// Frames of RFC 6455.
    WebSocket,
    /// HEP3 records.
    Hep,
    /// TLS records.
    Tls,
    /// Something else.
    Foreign,
    /// The connection was closed.
    Closed,
}

/// State of one direction between two segments.
#[derive(Debug)]
pub(super) struct Content {
    protocol: Protocol,
    /// The next record has to be looked for.
    lost: bool,
    /// Bytes of the current record that are still to come and not wanted.
    skip: u64,
    /// Unknown: bytes that may still be looked at. WebSocket: messages without SIP that are still tolerated.
    patience: u32,
    partial: Option<Box<Partial>>,
}

/// The beginning of a record.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// Its whole length, where that is known.
    len: Option<usize>,
    /// Payload of the fragments of a WebSocket message before `bytes`; `None` when none has begun, or when what
    /// has begun is not wanted.
    fragments: Option<Vec<u8>>,
}

/// What the stream is read with.
pub(super) struct Reader<'a> {
    pub(super) stamp: Stamp,
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    /// Longest record in bytes.
    pub(super) limit: usize,
    pub(super) scratch: &'a mut Vec<u8>,
    pub(super) counters: &'a mut Counters,
    pub(super) out: &'a mut dyn FnMut(Record<'_>),
}

impl Content {
    /// A connection whose first byte is next.
    pub(super) fn begun() -> Self {
        Self { protocol: Protocol::Unknown, lost: false, skip: 0, patience: PREAMBLE, partial: None }
    }

    /// A connection that was already running.
    pub(super) fn joined() -> Self {
        Self { lost: true, patience: JOINED, ..Self::begun() }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Nothing that comes is of interest.
    pub(super) fn is_opaque(&self) -> bool {
        matches!(self.protocol, Protocol::Tls | Protocol::Foreign | Protocol::Closed)
    }

    /// Memory held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            partial.bytes.capacity() + partial.fragments.as_ref().map_or(0, Vec::capacity) + PARTIAL_OVERHEAD
        })
    }

    /// Takes the next bytes of the stream.
    pub(super) fn feed(&mut self, segment: &[u8], reader: &mut Reader<'_>) {
        if self.is_opaque() {
            return;
        }
        let Some(mut partial) = self.partial.take() else {
            let mut fragments = None;
            let rest = self.records(segment, 0, 0, &mut fragments, reader);
            let tail = segment.get(rest.used..).unwrap_or_default();
            if !tail.is_empty() || fragments.is_some() {
                let bytes = tail.to_vec();
                self.hold(Partial { bytes, len: rest.len, fragments }.into());
            }
            return;
        };
        let held = partial.bytes.len();
        partial.bytes.extend_from_slice(segment);
        if partial.len.is_some_and(|len| partial.bytes.len() < len) {
            self.partial = Some(partial);
            return;
        }
        let Partial { bytes, len, fragments } = &mut *partial;
        // A body is awaited behind a blank line that was already found; else there was none so far.
        let scanned = if len.is_some() { 0 } else { held };
        let rest = self.records(bytes, held, scanned, fragments, reader);
        bytes.drain(..rest.used.min(bytes.len()));
        *len = rest.len;
        if !bytes.is_empty() || fragments.is_some() {
            self.hold(partial);
        }
    }

    /// `missing` bytes of the stream were not captured and never will be.
    pub(super) fn gap(&mut self, missing: u32, reader: &mut Reader<'_>) {
        if self.is_opaque() || missing == 0 {
            return;
        }
        reader.counters.gaps += 1;
        reader.counters.missing_bytes += u64::from(missing);
        let missing = u64::from(missing);
        if missing <= self.skip {
            self.skip -= missing;
            return;
        }
        let (len, held) = self.partial.as_ref().map_or((None, 0), |p| (p.len, p.bytes.len() as u64));
        let in_step = self.skip == 0 && !self.lost;
        self.cut_short(reader);
        self.skip = 0;
        match len {
            // The hole lies inside a record of known length: its end is the next border.
            Some(len) if in_step && held + missing <= len as u64 => self.skip = len as u64 - held - missing,
            _ if self.protocol == Protocol::Unknown && !self.lost => *self = Self::joined(),
            _ => self.lost = self.protocol != Protocol::Http,
        }
    }

    /// No more bytes come.
    pub(super) fn close(&mut self, reader: &mut Reader<'_>) {
        self.cut_short(reader);
        *self = Self { protocol: Protocol::Closed, ..Self::begun() };
    }

    /// Gives up the record that has begun: of a SIP message, what there is is handed on.
    pub(super) fn cut_short(&mut self, reader: &mut Reader<'_>) {
        let Some(partial) = self.partial.take() else { return };
        let bytes = partial.bytes.as_slice();
        let message = match self.protocol {
            _ if self.lost => None,
            Protocol::Sip => Some((SipTransport::Tcp, std::borrow::Cow::Borrowed(bytes))),
            Protocol::WebSocket if partial.fragments.is_none() => {
                border::sip_frame(bytes).map(|(_, plain)| (SipTransport::Ws, plain.into()))
            }
            _ => None,
        };
        match message {
            Some((transport, message)) if is_message(&message) => reader.sip(transport, &message, false),
            _ => reader.counters.dropped_bytes += bytes.len() as u64,
        }
    }

    /// The stream cannot follow any more: the next record has to be looked for.
    pub(super) fn lose(&mut self, reader: &mut Reader<'_>) {
        self.cut_short(reader);
        if self.protocol == Protocol::Unknown {
            self.protocol = Protocol::Foreign;
        }
        self.lost = true;
        self.skip = 0;
    }

    fn hold(&mut self, partial: Box<Partial>) {
        if !self.is_opaque() {
            self.partial = Some(partial);
        }
    }

    /// Reads records until `input` is used up or its rest is only the beginning of one. A segment begins at
    /// `segment`; the first record has been looked at up to `scanned`.
    fn records(
        &mut self,
        input: &[u8],
        segment: usize,
        mut scanned: usize,
        fragments: &mut Option<Vec<u8>>,
        reader: &mut Reader<'_>,
    ) -> Rest {
        let mut used = 0;
        let mut marks = Marks::default();
        while used < input.len() && !self.is_opaque() {
            let rest = input.get(used..).unwrap_or_default();
            if self.skip > 0 {
                let skipped = rest.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= skipped as u64;
                used += skipped;
                continue;
            }
            let step = match self.protocol {
                _ if self.lost || self.protocol == Protocol::Unknown => {
                    self.search(input, used, segment, &mut marks, reader)
                }
                Protocol::Sip => self.sip(rest, scanned, reader),
                Protocol::Http => self.http(rest),
                Protocol::WebSocket => self.frame(rest, fragments, reader),
                Protocol::Hep => self.hep(rest, reader),
                // The search has taken Unknown, the loop's condition the others.
                Protocol::Unknown | Protocol::Tls | Protocol::Foreign | Protocol::Closed => break,
            };
            match step {
                Step::Use(bytes) => used += bytes,
                Step::Await(len) => return Rest { used, len },
            }
            scanned = 0;
        }
        Rest { used: input.len(), len: None }
    }

    /// Looks at one possible border: what stands at `used`. Borders are where the stream begins, after a line
    /// end, where a segment begins, and HEP's magic.
    fn search(
        &mut self,
        input: &[u8],
        used: usize,
        segment: usize,
        marks: &mut Marks,
        reader: &mut Reader<'_>,
    ) -> Step {
        // What was held begins where a segment may have begun.
        let at_segment = used == 0 || used == segment;
        let (verdict, protocol) = self.probe(input.get(used..).unwrap_or_default(), at_segment);
        match verdict {
            Verdict::Certain(at) => {
                let reads = matches!(protocol, Protocol::Sip | Protocol::WebSocket | Protocol::Hep);
                reader.counters.resynchronised += u64::from(self.lost && reads);
                self.protocol = protocol;
                self.lost = false;
                self.patience = NOT_SIP;
                return Step::Use(at);
            }
            Verdict::Unsure => return Step::Await(None),
            Verdict::NotForUs => {}
        }
        let junk = marks.next_border(input, used, segment) - used;
        if self.protocol != Protocol::Unknown {
            reader.counters.dropped_bytes += junk as u64;
        } else if let Some(patience) = self.patience.checked_sub(junk as u32) {
            self.patience = patience;
        } else {
            self.protocol = Protocol::Foreign;
        }
        Step::Use(junk)
    }

    /// Asks each protocol that the stream may be; with `Certain` comes the offset where it begins. Only SIP and
    /// HEP are looked for inside segments.
    fn probe(&self, rest: &[u8], at_segment: bool) -> (Verdict<usize>, Protocol) {
        let unknown = self.protocol == Protocol::Unknown;
        let websocket = self.protocol == Protocol::WebSocket;
        // A stream taken for SIP by a line inside something else finds back to what it is.
        let any = unknown || self.protocol == Protocol::Sip;
        let mut unsure = Verdict::NotForUs;
        if any || self.protocol == Protocol::Hep {
            match border::hep(rest) {
                Verdict::Certain(_) => return (Verdict::Certain(0), Protocol::Hep),
                Verdict::Unsure => unsure = Verdict::Unsure,
                Verdict::NotForUs => {}
            }
        }
        if any {
            match border::message_start(rest) {
                Verdict::Certain(()) => return (Verdict::Certain(0), Protocol::Sip),
                Verdict::Unsure => unsure = Verdict::Unsure,
                Verdict::NotForUs => {}
            }
        }
        if at_segment && unknown {
            match border::tls(rest) {
                Verdict::Certain(()) => return (Verdict::Certain(0), Protocol::Tls),
                Verdict::Unsure => unsure = Verdict::Unsure,
                Verdict::NotForUs => {}
            }
        }
        if at_segment && (unknown || websocket) {
            match border::http(rest) {
                // It reads its own header block; before that, a few letters could be SIP as well.
                Verdict::Unsure if rest.len() < b"HTTP/1.".len() => unsure = Verdict::Unsure,
                Verdict::Certain(_) | Verdict::Unsure => return (Verdict::Certain(0), Protocol::Http),
                Verdict::NotForUs => {}
            }
        }
        if at_segment
            && self.lost
            && (any || websocket)
            && let Some((at, _)) = border::sip_frame(rest)
        {
            return (Verdict::Certain(at), Protocol::WebSocket);
        }
        (unsure, self.protocol)
    }

    fn sip(&mut self, rest: &[u8], scanned: usize, reader: &mut Reader<'_>) -> Step {
        let blank = border::keep_alive_len(rest);
        if blank > 0 {
            return Step::Use(blank);
        }
        let line = match border::start_line(rest) {
            Verdict::Certain(len) => len,
            Verdict::Unsure => return Step::Await(None),
            Verdict::NotForUs => {
                self.lost = true;
                reader.counters.out_of_step += 1;
                return Step::Use(0);
            }
        };
        match border::framing(rest, scanned, reader.limit) {
            Framing::Message(len) => match rest.get(..len) {
                Some(message) => {
                    reader.sip(SipTransport::Tcp, message, true);
                    Step::Use(len)
                }
                None => Step::Await(Some(len)),
            },
            Framing::Header if rest.len() < reader.limit => Step::Await(None),
            Framing::Header => {
                reader.counters.oversize += 1;
                self.lost = true;
                Step::Use(line)
            }
            Framing::BodyUnknown(len) => {
                reader.counters.oversize += 1;
                reader.sip(SipTransport::Tcp, rest.get(..len).unwrap_or(rest), false);
                self.lost = true;
                Step::Use(len)
            }
        }
    }

    fn http(&mut self, rest: &[u8]) -> Step {
        match border::http(rest) {
            Verdict::Certain(Http::WebSocket(len)) => {
                self.protocol = Protocol::WebSocket;
                self.patience = NOT_SIP;
                Step::Use(len)
            }
            Verdict::Unsure => Step::Await(None),
            // Bodies are not followed: the next header block is looked for where a segment begins.
            Verdict::Certain(Http::Other) | Verdict::NotForUs => Step::Use(rest.len()),
        }
    }

    fn hep(&mut self, rest: &[u8], reader: &mut Reader<'_>) -> Step {
        match border::hep(rest) {
            Verdict::Certain(len) => match rest.get(..len) {
                Some(record) => {
                    reader.hep(record);
                    Step::Use(len)
                }
                None if len > reader.limit => {
                    reader.counters.oversize += 1;
                    self.skip = len as u64;
                    Step::Use(0)
                }
                None => Step::Await(Some(len)),
            },
            Verdict::Unsure => Step::Await(None),
            Verdict::NotForUs => {
                self.lost = true;
                reader.counters.out_of_step += 1;
                Step::Use(0)
            }
        }
    }

    fn frame(&mut self, rest: &[u8], fragments: &mut Option<Vec<u8>>, reader: &mut Reader<'_>) -> Step {
        let header = match ws::Header::parse(rest) {
            Ok(header) => header,
            Err(ws::Refusal::Incomplete) => return Step::Await(None),
            Err(ws::Refusal::Invalid) => {
                *fragments = None;
                self.lost = true;
                reader.counters.out_of_step += 1;
                return Step::Use(0);
            }
        };
        let held = fragments.as_ref().map_or(0, Vec::len);
        let room = reader.limit.saturating_sub(held + header.header_len) as u64;
        if header.payload_len > room {
            reader.counters.oversize += 1;
            *fragments = None;
            self.skip = header.header_len as u64 + header.payload_len;
            return Step::Use(0);
        }
        let len = header.header_len + header.payload_len as usize;
        let Some(payload) = rest.get(header.header_len..len) else { return Step::Await(Some(len)) };
        let begins = match header.opcode {
            ws::Opcode::Control => return Step::Use(len),
            ws::Opcode::Continuation => false,
            ws::Opcode::Text | ws::Opcode::Binary => true,
        };
        if header.extended {
            reader.counters.compressed_frames += 1;
            *fragments = None;
            return Step::Use(len);
        }
        let whole = begins && header.fin;
        match (whole, header.mask) {
            (true, None) => self.message(payload, reader),
            (true, Some(key)) => {
                let mut plain = std::mem::take(reader.scratch);
                plain.clear();
                ws::unmask(payload, key, &mut plain);
                self.message(&plain, reader);
                *reader.scratch = plain;
            }
            (false, key) => {
                if begins {
                    *fragments = Some(Vec::new());
                }
                // A continuation of what was not wanted, or of what was not seen, is passed over.
                if let Some(message) = fragments {
                    ws::unmask(payload, key.unwrap_or_default(), message);
                }
                if header.fin
                    && let Some(message) = fragments.take()
                {
                    self.message(&message, reader);
                }
            }
        }
        Step::Use(len)
    }

    /// One WebSocket message: one SIP message (RFC 7118 section 5.3), a keep-alive, or not for us.
    fn message(&mut self, message: &[u8], reader: &mut Reader<'_>) {
        let message = message.get(border::keep_alive_len(message)..).unwrap_or_default();
        if message.is_empty() {
            return;
        }
        if is_message(message) {
            self.patience = u32::MAX;
            reader.sip(SipTransport::Ws, message, true);
        } else if let Some(patience) = self.patience.checked_sub(1) {
            self.patience = patience;
        } else {
            self.protocol = Protocol::Foreign;
        }
    }
}

impl Reader<'_> {
    fn sip(&mut self, transport: SipTransport, bytes: &[u8], whole: bool) {
        self.counters.sip_messages += 1;
        self.counters.truncated += u64::from(!whole);
        self.hand_on(Kind::Sip, transport, bytes, whole);
    }

    fn hep(&mut self, bytes: &[u8]) {
        self.counters.hep_records += 1;
        self.hand_on(Kind::Hep, SipTransport::Tcp, bytes, true);
    }

    fn hand_on(&mut self, kind: Kind, transport: SipTransport, bytes: &[u8], whole: bool) {
        let Self { stamp, source, destination, .. } = *self;
        (self.out)(Record { kind, transport, source, destination, bytes, whole, stamp });
    }
}

/// What one look at the stream comes to.
enum Step {
    /// So many bytes are done with.
    Use(usize),
    /// The rest is the beginning of a record; its length, where that is known.
    Await(Option<usize>),
}

/// What [`Content::records`] left.
struct Rest {
    used: usize,
    len: Option<usize>,
}

fn is_message(bytes: &[u8]) -> bool {
    matches!(border::start_line(bytes), Verdict::Certain(_))
}

/// Where the next words are that a record begins with, so that input full of near misses is searched once.
#[derive(Default)]
struct Marks {
    magic: Option<usize>,
    version: Option<usize>,
}

impl Marks {
    /// The next offset after `used` where a record may begin: a segment, HEP's magic, a line with a SIP version
    /// in it, or else the last line, which may go on in the next segment.
    fn next_border(&mut self, input: &[u8], used: usize, segment: usize) -> usize {
        let end = if segment > used { segment } else { input.len() };
        let magic = next(&mut self.magic, input, used + 1, border::HEP3).min(end);
        let after = input.get(..magic).unwrap_or(input);
        let Some(line) = memchr::memchr(b'\n', after.get(used..).unwrap_or_default()) else { return magic };
        let first = used + line + 1;
        let version = next(&mut self.version, input, first, b"SIP/2.0").min(after.len());
        let line = after.get(first..version).and_then(|lines| memchr::memrchr(b'\n', lines));
        line.map_or(first, |at| first + at + 1)
    }
}

/// The first offset of `word` from `from` on, remembered in `known`; beyond every input when there is none.
fn next(known: &mut Option<usize>, input: &[u8], from: usize, word: &[u8]) -> usize {
    if let Some(at) = known.filter(|&at| at >= from) {
        return at;
    }
    let rest = input.get(from..).unwrap_or_default();
    let at = memchr::memmem::find(rest, word).map_or(usize::MAX, |at| from + at);
    *known = Some(at);
    at
}

/// Bytes before the first record of a connection, such as a PROXY protocol header.
const PREAMBLE: u32 = 2048;
/// Bytes in which a connection joined in its middle has to show a record.
const JOINED: u32 = 64 << 10;
/// WebSocket messages without SIP after which the connection is not for us.
const NOT_SIP: u32 = 16;
const PARTIAL_OVERHEAD: usize = 128;
