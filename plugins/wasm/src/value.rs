//! Values and types as an embedder sees them.

use std::fmt;

use copatch::ValueType;

/// A WebAssembly value. Floats are kept as their bits, so that NaNs survive and values can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of an IEEE 754 binary32.
    F32(u32),
    /// The bits of an IEEE 754 binary64.
    F64(u64),
}

impl Value {
    /// The value's type.
    pub const fn ty(self) -> ValueType {
        match self {
            Value::I32(_) => ValueType::I32,
            Value::I64(_) => ValueType::I64,
            Value::F32(_) => ValueType::F32,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// The value as an 8-byte slot holds it: 32-bit values in the low half, zero above.
    pub const fn to_slot(self) -> u64 {
        match self {
            Value::I32(value) => value as u32 as u64,
            Value::I64(value) => value as u64,
            Value::F32(bits) => bits as u64,
            Value::F64(bits) => bits,
        }
    }

    /// The value of type `ty` that a slot holds; `None` for a type that has no value here (v128).
    pub const fn from_slot(ty: ValueType, slot: u64) -> Option<Self> {
        match ty {
            ValueType::I32 => Some(Value::I32(slot as i32)),
            ValueType::I64 => Some(Value::I64(slot as i64)),
            ValueType::F32 => Some(Value::F32(slot as u32)),
            ValueType::F64 => Some(Value::F64(slot)),
            ValueType::V128 => None,
        }
    }

    /// Reads a value of type `ty` as a person writes it: integers in decimal or `0x` form, signed or unsigned; floats
    /// as Rust reads them. `None` if it is none.
    pub fn parse(ty: ValueType, text: &str) -> Option<Self> {
        match ty {
            ValueType::I32 => {
                let wide = integer(text)?;
                let fits = (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&wide);
                fits.then_some(Value::I32(wide as i32))
            }
            ValueType::I64 => {
                let wide = integer(text)?;
                let fits = (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&wide);
                fits.then_some(Value::I64(wide as i64))
            }
            ValueType::F32 => text.parse().ok().map(|value: f32| value.into()),
            ValueType::F64 => text.parse().ok().map(|value: f64| value.into()),
            ValueType::V128 => None,
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

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Value::I32(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::F32(bits) => f32::from_bits(bits).fmt(f),
            Value::F64(bits) => f64::from_bits(bits).fmt(f),
        }
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::I32(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::I64(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Value::F32(value.to_bits())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::F64(value.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_people_write_them() {
        assert_eq!(Value::parse(ValueType::I32, "-1"), Some(Value::I32(-1)));
        assert_eq!(
            Value::parse(ValueType::I32, "4294967295"),
            Some(Value::I32(-1))
        );
        assert_eq!(Value::parse(ValueType::I32, "4294967296"), None);
        assert_eq!(Value::parse(ValueType::I32, "-0x10"), Some(Value::I32(-16)));
        assert_eq!(
            Value::parse(ValueType::I64, "-9223372036854775808"),
            Some(Value::I64(i64::MIN))
        );
        assert_eq!(Value::parse(ValueType::F64, "2.5"), Some(2.5.into()));
        assert_eq!(Value::parse(ValueType::I32, "two"), None);
        assert_eq!(Value::parse(ValueType::I32, "--2"), None);
    }

    #[test]
    fn slots_keep_bits() {
        for value in [
            Value::I32(-1),
            Value::I64(-1),
            Value::F32(0x7fa0_0001),
            Value::F64(1 << 63),
        ] {
            assert_eq!(Value::from_slot(value.ty(), value.to_slot()), Some(value));
        }
        assert_eq!(Value::I32(-1).to_slot(), 0xffff_ffff);
    }
}
