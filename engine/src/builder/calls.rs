//! Calls, returns, helpers and wrappers.
//!
//! Parameters and results travel in the first value registers of their class as long as there are argument
//! registers; parameter or result `i` beyond that in slot `i` of the callee's frame. A callee's frame begins at the
//! slot of the first operand that the caller passes, so operands spilled to their own slots are where the callee
//! wants them. All value registers are the callee's to use.

use copatch_spec::isa::Shape;
use copatch_spec::types::ValueType;

use super::moves::{From, Move};
use super::state::{At, CLASSES, Operand, Reg};
use super::{FunctionBuilder, Signature};
use crate::buffer::Target;
use crate::pack::OpId;
use crate::plan::Plan;
use crate::sites::CALLS_OUT;

/// Hands out argument registers.
pub(super) struct Places {
    next: [u8; CLASSES],
    arguments: [u8; CLASSES],
}

impl Places {
    /// The register of the next parameter or result of that class, or `None` if it travels in its slot.
    #[inline]
    pub fn next(&mut self, class: u8) -> Option<Reg> {
        let next = self.next.get_mut(usize::from(class))?;
        (*next < self.arguments[usize::from(class)]).then(|| {
            *next += 1;
            Reg::new(class, *next - 1)
        })
    }
}

impl FunctionBuilder<'_, '_> {
    #[inline]
    pub(super) fn places(&self) -> Places {
        Places {
            next: [0; CLASSES],
            arguments: self.arguments,
        }
    }

    /// Calls function `index` of the unit: pops its arguments, pushes its results.
    pub fn call(&mut self, index: u32, signature: &Signature) {
        self.call_before_write(index, signature, None);
    }

    /// [`Self::call`] where a variable may be named that is written after the call before anything reads it: what it holds need
    /// not be saved.
    pub fn call_before_write(&mut self, index: u32, signature: &Signature, written: Option<u32>) {
        if !self.ready() {
            return;
        }
        self.pass(signature, None, written);
        self.emit_direct(index);
        self.take_results(&signature.results);
    }

    /// Calls through a code pointer: pops an i64 and then the arguments, pushes the results.
    pub fn call_pointer(&mut self, signature: &Signature) {
        if !self.ready() {
            return;
        }
        let pointer = self.pop();
        let reg = self.pass(signature, Some(pointer), None);
        let op = self.pack.core().call_pointer;
        self.emit_call(op, reg, Target::None);
        self.take_results(&signature.results);
    }

