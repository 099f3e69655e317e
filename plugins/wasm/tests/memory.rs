//! Linear memory, tables and segments, and the traps they raise.

mod common;

use std::collections::BTreeSet;

use common::{Alone, i32s, instance, module, trap};
use copatch::plugin::Explanation;
use copatch_wasm::{Error, Linker, Module, TrapCode, Val};

#[test]
fn loads_and_stores_of_every_width() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "f") (param i64) (result i32 i32 i32 i32 i64 i64 i64 f32 f64)
            (i64.store offset=8 (i32.const 8) (local.get 0))
            (i32.load8_s (i32.const 16)) (i32.load8_u offset=16 (i32.const 0))
            (i32.load16_s (i32.const 16)) (i32.load16_u (i32.const 16))
            (i64.load32_s (i32.const 16)) (i64.load32_u (i32.const 16)) (i64.load (i32.const 16))
            (f32.load (i32.const 16)) (f64.load (i32.const 16)))
        (func (export "g") (result i64)
            (i64.store (i32.const 0) (i64.const -1))
            (i32.store8 (i32.const 0) (i32.const 0x180))
            (i32.store16 offset=2 (i32.const 0) (i32.const 0x12345))
            (i64.store32 offset=4 (i32.const 0) (i64.const 0x1_0000_0002))
            (i64.load (i32.const 0))))"#;
    let bits = 0xffee_ddcc_8899_9290u64;
    let expected = vec![
        Val::I32(bits as i8 as i32),
        Val::I32(bits as u8 as i32),
        Val::I32(bits as i16 as i32),
        Val::I32(bits as u16 as i32),
        Val::I64(bits as i32 as i64),
        Val::I64(bits as u32 as i64),
        Val::I64(bits as i64),
        Val::F32(bits as u32),
        Val::F64(bits),
    ];
    let mut instance = instance(text);
    assert_eq!(
        instance.invoke("f", &[Val::I64(bits as i64)]).unwrap(),
        expected
    );
    assert_eq!(
        instance.invoke("g", &[]).unwrap(),
        [Val::I64(0x0000_0002_2345_ff80)]
    );
}

/// As Go's compiler writes addresses: widened, added to in 64 bits, cut back.
fn sum(base: &str, constant: i64) -> String {
    format!("(i32.wrap_i64 (i64.add (i64.extend_i32_u {base}) (i64.const {constant})))")
}

#[test]
fn sums_of_addresses_wrap_before_the_access() {
    let mut instance = instance(&format!(
        r#"(module (memory (export "memory") 1)
            (func (export "f") (param i32 i64) (result i64)
                (i64.store {} (local.get 1))
                (i64.store8 {} (i64.const 0x77))
                (i64.store32 {} (local.get 1))
                (i64.load {}))
            (func (export "store") (param i32) (i64.store {} (i64.const -1)))
            (func (export "load") (param i32) (result i64) (i64.load {}))
            (func (export "byte") (param i32) (result i64) (i64.load8_u {})))"#,
        sum("(local.get 0)", 16),
        sum("(local.get 0)", 300),
        sum("(local.get 0)", 20),
        sum("(local.get 0)", 0x1_0000_0010),
        sum("(local.get 0)", 8),
        sum("(local.get 0)", 8),
        sum("(local.get 0)", 0x7fff_ffff),
    ));
    let bits = 0x0123_4567_89ab_cdef_i64;
    let expected = (bits & 0xffff_ffff) << 32 | bits & 0xffff_ffff;
    for at in [0, 1, 65000, -16] {
        let arguments = [Val::I32(at), Val::I64(bits)];
        assert_eq!(
            instance.invoke("f", &arguments).unwrap(),
            [Val::I64(expected)],
            "{at}"
        );
    }
    let out = TrapCode::MemoryOutOfBounds;
    for at in [65536 - 15, 65536, i32::MAX, i32::MIN, -9] {
        for name in ["store", "load"] {
            assert_eq!(trap(&mut instance, name, &i32s([at])), out, "{name} {at}");
        }
    }
    for at in [-8, 65536 - 16] {
        instance.invoke("store", &i32s([at])).unwrap();
        let found = instance.invoke("load", &i32s([at])).unwrap();
        assert_eq!(found, [Val::I64(-1)], "{at}");
    }
    assert_eq!(
        instance.invoke("byte", &i32s([i32::MIN + 2])).unwrap(),
        [Val::I64(0xff)]
    );
    assert_eq!(trap(&mut instance, "byte", &i32s([0])), out);
}

