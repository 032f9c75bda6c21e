//! Frames through the whole observer with tables of a few entries: what it tells adds up, and does not depend
//! on how the frames were batched.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidetone::call;
use sidetone::event::Event;
use sidetone::observer::{Observer, Settings};
use sidetone::wire::Frame;
use sidetone_fuzz::{Script, tiny_limits};

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = script.frame() {
        frames.push(frame);
    }
    let told = observe(&frames, 64);
    // Twice as many runs where the input asks for it, so that the search stays fast.
    if bytes.len() & 1 == 0 {
        assert_eq!(told, observe(&frames, 1), "in batches of one");
        assert_eq!(told, observe(&frames, 7), "in batches of seven");
    }
});

fn observe(frames: &[Frame<'_>], batch: usize) -> String {
    let calls = call::Settings {
        correlation_headers: vec!["X-CID".into()],
        heuristics: true,
        ..call::Settings::default()
    };
    let mut observer = Observer::new(Settings { limits: tiny_limits(), calls, ..Settings::default() });
    let mut told = String::new();
    let mut sink = |event: Event| {
        check(&event);
        told.push_str(&format!("{event:?}\n"));
    };
    for frames in frames.chunks(batch) {
        observer.packets(frames, &mut sink);
    }
    observer.finish(&mut sink);
    let totals = observer.totals();
    assert_eq!(totals.packets, frames.len() as u64);
    assert!(totals.undecoded <= totals.packets);
    told + &format!("{totals:?}")
}

fn check(event: &Event) {
    match event {
        Event::Stream(stream) => {
            assert_eq!(stream.packets + stream.lost, stream.expected, "{stream:?}");
            assert!(stream.packets > 0 && stream.id.starts_with('s'));
            if let Some(mos) = stream.mos {
                assert!((1.0..=5.0).contains(&mos.lq), "{stream:?}");
            }
        }
        Event::Call(call) => {
            assert!(!call.call_id.is_empty());
            for seconds in [call.post_dial_delay, call.setup, call.ring, call.duration].into_iter().flatten()
            {
                assert!(seconds.is_finite() && seconds >= 0.0, "{call:?}");
            }
        }
        Event::Registration(registration) => {
            assert!(registration.delay.is_none_or(|delay| delay.is_finite() && delay >= 0.0));
        }
        Event::Window(window) => assert!(window.lost <= window.expected, "{window:?}"),
        Event::Expired(binding) => assert!(binding.accepted <= binding.end, "{binding:?}"),
        Event::Report(_) | Event::Transfer(_) | Event::Answered(_) => {}
    }
}
