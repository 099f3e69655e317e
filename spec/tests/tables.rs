//! The built-in op tables: they parse, and every operation has its body in C.

use copatch_spec::{InstructionSet, Shape};

fn builtin(name: &str) -> InstructionSet {
    match InstructionSet::builtin(name) {
        Some(Ok(isa)) => isa,
        Some(Err(error)) => panic!("{error}"),
        None => panic!("no built-in instruction set {name}"),
    }
}

#[test]
fn every_operation_has_a_body() {
    for name in ["toy", "wasm"] {
        let isa = builtin(name);
        for op in &isa.ops {
            if matches!(op.shape, Shape::Next | Shape::Branch) {
                let call = format!(" {}(", op.c_name());
                let definitions = isa
                    .source
                    .lines()
                    .filter(|line| line.starts_with("static inline") && line.contains(&call));
                assert!(definitions.count() >= 1, "{name}: no body for {}", op.name);
            }
        }
    }
}
