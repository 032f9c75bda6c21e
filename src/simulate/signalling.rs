//! SIP between two parties (RFC 3261): when each message is sent, and what it says.
//!
//! A call is a list of steps made when it begins, and rendered one by one when they are due.

use std::io::Write;
use std::net::SocketAddrV4;

use super::Outcome;
use super::sound::Sound;
use crate::Stamp;
use crate::event::{CallResult, RegistrationResult};
use crate::random::Random;
use crate::sip::Method;

/// Who the two parties are.
#[derive(Debug)]
pub(crate) struct Parties {
    pub(crate) caller: SocketAddrV4,
    pub(crate) callee: SocketAddrV4,
    pub(crate) caller_media: u16,
    pub(crate) callee_media: u16,
    pub(crate) caller_user: String,
    pub(crate) callee_user: String,
    pub(crate) call_id: String,
    /// Tags and branches are made of it.
    pub(crate) id: u64,
}

/// One message to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) at: Stamp,
    pub(crate) from_caller: bool,
    pub(crate) message: Message,
    /// It was sent before.
    pub(crate) again: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Message {
    Request {
        method: Method<'static>,
        transaction: Transaction,
        authorized: bool,
    },
    Response {
        status: u16,
        method: Method<'static>,
        transaction: Transaction,
    },
    /// RFC 5626 4.4.1: two line ends. It says nothing, but shows how late it is.
    KeepAlive,
}

/// What the messages of a transaction have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction {
    cseq: u32,
    branch: u8,
    /// Number of the phone that answers; 0 = no To-tag yet.
    to_tag: u8,
}

/// The steps of one attempt and the moments that count.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) steps: Vec<Step>,
    pub(crate) start: Stamp,
    pub(crate) ringing: Option<Stamp>,
    pub(crate) answered: Option<Stamp>,
    /// The BYE, or the final failure.
    pub(crate) end: Option<Stamp>,
    /// The 200 of the BYE.
    pub(crate) disconnected: Option<Stamp>,
    /// The request with credentials.
    pub(crate) authorized: Option<Stamp>,
    pub(crate) challenged: bool,
    pub(crate) status: Option<u16>,
    now: Stamp,
    random: Random,
    cseq: u32,
    branch: u8,
}

impl Course {
    /// All steps of a call or a registration that begins at `start`; an answered one lasts `duration_nanos`.
    pub(crate) fn new(outcome: Outcome, start: Stamp, duration_nanos: i64, random: Random) -> Self {
        let mut course = Self {
            steps: Vec::new(),
            start,
            ringing: None,
            answered: None,
            end: None,
            disconnected: None,
            authorized: None,
            challenged: false,
            status: None,
            now: start,
            random,
            cseq: 0,
            branch: 0,
        };
        match outcome {
            Outcome::Answered => course.answered_call(false, 1, duration_nanos),
            Outcome::Challenged => course.answered_call(true, 1, duration_nanos),
            Outcome::Forked => course.answered_call(false, 2, duration_nanos),
            Outcome::Busy => course.refused(486),
            Outcome::Rejected => {
                let status = [403, 404, 488, 500, 503, 603];
                let chosen = course.random.between(0, status.len() as u64 - 1) as usize;
                course.refused(status.get(chosen).copied().unwrap_or(503));
            }
            Outcome::Redirected => course.refused(302),
            Outcome::NoAnswer => {
                course.ring(false, 1);
                course.wait(20_000, 30_000);
                course.fail(480);
            }
            Outcome::Cancelled => course.cancelled(),
            Outcome::WrongPassword => {
                let first = course.request(Method::Invite, false);
                course.wait(3, 25);
                course.challenge(Method::Invite, first, 407);
                course.wait(2, 20);
                course.authorized = Some(course.now);
                let second = course.request(Method::Invite, true);
                course.wait(3, 25);
                course.fail_with(second, 407);
            }
            Outcome::Timeout => course.timeout(),
            Outcome::NoFinal => {
                course.ring(false, 1);
                course.silence(NO_FINAL);
            }
            Outcome::Registered => course.registration(200),
            Outcome::RegistrationRefused => course.registration(403),
            Outcome::RegistrationWrongPassword => course.registration(401),
        }
        course
    }

