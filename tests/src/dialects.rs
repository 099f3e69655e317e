//! The dialects of the instruction sets that come with copatch, and one for any other.

use copatch::ValueType;
use copatch_spec::Operation;
use copatch_spec::isa::ImmediateType;

use crate::choices::Choices;
use crate::dialect::{Dialect, MEMORY};
use crate::execute::CORE_WORDS;
use crate::program::{Step, op};

/// The dialect of an instruction set by its name; [`Plain`] for one that is not copatch's.
pub fn dialect(isa: &str) -> Box<dyn Dialect> {
    match isa {
        "toy" => Box::new(Toy),
        "wasm" => Box::new(Wasm),
        "python" => Box::new(Python),
        _ => Box::new(Plain),
    }
}

/// Any instruction set: operations on values alone, with immediates of any value. What it expects of memory and context
/// nobody has said, so operations that use them are left out.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Dialect for Plain {
    fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
        if operation.uses_mem || operation.uses_ctx {
            return None;
        }
        let immediates = operation.immediates.iter();
        Some(immediates.map(|ty| any_of(*ty, choices)).collect())
    }
}

/// An immediate of that type: its least and greatest, a small one, or any.
fn any_of(ty: ImmediateType, choices: &mut Choices) -> i64 {
    let (lo, hi) = ty.range();
    match choices.below(4) {
        0 => lo,
        1 => hi,
        2 => (choices.below(256) as i64).clamp(lo, hi),
        _ => lo.wrapping_add((choices.bits() % (hi.abs_diff(lo)).saturating_add(1).max(1)) as i64),
    }
}

/// Python: operations on values. Those that follow addresses are left out; the front end's own tests cover them.
#[derive(Clone, Copy, Debug)]
pub struct Python;

impl Dialect for Python {
    fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
        let families = ["mem.", "counted.", "tagged."];
        if families
            .iter()
            .any(|family| operation.name.starts_with(family))
        {
            return None;
        }
        Plain.immediates(operation, choices)
    }
}

/// The toy language: an array of integers behind the engine's context.
#[derive(Clone, Copy, Debug)]
pub struct Toy;

/// Elements of the array.
const ELEMENTS: u64 = 100;

impl Dialect for Toy {
    fn context(&self, memory: *mut u8) -> Vec<u64> {
        vec![memory as u64, ELEMENTS]
    }

    fn immediates(&self, _operation: &Operation, _choices: &mut Choices) -> Option<Vec<i64>> {
        Some(Vec::new())
    }

    fn confine(&self, operation: &Operation, index: usize, choices: &mut Choices) -> Vec<Step> {
        let array = matches!(operation.name.as_str(), "i64.load" | "i64.store");
        if array && index == 0 && !choices.one_in(16) {
            vec![Step::Constant(ValueType::I64, 63), op("i64.and", &[])]
        } else {
            Vec::new()
        }
    }
}

/// WebAssembly: linear memory, globals here and elsewhere, vectors, and a table of references. Calls through tables are left
/// out.
#[derive(Clone, Copy, Debug)]
pub struct Wasm;

/// Words of WebAssembly's own context before the first global.
const OWN: usize = 8;
/// Globals in the context.
const GLOBALS: usize = 16;
/// Globals elsewhere: their addresses follow those in the context.
const FAR: usize = 4;
/// Elements of the table, whose descriptor comes last.
const ENTRIES: u64 = 8;

/// An offset that stays in the memory behind an address that is confined: where encodings of offsets end, or any.
fn near_offset(choices: &mut Choices) -> i64 {
    const BORDERS: [i64; 6] = [0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000];
    match choices.one_in(4) {
        true => choices.pick(&BORDERS).copied().unwrap_or_default(),
        false => choices.below(0x7000) as i64,
    }
}

/// A word's byte offset from the context.
fn offset(word: usize) -> i64 {
    (8 * (CORE_WORDS + word)) as i64
}

impl Dialect for Wasm {
    fn context(&self, memory: *mut u8) -> Vec<u64> {
        let mut words = vec![0; OWN + GLOBALS];
        words[0] = MEMORY as u64;
        // Both lie in the memory.
        words.extend((0..FAR as u64).map(|global| memory as u64 + 0x400 + 8 * global));
        words.extend([memory as u64, ENTRIES]);
        words
    }

    fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
        match operation.name.as_str() {
            // They leave an address in the context; the front end's own tests cover them.
            "table.entry" | "table.own" => None,
            "table.get" | "table.size" => Some(vec![offset(OWN + GLOBALS + FAR)]),
            "memory.far_addr" if choices.one_in(16) => Some(vec![1 << (16 + choices.below(47))]),
            name if name.starts_with("global.far_") => {
                Some(vec![offset(OWN + GLOBALS + choices.below(FAR))])
            }
            // A vector takes two words.
            name if name.starts_with("global.") => {
                Some(vec![offset(OWN + choices.below(GLOBALS - 1))])
            }
            "memory.far_addr" => Some(vec![near_offset(choices)]),
            _ => {
                let immediates = operation.immediates.iter().map(|ty| match ty {
                    ty if operation.uses_mem && !ty.is_lane() => near_offset(choices),
                    ty => any_of(*ty, choices),
                });
                Some(immediates.collect())
            }
        }
    }

    fn confine(&self, operation: &Operation, index: usize, choices: &mut Choices) -> Vec<Step> {
        let most = match operation.name.as_str() {
            "table.get" | "memory.far_addr" if choices.one_in(16) => return Vec::new(),
            "table.get" => ENTRIES - 1,
            "memory.far_addr" => 0x7fff,
            _ if operation.uses_mem && index == 0 => 0x7fff,
            _ => return Vec::new(),
        };
        vec![Step::Constant(ValueType::I32, most), op("i32.and", &[])]
    }
}
