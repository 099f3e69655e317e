//! What a store consists of, apart from the embedder's data.
#![allow(unsafe_code)] // Compiled code and the host reach it in turns, through one pointer.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

use copatch::{Helper, Stack};

use crate::context::Words;
use crate::engine::Engine;
use crate::error::{Error, Result, TrapCode};
use crate::func::Func;
use crate::instance::InstanceData;
use crate::interrupt::Deadline;
use crate::limits::Growth;
use crate::memory::LinearMemory;
use crate::record::{Record, Records};
use crate::store::StoreContextMut;
use crate::table::{Entry, Table};
use crate::types::{GlobalType, RefType, ValType};

/// Elements that any table may have.
pub(crate) const MAX_TABLE: u64 = 10_000_000;

/// The number of something in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle {
    store: u64,
    index: u32,
}

/// Why a helper failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Trap(TrapCode),
    Error(Error),
}

impl From<TrapCode> for Failure {
    fn from(code: TrapCode) -> Self {
        Failure::Trap(code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

/// A memory with the instances that use it, each once.
#[derive(Debug)]
pub(crate) struct MemoryData {
    pub memory: LinearMemory,
    pub users: Vec<u32>,
}

/// A global, wherever it lives.
#[derive(Debug)]
pub(crate) struct GlobalData {
    pub ty: GlobalType,
    cell: NonNull<u64>,
    /// Its place, if it does not lie in an instance's context.
    _own: Option<Words>,
}

impl GlobalData {
    pub fn address(&self) -> u64 {
        self.cell.as_ptr() as u64
    }

    /// Its words; the second one is 0 but for 128-bit values.
    pub fn get(&self) -> [u64; 2] {
        // SAFETY: the cell lies in an instance's context or in `_own`, which the store keeps, and has 16 bytes if the
        // type needs them. Compiled code, which writes it, does not run meanwhile.
        unsafe {
            let high = match self.ty.content() {
                ValType::V128 => self.cell.add(1).read(),
                _ => 0,
            };
            [self.cell.read(), high]
        }
    }

    pub fn set(&mut self, [low, high]: [u64; 2]) {
        // SAFETY: as above.
        unsafe {
            self.cell.write(low);
            if self.ty.content() == ValType::V128 {
                self.cell.add(1).write(high);
            }
        }
    }
}

/// A store without the embedder's data.
pub struct Opaque {
    pub(crate) id: u64,
    pub(crate) engine: Engine,
    pub(crate) stack: Stack,
    /// Where the frames of the next call from the host begin.
    pub(crate) frame: *mut u64,
    pub(crate) instances: Vec<InstanceData>,
    pub(crate) records: Records,
    pub(crate) memories: Vec<MemoryData>,
    pub(crate) tables: Vec<Table>,
    pub(crate) globals: Vec<GlobalData>,
    pub(crate) objects: Vec<Box<dyn Any + Send + Sync>>,
    /// What the helper that just failed failed with.
    pub(crate) failure: Option<Failure>,
    pub(crate) helpers: &'static [Helper],
    /// Made when somebody wants to stop programs.
    pub(crate) deadline: Option<Arc<Deadline>>,
    /// Asks the embedder's limiter, if there is one.
    pub(crate) ask: Option<Ask>,
}

pub(crate) type Ask = fn(Root, Growth) -> Result<bool>;

/// The one pointer through which everything reaches a store.
pub(crate) type Root = NonNull<Opaque>;

impl Opaque {
    /// The handle of what has this number.
    pub(crate) fn handle(&self, index: usize) -> Handle {
        Handle {
            store: self.id,
            index: index as u32,
        }
    }

    /// The number behind a handle.
    ///
    /// # Panics
    /// If it is another store's.
    pub(crate) fn index(&self, handle: Handle) -> usize {
        assert!(handle.store == self.id, "object used with the wrong store");
        handle.index as usize
    }

    pub(crate) fn record(&self, handle: Handle) -> &Record {
        self.records.get(self.index(handle))
    }

    /// The function that a word of compiled code refers to.
    pub(crate) fn function_of(&self, word: u64) -> Option<Func> {
        let record = NonNull::new(word as *mut Record)?;
        // SAFETY: references to functions in compiled code are addresses of this store's records, which stay where they
        // are.
        let id = unsafe { record.as_ref() }.id;
        Some(Func(self.handle(id as usize)))
    }

    /// The function of that index in an instance, as a record.
    pub(crate) fn instance_function(&mut self, instance: u32, function: u32) -> Result<u32> {
        let data = &self.instances[instance as usize];
        if let Some(known) = data.functions.get(function as usize)
            && let Some(id) = known.checked_sub(1)
        {
            return Ok(id);
        }
        let missing = || internal(format!("function {function} has no code"));
        let code = data.module.program().entry(function).ok_or_else(missing)?;
        let ty = data.module.type_entry(function).ok_or_else(missing)?;
        let id = self.records.wasm(
            Arc::clone(ty),
            code,
            data.block.context(),
            (instance, function),
        );
        self.instances[instance as usize].functions[function as usize] = id + 1;
        Ok(id)
    }

    /// The global of that index in an instance.
    pub(crate) fn instance_global(&mut self, instance: u32, global: u32) -> u32 {
        let data = &mut self.instances[instance as usize];
        if let Some(id) = data.globals[global as usize].checked_sub(1) {
            return id;
        }
        let id = self.globals.len() as u32;
        data.globals[global as usize] = id + 1;
        let ty = data.module.description().globals[global as usize].ty;
        let cell = data.block.at(data.module.layout().global(global));
        self.globals.push(GlobalData {
            ty,
            cell,
            _own: None,
        });
        id
    }

    /// A global of the host's.
    pub(crate) fn new_global(&mut self, ty: GlobalType, words: [u64; 2]) -> u32 {
        let own = Words::new(16);
        let mut global = GlobalData {
            ty,
            cell: own.at(0),
            _own: Some(own),
        };
        global.set(words);
        self.globals.push(global);
        self.globals.len() as u32 - 1
    }

    /// The element that a reference becomes in a table.
    pub(crate) fn entry(&mut self, table: usize, word: u64) -> Result<Entry> {
        let table = &self.tables[table];
        if word == 0 || table.ty.element() == RefType::Extern {
            return Ok(Entry::plain(word));
        }
        // SAFETY: as in `function_of`.
        let record = unsafe { &*(word as *const Record) };
        let near = match *table.users.as_slice() {
            [user] => self.instances[user as usize].block.context() == record.context(),
            _ => false,
        };
        let code = match near {
            true => record.code(),
            false => record.ty.stubs()?.away,
        };
        Ok(Entry::function(word, record.ty.number, code))
    }

    /// An instance begins to use a table.
    pub(crate) fn use_table(&mut self, table: u32, instance: u32) -> Result<()> {
        let index = table as usize;
        if !self.tables[index].users.contains(&instance) {
            self.tables[index].users.push(instance);
        }
        if self.tables[index].users.len() <= 2 && self.tables[index].ty.element() == RefType::Func {
            // What was near may now be far, and the other way round.
            for at in 0..self.tables[index].len() as usize {
                let word = self.tables[index].entries_mut()[at].object;
                if word != 0 {
                    let entry = self.entry(index, word)?;
                    self.tables[index].entries_mut()[at] = entry;
                }
            }
        }
        self.publish_table(index);
        Ok(())
    }

    /// An instance begins to use a memory.
    pub(crate) fn use_memory(&mut self, memory: u32, instance: u32) {
        let data = &mut self.memories[memory as usize];
        data.users.push(instance);
        self.publish_memory(memory as usize);
    }

    /// Writes address and length of a table to where compiled code reads them.
    fn publish_table(&mut self, table: usize) {
        let [entries, length] = self.tables[table].descriptor();
        for user in &self.tables[table].users {
            let instance = &mut self.instances[*user as usize];
            for (id, index) in instance.tables.iter().zip(0..) {
                if *id as usize == table {
                    let offset = instance.module.layout().table(index);
                    instance.block.write(offset, entries);
                    instance.block.write(offset + 8, length);
                }
            }
        }
    }

    /// Writes the size of a memory to where compiled code reads it.
    fn publish_memory(&mut self, memory: usize) {
        let data = &self.memories[memory];
        for user in &data.users {
            let block = &mut self.instances[*user as usize].block;
            block.write(crate::layout::MEMORY_BYTES, data.memory.len() as u64);
        }
    }
}

pub(crate) fn internal(what: String) -> Error {
    Error::Engine(copatch::Error::Internal { what })
}

/// Grows a memory and gives the size in pages before; `None` if it cannot.
///
/// # Safety
/// `root` is a live store that nothing else uses.
pub(crate) unsafe fn grow_memory(root: Root, memory: usize, delta: u64) -> Result<Option<u64>> {
    // SAFETY: the caller's promise; each reference ends before the embedder's code runs.
    let (before, maximum) = unsafe {
        let memory = &root.as_ref().memories[memory].memory;
        (memory.pages(), memory.maximum())
    };
    let wanted = before.saturating_add(delta);
    let growth = Growth::Memory {
        current: before.saturating_mul(65536) as usize,
        desired: wanted.saturating_mul(65536) as usize,
        maximum: Some(maximum.saturating_mul(65536) as usize),
    };
    // SAFETY: the caller's promise.
    if wanted > maximum || !unsafe { allowed(root, growth) }? {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let store = unsafe { &mut *root.as_ptr() };
    if store.memories[memory].memory.grow(delta).is_none() {
        return Ok(None);
    }
    store.publish_memory(memory);
    Ok(Some(before))
}

/// Grows a table and gives the number of elements before; `None` if it cannot.
///
/// # Safety
/// As [`grow_memory`].
pub(crate) unsafe fn grow_table(
    root: Root,
    table: usize,
    delta: u64,
    word: u64,
) -> Result<Option<u64>> {
    // SAFETY: the caller's promise; each reference ends before the embedder's code runs.
    let (before, maximum) = unsafe {
        let table = &root.as_ref().tables[table];
        (table.len(), table.ty.maximum())
    };
    let wanted = before.saturating_add(delta);
    let growth = Growth::Table {
        current: before as usize,
        desired: wanted as usize,
        maximum: maximum.map(|maximum| maximum as usize),
    };
    // SAFETY: the caller's promise.
    if wanted > maximum.unwrap_or(MAX_TABLE).min(MAX_TABLE) || !unsafe { allowed(root, growth) }? {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let store = unsafe { &mut *root.as_ptr() };
    let entry = store.entry(table, word)?;
    if store.tables[table].grow(delta, entry, MAX_TABLE).is_none() {
        return Ok(None);
    }
    store.publish_table(table);
    Ok(Some(before))
}

/// Whether the embedder's limiter, if there is one, allows it.
///
/// # Safety
/// As [`grow_memory`].
pub(crate) unsafe fn allowed(root: Root, growth: Growth) -> Result<bool> {
    // SAFETY: the caller's promise.
    match unsafe { root.as_ref() }.ask {
        Some(ask) => ask(root, growth),
        None => Ok(true),
    }
}

/// Asks the embedder's limiter for so many more instances, tables and memories.
///
/// # Errors
/// [`Error::Limit`](crate::Error::Limit), and what the limiter gives.
pub(crate) fn admit<T>(store: &mut StoreContextMut<'_, T>, more: [usize; 3]) -> Result<()> {
    let growth = Growth::counts(store.opaque(), more);
    // SAFETY: the store is borrowed for this call alone.
    unsafe { allowed(store.root(), growth) }.map(drop)
}

impl Opaque {
    pub(crate) fn deadline(&mut self) -> &Arc<Deadline> {
        let engine = &self.engine;
        self.deadline.get_or_insert_with(|| {
            let deadline = Arc::new(Deadline::new());
            engine.watch(&deadline);
            deadline
        })
    }
}
