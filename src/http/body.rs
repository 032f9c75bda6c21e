//! The body of an answer: bytes that are handed over piece by piece, and what ends when they are.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::pace::Pace;

/// Bytes on their way to a client.
///
/// In pieces, because the connection takes one only when the last one is nearly gone: so an answer that nobody
/// takes is seen as such, and held against the client ([`Pace`]).
#[derive(Debug)]
pub(crate) struct Answer {
    bytes: Bytes,
    pace: Arc<Pace>,
    name: u64,
    /// The number of large answers at a time is bounded; this one counts until it is gone.
    _room: Option<OwnedSemaphorePermit>,
}

impl Answer {
    pub(crate) fn new(bytes: Bytes, room: Option<OwnedSemaphorePermit>, pace: Arc<Pace>, name: u64) -> Self {
        Self { bytes, pace, name, _room: room }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.bytes.len().min(PIECE);
        let piece = self.bytes.split_to(piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.pace.taken(self.name, Instant::now());
    }
}

const PIECE: usize = 65_536;
