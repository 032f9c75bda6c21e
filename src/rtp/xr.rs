//! RTCP extended report blocks (RFC 3611 and the registry after it; MEAS 2.5), borrowed.
//!
//! ```text
//! |  block type  | type specific |   words after this one   | body ... |
//! ```
//!
//! Numbers stand as they do on the wire where the field name carries the unit; methods give seconds, ratios and
//! scores, and `None` where the reporter said "unavailable". A block of an unknown type, or of a length its type
//! does not have, is skipped by its length and named as [`Block::Unknown`].

use super::rtcp::{Ntp, be16, be32};
use crate::Stamp;
use crate::event;

/// The blocks of one XR packet.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
}

/// One block.
#[derive(Clone, Debug)]
pub enum Block<'a> {
    /// BT 1: a bit a packet, 1 = received.
    LossRle(RunLengths<'a>),
    /// BT 2: a bit a packet, on duplicates.
    DuplicateRle(RunLengths<'a>),
    /// BT 4: a receiver's clock, as an SR tells a sender's.
    ReceiverReferenceTime(Ntp),
    /// BT 5: answers to BT 4.
    Dlrr(Dlrrs<'a>),
    /// BT 6.
    Summary(Summary),
    /// BT 7.
    Voip(VoipMetrics),
    /// BT 14: the interval that blocks 15 and up speak of.
    Measurement(Measurement),
    /// BT 15.
    DelayVariation(DelayVariation),
    /// BT 16.
    Delay(Delay),
    /// BT 20 (loss) or 21 (discard).
    BurstGap(BurstGap),
    /// BT 23.
    DeJitterBuffer(DeJitterBuffer),
    /// BT 24.
    DiscardCount(DiscardCount),
    /// BT 29.
    Mos(MosSegments<'a>),
    /// BT 30.
    LossConcealment(LossConcealment),
    /// BT 31.
    ConcealedSeconds(ConcealedSeconds),
    /// Any other type, or a known one of a wrong length.
    Unknown {
        /// Block type.
        block_type: u8,
    },
}

/// Loss or duplicate RLE (RFC 3611 4.1, 4.2).
#[derive(Clone, Copy, Debug)]
pub struct RunLengths<'a> {
    /// Stream reported on.
    pub ssrc: u32,
    /// Only every 2^thinning-th sequence number is reported.
    pub thinning: u8,
    /// First sequence number, included.
    pub begin: u16,
    /// Last sequence number, excluded.
    pub end: u16,
    chunks: &'a [u8],
}

/// What a bit trace amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Packets the trace speaks of.
    pub reported: u32,
    /// Bits that are 0: lost packets in a loss RLE.
    pub zeros: u32,
    /// Runs of zeros.
    pub zero_runs: u32,
    /// Longest run of zeros.
    pub longest_zeros: u32,
}

/// Iterator over the answers of a DLRR block (RFC 3611 4.5).
#[derive(Clone, Debug)]
pub struct Dlrrs<'a> {
    bytes: &'a [u8],
}

/// Delay since the last receiver reference time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dlrr {
    /// The receiver answered.
    pub ssrc: u32,
    /// Middle 32 bits of its reference time; 0 = none heard.
    pub last_rr: u32,
    /// Time since it was heard, in 1/65536 seconds.
    pub delay_since_last_rr: u32,
}

/// Statistics summary (RFC 3611 4.6). A part whose flag is off is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Stream reported on.
    pub ssrc: u32,
    /// First sequence number, included.
    pub begin: u16,
    /// Last sequence number, excluded.
    pub end: u16,
    /// Lost packets.
    pub lost: Option<u32>,
    /// Duplicate packets.
    pub duplicates: Option<u32>,
    /// Jitter in RTP ticks: minimum, maximum, mean, standard deviation.
    pub jitter: Option<[u32; 4]>,
    /// TTL or hop limit: minimum, maximum, mean, standard deviation.
    pub hops: Option<[u8; 4]>,
}

