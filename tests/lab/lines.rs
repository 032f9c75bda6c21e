//! What the agent beside the proxy has logged: exactly the lines that its scenarios ask for, and no more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::schema::violations;

/// How often a line of each kind is there: message, result of the call or registration, status.
pub(crate) type Kinds<'a> = BTreeMap<(&'a str, &'a str, u64), usize>;

/// The three logs, line by line.
pub(crate) struct Lines {
    pub(crate) application: Vec<Value>,
    pub(crate) diagnostics: Vec<Value>,
    pub(crate) audit: Vec<Value>,
}

impl Lines {
    /// Each line is as the schema says, and nobody has changed the audit.
    pub(crate) fn read(directory: &Path) -> Self {
        let schema = serde_json::from_str(include_str!("../../docs/logs.schema.json")).unwrap();
        let log = |name: &str| -> Vec<Value> {
            let text = fs::read_to_string(directory.join(format!("{name}.log"))).unwrap();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            for line in &lines {
                assert_eq!(violations(&schema, line, name), [""; 0], "{line}");
            }
            lines
        };
        let lines =
            Self { application: log("application"), diagnostics: log("diagnostics"), audit: log("audit") };
        let mut verify = Command::new(env!("CARGO_BIN_EXE_sidetone"));
        verify.args(["audit", "verify", "--expect-seq", &lines.audit.len().to_string()]);
        verify.arg("--key").arg(directory.join("audit.key.pub")).arg(directory);
        let output = verify.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        lines
    }

    /// The application log has these lines, one for each figure of a call in the report that somebody would complain
    /// about, and no others.
    pub(crate) fn judge_application(&self, calls: &[Value], expected: &[(&str, &str, u64, usize)]) {
        let kind = |&(message, result, status, count)| ((message, result, status), count);
        let mut expected: Kinds<'_> = expected.iter().map(kind).collect();
        for call in calls {
            let complaints = [
                ("one-way audio", call["one_way"].is_string()),
                ("dead air", call["dead_air"] == true),
                ("bad quality", call["mos"].as_f64().is_some_and(|mos| mos < 3.1)),
            ];
            for (message, _) in complaints.into_iter().filter(|(_, holds)| *holds) {
                *expected.entry((message, "", 0)).or_default() += 1;
            }
        }
        assert_eq!(kinds(&self.application), expected, "{:#?}", self.application);
        // What belongs to a call or a registration says to which.
        for line in &self.application {
            assert!(line["call_id"].is_string(), "{line}");
        }
    }

    /// A line a stream, one for each section of the SDP of the first hop: so many offered, and so many answered; and the
    /// defects of the report.
    pub(crate) fn judge_diagnostics(&self, report: &Value, offered: usize, answered: usize) {
        let streams = report["streams"].as_array().unwrap().len();
        let mut found = kinds(&self.diagnostics);
        let mut of = |message: &str| {
            let keys: Vec<_> = found.keys().filter(|key| key.0 == message).copied().collect();
            keys.iter().filter_map(|key| found.remove(key)).sum::<usize>()
        };
        let counts = [of("stream ended") + of("stream anomalies"), of("sdp offered"), of("sdp answered")];
        assert_eq!(counts, [streams, offered, answered], "{:#?}", self.diagnostics);
        of("messages with defects");
        assert_eq!(found, Kinds::new(), "{:#?}", self.diagnostics);
        let mut defects = BTreeMap::new();
        for line in self.diagnostics.iter().filter(|line| line["message"] == "messages with defects") {
            for (defect, count) in line["metadata"]["defects"].as_object().unwrap() {
                *defects.entry(defect.clone()).or_default() += count.as_u64().unwrap();
            }
        }
        assert_eq!(serde_json::to_value::<BTreeMap<String, u64>>(defects).unwrap(), report["sip"]["defects"]);
    }

    /// It was started, was asked for calls so many times, and ended.
    pub(crate) fn judge_audit(&self, asked: usize) {
        let messages: Vec<&str> = self.audit.iter().map(|line| line["message"].as_str().unwrap()).collect();
        let others: Vec<&str> = messages
            .iter()
            .copied()
            .filter(|message| !["call data read", "audit checkpoint"].contains(message))
            .collect();
        let whole = ["audit begun", "agent started", "rights given up", "capture started", "agent stopped"];
        assert_eq!(others, whole);
        let read = self.audit.iter().filter(|line| line["message"] == "call data read");
        let read: Vec<&Value> = read.map(|line| &line["metadata"]).collect();
        assert!(
            read.iter().all(|access| access["path"] == "/api/calls" && access["status"] == 200),
            "{read:#?}"
        );
        assert!(read.iter().all(|access| access["client"] == "127.0.0.1"), "{read:#?}");
        assert_eq!(read.len(), asked);
        assert_eq!(messages.last(), Some(&"audit checkpoint"));
    }
}

fn kinds(lines: &[Value]) -> Kinds<'_> {
    let mut kinds = Kinds::new();
    for line in lines {
        let metadata = &line["metadata"];
        let result = if metadata["result"].is_null() { &metadata["reason"] } else { &metadata["result"] };
        let status = metadata["status"].as_u64().unwrap_or_default();
        let kind = (line["message"].as_str().unwrap(), result.as_str().unwrap_or_default(), status);
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
