//! Arguments as a function's parameters have them: those given by name, and defaults.
#![allow(unsafe_code)] // Reads arguments as the interpreter hands them over.

use std::ptr::null_mut;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Parameters of a function whose calls with names or defaults are arranged; with more they are the interpreter's.
const MOST: usize = 16;

// Exported by every version, though not part of the stable interface.
unsafe extern "C" {
    fn PyFunction_GetDefaults(function: *mut PyObject) -> *mut PyObject;
    fn PyFunction_GetKwDefaults(function: *mut PyObject) -> *mut PyObject;
}

/// A call as the interpreter makes it.
#[derive(Clone, Copy)]
pub struct Given {
    pub arguments: *const *mut PyObject,
    /// The number of those by position, and a flag.
    pub flags: usize,
    /// A tuple of the names of those behind them, or null.
    pub names: *mut PyObject,
}

/// What a function's parameters are called.
#[derive(Default)]
pub struct Parameters {
    names: Vec<Py<PyAny>>,
    /// How many may be given by position, the first of which by position only.
    positional: usize,
    unnamed: usize,
}

impl Parameters {
    /// Those of a function.
    pub fn of(function: &Bound<'_, PyAny>) -> PyResult<Self> {
        let code = function.getattr("__code__")?;
        let count = |name: &str| -> PyResult<usize> { code.getattr(name)?.extract() };
        let positional = count("co_argcount")?;
        let all = positional + count("co_kwonlyargcount")?;
        // Not by an iterator of Python's, which asks the module `operator`: that may be what is decorated.
        let names = code.getattr("co_varnames")?;
        let names = names.cast::<PyTuple>()?.iter().take(all);
        Ok(Self {
            names: names.map(Bound::unbind).collect(),
            positional,
            unnamed: count("co_posonlyargcount")?,
        })
    }

    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Whether a call of so many arguments by position, and those names, has one for each parameter in turn.
    #[inline]
    pub unsafe fn are_given(&self, count: usize, names: *mut PyObject) -> bool {
        // SAFETY: the interpreter's names are a tuple.
        count == self.names.len()
            && count == self.positional
            && (names.is_null() || unsafe { ffi::PyTuple_Size(names) } == 0)
    }

    /// An argument for each parameter; nothing for what the interpreter has an error for, or more to do.
    #[cold]
    pub unsafe fn arrange(
        &self,
        function: *mut PyObject,
        given: Given,
        count: usize,
    ) -> Option<Arranged> {
        if self.names.len() > MOST || count > self.positional {
            return None;
        }
        let mut arranged = Arranged {
            objects: [null_mut(); MOST],
            from_defaults: [false; MOST],
        };
        // SAFETY: a call of the interpreter's: names are a tuple of strings, as many as there are arguments behind the first `count`.
        // Defaults are a tuple, and a dictionary, if there are any.
        unsafe {
            for at in 0..count {
                arranged.objects[at] = *given.arguments.add(at);
            }
            if !given.names.is_null() {
                for number in 0..ffi::PyTuple_Size(given.names) {
                    let name = ffi::PyTuple_GetItem(given.names, number);
                    // Names in code are one object each.
                    let at = self.names.iter().position(|own| own.as_ptr() == name)?;
                    if at < self.unnamed || !arranged.objects[at].is_null() {
                        return None;
                    }
                    arranged.objects[at] = *given.arguments.add(count + number as usize);
                }
            }
            let defaults = PyFunction_GetDefaults(function);
            let by_name = PyFunction_GetKwDefaults(function);
            for (at, name) in self.names.iter().enumerate() {
                if !arranged.objects[at].is_null() {
                    continue;
                }
                let default = if at >= self.positional {
                    if by_name.is_null() {
                        return None;
                    }
                    ffi::PyDict_GetItem(by_name, name.as_ptr())
                } else {
                    if defaults.is_null() {
                        return None;
                    }
                    let without = self.positional as isize - ffi::PyTuple_Size(defaults);
                    let number = at as isize - without;
                    if number < 0 {
                        return None;
                    }
                    ffi::PyTuple_GetItem(defaults, number)
                };
                if default.is_null() {
                    return None;
                }
                // The function may get other defaults while it runs.
                ffi::Py_IncRef(default);
                arranged.objects[at] = default;
                arranged.from_defaults[at] = true;
            }
        }
        Some(arranged)
    }
}

/// A call's arguments in the order of parameters. Has references to those that are defaults; the others are the caller's.
pub struct Arranged {
    pub objects: [*mut PyObject; MOST],
    from_defaults: [bool; MOST],
}

impl Drop for Arranged {
    fn drop(&mut self) {
        for (object, own) in self.objects.iter().zip(self.from_defaults) {
            if own {
                // SAFETY: a reference of its own.
                unsafe { ffi::Py_DecRef(*object) };
            }
        }
    }
}
