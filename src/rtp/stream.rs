//! One media stream: a 5-tuple and an SSRC (MEAS 0.5). Everything that is measured on each packet.
//!
//! ```text
//! packet -> sequence (loss) -> capture duplicate? -> payload type -> timing (jitter, buffers, skew) -> windows
//!        \-> journal, if it came as expected: the same, up to fifteen packets later
//! ```
//!
//! About 600 bytes of state, whatever the length of the call; what only some streams need is boxed.

use crate::Stamp;
use crate::event::CodecSource;
use crate::quality::buffer::Buffers;
use crate::quality::burst::{Bursts, Runs, Segments};
use crate::quality::silence::{Law, Silence};
use crate::quality::skew::Skew;
use crate::quality::variation::Variation;
use crate::rtp::dtmf::{self, Events};
use crate::rtp::jitter::{Jitter, Update};
use crate::rtp::journal::{Journal, ends_group};
use crate::rtp::packet::{Packet, Recent};
use crate::rtp::payload::{Class, Codec, Format};
use crate::rtp::probation;
use crate::rtp::sequence::{Place, Sequence};
use crate::rtp::srtp;
use crate::rtp::window::{Border, Closed, MIN_WINDOW, WINDOW_SECONDS, Window, tell};

/// Where the meaning of payload types is looked up, at their first appearance.
pub trait Formats {
    /// What `payload_type` stands for on this stream; `None` = neither SDP nor RFC 3551 knows.
    fn format(&self, payload_type: u8) -> Option<(Format, CodecSource)>;
}

/// Where a packet stands to the highest one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Next,
    Gap,
    Behind,
}

/// What a stream has counted (MEAS 1, 4).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields of event::Stream, which documents them")]
pub struct Counts<'a> {
    /// Lost on the wire.
    pub wire: &'a Runs,
    /// Lost, or too late for the adaptive buffer.
    pub effective: &'a Runs,
    pub segments: Segments,
    pub bytes: u64,
    pub duplicates: u64,
    pub capture_duplicates: u64,
    pub reordered: u64,
    pub rejected: u64,
    pub restarts: u64,
    pub discontinuities: u64,
    pub rate_changes: u64,
    pub dtx_gaps: u64,
    pub dtx_seconds: f64,
    pub stalls: u64,
    pub pushed: u64,
    pub late50: u64,
    pub late200: u64,
    pub late_adaptive: u64,
    pub mean_depth_ms: f64,
    pub pdv_p95: Option<f64>,
    pub clock_skew_ppm: Option<f64>,
    pub dead_air: Option<bool>,
    pub windows: u64,
}

/// State of one stream. In order of use: what every packet touches stands first and together.
#[derive(Debug)]
#[repr(C)]
pub struct Stream {
    journal: Journal,
    first: Stamp,
    /// The earliest end of a quality window or of a bucket of the measurements below; 0 = to be found out.
    due: Stamp,
    jitter: Jitter,
    /// RTP time since the first packet, unwrapped, in ticks.
    media_ticks: i64,
    bytes: u64,
    /// Of the last audio or video, Hz; 0 = not known.
    clock_rate: u32,
    /// Most frequent time-stamp step between neighbours and its lead (majority vote).
    step: u32,
    step_votes: u32,
    class: Option<Class>,
    secure: bool,
    /// The packet before was the predecessor in sequence of the one to come, and audio.
    previous_in_order: bool,
    skew: Skew,
    sequence: Sequence,
    buffers: Buffers,
    variation: Variation,
    used: Use,
    window: Window,
    /// Where it is not that of `effective`: from the first late packet on.
    wire: Option<Box<Runs>>,
    effective: Bursts,
    silence: Silence,
    /// Windows that are over by the clock.
    windows_over: u32,
    rare: Option<Box<Rare>>,
}

/// What happens to few streams.
#[derive(Debug, Default)]
struct Rare {
    /// Payload types used beside the one in use.
    others: Vec<Use>,
    held: Option<Held>,
    /// Number that would confirm a restart, while the highest one is still this.
    confirming: Option<(u16, u64)>,
    duplicates: u32,
    capture_duplicates: u32,
    reordered: u32,
    rejected: u32,
    restarts: u32,
    discontinuities: u32,
    rate_changes: u32,
    dtx_gaps: u32,
    dtx_nanos: i64,
    stalls: u32,
    digits: Events,
    /// Packets seen while the clock rate was unknown, for the measurements they have missed.
    unclocked: Vec<(Stamp, u32, u64)>,
}

/// The packet outside the window that waits for its successor (MEAS 1.2).
#[derive(Clone, Copy, Debug)]
struct Held {
    stamp: Stamp,
    seq: u16,
    ticks: u32,
    payload_type: u8,
    length: u32,
    copy: Recent,
}

/// Use of one payload type.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// Payload type.
    pub payload_type: u8,
    /// Order of appearance.
    serial: u8,
    /// Where its meaning was learned.
    pub source: CodecSource,
    /// Its meaning.
    pub format: Format,
    packets: u32,
}

