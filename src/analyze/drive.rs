//! The driver: inputs through the reader and the observer into a sink.

use crate::cli::Analyze;
use crate::event::Sink;

use super::{Fault, FaultKind, Outcome, Progress};

/// Feeds everything in `args.files` to the observer, and what becomes final to `sink`.
pub fn drive(args: &Analyze, _sink: &mut dyn Sink, _progress: &mut Progress) -> Outcome {
    // Border to the reader and the observer: here they are joined.
    let faults = args.files.iter().map(|path| {
        let path = path.display();
        if args.files.iter().all(|file| file.exists()) {
            Fault { text: format!("{path}: this build has no reader"), kind: FaultKind::Foreign }
        } else {
            Fault { text: format!("{path}: cannot be opened: is the name right?"), kind: FaultKind::Missing }
        }
    });
    Outcome { faults: faults.collect(), ..Outcome::default() }
}
