//! One connection: TLS if configured, then HTTP/1.1 or HTTP/2, watched over by the clock.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::answer::Answering;
use super::pace::{Late, Pace};
use super::stats::add_one;
use super::web_config::WebConfig;
use super::wire::{Duplex, Watched};
use super::{Content, Server};

/// A connection that was accepted.
pub(crate) struct Connection {
    pub(crate) server: Arc<Server>,
    pub(crate) content: Arc<dyn Content>,
    pub(crate) client: SocketAddr,
    /// Changes when the server goes down.
    pub(crate) shutdown: watch::Receiver<bool>,
    /// Its place among all connections.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Connection {
    /// Serves it until either side has enough.
    pub(crate) async fn serve(self, stream: TcpStream) {
        let Self { server, content, client, mut shutdown, place } = self;
        let mut reloads = server.reloads.subscribe();
        let web = server.web.load_full();
        let pace = Arc::new(Pace::new(&server.settings, Instant::now()));
        let _open = Open::new(Arc::clone(&server));
        // Answers are written whole; nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let stopping = async {
            // After a reload clients come back by a new connection, with the new certificates.
            tokio::select! {
                _ = shutdown.wait_for(|down| *down) => {}
                _ = reloads.changed() => {}
            }
        };
        match secured(stream, &web, server.settings.header_time).await {
            Ok(stream) => {
                let answering = Answering {
                    server: Arc::clone(&server),
                    content,
                    pace: Arc::clone(&pace),
                    client: client.ip(),
                };
                let io = Watched::new(stream, Arc::clone(&pace), Arc::clone(&server));
                converse(io, &web, answering, &pace, stopping).await;
            }
            Err(error) => {
                add_one(&server.stats.tls_failures);
                tracing::debug!(%client, %error, "TLS handshake failed");
            }
        }
        drop(place);
    }
}

/// Counts a connection as long as it is open, also when it is cut off.
struct Open(Arc<Server>);

impl Open {
    fn new(server: Arc<Server>) -> Self {
        server.stats.connections_open.fetch_add(1, Ordering::Relaxed);
        Self(server)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.stats.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets hyper talk, until it is done or late.
async fn converse(
    io: Watched,
    web: &WebConfig,
    answering: Answering,
    pace: &Pace,
    stopping: impl Future<Output = ()>,
) {
    let server = Arc::clone(&answering.server);
    let client = answering.client;
    let service = service_fn(move |request| answering.clone().answer(request));
    let builder = builder(&server, web);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut stopping = pin!(stopping);
    let mut stopped = false;
    let mut alarm = pin!(sleep_until(Instant::now() + server.settings.header_time));
    let end = poll_fn(|cx| {
        if !stopped && stopping.as_mut().poll(cx).is_ready() {
            stopped = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(done) = connection.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(End::Broken));
        }
        loop {
            // While an answer is made there is nothing to wait for here but to look again.
            let deadline = pace.deadline();
            let at = deadline.map_or_else(|| Instant::now() + LOOK_AGAIN, |(at, _)| at);
            if alarm.deadline() != at {
                alarm.as_mut().reset(at);
            }
            ready!(alarm.as_mut().poll(cx));
            match pace.deadline() {
                Some((at, late)) if at <= Instant::now() => return Poll::Ready(Err(End::Late(late))),
                _ => {}
            }
        }
    })
    .await;
    match end {
        Ok(()) => {}
        Err(End::Broken(error)) => tracing::debug!(%client, error = error.to_string(), "connection broke"),
        Err(End::Late(late)) => {
            let stats = &server.stats;
            let (counter, what) = match late {
                Late::Header => (&stats.header_timeouts, "no request arrived in time"),
                Late::Send => (&stats.send_timeouts, "an answer was not taken in time"),
                Late::Idle | Late::Close => (&stats.idle_timeouts, "idle for too long"),
            };
            add_one(counter);
            tracing::debug!(%client, "closed: {what}");
        }
    }
}

enum End {
    Late(Late),
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

/// Its own time limits are off: they cannot tell a slow header from an idle connection, [`Pace`] can.
fn builder(server: &Server, web: &WebConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let header_bytes = server.settings.header_bytes;
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(header_bytes.max(SMALLEST));
    builder
        .http2()
        .timer(TokioTimer::new())
        // Beyond this h2 refuses by itself, without an identifier; up to it we do.
        .max_header_list_size(u32::try_from(header_bytes.saturating_mul(4)).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER);
    if web.http2 { builder } else { builder.http1_only() }
}

#[cfg(feature = "tls")]
async fn secured(stream: TcpStream, web: &WebConfig, within: Duration) -> io::Result<Box<dyn Duplex>> {
    let Some(tls) = &web.tls else { return Ok(Box::new(stream)) };
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(tls));
    let stream = tokio::time::timeout(within, acceptor.accept(stream)).await.map_err(io::Error::other)??;
    Ok(Box::new(stream))
}

/// Always as it is: a configuration that asks for TLS was refused.
#[cfg(not(feature = "tls"))]
fn secured(stream: TcpStream, _: &WebConfig, _: Duration) -> std::future::Ready<io::Result<Box<dyn Duplex>>> {
    std::future::ready(Ok(Box::new(stream)))
}

const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// hyper takes no smaller buffer.
const SMALLEST: usize = 8192;
/// Requests of one HTTP/2 connection at a time.
const STREAMS: u32 = 16;
/// Bytes of an HTTP/2 answer that wait for the client beside those in the answer itself.
const SEND_BUFFER: usize = 65_536;