#[test]
fn a_load_that_is_cut_reads_all_its_bytes() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "f") (param i32) (result i32)
            (i64.store (i32.const 65528) (i64.const -2))
            (i32.wrap_i64 (i64.load offset=3 (local.get 0))))
        (func (export "far") (param i32) (result i32)
            (i32.wrap_i64 (i64.load offset=0x80000000 (local.get 0)))))"#;
    let mut instance = instance(text);
    let read = instance.invoke("f", &i32s([65525])).unwrap();
    assert_eq!(read, i32s([-2]));
    let out = TrapCode::MemoryOutOfBounds;
    for at in [65526, 65529, 65533, -3] {
        assert_eq!(trap(&mut instance, "f", &i32s([at])), out, "{at}");
    }
    assert_eq!(trap(&mut instance, "far", &i32s([0])), out);
}

/// What a front end joins must be good for whatever it joins, under every pack.
#[test]
fn joined_accesses_take_every_constant() {
    let constants = (0..31)
        .flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])
        // The greatest one that an access takes: just below the range that riscv64 cannot build.
        .chain([i32::MAX - 0x800])
        .filter(|constant| *constant > 0);
    let mut text = "(module (memory 1) (func (export \"f\") (param i32 i64)\n".to_owned();
    for constant in constants {
        let at = sum("(local.get 0)", i64::from(constant));
        for access in ["i64.load", "i64.load8_u"] {
            text += &format!("(drop ({access} {at}))");
        }
        for access in ["i64.store", "i64.store8", "i64.store32"] {
            text += &format!("({access} {at} (local.get 1))");
            text += &format!("({access} {at} (i64.const {constant}))");
            text += &format!("({access} {at} (i64.const 0x123456789))");
        }
    }
    let joined: BTreeSet<String> = ops(&format!("{text}))"))
        .into_iter()
        .filter(|op| op.contains("load") || op.contains("store"))
        .collect();
    let expected = ["load8_u", "load", "store32", "store8", "store"];
    assert_eq!(
        joined.into_iter().collect::<Vec<_>>(),
        expected.map(|name| format!("i64.{name}_sum"))
    );
    let narrow = r#"(module (memory 1) (func (param i32) (result i32)
        (i32.wrap_i64 (i64.load (local.get 0)))))"#;
    assert!(ops(narrow).contains(&"i64.load_wrap".to_owned()));
}

#[test]
fn an_address_that_is_known_is_cut_when_it_is_compiled() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "f") (result i64)
            (i64.store (i32.wrap_i64 (i64.const 0x5_0000_0010)) (i64.const 7))
            (i64.load (i32.const 16)))
        (func (export "cut") (result i32) (i32.wrap_i64 (i64.const -0x1_0000_0002))))"#;
    let mut instance = instance(text);
    assert_eq!(instance.invoke("f", &[]).unwrap(), [Val::I64(7)]);
    assert_eq!(instance.invoke("cut", &[]).unwrap(), i32s([-2]));
    assert!(!ops(text).contains(&"i32.wrap_i64".to_owned()));
}

