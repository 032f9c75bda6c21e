//! RTCP retold as JSON, as rtpengine (`--homer`), heplify and captagent send it in records of type 5: read back into
//! the packet it was (RFC 3550 6.4.1, 6.4.2), so that one way leads from reports to figures.
//!
//! ```text
//! {"sender_information":{"ntp_timestamp_sec":..,"ntp_timestamp_usec":..,"rtp_timestamp":..,"packets":..,"octets":..},
//!  "ssrc":..,"type":200,"report_count":1,
//!  "report_blocks":[{"source_ssrc":..,"fraction_lost":..,"packets_lost":..,"highest_seq_no":..,"ia_jitter":..,
//!                    "lsr":..,"dlsr":..}]}
//! ```
//!
//! `ntp_timestamp_usec` is the fraction of the NTP time, whatever its name says. `type` is that of the last packet of
//! the compound with some agents, and nothing rests on it: a sender is who tells what it sent.

use serde::Deserialize;

#[derive(Deserialize)]
struct Retold {
    #[serde(default)]
    ssrc: i64,
    #[serde(default)]
    sender_information: Option<Sender>,
    #[serde(default)]
    report_blocks: Option<Vec<Block>>,
}

#[derive(Deserialize)]
struct Sender {
    ntp_timestamp_sec: i64,
    ntp_timestamp_usec: i64,
    #[serde(default)]
    rtp_timestamp: i64,
    packets: i64,
    #[serde(default)]
    octets: i64,
}

#[derive(Deserialize)]
struct Block {
    source_ssrc: i64,
    #[serde(default)]
    fraction_lost: i64,
    packets_lost: i64,
    highest_seq_no: i64,
    #[serde(default)]
    ia_jitter: i64,
    #[serde(default)]
    lsr: i64,
    #[serde(default)]
    dlsr: i64,
}

/// It is no RTCP retold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RTCP in JSON")]
pub struct NotRetold;

/// Writes the report as it was on the wire over what `out` holds; nothing when there is none, as with an SDES or BYE.
pub fn unfold(json: &[u8], out: &mut Vec<u8>) -> Result<(), NotRetold> {
    out.clear();
    let told = serde_json::from_slice::<Retold>(json).map_err(|_| NotRetold)?;
    // heplify writes zeros for a sender that is none.
    let sender =
        told.sender_information.filter(|sender| sender.ntp_timestamp_sec != 0 || sender.packets != 0);
    let blocks = told.report_blocks.unwrap_or_default();
    let blocks = blocks.get(..MAX_BLOCKS).unwrap_or(&blocks);
    if sender.is_none() && blocks.is_empty() {
        return Ok(());
    }
    let words = 1 + if sender.is_some() { SENDER_WORDS } else { 0 } + BLOCK_WORDS * blocks.len();
    out.push(VERSION | blocks.len() as u8);
    out.push(if sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT });
    out.extend_from_slice(&(words as u16).to_be_bytes());
    // Some write signed numbers where others do not: the low bits are the field.
    let mut word = |number: i64| out.extend_from_slice(&(number as u32).to_be_bytes());
    word(told.ssrc);
    if let Some(sender) = sender {
        word(sender.ntp_timestamp_sec);
        word(sender.ntp_timestamp_usec);
        word(sender.rtp_timestamp);
        word(sender.packets);
        word(sender.octets);
    }
    for block in blocks {
        word(block.source_ssrc);
        word((block.fraction_lost & 0xff) << 24 | block.packets_lost & 0x00ff_ffff);
        word(block.highest_seq_no);
        word(block.ia_jitter);
        word(block.lsr);
        word(block.dlsr);
    }
    Ok(())
}

