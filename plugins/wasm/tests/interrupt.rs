//! Programs stopped from other threads: wherever they are, and only they.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{engine, module};
use copatch_wasm::{
    Caller, Config, Engine, Error, Instance, Linker, Module, Result, Store, TrapCode,
};

/// Programs that run for ever, in as many ways.
const ENDLESS: &str = r#"(module
    (import "host" "nop" (func $nop))
    (import "host" "call" (func $host (param i32)))
    (memory 16)
    (type $t (func (param i64) (result i64)))
    (table 2 funcref) (elem (i32.const 0) $leaf $there)
    (func $leaf (type $t) (i64.mul (local.get 0) (i64.const 3)))
    (func (export "tight") (loop $l (br $l)))
    (func (export "count") (local i64)
        (loop $l (local.set 0 (i64.add (local.get 0) (i64.const 1))) (br_if $l (i64.ne (local.get 0) (i64.const 0)))))
    (func (export "calls") (local i64)
        (loop $l (local.set 0 (call $leaf (local.get 0))) (br $l)))
    (func (export "indirect") (local i64)
        (loop $l (local.set 0 (call_indirect (type $t) (local.get 0) (i32.const 0))) (br $l)))
    (func $tree (export "tree") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (call $tree (i32.sub (local.get 0) (i32.const 1))) (call $tree (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 1))))
    (func (export "recursion") (drop (call $tree (i32.const 60))))
    (func (export "host") (loop $l (call $nop) (br $l)))
    (func (export "fill") (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576)) (br $l)))
    (func (export "helpers") (loop $l (drop (memory.grow (i32.const 0))) (data.drop $d) (br $l)))
    (func (export "nested") (call $host (i32.const 0)))
    (func (export "often nested") (loop $l (call $host (i32.const 1)) (br $l)))
    (func (export "short"))
    (func $there (export "tail") (return_call $back (i64.const 1)))
    (func $back (param i64) (return_call_indirect (i32.const 1)))
    (func (export "tail indirect") (return_call $back (i64.const 2)))
    (data $d ""))"#;

const NAMES: [&str; 12] = [
    "tight",
    "count",
    "calls",
    "indirect",
    "recursion",
    "host",
    "fill",
    "helpers",
    "nested",
    "often nested",
    "tail",
    "tail indirect",
];

fn world() -> (Store<()>, Instance) {
    let mut linker = Linker::new(engine());
    linker
        .func_wrap("host", "nop", || {})
        .unwrap()
        .func_wrap(
            "host",
            "call",
            |mut caller: Caller<'_, ()>, short: i32| -> Result<()> {
                let name = if short == 1 { "short" } else { "tight" };
                let f = caller.get_export(name).unwrap().into_func().unwrap();
                f.call(&mut caller, &[], &mut [])
            },
        )
        .unwrap();
    let mut store = Store::new(engine(), ());
    let instance = linker.instantiate(&mut store, &module(ENDLESS)).unwrap();
    (store, instance)
}

fn call(store: &mut Store<()>, instance: Instance, name: &str) -> Result<()> {
    instance
        .get_typed_func::<(), ()>(&*store, name)?
        .call(store, ())
}

fn interrupted(outcome: Result<()>) -> bool {
    match outcome {
        Ok(()) => false,
        Err(error) if error.as_trap_code() == Some(TrapCode::Interrupted) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_kind_of_program_is_stopped_and_the_store_stays_usable() {
    let (mut store, instance) = world();
    let handle = store.interrupt_handle();
    for round in 0..8u64 {
        for name in NAMES {
            let (begun, begin) = mpsc::channel();
            let handle = handle.clone();
            let stopper = thread::spawn(move || {
                begin.recv().unwrap();
                thread::sleep(Duration::from_micros(round * round * 40));
                handle.interrupt();
            });
            begun.send(()).unwrap();
            let Err(Error::Trap(trap)) = call(&mut store, instance, name) else {
                panic!("{name} ended")
            };
            assert_eq!(trap.code, TrapCode::Interrupted, "{name}");
            stopper.join().unwrap();
            call(&mut store, instance, "short").unwrap();
        }
    }
}

#[test]
fn a_program_that_was_stopped_names_where_it_was() {
    let (mut store, instance) = world();
    let handle = store.interrupt_handle();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        handle.interrupt();
    });
    let Err(Error::Trap(trap)) = call(&mut store, instance, "tight") else {
        panic!("it ended")
    };
    stopper.join().unwrap();
    assert_eq!(trap.function, Some(3));
    assert_eq!(trap.name.as_deref(), Some("tight"));
}

