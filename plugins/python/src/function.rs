//! The object that takes a function's place: it dispatches by the types of arguments.
#![allow(unsafe_code)] // A type of the interpreter's with its own call; lives by its rules.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::arguments::{Given, Parameters};
use crate::ir::Type;
use crate::run::{self, Attempt};
use crate::unit::{Compiled, compile};

/// Combinations of argument types that a function is compiled for; more are the interpreter's.
const SPECIALISATIONS: usize = 8;
/// After so many calls a specialisation is compared with the interpreter, if more than one in four had to be left, or if what it does
/// is little.
const PATIENCE: u64 = 64;
/// A function whose names change their meaning this many times is the interpreter's.
const CHANGES: u32 = 8;
/// Calls without code for them, after which a function is the interpreter's unless there are more with.
const MISSES: u32 = 128;
/// Calls that are timed for it, each other in the interpreter.
const TRIAL: u32 = 32;
const VECTORCALL_OFFSET_MASK: usize = 1 << (usize::BITS - 1);

/// How often a compiled function was given another code object; what was compiled before is thrown away.
pub static CODES: AtomicU64 = AtomicU64::new(0);

type VectorCall = unsafe extern "C" fn(
    *mut PyObject,
    *const *mut PyObject,
    usize,
    *mut PyObject,
) -> *mut PyObject;

/// A compiled function, as the interpreter sees it.
#[repr(C)]
pub struct Jit {
    base: PyObject,
    vectorcall: VectorCall,
    function: *mut PyObject,
    dict: *mut PyObject,
    weak: *mut PyObject,
    state: *mut State,
}

/// What is known of a function.
#[derive(Default)]
pub struct State {
    parameters: Parameters,
    pub specialisations: RefCell<Vec<&'static Specialisation>>,
    /// Types for which there is no code, and why.
    pub refused: RefCell<Vec<(Vec<Type>, String)>>,
    /// How often code was thrown away since a name meant something else.
    changes: Cell<u32>,
    /// Calls for whose types there was no code, nor any to be made.
    misses: Cell<u32>,
    /// Whether nothing is compiled any more.
    pub given_up: Cell<bool>,
    /// Whether it is part of the code of others, which call it by its name.
    pub kept: Cell<bool>,
}

impl State {
    /// Whether of so many calls without code there are more than of those with.
    fn is_little_used(&self, misses: u64) -> bool {
        let specialisations = self.specialisations.borrow();
        let used = specialisations.iter().filter(|one| !one.dropped.get());
        used.map(|one| one.calls.get()).sum::<u64>() < misses
    }
}

/// A function compiled for certain types, with how it fares. Lives as long as the process: a call may be in it.
pub struct Specialisation {
    pub compiled: Box<Compiled>,
    pub calls: Cell<u64>,
    pub dropped: Cell<bool>,
    /// Calls of a trial that are still to come, and the least that one took so far, by the interpreter and compiled.
    trial: Cell<u32>,
    times: [Cell<Option<Duration>>; 2],
}

// The interpreter's vectorcall helpers are exported by every version, though the stable interface has them from 3.12 on.
unsafe extern "C" {
    fn PyVectorcall_Call(
        callable: *mut PyObject,
        tuple: *mut PyObject,
        dict: *mut PyObject,
    ) -> *mut PyObject;
    pub fn PyObject_Vectorcall(
        callable: *mut PyObject,
        arguments: *const *mut PyObject,
        count: usize,
        names: *mut PyObject,
    ) -> *mut PyObject;
    fn PyMethod_New(function: *mut PyObject, of: *mut PyObject) -> *mut PyObject;
}

impl Specialisation {
    fn left(&self) -> u64 {
        self.compiled
            .parts
            .iter()
            .flat_map(|part| &part.states)
            .map(|state| state.taken.get())
            .sum()
    }

    /// A call of a trial: timed, in the interpreter or not. The last one decides. Nothing if the arguments are others'.
    #[cold]
    unsafe fn try_out(
        &self,
        jit: *mut Jit,
        given: Given,
        arguments: *const *mut PyObject,
    ) -> Option<*mut PyObject> {
        let trial = self.trial.get();
        let begin = Instant::now();
        // SAFETY: as `vectorcall`'s.
        let result = unsafe {
            if trial.is_multiple_of(2) {
                PyObject_Vectorcall((*jit).function, given.arguments, given.flags, given.names)
            } else {
                match run::enter(&self.compiled, arguments) {
                    Attempt::Done(result) => result,
                    Attempt::Unfit => return None,
                }
            }
        };
        let time = &self.times[trial as usize % 2];
        let best = time.get().unwrap_or(Duration::MAX).min(begin.elapsed());
        time.set(Some(best));
        self.trial.set(trial - 1);
        if let ([Some(plain), Some(compiled)], 1) = (self.times.each_ref().map(Cell::get), trial) {
            // Called from Python code the interpreter's own is quicker by a good part than from here.
            self.dropped.set(compiled * 5 > plain * 4);
        }
        Some(result)
    }
}

