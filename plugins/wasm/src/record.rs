//! Functions of a store, as references point at them.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use copatch::Context;

use crate::engine::TypeEntry;
use crate::error::Result;
use crate::opaque::Root;

/// The body of a host function: the store, the calling instance if there is one, arguments, and where results go, which
/// may be the same slots.
type Body = dyn Fn(Root, Option<u32>, *const u64, *mut u64) -> Result<()> + Send + Sync;

/// A function of the host's.
pub struct HostFunction {
    pub(crate) ty: Arc<TypeEntry>,
    pub(crate) body: Box<Body>,
}

/// What a reference to a function points at; begins as `struct function` of `spec/isa/wasm/ops.h`.
#[repr(C)]
pub(crate) struct Record {
    code: usize,
    /// Where `code` runs; null for host functions.
    context: *mut Context,
    pub id: u32,
    pub ty: Arc<TypeEntry>,
    pub target: Target,
}

/// What a call runs.
#[derive(Clone)]
pub(crate) enum Target {
    /// A function of an instance.
    Wasm { instance: u32, function: u32 },
    /// A function of the host's.
    Host(Arc<HostFunction>),
}

impl Record {
    /// The reference, as compiled code holds it.
    pub fn word(&self) -> u64 {
        std::ptr::from_ref(self).cast::<c_void>() as u64
    }

    pub fn code(&self) -> usize {
        self.code
    }

    pub fn context(&self) -> *mut Context {
        self.context
    }
}

/// Functions of a store by number; they stay where they are.
#[derive(Default)]
pub(crate) struct Records {
    /// All but the last are full; none grows beyond what it has room for.
    chunks: Vec<Vec<Record>>,
}

const CHUNK: usize = 64;

impl Records {
    pub fn get(&self, id: usize) -> &Record {
        &self.chunks[id / CHUNK][id % CHUNK]
    }

    fn push(
        &mut self,
        ty: Arc<TypeEntry>,
        code: usize,
        context: *mut Context,
        target: Target,
    ) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        let id = (last * CHUNK + chunk.len()) as u32;
        chunk.push(Record {
            code,
            context,
            id,
            ty,
            target,
        });
        id
    }

    /// Adds a function of an instance.
    pub fn wasm(
        &mut self,
        ty: Arc<TypeEntry>,
        code: usize,
        context: *mut Context,
        (instance, function): (u32, u32),
    ) -> u32 {
        let target = Target::Wasm { instance, function };
        self.push(ty, code, context, target)
    }

    /// Adds a function of the host's.
    pub fn host(&mut self, host: Arc<HostFunction>) -> u32 {
        let ty = Arc::clone(&host.ty);
        self.push(ty, 0, null_mut(), Target::Host(host))
    }
}
