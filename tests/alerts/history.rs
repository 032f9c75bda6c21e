//! What Prometheus would have kept of some agents until now, in OpenMetrics, for `promtool tsdb create-blocks-from`: all
//! that they would have served while simulated hours of calls passed them.

#![allow(clippy::disallowed_types, reason = "history ends now")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sidetone::export::prometheus::{AgentStats, Exposition, Metrics, SourceStats};
use sidetone::observer::{Observer, Settings};
use sidetone::simulate::{Plan, Traffic};
use sidetone::stamp::Stamp;

/// An agent, what passed it, and what it raises.
pub(crate) struct Played {
    pub(crate) name: &'static str,
    pub(crate) deserves: Option<&'static str>,
    /// Of simulated time until now.
    seconds: i64,
    /// Between two scrapes.
    step: i64,
    plan: Plan,
    /// Whether a frame reaches the tap.
    passes: fn(&[u8]) -> bool,
}

/// All agents.
pub(crate) fn agents() -> [Played; 4] {
    let calls = Plan { calls: 200, rate: 0.2, duration: 20.0, ..Plan::default() };
    let any = |_: &[u8]| true;
    [
        Played {
            name: "well",
            deserves: None,
            seconds: 1200,
            step: 15,
            plan: Plan { calls: 240, registrations: 240, mix: 0.0, ..calls.clone() },
            passes: any,
        },
        // Media end, and nobody says that the call does.
        Played {
            name: "no end",
            deserves: Some("CallsEndWithoutBye"),
            seconds: 480,
            step: 15,
            plan: calls.clone(),
            passes: |frame| !frame.get(42..).is_some_and(|payload| payload.starts_with(b"BYE")),
        },
        // Phones register for an hour at a time, within 55 minutes, and then not again.
        Played {
            name: "lost phones",
            deserves: Some("RegistrationDrop"),
            seconds: 7200,
            step: 60,
            plan: Plan { calls: 0, registrations: 200, rate: 200.0 / 3300.0, ..calls.clone() },
            passes: any,
        },
        // Calls for 20 minutes, and nothing for a quarter of an hour.
        Played {
            name: "blind",
            deserves: Some("AgentBlind"),
            seconds: 2100,
            step: 60,
            plan: Plan { calls: 20, rate: 20.0 / 1100.0, duration: 10.0, ..calls },
            passes: any,
        },
    ]
}

/// Writes it all.
pub(crate) fn write(to: &Path) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut text = String::new();
    for agent in agents() {
        agent.play(&mut text, now);
    }
    text.push_str("# EOF\n");
    fs::write(to, text).unwrap();
}

impl Played {
    fn play(self, text: &mut String, now: i64) {
        let Self { name, seconds, step, plan, passes, .. } = self;
        let started = stamp(now - seconds);
        let mut traffic = Traffic::new(Plan { start: started, ..plan }).unwrap();
        let mut observer = Observer::new(Settings::default());
        let mut metrics = Metrics::new();
        let mut at = now - seconds;
        while at < now {
            at += step;
            while traffic.due().is_some_and(|due| due <= stamp(at)) {
                let Some(frame) = traffic.next_frame() else { break };
                if passes(frame.bytes) {
                    observer.packets(&[frame], &mut metrics);
                }
            }
            observer.tick(stamp(at), &mut metrics);
            metrics.live(&observer.live());
            metrics.agent(&AgentStats {
                sources: vec![SourceStats {
                    interface: "eth0".into(),
                    up: Some(true),
                    ..SourceStats::default()
                }],
                started: Some(started),
                ..AgentStats::default()
            });
            let mut body = Vec::new();
            metrics.write(Exposition::Classic, &mut body).unwrap();
            let instance = format!("job=\"sidetone\",instance=\"{name}\"");
            writeln!(text, "up{{{instance}}} 1 {at}").unwrap();
            for line in String::from_utf8(body).unwrap().lines().filter(|line| !line.starts_with('#')) {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (family, labels) = series.split_once('{').unwrap_or((series, "}"));
                let comma = if labels == "}" { "" } else { "," };
                writeln!(text, "{family}{{{instance}{comma}{labels} {value} {at}").unwrap();
            }
        }
    }
}

fn stamp(seconds: i64) -> Stamp {
    Stamp(seconds as u64 * 1_000_000_000)
}
