//! The language as a shared library, the way the command line loads it.
#![allow(unsafe_code, reason = "loads a library")]

use std::path::PathBuf;

use copatch::plugin::{CompileOptions, FrontEnd, PluginLibrary, RunError, RunOptions};

/// The library that was built with this test; it lies beside the test's own executable.
fn library() -> PluginLibrary {
    let name = format!(
        "{}copatch_toy{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let folder: PathBuf = std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    // SAFETY: the library is one that the tests made.
    unsafe { PluginLibrary::load(&folder.join(name)) }.unwrap()
}

#[test]
fn a_loaded_language_compiles_runs_and_explains() {
    if !copatch::jit_available() {
        return;
    }
    let toy = library();
    assert_eq!(toy.name(), "toy");
    let text = b"fn quiet(n: int) -> int { while n > 1 { n = n / 2; } return n; }
        fn main() { quiet(100); }
        fn wrong(n: int) { quiet(n / (n - n)); }";
    assert!(toy.probe(text) && !toy.probe(b"\0asm"));
    let options = CompileOptions {
        trace: true,
        ..CompileOptions::default()
    };
    let compiled = toy.compile(text, &options).unwrap();
    assert_eq!(compiled.run(&RunOptions::default()), Ok(0));
    let invoke = |name: &str, args: &[&str]| RunOptions {
        invoke: Some(name.to_owned()),
        args: ["toy"].iter().chain(args).map(Into::into).collect(),
        ..RunOptions::default()
    };
    match compiled.run(&invoke("wrong", &["7"])) {
        Err(RunError::Trap { kind, function, .. }) => {
            assert_eq!(
                (kind.as_str(), function.as_deref()),
                ("integer divide by zero", Some("wrong"))
            );
        }
        other => panic!("{other:?}"),
    }
    let usage = |message: &str| Err(RunError::Usage(message.to_owned()));
    assert_eq!(
        compiled.run(&invoke("wrong", &["x"])),
        usage("argument n of wrong: `x` is no int")
    );
    assert_eq!(
        compiled.run(&invoke("wrong", &[])),
        usage("wrong takes 1 arguments, not 0")
    );
    let explanation = compiled.explain(Some(0)).unwrap();
    assert!(
        explanation.functions[0]
            .stencils
            .iter()
            .any(|stencil| stencil.op == "i64.div_s")
    );
    assert!(compiled.timings().total_ns > 0);
}

#[test]
fn errors_of_a_loaded_language_arrive_as_they_are() {
    let error = library()
        .compile(
            b"fn main() { let x = 1; x = 2.0; }",
            &CompileOptions::default(),
        )
        .err();
    assert_eq!(error.as_deref(), Some("1:24: expected int, found float"));
}