/// The call of a function that was given up: the Python function's own.
unsafe extern "C" fn pass_on(
    callable: *mut PyObject,
    arguments: *const *mut PyObject,
    flags: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter calls with a `Jit`.
    unsafe { PyObject_Vectorcall((*callable.cast::<Jit>()).function, arguments, flags, names) }
}

/// From now on all calls are the Python function's, which goes back to the place that was the compiled one's.
#[cold]
unsafe fn give_up(jit: *mut Jit) {
    // SAFETY: a `Jit`; the interpreter's lock is held.
    unsafe {
        (*(*jit).state).given_up.set(true);
        (*jit).vectorcall = pass_on;
        if (*(*jit).state).kept.get() {
            return;
        }
        Python::attach(|py| {
            let [object, function] =
                [jit.cast(), (*jit).function].map(|object| Bound::from_borrowed_ptr(py, object));
            // Where it cannot go back, it is passed by.
            let _ = put_back(&object, &function);
        });
    }
}

/// Puts a function where the decorated one is: a global of its module's, or an attribute of a class there.
fn put_back(object: &Bound<'_, PyAny>, function: &Bound<'_, PyAny>) -> PyResult<()> {
    let globals = function.getattr("__globals__")?;
    let qualname: String = function.getattr("__qualname__")?.extract()?;
    let mut path = qualname.split('.');
    let mut name = path.next().unwrap_or_default().to_owned();
    let mut owner = None;
    let mut found = globals.get_item(&name)?;
    for next in path {
        // Classes and what is in them, without anything that an attribute of one may do.
        let class = found.cast_into::<PyType>()?;
        let private = next.starts_with("__") && !next.ends_with("__");
        name = if private {
            format!("_{}{next}", name.trim_start_matches('_'))
        } else {
            next.to_owned()
        };
        found = class.getattr("__dict__")?.get_item(&name)?;
        owner = Some(class);
    }
    if !found.is(object) {
        return Ok(());
    }
    match owner {
        None => globals.set_item(name, function),
        Some(class) => {
            let set = object.py().get_type::<PyType>().getattr("__setattr__")?;
            set.call1((class, name, function)).map(drop)
        }
    }
}

unsafe extern "C" fn vectorcall(
    callable: *mut PyObject,
    arguments: *const *mut PyObject,
    flags: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter calls with a `Jit` and as many arguments as it says.
    unsafe {
        let jit = callable.cast::<Jit>();
        let count = flags & !VECTORCALL_OFFSET_MASK;
        let given = Given {
            arguments,
            flags,
            names,
        };
        let state = &*(*jit).state;
        if !state.given_up.get() && !run::TRACED.load(Ordering::Relaxed) {
            let result = if state.parameters.are_given(count, names) {
                attempt_or_specialise(jit, given, arguments)
            } else {
                let parameters = &state.parameters;
                let arranged = parameters.arrange((*jit).function, given, count);
                arranged.and_then(|all| attempt_or_specialise(jit, given, all.objects.as_ptr()))
            };
            if let Some(result) = result {
                return result;
            }
        }
        PyObject_Vectorcall((*jit).function, arguments, flags, names)
    }
}

/// Calls compiled code with an argument for each parameter, made now if need be.
#[inline]
unsafe fn attempt_or_specialise(
    jit: *mut Jit,
    given: Given,
    arguments: *const *mut PyObject,
) -> Option<*mut PyObject> {
    // SAFETY: as `vectorcall`'s.
    unsafe { attempt(jit, given, arguments).or_else(|| specialise(jit, given, arguments)) }
}

/// [`attempt_or_specialise`], if there is code for the arguments.
#[inline]
unsafe fn attempt(
    jit: *mut Jit,
    given: Given,
    arguments: *const *mut PyObject,
) -> Option<*mut PyObject> {
    // SAFETY: the caller's `Jit` has a state.
    let state = unsafe { &*(*jit).state };
    let mut at = 0;
    loop {
        let specialisation = *state.specialisations.borrow().get(at)?;
        at += 1;
        if specialisation.dropped.get() {
            continue;
        }
        let compiled = &specialisation.compiled;
        if !compiled.holds() {
            // A name means something else now: the next call of these types compiles again, unless that happens all the time.
            state.changes.set(state.changes.get() + 1);
            state
                .specialisations
                .borrow_mut()
                .retain(|other| !std::ptr::eq(*other, specialisation));
            if state.changes.get() >= CHANGES {
                // SAFETY: as the caller's.
                unsafe { give_up(jit) };
                return None;
            }
            at -= 1;
            continue;
        }
        if specialisation.trial.get() > 0 {
            // SAFETY: as the caller's.
            return unsafe { specialisation.try_out(jit, given, arguments) };
        }
        // SAFETY: as the caller's.
        if let Attempt::Done(result) = unsafe { run::enter(compiled, arguments) } {
            let calls = specialisation.calls.get() + 1;
            specialisation.calls.set(calls);
            if calls == PATIENCE && (specialisation.left() * 4 > calls || compiled.straight) {
                specialisation.trial.set(TRIAL);
            }
            return Some(result);
        }
    }
}

