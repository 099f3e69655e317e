//! The pre-scan: one linear look at a function's bytes before code is generated, which fills the engine's plan.
//!
//! It decodes only as much as it takes to find locals, calls and structure, a few nanoseconds an operation. It does not
//! validate: at anything it does not know it stops, and the generating visit, which does validate, will refuse that
//! function or generate it without a plan.

use copatch::Planner;

/// What one scan found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Instructions seen.
    pub operations: u64,
    /// Whether the scan came to the end of the function: else its plan must not be used.
    pub complete: bool,
    /// Whether a memory access has an offset of 2^31 or more.
    pub far: bool,
}

/// Offsets from here on do not fit beside a 32-bit address into the reserved range of a linear memory.
pub(crate) const FAR: u32 = 1 << 31;

/// Scans the instructions in `code`; `base` is the offset of its first byte in the module.
pub(crate) fn scan(code: &[u8], base: u32, planner: &mut Planner) -> Scan {
    let mut cursor = Cursor { code, at: 0 };
    let mut scan = Scan::default();
    // Frames around the cursor, the function's own included.
    let mut open = 1u32;
    while let Some(opcode) = cursor.byte() {
        let pos = base.wrapping_add(cursor.at as u32 - 1);
        scan.operations += 1;
        let known = match opcode {
            // unreachable, nop, return, drop, select, and everything numeric
            0x00 | 0x01 | 0x0f | 0x1a | 0x1b | 0x45..=0xc4 => Some(()),
            0x20 => cursor.leb().map(|var| planner.get(pos, var)),
            0x21 => cursor.leb().map(|var| planner.set(pos, var)),
            0x22 => cursor.leb().map(|var| planner.tee(pos, var)),
            // i32.const, i64.const
            0x41 | 0x42 => cursor.skip_leb(),
            // loads and stores
            0x28..=0x3e => cursor.skip_leb().and_then(|()| cursor.leb()).map(|offset| {
                scan.far |= offset >= FAR;
            }),
            // br, br_if, global.get, global.set, memory.size
            0x0c | 0x0d | 0x23 | 0x24 | 0x3f => cursor.skip_leb(),
            0x02 => {
                planner.block(pos);
                open += 1;
                cursor.skip_leb()
            }
            0x03 => {
                planner.loop_(pos);
                open += 1;
                cursor.skip_leb()
            }
            0x04 => {
                planner.if_(pos);
                open += 1;
                cursor.skip_leb()
            }
            0x05 => {
                planner.else_(pos);
                Some(())
            }
            0x0b => {
                open -= 1;
                if open == 0 {
                    scan.complete = cursor.at == code.len();
                    return scan;
                }
                planner.end(pos);
                Some(())
            }
            0x0e => cursor
                .leb()
                .and_then(|count| (0..=count).try_for_each(|_| cursor.skip_leb())),
            // call
            0x10 => {
                planner.call(pos);
                cursor.skip_leb()
            }
            // call_indirect
            0x11 => {
                planner.call(pos);
                cursor.skip_leb().and_then(|()| cursor.skip_leb())
            }
            // table.get
            0x25 => cursor.skip_leb(),
            // table.set, ref.func: helpers
            0x26 | 0xd2 => {
                planner.call(pos);
                cursor.skip_leb()
            }
            // select with its type
            0x1c => cursor
                .leb()
                .and_then(|count| (0..count).try_for_each(|_| cursor.skip_leb())),
            // ref.null, ref.is_null
            0xd0 => cursor.skip_leb(),
            0xd1 => Some(()),
            // memory.grow is a helper
            0x40 => {
                planner.call(pos);
                cursor.skip_leb()
            }
            0x43 => cursor.skip(4),
            0x44 => cursor.skip(8),
            0xfc => match cursor.leb() {
                // saturating conversions
                Some(0..=7) => Some(()),
                // memory.init, memory.copy, table.init, table.copy: helpers with two indices
                Some(8 | 10 | 12 | 14) => {
                    planner.call(pos);
                    cursor.skip_leb().and_then(|()| cursor.skip_leb())
                }
                // data.drop, memory.fill, elem.drop, table.grow, table.fill: helpers with one
                Some(9 | 11 | 13 | 15 | 17) => {
                    planner.call(pos);
                    cursor.skip_leb()
                }
                // table.size
                Some(16) => cursor.skip_leb(),
                _ => None,
            },
            _ => None,
        };
        if known.is_none() {
            return scan;
        }
    }
    scan
}

struct Cursor<'a> {
    code: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.code.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// An unsigned LEB128 of at most 32 bits; what lies above them is cut off, validation will complain.
    #[inline]
    fn leb(&mut self) -> Option<u32> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u32::from(first));
        }
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    #[inline]
    fn skip_leb(&mut self) -> Option<()> {
        // No LEB128 of WebAssembly is longer than ten bytes.
        for _ in 0..10 {
            if self.byte()? < 0x80 {
                return Some(());
            }
        }
        None
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.code.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: &[u8]) -> Scan {
        let mut planner = Planner::new();
        planner.begin(4);
        scan(code, 100, &mut planner)
    }

    #[test]
    fn counts_operations_up_to_the_functions_end() {
        // loop local.get 0 br_if 0 end i32.const -1 drop end
        let code = [0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b, 0x41, 0x7f, 0x1a, 0x0b];
        assert_eq!(
            run(&code),
            Scan {
                operations: 7,
                complete: true,
                far: false
            }
        );
    }

    #[test]
    fn sees_far_offsets() {
        // i32.const 0 i32.load offset=0x80000000 drop end
        let code = [0x41, 0, 0x28, 2, 0x80, 0x80, 0x80, 0x80, 8, 0x1a, 0x0b];
        assert_eq!(
            run(&code),
            Scan {
                operations: 4,
                complete: true,
                far: true
            }
        );
    }

    #[test]
    fn anything_is_survived() {
        let valid = [
            0x02, 0x40, 0x0e, 2, 0, 0, 0, 0x0b, 0xfc, 0, 0x44, 1, 2, 3, 4, 5, 6, 7, 8, 0x0b,
        ];
        assert!(run(&valid).complete);
        for length in 0..valid.len() {
            assert!(!run(&valid[..length]).complete);
            for byte in 0..=255 {
                let mut broken = valid;
                broken[length] = byte;
                run(&broken);
            }
        }
        assert!(!run(&[0x0b, 0x0b]).complete, "code after the end");
        assert!(!run(&[0x0b - 1, 0xff]).complete);
        assert!(
            !run(&[0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]).complete,
            "a huge br_table"
        );
    }
}
