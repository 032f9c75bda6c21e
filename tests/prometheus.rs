//! A real Prometheus scrapes all three formats. Needs the program `prometheus`; says so and is skipped where there
//! is none.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::disallowed_types, reason = "waits for another program")]

#[path = "support/skipped.rs"]
mod skipped;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::export::prometheus::{Exposition, Metrics};
use sidetone::observer::{Observer, Settings};
use sidetone::wire::Frame;
use skipped::skipped;

#[test]
fn prometheus_scrapes_all_three_formats() {
    let bodies: Vec<(&str, &str, Vec<u8>)> = FORMATS
        .iter()
        .map(|(job, exposition, content_type)| (*job, *content_type, body(*exposition)))
        .collect();
    let servers: Vec<(&str, SocketAddr)> =
        bodies.into_iter().map(|(job, content_type, body)| (job, serve(content_type, body))).collect();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let mut file = File::create(&config).unwrap();
    writeln!(file, "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:").unwrap();
    for (job, address) in &servers {
        writeln!(file, "- job_name: {job}\n  static_configs: [{{targets: ['{address}']}}]").unwrap();
    }
    drop(file);
    let listen = free_address();
    let started = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={listen}"))
        .arg("--enable-feature=exemplar-storage,native-histograms")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _prometheus = match started {
        Ok(child) => Stopped(child),
        Err(error) => return skipped(format_args!("prometheus cannot be run: {error}")),
    };
    let asked = |query: &str| -> Option<serde_json::Value> {
        serde_json::from_str(&get(listen, &format!("/api/v1/query?query={query}"))?).ok()
    };
    let end = Instant::now() + Duration::from_mins(1);
    for (job, _) in &servers {
        // Exact counts of the fixture, as analyze writes them in classic text.
        for query in [
            format!("up{{job=\"{job}\"}}==1"),
            format!("sum(voip_sip_attempts_total{{job=\"{job}\"}})>0"),
            format!("count(voip_rtp_session_mos{{job=\"{job}\"}})>0"),
            format!(
                "sum(voip_rtp_packets_total{{job=\"{job}\"}})==sum(voip_rtp_packets_total{{job=\"classic\"}})"
            ),
        ] {
            let encoded = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
            let encoded = encoded.replace('=', "%3D").replace('>', "%3E");
            let answered = || asked(&encoded).is_some_and(|answer| answer["data"]["result"][0].is_object());
            while !answered() {
                let targets = get(listen, "/api/v1/targets").unwrap_or_default();
                assert!(Instant::now() < end, "{job}: no answer to {query}\n{targets}");
                thread::sleep(Duration::from_millis(200));
            }
        }
    }
    let targets = get(listen, "/api/v1/targets").unwrap();
    assert_eq!(targets.matches("\"lastError\":\"\"").count(), FORMATS.len(), "{targets}");
}

/// What is known of a fixture, its worst sessions as they were while streams flowed.
fn body(exposition: Exposition) -> Vec<u8> {
    let mut metrics = Metrics::new();
    let mut observer = Observer::new(Settings::default());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/scenes/mixed.pcap");
    let mut files = Files::from_reader("mixed.pcap", File::open(file).unwrap());
    let mut take = |frames: &[Frame<'_>]| {
        for frames in frames.chunks(100) {
            observer.packets(frames, &mut metrics);
            let live = observer.live();
            if live.streams.iter().any(|stream| stream.mos.is_some()) {
                metrics.live(&live);
            }
        }
    };
    while files.poll(&mut take).unwrap() == Progress::More {}
    observer.finish(&mut metrics);
    metrics.add(&observer.totals());
    let mut body = Vec::new();
    metrics.write(exposition, &mut body).unwrap();
    body
}

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves one body, whatever is asked; the thread ends with the test.
fn serve(content_type: &'static str, body: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

const FORMATS: &[(&str, Exposition, &str)] = &[
    ("classic", Exposition::Classic, "text/plain; version=0.0.4; charset=utf-8"),
    ("openmetrics", Exposition::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    (
        "protobuf",
        Exposition::Protobuf,
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    ),
];