#[test]
fn a_request_while_nothing_runs_meets_the_next_call_and_no_other() {
    let (mut store, instance) = world();
    let handle = store.interrupt_handle();
    for _ in 0..3 {
        handle.interrupt();
        handle.interrupt();
        assert!(interrupted(call(&mut store, instance, "short")));
        assert!(!interrupted(call(&mut store, instance, "short")));
    }
}

#[test]
fn only_the_store_that_was_asked_is_stopped() {
    let running = AtomicBool::new(true);
    let calls = AtomicU32::new(0);
    let (ready, handles) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut store, instance) = world();
            let handle = store.interrupt_handle();
            while running.load(Ordering::Relaxed) {
                assert!(!interrupted(call(&mut store, instance, "short")));
                calls.fetch_add(1, Ordering::Relaxed);
            }
            drop(handle);
        });
        let victim = scope.spawn(move || {
            let (mut store, instance) = world();
            ready.send(store.interrupt_handle()).unwrap();
            (0..50)
                .filter(|_| interrupted(call(&mut store, instance, "tight")))
                .count()
        });
        let handle = handles.recv().unwrap();
        while !victim.is_finished() {
            handle.interrupt();
            thread::yield_now();
        }
        assert_eq!(victim.join().unwrap(), 50);
        running.store(false, Ordering::Relaxed);
    });
    assert!(calls.load(Ordering::Relaxed) > 0);
}

/// Calls that end by themselves, requests at any time: each call is right or stopped, and each request stops one.
#[test]
fn requests_that_race_with_the_end_of_calls_are_never_lost() {
    let (mut store, instance) = world();
    let handle = store.interrupt_handle();
    let tree = instance.get_typed_func::<i32, i32>(&store, "tree").unwrap();
    let (acknowledge, next) = mpsc::channel();
    let rounds = 300;
    let stopper = thread::spawn(move || {
        for round in 0..rounds {
            let pause = Duration::from_nanos(round * 37 % 50_000);
            let begin = Instant::now();
            while begin.elapsed() < pause {
                std::hint::spin_loop();
            }
            handle.interrupt();
            next.recv().unwrap();
        }
    });
    let mut stopped = 0;
    while stopped < rounds {
        match tree.call(&mut store, 8) {
            Ok(leaves) => assert_eq!(leaves, 256),
            Err(error) => {
                assert!(interrupted(Err(error)));
                stopped += 1;
                acknowledge.send(()).unwrap();
            }
        }
    }
    stopper.join().unwrap();
    assert_eq!(tree.call(&mut store, 3).unwrap(), 8);
}

#[test]
fn a_host_function_is_not_stopped_but_what_called_it_is() {
    let mut linker = Linker::<Vec<&str>>::new(engine());
    let (inside, entered) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let (inside, wait) = (std::sync::Mutex::new(inside), std::sync::Mutex::new(wait));
    linker
        .func_wrap("host", "wait", move |mut caller: Caller<'_, Vec<&str>>| {
            inside.lock().unwrap().send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
            caller.data_mut().push("finished");
        })
        .unwrap();
    let text = r#"(module (import "host" "wait" (func $wait)) (func (export "f") (call $wait) (unreachable)))"#;
    let mut store = Store::new(engine(), vec![]);
    let instance = linker.instantiate(&mut store, &module(text)).unwrap();
    let handle = store.interrupt_handle();
    let stopper = thread::spawn(move || {
        entered.recv().unwrap();
        // Does not wait for the host function.
        handle.interrupt();
        go_on.send(()).unwrap();
    });
    let f = instance.get_typed_func::<(), ()>(&store, "f").unwrap();
    assert!(interrupted(f.call(&mut store, ())));
    stopper.join().unwrap();
    assert_eq!(store.data(), &["finished"]);
}

#[test]
fn a_host_function_that_swallows_the_trap_does_not_save_its_caller() {
    let mut linker = Linker::<u32>::new(engine());
    linker
        .func_wrap("host", "run", |mut caller: Caller<'_, u32>| {
            let f = caller.get_export("tight").unwrap().into_func().unwrap();
            let outcome = f.call(&mut caller, &[], &mut []);
            assert!(interrupted(outcome));
            *caller.data_mut() += 1;
        })
        .unwrap();
    let text = r#"(module (import "host" "run" (func $run)) (func (export "tight") (loop $l (br $l)))
        (func (export "f") (call $run) (loop $l (br $l))))"#;
    let mut store = Store::new(engine(), 0);
    let instance = linker.instantiate(&mut store, &module(text)).unwrap();
    let handle = store.interrupt_handle();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(10));
        handle.interrupt();
    });
    let f = instance.get_typed_func::<(), ()>(&store, "f").unwrap();
    assert!(interrupted(f.call(&mut store, ())));
    stopper.join().unwrap();
    assert_eq!(*store.data(), 1);
}

