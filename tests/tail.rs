//! Files of other programs: storms of rotation, a restart, speed, and the rules that come with the program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::disallowed_types, reason = "a test of what waits waits by the clock")]

#[path = "support/patience.rs"]
mod patience;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use patience::within;
use sidetone::Stamp;
use sidetone::export::loki::spool::Spool;
use sidetone::export::loki::{self, Settings};
use sidetone::export::prometheus::{Exposition, Metrics};
use sidetone::tail::{self, Reader};

/// A reader on a thread of its own, whose lines stay in the spool: nobody listens where they are sent.
struct Following {
    directory: PathBuf,
    stats: Arc<std::sync::Mutex<Vec<tail::Stats>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn follow(directory: &Path, log: &Path) -> Following {
    let target = "http://127.0.0.1:9".parse().unwrap();
    let settings = Settings { url: Some(target), spool_bytes: 1 << 30, ..Settings::default() };
    let (outlet, _) = loki::open(settings, directory.join("spool"), "h").unwrap().unwrap();
    let settings = tail::Settings {
        name: "app".into(),
        paths: vec![log.to_owned()],
        format: tail::Format::Text,
        from_start: true,
        ..tail::Settings::default()
    };
    let shown = Arc::new(str::to_owned);
    let reader = tail::open(vec![settings], &directory.join("positions"), Some(outlet), shown).unwrap();
    let (stats, stop) = (reader.stats(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&stop);
    let thread = thread::spawn(move || reader.run(&told));
    Following { directory: directory.to_owned(), stats, stop, thread }
}

impl Following {
    fn lines(&self) -> u64 {
        self.stats.lock().unwrap().iter().map(|tail| tail.lines).sum()
    }

    fn end(self) -> PathBuf {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
        self.directory
    }
}

fn spooled(directory: &Path) -> Vec<String> {
    let spool = Spool::open(&directory.join("spool"), 1 << 30).unwrap();
    let mut lines = Vec::new();
    while let Some(batch) = spool.take(1 << 20, 100_000) {
        spool.done(&batch);
        lines.extend(batch.lines.into_iter().map(|line| line.line));
    }
    lines
}

fn append(path: &Path) -> File {
    File::options().append(true).create(true).open(path).unwrap()
}

/// How a log is turned over.
#[derive(Clone, Copy)]
enum By {
    /// Renamed; the program goes on in the old file until it is told, or at once in a new one.
    Name,
    /// Copied, and cut.
    Copy,
}

/// Writes numbered lines and rotates, as fast as it can.
fn storm(by: By, log: &Path, from: u64, rotations: u64, mut pause: impl FnMut(u64)) -> u64 {
    let mut written = from;
    let mut file = append(log);
    for rotation in 0..rotations {
        for _ in 0..100 {
            writeln!(file, "line {written:07} of a log that is turned over again and again").unwrap();
            written += 1;
        }
        let away = log.with_file_name(format!("app.log.{}", from + rotation + 1));
        match (by, rotation % 2) {
            (By::Name, 0) => {
                fs::rename(log, away).unwrap();
                writeln!(file, "line {written:07} behind its rotation").unwrap();
                written += 1;
                file = append(log);
            }
            (By::Copy, _) => {
                fs::copy(log, away).unwrap();
                File::options().write(true).open(log).unwrap().set_len(0).unwrap();
            }
            (By::Name, _) => {
                drop(file);
                fs::rename(log, away).unwrap();
                file = append(log);
            }
        }
        pause(rotation);
    }
    written
}

fn assert_each_once(mut lines: Vec<String>, written: u64) {
    lines.sort();
    assert_each(&lines, written);
    assert_eq!(lines.len() as u64, written, "some are doubled");
}

/// `lines` in order; some may be there twice.
fn assert_each(lines: &[String], written: u64) {
    let numbers: Vec<u64> = lines.iter().map(|line| line[5..12].parse().unwrap()).collect();
    let missing: Vec<_> =
        (0..written).filter(|number| numbers.binary_search(number).is_err()).take(5).collect();
    assert!(missing.is_empty(), "missing {missing:?}");
}

#[test]
#[ignore = "not solved: with hundreds of rotations a second and restarts among them, lines are lost"]
fn a_storm_of_renamings_loses_and_doubles_no_line() {
    let (lines, written) = after_a_storm(By::Name);
    assert_each_once(lines, written);
}

/// Between copy and cut there is a moment in which a line is in both files: it may come twice, with the same time and
/// text, but come it will.
#[test]
#[ignore = "not solved: with hundreds of rotations a second and restarts among them, lines are lost or doubled"]
fn a_storm_of_copies_loses_no_line() {
    let (mut lines, written) = after_a_storm(By::Copy);
    lines.sort();
    assert_each(&lines, written);
}

fn after_a_storm(by: By) -> (Vec<String>, u64) {
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let log = logs.join("app.log");
    let mut following = follow(directory.path(), &log);
    let mut written = 0;
    for round in 0..4 {
        written = storm(by, &log, written, 60, |rotation| {
            if rotation % 7 == round {
                thread::sleep(Duration::from_millis(10));
            }
        });
        // Started anew, with rotations in between.
        let kept = following.end();
        written = storm(by, &log, written, 3, |_| {});
        following = follow(&kept, &log);
    }
    within(60, || {
        let behind: u64 = following.stats.lock().unwrap().iter().map(|tail| tail.behind).sum();
        behind == 0 && following.lines() > 0
    });
    thread::sleep(Duration::from_millis(300));
    let kept = following.end();
    (spooled(&kept), written)
}

#[test]
fn a_fast_log_is_kept_up_with() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("app.log");
    let line = format!(
        "{{\"event\":\"request\",\"status\":\"ok\",\"duration_ms\":12.5,\"text\":\"{}\"}}\n",
        "x".repeat(180)
    );
    let bytes = line.repeat((64 << 20) / line.len());
    fs::write(&log, &bytes).unwrap();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/tail/json-application.toml");
    for (what, extra, send) in [
        ("followed", "", false),
        ("with rules", rules, false),
        ("with rules and into the spool", rules, true),
    ] {
        let state = directory.path().join(what);
        let settings = Settings {
            url: Some("http://127.0.0.1:9".parse().unwrap()),
            spool_bytes: 1 << 30,
            ..Settings::default()
        };
        let (outlet, _) = loki::open(settings, state.join("spool"), "h").unwrap().unwrap();
        let mut tails = tails(&log, extra);
        tails[0].send = send;
        let mut reader =
            tail::open(tails, &state.join("positions"), Some(outlet), Arc::new(str::to_owned)).unwrap();
        let begun = Instant::now();
        let mut now = Stamp(1);
        while reader.round(now, true) {
            now = now.plus_nanos(1);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let read: u64 = reader.stats().lock().unwrap().iter().map(|tail| tail.bytes).sum();
        assert_eq!(read, bytes.len() as u64);
        println!("{what}: {:.0} MB/s", read as f64 / seconds / 1e6);
    }
}

fn tails(log: &Path, rules: &str) -> Vec<tail::Settings> {
    let rules = if rules.is_empty() { String::new() } else { format!("rules = [{rules:?}]\n") };
    let text =
        format!("[[tail]]\nname = \"app\"\nfrom_start = true\npaths = [\"{}\"]\n{rules}", log.display());
    sidetone::config::read("s.toml", &text, &BTreeMap::new()).unwrap().agent.tails
}

/// What is scraped after the sample log was read.
fn scraped(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let log = root.join(format!("fixtures/tail/{name}.log"));
    let rules = root.join(format!("packaging/tail/{name}.toml"));
    let directory = tempfile::tempdir().unwrap();
    let tails = tails(&log, rules.to_str().unwrap());
    let mut reader: Reader =
        tail::open(tails, &directory.path().join("positions"), None, Arc::new(str::to_owned)).unwrap();
    while reader.round(Stamp(1), true) {}
    let metrics = Metrics::new().with_tail(Some(reader.families()));
    for exposition in [Exposition::OpenMetrics, Exposition::Protobuf] {
        metrics.write(exposition, &mut Vec::new()).unwrap();
    }
    let mut text = Vec::new();
    metrics.write(Exposition::Classic, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn assert_scraped(name: &str, expected: &[&str]) {
    let text = scraped(name);
    for line in expected {
        assert!(text.lines().any(|found| found == *line), "{line} is missing:\n{text}");
    }
}

#[test]
fn any_json_application_has_its_requests_errors_and_durations() {
    assert_scraped(
        "json-application",
        &[
            "# TYPE app_requests_total counter",
            "app_requests_total{method=\"GET\",status=\"ok\"} 1",
            "app_requests_total{method=\"POST\",status=\"ok\"} 1",
            "app_requests_total{method=\"POST\",status=\"failed\"} 1",
            "app_errors_total{stage=\"database\"} 1",
            "app_request_duration_seconds_bucket{le=\"0.25\",method=\"POST\"} 1",
            "app_request_duration_seconds_sum{method=\"GET\"} 0.0045000000000000009",
        ],
    );
}

#[test]
fn a_speech_to_text_service_has_its_durations_errors_cost_and_bytes() {
    assert_scraped(
        "speech-to-text",
        &[
            "# TYPE stt_transcription_duration_seconds histogram",
            "stt_transcription_duration_seconds_count{provider=\"local\"} 2",
            "stt_transcription_duration_seconds_bucket{le=\"2.0\",provider=\"local\"} 2",
            "stt_transcription_errors_total{error=\"timeout\",provider=\"local\"} 1",
            "stt_transcription_cost_total{provider=\"local\"} 0.75",
            "stt_audio_processed_bytes_total{provider=\"local\"} 128000.0",
        ],
    );
}

#[test]
fn a_chat_service_has_its_requests_errors_model_and_memory() {
    assert_scraped(
        "chat",
        &[
            "chat_requests_total{secure=\"true\",status=\"ok\"} 2",
            "chat_requests_total{secure=\"false\",status=\"error\"} 1",
            "chat_errors_total{stage=\"llm\"} 1",
            "llm_generate_seconds_count{} 1",
            "memory_operations_total{operation=\"recall\",status=\"ok\"} 1",
        ],
    );
}

#[test]
fn users_and_streams_are_counted() {
    assert_scraped(
        "user-events",
        &[
            "user_registrations_total{} 1",
            "user_logins_total{} 2",
            "streams_started_total{} 1",
            "stream_duration_seconds_bucket{le=\"3600.0\"} 1",
            "stream_duration_seconds_sum{} 1830.0",
        ],
    );
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_its_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("r.toml");
    fs::write(
        &rules,
        "[[rule]]\nmetric = \"voip_calls\"\ntype = \"gauge\"\nhelp = \"h\"\nvalue = \"v\"\n[[rule]]\nmetric = \"a\"\n\
         type = \"counter\"\nhelp = \"h\"\n[[rule]]\nmetric = \"b\"\ntype = \"gauge\"\nhelp = \"h\"\nbuckets = [1]\n\
         pattern = \"(\"\n",
    )
    .unwrap();
    let text = format!("[[tail]]\nname = \"app\"\npaths = \"app.log\"\nrules = {rules:?}\n");
    let problems = sidetone::config::read("s.toml", &text, &BTreeMap::new()).unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.place.rsplit('/').next().unwrap()).collect();
    for place in ["s.toml:3", "r.toml:2", "r.toml:7", "r.toml:14", "r.toml:15"] {
        assert!(places.contains(&place), "{place}: {problems:#?}");
    }
}
