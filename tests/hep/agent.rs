//! The running agent, and a network of its own for it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::needs::{has, root_with};
use crate::skipped::skipped;

/// Runs the test of this name once more in a network namespace of its own, or is that run: then true.
pub(crate) fn alone(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        let up =
            |link: &str| Command::new("ip").args(["link", "set", link, "up"]).status().unwrap().success();
        let pair = ["link", "add", "st0", "type", "veth", "peer", "name", "st1"];
        assert!(up("lo") && Command::new("ip").args(pair).status().unwrap().success());
        assert!(up("st0") && up("st1"));
        return true;
    }
    if !root_with(&["unshare", "ip"]) {
        return false;
    }
    let mut able = Command::new("unshare");
    able.args(["--net", "ip", "link"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !able.status().is_ok_and(|status| status.success()) {
        skipped("no network namespace can be made here");
        return false;
    }
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{stdout}\n{stderr}");
    assert!(output.status.success() && stdout.contains("1 passed"), "in its own namespace");
    false
}

const INSIDE: &str = "SIDETONE_TEST_ALONE";

/// `sidetone run`, and where it is to be reached.
pub(crate) struct Agent {
    child: Child,
    http: SocketAddr,
    /// `udp:127.0.0.1:40000` and so on, as it says itself.
    pub(crate) hep: Vec<String>,
}

impl Agent {
    /// On these interfaces, with these variables `SIDETONE_...`.
    pub(crate) fn start(interfaces: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sidetone"))
            .arg("run")
            .env("SIDETONE_CAPTURE_INTERFACES", interfaces)
            .env("SIDETONE_CAPTURE_RING_BYTES", "16777216")
            .env("SIDETONE_HTTP_LISTEN", "127.0.0.1:0")
            .envs(variables.iter().map(|(name, value)| (format!("SIDETONE_{name}"), value)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut http, mut hep, mut said) = (None, Vec::new(), String::new());
        // The line about HTTP comes before those about HEP; ask for as many as are to be there.
        let awaited = variables.iter().find(|(name, _)| *name == "HEP_LISTEN");
        let awaited = awaited.map_or(0, |(_, value)| {
            value.split(',').map(|place| if place.starts_with(['u', 't']) { 1 } else { 2 }).sum()
        });
        while http.is_none() || hep.len() < awaited {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {said}")).unwrap();
            if let Some(url) = line.strip_prefix("sidetone: http://") {
                http = url.strip_suffix("/metrics").map(|address| address.parse().unwrap());
            }
            hep.extend(line.strip_prefix("sidetone: HEP on ").map(str::to_owned));
            said = format!("{said}{line}\n");
        }
        std::thread::spawn(move || lines.for_each(drop));
        let agent = Self { child, http: http.unwrap(), hep };
        assert!(until(|| agent.get("/ready").starts_with("HTTP/1.1 200")), "the agent is ready");
        agent
    }

    /// A whole response.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        let _ = stream.read_to_string(&mut response);
        response
    }

    /// Every sample by its name and labels.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        samples(&self.get("/metrics"))
    }

    /// What the health page says of HEP.
    pub(crate) fn health(&self) -> serde_json::Value {
        // The counts are those of the last snapshot, which this asks for.
        self.get("/health?detailed=true");
        let response = self.get("/health?detailed=true");
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {response}"));
        let parts = ["parts", "components"].iter().find_map(|name| body[*name].as_array()).cloned();
        let parts = parts.unwrap_or_else(|| panic!("{body}"));
        parts.into_iter().find(|part| part["name"] == "hep").unwrap_or_else(|| panic!("no hep in {response}"))
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// SIGTERM; its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `analyze` says of the capture.
pub(crate) fn analyzed(capture: &Path) -> BTreeMap<String, f64> {
    let output = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["analyze", "--format", "prometheus"])
        .arg(capture)
        .output()
        .unwrap();
    assert!(output.status.success());
    samples(&String::from_utf8(output.stdout).unwrap())
}

fn samples(body: &str) -> BTreeMap<String, f64> {
    let lines = body.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Sends a capture into `st0`, so that it arrives at `st1`; false where the program for it is missing.
pub(crate) fn replay(capture: &Path) -> bool {
    if !has("tcpreplay") {
        return false;
    }
    let replayed =
        Command::new("tcpreplay").args(["-q", "-i", "st0"]).arg(capture).stdout(Stdio::null()).status();
    assert!(replayed.unwrap().success());
    true
}

pub(crate) fn until(done: impl FnMut() -> bool) -> bool {
    crate::patience::within(60, done)
}
