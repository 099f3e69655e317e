//! Imports: host functions and values by name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use copatch::Signature;

use crate::error::{Error, HostError};
use crate::instance::{Caller, Instance};
use crate::module::{GlobalSource, Module};
use crate::value::Value;

/// The body of a host function: caller, arguments, results to be filled in (zero before).
type Body<T> = dyn Fn(Caller<'_, T>, &[Value], &mut [Value]) -> Result<(), HostError> + Send + Sync;

/// A host function with its type.
pub(crate) struct HostFunction<T: 'static> {
    pub signature: Signature,
    pub body: Box<Body<T>>,
}

/// What modules may import, by module and name. Instances' embedder's data is a `T`.
///
/// ```
/// use copatch_wasm::{Engine, Linker, Module, Signature, Value, ValueType};
///
/// // (module (import "host" "twice" (func (param i32) (result i32)))
/// //         (func (export "run") (param i32) (result i32) local.get 0 call 0))
/// let bytes = b"\0asm\x01\0\0\0\x01\x06\x01\x60\x01\x7f\x01\x7f\x02\x0e\x01\x04host\x05twice\0\0\
///     \x03\x02\x01\0\x07\x07\x01\x03run\0\x01\x0a\x08\x01\x06\0\x20\0\x10\0\x0b";
/// let engine = Engine::new()?;
/// let module = Module::new(&engine, bytes)?;
/// let mut linker = Linker::new();
/// let signature = Signature { params: vec![ValueType::I32], results: vec![ValueType::I32] };
/// linker.func("host", "twice", signature, |mut caller, arguments, results| {
///     *caller.data_mut() += 1;
///     if let [Value::I32(value)] = arguments {
///         results[0] = Value::I32(value * 2);
///     }
///     Ok(())
/// });
/// let mut instance = linker.instantiate(&module, 0u32)?;
/// assert_eq!(instance.invoke("run", &[Value::I32(21)])?, [Value::I32(42)]);
/// assert_eq!(*instance.data(), 1);
/// # Ok::<(), copatch_wasm::Error>(())
/// ```
pub struct Linker<T: 'static = ()> {
    functions: HashMap<(String, String), Arc<HostFunction<T>>>,
    globals: HashMap<(String, String), Value>,
}

impl<T: 'static> Linker<T> {
    /// A linker that provides nothing.
    pub fn new() -> Self {
        Self {
            functions: HashMap::new(),
            globals: HashMap::new(),
        }
    }

    /// Provides a function; one of the same name is replaced.
    ///
    /// `body` gets the caller, the arguments, and the results to fill in, which are zero before. An error that it
    /// returns ends the program: [`Error`] as it is, any other as [`Error::Host`].
    pub fn func(
        &mut self,
        module: &str,
        name: &str,
        signature: Signature,
        body: impl Fn(Caller<'_, T>, &[Value], &mut [Value]) -> Result<(), HostError>
        + Send
        + Sync
        + 'static,
    ) -> &mut Self {
        let function = HostFunction {
            signature,
            body: Box::new(body),
        };
        self.functions
            .insert((module.to_owned(), name.to_owned()), Arc::new(function));
        self
    }

    /// Provides the value of an immutable global; one of the same name is replaced.
    pub fn global(&mut self, module: &str, name: &str, value: Value) -> &mut Self {
        self.globals
            .insert((module.to_owned(), name.to_owned()), value);
        self
    }

    /// Makes an instance: links its imports, puts its segments in place, runs its start function.
    ///
    /// # Errors
    /// [`Error::Import`] for an import that is not provided with that type; otherwise as [`Instance::invoke`], and
    /// [`Error::Memory`] or [`Error::Engine`] where memory cannot be had.
    ///
    /// # Panics
    /// Resumes the panic of a host function that the start function calls.
    pub fn instantiate(&self, module: &Module, data: T) -> Result<Instance<T>, Error> {
        let mut hosts = Vec::new();
        for (from, name, signature) in module.imports() {
            hosts.push(self.function(from, name, signature)?);
        }
        let mut globals = Vec::new();
        for global in &module.description().globals {
            if let GlobalSource::Import { module, name } = &global.source {
                let fault = |what: String| Error::Import {
                    module: module.clone(),
                    name: name.clone(),
                    what,
                };
                let value = self.globals.get(&(module.clone(), name.clone()));
                let value = *value.ok_or_else(|| fault("no such global is provided".to_owned()))?;
                if value.ty() != global.ty {
                    return Err(fault(format!(
                        "a global of type {}, not {}",
                        global.ty.name(),
                        value.ty().name()
                    )));
                }
                globals.push(value);
            }
        }
        Instance::new(module, hosts, &globals, data)
    }

    fn function(
        &self,
        module: &str,
        name: &str,
        signature: &Signature,
    ) -> Result<Arc<HostFunction<T>>, Error> {
        let fault = |what: String| Error::Import {
            module: module.to_owned(),
            name: name.to_owned(),
            what,
        };
        let found = self.functions.get(&(module.to_owned(), name.to_owned()));
        let found = found.ok_or_else(|| fault("no such function is provided".to_owned()))?;
        if found.signature != *signature {
            return Err(fault(format!(
                "imported as {}, provided as {}",
                Type(signature),
                Type(&found.signature)
            )));
        }
        Ok(Arc::clone(found))
    }
}

impl<T: 'static> Default for Linker<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.functions.keys().chain(self.globals.keys()).collect();
        names.sort();
        f.debug_tuple("Linker").field(&names).finish()
    }
}

/// A function type as text.
struct Type<'a>(&'a Signature);

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, types) in [&self.0.params, &self.0.results].into_iter().enumerate() {
            f.write_str(if index == 0 { "(" } else { " -> (" })?;
            for (at, ty) in types.iter().enumerate() {
                write!(f, "{}{}", if at == 0 { "" } else { ", " }, ty.name())?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}
