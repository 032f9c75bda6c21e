//! What a line of the logs costs (DESIGN 7): `cargo bench --bench line`. Figures only, no verdict: they belong into
//! docs/performance.md.
//!
//! The line is that of a call that has ended, the longest of the usual ones. *Made* is what the thread of the facts pays: the
//! line with its personal parts marked, the rate of its cause, the queue. *Written* is all of it, in processor time of all
//! threads: made, taken out of the queue, shown by the policy of the output, into a file.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that prints figures or fails"
)]
#![allow(clippy::disallowed_types, reason = "time is what is measured")]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sidetone::Stamp;
use sidetone::event::Event;
use sidetone::log::privacy::{Treatment, Treatments};
use sidetone::log::{self, Logs, Place, Settings, Stream, project};
use sidetone::observer::{self, Observer};
use sidetone::simulate::{Outcome, Plan, Traffic};

fn main() {
    let call = call();
    let directory = tempfile::tempdir().unwrap();
    let opened = log::open(&settings(directory.path(), Treatments::KEPT), clock).unwrap();
    let logs = opened.logs().clone();
    // Nobody takes lines out of the queue: once it is full, all is done for a line but to put it in.
    tell(&logs, &call, 10_000);
    let mut made: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            tell(&logs, &call, LINES);
            start.elapsed().as_secs_f64() * 1e9 / f64::from(LINES)
        })
        .collect();
    figure("made", &mut made);
    drop(opened);
    for (name, treatments) in [
        ("written, all kept", Treatments::KEPT),
        ("written, users and numbers hashed", Treatments::SENT),
        ("written, all hashed", Treatments::all(Treatment::Hash)),
    ] {
        let mut written: Vec<f64> = (0..ROUNDS).map(|_| whole(&call, treatments)).collect();
        figure(name, &mut written);
    }
}

/// Nanoseconds of all threads for a line.
fn whole(call: &Event, treatments: Treatments) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let opened = log::open(&settings(directory.path(), treatments), clock).unwrap();
    let logs = opened.logs().clone();
    let running = opened.start(|_, body| thread::Builder::new().spawn(body)).unwrap();
    let before = processor_nanos();
    for _ in 0..LINES / IN_HAND {
        tell(&logs, call, IN_HAND);
        while logs.waiting() > 0 {
            thread::sleep(Duration::from_micros(500));
        }
    }
    assert!(running.finish());
    let spent = processor_nanos() - before;
    let counts = logs.counts(Stream::Application);
    assert_eq!((counts.lines, counts.lost, counts.suppressed), (u64::from(LINES / IN_HAND * IN_HAND), 0, 0));
    let bytes = std::fs::metadata(log::file::path(directory.path(), Stream::Application)).unwrap().len();
    assert!(bytes / counts.lines > 300);
    spent / counts.lines as f64
}

fn tell(logs: &Logs, call: &Event, lines: u32) {
    for _ in 0..lines {
        project::event(logs, clock(), call);
    }
}

fn figure(what: &str, nanos: &mut [f64]) {
    nanos.sort_by(f64::total_cmp);
    let (least, median) = (nanos.first().unwrap(), nanos.get(ROUNDS / 2).unwrap());
    println!("{what:<36} {median:>7.0} ns a line (least {least:.0})");
}

/// Only the application log, to a file, and as many lines as come.
fn settings(directory: &Path, privacy: Treatments) -> Settings {
    let mut settings = Settings {
        directory: Some(directory.to_owned()),
        places: [vec![Place::File], Vec::new(), Vec::new()],
        privacy,
        ..Settings::default()
    };
    settings.rate.burst = 1e12;
    settings.rate.per_second = 1e12;
    settings.rotation.daily = false;
    settings.rotation.bytes = u64::MAX;
    settings
}

fn call() -> Event {
    let plan = Plan { calls: 1, outcomes: vec![Outcome::Answered], duration: 10.0, ..Plan::default() };
    let mut observer = Observer::new(observer::Settings::default());
    let mut found = None;
    let mut sink = |event| {
        if let Event::Call(call) = event {
            found = Some(Event::Call(call));
        }
    };
    let mut traffic = Traffic::new(plan).unwrap();
    while let Some(frame) = traffic.next_frame() {
        observer.packets(&[frame], &mut sink);
    }
    observer.finish(&mut sink);
    found.unwrap()
}

fn clock() -> Stamp {
    Stamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

/// In ticks of 10 ms: hence so many lines.
fn processor_nanos() -> f64 {
    let stat = procfs::process::Process::myself().unwrap().stat().unwrap();
    (stat.utime + stat.stime) as f64 * 1e9 / procfs::ticks_per_second() as f64
}

const LINES: u32 = 500_000;
/// Fewer than find room in the queue.
const IN_HAND: u32 = 5_000;
const ROUNDS: usize = 7;
