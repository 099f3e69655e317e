//! The command from outside: what it prints, and the code it exits with.
//!
//! A test is files in a folder of its own, the command line, and what came of it.

#[path = "../../plugins/wasm/tests/common/program.rs"]
mod program;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use program::program;
use tempfile::TempDir;

/// Files, and the command run among them.
struct Case {
    dir: TempDir,
    /// The command itself; copied beside plugins where a test wants that.
    exe: PathBuf,
}

/// What came of it.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Case {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            exe: env!("CARGO_BIN_EXE_copatch").into(),
        }
    }

    /// With one WebAssembly module, `m.wasm`.
    fn wat(text: &str) -> Self {
        Self::new().file("m.wasm", wat::parse_str(text).unwrap())
    }

    fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        fs::write(self.dir.path().join(name), bytes).unwrap();
        self
    }

    fn command(&self, line: &str) -> Command {
        let mut command = program(&self.exe);
        command
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env_remove("COPATCH_PLUGINS");
        command
    }

    fn run(&self, line: &str) -> Ran {
        Ran::of(self.command(line).output().unwrap())
    }

    /// Runs and expects the one line of an error, and its exit code.
    fn error(&self, line: &str, code: i32) -> String {
        let ran = self.run(line);
        ran.one_line();
        assert_eq!(ran.code, code, "{line}: {}", ran.err);
        assert_eq!(ran.out, "", "{line}");
        ran.err
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // A signal has no code; -1 equals none that is expected.
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Checks that there is one line on standard error, and that nothing panicked.
    fn one_line(&self) {
        assert!(self.err.starts_with("copatch: "), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }

    fn ok(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        &self.out
    }
}

/// The toy language's shared library, which is a dependency of these tests, so that cargo has built it.
fn toy() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let path = exe
        .parent()
        .unwrap()
        .join(format!("{DLL_PREFIX}copatch_toy{DLL_SUFFIX}"));
    assert!(path.exists(), "{} is missing", path.display());
    path
}

const TOY: &str = "fn main() {\n    print(6 * 7);\n}\n";

const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))
        (call $exit (i32.const 7))))"#;

/// Exits with 10 × the number of arguments + the number of environment variables.
const COUNT: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $args (i32.const 0) (i32.const 8)))
        (drop (call $env (i32.const 4) (i32.const 8)))
        (call $exit (i32.add (i32.mul (i32.const 10) (i32.load (i32.const 0))) (i32.load (i32.const 4))))))"#;

