//! Registrations by outcome.

use std::collections::BTreeMap;

use crate::event::{Registration, RegistrationResult};

use super::layout::{Cell, items, title};
use super::style::{Style, Tone};
use super::tally::Spread;
use super::words::{grouped, seconds};

#[derive(Debug)]
pub(super) struct RegistrationSection {
    attempts: u64,
    outcomes: BTreeMap<String, u64>,
    delay: Spread,
}

impl RegistrationSection {
    pub(super) fn new() -> Self {
        Self { attempts: 0, outcomes: BTreeMap::new(), delay: Spread::new() }
    }

    pub(super) fn add(&mut self, registration: &Registration) {
        self.attempts += 1;
        let outcome = match (registration.result, registration.status) {
            (Some(RegistrationResult::Success), _) => "succeeded".to_owned(),
            (Some(RegistrationResult::Failure), Some(status)) => format!("failed by {}", status.min(999)),
            (Some(RegistrationResult::Failure), None) => "failed".to_owned(),
            (Some(RegistrationResult::Timeout), _) => "no response".to_owned(),
            (Some(RegistrationResult::Redirect), _) => "redirected".to_owned(),
            (Some(RegistrationResult::Unregister), _) => "unregistered".to_owned(),
            (Some(RegistrationResult::Abandoned), _) => "gave up at the challenge".to_owned(),
            (None, _) => "not over yet".to_owned(),
        };
        *self.outcomes.entry(outcome).or_default() += 1;
        self.delay.add(registration.delay);
    }

    pub(super) fn summary(&self, page: &mut String, style: Style) {
        if self.attempts == 0 {
            return;
        }
        title(page, "Registrations", style);
        let mut all = vec![Cell::plain(grouped(self.attempts))];
        let mut outcomes: Vec<_> = self.outcomes.iter().collect();
        outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        all.extend(outcomes.iter().take(OUTCOMES).map(|(outcome, count)| {
            let tone = if outcome.starts_with("no response") { Tone::Bad } else { Tone::Plain };
            Cell::toned(format!("{outcome} {}", grouped(**count)), tone)
        }));
        items(page, "attempts", &all, style);
        if let Some(median) = self.delay.median() {
            let median = Cell::plain(format!("median {} s", seconds(Some(median))));
            let worst = Cell::plain(format!("worst {} s", seconds(Some(self.delay.most))));
            items(page, "delay", &[median, worst], style);
        }
    }
}

const OUTCOMES: usize = 12;
