//! Stores: everything that instances consist of, and the embedder's data.
//!
//! A store owns its instances, functions, memories, tables, globals and host objects; what the embedder holds are numbers
//! of them. They live until the store is dropped.
#![allow(unsafe_code)] // Compiled code and the host reach a store in turns, through one pointer.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use copatch::Stack;

use crate::engine::Engine;
use crate::error::Result;
use crate::helpers;
use crate::interrupt::InterruptHandle;
use crate::limits::{Growth, ResourceLimiter};
use crate::opaque::{Opaque, Root};
use crate::record::Records;

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
    /// [`Error::Engine`](crate::Error::Engine) where memory for the stack of compiled code cannot be had.
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

    /// Programs run until `ticks` more epochs have begun; then they trap with
    /// [`TrapCode::Interrupted`](crate::TrapCode::Interrupted), until another
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
        let engine = opaque.engine.clone();
        let epoch = engine.epoch();
        let deadline = opaque.deadline();
        deadline.set(epoch.saturating_add(ticks));
        // One that began meanwhile may have been taken for the deadline before.
        if engine.epoch() != epoch {
            deadline.reach(engine.epoch());
        }
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
