//! Moves ready to be copied. They are the most frequent stencils, few in number and short, so their bytes and their one hole
//! are looked up when a pack is first used: what remains is one comparison, one copy and one store.

use copatch_spec::pack::PackView;
use copatch_spec::types::ValueType;

use crate::forms::{FormId, Forms};
use crate::holes::{Hole, Interval};
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

/// A hole of a plain value.
#[derive(Clone, Copy, Debug)]
struct Blank {
    /// What is admitted there.
    domain: Interval,
    addend: i64,
    /// The hole's bits in the eight bytes from `within`; none where the stencil has no such hole.
    mask: u64,
    within: u8,
    /// Which value fills it.
    value: u8,
}

impl Blank {
    /// Admits nothing.
    const NONE: Self = Self {
        domain: Interval::NONE,
        addend: 0,
        mask: 0,
        within: 0,
        value: 0,
    };

    fn new(domain: Interval, hole: Option<&Hole>) -> Option<Self> {
        let blank = Self {
            domain,
            ..Self::NONE
        };
        match hole {
            Some(hole) if hole.reaches(&domain) && usize::from(hole.offset) <= LAST => Some(Self {
                addend: i64::from(hole.addend),
                mask: hole.mask(),
                within: hole.offset as u8,
                ..blank
            }),
            Some(_) => None,
            None => Some(blank),
        }
    }

    /// Where the eight bytes begin that an admitted value changes.
    #[inline(always)]
    fn within(&self) -> usize {
        usize::from(self.within) & 7
    }

    /// Its own of a stencil's values.
    #[inline(always)]
    fn of<const N: usize>(&self, values: [i64; N]) -> i64 {
        if N == 1 {
            return values[0];
        }
        values[usize::from(self.value) % N]
    }

    /// What an admitted value makes of these eight bytes.
    #[inline(always)]
    fn fill(&self, window: &[u8], value: i64) -> [u8; 8] {
        let window = window.first_chunk().copied().map_or(0, u64::from_le_bytes);
        let value = value.wrapping_add(self.addend) as u64;
        (window & !self.mask | value & self.mask).to_le_bytes()
    }
}

/// A stencil with its bytes and `N` holes, in the order in which they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template<const N: usize> {
    blanks: [Blank; N],
    code: [u8; BYTES],
    /// Its record in the pack's stencil table.
    pub row: u32,
    pub form: FormId,
    pub length: u8,
}

impl<const N: usize> Template<N> {
    /// Stands for a stencil that is not prepared.
    const NONE: Self = Self {
        blanks: [Blank::NONE; N],
        code: [0; BYTES],
        row: 0,
        form: 0,
        length: 0,
    };

    /// The stencils of that index of a form's alternatives, narrowest first, up to the first that cannot be prepared: a value
    /// that is for that one must not get one of those behind it.
    fn all(
        view: &PackView<'_>,
        forms: &Forms,
        form: FormId,
        index: u32,
    ) -> impl Iterator<Item = Self> {
        (0..)
            .map_while(move |alternative| Self::new(view, forms, form, alternative, index))
            .fuse()
    }

    /// One stencil, if it is short and has no other holes than those of its `N` values, each in reach wherever the
    /// alternative admits it.
    fn new(
        view: &PackView<'_>,
        forms: &Forms,
        form: FormId,
        alternative: usize,
        index: u32,
    ) -> Option<Self> {
        let row = forms.domain(form, alternative, 0)?.1 + index;
        let stencil = view.stencils.get(row as usize)?;
        let (first, length) = (
            stencil.code.get() as usize,
            usize::from(stencil.length.get()),
        );
        let mut template = Self {
            row,
            form,
            length: length as u8,
            ..Self::NONE
        };
        let code = view.code.get(first..)?.get(..length)?;
        template.code.get_mut(..length)?.copy_from_slice(code);
        let holes = forms.plain_holes(stencil.holes.get())?;
        for (value, blank) in template.blanks.iter_mut().enumerate() {
            let (domain, _) = forms.domain(form, alternative, value)?;
            let mut own = holes
                .iter()
                .filter(|hole| usize::from(hole.source) == value);
            *blank = Blank::new(domain, own.next())?;
            blank.value = value as u8;
            if own.next().is_some() {
                return None;
            }
        }
        // Plain holes lie apart. What has none goes first, where nothing is filled in yet.
        template
            .blanks
            .sort_by_key(|blank| (blank.mask != 0, blank.within));
        let known = |hole: &Hole| usize::from(hole.source) < N;
        holes.iter().all(known).then_some(template)
    }

