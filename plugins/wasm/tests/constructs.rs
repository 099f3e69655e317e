//! Every construct of the language, one small module each.

mod common;

use common::{Alone, i32s, instance, run, trap};
use copatch_wasm::{Error, TrapCode, Val};

/// Results of `f` for each argument.
fn table(text: &str, arguments: impl IntoIterator<Item = i32>) -> Vec<i32> {
    let mut instance = instance(text);
    let call = |argument| match instance.invoke("f", &[Val::I32(argument)]).as_deref() {
        Ok([Val::I32(result)]) => *result,
        other => panic!("{argument} gave {other:?}"),
    };
    arguments.into_iter().map(call).collect()
}

#[test]
fn blocks_give_values_past_branches() {
    let text = r#"(module (func (export "f") (param i32) (result i32)
        (i32.add (i32.const 100)
            (block (result i32)
                (br_if 0 (i32.const 7) (local.get 0))
                (drop)
                (i32.const 9)))))"#;
    assert_eq!(table(text, [0, 1]), [109, 107]);
}

#[test]
fn loops_sum_and_keep_their_locals() {
    let text = r#"(module (func (export "f") (param $n i32) (result i32) (local $sum i32)
        (block $done
            (loop $again
                (br_if $done (i32.eqz (local.get $n)))
                (local.set $sum (i32.add (local.get $sum) (local.get $n)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br $again)))
        (local.get $sum)))"#;
    assert_eq!(table(text, [0, 1, 10, 1000]), [0, 1, 55, 500_500]);
}

#[test]
fn loops_take_parameters() {
    let text = r#"(module (func (export "f") (param $n i32) (result i32)
        (i32.const 1)
        (loop $again (param i32) (result i32)
            (i32.mul (local.get $n))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $again (local.get $n)))))"#;
    assert_eq!(table(text, [1, 5, 10]), [1, 120, 3_628_800]);
}

#[test]
fn variables_written_behind_a_call_need_not_be_saved_but_reads_of_them_are() {
    // $x is read before the call, its value on the stack; after the call it is written at once.
    let text = r#"(module (global $g (mut i32) (i32.const 40))
        (func $h (param i32) (result i32) (i32.mul (local.get 0) (i32.const 10)))
        (func (export "f") (param $a i32) (result i32) (local $x i32)
            (local.set $x (i32.add (local.get $a) (i32.const 1)))
            (local.get $x)
            (local.set $x (call $h (local.get $x)))
            (local.set $a (i32.add (local.get $x)))
            (local.set $x (i32.add (local.get $a) (i32.const 2)))
            (call $h (i32.const 1))
            (local.set $x (global.get $g))
            (i32.add (local.get $x))
            (i32.add (local.get $a))))"#;
    assert_eq!(table(text, [0, 4]), [10 + 40 + 11, 10 + 40 + 55]);
}

#[test]
fn hundreds_of_blocks_begin_at_one_place() {
    let blocks = 300;
    let (open, close) = (
        "(block ".repeat(blocks),
        ") (local.set $sum (i32.add (local.get $sum) (i32.const 1)))".repeat(blocks),
    );
    let targets = (0..blocks)
        .map(|depth| depth.to_string())
        .collect::<Vec<_>>();
    let text = format!(
        r#"(module (func (export "f") (param $to i32) (result i32) (local $sum i32)
            {open} (br_table {} (local.get $to)) {close}
            (local.get $sum)))"#,
        targets.join(" ")
    );
    assert_eq!(table(&text, [0, 1, 299, 300]), [300, 299, 1, 1]);
}

#[test]
fn conditionals_with_and_without_else() {
    let text = r#"(module (func (export "f") (param i32) (result i32) (local i32)
        (if (i32.lt_s (local.get 0) (i32.const 0)) (then (local.set 1 (i32.const 100))))
        (i32.add (local.get 1)
            (if (result i32) (i32.and (local.get 0) (i32.const 1))
                (then (i32.const 1)) (else (i32.const 2))))))"#;
    assert_eq!(table(text, [0, 1, -1, -2]), [2, 1, 101, 102]);
}

