//! The engine's errors.

use std::path::PathBuf;

use copatch_spec::pack::PackError;

use crate::memory::MemoryError;

/// Why the engine cannot do what it was asked to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that are no pack.
    #[error("{name}: {source}")]
    Pack {
        /// The file, or what stands for it.
        name: String,
        /// What is wrong and where.
        source: PackError,
    },
    /// A pack that is in order but not for this machine.
    #[error("{name}: {what}")]
    Foreign {
        /// The file, or what stands for it.
        name: String,
        /// Why it does not fit.
        what: String,
    },
    /// A pack file that nobody answers for whom the application trusts.
    #[error("{name}: not trusted: {what}")]
    Untrusted {
        /// The file, or what stands for it.
        name: String,
        /// What is missing or wrong.
        what: String,
    },
    /// What should be a public key is none.
    #[error("public key: {what}")]
    Key {
        /// What is wrong with it.
        what: String,
    },
    /// No pack fits the host.
    #[error("no stencil pack for {triple} among {candidates}")]
    NoPack {
        /// The host.
        triple: String,
        /// What was looked at.
        candidates: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The pack lacks an operation that the front end needs.
    #[error("the pack's instruction set has no {what}")]
    Missing {
        /// The operation or trap, or code for it.
        what: String,
    },
    /// Memory that cannot be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A function is too large.
    #[error("limit exceeded: {what}")]
    Limit {
        /// Which limit.
        what: &'static str,
    },
    /// The front end called the builder in a way that makes no sense: a bug of the front end.
    #[error("misuse of the function builder at offset {at}: {what}")]
    Misuse {
        /// What it did.
        what: &'static str,
        /// The source offset it was at.
        at: u32,
    },
    /// A value does not fit its hole: the pack's domains or the engine are wrong.
    #[error("internal error: {what}")]
    Internal {
        /// What happened.
        what: String,
    },
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
