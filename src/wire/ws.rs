//! WebSocket frames (RFC 6455 section 5), as SIP rides in them (RFC 7118).
//!
//! ```text
//! FIN RSV opcode | MASK len7 | len16 or len64 | masking key | payload
//! ```
//!
//! Only borders and masking: fragments are put together by the stream that holds them ([`super::tcp`]).

/// What a frame is for (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Next part of a fragmented message.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Anything.
    Binary,
    /// Close, ping or pong: never fragmented, at most 125 bytes.
    Control,
}

/// Header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Last frame of its message.
    pub fin: bool,
    /// A reserved bit is set: the payload belongs to an extension (RFC 7692 compression) and is not readable.
    pub extended: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// Masking key; clients must mask, servers must not.
    pub mask: Option<[u8; 4]>,
    /// Length of this header in bytes: 2 to 14.
    pub header_len: usize,
    /// Length of the payload in bytes.
    pub payload_len: u64,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More bytes are needed.
    Incomplete,
    /// No frame begins like this.
    Invalid,
}

impl Header {
    /// Reads the header at the beginning of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let (&first, rest) = bytes.split_first().ok_or(Refusal::Incomplete)?;
        let fin = first & 0b1000_0000 != 0;
        let opcode = match first & 0b0000_1111 {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8..=0xa => Opcode::Control,
            _ => return Err(Refusal::Invalid),
        };
        let (&second, rest) = rest.split_first().ok_or(Refusal::Incomplete)?;
        let len7 = second & 0b0111_1111;
        if opcode == Opcode::Control && (!fin || len7 > 125) {
            return Err(Refusal::Invalid);
        }
        let (payload_len, rest, shortest) = match len7 {
            126 => {
                let (len, rest) = rest.split_first_chunk().ok_or(Refusal::Incomplete)?;
                (u64::from(u16::from_be_bytes(*len)), rest, 126)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk().ok_or(Refusal::Incomplete)?;
                (u64::from_be_bytes(*len), rest, 0x1_0000)
            }
            len => (u64::from(len), rest, 0),
        };
        // The shortest form is a MUST, and the top bit of the long one is 0: what breaks either is no frame.
        if payload_len < shortest || payload_len >> 63 != 0 {
            return Err(Refusal::Invalid);
        }
        let (mask, rest) = if second & 0b1000_0000 == 0 {
            (None, rest)
        } else {
            let (key, rest) = rest.split_first_chunk().ok_or(Refusal::Incomplete)?;
            (Some(*key), rest)
        };
        let extended = first & 0b0111_0000 != 0;
        Ok(Self { fin, extended, opcode, mask, header_len: bytes.len() - rest.len(), payload_len })
    }
}

/// Appends `payload` to `out` with the mask taken off (RFC 6455 section 5.3).
pub fn unmask(payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_examples_of_rfc_6455_section_5_7() {
        let hello = Header::parse(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]).unwrap();
        assert_eq!((hello.fin, hello.opcode, hello.mask), (true, Opcode::Text, None));
        assert_eq!((hello.header_len, hello.payload_len), (2, 5));

        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let header = Header::parse(&masked).unwrap();
        let mut plain = Vec::new();
        unmask(&masked[header.header_len..], header.mask.unwrap(), &mut plain);
        assert_eq!(plain, b"Hello");

        let first = Header::parse(&[0x01, 0x03]).unwrap();
        assert!(!first.fin);
        assert_eq!(Header::parse(&[0x80, 0x02]).unwrap().opcode, Opcode::Continuation);
        assert_eq!(Header::parse(&[0x8a, 0x85, 1, 2, 3, 4]).unwrap().opcode, Opcode::Control);
        assert_eq!(Header::parse(&[0x82, 0x7e, 0x01, 0x00]).unwrap().payload_len, 256);
        let long = Header::parse(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]).unwrap();
        assert_eq!((long.header_len, long.payload_len), (10, 65_536));
    }

    #[test]
    fn a_length_in_a_longer_form_than_needed_is_no_frame() {
        assert_eq!(Header::parse(&[0x81, 0x7e, 0x00, 0x7d]), Err(Refusal::Invalid));
        assert_eq!(Header::parse(&[0x81, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Err(Refusal::Invalid));
        assert_eq!(Header::parse(&[0x81, 0x7f, 0x80, 0, 0, 0, 0, 1, 0, 0]), Err(Refusal::Invalid));
    }

    #[test]
    fn a_fragmented_or_long_control_frame_is_no_frame() {
        assert_eq!(Header::parse(&[0x09, 0x00]), Err(Refusal::Invalid));
        assert_eq!(Header::parse(&[0x89, 0x7e, 0x01, 0x00]), Err(Refusal::Invalid));
        assert_eq!(Header::parse(&[0x83, 0x00]), Err(Refusal::Invalid));
    }

    #[test]
    fn every_cut_of_a_header_is_incomplete() {
        let header = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for cut in 0..header.len() {
            assert_eq!(Header::parse(&header[..cut]), Err(Refusal::Incomplete));
        }
        assert_eq!(Header::parse(&header).unwrap().mask, Some([1, 2, 3, 4]));
    }
}
