//! Voice quality reports of endpoints: `application/vq-rtcpxr` (RFC 6035; MEAS 2.6).
//!
//! ```text
//! VQSessionReport: CallTerm
//! CallID: 12345@192.0.2.1
//! LocalAddr: IP=192.0.2.1 PORT=5000 SSRC=0x1a3b5c7d
//! LocalMetrics:
//! PacketLoss: NLR=5.0 JDR=2.0
//! QualityEst: RLQ=90 MOSLQ=4.1 MOSCQ=4.0
//! RemoteMetrics:
//! ...
//! ```
//!
//! Lenient: keys in any case, with or without space behind the colon, lines folded or not, parameters on whichever
//! line of their group. A value that cannot be read, or says "not measured", is `None`.

use crate::Stamp;
use crate::event;

/// One report body. Every slice points into it; empty = absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoiceQuality<'a> {
    /// What made the endpoint report.
    pub kind: Kind<'a>,
    /// Call-ID of the call.
    pub call_id: &'a [u8],
    /// Who reports.
    pub local_id: &'a [u8],
    /// The other end.
    pub remote_id: &'a [u8],
    /// Who began the call.
    pub orig_id: &'a [u8],
    /// Where the measured stream was received.
    pub local: Party<'a>,
    /// Where it came from.
    pub remote: Party<'a>,
    /// `call-id;to-tag=..;from-tag=..`.
    pub dialog_id: &'a [u8],
    /// What the reporter measured of the stream it received.
    pub local_metrics: Metrics<'a>,
    /// What the other end told it (by RTCP XR).
    pub remote_metrics: Option<Metrics<'a>>,
}

/// Kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// At the end of a session, or of a part of it.
    Session {
        /// It is the last one: `CallTerm`.
        call_term: bool,
    },
    /// Periodic.
    Interval,
    /// A threshold was crossed.
    Alert {
        /// Which figure.
        metric: &'a [u8],
        /// `Warning`, `Critical` or `Clear`.
        severity: &'a [u8],
    },
}

/// One end of the measured stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 6035 4.6 defines them")]
pub struct Party<'a> {
    pub ip: &'a [u8],
    pub port: Option<u16>,
    pub ssrc: Option<u32>,
    pub group: &'a [u8],
    pub mac: &'a [u8],
}

/// One group of metrics; fields have the parameter names of RFC 6035 4.6 in their docs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metrics<'a> {
    /// START, as written (RFC 3339).
    pub start: &'a [u8],
    /// STOP, as written.
    pub stop: &'a [u8],
    /// PT.
    pub payload_type: Option<u8>,
    /// PD.
    pub payload_name: &'a [u8],
    /// SR, Hz.
    pub sample_rate: Option<f64>,
    /// FD, frame duration in ms.
    pub frame_ms: Option<f64>,
    /// FO, octets a frame.
    pub frame_octets: Option<f64>,
    /// FPP, frames a packet.
    pub frames_per_packet: Option<f64>,
    /// PPS, packets a second.
    pub packets_per_second: Option<f64>,
    /// FMTP without quotes.
    pub fmtp: &'a [u8],
    /// PLC: 3 standard, 2 enhanced, 1 disabled, 0 unspecified.
    pub plc: Option<u8>,
    /// SSUP: silence suppression.
    pub silence_suppression: Option<bool>,
    /// JBA: 3 adaptive, 2 fixed, 0 unknown.
    pub buffer_adaptive: Option<u8>,
    /// JBR, 0 to 15.
    pub buffer_rate: Option<u8>,
    /// JBN, ms.
    pub buffer_nominal_ms: Option<f64>,
    /// JBM, ms.
    pub buffer_maximum_ms: Option<f64>,
    /// JBX, ms.
    pub buffer_absolute_ms: Option<f64>,
    /// NLR, percent lost in the network.
    pub loss_percent: Option<f64>,
    /// JDR, percent thrown away by the de-jitter buffer.
    pub discard_percent: Option<f64>,
    /// BLD, percent lost or discarded within bursts.
    pub burst_loss_percent: Option<f64>,
    /// BD, ms.
    pub burst_ms: Option<f64>,
    /// GLD, percent lost or discarded within gaps.
    pub gap_loss_percent: Option<f64>,
    /// GD, ms.
    pub gap_ms: Option<f64>,
    /// GMIN.
    pub gmin: Option<u8>,
    /// RTD, ms; 0 on the wire = not measured.
    pub round_trip_ms: Option<f64>,
    /// ESD, ms.
    pub end_system_ms: Option<f64>,
    /// OWD, ms.
    pub one_way_ms: Option<f64>,
    /// SOWD, ms.
    pub symmetric_one_way_ms: Option<f64>,
    /// IAJ, ms.
    pub jitter_ms: Option<f64>,
    /// MAJ, ms.
    pub mean_absolute_jitter_ms: Option<f64>,
    /// SL, dBm.
    pub signal_dbm: Option<f64>,
    /// NL, dBm.
    pub noise_dbm: Option<f64>,
    /// RERL, dB.
    pub rerl_db: Option<f64>,
    /// RLQ, 0 to 120.
    pub r_lq: Option<f64>,
    /// RCQ, 0 to 120.
    pub r_cq: Option<f64>,
    /// EXTRI, 0 to 120.
    pub external_r_in: Option<f64>,
    /// EXTRO, 0 to 120.
    pub external_r_out: Option<f64>,
    /// MOSLQ, 1 to 5; 0 on the wire = not measured.
    pub mos_lq: Option<f64>,
    /// MOSCQ, 1 to 5.
    pub mos_cq: Option<f64>,
    /// The algorithm of the scores: QoEEstAlg, else that of MOSLQ.
    pub algorithm: &'a [u8],
}

