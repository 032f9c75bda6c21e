//! Another configuration while the agent runs (DESIGN 9): all of it, or none.
//!
//! ```text
//! SIGHUP ---------------------------------------\
//! file changed, replaced, ConfigMap swapped -----+-> read, check all -> in force: observer, web configuration, pages
//!    (when it has been quiet for a moment)                        \---> or refused: the old one stays, and why is told
//! ```
//!
//! What needs a right that was given up, or a table of another size, waits for a restart ([`Taken::Restart`]) and is told
//! by name; the rest of the file is taken all the same.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, mem};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::Settings;
use super::account;
use super::clock::now;
use super::shared::{Orders, Shared};
use super::sources;
use crate::Stamp;
use crate::config::effective::{Change, Taken, difference};
use crate::config::{self, Config, Problem};
use crate::export::prometheus;
use crate::http::{Condition, Part, Server, WebConfig};
use crate::log::{self, Level};
use crate::observer;
use crate::process;
use crate::sandbox::directories_of;

/// Where a configuration comes from, to be read again.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
}

/// The configuration in force, and how it got there.
#[derive(Debug)]
pub(super) struct Reload {
    origin: Origin,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Config,
    since: Stamp,
    reloads: u64,
    refused: Option<Refused>,
    /// Keys whose new value waits for a restart.
    waiting: Vec<&'static str>,
    /// All files that count, as they were when they were last looked at.
    contents: Vec<(PathBuf, u64)>,
    watched: bool,
}

#[derive(Debug)]
struct Refused {
    at: Stamp,
    reasons: Vec<String>,
}

impl Reload {
    pub(super) fn new(origin: Origin, config: Config, web: &WebConfig, shared: Arc<Shared>) -> Self {
        let contents = contents(&origin, web);
        let state = State {
            config,
            since: now(),
            reloads: 0,
            refused: None,
            waiting: Vec::new(),
            contents,
            watched: false,
        };
        Self { origin, shared, state: Mutex::new(state) }
    }

    /// Directories that are looked into again.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let mut directories: Vec<_> =
            self.state().contents.iter().flat_map(|(file, _)| directories_of(file)).collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// The configuration in force, without its secrets.
    pub(super) fn document(&self) -> Value {
        self.state().config.document()
    }

    /// Which processes are to be looked at.
    pub(super) fn processes(&self) -> process::Settings {
        self.state().config.agent.processes.clone()
    }

    /// For `/health`.
    pub(super) fn part(&self) -> Part {
        let state = self.state();
        let mut detail = BTreeMap::from([
            ("since".into(), json!(state.since)),
            ("reloads".into(), json!(state.reloads)),
            ("watched".into(), json!(state.watched)),
        ]);
        if let Some(file) = &self.origin.file {
            detail.insert("file".into(), json!(file));
        }
        if !state.waiting.is_empty() {
            detail.insert("waiting_for_restart".into(), json!(state.waiting));
        }
        if let Some(Refused { at, reasons }) = &state.refused {
            detail.insert("refused".into(), json!({ "at": at, "reasons": reasons }));
        }
        let status = if state.refused.is_some() { Condition::Degraded } else { Condition::Up };
        Part { name: "configuration".into(), status, detail }
    }

