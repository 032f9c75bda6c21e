//! The spans of a capture, and what holds for any of them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sidetone::export::trace_id::TraceId;

use crate::ledger::{Hop, Ledger};
use crate::rotel::Span;

/// All spans of one run.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) spans: Vec<Span>,
}

/// Spans that must come.
pub(crate) fn count(ledger: &Ledger, report: &Value) -> usize {
    let reported = |list: &str| report[list].as_array().unwrap();
    let invites = ledger.hops("INVITE");
    let challenged = |hop: &&Hop| matches!(hop.final_status(), Some(401 | 402 | 407));
    let again = reported("registrations").iter().filter(|registration| registration["challenged"] == true);
    let challenges = invites.iter().filter(challenged).count() + again.count();
    let facts = ["calls", "registrations", "streams"].map(|list| reported(list).len());
    facts.iter().sum::<usize>() + invites.len() + ledger.hops("BYE").len() + challenges
}

impl Told {
    /// No span comes twice, and each is whole.
    pub(crate) fn new(spans: Vec<Span>) -> Self {
        let mut ids = HashSet::new();
        for span in &spans {
            assert!(ids.insert((&span.trace, &span.id)), "twice: {span:#?}");
            assert_eq!((span.trace.len(), span.id.len()), (32, 16), "{span:#?}");
            assert_eq!(span.kind, "SPAN_KIND_INTERNAL");
            assert!(span.start <= span.end, "{span:#?}");
            assert!(span.text("sidetone.vantage").is_some(), "{span:#?}");
            assert!(span.text("network.protocol.name").is_some(), "{span:#?}");
        }
        Self { spans }
    }

    pub(crate) fn named(&self, name: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.name == name).collect()
    }

    /// The span of a call itself.
    pub(crate) fn call(&self, call_id: &str) -> &Span {
        let is = |span: &&Span| span.name == "sip.invite" && span.text("sip.call_id") == Some(call_id);
        self.spans.iter().find(is).unwrap_or_else(|| panic!("no call {call_id}"))
    }

    pub(crate) fn below(&self, parent: &Span, name: &str) -> Vec<&Span> {
        let is = |span: &&Span| {
            (&span.trace, &span.parent, span.name.as_str()) == (&parent.trace, &parent.id, name)
        };
        self.spans.iter().filter(is).collect()
    }

    /// Each request on each hop and each stream is a span with its times, below its call; and nothing else is.
    pub(crate) fn assert_complete(&self, ledger: &Ledger) {
        let roots: HashMap<&str, &Span> = self
            .spans
            .iter()
            .filter(|span| span.parent.is_empty() || Self::is_root(span))
            .map(|span| (span.id.as_str(), span))
            .collect();
        for span in &self.spans {
            assert_eq!(roots.contains_key(span.id.as_str()), Self::is_root(span), "{span:#?}");
            if !Self::is_root(span) {
                let parent =
                    roots.get(span.parent.as_str()).unwrap_or_else(|| panic!("no parent: {span:#?}"));
                assert_eq!(parent.trace, span.trace);
            }
        }
        for (method, name) in [("INVITE", "sip.hop"), ("BYE", "sip.bye")] {
            let hops = ledger.hops(method);
            assert_eq!(self.named(name).len(), hops.len(), "{name}");
            for hop in hops {
                let request = &hop.request;
                let is = |span: &&&Span| {
                    span.text("sip.branch") == Some(&request.branch)
                        && span.number("sip.cseq") == Some(request.cseq.into())
                        && span.end_of("client") == request.from.to_string()
                        && span.end_of("server") == request.to.to_string()
                };
                let spans = self.named(name);
                let span = spans.iter().find(is).unwrap_or_else(|| panic!("no span of {hop:#?}"));
                hop.assert_told_by(span);
            }
        }
        let sessions = self.named("rtp.session");
        assert_eq!(sessions.len(), ledger.flows.len());
        for ((from, to, ssrc), flow) in &ledger.flows {
            let is = |span: &&&Span| {
                span.text("rtp.ssrc") == Some(&format!("0x{ssrc:08x}"))
                    && span.end_of("client") == from.to_string()
                    && span.end_of("server") == to.to_string()
            };
            let span = sessions.iter().find(is).unwrap_or_else(|| panic!("no span of {from} {to} {ssrc:x}"));
            assert_eq!((span.start, span.end), (flow.first, flow.last), "{span:#?}");
            assert_eq!(span.number("rtp.packets"), Some(flow.packets as f64), "{span:#?}");
        }
    }

    fn is_root(span: &Span) -> bool {
        ["sip.invite", "sip.register"].contains(&span.name.as_str())
    }

    /// The numbers are those of the report.
    pub(crate) fn assert_as_reported(&self, report: &Value) {
        let of = |list: &str| report[list].as_array().unwrap().clone();
        assert_eq!(self.named("sip.invite").len(), of("calls").len());
        for call in of("calls") {
            let root = self.call(call["call_id"].as_str().unwrap());
            assert_same(root, &call, CALL);
            assert_eq!(root.end_of("client"), call["source"].as_str().unwrap());
            assert_eq!(root.end_of("server"), call["destination"].as_str().unwrap());
            let hides = |key: &str, uri: &Value| {
                let (told, uri) = (root.text(key).unwrap(), uri.as_str().unwrap());
                let (user, host) = uri.split_once('@').unwrap();
                assert!(!told.starts_with(user) && told.ends_with(host), "{told} of {uri}");
            };
            hides("sip.from", &call["from"]);
            hides("sip.to", &call["to"]);
        }
        assert_eq!(self.named("sip.register").len(), of("registrations").len());
        for registration in of("registrations") {
            let trace = TraceId::of_call_id(registration["call_id"].as_str().unwrap()).to_string();
            let spans = self.named("sip.register");
            let span = spans.iter().find(|span| span.trace == trace).unwrap();
            assert_same(span, &registration, REGISTRATION);
        }
        let sessions = self.named("rtp.session");
        assert_eq!(sessions.len(), of("streams").len());
        for stream in of("streams") {
            let same =
                |span: &&&Span, side: &str, key: &str| span.end_of(side) == stream[key].as_str().unwrap();
            let is = |span: &&&Span| {
                span.text("rtp.ssrc") == stream["ssrc"].as_str()
                    && same(span, "client", "source")
                    && same(span, "server", "destination")
            };
            assert_same(sessions.iter().find(is).unwrap(), &stream, STREAM);
        }
    }
}

