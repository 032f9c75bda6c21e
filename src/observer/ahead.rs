//! A look at frames before their turn: which of them are probably packets of streams that are known, as nearly all
//! are, and which streams those are. A guess, which is checked in its turn.

use super::desk::{Desk, Read};
use super::flow::FlowV4;
use crate::demux;
use crate::rtp::packet::Packet;
use crate::wire::fast::{self, Addresses, Datagram};
use crate::wire::{Frame, LinkType};

/// What the look at one frame has found, as numbers: it is written over and over, and outlives the frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) flow: FlowV4,
    pub(crate) hash: u64,
    /// Number of the stream.
    pub(crate) guess: u32,
    /// Where the RTP packet lies in the frame; 0 = it is none, or none that is worth looking at ahead of its turn.
    at: u32,
    length: u32,
    cut: u32,
    ip_id: u16,
    pub(crate) seq: u16,
    /// The SIP message in the frame is the one of this number among those read ahead; 0 = none.
    message: u32,
}

impl Known {
    pub(crate) const NOTHING: Self = Self {
        flow: FlowV4::NONE,
        hash: 0,
        guess: 0,
        at: 0,
        length: 0,
        cut: 0,
        ip_id: 0,
        seq: 0,
        message: 0,
    };

    /// Looks at a frame; true when it may be a packet of a stream.
    #[inline]
    pub(crate) fn look(&mut self, frame: &Frame<'_>) -> bool {
        (self.at, self.message) = (0, 0);
        match fast::plain(frame.bytes).filter(|_| frame.link == LinkType::ETHERNET) {
            Some(datagram) => self.read(frame, &datagram),
            None => self.look_longer(frame),
        }
    }

    /// It may be.
    #[inline]
    pub(crate) fn is_media(&self) -> bool {
        self.at != 0
    }

    /// The packet in that frame.
    #[inline]
    pub(crate) fn packet<'a>(&self, frame: &Frame<'a>) -> Option<Packet<'a>> {
        let datagram = frame.bytes.get(self.at as usize..)?.get(..self.length as usize)?;
        Packet::read(frame.stamp, datagram, self.cut, self.ip_id, frame.interface)
    }

    /// Another shape: tags, options, padding.
    #[inline(never)]
    fn look_longer(&mut self, frame: &Frame<'_>) -> bool {
        let datagram = fast::slice(frame.bytes).filter(|_| frame.link == LinkType::ETHERNET);
        datagram.is_some_and(|datagram| self.read(frame, &datagram))
    }

    #[inline]
    fn read(&mut self, frame: &Frame<'_>, datagram: &Datagram<'_>) -> bool {
        let (Addresses::V4 { source, destination }, Some(header)) =
            (datagram.addresses, datagram.payload.first_chunk::<12>())
        else {
            return false;
        };
        // RFC 7983, RFC 5761: version 2, and no RTCP packet type.
        if header[0] & 0xc0 != 0x80 || demux::is_rtcp_type(header[1]) {
            return false;
        }
        let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        self.flow = FlowV4::new(source, destination, datagram.source_port, datagram.destination_port, ssrc);
        self.at = (datagram.payload.as_ptr().addr() - frame.bytes.as_ptr().addr()) as u32;
        self.length = datagram.payload.len() as u32;
        self.cut = datagram.cut;
        self.ip_id = datagram.ip_id.unwrap_or(0);
        self.seq = u16::from_be_bytes([header[2], header[3]]);
        true
    }
}

/// SIP that is read ahead, many messages in a row: what reads one and what makes something of it do not fit into the
/// instruction cache together.
pub(crate) struct Messages<'a>(pub(crate) Vec<Read<'a>>);

impl<'a> Messages<'a> {
    /// In the room that others had.
    pub(crate) fn reusing(room: Vec<Read<'static>>) -> Self {
        Self(room)
    }

    /// The room, for messages in other frames: collecting in place keeps the allocation.
    pub(crate) fn emptied(self) -> Vec<Read<'static>> {
        self.0.into_iter().map_while(|_| None).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Reads the message in a frame that is no RTP, if it is one; true when there should be no more of them.
    #[inline(never)]
    pub(crate) fn read(&mut self, frame: &Frame<'a>, known: &mut Known) -> bool {
        if frame.link != LinkType::ETHERNET {
            return false;
        }
        let Some(datagram) = fast::plain(frame.bytes).or_else(|| fast::slice(frame.bytes)) else {
            return false;
        };
        let Some(start) = Desk::sip(datagram.payload) else { return false };
        if self.0.capacity() == 0 {
            self.0.reserve_exact(MESSAGES_AHEAD);
        }
        // It is large: made where it can be, and moved once.
        start.with_message(|message| {
            self.0.push(Read { packet: datagram.packet(frame.interface), message: *message, name: None });
        });
        known.message = self.0.len() as u32;
        self.0.len() == MESSAGES_AHEAD
    }

    /// The message in the frame of which this is known.
    pub(crate) fn of(&self, known: &Known) -> Option<&Read<'a>> {
        self.0.get((known.message as usize).checked_sub(1)?)
    }
}

/// SIP messages that are read ahead: more would not fit into the cache.
const MESSAGES_AHEAD: usize = 8;
