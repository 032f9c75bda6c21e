//! The audit: whatever is done to its lines is found, and named; a crash is not taken for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sidetone::Stamp;
use sidetone::log::audit::key::{Key, trusted};
use sidetone::log::audit::verify::{Expected, Report, verify};
use sidetone::log::{self, Level, Line, Logs, Place, Settings, Stream, file};

fn settings(directory: &Path) -> Settings {
    let mut settings = Settings {
        directory: Some(directory.to_owned()),
        places: [vec![], vec![Place::File], vec![]],
        audit_key: Some(directory.join("audit.key")),
        ..Settings::default()
    };
    settings.checkpoints.lines = 10;
    // Midnight may come while a test runs.
    settings.rotation.daily = false;
    settings
}

/// Files know the real time, so that it is asked here too.
#[allow(clippy::disallowed_types, reason = "tests are no part of the core")]
fn clock() -> Stamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Stamp(now.as_nanos() as u64)
}

fn logged(settings: &Settings, tell: impl FnOnce(&Logs)) {
    let opened = log::open(settings, clock).unwrap();
    let logs = opened.logs().clone();
    let running = opened.start(|_, body| thread::Builder::new().spawn(body)).unwrap();
    tell(&logs);
    assert!(running.finish());
}

fn say(logs: &Logs, lines: u64) {
    for number in 0..lines {
        let mut line =
            Line::new(Stream::Audit, Level::Info, logs.now(clock()), "http", "call data read", None);
        line.word("path", "/api/calls").count("status", 200 + number);
        logs.tell(line.requested("r-1"));
    }
}

fn trusting(directory: &Path) -> Expected {
    let (id, key) = trusted(directory.join("audit.key.pub").to_str().unwrap()).unwrap();
    Expected { keys: [(id, key)].into(), sequence: None }
}

fn check(directory: &Path) -> Report {
    verify(&[directory.to_owned()], &trusting(directory)).unwrap()
}

/// The trail of one run, and its file.
fn trail(lines: u64) -> (tempfile::TempDir, PathBuf, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    logged(&settings(directory.path()), |logs| say(logs, lines));
    let path = file::path(directory.path(), Stream::Audit);
    let text = fs::read_to_string(&path).unwrap();
    (directory, path, text.lines().map(str::to_owned).collect())
}

/// Which line is named when the file has these lines.
fn named(directory: &Path, path: &Path, lines: &[String]) -> Option<u64> {
    fs::write(path, lines.concat_lines()).unwrap();
    let report = check(directory);
    assert_eq!(report.intact, report.broken.is_none());
    report.broken.map(|fault| fault.place.line)
}

trait ConcatLines {
    fn concat_lines(&self) -> String;
}

impl ConcatLines for [String] {
    fn concat_lines(&self) -> String {
        self.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}

#[test]
fn whatever_is_done_to_a_kept_file_is_found_and_named() {
    let (directory, path, lines) = trail(60);
    let directory = directory.path();
    let report = check(directory);
    assert!(report.intact && report.keys_trusted, "{report:#?}");
    assert_eq!((report.first, report.last, report.unproven), (1, lines.len() as u64, 0));
    let count = lines.len();
    for at in 0..count {
        let number = at as u64 + 1;
        let with = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            named(directory, &path, &lines)
        };
        let of_end = (at + 1 == count).then_some(number);
        // A line that is gone is missed where the next one stands. At the end it needs the expected number.
        if at + 1 < count {
            assert_eq!(with(&|lines| drop(lines.remove(at))), Some(number), "line {number} removed");
            assert_eq!(with(&|lines| lines.swap(at, at + 1)), Some(number), "lines {number} swapped");
        }
        assert_eq!(
            with(&|lines| lines.insert(at, lines[at].clone())),
            Some(number + 1),
            "line {number} doubled"
        );
        assert_eq!(
            with(&|lines| lines[at] = lines[at].replacen("\"level\":\"info\"", "\"level\":\"warn\"", 1)),
            Some(number),
            "{of_end:?}"
        );
    }
    fs::write(&path, lines.concat_lines()).unwrap();
    assert!(check(directory).intact);
}

#[test]
fn any_byte_of_any_line_counts() {
    let (directory, path, lines) = trail(12);
    let text = lines.concat_lines().into_bytes();
    // The last line end may be missing: then the line is whole all the same.
    for at in (0..text.len() - 1).step_by(7) {
        let mut changed = text.clone();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        if changed == text {
            continue;
        }
        fs::write(&path, &changed).unwrap();
        let number = text[..at].split(|byte| *byte == b'\n').count() as u64;
        let broken = check(directory.path()).broken.map(|fault| fault.place.line);
        assert_eq!(broken, Some(number), "byte {at} of {:?}", lines.get(number as usize - 1));
    }
}

