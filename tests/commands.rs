//! Every command in the documents: run here as it is printed, in a network of its own and on a system whose changes are
//! thrown away, or by another test, or shown only, for a reason. One that is in no list is an error.
//!
//! Running needs root and the programs that the documents name; says so and skips where they are not there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "support/veth.rs"]
mod veth;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use patience::within;
use veth::{Net, succeed};

#[test]
fn every_command_is_run_or_it_is_said_why_not() {
    let mut sources = String::new();
    read_all(&project("tests"), &mut sources);
    read_all(&project("src"), &mut sources);
    for (command, whose) in ELSEWHERE {
        assert!(sources.contains(&format!("fn {whose}(")), "{command}: there is no test {whose}");
    }
    let blocks = blocks();
    assert!(blocks.len() > 40, "{}", blocks.len());
    let mut used = BTreeSet::new();
    for block in &blocks {
        for command in &block.commands {
            let listed = listed(command);
            used.extend(listed);
            let first = command.split([' ', '=']).next().unwrap();
            assert!(
                listed.is_some() || RUN.contains(&first),
                "{}: nobody runs \"{command}\": let tests/commands.rs run it, or say who does",
                block.document.display()
            );
        }
    }
    for (command, _) in ELSEWHERE.iter().chain(SHOWN) {
        assert!(used.contains(command), "no document has {command} any more");
    }
}

#[test]
fn what_is_printed_works() {
    if std::env::var_os(ASKED).is_none() {
        skipped::skipped(format_args!("minutes of printed commands: set {ASKED}"));
        return;
    }
    let tools = ["prometheus", "promtool", "jq", "less", "xxd", "openssl", "tcpdump", "unshare", "python3"];
    let Some(net) = Net::up("docs", &tools) else { return };
    let layers = Layers::new(&net);
    let blocks = blocks();
    let scripts: Vec<(PathBuf, &Block)> = blocks
        .iter()
        .enumerate()
        .filter_map(|(number, block)| Some((layers.script(number, block)?, block)))
        .collect();
    assert!(scripts.len() > 35, "{}", scripts.len());
    // Once more what did not work: on a busy machine an agent may take its time.
    let again: Vec<_> = run(&layers, &scripts).into_iter().map(|(block, _)| block).collect();
    let wrong: String = run(&layers, &again).into_iter().map(|(_, said)| said).collect();
    assert!(wrong.is_empty(), "{wrong}");
}

/// Runs them, some at a time, for each waits for others most of the time; returns those that failed, and what they said.
fn run<'a>(layers: &Layers<'_>, scripts: &[(PathBuf, &'a Block)]) -> Vec<((PathBuf, &'a Block), String)> {
    let mut failed = Vec::new();
    for some in scripts.chunks(4) {
        let running: Vec<Child> = some.iter().map(|(script, _)| layers.run(script)).collect();
        for ((script, block), running) in some.iter().zip(running) {
            let output = running.wait_with_output().unwrap();
            // A pipe whose reader had enough.
            if !output.status.success() && output.status.code() != Some(141) {
                let said = [output.stdout, output.stderr].concat();
                let said: Vec<String> = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
                let said = format!(
                    "{}: {}\n{}---\n{}\n\n",
                    block.document.display(),
                    output.status,
                    fs::read_to_string(script).unwrap(),
                    said[said.len().saturating_sub(12)..].join("\n")
                );
                failed.push(((script.clone(), *block), said));
            }
        }
    }
    failed
}

/// Commands that are printed together, and share what they set.
struct Block {
    document: PathBuf,
    commands: Vec<String>,
}

/// Those of all documents; of what is shown with its output, what stands behind a `$`.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let mut language = None;
        let mut commands = Vec::new();
        for line in text.lines().map(str::trim) {
            match (line.strip_prefix("```"), language) {
                (Some(named), None) => language = Some(named),
                (Some(_), Some(_)) => {
                    language = None;
                    if !commands.is_empty() {
                        let commands = std::mem::take(&mut commands);
                        blocks.push(Block { document: document.clone(), commands });
                    }
                }
                (None, Some("sh")) => commands.extend(Some(bare(line)).filter(|line| !line.is_empty())),
                (None, Some("text")) => commands.extend(line.strip_prefix("$ ").map(bare)),
                _ => {}
            }
        }
    }
    blocks
}

/// Without the comment behind it.
fn bare(line: &str) -> String {
    let line = line.find("  #").map_or(line, |comment| &line[..comment]);
    line.trim().to_owned()
}

