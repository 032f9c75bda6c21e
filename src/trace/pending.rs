//! Streams and windows of calls that are not over yet. Bounded: what goes first is what is oldest.

use std::collections::{BTreeMap, VecDeque};

use super::Remains;
use crate::Stamp;
use crate::event::{Call, Stream, Transfer, Window};

/// What waits for the end of its call.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By the number of the stream.
    windows: BTreeMap<u32, Windows>,
    streams: BTreeMap<u32, Heard>,
    transfers: VecDeque<Transfer>,
    /// Streams that went before their call.
    pub(super) forgotten: u64,
}

/// A stream that is over, and its windows.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) stream: Stream,
    pub(super) windows: Windows,
}

/// The windows of one stream: all of a call of usual length, else the worst.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    pub(super) kept: Vec<Heat>,
    pub(super) dropped: u32,
}

/// What is kept of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Heat {
    pub(super) start: Stamp,
    pub(super) mos: f32,
    pub(super) jitter: Option<f32>,
    pub(super) expected: u32,
    pub(super) lost: u32,
    pub(super) late: u32,
    pub(super) tainted: bool,
}

impl Pending {
    pub(super) fn window(&mut self, window: &Window) {
        if self.windows.len() >= MAX_STREAMS && !self.windows.contains_key(&window.stream) {
            self.windows.pop_first();
            self.forgotten += 1;
        }
        self.windows.entry(window.stream).or_default().add(Heat {
            start: window.start,
            mos: window.mos_lq as f32,
            jitter: window.jitter.map(|jitter| jitter as f32),
            expected: window.expected,
            lost: window.lost,
            late: window.late,
            tainted: window.tainted,
        });
    }

    pub(super) fn stream(&mut self, stream: &Stream) {
        let Some(serial) = serial(&stream.id) else { return };
        if self.streams.len() >= MAX_STREAMS {
            self.streams.pop_first();
            self.forgotten += 1;
        }
        let windows = self.windows.remove(&serial).unwrap_or_default();
        self.streams.insert(serial, Heard { stream: stream.clone(), windows });
    }

    /// Of a stream without a call nobody will ask.
    pub(super) fn forget(&mut self, stream: &Stream) {
        if let Some(serial) = serial(&stream.id) {
            self.windows.remove(&serial);
        }
    }

    pub(super) fn transfer(&mut self, transfer: &Transfer) {
        if self.transfers.len() >= MAX_TRANSFERS {
            self.transfers.pop_front();
        }
        self.transfers.push_back(transfer.clone());
    }

    /// What belongs to a call that is over.
    pub(super) fn take(&mut self, call: &Call) -> Remains {
        let streams = call.streams.iter().filter_map(|id| self.streams.remove(&serial(id)?)).collect();
        let place = self.transfers.iter().position(|transfer| call.call_ids.contains(&transfer.call_id));
        Remains { streams, transfer: place.and_then(|place| self.transfers.remove(place)) }
    }
}

impl Windows {
    fn add(&mut self, window: Heat) {
        if self.kept.len() < MAX_WINDOWS {
            return self.kept.push(window);
        }
        self.dropped += 1;
        let best = self.kept.iter().enumerate().max_by(|(_, a), (_, b)| a.mos.total_cmp(&b.mos));
        if let Some((place, _)) = best.filter(|(_, best)| best.mos > window.mos) {
            self.kept.remove(place);
            self.kept.push(window);
        }
    }
}

fn serial(id: &str) -> Option<u32> {
    id.strip_prefix('s')?.parse().ok()
}

/// Streams whose call is not over.
const MAX_STREAMS: usize = 65_536;
/// Five minutes of windows; of a longer stream the worst.
const MAX_WINDOWS: usize = 30;
const MAX_TRANSFERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::samples;

    #[test]
    fn of_a_long_stream_the_worst_windows_stay() {
        let mut pending = Pending::default();
        for n in 0..200_u32 {
            let mos_lq = 1.0 + f64::from(n * 7 % 200) / 100.0;
            pending.window(&Window { mos_lq, ..samples::window() });
        }
        pending.stream(&samples::stream());
        let heard = pending.take(&samples::call()).streams.pop().unwrap();
        assert_eq!((heard.windows.kept.len(), heard.windows.dropped), (MAX_WINDOWS, 170));
        assert!(heard.windows.kept.iter().all(|window| window.mos < 1.3));
        assert!(pending.windows.is_empty() && pending.streams.is_empty());
    }

    #[test]
    fn a_flood_of_streams_is_bounded_and_counted() {
        let mut pending = Pending::default();
        for n in 0..MAX_STREAMS as u32 + 10 {
            pending.window(&Window { stream: n, ..samples::window() });
        }
        assert_eq!((pending.windows.len(), pending.forgotten), (MAX_STREAMS, 10));
    }
}
