//! SIP messages, calls and registrations against the tables of tshark, by a bookkeeping of its own: every
//! message of the table is looked at again for each attempt, nothing is remembered.

use std::collections::{BTreeMap, BTreeSet};

use sidetone::Stamp;
use sidetone::event::{Call, CallResult, Registration, RegistrationResult, Totals};
use sidetone::wire::Endpoint;

use crate::tables::{self, Row, Table};

/// One row of the table of SIP messages; a frame of several messages has them joined, and is only counted.
pub(crate) struct Message {
    frame: u32,
    stamp: Stamp,
    source: Endpoint,
    destination: Endpoint,
    methods: Vec<String>,
    codes: Vec<u16>,
    cseq: Option<u32>,
    cseq_method: String,
    call_id: String,
    from_tag: String,
    to_tag: String,
}

impl Message {
    /// The table "SIP messages" of a truth file.
    pub(crate) fn listed(table: &Table) -> Vec<Self> {
        table.rows().map(Self::of_row).collect()
    }

    fn of_row(row: Row<'_>) -> Self {
        let parts = |column| row.text(column).split('|').filter(|part| !part.is_empty());
        Self {
            frame: row.number("frame").unwrap(),
            stamp: tables::stamp(row.text("epoch")).unwrap(),
            source: tables::endpoint(row.text("src")).unwrap(),
            destination: tables::endpoint(row.text("dst")).unwrap(),
            methods: parts("method").map(str::to_owned).collect(),
            codes: parts("status").map(|code| code.parse().unwrap()).collect(),
            cseq: row.number("cseq"),
            cseq_method: row.text("cseq_method").to_owned(),
            call_id: row.text("call_id").to_owned(),
            from_tag: row.text("from_tag").to_owned(),
            to_tag: row.text("to_tag").to_owned(),
        }
    }

    fn is_initial_invite(&self) -> bool {
        self.methods == ["INVITE"] && self.to_tag.is_empty()
    }

    fn between(&self, one: Endpoint, other: Endpoint) -> bool {
        let pair = [self.source.ip, self.destination.ip];
        pair == [one.ip, other.ip] || pair == [other.ip, one.ip]
    }
}

/// Requests by method and responses by code.
pub(crate) type Counts = (BTreeMap<String, u64>, BTreeMap<u16, u64>);

