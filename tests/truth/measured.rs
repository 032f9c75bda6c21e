//! One capture through the library: what the program would report of it.

use std::path::Path;

use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::event::{Call, Event, Registration, Stream, Totals, Transfer};
use sidetone::observer::{Observer, Settings};

/// Everything that was told about one capture.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) calls: Vec<Call>,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) totals: Totals,
}

impl Measured {
    pub(crate) fn of(capture: &Path) -> Self {
        let mut measured = Self::default();
        let mut sink = |event: Event| match event {
            Event::Call(call) => measured.calls.push(call),
            Event::Registration(registration) => measured.registrations.push(registration),
            Event::Stream(stream) => measured.streams.push(stream),
            Event::Transfer(transfer) => measured.transfers.push(transfer),
            Event::Window(_) | Event::Report(_) | Event::Answered(_) | Event::Expired(_) => {}
        };
        let mut files = Files::open([capture]);
        let mut observer = Observer::new(Settings::default());
        while files.poll(&mut |frames| observer.packets(frames, &mut sink)).unwrap() == Progress::More {}
        observer.finish(&mut sink);
        measured.totals = observer.totals();
        measured
    }
}
