//! A capture in memory through the library: what the program would report of it.

use std::io::Cursor;

use sidetone::capture::file::Files;
use sidetone::capture::{Progress, Source};
use sidetone::event::{Call, Event, Registration, Report, Stream, Totals, Window};
use sidetone::observer::{Observer, Settings};

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
        let mut sink = |event: Event| match event {
            Event::Call(call) => measured.calls.push(call),
            Event::Registration(registration) => measured.registrations.push(registration),
            Event::Stream(stream) => measured.streams.push(stream),
            Event::Report(report) => measured.reports.push(report),
            Event::Window(window) => measured.windows.push(window),
            Event::Transfer(_) => {}
        };
        let mut files = Files::from_reader("in memory", Cursor::new(capture));
        let mut observer = Observer::new(Settings::default());
        while files.poll(&mut |frames| observer.packets(frames, &mut sink)).unwrap() == Progress::More {}
        assert_eq!(files.faults(), []);
        observer.finish(&mut sink);
        measured.totals = observer.totals();
        measured
    }
}
