//! A place in a frame, and the walk from layer to layer.
//!
//! Each layer function strips its header off the [`Cursor`] and names the layer that follows. A length field
//! narrows the cursor, so that padding and trailers fall off; what it promises beyond the captured bytes is
//! remembered as `cut`.

use std::net::IpAddr;

use super::defrag::Fragment;
use super::{LinkType, Packet, Skip, ether, ip, tunnel};

/// The unread rest of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    /// Captured bytes.
    pub(super) bytes: &'a [u8],
    /// Bytes behind `bytes` that were on the wire.
    pub(super) cut: usize,
    /// Whether a length field fixed the end; without one it is only the frame's.
    pub(super) bounded: bool,
    /// Layers passed, of [`LAYERS_MAX`].
    pub(super) layers: u8,
    /// Capture interface.
    pub(super) interface: u32,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layer {
    Ethernet,
    Vlan,
    Llc,
    Sll,
    Sll2,
    Loopback,
    Ppp,
    Hdlc,
    Pppoe,
    Mpls,
    Gre,
    Ip,
    Above(IpHeader),
}

/// What is kept of an IP header; `protocol` moves on over extension headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IpHeader {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) ip_id: Option<u16>,
    pub(super) dscp: u8,
}

/// Where a layer leads.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Into(Layer),
    Packet(Packet<'a>),
    Fragment(Fragment<'a>),
}

/// Where the walk ends.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Packet(Packet<'a>),
    Fragment(Fragment<'a>),
}

/// The outermost layer of a link type.
pub(super) fn outermost(link: LinkType) -> Result<Layer, Skip> {
    Ok(match link {
        LinkType::ETHERNET => Layer::Ethernet,
        LinkType::LINUX_SLL => Layer::Sll,
        LinkType::LINUX_SLL2 => Layer::Sll2,
        LinkType::NULL | LinkType::LOOP => Layer::Loopback,
        LinkType::PPP => Layer::Ppp,
        LinkType::PPP_HDLC => Layer::Hdlc,
        LinkType::PPP_ETHER => Layer::Pppoe,
        LinkType::RAW | LinkType::DLT_RAW | LinkType::DLT_RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => {
            Layer::Ip
        }
        LinkType(_) => return Err(Skip::Link),
    })
}

/// Follows the layers up to a packet above IP, or to a fragment of one.
pub(super) fn walk(mut at: Cursor<'_>, mut layer: Layer) -> Result<Found<'_>, Skip> {
    loop {
        at.layers += 1;
        if at.layers > LAYERS_MAX {
            return Err(Skip::Nesting);
        }
        let step = match layer {
            Layer::Ethernet => ether::ethernet(&mut at)?,
            Layer::Vlan => ether::vlan(&mut at)?,
            Layer::Llc => ether::llc(&mut at)?,
            Layer::Sll => ether::sll(&mut at)?,
            Layer::Sll2 => ether::sll2(&mut at)?,
            Layer::Loopback => ether::loopback(&mut at)?,
            Layer::Ppp => ether::ppp(&mut at)?,
            Layer::Hdlc => ether::hdlc(&mut at)?,
            Layer::Pppoe => ether::pppoe(&mut at)?,
            Layer::Mpls => ether::mpls(&mut at)?,
            Layer::Gre => tunnel::gre(&mut at)?,
            Layer::Ip => ip::header(&mut at)?,
            Layer::Above(header) => ip::above(&mut at, header)?,
        };
        layer = match step {
            Step::Into(next) => next,
            Step::Packet(packet) => return Ok(Found::Packet(packet)),
            Step::Fragment(fragment) => return Ok(Found::Fragment(fragment)),
        };
    }
}

impl<'a> Cursor<'a> {
    /// Takes `N` bytes off the front.
    pub(super) fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Skip> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(Skip::Truncated)?;
        self.bytes = rest;
        Ok(head)
    }

    /// Drops `len` bytes off the front.
    pub(super) fn skip(&mut self, len: usize) -> Result<(), Skip> {
        self.bytes = self.bytes.get(len..).ok_or(Skip::Truncated)?;
        Ok(())
    }

    /// Ends the cursor after `len` bytes, as a length field says. An enclosing length bounds it; the frame's
    /// own does not, since tools that cut frames do not all keep it.
    pub(super) fn narrow(&mut self, len: usize) {
        let len = if self.bounded { len.min(self.bytes.len() + self.cut) } else { len };
        self.bytes = self.bytes.get(..len).unwrap_or(self.bytes);
        self.cut = len - self.bytes.len();
        self.bounded = true;
    }
}

impl From<Layer> for Step<'_> {
    fn from(layer: Layer) -> Self {
        Self::Into(layer)
    }
}

/// Headers on the way to one packet, extension headers included: QinQ, PPPoE and three nested tunnels pass.
const LAYERS_MAX: u8 = 32;
