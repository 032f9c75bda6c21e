//! The RTP header (RFC 3550 5.1), and what follows it as far as lengths go.
//!
//! ```text
//!  0                   1                   2                   3
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |                             SSRC                              |
//! |                         CC x CSRC                             |
//! | profile  | words |  extension, when X                         |
//! | payload ...                          | padding, count, when P |
//! ```
//!
//! [`Fixed`] is the twelve bytes every packet has, for the hot path. [`Header`] also finds the payload. A bad
//! padding count, or a CSRC list or extension that runs past the packet, spoils the payload, not the header.

/// The fixed part of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in ticks of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

/// The whole header, and where the payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The fixed part.
    pub fixed: Fixed,
    /// Number of contributing sources, 0 to 15.
    pub csrc_count: u8,
    /// Profile word of the header extension.
    pub extension: Option<u16>,
    /// Padding octets at the end; 0 also when the count was unreadable.
    pub padding: u8,
    /// Where the payload begins, in bytes from the start of the header.
    pub payload_offset: u32,
    /// Payload bytes on the wire without padding; SRTP tags are still in it.
    pub payload_len: u32,
    /// The padding count is 0 or more than there is.
    pub bad_padding: bool,
    /// The CSRC list or the extension does not fit into the packet: there is no payload.
    pub overrun: bool,
}

impl Fixed {
    /// Reads the fixed part; `None` when it is not all there or the version is not 2.
    #[inline]
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let &[first, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = datagram.first_chunk()?;
        if first >> 6 != VERSION {
            return None;
        }
        Some(Self {
            marker: second & MARKER != 0,
            payload_type: second & !MARKER,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([r0, r1, r2, r3]),
        })
    }
}

impl Header {
    /// Reads the header of a datagram of which `cut` bytes at the end were on the wire but not captured.
    /// `None` as for [`Fixed::read`].
    #[inline]
    pub fn read(captured: &[u8], cut: u32) -> Option<Self> {
        let fixed = Fixed::read(captured)?;
        let first = *captured.first()?;
        let wire = u32::try_from(captured.len()).unwrap_or(u32::MAX).saturating_add(cut);
        let mut header = Self {
            fixed,
            csrc_count: first & CSRC_COUNT,
            extension: None,
            padding: 0,
            payload_offset: FIXED + 4 * u32::from(first & CSRC_COUNT),
            payload_len: 0,
            bad_padding: false,
            overrun: false,
        };
        if first & EXTENSION != 0 {
            header.skip_extension(captured, wire);
        }
        let Some(room) = wire.checked_sub(header.payload_offset).filter(|_| !header.overrun) else {
            header.overrun = true;
            header.payload_offset = wire;
            return Some(header);
        };
        header.payload_len = room;
        // The count is the last byte on the wire; of a cut packet it is not known.
        if first & PADDING != 0 && cut == 0 {
            let count = captured.last().copied().unwrap_or(0);
            header.bad_padding = count == 0 || u32::from(count) > room;
            if !header.bad_padding {
                header.padding = count;
                header.payload_len = room - u32::from(count);
            }
        }
        Some(header)
    }

    /// The captured part of the payload.
    #[inline]
    pub fn payload<'a>(&self, captured: &'a [u8]) -> &'a [u8] {
        let begin = (self.payload_offset as usize).min(captured.len());
        let end = begin.saturating_add(self.payload_len as usize).min(captured.len());
        captured.get(begin..end).unwrap_or_default()
    }

    /// Nothing in it contradicts the length of the packet (MEAS 6.7.2).
    #[inline]
    pub fn is_sound(&self) -> bool {
        !self.bad_padding && !self.overrun
    }

    #[cold]
    fn skip_extension(&mut self, captured: &[u8], wire: u32) {
        let at = self.payload_offset as usize;
        if let Some(&[p0, p1, l0, l1]) = captured.get(at..).and_then(<[u8]>::first_chunk) {
            self.extension = Some(u16::from_be_bytes([p0, p1]));
            self.payload_offset += 4 + 4 * u32::from(u16::from_be_bytes([l0, l1]));
        } else {
            // Past the packet, or cut off by the snap length: the payload cannot be found either way.
            self.overrun = wire < self.payload_offset + 4;
            self.payload_offset = wire;
        }
    }
}

