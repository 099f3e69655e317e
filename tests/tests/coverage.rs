//! What is counted as exercised, and what is not.

mod common;

use common::{toy, toy_pack};
use copatch_conformance::{Coverage, Program};

/// How many things of an axis were exercised, and the names of those that were not.
fn axis(coverage: &Coverage, name: &str) -> (usize, Vec<String>) {
    let (_, seen, all, missing) = coverage.axes().find(|axis| axis.0 == name).unwrap();
    assert_eq!(seen + missing.len(), all, "{name}");
    (seen, missing.into_iter().map(str::to_owned).collect())
}

#[test]
fn an_empty_program_exercises_the_shims_and_no_operation_of_its_own() {
    let mut coverage = Coverage::new(&toy_pack()).unwrap();
    assert_eq!(axis(&coverage, "operations").0, 0);
    let empty: Program = toy().program(&[]);
    coverage.add(&empty).unwrap();
    let (_, missing) = axis(&coverage, "operations");
    assert!(missing.iter().any(|name| name == "i64.add"));
    assert!(!missing.iter().any(|name| name == "core.entry"));
    let shown = coverage.to_string();
    assert!(shown.starts_with("exercised by 1 programs:\n"), "{shown}");
    assert!(shown.contains("      not core.br_table\n"), "{shown}");
}

#[test]
fn some_hundred_programs_exercise_every_operation_and_kind() {
    if !copatch::jit_available() {
        return;
    }
    let coverage = std::cell::RefCell::new(Coverage::new(&toy_pack()).unwrap());
    toy()
        .run_seeded(600, 1, |program| {
            coverage.borrow_mut().add(program).unwrap()
        })
        .unwrap();
    let coverage = coverage.into_inner();
    let (_, mut missing) = axis(&coverage, "operations");
    // The language has neither these types nor vectors; where a trap goes on is in no function.
    missing.retain(|name| !name.ends_with("_v128") && !name.ends_with("_f32"));
    assert_eq!(missing, ["core.unwind"]);
    println!("{coverage}");
    assert!(axis(&coverage, "sources of holes").1.is_empty());
    let (forms, missing) = axis(&coverage, "forms");
    assert!(forms > 3 * missing.len(), "{missing:?}");
}
