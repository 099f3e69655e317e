//! Compiles an instruction set with clang into stencil packs.

pub mod stencil;
