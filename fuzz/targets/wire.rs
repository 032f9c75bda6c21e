//! Frames of every link type: fast and general decoder agree, payloads lie in the frame, reassembly is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidetone::wire::{Decoder, LinkType, fast};
use sidetone_fuzz::{Script, tiny_limits};

fuzz_target!(|bytes: &[u8]| {
    let limits = tiny_limits();
    let mut decoder = Decoder::new(&limits);
    let mut script = Script::new(bytes);
    while let Some(frame) = script.frame() {
        let sliced = (frame.link == LinkType::ETHERNET).then(|| fast::slice(frame.bytes)).flatten();
        let decoded = decoder.decode(&frame);
        if let Ok(packet) = decoded {
            assert!(packet.payload.len() <= 65_535.max(frame.bytes.len()));
        }
        if let Some(datagram) = sliced {
            let mut fast = datagram.packet(frame.interface);
            let packet = decoded.expect("the general decoder reads whatever the fast one does");
            // A frame that the snap length cut tells the general decoder how much is missing.
            fast.cut = packet.cut;
            assert_eq!(fast, packet);
        }
        assert!(decoder.counters().pending <= limits.fragments as u64);
    }
});
