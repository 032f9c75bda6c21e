//! What Prometheus would have kept of some agents until now, in OpenMetrics, for `promtool tsdb create-blocks-from`.

#![allow(clippy::disallowed_types, reason = "history ends now")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sidetone::export::prometheus::{AgentStats, Exposition, Metrics, SourceStats};
use sidetone::observer::{Observer, Settings};
use sidetone::simulate::{Outcome, Plan, Traffic};
use sidetone::stamp::Stamp;

/// Plays good calls.
pub(crate) const WELL: &str = "well";
/// Plays bad calls.
pub(crate) const ILL: &str = "ill";
/// Has series that are made up.
const MADE_UP: &str = "made up";

/// Writes it all.
pub(crate) fn write(to: &Path) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut text = String::new();
    let good = Plan { registrations: CALLS, ..plan(now) };
    played(&mut text, WELL, now, good.clone());
    let outcomes = vec![Outcome::Answered, Outcome::Answered, Outcome::Timeout];
    played(&mut text, ILL, now, Plan { loss: 12.0, outcomes, mix: 60.0, seed: 2, ..good });
    made_up(&mut text, now);
    text.push_str("# EOF\n");
    fs::write(to, text).unwrap();
}

fn plan(now: i64) -> Plan {
    Plan { calls: CALLS, rate: 0.2, duration: 20.0, start: stamp(now - PLAYED), ..Plan::default() }
}

fn stamp(seconds: i64) -> Stamp {
    Stamp(seconds as u64 * 1_000_000_000)
}

/// What an agent serves every 15 s while calls are played to it.
fn played(text: &mut String, instance: &str, now: i64, plan: Plan) {
    let started = plan.start;
    let mut traffic = Traffic::new(plan).unwrap();
    let mut observer = Observer::new(Settings::default());
    let mut metrics = Metrics::new();
    let mut at = now - PLAYED;
    while at < now {
        at += STEP;
        while traffic.due().is_some_and(|due| due <= stamp(at)) {
            let Some(frame) = traffic.next_frame() else { break };
            observer.packets(&[frame], &mut metrics);
        }
        metrics.live(&observer.live());
        metrics.agent(&AgentStats {
            sources: vec![SourceStats { interface: "eth0".into(), up: Some(true), ..SourceStats::default() }],
            started: Some(started),
            ..AgentStats::default()
        });
        let mut body = Vec::new();
        metrics.write(Exposition::Classic, &mut body).unwrap();
        writeln!(text, "up{{job=\"sidetone\",instance=\"{instance}\"}} 1 {at}").unwrap();
        for line in String::from_utf8(body).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let comma = if labels == "}" { "" } else { "," };
            writeln!(text, "{name}{{job=\"sidetone\",instance=\"{instance}\"{comma}{labels} {value} {at}")
                .unwrap();
        }
    }
}

