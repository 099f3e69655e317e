//! A pack's forms and holes, prepared for the hot path: a form by its key, a value against its domains, and a value into
//! bits, each a few instructions. Made when a pack is opened; some hundred rows.

use copatch_spec::pack::PackView;
use copatch_spec::pack::tables::{FormRow, HoleRow};
use copatch_spec::patch::{PatchKind, Source};
use copatch_spec::types::Place;
use copatch_spec::variants::{FormKey, Outcome};

/// The values of one stencil's holes: as many as a form can have, up to a power of two.
pub type Values = [i64; copatch_spec::limits::VALUES.next_power_of_two()];

/// The number of a form in its pack.
pub(crate) type FormId = u16;

/// Keys that differ in the places of the first two operands only.
const SHORT_KEYS: usize = 16;
/// The bits of a key that say the outcome.
const OUTCOME: u16 = 3 << 9;
/// No form.
const ABSENT: u8 = u8::MAX;

/// The forms of one operation, by the places of its first two operands and the outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpForms {
    first: FormId,
    count: u16,
    short: [[u8; SHORT_KEYS]; 3],
    /// For each outcome the form with everything in registers and no values, if there is one, and its first record.
    plain: [Option<(FormId, u32)>; 3],
    /// Of the operation's own outcome, the forms with everything in registers and with operand 1 as an immediate.
    own: [Span; 2],
}

/// A form with one value or two, and what its alternatives admit. Of no alternatives where there is no such form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The first [`Row`].
    first: u32,
    form: FormId,
    alternatives: u8,
    values: u8,
}

impl Span {
    const NONE: Self = Self {
        first: 0,
        form: 0,
        alternatives: 0,
        values: 0,
    };
}

impl OpForms {
    pub const NONE: Self = Self {
        first: 0,
        count: 0,
        short: [[ABSENT; SHORT_KEYS]; 3],
        plain: [None; 3],
        own: [Span::NONE; 2],
    };

    /// Adds a form; those of an operation, whose outcome is `outcome`, come one after another.
    pub fn add(&mut self, form: FormId, forms: &Forms, outcome: Outcome) {
        let Some(row) = forms.forms.get(usize::from(form)) else {
            return;
        };
        if self.count == 0 {
            self.first = form;
        }
        let (key, values) = (row.key, row.values);
        let registers = key.0 & !OUTCOME == FormKey::registers().0;
        let plain = self.plain.get_mut(usize::from(key.0 >> 9));
        if let Some(plain) = plain.filter(|_| registers && values == 0) {
            *plain = Some((form, row.stencils));
        }
        let immediate = FormKey::registers().with_operand(1, Place::Immediate);
        let own = [FormKey::registers(), immediate].map(|own| own.with_outcome(outcome));
        if let (Some(at), 1..=2) = (own.iter().position(|own| *own == key), values) {
            self.own[at] = Span {
                first: row.first,
                form,
                alternatives: row.alternatives.min(u16::from(u8::MAX)) as u8,
                values: values as u8,
            };
        }
        if let Some(place) = Self::short(key) {
            self.short[place.0][place.1] = self.count.min(u16::from(ABSENT)) as u8;
        }
        self.count += 1;
    }

    /// The form of the operation's own outcome with everything in registers, or with operand 1 as an immediate.
    #[inline(always)]
    pub fn own(&self, immediate: bool) -> &Span {
        &self.own[usize::from(immediate)]
    }

    /// The form with everything in registers and no values, and its first record.
    #[inline]
    pub fn plain(&self, outcome: Outcome) -> Option<(FormId, u32)> {
        self.plain[outcome as usize]
    }

    /// Outcome and places, where the key has no more to it.
    #[inline]
    fn short(key: FormKey) -> Option<(usize, usize)> {
        const MORE: u16 = 0x1f0;
        let outcome = usize::from(key.0 >> 9);
        (key.0 & MORE == 0 && outcome < 3).then_some((outcome, usize::from(key.0 & 15)))
    }
}

