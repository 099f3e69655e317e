//! Values as an embedder sees them, and as slots hold them.

use std::any::Any;
use std::fmt;

use crate::func::Func;
use crate::opaque::{Handle, Opaque};
use crate::store::{AsContextMut, StoreContext};
use crate::types::{RefType, ValType};

/// 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct V128(u128);

impl V128 {
    /// The bits; the first byte is the lowest.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The bits in two words, the low one first.
    pub(crate) const fn words(self) -> [u64; 2] {
        [self.0 as u64, (self.0 >> 64) as u64]
    }
}

impl From<u128> for V128 {
    fn from(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for V128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#034x}", self.0)
    }
}

/// A reference to something of the host's, which a store owns. It lives as long as its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExternRef(pub(crate) Handle);

impl ExternRef {
    /// Gives `object` to the store.
    pub fn new(mut store: impl AsContextMut, object: impl Any + Send + Sync) -> Self {
        let mut store = store.as_context_mut();
        let opaque = store.opaque_mut();
        opaque.objects.push(Box::new(object));
        Self(opaque.handle(opaque.objects.len() - 1))
    }

    /// What it refers to.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> &'a (dyn Any + Send + Sync) {
        let opaque = store.into().into_opaque();
        &*opaque.objects[opaque.index(self.0)]
    }
}

/// A reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ref {
    /// To a function, or null.
    Func(Option<Func>),
    /// To something of the host's, or null.
    Extern(Option<ExternRef>),
}

impl Ref {
    /// The null reference of a type.
    pub const fn null(ty: RefType) -> Self {
        match ty {
            RefType::Func => Ref::Func(None),
            RefType::Extern => Ref::Extern(None),
        }
    }

    /// Whether it is null.
    pub const fn is_null(&self) -> bool {
        matches!(self, Ref::Func(None) | Ref::Extern(None))
    }

    /// The function it refers to; `None` if it is no reference to a function, else `Some(None)` for null.
    pub const fn as_func(&self) -> Option<Option<Func>> {
        match self {
            Ref::Func(func) => Some(*func),
            Ref::Extern(_) => None,
        }
    }

    /// What type of reference it is.
    pub const fn ty(&self) -> RefType {
        match self {
            Ref::Func(_) => RefType::Func,
            Ref::Extern(_) => RefType::Extern,
        }
    }

    /// As compiled code holds it: 0 for null.
    pub(crate) fn to_word(self, store: &Opaque) -> u64 {
        match self {
            Ref::Func(func) => func.map_or(0, |func| store.record(func.0).word()),
            Ref::Extern(object) => object.map_or(0, |object| store.index(object.0) as u64 + 1),
        }
    }

    pub(crate) fn from_word(ty: RefType, word: u64, store: &Opaque) -> Self {
        match ty {
            RefType::Func => Ref::Func(store.function_of(word)),
            RefType::Extern => {
                let object = (word as usize).checked_sub(1);
                Ref::Extern(object.map(|index| ExternRef(store.handle(index))))
            }
        }
    }
}

impl From<Func> for Ref {
    fn from(func: Func) -> Self {
        Ref::Func(Some(func))
    }
}

impl From<ExternRef> for Ref {
    fn from(object: ExternRef) -> Self {
        Ref::Extern(Some(object))
    }
}

/// A WebAssembly value. Floats are kept as their bits, so that NaNs survive and values can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of an IEEE 754 binary32.
    F32(u32),
    /// The bits of an IEEE 754 binary64.
    F64(u64),
    /// 128 bits.
    V128(V128),
    /// A function, or null.
    FuncRef(Option<Func>),
    /// Something of the host's, or null.
    ExternRef(Option<ExternRef>),
}

/// Words of 64 bits that values of these types take, one after another.
pub(crate) fn words(types: impl Iterator<Item = ValType>) -> usize {
    types.map(width).sum()
}

/// Words of 64 bits that a value takes.
pub(crate) const fn width(ty: ValType) -> usize {
    match ty {
        ValType::V128 => 2,
        _ => 1,
    }
}

