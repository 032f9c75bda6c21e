//! What both ends of a call report about it: compound SR, SDES, and at the end BYE (RFC 3550 6.4 to 6.6).
//!
//! The tap is between the parties, `to_tap` away from each. All impairments happen before the tap, so each
//! party receives exactly what the tap saw, `to_tap` later.

use super::media::Media;
use crate::Stamp;

/// The reports of one party: about the stream it sends, and about the one it receives.
#[derive(Debug)]
pub(crate) struct Reporter {
    /// When the next report passes the tap.
    pub(crate) due: Option<Stamp>,
    /// The last one: with BYE.
    end: Stamp,
    /// One way between the party and the tap, in nanoseconds.
    to_tap: i64,
    /// Middle 32 bits of the last sender report of the other party, and when that one passed the tap.
    heard: Option<(u32, Stamp)>,
    /// Expected and received at the last report, for the fraction lost.
    prior: (u64, u64),
}

impl Reporter {
    pub(crate) fn new(first: Stamp, end: Stamp, to_tap: i64) -> Self {
        Self { due: Some(first.min(end)), end, to_tap, heard: None, prior: (0, 0) }
    }

    /// Writes the compound packet that is due. Returns the middle bits of its NTP time for the other party's
    /// [`Reporter::hear`], and whether its report block answers a sender report.
    pub(crate) fn report(
        &mut self,
        sent: &Media,
        received: Option<&Media>,
        out: &mut Vec<u8>,
    ) -> Option<(u32, bool)> {
        let now = self.due?;
        let at_sender = now.plus_nanos(-self.to_tap);
        let (seconds, fraction) = ntp(at_sender);
        let received = received.filter(|media| media.received.packets > 0);
        let (packets, octets) = sent.sent_by(at_sender);

        out.clear();
        let words: u16 = if received.is_some() { 12 } else { 6 };
        out.extend([0x80 | u8::from(received.is_some()), SENDER_REPORT]);
        out.extend(words.to_be_bytes());
        let timestamp = sent.timestamp_at(at_sender);
        for word in [sent.ssrc, seconds, fraction, timestamp, packets as u32, octets as u32] {
            out.extend(word.to_be_bytes());
        }
        let mut answers = false;
        if let Some(media) = received {
            let (lsr, dlsr) = self.round_trip(now);
            answers = lsr != 0;
            let expected = media.received.highest + 1;
            let lost = expected as i64 - media.received.packets as i64;
            let (expected_now, received_now) =
                (expected - self.prior.0, media.received.packets - self.prior.1);
            self.prior = (expected, media.received.packets);
            let fraction = (expected_now.saturating_sub(received_now) << 8) / expected_now.max(1);
            out.extend(media.ssrc.to_be_bytes());
            out.extend(((fraction as u32) << 24 | lost as u32 & 0x00ff_ffff).to_be_bytes());
            let jitter = (media.received.jitter * f64::from(media.clock_rate())) as u32;
            for word in [media.extended_highest(), jitter, lsr, dlsr] {
                out.extend(word.to_be_bytes());
            }
        }
        // SDES with a CNAME of 18 bytes: item head, text, end, padded to a word.
        let name = format!("{:08x}@simulate", sent.ssrc);
        out.extend([0x81, SOURCE_DESCRIPTION, 0, 6]);
        out.extend(sent.ssrc.to_be_bytes());
        out.extend([CNAME, name.len() as u8]);
        out.extend(name.as_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
        if now == self.end {
            out.extend([0x81, BYE, 0, 1]);
            out.extend(sent.ssrc.to_be_bytes());
            self.due = None;
        } else {
            self.due = Some(now.plus_nanos(INTERVAL).min(self.end));
        }
        Some((seconds << 16 | fraction >> 16, answers))
    }

    /// The other party's sender report passed the tap.
    pub(crate) fn hear(&mut self, middle: u32, at: Stamp) {
        self.heard = Some((middle, at));
    }

    /// LSR and DLSR; zeros when no report of the other party has reached this one yet.
    fn round_trip(&self, now: Stamp) -> (u32, u32) {
        let Some((middle, at)) = self.heard else { return (0, 0) };
        let since = now.nanos_since(at) - 2 * self.to_tap;
        if since < 0 { (0, 0) } else { (middle, (since as f64 / 1e9 * 65_536.0) as u32) }
    }
}

/// NTP seconds since 1900 and fraction.
fn ntp(at: Stamp) -> (u32, u32) {
    let (seconds, nanos) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000);
    ((seconds + SECONDS_1900_TO_1970) as u32, ((nanos << 32) / 1_000_000_000) as u32)
}

const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;
/// RFC 3550 6.2: the recommended least interval.
const INTERVAL: i64 = 5_000_000_000;
const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
