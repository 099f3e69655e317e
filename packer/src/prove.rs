//! Proves stencils: [`inspect()`] looks at their code, [`Prover`] executes them.
//!
//! Where clang writes something else for a constant than the patched template, the template is still right if it does
//! the same. `add` of 1 may be an `inc` or a `lea` of 1; but `r < C` as `cmp $(C - 1); jle` is wrong for the least
//! integer. So both are executed, clang's own code for the constant and the patched template, on boundary operands
//! around the constant, in a child process for the target; everything a continuation could see must be equal.
//!
//! A constant that fails becomes an exception of the domain, if it is special ([`crate::probe::is_special`]): clang knew
//! better code for it. A generic constant that fails stands for others that were not tried: the range is not uniform, and
//! no template may be taken for it.

mod aarch64;
mod compare;
mod harness;
mod inspect;
mod machine;
mod riscv64;
mod x86_64;

use std::io;
use std::path::Path;

use copatch_spec::Target;
use copatch_spec::isa::Operation;
use copatch_spec::variants::Form;

use crate::cfg::Trimmed;

pub use inspect::{Subject, inspect};

/// Two codes for the same registers and constants that should do the same.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The operation.
    pub op: &'a Operation,
    /// Its form.
    pub form: &'a Form,
    /// Register numbers of the form's positions, as in [`copatch_spec::variants::assignments`].
    pub registers: &'a [usize],
    /// The form's values.
    pub values: &'a [i64],
    /// What clang makes of these values.
    pub own: &'a Trimmed,
    /// The template with these values.
    pub patched: &'a Trimmed,
}

/// Why nothing can be proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The harness knows no such architecture.
    #[error(
        "stencils of {0} cannot be executed for proof: add a module beside packer/src/prove/x86_64.rs"
    )]
    Architecture(String),
    /// Stencils of another machine need an emulator.
    #[error("no emulator runs on this machine for {0}; install qemu-user-static")]
    Emulator(String),
    /// Clang did not build the harness.
    #[error("clang did not build the proof harness (it needs lld):\n{0}")]
    Build(String),
    /// The harness does not run.
    #[error("the proof harness does not start; does the system forbid executable memory?")]
    Refused,
    /// The processor lacks instructions that the pack's features need.
    #[error(
        "stencils of {0} cannot be executed for proof: this machine's processor lacks the pack's features"
    )]
    Processor(String),
    /// A file or process failed.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

/// Executes stencils of one target. Threads may share it; each call uses a child process of its own.
pub struct Prover {
    target: Target,
    harness: harness::Harness,
}

impl Prover {
    /// Builds the harness with the compiler at `clang` and starts it. It is a program of Linux whatever the system: stencils
    /// call nothing but helpers, and a helper's call ends a run.
    ///
    /// # Errors
    /// See [`ProveError`].
    pub fn new(target: &Target, clang: &Path) -> Result<Self, ProveError> {
        Ok(Self {
            target: target.clone(),
            harness: harness::Harness::new(target, clang)?,
        })
    }

    /// Whether both codes do the same on boundary operands: registers, memory, context and where control goes.
    /// Code that cannot be set up (a branch to something unknown) or does not come back is not the same.
    ///
    /// # Errors
    /// When the child process cannot be run. A difference is no error.
    pub fn same(&self, comparison: &Comparison<'_>) -> Result<bool, ProveError> {
        compare::same(&self.harness, &self.target, comparison)
    }
}

#[cfg(test)]
mod tests;
