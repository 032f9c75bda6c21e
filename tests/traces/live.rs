//! Agents on a real interface. Each test runs itself again inside a network of its own, where agents, collector,
//! Prometheus and the test are on one loopback.
//!
//! ```text
//! tcpreplay -> st0 ======== st1          tcpdump at both, so that times can be compared
//!               |            |
//!            agent "edge"  agent "core" --OTLP--> collector
//! ```

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sidetone::simulate::{Outcome, Plan};

use crate::double::{Act, Double};
use crate::ledger::Ledger;
use crate::patience::within;
use crate::prometheus::{self, get};
use crate::rotel::{Rotel, Span};
use crate::told::Told;
use crate::veth::{Net, samples, succeed};

/// Whether this is the inside; the outside makes a network and runs the same test there.
fn inside(test: &str, programs: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let name = test.rsplit("::").next().unwrap().split('_').take(2).collect::<String>();
    let Some(net) = Net::up(&format!("otlp-{name}"), programs) else { return false };
    let output = net
        .inside(std::env::current_exe().unwrap().to_str().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "yes")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    if let Some(skipped) = err.lines().find_map(|line| line.strip_prefix("skipped: ")) {
        crate::skipped::skipped(skipped);
    }
    false
}

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// As an operator ends it.
    fn end(mut self, signal: &str) -> Option<i32> {
        succeed(Command::new("kill").args([signal, &self.0.id().to_string()]));
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `edge` looks at the end that sends, `core` at the other one.
fn agent(vantage: &str, interface: &str, port: u16, endpoint: &str, protocol: &str) -> Command {
    // Before whatever else this machine does: what is dropped for want of time is not what is tested.
    let mut command = Command::new("nice");
    command
        .args(["-n", "-15", env!("CARGO_BIN_EXE_sidetone"), "run"])
        .env("SIDETONE_CAPTURE_INTERFACES", interface)
        .env("SIDETONE_HTTP_LISTEN", format!("127.0.0.1:{port}"))
        .env("SIDETONE_LOGS_LEVEL", "error")
        .env("SIDETONE_OTLP_ENDPOINT", endpoint)
        .env("SIDETONE_OTLP_PROTOCOL", protocol)
        .env("SIDETONE_OTLP_VANTAGE", vantage)
        .env("SIDETONE_OTLP_SAMPLE_RATIO", "1")
        .env("OTEL_RESOURCE_ATTRIBUTES", format!("test.run={vantage}"));
    command
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn ready(port: u16) {
    assert!(within(60, || get(&address(port), "/ready").is_some()), "the agent at {port} is ready");
}

fn metrics(port: u16) -> String {
    get(&address(port), "/metrics").unwrap()
}

fn total(port: u16, name: &str) -> f64 {
    samples(&metrics(port), name)
}

/// What passes an interface, until it is ended.
fn dump(directory: &Path, interface: &str) -> (Running, PathBuf) {
    let file = directory.join(format!("{interface}.pcap"));
    let log = directory.join(format!("{interface}.log"));
    let running = Running::start(
        Command::new("tcpdump")
            .args(["-q", "-i", interface, "-Z", "root", "-U", "--time-stamp-precision=nano", "-w"])
            .arg(&file)
            .stderr(fs::File::create(&log).unwrap()),
    );
    let listens = || fs::read_to_string(&log).unwrap().contains("listening");
    assert!(within(30, listens), "tcpdump listens at {interface}");
    (running, file)
}

/// Calls of several outcomes within a few seconds.
fn calls(directory: &Path, count: u32) -> PathBuf {
    let file = directory.join("calls.pcap");
    let outcomes =
        vec![Outcome::Answered, Outcome::Challenged, Outcome::Busy, Outcome::Cancelled, Outcome::Forked];
    let plan = Plan {
        calls: count,
        outcomes,
        duration: 2.0,
        rate: 10.0,
        loss: 1.0,
        registrations: 2,
        ..Plan::default()
    };
    fs::write(&file, crate::scenes::planned(plan).0).unwrap();
    file
}

/// `speed` as tcpreplay has it.
fn replay(file: &Path, speed: &str) {
    succeed(Command::new("tcpreplay").args(["-q", "-x", speed, "-i", "st0"]).arg(file).stdout(Stdio::null()));
}

/// Two of one length have the same packets.
fn size(file: &Path) -> u64 {
    fs::metadata(file).unwrap().len()
}

fn report(capture: &Path) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["analyze", "--format", "json"])
        .arg(capture)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn two_agents_at_two_taps_tell_one_trace_from_both() {
    if !inside("live::two_agents_at_two_taps_tell_one_trace_from_both", &["tcpdump", "prometheus"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let Some(rotel) = Rotel::start(directory.path()) else { return };
    let capture = calls(directory.path(), 10);
    let (grpc, http) = (format!("http://{}", rotel.grpc), format!("http://{}", rotel.http));
    let edge = agent("edge", "st0", EDGE, &grpc, "grpc");
    let core = agent("core", "st1", CORE, &http, "http/protobuf");
    let mut third = agent("share", "st1", THIRD, &http, "http/protobuf");
    third.env("SIDETONE_OTLP_SAMPLE_RATIO", SHARE.to_string());
    let agents = [edge, core, third].map(|mut command| Running::start(&mut command));
    for port in [EDGE, CORE, THIRD] {
        ready(port);
    }
    let scrape = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n\
         - job_name: edge\n  static_configs: [{{targets: ['127.0.0.1:{EDGE}']}}]\n\
         - job_name: share\n  static_configs: [{{targets: ['127.0.0.1:{THIRD}']}}]\n"
    );
    let server =
        prometheus::prometheus_with(directory.path(), &scrape, &["--enable-feature=exemplar-storage"]);
    let dumps = ["st0", "st1"].map(|interface| dump(directory.path(), interface));
    replay(&capture, "1");
    let files = dumps.map(|(running, file)| {
        assert!(within(30, || size(&file) == size(&capture)), "all was captured");
        running.end("-INT");
        file
    });

    let told = [("edge", &files[0]), ("core", &files[1])].map(|(vantage, file)| {
        let (ledger, report) = (Ledger::of(fs::read(file).unwrap()), report(file));
        let told = Told::new(rotel.spans_of(vantage, crate::told::count(&ledger, &report)));
        told.assert_complete(&ledger);
        told.assert_as_reported(&report);
        told
    });
    let [edge, core] = &told;
    let named = [(edge, "edge", "st0"), (core, "core", "st1")];
    for (told, vantage, interface) in named {
        for span in &told.spans {
            assert_eq!(span.text("sidetone.vantage"), Some(vantage));
            assert_eq!(span.resource["service.instance.id"], format!("Str({vantage})"));
            assert_eq!(span.resource["network.interface.name"], format!("Str({interface})"));
        }
    }
    let ids = |told: &Told, is_call: bool| -> BTreeSet<(String, String)> {
        let of_kind = told.spans.iter().filter(|span| (span.name == "sip.invite") == is_call);
        of_kind.map(|span| (span.trace.clone(), span.id.clone())).collect()
    };
    assert_eq!(ids(edge, true), ids(core, true), "a call is one span");
    assert_eq!(ids(edge, true).len(), 10);
    assert!(ids(edge, false).is_disjoint(&ids(core, false)), "whatever is seen from two places is two spans");
    let traces =
        |told: &Told| -> HashSet<String> { told.spans.iter().map(|span| span.trace.clone()).collect() };
    assert_eq!(traces(edge), traces(core));
    // The third agent tells fewer.
    let expected: Vec<&Span> = edge.spans.iter().filter(|span| is_told(edge, span, SHARE)).collect();
    let share = Told::new(rotel.spans_of("share", expected.len()));
    let expected: HashSet<_> = expected.into_iter().map(|span| span.trace.clone()).collect();
    assert_eq!(traces(&share), expected);
    assert!(expected.len() < traces(edge).len(), "some were passed over");
    exemplars_lead_somewhere(&server, "edge", edge);
    exemplars_lead_somewhere(&server, "share", &share);
    for agent in agents {
        assert_eq!(agent.end("-TERM"), Some(0));
    }
}

/// Each exemplar that Prometheus has names a span that the collector has, and is of a call with such a value.
fn exemplars_lead_somewhere(server: &prometheus::Served, job: &str, told: &Told) {
    let families = [
        ("voip_call_setup_duration_seconds_bucket", "voip.setup"),
        ("voip_sip_post_dial_delay_seconds_bucket", "voip.post_dial_delay"),
        ("voip_rtp_mos_bucket", ""),
        ("voip_rtp_mos_window_bucket", ""),
        ("voip_rtp_loss_ratio_bucket", ""),
        ("voip_rtp_jitter_seconds_bucket", ""),
        // Whatever else there is.
        ("%7B__name__%3D~%22voip.%2B%22%7D", ""),
    ];
    for (family, attribute) in families {
        let mut found = Vec::new();
        let asked = || {
            let times = "start=2000-01-01T00:00:00Z&end=2100-01-01T00:00:00Z";
            let answer = server.json(&format!("/api/v1/query_exemplars?query={family}&{times}"))?;
            let of_job =
                answer["data"].as_array()?.iter().filter(|series| series["seriesLabels"]["job"] == job);
            let all = of_job.flat_map(|series| series["exemplars"].as_array().unwrap());
            Some(all.cloned().collect::<Vec<_>>())
        };
        within(30, || {
            found = asked().unwrap_or_default();
            !found.is_empty()
        });
        assert!(!found.is_empty(), "no exemplar of {family}");
        for exemplar in found {
            let label = |name: &str| exemplar["labels"][name].as_str().unwrap().to_owned();
            let (trace, id) = (label("trace_id"), label("span_id"));
            let span = told.spans.iter().find(|span| (&span.trace, &span.id) == (&trace, &id));
            let span = span.unwrap_or_else(|| panic!("{family}: {exemplar} leads nowhere"));
            let value: f64 = exemplar["value"].as_str().unwrap().parse().unwrap();
            if !attribute.is_empty() {
                let told = span.number(attribute).unwrap();
                assert!((told - value).abs() < 1e-6, "{family}: {exemplar} {span:#?}");
            }
        }
    }
}

/// Whether a span belongs to a trace that an agent with this share tells: bad ones, and of the others the upper part of
/// the low 56 bits of the trace id.
fn is_told(all: &Told, span: &Span, share: f64) -> bool {
    let low = u64::from_str_radix(&span.trace[18..], 16).unwrap();
    let failed = |span: &&Span| {
        let result = span.text("voip.result").unwrap_or_default();
        ["failed", "failure", "timeout", "no_final"].contains(&result)
            || span.number("voip.mos").is_some_and(|mos| mos < 3.6)
            || span.text("voip.one_way").is_some()
            || span.is("voip.dead_air") == Some(true)
    };
    let mut of_trace = all.spans.iter().filter(|other| other.trace == span.trace && other.parent.is_empty());
    low >= ((1.0 - share) * (1_u64 << 56) as f64).round() as u64 || of_trace.any(|root| failed(&root))
}

/// A collector that has no time, then has, and then sleeps: nothing of it is seen in what is measured.
#[test]
fn whatever_the_collector_does_calls_are_measured_all_the_same() {
    if !inside("live::whatever_the_collector_does_calls_are_measured_all_the_same", &[]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let capture = calls(directory.path(), 30);
    let double = Double::start();
    double.always(Act::Grpc(14, Some(1)));
    let mut agent = agent("edge", "st1", EDGE, &format!("http://{}", double.address), "grpc");
    agent.env("SIDETONE_OTLP_QUEUE_SPANS", "64").env("SIDETONE_OTLP_HEADERS", "x-tenant=voip");
    let agent = Running::start(agent.env("SIDETONE_OTLP_BATCH_SPANS", "16"));
    ready(EDGE);
    replay(&capture, "1");
    let file = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["analyze", "--format", "prometheus"])
        .arg(&capture)
        .output()
        .unwrap();
    let file = String::from_utf8(file.stdout).unwrap();
    let differing = || -> Vec<String> {
        let live = metrics(EDGE);
        let both = MEASURED.iter().map(|name| (name, samples(&live, name), samples(&file, name)));
        both.filter(|(_, live, file)| (live - file).abs() > 0.5)
            .map(|differing| format!("{differing:?}"))
            .collect()
    };
    assert!(within(30, || differing().is_empty()), "live, and from the file: {:?}", differing());
    let (told, lost) = ("sidetone_otlp_sent_spans_total", "sidetone_otlp_lost_spans_total");
    assert!(total(EDGE, lost) > 0.0, "the queue is smaller than what was made");
    assert!(total(EDGE, "sidetone_otlp_queue_spans") <= 64.0);
    assert!(total(EDGE, "sidetone_otlp_up") < 0.5);
    let health = get(&address(EDGE), "/health?detailed=true").unwrap();
    assert!(health.contains("\"otlp\"") && health.contains("problem"), "{health}");

    double.always(Act::Take);
    let drained = || total(EDGE, "sidetone_otlp_queue_spans") < 0.5 && total(EDGE, "sidetone_otlp_up") > 0.5;
    assert!(within(60, drained), "{}", get(&address(EDGE), "/health?detailed=true").unwrap());
    assert!((total(EDGE, told) - double.distinct() as f64).abs() < 0.5);
    double.assert_fine();
    assert!(double.got.lock().unwrap().spans.values().all(|times| *times == 1), "nothing comes twice");

    // It falls asleep over the next calls; the agent goes in time nevertheless.
    double.always(Act::Slow(std::time::Duration::from_mins(10)));
    let before = double.got.lock().unwrap().times.len();
    let busy = Plan { calls: 4, outcomes: vec![Outcome::Busy], first: 900, rate: 10.0, ..Plan::default() };
    fs::write(&capture, crate::scenes::planned(busy).0).unwrap();
    replay(&capture, "1");
    assert!(within(60, || double.got.lock().unwrap().times.len() > before), "it is asked");
    let asked = std::time::Instant::now();
    assert_eq!(agent.end("-TERM"), Some(0));
    assert!(asked.elapsed().as_secs() < 30, "{:?}", asked.elapsed());
}

const MEASURED: &[&str] = &[
    "voip_sip_attempts_total",
    "voip_sip_attempt_results_total",
    "voip_calls_ended_total",
    "voip_sip_requests_total",
    "voip_sip_responses_total",
    "voip_registration_total",
    "voip_rtp_packets_total",
    "voip_rtp_expected_total",
    "voip_rtp_lost_total",
    "sidetone_capture_drops_total",
    "sidetone_events_lost_total",
];
const SHARE: f64 = 0.3;
const INSIDE: &str = "SIDETONE_TEST_IS_INSIDE";
const EDGE: u16 = 9767;
const CORE: u16 = 9768;
const THIRD: u16 = 9769;
