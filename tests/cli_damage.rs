//! Damaged, cut, empty, foreign and missing input, as a user meets it: exit codes of DESIGN 2, what was good is
//! reported, and standard error says which file, where, and what to do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "support/skipped.rs"]
mod skipped;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sidetone::simulate::{Plan, write};
use skipped::skipped;
use tempfile::TempDir;

/// Files in a temporary directory, which is also the working directory of the program.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn analyze(&self, args: &[&str]) -> Run {
        self.analyze_with(args, b"")
    }

    fn analyze_with(&self, args: &[&str], stdin: &[u8]) -> Run {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sidetone"))
            .args(["analyze", "--format", "json"])
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = program.stdin.take().unwrap();
        // What is not read, as when a file was named too, is no failure of the program.
        let _ = pipe.write_all(stdin);
        drop(pipe);
        Run::of(&program.wait_with_output().unwrap())
    }
}

/// How a run ended.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn packets(&self) -> u64 {
        self.report()["capture"]["packets"].as_u64().unwrap()
    }

    fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard error holds one line, with all these words in it.
    #[track_caller]
    fn says(&self, words: &[&str]) {
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("sidetone: "), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word} is missing in {:?}", self.stderr);
        }
    }

    #[track_caller]
    fn is_silent_failure(&self, code: i32) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
    }
}

/// Two calls with media, and how many frames they are.
fn good() -> (Vec<u8>, u64) {
    let plan = Plan { calls: 2, duration: 3.0, ..Plan::default() };
    let (bytes, truth) = write(&plan, Vec::new()).unwrap();
    (bytes, truth.capture.packets)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// The place of the record with this number in a pcap file.
fn record(pcap: &[u8], number: usize) -> usize {
    (0..number)
        .fold(24, |at, _| at + 16 + u32::from_le_bytes(pcap[at + 8..at + 12].try_into().unwrap()) as usize)
}

#[test]
fn a_capture_cut_inside_a_packet_is_reported_up_to_there() {
    let folder = Folder::new();
    let (bytes, packets) = good();
    let last = record(&bytes, packets as usize - 1);
    folder.file("cut.pcap", &bytes[..bytes.len() - 5]);
    let run = folder.analyze(&["cut.pcap"]);
    assert_eq!((run.code, run.packets()), (Some(74), packets - 1));
    run.says(&[
        "cut.pcap: ",
        &format!("byte {last}: "),
        "cut short",
        "what came before is kept",
        "--lenient",
    ]);
    assert_eq!(run.report()["calls"].as_array().unwrap().len(), 2);
    let lenient = folder.analyze(&["--lenient", "cut.pcap"]);
    assert_eq!((lenient.code, &lenient.stdout), (Some(0), &run.stdout));
    lenient.says(&["cut.pcap", "cut short"]);
    assert!(!lenient.stderr.contains("--lenient"));
}

#[test]
fn a_corrupt_length_ends_the_report_there() {
    let folder = Folder::new();
    let (mut bytes, _) = good();
    let at = record(&bytes, 50);
    bytes[at + 8..at + 12].copy_from_slice(&[0xff; 4]);
    folder.file("corrupt.pcap", &bytes);
    let run = folder.analyze(&["corrupt.pcap"]);
    assert_eq!((run.code, run.packets()), (Some(74), 50));
    run.says(&["corrupt.pcap: ", &format!("byte {at}: "), "4294967295", "damaged from here on"]);
    assert_eq!(folder.analyze(&["--lenient", "corrupt.pcap"]).code, Some(0));
}

#[test]
fn a_header_alone_is_an_empty_report_and_half_of_it_is_damage() {
    let folder = Folder::new();
    let (bytes, _) = good();
    folder.file("header.pcap", &bytes[..24]);
    let run = folder.analyze(&["header.pcap"]);
    assert_eq!((run.code, run.packets(), run.stderr.as_str()), (Some(0), 0, ""));
    folder.file("half.pcap", &bytes[..11]);
    let run = folder.analyze(&["half.pcap"]);
    assert_eq!(run.code, Some(74));
    run.says(&["half.pcap: byte 0: ", "cut short inside its header"]);
}

#[test]
fn empty_and_foreign_files_print_nothing() {
    let folder = Folder::new();
    let (bytes, _) = good();
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("empty.pcap", Vec::new(), "0 bytes"),
        ("text.pcap", b"a letter to my mother\n".to_vec(), "text"),
        ("netmon.cap", b"GMBU\x00\x02and so on".to_vec(), "editcap"),
        ("snoop.cap", b"snoop\0\0\0\0\0\0\x02".to_vec(), "editcap"),
        ("noise.pcap", vec![0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3], "neither pcap nor pcapng"),
        ("packed.pcap", b"BZh91AY&SY".to_vec(), "unpack it first"),
        ("twice.pcap.gz", gzip(&gzip(&bytes)), "unpack it first"),
        ("empty.gz", gzip(b""), "0 bytes"),
    ];
    for (name, bytes, hint) in &cases {
        folder.file(name, bytes);
        for lenient in [false, true] {
            let args: &[&str] = if lenient { &["--lenient", name] } else { &[name] };
            let run = folder.analyze(args);
            run.is_silent_failure(74);
            run.says(&[&format!("{name}: "), hint]);
        }
    }
}

