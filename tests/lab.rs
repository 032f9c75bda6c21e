//! The lab: `sidetone run` beside a real Kamailio and RTPengine, with sipp, baresip and a browser that call through
//! them over a cable of known loss. Judged by what the scenarios did, by the log of the cable, by sipp's own watch,
//! and by tshark; and what it measured live must equal what `analyze` says of tcpdump's file from the same place, and
//! what another one is told by HEP.
//!
//! Needs root and what `tests/lab/README.md` names; says so on standard error and skips where that is not there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::indexing_slicing, reason = "a row that is not there fails the test")]

use std::net::Ipv4Addr;

use serde_json::Value;

use reports::{Told, samples, told};
use stage::{Lab, Seen, Watch, sum, with};

#[path = "lab/alerts.rs"]
mod alerts;
#[path = "lab/beside.rs"]
mod beside;
#[path = "lab/browser.rs"]
mod browser;
#[path = "lab/lines.rs"]
mod lines;
#[path = "lab/memory.rs"]
mod memory;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "lab/reports.rs"]
mod reports;
#[path = "logs/schema.rs"]
mod schema;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "lab/stage.rs"]
mod stage;
#[path = "support/tracefs.rs"]
mod tracefs;
#[path = "lab/wire.rs"]
mod wire;

#[test]
fn clean_calls() {
    let Some(lab) = Lab::up() else { return };
    let watch = Watch::start(&lab);
    let alerts = alerts::Alerts::watch(&lab);
    let mut callers = vec![
        lab.call("call", 6, "9001", "-key user trunk -d 5000 -r 3"),
        lab.call("call_auth", 2, "9001", "-key user u3 -au u3 -ap pw-u3 -d 3000"),
        lab.call("transferred", 1, "9400", "-key user trunk -d 1000"),
        lab.call("call", 1, "9500", "-key user trunk -d 3000"),
        lab.call("register:200", 3, "reg", "-key user u5 -au u5 -ap pw-u5"),
    ];
    let samples = watch.sample(&mut callers);
    callers.into_iter().for_each(stage::Caller::succeed);
    assert_eq!(alerts.map(|alerts| alerts.raised(11)).unwrap_or_default(), [].into(), "nothing is wrong");
    beside::judge_processes(&watch);
    // The transfer makes a call of its own.
    let seen = watch.finish(11, 11, 3);
    judge_calls(&seen, 11, &[("answered", 200, 11)]);
    judge_active(&seen, &samples);
    judge_setup(&lab, &seen, 0.0);
    judge_loss(&lab, &seen);
    assert_eq!(with(&seen.live, "voip_registration_total", "success"), 3);
    assert_eq!(with(&seen.live, "voip_registration_total", "failure"), 0);
    assert_eq!(with(&seen.live, "voip_sip_transfers_total", "success"), 1);
    assert_eq!(sum(&seen.live, "voip_sip_early_media_total"), 1);
    let challenged = seen.calls().iter().filter(|call| call["challenged"] == true).count();
    assert_eq!(challenged, 2, "one call a call, though its INVITE came twice");
    seen.lines.judge_application(
        seen.calls(),
        &[
            ("call answered", "", 0, 11),
            ("call ended", "answered", 200, 11),
            ("call transferred", "", 200, 1),
            ("registered", "accepted", 200, 3),
        ],
    );
    // Two offered once more, with their credentials; one was answered by 183 and by 200.
    seen.lines.judge_diagnostics(&seen.report, 13, 12);
    seen.lines.judge_audit(samples.len());
    seen.assert_live_equals_offline();
    seen.assert_hep_equals_wire();
}

