//! `sidetone audit verify`: whether the lines are those that were written, all of them and in their order.
//!
//! ```text
//! files, in the order of their first lines -> number and hash of each line, signature of each checkpoint
//!     -> the first line that is not right; or up to which line all is proven, and what is not
//! ```
//!
//! When a line does not carry the hash of the one before, one of both was changed: the later one if what follows does
//! not fit it either, else the earlier one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, VerifyingKey};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::chain::{Lines, Link, lines};
use super::key::id_of;
use super::{BEGUN, CHECKPOINT, CONTINUED, KEY_CHANGED, PURGED, RECOVERED, hex, unhex};
use crate::log::Stream;
use crate::log::file::compressed;

/// What is to be held against the lines.
#[derive(Debug, Default)]
pub struct Expected {
    /// Keys that are trusted, by name. None: those that the lines themselves name.
    pub keys: BTreeMap<String, VerifyingKey>,
    /// Number of a line that is known to have been written.
    pub sequence: Option<u64>,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub intact: bool,
    /// Files in the order in which they were read.
    pub files: Vec<PathBuf>,
    /// Lines read.
    pub lines: u64,
    /// Number of the first line.
    pub first: u64,
    /// Number of the last line.
    pub last: u64,
    /// Signatures that are right.
    pub checkpoints: u64,
    /// Number of the last line that a right signature stands for.
    pub proven: u64,
    /// Lines behind it.
    pub unproven: u64,
    /// Who signed.
    pub keys: Vec<String>,
    /// The keys were given, and not taken from the lines.
    pub keys_trusted: bool,
    /// Lines that a crash left unfinished.
    pub unfinished: Vec<Place>,
    /// The first line that is not right.
    pub broken: Option<Fault>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its file.
    pub file: PathBuf,
    /// Its number there, from 1.
    pub line: u64,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong.
    pub what: String,
}

/// `/var/log/sidetone/audit.log:7`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A path could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct Unreadable {
    path: PathBuf,
    cause: io::Error,
}

/// Checks files, and the audit files of directories.
pub fn verify(paths: &[PathBuf], expected: &Expected) -> Result<Report, Unreadable> {
    let is_whole = paths.iter().any(|path| path.is_dir());
    let files = ordered(paths)?;
    let mut check =
        Check { known: expected.keys.clone(), trusts: !expected.keys.is_empty(), ..Check::default() };
    for path in &files {
        let open = |cause| Unreadable { path: path.clone(), cause };
        let reading = lines(path).map_err(open)?;
        check.file(path, reading);
        if check.fault.is_some() {
            break;
        }
    }
    check.end();
    Ok(check.report(files, expected.sequence, is_whole))
}

#[derive(Default)]
struct Check {
    known: BTreeMap<String, VerifyingKey>,
    trusts: bool,
    /// The last line that was taken, and the one that still waits for its successor.
    last: Option<Taken>,
    waiting: Option<Waiting>,
    report: Report,
    fault: Option<Fault>,
    /// The first signature of a key that is not trusted, since the last one of one that is.
    strange: Option<(Place, String)>,
    /// Purged up to this line, by the agent's own word.
    purged: u64,
    starts_as_it_should: bool,
}

struct Taken {
    place: Place,
    sequence: u64,
    hash: [u8; 32],
}

/// A line that was read, and whether it had its line end.
struct Waiting {
    place: Place,
    text: Vec<u8>,
    link: Option<Link>,
    is_whole: bool,
}

impl Check {
    fn file(&mut self, path: &Path, reading: Lines) {
        let mut number = 0;
        let damage = reading.each(&mut |text, is_whole| {
            number += 1;
            let place = Place { file: path.to_owned(), line: number };
            let next = Waiting { place, text: text.to_vec(), link: Link::of(text), is_whole };
            if let Some(waiting) = self.waiting.replace(next) {
                self.take(waiting);
            }
            self.fault.is_none()
        });
        if let Some(error) = damage {
            // What was read before it may be wrong itself, and is the better answer then.
            self.end();
            let place = Place { file: path.to_owned(), line: number + 1 };
            self.fail(place, format!("the file is damaged from here on: {error}"));
        }
    }

