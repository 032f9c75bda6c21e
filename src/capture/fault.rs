//! What was wrong with an input file. Everything before the place of the fault has been delivered.

use std::fmt;
use std::path::PathBuf;

/// A fault of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file as it was named, or found in the directory that was named.
    pub path: PathBuf,
    /// Byte of the capture (after decompression) at which it broke; 0 where the whole file is meant.
    pub offset: u64,
    /// Class of the fault.
    pub kind: FaultKind,
    /// What was wrong and what to do about it.
    pub message: String,
}

/// Class of a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No such file, or a directory without captures.
    Missing,
    /// It is there and cannot be opened.
    Unreadable,
    /// 0 bytes.
    Empty,
    /// Neither pcap nor pcapng.
    Foreign,
    /// It ends inside a header or a packet, or could not be read further.
    Truncated,
    /// A length, number or checksum in it cannot be right.
    Corrupt,
}

/// `b.pcap: byte 4711: cut short inside a packet ...`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.kind {
            FaultKind::Truncated | FaultKind::Corrupt => {
                write!(f, "{path}: byte {}: {}", self.offset, self.message)
            }
            _ => write!(f, "{path}: {}", self.message),
        }
    }
}

/// What stops a reader, before it is known in which file and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) kind: FaultKind,
    pub(crate) message: String,
}

impl Damage {
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self { kind: FaultKind::Corrupt, message: message.into() }
    }
}
