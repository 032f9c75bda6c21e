//! The second process: what it keeps, what it answers while the agent has no right left, and that nothing but its own
//! figures is missing when it ends. And the pools of a real Kamailio, against what Kamailio says of them. Needs root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sidetone::process::memory::Remote;
use sidetone::process::pools::Roots;

use needs::root_with;
use patience::within;
use target::{Target, build};

#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "heap/target.rs"]
mod target;

fn pools(
    memory: &Remote,
) -> Result<Vec<sidetone::process::privileged::Pool>, sidetone::process::memory::Fault> {
    Roots::find(memory)?.pools(memory)
}

/// A running agent, and a directory of its own.
struct Agent {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Agent {
    fn start(name: &str, processes: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("sidetone-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = directory.join("sidetone.toml");
        let text = format!(
            "[capture]\ninterfaces = [\"lo\"]\n[http]\nlisten = [\"{address}\"]\n[poll]\ninterval_seconds = 1\n\
             well_known = false\n{processes}"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
        let child = command.args(["run", "--config"]).arg(&config).stderr(Stdio::null()).spawn().unwrap();
        let agent = Self { child, address, directory };
        assert!(within(60, || agent.get("/live").is_some()), "it does not start");
        agent
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// The value of the first sample whose name and labels begin so.
    fn sample(&self, series: &str) -> Option<f64> {
        let page = self.get("/metrics")?;
        let line = page.lines().find(|line| line.starts_with(series))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    fn health(&self, part: &str) -> Value {
        let page: Value = serde_json::from_str(&self.get("/health?detailed=true").unwrap()).unwrap();
        let parts = page["parts"].as_array().unwrap();
        parts.iter().find(|one| one["name"] == part).cloned().unwrap_or_default()
    }

    /// The only child that it has.
    fn second(&self) -> u32 {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.child.id())).unwrap();
        children.trim().parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
}

#[test]
fn it_keeps_two_rights_and_its_end_is_told() {
    if !root_with(&["cc", "kill"]) {
        return;
    }
    let program = build("cc", "target.c", "heap-target", &[]).unwrap();
    let mut target = Target::start(&mut Command::new(program));
    target.ask("arenas 3");
    target.ask("grow");
    let truth = target.ask("holes");
    assert_eq!(pools(&Remote::open(target.pid()).unwrap()).unwrap(), [], "it is no Kamailio");
    let agent = Agent::start(
        "second",
        "[[processes]]\nname = \"target\"\ncommand = [\"heap-target\"]\nallocations = \"malloc\"\nheap_interval_seconds = 1\n",
    );
    let second = agent.second();
    // CAP_SYS_PTRACE is 19, CAP_PERFMON 38.
    let rights = u64::from_str_radix(&status(second, "CapEff:"), 16).unwrap();
    assert_eq!(rights & !((1 << 19) | (1 << 38)), 0, "{rights:x}");
    assert_eq!(u64::from_str_radix(&status(second, "CapPrm:"), 16).unwrap(), rights);
    assert_eq!((status(second, "NoNewPrivs:"), status(second, "Seccomp:")), ("1".into(), "2".into()));
    assert_eq!(status(second, "Threads:"), "1");
    assert_eq!(u64::from_str_radix(&status(agent.child.id(), "CapPrm:"), 16).unwrap(), 0);
    // Standard input and the socket, both the same; nothing of the agent's.
    let sockets = fs::read_dir(format!("/proc/{second}/fd")).unwrap().filter_map(|entry| {
        let link = fs::read_link(entry.ok()?.path()).ok()?;
        link.to_str()?.starts_with("socket:").then_some(link)
    });
    let sockets: std::collections::BTreeSet<_> = sockets.collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");

    let free =
        |state| agent.sample(&format!("voip_process_heap_bytes{{process=\"target\",state=\"{state}\"}}"));
    assert!(within(60, || free("free").is_some()), "{:?}", agent.get("/metrics"));
    let seen = free("free").unwrap() + free("top").unwrap();
    assert!((seen - truth["fordblks"].as_f64().unwrap()).abs() <= 0.01 * seen, "{seen} {truth}");
    assert_eq!(agent.health("second_process")["status"], "up");

    let killed = Command::new("kill").args(["-9", &second.to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(
        within(60, || agent.health("second_process")["status"] == "degraded"),
        "{}",
        agent.health("second_process")
    );
    assert!(agent.health("second_process")["detail"]["reason"].as_str().unwrap().contains("has ended"));
    assert!(agent.sample("voip_process_resident_memory_bytes{process=\"target\"").is_some());
    assert_eq!(agent.health("capture")["status"], "up");
}

#[test]
fn it_ends_with_the_agent_and_is_started_by_nobody_else() {
    if !root_with(&[]) {
        return;
    }
    let mut agent = Agent::start("ends", "");
    let second = agent.second();
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    // Who is to wait for it may not do so.
    let has_ended = || {
        let stat = fs::read_to_string(format!("/proc/{second}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    assert!(within(20, has_ended));
    let mut alone = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    let output = alone.arg("second-process").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{output:?}");
}

/// Kamailio, run for this alone.
struct Kamailio {
    child: Child,
    directory: PathBuf,
}

impl Kamailio {
    fn start(allocator: &str) -> Option<Self> {
        if !root_with(&["kamailio", "kamcmd"]) {
            return None;
        }
        let directory =
            std::env::temp_dir().join(format!("sidetone-pools-{allocator}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let modules =
            ["jsonrpcs", "kex", "ctl", "tm", "sl"].map(|name| format!("loadmodule \"{name}.so\"\n")).concat();
        let socket = directory.join("ctl").display().to_string();
        let config = format!(
            "debug=0\nlog_stderror=yes\nfork=yes\nchildren=3\nlisten=udp:127.0.0.1:{port}\ndisable_tcp=yes\n{modules}\
             modparam(\"ctl\", \"binrpc\", \"unix:{socket}\")\nmodparam(\"jsonrpcs\", \"transport\", 0)\n\
             request_route {{ sl_send_reply(\"200\", \"OK\"); }}\n"
        );
        fs::write(directory.join("kamailio.cfg"), config).unwrap();
        let mut command = Command::new("kamailio");
        command
            .arg("-f")
            .arg(directory.join("kamailio.cfg"))
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-x", allocator]);
        command.arg("-Y").arg(&directory).stderr(Stdio::null()).stdout(Stdio::null());
        let started = Self { child: command.spawn().unwrap(), directory };
        assert!(within(30, || !started.ask("core.shmmem").is_empty()), "kamailio does not start");
        Some(started)
    }

    fn ask(&self, what: &str) -> String {
        let socket = self.directory.join("ctl");
        let output = Command::new("kamcmd").arg("-s").arg(socket).arg(what).output().unwrap();
        if output.status.success() { String::from_utf8(output.stdout).unwrap() } else { String::new() }
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// `key: value` of each entry in braces.
fn entries(text: &str) -> Vec<std::collections::BTreeMap<String, u64>> {
    let entries = text.split('}').filter(|entry| entry.contains('{'));
    let pair = |line: &str| {
        let (key, value) = line.trim().split_once(": ")?;
        Some((key.to_owned(), value.parse().ok()?))
    };
    entries.map(|entry| entry.lines().filter_map(pair).collect()).collect()
}

fn assert_near(what: &str, ours: u64, theirs: u64) {
    let _ = writeln!(std::io::stderr(), "{what}: {ours} read, {theirs} told");
    assert!(ours.abs_diff(theirs) * 100 <= theirs, "{what}: {ours} {theirs}");
}

#[test]
fn the_pools_of_kamailio_are_those_that_kamailio_tells() {
    for allocator in ["qm", "fm"] {
        let Some(kamailio) = Kamailio::start(allocator) else { return };
        let told = kamailio.ask("core.shmmem");
        let told = &entries(&told)[0];
        let workers = kamailio.ask("pkg.stats");
        let workers = entries(&workers);
        assert!(workers.len() >= 4, "{workers:?}");
        for worker in &workers {
            let pid = u32::try_from(worker["pid"]).unwrap();
            let found = pools(&Remote::open(pid).unwrap()).unwrap();
            let of = |source| found.iter().find(|pool| pool.source == source).unwrap();
            let (shm, pkg) = (of("kamailio_shm"), of("kamailio_pkg"));
            assert_near("shm size", shm.size, told["total"]);
            assert_near("shm real_used", shm.real_used, told["real_used"]);
            assert_near("shm used", shm.used, told["used"]);
            assert_near("pkg size", pkg.size, worker["total_size"]);
            assert_near("pkg real_used", pkg.real_used, worker["real_used"]);
            assert_near("pkg used", pkg.used, worker["used"]);
        }
    }
}
