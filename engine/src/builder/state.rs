//! What the builder knows of variables, operands and registers at one point of a function.

use copatch_spec::types::ValueType;

use crate::pack;

/// Register classes an engine keeps track of.
pub(crate) const CLASSES: usize = 2;
/// Registers of a class it keeps track of.
pub(crate) const REGISTERS: usize = 16;

/// A value register: its class and its number within the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reg(u8);

impl Reg {
    /// No register. Its bit belongs to no class, so that it may be put into sets without looking.
    pub const NONE: Self = Reg(63);

    #[inline]
    pub fn new(class: u8, number: u8) -> Self {
        Reg(class << 4 | number)
    }

    #[inline]
    pub fn class(self) -> u8 {
        self.0 >> 4
    }

    /// Its number within the class, as a stencil record's index counts it.
    #[inline]
    pub fn number(self) -> u32 {
        u32::from(self.0 & 15)
    }

    /// Its bit in a set of registers.
    #[inline]
    pub fn bit(self) -> RegSet {
        1 << (self.0 & 63)
    }
}

/// A set of registers, as bits of [`Reg::bit`].
pub(crate) type RegSet = u64;

/// The registers in a set, in ascending order.
#[inline]
pub(crate) fn each(mut set: RegSet) -> impl Iterator<Item = Reg> {
    std::iter::from_fn(move || {
        let reg = first(set);
        set &= set.wrapping_sub(1);
        reg
    })
}

/// The first of a set of registers.
#[inline]
pub(crate) fn first(set: RegSet) -> Option<Reg> {
    (set != 0).then(|| Reg(set.trailing_zeros() as u8))
}

/// Where an operand of the stack is. Constants and variable reads are not materialised until they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A constant in canonical form.
    Const(i64),
    /// The present value of a variable; a write of the variable copies it first.
    Var(u32),
    /// A register that belongs to this operand.
    Reg(Reg),
    /// The operand's own slot.
    Slot,
    /// The result of the operation that is not emitted yet; only the top operand can be.
    Pending,
}

/// An operand of the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub ty: ValueType,
    pub at: At,
}

/// A variable: its home is the slot of its number; a register may hold a copy, or the only copy if that is dirty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Var {
    pub ty: ValueType,
    pub class: u8,
    /// The register that caches it, or [`Reg::NONE`].
    pub reg: Reg,
    /// The register reserved for it in the present loop, or [`Reg::NONE`].
    pub pin: Reg,
    /// Whether the slot of a constant is out of date; for a variable in a register [`Registers::dirty`] says it. As long as it is
    /// set the variable is among those constants, once, that are not known to be clean.
    pub stale: bool,
    /// Whether the variable is known to hold `value`; then it has no register.
    pub constant: bool,
    pub value: i64,
    /// Operands of the stack that are [`At::Var`] of it.
    pub reads: u32,
    pub last_use: u32,
}

impl Var {
    /// The register that a new value of it goes to, if it has one or one is reserved for it; else [`Reg::NONE`].
    #[inline]
    pub fn wanted(&self) -> Reg {
        if self.pin == Reg::NONE {
            self.reg
        } else {
            self.pin
        }
    }

    /// Whether its value may still be read from `pos` on.
    #[inline]
    pub fn live(&self, pos: u32) -> bool {
        // At its last position the read itself is still to come when what precedes it is emitted.
        self.reads > 0 || self.last_use >= pos
    }
}

/// What holds each register: the number of a variable, or of an operand. Numbers are small enough that a function's frame
/// could not hold as many; `finish` sees to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holders([u16; CLASSES * REGISTERS]);

impl Holders {
    #[inline]
    fn get(&self, reg: Reg) -> u32 {
        u32::from(self.0[usize::from(reg.0) & (CLASSES * REGISTERS - 1)])
    }

    #[inline]
    fn set(&mut self, reg: Reg, holder: u32) {
        self.0[usize::from(reg.0) & (CLASSES * REGISTERS - 1)] = holder as u16;
    }

    /// Those registers of a set, of which there are few, that have the same holder in both.
    #[inline]
    fn same(&self, other: &Self, within: RegSet) -> RegSet {
        let mut set = 0;
        for reg in each(within) {
            let same = self.get(reg) == other.get(reg);
            set |= if same { reg.bit() } else { 0 };
        }
        set
    }
}

/// What a label expects: which variables are in which registers, and which of their slots may be out of date; all other
/// variables are in their slots. In the order of [`Registers`], for the same reason.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Layout {
    /// Registers that hold variables.
    pub bound: RegSet,
    holders: Holders,
    /// Those whose variable's slot may be out of date.
    pub dirty: RegSet,
}

impl Layout {
    /// The variable in a register that holds one.
    #[inline]
    pub fn holder(&self, reg: Reg) -> u32 {
        self.holders.get(reg)
    }

    /// The registers that hold the same variables in both.
    pub fn same(&self, other: &Self) -> RegSet {
        self.holders.same(&other.holders, self.bound & other.bound)
    }
}

/// What holds a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Free,
    Var(u32),
    /// The operand of that index.
    Temp(u32),
}

/// The registers of all classes.
///
/// Sets that are changed together do not lie side by side: two of them in one vector would be read together when one of them was
/// just written, which a processor does not do before that is in its cache.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Registers {
    /// Registers without an owner.
    pub free: RegSet,
    /// Registers reserved for a variable by the present loop.
    pub pinned: RegSet,
    /// Registers that hold variables.
    pub vars: RegSet,
    /// Registers that the operation in hand reads.
    pub locked: RegSet,
    /// Those of the ones that hold variables whose variable's slot is out of date.
    pub dirty: RegSet,
    /// How many registers each class has.
    count: [u8; CLASSES],
    /// The registers of each class.
    class: [RegSet; CLASSES],
    /// Of no meaning for free registers.
    holders: Holders,
    /// Where the search for a victim goes on.
    pub next_victim: [u8; CLASSES],
}