#[test]
fn branch_tables_carry_values() {
    let text = r#"(module (func (export "f") (param i32) (result i32)
        (block $a (result i32)
            (i32.add (i32.const 10)
                (block $b (result i32)
                    (i32.mul (i32.const 3)
                        (block $c (result i32)
                            (br_table $a $b $c $b (i32.const 5) (local.get 0))))))))) "#;
    assert_eq!(table(text, [0, 1, 2, 3, 100, -1]), [5, 15, 25, 15, 15, 15]);
}

#[test]
fn branch_tables_steer_loops() {
    let text = r#"(module (func (export "f") (param $n i32) (result i32) (local $k i32)
        (block $out
            (loop $again
                (local.set $k (i32.add (local.get $k) (i32.const 1)))
                (br_table $again $out (i32.ge_s (local.get $k) (local.get $n)))))
        (local.get $k)))"#;
    assert_eq!(table(text, [1, 2, 7]), [1, 2, 7]);
}

#[test]
fn a_read_is_taken_before_a_later_write() {
    let text = r#"(module (func (export "f") (param i32) (result i32)
        (local.get 0)
        (local.set 0 (i32.const 1000))
        (block (local.set 0 (i32.add (local.get 0) (i32.const 1))))
        (local.get 0)
        (i32.sub)))"#;
    assert_eq!(table(text, [5]), [5 - 1001]);
    let text = r#"(module (func (export "f") (param i32) (result i32)
        (i32.sub (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (local.tee 0 (i32.const 3)))))"#;
    assert_eq!(table(text, [5]), [3]);
}

/// What a branch takes along is the variable's constant of that moment, be its label's variable in memory (`$x`) or in a register
/// (`$y`), and was the constant before it taken along or not.
#[test]
fn constants_written_between_branches() {
    let text = r#"(module (func (export "f") (param $n i32) (result i32) (local $x i32) (local $y i32) (local $z i32)
        (block $out
            (local.set $y (i32.add (local.get $n) (i32.const 1000)))
            (br_if $out (i32.eqz (local.get $n)))
            (local.set $x (i32.const 1))
            (local.set $y (i32.const 20))
            (local.set $z (i32.const 300))
            (br_if $out (i32.eq (local.get $n) (i32.const 1)))
            (local.set $x (i32.const 2))
            (br_if $out (i32.eq (local.get $n) (i32.const 2)))
            (local.set $x (i32.const 3))
            (local.set $x (i32.const 4))
            (local.set $y (i32.const 40))
            (br_if $out (i32.eq (local.get $n) (i32.const 3)))
            (local.set $y (local.get $n))
            (local.set $z (i32.const 500))
            (br_if $out (i32.eq (local.get $n) (i32.const 4)))
            (local.set $y (i32.const 60))
            (local.set $x (local.get $n))
            (br_if $out (i32.eq (local.get $n) (i32.const 5)))
            (local.set $x (i32.const 7))
            (local.set $z (i32.const 700)))
        (i32.add (local.get $x) (i32.add (local.get $y) (local.get $z)))))"#;
    let expected = [1000, 321, 322, 344, 508, 565, 767];
    assert_eq!(table(text, 0..7), expected);
}

#[test]
fn swapped_locals_in_a_loop() {
    let text = r#"(module (func (export "f") (param $n i32) (result i32) (local $a i32) (local $b i32)
        (local.set $b (i32.const 1))
        (block $done (loop $again
            (br_if $done (i32.eqz (local.get $n)))
            (local.get $b)
            (i32.add (local.get $a) (local.get $b))
            (local.set $b)
            (local.set $a)
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br $again)))
        (local.get $a)))"#;
    assert_eq!(table(text, [1, 2, 3, 10, 30]), [1, 1, 2, 55, 832_040]);
}

