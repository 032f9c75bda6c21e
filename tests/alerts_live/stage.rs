//! Agents, Prometheus and Alertmanager in a network namespace, where every port is free.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::patience::within;
use crate::veth::{Net, succeed};

/// Where it all happens.
pub(crate) struct Stage<'a> {
    net: &'a Net,
}

/// A process that ends with the test.
pub(crate) struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `sidetone run`.
pub(crate) struct Agent<'a> {
    process: Ended,
    url: String,
    stage: &'a Stage<'a>,
}

impl Agent<'_> {
    pub(crate) fn is_ready(&self) -> bool {
        self.stage.net.fetch(&format!("{}/ready", self.url)).0 == 200
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(name, self.process.0.id());
    }

    /// Waits until a thread has nothing to do any more.
    pub(crate) fn idles(&self, thread: &str) {
        let stat = self.thread(thread).join("stat");
        let ticks = || {
            let text = fs::read_to_string(&stat).unwrap();
            let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        let mut last = 0;
        while ticks() > last + 2 {
            last = ticks();
            sleep(Duration::from_secs(1));
        }
    }

    /// Holds up one thread whenever it would sleep.
    pub(crate) fn hold(&self, thread: &str) -> Held {
        let task = self.thread(thread).file_name().unwrap().to_str().unwrap().to_owned();
        let mut command = Command::new("strace");
        command.args(["-p", &task, "-o", "/dev/null", "-e", "inject=futex:delay_enter=60000000"]);
        let tracer = Ended(command.stderr(Stdio::null()).spawn().unwrap());
        let status = format!("/proc/{task}/status");
        assert!(within(30, || !fs::read_to_string(&status).unwrap().contains("TracerPid:\t0\n")), "traced");
        Held(tracer)
    }

    /// Somebody asks, and waits.
    pub(crate) fn ask(&self, page: &str) -> Child {
        let url = format!("{}{page}", self.url);
        let mut command = self.stage.net.inside("curl");
        command.args(["-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    }

    fn thread(&self, name: &str) -> PathBuf {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.0.id())).unwrap();
        let is = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
        tasks.map(|task| task.unwrap().path()).find(is).unwrap()
    }

    pub(crate) fn end(&mut self, signal: &str) {
        self.signal(signal);
        self.process.0.wait().unwrap();
    }
}

impl<'a> Stage<'a> {
    pub(crate) fn new(net: &'a Net) -> Self {
        Self { net }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.net.dir.path().join(name)
    }

    /// Starts an agent with its configuration and a port of its own.
    pub(crate) fn agent(&'a self, name: &str, configuration: &str) -> Agent<'a> {
        let directory = self.net.dir.path().display().to_string();
        let port = port(name);
        let file = self.file(&format!("{name}.toml"));
        let text = format!(
            "http.listen = [\"127.0.0.1:{port}\"]\nstate.directory = \"{directory}/{name}-state\"\n\
             poll.well_known = false\n{}",
            configuration.replace("DIRECTORY", &directory)
        );
        fs::write(&file, text).unwrap();
        let mut command = self.net.inside(env!("CARGO_BIN_EXE_sidetone"));
        command.args(["run", "--config"]).arg(file).stderr(self.log(name));
        let url = format!("http://127.0.0.1:{port}");
        Agent { process: Ended(command.spawn().unwrap()), url, stage: self }
    }

    /// Programs beside the agents: one whose heap is full of holes, and one that leaks.
    pub(crate) fn processes(&self) -> [Ended; 2] {
        let programs = [
            ("holey", "@a = map { 'x' x 2000 } 1..150000; for (0..$#a) { undef $a[$_] if $_ % 5 } sleep 600"),
            (
                "leaky",
                "$a[$_] = 'x' x 1e6 for 0..150; for (1..4000) { push @b, 'x' x 2e5; select undef, undef, undef, 0.05 }",
            ),
        ];
        programs.map(|(name, program)| {
            let process = Command::new("perl").args(["-e", program]).spawn().unwrap();
            fs::write(self.file(&format!("{name}.pid")), format!("{}\n", process.id())).unwrap();
            Ended(process)
        })
    }

    /// Plays a capture at its own speed.
    pub(crate) fn replay(&self, capture: &str, interface: &str) -> Ended {
        let mut command = self.net.inside("tcpreplay");
        command.args(["-q", "-i", interface]).arg(self.file(&format!("{capture}.pcap")));
        Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Plays a capture as fast as an agent can take it.
    pub(crate) fn flood(&self, capture: &str, interface: &str) {
        let mut command = self.net.inside("tcpreplay");
        command.args(["-q", "--pps", "8000", "-i", interface]).arg(self.file(&format!("{capture}.pcap")));
        succeed(&mut command);
    }

    /// What an agent has said.
    pub(crate) fn said(&self, name: &str) -> String {
        fs::read_to_string(self.file(&format!("{name}.log"))).unwrap_or_default()
    }

    fn log(&self, name: &str) -> File {
        File::create(self.file(&format!("{name}.log"))).unwrap()
    }
}

/// Until it is released.
pub(crate) struct Held(Ended);

impl Held {
    pub(crate) fn release(mut self) {
        kill("INT", self.0.0.id());
        self.0.0.wait().unwrap();
    }
}

/// What somebody who asked was answered.
pub(crate) fn status(asking: Child) -> String {
    String::from_utf8(asking.wait_with_output().unwrap().stdout).unwrap()
}

fn kill(signal: &str, process: u32) {
    succeed(Command::new("kill").args([format!("-{signal}"), process.to_string()]));
}

/// Prometheus, and the Alertmanager that it tells.
pub(crate) struct Watched<'a> {
    net: &'a Net,
    _servers: [Ended; 2],
}

impl<'a> Watched<'a> {
    pub(crate) fn start(stage: &'a Stage<'a>, rules: &[(&str, String)], alertmanager: &Path) -> Self {
        let mut targets = String::new();
        for (name, _) in AGENTS {
            writeln!(targets, "  - {{targets: ['127.0.0.1:{}'], labels: {{instance: {name}}}}}", port(name))
                .unwrap();
        }
        for (file, text) in rules {
            fs::write(stage.file(file), text).unwrap();
        }
        let config = stage.file("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}\n\
             rule_files: [sidetone.rules.yml, sidetone.alerts.yml]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:9093']}}]}}]}}\n\
             scrape_configs:\n- job_name: sidetone\n  static_configs:\n{targets}"
        );
        fs::write(&config, text).unwrap();
        let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        let mut notifier = stage.net.inside("prometheus-alertmanager");
        notifier
            .arg(file("config.file", alertmanager))
            .arg(file("storage.path", &stage.file("alertmanager")))
            .args(["--cluster.listen-address=", "--web.listen-address=127.0.0.1:9093"]);
        let mut server = stage.net.inside("prometheus");
        server
            .arg(file("config.file", &config))
            .arg(file("storage.tsdb.path", &stage.file("prometheus")))
            // What fires before Alertmanager is found is told again soon.
            .args(["--rules.alert.resend-delay=1s", "--web.listen-address=127.0.0.1:9090"]);
        let start = |command: &mut Command, name| {
            Ended(command.stdout(Stdio::null()).stderr(stage.log(name)).spawn().unwrap())
        };
        let servers = [start(&mut notifier, "alertmanager"), start(&mut server, "prometheus")];
        let watched = Self { net: stage.net, _servers: servers };
        for port in [9093, 9090] {
            let ready = format!("http://127.0.0.1:{port}/-/ready");
            assert!(within(120, || watched.net.fetch(&ready).0 == 200), "{ready}");
        }
        watched
    }

    /// How many agents answer.
    pub(crate) fn up(&self) -> usize {
        self.query("up == 1").len()
    }

    pub(crate) fn query(&self, query: &str) -> Vec<Value> {
        let encoded = query.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
        let answer = self.get(&format!("http://127.0.0.1:9090/api/v1/query?query={encoded}"));
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// What Alertmanager has been told of and is not over.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        self.get("http://127.0.0.1:9093/api/v2/alerts").as_array().cloned().unwrap_or_default()
    }

    /// All that Prometheus thinks of alerts, for whoever reads why a test failed.
    pub(crate) fn state(&self) -> String {
        let alerts = self.query("ALERTS");
        alerts.iter().fold(String::new(), |text, alert| text + &alert["metric"].to_string() + "\n")
    }

    fn get(&self, url: &str) -> Value {
        serde_json::from_str(&self.net.fetch(url).1).unwrap_or_default()
    }
}

fn port(name: &str) -> usize {
    9100 + AGENTS.iter().position(|(agent, _)| *agent == name).unwrap()
}

pub(crate) fn configuration(name: &str) -> &'static str {
    AGENTS.iter().find(|(agent, _)| *agent == name).unwrap().1
}

/// The agents and what is particular about each.
pub(crate) const AGENTS: &[(&str, &str)] = &[
    ("well", "capture.interfaces = [\"well1\"]\n"),
    (
        "calls",
        "capture.interfaces = [\"st1\"]\ncapture.ring_bytes = 134217728\n\
         [metrics]\naliases = [\"siprec\"]\nlocal_addresses = [\"198.51.100.0/24\"]\nrtp_ports = \"10000-10001\"\n\
         [[trunks]]\nname = \"carrier\"\npeers = [\"198.51.100.0/24\"]\ncapacity_out = 30\n",
    ),
    ("dead", "capture.interfaces = [\"st1\"]\ncapture.filter = \"port 5060\"\n"),
    (
        "away",
        "loki.url = \"http://127.0.0.1:9\"\notlp.endpoint = \"http://127.0.0.1:9\"\nhep.send = [\"tcp:127.0.0.1:9\"]\n\
         capture.interfaces = [\"st1\", \"lost1\"]\ncapture.filter = \"port 5060\"\n",
    ),
    // A mirror that was told one direction.
    (
        "half",
        "capture.interfaces = [\"st1\"]\ncapture.filter = \"port 5060 or not src net 198.51.100.0/24\"\n",
    ),
    ("behind", "capture.interfaces = [\"held1\"]\ncapture.ring_bytes = 8388608\n"),
    ("held", "capture.interfaces = [\"held1\"]\ncapture.ring_bytes = 268435456\n"),
    (
        "small",
        "capture.interfaces = [\"st1\"]\ncapture.filter = \"port 5060\"\nlimits.calls = 20\nmetrics.series_max = 2\n",
    ),
    (
        "host",
        "capture.interfaces = [\"well1\"]\npoll.interval_seconds = 1\n\
         [[processes]]\nname = \"holey\"\npid_file = \"DIRECTORY/holey.pid\"\nheap_interval_seconds = 1\n\
         [[processes]]\nname = \"leaky\"\npid_file = \"DIRECTORY/leaky.pid\"\nheap = false\n\
         memory_budget = 150000000\n",
    ),
    ("cut", "capture.interfaces = [\"well1\"]\nlogs.directory = \"DIRECTORY/cut-logs\"\n"),
];
