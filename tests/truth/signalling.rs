//! SIP messages, calls and registrations against the tables of tshark, by a bookkeeping of its own: every
//! message of the table is looked at again for each attempt, nothing is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use sidetone::Stamp;
use sidetone::call::METHODS;
use sidetone::event::{Call, CallResult, Registration, RegistrationResult, Totals};
use sidetone::wire::Endpoint;

use crate::tables::{self, Row, Table};

/// One SIP message.
#[derive(Clone, Default)]
pub(crate) struct Message {
    pub(crate) frame: u32,
    pub(crate) stamp: Stamp,
    pub(crate) source: Option<Endpoint>,
    pub(crate) destination: Option<Endpoint>,
    /// Several where a frame holds several messages: then only counted.
    pub(crate) methods: Vec<String>,
    pub(crate) codes: Vec<u16>,
    pub(crate) cseq: Option<u32>,
    pub(crate) cseq_method: String,
    pub(crate) call_id: String,
    pub(crate) from_tag: String,
    pub(crate) to_tag: String,
}

impl Message {
    /// The table "SIP messages" of a truth file.
    pub(crate) fn listed(table: &Table) -> Vec<Self> {
        table.rows().map(Self::of_row).collect()
    }

    fn of_row(row: Row<'_>) -> Self {
        Self {
            frame: row.number("frame").unwrap(),
            stamp: tables::stamp(row.text("epoch")).unwrap(),
            source: tables::endpoint(row.text("src")),
            destination: tables::endpoint(row.text("dst")),
            methods: parts(row.text("method"), '|'),
            codes: parts(row.text("status"), '|'),
            cseq: row.number("cseq"),
            cseq_method: row.text("cseq_method").to_owned(),
            call_id: row.text("call_id").to_owned(),
            from_tag: row.text("from_tag").to_owned(),
            to_tag: row.text("to_tag").to_owned(),
        }
    }

    /// The table of the lab: addresses without ports, several messages of a frame separated by commas.
    pub(crate) fn recorded(table: &Table) -> Vec<Self> {
        table.rows().map(Self::of_lab_row).collect()
    }

    fn of_lab_row(row: Row<'_>) -> Self {
        let endpoint = |column| tables::endpoint(&format!("{}:0", row.text(column)));
        let (cseq, cseq_method) = row.text("sip.CSeq").split_once(' ').unwrap_or_default();
        Self {
            frame: row.number("frame.number").unwrap(),
            stamp: tables::stamp(row.text("frame.time_epoch")).unwrap(),
            source: endpoint("ip.src"),
            destination: endpoint("ip.dst"),
            methods: parts(row.text("sip.Method"), ','),
            codes: parts(row.text("sip.Status-Code"), ','),
            cseq: cseq.parse().ok(),
            cseq_method: cseq_method.to_owned(),
            call_id: row.text("sip.Call-ID").to_owned(),
            from_tag: row.text("sip.from.tag").to_owned(),
            to_tag: row.text("sip.to.tag").to_owned(),
        }
    }

    /// A message of which only the method or the status code is known.
    pub(crate) fn bare(frame: u32, start: &str) -> Self {
        match start.parse() {
            Ok(code) => Self { frame, codes: vec![code], ..Self::default() },
            Err(_) => Self { frame, methods: vec![start.to_owned()], ..Self::default() },
        }
    }

    fn is_initial_invite(&self) -> bool {
        self.methods == ["INVITE"] && self.to_tag.is_empty() && self.cseq_method == "INVITE"
    }

    /// Does it travel the hop on which `from` sends requests to `to`?
    fn is_on(&self, from: Endpoint, to: Endpoint) -> bool {
        let (Some(source), Some(destination)) = (self.source, self.destination) else { return false };
        let (sender, receiver) =
            if self.methods.is_empty() { (destination, source) } else { (source, destination) };
        if from.ip == to.ip {
            (sender, receiver) == (from, to)
        } else {
            (sender.ip, receiver.ip) == (from.ip, to.ip)
        }
    }
}

fn parts<T: FromStr>(cell: &str, separator: char) -> Vec<T> {
    cell.split(separator).filter_map(|part| part.parse().ok()).filter(|_| !cell.is_empty()).collect()
}

