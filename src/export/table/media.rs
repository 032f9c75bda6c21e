//! Streams: loss and opinion over everything, and the worst of them.

use crate::event::{LossPattern, Origin, Stream};

use super::calls::{loss_tone, mos_tone};
use super::layout::{Align, Cell, Column, Give, items, left_out, table, title};
use super::notes::{Flag, Notes};
use super::style::{Style, Tone};
use super::tally::Worst;
use super::words::{grouped, millis, opinion, percent, short};

/// All streams, as far as the report needs them.
#[derive(Debug)]
pub(super) struct MediaSection {
    streams: u64,
    packets: u64,
    expected: u64,
    lost: u64,
    late: u64,
    /// Streams by MOS-LQ in steps of 0.1 from 1.
    opinions: [u64; MOS_STEPS],
    worst_mos: Option<f64>,
    unrated: u64,
    worst: Worst<Stream>,
}

impl MediaSection {
    pub(super) fn new(top: usize) -> Self {
        Self {
            streams: 0,
            packets: 0,
            expected: 0,
            lost: 0,
            late: 0,
            opinions: [0; MOS_STEPS],
            worst_mos: None,
            unrated: 0,
            worst: Worst::new(top),
        }
    }

    pub(super) fn add(&mut self, stream: Stream) {
        self.streams += 1;
        self.packets = self.packets.saturating_add(stream.packets);
        self.expected = self.expected.saturating_add(stream.expected);
        self.lost = self.lost.saturating_add(stream.lost);
        self.late = self.late.saturating_add(stream.discarded.map_or(0, |discarded| discarded.adaptive));
        if let Some(mos) = stream.mos {
            let step = ((mos.lq - 1.0).max(0.0) * 10.0) as usize;
            if let Some(count) = self.opinions.get_mut(step.min(MOS_STEPS - 1)) {
                *count += 1;
            }
            self.worst_mos = Some(self.worst_mos.map_or(mos.lq, |worst| worst.min(mos.lq)));
        } else {
            self.unrated += 1;
        }
        self.worst.add(badness(&stream), stream);
    }

    pub(super) fn summary(&self, page: &mut String, style: Style) {
        title(page, "Streams", style);
        if self.streams == 0 {
            items(page, "streams", &[Cell::plain("none seen")], style);
            return;
        }
        let mut all = vec![
            Cell::plain(grouped(self.streams)),
            Cell::plain(format!("packets {}", grouped(self.packets))),
        ];
        if self.expected > 0 {
            let share = |count: u64| Some(count as f64 / self.expected as f64);
            all.push(Cell::toned(format!("lost {}", percent(share(self.lost))), loss_tone(share(self.lost))));
            all.push(Cell::plain(format!("late {}", percent(share(self.late)))));
        }
        items(page, "streams", &all, style);
        let mut rated = Vec::new();
        if let Some(worst) = self.worst_mos {
            rated.push(Cell::toned(format!("worst {}", opinion(worst)), mos_tone(self.worst_mos)));
            rated.push(Cell::plain(format!("1.0 |{}| 4.5", style.bars(&self.opinions))));
        }
        if self.unrated > 0 {
            rated.push(Cell::plain(format!("not rated {}", grouped(self.unrated))));
        }
        items(page, "MOS-LQ", &rated, style);
    }

    pub(super) fn rows(&mut self, page: &mut String, notes: &mut Notes, style: Style) {
        if self.streams == 0 {
            return;
        }
        let lines: Vec<_> = self.worst.rows().map(|stream| row(stream, notes, style)).collect();
        notes.streams = true;
        title(page, "Streams, worst first", style);
        table(page, COLUMNS, &lines, style);
        left_out(page, self.worst.seen - lines.len() as u64, style);
    }
}

fn row(stream: &Stream, notes: &mut Notes, style: Style) -> Vec<Cell> {
    let flags = flags(stream);
    let grave = flags.first().is_some_and(|flag| *flag <= Flag::Outage);
    let late = stream.discarded.map(|discarded| discarded.adaptive as f64 / stream.expected.max(1) as f64);
    let mos = stream.mos.map(|mos| mos.lq);
    let rated = match mos {
        Some(mos) => opinion(mos),
        None => notes.mark(stream.why.get("mos").copied().unwrap_or("not measurable")),
    };
    vec![
        Cell::plain(stream.source.to_string()),
        Cell::plain(format!("{} {}", style.arrow(), stream.destination)),
        Cell::plain(stream.codec.name()),
        Cell::plain(short(stream.packets)),
        Cell::toned(percent(stream.loss_ratio), loss_tone(stream.loss_ratio)),
        Cell::plain(
            stream
                .burst_ratio
                .filter(|_| stream.lost > 0)
                .map_or(String::new(), |ratio| format!("{:.2}", ratio.clamp(0.0, 9.99))),
        ),
        Cell::plain(
            stream
                .jitter
                .map_or(String::new(), |jitter| format!("{}/{}", millis(jitter.mean), millis(jitter.max))),
        ),
        Cell::toned(percent(late), loss_tone(late)),
        Cell::toned(rated, mos_tone(mos)),
        Cell::plain(stream.rtcp.and_then(|rtcp| rtcp.rtt).map_or(String::new(), millis)),
        Cell::toned(notes.words(&flags), if grave { Tone::Bad } else { Tone::Faint }),
    ]
}

fn flags(stream: &Stream) -> Vec<Flag> {
    [
        (stream.dead_air == Some(true), Flag::DeadAir),
        (stream.loss_pattern == Some(LossPattern::Outage), Flag::Outage),
        (stream.loss_pattern == Some(LossPattern::Bursty), Flag::Bursty),
        (stream.stalls > 0, Flag::Stalls),
        (stream.tail_missing, Flag::CutTail),
        (stream.ssrc_overlap, Flag::Overlap),
        (stream.restarts > 0, Flag::Restart),
        (stream.clock_skew_ppm.is_some_and(|ppm| ppm.abs() > 200.0), Flag::Skew),
        (stream.out_of_range, Flag::OutOfRange),
        (stream.origin != Origin::Sdp, Flag::NoSdp),
        (stream.srtp, Flag::Srtp),
        (stream.estimate && stream.mos.is_some(), Flag::Estimate),
    ]
    .into_iter()
    .filter_map(|(set, flag)| set.then_some(flag))
    .collect()
}

/// By MOS, then by loss; streams without a MOS after those that have one.
fn badness(stream: &Stream) -> u64 {
    let opinion = stream.mos.map_or(0, |mos| ((5.0 - mos.lq).clamp(0.0, 5.0) * 1e3) as u64 + 1);
    let loss = (stream.loss_ratio.unwrap_or(0.0).clamp(0.0, 1.0) * 1e6) as u64;
    opinion << 32 | loss
}

const COLUMNS: &[Column] = &[
    Column { head: "source", align: Align::Left, give: Give::Middle(20) },
    Column { head: "destination", align: Align::Left, give: Give::Middle(22) },
    Column { head: "codec", align: Align::Left, give: Give::Middle(5) },
    Column { head: "pkts", align: Align::Right, give: Give::Never },
    Column { head: "loss", align: Align::Right, give: Give::Never },
    Column { head: "burst", align: Align::Right, give: Give::Never },
    Column { head: "jitter", align: Align::Right, give: Give::Never },
    Column { head: "late", align: Align::Right, give: Give::Never },
    Column { head: "MOS", align: Align::Right, give: Give::Never },
    Column { head: "RTT", align: Align::Right, give: Give::Never },
    Column { head: "flags", align: Align::Left, give: Give::Words(10) },
];
const MOS_STEPS: usize = 35;
