//! A collector by somebody else (PyPI's `rotel`), and the spans it says it got.
//!
//! ```text
//! sidetone --OTLP--> rotel --log--> Rotel::spans -> Span
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::patience;
use crate::skipped::skipped;

/// The program, ended with the test.
pub(crate) struct Rotel {
    process: Child,
    log: PathBuf,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

pub(crate) type Attributes = BTreeMap<String, String>;

/// A span as the collector shows it; values with their types, `Int(5)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Span {
    pub(crate) resource: Attributes,
    pub(crate) scope: String,
    pub(crate) trace: String,
    pub(crate) parent: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) status: String,
    pub(crate) message: String,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<Event>,
    pub(crate) links: Vec<Link>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) at: u64,
    pub(crate) attributes: Attributes,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Link {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) attributes: Attributes,
}

/// Where `tests/tools.sh rotel-agent` puts it.
fn program() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/rotel-agent");
    if !path.exists() {
        skipped("this test needs rotel: tests/tools.sh rotel-agent");
        return None;
    }
    Some(path)
}

impl Rotel {
    /// Nothing where there is no such program.
    pub(crate) fn start(directory: &Path) -> Option<Self> {
        let log = directory.join("rotel.log");
        let (grpc, http) = (free(), free());
        let process = Command::new(program()?)
            .args(["start", "--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--exporter", "blackhole", "--batch-timeout", "50ms"])
            .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let rotel = Self { process, log, grpc, http };
        let listens = |address| std::net::TcpStream::connect::<SocketAddr>(address).is_ok();
        assert!(patience::within(30, || listens(grpc) && listens(http)), "rotel listens");
        Some(rotel)
    }

    /// All that it got so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        read(&fs::read_to_string(&self.log).unwrap())
    }

    /// What it got in this run of the test: so many, and no more of them come later.
    pub(crate) fn spans_of(&self, run: &str, count: usize) -> Vec<Span> {
        let run = format!("Str({run})");
        let of_run = || {
            let mut spans = self.spans();
            spans.retain(|span| span.resource.get("test.run") == Some(&run));
            spans
        };
        patience::within(30, || of_run().len() >= count);
        std::thread::sleep(std::time::Duration::from_millis(200));
        let spans = of_run();
        assert_eq!(spans.len(), count, "spans of {run}");
        spans
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Span {
    /// A text, `None` if there is none.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let value = self.attributes.get(key)?;
        Some(
            value
                .strip_prefix("Str(")
                .unwrap_or_else(|| panic!("{key} is {value}"))
                .strip_suffix(')')
                .unwrap(),
        )
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        let value = self.attributes.get(key)?;
        let inside = value.strip_prefix("Int(").or_else(|| value.strip_prefix("Double("));
        let inside = inside.unwrap_or_else(|| panic!("{key} is {value}"));
        Some(inside.strip_suffix(')').unwrap().parse().unwrap())
    }

    pub(crate) fn is(&self, key: &str) -> Option<bool> {
        self.attributes.get(key).map(|value| value == "Bool(true)")
    }

    pub(crate) fn is_error(&self) -> bool {
        match self.status.as_str() {
            "STATUS_CODE_ERROR" => true,
            "STATUS_CODE_UNSET" => false,
            other => panic!("status {other}"),
        }
    }

    /// `10.0.0.1:5060`
    pub(crate) fn end_of(&self, side: &str) -> String {
        let port = self.number(&format!("{side}.port")).unwrap();
        format!("{}:{port}", self.text(&format!("{side}.address")).unwrap())
    }

    pub(crate) fn event(&self, name: &str) -> Option<u64> {
        self.events.iter().find(|event| event.name == name).map(|event| event.at)
    }
}

enum Part {
    Resource,
    Span,
    Event,
    Link,
}

/// Its log says one thing a line; what a thing belongs to is what was said before.
fn read(log: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let (mut resource, mut scope) = (Attributes::new(), String::new());
    let mut part = Part::Resource;
    for line in log.lines() {
        let text = line.trim_start();
        if line.starts_with("ResourceSpans #") {
            (part, resource) = (Part::Resource, Attributes::new());
        } else if let Some(name) = line.strip_prefix("InstrumentationScope ") {
            name.clone_into(&mut scope);
        } else if line.starts_with("Span #") {
            part = Part::Span;
            spans.push(Span { resource: resource.clone(), scope: scope.clone(), ..Span::default() });
        }
        let Some(span) = spans.last_mut() else {
            if let Some((key, value)) = attribute(text) {
                resource.insert(key, value);
            }
            continue;
        };
        if line.starts_with("SpanEvent #") {
            part = Part::Event;
            span.events.push(Event::default());
        } else if line.starts_with("SpanLink #") {
            part = Part::Link;
            span.links.push(Link::default());
        } else if let Some((key, value)) = attribute(text) {
            let link = span.links.last_mut();
            let attributes = match part {
                Part::Resource => &mut resource,
                Part::Span => &mut span.attributes,
                Part::Event => {
                    let event = span.events.last_mut().unwrap();
                    match key.as_str() {
                        "Name" => event.name = value,
                        "Timestamp" => event.at = value.parse().unwrap(),
                        "DroppedAttributesCount" => {}
                        _ => assert_eq!(event.attributes.insert(key, value), None),
                    }
                    continue;
                }
                Part::Link => {
                    let link = link.unwrap();
                    match key.as_str() {
                        "Trace ID" => link.trace = value,
                        "ID" => link.id = value,
                        "TraceState" | "DroppedAttributesCount" => {}
                        _ => assert_eq!(link.attributes.insert(key, value), None),
                    }
                    continue;
                }
            };
            assert_eq!(attributes.insert(key.clone(), value), None, "{key} stands twice");
        } else if matches!(part, Part::Span)
            && let Some((key, value)) = text.split_once(':')
        {
            let value = value.trim();
            match key.trim() {
                "Trace ID" => span.trace = value.into(),
                "Parent ID" => span.parent = value.into(),
                "ID" => span.id = value.into(),
                "Name" => span.name = value.into(),
                "Kind" => span.kind = value.into(),
                "Start time" => span.start = value.parse().unwrap(),
                "End time" => span.end = value.parse().unwrap(),
                "Status code" => span.status = value.into(),
                "Status message" => span.message = value.into(),
                _ => {}
            }
        }
    }
    // The last one may not be written whole yet.
    if !log.ends_with('\n') {
        spans.pop();
    }
    spans
}

/// `-> key: value`
fn attribute(line: &str) -> Option<(String, String)> {
    let (key, value) = line.strip_prefix("-> ")?.split_once(':')?;
    (value != ":").then(|| (key.to_owned(), value.trim().to_owned()))
}
