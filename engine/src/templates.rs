//! Moves and calls ready to be copied. They are the most frequent stencils, few in number and short, so their bytes and their holes
//! are looked up when a pack is first used: what remains is one comparison, one copy and one store for each hole.

use copatch_spec::pack::PackView;
use copatch_spec::pack::tables::StencilRow;
use copatch_spec::types::ValueType;

use crate::forms::{FormId, Forms};
use crate::hint::likely;
use crate::holes::{Hole, Interval};
use crate::pack::{ClassInfo, Core};

/// Bytes of a move, at most; longer ones are emitted as any other stencil.
pub(crate) const BYTES: usize = 16;
/// Bytes of a call, at most.
pub(crate) const CALL_BYTES: usize = 32;
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

    /// A hole of a stencil of no more than `BYTES` bytes.
    fn new<const BYTES: usize>(domain: Interval, hole: Option<&Hole>) -> Option<Self> {
        let blank = Self {
            domain,
            ..Self::NONE
        };
        match hole {
            Some(hole) if hole.reaches(&domain) && usize::from(hole.offset) < BYTES / 2 => {
                Some(Self {
                    addend: i64::from(hole.addend),
                    mask: hole.mask(),
                    within: hole.offset as u8,
                    ..blank
                })
            }
            Some(_) => None,
            None => Some(blank),
        }
    }

    /// Where the eight bytes begin that an admitted value changes.
    #[inline(always)]
    fn within<const BYTES: usize>(&self) -> usize {
        const { assert!(BYTES.is_power_of_two() && BYTES / 2 - 1 + 8 <= BYTES) };
        usize::from(self.within) & (BYTES / 2 - 1)
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
pub(crate) struct Template<const N: usize, const BYTES: usize> {
    blanks: [Blank; N],
    code: [u8; BYTES],
    /// Its record in the pack's stencil table.
    pub row: u32,
    pub form: FormId,
    pub length: u8,
}

impl<const N: usize, const BYTES: usize> Template<N, BYTES> {
    /// Stands for a stencil that is not prepared.
    const NONE: Self = Self {
        blanks: [Blank::NONE; N],
        code: [0; BYTES],
        row: 0,
        form: 0,
        length: 0,
    };

    /// A stencil of a form that has these holes, if it is short, and there is one hole for each of `values` at most, in their order, and
    /// none for another value, each in reach wherever the alternative admits the value.
    fn new(
        pack: &Stencils<'_>,
        form: FormId,
        alternative: usize,
        (row, stencil): (u32, &StencilRow),
        holes: &[Hole],
        values: [usize; N],
    ) -> Option<Self> {
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
        let code = pack.view.code.get(first..)?.get(..length)?;
        template.code.get_mut(..length)?.copy_from_slice(code);
        for (place, blank) in template.blanks.iter_mut().enumerate() {
            let value = values[place];
            let (domain, _) = pack.forms.domain(form, alternative, value)?;
            let mut own = holes
                .iter()
                .filter(|hole| hole.of_value() && usize::from(hole.source) == value);
            let before = values[..place].iter().filter(|other| **other == value);
            *blank = Blank::new::<BYTES>(domain, own.nth(before.count()))?;
            blank.value = place as u8;
        }
        // Plain holes lie apart. What has none goes first, where nothing is filled in yet.
        template
            .blanks
            .sort_by_key(|blank| (blank.mask != 0, blank.within));
        let filled = |blank: &&Blank| blank.mask != 0;
        let (found, filled) = (
            holes.iter().filter(|hole| hole.of_value()).count(),
            template.blanks.iter().filter(filled).count(),
        );
        (found == filled).then_some(template)
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
            let within = blank.within::<BYTES>();
            let bits = blank.fill(&self.code[within..within + 8], blank.of(values));
            room[within..within + 8].copy_from_slice(&bits);
        }
    }
}

/// A move of `N` values, ready.
pub(crate) type MoveTemplate<const N: usize> = Template<N, BYTES>;

/// A call of a function, ready: the callee's frame begins so many bytes behind the caller's, which is said before and taken back after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub template: Template<2, CALL_BYTES>,
    /// Where the function's place goes.
    pub aim: Hole,
}

/// Where stencils are looked up.
struct Stencils<'a> {
    view: &'a PackView<'a>,
    forms: &'a Forms,
}

