//! What the whole module needs of the interpreter that runs, and what it reads of code objects.
#![allow(unsafe_code)] // Looks at the type of a constant.

use std::sync::Arc;

use copatch::Pack;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyTuple};

use crate::bytecode::{Dialect, Instruction, Op, function_at};
use crate::generate::Operations;
use crate::helpers::MATH;
use crate::ir::{Constant, Type};
use crate::run;
use crate::translate::{Code, Layout, MathFunction, What, shared};

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
    /// Objects that compiled code knows, and what they are.
    pub builtins: Vec<(Py<PyAny>, What)>,
    /// `list.append`.
    pub append: Py<PyAny>,
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

    /// [`Self::code`], or that of a list comprehension, which may read variables of the function around it.
    pub fn code_of(&self, function: &Bound<'_, PyAny>, comprehension: bool) -> PyResult<Code> {
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
        if comprehension && self.rebinds(&code)? {
            return refuse("it changes variables of the function around it");
        }
        let names = |of: &str| -> PyResult<Vec<String>> { code.getattr(of)?.extract() };
        let variables = own_variables(&code)?;
        let (cells, free) = (names("co_cellvars")?, names("co_freevars")?);
        let shares = "it shares variables with other functions";
        if !free.is_empty() && !comprehension || !cells.is_empty() && self.layout.minor != 11 {
            return refuse(shares);
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
            } else {
                at += 1;
            }
        }
        let count = |name: &str| -> PyResult<usize> { code.getattr(name)?.extract() };
        let named = count("co_kwonlyargcount")?;
        Ok(Code {
            instructions,
            constants: constants.iter().map(|item| constant(&item)).collect(),
            names,
            locals,
            arguments: count("co_argcount")? + named,
            named,
            free: variables.len(),
            cells: shared,
            catches,
            layout: self.layout,
        })
    }

    /// Whether a code object, or one in it, gives another value to a variable of the function around it.
    fn rebinds(&self, code: &Bound<'_, PyAny>) -> PyResult<bool> {
        let own = own_variables(code)?.len();
        let bytes: Vec<u8> = code.getattr("co_code")?.extract()?;
        let stores = |one: &Instruction| matches!(one.op, Op::StoreFast(at) if at as usize >= own);
        if self.dialect.decode(&bytes).iter().any(stores) {
            return Ok(true);
        }
        for constant in code.getattr("co_consts")?.cast::<PyTuple>()?.iter() {
            if constant.get_type().is(code.get_type()) && self.rebinds(&constant)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A code object's own variables: locals, then cells that are no locals.
fn own_variables(code: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let mut variables: Vec<String> = code.getattr("co_varnames")?.extract()?;
    let cells: Vec<String> = code.getattr("co_cellvars")?.extract()?;
    for cell in cells {
        if !variables.contains(&cell) {
            variables.push(cell);
        }
    }
    Ok(variables)
}

/// Where the shared objects of small integers begin, if they lie as is expected.
fn shared_integers(py: Python<'_>) -> PyResult<Option<u64>> {
    let address = |value: i64| -> PyResult<u64> { Ok(value.into_pyobject(py)?.as_ptr() as u64) };
    let least = address(shared::LEAST)?;
    for number in 0..shared::COUNT {
        if address(shared::LEAST + number as i64)? != least + shared::APART * number {
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
pub fn is_comprehension(code: &Bound<'_, PyAny>) -> bool {
    let name = code.getattr("co_name").and_then(|name| name.extract());
    name.is_ok_and(|name: String| name == "<listcomp>")
}

/// A number, truth value or `None` as a constant; nothing else is one.
pub fn constant(object: &Bound<'_, PyAny>) -> Option<Constant> {
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
