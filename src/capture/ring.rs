//! Live capture: an AF_PACKET socket with a TPACKET_V3 ring, shared with the kernel (packet(7), packet_mmap).
//!
//! ```text
//! kernel -> block 0 | block 1 | ... | block n      each full block, or one that waited 20 ms, is ours
//!              \-> frames in order -> take(&[Frame; 1..=64]) -> the block goes back
//! ```
//!
//! Limits: the ring; when it is full the kernel drops packets and says how many ([`Live::dropped`]). A VLAN tag that the
//! kernel took off the frame is not put back: nothing that is measured looks at it.
#![allow(
    unsafe_code,
    reason = "memory shared with the kernel and socket options have no safe interface here"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::filter::{self, Instruction};
use super::live::{Error, Interface, Live};
use super::{BATCH, Take};
use crate::Stamp;
use crate::wire::{Frame, LinkType};

/// How large a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the whole ring, a multiple of `block_bytes`.
    pub ring_bytes: usize,
    /// Bytes of a block, a power of two and a multiple of the page size.
    pub block_bytes: usize,
    /// How long a block that is not full waits, milliseconds. Time stamps are the kernel's: it delays no figure.
    pub retire_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ring_bytes: 48 << 20, block_bytes: 4 << 20, retire_ms: 20 }
    }
}

/// A socket and its ring.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    memory: *mut u8,
    settings: Settings,
    /// Block that is looked at next.
    next: usize,
    interface: Interface,
    /// Interface index the socket is bound to; 0 = all.
    bound: u32,
}

// SAFETY: the memory belongs to this value alone on our side, and moving it to another thread moves nothing that the
// kernel knows of.
unsafe impl Send for Ring {}

/// A packet socket that captures nothing yet: to be a ring later, when there is no right to open another.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Needs CAP_NET_RAW; nothing after it does.
    pub fn open() -> Result<Self, Error> {
        // SAFETY: no pointer is passed. Protocol 0: nothing is queued before the ring stands.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            let cause = io::Error::last_os_error();
            return Err(match cause.kind() {
                io::ErrorKind::PermissionDenied => Error::NotPermitted,
                _ => Error::System { action: "opening a packet socket", cause },
            });
        }
        // SAFETY: the descriptor was just made and is nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Number of an interface, if there is one of that name.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        index_of(&self.0, name)
    }
}

impl Ring {
    /// Makes the ring of a socket and binds it. `program` says what is kept of each frame: see [`filter`].
    pub fn on(
        socket: Socket,
        interface: Interface,
        settings: Settings,
        program: &[Instruction],
    ) -> Result<Self, Error> {
        let Socket(socket) = socket;
        let bound = match &interface {
            Interface::Any => 0,
            Interface::Named(name) => {
                index_of(&socket, name).ok_or_else(|| Error::NoInterface(name.clone()))?
            }
        };
        // Until all stands, nothing: no frame that the program would refuse, none of the last interface.
        attach(&socket, &filter::NOTHING)?;
        option(&socket, libc::PACKET_VERSION, &TPACKET_V3, "asking for TPACKET_V3")?;
        let blocks = settings.ring_bytes / settings.block_bytes;
        let request = [
            settings.block_bytes as u32,
            blocks as u32,
            FRAME_BYTES,
            (settings.ring_bytes / FRAME_BYTES as usize) as u32,
            settings.retire_ms,
            0,
            0,
        ];
        option(&socket, libc::PACKET_RX_RING, &request, "making the capture ring")?;
        // SAFETY: the kernel chooses the address; the length is that of the ring it just made.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                blocks * settings.block_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            let cause = io::Error::last_os_error();
            return Err(Error::System { action: "mapping the capture ring", cause });
        }
        let ring = Self { socket, memory: memory.cast(), settings, next: 0, interface, bound };
        bind(&ring.socket, bound)
            .map_err(|cause| Error::System { action: "binding the packet socket", cause })?;
        attach(&ring.socket, program)?;
        Ok(ring)
    }

    fn blocks(&self) -> usize {
        self.settings.ring_bytes / self.settings.block_bytes
    }
}