/// A function with a loop that reserves every register it may for `$a` to `$d` and `$n`, and runs `body` in each round.
fn crowded(body: &str) -> String {
    format!(
        r#"(module (func (export "f") (param $n i32) (result i32)
        (local $a i32) (local $b i32) (local $c i32) (local $d i32) (local $x i32) (local $y i32) (local $z i32)
        (local.set $x (i32.mul (local.get $n) (i32.const 3)))
        (loop $again
            (local.set $a (i32.add (local.get $a) (local.get $n)))
            (local.set $b (i32.add (local.get $b) (local.get $a)))
            (local.set $c (i32.add (local.get $c) (local.get $b)))
            (local.set $d (i32.add (local.get $d) (local.get $c)))
            (local.set $a (i32.xor (local.get $d) (local.get $a)))
            (local.set $b (i32.xor (local.get $d) (local.get $b)))
            (local.set $c (i32.xor (local.get $d) (local.get $c)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            {body}
            (br_if $again (local.get $n)))
        (i32.add (local.get $x) (i32.add (local.get $d)
            (i32.add (local.get $c) (i32.add (local.get $a) (local.get $b)))))))"#
    )
}

#[test]
fn a_variable_is_written_while_it_is_read_and_every_register_is_in_use() {
    // The quotient's operands have two of the three registers that are left, the variable has the third, and its old
    // value has to outlive the write.
    let text = crowded(
        "(local.get $x)
        (local.tee $x (i32.div_u (i32.and (local.get $x) (i32.const 65535)) (i32.const 10)))
        (local.set $d (i32.add (i32.add) (local.get $d)))",
    );
    assert_eq!(table(&text, [1, 2, 7]), [4, 33, 201884]);
}

#[test]
fn a_branch_carries_a_variable_while_every_register_is_in_use() {
    // The comparison's operands have two of the three registers that are left, and what the branch carries the third.
    let text = crowded(
        "(local.set $x (i32.add (local.get $x) (local.get $a)))
        (local.set $y (i32.add (local.get $x) (local.get $b)))
        (local.set $z (i32.add (local.get $y) (local.get $c)))
        (local.set $d (block $l (result i32)
            (br_if $l (local.get $x) (i32.lt_s (local.get $y) (local.get $z)))
            (drop)
            (i32.xor (local.get $y) (local.get $d))))",
    );
    assert_eq!(table(&text, [1, 2, 7]), [5, 32, 257489]);
}

#[test]
fn functions_return_several_values() {
    let text = r#"(module
        (func $swap (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
        (func (export "f") (param i32 i64) (result i64 i32 f32 f64 i32 i32 i32 i32 i32 i32)
            (call $swap (local.get 0) (local.get 1))
            (f32.const 1.5) (f64.const -2.5)
            (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5) (i32.const 6)))"#;
    let results = run(text, "f", &[Val::I32(-3), Val::I64(1 << 40)]);
    let mut expected = vec![
        Val::I64(1 << 40),
        Val::I32(-3),
        1.5f32.into(),
        (-2.5f64).into(),
    ];
    expected.extend(i32s([1, 2, 3, 4, 5, 6]));
    assert_eq!(results, expected);
}

#[test]
fn many_parameters_of_every_type_arrive() {
    let params = "i32 i64 f32 f64 ".repeat(6);
    let pass: String = (0..24)
        .rev()
        .map(|index| format!("(local.get {index}) "))
        .collect();
    let reversed = "f64 f32 i64 i32 ".repeat(6);
    let text = format!(
        r#"(module
        (func $reverse (param {params}) (result {reversed}) {pass})
        (func (export "f") (param {params}) (result {reversed}) {} (call $reverse)))"#,
        (0..24)
            .map(|index| format!("(local.get {index}) "))
            .collect::<String>()
    );
    let mut arguments = Vec::new();
    for at in 0..6 {
        arguments.push(Val::I32(at - 3));
        arguments.push(Val::I64(i64::from(at) << 33));
        arguments.push((at as f32 + 0.5).into());
        arguments.push((-f64::from(at)).into());
    }
    let results = run(&text, "f", &arguments);
    arguments.reverse();
    assert_eq!(results, arguments);
}

