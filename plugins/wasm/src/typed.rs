//! Functions whose types are Rust's: checked once, called with plain values.
#![allow(unsafe_code)] // Arguments and results travel in slots.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::call;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::func::{Caller, Func};
use crate::opaque::{Opaque, Root};
use crate::record::HostFunction;
use crate::store::{AsContextMut, StoreContextMut};
use crate::types::{FuncType, ValType, list};
use crate::value::{ExternRef, Ref};

/// Slots for parameters or results of a typed function: more than any tuple has.
const SLOTS: usize = 16;

mod sealed {
    use super::{Opaque, ValType};

    /// How a type of Rust travels in a slot.
    pub trait Slot: Sized {
        const TYPE: ValType;
        fn into_word(self, store: &Opaque) -> u64;
        fn from_word(word: u64, store: &Opaque) -> Self;
    }

    /// How values travel in slots, one after another.
    pub trait Slots: Sized {
        fn types() -> Vec<ValType>;
        fn write(self, words: &mut [u64; super::SLOTS], store: &Opaque);
        fn read(words: &[u64; super::SLOTS], store: &Opaque) -> Self;
    }
}

use sealed::{Slot, Slots};

/// A Rust type that is a type of WebAssembly: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, `Option<Func>` and
/// `Option<ExternRef>`.
pub trait WasmTy: Slot + Send + 'static {}

/// Parameters of a function: a value, or a tuple of up to sixteen.
pub trait WasmParams: Slots + Send + 'static {}

/// Results of a function: a value, or a tuple of up to sixteen.
pub trait WasmResults: Slots + Send + 'static {}

/// What a host function gives: [`WasmResults`], or a [`Result`] of them.
pub trait WasmRet: 'static {
    /// What it gives if it does not fail.
    type Results: WasmResults;

    /// It as a result.
    ///
    /// # Errors
    /// What the host function failed with.
    fn into_result(self) -> Result<Self::Results>;
}

macro_rules! numbers {
    ($($ty:ty, $val:ident, $into:expr, $from:expr;)*) => {
        $(
            impl Slot for $ty {
                const TYPE: ValType = ValType::$val;
                fn into_word(self, _: &Opaque) -> u64 {
                    $into(self)
                }
                fn from_word(word: u64, _: &Opaque) -> Self {
                    $from(word)
                }
            }
            impl WasmTy for $ty {}
        )*
    };
}

numbers! {
    i32, I32, |value: i32| u64::from(value as u32), |word: u64| word as i32;
    u32, I32, u64::from, |word: u64| word as u32;
    i64, I64, |value: i64| value as u64, |word: u64| word as i64;
    u64, I64, |value: u64| value, |word: u64| word;
    f32, F32, |value: f32| u64::from(value.to_bits()), |word: u64| f32::from_bits(word as u32);
    f64, F64, |value: f64| value.to_bits(), f64::from_bits;
}

impl Slot for Option<Func> {
    const TYPE: ValType = ValType::FUNCREF;
    fn into_word(self, store: &Opaque) -> u64 {
        Ref::Func(self).to_word(store)
    }
    fn from_word(word: u64, store: &Opaque) -> Self {
        store.function_of(word)
    }
}
impl WasmTy for Option<Func> {}

impl Slot for Option<ExternRef> {
    const TYPE: ValType = ValType::EXTERNREF;
    fn into_word(self, store: &Opaque) -> u64 {
        Ref::Extern(self).to_word(store)
    }
    fn from_word(word: u64, store: &Opaque) -> Self {
        match Ref::from_word(crate::RefType::Extern, word, store) {
            Ref::Extern(object) => object,
            Ref::Func(_) => None,
        }
    }
}
impl WasmTy for Option<ExternRef> {}

impl<A: WasmTy> Slots for A {
    fn types() -> Vec<ValType> {
        vec![A::TYPE]
    }
    fn write(self, words: &mut [u64; SLOTS], store: &Opaque) {
        words[0] = self.into_word(store);
    }
    fn read(words: &[u64; SLOTS], store: &Opaque) -> Self {
        A::from_word(words[0], store)
    }
}
impl<A: WasmTy> WasmParams for A {}
impl<A: WasmTy> WasmResults for A {}

impl<R: WasmResults> WasmRet for R {
    type Results = R;
    fn into_result(self) -> Result<R> {
        Ok(self)
    }
}

impl<R: WasmResults> WasmRet for Result<R, Error> {
    type Results = R;
    fn into_result(self) -> Result<R> {
        self
    }
}

/// A closure that can become a host function: see [`Func::wrap`](crate::Func::wrap).
pub trait IntoFunc<T, Params, Results>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_host(self, engine: &Engine) -> HostFunction;
}

