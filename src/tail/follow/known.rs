//! One file that is followed: what is known of it, and how it is read on.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::body::Body;
use super::super::identity::{Id, PRINT, Print};
use super::super::positions::Entry;
use super::{Source, Take};
use crate::Stamp;

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a record of independent facts")]
pub(super) struct Known {
    pub(super) path: PathBuf,
    /// The name of the log it belongs to.
    pub(super) log: Arc<Path>,
    pub(super) body: Option<Body>,
    /// The first byte that is not delivered.
    pub(super) offset: u64,
    pub(super) skips: bool,
    pub(super) print: Print,
    pub(super) role: Role,
    /// It was not looked at since the start: another one may have its number.
    pub(super) is_unproven: bool,
    /// It has the name that is written to.
    pub(super) is_live: bool,
    /// It has a name at all.
    pub(super) is_listed: bool,
    /// When it last had something new.
    pub(super) active: Stamp,
    /// Files are read in the order in which they were met.
    pub(super) order: u64,
    /// Bytes it has on the disk.
    pub(super) size: u64,
}

/// What is done with what is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is read.
    Own,
    /// It is not: its lines are read in that file; or nowhere, if that is the file itself.
    CopyOf(Id),
    /// That cannot be said yet.
    Unsure(Stamp),
}

/// What there is to read.
pub(super) enum Fetched {
    /// Bytes that follow, there in the buffer; those before them were read already.
    Bytes(Range<usize>),
    /// Nothing now.
    Nothing,
    /// It was cut, and begun anew.
    Cut,
}

impl Known {
    pub(super) fn again(entry: Entry, order: u64, now: Stamp) -> (Id, Self) {
        let Entry { id, offset, skips, copy_of, print, .. } = entry;
        let known = Self {
            path: PathBuf::new(),
            log: Arc::from(Path::new("")),
            body: None,
            offset,
            skips,
            print,
            role: copy_of.map_or(Role::Own, Role::CopyOf),
            is_unproven: true,
            is_live: false,
            is_listed: false,
            active: now,
            order,
            size: offset,
        };
        (id, known)
    }

    /// Reads what follows. What was read last is read again with it: a file that was cut since says something else there.
    pub(super) fn fetch(&mut self, buffer: &mut [u8]) -> io::Result<Fetched> {
        let Some(body) = &mut self.body else { return Ok(Fetched::Nothing) };
        let Some(unread) = body.unread(self.offset)? else { return Ok(Fetched::Cut) };
        if unread == 0 {
            return Ok(Fetched::Nothing);
        }
        if let Body::Packed(_) = body {
            // Nobody writes to what is compressed.
            let read = body.read_at(buffer, self.offset)?;
            return Ok(if read == 0 { Fetched::Nothing } else { Fetched::Bytes(0..read) });
        }
        let lead = self.print.trail.len();
        let want = buffer.len().min(lead.saturating_add(unread as usize));
        let read = body.read_at(buffer.get_mut(..want).unwrap_or_default(), self.offset - lead as u64)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if self.offset == 0 && self.print.head.is_empty() {
            self.print.head = bytes.get(..read.min(PRINT)).unwrap_or_default().to_vec();
        }
        if bytes.get(..lead) != Some(&self.print.trail) || !self.has_its_head()? {
            return Ok(Fetched::Cut);
        }
        Ok(Fetched::Bytes(lead..read))
    }

    /// So many of these bytes are delivered.
    pub(super) fn advance(&mut self, bytes: &[u8], skips: bool, now: Stamp) {
        self.offset += bytes.len() as u64;
        self.print.follow(bytes);
        (self.skips, self.active) = (skips, now);
    }

    /// What is compressed ends for ever: nobody needs to read it again to see that.
    pub(super) fn close_packed(&mut self, id: Id, to: &mut impl Take) {
        (self.role, self.body) = (Role::CopyOf(id), None);
        self.tell(id, to);
    }

    /// Whether it is shorter than what was read of it, or says something else there.
    pub(super) fn is_cut(&mut self) -> bool {
        if self.role != Role::Own {
            return false;
        }
        let Some(body @ Body::Plain(_)) = &mut self.body else { return false };
        let trail = &self.print.trail;
        let is_same = |bytes: io::Result<Vec<u8>>| bytes.is_ok_and(|bytes| bytes == *trail);
        !is_same(body.bytes(self.offset - trail.len() as u64, trail.len()))
            || !self.has_its_head().unwrap_or(true)
    }

    /// Whether it begins as it did; more of that is taken note of, if there is more.
    pub(super) fn has_its_head(&mut self) -> io::Result<bool> {
        let Some(body) = &mut self.body else { return Ok(true) };
        if self.print.head.len() < PRINT {
            return self.print.learn(body);
        }
        Ok(body.bytes(0, PRINT)? == self.print.head)
    }

    /// Nothing is left to read in it now.
    pub(super) fn is_done(&self) -> bool {
        match (&self.body, self.role) {
            (_, Role::Unsure(_)) => false,
            (_, Role::CopyOf(_)) | (None, _) => true,
            (Some(body), Role::Own) => body.unread(self.offset).is_ok_and(|unread| unread == Some(0)),
        }
    }

    /// Bytes that are there and not read.
    pub(super) fn behind(&self) -> u64 {
        match (&self.body, self.role) {
            (Some(body @ Body::Plain(_)), Role::Own) => body.unread(self.offset).ok().flatten().unwrap_or(0),
            (Some(body @ Body::Packed(_)), Role::Own) => u64::from(!body.is_over()),
            _ => 0,
        }
    }

    pub(super) fn is_quiet(&self, now: Stamp, seconds: f64) -> bool {
        now.seconds_since(self.active) >= seconds
    }

    pub(super) fn source(&self, id: Id) -> Source<'_> {
        let Self { offset, skips, print, role, .. } = self;
        let copy_of = match role {
            Role::CopyOf(other) => Some(*other),
            Role::Own | Role::Unsure(_) => None,
        };
        Source { id, offset: *offset, skips: *skips, print, copy_of, gone: false }
    }

    pub(super) fn tell(&self, id: Id, to: &mut impl Take) {
        to.take(&[], &self.source(id));
    }
}
