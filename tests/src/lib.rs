//! Conformance of compiled code, for any instruction set.
//!
//! ```text
//! op table ─┐                          ┌─ compiled code, with a plan and without ─┐
//!           ├─ generate ─► [`Program`] ┤                                          ├─► the same, bit for bit?
//! [`Dialect`]                          ├─ interpreter on the pack's evaluators ───┤
//!                                      └─ yours ([`Executor`]) ───────────────────┘
//! ```
//!
//! Results, traps, memory and what helpers were called with must agree, with NaNs canonical. What disagrees is shrunk
//! and printed as a test. The kit needs the engine alone; see `tests/tests` for how our front ends use it:
//!
//! ```ignore
//! struct Mine;
//! impl Dialect for Mine { /* what your operations expect of memory and context */ }
//! Kit::new(pack, Mine)?.run(cases())?;
//! ```

pub mod choices;
pub mod coverage;
pub mod damage;
pub mod dialect;
pub mod dialects;
pub mod edit;
pub mod execute;
pub mod generate;
pub mod kit;
pub mod mutate;
pub mod patches;
pub mod program;
pub mod shrink;
pub mod valid;
mod watch;

pub use choices::Choices;
pub use coverage::Coverage;
pub use dialect::{Dialect, MEMORY};
pub use execute::{Compiled, Evaluated, Executor, Outcome};
pub use kit::{Disagreement, Kit, cases};
pub use program::{Function, Program, Step, op};

/// The Rust of the page for those who ship packs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/pack-authors.md")]
struct PackAuthors;
