//! Captures of every kind of call there is.

use std::fmt::Write;

use sidetone::capture::pcap::Writer;
use sidetone::simulate::truth::Truth;
use sidetone::simulate::{Outcome, Plan, Traffic};
use sidetone::stamp::Stamp;
use sidetone::wire::LinkType;

use crate::scene::{CALL, Call, MS, Media, SECOND, Scene, TO_CALLEE, TO_CALLER};

/// Simulated calls of each outcome, and registrations; and what is true of them.
pub(crate) fn simulated() -> (Vec<u8>, Truth) {
    let outcomes = [
        Outcome::Answered,
        Outcome::Challenged,
        Outcome::Forked,
        Outcome::Busy,
        Outcome::Redirected,
        Outcome::NoAnswer,
        Outcome::Cancelled,
        Outcome::WrongPassword,
        Outcome::Timeout,
        Outcome::NoFinal,
    ];
    // Refusals have six statuses, by chance.
    let outcomes: Vec<_> = outcomes.into_iter().chain([Outcome::Rejected; 14]).collect();
    let plan = Plan {
        calls: outcomes.len() as u32,
        outcomes,
        duration: 3.0,
        loss: 4.0,
        mix: 60.0,
        registrations: 8,
        first: 100,
        ..Plan::default()
    };
    planned(plan)
}

/// A capture, and what is true of it.
pub(crate) fn planned(plan: Plan) -> (Vec<u8>, Truth) {
    let mut traffic = Traffic::new(plan).unwrap();
    let mut writer = Writer::new(Vec::new(), LinkType::ETHERNET).unwrap();
    while let Some(frame) = traffic.next_frame() {
        writer.frame(frame.stamp, frame.bytes).unwrap();
    }
    (writer.finish().unwrap(), traffic.take_truth())
}

const ALICE: &str = "10.2.0.1:5060";
const PROXY: &str = "10.2.0.9:5060";
const BOB: &str = "10.2.0.2:5060";
const CAROL: &str = "10.2.0.3:5060";

pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const SENDER: &str = "00f067aa0ba902b7";

/// One message of the scenes below.
struct Sip<'a> {
    call_id: &'a str,
    /// Vias, the topmost last.
    branches: &'a [&'a str],
    cseq: (u32, &'a str),
    callee: &'a str,
    is_tagged: bool,
    headers: &'a str,
    body: &'a str,
}

impl Sip<'_> {
    fn text(&self, start: &str) -> Vec<u8> {
        let mut text = format!("{start}\r\n");
        for branch in self.branches.iter().rev() {
            let _ = write!(text, "Via: SIP/2.0/UDP host;branch=z9hG4bK{branch}\r\n");
        }
        let (number, method) = self.cseq;
        let tag = if self.is_tagged { ";tag=callee" } else { "" };
        let _ = write!(
            text,
            "From: <sip:alice@example.com>;tag=caller-{}\r\nTo: <sip:{}@example.com>{tag}\r\nCall-ID: {}\r\n\
             CSeq: {number} {method}\r\nMax-Forwards: 70\r\nContact: <sip:x@example.com>\r\n{}Content-Length: {}\r\n\r\n{}",
            self.call_id,
            self.callee,
            self.call_id,
            self.headers,
            self.body.len(),
            self.body
        );
        text.into_bytes()
    }
}

/// A call from `from` to `to` under a Call-ID, with these headers in its INVITE: 180 after 0.5 s, 200 after 1 s, BYE after
/// 3 s. Behind a proxy requests are later, and responses earlier.
fn answered(
    scene: &mut Scene,
    at: i64,
    (from, to): (&str, &str),
    call_id: &str,
    branches: &[&str],
    headers: &str,
) {
    let behind = 7 * (branches.len() as i64 - 1);
    let sip = |cseq, is_tagged, headers| Sip {
        call_id,
        branches,
        cseq,
        callee: "bob",
        is_tagged,
        headers,
        body: "",
    };
    let uri = "sip:bob@example.com";
    let caller = from;
    let mut put = |after: i64, from, to, text: Vec<u8>| {
        let after = if from == caller { after + behind } else { after - behind };
        scene.udp(at + after * MS, from, to, &text);
    };
    put(0, from, to, sip((1, "INVITE"), false, headers).text(&format!("INVITE {uri} SIP/2.0")));
    put(100, to, from, sip((1, "INVITE"), false, "").text("SIP/2.0 100 Trying"));
    put(500, to, from, sip((1, "INVITE"), true, "").text("SIP/2.0 180 Ringing"));
    put(1000, to, from, sip((1, "INVITE"), true, "").text("SIP/2.0 200 OK"));
    put(1050, from, to, sip((1, "ACK"), true, "").text(&format!("ACK {uri} SIP/2.0")));
    let byes: Vec<String> = branches.iter().map(|branch| format!("{branch}-bye")).collect();
    let byes: Vec<&str> = byes.iter().map(String::as_str).collect();
    let bye = Sip { branches: &byes, ..sip((2, "BYE"), true, "Reason: Q.850;cause=16\r\n") };
    put(3000, from, to, bye.text(&format!("BYE {uri} SIP/2.0")));
    put(3020, to, from, bye.text("SIP/2.0 200 OK"));
}

