//! The lab as a test sees it: `lab.sh` does the work, what runs in it is ended and removed with the value.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::lines::Lines;
use super::skipped::skipped;

/// Hosts in network namespaces of this process's own. One at a time: two of them would disturb one another's clocks.
pub(crate) struct Lab {
    prefix: String,
    state: tempfile::TempDir,
    callers: Cell<u16>,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Lab {
    /// Everything is up and listens; or it says why there is no lab on this machine.
    pub(crate) fn up() -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = obstacle() {
            skipped(format_args!("no lab: {reason}"));
            return None;
        }
        let lab = Self {
            prefix: format!("st-lab-{}-", std::process::id()),
            state: tempfile::tempdir().unwrap(),
            callers: Cell::new(5100),
            _alone: alone,
        };
        succeed(lab.script().arg("up"));
        Some(lab)
    }

    /// New faults on the caller's cable.
    pub(crate) fn link(&self, settings: &[&str]) {
        succeed(self.script().arg("link").args(settings));
    }

    /// What the cable has dropped: direction, SSRC, sequence number, both ports.
    pub(crate) fn dropped(&self) -> String {
        fs::read_to_string(self.file("dropped.txt")).unwrap()
    }

    /// sipp calls by a scenario, `NAME` or `NAME:CODE`.
    pub(crate) fn call(&self, scenario: &str, count: u32, number: &str, options: &str) -> Caller {
        let port = self.callers.replace(self.callers.get() + 1);
        let what = format!("{scenario} {count} {number} {options}");
        let log = File::create(self.file(&format!("caller-{port}.log"))).unwrap();
        let process = self
            .script()
            .args(["call", scenario, &count.to_string(), number, "-p", &port.to_string()])
            .args(["-trace_rtt", "-rtt_freq", "1"])
            .args(options.split_whitespace())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Caller { what, process }
    }

    /// baresip calls baresip.
    pub(crate) fn phone(&self, seconds: u32) -> Caller {
        let log = File::create(self.file("phone.log")).unwrap();
        let mut command = self.script();
        command.args(["phone", &seconds.to_string()]).stdout(log.try_clone().unwrap()).stderr(log);
        Caller { what: "baresip".into(), process: command.spawn().unwrap() }
    }

    /// This very program, as a browser on the caller's host.
    pub(crate) fn browser(&self, number: &str) -> Caller {
        let process = self
            .inside("a", std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "browser::telephone"])
            .env("SIDETONE_LAB_BROWSER", number)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Caller { what: format!("browser {number}"), process }
    }

    pub(crate) fn inside(&self, host: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}{host}", self.prefix)]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    /// Response times by sipp itself, in seconds, smallest first, by process.
    pub(crate) fn response_times(&self) -> Vec<(String, Vec<f64>)> {
        let files = fs::read_dir(self.state.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut times = Vec::new();
        for file in files {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let Some(pid) = name.strip_suffix("_rtt.csv").and_then(|rest| rest.rsplit_once('_')) else {
                continue;
            };
            let text = fs::read_to_string(&file).unwrap();
            let column = |line: &str| line.split(';').nth(1).unwrap().parse::<f64>().unwrap() / 1000.0;
            let mut own: Vec<f64> = text.lines().skip(1).map(column).collect();
            own.sort_by(f64::total_cmp);
            times.push((pid.1.to_owned(), own));
        }
        times
    }

    fn script(&self) -> Command {
        let mut command = Command::new("tests/lab/lab.sh");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        command.env("SIDETONE_LAB", self.state.path()).env("SIDETONE_LAB_PREFIX", &self.prefix);
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = ["kamailio.log", "rtpengine.log", "agent-p.log", "agent-m.log", "phone.log"];
            for name in logs {
                let text = fs::read_to_string(self.file(name)).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(5).collect();
                let _ = writeln!(io::stderr(), "{name}, last line first:\n  {}", last.join("\n  "));
            }
        }
        let _ = self.script().arg("down").status();
    }
}

/// Who makes calls.
pub(crate) struct Caller {
    what: String,
    process: Child,
}

