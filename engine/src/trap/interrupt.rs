//! Stopping compiled code from another thread, at no cost to the code: a flag, and a signal to the thread that runs.
//!
//! ```text
//! request ──► flag ──► signal ──► handler, on the thread that runs
//!    ▲                              ├─ in the body of a function: continues in the unwind stencil ──► done
//!    │                              ├─ in a host function, or not running: whoever leaves it looks at the flag ──► done
//!    └──────── asks again ◄─────────┴─ elsewhere (entering, leaving, in a helper), which does not last
//! ```
//!
//! The handler runs on the very thread that changes `mode` and looks at the flag, so it sees both as of the instruction where
//! the thread stopped; no fence is needed between them.

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering, compiler_fence};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use super::{Trap, kind, registry, thread, ucontext};

/// A signal that is ignored by default and that hardly anything else uses.
const SIGNAL: libc::c_int = libc::SIGURG;

/// Not on any thread.
const AWAY: u8 = 0;
/// In compiled code, on the way there or back, or in a helper.
const COMPILED: u8 = 1;
/// In a host function, after which the flag is looked at.
const HOST: u8 = 2;

/// What the handler found.
const NO_ANSWER: u8 = 0;
const DONE: u8 = 1;
const AGAIN: u8 = 2;

#[derive(Debug, Default)]
struct Shared {
    /// The bits of those [`Reason`]s for which it is to stop.
    requested: AtomicU8,
    /// Whether somebody was told of the request.
    delivered: AtomicBool,
    mode: AtomicU8,
    answer: AtomicU8,
    /// The thread that runs; set while the mode is not `AWAY`.
    thread: Mutex<Option<libc::pthread_t>>,
    /// Held while asking.
    asking: Mutex<()>,
    /// The next one that the same thread runs; only that thread looks at it.
    outer: AtomicPtr<Shared>,
}

thread_local! {
    /// The list of what this thread runs, innermost first.
    static RUNNING: Cell<*const Shared> = const { Cell::new(null()) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a program is to be stopped: one reason can be taken back and leaves the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody wants it.
    Asked = 1,
    /// Its time is over.
    Deadline = 2,
}

/// A means to stop a program from another thread. Clones are the same one.
///
/// A program can be stopped while it runs between [`Interrupt::enter`] and the end of what that returns. It ends with
/// [`kind::INTERRUPTED`](super::kind::INTERRUPTED). Host functions are not stopped; they mark themselves with
/// [`Interrupt::host`].
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

impl Interrupt {
    /// A new one, for programs that run one at a time on one thread, nested ones included.
    pub fn new() -> Self {
        install();
        Self::default()
    }

    /// Asks to stop what runs now; or, if nothing does, what runs next.
    ///
    /// Returns when the thread that runs has noticed: at once if it is in a host function, else after microseconds, or
    /// when it gets a processor. A thread that blocks SIGURG notices only at the next host function; on riscv64 one that
    /// does hardly anything but call helpers may take a tenth of a second.
    pub fn request(&self, reason: Reason) {
        let shared = &*self.shared;
        shared.requested.fetch_or(reason as u8, Ordering::SeqCst);
        let _asking = lock(&shared.asking);
        let mut pause = Duration::from_micros(20);
        loop {
            {
                let thread = lock(&shared.thread);
                let Some(thread) = *thread else { return };
                if shared.requested.load(Ordering::SeqCst) == 0 {
                    return;
                }
                shared.answer.store(NO_ANSWER, Ordering::SeqCst);
                // SAFETY: the thread is alive, since it takes itself out of `shared.thread` under the lock that is held, which
                // `enter` has its caller promise.
                unsafe { libc::pthread_kill(thread, SIGNAL) };
            }
            for round in 0..1000 {
                match shared.answer.load(Ordering::SeqCst) {
                    NO_ANSWER if round < 20 => std::thread::yield_now(),
                    NO_ANSWER => {
                        if lock(&shared.thread).is_none() {
                            return;
                        }
                        std::thread::sleep(Duration::from_micros(50));
                    }
                    DONE => return,
                    _ => break,
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
    }

    /// Whether to stop. Whoever is told so stops.
    #[inline]
    pub fn check(&self) -> bool {
        // The handler on this thread looks at `mode` and the flag in the other order.
        compiler_fence(Ordering::SeqCst);
        let requested = self.shared.requested.load(Ordering::Relaxed) != 0;
        if requested {
            self.shared.delivered.store(true, Ordering::Relaxed);
        }
        requested
    }

    /// Takes back a request for that reason that nobody was told of yet.
    pub fn clear(&self, reason: Reason) {
        let shared = &*self.shared;
        shared
            .requested
            .fetch_and(!(reason as u8), Ordering::SeqCst);
    }

    /// Marks that the current thread runs compiled code until the guard is dropped. Call [`Interrupt::check`] before
    /// that code is entered. Calls nest. When the outermost guard is dropped, a request that somebody was told of is over.
    ///
    /// # Panics
    /// If another thread is running it.
    ///
    /// # Safety
    /// The guard is dropped, not forgotten, and before those that this thread had from this function earlier: a signal handler
    /// follows the list of them, and the thread's name is used as long as they live.
    pub unsafe fn enter(&self) -> Running<'_> {
        let shared = &*self.shared;
        let before = shared.mode.load(Ordering::Relaxed);
        if before == AWAY {
            thread::prepare();
            // SAFETY: asks for the current thread's own name.
            let this = unsafe { libc::pthread_self() };
            let earlier = lock(&shared.thread).replace(this);
            assert!(earlier.is_none(), "it runs on another thread");
            shared
                .outer
                .store(RUNNING.get().cast_mut(), Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            RUNNING.set(shared);
        }
        shared.mode.store(COMPILED, Ordering::Relaxed);
        Running {
            shared,
            before,
            this_thread: PhantomData,
        }
    }

    /// Marks that the current thread runs a host function until the guard is dropped. Call [`Interrupt::check`] after
    /// that.
    #[inline]
    pub fn host(&self) -> HostGuard<'_> {
        let shared = &*self.shared;
        let before = shared.mode.load(Ordering::Relaxed);
        if before == COMPILED {
            shared.mode.store(HOST, Ordering::Relaxed);
        }
        HostGuard {
            shared,
            before,
            this_thread: PhantomData,
        }
    }
}

/// While it lives, the current thread runs compiled code; see [`Interrupt::enter`].
#[derive(Debug)]
pub struct Running<'a> {
    shared: &'a Shared,
    before: u8,
    this_thread: PhantomData<*const ()>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let shared = self.shared;
        shared.mode.store(self.before, Ordering::Relaxed);
        if self.before == AWAY {
            RUNNING.set(shared.outer.load(Ordering::Relaxed));
            compiler_fence(Ordering::SeqCst);
            let mut thread = lock(&shared.thread);
            *thread = None;
            if shared.delivered.swap(false, Ordering::SeqCst) {
                shared.requested.store(0, Ordering::SeqCst);
            }
        }
    }
}

/// While it lives, the current thread runs a host function; see [`Interrupt::host`].
#[derive(Debug)]
pub struct HostGuard<'a> {
    shared: &'a Shared,
    before: u8,
    this_thread: PhantomData<*const ()>,
}

