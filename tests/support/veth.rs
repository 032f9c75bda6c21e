//! A network of the test's own, programs in it, and what an agent there says.

use std::process::{Command, Stdio};

use crate::needs::root_with;
use crate::skipped::skipped;

/// A network namespace with a veth pair: what is sent into `st0` arrives at `st1`.
pub(crate) struct Net {
    name: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Net {
    /// `None` where it cannot be made, or where one of these programs is missing.
    pub(crate) fn up(name: &str, programs: &[&str]) -> Option<Self> {
        if !root_with(&["ip", "tcpreplay", "curl"]) || !root_with(programs) {
            return None;
        }
        let net =
            Self { name: format!("st-{name}-{}", std::process::id()), dir: tempfile::tempdir().unwrap() };
        if !Command::new("ip").args(["netns", "add", &net.name]).status().unwrap().success() {
            skipped("no network namespace can be made here");
            return None;
        }
        // Interfaces that came up would say so on the wire.
        let _ = net.inside("sysctl").args(["-qw", "net.ipv6.conf.default.disable_ipv6=1"]).status();
        net.run("ip", "link set lo up");
        net.pair();
        Some(net)
    }

    /// Makes the pair, which must not be there.
    pub(crate) fn pair(&self) {
        for line in ["link add st0 type veth peer name st1", "link set st0 up", "link set st1 up"] {
            self.run("ip", line);
        }
    }

    pub(crate) fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, program: &str, line: &str) {
        succeed(self.inside(program).args(line.split(' ')));
    }

    /// Status and body; status 0 when nobody answers.
    pub(crate) fn fetch(&self, url: &str) -> (u16, String) {
        let output =
            self.inside("curl").args(["-s", "-m", "10", "-w", "\n%{http_code}", url]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, code) = text.rsplit_once('\n').unwrap();
        (code.parse().unwrap(), body.to_owned())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sum of all samples of a name.
#[allow(dead_code, reason = "not every test reads samples")]
pub(crate) fn samples(body: &str, name: &str) -> f64 {
    body.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}
