//! Types of WebAssembly as an embedder sees them.

use std::fmt;

use copatch::{Signature, ValueType};

use crate::engine::Engine;

/// What a reference refers to. References can be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefType {
    /// A function.
    Func,
    /// Something of the host's.
    Extern,
}

impl RefType {
    /// References to functions.
    pub const FUNCREF: RefType = RefType::Func;
    /// References to things of the host's.
    pub const EXTERNREF: RefType = RefType::Extern;
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefType::Func => "funcref",
            RefType::Extern => "externref",
        })
    }
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// 128 bits.
    V128,
    /// A reference.
    Ref(RefType),
}

impl ValType {
    /// References to functions.
    pub const FUNCREF: ValType = ValType::Ref(RefType::Func);
    /// References to things of the host's.
    pub const EXTERNREF: ValType = ValType::Ref(RefType::Extern);

    /// How compiled code holds such values: references as words of 64 bits, 0 for null.
    pub(crate) const fn code(self) -> ValueType {
        match self {
            ValType::I32 => ValueType::I32,
            ValType::I64 | ValType::Ref(_) => ValueType::I64,
            ValType::F32 => ValueType::F32,
            ValType::F64 => ValueType::F64,
            ValType::V128 => ValueType::V128,
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::Ref(ty) => ty.fmt(f),
            ty => f.write_str(ty.code().name()),
        }
    }
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FuncType {
    params: Box<[ValType]>,
    results: Box<[ValType]>,
}

impl FuncType {
    /// A function from `params` to `results`. The engine is not looked at: types of all engines are alike.
    pub fn new(
        _engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Self {
        Self::of(params, results)
    }

    pub(crate) fn of(
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Self {
        Self {
            params: params.into_iter().collect(),
            results: results.into_iter().collect(),
        }
    }

    /// Types of the parameters.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ValType> + DoubleEndedIterator + '_ {
        self.params.iter().copied()
    }

    /// Types of the results.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValType> + DoubleEndedIterator + '_ {
        self.results.iter().copied()
    }

    /// The type as compiled code has it.
    pub(crate) fn code(&self) -> Signature {
        Signature {
            params: self.params().map(ValType::code).collect(),
            results: self.results().map(ValType::code).collect(),
        }
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", list(self.params()), list(self.results()))
    }
}

/// Types in parentheses.
pub(crate) fn list(types: impl Iterator<Item = ValType>) -> String {
    let names: Vec<String> = types.map(|ty| ty.to_string()).collect();
    format!("({})", names.join(", "))
}

/// Whether a global can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutability {
    /// It cannot.
    Const,
    /// It can.
    Var,
}

/// The type of a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

impl GlobalType {
    /// A global that holds a `content`.
    pub const fn new(content: ValType, mutability: Mutability) -> Self {
        Self {
            content,
            mutability,
        }
    }

    /// The type of its value.
    pub const fn content(&self) -> ValType {
        self.content
    }

    /// Whether it can be changed.
    pub const fn mutability(&self) -> Mutability {
        self.mutability
    }

    pub(crate) fn mutable(self) -> bool {
        self.mutability == Mutability::Var
    }
}

impl fmt::Display for GlobalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.mutable() {
            "mutable "
        } else {
            "immutable "
        };
        write!(f, "{kind}{}", self.content)
    }
}

/// The type of a memory: its size in pages of 65,536 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryType {
    minimum: u64,
    maximum: Option<u64>,
}

impl MemoryType {
    /// A memory of at least `minimum` pages that never grows above `maximum`.
    pub const fn new(minimum: u32, maximum: Option<u32>) -> Self {
        Self {
            minimum: minimum as u64,
            maximum: match maximum {
                Some(maximum) => Some(maximum as u64),
                None => None,
            },
        }
    }

    pub(crate) const fn wide(minimum: u64, maximum: Option<u64>) -> Self {
        Self { minimum, maximum }
    }

