//! Where frames come from. Every source hands batches of frames to the same observer.
//!
//! ```text
//! file, directory, stdin -> file::Files --\
//! NIC, veth, any         -> a live ring ---+-> poll(take) -> take(&[Frame; 1..=64]) -> observer
//! HEP3 listener          -> ---------------/
//! ```
//!
//! Files: classic pcap ([`pcap`]) and pcapng ([`pcapng`]), plain or compressed, merged by packet time
//! ([`mod@file`]). What was wrong with a file is a value, a [`Fault`]; reading of the others goes on.

mod fault;
pub mod file;
pub mod filter;
mod foreign;
pub mod hep;
mod inflate;
mod input;
#[cfg(feature = "pcap")]
pub mod libpcap;
pub mod live;
pub mod pcap;
pub mod pcapng;
mod reader;
pub mod ring;
#[cfg(test)]
mod tests;

use std::io;

pub use self::fault::{Fault, FaultKind};
use crate::wire::Frame;

/// Receives frames in capture order, in batches of any size; the result must not depend on the size.
pub type Take<'t> = dyn FnMut(&[Frame<'_>]) + 't;

/// Something that yields frames.
pub trait Source {
    /// Hands over what is there, at most one buffer full, and returns. Frames borrow the source's buffer and
    /// are gone when `take` returns.
    fn poll(&mut self, take: &mut Take<'_>) -> Result<Progress, Error>;
}

/// What a poll left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is or will be more: poll again.
    More,
    /// The last frame was handed over.
    End,
}

/// A source broke and will yield no more frames. Faults of single files are not errors: see [`Fault`].
#[derive(Debug, thiserror::Error)]
#[error("{action}: {cause}")]
pub struct Error {
    /// What was tried, on what.
    pub action: String,
    /// What the system answered.
    #[source]
    pub cause: io::Error,
}

/// Frames a batch: enough to hide the memory latency of the tables behind it, small enough for the stack.
pub(crate) const BATCH: usize = 64;
