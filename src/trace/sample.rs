//! Which calls are told: every bad one, and a share of the others (issue: tail sampling).
//!
//! The share is by trace id alone, the same way as OpenTelemetry's consistent probability sampling does it: a trace is
//! kept if the low 56 bits of its id reach a threshold. So every agent on the way of a call decides alike.

use crate::event::{Call, CallResult, Registration, RegistrationResult, Stream};
use crate::export::trace_id::TraceId;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Share of the calls with which nothing was wrong, 0 to 1.
    pub ratio: f64,
    /// A call with a MOS below it is a bad one.
    pub mos_bound: f64,
}

/// What is done with a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Kept, for something was wrong.
    Bad,
    /// Kept, as one of the share.
    Share,
    /// Not kept.
    PassedOver,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { ratio: 0.1, mos_bound: 3.6 }
    }
}

impl Sampling {
    /// Of a call that is over.
    pub fn of_call(&self, trace: TraceId, call: &Call) -> Verdict {
        self.verdict(trace, self.is_bad(call))
    }

    /// Of a registration attempt that is over.
    pub fn of_registration(&self, trace: TraceId, registration: &Registration) -> Verdict {
        let failed = matches!(
            registration.result,
            Some(RegistrationResult::Failure | RegistrationResult::Timeout | RegistrationResult::Abandoned)
        );
        self.verdict(trace, failed)
    }

    /// Failed, one-way, silent, or below the MOS bound.
    pub fn is_bad(&self, call: &Call) -> bool {
        let failed =
            matches!(call.result, Some(CallResult::Failed | CallResult::Timeout | CallResult::NoFinal));
        failed
            || call.one_way.is_some()
            || call.dead_air == Some(true)
            || call.mos.is_some_and(|mos| mos < self.mos_bound)
    }

    /// Whether the call of a stream is sure to be kept, by what is known when the stream ends. Only the first hop
    /// rates a call.
    pub fn is_sure_for(&self, trace: TraceId, stream: &Stream) -> bool {
        let rates = stream.hop.as_ref().is_none_or(|hop| hop.place == 0);
        let bad = stream.mos.is_some_and(|mos| mos.lq < self.mos_bound);
        (rates && bad && stream.call_id.is_some()) || self.is_of_share(trace)
    }

    /// Whether the trace is one of the share.
    pub fn is_of_share(&self, trace: TraceId) -> bool {
        trace.low_bits() >= self.threshold()
    }

    /// What OpenTelemetry calls the rejection threshold, 56 bits: 0 keeps all.
    pub fn threshold(&self) -> u64 {
        let rejected = (1.0 - self.ratio.clamp(0.0, 1.0)) * SPACE as f64;
        (rejected.round() as u64).min(SPACE)
    }

    fn verdict(&self, trace: TraceId, bad: bool) -> Verdict {
        match bad {
            true => Verdict::Bad,
            false if self.is_of_share(trace) => Verdict::Share,
            false => Verdict::PassedOver,
        }
    }
}

/// Number of values of the bits that decide.
const SPACE: u64 = 1 << 56;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Missing, Mos};
    use crate::export::samples;

    fn share(ratio: f64) -> f64 {
        let sampling = Sampling { ratio, ..Sampling::default() };
        let kept = (0..20_000).filter(|n| sampling.is_of_share(TraceId::of_call_id(&n.to_string())));
        kept.count() as f64 / 20_000.0
    }

    #[test]
    fn the_share_is_the_one_asked_for_and_nested() {
        for ratio in [0.0, 0.01, 0.1, 0.5, 1.0] {
            assert!((share(ratio) - ratio).abs() < 0.01, "{ratio} gave {}", share(ratio));
        }
        let (few, many) =
            (Sampling { ratio: 0.1, ..Default::default() }, Sampling { ratio: 0.2, ..Default::default() });
        for n in 0..2000 {
            let trace = TraceId::of_call_id(&n.to_string());
            assert!(
                !few.is_of_share(trace) || many.is_of_share(trace),
                "an agent that keeps more keeps these too"
            );
        }
    }

    #[test]
    fn bad_calls_are_kept_whatever_the_share() {
        let none = Sampling { ratio: 0.0, mos_bound: 3.6 };
        let trace = TraceId::of_call_id("1");
        let of = |call: &Call| none.of_call(trace, call);
        assert_eq!(of(&samples::call()), Verdict::PassedOver);
        for result in [CallResult::Failed, CallResult::Timeout, CallResult::NoFinal] {
            assert_eq!(of(&samples::failed_call(result, None)), Verdict::Bad);
        }
        assert_eq!(of(&samples::failed_call(CallResult::Cancelled, Some(487))), Verdict::PassedOver);
        assert_eq!(of(&Call { one_way: Some(Missing::ToCaller), ..samples::call() }), Verdict::Bad);
        assert_eq!(of(&Call { mos: Some(3.59), ..samples::call() }), Verdict::Bad);
        assert_eq!(of(&Call { mos: Some(3.6), ..samples::call() }), Verdict::PassedOver);
        let mut stream = samples::stream();
        assert!(!none.is_sure_for(trace, &stream));
        stream.mos = Some(Mos { lq: 2.0, cq: None, min_window: None });
        assert!(none.is_sure_for(trace, &stream));
    }
}
