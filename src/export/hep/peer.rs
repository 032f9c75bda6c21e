//! Where to send: `udp:homer:9060`, `tcp:10.0.0.5:9060`, or `homer:9060` for UDP. Slashes behind the colon do no
//! harm: `tcp://homer:9060`.

use std::fmt;
use std::str::FromStr;

use crate::hep::Carrier;

/// The receiver. Its name is resolved anew for every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What carries the records.
    pub carrier: Carrier,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The text names no receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nowhere to send HEP to: write udp:homer.example:9060 or tcp:10.0.0.5:9060")]
pub struct NotAPeer(pub String);

impl Default for Peer {
    fn default() -> Self {
        Self { carrier: Carrier::Udp, host: "127.0.0.1".to_owned(), port: 9060 }
    }
}

impl FromStr for Peer {
    type Err = NotAPeer;

    fn from_str(text: &str) -> Result<Self, NotAPeer> {
        let (carrier, place) = match text.split_once(':') {
            Some(("udp", place)) => (Carrier::Udp, place),
            Some(("tcp", place)) => (Carrier::Tcp, place),
            _ => (Carrier::Udp, text),
        };
        let place = place.strip_prefix("//").unwrap_or(place);
        let read = || {
            let (host, port) = place.rsplit_once(':')?;
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            // Version 6 needs its brackets, else its last group would be the port.
            let host = bare.or_else(|| Some(host).filter(|host| !host.contains(':')))?;
            let port = port.parse().ok().filter(|&port| port != 0)?;
            (!host.is_empty()).then(|| Self { carrier, host: host.to_owned(), port })
        };
        read().ok_or_else(|| NotAPeer(text.to_owned()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carrier, host, port } = self;
        if host.contains(':') {
            write!(f, "{carrier}:[{host}]:{port}")
        } else {
            write!(f, "{carrier}:{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_without_a_carrier_is_sent_udp() {
        let read = |text: &str| text.parse::<Peer>().map(|peer| peer.to_string());
        assert_eq!(read("10.0.0.5:9060"), Ok("udp:10.0.0.5:9060".into()));
        assert_eq!(read("udp:homer:9060"), Ok("udp:homer:9060".into()));
        assert_eq!(read("tcp:homer.example:9061"), Ok("tcp:homer.example:9061".into()));
        assert_eq!(read("tcp:[::1]:9061"), Ok("tcp:[::1]:9061".into()));
        assert_eq!(read("tcp://homer.example:9061"), Ok("tcp:homer.example:9061".into()));
        for wrong in ["", "homer", "tcp:homer", "tcp::1", "homer:0", "homer:x", "::1:9060", "tls:homer:9061"]
        {
            assert_eq!(read(wrong), Err(NotAPeer(wrong.into())), "{wrong}");
        }
    }
}
