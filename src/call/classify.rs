//! Whose call it is and which way it goes: tenant and route by ordered rules (DESIGN 4).
//!
//! ```text
//! [[tenants]]                                  first INVITE:  From  sip:alice@pbx.acme.example
//! name = "acme"                                               To    sip:+493012@example.com
//! domain = ["acme.example", "*.acme.example"]  -> tenant "acme"
//! ```
//!
//! The first rule that fits names the call. Names come from the rules alone, never off the wire: a label made
//! of them has no more values than there are rules. Done once a call, by plain comparisons.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::Arrival;
use crate::sip::Message;
use crate::sip::uri::Uri;

/// One rule: all its conditions must hold, of a list one entry. Without conditions it fits every call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What a call is called that it fits.
    pub name: String,
    /// Host of the From or the To URI.
    pub domain: Vec<Pattern>,
    /// A header of the INVITE.
    pub header: Option<HeaderRule>,
    /// Beginning of the user of the From URI.
    pub from_number: Vec<String>,
    /// Beginning of the user of the To URI.
    pub to_number: Vec<String>,
    /// Networks of the sender.
    pub source: Vec<Network>,
    /// Port of the sender.
    pub source_port: Option<u16>,
    /// Networks of the receiver.
    pub destination: Vec<Network>,
    /// Port of the receiver.
    pub destination_port: Option<u16>,
}

/// A header that must be there, in the long or the compact form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Name in any case of letters.
    pub name: String,
    /// One of these values; empty = any.
    pub values: Vec<Pattern>,
}

/// Text with at most one `*`, at its beginning or end, for any further text. ASCII case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `example.com`
    Exact(String),
    /// `+4930*`
    Prefix(String),
    /// `*.example.com`
    Suffix(String),
}

/// An address range: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// Place of the first rule that fits an initial INVITE.
pub(super) fn first(rules: &[Rule], at: &Arrival, m: &Message<'_>) -> Option<u16> {
    if rules.is_empty() {
        return None;
    }
    let (from, to) = (Uri::parse(m.from.uri), Uri::parse(m.to.uri));
    rules.iter().position(|rule| rule.fits(at, m, from.as_ref(), to.as_ref())).map(|place| place as u16)
}

impl Rule {
    fn fits(&self, at: &Arrival, m: &Message<'_>, from: Option<&Uri<'_>>, to: Option<&Uri<'_>>) -> bool {
        let begins = |uri: Option<&Uri<'_>>, numbers: &[String]| {
            numbers.is_empty()
                || uri.is_some_and(|uri| numbers.iter().any(|number| uri.user.starts_with(number.as_bytes())))
        };
        let inside = |networks: &[Network], ip: IpAddr| {
            networks.is_empty() || networks.iter().any(|network| network.contains(ip))
        };
        let domain = || {
            let mut hosts = from.into_iter().chain(to).map(|uri| uri.host).filter(|host| !host.is_empty());
            self.domain.is_empty() || hosts.any(|host| self.domain.iter().any(|pattern| pattern.fits(host)))
        };
        // The header last: it is the only condition that looks through the message.
        self.source_port.is_none_or(|port| port == at.source.port)
            && self.destination_port.is_none_or(|port| port == at.destination.port)
            && inside(&self.source, at.source.ip)
            && inside(&self.destination, at.destination.ip)
            && begins(from, &self.from_number)
            && begins(to, &self.to_number)
            && domain()
            && self.header.as_ref().is_none_or(|header| header.fits(m))
    }
}

impl HeaderRule {
    fn fits(&self, m: &Message<'_>) -> bool {
        m.header(&self.name).any(|value| {
            self.values.is_empty() || self.values.iter().any(|pattern| pattern.fits(value.trim_ascii()))
        })
    }
}

