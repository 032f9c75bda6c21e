//! The end of the chain as the last run left it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::unhex;
use crate::log::Stream;
use crate::log::file;
use crate::log::keep::closed_audit;

/// What of a line makes the chain.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) message: String,
    pub(super) sequence: u64,
    previous: String,
    #[serde(default)]
    pub(super) signature: Option<String>,
    #[serde(default)]
    pub(super) metadata: Metadata,
}

/// What lines about the audit itself say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) key_id: Option<String>,
    pub(super) public_key: Option<String>,
    pub(super) new_key_id: Option<String>,
    pub(super) new_public_key: Option<String>,
    pub(super) unfinished_sha256: Option<String>,
    pub(super) last_sequence: Option<u64>,
}

impl Link {
    /// `None`: it is no line of an audit.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let link: Self = serde_json::from_slice(line).ok()?;
        unhex::<32>(&link.previous).map(|_| link)
    }

    pub(super) fn previous(&self) -> [u8; 32] {
        unhex(&self.previous).unwrap_or_default()
    }
}

/// Where the chain goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Number of the last whole line; 0 = there is none.
    pub sequence: u64,
    /// Its hash; of none, zeros.
    pub previous: [u8; 32],
    /// It is no signature: the last run did not end well, and what it left is still to be signed.
    pub is_unsigned: bool,
    /// What stands behind it.
    pub unfinished: Option<Unfinished>,
    /// The line end behind the last line is missing.
    pub lacks_line_end: bool,
}

/// A line that was not written to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub hash: [u8; 32],
}

/// Looks at the end of the audit in a directory.
pub fn recover(directory: &Path) -> io::Result<Recovered> {
    let mut recovered = match File::open(file::path(directory, Stream::Audit)) {
        Ok(mut current) => of_end(&tail(&mut current)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Recovered::default(),
        Err(error) => return Err(error),
    };
    if recovered.sequence == 0 {
        // It was turned over, and then there was no time for the first line.
        for closed in closed_audit(directory).iter().rev() {
            if let Some(last) = last_line(closed)
                && let Some(link) = Link::of(&last)
            {
                (recovered.sequence, recovered.previous) = (link.sequence, Sha256::digest(&last).into());
                recovered.is_unsigned = link.signature.is_none();
                break;
            }
        }
    }
    Ok(recovered)
}

/// Number of the last line of a closed file.
pub fn last_sequence(path: &Path) -> Option<u64> {
    last_line(path).and_then(|line| Link::of(&line)).map(|link| link.sequence)
}

/// The last whole lines, and what is behind them.
fn of_end(tail: &[u8]) -> Recovered {
    let mut end = tail.len();
    let lines = tail.split_inclusive(|byte| *byte == b'\n').rev();
    for line in lines {
        let (begin, bare) = (end - line.len(), line.strip_suffix(b"\n").unwrap_or(line));
        if let Some(link) = Link::of(bare) {
            let behind = tail.get(end..).unwrap_or_default();
            let fragment = behind.strip_suffix(b"\n").unwrap_or(behind);
            let unfinished = (!fragment.is_empty())
                .then(|| Unfinished { bytes: fragment.len() as u64, hash: Sha256::digest(fragment).into() });
            return Recovered {
                sequence: link.sequence,
                previous: Sha256::digest(bare).into(),
                is_unsigned: link.signature.is_none(),
                unfinished,
                lacks_line_end: !tail.ends_with(b"\n"),
            };
        }
        end = begin;
    }
    let fragment = tail.strip_suffix(b"\n").unwrap_or(tail);
    let hash = Sha256::digest(fragment).into();
    Recovered {
        unfinished: (!fragment.is_empty()).then_some(Unfinished { bytes: fragment.len() as u64, hash }),
        lacks_line_end: !tail.is_empty() && !tail.ends_with(b"\n"),
        ..Recovered::default()
    }
}

fn tail(file: &mut File) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let from = size.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    if from > 0 {
        // The first line is cut.
        let first = tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |at| at + 1);
        tail.drain(..first);
    }
    Ok(tail)
}

/// `None` also where the file is damaged.
fn last_line(path: &Path) -> Option<Vec<u8>> {
    let mut last = None;
    lines(path).ok()?.each(&mut |line, is_whole| {
        if is_whole {
            last = Some(line.to_vec());
        }
        true
    });
    last
}

/// Lines of a file, compressed or not.
pub(super) struct Lines(Box<dyn BufRead>);

pub(super) fn lines(path: &Path) -> io::Result<Lines> {
    let mut file = BufReader::with_capacity(64 << 10, fs::File::open(path)?);
    let is_gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(Lines(if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) }))
}

impl Lines {
    /// Hands over each line without its end, and whether it had one, until told to stop.
    pub(super) fn each(mut self, take: &mut dyn FnMut(&[u8], bool) -> bool) -> Option<io::Error> {
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {
                    let bare = line.strip_suffix(b"\n");
                    if !take(bare.unwrap_or(&line), bare.is_some()) {
                        return None;
                    }
                }
                Err(error) => return Some(error),
            }
        }
    }
}

/// Many lines.
const TAIL: u64 = 1 << 20;
/// Lines are much shorter.
const LONGEST_LINE: u64 = 1 << 20;
