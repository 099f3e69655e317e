//! Leaving compiled code for the interpreter, at an exit.
//!
//! Values become objects, and a copy of the function goes on: its code begins with a prologue that takes locals and stack as
//! arguments and jumps to where compiled code stopped (`python/copatch/_resume.py`). It is made when an exit is first taken.
#![allow(unsafe_code)] // Reads frames of generated code and counts references.

use std::cell::{Cell, OnceCell};
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::function::PyObject_Vectorcall;
use crate::ir::{Resume, Source, Type};
use crate::machine::Machine;
use crate::run::{self, Environment};
use crate::unit::{Compiled, Part};

/// What becomes of an exit as it is taken.
#[derive(Default)]
pub struct ExitState {
    pub taken: Cell<u64>,
    /// The function that goes on here, for a value and for an exception.
    resumed: [OnceCell<Py<PyAny>>; 2],
}

thread_local! {
    /// The exception that [`raise_pending`] raises.
    static PENDING: Cell<[*mut PyObject; 3]> = const { Cell::new([null_mut(); 3]) };
}

/// Raises what a function called raised, where it was called.
pub fn raise_pending() {
    let [ty, value, traceback] = PENDING.with(|pending| pending.replace([null_mut(); 3]));
    // SAFETY: what `fetch` took, which is given back.
    unsafe { ffi::PyErr_Restore(ty, value, traceback) };
}

/// Goes on in the interpreter. The slots are an exit's number, the function's number and its code's [`Compiled`]; they receive the
/// result and 0, or 1 if it is an object in the environment, or 2 if an exception was raised.
pub unsafe fn leave(environment: *mut Environment, slots: *mut u64) -> u32 {
    // SAFETY: called by generated code of this `Compiled`, whose frame register the helper's stencil has noted.
    unsafe {
        let compiled = &*(*slots.add(2) as *const Compiled);
        let part = &compiled.parts[*slots.add(1) as usize];
        let number = *slots as usize;
        // Variables come first in a frame; two slots for moves lie between them and a helper's operands.
        let frame = slots.sub(part.vars + 2);
        if part.counts {
            (*environment).depth -= 1;
        }
        part.states[number]
            .taken
            .set(part.states[number].taken.get() + 1);
        let outer = run::begin_python(environment, slots);
        let result = go_on(environment, compiled, part, number, frame);
        run::end_python(environment, outer);
        let (value, status) = if result.is_null() {
            (0, 2)
        } else if compiled.holds() && !run::TRACED.load(Ordering::Relaxed) {
            match run::unboxed(result, part.result) {
                Ok(value) => (value, 0),
                Err(object) => {
                    (*environment).result = object;
                    (0, 1)
                }
            }
        } else {
            (*environment).result = result;
            (0, 1)
        };
        *slots = value;
        *slots.add(1) = status;
    }
    0
}

unsafe fn go_on(
    environment: *mut Environment,
    compiled: &Compiled,
    part: &Part,
    number: usize,
    frame: *const u64,
) -> *mut PyObject {
    let exit = &part.exits[number];
    // SAFETY: the frame is the function's, at this exit; objects in it are alive.
    unsafe {
        if exit.resume == Resume::TooDeep {
            ffi::PyErr_SetString(
                ffi::PyExc_RecursionError,
                c"maximum recursion depth exceeded".as_ptr(),
            );
            return null_mut();
        }
        let raised = !ffi::PyErr_Occurred().is_null();
        let mut error = [null_mut(); 3];
        if raised {
            let [ty, value, traceback] = &mut error;
            ffi::PyErr_Fetch(ty, value, traceback);
        }
        for var in &exit.release {
            ffi::Py_DecRef(*frame.add(*var as usize) as *mut PyObject);
        }
        let mut objects = Vec::with_capacity(exit.locals.len() + exit.stack.len());
        let mut good = true;
        for source in exit.locals.iter().chain(&exit.stack) {
            if raised && *source == Source::Result {
                continue;
            }
            if matches!(source, Source::Null | Source::Comprehension(..)) {
                continue;
            }
            let object = object(environment, compiled, *source, frame);
            good &= !object.is_null();
            objects.push(object);
        }
        let result = if good {
            call(part, number, raised, &objects, error)
        } else {
            null_mut()
        };
        for object in objects {
            if !object.is_null() {
                ffi::Py_DecRef(object);
            }
        }
        result
    }
}

/// Calls the function that goes on with these objects.
unsafe fn call(
    part: &Part,
    number: usize,
    raised: bool,
    objects: &[*mut PyObject],
    error: [*mut PyObject; 3],
) -> *mut PyObject {
    // SAFETY: the interpreter's lock is held; the objects are alive.
    unsafe {
        let resumed = &part.states[number].resumed[usize::from(raised)];
        let function = match resumed.get() {
            Some(function) => function,
            None => {
                let made = Python::attach(|py| {
                    make(py, part, number, raised).map_err(|error| error.restore(py))
                });
                match made {
                    Ok(function) => resumed.get_or_init(|| function),
                    Err(()) => return null_mut(),
                }
            }
        };
        if raised {
            PENDING.with(|pending| pending.set(error));
        }
        let (objects, count) = (objects.as_ptr(), objects.len());
        PyObject_Vectorcall(function.as_ptr(), objects, count, null_mut())
    }
}

