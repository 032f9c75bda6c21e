//! An agent on the loopback interface, and what it says.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::skipped::skipped;

/// A running agent; killed when it is dropped.
pub(crate) struct Agent {
    child: Child,
    said: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
}

impl Agent {
    /// `sidetone run` with this file; `None` where it may not capture.
    pub(crate) fn start(file: &Path) -> Option<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
        command.args(["run", "--config"]).arg(file);
        Self::of(command)
    }

    /// The same without rights over other processes, which root has.
    #[allow(dead_code, reason = "for the tests of processes")]
    pub(crate) fn without_rights_over_others(file: &Path) -> Option<Self> {
        let mut command = Command::new("setpriv");
        let none = "-sys_ptrace,-perfmon,-sys_admin";
        command.args(["--bounding-set", none, "--inh-caps", none, "--"]);
        command.arg(env!("CARGO_BIN_EXE_sidetone")).args(["run", "--config"]).arg(file);
        Self::of(command)
    }

    /// The same by a command of one's own.
    pub(crate) fn of(mut command: Command) -> Option<Self> {
        command.env("SIDETONE_CAPTURE_INTERFACES", "lo");
        Self::on(command)
    }

    /// The same on the interfaces of its file.
    pub(crate) fn on(mut command: Command) -> Option<Self> {
        let mut child = command
            .env("SIDETONE_CAPTURE_RING_BYTES", "8388608")
            .env("SIDETONE_HTTP_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, heard) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&said));
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().extend([line.as_str(), "\n"]);
            }
        });
        let mut code = None;
        let mut address = None;
        until(|| {
            let text = said.lock().unwrap().clone();
            let url = text.split("://").nth(1).and_then(|rest| rest.split('/').next().map(str::to_owned));
            address = url.and_then(|address| address.parse().ok());
            code = child.try_wait().unwrap().and_then(|status| status.code());
            address.is_some() || code.is_some()
        });
        if code == Some(77) {
            skipped("capturing needs CAP_NET_RAW");
            return None;
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let agent = Self { child, said, address: address.unwrap_or(nowhere) };
        assert!(address.is_some(), "{code:?}: {}", agent.said());
        assert!(until(|| agent.get("/ready").0 == 200), "it is ready: {}", agent.said());
        Some(agent)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything on standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.child.wait().unwrap()
    }

    /// Status and body; status 0 when nobody answers.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).unwrap_or_default()
    }

    fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        let (code, body) = self.get(path);
        assert!(code == 200 || code == 503, "{path}: {code}: {}", self.said());
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// One part of `/health?detailed=true`.
    pub(crate) fn part(&self, name: &str) -> serde_json::Value {
        let health = self.json("/health?detailed=true");
        let parts = health["parts"].as_array().unwrap();
        parts.iter().find(|part| part["name"] == name).unwrap_or_else(|| panic!("{health}")).clone()
    }

    /// Identifiers of its threads, with their names.
    pub(crate) fn threads(&self) -> Vec<(u32, String)> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let named = threads.filter_map(|entry| {
            let path = entry.ok()?.path();
            let id = path.file_name()?.to_str()?.parse().ok()?;
            Some((id, fs::read_to_string(path.join("comm")).ok()?.trim().to_owned()))
        });
        named.collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn until(done: impl FnMut() -> bool) -> bool {
    crate::patience::within(60, done)
}
