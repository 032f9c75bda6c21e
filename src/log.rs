//! Three streams of JSON lines, projected from the same facts as the metrics (DESIGN 7).
//!
//! ```text
//! event::Event, what the agent says, HTTP -- project --> Line -- rate limits, bounded queue --> logs thread
//!                                                                    |                              |
//!                                                    nobody waits: what finds no room is counted    | Policy of each output
//!                                                                                                   v
//!                                                         Entry --> Sink: file, stdout, journald, Loki
//! ```
//!
//! A [`Line`] knows which parts of it are personal; its bytes can be had through a [`privacy::Policy`] only, and each
//! output has its own.

pub mod audit;
pub mod bridge;
pub mod file;
pub mod journald;
pub mod keep;
pub mod line;
pub mod open;
pub mod print;
pub mod privacy;
pub mod project;
pub mod queue;
pub mod rate;
pub mod settings;
pub mod sink;
pub mod writer;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

pub use line::Line;
pub use open::{Opened, Running, open};
pub use queue::{Counts, Logs};
pub use settings::{Filter, Format, Place, Settings};
pub use sink::{Entry, Sink};
pub use writer::{Health, Output};

/// Which log a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// What became of calls and registrations, and what the agent has to say.
    Application,
    /// Who did what to the agent and to the data it holds; chained and signed.
    Audit,
    /// Why it was so: SDP, streams, defects.
    Diagnostics,
}

impl Stream {
    /// All of them, in the order of [`Stream::index`].
    pub const ALL: [Self; 3] = [Self::Application, Self::Audit, Self::Diagnostics];

    /// `application`: the beginning of the file's name, and the label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Audit => "audit",
            Self::Diagnostics => "diagnostics",
        }
    }

    /// Its place in [`Stream::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For who looks for a fault in the agent.
    Debug,
    /// As it should be.
    #[default]
    Info,
    /// Somebody may want to look at it.
    Warn,
    /// Something does not work.
    Error,
}

impl Level {
    /// `info`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl Level {
    /// As [`FromStr`] reads it.
    pub fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Levels have no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none of debug, info, warn, error")]
pub struct NoLevel;

impl FromStr for Level {
    type Err = NoLevel;

    /// Any case, and the names that others use: `WARNING`, `trace`, `critical`.
    fn from_str(text: &str) -> Result<Self, NoLevel> {
        match text.to_ascii_lowercase().as_str() {
            "trace" | "debug" => Ok(Self::Debug),
            "info" | "notice" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" | "critical" | "fatal" => Ok(Self::Error),
            _ => Err(NoLevel),
        }
    }
}
