//! Sorts what is not a packet of a known stream: SIP from any transport, RTCP, HEP, new RTP flows; and brings
//! calls and media together.

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::hint::black_box;

use foldhash::fast::RandomState;

use super::Settings;
use super::flow::Flow;
use super::media::Media;
use super::repeat::{Overheard, Repeats};
use crate::Stamp;
use crate::call::{Arrival, CallKey, Calls, Named, Notice, Routed, Side};
use crate::demux::{self, Kind};
use crate::event::{
    Described, Event, Live, LiveCall, MirrorKind, Mirrored, Role, Sink, SipTransport, Totals, Via,
};
use crate::hep;
use crate::rtp::header::Header;
use crate::rtp::packet::Packet as RtpPacket;
use crate::sip::vq::VoiceQuality;
use crate::sip::{self, Method, StartLine, body, recording, sdp};
use crate::wire::tcp::{self, Streams};
use crate::wire::{Packet, Transport, sctp};

/// Calls, media, and the transports that carry SIP.
pub(crate) struct Desk {
    pub(crate) media: Media,
    talk: Talk,
    tcp: Streams,
    sctp: sctp::Chunks,
}

/// Everything that takes a whole message.
struct Talk {
    calls: Calls,
    session: sdp::Session,
    notices: Vec<Notice>,
    /// Answered calls, and when to tell of them.
    answered: VecDeque<(Stamp, CallKey)>,
    done: Vec<CallKey>,
    repeats: Repeats,
    overheard: Overheard,
    inflated: Vec<u8>,
    /// RTCP that came as JSON.
    unfolded: Vec<u8>,
    /// Hashes of the voice quality reports passed on last: one report is published many times (MEAS 2.6).
    published: VecDeque<u64>,
    hasher: RandomState,
    defects: BTreeMap<&'static str, u64>,
    skipped: BTreeMap<&'static str, u64>,
    malformed: u64,
    decode_hep: bool,
    mirror: bool,
}

/// A datagram that is a SIP message, that message, and what it is called.
#[derive(Clone, Copy)]
pub(crate) struct Read<'a> {
    pub(crate) packet: Packet<'a>,
    pub(crate) message: sip::Message<'a>,
    pub(crate) name: Option<Named<'a>>,
}

impl Arrival {
    fn of_udp(stamp: Stamp, packet: &Packet<'_>) -> Self {
        Self {
            stamp,
            source: packet.source,
            destination: packet.destination,
            transport: SipTransport::Udp,
            via: Via::Wire,
        }
    }
}

