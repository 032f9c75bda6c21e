//! Calls: how attempts fared, and the worst of them.

use std::collections::BTreeMap;

use crate::event::{Call, CallResult, CallState, EndReason, Missing, Totals};

use super::layout::{Align, Cell, Column, Give, items, left_out, table, title};
use super::notes::{Flag, Notes};
use super::style::{Style, Tone};
use super::tally::{Loss, Losses, Spread, Worst};
use super::words::{clock, grouped, opinion, party, percent, seconds, talk};

/// All calls, as far as the report needs them.
#[derive(Debug)]
pub(super) struct CallSection {
    attempts: u64,
    results: [u64; 7],
    up: u64,
    /// Answers and failures that the called user caused: the numerator of NER (MEAS 5.5).
    effective: u64,
    failures: BTreeMap<String, u64>,
    one_way: u64,
    dead_air: u64,
    post_dial_delay: Spread,
    setup: Spread,
    duration: Spread,
    worst: Worst<(Call, Loss)>,
}

impl CallSection {
    pub(super) fn new(top: usize) -> Self {
        Self {
            attempts: 0,
            results: [0; 7],
            up: 0,
            effective: 0,
            failures: BTreeMap::new(),
            one_way: 0,
            dead_air: 0,
            post_dial_delay: Spread::new(),
            setup: Spread::new(),
            duration: Spread::new(),
            worst: Worst::new(top),
        }
    }

    pub(super) fn add(&mut self, call: Call, losses: &mut Losses) {
        self.attempts += 1;
        if let Some(result) = call.result {
            if let Some(count) = self.results.get_mut(result as usize) {
                *count += 1;
            }
            if !matches!(result, CallResult::Answered | CallResult::Redirected | CallResult::AbandonedAuth) {
                *self.failures.entry(outcome(&call)).or_default() += 1;
            }
        }
        self.up += u64::from(call.state != CallState::Ended);
        self.effective += u64::from(call.result == Some(CallResult::Answered) || is_users_choice(&call));
        self.one_way += u64::from(call.one_way.is_some());
        self.dead_air += u64::from(call.dead_air == Some(true));
        self.post_dial_delay.add(call.post_dial_delay);
        self.setup.add(call.setup);
        self.duration.add(call.duration);
        let loss = losses.take(&call.call_ids);
        self.worst.add(badness(&call), (call, loss));
    }

    pub(super) fn summary(&self, page: &mut String, style: Style) {
        title(page, "Calls", style);
        if self.attempts == 0 {
            items(page, "attempts", &[Cell::plain("none seen")], style);
            return;
        }
        let of = |result: CallResult| self.results.get(result as usize).copied().unwrap_or(0);
        let named = |name: &str, count: u64, tone| {
            (count > 0).then(|| Cell::toned(format!("{name} {}", grouped(count)), tone))
        };
        let failed: u64 = self.failures.values().sum();
        let mut attempts = vec![Cell::plain(grouped(self.attempts))];
        attempts.extend(named("answered", of(CallResult::Answered), Tone::Plain));
        attempts.extend(named("failed", failed, Tone::Plain));
        attempts.extend(named("redirected", of(CallResult::Redirected), Tone::Plain));
        attempts.extend(named("gave up at the challenge", of(CallResult::AbandonedAuth), Tone::Plain));
        attempts.extend(named("not over yet", self.up, Tone::Plain));
        items(page, "attempts", &attempts, style);

        let mut causes: Vec<_> = self.failures.iter().collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut by: Vec<_> = causes
            .iter()
            .take(CAUSES)
            .map(|(cause, count)| Cell::plain(format!("{cause} {}", grouped(**count))))
            .collect();
        let others: u64 = causes.iter().skip(CAUSES).map(|(_, count)| **count).sum();
        by.extend(named("others", others, Tone::Plain));
        items(page, "failed by", &by, style);

        // Ratios over attempts with an outcome that were neither redirected nor left at the challenge (MEAS 5.5).
        let over = of(CallResult::Answered) + failed;
        if over > 0 {
            let ratio = |name: &str, count: u64| {
                Cell::plain(format!("{name} {}", percent(Some(count as f64 / over as f64))))
            };
            items(
                page,
                "ratios",
                &[ratio("ASR", of(CallResult::Answered)), ratio("NER", self.effective)],
                style,
            );
        }
        for (label, spread) in [("post-dial delay", &self.post_dial_delay), ("setup", &self.setup)] {
            if let Some(median) = spread.median() {
                let median = Cell::plain(format!("median {} s", seconds(Some(median))));
                let worst = Cell::plain(format!("worst {} s", seconds(Some(spread.most))));
                items(page, label, &[median, worst], style);
            }
        }
        if let Some(median) = self.duration.median() {
            let median = Cell::plain(format!("median {}", talk(Some(median))));
            let longest = Cell::plain(format!("longest {}", talk(Some(self.duration.most))));
            items(page, "duration", &[median, longest], style);
        }
        let mut unheard = Vec::new();
        unheard.extend(named("one-way", self.one_way, Tone::Bad));
        unheard.extend(named("dead air", self.dead_air, Tone::Bad));
        items(page, "not heard", &unheard, style);
    }

