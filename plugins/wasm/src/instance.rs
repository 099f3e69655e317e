//! Instances: calls into compiled code, and from there to the host.
#![allow(unsafe_code)] // Compiled code and the host reach an instance in turns, through one pointer.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use copatch::{Context, Signature, Stack, ValueType, helper_guard, native_stack_left, trap_kind};

use crate::error::{Error, Trap, TrapCode};
use crate::helpers;
use crate::linker::HostFunction;
use crate::memory::LinearMemory;
use crate::module::{Export, Module};
use crate::state::{Failure, State};
use crate::value::Value;

/// Bytes of stack for the variables of compiled functions.
const STACK: usize = 16 << 20;
/// Bytes of native stack that are left to host functions.
const NATIVE_RESERVE: usize = 256 << 10;
/// Arguments or results of a host function that need no allocation.
const INLINE: usize = 16;

/// A module with memory, tables and globals of its own, and with the embedder's data of type `T`.
pub struct Instance<T: 'static = ()> {
    /// Owned. Everything reaches the instance through this pointer or one derived from it, since compiled code and
    /// host functions work on it in turns.
    root: NonNull<Inner<T>>,
    owns: PhantomData<Inner<T>>,
}

// SAFETY: an instance is its `Inner`, whose parts are `Send` if `T` is, but for pointers into memory that it owns alone;
// host functions are `Send + Sync`.
unsafe impl<T: Send> Send for Instance<T> {}
// SAFETY: `&Instance` gives out nothing but shared references to bytes, globals and `T`.
unsafe impl<T: Sync> Sync for Instance<T> {}

/// Begins with the state, so that a pointer to the one is a pointer to the other.
#[repr(C)]
struct Inner<T: 'static> {
    state: State,
    hosts: Vec<Arc<HostFunction<T>>>,
    stack: Stack,
    data: T,
}

impl<T: 'static> Instance<T> {
    /// Makes an instance, puts its segments in place and runs its start function.
    pub(crate) fn new(
        module: &Module,
        hosts: Vec<Arc<HostFunction<T>>>,
        globals: &[Value],
        data: T,
    ) -> Result<Self, Error> {
        let stack = Stack::new(STACK).map_err(copatch::Error::from)?;
        let state = State::new(module, globals, helpers::Table::<T>::HELPERS, stack.limit())?;
        let inner = Box::new(Inner {
            state,
            hosts,
            stack,
            data,
        });
        let mut instance = Self {
            root: NonNull::from(Box::leak(inner)),
            owns: PhantomData,
        };
        instance.inner_mut().state.place_segments()?;
        if let Some(start) = module.description().start {
            instance.call(start, "start function", &[])?;
        }
        Ok(instance)
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: made from a box in `new` and freed in `drop`; `&self` excludes calls, so nothing else accesses it.
        unsafe { self.root.as_ref() }
    }

    fn inner_mut(&mut self) -> &mut Inner<T> {
        // SAFETY: as above, and `&mut self` excludes every other reference.
        unsafe { self.root.as_mut() }
    }

    /// Calls the function exported as `name`.
    ///
    /// # Errors
    /// [`Error::Export`] and [`Error::Arguments`] for a call that cannot be made; [`Error::Trap`], [`Error::Exit`] and
    /// [`Error::Host`] for one that did not return.
    ///
    /// # Panics
    /// Resumes the panic of a host function.
    pub fn invoke(&mut self, name: &str, arguments: &[Value]) -> Result<Vec<Value>, Error> {
        let function = exported_function(&self.inner().state.module, name)?;
        self.call(function, name, arguments)
    }

    fn call(
        &mut self,
        function: u32,
        name: &str,
        arguments: &[Value],
    ) -> Result<Vec<Value>, Error> {
        let frame = self.inner().stack.base();
        // SAFETY: the root is this instance's, `&mut self` excludes other users, and nothing lies on the stack.
        unsafe { call(self.root, frame, function, name, arguments) }
    }

    /// The module it was made of.
    pub fn module(&self) -> &Module {
        &self.inner().state.module
    }

    /// Linear memory; empty if there is none.
    pub fn memory(&self) -> &[u8] {
        self.inner()
            .state
            .memory
            .as_ref()
            .map_or(&[], LinearMemory::bytes)
    }

    /// Linear memory, to be changed.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        self.inner_mut()
            .state
            .memory
            .as_mut()
            .map_or(&mut [], LinearMemory::bytes_mut)
    }

    /// The value of the global exported as `name`.
    ///
    /// # Errors
    /// [`Error::Export`].
    pub fn global(&self, name: &str) -> Result<Value, Error> {
        let index = exported_global(&self.inner().state.module, name)?;
        self.inner()
            .state
            .global(index)
            .ok_or_else(|| missing("global", name))
    }

    /// Changes the mutable global exported as `name`.
    ///
    /// # Errors
    /// [`Error::Export`] if there is none, [`Error::Arguments`] if it is not mutable or has another type.
    pub fn set_global(&mut self, name: &str, value: Value) -> Result<(), Error> {
        let index = exported_global(&self.inner().state.module, name)?;
        let state = &mut self.inner_mut().state;
        match state.global_type(index) {
            Some((ty, true)) if ty == value.ty() => {
                state.set_global(index, value);
                Ok(())
            }
            Some((ty, mutable)) => Err(Error::Arguments {
                name: name.to_owned(),
                what: match mutable {
                    true => format!("the global is {}, not {}", ty.name(), value.ty().name()),
                    false => "the global is not mutable".to_owned(),
                },
            }),
            None => Err(missing("global", name)),
        }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// The embedder's data, to be changed.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }
}