#[test]
fn recursion_keeps_each_frame() {
    let text = r#"(module
        (func $fib (export "f") (param i32) (result i32)
            (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                (then (local.get 0))
                (else (i32.add
                    (call $fib (i32.sub (local.get 0) (i32.const 1)))
                    (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#;
    assert_eq!(table(text, [0, 1, 2, 20]), [0, 1, 1, 6765]);
}

#[test]
fn mutual_recursion_through_a_table() {
    let text = r#"(module
        (type $t (func (param i32) (result i32)))
        (table funcref (elem $even $odd))
        (func $even (type $t) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
            (else (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))
        (func $odd (type $t) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
            (else (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))
        (export "f" (func $even)))"#;
    assert_eq!(table(text, [0, 1, 10, 11]), [1, 0, 1, 0]);
}

#[test]
fn select_of_every_type() {
    let text = r#"(module (func (export "f") (param i32) (result i32 i64 f32 f64)
        (select (i32.const 1) (i32.const 2) (local.get 0))
        (select (i64.const 3) (i64.const 4) (local.get 0))
        (select (f32.const 5) (f32.const 6) (i32.eqz (local.get 0)))
        (select (f64.const 7) (f64.const 8) (i32.lt_s (local.get 0) (i32.const 1)))))"#;
    let expect = |a: i32, b: i64, c: f32, d: f64| vec![a.into(), b.into(), c.into(), d.into()];
    assert_eq!(run(text, "f", &[Val::I32(1)]), expect(1, 3, 6.0, 8.0));
    assert_eq!(run(text, "f", &[Val::I32(0)]), expect(2, 4, 5.0, 7.0));
}

#[test]
fn globals_of_every_type_keep_their_values() {
    let text = r#"(module
        (global $a (mut i32) (i32.const 1)) (global $b (mut i64) (i64.const 2))
        (global $c (mut f32) (f32.const 3)) (global $d (export "d") (mut f64) (f64.const 4))
        (global $k i32 (i32.const 77)) (global $e (export "e") i64 (i64.const -5))
        (func (export "f") (result i32 i64 f32 f64 i32)
            (global.set $a (i32.add (global.get $a) (global.get $k)))
            (global.set $b (i64.shl (global.get $b) (i64.const 40)))
            (global.set $c (f32.neg (global.get $c)))
            (global.set $d (f64.mul (global.get $d) (global.get $d)))
            (global.get $a) (global.get $b) (global.get $c) (global.get $d) (global.get $k)))"#;
    let mut instance = instance(text);
    let expected: Vec<Val> = vec![
        78.into(),
        (2i64 << 40).into(),
        (-3f32).into(),
        16f64.into(),
        77.into(),
    ];
    assert_eq!(instance.invoke("f", &[]).unwrap(), expected);
    assert_eq!(instance.global("d"), 16f64.into());
    assert_eq!(instance.global("e"), Val::I64(-5));
    let [d, e] =
        ["d", "e"].map(|name| instance.instance.get_global(&instance.store, name).unwrap());
    d.set(&mut instance.store, 0.5f64.into()).unwrap();
    for (global, value) in [(d, Val::I32(0)), (e, Val::I64(0))] {
        let refused = global.set(&mut instance.store, value);
        assert!(matches!(refused, Err(Error::Arguments { .. })));
    }
    instance.invoke("f", &[]).unwrap();
    assert_eq!(instance.global("d"), 0.25f64.into());
}

#[test]
fn code_after_an_unconditional_branch_is_ignored() {
    let text = r#"(module (func (export "f") (param i32) (result i32)
        (block $a (result i32)
            (br $a (i32.const 1))
            (unreachable) (block (result i32) (unreachable) (drop) (loop (br 0)) (unreachable))
            (if (result i32) (i32.const 0) (then (unreachable) (i32.add)) (else (f32.const 0) (drop) (i32.const 3)))
            (i32.add))
        (drop)
        (if (local.get 0) (then (return (i32.const 8)) (call 0 (i32.const 1)) (drop)))
        (i32.const 9)))"#;
    assert_eq!(table(text, [0, 1]), [9, 8]);
}

#[test]
fn a_start_function_runs_once() {
    let text = r#"(module (global $n (export "n") (mut i32) (i32.const 0))
        (func $start (global.set $n (i32.add (global.get $n) (i32.const 1))))
        (start $start))"#;
    assert_eq!(instance(text).global("n"), Val::I32(1));
}

