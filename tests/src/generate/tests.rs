//! Generated programs are valid, and use everything there is.

use copatch_spec::{InstructionSet, Target};

use super::*;
use crate::dialect::Dialect;

/// What a pack would say of an instruction set.
fn metadata(isa: &str) -> Metadata {
    let isa = InstructionSet::builtin(isa).unwrap().unwrap();
    Metadata {
        isa: isa.name,
        isa_version: isa.version,
        isa_digest: isa.digest,
        triple: String::new(),
        features: String::new(),
        cpu: Vec::new(),
        compiler: String::new(),
        flags: Vec::new(),
        machine: Target::builtin("x86_64").unwrap().machine(),
        traps: isa.traps,
        kinds: Vec::new(),
        ops: isa.ops,
    }
}

struct Anything;

impl Dialect for Anything {
    fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
        Some(
            operation
                .immediates
                .iter()
                .map(|ty| (choices.below(100) as i64).min(ty.range().1))
                .collect(),
        )
    }
}

fn numbers(seed: u64, length: usize) -> Vec<u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length).map(next).collect()
}

/// Every list of numbers is a valid program, and the programs together use everything there is.
#[test]
fn programs_are_valid_and_use_every_step_and_operation() {
    for isa in ["toy", "wasm"] {
        let metadata = metadata(isa);
        let mut seen = std::collections::BTreeSet::new();
        let mut steps = 0;
        for seed in 0..2_000 {
            let program = generate(&metadata, &Anything, &numbers(seed, seed as usize % 600));
            crate::valid::check(&program, &metadata)
                .unwrap_or_else(|what| panic!("{what}\n{program}"));
            for step in program.functions.iter().flat_map(|function| &function.body) {
                steps += 1;
                match step {
                    Step::Op(name, _) => seen.insert(name.clone()),
                    step => seen.insert(
                        format!("{step:?}")
                            .split(['(', ' '])
                            .next()
                            .unwrap_or("")
                            .to_owned(),
                    ),
                };
            }
        }
        let operations = metadata.ops.iter().filter(|op| !op.is_core());
        for name in operations.map(|op| op.name.as_str()) {
            assert!(seen.contains(name), "{name} is never used");
        }
        let constructs = [
            "Block",
            "Loop",
            "If",
            "Else",
            "Br",
            "BrIf",
            "BrTable",
            "Return",
            "Trap",
            "Call",
            "CallPointer",
            "TailCall",
            "TailCallPointer",
        ];
        for step in constructs
            .into_iter()
            .chain(["Helper", "Select", "Tee", "Drop"])
        {
            assert!(seen.contains(step), "{step} is never used in {isa}");
        }
        assert!((100_000..2_000_000).contains(&steps), "{steps} steps");
    }
}

#[test]
fn no_decisions_are_the_smallest_program() {
    let program = generate(&metadata("toy"), &Anything, &[]);
    assert_eq!(program.functions.len(), 1);
    assert_eq!(program.functions[0].body, [Step::End]);
}

/// Without the means to make NaNs among their lanes the same, operations on vectors of floats are left out; others are not.
#[test]
fn vectors_that_cannot_be_settled_are_left_out() {
    let mut metadata = metadata("wasm");
    let used = |metadata: &Metadata, name: &str| {
        (0..500).any(|seed| {
            let program = generate(metadata, &Anything, &numbers(seed, 600));
            let steps = program.functions.iter().flat_map(|function| &function.body);
            steps
                .into_iter()
                .any(|step| matches!(step, Step::Op(found, _) if found == name))
        })
    };
    assert!(used(&metadata, "f32x4.add") && used(&metadata, "i32x4.add"));
    metadata.ops.retain(|op| op.name != "v128.and");
    assert!(!used(&metadata, "f32x4.add") && used(&metadata, "i32x4.add"));
}