/// The tables cut long lines, and mark it.
fn same_tag(one: &str, other: &str) -> bool {
    match (one.strip_suffix("..."), other.strip_suffix("...")) {
        (None, None) => one == other,
        (one_cut, other_cut) => {
            let (one, other) = (one_cut.unwrap_or(one), other_cut.unwrap_or(other));
            one.starts_with(other) || other.starts_with(one)
        }
    }
}

/// Requests by method and responses by code.
pub(crate) type Counts = (BTreeMap<String, u64>, BTreeMap<u16, u64>);

pub(crate) fn counts(messages: &[Message]) -> Counts {
    let mut counts = Counts::default();
    for message in messages {
        for method in &message.methods {
            let name = METHODS.iter().find(|known| *known == method).unwrap_or(&"OTHER");
            *counts.0.entry((*name).to_owned()).or_default() += 1;
        }
        for code in &message.codes {
            *counts.1.entry(*code).or_default() += 1;
        }
    }
    counts
}

/// Where the totals are not what the truth counts.
pub(crate) fn compare_counts(truth: &Counts, totals: &Totals) -> Vec<String> {
    let mut wrong = Vec::new();
    let methods: BTreeSet<_> = truth.0.keys().chain(totals.requests.keys()).collect();
    for method in methods {
        let of = |counts: &BTreeMap<String, u64>| counts.get(method).copied().unwrap_or_default();
        let (truth, measured) = (of(&truth.0), of(&totals.requests));
        if truth != measured {
            wrong.push(format!("{measured} {method} requests instead of {truth}"));
        }
    }
    let codes: BTreeSet<_> = truth.1.keys().chain(totals.responses.keys()).collect();
    for code in codes {
        let of = |counts: &BTreeMap<u16, u64>| counts.get(code).copied().unwrap_or_default();
        let (truth, measured) = (of(&truth.1), of(&totals.responses));
        if truth != measured {
            wrong.push(format!("{measured} responses {code} instead of {truth}"));
        }
    }
    wrong
}

/// One attempt as the messages of its hop tell it.
#[derive(Debug)]
struct Attempt {
    start: Stamp,
    challenged: Option<Stamp>,
    post_dial: Option<f64>,
    final_code: Option<u16>,
    to_final: Option<f64>,
}

/// All attempts of a Call-ID on one hop.
fn attempts(
    messages: &[Message],
    call_id: &str,
    from_tag: &str,
    from: Endpoint,
    to: Endpoint,
) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut cseqs = BTreeSet::new();
    let own = |message: &&Message| {
        message.call_id == call_id
            && same_tag(&message.from_tag, from_tag)
            && message.cseq_method == "INVITE"
            && message.is_on(from, to)
    };
    for message in messages.iter().filter(own) {
        if message.is_initial_invite() {
            // The same number again is a retransmission, or the same request on its next hop.
            if cseqs.insert(message.cseq)
                && attempts.last().is_none_or(|attempt| attempt.is_over(message.stamp))
            {
                attempts.push(Attempt::new(message.stamp));
            }
        } else if let Some(attempt) = attempts.last_mut()
            && cseqs.contains(&message.cseq)
        {
            attempt.response(message);
        }
    }
    attempts
}

impl Attempt {
    fn new(start: Stamp) -> Self {
        Self { start, challenged: None, post_dial: None, final_code: None, to_final: None }
    }

    /// Would a further INVITE be another attempt: after a refusal, or too late after a challenge (MEAS 5.2)?
    fn is_over(&self, now: Stamp) -> bool {
        match (self.final_code, self.challenged) {
            (Some(code), _) => code >= 300,
            (None, Some(at)) => now.seconds_since(at) > SECONDS_TO_RETRY,
            (None, None) => false,
        }
    }

    fn response(&mut self, message: &Message) {
        let Some(&code) = message.codes.first() else { return };
        if self.final_code.is_some() {
            return;
        }
        let since = message.stamp.seconds_since(self.start);
        match code {
            180..=183 => {
                self.post_dial.get_or_insert(since);
            }
            401 | 407 if self.challenged.is_none() => self.challenged = Some(message.stamp),
            200.. => {
                self.final_code = Some(code);
                self.to_final = Some(since);
            }
            _ => {}
        }
    }
}

/// MEAS 5.2.
const SECONDS_TO_RETRY: f64 = 32.0;

