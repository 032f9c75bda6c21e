//! One call or registration: its signalling, its media, its reports, each frame in its turn.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use super::impair::Impairment;
use super::media::Media;
use super::packet::{Flow, endpoint};
use super::rtcp::Reporter;
use super::signalling::{Course, EXPIRES, Message, Parties};
use super::sound::Sound;
use super::truth::{self, Sip};
use super::{Outcome, Plan};
use crate::Stamp;
use crate::event::{CallResult, Direction, RegistrationResult};
use crate::random::Random;

/// A call or a registration that is going on.
#[derive(Debug)]
pub(crate) struct Actor {
    outcome: Outcome,
    parties: Parties,
    sound: Arc<Sound>,
    course: Course,
    next_step: usize,
    /// Sent by the caller, and by the callee.
    media: [Option<Media>; 2],
    reporters: [Option<Reporter>; 2],
    /// Between the parties, by way of the tap.
    round_trip_nanos: i64,
    /// Whose reports answered one of the other's: both make a round trip (MEAS 2.4).
    answered_reports: [bool; 2],
    ip_id: u16,
    payload: Vec<u8>,
}

/// What a frame carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sip,
    Rtp,
    Rtcp,
}

/// What is true of an actor that is done.
#[derive(Debug)]
pub(crate) enum Ended {
    Call(Box<truth::Call>, Vec<truth::Stream>),
    Registration(truth::Registration),
}

impl Actor {
    pub(crate) fn new(
        plan: &Plan,
        sound: &Arc<Sound>,
        number: u32,
        outcome: Outcome,
        begin: Stamp,
        mut random: Random,
    ) -> Self {
        let parties = Parties::new(number, &mut random);
        let mut lane = || Random::new(random.next(), 0);
        let course = Course::new(outcome, begin, (plan.duration * 1e9) as i64, lane());
        let mut chance = lane();
        let mut actor = Self {
            outcome,
            sound: Arc::clone(sound),
            next_step: 0,
            media: [None, None],
            reporters: [None, None],
            round_trip_nanos: 0,
            answered_reports: [false; 2],
            ip_id: chance.next() as u16,
            payload: Vec::new(),
            parties,
            course,
        };
        if let (Some(answered), Some(end)) = (actor.course.answered, actor.course.end) {
            let to_tap = [(); 2].map(|()| chance.between(1_000_000, 40_000_000) as i64);
            actor.round_trip_nanos = 2 * (to_tap[0] + to_tap[1]);
            let caller = SocketAddrV4::new(*actor.parties.caller.ip(), actor.parties.caller_media);
            let callee = SocketAddrV4::new(*actor.parties.callee.ip(), actor.parties.callee_media);
            let directions = [(caller, callee), (callee, caller)];
            for (i, (source, destination)) in directions.into_iter().enumerate() {
                // The callee speaks as soon as it answers, the caller when it heard of it.
                let delay = if i == 0 { to_tap[0] } else { 0 } + chance.between(2_000_000, 40_000_000) as i64;
                let begin = answered.plus_nanos(delay);
                let flow = Flow { source, destination, dscp: EXPEDITED };
                let impairment = Impairment::new(plan);
                actor.media[i] = Media::new(flow, Arc::clone(sound), impairment, (begin, end), lane());
                if plan.rtcp && actor.media[i].is_some() {
                    let first = begin.plus_nanos(chance.between(2_500_000_000, 5_000_000_000) as i64);
                    let last = end.plus_nanos(-REPORT_BEFORE_BYE);
                    actor.reporters[i] = Some(Reporter::new(first, last, to_tap[i]));
                }
            }
        }
        actor
    }

    /// Time of the next frame.
    pub(crate) fn due(&self) -> Option<Stamp> {
        self.next_lane().map(|(due, _)| due)
    }

    /// Writes the frame that is due.
    pub(crate) fn emit(&mut self, frame: &mut Vec<u8>, sip: &mut Sip) -> Kind {
        match self.next_lane() {
            Some((_, Lane::Rtp(i))) => {
                if let Some(media) = &mut self.media[i]
                    && let Some(ip_id) = media.arrive(&mut self.payload)
                {
                    media.flow.frame(ip_id, &self.payload, frame);
                }
                Kind::Rtp
            }
            Some((due, Lane::Rtcp(i))) => {
                self.report(i, due, frame);
                Kind::Rtcp
            }
            Some((_, Lane::Sip)) | None => {
                self.step(frame, sip);
                Kind::Sip
            }
        }
    }

