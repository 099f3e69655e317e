//! Instances that share functions, memories, tables and globals, and references that go between them.

mod common;

use common::{engine, module};
use copatch_wasm::{
    Caller, Error, ExternRef, Func, Global, GlobalType, Instance, Linker, Memory, MemoryType,
    Mutability, Ref, RefType, Result, Store, Table, TableType, TrapCode, Val, ValType,
};

/// A store with a linker to which instances are added under their names.
struct World {
    store: Store<Vec<i32>>,
    linker: Linker<Vec<i32>>,
}

impl World {
    fn new() -> Self {
        Self {
            store: Store::new(engine(), Vec::new()),
            linker: Linker::new(engine()),
        }
    }

    fn add(&mut self, name: &str, text: &str) -> Instance {
        let instance = self
            .linker
            .instantiate(&mut self.store, &module(text))
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        self.linker
            .instance(&self.store, name, instance)
            .expect("the name is free");
        instance
    }

    fn call(&mut self, instance: Instance, name: &str, arguments: &[Val]) -> Result<Vec<Val>> {
        let func = instance
            .get_func(&self.store, name)
            .expect("it is exported");
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        func.call(&mut self.store, arguments, &mut results)?;
        Ok(results)
    }

    fn i32(&mut self, instance: Instance, name: &str, arguments: &[i32]) -> Result<i32> {
        let arguments: Vec<Val> = arguments.iter().copied().map(Val::I32).collect();
        Ok(self.call(instance, name, &arguments)?[0].unwrap_i32())
    }
}

#[test]
fn a_function_of_another_instance_works_on_its_own_memory_and_globals() {
    let mut world = World::new();
    let a = world.add(
        "a",
        r#"(module (memory 1) (global $n (mut i32) (i32.const 100))
        (func (export "bump") (param i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f64 f64) (result i32 f64)
            (global.set $n (i32.add (global.get $n) (local.get 0)))
            (i32.store8 (i32.const 5) (i32.add (i32.load8_u (i32.const 5)) (i32.const 1)))
            (i32.add (global.get $n) (i32.load8_u (i32.const 5)))
            (f64.add (f64.add (local.get 3) (local.get 7)) (f64.add (local.get 10) (local.get 11)))))"#,
    );
    let b = world.add(
        "b",
        r#"(module
        (import "a" "bump" (func $bump (param i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f64 f64) (result i32 f64)))
        (memory 1) (data (i32.const 5) "\40") (global $n (mut i32) (i32.const 7))
        (func (export "f") (param i32) (result i32 i32 i32 f64) (local f64)
            (call $bump (local.get 0) (i64.const 1) (f32.const 2) (f64.const 3) (i32.const 4) (i64.const 5)
                (f32.const 6) (f64.const 7) (i32.const 8) (i64.const 9) (f64.const 10) (f64.const 11))
            (local.set 1)
            (global.get $n) (i32.load8_u (i32.const 5)) (local.get 1)))"#,
    );
    let expected = |n| vec![Val::I32(n), Val::I32(7), Val::I32(0x40), 31f64.into()];
    assert_eq!(world.call(b, "f", &[Val::I32(1)]).unwrap(), expected(102));
    assert_eq!(world.call(b, "f", &[Val::I32(1)]).unwrap(), expected(104));
    let _ = a;
}

