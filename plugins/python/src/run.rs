//! Entering compiled code from the interpreter: the context of a thread, values in and out, attention for signals and other
//! threads.
#![allow(unsafe_code)] // Calls generated code and the interpreter.

use std::cell::Cell;
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use copatch::{Context, Stack, call};
use pyo3::ffi::{self, PyObject};

use crate::foreign;
use crate::helpers::HELPERS;
use crate::ir::{Item, Leaf, Type};
use crate::unit::Compiled;

/// Bytes of address space for the frames of a thread's calls.
const STACK: usize = 64 << 20;
/// Calls of compiled functions that fit the stack whatever they are, at most; Python's own limit is usually far below.
const DEPTH: i64 = 20_000;
/// As long as CPython lets a thread run before another gets its turn.
const TICK: Duration = Duration::from_millis(5);

/// Mirrors `struct python_context` of `spec/isa/python/ops.h`, and goes on with what helpers need.
#[repr(C)]
pub struct Environment {
    pub core: Context,
    pub depth: i64,
    pub depth_limit: i64,
    /// What a function returned that is no value of the type its caller expects; a reference.
    pub result: *mut PyObject,
    /// Where frames of a further entry may begin.
    pub top: *mut u64,
    _stack: Stack,
}

const _: () =
    assert!(offset_of!(Environment, depth) == 64 && offset_of!(Environment, depth_limit) == 72);

/// A thread's environment. It lives as long as the process, so that the ticker may write to it: a thread that ends leaves it to
/// the next.
struct Own(Cell<*mut Environment>);

impl Drop for Own {
    fn drop(&mut self) {
        if let (false, Ok(mut spare)) = (self.0.get().is_null(), SPARE.lock()) {
            spare.push(self.0.get() as usize);
        }
    }
}

thread_local! {
    static OWN: Own = const { Own(Cell::new(null_mut())) };
}

/// Addresses of the environments of threads that have ended.
static SPARE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// The thread's environment, made when first needed.
fn environment() -> *mut Environment {
    let own = OWN.try_with(|own| {
        if own.0.get().is_null() {
            let spare = SPARE.lock().ok().and_then(|mut spare| spare.pop());
            own.0
                .set(spare.map_or_else(new_environment, |spare| spare as *mut Environment));
        }
        own.0.get()
    });
    own.unwrap_or(null_mut())
}

/// A new environment; null without memory for its stack.
#[cold]
fn new_environment() -> *mut Environment {
    let Ok(stack) = Stack::new(STACK) else {
        return null_mut();
    };
    Box::into_raw(Box::new(Environment {
        core: Context::new(stack.limit(), HELPERS.as_ptr()),
        depth: 0,
        depth_limit: 0,
        result: null_mut(),
        top: stack.base(),
        _stack: stack,
    }))
}

/// Whether somebody traces or profiles: then everything is the interpreter's, which tells them of every line.
pub static TRACED: AtomicBool = AtomicBool::new(false);

/// The `interrupt` word of whoever runs compiled code.
static ACTIVE: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());
static IDLE: AtomicBool = AtomicBool::new(true);
static TICKER: Mutex<Option<Thread>> = Mutex::new(None);

/// Notes which thread runs compiled code, and sees to it that it is reminded of others.
unsafe fn activate(environment: *mut Environment) {
    // SAFETY: environments are never freed; the word is only ever accessed whole.
    let word = unsafe { (&raw mut (*environment).core.interrupt).cast::<AtomicU64>() };
    ACTIVE.store(word, Ordering::Relaxed);
    if IDLE.load(Ordering::Relaxed) {
        wake();
    }
}

#[cold]
fn wake() {
    IDLE.store(false, Ordering::Relaxed);
    let Ok(mut ticker) = TICKER.lock() else {
        return;
    };
    if ticker.is_none() {
        let spawned = std::thread::Builder::new()
            .name("copatch ticker".into())
            .spawn(tick);
        *ticker = spawned.ok().map(|handle| handle.thread().clone());
    }
    if let Some(thread) = &*ticker {
        thread.unpark();
    }
}

