//! Finds the packs beside this file that are for the target being built, and embeds them aligned. A target without
//! packs gets an empty list: an error when the program runs, not when it is built.

use std::env;
use std::fmt::Write;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=.");
    let var = |name: &str| env::var(name).unwrap_or_default();
    let (arch, os, environment) = (
        var("CARGO_CFG_TARGET_ARCH"),
        var("CARGO_CFG_TARGET_OS"),
        var("CARGO_CFG_TARGET_ENV"),
    );
    let os = if os == "macos" {
        "darwin".to_owned()
    } else {
        os
    };
    // Stencils call no C library: those of one serve the other.
    let environment = match (os.as_str(), environment.as_str()) {
        ("linux", "musl") => "gnu",
        ("windows", "gnu") => "msvc",
        (_, other) => other,
    };
    let mut names: Vec<String> = std::fs::read_dir(var("CARGO_MANIFEST_DIR"))
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect()
        })
        .unwrap_or_default();
    names.retain(|name| {
        let Some(stem) = name.strip_suffix(".pack") else {
            return false;
        };
        let triple = stem.split('+').next().unwrap_or_default();
        let mut parts = triple.split('-');
        let starts = parts
            .next()
            .is_some_and(|part| part == arch || part.strip_suffix("gc") == Some(arch.as_str()));
        starts && triple.contains(&os) && (environment.is_empty() || triple.ends_with(environment))
    });
    names.sort();
    let mut items = String::new();
    let mut list = String::from("static PACKS: &[(&str, &[u8])] = &[\n");
    for (index, name) in names.iter().enumerate() {
        let path = Path::new(&var("CARGO_MANIFEST_DIR")).join(name);
        let bytes = format!("include_bytes!({path:?})");
        let _ = writeln!(
            items,
            "static PACK_{index}: &Aligned<{{ {bytes}.len() }}> = &Aligned(*{bytes});"
        );
        let _ = writeln!(list, "    ({name:?}, &PACK_{index}.0),");
    }
    items.push_str(&list);
    items.push_str("];\n");
    let out = Path::new(&var("OUT_DIR")).join("packs.rs");
    if let Err(error) = std::fs::write(&out, items) {
        println!("cargo::error={}: {error}", out.display());
    }
}
