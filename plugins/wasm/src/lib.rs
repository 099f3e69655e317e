//! WebAssembly on copatch: modules are validated and compiled in one visit, by copying and patching stencils.
//!
//! ```text
//! bytes ──► module (sections) ──► prescan ──► compile (one visit: decode, validate, generate) ──► Module
//!                                                        Module + Linker ──► Instance ──► invoke
//! ```
//!
//! | phase | file |
//! |---|---|
//! | sections become a description | `module` |
//! | what is known of each instruction | `opcodes` |
//! | a look ahead at each function: uses of locals, calls | `prescan` |
//! | each body in one visit: decoded, validated, generated | `compile`: `visit`, `validate`, `generate` |
//! | where an instance's words lie | `layout` |
//! | memory, tables, globals, segments | `state`, `memory`, `table` |
//! | calls in and out | `instance`, `helpers`, `linker` |
//! | WASI preview 1 | `wasi` |
//! | the front end of the command line | `front_end` |
//!
//! Supported: WebAssembly 1.0 with sign extension, saturating conversions, multi-value and bulk memory; imports of functions
//! and immutable globals. What is not supported is refused by name and offset.
//!
//! ```
//! use copatch_wasm::{Engine, Linker, Module, Value};
//!
//! // (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
//! let bytes = b"\0asm\x01\0\0\0\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\x03\x02\x01\0\x07\x07\x01\x03add\0\0\
//!     \x0a\x09\x01\x07\0\x20\0\x20\x01\x6a\x0b";
//! let module = Module::new(&Engine::new()?, bytes)?;
//! let mut instance = Linker::new().instantiate(&module, ())?;
//! assert_eq!(instance.invoke("add", &[Value::I32(40), Value::I32(2)])?, [Value::I32(42)]);
//! # Ok::<(), copatch_wasm::Error>(())
//! ```
//!
//! When not to use it: for code that must be as fast as an optimising compiler makes it, or where executable memory is
//! forbidden. Modules are not trusted: they cannot reach anything but their own memory and what a [`Linker`] provides.

#[cfg(test)]
extern crate self as copatch_wasm;

mod compile;
mod cursor;
mod engine;
mod error;
mod facts;
mod front_end;
mod generate;
mod helpers;
mod instance;
mod layout;
mod linker;
mod memory;
mod module;
mod names;
mod opcodes;
mod prescan;
mod state;
mod table;
mod validate;
mod value;
mod visit;
pub mod wasi;

pub use copatch::plugin::Timings;
pub use copatch::{Signature, ValueType};
pub use engine::Engine;
pub use error::{Error, HostError, Trap, TrapCode};
pub use front_end::Wasm;
pub use instance::{Caller, Instance};
pub use linker::Linker;
pub use module::Module;
pub use value::Value;
