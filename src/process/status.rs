//! `/proc/PID/status`: memory by kind, user, context switches; for which nobody needs a right.
//!
//! ```text
//! Uid:    104     104     104     104
//! RssAnon:             112 kB
//! voluntary_ctxt_switches:        12
//! ```

use super::lines;

/// What is taken of it, bytes. A line that the kernel does not have is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// User under whose rights it acts.
    pub user: Option<u32>,
    /// All that is resident.
    pub resident: Option<u64>,
    /// Of it, anonymous memory: heap, stacks, what was written to of private mappings.
    pub anonymous: Option<u64>,
    /// Of it, pages of files: programs, libraries.
    pub file: Option<u64>,
    /// Of it, shared memory: System V, POSIX, anonymous mappings that are shared.
    pub shared: Option<u64>,
    /// Anonymous memory that is swapped out.
    pub swap: Option<u64>,
    /// Times it waited for something; of this one thread.
    pub voluntary_switches: Option<u64>,
    /// Times it had to give way; of this one thread.
    pub involuntary_switches: Option<u64>,
}

impl Status {
    /// Takes what is there.
    pub fn parse(text: &[u8]) -> Self {
        let mut status = Self::default();
        for (key, value) in lines::keyed(text) {
            match key {
                // Real, effective, saved, of files.
                b"Uid" => {
                    let effective = lines::words(value).nth(1).and_then(lines::number);
                    status.user = effective.and_then(|user| u32::try_from(user).ok());
                }
                b"VmRSS" => status.resident = lines::kilobytes(value),
                b"RssAnon" => status.anonymous = lines::kilobytes(value),
                b"RssFile" => status.file = lines::kilobytes(value),
                b"RssShmem" => status.shared = lines::kilobytes(value),
                b"VmSwap" => status.swap = lines::kilobytes(value),
                b"voluntary_ctxt_switches" => status.voluntary_switches = lines::number(value),
                b"nonvoluntary_ctxt_switches" => status.involuntary_switches = lines::number(value),
                _ => {}
            }
        }
        status
    }

    /// Voluntary and involuntary ones.
    pub fn switches(&self) -> Option<[u64; 2]> {
        Some([self.voluntary_switches?, self.involuntary_switches?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_linux_6_18_tells_is_taken() {
        let text = b"Name:\tkamailio\nState:\tS (sleeping)\nPid:\t18372\nUid:\t0\t104\t104\t104\nVmPeak:\t    3060 kB\n\
            VmRSS:\t    1632 kB\nRssAnon:\t     112 kB\nRssFile:\t    1516 kB\nRssShmem:\t       4 kB\nVmSwap:\t       8 kB\n\
            Threads:\t1\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        let status = Status::parse(text);
        let expected = Status {
            user: Some(104),
            resident: Some(1632 << 10),
            anonymous: Some(112 << 10),
            file: Some(1516 << 10),
            shared: Some(4 << 10),
            swap: Some(8 << 10),
            voluntary_switches: Some(12),
            involuntary_switches: Some(3),
        };
        assert_eq!(status, expected);
        assert_eq!(status.switches(), Some([12, 3]));
    }

    #[test]
    fn a_name_with_a_colon_hides_nothing() {
        let status = Status::parse(b"Name:\tVmRSS: 1 kB\nVmRSS:\t 4 kB\n");
        assert_eq!(status.resident, Some(4096));
    }

    proptest! {
        /// forall bytes: parse does not panic, and a line of another key tells nothing.
        #[test]
        fn nothing_breaks_it(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Status::parse(&bytes);
            bytes.retain(|&byte| byte != b'\n');
            prop_assert_eq!(Status::parse(&[b"x", bytes.as_slice()].concat()), Status::default());
        }
    }
}
