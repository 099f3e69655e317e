//! Errors and traps.

use std::fmt;

/// Why WebAssembly code stopped. `Display` gives the words of the official test suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrapCode {
    /// `unreachable` was executed.
    Unreachable,
    /// An access outside linear memory.
    MemoryOutOfBounds,
    /// An access outside a table, by anything but `call_indirect`.
    TableOutOfBounds,
    /// `call_indirect` with an index outside the table.
    UndefinedElement,
    /// `call_indirect` of a null element.
    UninitializedElement,
    /// `call_indirect` of a function of another type.
    IndirectCallTypeMismatch,
    /// Division or remainder by zero.
    IntegerDivideByZero,
    /// A result that does not fit its integer type.
    IntegerOverflow,
    /// NaN converted to an integer.
    InvalidConversionToInteger,
    /// Calls nested too deeply.
    StackOverflow,
    /// Stopped from outside.
    Interrupted,
}

impl TrapCode {
    /// Every code.
    pub const ALL: [TrapCode; 11] = [
        TrapCode::Unreachable,
        TrapCode::MemoryOutOfBounds,
        TrapCode::TableOutOfBounds,
        TrapCode::UndefinedElement,
        TrapCode::UninitializedElement,
        TrapCode::IndirectCallTypeMismatch,
        TrapCode::IntegerDivideByZero,
        TrapCode::IntegerOverflow,
        TrapCode::InvalidConversionToInteger,
        TrapCode::StackOverflow,
        TrapCode::Interrupted,
    ];

    /// The trap's name in op tables and in the official test suite.
    pub const fn name(self) -> &'static str {
        match self {
            TrapCode::Unreachable => "unreachable",
            TrapCode::MemoryOutOfBounds => "out of bounds memory access",
            TrapCode::TableOutOfBounds => "out of bounds table access",
            TrapCode::UndefinedElement => "undefined element",
            TrapCode::UninitializedElement => "uninitialized element",
            TrapCode::IndirectCallTypeMismatch => "indirect call type mismatch",
            TrapCode::IntegerDivideByZero => "integer divide by zero",
            TrapCode::IntegerOverflow => "integer overflow",
            TrapCode::InvalidConversionToInteger => "invalid conversion to integer",
            TrapCode::StackOverflow => "stack overflow",
            TrapCode::Interrupted => "interrupted",
        }
    }

    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }
}

impl fmt::Display for TrapCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A trap and where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// What happened.
    pub code: TrapCode,
    /// The function's index in the module; `None` if it happened outside functions (during instantiation).
    pub function: Option<u32>,
    /// The function's name, from the module's name section or its exports.
    pub name: Option<String>,
    /// Byte offset of the instruction in the module.
    pub offset: Option<u32>,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trap: {}", self.code)?;
        match (&self.name, self.function) {
            (Some(name), Some(index)) => write!(f, " in function {index} ({name})")?,
            (None, Some(index)) => write!(f, " in function {index}")?,
            _ => {}
        }
        match self.offset {
            Some(offset) => write!(f, " at offset {offset:#x}"),
            None => Ok(()),
        }
    }
}

/// What a host function returns when it fails.
pub type HostError = Box<dyn std::error::Error + Send + Sync>;

/// Why a module cannot be compiled, instantiated or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module is malformed, invalid, or uses a feature that is not supported; the message names the offset.
    #[error("invalid module: {0}")]
    Invalid(#[from] wasmparser::Error),
    /// A function body is malformed or invalid.
    #[error("invalid module: {what} (at offset {offset:#x})")]
    InvalidCode {
        /// Why, in the words of the official test suite where it has some.
        what: String,
        /// Where in the module the instruction begins.
        offset: u64,
    },
    /// Valid WebAssembly that this crate does not run yet.
    #[error("unsupported: {what} (at offset {offset:#x})")]
    Unsupported {
        /// What it is.
        what: String,
        /// Where in the module.
        offset: u64,
    },
    /// A limit of this crate.
    #[error("limit exceeded: {what} (at offset {offset:#x})")]
    Limit {
        /// Which limit.
        what: String,
        /// Where in the module.
        offset: u64,
    },
    /// Code generation failed for one function.
    #[error("function {function} (at offset {offset:#x}): {source}")]
    Function {
        /// The function's index.
        function: u32,
        /// Where its body begins in the module.
        offset: u64,
        /// The engine's reason.
        source: copatch::Error,
    },
    /// The engine failed: a pack that does not fit, memory that cannot be had.
    #[error(transparent)]
    Engine(#[from] copatch::Error),
    /// An import that nobody provides, or provides with another type.
    #[error("import {module}.{name}: {what}")]
    Import {
        /// The import's module name.
        module: String,
        /// The import's name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// No export of that name and kind.
    #[error("no {kind} is exported as {name:?}")]
    Export {
        /// What was asked for.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Wrong number or types of arguments.
    #[error("{name}: {what}")]
    Arguments {
        /// The function.
        name: String,
        /// What was given and what is expected.
        what: String,
    },
    /// Memory or a stack that cannot be had.
    #[error("{what}: {reason}")]
    Memory {
        /// What it was for.
        what: &'static str,
        /// The system's reason.
        reason: String,
    },
    /// The code trapped.
    #[error("{0}")]
    Trap(Trap),
    /// The program ended itself with this exit code.
    #[error("exit with code {0}")]
    Exit(i32),
    /// A host function failed.
    #[error("host function: {0}")]
    Host(HostError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_correspond() {
        for code in TrapCode::ALL {
            assert_eq!(TrapCode::from_name(code.name()), Some(code));
        }
        assert_eq!(TrapCode::from_name("host error"), None);
    }

    #[test]
    fn a_trap_names_kind_function_and_offset() {
        let trap = Trap {
            code: TrapCode::IntegerOverflow,
            function: Some(3),
            name: Some("f".to_owned()),
            offset: Some(0x1f),
        };
        assert_eq!(
            trap.to_string(),
            "trap: integer overflow in function 3 (f) at offset 0x1f"
        );
    }
}
