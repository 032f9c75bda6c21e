//! One call attempt, from the first INVITE to its only outcome (MEAS 5.2 to 5.4, C.6; RFC 6076).
//!
//! ```text
//! trying -> (challenged -> trying)* -> ringing -> answered
//!                                  \-> over: redirected, failed, cancelled,
//!                                            timeout, no_final, abandoned_auth
//! ```

use crate::Stamp;
use crate::event::CallResult;
use crate::sip::StartLine;

/// State of an attempt on its primary hop.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) phase: Phase,
    pub(super) result: Option<CallResult>,
    /// Final status.
    pub(super) status: Option<u16>,
    /// CSeq number of the INVITE that counts now.
    pub(super) cseq: u32,
    /// t0: the first INVITE.
    pub(super) start: Stamp,
    /// First INVITE of the transaction that counts now.
    pub(super) transaction_start: Stamp,
    /// First response to the first INVITE.
    pub(super) first_response: Option<Stamp>,
    /// tch: the first INVITE with credentials.
    pub(super) retried: Option<Stamp>,
    /// t18: the first of 180 to 183.
    pub(super) ringing: Option<Stamp>,
    /// First 2xx.
    pub(super) answered: Option<Stamp>,
    /// tF of an attempt that was not answered, or its time-out.
    pub(super) over: Option<Stamp>,
    challenged_at: Stamp,
    /// Some response came to the INVITE that counts now: timer B no longer runs.
    provisional: bool,
    challenges: u8,
    first_tag: u64,
    pub(super) forked: bool,
    pub(super) early_media: bool,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Trying,
    Ringing,
    Challenged,
    Answered,
    Over,
}

/// A response to the INVITE on the primary hop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Fingerprint of the To-tag.
    pub(super) tag: u64,
    pub(super) stale: bool,
    pub(super) has_sdp: bool,
}

impl Attempt {
    pub(super) fn new(start: Stamp, cseq: u32) -> Self {
        Self {
            phase: Phase::Trying,
            result: None,
            status: None,
            cseq,
            start,
            transaction_start: start,
            first_response: None,
            retried: None,
            ringing: None,
            answered: None,
            over: None,
            challenged_at: start,
            provisional: false,
            challenges: 0,
            first_tag: 0,
            forked: false,
            early_media: false,
        }
    }

    /// Whether a 401, 402 or 407 was part of it.
    pub(super) fn challenged(&self) -> bool {
        self.challenges != 0
    }

