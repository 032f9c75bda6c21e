//! The report as one JSON document (DESIGN 2.1, version 1).
//!
//! Facts are serialised as they become final and spooled: each list to a buffer of its own, which becomes an
//! unnamed temporary file once it outgrows [`IN_MEMORY_BYTES`]. Memory does not grow with the report.
//!
//! ```text
//! {"version":1,
//! "capture":{...},
//! "sip":{...},
//! "calls":[
//! {...},            one entry a line: readable with less, and two reports can be compared with diff
//! {...}
//! ],
//! ...}
//! ```

mod entry;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Seek, Write};

use serde::Serialize;
use tempfile::{SpooledTempFile, spooled_tempfile};

use crate::Stamp;
use crate::event::{Event, Sink, Totals};

/// Spools facts, and writes the document when the input is over.
#[derive(Debug)]
pub struct Report {
    calls: Spool,
    registrations: Spool,
    streams: Spool,
    reports: Spool,
    transfers: Spool,
    failed: Option<io::Error>,
}

impl Report {
    /// An empty report.
    pub fn new() -> Self {
        Self {
            calls: Spool::new(),
            registrations: Spool::new(),
            streams: Spool::new(),
            reports: Spool::new(),
            transfers: Spool::new(),
            failed: None,
        }
    }

    /// Writes the document; fails too when spooling did.
    pub fn finish(self, totals: &Totals, files: &[String], out: &mut impl Write) -> io::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        out.write_all(b"{\"version\":1,\n\"capture\":")?;
        serde_json::to_writer(&mut *out, &Capture::of(totals, files))?;
        out.write_all(b",\n\"sip\":")?;
        serde_json::to_writer(&mut *out, &Sip::of(totals))?;
        out.write_all(b",\n\"evicted\":")?;
        serde_json::to_writer(&mut *out, &totals.evicted)?;
        for (name, spool) in [
            ("calls", self.calls),
            ("registrations", self.registrations),
            ("streams", self.streams),
            ("reports", self.reports),
            ("transfers", self.transfers),
        ] {
            write!(out, ",\n\"{name}\":[")?;
            spool.copy_to(out)?;
            out.write_all(b"]")?;
        }
        out.write_all(b"}\n")?;
        out.flush()
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Sink for Report {
    fn event(&mut self, event: Event) {
        if self.failed.is_some() {
            return;
        }
        let spooled = match &event {
            Event::Call(call) => self.calls.push(call),
            Event::Registration(registration) => self.registrations.push(registration),
            Event::Stream(stream) => self.streams.push(stream),
            Event::Report(report) => self.reports.push(report),
            Event::Transfer(transfer) => self.transfers.push(transfer),
            Event::Window(_) | Event::Answered(_) | Event::Expired(_) => Ok(()),
        };
        self.failed = spooled.err();
    }

    fn wants_answered(&self) -> bool {
        false
    }
}

/// One list of the document, without its brackets.
#[derive(Debug)]
struct Spool {
    pending: Vec<u8>,
    spilled: SpooledTempFile,
    empty: bool,
}

impl Spool {
    fn new() -> Self {
        Self { pending: Vec::new(), spilled: spooled_tempfile(IN_MEMORY_BYTES), empty: true }
    }

