//! What a thread needs before it runs compiled code: a stack for signal handlers, and a place for what they find.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;

use super::Trap;

/// Bytes of a signal stack that suffice for this handler and for the one it may pass the signal on to.
const SIGNAL_STACK: usize = 64 << 10;

/// Plain cells without a destructor: a signal handler may touch them.
struct State {
    prepared: Cell<bool>,
    trap: Cell<Trap>,
    /// Lowest address of the native stack; 0 if not known yet, 1 if it cannot be known.
    stack_bottom: Cell<usize>,
}

thread_local! {
    static STATE: State = const {
        State {
            prepared: Cell::new(false),
            trap: Cell::new(Trap { kind: super::kind::UNREACHABLE, function: None, source: None, pc: 0 }),
            stack_bottom: Cell::new(0),
        }
    };
    static STACK: SignalStack = const { SignalStack { base: Cell::new(null_mut()) } };
}

/// Readies the current thread; costs a comparison after the first time.
#[inline]
pub(super) fn prepare() {
    if !STATE.with(|state| state.prepared.get()) {
        prepare_slowly();
    }
}

#[cold]
fn prepare_slowly() {
    // While a thread ends, its destructors may still run compiled code; then traps are handled on the native stack.
    let _ = STACK.try_with(SignalStack::install);
    STATE.with(|state| state.prepared.set(true));
}

/// Notes a trap for [`take_trap`]. Async-signal-safe on a thread that is prepared.
pub(super) fn note_trap(trap: Trap) {
    STATE.with(|state| state.trap.set(trap));
}

/// The trap noted last on this thread.
pub(super) fn take_trap() -> Trap {
    STATE.with(|state| state.trap.get())
}

/// Memory for signal handlers of this thread, if it had too little; given back when the thread ends.
struct SignalStack {
    base: Cell<*mut c_void>,
}

impl SignalStack {
    fn install(&self) {
        if current().is_some_and(|stack| {
            stack.ss_flags & libc::SS_DISABLE == 0 && stack.ss_size >= SIGNAL_STACK
        }) {
            return;
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let base = unsafe {
            libc::mmap(
                null_mut(),
                SIGNAL_STACK,
                protection,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            // Without memory for it, traps are handled on the stack that the thread has.
            return;
        }
        let stack = libc::stack_t {
            ss_sp: base,
            ss_flags: 0,
            ss_size: SIGNAL_STACK,
        };
        // SAFETY: the memory is this thread's until the destructor disables its use.
        if unsafe { libc::sigaltstack(&raw const stack, null_mut()) } == 0 {
            self.base.set(base);
        } else {
            // SAFETY: mapped above and not in use.
            unsafe { libc::munmap(base, SIGNAL_STACK) };
        }
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        let base = self.base.get();
        if base.is_null() {
            return;
        }
        if current().is_some_and(|stack| stack.ss_sp == base) {
            let none = libc::stack_t {
                ss_sp: null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: SIGNAL_STACK,
            };
            // SAFETY: disabling needs no memory.
            if unsafe { libc::sigaltstack(&raw const none, null_mut()) } != 0 {
                return;
            }
        }
        // SAFETY: mapped by `install`, and no longer the thread's signal stack.
        unsafe { libc::munmap(base, SIGNAL_STACK) };
    }
}

/// The thread's signal stack as the system knows it.
fn current() -> Option<libc::stack_t> {
    let mut stack = libc::stack_t {
        ss_sp: null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    // SAFETY: only asks.
    (unsafe { libc::sigaltstack(std::ptr::null(), &raw mut stack) } == 0).then_some(stack)
}

/// Bytes of native stack between here and the end of the current thread's stack; `None` where the system cannot tell.
///
/// Compiled functions keep return addresses on the native stack, at most 16 bytes a call. An embedder that gives them a
/// [`Stack`](crate::memory::Stack) of fewer bytes than this, less what its helpers need, has the limit check of frames act
/// before the native stack ends.
pub fn native_stack_left() -> Option<usize> {
    let bottom = STATE.with(|state| {
        if state.stack_bottom.get() == 0 {
            state.stack_bottom.set(stack_bottom().unwrap_or(1));
        }
        state.stack_bottom.get()
    });
    let here = (&raw const bottom) as usize;
    if bottom == 1 {
        None
    } else {
        here.checked_sub(bottom)
    }
}

/// The lowest address of the current thread's stack that may be used.
fn stack_bottom() -> Option<usize> {
    // SAFETY: all-zero bytes are a valid pthread_attr_t to be overwritten.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: fills in the attributes of the calling thread.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) } != 0 {
        return None;
    }
    let (mut base, mut size, mut guard) = (null_mut(), 0, 0);
    // SAFETY: the attributes were filled in above and are destroyed below, once.
    let found = unsafe {
        let found =
            libc::pthread_attr_getstack(&raw const attributes, &raw mut base, &raw mut size) == 0
                && libc::pthread_attr_getguardsize(&raw const attributes, &raw mut guard) == 0;
        libc::pthread_attr_destroy(&raw mut attributes);
        found
    };
    found.then_some(base as usize + guard)
}
