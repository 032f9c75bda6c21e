//! A browser that calls by SIP over WebSocket (RFC 7118), its audio in plain RTP. The lab starts the test program
//! again on the caller's host, to run this alone.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

#[test]
#[ignore = "the lab runs it, on a host of its own"]
fn telephone() {
    let Ok(number) = std::env::var("SIDETONE_LAB_BROWSER") else { return };
    let mut socket = Socket::open("10.20.0.20:8080");
    let media = UdpSocket::bind(("10.20.0.10", 0)).unwrap();
    let id = std::process::id();
    let port = media.local_addr().unwrap().port();
    let sdp = format!(
        "v=0\r\no=web 1 1 IN IP4 10.20.0.10\r\ns=-\r\nc=IN IP4 10.20.0.10\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n\
         a=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"
    );
    let target = format!("sip:{number}@lab.test");
    let to = format!("To: <{target}>\r\n");
    let request = |method: &str, cseq: u32, target: &str, to: &str, body: &str| {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/WS web{id}.invalid;branch=z9hG4bK{id}{method}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:web@lab.test>;tag={id}\r\n{to}Call-ID: web-{id}\r\nCSeq: {cseq} {}\r\n\
             Contact: <sip:web@web{id}.invalid;transport=ws>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            method.trim(),
            body.len()
        )
    };
    socket.send(&request("INVITE", 1, &target, &to, &sdp));
    let answer = loop {
        let message = socket.receive();
        match message.split(' ').nth(1) {
            Some(status) if status.starts_with('1') => {}
            Some("200") => break message,
            _ => panic!("{message}"),
        }
    };
    let values = |name: &str| -> Vec<&str> {
        answer.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim).collect()
    };
    let contact = values("Contact:")[0].trim_matches(['<', '>']).to_owned();
    let routes: Vec<&str> = values("Record-Route:").into_iter().flat_map(|line| line.split(", ")).collect();
    let routes: String = routes.iter().rev().flat_map(|route| ["Route: ", route, "\r\n"]).collect();
    let to = format!("To: {}\r\n{routes}", values("To:")[0]);
    socket.send(&request("ACK", 1, &contact, &to, ""));

    let there = values("c=IN IP4 ")[0];
    let port: u16 = values("m=audio ")[0].split(' ').next().unwrap().parse().unwrap();
    for n in 0..100_u16 {
        let mut packet = vec![0x80, 8];
        packet.extend(n.to_be_bytes());
        packet.extend((u32::from(n) * 160).to_be_bytes());
        packet.extend(id.to_be_bytes());
        packet.extend([0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4].repeat(20));
        media.send_to(&packet, (there, port)).unwrap();
        sleep(Duration::from_millis(20));
    }
    socket.send(&request("BYE", 2, &contact, &to, ""));
    while !socket.receive().contains("CSeq: 2 BYE") {}
}

/// Two bytes of length follow (RFC 6455 5.2).
const LONG: u8 = 0x7e;

/// A WebSocket in the part of the client.
struct Socket(TcpStream);

impl Socket {
    fn open(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: lab.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: c2lkZXRvbmUgaW4gYSBsYWI=\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: sip\r\n\r\n"
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// One text frame, masked as RFC 6455 wants it of a client.
    fn send(&mut self, text: &str) {
        let mask = [0x5a, 0xc3, 0x17, 0x88];
        let mut frame = vec![0x81, 0x80 | LONG];
        frame.extend((text.len() as u16).to_be_bytes());
        frame.extend(mask);
        frame.extend(text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.0.write_all(&frame).unwrap();
    }

    /// The next text frame.
    fn receive(&mut self) -> String {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            let mut length = u64::from(head[1] & 0x7f);
            if length >= u64::from(LONG) {
                let mut long = vec![0; if length == u64::from(LONG) { 2 } else { 8 }];
                self.0.read_exact(&mut long).unwrap();
                length = long.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            }
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).unwrap();
            if matches!(head[0] & 0x0f, 1 | 2) {
                return String::from_utf8(payload).unwrap();
            }
        }
    }
}
