//! The operation whose operands are in place but which is not emitted yet, and how it ends: into a register, into a
//! variable, as a branch.

use copatch_spec::isa::Shape;
use copatch_spec::types::ValueType;
use copatch_spec::variants::{FormKey, Outcome};

use super::moves::From;
use super::ops::OPERANDS;
use super::state::{At, Owner, Reg, RegSet, first};
use super::{FunctionBuilder, Mode};
use crate::buffer::{Emit, Label, Target};
use crate::forms::FormId;
use crate::hint::{unlikely, usual};
use crate::pack::{Emission, NONE, OpId, OpInfo};

/// A form that can take the values at hand, which are in the builder's `values`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub op: OpId,
    pub key: FormKey,
    pub form: FormId,
    /// The first record of the alternative that admits the values.
    pub stencils: u32,
}

/// An operation whose operands are in place but which is not emitted yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(super) choice: Choice,
    /// The operands' part of the record's index.
    pub(super) index: u32,
    /// Registers of the operands that lie in registers, in order.
    pub(super) regs: [Reg; OPERANDS],
    pub(super) count: u8,
    /// Registers that the operation frees.
    pub(super) dying: RegSet,
    /// The front end's offset.
    pub(super) source: u32,
    pub(super) emission: Emission,
}

impl Pending {
    pub const NOTHING: Self = Self {
        choice: Choice {
            op: OpId(0),
            key: FormKey::registers(),
            form: 0,
            stencils: 0,
        },
        index: 0,
        regs: [Reg::NONE; OPERANDS],
        count: 0,
        dying: 0,
        source: 0,
        emission: Emission {
            class: NONE,
            tie: NONE,
            fault: NONE,
            negated: false,
        },
    };

    /// An operation of which no operand shares the result's register; the operands' registers are not listed then.
    #[inline(always)]
    pub(super) fn hold(
        &mut self,
        info: &OpInfo,
        choice: Choice,
        index: u32,
        dying: RegSet,
        source: u32,
    ) {
        self.choice = choice;
        self.index = index;
        self.dying = dying;
        self.source = source;
        self.emission = info.emission;
    }

    fn regs(&self) -> &[Reg] {
        &self.regs[..usize::from(self.count).min(OPERANDS)]
    }
}

/// What a branch depends on.
pub(crate) enum Condition {
    /// Known when the code is generated.
    Known(bool),
    /// The pending operation, which branches.
    Test(Branches),
}

/// The two branches on a pending operation, to where its result is not zero and to where it is.
#[derive(Clone, Copy)]
pub(crate) struct Branches {
    forms: [FormId; 2],
    stencils: [u32; 2],
}

impl Branches {
    /// Both branches of an operation with everything in registers and no values, if it has them.
    #[inline(always)]
    pub(super) fn plain(info: &OpInfo) -> Option<Self> {
        let when = info.forms.plain(Outcome::BranchTrue)?;
        let unless = info.forms.plain(Outcome::BranchFalse)?;
        Some(Self {
            forms: [when.0, unless.0],
            stencils: [when.1, unless.1],
        })
    }
}

impl FunctionBuilder<'_, '_> {
    /// Emits the pending operation, which has no result in a register.
    #[inline(never)]
    pub(super) fn emit_effect(&mut self) {
        self.emit_pending(Reg::NONE);
    }

    /// [`Self::emit_effect`] of a usual operation, whose stencil has so many values at least.
    #[inline(always)]
    pub(super) fn emit_usual_effect(&mut self, values: usize) {
        let row = self.row(Reg::NONE);
        self.release();
        if values > 1 {
            self.emit_other(row);
        } else {
            self.emit_record(row);
        }
    }

    /// Emits the pending operation, if there is one, into a register of the builder's choice.
    #[inline]
    pub(super) fn flush(&mut self) {
        if unlikely(self.mode == Mode::Waiting) {
            self.flush_top();
        }
    }

    /// Emits the pending operation into a register of the builder's choice, which the top operand then is.
    #[inline(never)]
    pub(super) fn flush_top(&mut self) {
        let Some(top) = self.stack.len().checked_sub(1) else {
            return;
        };
        let Some(reg) = usual(self.quick_register()) else {
            return self.flush_any(top);
        };
        self.mode = Mode::Ready;
        let row = self.row(reg);
        self.release();
        self.hold(reg, top);
        self.emit_record(row);
    }

