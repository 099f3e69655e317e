//! Constants and variables; bringing values into registers, and making room there.

use copatch_spec::types::ValueType;

use super::FunctionBuilder;
use super::moves::From;
use super::state::{At, CLASSES, Operand, Owner, REGISTERS};
use crate::pack::NONE;

/// Reads of variables stay unmaterialised only this close to the top of the stack, so that the search for them is short.
const LAZY_DEPTH: usize = 64;

impl FunctionBuilder<'_, '_> {
    /// Pushes a constant; the bits of a 32-bit type are in the low half.
    #[inline]
    pub fn constant(&mut self, ty: ValueType, bits: u64) {
        if self.dead {
            return;
        }
        self.flush();
        self.push(ty, At::Const(ty.canonical(bits)));
    }

    /// Pushes the value of a variable.
    #[inline]
    pub fn get(&mut self, var: u32) {
        if self.dead {
            return;
        }
        self.flush();
        let Some(state) = self.vars.get_mut(var as usize) else {
            return self.misuse("no such variable");
        };
        let ty = state.ty;
        if state.constant {
            let value = state.value;
            return self.push(ty, At::Const(value));
        }
        state.reads += 1;
        self.push(ty, At::Var(var));
        if self.stack.len() > LAZY_DEPTH {
            let index = self.stack.len() - 1 - LAZY_DEPTH;
            if let At::Var(old) = self.stack[index].at {
                self.spill_read(index, old);
            }
        }
    }

    /// Pops a value into a variable.
    #[inline]
    pub fn set(&mut self, var: u32) {
        if self.dead {
            return;
        }
        if (var as usize) >= self.vars.len() || self.stack.is_empty() {
            return self.misuse("no such variable, or no operand for it");
        }
        let own_read =
            matches!(self.stack.last(), Some(Operand { at: At::Var(top), .. }) if *top == var);
        if own_read {
            self.pop();
            return;
        }
        if self.vars[var as usize].reads > 0 {
            self.copy_reads(var);
        }
        let Some(top) = self.stack.last().copied() else {
            return;
        };
        match top.at {
            At::Pending => self.set_pending(var),
            At::Reg(reg) => {
                self.stack.pop();
                self.set_reg(var, reg);
            }
            At::Const(value) => {
                self.stack.pop();
                self.set_const(var, value);
            }
            At::Var(from) => {
                self.pop();
                self.set_var(var, from);
            }
            At::Slot => {
                let slot = self.operand_slot(self.stack.len() - 1);
                self.stack.pop();
                self.set_slot(var, slot);
            }
        }
        self.settled = self.settled.min(self.stack.len());
    }

    /// Copies the top value into a variable and leaves it on the stack.
    #[inline]
    pub fn tee(&mut self, var: u32) {
        if self.dead {
            return;
        }
        self.set(var);
        self.get(var);
    }

    /// Drops the top value.
    pub fn drop_top(&mut self) {
        if self.dead {
            return;
        }
        self.flush();
        let operand = self.pop();
        self.free_operand(operand);
    }

    /// Pops an operand; a stack that is too short gives zero and an error.
    #[inline]
    pub(super) fn pop(&mut self) -> Operand {
        let height = self.frames.last().map_or(0, |frame| frame.height);
        if self.stack.len() <= height {
            self.misuse("the operand stack is too short");
            return Operand {
                ty: ValueType::I64,
                at: At::Const(0),
            };
        }
        let operand = self.stack.pop().unwrap_or(Operand {
            ty: ValueType::I64,
            at: At::Const(0),
        });
        if let At::Var(var) = operand.at {
            self.vars[var as usize].reads -= 1;
        }
        self.settled = self.settled.min(self.stack.len());
        operand
    }

    /// Gives back the register of an operand that was popped.
    #[inline]
    pub(super) fn free_operand(&mut self, operand: Operand) {
        if let At::Reg(reg) = operand.at {
            self.registers
                .own(self.pack.class_of(operand.ty), reg, Owner::Free);
        }
    }

    /// Whether a variable's value may still be read.
    #[inline]
    pub(super) fn live(&self, var: u32) -> bool {
        let state = &self.vars[var as usize];
        // At its last position the read itself is still to come when what precedes it is emitted.
        state.reads > 0 || state.last_use >= self.pos
    }

    /// Makes the register of a variable its only place.
    #[inline]
    pub(super) fn bind(&mut self, var: u32, reg: u8) {
        let state = &mut self.vars[var as usize];
        let (class, old) = (state.class, state.reg);
        state.reg = reg;
        state.dirty = true;
        state.constant = false;
        if old != NONE && old != reg {
            self.registers.own(class, old, Owner::Free);
        }
        self.registers.own(class, reg, Owner::Var(var));
    }