impl Val {
    /// Zero or null.
    pub const fn default_for_ty(ty: ValType) -> Self {
        match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(V128(0)),
            ValType::Ref(RefType::Func) => Val::FuncRef(None),
            ValType::Ref(RefType::Extern) => Val::ExternRef(None),
        }
    }

    /// The value's type.
    pub const fn ty(&self) -> ValType {
        match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(_) => ValType::FUNCREF,
            Val::ExternRef(_) => ValType::EXTERNREF,
        }
    }

    /// The i32, if it is one.
    pub const fn i32(&self) -> Option<i32> {
        match self {
            Val::I32(value) => Some(*value),
            _ => None,
        }
    }

    /// The i64, if it is one.
    pub const fn i64(&self) -> Option<i64> {
        match self {
            Val::I64(value) => Some(*value),
            _ => None,
        }
    }

    /// The f32, if it is one.
    pub const fn f32(&self) -> Option<f32> {
        match self {
            Val::F32(bits) => Some(f32::from_bits(*bits)),
            _ => None,
        }
    }

    /// The f64, if it is one.
    pub const fn f64(&self) -> Option<f64> {
        match self {
            Val::F64(bits) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }

    /// The i32.
    ///
    /// # Panics
    /// If it is none.
    pub const fn unwrap_i32(&self) -> i32 {
        self.i32().expect("an i32")
    }

    /// The i64.
    ///
    /// # Panics
    /// If it is none.
    pub const fn unwrap_i64(&self) -> i64 {
        self.i64().expect("an i64")
    }

    /// The f32.
    ///
    /// # Panics
    /// If it is none.
    pub const fn unwrap_f32(&self) -> f32 {
        self.f32().expect("an f32")
    }

    /// The f64.
    ///
    /// # Panics
    /// If it is none.
    pub const fn unwrap_f64(&self) -> f64 {
        self.f64().expect("an f64")
    }

    /// The reference, if it is one.
    pub const fn ref_(self) -> Option<Ref> {
        match self {
            Val::FuncRef(func) => Some(Ref::Func(func)),
            Val::ExternRef(object) => Some(Ref::Extern(object)),
            _ => None,
        }
    }

    /// The value as slots hold it: 32-bit values in the low half, zero above; the second word is 128-bit values' only.
    ///
    /// # Panics
    /// If it is a reference of another store.
    pub(crate) fn to_words(self, store: &Opaque) -> [u64; 2] {
        match self {
            Val::I32(value) => [u64::from(value as u32), 0],
            Val::I64(value) => [value as u64, 0],
            Val::F32(bits) => [u64::from(bits), 0],
            Val::F64(bits) => [bits, 0],
            Val::V128(bits) => bits.words(),
            Val::FuncRef(func) => [Ref::Func(func).to_word(store), 0],
            Val::ExternRef(object) => [Ref::Extern(object).to_word(store), 0],
        }
    }

    /// The value of type `ty` that these words hold.
    pub(crate) fn from_words(ty: ValType, [low, high]: [u64; 2], store: &Opaque) -> Self {
        match ty {
            ValType::I32 => Val::I32(low as i32),
            ValType::I64 => Val::I64(low as i64),
            ValType::F32 => Val::F32(low as u32),
            ValType::F64 => Val::F64(low),
            ValType::V128 => Val::V128(V128(u128::from(low) | u128::from(high) << 64)),
            ValType::Ref(ty) => Ref::from_word(ty, low, store).into(),
        }
    }

    /// Reads a value of type `ty` as a person writes it: integers in decimal or `0x` form, signed or unsigned; floats
    /// as Rust reads them; `null` for references. `None` if it is none.
    pub fn parse(ty: ValType, text: &str) -> Option<Self> {
        match ty {
            ValType::I32 => {
                let wide = integer(text)?;
                let fits = (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&wide);
                fits.then_some(Val::I32(wide as i32))
            }
            ValType::I64 => {
                let wide = integer(text)?;
                let fits = (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&wide);
                fits.then_some(Val::I64(wide as i64))
            }
            ValType::F32 => text.parse().ok().map(|value: f32| value.into()),
            ValType::F64 => text.parse().ok().map(|value: f64| value.into()),
            ValType::V128 => {
                let digits = text.strip_prefix("0x")?;
                let bits = u128::from_str_radix(digits, 16).ok()?;
                Some(Val::V128(V128(bits)))
            }
            ValType::Ref(ty) => (text == "null").then(|| Ref::null(ty).into()),
        }
    }
}

impl From<Ref> for Val {
    fn from(reference: Ref) -> Self {
        match reference {
            Ref::Func(func) => Val::FuncRef(func),
            Ref::Extern(object) => Val::ExternRef(object),
        }
    }
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse::<u64>(),
    };
    let magnitude = i128::from(magnitude.ok()?);
    Some(if negative { -magnitude } else { magnitude })
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Val::I32(value) => value.fmt(f),
            Val::I64(value) => value.fmt(f),
            Val::F32(bits) => f32::from_bits(bits).fmt(f),
            Val::F64(bits) => f64::from_bits(bits).fmt(f),
            Val::V128(value) => write!(f, "{value:?}"),
            Val::FuncRef(None) | Val::ExternRef(None) => f.write_str("null"),
            Val::FuncRef(_) => f.write_str("funcref"),
            Val::ExternRef(_) => f.write_str("externref"),
        }
    }
}

impl From<i32> for Val {
    fn from(value: i32) -> Self {
        Val::I32(value)
    }
}

impl From<i64> for Val {
    fn from(value: i64) -> Self {
        Val::I64(value)
    }
}

impl From<f32> for Val {
    fn from(value: f32) -> Self {
        Val::F32(value.to_bits())
    }
}

impl From<f64> for Val {
    fn from(value: f64) -> Self {
        Val::F64(value.to_bits())
    }
}

impl From<V128> for Val {
    fn from(value: V128) -> Self {
        Val::V128(value)
    }
}

impl From<Func> for Val {
    fn from(func: Func) -> Self {
        Val::FuncRef(Some(func))
    }
}

impl From<Option<Func>> for Val {
    fn from(func: Option<Func>) -> Self {
        Val::FuncRef(func)
    }
}

impl From<ExternRef> for Val {
    fn from(object: ExternRef) -> Self {
        Val::ExternRef(Some(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_people_write_them() {
        assert_eq!(Val::parse(ValType::I32, "-1"), Some(Val::I32(-1)));
        assert_eq!(Val::parse(ValType::I32, "4294967295"), Some(Val::I32(-1)));
        assert_eq!(Val::parse(ValType::I32, "4294967296"), None);
        assert_eq!(Val::parse(ValType::I32, "-0x10"), Some(Val::I32(-16)));
        assert_eq!(
            Val::parse(ValType::I64, "-9223372036854775808"),
            Some(Val::I64(i64::MIN))
        );
        assert_eq!(Val::parse(ValType::F64, "2.5"), Some(2.5.into()));
        assert_eq!(Val::parse(ValType::I32, "two"), None);
        assert_eq!(Val::parse(ValType::I32, "--2"), None);
    }
}
