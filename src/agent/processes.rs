//! The thread that looks at the processes beside the calls, and at the host (DESIGN 6).
//!
//! ```text
//! every `poll.interval_seconds`, or at once when a reload changes something: Poller::poll -> metrics, health
//! ```
//!
//! It is started after all rights are given up, and asks others for what takes one ([`Privileged`]).

#![allow(clippy::disallowed_types, reason = "the shell may look at a clock")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::shared::Shared;
use crate::http::{Condition, Part};
use crate::process::host::Gpus;
use crate::process::{Poller, Privileged, Settings, Snapshot};
use crate::sandbox::directories_of;

/// What the thread is told, and what it tells.
#[derive(Debug, Default)]
pub(super) struct Polling {
    orders: Mutex<Orders>,
    changed: Condvar,
    last: Mutex<Option<Arc<Snapshot>>>,
}

#[derive(Debug, Default)]
struct Orders {
    settings: Option<Settings>,
    ended: bool,
}

/// What the thread is to do.
#[derive(Debug, PartialEq)]
enum Next {
    Poll,
    /// Poll, with other settings.
    Change(Settings),
    End,
}

impl Polling {
    /// Other settings from now on.
    pub(super) fn order(&self, settings: Settings) {
        whole(&self.orders).settings = Some(settings);
        self.changed.notify_all();
    }

    /// The agent goes down.
    pub(super) fn end(&self) {
        whole(&self.orders).ended = true;
        self.changed.notify_all();
    }

    /// Waits for orders, until it is time for the next poll.
    fn wait(&self, time: Duration) -> Next {
        let orders = whole(&self.orders);
        let waits = |orders: &mut Orders| !orders.ended && orders.settings.is_none();
        let (mut orders, _) =
            self.changed.wait_timeout_while(orders, time, waits).unwrap_or_else(PoisonError::into_inner);
        match orders.settings.take() {
            _ if orders.ended => Next::End,
            Some(settings) => Next::Change(settings),
            None => Next::Poll,
        }
    }

    /// For `/health`: what is followed, what is missing, why, and what to do about it.
    pub(super) fn part(&self, settings: &Settings) -> Part {
        let last = whole(&self.last).clone();
        let (status, detail) = match last {
            None => (Condition::Up, BTreeMap::from([("polls".into(), json!(0))])),
            Some(snapshot) => (condition(&snapshot, settings), detail(&snapshot)),
        };
        Part { name: "processes".into(), status, detail }
    }
}

/// Directories and files that the thread reads.
pub(super) fn reads(settings: &Settings) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = ["/proc", "/sys/fs/cgroup", "/sys/block"].map(PathBuf::from).into();
    paths.extend(settings.rules.iter().filter_map(|rule| rule.pid_file.as_deref()).flat_map(directories_of));
    paths
}

/// Looks until it is told that it is over.
pub(super) fn run(shared: &Shared, settings: Settings, privileged: Box<dyn Privileged>, gpus: Gpus) {
    let begun = Instant::now();
    let mut interval = Duration::from_secs(settings.interval_seconds);
    let mut poller = Poller::new(settings, privileged).with_gpus(gpus);
    loop {
        let polled = Instant::now();
        poller.watch_interfaces(captured(shared));
        let snapshot = Arc::new(poller.poll(begun.elapsed().as_secs_f64()));
        shared.metrics().processes(&snapshot);
        *whole(&shared.polling.last) = Some(snapshot);
        match shared.polling.wait(interval.saturating_sub(polled.elapsed())) {
            Next::End => return,
            Next::Poll => {}
            Next::Change(settings) => {
                interval = Duration::from_secs(settings.interval_seconds);
                poller.configure(settings);
            }
        }
    }
}

/// The interfaces that are captured on; none = all.
fn captured(shared: &Shared) -> Vec<String> {
    let names: Vec<_> = shared.sources().keys().cloned().collect();
    if names.iter().any(|name| name == "any") { Vec::new() } else { names }
}