/// Functions to call by name, and to trap in.
const FUNCTIONS: &str = r#"(module
    (memory 1)
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
    (func (export "pair") (result i32 i64) (i32.const 1) (i64.const 2))
    (func $never (export "never") unreachable)
    (func $divide (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
    (func (export "peek") (param i32) (result i32) (i32.load (local.get 0)))
    (func $forever (export "forever") (call $forever))
    (func (export "sum") (param $at i32) (param $end i32) (result i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
        (local.get $sum)))"#;

#[test]
fn a_program_runs_with_its_output_and_exit_code() {
    let ran = Case::wat(HELLO).run("run m.wasm");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (7, "hello\n", "")
    );
}

#[test]
fn arguments_and_environment_arrive() {
    let case = Case::wat(COUNT);
    assert_eq!(case.run("run m.wasm").code, 10, "its own name");
    assert_eq!(case.run("run --env A=1 --env B= m.wasm x --y -z").code, 42);
    // Options behind the program are the program's, and so is what usually ends them.
    let line = "run --env A=1 m.wasm --env B=2 -- --dir x --help";
    assert_eq!(case.run(line).code, 71);
    assert_eq!(case.run("run -- m.wasm -- x").code, 30);
    let inherited = case
        .command("run --env SET --env COPATCH_TEST_UNSET m.wasm")
        .env("SET", "1")
        .output()
        .unwrap();
    assert_eq!(Ran::of(inherited).code, 11, "only what is set here");
}

#[test]
fn a_folder_is_seen_under_its_name() {
    // Opens `f` in the first folder and exits with the error, 0 if there is none.
    let open = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $name (param i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "f")
        (func (export "_start")
            (drop (call $name (i32.const 3) (i32.const 16) (i32.const 3)))
            (if (i32.ne (i32.load8_u (i32.const 17)) (i32.const 0x67)) (then (call $exit (i32.const 99))))
            (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
                (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))))"#;
    let case = Case::wat(open).file("f", "x");
    assert_eq!(case.run("run --dir .::/gu m.wasm").code, 0);
    assert_ne!(
        case.run("run m.wasm").code,
        0,
        "no folder is seen unless it is named"
    );
    let error = case.error("run --dir missing::/gu m.wasm", 1);
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_function_is_called_by_name() {
    let case = Case::wat(FUNCTIONS);
    assert_eq!(case.run("run --invoke add m.wasm 40 2").ok(), "42\n");
    assert_eq!(case.run("run --invoke add m.wasm -1 -2").ok(), "-3\n");
    assert_eq!(case.run("run --invoke half m.wasm 5").ok(), "2.5\n");
    assert_eq!(case.run("run --invoke pair m.wasm").ok(), "1\n2\n");
}

#[test]
fn wrong_calls_are_named() {
    let case = Case::wat(FUNCTIONS);
    for (line, word) in [
        ("run --invoke absent m.wasm", "absent"),
        ("run --invoke add m.wasm 1", "2 arguments"),
        ("run --invoke add m.wasm 1 2 3", "2 arguments"),
        ("run --invoke add m.wasm 1 2.5", "2.5"),
        ("run --invoke add m.wasm 1 99999999999", "99999999999"),
        ("run --invoke half m.wasm x", "f64"),
        ("run m.wasm", "_start"),
    ] {
        let error = case.error(line, 2);
        assert!(
            error.contains("m.wasm") && error.contains(word),
            "{line}: {error}"
        );
    }
}

#[test]
fn traps_tell_kind_and_function_and_exit_134() {
    let case = Case::wat(FUNCTIONS);
    for (line, kind, function) in [
        ("run --invoke never m.wasm", "unreachable", "never"),
        (
            "run --invoke divide m.wasm 0",
            "integer divide by zero",
            "divide",
        ),
        (
            "run --invoke peek m.wasm 65533",
            "out of bounds memory access",
            "peek",
        ),
        (
            "run --invoke peek m.wasm -1",
            "out of bounds memory access",
            "peek",
        ),
        ("run --invoke forever m.wasm", "stack overflow", "forever"),
    ] {
        let error = case.error(line, 134);
        assert!(
            error.contains(kind) && error.contains(function),
            "{line}: {error}"
        );
    }
}

#[test]
fn timings_are_one_object_with_every_key() {
    let out = Case::wat(FUNCTIONS).run("compile m.wasm --timings json");
    let timings: serde_json::Value = serde_json::from_str(out.ok()).unwrap();
    let mut keys: Vec<&str> = timings
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    let expected = [
        "bytes_in",
        "bytes_out",
        "functions",
        "generate_ns",
        "operations",
        "prescan_ns",
        "publish_ns",
        "total_ns",
    ];
    assert_eq!(keys, expected);
    let number = |key: &str| timings[key].as_u64().unwrap();
    assert_eq!(number("functions"), 8);
    assert!(number("operations") > 20 && number("bytes_out") > 0);
    assert!(number("prescan_ns") <= number("generate_ns"));
    assert!(number("generate_ns") + number("publish_ns") <= number("total_ns"));
    assert!(
        Case::wat(FUNCTIONS)
            .run("compile m.wasm")
            .ok()
            .starts_with("8 functions, ")
    );
}

#[test]
fn an_inner_loop_is_shown_without_traffic_of_locals_and_with_one_branch() {
    let case = Case::wat(FUNCTIONS);
    let all = case.run("explain m.wasm");
    let one = case.run("explain m.wasm --func 7");
    assert!(one.ok().starts_with("function 7: sum ("), "{}", one.out);
    assert!(
        all.ok().contains(one.out.trim_end()),
        "the whole listing has it too"
    );
    assert!(!all.out.contains("unknown"), "everything has a name");
    // The loop: from the target of its backward branch to that branch.
    let instructions: Vec<(u64, &str)> = one.out.lines().filter_map(instruction).collect();
    let (from, to) = instructions
        .iter()
        .find_map(|(at, text)| {
            let target = text.strip_prefix('j')?.split_once(" 0x")?.1;
            let target = u64::from_str_radix(target, 16).ok()?;
            (target < *at).then_some((target, *at))
        })
        .expect("a backward branch");
    let inside: Vec<&str> = instructions
        .iter()
        .filter(|(at, _)| (from..=to).contains(at))
        .map(|(_, text)| *text)
        .collect();
    let count = |wanted: &dyn Fn(&str) -> bool| inside.iter().filter(|text| wanted(text)).count();
    assert_eq!(
        count(&|text| text.starts_with('j')),
        1,
        "one branch: {inside:#?}"
    );
    assert_eq!(
        count(&|text| text.contains("[r14")),
        0,
        "no local in memory: {inside:#?}"
    );
    assert_eq!(
        count(&|text| text.contains("[r12")),
        1,
        "one load: {inside:#?}"
    );
    // What was patched in is told.
    assert!(one.out.contains("i32 constant = 4"), "{}", one.out);
    let error = case.error("explain m.wasm --func 99", 1);
    assert!(error.contains("m.wasm") && error.contains("99"), "{error}");
}

/// A function that calls only in its own place has no prologue, and passes on what it has where it is.
#[test]
fn a_tail_call_is_shown_as_a_jump_to_a_function() {
    let text = r#"(module
        (table 1 funcref) (elem (i32.const 0) $turn)
        (func $turn (param i64 i64 i64 i64 i64 i64) (result i64)
            (if (i64.eqz (local.get 0)) (then (return (local.get 5))))
            (return_call $turn (i64.sub (local.get 0) (i64.const 1)) (local.get 1) (local.get 2) (local.get 3) (local.get 4)
                (local.get 5)))
        (func $leave (param i32) (result i64)
            (drop (memory.grow (local.get 0)))
            (return_call_indirect (param i32) (result i64) (i32.const 1) (i32.const 0)))
        (memory 1))"#;
    let case = Case::wat(text);
    let turn = case.run("explain m.wasm --func 0");
    assert!(turn.ok().contains("core.tail_call\n"), "{}", turn.out);
    let lines: Vec<&str> = turn.out.lines().map(str::trim).collect();
    let jump = lines.iter().position(|line| *line == "core.tail_call");
    let hole = jump.and_then(|at| lines.get(at + 1)).expect("its hole");
    assert!(hole.contains("function turn = 0x"), "{hole}");
    let inside = |what: &str| turn.out.matches(what).count();
    assert_eq!(
        inside("core.enter") + inside("core.leave"),
        0,
        "{}",
        turn.out
    );
    // The last parameter stays in its slot; it is read only where it is returned.
    assert_eq!(inside("[r14"), 1, "{}", turn.out);
    let leave = case.run("explain m.wasm --func 1");
    let out = leave.ok();
    let order = [
        "core.enter",
        "table.entry",
        "core.leave",
        "core.tail_call_ptr",
    ]
    .map(|op| out.find(op));
    assert!(order.is_sorted() && order[0].is_some(), "{out}");
}

