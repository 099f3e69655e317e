//! What the tests know of our front ends.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod source;

use std::sync::Arc;

use copatch::Pack;
use copatch_conformance::Kit;
pub use copatch_conformance::dialects::{Toy, Wasm};

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
