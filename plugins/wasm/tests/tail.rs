//! Tail calls: chains that take no stack, to everything that can be called, and what their traps name.

mod common;

use common::{Alone, engine, instance, module};
use copatch_wasm::{Caller, Error, Instance, Linker, Result, Store, Trap, TrapCode, V128, Val};

/// Turns of a chain: what is left behind by each would use up every stack.
const TURNS: i64 = 10_000_000;

/// The trap that a call ends with.
fn trapped<T: std::fmt::Debug>(outcome: Result<T>) -> Trap {
    match outcome {
        Err(Error::Trap(trap)) => trap,
        other => panic!("no trap, but {other:?}"),
    }
}

#[test]
fn mutual_recursion_takes_no_stack() {
    // One with few parameters and one with many, some of them in slots, where two change places at each turn; one has called
    // before, so that it has something to undo.
    let text = r#"(module
        (func $nop)
        (func $even (export "even") (param $n i64) (result i64 f32 v128 i32)
            (if (i64.eqz (local.get $n)) (then (return
                (i64.const 42) (f32.const 1.5) (v128.const i64x2 1 2) (i32.const 7))))
            (return_call $odd
                (i64.const 0) (i64.const 1) (i64.const 2) (f32.const 3) (f32.const 4) (f32.const 5) (f32.const 6) (f32.const 7)
                (f32.const 8) (v128.const i64x2 9 10) (i64.const 11) (i64.const 12) (i64.const 13)
                (i64.sub (local.get $n) (i64.const 1))))
        (func $odd (export "odd")
            (param i64 i64 i64 f32 f32 f32 f32 f32 f32 v128 i64 i64 i64) (param $n i64) (result i64 f32 v128 i32)
            (call $nop)
            (if (i64.eqz (local.get $n)) (then (return
                (i64.sub (local.get 12) (local.get 11)) (f32.const 2.5) (local.get 9) (i32.const 8))))
            (if (i64.eqz (i64.and (local.get $n) (i64.const 2))) (then (return_call $odd
                (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)
                (local.get 8) (local.get 9) (local.get 10) (local.get 12) (local.get 11)
                (i64.sub (local.get $n) (i64.const 1)))))
            (return_call $even (i64.sub (local.get $n) (i64.const 1)))))"#;
    let mut alone = instance(text);
    for turns in [TURNS, TURNS + 1, TURNS + 2, TURNS + 3] {
        let results = alone.invoke("even", &[Val::I64(turns)]).unwrap();
        assert_eq!(results, mutual_recursion(turns), "{turns}");
    }
}

/// What the program above computes.
fn mutual_recursion(turns: i64) -> Vec<Val> {
    let (mut even, mut a, mut b) = (true, 12, 13);
    for left in (1..=turns).rev() {
        if even {
            (a, b, even) = (12, 13, false);
        } else if left & 2 == 0 {
            (a, b) = (b, a);
        } else {
            even = true;
        }
    }
    let (number, float, low, last) = match even {
        true => (42, 1.5f32, 1, 7),
        false => (b - a, 2.5f32, 9, 8),
    };
    let vector = V128::from(low | (low + 1) << 64);
    vec![
        Val::I64(number),
        float.into(),
        vector.into(),
        Val::I32(last),
    ]
}

