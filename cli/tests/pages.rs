//! The pages that teach by commands: each command is run as the page has it, and says what the page says.
//!
//! In a block ` ```console ` every line behind `$ ` is a command, and the lines below it are what it prints, errors included; `…` stands
//! for anything. A block whose language is followed by a path, as in ` ```toml my-isa/ops.toml `, is that file.
#![cfg(feature = "registry")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::Registry;

const COPATCH: &str = env!("CARGO_BIN_EXE_copatch");
const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The registry of the pages.
const REGISTRY: &str = "localhost:5000";

/// Whether `text` is what `pattern` says, in which `…` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('…') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (between, last) = rest.rsplit_once('…').unwrap_or(("", rest));
    for piece in between.split('…') {
        let Some(at) = text.find(piece) else {
            return false;
        };
        text = &text[at + piece.len()..];
    }
    text.ends_with(last)
}

#[test]
fn three_dots_stand_for_anything() {
    for pattern in [
        "one two three",
        "one…three",
        "…",
        "…e",
        "o…",
        "one… two …three…",
        "one …o …e",
    ] {
        assert!(fits(pattern, "one two three"), "{pattern}");
    }
    for pattern in [
        "",
        "one",
        "one…thre",
        "ne…",
        "…four…",
        "one two three…e three",
    ] {
        assert!(!fits(pattern, "one two three"), "{pattern}");
    }
}

/// The fenced blocks of a page: what follows the opening fence, and the lines.
fn blocks(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let inner = lines.by_ref().take_while(|line| *line != "```");
            blocks.push((kind, inner.collect()));
        }
    }
    blocks
}

/// Does in `folder` what a page says, with the programs of this build. What differs is told at the end, since a page takes minutes.
fn follow(page: &str, folder: &Path, registry: &str) {
    let text = fs::read_to_string(Path::new(TREE).join("docs").join(page)).unwrap();
    let programs = Path::new(COPATCH).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let (mut commands, mut wrong) = (0, String::new());
    for (kind, lines) in blocks(&text) {
        if let Some((_, file)) = kind.split_once(' ') {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, lines.join("\n") + "\n").unwrap();
        }
        if kind != "console" {
            continue;
        }
        for told in format!("\n{}", lines.join("\n")).split("\n$ ").skip(1) {
            let (command, expected) = told.split_once('\n').unwrap_or((told, ""));
            let begin = Instant::now();
            let output = Command::new("bash")
                .args([
                    "-c",
                    &format!("exec 2>&1; {}", command.replace(REGISTRY, registry)),
                ])
                .current_dir(folder)
                .env("PATH", &path)
                .env("NO_PROXY", "127.0.0.1")
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout)
                .unwrap()
                .replace(registry, REGISTRY);
            let took = begin.elapsed().as_secs_f64();
            println!("{page}: {took:.1} s: $ {command}");
            if !output.status.success() || !fits(expected.trim_end(), said.trim_end()) {
                wrong += &format!("{page}: $ {command}\n{said}({})\n", output.status);
            }
            commands += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(commands > 0, "{page} has no command");
}

/// Whether the packer was built beside this, and has its compiler; says so if not.
fn has_packer() -> bool {
    let packer = Path::new(COPATCH).with_file_name("copatch-packer");
    let doctor = Command::new(&packer).arg("doctor").output();
    let is_fit = doctor.is_ok_and(|output| output.status.success());
    if !is_fit {
        println!(
            "passed over: {} and clang are needed; ci/docs builds it",
            packer.display()
        );
    }
    is_fit
}

#[test]
fn pack_authors() {
    let Some(registry) = Registry::start("").filter(|_| has_packer()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    follow("pack-authors.md", folder.path(), &registry.address);
}

#[test]
fn tutorial() {
    // The page builds the toy language where it says it does.
    if std::env::var_os("CARGO_TARGET_DIR").is_some() {
        println!("passed over: CARGO_TARGET_DIR is set");
    } else if has_packer() {
        follow("tutorial.md", Path::new(TREE), REGISTRY);
    }
}
