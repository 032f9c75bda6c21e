//! The HTTP listener with real sockets: what it answers, what it refuses, and what it survives.
//!
//! Times in the settings are short where a test waits for them to pass, and long where they must not; no test says
//! how long anything took.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[cfg(feature = "tls")]
#[path = "support/certificates.rs"]
mod certificates;
#[path = "http/faults.rs"]
mod faults;
#[path = "http/routes.rs"]
mod routes;
#[path = "http/secured.rs"]
mod secured;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "http/support.rs"]
mod support;
