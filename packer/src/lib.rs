//! Compiles an instruction set with clang into stencil packs.

pub mod bits;
pub mod cfg;
pub mod disassembly;
pub mod refusal;
pub mod stencil;
