//! What the agent serves: metrics, health, live calls and streams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::journal::Journal;
use super::reload::Reload;
use super::shared::{Fact, Shared};
use super::sources::Counted;
use super::{account, clock, evidence, hep, itself, traces};
use crate::Stamp;
use crate::event::{Live, LiveCall, LiveStream};
use crate::export::prometheus::{AgentStats, Exposition, SourceStats};
use crate::http::{
    Access, Condition, Content, Download, Format, Health, Later, Part, Query, Refusal, Server,
};
use crate::process::second;
use crate::sandbox::Report;

/// The pages of one agent.
pub(super) struct Pages {
    shared: Arc<Shared>,
    server: Arc<Server>,
    reload: Arc<Reload>,
    sandbox: Report,
    /// How the second process is, where there is one.
    second: Option<second::State>,
    /// The queue to the facts thread; read by nobody here.
    queue: Receiver<Fact>,
    started: Stamp,
    journal: Journal,
    evidence: evidence::State,
}

impl Pages {
    pub(super) fn new(
        shared: Arc<Shared>,
        server: Arc<Server>,
        reload: Arc<Reload>,
        sandbox: Report,
        second: Option<second::State>,
        queue: Receiver<Fact>,
        (journal, evidence): (Journal, evidence::State),
    ) -> Self {
        Self { shared, server, reload, sandbox, second, queue, started: clock::now(), journal, evidence }
    }

    pub(super) fn reload(&self) -> &Arc<Reload> {
        &self.reload
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What the agent knows about itself.
    fn stats(&self) -> AgentStats {
        let source = |(interface, counted): (String, Counted)| SourceStats {
            interface,
            up: Some(counted.up),
            packets: Some(counted.packets),
            bytes: Some(counted.bytes),
            drops: counted.drops,
        };
        let mut stats = AgentStats {
            sources: self.shared.sources().clone().into_iter().map(source).collect(),
            events_queued: self.queue.len() as u64,
            events_lost: self.shared.lost_events.load(Ordering::Relaxed),
            http: self.server.stats().snapshot(),
            hep: self.shared.hep.borrow().clone(),
            traces: self.shared.traces.borrow().clone(),
            evidence: self.evidence.stats(),
            loki: self.shared.shipping.loki(),
            tails: self.shared.shipping.tails(),
            logs: self.journal.stats(&self.shared.logs),
            started: Some(self.started),
            ..AgentStats::default()
        };
        itself::measure(&mut stats);
        stats
    }

    /// A snapshot made after this call.
    async fn live(&self) -> Result<Arc<Live>, Refusal> {
        let mut published = self.shared.live.subscribe();
        let fresh = async {
            loop {
                self.shared.wanted.store(true, Ordering::Release);
                published.changed().await.ok()?;
                // Who comes late finds it forgotten, and asks again.
                if let Some(live) = published.borrow_and_update().clone() {
                    return Some(live);
                }
            }
        };
        match tokio::time::timeout(PATIENCE, fresh).await {
            Ok(Some(live)) => Ok(live),
            _ => Err(Refusal::Unavailable("the capture thread does not answer".into())),
        }
    }

    fn parts(&self, live: Result<Arc<Live>, Refusal>) -> Vec<Part> {
        let away = self.shared.away.load(Ordering::Relaxed);
        let dropped: u64 = self.shared.sources().values().map(|counted| counted.drops).sum();
        let lost = self.shared.lost_events.load(Ordering::Relaxed);
        let capture = match live {
            Err(refusal) => {
                (Condition::Down, BTreeMap::from([("reason".into(), json!(refusal.to_string()))]))
            }
            Ok(live) => {
                let refused = self.shared.why_refused();
                let whole = away == 0 && refused.is_none();
                let mut detail = BTreeMap::from([
                    ("packets".into(), json!(live.totals.packets)),
                    ("dropped".into(), json!(dropped)),
                    ("interfaces_away".into(), json!(away)),
                    ("calls".into(), json!(live.calls.len())),
                    ("streams".into(), json!(live.streams.len())),
                ]);
                if let Some(reason) = refused {
                    detail.insert("interfaces_refused".into(), json!(reason));
                }
                (if whole { Condition::Up } else { Condition::Degraded }, detail)
            }
        };
        let part = |name: &str, (status, detail): (Condition, _)| Part { name: name.into(), status, detail };
        let queue = BTreeMap::from([("lost_events".into(), json!(lost))]);
        let events = if lost > 0 { Condition::Degraded } else { Condition::Up };
        let weakened = if self.sandbox.is_weakened() { Condition::Degraded } else { Condition::Up };
        let mut parts = vec![
            part("capture", capture),
            part("events", (events, queue)),
            part("sandbox", (weakened, self.sandbox.detail())),
            self.reload.part(),
            self.shared.polling.part(&self.reload.processes()),
        ];
        parts.extend(self.second.as_ref().map(|second| {
            let ended = second.ended();
            let status = if ended.is_none() { Condition::Up } else { Condition::Degraded };
            let rights: Vec<_> = second.rights().iter().map(|right| right.capability()).collect();
            let mut detail = BTreeMap::from([
                ("rights".into(), json!(rights)),
                ("runs_with".into(), json!(second.sandbox())),
            ]);
            detail.extend(ended.map(|reason| ("reason".into(), json!(reason))));
            part("second_process", (status, detail))
        }));
        parts.push(part("logs", self.journal.health(&self.shared.logs)));
        parts.extend(self.journal.disk().map(|disk| part("disk", disk)));
        parts.extend(hep::health(&self.shared.hep.borrow()).map(|hep| part("hep", hep)));
        parts.extend(self.shared.traces.borrow().as_ref().map(|stats| part("otlp", traces::health(stats))));
        parts.extend(self.evidence.health().map(|evidence| part("evidence", evidence)));
        parts.extend(self.shared.shipping.health().into_iter().map(|(name, state)| part(name, state)));
        parts
    }
}

impl Content for Pages {
    fn formats(&self) -> &[Format] {
        &Format::ALL
    }

