//! A SIP message: whatever the bytes, what is read lies inside them, and reading what was read adds nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidetone::Stamp;
use sidetone::sip::uri::Uri;
use sidetone::sip::vq::VoiceQuality;
use sidetone::sip::{StartLine, body, looks_like, recording, scan};

fuzz_target!(|bytes: &[u8]| {
    let looks = looks_like(bytes);
    let Some(message) = scan(bytes) else {
        assert!(!looks, "what looks like SIP is read");
        return;
    };
    let range = bytes.as_ptr_range();
    let inside = |part: &[u8]| {
        let part = part.as_ptr_range();
        assert!(part.is_empty() || range.start <= part.start && part.end <= range.end);
    };
    if let StartLine::Request { uri, .. } = message.start {
        inside(uri);
        if let Some(uri) = Uri::parse(uri) {
            inside(uri.user);
            inside(uri.host);
        }
    }
    for address in [message.from, message.to, message.contact] {
        [address.uri, address.tag, address.display].into_iter().for_each(inside);
    }
    [message.call_id, message.replaces, message.refer_to, message.session_id, message.body, message.headers]
        .into_iter()
        .for_each(inside);
    message.header("via").for_each(inside);
    let parts = body::find(&message);
    [parts.sdp, parts.vq_rtcpxr, parts.recording].into_iter().for_each(inside);
    recording::participants(parts.recording).for_each(inside);
    if let Some(quality) = VoiceQuality::read(parts.vq_rtcpxr) {
        let reports = [Some(quality.report(Stamp(0))), quality.remote_report(Stamp(0))];
        for mos in reports.into_iter().flatten().filter_map(|report| report.mos_lq) {
            assert!((1.0..=5.0).contains(&mos), "MOS {mos}");
        }
    }
    assert!(message.defects.iter().all(|defect| !defect.name().is_empty()));
});