    /// Forgets the register of a variable whose value is about to change or lies elsewhere.
    pub(super) fn unbind(&mut self, var: u32) {
        let state = &mut self.vars[var as usize];
        if state.reg != NONE {
            let (class, reg) = (state.class, state.reg);
            state.reg = NONE;
            self.registers.own(class, reg, Owner::Free);
        }
    }

    fn set_pending(&mut self, var: u32) {
        let state = self.vars[var as usize];
        let wanted = if state.pin != NONE {
            self.vacate(state.class, state.pin, Some(var));
            Some(state.pin)
        } else {
            (state.reg != NONE).then_some(state.reg)
        };
        let reg = self.flush_to(wanted);
        self.stack.pop();
        match reg {
            Some(reg) => self.bind(var, reg),
            None => self.misuse("an operation without a result cannot be stored"),
        }
    }

    fn set_reg(&mut self, var: u32, reg: u8) {
        let state = self.vars[var as usize];
        if state.pin != NONE && state.pin != reg {
            self.registers.lock(state.class, reg);
            self.vacate(state.class, state.pin, Some(var));
            self.registers.unlock_all();
            self.move_to_reg(state.ty, state.pin, From::Reg(reg));
            self.registers.own(state.class, reg, Owner::Free);
            self.bind(var, state.pin);
        } else {
            self.bind(var, reg);
        }
    }

    fn set_const(&mut self, var: u32, value: i64) {
        let state = self.vars[var as usize];
        if state.pin != NONE {
            self.vacate(state.class, state.pin, Some(var));
            self.move_to_reg(state.ty, state.pin, From::Const(value));
            self.bind(var, state.pin);
            return;
        }
        self.unbind(var);
        if !self.registers.exist(state.class) {
            self.store_const(state.ty, var, value);
            return self.now_in_slot(var);
        }
        if !self.vars[var as usize].constant {
            self.constants.push(var);
        }
        let state = &mut self.vars[var as usize];
        state.constant = true;
        state.value = value;
        state.dirty = true;
    }

    fn set_var(&mut self, var: u32, from: u32) {
        let (to, source) = (self.vars[var as usize], self.vars[from as usize]);
        if !self.registers.exist(to.class) {
            self.copy_slot(to.ty, var, from);
            return self.now_in_slot(var);
        }
        // The last read of a value hands its register over.
        if source.reg != NONE && source.pin == NONE && to.pin == NONE && !self.live(from) {
            self.vars[from as usize].reg = NONE;
            self.vars[from as usize].dirty = false;
            return self.bind(var, source.reg);
        }
        let reg = self.register_of_var(from);
        self.registers.lock(source.class, reg);
        let target = self.register_for(var);
        self.registers.unlock_all();
        self.move_to_reg(to.ty, target, From::Reg(reg));
        self.bind(var, target);
    }

    fn set_slot(&mut self, var: u32, slot: u32) {
        let state = self.vars[var as usize];
        if !self.registers.exist(state.class) {
            self.copy_slot(state.ty, var, slot);
            return self.now_in_slot(var);
        }
        let target = self.register_for(var);
        self.move_to_reg(state.ty, target, From::Slot(slot));
        self.bind(var, target);
    }

    /// The value of a variable that has no register was written to its slot.
    fn now_in_slot(&mut self, var: u32) {
        let state = &mut self.vars[var as usize];
        state.constant = false;
        state.dirty = false;
    }

    /// The register that a new value of a variable goes to.
    fn register_for(&mut self, var: u32) -> u8 {
        let state = self.vars[var as usize];
        // A register that the operation in hand reads is not overwritten, even if it is reserved for this variable.
        let locked = self.registers.locked[usize::from(state.class) & (CLASSES - 1)];
        if state.pin != NONE && locked & (1 << state.pin) == 0 {
            self.vacate(state.class, state.pin, Some(var));
            state.pin
        } else if state.reg != NONE {
            state.reg
        } else {
            self.allocate(state.class)
        }
    }

    /// The register that holds a variable, loaded if need be.
    pub(super) fn register_of_var(&mut self, var: u32) -> u8 {
        let state = self.vars[var as usize];
        if state.reg != NONE {
            return state.reg;
        }
        let reg = self.register_for(var);
        if state.constant {
            self.move_to_reg(state.ty, reg, From::Const(state.value));
        } else {
            self.move_to_reg(state.ty, reg, From::Slot(var));
        }
        self.bind(var, reg);
        self.vars[var as usize].dirty = state.constant && state.dirty;
        reg
    }

    /// A register that nothing uses: a free one, or one that is made free.
    pub(super) fn allocate(&mut self, class: u8) -> u8 {
        if let Some(reg) = self.registers.available(class) {
            return reg;
        }
        self.evict(class)
    }

