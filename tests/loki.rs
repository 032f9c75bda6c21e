//! Lines on their way to Loki: nothing lost, nothing out of order, whatever happens to the server, to the connection or to
//! the agent; and a server with Loki's API gives them back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::disallowed_types, reason = "a test of what waits waits by the clock")]

#[cfg(feature = "tls")]
#[path = "support/certificates.rs"]
mod certificates;
#[path = "loki/double.rs"]
mod double;
#[path = "support/patience.rs"]
mod patience;
#[cfg(feature = "tls")]
#[path = "support/qryn.rs"]
mod qryn;
#[path = "loki/secured.rs"]
mod secured;
#[path = "loki/server.rs"]
mod server;
#[path = "support/skipped.rs"]
mod skipped;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use double::{Double, Fault};
use patience::within;
use sidetone::export::loki::{self, Line, Outlet, Settings};

struct Running {
    outlet: Outlet,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

fn settings(url: &str) -> Settings {
    Settings {
        url: Some(url.parse().unwrap()),
        tenant: Some("voip".into()),
        batch_wait: Duration::from_millis(5),
        batch_lines: 50,
        timeout: Duration::from_secs(5),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(200),
        seed: Some(1),
        ..Settings::default()
    }
}

fn start(settings: Settings, directory: &Path) -> Running {
    let (outlet, sender) = loki::open(settings, directory.to_owned(), "proxy1").unwrap().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = thread::spawn(move || sender.run(&told).unwrap());
    Running { outlet, stop, thread }
}

impl Running {
    fn put(&self, stream: &str, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let text = format!("{stream} {number:06}");
            let line = Line {
                stream,
                nanos: 1_800_000_000_000_000_000 + number,
                level: None,
                labels: &[],
                text: &text,
            };
            let call_id = format!("call-{number}");
            self.outlet.put(&[self.outlet.kept(&line, [("call_id", call_id.as_str())])], None);
        }
    }

    /// Requests that failed for this reason.
    fn failures(&self, reason: &str) -> u64 {
        let failures = self.outlet.counters().failures;
        failures.iter().find(|(why, _)| *why == reason).map_or(0, |(_, count)| *count)
    }

    fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
    }
}

fn assert_whole(double: &Double, stream: &str, lines: u64) {
    let taken = double.taken.lock().unwrap();
    assert_eq!(taken.wrong, [""; 0]);
    let labels = format!("{{host=\"proxy1\",job=\"sidetone\",stream=\"{stream}\"}}");
    let found: Vec<_> = taken.streams[&labels].iter().map(|(_, line)| line.clone()).collect();
    let expected: Vec<_> = (0..lines).map(|number| format!("{stream} {number:06}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn nothing_is_lost_and_nothing_overtakes_whatever_the_server_does() {
    let directory = tempfile::tempdir().unwrap();
    let double = Double::start();
    double.fail([
        Fault::Status(500, ""),
        Fault::Cut,
        Fault::TakenAndCut,
        Fault::Status(429, ""),
        Fault::Status(401, ""),
        Fault::Status(413, ""),
        Fault::Cut,
        Fault::Status(503, ""),
        Fault::TakenAndCut,
    ]);
    let running = start(settings(&double.url()), directory.path());
    running.put("application", 0..500);
    running.put("audit", 0..300);
    assert!(within(30, || double.lines() == 800), "{} {:?}", double.lines(), running.outlet.counters());
    // Away, and there again, and the agent is started anew meanwhile.
    double.stop();
    running.put("application", 500..700);
    running.end();
    let running = start(settings(&double.url()), directory.path());
    running.put("application", 700..900);
    assert!(within(30, || !running.outlet.counters().is_up));
    let double = double.again();
    double.fail([Fault::TakenAndCut, Fault::Status(500, "")]);
    assert!(within(30, || double.lines() == 1200), "{} {:?}", double.lines(), running.outlet.counters());
    assert!(within(30, || running.outlet.counters().waiting_lines == 0));
    assert_whole(&double, "application", 900);
    assert_whole(&double, "audit", 300);
    let taken = double.taken.lock().unwrap();
    assert!(taken.again > 0, "what was taken without an answer comes once more");
    assert!(taken.headers.contains("\r\nx-scope-orgid: voip\r\n"), "{}", taken.headers);
    assert_eq!(taken.metadata["audit 000007"], [("call_id".to_owned(), "call-7".to_owned())]);
    drop(taken);
    let counters = running.outlet.counters();
    assert!(counters.is_up && counters.lost() == 0, "{counters:?}");
    running.end();
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let double = Double::start();
    double.fail([Fault::Status(429, "retry-after: 1\r\n")]);
    let running = start(settings(&double.url()), directory.path());
    running.put("application", 0..10);
    assert!(within(30, || double.lines() == 10));
    let taken = double.taken.lock().unwrap();
    assert!(taken.times[1] - taken.times[0] >= Duration::from_secs(1));
    drop(taken);
    running.end();
}

#[test]
fn what_the_server_will_never_take_is_given_up_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let double = Double::start();
    double.fail([Fault::Status(400, "")]);
    let running = start(Settings { batch_lines: 1, ..settings(&double.url()) }, directory.path());
    running.put("application", 0..3);
    assert!(within(30, || double.lines() == 2));
    assert!(within(30, || running.outlet.counters().lost.contains(&("400", 1))));
    running.end();
}

/// The real program, tailing a file.
fn agent(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["demo", "--config"])
        .arg(config)
        .env("SIDETONE_HTTP_LISTEN", "127.0.0.1:0")
        .env_remove(server::ASKED)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// By SIGTERM, once it listens to signals.
fn end(mut agent: Child) {
    let status = format!("/proc/{}/status", agent.id());
    let catches = || {
        let text = fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & 1 << (15 - 1) != 0
    };
    assert!(within(30, catches));
    assert!(Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap().success());
    assert!(agent.wait().unwrap().success());
}

#[test]
fn an_agent_that_is_killed_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (log, config) = (directory.path().join("app.log"), directory.path().join("s.toml"));
    let double = Double::start();
    let text = format!(
        "[state]\ndirectory = {:?}\n[loki]\nurl = {:?}\nstreams = [\"app\"]\nbatch_seconds = 0.02\n\
         labels = [\"host=proxy1\"]\n[[tail]]\nname = \"app\"\nformat = \"text\"\nfrom_start = true\npaths = [{log:?}]\n",
        directory.path().join("state"),
        double.url()
    );
    fs::write(&config, text).unwrap();
    let mut file = File::options().append(true).create(true).open(&log).unwrap();
    let mut written = 0;
    for kill in 0..4 {
        let mut child = agent(&config);
        for _ in 0..15 {
            for _ in 0..200 {
                writeln!(file, "app {written:06}").unwrap();
                written += 1;
            }
            thread::sleep(Duration::from_millis(20));
        }
        if kill == 1 {
            fs::rename(&log, directory.path().join("app.log.1")).unwrap();
            file = File::options().append(true).create(true).open(&log).unwrap();
        }
        // In the middle of it, wherever that is.
        let before = double.lines();
        within(20, || double.lines() > before);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let child = agent(&config);
    let all = within(60, || double.lines() == written);
    end(child);
    assert!(all, "{} of {written}", double.lines());
    assert_whole(&double, "app", written as u64);
}
