//! Families about the agent itself (DESIGN 4, MEAS A.3): its sources, its queue, its listener, what it costs.

use crate::Stamp;
use crate::http::Snapshot;

use super::evidence::EvidenceMetrics;
use super::family::{Counters, Declare, Gauges, Histograms, ReadyHistograms, RealCounters, RealGauges};
use super::hep::{HepMetrics, HepStats};
use super::logs::{LogMetrics, LogStats};
use super::ready::ReadyHistogram;
use super::shipping::ShippingMetrics;
use super::traces::{TraceMetrics, TraceStats};

/// What the agent knows about itself, as totals since it started. What it does not know is absent.
#[derive(Clone, Debug, Default)]
pub struct AgentStats {
    /// Where packets come from.
    pub sources: Vec<SourceStats>,
    /// Facts that wait for the exporters.
    pub events_queued: u64,
    /// Facts that found the queue full.
    pub events_lost: u64,
    /// What the listener counts.
    pub http: Snapshot,
    /// What HEP has done.
    pub hep: HepStats,
    /// What became of traces; `None` where there are none.
    pub traces: Option<TraceStats>,
    /// What became of evidence; `None` where there is none.
    pub evidence: Option<crate::evidence::Snapshot>,
    /// What was sent to Loki; `None` where nothing is.
    pub loki: Option<crate::export::loki::Counters>,
    /// What was read of other programs' files.
    pub tails: Vec<crate::tail::Stats>,
    /// What the logs have done.
    pub logs: LogStats,
    /// When the agent started.
    pub started: Option<Stamp>,
    /// Processor time of the whole process.
    pub cpu_seconds: Option<f64>,
    /// Resident memory of the process.
    pub resident_bytes: Option<u64>,
    /// File descriptors that are open.
    pub open_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// What one source of packets counts, as totals since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Name of the interface, `any`, or the name of another source.
    pub interface: String,
    /// Whether it is there; `None` where that is not known of each source.
    pub up: Option<bool>,
    /// Packets taken.
    pub packets: Option<u64>,
    /// Bytes of those packets on the wire.
    pub bytes: Option<u64>,
    /// Packets the kernel dropped because nobody took them in time.
    pub drops: u64,
}

#[derive(Debug)]
pub(super) struct AgentMetrics {
    up: Gauges<1>,
    packets: Counters<1>,
    bytes: Counters<1>,
    drops: Counters<1>,
    queued: Gauges<0>,
    lost: Counters<0>,
    scrape: Histograms<0>,
    started: RealGauges<0>,
    cpu: RealCounters<0>,
    resident: Gauges<0>,
    open_fds: Gauges<0>,
    threads: Gauges<0>,
    http: HttpMetrics,
    hep: HepMetrics,
    traces: TraceMetrics,
    evidence: EvidenceMetrics,
    shipping: ShippingMetrics,
    logs: LogMetrics,
}