/// As Go's compiler writes conditions: compared, widened, compared with zero, turned round.
#[test]
fn a_widened_condition_fuses_with_its_branch() {
    let text = r#"(module
        (func (export "f") (param i64) (result i32)
            (if (result i32) (i32.eqz (i64.eqz (i64.extend_i32_u (i64.lt_s (local.get 0) (i64.const 5)))))
                (then (i32.const 1)) (else (i32.const 2))))
        (func (export "value") (param i32) (result i32) (i64.eqz (i64.extend_i32_u (local.get 0)))))"#;
    let mut instance = instance(text);
    for (argument, result) in [(4, 1), (5, 2), (-1, 1)] {
        let found = instance.invoke("f", &[Val::I64(argument)]).unwrap();
        assert_eq!(found, i32s([result]), "{argument}");
    }
    for (argument, result) in [(0, 1), (1, 0), (-1, 0), (i32::MIN, 0)] {
        let found = instance.invoke("value", &i32s([argument])).unwrap();
        assert_eq!(found, i32s([result]), "{argument}");
    }
    let computing = |op: &String| op.starts_with("i64.") || op.starts_with("i32.");
    let ops: Vec<String> = ops(text).into_iter().filter(computing).collect();
    assert_eq!(ops, ["i64.lt_s"]);
}

/// As Go's compiler enters functions again: a table on a variable that nothing else reads.
#[test]
fn no_target_of_a_table_expects_what_was_loaded_for_it() {
    let text = r#"(module
        (func (export "f") (param i32) (result i32)
            (loop
                (block $second
                    (block $first (br_table $first $second (local.get 0)))
                    (call $g)))
            (i32.const 7))
        (func $g))"#;
    let found = instance(text).invoke("f", &i32s([0])).unwrap();
    assert_eq!(found, i32s([7]));
    let moves = ops(text).into_iter().filter(|op| op == "core.move_i32");
    // The parameter to its slot, from there for the table, and the result.
    assert_eq!(moves.count(), 3);
}

