//! The registers of an interrupted thread that the trap handler looks at: program counter and stack pointer.
//!
//! The only file of the engine that has a register's name in it.

use std::ffi::c_void;

/// Registers within the system's `ucontext_t`.
pub(super) struct Registers {
    /// The program counter, where execution goes on when the handler returns.
    pub pc: *mut usize,
    /// The stack pointer.
    pub sp: usize,
}

/// Whether traps can be handled on this system.
pub(crate) const fn supported() -> bool {
    cfg!(all(
        target_os = "linux",
        any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64"
        )
    ))
}

/// Whether functions of C keep the context's register, as they do where `preserve_none` chose it. On riscv64 it is one of
/// C's own argument registers, and code that calls a helper has its value elsewhere meanwhile.
pub(super) const C_KEEPS_CONTEXT: bool = !cfg!(target_arch = "riscv64");

/// The registers in the third argument of a signal handler.
///
/// # Safety
/// `context` is that argument, and the handler has not returned.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) unsafe fn registers(context: *mut c_void) -> Option<Registers> {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes a pointer to a ucontext_t, which is the handler's to change.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    let sp = registers[libc::REG_RSP as usize] as usize;
    Some(Registers {
        pc: (&raw mut registers[libc::REG_RIP as usize]).cast(),
        sp,
    })
}

/// As above.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
pub(super) unsafe fn registers(context: *mut c_void) -> Option<Registers> {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes a pointer to a ucontext_t, which is the handler's to change.
    let registers = unsafe { &mut (*context).uc_mcontext };
    Some(Registers {
        pc: (&raw mut registers.pc).cast(),
        sp: registers.sp as usize,
    })
}

/// As above.
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
pub(super) unsafe fn registers(context: *mut c_void) -> Option<Registers> {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes a pointer to a ucontext_t, which is the handler's to change.
    let registers = unsafe { &mut (*context).uc_mcontext.__gregs };
    Some(Registers {
        pc: (&raw mut registers[libc::REG_PC]).cast(),
        sp: registers[libc::REG_SP] as usize,
    })
}

/// No pack exists for other systems, so no generated code ever faults there.
#[cfg(not(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
)))]
pub(super) unsafe fn registers(_context: *mut c_void) -> Option<Registers> {
    None
}
