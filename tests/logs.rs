//! The logs: exactly the lines that one would expect of each kind of call, as the schema says, with nothing personal in
//! them where that is hidden; files that turn over; floods and full disks that stop nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "support/needs.rs"]
mod needs;
#[path = "logs/schema.rs"]
mod schema;
#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sidetone::Stamp;
use sidetone::event::{Described, Event, Sink};
use sidetone::log::privacy::{Personal, Treatment, Treatments};
use sidetone::log::{self, Level, Line, Logs, Place, Settings, Stream, project};
use sidetone::observer::{self, Observer};
use sidetone::simulate::{Outcome, Plan, Traffic};
use sidetone::wire::Frame;

/// All logs to files, with settings of the test's own.
fn settings(directory: &Path) -> Settings {
    let mut settings = Settings {
        directory: Some(directory.to_owned()),
        places: Stream::ALL.map(|_| vec![Place::File]),
        audit_key: Some(directory.join("audit.key")),
        ..Settings::default()
    };
    // Midnight may come while a test runs.
    settings.rotation.daily = false;
    settings
}

/// Opens the logs, has lines told, and ends.
fn logged(settings: &Settings, tell: impl FnOnce(&Logs)) -> Logs {
    let opened = log::open(settings, clock).unwrap();
    let logs = opened.logs().clone();
    let running = opened.start(|_, body| thread::Builder::new().spawn(body)).unwrap();
    tell(&logs);
    assert!(running.finish());
    logs
}

/// Files know the real time, so that it is asked here too.
#[allow(clippy::disallowed_types, reason = "tests are no part of the core")]
fn clock() -> Stamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Stamp(now.as_nanos() as u64)
}

/// Tells the logs what the observer finds, as the agent does.
struct ToLogs<'a> {
    logs: &'a Logs,
    events: Vec<Event>,
}

impl Sink for ToLogs<'_> {
    fn event(&mut self, event: Event) {
        project::event(self.logs, clock(), &event);
        self.events.push(event);
    }

    fn wants_described(&self) -> bool {
        project::wants_described(self.logs)
    }

    fn described(&mut self, described: &Described<'_>) {
        project::described(self.logs, clock(), described);
    }
}

/// Plays a plan; `keep` may leave frames out.
fn play(logs: &Logs, plan: &Plan, keep: impl Fn(&Frame<'_>) -> bool) -> Vec<Event> {
    let mut observer = Observer::new(observer::Settings::default());
    let mut sink = ToLogs { logs, events: Vec::new() };
    let mut traffic = Traffic::new(plan.clone()).unwrap();
    let mut last = plan.start;
    while let Some(frame) = traffic.next_frame() {
        last = frame.stamp;
        if keep(&frame) {
            observer.packets(&[frame], &mut sink);
        }
    }
    for second in 1..400 {
        observer.tick(last.plus_seconds(second), &mut sink);
    }
    observer.finish(&mut sink);
    sink.events
}

fn plan(outcomes: &[Outcome]) -> Plan {
    Plan {
        calls: outcomes.len() as u32,
        outcomes: outcomes.to_vec(),
        duration: 12.0,
        rate: 1.0,
        ..Plan::default()
    }
}

/// The lines of a log; each of them is as the schema says.
fn lines(directory: &Path, stream: Stream) -> Vec<Value> {
    let schema = serde_json::from_str(include_str!("../docs/logs.schema.json")).unwrap();
    let text = fs::read_to_string(log::file::path(directory, stream)).unwrap();
    let mut last = String::new();
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let wrong = schema::violations(&schema, &line, "line");
        assert!(wrong.is_empty(), "{wrong:#?}\n{line}");
        let time = line["timestamp"].as_str().unwrap().to_owned();
        assert!(time > last, "times rise");
        last = time;
        line
    };
    text.lines().map(read).collect()
}

/// The messages about each call or registration, in the order in which those came up.
fn told(lines: &[Value]) -> Vec<Vec<String>> {
    let mut calls: Vec<(&str, Vec<String>)> = Vec::new();
    for line in lines {
        let (call_id, message) = (line["call_id"].as_str().unwrap(), line["message"].as_str().unwrap());
        match calls.iter_mut().find(|(known, _)| *known == call_id) {
            Some((_, messages)) => messages.push(message.to_owned()),
            None => calls.push((call_id, vec![message.to_owned()])),
        }
    }
    calls.into_iter().map(|(_, messages)| messages).collect()
}