impl Stream {
    /// Opens a stream with its first packet, which counts (MEAS 1.4).
    pub fn open(packet: &Packet<'_>, secure: bool, formats: &impl Formats) -> Self {
        let mut stream = Self {
            journal: Journal::starting(packet.stamp),
            first: packet.stamp,
            clock_rate: 0,
            media_ticks: 0,
            bytes: 0,
            step: 0,
            step_votes: 0,
            class: None,
            secure,
            previous_in_order: false,
            due: Stamp(0),
            used: Use::of(packet, 0, formats),
            sequence: Sequence::open(packet.seq),
            jitter: Jitter::starting(packet.stamp, packet.ticks),
            buffers: Buffers::default(),
            skew: Skew::default(),
            window: Window {
                start: packet.stamp,
                outcomes: Runs::default(),
                lost: 0,
                jitter_sum: 0.0,
                jitter_updates: 0,
                closed: 0,
                pending: None,
            },
            variation: Variation::default(),
            wire: None,
            effective: Bursts::default(),
            silence: Silence::default(),
            windows_over: 0,
            rare: None,
        };
        stream.clock();
        stream.accept_first(packet, formats);
        stream
    }

    /// Writes a packet down if it is the one that [`Self::expect`] told of; else nothing happens.
    #[inline]
    pub(crate) fn note(&mut self, packet: &Packet<'_>) -> bool {
        self.journal.note(packet)
    }

    /// Takes one packet in arrival order. Windows that became complete are pushed to `closed`.
    pub fn push(&mut self, packet: &Packet<'_>, formats: &impl Formats, closed: &mut Vec<Closed>) {
        self.settle();
        self.journal.close();
        if packet.stamp.nanos_since(self.journal.last) > IDLE_NANOS {
            self.come_back(packet, formats, closed);
            return;
        }
        let placed = match self.sequence.next(packet.seq) {
            Some(extended) => Some((extended, Order::Next)),
            None => self.place(packet, formats, closed),
        };
        if let Some((extended, order)) = placed {
            self.accept(packet, extended, order, formats);
        }
    }

    /// A packet that is not simply the next one; `None` when it does not count.
    #[inline(never)]
    fn place(
        &mut self,
        packet: &Packet<'_>,
        formats: &impl Formats,
        closed: &mut Vec<Closed>,
    ) -> Option<(u64, Order)> {
        let Self { sequence, wire, effective, window, first, .. } = self;
        let place = sequence.place(packet.seq, |outcome, count, from| {
            tell(outcome, count, from, wire, effective, window, *first, closed);
        });
        match place {
            Place::Next(extended) => Some((extended, Order::Next)),
            Place::Gap(extended) => Some((extended, Order::Gap)),
            Place::Reordered(extended) => {
                self.rare_mut().reordered += 1;
                Some((extended, Order::Behind))
            }
            Place::Duplicate => {
                self.again(packet);
                None
            }
            Place::Outside => {
                self.outside(packet, formats, closed);
                None
            }
        }
    }

    /// Ends the segment (MEAS 1.3): all its losses are final. The next packet opens a new one.
    pub fn close_segment(&mut self, closed: &mut Vec<Closed>) {
        let Self { sequence, wire, effective, window, first, .. } = self;
        sequence.close(|outcome, count, from| {
            tell(outcome, count, from, wire, effective, window, *first, closed);
        });
    }

    /// Opens a new segment after [`Self::close_segment`], when a stream comes back after a long silence.
    pub fn reopen(&mut self, packet: &Packet<'_>, formats: &impl Formats) {
        self.sequence = Sequence::open(packet.seq);
        self.jitter.forget_reference();
        self.forget_base_delay();
        self.previous_in_order = false;
        self.accept_first(packet, formats);
    }

    /// Ends the stream: the open segment and, if it is long enough, the open window.
    pub fn finish(&mut self, closed: &mut Vec<Closed>) {
        self.settle();
        self.close_segment(closed);
        if let Some(rare) = self.rare.as_mut().filter(|rare| rare.held.is_some()) {
            rare.rejected += 1;
        }
        let window = &mut self.window;
        if window.outcomes.expected() >= u64::from(MIN_WINDOW)
            && self.journal.last.nanos_since(window.start) >= 1_000_000_000
        {
            let (start, jitter) = (window.start, window.mean_jitter(&self.jitter));
            closed.push(window.close(start, jitter));
        }
    }

    /// First packet.
    pub fn first(&self) -> Stamp {
        self.first
    }

    /// Last packet.
    #[inline]
    pub fn last(&self) -> Stamp {
        self.journal.last
    }

    /// Unique packets so far.
    pub fn packets(&self) -> u64 {
        let settled: u64 = self.uses().map(|used| u64::from(used.packets)).sum();
        settled + u64::from(self.journal.len())
    }

