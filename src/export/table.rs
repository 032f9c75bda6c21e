//! The report for people: what was read, how calls and media fared, and the worst of both first.
//!
//! ```text
//! header        files, time span, packets, what could not be decoded
//! Calls         attempts, failures by cause, ratios, delays      \  over everything
//! Streams       loss, MOS and its distribution                   /
//! worst calls   one line each, at most `top`
//! worst streams one line each, at most `top`
//! Notes         what each flag used above means, and where to look
//! ```
//!
//! No line is wider than 100 columns. Memory is bounded: sums, histograms and the worst rows are kept.

mod calls;
pub(crate) mod heap;
mod layout;
mod media;
mod notes;
mod registrations;
mod style;
mod tally;
mod words;

use std::io::{self, Write};

use crate::event::{Event, Sink, Totals};
use calls::CallSection;
use layout::{Cell, items, title};
use media::MediaSection;
use notes::Notes;
use registrations::RegistrationSection;
pub use style::Style;
use style::Tone;
use tally::Losses;
use words::{bytes, clock, grouped, percent, span};

/// Collects what the table needs, and prints it when the input is over.
#[derive(Debug)]
pub struct Table {
    style: Style,
    calls: CallSection,
    registrations: RegistrationSection,
    media: MediaSection,
    losses: Losses,
}

impl Table {
    /// A table of the `top` worst calls and streams each; 0 = of all.
    pub fn new(top: usize, style: Style) -> Self {
        Self {
            style,
            calls: CallSection::new(top),
            registrations: RegistrationSection::new(),
            media: MediaSection::new(top),
            losses: Losses::default(),
        }
    }

    /// Prints the report.
    pub fn finish(mut self, totals: &Totals, files: &[String], out: &mut impl Write) -> io::Result<()> {
        let style = self.style;
        let mut notes = Notes::default();
        let mut page = header(totals, files, style);
        self.calls.summary(&mut page, style);
        self.media.summary(&mut page, style);
        self.registrations.summary(&mut page, style);
        self.calls.rows(&mut page, &mut self.losses, totals, &mut notes, style);
        self.media.rows(&mut page, &mut notes, style);
        notes.print(&mut page, style);
        out.write_all(page.as_bytes())?;
        out.flush()
    }
}

impl Sink for Table {
    fn event(&mut self, event: Event) {
        match event {
            Event::Call(call) => self.calls.add(call, &mut self.losses),
            Event::Registration(registration) => self.registrations.add(&registration),
            Event::Stream(stream) => {
                self.losses.add(&stream);
                self.media.add(stream);
            }
            Event::Report(_)
            | Event::Window(_)
            | Event::Transfer(_)
            | Event::Answered(_)
            | Event::Expired(_) => {}
        }
    }

    fn wants_answered(&self) -> bool {
        false
    }
}