/// Where calls are not what the messages tell; one attempt is one call, however many hops.
pub(crate) fn compare_calls(messages: &[Message], calls: &[Call]) -> Vec<String> {
    let mut wrong = Vec::new();
    let invited: BTreeSet<&str> =
        messages.iter().filter(|message| message.is_initial_invite()).map(|m| m.call_id.as_str()).collect();
    let told: BTreeSet<&str> = calls.iter().flat_map(|call| &call.call_ids).map(String::as_str).collect();
    for call_id in invited.difference(&told) {
        let frames = messages.iter().filter(|m| m.call_id == *call_id && m.is_initial_invite());
        wrong.push(format!(
            "call {call_id}: missing, frames {:?}",
            frames.map(|m| m.frame).collect::<Vec<_>>()
        ));
    }
    for call_id in told.difference(&invited) {
        wrong.push(format!("call {call_id}: invented"));
    }
    let mut seen: BTreeMap<(&str, &str), BTreeSet<Stamp>> = BTreeMap::new();
    for call in calls {
        let tags: BTreeSet<&str> = messages
            .iter()
            .filter(|m| m.is_initial_invite() && m.call_id == call.call_id)
            .map(|m| m.from_tag.as_str())
            .collect();
        let found = tags.iter().find_map(|tag| {
            let attempts = attempts(messages, &call.call_id, tag, call.source, call.destination);
            attempts.into_iter().find(|attempt| attempt.start == call.start).map(|attempt| (*tag, attempt))
        });
        let Some((tag, attempt)) = found else {
            wrong.push(format!("call {}: begins at {}, where no attempt does", call.call_id, call.start));
            continue;
        };
        seen.entry((&call.call_id, tag)).or_default().insert(call.start);
        wrong.extend(
            compare_call(&attempt, call).into_iter().map(|text| format!("call {}: {text}", call.call_id)),
        );
    }
    // Each attempt on the hop of its call has a call of its own.
    for ((call_id, tag), starts) in seen {
        let Some(call) = calls.iter().find(|call| call.call_id == call_id) else { continue };
        let attempts = attempts(messages, call_id, tag, call.source, call.destination);
        let missed = attempts.iter().filter(|attempt| !starts.contains(&attempt.start));
        wrong.extend(missed.map(|attempt| format!("call {call_id}: no call for {attempt:?}")));
    }
    wrong
}

fn compare_call(attempt: &Attempt, call: &Call) -> Vec<String> {
    let mut wrong = Vec::new();
    let fits = match (attempt.final_code, call.result) {
        (Some(200..300), Some(CallResult::Answered))
        | (Some(300..400), Some(CallResult::Redirected))
        | (Some(487), Some(CallResult::Cancelled))
        // Without a final response the capture may have ended first.
        | (None, None) => true,
        (Some(code), Some(CallResult::Failed)) => code >= 400 && code != 487,
        // Or it timed out, or was left at a challenge.
        (None, Some(CallResult::Timeout | CallResult::NoFinal)) => attempt.challenged.is_none(),
        (None, Some(CallResult::AbandonedAuth)) => attempt.challenged.is_some(),
        _ => false,
    };
    if !fits {
        wrong.push(format!("{:?} instead of {:?}", call.result, attempt.final_code));
    }
    if let Some(code) = attempt.final_code
        && call.status != Some(code)
    {
        wrong.push(format!("status {:?} instead of {code}", call.status));
    }
    if call.challenged != attempt.challenged.is_some() {
        wrong.push(format!("challenged {}", call.challenged));
    }
    let answered = attempt.to_final.filter(|_| matches!(attempt.final_code, Some(200..300)));
    for (name, truth, measured) in [
        ("post_dial_delay", attempt.post_dial, call.post_dial_delay),
        ("setup", answered, call.setup),
        (
            "session_request_failed",
            attempt.to_final.filter(|_| {
                attempt.post_dial.is_none()
                    && attempt.final_code.is_some_and(|code| code >= 400 && code != 487)
            }),
            call.session_request_failed.filter(|_| attempt.final_code.is_some()),
        ),
    ] {
        let same = match (truth, measured) {
            (Some(truth), Some(measured)) => (truth - measured).abs() < 1e-6,
            (truth, measured) => truth == measured,
        };
        if !same {
            wrong.push(format!("{name} {measured:?} instead of {truth:?}"));
        }
    }
    wrong
}