#[test]
fn missing_and_unreadable_input_is_exit_66() {
    let folder = Folder::new();
    let run = folder.analyze(&["absent.pcap"]);
    run.is_silent_failure(66);
    run.says(&["absent.pcap: ", "no such file", "check the path"]);
    fs::create_dir(folder.0.path().join("bare")).unwrap();
    let run = folder.analyze(&["bare"]);
    run.is_silent_failure(66);
    run.says(&["bare: ", "without captures"]);
    folder.file("secret.pcap", &good().0);
    let run = folder.analyze(&["secret.pcap/inside"]);
    run.is_silent_failure(66);
    run.says(&["secret.pcap/inside: ", "cannot be opened"]);
    let secret = folder.0.path().join("secret.pcap");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&secret).is_ok() {
        skipped("this user may read every file");
        return;
    }
    let run = folder.analyze(&["secret.pcap"]);
    run.is_silent_failure(66);
    run.says(&["secret.pcap: ", "permission denied", "make it readable"]);
}

#[test]
fn good_files_are_reported_beside_bad_ones_and_the_first_fault_decides() {
    let folder = Folder::new();
    let (bytes, packets) = good();
    folder.file("good.pcap", &bytes);
    folder.file("text.pcap", b"a letter to my mother\n");
    folder.file("empty.pcap", b"");
    for (args, code, faults) in [
        (&["good.pcap", "text.pcap"][..], 74, 1),
        (&["empty.pcap", "good.pcap", "text.pcap"], 74, 2),
        (&["good.pcap", "absent.pcap"], 66, 1),
        (&["absent.pcap", "good.pcap", "text.pcap"], 66, 2),
        (&["--lenient", "good.pcap", "absent.pcap"], 66, 1),
    ] {
        let run = folder.analyze(args);
        assert_eq!((run.code, run.packets()), (Some(code), packets), "{args:?}");
        assert_eq!(run.stderr.lines().count(), faults, "{run:?}");
        assert_eq!(run.report()["capture"]["files"].as_array().unwrap().len(), 1, "{args:?}");
    }
}

#[test]
fn a_directory_is_searched_for_captures() {
    let folder = Folder::new();
    let (bytes, packets) = good();
    fs::create_dir_all(folder.0.path().join("day/night")).unwrap();
    folder.file("day/a.pcap", &bytes[..record(&bytes, 100)]);
    folder.file("day/night/b.pcap", &[&bytes[..24], &bytes[record(&bytes, 100)..]].concat());
    folder.file("day/notes.txt", b"what I did today\n");
    folder.file("whole.pcap", &bytes);
    let run = folder.analyze(&["day"]);
    assert_eq!((run.code, run.packets(), run.stderr.as_str()), (Some(0), packets, ""));
    let without_files =
        |run: &Run| run.stdout.lines().filter(|line| !line.contains("\"files\"")).collect::<String>();
    assert_eq!(without_files(&run), without_files(&folder.analyze(&["whole.pcap"])));
}

#[test]
fn standard_input_fails_like_a_file() {
    let folder = Folder::new();
    let (bytes, packets) = good();
    let run = folder.analyze_with(&["-"], &bytes);
    assert_eq!((run.code, run.packets(), run.stderr.as_str()), (Some(0), packets, ""));
    let run = folder.analyze_with(&["-"], &bytes[..bytes.len() - 5]);
    assert_eq!((run.code, run.packets()), (Some(74), packets - 1));
    run.says(&["stdin: byte ", "cut short"]);
    let run = folder.analyze_with(&["-"], b"");
    run.is_silent_failure(74);
    run.says(&["stdin: ", "0 bytes"]);
    let run = folder.analyze_with(&["-"], b"a letter to my mother\n");
    run.is_silent_failure(74);
    run.says(&["stdin: ", "text"]);
}

#[test]
fn compressed_captures_whole_cut_and_corrupt() {
    let folder = Folder::new();
    let (bytes, packets) = good();
    for (suffix, packed) in [("gz", gzip(&bytes)), ("zst", zst(&bytes))] {
        let name = format!("a.pcap.{suffix}");
        folder.file(&name, &packed);
        let run = folder.analyze(&[&name]);
        assert_eq!((run.code, run.packets(), run.stderr.as_str()), (Some(0), packets, ""), "{suffix}");
        folder.file(&name, &packed[..packed.len() * 3 / 4]);
        let run = folder.analyze(&[&name]);
        assert_eq!(run.code, Some(74));
        run.says(&[&format!("{name}: byte "), "cut short inside the compressed data"]);
    }
    // Damage behind a whole first part: all of that part is there.
    let (head, tail) = bytes.split_at(record(&bytes, 200));
    for pack in [gzip, zst] {
        let (head, mut tail) = (pack(head), pack(tail));
        tail[..10].fill(0xff);
        folder.file("b.pcap", &[head, tail].concat());
        let run = folder.analyze(&["b.pcap"]);
        assert_eq!((run.code, run.packets()), (Some(74), 200));
        run.says(&["b.pcap: byte ", "cannot be decompressed further", "after decompression"]);
        assert_eq!(folder.analyze(&["--lenient", "b.pcap"]).code, Some(0));
    }
}

/// forall lengths of a capture: exit 0 or 74, and never fewer frames than before.
#[test]
fn cut_anywhere() {
    let folder = Folder::new();
    let (bytes, _) = good();
    let bytes = &bytes[..record(&bytes, 20)];
    let mut before = 0;
    for length in (24..=bytes.len()).step_by(61).chain([bytes.len()]) {
        folder.file("cut.pcap", &bytes[..length]);
        let run = folder.analyze(&["cut.pcap"]);
        let packets = run.packets();
        let at_border = (0..=20).any(|number| record(bytes, number.min(20)) == length);
        assert_eq!(run.code, Some(if at_border { 0 } else { 74 }), "{length}: {run:?}");
        assert!(packets >= before, "{length}");
        before = packets;
    }
    assert_eq!(before, 20);
}
