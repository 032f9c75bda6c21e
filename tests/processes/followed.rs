//! Groups of workers through the agent: what they have, what they did, what is left when they go.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::agent::{Agent, until};
use crate::needs::has;
use crate::worker::{Sums, Worker, fresh_name, sums};

/// One sample of a family, of one group.
pub(crate) fn sample(body: &str, family: &str, group: &str, label: &str) -> Option<f64> {
    body.lines().find_map(|line| {
        let rest = line.strip_prefix(family)?.strip_prefix('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        (labels.contains(&format!("=\"{group}\"")) && labels.contains(label)).then(|| value.parse().unwrap())
    })
}

fn metrics(agent: &Agent) -> String {
    let (code, body) = agent.get("/metrics");
    assert_eq!(code, 200, "{body}");
    body
}

/// A scrape after a poll that began after this call.
fn fresh(agent: &Agent) -> String {
    let polls = |body: &str| {
        let line = body.lines().find_map(|line| line.strip_prefix("sidetone_polls_total{} "));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    let before = polls(&metrics(agent));
    let mut body = String::new();
    assert!(until(|| {
        body = metrics(agent);
        polls(&body) > before + 1
    }));
    body
}

fn configure(file: &Path, rules: &str) {
    fs::write(file, format!("[poll]\ninterval_seconds = 1\nwell_known = false\n{rules}")).unwrap();
}

fn near(what: &str, found: Option<f64>, expected: f64, tolerance: f64) {
    let found = found.unwrap_or_else(|| panic!("{what} is absent"));
    assert!((found - expected).abs() <= tolerance, "{what}: {found} and not {expected}");
}

fn compare(body: &str, group: &str, expected: &Sums) {
    let of = |family: &str, label: &str| sample(body, family, group, label);
    // The kernel counts what is resident in batches.
    near("resident", of("voip_process_resident_memory_bytes", ""), expected.resident, BATCHES);
    near("threads", of("voip_process_threads", ""), expected.threads, 0.0);
    near("fds", of("voip_process_open_fds", ""), expected.fds, 0.0);
    let cpu =
        ["mode=\"user\"", "mode=\"system\""].map(|mode| of("voip_process_cpu_seconds_total", mode).unwrap());
    near("cpu", Some(cpu.iter().sum()), expected.cpu_seconds, 0.05);
    near("pages", of("voip_process_allocations_total", "source=\"page\""), expected.minor_faults, 50.0);
}

/// 64 pages a processor and worker; here are few of both.
const BATCHES: f64 = (4 * 64 * 4096 * 3) as f64;

#[test]
fn what_it_says_is_what_proc_and_ps_and_another_exporter_say() {
    let directory = tempfile::tempdir().unwrap();
    let (name, file) = (fresh_name(), directory.path().join("sidetone.toml"));
    configure(&file, &format!("[[processes]]\nname = \"{name}\"\nmemory_budget = 123456789\n"));
    let Some(agent) = Agent::without_rights_over_others(&file) else { return };
    let mut workers: Vec<_> = (0..3).map(|_| Worker::start(&name, directory.path())).collect();
    let other = Exporter::start(&name);
    for (number, worker) in workers.iter_mut().enumerate() {
        worker.tell(&format!("grow {}", (number + 1) * 8_000_000));
        worker.tell(&format!("open {}", 10 * number));
    }
    let before = other.as_ref().map(Exporter::get);
    let burnt = sums(&workers).cpu_seconds;
    workers[0].tell("burn 40");

    let body = fresh(&agent);
    let expected = sums(&workers);
    compare(&body, &name, &expected);
    assert_eq!(sample(&body, "voip_processes", &name, ""), Some(3.0));
    assert_eq!(sample(&body, "voip_process_memory_budget_bytes", &name, ""), Some(123_456_789.0));
    assert_eq!(sample(&body, "voip_process_exits_total", &name, ""), Some(0.0));
    let limit = sample(&body, "voip_process_fd_limit", &name, "").unwrap();
    let most = fs::read_dir(format!("/proc/{}/fd", workers[2].id())).unwrap().count() as f64;
    near("ratio", sample(&body, "voip_process_fd_used_ratio", &name, ""), most / limit, 1e-9);
    near("resident of at least", Some(expected.resident.min(48e6)), 48e6, 0.0);

    let ids = workers.iter().map(|worker| worker.id().to_string()).collect::<Vec<_>>().join(",");
    let output = Command::new("ps").args(["-o", "rss=,nlwp=", "-p", &ids]).output();
    if let Ok(output) = output {
        let text = String::from_utf8(output.stdout).unwrap();
        let column = |at: usize| {
            let numbers =
                text.lines().map(|line| line.split_whitespace().nth(at).unwrap().parse::<f64>().unwrap());
            numbers.sum::<f64>()
        };
        near(
            "resident by ps",
            sample(&body, "voip_process_resident_memory_bytes", &name, ""),
            column(0) * 1024.0,
            BATCHES,
        );
        near("threads by ps", sample(&body, "voip_process_threads", &name, ""), column(1), 0.0);
    }

    if let Some((other, before)) = other.zip(before) {
        let theirs = other.get();
        let of = |body: &str, family: &str, label: &str| {
            sample(body, &format!("namedprocess_namegroup_{family}"), &name, label)
        };
        let ours = |family: &str| sample(&body, family, &name, "").unwrap();
        near("processes by the other", of(&theirs, "num_procs", ""), 3.0, 0.0);
        let resident = ours("voip_process_resident_memory_bytes");
        near("resident by the other", of(&theirs, "memory_bytes", "memtype=\"resident\""), resident, BATCHES);
        near("threads by the other", of(&theirs, "num_threads", ""), ours("voip_process_threads"), 0.0);
        near("fds by the other", of(&theirs, "open_filedesc", ""), ours("voip_process_open_fds"), 0.0);
        // It counts from when it first saw them.
        let cpu = |body: &str| {
            let modes = ["mode=\"user\"", "mode=\"system\""];
            modes.map(|mode| of(body, "cpu_seconds_total", mode).unwrap()).iter().sum::<f64>()
        };
        near("cpu by the other", Some(cpu(&theirs) - cpu(&before)), expected.cpu_seconds - burnt, 0.1);
    }
}

#[test]
fn workers_come_and_go_and_no_counter_falls() {
    let directory = tempfile::tempdir().unwrap();
    let (name, file) = (fresh_name(), directory.path().join("sidetone.toml"));
    configure(&file, &format!("[[processes]]\nname = \"group\"\ncommand = \"{name}\"\n"));
    let Some(agent) = Agent::without_rights_over_others(&file) else { return };
    let of = |body: &str, family: &str, label: &str| sample(body, family, "group", label);
    let body = fresh(&agent);
    assert_eq!(of(&body, "voip_processes", ""), Some(0.0), "it was asked for");
    assert_eq!(of(&body, "voip_process_threads", ""), None);

    let mut workers: Vec<_> = (0..2).map(|_| Worker::start(&name, directory.path())).collect();
    workers[0].tell("burn 20");
    let body = fresh(&agent);
    let (user, pages) = ("mode=\"user\"", "source=\"page\"");
    let counters = |body: &str| {
        [
            of(body, "voip_process_cpu_seconds_total", user).unwrap(),
            of(body, "voip_process_allocations_total", pages).unwrap(),
        ]
    };
    let first = counters(&body);
    assert!(first[0] > 0.05 && first[1] > 100.0, "{first:?}");

    workers.remove(0).end();
    let body = fresh(&agent);
    assert_eq!(of(&body, "voip_processes", ""), Some(1.0));
    assert_eq!(of(&body, "voip_process_exits_total", ""), Some(1.0));
    let second = counters(&body);
    assert!(second[0] >= first[0] && second[1] >= first[1], "{second:?} after {first:?}");

    workers.clear();
    let body = fresh(&agent);
    assert_eq!(of(&body, "voip_processes", ""), Some(0.0));
    for family in
        ["voip_process_resident_memory_bytes", "voip_process_threads", "voip_process_start_time_seconds"]
    {
        assert_eq!(of(&body, family, ""), None, "{family} has ended");
    }
    let third = counters(&body);
    assert!(third[0] >= second[0] && third[1] >= second[1]);

    let mut again = Worker::start(&name, directory.path());
    again.tell("grow 4000000");
    let body = fresh(&agent);
    assert_eq!(
        (of(&body, "voip_processes", ""), of(&body, "voip_process_exits_total", "")),
        (Some(1.0), Some(2.0))
    );
    assert!(counters(&body)[1] > third[1]);
}

#[test]
fn a_reload_takes_other_processes_and_health_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidetone.toml");
    configure(&file, "");
    let Some(agent) = Agent::without_rights_over_others(&file) else { return };
    let mut workers: Vec<_> = (0..2).map(|_| Worker::start(&fresh_name(), directory.path())).collect();
    workers[0].tell("grow 1000");
    let pid_file = directory.path().join("worker.pid");
    fs::write(&pid_file, format!("{}\n", workers[0].id())).unwrap();
    let rule =
        format!("[[processes]]\nname = \"by-file\"\npid_file = {pid_file:?}\nallocations = \"malloc\"\n");
    configure(&file, &rule);
    agent.signal("-HUP");
    let counted = || sample(&metrics(&agent), "voip_processes", "by-file", "");
    assert!(until(|| counted() == Some(1.0)), "{}", agent.said());
    fs::write(&pid_file, format!("{}\n", workers[1].id())).unwrap();
    let body = fresh(&agent);
    assert_eq!(sample(&body, "voip_process_exits_total", "by-file", ""), Some(1.0), "it is another one");

    let part = agent.part("processes");
    assert_eq!(part["detail"]["groups"]["by-file"], 1, "{part}");
    let missing = part["detail"]["missing"].as_array().unwrap();
    let of = |figure: &str| missing.iter().find(|lack| lack["figure"] == figure);
    // The agent has given up its rights, and nobody else was given them.
    for (figure, right) in [("proportional_memory", "CAP_SYS_PTRACE"), ("allocations", "CAP_PERFMON")] {
        let lack = of(figure).unwrap_or_else(|| panic!("{figure} in {part}"));
        assert!(
            lack["reason"].as_str().unwrap().contains(right)
                && lack["hint"].as_str().unwrap().contains(right)
        );
    }
    assert_eq!(part["status"], "degraded", "the counter was asked for by name");
    fs::remove_file(&pid_file).unwrap();
    assert!(until(|| counted() == Some(0.0)));
    assert!(until(|| agent.part("processes")["detail"]["missing"].to_string().contains("worker.pid")));
}

/// prometheus-process-exporter, on processes of one name.
struct Exporter {
    child: Child,
    address: String,
}

impl Exporter {
    fn start(name: &str) -> Option<Self> {
        if !has("prometheus-process-exporter") {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new("prometheus-process-exporter")
            .args(["-procnames", name, "-web.listen-address", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let exporter = Self { child, address };
        assert!(
            until(|| exporter.get().contains("namedprocess_namegroup_num_procs")),
            "the other exporter answers"
        );
        Some(exporter)
    }

    fn get(&self) -> String {
        let url = format!("http://{}/metrics", self.address);
        let output = Command::new("curl").args(["-s", "-m", "10", &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
