//! Exits: ways out of the middle of a function, with every variable where someone else finds it.
//!
//! An exit costs its compare-and-branch where it stands. What differs from slots at that point (variables in registers, known
//! constants) is noted, and stored by code behind the function's own, one stub an exit; all stubs lead to one place, where
//! the front end goes on with the number of the exit taken. A language that speculates puts its guards there: the interpreter
//! continues from the variables' slots.

use copatch_spec::types::ValueType;

use super::pending::Condition;
use super::state::{Reg, each};
use super::{FunctionBuilder, Mode};
use crate::buffer::Label;

/// An exit whose stub is yet to be emitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    label: Label,
    number: u32,
    /// The end of its stores among those of all exits; they begin where the exit before ends.
    stores: u32,
}

/// A variable that an exit brings to its slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store {
    ty: ValueType,
    var: u32,
    /// The register it is in, or none if it is known to be `value`.
    reg: Reg,
    value: i64,
}

impl FunctionBuilder<'_, '_> {
    /// Pops a condition and leaves through an exit if it is not zero. `number` is the front end's name for it, below 2^31.
    ///
    /// At the place that [`Self::exits`] opens, the slots of all variables that are live here (by the plan) hold their values;
    /// operands on the stack are lost.
    pub fn exit_if(&mut self, number: u32) {
        if self.dead() {
            return;
        }
        let label = match self.take_condition() {
            Some(Condition::Test(branches)) => {
                let label = self.unit.buffer.label();
                self.emit_branch(&branches, true, label);
                label
            }
            Some(Condition::Known(true)) => return self.exit(number),
            Some(Condition::Known(false)) | None => return,
        };
        self.note_exit(label, number);
    }

    /// Leaves through an exit, always.
    pub fn exit(&mut self, number: u32) {
        if !self.ready() {
            return;
        }
        let label = self.unit.buffer.label();
        self.jump(label);
        self.note_exit(label, number);
        self.die();
    }

    fn note_exit(&mut self, label: Label, number: u32) {
        for reg in each(self.registers.vars & self.registers.dirty) {
            let var = self.registers.holder(reg);
            let state = &self.vars[var as usize];
            if state.live(self.pos) {
                self.exit_stores.push(Store {
                    ty: state.ty,
                    var,
                    reg,
                    value: 0,
                });
            }
        }
        for var in &self.constants[self.clean_constants..] {
            let state = &self.vars[*var as usize];
            if state.constant && state.stale && state.live(self.pos) {
                self.exit_stores.push(Store {
                    ty: state.ty,
                    var: *var,
                    reg: Reg::NONE,
                    value: state.value,
                });
            }
        }
        self.exits.push(Exit {
            label,
            number,
            stores: self.exit_stores.len() as u32,
        });
    }

    /// Emits what the function's exits store, behind code that has come to its end. If there are any, control goes on behind:
    /// every variable is in its slot, and variable `number`, an i64, holds the exit's number. Gives whether there are any.
    pub fn exits(&mut self, number: u32) -> bool {
        if self.mode != Mode::Dead || self.frames.len() != 1 {
            self.misuse("exits are emitted where the function's code has come to its end");
            return false;
        }
        if self.vars.get(number as usize).map(|var| var.ty) != Some(ValueType::I64) {
            self.misuse("the number of an exit needs a variable of type i64");
            return false;
        }
        let exits = std::mem::take(&mut self.exits);
        let stores = std::mem::take(&mut self.exit_stores);
        if exits.is_empty() {
            return false;
        }
        self.mode = Mode::Ready;
        let together = self.unit.buffer.label();
        let mut first = 0;
        for exit in &exits {
            self.unit.buffer.bind(exit.label);
            for store in &stores[first as usize..exit.stores as usize] {
                if store.reg == Reg::NONE {
                    self.store_const(store.ty, store.var, store.value);
                } else {
                    self.store(store.ty, store.var, store.reg);
                }
            }
            first = exit.stores;
            self.store_const(ValueType::I64, number, i64::from(exit.number));
            self.jump(together);
        }
        self.unit.buffer.bind(together);
        self.registers.reset();
        self.constants.clear();
        self.clean_constants = 0;
        for var in &mut self.vars {
            (var.reg, var.pin) = (Reg::NONE, Reg::NONE);
            (var.constant, var.stale) = (false, false);
            var.reads = 0;
        }
        (self.exits, self.exit_stores) = (exits, stores);
        self.exits.clear();
        self.exit_stores.clear();
        true
    }
}
