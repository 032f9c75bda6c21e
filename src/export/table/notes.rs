//! The legend: what each flag that was used means, and where to look.

use std::collections::BTreeSet;

use super::layout::{PAGE_WIDTH, title};
use super::style::Style;

/// A remark on a call or a stream, in the order of the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flag {
    OneWayCaller,
    OneWayCallee,
    DeadAir,
    NoBye,
    StillUp,
    Resent,
    Transfer,
    Forked,
    Early,
    Auth,
    Outage,
    Bursty,
    Stalls,
    CutTail,
    Overlap,
    Restart,
    Skew,
    OutOfRange,
    NoSdp,
    Srtp,
    Estimate,
}

impl Flag {
    pub(super) fn word(self) -> &'static str {
        self.legend().0
    }

    fn legend(self) -> (&'static str, &'static str) {
        match self {
            Self::OneWayCaller => (
                "deaf-caller",
                "one-way: no media towards the caller: look at NAT, firewall, and the address and port in the callee's SDP",
            ),
            Self::OneWayCallee => (
                "deaf-callee",
                "one-way: no media towards the callee: look at NAT, firewall, and the address and port in the caller's SDP",
            ),
            Self::DeadAir => (
                "dead-air",
                "packets flow but carry silence only: look at mute, media server, transcoder and SRTP keys",
            ),
            Self::NoBye => (
                "no-bye",
                "ended without BYE (time-out, 481, eviction): look for a crashed endpoint or signalling that bypasses the tap",
            ),
            Self::StillUp => ("still-up", "had not ended when the capture did"),
            Self::Resent => (
                "resent",
                "SIP messages were repeated: look for loss on the signalling path or a slow next hop",
            ),
            Self::Transfer => ("transfer", "began by REFER or with Replaces"),
            Self::Forked => {
                ("forked", "rang at several places; the first to ring and the first to answer count")
            }
            Self::Early => ("early", "media were described before the answer (announcement, ring-back tone)"),
            Self::Auth => ("auth", "was challenged (401 or 407); delays include the round trip for it"),
            Self::Outage => (
                "outage",
                "over 1 s lost in one piece: look for route changes, hand-over, a restarted media relay",
            ),
            Self::Bursty => ("bursty", "loss in bursts: look for a full queue on the way, Wi-Fi, a policer"),
            Self::Stalls => (
                "stalls",
                "no packet for over 500 ms without silence suppression: look at the sender's load and at queues",
            ),
            Self::CutTail => ("cut-tail", "fell silent over 1 s before BYE while the other side still sent"),
            Self::Overlap => (
                "overlap",
                "two sources sent on one path at a time: look for a fork or a relay that mixes streams",
            ),
            Self::Restart => {
                ("restart", "sequence numbers began anew: look for transfer, hold or a restarted sender")
            }
            Self::Skew => ("skew", "the sender's clock is off by over 200 ppm: its audio slips regularly"),
            Self::OutOfRange => {
                ("over-20%", "more loss than the E-model was validated for: read the MOS as `very bad`")
            }
            Self::NoSdp => ("no-sdp", "found without SDP; codec and direction rest on the packets alone"),
            Self::Srtp => ("srtp", "encrypted: its clear header was measured, sound was not"),
            Self::Estimate => {
                ("estimate", "no published constants for this codec: compare its MOS with itself only")
            }
        }
    }
}

/// Flags and reasons that the tables used.
#[derive(Debug, Default)]
pub(super) struct Notes {
    flags: BTreeSet<Flag>,
    reasons: Vec<String>,
    pub(super) directions: bool,
    pub(super) losses_refused: u64,
    pub(super) streams: bool,
}

impl Notes {
    /// The words of some flags, noted for the legend.
    pub(super) fn words(&mut self, flags: &[Flag]) -> String {
        self.flags.extend(flags);
        flags.iter().map(|flag| flag.word()).collect::<Vec<_>>().join(" ")
    }

    /// The mark `(a)` that stands for why a number is absent.
    pub(super) fn mark(&mut self, reason: &str) -> String {
        let at = self.reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
            if self.reasons.len() < LETTERS.len() {
                self.reasons.push(reason.to_owned());
            }
            self.reasons.len() - 1
        });
        letter(at)
    }

    pub(super) fn print(self, page: &mut String, style: Style) {
        let line = |word: &str, meaning: &str| (word.to_owned(), meaning.to_owned());
        let mut lines = Vec::new();
        for (at, reason) in self.reasons.iter().enumerate() {
            lines.push((letter(at), format!("no MOS: {reason}")));
        }
        if self.directions {
            lines.push(line("loss> loss<", "worst stream towards the callee, towards the caller"));
        }
        if self.losses_refused > 0 {
            let some = format!(
                "not shown for all calls: too many at a time ({} streams left out)",
                self.losses_refused
            );
            lines.push((String::new(), some));
        }
        if self.streams {
            lines.push(line("burst", "BurstR: 1 = losses fall at random, more = they come together"));
            lines.push(line("jitter", "mean/largest, ms (RFC 3550)"));
            let late = "arrived, but too late for an adaptive de-jitter buffer; counted in the MOS";
            lines.push(line("late", late));
            lines.push(line("RTT", "round trip from end to end by RTCP, ms"));
        }
        lines.extend(self.flags.iter().map(|flag| line(flag.word(), flag.legend().1)));
        if lines.is_empty() {
            return;
        }
        title(page, "Notes", style);
        for (word, meaning) in lines {
            let mut line = format!("  {word:<WORD_WIDTH$}");
            let mut used = 2 + WORD_WIDTH;
            for word in style.clean(&meaning).split(' ') {
                let word = style.elide(word, PAGE_WIDTH - 2 - WORD_WIDTH - 1);
                let width = super::layout::width(&word);
                if used + 1 + width > PAGE_WIDTH {
                    page.push_str(&line);
                    page.push('\n');
                    line = " ".repeat(2 + WORD_WIDTH);
                    used = 2 + WORD_WIDTH;
                }
                line.push(' ');
                line.push_str(&word);
                used += 1 + width;
            }
            page.push_str(&line);
            page.push('\n');
        }
    }
}

fn letter(at: usize) -> String {
    format!("({})", LETTERS.get(at..=at).unwrap_or("z"))
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
const WORD_WIDTH: usize = 12;
