//! `/proc/PID/stat`: one line of numbers, for which nobody needs a right.
//!
//! ```text
//! 4711 (a (strange) name) S 1 4711 4711 0 -1 4194560 1209 0 3 0 12 7 0 0 20 0 4 0 3366332 ...
//!      \-- up to the last ) --/
//! ```

use super::lines;

/// What is taken of it. Times are clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Name of the program as the kernel keeps it: 15 bytes at most, zero behind them.
    pub command: [u8; 16],
    /// `R`, `S`, `D`, `Z`, ...
    pub state: u8,
    /// Who started it, or took it over.
    pub parent: u32,
    /// The process that its session is named after: handed on by fork.
    pub session: u32,
    /// `PF_...` of the kernel.
    pub flags: u64,
    /// Pages that were mapped without reading a disk: new ones of anonymous memory, mostly.
    pub minor_faults: u64,
    /// Pages that had to be read.
    pub major_faults: u64,
    /// In the program itself.
    pub user_ticks: u64,
    /// In the kernel, for it.
    pub system_ticks: u64,
    /// How many there are.
    pub threads: u64,
    /// Since boot.
    pub started_ticks: u64,
    /// Address space, bytes.
    pub virtual_bytes: u64,
}

impl Stat {
    /// `None` when it is no such line.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let name = text.get(open + 1..close)?;
        let mut command = [0; 16];
        for (to, from) in command.iter_mut().zip(name.iter().take(COMMAND_BYTES)) {
            *to = *from;
        }
        let mut words = lines::words(text.get(close + 1..)?);
        let state = *words.next()?.first()?;
        // From field 4 on, as proc(5) counts them.
        let mut fields = [0; 20];
        for field in &mut fields {
            // tpgid, priority and nice may be negative; they are not taken.
            *field = lines::number(words.next()?).unwrap_or(0);
        }
        let [
            parent,
            _,
            session,
            _,
            _,
            flags,
            minor,
            _,
            major,
            _,
            user,
            system,
            _,
            _,
            _,
            _,
            threads,
            _,
            started,
            size,
        ] = fields;
        Some(Self {
            command,
            state,
            parent: u32::try_from(parent).unwrap_or(0),
            session: u32::try_from(session).unwrap_or(0),
            flags,
            minor_faults: minor,
            major_faults: major,
            user_ticks: user,
            system_ticks: system,
            threads,
            started_ticks: started,
            virtual_bytes: size,
        })
    }

    /// The name without what is behind it.
    pub fn command(&self) -> &[u8] {
        let end = self.command.iter().position(|&byte| byte == 0).unwrap_or(self.command.len());
        self.command.get(..end).unwrap_or_default()
    }

    /// It has ended, and its parent has not looked yet.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// A thread of the kernel, without memory of its own.
    pub fn is_kernel(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

/// Names of threads and processes, without the zero (TASK_COMM_LEN).
pub(super) const COMMAND_BYTES: usize = 15;
/// linux/sched.h.
const PF_KTHREAD: u64 = 0x0020_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &[u8] = b"18371 (cat) R 18369 18369 13482 0 -1 4194304 97 0 3 0 12 7 0 0 20 0 4 0 3366332 3133440 380 \
        18446744073709551615 93963497525248 93963497545129 140736117230624 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";

    #[test]
    fn a_line_of_linux_6_18_is_taken_apart() {
        let stat = Stat::parse(LINE).unwrap();
        assert_eq!((stat.command(), stat.state, stat.parent), (&b"cat"[..], b'R', 18369));
        assert_eq!((stat.minor_faults, stat.major_faults), (97, 3));
        assert_eq!((stat.user_ticks, stat.system_ticks, stat.threads), (12, 7, 4));
        assert_eq!((stat.started_ticks, stat.virtual_bytes), (3_366_332, 3_133_440));
        assert!(!stat.is_dead() && !stat.is_kernel());
    }

    #[test]
    fn threads_of_the_kernel_and_the_dead_are_known() {
        let thread = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 2 0 0 20 0 1 0 4 0 0 0";
        assert!(Stat::parse(thread).unwrap().is_kernel());
        assert!(Stat::parse(b"9 (x) Z 1 9 9 0 -1 4 0 0 0 0 0 2 0 0 20 0 1 0 4 0 0 0").unwrap().is_dead());
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        assert!((0..LINE.len()).all(|end| {
            let stat = Stat::parse(&LINE[..end]);
            stat.is_none_or(|stat| stat.started_ticks > 0)
        }));
        assert_eq!(Stat::parse(b")("), None);
    }

    proptest! {
        /// forall names: parse(line with that name).command = its first 15 bytes, and nothing else moves.
        #[test]
        fn a_name_may_be_anything(name in proptest::collection::vec(1_u8.., 0..16)) {
            let line = [b"7 (".as_slice(), &name, LINE.strip_prefix(b"18371 (cat").unwrap()].concat();
            let stat = Stat::parse(&line).unwrap();
            prop_assert_eq!(stat.command(), &name[..name.len().min(COMMAND_BYTES)]);
            prop_assert_eq!(Stat { command: [0; 16], ..stat }, Stat { command: [0; 16], ..Stat::parse(LINE).unwrap() });
        }

        /// forall bytes: parse does not panic.
        #[test]
        fn nothing_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&bytes);
        }
    }
}
