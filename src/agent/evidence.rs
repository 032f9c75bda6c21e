//! Evidence of the running agent: the recorder for the capture thread, a thread that keeps what it wrote down, and what
//! pages and logs have to say about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::clock::now;
use super::leave;
use crate::config::Config;
use crate::evidence::{self, File, Keeper, Recorder, Shelf, Snapshot, Stats, Told, Written};
use crate::export::trace_id::TraceId;
use crate::http::{Condition, Refusal};
use crate::log::privacy::Personal;
use crate::log::{Level, Line, Logs, Stream};
use crate::trace::USUAL_SHARE;

/// What is open, and not started yet.
pub(super) struct Opened {
    pub(super) recorder: Option<Recorder>,
    keeper: Option<Keeper>,
    state: State,
}

/// What pages ask.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    shelf: Option<Arc<Shelf>>,
    stats: Arc<Stats>,
    /// Why there is none although it is asked for.
    refused: Option<String>,
}

/// The thread.
pub(super) struct Keeping(Option<JoinHandle<()>>);

/// Makes the directory, before files can no longer be made elsewhere. One that cannot be made keeps nobody from
/// measuring: it is told, and there is no evidence.
pub(super) fn open(config: &Config) -> Opened {
    let settings = &config.agent.evidence;
    let mut opened = Opened { recorder: None, keeper: None, state: State::default() };
    if !settings.enabled {
        return opened;
    }
    let directory = config.agent.evidence_directory();
    let stats = Arc::clone(&opened.state.stats);
    match Shelf::open(&directory, settings.retention, Arc::clone(&stats)) {
        Ok(shelf) => {
            let shelf = Arc::new(shelf);
            let sampling = config.otlp.sampling(USUAL_SHARE);
            let (recorder, keeper) = evidence::pair(settings, sampling, Arc::clone(&shelf), &stats);
            (opened.recorder, opened.keeper) = (Some(recorder), Some(keeper));
            opened.state.shelf = Some(shelf);
        }
        Err(error) => {
            let place = directory.display();
            opened.state.refused = Some(format!("evidence cannot be kept in {place}: {error}"));
        }
    }
    opened
}

impl Opened {
    /// Directories that are written.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        self.state.shelf.iter().map(|shelf| shelf.directory().to_owned()).collect()
    }

    pub(super) fn state(&self) -> State {
        self.state.clone()
    }

    /// Starts the thread; the recorder is for the capture thread.
    pub(super) fn start(
        self,
        logs: &Logs,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>, Failure>,
    ) -> Result<(Option<Recorder>, Keeping), Failure> {
        if let Some(reason) = &self.state.refused {
            super::account::say(logs, Level::Warn, reason);
        }
        let start = |keeper: Keeper| {
            let logs = logs.clone();
            spawn(Box::new(move || keeper.run(now, |told| tell(&logs, &told))))
        };
        Ok((self.recorder, Keeping(self.keeper.map(start).transpose()?)))
    }
}

impl Keeping {
    /// The recorder is gone: what it wrote down is worked off. A thread that hangs on a disk is left behind.
    pub(super) fn finish(self) {
        leave(&self.0, FINISH);
    }
}

impl State {
    /// Whether it was asked for.
    fn is_on(&self) -> bool {
        self.shelf.is_some() || self.refused.is_some()
    }

    pub(super) fn stats(&self) -> Option<Snapshot> {
        self.is_on().then(|| self.stats.snapshot())
    }

    /// For the health page.
    pub(super) fn health(&self) -> Option<(Condition, BTreeMap<String, Value>)> {
        let stats = self.stats()?;
        let problem = self.refused.clone().or_else(|| self.shelf.as_ref()?.problem());
        let mut detail = BTreeMap::from([
            ("files".into(), json!(stats.files)),
            ("file_bytes".into(), json!(stats.file_bytes)),
            ("written".into(), json!(stats.files_written)),
            ("recorded_bytes".into(), json!(stats.sip_bytes + stats.rtp_bytes)),
        ]);
        let condition = if problem.is_some() { Condition::Degraded } else { Condition::Up };
        detail.extend(problem.map(|problem| ("problem".into(), json!(problem))));
        Some((condition, detail))
    }

    /// The file of a call; or why there is none.
    pub(super) async fn file(&self, id: &str) -> Result<Result<File, String>, Refusal> {
        let Some(shelf) = &self.shelf else {
            return Ok(Err(self.refused.clone().unwrap_or_else(|| OFF.into())));
        };
        let Some(name) = shelf.find(id) else { return Ok(Err(NONE.into())) };
        let shelf = Arc::clone(shelf);
        let read = tokio::task::spawn_blocking(move || shelf.read(&name)).await;
        match read {
            Ok(Ok(Some(file))) => Ok(Ok(file)),
            Ok(Ok(None)) => Ok(Err(NONE.into())),
            Ok(Err(error)) => Err(Refusal::Unavailable(format!("the evidence cannot be read: {error}"))),
            Err(error) => Err(Refusal::Unavailable(error.to_string())),
        }
    }
}

fn tell(logs: &Logs, told: &Told) {
    match told {
        Told::Written(written) => tell_written(logs, written),
        Told::Failed { call_id, trace, why } => {
            application(logs, Level::Warn, "evidence not written", (call_id, *trace), |line| {
                line.personal("reason", Personal::text(why));
            });
        }
        Told::Purged(purged) => {
            for file in purged {
                if logs.wants(Stream::Audit, Level::Info, COMPONENT) {
                    let at = logs.now(now());
                    let mut line =
                        Line::new(Stream::Audit, Level::Info, at, COMPONENT, "evidence purged", None);
                    line.label("file", &file.name).count("bytes", file.bytes).word("reason", file.why);
                    logs.tell(line.traced(None));
                }
            }
        }
    }
}

fn tell_written(logs: &Logs, written: &Written) {
    let of = (written.call_id.as_str(), written.trace);
    application(logs, Level::Info, "evidence written", of, |line| {
        line.label("file", &written.name).count("bytes", written.bytes);
        line.label("reason", &written.why);
        line.count("sip", written.sip).count("rtcp", written.rtcp).count("rtp", written.rtp);
        line.flag("complete", written.is_whole);
    });
}

fn application(
    logs: &Logs,
    level: Level,
    message: &'static str,
    (call_id, trace): (&str, TraceId),
    fill: impl FnOnce(&mut Line),
) {
    if logs.wants(Stream::Application, level, COMPONENT) {
        let at = logs.now(now());
        let mut line = Line::new(Stream::Application, level, at, COMPONENT, message, Some(call_id));
        fill(&mut line);
        logs.tell(line.traced(Some(trace)));
    }
}

const COMPONENT: &str = "evidence";
const OFF: &str = "no evidence is kept: evidence.enabled is false";
const NONE: &str =
    "no evidence of this call is kept: it is up, was none of the bad ones, was too long ago, or is not known";
const FINISH: Duration = Duration::from_secs(5);
