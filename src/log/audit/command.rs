//! `sidetone audit`: verify a trail, and make the next key.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::key::{Key, trusted};
use super::verify::{Expected, Report, verify};
use crate::cli::{Audit, AuditFormat, AuditVerify};

/// Runs it; returns the exit code.
pub fn run(command: &Audit) -> u8 {
    match command {
        Audit::Verify(arguments) => check(arguments),
        Audit::RotateKey { key } => match Key::make_next(key) {
            Ok(id) => print(&format!(
                "key {id} is made; the agent signs with it from its next reload or start on, and says so\n"
            )),
            Err(error) => fail(EX_IOERR, &error.to_string()),
        },
    }
}

fn check(arguments: &AuditVerify) -> u8 {
    let mut expected = Expected { sequence: arguments.expect_seq, ..Expected::default() };
    for key in &arguments.key {
        match trusted(key) {
            Ok((id, key)) => drop(expected.keys.insert(id, key)),
            Err(error) => return fail(EX_NOINPUT, &error.to_string()),
        }
    }
    let report = match verify(&arguments.paths, &expected) {
        Ok(report) => report,
        Err(error) => return fail(EX_NOINPUT, &error.to_string()),
    };
    let told = match arguments.format {
        AuditFormat::Text => text(&report),
        AuditFormat::Json => match serde_json::to_string(&report) {
            Ok(json) => json + "\n",
            Err(error) => return fail(EX_IOERR, &error.to_string()),
        },
    };
    match print(&told) {
        0 => u8::from(!report.intact),
        broken => broken,
    }
}

/// For people: the verdict first.
fn text(report: &Report) -> String {
    let mut text = String::new();
    if let Some(fault) = &report.broken {
        let _ = writeln!(text, "BROKEN: {}: {}", fault.place, fault.what);
    } else {
        let whose = if report.keys_trusted { "trusted" } else { "its own" };
        let keys = if report.keys.is_empty() { "none".to_owned() } else { report.keys.join(", ") };
        let Report { first, last, proven, .. } = report;
        let files = report.files.len();
        let _ = writeln!(
            text,
            "intact: lines {first} to {last} in {files} files; signed up to {proven} by {whose} key: {keys}"
        );
    }
    for place in &report.unfinished {
        let _ = writeln!(
            text,
            "note: {place}: an unfinished line, as a crash leaves one; nobody need have changed anything"
        );
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn print(text: &str) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(EX_IOERR, &format!("standard output: {error}"))
        }
        _ => 0,
    }
}

fn fail(code: u8, what: &str) -> u8 {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(io::stderr(), "sidetone: audit: {what}");
    code
}

const EX_NOINPUT: u8 = 66;
const EX_IOERR: u8 = 74;
