//! Opens everything that the logs need, before rights are given up, and starts their threads afterwards.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::audit::key::{self, Key};
use super::audit::{COMPONENT, PURGED, Trail, chain};
use super::file::{self, RotatingFile};
use super::journald::Journald;
use super::keep::{self, Purged};
use super::line::Shown;
use super::print::Print;
use super::privacy::{HashKey, Policy, Treatments};
use super::queue::{Logs, Wanted};
use super::settings::{Place, Settings};
use super::sink::{Entry, Sink};
use super::writer::{Audit, Health, Output, Writer};
use super::{Level, Line, Stream};
use crate::Stamp;

/// Why the logs cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory.
    #[error("logs: {path}: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system answered.
        cause: io::Error,
    },
    /// The key of the audit.
    #[error("logs: {0}")]
    Key(#[from] key::Error),
    /// The journal.
    #[error("logs: the journal does not answer: {0}")]
    Journal(io::Error),
}

/// Logs whose threads are still to be started.
pub struct Opened {
    logs: Logs,
    writer: Writer,
    keeper: Option<Keeper>,
    hash_key: Arc<HashKey>,
}

/// What is open is many things.
impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("outputs", &self.writer.outputs).finish_non_exhaustive()
    }
}

/// The threads.
#[derive(Debug)]
pub struct Running {
    logs: Logs,
    writer: JoinHandle<()>,
    keeper: Option<JoinHandle<()>>,
}

/// Opens outputs, and finds the end of the audit.
pub fn open(settings: &Settings, clock: fn() -> Stamp) -> Result<Opened, Error> {
    let wanted = Wanted {
        streams: Stream::ALL.map(|stream| settings.is_wanted(stream)),
        on_stderr: settings.streams_to(Place::Stderr).first() == Some(&true),
    };
    let (logs, orders) = Logs::new(settings.filter.clone(), settings.rate, settings.mos_below, wanted);
    let now = logs.now(clock());
    let hash_key = hash_key(settings)?;
    let policy = Policy::new(settings.privacy, Arc::clone(&hash_key));
    let directory = settings.directory.as_deref().filter(|_| settings.has_files());
    if let Some(directory) = directory {
        fs::create_dir_all(directory).map_err(at(directory))?;
    }
    let (keep, closed) = crossbeam_channel::bounded(CLOSED_QUEUE);
    let mut outputs = Vec::new();
    let to_file = settings.streams_to(Place::File);
    for stream in [Stream::Application, Stream::Diagnostics] {
        if let Some(directory) = directory.filter(|_| to_file.get(stream.index()) == Some(&true)) {
            let path = file::path(directory, stream);
            let file = RotatingFile::open(directory, stream, settings.rotation, now).map_err(at(&path))?;
            let sink = FileSink { name: format!("{} file", stream.name()), file, keep: keep.clone() };
            outputs.push(Output::new(Box::new(sink), Stream::ALL.map(|each| each == stream), policy.clone()));
        }
    }
    if let Some(path) = &settings.file {
        let stream = Stream::Application;
        let file = RotatingFile::open_plain(path, stream, now).map_err(at(path))?;
        let sink = FileSink { name: path.display().to_string(), file, keep: keep.clone() };
        outputs.push(Output::new(Box::new(sink), Stream::ALL.map(|each| each == stream), policy.clone()));
    }
    for place in [Place::Stdout, Place::Stderr, Place::Journald] {
        let streams = settings.streams_to(place);
        if !streams.contains(&true) {
            continue;
        }
        let sink: Box<dyn Sink> = match place {
            Place::Stdout => {
                Box::new(Print::stdout(settings.format).map_err(at(Path::new("standard output")))?)
            }
            Place::Journald => Box::new(Journald::connect().map_err(Error::Journal)?),
            _ => Box::new(Print::stderr(settings.format).map_err(at(Path::new("standard error")))?),
        };
        outputs.push(Output::new(sink, streams, policy.clone()));
    }
    let mut writer = Writer {
        logs: logs.clone(),
        orders,
        outputs,
        audit: None,
        first: Vec::new(),
        clock,
        health: Arc::default(),
        chained: Shown::default(),
        shown: Shown::default(),
    };
    if settings.has_audit() {
        let directory = directory.filter(|_| to_file.get(Stream::Audit.index()) == Some(&true));
        begin_audit(settings, directory, policy, keep.clone(), &mut writer, now)?;
    }
    let keeper = directory.map(|directory| Keeper {
        directory: directory.to_owned(),
        retention: settings.retention,
        closed,
        logs: logs.clone(),
        clock,
    });
    Ok(Opened { logs, writer, keeper, hash_key })
}

fn begin_audit(
    settings: &Settings,
    directory: Option<&Path>,
    policy: Policy,
    keep: Sender<PathBuf>,
    writer: &mut Writer,
    now: Stamp,
) -> Result<(), Error> {
    let key_path = settings.audit_key.clone();
    let (key, _) = match &key_path {
        Some(path) => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(at(parent))?;
            }
            Key::open(path)?
        }
        None => (Key::passing()?, true),
    };
    let (file, recovered) = match directory {
        Some(directory) => {
            let path = file::path(directory, Stream::Audit);
            let recovered = chain::recover(directory).map_err(at(&path))?;
            let mut file =
                RotatingFile::open(directory, Stream::Audit, settings.rotation, now).map_err(at(&path))?;
            if recovered.lacks_line_end {
                file.end_line().map_err(at(&path))?;
            }
            (Some(file), recovered)
        }
        None => (None, chain::Recovered::default()),
    };
    let is_new_file = file.as_ref().is_none_or(|file| file.size() == 0);
    let trail = Trail::new(key, settings.checkpoints, policy, &recovered);
    let at = || writer.logs.now((writer.clock)());
    writer.first.extend(Trail::recovery(&recovered, at()));
    if is_new_file || recovered.sequence == 0 {
        writer.first.push(trail.opening(at()));
    }
    writer.audit = Some(Audit::new(trail, key_path, file, Some(keep)));
    Ok(())
}

