//! The same inputs give the same bytes, from any directory and with any number of jobs.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use copatch_packer::clang::{Clang, ClangError, Unit};
use copatch_packer::pipeline;
use copatch_spec::Target;
use copatch_spec::pack::validate;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The compiler; `None`, with the reason printed, where there is none.
fn clang() -> Result<Option<Clang>, Box<dyn Error>> {
    let target = Target::builtin("x86_64").ok_or("no such target")?;
    match Clang::find(None, TRIPLE, &target, None) {
        Ok(clang) => Ok(Some(clang)),
        Err(error @ (ClangError::Missing { .. } | ClangError::Unfit { .. })) => {
            println!("passed over: {error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[test]
fn an_object_does_not_depend_on_the_folder_it_was_compiled_in() -> Result<(), Box<dyn Error>> {
    let Some(clang) = clang()? else {
        return Ok(());
    };
    let isa = pipeline::instruction_set("toy")?;
    let text = format!(
        "{}\nconst char *file(void) {{ return __FILE__; }}\n",
        copatch_packer::source::prelude(&isa)
    );
    let units = || {
        vec![Unit {
            name: "unit.c".to_owned(),
            text: text.clone(),
        }]
    };
    let object = || {
        clang.compile(units(), "test", |_, object| {
            Ok::<_, ClangError>(object.to_vec())
        })
    };
    // Each run has a temporary folder of its own.
    assert_eq!(object()?, object()?);
    Ok(())
}

#[test]
#[ignore = "compiles the toy instruction set twice, minutes of processor time; ci/packs does the same"]
fn the_toy_pack_is_built_twice_and_equals_the_committed_one() -> Result<(), Box<dyn Error>> {
    let Some(clang) = clang()? else {
        return Ok(());
    };
    let build = |jobs: &str| -> Result<Vec<u8>, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let output = Command::new(env!("CARGO_BIN_EXE_copatch-packer"))
            .current_dir(folder.path())
            .args(["build", "--isa", "toy", "--target", TRIPLE])
            .args(["--out", ".", "-j", jobs])
            .output()?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(std::fs::read(folder.path().join(format!("{TRIPLE}.pack")))?)
    };
    let built = build("1")?;
    assert!(built == build("2")?, "two builds differ");
    let committed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packs/toy")
        .join(format!("{TRIPLE}.pack"));
    let committed = std::fs::read(committed)?;
    let (_, metadata) = validate(&committed)?;
    if metadata.compiler == clang.version {
        assert!(
            built == committed,
            "the committed pack is not what is built"
        );
    } else {
        println!(
            "not compared: the committed pack is from {}",
            metadata.compiler
        );
    }
    Ok(())
}
