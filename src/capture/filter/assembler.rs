//! Classic BPF, written down with labels: two registers (the accumulator and X), forward jumps, one cell of memory.

use std::collections::BTreeMap;

use super::Instruction;

/// A place in the program: a name, and a number to tell copies of it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(pub(super) &'static str, pub(super) u32);

/// The instruction that follows.
pub(super) const NEXT: Label = Label("", 0);

/// A program being written.
#[derive(Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    /// Where the conditional jumps go, when true and when false, by their own places.
    jumps: Vec<(usize, Label, Label)>,
    places: BTreeMap<Label, usize>,
}

impl Assembler {
    /// What is written next is at this label.
    pub(super) fn place(&mut self, label: Label) {
        self.places.insert(label, self.code.len());
    }

    /// The program, with all jumps filled in. It has fewer than 256 instructions, so that each reaches its label.
    pub(super) fn assemble(mut self) -> Vec<Instruction> {
        for (from, yes, no) in self.jumps {
            let distance = |to: Label| {
                let to = self.places.get(&to).copied().unwrap_or(from + 1);
                (to - from - 1) as u8
            };
            let (jt, jf) = (distance(yes), distance(no));
            if let Some(jump) = self.code.get_mut(from) {
                (jump.jt, jump.jf) = (jt, jf);
            }
        }
        self.code
    }

    /// A = 4 bytes at `k`.
    pub(super) fn load_u32(&mut self, k: u32) {
        self.write(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, k);
    }

    /// A = 2 bytes at `k`.
    pub(super) fn load_u16(&mut self, k: u32) {
        self.write(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, k);
    }

    /// A = the byte at `k`.
    pub(super) fn load_u8(&mut self, k: u32) {
        self.write(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, k);
    }

    /// A = 2 bytes at X + `k`.
    pub(super) fn load_u16_at_index(&mut self, k: u32) {
        self.write(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, k);
    }

    /// A = length of the frame.
    pub(super) fn load_length(&mut self) {
        self.write(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0);
    }

    /// A = the cell.
    pub(super) fn load_stored(&mut self) {
        self.write(libc::BPF_LD | libc::BPF_MEM, 0);
    }

    /// The cell = A.
    pub(super) fn store(&mut self) {
        self.write(libc::BPF_ST, 0);
    }

    /// X = A.
    pub(super) fn accumulator_to_index(&mut self) {
        self.write(libc::BPF_MISC | libc::BPF_TAX, 0);
    }

    /// A = X.
    pub(super) fn index_to_accumulator(&mut self) {
        self.write(libc::BPF_MISC | libc::BPF_TXA, 0);
    }

    /// A = A & `k`.
    pub(super) fn mask(&mut self, k: u32) {
        self.write(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, k);
    }

    /// A = A << `k`.
    pub(super) fn shift_left(&mut self, k: u32) {
        self.write(libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K, k);
    }

    /// A = A + `k`.
    pub(super) fn add(&mut self, k: u32) {
        self.write(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K, k);
    }

    /// A = A + X.
    pub(super) fn add_index(&mut self) {
        self.write(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0);
    }

    /// Whether A = `k`.
    pub(super) fn is(&mut self, k: u32, yes: Label, no: Label) {
        self.jump(libc::BPF_JEQ, k, yes, no);
    }

    /// Whether A >= `k`.
    pub(super) fn at_least(&mut self, k: u32, yes: Label, no: Label) {
        self.jump(libc::BPF_JGE, k, yes, no);
    }

    /// Whether A has any of the bits of `k`.
    pub(super) fn any_of(&mut self, k: u32, yes: Label, no: Label) {
        self.jump(libc::BPF_JSET, k, yes, no);
    }

    /// Passes over `k` instructions.
    pub(super) fn go(&mut self, k: u32) {
        self.code.push(go(k));
    }

    /// The end: `k` bytes of the frame are kept.
    pub(super) fn keep(&mut self, k: u32) {
        self.write(libc::BPF_RET | libc::BPF_K, k);
    }

    /// The end: A bytes of the frame are kept.
    pub(super) fn keep_accumulator(&mut self) {
        self.write(libc::BPF_RET | libc::BPF_A, 0);
    }

    fn jump(&mut self, test: u32, k: u32, yes: Label, no: Label) {
        self.jumps.push((self.code.len(), yes, no));
        self.write(libc::BPF_JMP | test | libc::BPF_K, k);
    }

    fn write(&mut self, code: u32, k: u32) {
        self.code.push(Instruction { code: code as u16, jt: 0, jf: 0, k });
    }
}

/// Passes over `k` instructions, as far as one likes.
pub(super) fn go(k: u32) -> Instruction {
    Instruction { code: (libc::BPF_JMP | libc::BPF_JA) as u16, jt: 0, jf: 0, k }
}