impl Registers {
    pub const fn new(count: [u8; CLASSES]) -> Self {
        Self {
            holders: Holders([0; CLASSES * REGISTERS]),
            count,
            class: [(1 << count[0]) - 1, ((1 << count[1]) - 1) << REGISTERS],
            free: 0,
            vars: 0,
            dirty: 0,
            pinned: 0,
            locked: 0,
            next_victim: [0; CLASSES],
        }
    }

    /// The registers that hold something.
    pub fn held(&self) -> RegSet {
        (self.class[0] | self.class[1]) & !self.free
    }

    /// All registers free, none reserved.
    pub fn reset(&mut self) {
        self.free_all();
        self.pinned = 0;
        self.locked = 0;
        // So that code depends on nothing but its own function.
        self.next_victim = [0; CLASSES];
    }

    /// What variables are in registers now.
    #[inline]
    pub fn layout(&self) -> Layout {
        Layout {
            bound: self.vars,
            dirty: self.dirty,
            holders: self.holders,
        }
    }

    /// The registers that hold the variables that a layout has in them.
    #[inline]
    pub fn matching(&self, layout: &Layout) -> RegSet {
        self.holders.same(&layout.holders, layout.bound & self.vars)
    }

    /// Holds what a label expects and nothing else.
    #[inline]
    pub fn take_on(&mut self, layout: &Layout) {
        self.holders = layout.holders;
        self.free = (self.class[0] | self.class[1]) & !layout.bound;
        self.vars = layout.bound;
        self.dirty = layout.dirty;
        self.locked = 0;
    }

    /// All registers free.
    pub fn free_all(&mut self) {
        self.free = self.class[0] | self.class[1];
        self.vars = 0;
        self.dirty = 0;
    }

    /// The registers of a class.
    #[inline]
    pub fn of_class(&self, class: u8) -> RegSet {
        self.class[usize::from(class) & (CLASSES - 1)]
    }

    /// How many registers a class has.
    #[inline]
    pub fn count(&self, class: u8) -> u8 {
        self.count[usize::from(class) & (CLASSES - 1)]
    }

    /// A register holds a variable, whose slot is out of date or not.
    #[inline]
    pub fn give_var(&mut self, reg: Reg, var: u32, dirty: bool) {
        self.holders.set(reg, var);
        self.free &= !reg.bit();
        self.vars |= reg.bit();
        self.dirty = self.dirty & !reg.bit() | if dirty { reg.bit() } else { 0 };
    }

    #[inline]
    pub fn release(&mut self, set: RegSet) {
        self.free |= set;
        self.vars &= !set;
        self.dirty &= !set;
    }

    /// Registers that operands held, and no variables.
    #[inline]
    pub fn release_temps(&mut self, set: RegSet) {
        debug_assert_eq!(set & self.vars, 0);
        self.free |= set;
    }

    /// A free register holds an operand.
    #[inline]
    pub fn give_temp(&mut self, reg: Reg, operand: usize) {
        debug_assert_ne!(self.free & reg.bit(), 0);
        self.holders.set(reg, operand as u32);
        self.free &= !reg.bit();
    }

    /// The variable's slot is up to date.
    #[inline]
    pub fn cleaned(&mut self, reg: Reg) {
        self.dirty &= !reg.bit();
    }

    #[inline]
    pub fn owner(&self, reg: Reg) -> Owner {
        let holder = self.holder(reg);
        if self.free & reg.bit() != 0 {
            Owner::Free
        } else if self.vars & reg.bit() != 0 {
            Owner::Var(holder)
        } else {
            Owner::Temp(holder)
        }
    }

    /// The variable in a register that holds one.
    #[inline]
    pub fn holder(&self, reg: Reg) -> u32 {
        self.holders.get(reg)
    }

    #[inline]
    pub fn lock(&mut self, reg: Reg) {
        self.locked |= reg.bit();
    }

    #[inline]
    pub fn unlock_all(&mut self) {
        self.locked = 0;
    }

    /// A register that is free, not reserved and not in use.
    #[inline]
    pub fn available(&self, class: u8) -> Option<Reg> {
        first(self.free & !self.pinned & !self.locked & self.of_class(class))
    }

    /// Whether a register is free and not in use.
    #[inline]
    pub fn is_free(&self, reg: Reg) -> bool {
        self.free & !self.locked & reg.bit() != 0
    }

    /// How many registers could be had beside `but`: what is neither reserved nor read by the operation in hand.
    #[inline]
    pub fn room(&self, class: u8, but: Reg) -> u32 {
        if !self.exist(class) {
            return 0;
        }
        let set = self.of_class(class) & !self.pinned & !self.locked & !but.bit();
        set.count_ones()
    }

    /// Whether a class has registers at all.
    #[inline]
    pub fn exist(&self, class: u8) -> bool {
        class != pack::NONE && self.count[usize::from(class) & (CLASSES - 1)] != 0
    }

    /// How many registers a class has, as a factor of a record's index.
    #[inline]
    pub fn radix(&self, class: u8) -> u32 {
        u32::from(self.count[usize::from(class) & (CLASSES - 1)])
    }
}