#[test]
fn each_kind_of_call_gives_exactly_its_lines() {
    for (outcome, expected) in [
        (Outcome::Answered, &["call answered", "call ended"][..]),
        (Outcome::Challenged, &["call answered", "call ended"]),
        (Outcome::Forked, &["call answered", "call ended"]),
        (Outcome::Busy, &["call failed"]),
        (Outcome::Redirected, &["call redirected"]),
        (Outcome::NoAnswer, &["routing failed"]),
        (Outcome::Cancelled, &["call cancelled"]),
        (Outcome::WrongPassword, &["call failed"]),
        (Outcome::Timeout, &["routing failed"]),
        (Outcome::NoFinal, &["call failed"]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        logged(&settings(directory.path()), |logs| drop(play(logs, &plan(&[outcome]), |_| true)));
        let application = lines(directory.path(), Stream::Application);
        assert_eq!(told(&application), [expected], "{outcome:?}");
        let diagnostics = lines(directory.path(), Stream::Diagnostics);
        let of = |message| diagnostics.iter().filter(|line| line["message"] == message).count();
        let talks = expected.len() == 2;
        assert_eq!(of("stream ended") + of("stream anomalies"), if talks { 2 } else { 0 }, "{outcome:?}");
        assert!(
            of("sdp offered") >= 1 && (!talks || of("sdp answered") >= 1),
            "{outcome:?}: {diagnostics:#?}"
        );
    }
}

#[test]
fn failures_of_the_network_are_told_from_those_of_people() {
    let directory = tempfile::tempdir().unwrap();
    let events = [Outcome::Rejected; 30];
    logged(&settings(directory.path()), |logs| drop(play(logs, &plan(&events), |_| true)));
    let mut statuses = BTreeSet::new();
    for line in lines(directory.path(), Stream::Application) {
        let status = line["metadata"]["status"].as_u64().unwrap();
        let is_routing = matches!(status, 404 | 480 | 500..);
        assert_eq!(line["message"], if is_routing { "routing failed" } else { "call failed" }, "{status}");
        statuses.insert(is_routing);
    }
    assert_eq!(statuses.len(), 2);
}

#[test]
fn registrations_are_told() {
    for (mix, expected) in [(0.0, "registered"), (100.0, "registration failed")] {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan { calls: 0, registrations: 3, mix, ..Plan::default() };
        logged(&settings(directory.path()), |logs| drop(play(logs, &plan, |_| true)));
        let application = lines(directory.path(), Stream::Application);
        assert_eq!(told(&application), vec![[expected]; 3]);
    }
}

#[test]
fn a_bad_call_is_called_bad_and_its_streams_odd() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan { loss: 20.0, ..plan(&[Outcome::Answered]) };
    logged(&settings(directory.path()), |logs| drop(play(logs, &plan, |_| true)));
    let application = lines(directory.path(), Stream::Application);
    assert_eq!(told(&application), [["call answered", "call ended", "bad quality"]]);
    assert!(application[2]["metadata"]["mos"].as_f64().unwrap() < 3.1);
    let odd = lines(directory.path(), Stream::Diagnostics);
    let odd: Vec<_> = odd.iter().filter(|line| line["message"] == "stream anomalies").collect();
    assert_eq!(odd.len(), 2);
    assert!(odd.iter().all(|line| line["metadata"]["lost"].as_u64().unwrap() > 10));
}

#[test]
fn one_way_audio_has_a_line_of_its_own() {
    let plan = plan(&[Outcome::Answered; 4]);
    // RTP and RTCP of whoever was heard last: the second party of the last call.
    let source = |frame: &Frame<'_>| <[u8; 4]>::try_from(&frame.bytes[26..30]).unwrap();
    let is_sip = |frame: &Frame<'_>| frame.bytes[34..38].chunks(2).any(|port| port == 5060_u16.to_be_bytes());
    let mut heard = Vec::new();
    let mut traffic = Traffic::new(plan.clone()).unwrap();
    while let Some(frame) = traffic.next_frame() {
        if !is_sip(&frame) && !heard.contains(&source(&frame)) {
            heard.push(source(&frame));
        }
    }
    let mute = *heard.last().unwrap();
    let directory = tempfile::tempdir().unwrap();
    logged(&settings(directory.path()), |logs| {
        play(logs, &plan, |frame| is_sip(frame) || source(frame) != mute);
    });
    let told = told(&lines(directory.path(), Stream::Application));
    assert_eq!(told.iter().filter(|call| call.len() == 2).count(), 3, "{told:?}");
    assert!(told.iter().any(|call| *call == ["call answered", "call ended", "one-way audio"]), "{told:?}");
}

