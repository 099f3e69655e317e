//! Imports by name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::externals::Extern;
use crate::func::{Caller, Func, host_function};
use crate::instance::Instance;
use crate::module::Module;
use crate::record::HostFunction;
use crate::store::{AsContext, AsContextMut};
use crate::typed::{IntoFunc, shared};
use crate::types::FuncType;
use crate::value::Val;

/// What is provided under a name.
#[derive(Clone)]
enum Definition {
    /// Something of a store.
    Item(Extern),
    /// A host function for any store.
    Host(Arc<HostFunction>),
}

/// What modules may import, by module and name. The embedder's data in the stores is a `T`.
///
/// ```
/// use copatch_wasm::{Caller, Engine, Linker, Module, Store};
///
/// // (module (import "host" "twice" (func (param i32) (result i32)))
/// //         (func (export "run") (param i32) (result i32) local.get 0 call 0))
/// let bytes = b"\0asm\x01\0\0\0\x01\x06\x01\x60\x01\x7f\x01\x7f\x02\x0e\x01\x04host\x05twice\0\0\
///     \x03\x02\x01\0\x07\x07\x01\x03run\0\x01\x0a\x08\x01\x06\0\x20\0\x10\0\x0b";
/// let engine = Engine::default();
/// let module = Module::new(&engine, bytes)?;
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "twice", |mut caller: Caller<'_, u32>, value: i32| {
///     *caller.data_mut() += 1;
///     value * 2
/// })?;
/// let mut store = Store::new(&engine, 0);
/// let instance = linker.instantiate(&mut store, &module)?;
/// let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
/// assert_eq!(run.call(&mut store, 21)?, 42);
/// assert_eq!(*store.data(), 1);
/// # Ok::<(), copatch_wasm::Error>(())
/// ```
pub struct Linker<T: 'static> {
    engine: Engine,
    definitions: HashMap<String, HashMap<String, Definition>>,
    shadowing: bool,
    data: std::marker::PhantomData<fn(T)>,
}

impl<T: 'static> Linker<T> {
    /// A linker that provides nothing.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            definitions: HashMap::new(),
            shadowing: false,
            data: std::marker::PhantomData,
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a name may be defined again. At first it may not.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.shadowing = allow;
        self
    }

    fn insert(&mut self, module: &str, name: &str, definition: Definition) -> Result<&mut Self> {
        let names = self.definitions.entry(module.to_owned()).or_default();
        if !self.shadowing && names.contains_key(name) {
            return Err(Error::Import {
                module: module.to_owned(),
                name: name.to_owned(),
                what: "it is provided twice".to_owned(),
            });
        }
        names.insert(name.to_owned(), definition);
        Ok(self)
    }

    /// Provides a closure, see [`Func::wrap`].
    ///
    /// # Errors
    /// [`Error::Import`] if the name is provided already, as all methods that define.
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        body: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Self> {
        let host = shared(body, &self.engine);
        self.insert(module, name, Definition::Host(host))
    }

    /// Provides a function of that type, see [`Func::new`].
    ///
    /// # Errors
    /// As [`Linker::func_wrap`].
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        body: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Self> {
        let host = host_function(&self.engine, &ty, body);
        self.insert(module, name, Definition::Host(host))
    }

    /// Provides something of a store, which is the only one to be linked with then.
    ///
    /// # Errors
    /// As [`Linker::func_wrap`].
    pub fn define(
        &mut self,
        _store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self> {
        self.insert(module, name, Definition::Item(item.into()))
    }

    /// Provides everything that an instance exports, under its names.
    ///
    /// # Errors
    /// As [`Linker::func_wrap`].
    pub fn instance(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        instance: Instance,
    ) -> Result<&mut Self> {
        let store = store.as_context();
        for (name, item) in instance.exports(&store) {
            self.insert(module, name, Definition::Item(item))?;
        }
        Ok(self)
    }

    /// Makes an instance and provides everything that it exports.
    ///
    /// # Errors
    /// As [`Linker::instantiate`] and [`Linker::func_wrap`].
    ///
    /// # Panics
    /// As [`Linker::instantiate`].
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        name: &str,
        module: &Module,
    ) -> Result<&mut Self> {
        let instance = self.instantiate(&mut store, module)?;
        self.instance(&store, name, instance)
    }

    /// Provides under another name what is provided.
    ///
    /// # Errors
    /// [`Error::Import`] if nothing is, and as [`Linker::func_wrap`].
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Self> {
        let definition = self.find(module, name).cloned();
        let definition = definition.ok_or_else(|| missing(module, name))?;
        self.insert(as_module, as_name, definition)
    }

    fn find(&self, module: &str, name: &str) -> Option<&Definition> {
        self.definitions.get(module)?.get(name)
    }

    /// What is provided under that name, in this store; nothing in a store of another engine.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Option<Extern> {
        let mut store = store.as_context_mut();
        // The numbers that types have are the engine's.
        if !store.engine().same(&self.engine) {
            return None;
        }
        Some(match self.find(module, name)? {
            Definition::Item(item) => *item,
            Definition::Host(host) => {
                Extern::Func(Func::host(store.opaque_mut(), Arc::clone(host)))
            }
        })
    }

    /// Makes an instance: links its imports by name, puts its segments in place, runs its start function.
    ///
    /// # Errors
    /// [`Error::Import`] for an import that is not provided; otherwise as [`Instance::new`].
    ///
    /// # Panics
    /// As [`Instance::new`].
    pub fn instantiate(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        let mut store = store.as_context_mut();
        if !store.engine().same(&self.engine) {
            return Err(Error::msg(
                "the linker is for another engine than the store",
            ));
        }
        let mut imports = Vec::with_capacity(module.description().imports.len());
        for import in &module.description().imports {
            let item = self.get(&mut store, &import.module, &import.name);
            imports.push(item.ok_or_else(|| missing(&import.module, &import.name))?);
        }
        Instance::new(store, module, &imports)
    }

    /// The same as [`Linker::instantiate`], under the name that it has in wasmi.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn instantiate_and_start(
        &self,
        store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        self.instantiate(store, module)
    }
}

fn missing(module: &str, name: &str) -> Error {
    Error::Import {
        module: module.to_owned(),
        name: name.to_owned(),
        what: "unknown import: nobody provides it".to_owned(),
    }
}

impl<T: 'static> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            definitions: self.definitions.clone(),
            shadowing: self.shadowing,
            data: std::marker::PhantomData,
        }
    }
}

impl<T: 'static> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<String> = self
            .definitions
            .iter()
            .flat_map(|(module, names)| names.keys().map(move |name| format!("{module}.{name}")))
            .collect();
        names.sort();
        f.debug_tuple("Linker").field(&names).finish()
    }
}
