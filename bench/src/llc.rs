//! LLVM's own code generation without optimisation, on the program that copatch generates code for: `llc -O0`.
//!
//! ```text
//! kernels/*.c ──clang -O2──┬─► objects of WebAssembly ──wasm-ld──► one module ──► its functions many times ──► copatch
//!                          └─► LLVM IR, many copies ──llvm-link──► bitcode ─────────────────────────────────► llc -O0
//! ```
//!
//! * **The same program.** Both sides get what clang makes of the kernels' own functions at `-O2`, the level of the committed
//!   modules, without the C library: what both import. The IR is this machine's and scalar, since the modules have no
//!   vectors. (IR for WebAssembly with its 32-bit pointers, handed to `llc` as x32, takes as long.)
//! * **The same work.** From bytes to machine code. `llc` reads bitcode, which is quicker than text, writes an object to
//!   nowhere, and is spared its verifier and unwind tables; copatch decodes, validates, generates and makes executable.
//!   At `-O0` LLVM selects by FastISel where it can, and allocates registers by its fast allocator: its quickest way.
//! * **One level of optimisation.** Of what `-O2` makes FastISel does not know a tenth, and leaves the rest of such a block to the
//!   slower selector: rotations above all, of which the two `sha256` kernels consist. (`--kernels` chooses others.) IR that
//!   clang makes at `-O0` has twice as many instructions, each of which takes `llc` half as long; but the modules would have to be
//!   compiled at `-O0` too, and then have four times as many.
//! * **No start-up.** A process takes longer to start than a kernel to compile, so the program has so many copies of each that
//!   starting vanishes; what it takes, measured with an empty module in the same rounds, is subtracted all the same.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use copatch_wasm::Module;
use serde::Serialize;

use crate::clock;
use crate::contender::{self, COMPILER, Result, compile, finish};
use crate::kernels::{self, Kernel};
use crate::measure::median;
use crate::module::repeated;

/// Copies of the kernels' functions on each side.
const COPIES: usize = 20;
/// What the committed modules are compiled with, as far as it concerns the middle end; see `kernels/build.sh`.
const CLANG: [&str; 3] = ["-O2", "-ffp-contract=off", "-Wno-return-type"];
const WASM: [&str; 9] = [
    "--target=wasm32-wasi",
    "-msign-ext",
    "-mnontrapping-fptoint",
    "-mbulk-memory",
    "-mno-simd128",
    "-mno-tail-call",
    "-isystem",
    "/usr/include/wasm32-wasi",
    "-c",
];
const IR: [&str; 6] = [
    "-fno-math-errno",
    "-fno-vectorize",
    "-fno-slp-vectorize",
    "-fno-asynchronous-unwind-tables",
    "-emit-llvm",
    "-S",
];

/// Generation of one program by both, `COPIES` times over.
#[derive(Serialize)]
pub struct Generation {
    /// Kernels in the program.
    kernels: usize,
    /// Copies of it that are compiled at once.
    copies: usize,
    /// Functions of one copy, as WebAssembly.
    functions: u64,
    /// Instructions of one copy, as WebAssembly.
    wasm_instructions: u64,
    /// Instructions of one copy, as LLVM IR.
    ir_instructions: usize,
    /// Seconds of copatch in each round, all copies, from bytes to callable code.
    copatch: Vec<f64>,
    /// Seconds of the process `llc` in each round, all copies.
    llc: Vec<f64>,
    /// Seconds of `llc` with an empty module.
    llc_start: Vec<f64>,
    /// Nanoseconds for one copy: medians, without the start.
    copatch_ns: f64,
    llc_ns: f64,
    /// How many times as long `llc` takes.
    ratio: f64,
}

/// Compiles the program that these kernels make by both in turn.
///
/// # Errors
/// Where a tool of LLVM is missing or fails.
pub fn measure(kernels: &[Kernel], packs: Option<&Path>, rounds: u32) -> Result<Generation> {
    let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let module = repeated(&wasm(folder, &names)?, COPIES)?.bytes;
    let (bitcode, ir_instructions) = bitcode(folder, &names)?;
    let empty = folder.join("empty.ll");
    std::fs::write(&empty, "")?;

    let engine = contender::engine(packs)?;
    let timings = Module::new(&engine, &module)?.timings();
    let (mut copatch, mut llc, mut llc_start) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        copatch.push(compile(&engine, &module)?.as_secs_f64());
        llc.push(generate(&bitcode)?.as_secs_f64());
        llc_start.push(generate(&empty)?.as_secs_f64());
    }
    let one = |seconds: f64| seconds / COPIES as f64 * 1e9;
    let copatch_ns = one(median(&copatch));
    let llc_ns = one(median(&llc) - median(&llc_start));
    Ok(Generation {
        kernels: names.len(),
        copies: COPIES,
        functions: timings.functions / COPIES as u64,
        wasm_instructions: timings.operations / COPIES as u64,
        ir_instructions,
        copatch,
        llc,
        llc_start,
        copatch_ns,
        llc_ns,
        ratio: llc_ns / copatch_ns,
    })
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernels,
            copies,
            functions,
            wasm_instructions,
            ir_instructions,
            ..
        } = self;
        writeln!(
            f,
            "Generation alone: the {kernels} kernels' own functions, {functions} of them, processor time, median of {copies} copies\n"
        )?;
        writeln!(
            f,
            "{:10} {:>14} {:>14} {:>14}",
            "", "instructions", "ns a program", "ns each"
        )?;
        for (name, instructions, time) in [
            ("copatch", *wasm_instructions as f64, self.copatch_ns),
            ("llc -O0", *ir_instructions as f64, self.llc_ns),
        ] {
            let each = time / instructions;
            writeln!(f, "{name:10} {instructions:>14} {time:>14.0} {each:>14.1}")?;
        }
        writeln!(
            f,
            "\nllc -O0 takes {:.1} times as long, without {:.0} ms for starting.\n",
            self.ratio,
            median(&self.llc_start) * 1e3
        )
    }
}