/// VoIP metrics (RFC 3611 4.7), as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoipMetrics {
    /// Stream reported on.
    pub ssrc: u32,
    /// Packets lost in the network, in 1/256.
    pub loss_rate: u8,
    /// Packets thrown away by the de-jitter buffer, in 1/256.
    pub discard_rate: u8,
    /// Lost or discarded within bursts, in 1/256.
    pub burst_density: u8,
    /// Lost or discarded within gaps, in 1/256.
    pub gap_density: u8,
    /// Mean duration of bursts.
    pub burst_ms: u16,
    /// Mean duration of gaps.
    pub gap_ms: u16,
    /// Round trip between RTP interfaces; 0 = unknown.
    pub round_trip_ms: u16,
    /// Delay inside the end system.
    pub end_system_ms: u16,
    /// Signal level; 127 = unavailable.
    pub signal_dbm: i8,
    /// Noise level; 127 = unavailable.
    pub noise_dbm: i8,
    /// Residual echo return loss; 127 = unavailable.
    pub rerl_db: u8,
    /// Gap threshold.
    pub gmin: u8,
    /// R factor 0 to 100; 127 = unavailable.
    pub r: u8,
    /// R factor of the network beyond; 127 = unavailable.
    pub external_r: u8,
    /// MOS-LQ times ten, 10 to 50; 127 = unavailable.
    pub mos_lq: u8,
    /// MOS-CQ times ten, 10 to 50; 127 = unavailable.
    pub mos_cq: u8,
    /// Concealment, buffer kind and rate, see [`VoipMetrics::concealment`] and [`VoipMetrics::adaptive`].
    pub rx_config: u8,
    /// Nominal de-jitter delay.
    pub buffer_nominal_ms: u16,
    /// Largest delay so far.
    pub buffer_maximum_ms: u16,
    /// Largest delay there can be.
    pub buffer_absolute_ms: u16,
}

/// Packet loss concealment of a receiver (RX config, bits 7 and 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "RFC 3611 4.7.7 defines them")]
pub enum Concealment {
    Unspecified,
    Disabled,
    Enhanced,
    Standard,
}

/// Measurement information (RFC 6776).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Stream reported on.
    pub ssrc: u32,
    /// First sequence number of the session.
    pub first_sequence: u16,
    /// First extended sequence number of the interval.
    pub interval_first: u32,
    /// Last extended sequence number of the interval.
    pub interval_last: u32,
    /// Length of the interval in seconds.
    pub interval_seconds: f64,
    /// Time since the session began in seconds.
    pub cumulative_seconds: f64,
}

/// Packet delay variation (RFC 6798), seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DelayVariation {
    /// Stream reported on.
    pub ssrc: u32,
    /// PDV type: 0 = MAPDV2, 1 = two-point PDV.
    pub kind: u8,
    /// Positive threshold or peak.
    pub positive: Option<f64>,
    /// Negative threshold or peak.
    pub negative: Option<f64>,
    /// Mean.
    pub mean: Option<f64>,
}

/// Delay metrics (RFC 6843), seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delay {
    /// Stream reported on.
    pub ssrc: u32,
    /// Mean round trip of the network.
    pub mean_round_trip: Option<f64>,
    /// Smallest round trip.
    pub min_round_trip: Option<f64>,
    /// Largest round trip.
    pub max_round_trip: Option<f64>,
    /// Delay inside the end system.
    pub end_system: Option<f64>,
}

/// Burst and gap counts (RFC 6958 for loss, RFC 7003 for discard).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstGap {
    /// Stream reported on.
    pub ssrc: u32,
    /// Of discarded packets, else of lost ones.
    pub discard: bool,
    /// Gap threshold (Gmin).
    pub threshold: u8,
    /// Packets lost or discarded in bursts.
    pub in_bursts: Option<u32>,
    /// Packets expected in bursts.
    pub expected_in_bursts: Option<u32>,
    /// Number of bursts; loss only.
    pub bursts: Option<u16>,
    /// Their total length; loss only.
    pub burst_ms: Option<u32>,
}

/// De-jitter buffer (RFC 7005), seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeJitterBuffer {
    /// Stream reported on.
    pub ssrc: u32,
    /// It adapts its size.
    pub adaptive: bool,
    /// Nominal delay.
    pub nominal: Option<f64>,
    /// Largest delay.
    pub maximum: Option<f64>,
    /// High-water mark.
    pub high_water: Option<f64>,
    /// Low-water mark.
    pub low_water: Option<f64>,
}

/// Discard count (RFC 7002).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscardCount {
    /// Stream reported on.
    pub ssrc: u32,
    /// DT field, as on the wire: which reasons the count covers.
    pub discard_type: u8,
    /// Packets.
    pub packets: Option<u32>,
}

