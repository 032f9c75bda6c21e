//! What a query names: not a parser (Prometheus has one), only enough of its grammar to find metrics and labels.

use std::collections::BTreeSet;

/// Metrics, each with the labels that stand in its braces, and labels of `by`, `on` and the like.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) selected: Vec<(String, BTreeSet<String>)>,
    pub(crate) grouped: BTreeSet<String>,
}

/// Of a query that parses.
pub(crate) fn names(query: &str) -> Names {
    let tokens = tokens(query);
    let mut names = Names::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1).map(String::as_str);
        at += 1;
        if GROUPING.contains(&token.as_str()) {
            if next == Some("(") {
                at += 1;
                while let Some(label) = tokens.get(at).filter(|token| *token != ")") {
                    names.grouped.extend(is_name(label).then(|| label.clone()));
                    at += 1;
                }
            }
        } else if is_name(token) && !WORDS.contains(&token.as_str()) && !next.is_some_and(opens) {
            let mut labels = BTreeSet::new();
            if next == Some("{") {
                at += 1;
                while let Some(label) = tokens.get(at).filter(|token| *token != "}") {
                    labels.extend(is_name(label).then(|| label.clone()));
                    at += 1;
                }
            }
            names.selected.push((token.clone(), labels));
        }
    }
    names
}

/// What stands behind the name of a function or of an aggregation.
fn opens(token: &str) -> bool {
    ["(", "by", "without"].contains(&token)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Names, numbers with their units, and single characters; strings and ranges are left out.
fn tokens(query: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            _ => rest
                .find(|c: char| !c.is_ascii_alphanumeric() && !"_:.".contains(c))
                .unwrap_or(rest.len())
                .max(1),
        };
        if !"\"'`[".contains(first) {
            tokens.push(rest[..length].to_owned());
        }
        rest = rest[length..].trim_start();
    }
    tokens
}

const GROUPING: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: &[&str] = &["and", "or", "unless", "offset", "bool"];

#[test]
fn metrics_and_labels_are_found() {
    let found = names(
        "sum by (le, codec) (rate(a_bucket{x=~\"b|c{d}\", y!=\"\"}[5m] offset 1h)) / on (job) group_left (z) b:c:d > 1e9 and f",
    );
    let selected: Vec<_> = found.selected.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(selected, ["a_bucket", "b:c:d", "f"]);
    assert!(found.selected[0].1.iter().eq(["x", "y"]), "{found:?}");
    assert!(found.grouped.iter().eq(["codec", "job", "le", "z"]), "{found:?}");
}