    fn end(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.take(waiting);
        }
    }

    /// Judges a line; the one behind it, if any, waits.
    fn take(&mut self, line: Waiting) {
        if self.fault.is_some() {
            return;
        }
        let Waiting { place, text, link, is_whole } = line;
        let hash: [u8; 32] = Sha256::digest(&text).into();
        let Some(link) = link else {
            return self.odd(place, hash, is_whole);
        };
        self.report.lines += 1;
        let signed = self.signature(&link, &text);
        if let Some(wrong) = wrong_link(self.last.as_ref(), &link) {
            return self.fail(place, wrong);
        }
        match &self.last {
            Some(last) if link.previous() != last.hash => {
                let follows = self.waiting.as_ref().and_then(|next| next.link.as_ref());
                let is_itself_right = signed == Signed::Right
                    || follows
                        .is_some_and(|next| next.previous() == hash && next.sequence == link.sequence + 1);
                let what = "the line was changed: the next one carries the hash of another";
                if is_itself_right {
                    self.fail(last.place.clone(), what.to_owned());
                } else {
                    let what = "the line was changed: it does not carry the hash of the one before";
                    self.fail(place, what.to_owned());
                }
                return;
            }
            Some(_) => {}
            None => {
                self.report.first = link.sequence;
                let begins = link.sequence == 1 && link.previous() == [0; 32] && link.message == BEGUN;
                self.starts_as_it_should = begins;
                if !begins && link.message != CONTINUED {
                    let what = format!(
                        "the first line is number {} and opens no file: what stood before it is missing",
                        link.sequence
                    );
                    return self.fail(place, what);
                }
            }
        }
        match signed {
            Signed::Not => {}
            Signed::Wrong => {
                let since = self.report.proven + 1;
                let what = format!(
                    "the signature is not right: this line, or one since number {since}, is not what was signed"
                );
                return self.fail(place, what);
            }
            Signed::Strange(id) => {
                self.strange.get_or_insert((place.clone(), id));
            }
            Signed::Right => {
                self.report.checkpoints += 1;
                self.report.proven = link.sequence;
                self.strange = None;
                self.follow_key(&link);
            }
        }
        if link.message == PURGED {
            self.purged = self.purged.max(link.metadata.last_sequence.unwrap_or(0));
        }
        if !is_whole && self.waiting.is_some() {
            return self.fail(place, "the line has lost its end".to_owned());
        }
        self.report.last = link.sequence;
        self.last = Some(Taken { place, sequence: link.sequence, hash });
    }

    /// What is no line of an audit: left by a crash, if nothing follows or the next run told of it.
    fn odd(&mut self, place: Place, hash: [u8; 32], is_whole: bool) {
        let last = self.last.as_ref().map_or([0; 32], |last| last.hash);
        let told = |next: &Link| {
            let opens = next.message == RECOVERED && next.previous() == last;
            opens && next.metadata.unfinished_sha256.as_deref() == Some(&hex(&hash))
        };
        match &self.waiting {
            None if !is_whole => self.report.unfinished.push(place),
            Some(next) if next.link.as_ref().is_some_and(told) => self.report.unfinished.push(place),
            _ => self.fail(place, "this is no line of an audit".to_owned()),
        }
    }

    fn signature(&mut self, link: &Link, text: &[u8]) -> Signed {
        let Some(signature) = &link.signature else {
            // One that has lost its signature is no line without one.
            let lacks = [CHECKPOINT, KEY_CHANGED].contains(&link.message.as_str());
            return if lacks { Signed::Wrong } else { Signed::Not };
        };
        let (Some(bytes), Some(id)) = (unhex::<64>(signature), link.metadata.key_id.as_deref()) else {
            return Signed::Wrong;
        };
        let end = format!(",\"signature\":\"{signature}\"}}");
        let Some(signed) = text.strip_suffix(end.as_bytes()) else { return Signed::Wrong };
        let told = link.metadata.public_key.as_deref().and_then(public);
        let (key, is_trusted) = match (self.known.get(id), told) {
            (Some(key), _) => (*key, true),
            (None, Some(key)) if id_of(&key) == id => (key, !self.trusts),
            _ => return Signed::Strange(id.to_owned()),
        };
        if key.verify_strict(signed, &Signature::from_bytes(&bytes)).is_err() {
            return Signed::Wrong;
        }
        if !is_trusted {
            return Signed::Strange(id.to_owned());
        }
        if !self.report.keys.iter().any(|known| known == id) {
            self.report.keys.push(id.to_owned());
        }
        Signed::Right
    }

    /// A key that a trusted one names is trusted.
    fn follow_key(&mut self, link: &Link) {
        let Some(key) = link.metadata.new_public_key.as_deref().and_then(public) else { return };
        if link.metadata.new_key_id.as_deref() == Some(&id_of(&key)) && self.trusts {
            self.known.insert(id_of(&key), key);
        }
    }

    fn fail(&mut self, place: Place, what: String) {
        self.fault.get_or_insert(Fault { place, what });
    }

    fn report(mut self, files: Vec<PathBuf>, expected: Option<u64>, is_whole: bool) -> Report {
        let place = match &self.last {
            Some(last) => last.place.clone(),
            None => Place { file: files.first().cloned().unwrap_or_default(), line: 1 },
        };
        let (first, last) = (self.report.first, self.report.last);
        if self.fault.is_none() && self.last.is_none() {
            self.fail(place.clone(), "there is no line of an audit".to_owned());
        }
        if let Some((place, id)) = self.strange.take() {
            self.fail(place, format!("it is signed with key {id}, which is not trusted"));
        }
        if let Some(expected) = expected.filter(|expected| *expected > last) {
            let what = format!(
                "the audit ends with number {last}, where number {expected} was written: the end is cut off"
            );
            self.fail(place, what);
        }
        if self.fault.is_none() && !self.starts_as_it_should {
            let before = first.saturating_sub(1);
            if self.purged >= before {
                self.report
                    .notes
                    .push(format!("lines 1 to {before} were purged by the agent, which is in the audit"));
            } else if is_whole {
                let what = format!(
                    "lines 1 to {before} are not here, and the audit does not say that they were purged"
                );
                let file = files.first().cloned().unwrap_or_default();
                self.fail(Place { file, line: 1 }, what);
            } else {
                self.report.notes.push(format!("lines 1 to {before} are not among these files"));
            }
        }
        let mut report = self.report;
        report.unproven = last.saturating_sub(report.proven);
        report.keys_trusted = self.trusts;
        report.files = files;
        report.intact = self.fault.is_none();
        report.broken = self.fault;
        if report.unproven > 0 && report.intact {
            let (from, count) = (report.proven + 1, report.unproven);
            report.notes.push(format!(
                "{count} lines from number {from} on have no signature behind them: unproven, which is usual while the agent \
                 runs and after a crash"
            ));
        }
        if expected.is_none() && report.intact {
            report
                .notes
                .push("whether lines were cut off at the end cannot be told: --expect-seq".to_owned());
        }
        if !report.keys_trusted && report.intact {
            report.notes.push(
                "the keys were taken from the lines themselves: --key names one that is trusted".to_owned(),
            );
        }
        report
    }
}

