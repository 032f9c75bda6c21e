//! Evidence of bad calls, from the wire to Wireshark: a bad call leaves a file and a good one none; tshark and `analyze`
//! read in it what was on the wire, without payload; it is served to whoever may have it, and that is in the audit; the
//! oldest files go; a disk that takes nothing stops nothing.
//!
//! Needs root, ip, tcpreplay, curl and tshark; says so and skips where they are not there.

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
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sidetone::simulate::{self, Outcome, Plan};
use veth::{Net, samples, succeed};

#[test]
fn a_bad_call_leaves_a_file_and_a_good_one_none() {
    let Some(net) = Net::up("evid", &["tshark"]) else { return };
    let dir = net.dir.path().to_owned();
    let plan = |outcomes: &[Outcome], first| Plan {
        calls: outcomes.len() as u32,
        outcomes: outcomes.to_vec(),
        duration: 4.0,
        rate: 2.0,
        first,
        ..Plan::default()
    };
    // On a busy machine packets come late, and then no answered call is sure to be a good one.
    let good = capture(&dir, "good", &plan(&[Outcome::Cancelled, Outcome::Redirected], 0));
    let lossy = capture(&dir, "lossy", &Plan { loss: 30.0, ..plan(&[Outcome::Answered], 1_000_000) });
    let busy = capture(&dir, "busy", &plan(&[Outcome::Busy, Outcome::Busy], 2_000_000));
    let agent = Agent::start(&net, &format!("keep_files = 2\ndirectory = {:?}\n", dir.join("evidence")));
    let play = |file: &Captured| {
        let mut replay = net.inside("tcpreplay");
        replay.args(["-q", "-i", "st0"]).arg(&file.path).stdout(Stdio::null()).spawn().unwrap()
    };
    let mut playing = [&busy, &good, &lossy].map(play);
    assert!(playing.iter_mut().all(|replay| replay.wait().unwrap().success()));
    assert!(until(|| agent.metric("sidetone_evidence_written_files_total") > 2.5), "{}", agent.metrics());
    // Then the good one, which was over before, would have one too.
    let metrics = agent.metrics();
    assert!((samples(&metrics, "sidetone_evidence_written_files_total") - 3.0).abs() < 0.5, "{metrics}");
    assert!((samples(&metrics, "sidetone_evidence_purged_files_total") - 1.0).abs() < 0.5, "{metrics}");
    assert!((samples(&metrics, "sidetone_evidence_kept_files") - 2.0).abs() < 0.5, "{metrics}");
    for nothing in [
        "sidetone_evidence_missed_records_total",
        "sidetone_evidence_incomplete_files_total",
        "sidetone_evidence_dropped_calls_total",
        "sidetone_evidence_errors_total",
    ] {
        assert!(samples(&metrics, nothing) < 0.5, "{nothing}: {metrics}");
    }

    // Who may have it, and which there are.
    let call_id = lossy.call_ids[0].as_str();
    let (status, kind, body) = agent.download(call_id, &["-u", "alice:secret", "-H", "X-Request-ID: evid-1"]);
    let file = dir.join("call.pcapng");
    fs::rename(body, &file).unwrap();
    assert_eq!((status.as_str(), kind.as_str()), ("200", "application/x-pcapng"));
    assert_eq!(net.fetch(&agent.url(call_id)).0, 401);
    assert_eq!(agent.download(call_id, &["-u", "alice:wrong"]).0, "401");
    let asked = ["-u", "alice:secret"];
    assert_eq!(agent.download(&busy.call_ids[1], &asked).0, "200");
    for id in
        [good.call_ids[0].as_str(), &busy.call_ids[0], "..%2F..%2Fetc%2Fpasswd", "..", "%00", "sidetone.toml"]
    {
        let (status, kind, body) = agent.download(id, &asked);
        assert_eq!((status.as_str(), kind.as_str()), ("404", "application/json"), "{id}");
        let said: Value = serde_json::from_slice(&fs::read(body).unwrap()).unwrap();
        assert!(said["error"].as_str().unwrap().starts_with("no evidence of this call is kept"), "{said}");
    }

    // What tshark and analyze see in it.
    let shown = tshark(&file);
    let count = |what: &dyn Fn(&[&str]) -> bool| {
        shown.lines().filter(|line| what(&line.split('\t').collect::<Vec<_>>())).count()
    };
    for method in ["INVITE", "ACK", "BYE"] {
        assert_eq!(count(&|fields| fields[0] == method), 1, "{method}: {shown}");
    }
    assert!(
        count(&|fields| fields[1] == "200") == 2 && count(&|fields| !fields[2].is_empty()) >= 2,
        "{shown}"
    );
    let (of_file, of_wire) = (analyze(&file), analyze(&lossy.path));
    let packets = |report: &Value| -> u64 {
        report["streams"].as_array().unwrap().iter().map(|stream| stream["packets"].as_u64().unwrap()).sum()
    };
    let rtp = count(&|fields| !fields[3].is_empty());
    assert!(rtp > 150, "{shown}");
    assert_eq!((rtp as u64, rtp as u64), (packets(&of_file), packets(&of_wire)));
    assert_eq!(
        count(&|fields| !fields[3].is_empty() && fields[4] != "40"),
        0,
        "headers and nothing else: {shown}"
    );
    let (call, wire) = (&of_file["calls"][0], &of_wire["calls"][0]);
    for field in ["call_id", "result", "status", "end_reason", "one_way", "codec", "hops"] {
        assert_eq!(call[field], wire[field], "{field}: {call}");
    }
    assert!(call["mos"].as_f64().unwrap() < 3.6, "{call}");
    for field in ["lost", "expected", "ssrc"] {
        assert_eq!(of_file["streams"][0][field], of_wire["streams"][0][field], "{field}");
    }

    agent.stop();
    let audit = lines(&dir.join("logs/audit.log"));
    let read = |status: u64| {
        let is_it = |line: &&Value| {
            line["metadata"]["path"] == "/api/calls/{id}/pcap" && line["metadata"]["status"] == status
        };
        audit.iter().filter(is_it).collect::<Vec<_>>()
    };
    assert_eq!((read(200).len(), read(401).len(), read(404).len()), (2, 2, 6));
    let line = read(200)[0];
    assert_eq!((&line["message"], &line["request_id"]), (&"call data read".into(), &"evid-1".into()));
    assert_eq!((&line["metadata"]["user"], &line["call_id"]), (&"alice".into(), &call_id.into()));
    let purged: Vec<_> = audit.iter().filter(|line| line["message"] == "evidence purged").collect();
    assert_eq!((purged.len(), &purged[0]["metadata"]["reason"]), (1, &"count".into()));
    let application = lines(&dir.join("logs/application.log"));
    let written: Vec<_> = application.iter().filter(|line| line["message"] == "evidence written").collect();
    assert_eq!(written.len(), 3);
    let last = &written[2];
    assert_eq!((&last["call_id"], &last["metadata"]["complete"]), (&call_id.into(), &true.into()));
    assert_eq!(last["metadata"]["rtp"], rtp as u64);
}

