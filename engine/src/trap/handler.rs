//! The signal handler: turns a fault at a known site of compiled code into a trap, and passes on everything else.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Once;

use super::{Trap, kind, registry, thread, ucontext};

/// The signals that faults and trap instructions raise on one system or another.
const SIGNALS: [libc::c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGFPE,
];

/// What handled each of [`SIGNALS`] before.
struct Previous(std::cell::UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS.len()]>);

// SAFETY: each element is written once, by `install` under its `Once`, before the handler of that signal exists; from then
// on it is only read.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(std::cell::UnsafeCell::new(
    [const { MaybeUninit::uninit() }; SIGNALS.len()],
));

/// Installs the handler, once for the process. Handlers that were there before keep their work.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for (index, signal) in SIGNALS.into_iter().enumerate() {
            // SAFETY: the array is written here only, under the Once, and `index` is within it. The first call only asks,
            // so that what it tells is in place before the handler can run.
            unsafe {
                let previous = (*PREVIOUS.0.get())[index].as_mut_ptr();
                previous.write(std::mem::zeroed());
                libc::sigaction(signal, std::ptr::null(), previous);
            }
            // SAFETY: all-zero bytes are a valid sigaction; the fields that matter are set.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: `handle` has the signature that SA_SIGINFO asks for and is async-signal-safe. The call cannot fail
            // for these signals.
            unsafe {
                libc::sigemptyset(&raw mut action.sa_mask);
                libc::sigaction(signal, &raw const action, null_mut());
            }
        }
    });
}

unsafe extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the arguments are those of a signal handler.
    unsafe {
        if !take(info, context) {
            pass_on(signal, info, context);
        }
    }
}

/// If the thread stopped where compiled code may trap, notes the trap and lets the thread go on in the unwind stencil.
unsafe fn take(info: *mut libc::siginfo_t, context: *mut c_void) -> bool {
    // SAFETY: `context` is the handler's third argument.
    let Some(registers) = (unsafe { ucontext::registers(context) }) else {
        return false;
    };
    // SAFETY: points into the handler's ucontext.
    let pc = unsafe { registers.pc.read() };
    // SAFETY: if `pc` lies in a program, this thread is running it, so that its owner keeps it alive (see `call`).
    let Some(image) = (unsafe { registry::find(pc) }) else {
        return false;
    };
    // SAFETY: `info` is the handler's second argument. Signals that a process sent (code ≤ 0) are no faults.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code <= 0 {
        return false;
    }
    let trap = match image.site(pc) {
        Some(site) => Trap {
            kind: site.kind,
            function: Some(site.function),
            source: Some(site.source),
            pc,
        },
        // Compiled code touches the native stack only to push return addresses, so a fault just below the stack pointer
        // means that the stack is used up.
        None if address.wrapping_sub(registers.sp.wrapping_sub(PUSH)) < 2 * PUSH => Trap {
            kind: kind::STACK_OVERFLOW,
            function: None,
            source: None,
            pc,
        },
        None => return false,
    };
    thread::note_trap(trap);
    // The context's register is intact wherever compiled code faults, and the unwind stencil needs nothing more.
    // SAFETY: points into the handler's ucontext, which the system restores registers from.
    unsafe { registers.pc.write(image.unwind()) };
    true
}

/// More than any single push or prologue store.
const PUSH: usize = 64;

/// Does what would have happened without this handler.
unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(index) = SIGNALS.iter().position(|known| *known == signal) else {
        return;
    };
    // SAFETY: written before the handler of this signal was installed, and never after.
    let previous = unsafe { (*PREVIOUS.0.get())[index].assume_init_ref() };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: `info` is the handler's second argument.
            let sent = unsafe { (*info).si_code } <= 0;
            if sent && previous.sa_sigaction == libc::SIG_IGN {
                return;
            }
            // SAFETY: both calls are async-signal-safe. The signal is blocked until this handler returns; then the
            // faulting instruction faults again, or the signal raised here arrives, and the process ends by it.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if sent || signal == libc::SIGTRAP {
                    libc::raise(signal);
                }
            }
        }
        // SAFETY: it is a function's address, and gets what it would have got.
        _ => unsafe { call(previous, signal, info, context) },
    }
}

/// Calls the handler that `previous` names, with the arguments of the handler that took its place.
///
/// # Safety
/// `previous` names a function, neither `SIG_DFL` nor `SIG_IGN`, and the other arguments are those of a signal handler.
pub(super) unsafe fn call(
    previous: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        type Handler = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void);
        // SAFETY: SA_SIGINFO says that the handler has this signature.
        unsafe {
            std::mem::transmute::<usize, Handler>(previous.sa_sigaction)(signal, info, context)
        };
    } else {
        type Handler = unsafe extern "C" fn(libc::c_int);
        // SAFETY: without SA_SIGINFO the handler has this signature.
        unsafe { std::mem::transmute::<usize, Handler>(previous.sa_sigaction)(signal) };
    }
}
