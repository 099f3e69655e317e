//! What the tests know of our front ends.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod source;

use std::sync::Arc;

use copatch::spec::Operation;
use copatch::{Pack, ValueType};
use copatch_conformance::{Choices, Dialect, Kit, MEMORY, Step, op};

/// The toy language: an array of integers behind the engine's context.
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

/// Every committed pack of this target.
pub fn packs() -> Vec<(&'static str, &'static [u8])> {
    let packs = copatch_pack_toy::packs().iter();
    packs.chain(copatch_pack_wasm::packs()).copied().collect()
}

/// Opens a pack that is nobody's but the test's.
#[allow(unsafe_code)]
pub fn open(name: &str, bytes: Vec<u8>) -> copatch::Result<Arc<Pack>> {
    // SAFETY: the committed packs and what tests make of them; damaged ones are compiled from, and not run.
    unsafe { Pack::from_bytes(name, bytes) }
}

pub fn toy_pack() -> Arc<Pack> {
    Pack::for_host(copatch_pack_toy::packs()).unwrap()
}

pub fn wasm_pack() -> Arc<Pack> {
    Pack::for_host(copatch_pack_wasm::packs()).unwrap()
}

/// Every pack of an instruction set that this machine can run.
pub fn runnable(packs: &[(&'static str, &'static [u8])]) -> Vec<(&'static str, Arc<Pack>)> {
    let open =
        |pack: &(&'static str, &'static [u8])| Some((pack.0, Pack::for_host(&[*pack]).ok()?));
    let packs: Vec<_> = packs.iter().filter_map(open).collect();
    assert!(!packs.is_empty(), "no pack fits this machine");
    packs
}

/// The kit for the toy language's best pack.
pub fn toy() -> Kit {
    Kit::new(toy_pack(), Toy).unwrap()
}

/// The kit for WebAssembly's best pack.
pub fn wasm() -> Kit {
    Kit::new(wasm_pack(), Wasm).unwrap()
}