    fn push(&mut self, entry: &impl Serialize) -> io::Result<()> {
        self.pending.extend_from_slice(if self.empty { b"\n" } else { b",\n" });
        self.empty = false;
        entry::write(&mut self.pending, entry)?;
        if self.pending.len() >= CHUNK_BYTES {
            self.spilled.write_all(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    fn copy_to(mut self, out: &mut impl Write) -> io::Result<()> {
        self.spilled.rewind()?;
        io::copy(&mut BufReader::with_capacity(CHUNK_BYTES, self.spilled), out)?;
        out.write_all(&self.pending)?;
        if !self.empty {
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Capture<'a> {
    files: &'a [String],
    packets: u64,
    bytes: u64,
    first: Option<Stamp>,
    last: Option<Stamp>,
    skipped: &'a BTreeMap<&'static str, u64>,
    fragments: u64,
    duplicates: u64,
    truncated: u64,
    undecoded: u64,
    busiest_undecoded: Vec<Busy<'a>>,
}

#[derive(Serialize)]
struct Busy<'a> {
    what: &'a str,
    packets: u64,
}

impl<'a> Capture<'a> {
    fn of(totals: &'a Totals, files: &'a [String]) -> Self {
        let busy = |(what, packets): &'a (String, u64)| Busy { what, packets: *packets };
        Self {
            files,
            packets: totals.packets,
            bytes: totals.bytes,
            first: totals.first,
            last: totals.last,
            skipped: &totals.skipped,
            fragments: totals.fragments,
            duplicates: totals.duplicates,
            truncated: totals.truncated,
            undecoded: totals.undecoded,
            busiest_undecoded: totals.busiest_undecoded.iter().map(busy).collect(),
        }
    }
}

#[derive(Serialize)]
struct Sip<'a> {
    requests: &'a BTreeMap<String, u64>,
    responses: &'a BTreeMap<u16, u64>,
    retransmissions: u64,
    malformed: u64,
    orphans: u64,
    defects: &'a BTreeMap<&'static str, u64>,
}

impl<'a> Sip<'a> {
    fn of(totals: &'a Totals) -> Self {
        Self {
            requests: &totals.requests,
            responses: &totals.responses,
            retransmissions: totals.retransmissions,
            malformed: totals.malformed,
            orphans: totals.orphans,
            defects: &totals.defects,
        }
    }
}

/// A list up to this size never touches the disk.
const IN_MEMORY_BYTES: usize = 1 << 20;
/// What is gathered before it is spooled: it should not drive everything else out of the cache.
const CHUNK_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::export::samples;

    fn document(events: Vec<Event>, totals: &Totals) -> (String, Value) {
        let mut report = Report::new();
        for event in events {
            report.event(event);
        }
        let mut out = Vec::new();
        report.finish(totals, &["a.pcap".to_owned()], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    /// One letter a type: n number, s string, b boolean, a array, o object.
    fn assert_keys(value: &Value, keys: &str) {
        for key in keys.split_whitespace() {
            let (kind, name) = key.split_once(':').unwrap();
            let found = value.get(name).unwrap_or_else(|| panic!("{name} is missing in {value}"));
            let fits = match kind {
                "n" => found.is_number(),
                "s" => found.is_string(),
                "b" => found.is_boolean(),
                "a" => found.is_array(),
                "o" => found.is_object(),
                "z" => found.is_null(),
                _ => false,
            };
            assert!(fits, "{name} has the wrong type: {found}");
        }
    }

    #[test]
    fn every_key_of_version_1_has_its_name_and_type() {
        let (_, it) = document(samples::events(), &samples::totals());
        assert_eq!(it["version"], 1);
        assert_keys(&it, "o:capture o:sip a:calls a:registrations a:streams a:reports");
        assert_keys(
            &it["capture"],
            "a:files n:packets n:bytes s:first s:last o:skipped n:fragments n:duplicates n:truncated \
             n:undecoded a:busiest_undecoded",
        );
        assert_keys(&it["sip"], "o:requests o:responses n:retransmissions n:malformed");
        assert_eq!(it["sip"]["requests"]["INVITE"], 1);
        assert_eq!(it["sip"]["responses"]["200"], 2);
        let call = &it["calls"][0];
        assert_keys(
            call,
            "s:call_id a:call_ids s:from s:to s:source s:destination s:transport s:via s:state s:result \
             n:status s:end_reason s:start b:challenged n:post_dial_delay n:setup n:ring n:disconnect n:duration \
             z:tenant z:route s:codec n:hops n:retransmissions z:one_way n:mos a:streams",
        );
        assert_eq!(call["source"], "192.0.2.1:5060");
        assert_eq!(call["transport"], "udp");
        assert_eq!(call["via"], "wire");
        assert_eq!(call["state"], "ended");
        assert_eq!(call["result"], "answered");
        assert_eq!(call["end_reason"], "bye");
        assert_eq!(call["start"], samples::START.to_string());
        let registration = &it["registrations"][0];
        assert_keys(registration, "s:call_id s:aor s:result n:status n:delay n:expires");
        assert_eq!(registration["result"], "success");
        let stream = &it["streams"][0];
        assert_keys(
            stream,
            "s:id s:ssrc s:source s:destination s:call_id s:origin a:payload_types s:codec n:clock_rate n:ptime \
             s:first s:last n:packets n:bytes n:expected n:lost n:duplicates n:reordered n:rejected n:restarts \
             n:loss_ratio n:burst_ratio n:longest_loss s:loss_pattern o:jitter n:pdv_p95 n:clock_skew_ppm \
             o:discarded o:mos n:r_factor s:band b:estimate b:srtp a:dtmf o:rtcp s:plc s:delay_source \
             s:codec_source n:dscp",
        );
        assert_keys(&stream["jitter"], "n:last n:mean n:max");
        assert_keys(&stream["discarded"], "n:fixed50 n:fixed200 n:adaptive");
        assert_keys(&stream["mos"], "n:lq n:cq n:min_window");
        assert_keys(&stream["rtcp"], "n:rtt n:reported_loss_ratio n:reported_jitter n:xr_mos_lq");
        assert_eq!(stream["band"], "nb");
        assert_eq!(stream["origin"], "sdp");
        assert_eq!(stream["loss_pattern"], "random");
        assert_keys(&it["reports"][0], "s:kind s:call_id n:mos_lq");
        assert_eq!(it["reports"][0]["kind"], "vq_rtcpxr");
    }

    #[test]
    fn every_result_and_end_reason_is_spelled_as_promised() {
        use crate::event::{CallResult, EndReason};
        let spelled = |value: &dyn Fn() -> Value| value().as_str().unwrap().to_owned();
        for (result, name) in [
            (CallResult::Answered, "answered"),
            (CallResult::Redirected, "redirected"),
            (CallResult::Failed, "failed"),
            (CallResult::Timeout, "timeout"),
            (CallResult::NoFinal, "no_final"),
            (CallResult::AbandonedAuth, "abandoned_auth"),
            (CallResult::Cancelled, "cancelled"),
        ] {
            assert_eq!(spelled(&|| serde_json::to_value(result).unwrap()), name);
        }
        for (reason, name) in [
            (EndReason::Bye, "bye"),
            (EndReason::SessionTimer, "session_timer"),
            (EndReason::RtpTimeout, "rtp_timeout"),
            (EndReason::DoesNotExist, "481"),
        ] {
            assert_eq!(spelled(&|| serde_json::to_value(reason).unwrap()), name);
        }
    }

    /// `section.key` of everything in a document; maps whose keys are data end with their own key.
    fn keys(section: &str, value: &Value, found: &mut BTreeSet<String>) {
        const MAPS: [&str; 6] =
            ["evicted", "capture.skipped", "sip.requests", "sip.responses", "sip.defects", "why"];
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
            let inner = match value {
                Value::Array(entries) => entries.first().map(|entry| (format!("{path}[]"), entry)),
                Value::Object(_) if !MAPS.contains(&path.as_str()) && !MAPS.contains(&key.as_str()) => {
                    Some((path.clone(), value))
                }
                _ => None,
            };
            found.insert(path);
            if let Some((section, value)) = inner {
                keys(&section, value, found);
            }
        }
    }

    #[test]
    fn the_documented_keys_are_those_of_a_full_report() {
        let mut events = samples::events();
        for event in &mut events {
            match event {
                Event::Call(call) => {
                    call.traceparent = Some("00-6ae1c030ffdd2da1725198843b15c506-acc415ab02082ae9-01".into());
                    call.why.insert("ring", "answered without 180 to 183");
                }
                Event::Stream(stream) => _ = stream.why.insert("mos.cq", "no delay measured"),
                _ => {}
            }
        }
        let mut written = BTreeSet::new();
        keys("", &document(events, &samples::totals()).1, &mut written);

        let page = include_str!("../../docs/report.md");
        let mut documented = BTreeSet::new();
        let mut section = "";
        for line in page.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                section = title.strip_prefix('`').map_or("", |title| title.trim_end_matches('`'));
            } else if let Some((key, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`')) {
                let dot = if section.is_empty() { "" } else { "." };
                documented.insert(format!("{section}{dot}{key}"));
            }
        }
        assert_eq!(documented, written);
    }

    #[test]
    fn an_empty_report_is_valid_too() {
        let (text, it) = document(Vec::new(), &Totals::default());
        assert_eq!(it["calls"], Value::Array(Vec::new()));
        assert!(it["capture"]["first"].is_null());
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn entries_stand_one_a_line_in_the_order_they_came() {
        let mut second = samples::call();
        second.call_id = "second\n\"quoted\"".into();
        let (text, it) =
            document(vec![Event::Call(samples::call()), Event::Call(second)], &Totals::default());
        assert_eq!(it["calls"][1]["call_id"], "second\n\"quoted\"");
        assert_eq!(text.lines().filter(|line| line.starts_with("{\"call_id\"")).count(), 2);
    }

    #[test]
    fn a_report_larger_than_memory_is_spooled_and_whole() {
        let calls = 4 * IN_MEMORY_BYTES / 1000;
        let (_, it) =
            document((0..calls).map(|_| Event::Call(samples::call())).collect(), &Totals::default());
        assert_eq!(it["calls"].as_array().unwrap().len(), calls);
    }
}
