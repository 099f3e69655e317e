//! Holes and how they are patched, as data.
//!
//! A [`PatchKind`] says how a value becomes bits of code. The packer makes kinds out of relocations and out of
//! what it learnt by probing; the engine interprets them and knows no relocation.

use serde::{Deserialize, Serialize};

/// One run of bits within a patched window: bits `[start, end)` receive `((±value + addend) >> shift) mod 2^(end-start)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Field {
    /// First bit of the window, counted from the least significant.
    pub start: u8,
    /// One past the last bit; at most 64.
    pub end: u8,
    /// Arithmetic right shift applied last.
    pub shift: u8,
    /// Whether the value is negated first (wrapping).
    pub negate: bool,
    /// Added after the negation (wrapping).
    pub addend: i64,
}

impl Field {
    /// The bits of `value` that this field holds, right-aligned.
    pub const fn encode(&self, value: i64) -> u64 {
        let signed = if self.negate {
            value.wrapping_neg()
        } else {
            value
        };
        let width = self.end - self.start;
        let mask = if width >= 64 {
            u64::MAX
        } else {
            (1u64 << width) - 1
        };
        (signed.wrapping_add(self.addend) >> self.shift) as u64 & mask
    }
}

/// How a hole is patched: a little-endian window of code at the hole's offset, and the fields within it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PatchKind {
    /// Bytes of the window: 1, 2, 4 or 8.
    pub window: u8,
    /// Whether the address of the hole is subtracted from the value first.
    pub pc_relative: bool,
    /// Least value admitted, after the subtraction.
    pub lo: i64,
    /// Greatest value admitted, after the subtraction.
    pub hi: i64,
    /// The value must be a multiple of 2 to this power.
    pub align: u8,
    /// The bits written. Bits of the window outside every field keep what the stencil holds.
    pub fields: Vec<Field>,
}

/// What a hole is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The form's value of that number (see [`crate::variants::Form::values`]).
    Value(u8),
    /// The address of the operation's branch target of that number.
    Target(u8),
    /// The address of the operation's table of 32-bit offsets (each relative to the table).
    Table,
    /// The address of the pack's constant pool; the hole's addend holds the offset within it.
    Pool,
    /// The address of a stub that raises the trap of that number.
    Trap(u8),
}

impl Source {
    /// The encoding in a pack's hole table.
    pub const fn encode(self) -> u8 {
        match self {
            Source::Value(n) => n & 0x0f,
            Source::Target(n) => 0x10 | (n & 0x0f),
            Source::Table => 0x20,
            Source::Pool => 0x21,
            Source::Trap(n) => 0x40 | (n & 0x3f),
        }
    }

    /// The source of that encoding, if it is one.
    pub const fn decode(byte: u8) -> Option<Self> {
        match byte {
            0x00..=0x0f => Some(Source::Value(byte)),
            0x10..=0x1f => Some(Source::Target(byte & 0x0f)),
            0x20 => Some(Source::Table),
            0x21 => Some(Source::Pool),
            0x40..=0x7f => Some(Source::Trap(byte & 0x3f)),
            _ => None,
        }
    }
}

/// Puts a value that the kind admits into the bits of a window and leaves the other bits alone. The address of the
/// hole, where the kind subtracts it, has been subtracted already.
pub fn fill(kind: &PatchKind, window: u64, value: i64) -> u64 {
    kind.fields.iter().fold(window, |window, field| {
        let width = u32::from(field.end.saturating_sub(field.start));
        let mask = if width >= 64 {
            u64::MAX
        } else {
            (1 << width) - 1
        };
        let start = u32::from(field.start & 63);
        window & !(mask << start) | (field.encode(value) & mask) << start
    })
}