    /// Makes a register free: of a clean variable if there is one, else of a dirty one, else of an operand.
    fn evict(&mut self, class: u8) -> u8 {
        let at = usize::from(class) & (CLASSES - 1);
        let count = self.registers.count[at].max(1);
        let taken = self.registers.pinned[at] | self.registers.locked[at];
        let mut best: Option<(u32, u8)> = None;
        for step in 0..count {
            let reg = (self.registers.next_victim[at] + step) % count;
            if taken & (1 << reg) != 0 {
                continue;
            }
            let cost = match self.registers.owner[at][usize::from(reg) & (REGISTERS - 1)] {
                Owner::Free => 0,
                Owner::Var(var) if !self.live(var) => 1,
                Owner::Var(var) if !self.vars[var as usize].dirty => 2,
                Owner::Var(_) => 3,
                Owner::Temp(_) => 4,
            };
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, reg));
            }
        }
        let Some((_, reg)) = best else {
            self.misuse("an operation needs more registers than there are");
            return 0;
        };
        self.registers.next_victim[at] = (reg + 1) % count;
        self.vacate(class, reg, None);
        reg
    }

    /// Moves whatever a register holds to memory, unless it is `except`'s. The register's bits stay as they are.
    pub(super) fn vacate(&mut self, class: u8, reg: u8, except: Option<u32>) {
        match self.registers.owner(class, reg) {
            Owner::Free => {}
            Owner::Var(var) if except == Some(var) => {}
            Owner::Var(var) => {
                self.clean(var);
                self.unbind(var);
            }
            Owner::Temp(index) => {
                let index = index as usize;
                let slot = self.operand_slot(index);
                // An operand that was popped already is dying: its register is locked, and nothing else wants its value.
                if let Some(operand) = self.stack.get(index).copied()
                    && operand.at == At::Reg(reg)
                {
                    self.store(operand.ty, slot, reg);
                    self.stack[index].at = At::Slot;
                }
                self.registers.own(class, reg, Owner::Free);
            }
        }
    }

    /// Brings a variable's slot up to date if its value may still be read.
    pub(super) fn clean(&mut self, var: u32) {
        let state = self.vars[var as usize];
        if !state.dirty {
            return;
        }
        if self.live(var) {
            if state.constant {
                self.store_const(state.ty, var, state.value);
            } else if state.reg != NONE {
                self.store(state.ty, var, state.reg);
            }
        }
        self.vars[var as usize].dirty = false;
    }

    /// Materialises pending reads of a variable that is about to change.
    fn copy_reads(&mut self, var: u32) {
        let mut index = self.stack.len();
        while self.vars[var as usize].reads > 0 && index > 0 {
            index -= 1;
            if self.stack[index].at != At::Var(var) {
                continue;
            }
            let state = self.vars[var as usize];
            if !self.registers.exist(state.class) {
                self.spill_read(index, var);
                continue;
            }
            let reg = self.register_of_var(var);
            let keep = self.registers.locked;
            self.registers.lock(state.class, reg);
            let copy = self.allocate(state.class);
            self.registers.locked = keep;
            self.move_to_reg(state.ty, copy, From::Reg(reg));
            self.registers
                .own(state.class, copy, Owner::Temp(index as u32));
            self.stack[index].at = At::Reg(copy);
            self.vars[var as usize].reads -= 1;
        }
    }

    /// Materialises one read of a variable into the operand's slot.
    pub(super) fn spill_read(&mut self, index: usize, var: u32) {
        let state = self.vars[var as usize];
        let slot = self.operand_slot(index);
        if state.constant {
            self.stack[index].at = At::Const(state.value);
        } else {
            if state.reg != NONE {
                self.store(state.ty, slot, state.reg);
            } else {
                self.copy_slot(state.ty, slot, var);
            }
            self.stack[index].at = At::Slot;
        }
        self.vars[var as usize].reads -= 1;
    }

    /// Brings every operand into its slot, but for constants.
    pub(super) fn spill_stack(&mut self) {
        for index in self.settled..self.stack.len() {
            let operand = self.stack[index];
            match operand.at {
                At::Reg(reg) => {
                    let slot = self.operand_slot(index);
                    self.store(operand.ty, slot, reg);
                    self.stack[index].at = At::Slot;
                    self.registers
                        .own(self.pack.class_of(operand.ty), reg, Owner::Free);
                }
                At::Var(var) => self.spill_read(index, var),
                At::Const(_) | At::Slot | At::Pending => {}
            }
        }
        self.settled = self.stack.len();
    }

    /// Writes variables that are known constants to their slots.
    pub(super) fn spill_constants(&mut self) {
        while let Some(var) = self.constants.pop() {
            if self.vars[var as usize].constant {
                self.clean(var);
                self.vars[var as usize].constant = false;
            }
        }
    }
}
