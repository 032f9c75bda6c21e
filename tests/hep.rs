//! HEP in and out, through the library and through the running agent: what comes by HEP gives the counters that the
//! wire gives; a message seen both ways is one message; the agent's own HEP is none; a receiver that is dead, slow or
//! refusing stops nothing.
//!
//! The agents run in a network namespace of the test's own, which needs root, unshare and ip, and for the wire
//! tcpreplay; the tests say so and skip where they are not there. The laboratory's capture is looked for in
//! `SIDETONE_CAPTURES`, else beside the repository.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::panic, reason = "the same")]
#![allow(clippy::print_stdout, reason = "what the test in its own namespace said")]
#![allow(clippy::disallowed_types, reason = "the agent runs on the clock of the machine")]

#[path = "hep/agent.rs"]
mod agent;
#[path = "hep/library.rs"]
mod library;
#[path = "hep/live.rs"]
mod live;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/skipped.rs"]
mod skipped;
