//! What passes on the cables.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use sidetone::capture::pcap::Writer;
use sidetone::simulate::{Outcome, Plan, Traffic};
use sidetone::stamp::Stamp;
use sidetone::wire::LinkType;

type Frames = Vec<(Stamp, Vec<u8>)>;

/// Calls that lose packets, are refused, ring late, are heard on one side; phones that do not know their password; frames
/// that are none.
pub(crate) fn ill(to: &Path) {
    let lossy = Plan { calls: 70, rate: 25.0, duration: 13.0, loss: 12.0, first: 0, ..plan() };
    let refused = Plan { calls: 40, rate: 10.0, outcomes: vec![Outcome::Rejected], first: 1000, ..plan() };
    // In the networks of the others, so that media of both directions were seen there.
    let deaf = Plan { calls: 12, rate: 4.0, duration: 8.0, first: 100, ..plan() };
    let slow = Plan { calls: 10, rate: 5.0, duration: 1.0, first: 150, ..plan() };
    let guessing = Plan { calls: 0, registrations: 160, rate: 16.0, mix: 100.0, first: 2000, ..plan() };
    let mut frames = of(lossy);
    frames.extend(of(refused));
    frames.extend(of(guessing));
    frames.extend(of(deaf).into_iter().filter(|(_, frame)| !is_media_of_callee(frame)));
    frames.extend(of(slow).into_iter().map(|(at, frame)| {
        let first = has(&frame, b"INVITE sip:") || has(&frame, b"SIP/2.0 100");
        (if first { at } else { at.plus_nanos(RINGS_LATE) }, frame)
    }));
    // A header that is longer than what the packet says it has in all.
    let mut broken = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x4f];
    broken.resize(60, 0);
    frames.extend((0..3000).map(|n| (plan().start.plus_nanos(n * 5_000_000), broken.clone())));
    write(to, frames);
}

/// Calls and phones as they should be; some callees are busy, and some callers think better of it. Not enough audio for
/// a word on how it sounds: whether packets leave in time is not up to the test on a busy machine.
pub(crate) fn well(to: &Path) {
    let calls = Plan { calls: 25, rate: 5.0, duration: 3.0, registrations: 40, ..plan() };
    let busy = Plan { calls: 6, rate: 2.0, outcomes: vec![Outcome::Busy], first: 500, ..plan() };
    let cancelled = Plan { calls: 2, rate: 2.0, outcomes: vec![Outcome::Cancelled], first: 600, ..plan() };
    write(to, [calls, busy, cancelled].into_iter().flat_map(of).collect());
}

/// More registrations than facts may wait.
pub(crate) fn flood(to: &Path) {
    write(to, of(Plan { calls: 0, registrations: 12_000, rate: 4000.0, mix: 100.0, ..plan() }));
}

fn plan() -> Plan {
    Plan { start: Stamp(1_800_000_000_000_000_000), ..Plan::default() }
}

fn of(plan: Plan) -> Frames {
    let mut traffic = Traffic::new(plan).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = traffic.next_frame() {
        frames.push((frame.stamp, frame.bytes.to_vec()));
    }
    frames
}

fn write(to: &Path, mut frames: Frames) {
    frames.sort_by_key(|(at, _)| *at);
    let mut writer = Writer::new(BufWriter::new(File::create(to).unwrap()), LinkType::ETHERNET).unwrap();
    for (at, frame) in &frames {
        writer.frame(*at, frame).unwrap();
    }
    writer.finish().unwrap();
}

/// Simulated callees live in 198.51.100/24; all but SIP of theirs is media.
fn is_media_of_callee(frame: &[u8]) -> bool {
    let port = frame.get(34..36).map(|port| u16::from_be_bytes([port[0], port[1]]));
    frame.get(26..29) == Some(&[198, 51, 100]) && port != Some(5060)
}

fn has(frame: &[u8], words: &[u8]) -> bool {
    frame.get(42..).is_some_and(|payload| payload.starts_with(words))
}

/// ITU-T E.721 allows 6 s.
const RINGS_LATE: i64 = 7_000_000_000;
