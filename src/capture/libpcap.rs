//! The second live source: libpcap, for expressions, links and time stamps that the own ring does not know.
//!
//! ```text
//! libpcap's ring -> dispatch -> one frame at a time, lent -> copied until there are 64 -> take(&[Frame; 1..=64])
//! ```
//!
//! Never `immediate_mode`: it puts libpcap on a slower ring. Never a blocking read: on a quiet interface it would not
//! return. Limits: its ring; frames longer than 256 KiB are cut.

use std::fmt;
use std::os::fd::{AsRawFd, RawFd};

use pcap::{Active, Capture, Linktype, Packet, Precision, TimestampType};

use super::filter::Instruction;
use super::live::{Error, Interface, Live};
use super::ring::{self, Socket};
use super::{BATCH, Take};
use crate::Stamp;
use crate::wire::{Frame, LinkType};

/// How to capture with libpcap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its ring: the size, and how long a block that is not full waits.
    pub ring: ring::Settings,
    /// An expression of pcap-filter(7).
    pub filter: Option<String>,
    /// Time stamps of the network adapter, in step with the system's clock; an error where it has none.
    pub adapter_clock: bool,
}

/// An open capture.
pub struct Libpcap {
    handle: Capture<Active>,
    interface: Interface,
    /// Interface index the capture is bound to; 0 = all.
    bound: u32,
    batch: Batch,
    /// Packets dropped, as libpcap counts them from the beginning.
    dropped: u32,
}

impl fmt::Debug for Libpcap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Libpcap").field("interface", &self.interface).finish_non_exhaustive()
    }
}

impl Libpcap {
    /// Opens a capture. Needs CAP_NET_RAW; nothing after it does.
    pub fn open(interface: Interface, settings: &Settings) -> Result<Self, Error> {
        // What libpcap says of these two is harder to read.
        let socket = Socket::open()?;
        let bound = match &interface {
            Interface::Any => 0,
            Interface::Named(name) => socket.index_of(name).ok_or(Error::NoInterface(name.clone()))?,
        };
        let refused =
            |error: pcap::Error| Error::Libpcap { interface: interface.name().into(), reason: text(&error) };
        let mut asked = Capture::from_device(interface.name())
            .map_err(refused)?
            .immediate_mode(false)
            .timeout(i32::try_from(settings.ring.retire_ms).unwrap_or(i32::MAX))
            .buffer_size(i32::try_from(settings.ring.ring_bytes).unwrap_or(i32::MAX))
            .snaplen(LONGEST_FRAME)
            .precision(Precision::Nano);
        if settings.adapter_clock {
            asked = asked.tstamp_type(TimestampType::Adapter);
        }
        let mut handle = asked.open().and_then(Capture::setnonblock).map_err(refused)?;
        // It does not say itself that it was refused.
        if settings.adapter_clock && !ring::has_adapter_clock(&handle) {
            let reason = "the adapter has no time stamps in step with the system's clock; \
                          leave out capture.clock"
                .into();
            return Err(Error::Libpcap { interface: interface.name().into(), reason });
        }
        if interface == Interface::Any {
            // Version 2 tells the interfaces apart; an old libpcap stays with version 1.
            let _ = handle.set_datalink(Linktype::LINUX_SLL2);
        }
        if let Some(expression) = &settings.filter {
            handle.filter(expression, true).map_err(|error| wrong(expression, &error))?;
        }
        let link = LinkType(u16::try_from(handle.get_datalink().0).unwrap_or(u16::MAX));
        let batch = Batch { link, interface: bound, bytes: Vec::new(), heads: Vec::with_capacity(BATCH) };
        Ok(Self { handle, interface, bound, batch, dropped: 0 })
    }
}

impl Live for Libpcap {
    fn interface(&self) -> &Interface {
        &self.interface
    }

    fn fd(&self) -> RawFd {
        self.handle.as_raw_fd()
    }

    fn poll(&mut self, take: &mut Take<'_>) -> bool {
        let Self { handle, batch, .. } = self;
        // An interface that went away is an error; `follow` sees to it.
        let taken = handle.dispatch(Some(PACKETS_A_TURN), |packet| batch.push(&packet, take)).unwrap_or(0);
        batch.hand_over(take);
        taken > 0
    }

    fn dropped(&mut self) -> u64 {
        let Ok(statistics) = self.handle.stats() else { return 0 };
        let since = statistics.dropped.wrapping_sub(self.dropped);
        self.dropped = statistics.dropped;
        u64::from(since)
    }

    fn follow(&mut self) -> bool {
        let Interface::Named(name) = &self.interface else { return true };
        let Some(index) = ring::index_of(&self.handle, name) else { return false };
        if index != self.bound {
            // libpcap would open the device anew, which nobody here has the right to do any more; its socket can be
            // bound to the new one.
            if ring::bind(&self.handle, index).is_err() {
                return false;
            }
            self.bound = index;
            self.batch.interface = index;
        }
        ring::is_up(&self.handle, name)
    }

