//! A capture in memory through the library: what the program would report of it.

use std::io::Cursor;

use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::event::{Call, Event, Registration, Report, Stream, Totals, Window};
use sidetone::observer::{Observer, Settings};
use sidetone::wire::Frame;

/// Everything that was told about one capture.
#[derive(Default)]
#[allow(dead_code, reason = "each test reads its own part")]
pub(crate) struct Measured {
    pub(crate) calls: Vec<Call>,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) reports: Vec<Report>,
    pub(crate) windows: Vec<Window>,
    pub(crate) totals: Totals,
}

impl Measured {
    /// Reads a pcap or pcapng file.
    pub(crate) fn of(capture: Vec<u8>) -> Self {
        let mut measured = Self::default();
        let mut files = Files::from_reader("in memory", Cursor::new(capture));
        let mut observer = Observer::new(Settings::default());
        let mut take = |frames: &[Frame<'_>]| observer.packets(frames, &mut |event| measured.take(event));
        while files.poll(&mut take).unwrap() == Progress::More {}
        assert_eq!(files.faults(), []);
        observer.finish(&mut |event| measured.take(event));
        measured.totals = observer.totals();
        measured
    }

    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Call(call) => self.calls.push(call),
            Event::Registration(registration) => self.registrations.push(registration),
            Event::Stream(stream) => self.streams.push(stream),
            Event::Report(report) => self.reports.push(report),
            Event::Window(window) => self.windows.push(window),
            Event::Transfer(_) | Event::Answered(_) | Event::Expired(_) => {}
        }
    }
}
