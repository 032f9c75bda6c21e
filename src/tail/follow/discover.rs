//! Files that nobody knew: new ones, those that were rotated before anybody saw them, and copies of known ones.

use std::sync::Arc;

use super::super::body::Body;
use super::super::identity::{Fit, Id, PRINT, Print};
use super::super::names;
use super::known::{Known, Role};
use super::{CHUNK, Follower, Found, MOST_FILES, Source, Take};
use crate::Stamp;

/// What a rotated file is beside one that is written to.
enum Verdict {
    Another,
    Copy,
    Unsure,
}

impl Follower {
    pub(super) fn discover_all(&mut self, mut found: Vec<Found>, to: &mut impl Take) {
        // Found in the order in which they were written.
        let first = self.order;
        self.order += found.len() as u64;
        let mut found: Vec<_> = (first..).zip(found.drain(..)).collect();
        // What is written to comes first: a copy is known by what it is a copy of.
        found.sort_by_key(|(order, file)| (!file.is_live, *order));
        for (order, file) in found {
            if !self.known.contains_key(&file.id) {
                self.discover(order, file, to);
            }
        }
        let open: Vec<Id> =
            self.known.iter().filter(|(id, known)| known.is_open_question(**id)).map(|(id, _)| *id).collect();
        for id in open {
            self.settle(id, to);
        }
    }

    pub(super) fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    fn discover(&mut self, order: u64, mut file: Found, to: &mut impl Take) {
        if self.known.len() >= MOST_FILES {
            self.tally.errors += 1;
            return;
        }
        let is_packed = names::is_packed(&file.path);
        let opened = file.file.take().map(|opened| Body::new(opened, is_packed));
        let Some(body) = opened.or_else(|| file.open().ok().flatten()) else { return };
        let mut known = Known {
            path: file.path,
            log: file.log,
            body: Some(body),
            offset: 0,
            skips: false,
            print: Print::default(),
            role: Role::Own,
            is_unproven: false,
            is_live: file.is_live,
            is_listed: true,
            active: self.now,
            order,
            size: file.size,
        };
        if self.skips_old && is_packed {
            known.role = Role::CopyOf(file.id);
        } else if self.skips_old {
            known.offset = known.whole_lines();
        } else if !file.is_live {
            known.role = Role::Unsure(self.now);
        }
        if !known.print_anew() {
            self.tally.errors += 1;
            return;
        }
        if let Role::Unsure(_) = known.role {
            self.known.insert(file.id, known);
            return self.settle(file.id, to);
        }
        known.tell(file.id, to);
        self.known.insert(file.id, known);
    }

    /// Says what a file is, if it can be said now.
    fn settle(&mut self, id: Id, to: &mut impl Take) {
        let Some(mut known) = self.known.remove(&id) else { return };
        let is_packed = names::is_packed(&known.path);
        if let Role::Unsure(since) = known.role {
            // It may have grown.
            if known.print_anew() {
                known.role = if is_packed {
                    self.role_of_packed(since, &mut known)
                } else {
                    self.role_of_plain(id, since, &mut known)
                };
            }
            match known.role {
                // One that is being compressed takes its time.
                Role::Unsure(_) if is_packed && !known.is_listed => return,
                Role::Unsure(_) => self.unsettled |= !is_packed,
                Role::Own | Role::CopyOf(_) => known.tell(id, to),
            }
        }
        let role = known.role;
        // A copy stays open: when the other one is cut, it may have another name.
        if is_packed && matches!(role, Role::CopyOf(_)) {
            known.body = None;
        }
        self.known.insert(id, known);
        if let Role::CopyOf(other) = role
            && is_packed
            && self.known.get(&other).is_some_and(|other| other.body.is_none() && !other.is_listed)
        {
            self.take_over(id, other, to);
        }
    }

