//! SIP inside HEP3, as two other decoders saw it: the lines appended to a truth file, and what the sink of the
//! lab wrote. Both cut long payloads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;
use sidetone::Stamp;
use sidetone::wire::Endpoint;

use crate::signalling::Message;

/// The messages of "HEP decode": `... 0/3=source 0/4=destination ... 0/15=payload`, the payload up to some line.
pub(crate) fn decoded(text: &str) -> Vec<Message> {
    let Some((_, text)) = text.split_once("\n## HEP decode") else { return Vec::new() };
    let mut messages = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((chunks, start)) = line.split_once(" 0/15=") else { continue };
        let mut payload = start.to_owned();
        while let Some(line) = lines.next_if(|line| !line.contains(" HEP3 ")) {
            payload = format!("{payload}\n{line}");
        }
        let chunk = |key: &str| chunks.split(' ').find_map(|part| part.strip_prefix(key));
        let number = |key| chunk(key).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default();
        let endpoint = |ip: &str, port| {
            Some(Endpoint { ip: chunk(ip)?.parse::<IpAddr>().ok()?, port: number(port) as u16 })
        };
        if number("0/11=") == 1
            && let Some(message) = message(
                &payload,
                Stamp(number("0/9=") * 1_000_000_000 + number("0/10=") * 1_000),
                endpoint("0/3=", "0/7="),
                endpoint("0/4=", "0/8="),
            )
        {
            messages.push(message);
        }
    }
    messages
}

/// What the sink received until the capture ended: one JSON object a line, type 1 = SIP.
pub(crate) fn received(text: &str, until: Stamp) -> Vec<Message> {
    let records = || {
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        // The sink reads a datagram a little after it was captured.
        records.take_while(move |record| record["at"].as_f64().unwrap() < until.0 as f64 / 1e9 + 0.001)
    };
    let payload = |record: &Value| record["payload"].as_str().unwrap_or_default().replace('\r', "");
    let sip = |record: &Value| record["type"] == 1;
    // Of a message cut before its Call-ID, another one of the same transaction tells it.
    let whole = records().filter(sip).filter_map(|record| {
        let payload = payload(&record);
        let message = message(&payload, Stamp(0), None, None).filter(|message| message.cseq.is_some())?;
        Some((header(&payload, "Via")?.to_owned(), message))
    });
    let whole: BTreeMap<String, Message> =
        whole.map(|(via, message)| (branch(&via).to_owned(), message)).collect();
    let messages = records().filter(sip).filter_map(|record| {
        let number = |key: &str| record[key].as_u64().unwrap_or_default();
        let endpoint = |ip: &str, port: &str| {
            Some(Endpoint { ip: record[ip].as_str()?.parse().ok()?, port: number(port) as u16 })
        };
        let payload = payload(&record);
        let stamp = Stamp(number("sec") * 1_000_000_000 + number("usec") * 1_000);
        let message = message(&payload, stamp, endpoint("src4", "sport"), endpoint("dst4", "dport"))?;
        let other = header(&payload, "Via").and_then(|via| whole.get(branch(via)));
        Some(match other {
            Some(other) if message.cseq.is_none() => Message {
                cseq: other.cseq,
                cseq_method: other.cseq_method.clone(),
                call_id: other.call_id.clone(),
                from_tag: other.from_tag.clone(),
                ..message
            },
            _ => message,
        })
    });
    messages.collect()
}

fn message(
    payload: &str,
    stamp: Stamp,
    source: Option<Endpoint>,
    destination: Option<Endpoint>,
) -> Option<Message> {
    let start = payload.lines().next()?;
    let (methods, codes) = match start.strip_prefix("SIP/2.0 ") {
        Some(status) => (vec![], vec![status.get(..3)?.parse().ok()?]),
        None => (vec![start.split(' ').next()?.to_owned()], vec![]),
    };
    let (cseq, cseq_method) =
        header(payload, "CSeq").and_then(|value| value.split_once(' ')).unwrap_or_default();
    let tag = |name| header(payload, name).and_then(|value| value.split_once(";tag=")).unwrap_or_default().1;
    Some(Message {
        frame: 0,
        stamp,
        source,
        destination,
        methods,
        codes,
        cseq: cseq.parse().ok(),
        cseq_method: cseq_method.to_owned(),
        call_id: header(payload, "Call-ID").unwrap_or_default().to_owned(),
        from_tag: tag("From").to_owned(),
        to_tag: tag("To").to_owned(),
    })
}

/// The first header of that name, if its line is whole.
fn header<'a>(payload: &'a str, name: &str) -> Option<&'a str> {
    let (whole, _) = payload.rsplit_once('\n')?;
    whole.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn branch(via: &str) -> &str {
    via.split_once("branch=").unwrap_or_default().1.split(';').next().unwrap_or_default()
}
