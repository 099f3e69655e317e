//! A planted error, with real clang: a probing rule that trusts its template everywhere is wrong for `r < C` at the least
//! integer, and the proof by execution is what notices.

use std::path::Path;

use copatch_packer::cfg::{Trimmed, trim};
use copatch_packer::clang::{Clang, ClangError, Unit};
use copatch_packer::object_file;
use copatch_packer::probe::{Sample, apply, fit, is_special, probe_values};
use copatch_packer::prove::{Comparison, Prover};
use copatch_packer::source::{self, Variant};
use copatch_spec::isa::Operation;
use copatch_spec::types::Place;
use copatch_spec::variants::{Form, Outcome};
use copatch_spec::{InstructionSet, Target};

const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const TABLE: &str = r#"
name = "planted"
version = 1
[op]
"add"  = { in = "i32 i32", out = "i32", forms = "ri" }
"lt_s" = { in = "i32 i32", out = "i32", forms = "ri", branch = true }
"#;
const SOURCE: &str = "
static inline uint32_t add(uint32_t a, uint32_t b) { return a + b; }
static inline uint32_t lt_s(uint32_t a, uint32_t b) { return (int32_t)a < (int32_t)b; }
";
/// Not special anywhere, and the value that the template's own code is compiled for.
const GENERIC: i64 = 0x1234_567b;

/// The form that branches where the comparison holds; for `add` the plain one.
fn form(outcome: Outcome) -> Form {
    Form {
        operands: vec![Place::Register, Place::Immediate],
        result: (outcome == Outcome::Plain).then_some(Place::Register),
        outcome,
    }
}

/// What clang makes of an operation with its second operand a constant and all registers the first, for each constant.
fn compile(isa: &InstructionSet, op: &Operation, form: &Form, values: &[i64]) -> Vec<Trimmed> {
    let target = Target::builtin("x86_64").unwrap();
    let clang = Clang::find(Some(Path::new("clang-19")), TRIPLE, &target, None).unwrap();
    let mut text = source::prelude(isa);
    for (index, value) in values.iter().enumerate() {
        let variant = Variant {
            op,
            form,
            registers: &[0, 0][..form.radices(op, &target.machine()).len()],
            values: &[*value],
        };
        source::function(&mut text, &format!("stencil_{index}"), &target, &variant).unwrap();
    }
    let unit = Unit {
        name: "planted.c".to_owned(),
        text,
    };
    let objects = clang.compile(vec![unit], "planted", |_, object| {
        Ok::<_, ClangError>(object.to_vec())
    });
    let mut codes = vec![None; values.len()];
    for raw in object_file::read("planted.c", &objects.unwrap()[0]).unwrap() {
        let index: Option<usize> = raw
            .name
            .strip_prefix("stencil_")
            .and_then(|number| number.parse().ok());
        if let Some(index) = index {
            codes[index] = Some(trim(&raw, &target).unwrap());
        }
    }
    codes.into_iter().map(Option::unwrap).collect()
}

/// Learns an operation on all 32-bit constants: how many samples clang encoded otherwise, and for which of these the
/// patched template does something else.
fn learn(op: &str, outcome: Outcome) -> Option<(usize, Vec<i64>)> {
    if std::process::Command::new("clang-19")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: clang-19 is not on the path");
        return None;
    }
    let target = Target::builtin("x86_64").unwrap();
    let isa = InstructionSet::parse(TABLE, SOURCE).unwrap();
    let op = &isa.ops[isa.op(op).unwrap()];
    let form = form(outcome);
    let mut values = vec![GENERIC];
    values.extend(probe_values(i32::MIN.into(), i32::MAX.into(), 0));
    let codes = compile(&isa, op, &form, &values);
    let samples: Vec<Sample> = values
        .iter()
        .zip(&codes)
        .map(|(value, trimmed)| Sample {
            value: *value,
            code: trimmed.code.clone(),
        })
        .collect();
    let template = fit(&samples).unwrap();
    let prover = Prover::new(&target, Path::new("clang-19")).unwrap();
    let registers = vec![0; form.radices(op, &target.machine()).len()];
    let fails = |value: &i64| {
        let own = values.iter().position(|other| other == value).unwrap();
        let patched = Trimmed {
            code: apply(&template, *value),
            holes: codes[0].holes.clone(),
        };
        let comparison = Comparison {
            op,
            form: &form,
            registers: &registers,
            values: &[*value],
            own: &codes[own],
            patched: &patched,
        };
        !prover.same(&comparison).unwrap()
    };
    let wrong = template.disagreeing.iter().copied().filter(fails).collect();
    Some((template.disagreeing.len(), wrong))
}

#[test]
fn less_than_is_wrong_at_the_least_integer_and_nowhere_else() {
    for outcome in [Outcome::BranchTrue, Outcome::BranchFalse, Outcome::Plain] {
        let Some((others, wrong)) = learn("lt_s", outcome) else {
            return;
        };
        // Small constants have shorter encodings, so there is always something to prove.
        assert!(others > 10, "{others} other encodings");
        let least = i64::from(i32::MIN);
        assert!(
            wrong.is_empty() || wrong == [least],
            "{outcome:?}: {wrong:x?}"
        );
        assert!(is_special(least));
        // Clang subtracts one from the constant here, so a rule without domains would be wrong.
        if outcome == Outcome::BranchTrue {
            assert_eq!(wrong, [least]);
        }
    }
}

#[test]
fn other_encodings_of_an_addition_stay() {
    let Some((others, wrong)) = learn("add", Outcome::Plain) else {
        return;
    };
    assert!(others > 10, "{others} other encodings");
    assert_eq!(wrong, [0i64; 0]);
}
