//! The command line: what it prints. None of these tests needs clang; `exit_codes.rs` has those that do.

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
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no operation is called no.such"));
    Ok(())
}

#[test]
fn packs_that_differ_are_told_apart() -> Result {
    let path = pack();
    let v3 = path.with_file_name("x86_64-unknown-linux-gnu+x86-64-v3.pack");
    let (old, new) = (path.to_str().ok_or("UTF-8")?, v3.to_str().ok_or("UTF-8")?);
    let output = packer(&["diff", old, old])?;
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(0), "")
    );
    let output = packer(&["diff", old, new])?;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    for line in [
        "header features:  -> x86-64-v3",
        "operations f64.add code_bytes: ",
        "sections file bytes: ",
    ] {
        assert!(
            shown.lines().any(|shown| shown.starts_with(line)),
            "{line} is missing from\n{shown}"
        );
    }
    // Integer code is the same; what is the same is not shown.
    assert!(!shown.contains("i64.add"), "{shown}");
    Ok(())
}

#[test]
fn an_operation_that_only_one_pack_has_is_one_change() -> Result {
    let (_, mut metadata) = copatch_spec::pack::validate(&std::fs::read(pack())?)?;
    // Packs without code: what is in them follows from the metadata alone.
    let write = |metadata: &copatch_spec::pack::Metadata| {
        let writer = copatch_spec::pack::PackWriter {
            evaluators: vec![None; metadata.ops.len()],
            ..Default::default()
        };
        writer.write(metadata)
    };
    let old = write(&metadata)?;
    let last = metadata.ops.pop().ok_or("no operations")?;
    let new = write(&metadata)?;
    let diff = copatch_packer::diff::diff(&old, &new).map_err(|_| "a pack is not valid")?;
    let shown = diff.to_string();
    let operations: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("operations"))
        .collect();
    let expected = format!("operations {}: only in the old pack", last.name);
    assert_eq!(operations, [expected]);
    Ok(())
}

#[test]
fn json_has_a_schema_and_the_fields_that_are_documented() -> Result {
    let page = include_str!("../../docs/packer.md");
    let path = pack();
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    for arguments in [
        &["inspect", path][..],
        &["inspect", path, "--op", "i64.add"],
        &["verify", path],
        &["diff", path, path],
        &["targets"],
    ] {
        let output = packer(&[arguments, &["--format", "json"]].concat())?;
        let object: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(object["schema"], 1);
        assert_eq!(object["command"], arguments[0]);
        let row = format!("| `{}` | ", arguments[0]);
        let result = &object["result"];
        let result = result.get(0).unwrap_or(result);
        let fields = result.as_object().ok_or("no object")?;
        assert!(!fields.is_empty());
        for field in fields.keys() {
            let documented =
                |line: &str| line.starts_with(&row) && line.contains(&format!("`{field}`"));
            assert!(page.lines().any(documented), "{field} of {arguments:?}");
        }
    }
    let output = packer(&["verify", "/nonexistent", "--format", "json"])?;
    let object: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        (&object["error"]["code"], output.status.code()),
        (&1.into(), Some(1))
    );
    Ok(())
}

#[test]
fn targets_are_those_of_the_target_files() -> Result {
    let output = packer(&["targets"])?;
    let shown = text(&output.stdout);
    let names: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    for arch in copatch_spec::Target::ARCHITECTURES {
        let target = copatch_spec::Target::builtin(arch).ok_or("no target")?;
        for triple in target.all_triples() {
            assert!(names.contains(&triple.as_str()), "{triple}");
            for set in target.features.keys() {
                assert!(names.contains(&format!("{triple}+{set}").as_str()), "{set}");
            }
        }
    }
    Ok(())
}

/// What a build is told shows in what it complains of.
#[test]
fn a_flag_counts_before_the_environment_and_that_before_the_file() -> Result {
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("packer.toml"),
        "isa = \"from-file\"\ntarget = [\"x86_64-unknown-linux-gnu\"]\n",
    )?;
    let complaint = |environment: Option<&str>, flag: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_copatch-packer"));
        command.current_dir(folder.path()).arg("build");
        command.envs(environment.map(|isa| ("COPATCH_ISA", isa)));
        command.args(flag.map(|isa| format!("--isa={isa}")));
        command.output().map(|output| text(&output.stderr))
    };
    for (environment, flag, expected) in [
        (None, None, "from-file"),
        (Some("from-environment"), None, "from-environment"),
        (Some("from-environment"), Some("from-flag"), "from-flag"),
    ] {
        let told = complaint(environment, flag)?;
        let start = format!("copatch-packer: {expected}: neither");
        assert!(told.starts_with(&start), "{told}");
    }
    Ok(())
}
