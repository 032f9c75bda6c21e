//! How far each file was read, on disk: an entry a line, the last one of a file counts.
//!
//! ```text
//! {"serial":7}
//! {"tail":"app","dev":65025,"ino":1310731,"born":1795258486123000000,"offset":4711,"serial":8,"skips":false,
//!  "copy_of":null,"head":"7b22...","trail":"..."}
//! ```
//!
//! An entry is appended after each batch of lines; when there are many, the file is written anew beside itself and put in
//! its place. A torn last line is passed over: the entry before it stands.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::identity::{Id, Print};

/// How far one file was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) tail: String,
    #[serde(flatten)]
    pub(super) id: Id,
    /// The first byte that is not delivered.
    pub(super) offset: u64,
    /// Each entry has a higher one than those before it.
    pub(super) serial: u64,
    pub(super) skips: bool,
    /// It is not read, because its lines were, or will be, read in that file; or in none, if that is the file itself.
    pub(super) copy_of: Option<Id>,
    #[serde(flatten)]
    pub(super) print: Print,
    /// It is forgotten.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
}

/// What was given out before the entries that follow: those that were forgotten had numbers too.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    serial: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    file: File,
    entries: BTreeMap<(String, Id), Entry>,
    serial: u64,
    appended: usize,
    /// The last entry may be there in part.
    is_torn: bool,
}

impl Positions {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let text = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut entries = BTreeMap::new();
        let mut serial = 0;
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(entry) = serde_json::from_slice::<Entry>(line) {
                serial = serial.max(entry.serial);
                put(&mut entries, entry);
            } else if let Ok(given) = serde_json::from_slice::<Given>(line) {
                serial = serial.max(given.serial);
            }
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let mut positions =
            Self { path: path.to_owned(), file, entries, serial, appended: 0, is_torn: false };
        // What is torn must not be joined with what comes.
        positions.write_anew()?;
        Ok(positions)
    }

    /// What is known of the files of a tail.
    pub(super) fn of(&self, tail: &str) -> Vec<Entry> {
        self.entries.values().filter(|entry| entry.tail == tail).cloned().collect()
    }

    /// Takes what a mark of the spool says, if that is later than what the disk knows: the agent died between the two.
    /// It is written at once: the next mark takes its place.
    pub(super) fn correct(&mut self, entry: Entry) -> io::Result<()> {
        if entry.serial <= self.serial {
            return Ok(());
        }
        self.serial = entry.serial;
        self.save(entry)
    }

    /// A number for the next entry.
    pub(super) fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Writes one.
    pub(super) fn save(&mut self, entry: Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        put(&mut self.entries, entry);
        if self.is_torn || self.appended > MOST_APPENDED.max(4 * self.entries.len()) {
            return self.write_anew();
        }
        self.appended += 1;
        self.file.write_all(&line).inspect_err(|_| self.is_torn = true)
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let mut text = serde_json::to_vec(&Given { serial: self.serial })?;
        text.push(b'\n');
        for entry in self.entries.values() {
            text.extend(serde_json::to_vec(entry)?);
            text.push(b'\n');
        }
        file.write_all(&text)?;
        fs::rename(&beside, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        (self.appended, self.is_torn) = (0, false);
        Ok(())
    }
}

fn put(entries: &mut BTreeMap<(String, Id), Entry>, entry: Entry) {
    let key = (entry.tail.clone(), entry.id);
    if entry.gone { drop(entries.remove(&key)) } else { drop(entries.insert(key, entry)) }
}

const MOST_APPENDED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ino: u64, serial: u64) -> Entry {
        Entry {
            tail: "app".into(),
            id: Id { dev: 1, ino, born: 5 },
            offset: 2 * serial,
            serial,
            skips: false,
            copy_of: None,
            print: Print { head: b"head\xff".to_vec(), trail: b"\xfftrail".to_vec() },
            gone: false,
        }
    }

    #[test]
    fn the_last_entry_of_a_file_counts_and_a_torn_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tail.positions");
        let mut positions = Positions::open(&path).unwrap();
        for serial in 0..20_000 {
            positions.save(entry(7, serial)).unwrap();
        }
        positions.save(entry(8, 1)).unwrap();
        positions.save(Entry { gone: true, ..entry(8, 1) }).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 2_000_000, "it is written anew now and then");
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"tail\":\"app\",\"dev\":1,\"ino\":7,\"off");
        fs::write(&path, text).unwrap();
        drop(positions);
        let mut positions = Positions::open(&path).unwrap();
        assert_eq!(positions.of("app"), [entry(7, 19_999)]);
        positions.save(entry(9, 2)).unwrap();
        assert_eq!(Positions::open(&path).unwrap().of("app"), [entry(7, 19_999), entry(9, 2)]);
        assert_eq!(positions.of("other"), []);
    }

    #[test]
    fn a_mark_corrects_what_is_older() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p");
        let mut positions = Positions::open(&path).unwrap();
        positions.save(entry(7, 10)).unwrap();
        let mut positions = Positions::open(&path).unwrap();
        positions.correct(entry(7, 5)).unwrap();
        assert_eq!(positions.of("app"), [entry(7, 10)]);
        positions.correct(entry(8, 10)).unwrap();
        assert_eq!(positions.of("app"), [entry(7, 10)], "that was the last one written");
        positions.correct(entry(7, 11)).unwrap();
        assert_eq!(positions.of("app"), [entry(7, 11)]);
        assert_eq!(positions.next(), 12);
        let positions = Positions::open(&path).unwrap();
        assert_eq!(positions.of("app"), [entry(7, 11)], "as it would be found after another death");
    }

    #[test]
    fn a_mark_of_what_was_forgotten_since_is_no_news() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p");
        let mut positions = Positions::open(&path).unwrap();
        positions.save(entry(7, 10)).unwrap();
        positions.save(Entry { gone: true, ..entry(7, 11) }).unwrap();
        for _ in 0..2 {
            let mut positions = Positions::open(&path).unwrap();
            positions.correct(entry(7, 10)).unwrap();
            assert_eq!(positions.of("app"), []);
        }
    }
}
