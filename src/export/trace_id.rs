//! Trace and span ids that need no coordination: every tap makes the same of a call (MEAS 8.2).
//!
//! ```text
//! trace id = SHA-256("sidetone.trace.v1" 00 "cid" 00 Call-ID), first 16 bytes
//! span id  = SHA-256("sidetone.span.v1" 00 trace id in hex 00 kind 00 ident ...), first 8 bytes
//! ```

use std::fmt;

use sha2::{Digest, Sha256};

/// Names a trace: 32 hex digits, not all 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceId([u8; 16]);

/// Names a span of a trace: 16 hex digits, not all 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// The trace of a call that brought no trace of its own.
    pub fn of_call_id(call_id: &str) -> Self {
        let hash = hash("sidetone.trace.v1", [b"cid".as_slice(), call_id.as_bytes()]);
        let (first, second) = hash.split_at(16);
        let bytes = if first.iter().all(|&b| b == 0) { second } else { first };
        Self(bytes.try_into().unwrap_or_default())
    }

    /// The trace a `traceparent` header names; `None` when it is not valid.
    pub fn of_traceparent(header: &str) -> Option<Self> {
        TraceParent::read(header).map(|parent| parent.trace)
    }

    /// As it goes over the wire.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The low 56 bits, by which traces are sampled.
    pub fn low_bits(self) -> u64 {
        u128::from_be_bytes(self.0) as u64 & ((1 << 56) - 1)
    }

    /// The span of the call itself.
    pub fn call_span(self) -> SpanId {
        self.span("call", [])
    }

    /// A span of this trace.
    pub fn span<const N: usize>(self, kind: &str, ident: [&str; N]) -> SpanId {
        let trace = self.to_string();
        let parts = [trace.as_bytes(), kind.as_bytes()].into_iter();
        let hash = hash("sidetone.span.v1", parts.chain(ident.iter().map(|part| part.as_bytes())));
        SpanId(hash.first_chunk().copied().unwrap_or_default())
    }

    /// The first half, as hex: what names a session where its Call-ID may not stand.
    pub fn short(self) -> String {
        let mut text = self.to_string();
        text.truncate(16);
        text
    }
}

impl SpanId {
    /// As it goes over the wire.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

/// A `traceparent` header (W3C Trace Context, 3.2): who asked for the call, and in which trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span of whoever sent it.
    pub span: SpanId,
    /// Whether the sender keeps the trace.
    pub sampled: bool,
}

impl TraceParent {
    /// `None` when it is not valid (MEAS 8.1).
    pub fn read(header: &str) -> Option<Self> {
        let mut fields = header.trim_ascii().split('-');
        let mut field = |length| fields.next().filter(|field| field.len() == length && is_lower_hex(field));
        let (version, trace, parent, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        // Only version 00 is known to have no further fields.
        let ends = version != "00" || fields.next().is_none();
        let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
        let parent = u64::from_str_radix(parent, 16).ok().filter(|parent| *parent != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (version != "ff" && ends).then_some(Self {
            trace: TraceId(trace.to_be_bytes()),
            span: SpanId(parent.to_be_bytes()),
            sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

fn hash<'a>(domain: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(domain);
    for part in parts {
        hash.update([0]);
        hash.update(part);
    }
    hash.finalize().into()
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_vectors() {
        for (call_id, expected) in [
            ("a84b4c76e66710@pc33.atlanta.com", "6ae1c030ffdd2da1725198843b15c506"),
            ("1", "d1d75e0e14cd06801b22fd72c89d35ae"),
            ("\u{dc}n\u{ef}code@x", "97a7b8870ee71baf41285de9c8f6009f"),
            ("", "c68738544c868cabfc7f69fd816f7028"),
        ] {
            assert_eq!(TraceId::of_call_id(call_id).to_string(), expected, "{call_id}");
        }
        let trace = TraceId::of_call_id("a84b4c76e66710@pc33.atlanta.com");
        assert_eq!(trace.call_span().to_string(), "acc415ab02082ae9");
        assert_eq!(trace.span("invite", ["314159", "z9hG4bK776asdhds"]).to_string(), "10f8ec5d3dbaef98");
        assert_eq!(trace.short(), "6ae1c030ffdd2da1");
    }

    #[test]
    fn a_traceparent_names_a_trace_when_it_is_valid() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for valid in ["00-{}-00f067aa0ba902b7-01", "00-{}-00f067aa0ba902b7-00", "cc-{}-00f067aa0ba902b7-01-x"]
        {
            let id = TraceId::of_traceparent(&valid.replace("{}", trace));
            assert_eq!(id.map(|id| id.to_string()).as_deref(), Some(trace), "{valid}");
        }
        for invalid in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "",
        ] {
            assert_eq!(TraceId::of_traceparent(invalid), None, "{invalid}");
        }
    }
}
