//! Streams that mislead: each comes out as what it was, not as what it looks like.
//!
//! `scripted` edits one stream packet by packet, `calls` builds whole calls frame by frame, `paths` leads them over
//! translators and through descriptions that differ from what is sent, `properties` holds
//! for any order, start and copy of the packets (MEAS 10).

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "hard_streams/calls.rs"]
mod calls;
#[path = "support/measured.rs"]
mod measured;
#[path = "hard_streams/paths.rs"]
mod paths;
#[path = "hard_streams/properties.rs"]
mod properties;
#[path = "support/scene.rs"]
mod scene;
#[path = "hard_streams/scripted.rs"]
mod scripted;
