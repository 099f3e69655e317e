//! A pack's forms and holes, prepared for the hot path: a form by its key, a value against its domains, and a value into
//! bits, each a few instructions. Made when a pack is opened; some hundred rows.

use copatch_spec::pack::PackView;
use copatch_spec::pack::tables::{FormRow, HoleListRow, HoleRow};
use copatch_spec::patch::{PatchKind, Source};
use copatch_spec::variants::FormKey;

/// The values of one stencil's holes; as many as a form can have.
pub type Values = [i64; copatch_spec::limits::VALUES];

/// The number of a form in its pack.
pub(crate) type FormId = u16;

/// Keys that differ in the places of the first two operands only.
const SHORT_KEYS: usize = 16;
/// No form.
const ABSENT: u8 = u8::MAX;

/// The forms of one operation, by the places of its first two operands and the outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpForms {
    first: FormId,
    count: u16,
    short: [[u8; SHORT_KEYS]; 3],
}

impl OpForms {
    pub const NONE: Self = Self {
        first: 0,
        count: 0,
        short: [[ABSENT; SHORT_KEYS]; 3],
    };

    /// Adds a form; those of an operation come one after another.
    pub fn add(&mut self, row: usize, form: &FormRow) {
        if self.count == 0 {
            self.first = row as FormId;
        }
        let key = form.key.get();
        if let Some(place) = Self::short(FormKey(key)) {
            self.short[place.0][place.1] = self.count.min(u16::from(ABSENT)) as u8;
        }
        self.count += 1;
    }

    /// Outcome and places, where the key has no more to it.
    #[inline]
    fn short(key: FormKey) -> Option<(usize, usize)> {
        const MORE: u16 = 0x1f0;
        let outcome = usize::from(key.0 >> 9);
        (key.0 & MORE == 0 && outcome < 3).then_some((outcome, usize::from(key.0 & 15)))
    }
}

/// A form: the range of its alternatives, and how many values it patches.
#[derive(Clone, Copy, Debug)]
struct Form {
    first: u32,
    count: u16,
    values: u16,
    key: FormKey,
    op: u16,
}

#[derive(Clone, Copy, Debug)]
struct Alternative {
    stencils: u32,
    domains: u32,
}

/// The values admitted: `lo..=lo + span` where the bits of `odd` are zero.
#[derive(Clone, Copy, Debug)]
struct Domain {
    lo: i64,
    span: u64,
    odd: u64,
    first_exception: u32,
    exceptions: u32,
}

/// A kind of patch with its first field spread out.
#[derive(Clone, Debug)]
struct Kind {
    lo: i64,
    span: u64,
    odd: u64,
    /// All ones where the place of the hole is subtracted.
    pc: i64,
    /// All ones where the value is negated.
    negate: i64,
    addend: i64,
    /// The field's bits in the window.
    mask: u64,
    shift: u8,
    start: u8,
    /// Kinds of several fields are interpreted.
    general: Option<Box<PatchKind>>,
}

/// A hole of a stencil.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hole {
    pub offset: u16,
    pub kind: u8,
    pub source: u8,
    pub addend: i32,
}