const VERSION: u8 = 0b1000_0000;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SENDER_WORDS: usize = 5;
const BLOCK_WORDS: usize = 6;
/// The count has five bits.
const MAX_BLOCKS: usize = 31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::rtcp::{Compound, Packet, ReportBlock};

    /// The sender information and the blocks of the only packet.
    fn read(bytes: &[u8]) -> (u32, Option<[u32; 5]>, Vec<ReportBlock>) {
        let mut parts = Compound::new(bytes, 0);
        let Some(Ok(Packet::Report(report))) = parts.next() else { panic!("no report in {bytes:?}") };
        assert!(parts.next().is_none() && !report.truncated);
        let sender = report.sender.map(|sender| {
            [sender.ntp.seconds, sender.ntp.fraction, sender.rtp_timestamp, sender.packets, sender.octets]
        });
        (report.ssrc, sender, report.blocks.collect())
    }

    /// In rtpengine's own spacing and order.
    #[test]
    fn a_report_of_rtpengine_is_the_packet_it_was() {
        let json = br#"{ "sender_information":{"ntp_timestamp_sec":4004239793,"ntp_timestamp_usec":2421859043,"octets":80000,"rtp_timestamp":131785, "packets":500},"ssrc":2592997750,"type":200,"report_count":1,"report_blocks":[{"source_ssrc":2316018844,"highest_seq_no":16961,"fraction_lost":6,"ia_jitter":6,"packets_lost":13,"lsr":3651966089,"dlsr":325582}],"sdes_report_count":1,"sdes_information": [ {"sdes_chunk_ssrc":2592997750,"type":1,"text":"sip:u1001@192.0.2.20"}] }"#;
        let mut out = b"old".to_vec();
        unfold(json, &mut out).unwrap();
        let (ssrc, sender, blocks) = read(&out);
        assert_eq!(ssrc, 2_592_997_750);
        assert_eq!(sender, Some([4_004_239_793, 2_421_859_043, 131_785, 500, 80_000]));
        let block = ReportBlock {
            ssrc: 2_316_018_844,
            fraction_lost: 6,
            cumulative_lost: 13,
            highest_sequence: 16_961,
            jitter: 6,
            last_sr: 3_651_966_089,
            delay_since_last_sr: 325_582,
        };
        assert_eq!(blocks, [block]);
    }

    #[test]
    fn a_negative_loss_may_be_written_either_way() {
        for lost in ["-2", "16777214"] {
            let json = format!(
                r#"{{"ssrc":1,"sender_information":{{"ntp_timestamp_sec":0,"ntp_timestamp_usec":0,"packets":0}},
                "type":202,"report_blocks":[{{"source_ssrc":2,"packets_lost":{lost},"highest_seq_no":9}}]}}"#
            );
            let mut out = Vec::new();
            unfold(json.as_bytes(), &mut out).unwrap();
            let (_, sender, blocks) = read(&out);
            assert_eq!((sender, blocks.len(), blocks[0].cumulative_lost), (None, 1, -2));
        }
    }

    #[test]
    fn what_tells_of_no_report_is_none() {
        let mut out = b"old".to_vec();
        for json in [
            "{}",
            "{\"ssrc\":1}",
            "{\"ssrc\":1,\"report_blocks\":[]}",
            "{\"sdes_information\":[{\"type\":1}]}",
        ] {
            assert_eq!((unfold(json.as_bytes(), &mut out), out.len()), (Ok(()), 0), "{json}");
        }
        for json in [
            "",
            "{\"ssrc\":1,\"report_blocks\":[{\"source_ssrc\":2}]}",
            "{\"ssrc\":\"x\",\"report_blocks\":[]}",
            "[\"x\"]",
            "34",
        ] {
            assert_eq!(unfold(json.as_bytes(), &mut out), Err(NotRetold), "{json}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(unfold(deep.as_bytes(), &mut out), Err(NotRetold));
    }

    #[test]
    fn no_more_blocks_than_the_count_can_tell() {
        let block = r#"{"source_ssrc":2,"packets_lost":0,"highest_seq_no":9}"#;
        let json = format!("{{\"ssrc\":1,\"report_blocks\":[{}]}}", vec![block; 40].join(","));
        let mut out = Vec::new();
        unfold(json.as_bytes(), &mut out).unwrap();
        assert_eq!(read(&out).2.len(), 31);
    }

    proptest! {
        /// forall bytes: no harm.
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = unfold(&bytes, &mut Vec::new());
        }
    }
}
