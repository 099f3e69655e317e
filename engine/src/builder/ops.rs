//! Operations: which form, which registers, and when.
//!
//! An operation with a result is not emitted at once but kept [`Pending`]: the next call knows where the result goes
//! (a variable's own register, say), or fuses a comparison with its branch.

use copatch_spec::isa::Shape;
use copatch_spec::types::{Place, ValueType};
use copatch_spec::variants::{FormKey, Outcome};

use super::FunctionBuilder;
use super::moves::From;
use super::state::{At, CLASSES, Operand, Owner};
use crate::buffer::{Emit, Label, Target};
use crate::pack::{NONE, OpId, OpInfo, find_form};

/// An operation whose operands are in place but which is not emitted yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub op: OpId,
    pub key: FormKey,
    /// The form of that key, and the first record of the alternative that admits the values.
    form: u32,
    stencils: u32,
    /// Registers of the operands that lie in registers, in order, each with its class.
    regs: [(u8, u8); 4],
    reg_count: u8,
    /// Registers that the operation frees, by class.
    dying: [u16; CLASSES],
    /// Which of `regs` the result shares a register with, or [`NONE`].
    tie: u8,
    /// The front end's offset.
    pub source: u32,
    /// Whether the condition is wanted the other way round.
    pub negated: bool,
}

/// A form that can take the values at hand, which are in the builder's `values`.
#[derive(Clone, Copy)]
struct Choice {
    op: OpId,
    key: FormKey,
    form: u32,
    stencils: u32,
}

impl FunctionBuilder<'_, '_> {
    /// Pops the operands of an operation without immediates and pushes its result.
    #[inline]
    pub fn op(&mut self, op: OpId) {
        self.op_imm(op, &[]);
    }

    /// Pops the operands of an operation and pushes its result; `immediates` are the operation's own.
    #[inline]
    pub fn op_imm(&mut self, op: OpId, immediates: &[i64]) {
        if self.dead {
            return;
        }
        self.flush();
        let info = self.pack.info(op);
        if info.shape != Shape::Next || usize::from(info.immediates) != immediates.len() {
            return self
                .misuse("not an operation that computes, or the wrong number of immediates");
        }
        let Some(pending) = self.prepare(op, info, immediates) else {
            return;
        };
        match info.result {
            Some(ty) if self.registers.exist(self.pack.class_of(ty)) => {
                self.pending = Some(pending);
                self.push(ty, At::Pending);
            }
            Some(ty) => {
                self.emit_pending(&pending, None, Outcome::Plain, Target::None, (0, 0));
                self.push(ty, At::Slot);
            }
            None => self.emit_pending(&pending, None, Outcome::Plain, Target::None, (0, 0)),
        }
    }

    /// Pops an i32 condition and pushes whether it is zero. `op` is the operation that computes it; a comparison that
    /// is only branched on is turned round instead.
    #[inline]
    pub fn not(&mut self, op: OpId) {
        if self.dead {
            return;
        }
        match &mut self.pending {
            Some(pending) if self.pack.info(pending.op).branch => {
                pending.negated = !pending.negated
            }
            _ => self.op_imm(op, &[]),
        }
        self.not_op = op;
    }

    /// Pops a condition and two values and pushes the first value if the condition is not zero, else the second.
    pub fn select(&mut self, ty: ValueType) {
        match self.pack.core().selects[ty as usize] {
            Some(op) => self.op_imm(op, &[]),
            None => self.misuse("the pack cannot select values of this type"),
        }
    }

    /// Pops the operands, chooses a form and brings the operands where the form wants them.
    #[inline]
    pub(super) fn prepare(
        &mut self,
        op: OpId,
        info: &OpInfo,
        immediates: &[i64],
    ) -> Option<Pending> {
        self.operations += 1;
        let count = usize::from(info.operand_count) & 7;
        let mut operands = [Operand {
            ty: ValueType::I64,
            at: At::Const(0),
        }; 4];
        for index in (0..count.min(4)).rev() {
            let operand = self.pop();
            operands[index] = operand;
            // Operands in registers stay there until the operation is emitted.
            match operand.at {
                At::Reg(reg) => self.registers.lock(self.pack.class_of(operand.ty), reg),
                At::Var(var) => {
                    let state = &self.vars[var as usize];
                    if state.reg != NONE {
                        self.registers.lock(state.class, state.reg);
                    }
                }
                _ => {}
            }
        }
        let choice = self.choose(op, info, &mut operands, immediates)?;
        let mut pending = Pending {
            op: choice.op,
            key: choice.key,
            form: choice.form,
            stencils: choice.stencils,
            regs: [(0, 0); 4],
            reg_count: 0,
            dying: [0; CLASSES],
            tie: NONE,
            source: self.pos,
            negated: false,
        };
        for (index, operand) in operands[..count].iter().enumerate() {
            if choice.key.operand(index) != Some(Place::Register) {
                continue;
            }
            let class = self.pack.class_of(operand.ty);
            let (reg, dying) = match operand.at {
                At::Reg(reg) => (reg, true),
                At::Var(var) => (self.register_of_var(var), false),
                At::Const(value) => {
                    let reg = self.allocate(class);
                    self.move_to_reg(operand.ty, reg, From::Const(value));
                    (reg, true)
                }
                At::Slot | At::Pending => {
                    let slot = self.popped_slot(index);
                    let reg = self.allocate(class);
                    self.move_to_reg(operand.ty, reg, From::Slot(slot));
                    (reg, true)
                }
            };
            self.registers.lock(class, reg);
            if dying {
                self.registers.own(class, reg, Owner::Temp(u32::MAX));
                pending.dying[usize::from(class) & (CLASSES - 1)] |= 1 << reg;
            }
            if usize::from(info.tie) == index {
                pending.tie = pending.reg_count;
            }
            pending.regs[usize::from(pending.reg_count) & 3] = (class, reg);
            pending.reg_count += 1;
        }
        Some(pending)
    }

