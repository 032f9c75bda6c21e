//! The program that is looked into, and how it is built.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;

use crate::needs::has;

/// A running one.
pub(crate) struct Target {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// Compiles one of the programs beside this file, once; None where that cannot be done here.
pub(crate) fn build(compiler: &str, source: &str, as_name: &str, flags: &[&str]) -> Option<PathBuf> {
    static BUILDING: Mutex<()> = Mutex::new(());
    if !has(compiler) {
        return None;
    }
    let _one = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(as_name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/heap").join(source);
    let when = |file: &Path| file.metadata().and_then(|data| data.modified()).ok();
    if when(&program) <= when(&source) {
        let made = program.with_extension("new");
        let output = Command::new(compiler)
            .args(flags)
            .args(["-O1", "-pthread", "-o"])
            .arg(&made)
            .arg(source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(made, &program).unwrap();
    }
    Some(program)
}

impl Target {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something; what it says of itself then.
    pub(crate) fn ask(&mut self, what: &str) -> Value {
        writeln!(self.to, "{what}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
