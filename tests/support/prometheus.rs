//! A Prometheus of one's own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::patience;

/// A program that listens on a port of its own and is ended with the test.
pub(crate) struct Served {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Served {
    /// Starts a program that takes its address as `flag=address`, and waits until it is ready.
    pub(crate) fn start(command: &mut Command, flag: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = command
            .arg(format!("{flag}={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self { process, address };
        assert!(patience::within(120, || served.get("/-/ready").is_some()), "{command:?} is not ready");
        served
    }

    /// The body of a page, if it answers with 200.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        get(&self.address.to_string(), path)
    }

    pub(crate) fn json(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.get(path)?).ok()
    }
}

/// The body of a page of a server, if it answers with 200.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).is_some_and(|status| status == "200").then(|| body.to_owned())
}

/// Starts Prometheus with a configuration, its data in `folder`.
pub(crate) fn prometheus(folder: &Path, config: &str) -> Served {
    prometheus_with(folder, config, &[])
}

/// The same with further arguments.
pub(crate) fn prometheus_with(folder: &Path, config: &str, arguments: &[&str]) -> Served {
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        // What fires before Alertmanager is found is told again soon.
        .arg("--rules.alert.resend-delay=1s")
        .args(arguments)
        .current_dir(folder);
    Served::start(&mut command, "--web.listen-address")
}

/// What a query gives, as a vector; `None` where it does not parse.
pub(crate) fn asked(prometheus: &Served, query: &str) -> Option<Vec<Value>> {
    let answer = prometheus.json(&format!("/api/v1/query?query={}", encoded(query)))?;
    answer["data"]["result"].as_array().cloned()
}

fn encoded(query: &str) -> String {
    query.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}
