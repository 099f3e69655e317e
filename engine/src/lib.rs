//! Loads stencil packs and generates machine code by copying and patching.

mod buffer;
mod builder;
mod context;
mod error;
mod memory;
mod pack;
mod plan;
mod program;
mod trap;
mod unit;

pub use buffer::{Emitted, Values};
pub use builder::{FunctionBuilder, Signature};
pub use context::Context;
pub use copatch_spec as spec;
pub use copatch_spec::types::ValueType;
pub use error::{Error, Result};
pub use memory::{Code, CodeSpace, MemoryError, Reservation, Stack, jit_available};
pub use pack::{OpId, Pack};
pub use plan::{Plan, Planner};
pub use program::{Program, TrapSite};
pub use trap::{Trap, call};
pub use unit::Unit;
