//! Transfers by REFER (RFC 3515, RFC 5589; MEAS 5.10).
//!
//! ```text
//! REFER -> 202 -> NOTIFY "SIP/2.0 100" -> NOTIFY "SIP/2.0 200"      accepted: the last sipfrag is the outcome
//! REFER -> 403                                                      refused: so is this
//! ```
//!
//! The transferor often hangs up right after the 202 while the NOTIFYs go on, so a transfer is kept apart from
//! its call, under the dialog.

use super::Notice;
use super::fingerprint::{Fingerprints, Names};
use super::pending::Pending;
use super::text::Text;
use crate::Stamp;
use crate::event::Transfer;
use crate::sip::{CSeq, Message, Method, StartLine};

/// Transfers without an outcome yet.
#[derive(Debug)]
pub(super) struct Transfers {
    open: Pending<Open>,
    /// Given up because the table was full.
    pub(super) evicted: u64,
}

#[derive(Debug)]
struct Open {
    call_id: Text<1>,
    attended: bool,
    /// CSeq number of the REFER.
    cseq: u32,
}

impl Transfers {
    pub(super) fn new(limit: usize) -> Self {
        Self { open: Pending::new(limit, NO_OUTCOME), evicted: 0 }
    }

    /// A message inside a dialog that was not seen before, on any hop.
    pub(super) fn message(
        &mut self,
        now: Stamp,
        m: &Message<'_>,
        cseq: &CSeq<'_>,
        names: (&Fingerprints, &Names),
        notices: &mut Vec<Notice>,
    ) {
        match (m.start, cseq.method) {
            (StartLine::Request { .. }, Method::Refer) => {
                let dialog = names.0.dialog(names.1);
                if self.open.get_mut(dialog).is_none() {
                    let open =
                        Open { call_id: Text::new([m.call_id]), attended: is_attended(m), cseq: cseq.number };
                    if let Some(oldest) = self.open.insert(dialog, now, open) {
                        self.evicted += 1;
                        notices.push(oldest.outcome(None));
                    }
                }
            }
            (StartLine::Response { status, .. }, Method::Refer) if !matches!(status, 0..200 | 401 | 407) => {
                let dialog = names.0.dialog(names.1);
                if status < 300 {
                    self.open.touch(dialog, now);
                } else if self.open.get_mut(dialog).is_some_and(|open| open.cseq == cseq.number) {
                    self.close(dialog, status, notices);
                }
            }
            (StartLine::Request { .. }, Method::Notify) if self.open.len() > 0 => {
                let Some(status) = sipfrag_status(m.body) else { return };
                let dialog = names.0.dialog(names.1);
                if status < 200 {
                    self.open.touch(dialog, now);
                } else {
                    self.close(dialog, status, notices);
                }
            }
            _ => {}
        }
    }

    /// Gives up transfers that nobody reported on.
    pub(super) fn expire(&mut self, now: Stamp, notices: &mut Vec<Notice>) {
        while let Some(open) = self.open.expired(now) {
            notices.push(open.outcome(None));
        }
    }

    /// End of the capture.
    pub(super) fn finish(&mut self, notices: &mut Vec<Notice>) {
        notices.extend(self.open.drain().into_iter().map(|open| open.outcome(None)));
    }

    pub(super) fn bytes(&self) -> usize {
        self.open.bytes()
    }

    fn close(&mut self, dialog: u64, status: u16, notices: &mut Vec<Notice>) {
        if let Some(open) = self.open.remove(dialog) {
            notices.push(open.outcome(Some(status)));
        }
    }
}

impl Open {
    fn outcome(&self, status: Option<u16>) -> Notice {
        Notice::Transfer(Transfer { call_id: self.call_id.string(0), attended: self.attended, status })
    }
}

/// Refer-To names the dialog to be replaced, escaped in the header part of the URI (RFC 5589 7).
fn is_attended(m: &Message<'_>) -> bool {
    let uri = m.refer_to;
    memchr::memchr(b'?', uri)
        .and_then(|mark| uri.get(mark..))
        .is_some_and(|headers| headers.windows(REPLACES.len()).any(|w| w.eq_ignore_ascii_case(REPLACES)))
}

/// Status of a `message/sipfrag` body (RFC 3420): `SIP/2.0 NNN`.
fn sipfrag_status(body: &[u8]) -> Option<u16> {
    let (version, rest) = body.trim_ascii_start().split_at_checked(VERSION.len())?;
    let code = rest.first_chunk::<3>()?;
    if !version.eq_ignore_ascii_case(VERSION) || !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = code.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    (100..700).contains(&status).then_some(status)
}

/// Seconds to wait for an outcome, as for the final response of an INVITE.
const NO_OUTCOME: u64 = 240;

const VERSION: &[u8] = b"SIP/2.0 ";
const REPLACES: &[u8] = b"replaces=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_sipfrag_is_its_first_line() {
        assert_eq!(sipfrag_status(b"SIP/2.0 100 Trying\r\n"), Some(100));
        assert_eq!(sipfrag_status(b"\r\nSIP/2.0 603"), Some(603));
        for odd in
            [b"SIP/2.0 ".as_slice(), b"SIP/2.0 20", b"SIP/2.0 999 x", b"SIP/2.0 2x0", b"INVITE sip:", b""]
        {
            assert_eq!(sipfrag_status(odd), None);
        }
    }
}
