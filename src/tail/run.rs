//! The thread that follows all files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
#[allow(clippy::disallowed_types, reason = "when a line was read is no packet time")]
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, bounded};
use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::follow::{Follower, Tally};
use super::metric::{Declared, Families};
use super::positions::{Entry, Positions};
use super::relay::{Relay, Seen, Shown};
use super::{Error, Settings};
use crate::Stamp;
use crate::export::loki::Outlet;
use crate::log::Logs;

/// Follows the files of all tails.
pub struct Reader {
    tails: Vec<Tail>,
    positions: Positions,
    outlet: Option<Outlet>,
    logs: Logs,
    shown: Shown,
    families: Arc<Families>,
    stats: Arc<Mutex<Vec<Stats>>>,
    last: Stamp,
}

struct Tail {
    settings: Settings,
    follower: Follower,
    seen: Seen,
}

/// What one tail has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Its name.
    pub name: String,
    /// Files followed.
    pub files: u64,
    /// Lines read.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that are there and not read.
    pub behind: u64,
    /// Files replaced by others of their name.
    pub rotations: u64,
    /// Files cut and begun anew.
    pub truncations: u64,
    /// What went wrong with lines and files, by reason.
    pub troubles: [(&'static str, u64); 6],
    /// Lines that a rule has counted.
    pub counted: u64,
}

/// Opens the positions, before rights are given up. `from` is where lines have been put, if they are.
pub fn open(
    settings: Vec<Settings>,
    positions: &Path,
    outlet: Option<Outlet>,
    shown: Shown,
) -> Result<Reader, Error> {
    let file = positions;
    let failed = |source| Error { file: file.to_owned(), source };
    let mut positions = Positions::open(file).map_err(failed)?;
    let mark = outlet.as_ref().and_then(Outlet::mark);
    if let Some(entry) = mark.and_then(|mark| serde_json::from_slice::<Entry>(&mark).ok()) {
        positions.correct(entry).map_err(failed)?;
    }
    let declared: Vec<Declared> =
        settings.iter().flat_map(|tail| &tail.rules).map(|rule| rule.family.clone()).collect();
    let now = now();
    let tails = settings.into_iter().map(|settings| {
        let entries = positions.of(&settings.name);
        let Settings { paths, from_start, line_bytes, .. } = &settings;
        let follower = Follower::new(paths.clone(), entries, *from_start, *line_bytes, now);
        Tail { settings, follower, seen: Seen::default() }
    });
    let tails = tails.collect();
    Ok(Reader {
        tails,
        positions,
        outlet,
        logs: Logs::off(),
        shown,
        families: Arc::new(Families::new(&declared)),
        stats: Arc::default(),
        last: now,
    })
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("tails", &self.tails.len()).finish_non_exhaustive()
    }
}

impl Reader {
    /// Lines that are relayed go to these logs.
    #[must_use]
    pub fn with_logs(self, logs: Logs) -> Self {
        Self { logs, ..self }
    }

    /// Metrics of the rules.
    pub fn families(&self) -> Arc<Families> {
        Arc::clone(&self.families)
    }

    /// What is counted, brought up to date after each round.
    pub fn stats(&self) -> Arc<Mutex<Vec<Stats>>> {
        Arc::clone(&self.stats)
    }

    /// Directories that must be readable.
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut directories: Vec<_> =
            self.tails.iter().flat_map(|tail| tail.follower.directories()).collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// Follows until it is told to stop; what is there by then is read.
    pub fn run(mut self, stop: &AtomicBool) {
        let (told, changed) = bounded(1);
        let renamed = Arc::new(AtomicBool::new(true));
        let mut watcher = watcher(told, Arc::clone(&renamed));
        let mut watched: Vec<PathBuf> = Vec::new();
        let mut looked = Stamp(0);
        loop {
            let is_last = stop.load(Ordering::Acquire);
            let now = now();
            let is_due = now.seconds_since(looked) >= LOOK_SECONDS;
            let look = renamed.swap(false, Ordering::AcqRel) || is_due || is_last;
            if look {
                looked = now;
                self.watch(watcher.as_mut(), &mut watched);
            }
            let more = self.round(now, look);
            if is_last && !more {
                return;
            }
            if !more {
                wait(&changed, if watched.is_empty() { UNWATCHED } else { WATCHED });
            }
        }
    }

    /// One look at everything; whether there may be more.
    pub fn round(&mut self, now: Stamp, look: bool) -> bool {
        let Self { tails, positions, outlet, logs, shown, families, last, .. } = self;
        let mut more = false;
        for Tail { settings, follower, seen } in tails.iter_mut() {
            let outlet = outlet.as_ref().filter(|outlet| settings.send && outlet.takes(&settings.name));
            let relayed = settings.relay.then_some(&*logs);
            let bare = Vec::new();
            let mut relay =
                Relay { settings, families, outlet, relayed, shown, positions, seen, last, now, bare };
            more |= follower.round(now, look, &mut relay);
        }
        let stats = self.tails.iter().map(Tail::stats).collect();
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        more
    }

    fn watch(&self, watcher: Option<&mut RecommendedWatcher>, watched: &mut Vec<PathBuf>) {
        let Some(watcher) = watcher else { return };
        let wanted = self.directories();
        watched.retain(|directory| {
            let is_wanted = wanted.contains(directory) && directory.is_dir();
            if !is_wanted {
                // It is gone, and its watch with it.
                let _ = watcher.unwatch(directory);
            }
            is_wanted
        });
        for directory in wanted {
            if !watched.contains(&directory) && watcher.watch(&directory, RecursiveMode::NonRecursive).is_ok()
            {
                watched.push(directory);
            }
        }
    }
}

impl Tail {
    fn stats(&self) -> Stats {
        let Tally { lines, bytes, cut, rotations, truncations, without_copy, errors, files, behind } =
            self.follower.tally;
        let Seen { unparsed, without_value, counted, unsaved } = self.seen;
        Stats {
            name: self.settings.name.clone(),
            files,
            lines,
            bytes,
            behind,
            rotations,
            truncations,
            troubles: [
                ("cut", cut),
                ("no_json", unparsed),
                ("no_value", without_value),
                ("no_copy", without_copy),
                ("unreadable", errors),
                ("unsaved", unsaved),
            ],
            counted,
        }
    }
}

/// `None` where there is no inotify: then the thread looks by itself, and more often.
fn watcher(told: crossbeam_channel::Sender<()>, renamed: Arc<AtomicBool>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        match event.map(|event| event.kind) {
            Ok(EventKind::Access(_)) => return,
            Ok(EventKind::Modify(ModifyKind::Data(_))) => {}
            // A name came or went, or nobody knows what was missed.
            _ => renamed.store(true, Ordering::Release),
        }
        // Full: it is told already.
        let _ = told.try_send(());
    };
    notify::recommended_watcher(tell).ok()
}

/// Until something changes. Lines that come together are read together.
fn wait(changed: &Receiver<()>, most: Duration) {
    if changed.recv_timeout(most).is_ok() {
        std::thread::sleep(GATHER);
        let _ = changed.try_recv();
    }
}

#[allow(clippy::disallowed_types, reason = "see the import")]
fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(Stamp(0), |since| Stamp(since.as_nanos() as u64))
}

/// Names are looked at so often even if nothing is told.
const LOOK_SECONDS: f64 = 1.0;
const WATCHED: Duration = Duration::from_millis(500);
const UNWATCHED: Duration = Duration::from_millis(250);
const GATHER: Duration = Duration::from_millis(5);
