//! The thread that sends: batches in order, each until it is taken, refused for good, or too old.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
#[allow(clippy::disallowed_types, reason = "waits for another host")]
use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;
use foldhash::fast::RandomState;
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use tokio::runtime::{Builder, Runtime};

use super::endpoint::Endpoint;
use super::link::{Answer, Link};
use super::tls::Trust;
use super::{Counters, Error, Inbox, Settings};

/// Sends what is put into the outbox.
pub struct Exporter {
    settings: Settings,
    endpoint: Endpoint,
    trust: Trust,
    resource: ResourceAttributesWithSchema,
    inbox: Inbox,
    counters: Arc<Counters>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Exporter {
    pub(super) fn new(settings: Settings, inbox: Inbox, counters: Arc<Counters>) -> Result<Self, Error> {
        let endpoint = settings.endpoint.clone().ok_or(Error::Nowhere)?;
        let trust = Trust::read(&settings)?;
        let attributes =
            settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let resource = Resource::builder_empty().with_attributes(attributes).build();
        Ok(Self { resource: (&resource).into(), endpoint, trust, settings, inbox, counters })
    }

    /// Until all outboxes are gone, or `stop` is set: then what waits is sent within [`Settings::flush`].
    pub fn run(self, stop: &AtomicBool) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.counters.failed(&format!("starting a runtime: {error}")),
        };
        let mut link = {
            let _entered = runtime.enter();
            Link::new(&self.settings, &self.trust, &self.endpoint)
        };
        let mut end = None;
        loop {
            self.is_over(stop, &mut end);
            let (batch, is_last) = self.gather(stop);
            if is_last && end.is_none() {
                end = Some(now() + self.settings.flush);
            }
            if !batch.is_empty() {
                self.deliver(&runtime, &mut link, batch, stop, &mut end);
            }
            if is_last {
                return;
            }
        }
    }

    /// The next batch, and whether nothing can come any more.
    fn gather(&self, stop: &AtomicBool) -> (Vec<SpanData>, bool) {
        let mut batch: Vec<SpanData> = Vec::new();
        let mut until = None;
        while batch.len() < self.settings.batch_spans {
            let stopping = stop.load(Ordering::Acquire);
            let wait = match until {
                _ if stopping => Duration::ZERO,
                Some(until) => remaining(until).min(LOOK),
                None => LOOK,
            };
            match self.inbox.queue.recv_timeout(wait) {
                Ok(spans) => {
                    self.inbox.took(&spans);
                    until.get_or_insert_with(|| now() + self.settings.delay);
                    batch.extend(spans);
                }
                Err(RecvTimeoutError::Timeout) if stopping => return (batch, true),
                Err(RecvTimeoutError::Timeout) if until.is_some_and(|until| now() >= until) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return (batch, true),
            }
        }
        (batch, false)
    }

    /// Sends one batch until something becomes of it.
    #[allow(clippy::disallowed_types, reason = "waits for another host")]
    fn deliver(
        &self,
        runtime: &Runtime,
        link: &mut Link,
        batch: Vec<SpanData>,
        stop: &AtomicBool,
        end: &mut Option<Instant>,
    ) {
        let counters = &self.counters;
        let spans = batch.len();
        if self.is_over(stop, end) {
            return Counters::add(&counters.dropped_at_stop, spans);
        }
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        let give_up = now() + self.settings.retry;
        let mut backoff = FIRST_WAIT;
        loop {
            Counters::add(&counters.requests, 1);
            let sending = link.send(request.clone());
            let (wait, why) = match runtime.block_on(self.answer(sending, stop, end)) {
                Answer::Taken { rejected, message } => {
                    let rejected = (rejected as usize).min(spans);
                    Counters::add(&counters.sent, spans - rejected);
                    Counters::add(&counters.dropped_rejected, rejected);
                    if rejected > 0 {
                        counters.failed(&format!("the collector rejected {rejected} spans: {message}"));
                    } else {
                        counters.failing.store(false, Ordering::Relaxed);
                    }
                    return;
                }
                Answer::Never { why } => {
                    counters.failed(&why);
                    return Counters::add(&counters.dropped_refused, spans);
                }
                Answer::Later { wait, why } => (wait, why),
            };
            counters.failed(&why);
            let pause = wait.unwrap_or_else(|| jittered(backoff)).min(LONGEST_WAIT);
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
            let due = now() + pause;
            // Connections are driven meanwhile, so that one that broke is known to have broken.
            while now() < due {
                if self.is_over(stop, end) {
                    return Counters::add(&counters.dropped_at_stop, spans);
                }
                let look = remaining(due).min(LOOK);
                runtime.block_on(async { tokio::time::sleep(look).await });
                // Whoever goes does not wait out what was meant for a long life.
                if end.is_some() && wait.is_none() {
                    break;
                }
            }
            if self.is_over(stop, end) {
                return Counters::add(&counters.dropped_at_stop, spans);
            }
            if now() >= give_up {
                return Counters::add(&counters.dropped_late, spans);
            }
        }
    }

    /// What becomes of a request; one that is under way is left when the time to go has come.
    #[allow(clippy::disallowed_types, reason = "waits for another host")]
    async fn answer(
        &self,
        sending: impl Future<Output = Answer>,
        stop: &AtomicBool,
        end: &mut Option<Instant>,
    ) -> Answer {
        let mut sending = std::pin::pin!(sending);
        loop {
            tokio::select! {
                answer = &mut sending => return answer,
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.is_over(stop, end) {
                return Answer::Later { wait: None, why: "no answer before the end".into() };
            }
        }
    }

    /// Whether the time for sending what waits is over; it begins when somebody says stop.
    #[allow(clippy::disallowed_types, reason = "waits for another host")]
    fn is_over(&self, stop: &AtomicBool, end: &mut Option<Instant>) -> bool {
        if end.is_none() && stop.load(Ordering::Acquire) {
            *end = Some(now() + self.settings.flush);
        }
        end.is_some_and(|end| now() >= end)
    }
}

#[allow(clippy::disallowed_types, reason = "waits for another host")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_types, reason = "waits for another host")]
fn remaining(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// Between half of it and all of it, so that agents that lost the same collector do not return at the same moment.
fn jittered(wait: Duration) -> Duration {
    use std::hash::BuildHasher;
    let chance = RandomState::default().hash_one(0_u8) as u32;
    wait / 2 + (wait / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(100);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// However long a collector wants us to wait.
const LONGEST_WAIT: Duration = Duration::from_mins(2);
