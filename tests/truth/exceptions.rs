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

pub(crate) const STREAMS: &[StreamException] = &[];
pub(crate) const NO_STREAMS: &[NoStream] = &[];
pub(crate) const UNLISTED: &[Unlisted] = &[];
pub(crate) const CAPTURED_TWICE: &[CapturedTwice] = &[CapturedTwice {
    file: "public/calls/FAX-t38-megaco.pcap",
    frames: &[
        26, 29, 34, 51, 53, 167, 169, 173, 197, 2682, 2691, 3101, 3103, 3116, 3119, 3128, 3130, 3140, 3144, 5455,
        5469, 7199, 7209,
    ],
    proof: "the same IP identification, addresses and bytes as the frame before, 1.5 ms apart at most",
}];
pub(crate) const UNREAD: &[Unread] = &[Unread {
    file: "public/fuzz/fuzz-2006-06-26-2594.pcap",
    messages: &[(108, "401"), (154, "REGISTER"), (346, "INVITE"), (348, "403"), (441, "REGISTER")],
    proof: "bit errors put a NUL into the start line, and tshark ends it there",
}];
pub(crate) const CALLS: &[CallException] = &[];
