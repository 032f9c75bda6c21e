//! Much in a short time.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use sidetone::export::prometheus::{Exposition, Metrics};
use sidetone::tail::{self, Stats};

use crate::follow::{Following, outlet};
use crate::patience::within;
use crate::rules::tails;

/// Every line of what is written in large pieces, with rotations, becomes a count and is sent on.
///
/// `SIDETONE_TAIL_SECONDS=20 cargo test --release --test tail -- --nocapture volume` writes 50 MB/s for so long and
/// prints what `docs/performance.md` says.
#[test]
fn all_of_a_large_volume_is_counted_and_sent_on() {
    let seconds: Option<u64> = std::env::var("SIDETONE_TAIL_SECONDS").ok().and_then(|text| text.parse().ok());
    let bytes = seconds.map_or(24 << 20, |seconds| seconds * RATE);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("app.log");
    let rules = directory.path().join("rules.toml");
    fs::write(&rules, RULE).unwrap();
    let tails = tails(&log, rules.to_str().unwrap());
    let outlet = outlet(directory.path());
    let positions = directory.path().join("positions");
    let reader = tail::open(tails, &positions, Some(outlet.clone()), Arc::new(str::to_owned)).unwrap();
    let (families, stats) = (reader.families(), reader.stats());
    let following = Following::begin(reader);
    let read = |count: fn(&Stats) -> u64| -> u64 { stats.lock().unwrap().iter().map(count).sum() };

    let begun = Instant::now();
    let writer = thread::spawn(move || write(&log, bytes, seconds.is_some()));
    let mut lags = Vec::new();
    while !writer.is_finished() {
        sleep(Duration::from_millis(50));
        let due = (begun.elapsed().as_secs_f64() * RATE as f64) as u64;
        lags.push(due.min(bytes).saturating_sub(read(|tail| tail.bytes)));
    }
    let lines = writer.join().unwrap();
    assert!(within(300, || read(|tail| tail.lines) >= lines));
    let took = begun.elapsed();
    let busy = Duration::from_nanos(following.end());
    assert_eq!((read(|tail| tail.lines), read(|tail| tail.counted)), (lines, lines));
    let counters = outlet.counters();
    assert_eq!((counters.waiting_lines, counters.lost()), (lines, 0));
    let mut scraped = Vec::new();
    Metrics::new().with_tail(Some(families)).write(Exposition::Classic, &mut scraped).unwrap();
    let expected = format!("requests_total{{status=\"ok\"}} {lines}\n");
    assert!(String::from_utf8(scraped).unwrap().contains(&expected), "{expected}");
    lags.sort_unstable();
    println!(
        "{} MB, {lines} lines in {took:.1?}, reader at work for {busy:.1?}; behind by {:.1} MB (median), {:.1} MB (most)",
        bytes / 1_000_000,
        lags[lags.len() / 2] as f64 / 1e6,
        lags[lags.len() - 1] as f64 / 1e6,
    );
}

/// So many bytes of lines, at a steady rate if that is asked for; how many lines.
fn write(log: &Path, bytes: u64, is_paced: bool) -> u64 {
    let begun = Instant::now();
    let (mut written, mut lines, mut rotated) = (0, 0, 0);
    let mut file = File::create(log).unwrap();
    let text = "x".repeat(170);
    while written < bytes {
        let mut piece = Vec::with_capacity(260 << 10);
        while piece.len() < 256 << 10 {
            lines += 1;
            writeln!(
                piece,
                "{{\"event\":\"request\",\"n\":{lines},\"status\":\"ok\",\"took_ms\":12.5,\"text\":\"{text}\"}}"
            )
            .unwrap();
        }
        file.write_all(&piece).unwrap();
        written += piece.len() as u64;
        if written / (bytes / 16) > rotated {
            rotated += 1;
            fs::rename(log, log.with_file_name(format!("app.log.{rotated}"))).unwrap();
            file = File::create(log).unwrap();
        }
        if is_paced {
            let due = Duration::from_secs_f64(written as f64 / RATE as f64);
            sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    lines
}

/// Bytes a second.
const RATE: u64 = 50_000_000;
const RULE: &str = "[[rule]]\nmetric = \"requests_total\"\ntype = \"counter\"\nhelp = \"Requests\"\n\
    when = { event = \"request\" }\nlabels = { status = \"status\" }\n";
