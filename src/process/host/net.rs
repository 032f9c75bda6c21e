//! Network: errors and drops of interfaces, and datagrams that no socket got.

use std::path::Path;

use crate::process::files::{Buffer, SMALL};
use crate::process::lines;

/// What an interface could not receive or send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Frames that were damaged or overran the adapter, received and sent.
    pub errors: [u64; 2],
    /// Frames that the kernel dropped, received and sent.
    pub drops: [u64; 2],
}

/// Of the network namespace of the agent.
pub(super) fn interfaces(buffer: &mut Buffer, shows: impl Fn(&str) -> bool) -> Vec<Interface> {
    let Ok(text) = buffer.read_path(Path::new("/proc/self/net/dev"), 1 << 20) else { return Vec::new() };
    lines::rows(text).filter_map(interface).filter(|found| shows(&found.name)).take(MOST_INTERFACES).collect()
}

/// `name: bytes packets errs drop fifo frame compressed multicast | bytes packets errs drop ...`
fn interface(line: &[u8]) -> Option<Interface> {
    // The name may have a colon of its own; numbers have none.
    let colon = line.iter().rposition(|&byte| byte == b':')?;
    let name = std::str::from_utf8(line.get(..colon)?.trim_ascii()).ok()?;
    let mut numbers = lines::words(line.get(colon + 1..)?).map(lines::number);
    let received = [numbers.nth(2)??, numbers.next()??];
    let sent = [numbers.nth(6)??, numbers.next()??];
    let [errors, drops] = [[received[0], sent[0]], [received[1], sent[1]]];
    Some(Interface { name: name.to_owned(), errors, drops })
}

/// Of both versions of IP together.
pub(super) fn udp_errors(buffer: &mut Buffer) -> Vec<(&'static str, u64)> {
    let mut errors = Vec::new();
    if let Ok(text) = buffer.read_path(Path::new("/proc/self/net/snmp"), SMALL) {
        errors = of_version_4(text);
    }
    if let Ok(text) = buffer.read_path(Path::new("/proc/self/net/snmp6"), SMALL) {
        for (reason, count) in of_version_6(text) {
            match errors.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, sum)) => *sum += count,
                None => errors.push((reason, count)),
            }
        }
    }
    errors
}

/// Two lines: the names, the numbers.
fn of_version_4(text: &[u8]) -> Vec<(&'static str, u64)> {
    let mut rows = lines::rows(text).filter_map(|line| line.strip_prefix(b"Udp:"));
    let (Some(names), Some(numbers)) = (rows.next(), rows.next()) else { return Vec::new() };
    let pairs = lines::words(names).zip(lines::words(numbers));
    pairs.filter_map(|(name, number)| Some((reason(name)?, lines::number(number)?))).collect()
}

/// A line for each: `Udp6RcvbufErrors  7`.
fn of_version_6(text: &[u8]) -> Vec<(&'static str, u64)> {
    let line = |line: &[u8]| {
        let mut words = lines::words(line);
        let name = words.next()?.strip_prefix(b"Udp6")?;
        Some((reason(name)?, lines::number(words.next()?)?))
    };
    lines::rows(text).filter_map(line).collect()
}

fn reason(name: &[u8]) -> Option<&'static str> {
    REASONS.iter().find(|(known, _)| *known == name).map(|(_, reason)| *reason)
}

/// The kernel's names, and ours. `InErrors` is a sum that has others in it.
const REASONS: [(&[u8], &str); 5] = [
    (b"NoPorts", "no_port"),
    (b"RcvbufErrors", "receive_buffer"),
    (b"SndbufErrors", "send_buffer"),
    (b"InCsumErrors", "checksum"),
    (b"MemErrors", "memory"),
];
const MOST_INTERFACES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_interface_is_taken_apart() {
        let line = b" eth0:1: 100 7 3 4 0 0 0 0 200 8 5 6 0 0 0 0";
        assert_eq!(interface(line), Some(Interface { name: "eth0:1".into(), errors: [3, 5], drops: [4, 6] }));
        assert_eq!(interface(b" face |bytes packets errs drop"), None);
    }

    #[test]
    fn datagrams_without_a_socket_are_counted_by_reason() {
        let four = b"Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n\
            Udp: 4777 80 4552 11801 4550 1 2 0 0\nUdpLite: NoPorts\nUdpLite: 9\n";
        let expected =
            [("no_port", 80), ("receive_buffer", 4550), ("send_buffer", 1), ("checksum", 2), ("memory", 0)];
        assert_eq!(of_version_4(four), expected);
        let six =
            b"Udp6NoPorts                     \t1\nUdp6RcvbufErrors                \t7\nUdpLite6NoPorts 3\n";
        assert_eq!(of_version_6(six), [("no_port", 1), ("receive_buffer", 7)]);
    }
}
