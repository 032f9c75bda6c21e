//! Digits and other named events in RTP (telephone-event, RFC 4733; MEAS 1.10).
//!
//! ```text
//! |     event     |E|R| volume    |          duration             |
//! ```
//!
//! An event is many packets: updates while the key is down, then three copies with the end bit, all with the
//! timestamp of its beginning. It is counted once, at the first packet seen of it.
//! The payload must be clear: never feed SRTP to this.

/// Has a packet whose payload type no SDP explains the form of an event: a dynamic type, one report of a
/// telephone key (RFC 4733 3.2), the reserved bit 0? No codec of speech has frames of four bytes; a DTX frame
/// of Opus has 1 to 3.
pub fn is_event(payload_type: u8, payload_len: u32, payload: &[u8]) -> bool {
    let report = || {
        payload.first_chunk().is_some_and(|&[event, flags, ..]: &[u8; 4]| event <= FLASH && flags & 0x40 == 0)
    };
    payload_len == 4 && matches!(payload_type, 96..=127) && report()
}

/// One event report as it stands in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Event code.
    pub event: u8,
    /// End bit: the event is over.
    pub end: bool,
    /// Level in -dBm0, 0 to 63.
    pub volume: u8,
    /// Ticks since the timestamp of the packet.
    pub duration: u16,
}

/// Events of one SSRC, in order of appearance.
#[derive(Clone, Debug, Default)]
pub struct Events {
    codes: Vec<u8>,
    /// Last events by (timestamp, report), newest last: late copies of an ended event must not count again.
    recent: [Option<(u32, Report)>; RECENT],
    overflow: u64,
}

impl Report {
    /// The event reports of one payload. RFC 4733 2.5.1.5 allows several, back to back: the second begins
    /// where the first one ends.
    pub fn read_all(payload: &[u8]) -> impl Iterator<Item = Self> {
        payload.chunks_exact(4).filter_map(|chunk| {
            let &[event, flags, d0, d1] = chunk.first_chunk()?;
            Some(Self {
                event,
                end: flags & 0b1000_0000 != 0,
                volume: flags & 0b0011_1111,
                duration: u16::from_be_bytes([d0, d1]),
            })
        })
    }
}

impl Events {
    /// Takes one packet's payload; true when an event not seen before began.
    pub fn packet(&mut self, mut timestamp: u32, payload: &[u8]) -> bool {
        let mut fresh = false;
        for report in Report::read_all(payload) {
            fresh |= self.report(timestamp, report);
            timestamp = timestamp.wrapping_add(u32::from(report.duration));
        }
        fresh
    }

    /// Names of the events, oldest first: `0` to `9`, `*`, `#`, `A` to `D`, `flash`, fax and modem tones, else
    /// the number.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.codes.iter().map(|&code| name(code))
    }

    /// Events that were counted but whose names were not kept.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    fn report(&mut self, timestamp: u32, report: Report) -> bool {
        let known = self.recent.iter_mut().flatten().find(|(at, last)| {
            last.event == report.event && (*at == timestamp || continues(*at, *last, timestamp))
        });
        if let Some((at, last)) = known {
            // A reordered update must not take back the end or the duration.
            if *at == timestamp {
                last.end |= report.end;
                last.duration = last.duration.max(report.duration);
            } else {
                (*at, *last) = (timestamp, report);
            }
            return false;
        }
        self.recent.rotate_left(1);
        if let Some(newest) = self.recent.last_mut() {
            *newest = Some((timestamp, report));
        }
        if self.codes.len() < MAX_EVENTS {
            self.codes.push(report.event);
        } else {
            self.overflow += 1;
        }
        true
    }
}

/// An event longer than the duration field goes on in a new segment, whose timestamp is the end of the last
/// (RFC 4733 2.5.1.3).
fn continues(at: u32, last: Report, timestamp: u32) -> bool {
    !last.end && last.duration == u16::MAX && timestamp.wrapping_sub(at) == u32::from(u16::MAX)
}