#[test]
fn a_cut_tail_is_found_by_the_expected_number() {
    let (directory, path, lines) = trail(30);
    for left in 1..lines.len() {
        fs::write(&path, lines[..left].concat_lines()).unwrap();
        let expected = Expected { sequence: Some(lines.len() as u64), ..trusting(directory.path()) };
        let report = verify(std::slice::from_ref(&path), &expected).unwrap();
        assert_eq!(report.broken.map(|fault| fault.place.line), Some(left as u64));
        let without = check(directory.path());
        assert!(without.intact, "{:?}", without.broken);
        assert_eq!(without.unproven, without.last - without.proven);
    }
    // In the middle of a line: like a crash.
    let text = lines.concat_lines();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let report = check(directory.path());
    assert!(report.intact && report.unfinished.len() == 1 && report.unproven > 0);
}

#[test]
fn turned_over_and_compressed_files_are_one_trail() {
    let directory = tempfile::tempdir().unwrap();
    let mut small = settings(directory.path());
    small.rotation.bytes = 6000;
    for _ in 0..3 {
        logged(&small, |logs| say(logs, 40));
    }
    let report = check(directory.path());
    assert!(report.intact, "{:?}", report.broken);
    assert!(report.files.len() > 4, "{:?}", report.files);
    assert_eq!((report.first, report.unproven, report.lines), (1, 0, report.last));
    // One of them only half compressed: both are there.
    let zipped: Vec<_> =
        report.files.iter().filter(|path| path.extension().is_some_and(|end| end == "gz")).collect();
    let whole = |path: &Path| {
        let mut text = String::new();
        flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text
    };
    let victim = zipped[1].clone();
    let text = whole(&victim);
    let plain = victim.with_extension("");
    fs::write(&plain, &text).unwrap();
    assert!(check(directory.path()).intact);
    fs::remove_file(&plain).unwrap();

    let zip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let kept = fs::read(&victim).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let damages: [(Damage, u64); 4] = [
        (|lines| lines[3] = lines[3].replace("/api", "/apo"), 4),
        (|lines| drop(lines.remove(3)), 4),
        (|lines| lines.swap(3, 4), 4),
        (|lines| lines.insert(3, lines[3].clone()), 5),
    ];
    for (damage, number) in damages {
        let mut lines = lines.clone();
        damage(&mut lines);
        fs::write(&victim, zip(&lines.concat_lines())).unwrap();
        let fault = check(directory.path()).broken.unwrap();
        assert_eq!((fault.place.file, fault.place.line), (victim.clone(), number), "{}", fault.what);
    }
    // Cut in compressed form, a byte changed in it, the file taken away whole.
    for damaged in
        [&kept[..kept.len() / 2], &[&kept[..kept.len() / 2], b"x", &kept[kept.len() / 2 + 1..]].concat()]
    {
        fs::write(&victim, damaged).unwrap();
        let fault = check(directory.path()).broken.unwrap();
        assert_eq!(fault.place.file, victim, "{}", fault.what);
    }
    fs::remove_file(&victim).unwrap();
    let fault = check(directory.path()).broken.unwrap();
    assert!(fault.place.line == 1 && fault.what.contains("missing"), "{fault:?}");
    fs::write(&victim, &kept).unwrap();
    assert!(check(directory.path()).intact);
    // The first file: gone without a word.
    fs::remove_file(zipped[0]).unwrap();
    assert!(check(directory.path()).broken.unwrap().what.contains("purged"));
}

#[test]
fn a_line_that_was_forged_with_its_chain_fails_at_the_signature() {
    let (directory, path, lines) = trail(9);
    // Everything from line 4 on is chained anew, as who can write the file could.
    let mut forged: Vec<String> = lines[..3].to_vec();
    for line in &lines[3..] {
        let previous = sha256(forged.last().unwrap());
        let (before, rest) = line.split_once("\"previous\":\"").unwrap();
        let line = format!("{before}\"previous\":\"{previous}{}", &rest[64..]);
        forged.push(line.replace("\"status\":205", "\"status\":404"));
    }
    let fault = named(directory.path(), &path, &forged);
    let first_signature = lines.iter().position(|line| line.contains("\"signature\"")).unwrap() as u64 + 1;
    assert_eq!(fault, Some(first_signature));
}

