//! Branches of x86-64: recognised and encoded again.

use super::{Architecture, Condition, Control, Encoded};

/// x86-64. A [`Condition`] is the low four bits of a conditional jump's opcode.
pub(super) struct X86_64;

const SHORT_JUMP: u8 = 0xeb;
const NEAR_JUMP: u8 = 0xe9;
const SHORT_BRANCH: u8 = 0x70;
const NEAR_BRANCH: u8 = 0x80;

impl Architecture for X86_64 {
    fn control(&self, bytes: &[u8]) -> Control {
        // `notrack` and branch hints; REX comes after them.
        let rest = match bytes {
            [0x2e | 0x3e, rest @ ..] => rest,
            _ => bytes,
        };
        let length = bytes.len() as i64;
        match *rest {
            [SHORT_JUMP, byte] => Control::Jump {
                distance: length + i64::from(byte as i8),
            },
            [NEAR_JUMP, a, b, c, d] => Control::Jump {
                distance: length + i64::from(i32::from_le_bytes([a, b, c, d])),
            },
            [opcode, byte] if opcode & 0xf0 == SHORT_BRANCH => Control::Branch {
                condition: Condition(u32::from(opcode & 0x0f)),
                distance: length + i64::from(byte as i8),
            },
            [0x0f, opcode, a, b, c, d] if opcode & 0xf0 == NEAR_BRANCH => Control::Branch {
                condition: Condition(u32::from(opcode & 0x0f)),
                distance: length + i64::from(i32::from_le_bytes([a, b, c, d])),
            },
            // loopne, loope, loop, jrcxz
            [0xe0..=0xe3, _] => Control::Unknown,
            // ret, ud2, hlt, int3
            [0xc3] | [0xc2, _, _] | [0x0f, 0x0b] | [0xf4] | [0xcc] => Control::Stop,
            [0xff, modrm, ..] | [0x40..=0x4f, 0xff, modrm, ..] if modrm >> 3 & 7 == 4 => {
                Control::Stop
            }
            _ => Control::None,
        }
    }

    fn refers_to_code(&self, mnemonic: &str, operands: &str) -> bool {
        operands.contains("[rip")
            || (mnemonic == "call" && operands.starts_with(|c: char| c.is_ascii_digit()))
    }

    fn invert(&self, condition: Condition) -> Condition {
        Condition(condition.0 ^ 1)
    }

    fn jump(&self, distance: Option<i64>) -> Encoded {
        encode(&[SHORT_JUMP], &[NEAR_JUMP], distance)
    }

    fn branch(&self, condition: Condition, distance: Option<i64>) -> Encoded {
        let condition = condition.0 as u8;
        encode(
            &[SHORT_BRANCH | condition],
            &[0x0f, NEAR_BRANCH | condition],
            distance,
        )
    }
}

/// The short form where the distance allows it, else the one with 32 bits, which is also the one for holes: its last four
/// bytes are the window, and are relative to the instruction's end.
fn encode(short: &[u8], near: &[u8], distance: Option<i64>) -> Encoded {
    let from_end =
        |opcode: &[u8], width: usize| distance.unwrap_or(0) - (opcode.len() + width) as i64;
    let (opcode, displacement) = match (distance, i8::try_from(from_end(short, 1))) {
        (Some(_), Ok(byte)) => (short, vec![byte as u8]),
        (Some(_), Err(_)) => (near, (from_end(near, 4) as i32).to_le_bytes().to_vec()),
        (None, _) => (near, vec![0; 4]),
    };
    Encoded {
        bytes: [opcode, &displacement].concat(),
        field: opcode.len(),
        window: 4,
        addend: -4,
        bits: None,
    }
}