#[test]
fn calls_that_fail_among_others() {
    let Some(lab) = Lab::up() else { return };
    let watch = Watch::start(&lab);
    let user = "-key user trunk";
    let mut callers = vec![
        lab.call("call", 2, "9001", "-key user trunk -d 1500"),
        lab.call("refused:486", 3, "9100", user),
        // A proxy does not hand on that another server is overloaded (RFC 3261 16.7, step 6).
        lab.call("refused:500", 2, "9200", user),
        lab.call("cancel", 2, "9300", user),
        lab.call("refused:408", 1, "9600", user),
        lab.call("refused:302", 1, "8900", user),
        lab.call("refused:503", 1, "9900", user),
        lab.call("refused:404", 2, "1234", user),
        lab.call("register:200", 2, "reg", "-key user u5 -au u5 -ap pw-u5"),
        lab.call("register:401", 1, "reg", "-key user u6 -au u6 -ap wrong"),
    ];
    let samples = watch.sample(&mut callers);
    callers.into_iter().for_each(stage::Caller::succeed);
    let seen = watch.finish(14, 2, 3);
    let results = [
        ("answered", 200, 2),
        ("failed", 486, 3),
        ("failed", 500, 2),
        ("cancelled", 487, 2),
        ("failed", 408, 1),
        ("redirected", 302, 1),
        ("failed", 503, 1),
        ("failed", 404, 2),
    ];
    judge_calls(&seen, 14, &results);
    assert_eq!(with(&seen.live, "voip_registration_total", "success"), 2);
    assert_eq!(with(&seen.live, "voip_registration_total", "failure"), 1);
    seen.lines.judge_application(
        seen.calls(),
        &[
            ("call answered", "", 0, 2),
            ("call ended", "answered", 200, 2),
            ("call failed", "failed", 486, 3),
            ("routing failed", "failed", 500, 2),
            ("call cancelled", "cancelled", 487, 2),
            ("routing failed", "failed", 408, 1),
            ("call redirected", "redirected", 302, 1),
            ("routing failed", "failed", 503, 1),
            ("routing failed", "failed", 404, 2),
            ("registered", "accepted", 200, 2),
            ("registration failed", "refused", 401, 1),
        ],
    );
    seen.lines.judge_diagnostics(&seen.report, 14, 2);
    seen.lines.judge_audit(samples.len());
    seen.assert_live_equals_offline();
    seen.assert_hep_equals_wire();
}

#[test]
fn calls_over_tcp_and_websocket() {
    let Some(lab) = Lab::up() else { return };
    let watch = Watch::start(&lab);
    let mut callers = vec![
        lab.call("call", 2, "9800", "-key user trunk -d 2000 -t t1"),
        lab.call("call", 2, "9001", "-key user trunk -d 2000 -t tn -max_socket 100"),
        lab.call("call", 2, "9800", "-key user trunk -d 2000"),
        lab.browser("9001"),
        lab.browser("9002"),
    ];
    let samples = watch.sample(&mut callers);
    callers.into_iter().for_each(stage::Caller::succeed);
    let seen = watch.finish(8, 8, 0);
    judge_calls(&seen, 8, &[("answered", 200, 8)]);
    for (transport, count) in [("tcp", 4), ("udp", 2), ("ws", 2)] {
        let by = seen.calls().iter().filter(|call| call["transport"] == transport).count();
        assert_eq!(by, count, "{transport}");
    }
    let most = samples.iter().map(confirmed).max();
    assert!(most <= Some(8) && most >= Some(6), "{most:?} calls at a time");
    seen.lines
        .judge_application(seen.calls(), &[("call answered", "", 0, 8), ("call ended", "answered", 200, 8)]);
    seen.lines.judge_diagnostics(&seen.report, 8, 8);
    seen.lines.judge_audit(samples.len());
    judge_setup(&lab, &seen, 0.0);
    seen.assert_live_equals_offline();
    seen.assert_hep_equals_wire();
}

#[test]
fn calls_over_a_bad_cable() {
    let Some(lab) = Lab::up() else { return };
    lab.link(&["ab:loss=3,delay=20,jitter=5", "ba:delay=40,bad=1,good=40"]);
    let watch = Watch::start(&lab);
    // Long enough for three reports of each side.
    let mut callers =
        vec![lab.call("call", 8, "9001", "-key user trunk -d 6000 -r 8"), lab.phone(PHONE_SECONDS)];
    let samples = watch.sample(&mut callers);
    callers.into_iter().for_each(stage::Caller::succeed);
    let seen = watch.finish(9, 9, 0);
    judge_calls(&seen, 9, &[("answered", 200, 9)]);
    judge_active(&seen, &samples);
    judge_setup(&lab, &seen, 0.060);
    let lost = judge_loss(&lab, &seen);
    assert!(lost > 30, "the cable has lost {lost}");
    judge_reports(&lab, &seen);
    seen.lines
        .judge_application(seen.calls(), &[("call answered", "", 0, 9), ("call ended", "answered", 200, 9)]);
    seen.lines.judge_diagnostics(&seen.report, 9, 9);
    seen.lines.judge_audit(samples.len());
    seen.assert_live_equals_offline();
    seen.assert_hep_equals_wire();
}

