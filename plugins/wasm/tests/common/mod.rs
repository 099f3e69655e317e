//! What the tests share: modules from text, one engine.
#![allow(dead_code, reason = "not every test file uses everything")]

use std::sync::OnceLock;

use copatch_wasm::{Engine, Error, Instance, Linker, Module, TrapCode, Value};

/// The engine of all tests.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().expect("a pack for this machine"))
}

/// Compiles a module in text form.
pub fn module(text: &str) -> Module {
    let bytes = wat::parse_str(text).expect("the test's module is well-formed");
    Module::new(engine(), &bytes).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The error of a module that does not compile.
pub fn refused(text: &str) -> Error {
    let bytes = wat::parse_str(text).expect("the test's module is well-formed");
    Module::new(engine(), &bytes).expect_err("the module is refused")
}

/// An instance without imports.
pub fn instance(text: &str) -> Instance {
    Linker::new()
        .instantiate(&module(text), ())
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Calls `name` of a fresh instance.
pub fn run(text: &str, name: &str, arguments: &[Value]) -> Vec<Value> {
    instance(text)
        .invoke(name, arguments)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The trap that calling `name` ends with.
pub fn trap(instance: &mut Instance, name: &str, arguments: &[Value]) -> TrapCode {
    match instance.invoke(name, arguments) {
        Err(Error::Trap(trap)) => trap.code,
        other => panic!("{name}{arguments:?} gave {other:?}"),
    }
}

/// i32 values.
pub fn i32s<const N: usize>(values: [i32; N]) -> Vec<Value> {
    values.map(Value::I32).to_vec()
}