fn name(code: u8) -> String {
    const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];
    match (KEYS.get(usize::from(code)), code) {
        (Some(key), _) => key.to_string(),
        (None, 16) => "flash".to_owned(),
        // RFC 4734: what a fax or modem says first.
        (None, 32) => "ANS".to_owned(),
        (None, 34) => "ANSam".to_owned(),
        (None, 36) => "CNG".to_owned(),
        (None, other) => other.to_string(),
    }
}

/// The last of the telephone keys.
const FLASH: u8 = 16;
/// Names kept for one stream.
const MAX_EVENTS: usize = 64;
const RECENT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(events: &Events) -> String {
        events.names().collect::<Vec<_>>().join(" ")
    }

    fn press(events: &mut Events, timestamp: u32, code: u8) {
        for duration in [160_u16, 320, 480, 640] {
            let [d0, d1] = duration.to_be_bytes();
            events.packet(timestamp, &[code, 10, d0, d1]);
        }
        for _ in 0..3 {
            events.packet(timestamp, &[code, 0x8a, 3, 32]);
        }
    }

    #[test]
    fn an_event_is_known_by_its_form() {
        assert!(is_event(101, 4, &[11, 0x8a, 3, 32]));
        for (payload_type, payload_len, payload) in [
            (0, 4, [11, 0x8a, 3, 32]),
            (101, 20, [11, 0x8a, 3, 32]),
            (101, 4, [0x78, 0x8a, 3, 32]),
            (101, 4, [11, 0xca, 3, 32]),
        ] {
            assert!(!is_event(payload_type, payload_len, &payload));
        }
        assert!(!is_event(101, 4, &[11]));
    }

    #[test]
    fn an_event_counts_once() {
        let mut events = Events::default();
        press(&mut events, 1_000, 5);
        assert_eq!(names(&events), "5");
    }

    #[test]
    fn the_same_key_twice_counts_twice() {
        let mut events = Events::default();
        press(&mut events, 1_000, 5);
        press(&mut events, 5_000, 5);
        press(&mut events, 9_000, 11);
        assert_eq!(names(&events), "5 5 #");
    }

    #[test]
    fn a_late_copy_of_an_ended_event_does_not_count() {
        let mut events = Events::default();
        press(&mut events, 1_000, 1);
        press(&mut events, 5_000, 2);
        assert!(!events.packet(1_000, &[1, 0x8a, 3, 32]));
        assert_eq!(names(&events), "1 2");
    }

    #[test]
    fn an_event_whose_first_packets_were_lost_counts() {
        let mut events = Events::default();
        assert!(events.packet(1_000, &[16, 0x8a, 3, 32]));
        assert_eq!(names(&events), "flash");
    }

    #[test]
    fn a_long_event_in_segments_counts_once() {
        let mut events = Events::default();
        assert!(events.packet(0, &[1, 10, 0xff, 0xff]));
        assert!(!events.packet(0xffff, &[1, 10, 0, 160]));
        assert!(!events.packet(0xffff, &[1, 0x8a, 1, 0]));
        assert_eq!(names(&events), "1");
    }

    #[test]
    fn several_events_in_one_payload() {
        let mut events = Events::default();
        events.packet(0, &[1, 0x8a, 1, 0, 2, 0x8a, 1, 0]);
        assert_eq!(names(&events), "1 2");
        assert!(!events.packet(0x100, &[2, 0x8a, 1, 0]));
    }

    #[test]
    fn short_payloads_say_nothing() {
        let mut events = Events::default();
        assert!(!events.packet(0, &[]));
        assert!(!events.packet(0, &[1, 2, 3]));
        assert_eq!(names(&events), "");
    }

    #[test]
    fn a_flood_of_events_is_bounded() {
        let mut events = Events::default();
        for n in 0..100_000_u32 {
            events.packet(n * 1_000, &[(n % 256) as u8, 0x8a, 1, 0]);
        }
        assert_eq!(events.names().count(), MAX_EVENTS);
        assert_eq!(events.overflow(), 100_000 - MAX_EVENTS as u64);
    }
}
