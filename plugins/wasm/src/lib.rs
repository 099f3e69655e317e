//! WebAssembly on copatch: modules are validated and compiled in one visit, by copying and patching stencils.
//!
//! ```text
//! bytes ──► module (sections) ──► prescan ──► compile (one visit: decode, validate, generate) ──► Module
//!                                             Module + Store + imports (Linker) ──► Instance ──► Func::call
//! ```
//!
//! | phase | file |
//! |---|---|
//! | sections become a description | `module`, `types`, `data` |
//! | what is known of each instruction | `opcodes` |
//! | a look ahead at each function: uses of locals, calls | `prescan` |
//! | each body in one visit: decoded, validated, generated | `compile`: `visit`, `validate`, `generate` |
//! | bodies on several threads | `parallel` |
//! | code that leads into functions from outside | `stubs` |
//! | where an instance's words lie | `layout`, `context` |
//! | what a store owns | `store`, `opaque`, `record`, `memory`, `table` |
//! | linking | `linker`, `instance` |
//! | calls in and out | `call`, `func`, `typed` |
//! | what instructions on memories and tables do | `helpers`, `bulk` |
//! | limits and interruption | `limits`, `interrupt` |
//! | WASI preview 1 | `wasi` |
//! | the front end of the command line | `front_end` |
//!
//! Supported: WebAssembly 2.0, vectors included, extended constant expressions, and tail calls. What is not supported is refused
//! by name and offset.
//!
//! A chain of tail calls takes no stack as long as it stays in one instance, through tables too. A tail call to a host function
//! or to another instance is a call and a return, so that a chain that crosses from instance to instance takes stack for each
//! crossing.
//!
//! The interface is that of `wasmtime` and `wasmi` as far as ordinary programs use it: moving over from them is an edit of
//! `Cargo.toml` and of imports. Handles ([`Instance`], [`Func`], [`Memory`], [`Table`], [`Global`]) are numbers in a
//! [`Store`], which owns what they stand for.
//!
//! ```
//! use copatch_wasm::{Engine, Instance, Module, Store};
//!
//! // (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
//! let bytes = b"\0asm\x01\0\0\0\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\x03\x02\x01\0\x07\x07\x01\x03add\0\0\
//!     \x0a\x09\x01\x07\0\x20\0\x20\x01\x6a\x0b";
//! let engine = Engine::default();
//! let module = Module::new(&engine, bytes)?;
//! let mut store = Store::new(&engine, ());
//! let instance = Instance::new(&mut store, &module, &[])?;
//! let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
//! assert_eq!(add.call(&mut store, (40, 2))?, 42);
//! # Ok::<(), copatch_wasm::Error>(())
//! ```
//!
//! When not to use it: for code that must be as fast as an optimising compiler makes it, or where executable memory is
//! forbidden. Modules are not trusted: they cannot reach anything but what they own and what they are given as imports.
//! [`Store::limiter`] bounds what they own, [`Config::max_wasm_stack`] how deep they call, and
//! [`Store::interrupt_handle`] and [`Store::set_epoch_deadline`] how long they run.

#[cfg(test)]
extern crate self as copatch_wasm;

mod bodies;
mod bulk;
mod call;
mod compile;
mod context;
mod cursor;
mod data;
mod engine;
mod error;
mod externals;
mod facts;
mod front_end;
mod func;
mod generate;
mod helpers;
mod instance;
mod interrupt;
mod layout;
mod limits;
mod linker;
mod memory;
mod module;
mod names;
mod opaque;
mod opcodes;
mod parallel;
mod prescan;
mod record;
mod store;
mod stubs;
mod table;
mod typed;
mod types;
mod validate;
mod value;
mod visit;
pub mod wasi;

pub use copatch::plugin::Timings;
/// What [`Config::packs`] takes.
pub use copatch::{PackFolder, TrustedKeys};
pub use engine::{Config, Engine};
pub use error::{Error, Result, Trap, TrapCode};
pub use externals::{Extern, Global, Memory, MemoryAccessError, Table};
pub use front_end::Wasm;
pub use func::{Caller, Func};
pub use instance::Instance;
pub use interrupt::InterruptHandle;
pub use limits::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
pub use linker::Linker;
pub use module::Module;
pub use store::{AsContext, AsContextMut, Store, StoreContext, StoreContextMut};
pub use typed::{IntoFunc, TypedFunc, WasmParams, WasmResults, WasmRet, WasmTy};
pub use types::{
    ExportType, ExternType, FuncType, GlobalType, ImportType, MemoryType, Mutability, RefType,
    TableType, ValType,
};
pub use value::{ExternRef, Ref, V128, Val};