    /// [`Self::flush_top`] where a register is to be made free, or the operation is an unusual one.
    #[inline(never)]
    fn flush_any(&mut self, top: usize) {
        let reg = self.emit_result(Reg::NONE);
        self.hold(reg, top);
    }

    /// The operand of that index is in a register now.
    #[inline(always)]
    pub(super) fn hold(&mut self, reg: Reg, index: usize) {
        self.registers.give_temp(reg, index);
        self.stack[index].at = At::Reg(reg);
    }

    /// The register for the result of a [`Self::usual`] operation that nothing else decides, if none has to be made free for it.
    #[inline(always)]
    pub(super) fn quick_register(&self) -> Option<Reg> {
        let class = self.pending.emission.class;
        self.usual().then(|| self.free_register(class)).flatten()
    }

    /// The register of an operand that dies, else one that nothing uses.
    #[inline(always)]
    fn free_register(&self, class: u8) -> Option<Reg> {
        let dying = first(self.pending.dying & self.registers.of_class(class));
        dying.or_else(|| self.registers.available(class))
    }

    /// Whether the pending operation is emitted as it is and shares no register.
    #[inline(always)]
    pub(super) fn usual(&self) -> bool {
        let emission = self.pending.emission;
        emission.tie == NONE && !emission.negated
    }

    /// Emits the pending operation, a [`Self::usual`] one whose result is the top operand, into the variable that holds this register
    /// or will.
    #[inline(always)]
    pub(super) fn emit_into(&mut self, var: u32, reg: Reg) {
        self.mode = Mode::Ready;
        let row = self.row(reg);
        self.release();
        self.stack.pop();
        self.unsettle(self.stack.len());
        self.bind(var, reg, true);
        self.emit_record(row);
    }

    /// The record of the pending operation, which shares no register, for this register of its result, if it has one.
    #[inline(always)]
    fn row(&self, result: Reg) -> u32 {
        let mut index = self.pending.index;
        if result != Reg::NONE {
            index = index * self.registers.radix(self.pending.emission.class) + result.number();
        }
        self.pending.choice.stencils + index
    }

    /// Emits the pending operation, whose result is the top operand, into a register that nothing holds yet.
    #[inline(never)]
    pub(super) fn emit_result(&mut self, wanted: Reg) -> Reg {
        self.mode = Mode::Ready;
        let Some(ty) = self.stack.last().map(|operand| operand.ty) else {
            return Reg::NONE;
        };
        if self.pending.emission.negated {
            self.negate(ty);
        }
        let reg = if wanted == Reg::NONE {
            self.result_register(self.class_of(ty))
        } else {
            wanted
        };
        self.emit_pending(reg);
        reg
    }

    /// The comparison is wanted as a value after all: its result goes through the operation that negates, which then is
    /// the pending one.
    #[cold]
    fn negate(&mut self, ty: ValueType) {
        self.pending.emission.negated = false;
        self.flush_top();
        let not = self.not_op;
        if self.prepare(not, self.info(not), &[]) {
            self.push(ty, At::Pending);
        }
    }

    /// The register for a result that nothing else decides: that of an operand which dies, else a new one.
    #[inline]
    fn result_register(&mut self, class: u8) -> Reg {
        if self.pending.emission.tie != NONE {
            return self.tied_register(class);
        }
        self.free_register(class)
            .unwrap_or_else(|| self.allocate(class))
    }

    fn tied_register(&mut self, class: u8) -> Reg {
        let reg = self.pending.regs[usize::from(self.pending.emission.tie) & (OPERANDS - 1)];
        if self.pending.dying & reg.bit() != 0 {
            return reg;
        }
        // With three operands in registers there may be none left: the result takes the register of the variable
        // that it is tied to, which goes back to its slot.
        match (self.registers.available(class), self.registers.owner(reg)) {
            (None, Owner::Var(var)) if self.vars[var as usize].pin != reg => {
                self.vacate(reg, None);
                reg
            }
            _ => self.allocate(class),
        }
    }

