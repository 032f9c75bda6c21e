//! Datagrams that were lost in the buffer of a socket that nobody reads.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;

use sidetone::process::privileged::MemoryMap;
use sidetone::process::{Missing, Own, Poller, Privileged, Process, Right, Rule, Settings};

use crate::needs::root_with;
use crate::worker::{Worker, fresh_name, moment};

/// One who may not look into anybody.
#[derive(Debug)]
struct Nobody;

impl Privileged for Nobody {
    fn memory_map(&mut self, _: Process) -> Result<MemoryMap, Missing> {
        Err(Missing::Right(Right::Ptrace))
    }

    fn executable(&mut self, _: Process) -> Result<PathBuf, Missing> {
        Err(Missing::Right(Right::Ptrace))
    }

    fn open_fds(&mut self, _: Process) -> Result<u64, Missing> {
        Err(Missing::Right(Right::Ptrace))
    }

    fn sockets(&mut self, _: Process, _: &mut Vec<u64>) -> Result<(), Missing> {
        Err(Missing::Right(Right::Ptrace))
    }
}

fn settings(name: &str) -> Settings {
    let rules = vec![Rule::named(name)];
    Settings { rules, well_known: false, host: false, interval_seconds: 1, ..Settings::default() }
}

/// Sends more than any buffer takes; returns how many.
fn flood(port: &str) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sent = (0..5000).filter(|_| socket.send_to(&[7; 1000], format!("127.0.0.1:{port}")).is_ok()).count();
    moment();
    sent as u64
}

/// Its drops by the kernel's own table, found by the port.
fn drops(port: &str) -> u64 {
    let port = format!(":{:04X}", port.parse::<u16>().unwrap());
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let line =
        table.lines().find(|line| line.split_whitespace().nth(1).is_some_and(|at| at.ends_with(&port)));
    line.unwrap().split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn drops_are_those_of_the_flooded_socket_and_stay_when_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let (name, idle) = (fresh_name(), fresh_name());
    let (mut worker, mut other) =
        (Worker::start(&name, directory.path()), Worker::start(&idle, directory.path()));
    let mut poller = Poller::new(settings(&name), Box::<Own>::default());
    let mut now = 0.0;
    let mut udp = || {
        // However long the last look took.
        now += 1000.0;
        poller.poll(now).groups[0].udp.unwrap()
    };
    assert_eq!(udp().sockets, 0);
    let port = worker.tell("listen");
    flood(&other.tell("listen"));
    assert_eq!((udp().sockets, udp().drops), (1, 0), "what another process lost is not its");
    let sent = flood(&port);
    let lost = drops(&port);
    assert!(lost > 0 && lost < sent, "{lost} of {sent}");
    let seen = udp();
    assert_eq!(seen.drops, lost);
    assert!(seen.queued_bytes > (sent - lost) * 1000, "{seen:?}");
    worker.tell("deafen");
    assert_eq!((udp().sockets, udp().drops), (0, lost));
    let port = worker.tell("listen");
    flood(&port);
    assert_eq!(udp().drops, lost + drops(&port));
}

#[test]
fn without_the_right_a_user_of_its_own_tells_whose_they_are() {
    if !root_with(&["setpriv"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let name = fresh_name();
    let program = directory.path().join(&name);
    // Where anybody may run it.
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    assert!(Command::new("chmod").arg("-R").arg("a+rx").arg(directory.path()).status().unwrap().success());
    let mut command = Command::new("setpriv");
    let user = (100_000 + std::process::id()).to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&program);
    let mut worker = Worker::of(command);
    let mut poller = Poller::new(settings(&name), Box::new(Nobody));
    let mut now = 0.0;
    let mut udp = |poller: &mut Poller| {
        // However long the last look took.
        now += 1000.0;
        poller.poll(now).groups[0].udp
    };
    assert_eq!(udp(&mut poller), None, "it may have opened some as root");
    let port = worker.tell("listen");
    flood(&port);
    let seen = udp(&mut poller).unwrap();
    assert_eq!((seen.sockets, seen.drops), (1, drops(&port)));

    // One of root, who has others too.
    let plain = fresh_name();
    let mut root = Worker::start(&plain, directory.path());
    root.tell("listen");
    let mut poller = Poller::new(settings(&plain), Box::new(Nobody));
    let snapshot = poller.poll(0.0);
    assert_eq!(snapshot.groups[0].udp, None);
    assert!(snapshot.lacks.keys().any(|lack| lack.figure == "udp_drops" && lack.takes(Right::Ptrace)));
}
