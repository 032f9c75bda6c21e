//! What is logged, where to, and for how long.

use std::path::PathBuf;

use super::audit::Checkpoints;
use super::file::Rotation;
use super::keep::Retention;
use super::privacy::Treatments;
use super::rate::Rate;
use super::{Level, Stream};

/// All of `[logs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the files are; `None` = there are none.
    pub directory: Option<PathBuf>,
    /// A file for the application log that somebody else turns over.
    pub file: Option<PathBuf>,
    /// Where each log goes, by [`Stream::index`].
    pub places: [Vec<Place>; 3],
    /// What is too unimportant.
    pub filter: Filter,
    /// How many lines a cause may have.
    pub rate: Rate,
    /// When files are turned over.
    pub rotation: Rotation,
    /// How long they are kept.
    pub retention: Retention,
    /// What of what is personal stays on this host.
    pub privacy: Treatments,
    /// The key of hashes, if somebody else is to make the same ones.
    pub hash_key: Option<String>,
    /// The key that signs the audit.
    pub audit_key: Option<PathBuf>,
    /// When it signs.
    pub checkpoints: Checkpoints,
    /// A call with a lower MOS is told of.
    pub mos_below: f64,
    /// How lines look on standard output and error.
    pub format: Format,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file of its own in the directory.
    File,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// systemd's journal.
    Journald,
}

/// How lines look for whoever reads them first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// As in the files.
    Json,
    /// For people.
    Text,
}

/// What is too unimportant to be logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of each log, by [`Stream::index`]. All lines of the audit count.
    pub levels: [Level; 3],
    /// Of components with a level of their own.
    pub components: Vec<(String, Level)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: None,
            file: None,
            places: [vec![Place::Stderr], Vec::new(), Vec::new()],
            filter: Filter::default(),
            rate: Rate::default(),
            rotation: Rotation::default(),
            retention: Retention::default(),
            privacy: Treatments::KEPT,
            hash_key: None,
            audit_key: None,
            checkpoints: Checkpoints::default(),
            mos_below: 3.1,
            format: Format::Auto,
        }
    }
}

impl Settings {
    /// The logs that go to a place.
    pub fn streams_to(&self, place: Place) -> [bool; 3] {
        Stream::ALL
            .map(|stream| self.places.get(stream.index()).is_some_and(|places| places.contains(&place)))
    }

    /// Directories in which files are made.
    pub fn directories(&self) -> Vec<PathBuf> {
        let parent = |file: &PathBuf| file.parent().map(PathBuf::from);
        let key = self.audit_key.as_ref().filter(|_| self.has_audit()).and_then(parent);
        let file = self.file.as_ref().and_then(parent);
        let own = self.directory.clone().filter(|_| self.has_files());
        let mut directories: Vec<_> = [own, key, file].into_iter().flatten().collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// Whether a log goes anywhere.
    pub fn is_wanted(&self, stream: Stream) -> bool {
        let goes = self.places.get(stream.index()).is_some_and(|places| !places.is_empty());
        goes || (stream == Stream::Application && self.file.is_some())
    }

    /// Whether anything goes to a file.
    pub fn has_files(&self) -> bool {
        self.places.iter().any(|places| places.contains(&Place::File))
    }

    /// Whether there is an audit.
    pub fn has_audit(&self) -> bool {
        self.places.get(Stream::Audit.index()).is_some_and(|places| !places.is_empty())
    }
}

impl Filter {
    /// Whether such lines are logged.
    pub fn admits(&self, stream: Stream, level: Level, component: &str) -> bool {
        if stream == Stream::Audit {
            return true;
        }
        let own = self.components.iter().find(|(name, _)| name == component).map(|(_, level)| *level);
        level >= own.or_else(|| self.levels.get(stream.index()).copied()).unwrap_or_default()
    }
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::File, Self::Stdout, Self::Stderr, Self::Journald];

    /// `file`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Journald => "journald",
        }
    }
}

impl Format {
    /// `json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}
