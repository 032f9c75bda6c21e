//! Captures of well-formed calls whose impairments are known to the packet (DESIGN 2).
//!
//! ```text
//! Plan -> Traffic: calls that are up, in a heap by their next frame -> frames in order of time
//!           signalling (SIP, SDP) . media (RTP, impaired) . rtcp       \-> Truth, as calls end
//! ```
//!
//! The same plan always gives the same bytes. Memory is that of the calls that are up at a time, and of the
//! truth about those that ended. For single streams that no well-behaved sender would send, see [`script`].

mod actor;
mod impair;
mod media;
mod packet;
mod rtcp;
pub mod script;
mod signalling;
mod sound;
#[cfg(test)]
mod tests;
pub mod truth;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use self::actor::Actor;
use self::sound::Sound;
pub use self::sound::{codec_named, codecs};
use self::truth::Truth;
use crate::Stamp;
use crate::capture::pcap;
use crate::random::Random;
use crate::rtp::payload::Codec;
use crate::wire::{Frame, LinkType};

/// What to simulate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Call attempts.
    pub calls: u32,
    /// Seconds from answer to BYE.
    pub duration: f64,
    /// Packets lost, percent.
    pub loss: f64,
    /// Mean length of a run of lost packets; 1 = each packet is lost or not, whatever became of the others.
    pub burst: f64,
    /// Interarrival jitter (RFC 3550), milliseconds, as far as queueing (above a third of the packetisation
    /// time) does not even it out.
    pub jitter: f64,
    /// Packets that arrive behind their successor, percent.
    pub reorder: f64,
    /// Packets that arrive twice, percent.
    pub duplicate: f64,
    /// Codec of both directions.
    pub codec: Codec,
    /// Chooses everything that is left to chance.
    pub seed: u64,
    /// Packetisation time, milliseconds; `None` = the usual one of the codec.
    pub ptime: Option<u32>,
    /// Call attempts a second.
    pub rate: f64,
    /// Call and registration attempts that take another course than the plain successful one, percent.
    pub mix: f64,
    /// Registration attempts, beside the calls and at the same rate.
    pub registrations: u32,
    /// Courses the calls take in turn; when empty, chance and `mix` choose.
    pub outcomes: Vec<Outcome>,
    /// Sender and receiver reports every 5 s, BYE at the end.
    pub rtcp: bool,
    /// Time of the first call attempt.
    pub start: Stamp,
    /// Number of the first call attempt. Traffic that is mixed needs numbers far apart: addresses are made of them.
    pub first: u32,
}

/// The course of a call or of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 100, 180, 200, ACK, media, BYE.
    Answered,
    /// 407 first, then answered.
    Challenged,
    /// Two phones ring, one answers.
    Forked,
    /// 486.
    Busy,
    /// 403, 404, 488, 500, 503 or 603.
    Rejected,
    /// 302, not followed.
    Redirected,
    /// It rings, then 480.
    NoAnswer,
    /// It rings, then CANCEL and 487.
    Cancelled,
    /// 407 twice.
    WrongPassword,
    /// Not even a 100.
    Timeout,
    /// It rings and nothing else ever comes. Takes four minutes.
    NoFinal,
    /// REGISTER: 401, then 200.
    Registered,
    /// REGISTER: 401, then 403.
    RegistrationRefused,
    /// REGISTER: 401 twice.
    RegistrationWrongPassword,
}

/// Why nothing, or not all, was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is wrong with the plan, one sentence each.
    #[error("{}", .0.join("; "))]
    Plan(Vec<String>),
    /// The file could not be written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        cause: io::Error,
    },
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            calls: 10,
            duration: 30.0,
            loss: 0.0,
            burst: 1.0,
            jitter: 0.0,
            reorder: 0.0,
            duplicate: 0.0,
            codec: Codec::Pcmu,
            seed: 1,
            ptime: None,
            rate: 5.0,
            mix: 0.0,
            registrations: 0,
            outcomes: Vec::new(),
            rtcp: true,
            start: START,
            first: 0,
        }
    }
}

