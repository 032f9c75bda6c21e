//! Session descriptions (RFC 4566, RFC 8866) as far as media measurement needs them (MEAS 1.7, 2.1, 5.6).
//!
//! ```text
//! c=IN IP4 192.0.2.1                   default of every section below
//! a=sendonly
//! m=audio 49170/2 RTP/AVP 0 96         opens a section; 0 has a static meaning (RFC 3551)
//! c=IN IP4 192.0.2.2                   overrides
//! a=rtpmap:96 opus/48000/2
//! a=fmtp:96 useinbandfec=1
//! ```
//!
//! Lines may end in LF or CR alone, be indented, be missing (v=, o=, s=, t=) or end in the middle.

use std::net::{IpAddr, Ipv4Addr};

use super::find;
use super::header::{is_trimmed, split_where};
use crate::rtp::payload::{Codec, Format};

/// What one SDP body says about media.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// Media sections in order; a rejected one has port 0.
    pub media: Vec<Media>,
    /// Sections and formats beyond [`MEDIA_MAX`] and [`FORMATS_MAX`], not kept.
    pub refused: u16,
}

/// One `m=` section, session-level defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Kind of media.
    pub kind: Kind,
    /// Where it wants to be sent to; `None` for a host name.
    pub address: Option<IpAddr>,
    /// RTP port; 0 = rejected.
    pub port: u16,
    /// RTCP port: `a=rtcp:` or port + 1, or `port` with `a=rtcp-mux`.
    pub rtcp_port: u16,
    /// `a=rtcp-mux` present.
    pub rtcp_mux: bool,
    /// `RTP/SAVP*`, `a=crypto` or a DTLS fingerprint: payload is encrypted.
    pub secure: bool,
    /// sendrecv, sendonly, recvonly, inactive; inactive also for `c=0.0.0.0`.
    pub direction: Direction,
    /// `a=ptime`, milliseconds.
    pub ptime_ms: Option<u16>,
    /// `a=maxptime`, milliseconds.
    pub maxptime_ms: Option<u16>,
    /// `a=label` (RFC 4574), which names the stream in recording metadata (RFC 7866); empty when absent.
    pub label: String,
    /// Payload formats in order of preference.
    pub formats: Vec<Format>,
}

/// Kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Kind {
    Audio,
    Video,
    /// T.38 and the like.
    Image,
    Other,
}

/// Direction attribute, from the view of the describing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

/// Media sections kept of one description.
pub const MEDIA_MAX: usize = 16;

/// Formats kept of one media section.
pub const FORMATS_MAX: usize = 32;

/// Reads a description into `session`, whose former content is dropped while its allocations are used again.
pub fn parse(body: &[u8], session: &mut Session) {
    session.refused = 0;
    let mut lines = Lines(body);
    let mut reader = Reader {
        session,
        place: Place::Session,
        defaults: Media::empty(),
        section: Lines(b""),
        early_fmtp: false,
    };
    while let Some((kind, value)) = lines.next() {
        match kind {
            b'm' => {
                reader.section = lines.clone();
                reader.media(trim(value));
            }
            // The third word is the address, or a host name.
            b'c' => {
                if let Some(media) = reader.current() {
                    media.address = words(trim(value)).nth(2).and_then(address);
                }
            }
            b'a' => reader.attribute(value),
            _ => {}
        }
    }
    reader.close();
    let kept = reader.place.kept();
    session.media.truncate(kept);
}

/// Where the current line belongs.
#[derive(Clone, Copy)]
enum Place {
    /// Above the first `m=`.
    Session,
    /// In the section of this index.
    Media(usize),
    /// In a section beyond the limit.
    Refused,
}

impl Place {
    /// Sections kept so far.
    fn kept(self) -> usize {
        match self {
            Self::Session => 0,
            Self::Media(index) => index + 1,
            Self::Refused => MEDIA_MAX,
        }
    }
}

struct Reader<'s, 'a> {
    session: &'s mut Session,
    place: Place,
    /// What stands above the first `m=`: every section starts from it.
    defaults: Media,
    /// The lines behind the latest `m=`.
    section: Lines<'a>,
    /// An `a=fmtp` of the section came before the `a=rtpmap` that gives it its meaning.
    early_fmtp: bool,
}

impl Reader<'_, '_> {
    /// What a line speaks of; `None` in a section that is not kept.
    fn current(&mut self) -> Option<&mut Media> {
        match self.place {
            Place::Session => Some(&mut self.defaults),
            Place::Media(index) => self.session.media.get_mut(index),
            Place::Refused => None,
        }
    }

