//! Memories, tables and globals as the embedder reaches them.
#![allow(unsafe_code)] // Growing asks the embedder, for which nothing of the store may be borrowed.

use crate::error::{Error, Result, TrapCode};
use crate::func::Func;
use crate::limits::Growth;
use crate::memory::LinearMemory;
use crate::opaque::{
    Handle, MAX_TABLE, MemoryData, Opaque, admit, allowed, grow_memory, grow_table,
};
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::table;
use crate::types::{ExternType, GlobalType, MemoryType, TableType, ValType};
use crate::value::{Ref, Val};

/// Something that is imported or exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A linear memory.
    Memory(Memory),
}

impl Extern {
    /// The function, if it is one.
    pub fn into_func(self) -> Option<Func> {
        match self {
            Extern::Func(func) => Some(func),
            _ => None,
        }
    }

    /// The global, if it is one.
    pub fn into_global(self) -> Option<Global> {
        match self {
            Extern::Global(global) => Some(global),
            _ => None,
        }
    }

    /// The table, if it is one.
    pub fn into_table(self) -> Option<Table> {
        match self {
            Extern::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The memory, if it is one.
    pub fn into_memory(self) -> Option<Memory> {
        match self {
            Extern::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    /// Its type. A memory's or a table's least size is the size it has now.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.type_in(store.as_context().into_opaque())
    }

    pub(crate) fn type_in(&self, store: &Opaque) -> ExternType {
        match self {
            Extern::Func(func) => ExternType::Func(store.record(func.0).ty.ty.clone()),
            Extern::Global(global) => ExternType::Global(store.globals[store.index(global.0)].ty),
            Extern::Table(table) => ExternType::Table(table.type_in(store)),
            Extern::Memory(memory) => ExternType::Memory(memory.type_in(store)),
        }
    }
}

macro_rules! externs {
    ($($ty:ident)*) => {
        $(
            impl From<$ty> for Extern {
                fn from(item: $ty) -> Self {
                    Extern::$ty(item)
                }
            }
        )*
    };
}

externs!(Func Global Table Memory);

/// A linear memory of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory(pub(crate) Handle);

/// An access of the host's outside a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryAccessError;

impl std::fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("out of bounds memory access")
    }
}

impl std::error::Error for MemoryAccessError {}

impl Memory {
    /// A memory of the host's, of its least size and zero.
    ///
    /// # Errors
    /// [`Error::Memory`] or [`Error::Engine`] where memory cannot be had, [`Error::Limit`] if the store's limiter refuses.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Self> {
        let mut store = store.as_context_mut();
        admit(&mut store, [0, 0, 1])?;
        let id = Self::make(&mut store, ty)?;
        Ok(Self(store.opaque().handle(id as usize)))
    }

    pub(crate) fn make<T>(store: &mut StoreContextMut<'_, T>, ty: MemoryType) -> Result<u32> {
        let bytes = |pages: u64| pages.saturating_mul(65536) as usize;
        let growth = Growth::Memory {
            current: 0,
            desired: bytes(ty.minimum()),
            maximum: ty.maximum().map(bytes),
        };
        // SAFETY: the store is borrowed for this call alone.
        if ty.minimum() > 65536 || !unsafe { allowed(store.root(), growth) }? {
            return Err(refused("a memory", "pages", ty.minimum()));
        }
        let memory = LinearMemory::new(ty).map_err(copatch::Error::from)?;
        let opaque = store.opaque_mut();
        let users = Vec::new();
        opaque.memories.push(MemoryData { memory, users });
        Ok(opaque.memories.len() as u32 - 1)
    }

    fn find(self, store: &Opaque) -> &LinearMemory {
        &store.memories[store.index(self.0)].memory
    }

    fn type_in(self, store: &Opaque) -> MemoryType {
        let memory = self.find(store);
        MemoryType::wide(memory.pages(), memory.declared_maximum())
    }

