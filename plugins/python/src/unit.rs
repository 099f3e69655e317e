//! From a Python function and the types of its arguments to compiled code: what names mean, which functions go together, and
//! when any of that holds no longer.
#![allow(unsafe_code)] // Compares addresses of objects and looks names up by the interpreter's own calls.

use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use copatch::Program;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::function::CODES;
use crate::generate::{calls, generate};
use crate::ir::{Exit, Function, Step, Type};
use crate::leave::ExitState;
use crate::machine::{Machine, constant, is_comprehension};
use crate::run;
use crate::structure::structure;
use crate::translate::{Code, Environment, Known, Translator, What};

// Exported by every version, though no part of the stable interface.
unsafe extern "C" {
    fn PyCell_New(object: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// Functions that are compiled with another because it calls them, at most.
const FUNCTIONS: usize = 64;

/// A name that the code relies on: what it meant when the code was made.
pub struct Dependency {
    dict: Py<PyDict>,
    name: Py<PyString>,
    value: Option<Py<PyAny>>,
}

impl Dependency {
    fn holds(&self) -> bool {
        // SAFETY: a dictionary and a string; the reference is borrowed and only compared.
        let now = unsafe { ffi::PyDict_GetItemWithError(self.dict.as_ptr(), self.name.as_ptr()) };
        now == self.value.as_ref().map_or(std::ptr::null_mut(), Py::as_ptr)
    }
}

/// Where a dictionary's version stands, and the one last seen.
type Tag = (*const u64, Cell<u64>);

/// A function compiled for arguments of certain types, with everything that its code refers to.
pub struct Compiled {
    pub params: Vec<Type>,
    pub result: Type,
    pub program: Program,
    /// Address of its entry from outside.
    pub entry: usize,
    pub parts: Vec<Part>,
    pub dependencies: Vec<Dependency>,
    /// Version tags of the dictionaries when the names were last seen to mean the same; up to 3.12.
    tags: Vec<Tag>,
    /// [`CODES`] when it was made.
    codes: u64,
    /// Objects that exits put back.
    pub objects: Vec<Py<PyAny>>,
    pub time: Duration,
    pub operations: usize,
    /// Whether it goes neither round nor to other compiled functions: then a call may take longer than what it does.
    pub straight: bool,
}

/// A function within the code of another.
pub struct Part {
    /// The Python function.
    pub function: Py<PyAny>,
    pub params: Vec<Type>,
    pub result: Type,
    /// How many variables its frame has, the exit's number included.
    pub vars: usize,
    /// Whether it counts among the calls that are open.
    pub counts: bool,
    pub exits: Vec<Exit>,
    pub states: Vec<ExitState>,
    /// What stays with the interpreter: code units and reasons.
    pub left: Vec<(u32, &'static str)>,
}

impl Compiled {
    /// Whether every name it relies on means what it did.
    pub fn holds(&self) -> bool {
        if self.codes != CODES.load(Ordering::Relaxed) {
            return false;
        }
        // SAFETY: the dictionaries are alive, since dependencies hold them.
        let same = !self.tags.is_empty()
            && self
                .tags
                .iter()
                .all(|(tag, seen)| unsafe { **tag } == seen.get());
        if same || self.dependencies.is_empty() {
            return true;
        }
        let holds = self.dependencies.iter().all(Dependency::holds);
        if holds {
            for (tag, seen) in &self.tags {
                // SAFETY: as above.
                seen.set(unsafe { **tag });
            }
        }
        holds
    }
}

/// Everything that is compiled together.
struct Together<'py, 'm> {
    py: Python<'py>,
    machine: &'m Machine,
    codes: Vec<(Py<PyAny>, &'static Code)>,
    /// The compiled functions that those from the second on are called by.
    callees: Vec<Py<PyAny>>,
    /// By number: which code, and what was last known of its types.
    functions: Vec<(usize, Vec<Type>, Option<Type>)>,
    dependencies: Vec<Dependency>,
    objects: Vec<Py<PyAny>>,
    /// The function in hand.
    current: usize,
}

impl Together<'_, '_> {
    fn object(&mut self, object: &Bound<'_, PyAny>) -> u32 {
        let at = self
            .objects
            .iter()
            .position(|known| known.as_ptr() == object.as_ptr());
        at.unwrap_or_else(|| {
            self.objects.push(object.clone().unbind());
            self.objects.len() - 1
        }) as u32
    }

    fn known(&mut self, object: &Bound<'_, PyAny>) -> Known {
        if let Some(constant) = constant(object) {
            return Known::Constant(constant);
        }
        let builtin = self
            .machine
            .builtins
            .iter()
            .find(|(builtin, _)| builtin.as_ptr() == object.as_ptr());
        let what = match builtin {
            Some((_, what)) => *what,
            None if self.wrapped(object).is_some() => What::Compiled,
            None => What::Other,
        };
        Known::Object(self.object(object), what)
    }

    /// The Python function under a compiled one.
    fn wrapped<'py>(&self, object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        let py = object.py();
        let function = self.machine.wrapped.bind(py).call1((object,)).ok()?;
        (!function.is_none()).then_some(function)
    }

    fn depend(&mut self, dict: &Bound<'_, PyDict>, name: &str) -> Option<Py<PyAny>> {
        let value = dict.get_item(name).ok().flatten().map(Bound::unbind);
        let known = self.dependencies.iter().any(|dependency| {
            dependency.dict.as_ptr() == dict.as_ptr()
                && dependency
                    .name
                    .bind(self.py)
                    .to_str()
                    .is_ok_and(|n| n == name)
        });
        if !known {
            self.dependencies.push(Dependency {
                dict: dict.clone().unbind(),
                name: PyString::intern(self.py, name).unbind(),
                value: value.as_ref().map(|value| value.clone_ref(self.py)),
            });
        }
        value
    }

    /// Translates the first function and all that are called; those that promise a result are of that type.
    fn translate(&mut self, promises: &[(usize, Vec<Type>, Type)]) -> Vec<Translator<'static>> {
        let mut translators: Vec<Translator<'_>> = Vec::new();
        loop {
            let mut any = false;
            let mut at = 0;
            while at < self.functions.len() {
                if at == translators.len() {
                    let (code, params, _) = &self.functions[at];
                    let mut translator = Translator::new(self.codes[*code].1, params);
                    let promise = promises
                        .iter()
                        .find(|(of, types, _)| of == code && types == params);
                    if let Some((.., result)) = promise {
                        translator.promise(*result);
                    }
                    translators.push(translator);
                }
                self.current = self.functions[at].0;
                any |= translators[at].advance(self);
                self.functions[at].2 = translators[at].result();
                at += 1;
            }
            if translators.len() == self.functions.len() && translators.iter().all(Translator::done)
            {
                return translators;
            }
            if !any {
                translators.iter_mut().for_each(Translator::give_up_waiting);
            }
        }
    }

    /// Adds a function's code, and what it is called by.
    fn add_code(&mut self, function: Bound<'_, PyAny>, code: Code, callee: Py<PyAny>) -> usize {
        self.codes
            .push((function.unbind(), Box::leak(Box::new(code))));
        self.callees.push(callee);
        self.codes.len() - 1
    }

    /// The number of the function of that code for arguments of these types; nothing if there are too many.
    fn specialise_code(&mut self, code: usize, types: &[Type]) -> Option<u32> {
        if self.functions.len() >= FUNCTIONS {
            return None;
        }
        let known = self
            .functions
            .iter()
            .position(|(of, params, _)| *of == code && params == types);
        let known = known.unwrap_or_else(|| {
            self.functions.push((code, types.to_vec(), None));
            self.functions.len() - 1
        });
        Some(known as u32)
    }
}

impl Environment for Together<'_, '_> {
    fn global(&mut self, name: &str) -> Option<Known> {
        if name == "list.append" {
            let append = self.machine.append.clone_ref(self.py);
            return Some(Known::Object(
                self.object(append.bind(self.py)),
                What::Append,
            ));
        }
        let function = self.codes[self.current].0.clone_ref(self.py);
        let globals = function.bind(self.py).getattr("__globals__").ok()?;
        let globals = globals.cast::<PyDict>().ok()?.clone();
        if let Some(value) = self.depend(&globals, name) {
            return Some(self.known(value.bind(self.py)));
        }
        let builtins = function.bind(self.py).getattr("__builtins__").ok()?;
        let builtins = builtins.cast::<PyDict>().ok()?.clone();
        let value = self.depend(&builtins, name)?;
        Some(self.known(value.bind(self.py)))
    }

    fn attribute(&mut self, object: u32, name: &str) -> Option<Known> {
        let module = self.objects.get(object as usize)?.clone_ref(self.py);
        let dict = module.bind(self.py).getattr("__dict__").ok()?;
        let dict = dict.cast::<PyDict>().ok()?.clone();
        let value = self.depend(&dict, name)?;
        Some(self.known(value.bind(self.py)))
    }

    fn constant(&mut self, number: u32) -> u32 {
        let function = self.codes[self.current].0.bind(self.py).clone();
        let constant = function
            .getattr("__code__")
            .and_then(|code| code.getattr("co_consts"))
            .and_then(|constants| constants.get_item(number));
        match constant {
            Ok(constant) => self.object(&constant),
            Err(_) => self.object(&self.py.None().into_bound(self.py)),
        }
    }

    fn tuple(&mut self, object: u32) -> Option<(u64, Type)> {
        let object = self.objects.get(object as usize)?.as_ptr();
        // SAFETY: an object, which lives as long as the code.
        let ty = unsafe { run::type_of(object) }?;
        matches!(ty, Type::Tuple(_)).then_some((object as u64, ty))
    }

    fn specialise(&mut self, function: u32, arguments: &[Type]) -> Option<u32> {
        let object = self.objects.get(function as usize)?.clone_ref(self.py);
        let function = self.wrapped(object.bind(self.py))?;
        let at = self
            .codes
            .iter()
            .position(|(known, _)| known.as_ptr() == function.as_ptr());
        let at = match at {
            Some(at) => at,
            None => {
                let code = self.machine.code(&function).ok()?;
                self.add_code(function, code, object)
            }
        };
        let code = self.codes[at].1;
        if code.arguments != arguments.len() || code.named != 0 {
            return None;
        }
        self.specialise_code(at, arguments)
    }

    fn comprehension(&mut self, constant: u32) -> Option<u32> {
        let function = self.codes[self.current].0.bind(self.py).clone();
        let code = function.getattr("__code__").ok()?;
        let code = code.getattr("co_consts").ok()?.get_item(constant).ok()?;
        if self.machine.layout.minor != 11 || !is_comprehension(&code) {
            return None;
        }
        let known = self.codes.iter().position(|(other, _)| {
            let other = other.bind(self.py).getattr("__code__");
            other.is_ok_and(|other| other.is(&code))
        });
        if let Some(known) = known {
            return Some(known as u32);
        }
        // Stands for all that are made of the code: what cells these have is another matter.
        let count = code.getattr("co_freevars").ok()?.len().ok()?;
        let cells: Vec<Bound<'_, PyAny>> = (0..count)
            // SAFETY: an empty cell; the interpreter's lock is held.
            .map(|_| unsafe { Bound::from_owned_ptr_or_err(self.py, PyCell_New(null_mut())) })
            .collect::<PyResult<_>>()
            .ok()?;
        let closure = PyTuple::new(self.py, cells).ok()?;
        let globals = function.getattr("__globals__").ok()?;
        let name = code.getattr("co_name").ok()?;
        let made = function
            .get_type()
            .call1((code, globals, name, self.py.None(), closure))
            .ok()?;
        let code = self.machine.code_of(&made, true).ok()?;
        if code.locals < code.free || code.arguments != 1 {
            return None;
        }
        let callee = made.clone().unbind();
        Some(self.add_code(made, code, callee) as u32)
    }

    fn specialise_comprehension(&mut self, function: u32, arguments: &[Type]) -> Option<u32> {
        self.specialise_code(function as usize, arguments)
    }

    fn result(&self, number: u32) -> Option<Type> {
        self.functions.get(number as usize)?.2
    }
}

/// Compiles a function for arguments of these types, with those it calls.
///
/// # Errors
/// `NotImplementedError` with the reason why the interpreter is as good.
pub fn compile(
    machine: &Machine,
    function: &Bound<'_, PyAny>,
    types: &[Type],
) -> PyResult<Box<Compiled>> {
    let begin = Instant::now();
    let py = function.py();
    let refuse = |why: String| pyo3::exceptions::PyNotImplementedError::new_err(why);
    let root: &'static Code = Box::leak(Box::new(machine.code(function)?));
    let mut together = Together {
        py,
        machine,
        codes: vec![(function.clone().unbind(), root)],
        callees: Vec::new(),
        functions: vec![(0, types.to_vec(), None)],
        dependencies: Vec::new(),
        objects: Vec::new(),
        current: 0,
    };
    // What functions had better return, by code and types.
    let mut promises: Vec<(usize, Vec<Type>, Type)> = Vec::new();
    let translators = loop {
        let translators = together.translate(&promises);
        let before = promises.len();
        for (translator, (code, types, _)) in translators.iter().zip(&together.functions) {
            let promised =
                |(of, params, _): &(usize, Vec<Type>, Type)| of == code && params == types;
            if let Some(better) = translator.better()
                && !promises.iter().any(promised)
            {
                promises.push((*code, types.clone(), better));
            }
        }
        if promises.len() == before {
            break translators;
        }
        together.functions.truncate(1);
        together.functions[0].2 = None;
    };
    if translators[0].is_futile() {
        let why = translators[0]
            .left
            .first()
            .map_or("nothing", |(_, why)| why);
        return Err(refuse(format!("it begins with {why}")));
    }
    for (translator, (code, ..)) in translators.iter().zip(&together.functions) {
        if let (false, Some(at)) = (translator.is_futile(), code.checked_sub(1)) {
            crate::keep(together.callees[at].bind(py));
        }
    }
    let mut left = Vec::new();
    let mut functions: Vec<Function> = Vec::new();
    for mut translator in translators {
        left.push(std::mem::take(&mut translator.left));
        functions.push(translator.finish());
    }
    let mut parts = Vec::new();
    let mut structured = Vec::new();
    for (index, function) in functions.iter().enumerate() {
        let steps = structure(&function.blocks)
            .ok_or_else(|| refuse("its loops are nested too deeply".into()))?;
        parts.push(Part {
            function: together.codes[together.functions[index].0].0.clone_ref(py),
            params: function.params.clone(),
            result: function.result,
            vars: function.vars.len() + 1,
            counts: calls(&steps),
            states: function
                .exits
                .iter()
                .map(|_| ExitState::default())
                .collect(),
            exits: function.exits.clone(),
            left: std::mem::take(&mut left[index]),
        });
        structured.push(steps);
    }
    // Its address goes into the code, so it is made first and filled in then.
    let mut compiled = Box::<Compiled>::new_uninit();
    let address = compiled.as_mut_ptr() as u64;
    let program = generate(
        &functions,
        &structured,
        &machine.pack,
        &machine.operations,
        address,
    )
    .map_err(|error| refuse(error.to_string()))?;
    let entry = program
        .entry(functions.len() as u32)
        .ok_or_else(|| refuse("its code has no entry".into()))?;
    let tags = tags(machine.layout.minor, &together.dependencies);
    Ok(Box::write(
        compiled,
        Compiled {
            params: types.to_vec(),
            result: functions[0].result,
            program,
            entry,
            parts,
            tags,
            codes: CODES.load(Ordering::Relaxed),
            dependencies: together.dependencies,
            objects: together.objects,
            time: begin.elapsed(),
            operations: structured.iter().map(Vec::len).sum(),
            straight: !calls(&structured[0]) && !structured[0].contains(&Step::Loop),
        },
    ))
}

/// Where the versions of dictionaries stand: `ma_version_tag` is the third word of a dictionary up to 3.12.
fn tags(minor: u8, dependencies: &[Dependency]) -> Vec<Tag> {
    let mut tags: Vec<Tag> = Vec::new();
    if minor > 12 {
        return tags;
    }
    for dependency in dependencies {
        let tag = dependency
            .dict
            .as_ptr()
            .cast::<u64>()
            .wrapping_add(3)
            .cast_const();
        if !tags.iter().any(|(known, _)| *known == tag) {
            // SAFETY: a dictionary's own word, which the dependency keeps alive.
            tags.push((tag, Cell::new(unsafe { *tag })));
        }
    }
    tags
}