    /// `audio 49170/2 RTP/AVP 0 8 101`
    fn media(&mut self, value: &[u8]) {
        self.close();
        let index = self.place.kept();
        if index == MEDIA_MAX {
            self.place = Place::Refused;
            self.session.refused = self.session.refused.saturating_add(1);
            return;
        }
        self.place = Place::Media(index);
        if self.session.media.len() == index {
            self.session.media.push(Media::empty());
        }
        let Some(media) = self.session.media.get_mut(index) else { return };
        let (mut formats, mut label) = (std::mem::take(&mut media.formats), std::mem::take(&mut media.label));
        formats.clear();
        label.clear();
        let mut words = words(value);
        let &mut Media { address, rtcp_port, rtcp_mux, secure, direction, ptime_ms, maxptime_ms, .. } =
            &mut self.defaults;
        *media = Media {
            kind: Kind::of(words.next().unwrap_or_default()),
            address,
            port: words.next().and_then(small).unwrap_or(0),
            rtcp_port,
            rtcp_mux,
            secure: secure || words.next().is_some_and(is_secure),
            direction,
            ptime_ms,
            maxptime_ms,
            label,
            formats,
        };
        for payload_type in words.filter_map(small).filter(|&number| number < 128) {
            let payload_type = payload_type as u8;
            if media.formats.len() == FORMATS_MAX {
                self.session.refused = self.session.refused.saturating_add(1);
            } else if media.format(payload_type).is_none() {
                let known = Format::of_static(payload_type);
                media.formats.push(known.unwrap_or(Format::unknown(payload_type)));
            }
        }
    }

    fn attribute(&mut self, value: &[u8]) {
        let (name, value) = attribute(value);
        let Some(media) = self.current() else { return };
        match name {
            b"sendrecv" => media.direction = Direction::SendRecv,
            b"sendonly" => media.direction = Direction::SendOnly,
            b"recvonly" => media.direction = Direction::RecvOnly,
            b"inactive" => media.direction = Direction::Inactive,
            b"fingerprint" | b"crypto" => media.secure = true,
            b"ptime" => media.ptime_ms = small(value).filter(|&ms| ms > 0),
            b"maxptime" => media.maxptime_ms = small(value).filter(|&ms| ms > 0),
            b"rtcp" => media.rtcp_port = small(value).unwrap_or(0),
            b"rtcp-mux" => media.rtcp_mux = true,
            b"label" => {
                media.label = String::from_utf8_lossy(&value[..value.len().min(LABEL_MAX)]).into_owned();
            }
            b"rtpmap" => media.rtpmap(value),
            b"fmtp" => {
                let early = media.fmtp(value).is_some_and(|codec| codec == Codec::Unknown);
                self.early_fmtp |= early;
            }
            _ => {}
        }
    }

    /// Ends the section being read.
    fn close(&mut self) {
        let again = std::mem::take(&mut self.early_fmtp);
        let Place::Media(index) = self.place else { return };
        let Some(media) = self.session.media.get_mut(index) else { return };
        if again {
            let lines =
                self.section.clone().take_while(|&(kind, _)| kind != b'm').filter(|&(kind, _)| kind == b'a');
            for (name, value) in lines.map(|(_, value)| attribute(value)) {
                if name == b"fmtp" {
                    media.fmtp(value);
                }
            }
        }
        media.settle();
    }
}

impl Media {
    fn empty() -> Self {
        Self {
            kind: Kind::Other,
            address: None,
            port: 0,
            rtcp_port: 0,
            rtcp_mux: false,
            secure: false,
            direction: Direction::SendRecv,
            ptime_ms: None,
            maxptime_ms: None,
            label: String::new(),
            formats: Vec::new(),
        }
    }

    fn format(&mut self, payload_type: u8) -> Option<&mut Format> {
        self.formats.iter_mut().find(|format| format.payload_type == payload_type)
    }