impl<T: 'static> Drop for Instance<T> {
    fn drop(&mut self) {
        // SAFETY: made from a box in `new`; this is the only owner.
        drop(unsafe { Box::from_raw(self.root.as_ptr()) });
    }
}

impl<T: std::fmt::Debug + 'static> std::fmt::Debug for Instance<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.inner();
        f.debug_struct("Instance")
            .field("state", &inner.state)
            .field("data", &inner.data)
            .finish_non_exhaustive()
    }
}

fn missing(kind: &'static str, name: &str) -> Error {
    Error::Export {
        kind,
        name: name.to_owned(),
    }
}

fn exported_function(module: &Module, name: &str) -> Result<u32, Error> {
    match module.description().exports.get(name) {
        Some(Export::Function(index)) => Ok(*index),
        _ => Err(missing("function", name)),
    }
}

fn exported_global(module: &Module, name: &str) -> Result<u32, Error> {
    match module.description().exports.get(name) {
        Some(Export::Global(index)) => Ok(*index),
        _ => Err(missing("global", name)),
    }
}

fn names(types: &[ValueType]) -> String {
    let names: Vec<&str> = types.iter().map(|ty| ty.name()).collect();
    format!("({})", names.join(", "))
}

fn check(name: &str, signature: &Signature, arguments: &[Value]) -> Result<(), Error> {
    if arguments
        .iter()
        .map(|value| value.ty())
        .eq(signature.params.iter().copied())
    {
        return Ok(());
    }
    let given: Vec<ValueType> = arguments.iter().map(|value| value.ty()).collect();
    let what = format!(
        "called with {}, takes {}",
        names(&given),
        names(&signature.params)
    );
    Err(Error::Arguments {
        name: name.to_owned(),
        what,
    })
}

