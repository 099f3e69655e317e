//! The `copatch` command: compiles and runs programs by copying and patching stencils.
//!
//! ```text
//! FILE ──front_end (probe)──► FrontEnd ──compile──► Compiled ──┬─► run      its exit code
//!                                                              ├─► compile  what it took
//!                                                              └─► explain  the code, disassembled
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `main.rs` | arguments, errors, exit codes |
//! | `front_end.rs` | which front end a file is for |
//! | `packs.rs` | where stencil packs come from, and whom they must be signed by |
//! | `explain.rs` | generated code as text |
//! | `wast.rs` | WebAssembly's test scripts |
//! | `registry/` | stencil packs in an OCI registry; with the feature `registry` |
//! | `conform.rs` | random programs of an op table, judged by the kit |
//!
//! Exit codes: the program's own; 134 if it trapped; 1 if it could not be run; 2 if the command or the program was called
//! wrongly; 101 for an internal error.

mod conform;
mod explain;
mod front_end;
mod packs;
#[cfg(feature = "registry")]
mod registry;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use copatch::plugin::{CompileOptions, Compiled, GuestDir, RunError, RunOptions, Timings};
use copatch_cli::wast;
use copatch_wasm::{Config, Engine};
use packs::Packs;

/// What a process that aborts gives, as a shell shows it.
const TRAPPED: i32 = 134;
const FAILED: i32 = 1;
const MISUSED: i32 = 2;

/// Compiles and runs programs by copying and patching stencils.
#[derive(Parser)]
#[command(name = "copatch", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a program; exits with its exit code, or with 134 if it traps.
    Run(Run),
    /// Compiles a program and tells what that took.
    Compile(Compile),
    /// Runs test scripts of WebAssembly; exits with 1 if any test failed.
    Wast(Scripts),
    /// Prints the code generated for a program, stencil by stencil, with what was patched into each.
    Explain(Explain),
    /// Judges compiled code of an instruction set: random programs of its op table, as machine code and interpreted, must mean
    /// the same; exits with 1 if some did not.
    Conform(conform::Conform),
    /// Fetches stencil packs from an OCI registry, or puts them there.
    #[cfg(feature = "registry")]
    Packs(registry::Packs),
}

/// How a program is compiled.
#[derive(Args)]
struct Settings {
    /// Load a front end from this shared library; it is asked first.
    #[arg(long, value_name = "LIB")]
    plugin: Vec<PathBuf>,
    #[command(flatten)]
    packs: Packs,
    /// Compile on so many threads; the code is the same for any number. Front ends other than wasm use one.
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
}

/// What a command needs that does nothing but compile a program.
#[derive(Args)]
struct Source {
    #[command(flatten)]
    settings: Settings,
    /// The program; its front end is chosen by its content.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args)]
struct Run {
    /// Let the program see this folder, under the name GUEST or the name it has.
    #[arg(long, value_name = "HOST[::GUEST]", value_parser = guest_dir)]
    dir: Vec<GuestDir>,
    /// Set a variable of the program's environment; without a value, to the one it has here.
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Call this function, with ARGS as its arguments, and print its results.
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// The program, whose front end is chosen by its content, and its arguments: all that follows, options too.
    // One list, since clap looks for its own options up to the last positional argument.
    #[arg(value_names = ["FILE", "ARGS"], num_args = 1.., required = true, trailing_var_arg = true)]
    program: Vec<OsString>,
}

#[derive(Args)]
struct Compile {
    /// Print times and sizes in this format.
    #[arg(long, value_name = "FORMAT")]
    timings: Option<Format>,
    #[command(flatten)]
    source: Source,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// One object.
    Json,
}

#[derive(Args)]
struct Explain {
    /// Only this function, by its number.
    #[arg(long, value_name = "N")]
    func: Option<u32>,
    #[command(flatten)]
    source: Source,
}

#[derive(Args)]
struct Scripts {
    #[command(flatten)]
    packs: Packs,
    /// The scripts (`.wast`).
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Why the command ends early: its exit code, and the line that says why.
struct Failure {
    code: i32,
    line: String,
}

impl Failure {
    /// A failure that concerns a file.
    fn of(file: &Path, reason: impl Display) -> Self {
        Self {
            code: FAILED,
            line: format!("{}: {reason}", file.display()),
        }
    }
}

fn main() {
    std::panic::set_hook(Box::new(|info| {
        let what = info.to_string().replace('\n', " ");
        report(&format!("internal error, please report it: {what}"));
    }));
    let code = match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Compile(compile) => compile.run(),
        Command::Explain(explain) => explain.run(),
        Command::Wast(scripts) => scripts.run(),
        Command::Conform(conform) => conform.run(),
        #[cfg(feature = "registry")]
        Command::Packs(packs) => packs.run(),
    };
    let code = code.unwrap_or_else(|failure| {
        report(&failure.line.replace(char::is_control, " "));
        failure.code
    });
    std::process::exit(code);
}

/// Prints a line on standard error. Where that is gone, the exit code still tells.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "copatch: {line}");
}