/// Every instance's functions are called through one table by everybody.
#[test]
fn functions_in_a_shared_table_run_in_their_own_instance() {
    let mut world = World::new();
    let user = |own: i32| {
        format!(
            r#"(module (import "t" "table" (table 8 funcref)) (type $t (func (param i32) (result i32)))
            (global $own i32 (i32.const {own})) (global $calls (mut i32) (i32.const 0))
            (elem (i32.const {own}) $f)
            (func $f (type $t)
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (i32.add (i32.mul (global.get $own) (i32.const 1000))
                    (i32.add (local.get 0) (i32.mul (global.get $calls) (i32.const 100)))))
            (func (export "call") (param i32) (result i32)
                (call_indirect (type $t) (i32.const 7) (local.get 0)))
            (func (export "wrong") (param i32) (call_indirect (param i64) (i64.const 7) (local.get 0))))"#
        )
    };
    let owner = world.add("t", r#"(module (table (export "table") 8 funcref))"#);
    let users = [1, 2, 3].map(|own| world.add(&format!("u{own}"), &user(own)));
    let host = Func::wrap(
        &mut world.store,
        |mut caller: Caller<'_, Vec<i32>>, n: i32| {
            caller.data_mut().push(n);
            -n
        },
    );
    let table = owner.get_table(&world.store, "table").unwrap();
    table.set(&mut world.store, 4, host.into()).unwrap();
    for (round, caller) in users.into_iter().enumerate() {
        let calls = round as i32 + 1;
        for own in [1, 2, 3] {
            let expected = own * 1000 + calls * 100 + 7;
            assert_eq!(world.i32(caller, "call", &[own]).unwrap(), expected);
        }
        assert_eq!(world.i32(caller, "call", &[4]).unwrap(), -7);
        let mut fails = |name, index| {
            let error = world.call(caller, name, &[Val::I32(index)]).unwrap_err();
            error.as_trap_code().unwrap()
        };
        assert_eq!(fails("call", 5), TrapCode::UninitializedElement);
        assert_eq!(fails("call", 8), TrapCode::UndefinedElement);
        for index in 1..5 {
            assert_eq!(fails("wrong", index), TrapCode::IndirectCallTypeMismatch);
        }
    }
    assert_eq!(world.store.data(), &[7, 7, 7]);
}

#[test]
fn a_table_of_ones_own_holds_functions_of_others() {
    let mut world = World::new();
    let a = world.add(
        "a",
        r#"(module (global $n (mut i32) (i32.const 0))
        (func $f (export "f") (param i32) (result i32)
            (global.set $n (i32.add (global.get $n) (local.get 0))) (global.get $n))
        (elem declare func $f)
        (func (export "get") (result funcref) (ref.func $f)))"#,
    );
    let b = world.add(
        "b",
        r#"(module (import "a" "f" (func $f (param i32) (result i32))) (import "a" "get" (func $get (result funcref)))
        (type $t (func (param i32) (result i32)))
        (table $t (export "t") 4 funcref) (elem (i32.const 0) $f $g)
        (func $g (type $t) (i32.const -5))
        (func (export "call") (param i32 i32) (result i32) (call_indirect (type $t) (local.get 1) (local.get 0)))
        (func (export "put") (table.set (i32.const 2) (call $get)) (table.set (i32.const 3) (ref.func $g)))
        (func (export "null") (param i32) (result i32) (ref.is_null (table.get (local.get 0))))
        (func (export "grow") (param i32) (result i32) (table.grow (call $get) (local.get 0)))
        (func (export "size") (result i32) (table.size)))"#,
    );
    assert_eq!(world.i32(b, "call", &[0, 3]).unwrap(), 3);
    assert_eq!(world.i32(b, "call", &[1, 3]).unwrap(), -5);
    assert_eq!(world.i32(b, "null", &[2]).unwrap(), 1);
    world.call(b, "put", &[]).unwrap();
    assert_eq!(world.i32(b, "null", &[2]).unwrap(), 0);
    assert_eq!(world.i32(b, "call", &[2, 4]).unwrap(), 7);
    assert_eq!(world.i32(b, "call", &[3, 4]).unwrap(), -5);
    assert_eq!(world.i32(b, "grow", &[100]).unwrap(), 4);
    assert_eq!(world.i32(b, "size", &[]).unwrap(), 104);
    assert_eq!(world.i32(b, "call", &[103, 10]).unwrap(), 17);
    // The same function, whichever way it comes.
    let table = b.get_table(&world.store, "t").unwrap();
    let direct = a.get_func(&world.store, "f").unwrap();
    for index in [0, 2, 50] {
        assert_eq!(
            table.get(&world.store, index),
            Some(Ref::Func(Some(direct)))
        );
    }
    assert_eq!(table.get(&world.store, 104), None);
}