    /// Reloads whenever it is asked for, for as long as the agent lives.
    pub(super) async fn follow(self: Arc<Self>, server: Arc<Server>, mut hangup: Signal) {
        // One place: what changes while a reload is under way is looked at once more.
        let (told, mut changed) = mpsc::channel(1);
        let mut watcher = self.watcher(told);
        loop {
            self.watch(watcher.as_mut());
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                Some(()) = changed.recv() => {
                    settle(&mut changed).await;
                    false
                }
            };
            let (reload, server) = (Arc::clone(&self), Arc::clone(&server));
            let reloaded = tokio::task::spawn_blocking(move || reload.again(asked, &server)).await;
            if let Err(error) = reloaded {
                self.say(Level::Error, &format!("the reload broke off: {error}"));
            }
        }
    }

    /// Reads everything again. Without being asked, only if something is different.
    fn again(&self, asked: bool, server: &Server) {
        let before = self.state().contents.clone();
        if !asked && before.iter().all(|(file, was)| digest(file) == *was) {
            return;
        }
        // The service manager need not be there, nor a clock that it can compare.
        let begun: Vec<_> = [Some(NotifyState::Reloading), NotifyState::monotonic_usec_now().ok()]
            .into_iter()
            .flatten()
            .collect();
        let _ = sd_notify::notify(&begun);
        let status = match read(&self.origin) {
            Ok((config, web)) => self.take(config, web, &before, server),
            Err((problems, web_config)) => self.refuse(&problems, web_config, &before),
        };
        let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    fn take(&self, config: Config, web: WebConfig, before: &[(PathBuf, u64)], server: &Server) -> String {
        let mut state = self.state();
        let changes = difference(&state.config, &config);
        state.contents = contents(&self.origin, &web);
        // Connections are closed with it: not when only the other file has changed.
        let of_web = |contents: &[(PathBuf, u64)]| -> Vec<(PathBuf, u64)> {
            let is_own = |(file, _): &&(PathBuf, u64)| Some(file) == self.origin.file.as_ref();
            contents.iter().filter(|entry| !is_own(entry)).cloned().collect()
        };
        if of_web(&state.contents) != of_web(before) {
            server.reload(web);
        }
        let old = mem::take(&mut state.config);
        state.config = in_force(old, config);
        self.shared.order(Orders {
            observer: state.config.observing(),
            interfaces: state.config.agent.capture.interfaces.clone(),
        });
        self.shared.polling.order(state.config.agent.processes.clone());
        self.shared.metrics().configure(state.config.metrics.clone());
        let logs = &state.config.agent.logs;
        self.shared.logs.configure(logs.filter.clone(), logs.rate, logs.mos_below);
        self.shared.logs.rekey();
        state.since = now();
        state.reloads += 1;
        state.refused = None;
        let waits = |change: &&Change| change.taken == Taken::Restart;
        state.waiting = changes.iter().filter(waits).map(|change| change.key).collect();
        drop(state);
        let what = if changes.is_empty() {
            "configuration read again: no setting differs"
        } else {
            "configuration read again and taken"
        };
        self.say(Level::Info, what);
        for change in &changes {
            let when = if waits(&change) { ", after a restart" } else { "" };
            self.say(Level::Info, &format!("{change}{when}"));
        }
        account::reloaded(&self.shared.logs, &changes);
        "configuration read again and taken".into()
    }

    /// `web_config` is the file that the new configuration names, if it came so far.
    fn refuse(&self, problems: &[Problem], web_config: Option<PathBuf>, before: &[(PathBuf, u64)]) -> String {
        let mut reasons: Vec<String> = problems.iter().map(Problem::to_string).collect();
        if reasons.iter().any(|reason| reason.contains("Permission denied")) {
            let directories = self.directories();
            reasons.push(format!(
                "only these directories can be read since the start: {}; a file elsewhere needs a restart",
                directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
            ));
        }
        self.say(Level::Error, "reload refused, the configuration in use stays:");
        for reason in &reasons {
            self.say(Level::Error, reason);
        }
        account::reload_refused(&self.shared.logs, &reasons);
        let status = format!(
            "reload refused, the old configuration stays: {}",
            reasons.first().map_or("", String::as_str)
        );
        let mut state = self.state();
        // Not refused again until something changes once more: of what was read before, or what could not be read.
        let mut files: Vec<_> = before.iter().map(|(file, _)| file.clone()).chain(web_config).collect();
        files.sort();
        files.dedup();
        state.contents = files.into_iter().map(|file| (file.clone(), digest(&file))).collect();
        state.refused = Some(Refused { at: now(), reasons });
        status
    }

    /// Tells of whatever may have changed a file. `None`: there is no watching here.
    fn watcher(&self, told: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        if self.state().contents.is_empty() {
            return None;
        }
        let tell = move |event: notify::Result<notify::Event>| {
            // Reading is no change, else each reload would cause the next one.
            let read_only = |kind: EventKind| match kind {
                EventKind::Access(access) => access != AccessKind::Close(AccessMode::Write),
                _ => false,
            };
            if event.is_ok_and(|event| !read_only(event.kind)) {
                // Full: it is told already.
                let _ = told.try_send(());
            }
        };
        notify::recommended_watcher(tell)
            .inspect_err(|error| {
                self.say(Level::Warn, &format!("files are not watched, SIGHUP reloads: {error}"));
            })
            .ok()
    }

    /// Watches the directories, in which files are replaced and links are turned, and the files themselves, which may be
    /// mounted one by one. Again after each reload: a file that was replaced is another one.
    fn watch(&self, watcher: Option<&mut notify::RecommendedWatcher>) {
        let Some(watcher) = watcher else { return };
        let files = self.state().contents.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>();
        let watched =
            self.directories().iter().all(|path| watcher.watch(path, RecursiveMode::NonRecursive).is_ok());
        for file in files {
            // It may be missing for a moment; its directory tells when it is back.
            let _ = watcher.watch(&file, RecursiveMode::NonRecursive);
        }
        self.state().watched = watched;
    }

    fn say(&self, level: Level, what: &str) {
        account::say(&self.shared.logs, level, what);
    }

    /// Each step leaves it whole, so a thread that died left nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of another configuration comes into force at once, over what was.
fn in_force(old: Config, new: Config) -> Config {
    let observer = observer::Settings { limits: old.observer.limits, ..new.observer };
    let metrics = prometheus::Options {
        series_max: old.metrics.series_max,
        sampling: old.metrics.sampling,
        ..new.metrics
    };
    let capture = sources::Settings { interfaces: new.agent.capture.interfaces, ..old.agent.capture };
    let (web_config, gpu) = (new.agent.web_config, old.agent.processes.gpu);
    let processes = process::Settings { gpu, ..new.agent.processes };
    let (filter, rate, mos_below) = (new.agent.logs.filter, new.agent.logs.rate, new.agent.logs.mos_below);
    let logs = log::Settings { filter, rate, mos_below, ..old.agent.logs };
    let agent = Settings { capture, web_config, processes, logs, ..old.agent };
    Config { observer, agent, metrics, otlp: old.otlp }
}

/// Both files; or what is wrong, and which of them was to be the second.
fn read(origin: &Origin) -> Result<(Config, WebConfig), (Vec<Problem>, Option<PathBuf>)> {
    let config =
        config::load(origin.file.as_deref(), &origin.variables).map_err(|problems| (problems, None))?;
    let web = match &config.agent.web_config {
        Some(file) => WebConfig::load(file).map_err(|problems| (problems, Some(file.clone())))?,
        None => WebConfig::default(),
    };
    Ok((config, web))
}

/// All files that count, and what is in them.
fn contents(origin: &Origin, web: &WebConfig) -> Vec<(PathBuf, u64)> {
    let files = origin.file.iter().chain(web.files());
    files.map(|file| (file.clone(), digest(file))).collect()
}

fn digest(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    fs::read(file).ok().hash(&mut hasher);
    hasher.finish()
}

/// Waits until nothing has changed for a moment: a file is not written in one piece, nor a directory.
async fn settle(changed: &mut mpsc::Receiver<()>) {
    for _ in 0..MOST_MOMENTS {
        tokio::time::sleep(MOMENT).await;
        if changed.try_recv().is_err() {
            break;
        }
    }
}

const MOMENT: Duration = Duration::from_millis(200);
/// Who writes without a pause is not waited for.
const MOST_MOMENTS: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        config::read("s.toml", text, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn what_comes_into_force_is_what_is_said_to() {
        let (old, new) = (Config::default(), config(crate::config::EVERY_KEY));
        let differs = difference(&old, &new);
        assert_eq!(differs.len(), old.settings().len(), "the text sets every key to another value");
        let now = in_force(old.clone(), new.clone());
        assert!(difference(&old, &now).iter().all(|change| change.taken == Taken::Now));
        assert!(difference(&now, &new).iter().all(|change| change.taken == Taken::Restart));
    }

    #[test]
    fn a_file_that_changes_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("s.toml");
        let missing = digest(&file);
        fs::write(&file, "").unwrap();
        let empty = digest(&file);
        fs::write(&file, "x").unwrap();
        assert!(missing != empty && empty != digest(&file));
        fs::write(&file, "").unwrap();
        assert_eq!(empty, digest(&file));
    }
}