    /// The slot of an operand that was popped as number `index` of the operation in hand.
    fn popped_slot(&self, index: usize) -> u32 {
        self.operand_slot(self.stack.len() + index)
    }

    /// The best form for the operands: a constant as an immediate if one admits it, a value that is read for the last
    /// time straight from its slot, everything else in registers. Exchanges operands where that makes one fit.
    #[inline]
    fn choose(
        &mut self,
        op: OpId,
        info: &OpInfo,
        operands: &mut [Operand; 4],
        immediates: &[i64],
    ) -> Option<Choice> {
        let count = usize::from(info.operand_count) & 7;
        let mut base = FormKey::registers();
        let mut constant = None;
        let mut slot = None;
        for (index, operand) in operands[..count].iter().enumerate() {
            match operand.at {
                At::Const(_) => constant = Some(index),
                At::Slot => slot = Some(index),
                At::Var(var) => {
                    let state = &self.vars[var as usize];
                    if state.reg == NONE && state.pin == NONE && !self.live(var) {
                        slot = Some(index);
                    }
                }
                _ => {}
            }
            if !self.registers.exist(self.pack.class_of(operand.ty)) {
                base = base.with_operand(index, Place::Slot);
            }
        }
        if let Some(result) = info.result
            && !self.registers.exist(self.pack.class_of(result))
        {
            base = base.with_result_slot();
        }
        if let Some(index) = constant {
            let key = base.with_operand(index, Place::Immediate);
            let choice = self.admit(op, info, key, operands, immediates);
            if choice.is_some() {
                return choice;
            }
            let swap = if info.commutative {
                Some(op)
            } else {
                info.swap
            };
            // Slots of popped operands go by position, so an operand in its slot cannot change its place.
            if let Some(swap) = swap
                && index == 0
                && count == 2
                && operands[1].at != At::Slot
            {
                operands.swap(0, 1);
                let key = base
                    .with_operand(0, Place::Register)
                    .with_operand(1, Place::Immediate);
                let choice = self.admit(swap, self.pack.info(swap), key, operands, immediates);
                if choice.is_some() {
                    return choice;
                }
                operands.swap(0, 1);
            }
        }
        if let Some(index) = slot {
            let key = base.with_operand(index, Place::Slot);
            let choice = self.admit(op, info, key, operands, immediates);
            if choice.is_some() {
                return choice;
            }
        }
        let choice = self.admit(op, info, base, operands, immediates);
        if choice.is_none() {
            self.misuse("no form of the operation takes these operands and immediates");
        }
        choice
    }

    /// The choice of the form with that key, if the operation has it and it admits the values.
    #[inline]
    fn admit(
        &mut self,
        op: OpId,
        info: &OpInfo,
        key: FormKey,
        operands: &[Operand; 4],
        immediates: &[i64],
    ) -> Option<Choice> {
        let lookup = if info.shape == Shape::Branch {
            key.with_outcome(Outcome::BranchTrue)
        } else {
            key
        };
        let form = find_form(self.unit.buffer.view().forms, info, lookup)?;
        let mut filled = 0;
        if key != FormKey::registers() {
            let count = usize::from(info.operand_count) & 7;
            for (index, operand) in operands[..count].iter().enumerate() {
                let value = match (key.operand(index), operand.at) {
                    (Some(Place::Register), _) => continue,
                    (Some(Place::Immediate), At::Const(value)) => value,
                    (Some(Place::Slot), At::Var(var)) if !self.vars[var as usize].dirty => {
                        self.slot_offset(var)
                    }
                    (Some(Place::Slot), At::Slot) => self.slot_offset(self.popped_slot(index)),
                    (Some(Place::Slot), At::Const(value)) => {
                        // Only where the class has no registers: the constant goes to the operand's slot first.
                        let slot = self.popped_slot(index);
                        self.store_const(operand.ty, slot, value);
                        self.slot_offset(slot)
                    }
                    _ => return None,
                };
                self.set_value(&mut filled, value);
            }
        }
        for value in immediates {
            self.set_value(&mut filled, *value);
        }
        if key.result_slot() {
            let offset = self.slot_offset(self.operand_slot(self.stack.len()));
            self.set_value(&mut filled, offset);
        }
        let row = self.unit.buffer.view().forms.get(form)?;
        let stencils = self
            .unit
            .buffer
            .alternative(row, &self.values)?
            .stencils
            .get();
        Some(Choice {
            op,
            key,
            form: form as u32,
            stencils,
        })
    }

