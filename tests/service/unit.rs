//! The unit and the configuration file that packages install.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use sidetone::config::{Config, effective, read};

use crate::needs::has;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_unit_is_sound_and_hardened() {
    if !has("systemd-analyze") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("sidetone.service");
    // What it starts has to be there.
    let there = text("systemd/sidetone.service").replace("/usr/bin/sidetone", env!("CARGO_BIN_EXE_sidetone"));
    fs::write(&unit, there).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    // It exits 0 even for misspelt keys.
    assert_eq!(analyze(&["verify"]), (true, String::new(), String::new()));
    // Tenths of the score: 1.5.
    let (held, score, error) = analyze(&["security", "--offline=true", "--threshold=15"]);
    assert!(held, "{score}{error}");
}

#[test]
fn the_unit_gives_what_is_needed_and_no_more() {
    let unit = text("systemd/sidetone.service");
    for line in [
        "AmbientCapabilities=CAP_NET_RAW",
        "CapabilityBoundingSet=CAP_NET_RAW",
        "Type=notify",
        "RestartPreventExitStatus=64 77",
        "ExecReload=/usr/bin/kill -HUP $MAINPID",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    assert!(text("systemd/sidetone.sysusers").lines().any(|line| line.starts_with("u sidetone - ")));
}

#[test]
fn the_default_file_has_every_key_with_its_default() {
    let given = text("packaging/sidetone.toml");
    let none = BTreeMap::new();
    let plain = read("sidetone.toml", &given, &none).unwrap();
    assert_eq!(effective::difference(&Config::default(), &plain), [], "it sets nothing");
    let all: String = given
        .lines()
        // `#key = value` is a setting, `# text` is not.
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    // Where a package puts them.
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/tail/");
    let all = all.replace("/usr/share/sidetone/tail/", rules);
    let set = read("sidetone.toml", &all, &none).unwrap_or_else(|problems| panic!("{problems:?}"));
    let changes = effective::difference(&Config::default(), &set);
    let others: Vec<_> = changes.iter().map(|change| change.key).collect();
    assert_eq!(others, WITHOUT_DEFAULT, "these alone show an example");

    let page = text("docs/configuration.md");
    let mut section = "";
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("### `") {
            section = heading.split(['`', '"']).next().unwrap();
            assert!(all.contains(section), "{section} is missing");
        }
        let Some(key) = line.strip_prefix("| `").and_then(|row| row.split('`').next()) else { continue };
        let mut parts = all.split(section).skip(1);
        let there = parts.any(|part| {
            let part = part.split("\n[").next().unwrap();
            part.lines().any(|line| line.starts_with(&format!("{key} = ")))
        });
        assert!(there, "{key} of {section} is missing");
    }
}

const WITHOUT_DEFAULT: [&str; 39] = [
    "capture.filter",
    "hep.listen",
    "hep.key",
    "hep.send",
    "hep.send_key",
    "hep.node",
    "loki.url",
    "loki.tenant",
    "loki.user",
    "loki.password_file",
    "loki.bearer_file",
    "loki.ca",
    "loki.labels",
    "loki.spool",
    "tail",
    "metrics.aliases",
    "trunks",
    "processes",
    "otlp.endpoint",
    "otlp.protocol",
    "otlp.headers",
    "otlp.certificate",
    "otlp.client_certificate",
    "otlp.client_key",
    "otlp.vantage",
    "http.web_config",
    "logs.directory",
    "logs.file",
    "logs.application",
    "logs.audit",
    "logs.diagnostics",
    "logs.components",
    "logs.hash_key",
    "logs.audit_key",
    "quality.assumed_owd_ms",
    "quality.codecs",
    "sip.correlation_headers",
    "tenants",
    "routes",
];