pub(crate) fn counts(messages: &[Message]) -> Counts {
    let mut counts = Counts::default();
    for message in messages {
        for method in &message.methods {
            *counts.0.entry(method.clone()).or_default() += 1;
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
    challenged: bool,
    post_dial: Option<f64>,
    final_code: Option<u16>,
    to_final: Option<f64>,
}

/// All attempts of a Call-ID on one hop.
fn attempts(messages: &[Message], call_id: &str, from_tag: &str, from: Endpoint, to: Endpoint) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut cseqs = BTreeSet::new();
    let own = |message: &&Message| {
        message.call_id == call_id
            && message.from_tag == from_tag
            && message.cseq_method == "INVITE"
            && message.between(from, to)
    };
    for message in messages.iter().filter(own) {
        if message.is_initial_invite() {
            // The same number again is a retransmission, or the same request on its next hop.
            let open = attempts.last().is_some_and(|attempt| attempt.final_code.is_none());
            if cseqs.insert(message.cseq) && !open {
                attempts.push(Attempt {
                    start: message.stamp,
                    challenged: false,
                    post_dial: None,
                    final_code: None,
                    to_final: None,
                });
            }
            continue;
        }
        let Some(attempt) = attempts.last_mut() else { continue };
        if attempt.final_code.is_some() || !cseqs.contains(&message.cseq) {
            continue;
        }
        let since = message.stamp.seconds_since(attempt.start);
        match message.codes.first() {
            Some(180..=183) => {
                attempt.post_dial.get_or_insert(since);
            }
            Some(401 | 407) if !attempt.challenged => attempt.challenged = true,
            Some(&code @ 200..) => {
                attempt.final_code = Some(code);
                attempt.to_final = Some(since);
            }
            _ => {}
        }
    }
    attempts
}

/// Where calls are not what the messages tell; one attempt is one call, however many hops.
pub(crate) fn compare_calls(messages: &[Message], calls: &[Call]) -> Vec<String> {
    let mut wrong = Vec::new();
    let invited: BTreeSet<&str> =
        messages.iter().filter(|message| message.is_initial_invite()).map(|m| m.call_id.as_str()).collect();
    let told: BTreeSet<&str> = calls.iter().flat_map(|call| &call.call_ids).map(String::as_str).collect();
    for call_id in invited.difference(&told) {
        let frames = messages.iter().filter(|m| m.call_id == *call_id && m.is_initial_invite());
        wrong.push(format!("no call {call_id}: frames {:?}", frames.map(|m| m.frame).collect::<Vec<_>>()));
    }
    for call_id in told.difference(&invited) {
        wrong.push(format!("invented call {call_id}"));
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
            wrong.push(format!("call {} begins at {}, where no attempt does", call.call_id, call.start));
            continue;
        };
        seen.entry((&call.call_id, tag)).or_default().insert(call.start);
        wrong.extend(compare_call(&attempt, call).into_iter().map(|text| format!("call {}: {text}", call.call_id)));
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
        (Some(200..300), Some(CallResult::Answered)) | (Some(300..400), Some(CallResult::Redirected)) => true,
        (Some(487), Some(CallResult::Cancelled)) => true,
        (Some(code), Some(CallResult::Failed)) => code >= 400 && code != 487,
        // Without a final response it timed out, was left at a challenge, or the capture ended first.
        (None, None | Some(CallResult::Timeout | CallResult::NoFinal)) => !attempt.challenged || call.result.is_none(),
        (None, Some(CallResult::AbandonedAuth)) => attempt.challenged,
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
    if call.challenged != attempt.challenged {
        wrong.push(format!("challenged {} instead of {}", call.challenged, attempt.challenged));
    }
    let answered = attempt.to_final.filter(|_| matches!(attempt.final_code, Some(200..300)));
    for (name, truth, measured) in [
        ("post_dial_delay", attempt.post_dial, call.post_dial_delay),
        ("setup", answered, call.setup),
        (
            "session_request_failed",
            attempt.to_final.filter(|_| {
                attempt.post_dial.is_none() && attempt.final_code.is_some_and(|code| code >= 400 && code != 487)
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
/// first INVITE on its own hop. Returns how many rows were found.
pub(crate) fn compare_transactions(table: &Table, messages: &[Message], calls: &[Call], wrong: &mut Vec<String>) -> usize {
    let mut found = 0;
    for call in calls {
        let first = messages.iter().find(|m| {
            m.is_initial_invite() && m.call_id == call.call_id && m.stamp == call.start && m.source == call.source
        });
        let Some(first) = first else { continue };
        let row = table.rows().find(|row| {
            row.text("call_id") == call.call_id
                && row.text("uac") == call.source.ip.to_string()
                && row.text("uas") == call.destination.ip.to_string()
                && row.number("cseq") == first.cseq
        });
        let Some(row) = row else {
            wrong.push(format!("call {}: no row of its first INVITE, frame {}", call.call_id, first.frame));
            continue;
        };
        found += 1;
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
            wrong.push(format!("call {}: post dial delay {:?}, row says {row} ms", call.call_id, call.post_dial_delay));
        }
        if call.result == Some(CallResult::Answered) && !near("to_final", call.setup) {
            let row = row.text("to_final");
            wrong.push(format!("call {}: setup {:?}, row says {row} ms", call.call_id, call.setup));
        }
    }
    found
}

/// Outcomes of registrations by Call-ID.
pub(crate) fn compare_registrations(messages: &[Message], registrations: &[Registration]) -> Vec<String> {
    let mut wrong = Vec::new();
    let call_ids: BTreeSet<&str> = messages
        .iter()
        .filter(|message| message.methods == ["REGISTER"])
        .map(|message| message.call_id.as_str())
        .collect();
    for call_id in call_ids {
        let truth = registered(messages, call_id);
        let of = |wanted: &[RegistrationResult]| {
            let fits = |r: &&Registration| r.call_id == call_id && r.result.is_some_and(|result| wanted.contains(&result));
            registrations.iter().filter(fits).count()
        };
        let measured = (
            of(&[RegistrationResult::Success, RegistrationResult::Unregister]),
            of(&[RegistrationResult::Failure]),
            of(&[RegistrationResult::Redirect]),
        );
        if truth != measured {
            wrong.push(format!("registrations {call_id}: {measured:?} instead of {truth:?}"));
        }
    }
    wrong
}

/// Registrations of a Call-ID that succeeded, failed and were sent elsewhere, on the hop seen first.
fn registered(messages: &[Message], call_id: &str) -> (usize, usize, usize) {
    let own = |message: &&Message| message.call_id == call_id && message.cseq_method == "REGISTER";
    let Some(first) = messages.iter().filter(own).find(|message| !message.methods.is_empty()) else {
        return (0, 0, 0);
    };
    let (mut succeeded, mut failed, mut redirected) = (0, 0, 0);
    let (mut finals, mut challenged) = (BTreeSet::new(), false);
    for message in messages.iter().filter(own).filter(|m| m.between(first.source, first.destination)) {
        let Some(&code @ 200..) = message.codes.first() else { continue };
        if !finals.insert((message.cseq, code)) {
            continue;
        }
        match code {
            200..300 => {
                succeeded += 1;
                challenged = false;
            }
            300..400 => redirected += 1,
            401 | 407 if !challenged => challenged = true,
            423 => {}
            _ => {
                failed += 1;
                challenged = false;
            }
        }
    }
    (succeeded, failed, redirected)
}