    #[inline]
    fn set_value(&mut self, filled: &mut usize, value: i64) {
        if let Some(place) = self.values.get_mut(*filled) {
            *place = value;
            *filled += 1;
        }
    }

    /// Emits the pending operation, if there is one, into a register of the builder's choice.
    #[inline]
    pub(super) fn flush(&mut self) {
        if self.pending.is_some() {
            self.flush_to(None);
        }
    }

    /// Emits the pending operation into `wanted` or a register of the builder's choice, which the top operand then is.
    pub(super) fn flush_to(&mut self, wanted: Option<u8>) -> Option<u8> {
        let pending = self.pending.take()?;
        let top = self.stack.len().wrapping_sub(1);
        let ty = self.stack.get(top)?.ty;
        let class = self.pack.class_of(ty);
        if pending.negated {
            // The comparison is wanted as a value after all: its result goes through the operation that negates.
            let reg = self.result_register(&pending, class);
            self.emit_pending(&pending, Some(reg), Outcome::Plain, Target::None, (0, 0));
            self.registers.own(class, reg, Owner::Temp(top as u32));
            self.stack[top].at = At::Reg(reg);
            let not = self.not_op;
            let info = self.pack.info(not);
            let height = self.stack.len();
            if let Some(negation) = self.prepare(not, info, &[]) {
                self.operations -= 1;
                self.push(ty, At::Pending);
                debug_assert_eq!(height, self.stack.len());
                self.pending = Some(negation);
                return self.flush_to(wanted);
            }
            return None;
        }
        let reg = match wanted {
            Some(reg) => reg,
            None => self.result_register(&pending, class),
        };
        self.emit_pending(&pending, Some(reg), Outcome::Plain, Target::None, (0, 0));
        self.registers.own(class, reg, Owner::Temp(top as u32));
        self.stack[top].at = At::Reg(reg);
        Some(reg)
    }

    /// The register for a result that nothing else decides: that of an operand which dies, else a new one.
    #[inline]
    fn result_register(&mut self, pending: &Pending, class: u8) -> u8 {
        let dying = pending.dying[usize::from(class) & (CLASSES - 1)];
        if pending.tie != NONE {
            let (_, reg) = pending.regs[usize::from(pending.tie) & 3];
            if dying & (1 << reg) != 0 {
                return reg;
            }
            // With three operands in registers there may be none left: the result takes the register of the variable
            // that it is tied to, which goes back to its slot.
            return match (
                self.registers.available(class),
                self.registers.owner(class, reg),
            ) {
                (None, Owner::Var(var)) if self.vars[var as usize].pin != reg => {
                    self.vacate(class, reg, None);
                    reg
                }
                _ => self.allocate(class),
            };
        }
        let regs = &pending.regs[..usize::from(pending.reg_count) & 7];
        let reuse = regs
            .iter()
            .find(|(of, reg)| *of == class && dying & (1 << reg) != 0);
        match reuse {
            Some((_, reg)) => *reg,
            None => self.allocate(class),
        }
    }

