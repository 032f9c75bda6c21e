//! The program as a user runs it: exit codes, closed pipes, documents that are its own output.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

use std::process::{Command, Output, Stdio};

fn sidetone(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidetone")).args(args).output().unwrap()
}

fn said(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn bad_usage_is_exit_2_with_a_way_out() {
    for args in [&["analyze"][..], &["simulate", "--loss", "120", "-w", "x"], &["dance"], &["man", "dance"]] {
        let run = sidetone(args);
        assert_eq!(run.status.code(), Some(2), "{args:?}");
        assert!(run.stdout.is_empty());
        assert!(said(&run.stderr).contains("help"), "{}", said(&run.stderr));
    }
}

#[test]
fn a_missing_file_is_exit_66_and_is_named() {
    let run = sidetone(&["analyze", "no/such/file.pcap"]);
    assert_eq!(run.status.code(), Some(66));
    assert!(run.stdout.is_empty());
    assert!(said(&run.stderr).starts_with("sidetone: no/such/file.pcap: "), "{}", said(&run.stderr));
}

#[test]
fn simulated_calls_can_be_analyzed() {
    let folder = std::env::temp_dir().join(format!("sidetone-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let capture = folder.join("lossy.pcap");
    let path = capture.to_str().unwrap();
    assert!(
        sidetone(&["simulate", "--calls", "2", "--duration", "2", "--loss", "5", "-w", path])
            .status
            .success()
    );
    assert!(folder.join("lossy.pcap.truth.json").exists());
    let run = sidetone(&["analyze", path]);
    assert!(run.status.success() && said(&run.stdout).contains("answered 2"), "{}", said(&run.stdout));
    std::fs::remove_dir_all(&folder).unwrap();

    // What only the simulator can tell to be impossible is bad usage too.
    let run = sidetone(&["simulate", "--ptime", "25", "--codec", "GSM", "-w", path]);
    assert_eq!(run.status.code(), Some(2), "{}", said(&run.stderr));
    assert!(said(&run.stderr).contains("ptime 25"));
}

#[test]
fn help_and_version_are_on_standard_output() {
    for args in [&["--help"][..], &["--version"], &["analyze", "--help"], &["man"], &["man", "analyze"]] {
        let run = sidetone(args);
        assert!(run.status.success(), "{args:?}");
        assert!(said(&run.stdout).contains("sidetone"), "{args:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(said(&sidetone(&["completions", shell]).stdout).contains("analyze"));
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    for args in [&["metrics"][..], &["completions", "bash"], &["--help"], &["man"]] {
        let mut run = Command::new(env!("CARGO_BIN_EXE_sidetone"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(run.stdout.take());
        let ended = run.wait_with_output().unwrap();
        assert!(ended.status.success(), "{args:?}: {}", said(&ended.stderr));
        assert!(ended.stderr.is_empty(), "{args:?}: {}", said(&ended.stderr));
    }
}

/// A file in a directory that goes away with the returned guard.
fn written(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn bad_configuration_is_exit_64_with_every_problem() {
    let (_guard, path) = written("s.toml", "[limits]\ncalls = 0\nstream = 9\n");
    let run = sidetone(&["analyze", "--config", &path, "no/such/file.pcap"]);
    assert_eq!(run.status.code(), Some(64));
    assert!(run.stdout.is_empty());
    let lines: Vec<_> = said(&run.stderr).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("sidetone: {path}:2: limits.calls")), "{lines:?}");
    assert!(lines[1].ends_with("did you mean streams?"), "{lines:?}");
    let missing = sidetone(&["analyze", "--config", "no/such.toml", "no/such/file.pcap"]);
    assert_eq!(missing.status.code(), Some(64));
    let variable = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["analyze", "no/such/file.pcap"])
        .env("SIDETONE_LIMITS_CALL", "1")
        .output()
        .unwrap();
    assert_eq!(variable.status.code(), Some(64), "{}", said(&variable.stderr));
}