impl Desk {
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { limits, rating, calls, decode_hep, mirror } = settings;
        Self {
            media: Media::new(&limits, rating),
            tcp: Streams::new(&limits),
            sctp: sctp::Chunks::default(),
            talk: Talk {
                calls: Calls::new(&limits, calls),
                session: sdp::Session::default(),
                notices: Vec::new(),
                answered: VecDeque::new(),
                done: Vec::new(),
                repeats: Repeats::default(),
                overheard: Overheard::default(),
                inflated: Vec::new(),
                unfolded: Vec::new(),
                published: VecDeque::new(),
                hasher: RandomState::default(),
                defects: BTreeMap::new(),
                skipped: BTreeMap::new(),
                malformed: 0,
                decode_hep,
                mirror,
            },
        }
    }

    /// Other settings from now on.
    pub(crate) fn reconfigure(&mut self, settings: Settings) {
        self.media.rating = settings.rating;
        self.talk.calls.reconfigure(settings.calls);
    }

    /// A packet of any transport.
    pub(crate) fn packet(&mut self, stamp: Stamp, packet: &Packet<'_>, sink: &mut impl Sink) {
        let Self { media, talk, tcp, sctp } = self;
        match packet.transport {
            Transport::Udp => self.udp_any(stamp, packet, sink),
            Transport::Tcp { .. } => {
                tcp.segment(stamp, packet, &mut |record| talk.record(&record, media, sink));
            }
            Transport::Sctp => sctp.packet(stamp, packet, &mut |message| {
                let at = Arrival {
                    stamp: message.stamp,
                    source: message.source,
                    destination: message.destination,
                    transport: SipTransport::Sctp,
                    via: Via::Wire,
                };
                if let Some(start) = sip::start(message.bytes) {
                    talk.pass_on(&at, message.bytes, sink);
                    start.with_message(|message| talk.unnamed(&at, message, media, sink));
                }
            }),
        }
    }

    /// A UDP datagram that may be anything, RTP included.
    fn udp_any(&mut self, stamp: Stamp, packet: &Packet<'_>, sink: &mut impl Sink) {
        if demux::classify(packet.payload) != Kind::Rtp {
            return self.udp(stamp, packet, sink);
        }
        let Some(header) = Header::read(packet.payload, packet.cut) else { return };
        let ip_id = packet.ip_id.unwrap_or(0);
        let Some(rtp) = RtpPacket::read(stamp, packet.payload, packet.cut, ip_id, packet.interface) else {
            return;
        };
        let flow = Flow::new(packet.source, packet.destination, header.fixed.ssrc);
        match self.media.find(&flow) {
            Some(index) => self.media.take_late(index, &rtp, sink),
            None => self.new_flow(flow, &header, &rtp, packet.dscp, sink),
        }
    }

    /// An RTP packet of a flow that has no stream yet.
    fn new_flow(
        &mut self,
        flow: Flow,
        header: &Header,
        packet: &RtpPacket<'_>,
        dscp: u8,
        sink: &mut impl Sink,
    ) {
        self.media.unknown(flow, header, packet, dscp, sink);
        self.talk.tell_streams(&mut self.media, sink);
    }

    /// A UDP datagram that is no RTP.
    fn udp(&mut self, stamp: Stamp, packet: &Packet<'_>, sink: &mut impl Sink) {
        let Self { media, talk, .. } = self;
        match demux::classify(packet.payload) {
            Kind::Rtcp => {
                if talk.repeats.captured_twice(stamp, packet) {
                    media.counters.capture_duplicates += 1;
                } else {
                    talk.overheard.on_wire(stamp, packet.source, packet.destination);
                    media.rtcp(stamp, packet, Via::Wire);
                    talk.tell_reports(media, sink);
                    talk.pass_on_rtcp(stamp, packet, media, sink);
                }
            }
            _ if packet.payload.starts_with(HEP) => {
                if talk.decode_hep {
                    talk.captured_hep(stamp, packet.payload, media, sink);
                } else {
                    *talk.skipped.entry("hep").or_default() += 1;
                }
            }
            kind => {
                let Some(start) = sip::start(packet.payload) else {
                    *talk.skipped.entry(kind.name()).or_default() += 1;
                    return;
                };
                start.with_message(|message| {
                    let name = self.talk.calls.name(&Arrival::of_udp(stamp, packet), message);
                    self.message(stamp, &Read { packet: *packet, message: *message, name }, sink);
                });
            }
        }
    }

    /// The start of the SIP message in a UDP payload, if it is one: what [`Desk::packet`] would take it for.
    pub(crate) fn sip(payload: &[u8]) -> Option<sip::Start<'_>> {
        // Neither RTP nor RTCP begins with ASCII.
        let may_be = payload.first().is_some_and(u8::is_ascii) && !payload.starts_with(HEP);
        sip::start(payload).filter(|_| may_be)
    }

    /// Names the messages that come next, and draws what they will need into the cache.
    pub(crate) fn look_ahead(&self, messages: &mut [Read<'_>]) {
        let calls = &self.talk.calls;
        for Read { packet, message, name } in messages.iter_mut() {
            *name = calls.name(&Arrival::of_udp(Stamp(0), packet), message);
        }
        let touched = messages.iter().filter_map(|read| read.name.as_ref()).map(|name| calls.touch(name));
        black_box(touched.fold(0, |sum, touched| sum ^ touched));
    }

    /// A UDP datagram that is a SIP message.
    pub(crate) fn message(&mut self, stamp: Stamp, read: &Read<'_>, sink: &mut impl Sink) {
        let Self { media, talk, .. } = self;
        let Read { packet, message, name } = read;
        if talk.repeats.captured_twice(stamp, packet) {
            media.counters.capture_duplicates += 1;
            return;
        }
        let at = Arrival::of_udp(stamp, packet);
        talk.pass_on(&at, packet.payload, sink);
        talk.sip(&at, message, *name, media, sink);
    }

    /// A HEP record that was sent to us.
    pub(crate) fn hep(&mut self, stamp: Stamp, record: &[u8], sink: &mut impl Sink) {
        self.talk.sent_hep(stamp, record, &mut self.media, sink);
    }

    /// Works off what is due at `now`, a moment on the grid.
    pub(crate) fn tick(&mut self, now: Stamp, sink: &mut impl Sink) {
        let Self { media, talk, tcp, .. } = self;
        tcp.expire(now, &mut |record| talk.record(&record, media, sink));
        if media.look_around(now, sink) {
            for (call, last) in media.last_heard() {
                talk.calls.media_active(call, last);
            }
        }
        talk.calls.expire(now, &mut talk.notices);
        talk.tell(media, sink);
        talk.tell_answers(now, sink);
        media.sweep(now, &mut talk.done, sink);
        talk.tell_calls(media, sink);
    }

    /// Everything that is up.
    pub(crate) fn live(&mut self, live: &mut Live) {
        let Self { media, talk, .. } = self;
        media.settle();
        for (key, call) in talk.calls.live() {
            let (codec, one_way) = media.heard_of(key, &mut live.streams, live.calls.len() as u32);
            live.calls.push(LiveCall {
                call_id: call.call_id(),
                from: call.from(),
                to: call.to(),
                source: call.source(),
                destination: call.destination(),
                transport: call.transport(),
                via: call.via(),
                state: call.state(),
                start: call.start(),
                answered: call.answered(),
                tenant: call.tenant(),
                route: call.route(),
                codec,
                one_way,
            });
        }
        media.without_call(|call| talk.calls.is_live(call), &mut live.streams);
        let calls = talk.calls.tables();
        live.registrations = calls.bindings;
        live.tables = vec![
            ("calls", calls.calls),
            ("transactions", calls.transactions),
            ("registrations", calls.registrations),
            ("bindings", calls.bindings),
            ("streams", media.len()),
            ("endpoints", media.endpoints()),
            ("candidates", media.probation.len()),
        ];
    }

    /// The capture is over at `last`.
    pub(crate) fn finish(&mut self, last: Stamp, sink: &mut impl Sink) {
        let Self { media, talk, tcp, .. } = self;
        tcp.finish(&mut |record| talk.record(&record, media, sink));
        talk.calls.expire(last, &mut talk.notices);
        talk.tell(media, sink);
        talk.calls.finish(&mut talk.notices);
        talk.tell(media, sink);
        media.finish(&mut talk.done, sink);
        talk.tell_calls(media, sink);
    }

    pub(crate) fn totals(&self, totals: &mut Totals) {
        let calls = self.talk.calls.counters();
        let media = self.media.counters;
        totals.requests = calls.requests().map(|(method, tally)| (method.to_owned(), tally.total)).collect();
        for (_, code, tally) in calls.responses() {
            *totals.responses.entry(code).or_default() += tally.total;
        }
        totals.retransmissions = calls.retransmissions();
        totals.malformed = calls.malformed + self.talk.malformed;
        totals.orphans = calls.orphans;
        totals.duplicates = media.capture_duplicates;
        totals.defects = self.talk.defects.clone();
        for (reason, count) in &self.talk.skipped {
            *totals.skipped.entry(reason).or_default() += count;
        }
        let tcp = self.tcp.counters();
        let evicted = [
            ("calls", calls.calls_evicted),
            ("calls_refused", calls.calls_refused),
            ("registrations", calls.registrations_evicted),
            ("bindings", calls.bindings_evicted),
            ("transactions", calls.transactions_evicted),
            ("transfers", calls.transfers_evicted),
            ("streams", media.streams_evicted),
            ("endpoints", media.targets_refused),
            ("candidates", self.media.probation.counters().evicted),
            ("rtcp_legs", self.media.round_trips.evicted()),
            ("tcp_flows", tcp.evicted + tcp.recycled),
            ("tcp_bytes", tcp.released),
            ("sctp_fragments", self.sctp.counters().evicted),
        ];
        totals.evicted.extend(evicted.into_iter().filter(|&(_, count)| count > 0));
    }
}

