//! Moves ready to be copied. They are the most frequent stencils, few in number and short, so their bytes and their one hole
//! are looked up when a pack is first used: what remains is one comparison, one copy and one store.

use copatch_spec::pack::PackView;
use copatch_spec::types::ValueType;

use crate::forms::{FormId, Forms, Patch};
use crate::pack::{ClassInfo, Core};

/// Bytes of code, at most; longer moves are emitted as any other stencil.
pub(crate) const BYTES: usize = 16;
/// The last place in the code at which a hole's eight bytes may begin.
const LAST: usize = BYTES - 9;
/// Alternatives that are prepared: short and long displacements.
const ALTERNATIVES: usize = 2;

/// What a move does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Register to register; the index is that of the source times the number of registers, plus the target's.
    Copy,
    /// A constant to a register.
    Constant,
    /// A slot to a register.
    Load,
    /// A register to a slot.
    Store,
}

const KINDS: [Kind; 4] = [Kind::Copy, Kind::Constant, Kind::Load, Kind::Store];

/// A stencil with its bytes. Admits `lo..=lo + span` where the bits of `odd` are zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    lo: i64,
    span: u64,
    odd: u64,
    addend: i64,
    /// The bits of the hole in the eight bytes from `within`; none for a stencil without holes.
    mask: u64,
    pub code: [u8; BYTES],
    /// Its record in the pack's stencil table.
    pub row: u32,
    pub form: FormId,
    pub length: u8,
    within: u8,
}

impl Template {
    /// Stands for a stencil that is not prepared: admits nothing.
    const NONE: Self = Self {
        lo: 1,
        span: 0,
        odd: 1,
        addend: 0,
        mask: 0,
        code: [0; BYTES],
        row: 0,
        form: 0,
        length: 0,
        within: 0,
    };

    #[inline(always)]
    fn admits(&self, value: i64) -> bool {
        value.wrapping_sub(self.lo) as u64 <= self.span && value as u64 & self.odd == 0
    }

    /// Where the eight bytes begin that an admitted value changes, and what they are then.
    #[inline(always)]
    pub fn fill(&self, value: i64) -> (usize, [u8; 8]) {
        let within = usize::from(self.within) & 7;
        let window = self.code[within..within + 8].first_chunk().copied();
        let window = window.map_or(0, u64::from_le_bytes);
        let value = value.wrapping_add(self.addend) as u64;
        (
            within,
            (window & !self.mask | value & self.mask).to_le_bytes(),
        )
    }
}

/// The templates of one kind of move of one type: the first of each alternative's, one an index.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    first: u32,
    /// How many indices there are.
    stride: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Templates {
    templates: Vec<Template>,
    lists: [List; ValueType::ALL.len() * KINDS.len()],
}

impl Templates {
    /// Looks up the moves of a pack.
    pub fn new(
        view: &PackView<'_>,
        forms: &Forms,
        core: &Core,
        class_of: impl Fn(ValueType) -> Option<ClassInfo>,
    ) -> Self {
        let mut all = Self {
            templates: Vec::new(),
            lists: Default::default(),
        };
        for ty in ValueType::ALL {
            let (Some(moves), Some(class)) = (core.moves[ty as usize], class_of(ty)) else {
                continue;
            };
            let registers = u32::from(class.registers);
            let [copy, constant, load] = moves.to_register;
            let [store, ..] = moves.to_slot;
            for (kind, form) in KINDS.into_iter().zip([copy, constant, load, store]) {
                let stride = match kind {
                    Kind::Copy => registers * registers,
                    _ => registers,
                };
                all.lists[list(ty, kind)] = List {
                    first: all.templates.len() as u32,
                    stride,
                };
                for alternative in 0..ALTERNATIVES {
                    all.templates.extend((0..stride).map(|index| {
                        form.and_then(|form| template(view, forms, form, alternative, index))
                            .unwrap_or(Template::NONE)
                    }));
                }
            }
        }
        all
    }

    /// The prepared stencil for that index and value, if there is one.
    #[inline(always)]
    pub fn find(&self, ty: ValueType, kind: Kind, index: u32, value: i64) -> Option<&Template> {
        let list = self.lists[list(ty, kind)];
        let at = (list.first + index) as usize;
        let short = self.templates.get(at)?;
        if short.admits(value) {
            return Some(short);
        }
        let long = self.templates.get(at + list.stride as usize)?;
        long.admits(value).then_some(long)
    }
}

fn list(ty: ValueType, kind: Kind) -> usize {
    ty as usize * KINDS.len() + kind as usize
}

/// The stencil of that index of a form's alternative, if it is short and has at most one hole, of a plain value that is in
/// reach wherever the alternative admits it.
fn template(
    view: &PackView<'_>,
    forms: &Forms,
    form: FormId,
    alternative: usize,
    index: u32,
) -> Option<Template> {
    let domain = forms.domain(form, alternative)?;
    let row = domain.stencils + index;
    let stencil = view.stencils.get(row as usize)?;
    let (first, length) = (
        stencil.code.get() as usize,
        usize::from(stencil.length.get()),
    );
    let bytes = view.code.get(first..)?.get(..length)?;
    let mut code = [0; BYTES];
    code.get_mut(..length)?.copy_from_slice(bytes);
    let mut template = Template {
        lo: domain.lo,
        span: domain.span,
        odd: domain.odd,
        addend: 0,
        mask: 0,
        code,
        row,
        form,
        length: length as u8,
        within: 0,
    };
    match forms.patch(stencil.holes.get())? {
        Patch::Value(hole) if hole.reaches(&domain) && usize::from(hole.offset) <= LAST => {
            template.addend = i64::from(hole.addend);
            template.mask = hole.mask();
            template.within = hole.offset as u8;
        }
        Patch::Holes { count: 0, .. } => {}
        _ => return None,
    }
    Some(template)
}