/// Calls against the rows of "INVITE transactions per hop", which another program made: its row of the call's
/// first INVITE on its own hop.
pub(crate) fn compare_transactions(table: &Table, messages: &[Message], calls: &[Call]) -> Vec<String> {
    let mut wrong = Vec::new();
    for call in calls {
        let first = messages
            .iter()
            .find(|m| m.is_initial_invite() && m.call_id == call.call_id && m.stamp == call.start);
        let Some(first) = first else { continue };
        let row = table.rows().find(|row| {
            row.text("call_id") == call.call_id
                && row.text("uac") == call.source.ip.to_string()
                && row.text("uas") == call.destination.ip.to_string()
                && row.number("cseq") == first.cseq
        });
        let Some(row) = row else {
            // Messages inside HEP have none.
            if first.frame > 0 {
                wrong.push(format!(
                    "call {}: no row of its first INVITE, frame {}",
                    call.call_id, first.frame
                ));
            }
            continue;
        };
        // The rows of a challenged INVITE end with the challenge.
        if call.challenged {
            continue;
        }
        let final_code = row.number::<u16>("final");
        if final_code != call.status {
            wrong.push(format!("call {}: status {:?}, row says {final_code:?}", call.call_id, call.status));
        }
        let near = |column, measured: Option<f64>| match (row.number::<f64>(column), measured) {
            (Some(truth), Some(measured)) => (truth - measured * 1e3).abs() <= 0.051,
            (None, None) => true,
            _ => false,
        };
        if !near("to_first_180_or_183", call.post_dial_delay) {
            let row = row.text("to_first_180_or_183");
            wrong.push(format!(
                "call {}: post dial delay {:?}, row says {row} ms",
                call.call_id, call.post_dial_delay
            ));
        }
        if call.result == Some(CallResult::Answered) && !near("to_final", call.setup) {
            let row = row.text("to_final");
            wrong.push(format!("call {}: setup {:?}, row says {row} ms", call.call_id, call.setup));
        }
    }
    wrong
}

/// Outcomes of registrations by Call-ID.
pub(crate) fn compare_registrations(messages: &[Message], registrations: &[Registration]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut truth: BTreeMap<&str, Registered> = BTreeMap::new();
    let attempts: BTreeSet<(&str, &str)> = messages
        .iter()
        .filter(|message| message.methods == ["REGISTER"] && !message.call_id.is_empty())
        .map(|message| (message.call_id.as_str(), message.from_tag.as_str()))
        .collect();
    for (call_id, from_tag) in attempts {
        truth.entry(call_id).or_default().add(messages, call_id, from_tag);
    }
    for (call_id, truth) in truth {
        let mut measured = Registered::default();
        for registration in registrations.iter().filter(|registration| registration.call_id == call_id) {
            match registration.result {
                Some(RegistrationResult::Success | RegistrationResult::Unregister) => measured.succeeded += 1,
                Some(RegistrationResult::Failure) => measured.failed += 1,
                Some(RegistrationResult::Redirect) => measured.redirected += 1,
                Some(RegistrationResult::Timeout | RegistrationResult::Abandoned) | None => {}
            }
        }
        if truth != measured {
            wrong.push(format!("call {call_id}: {measured:?} instead of {truth:?}"));
        }
    }
    wrong
}

/// Registrations with an outcome.
#[derive(Default, Debug, PartialEq)]
struct Registered {
    succeeded: usize,
    failed: usize,
    redirected: usize,
}

impl Registered {
    /// Those of one (Call-ID, From-tag), on the hop seen first.
    fn add(&mut self, messages: &[Message], call_id: &str, from_tag: &str) {
        let own = |message: &&Message| {
            message.call_id == call_id && message.from_tag == from_tag && message.cseq_method == "REGISTER"
        };
        let Some(first) = messages.iter().filter(own).find(|message| !message.methods.is_empty()) else {
            return;
        };
        let (Some(from), Some(to)) = (first.source, first.destination) else { return };
        let (mut finals, mut challenged) = (BTreeSet::new(), false);
        for message in messages.iter().filter(own).filter(|message| message.is_on(from, to)) {
            let Some(&code @ 200..) = message.codes.first() else { continue };
            if !finals.insert((message.cseq, code)) {
                continue;
            }
            let challenge = matches!(code, 401 | 407) && !challenged;
            match code {
                200..=299 => self.succeeded += 1,
                300..=399 => self.redirected += 1,
                // Too brief: it is asked again.
                423 => continue,
                _ if challenge => {}
                _ => self.failed += 1,
            }
            challenged = challenge;
        }
    }
}