    /// Emits an operation whose operands are in place, and frees what it used up.
    pub(super) fn emit_pending(
        &mut self,
        pending: &Pending,
        result: Option<u8>,
        outcome: Outcome,
        target: Target,
        table: (u32, u32),
    ) {
        let info = self.pack.info(pending.op);
        let mut regs = pending.regs;
        let used = usize::from(pending.reg_count) & 7;
        let mut result = result;
        let mut copy_back = None;
        if let (true, Some(wanted)) = (pending.tie != NONE && outcome == Outcome::Plain, result) {
            let tie = usize::from(pending.tie) & 3;
            let (class, source) = regs[tie];
            if wanted != source {
                let others = regs[..used].iter().enumerate();
                let clash = others
                    .clone()
                    .any(|(index, (of, reg))| index != tie && *of == class && *reg == wanted);
                let ty = info.operands[usize::from(info.tie) & 3];
                let shared = if clash {
                    // The result's register is still read as another operand: work elsewhere, then copy.
                    copy_back = Some((ty, wanted));
                    self.registers.lock(class, wanted);
                    self.result_register(pending, class)
                } else {
                    wanted
                };
                self.move_to_reg(ty, shared, From::Reg(source));
                regs[tie].1 = shared;
            }
            result = None;
            if let Some((_, wanted)) = copy_back {
                let shared = regs[tie].1;
                self.emit_record(pending, info, &regs[..used], None, outcome, target, table);
                self.release(pending);
                self.move_to_reg(
                    info.operands[usize::from(info.tie) & 3],
                    wanted,
                    From::Reg(shared),
                );
                return;
            }
        }
        self.emit_record(pending, info, &regs[..used], result, outcome, target, table);
        self.release(pending);
    }

    /// Frees the registers that an emitted operation used up.
    fn release(&mut self, pending: &Pending) {
        self.registers.unlock_all();
        for class in 0..CLASSES as u8 {
            let mut dying = pending.dying[usize::from(class)];
            while dying != 0 {
                let reg = dying.trailing_zeros() as u8;
                dying &= dying - 1;
                if self.registers.owner(class, reg) == Owner::Temp(u32::MAX) {
                    self.registers.own(class, reg, Owner::Free);
                }
            }
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one call site a shape; a struct would only rename the arguments"
    )]
    #[inline]
    fn emit_record(
        &mut self,
        pending: &Pending,
        info: &OpInfo,
        regs: &[(u8, u8)],
        result: Option<u8>,
        outcome: Outcome,
        target: Target,
        table: (u32, u32),
    ) {
        let (form, stencils) = if outcome == Outcome::Plain {
            (pending.form as usize, pending.stencils)
        } else {
            let view = self.unit.buffer.view();
            let form = find_form(view.forms, info, pending.key.with_outcome(outcome));
            let row = form
                .and_then(|form| view.forms.get(form))
                .and_then(|row| self.unit.buffer.alternative(row, &self.values));
            let (Some(form), Some(row)) = (form, row) else {
                return self.misuse("no form of the operation takes these operands and immediates");
            };
            (form, row.stencils.get())
        };
        let counts = self.registers.count;
        let radix = |class: u8| u32::from(counts[usize::from(class) & (CLASSES - 1)]);
        let mut index = regs.iter().fold(0, |index, (class, reg)| {
            index * radix(*class) + u32::from(*reg)
        });
        if let (Some(reg), Some(ty)) = (result, info.result) {
            index = index * radix(self.pack.class_of(ty)) + u32::from(reg);
        }
        let emit = Emit {
            form,
            row: stencils + index,
            values: &self.values,
            target,
            source: pending.source,
            fault: info.uses_mem.then_some(self.pack.core().out_of_bounds),
            table,
        };
        self.unit.buffer.emit(self.unit.space.bytes_mut(), &emit);
    }

    /// Takes the top operand as a condition: a comparison that fuses with a branch, or a test of its value.
    pub(super) fn take_condition(&mut self) -> Option<Condition> {
        if let Some(pending) = self.pending
            && self.fuses(&pending)
        {
            self.pending = None;
            self.pop();
            return Some(Condition::Test(pending));
        }
        self.flush();
        if let Some(Operand {
            at: At::Const(value),
            ..
        }) = self.stack.last().copied()
        {
            self.pop();
            return Some(Condition::Known(value != 0));
        }
        let op = self.pack.core().br_if;
        let info = self.pack.info(op);
        self.prepare(op, info, &[]).map(Condition::Test)
    }

    /// Whether both branches on a pending operation have a stencil that admits its values.
    fn fuses(&self, pending: &Pending) -> bool {
        let info = self.pack.info(pending.op);
        let view = self.unit.buffer.view();
        info.branch
            && [Outcome::BranchTrue, Outcome::BranchFalse]
                .into_iter()
                .all(|outcome| {
                    find_form(view.forms, info, pending.key.with_outcome(outcome))
                        .and_then(|form| view.forms.get(form))
                        .and_then(|row| self.unit.buffer.alternative(row, &self.values))
                        .is_some()
                })
    }

    /// Emits a branch to `label` if the condition is what `when` says.
    pub(super) fn emit_branch(&mut self, pending: &Pending, when: bool, label: Label) {
        let outcome = if when != pending.negated {
            Outcome::BranchTrue
        } else {
            Outcome::BranchFalse
        };
        self.emit_pending(pending, None, outcome, Target::Label(label), (0, 0));
    }
}

/// What a branch depends on.
pub(crate) enum Condition {
    /// Known when the code is generated.
    Known(bool),
    /// An operation that branches.
    Test(Pending),
}
