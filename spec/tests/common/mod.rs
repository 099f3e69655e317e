//! What the spec's tests share.

use copatch_spec::InstructionSet;

/// The built-in instruction sets.
pub const INSTRUCTION_SETS: [&str; 3] = ["toy", "wasm", "python"];

/// A built-in instruction set; a fault in it fails the test with its message.
pub fn builtin(name: &str) -> InstructionSet {
    match InstructionSet::builtin(name) {
        Some(Ok(isa)) => isa,
        Some(Err(error)) => panic!("{error}"),
        None => panic!("no built-in instruction set {name}"),
    }
}

/// The text of a built-in op table.
#[allow(dead_code, reason = "one of the test files needs it")]
pub fn table_text(name: &str) -> &'static str {
    match name {
        "toy" => include_str!("../../isa/toy/ops.toml"),
        "python" => include_str!("../../isa/python/ops.toml"),
        "wasm" => concat!(
            include_str!("../../isa/wasm/ops.toml"),
            include_str!("../../isa/wasm/simd.toml")
        ),
        _ => panic!("no built-in instruction set {name}"),
    }
}