fn header(totals: &Totals, files: &[String], style: Style) -> String {
    let mut page = String::new();
    let count =
        |name: &str, count: u64| (count > 0).then(|| Cell::plain(format!("{name} {}", grouped(count))));
    title(&mut page, "Capture", style);
    let (shown, rest) = files.split_at(files.len().min(FILES_SHOWN));
    let mut names: Vec<_> = shown.iter().map(|file| Cell::plain(style.clean(file))).collect();
    if !rest.is_empty() {
        names.push(Cell::plain(format!("and {} more", rest.len())));
    }
    items(&mut page, "files", &names, style);
    if let (Some(first), Some(last)) = (totals.first, totals.last) {
        let times = [
            Cell::plain(format!("{} UTC", clock(first, true))),
            Cell::plain(format!("to {} UTC", clock(last, true))),
            Cell::plain(span(last.seconds_since(first))),
        ];
        items(&mut page, "time", &times, style);
    }
    let mut read = vec![Cell::plain(grouped(totals.packets)), Cell::plain(bytes(totals.bytes))];
    read.extend(count("cut by snap length", totals.truncated));
    read.extend(count("captured twice", totals.duplicates));
    read.extend(count("fragments", totals.fragments));
    items(&mut page, "packets", &read, style);
    let skipped: Vec<_> =
        totals.skipped.iter().filter_map(|(reason, n)| count(&style.clean(reason), *n)).collect();
    items(&mut page, "skipped", &skipped, style);
    if totals.undecoded.saturating_mul(100) > totals.packets {
        let share = totals.undecoded as f64 / totals.packets.max(1) as f64;
        let mut lost = vec![Cell::toned(format!("{} of all packets", percent(Some(share))), Tone::Bad)];
        let busiest = totals.busiest_undecoded.iter().take(UNDECODED_SHOWN);
        lost.extend(busiest.filter_map(|(what, n)| count(&style.clean(what), *n)));
        items(&mut page, "not decoded", &lost, style);
    }
    let mut sip: Vec<_> =
        totals.requests.iter().filter_map(|(name, n)| count(&style.clean(name), *n)).collect();
    sip.truncate(METHODS_SHOWN);
    sip.extend(count("responses", totals.responses.values().sum()));
    sip.extend(count("resent", totals.retransmissions));
    sip.extend(count("malformed", totals.malformed).map(|cell| Cell::toned(cell.text, Tone::Fair)));
    sip.extend(count("of unseen dialogs", totals.orphans));
    items(&mut page, "SIP", &sip, style);
    let evicted: Vec<_> =
        totals.evicted.iter().filter_map(|(table, n)| count(&style.clean(table), *n)).collect();
    items(&mut page, "evicted", &evicted, style);
    page
}

