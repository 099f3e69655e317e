//! Modules that come and go leave nothing behind.

use copatch_wasm::{Caller, Engine, Linker, Module, Ref, RefType, Store, Table, TableType};

/// Kibibytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    words[1].parse().unwrap()
}

/// Mappings of this process.
fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// Module number `n`: of types that only some others have, with everything that an instance can have.
fn text(n: usize) -> String {
    let params = ["i32", "i64", "f32", "f64"].map(|ty| ty.to_owned() + " ");
    let params: String = (0..n % 7)
        .map(|at| params[(n >> (2 * at)) % 4].clone())
        .collect();
    format!(
        r#"(module (type $t (func (param {params}))) (import "host" "f" (func $host (param i32) (result i32)))
        (import "host" "t" (table $shared 2 funcref))
        (memory (export "memory") 1) (data (i32.const {}) "data") (global $g (mut i32) (i32.const {n}))
        (table $own 4 funcref) (elem (table $shared) (i32.const 1) func $run) (elem (table $own) (i32.const 0) func $x $run $host)
        (func $x (type $t))
        (func $run (export "run") (param i32) (result i32) (local i64)
            (loop $l
                (global.set $g (i32.add (global.get $g) (call $host (local.get 0))))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (i32.store (i32.const 128) (global.get $g))
            (if (i32.eqz (local.get 0)) (then (unreachable)))
            (global.get $g)))"#,
        n % 60000
    )
}

/// Compiles, instantiates, runs and drops modules from `from` to `to`.
fn churn(engine: &Engine, linker: &Linker<u32>, from: usize, to: usize) {
    for n in from..to {
        let module = Module::new(engine, wat::parse_str(text(n)).unwrap()).unwrap();
        let mut store = Store::new(engine, 0);
        let mut linker = linker.clone();
        let ty = TableType::new(RefType::Func, 2, None);
        let table = Table::new(&mut store, ty, Ref::Func(None)).unwrap();
        linker.define(&store, "host", "t", table).unwrap();
        let one = linker.instantiate(&mut store, &module).unwrap();
        let two = linker.instantiate(&mut store, &module).unwrap();
        drop(module);
        for instance in [one, two] {
            let run = instance.get_typed_func::<i32, i32>(&store, "run").unwrap();
            assert!(run.call(&mut store, 3).is_err(), "it ends with a trap");
        }
        assert_eq!(*store.data(), 6);
    }
}

fn soak(modules: usize, report: impl Fn(usize, usize, usize)) {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "f", |mut caller: Caller<'_, u32>, n: i32| {
            *caller.data_mut() += 1;
            n
        })
        .unwrap();
    // What is kept for good is there after the first ones.
    let warm = modules / 10;
    churn(&engine, &linker, 0, warm);
    let (before, mapped) = (resident(), mappings());
    report(warm, before, mapped);
    for step in 1..10 {
        churn(&engine, &linker, step * warm, (step + 1) * warm);
        report((step + 1) * warm, resident(), mappings());
    }
    let (after, left) = (resident(), mappings());
    assert!(after < before + 4096, "{before} KiB grew to {after} KiB");
    assert!(left < mapped + 20, "{mapped} mappings became {left}");
}

#[test]
fn some_modules_leave_nothing_behind() {
    soak(3_000, |_, _, _| {});
}

#[test]
#[ignore = "takes minutes; prints what memory it uses"]
fn two_hundred_thousand_modules_leave_nothing_behind() {
    soak(200_000, |modules, resident, mappings| {
        println!("{modules} modules: {resident} KiB resident, {mappings} mappings");
    });
}
