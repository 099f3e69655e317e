//! Reads a patched value back out of code: the inverse of a patch kind, written without looking at how patching works.

use copatch_spec::patch::{Field, PatchKind};

/// What code says of a value that was patched into it: in its low `known` bits it is `low` and less than two to the power
/// `unknown` more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The least value in those bits that it may be.
    pub low: u64,
    /// How many low bits the code says something of. Where that is all that counts (the distance of a shift), it may be
    /// fewer than the values admitted have.
    pub known: u32,
    /// How many bits below that it leaves out, which is more than 0 where several instructions build a value.
    pub unknown: u32,
}

impl Read {
    /// Whether that value may be the one.
    pub fn is(self, value: i64) -> bool {
        (value as u64).wrapping_sub(self.low) & ones(self.known) <= ones(self.unknown)
    }

    /// The one value that the kind admits; `None` if there are others, or none.
    pub fn value(self, kind: &PatchKind) -> Option<i64> {
        let span = (kind.hi as u64).wrapping_sub(kind.lo as u64);
        let above = self.low.wrapping_sub(kind.lo as u64) & ones(self.known);
        let unique = self.unknown == 0 && (self.known >= 64 || span <= ones(self.known));
        (unique && above <= span).then(|| (kind.lo as u64).wrapping_add(above) as i64)
    }
}

/// Reads back what the fields of a kind encode as they stand in `window`; `None` if they contradict each other, or leave
/// out bits between others.
///
/// A field holds some bits of `±v + c`. Its lower bits follow from what is known of `v`: multiples of the kind's alignment
/// at first, and after each field as many more bits of `v` as the field has. If not even the lowest field's do, they
/// may be anything, and the other fields may not depend on them.
pub fn read_back(kind: &PatchKind, window: u64) -> Option<Read> {
    let mut fields = kind.fields.clone();
    fields.sort_by_key(|field| field.shift);
    let unknown = fields.first().map_or(0, |field| u32::from(field.shift));
    if fields.len() > 1 && unknown > u32::from(kind.align) {
        return read_above(kind, fields, window);
    }
    // `known` low bits of the value are those of `value`.
    let (mut known, mut value) = (u32::from(kind.align), 0u64);
    for field in &fields {
        let (shift, width) = (
            u32::from(field.shift),
            u32::from(field.end.checked_sub(field.start)?),
        );
        let bits = window >> field.start & ones(width);
        if shift > known {
            let least = (bits.checked_shl(shift)?).wrapping_sub(field.addend as u64);
            let greatest = least.wrapping_add(ones(shift));
            return (fields.len() == 1).then_some(Read {
                low: if field.negate {
                    greatest.wrapping_neg()
                } else {
                    least
                },
                known: (shift + width).min(64),
                unknown: shift,
            });
        }
        let signed = if field.negate {
            value.wrapping_neg()
        } else {
            value
        };
        let low = signed.wrapping_add(field.addend as u64) & ones(shift);
        let sum = low | bits.checked_shl(shift).unwrap_or(0);
        let back = sum.wrapping_sub(field.addend as u64);
        let back = if field.negate {
            back.wrapping_neg()
        } else {
            back
        };
        let both = known.min(shift + width);
        if back & ones(both) != value & ones(both) {
            return None;
        }
        if shift + width > known {
            known = (shift + width).min(64);
            value = back & ones(known);
        }
    }
    Some(Read {
        low: value & ones(known),
        known,
        unknown: 0,
    })
}

/// Reads what several fields hold of the bits above those that none of them has.
fn read_above(kind: &PatchKind, mut fields: Vec<Field>, window: u64) -> Option<Read> {
    let unknown = fields.first()?.shift;
    for field in &mut fields {
        if field.negate || field.addend as u64 & ones(u32::from(unknown)) != 0 {
            return None;
        }
        field.shift -= unknown;
        field.addend >>= unknown;
    }
    let upper = PatchKind {
        align: 0,
        fields,
        ..kind.clone()
    };
    let read = read_back(&upper, window)?;
    let known = (read.known + u32::from(unknown)).min(64);
    Some(Read {
        low: read.low << unknown & ones(known),
        known,
        unknown: u32::from(unknown),
    })
}

/// A mask of that many bits.
fn ones(count: u32) -> u64 {
    1u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1)
}

/// Whether a kind admits a value: the test's own reading of what the fields of [`PatchKind`] promise.
pub fn admits(kind: &PatchKind, value: i64) -> bool {
    (kind.lo..=kind.hi).contains(&value) && value as u64 & ones(u32::from(kind.align)) == 0
}

#[cfg(test)]
mod tests {
    use copatch_spec::patch::fill;

    use super::*;

    /// The upper half of a constant in `lui` and `addiw`, as riscv64 has it.
    fn upper_half() -> PatchKind {
        let field = |start, end, shift, addend| Field {
            start,
            end,
            shift,
            negate: false,
            addend,
        };
        PatchKind {
            window: 8,
            pc_relative: false,
            lo: i64::MIN,
            hi: i64::MAX,
            align: 0,
            fields: vec![field(12, 32, 44, 1 << 43), field(52, 64, 32, 0)],
        }
    }

    #[test]
    fn an_upper_half_in_two_instructions_reads_back() {
        let kind = upper_half();
        for value in [
            0,
            -1,
            i64::MIN,
            i64::MAX,
            0x0123_4567_89ab_cdef,
            0x7ff << 32,
            0x800 << 32,
        ] {
            let read = read_back(&kind, fill(&kind, 0, value)).unwrap();
            let wanted = Read {
                low: value as u64 >> 32 << 32,
                known: 64,
                unknown: 32,
            };
            assert_eq!(read, wanted, "{value:#x}");
            assert_eq!(read.value(&kind), None);
        }
    }

    #[test]
    fn fields_that_depend_on_bits_left_out_or_contradict_each_other_do_not_read_back() {
        let mut carried = upper_half();
        carried.fields[0].addend += 1;
        assert_eq!(read_back(&carried, 0), None);
        // Both hold the same bits.
        let mut doubled = upper_half();
        doubled.fields[0] = Field {
            start: 0,
            end: 12,
            ..doubled.fields[1]
        };
        assert_eq!(read_back(&doubled, 1), None);
        assert!(read_back(&doubled, fill(&doubled, 0, 5 << 32)).is_some());
    }
}
