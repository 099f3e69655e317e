//! Loads stencil packs and generates machine code by copying and patching.
//!
//! ```text
//! Pack ──► Unit ──► FunctionBuilder ──► Program ──► call
//!  by triple        copies stencils,    executable,   through the pack's
//!  and features     patches holes       W^X           entry stencil
//! ```
//!
//! ```
//! use copatch::{Context, FunctionBuilder, Pack, Plan, Signature, Stack, Unit, ValueType, call};
//!
//! # fn main() -> copatch::Result<()> {
//! # if !copatch::jit_available() { return Ok(()); }
//! let pack = Pack::for_host(copatch_pack_toy::packs())?;
//! let add = pack.op("i64.add")?;
//! let signature = Signature { params: vec![ValueType::I64; 2], results: vec![ValueType::I64] };
//!
//! let mut unit = Unit::new(&pack, 1 << 16)?;
//! let mut builder = FunctionBuilder::new(&mut unit);
//! builder.begin(0, &signature, &[], &Plan::default());
//! builder.get(0);
//! builder.get(1);
//! builder.op(add);
//! builder.end();
//! builder.finish()?;
//! builder.entry_wrapper(1, 0, &signature); // what C can call
//! builder.finish()?;
//! let program = unit.finish()?;
//!
//! let stack = Stack::new(1 << 16)?;
//! let mut context = Context::new(stack.limit(), std::ptr::null());
//! let entry = program.entry(1).expect("function 1 was compiled");
//! // SAFETY: the wrapper takes its arguments from the first slots of the stack, and calls no helper.
//! let sum = unsafe {
//!     stack.base().write(40);
//!     stack.base().add(1).write(2);
//!     call(&program, entry, &mut context, stack.base(), std::ptr::null_mut()).expect("it cannot trap");
//!     stack.base().read()
//! };
//! assert_eq!(sum, 42);
//! # Ok(())
//! # }
//! ```
//!
//! **When not to use it:** for peak speed of long-running code, or where executable memory is forbidden
//! ([`jit_available`]). **Trust:** a pack is machine code. Checks catch damage, not malice: embed packs, or open files that are signed
//! with a key you trust ([`TrustedKeys`]).

mod buffer;
mod builder;
mod context;
mod error;
mod evaluator;
mod forms;
mod hint;
mod holes;
mod memory;
mod pack;
mod part;
mod plan;
pub mod plugin;
mod program;
mod select;
mod sites;
mod templates;
mod trap;
mod trust;
mod unit;

pub use buffer::Emitted;
pub use builder::{FunctionBuilder, Signature};
pub use context::{Context, Helper};
pub use copatch_spec as spec;
pub use copatch_spec::types::ValueType;
pub use error::{Error, Result};
pub use evaluator::{EvalOutcome, Evaluators};
pub use forms::Values;
pub use memory::{Bulk, Code, CodeSpace, MemoryError, Reservation, Stack, jit_available};
pub use pack::{OpId, Pack};
pub use part::{Part, Parts};
pub use plan::{Plan, Planner};
pub use program::{Program, TrapSite};
pub use select::{host_triple, is_for};
pub use trap::{
    HostGuard, Interrupt, Reason, Running, Trap, call, helper_guard, kind as trap_kind,
    native_stack_left,
};
pub use trust::{PackFolder, TrustedKeys};
pub use unit::Unit;