    pub(super) fn rows(
        &mut self,
        page: &mut String,
        losses: &mut Losses,
        totals: &Totals,
        notes: &mut Notes,
        style: Style,
    ) {
        if self.attempts == 0 {
            return;
        }
        let day = |stamp: crate::Stamp| stamp.0 / NANOS_PER_DAY;
        let dated = totals.first.map(day) != totals.last.map(day);
        let mut lines = Vec::new();
        for (call, loss) in self.worst.rows() {
            let loss = loss.with(losses.take(&call.call_ids));
            notes.directions |= loss.to_callee.is_some() || loss.to_caller.is_some();
            lines.push(row(call, loss, dated, notes, style));
        }
        title(page, "Calls, worst first", style);
        table(page, COLUMNS, &lines, style);
        notes.losses_refused = losses.refused;
        left_out(page, self.worst.seen - lines.len() as u64, style);
    }
}

fn row(call: &Call, loss: Loss, dated: bool, notes: &mut Notes, style: Style) -> Vec<Cell> {
    let outcome_tone = match badness(call) {
        60.. if call.result != Some(CallResult::Answered) => Tone::Bad,
        40.. if call.result != Some(CallResult::Answered) => Tone::Fair,
        _ => Tone::Plain,
    };
    let when = clock(call.start, dated);
    let flags = flags(call);
    let grave = flags.first().is_some_and(|flag| *flag <= Flag::DeadAir);
    vec![
        Cell::plain(if dated { when.get(5..).unwrap_or(&when) } else { &when }),
        Cell::plain(style.clean(party(&call.from))),
        Cell::plain(style.clean(party(&call.to))),
        Cell::toned(outcome(call), outcome_tone),
        Cell::toned(seconds(call.post_dial_delay), delay_tone(call.post_dial_delay)),
        Cell::plain(seconds(call.setup)),
        Cell::plain(talk(call.duration)),
        Cell::toned(call.mos.map(opinion).unwrap_or_default(), mos_tone(call.mos)),
        Cell::toned(percent(loss.to_callee), loss_tone(loss.to_callee)),
        Cell::toned(percent(loss.to_caller), loss_tone(loss.to_caller)),
        Cell::toned(notes.words(&flags), if grave { Tone::Bad } else { Tone::Faint }),
    ]
}

fn flags(call: &Call) -> Vec<Flag> {
    let answered = call.result == Some(CallResult::Answered);
    let ended = call.state == CallState::Ended;
    let without_bye = !matches!(call.end_reason, Some(EndReason::Bye | EndReason::Replaced) | None);
    [
        (call.one_way == Some(Missing::ToCaller), Flag::OneWayCaller),
        (call.one_way == Some(Missing::ToCallee), Flag::OneWayCallee),
        (call.dead_air == Some(true), Flag::DeadAir),
        (answered && ended && without_bye, Flag::NoBye),
        (!ended, Flag::StillUp),
        (call.retransmissions > 0, Flag::Resent),
        (call.transferred, Flag::Transfer),
        (call.forked, Flag::Forked),
        (call.early_media, Flag::Early),
        (call.challenged, Flag::Auth),
    ]
    .into_iter()
    .filter_map(|(set, flag)| set.then_some(flag))
    .collect()
}