/// What lacks a right is as it should be; what was asked for by name and cannot be had is not.
fn condition(snapshot: &Snapshot, settings: &Settings) -> Condition {
    let asked = ["pid_file", "allocations"];
    let denied = snapshot.lacks.keys().any(|lack| asked.contains(&lack.figure));
    let hidden = snapshot.is_hidden && !settings.rules.is_empty();
    if denied || hidden || snapshot.poller.refused > 0 { Condition::Degraded } else { Condition::Up }
}

fn detail(snapshot: &Snapshot) -> BTreeMap<String, serde_json::Value> {
    let groups: BTreeMap<_, _> =
        snapshot.groups.iter().map(|group| (group.name.as_str(), group.processes)).collect();
    let missing: Vec<_> = snapshot
        .lacks
        .iter()
        .map(|(lack, groups)| {
            json!({ "figure": lack.figure, "processes": groups, "reason": lack.reason, "hint": lack.hint })
        })
        .collect();
    let mut detail = BTreeMap::from([
        ("polls".into(), json!(snapshot.poller.polls)),
        ("groups".into(), json!(groups)),
        ("missing".into(), json!(missing)),
    ]);
    if snapshot.is_hidden {
        detail.insert("hidden".into(), json!({ "reason": HIDDEN, "hint": SHOW }));
    }
    if snapshot.poller.refused > 0 {
        detail.insert("refused".into(), json!(snapshot.poller.refused));
    }
    detail
}

/// Each change leaves it whole, so a thread that died left nothing half done.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const HIDDEN: &str = "/proc hides the processes of others";
const SHOW: &str = "as a service: install systemd/sidetone.service.d/processes.conf (ProtectProc=default); else mount /proc \
                    without hidepid; in a pod: shareProcessNamespace, or hostPID";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::process::snapshot::Lack;
    use crate::process::{Missing, Right, Rule};

    fn lacking(figure: &'static str) -> Snapshot {
        let lack =
            Lack { figure, reason: Missing::Right(Right::Ptrace).to_string(), hint: Right::Ptrace.hint() };
        Snapshot {
            lacks: BTreeMap::from([(lack, BTreeSet::from(["kamailio".into()]))]),
            ..Snapshot::default()
        }
    }

    #[test]
    fn what_was_not_asked_for_by_name_may_be_missing() {
        let plain = Settings::default();
        let given = Settings { rules: vec![Rule::named("kamailio")], ..Settings::default() };
        assert_eq!(condition(&lacking("proportional_memory"), &given), Condition::Up);
        assert_eq!(condition(&lacking("allocations"), &given), Condition::Degraded);
        let hidden = Snapshot { is_hidden: true, ..Snapshot::default() };
        assert_eq!(condition(&hidden, &plain), Condition::Up);
        assert_eq!(condition(&hidden, &given), Condition::Degraded);
    }

    #[test]
    fn health_names_what_is_missing_and_how_to_give_it() {
        let detail = detail(&Snapshot { is_hidden: true, ..lacking("proportional_memory") });
        let missing = &detail["missing"][0];
        assert_eq!(missing["processes"], json!(["kamailio"]));
        assert!(missing["reason"].as_str().unwrap().contains("CAP_SYS_PTRACE"));
        assert!(missing["hint"].as_str().unwrap().contains("sidetone.service.d"));
        assert!(detail["hidden"]["hint"].as_str().unwrap().contains("ProtectProc=default"));
    }

    #[test]
    fn orders_wake_it_and_the_end_ends_it() {
        let polling = Polling::default();
        assert_eq!(polling.wait(Duration::ZERO), Next::Poll);
        let settings = Settings { interval_seconds: 7, ..Settings::default() };
        polling.order(settings.clone());
        assert_eq!(polling.wait(Duration::from_mins(1)), Next::Change(settings));
        polling.end();
        assert_eq!(polling.wait(Duration::from_mins(1)), Next::End);
    }
}
