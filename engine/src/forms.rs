//! A pack's forms, prepared for the hot path: a form by its key, and a value against its domains, each in a few instructions. Made when
//! a pack is opened; some hundred rows.

use copatch_spec::pack::PackView;
use copatch_spec::pack::tables::{FormRow, HoleRow};
use copatch_spec::patch::PatchKind;
use copatch_spec::types::Place;
use copatch_spec::variants::{FormKey, Outcome};

use crate::hint::usual;
use crate::holes::{Hole, Interval, Patch};
use crate::unit::MAX_CODE;

/// The values of one stencil's holes: as many as a form can have, up to a power of two.
pub type Values = [i64; copatch_spec::limits::VALUES.next_power_of_two()];

/// For stencils without holes for values.
pub const NO_VALUES: Values = [0; _];

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
    quick: Option<Quick>,
}

impl Span {
    const NONE: Self = Self {
        first: 0,
        form: 0,
        alternatives: 0,
        values: 0,
        quick: None,
    };

    /// The form, and the first record of the alternative that takes the one value, where that is found without a search.
    #[inline(always)]
    pub fn quick(&self, values: &Values) -> Option<(FormId, u32)> {
        let row = usual(self.quick.as_ref()?.admit(values[0]))?;
        Some((self.form, row))
    }
}

/// The first two alternatives of a form with one value, or the only one twice, where what they admit is no more than a range.
/// Which one takes a value cannot be foreseen, so there is no branch on it.
#[derive(Clone, Copy, Debug)]
struct Quick {
    lo: [i64; 2],
    span: [u64; 2],
    /// The first records.
    stencils: [u32; 2],
}

impl Quick {
    fn new(rows: &[Row]) -> Option<Self> {
        let rows = match rows {
            [only] => [only, only],
            [first, second, ..] => [first, second],
            [] => return None,
        };
        let range = |row: &&Row| row.domain.odd == 0 && row.exceptions == 0;
        rows.iter().all(range).then_some(Self {
            lo: rows.map(|row| row.domain.lo),
            span: rows.map(|row| row.domain.span),
            stencils: rows.map(|row| row.stencils),
        })
    }