/// Two functions that go to each other through a table.
const THROUGH_A_TABLE: &str = r#"(module
    (import "host" "table" (table $t 2 funcref))
    (type $short (func (param i64) (result i64)))
    (type $long (func (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
    (elem (i32.const 0) $f $g)
    (func $f (export "f") (type $short)
        (if (i64.eqz (local.get 0)) (then (return (i64.const 5))))
        (return_call_indirect $t (type $long) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)
            (i64.const 1) (local.get 0) (i32.const 1)))
    (func $g (type $long)
        (return_call_indirect $t (type $short) (i64.sub (local.get 7) (local.get 6)) (i32.const 0))))"#;

#[test]
fn a_chain_through_a_table_takes_no_stack() {
    let own = THROUGH_A_TABLE.replace(
        "(import \"host\" \"table\" (table $t 2 funcref))",
        "(table $t 2 funcref)",
    );
    let mut alone = instance(&own);
    assert_eq!(
        alone.invoke("f", &[Val::I64(TURNS)]).unwrap(),
        [Val::I64(5)]
    );

    // Elements of a table that others use as well are stubs.
    let mut store = Store::new(engine(), ());
    let mut linker = Linker::new(engine());
    let host = linker
        .instantiate(
            &mut store,
            &module(r#"(module (table (export "table") 2 funcref))"#),
        )
        .unwrap();
    linker.instance(&store, "host", host).unwrap();
    let shared = linker
        .instantiate(&mut store, &module(THROUGH_A_TABLE))
        .unwrap();
    let f = shared.get_typed_func::<i64, i64>(&store, "f").unwrap();
    assert_eq!(f.call(&mut store, TURNS).unwrap(), 5);
}

#[test]
fn host_functions_are_called_and_returned_from() {
    let text = r#"(module
        (import "host" "next" (func $next (param i64 i32 f64 i64 i64 i64 i64 i64 v128) (result i64 v128)))
        (type $t (func (param i64 i32 f64 i64 i64 i64 i64 i64 v128) (result i64 v128)))
        (table 1 funcref) (elem (i32.const 0) $next)
        (func (export "direct") (param i64) (result i64 v128)
            (return_call $next (local.get 0) (i32.const 1) (f64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)
                (i64.const 7) (v128.const i64x2 8 9)))
        (func (export "indirect") (param i64) (result i64 v128)
            (return_call_indirect (type $t) (local.get 0) (i32.const 1) (f64.const 2) (i64.const 3) (i64.const 4) (i64.const 5)
                (i64.const 6) (i64.const 7) (v128.const i64x2 8 9) (i32.const 0))))"#;
    let mut linker = Linker::new(engine());
    linker
        .func_wrap(
            "host",
            "next",
            |mut caller: Caller<'_, u32>,
             a: i64,
             b: i32,
             c: f64,
             d: i64,
             e: i64,
             f: i64,
             g: i64,
             h: i64,
             i: V128| {
                *caller.data_mut() += 1;
                let all = [i64::from(b), c as i64, d, e, f, g, h];
                assert_eq!(all, [1, 2, 3, 4, 5, 6, 7]);
                (a * 2, i)
            },
        )
        .unwrap();
    let mut alone = Alone::new(&linker, &module(text), 0).unwrap();
    for (calls, name) in ["direct", "indirect"].into_iter().enumerate() {
        let results = alone.invoke(name, &[Val::I64(21)]).unwrap();
        let vector = V128::from(8 | 9 << 64);
        assert_eq!(results, [Val::I64(42), vector.into()]);
        assert_eq!(*alone.store.data(), calls as u32 + 1);
    }
}

/// A store with two instances that go to each other, by import and through a table of both.
fn two() -> (Store<()>, Instance) {
    let mut store = Store::new(engine(), ());
    let mut linker = Linker::new(engine());
    let first = r#"(module
        (type $t (func (param i64) (result i64)))
        (global $n (mut i64) (i64.const 0))
        (table $t (export "table") 2 funcref) (elem (i32.const 0) $f)
        (func $f (export "f") (type $t)
            (global.set $n (i64.add (global.get $n) (i64.const 1)))
            (if (i64.eqz (local.get 0)) (then (return (global.get $n))))
            (return_call_indirect $t (type $t) (i64.sub (local.get 0) (i64.const 1)) (i32.const 1))))"#;
    let second = r#"(module
        (type $t (func (param i64) (result i64)))
        (import "first" "f" (func $f (type $t)))
        (import "first" "table" (table $t 2 funcref)) (elem (i32.const 1) $g)
        (func $g (type $t)
            (if (i64.eqz (local.get 0)) (then (return (i64.const -1))))
            (return_call $f (i64.sub (local.get 0) (i64.const 1)))))"#;
    let first = linker.instantiate(&mut store, &module(first)).unwrap();
    linker.instance(&store, "first", first).unwrap();
    linker.instantiate(&mut store, &module(second)).unwrap();
    (store, first)
}

