//! Host functions: values in and out, memory, errors, panics, calls back, and a stack that fits.

mod common;

use common::{Alone, engine, i32s, module};
use copatch_wasm::{
    Caller, Error, Func, FuncType, Global, GlobalType, Instance, Linker, Memory, MemoryType,
    Mutability, Result, Store, TrapCode, V128, Val, ValType,
};

fn linker<T>() -> Linker<T> {
    Linker::new(engine())
}

#[test]
fn values_of_every_type_go_out_and_come_back() {
    use ValType::{F32, F64, I32, I64};
    let all = [
        I32, I64, F32, F64, I32, I64, F32, F64, I32, I64, I32, I64, I32, I64,
    ];
    let names: Vec<String> = all.iter().map(|ty| ty.to_string()).collect();
    let (params, results) = (
        names.join(" "),
        names.iter().rev().cloned().collect::<Vec<_>>().join(" "),
    );
    let get: String = (0..all.len())
        .map(|index| format!("(local.get {index})"))
        .collect();
    let text = format!(
        r#"(module (import "host" "reverse" (func $reverse (param {params}) (result {results})))
        (func (export "f") (param {params}) (result {results} i32)
            {get} (call $reverse) (i32.const 99)))"#
    );
    let mut linker = linker();
    let ty = FuncType::new(engine(), all, all.into_iter().rev());
    linker
        .func_new("host", "reverse", ty, |_, arguments, results| {
            for (result, argument) in results.iter_mut().zip(arguments.iter().rev()) {
                *result = *argument;
            }
            Ok(())
        })
        .unwrap();
    let arguments: Vec<Val> = all
        .iter()
        .zip(1..)
        .map(|(ty, at)| match ty {
            I32 => Val::I32(-at),
            I64 => Val::I64(i64::from(at) << 40),
            F32 => (at as f32 / 2.0).into(),
            _ => (-f64::from(at)).into(),
        })
        .collect();
    let mut instance = Alone::new(&linker, &module(&text), ()).unwrap();
    let mut expected: Vec<Val> = arguments.iter().rev().copied().collect();
    expected.push(Val::I32(99));
    assert_eq!(instance.invoke("f", &arguments).unwrap(), expected);
}

#[test]
fn closures_of_typed_parameters_are_host_functions() {
    let text = r#"(module
        (import "host" "a" (func $a (param i32 i64 f32 f64) (result f64)))
        (import "host" "b" (func $b (result i32 i64)))
        (import "host" "c" (func $c (param i32)))
        (func (export "a") (param i32 i64 f32 f64) (result f64)
            (call $a (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
        (func (export "b") (result i32 i64) (call $b))
        (func (export "c") (param i32) (call $c (local.get 0))))"#;
    let mut linker = linker::<Vec<u32>>();
    linker
        .func_wrap("host", "a", |a: i32, b: u64, c: f32, d: f64| {
            f64::from(a) + b as f64 + f64::from(c) + d
        })
        .unwrap()
        .func_wrap("host", "b", |caller: Caller<'_, Vec<u32>>| {
            (caller.data().len() as i32, -1i64)
        })
        .unwrap()
        .func_wrap("host", "c", |mut caller: Caller<'_, Vec<u32>>, n: u32| {
            caller.data_mut().push(n);
        })
        .unwrap();
    let mut alone = Alone::new(&linker, &module(text), vec![]).unwrap();
    let (instance, store) = (alone.instance, &mut alone.store);
    let a = instance
        .get_typed_func::<(i32, i64, f32, f64), f64>(&mut *store, "a")
        .unwrap();
    assert_eq!(
        a.call(&mut *store, (-1, 1 << 33, 0.5, 2.25)).unwrap(),
        8589934593.75
    );
    let c = instance
        .get_typed_func::<i32, ()>(&mut *store, "c")
        .unwrap();
    c.call(&mut *store, -1).unwrap();
    c.call(&mut *store, 7).unwrap();
    let b = instance
        .get_typed_func::<(), (u32, i64)>(&mut *store, "b")
        .unwrap();
    assert_eq!(b.call(&mut *store, ()).unwrap(), (2, -1));
    assert_eq!(*store.data(), [u32::MAX, 7]);
    let wrong = instance.get_typed_func::<i32, i32>(&mut *store, "c");
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "c: the function is (i32) -> (), not (i32) -> (i32)"
    );
}

