//! The catalogue of all metrics as Markdown: the output of `sidetone metrics`, and docs/metrics.md.

use std::fmt::Write;

/// One declared family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name as scraped.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
    /// What it means, without the final full stop.
    pub help: &'static str,
}

impl Entry {
    /// Unit of the values, as the name says it.
    pub fn unit(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        for (suffix, unit) in [
            ("_seconds", "seconds"),
            ("_bytes", "bytes"),
            ("_ratio", "ratio"),
            ("_ppm", "ppm"),
            ("_info", "1"),
        ] {
            if name.ends_with(suffix) {
                return unit;
            }
        }
        match self.kind {
            "histogram" | "gauge" if name.contains("_mos") => "MOS",
            "histogram" => "R",
            _ => "count",
        }
    }
}

/// Renders the catalogue.
pub fn markdown(entries: &[Entry]) -> String {
    let mut page = String::from(HEAD);
    for entry in entries {
        let labels: Vec<_> = entry.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {labels} | {} | {}. |",
            entry.name,
            entry.kind,
            entry.unit(),
            entry.help
        );
    }
    page
}

const HEAD: &str = "\
# Metrics

Output of `sidetone metrics`; a test keeps the two equal. Base units throughout: seconds, bytes, ratios 0 to 1.
A family has no series before its first value. A number that cannot be measured is absent, never 0.
Ratios over a lifetime are not exported: divide the counters over a range.

| name | type | labels | unit | meaning |
|---|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use crate::export::prometheus::Metrics;

    use super::*;

    #[test]
    fn the_documented_catalogue_is_the_one_declared() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let documented = std::fs::read_to_string(path).unwrap_or_default();
        let declared = markdown(Metrics::new().catalogue());
        assert_eq!(documented, declared, "run: sidetone metrics > docs/metrics.md");
    }
}
