//! Branches of aarch64: recognised and encoded again.

use super::{Architecture, Condition, Control, Encoded};
use crate::bits::aarch64::{BRANCH19, BRANCH26};
use crate::stencil::Bits;

/// aarch64. A [`Condition`] is the branch instruction with its distance left out.
pub(super) struct Aarch64;

const JUMP: u32 = 0x1400_0000;
const SIZE: i64 = 4;

/// The three families of conditional branches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// `b.cond`
    Flags,
    /// `cbz`, `cbnz`
    Zero,
    /// `tbz`, `tbnz`
    Bit,
}

fn family(word: u32) -> Option<Family> {
    if word & 0xff00_0010 == 0x5400_0000 {
        Some(Family::Flags)
    } else if word & 0x7e00_0000 == 0x3400_0000 {
        Some(Family::Zero)
    } else if word & 0x7e00_0000 == 0x3600_0000 {
        Some(Family::Bit)
    } else {
        None
    }
}

/// Where the distance of a family lies: its first bit and its width.
fn place(family: Family) -> (u32, u32) {
    match family {
        Family::Flags | Family::Zero => (5, 19),
        Family::Bit => (5, 14),
    }
}

/// The signed distance in bytes that `width` bits from `start` hold.
fn distance(word: u32, start: u32, width: u32) -> i64 {
    let left = 32 - start - width;
    i64::from(((word << left) as i32) >> (32 - width)) * SIZE
}

/// The word with a distance put into `width` bits from `start`.
fn with_distance(word: u32, start: u32, width: u32, distance: i64) -> u32 {
    let mask = (1 << width) - 1;
    word | ((distance / SIZE) as u32 & mask) << start
}

impl Architecture for Aarch64 {
    fn control(&self, bytes: &[u8]) -> Control {
        let Ok(bytes) = <[u8; 4]>::try_from(bytes) else {
            return Control::Unknown;
        };
        let word = u32::from_le_bytes(bytes);
        if let Some(family) = family(word) {
            // `b.al` and `b.nv` always branch.
            if family == Family::Flags && word & 0x0e == 0x0e {
                return Control::Unknown;
            }
            let (start, width) = place(family);
            return Control::Branch {
                condition: Condition(word & !(((1 << width) - 1) << start)),
                distance: distance(word, start, width),
            };
        }
        // br, ret, brk, udf
        let stops = matches!(word & 0xffff_fc1f, 0xd61f_0000 | 0xd65f_0000)
            || word & 0xffe0_001f == 0xd420_0000
            || word >> 16 == 0;
        if word & 0xfc00_0000 == JUMP {
            Control::Jump {
                distance: distance(word, 0, 26),
            }
        } else if stops {
            Control::Stop
        } else {
            Control::None
        }
    }

    fn refers_to_code(&self, mnemonic: &str, operands: &str) -> bool {
        matches!(mnemonic, "adr" | "adrp" | "bl")
            || (mnemonic.starts_with("ldr") && !operands.contains('['))
    }

    fn invert(&self, condition: Condition) -> Condition {
        match family(condition.0) {
            Some(Family::Flags) | None => Condition(condition.0 ^ 1),
            Some(Family::Zero | Family::Bit) => Condition(condition.0 ^ 1 << 24),
        }
    }

    fn jump(&self, distance: Option<i64>) -> Encoded {
        let word = with_distance(JUMP, 0, 26, distance.unwrap_or(0));
        encoded(&[word], &BRANCH26)
    }

    fn branch(&self, condition: Condition, distance: Option<i64>) -> Encoded {
        let (start, width) = place(family(condition.0).unwrap_or(Family::Flags));
        match distance {
            Some(distance) => {
                let word = with_distance(condition.0, start, width, distance);
                encoded(&[word], &BRANCH19)
            }
            // 32 KiB would not reach across a function, so the opposite skips a jump.
            None if family(condition.0) == Some(Family::Bit) => {
                let skip = with_distance(self.invert(condition).0, start, width, 2 * SIZE);
                encoded(&[skip, JUMP], &BRANCH26)
            }
            None => encoded(&[condition.0], &BRANCH19),
        }
    }
}

/// Instructions of which the last one holds the window.
fn encoded(words: &[u32], bits: &'static Bits) -> Encoded {
    Encoded {
        bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        field: (words.len() - 1) * SIZE as usize,
        window: 4,
        addend: 0,
        bits: Some(bits),
    }
}

#[cfg(test)]
mod tests {
    use copatch_spec::Target;

    use super::super::trim;
    use super::*;
    use crate::stencil::{RawStencil, Relocation};

    /// Words of code, and the holes among them: index and symbol.
    type Laid = (Vec<u32>, Vec<(usize, String)>);

    fn trimmed(words: &[u32], holes: &[(usize, &str)]) -> Result<Laid, String> {
        let raw = RawStencil {
            name: "test".to_owned(),
            code: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            relocations: holes
                .iter()
                .map(|(index, symbol)| Relocation {
                    offset: index * 4,
                    symbol: (*symbol).to_owned(),
                    window: 4,
                    pc_relative: true,
                    addend: 0,
                    bits: Some(&BRANCH26),
                })
                .collect(),
        };
        let target = Target::builtin("aarch64").ok_or("no target")?;
        let trimmed = trim(&raw, &target).map_err(|refusal| refusal.to_string())?;
        let words = trimmed
            .code
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let holes = trimmed
            .holes
            .iter()
            .map(|hole| (hole.offset / 4, hole.symbol.clone()));
        Ok((words.collect(), holes.collect()))
    }

    #[test]
    fn a_compare_and_branch_becomes_one_branch() {
        // cmp w23, w24; b.ge 1f; b T0; 1: b NEXT
        let code = [0x6b18_02ff, 0x5400_004a, JUMP, JUMP];
        let (words, holes) = trimmed(&code, &[(2, "HOLE_T0"), (3, "HOLE_NEXT")]).unwrap();
        // cmp w23, w24; b.lt T0
        assert_eq!(words, [0x6b18_02ff, 0x5400_000b]);
        assert_eq!(holes, [(1, "HOLE_T0".to_owned())]);
    }

    #[test]
    fn zero_tests_invert_and_bit_tests_reach_far() {
        // cbnz w23, 1f; b T0; 1: b NEXT becomes cbz w23, T0
        let (words, _) = trimmed(
            &[0x3500_0057, JUMP, JUMP],
            &[(1, "HOLE_T0"), (2, "HOLE_NEXT")],
        )
        .unwrap();
        assert_eq!(words, [0x3400_0017]);
        // tbnz w23, #31, 1f; b T0; 1: b NEXT becomes tbnz w23, #31, over; b T0; over:
        let (words, holes) = trimmed(
            &[0x37f8_0057, JUMP, JUMP],
            &[(1, "HOLE_T0"), (2, "HOLE_NEXT")],
        )
        .unwrap();
        assert_eq!(words, [0x37f8_0057, JUMP]);
        assert_eq!(holes, [(1, "HOLE_T0".to_owned())]);
    }

    #[test]
    fn references_without_a_relocation_are_refused() {
        // adrp x8, .; ldr x8, .; bl .; b.al .
        for word in [0x9000_0008, 0x5800_0008, 0x9400_0000, 0x5400_000e] {
            assert!(trimmed(&[word], &[]).is_err(), "{word:#x}");
        }
    }
}
