//! A small language on copatch: integers, floats, functions, loops, one array.
//!
//! ```text
//! text ───parse──┐                 ┌──interpret──────────────────► output
//!                ├──► [`Program`] ─┤
//! bytes ──decode─┘                 └──compile──► machine code ─run─► output
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `program.rs` | what a program is; the table of operators |
//! | `check.rs` | the rules of the language, for both forms |
//! | `token.rs`, `parse.rs`, `print.rs` | the text form |
//! | `binary.rs` | the binary form |
//! | `interpret.rs` | runs a program without generating code; the judge of compiled code |
//! | `compile.rs` | generates code |
//! | `run.rs` | runs it |
//! | `front_end.rs` | the same as a shared library |
//!
//! ```
//! # if !copatch::jit_available() { return Ok(()); }
//! let program = copatch_toy::parse("fn double(n: int) -> int { return n + n; }")?;
//! let pack = copatch::Pack::for_host(copatch_pack_toy::packs())?;
//! let executable = copatch_toy::Executable::new(&program, &pack)?;
//! assert_eq!(executable.run(0, &[21], &mut std::io::stdout())?, Some(42));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It is there to be read and to test the engine; it has no strings, no modules, and never will.

mod binary;
pub mod check;
mod compile;
mod front_end;
mod interpret;
mod parse;
mod print;
pub mod program;
mod run;
mod token;

pub use binary::{DecodeError, MAGIC, VERSION, decode, encode};
pub use front_end::Toy;
pub use interpret::{Output, Stop, interpret};
pub use parse::{SyntaxError, parse};
pub use print::print;
pub use program::Program;
pub use run::{Executable, RunError};
pub use token::Position;
