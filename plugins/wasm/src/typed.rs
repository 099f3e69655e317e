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
use crate::value::{ExternRef, Ref, V128, width, words};

/// Words for parameters or results of a typed function: those of a tuple of vectors, which is as large as any.
const WORDS: usize = 32;

mod sealed {
    use super::{Opaque, ValType};

    /// How a type of Rust travels: in one word of 64 bits, or in two.
    pub trait Slot: Sized {
        const TYPE: ValType;
        fn into_words(self, store: &Opaque) -> [u64; 2];
        fn from_words(words: [u64; 2], store: &Opaque) -> Self;
    }

    /// How values travel, one after another.
    pub trait Slots: Sized {
        fn types() -> Vec<ValType>;
        fn write(self, words: &mut [u64; super::WORDS], store: &Opaque);
        fn read(words: &[u64; super::WORDS], store: &Opaque) -> Self;
    }
}

use sealed::{Slot, Slots};

/// A Rust type that is a type of WebAssembly: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, [`V128`],
/// `Option<Func>` and `Option<ExternRef>`.
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
                #[inline]
                fn into_words(self, _: &Opaque) -> [u64; 2] {
                    [$into(self), 0]
                }
                #[inline]
                fn from_words([word, _]: [u64; 2], _: &Opaque) -> Self {
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

impl Slot for V128 {
    const TYPE: ValType = ValType::V128;
    #[inline]
    fn into_words(self, _: &Opaque) -> [u64; 2] {
        self.words()
    }
    #[inline]
    fn from_words([low, high]: [u64; 2], _: &Opaque) -> Self {
        (u128::from(low) | u128::from(high) << 64).into()
    }
}
impl WasmTy for V128 {}

impl Slot for Option<Func> {
    const TYPE: ValType = ValType::FUNCREF;
    fn into_words(self, store: &Opaque) -> [u64; 2] {
        [Ref::Func(self).to_word(store), 0]
    }
    fn from_words([word, _]: [u64; 2], store: &Opaque) -> Self {
        store.function_of(word)
    }
}
impl WasmTy for Option<Func> {}

impl Slot for Option<ExternRef> {
    const TYPE: ValType = ValType::EXTERNREF;
    fn into_words(self, store: &Opaque) -> [u64; 2] {
        [Ref::Extern(self).to_word(store), 0]
    }
    fn from_words([word, _]: [u64; 2], store: &Opaque) -> Self {
        match Ref::from_word(crate::RefType::Extern, word, store) {
            Ref::Extern(object) => object,
            Ref::Func(_) => None,
        }
    }
}
impl WasmTy for Option<ExternRef> {}

/// Writes a value at `at`, which then is behind it.
#[inline]
fn put<A: Slot>(value: A, words: &mut [u64; WORDS], at: &mut usize, store: &Opaque) {
    let both = value.into_words(store);
    for word in &both[..width(A::TYPE)] {
        words[*at] = *word;
        *at += 1;
    }
}

/// Reads the value at `at`, which then is behind it.
#[inline]
fn take<A: Slot>(words: &[u64; WORDS], at: &mut usize, store: &Opaque) -> A {
    let mut both = [0; 2];
    for word in &mut both[..width(A::TYPE)] {
        *word = words[*at];
        *at += 1;
    }
    A::from_words(both, store)
}

impl<A: WasmTy> Slots for A {
    fn types() -> Vec<ValType> {
        vec![A::TYPE]
    }
    fn write(self, words: &mut [u64; WORDS], store: &Opaque) {
        put(self, words, &mut 0, store);
    }
    fn read(words: &[u64; WORDS], store: &Opaque) -> Self {
        take(words, &mut 0, store)
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
    let (takes, gives) = (words(ty.ty.params()), words(ty.ty.results()));
    let run = move |root: Root, caller: Option<u32>, arguments: *const u64, results: *mut u64| {
        // SAFETY: host functions get into a store only by way of its own type of data.
        let mut store = unsafe { StoreContextMut::<T>::from_root(root) };
        let mut words = [0; WORDS];
        // SAFETY: the caller has put the arguments there, which take no more than `WORDS` words: a tuple has sixteen.
        unsafe { std::ptr::copy_nonoverlapping(arguments, words.as_mut_ptr(), takes) };
        let parameters = P::read(&words, store.opaque());
        let given = body(Caller::new(store.as_context_mut(), caller), parameters).into_result()?;
        given.write(&mut words, store.opaque());
        // SAFETY: the caller has room for the results.
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
                #[allow(unused_variables, unused_mut, reason = "the empty tuple uses none")]
                fn write(self, words: &mut [u64; WORDS], store: &Opaque) {
                    let mut at = 0;
                    $(put(self.$index, words, &mut at, store);)*
                }
                #[allow(unused_variables, unused_mut, clippy::unused_unit, reason = "the empty tuple uses none")]
                fn read(words: &[u64; WORDS], store: &Opaque) -> Self {
                    let mut at = 0;
                    ($(take::<$name>(words, &mut at, store),)*)
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
        let mut words = [0; WORDS];
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
