//! Types, signatures and constants that programs are made of.

use copatch::{Signature, ValueType};
use copatch_spec::pack::Metadata;

use crate::choices::Choices;

/// The types that operations of the table compute, in the order of their discriminants.
pub(crate) fn types(metadata: &Metadata) -> Vec<ValueType> {
    let own = metadata.ops.iter().filter(|op| !op.is_core());
    let mentioned: Vec<ValueType> = own
        .flat_map(|op| op.operands.iter().chain(&op.result).copied())
        .collect();
    let all = ValueType::ALL.into_iter();
    all.filter(|ty| mentioned.contains(ty)).collect()
}

pub(super) fn pick_types(
    types: &[ValueType],
    count: usize,
    choices: &mut Choices,
) -> Vec<ValueType> {
    (0..count)
        .filter_map(|_| choices.pick(types).copied())
        .collect()
}

/// Now and then there are more parameters or results than registers that carry them.
pub(super) fn pick_signature(types: &[ValueType], choices: &mut Choices) -> Signature {
    let params = if choices.one_in(6) {
        9 + choices.below(16)
    } else {
        choices.below(4)
    };
    let results = if choices.one_in(8) {
        9
    } else {
        choices.below(4)
    };
    Signature {
        params: pick_types(types, params, choices),
        results: pick_types(types, results, choices),
    }
}

/// Bits of a constant: borders of the ranges that encodings of immediates have, and anything.
pub(super) fn constant(ty: ValueType, choices: &mut Choices) -> u64 {
    // Where encodings of immediates end, on machines that there are.
    const BORDERS: [u32; 10] = [7, 8, 11, 12, 15, 16, 20, 31, 32, 63];
    let bits = match choices.below(8) {
        0 => choices.below(3) as u64,
        1 => (choices.below(17) as i64 - 8) as u64,
        2 => 1 << choices.below(64),
        3 => (1u64 << choices.below(64)).wrapping_sub(choices.below(3) as u64),
        4 => (1u64 << choices.below(64))
            .wrapping_sub(choices.below(2) as u64)
            .wrapping_neg(),
        5 | 6 => {
            let bit = choices.pick(&BORDERS).copied().unwrap_or(7);
            let border = (1u64 << bit).wrapping_sub(choices.below(2) as u64);
            if choices.one_in(2) {
                border.wrapping_neg()
            } else {
                border
            }
        }
        _ => choices.bits(),
    };
    match ty {
        ValueType::I32 => bits & 0xffff_ffff,
        ValueType::I64 | ValueType::V128 => bits,
        ValueType::F32 => {
            let value = match choices.below(4) {
                0 => bits as i64 as f32,
                1 => f32::INFINITY,
                2 => -0.0,
                _ => f32::from_bits(bits as u32),
            };
            canonical(ty, value.to_bits().into())
        }
        ValueType::F64 => {
            let value = match choices.below(4) {
                0 => bits as i64 as f64,
                1 => f64::NEG_INFINITY,
                2 => -0.0,
                _ => f64::from_bits(bits),
            };
            canonical(ty, value.to_bits())
        }
    }
}

/// The same value with any NaN replaced by the canonical one, and without bits that the type does not have.
pub fn canonical(ty: ValueType, bits: u64) -> u64 {
    match ty {
        ValueType::I32 => bits & 0xffff_ffff,
        ValueType::F32 if f32::from_bits(bits as u32).is_nan() => 0x7fc0_0000,
        ValueType::F32 => bits & 0xffff_ffff,
        ValueType::F64 if f64::from_bits(bits).is_nan() => 0x7ff8_0000_0000_0000,
        _ => bits,
    }
}

/// Bits of an argument: those of a constant, or of a vector's halves, each by itself.
pub(super) fn argument(ty: ValueType, choices: &mut Choices) -> u128 {
    let low = u128::from(constant(ty, choices));
    match ty {
        ValueType::V128 => u128::from(constant(ty, choices)) << 64 | low,
        _ => low,
    }
}
