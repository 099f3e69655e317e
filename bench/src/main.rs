//! copatch measured side by side with other WebAssembly engines, in one run, on one core.
//!
//! ```text
//! kernels/*.wasm ──► every contender prints the same? ──► rounds, contenders in turn ──► medians, ratios
//! one large module ──► every contender compiles it ──► rounds, contenders in turn ──► medians, ratios
//! kernels/*.c ──► copatch and llc -O0 generate code ──► rounds, in turn ──► medians, ratio
//! each large module ──wasm2c, clang -O0──► llc -O0 generates its code, copatch compiles it ──► rounds, in turn ──► medians, ratio
//! functions of different sizes ──► copatch compiles them ──► rounds, sizes in turn ──► medians
//! ```
//!
//! | phase | file |
//! |---|---|
//! | what a contender is | `contender` |
//! | the contenders | `contender/{copatch, liftoff, cranelift, wasmi, native}` |
//! | the WASI calls that the kernels make, the same for every contender | `wasi` (and `contender/liftoff.mjs`) |
//! | the kernels: what they are, what they must print | `kernels` |
//! | the module to compile | `module` |
//! | processor time | `clock` |
//! | rounds, medians | `measure` |
//! | generation beside LLVM's, of the kernels | `llc` |
//! | generation beside LLVM's, of a module | `translated` |
//! | generation as functions grow | `shapes` |
//! | tables and JSON | `report` |
//! | the picture | `chart` |

mod chart;
mod clock;
mod contender;
mod kernels;
mod llc;
mod measure;
mod module;
mod report;
mod shapes;
mod translated;
mod wasi;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use contender::{Contender, Result};

/// Measures copatch beside V8 Liftoff, Winch, Cranelift and wasmi, on one core.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// Kernels to run; else all.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    kernels: Vec<String>,
    /// Contenders to run, of copatch, liftoff, winch, cranelift, wasmi; else all.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    contenders: Vec<String>,
    /// How often each contender runs each kernel and compiles each module; slow ones sit out the last rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Modules to compile; else one made of the `format` kernel's functions many times over.
    #[arg(long, value_name = "FILE")]
    module: Vec<PathBuf>,
    /// Stencil packs to measure copatch with, in place of those built in.
    #[arg(long, value_name = "DIR")]
    packs: Option<PathBuf>,
    /// Leaves out whole-module compilation.
    #[arg(long)]
    no_compile: bool,
    /// Leaves out the kernels.
    #[arg(long)]
    no_kernels: bool,
    /// Leaves out generation beside `llc -O0`, which takes half a minute for a large module in each of three rounds.
    #[arg(long)]
    no_llc: bool,
    /// Leaves out functions of different sizes.
    #[arg(long)]
    no_shapes: bool,
    /// Runs each kernel once under every contender, compares the outputs and times nothing.
    #[arg(long)]
    check: bool,
    /// The core to run on; else the first that is allowed.
    #[arg(long)]
    core: Option<usize>,
    /// Draws the kernels' geometric means into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Writes one JSON object to standard output instead of tables.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("copatch-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let core = pin(arguments.core)?;
    let mut contenders = contender::all(&arguments.contenders, arguments.packs.as_deref())?;
    let kernels = kernels::find(&arguments.kernels)?;
    if arguments.check {
        for kernel in &kernels {
            measure::check(kernel, &mut contenders)?;
        }
        println!(
            "{} kernels print the same under {}",
            kernels.len(),
            names(&contenders)
        );
        return Ok(());
    }

    let packs = arguments.packs.as_deref();
    let mut report = report::Report::new(core, &contenders);
    if !arguments.no_kernels {
        for kernel in &kernels {
            eprintln!("{} …", kernel.name);
            report
                .kernels
                .push(measure::kernel(kernel, &mut contenders, arguments.rounds)?);
        }
    }
    if !arguments.no_compile {
        let modules = match arguments.module.as_slice() {
            [] => vec![module::synthetic(&kernels::bytes("format")?)?],
            files => files
                .iter()
                .map(|file| module::read(file))
                .collect::<Result<_>>()?,
        };
        for module in &modules {
            eprintln!("compiling {} …", module.name);
            report
                .modules
                .push(measure::module(module, &mut contenders, arguments.rounds)?);
            if !arguments.no_llc {
                eprintln!("llc, by wasm2c …");
                match translated::measure(module, packs, arguments.rounds) {
                    Ok(generation) => report.translated.push(generation),
                    Err(error) => eprintln!("copatch-bench: without llc: {error}"),
                }
            }
        }
    }
    if !arguments.no_llc {
        eprintln!("llc …");
        match llc::measure(&kernels, packs, arguments.rounds) {
            Ok(generation) => report.generation = Some(generation),
            Err(error) => eprintln!("copatch-bench: without llc: {error}"),
        }
    }
    if !arguments.no_shapes {
        eprintln!("functions of different sizes …");
        let engine = contender::engine(packs)?;
        report.shapes = Some(shapes::measure(&engine, arguments.rounds)?);
    }
    if let Some(file) = &arguments.chart {
        let title = "Kernels: processor time, as a multiple of copatch's (geometric mean)";
        chart::write(file, title, &report.means())?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

fn names(contenders: &[Box<dyn Contender>]) -> String {
    contenders
        .iter()
        .map(|contender| contender.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Keeps this process and its children on one core, so that no contender compiles on another while it runs.
fn pin(core: Option<usize>) -> Result<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    let core = match core {
        Some(core) if core < CpuSet::MAX_CPU && allowed.is_set(core) => core,
        Some(core) => {
            return Err(format!("core {core} is not one that this process may run on").into());
        }
        None => (0..CpuSet::MAX_CPU)
            .find(|core| allowed.is_set(*core))
            .ok_or("no core to run on")?,
    };
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one)?;
    Ok(core)
}
