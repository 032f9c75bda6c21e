//! Both live sources on real interfaces, in network namespaces of the test's own: the totals of `analyze`, interfaces that
//! vanish and return, expressions, doubles, and drops forced by a ring that nobody reads.
//!
//! Needs root, ip, tcpreplay and curl; says so and skips where they are not there.

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
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use skipped::skipped;
use veth::{Net, samples, succeed};

const SOURCES: &[&str] = if cfg!(feature = "pcap") { &["ring", "pcap"] } else { &["ring"] };

/// Of both sources, beside the report on the file.
const EQUAL: [&str; 11] = [
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
    "sidetone_capture_truncated_total",
];

#[test]
fn both_sources_measure_what_analyze_measures() {
    let Some(net) = Net::up("equal", &["bash"]) else { return };
    let capture =
        net.calls(&["--calls", "4", "--duration", "4", "--loss", "5", "--jitter", "3", "--rate", "4"]);
    let agents: Vec<_> = SOURCES.iter().map(|source| net.agent(&[("SOURCE", source)], "st1")).collect();
    net.replay(&capture, &[]);
    let file = analyze(&capture);
    for agent in &agents {
        agent.until("voip_sip_session_duration_seconds_count", 4.0);
        let live = agent.metrics();
        for name in EQUAL {
            let (live, file) = (samples(&live, name), samples(&file, name));
            assert!((live - file).abs() < 0.5, "{name}: {live} live, {file} from the file");
        }
        let status = fs::read_to_string(format!("/proc/{}/status", agent.process.id())).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let line = status.lines().find(|line| line.starts_with(set)).unwrap();
            assert!(line.ends_with("0000000000000000"), "{line}");
        }
    }
}

#[test]
fn an_interface_that_vanishes_is_taken_up_again_without_any_right() {
    let Some(net) = Net::up("gone", &["bash"]) else { return };
    let agents: Vec<_> = SOURCES.iter().map(|source| net.agent(&[("SOURCE", source)], "st1,lo")).collect();
    for round in 1..=2 {
        let seed = round.to_string();
        let capture = net.calls(&["--calls", "2", "--duration", "1", "--rate", "4", "--seed", &seed]);
        net.replay(&capture, &[]);
        for agent in &agents {
            agent.until("voip_sip_session_duration_seconds_count", f64::from(2 * round));
        }
        net.run("ip", "link del st0");
        for agent in &agents {
            assert!(until(|| agent.health().contains("\"interfaces_away\":1")), "{}", agent.health());
            assert_eq!(net.fetch(&agent.url("/live")).0, 200);
        }
        net.pair();
        for agent in &agents {
            assert!(until(|| agent.health().contains("\"interfaces_away\":0")), "{}", agent.health());
        }
    }
}

#[test]
fn what_an_expression_refuses_is_not_seen() {
    let Some(net) = Net::up("filter", &["bash"]) else { return };
    if !cfg!(feature = "pcap") {
        return skipped("built without libpcap");
    }
    let capture = net.calls(&["--calls", "2", "--duration", "1", "--rate", "4"]);
    for interface in ["st1", "any"] {
        let agents: Vec<_> = SOURCES
            .iter()
            .map(|source| net.agent(&[("SOURCE", source), ("FILTER", "udp port 5060")], interface))
            .collect();
        net.replay(&capture, &[]);
        for agent in &agents {
            agent.until("voip_sip_session_duration_seconds_count", 2.0);
            assert!(samples(&agent.metrics(), "voip_rtp_packets_total") < 0.5);
        }
    }
    let refused = net.command(&[("FILTER", "udp portt 5060")], "st1").output().unwrap();
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("SIDETONE_CAPTURE_FILTER") && stderr.contains("pcap-filter(7)"), "{stderr}");
}

#[test]
fn on_all_interfaces_nothing_is_counted_twice() {
    let Some(net) = Net::up("any", &["bash"]) else { return };
    let capture = net.calls(&["--calls", "2", "--duration", "2", "--loss", "5", "--rate", "4"]);
    let agents: Vec<_> = SOURCES.iter().map(|source| net.agent(&[("SOURCE", source)], "any")).collect();
    // It leaves by st0 and arrives at st1: two looks at each packet.
    net.replay(&capture, &[]);
    // On lo, what is sent is received. The scrapes of this test go there too.
    let options = net.dir.path().join("options");
    let text = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                To: <sip:a@b>\r\nCall-ID: on-lo\r\nCSeq: 1 OPTIONS\r\n\r\n";
    fs::write(&options, text).unwrap();
    // One write, one datagram.
    let send = format!("cat {} >/dev/udp/127.0.0.1/5060", options.display());
    succeed(net.inside("bash").args(["-c", &send]));
    let file = analyze(&capture);
    for agent in &agents {
        agent.until("voip_sip_session_duration_seconds_count", 2.0);
        let live = agent.metrics();
        for name in EQUAL {
            let own = if name == "voip_sip_requests_total" { 1.0 } else { 0.0 };
            let (live, file) = (samples(&live, name), samples(&file, name) + own);
            assert!((live - file).abs() < 0.5, "{name}: {live} live, {file} from the file");
        }
        let twice = samples(&live, "sidetone_capture_duplicates_total");
        assert!(twice >= samples(&file, "voip_rtp_packets_total"), "{twice}");
    }
}

