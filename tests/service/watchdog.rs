//! What it tells a service manager (sd_notify), and that its signs of life are those of the capture thread.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::agent::{Agent, until};
use crate::needs::has;
use crate::skipped::skipped;

/// A service manager, as far as the agent can tell.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { socket, directory }
    }

    fn start(&self) -> Option<Agent> {
        let file = self.directory.path().join("sidetone.toml");
        std::fs::write(&file, "").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
        command.args(["run", "--config"]).arg(file);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify")).env("WATCHDOG_USEC", "1200000");
        Agent::of(command)
    }

    /// The next message within so many seconds.
    fn hear(&self, seconds: u64) -> Option<String> {
        let mut message = [0; 4096];
        self.socket.set_read_timeout(Some(Duration::from_secs(seconds))).unwrap();
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    /// The next message with this in it.
    fn expect(&self, part: &str) -> String {
        let found = (0..200).find_map(|_| self.hear(60).filter(|message| message.contains(part)));
        found.unwrap_or_else(|| panic!("{part} was never told"))
    }

    /// Messages that are there already.
    fn forget(&self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 4096]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }
}

#[test]
fn a_service_manager_is_told_of_start_reload_and_end() {
    let manager = Manager::new();
    let Some(mut agent) = manager.start() else { return };
    manager.expect("READY=1");
    manager.expect("WATCHDOG=1");
    agent.signal("-HUP");
    let reloading = manager.expect("RELOADING=1");
    let micros = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    assert!(manager.expect("READY=1").contains("STATUS="));
    assert_eq!(agent.end().code(), Some(0));
    manager.expect("STOPPING=1");
}

/// strace keeps the capture thread, and it alone, inside one system call for as long as it likes.
#[test]
fn signs_of_life_end_when_the_capture_thread_hangs() {
    if !has("strace") {
        return;
    }
    let manager = Manager::new();
    let Some(agent) = manager.start() else { return };
    manager.expect("WATCHDOG=1");
    let threads = agent.threads();
    let (capture, _) = threads.iter().find(|(_, name)| name == "capture").unwrap();
    let mut strace = Command::new("strace")
        .args(["-q", "-o", "/dev/null", "-p", &capture.to_string()])
        .args(["-e", "trace=poll,ppoll", "-e", "inject=poll,ppoll:delay_enter=600s:when=2"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Silence for three seconds, where a sign of life comes three times a second.
    let is_silent = until(|| {
        manager.forget();
        strace.try_wait().unwrap().is_some() || manager.hear(3).is_none()
    });
    if strace.try_wait().unwrap().is_some() {
        skipped("strace may not look at another process here");
        return;
    }
    assert!(is_silent, "there are signs of life of a thread that hangs: {}", agent.said());
    assert!(agent.said().contains("the capture thread hangs"), "{}", agent.said());
    assert_eq!(agent.get("/live").0, 200, "the other threads are well");
    assert_eq!(agent.get("/health").0, 503);
    let _ = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
    let _ = strace.wait();
    manager.expect("WATCHDOG=1");
    assert!(until(|| agent.get("/health").0 == 200));
}