/// As Go's compiler goes on elsewhere in a function, and programs of states do: a variable is set, and a loop begins anew.
#[test]
fn leaving_for_another_state_changes_nothing_where_it_is_not_done() {
    // Variable 1 is in a register when it is decided; the last `if` carries a value, and is none of these.
    let text = r#"(module
        (func (export "f") (param $state i32) (param $n i64) (result i64)
            (local $sum i64)
            (block $done (result i64)
                (loop $next
                    (block $odd (block $even (block $start
                        (br_table $start $even $odd (local.get $state))))
                        ;; even
                        (local.set $sum (i64.add (local.get $sum) (i64.const 100)))
                        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
                        (if (i64.ne (local.get $n) (i64.const 0)) (then (local.set $state (i32.const 200)) (br $next)))
                        (br $done (local.get $sum)))
                    ;; odd
                    (local.set $sum (i64.add (local.get $sum) (i64.const 1)))
                    (local.set $n (i64.sub (local.get $n) (i64.const 1)))
                    (if (i64.eqz (local.get $n)) (then (br $done (local.get $sum))))
                    (if (i64.ne (local.get $n) (i64.const -1)) (then (local.set $state (i32.const 1)) (br $next)))
                    (i64.const -1)
                    (br $done))
                (unreachable)))
        (func (export "known") (param $state i32) (result i32)
            (loop $next
                (if (i32.lt_s (local.get $state) (i32.const 3))
                    (then (local.set $state (i32.const 5)) (br $next)))
                (if (i32.const 0) (then (local.set $state (i32.const 9)) (br $next)))
                (if (i32.eq (local.get $state) (i32.const 5))
                    (then (local.set $state (i32.const 1000)) (br $next))))
            (if (i32.const 1) (then (local.set $state (i32.add (local.get $state) (i32.const 1)))))
            (local.get $state))
        (func (export "pinned") (param $n i32) (result i32)
            (local $state i32) (local $count i32)
            (loop $next
                (local.set $count (i32.add (local.get $count) (local.get $state)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (if (i32.gt_s (local.get $n) (i32.const 5)) (then (local.set $state (i32.const 10)) (br $next)))
                (if (i32.gt_s (local.get $n) (i32.const 0)) (then (local.set $state (i32.const 1)) (br $next))))
            (i32.mul (local.get $count) (local.get $state))))"#;
    let mut instance = instance(text);
    for n in 1..7 {
        // From state 1 on the even and the odd state take turns, but for the first two.
        let found = instance.invoke("f", &[Val::I32(1), Val::I64(n)]).unwrap();
        let [Val::I64(sum)] = found[..] else { panic!() };
        let mut expected = (0, 1, n);
        let total = loop {
            expected.0 += if expected.1 < 2 { 100 } else { 1 };
            expected.2 -= 1;
            if expected.2 == 0 {
                break expected.0;
            }
            expected.1 = if expected.1 < 2 { 200 } else { 1 };
        };
        assert_eq!(sum, total, "{n}");
    }
    for (state, result) in [(0, 1001), (2, 1001), (5, 1001), (7, 8)] {
        let found = instance.invoke("known", &i32s([state])).unwrap();
        assert_eq!(found, i32s([result]), "{state}");
    }
    for (n, result) in [(1, 0), (3, 2), (8, 25)] {
        let found = instance.invoke("pinned", &i32s([n])).unwrap();
        assert_eq!(found, i32s([result]), "{n}");
    }
}

/// The operations that a module's first function was made of.
fn ops(text: &str) -> Vec<String> {
    let engine = common::engine();
    let bytes = wat::parse_str(text).unwrap();
    let module = Module::with_trace(engine, &bytes).unwrap();
    let name = |index: u32| index.to_string();
    let explained = Explanation::new(module.program(), engine.pack(), None, &name).unwrap();
    let stencils = explained.functions.into_iter().next().unwrap().stencils;
    stencils.into_iter().map(|stencil| stencil.op).collect()
}

#[test]
fn accesses_beyond_the_end_trap_wherever_they_are() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "near") (param i32) (result i32) (i32.load8_u offset=65535 (local.get 0)))
        (func (export "high") (param i32) (result i32) (i32.load8_u offset=0x7fffffff (local.get 0)))
        (func (export "far") (param i32) (result i32) (i32.load8_u offset=0xffffffff (local.get 0)))
        (func (export "store") (param i32) (i64.store (local.get 0) (i64.const -1)))
        (func (export "far store") (param i32)
            (f64.store offset=0x80000000 (local.get 0) (f64.const 1))))"#;
    let mut instance = instance(text);
    let out = TrapCode::MemoryOutOfBounds;
    assert_eq!(instance.invoke("load", &i32s([65532])).unwrap(), i32s([0]));
    for at in [65533, 65536, i32::MAX, i32::MIN, -1, -4] {
        assert_eq!(trap(&mut instance, "load", &i32s([at])), out);
    }
    assert_eq!(instance.invoke("near", &i32s([0])).unwrap(), i32s([0]));
    assert_eq!(trap(&mut instance, "near", &i32s([1])), out);
    for at in [0, 1, -1] {
        assert_eq!(trap(&mut instance, "high", &i32s([at])), out);
        assert_eq!(trap(&mut instance, "far", &i32s([at])), out);
        assert_eq!(trap(&mut instance, "far store", &i32s([at])), out);
    }
    for at in 65529..65537 {
        assert_eq!(trap(&mut instance, "store", &i32s([at])), out);
    }
    assert!(
        instance.memory().iter().all(|byte| *byte == 0),
        "a store that traps writes nothing"
    );
}