#[test]
fn vectors_are_typed_values() {
    let text = r#"(module
        (import "host" "mix" (func $mix (param i32 v128 i64 v128) (result v128 i32 v128)))
        (func (export "mix") (param i32 v128 i64 v128) (result v128 i32 v128)
            (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
        (func (export "not") (param v128) (result v128) (v128.not (local.get 0)))
        (func (export "last") (param v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128)
            (result v128 v128) (local.get 15) (local.get 0)))"#;
    let mut linker = linker::<()>();
    linker
        .func_wrap("host", "mix", |a: i32, b: V128, c: i64, d: V128| {
            (d, a + c as i32, b)
        })
        .unwrap();
    let mut alone = Alone::new(&linker, &module(text), ()).unwrap();
    let (instance, store) = (alone.instance, &mut alone.store);
    let vector = |n: u128| V128::from(n << 64 | 0x1234_5678_9abc_def0 | n);
    let mix = instance
        .get_typed_func::<(i32, V128, i64, V128), (V128, i32, V128)>(&mut *store, "mix")
        .unwrap();
    assert_eq!(
        mix.call(&mut *store, (5, vector(1), -7, vector(2)))
            .unwrap(),
        (vector(2), -2, vector(1))
    );
    let not = instance
        .get_typed_func::<V128, V128>(&mut *store, "not")
        .unwrap();
    assert_eq!(
        not.call(&mut *store, vector(3)).unwrap().as_u128(),
        !vector(3).as_u128()
    );
    // As many as there may be.
    let v = vector;
    #[rustfmt::skip]
    type Sixteen = (V128, V128, V128, V128, V128, V128, V128, V128, V128, V128, V128, V128, V128, V128, V128, V128);
    #[rustfmt::skip]
    let all = (v(0), v(1), v(2), v(3), v(4), v(5), v(6), v(7), v(8), v(9), v(10), v(11), v(12), v(13), v(14), v(15));
    let last = instance
        .get_typed_func::<Sixteen, (V128, V128)>(&mut *store, "last")
        .unwrap();
    assert_eq!(last.call(&mut *store, all).unwrap(), (v(15), v(0)));
    let wrong = instance.get_typed_func::<i64, V128>(&mut *store, "not");
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "not: the function is (v128) -> (v128), not (i64) -> (v128)"
    );
}

#[test]
fn the_host_works_on_memory_and_data() {
    let text = r#"(module (import "host" "log" (func $log (param i32 i32)))
        (memory (export "memory") 1) (data (i32.const 5) "hello")
        (func (export "f") (result i32) (call $log (i32.const 5) (i32.const 5)) (i32.load8_u (i32.const 5))))"#;
    let mut linker = linker();
    linker
        .func_wrap(
            "host",
            "log",
            |mut caller: Caller<'_, String>, at: u32, len: u32| -> Result<()> {
                let memory = caller
                    .get_export("memory")
                    .and_then(|item| item.into_memory());
                let memory = memory.ok_or_else(|| Error::msg("no memory"))?;
                let (bytes, log) = memory.data_and_store_mut(&mut caller);
                let text = bytes
                    .get_mut(at as usize..(at + len) as usize)
                    .ok_or_else(|| Error::msg("outside memory"))?;
                log.push_str(std::str::from_utf8(text)?);
                text[0] = b'j';
                Ok(())
            },
        )
        .unwrap();
    let mut instance = Alone::new(&linker, &module(text), String::new()).unwrap();
    assert_eq!(instance.invoke("f", &[]).unwrap(), i32s([i32::from(b'j')]));
    instance.invoke("f", &[]).unwrap();
    assert_eq!(instance.store.data(), "hellojello");
}

#[test]
fn errors_of_the_host_reach_the_caller() {
    let text = r#"(module (import "host" "fail" (func $fail (param i32)))
        (func (export "f") (param i32) (call $fail (local.get 0))))"#;
    let mut linker = linker();
    linker
        .func_wrap("host", "fail", |case: i32| -> Result<()> {
            match case {
                0 => Ok(()),
                1 => Err(Error::msg("no such thing")),
                2 => Err(Error::Exit(7)),
                3 => Err(std::fmt::Error.into()),
                _ => panic!("a host's panic"),
            }
        })
        .unwrap();
    let mut instance = Alone::new(&linker, &module(text), ()).unwrap();
    let mut fail = |case: i32| instance.invoke("f", &i32s([case]));
    fail(0).unwrap();
    assert_eq!(
        fail(1).unwrap_err().to_string(),
        "host function: no such thing"
    );
    assert_eq!(fail(2).unwrap_err().i32_exit_status(), Some(7));
    assert!(fail(3).unwrap_err().is::<std::fmt::Error>());
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fail(4)));
    assert_eq!(
        *panic.unwrap_err().downcast::<&str>().unwrap(),
        "a host's panic"
    );
    fail(0).unwrap();
}

