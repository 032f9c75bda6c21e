//! Where processes are: control groups, pods, behind a /proc that hides them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sidetone::process::{Own, Poller, Rule, Settings};

use crate::agent::{Agent, until};
use crate::needs::root_with;
use crate::skipped::skipped;
use crate::worker::{Worker, fresh_name};

/// A control group of the test's own for memory; removed with the value.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(name: &str) -> Option<Self> {
        let tops = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"];
        for top in tops.map(Path::new) {
            let place = top.join(name);
            if top.join("cgroup.procs").exists() && fs::create_dir(&place).is_ok() {
                return Some(Self(place));
            }
        }
        skipped("no control group can be made here");
        None
    }

    fn number(&self, names: [&str; 2]) -> Option<u64> {
        names.iter().find_map(|name| fs::read_to_string(self.0.join(name)).ok()?.trim().parse().ok())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        until(|| fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn a_control_group_chooses_processes_and_limits_them() {
    if !root_with(&[]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let name = fresh_name();
    let Some(cgroup) = Cgroup::make(&name) else { return };
    let mut worker = Worker::start(&name, directory.path());
    fs::write(cgroup.0.join("cgroup.procs"), worker.id().to_string()).unwrap();
    worker.tell("grow 20000000");
    let limit = 1_u64 << 30;
    let limited = ["memory.max", "memory.limit_in_bytes"].iter().any(|file| {
        let file = cgroup.0.join(file);
        file.exists() && fs::write(file, limit.to_string()).is_ok()
    });
    let rule = Rule { cgroup: vec![format!("/{name}").parse().unwrap()], ..Rule::named("grouped") };
    let settings = Settings { rules: vec![rule], well_known: false, ..Settings::default() };
    let snapshot = Poller::new(settings, Box::<Own>::default()).poll(0.0);
    let group = &snapshot.groups[0];
    assert_eq!(group.processes, 1, "{group:?}");
    let Some(used) = cgroup.number(["memory.current", "memory.usage_in_bytes"]) else {
        return skipped("memory is not counted in control groups here");
    };
    let found = group.cgroup.unwrap();
    let bytes = found.memory_bytes.unwrap();
    assert!(bytes >= 20_000_000 && bytes.abs_diff(used) < 4 << 20, "{bytes} and not {used}");
    assert!(!limited || found.memory_limit_bytes == Some(limit), "{found:?}");
    drop(worker);
}

#[test]
fn in_a_pod_the_processes_of_other_containers_are_found() {
    if !root_with(&["unshare"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidetone.toml");
    let rule = "[[processes]]\nname = \"neighbour\"\ncommand = \"sleep\"\n";
    fs::write(&file, format!("[poll]\ninterval_seconds = 1\n{rule}")).unwrap();
    // Processes are shared; file systems and network are not.
    let mut command = Command::new("unshare");
    let neighbour = "unshare --net --mount --ipc --uts sleep 1000 &";
    let agent = format!("exec {} run --config {}", env!("CARGO_BIN_EXE_sidetone"), file.display());
    command.args([
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        &format!("{neighbour} {agent}"),
    ]);
    let Some(agent) = Agent::of(command) else { return };
    let mut part = serde_json::Value::Null;
    let found = until(|| {
        part = agent.part("processes");
        part["detail"]["groups"]["neighbour"] == 1
    });
    assert!(found, "{part} {}", agent.said());
    assert_eq!(part["detail"]["groups"]["sidetone"], 1);
    assert!(part["detail"].get("hidden").is_none(), "{part}");
    let (_, body) = agent.get("/metrics");
    assert!(body.contains("voip_process_threads{process=\"neighbour\"} 1\n"), "{body}");
}

#[test]
fn a_proc_that_hides_others_is_told_of() {
    if !root_with(&["unshare", "mount", "setpriv"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidetone.toml");
    fs::write(&file, "[[processes]]\nname = \"init\"\n").unwrap();
    // Where anybody may read it: the group root would see all.
    let program = directory.path().join("sidetone");
    fs::copy(env!("CARGO_BIN_EXE_sidetone"), &program).unwrap();
    assert!(Command::new("chmod").arg("-R").arg("a+rx").arg(directory.path()).status().unwrap().success());
    let mut command = Command::new("unshare");
    let mount = "mount -t proc -o hidepid=2 proc /proc || exit 77; exec \"$@\"";
    command
        .args(["--mount", "sh", "-c", mount, "sh", "setpriv"])
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all,+net_raw"])
        .args(["--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw"])
        .arg(&program)
        .args(["run", "--config"])
        .arg(&file);
    let Some(agent) = Agent::of(command) else { return };
    let mut part = serde_json::Value::Null;
    assert!(until(|| {
        part = agent.part("processes");
        part["detail"].get("hidden").is_some()
    }));
    assert_eq!(part["status"], "degraded", "one was asked for: {part}");
    assert!(part["detail"]["hidden"]["hint"].as_str().unwrap().contains("ProtectProc=default"));
    assert_eq!(part["detail"]["groups"]["sidetone"], 1, "it sees itself: {part}");
    assert_eq!(part["detail"]["groups"]["init"], 0);
}
