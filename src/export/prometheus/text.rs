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
