//! What evidence costs the capture thread, in instructions: simulated calls through an observer whose sink is that of the
//! agent. valgrind counts; the difference between two modes, over the packets, is the cost of one.
//!
//! ```sh
//! cargo bench --bench evidence --no-run
//! for mode in none off on; do valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/deps/evidence-* $mode; done
//! ```

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be made has failed")]

use std::sync::Arc;

use sidetone::Stamp;
use sidetone::event::{Event, Heard, Mirrored, Sink};
use sidetone::evidence::{Recorder, Settings, Shelf, Stats, pair};
use sidetone::observer::{self, Observer};
use sidetone::simulate::{Plan, Traffic};
use sidetone::trace::Sampling;
use sidetone::wire::{Frame, LinkType};

/// As the agent's.
struct Outlets(Option<Recorder>);

impl Sink for Outlets {
    fn event(&mut self, event: Event) {
        match (&mut self.0, &event) {
            (Some(evidence), Event::Stream(stream)) => evidence.stream(stream),
            (Some(evidence), Event::Call(call)) => evidence.call(call),
            _ => {}
        }
    }

    fn message(&mut self, message: &Mirrored<'_>) {
        if let Some(evidence) = &mut self.0 {
            evidence.message(message, false);
        }
    }

    #[inline]
    fn wants_headers(&self) -> bool {
        self.0.as_ref().is_some_and(Recorder::wants_headers)
    }

    #[inline]
    fn header(&mut self, heard: &Heard) {
        if let Some(evidence) = &mut self.0 {
            evidence.header(heard);
        }
    }
}

fn main() {
    let mode = std::env::args().find(|mode| ["off", "on"].contains(&mode.as_str())).unwrap_or_default();
    // As many as find room in the pages: nobody empties them here.
    let plan = Plan { calls: 60, duration: 12.0, rate: 20.0, ..Plan::default() };
    let mut traffic = Traffic::new(plan).unwrap();
    let mut frames: Vec<(Stamp, Vec<u8>)> = Vec::new();
    while let Some(frame) = traffic.next_frame() {
        frames.push((frame.stamp, frame.bytes.to_vec()));
    }
    let directory = tempfile::tempdir().unwrap();
    let stats = Arc::new(Stats::default());
    let settings = Settings::default();
    let shelf = Arc::new(Shelf::open(directory.path(), settings.retention, Arc::clone(&stats)).unwrap());
    let (recorder, _keeper) = pair(&settings, Sampling::default(), shelf, &stats);
    let mut observer =
        Observer::new(observer::Settings { mirror: mode == "on", ..observer::Settings::default() });
    let frames: Vec<Frame<'_>> = frames
        .iter()
        .map(|(stamp, bytes)| Frame {
            stamp: *stamp,
            link: LinkType::ETHERNET,
            interface: 0,
            wire_len: bytes.len() as u32,
            bytes,
        })
        .collect();
    if mode.is_empty() {
        let mut sink = |_: Event| {};
        frames.chunks(64).for_each(|batch| observer.packets(batch, &mut sink));
        observer.finish(&mut sink);
    } else {
        let mut sink = Outlets((mode == "on").then_some(recorder));
        frames.chunks(64).for_each(|batch| observer.packets(batch, &mut sink));
        observer.finish(&mut sink);
    }
    println!("{} packets, {} missed", frames.len(), stats.snapshot().missed);
}
