//! A damaged pack is an error, or code can be generated from it; nothing crashes. The fuzzer's bytes are changes of a pack, or
//! all of one.
#![no_main]

use copatch_conformance::damage::{damaged, open_and_compile};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = open_and_compile(data.to_vec());
    if let Some((_, pack)) = copatch_pack_toy::packs().first() {
        let _ = open_and_compile(damaged(pack, data));
    }
});