    /// What is true of it, now that all its frames are written.
    pub(crate) fn end(self) -> Ended {
        let course = &self.course;
        let since_start = |at: Option<Stamp>| at.map(|at| at.seconds_since(course.start));
        let between = |from: Option<Stamp>, to: Option<Stamp>| Some(to?.seconds_since(from?));
        if let Some(result) = self.outcome.registration() {
            let success = result == RegistrationResult::Success;
            return Ended::Registration(truth::Registration {
                call_id: self.parties.call_id.clone(),
                aor: self.parties.caller_uri(),
                result,
                status: course.status,
                challenged: course.challenged,
                start: course.start,
                delay: since_start(course.end).filter(|_| success),
                expires: success.then_some(EXPIRES),
            });
        }
        let result = self.outcome.result();
        let failed_early = match result {
            CallResult::Failed if course.ringing.is_none() => course.end,
            CallResult::Timeout => Some(course.start.plus_seconds(32)),
            _ => None,
        };
        let ssrcs = self.media.iter().flatten().map(Media::ssrc_text).collect::<Vec<_>>();
        let call = truth::Call {
            call_id: self.parties.call_id.clone(),
            from: self.parties.caller_uri(),
            to: self.parties.callee_uri(),
            source: endpoint(self.parties.caller),
            destination: endpoint(self.parties.callee),
            outcome: self.outcome,
            result,
            status: course.status,
            challenged: course.challenged,
            forked: self.outcome == Outcome::Forked,
            start: course.start,
            end: course.end,
            post_dial_delay: since_start(course.ringing),
            setup: since_start(course.answered),
            ring: between(course.ringing, course.answered),
            duration: between(course.answered, course.end),
            disconnect: between(course.end, course.disconnected),
            auth: since_start(course.authorized),
            session_request_failed: since_start(failed_early),
            rtt: (self.answered_reports == [true; 2]).then_some(self.round_trip_nanos as f64 / 1e9),
            codec: (!ssrcs.is_empty()).then_some(self.sound.codec),
            streams: ssrcs,
        };
        let directions = [Direction::ToCallee, Direction::ToCaller];
        let streams = self.media.into_iter().zip(directions);
        let streams = streams.filter_map(|(media, direction)| Some(media?.truth(&call.call_id, direction)));
        let streams = streams.collect();
        Ended::Call(Box::new(call), streams)
    }

    fn next_lane(&self) -> Option<(Stamp, Lane)> {
        let mut next: Option<(Stamp, Lane)> =
            self.course.steps.get(self.next_step).map(|step| (step.at, Lane::Sip));
        let mut consider = |due: Option<Stamp>, lane: Lane| {
            if let Some(due) = due
                && next.is_none_or(|(earliest, _)| due < earliest)
            {
                next = Some((due, lane));
            }
        };
        for (i, media) in self.media.iter().enumerate() {
            consider(media.as_ref().and_then(Media::due), Lane::Rtp(i));
        }
        for (i, reporter) in self.reporters.iter().enumerate() {
            consider(reporter.as_ref().and_then(|reporter| reporter.due), Lane::Rtcp(i));
        }
        next
    }

    fn step(&mut self, frame: &mut Vec<u8>, sip: &mut Sip) {
        let Some(step) = self.course.steps.get(self.next_step) else { return };
        self.next_step += 1;
        match step.message {
            Message::Request { method, .. } => *sip.requests.entry(method.name()).or_default() += 1,
            Message::Response { status, .. } => *sip.responses.entry(status).or_default() += 1,
            Message::KeepAlive => {}
        }
        sip.retransmissions += u64::from(step.again);
        self.parties.render(step, &self.sound, &mut self.payload);
        let (caller, callee) = (self.parties.caller, self.parties.callee);
        let (source, destination) = if step.from_caller { (caller, callee) } else { (callee, caller) };
        self.ip_id = self.ip_id.checked_add(1).unwrap_or(1);
        Flow { source, destination, dscp: SIGNALLING }.frame(self.ip_id, &self.payload, frame);
    }

    /// The report of party `i`, which sends stream `i` and receives the other one.
    fn report(&mut self, i: usize, due: Stamp, frame: &mut Vec<u8>) {
        let other = 1 - i;
        let (Some(reporter), Some(sent)) = (&mut self.reporters[i], &self.media[i]) else { return };
        let Some((middle, answers)) = reporter.report(sent, self.media[other].as_ref(), &mut self.payload)
        else {
            return;
        };
        self.answered_reports[i] |= answers;
        if let Some(reporter) = &mut self.reporters[other] {
            reporter.hear(middle, due);
        }
        self.ip_id = self.ip_id.checked_add(1).unwrap_or(1);
        sent.flow.ports_up(1).frame(self.ip_id, &self.payload, frame);
    }
}

#[derive(Clone, Copy, Debug)]
enum Lane {
    Sip,
    Rtp(usize),
    Rtcp(usize),
}

impl Parties {
    /// Phones in 10/8 call by way of gateways in 198.51.100/24 that each serve 10,000 calls at a time.
    pub(crate) fn new(number: u32, random: &mut Random) -> Self {
        let digit = |divisor: u32| (number / divisor % 250) as u8;
        let phone = Ipv4Addr::new(10, digit(62_500), digit(250), digit(1) + 1);
        let gateway = Ipv4Addr::new(198, 51, 100, digit(10_000) + 1);
        let id = random.next();
        Self {
            caller: SocketAddrV4::new(phone, SIP_PORT),
            callee: SocketAddrV4::new(gateway, SIP_PORT),
            caller_media: 16_384 + 2 * random.between(0, 8_191) as u16,
            callee_media: 10_000 + 4 * (number % 10_000) as u16,
            caller_user: format!("1{number:06}"),
            callee_user: format!("2{:06}", random.between(0, 999_999)),
            call_id: format!("{:016x}@{phone}", random.next()),
            id,
        }
    }
}

const SIP_PORT: u16 = 5060;
/// Code points as RFC 4594 recommends them: EF for media, CS3 for signalling.
const EXPEDITED: u8 = 46;
const SIGNALLING: u8 = 24;
/// The last report leaves when the last packet has arrived, before the BYE of the call.
const REPORT_BEFORE_BYE: i64 = 1_000_000;