#[cold]
unsafe fn specialise(
    jit: *mut Jit,
    given: Given,
    arguments: *const *mut PyObject,
) -> Option<*mut PyObject> {
    // SAFETY: as `vectorcall`'s.
    unsafe {
        let state = &*(*jit).state;
        let misses = state.misses.get().saturating_add(1);
        state.misses.set(misses);
        if state.given_up.get() {
            return None;
        }
        if misses >= MISSES && misses.is_power_of_two() && state.is_little_used(misses.into()) {
            give_up(jit);
            return None;
        }
        if misses > MISSES && !misses.is_multiple_of(8) {
            // Other types are looked at now and then.
            return None;
        }
        let types: Option<Vec<Type>> = (0..state.parameters.count())
            .map(|at| run::type_of(*arguments.add(at)))
            .collect();
        let types = types?;
        if state.specialisations.borrow().len() >= SPECIALISATIONS
            || state
                .specialisations
                .borrow()
                .iter()
                .any(|known| known.compiled.params == types)
            || state
                .refused
                .borrow()
                .iter()
                .any(|(known, _)| *known == types)
        {
            return None;
        }
        // Attached, so that whatever is dropped goes at once.
        let compiled = Python::attach(|py| {
            let function = Bound::from_borrowed_ptr(py, (*jit).function);
            crate::machine()
                .and_then(|machine| compile(machine, &function, &types))
                .map_err(|error| error.value(py).to_string())
        });
        match compiled {
            Ok(compiled) => {
                let specialisation = Specialisation {
                    compiled,
                    calls: Cell::new(0),
                    dropped: Cell::new(false),
                    trial: Cell::new(0),
                    times: Default::default(),
                };
                state
                    .specialisations
                    .borrow_mut()
                    .push(Box::leak(Box::new(specialisation)));
                attempt(jit, given, arguments)
            }
            Err(refused) => {
                state.refused.borrow_mut().push((types, refused));
                if state.refused.borrow().len() >= SPECIALISATIONS {
                    give_up(jit);
                }
                None
            }
        }
    }
}

unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: the interpreter is done with a `Jit`.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let ty = ffi::Py_TYPE(object);
        let jit = object.cast::<Jit>();
        if !(*jit).weak.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        clear(object);
        drop(Box::from_raw((*jit).state));
        ffi::PyObject_GC_Del(object.cast());
        ffi::Py_DecRef(ty.cast());
    }
}

unsafe extern "C" fn clear(object: *mut PyObject) -> c_int {
    // SAFETY: a `Jit`.
    unsafe {
        let jit = object.cast::<Jit>();
        for field in [&raw mut (*jit).function, &raw mut (*jit).dict] {
            let old = std::mem::replace(&mut *field, null_mut());
            if !old.is_null() {
                ffi::Py_DecRef(old);
            }
        }
    }
    0
}

unsafe extern "C" fn traverse(
    object: *mut PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: a `Jit`; the interpreter's own function visits what it refers to.
    unsafe {
        let jit = object.cast::<Jit>();
        for field in [
            ffi::Py_TYPE(object).cast::<PyObject>(),
            (*jit).function,
            (*jit).dict,
        ] {
            if !field.is_null() {
                let result = visit(field, argument);
                if result != 0 {
                    return result;
                }
            }
        }
    }
    0
}

unsafe extern "C" fn bind(
    object: *mut PyObject,
    of: *mut PyObject,
    _class: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a `Jit`, and the object whose attribute it is, if any.
    unsafe {
        if of.is_null() || of == ffi::Py_None() {
            ffi::Py_IncRef(object);
            return object;
        }
        PyMethod_New(object, of)
    }
}

/// Attributes that are the Python function's; the first is its code.
const OWN: [&std::ffi::CStr; 6] = [
    c"__code__",
    c"__defaults__",
    c"__kwdefaults__",
    c"__globals__",
    c"__closure__",
    c"__builtins__",
];