impl<'a> VoiceQuality<'a> {
    /// Reads a body; `None` when its first line is not that of a report.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let mut lines = body.split(|&byte| byte == b'\n').skip_while(|line| line.trim_ascii().is_empty());
        let mut report = Self {
            kind: Kind::read(lines.next()?)?,
            call_id: b"",
            local_id: b"",
            remote_id: b"",
            orig_id: b"",
            local: Party::default(),
            remote: Party::default(),
            dialog_id: b"",
            local_metrics: Metrics::default(),
            remote_metrics: None,
        };
        for line in lines {
            report.line(line);
        }
        Some(report)
    }

    /// What is the same in all copies of one report, however often and by whichever way it is published:
    /// Call-ID, reporter, end of the measurement.
    pub fn key(&self) -> (&'a [u8], &'a [u8], &'a [u8]) {
        (self.call_id, self.local_id, self.local_metrics.stop)
    }

    /// The reporter's own measurement as a fact. Its stream is the one that came from the remote address.
    pub fn report(&self, stamp: Stamp) -> event::Report {
        self.group_report(stamp, &self.local_metrics, self.remote.ssrc)
    }

    /// What the reporter repeats of the other end's measurement.
    pub fn remote_report(&self, stamp: Stamp) -> Option<event::Report> {
        self.remote_metrics.as_ref().map(|metrics| self.group_report(stamp, metrics, self.local.ssrc))
    }

    fn group_report(&self, stamp: Stamp, metrics: &Metrics<'_>, ssrc: Option<u32>) -> event::Report {
        let ratio = |percent: Option<f64>| percent.map(|percent| percent / 100.0);
        event::Report {
            kind: event::ReportKind::VqRtcpxr,
            stamp,
            call_id: (!self.call_id.is_empty()).then(|| String::from_utf8_lossy(self.call_id).into_owned()),
            ssrc: ssrc.map(|ssrc| format!("{ssrc:#010x}")),
            mos_lq: metrics.mos_lq,
            mos_cq: metrics.mos_cq,
            loss_ratio: ratio(metrics.loss_percent),
            discard_ratio: ratio(metrics.discard_percent),
            rtt: metrics.round_trip_ms.map(|ms| ms / 1e3),
        }
    }

    fn line(&mut self, line: &'a [u8]) {
        // Without a key of its own, a line goes on with the parameters of the one before. The key of a parameter
        // line is of no further use: the names are distinct in the whole group.
        let line = line.trim_ascii();
        let keyed = line.iter().find(|byte| matches!(byte, b':' | b'=')) == Some(&b':');
        let (key, parameters) = split_at(line, b':').filter(|_| keyed).unwrap_or((b"", line));
        if self.heading(key, parameters) {
            return;
        }
        let group = self.remote_metrics.as_mut().unwrap_or(&mut self.local_metrics);
        for (name, value) in Parameters(parameters) {
            group.parameter(name, value);
        }
    }

    /// Takes a line that is not part of the metrics; false when it is.
    fn heading(&mut self, key: &[u8], value: &'a [u8]) -> bool {
        let place = match lower(key).as_slice() {
            b"callid" => &mut self.call_id,
            b"localid" => &mut self.local_id,
            b"remoteid" => &mut self.remote_id,
            b"origid" => &mut self.orig_id,
            b"dialogid" => &mut self.dialog_id,
            b"localgroup" => &mut self.local.group,
            b"remotegroup" => &mut self.remote.group,
            b"localmac" => &mut self.local.mac,
            b"remotemac" => &mut self.remote.mac,
            b"localaddr" => {
                self.local.address(value);
                return true;
            }
            b"remoteaddr" => {
                self.remote.address(value);
                return true;
            }
            b"localmetrics" => return true,
            b"remotemetrics" => {
                self.remote_metrics = Some(Metrics::default());
                return true;
            }
            _ => return false,
        };
        *place = value;
        true
    }
}

