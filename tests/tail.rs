//! Files of other programs: storms of rotation, restarts and deaths among them, speed, and the rules that come with the
//! program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::disallowed_types, reason = "a test of what waits waits by the clock")]

#[path = "support/patience.rs"]
mod patience;
#[path = "logs/schema.rs"]
mod schema;

#[path = "tail/follow.rs"]
mod follow;
#[path = "tail/relay.rs"]
mod relay;
#[path = "tail/rules.rs"]
mod rules;
#[path = "tail/storm.rs"]
mod storm;
#[path = "tail/volume.rs"]
mod volume;