impl Talk {
    /// A message off a byte stream.
    fn record(&mut self, record: &tcp::Record<'_>, media: &mut Media, sink: &mut impl Sink) {
        match record.kind {
            tcp::Kind::Sip => {
                let at = Arrival {
                    stamp: record.stamp,
                    source: record.source,
                    destination: record.destination,
                    transport: record.transport,
                    via: Via::Wire,
                };
                self.pass_on(&at, record.bytes, sink);
                self.text(&at, record.bytes, media, sink);
            }
            tcp::Kind::Hep if !self.decode_hep => {}
            tcp::Kind::Hep => self.captured_hep(record.stamp, record.bytes, media, sink),
        }
    }

    /// A SIP message off the wire goes on as it is.
    fn pass_on(&self, at: &Arrival, bytes: &[u8], sink: &mut impl Sink) {
        if self.mirror {
            sink.message(&mirrored_sip(at, bytes));
        }
    }

    fn pass_on_rtcp(&self, stamp: Stamp, packet: &Packet<'_>, media: &Media, sink: &mut impl Sink) {
        if self.mirror {
            let call = media.call_of_rtcp(packet.source, packet.destination);
            let call_id = call.and_then(|key| self.calls.get(key)).map(|call| call.call_id());
            sink.message(&Mirrored {
                stamp,
                source: packet.source,
                destination: packet.destination,
                protocol: 17,
                kind: MirrorKind::Rtcp,
                call_id: call_id.as_deref().unwrap_or_default(),
                bytes: packet.payload,
            });
        }
    }

