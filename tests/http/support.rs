//! A server on a free port, and a client that writes and reads bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sidetone::http::{Condition, Content, Download, Format, Health, Later, Listeners, Part, Query, Refusal};
use sidetone::http::{Server, Settings, Snapshot, WebConfig};
use tokio::sync::{Notify, oneshot};

/// What the tests serve.
#[derive(Default)]
pub(crate) struct Shop {
    pub(crate) is_ready: std::sync::atomic::AtomicBool,
    /// When given, metrics wait for it, after they said that they do.
    pub(crate) gate: Option<(Arc<Notify>, Arc<Notify>)>,
    pub(crate) size: usize,
    pub(crate) never: bool,
}

impl Content for Shop {
    fn metrics(&self, format: Format) -> Later<'_, Result<Vec<u8>, Refusal>> {
        Box::pin(async move {
            if self.never {
                std::future::pending::<()>().await;
            }
            if let Some((entered, open)) = &self.gate {
                entered.notify_one();
                open.notified().await;
            }
            let mut body = format!("{format:?}\n").into_bytes();
            body.resize(self.size.max(body.len()), b'#');
            Ok(body)
        })
    }

    fn health(&self) -> Later<'_, Health> {
        let detail = [("interfaces".to_owned(), 2.into())].into_iter().collect();
        let capture = Part { name: "capture".into(), status: Condition::Degraded, detail };
        Box::pin(async { Health::of(vec![capture]) })
    }

    fn ready(&self) -> Later<'_, Result<(), String>> {
        let is_ready = self.is_ready.load(std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move { if is_ready { Ok(()) } else { Err("no interface is up".into()) } })
    }

    fn calls<'a>(&'a self, query: &'a Query) -> Later<'a, Result<Vec<u8>, Refusal>> {
        Box::pin(async move {
            match query.first("limit").map(str::parse::<u32>) {
                Some(Err(_)) => Err(Refusal::BadQuery("limit is no number".into())),
                _ => Ok(format!("[{:?}]", query.first("tenant")).into_bytes()),
            }
        })
    }

    fn call<'a>(&'a self, id: &'a str) -> Later<'a, Result<Option<Vec<u8>>, Refusal>> {
        Box::pin(async move { Ok((id != "gone").then(|| serde_json::to_vec(id).unwrap())) })
    }

    fn evidence<'a>(&'a self, id: &'a str) -> Later<'a, Result<Result<Download, String>, Refusal>> {
        Box::pin(async move {
            Ok(match id {
                "bad" => Ok(Download { name: "x-1.pcapng".into(), bytes: b"\x0a\x0d\x0d\x0a".to_vec() }),
                _ => Err(format!("nothing of {id}")),
            })
        })
    }

    fn streams<'a>(&'a self, _: &'a Query) -> Later<'a, Result<Vec<u8>, Refusal>> {
        Box::pin(async { Err(Refusal::Unavailable("not yet".into())) })
    }

    fn config(&self) -> Later<'_, Result<Vec<u8>, Refusal>> {
        Box::pin(async { Ok(b"{}".to_vec()) })
    }
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) server: Arc<Server>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(settings: Settings, web: WebConfig, shop: Shop) -> Self {
        let listeners = Listeners::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listeners.addresses()[0];
        let server = Server::new(settings, web);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Arc::clone(&server);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let shutdown = async { drop(stopped.await) };
            runtime.block_on(serving.serve(listeners, Arc::new(shop), shutdown)).unwrap();
        });
        Self { address, server, stop: Some(stop), thread: Some(thread) }
    }

    /// With defaults but for the rate: tests are in a hurry.
    pub(crate) fn plain() -> Self {
        Self::start(unhurried(), WebConfig::default(), Shop::default())
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        // So that a test that fails does not hang.
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        stream
    }

    /// Sends these bytes and reads until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The server may have heard enough before all of it is sent.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    /// One request, with further header lines.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[&str]) -> Answer {
        Answer::parse(&self.raw(request(method, target, headers).as_bytes()))
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[])
    }

    pub(crate) fn stats(&self) -> Snapshot {
        self.server.stats().snapshot()
    }

    /// Waits until the counters are as they should be.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) {
        for _ in 0..6000 {
            if is_so(&self.stats()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not within a minute: {what}: {:#?}", self.stats());
    }

    /// Tells the server to go down.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it is down.
    pub(crate) fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

/// Limits that no test meets by accident.
pub(crate) fn unhurried() -> Settings {
    Settings {
        rate: None,
        header_time: Duration::from_mins(2),
        request_time: Duration::from_mins(2),
        send_time: Duration::from_mins(2),
        idle_time: Duration::from_mins(2),
        drain_time: Duration::from_mins(2),
        ..Settings::default()
    }
}

pub(crate) fn request(method: &str, target: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n")
}

/// Until the end, a reset included.
pub(crate) fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..read]);
    }
    all
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
