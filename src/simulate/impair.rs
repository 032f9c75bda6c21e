//! What happens to packets on their way: loss, duplication, reordering, delay. Delays never let one packet
//! overtake another; only reordering does, so each impairment can be asked for alone.

use super::Plan;
use crate::random::Random;

/// The impairments of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Impairment {
    loss: Loss,
    duplicate: f64,
    reorder: f64,
    most_delay_nanos: u64,
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    Duplicated,
    /// It lets its successor pass.
    Late,
}

impl Impairment {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            loss: Loss::new(plan.loss / 100.0, plan.burst),
            duplicate: plan.duplicate / 100.0,
            reorder: plan.reorder / 100.0,
            most_delay_nanos: (plan.jitter * DELAY_OF_JITTER * 1e6) as u64,
        }
    }

    /// Draws the fate of the next packet.
    pub(crate) fn fate(&mut self, random: &mut Random) -> Fate {
        if self.loss.next(random) {
            Fate::Lost
        } else if random.happens(self.reorder) {
            Fate::Late
        } else if random.happens(self.duplicate) {
            Fate::Duplicated
        } else {
            Fate::Arrives
        }
    }

    /// Draws how long the next packet is held up, in nanoseconds.
    pub(crate) fn delay(&self, random: &mut Random) -> u64 {
        if self.most_delay_nanos == 0 { 0 } else { random.between(0, self.most_delay_nanos) }
    }

    /// The longest delay drawn, in nanoseconds.
    pub(crate) fn most_delay(&self) -> u64 {
        self.most_delay_nanos
    }
}

/// Independent loss, or the two states of Gilbert: every packet in the bad one is lost.
#[derive(Clone, Debug)]
struct Loss {
    ratio: f64,
    /// Probabilities of entering and of leaving the bad state; `None` = independent.
    gilbert: Option<(f64, f64)>,
    bad: bool,
}

impl Loss {
    /// `burst` is the mean length of a run of losses. The bad state is left with 1/burst and entered so often
    /// that `ratio` of all packets fall into it.
    fn new(ratio: f64, burst: f64) -> Self {
        let leave = 1.0 / burst;
        let gilbert = (burst > 1.0).then(|| ((leave * ratio / (1.0 - ratio)).min(1.0), leave));
        Self { ratio, gilbert, bad: false }
    }

    fn next(&mut self, random: &mut Random) -> bool {
        match self.gilbert {
            None => random.happens(self.ratio),
            Some((enter, leave)) => {
                let change = random.happens(if self.bad { leave } else { enter });
                self.bad ^= change;
                self.bad
            }
        }
    }
}

/// Delays are uniform between 0 and this times the jitter asked for: the mean difference of two of them, which
/// the RFC 3550 estimate settles at, is a third of the width.
const DELAY_OF_JITTER: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gilbert_loss_has_the_ratio_and_the_burst_length_asked_for() {
        for (ratio, burst) in [(0.05, 1.0), (0.05, 4.0), (0.2, 2.5)] {
            let mut loss = Loss::new(ratio, burst);
            let mut random = Random::new(7, 0);
            let outcomes: Vec<bool> = (0..400_000).map(|_| loss.next(&mut random)).collect();
            let bad = outcomes.iter().filter(|bad| **bad).count() as f64;
            let runs = outcomes.windows(2).filter(|pair| matches!(pair, [false, true])).count() as f64;
            let mean_run = if burst > 1.0 { burst } else { 1.0 / (1.0 - ratio) };
            assert!((bad / 400_000.0 - ratio).abs() < ratio * 0.05, "{ratio} {burst}");
            assert!((bad / runs - mean_run).abs() < mean_run * 0.05, "{ratio} {burst}");
        }
    }
}