#[test]
fn who_is_killed_while_writing_leaves_a_trail_that_holds() {
    if let Ok(directory) = std::env::var(CHILD) {
        return write_for_ever(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let mut seed = 1_u64;
    let mut recovered = 0;
    for round in 0..200 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "who_is_killed_while_writing_leaves_a_trail_that_holds", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It says when it has begun, and is killed at some time after that.
        let mut out = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"begun") && out.read(&mut byte).unwrap() == 1 {
            seen.push(byte[0]);
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_micros((seed >> 33) % 8000));
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 20 == 19 {
            let report = check(directory.path());
            assert!(report.intact, "round {round}: {:?}", report.broken);
            recovered = report.unfinished.len();
        }
    }
    logged(&settings(directory.path()), |_| {});
    let report = check(directory.path());
    assert!(report.intact, "{:?}", report.broken);
    assert_eq!(report.unproven, 0);
    println!(
        "200 kills: {} lines in {} files, {recovered} left unfinished",
        report.lines,
        report.files.len()
    );
}

type Damage = fn(&mut Vec<String>);

const CHILD: &str = "SIDETONE_TEST_AUDIT_CHILD";

fn write_for_ever(directory: &Path) {
    let mut settings = settings(directory);
    settings.rotation.bytes = 200_000;
    logged(&settings, |logs| {
        std::io::stdout().write_all(b"begun").unwrap();
        std::io::stdout().flush().unwrap();
        loop {
            say(logs, 20);
            thread::yield_now();
        }
    });
}

/// A write may end after any byte, whatever the kernel does: each of them is tried.
#[test]
fn a_write_that_ends_anywhere_leaves_a_trail_that_holds() {
    let (directory, path, lines) = trail(12);
    let text = lines.concat_lines();
    let from = text.len() - lines[lines.len() - 2..].iter().map(|line| line.len() + 1).sum::<usize>();
    for end in (from..text.len()).step_by(7).chain([text.len() - 1, from + 1]) {
        fs::write(&path, &text[..end]).unwrap();
        logged(&settings(directory.path()), |logs| say(logs, 3));
        let report = check(directory.path());
        assert!(report.intact, "cut at {end}: {:?}", report.broken);
        assert_eq!(report.unproven, 0);
    }
    // What looks like one and is not what the next run found is no crash.
    fs::write(&path, &text[..from + 40]).unwrap();
    logged(&settings(directory.path()), |logs| say(logs, 3));
    let text = fs::read_to_string(&path).unwrap();
    let broken = text.split_once("\"audit recovered\"").unwrap().0;
    let line = broken.lines().count() - 1;
    let fragment = text.lines().nth(line - 1).unwrap().to_owned();
    fs::write(
        &path,
        text.replacen(&format!("\n{fragment}\n"), &format!("\n{}x\n", &fragment[..fragment.len() - 1]), 1),
    )
    .unwrap();
    assert_eq!(check(directory.path()).broken.unwrap().place.line, line as u64);
}

#[test]
fn another_key_is_signed_by_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let path = settings.audit_key.clone().unwrap();
    logged(&settings, |logs| say(logs, 5));
    let old = trusting(directory.path());
    logged(&settings, |logs| {
        Key::make_next(&path).unwrap();
        logs.rekey();
        say(logs, 5);
    });
    let new = trusting(directory.path());
    assert!(old.keys.keys().ne(new.keys.keys()));
    for trusted in [&old, &new] {
        let report = verify(&[directory.path().to_owned()], trusted).unwrap();
        assert!(report.intact && report.unproven == 0, "{report:#?}");
    }
    // A key that nobody named is none.
    let stranger = tempfile::tempdir().unwrap();
    Key::open(&stranger.path().join("audit.key")).unwrap();
    let fault = verify(&[directory.path().to_owned()], &trusting(stranger.path())).unwrap().broken.unwrap();
    assert!(fault.what.contains("not trusted"), "{fault:?}");
}

#[test]
fn the_command_answers_by_words_and_exit_code() {
    let (directory, path, lines) = trail(20);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sidetone"))
            .args(["audit", "verify"])
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (place, key) = (directory.path().to_str().unwrap(), directory.path().join("audit.key.pub"));
    let key = key.to_str().unwrap();
    let (code, text) = run(&[place, "--key", key, "--expect-seq", &lines.len().to_string()]);
    assert!(code == Some(0) && text.starts_with("intact: lines 1 to"), "{text}");
    let (code, text) = run(&[place, "--expect-seq", "1000"]);
    assert!(code == Some(1) && text.contains("cut off"), "{text}");
    fs::write(&path, lines.concat_lines().replacen("\"status\":205", "\"status\":404", 1)).unwrap();
    let (code, text) = run(&[place, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let line = lines.iter().position(|line| line.contains("\"status\":205")).unwrap() + 1;
    assert_eq!((code, report["broken"]["line"].as_u64()), (Some(1), Some(line as u64)));
    assert_eq!(run(&["/no/such/audit"]).0, Some(66));
}

fn sha256(line: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(line).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
