//! Functions: of instances and of the host, called with values whose types are checked on each call.
#![allow(unsafe_code)] // Arguments and results travel in slots.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::call;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::interrupt::InterruptHandle;
use crate::opaque::{Handle, Opaque, Root, internal};
use crate::record::HostFunction;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::typed::{IntoFunc, TypedFunc, WasmParams, WasmResults};
use crate::types::{FuncType, list};
use crate::value::{Val, width, words};
use crate::{Extern, Module};

/// Arguments and results of so many slots in all need no allocation.
const INLINE: usize = 16;

/// A function of a store: an instance's or the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Func(pub(crate) Handle);

impl Func {
    /// A function of the host's of that type. `body` gets the caller, the arguments, and the results to fill in, which are
    /// zero or null before.
    pub fn new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let mut store = store.as_context_mut();
        let host = host_function(store.engine(), &ty, body);
        Self::host(store.opaque_mut(), host)
    }

    /// A function of the host's whose type is the closure's: numbers and references, after a [`Caller`] if it wants
    /// one, to nothing, a value, a tuple of values, or a [`Result`] of these.
    pub fn wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        body: impl IntoFunc<T, Params, Results>,
    ) -> Self {
        let mut store = store.as_context_mut();
        let host = Arc::new(body.into_host(store.engine()));
        Self::host(store.opaque_mut(), host)
    }

    pub(crate) fn host(store: &mut Opaque, host: Arc<HostFunction>) -> Self {
        let id = store.records.host(host);
        Self(store.handle(id as usize))
    }

    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store, as all methods do.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        let record = store.as_context().into_opaque().record(self.0);
        record.ty.ty.clone()
    }

    /// Calls it and puts its results into `results`.
    ///
    /// # Errors
    /// [`Error::Arguments`] for arguments of other types, or room for another number of results; [`Error::Trap`],
    /// [`Error::Exit`] and [`Error::Host`] for a call that did not return.
    ///
    /// # Panics
    /// Resumes the panic of a host function. Panics if it, or a reference among the arguments, is another store's.
    pub fn call(
        &self,
        mut store: impl AsContextMut,
        arguments: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        let record = store.opaque().record(self.0);
        let entry = Arc::clone(&record.ty);
        let record = NonNull::from(record);
        let ty = &entry.ty;
        check(ty, arguments, results.len())?;
        let count = words(ty.params()).max(words(ty.results()));
        let (mut inline, mut heap) = ([0; INLINE], Vec::new());
        let words = match inline.get_mut(..count) {
            Some(words) => words,
            None => {
                heap.resize(count, 0);
                &mut heap[..]
            }
        };
        let mut at = 0;
        for value in arguments {
            let width = width(value.ty());
            words[at..at + width].copy_from_slice(&value.to_words(store.opaque())[..width]);
            at += width;
        }
        let words = words.as_mut_ptr();
        // SAFETY: the store is borrowed for this call alone, the record is its own, and there is a slot for each word of
        // arguments and results.
        unsafe { call::call(store.root(), record, None, words, words) }?;
        let mut at = 0;
        for (result, ty) in results.iter_mut().zip(ty.results()) {
            // SAFETY: as above.
            *result = unsafe { read(words, &mut at, ty, store.opaque()) };
        }
        Ok(())
    }

    /// The same function, called without checking types each time.
    ///
    /// # Errors
    /// [`Error::Arguments`] if it has another type.
    pub fn typed<P: WasmParams, R: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<P, R>> {
        TypedFunc::new(self, store.as_context().into_opaque())
    }
}

/// The value of type `ty` at slot `at`, which moves on.
///
/// # Safety
/// There are as many slots.
unsafe fn read(words: *const u64, at: &mut usize, ty: crate::ValType, store: &Opaque) -> Val {
    // SAFETY: the caller's promise.
    let value = unsafe {
        let high = if width(ty) == 2 {
            words.add(*at + 1).read()
        } else {
            0
        };
        [words.add(*at).read(), high]
    };
    *at += width(ty);
    Val::from_words(ty, value, store)
}