#[test]
fn memory_that_grows_grows_for_everybody() {
    let mut world = World::new();
    let memory = Memory::new(&mut world.store, MemoryType::new(1, Some(10))).unwrap();
    world.linker.define(&world.store, "m", "m", memory).unwrap();
    let text = r#"(module (import "m" "m" (memory 1))
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "size") (result i32) (memory.size))
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "store") (param i32 i32) (result i32) (i32.store (local.get 0) (local.get 1)) (i32.const 0)))"#;
    let (a, b) = (world.add("a", text), world.add("b", text));
    assert_eq!(world.i32(a, "grow", &[2]).unwrap(), 1);
    world.i32(a, "store", &[180_000, 42]).unwrap();
    assert_eq!(world.i32(b, "load", &[180_000]).unwrap(), 42);
    assert_eq!(world.i32(b, "size", &[]).unwrap(), 3);
    assert_eq!(memory.grow(&mut world.store, 1).unwrap(), 3);
    assert_eq!(world.i32(a, "size", &[]).unwrap(), 4);
    assert!(memory.grow(&mut world.store, 7).is_err());
    memory.write(&mut world.store, 4, &[1, 2, 3, 4]).unwrap();
    assert_eq!(world.i32(b, "load", &[4]).unwrap(), 0x0403_0201);
    let mut bytes = [0; 2];
    memory.read(&world.store, 5, &mut bytes).unwrap();
    assert_eq!(bytes, [2, 3]);
    assert!(
        memory
            .read(&world.store, 4 * 65536 - 1, &mut bytes)
            .is_err()
    );
    assert!(memory.write(&mut world.store, usize::MAX, &bytes).is_err());
}

#[test]
fn globals_are_shared_whatever_their_type() {
    let mut world = World::new();
    let owner = world.add(
        "g",
        r#"(module
        (global (export "i32") (mut i32) (i32.const 1)) (global (export "i64") (mut i64) (i64.const 2))
        (global (export "f32") (mut f32) (f32.const 3)) (global (export "f64") (mut f64) (f64.const 4))
        (global (export "func") (mut funcref) (ref.null func))
        (global (export "extern") (mut externref) (ref.null extern))
        (global (export "const") i32 (i32.const 50)))"#,
    );
    let user = r#"(module
        (import "g" "i32" (global $a (mut i32))) (import "g" "i64" (global $b (mut i64)))
        (import "g" "f32" (global $c (mut f32))) (import "g" "f64" (global $d (mut f64)))
        (import "g" "func" (global $e (mut funcref))) (import "g" "extern" (global $f (mut externref)))
        (import "g" "const" (global $k i32))
        (global $m (export "m") i32 (i32.add (i32.mul (global.get $k) (i32.const 3)) (i32.const -1)))
        (elem declare func $next)
        (func $next (export "next") (param externref) (result i32 i64 f32 f64 funcref externref i32)
            (global.set $a (i32.add (global.get $a) (i32.const 1)))
            (global.set $b (i64.add (global.get $b) (i64.const 1)))
            (global.set $c (f32.add (global.get $c) (f32.const 1)))
            (global.set $d (f64.add (global.get $d) (f64.const 1)))
            (global.set $e (ref.func $next)) (global.set $f (local.get 0))
            (global.get $a) (global.get $b) (global.get $c) (global.get $d) (global.get $e) (global.get $f)
            (global.get $k)))"#;
    let (a, b) = (world.add("a", user), world.add("b", user));
    let object = ExternRef::new(&mut world.store, "mine".to_owned());
    world.call(a, "next", &[object.into()]).unwrap();
    let next = b.get_func(&world.store, "next").unwrap();
    let results = world.call(b, "next", &[Val::ExternRef(None)]).unwrap();
    let expected = [
        Val::I32(3),
        Val::I64(4),
        5f32.into(),
        6f64.into(),
        next.into(),
        Val::ExternRef(None),
        Val::I32(50),
    ];
    assert_eq!(results, expected);
    assert_eq!(
        object.data(&world.store).downcast_ref(),
        Some(&"mine".to_owned())
    );
    let global = owner.get_global(&world.store, "i64").unwrap();
    assert_eq!(global.get(&world.store), Val::I64(4));
    global.set(&mut world.store, Val::I64(-4)).unwrap();
    assert_eq!(
        world.call(a, "next", &[object.into()]).unwrap()[1],
        Val::I64(-3)
    );
    let m = a.get_global(&world.store, "m").unwrap();
    assert_eq!(m.get(&world.store), Val::I32(149));
}

