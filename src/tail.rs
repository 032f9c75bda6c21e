//! Log files of other programs: followed over rotation, sent on to Loki, and turned into metrics by rules.
//!
//! ```text
//! inotify, or a look now and then -> Follower -> lines -> rules -> Families -> /metrics
//!                                        |             \-> Loki's spool, with how far the file was read
//!                                        |             \-> where the application log goes, if that is asked for
//!                                    Positions (disk)
//! ```
//!
//! One thread does it for all tails. A line goes into the spool together with its position in one write, so that it is
//! neither lost nor read twice whenever the agent dies; the positions file follows.

mod body;
mod follow;
mod identity;
mod json;
mod lines;
pub mod metric;
mod names;
mod positions;
mod relay;
pub mod rule;
mod run;

use std::path::PathBuf;

pub use relay::Shown;
pub use rule::Rule;
pub use run::{Reader, Stats, open};

/// Component of lines that are relayed.
pub const COMPONENT: &str = "tail";

/// One `[[tail]]`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What its lines are called: the label `stream`, and `tail` of metrics.
    pub name: String,
    /// Paths, in which `*` and `?` stand for parts of names.
    pub paths: Vec<PathBuf>,
    /// How lines read.
    pub format: Format,
    /// What is in the files when they are first met is read too.
    pub from_start: bool,
    /// They are sent to Loki.
    pub send: bool,
    /// They go where the application log goes, too.
    pub relay: bool,
    /// Labels of them.
    pub labels: Vec<(String, String)>,
    /// Field of JSON with the time of a line; otherwise it is when it was read.
    pub timestamp: Option<String>,
    /// Bytes of a line at most.
    pub line_bytes: usize,
    /// Metrics.
    pub rules: Vec<Rule>,
}

/// How the lines of a file read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// An object a line.
    #[default]
    Json,
    /// Anything.
    Text,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            paths: Vec::new(),
            format: Format::Json,
            from_start: false,
            send: true,
            relay: false,
            labels: Vec::new(),
            timestamp: None,
            line_bytes: 64 << 10,
            rules: Vec::new(),
        }
    }
}

/// The files cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("tail: {}: {source}; positions need a directory that this user can write to", .file.display())]
pub struct Error {
    file: PathBuf,
    source: std::io::Error,
}
