//! Owns all call and stream state, on packet time alone, and tells facts as they become final.
//!
//! ```text
//! Frame -> slice / Decoder -> UDP --> RTP of a known flow -> Media          (nearly every packet)
//!                                 \-> SIP | RTCP | HEP | new RTP flow       (Desk)
//!                         -> TCP, SCTP -> messages -----------/
//! ```
//!
//! The contract:
//!
//! 1. [`Observer::packets`] with the frames of a capture, in order, in batches of any size;
//! 2. [`Observer::tick`] when the wire is quiet (a replay needs none);
//! 3. [`Observer::finish`] once, at the end.
//!
//! The same frames give the same facts, however they are batched: time is that of the packets, and what time
//! brings is worked off on a fixed grid of 100 ms.

mod desk;
mod feedback;
mod flow;
mod hearing;
mod media;
mod repeat;
mod slab;

use std::collections::BTreeMap;

use self::desk::Desk;
use self::flow::Flow;
use crate::Stamp;
use crate::call;
use crate::event::{Sink, Totals};
use crate::limits::Limits;
use crate::quality::Rating;
use crate::rtp::header::Header;
use crate::rtp::stream::Packet as RtpPacket;
use crate::wire::fast::{self, Addresses, Datagram};
use crate::wire::{Decoder, Frame, LinkType, Skip};

/// What an observer is told before it begins.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Bounds of all tables.
    pub limits: Limits,
    /// What opinion scores rest on.
    pub rating: Rating,
    /// How the legs of a call find one another, and the like.
    pub calls: call::Settings,
}

/// The measuring core.
pub struct Observer {
    decoder: Decoder,
    desk: Desk,
    capture: CaptureTotals,
    next_tick: Stamp,
}

#[derive(Default)]
struct CaptureTotals {
    packets: u64,
    bytes: u64,
    truncated: u64,
    first: Option<Stamp>,
    last: Option<Stamp>,
    skipped: BTreeMap<&'static str, u64>,
    undecoded: u64,
}

impl Observer {
    /// An observer that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            decoder: Decoder::new(&settings.limits),
            desk: Desk::new(settings),
            capture: CaptureTotals::default(),
            next_tick: Stamp(0),
        }
    }

    /// Takes frames in capture order.
    pub fn packets(&mut self, frames: &[Frame<'_>], sink: &mut impl Sink) {
        for frames in frames.chunks(AHEAD) {
            let mut sliced = [const { None }; AHEAD];
            for (frame, slot) in frames.iter().zip(&mut sliced) {
                if frame.link == LinkType::ETHERNET
                    && let Some(datagram) = fast::slice(frame.bytes)
                {
                    // Finding the stream draws its state into the cache while the other frames are sliced.
                    let media = media_flow(&datagram).map(|flow| {
                        let found = self.desk.media.find(&flow);
                        (flow, found)
                    });
                    *slot = Some((datagram, media));
                }
            }
            for (frame, slot) in frames.iter().zip(sliced) {
                self.capture.count(frame);
                if frame.stamp >= self.next_tick {
                    self.tick(frame.stamp, sink);
                }
                match slot {
                    Some((datagram, Some((flow, found)))) => self.media(frame, &datagram, flow, found, sink),
                    Some((datagram, None)) => {
                        self.desk.udp(frame.stamp, &datagram.packet(frame.interface), sink);
                    }
                    None => self.rare_shape(frame, sink),
                }
            }
        }
    }

    /// Time has come to `now`: works off what is due.
    pub fn tick(&mut self, now: Stamp, sink: &mut impl Sink) {
        let grid = Stamp(now.0 - now.0 % TICK_NANOS);
        self.next_tick = Stamp(grid.0 + TICK_NANOS);
        self.decoder.expire(grid);
        self.desk.tick(grid, sink);
    }

    /// The capture is over: what is open becomes final as it stands.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        self.desk.finish(self.capture.last.unwrap_or_default(), sink);
    }

    /// Everything counted so far.
    pub fn totals(&self) -> Totals {
        let wire = self.decoder.counters();
        let mut totals = Totals {
            packets: self.capture.packets,
            bytes: self.capture.bytes,
            first: self.capture.first,
            last: self.capture.last,
            skipped: self.capture.skipped.clone(),
            undecoded: self.capture.undecoded,
            truncated: self.capture.truncated,
            fragments: wire.fragments,
            ..Totals::default()
        };
        if wire.evicted > 0 {
            totals.evicted.insert("fragments", wire.evicted);
        }
        self.desk.totals(&mut totals);
        totals
    }

    #[inline]
    fn media(
        &mut self,
        frame: &Frame<'_>,
        datagram: &Datagram<'_>,
        flow: Flow,
        found: Option<u32>,
        sink: &mut impl Sink,
    ) {
        let Some(header) = Header::read(datagram.payload, datagram.cut) else { return };
        let packet = rtp_packet(frame, datagram, &header);
        let media = &mut self.desk.media;
        // What was found ahead of time may have ended since, or begun.
        match found.filter(|&index| media.is(index, &flow)).or_else(|| media.find(&flow)) {
            Some(index) => media.push(index, &packet, sink),
            None => self.desk.new_flow(flow, &header, &packet, datagram.dscp, sink),
        }
    }

    /// Everything that is not plain UDP in plain IP in plain Ethernet.
    #[cold]
    fn rare_shape(&mut self, frame: &Frame<'_>, sink: &mut impl Sink) {
        match self.decoder.decode(frame) {
            Ok(packet) => self.desk.packet(frame.stamp, &packet, sink),
            Err(skip) => self.capture.skip(skip),
        }
    }
}

