//! Calls of functions: from the host into compiled code, from compiled code to the host, and from one instance to another
//! by way of the host.
#![allow(unsafe_code)] // Enters compiled code, and is called by it.

use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use copatch::{Context, helper_guard, native_stack_left, trap_kind};

use crate::error::{Error, Result, Trap, TrapCode};
use crate::layout::INSTANCE;
use crate::module::Module;
use crate::opaque::{Failure, Opaque, Root, internal};
use crate::record::{HostFunction, Record, Target};
use crate::types::ValType;
use crate::value::{width, words};

/// Bytes of native stack that are left to host functions.
const NATIVE_RESERVE: usize = 256 << 10;

/// Words of a slot of compiled code, which holds a vector. Outside of it values lie one after another, in as many words as
/// they need.
pub(crate) const SLOT: usize = 2;

/// Brings values that lie one after another in `words` words at `from` into slots at `to`; the places may be the same.
///
/// # Safety
/// There are as many words at `from`, and as many slots at `to`, as the types say.
unsafe fn spread(
    types: impl ExactSizeIterator<Item = ValType> + DoubleEndedIterator,
    words: usize,
    from: *const u64,
    to: *mut u64,
) {
    let mut at = words;
    // From the last on, so that no value is overwritten before it was read.
    for (index, ty) in types.enumerate().rev() {
        at -= width(ty);
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy(from.add(at), to.add(index * SLOT), width(ty)) };
    }
}

/// Brings values from slots at `from` one after another to `to`; the places may be the same.
///
/// # Safety
/// As for [`spread`].
unsafe fn gather(types: impl Iterator<Item = ValType>, from: *const u64, to: *mut u64) {
    let mut at = 0;
    for (index, ty) in types.enumerate() {
        let words = width(ty);
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy(from.add(index * SLOT), to.add(at), words) };
        at += words;
    }
}

/// Calls a function. `caller` is the instance that calls, if one does.
///
/// # Safety
/// - `root` is a live store that nothing else uses during the call, and `record` one of its functions.
/// - `arguments` and `results` have as many slots as the function's type says, 8-byte aligned. They may be the same.
/// - Nothing in use lies on the store's stack from its `frame` on, but for these slots.
pub(crate) unsafe fn call(
    root: Root,
    record: NonNull<Record>,
    caller: Option<u32>,
    arguments: *const u64,
    results: *mut u64,
) -> Result<()> {
    // SAFETY: the caller's promise; records stay where they are, and change only in atomic fields.
    let record = unsafe { record.as_ref() };
    match &record.target {
        Target::Host(host) => (host.body)(root, caller, arguments, results),
        Target::Wasm { instance, function } => {
            // SAFETY: the caller's promise.
            unsafe { enter(root, record, (*instance, *function), arguments, results) }
        }
    }
}

/// Puts back what a call changed in its context, also when a panic passes.
struct Restore {
    context: *mut Context,
    stack_limit: *mut u8,
}

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: the context outlives the call that made this, and compiled code has been left.
        unsafe { (*self.context).stack_limit = self.stack_limit };
    }
}

/// Calls a function of an instance.
///
/// # Safety
/// As [`call`].
unsafe fn enter(
    root: Root,
    record: &Record,
    (instance, function): (u32, u32),
    arguments: *const u64,
    results: *mut u64,
) -> Result<()> {
    let ty = &record.ty.ty;
    let slots = ty.params().len().max(ty.results().len());
    let stubs = record.ty.stubs()?;
    let context = record.context();
    // SAFETY: the caller's promise; the reference ends before compiled code runs.
    let (frame, end, memory, deadline) = unsafe {
        let store = root.as_ref();
        let memory = store.instances[instance as usize].memory;
        let base = memory.map_or(null_mut(), |memory| {
            store.memories[memory as usize].memory.base()
        });
        let deadline = store.deadline.as_ref().map(Arc::clone);
        (store.frame, store.stack.limit(), base, deadline)
    };
    let trap_here = |code| {
        // SAFETY: the caller's promise.
        let module = unsafe { module(root, instance) };
        trap_at(&module, code, Some(function), None)
    };

    // Frames end where the native stack would, at the latest: a call takes no more of it than of theirs.
    let left = native_stack_left()
        .unwrap_or(NATIVE_RESERVE * 4)
        .saturating_sub(NATIVE_RESERVE);
    let room = (end as usize).saturating_sub(frame as usize).min(left);
    if room < slots * SLOT * 8 + 64 {
        return Err(trap_here(TrapCode::StackOverflow));
    }
    // SAFETY: inside the stack, as just checked; arguments may be anywhere, also right here.
    unsafe {
        spread(ty.params(), words(ty.params()), arguments, frame);
        frame.add(slots * SLOT).write(record.code() as u64);
    }
    // SAFETY: the context is alive, and nothing else uses it now.
    let restore = unsafe {
        let limit = frame.cast::<u8>().wrapping_add(room);
        let stack_limit = std::mem::replace(&mut (*context).stack_limit, limit);
        Restore {
            context,
            stack_limit,
        }
    };
    // SAFETY: dropped at the end of this call, and so before those of the calls around it.
    let running = deadline
        .as_ref()
        .map(|deadline| unsafe { deadline.interrupt().enter() });
    if let Some(deadline) = &deadline
        // SAFETY: the caller's promise.
        && deadline.passed(unsafe { root.as_ref() }.engine.epoch())
    {
        return Err(trap_here(TrapCode::Interrupted));
    }
    // SAFETY: `entry` takes arguments and the address of a function of this type from these slots; context, helpers and
    // stack belong to the store, which is this thread's now; memory faults outside its bounds for every address that an
    // access can compute; function references lead to code of modules that the store keeps alive.
    let outcome = unsafe { copatch::call(&stubs.program, stubs.entry, context, frame, memory) };
    drop(running);
    drop(restore);
    let Err(trap) = outcome else {
        // SAFETY: the entry has left the results in these slots; the caller vouches for its own.
        unsafe { gather(ty.results(), frame, results) };
        return Ok(());
    };
    // SAFETY: compiled code has been left, so the store is ours again.
    let (failure, module) = unsafe { ((*root.as_ptr()).failure.take(), module(root, instance)) };
    // In a stub, of whatever type, it is the function called that counts.
    let (at, source) = match module.program().range().contains(&trap.pc) {
        true => (trap.function, trap.source),
        false => (Some(function), None),
    };
    Err(match failure {
        Some(Failure::Error(error)) => error,
        Some(Failure::Trap(code)) => trap_at(&module, code, at, source),
        None => match module.engine().trap_code(trap.kind) {
            Some(code) => trap_at(&module, code, at, source),
            None => {
                let kind = module.engine().pack().trap_name(trap.kind);
                internal(format!("{kind} without a reason"))
            }
        },
    })
}