impl Caller {
    pub(crate) fn is_done(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Every call went as its scenario says.
    pub(crate) fn succeed(mut self) {
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{}: {status}", self.what);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `sidetone run` beside the proxy, and tcpdump at the same place; and one more elsewhere, which has no wire but is
/// sent HEP by the proxy.
pub(crate) struct Watch<'a> {
    lab: &'a Lab,
    agent: Process,
    far: Process,
    dumps: Vec<Process>,
}

/// What both have seen.
pub(crate) struct Seen {
    /// `/metrics` of the agent, when all calls were over.
    pub(crate) live: String,
    /// The same of the agent that was sent HEP.
    pub(crate) far: String,
    /// The same of tcpdump's file.
    pub(crate) offline: String,
    /// The report on it.
    pub(crate) report: Value,
    /// What the agent has logged.
    pub(crate) lines: Lines,
    pub(crate) capture: PathBuf,
}

impl<'a> Watch<'a> {
    pub(crate) fn start(lab: &'a Lab) -> Self {
        // What RTPengine answers to the proxy goes over lo.
        let dumps = [("eth0", "calls.pcap"), ("lo", "control.pcap")].map(|(interface, file)| {
            let mut command = lab.inside("p", "tcpdump");
            command
                .args(["-i", interface, "-s", "0", "-B", "8192", "-U", "-Z", "root", "--nano", "-w"])
                .arg(lab.file(file))
                // HEP is for the far agent alone.
                .args(["not", "port", "9060"]);
            let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().contains("listening on")), "tcpdump");
            // Its closing words are for nobody, but it must be able to say them.
            std::thread::spawn(move || lines.for_each(drop));
            Process(process)
        });
        let agent = |host, variable, value| {
            let log = File::create(lab.file(&format!("agent-{host}.log"))).unwrap();
            let mut command = lab.inside(host, env!("CARGO_BIN_EXE_sidetone"));
            command.arg("run").env(variable, value);
            command.env("SIDETONE_POLL_INTERVAL_SECONDS", "1");
            let interface = if host == "p" { "eth0" } else { "lo" };
            if host == "p" {
                command.env("SIDETONE_LOGS_DIRECTORY", lab.file("logs"));
            }
            Process(command.env("SIDETONE_CAPTURE_INTERFACES", interface).stderr(log).spawn().unwrap())
        };
        let watch = Self {
            lab,
            agent: agent("p", "SIDETONE_CAPTURE_DECODE_HEP", "false"),
            far: agent("m", "SIDETONE_HEP_LISTEN", "udp:10.20.0.50:9060"),
            dumps: dumps.into(),
        };
        for host in ["p", "m"] {
            assert!(until(|| watch.fetch(host, "/ready").is_some()), "the agent on {host} is ready");
        }
        watch
    }

    /// The calls that are up, again and again until all callers are done.
    pub(crate) fn sample(&self, callers: &mut [Caller]) -> Vec<Value> {
        let mut samples = Vec::new();
        while !callers.iter_mut().all(Caller::is_done) {
            let text = self.fetch("p", "/api/calls").unwrap();
            samples.push(serde_json::from_str(&text).unwrap());
            sleep(Duration::from_millis(150));
        }
        samples
    }

    /// What the agent beside the proxy says now.
    pub(crate) fn metrics(&self) -> String {
        self.fetch("p", "/metrics").unwrap()
    }

    /// Waits until so many attempts and registrations have come to their end, and ends both.
    pub(crate) fn finish(mut self, attempts: u32, answered: u32, registrations: u32) -> Seen {
        let when_over = |host: &str| {
            let mut text = String::new();
            let over = until(|| {
                text = self.fetch(host, "/metrics").unwrap();
                sum(&text, "voip_sip_attempt_results_total") >= attempts
                    && sum(&text, "voip_calls_ended_total") >= answered
                    && sum(&text, "voip_sip_registrations_total") >= registrations
                    && sum(&text, "voip_rtp_streams_active") == 0
            });
            let counts: Vec<&str> =
                text.lines().filter(|line| line.starts_with("voip_sip_attempt")).collect();
            assert!(over, "not all has come to its end on {host}: {counts:#?}");
            text
        };
        when_over("p");
        // Somebody may still repeat himself; from here on nobody hears him. What has passed takes a second to come
        // out of the rings.
        succeed(self.lab.inside("switch", "ip").args(["link", "set", "to-p", "down"]));
        sleep(Duration::from_millis(1500));
        let (live, far) = (when_over("p"), when_over("m"));
        for agent in [&mut self.agent, &mut self.far] {
            assert_eq!(agent.end("TERM"), Some(0), "the agent ends with 0");
        }
        for dump in &mut self.dumps {
            dump.end("INT");
        }
        let capture = self.lab.file("calls.pcap");
        let report = |format| analyze(&capture, format);
        Seen {
            live,
            far,
            offline: report("prometheus"),
            report: serde_json::from_str(&report("json")).unwrap(),
            lines: Lines::read(&self.lab.file("logs")),
            capture,
        }
    }