/// Iterator over the scores of a MOS block (RFC 7266).
#[derive(Clone, Debug)]
pub struct MosSegments<'a> {
    /// Stream reported on.
    pub ssrc: u32,
    segments: &'a [u8],
}

/// One score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MosSegment {
    /// Calculation algorithm: an id that SDP (`calgextmap`) gives a meaning.
    pub algorithm: u8,
    /// Payload type scored.
    pub payload_type: u8,
    /// Channel, where channels are scored apart.
    pub channel: Option<u8>,
    /// 1 to 5; `None` = unavailable.
    pub mos: Option<f64>,
}

/// Loss concealment (RFC 7294 3), in ticks of the media clock unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossConcealment {
    /// Stream reported on.
    pub ssrc: u32,
    /// Method, as on the wire.
    pub method: u8,
    /// Played in time.
    pub on_time: Option<u32>,
    /// Played instead of what was lost.
    pub concealed: Option<u32>,
    /// Played while the buffer moved.
    pub adjusted: Option<u32>,
    /// Interruptions of playout, count.
    pub interrupts: Option<u16>,
    /// Their mean length.
    pub mean_interrupt: Option<u32>,
}

/// Concealed seconds (RFC 7294 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcealedSeconds {
    /// Stream reported on.
    pub ssrc: u32,
    /// Method, as on the wire.
    pub method: u8,
    /// Seconds without concealment.
    pub unimpaired: Option<u32>,
    /// Seconds with some.
    pub concealed: Option<u32>,
    /// Seconds with more than the threshold.
    pub severe: Option<u16>,
    /// The threshold in milliseconds of a second.
    pub threshold_ms: u8,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let &[block_type, specific, l0, l1] = self.rest.first_chunk()?;
        let rest = std::mem::take(&mut self.rest);
        let length = 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
        let unknown = Block::Unknown { block_type };
        let Some((block, after)) = rest.split_at_checked(length) else {
            return Some(unknown);
        };
        self.rest = after;
        let body = block.get(4..).unwrap_or_default();
        Some(read(block_type, specific, body).unwrap_or(unknown))
    }
}

impl RunLengths<'_> {
    /// Sums the trace up, in order of sequence numbers.
    pub fn outcomes(&self) -> Outcomes {
        let span = u32::from(self.end.wrapping_sub(self.begin));
        // Of the range, the multiples of 2^thinning are reported.
        let step = 1_u32 << self.thinning;
        let skipped = u32::from(self.begin).wrapping_neg() % step;
        let mut left = span.saturating_sub(skipped).div_ceil(step);
        let mut outcomes = Outcomes::default();
        let mut run = 0;
        for chunk in self.chunks.chunks_exact(2).map_while(|chunk| be16(chunk, 0)) {
            match chunk {
                0 => break,
                vector if vector & 0x8000 != 0 => {
                    for bit in (0..15).rev().take(left as usize) {
                        outcomes.add(vector >> bit & 1 == 1, 1, &mut run);
                    }
                    left -= left.min(15);
                }
                run_length => {
                    let length = u32::from(run_length & 0x3fff).min(left);
                    outcomes.add(run_length & 0x4000 != 0, length, &mut run);
                    left -= length;
                }
            }
        }
        outcomes
    }
}

impl Outcomes {
    fn add(&mut self, one: bool, count: u32, run: &mut u32) {
        if count == 0 {
            return;
        }
        self.reported += count;
        if one {
            *run = 0;
            return;
        }
        self.zeros += count;
        self.zero_runs += u32::from(*run == 0);
        *run += count;
        self.longest_zeros = self.longest_zeros.max(*run);
    }
}

impl Iterator for Dlrrs<'_> {
    type Item = Dlrr;

    fn next(&mut self) -> Option<Dlrr> {
        let (dlrr, rest) = self.bytes.split_at_checked(12)?;
        self.bytes = rest;
        Some(Dlrr { ssrc: be32(dlrr, 0)?, last_rr: be32(dlrr, 4)?, delay_since_last_rr: be32(dlrr, 8)? })
    }
}

impl VoipMetrics {
    /// Loss in the network, 0 to 1.
    pub fn loss_ratio(&self) -> f64 {
        f64::from(self.loss_rate) / 256.0
    }

