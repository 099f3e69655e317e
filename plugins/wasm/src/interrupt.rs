//! Stopping programs from outside: by a handle, or by epochs.

use std::sync::atomic::{AtomicU64, Ordering};

use copatch::{HostGuard, Interrupt, Reason};

/// When, and by whom, programs of a store are stopped.
#[derive(Debug)]
pub(crate) struct Deadline {
    interrupt: Interrupt,
    /// The epoch at which they are.
    at: AtomicU64,
}

impl Deadline {
    pub fn new() -> Self {
        Self {
            interrupt: Interrupt::new(),
            at: AtomicU64::new(u64::MAX),
        }
    }

    pub fn handle(&self) -> InterruptHandle {
        InterruptHandle {
            interrupt: self.interrupt.clone(),
        }
    }

    /// Sets another epoch.
    pub fn set(&self, at: u64) {
        self.at.store(at, Ordering::SeqCst);
        // The one before may have been reached when nothing ran any more.
        self.interrupt.clear(Reason::Deadline);
    }

    /// An epoch has begun.
    pub fn reach(&self, epoch: u64) {
        if self.at.load(Ordering::SeqCst) <= epoch {
            self.interrupt.request(Reason::Deadline);
        }
    }

    /// Whether to stop before anything runs.
    pub fn passed(&self, epoch: u64) -> bool {
        self.at.load(Ordering::SeqCst) <= epoch || self.requested()
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.interrupt.check()
    }

    /// What programs of the store enter and leave by.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    pub fn host(&self) -> HostGuard<'_> {
        self.interrupt.host()
    }
}

/// Stops what runs in a store, from any thread.
///
/// ```
/// use copatch_wasm::{Engine, Module, Store, Instance, TrapCode};
///
/// // (module (func (export "f") (loop br 0)))
/// let bytes = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\
///     \x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";
/// let engine = Engine::default();
/// let module = Module::new(&engine, bytes)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let endless = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// let handle = store.interrupt_handle();
/// let timer = std::thread::spawn(move || {
///     std::thread::sleep(std::time::Duration::from_millis(20));
///     handle.interrupt();
/// });
/// let error = endless.call(&mut store, ()).unwrap_err();
/// assert_eq!(error.as_trap_code(), Some(TrapCode::Interrupted));
/// timer.join().unwrap();
/// # Ok::<(), copatch_wasm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InterruptHandle {
    interrupt: Interrupt,
}

impl InterruptHandle {
    /// Stops the call that runs in the store, or if none does, the next one: it traps with
    /// [`TrapCode::Interrupted`](crate::TrapCode::Interrupted). Host functions are not stopped, but what called them is
    /// when they return.
    ///
    /// Returns when the thread that runs has noticed, which takes microseconds where a processor is free for it.
    pub fn interrupt(&self) {
        self.interrupt.request(Reason::Asked);
    }
}
