//! Confirmed dialogs of a call (RFC 3261 12, MEAS 5.6) and how long they may be silent (MEAS 5.7).

use crate::Stamp;
use crate::event::EndReason;
use crate::sip::sdp::{Direction, Kind, Session};

/// The confirmed dialogs that one INVITE made; usually one.
#[derive(Debug, Default)]
pub(super) struct Dialogs {
    open: Vec<Dialog>,
    /// Latest BYE of those that are closed.
    closed_by: Stamp,
}

#[derive(Clone, Copy, Debug)]
struct Dialog {
    /// Tag of the callee.
    tag: u64,
    bye: Option<Bye>,
}

/// A BYE that waits for its final response.
#[derive(Clone, Copy, Debug)]
struct Bye {
    first: Stamp,
    latest: Stamp,
    /// Seen on the primary hop; another hop's counts only when that one stays silent.
    primary: bool,
    /// Its final response on a hop that is not the primary one.
    answered: Option<Stamp>,
}

/// What the final response of a BYE did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Closed {
    Nothing,
    /// Another dialog of the call lives on.
    One,
    /// The last one: when the call ended.
    Last(Hangup),
}

/// The end of a call by BYE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hangup {
    /// tBYE.
    pub(super) bye: Stamp,
    /// BYE to its final response, or the time-out.
    pub(super) disconnect_seconds: f64,
}

impl Dialogs {
    /// A 2xx of the INVITE; whether it made a new dialog.
    pub(super) fn confirm(&mut self, tag: u64) -> bool {
        if self.open.iter().any(|dialog| dialog.tag == tag) || self.open.len() >= MAX_DIALOGS {
            return false;
        }
        if self.open.is_empty() {
            self.open.reserve_exact(1);
        }
        self.open.push(Dialog { tag, bye: None });
        true
    }

    pub(super) fn has(&self, tag: u64) -> bool {
        self.open.iter().any(|dialog| dialog.tag == tag)
    }

    /// A BYE request. The first one counts, on the primary hop if it is seen there.
    pub(super) fn bye(&mut self, at: Stamp, tag: u64, primary: bool) {
        let Some(dialog) = self.open.iter_mut().find(|dialog| dialog.tag == tag) else { return };
        match &mut dialog.bye {
            Some(bye) if bye.primary || !primary => {
                if bye.primary == primary {
                    bye.latest = at;
                }
            }
            bye => *bye = Some(Bye { first: at, latest: at, primary, answered: None }),
        }
    }

    /// A final response to a BYE. Whatever it says, the sender of the BYE has left (RFC 3261 15.1.1); only a
    /// challenge makes it send another one.
    pub(super) fn bye_answered(&mut self, at: Stamp, tag: u64, status: u16, primary: bool) -> Closed {
        if matches!(status, 0..200 | 401 | 407) {
            return Closed::Nothing;
        }
        let Some(index) = self.open.iter().position(|dialog| dialog.tag == tag) else {
            return Closed::Nothing;
        };
        let Some(dialog) = self.open.get_mut(index) else { return Closed::Nothing };
        let Some(bye) = &mut dialog.bye else { return Closed::Nothing };
        if bye.primary != primary {
            return Closed::Nothing;
        }
        if !primary {
            bye.answered.get_or_insert(at);
            return Closed::Nothing;
        }
        let disconnect_seconds = at.seconds_since(bye.first).max(0.0);
        self.closed_by = self.closed_by.max(bye.first);
        self.open.remove(index);
        if self.open.is_empty() {
            Closed::Last(Hangup { bye: self.closed_by, disconnect_seconds })
        } else {
            Closed::One
        }
    }

    /// A dialog ended without BYE; whether it was the last one.
    pub(super) fn drop(&mut self, tag: u64) -> bool {
        let before = self.open.len();
        self.open.retain(|dialog| dialog.tag != tag);
        self.open.is_empty() && before > 0
    }

