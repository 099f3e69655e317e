//! `copatch conform`: what it prints of packs that are right, and of packs that are not.

#[path = "../../plugins/wasm/tests/common/program.rs"]
mod program;

use copatch_conformance::edit::edited;
use copatch_conformance::mutate::wrong_stencil;
use program::program;

fn conform(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program(env!("CARGO_BIN_EXE_copatch"));
    let output = command.arg("conform").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_right_pack_has_no_difference_and_every_planted_fault_is_found() {
    if !copatch::jit_available() {
        return;
    }
    let arguments = ["--isa", "toy", "--cases", "3000", "--seed", "7", "--mutate"];
    let (code, told) = conform(&arguments);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("3000 programs (seed 7), no difference"),
        "{told}"
    );
    assert!(told.contains("exercised by 3000 programs:"), "{told}");
    assert!(told.contains("      not core.move_v128\n"), "{told}");
    for fault in ["wrong stencil: ", "wrong patch: ", "wrong spill: "] {
        let line = told
            .lines()
            .find(|line| line.trim_start().starts_with(fault));
        let line = line.unwrap_or_else(|| panic!("no {fault}in\n{told}"));
        assert!(line.contains(": found"), "{line}");
    }
    assert!(!told.contains("NOT FOUND"), "{told}");
    // The same seed tells the same.
    assert_eq!(
        conform(&arguments[..6]).1,
        told.split("planted").next().unwrap()
    );
}

/// As a pack of somebody's own: found by the name of its table, and wrong.
#[test]
fn a_wrong_pack_is_a_test_that_fails() {
    if !copatch::jit_available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut packs = copatch_pack_toy::packs().iter();
    let (name, bytes) = packs.find(|(name, _)| !name.contains('+')).unwrap();
    let wrong = edited(bytes, |writer, metadata| {
        let [sub, add] = ["i64.sub", "i64.add"].map(|name| {
            let number = metadata.ops.iter().position(|op| op.name == name);
            number.unwrap() as u16
        });
        wrong_stencil(writer, sub, add);
        // Evaluators judge; they stay right.
    });
    std::fs::create_dir(folder.path().join("toy")).unwrap();
    std::fs::write(folder.path().join("toy").join(name), wrong.unwrap()).unwrap();
    let isa = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/isa/toy");
    let packs = folder.path().to_str().unwrap();
    for isa in ["toy", isa] {
        let (code, told) = conform(&["--isa", isa, "--packs", packs, "--unsigned"]);
        assert_eq!(code, Some(1), "{told}");
        assert!(
            told.contains("a difference (seed 1): evaluated and compiled"),
            "{told}"
        );
        assert!(
            told.contains("#[test]") && told.contains("i64.sub"),
            "{told}"
        );
    }
}

#[test]
fn what_cannot_be_judged_is_said() {
    let (code, told) = conform(&["--isa", "klingon"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("--packs"), "{told}");
    let (code, told) = conform(&["--isa", "klingon", "--packs", "/nonexistent", "--unsigned"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("klingon/ops.toml"), "{told}");
}
