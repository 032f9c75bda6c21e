//! `sidetone run`: the life of the agent.
//!
//! ```text
//! open rings, bind listeners -> drop privileges -> capture thread: ring -> Observer --events--> facts thread: Metrics
//!                                                        \-- Live, when asked for --> HTTP
//! ```
//!
//! One thread owns all call and stream state. What leaves it are events over a bounded queue and a snapshot when a
//! scrape asks for one: nobody who is slow can hold it up; what the queue has no room for is counted.

mod account;
mod clock;
mod demo;
mod evidence;
mod hep;
mod itself;
mod journal;
mod pages;
mod processes;
mod reload;
mod shared;
mod shipping;
pub mod sources;
mod tap;
mod traces;
mod watchdog;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::capture::hep::Listen;
use crate::capture::live;
use crate::config::Config;
use crate::export::prometheus::Metrics;
use crate::http::{self, Listeners, Server, WebConfig};
use crate::log;
use crate::process::second::{self, Second};
use crate::process::{self, Own, Privileged};
use crate::sandbox;
pub use demo::demo;
pub use hep::Settings as HepSettings;
use pages::Pages;
pub use reload::Origin;
use reload::Reload;
use shared::Shared;
use shipping::Shipping;
use sources::Sources;
use tap::Tap;

/// Where the agent captures and what it serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to capture, and on what.
    pub capture: sources::Settings,
    /// Where HTTP is served.
    pub listen: Vec<SocketAddr>,
    /// A Prometheus `web-config.yml`: TLS, client certificates, passwords.
    pub web_config: Option<PathBuf>,
    /// HEP in and out.
    pub hep: HepSettings,
    /// The processes beside the calls, and the host.
    pub processes: process::Settings,
    /// What is logged, and where to.
    pub logs: log::Settings,
    /// Where lines are sent.
    pub loki: crate::export::loki::Settings,
    /// What is recorded of calls, and kept of bad ones.
    pub evidence: crate::evidence::Settings,
    /// Log files of other programs.
    pub tails: Vec<crate::tail::Settings>,
    /// Where it keeps what must survive it.
    pub state: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capture: sources::Settings::default(),
            listen: vec![http::DEFAULT_ADDRESS],
            web_config: None,
            hep: HepSettings::default(),
            processes: process::Settings::default(),
            logs: log::Settings::default(),
            loki: crate::export::loki::Settings::default(),
            evidence: crate::evidence::Settings::default(),
            tails: Vec::new(),
            state: PathBuf::from("/var/lib/sidetone"),
        }
    }
}

impl Settings {
    /// Where evidence is kept.
    pub fn evidence_directory(&self) -> PathBuf {
        self.evidence.directory.clone().unwrap_or_else(|| self.state.join("evidence"))
    }
}

/// Runs until SIGTERM or SIGINT; returns the exit code.
pub fn run(config: Config, origin: Origin) -> u8 {
    code(start(config, origin))
}

