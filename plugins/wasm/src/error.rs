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

impl std::error::Error for TrapCode {}

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

impl Trap {
    /// A trap outside all functions.
    pub(crate) fn new(code: TrapCode) -> Self {
        Self {
            code,
            function: None,
            name: None,
            offset: None,
        }
    }
}

impl std::error::Error for Trap {}

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

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Why a module cannot be compiled, instantiated or run.
///
/// Every error of other crates becomes one with `?`, so that host functions can use it; in turn it becomes a boxed
/// `std::error::Error`. (It is none itself: the one excludes the other.)
#[non_exhaustive]
pub enum Error {
    /// The module is malformed, invalid, or uses a feature that is not supported; the message names the offset.
    Invalid(wasmparser::Error),
    /// A function body is malformed or invalid.
    InvalidCode {
        /// Why, in the words of the official test suite where it has some.
        what: String,
        /// Where in the module the instruction begins.
        offset: u64,
    },
    /// Valid WebAssembly that this crate does not run yet.
    Unsupported {
        /// What it is.
        what: String,
        /// Where in the module.
        offset: u64,
    },
    /// A limit of this crate, of the engine's configuration or of a [`ResourceLimiter`](crate::ResourceLimiter).
    Limit {
        /// Which limit.
        what: String,
        /// Where in the module; 0 if it is not a matter of the module.
        offset: u64,
    },
    /// Code generation failed for one function.
    Function {
        /// The function's index.
        function: u32,
        /// Where its body begins in the module.
        offset: u64,
        /// The engine's reason.
        source: copatch::Error,
    },
    /// The engine failed: a pack that does not fit, memory that cannot be had.
    Engine(copatch::Error),
    /// An import that nobody provides, or provides with another type.
    Import {
        /// The import's module name.
        module: String,
        /// The import's name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// No export of that name and kind.
    Export {
        /// What was asked for.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Wrong number or types of arguments, or a value of another type than its place.
    Arguments {
        /// The function, or the kind of place.
        name: String,
        /// What was given and what is expected.
        what: String,
    },
    /// Memory or a stack that cannot be had.
    Memory {
        /// What it was for.
        what: &'static str,
        /// The reason.
        reason: String,
    },
    /// The code trapped.
    Trap(Trap),
    /// The program ended itself with this exit code.
    Exit(i32),
    /// A host function failed, with an error of its own.
    Host(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(error) => write!(f, "invalid module: {error}"),
            Error::InvalidCode { what, offset } => {
                write!(f, "invalid module: {what} (at offset {offset:#x})")
            }
            Error::Unsupported { what, offset } => {
                write!(f, "unsupported: {what} (at offset {offset:#x})")
            }
            Error::Limit { what, offset: 0 } => write!(f, "limit exceeded: {what}"),
            Error::Limit { what, offset } => {
                write!(f, "limit exceeded: {what} (at offset {offset:#x})")
            }
            Error::Function {
                function,
                offset,
                source,
            } => write!(f, "function {function} (at offset {offset:#x}): {source}"),
            Error::Engine(error) => error.fmt(f),
            Error::Import { module, name, what } => write!(f, "import {module}.{name}: {what}"),
            Error::Export { kind, name } => write!(f, "no {kind} is exported as {name:?}"),
            Error::Arguments { name, what } => write!(f, "{name}: {what}"),
            Error::Memory { what, reason } => write!(f, "{what}: {reason}"),
            Error::Trap(trap) => trap.fmt(f),
            Error::Exit(code) => write!(f, "exit with code {code}"),
            Error::Host(error) => write!(f, "host function: {error}"),
        }
    }
}

/// For people, too: it is what `unwrap` and `main` print.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// An error of the host's: an error of any kind, or a text.
    pub fn new(error: impl Into<Boxed>) -> Self {
        Self::classify(error.into())
    }

    /// An error that is this text.
    pub fn msg(text: impl fmt::Display) -> Self {
        Self::Host(text.to_string().into())
    }

    /// What came as a box, as what it was.
    fn classify(error: Boxed) -> Self {
        let error = match error.downcast::<Wrapped>() {
            Ok(wrapped) => return wrapped.0,
            Err(error) => error,
        };
        let error = match error.downcast::<wasmparser::Error>() {
            Ok(invalid) => return Error::Invalid(*invalid),
            Err(error) => error,
        };
        let error = match error.downcast::<copatch::Error>() {
            Ok(engine) => return Error::Engine(*engine),
            Err(error) => error,
        };
        let error = match error.downcast::<Trap>() {
            Ok(trap) => return Error::Trap(*trap),
            Err(error) => error,
        };
        match error.downcast::<TrapCode>() {
            Ok(code) => Error::Trap(Trap::new(*code)),
            Err(error) => Error::Host(error),
        }
    }

    /// The error of type `E` that it is: the host's own, a [`Trap`], or a [`TrapCode`].
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        let error: &(dyn std::error::Error + 'static) = match self {
            Error::Host(error) => &**error,
            Error::Trap(trap) => {
                return [trap as &(dyn std::error::Error + 'static), &trap.code]
                    .into_iter()
                    .find_map(|error| error.downcast_ref());
            }
            Error::Invalid(error) => error,
            Error::Engine(error) => error,
            _ => return None,
        };
        error.downcast_ref()
    }

    /// Whether [`Error::downcast_ref`] finds an `E`.
    pub fn is<E: std::error::Error + 'static>(&self) -> bool {
        self.downcast_ref::<E>().is_some()
    }

    /// The host's own error of type `E` that it is.
    ///
    /// # Errors
    /// Itself, if it is something else.
    pub fn downcast<E: std::error::Error + Send + Sync + 'static>(self) -> Result<E, Self> {
        match self {
            Error::Host(error) => error.downcast().map(|error| *error).map_err(Error::Host),
            other => Err(other),
        }
    }

    /// The trap's code, if it is one.
    pub fn as_trap_code(&self) -> Option<TrapCode> {
        match self {
            Error::Trap(trap) => Some(trap.code),
            _ => None,
        }
    }

    /// The exit code that the program ended itself with, if it did.
    pub fn i32_exit_status(&self) -> Option<i32> {
        match self {
            Error::Exit(code) => Some(*code),
            _ => None,
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::classify(Box::new(error))
    }
}

/// An [`Error`] as a `std::error::Error`.
#[derive(Debug)]
struct Wrapped(Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Wrapped {}

impl From<Error> for Box<dyn std::error::Error + Send + Sync> {
    fn from(error: Error) -> Self {
        match error {
            Error::Host(error) => error,
            Error::Trap(trap) => Box::new(trap),
            error => Box::new(Wrapped(error)),
        }
    }
}

impl From<Error> for Box<dyn std::error::Error> {
    fn from(error: Error) -> Self {
        let error: Boxed = error.into();
        error
    }
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
    fn errors_go_into_boxes_and_come_back_as_they_were() {
        let boxed: Boxed = Error::Exit(3).into();
        assert!(matches!(Error::new(boxed), Error::Exit(3)));
        let boxed: Box<dyn std::error::Error> = Error::from(TrapCode::Unreachable).into();
        assert_eq!(boxed.to_string(), "trap: unreachable");
        let ours = Error::from(std::fmt::Error);
        assert!(ours.is::<std::fmt::Error>() && !ours.is::<Trap>());
        assert!(ours.downcast::<std::fmt::Error>().is_ok());
        assert_eq!(Error::msg("no").to_string(), "host function: no");
        let trap = Error::Trap(Trap::new(TrapCode::StackOverflow));
        assert_eq!(trap.downcast_ref(), Some(&TrapCode::StackOverflow));
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
