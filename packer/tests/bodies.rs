//! Bodies that a target has of its own: their code is accepted where that of the instruction set's is refused.

use std::path::Path;

use copatch_packer::cfg::{Trimmed, trim};
use copatch_packer::clang::{Clang, ClangError, Unit};
use copatch_packer::object_file;
use copatch_packer::prove::{Subject, inspect};
use copatch_packer::source::{self, Variant};
use copatch_spec::types::Place;
use copatch_spec::variants::{Form, Outcome};
use copatch_spec::{InstructionSet, Target};

/// The code of a load whose address is in a register, with a wide offset and a result in a register or far away in a slot, if
/// it is accepted.
fn compiled(
    isa: &InstructionSet,
    target: &Target,
    clang: &Clang,
    op: &str,
    result: Place,
) -> Result<Vec<u8>, String> {
    let op = &isa.ops[isa.op(op).ok_or("no such operation")?];
    let form = Form {
        operands: vec![Place::Register],
        result: Some(result),
        outcome: Outcome::Plain,
    };
    let registers = &[0, 1][..form.radices(op, &target.machine()).len()];
    let variant = Variant {
        op,
        form: &form,
        registers,
        values: &[0x1234_567b, 0x5b3c_1a90][..form.values(op).len()],
    };
    let mut text = source::prelude(isa) + &source::bodies(isa, target);
    source::function(&mut text, "stencil", target, &variant).map_err(|error| error.to_string())?;
    let unit = Unit {
        name: "bodies.c".to_owned(),
        text,
    };
    let objects = clang.compile(vec![unit], "bodies", |_, object| {
        Ok::<_, ClangError>(object.to_vec())
    });
    let objects = objects.map_err(|error| error.to_string())?;
    let stencils = object_file::read("bodies.c", &objects[0]).map_err(|error| error.to_string())?;
    let raw = stencils.iter().find(|raw| raw.name == "stencil");
    let code: Trimmed =
        trim(raw.ok_or("no stencil")?, target).map_err(|refusal| refusal.to_string())?;
    let subject = Subject {
        name: &op.name,
        op,
        form: &form,
        registers,
    };
    inspect(&subject, &code, target).map_err(|refusal| refusal.what.clone())?;
    Ok(code.code)
}

/// What becomes of WebAssembly's `op` on riscv64: with the instruction set's body, and with the target's.
fn both(op: &str, result: Place) -> Option<[Result<Vec<u8>, String>; 2]> {
    let isa = InstructionSet::builtin("wasm").unwrap().unwrap();
    let target = Target::builtin("riscv64").unwrap();
    let mut without = target.clone();
    without.clang.bodies.clear();
    let clang = Path::new("clang-19");
    let Ok(clang) = Clang::find(Some(clang), &target.triples[0], &target, None) else {
        eprintln!("skipped: clang-19 is not on the path");
        return None;
    };
    Some([&without, &target].map(|target| compiled(&isa, target, &clang, op, result)))
}

#[test]
fn eight_lanes_are_widened_in_the_registers_that_there_are() {
    for op in ["v128.load8x8_s", "v128.load8x8_u"] {
        let Some([refused, accepted]) = both(op, Place::Slot) else {
            return;
        };
        let refused = refused.unwrap_err();
        assert!(refused.contains("uses the stack"), "{op}: {refused}");
        assert!(accepted.is_ok(), "{op}: {accepted:?}");
    }
}

#[test]
fn a_load_that_is_cut_reads_all_its_bytes() {
    let Some(codes) = both("i64.load_wrap", Place::Register) else {
        return;
    };
    // ld
    let reads_eight = |code: &Vec<u8>| {
        code.chunks_exact(4)
            .any(|word| word[0] & 0x7f == 3 && word[1] >> 4 & 7 == 3)
    };
    assert_eq!(codes.map(|code| reads_eight(&code.unwrap())), [false, true]);
}
