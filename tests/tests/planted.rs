//! The kit is worth something if it notices what is wrong: here errors are planted in packs, and it must.

mod common;

use std::sync::Arc;

use common::{Toy, open};
use copatch::spec::Place;
use copatch::spec::pack::{FormParts, Metadata, PackWriter};
use copatch::spec::patch::Source;
use copatch::spec::variants::{FormKey, Outcome};
use copatch::{Pack, Signature, ValueType};
use copatch_conformance::edit::edited;
use copatch_conformance::mutate::{holes, wrong_patch, wrong_spill, wrong_stencil};
use copatch_conformance::{Function, Kit, Program, Step, op};

/// The bytes of a toy pack that this machine runs.
fn bytes() -> &'static [u8] {
    let packs = copatch_pack_toy::packs().iter();
    let (_, bytes) = packs
        .rev()
        .find(|pack| Pack::for_host(&[**pack]).is_ok())
        .unwrap();
    bytes
}

fn right() -> Arc<Pack> {
    Pack::embedded(bytes()).unwrap()
}

/// Code from a pack with an error against the evaluators of the pack without.
fn kit(plant: impl FnOnce(&mut PackWriter, &mut Metadata)) -> Kit {
    let wrong = edited(bytes(), plant).unwrap();
    Kit::across(right(), open("planted", wrong).unwrap(), Toy).unwrap()
}

/// Runs random programs until the error is found, and checks the report.
fn found(kit: &Kit) -> String {
    let report = kit.run(2_000).expect_err("the kit did not notice");
    assert!(
        report.contains("#[test]") && report.contains("Program {"),
        "{report}"
    );
    let steps = report
        .lines()
        .filter(|line| line.starts_with("                    "))
        .count();
    assert!(
        steps <= 100,
        "{steps} steps are no small program:\n{report}"
    );
    report
}

fn number(metadata: &Metadata, name: &str) -> u16 {
    metadata.ops.iter().position(|op| op.name == name).unwrap() as u16
}

fn forms(writer: &mut PackWriter, op: u16, fits: impl Fn(FormKey) -> bool) -> Vec<&mut FormParts> {
    let found: Vec<_> = writer
        .forms
        .iter_mut()
        .filter(|form| form.op == op && fits(form.key))
        .collect();
    assert!(!found.is_empty(), "there is no such form");
    found
}

#[test]
fn nothing_planted_is_nothing_found() {
    if copatch::jit_available() {
        kit(|_, _| {}).run(200).unwrap();
    }
}

#[test]
fn a_wrong_spill_is_found() {
    if copatch::jit_available() {
        found(&kit(|writer, metadata| {
            wrong_spill(writer, number(metadata, "core.move_i64"));
        }));
    }
}

#[test]
fn a_wrong_patch_is_found() {
    if copatch::jit_available() {
        found(&kit(|writer, metadata| {
            let add = number(metadata, "i64.add");
            wrong_patch(writer, metadata, add);
        }));
    }
}

/// `|` is where `&` should be.
#[test]
fn a_wrong_stencil_is_found() {
    if copatch::jit_available() {
        found(&kit(|writer, metadata| {
            let [and, or] = ["i64.and", "i64.or"].map(|name| number(metadata, name));
            wrong_stencil(writer, and, or);
        }));
    }
}

/// Comparisons branch the wrong way. (The kit bounds loops with `core.br_if`, which stays right.)
#[test]
fn a_wrong_branch_is_found() {
    if !copatch::jit_available() {
        return;
    }
    let kit = kit(|writer, metadata| {
        for name in ["i64.eq", "i64.ne", "i64.lt_s", "i64.gt_s", "i64.nez"] {
            let key = |outcome| FormKey::registers().with_outcome(outcome);
            let op = number(metadata, name);
            let other = forms(writer, op, |found| found == key(Outcome::BranchTrue))[0]
                .alternatives
                .clone();
            forms(writer, op, |found| found == key(Outcome::BranchFalse))[0].alternatives = other;
        }
    });
    found(&kit);
}

/// clang turns `a < C` into a comparison with C - 1, which has no encoding for the least C: a pack whose domains do not
/// say so is wrong there and nowhere else.
#[test]
fn a_probing_rule_without_domains_is_found() {
    if !copatch::jit_available() {
        return;
    }
    let comparisons = ["i64.lt_s", "i64.ge_s", "i64.gt_s", "i64.le_s"];
    let mut constants = Vec::new();
    let kit = kit(|writer, metadata| {
        for name in comparisons {
            let immediate = |key: FormKey| key.operand(1) == Some(Place::Immediate);
            for form in forms(writer, number(metadata, name), immediate) {
                for alternative in &mut form.alternatives {
                    // What the packer left out, by an exception or by a narrower range.
                    for domain in &mut alternative.domains {
                        constants.append(&mut domain.exceptions);
                        if domain.lo > i64::MIN && domain.hi < i64::MAX {
                            domain.lo -= 1;
                            domain.hi += 1;
                            constants.extend([domain.lo, domain.hi]);
                        }
                    }
                }
                // Fields take what fits and lose the rest.
                for hole in holes(form) {
                    if matches!(Source::decode(hole.source), Some(Source::Value(_))) {
                        let mut careless = metadata.kinds[usize::from(hole.kind)].clone();
                        (careless.lo, careless.hi) = (i64::MIN, i64::MAX);
                        let known = metadata.kinds.iter().position(|kind| *kind == careless);
                        hole.kind = known.unwrap_or(metadata.kinds.len()) as u8;
                        if known.is_none() {
                            metadata.kinds.push(careless);
                        }
                    }
                }
            }
        }
    });
    assert!(!constants.is_empty());
    let compare = |name: &str, constant: i64| Program {
        functions: vec![Function {
            signature: Signature {
                params: vec![ValueType::I64],
                results: vec![ValueType::I32],
            },
            locals: Vec::new(),
            body: vec![
                Step::Get(0),
                Step::Constant(ValueType::I64, constant as u64),
                op(name, &[]),
                Step::End,
            ],
        }],
        helpers: Vec::new(),
        arguments: vec![0],
    };
    let wrong = |name: &&str| {
        let noticed = |constant: &i64| kit.agree(&compare(name, *constant)).is_err();
        constants
            .iter()
            .filter(|constant| noticed(constant))
            .count()
    };
    let noticed: usize = comparisons.iter().map(wrong).sum();
    assert!(
        noticed > 0,
        "none of {constants:?} is wrong without its domain"
    );
    // The pack as it is gets all of them right.
    let right = Kit::new(right(), Toy).unwrap();
    for name in comparisons {
        for constant in &constants {
            right.agree(&compare(name, *constant)).unwrap();
        }
    }
}
