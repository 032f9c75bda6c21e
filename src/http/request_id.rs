//! `X-Request-ID`: the caller's if it is sane, else a new one (DESIGN 5).

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The header, in requests and on every answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes identifiers of 128 bits.
///
/// They must differ between requests, processes and machines, but nobody needs to be kept from guessing them: a
/// counter under a keyed hash is enough, its key comes from the operating system once.
#[derive(Debug, Default)]
pub(crate) struct RequestIds {
    key: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    /// The caller's identifier, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(REQUEST_ID) {
            Some(given) if is_sane(given.as_bytes()) => given.clone(),
            _ => self.fresh(),
        }
    }

    /// A new one: 32 hexadecimal digits.
    pub(crate) fn fresh(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [high, low] = [0_u8, 1].map(|half| self.key.hash_one((half, number)));
        HeaderValue::from_str(&format!("{high:016x}{low:016x}"))
            .unwrap_or_else(|_| HeaderValue::from_static("none"))
    }
}

/// It goes into log lines and into the answer: plain characters only, and not many.
fn is_sane(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(id: &[u8]) -> HeaderValue {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        RequestIds::default().of(&headers)
    }

    #[test]
    fn a_sane_id_is_kept() {
        assert_eq!(answered(b"Trace-7.of_3"), "Trace-7.of_3");
        let long = "a".repeat(128);
        assert_eq!(answered(long.as_bytes()), long.as_str());
    }

    #[test]
    fn any_other_is_replaced() {
        for id in [&b""[..], b"a b", b"a\"b", "\u{e9}".as_bytes(), "a".repeat(129).as_bytes()] {
            let new = answered(id);
            assert_eq!(new.len(), 32);
            assert_ne!(new.as_bytes(), id);
        }
    }

    #[test]
    fn new_ones_differ() {
        let ids = RequestIds::default();
        assert_ne!(ids.fresh(), ids.fresh());
        assert_ne!(RequestIds::default().fresh(), RequestIds::default().fresh());
    }
}