    /// Loss in the de-jitter buffer, 0 to 1.
    pub fn discard_ratio(&self) -> f64 {
        f64::from(self.discard_rate) / 256.0
    }

    /// Round trip, seconds.
    pub fn round_trip(&self) -> Option<f64> {
        (self.round_trip_ms != 0).then(|| f64::from(self.round_trip_ms) / 1e3)
    }

    /// R factor, 0 to 100.
    pub fn r_factor(&self) -> Option<f64> {
        (self.r <= 100).then_some(f64::from(self.r))
    }

    /// Listening quality, 1 to 5. 127 is not 12.7.
    pub fn mos_lq(&self) -> Option<f64> {
        tenths(self.mos_lq)
    }

    /// Conversational quality, 1 to 5.
    pub fn mos_cq(&self) -> Option<f64> {
        tenths(self.mos_cq)
    }

    /// The block as a fact; `call_id` is that of the call its stream belongs to.
    pub fn report(&self, stamp: Stamp, call_id: Option<String>) -> event::Report {
        event::Report {
            kind: event::ReportKind::RtcpXr,
            stamp,
            call_id,
            ssrc: Some(format!("{:#010x}", self.ssrc)),
            mos_lq: self.mos_lq(),
            mos_cq: self.mos_cq(),
            loss_ratio: Some(self.loss_ratio()),
            discard_ratio: Some(self.discard_ratio()),
            rtt: self.round_trip(),
        }
    }

    /// How the receiver covers loss.
    pub fn concealment(&self) -> Concealment {
        match self.rx_config >> 6 {
            1 => Concealment::Disabled,
            2 => Concealment::Enhanced,
            3 => Concealment::Standard,
            _ => Concealment::Unspecified,
        }
    }

    /// Whether the de-jitter buffer adapts; `None` = it does not say.
    pub fn adaptive(&self) -> Option<bool> {
        match self.rx_config >> 4 & 0b11 {
            2 => Some(false),
            3 => Some(true),
            _ => None,
        }
    }
}

impl Iterator for MosSegments<'_> {
    type Item = MosSegment;

    fn next(&mut self) -> Option<MosSegment> {
        let (segment, rest) = self.segments.split_at_checked(4)?;
        self.segments = rest;
        let word = be32(segment, 0)?;
        // |S| algorithm 8 | PT 7 | MOS 16, 8.8 |, or, with S, | channel 3 | MOS 13, 6.7 |. The top two codes
        // are over-range and unavailable; what is no score either way is dropped with them.
        let (channel, mos) = if word >> 31 == 0 {
            (None, f64::from(word & 0xffff) / 256.0)
        } else {
            (Some((word >> 13 & 0b111) as u8), f64::from(word & 0x1fff) / 128.0)
        };
        Some(MosSegment {
            algorithm: (word >> 23 & 0xff) as u8,
            payload_type: (word >> 16 & 0x7f) as u8,
            channel,
            mos: (1.0..=5.0).contains(&mos).then_some(mos),
        })
    }
}

