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
    use copatch_conformance::{Function, Program, Step::*};

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
}