#[test]
fn a_disk_that_takes_nothing_stops_nothing() {
    let Some(net) = Net::up("evfull", &["tshark", "mount"]) else { return };
    let dir = net.dir.path().to_owned();
    let plan = |first| Plan { calls: 1, outcomes: vec![Outcome::Busy], first, ..Plan::default() };
    let [one, two, three] =
        [0, 1_000_000, 2_000_000].map(|first| capture(&dir, &format!("busy{first}"), &plan(first)));

    let disk = Disk::mount(&dir.join("disk"));
    let agent = Agent::start(&net, &format!("directory = {:?}\n", disk.0));
    let play = |file: &Captured| net.run("tcpreplay", &format!("-q -i st0 {}", file.path.display()));
    play(&one);
    assert!(
        until(|| agent.metric("sidetone_evidence_errors_total{action=\"write\"}") > 0.5),
        "{}",
        agent.metrics()
    );
    let evidence = agent.part("evidence");
    assert_eq!(evidence["status"], "degraded", "{evidence}");
    assert!(evidence["detail"]["problem"].as_str().unwrap().contains("No space left"), "{evidence}");
    fs::remove_file(disk.0.join("ballast")).unwrap();
    play(&two);
    assert!(until(|| agent.metric("sidetone_evidence_written_files_total") > 0.5), "{}", agent.metrics());
    assert_eq!(agent.part("evidence")["status"], "up");
    assert!((agent.metric("voip_sip_attempts_total") - 2.0).abs() < 0.5);
    agent.stop();
    drop(disk);

    // Where there can be no directory at all.
    let agent = Agent::start(&net, &format!("directory = {:?}\n", one.path.join("x")));
    play(&three);
    assert!(until(|| agent.metric("voip_sip_attempt_results_total") > 0.5));
    let evidence = agent.part("evidence");
    assert!(evidence["detail"]["problem"].as_str().unwrap().contains("cannot be kept"), "{evidence}");
    let (status, _, body) = agent.download(&three.call_ids[0], &["-u", "alice:secret"]);
    assert_eq!(status, "404");
    assert!(fs::read_to_string(body).unwrap().contains("cannot be kept"));
    agent.stop();
}

