//! What is up at this moment: calls that have not ended, streams that flow, and how full the tables are.
//!
//! A copy, made by the one who owns the state, for scrapes and the JSON interface. Small on purpose: it is made while
//! packets wait.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Band, CallState, Direction, Missing, SipTransport, Totals, Via};
use crate::Stamp;
use crate::rtp::payload::Codec;
use crate::wire::Endpoint;

/// Everything that is up.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Packet time at which it was so.
    pub at: Stamp,
    /// Everything counted so far.
    pub totals: Totals,
    /// Calls that have not ended, in no order that means anything.
    pub calls: Vec<LiveCall>,
    /// Streams that have not ended.
    pub streams: Vec<LiveStream>,
    /// Bindings that have not run out (MEAS 5.8).
    pub registrations: usize,
    /// Entries of each table, by its name in [`Totals::evicted`].
    pub tables: Vec<(&'static str, usize)>,
}

/// A call that has not ended. The keys are those of [`super::Call`].
#[derive(Clone, Debug, Serialize)]
pub struct LiveCall {
    /// Call-ID of the primary leg.
    pub call_id: String,
    /// From URI.
    pub from: String,
    /// To URI.
    pub to: String,
    /// Sender of the first INVITE.
    pub source: Endpoint,
    /// Receiver of the first INVITE.
    pub destination: Endpoint,
    /// What carried the first INVITE.
    pub transport: SipTransport,
    /// How it reached us.
    pub via: Via,
    /// Where it stands.
    pub state: CallState,
    /// First INVITE.
    pub start: Stamp,
    /// First 2xx.
    pub answered: Option<Stamp>,
    /// Configured tenant.
    pub tenant: Option<String>,
    /// Configured route.
    pub route: Option<String>,
    /// Codec that carries most audio.
    pub codec: Option<Codec>,
    /// Direction without media (MEAS 6.1).
    pub one_way: Option<Missing>,
}

/// A stream that has not ended. The keys are those of [`super::Stream`]; counts are those so far, losses those that
/// are final.
#[derive(Clone, Debug, Serialize)]
pub struct LiveStream {
    /// Number behind the `s` of its id.
    pub serial: u32,
    /// SSRC.
    pub ssrc: u32,
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// Place of its call in [`Live::calls`].
    #[serde(skip)]
    pub call: Option<u32>,
    /// Direction in its call.
    pub direction: Option<Direction>,
    /// Codec that carries most audio.
    pub codec: Codec,
    /// Before the answer.
    pub early: bool,
    /// Place among the hops of the same media, 0 = nearest to the sender (MEAS 1.11.4).
    pub hop: u8,
    /// First packet.
    pub first: Stamp,
    /// Last packet.
    pub last: Stamp,
    /// What it has counted.
    #[serde(flatten)]
    pub counts: StreamCounts,
    /// Interarrival jitter now, seconds.
    pub jitter: Option<f64>,
    /// MOS-LQ so far; `None` below 50 packets, or where it cannot be told.
    pub mos: Option<f64>,
    /// Scale of the MOS.
    pub band: Option<Band>,
}

/// The counters of a stream, which only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields of event::Stream, which documents them")]
pub struct StreamCounts {
    pub packets: u64,
    pub bytes: u64,
    pub expected: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub rejected: u64,
    pub late50: u64,
    pub late200: u64,
    pub late_adaptive: u64,
    pub restarts: u64,
    pub discontinuities: u64,
    pub stalls: u64,
}

impl StreamCounts {
    /// How much more this is than `before`.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            expected: self.expected.saturating_sub(before.expected),
            lost: self.lost.saturating_sub(before.lost),
            duplicates: self.duplicates.saturating_sub(before.duplicates),
            reordered: self.reordered.saturating_sub(before.reordered),
            rejected: self.rejected.saturating_sub(before.rejected),
            late50: self.late50.saturating_sub(before.late50),
            late200: self.late200.saturating_sub(before.late200),
            late_adaptive: self.late_adaptive.saturating_sub(before.late_adaptive),
            restarts: self.restarts.saturating_sub(before.restarts),
            discontinuities: self.discontinuities.saturating_sub(before.discontinuities),
            stalls: self.stalls.saturating_sub(before.stalls),
        }
    }
}

impl Totals {
    /// How much more was counted than `before`; what is no counter stands as it is here.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Self {
        fn each<K: Ord + Clone>(now: &BTreeMap<K, u64>, before: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
            let more = |(key, count): (&K, &u64)| {
                (key.clone(), count.saturating_sub(before.get(key).copied().unwrap_or(0)))
            };
            now.iter().map(more).collect()
        }
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            skipped: each(&self.skipped, &before.skipped),
            undecoded: self.undecoded.saturating_sub(before.undecoded),
            fragments: self.fragments.saturating_sub(before.fragments),
            duplicates: self.duplicates.saturating_sub(before.duplicates),
            truncated: self.truncated.saturating_sub(before.truncated),
            requests: each(&self.requests, &before.requests),
            responses: each(&self.responses, &before.responses),
            retransmissions: self.retransmissions.saturating_sub(before.retransmissions),
            malformed: self.malformed.saturating_sub(before.malformed),
            orphans: self.orphans.saturating_sub(before.orphans),
            defects: each(&self.defects, &before.defects),
            evicted: each(&self.evicted, &before.evicted),
            ..self.clone()
        }
    }
}

impl LiveStream {
    /// Share of the expected packets that are lost, where any outcome is final.
    pub fn loss_ratio(&self) -> Option<f64> {
        (self.counts.expected > 0).then(|| self.counts.lost as f64 / self.counts.expected as f64)
    }
}

impl super::Stream {
    /// Its counters, to be set against those of [`LiveStream`].
    pub fn counts(&self) -> StreamCounts {
        let late = self.discarded.unwrap_or(super::Discarded { fixed50: 0, fixed200: 0, adaptive: 0 });
        StreamCounts {
            packets: self.packets,
            bytes: self.bytes,
            expected: self.expected,
            lost: self.lost,
            duplicates: self.duplicates,
            reordered: self.reordered,
            rejected: self.rejected,
            late50: late.fixed50,
            late200: late.fixed200,
            late_adaptive: late.adaptive,
            restarts: self.restarts,
            discontinuities: self.discontinuities,
            stalls: self.stalls,
        }
    }
}