    /// Pages at first.
    pub const fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Pages at most, if that is limited.
    pub const fn maximum(&self) -> Option<u64> {
        self.maximum
    }
}

/// The type of a table: what it holds, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableType {
    element: RefType,
    minimum: u64,
    maximum: Option<u64>,
}

impl TableType {
    /// A table of at least `minimum` elements that never grows above `maximum`.
    pub const fn new(element: RefType, minimum: u32, maximum: Option<u32>) -> Self {
        Self {
            element,
            minimum: minimum as u64,
            maximum: match maximum {
                Some(maximum) => Some(maximum as u64),
                None => None,
            },
        }
    }

    pub(crate) const fn wide(element: RefType, minimum: u64, maximum: Option<u64>) -> Self {
        Self {
            element,
            minimum,
            maximum,
        }
    }

    /// What it holds.
    pub const fn element(&self) -> RefType {
        self.element
    }

    /// Elements at first.
    pub const fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Elements at most, if that is limited.
    pub const fn maximum(&self) -> Option<u64> {
        self.maximum
    }
}

/// The type of an import or an export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A global.
    Global(GlobalType),
    /// A table.
    Table(TableType),
    /// A linear memory.
    Memory(MemoryType),
}

impl ExternType {
    /// The function's type, if it is one.
    pub fn func(&self) -> Option<&FuncType> {
        match self {
            ExternType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// What it is, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ExternType::Func(_) => "function",
            ExternType::Global(_) => "global",
            ExternType::Table(_) => "table",
            ExternType::Memory(_) => "memory",
        }
    }

    /// Whether something of type `given`, of that size now, may be imported as this; if not, why.
    pub(crate) fn accepts(&self, given: &ExternType) -> Result<(), String> {
        let sizes = |what: &str,
                     (wanted, most): (u64, Option<u64>),
                     (is, given_most): (u64, Option<u64>)| {
            if is < wanted {
                return Err(format!("{what} of {is}, less than {wanted}"));
            }
            match (most, given_most) {
                (Some(most), None) => Err(format!("{what} without a maximum, not at most {most}")),
                (Some(most), Some(given)) if given > most => {
                    Err(format!("{what} of at most {given}, more than {most}"))
                }
                _ => Ok(()),
            }
        };
        match (self, given) {
            (ExternType::Func(wanted), ExternType::Func(given)) if wanted != given => Err(format!(
                "incompatible import type: imported as {wanted}, provided as {given}"
            )),
            (ExternType::Global(wanted), ExternType::Global(given)) if wanted != given => Err(
                format!("incompatible import type: a global of type {wanted}, not {given}"),
            ),
            (ExternType::Table(wanted), ExternType::Table(given)) => {
                if wanted.element != given.element {
                    return Err(format!(
                        "incompatible import type: a table of {}, not {}",
                        wanted.element, given.element
                    ));
                }
                sizes(
                    "incompatible import type: a table",
                    (wanted.minimum, wanted.maximum),
                    (given.minimum, given.maximum),
                )
            }
            (ExternType::Memory(wanted), ExternType::Memory(given)) => sizes(
                "incompatible import type: a memory",
                (wanted.minimum, wanted.maximum),
                (given.minimum, given.maximum),
            ),
            (wanted, given) if wanted.kind() != given.kind() => Err(format!(
                "incompatible import type: imported as a {}, provided as a {}",
                wanted.kind(),
                given.kind()
            )),
            _ => Ok(()),
        }
    }
}

/// An import of a module.
#[derive(Clone, Debug)]
pub struct ImportType<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
    pub(crate) ty: ExternType,
}

impl<'a> ImportType<'a> {
    /// The module's name.
    pub fn module(&self) -> &'a str {
        self.module
    }

    /// The name in that module.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// What is imported.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

/// An export of a module.
#[derive(Clone, Debug)]
pub struct ExportType<'a> {
    pub(crate) name: &'a str,
    pub(crate) ty: ExternType,
}

impl<'a> ExportType<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// What is exported.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}