unsafe extern "C" fn get_own(object: *mut PyObject, name: *mut c_void) -> *mut PyObject {
    // SAFETY: a `Jit`, and a name of [`OWN`].
    unsafe { ffi::PyObject_GetAttrString((*object.cast::<Jit>()).function, name.cast()) }
}

unsafe extern "C" fn set_own(
    object: *mut PyObject,
    value: *mut PyObject,
    name: *mut c_void,
) -> c_int {
    // SAFETY: a `Jit`, a name of [`OWN`], and an object or null to delete.
    unsafe {
        let jit = object.cast::<Jit>();
        if name.cast_const().cast() == OWN[0].as_ptr() {
            // Another function from now on: nothing that was compiled is it.
            give_up(jit);
            CODES.fetch_add(1, Ordering::Relaxed);
        }
        if value.is_null() {
            return ffi::PyObject_DelAttrString((*jit).function, name.cast());
        }
        ffi::PyObject_SetAttrString((*jit).function, name.cast(), value)
    }
}

/// The type of compiled functions.
pub fn new_type(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr().cast::<c_char>(),
        type_code: 19, // T_PYSSIZET
        offset: offset as isize,
        flags: 1, // READONLY
        doc: std::ptr::null(),
    };
    let members = Box::leak(Box::new([
        member(c"__vectorcalloffset__", offset_of!(Jit, vectorcall)),
        member(c"__dictoffset__", offset_of!(Jit, dict)),
        member(c"__weaklistoffset__", offset_of!(Jit, weak)),
        // SAFETY: a member without a name ends the list.
        unsafe { std::mem::zeroed() },
    ]));
    let mut getset = vec![ffi::PyGetSetDef {
        name: c"__dict__".as_ptr(),
        get: Some(ffi::PyObject_GenericGetDict),
        set: Some(ffi::PyObject_GenericSetDict),
        doc: std::ptr::null(),
        closure: null_mut(),
    }];
    getset.extend(OWN.iter().map(|name| ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get_own),
        set: Some(set_own),
        doc: std::ptr::null(),
        closure: name.as_ptr().cast_mut().cast(),
    }));
    // SAFETY: as above.
    getset.push(unsafe { std::mem::zeroed() });
    let getset = Box::leak(getset.into_boxed_slice());
    let slot = |slot: c_int, function: *mut c_void| ffi::PyType_Slot {
        slot,
        pfunc: function,
    };
    let slots = Box::leak(Box::new([
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_call, PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_descr_get, bind as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, getset.as_mut_ptr().cast()),
        slot(0, null_mut()),
    ]));
    let spec = Box::leak(Box::new(ffi::PyType_Spec {
        name: c"copatch.Compiled".as_ptr(),
        basicsize: size_of::<Jit>() as c_int,
        itemsize: 0,
        // Py_TPFLAGS_HAVE_VECTORCALL and Py_TPFLAGS_METHOD_DESCRIPTOR are 1 << 11 and 1 << 17.
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC) as u32 | 1 << 11 | 1 << 17,
        slots: slots.as_mut_ptr(),
    }));
    // SAFETY: the description and all that it points to live as long as the process.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(spec)) }.map(Bound::unbind)
}

/// A compiled function in the place of a Python function.
pub fn new(ty: &Bound<'_, PyAny>, function: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let state = State {
        parameters: Parameters::of(function)?,
        ..State::default()
    };
    // SAFETY: the type's allocator gives zeroed memory for a `Jit`, all of whose fields are set here.
    unsafe {
        let object = ffi::PyType_GenericAlloc(ty.as_ptr().cast::<PyTypeObject>(), 0);
        if object.is_null() {
            return Err(PyErr::fetch(ty.py()));
        }
        let jit = object.cast::<Jit>();
        (*jit).vectorcall = vectorcall;
        ffi::Py_IncRef(function.as_ptr());
        (*jit).function = function.as_ptr();
        (*jit).state = Box::into_raw(Box::new(state));
        Ok(Bound::from_owned_ptr(ty.py(), object).unbind())
    }
}

/// The function and state of a compiled function.
pub fn parts<'py>(
    ty: &Bound<'py, PyAny>,
    object: &Bound<'py, PyAny>,
) -> Option<(Bound<'py, PyAny>, &'py State)> {
    if object.get_type().as_ptr() != ty.as_ptr() {
        return None;
    }
    // SAFETY: an object of the type is a `Jit`; its state lives as long as it.
    unsafe {
        let jit = object.as_ptr().cast::<Jit>();
        Some((
            Bound::from_borrowed_ptr(object.py(), (*jit).function),
            &*(*jit).state,
        ))
    }
}

/// Time that all compilation of a function took.
pub fn time(state: &State) -> Duration {
    state
        .specialisations
        .borrow()
        .iter()
        .map(|specialisation| specialisation.compiled.time)
        .sum()
}
