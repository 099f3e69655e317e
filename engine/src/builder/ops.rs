//! Operations: which form, which registers, and when.
//!
//! An operation with a result is not emitted at once but kept [`Pending`]: the next call knows where the result goes
//! (a variable's own register, say), or fuses a comparison with its branch.

use std::hint::cold_path;

use copatch_spec::isa::Shape;
use copatch_spec::types::{Place, ValueType};
use copatch_spec::variants::FormKey;

use super::moves::From;
use super::pending::Choice;
use super::state::{At, Operand, Reg, RegSet, Var};
use super::{FunctionBuilder, Mode};
use crate::hint::{likely, unlikely};
use crate::pack::{Emission, NONE, OpId, OpInfo};

/// Operands of an operation, at most.
pub(super) const OPERANDS: usize = copatch_spec::limits::OPERANDS;

impl FunctionBuilder<'_, '_> {
    /// Pops the operands of an operation without immediates and pushes its result.
    #[inline]
    pub fn op(&mut self, op: OpId) {
        self.op_imm(op, &[]);
    }

    /// [`Self::op_imm`] for a number of immediates that is not known when the front end is compiled.
    pub fn op_any(&mut self, op: OpId, immediates: &[i64]) {
        match immediates {
            [] => self.op_imm(op, &[]),
            [a] => self.op_imm(op, &[*a]),
            [a, b] => self.op_imm(op, &[*a, *b]),
            _ => self.misuse("more immediates than an operation can have"),
        }
    }

    /// Pops the operands of an operation and pushes its result; `immediates` are the operation's own.
    #[inline(never)]
    pub fn op_imm<const N: usize>(&mut self, op: OpId, immediates: &[i64; N]) {
        match self.info(op).operand_count {
            0 => self.op_nullary(op, immediates),
            1 => self.op_unary(op, immediates),
            2 => self.op_binary(op, immediates),
            _ => self.op_unusual(op, immediates),
        }
    }

    /// [`Self::op_imm`] for an operation without operands.
    #[inline]
    pub fn op_nullary<const N: usize>(&mut self, op: OpId, immediates: &[i64; N]) {
        self.op_of::<0, N>(op, immediates);
    }

    /// [`Self::op_imm`] for an operation of one operand.
    #[inline]
    pub fn op_unary<const N: usize>(&mut self, op: OpId, immediates: &[i64; N]) {
        self.op_of::<1, N>(op, immediates);
    }

    /// [`Self::op_imm`] for an operation of two operands.
    #[inline]
    pub fn op_binary<const N: usize>(&mut self, op: OpId, immediates: &[i64; N]) {
        self.op_of::<2, N>(op, immediates);
    }

    /// [`Self::op_imm`] for an operation of so many operands. Code for each number apart foresees better what comes.
    #[inline(never)]
    fn op_of<const COUNT: usize, const N: usize>(&mut self, op: OpId, immediates: &[i64; N]) {
        if !self.ready() {
            return;
        }
        let info = self.info(op);
        if unlikely(info.usual != const { OpInfo::usual(Shape::Next, COUNT, N) }) {
            return self.op_unusual(op, immediates);
        }
        let Some(values) = self.prepare_of::<COUNT, N>(op, info, immediates) else {
            return;
        };
        match info.result {
            Some(ty) => {
                self.mode = Mode::Waiting;
                self.push(ty, At::Pending);
            }
            None => self.emit_usual_effect(values),
        }
    }

    /// [`Self::op_imm`] for any operation.
    #[inline(never)]
    fn op_unusual(&mut self, op: OpId, immediates: &[i64]) {
        if !self.ready() {
            return;
        }
        let info = self.info(op);
        if info.shape != Shape::Next || usize::from(info.immediates) != immediates.len() {
            return self
                .misuse("not an operation that computes, or the wrong number of immediates");
        }
        if !self.prepare_any(op, info, immediates) {
            return;
        }
        match info.result {
            Some(ty) if !self.pending.choice.key.result_slot() => {
                self.mode = Mode::Waiting;
                self.push(ty, At::Pending);
            }
            Some(ty) => {
                self.emit_effect();
                self.push(ty, At::Slot);
            }
            None => self.emit_effect(),
        }
    }

    /// [`Self::constant`] and then [`Self::op`]: pops one operand, takes a constant as the other, on the right, and pushes the
    /// result.
    #[inline(never)]
    pub fn op_with(&mut self, op: OpId, ty: ValueType, bits: u64) {
        if !self.ready() {
            return;
        }
        if !self.prepare_with(op, ty.canonical(bits)) {
            self.constant(ty, bits);
            self.op(op);
        }
    }

