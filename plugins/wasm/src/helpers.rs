//! Helpers: what compiled code calls for everything that is not an operation of the pack.
#![allow(unsafe_code)] // Called by compiled code with pointers.

use copatch::{Context, Helper, helper_guard, trap_kind};

use crate::call::{SLOT, call_away, place};
use crate::error::TrapCode;
use crate::opaque::{Failure, Root, grow_memory, grow_table};

pub(crate) const MEMORY_GROW: u32 = 0;
pub(crate) const MEMORY_FILL: u32 = 1;
pub(crate) const MEMORY_COPY: u32 = 2;
pub(crate) const MEMORY_INIT: u32 = 3;
pub(crate) const DATA_DROP: u32 = 4;
pub(crate) const TABLE_INIT: u32 = 5;
pub(crate) const TABLE_COPY: u32 = 6;
pub(crate) const ELEM_DROP: u32 = 7;
/// Calls a function that needs another context: slot 0 holds a reference to it, its arguments follow; results go to slot 0
/// and on.
pub(crate) const CALL: u32 = 8;
pub(crate) const TABLE_SET: u32 = 9;
pub(crate) const TABLE_GROW: u32 = 10;
pub(crate) const TABLE_FILL: u32 = 11;
pub(crate) const REF_FUNC: u32 = 12;

/// Helpers by number.
pub(crate) const HELPERS: &[Helper] = &[
    memory_grow,
    memory_fill,
    memory_copy,
    memory_init,
    data_drop,
    table_init,
    table_copy,
    elem_drop,
    call_away,
    table_set,
    table_grow,
    table_fill,
    ref_func,
];

/// What a helper leaves in slot 0.
trait Outcome {
    fn slot(self) -> Option<u64>;
}

impl Outcome for () {
    fn slot(self) -> Option<u64> {
        None
    }
}

impl Outcome for u64 {
    fn slot(self) -> Option<u64> {
        Some(self)
    }
}

/// Runs a helper on `N` arguments.
///
/// # Safety
/// `context` is that of a running instance that waits for this helper; `slots` points at `N` slots.
unsafe fn run<const N: usize, R: Outcome>(
    context: *mut Context,
    slots: *mut u64,
    body: unsafe fn(Root, u32, [u64; N]) -> Result<R, Failure>,
) -> u32 {
    // SAFETY: the caller vouches for the slots.
    let arguments = std::array::from_fn(|index| unsafe { slots.add(index * SLOT).read() });
    // SAFETY: the caller vouches for the context.
    let (root, instance) = unsafe { place(context) };
    // SAFETY: compiled code stands still, so nothing else uses the store.
    let outcome = unsafe { body(root, instance, arguments) };
    // A program that spends its time in helpers would hardly ever be met outside.
    // SAFETY: as above.
    let deadline = unsafe { root.as_ref() }.deadline.as_ref();
    let outcome = match deadline.is_some_and(|deadline| deadline.requested()) {
        true => Err(TrapCode::Interrupted.into()),
        false => outcome,
    };
    match outcome {
        Ok(result) => {
            if let Some(bits) = result.slot() {
                // SAFETY: compiled code reads a result only from a slot that it has.
                unsafe { slots.write(bits) };
            }
            0
        }
        Err(failure) => {
            // SAFETY: as above.
            unsafe { (*root.as_ptr()).failure = Some(failure) };
            1
        }
    }
}

/// Runs a helper that may call the embedder's code (a limiter), whose panic must not unwind into compiled code.
///
/// # Safety
/// As for `run`.
unsafe fn run_guarded<const N: usize, R: Outcome>(
    context: *mut Context,
    slots: *mut u64,
    body: unsafe fn(Root, u32, [u64; N]) -> Result<R, Failure>,
) -> u32 {
    // SAFETY: the caller's promise.
    let body = || match unsafe { run(context, slots, body) } {
        0 => Ok(()),
        _ => Err(trap_kind::HOST_ERROR),
    };
    // SAFETY: the context is the one that the caller vouches for.
    unsafe { helper_guard(context, body) }
}

/// A helper that works on the store: a method of `Opaque` that takes the instance and the slots, of which i32 arguments
/// have no more than their 32 bits.
macro_rules! helpers {
    ($($name:ident)*) => {
        $(
            /// The helper of that name: see the method of `Opaque`.
            unsafe extern "C" fn $name(context: *mut Context, slots: *mut u64) -> u32 {
                // SAFETY: compiled code calls this with its context, on which no Rust code works meanwhile, and with as
                // many slots as the generating visit passed arguments; that is what `run` calls the body with.
                unsafe { run(context, slots, |root, instance, arguments| (*root.as_ptr()).$name(instance, arguments)) }
            }
        )*
    };
}

helpers!(memory_fill memory_copy memory_init data_drop table_init table_copy elem_drop table_set table_fill ref_func);

/// `memory.grow`, which may ask the embedder: the size before in pages, or -1.
///
/// # Safety
/// As every helper: called by compiled code.
unsafe extern "C" fn memory_grow(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: as the other helpers.
    unsafe {
        run_guarded(context, slots, |root, instance, [delta]: [u64; 1]| {
            let memory = root.as_ref().instances[instance as usize].memory;
            let memory = memory.ok_or(TrapCode::MemoryOutOfBounds)? as usize;
            let before = grow_memory(root, memory, u64::from(delta as u32))?;
            Ok(before.unwrap_or(u64::from(u32::MAX)))
        })
    }
}

/// `table.grow` of `[reference, delta, table]`: the size before, or -1.
///
/// # Safety
/// As every helper: called by compiled code.
unsafe extern "C" fn table_grow(context: *mut Context, slots: *mut u64) -> u32 {
    // SAFETY: as the other helpers.
    unsafe {
        run_guarded(
            context,
            slots,
            |root, instance, [word, delta, table]: [u64; 3]| {
                let tables = &root.as_ref().instances[instance as usize].tables;
                let id = tables.get(table as u32 as usize).copied();
                let id = id.ok_or(TrapCode::TableOutOfBounds)? as usize;
                let before = grow_table(root, id, u64::from(delta as u32), word)?;
                Ok(before.unwrap_or(u64::from(u32::MAX)))
            },
        )
    }
}
