//! How long a connection may take over what it does.
//!
//! ```text
//!            first byte                        request whole        answered          all of it taken
//! idle ----------------------> head ---------------------> working --------> sending ----------------> idle
//! idle time                    header time                 request time      send time
//! ```
//!
//! A connection begins in `head`. Requests of HTTP/2 overlap: its frames between requests are no beginning of one,
//! so it stays idle until a request is whole, and its answers are each timed for themselves.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Settings;

/// What one connection does now.
#[derive(Debug)]
pub(crate) struct Pace {
    header_time: Duration,
    send_time: Duration,
    idle_time: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: Waiting,
    since: Instant,
    working: usize,
    /// Answers that are not taken yet, the oldest first.
    sending: Vec<(u64, Instant)>,
    next_answer: u64,
    is_http2: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Head,
    Idle,
    Closing,
}

/// Whose time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    Header,
    Send,
    Idle,
    Close,
}

impl Pace {
    /// Of a connection that was accepted at that time.
    pub(crate) fn new(settings: &Settings, accepted: Instant) -> Self {
        let state = State {
            waiting: Waiting::Head,
            since: accepted,
            working: 0,
            sending: Vec::new(),
            next_answer: 0,
            is_http2: false,
        };
        Self {
            header_time: settings.header_time,
            send_time: settings.send_time,
            idle_time: settings.idle_time,
            state: Mutex::new(state),
        }
    }

    /// Bytes came.
    pub(crate) fn heard(&self, now: Instant) {
        self.with(|state| {
            if state.waiting == Waiting::Idle && !state.is_http2 && state.is_at_rest() {
                state.wait(Waiting::Head, now);
            }
        });
    }

    /// A request is whole.
    pub(crate) fn begin(&self, is_http2: bool) {
        self.with(|state| {
            state.is_http2 = is_http2;
            state.working += 1;
        });
    }

    /// It is answered; returns the name of the answer for [`Pace::taken`].
    pub(crate) fn answered(&self, now: Instant) -> u64 {
        self.with(|state| {
            state.working = state.working.saturating_sub(1);
            state.next_answer += 1;
            state.sending.push((state.next_answer, now));
            state.next_answer
        })
    }

    /// The client hung up on a request.
    pub(crate) fn abandoned(&self, now: Instant) {
        self.with(|state| {
            state.working = state.working.saturating_sub(1);
            state.wait(Waiting::Idle, now);
        });
    }

    /// The body of the answer is handed over, or given up.
    pub(crate) fn taken(&self, answer: u64, now: Instant) {
        self.with(|state| {
            state.sending.retain(|(name, _)| *name != answer);
            state.wait(Waiting::Idle, now);
        });
    }

    /// The last word is said; what the client still sends is thrown away for a moment.
    pub(crate) fn closing(&self, now: Instant) {
        self.with(|state| state.wait(Waiting::Closing, now));
    }

    /// When time is up, and what for; `None` while an answer is being made, which has its own time.
    pub(crate) fn deadline(&self) -> Option<(Instant, Late)> {
        self.with(|state| {
            if let Some((_, since)) = state.sending.first() {
                return Some((*since + self.send_time, Late::Send));
            }
            if state.working > 0 {
                return None;
            }
            Some(match state.waiting {
                Waiting::Head => (state.since + self.header_time, Late::Header),
                Waiting::Idle => (state.since + self.idle_time, Late::Idle),
                Waiting::Closing => (state.since + CLOSE_TIME, Late::Close),
            })
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn is_at_rest(&self) -> bool {
        self.working == 0 && self.sending.is_empty()
    }

    fn wait(&mut self, waiting: Waiting, now: Instant) {
        if self.waiting != Waiting::Closing {
            self.waiting = waiting;
            self.since = now;
        }
    }
}

const CLOSE_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> (Pace, Instant, Settings) {
        let (settings, now) = (Settings::default(), Instant::now());
        (Pace::new(&settings, now), now, settings)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_dribbled_head_does_not_gain_time() {
        let (pace, start, settings) = pace();
        for second in 1..9 {
            pace.heard(start + SECOND * second);
        }
        assert_eq!(pace.deadline(), Some((start + settings.header_time, Late::Header)));
    }

    #[test]
    fn a_connection_between_requests_is_idle_until_it_says_something() {
        let (pace, start, settings) = pace();
        pace.begin(false);
        assert_eq!(pace.deadline(), None);
        let answer = pace.answered(start + SECOND);
        assert_eq!(pace.deadline(), Some((start + SECOND + settings.send_time, Late::Send)));
        pace.taken(answer, start + SECOND * 2);
        assert_eq!(pace.deadline(), Some((start + SECOND * 2 + settings.idle_time, Late::Idle)));
        pace.heard(start + SECOND * 3);
        assert_eq!(pace.deadline(), Some((start + SECOND * 3 + settings.header_time, Late::Header)));
    }

    #[test]
    fn frames_of_http2_are_no_request() {
        let (pace, start, settings) = pace();
        pace.begin(true);
        let answer = pace.answered(start);
        pace.taken(answer, start);
        pace.heard(start + SECOND);
        assert_eq!(pace.deadline(), Some((start + settings.idle_time, Late::Idle)));
    }

    #[test]
    fn the_oldest_answer_counts_whatever_else_goes_on() {
        let (pace, start, settings) = pace();
        pace.begin(true);
        pace.answered(start);
        for second in 1..20 {
            pace.begin(true);
            let answer = pace.answered(start + SECOND * second);
            pace.taken(answer, start + SECOND * second);
        }
        pace.begin(true);
        assert_eq!(pace.deadline(), Some((start + settings.send_time, Late::Send)));
    }
}
