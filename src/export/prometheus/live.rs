//! Families of what is up, and counters that rise while streams live.

use std::collections::HashMap;

use crate::event::{CallState, Live, Stream, StreamCounts, Totals};

use super::family::{Counters, Declare, Gauges};
use super::{media, sip};

#[derive(Debug)]
pub(super) struct LiveMetrics {
    streams: Gauges<3>,
    registrations: Gauges<0>,
    tables: Gauges<1>,
    dropped: Counters<0>,
    lost_events: Counters<0>,
    /// What was told of each live stream, by its serial number.
    told: HashMap<u32, StreamCounts>,
    totals: Totals,
}

impl LiveMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            streams: on.gauge(
                "voip_rtp_streams_active",
                &["codec", "direction", "phase"],
                "RTP streams that have not ended, by whether the call was answered when they began",
            ),
            registrations: on.gauge("voip_sip_registrations_active", &[], "Bindings that have not run out"),
            tables: on.gauge("sidetone_table_entries", &["table"], "Entries in each table of the observer"),
            dropped: on.counter(
                "sidetone_capture_drops",
                &[],
                "Packets the kernel dropped at the tap because the ring was full",
            ),
            lost_events: on.counter(
                "sidetone_events_lost",
                &[],
                "Facts that found the queue to the exporters full",
            ),
            told: HashMap::new(),
            totals: Totals::default(),
        }
    }

    /// How much more was counted than was told before.
    pub(super) fn news(&mut self, totals: &Totals) -> Totals {
        let news = totals.beyond(&self.totals);
        self.totals = totals.clone();
        news
    }

    /// What a stream has counted beyond what was told of it before.
    pub(super) fn beyond(&self, serial: u32, counts: &StreamCounts) -> StreamCounts {
        match self.told.get(&serial) {
            Some(told) => counts.beyond(told),
            None => *counts,
        }
    }

    /// The last word on a stream.
    pub(super) fn ended(&mut self, stream: &Stream) -> StreamCounts {
        let serial = stream.id.strip_prefix('s').and_then(|serial| serial.parse().ok());
        let told = serial.and_then(|serial: u32| self.told.remove(&serial)).unwrap_or_default();
        stream.counts().beyond(&told)
    }

    /// Gauges as they stand, and what was told of each stream up to now. Snapshots come in one line with the events:
    /// a stream that has ended is in none after its end.
    pub(super) fn set(&mut self, live: &Live, dropped: u64, lost_events: u64) {
        self.told = live.streams.iter().map(|stream| (stream.serial, stream.counts)).collect();
        self.streams.clear();
        for stream in &live.streams {
            let phase = if stream.early { "early" } else { "answered" };
            let labels =
                [media::codec(stream.codec).into(), media::direction(stream.direction).into(), phase.into()];
            self.streams.raise(labels);
        }
        self.registrations.clear();
        self.registrations.set([], live.registrations);
        for &(table, entries) in &live.tables {
            self.tables.set([table.into()], entries);
        }
        self.dropped.reach([], dropped);
        self.lost_events.reach([], lost_events);
    }
}

impl sip::SipMetrics {
    /// Calls as they stand.
    pub(super) fn set_live(&self, live: &Live) {
        self.clear_live();
        for call in &live.calls {
            self.stands(call.state, call.tenant.as_deref(), call.route.as_deref(), call.codec);
        }
        let confirmed = live.calls.iter().filter(|call| call.state == CallState::Confirmed);
        confirmed.filter_map(|call| call.one_way).for_each(|missing| self.one_way_now(missing));
    }
}
