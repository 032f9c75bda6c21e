//! Memory of Kamailio and RTPengine while calls come and go: what the agent reads out of Kamailio is what Kamailio tells of
//! itself; and what it costs Kamailio that its calls of malloc are counted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::{Child, Command};

use crate::needs::has;
use crate::patience::within;
use crate::stage::Lab;
use crate::tracefs::Tracefs;

/// An agent that looks every second.
struct Agent<'a> {
    lab: &'a Lab,
    process: Child,
}

impl<'a> Agent<'a> {
    fn start(lab: &'a Lab, allocations: &str) -> Self {
        let file = lab.file(&format!("memory-{allocations}.toml"));
        let groups = ["kamailio", "rtpengine"].map(|name| {
            format!("[[processes]]\nname = \"{name}\"\ncommand = [\"{name}\"]\nallocations = \"{allocations}\"\nheap_interval_seconds = 1\n")
        });
        let text = format!(
            "[capture]\ninterfaces = [\"eth0\"]\nring_bytes = 16777216\n[poll]\ninterval_seconds = 1\n{}",
            groups.concat()
        );
        fs::write(&file, text).unwrap();
        let log = File::create(lab.file("agent-p.log")).unwrap();
        let mut command = lab.inside("p", env!("CARGO_BIN_EXE_sidetone"));
        let process = command.args(["run", "--config"]).arg(file).stderr(log).spawn().unwrap();
        let agent = Self { lab, process };
        assert!(
            within(60, || agent.sample("voip_process_pool_bytes{process=\"kamailio\"").is_some()),
            "no pools"
        );
        agent
    }

    fn page(&self) -> String {
        let mut curl = self.lab.inside("p", "curl");
        let output = curl.args(["-sf", "http://127.0.0.1:9767/metrics"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn sample(&self, series: &str) -> Option<f64> {
        sample(&self.page(), series)
    }

    fn end(mut self) {
        let killed = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert!(self.process.wait().unwrap().success(), "the agent ends with 0");
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sample(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Sum of what Kamailio says by this key of each pool, bytes.
fn told(lab: &Lab, command: &str, key: &str) -> f64 {
    let mut kamcmd = lab.inside("p", "kamcmd");
    let output = kamcmd.arg("-s").arg(lab.file("kamailio_ctl")).arg(command).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let values = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": ")?.parse::<f64>().ok());
    values.sum()
}

/// What the agent reads is new, and within 1 % of what Kamailio told in the seconds before: while calls come and go it told
/// more than one thing.
fn agree(lab: &Lab, agent: &Agent<'_>, when: &str) {
    for (source, command, pairs) in [
        ("kamailio_shm", "core.shmmem", [("size", "total"), ("used", "used"), ("real_used", "real_used")]),
        ("kamailio_pkg", "pkg.stats", [("size", "total_size"), ("used", "used"), ("real_used", "real_used")]),
    ] {
        for (state, key) in pairs {
            let series = format!(
                "voip_process_pool_bytes{{process=\"kamailio\",source=\"{source}\",state=\"{state}\"}}"
            );
            let (mut seen, mut told_since) = (0.0, vec![told(lab, command, key)]);
            let equal = within(30, || {
                seen = agent.sample(&series).unwrap_or_default();
                told_since.push(told(lab, command, key));
                let (least, most) = told_since
                    .iter()
                    .fold((f64::MAX, 0.0_f64), |(least, most), &one| (one.min(least), one.max(most)));
                (0.99 * least..=1.01 * most).contains(&seen)
            });
            let _ = writeln!(io::stderr(), "{when}: {source} {state}: {seen} read, {told_since:?} told");
            assert!(equal && seen > 0.0, "{when}: {series}: {seen}");
        }
    }
}

/// Processor time of all processes of a name, ticks.
fn ticks(name: &str) -> u64 {
    let stats = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    let of = |text: String| -> Option<u64> {
        let (head, rest) = text.rsplit_once(") ")?;
        let words: Vec<&str> = rest.split(' ').collect();
        (head.ends_with(&format!("({name}")))
            .then(|| [11, 12].iter().filter_map(|&at| words.get(at)?.parse::<u64>().ok()).sum())
    };
    stats.filter_map(of).sum()
}

const SHM_USED: &str = "voip_process_pool_bytes{process=\"kamailio\",source=\"kamailio_shm\",state=\"used\"}";

#[test]
fn pools_agree_with_kamailio_over_300_calls() {
    if !has("kamcmd") {
        return;
    }
    let Some(_tracefs) = Tracefs::mount() else { return };
    let Some(lab) = Lab::up() else { return };
    let start = || lab.call("call", 300, "9001", "-key user trunk -d 1000 -r 60 -l 300");
    let spent = |before: (u64, u64)| (ticks("kamailio") - before.0, ticks("rtpengine") - before.1);
    let plain = Agent::start(&lab, "page");
    agree(&lab, &plain, "before");
    let at_rest = plain.sample(SHM_USED).unwrap();
    let resident = |agent: &Agent<'_>, name: &str| {
        agent.sample(&format!("voip_process_resident_memory_bytes{{process=\"{name}\"}}")).unwrap()
    };
    let before = ["kamailio", "rtpengine"].map(|name| resident(&plain, name));
    let (idle, caller) = (spent((0, 0)), start());
    assert!(
        within(30, || plain.sample("voip_calls_active_total").unwrap_or_default() >= 20.0),
        "calls are up"
    );
    // Seconds later there are transactions of hundreds of calls.
    let transactions = || plain.sample(SHM_USED).unwrap_or_default() >= 2.0 * at_rest;
    assert!(within(30, transactions), "the shared pool grows: {at_rest}, {:?}", plain.sample(SHM_USED));
    agree(&lab, &plain, "during");
    caller.succeed();
    let running = spent(idle);
    agree(&lab, &plain, "after");
    for (name, before) in ["kamailio", "rtpengine"].iter().zip(before) {
        let after = resident(&plain, name);
        let _ = writeln!(io::stderr(), "{name}: {before} bytes resident before 300 calls, {after} after");
        assert!(after >= 0.5 * before, "{name}");
    }
    let heap = plain.sample("voip_process_heap_bytes{process=\"rtpengine\"");
    assert!(heap.is_some(), "RTPengine's heap is read");
    plain.end();

    let counting = Agent::start(&lab, "malloc");
    let counted = || {
        ["kamailio", "rtpengine"].map(|name| {
            let series = format!("voip_process_allocations_total{{process=\"{name}\",source=\"malloc\"}}");
            counting.sample(&series).unwrap_or_default()
        })
    };
    let first = counted();
    let idle = spent((0, 0));
    start().succeed();
    let watched = spent(idle);
    assert!(within(20, || counted()[1] > first[1] + 300.0), "RTPengine calls malloc for each call");
    let made = counted();
    let _ = writeln!(
        io::stderr(),
        "300 calls: Kamailio {} ticks, counted {}, for {} calls of malloc; RTPengine {} ticks, counted {}, for {}",
        running.0,
        watched.0,
        made[0] - first[0],
        running.1,
        watched.1,
        made[1] - first[1]
    );
    counting.end();
}