/// A form: where its alternatives begin, and how many values it patches.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// The first [`Row`] of its first alternative; each alternative has as many as there are values, and at least one.
    first: u32,
    /// The first record of its first alternative.
    stencils: u32,
    alternatives: u16,
    values: u16,
    key: FormKey,
    op: u16,
}

/// The values from `lo` to `lo + span` where the bits of `odd` are zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    lo: i64,
    span: u64,
    odd: u64,
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
    fn new(lo: i64, hi: i64, align: u16) -> Self {
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

/// One value of an alternative: what it admits, but for exceptions.
#[derive(Clone, Copy, Debug)]
struct Row {
    domain: Interval,
    /// The alternative's first record in the pack's stencil table.
    stencils: u32,
    /// One more than the index of the list of exceptions; 0 for none.
    exceptions: u32,
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
    /// The form's value that fills the hole, if it is filled with one.
    #[inline]
    pub fn value(&self, values: &Values) -> Option<i64> {
        const { assert!(Source::Value(0).encode() == 0 && Source::Target(0).encode() == 0x10) };
        values.get(usize::from(self.source)).copied()
    }

    /// [`Self::fill`] for a hole that a [`Patch::Value`] consists of.
    #[inline]
    pub fn fill_plain(&self, window: u64, values: &Values) -> Option<u64> {
        let value = values[usize::from(self.source) % values.len()];
        let value = value.wrapping_add(i64::from(self.addend));
        let bits = window & !self.mask | value as u64 & self.mask;
        self.reach.admits(value).then_some(bits)
    }

    /// Whether it is filled with a value of the form, as that is.
    pub fn of_value(&self) -> bool {
        self.plain && self.value(&Values::default()).is_some()
    }

    /// Whether it is filled with a place that the operation branches to.
    fn of_target(&self) -> bool {
        matches!(Source::decode(self.source), Some(Source::Target(_)))
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
        let value = value
            .wrapping_add(i64::from(self.addend))
            .wrapping_sub(i64::from(at & self.pc));
        if !self.reach.admits(value) {
            return None;
        }
        if self.whole {
            return Some(window & !self.mask | value as u64 & self.mask);
        }
        self.fill_field(forms, window, value)
    }

    #[inline(never)]
    fn fill_field(&self, forms: &Forms, window: u64, value: i64) -> Option<u64> {
        if self.general {
            let kind = forms.kinds.get(usize::from(self.kind))?;
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
    /// A range of holes.
    Holes {
        first: u32,
        count: u16,
        /// Whether windows ascend without overlapping.
        apart: bool,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Forms {
    forms: Vec<Form>,
    rows: Vec<Row>,
    exceptions: Vec<Box<[i64]>>,
    kinds: Vec<PatchKind>,
    patches: Vec<Patch>,
    holes: Vec<Hole>,
}

impl Forms {
    /// `None` where a table refers to a row that does not exist.
    pub fn new(view: &PackView<'_>, kinds: &[PatchKind]) -> Option<Self> {
        let mut forms = Self {
            forms: Vec::with_capacity(view.forms.len()),
            rows: Vec::with_capacity(view.alternatives.len() * 2),
            exceptions: Vec::new(),
            kinds: kinds.to_vec(),
            patches: Vec::with_capacity(view.hole_lists.len()),
            holes: Vec::with_capacity(view.holes.len()),
        };
        for row in view.holes {
            if usize::from(row.offset.get()) >= copatch_spec::limits::STENCIL_BYTES {
                return None;
            }
            forms
                .holes
                .push(hole(row, kinds.get(usize::from(row.kind))?));
        }
        for row in view.hole_lists {
            let (first, count) = (row.first.get() as usize, usize::from(row.count.get()));
            let holes = view.holes.get(first..first + count)?;
            let end = |hole: &HoleRow| {
                let window = kinds
                    .get(usize::from(hole.kind))
                    .map_or(8, |kind| kind.window);
                u32::from(hole.offset.get()) + u32::from(window)
            };
            let patch = match forms.holes.get(first..first + count)? {
                [hole] if hole.of_value() => Patch::Value(*hole),
                [hole] if hole.of_target() => Patch::Branch(*hole),
                _ => Patch::Holes {
                    first: row.first.get(),
                    count: row.count.get(),
                    apart: holes
                        .windows(2)
                        .all(|pair| end(&pair[0]) <= u32::from(pair[1].offset.get())),
                },
            };
            forms.patches.push(patch);
        }
        for row in view.forms {
            forms.add(view, row)?;
        }
        Some(forms)
    }

    fn add(&mut self, view: &PackView<'_>, form: &FormRow) -> Option<()> {
        let first = form.first.get() as usize;
        self.forms.push(Form {
            first: self.rows.len() as u32,
            stencils: view.alternatives.get(first)?.stencils.get(),
            alternatives: form.count.get(),
            values: form.values.get(),
            key: FormKey(form.key.get()),
            op: form.op.get(),
        });
        for alternative in view
            .alternatives
            .get(first..first + usize::from(form.count.get()))?
        {
            let stencils = alternative.stencils.get();
            if form.values.get() == 0 {
                self.rows.push(Row {
                    domain: Interval::ALL,
                    stencils,
                    exceptions: 0,
                });
            }
            let first = alternative.domains.get() as usize;
            for domain in view
                .domains
                .get(first..first + usize::from(form.values.get()))?
            {
                let count = usize::from(domain.exceptions.get());
                let first = domain.first_exception.get() as usize;
                let mut exceptions = 0;
                if count != 0 {
                    let list = view.exceptions.get(first..first + count)?;
                    self.exceptions
                        .push(list.iter().map(|value| value.get()).collect());
                    exceptions = self.exceptions.len() as u32;
                }
                let (lo, hi) = (domain.lo.get(), domain.hi.get());
                self.rows.push(Row {
                    domain: Interval::new(lo, hi, domain.align.get()),
                    stencils,
                    exceptions,
                });
            }
        }
        Some(())
    }

    /// The form of that key among an operation's forms.
    #[inline]
    pub fn find(&self, of: &OpForms, key: FormKey) -> Option<FormId> {
        match OpForms::short(key) {
            Some((outcome, places)) => {
                let index = of.short[outcome][places];
                (index != ABSENT).then(|| of.first + FormId::from(index))
            }
            None => self.search(of, key),
        }
    }

    #[cold]
    fn search(&self, of: &OpForms, key: FormKey) -> Option<FormId> {
        let first = usize::from(of.first);
        let rows = self.forms.get(first..first + usize::from(of.count))?;
        let index = rows.iter().position(|form| form.key == key)?;
        Some(of.first + index as FormId)
    }

    /// Operation and key of a form, for listings.
    pub fn name(&self, form: FormId) -> (u16, u16) {
        self.forms
            .get(usize::from(form))
            .map_or((u16::MAX, 0), |form| (form.op, form.key.0))
    }

    /// The first stencil record of the narrowest alternative whose domains admit the values.
    #[inline(always)]
    pub fn admit(&self, form: FormId, values: &Values) -> Option<u32> {
        let form = self.forms.get(usize::from(form))?;
        match form.values {
            0 => Some(form.stencils),
            1 => {
                let (first, count) = (form.first as usize, usize::from(form.alternatives));
                for row in self.rows.get(first..first + count)? {
                    if self.admits(row, values[0]) {
                        return Some(row.stencils);
                    }
                }
                None
            }
            _ => self.admit_all(form, values),
        }
    }

    /// The form of a span and the first stencil record of its narrowest alternative that admits the values; `None` also
    /// where the form has more values than a span is kept for.
    #[inline(always)]
    pub fn admit_span(&self, span: &Span, values: &Values) -> Option<(FormId, u32)> {
        let first = span.first as usize;
        let count = usize::from(span.alternatives) * usize::from(span.values);
        let rows = self.rows.get(first..first + count)?;
        if span.values == 1 {
            for row in rows {
                if self.admits(row, values[0]) {
                    return Some((span.form, row.stencils));
                }
            }
            return None;
        }
        for [row, second] in rows.as_chunks().0 {
            if self.admits(row, values[0]) && self.admits(second, values[1]) {
                return Some((span.form, row.stencils));
            }
        }
        None
    }

    #[inline(never)]
    fn admit_all(&self, form: &Form, values: &Values) -> Option<u32> {
        let count = usize::from(form.values);
        let row = self
            .rows
            .get(form.first as usize..)?
            .chunks_exact(count)
            .take(usize::from(form.alternatives))
            .find(|rows| {
                rows.iter()
                    .zip(values)
                    .all(|(row, value)| self.admits(row, *value))
            })?;
        Some(row.first()?.stencils)
    }

    /// What an alternative of a form admits as its value of that number, if that has no exceptions (for a form without
    /// values, anything), and the alternative's first record in the pack's stencil table.
    pub fn domain(
        &self,
        form: FormId,
        alternative: usize,
        value: usize,
    ) -> Option<(Interval, u32)> {
        let form = self.forms.get(usize::from(form))?;
        let rows = usize::from(form.values).max(1);
        if value >= rows || alternative >= usize::from(form.alternatives) {
            return None;
        }
        let first = form.first as usize + alternative * rows;
        let row = self.rows.get(first + value)?;
        (row.exceptions == 0).then_some((row.domain, row.stencils))
    }

    #[inline]
    fn admits(&self, row: &Row, value: i64) -> bool {
        row.domain.admits(value) && (row.exceptions == 0 || !self.excepted(row, value))
    }

    #[cold]
    fn excepted(&self, row: &Row, value: i64) -> bool {
        self.exceptions
            .get(row.exceptions as usize - 1)
            .is_some_and(|list| list.contains(&value))
    }

    /// What is to be patched in stencils with that list of holes.
    #[inline]
    pub fn patch(&self, list: u16) -> Option<&Patch> {
        self.patches.get(usize::from(list))
    }

    /// The holes of a list, if all are of plain values and apart.
    pub fn plain_holes(&self, list: u16) -> Option<&[Hole]> {
        match self.patch(list)? {
            Patch::Value(hole) => Some(std::slice::from_ref(hole)),
            Patch::Branch(_) => None,
            Patch::Holes {
                first,
                count,
                apart,
            } => {
                let holes = self.holes(*first, *count);
                (*apart && holes.iter().all(Hole::of_value)).then_some(holes)
            }
        }
    }

    /// A range of holes.
    #[inline]
    pub fn holes(&self, first: u32, count: u16) -> &[Hole] {
        let first = first as usize;
        self.holes
            .get(first..first + usize::from(count))
            .unwrap_or_default()
    }
}

fn hole(row: &HoleRow, kind: &PatchKind) -> Hole {
    let field = kind.fields.first().copied();
    let mask = field.map_or(0, |field| {
        let width = u32::from(field.end.saturating_sub(field.start));
        u64::MAX.checked_shr(64 - width.min(64)).unwrap_or(0) << (field.start & 63)
    });
    let general = kind.fields.len() != 1;
    let whole = field.is_some_and(|field| {
        field.start == 0 && field.shift == 0 && !field.negate && field.addend == 0
    }) && !general;
    Hole {
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
        let forms = Forms {
            forms: vec![],
            rows: vec![],
            exceptions: vec![],
            kinds: vec![kind.clone()],
            patches: vec![],
            holes: vec![],
        };
        let hole = hole(&row, kind);
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
