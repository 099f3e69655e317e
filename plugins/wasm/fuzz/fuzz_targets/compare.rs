//! Modules that wasm-smith makes of the fuzzer's bytes do the same here and in wasmi.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    copatch_wasm_oracle::compare(data);
});
