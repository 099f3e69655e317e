//! The command line: what it prints and its exit codes. None of these tests needs clang.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type Result = std::result::Result<(), Box<dyn Error>>;

fn packer(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_copatch-packer"))
        .args(arguments)
        .env_remove("COPATCH_CLANG")
        .output()
}

/// The pack that is committed for this machine, or any machine's: these commands execute nothing.
fn pack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/toy/x86_64-unknown-linux-gnu.pack")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_pack_is_verified_and_a_damaged_one_is_not() -> Result {
    let path = pack();
    let shipped = path.to_str().ok_or("the path is not UTF-8")?;
    let output = packer(&["verify", shipped])?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("valid: toy for x86_64-unknown-linux-gnu"));

    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).ok_or("an empty pack")? ^= 1;
    let folder = tempfile::tempdir()?;
    let damaged = folder.path().join("damaged.pack");
    std::fs::write(&damaged, bytes)?;
    let damaged = damaged.to_str().ok_or("the path is not UTF-8")?;
    for arguments in [&["verify", damaged][..], &["inspect", damaged]] {
        let output = packer(arguments)?;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(damaged) && error.contains("at byte 0x"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    Ok(())
}

#[test]
fn a_pack_is_shown() -> Result {
    let path = pack();
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    let output = packer(&["inspect", path])?;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "sections",
        "variants by axis",
        "i64.add",
        "int registers r15 rdi",
    ] {
        assert!(shown.contains(part), "{part} is missing from\n{shown}");
    }
    Ok(())
}

#[test]
fn an_operation_is_shown_with_its_holes() -> Result {
    let path = pack();
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    let output = packer(&["inspect", path, "--op", "core.jump"])?;
    let shown = text(&output.stdout);
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "core.jump - (5 bytes) 0: e9 00 00 00 00 jmp 5 ; 1: HOLE_T0"
    );
    let output = packer(&["inspect", path, "--op", "no.such"])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no operation is called no.such"));
    Ok(())
}

#[test]
fn exit_codes_tell_usage_from_a_missing_compiler() -> Result {
    let triple = "x86_64-unknown-linux-gnu";
    let code = |arguments: &[&str]| packer(arguments).map(|output| output.status.code());
    assert_eq!(code(&["build"])?, Some(2));
    assert_eq!(code(&["verify", "/nonexistent/some.pack"])?, Some(1));
    assert_eq!(
        code(&["build", "--isa", "/nonexistent", "--target", triple])?,
        Some(1)
    );
    let no_clang = [
        "build",
        "--isa",
        "toy",
        "--target",
        triple,
        "--clang",
        "/nonexistent/clang",
    ];
    assert_eq!(code(&no_clang)?, Some(3));
    Ok(())
}