/// A host function of these types.
fn host<T: 'static, P: WasmParams, R: WasmRet>(
    engine: &Engine,
    body: impl Fn(Caller<'_, T>, P) -> R + Send + Sync + 'static,
) -> HostFunction {
    let ty = engine.intern(&FuncType::of(P::types(), <R::Results as Slots>::types()));
    let (takes, gives) = (ty.ty.params().len(), ty.ty.results().len());
    let run = move |root: Root, caller: Option<u32>, arguments: *const u64, results: *mut u64| {
        // SAFETY: host functions get into a store only by way of its own type of data.
        let mut store = unsafe { StoreContextMut::<T>::from_root(root) };
        let mut words = [0; SLOTS];
        // SAFETY: the caller has put the arguments there, which are no more than `SLOTS`.
        unsafe { std::ptr::copy_nonoverlapping(arguments, words.as_mut_ptr(), takes) };
        let parameters = P::read(&words, store.opaque());
        let given = body(Caller::new(store.as_context_mut(), caller), parameters).into_result()?;
        given.write(&mut words, store.opaque());
        // SAFETY: the caller has a slot for each result.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), results, gives) };
        Ok(())
    };
    HostFunction {
        ty,
        body: Box::new(run),
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt)*))*) => {
        $(
            impl<$($name: WasmTy),*> Slots for ($($name,)*) {
                fn types() -> Vec<ValType> {
                    vec![$($name::TYPE),*]
                }
                #[allow(unused_variables, reason = "the empty tuple uses none")]
                fn write(self, words: &mut [u64; SLOTS], store: &Opaque) {
                    $(words[$index] = self.$index.into_word(store);)*
                }
                #[allow(unused_variables, clippy::unused_unit, reason = "the empty tuple uses none")]
                fn read(words: &[u64; SLOTS], store: &Opaque) -> Self {
                    ($($name::from_word(words[$index], store),)*)
                }
            }
            impl<$($name: WasmTy),*> WasmParams for ($($name,)*) {}
            impl<$($name: WasmTy),*> WasmResults for ($($name,)*) {}

            impl<T: 'static, F, $($name: WasmTy,)* R> IntoFunc<T, ($($name,)*), R> for F
            where
                F: Fn($($name),*) -> R + Send + Sync + 'static,
                R: WasmRet,
            {
                #[allow(non_snake_case, reason = "named as their types")]
                fn into_host(self, engine: &Engine) -> HostFunction {
                    host::<T, ($($name,)*), R>(engine, move |_, ($($name,)*)| self($($name),*))
                }
            }

            impl<T: 'static, F, $($name: WasmTy,)* R> IntoFunc<T, (Caller<'_, T>, $($name,)*), R> for F
            where
                F: Fn(Caller<'_, T>, $($name),*) -> R + Send + Sync + 'static,
                R: WasmRet,
            {
                #[allow(non_snake_case, reason = "named as their types")]
                fn into_host(self, engine: &Engine) -> HostFunction {
                    host::<T, ($($name,)*), R>(engine, move |caller, ($($name,)*)| self(caller, $($name),*))
                }
            }
        )*
    };
}

tuples! {
    ()
    (A 0)
    (A 0 B 1)
    (A 0 B 1 C 2)
    (A 0 B 1 C 2 D 3)
    (A 0 B 1 C 2 D 3 E 4)
    (A 0 B 1 C 2 D 3 E 4 G 5)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7 J 8)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7 J 8 K 9)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7 J 8 K 9 L 10)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7 J 8 K 9 L 10 M 11)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7 J 8 K 9 L 10 M 11 N 12)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7 J 8 K 9 L 10 M 11 N 12 O 13)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7 J 8 K 9 L 10 M 11 N 12 O 13 P 14)
    (A 0 B 1 C 2 D 3 E 4 G 5 H 6 I 7 J 8 K 9 L 10 M 11 N 12 O 13 P 14 Q 15)
}

/// A function whose type was checked once.
pub struct TypedFunc<P, R> {
    func: Func,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for TypedFunc<P, R> {}

impl<P, R> fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedFunc").field(&self.func).finish()
    }
}

impl<P: WasmParams, R: WasmResults> TypedFunc<P, R> {
    pub(crate) fn new(func: &Func, store: &Opaque) -> Result<Self> {
        let ty = &store.record(func.0).ty.ty;
        let (params, results) = (P::types(), R::types());
        if !ty.params().eq(params.iter().copied()) || !ty.results().eq(results.iter().copied()) {
            return Err(Error::Arguments {
                name: "typed".to_owned(),
                what: format!(
                    "the function is {ty}, not {} -> {}",
                    list(params.into_iter()),
                    list(results.into_iter())
                ),
            });
        }
        Ok(Self {
            func: *func,
            types: PhantomData,
        })
    }

    /// The function.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// Calls it.
    ///
    /// # Errors
    /// As [`Func::call`], but for types.
    ///
    /// # Panics
    /// As [`Func::call`].
    pub fn call(&self, mut store: impl AsContextMut, params: P) -> Result<R> {
        let mut store = store.as_context_mut();
        let record = NonNull::from(store.opaque().record(self.func.0));
        let mut words = [0; SLOTS];
        params.write(&mut words, store.opaque());
        let slots = words.as_mut_ptr();
        // SAFETY: the store is borrowed for this call alone, the record is its own, and types were checked in `new`.
        unsafe { call::call(store.root(), record, None, slots, slots) }?;
        Ok(R::read(&words, store.opaque()))
    }
}

/// A closure becomes a host function that may be provided under many names.
pub(crate) fn shared<T, Params, Results>(
    body: impl IntoFunc<T, Params, Results>,
    engine: &Engine,
) -> Arc<HostFunction> {
    Arc::new(body.into_host(engine))
}
