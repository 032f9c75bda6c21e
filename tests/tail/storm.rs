//! A log that is turned over hundreds of times a second, while the agent is restarted and killed.
//!
//! What is promised holds as long as no file is made, turned over and deleted between two looks: nobody can read that.
//! So the writer keeps fifty files, as `logrotate` would, and before it deletes one it waits until the reader has got
//! beyond it. It never waits while a reader runs on a machine that is not overloaded.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use sidetone::tail::Shown;

use crate::follow::{Following, reader, spooled};
use crate::patience::within;

/// How a log is turned over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    /// `app.log` -> `.1` -> `.2` ...; the program goes on in the old file for a moment, in the middle of a line.
    Name,
    /// Copied to `.1`, and cut.
    Copy,
}

/// Number of the last line that the reader has got to, in a file, so that it outlives the reader.
#[derive(Clone)]
struct Progress(PathBuf);

impl Progress {
    fn get(&self) -> u64 {
        fs::read(&self.0).ok().and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))).unwrap_or(0)
    }

    /// Told of each line that is on its way into the spool.
    fn shown(&self) -> Shown {
        let last = Arc::new(AtomicU64::new(self.get()));
        let (told, path) = (Arc::downgrade(&last), self.0.clone());
        thread::spawn(move || {
            let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
            while let Some(last) = told.upgrade() {
                let last = last.load(Ordering::Acquire);
                std::os::unix::fs::FileExt::write_all_at(&file, &last.to_le_bytes(), 0).unwrap();
                sleep(Duration::from_millis(2));
            }
        });
        Arc::new(move |line| {
            last.fetch_max(number(line), Ordering::AcqRel);
            line.to_owned()
        })
    }
}