#[test]
fn far_offsets_reach_a_large_memory() {
    let text = r#"(module (memory (export "memory") 32769)
        (func (export "f") (param i32) (result i32)
            (i32.store8 offset=0x80000000 (local.get 0) (i32.const 7))
            (f32.store offset=0x80000004 (local.get 0) (f32.const 1))
            (i32.add (i32.load8_u offset=0x80000000 (local.get 0)) (i32.load offset=0x80000004 (local.get 0)))))"#;
    let mut instance = instance(text);
    assert_eq!(
        instance.invoke("f", &i32s([16])).unwrap(),
        i32s([7 + 0x3f80_0000])
    );
    assert_eq!(instance.memory()[0x8000_0010], 7);
    assert_eq!(
        trap(&mut instance, "f", &i32s([65536])),
        TrapCode::MemoryOutOfBounds
    );
}

#[test]
fn far_stores_deep_in_a_resumable_loop_are_found() {
    // The scan looks at the beginning of such a loop only.
    let filler = "(local.set $n (i32.add (local.get $n) (i32.const 1)))".repeat(1000);
    let text = format!(
        r#"(module (memory 1)
        (func (export "f") (param $at i32) (result i32) (local $n i32) (local $go i32)
            (loop $again
                (block $second (block $first (br_table $first $second (local.get $go)))
                    {filler}
                    (local.set $go (i32.const 1))
                    (br $again))
                (if (local.get $at)
                    (then (i32.store offset=0x80000000 (local.get $at) (local.get $n)))))
            (local.get $n)))"#
    );
    let module = module(&text);
    // Four for each line of the filler, and 19 around them, counted once although the function is begun twice.
    assert_eq!(module.timings().operations, 4 * 1000 + 19);
    let mut instance = instance(&text);
    assert_eq!(instance.invoke("f", &i32s([0])).unwrap(), i32s([1000]));
    assert_eq!(
        trap(&mut instance, "f", &i32s([4])),
        TrapCode::MemoryOutOfBounds
    );
}

#[test]
fn memory_grows_to_its_maximum() {
    let text = r#"(module (memory (export "memory") 1 3)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "size") (result i32) (memory.size))
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#;
    let mut instance = instance(text);
    assert_eq!(
        trap(&mut instance, "load", &i32s([65536])),
        TrapCode::MemoryOutOfBounds
    );
    assert_eq!(instance.invoke("grow", &i32s([0])).unwrap(), i32s([1]));
    assert_eq!(instance.invoke("grow", &i32s([2])).unwrap(), i32s([1]));
    assert_eq!(instance.invoke("size", &[]).unwrap(), i32s([3]));
    assert_eq!(
        instance.invoke("load", &i32s([65536 * 3 - 4])).unwrap(),
        i32s([0])
    );
    assert_eq!(instance.invoke("grow", &i32s([1])).unwrap(), i32s([-1]));
    assert_eq!(instance.invoke("grow", &i32s([-1])).unwrap(), i32s([-1]));
    assert_eq!(instance.invoke("size", &[]).unwrap(), i32s([3]));
}