/// Address and text of a line that holds an instruction.
fn instruction(line: &str) -> Option<(u64, &str)> {
    let (address, rest) = line.trim_start().split_once("  ")?;
    let (bytes, text) = rest.trim_start().split_once("  ")?;
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hex(address) && hex(bytes)).then_some(())?;
    Some((u64::from_str_radix(address, 16).ok()?, text.trim()))
}

#[test]
fn a_plugin_runs_a_language_of_its_own() {
    let case = Case::new().file("p.toy", TOY);
    let line = format!("--plugin {}", toy().display());
    assert_eq!(case.run(&format!("run {line} p.toy")).ok(), "42\n");
    let listed = case
        .command("run p.toy")
        .env("COPATCH_PLUGINS", toy())
        .output()
        .unwrap();
    assert_eq!(Ran::of(listed).ok(), "42\n");
    let folder = case
        .command("run p.toy")
        .env("COPATCH_PLUGINS", toy().parent().unwrap())
        .output()
        .unwrap();
    assert_eq!(Ran::of(folder).ok(), "42\n");
    let json = case.run(&format!("compile {line} p.toy --timings json"));
    assert!(json.ok().contains("\"functions\":1"), "{}", json.out);
    assert!(
        case.run(&format!("explain {line} p.toy"))
            .ok()
            .contains("main")
    );
    let trap = Case::new().file(
        "p.toy",
        "fn main() {\n    let zero = 0;\n    print(1 / zero);\n}\n",
    );
    let error = trap.error(&format!("run {line} p.toy"), 134);
    assert!(
        error.contains("divide by zero") && error.contains("main"),
        "{error}"
    );
}