#[test]
fn types_are_equal_when_their_structure_is() {
    let mut world = World::new();
    let ty = TableType::new(RefType::Func, 4, None);
    let table = Table::new(&mut world.store, ty, Ref::Func(None)).unwrap();
    world.linker.define(&world.store, "t", "t", table).unwrap();
    // The types have other numbers in each module.
    world.add(
        "a",
        r#"(module (type (func)) (type (func (param f32))) (type $t (func (param i32 i64) (result f64)))
        (import "t" "t" (table 4 funcref)) (elem (i32.const 1) $f)
        (func $f (type $t) (f64.convert_i32_s (local.get 0))))"#,
    );
    let b = world.add(
        "b",
        r#"(module (type $t (func (param i32 i64) (result f64))) (import "t" "t" (table 4 funcref))
        (func (export "f") (result f64) (call_indirect (type $t) (i32.const 9) (i64.const 0) (i32.const 1)))
        (func (export "g") (call_indirect (param i32 funcref) (i32.const 9) (ref.null func) (i32.const 1))))"#,
    );
    assert_eq!(world.call(b, "f", &[]).unwrap(), [9f64.into()]);
    let error = world.call(b, "g", &[]).unwrap_err();
    assert_eq!(
        error.as_trap_code(),
        Some(TrapCode::IndirectCallTypeMismatch)
    );
}

#[test]
fn traps_name_the_instance_that_trapped_and_all_end() {
    let mut world = World::new();
    world.add(
        "a",
        r#"(module (func $ok (nop)) (func $divide (export "div") (param i32) (result i32)
            (i32.div_u (i32.const 8) (local.get 0))))"#,
    );
    let b = world.add(
        "b",
        r#"(module (import "a" "div" (func $div (param i32) (result i32))) (memory 1)
        (func (export "f") (param i32) (result i32) (i32.add (call $div (local.get 0)) (i32.const 1))))"#,
    );
    assert_eq!(world.i32(b, "f", &[4]).unwrap(), 3);
    let Err(Error::Trap(trap)) = world.i32(b, "f", &[0]) else {
        panic!("no trap")
    };
    assert_eq!(trap.code, TrapCode::IntegerDivideByZero);
    assert_eq!(
        (trap.function, trap.name.as_deref()),
        (Some(1), Some("divide"))
    );
    assert_eq!(world.i32(b, "f", &[2]).unwrap(), 5);
}

#[test]
fn instances_that_call_each_other_without_end_use_up_the_stack() {
    let mut world = World::new();
    let ty = TableType::new(RefType::Func, 2, None);
    let table = Table::new(&mut world.store, ty, Ref::Func(None)).unwrap();
    world.linker.define(&world.store, "t", "t", table).unwrap();
    let text = |own: i32| {
        format!(
            r#"(module (import "t" "t" (table 2 funcref)) (elem (i32.const {own}) $f)
        (func $f (export "f") (param i64 i64 i64 i64 i64 i64 i64) (result i64)
            (i64.add (local.get 6) (call_indirect (param i64 i64 i64 i64 i64 i64 i64) (result i64)
                (local.get 6) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
                (i32.const {}))))
        (func (export "ok") (result i32) (i32.const {own})))"#,
            1 - own
        )
    };
    let (a, b) = (world.add("a", &text(0)), world.add("b", &text(1)));
    for _ in 0..3 {
        let error = world.call(a, "f", &[Val::I64(1); 7]).unwrap_err();
        assert_eq!(error.as_trap_code(), Some(TrapCode::StackOverflow));
    }
    assert_eq!(world.i32(a, "ok", &[]).unwrap(), 0);
    assert_eq!(world.i32(b, "ok", &[]).unwrap(), 1);
}

#[test]
fn a_stack_that_ends_between_functions_names_a_function_of_the_module() {
    let mut world = World::new();
    world.add("t", r#"(module (table (export "t") 1 funcref))"#);
    // Calls through a table of others go by way of a stub, where the stack may end, too: frames of all sizes are tried.
    for locals in 0..8 {
        let text = format!(
            r#"(module (import "t" "t" (table 1 funcref)) (elem (i32.const 0) $g)
            (func $other (nop)) (func $more (nop)) (func $last (nop))
            (func $g (param i32) (local{}) (call_indirect (param i32) (i32.const 1) (i32.const 0)) (call $other))
            (func $f (export "f") (call $g (i32.const 5))))"#,
            " i64".repeat(locals)
        );
        let instance = world.add(&format!("i{locals}"), &text);
        let Err(Error::Trap(trap)) = world.call(instance, "f", &[]) else {
            panic!("no trap")
        };
        assert_eq!(trap.code, TrapCode::StackOverflow);
        assert!(matches!(trap.name.as_deref(), Some("f" | "g")), "{trap}");
    }
}

