//! Compiles an instruction set with clang into stencil packs.

pub mod bits;
pub mod cfg;
pub mod clang;
pub mod disassembly;
pub mod error;
pub mod evaluator;
pub mod learn;
pub mod object_file;
pub mod pipeline;
pub mod plan;
pub mod probe;
pub mod prove;
pub mod refusal;
pub mod report;
pub mod source;
pub mod stencil;
