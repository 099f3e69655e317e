//! Host functions: values in and out, memory, errors, panics, calls back, and a stack that fits.

mod common;

use common::{i32s, module};
use copatch_wasm::ValueType::{F32, F64, I32, I64};
use copatch_wasm::{Error, Linker, Signature, TrapCode, Value};

fn signature(params: &[copatch_wasm::ValueType], results: &[copatch_wasm::ValueType]) -> Signature {
    Signature {
        params: params.to_vec(),
        results: results.to_vec(),
    }
}

#[test]
fn values_of_every_type_go_out_and_come_back() {
    let all = [
        I32, I64, F32, F64, I32, I64, F32, F64, I32, I64, I32, I64, I32, I64,
    ];
    let names: Vec<&str> = all.iter().map(|ty| ty.name()).collect();
    let (params, results) = (
        names.join(" "),
        names.iter().rev().copied().collect::<Vec<_>>().join(" "),
    );
    let get: String = (0..all.len())
        .map(|index| format!("(local.get {index})"))
        .collect();
    let text = format!(
        r#"(module (import "host" "reverse" (func $reverse (param {params}) (result {results})))
        (func (export "f") (param {params}) (result {results} i32)
            {get} (call $reverse) (i32.const 99)))"#
    );
    let mut linker = Linker::new();
    let reversed: Vec<_> = all.iter().rev().copied().collect();
    linker.func(
        "host",
        "reverse",
        signature(&all, &reversed),
        |_, arguments, results| {
            for (result, argument) in results.iter_mut().zip(arguments.iter().rev()) {
                *result = *argument;
            }
            Ok(())
        },
    );
    let arguments: Vec<Value> = all
        .iter()
        .zip(1..)
        .map(|(ty, at)| match ty {
            I32 => Value::I32(-at),
            I64 => Value::I64(i64::from(at) << 40),
            F32 => (at as f32 / 2.0).into(),
            _ => (-f64::from(at)).into(),
        })
        .collect();
    let mut instance = linker.instantiate(&module(&text), ()).unwrap();
    let mut expected: Vec<Value> = arguments.iter().rev().copied().collect();
    expected.push(Value::I32(99));
    assert_eq!(instance.invoke("f", &arguments).unwrap(), expected);
}

#[test]
fn the_host_works_on_memory_and_data() {
    let text = r#"(module (import "host" "log" (func $log (param i32 i32)))
        (memory (export "memory") 1) (data (i32.const 5) "hello")
        (func (export "f") (result i32) (call $log (i32.const 5) (i32.const 5)) (i32.load8_u (i32.const 5))))"#;
    let mut linker = Linker::new();
    linker.func(
        "host",
        "log",
        signature(&[I32, I32], &[]),
        |mut caller, arguments, _| {
            let [Value::I32(at), Value::I32(len)] = *arguments else {
                return Err("types".into());
            };
            let (memory, log): (_, &mut String) = caller.memory_and_data();
            let text = memory
                .get_mut(at as usize..(at + len) as usize)
                .ok_or("outside memory")?;
            log.push_str(std::str::from_utf8(text)?);
            text[0] = b'j';
            Ok(())
        },
    );
    let mut instance = linker.instantiate(&module(text), String::new()).unwrap();
    assert_eq!(instance.invoke("f", &[]).unwrap(), i32s([i32::from(b'j')]));
    instance.invoke("f", &[]).unwrap();
    assert_eq!(instance.data(), "hellojello");
}