impl<'a> Stencils<'a> {
    /// The stencil of that index of a form's alternative, with its row and its holes, if these lie apart.
    fn find(
        &self,
        form: FormId,
        alternative: usize,
        index: u32,
    ) -> Option<((u32, &'a StencilRow), &'a [Hole])> {
        let row = self.forms.domain(form, alternative, 0)?.1 + index;
        let stencil = self.view.stencils.get(row as usize)?;
        let holes = self.forms.holes_apart(stencil.holes.get())?;
        Some(((row, stencil), holes))
    }

    /// The moves of that index of a form's alternatives, narrowest first, up to the first that cannot be prepared: a value that is for
    /// that one must not get one of those behind it.
    fn moves<const N: usize>(
        &self,
        form: FormId,
        index: u32,
    ) -> impl Iterator<Item = MoveTemplate<N>> {
        let prepare = move |alternative| {
            let (row, holes) = self.find(form, alternative, index)?;
            let values = std::array::from_fn(|value| value);
            let template = Template::new(self, form, alternative, row, holes, values)?;
            holes.iter().all(Hole::of_value).then_some(template)
        };
        (0..).map_while(prepare).fuse()
    }

    /// The same for calls of functions.
    fn calls(&self, form: FormId) -> impl Iterator<Item = Call> {
        let prepare = move |alternative| {
            let (row, holes) = self.find(form, alternative, 0)?;
            let template = Template::new(self, form, alternative, row, holes, [0, 0])?;
            let mut others = holes.iter().filter(|hole| !hole.of_value());
            let aim = *others.next()?;
            let alone = others.next().is_none() && aim.of_word();
            let near = usize::from(aim.offset) < CALL_BYTES / 2;
            (alone && near).then_some(Call { template, aim })
        };
        (0..).map_while(prepare).fuse()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Templates {
    /// Short and long displacements, or [`MoveTemplate::NONE`].
    moves: Vec<[MoveTemplate<1>; ALTERNATIVES]>,
    /// Where the moves of each type and kind begin, one an index; [`ABSENT`] for those that a pack has not.
    first: [u32; ValueType::ALL.len() * KINDS.len()],
    /// For each type the stencils that write a constant to a slot.
    constants: [Vec<MoveTemplate<2>>; ValueType::ALL.len()],
    /// Calls of functions, narrowest first.
    calls: Vec<Call>,
}

/// Behind all moves.
const ABSENT: u32 = u32::MAX;

impl Templates {
    /// Looks up the moves of a pack, and calls of functions, which are of that form.
    pub fn new(
        view: &PackView<'_>,
        forms: &Forms,
        core: &Core,
        call: Option<FormId>,
        class_of: impl Fn(ValueType) -> Option<ClassInfo>,
    ) -> Self {
        let stencils = Stencils { view, forms };
        let mut all = Self {
            moves: Vec::new(),
            first: [ABSENT; _],
            constants: Default::default(),
            calls: call.map_or_else(Vec::new, |form| stencils.calls(form).collect()),
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
                    let mut templates = stencils.moves(form, index);
                    [(); ALTERNATIVES].map(|()| templates.next().unwrap_or(MoveTemplate::NONE))
                }));
            }
            if let Some(form) = constant_to_slot {
                all.constants[ty as usize] = stencils.moves(form, 0).collect();
            }
        }
        all
    }

    /// The prepared stencil for that index and value, if there is one.
    #[inline(always)]
    pub fn find(
        &self,
        ty: ValueType,
        kind: Kind,
        index: u32,
        value: i64,
    ) -> Option<&MoveTemplate<1>> {
        let at = self.first[list(ty, kind)] as usize + index as usize;
        let [short, long] = self.moves.get(at)?;
        if likely(short.admits([value])) {
            return Some(short);
        }
        long.admits([value]).then_some(long)
    }

    /// The prepared stencil that writes a constant to a slot of that offset, if there is one.
    #[inline]
    pub fn constant(&self, ty: ValueType, value: i64, offset: i64) -> Option<&MoveTemplate<2>> {
        let admits = |template: &&MoveTemplate<2>| template.admits([value, offset]);
        self.constants[ty as usize].iter().find(admits)
    }

    /// The prepared call of a function whose frame begins so many bytes behind the caller's, if there is one.
    #[inline(always)]
    pub fn call(&self, distance: i64) -> Option<&Call> {
        let admits = |call: &&Call| call.template.admits([distance; 2]);
        self.calls.iter().find(admits)
    }
}

fn list(ty: ValueType, kind: Kind) -> usize {
    ty as usize * KINDS.len() + kind as usize
}
