//! LLVM's code generation without optimisation, on the very module that copatch compiles.
//!
//! ```text
//! module ──┬──────────────────────────────────────────────► copatch
//!          └─wasm2c─► C ──clang -O0──► bitcode, not timed ──► llc -O0
//! ```
//!
//! * **The same program.** wasm2c, of the WebAssembly Binary Toolkit, is how WebAssembly usually comes to LLVM: a statement an
//!   instruction, a function for each access to memory. Its C goes through clang at `-O0`, as what a program hands to a
//!   compiler at run time has not been optimised by another one before. (`llc` has it easier with what clang makes of C at
//!   `-O2`, where a source in C is at hand: that is measured on the kernels.)
//! * **Generation alone** on LLVM's side, whole compilation with validation on copatch's.
//! * Starting `llc`, some thousandths of what it takes, is not subtracted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::contender::{self, COMPILER, Result, compile, finish};
use crate::llc::generate;
use crate::measure::median;
use crate::module::Module;

/// A large module takes `llc` half a minute: it sits out the rounds after these.
const ROUNDS: usize = 3;

/// Generation of one module by both.
#[derive(Serialize)]
pub struct Translated {
    /// The module's name.
    name: String,
    /// Instructions of WebAssembly.
    instructions: u64,
    /// Seconds of copatch in each round, from bytes to callable code.
    copatch: Vec<f64>,
    /// Seconds of the process `llc` in each of the first rounds.
    llc: Vec<f64>,
    /// How many times as long `llc` takes, by medians.
    ratio: f64,
}

/// Compiles a module by both in turn.
///
/// # Errors
/// Where a tool is missing or fails: wasm2c does not know every extension of WebAssembly.
pub fn measure(module: &Module, packs: Option<&Path>, rounds: u32) -> Result<Translated> {
    let folder = tempfile::tempdir()?;
    let bitcode = translate(&module.bytes, folder.path())?;
    let engine = contender::engine(packs)?;
    let compiled = copatch_wasm::Module::new(&engine, &module.bytes)?;
    let instructions = compiled.timings().operations;
    drop(compiled);
    let (mut copatch, mut llc) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        copatch.push(compile(&engine, &module.bytes)?.as_secs_f64());
        if llc.len() < ROUNDS {
            llc.push(generate(&bitcode)?.as_secs_f64());
        }
    }
    let ratio = median(&llc) / median(&copatch);
    Ok(Translated {
        name: module.name.clone(),
        instructions,
        copatch,
        llc,
        ratio,
    })
}

/// The module as bitcode in that folder.
fn translate(module: &[u8], folder: &Path) -> Result<PathBuf> {
    let [wasm, c, bitcode] = ["module.wasm", "module.c", "module.bc"].map(|name| folder.join(name));
    std::fs::write(&wasm, module)?;
    finish(Command::new("wasm2c").arg(wasm).arg("-o").arg(&c))?;
    let flags = ["-O0", "-w", "-fno-asynchronous-unwind-tables", "-emit-llvm"];
    let mut clang = Command::new(COMPILER);
    finish(clang.args(flags).arg("-c").arg(&c).arg("-o").arg(&bitcode))?;
    Ok(bitcode)
}

impl fmt::Display for Translated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name, instructions, ..
        } = self;
        writeln!(
            f,
            "Generation: {name}, {instructions} instructions, by wasm2c and clang -O0 for LLVM; processor time, median\n"
        )?;
        writeln!(f, "{:10} {:>10} {:>14}", "", "ms", "ns each")?;
        for (name, seconds) in [("copatch", &self.copatch), ("llc -O0", &self.llc)] {
            let time = median(seconds);
            let each = time * 1e9 / *instructions as f64;
            writeln!(f, "{name:10} {:>10.1} {each:>14.1}", time * 1e3)?;
        }
        writeln!(f, "\nllc -O0 takes {:.1} times as long.\n", self.ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_comes_to_llvm_and_back() -> Result<()> {
        if Command::new("wasm2c").arg("--version").output().is_err() {
            eprintln!("passed over: there is no wasm2c");
            return Ok(());
        }
        let name = "format".to_owned();
        let bytes = crate::kernels::bytes(&name)?;
        let generation = measure(&Module { name, bytes }, None, 1)?;
        assert!(generation.instructions > 1000);
        assert!(generation.ratio > 1.0, "{}", generation.ratio);
        Ok(())
    }
}
