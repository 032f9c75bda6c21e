//! What the documents say and show is so. `make docs` writes anew what they quote of the program.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_readme_shows_a_real_report() {
    let report = sidetone(&["analyze", "--top", "4", "fixtures/scenes/mixed.pcap"]);
    let readme = fs::read_to_string(root("README.md")).unwrap();
    let (before, rest) = readme.split_once(REPORT).expect("README.md shows a report");
    let (_, after) = rest.split_once("```\n").expect("the report ends");
    keep("README.md", &format!("{before}{REPORT}{report}```\n{after}"));
}

#[test]
fn the_catalogue_is_the_documented_one() {
    keep("docs/metrics.md", &sidetone(&["metrics"]));
}

#[test]
fn the_worked_examples_are_those_of_the_fixture() {
    let report = sidetone(&["analyze", "--format", "json", "fixtures/scenes/mixed.pcap"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let page = fs::read_to_string(root("docs/measurement.md")).unwrap();
    let of = |list: &str, key: &str, value: &str| {
        report[list]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry[key].as_str() == Some(value))
            .unwrap()
            .clone()
    };
    let (lossy, late) = (of("streams", "id", "s6"), of("streams", "id", "s8"));
    let challenged =
        report["calls"].as_array().unwrap().iter().find(|call| call["challenged"] == true).unwrap();
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    for said in [
        format!(
            "{} packets arrived of {} expected, {} are",
            lossy["packets"], lossy["expected"], lossy["lost"]
        ),
        format!("`loss_ratio` is {:.4}", number(&lossy["loss_ratio"])),
        format!(
            "= {:.2}. The longest run (`longest_loss`) is {}",
            number(&lossy["burst_ratio"]),
            lossy["longest_loss"]
        ),
        format!("R = {:.2}, MOS-LQ = {:.2}", number(&lossy["r_factor"]), number(&lossy["mos"]["lq"])),
        format!("`jitter.mean` is {:.1} ms", number(&late["jitter"]["mean"]) * 1e3),
        format!("`pdv_p95` is {:.1} ms", number(&late["pdv_p95"]) * 1e3),
        format!(
            "of {} packets, `fixed50` is {}, `fixed200` {}, `adaptive` {}",
            late["packets"],
            late["discarded"]["fixed50"],
            late["discarded"]["fixed200"],
            late["discarded"]["adaptive"]
        ),
        format!("(`first_response` {:.3})", number(&challenged["first_response"])),
        format!("(`auth` {:.3})", number(&challenged["auth"])),
        format!("(`post_dial_delay` {:.3})", number(&challenged["post_dial_delay"])),
    ] {
        assert!(page.contains(&said), "docs/measurement.md does not say: {said}");
    }
}

#[test]
fn every_link_leads_to_a_file() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                assert!(document.with_file_name(path).exists(), "{}: {link}", document.display());
            }
        }
    }
}

/// The third column of the tables in `docs/rfc.md` names tests, the second the files that do the work.
#[test]
fn every_standard_has_the_files_and_tests_it_is_said_to_have() {
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        read_all(&root(folder), &mut sources);
    }
    let text = fs::read_to_string(root("docs/rfc.md")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    assert!(rows.len() > 20);
    for row in rows.iter().filter(|row| !row[0].starts_with("---") && row[0] != "standard") {
        for file in quoted(row[1]) {
            assert!(root(file).exists(), "{file}");
        }
        let tests = quoted(row[2]);
        assert!(!tests.is_empty(), "{} has no test", row[0]);
        for test in tests {
            let head = format!("fn {test}(");
            assert!(sources.iter().any(|source| source.contains(&head)), "{test} of {}", row[0]);
        }
    }
}

/// Compares a document with what it should be, or writes it.
fn keep(document: &str, fresh: &str) {
    let path = root(document);
    if std::env::var_os("SIDETONE_WRITE_DOCS").is_some() {
        fs::write(path, fresh).unwrap();
    } else {
        let kept = fs::read_to_string(path).unwrap();
        for (number, (kept, fresh)) in kept.lines().zip(fresh.lines()).enumerate() {
            assert_eq!(kept, fresh, "{document}:{} is out of date: make docs", number + 1);
        }
        assert_eq!(kept.len(), fresh.len(), "{document} is out of date: make docs");
    }
}

fn sidetone(args: &[&str]) -> String {
    let mut run = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    let output = run.args(args).current_dir(root(".")).env("LC_ALL", "C.UTF-8").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [".", "docs", "docs/adr", "docs/runbooks", "fixtures/scenes"] {
        let files = fs::read_dir(root(folder)).unwrap().map(|entry| entry.unwrap().path());
        found.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    assert!(found.len() > 10);
    found
}

fn read_all(folder: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(path).unwrap());
        }
    }
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const REPORT: &str = "```text\n$ sidetone analyze --top 4 fixtures/scenes/mixed.pcap\n";