impl<'a> Kind<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let (key, value) = split_at(line, b':').unwrap_or((line, b""));
        match lower(key).as_slice() {
            b"vqsessionreport" => Some(Self::Session { call_term: value.eq_ignore_ascii_case(b"callterm") }),
            b"vqintervalreport" => Some(Self::Interval),
            b"vqalertreport" => {
                let find = |wanted: &[u8]| {
                    Parameters(value)
                        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                        .map(|(_, value)| value)
                        .unwrap_or_default()
                };
                Some(Self::Alert { metric: find(b"type"), severity: find(b"severity") })
            }
            _ => None,
        }
    }
}

impl<'a> Party<'a> {
    fn address(&mut self, value: &'a [u8]) {
        for (name, value) in Parameters(value) {
            match lower(name).as_slice() {
                b"ip" => self.ip = value,
                b"port" => self.port = number(value).and_then(whole),
                b"ssrc" => self.ssrc = ssrc(value),
                _ => {}
            }
        }
    }
}

impl<'a> Metrics<'a> {
    fn parameter(&mut self, name: &[u8], value: &'a [u8]) {
        let real = || number(value);
        let at_least_zero = || number(value).filter(|&value| value >= 0.0);
        let small = || number(value).and_then(whole);
        // 127 is "unavailable" wherever RFC 3611 has a byte for it.
        let byte_sized = || real().filter(|&value| value < 127.0);
        let rating = || byte_sized().filter(|value| (0.0..=120.0).contains(value));
        let percent = || real().filter(|value| (0.0..=100.0).contains(value));
        let score = || real().filter(|value| (1.0..=5.0).contains(value));
        match lower(name).as_slice() {
            b"start" => self.start = value,
            b"stop" => self.stop = value,
            b"pt" => self.payload_type = small(),
            b"pd" => self.payload_name = value,
            b"sr" => self.sample_rate = at_least_zero(),
            b"fd" => self.frame_ms = at_least_zero(),
            b"fo" => self.frame_octets = at_least_zero(),
            b"fpp" => self.frames_per_packet = at_least_zero(),
            b"pps" => self.packets_per_second = at_least_zero(),
            b"fmtp" => self.fmtp = value,
            b"plc" => self.plc = small(),
            b"ssup" => {
                self.silence_suppression = match lower(value).as_slice() {
                    b"on" => Some(true),
                    b"off" => Some(false),
                    _ => None,
                };
            }
            b"jba" => self.buffer_adaptive = small(),
            b"jbr" => self.buffer_rate = small(),
            b"jbn" => self.buffer_nominal_ms = at_least_zero(),
            b"jbm" => self.buffer_maximum_ms = at_least_zero(),
            b"jbx" => self.buffer_absolute_ms = at_least_zero(),
            b"nlr" => self.loss_percent = percent(),
            b"jdr" => self.discard_percent = percent(),
            b"bld" => self.burst_loss_percent = percent(),
            b"bd" => self.burst_ms = at_least_zero(),
            b"gld" => self.gap_loss_percent = percent(),
            b"gd" => self.gap_ms = at_least_zero(),
            b"gmin" => self.gmin = small(),
            b"rtd" => self.round_trip_ms = real().filter(|&value| value > 0.0),
            b"esd" => self.end_system_ms = at_least_zero(),
            b"owd" => self.one_way_ms = at_least_zero(),
            b"sowd" => self.symmetric_one_way_ms = at_least_zero(),
            b"iaj" => self.jitter_ms = at_least_zero(),
            b"maj" => self.mean_absolute_jitter_ms = at_least_zero(),
            b"sl" => self.signal_dbm = byte_sized(),
            b"nl" => self.noise_dbm = byte_sized(),
            b"rerl" => self.rerl_db = byte_sized(),
            b"rlq" => self.r_lq = rating(),
            b"rcq" => self.r_cq = rating(),
            b"extri" => self.external_r_in = rating(),
            b"extro" => self.external_r_out = rating(),
            b"moslq" => self.mos_lq = score(),
            b"moscq" => self.mos_cq = score(),
            b"qoeestalg" => self.algorithm = value,
            b"moslqestalg" if self.algorithm.is_empty() => self.algorithm = value,
            _ => {}
        }
    }
}

