//! The metrics: every family declared once, fed by facts, written as OpenMetrics or classic text
//! (DESIGN 4; MEAS 6.6 and appendix A).
//!
//! ```text
//! Event, Totals -> Metrics -> prometheus-client -> OpenMetrics text -> classic text (0.0.4)
//!                     \-> catalogue -> docs/metrics.md
//! ```
//!
//! Labels come from closed sets: a SIP method or status code that no register knows is `other`.

pub mod catalogue;
pub mod text;

mod family;
mod live;
mod media;
mod observer;
mod sip;

use std::io::{self, Write};

use prometheus_client::encoding::text as openmetrics;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::event::{CallResult, Event, Live, Sink, Totals};
use catalogue::Entry;
use family::Declare;

/// All metric families, and the registry they are written from.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    catalogue: Vec<Entry>,
    sip: sip::SipMetrics,
    media: media::MediaMetrics,
    observer: observer::ObserverMetrics,
    live: live::LiveMetrics,
}

/// Which exposition format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
    /// `text/plain; version=0.0.4`.
    Classic,
}

impl Metrics {
    /// Declares every family.
    pub fn new() -> Self {
        let mut declare = Declare::default();
        let sip = sip::SipMetrics::declare(&mut declare);
        let media = media::MediaMetrics::declare(&mut declare);
        let observer = observer::ObserverMetrics::declare(&mut declare);
        let live = live::LiveMetrics::declare(&mut declare);
        let Declare { mut registry, mut catalogue } = declare;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("sidetone_build", "Version of this program", build);
        catalogue.push(Entry {
            name: "sidetone_build_info".to_owned(),
            kind: "gauge",
            labels: &["version"],
            help: "Version of this program",
        });
        Self { registry, catalogue, sip, media, observer, live }
    }

    /// Takes the counters of the input so far.
    pub fn add(&mut self, totals: &Totals) {
        let news = self.live.news(totals);
        self.sip.add(&news);
        self.observer.add(&news);
    }

    /// Takes what is up, in its turn among the events: gauges as they stand, and the counters of streams that live.
    /// `dropped` packets at the tap and `lost_events` are totals too.
    pub fn live(&mut self, live: &Live, dropped: u64, lost_events: u64) {
        self.add(&live.totals);
        for stream in &live.streams {
            let news = self.live.beyond(stream.serial, &stream.counts);
            self.media.counted(stream.codec, stream.direction, &news);
        }
        self.sip.set_live(live);
        self.live.set(live, dropped, lost_events);
    }

    /// Writes all families that have a value.
    pub fn write(&self, exposition: Exposition, out: &mut impl Write) -> io::Result<()> {
        let mut body = String::new();
        openmetrics::encode(&mut body, &self.registry).map_err(io::Error::other)?;
        let body = text::in_order(&body);
        match exposition {
            Exposition::OpenMetrics => out.write_all(body.as_bytes()),
            Exposition::Classic => text::write_classic(&body, out),
        }
    }

    /// What is declared, in order of declaration.
    pub fn catalogue(&self) -> &[Entry] {
        &self.catalogue
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
            Event::Answered(call) => self.sip.attempt(call),
            Event::Call(call) => {
                if call.result != Some(CallResult::Answered) {
                    self.sip.attempt(call);
                }
                self.sip.call(call);
            }
            Event::Registration(registration) => self.sip.registration(registration),
            Event::Transfer(transfer) => self.sip.transfer(transfer),
            Event::Stream(stream) => {
                let news = self.live.ended(stream);
                self.media.counted(stream.codec, stream.direction, &news);
                self.media.stream(stream);
            }
            Event::Report(report) => self.media.report(report),
            Event::Window(window) => {
                self.media.window(window);
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

    /// Facts that give every family a value.
    fn fed() -> Metrics {
        let mut metrics = Metrics::new();
        metrics.live(&samples::live(), 1, 1);
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
        metrics.live(&live, 0, 0);
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), 1000);
        metrics.live(&live, 0, 0);
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), 1000, "nothing new");
        live.streams[0].counts.packets = 1500;
        live.streams[0].codec = crate::rtp::payload::Codec::G729;
        metrics.live(&live, 0, 0);
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), 1500, "under another label, but in all");
        assert_eq!(sum(&metrics, "voip_rtp_streams_active"), 1);
        let ended = samples::stream();
        let packets = ended.packets;
        metrics.event(Event::Stream(ended));
        assert_eq!(sum(&metrics, "voip_rtp_packets_total"), packets);
        live.streams.clear();
        live.calls.clear();
        metrics.live(&live, 0, 0);
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
            lines.lines().filter(|line| !line.starts_with("voip_calls_active_total ")).collect();
        assert!(unknown.is_empty(), "{unknown:#?}");
    }
}