    /// Its type; the least size is the size it has now.
    ///
    /// # Panics
    /// If it belongs to another store, as all methods do.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        self.type_in(store.as_context().into_opaque())
    }

    /// What is in it.
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        self.find(store.into().into_opaque()).bytes()
    }

    /// What is in it, to be changed.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> &'a mut [u8] {
        self.data_and_store_mut(store).0
    }

    /// What is in it, to be changed, and the embedder's data.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let (opaque, data) = store.into().into_parts();
        let index = opaque.index(self.0);
        (opaque.memories[index].memory.bytes_mut(), data)
    }

    /// Its size in bytes.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.find(store.as_context().into_opaque()).len()
    }

    /// Its size in pages of 65,536 bytes.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.find(store.as_context().into_opaque()).pages()
    }

    /// Grows it by `delta` pages and gives the size in pages before.
    ///
    /// # Errors
    /// [`Error::Memory`] if it cannot grow so far.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let mut store = store.as_context_mut();
        let index = store.opaque().index(self.0);
        // SAFETY: the store is borrowed for this call alone.
        let grown = unsafe { grow_memory(store.root(), index, delta) }?;
        grown.ok_or_else(|| refused("a memory", "more pages", delta))
    }

    /// Copies what lies at `offset` into `buffer`.
    ///
    /// # Errors
    /// If that is not all inside.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let bytes = self.find(store.as_context().into_opaque()).bytes();
        let end = offset.checked_add(buffer.len());
        let from = end.and_then(|end| bytes.get(offset..end));
        buffer.copy_from_slice(from.ok_or(MemoryAccessError)?);
        Ok(())
    }

    /// Copies `buffer` to `offset`.
    ///
    /// # Errors
    /// If that is not all inside; nothing is written then.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let mut store = store.as_context_mut();
        let bytes = self.data_mut(&mut store);
        let end = offset.checked_add(buffer.len());
        let to = end.and_then(|end| bytes.get_mut(offset..end));
        to.ok_or(MemoryAccessError)?.copy_from_slice(buffer);
        Ok(())
    }
}

fn refused(what: &'static str, unit: &str, count: u64) -> Error {
    Error::Memory {
        what,
        reason: format!("cannot have {count} {unit}"),
    }
}

/// A table of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table(pub(crate) Handle);