/// Makes the function that goes on at an exit.
fn make(py: Python<'_>, part: &Part, number: usize, raised: bool) -> PyResult<Py<PyAny>> {
    let exit = &part.exits[number];
    let locals: Vec<bool> = exit
        .locals
        .iter()
        .map(|source| *source != Source::Unbound)
        .collect();
    let stack = PyList::empty(py);
    for source in &exit.stack {
        match source {
            Source::Result if raised => {}
            Source::Comprehension(from, to) => stack.append((*from, *to))?,
            _ => stack.append(*source != Source::Null)?,
        }
    }
    let (offset, arguments) = match exit.resume {
        Resume::AfterCall { call, arguments } if raised => (call, Some(arguments)),
        // An exception of a signal's handler: raised before anything else.
        _ if raised => (exit.offset, Some(u32::MAX)),
        _ => (exit.offset, None),
    };
    let machine = crate::machine()?;
    let made = machine.resume.bind(py).call1((
        part.function.bind(py),
        offset,
        locals,
        stack,
        arguments,
    ))?;
    Ok(made.unbind())
}

/// A new reference to what a source is; null for none, or with an error.
unsafe fn object(
    environment: *mut Environment,
    compiled: &Compiled,
    source: Source,
    frame: *const u64,
) -> *mut PyObject {
    // SAFETY: as `go_on`'s.
    unsafe {
        let slot = |var: u32| *frame.add(var as usize);
        match source {
            // The prologue pushes them.
            Source::Null | Source::Comprehension(..) => null_mut(),
            // Its argument is deleted by the prologue.
            Source::Unbound => run::boxed(Type::None, 0),
            Source::Constant(constant) => run::boxed(constant.ty(), constant.bits()),
            Source::Object(number) => {
                let object = compiled.objects[number as usize].as_ptr();
                ffi::Py_IncRef(object);
                object
            }
            Source::Value { var, ty, owned } => {
                let bits = if ty == Type::None { 0 } else { slot(var) };
                let object = run::boxed(ty, bits);
                if ty.is_object() && !owned {
                    ffi::Py_IncRef(object);
                }
                object
            }
            Source::Range(var) => range([slot(var), slot(var + 1), slot(var + 2)]),
            Source::RangeIterator(var) => {
                iterator(range([slot(var), slot(var + 1), slot(var + 2)]))
            }
            Source::ListIterator(var) => list_iterator(slot(var), slot(var + 1)),
            Source::Enumeration(var) => {
                let index = ffi::PyLong_FromLongLong(slot(var + 1) as i64);
                let of = list_iterator(slot(var), slot(var + 1));
                made_of(|machine| &machine.enumerate, [of, index])
            }
            Source::Zip(var) => {
                let first = list_iterator(slot(var), slot(var + 1));
                let second = list_iterator(slot(var + 2), slot(var + 3));
                made_of(|machine| &machine.zip, [first, second])
            }
            Source::Result => std::mem::replace(&mut (*environment).result, null_mut()),
        }
    }
}

/// What a function of the interpreter makes of two objects, whose references are taken over.
unsafe fn made_of(
    function: impl FnOnce(&Machine) -> &Py<PyAny>,
    of: [*mut PyObject; 2],
) -> *mut PyObject {
    // SAFETY: the interpreter's lock is held; a tuple takes references over, and drops those it has.
    unsafe {
        let arguments = ffi::PyTuple_New(2);
        for (at, object) in of.into_iter().enumerate() {
            ffi::PyTuple_SetItem(arguments, at as isize, object);
        }
        let made = match crate::machine() {
            Ok(machine) if of.iter().all(|object| !object.is_null()) => {
                ffi::PyObject_CallObject(function(machine).as_ptr(), arguments)
            }
            _ => null_mut(),
        };
        ffi::Py_DecRef(arguments);
        made
    }
}

/// The iterator of a list, whose reference is taken over, at an index.
unsafe fn list_iterator(list: u64, index: u64) -> *mut PyObject {
    // SAFETY: a list object.
    unsafe {
        let iterator = iterator(list as *mut PyObject);
        if iterator.is_null() {
            return iterator;
        }
        let index = ffi::PyLong_FromLongLong(index as i64);
        let name = ffi::PyUnicode_FromString(c"__setstate__".as_ptr());
        let done = ffi::PyObject_CallMethodObjArgs(iterator, name, index, null_mut::<PyObject>());
        ffi::Py_DecRef(index);
        ffi::Py_DecRef(name);
        if done.is_null() {
            ffi::Py_DecRef(iterator);
            return null_mut();
        }
        ffi::Py_DecRef(done);
        iterator
    }
}

/// The iterator of an object whose reference is taken over.
unsafe fn iterator(object: *mut PyObject) -> *mut PyObject {
    if object.is_null() {
        return object;
    }
    // SAFETY: an object.
    unsafe {
        let iterator = ffi::PyObject_GetIter(object);
        ffi::Py_DecRef(object);
        iterator
    }
}

/// A range of start, stop and step.
pub unsafe fn range(values: [u64; 3]) -> *mut PyObject {
    // SAFETY: the interpreter's lock is held.
    unsafe {
        let arguments = ffi::PyTuple_New(3);
        for (at, value) in values.into_iter().enumerate() {
            ffi::PyTuple_SetItem(
                arguments,
                at as isize,
                ffi::PyLong_FromLongLong(value as i64),
            );
        }
        let range = ffi::PyObject_CallObject((&raw mut ffi::PyRange_Type).cast(), arguments);
        ffi::Py_DecRef(arguments);
        range
    }
}