/// The module of an instance.
///
/// # Safety
/// `root` is a live store that nothing changes now.
#[cold]
unsafe fn module(root: Root, instance: u32) -> Module {
    // SAFETY: the caller's promise.
    unsafe { root.as_ref() }.instances[instance as usize]
        .module
        .clone()
}

fn trap_at(module: &Module, code: TrapCode, function: Option<u32>, offset: Option<u32>) -> Error {
    let name = function
        .and_then(|function| module.function_name(function))
        .map(str::to_owned);
    Error::Trap(Trap {
        code,
        function,
        name,
        offset,
    })
}

/// The store and the instance that a context belongs to.
///
/// # Safety
/// `context` is the context of an instance that is running.
pub(crate) unsafe fn place(context: *mut Context) -> (Root, u32) {
    // SAFETY: instances are made with the store as their host, and with their number behind the engine's words.
    unsafe {
        let root = NonNull::new_unchecked((*context).host.cast::<Opaque>());
        let instance = context.cast::<u8>().add(INSTANCE as usize).cast::<u64>();
        (root, instance.read() as u32)
    }
}

/// Puts back where frames begin, also when a panic passes.
struct Frame {
    root: Root,
    before: *mut u64,
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: made by `call_away` for a live store, and dropped before that returns.
        unsafe { (*self.root.as_ptr()).frame = self.before };
    }
}

/// The helper behind functions that need another context: slot 0 holds the reference, the arguments follow; results go to
/// slot 0 and on.
///
/// # Safety
/// Called by a stub or an import's wrapper, with its context and its slots.
pub(crate) unsafe extern "C" fn call_away(context: *mut Context, slots: *mut u64) -> u32 {
    let body = || {
        // SAFETY: the caller's promise.
        let (root, instance) = unsafe { place(context) };
        // SAFETY: as above: compiled code stands still meanwhile.
        unsafe { dispatch(root, instance, slots) }.map_err(|error| {
            // SAFETY: whatever was called is done with the store.
            unsafe { (*root.as_ptr()).failure = Some(Failure::Error(error)) };
            trap_kind::HOST_ERROR
        })
    };
    // SAFETY: the context is the one this helper was called with.
    unsafe { helper_guard(context, body) }
}

/// # Safety
/// `root` is a store of which `instance` is running and waits for a call, whose reference and arguments lie in `slots`.
unsafe fn dispatch(root: Root, instance: u32, slots: *mut u64) -> Result<()> {
    // SAFETY: the caller's promise.
    let record = NonNull::new(unsafe { slots.read() } as *mut Record)
        .ok_or_else(|| internal("a call of nothing".to_owned()))?;
    // SAFETY: references in compiled code are addresses of the store's records.
    let (ty, host) = unsafe {
        let record = record.as_ref();
        (&record.ty.ty, matches!(record.target, Target::Host(_)))
    };
    // The frame of whoever calls ends with these slots: nothing of it lies above them.
    let used = ty.results().len().max(ty.params().len() + 1) * SLOT;
    // SAFETY: the caller's promise; references end with their statements.
    let _frame = unsafe {
        let frame = &mut (*root.as_ptr()).frame;
        let before = std::mem::replace(frame, slots.wrapping_add(used));
        Frame { root, before }
    };
    // SAFETY: as above.
    let deadline = unsafe { root.as_ref() }.deadline.as_ref();
    // Instances of others see to themselves.
    let deadline = deadline.filter(|_| host).map(Arc::clone);
    let guard = deadline.as_ref().map(|deadline| deadline.host());
    // SAFETY: the record is the store's; its arguments lie behind the reference, results go where that is. They take no
    // more words one after another than in slots.
    unsafe {
        let arguments = slots.add(SLOT);
        gather(ty.params(), arguments, arguments);
        call(root, record, Some(instance), arguments, slots)?;
        spread(ty.results(), words(ty.results()), slots, slots);
    }
    drop(guard);
    // A host function may have asked for handles only now.
    // SAFETY: as above.
    let deadline = unsafe { root.as_ref() }.deadline.as_ref();
    match deadline.is_some_and(|deadline| deadline.requested()) {
        true => Err(Error::Trap(Trap::new(TrapCode::Interrupted))),
        false => Ok(()),
    }
}

impl std::fmt::Debug for HostFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostFunction")
            .field("ty", &self.ty.ty)
            .finish_non_exhaustive()
    }
}
