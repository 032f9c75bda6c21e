//! Metrics and labels that may stand in a query: those of `sidetone metrics`, of recording rules, and of Prometheus itself.

use std::collections::{BTreeMap, BTreeSet};

use sidetone::export::prometheus::Metrics;

use crate::promql::names;

/// Labels by name.
pub(crate) struct Catalogue(BTreeMap<String, BTreeSet<String>>);

impl Catalogue {
    /// What is served, and the recording rules (name and query) made of it, in order.
    pub(crate) fn new<'a>(rules: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut known = BTreeMap::new();
        for entry in Metrics::new().catalogue() {
            let labels: BTreeSet<String> =
                entry.labels.iter().chain(OF_PROMETHEUS).map(|&label| label.to_owned()).collect();
            let names: &[&str] =
                if entry.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            for suffix in names {
                let le = (*suffix == "_bucket").then(|| "le".to_owned());
                known.insert(format!("{}{suffix}", entry.name), labels.iter().cloned().chain(le).collect());
            }
        }
        let own = OF_PROMETHEUS.iter().map(|&label| label.to_owned()).collect::<BTreeSet<_>>();
        known.insert("up".into(), own.clone());
        known.insert("ALERTS".into(), own.into_iter().chain(["alertstate".to_owned()]).collect());
        let mut catalogue = Self(known);
        for (name, query) in rules {
            let labels = names(query)
                .selected
                .iter()
                .filter_map(|(of, _)| catalogue.0.get(of).cloned())
                .flatten()
                .collect();
            catalogue.0.insert(name.to_owned(), labels);
        }
        catalogue
    }

    /// What a query names that is not in it.
    pub(crate) fn unknown(&self, query: &str) -> Vec<String> {
        let names = names(query);
        let mut unknown = Vec::new();
        let mut all = BTreeSet::new();
        for (metric, labels) in &names.selected {
            let Some(known) = self.0.get(metric) else {
                unknown.push(metric.clone());
                continue;
            };
            unknown.extend(labels.difference(known).map(|label| format!("{metric}{{{label}}}")));
            all.extend(known);
        }
        if unknown.is_empty() {
            let strange = names.grouped.iter().filter(|label| !all.contains(label));
            unknown.extend(strange.map(|label| format!("by or on {label}")));
        }
        unknown
    }
}

const OF_PROMETHEUS: &[&str] = &["job", "instance"];
