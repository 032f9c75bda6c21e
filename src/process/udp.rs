//! Datagrams that the sockets of the chosen processes lost because nobody took them in time: the classic cause of lost
//! RTP and SIP.
//!
//! ```text
//! /proc/PID/net/udp{,6}, once a network namespace    inode, user, bytes that wait, drops     no right
//! whose: the sockets among its descriptors           CAP_SYS_PTRACE
//!        else all sockets of its user, if that user has no other processes
//! ```

use std::collections::HashMap;

use super::lines;

/// One UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its number; no two sockets of a machine share one at a time.
    pub inode: u64,
    /// Whose process made it.
    pub user: u32,
    /// Bytes that wait to be received, with what the kernel needs around them.
    pub queued_bytes: u64,
    /// Datagrams it lost so far.
    pub drops: u64,
}

/// The sockets of `/proc/net/udp` or `udp6`.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Socket> {
    // The head has no number where the inode stands.
    lines::rows(text).filter_map(socket)
}

/// `sl local remote st tx:rx tr:when retransmits uid timeout inode ref pointer drops`
fn socket(line: &[u8]) -> Option<Socket> {
    let mut words = lines::words(line);
    let queues = words.nth(4)?;
    let received = queues.iter().position(|&byte| byte == b':').and_then(|colon| queues.get(colon + 1..))?;
    let user = words.nth(2)?;
    let inode = words.nth(1)?;
    let drops = words.nth(2)?;
    Some(Socket {
        inode: lines::number(inode).filter(|inode| *inode > 0)?,
        user: u32::try_from(lines::number(user)?).ok()?,
        queued_bytes: lines::hexadecimal(received)?,
        drops: lines::number(drops)?,
    })
}

/// What the sockets of one group of processes have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Udp {
    /// Sockets that are open.
    pub sockets: u64,
    /// Bytes that wait in them.
    pub queued_bytes: u64,
    /// Datagrams lost, with those of sockets that were closed since.
    pub drops: u64,
}

/// Adds up drops over sockets that come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct Drops {
    last: HashMap<u64, u64>,
    total: u64,
}

impl Drops {
    /// Takes the sockets as they are now.
    pub(super) fn take(&mut self, sockets: impl Iterator<Item = Socket>) -> Udp {
        let mut udp = Udp::default();
        let mut now = HashMap::with_capacity(self.last.len());
        for socket in sockets {
            udp.sockets += 1;
            udp.queued_bytes = udp.queued_bytes.saturating_add(socket.queued_bytes);
            let before = self.last.get(&socket.inode).copied().unwrap_or(0);
            // Less than before: another socket under the same number.
            let news = socket.drops.checked_sub(before).unwrap_or(socket.drops);
            self.total = self.total.saturating_add(news);
            now.insert(socket.inode, socket.drops);
        }
        self.last = now;
        Udp { drops: self.total, ..udp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &[u8] = b"   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n\
        \x20 415: 0100007F:13C4 00000000:0000 07 00000000:00021C00 00:00000000 00000000   104        0 41877 2 000000004f6ba2e4 17\n\
        \x20 416: 00000000000000000000000001000000:13C4 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000  0        0 0 2 0 0\n";

    #[test]
    fn a_table_of_sockets_is_read() {
        let sockets: Vec<_> = parse(TABLE).collect();
        assert_eq!(sockets, [Socket { inode: 41_877, user: 104, queued_bytes: 0x21c00, drops: 17 }]);
    }

    #[test]
    fn drops_stay_when_their_socket_goes() {
        let mut drops = Drops::default();
        let socket = |inode, drops| Socket { inode, user: 0, queued_bytes: 1, drops };
        assert_eq!(drops.take([socket(1, 5), socket(2, 1)].into_iter()).drops, 6);
        let udp = drops.take([socket(1, 7)].into_iter());
        assert_eq!((udp.drops, udp.sockets, udp.queued_bytes), (8, 1, 1));
        assert_eq!(drops.take([socket(1, 2)].into_iter()).drops, 10, "another socket");
        assert_eq!(drops.take(std::iter::empty()).drops, 10);
    }

    proptest! {
        /// forall bytes: parse does not panic.
        #[test]
        fn nothing_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes).count();
        }
    }
}