impl Drop for HostGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.mode.store(self.before, Ordering::Relaxed);
    }
}

/// What handled the signal before.
struct Previous(std::cell::UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written once, by `install` under its `Once`, before the handler exists; from then on only read.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(std::cell::UnsafeCell::new(MaybeUninit::uninit()));

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: all-zero bytes are a valid sigaction; the fields that matter are set.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: `PREVIOUS` is written here only, under the Once, before the handler can run; `handle` has the signature
        // that SA_SIGINFO asks for and is async-signal-safe.
        unsafe {
            let previous = (*PREVIOUS.0.get()).as_mut_ptr();
            previous.write(std::mem::zeroed());
            libc::sigaction(SIGNAL, null(), previous);
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(SIGNAL, &raw const action, null_mut());
        }
    });
}

unsafe extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the arguments are those of a signal handler.
    if unsafe { answer(context) } {
        return;
    }
    // SAFETY: written before this handler was installed, and never after.
    let previous = unsafe { (*PREVIOUS.0.get()).assume_init_ref() };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {}
        // SAFETY: it is a function's address, and gets what it would have got.
        _ => unsafe { super::handler::call(previous, signal, info, context) },
    }
}

/// Answers all requests to stop what this thread runs; `false` if there are none.
///
/// # Safety
/// `context` is a signal handler's third argument.
unsafe fn answer(context: *mut c_void) -> bool {
    let mut any = false;
    let mut at = RUNNING.get();
    // SAFETY: what is in the list is alive: guards borrow it, and take it out before they end, the last one first, which `enter` has its
    // caller promise.
    while let Some(shared) = unsafe { at.as_ref() } {
        if shared.requested.load(Ordering::SeqCst) != 0 {
            any = true;
            let answer = match shared.mode.load(Ordering::Relaxed) {
                // SAFETY: the caller's promise.
                COMPILED if !unsafe { stop(context) } => AGAIN,
                COMPILED => {
                    shared.delivered.store(true, Ordering::SeqCst);
                    DONE
                }
                _ => DONE,
            };
            shared.answer.store(answer, Ordering::SeqCst);
        }
        at = shared.outer.load(Ordering::Relaxed);
    }
    any
}

/// If the thread stopped in the body of a compiled function, lets it go on in the unwind stencil.
///
/// # Safety
/// `context` is a signal handler's third argument.
unsafe fn stop(context: *mut c_void) -> bool {
    // SAFETY: the caller's promise.
    let Some(registers) = (unsafe { ucontext::registers(context) }) else {
        return false;
    };
    // SAFETY: points into the handler's ucontext.
    let pc = unsafe { registers.pc.read() };
    // SAFETY: if `pc` lies in a program, this thread is running it, so that its owner keeps it alive (see `call`).
    let Some(image) = (unsafe { registry::find(pc) }) else {
        return false;
    };
    // In the shims the context's stack pointer may not be what the unwind stencil needs, nor may the context's register
    // where a helper is called.
    let intact = ucontext::C_KEEPS_CONTEXT || !image.calls_out(pc);
    let Some(function) = image.function(pc).filter(|_| intact) else {
        return false;
    };
    thread::note_trap(Trap {
        kind: kind::INTERRUPTED,
        function: Some(function),
        source: image.site(pc).map(|site| site.source),
        pc,
    });
    // Everywhere else the context's register is intact, and the unwind stencil needs nothing more.
    // SAFETY: points into the handler's ucontext, which the system restores registers from.
    unsafe { registers.pc.write(image.unwind()) };
    true
}