/// What stands under a path of the report stands under an attribute of the span, or under neither.
fn assert_same(span: &Span, reported: &Value, keys: &[(&str, &str)]) {
    for (path, key) in keys {
        let value = path.split('.').fold(reported, |value, part| &value[part]);
        let told = span.attributes.get(*key);
        match (value, told) {
            (Value::Null, told) => assert_eq!(told, None, "{key}: {span:#?}"),
            (value, None) => panic!("{key} is {value} in the report, and not told: {span:#?}"),
            (Value::String(text), Some(_)) => assert_eq!(span.text(key), Some(text.as_str()), "{key}"),
            (Value::Bool(set), Some(_)) => assert_eq!(span.is(key), Some(*set), "{key}"),
            (value, Some(_)) => {
                let (told, value) = (span.number(key).unwrap(), value.as_f64().unwrap());
                // The reader of the report is right up to the last bit.
                assert!((told - value).abs() <= value.abs() * f64::EPSILON, "{key}: {value}: {span:#?}");
            }
        }
    }
}

const CALL: &[(&str, &str)] = &[
    ("transport", "network.transport"),
    ("status", "sip.response.status_code"),
    ("retransmissions", "sip.retransmissions"),
    ("result", "voip.result"),
    ("end_reason", "voip.end_reason"),
    ("challenged", "voip.challenged"),
    ("post_dial_delay", "voip.post_dial_delay"),
    ("setup", "voip.setup"),
    ("ring", "voip.ring"),
    ("disconnect", "voip.disconnect"),
    ("duration", "voip.duration"),
    ("codec", "voip.codec"),
    ("hops", "voip.hops"),
    ("one_way", "voip.one_way"),
    ("dead_air", "voip.dead_air"),
    ("mos", "voip.mos"),
    ("tenant", "voip.tenant"),
    ("route", "voip.route"),
];
const REGISTRATION: &[(&str, &str)] = &[
    ("result", "voip.result"),
    ("status", "sip.response.status_code"),
    ("expires", "sip.expires"),
    ("challenged", "voip.challenged"),
];
const STREAM: &[(&str, &str)] = &[
    ("codec", "rtp.codec"),
    ("clock_rate", "rtp.clock_rate"),
    ("ptime", "rtp.ptime"),
    ("direction", "voip.direction"),
    ("packets", "rtp.packets"),
    ("bytes", "rtp.bytes"),
    ("expected", "rtp.expected"),
    ("lost", "rtp.lost"),
    ("duplicates", "rtp.duplicates"),
    ("reordered", "rtp.reordered"),
    ("loss_ratio", "rtp.loss_ratio"),
    ("burst_ratio", "rtp.burst_ratio"),
    ("longest_loss", "rtp.longest_loss"),
    ("jitter.mean", "rtp.jitter.mean"),
    ("jitter.max", "rtp.jitter.max"),
    ("pdv_p95", "rtp.pdv_p95"),
    ("mos.lq", "voip.mos"),
    ("mos.cq", "voip.mos.cq"),
    ("mos.min_window", "voip.mos.min_window"),
    ("r_factor", "voip.r_factor"),
    ("dead_air", "voip.dead_air"),
    ("dscp", "rtp.dscp"),
    ("early", "voip.early"),
    ("rtcp.rtt", "rtcp.rtt"),
    ("rtcp.reported_loss_ratio", "rtcp.reported_loss_ratio"),
    ("rtcp.reported_jitter", "rtcp.reported_jitter"),
    ("rtcp.xr_mos_lq", "rtcp.xr_mos_lq"),
];