    /// Emits the pending operation, whose result (if it is not to be branched on) goes to a register, and frees what it
    /// used up.
    #[inline(always)]
    fn emit_pending(&mut self, result: Reg) {
        if unlikely(self.pending.emission.tie != NONE) {
            return self.emit_tied(result);
        }
        let row = self.row(result);
        self.release();
        self.emit_record(row);
    }

    /// Emits an operation whose result shares a register with an operand.
    #[inline(never)]
    fn emit_tied(&mut self, wanted: Reg) {
        let tie = usize::from(self.pending.emission.tie) & (OPERANDS - 1);
        let choice = self.pending.choice;
        let info = self.info(choice.op);
        let ty = info.operands[usize::from(info.tie) & (OPERANDS - 1)];
        let source = self.pending.regs[tie];
        let mut shared = source;
        if wanted != Reg::NONE && wanted != source {
            let clash = self
                .pending
                .regs()
                .iter()
                .enumerate()
                .any(|(index, reg)| index != tie && *reg == wanted);
            shared = if clash {
                // The result's register is still read as another operand: work elsewhere, then copy.
                self.registers.lock(wanted);
                self.result_register(wanted.class())
            } else {
                wanted
            };
            self.move_to_reg(ty, shared, From::Reg(source));
            self.pending.regs[tie] = shared;
        }
        let index = self.pending.regs().iter().fold(0, |index, reg| {
            index * self.registers.radix(reg.class()) + reg.number()
        });
        self.emit_record(choice.stencils + index);
        self.release();
        if wanted != Reg::NONE && shared != wanted {
            self.move_to_reg(ty, wanted, From::Reg(shared));
        }
    }

    /// Frees the registers that the emitted operation used up.
    #[inline]
    fn release(&mut self) {
        self.registers.unlock_all();
        self.registers.release_temps(self.pending.dying);
    }

    /// Appends a stencil of the pending operation's form, which branches nowhere. One piece of code for all who emit: the
    /// builder's, which runs from end to end for each operation, has to stay in a processor's 32 KiB of instructions, which
    /// is worth more than the calls.
    #[inline(never)]
    fn emit_record(&mut self, row: u32) {
        let unit = &mut *self.unit;
        let start = unit.buffer.len();
        let memory = unit.space.bytes_mut();
        if unlikely(unit.buffer.emit_simple(memory, row, &self.values).is_none()) {
            return self.emit_other(row);
        }
        let (kind, source) = (self.pending.emission.fault, self.pending.source);
        if kind != NONE {
            unit.buffer.site(start, kind, source);
        }
    }

    /// [`Self::emit_record`] of a stencil with more holes, or where there is little room.
    #[inline(never)]
    fn emit_other(&mut self, row: u32) {
        let unit = &mut *self.unit;
        let start = unit.buffer.len();
        let memory = unit.space.bytes_mut();
        if unit.buffer.emit_pair(memory, row, &self.values).is_none() {
            return self.emit_to(self.pending.choice.form, row, Target::None);
        }
        let (kind, source) = (self.pending.emission.fault, self.pending.source);
        if kind != NONE {
            unit.buffer.site(start, kind, source);
        }
    }

    /// Appends any stencil.
    #[inline(never)]
    fn emit_to(&mut self, form: FormId, row: u32, target: Target) {
        let emit = Emit {
            row,
            form,
            target,
            source: self.pending.source,
        };
        let start = self.unit.buffer.len();
        self.unit
            .buffer
            .emit(self.unit.space.bytes_mut(), emit, &self.values);
        if self.pending.emission.fault != NONE {
            let (kind, source) = (self.pending.emission.fault, self.pending.source);
            self.unit.buffer.site(start, kind, source);
        }
    }

