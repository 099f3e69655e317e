//! The block of memory that a register of compiled code points at.

use std::any::Any;
use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr::null_mut;

/// A helper: what compiled code calls through [`Context::helpers`].
///
/// `slots` holds its arguments, 8 bytes each, and receives its results. It gives 0, or anything else to end the call of
/// compiled code with a trap. It must not unwind: see [`helper_guard`](crate::trap::helper_guard).
pub type Helper = unsafe extern "C" fn(context: *mut Context, slots: *mut u64) -> u32;

/// The block of memory that a register of compiled code points at; one for each stack of frames.
///
/// Mirrors `struct context` of `spec/isa/core/ops.h`. A front end makes it the first field of a larger `repr(C)`
/// structure, whose other fields its operations reach by offset.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    /// Stack pointer of the nearest entry into compiled code; written by the entry stencil.
    pub(crate) entry_sp: u64,
    /// No frame may begin above this address, see [`Stack::limit`](crate::memory::Stack::limit).
    pub stack_limit: *mut u8,
    /// Not zero: compiled code stops at its next check.
    pub interrupt: u64,
    /// Helpers by number.
    pub helpers: *const Helper,
    /// Frame register of the compiled function that called a helper.
    pub exit_frame: u64,
    /// What a helper failed with: 1 + the number of a trap, 0 for none.
    pub(crate) trap: u64,
    /// The embedding's own.
    pub host: *mut c_void,
    /// A helper's panic on its way to the nearest [`call`](crate::trap::call).
    pub(crate) panic: *mut Box<dyn Any + Send>,
}

impl Context {
    /// A context for frames below `stack_limit` with these helpers; everything else is zero.
    pub const fn new(stack_limit: *mut u8, helpers: *const Helper) -> Self {
        Self {
            entry_sp: 0,
            stack_limit,
            interrupt: 0,
            helpers,
            exit_frame: 0,
            trap: 0,
            host: null_mut(),
            panic: null_mut(),
        }
    }
}

// The offsets that ops.h and the assembly of spec/target rely on.
const _: () = {
    assert!(offset_of!(Context, entry_sp) == 0);
    assert!(offset_of!(Context, stack_limit) == 8);
    assert!(offset_of!(Context, interrupt) == 16);
    assert!(offset_of!(Context, helpers) == 24);
    assert!(offset_of!(Context, exit_frame) == 32);
    assert!(offset_of!(Context, trap) == 40);
    assert!(offset_of!(Context, host) == 48);
    assert!(offset_of!(Context, panic) == 56);
    assert!(size_of::<Context>() == 64);
};