#[derive(Clone, Copy, Debug)]
struct HoleList {
    first: u32,
    count: u16,
    /// Whether windows ascend without overlapping.
    apart: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Forms {
    forms: Vec<Form>,
    alternatives: Vec<Alternative>,
    domains: Vec<Domain>,
    exceptions: Vec<i64>,
    kinds: Vec<Kind>,
    lists: Vec<HoleList>,
    holes: Vec<Hole>,
}

impl Forms {
    pub fn new(view: &PackView<'_>, kinds: &[PatchKind]) -> Self {
        Self {
            forms: view.forms.iter().map(form).collect(),
            alternatives: view
                .alternatives
                .iter()
                .map(|row| Alternative {
                    stencils: row.stencils.get(),
                    domains: row.domains.get(),
                })
                .collect(),
            domains: view
                .domains
                .iter()
                .map(|row| Domain {
                    lo: row.lo.get(),
                    span: row.hi.get().wrapping_sub(row.lo.get()) as u64,
                    odd: odd(row.align.get()),
                    first_exception: row.first_exception.get(),
                    exceptions: u32::from(row.exceptions.get()),
                })
                .collect(),
            exceptions: view.exceptions.iter().map(|value| value.get()).collect(),
            kinds: kinds.iter().map(kind).collect(),
            lists: view
                .hole_lists
                .iter()
                .map(|row| hole_list(view, row, kinds))
                .collect(),
            holes: view.holes.iter().map(hole).collect(),
        }
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
    #[inline]
    pub fn admit(&self, form: FormId, values: &Values) -> Option<u32> {
        let form = self.forms.get(usize::from(form))?;
        let first = form.first as usize;
        let alternatives = self
            .alternatives
            .get(first..first + usize::from(form.count))?;
        match form.values {
            0 => Some(alternatives.first()?.stencils),
            1 => {
                let value = values[0];
                alternatives
                    .iter()
                    .find(|alternative| {
                        self.domains
                            .get(alternative.domains as usize)
                            .is_some_and(|domain| self.admits(domain, value))
                    })
                    .map(|alternative| alternative.stencils)
            }
            count => alternatives
                .iter()
                .find(|alternative| {
                    let first = alternative.domains as usize;
                    self.domains
                        .get(first..first + usize::from(count))
                        .is_some_and(|domains| {
                            domains
                                .iter()
                                .zip(values)
                                .all(|(domain, value)| self.admits(domain, *value))
                        })
                })
                .map(|alternative| alternative.stencils),
        }
    }

    #[inline]
    fn admits(&self, domain: &Domain, value: i64) -> bool {
        value.wrapping_sub(domain.lo) as u64 <= domain.span
            && value as u64 & domain.odd == 0
            && (domain.exceptions == 0 || !self.excepted(domain, value))
    }

    #[cold]
    fn excepted(&self, domain: &Domain, value: i64) -> bool {
        let first = domain.first_exception as usize;
        self.exceptions
            .get(first..first + domain.exceptions as usize)
            .is_some_and(|list| list.contains(&value))
    }

    /// The holes of a list, and whether their windows ascend without overlapping.
    #[inline]
    pub fn holes(&self, list: u16) -> Option<(&[Hole], bool)> {
        let list = self.lists.get(usize::from(list))?;
        let first = list.first as usize;
        let holes = self.holes.get(first..first + usize::from(list.count))?;
        Some((holes, list.apart))
    }

    /// Puts a value into the bits of a window at offset `at` as a kind says; `None` if it is out of the kind's reach.
    #[inline]
    pub fn fill(&self, kind: u8, window: u64, value: i64, at: u32) -> Option<u64> {
        let kind = self.kinds.get(usize::from(kind))?;
        let value = value.wrapping_sub(i64::from(at) & kind.pc);
        if value.wrapping_sub(kind.lo) as u64 > kind.span || value as u64 & kind.odd != 0 {
            return None;
        }
        if let Some(general) = &kind.general {
            return Some(fill_general(general, window, value));
        }
        let signed = (value ^ kind.negate)
            .wrapping_sub(kind.negate)
            .wrapping_add(kind.addend);
        let bits = (signed >> (kind.shift & 63)) as u64;
        Some(window & !kind.mask | bits << (kind.start & 63) & kind.mask)
    }
}

#[inline(never)]
fn fill_general(kind: &PatchKind, window: u64, value: i64) -> u64 {
    copatch_spec::patch::fill(kind, window, value)
}

/// The bits that are zero in a multiple of 2 to that power.
fn odd(align: u16) -> u64 {
    (1 << (align & 63)) - 1
}

fn form(row: &FormRow) -> Form {
    Form {
        first: row.first.get(),
        count: row.count.get(),
        values: row.values.get(),
        key: FormKey(row.key.get()),
        op: row.op.get(),
    }
}

fn hole_list(view: &PackView<'_>, row: &HoleListRow, kinds: &[PatchKind]) -> HoleList {
    let (first, count) = (row.first.get() as usize, usize::from(row.count.get()));
    let holes = view.holes.get(first..first + count).unwrap_or_default();
    let window = |hole: &HoleRow| {
        kinds
            .get(usize::from(hole.kind))
            .map_or(8, |kind| u16::from(kind.window))
    };
    HoleList {
        first: row.first.get(),
        count: row.count.get(),
        apart: holes
            .windows(2)
            .all(|pair| pair[0].offset.get() + window(&pair[0]) <= pair[1].offset.get()),
    }
}

fn hole(row: &HoleRow) -> Hole {
    Hole {
        offset: row.offset.get(),
        kind: row.kind,
        source: row.source,
        addend: row.addend.get(),
    }
}

fn kind(kind: &PatchKind) -> Kind {
    let field = kind.fields.first().copied();
    let single = kind.fields.len() == 1;
    let mask = field.map_or(0, |field| {
        let width = u32::from(field.end.saturating_sub(field.start));
        u64::MAX.checked_shr(64 - width.min(64)).unwrap_or(0) << (field.start & 63)
    });
    let ones = |set: bool| if set { -1 } else { 0 };
    Kind {
        lo: kind.lo,
        span: kind.hi.wrapping_sub(kind.lo) as u64,
        odd: odd(u16::from(kind.align)),
        pc: ones(kind.pc_relative),
        negate: ones(field.is_some_and(|field| field.negate)),
        addend: field.map_or(0, |field| field.addend),
        mask,
        shift: field.map_or(0, |field| field.shift),
        start: field.map_or(0, |field| field.start),
        general: (!single).then(|| Box::new(kind.clone())),
    }
}

/// Whether a hole is filled with one of the form's values, and which.
#[inline]
pub(crate) fn value_of(hole: &Hole, values: &Values) -> Option<i64> {
    const { assert!(Source::Value(0).encode() == 0 && Source::Target(0).encode() == 0x10) };
    if hole.source < 0x10 {
        values.get(usize::from(hole.source)).copied()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copatch_spec::patch::Field;
    use proptest::prelude::*;

    fn field() -> impl Strategy<Value = Field> {
        (0u8..64, 1u8..=64, 0u8..64, any::<bool>(), any::<i64>()).prop_map(
            |(start, width, shift, negate, addend)| Field {
                start,
                end: (start + width).min(64),
                shift,
                negate,
                addend,
            },
        )
    }

    proptest! {
        /// The fast way writes what the specification's `fill` writes.
        #[test]
        fn one_field_is_filled_as_specified(
            field in field(), window: u64, value: i64, at: u32, pc_relative: bool,
        ) {
            let general = PatchKind {
                window: 8, pc_relative, lo: i64::MIN, hi: i64::MAX, align: 0, fields: vec![field],
            };
            let forms = Forms {
                forms: vec![], alternatives: vec![], domains: vec![], exceptions: vec![],
                kinds: vec![kind(&general)], lists: vec![], holes: vec![],
            };
            let moved = if pc_relative { value.wrapping_sub(i64::from(at)) } else { value };
            let expected = copatch_spec::patch::fill(&general, window, moved);
            prop_assert_eq!(forms.fill(0, window, value, at), Some(expected));
        }

        #[test]
        fn a_value_out_of_reach_is_refused(lo in -100i64..100, length in 0i64..100, align in 0u8..4, value in -300i64..300) {
            let general = PatchKind {
                window: 8, pc_relative: false, lo, hi: lo + length, align,
                fields: vec![Field { start: 0, end: 64, shift: 0, negate: false, addend: 0 }],
            };
            let forms = Forms {
                forms: vec![], alternatives: vec![], domains: vec![], exceptions: vec![],
                kinds: vec![kind(&general)], lists: vec![], holes: vec![],
            };
            let admitted = (lo..=lo + length).contains(&value) && value % (1 << align) == 0;
            prop_assert_eq!(forms.fill(0, 0, value, 0).is_some(), admitted);
        }
    }
}
