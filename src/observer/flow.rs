//! What names a media stream: addresses, ports and SSRC (MEAS 0.5), small enough to be compared in registers.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::Endpoint;

/// An IPv4 flow: both addresses; both ports and the SSRC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FlowV4(u64, u64);

/// Source, destination and SSRC of a stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Flow {
    /// IPv4.
    V4(FlowV4),
    /// IPv6.
    V6(Box<([u8; 16], [u8; 16], u64)>),
}

impl FlowV4 {
    /// No flow.
    pub(crate) const NONE: Self = Self(0, 0);

    #[inline]
    pub(crate) fn new(
        source: u32,
        destination: u32,
        source_port: u16,
        destination_port: u16,
        ssrc: u32,
    ) -> Self {
        Self(
            u64::from(source) << 32 | u64::from(destination),
            ports_and_ssrc(source_port, destination_port, ssrc),
        )
    }

    #[inline]
    pub(crate) fn hash_with(self, state: &impl BuildHasher) -> u64 {
        state.hash_one((self.0, self.1))
    }
}

impl Flow {
    pub(crate) fn new(source: Endpoint, destination: Endpoint, ssrc: u32) -> Self {
        match (source.ip, destination.ip) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Self::V4(FlowV4::new(from.into(), to.into(), source.port, destination.port, ssrc))
            }
            (from, to) => Self::V6(Box::new((
                octets(from),
                octets(to),
                ports_and_ssrc(source.port, destination.port, ssrc),
            ))),
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ports_and_ssrc() as u32
    }

    pub(crate) fn source(&self) -> Endpoint {
        let ip = match self {
            Self::V4(FlowV4(addresses, _)) => Ipv4Addr::from((addresses >> 32) as u32).into(),
            Self::V6(key) => Ipv6Addr::from(key.0).into(),
        };
        Endpoint { ip, port: (self.ports_and_ssrc() >> 48) as u16 }
    }

    pub(crate) fn destination(&self) -> Endpoint {
        let ip = match self {
            Self::V4(FlowV4(addresses, _)) => Ipv4Addr::from(*addresses as u32).into(),
            Self::V6(key) => Ipv6Addr::from(key.1).into(),
        };
        Endpoint { ip, port: (self.ports_and_ssrc() >> 32) as u16 }
    }

    #[inline]
    pub(crate) fn hash_with(&self, state: &impl BuildHasher) -> u64 {
        match self {
            Self::V4(flow) => flow.hash_with(state),
            Self::V6(key) => state.hash_one(**key),
        }
    }

    fn ports_and_ssrc(&self) -> u64 {
        match self {
            Self::V4(FlowV4(_, ports)) => *ports,
            Self::V6(key) => key.2,
        }
    }
}

#[inline]
fn ports_and_ssrc(source_port: u16, destination_port: u16, ssrc: u32) -> u64 {
    u64::from(source_port) << 48 | u64::from(destination_port) << 32 | u64::from(ssrc)
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_survive_the_key() {
        for (source, destination) in
            [("192.0.2.1:4000", "198.51.100.7:65535"), ("[2001:db8::1]:1", "[::2]:30000")]
        {
            let parse = |text: &str| {
                let address: std::net::SocketAddr = text.parse().unwrap();
                Endpoint { ip: address.ip(), port: address.port() }
            };
            let flow = Flow::new(parse(source), parse(destination), 0xdead_beef);
            assert_eq!(flow.source().to_string(), source);
            assert_eq!(flow.destination().to_string(), destination);
            assert_eq!(flow.ssrc(), 0xdead_beef);
        }
    }
}
