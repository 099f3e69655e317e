//! Front ends behind one interface, linked in or loaded as shared libraries.
//!
//! ```text
//! FrontEnd ──compile──► Compiled ──run, explain, timings──► …
//!    ▲
//!    ├─ a type of this program
//!    └─ PluginLibrary::load(path): another engine behind a C interface
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the traits, and what passes through them |
//! | `abi.rs` | the C interface |
//! | `export.rs` | a [`FrontEnd`] as that interface: [`export_plugin!`](crate::export_plugin) |
//! | `load.rs` | that interface as a [`FrontEnd`]: [`PluginLibrary`] |
//! | `find.rs` | where plugins lie |
//!
//! A plugin links an engine of its own, so the boundary is coarse: a whole program goes in, a result comes out. Nothing
//! unwinds through it. A plugin is machine code that runs in this process: load only what you would run.

#[doc(hidden)]
pub mod abi;
mod explain;
#[doc(hidden)]
pub mod export;
mod find;
mod load;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::trust::PackFolder;

pub use explain::{Explanation, FunctionListing, HoleListing, StencilListing};
pub use find::{PLUGIN_PATH, find_plugins};
pub use load::{PluginError, PluginLibrary};

/// A language or format that can be compiled and run.
pub trait FrontEnd: Send + Sync {
    /// A short name, such as `wasm`.
    fn name(&self) -> &str;

    /// Whether `bytes` look like a program of this front end: magic numbers and the like, not validity.
    ///
    /// A malformed program should be claimed, so that its error names what is wrong with it.
    fn probe(&self, bytes: &[u8]) -> bool;

    /// Makes a program callable.
    ///
    /// # Errors
    /// One line that names offset and cause.
    fn compile(&self, bytes: &[u8], options: &CompileOptions) -> Result<Box<dyn Compiled>, String>;
}

/// How to compile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompileOptions {
    /// Take the stencil pack from this folder instead of the built-in ones.
    pub packs: Option<PackFolder>,
    /// Keep what [`Compiled::explain`] needs.
    pub trace: bool,
    /// Compile on so many threads, where the front end can; the result is the same for any number, and for none given.
    pub jobs: Option<NonZeroUsize>,
}

/// A program that can run.
pub trait Compiled {
    /// Runs it and gives its exit code. Each run begins afresh.
    ///
    /// # Errors
    /// See [`RunError`].
    fn run(&self, options: &RunOptions) -> Result<i32, RunError>;

    /// The generated code of function `func`, or of all; only if compiled with [`CompileOptions::trace`].
    ///
    /// # Errors
    /// One line, for example that there is no such function.
    fn explain(&self, func: Option<u32>) -> Result<Explanation, String>;

    /// What compiling it took.
    fn timings(&self) -> Timings;
}

/// What a program is run with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// The program's arguments; the first is its own name, as programs expect it.
    pub args: Vec<OsString>,
    /// Its environment: nothing else is visible to it.
    pub env: Vec<(OsString, OsString)>,
    /// The folders it may see.
    pub dirs: Vec<GuestDir>,
    /// Call this function, with `args` but the first as its arguments, instead of what the format calls the start.
    pub invoke: Option<String>,
}

/// A folder that a program may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestDir {
    /// Where it is.
    pub host: PathBuf,
    /// What the program calls it.
    pub guest: String,
}

/// Why a run gave no exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The program trapped.
    #[error("{}", trap_line(kind, function.as_deref(), message))]
    Trap {
        /// The trap's name.
        kind: String,
        /// The function it happened in, as the program or its format calls it.
        function: Option<String>,
        /// More about it; may be empty.
        message: String,
    },
    /// It was called wrongly: a function that does not exist, arguments that do not fit.
    #[error("{0}")]
    Usage(String),
    /// It could not be run: an import that is missing, memory that cannot be had.
    #[error("{0}")]
    Failure(String),
}

fn trap_line(kind: &str, function: Option<&str>, message: &str) -> String {
    let mut line = format!("trap: {kind}");
    if let Some(function) = function {
        line += &format!(" in function {function}");
    }
    if !message.is_empty() {
        line += &format!(" ({message})");
    }
    line
}

/// What compiling took. Times are nanoseconds by the clock on the wall, from one event to another, but for `prescan_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[repr(C)]
pub struct Timings {
    /// Size of the program.
    pub bytes_in: u64,
    /// Size of the code generated.
    pub bytes_out: u64,
    /// Functions compiled.
    pub functions: u64,
    /// Operations compiled.
    pub operations: u64,
    /// The sum over all functions of the time that the scan before code generation takes. On one thread this is a part of
    /// `generate_ns`; on several, threads scan at the same time, and the sum may exceed it.
    pub prescan_ns: u64,
    /// Pre-scan, decoding, validation and code generation; on several threads until the last has ended.
    pub generate_ns: u64,
    /// Linking and making executable.
    pub publish_ns: u64,
    /// From bytes in memory to callable code.
    pub total_ns: u64,
}