#[derive(PartialEq, Eq)]
enum Signed {
    Not,
    Wrong,
    /// By a key that is not trusted.
    Strange(String),
    Right,
}

/// A number that does not follow.
fn wrong_link(last: Option<&Taken>, link: &Link) -> Option<String> {
    let last = last?.sequence;
    let (due, is) = (last + 1, link.sequence);
    match is {
        _ if is == due => None,
        _ if is == last => Some(format!("number {is} stands here a second time")),
        _ if is < due => Some(format!("number {is} stands here, behind number {last}")),
        _ if is == due + 1 => Some(format!("number {due} is missing before this line, which is number {is}")),
        _ => Some(format!("numbers {due} to {} are missing before this line, which is number {is}", is - 1)),
    }
}

fn public(hex: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&unhex(hex)?).ok()
}

/// In the order of the numbers of their first lines; empty ones are left out.
fn ordered(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Unreadable> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |cause| Unreadable { path: path.clone(), cause };
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let bare = name.strip_suffix(".gz").unwrap_or(name);
            let is_log = bare.strip_suffix(".log").is_some();
            if is_log
                && name.strip_prefix(Stream::Audit.name()).is_some_and(|rest| rest.starts_with(['.', '-']))
            {
                files.push(path);
            }
        }
    }
    // One that was compressed, and then there was no time to remove it.
    let doubled: Vec<PathBuf> = files.iter().map(|path| compressed(path)).collect();
    files.retain(|path| !doubled.contains(path));
    let mut known = Vec::new();
    for path in files {
        let unreadable = |cause| Unreadable { path: path.clone(), cause };
        let (mut first, mut is_empty) = (None, true);
        let damage = lines(&path).map_err(unreadable)?.each(&mut |line, _| {
            is_empty = false;
            first = Link::of(line).map(|link| link.sequence);
            first.is_none()
        });
        if !is_empty || damage.is_some() {
            known.push((first.unwrap_or(0), path));
        }
    }
    known.sort();
    Ok(known.into_iter().map(|(_, path)| path).collect())
}
