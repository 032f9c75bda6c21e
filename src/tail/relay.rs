//! What becomes of the lines of one tail: metrics by its rules, and entries for Loki.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::follow::{Source, Take};
use super::json::{Field, Object};
use super::metric::Families;
use super::positions::{Entry, Positions};
use super::rule::{Outcome, Read};
use super::{COMPONENT, Format, Settings};
use crate::Stamp;
use crate::export::loki::spool::Kept;
use crate::export::loki::{self, Outlet};
use crate::log::privacy::Personal;
use crate::log::{Level, Line, Logs, Stream};

/// What a line of another program looks like once it leaves the host.
pub type Shown = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Lines that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// No JSON, where it should be.
    pub(super) unparsed: u64,
    /// Of a rule, but without a value that counts.
    pub(super) without_value: u64,
    /// Counted by a rule.
    pub(super) counted: u64,
    /// Positions that could not be written.
    pub(super) unsaved: u64,
}

/// Where the lines of one tail go.
pub(super) struct Relay<'a> {
    pub(super) settings: &'a Settings,
    pub(super) families: &'a Families,
    pub(super) outlet: Option<&'a Outlet>,
    /// Where lines go beside that.
    pub(super) relayed: Option<&'a Logs>,
    pub(super) shown: &'a Shown,
    pub(super) positions: &'a mut Positions,
    pub(super) seen: &'a mut Seen,
    /// When the last line was read: each next one is later.
    pub(super) last: &'a mut Stamp,
    pub(super) now: Stamp,
    /// A line without time and text for each level that was met.
    pub(super) bare: Vec<(Option<&'static str>, Kept)>,
}

impl Take for Relay<'_> {
    fn take(&mut self, lines: &[&[u8]], source: &Source<'_>) {
        let mut kept = Vec::new();
        for line in lines {
            self.line(&String::from_utf8_lossy(line), &mut kept);
        }
        let serial = self.positions.next();
        let entry = Entry {
            tail: self.settings.name.clone(),
            id: source.id,
            offset: source.offset,
            serial,
            skips: source.skips,
            copy_of: source.copy_of,
            print: source.print.clone(),
            gone: source.gone,
        };
        if let Some(outlet) = self.outlet
            && !kept.is_empty()
        {
            let mark = serde_json::to_vec(&entry).unwrap_or_default();
            outlet.put(&kept, Some(&mark));
        }
        if self.positions.save(entry).is_err() {
            self.seen.unsaved += 1;
        }
    }
}

impl Relay<'_> {
    fn line(&mut self, text: &str, kept: &mut Vec<Kept>) {
        let settings = self.settings;
        let is_needed = !settings.rules.is_empty() || self.outlet.is_some() || self.relayed.is_some();
        let json = (is_needed && settings.format == Format::Json).then(|| Object::read(text)).flatten();
        if is_needed && settings.format == Format::Json && json.is_none() {
            self.seen.unparsed += 1;
        }
        let read = Read { text, json: json.as_ref() };
        for rule in &settings.rules {
            match rule.take(&read, self.families) {
                Outcome::Taken => self.seen.counted += 1,
                Outcome::NoValue => self.seen.without_value += 1,
                Outcome::Other => {}
            }
        }
        let level = json.as_ref().and_then(level_of);
        if let Some(logs) = self.relayed {
            self.relay(logs, text, level.unwrap_or_default());
        }
        let Some(outlet) = self.outlet else { return };
        let own = settings.timestamp.as_ref().and_then(|field| time_of(json.as_ref()?.get(field)?));
        let nanos = own.unwrap_or_else(|| {
            // Equal times would leave the order of lines to the server.
            *self.last = Stamp(self.now.0.max(self.last.0 + 1));
            *self.last
        });
        let level = level.map(Level::name);
        // Labels are the same for all lines of a level.
        let known = self.bare.iter().position(|(known, _)| *known == level);
        let at = known.unwrap_or_else(|| {
            let (stream, labels) = (settings.name.as_str(), settings.labels.as_slice());
            let line = loki::Line { stream, nanos: 0, level, labels, text: "" };
            self.bare.push((level, outlet.kept(&line, [])));
            self.bare.len() - 1
        });
        let Some(mut bare) = self.bare.get(at).map(|(_, bare)| bare.clone()) else { return };
        (bare.nanos, bare.line) = (nanos.0, (self.shown)(text));
        kept.push(bare);
    }

    /// As a line of the agent's own that says what that line said; each output treats what is personal in it.
    fn relay(&self, logs: &Logs, text: &str, level: Level) {
        let stream = Stream::Application;
        if !logs.wants(stream, level, COMPONENT) {
            return;
        }
        let mut line =
            Line::saying(stream, level, logs.now(self.now), COMPONENT, COMPONENT, Personal::text(text));
        line.label("tail", &self.settings.name);
        if !self.settings.labels.is_empty() {
            line.json("labels", &self.settings.labels.iter().cloned().collect::<BTreeMap<_, _>>());
        }
        logs.relay(line.traced(None));
    }
}