    fn answered_call(&mut self, challenged: bool, phones: u8, duration_nanos: i64) {
        let invite = self.ring(challenged, phones);
        self.wait(800, 6_000);
        self.answered = Some(self.now);
        self.status = Some(200);
        self.respond(200, Method::Invite, Transaction { to_tag: 1, ..invite });
        self.wait(5, 60);
        self.branch += 1;
        let ack = Transaction { branch: self.branch, to_tag: 1, ..invite };
        self.push(true, Message::Request { method: Method::Ack, transaction: ack, authorized: false });

        let Some(answered) = self.answered else { return };
        self.now = answered.plus_nanos(duration_nanos);
        self.end = Some(self.now);
        let by_caller = self.random.happens(0.7);
        if !by_caller {
            self.cseq = 0;
        }
        self.cseq += 1;
        self.branch += 1;
        let bye = Transaction { cseq: self.cseq, branch: self.branch, to_tag: 1 };
        self.push(by_caller, Message::Request { method: Method::Bye, transaction: bye, authorized: false });
        self.wait(5, 40);
        self.disconnected = Some(self.now);
        self.push(!by_caller, Message::Response { status: 200, method: Method::Bye, transaction: bye });
    }

    /// INVITE until the phones ring.
    fn ring(&mut self, challenged: bool, phones: u8) -> Transaction {
        let mut invite = self.request(Method::Invite, false);
        if challenged {
            self.wait(3, 25);
            self.challenge(Method::Invite, invite, 407);
            self.wait(2, 20);
            self.authorized = Some(self.now);
            invite = self.request(Method::Invite, true);
        }
        self.wait(3, 30);
        self.respond(100, Method::Invite, invite);
        self.wait(150, 1_500);
        self.ringing = Some(self.now);
        for phone in 1..=phones {
            self.respond(180, Method::Invite, Transaction { to_tag: phone, ..invite });
            self.wait(20, 200);
        }
        invite
    }

    fn refused(&mut self, status: u16) {
        let invite = self.request(Method::Invite, false);
        self.wait(3, 30);
        self.respond(100, Method::Invite, invite);
        self.wait(30, 900);
        self.fail_with(invite, status);
    }

    fn fail(&mut self, status: u16) {
        self.fail_with(Transaction { cseq: self.cseq, branch: self.branch, to_tag: 1 }, status);
    }

    fn fail_with(&mut self, invite: Transaction, status: u16) {
        self.status = Some(status);
        self.end = Some(self.now);
        self.final_failure(invite, status);
    }

    /// The response and its ACK, which belongs to the same transaction (RFC 3261 17.1.1.3).
    fn final_failure(&mut self, invite: Transaction, status: u16) {
        let transaction = Transaction { to_tag: 1, ..invite };
        self.respond(status, Method::Invite, transaction);
        self.wait(2, 20);
        self.push(true, Message::Request { method: Method::Ack, transaction, authorized: false });
    }

    fn challenge(&mut self, method: Method<'static>, transaction: Transaction, status: u16) {
        self.challenged = true;
        if method == Method::Invite {
            self.final_failure(transaction, status);
        } else {
            self.respond(status, method, Transaction { to_tag: 1, ..transaction });
        }
    }

    fn cancelled(&mut self) {
        let invite = self.ring(false, 1);
        self.wait(1_000, 8_000);
        self.push(true, Message::Request { method: Method::Cancel, transaction: invite, authorized: false });
        self.wait(3, 20);
        self.respond(200, Method::Cancel, Transaction { to_tag: 1, ..invite });
        self.wait(1, 10);
        self.fail_with(invite, 487);
    }

    /// RFC 3261 17.1.1.2: timer A doubles from 500 ms, timer B gives up after 32 s.
    fn timeout(&mut self) {
        let start = self.now;
        let invite = self.request(Method::Invite, false);
        for after_ms in [500, 1_500, 3_500, 7_500, 15_500, 31_500] {
            self.now = start.plus_nanos(after_ms * MILLISECOND);
            self.push(
                true,
                Message::Request { method: Method::Invite, transaction: invite, authorized: false },
            );
            if let Some(step) = self.steps.last_mut() {
                step.again = true;
            }
        }
        self.silence(TIMER_B);
    }

    /// Nothing more comes; a sign of life well after the time at which that is final.
    fn silence(&mut self, since_start: i64) {
        self.now = self.start.plus_nanos(since_start + 1_000 * MILLISECOND);
        self.push(true, Message::KeepAlive);
    }

