//! A call is a trace (DESIGN 8, MEAS 8): facts become spans, and spans go out by OTLP.
//!
//! ```text
//! Event::Window, Event::Stream --> Pending --\
//! Event::Call ------------------------------> Sampling --> spans --> export::Outbox --> Exporter --> collector
//! Event::Registration ----------------------/
//! ```
//!
//! A call is decided about when it is over: then it is known whether it failed, was one-way or sounded bad. Its spans
//! are made only if it is kept. Names and attributes are listed in `docs/traces.md`.

pub mod export;
pub mod sample;

mod call;
mod config;
mod media;
mod pending;
mod registration;
mod span;

use opentelemetry_sdk::trace::SpanData;

use crate::event::{Event, Transfer};
use crate::log::privacy::Policy;
pub use config::{Config, USERS, USUAL_SHARE};
pub use sample::{Sampling, Verdict};

use pending::Pending;
use span::Maker;

/// What becomes of facts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where this agent stands, in the id of every span but the call's own: two agents on one host need two names.
    pub vantage: String,
    /// What is kept.
    pub sampling: Sampling,
    /// What is told of users.
    pub users: Policy,
}

/// Makes spans of facts; knows no clock and sends nothing.
#[derive(Debug)]
pub struct Traces {
    sampling: Sampling,
    maker: Maker,
    pending: Pending,
    counts: Counts,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls and registrations kept because something was wrong with them.
    pub bad: u64,
    /// Kept as part of the share.
    pub share: u64,
    /// Not kept.
    pub passed_over: u64,
    /// Streams and windows that were forgotten before their call was over, for want of room.
    pub forgotten: u64,
}

impl Traces {
    /// Nothing is pending.
    pub fn new(settings: &Settings) -> Self {
        Self {
            sampling: settings.sampling,
            maker: Maker::new(&settings.vantage, settings.users.clone()),
            pending: Pending::default(),
            counts: Counts::default(),
        }
    }

    /// Takes a fact; the spans of what it ended, if they are to be sent.
    pub fn take(&mut self, event: &Event) -> Vec<SpanData> {
        match event {
            Event::Window(window) => self.pending.window(window),
            Event::Stream(stream) if stream.call_id.is_some() => self.pending.stream(stream),
            Event::Transfer(transfer) => self.pending.transfer(transfer),
            Event::Call(call) => {
                let media = self.pending.take(call);
                let trace = call::trace_of(call);
                if self.is_kept(self.sampling.of_call(trace.id, call)) {
                    return self.maker.call(&trace, call, &media);
                }
            }
            Event::Registration(registration) => {
                let trace = registration::trace_of(registration);
                if self.is_kept(self.sampling.of_registration(trace, registration)) {
                    return self.maker.registration(trace, registration);
                }
            }
            Event::Stream(stream) => self.pending.forget(stream),
            Event::Answered(_) | Event::Expired(_) | Event::Report(_) => {}
        }
        Vec::new()
    }

    /// What was decided so far.
    pub fn counts(&self) -> Counts {
        Counts { forgotten: self.pending.forgotten, ..self.counts }
    }

    fn is_kept(&mut self, verdict: Verdict) -> bool {
        let count = match verdict {
            Verdict::Bad => &mut self.counts.bad,
            Verdict::Share => &mut self.counts.share,
            Verdict::PassedOver => &mut self.counts.passed_over,
        };
        *count += 1;
        verdict != Verdict::PassedOver
    }
}

/// What a call left behind before it was over.
#[derive(Debug, Default)]
struct Remains {
    streams: Vec<pending::Heard>,
    transfer: Option<Transfer>,
}

#[cfg(test)]
mod tests;
