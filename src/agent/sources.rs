//! The taps of the agent: one an interface, all in the hands of the capture thread.
//!
//! ```text
//! open, with CAP_NET_RAW:    a tap for each interface, and spare sockets
//! from then on, without it:  poll, wait, look (drops; interfaces that went and came), change (those of a reload)
//! ```

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use serde::Serialize;

use crate::capture::Take;
use crate::capture::filter::{self, Instruction};
use crate::capture::live::{Error, Interface, Live};
use crate::capture::ring::{self, Ring, Socket};

/// What captures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The own ring.
    #[default]
    Ring,
    /// libpcap.
    Pcap,
}

/// How to capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Interfaces to capture on; empty, or `any` among them = all there are and those that come.
    pub interfaces: Vec<String>,
    /// What captures.
    pub kind: Kind,
    /// An expression of pcap-filter(7): what does not match is never seen.
    pub filter: Option<String>,
    /// Time stamps of the network adapter; libpcap only.
    pub adapter_clock: bool,
    /// The ring of each tap.
    pub ring: ring::Settings,
}

impl Settings {
    fn interfaces(&self) -> Vec<Interface> {
        let mut interfaces: Vec<Interface> =
            self.interfaces.iter().map(|name| Interface::from(name.as_str())).collect();
        if interfaces.is_empty() || interfaces.contains(&Interface::Any) {
            interfaces = vec![Interface::Any];
        }
        interfaces.sort_by(|a, b| a.name().cmp(b.name()));
        interfaces.dedup();
        interfaces
    }
}

/// What was counted on one interface since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets taken.
    pub packets: u64,
    /// Bytes of those packets on the wire.
    pub bytes: u64,
    /// Packets that the kernel dropped because nobody took them in time.
    pub drops: u64,
    /// The interface is there and up, as far as was seen at the last look.
    pub up: bool,
}

/// All taps.
#[derive(Debug)]
pub struct Sources {
    taps: Vec<Box<dyn Live>>,
    spares: Vec<Socket>,
    settings: Settings,
    /// For rings: what is kept of each frame.
    program: Vec<Instruction>,
    /// By the name of the interface; what is no longer captured on stays, for no counter may fall.
    counted: BTreeMap<String, Counted>,
}

/// What a look at the taps has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Packets dropped by the kernel since the last one.
    pub dropped: u64,
    /// Interfaces that are away or down.
    pub away: u64,
}

impl Sources {
    /// Opens a tap for each interface. Needs CAP_NET_RAW; nothing after it does.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let mut sources = Self {
            taps: Vec::new(),
            spares: Vec::new(),
            program: program(&settings)?,
            settings,
            counted: BTreeMap::new(),
        };
        for interface in sources.settings.interfaces() {
            let tap = sources.tap(interface)?;
            sources.add(tap);
        }
        if sources.settings.kind == Kind::Ring {
            for _ in 0..SPARES {
                sources.spares.push(Socket::open()?);
            }
        }
        Ok(sources)
    }

    /// Hands over what all taps hold; false when that is nothing.
    pub fn poll(&mut self, take: &mut Take<'_>) -> bool {
        let mut any = false;
        for tap in &mut self.taps {
            let (mut packets, mut bytes) = (0, 0);
            any |= tap.poll(&mut |frames| {
                packets += frames.len() as u64;
                bytes += frames.iter().map(|frame| u64::from(frame.wire_len)).sum::<u64>();
                take(frames);
            });
            if let Some(counted) = self.counted.get_mut(tap.interface().name()) {
                counted.packets += packets;
                counted.bytes += bytes;
            }
        }
        any
    }

    /// Waits until a tap, or another descriptor, has something, for `timeout_ms` at most.
    pub fn wait(&self, other: Option<RawFd>, timeout_ms: i32) {
        let fds: Vec<_> = self.taps.iter().map(|tap| tap.fd()).chain(other).collect();
        ring::wait(&fds, timeout_ms);
    }

    /// Looks for drops, and for interfaces that vanished or returned.
    pub fn look(&mut self) -> Look {
        let mut look = Look::default();
        for tap in &mut self.taps {
            let (dropped, up) = (tap.dropped(), tap.follow());
            look.dropped += dropped;
            look.away += u64::from(!up);
            if let Some(counted) = self.counted.get_mut(tap.interface().name()) {
                counted.drops += dropped;
                counted.up = up;
            }
        }
        look
    }

    /// Captures on these interfaces from now on; all stays as it is when that cannot be. Needs no right as long as
    /// there are spare sockets.
    pub fn change(&mut self, interfaces: &[String]) -> Result<(), Error> {
        let wanted = Settings { interfaces: interfaces.to_vec(), ..self.settings.clone() };
        let missing: Vec<_> = wanted
            .interfaces()
            .into_iter()
            .filter(|interface| self.taps.iter().all(|tap| tap.interface() != interface))
            .collect();
        let mut added: Vec<Box<dyn Live>> = Vec::new();
        for interface in missing {
            match self.tap(interface) {
                Ok(tap) => added.push(tap),
                Err(error) => {
                    self.spares.extend(added.into_iter().filter_map(Live::release));
                    return Err(error);
                }
            }
        }
        let kept = wanted.interfaces();
        for tap in std::mem::take(&mut self.taps) {
            if kept.contains(tap.interface()) {
                self.taps.push(tap);
            } else {
                if let Some(counted) = self.counted.get_mut(tap.interface().name()) {
                    counted.up = false;
                }
                self.spares.extend(tap.release());
            }
        }
        for tap in added {
            self.add(tap);
        }
        self.settings = wanted;
        Ok(())
    }

    /// What was counted, by the name of the interface.
    pub fn counted(&self) -> &BTreeMap<String, Counted> {
        &self.counted
    }

    /// Media comes without most of its payload: that frames were cut tells nothing.
    pub fn cuts_media(&self) -> bool {
        self.settings.kind == Kind::Ring
    }

    /// These taps and no others.
    pub(super) fn of(settings: Settings, taps: Vec<Box<dyn Live>>) -> Self {
        let (spares, counted) = (Vec::new(), BTreeMap::new());
        let mut sources = Self { taps: Vec::new(), spares, settings, program: filter::program(), counted };
        for tap in taps {
            sources.add(tap);
        }
        sources
    }

    /// A new tap, on a spare socket if there is one.
    fn tap(&mut self, interface: Interface) -> Result<Box<dyn Live>, Error> {
        if self.settings.kind == Kind::Pcap {
            return libpcap(interface, &self.settings);
        }
        let socket = self.spares.pop().map_or_else(Socket::open, Ok)?;
        if let Interface::Named(name) = &interface
            && socket.index_of(name).is_none()
        {
            self.spares.push(socket);
            return Err(Error::NoInterface(name.clone()));
        }
        Ok(Box::new(Ring::on(socket, interface, self.settings.ring, &self.program)?))
    }

    fn add(&mut self, tap: Box<dyn Live>) {
        self.counted.entry(tap.interface().name().to_owned()).or_default().up = true;
        self.taps.push(tap);
    }
}