    /// Challenged, as nearly all are.
    fn registration(&mut self, status: u16) {
        let first = self.request(Method::Register, false);
        self.wait(3, 25);
        self.challenge(Method::Register, first, 401);
        self.wait(2, 20);
        self.authorized = Some(self.now);
        let register = self.request(Method::Register, true);
        self.wait(3, 40);
        self.status = Some(status);
        self.end = Some(self.now);
        self.respond(status, Method::Register, Transaction { to_tag: 1, ..register });
    }

    /// A request of the caller that opens a transaction.
    fn request(&mut self, method: Method<'static>, authorized: bool) -> Transaction {
        self.cseq += 1;
        self.branch += 1;
        let transaction = Transaction { cseq: self.cseq, branch: self.branch, to_tag: 0 };
        self.push(true, Message::Request { method, transaction, authorized });
        transaction
    }

    fn respond(&mut self, status: u16, method: Method<'static>, transaction: Transaction) {
        self.push(false, Message::Response { status, method, transaction });
    }

    fn push(&mut self, from_caller: bool, message: Message) {
        self.steps.push(Step { at: self.now, from_caller, message, again: false });
    }

    fn wait(&mut self, least_ms: u64, most_ms: u64) {
        let least = least_ms * MILLISECOND as u64;
        self.now = self.now.plus_nanos(self.random.between(least, most_ms * MILLISECOND as u64) as i64);
    }
}

impl Outcome {
    /// How MEAS 5.4 counts it.
    pub fn result(self) -> CallResult {
        match self {
            Self::Answered | Self::Challenged | Self::Forked => CallResult::Answered,
            Self::Redirected => CallResult::Redirected,
            Self::Cancelled => CallResult::Cancelled,
            Self::Timeout => CallResult::Timeout,
            Self::NoFinal => CallResult::NoFinal,
            _ => CallResult::Failed,
        }
    }

    /// How MEAS 5.8 counts it; `None` for calls.
    pub fn registration(self) -> Option<RegistrationResult> {
        match self {
            Self::Registered => Some(RegistrationResult::Success),
            Self::RegistrationRefused | Self::RegistrationWrongPassword => Some(RegistrationResult::Failure),
            _ => None,
        }
    }
}

impl Parties {
    /// Writes the message of a step.
    pub(crate) fn render(&self, step: &Step, sound: &Sound, out: &mut Vec<u8>) {
        out.clear();
        let written = match step.message {
            Message::Request { method, transaction, authorized } => {
                self.request(step, method, transaction, authorized, sound, out)
            }
            Message::Response { status, method, transaction } => {
                self.response(step, status, method, transaction, sound, out)
            }
            Message::KeepAlive => out.write_all(b"\r\n\r\n"),
        };
        debug_assert!(written.is_ok(), "a vector takes what it is given");
    }

    pub(crate) fn caller_uri(&self) -> String {
        format!("sip:{}@{DOMAIN}", self.caller_user)
    }

    pub(crate) fn callee_uri(&self) -> String {
        format!("sip:{}@{DOMAIN}", self.callee_user)
    }

    fn request(
        &self,
        step: &Step,
        method: Method<'static>,
        transaction: Transaction,
        authorized: bool,
        sound: &Sound,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let (user, host) = if step.from_caller {
            (&self.callee_user, self.callee)
        } else {
            (&self.caller_user, self.caller)
        };
        match method {
            Method::Register => write!(out, "REGISTER sip:{DOMAIN} SIP/2.0\r\n")?,
            _ => write!(out, "{} sip:{user}@{host} SIP/2.0\r\n", method.name())?,
        }
        self.common(step.from_caller, method, transaction, out)?;
        out.write_all(b"Max-Forwards: 70\r\n")?;
        if authorized {
            let header = if method == Method::Register { "Authorization" } else { "Proxy-Authorization" };
            write!(
                out,
                "{header}: Digest username=\"{}\", realm=\"{DOMAIN}\", nonce=\"{:016x}\", uri=\"sip:{DOMAIN}\", \
                 response=\"{:032x}\", algorithm=MD5\r\n",
                self.caller_user,
                self.id,
                u128::from(self.id) << 61 ^ u128::from(self.id)
            )?;
        }
        match method {
            Method::Invite => {
                self.contact(step.from_caller, "", out)?;
                self.offer_or_answer(step.from_caller, sound, out)
            }
            Method::Register => {
                self.contact(step.from_caller, "", out)?;
                write!(out, "Expires: {EXPIRES}\r\nContent-Length: 0\r\n\r\n")
            }
            _ => out.write_all(b"Content-Length: 0\r\n\r\n"),
        }
    }

