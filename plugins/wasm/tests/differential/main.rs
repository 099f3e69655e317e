//! Random modules agree with wasmi: results (with one NaN for all), traps, globals and memory.
//!
//! `COPATCH_CASES` sets how many modules are tried.

mod generate;
#[path = "../common/threads.rs"]
mod threads;

use std::cell::Cell;
use std::sync::OnceLock;

use copatch::ValueType;
use copatch_wasm::{Engine, Error, Instance, Module, Store, TrapCode, Val};
use generate::{Generator, Operation};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

/// What running a module shows.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    result: Result<Vec<Val>, TrapCode>,
    globals: Vec<Val>,
    memory: Vec<u8>,
}

const GLOBALS: [&str; 4] = ["g_i32", "g_i64", "g_f32", "g_f64"];

fn canonical(value: Val) -> Val {
    match value {
        Val::F32(bits) if f32::from_bits(bits).is_nan() => Val::F32(0x7fc0_0000),
        Val::F64(bits) if f64::from_bits(bits).is_nan() => Val::F64(0x7ff8_0000_0000_0000),
        other => other,
    }
}

/// An engine as it is if nothing is said, and one whose code has landing pads.
fn engines() -> &'static [Engine; 2] {
    static ENGINES: OnceLock<[Engine; 2]> = OnceLock::new();
    ENGINES.get_or_init(|| {
        [false, true].map(|pads| {
            Engine::new(copatch_wasm::Config::new().landing_pads(pads))
                .expect("an engine for this machine")
        })
    })
}

fn copatch(engine: &Engine, bytes: &[u8], arguments: &[Val]) -> Outcome {
    let module = Module::new(engine, bytes).expect("the module compiles");
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("the module has no imports");
    let run = instance
        .get_func(&store, "run")
        .expect("the module exports it");
    let mut results = vec![Val::I32(0); run.ty(&store).results().len()];
    let result = match run.call(&mut store, arguments, &mut results) {
        Ok(()) => Ok(results.into_iter().map(canonical).collect()),
        Err(Error::Trap(trap)) => Err(trap.code),
        Err(error) => panic!("{error}"),
    };
    let global = |name| {
        let global = instance.get_global(&store, name);
        canonical(global.expect("the module exports it").get(&store))
    };
    let globals = GLOBALS.map(global).to_vec();
    let memory = instance
        .get_memory(&store, "memory")
        .expect("the module exports it");
    Outcome {
        result,
        globals,
        memory: memory.data(&store).to_vec(),
    }
}

fn wasmi(bytes: &[u8], arguments: &[Val]) -> Outcome {
    use wasmi::{F32, F64, Val as Theirs};
    static ENGINE: OnceLock<wasmi::Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(wasmi::Engine::default);
    let to = |value: &Val| match *value {
        Val::I32(value) => Theirs::I32(value),
        Val::I64(value) => Theirs::I64(value),
        Val::F32(bits) => Theirs::F32(F32::from_bits(bits)),
        Val::F64(bits) => Theirs::F64(F64::from_bits(bits)),
        other => panic!("{other:?}"),
    };
    let from = |value: &Theirs| {
        canonical(match value {
            Theirs::I32(value) => Val::I32(*value),
            Theirs::I64(value) => Val::I64(*value),
            Theirs::F32(value) => Val::F32(value.to_bits()),
            Theirs::F64(value) => Val::F64(value.to_bits()),
            other => panic!("{other:?}"),
        })
    };
    let module = wasmi::Module::new(engine, bytes).expect("the module compiles");
    let mut store = wasmi::Store::new(engine, ());
    let instance = wasmi::Linker::new(engine)
        .instantiate_and_start(&mut store, &module)
        .expect("no imports");
    let run = instance
        .get_func(&store, "run")
        .expect("the module exports it");
    let mut results = vec![Theirs::I32(0); run.ty(&store).results().len()];
    let arguments: Vec<Theirs> = arguments.iter().map(to).collect();
    let result = match run.call(&mut store, &arguments, &mut results) {
        Ok(()) => Ok(results.iter().map(from).collect()),
        Err(error) => Err(code(
            error.as_trap_code().unwrap_or_else(|| panic!("{error}")),
        )),
    };
    let global = |name| {
        from(
            &instance
                .get_global(&store, name)
                .expect("the module exports it")
                .get(&store),
        )
    };
    let globals = GLOBALS.map(global).to_vec();
    let memory = instance
        .get_memory(&store, "memory")
        .expect("the module exports it")
        .data(&store)
        .to_vec();
    Outcome {
        result,
        globals,
        memory,
    }
}