/// In a process just forked, which has no ticker: the next call of compiled code makes one. The interpreter's lock is held when a
/// process is forked and when the ticker is made, so nobody else was in `wake`.
pub fn forked() {
    if let Ok(mut ticker) = TICKER.lock() {
        *ticker = None;
    }
    IDLE.store(true, Ordering::Relaxed);
}

fn tick() {
    let mut quiet = 0;
    loop {
        std::thread::sleep(TICK);
        let word = ACTIVE.load(Ordering::Relaxed);
        // SAFETY: environments are never freed.
        if let Some(word) = unsafe { word.as_ref() } {
            word.store(1, Ordering::Relaxed);
            quiet = 0;
        } else {
            quiet += 1;
        }
        if quiet > 100 {
            IDLE.store(true, Ordering::Relaxed);
            std::thread::park();
            quiet = 0;
        }
    }
}

/// Slots of a helper's arguments and results, at most.
pub const HELPER: usize = 24;
const _: () = assert!(HELPER >= ITEMS + 2);

/// Before a helper runs Python code: a further entry begins behind this frame. Gives what [`end_python`] wants back.
pub unsafe fn begin_python(environment: *mut Environment, slots: *mut u64) -> *mut u64 {
    // SAFETY: the environment is the thread's; helpers have no more arguments and results.
    unsafe {
        let outer = (*environment).top;
        (*environment).top = slots.add(HELPER);
        outer
    }
}

pub unsafe fn end_python(environment: *mut Environment, outer: *mut u64) {
    // SAFETY: as above.
    unsafe {
        (*environment).top = outer;
        activate(environment);
    }
}

/// In a loop, after a tick: lets other threads run, and signal handlers. Gives not zero if the interpreter must go on: a handler
/// raised, somebody traces, or a name that the code relies on has another meaning now.
pub unsafe fn attend(environment: *mut Environment, slots: *mut u64) -> u32 {
    // SAFETY: called by compiled code of this thread, which holds the interpreter's lock; the slot holds its function.
    unsafe {
        let compiled = &*(*slots as *const Compiled);
        (*environment).core.interrupt = 0;
        let outer = begin_python(environment, slots);
        ffi::PyEval_RestoreThread(ffi::PyEval_SaveThread());
        let raised = ffi::PyErr_CheckSignals() != 0;
        end_python(environment, outer);
        let traced = TRACED.load(Ordering::Relaxed);
        *slots = u64::from(raised || traced || !compiled.holds());
    }
    0
}

/// An int's value, if it has no more than 64 bits.
pub unsafe fn int_value(object: *mut PyObject) -> Option<i64> {
    let mut overflow = 0;
    // SAFETY: an int object, which cannot raise.
    let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow) };
    (overflow == 0).then_some(value)
}

/// A list's number of items: the third word of a list object from 3.11 to 3.13.
pub unsafe fn list_size(list: *mut PyObject) -> usize {
    // SAFETY: a list object.
    unsafe { *list.cast::<usize>().add(2) }
}

/// A list's items: its fourth word points at them.
pub unsafe fn list_items(list: *mut PyObject) -> *mut *mut PyObject {
    // SAFETY: a list object.
    unsafe { *list.cast::<*mut *mut PyObject>().add(3) }
}

/// Whether an object runs no code when it goes.
pub unsafe fn is_plain(object: *mut PyObject) -> bool {
    // SAFETY: an object.
    unsafe {
        let ty = ffi::Py_TYPE(object);
        ty == &raw mut ffi::PyLong_Type
            || ty == &raw mut ffi::PyFloat_Type
            || ty == &raw mut ffi::PyBool_Type
            || object == ffi::Py_None()
    }
}