#[test]
fn a_plugin_is_found_beside_the_command() {
    let mut case = Case::new().file("p.toy", TOY);
    let exe = case.dir.path().join("copatch");
    fs::copy(&case.exe, &exe).unwrap();
    case.exe = exe;
    let error = case.error("run p.toy", 1);
    assert!(
        error.contains("p.toy: byte 0: no front end knows this kind of file"),
        "{error}"
    );
    let beside = case.dir.path().join(toy().file_name().unwrap());
    fs::copy(toy(), &beside).unwrap();
    assert_eq!(case.run("run p.toy").ok(), "42\n");
    // And when it is damaged, that is told, but hinders nobody else.
    let length = fs::metadata(&beside).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&beside)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let error = case.error("run p.toy", 1);
    assert!(
        error.contains("plugins that do not work") && error.contains("truncated"),
        "{error}"
    );
    let case = case.file("m.wasm", wat::parse_str(FUNCTIONS).unwrap());
    assert_eq!(case.run("run --invoke add m.wasm 1 2").ok(), "3\n");
}

#[test]
fn plugins_that_are_none_are_refused() {
    let case = Case::wat(FUNCTIONS)
        .file("text.so", "no library")
        .file("p.toy", TOY);
    for (plugin, word) in [
        ("missing.so", "No such file"),
        ("text.so", "not a shared library"),
        (".", "directory"),
    ] {
        let error = case.error(&format!("run --plugin {plugin} p.toy"), 1);
        assert!(error.contains(word), "{error}");
    }
    let bytes = fs::read(toy()).unwrap();
    let case = case.file("short.so", &bytes[..bytes.len() - 1000]);
    let error = case.error("run --plugin short.so p.toy", 1);
    assert!(
        error.contains("short.so") && error.contains("truncated"),
        "{error}"
    );
}

#[test]
fn malformed_toy_programs_are_named_with_their_place() {
    let plugin = format!("--plugin {}", toy().display());
    let texts: [(&str, &[u8]); 4] = [
        ("1:", b"fn main( {"),
        ("2:", b"fn main() {\n    print(x);\n}\n"),
        ("1:4", b"fn "),
        ("p.toy", b"\xff\xfe\x00 not text"),
    ];
    for (place, text) in texts {
        let case = Case::new().file("p.toy", text);
        let error = case.error(&format!("run {plugin} p.toy"), 1);
        assert!(error.contains("p.toy") && error.contains(place), "{error}");
    }
}

#[test]
fn truncated_modules_are_named_with_the_offset() {
    let whole = wat::parse_str(FUNCTIONS).unwrap();
    let case = Case::new();
    let path = case.dir.path().join("m.wasm");
    let mut valid = Vec::new();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let ran = case.run("compile m.wasm");
        if ran.code == 0 {
            // Cut between sections it may be a smaller module.
            valid.push(length);
            continue;
        }
        ran.one_line();
        assert_eq!(ran.code, 1, "{length}: {}", ran.err);
        assert!(
            ran.err.contains("m.wasm") && ran.err.contains("offset 0x"),
            "{length}: {}",
            ran.err
        );
    }
    assert!(valid.len() < 5, "{valid:?}");
}

