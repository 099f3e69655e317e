//! The types of values and the places an operand may lie in.

use serde::{Deserialize, Serialize};

/// The type of a value that operations work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum ValueType {
    /// 32-bit integer; in a register its upper half is what the target's contract says.
    I32,
    /// 64-bit integer or pointer.
    I64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// 128-bit vector.
    V128,
}

impl ValueType {
    /// All types, in the order of their discriminants.
    pub const ALL: [ValueType; 5] = [
        ValueType::I32,
        ValueType::I64,
        ValueType::F32,
        ValueType::F64,
        ValueType::V128,
    ];

    /// The name used in op tables and in generated C (`i32`, `f64`, …).
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::I32 => "i32",
            ValueType::I64 => "i64",
            ValueType::F32 => "f32",
            ValueType::F64 => "f64",
            ValueType::V128 => "v128",
        }
    }

    /// The type of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.name() == name)
    }

    /// How many 8-byte frame slots a value takes.
    pub const fn slots(self) -> u32 {
        match self {
            ValueType::V128 => 2,
            _ => 1,
        }
    }

    /// Brings an immediate into the form in which it is compared with a domain and patched:
    /// 32-bit types are sign-extended from their low 32 bits.
    pub const fn canonical(self, bits: u64) -> i64 {
        match self {
            ValueType::I32 | ValueType::F32 => bits as u32 as i32 as i64,
            _ => bits as i64,
        }
    }
}

/// Where an operand or a result of one form of an operation lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Place {
    /// In a value register, one stencil for each.
    Register = 0,
    /// A constant patched into the code.
    Immediate = 1,
    /// In the frame, at a byte offset patched into the code.
    Slot = 2,
}

impl Place {
    /// The letter used in the `forms` column of an op table.
    pub const fn letter(self) -> char {
        match self {
            Place::Register => 'r',
            Place::Immediate => 'i',
            Place::Slot => 's',
        }
    }

    /// The place of that letter, if there is one.
    pub const fn from_letter(letter: char) -> Option<Self> {
        match letter {
            'r' => Some(Place::Register),
            'i' => Some(Place::Immediate),
            's' => Some(Place::Slot),
            _ => None,
        }
    }
}
