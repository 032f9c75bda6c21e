//! One RTP stream: packets in order of arrival, and what is true of them.
//!
//! ```text
//! sent every ptime -> fate -> delay (in a queue: none overtakes) -> pending -> arrival
//!                      lost: a run        late: waits for its successor
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::impair::{Fate, Impairment};
use super::packet::{Flow, endpoint};
use super::sound::Sound;
use super::truth;
use crate::Stamp;
use crate::event::{Direction, Jitter};
use crate::random::Random;

/// A stream being sent.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) flow: Flow,
    pub(crate) ssrc: u32,
    pub(crate) received: Received,
    sound: Arc<Sound>,
    impairment: Impairment,
    random: Random,
    begin: Stamp,
    /// Packets to send.
    count: u64,
    first_sequence: u16,
    first_timestamp: u32,
    ip_id: u16,
    /// Next packet whose fate is not drawn yet.
    next: u64,
    /// A late packet waiting for a successor that arrives.
    held: Option<u64>,
    latest_arrival: Stamp,
    /// Packets on their way: arrival, number, and whether it is the second one of that number. As many as the
    /// longest delay holds.
    pending: BinaryHeap<Reverse<(Stamp, u64, bool)>>,
    lost_runs: Vec<(u16, u32)>,
    lost: u64,
    previous_lost: bool,
}

impl Media {
    /// A stream from `begin` on, all of whose packets arrive before `end`; `None` when none fits.
    pub(crate) fn new(
        flow: Flow,
        sound: Arc<Sound>,
        impairment: Impairment,
        (begin, end): (Stamp, Stamp),
        mut random: Random,
    ) -> Option<Self> {
        let spacing = u64::from(sound.ptime_ms) * 1_000_000;
        let room = end.0.checked_sub(begin.0)?.checked_sub(impairment.most_delay() + 2 * spacing)?;
        let count = room / spacing + 1;
        // Every fourth stream wraps its sequence numbers, every fourth its time stamps.
        let mut near_wrap = |range: u64, step: u64| {
            let random_start = random.between(0, range - 1);
            let before_wrap = random.between(1, count) * step;
            if random.happens(0.25) { range.saturating_sub(before_wrap) } else { random_start }
        };
        let first_sequence = near_wrap(1 << 16, 1) as u16;
        let first_timestamp = near_wrap(1 << 32, u64::from(sound.ticks())) as u32;
        let mut media = Self {
            flow,
            ssrc: random.next() as u32,
            received: Received::default(),
            sound,
            impairment,
            begin,
            count,
            first_sequence,
            first_timestamp,
            ip_id: random.next() as u16,
            random,
            next: 0,
            held: None,
            latest_arrival: Stamp(0),
            pending: BinaryHeap::new(),
            lost_runs: Vec::new(),
            lost: 0,
            previous_lost: false,
        };
        media.draw();
        Some(media)
    }

    /// Arrival of the next packet.
    pub(crate) fn due(&self) -> Option<Stamp> {
        self.pending.peek().map(|Reverse((arrival, ..))| *arrival)
    }

    /// Writes the payload of the UDP datagram that is due and returns its IP identification.
    pub(crate) fn arrive(&mut self, payload: &mut Vec<u8>) -> Option<u16> {
        let Reverse((arrival, number, again)) = self.pending.pop()?;
        self.received.packet(arrival, number, again, &self.sound);
        let timestamp = self.first_timestamp.wrapping_add((number as u32).wrapping_mul(self.sound.ticks()));
        let marker = if number == 0 { 0x80 } else { 0 };
        payload.clear();
        payload.extend([0x80, marker | self.sound.payload_type]);
        payload.extend(self.sequence(number).to_be_bytes());
        payload.extend(timestamp.to_be_bytes());
        payload.extend(self.ssrc.to_be_bytes());
        let mut noise = Random::new(u64::from(self.ssrc), number);
        self.sound.payload(timestamp, &mut noise, payload);
        // 0 would say that the packet has none, and then a duplicate is known by its time alone (MEAS 1.11).
        self.ip_id = self.ip_id.checked_add(1).unwrap_or(1);
        self.draw();
        Some(self.ip_id)
    }

    /// Packets and payload bytes that had been sent at a moment.
    pub(crate) fn sent_by(&self, now: Stamp) -> (u64, u64) {
        let since = now.nanos_since(self.begin);
        let packets = if since < 0 { 0 } else { (since as u64 / self.spacing() + 1).min(self.count) };
        (packets, packets * self.sound.payload_length() as u64)
    }

    /// RTP time stamp of a moment.
    pub(crate) fn timestamp_at(&self, now: Stamp) -> u32 {
        let ticks = now.seconds_since(self.begin) * f64::from(self.sound.clock_rate);
        self.first_timestamp.wrapping_add(ticks as i64 as u32)
    }

    /// Highest sequence number received with its cycles (RFC 3550 6.4.1).
    pub(crate) fn extended_highest(&self) -> u32 {
        u32::from(self.first_sequence).wrapping_add(self.received.highest as u32)
    }

    /// RTP clock in Hz.
    pub(crate) fn clock_rate(&self) -> u32 {
        self.sound.clock_rate
    }