fn read(block_type: u8, specific: u8, body: &[u8]) -> Option<Block<'_>> {
    let ssrc = be32(body, 0);
    // The layouts are fixed but for the lists; a longer block is an extension, a shorter one is broken.
    match (block_type, body.len()) {
        (1 | 2, 8..) => {
            let trace = RunLengths {
                ssrc: ssrc?,
                thinning: specific & 0x0f,
                begin: be16(body, 4)?,
                end: be16(body, 6)?,
                chunks: body.get(8..)?,
            };
            Some(if block_type == 1 { Block::LossRle(trace) } else { Block::DuplicateRle(trace) })
        }
        (4, 8..) => {
            Some(Block::ReceiverReferenceTime(Ntp { seconds: be32(body, 0)?, fraction: be32(body, 4)? }))
        }
        (5, _) => Some(Block::Dlrr(Dlrrs { bytes: body })),
        (6, 36..) => read_summary(specific, body).map(Block::Summary),
        (7, 32..) => read_voip(body).map(Block::Voip),
        (14, 28..) => Some(Block::Measurement(Measurement {
            ssrc: ssrc?,
            first_sequence: be16(body, 6)?,
            interval_first: be32(body, 8)?,
            interval_last: be32(body, 12)?,
            interval_seconds: f64::from(be32(body, 16)?) / 65536.0,
            cumulative_seconds: f64::from(be32(body, 20)?) + f64::from(be32(body, 24)?) / TWO_POW_32,
        })),
        (15, 16..) => Some(Block::DelayVariation(DelayVariation {
            ssrc: ssrc?,
            kind: specific >> 2 & 0x0f,
            positive: sixteenths_ms(be16(body, 4)?),
            negative: sixteenths_ms(be16(body, 8)?),
            mean: sixteenths_ms(be16(body, 12)?),
        })),
        (16, 24..) => Some(Block::Delay(Delay {
            ssrc: ssrc?,
            mean_round_trip: short_ntp(be32(body, 4)?),
            min_round_trip: short_ntp(be32(body, 8)?),
            max_round_trip: short_ntp(be32(body, 12)?),
            end_system: counted(be32(body, 16)?)
                .zip(be32(body, 20))
                .map(|(seconds, fraction)| f64::from(seconds) + f64::from(fraction) / TWO_POW_32),
        })),
        (20, 20..) => Some(Block::BurstGap(BurstGap {
            ssrc: ssrc?,
            discard: false,
            threshold: *body.get(4)?,
            burst_ms: counted24(be32(body, 4)? & 0xff_ffff),
            in_bursts: counted24(be32(body, 8)? >> 8),
            expected_in_bursts: counted24(be32(body, 11)? >> 8),
            // Twelve bits, and the next four belong to the sum of squares.
            bursts: Some(be16(body, 14)? >> 4).filter(|&bursts| bursts < 0xffe),
        })),
        (21, 12..) => Some(Block::BurstGap(BurstGap {
            ssrc: ssrc?,
            discard: true,
            threshold: *body.get(4)?,
            in_bursts: counted24(be32(body, 4)? & 0xff_ffff),
            expected_in_bursts: counted24(be32(body, 8)? >> 8),
            bursts: None,
            burst_ms: None,
        })),
        (23, 12..) => Some(Block::DeJitterBuffer(DeJitterBuffer {
            ssrc: ssrc?,
            adaptive: specific & 0b0010_0000 != 0,
            nominal: milliseconds(be16(body, 4)?),
            maximum: milliseconds(be16(body, 6)?),
            high_water: milliseconds(be16(body, 8)?),
            low_water: milliseconds(be16(body, 10)?),
        })),
        (24, 8..) => Some(Block::DiscardCount(DiscardCount {
            ssrc: ssrc?,
            discard_type: specific >> 4 & 0b11,
            packets: counted(be32(body, 4)?),
        })),
        (29, 4..) => Some(Block::Mos(MosSegments { ssrc: ssrc?, segments: body.get(4..)? })),
        (30, 24..) => Some(Block::LossConcealment(LossConcealment {
            ssrc: ssrc?,
            method: specific >> 4 & 0b11,
            on_time: counted(be32(body, 4)?),
            concealed: counted(be32(body, 8)?),
            adjusted: counted(be32(body, 12)?),
            interrupts: counted16(be16(body, 16)?),
            mean_interrupt: counted(be32(body, 20)?),
        })),
        (31, 16..) => Some(Block::ConcealedSeconds(ConcealedSeconds {
            ssrc: ssrc?,
            method: specific >> 4 & 0b11,
            unimpaired: counted(be32(body, 4)?),
            concealed: counted(be32(body, 8)?),
            severe: counted16(be16(body, 12)?),
            threshold_ms: *body.get(15)?,
        })),
        _ => None,
    }
}

fn read_summary(flags: u8, body: &[u8]) -> Option<Summary> {
    let part = |flag: u8| flags & flag != 0;
    let jitter = [be32(body, 16)?, be32(body, 20)?, be32(body, 24)?, be32(body, 28)?];
    Some(Summary {
        ssrc: be32(body, 0)?,
        begin: be16(body, 4)?,
        end: be16(body, 6)?,
        lost: be32(body, 8).filter(|_| part(0b1000_0000)),
        duplicates: be32(body, 12).filter(|_| part(0b0100_0000)),
        jitter: part(0b0010_0000).then_some(jitter),
        hops: body.get(32..)?.first_chunk().copied().filter(|_| part(0b0001_1000)),
    })
}

