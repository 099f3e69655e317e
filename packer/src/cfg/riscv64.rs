//! Branches of riscv64 without compressed code: recognised and encoded again.

use super::{Architecture, Condition, Control, Encoded};
use crate::bits::riscv64::CALL;

/// riscv64. A [`Condition`] is the branch instruction with its distance left out.
pub(super) struct Riscv64;

const SIZE: i64 = 4;
/// `jal x0`
const JUMP: u32 = 0x0000_006f;
/// `auipc t1`, `jalr x0, t1`: how clang writes a tail call.
const FAR_JUMP: [u32; 2] = [0x0000_0317, 0x0003_0067];
/// The distance's bits in a conditional branch.
const BRANCH_DISTANCE: u32 = 0xfe00_0f80;

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?))
}

fn opcode(word: u32) -> u32 {
    word & 0x7f
}

/// The register that an instruction writes.
fn destination(word: u32) -> u32 {
    word >> 7 & 0x1f
}

/// The second instruction of an `auipc` and a `jalr`, an addition or a load through the register that it fills.
fn pair(bytes: &[u8]) -> Option<u32> {
    let (first, second) = (word(bytes)?, word(bytes.get(4..)?)?);
    let through = second >> 15 & 0x1f;
    let adds = matches!(opcode(second), 0x03 | 0x07) || matches!(second & 0x707f, 0x13 | 0x67);
    (opcode(first) == 0x17 && adds && destination(first) == through).then_some(second)
}

/// The signed distance of a conditional branch.
pub(crate) fn branch_distance(word: u32) -> i64 {
    let sign = i64::from(word as i32 >> 31) << 12;
    let bits = (word >> 7 & 1) << 11 | (word >> 25 & 0x3f) << 5 | (word >> 8 & 0xf) << 1;
    sign | i64::from(bits)
}

/// The signed distance of a `jal`.
pub(crate) fn jump_distance(word: u32) -> i64 {
    let sign = i64::from(word as i32 >> 31) << 20;
    let bits = (word >> 12 & 0xff) << 12 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3ff) << 1;
    sign | i64::from(bits)
}

fn with_branch_distance(word: u32, distance: i64) -> u32 {
    let d = distance as u32;
    word | (d >> 12 & 1) << 31 | (d >> 5 & 0x3f) << 25 | (d >> 1 & 0xf) << 8 | (d >> 11 & 1) << 7
}

fn with_jump_distance(word: u32, distance: i64) -> u32 {
    let d = distance as u32;
    word | (d >> 20 & 1) << 31
        | (d >> 1 & 0x3ff) << 21
        | (d >> 11 & 1) << 20
        | (d >> 12 & 0xff) << 12
}

impl Architecture for Riscv64 {
    fn second_half(&self, code: &[u8]) -> usize {
        pair(code).map_or(0, |_| SIZE as usize)
    }

    fn control(&self, bytes: &[u8]) -> Control {
        if let Some(second) = pair(bytes) {
            return match (opcode(second), destination(second)) {
                // It leads where its relocation says, and without one nowhere within the stencil.
                (0x67, 0) => Control::Jump { distance: i64::MAX },
                _ => Control::None,
            };
        }
        let Some(word) = word(bytes).filter(|_| bytes.len() == 4) else {
            return Control::Unknown;
        };
        match (opcode(word), destination(word)) {
            (0x63, _) => Control::Branch {
                condition: Condition(word & !BRANCH_DISTANCE),
                distance: branch_distance(word),
            },
            (0x6f, 0) => Control::Jump {
                distance: jump_distance(word),
            },
            // jr, ret
            (0x67, 0) => Control::Stop,
            // ebreak, unimp
            _ if matches!(word, 0x0010_0073 | 0xc000_1073) => Control::Stop,
            _ => Control::None,
        }
    }

    fn refers_to_code(&self, mnemonic: &str, _operands: &str) -> bool {
        matches!(mnemonic, "auipc" | "jal")
    }

    fn invert(&self, condition: Condition) -> Condition {
        Condition(condition.0 ^ 1 << 12)
    }

    fn jump(&self, distance: Option<i64>) -> Encoded {
        match distance {
            Some(distance) => encoded(&[with_jump_distance(JUMP, distance)]),
            None => encoded(&FAR_JUMP),
        }
    }

    fn branch(&self, condition: Condition, distance: Option<i64>) -> Encoded {
        match distance {
            Some(distance) => encoded(&[with_branch_distance(condition.0, distance)]),
            // 4 KiB would not reach across a function, so the opposite skips a jump.
            None => {
                let skip = with_branch_distance(self.invert(condition).0, 3 * SIZE);
                encoded(&[skip, FAR_JUMP[0], FAR_JUMP[1]])
            }
        }
    }
}

/// Instructions of which the last two hold the window, if it is to be a hole.
fn encoded(words: &[u32]) -> Encoded {
    Encoded {
        bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        field: words.len().saturating_sub(2) * SIZE as usize,
        window: 8,
        addend: 0,
        bits: Some(&CALL),
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
                    window: 8,
                    pc_relative: true,
                    addend: 0,
                    bits: Some(&CALL),
                })
                .collect(),
        };
        let target = Target::builtin("riscv64").ok_or("no target")?;
        let trimmed = trim(&raw, &target).map_err(|refusal| refusal.to_string())?;
        let words = trimmed.code.chunks_exact(4).filter_map(word);
        let holes = trimmed
            .holes
            .iter()
            .map(|hole| (hole.offset / 4, hole.symbol.clone()));
        Ok((words.collect(), holes.collect()))
    }

    #[test]
    fn distances_come_back() {
        for distance in [-4096, -2050, -4, 0, 4, 12, 2048, 4094] {
            let word = with_branch_distance(0x00e6_c063, distance);
            assert_eq!(branch_distance(word), distance);
            assert_eq!(word & !BRANCH_DISTANCE, 0x00e6_c063);
        }
        for distance in [-1_048_576, -4098, -4, 0, 4, 2048, 4096, 1_048_574] {
            let word = with_jump_distance(JUMP, distance);
            assert_eq!(jump_distance(word), distance);
            assert_eq!(word & 0xfff, JUMP);
        }
    }

    #[test]
    fn a_branch_to_a_hole_skips_a_far_jump() {
        // bge a3, a4, 1f; tail T0; 1: tail NEXT
        let bge = 0x00e6_d063;
        let code = [
            with_branch_distance(bge, 12),
            FAR_JUMP[0],
            FAR_JUMP[1],
            FAR_JUMP[0],
            FAR_JUMP[1],
        ];
        let (words, holes) = trimmed(&code, &[(1, "HOLE_T0"), (3, "HOLE_NEXT")]).unwrap();
        assert_eq!(words, &code[..3]);
        assert_eq!(holes, [(1, "HOLE_T0".to_owned())]);
        // The other way round the condition is inverted.
        let (words, holes) = trimmed(&code, &[(1, "HOLE_NEXT"), (3, "HOLE_T0")]).unwrap();
        assert_eq!(words[0], with_branch_distance(bge ^ 1 << 12, 12));
        assert_eq!(holes, [(1, "HOLE_T0".to_owned())]);
    }

    #[test]
    fn references_without_a_relocation_are_refused() {
        // auipc a0, 0; jal ra, 0; tail without a symbol
        assert!(trimmed(&[0x0000_0517], &[]).is_err());
        assert!(trimmed(&[0x0000_00ef], &[]).is_err());
        assert!(trimmed(&FAR_JUMP, &[]).is_err());
    }
}
