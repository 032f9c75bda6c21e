//! Which file it is, whatever it is called.
//!
//! ```text
//! Id      device, inode, birth        a rename keeps it; a number that is given again comes with another birth
//! Print   first bytes | the last ones before the place up to which it was read
//!                                     tells that a file was cut and written anew, and which file is a copy of it
//! ```

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
#[allow(clippy::disallowed_types, reason = "when a file was made is no packet time")]
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::body::Body;

/// One file, as long as it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Id {
    pub(super) dev: u64,
    pub(super) ino: u64,
    /// Nanoseconds since the epoch; 0 where the file system does not keep it.
    pub(super) born: u64,
}

impl Id {
    #[allow(clippy::disallowed_types, reason = "see the import")]
    pub(super) fn of(data: &Metadata) -> Self {
        let born = data.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Self { dev: data.dev(), ino: data.ino(), born: born.map_or(0, |since| since.as_nanos() as u64) }
    }

    /// Whether this one was certainly made before the other. Clocks of file systems tick every few milliseconds.
    pub(super) fn is_older(self, than: Self) -> bool {
        self.born != 0 && self.born < than.born
    }
}

/// What a file says at its beginning, and before the place up to which it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Print {
    #[serde(with = "digits")]
    pub(super) head: Vec<u8>,
    #[serde(with = "digits")]
    pub(super) trail: Vec<u8>,
}

/// Whether a file says what another one said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// All of it.
    Whole,
    /// As far as it goes: it is shorter.
    Short,
    No,
}

impl Print {
    /// Of a file that is read up to there.
    pub(super) fn of(body: &mut Body, offset: u64) -> io::Result<Self> {
        let mut print = Self { head: body.bytes(0, PRINT)?, trail: Vec::new() };
        let from = offset.saturating_sub(PRINT as u64);
        print.trail = body.bytes(from, (offset - from) as usize)?;
        Ok(print)
    }

    /// The bytes up to the place where it is read now, as they were read.
    pub(super) fn follow(&mut self, read: &[u8]) {
        self.trail.extend_from_slice(read.get(read.len().saturating_sub(PRINT)..).unwrap_or_default());
        self.trail.drain(..self.trail.len().saturating_sub(PRINT));
    }

    /// Takes more of the beginning, if there is more; whether it begins as it did.
    pub(super) fn learn(&mut self, body: &mut Body) -> io::Result<bool> {
        let head = body.bytes(0, PRINT)?;
        let is_same = head.starts_with(&self.head);
        if is_same {
            self.head = head;
        }
        Ok(is_same)
    }

    /// Whether another file says the same up to there.
    pub(super) fn fits(&self, body: &mut Body, offset: u64) -> io::Result<Fit> {
        let head = body.bytes(0, self.head.len())?;
        if head.is_empty() || !self.head.starts_with(&head) {
            return Ok(Fit::No);
        }
        let trail = body.bytes(offset - self.trail.len() as u64, self.trail.len())?;
        let is_whole = head == self.head && trail == self.trail;
        Ok(if is_whole {
            Fit::Whole
        } else if self.trail.starts_with(&trail) {
            Fit::Short
        } else {
            Fit::No
        })
    }
}

mod digits {
    use std::fmt::Write;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text = bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        pairs
            .map(byte)
            .collect::<Option<_>>()
            .ok_or_else(|| serde::de::Error::custom("no hexadecimal digits"))
    }
}

/// Bytes at either end.
pub(super) const PRINT: usize = 256;

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_name_given_again_is_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, "a").unwrap();
        let first = Id::of(&fs::metadata(&path).unwrap());
        fs::rename(&path, directory.path().join("g")).unwrap();
        assert_eq!(Id::of(&fs::metadata(directory.path().join("g")).unwrap()), first);
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::remove_file(directory.path().join("g")).unwrap();
        fs::write(&path, "a").unwrap();
        let second = Id::of(&fs::metadata(&path).unwrap());
        assert_ne!(second, first, "although the number may be the same");
        assert!(second.born == 0 || first.is_older(second));
    }

    #[test]
    fn a_copy_fits_and_what_only_begins_so_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let body = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            Body::new(File::open(path).unwrap(), false)
        };
        let banner = "=".repeat(300);
        let text = format!("{banner}\none\ntwo\n");
        let offset = text.len() as u64;
        let print = Print::of(&mut body("a", &text), offset).unwrap();
        for (name, text, fit) in [
            ("copy", format!("{text}three\n"), Fit::Whole),
            ("shorter", text[..text.len() - 3].to_owned(), Fit::Short),
            ("much shorter", "===".to_owned(), Fit::Short),
            ("other", format!("{banner}\none\nTWO\n"), Fit::No),
            ("empty", String::new(), Fit::No),
        ] {
            assert_eq!(print.fits(&mut body(name, &text), offset).unwrap(), fit, "{name}");
        }
        let mut followed = Print::of(&mut body("a", &text), 5).unwrap();
        followed.follow(&text.as_bytes()[5..200]);
        followed.follow(&text.as_bytes()[200..]);
        assert_eq!(followed, print);
    }
}
