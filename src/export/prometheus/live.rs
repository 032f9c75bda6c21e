//! Families of what is up, and counters that rise while streams live.
//!
//! ```text
//! Live (each scrape): counts so far - counts told = news -> counters, under the labels of now
//! Event::Stream     : final counts  - counts told = news -> counters, under the labels at the end
//! ```
//!
//! So a stream adds up to its final counts however often it was told, and no counter falls when its codec or its
//! direction becomes known in between.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use crate::event::{Live, LiveStream, Stream, StreamCounts, Totals};

use super::family::{Declare, Gauges};
use super::media;

#[derive(Debug)]
pub(super) struct LiveMetrics {
    streams: Gauges<3>,
    registrations: Gauges<0>,
    tables: Gauges<1>,
    /// What was told of each live stream, by its serial number.
    told: HashMap<u32, StreamCounts, RandomState>,
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
            told: HashMap::default(),
            totals: Totals::default(),
        }
    }

    /// How much more was counted than was told before.
    pub(super) fn news(&mut self, totals: &Totals) -> Totals {
        let news = totals.beyond(&self.totals);
        self.totals = totals.clone();
        news
    }

    /// What each live stream has counted beyond what was told of it before. Snapshots come in one line with the
    /// events: a stream that has ended is in none after its end, so no more is kept than what lives.
    pub(super) fn news_of_streams<'a>(&mut self, live: &'a Live) -> Vec<(&'a LiveStream, StreamCounts)> {
        let mut told = HashMap::with_capacity_and_hasher(live.streams.len(), RandomState::default());
        let news = live.streams.iter().map(|stream| {
            let mut counts = self.told.get(&stream.serial).copied().unwrap_or_default();
            let news = stream.counts.beyond(&counts);
            add(&mut counts, &news);
            told.insert(stream.serial, counts);
            (stream, news)
        });
        let news = news.collect();
        self.told = told;
        news
    }

    /// The last word on a stream.
    pub(super) fn ended(&mut self, stream: &Stream) -> StreamCounts {
        let serial = stream.id.strip_prefix('s').and_then(|serial| serial.parse().ok());
        let told = serial.and_then(|serial: u32| self.told.remove(&serial)).unwrap_or_default();
        stream.counts().beyond(&told)
    }

    /// Gauges as they stand.
    pub(super) fn set(&self, live: &Live) {
        self.streams.clear();
        let labels = live.streams.iter().map(|stream| (stream.codec, stream.direction, stream.early));
        for ((codec, direction, early), count) in tally(labels) {
            let phase = if early { "early" } else { "answered" };
            let labels = [media::codec(codec).into(), media::direction(direction).into(), phase.into()];
            self.streams.raise_by(labels, count);
        }
        self.registrations.set([], live.registrations as u64);
        for &(table, entries) in &live.tables {
            self.tables.set([table.into()], entries as u64);
        }
    }
}

/// How often each comes: labels are looked up once for all that share them, not once for each.
pub(super) fn tally<K: Eq + Hash>(keys: impl Iterator<Item = K>) -> HashMap<K, usize, RandomState> {
    let mut counts = HashMap::default();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// Adds what a stream has counted.
pub(super) fn add(to: &mut StreamCounts, more: &StreamCounts) {
    for (to, more) in [
        (&mut to.packets, more.packets),
        (&mut to.bytes, more.bytes),
        (&mut to.expected, more.expected),
        (&mut to.lost, more.lost),
        (&mut to.duplicates, more.duplicates),
        (&mut to.reordered, more.reordered),
        (&mut to.rejected, more.rejected),
        (&mut to.late50, more.late50),
        (&mut to.late200, more.late200),
        (&mut to.late_adaptive, more.late_adaptive),
        (&mut to.restarts, more.restarts),
        (&mut to.discontinuities, more.discontinuities),
        (&mut to.stalls, more.stalls),
    ] {
        *to += more;
    }
}
