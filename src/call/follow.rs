//! How calls go on: the messages of an attempt and of its dialogs (MEAS 5.2 to 5.7).

use super::attempt::{Phase, Reply};
use super::dialog::Closed;
use super::fingerprint::Names;
use super::gone::Fate;
use super::hop::MAX_HOPS;
use super::state::End;
use super::transaction::Seen;
use super::{CallKey, Calls, Heard, Notice, Routed, Side};
use crate::Stamp;
use crate::event::EndReason;
use crate::sip::{Method, StartLine};

impl Calls {
    /// The call of a message inside a dialog, or of one whose request was not seen.
    pub(super) fn find(&mut self, heard: &Heard<'_>, notices: &mut Vec<Notice>) -> Option<CallKey> {
        let Names { call_id, from_tag, to_tag, .. } = heard.names;
        let request = matches!(heard.m.start, StartLine::Request { .. });
        if request && to_tag == 0 && !matches!(heard.cseq.method, Method::Cancel | Method::Ack | Method::Bye)
        {
            return None;
        }
        let by_caller = self.fingerprints.attempt(call_id, from_tag);
        if let Some(&key) = self.index.get(&by_caller) {
            return Some(key);
        }
        let by_callee = self.fingerprints.attempt(call_id, to_tag);
        if let Some(&key) = self.index.get(&by_callee) {
            return Some(key);
        }
        if request && heard.seen == Seen::New {
            let fate = self.gone.get(by_caller).or_else(|| self.gone.get(by_callee));
            self.stray(heard, fate);
            self.refer(heard, notices);
        }
        None
    }

    /// A request of a call that is not followed, or no longer.
    pub(super) fn stray(&mut self, heard: &Heard<'_>, fate: Option<Fate>) {
        let in_call =
            matches!(heard.cseq.method, Method::Bye | Method::Invite | Method::Update | Method::Prack);
        match fate {
            None if in_call => self.counters.orphans += 1,
            Some(Fate::GivenUp) if heard.cseq.method == Method::Bye => self.counters.late_byes += 1,
            _ => {}
        }
    }

    /// A message of a known call.
    pub(super) fn follow(
        &mut self,
        key: CallKey,
        owner: Option<CallKey>,
        heard: &Heard<'_>,
        notices: &mut Vec<Notice>,
    ) -> Option<Routed> {
        let (at, m) = (heard.at, heard.m);
        if owner != Some(key) {
            self.transactions.entry(heard.names.transaction, at.stamp).belongs_to(key);
        }
        let call = self.table.get_mut(key)?;
        let from_caller = call.is_from_caller(heard);
        let initial = if heard.is_request() { heard.names.to_tag == 0 } else { from_caller };
        let first_invite = initial
            && heard.cseq.method == Method::Invite
            && call.attempt.is_concerned(heard.cseq.number, m.start);
        let hop = if first_invite || heard.cseq.method == Method::Cancel {
            call.hops.of_invite(at, m.via_count)
        } else {
            call.hops.of_dialog(at)
        };
        // What takes a path of its own is not seen on the primary hop, so it counts where it is seen.
        let primary = if first_invite { hop == Some(0) } else { hop.is_none_or(|hop| hop == 0) };
        call.last_message = call.last_message.max(at.stamp);
        if let Some(trail) = &mut call.trail {
            trail.note(heard);
        }
        if let StartLine::Response { status, .. } = m.start {
            call.time_response(heard, status, first_invite);
        }
        let side = if from_caller == heard.is_request() { Side::Caller } else { Side::Callee };
        if heard.seen == Seen::Retransmission {
            if primary && !call.told {
                call.retransmissions += 1;
            }
        } else {
            if let Some(sdp) = heard.sdp
                && primary
            {
                call.life.describe(side as usize, sdp);
            }
            match m.start {
                StartLine::Request { method, .. } => self.request(key, heard, method, primary),
                StartLine::Response { status, .. } if first_invite => {
                    if primary {
                        self.invite_answered(key, heard, status, notices);
                    }
                }
                StartLine::Response { status, .. } => self.answered(key, heard, status, primary, notices),
            }
            if heard.names.to_tag != 0 {
                self.refer(heard, notices);
            }
        }
        self.arm(key, at.stamp);
        self.routed(key, side, hop.unwrap_or(0), heard.seen == Seen::Retransmission)
    }

    /// Where a message belongs in the view of the owner, who knows nothing of legs.
    pub(super) fn routed(&self, key: CallKey, side: Side, hop: u8, retransmission: bool) -> Option<Routed> {
        let call = self.table.get(key)?;
        let Some(of) = call.legs.of else { return Some(Routed { call: key, side, hop, retransmission }) };
        self.table.get(of)?;
        let hop = call.legs.number.saturating_mul(MAX_HOPS as u8).saturating_add(hop);
        Some(Routed { call: of, side, hop, retransmission })
    }