/// `NAME=value` words; a value in quotes may hold spaces. Words without `=` are passed over.
struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = self.0.trim_ascii_start();
            if text.is_empty() {
                return None;
            }
            let mut quoted = false;
            let end = text.iter().position(|&byte| {
                quoted ^= byte == b'"';
                !quoted && byte.is_ascii_whitespace()
            });
            let (word, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
            self.0 = rest;
            if let Some((name, value)) = split_at(word, b'=') {
                return Some((name, value.trim_ascii_start().strip_prefix(b"\"").map_or(value, unquoted)));
            }
        }
    }
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\"").unwrap_or(text)
}

/// Both sides of the first separator, without the white space around it.
fn split_at(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, text)?;
    let (key, value) = text.split_at_checked(at)?;
    Some((key.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii()))
}

/// A key in lower case; longer ones than any that is known come back empty.
fn lower(key: &[u8]) -> Key {
    let mut key_lower = Key { bytes: [0; 16], len: 0 };
    if key.len() <= key_lower.bytes.len() {
        for (to, from) in key_lower.bytes.iter_mut().zip(key) {
            *to = from.to_ascii_lowercase();
        }
        key_lower.len = key.len();
    }
    key_lower
}

struct Key {
    bytes: [u8; 16],
    len: usize,
}

