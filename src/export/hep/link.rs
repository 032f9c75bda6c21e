//! The socket to the peer. It belongs to a thread that may wait, but never for long: so it can be told to stop.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::Peer;
use crate::hep::Carrier;

/// A connection, or a UDP socket bound to one peer.
#[derive(Debug)]
pub(super) enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Link {
    /// To the first of the peer's addresses that can be had.
    pub(super) fn open(peer: &Peer) -> io::Result<Self> {
        let mut failed = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (peer.host.as_str(), peer.port).to_socket_addrs()? {
            let link = match peer.carrier {
                Carrier::Udp => udp(address),
                Carrier::Tcp => tcp(address),
            };
            match link {
                Ok(link) => return Ok(link),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The peer has closed the connection: what is written now would be lost. What it says is of no interest.
    pub(super) fn is_closed(&self) -> bool {
        let Self::Tcp(stream) = self else { return false };
        let mut said = [0; 512];
        let mut read = || -> bool {
            for _ in 0..8 {
                match (&mut &*stream).read(&mut said) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(error) => {
                        return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
                    }
                }
            }
            false
        };
        if stream.set_nonblocking(true).is_err() {
            return true;
        }
        let closed = read();
        closed || stream.set_nonblocking(false).is_err()
    }

    /// As much as is taken within [`WRITE`]; over UDP it has to be one record.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }
}

fn udp(address: SocketAddr) -> io::Result<Link> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_write_timeout(Some(WRITE))?;
    Ok(Link::Udp(socket))
}

fn tcp(address: SocketAddr) -> io::Result<Link> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_write_timeout(Some(WRITE))?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(Link::Tcp(stream))
}

const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for a peer that takes nothing, before the thread looks up.
const WRITE: Duration = Duration::from_millis(200);
const KEEPALIVE: Duration = Duration::from_secs(30);
