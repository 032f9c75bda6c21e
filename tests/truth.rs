//! The numbers, on real captures, against what other programs say of them.
//!
//! ```text
//! capture ------------> library ---> streams, calls, registrations, totals --\
//! capture.truth.txt --> tables ----------------------------------------------+-- equal?
//! ```
//!
//! The captures are not part of the repository: they are looked for in `SIDETONE_CAPTURES`, else in
//! `../shared/captures`. Counts must be equal, jitter within 1 % or half of the last digit that the tables
//! print. Where the other program errs, `truth/exceptions.rs` says so and names the frames.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test fail as the test does, and say what was compared"
)]

#[path = "truth/dropped.rs"]
mod dropped;
#[path = "truth/exceptions.rs"]
mod exceptions;
#[path = "truth/hep.rs"]
mod hep;
#[path = "truth/measured.rs"]
mod measured;
#[path = "truth/signalling.rs"]
mod signalling;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "truth/streams.rs"]
mod streams;
#[path = "truth/tables.rs"]
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sidetone::event::{CallResult, RegistrationResult, Stream};
use skipped::skipped;

use exceptions::{CALLS, CAPTURED_TWICE, EVENTS_ONLY, NO_STREAMS, STREAMS, UNLISTED, UNREAD};
use measured::Measured;
use signalling::Message;
use streams::{Difference, Key, Numbers};
use tables::Table;

fn captures() -> Option<PathBuf> {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/captures").into();
    let path = std::env::var_os("SIDETONE_CAPTURES").map_or_else(beside, PathBuf::from);
    if path.join("public").is_dir() && path.join("lab").is_dir() {
        return Some(path);
    }
    skipped(format_args!("no captures at {}; SIDETONE_CAPTURES names another place", path.display()));
    None
}

