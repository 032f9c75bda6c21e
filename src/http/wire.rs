//! The bytes of a connection on their way to and from hyper: watched for life, and for answers that hyper makes.
//!
//! A request that is no HTTP, or whose header is too large, never gets to us: hyper answers it with a bare status
//! line. Every answer carries an `X-Request-ID` (DESIGN 5), so such a head is replaced by a whole answer on its way
//! out. It is told by having no `x-request-id`, which all of ours have.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Server;
use super::pace::Pace;
use super::reply::error_json;
use super::route::OTHER;
use super::stats::add_one;

/// A TCP or TLS connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One that is watched.
pub(crate) struct Watched {
    inner: Box<dyn Duplex>,
    pace: Arc<Pace>,
    server: Arc<Server>,
    /// What is sent instead of a bare head, and how much of it is sent.
    instead: Option<(Vec<u8>, usize)>,
    /// Bytes that are read and thrown away before closing, so that the last answer is not lost to a reset.
    unread: Option<usize>,
}

impl Watched {
    pub(crate) fn new(inner: Box<dyn Duplex>, pace: Arc<Pace>, server: Arc<Server>) -> Self {
        Self { inner, pace, server, instead: None, unread: None }
    }

    fn answer_instead_of(&mut self, head: &[u8]) {
        let Some(status) = bare_status(head) else { return };
        let id = self.server.request_ids.fresh();
        let id = id.to_str().unwrap_or_default();
        let what = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the header of the request is too large",
            StatusCode::URI_TOO_LONG => "the address in the request is too long",
            _ => "this is no HTTP request",
        };
        let body = error_json(status, what, id);
        let head = format!(
            "HTTP/1.1 {status}\r\nx-request-id: {id}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        self.instead = Some(([head.into_bytes(), body].concat(), 0));
        self.unread = Some(MOST_UNREAD);
        add_one(&self.server.stats.malformed);
        self.server.stats.answered(OTHER, &Method::OPTIONS, status, std::time::Duration::ZERO);
        tracing::debug!(request_id = id, status = status.as_u16(), "{what}");
    }
}

/// The status of a head with nothing in it that we would have put there.
fn bare_status(head: &[u8]) -> Option<StatusCode> {
    let status = head.strip_prefix(b"HTTP/1.1 4")?.get(..2)?;
    if !head.ends_with(b"\r\n\r\n") || memchr::memmem::find(head, b"x-request-id").is_some() {
        return None;
    }
    StatusCode::from_bytes(&[b"4", status].concat()).ok()
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.pace.heard(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            self.answer_instead_of(bytes);
        }
        let this = &mut *self;
        let Some((answer, sent)) = &mut this.instead else {
            return Pin::new(&mut this.inner).poll_write(cx, bytes);
        };
        while let Some(rest) = answer.get(*sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut this.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *sent += more,
            }
        }
        this.instead = None;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(cx, only);
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        let this = &mut *self;
        let Some(left) = &mut this.unread else { return Poll::Ready(Ok(())) };
        if *left == MOST_UNREAD {
            this.pace.closing(Instant::now());
        }
        // The kernel resets a connection that is closed with bytes unread, and the answer with it.
        let mut bytes = [0; 4096];
        while *left > 0 {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                read => *left = left.saturating_sub(read),
            }
        }
        Poll::Ready(Ok(()))
    }
}

const MOST_UNREAD: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_heads_are_replaced() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare_status(bare), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for other in [
            &b"HTTP/1.1 404 Not Found\r\nx-request-id: 7\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 431 cut off",
            b"",
        ] {
            assert_eq!(bare_status(other), None);
        }
    }
}
