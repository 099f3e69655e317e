//! The plugin interface from outside: a well-behaved library through every call, and everything that is not one.
//!
//! `examples/plugin.rs` is the library. Libraries with a wrong table are made with the C
//! compiler, and those tests say so where there is none.

#![allow(unsafe_code, reason = "loads libraries")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use copatch::plugin::{
    CompileOptions, Compiled, FrontEnd, GuestDir, PluginError, PluginLibrary, RunError, RunOptions,
};
use copatch::{PackFolder, TrustedKeys};

/// The example as a library. Cargo builds examples along with some selections of tests and not with others, so ask for it.
fn example() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let exe = std::env::current_exe().unwrap();
        let profile_dir = exe.parent().unwrap().parent().unwrap();
        let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            name => name,
        };
        let status = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "copatch",
                "--example",
                "plugin",
                "--profile",
                profile,
                "--target-dir",
            ])
            .arg(profile_dir.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(
            status.unwrap().success(),
            "examples/plugin.rs does not build"
        );
        profile_dir
            .join("examples")
            .join(format!("{DLL_PREFIX}plugin{DLL_SUFFIX}"))
    };
    PATH.get_or_init(build).clone()
}

fn load() -> PluginLibrary {
    // SAFETY: the library is one that the tests made.
    unsafe { PluginLibrary::load(&example()) }.unwrap()
}

fn compile(word: &str) -> Box<dyn Compiled> {
    load()
        .compile(
            format!("#!answer {word}").as_bytes(),
            &CompileOptions::default(),
        )
        .unwrap()
}

fn run(word: &str) -> Result<i32, RunError> {
    compile(word).run(&RunOptions {
        args: vec!["a".into(), "b".into()],
        ..RunOptions::default()
    })
}

#[test]
fn a_plugin_does_what_its_front_end_does() {
    let plugin = load();
    assert_eq!(plugin.name(), "answer");
    assert!(plugin.probe(b"#!answer exit"));
    assert!(!plugin.probe(b"something else"));
    assert!(!plugin.probe(b""));
    assert_eq!(run("exit"), Ok(2));
    let timings = compile("exit").timings();
    assert_eq!(
        (timings.bytes_in, timings.bytes_out, timings.total_ns),
        (1, 0, 8)
    );
}

#[test]
fn errors_arrive_as_they_were() {
    let plugin = load();
    let error = |bytes: &[u8]| {
        plugin
            .compile(bytes, &CompileOptions::default())
            .err()
            .unwrap()
    };
    assert_eq!(error(b"#!answer"), "byte 8: a word is missing");
    assert_eq!(error(b"#!answer \xff"), "byte 9: no text");
    assert_eq!(
        run("what"),
        Err(RunError::Failure("what is what?".to_owned()))
    );
    let trap = run("trap").unwrap_err();
    assert_eq!(
        trap.to_string(),
        "trap: unreachable in function main (at 7)"
    );
    assert!(matches!(
        run("nowhere"),
        Err(RunError::Trap { function: None, .. })
    ));
}

#[test]
fn options_arrive_as_they_were() {
    let run = RunOptions {
        args: vec!["prog".into(), "".into(), "ü".into()],
        env: vec![("A".into(), "1".into()), ("B".into(), OsString::new())],
        dirs: vec![GuestDir {
            host: "/host".into(),
            guest: "/guest".to_owned(),
        }],
        invoke: Some("f".to_owned()),
    };
    let keys = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let keys = TrustedKeys::parse(keys).unwrap();
    let options = CompileOptions {
        packs: Some(PackFolder::signed("/packs", keys)),
        trace: true,
        jobs: NonZeroUsize::new(3),
    };
    let told = load()
        .compile(b"#!answer options", &options)
        .unwrap()
        .run(&run);
    assert_eq!(told, Err(RunError::Usage(format!("{run:?} {options:?}"))));
    let (none, unsaid) = (RunOptions::default(), CompileOptions::default());
    assert_eq!(
        compile("options").run(&none),
        Err(RunError::Usage(format!("{none:?} {unsaid:?}")))
    );
}

#[test]
fn explanations_arrive_as_they_were() {
    let program = compile("exit");
    assert_eq!(program.explain(Some(3)).unwrap().functions[0].index, 3);
    assert_eq!(program.explain(None).unwrap().functions[0].index, u32::MAX);
    assert_eq!(
        program.explain(Some(13)),
        Err("there is no function 13".to_owned())
    );
}

