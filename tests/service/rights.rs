//! What is left of the rights it was started with.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::agent::Agent;
use crate::needs::root_with;
use crate::skipped::skipped;

#[test]
fn no_thread_keeps_a_right() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidetone.toml");
    fs::write(&file, "").unwrap();
    let Some(mut agent) = Agent::start(&file) else { return };
    bare(&agent);
    let part = agent.part("sandbox");
    assert_eq!(part["status"], "up", "{part}");
    assert_eq!(part["detail"]["capabilities"], 0);
    assert!(agent.said().contains("it runs with no capability"), "{}", agent.said());
    assert_eq!(agent.end().code(), Some(0));
}

#[test]
fn any_user_with_the_one_capability_will_do() {
    if !root_with(&["setpriv"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // Where anybody may read it.
    let program = directory.path().join("sidetone");
    fs::copy(env!("CARGO_BIN_EXE_sidetone"), &program).unwrap();
    open(directory.path());
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"])
        .args([
            "--inh-caps",
            "-all,+net_raw",
            "--ambient-caps",
            "-all,+net_raw",
            "--bounding-set",
            "-all,+net_raw",
        ])
        .arg(&program)
        .arg("run");
    let Some(agent) = Agent::of(command) else { return };
    bare(&agent);
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
}

#[test]
fn a_file_capability_that_is_permitted_only_will_do_and_without_it_the_reason_is_told() {
    if !root_with(&["setpriv", "setcap"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("sidetone");
    fs::copy(env!("CARGO_BIN_EXE_sidetone"), &program).unwrap();
    open(directory.path());
    let set = Command::new("setcap").arg("cap_net_raw=p").arg(&program).status().unwrap();
    if !set.success() {
        return skipped(format!("{} takes no file capabilities", directory.path().display()));
    }
    let as_anybody = |bounding: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", bounding]);
        command.arg(&program).arg("run");
        command
    };
    let mut without = as_anybody("-all");
    let told = without.output().unwrap();
    assert_eq!(told.status.code(), Some(77), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("CAP_NET_RAW"), "{told:?}");
    let Some(agent) = Agent::of(as_anybody("-all,+net_raw")) else { return };
    bare(&agent);
}

fn open(directory: &Path) {
    assert!(Command::new("chmod").arg("-R").arg("a+rx").arg(directory).status().unwrap().success());
}

fn bare(agent: &Agent) {
    let threads = agent.threads();
    assert!(threads.iter().any(|(_, name)| name == "capture"), "{threads:?}");
    for (thread, name) in threads {
        let status = fs::read_to_string(format!("/proc/{}/task/{thread}/status", agent.id())).unwrap();
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim_start_matches(':').trim().to_owned()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(of(set), "0000000000000000", "{set} of {name}");
        }
        assert_eq!((of("NoNewPrivs"), of("Seccomp")), ("1".into(), "2".into()), "{name}");
    }
}