    fn fetch(&self, host: &str, page: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:9767{page}");
        let output = self.lab.inside(host, "curl").args(["-sf", &url]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }
}

impl Seen {
    /// Calls of the report.
    pub(crate) fn calls(&self) -> &[Value] {
        self.report["calls"].as_array().unwrap()
    }

    pub(crate) fn streams(&self) -> &[Value] {
        self.report["streams"].as_array().unwrap()
    }

    /// The agent has counted what the report on the same packets counts.
    pub(crate) fn assert_live_equals_offline(&self) {
        assert_equal(&self.live, &self.offline, &COUNTERS);
    }

    /// What the proxy has mirrored gives the counters that the wire gives.
    pub(crate) fn assert_hep_equals_wire(&self) {
        assert_equal(&self.far, &self.live, COUNTERS.get(..OF_SIP).unwrap());
    }
}

/// Both have the same samples of these names, 0 or absent being the same.
fn assert_equal(one: &str, other: &str, names: &[&str]) {
    let counters = |text: &str| -> Vec<String> {
        let is_counter = |line: &&str| {
            names.iter().any(|name| line.starts_with(name))
                && !line.ends_with(" 0")
                && !line.ends_with(" 0.0")
        };
        let mut lines: Vec<String> = text.lines().filter(is_counter).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (one, other) = (counters(one), counters(other));
    let only = |of: &[String], not: &[String]| -> Vec<String> {
        of.iter().filter(|line| !not.contains(line)).cloned().collect()
    };
    let (more, less) = (only(&one, &other), only(&other, &one));
    assert!(more.is_empty() && less.is_empty(), "only the one: {more:#?}\nonly the other: {less:#?}");
    assert!(one.len() > 5, "{one:#?}");
}

/// A process that does not outlive the test.
struct Process(Child);

impl Process {
    fn end(&mut self, signal: &str) -> Option<i32> {
        let kill = format!("kill -{signal} {}", self.0.id());
        succeed(Command::new("sh").args(["-c", &kill]));
        self.0.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sum of the samples of a name, which are whole numbers.
pub(crate) fn sum(text: &str, name: &str) -> u32 {
    with(text, name, "")
}

/// The same of samples with this label.
pub(crate) fn with(text: &str, name: &str, label: &str) -> u32 {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum::<f64>() as u32
}

fn analyze(capture: &Path, format: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    let output = command.args(["analyze", "--format", format]).arg(capture).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Tries for half a minute.
fn until(done: impl FnMut() -> bool) -> bool {
    super::patience::within(30, done)
}

/// Why there can be no lab here.
fn obstacle() -> Option<String> {
    if Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        return Some("it needs root".into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    let missing: Vec<&str> = PROGRAMS.iter().copied().filter(|name| !there(name)).collect();
    if !missing.is_empty() {
        return Some(format!("{} not installed", missing.join(", ")));
    }
    let probe = format!("st-lab-{}-probe", std::process::id());
    if !Command::new("ip").args(["netns", "add", &probe]).stderr(Stdio::null()).status().unwrap().success() {
        return Some("no network namespace can be made".into());
    }
    let _ = Command::new("ip").args(["netns", "delete", &probe]).status();
    let modules = |name: &str| {
        let roots = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64"];
        roots.iter().any(|root| Path::new(root).join("kamailio/modules").join(name).exists())
    };
    (!modules("websocket.so")).then(|| "Kamailio's module websocket is not installed".into())
}

const PROGRAMS: [&str; 10] =
    ["ip", "ethtool", "cc", "curl", "tcpdump", "tshark", "kamailio", "rtpengine", "sipp", "baresip"];

/// What must be equal sample by sample; those of SIP come first.
const COUNTERS: [&str; 21] = [
    "voip_sip_attempts_total",
    "voip_sip_attempt_results_total",
    "voip_sip_requests_total",
    "voip_sip_responses_total",
    "voip_sip_registrations_total",
    "voip_registration_total",
    "voip_sip_transfers_total",
    "voip_sip_early_media_total",
    "voip_calls_ended_total",
    "voip_call_setup_duration_seconds_count",
    "voip_sip_session_duration_seconds_count",
    "voip_sip_retransmissions_total",
    "voip_calls_oneway_total",
    "voip_rtp_packets_total",
    "voip_rtp_bytes_total",
    "voip_rtp_expected_total",
    "voip_rtp_lost_total",
    "voip_rtp_reordered_total",
    "voip_rtp_duplicates_total",
    "voip_rtcp_loss_ratio_count",
    "voip_rtp_mos_count",
];
const OF_SIP: usize = 11;