/// So many calls, of two legs and one Call-ID each, with these results and codes; live, and in the report.
fn judge_calls(seen: &Seen, attempts: usize, results: &[(&str, u64, u32)]) {
    assert_eq!(seen.calls().len(), attempts, "{:#?}", seen.calls());
    assert_eq!(sum(&seen.live, "voip_sip_attempts_total") as usize, attempts);
    assert_eq!(sum(&seen.live, "voip_calls_active_total"), 0);
    for &(result, code, count) in results {
        let is = |call: &&Value| call["result"] == result && call["status"] == code;
        let found: Vec<&Value> = seen.calls().iter().filter(is).collect();
        assert_eq!(found.len(), count as usize, "{result} {code}: {:#?}", seen.calls());
        let live = seen.live.lines().filter(|line| line.contains(&format!("result=\"{result}\"")));
        let live: String = live.flat_map(|line| [line, "\n"]).collect();
        assert_eq!(with(&live, "voip_sip_attempt_results_total", &format!("code=\"{code}\"")), count);
    }
    for call in seen.calls() {
        assert_eq!(call["call_ids"].as_array().unwrap().len(), 1, "{call:#}");
        if call["result"] == "answered" {
            assert_eq!(call["hops"], 2, "{call:#}");
            assert_eq!(call["end_reason"], "bye", "{call:#}");
        }
    }
}

/// Each snapshot has just the calls that were up at its time.
fn judge_active(seen: &Seen, samples: &[Value]) {
    let up = wire::calls_of(CALLER, &wire::datagrams(&seen.capture));
    assert!(samples.len() > 10);
    let mut most = 0;
    for sample in samples {
        let at = nanos(sample["at"].as_str().unwrap());
        let near = |edge: &i64| (edge - at).abs() < EDGE_NANOS;
        if up.iter().any(|(answered, over)| near(answered) || near(over)) {
            continue;
        }
        let expected = up.iter().filter(|(answered, over)| (answered..over).contains(&&at)).count();
        assert_eq!(confirmed(sample), expected, "{sample:#}");
        most = most.max(expected);
    }
    assert!(most > 5, "at most {most} calls at a time");
}

fn confirmed(sample: &Value) -> usize {
    sample["calls"].as_array().unwrap().iter().filter(|call| call["state"] == "confirmed").count()
}

/// sipp's own response times are those measured, longer by the way over the cable and back.
fn judge_setup(lab: &Lab, seen: &Seen, cable: f64) {
    let mut apart = Vec::new();
    for (process, times) in lab.response_times() {
        let own = |call: &&Value| {
            let id = call["call_id"].as_str().unwrap();
            // N-PID@HOST; the second call of a transfer is not timed.
            id.contains(&format!("-{process}@")) && !id.starts_with("second")
        };
        let mut setups: Vec<f64> =
            seen.calls().iter().filter(own).filter_map(|call| call["setup"].as_f64()).collect();
        setups.sort_by(f64::total_cmp);
        assert_eq!(setups.len(), times.len(), "sipp {process}");
        apart.extend(setups.iter().zip(times).map(|(setup, time)| (time - cable - setup).abs()));
    }
    apart.sort_by(f64::total_cmp);
    // One that the machine has held up for a moment proves nothing.
    let median = apart[apart.len() / 2];
    assert!(median < 0.005, "seconds between sipp's watch and ours: {apart:?}");
}

/// The caller's streams have lost what the cable has dropped, to the packet; all others nothing. Returns how much.
fn judge_loss(lab: &Lab, seen: &Seen) -> u64 {
    let extents = wire::streams(&wire::datagrams(&seen.capture));
    let dropped = lab.dropped();
    let mut sum = 0;
    for stream in seen.streams() {
        let (source, destination) = (endpoint(&stream["source"]), endpoint(&stream["destination"]));
        let ssrc = u32::from_str_radix(&stream["ssrc"].as_str().unwrap()[2..], 16).unwrap();
        let extent = &extents[&(source, destination, ssrc)];
        // Behind the relay the same packets are missing, and nothing else.
        let first = match stream["hop"]["of"].as_str() {
            Some(of) => seen.streams().iter().find(|stream| stream["id"] == of).unwrap(),
            None => stream,
        };
        let of_cable = format!(
            "ab {ssrc:08x} SEQUENCE {} {}",
            endpoint(&first["source"]).1,
            endpoint(&first["destination"]).1
        );
        let of_cable = of_cable.split_once(" SEQUENCE ").unwrap();
        let lines = dropped.lines().filter(|_| endpoint(&first["source"]).0 == CALLER);
        let sequences: Vec<u16> = lines
            .filter_map(|line| line.strip_prefix(of_cable.0)?.trim_start().strip_suffix(of_cable.1))
            .map(|sequence| sequence.trim().parse().unwrap())
            .collect();
        let lost = stream["lost"].as_u64().unwrap();
        assert!(extent.inside(&sequences).contains(&lost), "{extent:?}, dropped {sequences:?}: {stream:#}");
        assert_eq!(stream["packets"].as_u64().unwrap(), extent.packets, "{stream:#}");
        sum += if stream["hop"].is_null() { lost } else { 0 };
    }
    assert_eq!(extents.len(), seen.streams().len());
    sum
}

