//! What the agent serves over HTTP (DESIGN 5): metrics, health, calls and streams.
//!
//! ```text
//! Listeners::bind          before privileges are dropped
//!      |
//! Server::serve -- accept --> connection --> TLS --> hyper --> answer --> Content (the agent)
//!                    |            |                    |          |
//!                 too many:    too slow:           too large:  rate, credentials, route, representation
//!                 closed       closed              431         429, 401, 404, 405, 406
//! ```
//!
//! Everything is bounded, and what is refused is counted ([`Stats`]). Nothing here can hold up the capture: what is
//! served comes from a snapshot that the agent keeps ([`Content`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub mod content;
pub mod listen;
pub mod rate;
pub mod stats;
pub mod web_config;

mod answer;
mod auth;
mod body;
mod connection;
pub(crate) mod gzip;
mod negotiate;
mod pace;
mod query;
mod reply;
mod request_id;
mod route;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub use content::{Access, Condition, Content, Download, Health, Later, Part, Refusal};
pub use listen::{BindError, DEFAULT_ADDRESS, Listeners};
pub use negotiate::Format;
pub use query::Query;
pub use rate::{ClientType, Rate};
pub(crate) use route::percent_decoded;
pub use stats::{Snapshot, Stats};
pub use web_config::WebConfig;

use connection::Connection;
use rate::Limiter;
use request_id::RequestIds;
use stats::add_one;

/// The bounds of the listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Connections at a time; more are accepted and closed.
    pub connections: usize,
    /// Bytes of a request's header, 8192 at least; a larger one is answered 431.
    pub header_bytes: usize,
    /// How long a request may take to arrive, and a TLS handshake.
    pub header_time: Duration,
    /// How long an answer may take to make; then it is 503.
    pub request_time: Duration,
    /// How long a client may take to receive an answer.
    pub send_time: Duration,
    /// How long a connection may be idle.
    pub idle_time: Duration,
    /// How long open requests have when the server goes down.
    pub drain_time: Duration,
    /// Requests of one client address; `None` is no bound. `rate_limit` of a web configuration overrides it.
    pub rate: Option<Rate>,
    /// Client addresses whose rate is remembered.
    pub rate_clients: usize,
    /// Answers other than probes that are made or sent at a time; further requests wait.
    pub answers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 256,
            header_bytes: 16_384,
            header_time: Duration::from_secs(10),
            request_time: Duration::from_secs(10),
            send_time: Duration::from_secs(30),
            idle_time: Duration::from_mins(1),
            drain_time: Duration::from_secs(5),
            rate: Some(Rate { per_second: 50.0, burst: 200.0 }),
            rate_clients: 4096,
            answers: 8,
        }
    }
}

/// Serves HTTP.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    web: ArcSwap<WebConfig>,
    stats: Stats,
    limiter: Limiter,
    request_ids: RequestIds,
    connections: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    reloads: watch::Sender<u64>,
}

impl Server {
    /// A server that does nothing yet.
    pub fn new(settings: Settings, web: WebConfig) -> Arc<Self> {
        Arc::new(Self {
            web: ArcSwap::from_pointee(web),
            stats: Stats::default(),
            limiter: Limiter::new(settings.rate_clients),
            request_ids: RequestIds::default(),
            connections: Arc::new(Semaphore::new(settings.connections)),
            answers: Arc::new(Semaphore::new(settings.answers)),
            reloads: watch::Sender::new(0),
            settings,
        })
    }

    /// Takes another web configuration, which was checked when it was loaded.
    ///
    /// Connections that are open finish what they do and are closed.
    pub fn reload(&self, web: WebConfig) {
        self.web.store(Arc::new(web));
        self.reloads.send_modify(|generation| *generation += 1);
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Serves until `shutdown` is ready; then finishes open requests, for the drain time at most.
    ///
    /// An error is one of taking over the sockets; once it serves it does not fail.
    pub async fn serve(
        self: &Arc<Self>,
        listeners: Listeners,
        content: Arc<dyn Content>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let down = watch::Sender::new(false);
        let mut accepting = JoinSet::new();
        for socket in listeners.sockets {
            socket.set_nonblocking(true)?;
            let listener = TcpListener::from_std(socket)?;
            accepting.spawn(Arc::clone(self).accept(listener, Arc::clone(&content), down.subscribe()));
        }
        shutdown.await;
        down.send_replace(true);
        while accepting.join_next().await.is_some() {}
        Ok(())
    }

    async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        content: Arc<dyn Content>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = shutdown.wait_for(|down| *down) => break,
                accepted = listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    add_one(&self.stats.accept_errors);
                    tracing::debug!(%error, "no connection could be accepted");
                    // Out of descriptors: trying again at once would only burn the processor.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            add_one(&self.stats.connections);
            let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
                add_one(&self.stats.connections_refused);
                // An answer could be kept waiting by the very client that is one too many.
                drop(stream);
                continue;
            };
            let connection = Connection {
                server: Arc::clone(&self),
                content: Arc::clone(&content),
                client,
                shutdown: shutdown.clone(),
                place,
            };
            connections.spawn(connection.serve(stream));
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.settings.drain_time, drained).await.is_err() {
            tracing::warn!(open = connections.len(), "connections did not finish in time and are cut off");
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
