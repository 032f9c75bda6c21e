//! The agent as a service: the rights it gives up, its configuration read again, its watchdog, and its unit in a real
//! systemd.
//!
//! Most of it needs root, or CAP_NET_RAW at least; each test says what it lacks and skips.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "service/agent.rs"]
mod agent;
#[path = "service/boot.rs"]
mod boot;
#[path = "service/drop_ins.rs"]
mod drop_ins;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "service/reload.rs"]
mod reload;
#[path = "service/rights.rs"]
mod rights;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "support/boot.rs"]
mod system;
#[path = "heap/target.rs"]
mod target;
#[path = "support/tracefs.rs"]
mod tracefs;
#[path = "service/unit.rs"]
mod unit;
#[path = "service/watchdog.rs"]
mod watchdog;
