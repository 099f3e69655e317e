//! Running compiled code: entering it, and leaving it through a trap.
//!
//! ```text
//! call ──► entry stencil ──► compiled code ──► returns, or faults
//!   ▲                                               │ signal
//!   └─ unwind stencil ◄── handler: is there a site at this address?
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`call`], [`Trap`], [`helper_guard`] |
//! | `handler.rs` | the signal handler |
//! | `interrupt.rs` | stopping compiled code from another thread |
//! | `registry.rs` | which program an address belongs to, readable from the handler |
//! | `thread.rs` | what a thread needs before it runs compiled code |
//! | `ucontext.rs` | the interrupted registers, per architecture |
#![allow(unsafe_code)] // Calls generated code and handles signals.

mod handler;
mod interrupt;
pub(crate) mod registry;
mod thread;
mod ucontext;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null_mut;

use crate::context::Context;
use crate::program::Program;

pub(crate) use handler::install;
pub use interrupt::{HostGuard, Interrupt, Reason, Running};
pub use thread::native_stack_left;
pub(crate) use ucontext::supported;

/// Numbers of the traps of the `core` table, which every instruction set begins with.
pub mod kind {
    /// Frames, or the native stack under compiled code, are used up.
    pub const STACK_OVERFLOW: u8 = 0;
    /// An access outside linear memory.
    pub const OUT_OF_BOUNDS: u8 = 1;
    /// A helper failed, for reasons that its host knows.
    pub const HOST_ERROR: u8 = 2;
    /// Stopped from outside, see [`Interrupt`](super::Interrupt).
    pub const INTERRUPTED: u8 = 3;
    /// Control reached a place that the program says is not reached.
    pub const UNREACHABLE: u8 = 4;
}

/// Compiled code stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Number of the trap; [`Pack::trap_name`](crate::Pack::trap_name) tells its name.
    pub kind: u8,
    /// The function it happened in, by its number in the program; `None` where that is not known (the native stack ran
    /// out between functions).
    pub function: Option<u32>,
    /// The front end's offset of what was executed.
    pub source: Option<u32>,
    /// The address of the machine instruction.
    pub pc: usize,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trap {}", self.kind)?;
        if let Some(function) = self.function {
            write!(f, " in function {function}")?;
        }
        if let Some(source) = self.source {
            write!(f, " at offset {source:#x}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Trap {}

/// The entry stencil, `core.entry`.
type Shim = unsafe extern "C" fn(*mut Context, frame: *mut u8, memory: *mut u8, code: usize) -> u32;

/// Calls the compiled function at address `target` of `program`.
///
/// `frame` is the address of slot 0 of its frame, `memory` the base of linear memory (anything, if the program accesses
/// none). Calls nest: a helper may call compiled code again, with frames beyond [`Context::exit_frame`].
///
/// # Errors
/// The trap that ended it. Frames then hold whatever they held.
///
/// # Panics
/// Resumes the panic of a helper that ran under [`helper_guard`].
///
/// # Safety
/// - `target` is the entry of a function of `program` that takes its parameters from frame slots, or none.
/// - `context` points to a context whose `helpers` has every helper that the code calls, and whose `stack_limit` is that of
///   the [`Stack`](crate::memory::Stack) that `frame` lies on; no other thread uses either meanwhile.
/// - `frame` is aligned to 8 bytes and not above `stack_limit`, and its slots hold the function's parameters.
/// - `memory` is what the front end's operations take it for: every access they can compute is in bounds, or faults.
/// - Every program that the code can reach through pointers stays alive meanwhile.
#[inline]
pub unsafe fn call(
    program: &Program,
    target: usize,
    context: *mut Context,
    frame: *mut u64,
    memory: *mut u8,
) -> Result<(), Trap> {
    thread::prepare();
    // SAFETY: the pack's entry stencil, placed at that address by the unit, has this C signature.
    let shim = unsafe { std::mem::transmute::<usize, Shim>(program.shim()) };
    // SAFETY: the caller vouches for code, context, frame and memory; the shim keeps what the C convention wants kept.
    let status = unsafe {
        shim(
            context,
            frame.cast::<u8>().wrapping_add(program.frame_bias()),
            memory,
            target,
        )
    };
    if status == 0 {
        return Ok(());
    }
    // SAFETY: as above; compiled code has been left.
    Err(unsafe { trapped(context) })
}

/// Why compiled code was left, which the handler noted for this thread.
#[cold]
unsafe fn trapped(context: *mut Context) -> Trap {
    let mut trap = thread::take_trap();
    // SAFETY: the context is the caller's of `call`, and no compiled code uses it now.
    let context = unsafe { &mut *context };
    let panic = std::mem::replace(&mut context.panic, null_mut());
    if !panic.is_null() {
        context.trap = 0;
        // SAFETY: only `fail` sets the field, to a box turned into a pointer, and it has just been cleared.
        let payload = unsafe { Box::from_raw(panic) };
        resume_unwind(*payload);
    }
    if trap.kind == kind::HOST_ERROR
        && let Some(kind) = std::mem::take(&mut context.trap).checked_sub(1)
    {
        trap.kind = kind as u8;
    }
    trap
}

/// The body of every helper: runs `body`, and keeps a panic from unwinding into compiled code.
///
/// `body` gives `Ok`, or the number of the trap that the call of compiled code shall end with:
/// [`kind::HOST_ERROR`], if the reason lies with the host. A panic is resumed by the nearest [`call`]. The value returned
/// is the helper's own.
///
/// ```
/// # use copatch::{Context, helper_guard};
/// unsafe extern "C" fn double(context: *mut Context, slots: *mut u64) -> u32 {
///     // SAFETY: compiled code calls helpers with its context and with a slot for each argument.
///     unsafe { helper_guard(context, || { *slots *= 2; Ok(()) }) }
/// }
/// ```
///
/// # Safety
/// `context` is the one that the helper was called with.
pub unsafe fn helper_guard(context: *mut Context, body: impl FnOnce() -> Result<(), u8>) -> u32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        // SAFETY: the caller's promise.
        Ok(Err(kind)) => unsafe { fail(context, kind, None) },
        // SAFETY: the caller's promise.
        Err(payload) => unsafe { fail(context, kind::HOST_ERROR, Some(payload)) },
    }
}

#[cold]
unsafe fn fail(context: *mut Context, kind: u8, panic: Option<Box<dyn Any + Send>>) -> u32 {
    // SAFETY: the context of a running call is valid, and only this thread uses it.
    let context = unsafe { &mut *context };
    context.trap = u64::from(kind) + 1;
    if let Some(payload) = panic {
        context.panic = Box::into_raw(Box::new(payload));
    }
    1
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
