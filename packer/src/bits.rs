//! Which bits of an instruction a relocation fills, as data: one constant a relocation, one module an architecture.
//! Architectures whose relocations fill whole bytes have none.

use copatch_spec::patch::Field;

use crate::stencil::Bits;

/// Bits `[start, end)` receive `(value + addend) >> shift`.
const fn field(start: u8, end: u8, shift: u8, addend: i64) -> Field {
    Field {
        start,
        end,
        shift,
        negate: false,
        addend,
    }
}

/// A signed distance in instructions of 4 bytes, in bits `[start, end)`.
const fn distance(fields: &'static [Field], bits: u8) -> Bits {
    Bits {
        fields,
        lo: -(1 << (bits + 1)),
        hi: (1 << (bits + 1)) - 4,
        align: 2,
    }
}

/// aarch64: a window is one instruction.
pub mod aarch64 {
    use super::{Bits, Field, distance, field};

    const IMM26: &[Field] = &[field(0, 26, 2, 0)];
    const IMM19: &[Field] = &[field(5, 24, 2, 0)];
    const ADR: &[Field] = &[field(29, 31, 0, 0), field(5, 24, 2, 0)];
    const G0: &[Field] = &[field(5, 21, 0, 0)];
    const G1: &[Field] = &[field(5, 21, 16, 0)];

    /// `b` and `bl`: 128 MiB either way.
    pub const BRANCH26: Bits = distance(IMM26, 26);
    /// `b.cond`, `cbz` and `cbnz`: 1 MiB either way.
    pub const BRANCH19: Bits = distance(IMM19, 19);
    /// `ldr` of a constant: 1 MiB either way.
    pub const LOAD19: Bits = BRANCH19;
    /// `adr`: 1 MiB either way.
    pub const ADR21: Bits = Bits {
        fields: ADR,
        lo: -(1 << 20),
        hi: (1 << 20) - 1,
        align: 0,
    };
    /// The `movz` or `movk` of bits 0 to 15; the others are the next one's.
    pub const MOVW_LOW: Bits = Bits {
        fields: G0,
        lo: i64::MIN,
        hi: i64::MAX,
        align: 0,
    };
    /// The `movk` of bits 16 to 31 of a distance of 2 GiB either way.
    pub const MOVW_NEAR_HIGH: Bits = Bits {
        fields: G1,
        lo: -(1 << 31),
        hi: (1 << 31) - 1,
        align: 0,
    };
    /// The `movk` of bits 16 to 31, the last one.
    pub const MOVW_HIGH: Bits = Bits {
        fields: G1,
        lo: 0,
        hi: 0xffff_ffff,
        align: 0,
    };
}

/// riscv64: a window is one instruction, or `auipc` and what adds the lower half together.
pub mod riscv64 {
    use super::{Bits, Field, field};

    /// The lower half is signed, so the upper one is rounded.
    const ROUND: i64 = 0x800;
    const UPPER: &[Field] = &[field(12, 32, 12, ROUND)];
    const LOWER: &[Field] = &[field(20, 32, 0, 0)];
    const PAIR: &[Field] = &[field(12, 32, 12, ROUND), field(52, 64, 0, 0)];
    const LO: i64 = i32::MIN as i64 - ROUND;
    const HI: i64 = i32::MAX as i64 - ROUND;

    /// `call` and `tail`: 2 GiB either way.
    pub const CALL: Bits = Bits {
        fields: PAIR,
        lo: LO,
        hi: HI,
        align: 1,
    };
    /// `auipc` and the addition or load behind it: 2 GiB either way.
    pub const NEAR: Bits = Bits { align: 0, ..CALL };
    /// The `lui` of a 32-bit value.
    pub const UPPER20: Bits = Bits {
        fields: UPPER,
        lo: LO,
        hi: HI,
        align: 0,
    };
    /// The lower 12 bits in an instruction with an immediate operand; the others are the `lui`'s.
    pub const LOWER12: Bits = Bits {
        fields: LOWER,
        lo: i64::MIN,
        hi: i64::MAX,
        align: 0,
    };
}
