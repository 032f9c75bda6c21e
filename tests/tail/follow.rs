//! A reader whose lines stay in the spool, because nobody listens where they are sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use sidetone::export::loki::spool::Spool;
use sidetone::export::loki::{self, Outlet, Settings};
use sidetone::tail::{self, Reader, Shown};

pub(crate) const SPOOL_BYTES: u64 = 4 << 30;

/// On a thread of its own.
pub(crate) struct Following {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

pub(crate) fn outlet(directory: &Path) -> Outlet {
    let target = "http://127.0.0.1:9".parse().unwrap();
    let settings = Settings { url: Some(target), spool_bytes: SPOOL_BYTES, ..Settings::default() };
    loki::open(settings, directory.join("spool"), "h").unwrap().unwrap().0
}

/// Follows `app.log` of the directory `logs`.
pub(crate) fn reader(directory: &Path, shown: Shown) -> Reader {
    let settings = tail::Settings {
        name: "app".into(),
        paths: vec![directory.join("logs/app.log")],
        format: tail::Format::Text,
        from_start: true,
        ..tail::Settings::default()
    };
    tail::open(vec![settings], &directory.join("positions"), Some(outlet(directory)), shown).unwrap()
}

impl Following {
    pub(crate) fn begin(reader: Reader) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let run = move || {
            reader.run(&told);
            // Nanoseconds on a processor: proc_pid_schedstat(5).
            let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
            told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
        };
        Self { stop, thread: thread::spawn(run) }
    }

    /// Lets it read what is there; how long it was at work, in nanoseconds.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// Everything that was delivered so far.
pub(crate) fn spooled(directory: &Path) -> Vec<String> {
    let spool = Spool::open(&PathBuf::from(directory).join("spool"), SPOOL_BYTES).unwrap();
    let mut lines = Vec::new();
    while let Some(batch) = spool.take(1 << 20, 100_000) {
        spool.done(&batch);
        lines.extend(batch.lines.into_iter().map(|line| line.line));
    }
    lines
}