/// The levels of the agent's own lines: a closed set, whatever a program calls them.
fn level_of(json: &Object<'_>) -> Option<Level> {
    match ["level", "severity", "lvl", "levelname"].iter().find_map(|name| json.get(name))? {
        Field::Text(level) => level.parse().ok(),
        _ => None,
    }
}

/// RFC 3339, or seconds, milliseconds, microseconds or nanoseconds since the epoch: which of them is told by the size.
fn time_of(field: &Field<'_>) -> Option<Stamp> {
    match field {
        Field::Number(number) => {
            let number = number.as_f64().filter(|number| *number > 0.0)?;
            let scale = match number {
                ..1e11 => 1e9,
                ..1e14 => 1e6,
                ..1e17 => 1e3,
                _ => 1.0,
            };
            Some(Stamp((number * scale) as u64))
        }
        Field::Text(text) => rfc_3339(text),
        _ => None,
    }
}

/// `2026-11-21T10:54:46.123+01:00`
fn rfc_3339(text: &str) -> Option<Stamp> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let is_separated = |at: usize, by: &str| text.get(at..=at).is_some_and(|letter| by.contains(letter));
    let fits =
        [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")].iter().all(|(at, by)| is_separated(*at, by));
    let day = Stamp::of_civil(number(0, 4)?, number(5, 7)?, number(8, 10)?).filter(|_| fits)?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix(['.', ',']) {
        Some(rest) => rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("", rest),
    };
    let nanos = format!("{fraction:0<9}").get(..9)?.parse::<u64>().ok()?;
    let ahead = match zone {
        "Z" | "z" | "" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let mut parts = zone.get(1..)?.split(':').map(str::parse::<i64>);
            let (hours, minutes) = (parts.next()?.ok()?, parts.next().unwrap_or(Ok(0)).ok()?);
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let local = day.plus_seconds(hour * 3600 + minute * 60 + second);
    Some(Stamp(local.plus_nanos(-ahead * 1_000_000_000).0 + nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(time: &str) -> Option<Stamp> {
        time_of(Object::read(&format!("{{\"t\":{time}}}")).unwrap().get("t").unwrap())
    }

    #[test]
    fn times_are_read_as_programs_write_them() {
        let expected = Stamp(1_795_258_486_123_000_000);
        for time in [
            "\"2026-11-21T10:54:46.123Z\"",
            "\"2026-11-21 11:54:46.123+01:00\"",
            "\"2026-11-21T10:54:46,123\"",
            "1795258486.123",
            "1795258486123",
        ] {
            let read = read(time).unwrap_or_default();
            assert!(read.nanos_since(expected).abs() < 1000, "{time}: {read}");
        }
        for time in ["\"soon\"", "\"2026-13-21T10:54:46Z\"", "\"2026-11-21T10:54\"", "-1", "null"] {
            assert_eq!(read(time), None, "{time}");
        }
    }

    #[test]
    fn levels_are_few() {
        let level = |line: &str| level_of(&Object::read(line).unwrap());
        assert_eq!(level(r#"{"level": "WARNING"}"#), Some(Level::Warn));
        assert_eq!(level(r#"{"severity": "Fatal"}"#), Some(Level::Error));
        assert_eq!(level(r#"{"level": "chatty"}"#), None);
        assert_eq!(level(r#"{"level": 30}"#), None);
    }
}
