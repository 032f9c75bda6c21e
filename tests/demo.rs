//! `sidetone demo`: it needs nothing, calls and metrics move, SIGTERM ends it with 0.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

#[path = "support/patience.rs"]
mod patience;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

#[test]
fn calls_and_metrics_move_until_it_is_told_to_stop() {
    let mut demo = Demo::start();
    let first = demo.metrics();
    assert!(first("voip_calls_active_total") > 0.0, "a minute has been before it starts");
    assert!(first("voip_sip_attempts_total") > 10.0);
    assert!(until(|| demo.metrics()("voip_rtp_packets_total") > first("voip_rtp_packets_total")));
    assert!(until(|| demo.metrics()("voip_sip_requests_total") > first("voip_sip_requests_total")));
    let calls = demo.get("/api/calls");
    assert!(calls.contains("\"state\":\"confirmed\""), "{calls}");
    let streams = demo.get("/api/streams?limit=5");
    assert!(streams.contains("\"codec\":\"G729\""), "the worst ones first: {streams}");
    assert!(demo.get("/health?detailed=true").contains("\"status\":\"up\""));
    assert!(demo.get("/").contains("<title>sidetone</title>"));
    assert_eq!(demo.stop(), Some(0));
}

#[test]
fn two_of_them_run_side_by_side() {
    let demos = [Demo::start_with(&[]), Demo::start_with(&[])];
    for mut demo in demos {
        assert!(demo.metrics()("voip_calls_active_total") > 0.0);
        assert_eq!(demo.stop(), Some(0));
    }
}

struct Demo {
    process: Child,
    address: String,
}

impl Demo {
    fn start() -> Self {
        Self::start_with(&[("SIDETONE_HTTP_LISTEN", "127.0.0.1:0")])
    }

    fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sidetone"))
            .arg("demo")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let page = lines.find_map(|line| Some(line.unwrap().strip_prefix("sidetone: http://")?.to_owned()));
        // Nobody reads the rest, which must not hurt.
        Self { process, address: page.unwrap().split('/').next().unwrap().to_owned() }
    }

    /// The body of a page, which must be there.
    fn get(&self, page: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{page}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Sums of all samples of a name, as they are now.
    fn metrics(&self) -> impl Fn(&str) -> f64 + use<> {
        let body = self.get("/metrics");
        move |name| {
            body.lines()
                .filter_map(|line| line.strip_prefix(name))
                .filter(|rest| rest.starts_with(['{', ' ']))
                .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
                .sum()
        }
    }

    fn stop(&mut self) -> Option<i32> {
        let kill = format!("kill -TERM {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn until(done: impl FnMut() -> bool) -> bool {
    patience::within(30, done)
}
