//! Constants and variables; bringing values into registers, and making room there.

use copatch_spec::types::ValueType;

use super::moves::From;
use super::state::{At, CLASSES, Operand, Owner, Reg, RegSet, each, first};
use super::{FunctionBuilder, Mode, SHALLOW};
use crate::hint::{likely, usual};

impl FunctionBuilder<'_, '_> {
    /// Pushes a constant; the bits of a 32-bit type are in the low half.
    #[inline]
    pub fn constant(&mut self, ty: ValueType, bits: u64) {
        if !self.ready() {
            return;
        }
        self.push(ty, At::Const(ty.canonical(bits)));
    }

    /// Pushes the value of a variable.
    #[inline]
    pub fn get(&mut self, var: u32) {
        // The usual case calls nothing, and so saves no registers.
        if likely(self.mode == Mode::Ready)
            && likely(self.stack.len() < self.stack.capacity())
            && likely(self.stack.len() < SHALLOW)
            && let Some(state) = usual(self.vars.get_mut(var as usize))
            && likely(!state.constant)
        {
            let (ty, at) = (state.ty, At::Var(var));
            self.stack.push(Operand { ty, at });
            state.reads += 1;
        } else {
            self.get_any(var);
        }
    }

    #[inline(never)]
    fn get_any(&mut self, var: u32) {
        if !self.ready() {
            return;
        }
        let Some(state) = self.vars.get_mut(var as usize) else {
            return self.misuse("no such variable");
        };
        if state.constant {
            let (ty, value) = (state.ty, state.value);
            return self.push(ty, At::Const(value));
        }
        state.reads += 1;
        let ty = state.ty;
        self.push(ty, At::Var(var));
        if self.stack.len() > SHALLOW {
            self.limit_laziness();
        }
    }

    /// Materialises the read that has become too deep to be searched for.
    #[cold]
    fn limit_laziness(&mut self) {
        let index = self.stack.len() - 1 - SHALLOW;
        if let At::Var(old) = self.stack[index].at {
            self.spill_read(index, old);
        }
    }

    /// Pops a value into a variable.
    #[inline(always)]
    pub fn set(&mut self, var: u32) {
        match self.mode {
            Mode::Ready => self.set_ready(var),
            Mode::Waiting => self.set_pending(var),
            Mode::Dead => {}
        }
    }

