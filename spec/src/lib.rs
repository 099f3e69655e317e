//! The contract of copatch: what an operation is, what a machine is, and what a stencil pack looks like.
//!
//! ```text
//! isa (ops.toml + ops.h) ─┐
//!                         ├─► variants ──► packer ──► pack ──► engine
//! target (target.toml)  ──┘
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`types`] | the types of values and where an operand may lie |
//! | [`isa`] | the op table: one line of data an operation |
//! | [`target`] | registers, flags and ranges of a machine |
//! | [`variants`] | the one enumeration of variants that packer, engine and kit share |
//! | [`patch`] | holes and how they are patched, as data |
//! | [`pack`] | the pack file: tables, reader, writer, validator |
//! | [`limits`] | every limit of the format |
//!
//! The built-in specs are data beside this crate (`spec/isa`, `spec/target`); anyone's own is a folder.

mod codec;
pub mod isa;
pub mod limits;
pub mod pack;
pub mod patch;
pub mod target;
pub mod types;
pub mod variants;

pub use isa::{InstructionSet, Operation, Shape};
pub use target::Target;
pub use types::{Place, ValueType};
pub use variants::{Form, FormKey, Outcome};
