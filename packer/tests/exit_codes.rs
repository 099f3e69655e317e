//! Each exit code of the command line, and what is said with it. Where a test needs clang and there is none, it says so.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Output};

type Result = std::result::Result<(), Box<dyn Error>>;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// A command that no setting of the tests' surroundings reaches.
fn packer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_copatch-packer"));
    command.args(arguments);
    for name in [
        "CLANG",
        "LAUNCHER",
        "ISA",
        "TARGET",
        "TARGET_FILE",
        "JOBS",
        "OUT",
    ] {
        command.env_remove(format!("COPATCH_{name}"));
    }
    command
}

fn run(arguments: &[&str]) -> std::io::Result<Output> {
    packer(arguments).output()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn pack() -> String {
    format!("{}/../packs/toy/{TRIPLE}.pack", env!("CARGO_MANIFEST_DIR"))
}

/// Whether clang is there; says so if not.
fn has_clang() -> bool {
    let found = Command::new("clang-19").arg("--version").output().is_ok();
    if !found {
        println!("passed over: clang-19 is not on the path");
    }
    found
}

#[test]
fn code_0_done() -> Result {
    let output = run(&["verify", &pack()])?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    Ok(())
}

#[test]
fn code_1_failure() -> Result {
    for arguments in [
        &["verify", "/nonexistent/some.pack"][..],
        &["build", "--isa", "/nonexistent", "--target", TRIPLE],
        &["build", "--isa", "toy", "--target", "vax-dec-ultrix"],
    ] {
        let output = run(arguments)?;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
    let folder = tempfile::tempdir()?;
    let changes = folder.path().join("changes.toml");
    let build = ["build", "--isa", "toy", "--target", TRIPLE, "--target-file"];
    for (text, what) in [
        (None, "No such file"),
        (Some("scratch = [\"rdi\"]"), "register rdi"),
        (Some("cratch = []"), "unknown field `cratch`"),
    ] {
        if let Some(text) = text {
            std::fs::write(&changes, text)?;
        }
        let output = packer(&build).arg(&changes).output()?;
        assert_eq!(output.status.code(), Some(1), "{what}");
        let told = stderr(&output);
        assert!(
            told.contains("changes.toml: ") && told.contains(what),
            "{told}"
        );
    }
    Ok(())
}

#[test]
fn code_2_usage() -> Result {
    let folder = tempfile::tempdir()?;
    let code = |arguments: &[&str]| {
        let output = packer(arguments).current_dir(folder.path()).output();
        output.map(|output| (output.status.code(), stderr(&output)))
    };
    assert_eq!(code(&["no-such-command"])?.0, Some(2));
    let (number, told) = code(&["build"])?;
    assert_eq!(number, Some(2));
    assert!(told.contains("packer.toml"), "{told}");
    std::fs::write(folder.path().join("packer.toml"), "iza = \"toy\"\n")?;
    let (number, told) = code(&["build"])?;
    assert_eq!(number, Some(2));
    assert!(
        told.contains("packer.toml") && told.contains("iza"),
        "{told}"
    );
    let build = ["build", "--isa", "toy", "--target", TRIPLE];
    for jobs in [0, 513] {
        let text = format!("jobs = {jobs}\n");
        std::fs::write(folder.path().join("packer.toml"), text)?;
        let (number, told) = code(&build)?;
        assert_eq!(number, Some(2), "{told}");
        assert!(told.contains("1 to 512"), "{told}");
    }
    let (number, told) = code(&["build", "--config", "no.toml"])?;
    assert_eq!(number, Some(2), "{told}");
    assert!(told.contains("no.toml"), "{told}");
    Ok(())
}

#[test]
fn code_3_no_toolchain() -> Result {
    let no_clang = [
        "--isa",
        "toy",
        "--target",
        TRIPLE,
        "--clang",
        "/nonexistent/clang",
    ];
    let output = run(&[&["build"][..], &no_clang].concat())?;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let output = run(&[
        "doctor",
        "--clang",
        "/nonexistent/clang",
        "--format",
        "json",
    ])?;
    assert_eq!(output.status.code(), Some(3));
    let object: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(object["result"]["checks"][0]["verdict"], "missing");
    if has_clang() {
        let no_launcher = [
            "--isa",
            "toy",
            "--target",
            TRIPLE,
            "--launcher",
            "/nonexistent/ccache",
        ];
        let output = run(&[&["build"][..], &no_launcher].concat())?;
        assert_eq!(output.status.code(), Some(3));
        assert!(
            stderr(&output).contains("/nonexistent/ccache"),
            "{}",
            stderr(&output)
        );
    }
    Ok(())
}

/// One build shows all of it: the refusal, the launcher, JSON on standard output, and no progress where no terminal is.
#[test]
fn code_4_a_refused_stencil() -> Result {
    if !has_clang() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    std::fs::write(
        at("ops.toml"),
        "name = \"refused\"\nversion = 1\n[op]\n\"spill\" = { in = \"i64\", out = \"i64\" }\n",
    )?;
    std::fs::write(
        at("ops.h"),
        "static inline uint64_t spill(uint64_t a) { volatile uint64_t slot = a; return slot; }\n",
    )?;
    let launcher = at("launcher");
    std::fs::write(
        &launcher,
        "#!/bin/sh\necho \"$1\" >> \"${0%/*}/launched\"\nexec \"$@\"\n",
    )?;
    std::fs::set_permissions(
        &launcher,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    // Programs are named from the folder that the command runs in, though it starts them in another.
    let clang = Command::new("sh")
        .args(["-c", "command -v clang-19"])
        .output()?;
    let clang = String::from_utf8(clang.stdout)?;
    std::os::unix::fs::symlink(clang.trim(), at("some-clang"))?;
    let output = packer(&["build", "--isa", ".", "--target", TRIPLE, "--out", "out"])
        .args([
            "--launcher",
            "./launcher",
            "--clang",
            "./some-clang",
            "--format",
            "json",
        ])
        .current_dir(folder.path())
        .output()?;
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    // What is wrong, the code, and what to do; and no bar before it.
    assert!(
        told.starts_with("copatch-packer: operation spill, form r: stencil "),
        "{told}"
    );
    assert!(told.contains("mov ") && told.contains("  help: "), "{told}");
    let object: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let refused = &object["error"]["refused"][0];
    assert_eq!(refused["op"], "spill");
    let stencil = refused["stencil"]
        .as_object()
        .ok_or("no stencil is named")?;
    let page = include_str!("../../docs/packer.md");
    for field in stencil.keys() {
        assert!(
            page.contains(&format!("`{field}`")),
            "{field} is not documented"
        );
    }
    assert!(!at("out").exists(), "a pack was written");
    let launched = std::fs::read_to_string(at("launched"))?;
    assert!(launched.lines().count() > 5, "{launched}");
    assert!(
        launched.lines().all(|line| line.ends_with("/some-clang")),
        "{launched}"
    );
    Ok(())
}

/// `doctor` compiles, and so has progress to show.
#[test]
fn progress_is_for_terminals_without_ci_and_no_color() -> Result {
    let script = Path::new("/usr/bin/script");
    if !has_clang() || !script.exists() {
        println!("passed over: there is no script(1) that makes a terminal");
        return Ok(());
    }
    let shown = |variable: Option<&str>| {
        let mut command = Command::new(script);
        command
            .env_remove("CI")
            .env_remove("NO_COLOR")
            .env("TERM", "xterm");
        command.args([
            "-qec",
            concat!(env!("CARGO_BIN_EXE_copatch-packer"), " doctor"),
            "/dev/null",
        ]);
        command.envs(variable.map(|name| (name, "1")));
        let output = command.stdin(std::process::Stdio::null()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).contains("sample ["))
    };
    assert!(shown(None)?, "there is no bar on a terminal");
    assert!(!shown(Some("CI"))?);
    assert!(!shown(Some("NO_COLOR"))?);
    let output = run(&["doctor"])?;
    assert_eq!(stderr(&output), "");
    Ok(())
}

/// Where nobody can be told, the exit code tells, and the other targets have their turn.
#[test]
fn a_full_standard_error_changes_no_exit_code() -> Result {
    let full = || std::fs::File::create("/dev/full");
    let output = packer(&["verify", "/nonexistent/some.pack"])
        .stderr(full()?)
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let build = "build --isa toy --target vax-dec-ultrix,vax-dec-vms --format json";
    let arguments: Vec<&str> = build.split(' ').collect();
    let output = packer(&arguments).stderr(full()?).output()?;
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        told["error"]["targets"].as_array().map(Vec::len),
        Some(2),
        "{told}"
    );
    Ok(())
}
