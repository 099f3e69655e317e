//! Holes, prepared for the hot path: what may be filled in, and a value's bits in a few instructions.

use copatch_spec::pack::tables::HoleRow;
use copatch_spec::patch::{PatchKind, Source};

use crate::forms::{Forms, Values};
use crate::hint::likely;

/// The values from `lo` to `lo + span` where the bits of `odd` are zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub lo: i64,
    pub span: u64,
    pub odd: u64,
}

impl Interval {
    pub const ALL: Self = Self {
        lo: i64::MIN,
        span: u64::MAX,
        odd: 0,
    };
    pub const NONE: Self = Self {
        lo: 1,
        span: 0,
        odd: 1,
    };

    /// The multiples of 2 to the power `align` from `lo` to `hi`.
    pub fn new(lo: i64, hi: i64, align: u16) -> Self {
        Self {
            lo,
            span: hi.wrapping_sub(lo) as u64,
            odd: (1 << (align & 63)) - 1,
        }
    }

    #[inline(always)]
    pub fn admits(&self, value: i64) -> bool {
        value.wrapping_sub(self.lo) as u64 <= self.span && value as u64 & self.odd == 0
    }

    /// Whether it has all values of another, each with `addend` added.
    fn covers(&self, other: &Self, addend: i32) -> bool {
        let moved = |value: i128| value + i128::from(addend) - i128::from(self.lo);
        let first = i128::from(other.lo);
        let last = first + i128::from(other.span);
        moved(first) >= 0
            && moved(last) <= i128::from(self.span)
            && other.odd & self.odd == self.odd
            && i64::from(addend) as u64 & self.odd == 0
    }
}

/// A hole of a stencil, with its kind spread out where that has one field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hole {
    /// What may be filled in.
    reach: Interval,
    /// The field's bits in the window.
    mask: u64,
    field_addend: i64,
    /// Added to the value before anything else.
    pub addend: i32,
    /// All ones where the place of the hole is subtracted.
    pc: u32,
    /// From the start of the stencil.
    pub offset: u16,
    /// A [`Source`].
    pub source: u8,
    pub kind: u8,
    shift: u8,
    start: u8,
    negate: bool,
    /// Whether what is filled in is written as it is into the low bits of the window.
    whole: bool,
    /// Whether that is the value itself, not its distance.
    plain: bool,
    /// Whether it has several fields, which are interpreted.
    general: bool,
}

impl Hole {
    /// Of a row whose kind is `kind`.
    pub fn new(row: &HoleRow, kind: &PatchKind) -> Self {
        let field = kind.fields.first().copied();
        let mask = field.map_or(0, |field| {
            let width = u32::from(field.end.saturating_sub(field.start));
            u64::MAX.checked_shr(64 - width.min(64)).unwrap_or(0) << (field.start & 63)
        });
        let general = kind.fields.len() != 1;
        let whole = field.is_some_and(|field| {
            field.start == 0 && field.shift == 0 && !field.negate && field.addend == 0
        }) && !general;
        Self {
            reach: Interval::new(kind.lo, kind.hi, u16::from(kind.align)),
            mask,
            field_addend: field.map_or(0, |field| field.addend),
            addend: row.addend.get(),
            pc: if kind.pc_relative { u32::MAX } else { 0 },
            offset: row.offset.get(),
            source: row.source,
            kind: row.kind,
            shift: field.map_or(0, |field| field.shift),
            start: field.map_or(0, |field| field.start),
            negate: field.is_some_and(|field| field.negate),
            whole,
            plain: whole && !kind.pc_relative,
            general,
        }
    }

    /// The form's value that fills the hole, if it is filled with one.
    #[inline]
    pub fn value(&self, values: &Values) -> Option<i64> {
        const { assert!(Source::Value(0).encode() == 0 && Source::Target(0).encode() == 0x10) };
        values.get(usize::from(self.source)).copied()
    }

    /// [`Self::fill`] for a hole that a [`Patch::Value`] consists of.
    #[inline(always)]
    pub fn fill_plain(&self, window: u64, values: &Values) -> Option<u64> {
        let value = values[usize::from(self.source) % values.len()];
        let value = value.wrapping_add(i64::from(self.addend));
        let bits = window & !self.mask | value as u64 & self.mask;
        self.reach.admits(value).then_some(bits)
    }

    /// [`Self::fill`] for a hole that is filled with a distance as it is; `None` for any other, too.
    #[inline(always)]
    pub fn fill_near(&self, window: u64, value: i64, at: u32) -> Option<u64> {
        let value = self.relative(value, at);
        let bits = window & !self.mask | value as u64 & self.mask;
        (self.whole && self.reach.admits(value)).then_some(bits)
    }

    /// Whether it is filled with a value of the form, as that is.
    #[inline(always)]
    pub fn of_value(&self) -> bool {
        self.plain && usize::from(self.source) < Values::default().len()
    }

    /// Whether it is four bytes that are filled with the distance of a place that the operation branches to.
    #[inline(always)]
    pub fn of_word(&self) -> bool {
        self.whole && self.mask == u64::from(u32::MAX) && self.of_target()
    }

    /// Whether it is filled with a place that the operation branches to.
    #[inline(always)]
    pub fn of_target(&self) -> bool {
        matches!(Source::decode(self.source), Some(Source::Target(_)))
    }

