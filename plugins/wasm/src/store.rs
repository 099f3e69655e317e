//! Stores: everything that instances consist of, and the embedder's data.
//!
//! A store owns its instances, functions, memories, tables, globals and host objects; what the embedder holds are numbers
//! of them. They live until the store is dropped.
#![allow(unsafe_code)] // Compiled code and the host reach a store in turns, through one pointer.

use std::any::Any;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use copatch::{Helper, Stack};

use crate::context::Words;
use crate::engine::Engine;
use crate::error::{Error, Result, TrapCode};
use crate::func::Func;
use crate::helpers;
use crate::instance::InstanceData;
use crate::interrupt::{Deadline, InterruptHandle};
use crate::limits::{Growth, ResourceLimiter};
use crate::memory::LinearMemory;
use crate::record::{Record, Records};
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
    id: u64,
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
    ask: Option<Ask>,
}

type Ask = fn(Root, Growth) -> Result<bool>;

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

type Limiter<T> = Box<dyn (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync>;

/// Begins with the part that needs no `T`, so that a pointer to the one is a pointer to the other.
#[repr(C)]
struct Inner<T: 'static> {
    opaque: Opaque,
    limiter: Option<Limiter<T>>,
    data: T,
}

/// Owns instances and everything they consist of, and the embedder's data of type `T`.
///
/// ```
/// use copatch_wasm::{Engine, Store};
///
/// let mut store = Store::new(&Engine::default(), 1);
/// *store.data_mut() += 1;
/// assert_eq!(store.into_data(), 2);
/// ```
pub struct Store<T: 'static> {
    /// Owned. Everything reaches the store through this pointer or one derived from it, since compiled code and host
    /// functions work on it in turns.
    root: NonNull<Inner<T>>,
    owns: PhantomData<Inner<T>>,
}

// SAFETY: a store is its `Inner`, whose parts are `Send` if `T` is, but for pointers into memory that it owns alone; host
// functions, host objects and the limiter are `Send + Sync`.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: `&Store` gives out nothing but shared references to bytes, values and `T`.
unsafe impl<T: Sync> Sync for Store<T> {}

impl<T: 'static> Store<T> {
    /// An empty store.
    ///
    /// # Panics
    /// Where memory for the stack of compiled code cannot be had; see [`Store::try_new`].
    pub fn new(engine: &Engine, data: T) -> Self {
        match Self::try_new(engine, data) {
            Ok(store) => store,
            Err(error) => panic!("{error}"),
        }
    }

    /// An empty store.
    ///
    /// # Errors
    /// [`Error::Engine`] where memory for the stack of compiled code cannot be had.
    pub fn try_new(engine: &Engine, data: T) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let stack = Stack::new(engine.stack_bytes()).map_err(copatch::Error::from)?;
        let opaque = Opaque {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            engine: engine.clone(),
            frame: stack.base(),
            stack,
            instances: Vec::new(),
            records: Records::default(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            objects: Vec::new(),
            failure: None,
            helpers: helpers::HELPERS,
            deadline: None,
            ask: None,
        };
        let inner = Box::new(Inner {
            opaque,
            limiter: None,
            data,
        });
        let mut store = Self {
            root: NonNull::from(Box::leak(inner)),
            owns: PhantomData,
        };
        if engine.has_epochs() {
            store.set_epoch_deadline(0);
        }
        Ok(store)
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.as_context().into_data()
    }

    /// The embedder's data, to be changed.
    pub fn data_mut(&mut self) -> &mut T {
        self.as_context_mut().into_data_mut()
    }

    /// The embedder's data, out of the store, whose instances end.
    pub fn into_data(self) -> T {
        let store = std::mem::ManuallyDrop::new(self);
        // SAFETY: as in `drop`, which does not run.
        let inner = unsafe { Box::from_raw(store.root.as_ptr()) };
        inner.data
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.as_context().into_opaque().engine
    }

    /// Has `limiter` find, in the embedder's data, what is asked before memories and tables are made or grow.
    pub fn limiter(
        &mut self,
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        // SAFETY: `&mut self` excludes every other reference.
        let inner = unsafe { self.root.as_mut() };
        inner.limiter = Some(Box::new(limiter));
        inner.opaque.ask = Some(ask::<T>);
    }

    /// A handle by which other threads can stop what runs in this store. Make the first one before that runs: a call that was
    /// under way before is stopped only where it calls the host.
    pub fn interrupt_handle(&mut self) -> InterruptHandle {
        self.as_context_mut().interrupt_handle()
    }

    /// Programs run until `ticks` more epochs have begun; then they trap with [`TrapCode::Interrupted`], until another
    /// deadline is set.
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        self.as_context_mut().set_epoch_deadline(ticks);
    }
}

/// Asks the limiter of a store whose data is a `T`.
fn ask<T: 'static>(root: Root, growth: Growth) -> Result<bool> {
    let root = root.cast::<Inner<T>>().as_ptr();
    // SAFETY: `Store<T>::limiter` put this function in its own store, which its caller has for itself. These are different
    // fields, and the limiter has no way to reach either but the one it is given.
    let (limiter, data) = unsafe { (&mut (*root).limiter, &mut (*root).data) };
    match limiter {
        Some(limiter) => growth.ask(limiter(data)),
        None => Ok(true),
    }
}