    fn metrics(&self, format: Format) -> Later<'_, Result<Vec<u8>, Refusal>> {
        Box::pin(async move {
            self.live().await?;
            let exposition = match format {
                Format::OpenMetrics => Exposition::OpenMetrics,
                Format::Classic => Exposition::Classic,
                Format::Protobuf => Exposition::Protobuf,
            };
            let stats = self.stats();
            let mut body = Vec::new();
            let begun = Instant::now();
            let mut metrics = self.shared.metrics();
            metrics.agent(&stats);
            metrics.write(exposition, &mut body).map_err(|error| Refusal::Unavailable(error.to_string()))?;
            metrics.scraped(begun.elapsed().as_secs_f64());
            Ok(body)
        })
    }

    fn health(&self) -> Later<'_, Health> {
        Box::pin(async { Health::of(self.parts(self.live().await)) })
    }

    fn ready(&self) -> Later<'_, Result<(), String>> {
        Box::pin(async { self.live().await.map(|_| ()).map_err(|refusal| refusal.to_string()) })
    }

    fn calls<'a>(&'a self, query: &'a Query) -> Later<'a, Result<Vec<u8>, Refusal>> {
        Box::pin(async {
            let limit = limit(query)?;
            let live = self.live().await?;
            let shown: Vec<&LiveCall> = live.calls.iter().take(limit).collect();
            json(&json!({ "at": live.at, "total": live.calls.len(), "calls": shown }))
        })
    }

    fn call<'a>(&'a self, id: &'a str) -> Later<'a, Result<Option<Vec<u8>>, Refusal>> {
        Box::pin(async move {
            let live = self.live().await?;
            let Some(place) = live.calls.iter().position(|call| call.call_id == id) else { return Ok(None) };
            let streams: Vec<&LiveStream> =
                live.streams.iter().filter(|stream| stream.call == Some(place as u32)).collect();
            json(&json!({ "at": live.at, "call": live.calls.get(place), "streams": streams })).map(Some)
        })
    }

    fn evidence<'a>(&'a self, id: &'a str) -> Later<'a, Result<Result<Download, String>, Refusal>> {
        Box::pin(async move {
            let file = self.evidence.file(id).await?;
            Ok(file.map(|file| Download { name: file.name, bytes: file.bytes }))
        })
    }

    fn streams<'a>(&'a self, query: &'a Query) -> Later<'a, Result<Vec<u8>, Refusal>> {
        Box::pin(async {
            let limit = limit(query)?;
            let live = self.live().await?;
            let mut worst: Vec<&LiveStream> = live.streams.iter().collect();
            let mos = |stream: &LiveStream| stream.mos.unwrap_or(f64::INFINITY);
            worst.sort_by(|one, other| mos(one).total_cmp(&mos(other)));
            worst.truncate(limit);
            json(&json!({ "at": live.at, "total": live.streams.len(), "streams": worst }))
        })
    }

    fn accessed(&self, access: &Access<'_>) {
        account::accessed(&self.shared.logs, access);
    }

    fn config(&self) -> Later<'_, Result<Vec<u8>, Refusal>> {
        Box::pin(async { json(&self.reload.document()) })
    }
}

/// Rows that are asked for, `?limit=N`.
fn limit(query: &Query) -> Result<usize, Refusal> {
    match query.first("limit") {
        None => Ok(USUAL_ROWS),
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MOST_ROWS).contains(limit))
            .ok_or_else(|| Refusal::BadQuery(format!("limit is a whole number, 1 to {MOST_ROWS}"))),
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| Refusal::Unavailable(error.to_string()))
}

/// How long a scrape waits for its snapshot.
const PATIENCE: Duration = Duration::from_secs(5);
const USUAL_ROWS: usize = 1000;
const MOST_ROWS: usize = 100_000;