    fn response(
        &self,
        step: &Step,
        status: u16,
        method: Method<'static>,
        transaction: Transaction,
        sound: &Sound,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        write!(out, "SIP/2.0 {status} {}\r\n", reason(status))?;
        self.common(!step.from_caller, method, transaction, out)?;
        match (status, method) {
            (401 | 407, _) => {
                let header = if status == 401 { "WWW" } else { "Proxy" };
                write!(
                    out,
                    "{header}-Authenticate: Digest realm=\"{DOMAIN}\", nonce=\"{:016x}\", algorithm=MD5\r\n",
                    self.id
                )?;
            }
            (180 | 200, Method::Invite) => self.contact(step.from_caller, "", out)?,
            (200, Method::Register) => self.contact(!step.from_caller, EXPIRES_PARAMETER, out)?,
            (302, _) => write!(out, "Contact: <sip:{}@elsewhere.{DOMAIN}>\r\n", self.callee_user)?,
            _ => {}
        }
        if (status, method) == (200, Method::Invite) {
            self.offer_or_answer(step.from_caller, sound, out)
        } else {
            out.write_all(b"Content-Length: 0\r\n\r\n")
        }
    }

    /// Via, From, To, Call-ID, CSeq of a request, or of the response to it.
    fn common(
        &self,
        request_of_caller: bool,
        method: Method<'static>,
        transaction: Transaction,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let Transaction { cseq, branch, to_tag } = transaction;
        let sent_by = if request_of_caller { self.caller } else { self.callee };
        let caller_tag = format!(";tag={:08x}", (self.id >> 32) as u32);
        let callee_tag = match to_tag {
            0 => String::new(),
            phone => format!(";tag={:08x}", (self.id as u32).wrapping_add(u32::from(phone))),
        };
        let callee = if method == Method::Register { self.caller_uri() } else { self.callee_uri() };
        let caller = format!("<{}>{caller_tag}", self.caller_uri());
        let callee = format!("<{callee}>{callee_tag}");
        let (from, to) = if request_of_caller { (caller, callee) } else { (callee, caller) };
        write!(
            out,
            "Via: SIP/2.0/UDP {sent_by};branch=z9hG4bK{:016x}{branch:02x};rport\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq} {}\r\n",
            self.id,
            self.call_id,
            method.name()
        )
    }

    fn contact(&self, caller: bool, parameters: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
        let (user, host) =
            if caller { (&self.caller_user, self.caller) } else { (&self.callee_user, self.callee) };
        write!(out, "Contact: <sip:{user}@{host}>{parameters}\r\n")
    }

    /// One audio stream with telephone events beside it.
    fn offer_or_answer(&self, caller: bool, sound: &Sound, out: &mut Vec<u8>) -> std::io::Result<()> {
        let (host, port) = if caller {
            (self.caller.ip(), self.caller_media)
        } else {
            (self.callee.ip(), self.callee_media)
        };
        let Sound { payload_type, clock_rate, channels, ptime_ms, .. } = sound;
        let fmtp =
            sound.fmtp.map_or(String::new(), |parameters| format!("a=fmtp:{payload_type} {parameters}\r\n"));
        let version = self.id >> 40;
        let sdp = format!(
            "v=0\r\no=- {version} {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {payload_type} {EVENT}\r\n\
             a=rtpmap:{payload_type} {}/{clock_rate}{channels}\r\n{fmtp}\
             a=rtpmap:{EVENT} telephone-event/8000\r\na=fmtp:{EVENT} 0-15\r\na=ptime:{ptime_ms}\r\na=sendrecv\r\n",
            sound.codec.name()
        );
        write!(out, "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        200 => "OK",
        302 => "Moved Temporarily",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        407 => "Proxy Authentication Required",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        603 => "Decline",
        _ => "Unknown",
    }
}

/// Lifetime that registrars grant, in seconds.
pub(crate) const EXPIRES: u32 = 3_600;
/// Payload type of telephone events.
pub(crate) const EVENT: u8 = 101;

const EXPIRES_PARAMETER: &str = ";expires=3600";
const DOMAIN: &str = "example.com";
const MILLISECOND: i64 = 1_000_000;
/// 64 T1: an INVITE without any response has timed out.
const TIMER_B: i64 = 32_000 * MILLISECOND;
/// MEAS 5.4: after this nothing final will come.
const NO_FINAL: i64 = 240_000 * MILLISECOND;