#[test]
fn the_host_calls_back() {
    let text = r#"(module (import "host" "down" (func $down (param i32) (result i32)))
        (func (export "f") (param i32) (result i32) (local i32)
            (local.set 1 (i32.mul (local.get 0) (i32.const 10)))
            (if (result i32) (local.get 0)
                (then (i32.add (local.get 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
                (else (i32.const 5))))
        (func (export "stop") (unreachable)))"#;
    let mut linker = linker();
    linker
        .func_wrap(
            "host",
            "down",
            |mut caller: Caller<'_, i32>, n: i32| -> Result<i32> {
                *caller.data_mut() += 1;
                let mut export = |name| caller.get_export(name).unwrap().into_func().unwrap();
                let (stop, f) = (export("stop"), export("f"));
                let trapped = stop.call(&mut caller, &[], &mut []).unwrap_err();
                assert_eq!(trapped.as_trap_code(), Some(TrapCode::Unreachable));
                f.typed::<i32, i32>(&caller)?.call(&mut caller, n)
            },
        )
        .unwrap();
    let mut instance = Alone::new(&linker, &module(text), 0).unwrap();
    assert_eq!(instance.invoke("f", &i32s([4])).unwrap(), i32s([105]));
    assert_eq!(*instance.store.data(), 4);
}

#[test]
fn endless_recursion_through_the_host_is_a_trap() {
    let text =
        r#"(module (import "host" "again" (func $again)) (func (export "f") (call $again)))"#;
    let mut linker = linker();
    linker
        .func_wrap(
            "host",
            "again",
            |mut caller: Caller<'_, ()>| -> Result<()> {
                let f = caller.get_export("f").unwrap().into_func().unwrap();
                f.call(&mut caller, &[], &mut [])
            },
        )
        .unwrap();
    let mut instance = Alone::new(&linker, &module(text), ()).unwrap();
    assert_eq!(
        common::trap(&mut instance, "f", &[]),
        TrapCode::StackOverflow
    );
}

#[test]
fn imports_are_checked() {
    let text = r#"(module (import "host" "f" (func (param i32))) (import "host" "g" (global i64))
        (import "host" "m" (memory 2 3)) (export "g" (global 0)))"#;
    let module = module(text);
    let mut linker = linker();
    let mut store = Store::new(engine(), ());
    let fails = |linker: &Linker<()>, store: &mut Store<()>, what: &str| {
        let message = linker.instantiate(store, &module).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    };
    fails(&linker, &mut store, "import host.f: unknown import");
    linker.allow_shadowing(true);
    linker.func_wrap("host", "f", |_: i64| 0).unwrap();
    fails(&linker, &mut store, "import host.g: unknown import");
    let immutable = |ty| GlobalType::new(ty, Mutability::Const);
    let global = Global::new(&mut store, immutable(ValType::I32), Val::I32(1)).unwrap();
    linker.define(&store, "host", "g", global).unwrap();
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(3))).unwrap();
    linker.define(&store, "host", "m", memory).unwrap();
    fails(
        &linker,
        &mut store,
        "import host.f: incompatible import type: imported as (i32) -> (), provided as (i64) -> (i32)",
    );
    linker.func_wrap("host", "f", |_: i32| {}).unwrap();
    fails(
        &linker,
        &mut store,
        "import host.g: incompatible import type: a global of type immutable i64, not immutable i32",
    );
    let global = Global::new(&mut store, immutable(ValType::I64), Val::I64(-9)).unwrap();
    linker.define(&store, "host", "g", global).unwrap();
    fails(
        &linker,
        &mut store,
        "import host.m: incompatible import type: a memory of 1, less than 2",
    );
    memory.grow(&mut store, 1).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let global = instance.get_global(&store, "g").unwrap();
    assert_eq!(global.get(&store), Val::I64(-9));
    linker.allow_shadowing(false);
    let twice = linker.func_wrap("host", "f", || {}).unwrap_err();
    assert_eq!(twice.to_string(), "import host.f: it is provided twice");
    assert!(Instance::new(&mut store, &module, &[]).is_err());
}

#[test]
fn calls_that_cannot_be_made_are_refused() {
    let mut instance =
        common::instance(r#"(module (func (export "f") (param i32 f64)) (memory (export "m") 1))"#);
    assert_eq!(
        instance.invoke("f", &i32s([1])).unwrap_err().to_string(),
        "call: called with (i32), takes (i32, f64)"
    );
    let store = &mut instance.store;
    assert!(instance.instance.get_func(&*store, "g").is_none());
    assert!(instance.instance.get_func(&*store, "m").is_none());
    assert!(instance.instance.get_global(&*store, "m").is_none());
    let missing = instance.instance.get_typed_func::<(), ()>(&*store, "m");
    assert_eq!(
        missing.unwrap_err().to_string(),
        "no function is exported as \"m\""
    );
    let f = instance.instance.get_func(&*store, "f").unwrap();
    let room = f.call(&mut *store, &[Val::I32(0), Val::F64(0)], &mut [Val::I32(0)]);
    assert!(room.unwrap_err().to_string().contains("room for 1 results"));
}

#[test]
#[should_panic(expected = "object used with the wrong store")]
fn what_belongs_to_another_store_is_refused() {
    let instance = common::instance(r#"(module (func (export "f")))"#);
    let f = instance.instance.get_func(&instance.store, "f").unwrap();
    let mut other = Store::new(engine(), ());
    let _ = f.call(&mut other, &[], &mut []);
}

#[test]
#[should_panic(expected = "object used with the wrong store")]
fn a_reference_of_another_store_is_refused() {
    let mut one = Store::new(engine(), ());
    let func = Func::wrap(&mut one, || {});
    let mut instance = common::instance(r#"(module (func (export "f") (param funcref)))"#);
    let _ = instance.invoke("f", &[func.into()]);
}
