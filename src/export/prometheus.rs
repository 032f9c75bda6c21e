//! The metrics: every family declared once, fed by facts, written as OpenMetrics, classic text or protobuf
//! (DESIGN 4; MEAS 6.6 and appendix A).
//!
//! ```text
//! Event      (as it happens) \                              / OpenMetrics text -> classic text (0.0.4)
//! Live       (each scrape)    +-> Metrics -> prometheus-client \ protobuf, with native histograms
//! AgentStats (each scrape)   /       | \-> worst sessions, by hand, behind each of them
//!                                    \---> catalogue -> docs/metrics.md
//! ```
//!
//! Labels come from closed sets, or from sets that are cut off: a SIP method or status code that no register knows
//! is `other`, and so is each label combination beyond [`Options::series_max`] of a family.

pub mod catalogue;
pub mod text;

mod agent;
mod evidence;
mod exemplar;
mod family;
mod hep;
mod host;
mod live;
mod logs;
mod media;
mod observer;
mod process;
mod protobuf;
mod ready;
mod sessions;
mod shipping;
mod sip;
mod siprec;
mod traces;
mod trunk;

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::Arc;

use foldhash::fast::RandomState;
use prometheus_client::encoding::{prometheus_protobuf, text as openmetrics};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::call::classify::Network;
use crate::event::{Call, CallResult, Event, Live, Sink, StreamCounts, Totals};
use crate::process::Snapshot;
use crate::tail::metric::Families;
use crate::trace::Sampling;
use catalogue::Entry;
use family::Declare;

pub use agent::{AgentStats, SourceStats};
pub use hep::HepStats;
pub use logs::LogStats;
pub use traces::TraceStats;
pub use trunk::{Peer, Trunk};

/// All metric families, and the registry they are written from.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    catalogue: Vec<Entry>,
    sip: sip::SipMetrics,
    media: media::MediaMetrics,
    observer: observer::ObserverMetrics,
    live: live::LiveMetrics,
    sessions: sessions::Sessions,
    trunk: trunk::TrunkMetrics,
    siprec: siprec::SiprecMetrics,
    agent: agent::AgentMetrics,
    process: process::ProcessMetrics,
    host: host::HostMetrics,
    exemplars: exemplar::Exemplars,
    trunks: trunk::Trunks,
    local: siprec::Local,
    aliases: bool,
    sessions_max: usize,
    /// Those that rules make of log lines.
    tail: Option<Arc<Families>>,
}

/// What is served, and how much of it at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Serve the names of the SIPREC dashboards too (DESIGN 4).
    pub aliases: bool,
    /// Live streams with gauges of their own.
    pub sessions_max: usize,
    /// Label combinations of each family; not changed by [`Metrics::configure`].
    pub series_max: usize,
    /// Addresses of this host: what the aliases call received and sent is seen from them.
    pub local: Vec<Network>,
    /// Ports of this host's media, for the alias of those in use.
    pub rtp_ports: RangeInclusive<u16>,
    /// Trunks, the first that fits an endpoint counts.
    pub trunks: Vec<Trunk>,
    /// Which calls are told as traces, for exemplars that lead somewhere; `None` where none are. Like `series_max`.
    pub sampling: Option<Sampling>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            aliases: false,
            sessions_max: 200,
            series_max: 2000,
            local: Vec::new(),
            rtp_ports: 1024..=65_535,
            trunks: Vec::new(),
            sampling: None,
        }
    }
}

/// Which exposition format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// `application/openmetrics-text; version=1.0.0`, with exemplars.
    OpenMetrics,
    /// `text/plain; version=0.0.4`.
    Classic,
    /// Delimited `io.prometheus.client.MetricFamily` messages, with native histograms beside the classic buckets.
    Protobuf,
}