/// Through a proxy, in a trace that the caller began: `proxied@x`.
fn proxied(scene: &mut Scene) {
    let context =
        format!("traceparent: 00-{TRACE}-{SENDER}-01\r\ntracestate: vendor=x\r\nUser-Agent: phone/1\r\n");
    answered(scene, SECOND, (ALICE, PROXY), "proxied@x", &["p1"], &context);
    answered(scene, SECOND, (PROXY, BOB), "proxied@x", &["p1", "p2"], &context);
}

/// Through a B2BUA: `leg-a@x` and `leg-b@x` are one call.
fn two_legs(scene: &mut Scene) {
    let session = "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\n";
    answered(scene, 10 * SECOND, (ALICE, PROXY), "leg-a@x", &["l1"], session);
    answered(scene, 10 * SECOND + 40 * MS, (PROXY, BOB), "leg-b@x", &["l2"], session);
}

/// In `before@x` a REFER names Carol; she is called by `after@x`.
fn transferred(scene: &mut Scene) {
    let at = 20 * SECOND;
    answered(scene, at, (ALICE, BOB), "before@x", &["t1"], "");
    let sip = |cseq, branches, headers, body| Sip {
        call_id: "before@x",
        branches,
        cseq,
        callee: "bob",
        is_tagged: true,
        headers,
        body,
    };
    let refer = sip((2, "REFER"), &["refer"], "Refer-To: <sip:carol@example.com>\r\n", "");
    scene.udp(at + 1500 * MS, BOB, ALICE, &refer.text("REFER sip:alice@example.com SIP/2.0"));
    let accepted = sip((2, "REFER"), &["refer"], "", "");
    scene.udp(at + 1520 * MS, ALICE, BOB, &accepted.text("SIP/2.0 202 Accepted"));
    let headers = "Referred-By: <sip:bob@example.com>\r\n";
    let second = Sip {
        call_id: "after@x",
        branches: &["t2"],
        cseq: (1, "INVITE"),
        callee: "carol",
        is_tagged: false,
        headers,
        body: "",
    };
    let tagged = |cseq, branches| Sip { is_tagged: true, headers: "", cseq, branches, ..second };
    let uri = "sip:carol@example.com";
    scene.udp(at + 1600 * MS, ALICE, CAROL, &second.text(&format!("INVITE {uri} SIP/2.0")));
    scene.udp(at + 1700 * MS, CAROL, ALICE, &tagged((1, "INVITE"), &["t2"]).text("SIP/2.0 200 OK"));
    scene.udp(
        at + 1710 * MS,
        ALICE,
        CAROL,
        &tagged((1, "ACK"), &["t2a"]).text(&format!("ACK {uri} SIP/2.0")),
    );
    let told = "Event: refer\r\nSubscription-State: terminated\r\nContent-Type: message/sipfrag\r\n";
    let notify = sip((3, "NOTIFY"), &["notify"], told, "SIP/2.0 200 OK\r\n");
    scene.udp(at + 1800 * MS, ALICE, BOB, &notify.text("NOTIFY sip:bob@example.com SIP/2.0"));
    let noted = sip((3, "NOTIFY"), &["notify"], "", "");
    scene.udp(at + 1820 * MS, BOB, ALICE, &noted.text("SIP/2.0 200 OK"));
    scene.udp(
        at + 5000 * MS,
        ALICE,
        CAROL,
        &tagged((2, "BYE"), &["t2b"]).text(&format!("BYE {uri} SIP/2.0")),
    );
    scene.udp(at + 5020 * MS, CAROL, ALICE, &tagged((2, "BYE"), &["t2b"]).text("SIP/2.0 200 OK"));
}

/// `both-ways`, and then from the same network `one-way`: media in one direction only, though both were agreed upon.
fn one_way(scene: &mut Scene) {
    let call = Call { id: "both-ways", caller: "10.1.0.7:5060", caller_media: "10.1.0.7:16384", ..CALL };
    let at = 40 * SECOND;
    scene.answered(at, &call);
    let to_callee = Media { from: call.caller_media, ssrc: 1, ..TO_CALLEE };
    let to_caller = Media { to: call.caller_media, ssrc: 2, ..TO_CALLER };
    scene.media(at + 300 * MS, &to_callee, 0, 600);
    scene.media(at + 300 * MS, &to_caller, 0, 600);
    scene.bye(at + 13 * SECOND, &call);
    let (at, call) = (at + 20 * SECOND, Call { id: "one-way", ..CALL });
    scene.answered(at, &call);
    scene.media(at + 300 * MS, &TO_CALLEE, 0, 600);
    scene.bye(at + 13 * SECOND, &call);
}

/// What no simulator makes.
pub(crate) fn by_hand() -> Vec<u8> {
    let mut scene = Scene::default();
    proxied(&mut scene);
    two_legs(&mut scene);
    transferred(&mut scene);
    one_way(&mut scene);
    let mut frames: Vec<_> = scene.frames.iter().collect();
    frames.sort_by_key(|frame| frame.at);
    let mut writer = Writer::new(Vec::new(), LinkType::ETHERNET).unwrap();
    for frame in frames {
        writer.frame(Stamp(BEGINNING.saturating_add_signed(frame.at)), &frame.bytes).unwrap();
    }
    writer.finish().unwrap()
}

/// 2026-02-01T00:00:00Z.
pub(crate) const BEGINNING: u64 = 1_769_904_000_000_000_000;
