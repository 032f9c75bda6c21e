//! What a test needs of the machine; it says what is missing.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::process::Command;

use crate::skipped::skipped;

/// Whether this runs as root and finds these programs.
pub(crate) fn root_with(programs: &[&str]) -> bool {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    if id != b"0\n" {
        skipped("this test needs root");
        return false;
    }
    programs.iter().all(|program| has(program))
}

/// Whether there is such a program.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|directory| directory.join(program).exists());
    if !there {
        skipped(format_args!("this test needs {program}"));
    }
    there
}