impl Live for Ring {
    fn interface(&self) -> &Interface {
        &self.interface
    }

    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn poll(&mut self, take: &mut Take<'_>) -> bool {
        let mut any = false;
        // Once around at most: whoever else waits gets their turn.
        for _ in 0..self.blocks() {
            let start = self.next * self.settings.block_bytes;
            // SAFETY: `start` is inside the mapping and aligned to a page; the kernel writes this word as one.
            let status = unsafe { AtomicU32::from_ptr(self.memory.add(start + BLOCK_STATUS).cast()) };
            if status.load(Ordering::Acquire) & TP_STATUS_USER == 0 {
                break;
            }
            // SAFETY: the block lies inside the mapping, and while its status says so it is ours: the kernel does not
            // write to it until we give it back below, after the last use of the slice.
            let block = unsafe {
                std::slice::from_raw_parts(self.memory.add(start).cast_const(), self.settings.block_bytes)
            };
            frames(block, take);
            status.store(TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % self.blocks();
            any = true;
        }
        any
    }

    fn dropped(&mut self) -> u64 {
        let mut statistics = [0_u32; 3];
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the buffer is as long as `length` says; the kernel writes tpacket_stats_v3 there.
        let result = unsafe {
            libc::getsockopt(
                self.fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                statistics.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 { u64::from(statistics[1]) } else { 0 }
    }

    fn follow(&mut self) -> bool {
        let Interface::Named(name) = &self.interface else { return true };
        let Some(index) = index_of(&self.socket, name) else { return false };
        if index != self.bound {
            if bind(&self.socket, index).is_err() {
                return false;
            }
            self.bound = index;
        }
        is_up(&self.socket, name)
    }

    fn release(self: Box<Self>) -> Option<Socket> {
        let socket = self.socket.try_clone().ok()?;
        // Nothing is to be queued where there is no ring.
        attach(&socket, &filter::NOTHING).ok()?;
        drop(self);
        option(&socket, libc::PACKET_RX_RING, &[0_u32; 7], "giving back a capture ring").ok()?;
        Some(Socket(socket))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped in `open` with this length, and no slice of it outlives `poll`.
        unsafe { libc::munmap(self.memory.cast(), self.settings.ring_bytes) };
    }
}

/// Waits until one of the descriptors has something, for `timeout_ms` at most.
pub fn wait(fds: &[RawFd], timeout_ms: i32) {
    let mut polled: Vec<_> =
        fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: the array is as long as is said. A signal that interrupts it does no harm: it is called again.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout_ms) };
    let failed = |poll: &&libc::pollfd| poll.revents & libc::POLLERR != 0;
    for poll in polled.iter().filter(failed) {
        // An interface went down. Until that is read, poll returns at once, again and again.
        let mut error = 0_i32;
        let mut length = size_of_val(&error) as libc::socklen_t;
        // SAFETY: the buffer is as long as `length` says.
        unsafe {
            libc::getsockopt(
                poll.fd,
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &raw mut length,
            );
        }
    }
}

/// The frames of one block (packet_mmap: tpacket_block_desc, tpacket3_hdr, sockaddr_ll).
fn frames(block: &[u8], take: &mut Take<'_>) {
    let (Some(count), Some(first)) = (word(block, BLOCK_PACKETS), word(block, BLOCK_FIRST)) else { return };
    let mut batch: Vec<Frame<'_>> = Vec::with_capacity(BATCH);
    let mut at = first as usize;
    for _ in 0..count {
        let Some(header) = block.get(at..) else { break };
        batch.extend(frame(header));
        if batch.len() == BATCH {
            take(&batch);
            batch.clear();
        }
        match word(header, NEXT_OFFSET) {
            Some(0) | None => break,
            Some(next) => at += next as usize,
        }
    }
    if !batch.is_empty() {
        take(&batch);
    }
}

/// One frame. `None`: it was seen before, or its link is none that can be read.
fn frame(header: &[u8]) -> Option<Frame<'_>> {
    let mac = usize::from(u16::from_ne_bytes(*header.get(MAC_OFFSET..)?.first_chunk()?));
    let length = word(header, SNAP_LENGTH)? as usize;
    let link = header.get(LINK_ADDRESS..)?;
    let hardware = u16::from_ne_bytes(*link.get(8..)?.first_chunk()?);
    let kind = *link.get(10)?;
    // What is sent over the loopback interface is received there too.
    if hardware == libc::ARPHRD_LOOPBACK && kind == libc::PACKET_OUTGOING {
        return None;
    }
    let nanos = u64::from(word(header, SECONDS)?) * 1_000_000_000 + u64::from(word(header, NANOSECONDS)?);
    Some(Frame {
        stamp: Stamp(nanos),
        link: link_type(hardware)?,
        interface: word(link, 4)?,
        wire_len: word(header, WIRE_LENGTH)?,
        bytes: header.get(mac..mac + length)?,
    })
}