    pub(crate) fn truth(self, call_id: &str, direction: Direction) -> truth::Stream {
        let received = &self.received;
        let loss_ratio = self.lost as f64 / self.count as f64;
        let mean_run = self.lost as f64 / self.lost_runs.len().max(1) as f64;
        let burst_ratio_raw = mean_run * (1.0 - loss_ratio);
        truth::Stream {
            ssrc: self.ssrc_text(),
            source: endpoint(self.flow.source),
            destination: endpoint(self.flow.destination),
            call_id: call_id.into(),
            direction,
            codec: self.sound.codec,
            clock_rate: self.sound.clock_rate,
            ptime: f64::from(self.sound.ptime_ms) / 1e3,
            first_sequence: self.first_sequence,
            first_timestamp: self.first_timestamp,
            first: received.first,
            last: received.last,
            sent: self.count,
            packets: received.packets - received.duplicates,
            lost: self.lost,
            loss_ratio,
            duplicates: received.duplicates,
            reordered: received.reordered,
            burst_ratio: burst_ratio_raw.clamp(1.0, 8.0),
            burst_ratio_raw,
            longest_loss: self.lost_runs.iter().map(|(_, length)| u64::from(*length)).max().unwrap_or(0),
            jitter: Jitter {
                last: received.jitter,
                mean: received.jitter_sum / received.jitter_updates.max(1) as f64,
                max: received.jitter_max,
            },
            lost_runs: self.lost_runs,
        }
    }

    pub(crate) fn ssrc_text(&self) -> String {
        format!("0x{:08x}", self.ssrc)
    }

    /// Draws fates until the earliest pending arrival can no longer be preceded by one not drawn yet.
    fn draw(&mut self) {
        while self.next < self.count {
            let sent = self.begin.plus_nanos((self.next * self.spacing()) as i64);
            if self.due().is_some_and(|due| due <= sent) {
                return;
            }
            let number = self.next;
            self.next += 1;
            let outermost = number == 0 || number + 1 == self.count;
            let cannot_wait = self.held.is_some() || number + 2 == self.count;
            let fate = match self.impairment.fate(&mut self.random) {
                // Loss before the first packet and after the last cannot be known.
                _ if outermost => Fate::Arrives,
                // Its successor has to arrive, and on time.
                Fate::Late if cannot_wait => Fate::Arrives,
                fate => fate,
            };
            match fate {
                Fate::Lost => {
                    self.lose(number);
                    if let Some(held) = self.held.take() {
                        self.queue(sent, held);
                    }
                }
                Fate::Late => self.held = Some(number),
                Fate::Arrives | Fate::Duplicated => {
                    let ready = sent.plus_nanos(self.impairment.delay(&mut self.random) as i64);
                    self.queue(ready, number);
                    if fate == Fate::Duplicated {
                        let behind = self.random.between(BEHIND_LEAST, BEHIND_MOST) as i64;
                        self.pending.push(Reverse((self.latest_arrival.plus_nanos(behind), number, true)));
                    }
                    if let Some(held) = self.held.take() {
                        let behind = self.random.between(BEHIND_LEAST, BEHIND_MOST) as i64;
                        self.queue(self.latest_arrival.plus_nanos(behind), held);
                    }
                }
            }
            self.previous_lost = fate == Fate::Lost;
        }
    }

    /// Arrives at `ready`, or right behind the packet before it.
    fn queue(&mut self, ready: Stamp, number: u64) {
        self.latest_arrival = ready.max(self.latest_arrival.plus_nanos(QUEUE_GAP));
        self.pending.push(Reverse((self.latest_arrival, number, false)));
    }

    fn lose(&mut self, number: u64) {
        self.lost += 1;
        match self.lost_runs.last_mut() {
            Some((_, length)) if self.previous_lost => *length += 1,
            _ => self.lost_runs.push((self.sequence(number), 1)),
        }
    }

    fn sequence(&self, number: u64) -> u16 {
        self.first_sequence.wrapping_add(number as u16)
    }

    fn spacing(&self) -> u64 {
        u64::from(self.sound.ptime_ms) * 1_000_000
    }
}

/// What arrived, by the numbers under which it was sent.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// All packets, duplicates included.
    pub(crate) packets: u64,
    pub(crate) duplicates: u64,
    /// Highest number.
    pub(crate) highest: u64,
    /// Interarrival jitter, seconds.
    pub(crate) jitter: f64,
    reordered: u64,
    first: Stamp,
    last: Stamp,
    /// Arrival and number of the unique packet before.
    previous: Option<(Stamp, u64)>,
    jitter_sum: f64,
    jitter_max: f64,
    jitter_updates: u64,
}

impl Received {
    fn packet(&mut self, arrival: Stamp, number: u64, again: bool, sound: &Sound) {
        if self.packets == 0 {
            self.first = arrival;
        }
        self.packets += 1;
        self.last = arrival;
        if again {
            self.duplicates += 1;
            return;
        }
        if let Some((before, before_number)) = self.previous {
            let packets_apart = number as i64 - before_number as i64;
            let sent_apart = packets_apart as f64 * f64::from(sound.ticks()) / f64::from(sound.clock_rate);
            let difference = (arrival.seconds_since(before) - sent_apart).abs();
            self.jitter += (difference - self.jitter) / 16.0;
            self.jitter_sum += self.jitter;
            self.jitter_max = self.jitter_max.max(self.jitter);
            self.jitter_updates += 1;
        }
        self.previous = Some((arrival, number));
        if number < self.highest {
            self.reordered += 1;
        }
        self.highest = self.highest.max(number);
    }
}

/// How far a duplicate or a late packet stays behind, in nanoseconds.
const BEHIND_LEAST: u64 = 100_000;
const BEHIND_MOST: u64 = 1_000_000;
/// Packets that queue up leave one after the other.
const QUEUE_GAP: i64 = 20_000;
