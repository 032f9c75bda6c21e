//! Where the truth tool errs, with the frames that prove it. Each entry must be needed, or the test fails.

/// A stream of whose numbers some are wrong in the truth file.
pub(crate) struct StreamException {
    pub(crate) file: &'static str,
    pub(crate) ssrc: u32,
    /// Source port, which tells apart the streams of an SSRC.
    pub(crate) port: u16,
    /// The fields that differ, and no others.
    pub(crate) fields: &'static [&'static str],
    /// Frames, and what they prove.
    pub(crate) proof: &'static str,
}

/// Streams of telephone events and nothing else: their time stamps stand still (RFC 4733 2.3), so that there is
/// no interarrival jitter. Everything else of them is compared.
pub(crate) struct EventsOnly {
    pub(crate) file: &'static str,
    pub(crate) ssrcs: &'static [u32],
    pub(crate) proof: &'static str,
}

/// A row of a truth file that is no stream. Not counted as compared.
pub(crate) struct NoStream {
    pub(crate) file: &'static str,
    /// The rows by SSRC; empty for all of the file.
    pub(crate) ssrcs: &'static [u32],
    pub(crate) proof: &'static str,
}

/// A stream that the truth tool did not list.
pub(crate) struct Unlisted {
    pub(crate) file: &'static str,
    pub(crate) ssrc: u32,
    pub(crate) port: u16,
    pub(crate) packets: u64,
    pub(crate) proof: &'static str,
}

/// SIP messages that the truth tool counts and we do not: datagrams that were captured twice.
pub(crate) struct CapturedTwice {
    pub(crate) file: &'static str,
    /// The second of each pair.
    pub(crate) frames: &'static [u32],
    pub(crate) proof: &'static str,
}

/// SIP messages that the truth tool does not read.
pub(crate) struct Unread {
    pub(crate) file: &'static str,
    /// Frame, and method or status code.
    pub(crate) messages: &'static [(u32, &'static str)],
    pub(crate) proof: &'static str,
}

/// A call or registration of which the truth tool's messages tell another story.
pub(crate) struct CallException {
    pub(crate) file: &'static str,
    pub(crate) call_id: &'static str,
    pub(crate) proof: &'static str,
}

pub(crate) const STREAMS: &[StreamException] = &[
    StreamException {
        file: "public/calls/FAX-t38-megaco.pcap",
        ssrc: 0x0eaf_0eaf,
        port: 15_580,
        fields: &["packets", "expected", "lost", "jitter.max"],
        proof: "2010 of its packets, frames 3106 to 7205, were read as malformed T.38; each is RTP of payload \
                type 8 with this SSRC, and their sequence numbers, 1832 on, close the gap",
    },
    StreamException {
        file: "public/calls/FAX-t38-megaco.pcap",
        ssrc: 0x17d9_0134,
        port: 16_756,
        fields: &["jitter.max"],
        proof: "the sender sets its time stamp from 347200 (frame 3099) to 0 (frame 3149, the next in sequence) \
                at the re-INVITE: 43.7 s against 0.3 s on the wire is a new time base, no jitter",
    },
    StreamException {
        file: "public/other/skinny-rtp.pcap",
        ssrc: 0xf6bf_57dc,
        port: 32_144,
        fields: &["jitter.last", "jitter.max"],
        proof: "every packet was captured twice (frames 62 and 63, 67 and 68: equal IP identification); the \
                copies were counted into the jitter",
    },
    StreamException {
        file: "public/rtp/rtpproxy-srtp1.o.pcap",
        ssrc: 0x8557_bace,
        port: 21_594,
        fields: &["duplicates", "jitter.last", "jitter.max"],
        proof: "the five duplicates, frames 243 to 251, are quotations inside ICMP port unreachable; rtpproxy \
                itself counts 246 packets and no duplicate",
    },
    StreamException {
        file: "lab/4-tcp-ws.pcap",
        ssrc: 0xca11_0000,
        port: 31_052,
        fields: &["packets", "expected"],
        proof: "28 packets, frames 2 to 60 (sequence numbers 2414 to 2441), come before the first SDP (frame 61) \
                and were listed as plain UDP",
    },
];