/// Of `line 000123 ...`; numbers begin at 1.
fn number(line: &str) -> u64 {
    line.get(5..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
}

/// What the writer did.
struct Written {
    lines: u64,
    rotations: u64,
    /// Times that it had to wait for the reader.
    waits: u64,
}

struct Writer {
    log: PathBuf,
    by: By,
    file: File,
    done: Written,
    /// First line of each generation.
    firsts: Vec<u64>,
}

impl Writer {
    fn new(directory: &Path, by: By) -> Self {
        let log = directory.join("logs/app.log");
        fs::create_dir(directory.join("logs")).unwrap();
        let file = append(&log);
        Self { log, by, file, done: Written { lines: 0, rotations: 0, waits: 0 }, firsts: Vec::new() }
    }

    fn line(&mut self) {
        self.done.lines += 1;
        writeln!(self.file, "line {:07} of a log that is turned over again and again", self.done.lines)
            .unwrap();
    }

    /// So many times in a second, until it is told to stop.
    fn storm(mut self, rate: u32, progress: &Progress, stop: &AtomicBool, rotations: &AtomicU64) -> Written {
        let begun = Instant::now();
        while !stop.load(Ordering::Acquire) {
            self.firsts.push(self.done.lines + 1);
            for _ in 0..10 {
                self.line();
            }
            self.turn_over(progress);
            rotations.store(self.done.rotations, Ordering::Release);
            let due = Duration::from_secs(1) / rate * u32::try_from(self.done.rotations).unwrap();
            sleep(due.saturating_sub(begun.elapsed()));
        }
        self.done
    }

    fn turn_over(&mut self, progress: &Progress) {
        // Files are read in the order of their birth, which is told in ticks of up to ten milliseconds.
        let beyond = self.firsts.len().checked_sub(KEPT + 1).map(|deleted| self.firsts[deleted + TICK]);
        if let Some(beyond) = beyond.filter(|beyond| progress.get() < *beyond) {
            self.done.waits += 1;
            let begun = Instant::now();
            while progress.get() < beyond {
                assert!(begun.elapsed() < Duration::from_mins(2), "the reader has stopped");
                sleep(Duration::from_millis(1));
            }
        }
        for number in (1..KEPT).rev() {
            let (from, to) = (self.rotated(number), self.rotated(number + 1));
            if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
        match self.by {
            By::Copy => {
                fs::copy(&self.log, self.rotated(1)).unwrap();
                self.file.set_len(0).unwrap();
            }
            By::Name => {
                self.done.lines += 1;
                write!(self.file, "line {:04}", self.done.lines / 1000).unwrap();
                fs::rename(&self.log, self.rotated(1)).unwrap();
                writeln!(self.file, "{:03} around its rotation", self.done.lines % 1000).unwrap();
                self.line();
                self.file = append(&self.log);
            }
        }
        self.done.rotations += 1;
    }

    fn rotated(&self, number: usize) -> PathBuf {
        self.log.with_file_name(format!("app.log.{number}"))
    }
}

fn append(path: &Path) -> File {
    File::options().append(true).create(true).open(path).unwrap()
}

/// Runs `disturb` again and again while the storm rages; then what came, and what was written.
fn in_a_storm(by: By, disturb: impl Fn(&Path, &Progress, u64)) -> (Vec<String>, Written) {
    let directory = tempfile::tempdir().unwrap();
    let progress = Progress(directory.path().join("progress"));
    let (stop, rotations) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = Writer::new(directory.path(), by);
    let storm = {
        let (progress, stop, rotations) = (progress.clone(), Arc::clone(&stop), Arc::clone(&rotations));
        thread::spawn(move || writer.storm(200, &progress, &stop, &rotations))
    };
    let begun = Instant::now();
    for round in 0.. {
        disturb(directory.path(), &progress, round);
        let is_enough = rotations.load(Ordering::Acquire) >= ROTATIONS && round >= 4;
        if is_enough || begun.elapsed() > Duration::from_secs(20) {
            break;
        }
    }
    stop.store(true, Ordering::Release);
    // The writer may be waiting for a reader, and what nobody has read yet needs one.
    let following = Following::begin(reader(directory.path(), progress.shown()));
    let written = storm.join().unwrap();
    assert!(within(60, || progress.get() == written.lines), "{} of {}", progress.get(), written.lines);
    following.end();
    let _ = writeln!(
        std::io::stderr(),
        "{by:?}: {} rotations in {:.1?}, {} lines, waited {} times for the reader",
        written.rotations,
        begun.elapsed(),
        written.lines,
        written.waits
    );
    (spooled(directory.path()), written)
}

fn assert_each_once(lines: &[String], written: u64) {
    let mut numbers: Vec<u64> = lines.iter().map(|line| number(line)).collect();
    numbers.sort_unstable();
    let missing: Vec<u64> =
        (1..=written).filter(|number| numbers.binary_search(number).is_err()).take(5).collect();
    let doubled: Vec<u64> =
        numbers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).take(5).collect();
    assert!(
        missing.is_empty() && doubled.is_empty(),
        "missing {missing:?}, doubled {doubled:?} of {written}"
    );
}

/// Stopped and started again, with rotations in between.
fn restart(directory: &Path, progress: &Progress, _: u64) {
    let following = Following::begin(reader(directory, progress.shown()));
    sleep(Duration::from_millis(300));
    following.end();
    sleep(Duration::from_millis(60));
}

#[test]
fn a_storm_of_renamings_and_restarts_loses_and_doubles_no_line() {
    let (lines, written) = in_a_storm(By::Name, restart);
    assert_each_once(&lines, written.lines);
}

#[test]
fn a_storm_of_copies_and_restarts_loses_and_doubles_no_line() {
    let (lines, written) = in_a_storm(By::Copy, restart);
    assert_each_once(&lines, written.lines);
}

/// Lines and how far the file was read go to the disk together, so that not even SIGKILL makes a difference.
#[test]
fn a_storm_of_renamings_and_deaths_loses_and_doubles_no_line() {
    let (lines, written) = in_a_storm(By::Name, |directory, _, death| {
        let mut child = child(directory);
        assert!(within(60, || directory.join("running").exists()), "the child does not run");
        sleep(Duration::from_millis(100 + 37 * (death % 8)));
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(directory.join("running")).unwrap();
    });
    assert_each_once(&lines, written.lines);
}

/// This program once more, as the reader of that directory.
fn child(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storm::the_reader_that_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// Only in a process of its own.
#[test]
fn the_reader_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let reader = reader(&directory, Progress(directory.join("progress")).shown());
    fs::write(directory.join("running"), "").unwrap();
    // Until somebody kills it; if nobody does, it ends.
    let following = Following::begin(reader);
    sleep(Duration::from_mins(1));
    following.end();
}

const DIRECTORY: &str = "SIDETONE_TEST_TAIL_DIRECTORY";
/// At least so many.
const ROTATIONS: u64 = 300;
/// Rotated files.
const KEPT: usize = 50;
/// Rotations in a tick, and more.
const TICK: usize = 5;
