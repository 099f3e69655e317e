//! Moving over from wasmi: the same program, with nothing but the crate's name changed, does the same.

mod ours {
    use copatch_wasm as wasm;
    include!("porting/program.rs");
}

mod theirs {
    use wasmi as wasm;
    include!("porting/program.rs");
}

const MODULE: &str = r#"(module
    (import "env" "log" (func $log (param i32 i32) (result i32)))
    (import "env" "mix" (func $mix (param i64 f64 f32 i32) (result f64)))
    (import "env" "back" (func $back (param i32) (result i32)))
    (import "env" "fail" (func $fail))
    (memory (export "memory") 1 4)
    (global $counter (export "counter") (mut i64) (i64.const 0))
    (table (export "table") 2 funcref) (elem (i32.const 0) $down)
    (data (i32.const 16) "hello")
    (func $start (global.set $counter (i64.const 7)) (drop (call $log (i32.const 16) (i32.const 1))))
    (start $start)
    (func (export "greet") (param i32 i32) (result i32) (call $log (local.get 0) (local.get 1)))
    (func (export "mix") (param i64 f64 f32 i32) (result f64)
        (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func $down (export "down") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (local.get 0) (call $back (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 100))))
    (func (export "swap") (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
    (func (export "fail") (call $fail))
    (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func (export "count") (global.set $counter (i64.add (global.get $counter) (i64.const 1))))
    (func (export "apply") (param i32 i32) (result i32)
        (call_indirect (param i32) (result i32) (local.get 1) (local.get 0))))"#;

#[test]
fn a_program_written_for_wasmi_does_the_same() {
    let bytes = wat::parse_str(MODULE).unwrap();
    let ours = ours::run(&bytes).unwrap();
    let theirs = theirs::run(&bytes).unwrap();
    assert_eq!(ours, theirs);
    assert!(ours.contains(&"down 115".to_owned()), "{ours:?}");
    assert!(ours.len() > 25);
}
