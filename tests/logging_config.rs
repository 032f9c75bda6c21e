//! Configurations for those who ship logs their own way: what `scripts/logging-config` writes ships the files of the
//! running configuration with its labels, and is understood by the program it is for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "logging_config/alloy.rs"]
mod alloy;
#[path = "logging_config/fluent.rs"]
mod fluent;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use needs::{has, root_with};
use skipped::skipped;

/// Logs to files, one to the journal, one nowhere that can be shipped, and two files of other programs.
const CONFIG: &str = r#"
[logs]
directory = "/var/log/sidetone"
application = ["file", "stdout"]
audit = ["file", "journald"]
diagnostics = ["stdout"]
application_days = 80
audit_days = 300
rotate_bytes = 50000000
keep_full_files = 7

[loki]
url = "https://loki.example:3100"
tenant = "team-a"
labels = ["site=north", "job=voip"]

[[tail]]
name = "kamailio"
paths = ["/var/log/kamailio.log"]
format = "text"
labels = ["program=kamailio"]

[[tail]]
name = "chat"
paths = ["/var/log/chat/a.log", "/var/log/chat/*.jsonl"]
timestamp = "time"
"#;

/// Paths and labels of each stream that is shipped.
fn expected() -> BTreeMap<String, (Vec<String>, BTreeMap<String, String>)> {
    let stream = |name: &str, paths: &[&str], own: &[(&str, &str)]| {
        let common = [("job", "voip"), ("site", "north"), ("stream", name)];
        let labels = common.iter().chain(own).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        (name.to_owned(), (paths.iter().map(|path| (*path).to_owned()).collect(), labels.collect()))
    };
    BTreeMap::from([
        stream("application", &["/var/log/sidetone/application.log"], &[]),
        stream("audit", &["/var/log/sidetone/audit.log"], &[]),
        stream("kamailio", &["/var/log/kamailio.log"], &[("program", "kamailio")]),
        stream("chat", &["/var/log/chat/a.log", "/var/log/chat/*.jsonl"], &[]),
    ])
}

/// What the script has written, and said.
struct Written {
    directory: TempDir,
    said: String,
}

