//! `copatch._copatch`: Python functions compiled by copy-and-patch.
//!
//! ```text
//! code object ──bytecode──► instructions ──translate──► typed blocks ──structure──► steps ──generate──► machine code
//!                 by version       for the types of the arguments       loops, branches      by the engine
//!
//! call ──function──► by the types of arguments ──run──► machine code ──leave──► the interpreter, from the middle
//! ```
//!
//! The pack knows nothing of CPython; the few offsets that compiled code uses are given by `translate/objects.rs`.

mod bytecode;
mod foreign;
mod function;
mod generate;
mod helpers;
mod ir;
mod leave;
mod run;
mod structure;
mod translate;
mod unit;

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::unit::Machine;

/// Made by `start`; it holds what lives as long as the interpreter.
struct Global(Machine, Py<PyAny>);

// SAFETY: only used by threads that hold the interpreter's lock; interpreters without one are refused at import.
#[allow(unsafe_code)]
unsafe impl Send for Global {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Global {}

static GLOBAL: OnceLock<Global> = OnceLock::new();

fn global() -> PyResult<&'static Global> {
    GLOBAL
        .get()
        .ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("copatch is not started"))
}

fn machine() -> PyResult<&'static Machine> {
    global().map(|global| &global.0)
}

/// Looks around in the interpreter; called once, when the package is imported.
#[pyfunction]
fn start(py: Python<'_>, module: &Bound<'_, PyModule>) -> PyResult<()> {
    let machine = Machine::new(py, module.getattr("wrapped")?.unbind())?;
    let _ = GLOBAL.set(Global(machine, function::new_type(py)?));
    Ok(())
}

/// For a process just forked: threads are not.
#[pyfunction]
fn forked() {
    run::forked();
}

/// A compiled function in the place of a Python function; raises `NotImplementedError` with the reason if there is nothing to gain.
#[pyfunction]
fn make(py: Python<'_>, function: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let global = global()?;
    global.0.code(function)?;
    function::new(global.1.bind(py), function)
}

/// The Python function under a compiled one, or `None`.
#[pyfunction]
fn wrapped<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let ty = global()?.1.bind(object.py());
    Ok(function::parts(ty, object).map(|(function, _)| function))
}

/// Raises what a function called raised; the code that goes on calls it there.
#[pyfunction]
#[pyo3(signature = (*_arguments))]
fn raise_pending(py: Python<'_>, _arguments: &Bound<'_, PyAny>) -> PyResult<()> {
    leave::raise_pending();
    Err(PyErr::take(py)
        .unwrap_or_else(|| pyo3::exceptions::PySystemError::new_err("no exception is pending")))
}

/// Whether somebody traces or profiles from now on.
#[pyfunction]
fn traced(whether: bool) {
    run::TRACED.store(whether, std::sync::atomic::Ordering::Relaxed);
}

/// What was compiled of a function, as data: a list of specialisations, and what was refused.
#[pyfunction]
fn describe<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let py = object.py();
    let Some((_, state)) = function::parts(global()?.1.bind(py), object) else {
        return Ok(None);
    };
    let list = PyList::empty(py);
    for specialisation in state.specialisations.borrow().iter() {
        let compiled = &specialisation.compiled;
        let functions = PyList::empty(py);
        for part in &compiled.parts {
            let exits = PyList::empty(py);
            for (exit, state) in part.exits.iter().zip(&part.states) {
                if state.taken.get() > 0 {
                    exits.append((exit.offset * 2, exit.why, state.taken.get()))?;
                }
            }
            let left: Vec<(u32, &str)> = part
                .left
                .iter()
                .map(|(offset, why)| (offset * 2, *why))
                .collect();
            let entry = PyDict::new(py);
            entry.set_item("function", part.function.bind(py))?;
            entry.set_item("arguments", names(&part.params))?;
            entry.set_item("result", part.result.name())?;
            entry.set_item("exits", exits)?;
            entry.set_item("left", left)?;
            functions.append(entry)?;
        }
        let entry = PyDict::new(py);
        entry.set_item("functions", functions)?;
        entry.set_item("calls", specialisation.calls.get())?;
        entry.set_item("dropped", specialisation.dropped.get())?;
        entry.set_item("steps", compiled.operations)?;
        entry.set_item("code_bytes", compiled.program.code().len())?;
        entry.set_item("seconds", compiled.time.as_secs_f64())?;
        list.append(entry)?;
    }
    let refused = PyList::empty(py);
    for (types, why) in state.refused.borrow().iter() {
        refused.append((names(types), why))?;
    }
    let entry = PyDict::new(py);
    entry.set_item("specialisations", list)?;
    entry.set_item("refused", refused)?;
    entry.set_item("seconds", function::time(state).as_secs_f64())?;
    Ok(Some(entry))
}

fn names(types: &[ir::Type]) -> Vec<String> {
    types.iter().map(|ty| ty.name()).collect()
}

/// The package's machine code.
#[pymodule]
fn _copatch(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(start, module)?)?;
    module.add_function(wrap_pyfunction!(forked, module)?)?;
    module.add_function(wrap_pyfunction!(make, module)?)?;
    module.add_function(wrap_pyfunction!(wrapped, module)?)?;
    module.add_function(wrap_pyfunction!(raise_pending, module)?)?;
    module.add_function(wrap_pyfunction!(traced, module)?)?;
    module.add_function(wrap_pyfunction!(describe, module)?)?;
    Ok(())
}
