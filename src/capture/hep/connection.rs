//! One TCP connection: its bytes cut into records.
//!
//! We see a connection from its first byte, so that what is no record means that the peer speaks something else,
//! or is out of step. Nothing is looked for behind it: a SIP body can hold what looks like a record. The
//! connection is closed, and an agent makes a new one.

use std::net::TcpStream;

use crate::Stamp;
use crate::hep::{self, Next};

/// An accepted connection and the beginning of a record that is not yet complete.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// Less than a record: under 64 KiB.
    held: Vec<u8>,
    /// Last time something came.
    pub(super) heard: Stamp,
    /// When the first byte of `held` came.
    pub(super) begun: Stamp,
    /// A record was accepted: it is an agent.
    pub(super) proven: bool,
}

/// The stream holds no record where one should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfStep;

impl Connection {
    pub(super) fn new(stream: TcpStream, now: Stamp) -> Self {
        Self { stream, held: Vec::new(), heard: now, begun: now, proven: false }
    }

    /// A record has begun and is not complete.
    pub(super) fn is_within_record(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes the next bytes of the stream and gives every record they complete.
    pub(super) fn feed(
        &mut self,
        now: Stamp,
        mut bytes: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), OutOfStep> {
        self.heard = now;
        // Byte by byte until the length is known, then all that is missing at once.
        while !self.held.is_empty() && !bytes.is_empty() {
            let missing = match hep::next(&self.held) {
                Next::Record(len) => len.saturating_sub(self.held.len()),
                Next::Unknown => 1,
                Next::Garbage => return Err(OutOfStep),
            };
            let (more, rest) = bytes.split_at(missing.min(bytes.len()));
            self.held.reserve_exact(missing);
            self.held.extend_from_slice(more);
            bytes = rest;
            match hep::next(&self.held) {
                Next::Record(len) if len <= self.held.len() => {
                    take(&self.held);
                    self.held = Vec::new();
                }
                Next::Garbage => return Err(OutOfStep),
                _ => {}
            }
        }
        while !bytes.is_empty() {
            match hep::next(bytes) {
                Next::Record(len) if len <= bytes.len() => {
                    let (record, rest) = bytes.split_at(len);
                    take(record);
                    bytes = rest;
                }
                Next::Garbage => return Err(OutOfStep),
                Next::Record(_) | Next::Unknown => {
                    self.held.extend_from_slice(bytes);
                    self.begun = now;
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn connection() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Connection::new(stream, Stamp(0))
    }

    fn records() -> Vec<u8> {
        [b"HEP3\x00\x06".as_slice(), b"HEP3\x00\x09abc", b"HEP3\x00\x07d"].concat()
    }

    /// forall cuts of a stream in three: the same records.
    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let whole = records();
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let (mut connection, mut seen) = (connection(), Vec::new());
                for part in [&whole[..first], &whole[first..second], &whole[second..]] {
                    connection.feed(Stamp(1), part, &mut |record| seen.push(record.to_vec())).unwrap();
                }
                assert_eq!(seen.concat(), whole);
                assert_eq!(seen.len(), 3);
                assert!(!connection.is_within_record());
            }
        }
    }

    #[test]
    fn garbage_ends_it_wherever_it_begins() {
        for garbage in [b"GET / HTTP/1.1".as_slice(), b"HEP2", b"\x16\x03\x01", b"HEP3\x00\x05", b"HEX"] {
            let mut seen = 0;
            let whole = [&records(), garbage].concat();
            assert_eq!(connection().feed(Stamp(1), &whole, &mut |_| seen += 1), Err(OutOfStep));
            let mut slow = connection();
            let fed = whole.chunks(1).try_for_each(|byte| slow.feed(Stamp(1), byte, &mut |_| seen += 1));
            assert_eq!((fed, seen), (Err(OutOfStep), 6));
        }
    }

    #[test]
    fn what_is_held_is_less_than_a_record() {
        let mut connection = connection();
        connection.feed(Stamp(1), b"HEP3\xff\xff", &mut |_| {}).unwrap();
        connection.feed(Stamp(1), &vec![0; 65_528], &mut |_| {}).unwrap();
        assert!(connection.is_within_record());
        assert!(connection.held.capacity() <= 65_535);
    }
}
