//! What a store may have, and how deep its programs may call.

mod common;

use common::{Alone, engine, i32s, module};
use copatch_wasm::{
    Config, Engine, Error, Instance, Linker, Memory, MemoryType, Module, Ref, RefType,
    ResourceLimiter, Result, Store, StoreLimits, StoreLimitsBuilder, Table, TableType, TrapCode,
    Val,
};

const GROWING: &str = r#"(module (memory (export "memory") 1) (table 2 funcref)
    (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "table") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))"#;

fn limited(limits: StoreLimits) -> Store<StoreLimits> {
    let mut store = Store::new(engine(), limits);
    store.limiter(|limits| limits);
    store
}

fn growing(limits: StoreLimits) -> Result<Alone<StoreLimits>> {
    let text = GROWING.replace(r#"(memory (export "memory") 1)"#, "(memory 1)");
    let mut store = limited(limits);
    let instance = Instance::new(&mut store, &module(&text), &[])?;
    Ok(Alone { store, instance })
}

#[test]
fn memories_and_tables_stop_growing_at_their_limits() {
    let limits = StoreLimitsBuilder::new()
        .memory_size(3 * 65536)
        .table_elements(10);
    let mut instance = growing(limits.clone().build()).unwrap();
    let mut grow =
        |name: &str, by: i32| instance.invoke(name, &i32s([by])).unwrap()[0].unwrap_i32();
    assert_eq!(grow("memory", 2), 1);
    assert_eq!(grow("memory", 1), -1);
    assert_eq!(grow("memory", 0), 3);
    assert_eq!(grow("table", 8), 2);
    assert_eq!(grow("table", 1), -1);
    assert_eq!(grow("table", -1), -1);
    let mut instance = growing(limits.trap_on_grow_failure(true).build()).unwrap();
    for (name, what) in [
        ("memory", "bytes of a memory"),
        ("table", "elements of a table"),
    ] {
        let error = instance.invoke(name, &i32s([1000])).unwrap_err();
        assert!(matches!(&error, Error::Limit { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    assert_eq!(instance.invoke("memory", &i32s([1])).unwrap(), i32s([1]));
}

#[test]
fn what_is_larger_than_its_limit_is_not_made() {
    for limits in [
        StoreLimitsBuilder::new().memory_size(65535),
        StoreLimitsBuilder::new().table_elements(1),
        StoreLimitsBuilder::new().instances(0),
        StoreLimitsBuilder::new().tables(0),
        StoreLimitsBuilder::new().memories(0),
    ] {
        assert!(growing(limits.build()).is_err());
    }
    let mut store = limited(
        StoreLimitsBuilder::new()
            .memory_size(1 << 20)
            .instances(2)
            .build(),
    );
    assert!(Memory::new(&mut store, MemoryType::new(17, None)).is_err());
    assert!(Memory::new(&mut store, MemoryType::new(16, None)).is_ok());
    let huge = TableType::new(RefType::Func, u32::MAX, None);
    assert!(Table::new(&mut store, huge, Ref::Func(None)).is_err());
    let mut few = limited(StoreLimitsBuilder::new().memories(1).tables(1).build());
    let small = TableType::new(RefType::Func, 1, None);
    for made in [true, false] {
        let memory = Memory::new(&mut few, MemoryType::new(1, None));
        assert_eq!(memory.is_ok(), made);
        let table = Table::new(&mut few, small, Ref::Func(None));
        assert_eq!(table.is_ok(), made);
    }
    let empty = module("(module)");
    for made in [true, true, false, false] {
        assert_eq!(Instance::new(&mut store, &empty, &[]).is_ok(), made);
    }
}

/// A limiter of the embedder's own, which counts, fails and panics.
#[derive(Default)]
struct Own {
    asked: Vec<(usize, usize, Option<usize>)>,
}

impl ResourceLimiter for Own {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.asked.push((current, desired, maximum));
        match desired / 65536 {
            5 => Err(Error::msg("not five")),
            6 => panic!("not six"),
            _ => Ok(true),
        }
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        Ok(true)
    }
}

#[test]
fn a_limiter_of_ones_own_sees_every_growth() {
    let text = r#"(module (memory 1 9) (func (export "f") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    let mut store = Store::new(engine(), Own::default());
    store.limiter(|own| own);
    let instance = Instance::new(&mut store, &module(text), &[]).unwrap();
    let mut instance = Alone { store, instance };
    assert_eq!(instance.invoke("f", &i32s([1])).unwrap(), i32s([1]));
    let error = instance.invoke("f", &i32s([3])).unwrap_err();
    assert_eq!(error.to_string(), "host function: not five");
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        instance.invoke("f", &i32s([4]))
    }));
    assert!(panic.is_err());
    assert_eq!(instance.invoke("f", &i32s([2])).unwrap(), i32s([2]));
    let page = 65536;
    let nine = Some(9 * page);
    assert_eq!(
        instance.store.data().asked,
        [
            (0, page, nine),
            (page, 2 * page, nine),
            (2 * page, 5 * page, nine),
            (2 * page, 6 * page, nine),
            (2 * page, 4 * page, nine)
        ]
    );
}

#[test]
fn the_stack_is_as_deep_as_configured() {
    let text = r#"(module (func $f (export "f") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0)))))"#;
    let bytes = wat::parse_str(text).unwrap();
    let depth = |stack: usize| {
        let engine = Engine::new(Config::new().max_wasm_stack(stack)).unwrap();
        let module = Module::new(&engine, &bytes).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine)
            .instantiate(&mut store, &module)
            .unwrap();
        let f = instance.get_typed_func::<i32, i32>(&store, "f").unwrap();
        let (mut fits, mut not) = (0, 1 << 24);
        while fits + 1 < not {
            let middle = (fits + not) / 2;
            match f.call(&mut store, middle) {
                Ok(depth) => {
                    assert_eq!(depth, middle);
                    fits = middle;
                }
                Err(error) => {
                    assert_eq!(error.as_trap_code(), Some(TrapCode::StackOverflow));
                    not = middle;
                }
            }
        }
        fits
    };
    let (small, large) = (depth(64 << 10), depth(256 << 10));
    assert!(small > 100, "{small}");
    assert!(large > 3 * small && large < 5 * small, "{small} {large}");
}

#[test]
fn a_stack_that_cannot_be_had_is_an_error() {
    let engine = Engine::new(Config::new().max_wasm_stack(1 << 60)).unwrap();
    assert!(matches!(Store::try_new(&engine, ()), Err(Error::Engine(_))));
}

#[test]
fn without_a_stack_nothing_runs() {
    let engine = Engine::new(Config::new().max_wasm_stack(0)).unwrap();
    let text = r#"(module (func (export "f") (result i32) (i32.const 3)))"#;
    let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_func(&store, "f").unwrap();
    let error = f.call(&mut store, &[], &mut [Val::I32(0)]).unwrap_err();
    assert_eq!(error.as_trap_code(), Some(TrapCode::StackOverflow));
}
