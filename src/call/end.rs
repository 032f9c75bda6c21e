//! How calls end, and when they are looked at again (MEAS 5.7).

use super::attempt::Phase;
use super::dialog::Hangup;
use super::gone::Fate;
use super::state::End;
use super::timer::HORIZON;
use super::{CallKey, Calls, Notice};
use crate::Stamp;
use crate::event::EndReason;

impl Calls {
    pub(super) fn hang_up(&mut self, key: CallKey, hangup: Hangup, notices: &mut Vec<Notice>) {
        let Some(call) = self.table.get(key) else { return };
        let reason = if call.replaced.is_some() { EndReason::Replaced } else { EndReason::Bye };
        let disconnect_seconds = Some(hangup.disconnect_seconds);
        self.end(key, End { at: hangup.bye, reason: Some(reason), disconnect_seconds }, notices);
    }

    /// A deadline of the call has passed.
    pub(super) fn overdue(&mut self, key: CallKey, deadline: Stamp, notices: &mut Vec<Notice>) {
        let Some(call) = self.table.get_mut(key) else { return };
        if call.end.is_some() {
            return self.tell(key, notices);
        }
        if call.attempt.is_open() {
            call.attempt.expire(deadline);
            self.end(key, End { at: deadline, reason: None, disconnect_seconds: None }, notices);
            return self.tell(key, notices);
        }
        if call.dialogs.bye_deadline().is_some()
            && let Some(hangup) = call.dialogs.hang_up()
        {
            return self.hang_up(key, hangup, notices);
        }
        if let Some(at) = call.replaced {
            let end = End { at, reason: Some(EndReason::Replaced), disconnect_seconds: None };
            return self.end(key, end, notices);
        }
        let (_, reason) = call.life.deadline(call.attempt.start, call.last_message);
        self.give_up(key, reason, notices);
    }

    /// Ends a call of which nothing more was heard, at its last sign of life.
    pub(super) fn give_up(&mut self, key: CallKey, reason: EndReason, notices: &mut Vec<Notice>) {
        let Some(call) = self.table.get(key) else { return };
        let at = call.last_activity();
        self.end(key, End { at, reason: Some(reason), disconnect_seconds: None }, notices);
        self.tell(key, notices);
    }

    /// Signalling of a call or leg is over. An attempt without answer is kept for the moment in which its final
    /// response is sent again or its outer hop may still come to light; a leg goes without a word.
    pub(super) fn end(&mut self, key: CallKey, end: End, notices: &mut Vec<Notice>) {
        let Some(call) = self.table.get_mut(key) else { return };
        if call.end.is_some() || call.told {
            return;
        }
        call.end = Some(end);
        self.open = self.open.saturating_sub(1);
        if call.legs.of.is_some() {
            self.free_leg(key);
        } else if call.attempt.phase == Phase::Answered {
            self.tell(key, notices);
        }
    }

    pub(super) fn tell(&mut self, key: CallKey, notices: &mut Vec<Notice>) {
        let Some(call) = self.table.get_mut(key) else { return };
        if call.told || call.legs.of.is_some() {
            return;
        }
        call.told = true;
        let (name, fate) = (call.name, call.fate());
        let at = call.end.map_or(call.last_activity(), |end| end.at);
        notices.push(Notice::Ended(key, at));
        self.forget(key, name, fate);
    }

    /// What comes under this name from now on finds a call that is gone, whenever its record is taken.
    pub(super) fn forget(&mut self, key: CallKey, name: u64, fate: Fate) {
        if self.index.get(&name) == Some(&key) {
            self.index.remove(&name);
            self.gone.insert(name, fate);
        }
    }

    pub(super) fn free_leg(&mut self, key: CallKey) {
        let Some(leg) = self.table.get_mut(key) else { return };
        let (of, pairs, trail) = (leg.legs.of, leg.pairs(), leg.trail.take());
        self.free(key);
        if let Some(call) = of.and_then(|of| self.table.get_mut(of)) {
            call.legs.pairs += pairs;
        }
        if let Some(of) = of {
            self.add_trail(of, trail);
        }
    }

    pub(super) fn free(&mut self, key: CallKey) {
        let Some(call) = self.table.get(key) else { return };
        let (name, fate, entries, over) = (call.name, call.fate(), call.links.entries, call.end.is_some());
        self.table.discard(key);
        self.forget(key, name, fate);
        for place in entries.into_iter().filter(|&place| place != 0) {
            if self.links.get(&place) == Some(&key) {
                self.links.remove(&place);
            }
        }
        if !over {
            self.open = self.open.saturating_sub(1);
        }
    }

    /// The call that was idle longest.
    pub(super) fn idlest(&mut self) -> Option<CallKey> {
        while let Some((noted, key)) = self.idle.pop() {
            let Some(call) = self.table.get(key).filter(|call| call.end.is_none() && !call.told) else {
                continue;
            };
            let last = call.last_activity();
            if last <= noted {
                return Some(key);
            }
            self.idle.arm(last, key);
        }
        None
    }

    /// Enters the next look at a call unless there is one soon enough.
    pub(super) fn arm(&mut self, key: CallKey, now: Stamp) {
        let Some(call) = self.table.get_mut(key) else { return };
        let Some(deadline) = call.deadline() else { return };
        let at = deadline.min(now.plus_seconds(HORIZON));
        if at < call.armed {
            call.armed = at;
            self.timers.arm(at, key);
            let calls = &self.table;
            self.timers.sweep(calls.len(), |at, key| calls.get(key).is_some_and(|call| call.armed == at));
        }
    }
}