    /// [`Self::set`] of what was emitted, or needs not be.
    #[inline(never)]
    fn set_ready(&mut self, var: u32) {
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
            At::Slot | At::Pending => {
                let slot = self.operand_slot(self.stack.len() - 1);
                self.stack.pop();
                self.set_slot(var, slot);
            }
        }
        self.unsettle(self.stack.len());
    }

    /// Forgets a variable's value, which is not read again before the next write: it needs no store, and its register is free.
    ///
    /// A plan knows only the last read of all (see [`crate::Planner`]); this tells of each value's, for variables that are used over and
    /// over. Does nothing where an operand still reads the variable.
    pub fn forget(&mut self, var: u32) {
        if self.dead() {
            return;
        }
        let Some(state) = self.vars.get_mut(var as usize) else {
            return self.misuse("no such variable");
        };
        if state.reads > 0 || state.pin != Reg::NONE {
            return;
        }
        // A constant stays in the list of those that are stale, which passes over what is none any more.
        state.constant = false;
        let reg = std::mem::replace(&mut state.reg, Reg::NONE);
        if reg != Reg::NONE {
            self.registers.release(reg.bit());
        }
    }

    /// Copies the top value into a variable and leaves it on the stack.
    #[inline(always)]
    pub fn tee(&mut self, var: u32) {
        if self.mode == Mode::Dead {
            return;
        }
        self.set(var);
        self.get_apart(var);
    }

    /// [`Self::get`], with no code of its own where it is called: the compiler would have the same code in two places share its end, and
    /// jump there.
    #[inline(never)]
    pub fn get_apart(&mut self, var: u32) {
        self.get(var);
    }

    /// Drops the top value.
    pub fn drop_top(&mut self) {
        if !self.ready() {
            return;
        }
        let operand = self.pop();
        self.free_operand(operand);
    }

    /// Pops an operand; a stack that is too short gives zero and an error.
    #[inline]
    pub(super) fn pop(&mut self) -> Operand {
        if self.stack.len() <= self.floor {
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
        self.unsettle(self.stack.len());
        operand
    }

    /// Gives back the register of an operand that was popped.
    #[inline]
    pub(super) fn free_operand(&mut self, operand: Operand) {
        if let At::Reg(reg) = operand.at {
            self.registers.release(reg.bit());
        }
    }

    /// Whether a variable's value may still be read.
    #[inline]
    pub(super) fn live(&self, var: u32) -> bool {
        self.vars[var as usize].live(self.pos)
    }

    /// Gives a variable a register that holds its value; `dirty` where its slot does not.
    #[inline]
    pub(super) fn bind(&mut self, var: u32, reg: Reg, dirty: bool) {
        let state = &mut self.vars[var as usize];
        let old = state.reg;
        state.reg = reg;
        state.constant = false;
        if old != reg {
            self.registers.release(old.bit());
        }
        self.registers.give_var(reg, var, dirty);
    }

    /// Forgets the register of a variable whose value is about to change or lies elsewhere.
    pub(super) fn unbind(&mut self, var: u32) {
        let state = &mut self.vars[var as usize];
        self.registers.release(state.reg.bit());
        state.reg = Reg::NONE;
    }

    /// Pops the result of the pending operation into a variable.
    #[inline(never)]
    fn set_pending(&mut self, var: u32) {
        // As elsewhere, the usual case calls nothing until it is done.
        if let Some(state) = self.vars.get(var as usize)
            && state.reads == 0
            && self.usual()
        {
            let reg = match state.wanted() {
                Reg::NONE => self.quick_register(),
                wanted if wanted == state.reg || self.registers.free & wanted.bit() != 0 => {
                    Some(wanted)
                }
                _ => None,
            };
            if let Some(reg) = reg {
                return self.emit_into(var, reg);
            }
        }
        self.set_pending_any(var);
    }

    /// [`Self::set_pending`] in any case.
    #[inline(never)]
    fn set_pending_any(&mut self, var: u32) {
        let Some(state) = self.vars.get(var as usize) else {
            return self.misuse("no such variable");
        };
        if state.reads > 0 {
            self.copy_reads(var);
        }
        let state = &self.vars[var as usize];
        let (reg, wanted) = (state.reg, state.wanted());
        if reg != wanted && self.registers.free & wanted.bit() == 0 {
            self.vacate(wanted, Some(var));
        }
        let reg = self.emit_result(wanted);
        self.stack.pop();
        self.bind(var, reg, true);
        self.unsettle(self.stack.len());
    }

    fn set_reg(&mut self, var: u32, reg: Reg) {
        let state = self.vars[var as usize];
        if state.pin != Reg::NONE && state.pin != reg {
            self.registers.lock(reg);
            self.vacate(state.pin, Some(var));
            self.registers.unlock_all();
            self.move_to_reg(state.ty, state.pin, From::Reg(reg));
            self.registers.release(reg.bit());
            self.bind(var, state.pin, true);
        } else {
            self.bind(var, reg, true);
        }
    }

    fn set_const(&mut self, var: u32, value: i64) {
        let state = self.vars[var as usize];
        if state.pin != Reg::NONE {
            self.vacate(state.pin, Some(var));
            self.move_to_reg(state.ty, state.pin, From::Const(value));
            self.bind(var, state.pin, true);
            return;
        }
        self.unbind(var);
        if !self.registers.exist(state.class) {
            self.store_const(state.ty, var, value);
            return self.now_in_slot(var);
        }
        if !self.vars[var as usize].stale {
            self.constants.push(var);
        }
        let state = &mut self.vars[var as usize];
        state.constant = true;
        state.value = value;
        state.stale = true;
    }

    fn set_var(&mut self, var: u32, from: u32) {
        let (to, source) = (self.vars[var as usize], self.vars[from as usize]);
        if !self.registers.exist(to.class) {
            self.copy_slot(to.ty, var, from);
            return self.now_in_slot(var);
        }
        // The last read of a value hands its register over.
        if source.reg != Reg::NONE
            && source.pin == Reg::NONE
            && to.pin == Reg::NONE
            && !self.live(from)
        {
            self.vars[from as usize].reg = Reg::NONE;
            return self.bind(var, source.reg, true);
        }
        let reg = self.register_of_var(from);
        self.registers.lock(reg);
        let target = self.register_for(var);
        self.registers.unlock_all();
        self.move_to_reg(to.ty, target, From::Reg(reg));
        self.bind(var, target, true);
    }

    fn set_slot(&mut self, var: u32, slot: u32) {
        let state = self.vars[var as usize];
        if !self.registers.exist(state.class) {
            self.copy_slot(state.ty, var, slot);
            return self.now_in_slot(var);
        }
        let target = self.register_for(var);
        self.move_to_reg(state.ty, target, From::Slot(slot));
        self.bind(var, target, true);
    }

    /// The value of a variable that has no register was written to its slot.
    fn now_in_slot(&mut self, var: u32) {
        let state = &mut self.vars[var as usize];
        state.constant = false;
    }

    /// The register that a new value of a variable goes to.
    #[inline]
    fn register_for(&mut self, var: u32) -> Reg {
        let state = self.vars[var as usize];
        // A register that the operation in hand reads is not overwritten, even if it is reserved for this variable.
        if state.pin != Reg::NONE && self.registers.locked & state.pin.bit() == 0 {
            self.vacate(state.pin, Some(var));
            state.pin
        } else if state.reg != Reg::NONE {
            state.reg
        } else {
            self.allocate(state.class)
        }
    }

    /// The register that holds a variable, loaded if need be.
    #[inline]
    pub(super) fn register_of_var(&mut self, var: u32) -> Reg {
        match self.vars[var as usize].reg {
            Reg::NONE => self.load_var(var),
            reg => reg,
        }
    }

    /// [`Self::load_var`] of a variable in its slot to a register that nothing has to leave first, if there is one.
    #[inline(always)]
    pub(super) fn load_quickly(&mut self, var: u32) -> Option<Reg> {
        let state = self.vars.get_mut(var as usize)?;
        if state.reg != Reg::NONE || state.constant {
            return None;
        }
        let reg = match state.pin {
            Reg::NONE => self.registers.available(state.class)?,
            pin => self.registers.is_free(pin).then_some(pin)?,
        };
        state.reg = reg;
        let ty = state.ty;
        self.registers.give_var(reg, var, false);
        self.move_to_reg(ty, reg, From::Slot(var));
        Some(reg)
    }

    #[inline(always)]
    fn load_var(&mut self, var: u32) -> Reg {
        let reg = self.register_for(var);
        let state = self.vars[var as usize];
        self.move_to_reg(state.ty, reg, self.source_of_var(var));
        self.bind(var, reg, state.constant && state.stale);
        reg
    }

    /// A register that nothing uses: a free one, or one that is made free.
    #[inline]
    pub(super) fn allocate(&mut self, class: u8) -> Reg {
        match self.registers.available(class) {
            Some(reg) => reg,
            None => self.evict(class),
        }
    }

    /// Makes a register free: of a variable that is dead if there is one, else of one that is clean, else of a dirty one, else of an
    /// operand. Among equals they take turns.
    fn evict(&mut self, class: u8) -> Reg {
        let at = usize::from(class) & (CLASSES - 1);
        let set = self.registers.of_class(class) & !self.registers.pinned & !self.registers.locked;
        let after = Reg::new(at as u8, self.registers.next_victim[at])
            .bit()
            .wrapping_neg();
        let vars = set & self.registers.vars;
        let mut in_turn = each(vars & after).chain(each(vars & !after));
        let dead = in_turn.find(|reg| !self.live(self.registers.holder(*reg)));
        let turn = |set: RegSet| first(set & after).or(first(set));
        let clean = vars & !self.registers.dirty;
        let found = dead.or_else(|| turn(clean)).or(turn(vars)).or(turn(set));
        let Some(reg) = found else {
            self.misuse("an operation needs more registers than there are");
            return Reg::new(class & (CLASSES as u8 - 1), 0);
        };
        self.registers.next_victim[at] =
            ((reg.number() + 1) % self.registers.radix(class).max(1)) as u8;
        self.vacate(reg, None);
        reg
    }

    /// Moves whatever a register holds to memory, unless it is `except`'s. The register's bits stay as they are.
    pub(super) fn vacate(&mut self, reg: Reg, except: Option<u32>) {
        match self.registers.owner(reg) {
            Owner::Free => {}
            Owner::Var(var) if except == Some(var) => {}
            Owner::Var(var) => {
                self.clean_register(reg, var);
                self.vars[var as usize].reg = Reg::NONE;
                self.registers.release(reg.bit());
            }
            Owner::Temp(index) => {
                let index = index as usize;
                // An operand that was popped already is dying: its register is locked, and nothing else wants its value.
                if let Some(operand) = self.stack.get(index).copied()
                    && operand.at == At::Reg(reg)
                {
                    let slot = self.operand_slot(index);
                    self.store(operand.ty, slot, reg);
                    self.stack[index].at = At::Slot;
                }
                self.registers.release(reg.bit());
            }
        }
    }

    /// Moves what a set of registers holds to memory.
    pub(super) fn vacate_all(&mut self, set: RegSet) {
        for reg in each(set) {
            self.vacate(reg, None);
        }
    }

    /// Brings a variable's slot up to date if its value may still be read.
    #[inline]
    pub(super) fn clean(&mut self, var: u32) {
        let state = self.vars[var as usize];
        if !state.constant {
            self.clean_register(state.reg, var);
        } else if state.stale {
            if state.live(self.pos) {
                self.store_const(state.ty, var, state.value);
            }
            self.vars[var as usize].stale = false;
        }
    }

    /// [`Self::clean`] for a variable in that register (or in none, where there is nothing to do).
    #[inline]
    pub(super) fn clean_register(&mut self, reg: Reg, var: u32) {
        if self.registers.dirty & reg.bit() == 0 {
            return;
        }
        let state = &self.vars[var as usize];
        if state.live(self.pos) {
            self.store(state.ty, var, reg);
        }
        self.registers.cleaned(reg);
    }

    /// Saves what registers hold and forgets it: variables that may be read again, operands.
    #[inline(always)]
    pub(super) fn save_all(&mut self) {
        let vars = self.registers.vars;
        for reg in each(vars) {
            let var = self.registers.holder(reg);
            self.clean_register(reg, var);
            self.vars[var as usize].reg = Reg::NONE;
        }
        for reg in each(self.registers.held() & !vars) {
            self.vacate(reg, None);
        }
        self.registers.release(vars);
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
            // The variable's own register, if it has yet to be loaded, and the copy's. A class without registers has no room.
            let needed = 1 + u32::from(state.reg == Reg::NONE);
            if self.registers.room(state.class, state.reg) < needed {
                self.spill_read(index, var);
                continue;
            }
            let reg = self.register_of_var(var);
            let keep = self.registers.locked;
            self.registers.lock(reg);
            let copy = self.allocate(state.class);
            self.registers.locked = keep;
            self.move_to_reg(state.ty, copy, From::Reg(reg));
            self.hold(copy, index);
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
            if state.reg != Reg::NONE {
                self.store(state.ty, slot, state.reg);
            } else {
                self.copy_slot(state.ty, slot, var);
            }
            self.stack[index].at = At::Slot;
        }
        self.vars[var as usize].reads -= 1;
    }

    /// Brings every operand into its slot, but for constants.
    #[inline]
    pub(super) fn spill_stack(&mut self) {
        if self.settled < self.stack.len() {
            self.spill_unsettled();
        }
    }

    #[inline(never)]
    fn spill_unsettled(&mut self) {
        for index in self.settled..self.stack.len() {
            let operand = self.stack[index];
            match operand.at {
                At::Reg(reg) => {
                    let slot = self.operand_slot(index);
                    self.store(operand.ty, slot, reg);
                    self.stack[index].at = At::Slot;
                    self.registers.release(reg.bit());
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
            }
            self.forget_constant(var);
        }
        self.clean_constants = 0;
    }

    /// A variable was taken off the list of constants.
    pub(super) fn forget_constant(&mut self, var: u32) {
        let state = &mut self.vars[var as usize];
        state.constant = false;
        state.stale = false;
    }
}