#[test]
fn a_panic_inside_is_an_error_that_names_its_place() {
    let plugin = load();
    let expect = |message: String, call: &str| {
        assert!(message.contains(&format!("{call}: as told")), "{message}");
        assert!(message.contains("examples/plugin.rs:"), "{message}");
        assert!(
            message.contains("bug of the plugin") && !message.contains('\n'),
            "{message}"
        );
    };
    expect(plugin.try_probe(b"panic:probe").unwrap_err(), "probe");
    assert!(!plugin.probe(b"panic:probe"));
    let options = CompileOptions::default();
    expect(
        plugin
            .compile(b"#!answer panic:compile", &options)
            .err()
            .unwrap(),
        "compile",
    );
    let Err(RunError::Failure(message)) = run("panic:run") else {
        panic!("no failure")
    };
    expect(message, "run");
    expect(
        compile("panic:explain").explain(None).unwrap_err(),
        "explain",
    );
    assert_eq!(compile("panic:timings").timings().total_ns, 0);
    drop(compile("panic:drop"));
    assert_eq!(run("exit"), Ok(2), "the plugin still works");
}

fn error(path: &Path) -> PluginError {
    // SAFETY: the library is one that the tests made.
    unsafe { PluginLibrary::load(path) }.unwrap_err()
}

#[test]
fn files_that_are_no_libraries_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        error(&dir.path().join("missing.so")),
        PluginError::File { .. }
    ));
    assert!(matches!(error(dir.path()), PluginError::File { .. }));
    for bytes in [
        &b""[..],
        b"x",
        b"\x7fEL",
        b"not a library at all\n",
        b"\0asm\x01\0\0\0",
    ] {
        let path = dir.path().join("text.so");
        fs::write(&path, bytes).unwrap();
        let error = error(&path);
        assert!(matches!(error, PluginError::NotALibrary { .. }), "{error}");
        assert!(error.to_string().contains("text.so"), "{error}");
    }
}

#[test]
fn truncated_libraries_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(example()).unwrap();
    let path = dir.path().join(example().file_name().unwrap());
    for length in [
        4,
        5,
        16,
        63,
        64,
        65,
        200,
        4096,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = error(&path);
        assert!(
            matches!(
                error,
                PluginError::NotALibrary { .. } | PluginError::Load { .. }
            ),
            "{length}: {error}"
        );
    }
    // And the same bytes in full are accepted, so that the above says something.
    fs::write(&path, &whole).unwrap();
    // SAFETY: the library is one that the tests made.
    assert!(unsafe { PluginLibrary::load(&path) }.is_ok());
}

#[test]
fn damaged_headers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(example()).unwrap();
    // The highest bytes of: where segment and section headers lie, where the first segment lies, and its size.
    for at in [39, 47, 64 + 15, 64 + 39] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let path = dir.path().join(format!("damaged-{at}.so"));
        fs::write(&path, &bytes).unwrap();
        let error = error(&path);
        assert!(
            matches!(
                error,
                PluginError::NotALibrary { .. } | PluginError::Load { .. }
            ),
            "{at}: {error}"
        );
    }
}

/// A shared library made of C, or `None` where there is no compiler.
fn library(dir: &Path, name: &str, source: &str) -> Option<PathBuf> {
    let (input, output) = (
        dir.join(format!("{name}.c")),
        dir.join(format!("{name}.so")),
    );
    fs::write(&input, source).unwrap();
    match Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&output)
        .arg(&input)
        .status()
    {
        Ok(status) => {
            assert!(status.success(), "cc failed on {name}");
            Some(output)
        }
        Err(reason) => {
            eprintln!("skipped: cc cannot be run: {reason}");
            None
        }
    }
}

#[test]
fn a_library_without_the_symbol_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = library(dir.path(), "plain", "int nothing;") else {
        return;
    };
    let error = error(&path);
    assert!(
        matches!(error, PluginError::MissingSymbol { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .ends_with("no symbol copatch_plugin_v2_plain or copatch_plugin_v2"),
        "{error}"
    );
}

#[test]
fn a_table_of_another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = "unsigned copatch_plugin_v2[64] __attribute__((aligned(8))) = {3, 256};";
    let Some(path) = library(dir.path(), "newer", source) else {
        return;
    };
    assert!(matches!(
        error(&path),
        PluginError::WrongVersion {
            found: 3,
            size: 256,
            ..
        }
    ));
    let source = "unsigned copatch_plugin_v2[64] __attribute__((aligned(8))) = {2, 16};";
    let Some(path) = library(dir.path(), "shorter", source) else {
        return;
    };
    assert!(matches!(
        error(&path),
        PluginError::WrongVersion {
            found: 2,
            size: 16,
            ..
        }
    ));
}

#[test]
fn a_library_that_lacks_a_symbol_of_its_own_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = "void absent(void); void user(void) { absent(); }";
    let Some(path) = library(dir.path(), "lacking", source) else {
        return;
    };
    let error = error(&path);
    assert!(matches!(error, PluginError::Load { .. }), "{error}");
    assert!(error.to_string().contains("absent"), "{error}");
}
