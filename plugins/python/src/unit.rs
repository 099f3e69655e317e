//! From a Python function and the types of its arguments to compiled code: what names mean, which functions go together, and
//! when any of that holds no longer.
#![allow(unsafe_code)] // Compares addresses of objects and looks names up by the interpreter's own calls.

use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use copatch::{Pack, Program};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyString, PyTuple};

use crate::bytecode::{Dialect, Instruction, Op, function_at};
use crate::function::CODES;
use crate::generate::{Operations, calls, generate};
use crate::helpers::MATH;
use crate::ir::{Constant, Exit, Function, Item, Type};
use crate::leave::ExitState;
use crate::run;
use crate::structure::structure;
use crate::translate::{Code, Environment, Known, Layout, MathFunction, Translator, What};

// Exported by every version, though no part of the stable interface.
unsafe extern "C" {
    fn PyCell_New(object: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// Functions that are compiled with another because it calls them, at most.
const FUNCTIONS: usize = 64;

/// What the whole module needs, made when it is imported.
pub struct Machine {
    pub pack: Arc<Pack>,
    pub operations: Operations,
    pub dialect: Dialect,
    pub layout: Layout,
    /// Makes a function that goes on in the middle of another.
    pub resume: Py<PyAny>,
    /// Gives the function that a compiled one was made from, or `None`.
    pub wrapped: Py<PyAny>,
    builtins: Vec<(Py<PyAny>, What)>,
    append: Py<PyAny>,
    /// The interpreter's `sum`, `enumerate` and `zip`.
    pub sum: Py<PyAny>,
    pub enumerate: Py<PyAny>,
    pub zip: Py<PyAny>,
}

impl Machine {
    /// Looks around in the interpreter that runs.
    pub fn new(py: Python<'_>, wrapped: Py<PyAny>) -> PyResult<Self> {
        let fault = |error: copatch::Error| {
            pyo3::exceptions::PyImportError::new_err(format!("copatch: {error}"))
        };
        let pack = Pack::for_host(copatch_pack_python::packs()).map_err(fault)?;
        let operations = Operations::new(&pack).map_err(fault)?;
        let minor: u8 = py
            .import("sys")?
            .getattr("version_info")?
            .getattr("minor")?
            .extract()?;
        let opcode = py.import("opcode")?;
        let opmap: std::collections::HashMap<String, u32> = opcode.getattr("opmap")?.extract()?;
        let opmap: std::collections::HashMap<String, u8> = opmap
            .into_iter()
            .filter_map(|(name, number)| Some((name, u8::try_from(number).ok()?)))
            .collect();
        let entries = opcode.getattr("_inline_cache_entries")?;
        let mut caches = vec![0u8; 256];
        if let Ok(by_name) = entries.cast::<PyDict>() {
            for (name, count) in by_name.iter() {
                if let Some(number) = opmap.get(&name.extract::<String>()?) {
                    caches[usize::from(*number)] = count.extract()?;
                }
            }
        } else {
            for (number, count) in entries.try_iter()?.enumerate() {
                if let Some(entry) = caches.get_mut(number) {
                    *entry = count?.extract()?;
                }
            }
        }
        let builtins = py.import("builtins")?;
        let mut known = Vec::new();
        for (name, what) in [
            ("range", What::Range),
            ("len", What::Len),
            ("abs", What::Abs),
            ("min", What::Min),
            ("max", What::Max),
            ("int", What::Int),
            ("float", What::Float),
            ("bool", What::Bool),
            ("list", What::List),
            ("sum", What::Sum),
            ("enumerate", What::Enumerate),
            ("zip", What::Zip),
        ] {
            known.push((builtins.getattr(name)?.unbind(), what));
        }
        let math = py.import("math")?;
        for (name, function) in [
            ("sqrt", MathFunction::Sqrt),
            ("fabs", MathFunction::Fabs),
            ("floor", MathFunction::Floor),
            ("ceil", MathFunction::Ceil),
        ] {
            known.push((math.getattr(name)?.unbind(), What::Math(function)));
        }
        for (number, (name, _)) in MATH.iter().enumerate() {
            let function = MathFunction::Other(number as u8);
            known.push((math.getattr(*name)?.unbind(), What::Math(function)));
        }
        known.push((math.into_any().unbind(), What::Module));
        let address = |object: &Bound<'_, PyAny>| object.as_ptr() as u64;
        let layout = Layout {
            minor,
            int: address(&builtins.getattr("int")?),
            float: address(&builtins.getattr("float")?),
            list: address(&builtins.getattr("list")?),
            truths: [
                address(&builtins.getattr("False")?),
                address(&builtins.getattr("True")?),
            ],
            shared: shared_integers(py)?,
        };
        Ok(Self {
            pack,
            operations,
            dialect: Dialect::new(minor, opmap, caches),
            layout,
            resume: py.import("copatch._resume")?.getattr("make")?.unbind(),
            wrapped,
            builtins: known,
            sum: builtins.getattr("sum")?.unbind(),
            enumerate: builtins.getattr("enumerate")?.unbind(),
            zip: builtins.getattr("zip")?.unbind(),
            append: builtins.getattr("list")?.getattr("append")?.unbind(),
        })
    }

    /// The parts of a function's code object; an error says why it stays with the interpreter.
    pub fn code(&self, function: &Bound<'_, PyAny>) -> PyResult<Code> {
        self.code_of(function, false)
    }

    fn code_of(&self, function: &Bound<'_, PyAny>, comprehension: bool) -> PyResult<Code> {
        let code = function.getattr("__code__")?;
        let refuse = |why: &str| {
            Err(pyo3::exceptions::PyNotImplementedError::new_err(
                why.to_owned(),
            ))
        };
        let flags: u32 = code.getattr("co_flags")?.extract()?;
        // CO_VARARGS, CO_VARKEYWORDS; CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR.
        if flags & (0x4 | 0x8) != 0 {
            return refuse("it takes any number of arguments");
        }
        if flags & (0x20 | 0x80 | 0x200) != 0 {
            return refuse("it is a generator or a coroutine");
        }
        if code.getattr("co_kwonlyargcount")?.extract::<u32>()? != 0 {
            return refuse("it takes arguments by keyword only");
        }
        let names = |of: &str| -> PyResult<Vec<String>> { code.getattr(of)?.extract() };
        let (mut variables, cells, free) = (
            names("co_varnames")?,
            names("co_cellvars")?,
            names("co_freevars")?,
        );
        let shares = "it shares variables with other functions";
        if !free.is_empty() && !comprehension || !cells.is_empty() && self.layout.minor != 11 {
            return refuse(shares);
        }
        for cell in &cells {
            if !variables.contains(cell) {
                variables.push(cell.clone());
            }
        }
        let locals = variables.len() + free.len();
        let position = |cell| variables.iter().position(|name| name == cell);
        let shared = cells
            .iter()
            .filter_map(position)
            .chain(variables.len()..locals)
            .map(|at| at as u32)
            .collect();
        let bytes: Vec<u8> = code.getattr("co_code")?.extract()?;
        let instructions = self.dialect.decode(&bytes);
        if instructions.is_empty() || instructions.len() > 5000 {
            return refuse("it is too long");
        }
        // Two numbers are one object or not, which compiled code does not know: it has their values.
        let of_unknown = |two: &[Instruction]| {
            matches!(two[1].op, Op::Is(_))
                && !matches!(
                    two[0].op,
                    Op::LoadConst(_) | Op::LoadGlobal(..) | Op::LoadAttr(..)
                )
        };
        if instructions.windows(2).any(of_unknown) {
            return refuse("it asks whether two things are one");
        }
        let names: Vec<String> = code.getattr("co_names")?.extract()?;
        if begins_with_an_object(&instructions, &names) {
            return refuse("it begins with an object");
        }
        let catches = instructions
            .iter()
            .any(|instruction| self.dialect.name(instruction) == "PUSH_EXC_INFO");
        let constants = code.getattr("co_consts")?;
        let constants = constants.cast::<PyTuple>()?;
        // Whoever else gets a cell may keep it.
        let mut at = 0;
        while at < instructions.len() {
            if let Op::LoadClosure(_) = instructions[at].op {
                match function_at(&instructions, at) {
                    Some(made)
                        if constants
                            .get_item(made.constant as usize)
                            .is_ok_and(|code| is_comprehension(&code)) =>
                    {
                        at = made.behind;
                    }
                    _ => return refuse(shares),
                }
            }
            at += 1;
        }
        Ok(Code {
            instructions,
            constants: constants.iter().map(|item| constant(&item)).collect(),
            names,
            locals,
            arguments: code.getattr("co_argcount")?.extract()?,
            free: variables.len(),
            cells: shared,
            catches,
            layout: self.layout,
        })
    }
}

/// Where the shared objects of small integers begin: from -5 to 256 in all versions, if they are as far apart as is expected.
fn shared_integers(py: Python<'_>) -> PyResult<Option<u64>> {
    let address = |value: i64| -> PyResult<u64> { Ok(value.into_pyobject(py)?.as_ptr() as u64) };
    let least = address(-5)?;
    for value in -5..=256 {
        if address(value)? != least + 32 * (value + 5) as u64 {
            return Ok(None);
        }
    }
    Ok(Some(least))
}

/// Whether control comes to an attribute of an object, or to what is not compiled, before anything is decided: then there is
/// nothing to gain whatever the types are. Attributes of globals may be functions of modules, lists may be appended to, and arrays have
/// shapes.
fn begins_with_an_object(instructions: &[Instruction], names: &[String]) -> bool {
    for (at, instruction) in instructions.iter().enumerate() {
        match instruction.op {
            Op::Other => return true,
            Op::LoadAttr(name, _) => {
                let of = at.checked_sub(1).map(|at| instructions[at].op);
                let known = names
                    .get(name as usize)
                    .is_some_and(|name| name == "append" || name == "shape");
                if !known && !matches!(of, Some(Op::LoadGlobal(..) | Op::LoadAttr(..))) {
                    return true;
                }
            }
            op if op.target().is_some() || matches!(op, Op::Return | Op::ReturnConst(_)) => {
                return false;
            }
            _ => {}
        }
    }
    false
}

/// Whether an object is the code of a list comprehension.
fn is_comprehension(code: &Bound<'_, PyAny>) -> bool {
    let name = code.getattr("co_name").and_then(|name| name.extract());
    name.is_ok_and(|name: String| name == "<listcomp>")
}

/// A number, truth value or `None` as a constant; nothing else is one.
fn constant(object: &Bound<'_, PyAny>) -> Option<Constant> {
    // SAFETY: an object.
    let ty = unsafe { run::type_of(object.as_ptr()) }?;
    Some(match ty {
        Type::None => Constant::None,
        Type::Bool => Constant::Bool(object.extract().ok()?),
        Type::Int => Constant::Int(object.extract().ok()?),
        Type::Float => Constant::Float(object.cast::<PyFloat>().ok()?.value()),
        _ => return None,
    })
}

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

    fn specialise_code(&mut self, code: usize, types: &[Type]) -> u32 {
        let known = self
            .functions
            .iter()
            .position(|(of, params, _)| *of == code && params == types);
        known.unwrap_or_else(|| {
            self.functions.push((code, types.to_vec(), None));
            self.functions.len() - 1
        }) as u32
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

    fn items(&mut self, object: u32) -> Option<(u64, Item)> {
        let tuple = self.objects.get(object as usize)?.clone_ref(self.py);
        let list = tuple.bind(self.py).cast_exact::<PyTuple>().ok()?.to_list();
        // SAFETY: a list.
        match unsafe { run::type_of(list.as_ptr()) }? {
            Type::List(item @ (Item::Int | Item::Float)) => {
                // As long as the code it lives, since its address is part of it.
                self.objects.push(list.clone().into_any().unbind());
                Some((list.as_ptr() as u64, item))
            }
            _ => None,
        }
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
                self.codes
                    .push((function.clone().unbind(), Box::leak(Box::new(code))));
                self.callees.push(object);
                self.codes.len() - 1
            }
        };
        let argc: usize = function
            .getattr("__code__")
            .and_then(|code| code.getattr("co_argcount"))
            .and_then(|count| count.extract())
            .ok()?;
        (argc == arguments.len() && self.functions.len() < FUNCTIONS)
            .then(|| self.specialise_code(at, arguments))
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
        self.codes
            .push((made.clone().unbind(), Box::leak(Box::new(code))));
        self.callees.push(made.unbind());
        Some(self.codes.len() as u32 - 1)
    }

    fn specialise_comprehension(&mut self, function: u32, arguments: &[Type]) -> Option<u32> {
        (self.functions.len() < FUNCTIONS)
            .then(|| self.specialise_code(function as usize, arguments))
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