#[test]
fn bulk_operations_check_before_they_write() {
    let text = r#"(module (memory (export "memory") 1)
        (data $d "abcdef")
        (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
        (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
        (func (export "init") (param i32 i32 i32) (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
        (func (export "drop") (data.drop $d)))"#;
    let mut instance = instance(text);
    let out = TrapCode::MemoryOutOfBounds;
    instance.invoke("init", &i32s([4, 1, 4])).unwrap();
    assert_eq!(&instance.memory()[..10], b"\0\0\0\0bcde\0\0");
    instance.invoke("copy", &i32s([5, 4, 4])).unwrap();
    assert_eq!(&instance.memory()[..10], b"\0\0\0\0bbcde\0");
    instance.invoke("copy", &i32s([3, 4, 4])).unwrap();
    assert_eq!(&instance.memory()[..10], b"\0\0\0bbcdde\0");
    instance.invoke("fill", &i32s([1, 0x141, 3])).unwrap();
    assert_eq!(&instance.memory()[..10], b"\0AAAbcdde\0");
    let before = instance.memory().to_vec();
    assert_eq!(trap(&mut instance, "fill", &i32s([65530, 1, 7])), out);
    assert_eq!(trap(&mut instance, "fill", &i32s([-1, 1, -1])), out);
    assert_eq!(trap(&mut instance, "copy", &i32s([0, 65536, 1])), out);
    assert_eq!(trap(&mut instance, "copy", &i32s([65536, 0, 1])), out);
    assert_eq!(trap(&mut instance, "init", &i32s([0, 3, 4])), out);
    assert_eq!(trap(&mut instance, "init", &i32s([65535, 0, 2])), out);
    assert!(instance.memory() == before);
    instance.invoke("fill", &i32s([65536, 1, 0])).unwrap();
    assert_eq!(trap(&mut instance, "fill", &i32s([65537, 1, 0])), out);
    instance.invoke("drop", &[]).unwrap();
    assert_eq!(trap(&mut instance, "init", &i32s([0, 0, 1])), out);
    instance.invoke("init", &i32s([0, 0, 0])).unwrap();
}

#[test]
fn active_segments_are_in_place_and_then_dropped() {
    let text = r#"(module (memory (export "memory") 1) (global $at i32 (i32.const 3))
        (data (i32.const 1) "one") (data $two (global.get $at) "two")
        (func (export "f") (memory.init $two (i32.const 0) (i32.const 0) (i32.const 1))))"#;
    // A global that the module defines may not be read in a constant expression of WebAssembly 1.0.
    assert!(
        wat::parse_str(text)
            .is_ok_and(|bytes| copatch_wasm::Module::new(common::engine(), &bytes).is_err())
    );
    let text = text.replace("(global.get $at)", "(i32.const 3)");
    let mut instance = instance(&text);
    assert_eq!(&instance.memory()[..8], b"\0ontwo\0\0");
    assert_eq!(trap(&mut instance, "f", &[]), TrapCode::MemoryOutOfBounds);
}

#[test]
fn segments_that_do_not_fit_fail_the_instantiation() {
    let cases = [
        (
            r#"(module (memory (export "memory") 1) (data (i32.const 65535) "ab"))"#,
            TrapCode::MemoryOutOfBounds,
        ),
        (
            r#"(module (memory (export "memory") 0) (data (i32.const -1) ""))"#,
            TrapCode::MemoryOutOfBounds,
        ),
        (
            r#"(module (table 1 funcref) (func $f) (elem (i32.const 1) $f))"#,
            TrapCode::TableOutOfBounds,
        ),
    ];
    for (text, code) in cases {
        match Alone::new(&Linker::new(common::engine()), &module(text), ()).err() {
            Some(Error::Trap(trap)) => assert_eq!(trap.code, code),
            other => panic!("{text} gave {other:?}"),
        }
    }
}

#[test]
fn indirect_calls_check_index_presence_and_type() {
    let text = r#"(module
        (type $t (func (result i32))) (type $same (func (result i32))) (type $other (func (result i64)))
        (table 5 funcref)
        (elem (i32.const 0) $a $b $c)
        (func $a (type $t) (i32.const 10))
        (func $b (type $other) (i64.const 20))
        (func $c (type $same) (i32.const 30))
        (func (export "f") (param i32) (result i32) (call_indirect (type $t) (local.get 0))))"#;
    let mut instance = instance(text);
    assert_eq!(instance.invoke("f", &i32s([0])).unwrap(), i32s([10]));
    assert_eq!(instance.invoke("f", &i32s([2])).unwrap(), i32s([30]));
    assert_eq!(
        trap(&mut instance, "f", &i32s([1])),
        TrapCode::IndirectCallTypeMismatch
    );
    assert_eq!(
        trap(&mut instance, "f", &i32s([3])),
        TrapCode::UninitializedElement
    );
    assert_eq!(
        trap(&mut instance, "f", &i32s([5])),
        TrapCode::UndefinedElement
    );
    assert_eq!(
        trap(&mut instance, "f", &i32s([-1])),
        TrapCode::UndefinedElement
    );
}

#[test]
fn tables_are_initialised_and_copied() {
    let text = r#"(module
        (type $t (func (result i32)))
        (table 6 funcref)
        (elem $e func $a $b $c)
        (func $a (type $t) (i32.const 1)) (func $b (type $t) (i32.const 2)) (func $c (type $t) (i32.const 3))
        (func (export "init") (param i32 i32 i32) (table.init $e (local.get 0) (local.get 1) (local.get 2)))
        (func (export "copy") (param i32 i32 i32) (table.copy (local.get 0) (local.get 1) (local.get 2)))
        (func (export "drop") (elem.drop $e))
        (func (export "call") (param i32) (result i32) (call_indirect (type $t) (local.get 0))))"#;
    let mut instance = instance(text);
    let out = TrapCode::TableOutOfBounds;
    instance.invoke("init", &i32s([1, 0, 3])).unwrap();
    instance.invoke("copy", &i32s([0, 1, 3])).unwrap();
    let called: Vec<i32> = (0..4)
        .map(|at| match instance.invoke("call", &i32s([at])).as_deref() {
            Ok([Val::I32(value)]) => *value,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(called, [1, 2, 3, 3]);
    assert_eq!(trap(&mut instance, "init", &i32s([4, 0, 3])), out);
    assert_eq!(trap(&mut instance, "init", &i32s([0, 2, 2])), out);
    assert_eq!(trap(&mut instance, "copy", &i32s([0, 5, 2])), out);
    assert_eq!(
        trap(&mut instance, "call", &i32s([4])),
        TrapCode::UninitializedElement
    );
    instance.invoke("drop", &[]).unwrap();
    assert_eq!(trap(&mut instance, "init", &i32s([0, 0, 1])), out);
    instance.invoke("init", &i32s([0, 0, 0])).unwrap();
}

#[test]
fn arithmetic_traps_name_kind_function_and_offset() {
    let text = r#"(module
        (func $divide (export "div") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
        (func (export "rem") (param i64 i64) (result i64) (i64.rem_u (local.get 0) (local.get 1)))
        (func (export "trunc") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
        (func (export "stop") (param i32) (if (local.get 0) (then (unreachable)))))"#;
    let mut instance = instance(text);
    assert_eq!(instance.invoke("div", &i32s([-7, 2])).unwrap(), i32s([-3]));
    assert_eq!(
        trap(&mut instance, "div", &i32s([1, 0])),
        TrapCode::IntegerDivideByZero
    );
    assert_eq!(
        trap(&mut instance, "div", &i32s([i32::MIN, -1])),
        TrapCode::IntegerOverflow
    );
    assert_eq!(
        trap(&mut instance, "rem", &[1i64.into(), 0i64.into()]),
        TrapCode::IntegerDivideByZero
    );
    assert_eq!(
        trap(&mut instance, "trunc", &[f64::NAN.into()]),
        TrapCode::InvalidConversionToInteger
    );
    assert_eq!(
        trap(&mut instance, "trunc", &[2147483648.0f64.into()]),
        TrapCode::IntegerOverflow
    );
    assert_eq!(
        instance
            .invoke("trunc", &[(-2147483648.9f64).into()])
            .unwrap(),
        i32s([i32::MIN])
    );
    instance.invoke("stop", &i32s([0])).unwrap();
    assert_eq!(
        trap(&mut instance, "stop", &i32s([1])),
        TrapCode::Unreachable
    );
    let Err(Error::Trap(trap)) = instance.invoke("div", &i32s([1, 0])) else {
        panic!("no trap")
    };
    assert_eq!(
        (trap.function, trap.name.as_deref()),
        (Some(0), Some("divide"))
    );
    let bytes = wat::parse_str(text).unwrap();
    assert_eq!(
        bytes[trap.offset.unwrap() as usize],
        0x6d,
        "the offset of i32.div_s"
    );
}
