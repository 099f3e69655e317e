//! What the builder knows of variables, operands and registers at one point of a function.

use copatch_spec::types::ValueType;

use crate::pack::NONE;

/// Register classes an engine keeps track of.
pub(crate) const CLASSES: usize = 2;
/// Registers of a class it keeps track of.
pub(crate) const REGISTERS: usize = 16;

/// Where an operand of the stack is. Constants and variable reads are not materialised until they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A constant in canonical form.
    Const(i64),
    /// The present value of a variable; a write of the variable copies it first.
    Var(u32),
    /// A register that belongs to this operand.
    Reg(u8),
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

/// A variable: its home is the slot of its number; a register may hold a copy, or the only copy if `dirty`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Var {
    pub ty: ValueType,
    pub class: u8,
    /// The register that caches it, or [`NONE`].
    pub reg: u8,
    /// The register reserved for it in the present loop, or [`NONE`].
    pub pin: u8,
    /// Whether the slot is out of date.
    pub dirty: bool,
    /// Whether the variable is known to hold `value`; then it has no register.
    pub constant: bool,
    pub value: i64,
    /// Operands of the stack that are [`At::Var`] of it.
    pub reads: u32,
    pub last_use: u32,
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Free,
    Var(u32),
    /// The operand of that index.
    Temp(u32),
}

/// What a label expects in a register: a variable, and whether its slot may be out of date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Binding(u32);

impl Binding {
    pub const EMPTY: Self = Binding(u32::MAX);
    const DIRTY: u32 = 1 << 31;

    pub fn new(var: u32, dirty: bool) -> Self {
        Binding(var | if dirty { Self::DIRTY } else { 0 })
    }

    pub fn var(self) -> Option<u32> {
        (self != Self::EMPTY).then_some(self.0 & !Self::DIRTY)
    }

    pub fn dirty(self) -> bool {
        self.0 & Self::DIRTY != 0
    }
}

/// What a label expects: which variables are in which registers; all others are in their slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub bindings: [[Binding; REGISTERS]; CLASSES],
}

impl Layout {
    pub const EMPTY: Self = Layout {
        bindings: [[Binding::EMPTY; REGISTERS]; CLASSES],
    };
}

/// The registers of all classes.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    pub owner: [[Owner; REGISTERS]; CLASSES],
    /// How many registers each class has.
    pub count: [u8; CLASSES],
    /// Registers without an owner.
    pub free: [u16; CLASSES],
    /// Registers reserved for a variable by the present loop.
    pub pinned: [u16; CLASSES],
    /// Registers that the operation in hand reads.
    pub locked: [u16; CLASSES],
    /// Where the search for a victim goes on.
    pub next_victim: [u8; CLASSES],
}

impl Registers {
    pub const fn new() -> Self {
        Self {
            owner: [[Owner::Free; REGISTERS]; CLASSES],
            count: [0; CLASSES],
            free: [0; CLASSES],
            pinned: [0; CLASSES],
            locked: [0; CLASSES],
            next_victim: [0; CLASSES],
        }
    }

    /// All registers free.
    pub fn reset(&mut self) {
        for class in 0..CLASSES {
            self.owner[class] = [Owner::Free; REGISTERS];
            self.free[class] = ((1u32 << self.count[class]) - 1) as u16;
            self.pinned[class] = 0;
            self.locked[class] = 0;
        }
    }

    #[inline]
    pub fn own(&mut self, class: u8, reg: u8, owner: Owner) {
        let class = usize::from(class) & (CLASSES - 1);
        self.owner[class][usize::from(reg) & (REGISTERS - 1)] = owner;
        let bit = 1 << (reg & 15);
        if owner == Owner::Free {
            self.free[class] |= bit;
        } else {
            self.free[class] &= !bit;
        }
    }

    #[inline]
    pub fn owner(&self, class: u8, reg: u8) -> Owner {
        self.owner[usize::from(class) & (CLASSES - 1)][usize::from(reg) & (REGISTERS - 1)]
    }

    #[inline]
    pub fn lock(&mut self, class: u8, reg: u8) {
        self.locked[usize::from(class) & (CLASSES - 1)] |= 1 << (reg & 15);
    }

    #[inline]
    pub fn unlock_all(&mut self) {
        self.locked = [0; CLASSES];
    }

    /// A register that is free, not reserved and not in use.
    #[inline]
    pub fn available(&self, class: u8) -> Option<u8> {
        let class = usize::from(class) & (CLASSES - 1);
        let set = self.free[class] & !self.pinned[class] & !self.locked[class];
        (set != 0).then_some(set.trailing_zeros() as u8)
    }

    /// Whether a class has registers at all.
    #[inline]
    pub fn exist(&self, class: u8) -> bool {
        class != NONE && self.count[usize::from(class) & (CLASSES - 1)] != 0
    }
}
