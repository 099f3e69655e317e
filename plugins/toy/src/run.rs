//! Machine code to output: what compiled code needs around it.
#![allow(unsafe_code)] // Calls generated code, and is called back by it.

use std::mem::offset_of;
use std::sync::Arc;

use copatch::{Context, Helper, Pack, Stack, Trap, helper_guard, native_stack_left, trap_kind};

use crate::compile::{self, Code};
use crate::interpret::Output;
use crate::program::{Program, Type};

/// Bytes for the frames of nested calls, at most.
const STACK: usize = 8 << 20;
/// Bytes of native stack that helpers may use.
const HELPERS_STACK: usize = 256 << 10;

/// A compiled program. Runs share nothing, so one value may run on many threads.
#[derive(Debug)]
pub struct Executable {
    code: Code,
    array: usize,
    /// How many parameters each function has, and the type of its result.
    shapes: Vec<(usize, Option<Type>)>,
}

/// How a run of compiled code ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program did something that it must not.
    #[error("{0}")]
    Trap(Trap),
    /// There is no such function, or it takes other arguments.
    #[error("no function of that number takes that many arguments")]
    Usage,
    /// The memory that a run needs cannot be had.
    #[error(transparent)]
    Memory(#[from] copatch::MemoryError),
}

/// Mirrors `struct toy_context` of `spec/isa/toy/ops.h`.
#[repr(C)]
struct Environment {
    core: Context,
    elements: *mut u64,
    length: u64,
}

const _: () =
    assert!(offset_of!(Environment, elements) == 64 && offset_of!(Environment, length) == 72);

/// What [`Context::host`] points at.
struct Host<'o> {
    output: &'o mut dyn Output,
}

/// By the numbers of [`compile::helper`].
static HELPERS: [Helper; 4] = [print_int, print_float, print_bool, put];

impl Executable {
    /// Compiles a program for this machine.
    ///
    /// # Errors
    /// When the pack lacks an operation, or code has no place.
    pub fn new(program: &Program, pack: &Arc<Pack>) -> copatch::Result<Self> {
        Self::with_trace(program, pack, false)
    }

    /// The same, remembering each stencil for [`copatch::Program::listing`] if `trace` says so.
    ///
    /// # Errors
    /// When the pack lacks an operation, or code has no place.
    pub fn with_trace(program: &Program, pack: &Arc<Pack>, trace: bool) -> copatch::Result<Self> {
        let shape = |function: &crate::program::Function| {
            (function.header.params.len(), function.header.result)
        };
        Ok(Self {
            code: compile::compile(program, pack, trace)?,
            array: program
                .array
                .as_ref()
                .map_or(0, |array| array.length as usize),
            shapes: program.functions.iter().map(shape).collect(),
        })
    }

    pub(crate) fn code(&self) -> &Code {
        &self.code
    }

    /// The machine code.
    pub fn program(&self) -> &copatch::Program {
        &self.code.program
    }

    /// Calls the function of that number. Arguments and the result are words: an integer, the bits of a float, 0 or 1.
    ///
    /// # Errors
    /// When it does not run to its end.
    pub fn run(
        &self,
        function: usize,
        arguments: &[u64],
        output: &mut dyn Output,
    ) -> Result<Option<u64>, RunError> {
        let Some((params, result)) = self.shapes.get(function).copied() else {
            return Err(RunError::Usage);
        };
        let entry = self
            .code
            .program
            .entry((self.shapes.len() + function) as u32)
            .ok_or(RunError::Usage)?;
        if arguments.len() != params {
            return Err(RunError::Usage);
        }
        let mut array = vec![0u64; self.array];
        // A call takes no more of the native stack than of this one, so this one ends first.
        let native = native_stack_left().unwrap_or(STACK);
        let stack = Stack::new(native.saturating_sub(HELPERS_STACK).min(STACK))?;
        let mut host = Host { output };
        let mut environment = Environment {
            core: Context::new(stack.limit(), HELPERS.as_ptr()),
            elements: array.as_mut_ptr(),
            length: array.len() as u64,
        };
        environment.core.host = (&raw mut host).cast();
        let frame = stack.base();
        // SAFETY: the stack is new and holds far more than the at most 255 parameters of a function.
        unsafe { std::ptr::copy_nonoverlapping(arguments.as_ptr(), frame, arguments.len()) };
        // SAFETY: the entry is that of an entry wrapper of this program, which takes its parameters from the frame;
        // context, helpers, array and stack outlive the call and belong to it alone. Operations of the language access
        // the array only after a check against `length`, and no linear memory.
        let ended = unsafe {
            copatch::call(
                &self.code.program,
                entry,
                (&raw mut environment).cast(),
                frame,
                std::ptr::null_mut(),
            )
        };
        ended.map_err(RunError::Trap)?;
        // SAFETY: the wrapper wrote the result, if there is one, to slot 0; the stack is still there.
        Ok(result.map(|ty| word(ty, unsafe { *frame })))
    }
}

/// A slot's word as a value: a bool fills only the low half of its slot.
fn word(ty: Type, slot: u64) -> u64 {
    if ty == Type::Bool {
        slot & 0xffff_ffff
    } else {
        slot
    }
}

/// Gives a helper's argument and the output to `body`.
///
/// # Safety
/// Only compiled code of [`Executable::run`] may call the helper, with its context and the slot of one argument.
unsafe fn with_output(
    context: *mut Context,
    slots: *mut u64,
    body: impl FnOnce(&mut dyn Output, u64) -> std::io::Result<()>,
) -> u32 {
    let write = || {
        // SAFETY: `run` set `host` to a value that lives until the compiled code has ended, and nobody else refers to it
        // meanwhile; the slot lies in the caller's frame.
        let (host, slot) = unsafe { (&mut *(*context).host.cast::<Host>(), *slots) };
        body(host.output, slot).map_err(|_| trap_kind::HOST_ERROR)
    };
    // SAFETY: the context is the one that the helper was called with.
    unsafe { helper_guard(context, write) }
}

unsafe extern "C" fn print_int(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: called by compiled code with its context and an i64.
    unsafe { with_output(context, slots, |output, slot| output.print(Type::Int, slot)) }
}

unsafe extern "C" fn print_float(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: called by compiled code with its context and an f64.
    unsafe {
        with_output(context, slots, |output, slot| {
            output.print(Type::Float, slot)
        })
    }
}

unsafe extern "C" fn print_bool(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: called by compiled code with its context and an i32.
    unsafe {
        with_output(context, slots, |output, slot| {
            output.print(Type::Bool, word(Type::Bool, slot))
        })
    }
}

unsafe extern "C" fn put(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: called by compiled code with its context and an i64.
    unsafe { with_output(context, slots, |output, slot| output.put(slot as u8)) }
}
