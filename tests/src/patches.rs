//! Reads a patched value back out of code: the inverse of a patch kind, written without looking at how patching works.

use copatch_spec::patch::PatchKind;

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
/// at first, and after each field as many more bits of `v` as the field has. If not even the lowest field's do, there
/// is only that field, and they may be anything.
pub fn read_back(kind: &PatchKind, window: u64) -> Option<Read> {
    let mut fields = kind.fields.clone();
    fields.sort_by_key(|field| field.shift);
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

/// A mask of that many bits.
fn ones(count: u32) -> u64 {
    1u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1)
}

/// Whether a kind admits a value: the test's own reading of what the fields of [`PatchKind`] promise.
pub fn admits(kind: &PatchKind, value: i64) -> bool {
    (kind.lo..=kind.hi).contains(&value) && value as u64 & ones(u32::from(kind.align)) == 0
}
