//! What modules share: the stencil pack, its operations by number, and the numbers of function types.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use copatch::{Pack, Signature, ValueType};

use crate::error::{Error, TrapCode};
use crate::generate::Operations;

/// Compiles modules for this machine. Cheap to clone, shareable between threads.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pack: Arc<Pack>,
    operations: Operations,
    /// The trap of each number of the pack; numbers without one are the host's.
    traps: Vec<Option<TrapCode>>,
    signatures: Mutex<HashMap<Type, u32>>,
}

/// A function type that can be looked up.
type Type = (Vec<ValueType>, Vec<ValueType>);

impl Engine {
    /// An engine with the stencil pack built into this crate that fits this machine best.
    ///
    /// # Errors
    /// [`Error::Engine`] where none fits.
    pub fn new() -> Result<Self, Error> {
        Self::with_pack(Pack::for_host(copatch_pack_wasm::packs())?)
    }

    /// An engine with the pack in `directory` that fits this machine best. A pack is machine code: it must be
    /// trusted as one trusts a program.
    ///
    /// # Errors
    /// [`Error::Engine`] where none fits, or one is damaged.
    pub fn with_packs(directory: &Path) -> Result<Self, Error> {
        Self::with_pack(Pack::for_host_in(directory, "wasm")?)
    }

    /// An engine with this pack.
    ///
    /// # Errors
    /// [`Error::Engine`] if the pack lacks an operation that WebAssembly needs.
    pub fn with_pack(pack: Arc<Pack>) -> Result<Self, Error> {
        let operations = Operations::resolve(&pack)?;
        let traps = pack
            .metadata()
            .traps
            .iter()
            .map(|name| TrapCode::from_name(name))
            .collect();
        let signatures = Mutex::new(HashMap::new());
        Ok(Self {
            inner: Arc::new(Inner {
                pack,
                operations,
                traps,
                signatures,
            }),
        })
    }

    /// The stencil pack in use.
    pub fn pack(&self) -> &Arc<Pack> {
        &self.inner.pack
    }

    pub(crate) fn operations(&self) -> &Operations {
        &self.inner.operations
    }

    /// What a trap of the pack means to WebAssembly.
    pub(crate) fn trap_code(&self, kind: u8) -> Option<TrapCode> {
        self.inner.traps.get(usize::from(kind)).copied().flatten()
    }

    /// The number of a function type: equal for equal types, at least 1.
    pub(crate) fn signature(&self, signature: &Signature) -> u32 {
        let mut signatures = self
            .inner
            .signatures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let next = signatures.len() as u32 + 1;
        *signatures
            .entry((signature.params.clone(), signature.results.clone()))
            .or_insert(next)
    }
}