pub(crate) const EVENTS_ONLY: &[EventsOnly] = &[
    EventsOnly {
        file: "public/rtp/rtpproxy-dtmf.pcap",
        ssrcs: &[0x37ed_87f3, 0xee69_3e61],
        proof: "all packets are events: frames 1 to 10 share a time stamp and key 1 with durations 160 to 960",
    },
    EventsOnly {
        file: "public/rtp/sipp-dtmf_2833_1.pcap",
        ssrcs: &[0x0e05_384e],
        proof: "frames 1 to 10 share time stamp 13280 and key 1 with durations 0 to 2240",
    },
    EventsOnly {
        file: "public/rtp/sipp-dtmf_2833_star.pcap",
        ssrcs: &[0x0e05_384e],
        proof: "frames 1 to 10 share one time stamp and key * with durations 0 to 2240",
    },
];

pub(crate) const NO_STREAMS: &[NoStream] = &[
    NoStream {
        file: "public/fuzz/fuzz-2006-06-26-2594.pcap",
        ssrcs: &[],
        proof: "frames 624 to 632 are nine packets of one stream with bit errors in addresses, SSRC or payload \
                type; the SDP they were tied to (frame 227) belongs to a call 16 minutes before, and its CSeq \
                does not name a method",
    },
    NoStream {
        file: "public/rtcp/ipv6_rtp.pcap",
        ssrcs: &[],
        proof: "frame 1 is all there is: without SDP one packet cannot be told from chance (MEAS 6.7 asks for 4)",
    },
    NoStream {
        file: "public/stun/google-meet.pcapng",
        ssrcs: &[0, 0xc362_591e],
        proof: "bandwidth probes, no media: frames 16 to 47, 168 to 171 and 225 to 350 have the padding bit and \
                time stamp 0 throughout",
    },
];

pub(crate) const UNLISTED: &[Unlisted] = &[
    Unlisted {
        file: "public/rtp/rtpproxy-DLT_NULL.a.pcap",
        ssrc: 0x9c49_ca0a,
        port: 12_004,
        packets: 249,
        proof: "frames 103 to 599 go on with the SSRC of port 12002, which alone was decoded as RTP; rtpproxy \
                counts 300 = 51 + 249 packets",
    },
    Unlisted {
        file: "lab/4-tcp-ws.pcap",
        ssrc: 0xca11_0000,
        port: 6016,
        packets: 1050,
        proof: "frames 1 to 7623 are the other side of port 31052, before the relay: the capture begins after \
                the SDP of that call",
    },
];

pub(crate) const CAPTURED_TWICE: &[CapturedTwice] = &[CapturedTwice {
    file: "public/calls/FAX-t38-megaco.pcap",
    frames: &[
        26, 29, 34, 51, 53, 167, 169, 173, 197, 2682, 2691, 3101, 3103, 3116, 3119, 3128, 3130, 3140, 3144,
        5455, 5469, 7199, 7209,
    ],
    proof: "the same IP identification, addresses and length as a frame at most 1.5 ms before",
}];

pub(crate) const UNREAD: &[Unread] = &[Unread {
    file: "public/fuzz/fuzz-2006-06-26-2594.pcap",
    messages: &[(108, "401"), (154, "REGISTER"), (346, "INVITE"), (348, "403"), (441, "REGISTER")],
    proof: "bit errors put a NUL into the start line, where tshark ends it",
}];

pub(crate) const CALLS: &[CallException] = &[
    CallException {
        file: "public/fuzz/fuzz-2006-06-26-2594.pcap",
        call_id: "11894297-4432a9f8@192.168.1.2",
        proof: "bit errors: the From-tag is b56e(e in the INVITE (frame 617) and b56e6e in the 480 (frame 621)",
    },
    CallException {
        file: "public/hep/hep.pcap",
        call_id: "qgf3dm9rudi@127.0.0.1",
        proof: "the decoder cut the INVITE (frame 1) inside its Call-ID",
    },
    CallException {
        file: "public/sip/sip-ipv6-udp.pcap",
        call_id: "c3eF6f58-363323Cd-8058EB88-10300252@fe80:0:0:0:21a:a0ff:fe07:32e0",
        proof: "by its time stamps the 200 (frame 3) came 2331 days after the INVITE (frame 1): after time-out",
    },
];