fn check(ty: &FuncType, arguments: &[Val], results: usize) -> Result<()> {
    let fault = |what: String| Error::Arguments {
        name: "call".to_owned(),
        what,
    };
    if !arguments.iter().map(Val::ty).eq(ty.params()) {
        let given = list(arguments.iter().map(Val::ty));
        return Err(fault(format!(
            "called with {given}, takes {}",
            list(ty.params())
        )));
    }
    if results != ty.results().len() {
        return Err(fault(format!(
            "room for {results} results, gives {}",
            list(ty.results())
        )));
    }
    Ok(())
}

/// A host function that works on values.
pub(crate) fn host_function<T: 'static>(
    engine: &Engine,
    ty: &FuncType,
    body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
) -> Arc<HostFunction> {
    let entry = engine.intern(ty);
    let ty = Arc::clone(&entry);
    let run = move |root: Root, caller: Option<u32>, arguments: *const u64, results: *mut u64| {
        let ty = &ty.ty;
        // SAFETY: host functions get into a store only by way of its own type of data.
        let mut store = unsafe { StoreContextMut::<T>::from_root(root) };
        let (params, count) = (ty.params().len(), ty.params().len() + ty.results().len());
        let (mut inline, mut heap) = ([Val::I32(0); INLINE], Vec::new());
        let values = match inline.get_mut(..count) {
            Some(values) => values,
            None => {
                heap.resize(count, Val::I32(0));
                &mut heap[..]
            }
        };
        let (taken, given) = values.split_at_mut(params);
        let mut at = 0;
        for (value, ty) in taken.iter_mut().zip(ty.params()) {
            // SAFETY: the caller has put the arguments there.
            *value = unsafe { read(arguments, &mut at, ty, store.opaque()) };
        }
        for (value, ty) in given.iter_mut().zip(ty.results()) {
            *value = Val::default_for_ty(ty);
        }
        body(Caller::new(store.as_context_mut(), caller), taken, given)?;
        let mut at = 0;
        for (value, ty) in given.iter().zip(ty.results()) {
            if value.ty() != ty {
                return Err(Error::msg(format!(
                    "a host function gave {} where it promised {ty}",
                    value.ty()
                )));
            }
            for word in &value.to_words(store.opaque())[..width(ty)] {
                // SAFETY: the caller has a slot for each word of a result.
                unsafe { results.add(at).write(*word) };
                at += 1;
            }
        }
        Ok(())
    };
    Arc::new(HostFunction {
        ty: entry,
        body: Box::new(run),
    })
}

/// What a host function may do with the store, and with the instance that calls it.
pub struct Caller<'a, T: 'static> {
    store: StoreContextMut<'a, T>,
    instance: Option<u32>,
}

impl<'a, T: 'static> Caller<'a, T> {
    pub(crate) fn new(store: StoreContextMut<'a, T>, instance: Option<u32>) -> Self {
        Self { store, instance }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The embedder's data, to be changed.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// What the calling instance exports under that name; `None` also if the host called the function.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        let instance = self.instance?;
        let store = self.store.opaque();
        Instance(store.handle(instance as usize)).get_export(&self.store, name)
    }

    /// The module of the calling instance.
    pub fn module(&self) -> Option<&Module> {
        let store = self.store.as_context().into_opaque();
        Some(&store.instances[self.instance? as usize].module)
    }

    /// The calling instance's linear memory and the embedder's data.
    ///
    /// # Errors
    /// [`Error::Export`] if the caller has no memory; whether it exports it does not matter.
    pub fn memory_and_data(&mut self) -> Result<(&mut [u8], &mut T)> {
        let instance = self.instance;
        let (store, data) = self.store.as_context_mut().into_parts();
        let memory = instance.and_then(|instance| store.instances[instance as usize].memory);
        let memory = memory.ok_or(Error::Export {
            kind: "memory",
            name: "memory".to_owned(),
        })?;
        let memory = store
            .memories
            .get_mut(memory as usize)
            .ok_or_else(|| internal("a memory is missing".to_owned()))?;
        Ok((memory.memory.bytes_mut(), data))
    }

    /// As [`Store::interrupt_handle`](crate::Store::interrupt_handle).
    pub fn interrupt_handle(&mut self) -> InterruptHandle {
        self.store.interrupt_handle()
    }

    /// As [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline).
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        self.store.set_epoch_deadline(ticks);
    }
}

impl<T: 'static> AsContext for Caller<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T: 'static> AsContextMut for Caller<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}