    /// Takes the top operand as a condition: a comparison that fuses with a branch, or a test of its value.
    #[inline(always)]
    pub(super) fn take_condition(&mut self) -> Option<Condition> {
        if self.mode == Mode::Waiting
            && self.stack.len() > self.floor
            && let Some(branches) = self.branches()
        {
            self.mode = Mode::Ready;
            self.stack.pop();
            self.unsettle(self.stack.len());
            return Some(Condition::Test(branches));
        }
        self.flush();
        if let Some(At::Const(value)) = self.stack.last().map(|operand| operand.at) {
            self.pop();
            return Some(Condition::Known(value != 0));
        }
        if let Some(branches) = self.test_register() {
            return Some(Condition::Test(branches));
        }
        let op = self.pack.core().br_if;
        if !self.prepare(op, self.info(op), &[]) {
            return None;
        }
        match self.branches() {
            Some(branches) => Some(Condition::Test(branches)),
            None => {
                self.misuse("no branch on a condition in this place");
                None
            }
        }
    }

    /// The usual case of [`Self::take_condition`] for a value: both branches on what is in a register.
    #[inline(always)]
    fn test_register(&mut self) -> Option<Branches> {
        let branches = self.tests?;
        let [below @ .., top] = self.stack.as_slice() else {
            return None;
        };
        let (bottom, at) = (below.len(), top.at);
        let (reg, dying) = match at {
            At::Reg(reg) => (reg, reg.bit()),
            At::Var(var) => (self.vars[var as usize].reg, 0),
            _ => return None,
        };
        if bottom < self.floor || reg == Reg::NONE {
            return None;
        }
        if let At::Var(var) = at {
            self.vars[var as usize].reads -= 1;
        }
        self.stack.truncate(bottom);
        self.unsettle(bottom);
        self.registers.lock(reg);
        let emission = self.info(self.pack.core().br_if).emission;
        let pending = &mut self.pending;
        (pending.index, pending.dying) = (reg.number(), dying);
        (pending.source, pending.emission) = (self.pos, emission);
        Some(branches)
    }

    /// Both branches on the pending operation, if it has them and they admit its values.
    #[inline]
    fn branches(&self) -> Option<Branches> {
        let choice = &self.pending.choice;
        let info = self.info(choice.op);
        if !info.branch && info.shape != Shape::Branch {
            return None;
        }
        let forms = self.forms;
        if choice.key == FormKey::registers()
            && let Some(branches) = Branches::plain(info)
        {
            return Some(branches);
        }
        let find = |outcome| {
            let form = forms.find(&info.forms, choice.key.with_outcome(outcome))?;
            Some((form, forms.admit(form, &self.values)?))
        };
        let (when, unless) = (find(Outcome::BranchTrue)?, find(Outcome::BranchFalse)?);
        Some(Branches {
            forms: [when.0, unless.0],
            stencils: [when.1, unless.1],
        })
    }

    /// Emits a branch to `label` if the condition is what `when` says.
    #[inline]
    pub(super) fn emit_branch(&mut self, branches: &Branches, when: bool, label: Label) {
        let which = usize::from(when == self.pending.emission.negated);
        let row = branches.stencils[which] + self.pending.index;
        self.release();
        self.emit_branch_to(branches.forms[which], row, label);
    }

    /// Appends a stencil that branches to a label and has no result.
    #[inline(never)]
    pub(super) fn emit_branch_to(&mut self, form: FormId, row: u32, label: Label) {
        let unit = &mut *self.unit;
        let memory = unit.space.bytes_mut();
        if self.pending.emission.fault != NONE
            || unit.buffer.emit_branch(memory, row, label).is_none()
        {
            self.emit_other_branch(form, row, label);
        }
    }

    /// [`Self::emit_branch_to`] of a stencil with more holes.
    #[inline(never)]
    fn emit_other_branch(&mut self, form: FormId, row: u32, label: Label) {
        let unit = &mut *self.unit;
        let memory = unit.space.bytes_mut();
        if self.pending.emission.fault != NONE
            || unit
                .buffer
                .emit_value_branch(memory, row, &self.values, label)
                .is_none()
        {
            self.emit_to(form, row, Target::Label(label));
        }
    }

    /// Emits the pending operation that jumps through the table of the entries from `first` on.
    pub(super) fn emit_table(&mut self, first: u32) {
        let choice = self.pending.choice;
        let row = choice.stencils + self.pending.index;
        self.release();
        self.emit_to(choice.form, row, Target::Table(first));
    }
}
