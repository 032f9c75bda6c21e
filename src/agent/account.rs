//! What the agent tells of itself: in the audit who did what to it, in the application log what it has to say.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::clock::now;
use super::{Settings, sandbox};
use crate::config::effective::{Change, Taken};
use crate::http::Access;
use crate::log::privacy::Personal;
use crate::log::{Level, Line, Logs, Stream};

/// It runs: what it captures on, and what it may still do.
pub(super) fn started(logs: &Logs, settings: &Settings, sandbox: &sandbox::Report) {
    audit(logs, Level::Info, "agent", "agent started", |mut line| {
        line.word("version", env!("CARGO_PKG_VERSION")).count("pid", std::process::id().into());
        line.traced(None)
    });
    audit(logs, Level::Info, "sandbox", "rights given up", |mut line| {
        line.json("left", &sandbox.detail());
        line.traced(None)
    });
    audit(logs, Level::Info, "capture", "capture started", |mut line| {
        line.json("interfaces", &settings.capture.interfaces);
        line.json("source", &settings.capture.kind);
        line.traced(None)
    });
}

/// It ends as it should.
pub(super) fn stopped(logs: &Logs) {
    audit(logs, Level::Info, "agent", "agent stopped", |line| line.traced(None));
}

/// Another configuration is in force.
pub(super) fn reloaded(logs: &Logs, changes: &[Change]) {
    let told = |change: &Change| {
        let taken = if change.taken == Taken::Now { "now" } else { "restart" };
        json!({ "key": change.key, "old": change.old, "new": change.new, "taken": taken })
    };
    audit(logs, Level::Info, "agent", "configuration reloaded", |mut line| {
        line.count("changed", changes.len() as u64);
        // As many as have room in a line; the count above is of all.
        let mut room = ROOM;
        let mut shown: Vec<Value> = Vec::new();
        for change in changes.iter().map(told) {
            let size = change.to_string().len();
            if size > room {
                break;
            }
            room -= size;
            shown.push(change);
        }
        line.json("changes", &shown);
        line.traced(None)
    });
}

/// Another configuration is not in force.
pub(super) fn reload_refused(logs: &Logs, reasons: &[String]) {
    audit(logs, Level::Warn, "agent", "configuration refused", |mut line| {
        line.list("reasons", reasons.iter().map(|reason| Personal::text(reason)));
        line.traced(None)
    });
}

/// Somebody asked for call data.
pub(super) fn accessed(logs: &Logs, access: &Access<'_>) {
    let message = if access.status == 401 { "access to call data refused" } else { "call data read" };
    let level = if access.status == 401 { Level::Warn } else { Level::Info };
    if logs.wants(Stream::Audit, level, "http") {
        let mut line = Line::new(Stream::Audit, level, logs.now(now()), "http", message, access.call_id);
        line.personal("client", Personal::ip(access.client));
        if let Some(user) = &access.user {
            line.personal("user", Personal::user(user));
        }
        line.word("path", access.path).count("status", access.status.into());
        logs.tell(line.requested(access.request_id));
    }
}

/// A word of the agent's own: for people on standard error, unless its lines go there, and in the application log.
pub(super) fn say(logs: &Logs, level: Level, what: &str) {
    if !logs.is_on_stderr() {
        // Nobody is left to be told when standard error is closed.
        let _ = writeln!(io::stderr(), "sidetone: {what}");
    }
    if logs.wants(Stream::Application, level, "agent") {
        let at = logs.now(now());
        let line = Line::saying(Stream::Application, level, at, "agent", "agent", Personal::text(what));
        logs.tell(line.traced(None));
    }
}

fn audit(
    logs: &Logs,
    level: Level,
    component: &'static str,
    message: &'static str,
    fill: impl FnOnce(Line) -> Line,
) {
    if logs.wants(Stream::Audit, level, component) {
        logs.tell(fill(Line::new(Stream::Audit, level, logs.now(now()), component, message, None)));
    }
}

/// Bytes of a difference that are shown.
const ROOM: usize = 12 << 10;