impl Key {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A decimal number; never infinity or NaN, which Rust would read as well.
fn number(value: &[u8]) -> Option<f64> {
    let plain = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+');
    if !value.iter().all(plain) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

fn whole<T: TryFrom<u32>>(value: f64) -> Option<T> {
    let fits = value >= 0.0 && value <= f64::from(u32::MAX) && value.fract() == 0.0;
    fits.then_some(value as u32).and_then(|value| value.try_into().ok())
}

/// Hexadecimal, with or without `0x`, as both are in use.
fn ssrc(value: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const SESSION: &[u8] = b"VQSessionReport: CallTerm\r\n\
        CallID: 6dg37f1890463\r\n\
        LocalID: Alice <sip:alice@example.org>\r\n\
        RemoteID: Bill <sip:bill@example.net>\r\n\
        OrigID: Alice <sip:alice@example.org>\r\n\
        LocalGroup: phone-55671\r\n\
        LocalAddr: IP=192.0.2.100 PORT=5000 SSRC=1a3b5c7d\r\n\
        RemoteAddr:IP=2001:db8::7 PORT=5002 SSRC=0x2468abcd\r\n\
        LocalMetrics:\r\n\
        Timestamps:START=2004-10-10T18:23:43Z STOP=2004-10-10T18:26:02Z\r\n\
        SessionDesc:PT=18 PD=G729 SR=8000 FD=20 FO=20 FPP=2 PPS=50 FMTP=\"annexb=no; x=1\" PLC=3 SSUP=on\r\n\
        JitterBuffer:JBA=3 JBR=2 JBN=40 JBM=80 JBX=120\r\n\
        PacketLoss:NLR=5.0 JDR=2.0\r\n\
        BurstGapLoss:BLD=0.7 BD=60 GLD=0.0 GD=30000 GMIN=16\r\n\
        Delay:RTD=200 ESD=140 SOWD=200 IAJ=2 MAJ=10\r\n\
        Signal:SL=-18 NL=-50 RERL=127\r\n\
        QualityEst:RLQ=90 RCQ=92 EXTRI=127 MOSLQ=3.8 MOSCQ=3.7 QoEEstAlg=P.564\r\n\
        RemoteMetrics:\r\n\
        Timestamps:START=2004-10-10T18:23:43Z STOP=2004-10-10T18:26:03Z\r\n\
        PacketLoss:NLR=1.0 JDR=0.5\r\n\
        Delay:RTD=0\r\n\
        QualityEst:RLQ=127 MOSLQ=0 MOSCQ=4.3\r\n\
        DialogID:38419823470834;to-tag=8472761;from-tag=9123dh311\r\n";

    fn close(got: Option<f64>, expected: f64) -> bool {
        got.is_some_and(|got| (got - expected).abs() < 1e-12)
    }

    #[test]
    fn reads_a_session_report() {
        let report = VoiceQuality::read(SESSION).unwrap();
        assert_eq!(report.kind, Kind::Session { call_term: true });
        assert_eq!(report.call_id, b"6dg37f1890463");
        assert_eq!(report.local_id, b"Alice <sip:alice@example.org>");
        assert_eq!((report.local.port, report.local.ssrc), (Some(5000), Some(0x1a3b_5c7d)));
        assert_eq!((report.remote.ip, report.remote.ssrc), (&b"2001:db8::7"[..], Some(0x2468_abcd)));
        assert_eq!(report.local.group, b"phone-55671");
        assert_eq!(report.dialog_id, b"38419823470834;to-tag=8472761;from-tag=9123dh311");
        let metrics = &report.local_metrics;
        assert_eq!((metrics.payload_type, metrics.payload_name), (Some(18), &b"G729"[..]));
        assert_eq!(metrics.fmtp, b"annexb=no; x=1");
        assert_eq!((metrics.plc, metrics.silence_suppression), (Some(3), Some(true)));
        assert_eq!(
            (metrics.buffer_adaptive, metrics.buffer_rate, metrics.gmin),
            (Some(3), Some(2), Some(16))
        );
        assert!(close(metrics.burst_loss_percent, 0.7) && close(metrics.gap_loss_percent, 0.0));
        assert!(close(metrics.signal_dbm, -18.0) && close(metrics.buffer_absolute_ms, 120.0));
        assert_eq!((metrics.rerl_db, metrics.external_r_in), (None, None));
        assert_eq!(metrics.algorithm, b"P.564");
    }

    #[test]
    fn the_groups_are_kept_apart() {
        let report = VoiceQuality::read(SESSION).unwrap();
        let remote = report.remote_metrics.unwrap();
        assert!(close(report.local_metrics.loss_percent, 5.0) && close(remote.loss_percent, 1.0));
        assert_eq!((remote.mos_lq, remote.r_lq, remote.round_trip_ms), (None, None, None));
        assert_eq!(remote.plc, None);
    }

    #[test]
    fn becomes_a_fact_of_the_stream_that_was_received() {
        let report = VoiceQuality::read(SESSION).unwrap();
        let fact = report.report(Stamp(7));
        assert_eq!(fact.kind, event::ReportKind::VqRtcpxr);
        assert_eq!(
            (fact.call_id.as_deref(), fact.ssrc.as_deref()),
            (Some("6dg37f1890463"), Some("0x2468abcd"))
        );
        assert!(close(fact.mos_lq, 3.8) && close(fact.mos_cq, 3.7) && close(fact.rtt, 0.2));
        assert!(close(fact.loss_ratio, 0.05) && close(fact.discard_ratio, 0.02));
        let remote = report.remote_report(Stamp(7)).unwrap();
        assert_eq!((remote.ssrc.as_deref(), remote.mos_lq), (Some("0x1a3b5c7d"), None));
    }

    #[test]
    fn copies_have_the_same_key() {
        let bare = SESSION.strip_suffix(b"\r\n").unwrap();
        let key = VoiceQuality::read(bare).unwrap().key();
        assert_eq!(key, VoiceQuality::read(SESSION).unwrap().key());
        assert_eq!(key.2, b"2004-10-10T18:26:02Z");
    }

    #[test]
    fn keys_in_any_case_with_folds_and_spaces() {
        let body = b"\nvqsessionreport\ncallid:x\nLOCALMETRICS:\nqualityest : moslq=4.0\n\tMOSCQ=3.9 RLQ=\n DELAY:RTD=80";
        let report = VoiceQuality::read(body).unwrap();
        assert_eq!(report.kind, Kind::Session { call_term: false });
        assert_eq!(report.call_id, b"x");
        assert!(close(report.local_metrics.mos_lq, 4.0) && close(report.local_metrics.mos_cq, 3.9));
        assert_eq!(report.local_metrics.r_lq, None);
    }

    #[test]
    fn alerts_name_their_cause() {
        let report = VoiceQuality::read(b"VQAlertReport: Type=RLQ Severity=Critical Dir=local\r\n").unwrap();
        assert_eq!(report.kind, Kind::Alert { metric: b"RLQ", severity: b"Critical" });
        assert_eq!(VoiceQuality::read(b"VQIntervalReport\r\n").unwrap().kind, Kind::Interval);
        assert_eq!(VoiceQuality::read(b"v=0\r\n"), None);
        assert_eq!(VoiceQuality::read(b""), None);
    }

    #[test]
    fn numbers_that_are_none_are_absent() {
        for value in ["", "inf", "NaN", "1e3", "-", "4,1", "127", "0", "5.1"] {
            let body = format!("VQSessionReport\nLocalMetrics:\nQualityEst:MOSLQ={value}\n");
            assert_eq!(VoiceQuality::read(body.as_bytes()).unwrap().local_metrics.mos_lq, None, "{value}");
        }
    }

    proptest! {
        /// For all bodies: no panic, and every score lies in its range.
        #[test]
        fn any_body_is_read(body in "(VQSessionReport|VQAlertReport:)?[A-Za-z0-9:=\". \\r\\n]{0,300}") {
            if let Some(report) = VoiceQuality::read(body.as_bytes()) {
                let in_range = |mos: Option<f64>| mos.is_none_or(|mos| (1.0..=5.0).contains(&mos));
                prop_assert!(in_range(report.local_metrics.mos_lq) && in_range(report.local_metrics.mos_cq));
            }
        }

        /// For every prefix of a report: no panic, and what was read of it is not changed by the rest.
        #[test]
        fn prefixes_are_read(cut in 25..SESSION.len()) {
            let report = VoiceQuality::read(&SESSION[..cut]).unwrap();
            prop_assert_eq!(report.kind, Kind::Session { call_term: true });
            if cut > 48 {
                prop_assert_eq!(report.call_id, &b"6dg37f1890463"[..]);
            }
        }

        /// For all bytes: no panic.
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let body = [&b"VQIntervalReport\n"[..], &bytes].concat();
            prop_assert!(VoiceQuality::read(&body).is_some());
        }
    }
}