    /// A record that was sent to us.
    fn sent_hep(&mut self, stamp: Stamp, bytes: &[u8], media: &mut Media, sink: &mut impl Sink) {
        self.decoded(bytes, |talk, record| talk.mirrored(stamp, record, media, sink));
    }

    /// A record found on the wire. Our own are no news.
    fn captured_hep(&mut self, stamp: Stamp, bytes: &[u8], media: &mut Media, sink: &mut impl Sink) {
        self.decoded(bytes, |talk, record| {
            if sink.is_own_hep(stamp, bytes, record) {
                *talk.skipped.entry("own_hep").or_default() += 1;
            } else {
                talk.mirrored(stamp, record, media, sink);
            }
        });
    }

    fn decoded(&mut self, bytes: &[u8], take: impl FnOnce(&mut Self, &hep::Hep<'_>)) {
        let mut inflated = std::mem::take(&mut self.inflated);
        match hep::decode(bytes, &mut inflated) {
            Ok(record) => take(self, &record),
            Err(_) => *self.skipped.entry("bad_hep").or_default() += 1,
        }
        self.inflated = inflated;
    }

    /// What a proxy mirrored: SIP as if it had been captured where the proxy stands.
    ///
    /// Times are the proxy's own as long as they are within 2 s of the arrival. Beyond that its clock is wrong, or
    /// the record was kept back; both are timed by arrival, so that what the way to us adds is in the delays. A
    /// clock that is off by less is not noticed: calls seen by that proxy alone are measured right, but of a call
    /// whose other half was seen on the wire, delays between the two halves are wrong by as much.
    fn mirrored(&mut self, stamp: Stamp, record: &hep::Hep<'_>, media: &mut Media, sink: &mut impl Sink) {
        let (source, destination) = (record.source, record.destination);
        // The proxy's clock is nearer to the event; one that is wrong must not move our timers.
        let stamp =
            record.stamp.filter(|told| told.nanos_since(stamp).abs() < CLOCKS_AGREE_NANOS).unwrap_or(stamp);
        match record.kind {
            _ if record.payload.trim_ascii().is_empty() => {} // a keep-alive
            hep::Kind::Sip => {
                let at =
                    Arrival { stamp, source, destination, transport: hep_transport(record), via: Via::Hep };
                if self.mirror {
                    sink.retold(&mirrored_sip(&at, record.payload));
                }
                self.text(&at, record.payload, media, sink);
            }
            hep::Kind::Rtcp | hep::Kind::RtcpJson
                if self.overheard.is_on_wire(stamp, source, destination) =>
            {
                media.counters.capture_duplicates += 1;
            }
            hep::Kind::Rtcp => self.mirrored_rtcp(stamp, record, record.payload, media, sink),
            hep::Kind::RtcpJson => {
                let mut unfolded = std::mem::take(&mut self.unfolded);
                match hep::retold::unfold(record.payload, &mut unfolded) {
                    Ok(()) if unfolded.is_empty() => {} // an SDES, a BYE
                    Ok(()) => self.mirrored_rtcp(stamp, record, &unfolded, media, sink),
                    Err(_) => *self.skipped.entry("bad_hep").or_default() += 1,
                }
                self.unfolded = unfolded;
            }
            _ => *self.skipped.entry("hep_other").or_default() += 1,
        }
    }

    fn mirrored_rtcp(
        &mut self,
        stamp: Stamp,
        record: &hep::Hep<'_>,
        payload: &[u8],
        media: &mut Media,
        sink: &mut impl Sink,
    ) {
        let packet = Packet {
            source: record.source,
            destination: record.destination,
            transport: Transport::Udp,
            payload,
            cut: 0,
            ip_id: None,
            dscp: 0,
            interface: 0,
        };
        media.rtcp(stamp, &packet, Via::Hep);
        // Agents name the call themselves.
        let named = Some(record.correlation).filter(|name| (1..=MAX_CALL_ID).contains(&name.len()));
        for (_, report) in &mut media.reports {
            report.call_id = named.map(|name| String::from_utf8_lossy(name).into_owned());
        }
        self.tell_reports(media, sink);
    }

    /// What should be a message.
    fn text(&mut self, at: &Arrival, bytes: &[u8], media: &mut Media, sink: &mut impl Sink) {
        match sip::scan(bytes) {
            Some(message) => self.unnamed(at, &message, media, sink),
            None => self.malformed += 1,
        }
    }

    fn unnamed(&mut self, at: &Arrival, message: &sip::Message<'_>, media: &mut Media, sink: &mut impl Sink) {
        self.sip(at, message, self.calls.name(at, message), media, sink);
    }

    fn sip(
        &mut self,
        at: &Arrival,
        message: &sip::Message<'_>,
        name: Option<Named<'_>>,
        media: &mut Media,
        sink: &mut impl Sink,
    ) {
        for defect in message.defects.iter() {
            *self.defects.entry(defect.name()).or_default() += 1;
        }
        let body = body::find(message);
        if !body.vq_rtcpxr.is_empty()
            && let Some(report) = VoiceQuality::read(body.vq_rtcpxr)
        {
            self.published(at.stamp, &report, sink);
        }
        let described = !body.sdp.is_empty();
        if described {
            sdp::parse(body.sdp, &mut self.session);
        }
        let session = described.then_some(&self.session);
        let routed = self.calls.named_message(at, message, name, session, &mut self.notices);
        if let Some(routed) = &routed {
            if let (Some(key), StartLine::Request { method: Method::Info, .. }) = (body.dtmf, message.start) {
                self.calls.key_pressed(routed, key);
            }
            if !body.recording.is_empty() {
                self.calls.participants(routed, recording::participants(body.recording));
            }
        }
        if let Some(routed) = routed
            && described
            && !routed.retransmission
        {
            media.announce(routed.call, routed.side, &self.session);
            if routed.hop == 0 && sink.wants_described() {
                self.tell_description(at.stamp, &routed, message, sink);
            }
        }
        if !self.notices.is_empty() {
            self.tell(media, sink);
        }
    }

    /// Tells of the description that was just read.
    fn tell_description(
        &self,
        stamp: Stamp,
        routed: &Routed,
        message: &sip::Message<'_>,
        sink: &mut impl Sink,
    ) {
        let Some(call_id) = self.calls.get(routed.call).map(|call| call.call_id()) else { return };
        let role = match message.start {
            StartLine::Request { method: Method::Ack | Method::Prack, .. } | StartLine::Response { .. } => {
                Role::Answer
            }
            StartLine::Request { .. } => Role::Offer,
        };
        let by_caller = routed.side == Side::Caller;
        sink.described(&Described { stamp, call_id: &call_id, by_caller, role, session: &self.session });
    }

    /// A voice quality report, passed on once.
    fn published(&mut self, stamp: Stamp, report: &VoiceQuality<'_>, sink: &mut impl Sink) {
        let key = self.hasher.hash_one(report.key());
        if self.published.contains(&key) {
            return;
        }
        if self.published.len() >= MAX_PUBLISHED {
            self.published.pop_front();
        }
        self.published.push_back(key);
        sink.event(Event::Report(report.report(stamp)));
    }

    /// Passes on what calls had to say.
    fn tell(&mut self, media: &mut Media, sink: &mut impl Sink) {
        for same in std::mem::take(&mut media.joins) {
            if self.calls.join(same.calls.0, same.calls.1, same.relay, &mut self.notices) {
                media.confirm(&same);
            }
        }
        for notice in self.notices.drain(..) {
            match notice {
                Notice::Answered(call, stamp) => {
                    media.answered(call, stamp);
                    // One that finds no room is told of when it ends.
                    if self.answered.len() < MAX_ANSWERED {
                        self.answered.push_back((stamp.plus_nanos(SETTLE_NANOS), call));
                    }
                }
                Notice::Ended(call, stamp) => {
                    let delay = self.calls.get(call).and_then(|call| call.one_way_delay());
                    media.end(call, stamp, delay);
                }
                Notice::Joined(kept, absorbed) => media.join(kept, absorbed),
                Notice::Registration(registration) => sink.event(Event::Registration(registration)),
                Notice::Expired(binding) => sink.event(Event::Expired(binding)),
                Notice::Transfer(transfer) => sink.event(Event::Transfer(transfer)),
            }
        }
    }

    /// Passes on what endpoints reported about streams, under the Call-ID that is known by now.
    fn tell_reports(&self, media: &mut Media, sink: &mut impl Sink) {
        for (call, mut report) in media.reports.drain(..) {
            let known = call.and_then(|call| self.calls.get(call)).map(|call| call.call_id());
            report.call_id = known.or(report.call_id);
            sink.event(Event::Report(report));
        }
    }

    /// Tells streams that are over.
    fn tell_streams(&mut self, media: &mut Media, sink: &mut impl Sink) {
        for (call, mut stream) in media.ended.drain(..) {
            stream.call_id = call.and_then(|call| self.calls.get(call)).map(|call| call.call_id());
            sink.event(Event::Stream(stream));
        }
    }

    /// Tells of calls that were answered a moment ago.
    fn tell_answers(&mut self, now: Stamp, sink: &mut impl Sink) {
        while let Some((_, call)) = self.answered.pop_front_if(|(due, _)| *due <= now) {
            self.tell_answer(call, sink);
        }
    }

    /// Tells of an answered call, once.
    fn tell_answer(&mut self, call: CallKey, sink: &mut impl Sink) {
        if sink.wants_answered()
            && let Some(record) = self.calls.answered_record(call)
        {
            sink.event(Event::Answered(record));
        }
    }

    /// Tells calls whose media are closed.
    fn tell_calls(&mut self, media: &mut Media, sink: &mut impl Sink) {
        self.tell_streams(media, sink);
        let mut done = std::mem::take(&mut self.done);
        for key in done.drain(..) {
            self.tell_answer(key, sink);
            let outcome = media.take(key);
            let Some(mut call) = self.calls.take(key) else { continue };
            call.streams = outcome.streams;
            call.codec = outcome.codec;
            call.mos = outcome.mos;
            call.one_way = outcome.one_way;
            call.dead_air = outcome.dead_air;
            call.why = outcome.why;
            call.explain();
            sink.event(Event::Call(call));
        }
        self.done = done;
    }
}

fn mirrored_sip<'a>(at: &Arrival, bytes: &'a [u8]) -> Mirrored<'a> {
    Mirrored {
        stamp: at.stamp,
        source: at.source,
        destination: at.destination,
        protocol: match at.transport {
            SipTransport::Udp => 17,
            SipTransport::Sctp => 132,
            SipTransport::Tcp | SipTransport::Tls | SipTransport::Ws | SipTransport::Wss => 6,
        },
        kind: MirrorKind::Sip,
        call_id: "",
        bytes,
    }
}

/// HEP names the IP protocol; what rides on TCP stands in the top Via.
fn hep_transport(record: &hep::Hep<'_>) -> SipTransport {
    match record.protocol {
        6 => SipTransport::Tcp,
        132 => SipTransport::Sctp,
        _ => SipTransport::Udp,
    }
}

/// How HEP begins (version 3).
const HEP: &[u8] = b"HEP3";
/// From an answer to the word of it.
const SETTLE_NANOS: i64 = 2_000_000_000;
/// Answered calls that wait for that.
const MAX_ANSWERED: usize = 65_536;
/// Longest name of a call that is taken from HEP.
const MAX_CALL_ID: usize = 256;
/// Voice quality reports remembered.
const MAX_PUBLISHED: usize = 256;
/// HEP records whose own time is off by more are timed by their arrival.
const CLOCKS_AGREE_NANOS: i64 = 2_000_000_000;