impl Pattern {
    /// Whether it stands for all of `text`.
    pub fn fits(&self, text: &[u8]) -> bool {
        let part = |of: &str, from_end: bool| {
            let cut = if from_end { text.len().checked_sub(of.len()) } else { Some(of.len()) };
            let parts = cut.and_then(|cut| text.split_at_checked(cut));
            let part = parts.map(|(head, tail)| if from_end { tail } else { head });
            part.is_some_and(|part| part.eq_ignore_ascii_case(of.as_bytes()))
        };
        match self {
            Self::Exact(exact) => text.eq_ignore_ascii_case(exact.as_bytes()),
            Self::Prefix(prefix) => part(prefix, false),
            Self::Suffix(suffix) => part(suffix, true),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pattern = if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else if let Some(suffix) = text.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else {
            Self::Exact(text.into())
        };
        let (Self::Exact(rest) | Self::Prefix(rest) | Self::Suffix(rest)) = &pattern;
        match (text, rest.contains('*')) {
            ("", _) => Err("it is empty"),
            (_, true) => Err("it may have one *, at its beginning or its end"),
            _ => Ok(pattern),
        }
    }
}

impl Network {
    /// Its first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// Whether the address lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => (base.to_bits() ^ ip.to_bits())
                .checked_shr(32 - u32::from(self.prefix))
                .is_none_or(|rest| rest == 0),
            (IpAddr::V6(base), IpAddr::V6(ip)) => (base.to_bits() ^ ip.to_bits())
                .checked_shr(128 - u32::from(self.prefix))
                .is_none_or(|rest| rest == 0),
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let Ok(base) = address.parse::<IpAddr>() else {
            return Err("it is no IP address, nor a network like 192.0.2.0/24".into());
        };
        let width = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(str::parse::<u8>) {
            None => width,
            Some(Ok(prefix)) if prefix <= width => prefix,
            _ => return Err(format!("its prefix is not within 0 to {width}")),
        };
        let host_bits = u32::from(width - prefix);
        let first = match base {
            IpAddr::V4(ip) => {
                let kept = ip.to_bits().checked_shr(host_bits).map_or(0, |bits| bits << host_bits);
                IpAddr::V4(kept.into())
            }
            IpAddr::V6(ip) => {
                let kept = ip.to_bits().checked_shr(host_bits).map_or(0, |bits| bits << host_bits);
                IpAddr::V6(kept.into())
            }
        };
        let network = Self { base: first, prefix };
        if first == base {
            Ok(network)
        } else {
            Err(format!("it has bits beyond its prefix; is {network} meant?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stamp;
    use crate::event::{SipTransport, Via};
    use crate::sip::scan;
    use crate::wire::Endpoint;

    const INVITE: &[u8] = b"INVITE sip:493012@gw.example.net SIP/2.0\r\n\
        From: \"A\" <sip:+4989555@pbx.Acme.example:5070>;tag=a\r\nTo: <tel:+493012>\r\n\
        x-tenant: Gold-7\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";

    fn rule(change: impl FnOnce(&mut Rule)) -> bool {
        let mut rule = Rule { name: "r".into(), ..Rule::default() };
        change(&mut rule);
        let endpoint = |text: &str, port| Endpoint { ip: text.parse().unwrap(), port };
        let at = Arrival {
            stamp: Stamp(0),
            source: endpoint("192.0.2.9", 5070),
            destination: endpoint("2001:db8::1", 5060),
            transport: SipTransport::Udp,
            via: Via::Wire,
        };
        first(&[rule], &at, &scan(INVITE).unwrap()) == Some(0)
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn each_condition_fits_or_does_not() {
        assert!(rule(|_| {}));
        assert!(rule(|r| r.domain = patterns(&["other.example", "*.ACME.example"])));
        assert!(!rule(|r| r.domain = patterns(&["acme.example"])));
        assert!(rule(|r| r.from_number = vec!["+49".into()]));
        assert!(!rule(|r| r.from_number = vec!["+4930".into()]));
        assert!(rule(|r| r.to_number = vec!["0".into(), "+4930".into()]));
        assert!(rule(|r| r.source = vec!["192.0.2.0/28".parse().unwrap()]));
        assert!(!rule(|r| r.source = vec!["192.0.2.0/29".parse().unwrap()]));
        assert!(rule(|r| r.destination = vec!["2001:db8::/32".parse().unwrap()]));
        assert!(!rule(|r| r.destination = vec!["0.0.0.0/0".parse().unwrap()]));
        assert!(rule(|r| r.source_port = Some(5070)) && !rule(|r| r.destination_port = Some(5070)));
        let header = |name: &str, values: &[&str]| {
            let header = HeaderRule { name: name.into(), values: patterns(values) };
            rule(|r| r.header = Some(header))
        };
        assert!(
            header("X-Tenant", &[]) && header("X-Tenant", &["gold-*"]) && header("X-TENANT", &["gold-7"])
        );
        assert!(!header("X-Tenant", &["gold"]) && !header("X-Other", &[]));
    }

    #[test]
    fn all_conditions_must_hold_and_the_first_rule_wins() {
        assert!(rule(|r| {
            r.from_number = vec!["+49".into()];
            r.source_port = Some(5070);
        }));
        assert!(!rule(|r| {
            r.from_number = vec!["+49".into()];
            r.source_port = Some(5060);
        }));
    }

    #[test]
    fn patterns_have_one_star_at_an_end() {
        for bad in ["", "a*b", "*a*", "**"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
        let any: Pattern = "*".parse().unwrap();
        assert!(any.fits(b"") && any.fits(b"x"));
        let prefix: Pattern = "ab*".parse().unwrap();
        assert!(prefix.fits(b"AB") && prefix.fits(b"abc") && !prefix.fits(b"a"));
        let suffix: Pattern = "*bc".parse().unwrap();
        assert!(suffix.fits(b"bc") && suffix.fits(b"aBC") && !suffix.fits(b"c"));
    }

    #[test]
    fn networks_are_read_and_typing_errors_are_explained() {
        let read = |text: &str| text.parse::<Network>();
        assert_eq!(read("192.0.2.0/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(read("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
        assert!(read("0.0.0.0/0").unwrap().contains("203.0.113.1".parse().unwrap()));
        assert!(read("::/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!(read("10.1.2.3/8").unwrap_err().contains("10.0.0.0/8"));
        assert!(read("10.0.0.0/33").unwrap_err().contains("0 to 32"));
        assert!(read("example.com").is_err() && read("10.0.0.0/").is_err() && read("").is_err());
    }
}