#[test]
fn drops_by_the_kernel_are_counted_and_taint_what_was_measured_meanwhile() {
    let Some(net) = Net::up("drops", &["bash"]) else { return };
    let capture = net.calls(&["--calls", "30", "--duration", "30", "--rate", "100"]);
    for source in SOURCES {
        let agent = net.agent(&[("SOURCE", source), ("RING_BYTES", "8388608")], "st1");
        let id = agent.process.id().to_string();
        // Some 90,000 packets into a ring that nobody empties.
        succeed(Command::new("kill").args(["-STOP", &id]));
        net.replay(&capture, &["--topspeed"]);
        succeed(Command::new("kill").args(["-CONT", &id]));
        agent.until("sidetone_capture_drops_total", 1.0);
        let taken = samples(&agent.metrics(), "sidetone_capture_packets_total");
        let dropped = samples(&agent.metrics(), "sidetone_capture_drops_total");
        let sent = samples(&analyze(&capture), "sidetone_capture_packets_total");
        // The interface has a few packets of its own.
        assert!((taken + dropped - sent).abs() < 100.0, "{source}: {taken} + {dropped} of {sent}");
        // The calls say goodbye once more; their windows close.
        net.replay(&capture, &["--pps=50000"]);
        agent.until("sidetone_windows_tainted_total", 1.0);
    }
}

struct Agent<'n> {
    net: &'n Net,
    process: Child,
    port: u16,
}

impl Net {
    fn command(&self, settings: &[(&str, &str)], interfaces: &str) -> Command {
        let mut command = self.inside(env!("CARGO_BIN_EXE_sidetone"));
        command.arg("run").env("SIDETONE_CAPTURE_INTERFACES", interfaces);
        command.env("SIDETONE_CAPTURE_RING_BYTES", "16777216");
        for (key, value) in settings {
            command.env(format!("SIDETONE_CAPTURE_{key}"), value);
        }
        command
    }

    /// An agent on a free port, when it is ready.
    fn agent(&self, settings: &[(&str, &str)], interfaces: &str) -> Agent<'_> {
        let port = (9_767..=u16::MAX)
            .find(|port| self.fetch(&format!("http://127.0.0.1:{port}/live")).0 == 0)
            .unwrap();
        let mut command = self.command(settings, interfaces);
        command.env("SIDETONE_HTTP_LISTEN", format!("127.0.0.1:{port}"));
        let agent = Agent { net: self, process: command.spawn().unwrap(), port };
        assert!(until(|| self.fetch(&agent.url("/ready")).0 == 200), "the agent is ready");
        agent
    }

    /// A capture of simulated calls.
    fn calls(&self, arguments: &[&str]) -> PathBuf {
        let capture = self.dir.path().join("calls.pcap");
        let mut simulate = Command::new(env!("CARGO_BIN_EXE_sidetone"));
        succeed(simulate.arg("simulate").args(arguments).arg("-w").arg(&capture));
        capture
    }

    fn replay(&self, capture: &Path, arguments: &[&str]) {
        succeed(self.inside("tcpreplay").args(["-q", "-i", "st0"]).args(arguments).arg(capture));
    }
}

impl Agent<'_> {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn metrics(&self) -> String {
        self.net.fetch(&self.url("/metrics")).1
    }

    fn health(&self) -> String {
        self.net.fetch(&self.url("/health?detailed=true")).1
    }

    /// Waits until a counter is at least that much.
    fn until(&self, name: &str, least: f64) {
        assert!(until(|| samples(&self.metrics(), name) > least - 0.5), "{name} comes to {least}");
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The same metrics of a file.
fn analyze(capture: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    let output = command.args(["analyze", "--format", "prometheus"]).arg(capture).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn until(done: impl FnMut() -> bool) -> bool {
    patience::within(30, done)
}