    pub(super) fn request(&mut self, key: CallKey, heard: &Heard<'_>, method: Method<'_>, primary: bool) {
        let Some(call) = self.table.get_mut(key).filter(|_| method == Method::Bye) else { return };
        let tag = heard.callee_tag(call.from_tag);
        call.dialogs.bye(heard.at.stamp, tag, primary);
    }

    /// A response to the INVITE of the attempt, on the primary hop.
    pub(super) fn invite_answered(
        &mut self,
        key: CallKey,
        heard: &Heard<'_>,
        status: u16,
        notices: &mut Vec<Notice>,
    ) {
        let stamp = heard.at.stamp;
        let Some(call) = self.table.get_mut(key) else { return };
        let tag = heard.names.to_tag;
        let attempt = &mut call.attempt;
        let (forked, early_media) = (attempt.forked, attempt.early_media);
        let was_open = attempt.is_open();
        if was_open {
            let waiting = attempt.phase != Phase::Challenged;
            let has_sdp = heard.sdp.is_some();
            attempt.reply(stamp, &Reply { status, tag, stale: heard.m.stale, has_sdp });
            if waiting && matches!(status, 401 | 402 | 407) {
                self.counters.challenge(status);
            }
        } else if attempt.phase == Phase::Answered && call.end.is_none() && matches!(status, 200..300) {
            attempt.note_tag(tag);
        }
        self.counters.forked += u64::from(attempt.forked && !forked);
        self.counters.early_media += u64::from(attempt.early_media && !early_media);
        if let Some(over) = attempt.over.filter(|_| was_open) {
            self.end(key, End { at: over, reason: None, disconnect_seconds: None }, notices);
        } else if attempt.phase == Phase::Answered && call.end.is_none() && matches!(status, 200..300) {
            if call.dialogs.confirm(tag) && !was_open {
                self.counters.forked_answers += 1;
            }
            if was_open {
                call.life.refresh(stamp, heard.m.session_expires);
                let (replaces, leg) = (call.replaces, call.legs.of.is_some());
                if !leg {
                    notices.push(Notice::Answered(key, stamp));
                }
                if let Some(replaced) = replaces {
                    self.replace(replaced, stamp);
                }
            }
        }
    }

    /// An INVITE with Replaces was answered: the dialog it names ends with its own BYE (RFC 3891 3).
    pub(super) fn replace(&mut self, key: CallKey, at: Stamp) {
        if let Some(call) = self.table.get_mut(key)
            && call.attempt.phase == Phase::Answered
            && call.end.is_none()
        {
            call.replaced.get_or_insert(at);
            self.arm(key, at);
        }
    }

    /// A response inside the dialog.
    pub(super) fn answered(
        &mut self,
        key: CallKey,
        heard: &Heard<'_>,
        status: u16,
        primary: bool,
        notices: &mut Vec<Notice>,
    ) {
        let Some(call) = self.table.get_mut(key) else { return };
        if call.attempt.phase != Phase::Answered || call.end.is_some() {
            return;
        }
        let (stamp, tag) = (heard.at.stamp, heard.callee_tag(call.from_tag));
        match (heard.cseq.method, status) {
            (Method::Bye, _) => match call.dialogs.bye_answered(stamp, tag, status, primary) {
                Closed::Nothing => {}
                Closed::One => self.counters.extra_dialogs_closed += 1,
                Closed::Last(hangup) => self.hang_up(key, hangup, notices),
            },
            (Method::Invite | Method::Update, 200..300) if primary => {
                call.life.refresh(stamp, heard.m.session_expires);
            }
            // RFC 3261 12.2.1.2: these two end the dialog, every other failure leaves it as it was.
            (Method::Invite | Method::Update, 408 | 481) if primary && call.dialogs.has(tag) => {
                if call.dialogs.drop(tag) {
                    let reason =
                        if status == 408 { EndReason::ReinviteTimeout } else { EndReason::DoesNotExist };
                    let end = End { at: stamp, reason: Some(reason), disconnect_seconds: None };
                    self.end(key, end, notices);
                } else {
                    self.counters.extra_dialogs_closed += 1;
                }
            }
            (Method::Invite, 491) if primary => self.counters.glare += 1,
            _ => {}
        }
    }

    pub(super) fn refer(&mut self, heard: &Heard<'_>, notices: &mut Vec<Notice>) {
        self.note_refer(heard);
        let names = (&self.fingerprints, &heard.names);
        self.transfers.message(heard.at.stamp, heard.m, &heard.cseq, names, notices);
    }
}