#[test]
fn nothing_personal_is_in_a_log_that_hides_it() {
    let mixed = [Outcome::Answered, Outcome::Busy, Outcome::Cancelled, Outcome::Forked, Outcome::Timeout];
    let plan = Plan { registrations: 5, mix: 50.0, ..plan(&mixed) };
    for treatment in [Treatment::Mask, Treatment::Hash, Treatment::Drop] {
        let directory = tempfile::tempdir().unwrap();
        let hiding = Settings { privacy: Treatments::all(treatment), ..settings(directory.path()) };
        let mut events = Vec::new();
        logged(&hiding, |logs| {
            events = play(logs, &plan, |_| true);
            let mut line =
                Line::new(Stream::Audit, Level::Info, logs.now(clock()), "http", "call data read", None);
            line.personal("client", Personal::ip([203, 0, 113, 77].into()))
                .personal("user", Personal::user("mallory"));
            line.word("path", "/api/calls").count("status", 200);
            logs.tell(line.requested("r-1"));
        });
        let mut secrets = BTreeSet::from(["203.0.113.77".to_owned(), "mallory".to_owned()]);
        let mut uri = |uri: &str| {
            secrets.extend(
                uri.split_once(':')
                    .and_then(|(_, rest)| rest.split_once('@'))
                    .map(|(user, _)| user.to_owned()),
            );
        };
        for event in &events {
            match event {
                Event::Call(call) => [&call.from, &call.to].into_iter().for_each(|text| uri(text)),
                Event::Registration(registration) => uri(&registration.aor),
                _ => {}
            }
        }
        for event in &events {
            if let Event::Call(call) = event {
                secrets.extend([call.source, call.destination].map(|endpoint| endpoint.ip.to_string()));
            }
        }
        assert!(secrets.len() > 8, "{secrets:?}");
        for stream in Stream::ALL {
            assert!(!lines(directory.path(), stream).is_empty());
            let text = fs::read_to_string(log::file::path(directory.path(), stream)).unwrap();
            for secret in &secrets {
                let is_address = secret.parse::<std::net::IpAddr>().is_ok();
                let shows =
                    text.contains(&format!(":{secret}@")) || (is_address && text.contains(secret.as_str()));
                assert!(!shows, "{treatment}: {secret} is in {}", stream.name());
            }
        }
    }
}