const VERSION: u8 = 2;
const FIXED: u32 = 12;
const PADDING: u8 = 0b0010_0000;
const EXTENSION: u8 = 0b0001_0000;
const CSRC_COUNT: u8 = 0b0000_1111;
const MARKER: u8 = 0b1000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const PLAIN: [u8; 12] = [0x80, 0x88, 0x12, 0x34, 0, 0, 0x3e, 0x80, 0xde, 0xad, 0xbe, 0xef];

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = PLAIN.to_vec();
        bytes[0] = first;
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn reads_the_fixed_part() {
        let fixed = Fixed::read(&PLAIN).unwrap();
        let expected =
            Fixed { marker: true, payload_type: 8, sequence: 0x1234, timestamp: 16_000, ssrc: 0xdead_beef };
        assert_eq!(fixed, expected);
        assert_eq!(Fixed::read(&PLAIN[..11]), None);
        assert_eq!(Fixed::read(&packet(0x40, &[])), None);
    }

    #[test]
    fn finds_the_payload_behind_csrcs_and_extension() {
        let mut bytes = packet(0x92, &[1; 8]);
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 9, 9, 9, 9, 42, 43]);
        let header = Header::read(&bytes, 0).unwrap();
        assert_eq!((header.csrc_count, header.extension, header.payload_len), (2, Some(0xbede), 2));
        assert_eq!(header.payload(&bytes), [42, 43]);
        assert!(header.is_sound());
    }

    #[test]
    fn padding_is_not_payload() {
        let bytes = packet(0xa0, &[7, 7, 7, 0, 0, 3]);
        let header = Header::read(&bytes, 0).unwrap();
        assert_eq!((header.padding, header.payload(&bytes)), (3, &[7, 7, 7][..]));
        // A packet of nothing but padding, as WebRTC probes bandwidth with.
        let bytes = packet(0xa0, &[0, 0, 3]);
        let header = Header::read(&bytes, 0).unwrap();
        assert_eq!((header.payload_len, header.is_sound()), (0, true));
    }

    #[test]
    fn bad_padding_keeps_the_header() {
        for count in [0, 5] {
            let bytes = packet(0xa0, &[7, 7, 7, count]);
            let header = Header::read(&bytes, 0).unwrap();
            assert!(header.bad_padding);
            assert_eq!(header.payload(&bytes).len(), 4);
            assert_eq!(header.fixed.sequence, 0x1234);
        }
    }

    #[test]
    fn overrunning_csrcs_or_extension_leave_no_payload() {
        for bytes in [packet(0x8f, &[0; 8]), packet(0x90, &[0; 3]), packet(0x90, &[0, 0, 0, 2, 1, 1, 1, 1])] {
            let header = Header::read(&bytes, 0).unwrap();
            assert!(header.overrun && !header.is_sound());
            assert!(header.payload(&bytes).is_empty());
        }
    }

    #[test]
    fn a_cut_packet_has_its_length_on_the_wire() {
        let bytes = packet(0xa0, &[7; 20]);
        let header = Header::read(&bytes, 140).unwrap();
        assert_eq!((header.payload_len, header.padding, header.is_sound()), (160, 0, true));
        assert_eq!(header.payload(&bytes), [7; 20]);
        // Cut inside the extension header: unknown, but no contradiction.
        let header = Header::read(&packet(0x90, &[]), 140).unwrap();
        assert_eq!((header.payload_len, header.is_sound()), (0, true));
    }

    proptest! {
        /// For all bytes and cuts: never panics; offset + payload + padding = wire length, unless cut in the extension.
        #[test]
        fn lengths_add_up(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0_u32..2_000) {
            if let Some(header) = Header::read(&bytes, cut) {
                let wire = bytes.len() as u32 + cut;
                prop_assert_eq!(header.payload_offset + header.payload_len + u32::from(header.padding), wire);
                prop_assert!(header.payload(&bytes).len() <= header.payload_len as usize);
                prop_assert_eq!(Some(header.fixed), Fixed::read(&bytes));
            }
        }
    }
}
