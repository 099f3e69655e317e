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

/// The code of an operation whose address is in a register and whose result goes to a slot, both far away, if it is accepted.
fn compiled(isa: &InstructionSet, target: &Target, clang: &Clang, op: &str) -> Result<(), String> {
    let op = &isa.ops[isa.op(op).ok_or("no such operation")?];
    let form = Form {
        operands: vec![Place::Register],
        result: Some(Place::Slot),
        outcome: Outcome::Plain,
    };
    let variant = Variant {
        op,
        form: &form,
        registers: &[0],
        values: &[0x1234_567b, 0x5b3c_1a90],
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
        registers: &[0],
    };
    inspect(&subject, &code, target).map_err(|refusal| refusal.what.clone())
}

#[test]
fn eight_lanes_are_widened_in_the_registers_that_there_are() {
    let isa = InstructionSet::builtin("wasm").unwrap().unwrap();
    let target = Target::builtin("riscv64").unwrap();
    let mut without = target.clone();
    without.clang.bodies.clear();
    let clang = Path::new("clang-19");
    let Ok(clang) = Clang::find(Some(clang), &target.triples[0], &target, None) else {
        eprintln!("skipped: clang-19 is not on the path");
        return;
    };
    for op in ["v128.load8x8_s", "v128.load8x8_u"] {
        let refused = compiled(&isa, &without, &clang, op).unwrap_err();
        assert!(refused.contains("uses the stack"), "{op}: {refused}");
        assert_eq!(compiled(&isa, &target, &clang, op), Ok(()), "{op}");
    }
}
