//! Which locals may still be read: those that may not make no difference.

use super::Code;
use crate::bytecode::{Instruction, Op};

/// For each instruction the locals that may be read from there on, as bits.
#[derive(Debug)]
pub struct Liveness {
    words: usize,
    offsets: Vec<u32>,
    live: Vec<u64>,
    /// Somebody looks at all locals by name, or a handler may.
    all: bool,
    cells: Vec<u32>,
}

/// Functions that see the locals of whoever calls them.
const LOOKERS: [&str; 7] = [
    "locals",
    "vars",
    "dir",
    "eval",
    "exec",
    "_getframe",
    "currentframe",
];

impl Liveness {
    /// Looks through the code until nothing changes.
    pub fn new(code: &Code) -> Self {
        let words = code.locals.div_ceil(64).max(1);
        let count = code.instructions.len();
        let mut of = Self {
            words,
            offsets: code.instructions.iter().map(|one| one.offset).collect(),
            live: vec![0; words * count],
            all: code.catches
                || code
                    .names
                    .iter()
                    .any(|name| LOOKERS.contains(&name.as_str())),
            cells: code.cells.clone(),
        };
        let mut changed = true;
        while changed {
            changed = false;
            for index in (0..count).rev() {
                changed |= of.visit(index, &code.instructions[index]);
            }
        }
        of
    }

    fn visit(&mut self, index: usize, instruction: &Instruction) -> bool {
        let jump = instruction.op.target();
        let falls = !matches!(
            instruction.op,
            Op::Jump(_) | Op::Return | Op::ReturnConst(_)
        );
        let words = self.words;
        let mut live = vec![0; words];
        let mut join = |from: Option<usize>| {
            if let Some(from) = from
                && let Some(other) = self.live.get(from * words..(from + 1) * words)
            {
                live.iter_mut()
                    .zip(other)
                    .for_each(|(live, other)| *live |= other);
            }
        };
        if falls {
            join(Some(index + 1));
        }
        join(jump.and_then(|to| self.offsets.binary_search(&to).ok()));
        let mut set = |local: u32, value: bool| {
            let bit = 1 << (local % 64);
            if let Some(word) = live.get_mut(local as usize / 64) {
                *word = if value { *word | bit } else { *word & !bit };
            }
        };
        // From the last effect to the first.
        match instruction.op {
            Op::LoadFast(local) | Op::LoadFastAndClear(local) => set(local, true),
            Op::LoadFastPair(first, second) => {
                set(first, true);
                set(second, true);
            }
            Op::StoreFast(local) => set(local, false),
            Op::StoreFastPair(first, second) => {
                set(first, false);
                set(second, false);
            }
            Op::StoreFastLoadFast(first, second) => {
                set(second, true);
                set(first, false);
            }
            // Whatever the interpreter does there may read anything.
            Op::Other => live.fill(u64::MAX),
            _ => {}
        }
        let old = &mut self.live[index * words..(index + 1) * words];
        let changed = *old != live[..];
        old.copy_from_slice(&live);
        changed
    }

    /// Whether a local may be read from an offset on.
    pub fn at(&self, offset: u32, local: usize) -> bool {
        let Ok(index) = self.offsets.binary_search(&offset) else {
            return true;
        };
        self.all
            || self.cells.contains(&(local as u32))
            || self.live[index * self.words + local / 64] >> (local % 64) & 1 != 0
    }
}