/// What rings keep of each frame.
fn program(settings: &Settings) -> Result<Vec<Instruction>, Error> {
    match (&settings.filter, settings.kind) {
        (Some(expression), Kind::Ring) => behind(expression),
        _ => Ok(filter::program()),
    }
}

#[cfg(feature = "pcap")]
fn behind(expression: &str) -> Result<Vec<Instruction>, Error> {
    use crate::capture::libpcap::compile;
    use crate::wire::LinkType;
    let ethernet = compile(expression, LinkType::ETHERNET)?;
    // What speaks of Ethernet addresses matches no frame without them.
    let raw = compile(expression, LinkType::DLT_RAW).unwrap_or_else(|_| filter::NOTHING.to_vec());
    Ok(filter::behind(&ethernet, &raw))
}

#[cfg(feature = "pcap")]
fn libpcap(interface: Interface, settings: &Settings) -> Result<Box<dyn Live>, Error> {
    use crate::capture::libpcap::{self, Libpcap};
    let Settings { ring, filter, adapter_clock, .. } = settings.clone();
    Ok(Box::new(Libpcap::open(interface, &libpcap::Settings { ring, filter, adapter_clock })?))
}

#[cfg(not(feature = "pcap"))]
fn behind(_: &str) -> Result<Vec<Instruction>, Error> {
    Err(Error::NoLibpcap("capture.filter"))
}

#[cfg(not(feature = "pcap"))]
fn libpcap(_: Interface, _: &Settings) -> Result<Box<dyn Live>, Error> {
    Err(Error::NoLibpcap("capture.source = \"pcap\""))
}

/// Sockets for interfaces that a reload adds (DESIGN 10). One that a reload takes away gives its own back.
const SPARES: usize = 8;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// Sends over lo until a tap on it sees `payload`; how often it saw it.
    fn seen(sources: &mut Sources, payload: &[u8]) -> usize {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(payload, receiver.local_addr().unwrap()).unwrap();
        let mut seen = 0;
        for _ in 0..100 {
            sources.wait(None, 50);
            sources.poll(&mut |frames| {
                seen += frames.iter().filter(|frame| frame.bytes.ends_with(payload)).count();
            });
            if seen > 0 {
                break;
            }
        }
        seen
    }

    #[test]
    fn interfaces_of_a_reload_need_no_right() {
        let ring = ring::Settings { ring_bytes: 2 << 20, block_bytes: 1 << 20, ..ring::Settings::default() };
        let settings = Settings { interfaces: vec!["lo".into()], ring, ..Settings::default() };
        let mut sources = match Sources::open(settings) {
            Err(Error::NotPermitted) => return println!("skipped: this test needs CAP_NET_RAW"),
            sources => sources.unwrap(),
        };
        // Of this thread only.
        caps::clear(None, caps::CapSet::Effective).unwrap();
        assert!(matches!(Socket::open(), Err(Error::NotPermitted)));
        assert_eq!(seen(&mut sources, b"st-on-lo"), 1);
        // More often than there are spare sockets: what is given back is used again.
        for round in 0..2 * SPARES {
            let wanted = if round % 2 == 0 { "any" } else { "lo" };
            sources.change(&[wanted.into()]).unwrap();
            assert_eq!(seen(&mut sources, format!("st-{wanted}-{round}").as_bytes()), 1);
        }
        let before = *sources.counted().get("lo").unwrap();
        assert!(matches!(sources.change(&["st-nowhere".into()]), Err(Error::NoInterface(_))));
        assert_eq!(seen(&mut sources, b"st-still-on-lo"), 1);
        assert!(sources.counted().get("lo").unwrap().packets > before.packets);
        assert_eq!(sources.look().away, 0);
    }

    #[test]
    fn all_interfaces_are_one_tap() {
        let of = |names: &[&str]| {
            let interfaces = names.iter().map(|&name| name.to_owned()).collect();
            Settings { interfaces, ..Settings::default() }.interfaces()
        };
        assert_eq!(of(&[]), [Interface::Any]);
        assert_eq!(of(&["eth0", "any"]), [Interface::Any]);
        assert_eq!(of(&["b", "a", "b"]), [Interface::from("a"), Interface::from("b")]);
    }
}