fn code(outcome: Result<(), Failure>) -> u8 {
    match outcome {
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

impl Failure {
    fn broken(error: impl Display) -> Self {
        Self { text: error.to_string(), code: EX_IOERR }
    }
}

fn start(config: Config, origin: Origin) -> Result<(), Failure> {
    // Before anything is open that it would inherit.
    let second = second::start();
    let sources = open(&config.agent)?;
    let listeners = Listeners::bind(&config.agent.listen).map_err(Failure::broken)?;
    attend(config, origin, sources, listeners, second, say)
}

/// Measures what the sources bring and serves it, until the process is told to stop.
fn attend(
    config: Config,
    origin: Origin,
    sources: Sources,
    listeners: Listeners,
    second: Option<Second>,
    say: fn(&Settings, &Listeners, &[Listen], &WebConfig, &sandbox::Report),
) -> Result<(), Failure> {
    let settings = config.agent.clone();
    let web = web_config(&settings)?;
    let (hep, senders) = settings.hep.clone().open().map_err(Failure::broken)?;
    let hep_listens = hep.local();
    let mut opened = log::open(&settings.logs, clock::now).map_err(Failure::broken)?;
    let logs = opened.logs().clone();
    let journal = journal::Journal::new(&settings.logs, opened.health());
    let shipping = Shipping::open(&settings, &process::host::name(), &mut opened)?;
    let metrics = Metrics::with(config.metrics.clone()).with_tail(shipping.families());
    let shared = Arc::new(Shared::new(metrics, logs, shipping.told()));
    let observer = config.observing();
    let traces = traces::open(&config, &shared, |treatments| opened.policy(treatments))?;
    let evidence = evidence::open(&config);
    let reload = Arc::new(Reload::new(origin, config, &web, Arc::clone(&shared)));
    let gpus = if settings.processes.gpu { process::host::Gpus::open() } else { process::host::Gpus::none() };
    // Everything is open. No packet was looked at yet, and no other thread is there.
    let (read, write) = shipping.directories();
    let needs = sandbox::Needs {
        read: [reload.directories().as_slice(), &processes::reads(&settings.processes), read].concat(),
        write: [settings.logs.directories().as_slice(), write, &evidence.directories()].concat(),
        gpus: gpus.are_there(),
        connects: traces.is_some() || shipping.connects() || !settings.hep.send.is_empty(),
    };
    let sandbox = sandbox::enter(&needs).map_err(Failure::broken)?;

    let (events, facts) = crossbeam_channel::bounded(EVENT_QUEUE);
    let logging = opened.start(spawn)?;
    log::bridge::listen(shared.logs.clone(), clock::now);
    account::started(&shared.logs, &settings, &sandbox);
    let senders = hep::Senders::start(senders, |body| spawn("hep", body))?;
    let (teller, exporter) = traces.unzip();
    let sender =
        exporter.map(|exporter| traces::Sender::start(exporter, |body| spawn("otlp", body))).transpose()?;
    let mut shipping = shipping.start(spawn)?;
    let kept = evidence.state();
    let (recorder, keeping) = evidence.start(&shared.logs, |body| spawn("evidence", body))?;
    let tap = Tap::new(sources, hep, observer, events, recorder, Arc::clone(&shared));
    let capture = spawn("capture", move || tap.run())?;
    let queue = facts.clone();
    let told = Arc::clone(&shared);
    let telling = spawn("facts", move || told.take_all(&facts, teller))?;

    let polls = Arc::clone(&shared);
    let watched = settings.processes.clone();
    let rights = second.as_ref().map(Second::state);
    let privileged: Box<dyn Privileged> = match second {
        Some(second) => Box::new(second),
        None => Box::new(Own::default()),
    };
    let polling = spawn("processes", move || processes::run(&polls, watched, privileged, gpus))?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::broken(format_args!("starting the runtime: {error}")))?;
    say(&settings, &listeners, &hep_listens, &web, &sandbox);
    let server = Server::new(http::Settings::default(), web);
    let pages =
        Pages::new(Arc::clone(&shared), Arc::clone(&server), reload, sandbox, rights, queue, (journal, kept));
    let served = runtime.block_on(serve(&server, listeners, Arc::new(pages)));
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // Capture ends first; what it has told by then is taken in, and then nobody is left to tell.
    shared.stop.store(true, Ordering::Release);
    shared.polling.end();
    let joined = [capture.join(), telling.join(), polling.join()];
    keeping.finish();
    senders.finish();
    sender.into_iter().for_each(traces::Sender::finish);
    shipping.stop_reading();
    account::stopped(&shared.logs);
    let logged = logging.finish();
    shipping.finish();
    if !logged || joined.iter().any(Result::is_err) {
        return Err(Failure::broken("a thread died; this is a bug, please report it"));
    }
    served.map_err(|error| Failure::broken(format_args!("http: {error}")))
}

fn web_config(settings: &Settings) -> Result<WebConfig, Failure> {
    match &settings.web_config {
        Some(file) => WebConfig::load(file).map_err(|problems| Failure {
            text: problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nsidetone: "),
            code: EX_CONFIG,
        }),
        None => Ok(WebConfig::default()),
    }
}

/// Needs CAP_NET_RAW.
fn open(settings: &Settings) -> Result<Sources, Failure> {
    sandbox::take_up().map_err(Failure::broken)?;
    Sources::open(settings.capture.clone()).map_err(|error| {
        let code = match error {
            live::Error::NotPermitted => EX_NOPERM,
            live::Error::NoInterface(_) | live::Error::Filter { .. } | live::Error::NoLibpcap(_) => EX_CONFIG,
            live::Error::Libpcap { .. } | live::Error::System { .. } => EX_IOERR,
        };
        Failure { text: error.to_string(), code }
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Failure> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| Failure::broken(format_args!("starting a thread: {error}")))
}

/// Waits for threads that were told to end; one that hangs in a name service or on a disk is left behind.
fn leave<'a>(threads: impl IntoIterator<Item = &'a thread::JoinHandle<()>>, longest: Duration) {
    let mut looks = longest.as_millis() / LOOK.as_millis();
    for thread in threads {
        while looks > 0 && !thread.is_finished() {
            thread::sleep(LOOK);
            looks -= 1;
        }
    }
}

fn say(
    settings: &Settings,
    listeners: &Listeners,
    hep: &[Listen],
    web: &WebConfig,
    sandbox: &sandbox::Report,
) {
    let mut stderr = io::stderr().lock();
    let on = match settings.capture.interfaces.as_slice() {
        [] => "all interfaces".to_owned(),
        names => names.join(", "),
    };
    let _ = writeln!(stderr, "sidetone {} captures on {on}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(stderr, "sidetone: it runs with {}", sandbox.summary());
    let scheme = if web.is_tls() { "https" } else { "http" };
    for address in listeners.addresses() {
        let _ = writeln!(stderr, "sidetone: {scheme}://{address}/metrics");
    }
    for listen in hep {
        let _ = writeln!(stderr, "sidetone: HEP on {listen}");
    }
    for peer in &settings.hep.send {
        let _ = writeln!(stderr, "sidetone: HEP to {peer}");
    }
}

async fn serve(server: &Arc<Server>, listeners: Listeners, pages: Arc<Pages>) -> io::Result<()> {
    let hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let reopen = signal(SignalKind::user_defined1())?;
    tokio::spawn(reopening(reopen, pages.shared().logs.clone()));
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::spawn(Arc::clone(pages.reload()).follow(Arc::clone(server), hangup));
    tokio::spawn(watchdog::watch(Arc::clone(pages.shared())));
    // Without a service manager there is nobody to tell. Signals are taken by now.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    server.serve(listeners, pages, stop).await
}

/// For those who turn log files over themselves.
async fn reopening(mut asked: Signal, logs: log::Logs) {
    while asked.recv().await.is_some() {
        logs.reopen();
    }
}

/// Events that wait for the facts thread: about four seconds of windows of 20,000 streams.
const EVENT_QUEUE: usize = 8192;
/// From one look at a thread that ends to the next.
const LOOK: Duration = Duration::from_millis(50);
/// `sysexits.h`.
const EX_CONFIG: u8 = 64;
const EX_IOERR: u8 = 74;
const EX_NOPERM: u8 = 77;