impl Metrics {
    /// Declares every family, with the usual bounds.
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    /// Declares every family.
    pub fn with(options: Options) -> Self {
        let mut declare = Declare::new(options.series_max);
        let sip = sip::SipMetrics::declare(&mut declare);
        let media = media::MediaMetrics::declare(&mut declare);
        let sessions = sessions::Sessions::declare(&mut declare);
        let live = live::LiveMetrics::declare(&mut declare);
        let trunk = trunk::TrunkMetrics::declare(&mut declare);
        let observer = observer::ObserverMetrics::declare(&mut declare);
        let process = process::ProcessMetrics::declare(&mut declare);
        let host = host::HostMetrics::declare(&mut declare);
        let agent = agent::AgentMetrics::declare(&mut declare);
        let siprec = siprec::SiprecMetrics::declare(&mut declare);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        declare.registry.register("sidetone_build", "Version of this program", build);
        declare.list("sidetone_build_info".to_owned(), "gauge", &["version"], "Version of this program");
        let Declare { registry, catalogue, .. } = declare;
        let mut metrics = Self {
            registry,
            catalogue,
            sip,
            media,
            observer,
            live,
            sessions,
            trunk,
            siprec,
            agent,
            process,
            host,
            exemplars: exemplar::Exemplars::default(),
            trunks: trunk::Trunks::default(),
            local: siprec::Local { networks: Vec::new(), ports: options.rtp_ports.clone() },
            aliases: false,
            sessions_max: 0,
            tail: None,
        };
        metrics.configure(options);
        metrics
    }

    /// Serves what rules make of log lines too.
    #[must_use]
    pub fn with_tail(mut self, families: Option<Arc<Families>>) -> Self {
        self.tail = families;
        self
    }

    /// Other options from now on, but for `series_max`. What was counted stays.
    pub fn configure(&mut self, options: Options) {
        let Options { aliases, sessions_max, series_max: _, local, rtp_ports, trunks, sampling } = options;
        self.exemplars.sampling = sampling;
        self.aliases = aliases;
        self.sessions_max = sessions_max;
        self.local = siprec::Local { networks: local, ports: rtp_ports };
        self.trunks = trunk::Trunks::new(trunks);
    }

    /// Takes the counters of the input so far; may be called any number of times.
    pub fn add(&mut self, totals: &Totals) {
        let news = self.live.news(totals);
        self.sip.add(&news);
        self.observer.add(&news);
        if self.aliases {
            self.siprec.add(&news);
        }
    }

    /// Takes what is up, in its turn among the events: gauges as they stand, and the counters of streams that live.
    /// To be called before each scrape.
    pub fn live(&mut self, live: &Live) {
        self.add(&live.totals);
        let mut news_of_labels = HashMap::<_, _, RandomState>::default();
        for (stream, news) in self.live.news_of_streams(live) {
            let sum: &mut StreamCounts = news_of_labels.entry((stream.codec, stream.direction)).or_default();
            live::add(sum, &news);
            if self.aliases {
                self.siprec.counted(&self.local, stream.source, stream.destination, &news);
            }
        }
        for ((codec, direction), news) in &news_of_labels {
            self.media.counted(*codec, *direction, news);
        }
        self.live.set(live);
        self.sip.set_live(live);
        self.sessions.set(live, self.sessions_max);
        self.trunk.set(&self.trunks, live);
        if self.aliases {
            self.siprec.set(&self.local, live);
        }
    }

    /// Takes what the agent knows about itself. To be called before each scrape.
    pub fn agent(&mut self, stats: &AgentStats) {
        let overflow = self.tail.as_ref().map(|tail| tail.overflow());
        self.agent.set(stats, overflow);
    }

    /// Takes what a look at the processes and the host has found.
    pub fn processes(&mut self, snapshot: &Snapshot) {
        self.process.set(&snapshot.groups, &snapshot.poller);
        match &snapshot.host {
            Some(host) => self.host.set(host),
            None => self.host.clear(),
        }
    }

    /// Notes how long it took to make a scrape's answer.
    pub fn scraped(&mut self, seconds: f64) {
        self.agent.scraped(seconds);
    }

    /// Writes all families that have a value.
    pub fn write(&self, exposition: Exposition, out: &mut impl Write) -> io::Result<()> {
        let mut body = Vec::new();
        match exposition {
            Exposition::OpenMetrics => {
                body = self.exemplars.put_into(self.text()?).into_bytes();
                self.sessions.write_text(&mut body);
                body.extend_from_slice(b"# EOF\n");
            }
            Exposition::Classic => {
                text::write_classic(&self.text()?, &mut body)?;
                self.sessions.write_text(&mut body);
            }
            Exposition::Protobuf => {
                body = prometheus_protobuf::encode_to_vec(&self.registry).map_err(io::Error::other)?;
                body = self.exemplars.put_into_protobuf(body);
                if let Some(tail) = &self.tail {
                    let rules = prometheus_protobuf::encode_to_vec(tail.registry());
                    body.extend(rules.map_err(io::Error::other)?);
                }
                self.sessions.write_protobuf(&mut body);
            }
        }
        out.write_all(&body)
    }

