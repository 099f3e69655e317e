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

mod arguments;
mod bytecode;
mod foreign;
mod function;
mod generate;
mod helpers;
mod ir;
mod leave;
mod machine;
mod run;
mod structure;
mod translate;
mod unit;

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyList, PyTuple};

use crate::machine::Machine;

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

/// Notes that a compiled function is part of others' code, and so must stay where they look for it.
fn keep(object: &Bound<'_, PyAny>) {
    let state = global().map(|global| function::parts(global.1.bind(object.py()), object));
    if let Ok(Some((_, state))) = state {
        state.kept.set(true);
    }
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

/// A function in the place of `sys.settrace` or `sys.setprofile`, by its name, that notes whether somebody traces or profiles from
/// then on. It has no frame of Python's that a tracer would see.
#[pyfunction]
fn watcher<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyCFunction>> {
    let sys = py.import("sys")?;
    let original = sys.getattr(name)?.unbind();
    // They live as long as the process.
    let text = |text: &str| {
        let text = std::ffi::CString::new(text).ok()?.into_boxed_c_str();
        Some(&*Box::leak(text))
    };
    let doc = original.bind(py).getattr("__doc__")?.extract::<String>()?;
    PyCFunction::new_closure(
        py,
        text(name),
        text(&doc),
        move |arguments: &Bound<'_, PyTuple>, keywords: Option<&Bound<'_, PyDict>>| {
            let py = arguments.py();
            original.bind(py).call(arguments, keywords)?;
            let sys = py.import("sys")?;
            let any = !sys.call_method0("gettrace")?.is_none()
                || !sys.call_method0("getprofile")?.is_none();
            run::TRACED.store(any, std::sync::atomic::Ordering::Relaxed);
            PyResult::Ok(())
        },
    )
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
    entry.set_item("given_up", state.given_up.get())?;
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
    module.add_function(wrap_pyfunction!(watcher, module)?)?;
    module.add_function(wrap_pyfunction!(describe, module)?)?;
    Ok(())
}
