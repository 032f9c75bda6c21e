//! The rule files that come with the program, each with a log as it expects it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use sidetone::Stamp;
use sidetone::export::prometheus::{Exposition, Metrics};
use sidetone::tail::{self, Reader};

pub(crate) fn tails(log: &Path, rules: &str) -> Vec<tail::Settings> {
    let rules = if rules.is_empty() { String::new() } else { format!("rules = [{rules:?}]\n") };
    let text =
        format!("[[tail]]\nname = \"app\"\nfrom_start = true\npaths = [\"{}\"]\n{rules}", log.display());
    sidetone::config::read("s.toml", &text, &BTreeMap::new()).unwrap().agent.tails
}

/// What is scraped after the sample log was read.
fn scraped(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let log = root.join(format!("fixtures/tail/{name}.log"));
    let rules = root.join(format!("packaging/tail/{name}.toml"));
    let directory = tempfile::tempdir().unwrap();
    let tails = tails(&log, rules.to_str().unwrap());
    let mut reader: Reader =
        tail::open(tails, &directory.path().join("positions"), None, Arc::new(str::to_owned)).unwrap();
    while reader.round(Stamp(1), true) {}
    let metrics = Metrics::new().with_tail(Some(reader.families()));
    for exposition in [Exposition::OpenMetrics, Exposition::Protobuf] {
        metrics.write(exposition, &mut Vec::new()).unwrap();
    }
    let mut text = Vec::new();
    metrics.write(Exposition::Classic, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn assert_scraped(name: &str, expected: &[&str]) {
    let text = scraped(name);
    for line in expected {
        assert!(text.lines().any(|found| found == *line), "{line} is missing:\n{text}");
    }
}

#[test]
fn any_json_application_has_its_requests_errors_and_durations() {
    assert_scraped(
        "json-application",
        &[
            "# TYPE app_requests_total counter",
            "app_requests_total{method=\"GET\",status=\"ok\"} 1",
            "app_requests_total{method=\"POST\",status=\"ok\"} 1",
            "app_requests_total{method=\"POST\",status=\"failed\"} 1",
            "app_errors_total{stage=\"database\"} 1",
            "app_request_duration_seconds_bucket{le=\"0.25\",method=\"POST\"} 1",
            "app_request_duration_seconds_sum{method=\"GET\"} 0.0045000000000000009",
        ],
    );
}

#[test]
fn a_speech_to_text_service_has_its_durations_errors_cost_and_bytes() {
    assert_scraped(
        "speech-to-text",
        &[
            "# TYPE stt_transcription_duration_seconds histogram",
            "stt_transcription_duration_seconds_count{provider=\"local\"} 2",
            "stt_transcription_duration_seconds_bucket{le=\"2.0\",provider=\"local\"} 2",
            "stt_transcription_errors_total{error=\"timeout\",provider=\"local\"} 1",
            "stt_transcription_cost_total{provider=\"local\"} 0.75",
            "stt_audio_processed_bytes_total{provider=\"local\"} 128000.0",
        ],
    );
}

#[test]
fn a_chat_service_has_its_requests_errors_model_and_memory() {
    assert_scraped(
        "chat",
        &[
            "chat_requests_total{secure=\"true\",status=\"ok\"} 2",
            "chat_requests_total{secure=\"false\",status=\"error\"} 1",
            "chat_errors_total{stage=\"llm\"} 1",
            "llm_generate_seconds_count{} 1",
            "memory_operations_total{operation=\"recall\",status=\"ok\"} 1",
        ],
    );
}

#[test]
fn users_and_streams_are_counted() {
    assert_scraped(
        "user-events",
        &[
            "user_registrations_total{} 1",
            "user_logins_total{} 2",
            "streams_started_total{} 1",
            "stream_duration_seconds_bucket{le=\"3600.0\"} 1",
            "stream_duration_seconds_sum{} 1830.0",
        ],
    );
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_its_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("r.toml");
    fs::write(
        &rules,
        "[[rule]]\nmetric = \"voip_calls\"\ntype = \"gauge\"\nhelp = \"h\"\nvalue = \"v\"\n[[rule]]\nmetric = \"a\"\n\
         type = \"counter\"\nhelp = \"h\"\n[[rule]]\nmetric = \"b\"\ntype = \"gauge\"\nhelp = \"h\"\nbuckets = [1]\n\
         pattern = \"(\"\n",
    )
    .unwrap();
    let text = format!("[[tail]]\nname = \"app\"\npaths = \"app.log\"\nrules = {rules:?}\n");
    let problems = sidetone::config::read("s.toml", &text, &BTreeMap::new()).unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.place.rsplit('/').next().unwrap()).collect();
    for place in ["s.toml:3", "r.toml:2", "r.toml:7", "r.toml:14", "r.toml:15"] {
        assert!(places.contains(&place), "{place}: {problems:#?}");
    }
}

#[test]
fn each_rule_file_has_a_sample_log_and_is_tried_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |directory: &str, ending: &str| -> Vec<String> {
        let entries = fs::read_dir(root.join(directory)).unwrap().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(ending)?.to_owned()))
            .collect();
        names.sort();
        names
    };
    let tried = ["chat", "json-application", "speech-to-text", "user-events"];
    assert_eq!(names("packaging/tail", ".toml"), tried);
    assert_eq!(names("fixtures/tail", ".log"), tried);
}