    fn release(self: Box<Self>) -> Option<Socket> {
        None
    }
}

/// The program of an expression, for frames of that link type.
pub fn compile(expression: &str, link: LinkType) -> Result<Vec<Instruction>, Error> {
    let program = Capture::dead(Linktype(i32::from(link.0)))
        .and_then(|dead| dead.compile(expression, true))
        .map_err(|error| wrong(expression, &error))?;
    // The crate shows an instruction as text only.
    let read = |instruction: &pcap::BpfInstruction| {
        let text = instruction.to_string();
        let mut numbers = text.split(' ');
        let mut next = || numbers.next()?.parse::<u32>().ok();
        let (code, jt, jf, k) = (next()?, next()?, next()?, next()?);
        Some(Instruction { code: code as u16, jt: jt as u8, jf: jf as u8, k })
    };
    let instructions: Option<Vec<_>> = program.get_instructions().iter().map(read).collect();
    instructions.ok_or_else(|| Error::Filter {
        expression: expression.into(),
        reason: "libpcap gave a program that cannot be read".into(),
    })
}

/// Frames that were lent, until there are enough of them.
struct Batch {
    link: LinkType,
    interface: u32,
    bytes: Vec<u8>,
    heads: Vec<Head>,
}

#[derive(Clone, Copy)]
struct Head {
    stamp: Stamp,
    wire_len: u32,
    length: usize,
}

impl Batch {
    fn push(&mut self, packet: &Packet<'_>, take: &mut Take<'_>) {
        // With `Precision::Nano` these are nanoseconds, whatever the field is called.
        let (seconds, nanos) = (packet.header.ts.tv_sec as u64, packet.header.ts.tv_usec as u64);
        self.heads.push(Head {
            stamp: Stamp(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)),
            wire_len: packet.header.len,
            length: packet.data.len(),
        });
        self.bytes.extend_from_slice(packet.data);
        if self.heads.len() == BATCH {
            self.hand_over(take);
        }
    }

    fn hand_over(&mut self, take: &mut Take<'_>) {
        let Self { link, interface, bytes, heads } = self;
        let mut rest = bytes.as_slice();
        let frame = |head: &Head| {
            let (bytes, after) = rest.split_at_checked(head.length)?;
            rest = after;
            let Head { stamp, wire_len, .. } = *head;
            Some(Frame { stamp, link: *link, interface: *interface, wire_len, bytes })
        };
        let frames: Vec<_> = heads.iter().filter_map(frame).collect();
        if !frames.is_empty() {
            take(&frames);
        }
        heads.clear();
        bytes.clear();
    }
}

fn wrong(expression: &str, error: &pcap::Error) -> Error {
    Error::Filter { expression: expression.into(), reason: text(error) }
}

/// Without the crate's own "libpcap error:".
fn text(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As tcpdump takes.
const LONGEST_FRAME: i32 = 262_144;
/// After as many, whoever else waits gets their turn.
const PACKETS_A_TURN: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_becomes_a_program() {
        let program = compile("udp", LinkType::ETHERNET).unwrap();
        assert_eq!((program[0].code, program[0].k), (40, 12), "ldh [12]");
        let error = compile("udp portt 5060", LinkType::ETHERNET).unwrap_err();
        assert!(
            error.to_string().starts_with("capture.filter: \"udp portt 5060\" cannot be used: "),
            "{error}"
        );
    }

    #[test]
    fn frames_are_handed_over_in_batches_as_they_came() {
        let (link, interface) = (LinkType::ETHERNET, 7);
        let mut batch = Batch { link, interface, bytes: Vec::new(), heads: Vec::new() };
        let mut seen = Vec::new();
        let mut take = |frames: &[Frame<'_>]| {
            seen.push(frames.iter().map(|f| (f.stamp.0, f.wire_len, f.bytes.to_vec())).collect::<Vec<_>>());
        };
        for n in 0..100_u32 {
            let ts = pcap_time(2, i64::from(n));
            let data = vec![n as u8; n as usize % 5];
            let header = pcap::PacketHeader { ts, caplen: data.len() as u32, len: 1_000 + n };
            batch.push(&Packet::new(&header, &data), &mut take);
        }
        batch.hand_over(&mut take);
        batch.hand_over(&mut take);
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [64, 36]);
        let expected =
            (0..100_u32).map(|n| (2_000_000_000 + u64::from(n), 1_000 + n, vec![n as u8; n as usize % 5]));
        assert_eq!(seen.concat(), expected.collect::<Vec<_>>());
    }

    fn pcap_time(tv_sec: i64, tv_usec: i64) -> libc::timeval {
        libc::timeval { tv_sec, tv_usec }
    }
}
