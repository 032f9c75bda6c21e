//! `sidetone run`: the life of the agent.
//!
//! ```text
//! open rings, bind listeners -> drop privileges -> capture thread: ring -> Observer --events--> facts thread: Metrics
//!                                                        \-- Live, when asked for --> HTTP
//! ```
//!
//! One thread owns all call and stream state. What leaves it are events over a bounded queue and a snapshot when a
//! scrape asks for one: nobody who is slow can hold it up; what the queue has no room for is counted.

mod pages;
mod reload;
mod shared;
mod tap;
mod watchdog;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::capture::ring::{self, Interface, Ring};
use crate::config::Config;
use crate::http::{self, Listeners, WebConfig};
use crate::sandbox;
use pages::Pages;
pub use reload::Origin;
use reload::Reload;
use shared::Shared;
use tap::Tap;

/// Where the agent captures and what it serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Interfaces to capture on; empty = all.
    pub interfaces: Vec<String>,
    /// The ring of each.
    pub ring: ring::Settings,
    /// Where HTTP is served.
    pub listen: Vec<SocketAddr>,
    /// A Prometheus `web-config.yml`: TLS, client certificates, passwords.
    pub web_config: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            ring: ring::Settings::default(),
            listen: vec![http::DEFAULT_ADDRESS],
            web_config: None,
        }
    }
}

/// Runs until SIGTERM or SIGINT; returns the exit code.
pub fn run(config: Config, origin: Origin) -> u8 {
    match start(config, origin) {
        Ok(()) => 0,
        Err(failure) => {
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(io::stderr(), "sidetone: {}", failure.text);
            failure.code
        }
    }
}

/// Why the agent did not start, or stopped.
struct Failure {
    text: String,
    code: u8,
}

fn start(config: Config, origin: Origin) -> Result<(), Failure> {
    let settings = config.agent.clone();
    let web = match &settings.web_config {
        Some(file) => WebConfig::load(file).map_err(|problems| Failure {
            text: problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nsidetone: "),
            code: EX_CONFIG,
        })?,
        None => WebConfig::default(),
    };
    let rings = open(&settings)?;
    let listeners = Listeners::bind(&settings.listen)
        .map_err(|error| Failure { text: error.to_string(), code: EX_IOERR })?;
    let shared = Arc::new(Shared::default());
    let observer = config.observer.clone();
    let reload = Arc::new(Reload::new(origin, config, &web, Arc::clone(&shared)));
    // Everything is open. No packet was looked at yet, and no other thread is there.
    let needs = sandbox::Needs { read: reload.directories(), connects: false };
    let sandbox =
        sandbox::enter(&needs).map_err(|error| Failure { text: error.to_string(), code: EX_IOERR })?;

    let (events, facts) = crossbeam_channel::bounded(EVENT_QUEUE);
    let tap = Tap::new(rings, observer, events, Arc::clone(&shared));
    let capture = spawn("capture", move || tap.run())?;
    let told = Arc::clone(&shared);
    let telling = spawn("facts", move || {
        for fact in facts {
            told.take(fact);
        }
    })?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure { text: format!("starting the runtime: {error}"), code: EX_IOERR })?;
    say(&settings, &listeners, &web, &sandbox);
    let served = runtime.block_on(serve(listeners, web, &shared, reload, sandbox));
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // Capture ends first; what it has told by then is taken in, and then nobody is left to tell.
    shared.stop.store(true, Ordering::Release);
    let joined = [capture.join(), telling.join()];
    if joined.iter().any(Result::is_err) {
        return Err(Failure {
            text: "a thread died; this is a bug, please report it".into(),
            code: EX_IOERR,
        });
    }
    served.map_err(|error| Failure { text: format!("http: {error}"), code: EX_IOERR })
}

/// Needs CAP_NET_RAW.
fn open(settings: &Settings) -> Result<Vec<Ring>, Failure> {
    let interfaces = match settings.interfaces.as_slice() {
        [] => vec![Interface::Any],
        names if names.iter().any(|name| name == "any") => vec![Interface::Any],
        names => names.iter().cloned().map(Interface::Named).collect(),
    };
    let ring = |interface| {
        Ring::open(interface, settings.ring).map_err(|error| {
            let code = match error {
                ring::Error::NotPermitted => EX_NOPERM,
                ring::Error::NoInterface(_) => EX_CONFIG,
                ring::Error::System { .. } => EX_IOERR,
            };
            Failure { text: error.to_string(), code }
        })
    };
    interfaces.into_iter().map(ring).collect()
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Failure> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| Failure { text: format!("starting a thread: {error}"), code: EX_IOERR })
}

fn say(settings: &Settings, listeners: &Listeners, web: &WebConfig, sandbox: &sandbox::Report) {
    let mut stderr = io::stderr().lock();
    let on = match settings.interfaces.as_slice() {
        [] => "all interfaces".to_owned(),
        names => names.join(", "),
    };
    let _ = writeln!(stderr, "sidetone {} captures on {on}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(stderr, "sidetone: it runs with {}", sandbox.summary());
    let scheme = if web.is_tls() { "https" } else { "http" };
    for address in listeners.addresses() {
        let _ = writeln!(stderr, "sidetone: {scheme}://{address}/metrics");
    }
}

async fn serve(
    listeners: Listeners,
    web: WebConfig,
    shared: &Arc<Shared>,
    reload: Arc<Reload>,
    sandbox: sandbox::Report,
) -> io::Result<()> {
    let hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let server = http::Server::new(http::Settings::default(), web);
    tokio::spawn(Arc::clone(&reload).follow(Arc::clone(&server), hangup));
    tokio::spawn(watchdog::watch(Arc::clone(shared)));
    // Without a service manager there is nobody to tell. Signals are taken by now.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let pages = Pages::new(Arc::clone(shared), reload, sandbox);
    server.serve(listeners, Arc::new(pages), stop).await
}

/// Events that wait for the facts thread: about four seconds of windows of 20,000 streams.
const EVENT_QUEUE: usize = 8192;
/// `sysexits.h`.
const EX_CONFIG: u8 = 64;
const EX_IOERR: u8 = 74;
const EX_NOPERM: u8 = 77;
