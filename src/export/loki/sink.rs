//! The agent's own lines on their way into the spool.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::outlet::{Line, Outlet};
use super::spool::Kept;
use crate::Stamp;
use crate::log::{Entry, Sink};
use crate::tail;

/// An output of the logs.
#[derive(Debug)]
pub struct ToLoki {
    outlet: Outlet,
    kept: Vec<Kept>,
}

impl ToLoki {
    /// Into this outlet.
    pub fn new(outlet: Outlet) -> Self {
        Self { outlet, kept: Vec::new() }
    }
}

impl Sink for ToLoki {
    fn name(&self) -> &'static str {
        "loki"
    }

    fn take(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let stream = entry.stream.name();
        // Lines of other programs have a stream of their own, which their reader fills.
        if !self.outlet.takes(stream) || entry.component == tail::COMPONENT {
            return Ok(());
        }
        let text = std::str::from_utf8(entry.line).map_err(io::Error::other)?;
        let level = Some(entry.level.name());
        let line = Line { stream, nanos: entry.at.0, level, labels: &[], text };
        let sequence = entry.audit_sequence.map(|sequence| sequence.to_string());
        let metadata = [
            ("call_id", entry.call_id),
            ("trace_id", entry.trace_id),
            ("request_id", entry.request_id),
            ("audit_seq", sequence.as_deref()),
        ];
        let metadata = metadata.into_iter().filter_map(|(name, value)| Some((name, value?)));
        self.kept.push(self.outlet.kept(&line, metadata));
        if self.kept.len() >= MOST_KEPT {
            self.put();
        }
        Ok(())
    }

    fn settle(&mut self, _: Stamp) -> io::Result<()> {
        self.put();
        Ok(())
    }

    fn detail(&self) -> BTreeMap<String, Value> {
        let counters = self.outlet.counters();
        BTreeMap::from([
            ("waiting_lines".into(), json!(counters.waiting_lines)),
            ("lost".into(), json!(counters.lost())),
        ])
    }
}

impl ToLoki {
    fn put(&mut self) {
        if !self.kept.is_empty() {
            self.outlet.put(&self.kept, None);
            self.kept.clear();
        }
    }
}

/// Lines written at once at most.
const MOST_KEPT: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::{Settings, open};
    use super::*;
    use crate::log::{Level, Stream};

    #[test]
    fn a_line_has_its_labels_and_metadata() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            url: Some("http://127.0.0.1:9".parse().unwrap()),
            streams: vec!["application".into(), "audit".into()],
            labels: vec![("site".into(), "a".into()), ("job".into(), "voip".into())],
            ..Settings::default()
        };
        let (outlet, _) = open(settings, directory.path().to_owned(), "proxy1").unwrap().unwrap();
        let mut sink = ToLoki::new(outlet.clone());
        let entry = Entry {
            stream: Stream::Application,
            level: Level::Warn,
            at: Stamp(5),
            component: "call",
            line: b"{}",
            call_id: Some("c"),
            trace_id: None,
            request_id: None,
            audit_sequence: Some(7),
        };
        sink.take(&entry).unwrap();
        sink.take(&Entry { stream: Stream::Diagnostics, ..entry }).unwrap();
        sink.settle(Stamp(6)).unwrap();
        let batch = outlet.spool().take(1000, 10).unwrap();
        let [line] = batch.lines.as_slice() else { panic!("{batch:?}") };
        assert_eq!(line.stream, r#"{host="proxy1",job="voip",level="warn",site="a",stream="application"}"#);
        let metadata: Vec<_> =
            line.metadata.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())).collect();
        assert_eq!(metadata, [("call_id", "c"), ("audit_seq", "7")]);
        assert_eq!((line.nanos, line.line.as_str()), (5, "{}"));
    }
}
