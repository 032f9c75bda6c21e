//! Where to listen: `udp:0.0.0.0:9060`, `tcp:[::]:9060`, or without either for both. Slashes behind the colon do no
//! harm: `udp://0.0.0.0:9060`.

use std::fmt;
use std::net::SocketAddr;

use crate::hep::Carrier;

/// One socket to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What carries the records.
    pub carrier: Carrier,
    /// Own address.
    pub address: SocketAddr,
}

/// The text names no place to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address to listen on: write udp:0.0.0.0:9060, tcp:[::]:9060, or 0.0.0.0:9060 for both")]
pub struct NotAnAddress(pub String);

impl Listen {
    /// Reads one entry of the configuration.
    pub fn parse(text: &str) -> Result<Vec<Self>, NotAnAddress> {
        let (carriers, address): (&[_], _) = match text.split_once(':') {
            Some(("udp", address)) => (&[Carrier::Udp], address),
            Some(("tcp", address)) => (&[Carrier::Tcp], address),
            _ => (&[Carrier::Udp, Carrier::Tcp], text),
        };
        let address = address.strip_prefix("//").unwrap_or(address);
        let address = address.parse().map_err(|_| NotAnAddress(text.to_owned()))?;
        Ok(carriers.iter().map(|&carrier| Self { carrier, address }).collect())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.carrier, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_carrier_means_both() {
        let read = |text| {
            let listens = Listen::parse(text).unwrap();
            listens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(read("0.0.0.0:9060"), "udp:0.0.0.0:9060 tcp:0.0.0.0:9060");
        assert_eq!(read("[::1]:9060"), "udp:[::1]:9060 tcp:[::1]:9060");
        assert_eq!(read("udp://127.0.0.1:1"), "udp:127.0.0.1:1");
        assert_eq!(read("udp:127.0.0.1:1"), "udp:127.0.0.1:1");
        assert_eq!(read("tcp:[::]:9061"), "tcp:[::]:9061");
        for wrong in ["", "9060", "sctp:127.0.0.1:1", "udp:localhost:9060", "tcp:127.0.0.1"] {
            assert_eq!(Listen::parse(wrong), Err(NotAnAddress(wrong.to_owned())));
        }
    }
}