/// The type that an object is taken for, by a look at its type and at the first item of lists.
pub unsafe fn type_of(object: *mut PyObject) -> Option<Type> {
    // SAFETY: an object; items of lists are objects.
    unsafe {
        let ty = ffi::Py_TYPE(object);
        Some(if ty == &raw mut ffi::PyLong_Type {
            int_value(object)?;
            Type::Int
        } else if ty == &raw mut ffi::PyFloat_Type {
            Type::Float
        } else if ty == &raw mut ffi::PyBool_Type {
            Type::Bool
        } else if object == ffi::Py_None() {
            Type::None
        } else if ty == &raw mut ffi::PyList_Type {
            Type::List(item_of(object, true)?)
        } else if ty == &raw mut ffi::PyTuple_Type {
            let count = ffi::PyTuple_Size(object);
            let items = (0..count).map(|at| tuple_item(ffi::PyTuple_GetItem(object, at)));
            tuple(&items.collect::<Option<Vec<Item>>>()?)?
        } else if ty == &raw mut ffi::PyBytes_Type {
            Type::Bytes
        } else if ty == &raw mut ffi::PyByteArray_Type {
            Type::ByteArray
        } else {
            return foreign::type_of(object);
        })
    }
}

/// Items of tuples that are followed, at most.
const ITEMS: usize = 16;
/// What items of tuples were met, so that each is kept once.
static TUPLES: Mutex<Vec<&'static [Item]>> = Mutex::new(Vec::new());

/// The type of tuples of these; nothing if they are too many.
pub fn tuple(items: &[Item]) -> Option<Type> {
    if items.len() > ITEMS {
        return None;
    }
    let mut known = TUPLES.lock().ok()?;
    let old = known.iter().find(|known| **known == items).copied();
    let new = || {
        let items: &'static [Item] = Box::leak(items.into());
        known.push(items);
        items
    };
    Some(Type::Tuple(old.unwrap_or_else(new)))
}

/// What an item of a tuple is, which stays so.
unsafe fn tuple_item(object: *mut PyObject) -> Option<Item> {
    // SAFETY: an object.
    unsafe {
        let item = kind_of(object, true)?;
        (item != Item::Int || int_value(object).is_some()).then_some(item)
    }
}

unsafe fn item_of(list: *mut PyObject, nested: bool) -> Option<Item> {
    // SAFETY: a list, whose items are objects.
    unsafe {
        if list_size(list) == 0 {
            return Some(Item::Unknown);
        }
        kind_of(*list_items(list), nested)
    }
}

unsafe fn kind_of(first: *mut PyObject, nested: bool) -> Option<Item> {
    // SAFETY: an object.
    unsafe {
        let ty = ffi::Py_TYPE(first);
        Some(if ty == &raw mut ffi::PyLong_Type {
            Item::Int
        } else if ty == &raw mut ffi::PyFloat_Type {
            Item::Float
        } else if ty == &raw mut ffi::PyBool_Type {
            Item::Bool
        } else if ty == &raw mut ffi::PyList_Type && nested {
            Item::Lists(match item_of(first, false)? {
                Item::Int => Leaf::Int,
                Item::Float => Leaf::Float,
                Item::Bool => Leaf::Bool,
                _ => return None,
            })
        } else {
            return None;
        })
    }
}

/// Writes an argument to a slot if it is of that type.
#[inline]
unsafe fn unbox(object: *mut PyObject, ty: Type, slot: *mut u64) -> bool {
    // SAFETY: an object and a slot of the stack.
    unsafe {
        let of = ffi::Py_TYPE(object);
        match ty {
            Type::Int => {
                if of != &raw mut ffi::PyLong_Type {
                    return false;
                }
                match int_value(object) {
                    Some(value) => *slot = value as u64,
                    None => return false,
                }
            }
            Type::Float => {
                if of != &raw mut ffi::PyFloat_Type {
                    return false;
                }
                *slot = ffi::PyFloat_AsDouble(object).to_bits();
            }
            Type::Bool => {
                if of != &raw mut ffi::PyBool_Type {
                    return false;
                }
                *slot = u64::from(object == ffi::Py_True());
            }
            Type::None => return object == ffi::Py_None(),
            Type::List(_) => {
                // Item by item it is looked at again, so that a wrong guess is only slow.
                if of != &raw mut ffi::PyList_Type || type_of(object) != Some(ty) {
                    return false;
                }
                *slot = object as u64;
            }
            Type::Tuple(items) => {
                let alike = of == &raw mut ffi::PyTuple_Type
                    && ffi::PyTuple_Size(object) == items.len() as isize
                    && items.iter().enumerate().all(|(at, item)| {
                        tuple_item(ffi::PyTuple_GetItem(object, at as isize)) == Some(*item)
                    });
                if !alike {
                    return false;
                }
                *slot = object as u64;
            }
            Type::Bytes | Type::ByteArray => {
                if type_of(object) != Some(ty) {
                    return false;
                }
                *slot = object as u64;
            }
            Type::Array(_) | Type::NumpyArray(..) | Type::NumpyFloat | Type::NumpyInt => {
                return foreign::unbox(object, ty, slot);
            }
            // Never come from the interpreter.
            Type::RangeIterator(_) | Type::ListIterator(_) => return false,
        }
    }
    true
}

