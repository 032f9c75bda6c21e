//! RTCP about the streams: reports, round trips, goodbyes (MEAS 2).

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::flow::Flow;
use super::media::{Ending, Media};
use crate::Stamp;
use crate::event::{Report, ReportKind, Via};
use crate::rtp::report::Observed;
use crate::rtp::rtcp::{self, Compound, ReportBlock};
use crate::rtp::xr::{Block, VoipMetrics};
use crate::wire::{Endpoint, Packet};

impl Media {
    /// One RTCP datagram. What can be read of it counts, whatever its end looks like (MEAS 2.2).
    pub(crate) fn rtcp(&mut self, at: Stamp, packet: &Packet<'_>, via: Via) {
        let (from, to) = (packet.source, packet.destination);
        for part in Compound::new(packet.payload, packet.cut) {
            let Ok(part) = part else { break };
            match part {
                rtcp::Packet::Report(report) => self.report(at, from, to, &report, via),
                rtcp::Packet::Goodbye(goodbye) => {
                    for ssrc in goodbye.sources() {
                        if let Some(slot) =
                            self.stream_between(from, to, ssrc).and_then(|index| self.slot(index))
                        {
                            slot.ending.get_or_insert(Ending::Bye);
                        }
                    }
                }
                rtcp::Packet::Extended { ssrc, blocks } => {
                    for block in blocks {
                        self.extended(at, from, to, ssrc, &block);
                    }
                }
                rtcp::Packet::Encrypted { ssrc, .. } => {
                    self.name(from, to, ssrc);
                    break;
                }
                _ => {}
            }
        }
    }

    fn report(&mut self, at: Stamp, from: Endpoint, to: Endpoint, report: &rtcp::Report<'_>, via: Via) {
        if let Some(sender) = report.sender {
            self.round_trips.told(at, from, to, report.ssrc, sender.ntp);
            match self.stream_between(from, to, report.ssrc) {
                Some(index) => {
                    if let Some(slot) = self.slot(index) {
                        let unique = slot.stream.packets();
                        slot.reported.get_or_insert_default().sent(at, sender.packets, unique);
                    }
                }
                None => self.name(from, to, report.ssrc),
            }
        }
        let sending = self.stream_between(from, to, report.ssrc);
        for block in report.blocks.clone() {
            let half =
                self.round_trips.answered(at, from, to, block.ssrc, block.last_sr, block.delay_since_last_sr);
            if let (Some(half), Some(slot)) = (half, sending.and_then(|index| self.slot(index))) {
                slot.reported.get_or_insert_default().round_trip_sender(half);
            }
            let Some(slot) = self.stream_between(to, from, block.ssrc).and_then(|index| self.slot(index))
            else {
                // Beside a relay whose media pass elsewhere, this is all that is heard of them.
                if via == Via::Hep {
                    self.reports.push((self.call_of_rtcp(from, to), rtcp_report(at, &block)));
                }
                continue;
            };
            let observed = Observed {
                highest: slot.stream.highest() as u16,
                expected: slot.stream.expected(),
                lost: slot.stream.expected().saturating_sub(slot.stream.packets()),
            };
            let reported = slot.reported.get_or_insert_default();
            reported.block(at, report.ssrc, block, observed);
            if let Some(half) = half {
                reported.round_trip_receiver(half);
            }
        }
    }

    fn extended(&mut self, at: Stamp, from: Endpoint, to: Endpoint, reporter: u32, block: &Block<'_>) {
        match block {
            Block::ReceiverReferenceTime(ntp) => self.round_trips.told(at, from, to, reporter, *ntp),
            Block::Dlrr(answers) => {
                for answer in answers.clone() {
                    // The half between the tap and the sender, who answers a receiver's clock (MEAS 2.4).
                    let half = self.round_trips.answered(
                        at,
                        from,
                        to,
                        answer.ssrc,
                        answer.last_rr,
                        answer.delay_since_last_rr,
                    );
                    let sending = self.stream_between(from, to, reporter);
                    if let (Some(half), Some(slot)) = (half, sending.and_then(|index| self.slot(index))) {
                        slot.reported.get_or_insert_default().round_trip_sender(half);
                    }
                }
            }
            Block::Voip(metrics) => {
                let subject = self.stream_between(to, from, metrics.ssrc);
                if let Some(slot) = subject.and_then(|index| self.slot(index)) {
                    slot.reported.get_or_insert_default().voip(*metrics);
                }
                let call = subject.and_then(|index| self.slot(index)).and_then(|slot| slot.call);
                self.reports.push((call, xr_report(at, metrics)));
            }
            _ => {}
        }
    }

    /// The stream of an SSRC that flows between the hosts of two RTCP endpoints: on their ports, or on those
    /// one below (RFC 3550 11, RFC 5761).
    fn stream_between(&self, from: Endpoint, to: Endpoint, ssrc: u32) -> Option<u32> {
        let below = |endpoint: Endpoint| Endpoint { port: endpoint.port.wrapping_sub(1), ..endpoint };
        let ports = [(below(from), below(to)), (from, to), (below(from), to), (from, below(to))];
        let found = ports
            .into_iter()
            .find_map(|(source, destination)| self.find(&Flow::new(source, destination, ssrc)));
        // Ports that SDP moved elsewhere (RFC 3605): the newest stream of that SSRC between the same hosts.
        found.or_else(|| self.newest(ssrc).filter(|&index| self.flows_between(index, from, to)))
    }

    /// RTCP named a stream before its first packet: it needs no probation (MEAS 1.4).
    fn name(&mut self, from: Endpoint, to: Endpoint, ssrc: u32) {
        let below = |endpoint: Endpoint| Endpoint { port: endpoint.port.wrapping_sub(1), ..endpoint };
        let (source, destination) =
            if from.port % 2 == 1 && to.port % 2 == 1 { (below(from), below(to)) } else { (from, to) };
        self.named.insert(Flow::new(source, destination, ssrc));
    }
}

/// Streams that RTCP spoke of before a packet of theirs was seen; the oldest give way.
#[derive(Default)]
pub(crate) struct Named {
    flows: HashSet<Flow, RandomState>,
    order: VecDeque<Flow>,
}

impl Named {
    pub(crate) fn contains(&self, flow: &Flow) -> bool {
        self.flows.contains(flow)
    }

    fn insert(&mut self, flow: Flow) {
        if !self.flows.insert(flow.clone()) {
            return;
        }
        self.order.push_back(flow);
        if self.order.len() > MAX_NAMED
            && let Some(oldest) = self.order.pop_front()
        {
            self.flows.remove(&oldest);
        }
    }
}

const MAX_NAMED: usize = 4096;

fn rtcp_report(stamp: Stamp, block: &ReportBlock) -> Report {
    Report {
        kind: ReportKind::Rtcp,
        stamp,
        call_id: None,
        ssrc: Some(format!("0x{:08x}", block.ssrc)),
        mos_lq: None,
        mos_cq: None,
        loss_ratio: Some(f64::from(block.fraction_lost) / 256.0),
        discard_ratio: None,
        rtt: None,
    }
}

fn xr_report(stamp: Stamp, metrics: &VoipMetrics) -> Report {
    Report {
        kind: ReportKind::RtcpXr,
        stamp,
        call_id: None,
        ssrc: Some(format!("0x{:08x}", metrics.ssrc)),
        mos_lq: metrics.mos_lq(),
        mos_cq: metrics.mos_cq(),
        loss_ratio: Some(metrics.loss_ratio()),
        discard_ratio: Some(metrics.discard_ratio()),
        rtt: metrics.round_trip(),
    }
}
