//! Why a stencil is not accepted.

use std::fmt;

use serde::Serialize;

use crate::disassembly::listing;
use crate::stencil::Relocation;

/// A stencil that the packer does not accept: what is wrong, its disassembly and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Name of the stencil.
    pub stencil: String,
    /// What is wrong.
    pub what: String,
    /// What its author can do about it.
    pub advice: &'static str,
    /// Its code, one instruction a line.
    pub listing: String,
}

impl Refusal {
    /// A refusal that shows `code` with its holes, disassembled for `arch`.
    pub fn new(
        stencil: &str,
        arch: &str,
        code: &[u8],
        holes: &[Relocation],
        what: impl Into<String>,
        advice: &'static str,
    ) -> Self {
        Self {
            stencil: stencil.to_owned(),
            what: what.into(),
            advice,
            listing: listing(arch, code, holes),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stencil {}: {}", self.stencil, self.what)?;
        f.write_str(&self.listing)?;
        write!(f, "  help: {}", self.advice)
    }
}

impl std::error::Error for Refusal {}
