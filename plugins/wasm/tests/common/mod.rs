//! What the tests share: modules from text, one engine, an instance in a store of its own.
#![allow(dead_code, reason = "not every test file uses everything")]

use std::sync::OnceLock;

use copatch_wasm::{Engine, Error, Linker, Module, Store, TrapCode, Val};

/// The engine of all tests.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(Engine::default)
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

/// An instance in a store of its own.
pub struct Alone<T: 'static = ()> {
    pub store: Store<T>,
    pub instance: copatch_wasm::Instance,
}

impl<T: 'static> Alone<T> {
    /// An instance that is linked by `linker`.
    pub fn new(linker: &Linker<T>, module: &Module, data: T) -> Result<Self, Error> {
        let mut store = Store::new(engine(), data);
        let instance = linker.instantiate(&mut store, module)?;
        Ok(Self { store, instance })
    }

    /// Calls a function by name.
    pub fn invoke(&mut self, name: &str, arguments: &[Val]) -> Result<Vec<Val>, Error> {
        let func = self
            .instance
            .get_func(&self.store, name)
            .unwrap_or_else(|| panic!("no function {name}"));
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        func.call(&mut self.store, arguments, &mut results)?;
        Ok(results)
    }

    /// The exported memory.
    pub fn memory(&self) -> &[u8] {
        let (_, export) = self
            .instance
            .exports(&self.store)
            .find(|(_, export)| export.into_memory().is_some())
            .expect("a memory is exported");
        export.into_memory().unwrap().data(&self.store)
    }

    /// The value of an exported global.
    pub fn global(&self, name: &str) -> Val {
        let global = self.instance.get_global(&self.store, name);
        global.expect("the global is exported").get(&self.store)
    }
}

/// An instance without imports.
pub fn instance(text: &str) -> Alone {
    Alone::new(&Linker::new(engine()), &module(text), ())
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Calls `name` of a fresh instance.
pub fn run(text: &str, name: &str, arguments: &[Val]) -> Vec<Val> {
    instance(text)
        .invoke(name, arguments)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The trap that calling `name` ends with.
pub fn trap<T>(instance: &mut Alone<T>, name: &str, arguments: &[Val]) -> TrapCode {
    match instance.invoke(name, arguments) {
        Err(Error::Trap(trap)) => trap.code,
        other => panic!("{name}{arguments:?} gave {other:?}"),
    }
}

/// i32 values.
pub fn i32s<const N: usize>(values: [i32; N]) -> Vec<Val> {
    values.map(Val::I32).to_vec()
}