    /// When BYEs without an answer end the call: all its dialogs have one.
    pub(super) fn bye_deadline(&self) -> Option<Stamp> {
        let deadline = |dialog: &Dialog| {
            let bye = dialog.bye?;
            Some(match bye.answered {
                Some(answered) => answered.plus_seconds(OTHER_HOP),
                None => bye.latest.plus_seconds(NO_BYE_ANSWER),
            })
        };
        self.open
            .iter()
            .map(deadline)
            .try_fold(Stamp(0), |latest, next| Some(latest.max(next?)))
            .filter(|_| !self.open.is_empty())
    }

    /// The call ended by BYEs of which the last had no answer on the primary hop.
    pub(super) fn hang_up(&self) -> Option<Hangup> {
        let bye = self.open.iter().filter_map(|dialog| dialog.bye).max_by_key(|bye| bye.first)?;
        let disconnect_seconds = match bye.answered {
            Some(answered) => answered.seconds_since(bye.first).max(0.0),
            None => NO_BYE_ANSWER as f64,
        };
        Some(Hangup { bye: bye.first.max(self.closed_by), disconnect_seconds })
    }

    pub(super) fn bytes(&self) -> usize {
        self.open.capacity() * size_of::<Dialog>()
    }
}

/// Signs of life of an answered call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    /// Session-Expires in seconds (RFC 4028), and the last refresh.
    session: Option<(u32, Stamp)>,
    /// Audio of caller and callee is on hold.
    held: [bool; 2],
    /// Last media packet.
    pub(super) media: Option<Stamp>,
}

impl Life {
    /// A 2xx that negotiates or refreshes the session: without Session-Expires the session has no expiry
    /// (RFC 4028 7.2).
    pub(super) fn refresh(&mut self, at: Stamp, session_expires: Option<u32>) {
        self.session = session_expires.map(|seconds| (seconds, at));
    }

    /// What one side says about its audio: sendonly, recvonly, inactive or c=0.0.0.0 is hold.
    pub(super) fn describe(&mut self, side: usize, session: &Session) {
        let audio = session.media.iter().find(|media| media.kind == Kind::Audio && media.port != 0);
        if let (Some(audio), Some(held)) = (audio, self.held.get_mut(side)) {
            *held = audio.direction != Direction::SendRecv;
        }
    }

    /// The earliest end without BYE, in the order of MEAS 5.7 where two are equal.
    pub(super) fn deadline(&self, start: Stamp, last_message: Stamp) -> (Stamp, EndReason) {
        let silence = if self.held.contains(&true) { HELD } else { TALKING };
        let quiet = match self.media {
            Some(media) => {
                (media.plus_seconds(silence).max(last_message.plus_seconds(TALKING)), EndReason::RtpTimeout)
            }
            None => (last_message.plus_seconds(IDLE), EndReason::Idle),
        };
        let mut first = (start.plus_seconds(MAX_AGE), EndReason::MaxAge);
        if quiet.0 <= first.0 {
            first = quiet;
        }
        if let Some((seconds, refreshed)) = self.session {
            let expiry = refreshed.plus_seconds(u64::from(seconds) + NO_BYE_ANSWER);
            if expiry <= first.0 {
                first = (expiry, EndReason::SessionTimer);
            }
        }
        first
    }
}

/// Dialogs of one call that are told apart.
const MAX_DIALOGS: usize = 32;

/// Seconds without answer to a BYE: 64*T1.
pub(super) const NO_BYE_ANSWER: u64 = 32;

/// Seconds that the primary hop may lag behind another hop with the end of a call.
const OTHER_HOP: u64 = 2;

/// Seconds without media and without SIP that end a call.
const TALKING: u64 = 60;

/// Seconds without media that end a call on hold.
const HELD: u64 = 300;

/// Seconds without SIP that end a call whose media were never seen.
const IDLE: u64 = 4 * 3600;

/// Seconds that a call may last.
const MAX_AGE: u64 = 24 * 3600;