    /// Whether it has neither been answered nor ended.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Trying | Phase::Ringing | Phase::Challenged)
    }

    /// Whether a message of an initial INVITE of this CSeq number decides about the attempt: of the one that
    /// counts now, or a 2xx to an earlier one, as of a client that tries several ports at a time.
    pub(super) fn is_concerned(&self, cseq: u32, start: StartLine<'_>) -> bool {
        let answer = matches!(start, StartLine::Response { status: 200..300, .. });
        cseq == self.cseq || (cseq < self.cseq && answer && self.is_open())
    }

    /// The INVITE of a higher CSeq that goes on with the attempt: with credentials after a challenge, or after
    /// one that was not captured.
    pub(super) fn retry(&mut self, at: Stamp, cseq: u32) {
        if self.phase == Phase::Challenged {
            self.retried.get_or_insert(at);
            self.phase = if self.ringing.is_some() { Phase::Ringing } else { Phase::Trying };
        }
        self.cseq = cseq;
        self.transaction_start = at;
        self.provisional = false;
    }

    /// A response that was not seen before.
    pub(super) fn reply(&mut self, at: Stamp, reply: &Reply) {
        if !self.is_open() || self.phase == Phase::Challenged {
            return;
        }
        if self.retried.is_none() {
            self.first_response.get_or_insert(at);
        }
        self.provisional = true;
        match reply.status {
            0..=199 => self.progress(at, reply),
            200..=299 => {
                self.note_tag(reply.tag);
                self.answered = Some(at);
                self.phase = Phase::Answered;
                self.result = Some(CallResult::Answered);
                self.status = Some(reply.status);
            }
            300..=399 => self.finish(at, CallResult::Redirected, Some(reply.status)),
            401 | 402 | 407 => self.challenge(at, reply),
            // MEAS 5.4: after a CANCEL, or by itself.
            487 => self.finish(at, CallResult::Cancelled, Some(reply.status)),
            _ => self.finish(at, CallResult::Failed, Some(reply.status)),
        }
    }

    /// A 18x or 2xx under another To-tag than the first: several dialogs from one INVITE.
    pub(super) fn note_tag(&mut self, tag: u64) {
        if tag == 0 {
        } else if self.first_tag == 0 {
            self.first_tag = tag;
        } else if self.first_tag != tag {
            self.forked = true;
        }
    }

    /// When it has waited long enough; `last` is the last message of the call.
    pub(super) fn deadline(&self, last: Stamp) -> Option<Stamp> {
        match self.phase {
            // RFC 3261 17.1.1.2: timer B runs until the first provisional response.
            Phase::Trying if !self.provisional => Some(self.transaction_start.plus_seconds(NO_RESPONSE)),
            Phase::Trying | Phase::Ringing => Some(last.plus_seconds(NO_FINAL)),
            Phase::Challenged => Some(self.challenged_at.plus_seconds(NO_RETRY)),
            Phase::Answered | Phase::Over => None,
        }
    }

    /// It has waited until `deadline` in vain.
    pub(super) fn expire(&mut self, deadline: Stamp) {
        let result = match self.phase {
            Phase::Challenged => CallResult::AbandonedAuth,
            Phase::Trying if !self.provisional => CallResult::Timeout,
            Phase::Trying | Phase::Ringing => CallResult::NoFinal,
            Phase::Answered | Phase::Over => return,
        };
        let status = if result == CallResult::AbandonedAuth { self.status } else { None };
        self.finish(deadline, result, status);
    }

    /// RFC 6076 failed session request delay, seconds: a failure response or no response at all, when no 18x
    /// had given its status before. 487 gives none (MEAS 5.3).
    pub(super) fn request_failed(&self) -> Option<f64> {
        let failed = matches!(self.result, Some(CallResult::Failed | CallResult::Timeout));
        match self.over {
            Some(over) if failed && self.ringing.is_none() => Some(over.seconds_since(self.start).max(0.0)),
            _ => None,
        }
    }

    fn progress(&mut self, at: Stamp, reply: &Reply) {
        // 199 tells the end of an early dialog (RFC 6228), 100 nothing at all.
        if !matches!(reply.status, 180..=183) {
            return;
        }
        self.note_tag(reply.tag);
        self.early_media |= reply.has_sdp;
        self.ringing.get_or_insert(at);
        self.phase = Phase::Ringing;
    }

    fn challenge(&mut self, at: Stamp, reply: &Reply) {
        // A second challenge says that the credentials were wrong. One of the other kind does not: the proxy
        // asks with 407, then the server behind it with 401 (RFC 3261 22.3).
        let kind = match reply.status {
            401 => 1,
            402 => 2,
            _ => 4,
        };
        let again = self.challenges & kind != 0;
        self.challenges |= kind;
        if again && !reply.stale {
            self.finish(at, CallResult::Failed, Some(reply.status));
        } else {
            self.phase = Phase::Challenged;
            self.status = Some(reply.status);
            self.challenged_at = at;
        }
    }

    fn finish(&mut self, at: Stamp, result: CallResult, status: Option<u16>) {
        self.phase = Phase::Over;
        self.result = Some(result);
        self.status = status;
        self.over = Some(at);
    }
}

/// Seconds without any response: 64*T1.
const NO_RESPONSE: u64 = 32;

/// Seconds without a final response after a provisional one: above a proxy's timer C of 180 s.
const NO_FINAL: u64 = 240;

/// Seconds without credentials after a challenge.
const NO_RETRY: u64 = 32;
