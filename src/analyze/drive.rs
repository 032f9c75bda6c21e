//! The driver: inputs through the reader and the observer into a sink.

use super::{Fault, FaultKind, Outcome, Progress, Sending};
use crate::capture::file::Files;
use crate::capture::{self, Source};
use crate::cli::Analyze;
use crate::event::{Event, Sink};
use crate::observer::{Observer, Settings};

/// Feeds everything in `args.files` to an observer of these settings, and what becomes final to `sink`.
/// What it tells goes by `sending` on its way.
pub fn drive(
    args: &Analyze,
    settings: Settings,
    sending: Option<&mut Sending>,
    sink: &mut dyn Sink,
    progress: &mut Progress,
) -> Outcome {
    let mut sink = ToReport(sink, sending);
    let mut files = Files::open(&args.files);
    let mut observer = Observer::new(settings);
    let broken = loop {
        match files.poll(&mut |frames| observer.packets(frames, &mut sink)) {
            Ok(capture::Progress::More) => {
                let (read, total) = files.progress();
                progress.at(read, total);
            }
            Ok(capture::Progress::End) => break None,
            Err(error) => break Some(error),
        }
    };
    observer.finish(&mut sink);
    let mut faults: Vec<Fault> = files.faults().iter().map(Fault::from).collect();
    faults.extend(broken.map(|error| Fault { text: error.to_string(), kind: FaultKind::Damaged }));
    Outcome {
        totals: observer.totals(),
        files: files.captures().iter().map(|path| path.display().to_string()).collect(),
        faults,
    }
}

/// A sink of a known size, as the observer wants it.
struct ToReport<'s>(&'s mut dyn Sink, Option<&'s mut Sending>);

impl Sink for ToReport<'_> {
    fn event(&mut self, event: Event) {
        if let Some(sending) = &mut self.1 {
            sending.take(&event);
        }
        self.0.event(event);
    }

    fn wants_answered(&self) -> bool {
        self.0.wants_answered()
    }
}

impl From<&capture::Fault> for Fault {
    fn from(fault: &capture::Fault) -> Self {
        let kind = match fault.kind {
            capture::FaultKind::Missing | capture::FaultKind::Unreadable => FaultKind::Missing,
            capture::FaultKind::Empty | capture::FaultKind::Foreign => FaultKind::Foreign,
            capture::FaultKind::Truncated | capture::FaultKind::Corrupt => FaultKind::Damaged,
        };
        Self { text: fault.to_string(), kind }
    }
}
