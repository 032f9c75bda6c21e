//! What became of registrations.

use super::Tell;
use crate::event::{Binding, Registration, RegistrationResult};
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

/// Nobody has renewed it: whoever is called there cannot be reached.
pub(super) fn expired(tell: Tell<'_>, binding: &Binding) {
    let kind = (Stream::Application, Level::Warn, "registration");
    tell.line(kind, "registration lost", Some(&binding.call_id), |mut line| {
        line.personal("aor", Personal::uri(&binding.aor));
        line.personal("source", Personal::endpoint(binding.source));
        line.personal("destination", Personal::endpoint(binding.destination));
        line.word("reason", "expired").time("since", binding.accepted).time("at", binding.end);
        line.traced(None)
    });
}
