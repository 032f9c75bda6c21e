//! Processes beside the calls: real ones, followed by a real agent and by the library, compared with what `/proc`, ps and
//! prometheus-process-exporter say of them at the same time.
//!
//! Agents need CAP_NET_RAW, some tests root; each says what it lacks and skips.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::indexing_slicing, reason = "what is not there fails the test")]

#[path = "service/agent.rs"]
#[allow(dead_code, reason = "the tests of the service use all of it")]
mod agent;
#[path = "processes/cost.rs"]
mod cost;
#[path = "processes/followed.rs"]
mod followed;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "processes/places.rs"]
mod places;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "processes/sockets.rs"]
mod sockets;
#[path = "processes/worker.rs"]
mod worker;
