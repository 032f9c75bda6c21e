//! What facts are called wherever they are told: in metrics, logs and traces as in the JSON report.

use super::{CallResult, CallState, Direction, EndReason, Missing, RegistrationResult};

impl CallState {
    /// As in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Ringing => "ringing",
            Self::Confirmed => "confirmed",
            Self::Ended => "ended",
        }
    }
}

impl CallResult {
    /// As in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Redirected => "redirected",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::NoFinal => "no_final",
            Self::AbandonedAuth => "abandoned_auth",
            Self::Cancelled => "cancelled",
        }
    }
}

impl EndReason {
    /// As in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::SessionTimer => "session_timer",
            Self::RtpTimeout => "rtp_timeout",
            Self::Idle => "idle",
            Self::MaxAge => "max_age",
            Self::Evicted => "evicted",
            Self::Replaced => "replaced",
            Self::DoesNotExist => "481",
            Self::ReinviteTimeout => "408",
        }
    }
}

impl Missing {
    /// As in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToCaller => "to_caller",
            Self::ToCallee => "to_callee",
        }
    }
}

impl RegistrationResult {
    /// As in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Redirect => "redirect",
            Self::Unregister => "unregister",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Direction {
    /// As in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToCaller => "to_caller",
            Self::ToCallee => "to_callee",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_calls_them_the_same() {
        fn same(value: impl serde::Serialize, name: &str) {
            assert_eq!(serde_json::to_value(value).unwrap(), name);
        }
        for state in [CallState::Trying, CallState::Ringing, CallState::Confirmed, CallState::Ended] {
            same(state, state.name());
        }
        for result in [
            CallResult::Answered,
            CallResult::Redirected,
            CallResult::Failed,
            CallResult::Timeout,
            CallResult::NoFinal,
            CallResult::AbandonedAuth,
            CallResult::Cancelled,
        ] {
            same(result, result.name());
        }
        for reason in [
            EndReason::Bye,
            EndReason::SessionTimer,
            EndReason::RtpTimeout,
            EndReason::Idle,
            EndReason::MaxAge,
            EndReason::Evicted,
            EndReason::Replaced,
            EndReason::DoesNotExist,
            EndReason::ReinviteTimeout,
        ] {
            same(reason, reason.name());
        }
        for result in [
            RegistrationResult::Success,
            RegistrationResult::Failure,
            RegistrationResult::Timeout,
            RegistrationResult::Redirect,
            RegistrationResult::Unregister,
            RegistrationResult::Abandoned,
        ] {
            same(result, result.name());
        }
        for missing in [Missing::ToCaller, Missing::ToCallee] {
            same(missing, missing.name());
        }
        for direction in [Direction::ToCaller, Direction::ToCallee] {
            same(direction, direction.name());
        }
    }
}
