//! Ways to run a program, behind one trait, and what a run is judged by.

mod compiled;
mod evaluated;

use copatch::{Signature, ValueType};

pub use compiled::Compiled;
pub use evaluated::Evaluated;

use crate::dialect::{Dialect, MEMORY};
use crate::generate::canonical;
use crate::program::Program;

/// Everything about a run that may not depend on how it was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The results of function 0, NaNs canonical, or the number of the trap.
    pub end: Result<Vec<u128>, u8>,
    /// What the helpers were called with: number and arguments.
    pub calls: Vec<(u32, Vec<u128>)>,
    /// The words that follow the engine's context, but for those that were an address.
    pub context: Vec<u64>,
    /// Linear memory, in words.
    pub memory: Vec<u64>,
}

impl Outcome {
    /// What is different, in words; `None` if nothing is.
    pub fn difference(&self, other: &Outcome) -> Option<String> {
        if self.end != other.end {
            return Some(format!("ends with {:x?} and {:x?}", self.end, other.end));
        }
        if self.calls != other.calls {
            let mine = self.calls.iter().map(Some).chain(std::iter::repeat(None));
            let theirs = other.calls.iter().map(Some).chain(std::iter::repeat(None));
            let first = mine
                .zip(theirs)
                .position(|(mine, theirs)| mine != theirs)
                .unwrap_or(0);
            let (mine, theirs) = (self.calls.get(first), other.calls.get(first));
            return Some(format!("helper call {first} is {mine:x?} and {theirs:x?}"));
        }
        let words = |what: &str, mine: &[u64], theirs: &[u64]| {
            let first = mine
                .iter()
                .zip(theirs)
                .position(|(mine, theirs)| mine != theirs)?;
            Some(format!(
                "{what} word {first} is {:x} and {:x}",
                mine[first], theirs[first]
            ))
        };
        words("context", &self.context, &other.context)
            .or_else(|| words("memory", &self.memory, &other.memory))
    }
}

/// A way to run programs.
pub trait Executor {
    /// Its name, for reports.
    fn name(&self) -> String;

    /// Runs a valid program.
    ///
    /// # Errors
    /// When it cannot; for a valid program that is a finding, too.
    fn run(&self, program: &Program, dialect: &dyn Dialect) -> Result<Outcome, String>;
}

/// Memory and context of a run.
pub(crate) struct World {
    pub memory: Vec<u64>,
    /// The engine's context, then the dialect's words.
    pub context: Vec<u64>,
    /// Words of the context that hold addresses, which differ from run to run.
    addresses: Vec<usize>,
}

/// Words of the engine's own context.
pub(crate) const CORE_WORDS: usize = size_of::<copatch::Context>() / 8;

impl World {
    pub fn new(dialect: &dyn Dialect) -> Self {
        // Memory differs from word to word and holds no NaN by accident only; dialects confine what is read as float.
        let mut memory: Vec<u64> = (0..MEMORY as u64 / 8)
            .map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        let begin = memory.as_mut_ptr().cast::<u8>();
        let range = begin as u64..begin as u64 + MEMORY as u64;
        let tail = dialect.context(begin);
        let addresses = (0..tail.len())
            .filter(|index| range.contains(&tail[*index]))
            .collect();
        let mut context = vec![0; CORE_WORDS];
        context.extend(tail);
        Self {
            memory,
            context,
            addresses,
        }
    }

    pub fn outcome(self, end: Result<Vec<u128>, u8>, calls: Vec<(u32, Vec<u128>)>) -> Outcome {
        let mut context = self.context[CORE_WORDS..].to_vec();
        for index in self.addresses {
            context[index] = 0;
        }
        Outcome {
            end,
            calls,
            context,
            memory: self.memory,
        }
    }
}

/// What a helper does: it notes its arguments, and its results depend on all of them. Now and then it fails.
pub(crate) fn help(
    calls: &mut Vec<(u32, Vec<u128>)>,
    index: u32,
    signature: &Signature,
    arguments: &[u128],
) -> Result<Vec<u128>, u8> {
    let arguments = canonical_all(&signature.params, arguments);
    let mut mix = u64::from(index) + 1;
    for argument in &arguments {
        for half in [*argument as u64, (argument >> 64) as u64] {
            mix = (mix ^ half)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
    }
    calls.push((index, arguments));
    if mix % 64 == 63 {
        return Err(copatch::trap_kind::HOST_ERROR);
    }
    let results = signature.results.iter().enumerate();
    Ok(results
        .map(|(number, ty)| result(*ty, mix.wrapping_mul(2 * number as u64 + 1)))
        .collect())
}

fn result(ty: ValueType, bits: u64) -> u128 {
    match ty {
        ValueType::F32 => u128::from((bits as i64 as f32).to_bits()),
        ValueType::F64 => u128::from((bits as i64 as f64).to_bits()),
        ValueType::V128 => u128::from(bits) << 64 | u128::from(bits.rotate_left(17)),
        ty => u128::from(canonical(ty, bits)),
    }
}

/// Each value as one of its type, with NaNs canonical.
pub(crate) fn canonical_all(types: &[ValueType], values: &[u128]) -> Vec<u128> {
    let one = |(ty, value): (&ValueType, &u128)| match ty {
        ValueType::V128 => *value,
        ty => u128::from(canonical(*ty, *value as u64)),
    };
    types.iter().zip(values).map(one).collect()
}