impl Opened {
    /// The way in.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// How the outputs are.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.writer.health)
    }

    /// One more output.
    pub fn add(&mut self, output: Output) {
        self.logs.want(output.streams());
        self.writer.outputs.push(output);
    }

    /// What an output makes of what is personal, with the key of all.
    pub fn policy(&self, treatments: Treatments) -> Policy {
        Policy::new(treatments, Arc::clone(&self.hash_key))
    }

    /// Starts to write.
    pub fn start<E>(
        self,
        spawn: impl Fn(&str, Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>, E>,
    ) -> Result<Running, E> {
        let Self { logs, writer, keeper, .. } = self;
        let keeper = keeper.map(|keeper| spawn("logs-keep", Box::new(move || keeper.run()))).transpose()?;
        let writer = spawn("logs", Box::new(move || writer.run()))?;
        Ok(Running { logs, writer, keeper })
    }
}

impl Running {
    /// Writes what waits, signs it, and ends. False: a thread had died.
    pub fn finish(self) -> bool {
        self.logs.end();
        // The keeper ends when the writer, who has the other end of its queue, is gone.
        let ended =
            [Some(self.writer), self.keeper].map(|thread| thread.is_none_or(|thread| thread.join().is_ok()));
        ended == [true, true]
    }
}

/// A log's file, as a sink.
struct FileSink {
    name: String,
    file: RotatingFile,
    keep: Sender<PathBuf>,
}

impl FileSink {
    fn turn_over(&mut self, now: Stamp) -> io::Result<()> {
        if let Some(due) = self.file.due(now) {
            let closed = self.file.rotate(due, now)?;
            // Full: the keeper looks for closed files by itself, too.
            let _ = self.keep.try_send(closed);
        }
        Ok(())
    }
}

impl Sink for FileSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn take(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let turned = self.turn_over(entry.at);
        self.file.push(entry.line).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        if self.file.is_loaded() {
            // What it does not take waits, and is tried again when all have settled.
            let _ = self.file.drain();
        }
        // A file that cannot be turned over takes lines all the same.
        drop(turned);
        Ok(())
    }

    fn settle(&mut self, now: Stamp) -> io::Result<()> {
        self.file.drain()?;
        if self.file.is_lost() {
            self.file.reopen(now)?;
        }
        self.turn_over(now)
    }

    fn reopen(&mut self, now: Stamp) -> io::Result<()> {
        self.file.reopen(now)
    }
}

/// Compresses and purges.
struct Keeper {
    directory: PathBuf,
    retention: keep::Retention,
    closed: Receiver<PathBuf>,
    logs: Logs,
    clock: fn() -> Stamp,
}

impl Keeper {
    /// Until nobody can close a file any more.
    fn run(self) {
        for path in keep::uncompressed(&self.directory) {
            self.compress(&path);
        }
        self.purge();
        loop {
            match self.closed.recv_timeout(ROUND) {
                Ok(path) => self.compress(&path),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.purge();
        }
    }

    fn compress(&self, path: &Path) {
        if let Err(error) = keep::compress(path) {
            let text = format!("{}: {error}", path.display());
            self.warn("a closed file cannot be compressed", &text);
        }
    }

    fn purge(&self) {
        for Purged { stream, name, why, last_sequence } in
            keep::purge(&self.directory, self.retention, (self.clock)())
        {
            let at = self.logs.now((self.clock)());
            let mut line = Line::new(Stream::Audit, Level::Info, at, COMPONENT, PURGED, None);
            line.label("file", &name).word("of", stream.name()).word("reason", why);
            if let Some(sequence) = last_sequence {
                line.count("last_sequence", sequence);
            }
            self.tell(line);
        }
    }

    fn warn(&self, message: &'static str, reason: &str) {
        let at = self.logs.now((self.clock)());
        let mut line = Line::new(Stream::Application, Level::Warn, at, "logs", message, None);
        line.label("reason", reason);
        self.tell(line);
    }

    fn tell(&self, line: Line) {
        if self.logs.wants(line.stream, line.level, line.component) {
            self.logs.tell(line.traced(None));
        }
    }
}

/// That of the configuration, or one beside the audit's key that is made once, or one for as long as the agent runs.
fn hash_key(settings: &Settings) -> Result<Arc<HashKey>, Error> {
    if let Some(text) = &settings.hash_key {
        return Ok(Arc::new(HashKey::new(text.as_bytes())));
    }
    let place =
        settings.audit_key.as_deref().and_then(Path::parent).map(|directory| directory.join(HASH_KEY));
    let mut key = [0; 32];
    let Some(path) = place else {
        File::open(RANDOM)
            .and_then(|mut random| random.read_exact(&mut key))
            .map_err(at(Path::new(RANDOM)))?;
        return Ok(Arc::new(HashKey::new(&key)));
    };
    let mut made = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        match fs::read(&path) {
            Ok(there) if there.len() == key.len() => return Ok(there),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        File::open(RANDOM)?.read_exact(&mut key)?;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&key)?;
        Ok(key.to_vec())
    };
    let key = made().map_err(at(&path))?;
    Ok(Arc::new(HashKey::new(&key)))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |cause| Error::Io { path, cause }
}

const HASH_KEY: &str = "privacy.key";
const RANDOM: &str = "/dev/urandom";
const CLOSED_QUEUE: usize = 64;
/// How often files are looked at that have come of age.
const ROUND: Duration = Duration::from_mins(10);
