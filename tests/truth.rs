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

#[path = "truth/exceptions.rs"]
mod exceptions;
#[path = "truth/measured.rs"]
mod measured;
#[path = "truth/signalling.rs"]
mod signalling;
#[path = "truth/streams.rs"]
mod streams;
#[path = "truth/tables.rs"]
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use exceptions::{EXCEPTIONS, NO_RTP};
use measured::Measured;
use signalling::Message;
use streams::Numbers;
use tables::Table;

fn captures(folder: &str) -> Option<PathBuf> {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/captures").into();
    let path = std::env::var_os("SIDETONE_CAPTURES").map_or_else(beside, PathBuf::from).join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no captures at {}; SIDETONE_CAPTURES names another place", path.display());
    None
}

/// Every capture below `folder` that has a truth file, as a path relative to `root`.
fn with_truth(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            with_truth(root, &path, found);
        } else if let Some(capture) = path.to_string_lossy().strip_suffix(".truth.txt") {
            found.push(Path::new(capture).strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
    found.sort();
}

/// What was compared, for the summary.
#[derive(Default)]
struct Tally {
    files: usize,
    streams: usize,
    equal: usize,
    exceptions: Vec<String>,
    no_rtp: usize,
    unlisted: usize,
    messages: usize,
    calls: usize,
    registrations: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn streams(&mut self, file: &str, truth: &std::collections::BTreeMap<streams::Key, Numbers>, measured: &Measured) {
        let mut ours = Numbers::measured(&measured.streams);
        for (key, numbers) in truth {
            let found = ours.remove(key);
            if found.is_none()
                && NO_RTP.iter().any(|no| no.file == file && (no.ssrcs.is_empty() || no.ssrcs.contains(&key.ssrc)))
            {
                self.no_rtp += 1;
                continue;
            }
            self.streams += 1;
            let differences = match found {
                Some(found) => numbers.differences(&found),
                None => {
                    self.wrong.push(format!("{file}: no stream {key}"));
                    continue;
                }
            };
            if differences.is_empty() {
                self.equal += 1;
                continue;
            }
            let exception =
                EXCEPTIONS.iter().find(|e| e.file == file && e.ssrc == key.ssrc && e.port == key.source.port);
            let fields: Vec<&str> = differences.iter().map(|difference| difference.field).collect();
            let text: Vec<String> = differences.iter().map(ToString::to_string).collect();
            match exception {
                Some(exception) if exception.fields == fields => {
                    self.exceptions.push(format!("{file}: {key}: {}: {}", text.join(", "), exception.proof));
                }
                _ => self.wrong.push(format!("{file}: {key}: {}", text.join(", "))),
            }
        }
        for key in ours.keys() {
            self.unlisted += 1;
            self.wrong.push(format!("{file}: unlisted stream {key}"));
        }
    }

    fn signalling(&mut self, file: &str, text: &str, measured: &Measured) {
        let table = Table::under("## SIP messages", text).unwrap_or_default();
        let messages = Message::listed(&table);
        let mut wrong = signalling::compare_counts(&signalling::counts(&messages), &measured.totals);
        wrong.extend(signalling::compare_calls(&messages, &measured.calls));
        wrong.extend(signalling::compare_registrations(&messages, &measured.registrations));
        let table = Table::under("## INVITE transactions", text).unwrap_or_default();
        signalling::compare_transactions(&table, &messages, &measured.calls, &mut wrong);
        self.messages += messages.len();
        self.calls += measured.calls.len();
        self.registrations += measured.registrations.len();
        self.wrong.extend(wrong.into_iter().map(|text| format!("{file}: {text}")));
    }
}

#[test]
fn public_captures_agree_with_their_truth() {
    let Some(root) = captures("public") else { return };
    let mut files = Vec::new();
    with_truth(&root, &root, &mut files);
    let mut tally = Tally::default();
    for file in &files {
        let text = fs::read_to_string(root.join(format!("{file}.truth.txt"))).unwrap();
        let measured = Measured::of(&root.join(file));
        tally.files += 1;
        let table = Table::under("## RFC 3550", &text).unwrap_or_default();
        tally.streams(file, &Numbers::recomputed(&table), &measured);
        tally.signalling(file, &text, &measured);
    }
    for line in &tally.exceptions {
        println!("exception: {line}");
    }
    for line in &tally.wrong {
        println!("WRONG: {line}");
    }
    println!(
        "{} files, {} streams: {} equal, {} exceptions, {} not RTP, {} unlisted; {} SIP messages, {} calls, {} registrations",
        tally.files, tally.streams, tally.equal, tally.exceptions.len(), tally.no_rtp, tally.unlisted,
        tally.messages, tally.calls, tally.registrations
    );
}