fn written() -> Written {
    let config = sidetone::config::read("s.toml", CONFIG, &BTreeMap::new()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/logging-config");
    let mut child = Command::new("python3")
        .arg(script)
        .arg(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.document().to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    Written { directory, said }
}

impl Written {
    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.directory.path().join(file)).unwrap()
    }

    fn yaml(&self, file: &str) -> Value {
        serde_saphyr::from_str(&self.text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Fails unless the program itself has found it fine; says so if there is no such program.
    fn is_fine(&self, file: &str, program: &str) {
        let told = self.said.lines().find(|line| line.contains(&format!("/{file}: "))).unwrap();
        if told.ends_with("is not installed") {
            skipped(format!(
                "{file} was not shown to {program}, which is not installed: its structure was looked at"
            ));
        } else {
            assert!(told.ends_with(": fine"), "{told}");
        }
    }
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().unwrap().iter();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}

#[test]
fn promtail_ships_each_file_with_its_labels_and_names_containers() {
    let written = written();
    written.is_fine("promtail.yaml", "promtail");
    let config = written.yaml("promtail.yaml");
    let client = json!([{ "url": "https://loki.example:3100/loki/api/v1/push", "tenant_id": "team-a" }]);
    assert_eq!(config["clients"], client);
    let jobs = config["scrape_configs"].as_array().unwrap();
    let mut found = BTreeMap::new();
    for job in jobs.iter().filter(|job| job["static_configs"].is_array()) {
        let mut paths = Vec::new();
        let mut common = BTreeMap::new();
        for target in job["static_configs"].as_array().unwrap() {
            common = labels(&target["labels"]);
            paths.push(common.remove("__path__").unwrap());
        }
        let stages = job["pipeline_stages"].as_array().map_or(0, Vec::len);
        assert_eq!(stages == 0, job["job_name"] == "kamailio", "text has no fields: {job}");
        found.insert(job["job_name"].as_str().unwrap().to_owned(), (paths, common));
    }
    assert_eq!(found, expected());
    let chat = jobs.iter().find(|job| job["job_name"] == "chat").unwrap();
    assert_eq!(chat["pipeline_stages"][0]["json"]["expressions"]["time"], "time");
    let containers = jobs.iter().find(|job| job["docker_sd_configs"].is_array()).unwrap();
    assert_eq!(containers["docker_sd_configs"][0]["host"], "unix:///var/run/docker.sock");
    let named: BTreeMap<_, _> = containers["relabel_configs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["target_label"].as_str().unwrap(), rule["source_labels"][0].as_str().unwrap()))
        .collect();
    assert_eq!(named["container"], "__meta_docker_container_name");
    assert_eq!(named["service"], "__meta_docker_container_label_com_docker_compose_service");
    assert_eq!(named["output"], "__meta_docker_container_log_stream");
}

#[test]
fn filebeat_ships_each_file_with_its_labels() {
    let written = written();
    written.is_fine("filebeat.yml", "filebeat");
    let config = written.yaml("filebeat.yml");
    let mut found = BTreeMap::new();
    for input in config["filebeat.inputs"].as_array().unwrap() {
        assert_eq!(input["type"], "filestream");
        let name = input["id"].as_str().unwrap().strip_prefix("sidetone-").unwrap();
        assert_eq!(input["parsers"].is_array(), name != "kamailio");
        let paths = input["paths"].as_array().unwrap().iter();
        let paths = paths.map(|path| path.as_str().unwrap().to_owned()).collect();
        found.insert(name.to_owned(), (paths, labels(&input["fields"])));
    }
    assert_eq!(found, expected());
    assert_eq!(config["output.logstash"]["hosts"], json!(["localhost:5044"]));
}

#[test]
fn alloy_ships_each_file_with_its_labels() {
    let written = written();
    written.is_fine("alloy.alloy", "alloy");
    let blocks = alloy::blocks(&written.text("alloy.alloy"));
    assert_eq!(alloy::shipped(&blocks), expected());
    let server = blocks.iter().find(|block| block.kind == "loki.write").unwrap();
    let endpoint = &server.blocks[0].attributes;
    assert_eq!(endpoint["url"], json!("https://loki.example:3100/loki/api/v1/push"));
    assert_eq!(endpoint["tenant_id"], json!("team-a"));
}

#[test]
fn fluentd_ships_each_file_with_its_labels() {
    let written = written();
    written.is_fine("fluentd.conf", "fluentd");
    assert_eq!(fluent::shipped_by_fluentd(&written.text("fluentd.conf")), expected());
}

#[test]
fn fluent_bit_ships_each_file_with_its_labels() {
    let written = written();
    written.is_fine("fluent-bit.conf", "fluent-bit");
    let texts = ["fluent-bit.conf", "fluent-bit-parsers.conf"].map(|file| written.text(file));
    assert_eq!(fluent::shipped_by_fluent_bit(&texts[0], &texts[1]), expected());
}

/// Logstash itself cannot be installed here; somebody has written its grammar down for Python.
#[test]
fn logstash_ships_each_file_with_its_labels() {
    let written = written();
    written.is_fine("logstash.conf", "logstash");
    let parser = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/logstash");
    if !parser.exists() {
        return skipped("there is no parser of Logstash pipelines: tests/tools.sh logstash-parser");
    }
    let parse = "import json, sys\nfrom logstash_pipeline_parser import Pipeline\n\
                 print(json.dumps(Pipeline(open(sys.argv[1]).read()).parse(), default=str))";
    let output = Command::new("python3")
        .args(["-c", parse])
        .arg(written.directory.path().join("logstash.conf"))
        .env("PYTHONPATH", parser)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sections: Vec<(String, Value)> = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = sections.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["input", "filter", "output"]);
    let mut found: BTreeMap<String, (Vec<String>, _)> = BTreeMap::new();
    for input in sections[0].1.as_array().unwrap() {
        assert_eq!(input[0], "file");
        let settings: Vec<(String, Value)> = serde_json::from_value(input[1].clone()).unwrap();
        let settings: BTreeMap<_, _> = settings.into_iter().collect();
        let pairs: Vec<(String, (String,))> =
            serde_json::from_value(settings["add_field"][0].clone()).unwrap();
        let labels = pairs.into_iter().map(|(key, (value,))| (key, value)).collect();
        let name = settings["type"][0].as_str().unwrap().to_owned();
        let entry = found.entry(name).or_insert((Vec::new(), labels));
        entry.0.push(settings["path"][0].as_str().unwrap().to_owned());
    }
    assert_eq!(found, expected());
}

#[test]
fn logrotate_turns_over_what_is_not_chained() {
    let written = written();
    let text = written.text("logrotate.conf");
    for line in ["maxsize 50000000", "rotate 7", "maxage 80", "kill --signal=USR1 sidetone.service"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("audit.log") && !text.contains("kamailio"), "{text}");
    if !has("logrotate") {
        return;
    }
    written.is_fine("logrotate.conf", "logrotate");
    // With the file where it is, it also says what it would do.
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("application.log");
    fs::write(&log, "{}\n").unwrap();
    let file = directory.path().join("logrotate.conf");
    fs::write(&file, text.replace("/var/log/sidetone", directory.path().to_str().unwrap())).unwrap();
    let output = Command::new("logrotate").arg("-d").arg("-f").arg(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("considering log {}", log.display())), "{said}");
    assert!(said.contains("running postrotate script") && !said.contains("error:"), "{said}");
}

/// A real journald is started with it, and with more that is wrong, so that one knows that it would complain. It is one of
/// its own, beside that of the machine, with directories of its own.
#[test]
fn journald_understands_its_file() {
    let written = written();
    let text = written.text("journald.conf");
    assert!(text.contains("MaxRetentionSec=300day\n"), "the days of what goes to the journal: {text}");
    if !root_with(&["unshare", "timeout"]) {
        return;
    }
    if !Path::new(JOURNALD).exists() || !Path::new("/etc/machine-id").exists() {
        return skipped("this test needs systemd-journald");
    }
    let script = "set -e\nmount --make-rprivate /\n\
        for place in /run /etc/systemd /var/log; do mount -t tmpfs tmpfs $place; done\n\
        echo 0123456789abcdef0123456789abcdef >/run/id && mount --bind /run/id /etc/machine-id\n\
        mkdir -p /run/systemd /var/log/journal /etc/systemd/journald@told.conf.d\n\
        cp \"$1\" /etc/systemd/journald@told.conf\n\
        printf '[Journal]\\nNonsense=1\\nRateLimitBurst=many\\n' >/etc/systemd/journald@told.conf.d/wrong.conf\n\
        (while [ ! -e /var/log/journal/*.told/system.journal ]; do sleep 0.1; done; kill -TERM $$) &\n\
        exec timeout 60 env SYSTEMD_LOG_TARGET=console \"$2\" told 2>&1";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(written.directory.path().join("journald.conf"))
        .arg(JOURNALD)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for complaint in ["wrong.conf:2: Unknown key", "wrong.conf:3: Failed to parse"] {
        assert!(said.contains(complaint), "{complaint}: {said}");
    }
    assert!(!said.contains("told.conf:"), "{said}");
    assert_ne!(output.status.code(), Some(124), "its journal is not kept on disk: {said}");
}

const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";
