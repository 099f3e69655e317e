//! What can go wrong with a build, by who can mend it.

use std::path::PathBuf;

use copatch_spec::isa::IsaError;
use copatch_spec::pack::PackError;

use crate::clang::ClangError;
use crate::object_file::ObjectError;
use crate::prove::ProveError;
use crate::report::Failure;
use crate::sign::SignError;
use crate::source::SourceError;

/// Why there is no pack.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The op table.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// There is no such instruction set or target, or its files cannot be used.
    #[error("{0}")]
    Spec(String),
    /// An operation cannot be written in C.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The compiler.
    #[error(transparent)]
    Clang(#[from] ClangError),
    /// What the compiler wrote.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Operations that the engine cannot do without have forms that are not accepted.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Failure>),
    /// The command line, the environment or the settings file asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Stencils cannot be executed for proof.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The parts do not make a pack.
    #[error("the pack: {0}")]
    Pack(#[from] PackError),
    /// A pack file that is not valid.
    #[error("{path}: {source}")]
    PackFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        source: PackError,
    },
    /// A key or a signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl BuildError {
    /// The exit code of the command line: 2 if it was called wrongly, 3 if the toolchain is missing, 4 if a stencil was
    /// refused, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            BuildError::Usage(_) => 2,
            BuildError::Clang(
                ClangError::Missing { .. } | ClangError::Unfit { .. } | ClangError::Launcher { .. },
            ) => 3,
            BuildError::Refused(_) => 4,
            _ => 1,
        }
    }
}
