//! `build` for several targets: all are tried, a table and the JSON say what came of each, and the exit code is that of the worst.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

type Result = std::result::Result<(), Box<dyn Error>>;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

fn build(folder: &Path, arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_copatch-packer"));
    for name in [
        "CLANG", "LAUNCHER", "ISA", "TARGET", "FEATURES", "JOBS", "OUT",
    ] {
        command.env_remove(format!("COPATCH_{name}"));
    }
    command.args(["build", "--format", "json", "--isa", ".", "--out", "out"]);
    command.args(arguments).current_dir(folder).output()
}

/// A folder with an instruction set of one operation.
fn tiny() -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("ops.toml"),
        "name = \"tiny\"\nversion = 1\n[op]\n\"i64.neg\" = { in = \"i64\", out = \"i64\", forms = \"r\" }\n",
    )?;
    std::fs::write(
        folder.path().join("ops.h"),
        "static inline uint64_t i64_neg(uint64_t a) { return -a; }\n",
    )?;
    Ok(folder)
}

fn has_clang() -> bool {
    let found = Command::new("clang-19").arg("--version").output().is_ok();
    if !found {
        println!("passed over: clang-19 is not on the path");
    }
    found
}

/// The table's lines, its head first, and what JSON says.
fn told(output: &Output) -> std::result::Result<(String, Vec<String>, Value), Box<dyn Error>> {
    let stderr = String::from_utf8(output.stderr.clone())?;
    let lines: Vec<&str> = stderr.lines().collect();
    let head = lines
        .iter()
        .position(|line| line.starts_with("target "))
        .ok_or("no table")?;
    let rows = lines[head..].iter().map(|line| (*line).to_owned());
    Ok((
        lines[..head].join("\n"),
        rows.collect(),
        serde_json::from_slice(&output.stdout)?,
    ))
}

#[test]
fn the_worst_target_gives_the_exit_code() -> Result {
    let folder = tiny()?;
    let targets = format!("vax-dec-ultrix,{TRIPLE}+no-such-set,{TRIPLE},vax-dec-vms");
    let output = build(
        folder.path(),
        &["--target", &targets, "--clang", "/nonexistent/clang"],
    )?;
    let (errors, table, object) = told(&output)?;
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert_eq!(errors.lines().count(), 4, "{errors}");
    assert_eq!(table.len(), 5, "{table:?}");
    assert!(table[1].contains("failed: vax-dec-ultrix"), "{table:?}");
    assert!(table[2].contains("no-such-set") && table[4].contains("vax-dec-vms"));
    assert_eq!(object["schema"], 1);
    assert_eq!(object["result"], serde_json::json!([]));
    let error = &object["error"];
    assert_eq!(error["code"], 3);
    let failed = error["targets"].as_array().ok_or("no targets")?;
    let codes: Vec<_> = failed.iter().map(|target| &target["code"]).collect();
    assert_eq!(codes, [1, 1, 3, 1]);
    let page = include_str!("../../docs/packer.md");
    let row = page.lines().find(|line| line.starts_with("| `error` |"));
    let row = row.ok_or("errors are not documented")?;
    for field in error
        .as_object()
        .ok_or("no object")?
        .keys()
        .chain(failed[0].as_object().ok_or("no object")?.keys())
    {
        assert!(row.contains(&format!("`{field}`")), "{field}");
    }
    Ok(())
}

/// What is wrong with the instruction set is wrong for every target.
#[test]
fn a_wrong_instruction_set_is_told_once() -> Result {
    let folder = tempfile::tempdir()?;
    let output = build(folder.path(), &["--target", "all"])?;
    let stderr = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    Ok(())
}

#[test]
fn a_target_that_fails_does_not_keep_the_next_from_being_built() -> Result {
    if !has_clang() {
        return Ok(());
    }
    let folder = tiny()?;
    let targets = format!("vax-dec-ultrix,{TRIPLE}");
    let output = build(folder.path(), &["--target", &targets])?;
    let (errors, table, object) = told(&output)?;
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(object["error"]["targets"][0]["triple"], "vax-dec-ultrix");
    let report = &object["result"][0];
    let pack = folder.path().join(format!("out/{TRIPLE}.pack"));
    let bytes = std::fs::read(&pack)?;
    copatch_spec::pack::validate(&bytes)?;
    assert_eq!(report["bytes"], bytes.len());
    let words: Vec<&str> = table[2].split_whitespace().collect();
    let (length, functions) = (bytes.len().to_string(), report["functions"].to_string());
    assert_eq!(words[..4], [TRIPLE, "baseline", &length, &functions]);
    assert_eq!(words.len(), 5, "{words:?}");
    Ok(())
}

#[test]
#[ignore = "builds a pack for every target, which takes minutes"]
fn all_stands_for_every_target() -> Result {
    if !has_clang() {
        return Ok(());
    }
    let folder = tiny()?;
    let output = build(folder.path(), &["--target", "all"])?;
    let (errors, table, object) = told(&output)?;
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(object.get("error").is_none());
    let known = copatch_packer::targets::known();
    assert_eq!(table.len(), known.len() + 1, "{table:?}");
    for (target, row) in known.iter().zip(&table[1..]) {
        assert!(row.starts_with(&target.name.triple), "{row}");
        let pack = folder.path().join(format!("out/{}.pack", target.name));
        let bytes = std::fs::read(pack)?;
        let (_, metadata) = copatch_spec::pack::validate(&bytes)?;
        assert_eq!(metadata.triple, target.name.triple);
        assert_eq!(metadata.features, target.name.features);
    }
    Ok(())
}
