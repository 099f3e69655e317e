//! Programs of WASI preview 1 as the command line runs them.

use copatch::plugin::{CompileOptions, Compiled, FrontEnd, GuestDir, RunError, RunOptions};
use copatch_wasm::Wasm;

fn program(text: &str) -> Box<dyn Compiled> {
    let bytes = wat::parse_str(text).expect("the test's module is well-formed");
    assert!(Wasm.probe(&bytes));
    Wasm.compile(&bytes, &CompileOptions::default())
        .expect("it compiles")
}

fn arguments<const N: usize>(arguments: [&str; N]) -> RunOptions {
    RunOptions {
        args: arguments.map(Into::into).to_vec(),
        ..RunOptions::default()
    }
}

/// Imports of a program, a memory, and checks of WASI's error numbers: a number other than the expected one exits with 64.
const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (memory (export "memory") 1)
    (func $expect (param i32 i32)
        (if (i32.ne (local.get 0) (local.get 1)) (then (call $exit (i32.const 64)))))
    (func $ok (param i32) (call $expect (local.get 0) (i32.const 0)))
"#;

#[test]
fn the_exit_code_is_the_programs() {
    let exit = |code: i32| {
        program(&format!(r#"(module {PRELUDE} (func (export "_start") (call $exit (i32.const {code})) (unreachable)))"#))
            .run(&arguments(["p"]))
    };
    for code in [0, 1, 125, 126, 255, -1] {
        assert_eq!(exit(code), Ok(code));
    }
    assert_eq!(
        program(r#"(module (func (export "_start")))"#).run(&arguments(["p"])),
        Ok(0)
    );
}

#[test]
fn arguments_and_environment_arrive() {
    let text = format!(
        r#"(module {PRELUDE}
        (func (export "_start")
            (call $ok (call $args_sizes (i32.const 0) (i32.const 4)))
            (call $ok (call $args (i32.const 16) (i32.const 64)))
            (call $ok (call $environ_sizes (i32.const 8) (i32.const 12)))
            ;; Three arguments, the second one's first letter, one variable of 4 bytes and its zero.
            (call $expect (i32.load (i32.const 0)) (i32.const 3))
            (call $expect (i32.load (i32.const 8)) (i32.const 1))
            (call $expect (i32.load (i32.const 12)) (i32.const 5))
            (call $exit (i32.load8_u (i32.load (i32.const 20))))))"#
    );
    let mut options = arguments(["prog", "xyz", "é"]);
    options.env.push(("AB".into(), "c".into()));
    assert_eq!(program(&text).run(&options), Ok(i32::from(b'x')));
}

#[test]
fn files_are_written_and_read_inside_the_directory_only() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("open");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(folder.path().join("secret"), "no").unwrap();
    std::os::unix::fs::symlink("../secret", inner.join("link")).unwrap();
    let text = format!(
        r#"(module {PRELUDE}
        (data (i32.const 100) "out.txt") (data (i32.const 120) "../secret") (data (i32.const 140) "link")
        (data (i32.const 160) "/etc/passwd") (data (i32.const 180) "written")
        ;; Opens for reading and writing; creates if the flag says so.
        (func $try (param $path i32) (param $len i32) (param $flags i32) (result i32)
            (call $open (i32.const 3) (i32.const 1) (local.get $path) (local.get $len) (local.get $flags)
                (i64.const 0x66) (i64.const 0) (i32.const 0) (i32.const 0)))
        (func (export "_start")
            (call $ok (call $prestat (i32.const 3) (i32.const 0)))
            (call $expect (call $prestat (i32.const 4) (i32.const 0)) (i32.const 8))
            (call $expect (call $try (i32.const 100) (i32.const 7) (i32.const 0)) (i32.const 44))
            (call $expect (call $try (i32.const 120) (i32.const 9) (i32.const 0)) (i32.const 63))
            (call $expect (call $try (i32.const 140) (i32.const 4) (i32.const 0)) (i32.const 63))
            (call $expect (call $try (i32.const 160) (i32.const 11) (i32.const 0)) (i32.const 63))
            (call $ok (call $try (i32.const 100) (i32.const 7) (i32.const 1)))
            ;; One vector of 7 bytes.
            (i32.store (i32.const 16) (i32.const 180)) (i32.store (i32.const 20) (i32.const 7))
            (call $ok (call $write (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 24)))
            (call $expect (i32.load (i32.const 24)) (i32.const 7))
            (call $ok (call $seek (i32.load (i32.const 0)) (i64.const 3) (i32.const 0) (i32.const 32)))
            (i32.store (i32.const 16) (i32.const 200))
            (call $ok (call $read (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 24)))
            (call $expect (i32.load (i32.const 24)) (i32.const 4))
            (call $expect (i32.load (i32.const 200)) (i32.const 0x6e657474))
            (call $ok (call $close (i32.load (i32.const 0))))
            (call $expect (call $close (i32.load (i32.const 0))) (i32.const 8))
            ;; A vector that lies outside memory ends the program.
            (i32.store (i32.const 16) (i32.const -8)) (i32.store (i32.const 20) (i32.const 100))
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#
    );
    let mut options = arguments(["p"]);
    options.dirs.push(GuestDir {
        host: inner.clone(),
        guest: "/data".to_owned(),
    });
    let Err(RunError::Failure(message)) = program(&text).run(&options) else {
        panic!("it ran")
    };
    assert!(message.contains("out of bounds"), "{message}");
    assert_eq!(
        std::fs::read_to_string(inner.join("out.txt")).unwrap(),
        "written"
    );
    options.dirs[0].host = folder.path().join("missing");
    let Err(RunError::Failure(message)) = program(&text).run(&options) else {
        panic!("it ran")
    };
    assert!(message.contains("missing"), "{message}");
}

#[test]
fn clocks_and_random_numbers() {
    let text = format!(
        r#"(module {PRELUDE}
        (func (export "_start")
            (call $ok (call $clock (i32.const 0) (i64.const 1) (i32.const 0)))
            (call $ok (call $clock (i32.const 1) (i64.const 1) (i32.const 8)))
            (call $ok (call $yield))
            (call $ok (call $clock (i32.const 1) (i64.const 1) (i32.const 16)))
            (call $expect (i64.gt_u (i64.load (i32.const 0)) (i64.const 1600000000000000000)) (i32.const 1))
            (call $expect (i64.ge_u (i64.load (i32.const 16)) (i64.load (i32.const 8))) (i32.const 1))
            (call $ok (call $random (i32.const 32) (i32.const 32)))
            (call $expect (i64.eqz (i64.or (i64.load (i32.const 32)) (i64.load (i32.const 56)))) (i32.const 0))))"#
    );
    assert_eq!(program(&text).run(&arguments(["p"])), Ok(0));
}

#[test]
fn functions_are_called_by_name_with_arguments_of_their_types() {
    let text = r#"(module (func (export "div") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1))))"#;
    let program = program(text);
    let call = |name: &str, mut options: RunOptions| {
        options.invoke = Some(name.to_owned());
        program.run(&options)
    };
    assert_eq!(call("div", arguments(["p", "6", "-3"])), Ok(0));
    let usage = |result| match result {
        Err(RunError::Usage(what)) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        usage(call("div", arguments(["p", "6"]))),
        "div takes 2 arguments, not 1"
    );
    assert_eq!(
        usage(call("div", arguments(["p", "6", "x"]))),
        "div: \"x\" is no i32"
    );
    assert_eq!(
        usage(call("mul", arguments(["p"]))),
        "no function is exported as \"mul\""
    );
    assert!(usage(program.run(&arguments(["p"]))).contains("_start"));
    let trap = call("div", arguments(["p", "6", "0"])).unwrap_err();
    assert!(
        trap.to_string()
            .starts_with("trap: integer divide by zero in function div"),
        "{trap}"
    );
}

#[test]
fn missing_imports_are_named() {
    let text = r#"(module (import "env" "mystery" (func)) (func (export "_start")))"#;
    let Err(RunError::Failure(message)) = program(text).run(&arguments(["p"])) else {
        panic!("it ran")
    };
    assert!(message.contains("env.mystery"), "{message}");
}

#[test]
fn timings_and_code_are_told() {
    let bytes = wat::parse_str(
        r#"(module (func $sum (export "sum") (param i32) (result i32) (local i32)
            (loop $l (local.set 1 (i32.add (local.get 1) (local.get 0)))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get 1)))"#,
    )
    .unwrap();
    let traced = Wasm
        .compile(
            &bytes,
            &CompileOptions {
                trace: true,
                ..Default::default()
            },
        )
        .unwrap();
    let timings = traced.timings();
    assert_eq!(
        (timings.bytes_in, timings.functions),
        (bytes.len() as u64, 1)
    );
    assert_eq!(timings.operations, 13);
    assert!(timings.prescan_ns <= timings.generate_ns && timings.generate_ns <= timings.total_ns);
    let all = traced.explain(None).unwrap();
    assert_eq!(
        all.functions
            .iter()
            .map(|function| function.name.as_str())
            .collect::<Vec<_>>(),
        ["sum"]
    );
    let ops: Vec<&str> = traced.explain(Some(0)).unwrap().functions[0]
        .stencils
        .iter()
        .map(|s| s.op.clone().leak() as &str)
        .collect();
    assert!(ops.contains(&"i32.add"), "{ops:?}");
    assert!(traced.explain(Some(9)).is_err());
    let untraced = Wasm.compile(&bytes, &CompileOptions::default()).unwrap();
    assert!(untraced.explain(None).is_err());
}