impl AgentMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            up: on.gauge(
                "sidetone_interface_up",
                INTERFACE,
                "Whether a source of packets is there: 1, or 0 while it is away",
            ),
            packets: on.counter("sidetone_interface_packets", INTERFACE, "Packets taken from a source"),
            bytes: on.counter("sidetone_interface_bytes", INTERFACE, "Bytes of those packets on the wire"),
            drops: on.counter(
                "sidetone_capture_drops",
                INTERFACE,
                "Packets the kernel dropped at the tap because they were not taken in time",
            ),
            queued: on.gauge("sidetone_events_queued", &[], "Facts that wait for the exporters"),
            lost: on.counter("sidetone_events_lost", &[], "Facts that found the queue to the exporters full"),
            scrape: on.histogram(
                "sidetone_scrape_duration_seconds",
                &[],
                SCRAPE,
                "Time it took to write the metrics, scrapes before this one",
            ),
            started: on.real_gauge("sidetone_start_time_seconds", &[], "When the agent started, Unix time"),
            cpu: on.real_counter("sidetone_cpu_seconds", &[], "Processor time of the agent, user and system"),
            resident: on.gauge("sidetone_resident_memory_bytes", &[], "Resident memory of the agent"),
            open_fds: on.gauge("sidetone_open_fds", &[], "File descriptors the agent has open"),
            threads: on.gauge("sidetone_threads", &[], "Threads of the agent"),
            http: HttpMetrics::declare(on),
            hep: HepMetrics::declare(on),
            traces: TraceMetrics::declare(on),
            evidence: EvidenceMetrics::declare(on),
            shipping: ShippingMetrics::declare(on),
            logs: LogMetrics::declare(on),
        }
    }

    pub(super) fn set(&self, stats: &AgentStats, tail_overflow: Option<u64>) {
        self.up.clear();
        for source in &stats.sources {
            let interface = || [source.interface.clone().into()];
            if let Some(up) = source.up {
                self.up.set(interface(), u64::from(up));
            }
            for (counter, total) in [(&self.packets, source.packets), (&self.bytes, source.bytes)] {
                if let Some(total) = total {
                    counter.rise_to(interface(), total);
                }
            }
            self.drops.rise_to(interface(), source.drops);
        }
        self.queued.set([], stats.events_queued);
        self.lost.rise_to([], stats.events_lost);
        if let Some(started) = stats.started {
            self.started.set([], started.seconds_since(Stamp(0)));
        }
        if let Some(seconds) = stats.cpu_seconds.filter(|seconds| seconds.is_finite()) {
            self.cpu.rise_to([], seconds);
        }
        for (gauge, value) in [
            (&self.resident, stats.resident_bytes),
            (&self.open_fds, stats.open_fds),
            (&self.threads, stats.threads),
        ] {
            if let Some(value) = value {
                gauge.set([], value);
            }
        }
        self.http.set(&stats.http);
        self.hep.set(&stats.hep);
        if let Some(traces) = &stats.traces {
            self.traces.set(traces);
        }
        if let Some(evidence) = &stats.evidence {
            self.evidence.set(evidence);
        }
        self.shipping.set(stats.loki.as_ref(), &stats.tails, tail_overflow);
        self.logs.set(&stats.logs);
    }

    pub(super) fn scraped(&self, seconds: f64) {
        self.scrape.observe([], Some(seconds));
    }
}

/// The listener (DESIGN 5).
#[derive(Debug)]
struct HttpMetrics {
    requests: Counters<3>,
    duration: ReadyHistograms<1>,
    rate_limit_hits: Counters<2>,
    connections: Counters<0>,
    open: Gauges<0>,
    refused: Counters<0>,
    errors: Counters<1>,
    auth_failures: Counters<0>,
}

impl HttpMetrics {
    fn declare(on: &mut Declare) -> Self {
        Self {
            requests: on.counter(
                "sidetone_http_requests",
                &["path", "method", "status"],
                "Requests to the agent that were answered, by path template",
            ),
            duration: on.ready_histogram(
                "sidetone_http_request_duration_seconds",
                &["path"],
                "Time it took to make an answer, by path template",
            ),
            rate_limit_hits: on.counter(
                "sidetone_http_rate_limit_hits",
                &["endpoint", "client_type"],
                "Requests that were refused because their client sent too many",
            ),
            connections: on.counter("sidetone_http_connections", &[], "Connections to the agent"),
            open: on.gauge("sidetone_http_connections_open", &[], "Connections to the agent that are up"),
            refused: on.counter(
                "sidetone_http_connections_refused",
                &[],
                "Connections closed at once because there were too many",
            ),
            errors: on.counter(
                "sidetone_http_errors",
                &["reason"],
                "Connections and requests that came to no good end, by what went wrong",
            ),
            auth_failures: on.counter(
                "sidetone_http_auth_failures",
                &[],
                "Requests with missing or wrong credentials",
            ),
        }
    }

    fn set(&self, http: &Snapshot) {
        for row in &http.requests {
            let labels = [row.path.into(), row.method.into(), row.status.to_string().into()];
            self.requests.rise_to(labels, row.count);
        }
        for row in &http.durations {
            let histogram = ReadyHistogram::of_cumulative(&row.buckets, row.sum_seconds);
            self.duration.copy([row.path.into()], &histogram);
        }
        for row in &http.rate_limit_hits {
            let labels = [row.endpoint.into(), row.client_type.as_str().into()];
            self.rate_limit_hits.rise_to(labels, row.count);
        }
        self.connections.rise_to([], http.connections);
        self.open.set([], http.connections_open);
        self.refused.rise_to([], http.connections_refused);
        for (reason, count) in [
            ("accept", http.accept_errors),
            ("tls", http.tls_failures),
            ("header_timeout", http.header_timeouts),
            ("request_timeout", http.request_timeouts),
            ("send_timeout", http.send_timeouts),
            ("idle_timeout", http.idle_timeouts),
            ("malformed", http.malformed),
        ] {
            self.errors.rise_to([reason.into()], count);
        }
        self.auth_failures.rise_to([], http.auth_failures);
    }
}

const INTERFACE: &[&str; 1] = &["interface"];
const SCRAPE: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];
