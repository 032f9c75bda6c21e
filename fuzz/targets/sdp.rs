//! A session description: bounded, and the same whether read into a new session or over an old one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidetone::sip::sdp::{FORMATS_MAX, MEDIA_MAX, Session, parse};

fuzz_target!(|bytes: &[u8]| {
    let mut session = Session::default();
    parse(bytes, &mut session);
    assert!(session.media.len() <= MEDIA_MAX);
    for media in &session.media {
        assert!(media.formats.len() <= FORMATS_MAX);
        assert!(media.formats.iter().all(|format| format.payload_type < 128));
    }
    let mut again = Session::default();
    parse(USED, &mut again);
    parse(bytes, &mut again);
    assert_eq!(session, again);
});

const USED: &[u8] = b"v=0\r\nc=IN IP4 192.0.2.1\r\na=inactive\r\n\
    m=audio 4000 RTP/SAVP 0 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=ptime:20\r\na=label:1\r\n\
    m=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=sendonly\r\n";
