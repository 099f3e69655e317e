//! Random programs mean the same however they are run. A failure prints a program as a test: paste it below `found`.
//!
//! `COPATCH_CASES=10000` makes it a full run, `COPATCH_SEED=7` takes other programs.

mod common;

use common::{Toy, Wasm, runnable};
use copatch_conformance::{Kit, cases};

fn run(
    packs: &[(&'static str, &'static [u8])],
    kit: impl Fn(std::sync::Arc<copatch::Pack>) -> Kit,
) {
    if !copatch::jit_available() {
        return;
    }
    for (name, pack) in runnable(packs) {
        if let Err(found) = kit(pack).run(cases()) {
            panic!("{name}: {found}");
        }
    }
}

#[test]
fn toy() {
    run(copatch_pack_toy::packs(), |pack| {
        Kit::new(pack, Toy).unwrap()
    });
}

#[test]
fn wasm() {
    run(copatch_pack_wasm::packs(), |pack| {
        Kit::new(pack, Wasm).unwrap()
    });
}

/// What random programs found, in small.
mod found {
    use copatch::{Signature, ValueType::*};
    use copatch_conformance::{Function, Program, Step::*, op};

    use super::common::toy;

    /// Results that travel in slots were written over operands that were still to be read.
    #[test]
    fn many_results_in_a_small_frame() {
        if !copatch::jit_available() {
            return;
        }
        let many = Signature {
            params: vec![],
            results: vec![I32; 9],
        };
        let program = Program {
            functions: vec![Function {
                signature: many.clone(),
                locals: vec![],
                body: vec![Helper(0), End],
            }],
            helpers: vec![many],
            arguments: vec![],
        };
        toy().agree(&program).unwrap();
    }

    /// A variable that both operands are was loaded twice, and one of the two registers never given back.
    #[test]
    fn a_variable_in_its_slot_with_itself() {
        if !copatch::jit_available() {
            return;
        }
        let one = Signature {
            params: vec![F64],
            results: vec![I32, I32],
        };
        let other = Signature {
            params: vec![I64, I32],
            results: vec![I32],
        };
        let program = Program {
            functions: vec![
                Function {
                    signature: one,
                    locals: vec![I32, I32],
                    body: vec![Constant(I32, 0), Constant(I32, 0), End],
                },
                Function {
                    signature: other,
                    locals: vec![
                        F64, I64, F64, I64, I32, I32, I32, F64, I32, F64, F64, I32, I32, I32,
                    ],
                    body: vec![
                        Loop(vec![], vec![I32]),
                        Constant(I32, 0),
                        Get(0),
                        Get(0),
                        op("i64.or", &[]),
                        Constant(I64, 0x80),
                        Get(0),
                        Get(1),
                        Select(I64),
                        op("i64.xor", &[]),
                        op("i64.nez", &[]),
                        If(vec![I32], vec![I32]),
                        Set(1),
                        Constant(I64, 0),
                        Constant(I32, 0),
                        Loop(vec![I64, I32], vec![]),
                        Set(10),
                        Get(13),
                        Get(14),
                        Constant(I32, 0),
                        Set(15),
                        BrIf(0),
                        Set(10),
                        Set(3),
                        End,
                        Constant(I32, 0),
                        End,
                        End,
                        End,
                    ],
                },
            ],
            helpers: vec![],
            arguments: vec![4_638_707_616_191_610_880],
        };
        toy().agree(&program).unwrap();
    }
}
