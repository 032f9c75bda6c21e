//! OpenMetrics text to the classic text format 0.0.4.
//!
//! Classic names a counter family with its `_total`, knows neither `info` nor `UNIT`, and has no end marker.
//!
//! ```text
//! # HELP voip_sip_requests SIP requests.         # HELP voip_sip_requests_total SIP requests.
//! # TYPE voip_sip_requests counter          ->   # TYPE voip_sip_requests_total counter
//! voip_sip_requests_total{method="BYE"} 1        voip_sip_requests_total{method="BYE"} 1
//! # EOF
//! ```

use std::io::{self, Write};

/// The same text with the series of each family in the order of their labels: prometheus-client writes them as
/// its hash maps have them.
pub fn in_order(openmetrics: &str) -> String {
    let mut ordered = String::with_capacity(openmetrics.len());
    let mut series: Vec<&str> = Vec::new();
    for line in openmetrics.lines() {
        if line.starts_with('#') {
            flush(&mut series, &mut ordered);
            ordered.push_str(line);
            ordered.push('\n');
        } else {
            series.push(line);
        }
    }
    flush(&mut series, &mut ordered);
    ordered
}

/// The lines of one series stay as they are: sum, count and buckets, whose bounds rise.
fn flush(series: &mut Vec<&str>, ordered: &mut String) {
    series.sort_by_key(|line| labels(line));
    for line in series.drain(..) {
        ordered.push_str(line);
        ordered.push('\n');
    }
}

/// The labels of a sample, without the bound of a bucket, which stands first or alone.
fn labels(line: &str) -> &str {
    let labels =
        line.split_once('{').and_then(|(_, rest)| rest.split_once("} ")).map_or("", |(labels, _)| labels);
    match labels.strip_prefix("le=\"").and_then(|rest| rest.split_once('"')) {
        Some((_, rest)) => rest.trim_start_matches(','),
        None => labels,
    }
}

/// Writes the classic form of what prometheus-client encoded.
pub fn write_classic(openmetrics: &str, out: &mut impl Write) -> io::Result<()> {
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Whether the name gets a suffix is known only from the TYPE line that follows.
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            writeln!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
