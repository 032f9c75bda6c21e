//! The alerts of packaging/prometheus: promtool's tests, a page for each, and all of them through a real Prometheus and a
//! real Alertmanager.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "alerts/history.rs"]
mod history;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[allow(dead_code, reason = "each test uses its own part")]
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use needs::has;
use prometheus::{Served, asked, prometheus};
use serde_json::Value;

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    if !has("promtool") {
        return;
    }
    let packaged = root("packaging/prometheus");
    let mut runs = Vec::new();
    for file in RULES {
        runs.push(promtool(&["check", "rules", &packaged.join(file).display().to_string()]));
    }
    runs.push(promtool(&["check", "config", &packaged.join("prometheus.yml").display().to_string()]));
    for file in tests() {
        runs.push(promtool(&["test", "rules", &file.display().to_string()]));
    }
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn each_alert_has_three_cases_and_a_page() {
    let cases: String = tests().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let overview = fs::read_to_string(root("docs/alerts.md")).unwrap();
    let rules = fs::read_to_string(root("packaging/prometheus/sidetone.alerts.yml")).unwrap();
    let alerts = alerts();
    for alert in &alerts {
        for case in
            [format!("{alert} fires"), format!("{alert} does not fire"), format!("{alert} at the border")]
        {
            assert!(cases.contains(&case), "tests/alerts has no case \"{case}\"");
        }
        let page = fs::read_to_string(root("docs/runbooks").join(format!("{alert}.md")));
        let page = page.unwrap_or_else(|error| panic!("docs/runbooks/{alert}.md: {error}"));
        for part in
            ["# ", "## How the number is made", "## First", "## Usual causes", "## What not to conclude"]
        {
            assert!(page.contains(part), "docs/runbooks/{alert}.md lacks \"{part}\"");
        }
        // Whoever is woken wants to know what to do, and what may wait.
        assert_eq!(page.contains("## Tonight"), is_critical(&rules, alert), "docs/runbooks/{alert}.md");
        assert!(
            overview.contains(&format!("[{alert}](runbooks/{alert}.md)")),
            "docs/alerts.md lacks {alert}"
        );
    }
    for page in fs::read_dir(root("docs/runbooks")).unwrap() {
        let page = page.unwrap().path();
        let name = page.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(alerts.contains(&name), "docs/runbooks/{name}.md is about no alert");
    }
}

#[test]
fn the_example_of_alertmanager_is_accepted() {
    if !has("amtool") {
        return;
    }
    let run = Command::new("amtool")
        .arg("check-config")
        .arg(root("packaging/prometheus/alertmanager.yml"))
        .output();
    let output = run.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What takes hours, by agents whose exposition was written while simulated calls were played to them; `alerts_live.rs`
/// has the rest. The rules are the shipped ones, but no alert need last: how long each must is shown by promtool's tests.
#[test]
fn simulated_hours_raise_what_they_deserve_and_well_ones_nothing() {
    if !has("promtool") || !has("prometheus") || !has("prometheus-alertmanager") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let samples = folder.path().join("history.om");
    history::write(&samples);
    let data = folder.path().join("data");
    let filled = promtool(&[
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        &samples.display().to_string(),
        &data.display().to_string(),
    ]);
    let output = filled.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    for file in RULES {
        let rules = fs::read_to_string(root("packaging/prometheus").join(file)).unwrap();
        let lines = rules.lines().filter(|line| !line.starts_with("    for: "));
        fs::write(folder.path().join(file), lines.fold(String::new(), |text, line| text + line + "\n"))
            .unwrap();
    }
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", root("packaging/prometheus/alertmanager.yml").display()))
        .arg(format!("--storage.path={}", folder.path().join("alertmanager").display()))
        .arg("--cluster.listen-address=");
    let alertmanager = Served::start(&mut command, "--web.listen-address");
    let server = prometheus(
        folder.path(),
        &format!(
            "global: {{evaluation_interval: 1s}}\nrule_files: [sidetone.rules.yml, sidetone.alerts.yml]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n",
            alertmanager.address
        ),
    );

    let deserved: BTreeSet<(String, String)> = history::agents()
        .iter()
        .filter_map(|agent| Some((agent.name.to_owned(), agent.deserves?.to_owned())))
        .collect();
    let raised = || {
        let alerts = alertmanager.json("/api/v2/alerts").unwrap_or_default();
        let alerts = alerts.as_array().cloned().unwrap_or_default();
        let named = alerts.iter().map(|alert| (label(alert, "instance"), label(alert, "alertname")));
        named.collect::<BTreeSet<_>>()
    };
    let all = patience::within(120, || raised() == deserved);
    assert!(all, "{:?}\n{}", raised(), server.get("/api/v1/alerts").unwrap_or_default());
    // The rules had something to look at.
    let seen = asked(&server, "sum(trunk:sip_setups:increase5m{instance=\"well\"}) > 20").unwrap();
    assert!(!seen.is_empty());
}

fn is_critical(rules: &str, alert: &str) -> bool {
    let rule = rules.split("- alert: ").find(|rule| rule.lines().next() == Some(alert)).unwrap();
    rule.contains("severity: critical")
}

fn label(alert: &Value, name: &str) -> String {
    alert["labels"][name].as_str().unwrap_or_default().to_owned()
}

fn alerts() -> BTreeSet<String> {
    let rules = fs::read_to_string(root("packaging/prometheus/sidetone.alerts.yml")).unwrap();
    let names: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    assert!(names.len() > 20);
    names
}

fn tests() -> Vec<PathBuf> {
    let files = fs::read_dir(root("tests/alerts")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yml")).collect()
}

fn promtool(args: &[&str]) -> Child {
    Command::new("promtool").args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const RULES: &[&str] = &["sidetone.rules.yml", "sidetone.alerts.yml"];
