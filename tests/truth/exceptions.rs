//! Where the truth tool errs, with the frames that prove it. Each entry must be needed, or the test fails.

/// A stream whose numbers in the truth file are wrong.
pub(crate) struct Exception {
    pub(crate) file: &'static str,
    pub(crate) ssrc: u32,
    /// Source port, which tells apart the streams of an SSRC.
    pub(crate) port: u16,
    /// The fields that differ, and no others.
    pub(crate) fields: &'static [&'static str],
    /// Frames that prove it, and how.
    pub(crate) proof: &'static str,
}

/// What tshark's heuristics took for RTP, and is none. Not counted as compared.
pub(crate) struct NoRtp {
    pub(crate) file: &'static str,
    /// The streams by SSRC; empty for all of the file.
    pub(crate) ssrcs: &'static [u32],
    pub(crate) proof: &'static str,
}

pub(crate) const EXCEPTIONS: &[Exception] = &[];
pub(crate) const NO_RTP: &[NoRtp] = &[];