/// In which list it stands, by its entry there.
fn listed(command: &str) -> Option<&'static str> {
    let plain = command.strip_prefix("sudo ").unwrap_or(command);
    ELSEWHERE.iter().chain(SHOWN).map(|(entry, _)| *entry).find(|entry| plain.starts_with(entry))
}

/// What lies over the files of this system, and what runs beside: the demo on its port, Prometheus on its own, packets on
/// a cable.
struct Layers<'a> {
    net: &'a Net,
    processes: Vec<Child>,
}

impl Drop for Layers<'_> {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl<'a> Layers<'a> {
    fn new(net: &'a Net) -> Self {
        let mut layers = Self { net, processes: Vec::new() };
        let capture = project("fixtures/scenes/mixed.pcap");
        for place in ["project/evening.pcapng", "project/a.pcap", "project/captures/one.pcap"] {
            fs::copy(&capture, layers.place(place)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_sidetone"), layers.place("project/target/release/sidetone")).unwrap();
        symlink(env!("CARGO_BIN_EXE_sidetone"), layers.place("bin/sidetone")).unwrap();
        layers.program("sudo", "exec env \"$@\"");
        // Another host, on which the same command would be run.
        layers.program("ssh", &format!("[ \"$2\" = tcpdump ] && exec cat {}", capture.display()));
        fs::copy(project("packaging/sidetone.toml"), layers.place("etc/sidetone/sidetone.toml")).unwrap();
        fs::create_dir_all(layers.place("etc/grafana/x").parent().unwrap()).unwrap();
        for file in ["sidetone.rules.yml", "sidetone.alerts.yml"] {
            let packaged = project("packaging/prometheus").join(file);
            fs::copy(&packaged, layers.place(&format!("usr/share/sidetone/prometheus/{file}"))).unwrap();
            fs::copy(&packaged, layers.place(&format!("etc/prometheus/{file}"))).unwrap();
        }
        let config = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n\
                      rule_files: [sidetone.rules.yml, sidetone.alerts.yml]\n\
                      scrape_configs: [{job_name: sidetone, static_configs: [{targets: ['127.0.0.1:9767']}]}]\n";
        fs::write(layers.place("etc/prometheus/prometheus.yml"), config).unwrap();
        // As docs/start.md prints it.
        let start = fs::read_to_string(project("docs/start.md")).unwrap();
        let printed = start.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        fs::write(layers.place("project/prometheus.yml"), printed).unwrap();
        fs::write(layers.place("etc/hosts"), "127.0.0.1 localhost collector homer\n").unwrap();
        layers.audit();

        let program = env!("CARGO_BIN_EXE_sidetone");
        layers.start(net.inside(program).arg("demo"));
        let mut prometheus = net.inside("prometheus");
        prometheus
            .arg(format!("--config.file={}", layers.place("etc/prometheus/prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", net.dir.path().join("prometheus").display()))
            .arg("--web.listen-address=127.0.0.1:9090");
        layers.start(&mut prometheus);
        layers.start(net.inside("python3").args(["-c", COLLECTOR]));
        let mut replay = net.inside("tcpreplay");
        replay.args(["-q", "--loop", "1000", "--pps", "300", "-i", "st0"]).arg(&capture);
        layers.start(&mut replay);
        let scraped = || {
            let (_, answer) = net.fetch("http://127.0.0.1:9090/api/v1/query?query=up==1");
            answer.contains("127.0.0.1:9767")
        };
        assert!(within(60, scraped), "the demo is scraped");
        layers
    }

    /// An agent's audit, where it lies, and its last file and public key at hand.
    fn audit(&mut self) {
        let logs = self.place("var/log/sidetone");
        let key = self.place("var/lib/sidetone/audit.key");
        let program = env!("CARGO_BIN_EXE_sidetone");
        let mut agent = self
            .net
            .inside(program)
            .args(["run"])
            .env("SIDETONE_LOGS_DIRECTORY", &logs)
            .env("SIDETONE_LOGS_AUDIT_KEY", &key)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(within(60, || self.net.fetch("http://127.0.0.1:9767/ready").0 == 200), "an agent is ready");
        succeed(Command::new("kill").args(["-TERM", &agent.id().to_string()]));
        assert!(agent.wait().unwrap().success());
        fs::copy(logs.join("audit.log"), self.place("project/audit.log")).unwrap();
        fs::copy(key.with_extension("key.pub"), self.place("project/audit.key.pub")).unwrap();
    }

    fn start(&mut self, command: &mut Command) {
        self.processes.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Where a file of the layers lies.
    fn place(&self, file: &str) -> PathBuf {
        let place = self.net.dir.path().join("layers").join(file);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    fn program(&self, name: &str, text: &str) {
        let place = self.place(&format!("bin/{name}"));
        fs::write(&place, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What of a block is to be run here, if anything.
    fn script(&self, number: usize, block: &Block) -> Option<PathBuf> {
        let commands = block.commands.iter().filter(|command| listed(command).is_none());
        let mut text = commands.fold(String::new(), |text, command| text + command + "\n");
        for (printed, here) in EXAMPLES {
            text = text.replace(printed, here);
        }
        let script = self.net.dir.path().join(format!("{number}.sh"));
        fs::write(&script, &text).unwrap();
        (!text.is_empty()).then_some(script)
    }

    fn run(&self, script: &Path) -> Child {
        self.net
            .inside("unshare")
            .args(["--mount", "sh", "-c", include_str!("commands/throwaway.sh"), "sh"])
            .arg(script)
            .env("project", project(""))
            .env("layers", self.net.dir.path().join("layers"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = vec![project("README.md")];
    for folder in ["docs", "docs/adr", "docs/runbooks"] {
        let files = fs::read_dir(project(folder)).unwrap().map(|entry| entry.unwrap().path());
        found.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    found.sort();
    found
}

fn read_all(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *sources += &fs::read_to_string(path).unwrap();
        }
    }
}

fn project(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(place)
}

/// First words of what is run here.
const RUN: &[&str] = &[
    "sidetone",
    "sudo",
    "ssh",
    "curl",
    "promtool",
    "cp",
    "mkdir",
    "sed",
    "tail",
    "line",
    "printf",
    "{",
    "openssl",
    "tcpdump",
    "ip",
    "ps",
    "ls",
    "SIDETONE_OTLP_ENDPOINT",
];

/// What stands for something of the reader's own, and what would not end by itself.
const EXAMPLES: &[(&str, &str)] = &[
    ("--expect-seq 4711", "--expect-seq 3"),
    ("sidetone run\n", "timeout --preserve-status 5 env SIDETONE_HTTP_LISTEN=127.0.0.1:0 sidetone run\n"),
];
/// It takes four minutes.
const ASKED: &str = "SIDETONE_TEST_COMMANDS";
/// A collector that takes everything.
const COLLECTOR: &str = "
from http.server import BaseHTTPRequestHandler, HTTPServer
class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()
HTTPServer(('127.0.0.1', 4318), Collector).serve_forever()
";

/// How a command begins, and the test that runs it or what it does.
const ELSEWHERE: &[(&str, &str)] = &[
    ("sidetone analyze --top 4 fixtures/scenes/mixed.pcap", "the_readme_shows_a_real_report"),
    ("sidetone heap", "the_table_draws_each_arena"),
    ("make run", "calls_and_metrics_move_until_it_is_told_to_stop"),
    ("apt install", "a_deb_is_installed_measures_a_call_is_upgraded_and_leaves_nothing"),
    ("systemctl enable --now sidetone", "a_deb_is_installed_measures_a_call_is_upgraded_and_leaves_nothing"),
    ("systemctl daemon-reload", "it_boots_reloads_and_is_restarted"),
    ("systemctl reload sidetone", "it_boots_reloads_and_is_restarted"),
    ("podman build", "the_agent_in_the_image_needs_no_root_and_writes_nothing"),
    ("podman run", "the_agent_in_the_image_needs_no_root_and_writes_nothing"),
    ("kubectl apply", "each_base_and_overlay_is_what_kubernetes_takes_and_asks_for_no_right_but_one"),
];

/// How a command begins, and why it is only shown.
const SHOWN: &[(&str, &str)] = &[
    ("sidetone analyze 20261129", "a file of a call of one's own; the tests of evidence analyze theirs"),
    ("wireshark ", "needs a screen; the tests of evidence read the same file with tshark"),
    ("SIDETONE_TAIL_SECONDS=20 cargo test", "takes minutes, and says nothing on a busy machine"),
    ("make test", "it would run this test"),
    ("make bench", "takes minutes, and says nothing on a busy machine"),
    ("make package", "takes minutes; its scripts are run by the tests of packages and of the image"),
    ("cargo build --release", "takes minutes; what is tested was built likewise"),
    (
        "dnf install",
        "needs a system of Red Hat's kind; what is in the package is looked at by the tests of packages",
    ),
    ("systemctl reload prometheus", "needs a Prometheus that is a service"),
    ("systemctl restart grafana-server", "needs Grafana"),
    ("systemctl status", "needs a service; the tests of the unit ask the same"),
    ("journalctl", "needs a journal"),
    (
        "docker compose",
        "needs Docker and images; the file is held against its schema by the tests of manifests",
    ),
];