fn read_voip(body: &[u8]) -> Option<VoipMetrics> {
    let byte = |at: usize| body.get(at).copied();
    Some(VoipMetrics {
        ssrc: be32(body, 0)?,
        loss_rate: byte(4)?,
        discard_rate: byte(5)?,
        burst_density: byte(6)?,
        gap_density: byte(7)?,
        burst_ms: be16(body, 8)?,
        gap_ms: be16(body, 10)?,
        round_trip_ms: be16(body, 12)?,
        end_system_ms: be16(body, 14)?,
        signal_dbm: byte(16)?.cast_signed(),
        noise_dbm: byte(17)?.cast_signed(),
        rerl_db: byte(18)?,
        gmin: byte(19)?,
        r: byte(20)?,
        external_r: byte(21)?,
        mos_lq: byte(22)?,
        mos_cq: byte(23)?,
        rx_config: byte(24)?,
        buffer_nominal_ms: be16(body, 26)?,
        buffer_maximum_ms: be16(body, 28)?,
        buffer_absolute_ms: be16(body, 30)?,
    })
}

fn tenths(mos: u8) -> Option<f64> {
    (10..=50).contains(&mos).then(|| f64::from(mos) / 10.0)
}

/// All-ones means unavailable and the code below it over-range (RFC 6776 and the blocks after it).
fn counted(value: u32) -> Option<u32> {
    (value < 0xffff_fffe).then_some(value)
}

fn counted16(value: u16) -> Option<u16> {
    (value < 0xfffe).then_some(value)
}

fn counted24(value: u32) -> Option<u32> {
    (value < 0xff_fffe).then_some(value)
}

fn milliseconds(value: u16) -> Option<f64> {
    counted16(value).map(|ms| f64::from(ms) / 1e3)
}

/// Round trips of RFC 6843 are in 1/65536 seconds, as DLSR is.
fn short_ntp(value: u32) -> Option<f64> {
    counted(value).map(|ticks| f64::from(ticks) / 65536.0)
}

/// Signed 11.4 milliseconds (RFC 6798); 0x7fff is unavailable, 0x7ffe and 0x8000 are over- and under-range.
fn sixteenths_ms(value: u16) -> Option<f64> {
    let ms = f64::from(value.cast_signed()) / 16.0;
    (!matches!(value, 0x7ffe..=0x8000)).then_some(ms / 1e3)
}