    /// Calls helper number `index` of the context's table with the address of the slots of its `params` popped
    /// operands; result `i` comes back in the slot of operand `i`.
    pub fn helper(&mut self, index: u32, params: u32, results: &[ValueType]) {
        if !self.ready() {
            return;
        }
        if self.stack.len() - self.floor < params as usize {
            return self.misuse("the operand stack is too short for a helper");
        }
        self.leave_leaf();
        let first = self.stack.len() - params as usize;
        for at in first..self.stack.len() {
            self.settle_operand(at, true);
        }
        self.pop_all(first);
        self.save_all();
        let values = [
            i64::from(index),
            self.slot_offset(self.operand_slot(first)),
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        let op = self.pack.core().helper;
        let info = *self.info(op);
        if info.shape != Shape::Helper {
            return self.misuse("core.helper is not a helper");
        }
        let start = self.unit.buffer.len();
        self.unit
            .emit_values(op, 0, &values, Target::None, self.pos);
        // Before its first instruction everything is still where it was: a loop of nothing but calls can be left there.
        let moved = start + 1;
        if moved < self.unit.buffer.len() {
            self.unit.buffer.site(moved, CALLS_OUT, self.pos);
        }
        for ty in results {
            self.push(*ty, At::Slot);
        }
    }

    /// Returns from the function with its results on top of the stack.
    pub fn return_(&mut self) {
        if !self.ready() {
            return;
        }
        self.emit_return();
        self.die();
    }

    /// The moves and the return of the results on top of the stack; the builder's state stays as it is.
    pub(super) fn emit_return(&mut self) {
        let results = std::mem::take(&mut self.results);
        if self.stack.len() - self.floor < results.len() {
            self.results = results;
            return self.misuse("the operand stack is too short for the results");
        }
        let first = self.stack.len() - results.len();
        let mut places = self.places();
        self.moves.clear();
        let mut in_slots = Vec::new();
        for (index, ty) in results.iter().enumerate() {
            let operand = self.stack[first + index];
            match places.next(self.class_of(*ty)) {
                Some(to) => self.moves.push(self.operand_move(*ty, to, first + index)),
                None => in_slots.push((index, operand)),
            }
        }
        // Results beyond the registers: first to the operands' own slots; then, when everything else was read from
        // wherever it was, to the first slots, ascending. No slot is written there before it was read.
        for (index, operand) in &in_slots {
            self.copy_to_slot(*operand, first + index, self.operand_slot(first + index));
        }
        self.perform_moves();
        for (index, operand) in &in_slots {
            let (from, to) = (self.operand_slot(first + index), *index as u32);
            let number = self.class_of(operand.ty);
            let class = self.pack.classes().get(usize::from(number));
            match class.filter(|class| class.arguments < class.registers) {
                // The first register that carries no result: nothing is read any more.
                Some(class) => {
                    let spare = Reg::new(number, class.arguments);
                    self.move_to_reg(operand.ty, spare, From::Slot(from));
                    self.store(operand.ty, to, spare);
                }
                None => self.copy_slot(operand.ty, to, from),
            }
        }
        self.results = results;
        let op = if self.leaf {
            self.pack.core().return_leaf
        } else {
            self.pack.core().return_
        };
        self.unit.emit_plain(op);
    }

    /// Where an operand's value (at stack position `index`) is now.
    #[inline]
    pub(super) fn source_of(&self, operand: Operand, index: usize) -> From {
        match operand.at {
            At::Const(value) => From::Const(value),
            At::Reg(reg) => From::Reg(reg),
            At::Var(var) => self.source_of_var(var),
            At::Slot | At::Pending => From::Slot(self.operand_slot(index)),
        }
    }

    /// The move of the operand at that stack position to a register.
    #[inline(always)]
    fn operand_move(&self, ty: ValueType, to: Reg, index: usize) -> Move {
        let from = self.source_of(self.stack[index], index);
        Move { ty, to, from }
    }

    /// Where a variable's value is now.
    #[inline]
    pub(super) fn source_of_var(&self, var: u32) -> From {
        let state = &self.vars[var as usize];
        if state.constant {
            From::Const(state.value)
        } else if state.reg != Reg::NONE {
            From::Reg(state.reg)
        } else {
            From::Slot(var)
        }
    }

    /// Copies an operand (at stack position `index`) to a slot without changing what is known of it.
    pub(super) fn copy_to_slot(&mut self, operand: Operand, index: usize, slot: u32) {
        match self.source_of(operand, index) {
            From::Reg(reg) => self.store(operand.ty, slot, reg),
            From::Const(value) => self.store_const(operand.ty, slot, value),
            From::Slot(from) => self.copy_slot(operand.ty, slot, from),
        }
    }

    /// Brings an operand into its own slot.
    pub(super) fn settle_operand(&mut self, index: usize, constants: bool) {
        let operand = self.stack[index];
        match operand.at {
            At::Slot => return,
            At::Const(_) if !constants => return,
            _ => {}
        }
        let slot = self.operand_slot(index);
        self.copy_to_slot(operand, index, slot);
        match operand.at {
            At::Reg(reg) => self.registers.release(reg.bit()),
            At::Var(var) => self.vars[var as usize].reads -= 1,
            _ => {}
        }
        self.stack[index].at = At::Slot;
    }

    /// Pops the arguments and brings them where the callee expects them; everything else is saved, but for a variable that is
    /// `written` before it is read. Gives the register of the code pointer, which is one that carries no argument.
    #[inline(always)]
    fn pass(
        &mut self,
        signature: &Signature,
        pointer: Option<Operand>,
        written: Option<u32>,
    ) -> Option<Reg> {
        self.leave_leaf();
        let first = self.first_argument(signature)?;
        let mut places = self.places();
        // What is alone needs no list.
        let only = match signature.params.as_slice() {
            [ty] if pointer.is_none() => places
                .next(self.class_of(*ty))
                .map(|to| self.operand_move(*ty, to, first)),
            _ => None,
        };
        let mut to_pointer = None;
        if only.is_none() {
            self.moves.clear();
            for (index, ty) in signature.params.iter().enumerate() {
                match places.next(self.class_of(*ty)) {
                    Some(to) => self.moves.push(self.operand_move(*ty, to, first + index)),
                    None => self.settle_operand(first + index, true),
                }
            }
            to_pointer = pointer.map(|operand| self.pointer_move(operand, &self.moves));
            self.moves.extend(to_pointer);
        }
        // From here on the arguments are read from where the moves say; saving does not change a register's bits, and
        // a variable that is saved keeps its slot.
        self.pop_all(first);
        if let Some(state) = written.and_then(|var| self.vars.get(var as usize))
            && state.reads == 0
        {
            self.registers.cleaned(state.reg);
        }
        self.save_all();
        match only {
            Some(Move { ty, to, from }) => self.move_to_reg(ty, to, from),
            None => self.perform_moves(),
        }
        self.registers.unlock_all();
        self.registers.free_all();
        to_pointer.map(|mv| mv.to)
    }

    /// The position of the first argument on the stack, or an error if there are too few.
    pub(super) fn first_argument(&mut self, signature: &Signature) -> Option<usize> {
        let room = self.stack.len() - self.floor;
        if room < signature.params.len() {
            self.misuse("the operand stack is too short for the arguments");
            return None;
        }
        Some(self.stack.len() - signature.params.len())
    }

    /// The move of a code pointer that was just popped: it stays in its register if no argument goes there, else it goes to
    /// the first that carries none.
    pub(super) fn pointer_move(&self, pointer: Operand, arguments: &[Move]) -> Move {
        let from = self.source_of(pointer, self.stack.len());
        let to = match from {
            From::Reg(reg) if arguments.iter().all(|mv| mv.to != reg) => reg,
            _ => {
                let class = self.class_of(pointer.ty);
                let number = self.arguments.get(usize::from(class));
                Reg::new(class, number.copied().unwrap_or(0))
            }
        };
        Move {
            ty: pointer.ty,
            to,
            from,
        }
    }

    /// Pops operands down to that height without giving back their registers.
    fn pop_all(&mut self, height: usize) {
        for operand in &self.stack[height..] {
            if let At::Var(var) = operand.at {
                self.vars[var as usize].reads -= 1;
            }
        }
        self.stack.truncate(height);
        self.unsettle(height);
    }

    /// Emits the call of a function: one that is prepared, in nearly all cases.
    #[inline(always)]
    fn emit_direct(&mut self, function: u32) {
        let distance = self.slot_bytes_up_to(self.stack.len());
        let unit = &mut *self.unit;
        let prepared = self.templates.call(distance).and_then(|call| {
            unit.buffer
                .emit_call(unit.space.bytes_mut(), call, distance, function)
        });
        if prepared.is_none() {
            self.emit_call(self.pack.core().call, None, Target::Function(function));
        }
    }

    #[inline(never)]
    fn emit_call(&mut self, op: OpId, pointer: Option<Reg>, target: Target) {
        self.values[0] = self.slot_bytes_up_to(self.stack.len());
        let index = pointer.map_or(0, Reg::number);
        let (info, unit) = (self.info(op), &mut *self.unit);
        let Some((form, row)) = info.forms.known(info.outcome, &self.values) else {
            return unit.emit_values(op, index, &self.values, target, self.pos);
        };
        let (row, memory) = (row + index, unit.space.bytes_mut());
        // Before a call through a pointer and behind it the same is said; what has a target needs more.
        if unit.buffer.emit_pair(memory, row, &self.values).is_none() {
            unit.emit_form(form, row, &self.values, target, self.pos);
        }
    }

    /// Bytes from slot 0 to the slot of the operand of that index.
    fn slot_bytes_up_to(&self, index: usize) -> i64 {
        i64::from(self.operand_slot(index)) * i64::from(self.stride)
    }

    #[inline(always)]
    fn take_results(&mut self, results: &[ValueType]) {
        // Most functions have none.
        if results.is_empty() {
            return;
        }
        let mut places = self.places();
        for ty in results {
            let at = match places.next(self.class_of(*ty)) {
                Some(reg) => {
                    self.registers.give_temp(reg, self.stack.len());
                    At::Reg(reg)
                }
                None => At::Slot,
            };
            self.push(*ty, at);
        }
    }

    /// A function that was planned to call nothing does call.
    fn leave_leaf(&mut self) {
        if self.leaf {
            self.misuse("the plan says that this function calls nothing");
        }
    }

    /// Compiles a function that C calls through the entry shim: arguments come from its first slots, 8 bytes each,
    /// and results go there.
    pub fn entry_wrapper(&mut self, index: u32, target: u32, signature: &Signature) {
        self.entry(index, Some(target), signature);
    }

    /// Like [`FunctionBuilder::entry_wrapper`], for every function of this type: the address of its code comes from the
    /// slot behind those of arguments and results.
    pub fn entry_pointer_wrapper(&mut self, index: u32, signature: &Signature) {
        self.entry(index, None, signature);
    }

    fn entry(&mut self, index: u32, target: Option<u32>, signature: &Signature) {
        self.pos = 0;
        self.reset(index, &[], &Plan::default());
        let slots = signature.params.len().max(signature.results.len());
        for slot in 0..slots {
            let ty = signature
                .params
                .get(slot)
                .or(signature.results.get(slot))
                .copied();
            self.add_var(ty.unwrap_or(ValueType::I64));
        }
        if target.is_none() {
            self.add_var(ValueType::I64);
        }
        self.enter();
        for var in 0..signature.params.len() as u32 {
            self.get(var);
        }
        match target {
            Some(target) => self.call(target, signature),
            None => {
                self.get(slots as u32);
                self.call_pointer(signature);
            }
        }
        for index in 0..signature.results.len().min(self.stack.len()) {
            let operand = self.stack[index];
            self.copy_to_slot(operand, index, index as u32);
        }
        self.stack.clear();
        self.settled = 0;
        self.registers.reset();
        self.end();
    }

    /// Compiles a function that hands its parameters to a helper and returns what the helper leaves in their place.
    pub fn import_wrapper(&mut self, index: u32, helper: u32, signature: &Signature) {
        self.begin(index, signature, &[], &Plan::default());
        for var in 0..signature.params.len() as u32 {
            self.get(var);
        }
        self.helper(helper, signature.params.len() as u32, &signature.results);
        self.end();
    }
}
