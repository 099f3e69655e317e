//! What does not compile: one clear line, and never a panic.

mod common;

use common::{engine, refused};
use copatch_wasm::Module;

#[test]
fn features_that_are_not_supported_are_named() {
    let cases = [
        (
            "(module (func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))))",
            "illegal opcode",
        ),
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (memory i64 1))", "memory64"),
        ("(module (memory 1) (memory 1))", "multi"),
        ("(module (tag))", "exceptions"),
    ];
    for (text, name) in cases {
        let message = refused(text).to_string();
        assert!(message.contains(name), "{text}: {message}");
        assert!(message.contains("offset 0x"), "{text}: {message}");
        assert!(!message.contains('\n'), "{text}: {message}");
    }
}

#[test]
fn invalid_modules_name_offset_and_cause() {
    let cases = [
        ("(module (func (result i32)))", "type mismatch"),
        (
            "(module (func (drop (i32.add (i32.const 1) (i64.const 1)))))",
            "type mismatch",
        ),
        (
            "(module (func (local.set 3 (i32.const 1))))",
            "unknown local",
        ),
        ("(module (func (call 7)))", "unknown function"),
        ("(module (func (br 4)))", "unknown label"),
        (
            "(module (func (drop (i32.load (i32.const 0)))))",
            "unknown memory",
        ),
        (
            "(module (func) (export \"a\" (func 0)) (export \"a\" (func 0)))",
            "duplicate",
        ),
        ("(module (memory 65537))", "memory size"),
    ];
    for (text, cause) in cases {
        let message = refused(text).to_string();
        assert!(message.contains(cause), "{text}: {message}");
        assert!(message.contains("offset 0x"), "{text}: {message}");
    }
}

#[test]
fn more_locals_than_a_frame_holds_are_an_error() {
    let text = format!("(module (func {}))", "(local i64)".repeat(50_001));
    assert!(
        refused(&text).to_string().contains("locals"),
        "{}",
        refused(&text)
    );
    // As many as the format allows fit.
    let text = format!("(module (func {}))", "(local i64)".repeat(50_000));
    Module::new(engine(), wat::parse_str(&text).expect("it is well-formed")).expect("it compiles");
}

#[test]
fn every_truncation_and_every_changed_byte_is_survived() {
    let text = r#"(module
        (type $t (func (param i32) (result i32)))
        (import "a" "b" (func $b (type $t)))
        (memory 1) (table 2 funcref) (elem (i32.const 0) $f)
        (global $g (mut i64) (i64.const 5))
        (data (i32.const 8) "data") (data "passive")
        (func $f (export "f") (type $t) (local f64 f32)
            (block (loop (br_if 1 (i32.eqz (local.get 0))) (br_table 0 1 (local.get 0))))
            (i64.store offset=8 (i32.const 0) (global.get $g))
            (memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
            (local.set 1 (f64.div (f64.const 1) (f64.const 2)))
            (if (result i32) (local.get 0)
                (then (call $f (i32.sub (local.get 0) (i32.const 1))))
                (else (call_indirect (type $t) (i32.const 0) (i32.const 1))))
            (select (i32.const 1) (i32.trunc_sat_f64_s (local.get 1)) (memory.size))
            (i32.add)))"#;
    let bytes = wat::parse_str(text).expect("it is well-formed");
    Module::new(engine(), &bytes).expect("it compiles");
    let mut refused = 0;
    for length in 0..bytes.len() {
        refused += usize::from(Module::new(engine(), &bytes[..length]).is_err());
    }
    // What ends between two sections may be a module.
    assert!(refused > bytes.len() - 12, "{refused} of {}", bytes.len());
    let mut state = 7u32;
    for at in 0..bytes.len() {
        for _ in 0..12 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut changed = bytes.clone();
            changed[at] = (state >> 24) as u8;
            // Compiles or not; what counts is that it comes back.
            if let Err(error) = Module::new(engine(), &changed) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[test]
fn programs_with_changed_bytes_are_survived() {
    let cases = std::env::var("COPATCH_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let rounds: usize = cases.unwrap_or(300) / 10;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/kernels");
    let mut state = 1u64;
    let mut next = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut programs = 0;
    for entry in std::fs::read_dir(folder).expect("the kernels are there") {
        let path = entry.expect("its entries can be read").path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        programs += 1;
        let bytes = std::fs::read(&path).expect("it can be read");
        for _ in 0..rounds {
            let mut changed = bytes.clone();
            for _ in 0..1 + next(3) {
                let at = next(changed.len());
                changed[at] = next(256) as u8;
            }
            // Compiles or not; a defect of the generator would say so.
            if let Err(error) = Module::new(engine(), &changed) {
                let message = error.to_string();
                let ours = message.contains("misuse") || message.contains("internal");
                assert!(!ours, "{}: {message}", path.display());
            }
        }
    }
    assert!(programs > 9);
}

/// Two bytes of code open a block, and its types may be thousands.
#[test]
fn blocks_have_so_many_types_together_and_no_more() {
    let values = "i32 ".repeat(1000);
    let nested = |depth: usize| {
        format!(
            "(module (type $t (func (param {values}) (result {values}))) (func (type $t) {} {} {}))",
            (0..1000)
                .map(|at| format!("(local.get {at})"))
                .collect::<String>(),
            "block (type $t) ".repeat(depth),
            "end ".repeat(depth)
        )
    };
    let compile = |text: &str| Module::new(engine(), wat::parse_str(text).unwrap());
    assert!(compile(&nested(1000)).is_ok());
    let message = compile(&nested(3000)).unwrap_err().to_string();
    assert!(message.contains("results of open blocks"), "{message}");
}