    /// The families of the registry as OpenMetrics text, without its end marker.
    fn text(&self) -> io::Result<String> {
        let mut body = String::new();
        openmetrics::encode_registry(&mut body, &self.registry).map_err(io::Error::other)?;
        if let Some(tail) = &self.tail {
            openmetrics::encode_registry(&mut body, tail.registry()).map_err(io::Error::other)?;
        }
        Ok(text::in_order(&body))
    }

    /// What is declared, in order of declaration.
    pub fn catalogue(&self) -> &[Entry] {
        &self.catalogue
    }

    /// A call that is over may stand for the buckets it is counted in, and so may its streams.
    fn exemplify(&mut self, call: &Call) {
        let lead = self.exemplars.lead(call);
        if let Some(lead) = lead {
            let trunk = self.trunks.of_call(call.source, call.destination);
            self.sip.exemplify(call, trunk, lead, &mut self.exemplars);
        }
        for stream in &call.streams {
            if let (Some(candidate), Some(lead)) = (self.exemplars.candidate(stream), lead) {
                self.media.exemplify(&candidate, lead, &mut self.exemplars);
            }
        }
    }

    fn attempt(&mut self, call: &Call) {
        let trunk = self.trunks.of_call(call.source, call.destination);
        self.sip.attempt(call, trunk, &mut self.exemplars);
        if self.aliases && call.result == Some(CallResult::Answered) {
            self.siprec.answered();
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Sink for Metrics {
    fn event(&mut self, event: Event) {
        match &event {
            Event::Answered(call) => self.attempt(call),
            Event::Call(call) => {
                if call.result != Some(CallResult::Answered) {
                    self.attempt(call);
                }
                self.sip.call(call, self.trunks.of_call(call.source, call.destination));
                self.exemplify(call);
                if self.aliases {
                    self.siprec.call(call);
                }
            }
            Event::Registration(registration) => self.sip.registration(registration),
            // It is seen in voip_sip_registrations_active.
            Event::Expired(_) => {}
            Event::Transfer(transfer) => self.sip.transfer(transfer),
            Event::Stream(stream) => {
                let news = self.live.ended(stream);
                self.media.counted(stream.codec, stream.direction, &news);
                if self.aliases {
                    self.siprec.counted(&self.local, stream.source, stream.destination, &news);
                }
                self.media.stream(stream);
                self.exemplars.stream(stream);
            }
            Event::Report(report) => self.media.report(report),
            Event::Window(window) => {
                self.media.window(window);
                self.exemplars.window(window);
                self.observer.window(window);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::event::{CallResult, CallState, EndReason, Missing};
    use crate::export::samples;
    use crate::http::ClientType;
    use crate::http::stats::{DurationsOfPath, RateLimitHits, Requests};

    /// Facts that give every family a value.
    fn fed() -> Metrics {
        let mut metrics = Metrics::with(Options { series_max: 8, ..Options::default() })
            .with_tail(Some(Arc::new(Families::new(&[]))));
        let peer = samples::call().source.ip.to_string();
        let trunk = Trunk {
            name: "carrier".into(),
            peers: vec![peer.parse().unwrap()],
            capacity_in: Some(30),
            capacity_out: None,
        };
        metrics.configure(Options {
            aliases: true,
            local: vec!["192.0.2.0/24".parse().unwrap()],
            trunks: vec![trunk],
            ..Options::default()
        });
        let mut http = crate::http::Snapshot::default();
        http.requests.push(Requests { path: "/metrics", method: "GET", status: 200, count: 2 });
        http.durations.push(DurationsOfPath {
            path: "/metrics",
            buckets: vec![(0.1, 1), (f64::INFINITY, 3)],
            sum_seconds: 0.5,
        });
        http.rate_limit_hits.push(RateLimitHits {
            endpoint: "/metrics",
            client_type: ClientType::Local,
            count: 1,
        });
        let eth0 = SourceStats {
            interface: "eth0".into(),
            up: Some(true),
            packets: Some(9),
            bytes: Some(900),
            drops: 1,
        };
        metrics.agent(&AgentStats {
            sources: vec![eth0],
            events_lost: 1,
            http,
            logs: LogStats { audit_sequence: Some(7), free_bytes: Some(1), ..LogStats::default() },
            hep: HepStats {
                received: Some(crate::capture::hep::Counters { records: 7, ..Default::default() }),
                sent: vec![(
                    "udp:homer:9060".into(),
                    crate::export::hep::Counters { sent: 5, ..Default::default() },
                )],
                connections: 1,
            },
            traces: Some(TraceStats::default()),
            evidence: Some(crate::evidence::Snapshot::default()),
            loki: Some(crate::export::loki::Counters {
                failures: vec![("busy", 1)],
                lost: vec![("full", 0)],
                ..Default::default()
            }),
            tails: vec![crate::tail::Stats { name: "app".into(), ..Default::default() }],
            started: Some(samples::START),
            cpu_seconds: Some(1.5),
            resident_bytes: Some(1 << 20),
            open_fds: Some(20),
            threads: Some(5),
            ..AgentStats::default()
        });
        metrics.processes(&samples::processes());
        metrics.scraped(0.003);
        for tenant in 0..8 {
            let mut call = samples::call();
            call.tenant = Some(tenant.to_string());
            metrics.event(Event::Answered(call));
        }
        metrics.live(&samples::live());
        for event in samples::events() {
            metrics.event(event);
        }
        let mut call = samples::call();
        call.state = CallState::Confirmed;
        call.one_way = Some(Missing::ToCaller);
        call.forked = true;
        call.early_media = true;
        call.auth = Some(0.1);
        call.tenant = Some("a \"quoted\"\\\nname".into());
        metrics.event(Event::Answered(call.clone()));
        metrics.event(Event::Call(call));
        metrics.event(Event::Call(samples::failed_call(CallResult::Timeout, None)));
        let mut stream = samples::stream();
        stream.packets = 49;
        stream.rejected = 1;
        stream.restarts = 1;
        stream.discontinuities = 1;
        stream.dead_air = Some(true);
        metrics.event(Event::Stream(stream));
        let mut window = samples::window();
        window.tainted = true;
        metrics.event(Event::Window(window));
        metrics.add(&samples::totals());
        metrics
    }

    fn written(metrics: &Metrics, exposition: Exposition) -> String {
        let mut out = Vec::new();
        metrics.write(exposition, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_catalogue_names_exactly_the_exported_families() {
        let metrics = fed();
        let classic = written(&metrics, Exposition::Classic);
        let exported: BTreeSet<_> =
            classic.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
        let declared: BTreeSet<_> =
            metrics.catalogue().iter().map(|entry| format!("{} {}", entry.name, entry.kind)).collect();
        assert_eq!(exported, declared);
    }

    fn sum(metrics: &Metrics, name: &str) -> u64 {
        let text = written(metrics, Exposition::Classic);
        let samples = text.lines().filter(|line| line.starts_with(name));
        samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    #[test]
    fn a_stream_counts_while_it_lives_and_no_packet_twice() {
        let mut metrics = Metrics::new();
        let mut live = samples::live();
        metrics.live(&live);
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), 1000);
        metrics.live(&live);
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), 1000, "nothing new");
        live.streams[0].counts.packets = 1500;
        live.streams[0].codec = crate::rtp::payload::Codec::G729;
        metrics.live(&live);
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), 1500, "under another label, but in all");
        assert_eq!(sum(&metrics, "voip_rtp_streams_active"), 1);
        let ended = samples::stream();
        let packets = ended.packets;
        metrics.event(Event::Stream(ended));
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), packets);
        live.streams.clear();
        live.calls.clear();
        metrics.live(&live);
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), packets);
        assert_eq!(sum(&metrics, "voip_rtp_streams_active"), 0);
        assert_eq!(sum(&metrics, "voip_calls_active_total"), 0);
    }

    #[test]
    fn totals_are_taken_once_however_often_they_are_told() {
        let mut metrics = Metrics::new();
        let totals = samples::totals();
        metrics.add(&totals);
        let once = written(&metrics, Exposition::Classic);
        metrics.add(&totals);
        assert_eq!(written(&metrics, Exposition::Classic), once);
    }

    #[test]
    fn bad_calls_are_named_in_openmetrics_only() {
        let mut metrics = Metrics::new();
        let mut call = samples::failed_call(CallResult::Failed, Some(503));
        call.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
        metrics.event(Event::Call(call));
        let mut slow = samples::call();
        slow.post_dial_delay = Some(7.5);
        metrics.event(Event::Answered(slow.clone()));
        metrics.event(Event::Stream(samples::stream()));
        metrics.event(Event::Call(slow));
        let text = written(&metrics, Exposition::OpenMetrics);
        let named = |sample: &str, trace: &str| {
            let line = text.lines().find(|line| line.starts_with(sample) && line.contains(" # {trace_id="));
            assert!(line.is_some_and(|line| line.contains(trace)), "{sample}: {line:?}");
        };
        named("voip_sip_attempt_results_total{", "4bf92f3577b34da6a3ce929d0e0e4736");
        named("voip_sip_post_dial_delay_seconds_bucket{le=\"8.0\"", "6ae1c030ffdd2da1725198843b15c506");
        named("voip_rtp_mos_min_bucket{le=\"3.6\"", "6ae1c030ffdd2da1725198843b15c506");
        assert!(!written(&metrics, Exposition::Classic).contains(" # {"));
    }

    #[test]
    fn protobuf_has_every_family_and_native_buckets() {
        let metrics = fed();
        let mut body = Vec::new();
        metrics.write(Exposition::Protobuf, &mut body).unwrap();
        for entry in metrics.catalogue() {
            let name = entry.name.as_bytes();
            assert!(body.windows(name.len()).any(|part| part == name), "{}", entry.name);
        }
        let families = prometheus_protobuf::encode(&metrics.registry).unwrap();
        let setup = families.iter().find(|family| family.name == "voip_call_setup_duration_seconds").unwrap();
        let histogram = setup.metric.first().unwrap().histogram.as_ref().unwrap();
        assert!(!histogram.positive_span.is_empty() && !histogram.bucket.is_empty());
    }

    #[test]
    fn aliases_are_served_when_asked_only() {
        let mut metrics = Metrics::new();
        metrics.live(&samples::live());
        assert!(!written(&metrics, Exposition::Classic).contains("\nsip_"));
        let local = vec!["192.0.2.1".parse().unwrap()];
        let mut metrics = Metrics::with(Options { aliases: true, local, ..Options::default() });
        metrics.live(&samples::live());
        metrics.event(Event::Stream(samples::stream()));
        assert_eq!(sum(&metrics, "rtp_packets_sent_total"), samples::stream().packets);
        assert_eq!(sum(&metrics, "rtp_packets_received_total"), 0);
        assert_eq!(sum(&metrics, "sip_sessions_active"), 1);
        assert_eq!(sum(&metrics, "rtp_ports_allocated"), 2, "its own and that of RTCP");
    }

    #[test]
    fn a_trunk_without_calls_has_none_of_them() {
        let trunk = |name: &str, peer: &str| Trunk {
            name: name.into(),
            peers: vec![peer.parse().unwrap()],
            capacity_in: None,
            capacity_out: Some(30),
        };
        let trunks = vec![trunk("a", "192.0.2.4:5060"), trunk("b", "203.0.113.0/24")];
        let mut metrics = Metrics::with(Options { trunks, ..Options::default() });
        metrics.live(&samples::live());
        let text = written(&metrics, Exposition::Classic);
        for sample in [
            "voip_trunk_calls_active{trunk=\"a\",direction=\"out\"} 1\n",
            "voip_trunk_calls_active{trunk=\"a\",direction=\"in\"} 0\n",
            "voip_trunk_calls_active{trunk=\"b\",direction=\"in\"} 0\n",
            "voip_trunk_capacity_calls{trunk=\"b\",direction=\"out\"} 30\n",
        ] {
            assert!(text.contains(sample), "{sample}{text}");
        }
        assert!(!text.contains("voip_trunk_capacity_calls{trunk=\"a\",direction=\"in\"}"));
    }

    #[test]
    fn a_process_that_is_gone_ends_its_gauges_and_keeps_its_counters() {
        let mut metrics = Metrics::new();
        let mut snapshot = samples::processes();
        metrics.processes(&snapshot);
        let there = written(&metrics, Exposition::Classic);
        assert!(there.contains("voip_process_resident_memory_bytes{process=\"kamailio\"} 1000\n"), "{there}");
        assert!(
            there.contains("voip_process_fragmentation_ratio{process=\"kamailio\",source=\"glibc\"} 0.25\n"),
            "{there}"
        );
        let group = snapshot.groups.first_mut().unwrap();
        *group = crate::process::Figures {
            name: group.name.clone(),
            exits: 3,
            cpu_seconds: group.cpu_seconds,
            faults: group.faults,
            ..Default::default()
        };
        metrics.processes(&snapshot);
        let gone = written(&metrics, Exposition::Classic);
        assert!(gone.contains("voip_processes{process=\"kamailio\"} 0\n"));
        assert!(
            !gone.contains("voip_process_resident_memory_bytes{") && !gone.contains("voip_process_threads{")
        );
        assert!(
            gone.contains("voip_process_allocations_total{process=\"kamailio\",source=\"page\"} 70\n"),
            "{gone}"
        );
    }

    #[test]
    fn no_two_families_share_a_name() {
        let text = written(&fed(), Exposition::OpenMetrics);
        let names: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    }

    #[test]
    fn counters_carry_total_once() {
        let metrics = fed();
        for text in [written(&metrics, Exposition::Classic), written(&metrics, Exposition::OpenMetrics)] {
            assert!(!text.contains("_total_total"));
            assert!(text.contains("\nvoip_registration_total{state=\"success\"} 1\n"), "{text}");
            assert!(text.contains("\nvoip_calls_active_total{"), "the owner's gauge keeps its name");
        }
    }

    #[test]
    fn only_openmetrics_has_an_end_marker() {
        let metrics = fed();
        assert!(written(&metrics, Exposition::OpenMetrics).ends_with("# EOF\n"));
        assert!(!written(&metrics, Exposition::Classic).contains("# EOF"));
    }

    #[test]
    fn unregistered_methods_and_codes_share_one_series() {
        let text = written(&fed(), Exposition::Classic);
        assert!(text.contains("voip_sip_requests_total{method=\"other\"} 1\n"));
        assert!(text.contains("voip_sip_responses_total{class=\"other\",code=\"other\"} 1\n"));
        assert!(!text.contains("FROBNICATE"));
    }

    #[test]
    fn a_family_without_a_value_is_not_exported() {
        let text = written(&Metrics::new(), Exposition::Classic);
        assert!(!text.contains("voip_"), "{text}");
        assert!(text.contains("sidetone_build_info{version="));
    }

    #[test]
    fn a_call_that_ended_is_not_up() {
        let mut metrics = Metrics::new();
        let mut call = samples::call();
        call.end_reason = Some(EndReason::DoesNotExist);
        metrics.event(Event::Answered(call.clone()));
        metrics.event(Event::Call(call));
        let text = written(&metrics, Exposition::Classic);
        assert!(text.contains("voip_calls_ended_total{reason=\"481\"} 1\n"));
        assert!(!text.contains("voip_calls_active"));
    }

    /// The linter has other wishes: no gauge should end in `_total` or `_count`.
    const OWNERS: [&str; 2] = ["voip_calls_active_total ", "voip_process_count "];

    #[test]
    fn classic_text_passes_promtool_but_for_the_owners_names() {
        let mut child = match Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(error) => return crate::skipped::skipped(format_args!("promtool cannot be run: {error}")),
        };
        let text = written(&fed(), Exposition::Classic);
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let said = child.wait_with_output().unwrap();
        let lines = [said.stdout, said.stderr].concat();
        let lines = String::from_utf8(lines).unwrap();
        let unknown: Vec<_> =
            lines.lines().filter(|line| !OWNERS.iter().any(|name| line.starts_with(name))).collect();
        assert!(unknown.is_empty(), "{unknown:#?}");
    }
}
