//! Which fact gives which line (docs/logs.md has the table).
//!
//! ```text
//! Event::Answered, Call, Transfer -> project::call             application
//! Event::Registration, Expired    -> project::registration     application
//! Event::Stream, Report           -> project::stream           diagnostics
//! Described                       -> project::session          diagnostics
//! Live                            -> project::totals           application (drops), diagnostics (defects)
//! ```

mod call;
mod registration;
mod session;
mod stream;
mod totals;

pub use totals::Told;

use super::{Level, Line, Logs, Stream};
use crate::Stamp;
use crate::event::{Described, Event};

/// Tells what there is to tell about a fact. `clock` is the time at which it is told.
pub fn event(logs: &Logs, clock: Stamp, event: &Event) {
    let tell = Tell { logs, clock };
    match event {
        Event::Answered(call) => call::answered(tell, call),
        Event::Call(call) => call::over(tell, call),
        Event::Transfer(transfer) => call::transfer(tell, transfer),
        Event::Registration(registration) => registration::over(tell, registration),
        Event::Expired(binding) => registration::expired(tell, binding),
        Event::Stream(stream) => stream::over(tell, stream),
        Event::Report(report) => stream::report(tell, report),
        Event::Window(_) => {}
    }
}

/// Tells what a side of a call said about its media.
pub fn described(logs: &Logs, clock: Stamp, described: &Described<'_>) {
    session::described(Tell { logs, clock }, described);
}

/// Whether [`described`] would tell anything.
pub fn wants_described(logs: &Logs) -> bool {
    logs.wants(Stream::Diagnostics, Level::Info, session::KIND)
}

/// The way to the logs, and the time.
#[derive(Clone, Copy)]
struct Tell<'a> {
    logs: &'a Logs,
    clock: Stamp,
}

impl Tell<'_> {
    /// A line, if such lines are wanted; `fill` ends it.
    fn line(
        self,
        (stream, level, component): (Stream, Level, &'static str),
        message: &'static str,
        call_id: Option<&str>,
        fill: impl FnOnce(Line) -> Line,
    ) {
        if self.logs.wants(stream, level, component) {
            let line = Line::new(stream, level, self.logs.now(self.clock), component, message, call_id);
            self.logs.tell(fill(line));
        }
    }
}
