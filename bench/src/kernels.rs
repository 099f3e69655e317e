//! The kernels: small programs in C under `bench/kernels`, compiled and committed with the output that they must give.

use std::path::{Path, PathBuf};

use crate::contender::Result;

/// A program and what it must print.
pub struct Kernel {
    pub name: String,
    pub module: Vec<u8>,
    pub output: Vec<u8>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// The kernels of these names, or all, by name.
pub fn find(names: &[String]) -> Result<Vec<Kernel>> {
    let mut names = names.to_vec();
    if names.is_empty() {
        for entry in std::fs::read_dir(folder())? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "wasm")
            {
                names.extend(
                    path.file_stem()
                        .map(|stem| stem.to_string_lossy().into_owned()),
                );
            }
        }
        names.sort();
    }
    names
        .into_iter()
        .map(|name| {
            let output = read(&format!("{name}.out"))?;
            Ok(Kernel {
                module: bytes(&name)?,
                output,
                name,
            })
        })
        .collect()
}

/// The C source of one kernel.
pub fn source(name: &str) -> PathBuf {
    folder().join(format!("{name}.c"))
}

/// The module of one kernel.
pub fn bytes(name: &str) -> Result<Vec<u8>> {
    read(&format!("{name}.wasm"))
}

fn read(name: &str) -> Result<Vec<u8>> {
    let path = folder().join(name);
    Ok(std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?)
}
