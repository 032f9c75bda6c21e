//! `sidetone run` on a real interface: a capture replayed over a veth pair in a network namespace of the test's own
//! gives the counters that `analyze` gives for the file; no capability is left; SIGTERM ends it with 0.
//!
//! Needs root, ip, tcpreplay, curl and setpriv; says so and skips where they are not there.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

#[path = "support/skipped.rs"]
mod skipped;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use skipped::skipped;

#[test]
fn live_counters_equal_those_of_the_file() {
    let Some(net) = Net::up("live") else { return };
    let capture = net.dir.path().join("calls.pcap");
    let arguments = ["simulate", "--calls", "4", "--duration", "4", "--loss", "5", "--rate", "4"];
    succeed(sidetone().args(arguments).arg("-w").arg(&capture));
    let mut agent = net.agent();
    let address = "http://127.0.0.1:9767";
    assert!(until(|| net.fetch(&format!("{address}/ready")).0 == 200), "the agent is ready");

    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let line = status.lines().find(|line| line.starts_with(set)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }

    let mut replay = net.inside("tcpreplay").args(["-q", "-i", "st0"]).arg(&capture).spawn().unwrap();
    assert!(until(|| samples(&net.fetch(&format!("{address}/metrics")).1, "voip_calls_active_total") > 0.0));
    let (code, calls) = net.fetch(&format!("{address}/api/calls"));
    assert_eq!(code, 200);
    assert!(calls.contains("\"state\":\"confirmed\""), "{calls}");
    let (_, streams) = net.fetch(&format!("{address}/api/streams?limit=3"));
    assert!(streams.contains("\"codec\":\"PCMU\""), "{streams}");
    assert!(replay.wait().unwrap().success());

    let file = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["analyze", "--format", "prometheus"])
        .arg(&capture)
        .output()
        .unwrap();
    let file = String::from_utf8(file.stdout).unwrap();
    let ended = || {
        let (_, body) = net.fetch(&format!("{address}/metrics"));
        (samples(&body, "voip_sip_session_duration_seconds_count") > 3.5).then_some(body)
    };
    let mut live = None;
    assert!(
        until(|| {
            live = ended();
            live.is_some()
        }),
        "all calls have ended"
    );
    let live = live.unwrap();
    for name in [
        "voip_sip_attempts_total",
        "voip_sip_attempt_results_total",
        "voip_calls_ended_total",
        "voip_sip_requests_total",
        "voip_sip_responses_total",
        "voip_rtp_packets_total",
        "voip_rtp_bytes_total",
        "voip_rtp_expected_total",
        "voip_rtp_lost_total",
        "voip_rtp_duplicates_total",
        "sidetone_capture_drops_total",
        "sidetone_events_lost_total",
    ] {
        let (live, file) = (samples(&live, name), samples(&file, name));
        assert!((live - file).abs() < 0.5, "{name}: {live} live, {file} from the file");
    }
    assert!(samples(&live, "voip_rtp_lost_total") > 0.0, "the capture has losses");
    assert!(samples(&live, "voip_calls_active_total") < 0.5, "no call is up");
    assert_eq!(net.fetch(&format!("{address}/health?detailed=true")).0, 200);

    succeed(Command::new("kill").args(["-TERM", &agent.id().to_string()]));
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}

#[test]
fn without_the_capability_it_says_how_to_give_it() {
    if !root_with(&["setpriv"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Where anybody may read it.
    let program = dir.path().join("sidetone");
    fs::copy(env!("CARGO_BIN_EXE_sidetone"), &program).unwrap();
    succeed(Command::new("chmod").arg("-R").arg("a+rx").arg(dir.path()));
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"])
        .arg(&program)
        .arg("run")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(77), "{stderr}");
    assert!(stderr.contains("CAP_NET_RAW") && stderr.contains("setcap"), "{stderr}");
}

#[test]
fn check_tells_all_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sidetone.toml");
    fs::write(&file, "[http]\nlisten = [\"nowhere\"]\n[capture]\nring_bytes = 5\ninterface = \"eth0\"\n")
        .unwrap();
    let output = sidetone().args(["check", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let stderr = String::from_utf8(output.stderr).unwrap();
    for line in ["sidetone.toml:2", "sidetone.toml:4", "sidetone.toml:5"] {
        assert!(stderr.contains(line), "{line} in {stderr}");
    }
    fs::write(&file, "[http]\nlisten = [\"127.0.0.1:0\", \"[::1]:9767\"]\n").unwrap();
    succeed(sidetone().args(["check", "--config"]).arg(&file));
}

/// A network namespace with a veth pair: what is sent into `st0` arrives at `st1`.
struct Net {
    name: String,
    dir: tempfile::TempDir,
}

impl Net {
    fn up(name: &str) -> Option<Self> {
        if !root_with(&["ip", "tcpreplay", "curl"]) {
            return None;
        }
        let net =
            Self { name: format!("st-{name}-{}", std::process::id()), dir: tempfile::tempdir().unwrap() };
        if !Command::new("ip").args(["netns", "add", &net.name]).status().unwrap().success() {
            skipped("no network namespace can be made here");
            return None;
        }
        for line in
            ["link add st0 type veth peer name st1", "link set lo up", "link set st0 up", "link set st1 up"]
        {
            succeed(net.inside("ip").args(line.split(' ')));
        }
        Some(net)
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    fn agent(&self) -> Child {
        self.inside(env!("CARGO_BIN_EXE_sidetone"))
            .arg("run")
            .env("SIDETONE_CAPTURE_INTERFACES", "st1")
            .env("SIDETONE_CAPTURE_RING_BYTES", "16777216")
            .spawn()
            .unwrap()
    }

    /// Status and body; status 0 when nobody answers.
    fn fetch(&self, url: &str) -> (u16, String) {
        let Output { stdout, .. } =
            self.inside("curl").args(["-s", "-w", "\n%{http_code}", url]).output().unwrap();
        let text = String::from_utf8(stdout).unwrap();
        let (body, code) = text.rsplit_once('\n').unwrap();
        (code.parse().unwrap(), body.to_owned())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn sidetone() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sidetone"))
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sum of all samples of a name.
fn samples(body: &str, name: &str) -> f64 {
    body.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Tries for half a minute.
fn until(mut done: impl FnMut() -> bool) -> bool {
    (0..150).any(|_| {
        let done = done();
        if !done {
            sleep(Duration::from_millis(200));
        }
        done
    })
}

fn root_with(programs: &[&str]) -> bool {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    if id != b"0\n" {
        skipped("this test needs root");
        return false;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &&str| std::env::split_paths(&path).any(|dir: PathBuf| dir.join(name).exists());
    match programs.iter().find(|name| !there(name)) {
        Some(missing) => {
            skipped(format_args!("this test needs {missing}"));
            false
        }
        None => true,
    }
}