/// One series for each thing that can be wrong and that no call shows: what it was `from` and how much it rose a second.
fn made_up(text: &mut String, now: i64) {
    let mut series = |of: &str, hours: f64, from: f64, rises: f64| {
        let (name, labels) = of.split_once('{').unwrap_or((of, "}"));
        let first = now - (hours * 3600.0) as i64;
        let comma = if labels == "}" { "" } else { "," };
        for at in (first..=now).step_by(30) {
            let value = from + rises * (at - first) as f64;
            writeln!(text, "{name}{{job=\"sidetone\",instance=\"{MADE_UP}\"{comma}{labels} {value} {at}")
                .unwrap();
        }
    };
    series("sidetone_start_time_seconds", 2.0, 1e9, 0.0);
    for (of, rises) in [
        (
            "voip_sip_attempt_results_total{tenant=\"\",route=\"\",trunk=\"\",result=\"answered\",code=\"200\"}",
            1.0,
        ),
        ("voip_sip_post_dial_delay_seconds_bucket{tenant=\"\",route=\"\",trunk=\"\",le=\"6.0\"}", 0.5),
        ("voip_sip_post_dial_delay_seconds_bucket{tenant=\"\",route=\"\",trunk=\"\",le=\"+Inf\"}", 1.0),
        ("voip_calls_ended_total{reason=\"bye\"}", 0.5),
        ("voip_calls_ended_total{reason=\"rtp_timeout\"}", 0.5),
        ("voip_calls_oneway_total{missing=\"to_caller\"}", 0.5),
        ("voip_sip_registrations_total{result=\"abandoned\"}", 2.0),
        ("voip_rtp_packets_total{codec=\"PCMU\",direction=\"to_caller\"}", 500.0),
        ("voip_rtp_packets_total{codec=\"PCMU\",direction=\"to_callee\"}", 5.0),
        ("sidetone_capture_packets_total", 1000.0),
        ("sidetone_undecoded_total", 50.0),
        ("sidetone_http_requests_total{path=\"/metrics\",method=\"GET\",status=\"500\"}", 1.0),
    ] {
        series(of, 0.5, 0.0, rises);
    }
    for (of, value) in [
        ("voip_trunk_calls_active{trunk=\"carrier\",direction=\"out\"}", 30.0),
        ("voip_trunk_capacity_calls{trunk=\"carrier\",direction=\"out\"}", 30.0),
        ("rtp_ports_allocated", 900.0),
        ("rtp_ports_configured", 1000.0),
        ("sidetone_interface_up{interface=\"eth1\"}", 0.0),
        ("sidetone_hep_connected{peer=\"homer:9060\"}", 0.0),
        ("sidetone_loki_up", 0.0),
        ("sidetone_loki_waiting_lines", 7.0),
        ("sidetone_otlp_up", 0.0),
        ("voip_process_memory_budget_bytes{process=\"kamailio\"}", 1e9),
        ("voip_process_fragmentation_ratio{process=\"kamailio\",source=\"glibc\"}", 0.7),
    ] {
        series(of, 0.5, value, 0.0);
    }
    series("voip_process_resident_memory_bytes{process=\"kamailio\"}", 8.0, 5e8, 2e4);
    // Half of the phones are gone for ten minutes.
    let mut other = |instance: &str, of: &str, value: &dyn Fn(i64) -> f64| {
        let (name, labels) = of.split_once('{').unwrap_or((of, "}"));
        let comma = if labels == "}" { "" } else { "," };
        for ago in (0..=7200).rev().step_by(30) {
            let at = now - ago;
            writeln!(
                text,
                "{name}{{job=\"sidetone\",instance=\"{instance}\"{comma}{labels} {} {at}",
                value(ago)
            )
            .unwrap();
        }
    };
    other("lost phones", "sidetone_start_time_seconds", &|_| 1e9);
    other("lost phones", "voip_sip_registrations_active", &|ago| if ago > 600 { 100.0 } else { 50.0 });
    other("cut log", "sidetone_audit_sequence", &|ago| if ago > 600 { 100.0 } else { 7.0 });
    other("dead", "up", &|ago| f64::from(ago > 600));
    other("blind", "sidetone_capture_packets_total", &|ago| (7200 - ago.max(600)) as f64 * 10.0);
    // What silences alerts about calls is on an agent of its own.
    other("leaky", "sidetone_capture_drops_total{interface=\"eth0\"}", &|ago| -ago as f64 + 7200.0);
    other("leaky", "sidetone_events_lost_total", &|ago| 7200.0 - ago as f64);
    other("leaky", "sidetone_table_evictions_total{table=\"calls\"}", &|ago| 7200.0 - ago as f64);
    other("leaky", "sidetone_metrics_overflow_total{family=\"voip_sip_attempts\"}", &|ago| {
        7200.0 - ago as f64
    });
}

/// Seconds of calls, and between two scrapes.
const PLAYED: i64 = 360;
const STEP: i64 = 15;
const CALLS: u32 = 200;
