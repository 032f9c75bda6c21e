//! What became of registrations.

use super::Tell;
use crate::event::{Registration, RegistrationResult};
use crate::log::privacy::Personal;
use crate::log::{Level, Stream};

pub(super) fn over(tell: Tell<'_>, registration: &Registration) {
    let (level, message, reason) = match registration.result {
        Some(RegistrationResult::Success) => (Level::Info, "registered", "accepted"),
        Some(RegistrationResult::Unregister) => (Level::Info, "registration lost", "unregistered"),
        Some(RegistrationResult::Redirect) => (Level::Info, "registration redirected", "redirect"),
        Some(RegistrationResult::Failure) => (Level::Warn, "registration failed", "refused"),
        Some(RegistrationResult::Timeout) => (Level::Warn, "registration failed", "timeout"),
        Some(RegistrationResult::Abandoned) => (Level::Info, "registration failed", "abandoned"),
        None => return,
    };
    let kind = (Stream::Application, level, "registration");
    tell.line(kind, message, Some(&registration.call_id), |mut line| {
        line.personal("aor", Personal::uri(&registration.aor));
        line.personal("source", Personal::endpoint(registration.source));
        line.personal("destination", Personal::endpoint(registration.destination));
        line.word("reason", reason);
        if let Some(status) = registration.status {
            line.count("status", status.into());
        }
        line.number("delay", registration.delay);
        if let Some(expires) = registration.expires {
            line.count("expires", expires.into());
        }
        line.flag("challenged", registration.challenged);
        line.traced(None)
    });
}