impl<T: 'static> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: made from a box in `try_new`; this is the only owner.
        drop(unsafe { Box::from_raw(self.root.as_ptr()) });
    }
}

impl<T: std::fmt::Debug + 'static> std::fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("data", self.data())
            .finish_non_exhaustive()
    }
}

/// A shared borrow of a store.
pub struct StoreContext<'a, T: 'static> {
    root: NonNull<Inner<T>>,
    borrows: PhantomData<&'a Inner<T>>,
}

/// A borrow of a store to change it.
pub struct StoreContextMut<'a, T: 'static> {
    root: NonNull<Inner<T>>,
    borrows: PhantomData<&'a mut Inner<T>>,
}

impl<T: 'static> Clone for StoreContext<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: 'static> Copy for StoreContext<'_, T> {}

impl<'a, T: 'static> StoreContext<'a, T> {
    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.into_data()
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.into_opaque().engine
    }

    fn into_data(self) -> &'a T {
        // SAFETY: borrowed from a store for `'a`, see there; compiled code stands still.
        unsafe { &(*self.root.as_ptr()).data }
    }

    pub(crate) fn into_opaque(self) -> &'a Opaque {
        // SAFETY: as above.
        unsafe { &(*self.root.as_ptr()).opaque }
    }
}

impl<'a, T: 'static> StoreContextMut<'a, T> {
    /// The store behind the root that a host function was called with.
    ///
    /// # Safety
    /// `root` is a store whose data is a `T`; it is alive and used by nothing else for `'a`.
    pub(crate) unsafe fn from_root(root: Root) -> Self {
        Self {
            root: root.cast(),
            borrows: PhantomData,
        }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.as_context().into_data()
    }

    /// The embedder's data, to be changed.
    pub fn data_mut(&mut self) -> &mut T {
        self.as_context_mut().into_data_mut()
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.as_context().into_opaque().engine
    }

    /// As [`Store::interrupt_handle`].
    pub fn interrupt_handle(&mut self) -> InterruptHandle {
        self.opaque_mut().deadline().handle()
    }

    /// As [`Store::set_epoch_deadline`].
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        let opaque = self.opaque_mut();
        let at = opaque.engine.epoch().saturating_add(ticks);
        opaque.deadline().set(at);
    }

    fn into_data_mut(self) -> &'a mut T {
        // SAFETY: borrowed from a store for `'a`, see there; nothing else refers to the data.
        unsafe { &mut (*self.root.as_ptr()).data }
    }

    pub(crate) fn into_opaque_mut(self) -> &'a mut Opaque {
        // SAFETY: as above.
        unsafe { &mut (*self.root.as_ptr()).opaque }
    }

    /// The store's parts and the embedder's data.
    pub(crate) fn into_parts(self) -> (&'a mut Opaque, &'a mut T) {
        let inner = self.root.as_ptr();
        // SAFETY: as above, and these are different fields.
        unsafe { (&mut (*inner).opaque, &mut (*inner).data) }
    }

    pub(crate) fn opaque(&self) -> &Opaque {
        self.as_context().into_opaque()
    }

    pub(crate) fn opaque_mut(&mut self) -> &mut Opaque {
        self.as_context_mut().into_opaque_mut()
    }

    /// For calls of compiled code: no reference into the store may be in use meanwhile.
    pub(crate) fn root(&mut self) -> Root {
        self.root.cast()
    }
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

/// What gives shared access to a store: a store, a host function's [`Caller`](crate::Caller), and borrows of them.
pub trait AsContext {
    /// The type of the embedder's data.
    type Data: 'static;

    /// A shared borrow of the store.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// What gives access to a store to change it.
pub trait AsContextMut: AsContext {
    /// A borrow of the store to change it.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

impl<T: 'static> AsContext for Store<T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext {
            root: self.root,
            borrows: PhantomData,
        }
    }
}

impl<T: 'static> AsContextMut for Store<T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut {
            root: self.root,
            borrows: PhantomData,
        }
    }
}

impl<T: 'static> AsContext for StoreContext<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        *self
    }
}

impl<T: 'static> AsContext for StoreContextMut<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext {
            root: self.root,
            borrows: PhantomData,
        }
    }
}

impl<T: 'static> AsContextMut for StoreContextMut<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut {
            root: self.root,
            borrows: PhantomData,
        }
    }
}

impl<S: AsContext> AsContext for &S {
    type Data = S::Data;

    fn as_context(&self) -> StoreContext<'_, S::Data> {
        S::as_context(self)
    }
}

impl<S: AsContext> AsContext for &mut S {
    type Data = S::Data;

    fn as_context(&self) -> StoreContext<'_, S::Data> {
        S::as_context(self)
    }
}

impl<S: AsContextMut> AsContextMut for &mut S {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, S::Data> {
        S::as_context_mut(self)
    }
}

impl<'a, S: AsContext> From<&'a S> for StoreContext<'a, S::Data> {
    fn from(store: &'a S) -> Self {
        store.as_context()
    }
}

impl<'a, S: AsContext> From<&'a mut S> for StoreContext<'a, S::Data> {
    fn from(store: &'a mut S) -> Self {
        S::as_context(store)
    }
}

impl<'a, S: AsContextMut> From<&'a mut S> for StoreContextMut<'a, S::Data> {
    fn from(store: &'a mut S) -> Self {
        store.as_context_mut()
    }
}
