//! What the ends of a call said about it: RTCP as tshark reads it, and RTPengine's last words to the proxy.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::wire::Datagram;

/// One RTCP packet that reports on a stream.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Seconds since 1970.
    pub(crate) at: f64,
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) sender: u32,
    /// The middle of the sender's clock; 0 in a receiver report.
    pub(crate) clock: u32,
    pub(crate) block: Option<Block>,
}

/// Its block (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) about: u32,
    pub(crate) lost: i64,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
    pub(crate) last_sender_report: u32,
    pub(crate) delay_since: f64,
}

pub(crate) fn by_tshark(capture: &Path) -> Vec<Packet> {
    let fields = [
        "frame.time_epoch",
        "ip.src",
        "ip.dst",
        "rtcp.senderssrc",
        "rtcp.timestamp.ntp.msw",
        "rtcp.timestamp.ntp.lsw",
        "rtcp.ssrc.identifier",
        "rtcp.ssrc.cum_nr",
        "rtcp.ssrc.ext_high",
        "rtcp.ssrc.jitter",
        "rtcp.ssrc.lsr",
        "rtcp.ssrc.dlsr",
    ];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-Y", "rtcp.pt == 200 || rtcp.pt == 201"]);
    command.args(["-T", "fields", "-E", "occurrence=f"]).args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| packet(&line.split('\t').collect::<Vec<_>>())).collect()
}

fn packet(fields: &[&str]) -> Packet {
    let number = |at: usize| fields.get(at).map_or(0, |text| whole(text));
    let block = Block {
        about: number(6) as u32,
        lost: number(7),
        highest: number(8) as u32,
        jitter: number(9) as u32,
        last_sender_report: number(10) as u32,
        delay_since: number(11) as f64 / 65_536.0,
    };
    Packet {
        at: fields[0].parse().unwrap(),
        source: fields[1].into(),
        destination: fields[2].into(),
        sender: number(3) as u32,
        clock: (number(4) as u32) << 16 | (number(5) as u32) >> 16,
        block: fields.get(8).is_some_and(|text| !text.is_empty()).then_some(block),
    }
}

fn whole(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap_or(0),
    }
}

/// What the receiver of the stream that flows from `source` to `destination` said of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) reports: u64,
    /// Between the first report and the last.
    pub(crate) loss_ratio: f64,
    /// The largest, in units of the RTP clock.
    pub(crate) jitter: u32,
    /// From here to the receiver and back, the last one, in seconds.
    pub(crate) round_trip: f64,
}

pub(crate) fn told(packets: &[Packet], source: &str, destination: &str, ssrc: u32) -> Option<Told> {
    let of_receiver = packets.iter().filter(|p| p.source == destination && p.destination == source);
    let blocks: Vec<(f64, Block)> =
        of_receiver.filter_map(|p| Some((p.at, p.block.filter(|block| block.about == ssrc)?))).collect();
    let (&(_, first), &(_, last)) = (blocks.first()?, blocks.last()?);
    let round_trip = blocks.iter().rev().find_map(|(at, block)| {
        let mut asked = packets.iter().filter(|p| p.source == source && p.destination == destination);
        let asked =
            asked.find(|p| p.sender == ssrc && p.clock != 0 && p.clock == block.last_sender_report)?;
        Some(at - asked.at - block.delay_since)
    });
    Some(Told {
        reports: blocks.len() as u64,
        loss_ratio: (last.lost - first.lost) as f64 / f64::from(last.highest - first.highest),
        jitter: blocks.iter().map(|(_, block)| block.jitter).max()?,
        round_trip: round_trip?,
    })
}

/// Bencode.
#[derive(Debug)]
pub(crate) enum Bencode {
    Number(i64),
    Text(String),
    List(Vec<Self>),
    Table(BTreeMap<String, Self>),
}

impl Bencode {
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let (&kind, behind) = rest.split_first()?;
        match kind {
            b'i' => {
                let end = behind.iter().position(|&byte| byte == b'e')?;
                *rest = &behind[end + 1..];
                Some(Self::Number(std::str::from_utf8(&behind[..end]).ok()?.parse().ok()?))
            }
            b'l' | b'd' => {
                *rest = behind;
                let mut items = Vec::new();
                while *rest.first()? != b'e' {
                    items.push(Self::read(rest)?);
                }
                *rest = &rest[1..];
                if kind == b'l' {
                    return Some(Self::List(items));
                }
                let mut table = BTreeMap::new();
                let mut items = items.into_iter();
                while let (Some(Self::Text(key)), Some(value)) = (items.next(), items.next()) {
                    table.insert(key, value);
                }
                Some(Self::Table(table))
            }
            _ => {
                let colon = rest.iter().position(|&byte| byte == b':')?;
                let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
                let text = rest.get(colon + 1..colon + 1 + length)?;
                *rest = &rest[colon + 1 + length..];
                Some(Self::Text(String::from_utf8_lossy(text).into_owned()))
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Table(table) => table.get(key),
            _ => None,
        }
    }

    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// What RTPengine said about each SSRC that had sent reports, when its call was deleted.
pub(crate) fn delete_answers(control: &[Datagram]) -> BTreeMap<u32, Bencode> {
    let mut told = BTreeMap::new();
    for datagram in control.iter().filter(|datagram| datagram.source.1 == 2223) {
        let Some(space) = datagram.payload.iter().position(|&byte| byte == b' ') else { continue };
        let Some(Bencode::Table(mut answer)) = Bencode::read(&mut &datagram.payload[space + 1..]) else {
            continue;
        };
        if let Some(Bencode::Table(by_ssrc)) = answer.remove("SSRC") {
            told.extend(by_ssrc.into_iter().map(|(ssrc, said)| (ssrc.parse().unwrap(), said)));
        }
    }
    told
}

/// The samples behind its MOS.
pub(crate) fn samples(said: &Bencode) -> &[Bencode] {
    match said.get("MOS progression").and_then(|progression| progression.get("entries")) {
        Some(Bencode::List(entries)) => entries,
        _ => &[],
    }
}
