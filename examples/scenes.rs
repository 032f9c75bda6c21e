//! Writes `fixtures/scenes/mixed.pcap`: an evening in small, with calls that went well and calls that did not.
//!
//! `cargo run --example scenes`, in the root of the repository. The same bytes every time.

use std::fs::File;
use std::io::BufWriter;

use sidetone::Stamp;
use sidetone::capture::pcap::Writer;
use sidetone::rtp::payload::Codec;
use sidetone::simulate::{Outcome, Plan, Traffic};
use sidetone::wire::LinkType;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let evening = Plan { codec: Codec::G729, rate: 0.5, ..Plan::default() };
    let later = |seconds| evening.start.plus_seconds(seconds);
    let signalling = Plan {
        calls: 8,
        duration: 5.0,
        registrations: 4,
        mix: 40.0,
        outcomes: vec![
            Outcome::Answered,
            Outcome::Busy,
            Outcome::Timeout,
            Outcome::Challenged,
            Outcome::Cancelled,
            Outcome::NoAnswer,
            Outcome::Rejected,
            Outcome::Redirected,
        ],
        ..evening.clone()
    };
    let call = Plan { calls: 1, ..evening.clone() };
    let lossy = Plan { duration: 6.0, loss: 6.0, burst: 4.0, seed: 2, start: later(45), ..call.clone() };
    let late = Plan { duration: 5.0, jitter: 25.0, seed: 3, start: later(60), ..call.clone() };
    let deaf = Plan { duration: 8.0, seed: 4, start: later(75), ..call };

    let mut frames: Vec<(Stamp, Vec<u8>)> = Vec::new();
    for plan in [signalling, lossy, late] {
        frames.extend(all(plan)?);
    }
    // A firewall between the two: what the callee sends never reaches the tap.
    frames.extend(all(deaf)?.into_iter().filter(|(_, frame)| !is_media_of_callee(frame)));
    frames.sort_by_key(|(stamp, _)| *stamp);

    let file = BufWriter::new(File::create("fixtures/scenes/mixed.pcap")?);
    let mut writer = Writer::new(file, LinkType::ETHERNET)?;
    for (stamp, frame) in &frames {
        writer.frame(*stamp, frame)?;
    }
    writer.finish()?;
    Ok(())
}

fn all(plan: Plan) -> Result<Vec<(Stamp, Vec<u8>)>, sidetone::simulate::Error> {
    let mut traffic = Traffic::new(plan)?;
    let mut frames = Vec::new();
    while let Some(frame) = traffic.next_frame() {
        frames.push((frame.stamp, frame.bytes.to_vec()));
    }
    Ok(frames)
}

/// Simulated callees live in 198.51.100/24; all but SIP of theirs is media.
fn is_media_of_callee(frame: &[u8]) -> bool {
    let source = frame.get(26..29);
    let port = frame.get(34..36).map(|port| u16::from_be_bytes([port[0], port[1]]));
    source == Some(&[198, 51, 100]) && port != Some(5060)
}
