//! The pack file. `spec/pack-format.md` is the specification of the bytes; this module is its implementation.
//!
//! [`tables`] holds the fixed-width rows, [`Metadata`] what is bincode-encoded, [`PackWriter`] writes a file,
//! [`PackView`] reads one in place, [`validate`] checks one in full.

pub mod tables;
mod validate;
mod view;
mod writer;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use validate::validate;
pub use view::PackView;
pub use writer::{AlternativeParts, Domain, FormParts, PackWriter, StencilParts};

use crate::isa::Operation;
use crate::patch::PatchKind;
use crate::target::Machine;

/// First eight bytes of a pack.
pub const MAGIC: [u8; 8] = *b"copatch\0";
/// Version of the format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// What is added to a pack file's name to name its signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";

/// The file that a pack file's signature is in, beside it.
pub fn signature_file(pack: &Path) -> PathBuf {
    let mut name = pack.as_os_str().to_owned();
    name.push(SIGNATURE_SUFFIX);
    name.into()
}

/// What a pack says of itself, bincode-encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Name of the instruction set.
    pub isa: String,
    /// Version of the instruction set.
    pub isa_version: u32,
    /// Digest of its tables and bodies.
    pub isa_digest: [u8; 32],
    /// Target triple, as given to the packer.
    pub triple: String,
    /// Name of the feature set; empty for the baseline.
    pub features: String,
    /// Processor features that the code needs.
    pub cpu: Vec<String>,
    /// The compiler's version line.
    pub compiler: String,
    /// The compiler's flags.
    pub flags: Vec<String>,
    /// The machine.
    pub machine: Machine,
    /// Trap names by number.
    pub traps: Vec<String>,
    /// Patch kinds by number.
    pub kinds: Vec<PatchKind>,
    /// Operations by number.
    pub ops: Vec<Operation>,
}

impl Metadata {
    /// What the pack is for, and what its file is called before `.pack`: the triple, then `+` and the feature set if there is one.
    pub fn target(&self) -> String {
        match self.features.as_str() {
            "" => self.triple.clone(),
            features => format!("{}+{features}", self.triple),
        }
    }
}

/// Why bytes are not a pack that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset:#x} of the pack")]
pub struct PackError {
    /// Where in the file.
    pub offset: usize,
    /// What is wrong there.
    pub what: String,
}

impl PackError {
    pub(crate) fn new(offset: usize, what: impl Into<String>) -> Self {
        Self {
            offset,
            what: what.into(),
        }
    }
}