fn link_type(hardware: u16) -> Option<LinkType> {
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::ETHERNET),
        libc::ARPHRD_NONE
        | ARPHRD_RAWIP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT
        | libc::ARPHRD_PPP => Some(LinkType::RAW),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Binds a packet socket to an interface, 0 = all, and takes frames of any protocol.
pub(super) fn bind(socket: &impl AsRawFd, index: u32) -> io::Result<()> {
    // SAFETY: all zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the address is a sockaddr_ll, and its length is given.
    let result = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the time stamps of a packet socket are those of the network adapter.
pub(super) fn has_adapter_clock(socket: &impl AsRawFd) -> bool {
    let mut flags = 0_i32;
    let mut length = size_of_val(&flags) as libc::socklen_t;
    // SAFETY: the buffer is as long as `length` says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_TIMESTAMP,
            (&raw mut flags).cast(),
            &raw mut length,
        )
    };
    result == 0 && flags != 0
}

/// Number of an interface.
pub(super) fn index_of(socket: &impl AsRawFd, name: &str) -> Option<u32> {
    let answer = ask(socket, libc::SIOCGIFINDEX, name)?;
    // SAFETY: the kernel has written the index.
    u32::try_from(unsafe { answer.ifr_ifru.ifru_ifindex }).ok()
}

pub(super) fn is_up(socket: &impl AsRawFd, name: &str) -> bool {
    // SAFETY: the kernel has written the flags.
    let flags = ask(socket, libc::SIOCGIFFLAGS, name).map(|answer| unsafe { answer.ifr_ifru.ifru_flags });
    flags.is_some_and(|flags| i32::from(flags) & libc::IFF_UP != 0)
}

/// netdevice(7), on the socket there is: to open another one may be forbidden by now.
fn ask(socket: &impl AsRawFd, question: libc::Ioctl, name: &str) -> Option<libc::ifreq> {
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays the zero that ends the name.
    let room = request.ifr_name.split_last_mut()?.1;
    if name.is_empty() || name.len() > room.len() {
        return None;
    }
    for (to, from) in room.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the kernel reads and writes one ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), question, &raw mut request) };
    (result == 0).then_some(request)
}

fn option<T>(socket: &OwnedFd, name: i32, value: &T, action: &'static str) -> Result<(), Error> {
    // SAFETY: pointer and length are those of `value`, plain numbers the kernel copies.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            name,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(Error::System { action, cause: io::Error::last_os_error() }) }
}

/// Sets the program that says what is kept of each frame.
fn attach(socket: &impl AsRawFd, program: &[Instruction]) -> Result<(), Error> {
    let described = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which it does not write to, and checks them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const described).cast(),
            size_of_val(&described) as libc::socklen_t,
        )
    };
    let action = "attaching the capture filter";
    if result == 0 { Ok(()) } else { Err(Error::System { action, cause: io::Error::last_os_error() }) }
}

/// linux/if_arp.h: raw IP, as of mobile modems.
const ARPHRD_RAWIP: u16 = 519;
const TPACKET_V3: i32 = 2;
const TP_STATUS_KERNEL: u32 = 0;
const TP_STATUS_USER: u32 = 1;
/// Version 3 packs frames; the size only has to be a sound one.
const FRAME_BYTES: u32 = 2048;