/// Calls a function that has an entry wrapper, with frames from `frame` on.
///
/// # Safety
/// `root` is a live instance that nothing else uses during the call; `frame` lies on its stack, aligned to 8 bytes, and
/// nothing in use lies at or above it.
unsafe fn call<T: 'static>(
    root: NonNull<Inner<T>>,
    frame: *mut u64,
    function: u32,
    name: &str,
    arguments: &[Value],
) -> Result<Vec<Value>, Error> {
    let root = root.as_ptr();
    // SAFETY: the caller vouches for the root; the reference ends with this statement.
    let module = unsafe { (*root).state.module.clone() };
    let signature = module
        .description()
        .signature(function)
        .ok_or_else(|| missing("function", name))?;
    let target = module
        .entry(function)
        .ok_or_else(|| missing("function", name))?;
    check(name, signature, arguments)?;
    let trap_at = |code, function: Option<u32>, offset| {
        let name = function
            .and_then(|function| module.function_name(function))
            .map(str::to_owned);
        Error::Trap(Trap {
            code,
            function,
            name,
            offset,
        })
    };

    // Frames end where the native stack would, at the latest: a call takes no more of it than of theirs.
    let left = native_stack_left()
        .unwrap_or(NATIVE_RESERVE * 4)
        .saturating_sub(NATIVE_RESERVE);
    // SAFETY: as above.
    let end = unsafe { (*root).stack.limit() };
    let room = (end as usize).saturating_sub(frame as usize).min(left);
    let slots = signature.params.len().max(signature.results.len());
    if room < slots * 8 + 64 {
        return Err(trap_at(TrapCode::StackOverflow, Some(function), None));
    }
    for (index, value) in arguments.iter().enumerate() {
        // SAFETY: inside the stack, as just checked.
        unsafe { frame.add(index).write(value.to_slot()) };
    }

    // SAFETY: the reference ends before compiled code runs.
    let (context, memory, outer) = unsafe {
        let state = &mut (*root).state;
        let memory = state
            .memory
            .as_ref()
            .map_or(std::ptr::null_mut(), LinearMemory::base);
        (
            state.block.context(),
            memory,
            state.set_host(root.cast::<c_void>()),
        )
    };
    // SAFETY: the context is alive, and nothing else uses it now.
    let outer_limit = unsafe {
        let limit = frame.cast::<u8>().wrapping_add(room);
        std::mem::replace(&mut (*context).stack_limit, limit)
    };
    // SAFETY: `target` is an entry wrapper of the module's program; context, helpers and stack belong to the instance, which
    // is this thread's now; memory faults outside its bounds for every address that an access can compute; function
    // references in tables are the module's own, which `module` keeps alive.
    let outcome = unsafe { copatch::call(module.program(), target, context, frame, memory) };
    // SAFETY: compiled code has been left, so the root is ours again.
    let failure = unsafe {
        (*context).stack_limit = outer_limit;
        let state = &mut (*root).state;
        state.set_host(outer);
        state.failure.take()
    };
    let Err(trap) = outcome else {
        let value = |(index, ty): (usize, &ValueType)| {
            // SAFETY: the wrapper has left its results in these slots.
            let bits = unsafe { frame.add(index).read() };
            Value::from_slot(*ty, bits)
        };
        return Ok(signature
            .results
            .iter()
            .enumerate()
            .filter_map(value)
            .collect());
    };
    let defined = module.description().functions.len() as u32;
    // In a wrapper it is the wrapped function that counts.
    let at = trap
        .function
        .map(|at| if at < defined { at } else { function });
    match failure {
        Some(Failure::Error(error)) => Err(error),
        Some(Failure::Trap(code)) => Err(trap_at(code, at, trap.source)),
        None => match module.engine().trap_code(trap.kind) {
            Some(code) => Err(trap_at(code, at, trap.source)),
            None => {
                let what = format!(
                    "{} without a reason",
                    module.engine().pack().trap_name(trap.kind)
                );
                Err(Error::Engine(copatch::Error::Internal { what }))
            }
        },
    }
}

/// What a host function may do with the instance that calls it.
pub struct Caller<'a, T: 'static> {
    root: NonNull<Inner<T>>,
    /// Where frames of nested calls may begin.
    frame: *mut u64,
    borrows: PhantomData<&'a mut Inner<T>>,
}

impl<T: 'static> Caller<'_, T> {
    fn inner(&self) -> &Inner<T> {
        // SAFETY: the instance is alive and stands still while its host function runs; `&self` excludes changes.
        unsafe { self.root.as_ref() }
    }

    fn inner_mut(&mut self) -> &mut Inner<T> {
        // SAFETY: as above, and `&mut self` excludes every other reference.
        unsafe { self.root.as_mut() }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// The embedder's data, to be changed.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// The caller's linear memory; empty if it has none.
    pub fn memory(&self) -> &[u8] {
        self.inner()
            .state
            .memory
            .as_ref()
            .map_or(&[], LinearMemory::bytes)
    }

    /// The caller's linear memory, to be changed.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        self.memory_and_data().0
    }

    /// The caller's linear memory and the embedder's data.
    pub fn memory_and_data(&mut self) -> (&mut [u8], &mut T) {
        let inner = self.inner_mut();
        let memory = inner
            .state
            .memory
            .as_mut()
            .map_or(&mut [][..], LinearMemory::bytes_mut);
        (memory, &mut inner.data)
    }

