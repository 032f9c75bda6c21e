//! The way out: one thread that puts lines to their outputs, chains the audit, and turns files over.
//!
//! ```text
//! queue -> batch of lines -> each output that takes the log: its policy -> Sink::take
//!             \-> audit: number, hash, signature -> its file; the same bytes to other outputs
//! once a second: what was suppressed, what was lost, signatures that are due, files that were taken away
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde_json::{Value, json};

use super::audit::key::Key;
use super::audit::{COMPONENT, Trail};
use super::file::RotatingFile;
use super::line::Shown;
use super::privacy::Policy;
use super::queue::{Logs, Order};
use super::sink::{Entry, Sink};
use super::{Level, Line, Stream};
use crate::Stamp;

/// Where lines go, and which.
pub struct Output {
    sink: Box<dyn Sink>,
    streams: [bool; 3],
    policy: Policy,
    state: State,
}

/// How an output is.
#[derive(Debug, Default)]
struct State {
    /// What it answered last, if it does not work.
    failed: Option<String>,
    /// Lines that it did not take since, by log.
    missed: [u64; 3],
}

/// Its sink may hold anything.
impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("sink", &self.sink.name())
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Some of the logs go there, in the order of [`Stream::index`].
    pub fn new(sink: Box<dyn Sink>, streams: [bool; 3], policy: Policy) -> Self {
        Self { sink, streams, policy, state: State::default() }
    }

    pub(super) fn streams(&self) -> [bool; 3] {
        self.streams
    }

    fn takes(&self, stream: Stream) -> bool {
        self.streams.get(stream.index()).is_some_and(|takes| *takes)
    }

    fn take(&mut self, entry: &Entry<'_>, logs: &Logs) {
        match self.sink.take(entry) {
            Ok(()) => logs.written(entry.stream),
            Err(error) => {
                self.state.fail(&error);
                logs.failed(entry.stream);
                self.state.miss(entry.stream, logs);
            }
        }
    }

    fn settle(&mut self, now: Stamp, logs: &Logs) {
        match self.sink.settle(now) {
            Ok(()) => self.state.failed = None,
            Err(error) => {
                self.state.fail(&error);
                for stream in
                    Stream::ALL.into_iter().filter(|stream| self.streams.get(stream.index()) == Some(&true))
                {
                    logs.failed(stream);
                }
            }
        }
    }
}

impl State {
    fn fail(&mut self, error: &io::Error) {
        self.failed = Some(error.to_string());
    }

    fn miss(&mut self, stream: Stream, logs: &Logs) {
        logs.lost(stream, 1);
        if let Some(missed) = self.missed.get_mut(stream.index()) {
            *missed += 1;
        }
    }
}

/// The audit and its file, if it has one.
#[derive(Debug)]
pub(super) struct Audit {
    pub(super) trail: Trail,
    pub(super) key_path: Option<PathBuf>,
    pub(super) file: Option<RotatingFile>,
    pub(super) keep: Option<Sender<PathBuf>>,
    state: State,
}

impl Audit {
    pub(super) fn new(
        trail: Trail,
        key_path: Option<PathBuf>,
        file: Option<RotatingFile>,
        keep: Option<Sender<PathBuf>>,
    ) -> Self {
        Self { trail, key_path, file, keep, state: State::default() }
    }
}

/// The thread's state.
pub(super) struct Writer {
    pub(super) logs: Logs,
    pub(super) orders: Receiver<Order>,
    pub(super) outputs: Vec<Output>,
    pub(super) audit: Option<Audit>,
    /// Lines of the audit before all others: they wait until all outputs are there.
    pub(super) first: Vec<Line>,
    pub(super) clock: fn() -> Stamp,
    pub(super) health: Arc<Health>,
    pub(super) chained: Shown,
    pub(super) shown: Shown,
}

/// How the outputs are, for whoever asks.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<String, Value>>);