#[test]
fn an_instance_that_fails_to_start_leaves_what_it_did() {
    let mut world = World::new();
    let memory = Memory::new(&mut world.store, MemoryType::new(1, None)).unwrap();
    world.linker.define(&world.store, "m", "m", memory).unwrap();
    let ty = TableType::new(RefType::Func, 1, None);
    let table = Table::new(&mut world.store, ty, Ref::Func(None)).unwrap();
    world.linker.define(&world.store, "m", "t", table).unwrap();
    let failing = module(
        r#"(module (import "m" "m" (memory 1)) (import "m" "t" (table 1 funcref)) (global $n i32 (i32.const 77))
        (func $f (result i32) (global.get $n)) (elem (i32.const 0) $f)
        (data (i32.const 0) "ab") (data (i32.const 65536) "c"))"#,
    );
    let error = world.linker.instantiate(&mut world.store, &failing);
    assert_eq!(
        error.unwrap_err().as_trap_code(),
        Some(TrapCode::MemoryOutOfBounds)
    );
    drop(failing);
    assert_eq!(&memory.data(&world.store)[..3], b"ab\0");
    let left = table
        .get(&world.store, 0)
        .unwrap()
        .as_func()
        .unwrap()
        .unwrap();
    let left = left.typed::<(), i32>(&world.store).unwrap();
    assert_eq!(left.call(&mut world.store, ()).unwrap(), 77);
}

#[test]
fn the_host_checks_what_it_puts_where() {
    let mut store = Store::new(engine(), ());
    let func = Func::wrap(&mut store, |n: i32| n);
    let ty = TableType::new(RefType::Extern, 1, Some(3));
    let table = Table::new(&mut store, ty, Ref::null(RefType::Extern)).unwrap();
    assert!(table.set(&mut store, 0, func.into()).is_err());
    assert!(table.grow(&mut store, 1, func.into()).is_err());
    let object = ExternRef::new(&mut store, 5u8);
    assert_eq!(table.grow(&mut store, 2, object.into()).unwrap(), 1);
    assert!(table.grow(&mut store, 1, object.into()).is_err());
    assert_eq!(table.get(&store, 2), Some(Ref::Extern(Some(object))));
    assert!(table.set(&mut store, 3, object.into()).is_err());
    let ty = GlobalType::new(ValType::FUNCREF, Mutability::Var);
    assert!(Global::new(&mut store, ty, Val::I32(0)).is_err());
    let global = Global::new(&mut store, ty, func.into()).unwrap();
    assert!(global.set(&mut store, object.into()).is_err());
    assert_eq!(global.get(&store), func.into());
}

#[test]
fn types_no_longer_used_are_forgotten() {
    // Modules come and go; the engine must not remember each of their types.
    let engine = copatch_wasm::Engine::default();
    let name = |n: usize| "i32 ".repeat(n % 40 + 1);
    for n in 0..200 {
        let text = format!("(module (func (export \"f\") (param {})))", name(n));
        let module = copatch_wasm::Module::new(&engine, wat::parse_str(&text).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_func(&store, "f").unwrap();
        drop(module);
        f.call(&mut store, &vec![Val::I32(1); n % 40 + 1], &mut [])
            .unwrap();
        // The store keeps the type alive for as long as the function can be called.
        assert_eq!(f.ty(&store).params().len(), n % 40 + 1);
    }
    assert!(format!("{engine:?}").matches("FuncType").count() < 10);
}

/// A type has another number in each engine, by which `call_indirect` knows it: an integer would be taken for a reference.
#[test]
fn a_linker_provides_nothing_in_another_engines_stores() {
    let mut linker: Linker<()> = Linker::new(engine());
    linker.func_wrap("host", "id", |value: i64| value).unwrap();
    let other = copatch_wasm::Engine::default();
    let text = r#"(module
        (type $forge (func (param i64) (result funcref)))
        (type $id (func (param i64) (result i64)))
        (import "host" "id" (func $f (type $id))))"#;
    let module = copatch_wasm::Module::new(&other, wat::parse_str(text).unwrap()).unwrap();
    let mut store = Store::new(&other, ());
    let error = linker.instantiate(&mut store, &module).unwrap_err();
    assert!(error.to_string().contains("another engine"), "{error}");
    assert!(linker.get(&mut store, "host", "id").is_none());
    assert!(linker.get(Store::new(engine(), ()), "host", "id").is_some());
}