/// Each way into another instance is a call, so such a chain is as long as the stack allows, and ends like a recursion.
#[test]
fn a_chain_between_instances_is_one_of_calls() {
    let (mut store, first) = two();
    let f = first.get_typed_func::<i64, i64>(&store, "f").unwrap();
    assert_eq!(f.call(&mut store, 100).unwrap(), 51);
    assert_eq!(f.call(&mut store, 101).unwrap(), -1);
    let trap = trapped(f.call(&mut store, TURNS));
    assert_eq!(trap.code, TrapCode::StackOverflow);
    // Nothing is left of it: the 51 turns of the first call, as many of the second, those until the stack ended, and one.
    assert!(f.call(&mut store, 0).unwrap() > 103);
}

#[test]
fn traps_name_the_instruction() {
    let cases = [
        (
            "(return_call_indirect (type $t) (i32.const 0))",
            TrapCode::UninitializedElement,
        ),
        (
            "(return_call_indirect (type $t) (i32.const 4))",
            TrapCode::UndefinedElement,
        ),
        (
            "(return_call_indirect (type $t) (i32.const -1))",
            TrapCode::UndefinedElement,
        ),
        (
            "(return_call_indirect (type $t) (i32.const 1))",
            TrapCode::IndirectCallTypeMismatch,
        ),
    ];
    for (body, code) in cases {
        let text = format!(
            r#"(module (type $t (func (result i64))) (table 4 funcref) (elem (i32.const 1) func $nop)
            (func $nop)
            (func $inner (result i64) {body})
            (func (export "f") (result i64) (return_call $inner)))"#
        );
        let bytes = wat::parse_str(&text).unwrap();
        let trap = trapped(instance(&text).invoke("f", &[]));
        assert_eq!(trap.code, code, "{body}");
        assert_eq!(trap.name.as_deref(), Some("inner"), "{body}");
        let offset = trap.offset.expect("an offset") as usize;
        assert_eq!(bytes[offset], 0x13, "{body}: {trap}");
    }
}

#[test]
fn a_trap_in_what_took_over_names_that() {
    let text = r#"(module
        (func $deep (param i64) (result i64) (i64.add (call $deep (local.get 0)) (i64.const 1)))
        (func $wrong (param i64) (result i64) (unreachable))
        (func (export "deep") (result i64) (return_call $deep (i64.const 1)))
        (func (export "wrong") (result i64) (return_call $wrong (i64.const 1))))"#;
    let mut alone = instance(text);
    for (name, code) in [
        ("deep", TrapCode::StackOverflow),
        ("wrong", TrapCode::Unreachable),
    ] {
        let trap = trapped(alone.invoke(name, &[]));
        assert_eq!((trap.code, trap.name.as_deref()), (code, Some(name)));
        assert!(trap.offset.is_some());
    }
}

/// A host function's error passes through the function that left itself for it.
#[test]
fn an_error_of_the_host_is_the_callers() {
    let text =
        r#"(module (import "host" "fail" (func $fail)) (func (export "f") (return_call $fail)))"#;
    let mut linker = Linker::new(engine());
    let fail = || -> Result<()> { Err(Error::msg("no more")) };
    linker.func_wrap("host", "fail", fail).unwrap();
    let mut alone = Alone::new(&linker, &module(text), ()).unwrap();
    let error = alone.invoke("f", &[]).expect_err("it fails");
    assert_eq!(error.to_string(), "host function: no more");
}
