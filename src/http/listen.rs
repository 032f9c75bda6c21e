//! Listening sockets. They are opened before privileges are dropped, and served afterwards.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Where the agent listens unless told otherwise (DESIGN 5).
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9767);

/// Sockets that listen and are not served yet.
#[derive(Debug)]
pub struct Listeners {
    pub(crate) sockets: Vec<TcpListener>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", self.hint())]
pub struct BindError {
    /// Which one.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

impl Listeners {
    /// Listens on each of the addresses; port 0 takes a free one.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut sockets = Vec::with_capacity(addresses.len());
        for &address in addresses {
            // `[::]` stands for IPv4 too, as elsewhere, unless that has a socket of its own.
            let both = !addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
            sockets.push(listen(address, both).map_err(|source| BindError { address, source })?);
        }
        Ok(Self { sockets })
    }

    /// The addresses with the ports they really have.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }
}

impl BindError {
    /// Whether another socket has this address.
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    fn hint(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: stop it or choose another port",
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one or give the capability"
            }
            _ => "choose another address",
        }
    }
}

fn listen(address: SocketAddr, both: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!both)?;
    }
    // A restart must not wait for connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_taken_and_told() {
        let listeners = Listeners::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        assert_ne!(listeners.addresses().first().unwrap().port(), 0);
    }

    #[test]
    fn a_taken_address_says_so() {
        let first = Listeners::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let error = Listeners::bind(&first.addresses()).unwrap_err();
        assert!(error.is_in_use());
        let text = error.to_string();
        assert!(text.contains(&first.addresses().first().unwrap().to_string()), "{text}");
        assert!(text.contains("another program listens there"), "{text}");
    }

    #[test]
    fn an_address_of_somebody_else_says_so() {
        let error = Listeners::bind(&[SocketAddr::from(([192, 0, 2, 1], 0))]).unwrap_err();
        assert!(!error.is_in_use());
        assert!(error.to_string().contains("no interface of this machine"), "{error}");
    }

    #[test]
    fn both_families_share_a_port() {
        let Ok(v4) = Listeners::bind(&[SocketAddr::from(([0, 0, 0, 0], 0))]) else { return };
        let port = v4.addresses().first().unwrap().port();
        drop(v4);
        let addresses = [SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([0_u16; 8], port))];
        match Listeners::bind(&addresses) {
            Ok(both) => assert_eq!(both.addresses().len(), 2),
            Err(error) => {
                crate::skipped::skipped(format_args!("no IPv6 here, or the port was taken: {error}"));
            }
        }
    }
}
