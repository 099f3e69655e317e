//! Compiles an instruction set with clang into stencil packs.
//!
//! ```text
//! op table, target ─plan─► jobs ─source─► C ─clang─► objects ─object_file─► raw stencils ─cfg─► trimmed stencils
//!                                                                                                   │
//!                pack ◄─pipeline─ stencils with holes and domains ◄─learn (probe, prove)────────────┘
//! ```
//!
//! | phase | file |
//! |---|---|
//! | what is compiled: forms, ranges of values, register assignments | [`plan`] |
//! | C and assembly for every variant | [`source`] |
//! | clang, several jobs at a time | [`clang`] |
//! | functions and relocations out of objects | [`object_file`] |
//! | blocks laid out so that the continuation is fallen into | [`cfg`](mod@cfg) |
//! | where constants lie in code | [`probe`] |
//! | that patched stencils do what was meant | [`prove`] |
//! | one alternative from samples to stencils with holes | [`learn`] |
//! | one evaluator an operation | [`evaluator`] |
//! | the whole build, and the layout of the pack | [`pipeline`] |
//!
//! What can be said of packs and of the toolchain: [`mod@summary`], [`inspect`], [`mod@diff`], [`targets`], [`doctor`]. Signatures: [`sign`].
//!
//! A stencil that is not understood, or not shown to do what was meant, is left out or is an error, never guessed at.
//! The instruction set's C runs through the compiler and its code through the proof on this machine: build packs from
//! instruction sets that you trust. To *use* packs, take the engine; it needs neither this crate nor clang.

pub mod bits;
pub mod cfg;
pub mod clang;
pub mod diff;
pub mod disassembly;
pub mod doctor;
pub mod error;
pub mod evaluator;
pub mod files;
pub mod inspect;
pub mod learn;
pub mod object_file;
pub mod pipeline;
pub mod plan;
pub mod probe;
pub mod prove;
pub mod refusal;
pub mod report;
pub mod sign;
pub mod source;
pub mod stencil;
pub mod summary;
pub mod targets;