    /// The format that `96 rest` speaks of, and the rest.
    fn numbered<'v>(&mut self, value: &'v [u8]) -> Option<(&mut Format, &'v [u8])> {
        let number = u8::try_from(leading_number(value)?).ok()?;
        let (_, rest) = value.split_at(find::first_of(b' ', b'\t', value).unwrap_or(value.len()));
        Some((self.format(number)?, trim(rest.get(1..).unwrap_or_default())))
    }

    /// `96 opus/48000/2`
    fn rtpmap(&mut self, value: &[u8]) {
        let Some((format, encoding)) = self.numbered(value) else { return };
        let (name, clock) = encoding.split_at(find::first(b'/', encoding).unwrap_or(encoding.len()));
        let clock = clock.get(1..).and_then(leading_number);
        // Without a clock rate only the static one can be meant.
        let clock = clock.unwrap_or(format.clock_rate);
        *format = Format::from_rtpmap(format.payload_type, trim(name), clock);
    }

    /// `96 useinbandfec=1`; the codec it was applied to.
    fn fmtp(&mut self, value: &[u8]) -> Option<Codec> {
        let (format, parameters) = self.numbered(value)?;
        format.apply_fmtp(parameters);
        Some(format.codec)
    }

    /// What follows from several lines together.
    fn settle(&mut self) {
        if self.rtcp_mux {
            self.rtcp_port = self.port;
        } else if self.port == 0 {
            self.rtcp_port = 0;
        } else if self.rtcp_port == 0 {
            self.rtcp_port = self.port.checked_add(1).unwrap_or(0);
        }
        // Hold as of RFC 2543. Port 9 with it says "see my ICE candidates" instead (RFC 8839 4.3.1).
        if self.address.is_some_and(|ip| ip.is_unspecified()) && self.port != DISCARD_PORT {
            self.direction = Direction::Inactive;
        }
        if self.kind == Kind::Video {
            let strangers =
                self.formats.iter_mut().filter(|f| matches!(f.codec, Codec::Other | Codec::Unknown));
            strangers.for_each(|format| format.codec = Codec::OtherVideo);
        }
    }
}

impl Kind {
    fn of(word: &[u8]) -> Self {
        let is = |name: &[u8]| word == name || word.eq_ignore_ascii_case(name);
        match () {
            () if is(b"audio") => Self::Audio,
            () if is(b"video") => Self::Video,
            () if is(b"image") => Self::Image,
            () => Self::Other,
        }
    }
}

/// `x=value` lines: type letter and value. What has another form is skipped.
#[derive(Clone)]
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = (u8, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let end = find::first_of(b'\r', b'\n', self.0).unwrap_or(self.0.len());
            let (line, rest) = self.0.split_at(end);
            self.0 = match rest {
                [b'\r', b'\n', behind @ ..] | [_, behind @ ..] => behind,
                [] => rest,
            };
            // How all but the strangest lines begin.
            if let [kind @ b'a'..=b'z', b'=', value @ ..] = line {
                return Some((*kind, value));
            }
            if let Some(odd) = odd_line(line) {
                return Some(odd);
            }
        }
        None
    }
}

/// A line with white space before or around its letter.
#[cold]
fn odd_line(line: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = line.trim_ascii_start().split_first()?;
    match rest.trim_ascii_start() {
        [b'=', value @ ..] => Some((*kind, value)),
        _ => None,
    }
}

/// Name and value of `name:value`.
#[inline]
fn attribute(value: &[u8]) -> (&[u8], &[u8]) {
    let (name, rest) = value.split_at(find::first(b':', value).unwrap_or(value.len()));
    (trim(name), trim(rest.get(1..).unwrap_or_default()))
}

/// Without white space around it, which hardly anyone writes.
#[inline]
fn trim(value: &[u8]) -> &[u8] {
    if is_trimmed(value) { value } else { value.trim_ascii() }
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t', behind @ ..] = rest {
            rest = behind;
        }
        let (word, behind) = rest.split_at(find::first_of(b' ', b'\t', rest).unwrap_or(rest.len()));
        rest = behind;
        (!word.is_empty()).then_some(word)
    })
}

/// An address, without what multicast (`/127/3`), zones (`%eth0`) and URI habits (`[..]`) add to it.
fn address(word: &[u8]) -> Option<IpAddr> {
    if let Some(ip) = dotted(word) {
        return Some(ip.into());
    }
    let (word, _) = split_where(word, |b| matches!(b, b'/' | b'%' | b']'));
    let text = std::str::from_utf8(word.strip_prefix(b"[").unwrap_or(word)).ok()?;
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// An IPv4 address that stands alone, as nearly all do: four numbers below 256 without leading zeros (RFC 8866 9).
fn dotted(word: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut rest) = ([0; 4], word);
    for (place, octet) in octets.iter_mut().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let (number, behind) = match rest {
            [b'0', behind @ ..] => (0, behind),
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', behind @ ..] => {
                (u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'), behind)
            }
            [a @ b'1'..=b'9', b @ b'0'..=b'9', behind @ ..] => {
                (u16::from(a - b'0') * 10 + u16::from(b - b'0'), behind)
            }
            [a @ b'1'..=b'9', behind @ ..] => (u16::from(a - b'0'), behind),
            _ => return None,
        };
        *octet = u8::try_from(number).ok()?;
        rest = behind;
    }
    rest.is_empty().then(|| octets.into())
}

