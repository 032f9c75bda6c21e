//! A strict double of Loki's push API, with faults on demand; also in front of a real server, which must take a request too.
//!
//! It takes a request only if everything about it is as Loki wants it, keeps an entry once, as Loki does, and notes what
//! Loki would not show: lines out of order, and the same line with another time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use prost::Message;
use sidetone::export::loki::push::Request;

/// What to do with the next request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answered with this, and not taken.
    Status(u16, &'static str),
    /// The connection ends before anything is taken.
    Cut,
    /// It is taken, and the connection ends without an answer.
    TakenAndCut,
}

/// What has arrived.
#[derive(Default)]
pub(crate) struct Taken {
    /// Line and time of each entry by stream, in order.
    pub(crate) streams: BTreeMap<String, Vec<(u64, String)>>,
    /// The time of each line, by stream.
    times_of: HashMap<String, HashMap<String, u64>>,
    /// Metadata of lines.
    pub(crate) metadata: HashMap<String, Vec<(String, String)>>,
    /// Lines that came again, the same.
    pub(crate) again: u64,
    /// What Loki would not have taken, or not shown.
    pub(crate) wrong: Vec<String>,
    pub(crate) requests: u64,
    /// When each request came.
    pub(crate) times: Vec<Instant>,
    pub(crate) headers: String,
}

#[derive(Clone)]
pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    pub(crate) taken: Arc<Mutex<Taken>>,
    pub(crate) faults: Arc<Mutex<VecDeque<Fault>>>,
    /// Header lines, in small letters, without which it answers 401.
    pub(crate) needs: Arc<Mutex<Vec<String>>>,
    /// The port of the server behind it.
    behind: Option<u16>,
    stop: Arc<AtomicBool>,
}

impl Double {
    pub(crate) fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Arc::default(), Arc::default(), None)
    }

    /// In front of a server, which may come and go.
    pub(crate) fn before(port: u16) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Arc::default(), Arc::default(), Some(port))
    }

    /// The same server anew, with all it has: nobody listens between `stop` and this.
    pub(crate) fn again(&self) -> Self {
        Self::at(self.address, Arc::clone(&self.taken), Arc::clone(&self.faults), self.behind)
    }

    fn at(
        address: SocketAddr,
        taken: Arc<Mutex<Taken>>,
        faults: Arc<Mutex<VecDeque<Fault>>>,
        behind: Option<u16>,
    ) -> Self {
        let listener = (0..100)
            .find_map(|_| {
                TcpListener::bind(address).inspect_err(|_| thread::sleep(Duration::from_millis(50))).ok()
            })
            .unwrap();
        let address = listener.local_addr().unwrap();
        let double = Self { address, taken, faults, needs: Arc::default(), behind, stop: Arc::default() };
        let serving = double.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::Acquire) {
                    return;
                }
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&stream.unwrap()));
            }
        });
        double
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nobody listens any more, and connections are cut.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // Wakes who accepts.
        let _ = TcpStream::connect(self.address);
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    pub(crate) fn lines(&self) -> usize {
        self.taken.lock().unwrap().streams.values().map(Vec::len).sum()
    }

    fn serve(&self, stream: &TcpStream) {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut reader = BufReader::new(stream);
        while let Some((head, body)) = self.request(&mut reader) {
            let fault = self.faults.lock().unwrap().pop_front();
            let lower = head.to_ascii_lowercase();
            let is_known =
                self.needs.lock().unwrap().iter().all(|line| lower.contains(&format!("\r\n{line}\r\n")));
            let mut taken = self.taken.lock().unwrap();
            taken.requests += 1;
            taken.times.push(Instant::now());
            taken.headers = lower;
            drop(taken);
            let answer = match fault {
                Some(Fault::Cut) => return,
                Some(Fault::Status(status, headers)) => format!("HTTP/1.1 {status} Fault\r\n{headers}"),
                None if !is_known => "HTTP/1.1 401 Unauthorized\r\n".into(),
                Some(Fault::TakenAndCut) | None => {
                    let Some(status) = self.take(&head, &body) else { return };
                    format!("HTTP/1.1 {status} Answer\r\n")
                }
            };
            let is_cut = matches!(fault, Some(Fault::TakenAndCut));
            if is_cut || write!(&*stream, "{answer}content-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }

    /// The status of the answer; `None` = there is none.
    fn take(&self, head: &str, body: &[u8]) -> Option<u16> {
        let status = match self.behind {
            Some(port) => hand_on(port, head, body).ok()?,
            None => 204,
        };
        if status / 100 == 2 {
            self.taken.lock().unwrap().take(body);
        }
        Some(status)
    }

    fn request(&self, reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stop.load(Ordering::Acquire) {
                return None;
            }
            match reader.read_line(&mut head) {
                Ok(0) => return None,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return None,
                _ => {}
            }
        }
        let len = head.to_ascii_lowercase();
        let len = len.split_once("content-length: ")?.1.split("\r\n").next()?.parse().ok()?;
        let mut body = vec![0; len];
        reader.get_ref().set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        reader.read_exact(&mut body).ok()?;
        reader.get_ref().set_read_timeout(Some(Duration::from_millis(100))).ok()?;
        let lower = head.to_ascii_lowercase();
        let is_push = head.starts_with("POST /loki/api/v1/push HTTP/1.1\r\n")
            && lower.contains("\r\ncontent-type: application/x-protobuf\r\n");
        if !is_push {
            self.taken.lock().unwrap().wrong.push(head.clone());
        }
        Some((head, body))
    }
}

/// The same request to another server; the status of its answer.
fn hand_on(port: u16, head: &str, body: &[u8]) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl Taken {
    fn take(&mut self, body: &[u8]) {
        let plain = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        let request = Request::decode(plain.as_slice()).unwrap();
        for stream in request.streams {
            let times = self.times_of.entry(stream.labels.clone()).or_default();
            let entries = self.streams.entry(stream.labels.clone()).or_default();
            for entry in stream.entries {
                let time = entry.timestamp.unwrap();
                let nanos = time.seconds as u64 * 1_000_000_000 + time.nanos as u64;
                match times.insert(entry.line.clone(), nanos) {
                    Some(before) if before == nanos => {
                        self.again += 1;
                        continue;
                    }
                    Some(_) => self.wrong.push(format!("another time: {}", entry.line)),
                    None => {}
                }
                if entries.last().is_some_and(|(last, _)| *last > nanos) {
                    self.wrong.push(format!("out of order: {}", entry.line));
                }
                let pairs = entry.metadata.into_iter().map(|pair| (pair.name, pair.value));
                self.metadata.insert(entry.line.clone(), pairs.collect());
                entries.push((nanos, entry.line));
            }
        }
    }
}