fn code(code: wasmi::TrapCode) -> TrapCode {
    match code {
        wasmi::TrapCode::UnreachableCodeReached => TrapCode::Unreachable,
        wasmi::TrapCode::MemoryOutOfBounds => TrapCode::MemoryOutOfBounds,
        // Tables are accessed by indirect calls alone here.
        wasmi::TrapCode::TableOutOfBounds => TrapCode::UndefinedElement,
        wasmi::TrapCode::IndirectCallToNull => TrapCode::UninitializedElement,
        wasmi::TrapCode::BadSignature => TrapCode::IndirectCallTypeMismatch,
        wasmi::TrapCode::IntegerDivisionByZero => TrapCode::IntegerDivideByZero,
        wasmi::TrapCode::IntegerOverflow => TrapCode::IntegerOverflow,
        wasmi::TrapCode::BadConversionToInteger => TrapCode::InvalidConversionToInteger,
        wasmi::TrapCode::StackOverflow => TrapCode::StackOverflow,
        other => panic!("{other:?}"),
    }
}

fn argument(ty: ValueType, bits: u64) -> Val {
    match ty {
        ValueType::I32 => Val::I32(bits as i32),
        ValueType::I64 => Val::I64(bits as i64),
        ValueType::F32 => (bits as i32 as f32 / 16.0).into(),
        _ => (bits as i64 as f64 / 16.0).into(),
    }
}

/// The module of these choices, its text, and arguments for its function.
fn case(operations: &[Operation], choices: &[u8], seeds: &[u64]) -> (Vec<u8>, String, Vec<Val>) {
    let (text, params) = Generator::new(choices, operations).module();
    let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let seed = |index: usize| seeds.get(index % seeds.len().max(1)).copied().unwrap_or(0);
    let arguments = params
        .iter()
        .enumerate()
        .map(|(index, ty)| argument(*ty, seed(index)))
        .collect();
    (bytes, text, arguments)
}

#[test]
fn random_modules_agree_with_wasmi() {
    let cases = std::env::var("COPATCH_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(300);
    let operations = generate::operations();
    let choices = prop::collection::vec(any::<u8>(), 1..1200);
    let seeds = prop::collection::vec(prop_oneof![0u64..8, any::<u64>()], 1..6);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let returned = Cell::new(0);
    let outcome = runner.run(&(choices, seeds), |(choices, seeds)| {
        let (bytes, _, arguments) = case(&operations, &choices, &seeds);
        let theirs = wasmi(&bytes, &arguments);
        for engine in engines() {
            let ours = copatch(engine, &bytes, &arguments);
            prop_assert_eq!(&ours.result, &theirs.result);
            prop_assert_eq!(&ours.globals, &theirs.globals);
            prop_assert!(ours.memory == theirs.memory, "memory differs");
        }
        returned.set(returned.get() + u32::from(theirs.result.is_ok()));
        Ok(())
    });
    match outcome {
        // Modules that trap at once would show little.
        Ok(()) => assert!(
            returned.get() >= cases / 3,
            "{} of {cases} returned",
            returned.get()
        ),
        Err(TestError::Fail(reason, (choices, seeds))) => {
            let (_, text, arguments) = case(&operations, &choices, &seeds);
            panic!("{reason}\nrun{arguments:?} of\n{text}");
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn random_modules_have_the_same_code_on_any_number_of_threads() {
    let operations = generate::operations();
    let choices = prop::collection::vec(any::<u8>(), 4000..12000);
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let spread = Cell::new(0);
    let outcome = runner.run(&choices, |choices| {
        let (text, _) = Generator::new(&choices, &operations).module_of(40);
        let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        threads::assert_same("random", &bytes);
        // Below a kilobyte of code functions stay together.
        spread.set(spread.get() + u32::from(bytes.len() > 4096));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(spread.get() >= 40, "{} modules were large", spread.get());
}

#[test]
fn the_generator_covers_the_op_table() {
    // Every operation of the table appears in some module: a name that wasm does not know would fail in `case`.
    let operations = generate::operations();
    let mut seen = String::new();
    let mut state = 1u64;
    for _ in 0..400 {
        let choices: Vec<u8> = (0..800)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect();
        let (bytes, text, _) = case(&operations, &choices, &[1]);
        wasmparser::validate(&bytes).unwrap_or_else(|error| panic!("{error}\n{text}"));
        seen.push_str(&text);
    }
    let missing: Vec<&str> = operations
        .iter()
        .map(|op| op.name.as_str())
        .filter(|name| {
            !seen.contains(&format!("{name}\n")) && !seen.contains(&format!("{name} offset"))
        })
        .collect();
    assert_eq!(missing, [] as [&str; 0]);
    for name in ["return_call $f", "return_call_indirect (param"] {
        assert!(seen.contains(name), "{name}");
    }
}