    /// The first record of the alternative that takes a value, if one of the two does.
    #[inline(always)]
    fn admit(&self, value: i64) -> Option<u32> {
        let within = |at: usize| value.wrapping_sub(self.lo[at]) as u64 <= self.span[at];
        let (first, second) = (within(0), within(1));
        (first | second).then_some(self.stencils[usize::from(!first)])
    }
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
                quick: match values {
                    1 => forms
                        .rows
                        .get(row.first as usize..)
                        .and_then(|rows| Quick::new(rows.get(..usize::from(row.alternatives))?)),
                    _ => None,
                },
            };
        }
        if let Some(place) = Self::short(key) {
            self.short[place.0][place.1] = self.count.min(u16::from(ABSENT)) as u8;
        }
        self.count += 1;
    }

    /// Whether the pack has no code for the operation at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
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

    /// The form with everything in registers, and its first record for these values, where that is found without a search.
    #[inline(always)]
    pub fn known(&self, own: Outcome, values: &Values) -> Option<(FormId, u32)> {
        match self.plain(Outcome::Plain) {
            None if own == Outcome::Plain => self.own(false).quick(values),
            plain => plain,
        }
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

/// One value of an alternative: what it admits, but for exceptions.
#[derive(Clone, Copy, Debug)]
struct Row {
    domain: Interval,
    /// The alternative's first record in the pack's stencil table.
    stencils: u32,
    /// One more than the index of the list of exceptions; 0 for none.
    exceptions: u32,
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
    near_pool: bool,
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
            near_pool: false,
        };
        for row in view.holes {
            if usize::from(row.offset.get()) >= copatch_spec::limits::STENCIL_BYTES {
                return None;
            }
            forms
                .holes
                .push(Hole::new(row, kinds.get(usize::from(row.kind))?));
        }
        let near = |hole: &Hole| hole.of_near_pool(MAX_CODE);
        forms.near_pool = forms.holes.iter().any(near);
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
                all => {
                    let apart = holes
                        .windows(2)
                        .all(|pair| end(&pair[0]) <= u32::from(pair[1].offset.get()));
                    let (first, count) = (row.first.get(), row.count.get());
                    if apart && count == 2 && all.iter().all(Hole::of_value) {
                        Patch::Pair(first)
                    } else {
                        Patch::Holes {
                            first,
                            count,
                            apart,
                        }
                    }
                }
            };
            forms.patches.push(patch);
        }
        for row in view.forms {
            forms.add(view, row)?;
        }
        Some(forms)
    }

    /// No forms, and these kinds.
    #[cfg(test)]
    pub fn of_kinds(kinds: Vec<PatchKind>) -> Self {
        Self {
            forms: vec![],
            rows: vec![],
            exceptions: vec![],
            kinds,
            patches: vec![],
            holes: vec![],
            near_pool: false,
        }
    }

    fn add(&mut self, view: &PackView<'_>, form: &FormRow) -> Option<()> {
        let first = form.first.get() as usize;
        let begin = self.rows.len();
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
        self.forms.push(Form {
            first: begin as u32,
            stencils: view.alternatives.get(first)?.stencils.get(),
            alternatives: form.count.get(),
            values: form.values.get(),
            key: FormKey(form.key.get()),
            op: form.op.get(),
        });
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
            count => self.admit_rows(form.first, form.alternatives, count, values),
        }
    }

    /// The form of a span and the first stencil record of its narrowest alternative that admits the values; `None` also
    /// where the form has more values than a span is kept for.
    #[inline(always)]
    pub fn admit_span(&self, span: &Span, values: &Values) -> Option<(FormId, u32)> {
        if let Some(found) = span.quick(values) {
            return Some(found);
        }
        let (alternatives, count) = (u16::from(span.alternatives), u16::from(span.values));
        let row = self.admit_rows(span.first, alternatives, count, values)?;
        Some((span.form, row))
    }

    /// The first stencil record of the first of so many alternatives, of `count` rows each, that admits the values.
    #[inline(always)]
    fn admit_rows(
        &self,
        first: u32,
        alternatives: u16,
        count: u16,
        values: &Values,
    ) -> Option<u32> {
        let (first, count) = (first as usize, usize::from(count));
        let rows = self
            .rows
            .get(first..first + usize::from(alternatives) * count)?;
        match count {
            0 => None,
            1 => {
                for row in rows {
                    if self.admits(row, values[0]) {
                        return Some(row.stencils);
                    }
                }
                None
            }
            2 => {
                for [row, second] in rows.as_chunks().0 {
                    if self.admits(row, values[0]) && self.admits(second, values[1]) {
                        return Some(row.stencils);
                    }
                }
                None
            }
            _ => self.admit_all(rows, count, values),
        }
    }

    /// [`Self::admit_rows`] for any number of values but 0.
    #[inline(never)]
    fn admit_all(&self, rows: &[Row], count: usize, values: &Values) -> Option<u32> {
        let rows = rows.chunks_exact(count).find(|rows| {
            rows.iter()
                .zip(values)
                .all(|(row, value)| self.admits(row, *value))
        })?;
        Some(rows.first()?.stencils)
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

    /// The holes of a list, if they lie apart.
    pub fn holes_apart(&self, list: u16) -> Option<&[Hole]> {
        let patch = self.patch(list)?;
        let apart = !matches!(patch, Patch::Holes { apart: false, .. });
        apart.then(|| patch.all(self))
    }

    /// Whether there are instructions that reach the constant pool from nearby only.
    pub fn near_pool(&self) -> bool {
        self.near_pool
    }

    /// A patch kind.
    pub fn kind(&self, number: u8) -> Option<&PatchKind> {
        self.kinds.get(usize::from(number))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_alternatives_at_once_are_chosen_as_one_after_the_other() {
        let row = |lo: i64, hi: i64, stencils| Row {
            domain: Interval::new(lo, hi, 0),
            stencils,
            exceptions: 0,
        };
        let rows = [
            row(-128, 127, 10),
            row(i64::from(i32::MIN), i64::from(i32::MAX), 20),
            row(i64::MIN, i64::MAX, 30),
        ];
        let ends = rows.map(|row| {
            (
                row.domain.lo,
                row.domain.lo.wrapping_add(row.domain.span as i64),
            )
        });
        let edges = ends.iter().flat_map(|(lo, hi)| [*lo, *hi]);
        for value in edges.flat_map(|edge| [-1, 0, 1].map(|by| edge.wrapping_add(by))) {
            for count in 1..=rows.len() {
                let rows = &rows[..count];
                let quick = Quick::new(rows).expect("ranges");
                let first = rows.iter().take(2).find(|row| row.domain.admits(value));
                assert_eq!(quick.admit(value), first.map(|row| row.stencils), "{value}");
            }
        }
        assert!(Quick::new(&[]).is_none());
        let aligned = Row {
            domain: Interval::new(0, 8, 3),
            ..rows[0]
        };
        assert!(Quick::new(&[rows[0], aligned]).is_none());
        let excepted = Row {
            exceptions: 1,
            ..rows[0]
        };
        assert!(Quick::new(&[excepted]).is_none());
    }
}
