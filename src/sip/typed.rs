//! The typed view of a message, by rsip: for a reader who asks for one message, never on the packet's way. It
//! allocates, and it refuses much that real networks carry (compact names, folds, Latin-1, `tel:`), which is why
//! [`scan`](super::scan) does not rest on it.

/// Parses one message strictly. What rsip refuses may still be a message for [`scan`](super::scan).
pub fn typed(bytes: &[u8]) -> Result<rsip::SipMessage, rsip::Error> {
    rsip::SipMessage::try_from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_message_has_a_typed_view_and_a_compact_one_has_none() {
        let plain = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\n\r\n";
        assert!(typed(plain).is_ok_and(|message| message.is_request()));
        assert!(typed(b"OPTIONS tel:1 SIP/2.0\r\nCall-ID  : 1\r\n\r\n").is_err());
    }
}
