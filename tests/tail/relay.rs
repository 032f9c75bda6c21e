//! Lines of other programs in the agent's own outputs, which `LOG_FILE`, `LOG_LEVEL` and `LOG_FORMAT` tell of.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use serde_json::Value;
use sidetone::config::{read, with_common};
use sidetone::{Stamp, log, tail};

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    with_common(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// What the agent's own log has after it has followed a log of three lines, with these variables.
fn relayed(directory: &Path, pairs: &[(&str, &str)]) -> Vec<Value> {
    let (theirs, own) = (directory.join("app.log"), directory.join("own.log"));
    fs::write(
        &theirs,
        "{\"level\":\"WARNING\",\"text\":\"call from +4930123456 at 192.0.2.7\"}\n{\"level\":\"info\"}\nno JSON \"at all\"\n",
    )
    .unwrap();
    let text = format!(
        "[[tail]]\nname = \"app\"\nfrom_start = true\nrelay = true\npaths = [\"{}\"]\nlabels = [\"site=north\"]\n",
        theirs.display()
    );
    let config = read("s.toml", &text, &variables(pairs)).unwrap();
    let opened = log::open(&config.agent.logs, || Stamp(1_795_258_486_000_000_000)).unwrap();
    let positions = directory.join("positions");
    let mut reader = tail::open(config.agent.tails, &positions, None, Arc::new(str::to_owned))
        .unwrap()
        .with_logs(opened.logs().clone());
    let running = opened.start(|_, body| thread::Builder::new().spawn(body)).unwrap();
    while reader.round(Stamp(1_795_258_486_000_000_000), true) {}
    assert!(running.finish());
    let text = fs::read_to_string(own).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_go_where_the_application_log_goes_with_their_labels() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("own.log");
    let lines = relayed(
        directory.path(),
        &[
            ("LOG_FILE", file.to_str().unwrap()),
            ("SIDETONE_LOGS_NUMBERS", "mask"),
            ("SIDETONE_LOGS_ADDRESSES", "drop"),
        ],
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    let schema = serde_json::from_str(include_str!("../../docs/logs.schema.json")).unwrap();
    for line in &lines {
        let wrong = crate::schema::violations(&schema, line, "line");
        assert!(wrong.is_empty(), "{wrong:?}: {line}");
        assert_eq!((&line["component"], &line["log"]), (&"tail".into(), &"application".into()));
        assert_eq!(
            (&line["metadata"]["tail"], &line["metadata"]["labels"]["site"]),
            (&"app".into(), &"north".into())
        );
        assert!(line["call_id"].is_null());
    }
    let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["warn", "info", "info"]);
    let said = lines[0]["message"].as_str().unwrap();
    assert!(
        said.contains("call from ") && !said.contains("4930123456") && !said.contains("192.0.2.7"),
        "{said}"
    );
    assert_eq!(lines[2]["message"], "no JSON \"at all\"");
}

#[test]
fn the_usual_variables_of_logs_are_honoured() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("own.log");
    let pairs = [("LOG_FILE", file.to_str().unwrap()), ("LOG_LEVEL", "WARNING"), ("LOG_FORMAT", "text")];
    let lines = relayed(directory.path(), &pairs);
    assert_eq!(lines.len(), 1, "a file has JSON, and only what matters so much: {lines:?}");
    let own =
        [("LOG_LEVEL", "error"), ("SIDETONE_LOGS_LEVEL", "debug"), ("LOG_FILE", file.to_str().unwrap())];
    fs::remove_file(&file).unwrap();
    fs::remove_file(directory.path().join("positions")).unwrap();
    assert_eq!(relayed(directory.path(), &own).len(), 3, "the own variable stands over the usual one");
}
