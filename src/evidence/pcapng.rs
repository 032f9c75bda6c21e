//! Writes pcapng (draft-ietf-opsawg-pcapng): one section, bare IP on each interface, times in nanoseconds.

use crate::Stamp;
use crate::wire::LinkType;

/// A file that is being made, in memory: its size has to be known before there is room for it.
#[derive(Debug, Default)]
pub(super) struct Pcapng(pub(super) Vec<u8>);

impl Pcapng {
    /// Begins the section. A comment that is too long for an option is cut.
    pub(super) fn section(&mut self, comment: &str) {
        self.block(SECTION, |body| {
            body.extend_from_slice(&BYTE_ORDER.to_le_bytes());
            body.extend_from_slice(&[1, 0, 0, 0]);
            body.extend_from_slice(&u64::MAX.to_le_bytes());
            option(body, COMMENT, comment.as_bytes());
            option(body, APPLICATION, concat!("sidetone ", env!("CARGO_PKG_VERSION")).as_bytes());
            option(body, END, &[]);
        });
    }

    /// The next interface.
    pub(super) fn interface(&mut self, name: &str, description: &str) {
        self.block(INTERFACE, |body| {
            body.extend_from_slice(&LinkType::RAW.0.to_le_bytes());
            // Reserved; and no snap length.
            body.extend_from_slice(&[0; 6]);
            option(body, INTERFACE_NAME, name.as_bytes());
            option(body, INTERFACE_DESCRIPTION, description.as_bytes());
            option(body, RESOLUTION, &[NANOSECONDS]);
            option(body, END, &[]);
        });
    }

    /// A packet of which `bytes` are shown.
    pub(super) fn packet(&mut self, interface: u32, stamp: Stamp, wire_len: usize, bytes: &[u8]) {
        self.block(PACKET, |body| {
            let words =
                [interface, (stamp.0 >> 32) as u32, stamp.0 as u32, bytes.len() as u32, wire_len as u32];
            for word in words {
                body.extend_from_slice(&word.to_le_bytes());
            }
            body.extend_from_slice(bytes);
            pad(body);
        });
    }

    fn block(&mut self, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) {
        let Self(file) = self;
        let from = file.len();
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        fill(file);
        let length = ((file.len() - from + 4) as u32).to_le_bytes();
        file.extend_from_slice(&length);
        file.get_mut(from + 4..from + 8).into_iter().for_each(|place| place.copy_from_slice(&length));
    }
}

/// Bytes that a packet takes in a file.
pub(super) fn packet_bytes(bytes: usize) -> usize {
    32 + bytes.next_multiple_of(4)
}

/// The comment of a file that was written here, of its first bytes.
pub(super) fn comment(file: &[u8]) -> Option<&str> {
    let word = |at: usize| file.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    if word(0)? != SECTION || word(8)? != BYTE_ORDER {
        return None;
    }
    let (head, text) = file.get(24..)?.split_first_chunk::<4>()?;
    let [kind, length] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_le_bytes);
    let text = text.get(..usize::from(length)).filter(|_| kind == COMMENT)?;
    std::str::from_utf8(text).ok()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..value.len().min(LONGEST_OPTION)).unwrap_or_default();
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

/// To words of 32 bits: blocks begin on one.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const END: u16 = 0;
const COMMENT: u16 = 1;
const APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_DESCRIPTION: u16 = 3;
const RESOLUTION: u16 = 9;
const NANOSECONDS: u8 = 9;
/// The length has 16 bits.
const LONGEST_OPTION: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::file::Files;
    use crate::capture::{Progress, Source};

    #[test]
    fn what_is_written_is_read_back() {
        let mut file = Pcapng::default();
        file.section("a\nb");
        file.interface("sip", "");
        file.interface("rtp", "x");
        let stamp = Stamp(1_795_953_600_123_456_789);
        file.packet(1, stamp, 200, b"12345");
        assert_eq!(comment(&file.0), Some("a\nb"));
        let mut files = Files::from_reader("x", std::io::Cursor::new(file.0));
        let mut read = Vec::new();
        while files
            .poll(&mut |frames| {
                read.extend(frames.iter().map(|frame| {
                    (frame.stamp, frame.link, frame.interface, frame.wire_len, frame.bytes.to_vec())
                }));
            })
            .unwrap()
            == Progress::More
        {}
        assert_eq!(files.faults(), []);
        assert_eq!(read, [(stamp, LinkType::RAW, 1, 200, b"12345".to_vec())]);
    }

    #[test]
    fn a_file_of_others_has_no_comment() {
        for file in [&b""[..], b"\x0a\x0d\x0d\x0a", &[0; 100]] {
            assert_eq!(comment(file), None);
        }
    }
}
