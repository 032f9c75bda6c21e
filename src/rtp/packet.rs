//! One RTP packet as a stream needs it, and what is remembered of it to know it again (MEAS 1.11).

use crate::Stamp;
use crate::rtp::header::Header;
use crate::rtp::probation::Seen;

/// One RTP packet as the stream needs it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Arrival at the tap.
    pub stamp: Stamp,
    /// Sequence number.
    pub seq: u16,
    /// RTP time stamp.
    pub ticks: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// Payload as far as captured, header and extension removed.
    pub payload: &'a [u8],
    /// Payload bytes on the wire, padding included.
    pub payload_len: u32,
    /// RTP packet length on the wire in bytes.
    pub length: u32,
    /// IPv4 identification; 0 where there is none.
    pub ip_id: u16,
    /// Capture interface.
    pub interface: u32,
}

impl<'a> Packet<'a> {
    /// Reads a datagram of which `cut` bytes at the end were not captured; `None` when it is no RTP.
    #[inline]
    pub fn read(stamp: Stamp, datagram: &'a [u8], cut: u32, ip_id: u16, interface: u32) -> Option<Self> {
        let (fixed, rest) = datagram.split_first_chunk::<12>()?;
        let length = datagram.len() as u32 + cut;
        let (payload, payload_len) = if fixed[0] == PLAIN {
            (rest, length - 12)
        } else {
            let header = Header::read(datagram, cut)?;
            (header.payload(datagram), header.payload_len)
        };
        Some(Self {
            stamp,
            seq: u16::from_be_bytes([fixed[2], fixed[3]]),
            ticks: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            payload_type: fixed[1] & 0x7f,
            marker: fixed[1] & 0x80 != 0,
            payload,
            payload_len,
            length,
            ip_id,
            interface,
        })
    }

    /// A packet that waited on probation.
    pub fn of(seen: &'a Seen) -> Self {
        let kept = (seen.payload_len as usize).min(seen.head.len());
        Self {
            stamp: seen.stamp,
            seq: seen.sequence,
            ticks: seen.timestamp,
            payload_type: seen.payload_type,
            marker: seen.marker,
            payload: seen.head.get(..kept).unwrap_or_default(),
            payload_len: seen.payload_len,
            length: seen.datagram_len,
            ip_id: seen.ip_id.unwrap_or(0),
            interface: seen.interface,
        }
    }

    /// What probation remembers of it.
    pub fn seen(&self, dscp: u8) -> Seen {
        let mut head = [0; 16];
        for (to, from) in head.iter_mut().zip(self.payload) {
            *to = *from;
        }
        Seen {
            stamp: self.stamp,
            timestamp: self.ticks,
            sequence: self.seq,
            payload_type: self.payload_type,
            marker: self.marker,
            payload_len: self.payload_len,
            datagram_len: self.length,
            head,
            ip_id: Some(self.ip_id),
            dscp,
            interface: self.interface,
        }
    }
}

/// Fingerprint of one of the last packets (MEAS 1.11).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    /// Hash of number, time stamp, length and first bytes of the payload.
    pub(super) content: u32,
    /// Low 32 bits of the arrival in nanoseconds.
    pub(super) nanos: u32,
    pub(super) ip_id: u16,
    pub(super) interface: u16,
}

impl Recent {
    #[inline]
    pub(super) fn of(packet: &Packet<'_>) -> Self {
        let (head, tail) = match packet.payload.first_chunk::<16>() {
            Some(bytes) => {
                let both = u128::from_le_bytes(*bytes);
                (both as u64, (both >> 64) as u64)
            }
            None => packet.payload.iter().fold((0, 0), |(head, _), &byte| (head << 8 | u64::from(byte), 0)),
        };
        // Not hashed for spread: it is only compared with packets of the same number.
        let numbers =
            u64::from(packet.ticks) << 32 | u64::from(packet.seq) << 16 | u64::from(packet.payload_len);
        let mixed = head ^ tail.rotate_left(23) ^ numbers;
        Self {
            content: (mixed ^ (mixed >> 32)) as u32,
            nanos: packet.stamp.0 as u32,
            ip_id: packet.ip_id,
            interface: packet.interface as u16,
        }
    }

    /// Is a packet of the same number the same packet, seen once more (MEAS 1.11.1)?
    pub(super) fn is_captured_again(&self, copy: &Self) -> bool {
        self.content == copy.content
            && (self.interface != copy.interface
                || self.ip_id == copy.ip_id
                    && (copy.ip_id != 0 || copy.nanos.wrapping_sub(self.nanos) < CAPTURE_COPY_NANOS))
    }
}

/// Version 2, and neither padding, extension nor contributing sources.
const PLAIN: u8 = 0x80;
/// Without IP identification, the same packet again within this time is a capture duplicate (MEAS 1.11.1).
const CAPTURE_COPY_NANOS: u32 = 100_000;