    /// Highest extended sequence number.
    pub fn highest(&self) -> u64 {
        self.sequence.max()
    }

    /// Packets expected so far, closed segments included.
    pub fn expected(&self) -> u64 {
        debug_assert_eq!(self.journal.len(), 0, "settled before it is asked");
        self.effective.runs().expected() + u64::from(self.sequence.untold())
    }

    /// Clock rate of the codec in use, Hz.
    pub fn clock_rate(&self) -> Option<u32> {
        Some(self.used.format.clock_rate).filter(|&rate| rate > 0)
    }

    /// Its sender suppresses silence.
    pub fn pauses(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.dtx_gaps > 0)
            || self.uses().any(|used| used.format.codec == Codec::ComfortNoise)
    }

    /// Whether its time stamps run at the clock rate it is taken to have, within 10 % (MEAS 6.7) and the 200 ms
    /// that a queue may add or take.
    pub fn keeps_pace(&self) -> bool {
        let arrived = self.journal.last.seconds_since(self.first);
        let media = self.media_ticks as f64 * self.seconds_per_tick();
        (media - arrived).abs() <= 0.1 * arrived + EXPLAINED_NANOS / 1e9
    }

    /// Seconds since sound was last heard; `None` where that cannot be told (MEAS 6.2).
    pub fn silent_seconds(&self) -> Option<f64> {
        self.silence.dead_air().map(|_| self.silence.seconds())
    }

    /// SDP said that the payload is encrypted.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Jitter so far.
    pub fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    /// All payload types used, the one in use first.
    fn uses(&self) -> impl Iterator<Item = Use> {
        let others = self.rare.iter().flat_map(|rare| &rare.others).copied();
        std::iter::once(self.used).chain(others)
    }

    /// The codec that carried most audio, else most packets; of equals the one that came first.
    pub fn main_format(&self) -> Use {
        let weight = |used: &Use| {
            let audio = used.format.codec.class() == Class::Audio;
            (audio, used.packets, std::cmp::Reverse(used.serial))
        };
        self.uses().max_by_key(weight).unwrap_or(self.used)
    }

    /// Payload types in order of appearance.
    pub fn payload_types(&self) -> Vec<u8> {
        let mut uses: Vec<_> = self.uses().map(|used| (used.serial, used.payload_type)).collect();
        uses.sort_unstable();
        uses.into_iter().map(|(_, payload_type)| payload_type).collect()
    }

    /// Packetisation time in seconds: the usual time-stamp step between neighbours.
    pub fn ptime(&self) -> Option<f64> {
        (self.step > 0 && self.step_votes > 0 && self.clock_rate > 0)
            .then(|| f64::from(self.step) * self.seconds_per_tick())
    }

    /// Names of the telephone events.
    pub fn digits(&self) -> Vec<String> {
        self.rare.as_ref().map(|rare| rare.digits.names().collect()).unwrap_or_default()
    }

    /// Everything counted so far.
    pub fn counts(&self) -> Counts<'_> {
        debug_assert_eq!(self.journal.len(), 0, "settled before it is asked");
        let rare = self.rare.as_deref();
        let of = |field: fn(&Rare) -> u32| u64::from(rare.map_or(0, field));
        Counts {
            wire: self.wire.as_deref().unwrap_or(self.effective.runs()),
            effective: self.effective.runs(),
            segments: self.effective.segments(),
            bytes: self.bytes,
            duplicates: of(|rare| rare.duplicates),
            capture_duplicates: of(|rare| rare.capture_duplicates),
            reordered: of(|rare| rare.reordered),
            rejected: of(|rare| rare.rejected),
            restarts: of(|rare| rare.restarts),
            discontinuities: of(|rare| rare.discontinuities),
            rate_changes: of(|rare| rare.rate_changes),
            dtx_gaps: of(|rare| rare.dtx_gaps),
            dtx_seconds: rare.map_or(0.0, |rare| rare.dtx_nanos as f64 / 1e9),
            stalls: of(|rare| rare.stalls),
            pushed: self.buffers.pushed(),
            late50: self.buffers.late50(),
            late200: self.buffers.late200(),
            late_adaptive: self.buffers.late_adaptive(),
            mean_depth_ms: self.buffers.mean_depth_ms(),
            pdv_p95: self.variation.quantile_ms(0.95).map(|ms| ms / 1e3),
            clock_skew_ppm: self.skew.ppm(),
            dead_air: self.silence.dead_air(),
            windows: self.window.closed.into(),
        }
    }

    /// Did one of the last packets have this number and content, at most 500 ms before (MEAS 1.11.4)?
    pub fn carried(&self, packet: &Packet<'_>) -> bool {
        let copy = Recent::of(packet);
        let seen = &self.journal.recent[usize::from(packet.seq & 1)];
        seen.content == copy.content && packet.stamp.nanos_since(self.journal.last) < HOP_NANOS
    }

    /// Formats became known after packets had been seen: SDP was late.
    pub fn learn(&mut self, formats: &impl Formats) {
        self.settle();
        self.journal.close();
        let learned = self.used.learn(formats);
        for other in self.rare.iter_mut().flat_map(|rare| &mut rare.others) {
            other.learn(formats);
        }
        if learned {
            self.clock();
        }
    }

    /// What every packet needs; the rest, one packet in sixteen.
    #[cfg(test)]
    pub(crate) const HOT_BYTES: usize = size_of::<Journal>();

    /// Draws what a packet of that number and time needs into the cache; the value means nothing.
    #[inline]
    pub(crate) fn touch(&self, seq: u16, stamp: Stamp) -> u64 {
        if ends_group(seq) { self.journal.touch() ^ self.touch_all(stamp) } else { self.journal.touch() }
    }

    /// One word of each cache line behind the journal, and of what is due.
    fn touch_all(&self, stamp: Stamp) -> u64 {
        let due = if stamp >= self.due { self.skew.touch() } else { 0 };
        due ^ self.first.0
            ^ self.bytes
            ^ self.sequence.max()
            ^ self.buffers.pushed()
            ^ self.variation.touch()
            ^ u64::from(self.used.packets)
            ^ self.window.start.0
            ^ self.effective.runs().expected()
            ^ u64::from(self.windows_over)
    }

    /// From now on a packet that continues what this stream has been doing is to be written down.
    #[inline]
    pub(crate) fn expect(&mut self) {
        let steady = self.class == Some(Class::Audio)
            && self.previous_in_order
            && self.step_votes > 0
            && self.jitter.is_anchored();
        let (_, ticks) = self.jitter.reference();
        if steady
            && let Ok(step) = u16::try_from(self.step)
            && u32::from(step) <= self.clock_rate * MOST_SECONDS_A_STEP
        {
            let next = (self.sequence.max() as u16).wrapping_add(1);
            self.journal.open(next, self.used.payload_type, ticks, step);
        }
    }

    /// Works off what was written down: afterwards the stream is as if each packet had been taken in its turn.
    pub(crate) fn settle(&mut self) {
        if self.journal.len() > 0 {
            self.work_off();
        }
    }

    #[inline(never)]
    fn work_off(&mut self) {
        let steady = self.journal.take();
        let mut gaps = steady.gaps();
        let packets = gaps.len() as u32;
        self.bytes += u64::from(steady.bytes);
        self.used.packets += packets;
        self.step_votes = self.step_votes.saturating_add(packets);
        let step = u32::from(steady.step);
        // Nearly always all of them come before the next bucket begins.
        while self.journal.last >= self.due
            && let Some((before, [gap, rest @ ..])) = gaps.split_at_checked(self.until_due(gaps))
        {
            self.run(before, step);
            let (stamp, ticks) = self.jitter.reference();
            let (stamp, ticks) = (Stamp(stamp.0 + u64::from(*gap)), ticks.wrapping_add(step));
            let extended = self.sequence.follow(1);
            self.end_window(stamp, extended);
            self.timing(stamp, ticks, extended, self.seconds_per_tick(), true);
            gaps = rest;
        }
        self.run(gaps, step);
    }

    /// Packets written down before the first one that is due.
    fn until_due(&self, gaps: &[u32]) -> usize {
        let (mut stamp, _) = self.jitter.reference();
        let due = gaps.iter().position(|&gap| {
            stamp = Stamp(stamp.0 + u64::from(gap));
            stamp >= self.due
        });
        due.unwrap_or(gaps.len())
    }

    /// What [`Self::timing`] does for packets of which none is due, each `step` behind the one before: all that it
    /// changes stays in registers.
    #[inline]
    fn run(&mut self, gaps: &[u32], step: u32) {
        let seconds_per_tick = self.seconds_per_tick();
        let sent = f64::from(step) * seconds_per_tick;
        let ms_per_tick = seconds_per_tick * 1e3;
        let (mut stamp, ticks) = self.jitter.reference();
        let (mut smoothed, mut buffers) = (self.jitter.smoothed(), self.buffers);
        let (mut media_ticks, mut late) = (self.media_ticks, 0_u32);
        for (place, &gap) in gaps.iter().enumerate() {
            stamp = Stamp(stamp.0 + u64::from(gap));
            smoothed.take((f64::from(gap) * 1e-9 - sent).abs());
            media_ticks += i64::from(step);
            let since_first = stamp.nanos_since(self.first).max(0) as u64;
            let transit_ms = since_first as i64 as f64 * 1e-6 - media_ticks as f64 * ms_per_tick;
            let verdict = buffers.play(transit_ms);
            self.variation.record(verdict.x_ms);
            self.skew.lower(since_first, transit_ms);
            late |= u32::from(verdict.late_adaptive) << place;
        }
        let packets = gaps.len() as u32;
        self.buffers = buffers;
        self.media_ticks = media_ticks;
        self.jitter.smooth(smoothed, packets, stamp, ticks.wrapping_add(step * packets));
        let last = self.sequence.follow(packets);
        while late != 0 {
            let place = late.trailing_zeros();
            self.sequence.mark_late(last - u64::from(packets - 1 - place));
            late &= late - 1;
        }
    }

    /// A packet after a long silence: the segment is over, and this opens the next (MEAS 1.3).
    #[cold]
    fn come_back(&mut self, packet: &Packet<'_>, formats: &impl Formats, closed: &mut Vec<Closed>) {
        self.close_segment(closed);
        self.reopen(packet, formats);
    }

    /// The first packet of a segment.
    #[cold]
    fn accept_first(&mut self, packet: &Packet<'_>, formats: &impl Formats) {
        self.accept(packet, self.sequence.max(), Order::Gap, formats);
    }

    #[allow(clippy::inline_always, reason = "one caller that matters; measured in docs/performance.md")]
    #[inline(always)]
    fn accept(&mut self, packet: &Packet<'_>, extended: u64, order: Order, formats: &impl Formats) {
        self.bytes += u64::from(packet.length);
        self.journal.saw(packet);
        if packet.payload_type != self.used.payload_type {
            self.change_payload_type(packet, formats);
        }
        self.used.packets += 1;
        let due = packet.stamp >= self.due;
        if due {
            self.end_window(packet.stamp, extended);
        }
        match self.class {
            Some(Class::Audio) => {
                self.pace(packet, order);
                self.timing(packet.stamp, packet.ticks, extended, self.seconds_per_tick(), due);
                if extended.is_multiple_of(LISTEN_TO_EVERY) && !self.secure {
                    self.listen(packet);
                }
            }
            Some(Class::Event) => {
                // The time stamp stands still during an event: the next audio packet re-anchors (MEAS 1.5).
                self.jitter.forget_reference();
                self.previous_in_order = false;
                if !self.secure {
                    self.rare_mut().digits.packet(packet.ticks, packet.payload);
                }
            }
            Some(Class::ComfortNoise) => self.previous_in_order = false,
            Some(Class::Video) => {
                if self.clock_rate > 0 {
                    self.jitter.update(packet.stamp, packet.ticks, self.seconds_per_tick());
                }
            }
            None => self.wait_for_clock(packet, extended),
        }
    }

    /// Jitter, delay variation, de-jitter buffers and skew of one audio packet with a known clock.
    #[allow(clippy::inline_always, reason = "one caller that matters; measured in docs/performance.md")]
    #[inline(always)]
    fn timing(&mut self, stamp: Stamp, ticks: u32, extended: u64, seconds_per_tick: f64, mut due: bool) {
        let (_, before) = self.jitter.reference();
        match self.jitter.update(stamp, ticks, seconds_per_tick) {
            Update::Discontinuity => {
                self.rare_mut().discontinuities += 1;
                self.forget_base_delay();
                self.anchor_media(stamp);
                due = true;
            }
            Update::Anchored | Update::Smoothed => {
                self.media_ticks += i64::from(ticks.wrapping_sub(before) as i32);
            }
        }
        // A capture whose time stamps step back stays at its start.
        let since_first = stamp.nanos_since(self.first).max(0) as u64;
        let transit_ms =
            since_first as i64 as f64 * 1e-6 - self.media_ticks as f64 * (seconds_per_tick * 1e3);
        if due {
            self.turn(since_first, transit_ms);
        }
        let verdict = self.buffers.play(transit_ms);
        self.variation.record(verdict.x_ms);
        self.skew.lower(since_first, transit_ms);
        if verdict.late_adaptive {
            self.sequence.mark_late(extended);
        }
    }

    /// What time brings to the measurements of timing, and when it will next.
    #[cold]
    #[inline(never)]
    fn turn(&mut self, since_first: u64, transit_ms: f64) {
        self.buffers.turn(since_first, transit_ms);
        self.skew.turn(since_first);
        let next = self.buffers.due_ns().min(self.skew.due_ns());
        self.due = Stamp(self.first.0.saturating_add(next)).min(self.window_end());
    }

    fn forget_base_delay(&mut self) {
        self.buffers.reset();
        self.due = Stamp(0);
    }

    /// Packetisation time, silence and stalls, from neighbours in sequence (MEAS 1.8, 6.5).
    #[allow(clippy::inline_always, reason = "one caller that matters; measured in docs/performance.md")]
    #[inline(always)]
    fn pace(&mut self, packet: &Packet<'_>, order: Order) {
        if order == Order::Next && self.previous_in_order {
            let (arrival, ticks) = self.jitter.reference();
            let step = packet.ticks.wrapping_sub(ticks);
            let gap = packet.stamp.nanos_since(arrival);
            if step == self.step {
                self.step_votes = self.step_votes.saturating_add(1);
            } else {
                self.odd_step(step, gap);
            }
            if gap > STALL_NANOS {
                let media = f64::from(step as i32) * self.seconds_per_tick() * 1e9;
                if gap as f64 - media > EXPLAINED_NANOS {
                    self.rare_mut().stalls += 1;
                }
            }
        }
        self.previous_in_order = order != Order::Behind;
    }

    #[cold]
    fn odd_step(&mut self, step: u32, gap: i64) {
        if self.step_votes == 0 {
            self.step = step;
            self.step_votes = 1;
            return;
        }
        let seconds_per_tick = self.seconds_per_tick();
        let media_nanos = f64::from(step as i32) * seconds_per_tick * 1e9;
        let usual_nanos = f64::from(self.step) * seconds_per_tick * 1e9;
        if media_nanos > 1.5 * usual_nanos && (gap as f64 - media_nanos).abs() < EXPLAINED_NANOS {
            let rare = self.rare_mut();
            rare.dtx_gaps += 1;
            rare.dtx_nanos += (media_nanos - usual_nanos) as i64;
        } else {
            self.step_votes -= 1;
        }
    }

    fn listen(&mut self, packet: &Packet<'_>) {
        if let Some(law) = Law::of(self.used.format.codec) {
            if self.used.source != CodecSource::Sdp && srtp::is_tagged_g711(packet.payload_len, self.step) {
                self.secure = true;
                self.silence = Silence::default();
                return;
            }
            self.silence.sample(law, packet.payload, packet.stamp.nanos_since(self.first) as u64);
        }
    }

    #[cold]
    fn change_payload_type(&mut self, packet: &Packet<'_>, formats: &impl Formats) {
        let payload_type = packet.payload_type;
        let before = self.used;
        let rare = self.rare_mut();
        if let Some(other) = rare.others.iter_mut().find(|other| other.payload_type == payload_type) {
            self.used = std::mem::replace(other, before);
        } else if rare.others.len() < MAX_OTHERS {
            rare.others.push(before);
            let serial = rare.others.len() as u8;
            self.used = Use::of(packet, serial, formats);
        } else {
            // More payload types than any offer has: this one is counted as the one before it.
            return;
        }
        self.clock();
    }

    /// Sets class and clock of the payload type in use; a new rate drops the reference but keeps J (RFC 7160).
    fn clock(&mut self) {
        let format = self.used.format;
        let known = format.clock_rate > 0;
        self.class = match format.codec.class() {
            Class::Audio if !known => None,
            class => Some(class),
        };
        if !matches!(self.class, Some(Class::Audio | Class::Video)) || !known {
            return;
        }
        let seconds_per_tick = 1.0 / f64::from(format.clock_rate);
        if self.clock_rate > 0 && (self.seconds_per_tick() - seconds_per_tick).abs() > 1e-12 {
            self.rare_mut().rate_changes += 1;
            self.jitter.forget_reference();
            self.forget_base_delay();
            self.previous_in_order = false;
            self.step_votes = 0;
            // Media time goes on in the new unit.
            self.media_ticks = (self.media_ticks as f64 * self.seconds_per_tick() / seconds_per_tick) as i64;
        }
        self.clock_rate = format.clock_rate;
        let missed = self.rare.as_mut().map(|rare| std::mem::take(&mut rare.unclocked)).unwrap_or_default();
        for (stamp, ticks, extended) in missed {
            self.late_timing(stamp, ticks, extended);
        }
    }

    #[cold]
    fn late_timing(&mut self, stamp: Stamp, ticks: u32, extended: u64) {
        self.timing(stamp, ticks, extended, self.seconds_per_tick(), true);
    }

    /// Counts a packet of unknown clock and tries to infer the rate (MEAS 6.7.4).
    #[cold]
    fn wait_for_clock(&mut self, packet: &Packet<'_>, extended: u64) {
        let rare = self.rare.get_or_insert_with(Box::default);
        if rare.unclocked.len() >= UNCLOCKED_MAX {
            return;
        }
        rare.unclocked.push((packet.stamp, packet.ticks, extended));
        if rare.unclocked.len() < UNCLOCKED_MIN {
            return;
        }
        let Some(&(begun, first, _)) = rare.unclocked.first() else { return };
        let ticks = packet.ticks.wrapping_sub(first);
        let seconds = packet.stamp.seconds_since(begun);
        let Some(rate) = probation::clock_rate(seconds, ticks, rare.unclocked.len() as u64) else { return };
        let used = &mut self.used;
        used.format.clock_rate = rate;
        let steps = rare.unclocked.windows(2).map(|pair| pair[1].1.wrapping_sub(pair[0].1));
        let step = steps.filter(|&step| step > 0).min().unwrap_or(0);
        if let Some((codec, tagged)) = srtp::codec(rate, packet.payload_len, step) {
            used.format.codec = codec;
            self.secure |= tagged;
        }
        used.source = CodecSource::Inferred;
        self.clock();
    }

    /// A packet far from the others: held until its successor confirms a restart, else rejected (MEAS 1.2).
    #[cold]
    fn outside(&mut self, packet: &Packet<'_>, formats: &impl Formats, closed: &mut Vec<Closed>) {
        let copy = Recent::of(packet);
        let max = self.sequence.max();
        let rare = self.rare_mut();
        if rare.held.is_some_and(|held| held.seq == packet.seq && held.copy.is_captured_again(&copy)) {
            rare.capture_duplicates += 1;
            return;
        }
        let held = rare.held.replace(Held {
            stamp: packet.stamp,
            seq: packet.seq,
            ticks: packet.ticks,
            payload_type: packet.payload_type,
            length: packet.length,
            copy,
        });
        let confirmed = rare.confirming == Some((packet.seq, max));
        rare.confirming = Some((packet.seq.wrapping_add(1), max));
        let Some(held) = held else { return };
        if !confirmed {
            rare.rejected += 1;
            return;
        }
        rare.confirming = None;
        rare.held = None;
        rare.restarts += 1;
        self.close_segment(closed);
        let first = Packet {
            stamp: held.stamp,
            seq: held.seq,
            ticks: held.ticks,
            payload_type: held.payload_type,
            marker: false,
            payload: &[],
            payload_len: 0,
            length: held.length,
            ip_id: 0,
            interface: packet.interface,
        };
        self.anchor_media(held.stamp);
        self.jitter.forget_reference();
        self.reopen(&first, formats);
        self.journal.recent[usize::from(held.seq & 1)] = held.copy;
        self.push(packet, formats, closed);
    }

    /// Puts media time where the transit of this packet is that of the stream's first one.
    fn anchor_media(&mut self, stamp: Stamp) {
        if self.clock_rate > 0 {
            self.media_ticks = (stamp.seconds_since(self.first) / self.seconds_per_tick()) as i64;
        }
    }

    /// A packet whose number was seen: sent again, or captured again (MEAS 1.11).
    #[cold]
    fn again(&mut self, packet: &Packet<'_>) {
        let copy = Recent::of(packet);
        let seen = &mut self.journal.recent[usize::from(packet.seq & 1)];
        // On another interface than its neighbours it is a shadow, however late (MEAS 1.11.2).
        if seen.interface != copy.interface || seen.is_captured_again(&copy) {
            self.rare_mut().capture_duplicates += 1;
        } else {
            // What was sent twice may be captured twice as well.
            *seen = copy;
            self.rare_mut().duplicates += 1;
        }
    }

    fn window_end(&self) -> Stamp {
        self.first.plus_seconds((u64::from(self.windows_over) + 1) * WINDOW_SECONDS)
    }

    /// Ends the quality window if its time is over.
    #[cold]
    #[inline(never)]
    fn end_window(&mut self, now: Stamp, extended: u64) {
        let end = self.window_end();
        if now < end {
            return;
        }
        let windows = now.nanos_since(end) as u64 / (WINDOW_SECONDS * 1_000_000_000) + 1;
        self.windows_over = self.windows_over.saturating_add(windows as u32);
        let window = &mut self.window;
        let (free, since) = match window.pending.as_deref() {
            None => (0, window.outcomes.expected() + u64::from(self.sequence.untold())),
            Some([first, Border { end: 0, .. }]) => (1, u64::from((extended as u32).wrapping_sub(first.end))),
            // Two windows wait for their outcomes: the one that ends now is merged into the next.
            _ => return,
        };
        if since < u64::from(MIN_WINDOW) {
            return;
        }
        let jitter = window.mean_jitter(&self.jitter).unwrap_or(f64::NAN) as f32;
        let start_ms = (window.start.nanos_since(self.first) / 1_000_000) as u32;
        window.pending.get_or_insert_default()[free] = Border { end: extended as u32, start_ms, jitter };
        window.start = now;
        (window.jitter_sum, window.jitter_updates) = self.jitter.sum();
    }

    fn seconds_per_tick(&self) -> f64 {
        if self.clock_rate > 0 { 1.0 / f64::from(self.clock_rate) } else { 0.0 }
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(Box::default)
    }
}