impl Settings {
    fn compile(&self, file: &Path, trace: bool) -> Result<Box<dyn Compiled>, Failure> {
        let fail = |reason: String| Failure::of(file, reason);
        let bytes = std::fs::read(file).map_err(|error| fail(error.to_string()))?;
        let front_end = front_end::choose(file, &bytes, &self.plugin)?;
        let options = CompileOptions {
            packs: self.packs.folder()?,
            trace,
            jobs: Some(self.jobs),
        };
        front_end.compile(&bytes, &options).map_err(fail)
    }
}

impl Source {
    fn compile(&self, trace: bool) -> Result<Box<dyn Compiled>, Failure> {
        self.settings.compile(&self.file, trace)
    }
}

impl Run {
    fn run(self) -> Result<i32, Failure> {
        let file = self.program.first().map(PathBuf::from).unwrap_or_default();
        let compiled = self.settings.compile(&file, false)?;
        let env = self
            .env
            .iter()
            .filter_map(|variable| environment(variable))
            .collect();
        let options = RunOptions {
            args: self.program,
            env,
            dirs: self.dir,
            invoke: self.invoke,
        };
        compiled.run(&options).map_err(|error| {
            let code = match error {
                RunError::Trap { .. } => TRAPPED,
                RunError::Usage(_) => MISUSED,
                RunError::Failure(_) => FAILED,
            };
            Failure {
                code,
                ..Failure::of(&file, error)
            }
        })
    }
}

impl Compile {
    fn run(self) -> Result<i32, Failure> {
        let timings = self.source.compile(false)?.timings();
        let text = match self.timings {
            Some(Format::Json) => serde_json::to_string(&timings)
                .map_err(|error| Failure::of(&self.source.file, error))?,
            None => summary(&timings),
        };
        print(&format!("{text}\n"))
    }
}

fn summary(timings: &Timings) -> String {
    let milliseconds = timings.total_ns as f64 / 1e6;
    let Timings {
        functions,
        operations,
        bytes_in,
        bytes_out,
        ..
    } = timings;
    format!(
        "{functions} functions, {operations} operations: {bytes_in} bytes became {bytes_out} bytes of code \
         in {milliseconds:.3} ms"
    )
}

impl Explain {
    fn run(self) -> Result<i32, Failure> {
        let compiled = self.source.compile(true)?;
        let fail = |reason: String| Failure::of(&self.source.file, reason);
        let explanation = compiled.explain(self.func).map_err(fail)?;
        let text = explain::text(&explanation).map_err(fail)?;
        print(&text)
    }
}

impl Scripts {
    fn run(self) -> Result<i32, Failure> {
        let mut config = Config::new();
        if let Some(folder) = self.packs.folder()? {
            config.packs(folder);
        }
        let engine = Engine::new(&config).map_err(|error| Failure {
            code: FAILED,
            line: error.to_string(),
        })?;
        let (mut passed, mut failed) = (0, 0);
        for file in &self.files {
            let text = std::fs::read_to_string(file).map_err(|error| Failure::of(file, error))?;
            let report = wast::run(&engine, &text);
            passed += report.passed;
            failed += report.failures.len();
            for failure in report.failures {
                let reason = failure.reason.replace(['\n', '\r'], " ");
                print(&format!("{}:{}: {reason}\n", file.display(), failure.line))?;
            }
        }
        print(&format!("{passed} passed, {failed} failed\n"))?;
        Ok(if failed == 0 { 0 } else { FAILED })
    }
}

/// Prints to standard output. A reader that went away is no failure.
fn print(text: &str) -> Result<i32, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure {
            code: FAILED,
            line: format!("standard output: {error}"),
        }),
        _ => Ok(0),
    }
}

fn guest_dir(text: &str) -> Result<GuestDir, String> {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err("a folder needs a name".to_owned());
    }
    Ok(GuestDir {
        host: host.into(),
        guest: guest.to_owned(),
    })
}

/// `NAME=VALUE`, or `NAME` with the value it has here, if it has one.
fn environment(variable: &str) -> Option<(OsString, OsString)> {
    match variable.split_once('=') {
        Some((name, value)) => Some((name.into(), value.into())),
        None => Some((variable.into(), std::env::var_os(variable)?)),
    }
}