    /// The usual case of [`Self::op_with`]: an operand in a register, and a form that admits the constant. Gives false, and
    /// changes nothing, if it is another.
    #[inline(always)]
    fn prepare_with(&mut self, op: OpId, value: i64) -> bool {
        let info = self.info(op);
        let Some(ty) = info.result else { return false };
        if info.usual != const { OpInfo::usual(Shape::Next, 2, 0) } {
            return false;
        }
        let [below @ .., top] = self.stack.as_mut_slice() else {
            return false;
        };
        let bottom = below.len();
        let (reg, dying) = match top.at {
            At::Reg(reg) => (reg, reg.bit()),
            At::Var(var) => (self.vars[var as usize].reg, 0),
            _ => return false,
        };
        if bottom < self.floor || reg == Reg::NONE {
            return false;
        }
        self.values[0] = value;
        let forms = self.forms;
        let Some((form, stencils)) = forms.admit_span(info.forms.own(true), &self.values) else {
            return false;
        };
        if let At::Var(var) = top.at {
            self.vars[var as usize].reads -= 1;
        }
        *top = Operand {
            ty,
            at: At::Pending,
        };
        self.unsettle(bottom);
        self.registers.lock(reg);
        self.mode = Mode::Waiting;
        let choice = Choice {
            op,
            key: FormKey::registers().with_operand(1, Place::Immediate),
            form,
            stencils,
        };
        self.pending
            .hold(info, choice, reg.number(), dying, self.pos);
        true
    }