    /// Calls a function that the caller exports.
    ///
    /// # Errors
    /// As [`Instance::invoke`].
    ///
    /// # Panics
    /// As [`Instance::invoke`].
    pub fn invoke(&mut self, name: &str, arguments: &[Value]) -> Result<Vec<Value>, Error> {
        let function = exported_function(&self.inner().state.module, name)?;
        // SAFETY: the instance is this host function's for now, and its frames end below `self.frame`.
        unsafe { call(self.root, self.frame, function, name, arguments) }
    }
}

/// The helper behind imported functions: slot 0 holds the function's index, its arguments follow.
///
/// # Safety
/// Called by the import wrapper of an instance whose embedder's data is a `T`, with its context and its slots.
pub(crate) unsafe extern "C" fn host_call<T: 'static>(
    context: *mut Context,
    slots: *mut u64,
) -> u32 {
    let body = || {
        // SAFETY: `call` set the field to the instance that is running.
        let root = unsafe { NonNull::new((*context).host.cast::<Inner<T>>()) };
        let Some(root) = root else {
            return Err(trap_kind::HOST_ERROR);
        };
        // SAFETY: the caller's promise.
        unsafe { dispatch(root, slots) }.map_err(|failure| {
            // SAFETY: the host function is done with the instance.
            unsafe { (*root.as_ptr()).state.failure = Some(failure) };
            trap_kind::HOST_ERROR
        })
    };
    // SAFETY: the context is the one this helper was called with.
    unsafe { helper_guard(context, body) }
}

/// # Safety
/// `root` is the running instance; `slots` are the import wrapper's: the function's index, then its arguments.
unsafe fn dispatch<T: 'static>(root: NonNull<Inner<T>>, slots: *mut u64) -> Result<(), Failure> {
    // SAFETY: the wrapper passes at least the index.
    let index = unsafe { slots.read() } as u32;
    // SAFETY: compiled code stands still, nothing else refers to the instance; the reference ends with the next statement.
    let hosts = unsafe { &(*root.as_ptr()).hosts };
    let host = hosts.get(index as usize).map(Arc::clone);
    let Some(host) = host else {
        let what = format!("imported function {index} is not there");
        return Err(Failure::Error(copatch::Error::Internal { what }.into()));
    };
    let Signature { params, results } = &host.signature;
    let zero = Value::I32(0);
    let (mut inline, mut heap) = ([zero; 2 * INLINE], Vec::new());
    let values = if params.len().max(results.len()) <= INLINE {
        &mut inline[..INLINE + results.len()]
    } else {
        heap.resize(params.len() + results.len(), zero);
        &mut heap[..]
    };
    let split = values.len() - results.len();
    let (arguments, returned) = values.split_at_mut(split);
    let arguments = &mut arguments[..params.len()];
    for (at, (argument, ty)) in (1..).zip(arguments.iter_mut().zip(params)) {
        // SAFETY: the wrapper passes a slot for each parameter.
        let bits = unsafe { slots.add(at).read() };
        *argument = Value::from_slot(*ty, bits).unwrap_or(zero);
    }
    for (value, ty) in returned.iter_mut().zip(results) {
        *value = Value::from_slot(*ty, 0).unwrap_or(zero);
    }
    // The wrapper's frame ends with these slots: nothing of it lies above them.
    let frame = slots.wrapping_add(results.len().max(params.len() + 1));
    let caller = Caller {
        root,
        frame,
        borrows: PhantomData,
    };
    if let Err(error) = (host.body)(caller, arguments, returned) {
        // The crate's own errors go through as they are: a nested call's trap, or an exit.
        return Err(Failure::Error(match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::Host(error),
        }));
    }
    for (at, (value, ty)) in returned.iter().zip(results).enumerate() {
        if value.ty() != *ty {
            let what = format!(
                "a host function gave {} where it promised {}",
                value.ty().name(),
                ty.name()
            );
            return Err(Failure::Error(Error::Host(what.into())));
        }
        // SAFETY: compiled code has a slot for each result.
        unsafe { slots.add(at).write(value.to_slot()) };
    }
    Ok(())
}