impl Table {
    /// A table of the host's, of its least size and full of `init`.
    ///
    /// # Errors
    /// [`Error::Arguments`] if `init` has another type, [`Error::Memory`] where memory cannot be had,
    /// [`Error::Limit`] if the store's limiter refuses.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Ref) -> Result<Self> {
        let mut store = store.as_context_mut();
        check(ValType::Ref(ty.element()), init.into())?;
        admit(&mut store, [0, 1, 0])?;
        let word = init.to_word(store.opaque());
        let id = Self::make(&mut store, ty)?;
        let opaque = store.opaque_mut();
        let entry = opaque.entry(id as usize, word)?;
        opaque.tables[id as usize].entries_mut().fill(entry);
        Ok(Self(opaque.handle(id as usize)))
    }

    pub(crate) fn make<T>(store: &mut StoreContextMut<'_, T>, ty: TableType) -> Result<u32> {
        let growth = Growth::Table {
            current: 0,
            desired: ty.minimum() as usize,
            maximum: ty.maximum().map(|maximum| maximum as usize),
        };
        // SAFETY: the store is borrowed for this call alone.
        if ty.minimum() > MAX_TABLE || !unsafe { allowed(store.root(), growth) }? {
            return Err(refused("a table", "elements", ty.minimum()));
        }
        let table =
            table::Table::new(ty).ok_or_else(|| refused("a table", "elements", ty.minimum()))?;
        let opaque = store.opaque_mut();
        opaque.tables.push(table);
        Ok(opaque.tables.len() as u32 - 1)
    }

    fn find(self, store: &Opaque) -> &table::Table {
        &store.tables[store.index(self.0)]
    }

    fn type_in(self, store: &Opaque) -> TableType {
        let table = self.find(store);
        TableType::wide(table.ty.element(), table.len(), table.ty.maximum())
    }

    /// Its type; the least size is the size it has now.
    ///
    /// # Panics
    /// If it belongs to another store, as all methods do.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        self.type_in(store.as_context().into_opaque())
    }

    /// The element at `index`; `None` if there is none.
    pub fn get(&self, store: impl AsContext, index: u64) -> Option<Ref> {
        let store = store.as_context().into_opaque();
        let table = self.find(store);
        let [entry] = table.range(index, 1)? else {
            return None;
        };
        Some(Ref::from_word(table.ty.element(), entry.object, store))
    }

    /// Changes the element at `index`.
    ///
    /// # Errors
    /// [`Error::Trap`] if there is none, [`Error::Arguments`] if `value` has another type.
    pub fn set(&self, store: impl AsContextMut, index: u64, value: Ref) -> Result<()> {
        self.fill(store, index, value, 1)
    }

    /// Changes `len` elements from `index` on.
    ///
    /// # Errors
    /// As [`Table::set`].
    pub fn fill(
        &self,
        mut store: impl AsContextMut,
        index: u64,
        value: Ref,
        len: u64,
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        let opaque = store.opaque_mut();
        let id = opaque.index(self.0);
        check(ValType::Ref(opaque.tables[id].ty.element()), value.into())?;
        let word = value.to_word(opaque);
        let entry = opaque.entry(id, word)?;
        opaque.tables[id]
            .range_mut(index, len)
            .ok_or(TrapCode::TableOutOfBounds)?
            .fill(entry);
        Ok(())
    }

    /// Its number of elements.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.find(store.as_context().into_opaque()).len()
    }

    /// Adds `delta` elements that are `init`, and gives the number of elements before.
    ///
    /// # Errors
    /// [`Error::Memory`] if it cannot grow so far, [`Error::Arguments`] if `init` has another type.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Ref) -> Result<u64> {
        let mut store = store.as_context_mut();
        let opaque = store.opaque();
        let id = opaque.index(self.0);
        check(ValType::Ref(opaque.tables[id].ty.element()), init.into())?;
        let word = init.to_word(opaque);
        // SAFETY: the store is borrowed for this call alone.
        let grown = unsafe { grow_table(store.root(), id, delta, word) }?;
        grown.ok_or_else(|| refused("a table", "more elements", delta))
    }
}

fn check(ty: ValType, value: Val) -> Result<()> {
    if value.ty() == ty {
        return Ok(());
    }
    Err(Error::Arguments {
        name: "value".to_owned(),
        what: format!("of type {}, not {ty}", value.ty()),
    })
}

/// A global of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Global(pub(crate) Handle);

impl Global {
    /// A global of the host's.
    ///
    /// # Errors
    /// [`Error::Arguments`] if `value` has another type.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, value: Val) -> Result<Self> {
        check(ty.content(), value)?;
        let mut store = store.as_context_mut();
        let opaque = store.opaque_mut();
        let words = value.to_words(opaque);
        let id = opaque.new_global(ty, words);
        Ok(Self(opaque.handle(id as usize)))
    }

    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store, as all methods do.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        let store = store.as_context().into_opaque();
        store.globals[store.index(self.0)].ty
    }

    /// Its value.
    pub fn get(&self, store: impl AsContext) -> Val {
        let store = store.as_context().into_opaque();
        let global = &store.globals[store.index(self.0)];
        Val::from_words(global.ty.content(), global.get(), store)
    }

    /// Changes it.
    ///
    /// # Errors
    /// [`Error::Arguments`] if it cannot be changed, or `value` has another type.
    pub fn set(&self, mut store: impl AsContextMut, value: Val) -> Result<()> {
        let mut store = store.as_context_mut();
        let opaque = store.opaque_mut();
        let index = opaque.index(self.0);
        let ty = opaque.globals[index].ty;
        check(ty.content(), value)?;
        if !ty.mutable() {
            return Err(Error::Arguments {
                name: "global".to_owned(),
                what: "it is not mutable".to_owned(),
            });
        }
        let words = value.to_words(opaque);
        opaque.globals[index].set(words);
        Ok(())
    }
}