/// A new reference to the object that a value is.
pub unsafe fn boxed(ty: Type, bits: u64) -> *mut PyObject {
    // SAFETY: the interpreter's lock is held; of objects the bits are the address.
    unsafe {
        match ty {
            Type::Int => ffi::PyLong_FromLongLong(bits as i64),
            Type::Float => ffi::PyFloat_FromDouble(f64::from_bits(bits)),
            Type::Bool => ffi::PyBool_FromLong(i64::from(bits as u32)),
            Type::None => {
                ffi::Py_IncRef(ffi::Py_None());
                ffi::Py_None()
            }
            Type::NumpyFloat | Type::NumpyInt => foreign::scalar(ty, bits),
            Type::RangeIterator(_) | Type::ListIterator(_) => null_mut(),
            _ => bits as *mut PyObject,
        }
    }
}

/// A function's result as a value: takes the reference over if it is of that type, else gives it back.
pub unsafe fn unboxed(object: *mut PyObject, ty: Type) -> Result<u64, *mut PyObject> {
    let mut bits = 0;
    // SAFETY: an object; the interpreter's lock is held.
    unsafe {
        if matches!(ty, Type::List(_)) && ffi::Py_TYPE(object) == &raw mut ffi::PyList_Type {
            // Whatever its items are: whoever reads them looks.
            return Ok(object as u64);
        }
        if !unbox(object, ty, &mut bits) {
            return Err(object);
        }
        if !ty.is_object() {
            ffi::Py_DecRef(object);
        }
    }
    Ok(bits)
}

/// What an attempt to call compiled code came to.
pub enum Attempt {
    /// The result, or null if it raised.
    Done(*mut PyObject),
    /// The arguments are of other types, or there is no memory for frames.
    Unfit,
}

/// Calls a compiled function with as many arguments of the interpreter's as it has parameters.
pub unsafe fn enter(compiled: &Compiled, arguments: *const *mut PyObject) -> Attempt {
    // SAFETY: the arguments are objects that live until the call is over; slots beyond `top` are nobody's.
    unsafe {
        let environment = environment();
        if environment.is_null() {
            return Attempt::Unfit;
        }
        let frame = (*environment).top;
        let mut slot = frame;
        for (index, ty) in compiled.params.iter().enumerate() {
            if !unbox(*arguments.add(index), *ty, slot) {
                return Attempt::Unfit;
            }
            slot = slot.add(ty.parts().len());
        }
        let outer = ACTIVE.load(Ordering::Relaxed);
        activate(environment);
        (*environment).depth_limit = DEPTH.min(i64::from(ffi::Py_GetRecursionLimit()));
        let ended = call(
            &compiled.program,
            compiled.entry,
            environment.cast(),
            frame,
            null_mut(),
        );
        ACTIVE.store(outer, Ordering::Relaxed);
        if ended.is_err() {
            // Frames are bounded by the depth, so this is the native stack under helpers.
            (*environment).depth = 0;
            ffi::PyErr_SetString(
                ffi::PyExc_RecursionError,
                c"maximum recursion depth exceeded".as_ptr(),
            );
            return Attempt::Done(null_mut());
        }
        Attempt::Done(match *frame.add(1) as u32 {
            0 => boxed(compiled.result, *frame),
            1 => std::mem::replace(&mut (*environment).result, null_mut()),
            _ => null_mut(),
        })
    }
}