const FILES_SHOWN: usize = 6;
const UNDECODED_SHOWN: usize = 5;
const METHODS_SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{
        Call, CallResult, CallState, EndReason, Missing, Registration, RegistrationResult, Stream,
    };
    use crate::export::samples;
    use crate::rtp::payload::Codec;

    const PLAIN: Style = Style { colour: false, unicode: true };

    fn printed(top: usize, style: Style, events: Vec<Event>, totals: &Totals) -> String {
        let mut table = Table::new(top, style);
        for event in events {
            table.event(event);
        }
        let mut out = Vec::new();
        table.finish(totals, &["captures/a.pcap".to_owned()], &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// A capture of some of everything.
    fn busy_evening() -> Vec<Event> {
        let mut events = Vec::new();
        for nth in 0..40_u32 {
            let id = format!("call{nth}");
            let loss = f64::from(nth % 7) * 0.004;
            let mos = 4.4 - f64::from(nth % 7) * 0.3;
            for direction in [crate::event::Direction::ToCallee, crate::event::Direction::ToCaller] {
                let mut stream = samples::stream();
                stream.call_id = Some(id.clone());
                stream.direction = Some(direction);
                stream.loss_ratio = Some(loss);
                stream.lost = (loss * stream.expected as f64) as u64;
                stream.mos = Some(crate::event::Mos { lq: mos, cq: None, min_window: None });
                if direction == crate::event::Direction::ToCaller {
                    std::mem::swap(&mut stream.source, &mut stream.destination);
                }
                if nth == 5 {
                    stream.mos = None;
                    stream.why = [("mos", "shorter than 50 packets")].into();
                }
                events.push(Event::Stream(stream));
            }
            let mut call = samples::call();
            call.call_id.clone_from(&id);
            call.call_ids = vec![id];
            call.from = format!("sip:+4930{:06}@atlanta.com", nth * 7919);
            call.start = samples::START.plus_seconds(u64::from(nth));
            call.mos = Some(mos);
            call.post_dial_delay = Some(0.4 + f64::from(nth) * 0.21);
            match nth {
                3 => call.one_way = Some(Missing::ToCaller),
                9 => call.dead_air = Some(true),
                12 => call.end_reason = Some(EndReason::RtpTimeout),
                13 => call.state = CallState::Confirmed,
                _ => {}
            }
            call.challenged = nth % 3 == 0;
            events.push(Event::Call(call));
        }
        for (result, status) in [
            (CallResult::Failed, Some(486)),
            (CallResult::Failed, Some(486)),
            (CallResult::Failed, Some(503)),
            (CallResult::Timeout, None),
            (CallResult::NoFinal, None),
            (CallResult::Cancelled, Some(487)),
            (CallResult::Redirected, Some(302)),
            (CallResult::AbandonedAuth, Some(407)),
        ] {
            events.push(Event::Call(samples::failed_call(result, status)));
        }
        for status in [200, 200, 200, 403] {
            let failed = status != 200;
            events.push(Event::Registration(Registration {
                result: Some(if failed { RegistrationResult::Failure } else { RegistrationResult::Success }),
                status: Some(status),
                delay: (!failed).then_some(0.08),
                ..samples::registration()
            }));
        }
        events
    }

    #[test]
    fn shows_the_worst_first_and_says_what_is_left_out() {
        let text = printed(5, PLAIN, busy_evening(), &samples::totals());
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is missing in\n{text}"));
        assert!(at("deaf-caller") < at("dead-air"));
        assert!(at("dead-air") < text.rfind("no response").unwrap());
        assert!(text.contains("and 43 more, none of them worse: --top 0 shows all"));
        assert!(text.contains("and 75 more"));
        // 40 answered of 48, less one redirected and one left at the challenge.
        assert!(text.contains("ASR 87.0%"), "{text}");
        assert!(text.contains("486 busy 2"));
        assert!(text.contains("2.00% of all packets   ESP 100   port 4500 30"));
        assert!(text.contains("failed by 403 1"));
    }

    #[test]
    fn top_0_shows_all() {
        let text = printed(0, PLAIN, busy_evening(), &samples::totals());
        assert!(!text.contains("none of them worse"));
        assert!(text.contains("(a)          no MOS: shorter than 50 packets"), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("PCMU")).count(), 80);
    }

    #[test]
    fn a_call_knows_its_loss_whether_its_streams_come_before_or_after() {
        for stream_first in [true, false] {
            let mut events = vec![Event::Call(samples::call()), Event::Stream(samples::stream())];
            if stream_first {
                events.reverse();
            }
            let text = printed(5, PLAIN, events, &samples::totals());
            let row = text.lines().find(|line| line.contains("alice")).unwrap();
            assert!(row.contains("1.48%"), "{row}");
        }
    }

    #[test]
    fn nothing_seen_is_said_in_words() {
        let text = printed(5, PLAIN, Vec::new(), &Totals::default());
        assert_eq!(text.matches("none seen").count(), 2, "{text}");
        assert!(!text.contains("Notes"));
    }

    #[test]
    fn plain_output_has_no_escape_and_ascii_output_only_ascii() {
        let mut call = samples::call();
        call.from = "sip:\x1b[31mred\u{202e}\u{4e16}\u{fc}@x".into();
        let events = || vec![Event::Call(call.clone()), Event::Stream(samples::stream())];
        let text = printed(5, PLAIN, events(), &samples::totals());
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
        assert!(text.contains("?[31mred??\u{fc}"), "{text}");
        let ascii = Style { colour: false, unicode: false };
        assert!(printed(5, ascii, events(), &samples::totals()).is_ascii());
    }

    #[test]
    fn colour_changes_no_text() {
        let colour = Style { colour: true, unicode: true };
        let coloured = printed(5, colour, busy_evening(), &samples::totals());
        assert!(coloured.contains("\x1b[31m"));
        let mut bare = String::new();
        for (nth, piece) in coloured.split('\x1b').enumerate() {
            bare.push_str(if nth == 0 { piece } else { piece.split_once('m').unwrap().1 });
        }
        assert_eq!(bare, printed(5, PLAIN, busy_evening(), &samples::totals()));
    }

    fn number() -> impl Strategy<Value = Option<f64>> {
        proptest::option::of(prop_oneof![
            any::<f64>(),
            0.0..100_000.0,
            Just(0.0),
            Just(f64::MAX),
            Just(f64::NAN),
        ])
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof!["sip:[ -~]{0,80}", any::<String>(), Just("x".repeat(500))]
    }

    fn address() -> impl Strategy<Value = crate::wire::Endpoint> {
        (any::<std::net::IpAddr>(), any::<u16>()).prop_map(|(ip, port)| crate::wire::Endpoint { ip, port })
    }

    prop_compose! {
        fn nasty_call()(
            (from, to) in (name(), name()),
            (pdd, setup, duration, mos) in (number(), number(), number(), number()),
            status in proptest::option::of(any::<u16>()),
            flags in any::<[bool; 6]>(),
            start in any::<u64>(),
            failed in any::<bool>(),
        ) -> Call {
            Call {
                from,
                to,
                post_dial_delay: pdd,
                setup,
                duration,
                mos,
                status,
                start: crate::Stamp(start),
                result: Some(if failed { CallResult::Failed } else { CallResult::Answered }),
                one_way: flags[0].then_some(Missing::ToCallee),
                dead_air: Some(flags[1]),
                forked: flags[2],
                challenged: flags[3],
                early_media: flags[4],
                transferred: flags[5],
                end_reason: Some(EndReason::RtpTimeout),
                retransmissions: 7,
                ..samples::call()
            }
        }
    }

    prop_compose! {
        fn nasty_stream()(
            (source, destination) in (address(), address()),
            (packets, expected, lost) in any::<(u64, u64, u64)>(),
            (loss, burst, mean, max, mos, rtt) in (number(), number(), number(), number(), number(), number()),
            flags in any::<[bool; 6]>(),
        ) -> Stream {
            let mut stream = samples::stream();
            stream.source = source;
            stream.destination = destination;
            (stream.packets, stream.expected, stream.lost) = (packets, expected, lost);
            stream.loss_ratio = loss;
            stream.burst_ratio = burst;
            stream.jitter = mean.zip(max).map(|(mean, max)| crate::event::Jitter { last: 0.0, mean, max });
            stream.mos = mos.map(|lq| crate::event::Mos { lq, cq: None, min_window: None });
            if let Some(rtcp) = &mut stream.rtcp {
                rtcp.rtt = rtt;
            }
            stream.codec = Codec::TelephoneEvent;
            stream.dead_air = Some(flags[0]);
            stream.ssrc_overlap = flags[1];
            stream.srtp = flags[2];
            stream.estimate = flags[3];
            stream.out_of_range = flags[4];
            stream.tail_missing = flags[5];
            stream
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// forall calls, streams, names: width(line) <= 100, and no control character reaches the terminal.
        #[test]
        fn no_line_is_wider_than_the_page(
            calls in proptest::collection::vec(nasty_call(), 0..4),
            streams in proptest::collection::vec(nasty_stream(), 0..4),
            file in any::<String>(),
            (method, reason) in (name(), name()),
            (packets, bytes, count) in any::<(u64, u64, u64)>(),
            first in any::<u64>(),
            unicode in any::<bool>(),
        ) {
            let mut table = Table::new(3, Style { colour: false, unicode });
            for call in calls {
                table.event(Event::Call(call));
            }
            for stream in streams {
                table.event(Event::Stream(stream));
            }
            let totals = Totals {
                packets,
                bytes,
                first: Some(crate::Stamp(first)),
                undecoded: count,
                busiest_undecoded: vec![(reason, count)],
                requests: [(method, count)].into(),
                ..samples::totals()
            };
            let mut out = Vec::new();
            table.finish(&totals, &[file], &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            for line in text.lines() {
                prop_assert!(layout::width(line) <= layout::PAGE_WIDTH, "{} columns: {line}", layout::width(line));
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