/// Every file below `folder` whose name ends in `suffix`, without it, as a path relative to `root`.
fn beside(root: &Path, folder: &str, suffix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(capture) = path.to_string_lossy().strip_suffix(suffix) {
                found.push(Path::new(capture).strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// What was compared, and how it came out.
#[derive(Default)]
struct Tally {
    files: usize,
    streams: usize,
    equal: usize,
    copied: usize,
    messages: usize,
    calls: usize,
    registrations: usize,
    exceptions: Vec<String>,
    named: Vec<String>,
    wrong: Vec<String>,
    /// Entries of the tables that were needed, by their proof.
    used: BTreeSet<&'static str>,
}

impl Tally {
    fn streams(&mut self, file: &str, truth: &BTreeMap<Key, Numbers>, measured: &Measured) {
        let mut ours = Numbers::measured(&measured.streams);
        self.copied += measured.streams.iter().filter(|stream| stream.capture_duplicates > 0).count();
        for (key, numbers) in truth {
            let Some(found) = ours.remove(key) else {
                let fits = |no: &&exceptions::NoStream| {
                    no.file == file && (no.ssrcs.is_empty() || no.ssrcs.contains(&key.ssrc))
                };
                if let Some(no) = NO_STREAMS.iter().find(fits) {
                    self.used.insert(no.proof);
                    self.named.push(format!("no stream: {file}: {key}: {}", no.proof));
                } else {
                    self.streams += 1;
                    self.wrong.push(format!("{file}: no stream {key}"));
                }
                continue;
            };
            self.streams += 1;
            let mut differences = numbers.differences(&found);
            let events = EVENTS_ONLY.iter().find(|only| only.file == file && only.ssrcs.contains(&key.ssrc));
            if let Some(only) = events.filter(|_| differences.iter().any(Difference::is_absent_jitter)) {
                differences.retain(|difference| !difference.is_absent_jitter());
                self.used.insert(only.proof);
                self.named.push(format!("no jitter: {file}: {key}: {}", only.proof));
            }
            if differences.is_empty() {
                self.equal += 1;
                continue;
            }
            let fields: Vec<&str> = differences.iter().map(|difference| difference.field).collect();
            let text: Vec<String> = differences.iter().map(ToString::to_string).collect();
            let line = format!("{file}: {key}: {}", text.join(", "));
            let exception = STREAMS.iter().find(|exception| {
                (exception.file, exception.ssrc, exception.port) == (file, key.ssrc, key.source.port)
            });
            match exception {
                Some(exception) if exception.fields == fields => {
                    self.used.insert(exception.proof);
                    self.exceptions.push(format!("{line}: {}", exception.proof));
                }
                _ => self.wrong.push(line),
            }
        }
        for (key, numbers) in ours {
            let known = UNLISTED.iter().find(|unlisted| {
                (unlisted.file, unlisted.ssrc, unlisted.port) == (file, key.ssrc, key.source.port)
            });
            match known {
                Some(unlisted) if unlisted.packets == numbers.packets => {
                    self.used.insert(unlisted.proof);
                    self.named.push(format!("unlisted: {file}: {key}: {}", unlisted.proof));
                }
                _ => self.wrong.push(format!("{file}: unlisted stream {key}: {numbers:?}")),
            }
        }
    }

    fn signalling(&mut self, file: &str, messages: &[Message], measured: &Measured) {
        let twice = CAPTURED_TWICE.iter().filter(|twice| twice.file == file);
        let copies: BTreeSet<u32> = twice.clone().flat_map(|twice| twice.frames).copied().collect();
        let mut truth: Vec<Message> =
            messages.iter().filter(|m| !copies.contains(&m.frame)).cloned().collect();
        for twice in twice {
            self.used.insert(twice.proof);
            self.named.push(format!("captured twice: {file}: frames {:?}: {}", twice.frames, twice.proof));
        }
        let mut wrong = signalling::compare_calls(&truth, &measured.calls);
        wrong.extend(signalling::compare_registrations(&truth, &measured.registrations));
        for unread in UNREAD.iter().filter(|unread| unread.file == file) {
            self.used.insert(unread.proof);
            self.named.push(format!("unread: {file}: {:?}: {}", unread.messages, unread.proof));
            truth.extend(unread.messages.iter().map(|&(frame, start)| Message::bare(frame, start)));
        }
        wrong.extend(signalling::compare_counts(&signalling::counts(&truth), &measured.totals));
        self.messages += messages.len();
        self.calls += measured.calls.len();
        self.registrations += measured.registrations.len();
        self.judge(file, wrong);
    }

    /// Of what is wrong with calls, what the tables name is the truth tool's.
    fn judge(&mut self, file: &str, wrong: Vec<String>) {
        for text in wrong {
            let known = CALLS
                .iter()
                .find(|call| call.file == file && text.starts_with(&format!("call {}:", call.call_id)));
            match known {
                Some(call) => {
                    self.used.insert(call.proof);
                    self.named.push(format!("{file}: {text}: {}", call.proof));
                }
                None => self.wrong.push(format!("{file}: {text}")),
            }
        }
    }

    fn report(&self) {
        for line in self.named.iter().chain(&self.exceptions) {
            println!("{line}");
        }
        println!(
            "{} files; {} streams: {} equal, {} exceptions; {} streams with packets captured twice; \
             {} SIP messages, {} calls, {} registrations",
            self.files,
            self.streams,
            self.equal,
            self.exceptions.len(),
            self.copied,
            self.messages,
            self.calls,
            self.registrations
        );
    }
}

#[test]
fn every_stream_message_call_and_registration_is_what_other_programs_say() {
    let Some(root) = captures() else { return };
    let read = |name: String| fs::read_to_string(root.join(name)).unwrap();
    let mut tally = Tally::default();
    for file in beside(&root, "public", ".truth.txt") {
        let text = read(format!("{file}.truth.txt"));
        let measured = Measured::of(&root.join(&file));
        tally.files += 1;
        let table = Table::under("## RFC 3550", &text).unwrap_or_default();
        tally.streams(&file, &Numbers::recomputed(&table), &measured);
        let table = Table::under("## SIP messages", &text).unwrap_or_default();
        let mut messages = Message::listed(&table);
        messages.extend(hep::decoded(&text));
        tally.signalling(&file, &messages, &measured);
        let table = Table::under("## INVITE transactions", &text).unwrap_or_default();
        tally.judge(&file, signalling::compare_transactions(&table, &messages, &measured.calls));
    }
    for file in beside(&root, "lab", ".hep.jsonl") {
        let capture = format!("{file}.pcap");
        let measured = Measured::of(&root.join(&capture));
        tally.files += 1;
        let streams = fs::read_to_string(root.join(format!("{file}.rtp-streams.txt"))).unwrap_or_default();
        let mut truth = Numbers::listed(&streams);
        if file.ends_with("2-lossy") {
            dropped::correct(&mut truth, &root.join(&capture), &read(format!("{file}.impair-truth.txt")));
        }
        tally.streams(&capture, &truth, &measured);
        let messages = match fs::read_to_string(root.join(format!("{file}.sip.tsv"))) {
            Ok(text) => Message::recorded(&Table::whole(&text)),
            // Without SIP of its own it holds what the proxy mirrored, or nothing of it.
            Err(_) if file.ends_with("5-hep") => {
                hep::received(&read(format!("{file}.hep.jsonl")), measured.totals.last.unwrap())
            }
            Err(_) => Vec::new(),
        };
        tally.signalling(&capture, &messages, &measured);
    }
    tally.report();
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    let proofs = STREAMS.iter().map(|exception| exception.proof);
    let proofs = proofs
        .chain(EVENTS_ONLY.iter().map(|exception| exception.proof))
        .chain(NO_STREAMS.iter().map(|exception| exception.proof))
        .chain(UNLISTED.iter().map(|exception| exception.proof))
        .chain(CAPTURED_TWICE.iter().map(|exception| exception.proof))
        .chain(UNREAD.iter().map(|exception| exception.proof))
        .chain(CALLS.iter().map(|exception| exception.proof));
    for proof in proofs {
        assert!(tally.used.contains(proof), "no longer an exception: {proof}");
    }
    assert!(tally.streams > 200 && tally.messages > 1_400 && tally.calls > 100, "too little was compared");
    assert!(100 * tally.exceptions.len() <= 3 * tally.streams, "more than 3 % of the streams are exceptions");
}

/// `3-mix.expected.txt`: what the scenarios did, one call a call though the tap saw two legs of most.
#[test]
fn a_mix_of_outcomes_is_told_call_by_call() {
    let Some(root) = captures() else { return };
    let measured = Measured::of(&root.join("lab/3-mix.pcap"));
    let mut calls: HashMap<(CallResult, u16, bool), usize> = HashMap::new();
    for call in &measured.calls {
        let outcome = (call.result.unwrap(), call.status.unwrap(), call.challenged);
        *calls.entry(outcome).or_default() += 1;
    }
    let expected = [
        // Challenged, answered.
        ((CallResult::Answered, 200, true), 3),
        // Early media; REFER, and the calls it made.
        ((CallResult::Answered, 200, false), 2 + 2 + 2),
        ((CallResult::Failed, 404, false), 3),
        ((CallResult::Failed, 486, false), 4),
        // The proxy makes 500 of a relayed 503.
        ((CallResult::Failed, 500, false), 3),
        ((CallResult::Failed, 503, false), 2),
        ((CallResult::Failed, 408, false), 2),
        ((CallResult::Cancelled, 487, false), 3),
    ];
    assert_eq!(calls, HashMap::from(expected));
    let two_legs =
        |status| measured.calls.iter().filter(|call| call.status == Some(status)).all(|call| call.hops == 2);
    assert!([486, 500, 487].into_iter().all(two_legs), "both legs are one call");
    let of = |result| measured.registrations.iter().filter(|it| it.result == Some(result)).count();
    assert_eq!((of(RegistrationResult::Success), of(RegistrationResult::Failure)), (10, 2));
    let transfers: Vec<_> =
        measured.transfers.iter().map(|transfer| (transfer.attended, transfer.status)).collect();
    // The transferee tells no more than that it tries (frames 3422 and 3784).
    assert_eq!(transfers, [(false, None); 2]);
}

/// `*.rtpproxy.txt`: what the relay that recorded some captures counts in them. Its jitter is another one: it
/// takes the later of two copies, and begins otherwise.
#[test]
fn rtpproxy_counts_the_same() {
    let Some(root) = captures() else { return };
    let mut compared = 0;
    for file in beside(&root, "public", ".rtpproxy.txt") {
        let measured = Measured::of(&root.join(&file));
        let text = fs::read_to_string(root.join(format!("{file}.rtpproxy.txt"))).unwrap();
        let mut figures: BTreeMap<&str, &str> = BTreeMap::new();
        for pair in text.lines().flat_map(|line| line.split(',')) {
            let Some((name, value)) = pair.trim().split_once('=') else { continue };
            figures.insert(name, value);
            // The last figure of an SSRC.
            if name != "max_jitter" {
                continue;
            }
            // It was given both directions of a call, and each capture holds one or both.
            let ssrc = streams::hexadecimal(figures["ssrc"].trim_start_matches("0x"));
            let own: Vec<_> = measured.streams.iter().filter(|stream| Key::of(stream).ssrc == ssrc).collect();
            if own.is_empty() {
                continue;
            }
            let of =
                |field: fn(&Stream) -> u64| own.iter().map(|stream| field(stream)).sum::<u64>().to_string();
            let got = [of(|s| s.expected), of(|s| s.packets), of(|s| s.lost), of(|s| s.duplicates)];
            assert_eq!(
                got,
                ["psent", "precvd", "plost", "duplicates"].map(|name| figures[name]),
                "{file} {ssrc:#x}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 9, "{compared}");
}