    /// How far from it a place may be either way that it is filled with.
    pub fn distance(&self) -> u64 {
        let last = self.reach.lo.wrapping_add_unsigned(self.reach.span);
        let addend = u64::from(self.addend.unsigned_abs());
        let nearest = self.reach.lo.unsigned_abs().min(last.unsigned_abs());
        nearest.saturating_sub(addend)
    }

    /// Whether it is filled with the place of the constant pool, and may be too far from it where code is that large.
    pub fn of_near_pool(&self, code: usize) -> bool {
        let distance = code as i64;
        let all = Interval::new(-distance, distance, 0);
        matches!(Source::decode(self.source), Some(Source::Pool))
            && !self.reach.covers(&all, self.addend)
    }

    /// The bits of a plain value in the window.
    pub fn mask(&self) -> u64 {
        self.mask
    }

    /// Whether every value of a domain is in reach of a hole that a value fills as it is.
    pub fn reaches(&self, domain: &Interval) -> bool {
        self.reach.covers(domain, self.addend)
    }

    /// Puts a value into the bits of a window at offset `at`; `None` if it is out of reach.
    #[inline]
    pub fn fill(&self, forms: &Forms, window: u64, value: i64, at: u32) -> Option<u64> {
        if likely(self.whole) {
            return self.fill_near(window, value, at);
        }
        let value = self.relative(value, at);
        self.reach
            .admits(value)
            .then(|| self.fill_field(forms, window, value))?
    }

    /// What is filled in for a value at offset `at`.
    #[inline(always)]
    fn relative(&self, value: i64, at: u32) -> i64 {
        value
            .wrapping_add(i64::from(self.addend))
            .wrapping_sub(i64::from(at & self.pc))
    }

    #[inline(never)]
    fn fill_field(&self, forms: &Forms, window: u64, value: i64) -> Option<u64> {
        if self.general {
            let kind = forms.kind(self.kind)?;
            return Some(copatch_spec::patch::fill(kind, window, value));
        }
        let signed = if self.negate {
            value.wrapping_neg()
        } else {
            value
        };
        let bits = (signed.wrapping_add(self.field_addend) >> (self.shift & 63)) as u64;
        Some(window & !self.mask | bits << (self.start & 63) & self.mask)
    }
}

/// What is to be patched in a stencil.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patch {
    /// One plain value.
    Value(Hole),
    /// One place that the operation branches to.
    Branch(Hole),
    /// Two plain values, in windows apart: the holes from this one on.
    Pair(u32),
    /// A range of holes.
    Holes {
        first: u32,
        count: u16,
        /// Whether windows ascend without overlapping.
        apart: bool,
    },
}

impl Patch {
    /// Every hole of it.
    pub fn all<'a>(&'a self, forms: &'a Forms) -> &'a [Hole] {
        match self {
            Patch::Value(hole) | Patch::Branch(hole) => std::slice::from_ref(hole),
            Patch::Pair(first) => forms.holes(*first, 2),
            Patch::Holes { first, count, .. } => forms.holes(*first, *count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copatch_spec::patch::Field;
    use proptest::prelude::*;

    fn field() -> impl Strategy<Value = Field> {
        let addend = prop_oneof![Just(0), any::<i64>()];
        let zero = |range: std::ops::Range<u8>| prop_oneof![Just(0u8), range];
        (zero(0..64), 1u8..=64, zero(0..64), any::<bool>(), addend).prop_map(
            |(start, width, shift, negate, addend)| Field {
                start,
                end: (start + width).min(64),
                shift,
                negate,
                addend,
            },
        )
    }

    fn filled(kind: &PatchKind, addend: i32, window: u64, value: i64, at: u32) -> Option<u64> {
        let row = HoleRow {
            offset: 0.into(),
            kind: 0,
            source: 0,
            addend: addend.into(),
        };
        let forms = Forms::of_kinds(vec![kind.clone()]);
        let hole = Hole::new(&row, kind);
        let filled = hole.fill(&forms, window, value, at);
        if hole.plain {
            assert_eq!(hole.fill_plain(window, &[value; 8]), filled);
        }
        filled
    }

    proptest! {
        /// Every kind writes what the specification's `fill` writes.
        #[test]
        fn holes_are_filled_as_specified(
            fields in proptest::collection::vec(field(), 1..3),
            addend: i32, window: u64, value: i64, at: u32, pc_relative: bool,
        ) {
            let kind = PatchKind { window: 8, pc_relative, lo: i64::MIN, hi: i64::MAX, align: 0, fields };
            let moved = value.wrapping_add(i64::from(addend));
            let moved = if pc_relative { moved.wrapping_sub(i64::from(at)) } else { moved };
            let expected = copatch_spec::patch::fill(&kind, window, moved);
            prop_assert_eq!(filled(&kind, addend, window, value, at), Some(expected));
        }

        #[test]
        fn a_value_out_of_reach_is_refused(
            lo in -100i64..100, length in 0i64..100, align in 0u8..4, value in -300i64..300,
        ) {
            let fields = vec![Field { start: 0, end: 64, shift: 0, negate: false, addend: 0 }];
            let kind = PatchKind { window: 8, pc_relative: false, lo, hi: lo + length, align, fields };
            let admitted = (lo..=lo + length).contains(&value) && value % (1 << align) == 0;
            prop_assert_eq!(filled(&kind, 0, 0, value, 0).is_some(), admitted);
        }
    }
}