impl CaptureTotals {
    #[inline]
    fn count(&mut self, frame: &Frame<'_>) {
        self.packets += 1;
        self.bytes += u64::from(frame.wire_len);
        self.truncated += u64::from((frame.wire_len as usize) > frame.bytes.len());
        if self.first.is_none_or(|first| frame.stamp < first) {
            self.first = Some(frame.stamp);
        }
        if self.last.is_none_or(|last| frame.stamp > last) {
            self.last = Some(frame.stamp);
        }
    }

    fn skip(&mut self, skip: Skip) {
        *self.skipped.entry(skip.name()).or_default() += 1;
        self.undecoded += u64::from(skip.undecoded());
    }
}

/// The flow of a datagram that may be RTP (RFC 7983, RFC 5761): version 2 and no RTCP packet type.
#[inline]
fn media_flow(datagram: &Datagram<'_>) -> Option<Flow> {
    let header = datagram.payload.first_chunk::<12>()?;
    if header[0] & 0xc0 != 0x80 || (192..=223).contains(&header[1]) {
        return None;
    }
    let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    Some(match datagram.addresses {
        Addresses::V4 { source, destination } => {
            Flow::v4(source, destination, datagram.source_port, datagram.destination_port, ssrc)
        }
        Addresses::V6 { .. } => {
            let packet = datagram.packet(0);
            Flow::new(packet.source, packet.destination, ssrc)
        }
    })
}

#[inline]
fn rtp_packet<'a>(frame: &Frame<'_>, datagram: &Datagram<'a>, header: &Header) -> RtpPacket<'a> {
    RtpPacket {
        stamp: frame.stamp,
        seq: header.fixed.sequence,
        ticks: header.fixed.timestamp,
        payload_type: header.fixed.payload_type,
        payload: header.payload(datagram.payload),
        payload_len: header.payload_len,
        length: datagram.payload.len() as u32 + datagram.cut,
        ip_id: datagram.ip_id.unwrap_or(0),
        interface: frame.interface,
    }
}

/// Frames looked at ahead of the one that is worked on.
const AHEAD: usize = 32;
/// The grid of time on which timers run.
const TICK_NANOS: u64 = 100_000_000;