/// How urgently somebody should look at this call, 0 to 100.
fn badness(call: &Call) -> u64 {
    let media = match (call.one_way, call.dead_air, call.mos) {
        (Some(_), _, _) => 100,
        (_, Some(true), _) => 90,
        (_, _, Some(mos)) => ((4.5 - mos).clamp(0.0, 3.5) * 25.0) as u64,
        _ => 0,
    };
    let signalling = match call.result {
        Some(CallResult::Timeout) => 85,
        Some(CallResult::NoFinal) => 75,
        Some(CallResult::Failed | CallResult::Cancelled) if is_users_choice(call) => 15,
        Some(CallResult::Failed) if matches!(call.status, Some(408 | 500..=599)) => 70,
        Some(CallResult::Failed) => 45,
        Some(CallResult::AbandonedAuth | CallResult::Cancelled) => 20,
        Some(CallResult::Answered) if flags(call).contains(&Flag::NoBye) => 30,
        Some(CallResult::Answered | CallResult::Redirected) | None => 0,
    };
    let slow = match call.post_dial_delay {
        Some(delay) if delay > 11.0 => 40,
        Some(delay) if delay > 5.0 => 25,
        _ => 0,
    };
    media.max(signalling).max(slow)
}

/// The network did its part: busy, declined, not answered, given up while ringing (MEAS 5.5, NER).
fn is_users_choice(call: &Call) -> bool {
    match (call.result, call.status) {
        (Some(CallResult::Failed), Some(480 | 486 | 600 | 603)) => true,
        (Some(CallResult::Failed | CallResult::Cancelled), Some(408 | 487))
        | (Some(CallResult::Cancelled), _) => call.post_dial_delay.is_some(),
        _ => false,
    }
}

fn outcome(call: &Call) -> String {
    let Some(result) = call.result else {
        return match call.state {
            CallState::Trying => "trying",
            CallState::Ringing => "ringing",
            CallState::Confirmed => "up",
            CallState::Ended => "ended",
        }
        .to_owned();
    };
    let status = call.status.unwrap_or(0).min(999);
    match result {
        CallResult::Answered => "answered".to_owned(),
        CallResult::Redirected => format!("{status} redirected"),
        CallResult::Failed => format!("{status} {}", phrase(status)),
        CallResult::Timeout => "no response".to_owned(),
        CallResult::NoFinal => "no final".to_owned(),
        CallResult::AbandonedAuth => "auth given up".to_owned(),
        CallResult::Cancelled => "cancelled".to_owned(),
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        401 | 407 => "auth refused",
        402 => "payment",
        403 => "forbidden",
        404 | 604 => "not found",
        408 | 504 => "timeout",
        410 => "gone",
        415 => "media type",
        420 => "bad extension",
        480 => "unavailable",
        481 => "no such call",
        482 => "loop",
        483 => "too many hops",
        484 => "incomplete",
        485 => "ambiguous",
        486 | 600 => "busy",
        487 => "cancelled",
        488 | 606 => "unacceptable",
        500 => "server error",
        501 => "unsupported",
        502 => "bad gateway",
        503 => "no service",
        513 => "too large",
        603 => "declined",
        607 => "unwanted",
        608 => "rejected",
        _ => "failed",
    }
}

/// ITU-T E.721: 95 % of calls within 6 s (local) and 11 s (international).
fn delay_tone(delay: Option<f64>) -> Tone {
    match delay {
        Some(delay) if delay > 11.0 => Tone::Bad,
        Some(delay) if delay > 6.0 => Tone::Fair,
        _ => Tone::Plain,
    }
}

/// Below R 60 and R 70 of ITU-T G.109: poor, low.
pub(super) fn mos_tone(mos: Option<f64>) -> Tone {
    match mos {
        Some(mos) if mos < 3.1 => Tone::Bad,
        Some(mos) if mos < 3.6 => Tone::Fair,
        _ => Tone::Plain,
    }
}

pub(super) fn loss_tone(ratio: Option<f64>) -> Tone {
    match ratio {
        Some(ratio) if ratio > 0.03 => Tone::Bad,
        Some(ratio) if ratio > 0.01 => Tone::Fair,
        _ => Tone::Plain,
    }
}

const COLUMNS: &[Column] = &[
    Column { head: "start", align: Align::Left, give: Give::Never },
    Column { head: "from", align: Align::Left, give: Give::Middle(13) },
    Column { head: "to", align: Align::Left, give: Give::Middle(13) },
    Column { head: "result", align: Align::Left, give: Give::Middle(13) },
    Column { head: "PDD s", align: Align::Right, give: Give::Never },
    Column { head: "setup", align: Align::Right, give: Give::Never },
    Column { head: "talk", align: Align::Right, give: Give::Never },
    Column { head: "MOS", align: Align::Right, give: Give::Never },
    Column { head: "loss>", align: Align::Right, give: Give::Never },
    Column { head: "loss<", align: Align::Right, give: Give::Never },
    Column { head: "flags", align: Align::Left, give: Give::Words(13) },
];
const CAUSES: usize = 10;
const NANOS_PER_DAY: u64 = 86_400_000_000_000;