/// What a packet says of its payload type where nobody else does.
fn unexplained(packet: &Packet<'_>) -> (Format, CodecSource) {
    let format = Format::unknown(packet.payload_type);
    if dtmf::is_event(packet.payload_type, packet.payload_len, packet.payload) {
        return (Format { codec: Codec::TelephoneEvent, ..format }, CodecSource::Inferred);
    }
    (format, CodecSource::Unknown)
}

impl Use {
    fn of(packet: &Packet<'_>, serial: u8, formats: &impl Formats) -> Self {
        let payload_type = packet.payload_type;
        let (format, source) = formats.format(payload_type).unwrap_or_else(|| unexplained(packet));
        Self { payload_type, serial, source, format, packets: 0 }
    }

    /// Looks its meaning up again, unless SDP gave it; true when it has one now.
    fn learn(&mut self, formats: &impl Formats) -> bool {
        let Some((format, source)) =
            formats.format(self.payload_type).filter(|_| self.source != CodecSource::Sdp)
        else {
            return false;
        };
        self.format = format;
        self.source = source;
        true
    }
}

/// Payload types remembered for one stream beside the one in use.
const MAX_OTHERS: usize = 7;
/// A stream that was silent for longer begins a new segment (MEAS 1.1, 1.3).
pub(crate) const IDLE_NANOS: i64 = 30_000_000_000;
/// One packet in so many is listened to (MEAS 6.2).
pub(crate) const LISTEN_TO_EVERY: u64 = 32;
/// MEAS 6.5.
const STALL_NANOS: i64 = 500_000_000;
/// Arrival and media time that differ by less tell of silence, not of a stall (MEAS 1.8).
const EXPLAINED_NANOS: f64 = 200e6;
/// Longest step of a stream that is written down: far from what makes a jump of it (MEAS 1.5).
const MOST_SECONDS_A_STEP: u32 = 2;
/// Two hops of the same media are at most this far apart (MEAS 1.11.4).
const HOP_NANOS: i64 = 500_000_000;
/// Packets between two tries at inferring a clock rate, and how many are kept for it (MEAS 6.7.4).
const UNCLOCKED_MIN: usize = 20;
const UNCLOCKED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event;

    struct Clocks(Vec<(u8, Format)>);

    impl Formats for Clocks {
        fn format(&self, payload_type: u8) -> Option<(Format, CodecSource)> {
            let found = self.0.iter().find(|(known, _)| *known == payload_type)?;
            Some((found.1, CodecSource::Sdp))
        }
    }

    fn clocks(vector: &Value) -> Clocks {
        let entries = vector.as_object().unwrap().iter().map(|(payload_type, clock)| {
            let payload_type = payload_type.parse().unwrap();
            let codec = match clock[1].as_str().unwrap() {
                "event" => Codec::TelephoneEvent,
                "cn" => Codec::ComfortNoise,
                _ => Codec::Pcmu,
            };
            let clock_rate = clock[0].as_u64().unwrap() as u32;
            (payload_type, Format { payload_type, codec, clock_rate, bit_rate: 0, fec: false })
        });
        Clocks(entries.collect())
    }

    fn packet(row: &Value) -> Packet<'static> {
        let number = |i: usize| row[i].as_u64().unwrap();
        Packet {
            stamp: Stamp(1_000_000_000_000 + number(0)),
            seq: number(1) as u16,
            ticks: number(2) as u32,
            payload_type: number(3) as u8,
            marker: false,
            payload: &[],
            payload_len: 160,
            length: 172,
            // The vectors know no capture duplicates: a number of its own for each packet.
            ip_id: (number(0) / 1000) as u16 | 1,
            interface: 0,
        }
    }

    #[test]
    fn streams_of_the_vectors_are_counted_exactly() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../fixtures/vectors/rtp_streams.json")).unwrap();
        let vectors = vectors.as_object().unwrap();
        assert_eq!(vectors.len(), 22);
        for (name, vector) in vectors {
            let formats = clocks(&vector["clock"]);
            let mut closed = Vec::new();
            let mut rows = vector["packets"].as_array().unwrap().iter().map(packet);
            let mut ids = 1..;
            let mut unique_ids = |mut packet: Packet<'static>| {
                packet.ip_id = ids.next().unwrap();
                packet
            };
            let mut stream = Stream::open(&unique_ids(rows.next().unwrap()), false, &formats);
            for packet in rows {
                stream.push(&unique_ids(packet), &formats, &mut closed);
            }
            stream.finish(&mut closed);
            let expected = &vector["expected"];
            let counts = stream.counts();
            for (key, measured) in [
                ("received", stream.packets() + counts.duplicates + counts.rejected),
                ("unique", stream.packets()),
                ("expected", counts.wire.expected()),
                ("lost", counts.wire.bad_packets()),
                ("duplicates", counts.duplicates),
                ("reordered", counts.reordered),
                ("restarts", counts.restarts),
                ("discontinuities", counts.discontinuities),
                ("rate_changes", counts.rate_changes),
            ] {
                assert_eq!(Some(measured), expected[key].as_u64(), "{name}: {key}");
            }
            let jitter = stream.jitter().summary();
            let ms = |field: fn(&event::Jitter) -> f64| jitter.as_ref().map_or(0.0, field) * 1e3;
            for (key, measured) in [
                ("jitter_ms", ms(|jitter| jitter.last)),
                ("jitter_max_ms", ms(|jitter| jitter.max)),
                ("jitter_mean_ms", ms(|jitter| jitter.mean)),
            ] {
                let expected = expected[key].as_f64().unwrap();
                assert!(
                    (measured - expected).abs() < 1e-6,
                    "{name}: {key} is {measured}, expected {expected}"
                );
            }
        }
    }
}
