//! Helpers: what compiled code calls for everything that is not an operation of the pack.
#![allow(unsafe_code)] // Called by compiled code with pointers.

use copatch::{Context, Helper};

use crate::instance;
use crate::state::{Failure, State};

pub(crate) const MEMORY_GROW: u32 = 0;
pub(crate) const MEMORY_FILL: u32 = 1;
pub(crate) const MEMORY_COPY: u32 = 2;
pub(crate) const MEMORY_INIT: u32 = 3;
pub(crate) const DATA_DROP: u32 = 4;
pub(crate) const TABLE_INIT: u32 = 5;
pub(crate) const TABLE_COPY: u32 = 6;
pub(crate) const ELEM_DROP: u32 = 7;
/// Calls an imported function: slot 0 holds its index, its arguments follow; results go to slot 0 and on.
pub(crate) const HOST_CALL: u32 = 8;

/// Helpers by number, for instances whose embedder's data is a `T`.
pub(crate) struct Table<T>(std::marker::PhantomData<T>);

impl<T: 'static> Table<T> {
    pub const HELPERS: &'static [Helper] = &[
        memory_grow,
        memory_fill,
        memory_copy,
        memory_init,
        data_drop,
        table_init,
        table_copy,
        elem_drop,
        instance::host_call::<T>,
    ];
}

/// What a helper leaves in slot 0.
trait Outcome {
    fn slot(self) -> Option<u64>;
}

impl Outcome for () {
    fn slot(self) -> Option<u64> {
        None
    }
}

impl Outcome for u32 {
    fn slot(self) -> Option<u64> {
        Some(u64::from(self))
    }
}

/// Runs a helper on `N` i32 arguments.
///
/// # Safety
/// As for [`State::of`]; `slots` must point at `N` slots.
unsafe fn run<const N: usize, R: Outcome>(
    context: *mut Context,
    slots: *mut u64,
    body: fn(&mut State, [u32; N]) -> Result<R, Failure>,
) -> u32 {
    // SAFETY: the caller vouches for the slots.
    let arguments = std::array::from_fn(|index| unsafe { slots.add(index).read() } as u32);
    // SAFETY: the caller vouches for the context.
    let state = unsafe { State::of(context) };
    match body(state, arguments) {
        Ok(result) => {
            if let Some(bits) = result.slot() {
                // SAFETY: compiled code reads a result only from a slot that it has.
                unsafe { slots.write(bits) };
            }
            0
        }
        Err(failure) => {
            state.failure = Some(failure);
            1
        }
    }
}

macro_rules! helpers {
    ($($name:ident)*) => {
        $(
            /// The helper of that name: see the method of [`State`].
            unsafe extern "C" fn $name(context: *mut Context, slots: *mut u64) -> u32 {
                // SAFETY: compiled code calls this with its context, on which no Rust code works meanwhile, and with as
                // many slots as the generating visit passed arguments.
                unsafe { run(context, slots, State::$name) }
            }
        )*
    };
}

helpers!(memory_grow memory_fill memory_copy memory_init data_drop table_init table_copy elem_drop);