#[test]
fn a_flood_is_cut_and_every_line_accounted_for() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(&[Outcome::Busy]);
    let call = play(&Logs::off(), &plan, |_| true)
        .into_iter()
        .find(|event| matches!(event, Event::Call(_)))
        .unwrap();
    let before = resident_kilobytes();
    let told = 60_000_u64;
    let logs = logged(&settings(directory.path()), |logs| {
        for _ in 0..60 {
            for _ in 0..told / 60 {
                project::event(logs, clock(), &call);
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let counts = logs.counts(Stream::Application);
    let written = lines(directory.path(), Stream::Application);
    let failed = written.iter().filter(|line| line["message"] == "call failed").count() as u64;
    assert_eq!(failed + counts.suppressed + counts.lost, told);
    assert!(counts.suppressed > 0);
    let said: u64 = written
        .iter()
        .filter(|line| line["message"] == "lines suppressed")
        .map(|line| line["metadata"]["lines"].as_u64().unwrap())
        .sum();
    assert_eq!(said, counts.suppressed, "what was suppressed is said");
    let grown = resident_kilobytes().saturating_sub(before);
    println!(
        "{told} events at 20,000 a second: {failed} lines, {} suppressed, {} lost, {grown} kB more memory",
        counts.suppressed, counts.lost
    );
    assert!(grown < 40_000, "{grown} kB");
}

/// Prints what a line costs; nothing is asserted of time.
#[test]
fn what_a_line_costs_is_shown() {
    let logs = Logs::off();
    let plan = plan(&[Outcome::Answered]);
    let Some(Event::Call(call)) =
        play(&logs, &plan, |_| true).into_iter().find(|event| matches!(event, Event::Call(_)))
    else {
        panic!("a call ended")
    };
    let begun = clock();
    let count = 20_000_u64;
    let mut bytes = 0;
    for at in 0..count {
        let mut line =
            Line::new(Stream::Application, Level::Info, Stamp(at), "call", "call ended", Some(&call.call_id));
        line.personal("from", Personal::uri(&call.from)).personal("to", Personal::uri(&call.to));
        line.personal("source", Personal::endpoint(call.source)).time("start", call.start);
        line.number("mos", call.mos).count("streams", 2);
        bytes += line.traced(None).weight() as u64;
    }
    let nanos = clock().nanos_since(begun) as u64 / count;
    println!("a line: {nanos} ns in this build, {} bytes of memory", bytes / count);
}

#[test]
fn files_turn_over_are_compressed_and_old_ones_go() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("application-2026-01-01.log.gz");
    fs::write(&old, "").unwrap();
    let mut small = settings(directory.path());
    small.rotation.bytes = 4096;
    small.retention.full_files = 3;
    small.rate.burst = 1e6;
    let call = play(&Logs::off(), &plan(&[Outcome::Busy]), |_| true);
    logged(&small, |logs| {
        for _ in 0..200 {
            tell_all(logs, &call);
        }
        thread::sleep(Duration::from_millis(300));
    });
    // The next start compresses what the last one had no time for.
    logged(&small, |_| thread::sleep(Duration::from_millis(500)));
    assert!(!old.exists());
    let names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let full: Vec<_> = names.iter().filter(|name| name.starts_with("application-")).collect();
    assert_eq!(full.len(), 3, "{names:?}");
    assert!(full.iter().all(|name| name.ends_with(".log.gz")), "{names:?}");
    let number = |name: &&String| name.split('.').nth(1).unwrap().parse::<u64>().unwrap();
    let mut numbers: Vec<_> = full.iter().map(number).collect();
    numbers.sort_unstable();
    assert!(numbers[0] > 10 && numbers[2] == numbers[0] + 2, "the last ones stay: {numbers:?}");
    // The audit was turned over as well.
    let mut audit = String::new();
    for name in names.iter().filter(|name| name.starts_with("audit") && name.contains(".log")) {
        let file = fs::File::open(directory.path().join(name)).unwrap();
        if name.strip_suffix(".gz").is_some() {
            flate2::read::GzDecoder::new(file).read_to_string(&mut audit).unwrap();
        } else {
            std::io::BufReader::new(file).read_to_string(&mut audit).unwrap();
        }
    }
    assert!(
        audit
            .contains("\"file\":\"application-2026-01-01.log.gz\",\"of\":\"application\",\"reason\":\"age\"")
    );
    assert!(audit.contains("\"reason\":\"count\""));
}

#[test]
fn a_file_that_somebody_else_turns_over_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let call = play(&Logs::off(), &plan(&[Outcome::Busy]), |_| true);
    let path = log::file::path(directory.path(), Stream::Application);
    let kept = directory.path().join("application.log.1");
    logged(&settings(directory.path()), |logs| {
        tell_all(logs, &call);
        thread::sleep(Duration::from_millis(200));
        fs::rename(&path, &kept).unwrap();
        logs.reopen();
        tell_all(logs, &call);
    });
    assert_eq!(fs::read_to_string(kept).unwrap().lines().count(), 1);
    assert_eq!(lines(directory.path(), Stream::Application).len(), 1);
}

#[test]
fn a_full_disk_stops_nothing_and_is_told_when_there_is_room_again() {
    if !needs::root_with(&["mount", "umount"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        Command::new(arguments[0]).args(&arguments[1..]).arg(directory.path()).status().unwrap()
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=256k", "st-logs"]).success() {
        return skipped::skipped("no tmpfs can be mounted here");
    }
    let mut settings = settings(directory.path());
    settings.rate.burst = 1e6;
    let ballast = directory.path().join("ballast");
    fs::write(&ballast, vec![0; 180 << 10]).unwrap();
    let call = play(&Logs::off(), &plan(&[Outcome::Busy]), |_| true);
    let told = 6000;
    let logs = logged(&settings, |logs| {
        for _ in 0..told / 100 {
            for _ in 0..100 {
                tell_all(logs, &call);
            }
            thread::sleep(Duration::from_millis(10));
        }
        let full = logs.counts(Stream::Application);
        assert!(full.errors > 0 && full.lost > 0, "{full:?}");
        // Larger, as if somebody had made room.
        assert!(mount(&["mount", "-o", "remount,size=16m"]).success());
        thread::sleep(Duration::from_millis(2500));
        tell_all(logs, &call);
    });
    let counts = logs.counts(Stream::Application);
    let written = lines(directory.path(), Stream::Application);
    let failed = written.iter().filter(|line| line["message"] == "call failed").count() as u64;
    assert_eq!(failed + counts.lost, told + 1, "{counts:?}");
    assert!(written.iter().any(|line| line["message"] == "lines lost"));
    assert_eq!(lines(directory.path(), Stream::Audit).last().unwrap()["message"], "audit checkpoint");
    assert!(mount(&["umount"]).success());
}

fn tell_all(logs: &Logs, events: &[Event]) {
    for event in events {
        project::event(logs, clock(), event);
    }
}

fn resident_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