#[test]
fn invalid_modules_are_named_with_offset_and_cause() {
    // A body that returns the wrong type, and a missing operand: what a validator is for.
    for (body, cause) in [
        (
            r#"(module (func (result i32) (i64.const 1)))"#,
            "type mismatch",
        ),
        (r#"(module (func (drop)))"#, "type mismatch"),
        (r#"(module (func (call 7)))"#, "unknown function"),
        (r#"(module (func (local.get 3)))"#, "unknown local"),
    ] {
        let error = Case::wat(body).error("compile m.wasm", 1);
        assert!(
            error.contains("m.wasm") && error.contains("offset 0x") && error.contains(cause),
            "{error}"
        );
    }
}

#[test]
fn a_missing_import_is_named() {
    let case = Case::wat(r#"(module (import "env" "absent" (func)) (func (export "_start")))"#);
    let error = case.error("run m.wasm", 1);
    assert!(
        error.contains("m.wasm") && error.contains("env") && error.contains("absent"),
        "{error}"
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let case = Case::new()
        .file("empty", "")
        .file("text.txt", "just text\n");
    for command in ["run", "compile", "explain"] {
        let error = case.error(&format!("{command} missing.wasm"), 1);
        assert!(
            error.contains("missing.wasm") && error.contains("No such file"),
            "{error}"
        );
        let error = case.error(&format!("{command} ."), 1);
        assert!(error.contains("directory"), "{error}");
        for file in ["empty", "text.txt"] {
            let error = case.error(&format!("{command} {file}"), 1);
            assert!(error.contains(file) && error.contains("byte 0"), "{error}");
        }
    }
}

#[test]
fn packs_that_are_none_are_named() {
    let case = Case::wat(FUNCTIONS);
    let error = case.error("run --packs missing --unsigned --invoke add m.wasm 1 2", 1);
    assert!(error.contains("missing"), "{error}");
    fs::create_dir_all(case.dir.path().join("none/wasm")).unwrap();
    let error = case.error("run --packs none --unsigned --invoke add m.wasm 1 2", 1);
    assert!(error.contains("no stencil pack"), "{error}");
    // Files with the names of packs, and other content.
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/wasm");
    let broken = case.dir.path().join("broken/wasm");
    fs::create_dir_all(&broken).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(packs).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "pack")
        {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(broken.join(path.file_name().unwrap()), bytes).unwrap();
            count += 1;
        }
    }
    assert!(count > 0, "packs are shipped");
    let sound = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs");
    let line = format!(
        "run --packs {} --unsigned --invoke add m.wasm 1 2",
        sound.display()
    );
    assert_eq!(
        case.run(&line).ok(),
        "3\n",
        "and the same packs undamaged are used"
    );
    let error = case.error("run --packs broken --unsigned --invoke add m.wasm 1 2", 1);
    assert!(
        error.contains(".pack") && error.contains("byte 0x"),
        "{error}"
    );
}

#[test]
fn any_number_of_threads_gives_the_same_code() {
    let case = Case::wat(FUNCTIONS);
    let one = case.run("explain m.wasm");
    for jobs in ["1", "2", "7"] {
        let several = case.run(&format!("explain m.wasm --jobs {jobs}"));
        assert_eq!(several.ok(), one.ok());
        let ran = case.run(&format!("run --jobs {jobs} --invoke add m.wasm 40 2"));
        assert_eq!(ran.ok(), "42\n");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let case = Case::wat(FUNCTIONS);
    for line in [
        "",
        "run",
        "walk m.wasm",
        "run --dir :: m.wasm",
        "explain m.wasm --func x",
        "compile m.wasm --timings xml",
        "compile m.wasm --jobs 0",
    ] {
        let ran = case.run(line);
        assert_eq!(ran.code, 2, "{line}");
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{line}");
    }
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    let case = Case::wat(FUNCTIONS);
    // 1 GiB of address space does not hold the 8 GiB that a linear memory reserves.
    let exe = case.exe.display();
    let line = format!("ulimit -v 1048576; exec {exe} run --invoke add m.wasm 1 2");
    let ran = Ran::of(
        Command::new("sh")
            .args(["-c", &line])
            .current_dir(case.dir.path())
            .output()
            .unwrap(),
    );
    ran.one_line();
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("linear memory"), "{}", ran.err);
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answer.wasm");
    let module = "(module (func (export \"answer\") (result i32) i32.const 42))";
    std::fs::write(&file, wat::parse_str(module).unwrap()).unwrap();
    let output = program(env!("CARGO_BIN_EXE_copatch"))
        .args(["run", "--invoke", "answer"])
        .arg(&file)
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("answer.wasm") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn scripts_are_run_and_what_failed_is_named() {
    let script = "(module (func (export \"f\") (result i32) (i32.const 1)))\n\
        (assert_return (invoke \"f\") (i32.const 1))\n(assert_return (invoke \"f\") (i32.const 2))\n";
    let case = Case::new()
        .file("bad.wast", script)
        .file("good.wast", "(module)");
    let ran = case.run("wast good.wast bad.wast");
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines[0].starts_with("bad.wast:3: it gave [I32(1)]"),
        "{}",
        ran.out
    );
    assert_eq!(lines[1..], ["3 passed, 1 failed"]);
    let ran = case.run("wast good.wast");
    assert_eq!((ran.code, ran.out.as_str()), (0, "1 passed, 0 failed\n"));
    case.error("wast none.wast", 1);
    assert_eq!(case.run("wast").code, 2);
}