#[test]
fn a_host_function_stops_its_own_caller() {
    let mut linker = Linker::<()>::new(engine());
    linker
        .func_wrap("host", "stop", |mut caller: Caller<'_, ()>| {
            caller.interrupt_handle().interrupt();
        })
        .unwrap();
    let text = r#"(module (import "host" "stop" (func $stop)) (func (export "f") (call $stop) (loop $l (br $l))))"#;
    let mut store = Store::new(engine(), ());
    let instance = linker.instantiate(&mut store, &module(text)).unwrap();
    let f = instance.get_typed_func::<(), ()>(&store, "f").unwrap();
    for _ in 0..3 {
        assert!(interrupted(f.call(&mut store, ())));
    }
}

#[test]
fn stores_nested_on_one_thread_are_told_apart() {
    // The outer program's host function runs an endless program of another store, which is stopped; the outer one goes on.
    let (mut inner, instance) = world();
    let handle = inner.interrupt_handle();
    let inner = std::sync::Mutex::new(inner);
    let mut linker = Linker::<()>::new(engine());
    linker
        .func_wrap("host", "run", move || {
            let mut inner = inner.lock().unwrap();
            i32::from(interrupted(call(&mut inner, instance, "tight")))
        })
        .unwrap();
    let text = r#"(module (import "host" "run" (func $run (result i32))) (func (export "f") (result i32) (call $run)))"#;
    let mut store = Store::new(engine(), ());
    let outer = store.interrupt_handle();
    let instance = linker.instantiate(&mut store, &module(text)).unwrap();
    let f = instance.get_typed_func::<(), i32>(&store, "f").unwrap();
    for both in [false, true] {
        let (handle, outer) = (handle.clone(), outer.clone());
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            if both {
                outer.interrupt();
            }
            handle.interrupt();
        });
        match f.call(&mut store, ()) {
            Ok(stopped) => assert!(stopped == 1 && !both),
            Err(error) => assert!(both && interrupted(Err(error))),
        }
        stopper.join().unwrap();
    }
}

#[test]
fn epochs_stop_what_has_reached_its_deadline() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let text = r#"(module (func (export "f") (loop $l (br $l))) (func (export "g")))"#;
    let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    assert!(
        interrupted(call(&mut store, instance, "g")),
        "no deadline yet"
    );
    store.set_epoch_deadline(2);
    engine.increment_epoch();
    call(&mut store, instance, "g").unwrap();
    let ticker = thread::spawn({
        let engine = engine.clone();
        move || {
            thread::sleep(Duration::from_millis(10));
            engine.increment_epoch();
        }
    });
    assert!(interrupted(call(&mut store, instance, "f")));
    ticker.join().unwrap();
    assert!(
        interrupted(call(&mut store, instance, "g")),
        "the deadline has passed"
    );
    store.set_epoch_deadline(1);
    call(&mut store, instance, "g").unwrap();
    // Without a deadline nothing is stopped.
    let engine = Engine::default();
    let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    engine.increment_epoch();
    call(&mut store, instance, "g").unwrap();
}

/// Whoever sets a deadline for each call does not take back what a watchdog asks for.
#[test]
fn a_new_deadline_leaves_what_a_handle_asked_for() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let text = r#"(module (import "host" "stop" (func $stop)) (func (export "short"))
        (func (export "stopped") (call $stop)))"#;
    let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
    let mut linker = Linker::new(&engine);
    let stop = |mut caller: Caller<'_, ()>| {
        caller.interrupt_handle().interrupt();
        caller.set_epoch_deadline(1000);
    };
    linker.func_wrap("host", "stop", stop).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1000);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    assert!(interrupted(call(&mut store, instance, "stopped")));
    store.interrupt_handle().interrupt();
    store.set_epoch_deadline(1000);
    assert!(interrupted(call(&mut store, instance, "short")));
    // A deadline that came when nothing ran is over with the next one.
    store.set_epoch_deadline(1);
    engine.increment_epoch();
    store.set_epoch_deadline(1000);
    assert!(!interrupted(call(&mut store, instance, "short")));
}