impl Plan {
    /// All that is wrong with it, one sentence each, naming the field.
    pub fn problems(&self) -> Vec<String> {
        let within = [
            ("duration", self.duration, 0.001, 2_592_000.0),
            ("loss", self.loss, 0.0, 100.0),
            ("burst", self.burst, 1.0, 1_000.0),
            ("jitter", self.jitter, 0.0, 1_000.0),
            ("reorder", self.reorder, 0.0, 100.0),
            ("duplicate", self.duplicate, 0.0, 100.0),
            ("rate", self.rate, 0.001, 1e6),
            ("mix", self.mix, 0.0, 100.0),
        ];
        let mut problems: Vec<_> = within
            .into_iter()
            .filter(|(_, value, low, high)| !(low..=high).contains(&value))
            .map(|(name, value, low, high)| format!("{name} {value} is not within {low} to {high}"))
            .collect();
        if self.burst > 1.0 && self.loss > self.burst * (100.0 - self.loss) {
            problems.push(format!("burst {} is too short for a loss of {} %", self.burst, self.loss));
        }
        let name = self.codec.name();
        if !codecs().any(|codec| codec == self.codec) {
            let names: Vec<_> = codecs().map(Codec::name).collect();
            problems.push(format!("codec {name} is not simulated; these are: {}", names.join(", ")));
        } else if let Some(ptime) = self.ptime
            && self.sound().is_none()
        {
            problems.push(format!("ptime {ptime}: {name} has no packets of so many milliseconds"));
        }
        if self.outcomes.iter().any(|outcome| outcome.registration().is_some()) {
            problems.push("outcomes: a call cannot take the course of a registration".into());
        }
        if self.calls == 0 && self.registrations == 0 {
            problems.push("calls 0: nothing to simulate".into());
        }
        problems
    }

    fn sound(&self) -> Option<Sound> {
        Sound::new(self.codec, self.ptime)
    }

    fn outcome_of_call(&self, number: u32, random: &mut Random) -> Outcome {
        let other = random.happens(self.mix / 100.0);
        let chosen = random.between(0, MIX.len() as u64 - 1) as usize;
        match self.outcomes.get(number as usize % self.outcomes.len().max(1)) {
            Some(outcome) => *outcome,
            None if other => MIX.get(chosen).copied().unwrap_or(Outcome::Busy),
            None => Outcome::Answered,
        }
    }

    fn outcome_of_registration(&self, random: &mut Random) -> Outcome {
        match (random.happens(self.mix / 100.0), random.happens(0.5)) {
            (false, _) => Outcome::Registered,
            (true, false) => Outcome::RegistrationRefused,
            (true, true) => Outcome::RegistrationWrongPassword,
        }
    }
}

/// Simulated frames, one after the other.
#[derive(Debug)]
pub struct Traffic {
    plan: Plan,
    sound: Arc<Sound>,
    up: BinaryHeap<Reverse<Up>>,
    next_call: u32,
    next_registration: u32,
    frame: Vec<u8>,
    /// What is true of the actors that are done, by their place in the order of beginnings.
    ended: Vec<(u32, actor::Ended)>,
    capture: truth::Capture,
    sip: truth::Sip,
}

impl Traffic {
    /// Traffic that follows `plan`.
    pub fn new(plan: Plan) -> Result<Self, Error> {
        let problems = plan.problems();
        let Some(sound) = plan.sound().filter(|_| problems.is_empty()) else {
            return Err(Error::Plan(problems));
        };
        Ok(Self {
            plan,
            sound: Arc::new(sound),
            up: BinaryHeap::new(),
            next_call: 0,
            next_registration: 0,
            frame: Vec::new(),
            ended: Vec::new(),
            capture: truth::Capture::default(),
            sip: truth::Sip::default(),
        })
    }

    /// Time of the next frame.
    pub fn due(&mut self) -> Option<Stamp> {
        self.begin_due();
        self.up.peek().map(|Reverse(first)| first.at)
    }

