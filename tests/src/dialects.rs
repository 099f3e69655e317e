//! The dialects of the instruction sets that come with copatch, and one for any other.

use copatch::ValueType;
use copatch_spec::Operation;

use crate::choices::Choices;
use crate::dialect::{Dialect, MEMORY};
use crate::program::{Step, op};

/// The dialect of an instruction set by its name; [`Plain`] for one that is not copatch's.
pub fn dialect(isa: &str) -> Box<dyn Dialect> {
    match isa {
        "toy" => Box::new(Toy),
        "wasm" => Box::new(Wasm),
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
        let immediates = operation.immediates.iter().map(|ty| {
            let (lo, hi) = ty.range();
            match choices.below(4) {
                0 => lo,
                1 => hi,
                2 => (choices.below(256) as i64).clamp(lo, hi),
                _ => lo.wrapping_add(
                    (choices.bits() % (hi.abs_diff(lo)).saturating_add(1).max(1)) as i64,
                ),
            }
        });
        Some(immediates.collect())
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

/// WebAssembly: linear memory and globals.
#[derive(Clone, Copy, Debug)]
pub struct Wasm;

/// Byte offset of the first global from the context.
const GLOBALS: i64 = 128;

impl Dialect for Wasm {
    fn context(&self, _memory: *mut u8) -> Vec<u64> {
        let mut words = vec![0; 24];
        words[0] = MEMORY as u64;
        words
    }

    fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
        match operation.name.as_str() {
            "memory.far_addr" => None,
            // Tables and what lies elsewhere hold addresses; the front end's own tests cover them.
            name if name.starts_with("table.") || name.starts_with("global.far_") => None,
            name if name.starts_with("global.") => {
                Some(vec![GLOBALS + 8 * choices.below(16) as i64])
            }
            _ if operation.uses_mem => Some(vec![choices.below(0x7000) as i64]),
            _ => Some(Vec::new()),
        }
    }

    fn confine(&self, operation: &Operation, index: usize, _choices: &mut Choices) -> Vec<Step> {
        if operation.uses_mem && index == 0 {
            vec![Step::Constant(ValueType::I32, 0x7fff), op("i32.and", &[])]
        } else {
            Vec::new()
        }
    }
}
