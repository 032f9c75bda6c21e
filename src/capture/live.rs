//! A tap on live interfaces: what the ring and libpcap have in common.
//!
//! ```text
//! open (CAP_NET_RAW) -> wait -> poll(take) -> take(&[Frame; 1..=64])      drops, and is it still there? once a second
//! ```
//!
//! What `open` made needs no right afterwards, also when an interface vanishes and returns.

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;

use super::Take;
use super::ring::Socket;

/// What to capture on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// All there are, and those that come.
    Any,
    /// One, by its name; it may vanish and return.
    Named(String),
}

impl Interface {
    /// `any`, or the name.
    pub fn name(&self) -> &str {
        match self {
            Self::Any => ANY,
            Self::Named(name) => name,
        }
    }
}

/// The name means all interfaces.
impl From<&str> for Interface {
    fn from(name: &str) -> Self {
        if name == ANY { Self::Any } else { Self::Named(name.to_owned()) }
    }
}

/// A source of frames that goes on.
pub trait Live: Debug + Send {
    /// What it captures on.
    fn interface(&self) -> &Interface;

    /// For poll(2).
    fn fd(&self) -> RawFd;

    /// Hands over the frames that are there; false when there are none. Frames are gone when `take` returns.
    fn poll(&mut self, take: &mut Take<'_>) -> bool;

    /// Packets that the kernel has dropped since the last call because nobody took them in time.
    fn dropped(&mut self) -> u64;

    /// Takes the interface up again when it has returned; false while it is away or down.
    fn follow(&mut self) -> bool;

    /// Ends the capture; its socket, if it can be one of another ring.
    fn release(self: Box<Self>) -> Option<Socket>;
}

/// Why there is no capture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// CAP_NET_RAW is missing.
    #[error(
        "capturing packets needs the capability CAP_NET_RAW. Give it with one of: \
         setcap cap_net_raw=ep FILE; AmbientCapabilities=CAP_NET_RAW in the systemd unit; \
         docker run --cap-add NET_RAW; securityContext.capabilities.add: [NET_RAW] in a pod"
    )]
    NotPermitted,
    /// No interface has that name.
    #[error("there is no interface {0}; ip link shows those there are")]
    NoInterface(String),
    /// The expression is none.
    #[error("capture.filter: {expression:?} cannot be used: {reason}; see pcap-filter(7)")]
    Filter {
        /// As it was given.
        expression: String,
        /// What libpcap says of it.
        reason: String,
    },
    /// This program was built without libpcap.
    #[error("{0} needs libpcap, and this program was built without it (cargo feature pcap)")]
    NoLibpcap(&'static str),
    /// libpcap refused.
    #[error("libpcap on {interface}: {reason}")]
    Libpcap {
        /// What it was to capture on.
        interface: String,
        /// What it says.
        reason: String,
    },
    /// The system refused.
    #[error("{action}: {cause}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system answered.
        #[source]
        cause: io::Error,
    },
}

const ANY: &str = "any";