/// A file system with no room in it.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at));
        let disk = Self(at.to_owned());
        // Until it takes no more.
        let _ = fs::write(at.join("ballast"), vec![0; 1 << 20]);
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

struct Captured {
    path: PathBuf,
    /// In the order in which the calls began.
    call_ids: Vec<String>,
}

fn capture(dir: &Path, name: &str, plan: &Plan) -> Captured {
    let path = dir.join(format!("{name}.pcap"));
    simulate::write_files(plan, &path).unwrap();
    let mut calls = analyze(&path)["calls"].as_array().unwrap().clone();
    calls.sort_by_key(|call| call["start"].to_string());
    let call_ids = calls.iter().map(|call| call["call_id"].as_str().unwrap().to_owned()).collect();
    Captured { path, call_ids }
}

fn analyze(file: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_sidetone"))
        .args(["analyze", "--format", "json"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Method, status, media of SDP, number of RTP and bytes shown, of each packet.
fn tshark(file: &Path) -> String {
    let fields = ["sip.Method", "sip.Status-Code", "sdp.media.media", "rtp.seq", "frame.cap_len"];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn lines(file: &Path) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One that wants a password and keeps evidence.
struct Agent<'a> {
    net: &'a Net,
    process: Child,
}

impl<'a> Agent<'a> {
    fn start(net: &'a Net, evidence: &str) -> Self {
        let dir = net.dir.path();
        let (config, web, logs) = (dir.join("sidetone.toml"), dir.join("web.yml"), dir.join("logs"));
        fs::write(&web, format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("secret", 4).unwrap()))
            .unwrap();
        fs::create_dir_all(&logs).unwrap();
        let text = format!(
            "[capture]\ninterfaces = \"st1\"\n[http]\nweb_config = \"{}\"\n[logs]\ndirectory = \"{}\"\n\
             [evidence]\nenabled = true\n{evidence}",
            web.display(),
            logs.display()
        );
        fs::write(&config, text).unwrap();
        let process = net
            .inside(env!("CARGO_BIN_EXE_sidetone"))
            .args(["run", "--config"])
            .arg(&config)
            .spawn()
            .unwrap();
        let agent = Self { net, process };
        assert!(until(|| !agent.get("ready").is_empty()), "the agent is ready");
        agent
    }

    fn get(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:9767/{path}");
        let output =
            self.net.inside("curl").args(["-sf", "-m", "10", "-u", "alice:secret", &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn metrics(&self) -> String {
        self.get("metrics")
    }

    /// Sum of the samples that begin like this.
    fn metric(&self, name: &str) -> f64 {
        let body = self.metrics();
        if name.contains('{') {
            let lines = body.lines().filter_map(|line| line.strip_prefix(name));
            lines.filter_map(|rest| rest.trim().parse::<f64>().ok()).sum()
        } else {
            samples(&body, name)
        }
    }

    fn part(&self, name: &str) -> Value {
        let health: Value = serde_json::from_str(&self.get("health?detailed=true")).unwrap();
        health["parts"].as_array().unwrap().iter().find(|part| part["name"] == name).unwrap().clone()
    }

    /// Status, content type, and where the body is.
    fn download(&self, id: &str, options: &[&str]) -> (String, String, PathBuf) {
        let file = self.net.dir.path().join("download.pcapng");
        let output = self
            .net
            .inside("curl")
            .args(["-s", "--path-as-is", "-m", "10", "-w", "%{http_code} %{content_type}", "-o"])
            .arg(&file)
            .args(options)
            .arg(self.url(id))
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let (status, kind) = told.split_once(' ').unwrap();
        (status.to_owned(), kind.to_owned(), file)
    }

    #[allow(clippy::unused_self, reason = "it is where this agent serves it")]
    fn url(&self, id: &str) -> String {
        format!("http://127.0.0.1:9767/api/calls/{id}/pcap")
    }

    fn stop(mut self) {
        succeed(Command::new("kill").args(["-TERM", &self.process.id().to_string()]));
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

fn until(done: impl FnMut() -> bool) -> bool {
    patience::within(30, done)
}