#[test]
fn deep_recursion_is_a_trap_and_leaves_the_instance_usable() {
    let text = r#"(module
        (func $f (export "f") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
                (else (i32.const 0))))
        (func $g (export "g") (call $g)))"#;
    let mut instance = instance(text);
    assert_eq!(instance.invoke("f", &i32s([5000])).unwrap(), i32s([5000]));
    assert_eq!(
        trap(&mut instance, "f", &i32s([-1])),
        TrapCode::StackOverflow
    );
    assert_eq!(trap(&mut instance, "g", &[]), TrapCode::StackOverflow);
    assert_eq!(instance.invoke("f", &i32s([100])).unwrap(), i32s([100]));
}

#[test]
fn instances_do_not_share_state() {
    let module = common::module(
        r#"(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
        (func (export "f") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 10)))
            (i32.add (global.get $n) (i32.load8_u (i32.const 0)))))"#,
    );
    let linker = copatch_wasm::Linker::new(common::engine());
    let mut one = Alone::new(&linker, &module, ()).unwrap();
    let mut two = Alone::new(&linker, &module, ()).unwrap();
    assert_eq!(one.invoke("f", &[]).unwrap(), i32s([11]));
    assert_eq!(one.invoke("f", &[]).unwrap(), i32s([22]));
    assert_eq!(two.invoke("f", &[]).unwrap(), i32s([11]));
    drop(module);
    drop(one);
    assert_eq!(two.invoke("f", &[]).unwrap(), i32s([22]));
}

#[test]
fn a_module_runs_on_several_threads() {
    let module = common::module(
        r#"(module (func $fib (export "f") (param i32) (result i32)
            (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
                (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                               (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#,
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let linker = copatch_wasm::Linker::new(common::engine());
                let mut instance = Alone::new(&linker, &module, ()).unwrap();
                assert_eq!(instance.invoke("f", &i32s([18])).unwrap(), i32s([2584]));
            });
        }
    });
}

#[test]
fn a_last_read_survives_what_is_emitted_just_before_it() {
    // The remainder, the load and the parameters leave the select no register but that of the variable it reads, and it is
    // emitted when the variable's last read has begun.
    let text = r#"(module (memory (export "memory") 1)
        (global $g i64 (i64.const 1)) (global $h (mut i64) (i64.const 7)) (global $k (mut i32) (i32.const 3))
        (func (export "f") (param i64 i64 f32 i64 i64 f32 i32 i64 i64 i64) (result i64 i64 i64 i32 i32)
            (i64.rem_s (global.get $h) (global.get $h))
            (i64.load (i32.and (i32.const 0) (i32.const 255)))
            (i64.trunc_f32_s (local.get 2))
            (select (local.get 6) (global.get $k) (local.get 6))
            (local.get 6)
            (br_if 0 (i32.const 1))
            (drop) (drop) (drop) (drop) (drop)
            (i64.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))"#;
    let one = Val::I64(1);
    let half = Val::from(0.5f32);
    let arguments = [one, one, half, one, one, half, Val::I32(9), one, one, one];
    let zero = Val::I64(0);
    assert_eq!(
        run(text, "f", &arguments),
        [zero, zero, zero, Val::I32(9), Val::I32(9)]
    );
}

/// Hundreds of bytes of code for a byte of WebAssembly: more than is reserved at first.
#[test]
fn few_bytes_that_become_much_code_are_compiled() {
    let results = "i32 ".repeat(1000);
    let functions = "(func (type $t) (call 0))".repeat(400);
    let text = format!(
        "(module (type $t (func (result {results}))) (func (type $t) {} ) {functions}
            (func (export \"last\") (result i32) (call 400) {}))",
        "(i32.const 7) ".repeat(1000),
        "(drop)".repeat(999)
    );
    let mut instance = instance(&text);
    assert_eq!(instance.invoke("last", &[]).unwrap(), i32s([7]));
}