/// LLVM's own generation for a file of IR or bitcode: the processor time of the whole process.
///
/// # Errors
/// Where there is no `llc-19`, or it fails.
pub fn generate(program: &Path) -> Result<Duration> {
    let begin = clock::children()?;
    let arguments = ["-O0", "-disable-verify", "-filetype=obj", "-o", "/dev/null"];
    finish(Command::new("llc-19").args(arguments).arg(program))?;
    Ok(clock::children()? - begin)
}

/// What the kernel's `main` is called in a program that has all of them.
fn entry(name: &str) -> String {
    format!("kernel_{name}")
}

fn clang(name: &str, arguments: &[&str], output: &Path) -> Result<()> {
    finish(
        Command::new(COMPILER)
            .args(CLANG)
            .args(arguments)
            .arg(format!("-Dmain={}", entry(name)))
            .arg(kernels::source(name))
            .arg("-o")
            .arg(output),
    )
}

/// All kernels as one module.
fn wasm(folder: &Path, names: &[&str]) -> Result<Vec<u8>> {
    let output = folder.join("program.wasm");
    let mut link = Command::new("wasm-ld-19");
    link.args(["--no-entry", "--allow-undefined", "--strip-all", "-o"]);
    link.arg(&output);
    for name in names {
        let object = folder.join(format!("{name}.o"));
        clang(name, &WASM, &object)?;
        link.arg(format!("--export={}", entry(name))).arg(object);
    }
    finish(&mut link)?;
    Ok(std::fs::read(output)?)
}

/// All kernels as bitcode, `COPIES` times, and how many instructions one copy has. Everything but the entries is a file's own, so
/// that the linker gives it another name in each copy.
fn bitcode(folder: &Path, names: &[&str]) -> Result<(PathBuf, usize)> {
    let output = folder.join("program.bc");
    let mut link = Command::new("llvm-link-19");
    link.arg("-o").arg(&output);
    let mut instructions = 0;
    for name in names {
        let file = folder.join(format!("{name}.ll"));
        clang(name, &IR, &file)?;
        let text = std::fs::read_to_string(&file)?;
        instructions += text.lines().filter(|line| is_instruction(line)).count();
        let entry = format!("@{}(", self::entry(name));
        for copy in 0..COPIES {
            let renamed = format!("@{}_{copy}(", self::entry(name));
            let file = folder.join(format!("{name}_{copy}.ll"));
            std::fs::write(&file, text.replace(&entry, &renamed))?;
            link.arg(file);
        }
    }
    finish(&mut link)?;
    Ok((output, instructions))
}

/// Whether a line of IR is an instruction; cases of a switch are lines of their own, which are indented further.
fn is_instruction(line: &str) -> bool {
    let text = line.strip_prefix("  ").unwrap_or_default();
    text.starts_with(|first: char| first == '%' || first.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_from_what_is_around_them() {
        let text = "define i32 @f(i32 %0) {\n  %2 = add i32 %0, 1\n  switch i32 %2, label %3 [\n    i32 1, label %4\n  ]\n\n\
                    3:                       ; preds = %1\n  ret i32 %2\n}\n";
        assert_eq!(text.lines().filter(|line| is_instruction(line)).count(), 3);
    }

    #[test]
    fn both_sides_get_every_kernel() -> Result<()> {
        if Command::new("llc-19").arg("--version").output().is_err() {
            eprintln!("passed over: there is no llc-19");
            return Ok(());
        }
        let generation = measure(&kernels::find(&[])?, None, 1)?;
        assert!(generation.functions >= 2 * generation.kernels as u64);
        assert!(generation.ir_instructions > 100 * generation.kernels);
        assert!(generation.wasm_instructions > 100 * generation.kernels as u64);
        assert!(generation.ratio > 1.0, "{}", generation.ratio);
        Ok(())
    }
}
