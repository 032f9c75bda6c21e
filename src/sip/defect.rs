//! What can be wrong with a message that was kept nevertheless. The names are metric labels and log keys.

use std::fmt;

/// One thing that was wrong with a SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// Bytes other than line ends and white space before the start line.
    LeadingJunk,
    /// Lines end in a bare CR or LF (RFC 3261 7: CRLF).
    LineEnd,
    /// Start line with superfluous white space (RFC 3261 7.1: single SP).
    StartLine,
    /// A version other than SIP/2.0.
    Version,
    /// Request-URI in angle brackets or with white space inside (RFC 3261 7.1).
    RequestUri,
    /// Status code outside 100 to 699.
    Status,
    /// Ends inside the header block: the last line has no line end, or the empty line is missing.
    Truncated,
    /// A line without colon or without name in the header block.
    HeaderLine,
    /// A header that may stand only once stands twice; the first one counts.
    Duplicate,
    /// No Call-ID, or an empty one.
    MissingCallId,
    /// No CSeq.
    MissingCseq,
    /// No From.
    MissingFrom,
    /// No To.
    MissingTo,
    /// No Via.
    MissingVia,
    /// CSeq is not a number below 2^32 and a method.
    Cseq,
    /// Method of CSeq differs from that of the request (RFC 3261 8.1.1.5).
    CseqMethod,
    /// From, To or Contact with an unbalanced quote or angle bracket, or without URI.
    Address,
    /// Via without protocol, transport or sent-by, or an empty one in a list.
    Via,
    /// A number that is none, or over 2^32 - 1 (Expires, Session-Expires, RSeq, `expires`).
    Number,
    /// Content-Length is not a number.
    ContentLength,
    /// Fewer bytes of body than Content-Length says.
    ShortBody,
    /// Bytes after the body that Content-Length delimits.
    Surplus,
}

impl Defect {
    /// Every defect, in declaration order.
    pub const ALL: [Self; 22] = [
        Self::LeadingJunk,
        Self::LineEnd,
        Self::StartLine,
        Self::Version,
        Self::RequestUri,
        Self::Status,
        Self::Truncated,
        Self::HeaderLine,
        Self::Duplicate,
        Self::MissingCallId,
        Self::MissingCseq,
        Self::MissingFrom,
        Self::MissingTo,
        Self::MissingVia,
        Self::Cseq,
        Self::CseqMethod,
        Self::Address,
        Self::Via,
        Self::Number,
        Self::ContentLength,
        Self::ShortBody,
        Self::Surplus,
    ];

    /// Label value and log key.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeadingJunk => "leading_junk",
            Self::LineEnd => "line_end",
            Self::StartLine => "start_line",
            Self::Version => "version",
            Self::RequestUri => "request_uri",
            Self::Status => "status",
            Self::Truncated => "truncated",
            Self::HeaderLine => "header_line",
            Self::Duplicate => "duplicate_header",
            Self::MissingCallId => "missing_call_id",
            Self::MissingCseq => "missing_cseq",
            Self::MissingFrom => "missing_from",
            Self::MissingTo => "missing_to",
            Self::MissingVia => "missing_via",
            Self::Cseq => "cseq",
            Self::CseqMethod => "cseq_method",
            Self::Address => "address",
            Self::Via => "via",
            Self::Number => "number",
            Self::ContentLength => "content_length",
            Self::ShortBody => "short_body",
            Self::Surplus => "surplus",
        }
    }
}

/// A set of [`Defect`]s, bit n is `Defect::ALL[n]`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Defects(pub u32);

impl Defects {
    /// No defect at all.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one.
    #[inline]
    pub fn insert(&mut self, defect: Defect) {
        self.0 |= 1 << defect as u32;
    }

    /// Whether `defect` is in the set.
    #[inline]
    pub fn contains(self, defect: Defect) -> bool {
        self.0 & 1 << defect as u32 != 0
    }

    /// Both sets together.
    #[inline]
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Defect> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let first = Defect::ALL.get(rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(*first)
        })
    }
}

impl FromIterator<Defect> for Defects {
    fn from_iter<I: IntoIterator<Item = Defect>>(defects: I) -> Self {
        let mut set = Self::default();
        defects.into_iter().for_each(|defect| set.insert(defect));
        set
    }
}

impl fmt::Debug for Defects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_and_the_names_differ() {
        for (place, defect) in Defect::ALL.into_iter().enumerate() {
            assert_eq!(defect as usize, place);
        }
        let names: std::collections::BTreeSet<_> = Defect::ALL.iter().map(|defect| defect.name()).collect();
        assert_eq!(names.len(), Defect::ALL.len());
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: Defects = [Defect::Surplus, Defect::Via].into_iter().collect();
        assert!(set.contains(Defect::Via) && !set.contains(Defect::Cseq));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Defect::Via, Defect::Surplus]);
        assert_eq!(set.union(Defects::default()), set);
        assert_eq!(format!("{set:?}"), "{Via, Surplus}");
    }
}