    #[inline(always)]
    fn admits(&self, values: [i64; N]) -> bool {
        self.blanks
            .iter()
            .all(|blank| blank.domain.admits(blank.of(values)))
    }

    /// Writes the stencil with these values, which it admits, to the beginning of `room`; spoils what lies behind it there.
    #[inline(always)]
    pub fn write(&self, room: &mut [u8; BYTES], values: [i64; N]) {
        *room = self.code;
        // What was just written is not read again, which would wait until it is in the cache: where a window reaches into the
        // blank behind it, that is written later.
        for blank in &self.blanks {
            let within = blank.within();
            let bits = blank.fill(&self.code[within..within + 8], blank.of(values));
            room[within..within + 8].copy_from_slice(&bits);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Templates {
    /// Short and long displacements, or [`Template::NONE`].
    moves: Vec<[Template<1>; ALTERNATIVES]>,
    /// Where the moves of each type and kind begin, one an index; [`ABSENT`] for those that a pack has not.
    first: [u32; ValueType::ALL.len() * KINDS.len()],
    /// For each type the stencils that write a constant to a slot.
    constants: [Vec<Template<2>>; ValueType::ALL.len()],
}

/// Behind all moves.
const ABSENT: u32 = u32::MAX;

impl Templates {
    /// Looks up the moves of a pack.
    pub fn new(
        view: &PackView<'_>,
        forms: &Forms,
        core: &Core,
        class_of: impl Fn(ValueType) -> Option<ClassInfo>,
    ) -> Self {
        let mut all = Self {
            moves: Vec::new(),
            first: [ABSENT; _],
            constants: Default::default(),
        };
        for ty in ValueType::ALL {
            let (Some(moves), Some(class)) = (core.moves[ty as usize], class_of(ty)) else {
                continue;
            };
            let registers = u32::from(class.registers);
            let [copy, constant, load] = moves.to_register;
            let [store, constant_to_slot, _] = moves.to_slot;
            for (kind, form) in KINDS.into_iter().zip([copy, constant, load, store]) {
                let Some(form) = form else { continue };
                let indices = match kind {
                    Kind::Copy => registers * registers,
                    _ => registers,
                };
                all.first[list(ty, kind)] = all.moves.len() as u32;
                all.moves.extend((0..indices).map(|index| {
                    let mut templates = Template::all(view, forms, form, index);
                    [(); ALTERNATIVES].map(|()| templates.next().unwrap_or(Template::NONE))
                }));
            }
            if let Some(form) = constant_to_slot {
                all.constants[ty as usize] = Template::all(view, forms, form, 0).collect();
            }
        }
        all
    }

    /// The prepared stencil for that index and value, if there is one.
    #[inline(always)]
    pub fn find(&self, ty: ValueType, kind: Kind, index: u32, value: i64) -> Option<&Template<1>> {
        let at = self.first[list(ty, kind)] as usize + index as usize;
        let [short, long] = self.moves.get(at)?;
        if short.admits([value]) {
            return Some(short);
        }
        long.admits([value]).then_some(long)
    }

    /// The prepared stencil that writes a constant to a slot of that offset, if there is one.
    #[inline]
    pub fn constant(&self, ty: ValueType, value: i64, offset: i64) -> Option<&Template<2>> {
        let admits = |template: &&Template<2>| template.admits([value, offset]);
        self.constants[ty as usize].iter().find(admits)
    }
}

fn list(ty: ValueType, kind: Kind) -> usize {
    ty as usize * KINDS.len() + kind as usize
}