    fn role_of_plain(&mut self, id: Id, since: Stamp, file: &mut Known) -> Role {
        let mut role = Role::Own;
        let log = Arc::clone(&file.log);
        for (other, live) in self.known.iter_mut().filter(|(_, live)| live.is_live && live.log == log) {
            if id.is_older(*other) {
                continue;
            }
            match compare(file, live, other.is_older(id)) {
                Verdict::Another => {}
                Verdict::Copy => return Role::CopyOf(*other),
                Verdict::Unsure => role = Role::Unsure(since),
            }
        }
        // Rather twice than not at all.
        let is_late = self.now.seconds_since(since) >= UNSURE_SECONDS;
        if is_late && role == Role::Unsure(since) { Role::Own } else { role }
    }

    /// What was compressed says what it said before. Until it says something, somebody is still at work.
    fn role_of_packed(&mut self, since: Stamp, file: &mut Known) -> Role {
        if file.print.head.is_empty() {
            return Role::Unsure(since);
        }
        let log = Arc::clone(&file.log);
        let Some(body) = &mut file.body else { return Role::Unsure(since) };
        let mut best = (0, Role::Own);
        for (other, known) in self.known.iter_mut().filter(|(_, known)| known.log == log || !known.is_listed)
        {
            if known.role != Role::Own || !known.has_its_head().unwrap_or(false) {
                continue;
            }
            let told = known.print.head.len() + known.print.trail.len();
            let fits = known.print.fits(body, known.offset);
            if told > best.0 && matches!(fits, Ok(Fit::Whole | Fit::Short)) {
                best = (told, Role::CopyOf(*other));
            }
        }
        best.1
    }

    /// A compressed file stands for what it was made of, which is gone.
    fn take_over(&mut self, id: Id, from: Id, to: &mut impl Take) {
        let Some(gone) = self.known.remove(&from) else { return };
        let Some(known) = self.known.get_mut(&id) else { return };
        (known.offset, known.skips, known.print) = (gone.offset, gone.skips, gone.print.clone());
        (known.role, known.order) = (Role::Own, gone.order);
        // First this one: if the agent dies in between, both are known, and the other one has no name.
        known.tell(id, to);
        to.take(&[], &Source { gone: true, ..gone.source(from) });
    }
}

/// Whether a file is a copy of one that is written to: then it has nothing that the other one lacks, because that one
/// only grows until it is cut.
fn compare(file: &mut Known, live: &mut Known, is_younger: bool) -> Verdict {
    let begin = |known: &mut Known| known.body.as_mut().and_then(|body| body.bytes(0, COMPARED).ok());
    // What it begins with is taken note of before it is compared, so that a cut in between is seen below.
    if live.is_cut() {
        return Verdict::Unsure;
    }
    let (Some(mine), Some(theirs)) = (begin(file), begin(live)) else { return Verdict::Unsure };
    // What it said is no measure then. And what is empty may be about to be filled.
    if live.is_cut() || mine.is_empty() {
        return Verdict::Unsure;
    }
    if !theirs.starts_with(&mine) {
        return Verdict::Another;
    }
    // Both may be as old: made within one tick of the clock, or nobody knows when. Then few bytes say little.
    if is_younger || mine.len() >= PRINT { Verdict::Copy } else { Verdict::Unsure }
}

impl Known {
    /// Whether it is to be asked again what is done with it.
    fn is_open_question(&self, id: Id) -> bool {
        match self.role {
            Role::Own => false,
            Role::Unsure(_) => true,
            Role::CopyOf(other) => other != id && names::is_packed(&self.path),
        }
    }

    /// Takes the print of what is there.
    pub(super) fn print_anew(&mut self) -> bool {
        let Some(body) = &mut self.body else { return false };
        let print = Print::of(body, self.offset);
        print.map(|print| self.print = print).is_ok()
    }

    /// Up to where it has whole lines.
    fn whole_lines(&mut self) -> u64 {
        let size = self.size;
        let from = size.saturating_sub(CHUNK as u64);
        let end = self.body.as_mut().and_then(|body| body.bytes(from, (size - from) as usize).ok());
        match end.and_then(|end| memchr::memrchr(b'\n', &end)) {
            Some(at) => from + at as u64 + 1,
            None => size,
        }
    }
}

/// Bytes that are compared.
const COMPARED: usize = 64 << 10;
/// So long it is waited for more.
const UNSURE_SECONDS: f64 = 2.0;