impl Health {
    /// By the name of each output; one that does not work has `failed` in it.
    pub fn outputs(&self) -> BTreeMap<String, Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Writer {
    /// Until it is told that nothing comes any more.
    pub(super) fn run(mut self) {
        for line in std::mem::take(&mut self.first) {
            self.chain(&line, false);
        }
        let mut next = self.now();
        loop {
            let wait = next.nanos_since(self.now()).clamp(0, LOOK_NANOS);
            match self.orders.recv_timeout(Duration::from_nanos(wait.unsigned_abs())) {
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(order) => {
                    self.follow(order);
                    if self.batch() {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.settle();
            let now = self.now();
            // The second test is for a clock that was set back.
            if now >= next || next.nanos_since(now) > 2 * LOOK_NANOS {
                next = now.plus_nanos(LOOK_NANOS);
                self.look(false);
                self.settle();
            }
        }
        self.finish();
    }

    /// More of what waits; true when it was the last.
    fn batch(&mut self) -> bool {
        for _ in 0..BATCH {
            match self.orders.try_recv() {
                Ok(Order::End) => return true,
                Ok(order) => self.follow(order),
                Err(_) => break,
            }
        }
        false
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Line(line) => self.write(&line),
            Order::Reopen => self.reopen(),
            Order::Rekey => self.rekey(),
            Order::End => {}
        }
    }

    pub(super) fn write(&mut self, line: &Line) {
        if line.stream == Stream::Audit {
            self.turn_audit_over();
            return self.chain(line, false);
        }
        let trace = line.trace_id().map(|trace| trace.to_string());
        let sequence = self.audit.as_ref().map(|audit| audit.trail.sequence());
        let Self { outputs, shown, logs, .. } = self;
        for output in outputs.iter_mut().filter(|output| output.takes(line.stream)) {
            line.show(&output.policy, shown);
            shown.text.push(b'}');
            output.take(&entry(line, shown, trace.as_deref(), sequence), logs);
        }
    }

    /// Puts a line to the end of the audit, its file, and other outputs of it. Where the file has no room, the line is
    /// not put at all: what is in the file hangs together.
    fn chain(&mut self, line: &Line, is_signed: bool) {
        let Self { audit: Some(audit), outputs, chained, shown, logs, .. } = self else { return };
        if audit.file.as_ref().is_some_and(|file| !file.has_room(line.weight() + Trail::ROOM)) {
            logs.failed(Stream::Audit);
            return audit.state.miss(Stream::Audit, logs);
        }
        let link =
            if is_signed { audit.trail.put_signed(line, chained) } else { audit.trail.put(line, chained) };
        let sequence = audit.trail.sequence();
        if let Some(file) = &mut audit.file {
            // There is room, as was seen.
            let _ = file.push(&chained.text);
            logs.written(Stream::Audit);
        }
        logs.chained(sequence);
        for output in outputs.iter_mut().filter(|output| output.takes(Stream::Audit)) {
            if audit.trail.is_shown_by(&output.policy) {
                output.take(&entry(line, chained, None, Some(sequence)), logs);
            } else {
                line.show(&output.policy, shown);
                shown.text.extend_from_slice(link.as_bytes());
                output.take(&entry(line, shown, None, Some(sequence)), logs);
            }
        }
    }

    fn settle(&mut self) {
        let now = self.now();
        if let Some(Audit { file: Some(file), state, .. }) = &mut self.audit {
            match file.drain() {
                Ok(()) => state.failed = None,
                Err(error) => {
                    state.fail(&error);
                    self.logs.failed(Stream::Audit);
                }
            }
        }
        for output in &mut self.outputs {
            output.settle(now, &self.logs);
        }
    }

    /// What is to be done now and then.
    fn look(&mut self, is_end: bool) {
        for told in self.logs.suppressed(self.now(), is_end) {
            let mut line = self.line(Stream::Application, Level::Warn, "lines suppressed");
            line.word("cause", told.cause).count("lines", told.lines).time("since", told.since);
            self.write(&line.traced(None));
        }
        self.tell_losses();
        self.turn_audit_over();
        if self.audit.as_ref().is_some_and(|audit| audit.trail.is_due((self.clock)())) {
            self.sign();
        }
        self.publish();
    }

    /// Says in each log how many of its lines an output missed, once it takes lines again.
    fn tell_losses(&mut self) {
        let mut told = Vec::new();
        let states = self.outputs.iter_mut().map(|output| (output.sink.name().to_owned(), &mut output.state));
        let audit = self.audit.iter_mut().map(|audit| ("audit file".to_owned(), &mut audit.state));
        for (name, state) in states.chain(audit) {
            if state.failed.is_some() {
                continue;
            }
            for (stream, missed) in Stream::ALL.into_iter().zip(&mut state.missed) {
                if *missed > 0 {
                    told.push((stream, name.clone(), std::mem::take(missed)));
                }
            }
        }
        for (stream, output, lines) in told {
            let mut line = self.line(stream, Level::Warn, "lines lost");
            line.label("output", &output).count("lines", lines);
            self.write(&line.traced(None));
        }
    }

    fn turn_audit_over(&mut self) {
        let now = self.now();
        let Some(Audit { file: Some(file), .. }) = &self.audit else { return };
        if file.is_lost() {
            return self.reopen_audit();
        }
        let Some(due) = file.due(now) else { return };
        self.sign();
        let Some(Audit { file: Some(file), keep, state, .. }) = &mut self.audit else { return };
        let turned = file.drain().and_then(|()| file.sync()).and_then(|()| file.rotate(due, now));
        match turned {
            Ok(closed) => {
                // Full: the keeper looks for closed files by itself, too.
                let _ = keep.as_ref().map(|keep| keep.try_send(closed));
                self.open_audit();
            }
            Err(error) => {
                state.fail(&error);
                self.logs.failed(Stream::Audit);
            }
        }
    }

    /// The first line of a file.
    fn open_audit(&mut self) {
        let at = self.stamp();
        if let Some(audit) = &self.audit {
            let line = audit.trail.opening(at);
            self.chain(&line, false);
        }
    }

    fn sign(&mut self) {
        let at = self.stamp();
        let Some(audit) = &self.audit else { return };
        let line = audit.trail.checkpoint(at);
        self.chain(&line, true);
        if let Some(Audit { file: Some(file), .. }) = &mut self.audit
            && file.drain().is_ok()
        {
            let _ = file.sync();
        }
    }

    fn reopen(&mut self) {
        let now = self.now();
        for output in &mut self.outputs {
            if let Err(error) = output.sink.reopen(now) {
                output.state.fail(&error);
            }
        }
        self.reopen_audit();
    }

    /// Somebody else has turned the audit over, or will have: what was in hand is signed first.
    fn reopen_audit(&mut self) {
        let now = self.now();
        let Some(Audit { file: Some(_), .. }) = &self.audit else { return };
        if self.audit.as_ref().is_some_and(|audit| audit.trail.is_unsigned()) {
            self.sign();
        }
        let Some(Audit { file: Some(file), state, .. }) = &mut self.audit else { return };
        match file.reopen(now) {
            Ok(()) if file.size() == 0 => self.open_audit(),
            Ok(()) => {}
            Err(error) => {
                state.fail(&error);
                self.logs.failed(Stream::Audit);
            }
        }
    }

    fn rekey(&mut self) {
        let at = self.stamp();
        let Some(audit) = &mut self.audit else { return };
        let Some(path) = audit.key_path.clone() else { return };
        let wrong = match audit.trail.next_key(&path, at) {
            Ok(None) => return,
            Ok(Some((next, line))) => {
                let old = audit.trail.key().id().to_owned();
                self.chain(&line, true);
                self.settle();
                self.take_key(next, &path, &old).err()
            }
            Err(error) => Some(error),
        };
        if let Some(error) = wrong {
            let text = error.to_string();
            let mut line = self.line(Stream::Application, Level::Error, "the audit's key stays as it was");
            line.personal("reason", super::privacy::Personal::text(&text));
            self.write(&line.traced(None));
        }
    }

    fn take_key(&mut self, next: Key, path: &Path, old: &str) -> Result<(), super::audit::key::Error> {
        // It was told that it changes, so it does: a file that stays in its place is found at the next start.
        if let Some(audit) = &mut self.audit {
            audit.trail.take_key(next);
        }
        Key::settle(path, old)
    }

    fn finish(&mut self) {
        self.look(true);
        if self.audit.as_ref().is_some_and(|audit| audit.trail.is_unsigned()) {
            self.sign();
        }
        self.settle();
        let now = self.now();
        for output in &mut self.outputs {
            if let Err(error) = output.sink.finish(now) {
                output.state.fail(&error);
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let detail = |output: &Output| {
            let mut detail = output.sink.detail();
            if let Some(failed) = &output.state.failed {
                detail.insert("failed".into(), json!(failed));
            }
            (output.sink.name().to_owned(), json!(detail))
        };
        let mut outputs: BTreeMap<_, _> = self.outputs.iter().map(detail).collect();
        if let Some(audit) = &self.audit {
            let mut detail = json!({ "sequence": audit.trail.sequence(), "key_id": audit.trail.key().id() });
            if let (Some(failed), Some(detail)) = (&audit.state.failed, detail.as_object_mut()) {
                detail.insert("failed".into(), json!(failed));
            }
            outputs.insert("audit".into(), detail);
        }
        *self.health.0.lock().unwrap_or_else(PoisonError::into_inner) = outputs;
    }

    fn line(&self, stream: Stream, level: Level, message: &'static str) -> Line {
        let component = if stream == Stream::Audit { COMPONENT } else { "logs" };
        Line::new(stream, level, self.stamp(), component, message, None)
    }

    fn stamp(&self) -> Stamp {
        self.logs.now((self.clock)())
    }

    fn now(&self) -> Stamp {
        (self.clock)()
    }
}

fn entry<'a>(
    line: &Line,
    shown: &'a Shown,
    trace_id: Option<&'a str>,
    audit_sequence: Option<u64>,
) -> Entry<'a> {
    Entry {
        stream: line.stream,
        level: line.level,
        at: line.at,
        component: line.component,
        line: &shown.text,
        call_id: shown.call_id(),
        trace_id,
        request_id: shown.request_id(),
        audit_sequence,
    }
}

const LOOK_NANOS: i64 = 1_000_000_000;
const BATCH: usize = 1024;
