//! What all rows add up to, in constant memory: spread of a duration, the worst rows, the loss of each call.

use std::collections::HashMap;

use crate::event::{Direction, Stream};

/// Median and extremes of positive numbers, the median within 1 %: buckets that grow by 1/64 of an octave.
#[derive(Debug)]
pub(super) struct Spread {
    counts: Vec<u32>,
    pub(super) count: u64,
    least: f64,
    pub(super) most: f64,
}

impl Spread {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, least: f64::INFINITY, most: 0.0 }
    }

    pub(super) fn add(&mut self, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let value = value.max(0.0);
        let place = ((value.max(LEAST) / LEAST).log2() * PER_OCTAVE) as usize;
        if let Some(count) = self.counts.get_mut(place.min(BUCKETS - 1)) {
            *count = count.saturating_add(1);
        }
        self.count += 1;
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    pub(super) fn median(&self) -> Option<f64> {
        let mut before = 0;
        for (place, &count) in self.counts.iter().enumerate() {
            before += u64::from(count);
            if count > 0 && before * 2 >= self.count {
                let middle = LEAST * ((place as f64 + 0.5) / PER_OCTAVE).exp2();
                return Some(middle.clamp(self.least, self.most));
            }
        }
        None
    }
}

/// Keeps the worst rows of any number, in constant memory; 0 keeps all.
#[derive(Debug)]
pub(super) struct Worst<T> {
    top: usize,
    rows: Vec<(Rank, Box<T>)>,
    pub(super) seen: u64,
}

/// The higher the worse; equals in the order they came.
type Rank = (u64, std::cmp::Reverse<u64>);

impl<T> Worst<T> {
    pub(super) fn new(top: usize) -> Self {
        Self { top, rows: Vec::new(), seen: 0 }
    }

    pub(super) fn add(&mut self, badness: u64, row: T) {
        self.rows.push(((badness, std::cmp::Reverse(self.seen)), Box::new(row)));
        self.seen += 1;
        if self.top > 0 && self.rows.len() >= 2 * self.top + SLACK {
            self.prune();
        }
    }

    fn prune(&mut self) {
        self.rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.0));
        if self.top > 0 {
            self.rows.truncate(self.top);
        }
    }

    /// The rows, the worst first.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = &T> + Clone {
        self.prune();
        self.rows.iter().map(|(_, row)| &**row)
    }
}

/// Loss in each direction of a call, until the call's own record is seen (its streams may come before or after).
#[derive(Debug, Default)]
pub(super) struct Losses {
    by_call: HashMap<String, Loss>,
    /// Streams whose loss was not kept because too many calls were waiting.
    pub(super) refused: u64,
}

/// Worst loss ratio of the streams in each direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loss {
    pub(super) to_callee: Option<f64>,
    pub(super) to_caller: Option<f64>,
}

impl Losses {
    pub(super) fn add(&mut self, stream: &Stream) {
        let (Some(call), Some(direction)) = (&stream.call_id, stream.direction) else { return };
        let found = if let Some(found) = self.by_call.get_mut(call) {
            found
        } else if self.by_call.len() < CALLS_WAITING {
            self.by_call.entry(call.clone()).or_default()
        } else {
            self.refused += 1;
            return;
        };
        let side = match direction {
            Direction::ToCallee => &mut found.to_callee,
            Direction::ToCaller => &mut found.to_caller,
        };
        *side = worse(*side, stream.loss_ratio);
    }

    pub(super) fn take(&mut self, call_ids: &[String]) -> Loss {
        let taken = call_ids.iter().filter_map(|id| self.by_call.remove(id));
        taken.fold(Loss::default(), Loss::with)
    }
}

impl Loss {
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            to_callee: worse(self.to_callee, other.to_callee),
            to_caller: worse(self.to_caller, other.to_caller),
        }
    }
}

fn worse(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

/// From 10 microseconds ...
const LEAST: f64 = 1e-5;
const PER_OCTAVE: f64 = 64.0;
/// ... over 34 octaves, to two days.
const BUCKETS: usize = 34 * 64;
const SLACK: usize = 64;
/// Calls whose streams are known and whose record is not. Beyond, the loss columns of a call stay empty.
const CALLS_WAITING: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_within_one_percent() {
        let mut spread = Spread::new();
        for value in 1..=1001 {
            spread.add(Some(f64::from(value) / 100.0));
        }
        let median = spread.median().unwrap();
        assert!((median / 5.01 - 1.0).abs() < 0.01, "{median}");
        assert!((spread.most - 10.01).abs() < 1e-9);
    }

    #[test]
    fn one_value_is_its_own_median() {
        let mut spread = Spread::new();
        assert_eq!(spread.median(), None);
        spread.add(Some(1.503));
        spread.add(None);
        spread.add(Some(f64::NAN));
        assert_eq!(spread.median(), Some(1.503));
        assert_eq!(spread.count, 1);
    }

    #[test]
    fn only_the_worst_rows_are_kept_the_worst_first_and_equals_in_order() {
        let mut worst = Worst::new(3);
        for row in 0..10_000_u64 {
            worst.add(row % 100, row);
            assert!(worst.rows.len() < 2 * 3 + SLACK);
        }
        assert_eq!(worst.rows().copied().collect::<Vec<_>>(), [99, 199, 299]);
        assert_eq!(worst.seen, 10_000);
    }

    #[test]
    fn calls_that_never_come_do_not_fill_the_memory() {
        let mut losses = Losses::default();
        let mut stream = crate::export::samples::stream();
        for call in 0..CALLS_WAITING + 3 {
            stream.call_id = Some(call.to_string());
            losses.add(&stream);
        }
        assert_eq!(losses.by_call.len(), CALLS_WAITING);
        assert_eq!(losses.refused, 3);
        assert!(losses.take(&["0".to_owned()]).to_callee.is_some());
        losses.add(&stream);
        assert_eq!(losses.refused, 3, "there is room again");
    }

    #[test]
    fn top_0_keeps_all() {
        let mut worst = Worst::new(0);
        (0..1000).for_each(|row| worst.add(row, row));
        assert_eq!(worst.rows().count(), 1000);
    }
}
