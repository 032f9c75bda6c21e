//! `sidetone run` on a real interface: a capture replayed over a veth pair in a network namespace of the test's own
//! gives the counters that `analyze` gives for the file; no capability is left; SIGTERM ends it with 0.
//!
//! Needs root, ip, tcpreplay, curl and setpriv; says so and skips where they are not there.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "support/veth.rs"]
mod veth;

use std::fs;
use std::process::{Child, Command};

use needs::root_with;
use veth::{Net, samples, succeed};

#[test]
fn live_counters_equal_those_of_the_file() {
    let Some(net) = Net::up("live", &[]) else { return };
    let capture = net.dir.path().join("calls.pcap");
    let arguments = ["simulate", "--calls", "4", "--duration", "4", "--loss", "5", "--rate", "4"];
    succeed(sidetone().args(arguments).arg("-w").arg(&capture));
    let mut agent = agent(&net);
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

fn sidetone() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sidetone"))
}

fn agent(net: &Net) -> Child {
    net.inside(env!("CARGO_BIN_EXE_sidetone"))
        .arg("run")
        .env("SIDETONE_CAPTURE_INTERFACES", "st1")
        .spawn()
        .unwrap()
}

fn until(done: impl FnMut() -> bool) -> bool {
    patience::within(30, done)
}
