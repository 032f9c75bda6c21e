//! Which files there are now: the names of a log, and what they lead to.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::body::Body;
use super::super::identity::Id;
use super::super::names;
use super::Follower;

/// A name and what it leads to.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) log: Arc<Path>,
    pub(super) id: Id,
    pub(super) size: u64,
    modified: (i64, i64),
    pub(super) is_live: bool,
    /// Of a file that nobody knew: it is held from the first moment on.
    pub(super) file: Option<File>,
}

impl Follower {
    /// Names that are written to.
    pub(super) fn live(&self) -> Vec<PathBuf> {
        let mut live = Vec::new();
        for pattern in &self.patterns {
            let paths = names::expand(pattern);
            let bases: Vec<&str> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
            let is_own = |path: &&PathBuf| {
                let name = path.file_name().and_then(|name| name.to_str());
                paths.len() == 1 || name.is_some_and(|name| !names::looks_rotated(name, &bases))
            };
            live.extend(paths.iter().filter(is_own).cloned());
        }
        live
    }

    /// Every file there is under a name that counts, the oldest first.
    pub(super) fn list(&mut self) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for path in self.live() {
            let path = real(&path);
            // Rotation may rename one file after the other while they are looked at, and what was there be passed over.
            for _ in 0..MOST_LOOKS {
                if self.list_log(&path, &mut found) {
                    break;
                }
            }
        }
        found.sort_by_key(|found| (found.is_live, found.id.born, found.modified));
        found
    }

    /// Finds the files of one log; whether all that its directory has were found.
    fn list_log(&mut self, path: &Path, found: &mut Vec<Found>) -> bool {
        let Some(base) = path.file_name().and_then(|name| name.to_str()) else { return true };
        let directory = path.parent().map_or(PathBuf::from("."), Path::to_owned);
        let rotated = fs::read_dir(&directory).into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name();
            let number = entry.file_type().is_ok_and(|kind| kind.is_file()).then(|| entry.ino());
            names::is_rotated(base, name.to_str()?).then(|| (entry.path(), number))
        });
        let listed: Vec<_> = rotated.chain([(path.to_owned(), None)]).collect();
        let log: Arc<Path> = Arc::from(path);
        let mut numbers = Vec::new();
        for (name, number) in listed {
            let is_live = name == path;
            match self.find(name, &log, is_live) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.tally.errors += 1;
                    continue;
                }
                Ok(Some(file))
                    if !found.iter().any(|known| known.id == file.id && known.is_live == is_live) =>
                {
                    found.push(file);
                }
                Ok(_) | Err(_) => {}
            }
            numbers.extend(number);
        }
        numbers.iter().all(|ino| found.iter().any(|file| file.id.ino == *ino))
    }

    /// What a name leads to now. Between two looks at a name rotation may put another file there, so what is opened is
    /// what counts.
    fn find(&self, path: PathBuf, log: &Arc<Path>, is_live: bool) -> io::Result<Option<Found>> {
        let mut data = fs::metadata(&path)?;
        if !data.is_file() {
            return Ok(None);
        }
        let mut file = None;
        if !self.known.contains_key(&Id::of(&data)) {
            let opened = File::open(&path)?;
            data = opened.metadata()?;
            file = Some(opened);
        }
        Ok(Some(Found::new(path, Arc::clone(log), &data, is_live, file)))
    }
}

impl Found {
    fn new(path: PathBuf, log: Arc<Path>, data: &Metadata, is_live: bool, file: Option<File>) -> Self {
        let modified = (data.mtime(), data.mtime_nsec());
        Self { path, log, id: Id::of(data), size: data.len(), modified, is_live, file }
    }

    /// Opens it; `None` if its name leads to another file by now.
    pub(super) fn open(&self) -> io::Result<Option<Body>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let is_same = Id::of(&file.metadata()?) == self.id;
        Ok(is_same.then(|| Body::new(file, names::is_packed(&self.path))))
    }
}

pub(super) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Looks at one directory, if names go from file to file.
pub(super) const MOST_LOOKS: usize = 5;
