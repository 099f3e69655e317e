//! Loads stencil packs and generates machine code by copying and patching.

mod buffer;
mod builder;
mod context;
mod error;
mod evaluator;
mod memory;
mod pack;
mod plan;
pub mod plugin;
mod program;
mod select;
mod trap;
mod unit;

pub use buffer::{Emitted, Values};
pub use builder::{FunctionBuilder, Signature};
pub use context::{Context, Helper};
pub use copatch_spec as spec;
pub use copatch_spec::types::ValueType;
pub use error::{Error, Result};
pub use evaluator::{EvalOutcome, Evaluators};
pub use memory::{Code, CodeSpace, MemoryError, Reservation, Stack, jit_available};
pub use pack::{OpId, Pack};
pub use plan::{Plan, Planner};
pub use program::{Program, TrapSite};
pub use select::host_triple;
pub use trap::{Trap, call, helper_guard, kind as trap_kind, native_stack_left};
pub use unit::Unit;