fn is_secure(protocol: &[u8]) -> bool {
    // What nearly all say.
    protocol != b"RTP/AVP" && protocol.windows(4).any(|part| part.eq_ignore_ascii_case(b"SAVP"))
}

/// The number that `value` starts with, when it has digits there.
#[inline]
fn leading_number(value: &[u8]) -> Option<u32> {
    let (mut number, mut digits) = (0_u32, 0);
    for &byte in value {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.checked_mul(10)?.checked_add(u32::from(digit))?;
        digits += 1;
    }
    (digits > 0).then_some(number)
}

#[inline]
fn small(value: &[u8]) -> Option<u16> {
    u16::try_from(leading_number(value)?).ok()
}

/// `discard`, the port of those that have none yet.
const DISCARD_PORT: u16 = 9;

/// Bytes kept of a label.
const LABEL_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Session {
        let mut session = Session::default();
        parse(text.as_bytes(), &mut session);
        session
    }

    fn one(text: &str) -> Media {
        let session = of(text);
        assert_eq!(session.media.len(), 1, "{text}");
        session.media[0].clone()
    }

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=sendonly\r\n\
        m=audio 49170 RTP/AVP 0 96 101 18\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:30\r\na=maxptime:60\r\na=label:1\r\n\
        m=video 51372/2 RTP/SAVPF 97 34\r\nc=IN IP6 ::ffff:192.0.2.9\r\na=rtpmap:97 x-cam/90000\r\na=rtcp-mux\r\n\
        a=sendrecv\r\n\
        m=image 0 udptl t38\r\n";

    #[test]
    fn an_offer_is_read_whole() {
        let session = of(OFFER);
        let [audio, video, image] = &session.media[..] else { panic!("{session:?}") };
        assert_eq!((audio.kind, audio.port, audio.rtcp_port), (Kind::Audio, 49170, 49171));
        assert_eq!(audio.address, Some("192.0.2.1".parse().unwrap()));
        assert_eq!((audio.direction, audio.secure), (Direction::SendOnly, false));
        assert_eq!((audio.ptime_ms, audio.maxptime_ms, audio.label.as_str()), (Some(30), Some(60), "1"));
        let formats: Vec<_> =
            audio.formats.iter().map(|f| (f.payload_type, f.codec, f.clock_rate, f.fec)).collect();
        assert_eq!(
            formats,
            [
                (0, Codec::Pcmu, 8000, false),
                (96, Codec::Opus, 48_000, true),
                (101, Codec::TelephoneEvent, 8000, false),
                (18, Codec::G729, 8000, false)
            ]
        );
        assert_eq!(
            (video.kind, video.port, video.rtcp_port, video.rtcp_mux),
            (Kind::Video, 51372, 51372, true)
        );
        assert_eq!(video.address, Some("192.0.2.9".parse().unwrap()));
        assert_eq!((video.direction, video.secure, video.ptime_ms), (Direction::SendRecv, true, None));
        assert_eq!(
            video.formats.iter().map(|f| f.codec).collect::<Vec<_>>(),
            [Codec::OtherVideo, Codec::H263]
        );
        assert_eq!((image.kind, image.port, image.rtcp_port), (Kind::Image, 0, 0));
        assert!(image.formats.is_empty() && image.label.is_empty());
    }

    #[test]
    fn line_ends_indents_and_missing_lines_do_not_matter() {
        let want = of(OFFER);
        for text in [
            OFFER.replace("\r\n", "\n"),
            OFFER.replace("\r\n", "\r"),
            OFFER.replace("\r\n", "\r\n "),
            OFFER.replace("v=0\r\n", "").replace("s=-\r\n", "").replace("t=0 0\r\n", ""),
            OFFER.replace("m=", "m ="),
            OFFER.replace("s=-", "nonsense\r\n\r\n=\r\ns"),
            OFFER.trim_end().to_owned(),
        ] {
            assert_eq!(of(&text), want, "{text:?}");
        }
    }

    #[test]
    fn a_session_is_used_again_without_remains() {
        let mut session = of(OFFER);
        parse(b"m=audio 4 RTP/AVP 8\r\n", &mut session);
        assert_eq!(session, of("m=audio 4 RTP/AVP 8\r\n"));
        parse(b"", &mut session);
        assert_eq!(session, Session::default());
    }

    #[test]
    fn hold_by_address_and_by_attribute() {
        assert_eq!(
            one("c=IN IP4 0.0.0.0\nm=audio 8000 RTP/AVP 0\na=sendrecv\n").direction,
            Direction::Inactive
        );
        assert_eq!(one("c=IN IP6 ::\nm=audio 8000 RTP/AVP 0\n").direction, Direction::Inactive);
        assert_eq!(one("c=IN IP4 0.0.0.0\nm=audio 9 RTP/AVP 0\n").direction, Direction::SendRecv);
        assert_eq!(one("m=audio 8000 RTP/AVP 0\na=recvonly").direction, Direction::RecvOnly);
    }

    #[test]
    fn connection_addresses_in_all_their_forms() {
        let address = |c: &str| one(&format!("c={c}\nm=audio 4 RTP/AVP 0")).address.map(|ip| ip.to_string());
        assert_eq!(address("IN IP4 224.2.36.42/127/3").as_deref(), Some("224.2.36.42"));
        assert_eq!(address("IN IP6 FF15::101/3").as_deref(), Some("ff15::101"));
        assert_eq!(address("IN IP6 fe80::1%eth0").as_deref(), Some("fe80::1"));
        assert_eq!(address("IN IP6 [2001:db8::1]").as_deref(), Some("2001:db8::1"));
        assert_eq!(address("IN IP4 media.example.com"), None);
        assert_eq!(address("IN"), None);
    }

    #[test]
    fn rtcp_ports() {
        let ports = |rest: &str| one(&format!("m=audio 65535 RTP/AVP 0\n{rest}")).rtcp_port;
        assert_eq!(
            (ports(""), ports("a=rtcp:53020 IN IP4 192.0.2.1"), ports("a=rtcp-mux")),
            (0, 53020, 65535)
        );
        assert_eq!(ports("a=rtcp:5\na=rtcp-mux"), 65535);
    }

    #[test]
    fn keys_and_fingerprints_mean_encryption() {
        for text in [
            "a=fingerprint:sha-256 AA\nm=audio 4 RTP/AVP 0",
            "m=audio 4 RTP/AVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
            "m=audio 4 UDP/TLS/RTP/SAVPF 0",
            "m=audio 4 RTP/SAVP 0",
        ] {
            assert!(one(text).secure, "{text}");
        }
        let mixed = of("m=audio 4 RTP/SAVP 0\nm=audio 6 RTP/AVP 0");
        assert_eq!(mixed.media.iter().map(|m| m.secure).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn fmtp_may_come_before_rtpmap() {
        let format = one("m=audio 4 RTP/AVP 98\na=fmtp:98 mode-set=0,2\na=rtpmap:98 AMR/8000").formats[0];
        assert_eq!((format.codec, format.bit_rate), (Codec::Amr, 5900));
    }

    #[test]
    fn unknown_codecs_keep_their_clock_and_dynamic_numbers_stay_unknown() {
        let media =
            one("m=audio 4 RTP/AVP 98 99 0\na=rtpmap:98 x-own/16000\na=rtpmap:0 PCMU\na=rtpmap:50 L16/8000");
        let formats: Vec<_> = media.formats.iter().map(|f| (f.codec, f.clock_rate)).collect();
        assert_eq!(formats, [(Codec::Other, 16_000), (Codec::Unknown, 0), (Codec::Pcmu, 8000)]);
    }

    #[test]
    fn media_and_formats_are_bounded_and_the_rest_counted() {
        let many = of(&"m=audio 4 RTP/AVP 0\na=ptime:10\n".repeat(MEDIA_MAX + 3));
        assert_eq!((many.media.len(), many.refused), (MEDIA_MAX, 3));
        let numbers = (0..128).fold(String::new(), |line, n| line + " " + &n.to_string());
        let wide = of(&format!("m=audio 4 RTP/AVP{numbers} 500 -1"));
        assert_eq!((wide.media[0].formats.len(), wide.refused), (FORMATS_MAX, 96));
    }

    #[test]
    fn garbage_numbers_are_no_port() {
        for port in ["99999", "x", "-5", "18446744073709551616"] {
            assert_eq!(one(&format!("m=audio {port} RTP/AVP 0")).port, 0);
        }
        assert_eq!(one("m=").kind, Kind::Other);
    }
}
