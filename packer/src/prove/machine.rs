//! What the proofs need to know of an architecture; one module beside this one for each.

use capstone::{Capstone, Insn};
use copatch_spec::Target;

use super::inspect::Step;
use super::{aarch64::Aarch64, riscv64::Riscv64, x86_64::X86_64};
use crate::stencil::Relocation;

/// An architecture as the proofs see it. Registers are called what the target's file calls them.
pub(super) trait Machine: Sync {
    /// Assembly of `run`, `landed` and `abandon`, between the harness and the code that it executes.
    fn shim(&self, target: &Target) -> String;

    /// Code that leaves a run through the exit of that number; it may stand anywhere.
    fn stub(&self, exit: u32) -> Vec<u8>;

    /// The stack pointer.
    fn stack(&self) -> &'static str;

    /// Registers that a C function keeps.
    fn kept_by_c(&self) -> &'static [&'static str];

    /// Registers other than fixed pointers that hold at every exit, the stack pointer among them.
    fn pointers(&self) -> &'static [&'static str];

    /// Whether code begins with the first of two instructions that one relocation may fill together.
    fn is_first_half(&self, _code: &[u8]) -> bool {
        false
    }

    /// What the instruction at `start` does; `hole` is what of it, or of the other half, is to be filled.
    ///
    /// # Errors
    /// If the disassembler has no details of it.
    fn step(
        &self,
        disassembler: &Capstone,
        instruction: &Insn<'_>,
        start: usize,
        hole: Option<&Relocation>,
    ) -> Result<Step, capstone::Error>;
}

/// The architecture of that name.
pub(super) fn machine(arch: &str) -> Option<&'static dyn Machine> {
    match arch {
        "x86_64" => Some(&X86_64),
        "aarch64" => Some(&Aarch64),
        "riscv64" => Some(&Riscv64),
        _ => None,
    }
}