    /// Pops an i32 condition and pushes whether it is zero. `op` is the operation that computes it; a comparison that
    /// is only branched on is turned round instead.
    #[inline]
    pub fn not(&mut self, op: OpId) {
        if self.dead() {
            return;
        }
        if self.mode == Mode::Waiting && self.info(self.pending.choice.op).branch {
            self.pending.emission.negated ^= true;
        } else {
            self.op_imm(op, &[]);
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

    /// Pops the operand of an operation that has one, chooses a form and brings the operand where the form wants it: what is to be
    /// emitted is then in `pending`. Gives false if there is none.
    #[inline]
    pub(super) fn prepare<const N: usize>(
        &mut self,
        op: OpId,
        info: &OpInfo,
        immediates: &[i64; N],
    ) -> bool {
        if info.usual == OpInfo::usual(info.shape, 1, N) {
            return self.prepare_of::<1, N>(op, info, immediates).is_some();
        }
        self.prepare_any(op, info, immediates)
    }

    /// [`Self::prepare`] for `COUNT` operands of a [`OpInfo::usual`] operation. Gives how many values its stencil has, at least.
    #[inline(always)]
    fn prepare_of<const COUNT: usize, const N: usize>(
        &mut self,
        op: OpId,
        info: &OpInfo,
        immediates: &[i64; N],
    ) -> Option<usize> {
        let (mut dying, mut key, mut first) = (0, FormKey::registers(), 0);
        // One look at the operands settles the usual cases: all in registers, or a constant on the right.
        let (bottom, index) = match (COUNT, self.stack.as_slice()) {
            (1, [below @ .., a]) if below.len() >= self.floor => {
                let (bottom, at) = (below.len(), a.at);
                let a = look(&mut self.vars, at, &mut dying);
                self.registers.lock(a);
                let a = self.loaded(a, at);
                let index = if a != Reg::NONE { a.number() } else { ODD };
                (bottom, index)
            }
            (2, [below @ .., a, b]) if below.len() >= self.floor => {
                let (bottom, left, right) = (below.len(), a.at, b.at);
                let a = look(&mut self.vars, left, &mut dying);
                let b = look(&mut self.vars, right, &mut dying);
                self.registers.lock(a);
                self.registers.lock(b);
                let a = self.loaded(a, left);
                let b = self.loaded(b, right);
                let index = match right {
                    _ if a == Reg::NONE => ODD,
                    At::Const(value) => {
                        key = FormKey::registers().with_operand(1, Place::Immediate);
                        self.values[0] = value;
                        first = 1;
                        a.number()
                    }
                    _ if b == Reg::NONE => ODD,
                    _ => a.number() * u32::from(info.radix) + b.number(),
                };
                (bottom, index)
            }
            (0, _) => (self.stack.len(), 0),
            _ => {
                cold_path();
                return self.prepare_any(op, info, immediates).then_some(N);
            }
        };
        if likely(index != ODD) {
            for (place, value) in immediates.iter().enumerate() {
                self.values[first + place] = *value;
            }
            let found = if first + N == 0 {
                info.forms.plain(info.outcome)
            } else {
                let span = info.forms.own(first != 0);
                self.forms.admit_span(span, &self.values)
            };
            if let Some((form, stencils)) = found {
                self.stack.truncate(bottom);
                self.unsettle(bottom);
                let choice = Choice {
                    op,
                    key,
                    form,
                    stencils,
                };
                self.pending.hold(info, choice, index, dying, self.pos);
                return Some(first + N);
            }
        }
        self.prepare_looked(op, info, immediates).then_some(N)
    }

    /// The register of an operand that was looked at, once a variable in its slot is loaded.
    #[inline(always)]
    fn loaded(&mut self, reg: Reg, at: At) -> Reg {
        match at {
            At::Var(var) if unlikely(reg == Reg::NONE) => self.load_operand(var),
            _ => reg,
        }
    }

    /// Loads a variable that is in its slot and locks its register. Gives no register where another form may serve better:
    /// for what is read for the last time, or has no registers at all.
    #[inline(never)]
    fn load_operand(&mut self, var: u32) -> Reg {
        let state = &self.vars[var as usize];
        if !state.live(self.pos) || !self.registers.exist(state.class) {
            return Reg::NONE;
        }
        let reg = match self.load_quickly(var) {
            Some(reg) => reg,
            None => self.register_of_var(var),
        };
        self.registers.lock(reg);
        reg
    }

    /// [`Self::prepare`] for any number of operands.
    #[inline(never)]
    fn prepare_any(&mut self, op: OpId, info: &OpInfo, immediates: &[i64]) -> bool {
        let bottom = self
            .stack
            .len()
            .checked_sub(usize::from(info.operand_count))
            .filter(|bottom| *bottom >= self.floor);
        let Some(bottom) = bottom else {
            self.misuse("the operand stack is too short");
            return false;
        };
        for operand in &self.stack[bottom..] {
            let reg = look(&mut self.vars, operand.at, &mut 0);
            // Operands in registers stay there until the operation is emitted.
            self.registers.lock(reg);
        }
        self.prepare_looked(op, info, immediates)
    }

    /// The rest of [`Self::prepare`] for operands in any place, whose registers are locked and whose reads have been
    /// counted down.
    #[inline(never)]
    fn prepare_looked(&mut self, op: OpId, info: &OpInfo, immediates: &[i64]) -> bool {
        let count = usize::from(info.operand_count).min(OPERANDS);
        let bottom = self.stack.len() - count;
        let mut operands = [At::Slot; OPERANDS];
        let (mut constant, mut slot, mut dying) = (None, None, 0);
        for (index, operand) in self.stack[bottom..].iter().enumerate() {
            let at = operand.at;
            operands[index & (OPERANDS - 1)] = at;
            match at {
                At::Reg(reg) => dying |= reg.bit(),
                At::Var(var) => {
                    let state = &self.vars[var as usize];
                    if state.reg == Reg::NONE && state.pin == Reg::NONE && !state.live(self.pos) {
                        slot = Some(index);
                    }
                }
                At::Const(_) => constant = Some(index),
                At::Slot | At::Pending => slot = Some(index),
            }
        }
        self.stack.truncate(bottom);
        self.unsettle(bottom);

        if !self.choose(op, info, &mut operands, (constant, slot), immediates) {
            if info.forms.is_empty() {
                self.lack(op);
            } else {
                self.misuse("no form of the operation takes these operands and immediates");
            }
            return false;
        }
        let key = self.pending.choice.key;
        let (mut index, mut used, mut tie) = (0, 0, NONE);
        for (number, at) in operands[..count].iter().enumerate() {
            if key.operand(number) != Some(Place::Register) {
                continue;
            }
            let ty = info.operands[number];
            let reg = match *at {
                At::Reg(reg) => reg,
                At::Var(var) => self.register_of_var(var),
                At::Const(value) => {
                    let reg = self.allocate(self.class_of(ty));
                    dying |= reg.bit();
                    self.move_to_reg(ty, reg, From::Const(value));
                    reg
                }
                At::Slot | At::Pending => {
                    let reg = self.allocate(self.class_of(ty));
                    dying |= reg.bit();
                    let slot = self.operand_slot(bottom + number);
                    self.move_to_reg(ty, reg, From::Slot(slot));
                    reg
                }
            };
            self.registers.lock(reg);
            index = index * self.registers.radix(reg.class()) + reg.number();
            if usize::from(info.tie) == number {
                tie = used as u8;
            }
            self.pending.regs[used & (OPERANDS - 1)] = reg;
            used += 1;
        }
        // Until it is emitted nobody else gets what it reads.
        self.registers.free &= !dying;
        let pending = &mut self.pending;
        (pending.index, pending.count, pending.dying) = (index, used as u8, dying);
        pending.source = self.pos;
        pending.emission = Emission {
            tie,
            ..info.emission
        };
        true
    }

    /// The best form for operands of which some are constants or in slots: a constant as an immediate if one admits it,
    /// a value that is read for the last time straight from its slot, everything else in registers. Exchanges operands
    /// where that makes one fit.
    fn choose(
        &mut self,
        op: OpId,
        info: &OpInfo,
        operands: &mut [At; OPERANDS],
        (constant, slot): (Option<usize>, Option<usize>),
        immediates: &[i64],
    ) -> bool {
        if let Some(index) = constant {
            let key = info.base.with_operand(index, Place::Immediate);
            if self.admit(op, info, key, operands, immediates) {
                return true;
            }
            let swap = if info.commutative {
                Some(op)
            } else {
                info.swap
            };
            // Slots of popped operands go by position, so an operand in its slot cannot change its place.
            if let Some(swap) = swap
                && index == 0
                && info.operand_count == 2
                && operands[1] != At::Slot
            {
                operands.swap(0, 1);
                let info = self.info(swap);
                let key = info.base.with_operand(1, Place::Immediate);
                if self.admit(swap, info, key, operands, immediates) {
                    return true;
                }
                operands.swap(0, 1);
            }
        }
        if let Some(index) = slot {
            let key = info.base.with_operand(index, Place::Slot);
            if key != info.base && self.admit(op, info, key, operands, immediates) {
                return true;
            }
        }
        self.admit(op, info, info.base, operands, immediates)
    }

    /// Chooses the form with that key, if the operation has it and it admits the values. The choice is written where it stays: what
    /// is put together in parts and then copied waits for the parts.
    #[inline]
    fn admit(
        &mut self,
        op: OpId,
        info: &OpInfo,
        key: FormKey,
        operands: &[At; OPERANDS],
        immediates: &[i64],
    ) -> bool {
        let key_of = key.with_outcome(info.outcome);
        let Some(form) = self.forms.find(&info.forms, key_of) else {
            return false;
        };
        let mut filled = 0;
        if key != FormKey::registers() {
            let count = usize::from(info.operand_count).min(OPERANDS);
            for (index, at) in operands[..count].iter().enumerate() {
                let value = match (key.operand(index), *at) {
                    (Some(Place::Register), _) => continue,
                    (Some(Place::Immediate), At::Const(value)) => value,
                    (Some(Place::Slot), At::Var(var)) if self.in_slot(var) => self.slot_offset(var),
                    (Some(Place::Slot), At::Slot) => self.slot_offset(self.popped_slot(index)),
                    (Some(Place::Slot), At::Const(value)) => {
                        // Only where the class has no registers: the constant goes to the operand's slot first.
                        let slot = self.popped_slot(index);
                        self.store_const(info.operands[index], slot, value);
                        self.slot_offset(slot)
                    }
                    _ => return false,
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
        let Some(stencils) = self.forms.admit(form, &self.values) else {
            return false;
        };
        self.pending.choice = Choice {
            op,
            key,
            form,
            stencils,
        };
        true
    }

    /// Whether a variable's slot holds its value.
    fn in_slot(&self, var: u32) -> bool {
        let state = &self.vars[var as usize];
        !(state.constant && state.stale) && self.registers.dirty & state.reg.bit() == 0
    }

    /// The slot of an operand that was popped as number `index` of the operation in hand.
    fn popped_slot(&self, index: usize) -> u32 {
        self.operand_slot(self.stack.len() + index)
    }

    #[inline]
    fn set_value(&mut self, filled: &mut usize, value: i64) {
        if let Some(place) = self.values.get_mut(*filled) {
            *place = value;
            *filled += 1;
        }
    }
}

/// The index of operands that are not where a quick look would have them.
const ODD: u32 = u32::MAX;

/// The register that an operand is in, if it is in one; counts a read of a variable, adds the register of what is used up
/// to `dying`.
#[inline(always)]
fn look(vars: &mut [Var], at: At, dying: &mut RegSet) -> Reg {
    match at {
        At::Var(var) => {
            let state = &mut vars[var as usize];
            state.reads -= 1;
            state.reg
        }
        At::Reg(reg) => {
            *dying |= reg.bit();
            reg
        }
        _ => Reg::NONE,
    }
}