/// Of baresip's four streams: what RTCP on the wire says, and what RTPengine made of it.
fn judge_reports(lab: &Lab, seen: &Seen) {
    let packets = reports::by_tshark(&seen.capture);
    let control = wire::datagrams(&lab.file("control.pcap"));
    let by_rtpengine = reports::delete_answers(&control);
    let with_reports: Vec<&Value> =
        seen.streams().iter().filter(|stream| !stream["rtcp"].is_null()).collect();
    assert_eq!(with_reports.len(), 4);
    for stream in with_reports {
        let host = |end: &str| endpoint(&stream[end]).0.to_string();
        let ssrc = u32::from_str_radix(&stream["ssrc"].as_str().unwrap()[2..], 16).unwrap();
        let Told { reports, loss_ratio, jitter, round_trip } =
            told(&packets, &host("source"), &host("destination"), ssrc).unwrap();
        let rtcp = &stream["rtcp"];
        assert_eq!(rtcp["reports"].as_u64(), Some(reports), "{rtcp}");
        let near = |field: &str, expected: f64, by: f64| {
            let figure = rtcp[field].as_f64().unwrap();
            assert!((figure - expected).abs() < by, "{field} {figure}, tshark {expected}: {stream:#}");
        };
        near("reported_loss_ratio", loss_ratio, 1e-9);
        near("reported_jitter", f64::from(jitter) / 8000.0, 1e-9);
        // A host next door may say that it waited for longer than it did.
        near("rtt_receiver", round_trip.max(0.0), 1e-4);
        // There and back over the cable, and what the hosts need.
        let rtt = rtcp["rtt"].as_f64().unwrap();
        assert!((0.060..0.080).contains(&rtt), "{stream:#}");
    }
    judge_rtpengine(&by_rtpengine, seen);
}

/// RTPengine files under an SSRC what its owner reported: the quality of what that end heard, not of what it sent.
/// Its round trip is ours, and its MOS follows from that end's reports alone: the loss and jitter of a moment.
fn judge_rtpengine(by_ssrc: &std::collections::BTreeMap<u32, reports::Bencode>, seen: &Seen) {
    let mut judged = 0;
    for (reporter, said) in by_ssrc {
        for sample in samples(said) {
            let figure = |key| sample.number(key).unwrap() as f64;
            let (mos, round_trip) = (figure("MOS"), figure("round-trip time") / 1e6);
            if mos == 0.0 {
                // Before both ends have reported.
                continue;
            }
            let delay = round_trip * 1e3 + 2.0 * figure("jitter") + 10.0;
            let rating = if delay < 160.0 { 93.2 - delay / 40.0 } else { 93.2 - (delay - 120.0) / 10.0 };
            let rating = rating - 2.5 * figure("packet loss");
            let explained = 1.0 + 0.035 * rating + 7e-6 * rating * (rating - 60.0) * (100.0 - rating);
            assert!((explained - mos / 10.0).abs() <= 0.11, "{mos} is not {explained}: {sample:?}");
            let sent = seen.streams().iter().filter(|s| s["ssrc"] == format!("0x{reporter:08x}"));
            let ours: Vec<f64> = sent.filter_map(|stream| stream["rtcp"]["rtt"].as_f64()).collect();
            assert!(ours.iter().any(|ours| (ours - round_trip).abs() < 0.005), "{ours:?} {sample:?}");
            judged += 1;
        }
    }
    assert!(judged > 1, "{by_ssrc:#?}");
}

fn endpoint(value: &Value) -> (Ipv4Addr, u16) {
    let (ip, port) = value.as_str().unwrap().rsplit_once(':').unwrap();
    (ip.parse().unwrap(), port.parse().unwrap())
}

/// RFC 3339 in UTC as nanoseconds since 1970.
fn nanos(text: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let (mut year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Days by the civil calendar, years beginning in March.
    year -= i64::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    let seconds = ((days * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19);
    let fraction = text[19..].trim_start_matches('.').trim_end_matches('Z');
    seconds * 1_000_000_000 + format!("{fraction:0<9}").parse::<i64>().unwrap()
}

const CALLER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 10);
const PHONE_SECONDS: u32 = 17;
/// A snapshot this close to an answer or a BYE may be on either side of it.
const EDGE_NANOS: i64 = 10_000_000;