#[test]
fn errors_of_the_host_reach_the_caller() {
    let text = r#"(module (import "host" "fail" (func $fail (param i32)))
        (func (export "f") (param i32) (call $fail (local.get 0))))"#;
    let mut linker = Linker::new();
    linker.func(
        "host",
        "fail",
        signature(&[I32], &[]),
        |_, arguments, _| match arguments {
            [Value::I32(0)] => Ok(()),
            [Value::I32(1)] => Err("no such thing".into()),
            [Value::I32(2)] => Err(Error::Exit(7).into()),
            _ => panic!("a host's panic"),
        },
    );
    let mut instance = linker.instantiate(&module(text), ()).unwrap();
    instance.invoke("f", &i32s([0])).unwrap();
    assert_eq!(
        instance.invoke("f", &i32s([1])).unwrap_err().to_string(),
        "host function: no such thing"
    );
    assert!(matches!(
        instance.invoke("f", &i32s([2])),
        Err(Error::Exit(7))
    ));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        instance.invoke("f", &i32s([3]))
    }));
    assert_eq!(
        *panic.unwrap_err().downcast::<&str>().unwrap(),
        "a host's panic"
    );
    instance.invoke("f", &i32s([0])).unwrap();
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
    let mut linker = Linker::new();
    linker.func(
        "host",
        "down",
        signature(&[I32], &[I32]),
        |mut caller, arguments, results| {
            *caller.data_mut() += 1;
            let trapped = caller.invoke("stop", &[]);
            assert!(
                matches!(&trapped, Err(Error::Trap(trap)) if trap.code == TrapCode::Unreachable)
            );
            results.copy_from_slice(&caller.invoke("f", arguments)?);
            Ok(())
        },
    );
    let mut instance = linker.instantiate(&module(text), 0).unwrap();
    assert_eq!(instance.invoke("f", &i32s([4])).unwrap(), i32s([105]));
    assert_eq!(*instance.data(), 4);
}

#[test]
fn endless_recursion_through_the_host_is_a_trap() {
    let text =
        r#"(module (import "host" "again" (func $again)) (func (export "f") (call $again)))"#;
    let mut linker = Linker::new();
    linker.func("host", "again", signature(&[], &[]), |mut caller, _, _| {
        caller.invoke("f", &[])?;
        Ok(())
    });
    let mut instance = linker.instantiate(&module(text), ()).unwrap();
    match instance.invoke("f", &[]) {
        Err(Error::Trap(trap)) => assert_eq!(trap.code, TrapCode::StackOverflow),
        other => panic!("{other:?}"),
    }
}

#[test]
fn imports_are_checked() {
    let text = r#"(module (import "host" "f" (func (param i32))) (import "host" "g" (global i64))
        (export "g" (global 0)))"#;
    let module = module(text);
    let mut linker = Linker::new();
    let fails = |linker: &Linker, what: &str| {
        let message = linker.instantiate(&module, ()).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    };
    fails(&linker, "import host.f: no such function");
    linker.func("host", "f", signature(&[I64], &[I32]), |_, _, _| Ok(()));
    fails(
        &linker,
        "import host.f: imported as (i32) -> (), provided as (i64) -> (i32)",
    );
    linker.func("host", "f", signature(&[I32], &[]), |_, _, _| Ok(()));
    fails(&linker, "import host.g: no such global");
    linker.global("host", "g", Value::I32(1));
    fails(&linker, "import host.g: a global of type i64, not i32");
    linker.global("host", "g", Value::I64(-9));
    assert_eq!(
        linker
            .instantiate(&module, ())
            .unwrap()
            .global("g")
            .unwrap(),
        Value::I64(-9)
    );
}

#[test]
fn calls_that_cannot_be_made_are_refused() {
    let mut instance =
        common::instance(r#"(module (func (export "f") (param i32 f64)) (memory (export "m") 1))"#);
    let message = |result: Result<_, Error>| result.map(drop).unwrap_err().to_string();
    assert_eq!(
        message(instance.invoke("f", &i32s([1]))),
        "f: called with (i32), takes (i32, f64)"
    );
    assert_eq!(
        message(instance.invoke("g", &[])),
        "no function is exported as \"g\""
    );
    assert_eq!(
        message(instance.invoke("m", &[])),
        "no function is exported as \"m\""
    );
    assert_eq!(
        message(instance.global("m").map(|_| Vec::new())),
        "no global is exported as \"m\""
    );
}
