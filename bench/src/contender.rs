//! What is measured: an engine that compiles modules and runs programs.

mod copatch;
mod cranelift;
mod liftoff;
mod native;
mod wasmi;

use std::path::Path;
use std::time::Duration;

pub use self::copatch::{compile, engine};
pub use self::native::{COMPILER, finish};
use crate::kernels::Kernel;

/// Every failure ends the run: a benchmark with a hole in it is none.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What one run of a program gave.
pub struct Run {
    /// Time in `_start`: neither compiling nor instantiating.
    pub time: Duration,
    /// What it wrote to standard output.
    pub output: Vec<u8>,
}

/// An engine under measurement.
pub trait Contender {
    /// Its name in tables and on the command line.
    fn name(&self) -> &'static str;

    /// Compiles a kernel for [`Contender::run`], in place of the one before.
    fn load(&mut self, kernel: &Kernel) -> Result<()>;

    /// Runs the loaded program in an instance of its own.
    fn run(&mut self) -> Result<Run>;

    /// Validates and compiles a whole module to callable code, and throws it away (outside the time). `None` for those
    /// that start from something else.
    fn compile(&mut self, module: &[u8]) -> Result<Option<Duration>>;
}

/// The contenders of these names, or all, copatch first. One that cannot run on this machine is left out, with the reason on
/// standard error; copatch never is.
pub fn all(names: &[String], packs: Option<&Path>) -> Result<Vec<Box<dyn Contender>>> {
    const NAMES: [&str; 7] = [
        "copatch",
        "liftoff",
        "winch",
        "cranelift",
        "wasmi",
        "clang-O0",
        "clang-O2",
    ];
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!(
            "no contender is called {unknown:?}; there are {}",
            NAMES.join(", ")
        )
        .into());
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    if wanted("copatch") {
        contenders.push(Box::new(copatch::Copatch::new(packs)?));
    }
    if wanted("liftoff") {
        match liftoff::Liftoff::new() {
            Ok(liftoff) => contenders.push(Box::new(liftoff)),
            Err(error) => eprintln!("copatch-bench: without liftoff: {error}"),
        }
    }
    if wanted("winch") {
        contenders.push(Box::new(cranelift::Wasmtime::winch()?));
    }
    if wanted("cranelift") {
        contenders.push(Box::new(cranelift::Wasmtime::cranelift()?));
    }
    if wanted("wasmi") {
        contenders.push(Box::new(wasmi::Wasmi::new()?));
    }
    for (name, flag) in [("clang-O0", "-O0"), ("clang-O2", "-O2")] {
        if wanted(name) {
            match native::Clang::new(name, flag) {
                Ok(clang) => contenders.push(Box::new(clang)),
                Err(error) => eprintln!("copatch-bench: without {name}: {error}"),
            }
        }
    }
    Ok(contenders)
}

/// Whether a program that ended its run this way ended well: by returning, or by `proc_exit(0)`.
fn ended_well(exit: Option<i32>) -> Result<()> {
    match exit {
        None | Some(0) => Ok(()),
        Some(code) => Err(format!("the program exited with {code}").into()),
    }
}