    /// The next frame in order of time.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.begin_due();
        let mut first = self.up.peek_mut()?;
        let Reverse(Up { at: stamp, actor, .. }) = &mut *first;
        let stamp = *stamp;
        let kind = actor.emit(&mut self.frame, &mut self.sip);
        if let Some(due) = actor.due() {
            first.0.at = due;
        } else {
            let Reverse(over) = PeekMut::pop(first);
            self.ended.push((over.number, over.actor.end()));
        }
        let capture = &mut self.capture;
        if capture.packets == 0 {
            capture.first = stamp;
        }
        capture.last = stamp;
        capture.packets += 1;
        capture.bytes += self.frame.len() as u64;
        capture.rtp += u64::from(kind == actor::Kind::Rtp);
        capture.rtcp += u64::from(kind == actor::Kind::Rtcp);
        let wire_len = self.frame.len() as u32;
        Some(Frame { stamp, link: ETHERNET, interface: 0, wire_len, bytes: &self.frame })
    }

    /// The truth about the calls and registrations that ended since it was last taken, and about all frames.
    pub fn take_truth(&mut self) -> Truth {
        self.ended.sort_by_key(|(number, _)| *number);
        let mut truth = Truth {
            version: 1,
            plan: self.plan.clone(),
            capture: self.capture,
            sip: self.sip.clone(),
            calls: Vec::new(),
            registrations: Vec::new(),
            streams: Vec::new(),
        };
        for (_, ended) in self.ended.drain(..) {
            match ended {
                actor::Ended::Call(call, streams) => {
                    truth.calls.push(*call);
                    truth.streams.extend(streams);
                }
                actor::Ended::Registration(registration) => truth.registrations.push(registration),
            }
        }
        truth
    }

    /// Begins the calls and registrations whose first frame is the next one.
    fn begin_due(&mut self) {
        loop {
            let call = self.begins(self.next_call, self.plan.calls, 0.0);
            let registration = self.begins(self.next_registration, self.plan.registrations, 0.5);
            let Some(begin) = call.into_iter().chain(registration).min() else { return };
            if self.up.peek().is_some_and(|Reverse(first)| first.at < begin) {
                return;
            }
            let is_call = call == Some(begin);
            let number = if is_call {
                self.next_call += 1;
                self.next_call - 1
            } else {
                self.next_registration += 1;
                self.plan.calls + self.next_registration - 1
            };
            let named = self.plan.first.wrapping_add(number);
            let mut random = Random::new(self.plan.seed, u64::from(named));
            let outcome = if is_call {
                self.plan.outcome_of_call(number, &mut random)
            } else {
                self.plan.outcome_of_registration(&mut random)
            };
            let actor = Box::new(Actor::new(&self.plan, &self.sound, named, outcome, begin, random));
            self.up.push(Reverse(Up { at: begin, number, actor }));
        }
    }

    fn begins(&self, next: u32, of: u32, shift: f64) -> Option<Stamp> {
        let nanos = (f64::from(next) + shift) / self.plan.rate * 1e9;
        (next < of).then(|| self.plan.start.plus_nanos(nanos as i64))
    }
}

/// Writes a capture of the whole plan.
pub fn write<W: Write>(plan: &Plan, to: W) -> Result<(W, Truth), Error> {
    let mut traffic = Traffic::new(plan.clone())?;
    let io = |cause| Error::Io { path: "the capture".into(), cause };
    let mut writer = pcap::Writer::new(to, ETHERNET).map_err(io)?;
    while let Some(frame) = traffic.next_frame() {
        writer.frame(frame.stamp, frame.bytes).map_err(io)?;
    }
    Ok((writer.finish().map_err(io)?, traffic.take_truth()))
}

/// Writes the capture to `path` and the truth beside it, to `path` with `.truth.json` behind it.
pub fn write_files(plan: &Plan, path: &Path) -> Result<Truth, Error> {
    if let Some(problems) = Some(plan.problems()).filter(|problems| !problems.is_empty()) {
        return Err(Error::Plan(problems));
    }
    let create = |path: &Path| {
        File::create(path)
            .map(|file| BufWriter::with_capacity(1 << 20, file))
            .map_err(|cause| Error::Io { path: path.into(), cause })
    };
    let (_, truth) = write(plan, create(path)?).map_err(|error| match error {
        Error::Io { cause, .. } => Error::Io { path: path.into(), cause },
        error @ Error::Plan(_) => error,
    })?;
    let mut truth_path = path.as_os_str().to_owned();
    truth_path.push(".truth.json");
    let truth_path = PathBuf::from(truth_path);
    let mut to = create(&truth_path)?;
    serde_json::to_writer_pretty(&mut to, &truth)
        .map_err(io::Error::from)
        .and_then(|()| to.write_all(b"\n"))
        .and_then(|()| to.flush())
        .map_err(|cause| Error::Io { path: truth_path, cause })?;
    Ok(truth)
}

/// An actor and the time of its next frame; ordered by that, ties by number.
#[derive(Debug)]
struct Up {
    at: Stamp,
    number: u32,
    actor: Box<Actor>,
}

impl PartialEq for Up {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Up {}

impl PartialOrd for Up {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Up {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Courses other than the plain one; those that would stretch the capture by minutes are left out.
const MIX: [Outcome; 9] = [
    Outcome::Challenged,
    Outcome::Forked,
    Outcome::Busy,
    Outcome::Rejected,
    Outcome::Redirected,
    Outcome::NoAnswer,
    Outcome::Cancelled,
    Outcome::WrongPassword,
    Outcome::Timeout,
];

const ETHERNET: LinkType = LinkType(1);
/// 2026-01-01T00:00:00Z.
const START: Stamp = Stamp(1_767_225_600_000_000_000);