const TWO_POW_32: f64 = 4_294_967_296.0;

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn block(block_type: u8, specific: u8, body: &[u8]) -> Vec<u8> {
        let [l0, l1] = ((body.len() / 4) as u16).to_be_bytes();
        [&[block_type, specific, l0, l1], body].concat()
    }

    fn only(bytes: &[u8]) -> Block<'_> {
        let mut blocks: Vec<_> = Blocks::new(bytes).collect();
        assert_eq!(blocks.len(), 1);
        blocks.remove(0)
    }

    fn outcomes(begin: u16, end: u16, thinning: u8, chunks: &[u16]) -> Outcomes {
        let mut body = vec![0, 0, 0, 9];
        for half in [&[begin, end], chunks].concat() {
            body.extend_from_slice(&half.to_be_bytes());
        }
        match only(&block(1, thinning, &body)) {
            Block::LossRle(trace) => trace.outcomes(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn run_lengths_and_bit_vectors_add_up() {
        // 20 received, 3 lost, then 1011 and padding of the vector beyond the range.
        let got = outcomes(65_530, 65_530_u16.wrapping_add(27), 0, &[0x4014, 0x0003, 0xd800, 0]);
        assert_eq!(got, Outcomes { reported: 27, zeros: 4, zero_runs: 2, longest_zeros: 3 });
    }

    #[test]
    fn a_run_of_losses_goes_on_across_chunks() {
        let got = outcomes(0, 30, 0, &[0x000a, 0x8000, 0x4005, 0]);
        assert_eq!(got, Outcomes { reported: 30, zeros: 25, zero_runs: 1, longest_zeros: 25 });
    }

    #[test]
    fn thinning_reports_every_other_number() {
        assert_eq!(outcomes(1, 11, 1, &[0x7fff, 0]).reported, 5);
    }

    #[test]
    fn unavailable_scores_are_absent() {
        let mut body = [0_u8; 32];
        for at in [16, 17, 18, 20, 21, 22, 23] {
            body[at] = 127;
        }
        let bytes = block(7, 0, &body);
        let Block::Voip(voip) = only(&bytes) else { panic!() };
        assert_eq!(
            (voip.mos_lq(), voip.mos_cq(), voip.r_factor(), voip.round_trip()),
            (None, None, None, None)
        );
        assert_eq!((voip.concealment(), voip.adaptive()), (Concealment::Unspecified, None));
    }

    #[test]
    fn a_report_has_ratios_and_seconds() {
        let mut body = [0_u8; 32];
        body[4..6].copy_from_slice(&[64, 128]);
        body[13] = 88;
        body[22..24].copy_from_slice(&[41, 127]);
        let bytes = block(7, 0, &body);
        let Block::Voip(voip) = only(&bytes) else { panic!() };
        let report = voip.report(Stamp(7), None);
        assert_eq!(
            (report.loss_ratio, report.discard_ratio, report.rtt),
            (Some(0.25), Some(0.5), Some(0.088))
        );
        assert_eq!((report.mos_lq, report.mos_cq), (Some(4.1), None));
        assert_eq!(report.ssrc.as_deref(), Some("0x00000000"));
    }

    #[test]
    fn scores_out_of_range_are_absent() {
        let mut body = [0_u8; 32];
        for (lq, expected) in [(9, None), (10, Some(1.0)), (41, Some(4.1)), (50, Some(5.0)), (51, None)] {
            body[22] = lq;
            let bytes = block(7, 0, &body);
            let Block::Voip(voip) = only(&bytes) else { panic!() };
            assert_eq!(voip.mos_lq(), expected);
        }
    }

    #[test]
    fn a_reference_time_is_answered_by_a_dlrr() {
        let bytes = block(5, 0, &[0, 0, 0, 7, 1, 2, 3, 4, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        let Block::Dlrr(dlrrs) = only(&bytes) else { panic!() };
        let dlrrs: Vec<_> = dlrrs.collect();
        assert_eq!(dlrrs[0], Dlrr { ssrc: 7, last_rr: 0x0102_0304, delay_since_last_rr: 65536 });
        assert_eq!(dlrrs[1].last_rr, 0);
    }

    #[test]
    fn a_summary_has_only_the_parts_its_flags_name() {
        let mut body = vec![0, 0, 0, 7, 0, 1, 0, 101];
        for n in 1..=6_u32 {
            body.extend_from_slice(&n.to_be_bytes());
        }
        body.extend_from_slice(&[60, 64, 62, 1]);
        let bytes = block(6, 0b1010_0000, &body);
        let Block::Summary(summary) = only(&bytes) else { panic!() };
        assert_eq!((summary.lost, summary.duplicates), (Some(1), None));
        assert_eq!((summary.jitter, summary.hops), (Some([3, 4, 5, 6]), None));
    }

    #[test]
    fn mos_segments_are_fixed_point() {
        let body = [0, 0, 0, 7, 0x01, 0x00, 0x04, 0x33, 0x01, 0x88, 0xff, 0xff, 0x80, 0x08, 0x42, 0x00];
        let bytes = block(29, 0xc0, &body);
        let Block::Mos(segments) = only(&bytes) else { panic!() };
        let got: Vec<_> = segments.collect();
        assert_eq!((got[0].algorithm, got[0].payload_type, got[0].channel), (2, 0, None));
        assert!((got[0].mos.unwrap() - 4.2).abs() < 0.004);
        assert_eq!((got[1].algorithm, got[1].payload_type, got[1].mos), (3, 8, None));
        assert_eq!((got[2].channel, got[2].mos), (Some(2), Some(4.0)));
    }

    #[test]
    fn delays_have_seconds() {
        let mut body = vec![0, 0, 0, 7, 0, 0, 0x80, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0];
        body.extend_from_slice(&[0, 0, 0, 0, 0x40, 0, 0, 0]);
        let bytes = block(16, 0, &body);
        let Block::Delay(delay) = only(&bytes) else { panic!() };
        assert_eq!((delay.mean_round_trip, delay.min_round_trip), (Some(0.5), None));
        assert_eq!((delay.max_round_trip, delay.end_system), (Some(1.0), Some(0.25)));
    }

    #[test]
    fn delay_variation_is_signed() {
        let body = [0, 0, 0, 7, 0x01, 0x40, 0, 0, 0xfe, 0xc0, 0, 0, 0x7f, 0xff, 0, 0];
        let bytes = block(15, 0b1100_0100, &body);
        let Block::DelayVariation(pdv) = only(&bytes) else { panic!() };
        assert_eq!((pdv.kind, pdv.positive, pdv.negative, pdv.mean), (1, Some(0.02), Some(-0.02), None));
    }

    #[test]
    fn burst_counts_are_packed() {
        let body = [0, 0, 0, 7, 16, 0, 1, 0x90, 0, 0, 12, 0, 0, 40, 0, 0x31, 0, 0, 0, 0];
        let bytes = block(20, 0xc0, &body);
        let Block::BurstGap(loss) = only(&bytes) else { panic!() };
        let expected = BurstGap {
            ssrc: 7,
            discard: false,
            threshold: 16,
            in_bursts: Some(12),
            expected_in_bursts: Some(40),
            bursts: Some(3),
            burst_ms: Some(400),
        };
        assert_eq!(loss, expected);
        let bytes = block(21, 0xc0, &[0, 0, 0, 7, 16, 0, 0, 12, 0, 0, 40, 0]);
        let Block::BurstGap(discard) = only(&bytes) else { panic!() };
        assert_eq!((discard.in_bursts, discard.expected_in_bursts), (Some(12), Some(40)));
    }

    #[test]
    fn the_smaller_blocks_are_read() {
        let bytes = [
            block(23, 0b1110_0000, &[0, 0, 0, 7, 0, 40, 0, 80, 0xff, 0xff, 0, 20]),
            block(24, 0b1110_0000, &[0, 0, 0, 7, 0, 0, 0, 9]),
            block(31, 0, &[0, 0, 0, 7, 0, 0, 0, 50, 0, 0, 0, 3, 0, 1, 0, 50]),
            block(
                14,
                0,
                &[[0, 0, 0, 7, 0, 0, 0, 5], [0, 0, 0, 5, 0, 0, 1, 0], [0, 5, 0, 0, 0, 0, 0, 9]].concat(),
            ),
        ];
        // The last one is a word short of RFC 6776.
        let bytes = bytes.concat();
        let blocks: Vec<_> = Blocks::new(&bytes).collect();
        let [
            Block::DeJitterBuffer(buffer),
            Block::DiscardCount(count),
            Block::ConcealedSeconds(seconds),
            Block::Unknown { block_type: 14 },
        ] = blocks[..]
        else {
            panic!("{blocks:?}");
        };
        assert!(buffer.adaptive);
        assert_eq!((buffer.nominal, buffer.high_water, buffer.low_water), (Some(0.04), None, Some(0.02)));
        assert_eq!((count.discard_type, count.packets), (2, Some(9)));
        assert_eq!((seconds.unimpaired, seconds.severe, seconds.threshold_ms), (Some(50), Some(1), 50));
    }

    #[test]
    fn unknown_blocks_are_skipped_by_length() {
        let bytes = [block(99, 0, &[1; 8]), block(4, 0, &[0, 0, 0, 1, 0, 0, 0, 2])].concat();
        let blocks: Vec<_> = Blocks::new(&bytes).collect();
        assert!(matches!(blocks[..], [Block::Unknown { block_type: 99 }, Block::ReceiverReferenceTime(_)]));
    }

    proptest! {
        /// For all bytes: iterating ends, and no trace speaks of more packets than its range has.
        #[test]
        fn any_bytes_terminate(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..32], 0..400)
        ) {
            for block in Blocks::new(&bytes) {
                match block {
                    Block::LossRle(trace) | Block::DuplicateRle(trace) => {
                        let got = trace.outcomes();
                        prop_assert!(got.reported <= u32::from(trace.end.wrapping_sub(trace.begin)));
                        prop_assert!(got.zeros <= got.reported && got.zero_runs <= got.zeros);
                    }
                    Block::Dlrr(dlrrs) => prop_assert!(dlrrs.count() <= bytes.len() / 12),
                    Block::Mos(segments) => {
                        let in_range = |mos: f64| (1.0..=5.0).contains(&mos);
                        prop_assert!(segments.filter_map(|segment| segment.mos).all(in_range));
                    }
                    _ => {}
                }
            }
        }
    }
}