/// Offsets in tpacket_block_desc.
const BLOCK_STATUS: usize = 8;
const BLOCK_PACKETS: usize = 12;
const BLOCK_FIRST: usize = 16;
/// Offsets in tpacket3_hdr.
const NEXT_OFFSET: usize = 0;
const SECONDS: usize = 4;
const NANOSECONDS: usize = 8;
const SNAP_LENGTH: usize = 12;
const WIRE_LENGTH: usize = 16;
const MAC_OFFSET: usize = 24;
/// tpacket3_hdr takes 48 bytes; sockaddr_ll follows.
const LINK_ADDRESS: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    /// A block as the kernel writes it, with these (hardware type, packet type, bytes).
    fn block(packets: &[(u16, u8, &[u8])]) -> Vec<u8> {
        let mut block = vec![0; 48];
        block[BLOCK_PACKETS..BLOCK_PACKETS + 4].copy_from_slice(&(packets.len() as u32).to_ne_bytes());
        block[BLOCK_FIRST..BLOCK_FIRST + 4].copy_from_slice(&48_u32.to_ne_bytes());
        for (hardware, kind, bytes) in packets {
            let mut packet = vec![0; 80];
            let length = (bytes.len() as u32).to_ne_bytes();
            packet[SECONDS..8].copy_from_slice(&7_u32.to_ne_bytes());
            packet[NANOSECONDS..12].copy_from_slice(&9_u32.to_ne_bytes());
            packet[SNAP_LENGTH..16].copy_from_slice(&length);
            packet[WIRE_LENGTH..20].copy_from_slice(&length);
            packet[MAC_OFFSET..26].copy_from_slice(&80_u16.to_ne_bytes());
            packet[52..56].copy_from_slice(&3_u32.to_ne_bytes());
            packet[56..58].copy_from_slice(&hardware.to_ne_bytes());
            packet[58] = *kind;
            packet.extend_from_slice(bytes);
            packet.resize(packet.len().next_multiple_of(8), 0);
            let next = (packet.len() as u32).to_ne_bytes();
            packet[NEXT_OFFSET..4].copy_from_slice(&next);
            block.extend(packet);
        }
        block
    }

    fn seen(block: &[u8]) -> Vec<(u64, u16, u32, Vec<u8>)> {
        let mut seen = Vec::new();
        frames(block, &mut |frames| {
            let plain =
                |frame: &Frame<'_>| (frame.stamp.0, frame.link.0, frame.interface, frame.bytes.to_vec());
            seen.extend(frames.iter().map(plain));
        });
        seen
    }

    #[test]
    fn frames_come_in_order_with_time_link_and_interface() {
        let block = block(&[(1, 0, b"one"), (65_534, 4, b"two")]);
        assert_eq!(
            seen(&block),
            [(7_000_000_009, 1, 3, b"one".to_vec()), (7_000_000_009, 101, 3, b"two".to_vec())]
        );
    }

    #[test]
    fn what_loopback_sends_is_taken_when_it_arrives() {
        let sent_and_received = block(&[(772, 4, b"ping"), (772, 0, b"ping")]);
        assert_eq!(seen(&sent_and_received).len(), 1);
    }

    #[test]
    fn a_block_that_lies_is_read_as_far_as_it_goes() {
        let good = block(&[(1, 0, b"one"), (1, 0, b"two")]);
        for cut in 0..good.len() {
            assert!(seen(&good[..cut]).len() <= 2);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = 0xff;
            seen(&bad);
        }
    }

    #[test]
    fn the_kernel_takes_the_filter() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        attach(&socket, &filter::program()).unwrap();
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let error = Error::NoInterface("st-nowhere".into());
        assert_eq!(error.to_string(), "there is no interface st-nowhere; ip link shows those there are");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(index_of(&socket, "st-nowhere"), None);
        assert_eq!(index_of(&socket, "a-name-longer-than-any"), None);
        assert_eq!(index_of(&socket, "lo"), Some(1));
    }
}
