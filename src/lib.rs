//! sidetone: what every call was really like, measured beside the stack that carried it.
//!
//! The modules are the way of a packet:
//!
//! ```text
//! capture -> wire -> demux -> sip -> call ----> observer -> event -> export
//!                         \-> rtp -> quality --/
//! ```
//!
//! `wire`, `demux`, `sip`, `rtp`, `quality`, `call`, `observer` and `event` are the core: they take
//! `(time, bytes)` and yield facts. They know no socket, clock, thread, log or metrics library; time is the
//! packet's own ([`Stamp`]). Everything else is a thin shell around them.

pub mod agent;
pub mod analyze;
pub mod call;
pub mod capture;
pub mod cli;
pub mod client;
pub mod config;
pub mod demux;
pub mod event;
pub mod evidence;
pub mod export;
pub mod hep;
pub mod http;
pub mod limits;
pub mod log;
pub mod observer;
pub mod process;
pub mod quality;
mod random;
pub mod rtp;
pub mod sandbox;
pub mod simulate;
pub mod sip;
#[cfg(test)]
#[path = "../tests/support/skipped.rs"]
mod skipped;
pub mod stamp;
pub mod tail;
pub mod trace;
pub mod wire;

pub use stamp::Stamp;
