//! A module compiled on several threads is the one compiled on one: the same code, the same traps, the same first error.

#[path = "common/shapes.rs"]
mod shapes;
#[path = "common/threads.rs"]
mod threads;

use std::num::NonZeroUsize;
use std::path::Path;

use copatch_wasm::{Config, Engine, Error, Instance, Module, Result, Store};
use shapes::Shape;
use threads::{assert_same, engines};

#[test]
fn kernels_have_the_same_code_on_any_number_of_threads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/kernels");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the kernels") {
        let path = entry.expect("a kernel").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            assert_same(
                &path.display().to_string(),
                &std::fs::read(&path).expect("a kernel"),
            );
            count += 1;
        }
    }
    assert!(count >= 19, "{count} kernels");
}

#[test]
fn large_functions_of_every_shape_have_the_same_code_on_any_number_of_threads() {
    for shape in Shape::ALL {
        assert_same(shape.name, &shape.module(3_000, 12).0);
    }
}

/// A module of `count` functions of some hundred bytes, each with what `body` makes of its number in front.
fn module(count: usize, body: impl Fn(usize) -> String) -> String {
    let padding = "(global.set $g (i32.add (global.get $g) (local.get 0)))".repeat(30);
    let functions: String = (0..count)
        .map(|index| {
            let next = (index + 1) % count;
            format!(
                "(func $f{index} (param i32) (result i32) {} {padding} \
                 (if (local.get 0) (then (drop (call $f{next} (i32.sub (local.get 0) (i32.const 1)))))) \
                 (global.get $g))\n",
                body(index)
            )
        })
        .collect();
    format!(
        "(module (global $g (mut i32) (i32.const 0)) (memory 1)\n{functions}\
         (func (export \"run\") (param i32) (result i32) (call $f0 (local.get 0))))"
    )
}

/// What `run` of a module gives.
fn run(engine: &Engine, bytes: &[u8], argument: i32) -> Result<i32> {
    let module = Module::new(engine, bytes)?;
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
    run.call(&mut store, argument)
}

#[test]
fn functions_of_different_spans_call_each_other() {
    let text = module(100, |_| String::new());
    let bytes = wat::parse_str(&text).unwrap();
    assert_same("calls", &bytes);
    for engine in engines() {
        // Calls with 250, 249, … each add their argument 30 times.
        assert_eq!(run(&engine, &bytes, 250).unwrap(), 30 * 250 * 251 / 2);
    }
}

#[test]
fn a_trap_tells_its_function_and_offset_whatever_thread_compiled_it() {
    let text = module(100, |index| match index {
        77 => "(i32.store (i32.const -4) (local.get 0))".to_owned(),
        _ => String::new(),
    });
    let bytes = wat::parse_str(&text).unwrap();
    let traps = engines().map(|engine| match run(&engine, &bytes, 90) {
        Err(Error::Trap(trap)) => trap,
        other => panic!("{other:?}"),
    });
    assert_eq!(traps[0].function, Some(77));
    assert!(traps.iter().all(|trap| *trap == traps[0]), "{traps:?}");
}

#[test]
fn functions_that_are_begun_anew_have_the_same_code_on_any_number_of_threads() {
    // A resumable loop with a far store behind what the scan looks at.
    let filler = "(global.set $g (i32.const 1))".repeat(1000);
    let text = module(100, |index| match index {
        20 | 21 | 77 => format!(
            "(if (i32.eqz (local.get 0)) (then
                (loop (block (block (br_table 0 1 (local.get 0))) {filler}
                    (i32.store offset=0x80000000 (local.get 0) (i32.const 1))))))"
        ),
        _ => String::new(),
    });
    let bytes = wat::parse_str(&text).unwrap();
    assert_same("begun anew", &bytes);
    for engine in engines() {
        let trap = run(&engine, &bytes, 20);
        assert!(matches!(trap, Err(Error::Trap(trap)) if trap.function == Some(20)));
    }
}

#[test]
fn no_number_of_threads_is_too_large() {
    let bytes = wat::parse_str(module(100, |_| String::new())).unwrap();
    let mut config = Config::new();
    config.parallel_compilation(NonZeroUsize::MAX);
    let engine = Engine::new(&config).unwrap();
    assert_eq!(run(&engine, &bytes, 250).unwrap(), 30 * 250 * 251 / 2);
}

/// The errors of every number of threads, as text.
fn refusals(bytes: &[u8]) -> [String; 3] {
    engines().map(|engine| {
        let refused: Result<Module> = Module::new(&engine, bytes);
        refused.expect_err("it is refused").to_string()
    })
}

#[test]
fn the_first_error_in_the_order_of_functions_is_reported() {
    // Invalid bodies whose error names a local, so that it tells which it is. Whatever ends first, the first counts.
    for wrong in [vec![0, 99], vec![60, 61, 62], vec![99, 98, 30, 7], vec![45]] {
        let text = module(100, |index| match wrong.contains(&index) {
            true => format!("(drop (local.get {}))", 1000 + index),
            false => String::new(),
        });
        let first = wrong.iter().min().unwrap();
        let bytes = wat::parse_str(&text).unwrap();
        for _ in 0..5 {
            let errors = refusals(&bytes);
            assert!(
                errors[0].contains(&format!("unknown local {}", 1000 + first)),
                "{errors:?}"
            );
            assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        }
    }
}

#[test]
fn an_error_that_is_found_late_comes_before_one_that_is_found_early() {
    let long = "(global.set $g (local.get 0))".repeat(200_000);
    let text = module(100, |index| match index {
        20 => format!("{long} (drop (local.get 1020))"),
        40 => "(drop (local.get 1040))".to_owned(),
        _ => String::new(),
    });
    let errors = refusals(&wat::parse_str(&text).unwrap());
    for error in &errors {
        assert!(error.contains("unknown local 1020"), "{errors:?}");
    }
}

#[test]
fn what_the_engine_refuses_is_told_in_the_same_words() {
    // Each has more operands in memory than a frame has room for.
    let text = module(100, |index| match index {
        20 | 50 => "(i32.const 1) ".repeat(70_000) + &"(drop) ".repeat(70_000),
        _ => String::new(),
    });
    let errors = refusals(&wat::parse_str(&text).unwrap());
    assert!(errors[0].contains("function 20"), "{errors:?}");
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
}
