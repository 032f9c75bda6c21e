//! Names what a file is that is no capture, so that the message can say what to do.

/// What the file seems to be and how to make a capture of it, from its first bytes.
pub(crate) fn hint(head: &[u8]) -> String {
    let known = MAGICS.iter().find(|(magic, ..)| head.starts_with(magic));
    match known {
        Some((_, name, Remedy::Editcap)) => {
            format!("this is a {name} file; convert it: editcap -F pcapng IN OUT")
        }
        Some((_, name, Remedy::Unpack)) => format!("this is {name}; unpack it first"),
        Some((_, name, Remedy::None)) => format!("this is {name}, not a capture"),
        None if head.get(257..262) == Some(b"ustar") => "this is a tar archive; unpack it first".into(),
        None if is_text(head) => "this is text, not a capture; text2pcap makes captures of hex dumps".into(),
        None => {
            let magic = head.get(..4).unwrap_or(head);
            format!("neither pcap nor pcapng (it begins with {magic:02x?}); try: editcap -F pcapng IN OUT")
        }
    }
}

fn is_text(head: &[u8]) -> bool {
    !head.is_empty()
        && head.iter().take(64).all(|&b| b >= 0x20 && b != 0x7f || matches!(b, b'\t' | b'\r' | b'\n'))
}

/// Bytes that tell all that can be told.
pub(crate) const ENOUGH: usize = 512;

#[derive(Clone, Copy)]
enum Remedy {
    Editcap,
    Unpack,
    None,
}

const MAGICS: &[(&[u8], &str, Remedy)] = &[
    (b"RTSS", "NetMon 1", Remedy::Editcap),
    (b"GMBU", "NetMon 2", Remedy::Editcap),
    (b"snoop\0\0\0", "snoop", Remedy::Editcap),
    (b"btsnoop\0", "btsnoop", Remedy::Editcap),
    (b"TRSNIFF data    \x1a", "Sniffer", Remedy::Editcap),
    (b"XCP\0", "NetXRay", Remedy::Editcap),
    (b"ObserverPktBuffe", "Observer", Remedy::Editcap),
    (b"5VW\0", "5Views", Remedy::Editcap),
    (b"\x7fver", "Peek", Remedy::Editcap),
    (b"iptrace ", "iptrace", Remedy::Editcap),
    (b"\x1f\x8b", "gzip inside a compressed file", Remedy::Unpack),
    (b"\x28\xb5\x2f\xfd", "zstd inside a compressed file", Remedy::Unpack),
    (b"BZh", "bzip2", Remedy::Unpack),
    (b"\xfd7zXZ\0", "xz", Remedy::Unpack),
    (b"\x04\x22\x4d\x18", "lz4", Remedy::Unpack),
    (b"PK\x03\x04", "a zip archive", Remedy::Unpack),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", Remedy::Unpack),
    (b"\x7fELF", "a program", Remedy::None),
    (b"%PDF", "a PDF document", Remedy::None),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_knows_and_shows_the_magic_of_the_rest() {
        assert!(hint(b"GMBU\x00\x02").contains("NetMon 2"));
        assert!(hint(b"snoop\0\0\0\0\0\0\x02").contains("editcap"));
        assert!(hint(b"BZh91AY").contains("unpack"));
        assert!(hint(b"INVITE sip:bob@example.com SIP/2.0\r\n").contains("text"));
        assert!(hint(&[0xde, 0xad, 0xbe, 0xef, 0]).contains("[de, ad, be, ef]"));
    }
}
