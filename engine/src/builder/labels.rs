//! Labels: what each expects of registers and slots, and the moves on the edges that lead there.
//!
//! A loop's label expects the loop's pinned variables in their registers and everything else in memory. A label further
//! on expects what the first branch to it had in registers; later branches comply.

use std::hint::cold_path;

use super::control::{Frame, FrameKind};
use super::moves::{From, Move};
use super::state::{At, Layout, Reg, RegSet, each};
use super::{FunctionBuilder, Mode};
use crate::hint::unlikely;

impl FunctionBuilder<'_, '_> {
    /// Whether code that has what `from` says need do nothing for a label that expects `to`.
    pub(super) fn same(&self, from: u32, to: u32) -> bool {
        let (from, to) = (&self.layouts[from as usize], &self.layouts[to as usize]);
        let same = from.same(to);
        let stored = from.dirty & !(to.dirty & same);
        !each(stored).any(|reg| self.live(from.holder(reg)))
            && !each(to.bound & !same).any(|reg| self.live(to.holder(reg)))
    }

    /// Binds a label and takes on what it expects; `missing` is the part of that which registers did not hold before the
    /// edge.
    #[inline(always)]
    pub(super) fn arrive(&mut self, index: usize, missing: RegSet) {
        let frame = &self.frames[index];
        let (height, label, layout) = (frame.height, frame.label, frame.layout);
        let (results, result_reg) = (frame.results, frame.result_reg);
        self.truncate(height);
        self.unit.buffer.bind(label);
        if let Some(layout) = layout {
            self.adopt(layout, missing);
        }
        self.mode = Mode::Ready;
        match result_reg {
            Some(reg) => {
                cold_path();
                let ty = self.types[results.0 as usize];
                self.registers.give_temp(reg, self.stack.len());
                self.push(ty, At::Reg(reg));
            }
            None => self.push_slots(results),
        }
    }

    pub(super) fn push_slots(&mut self, types: (u32, u32)) {
        // Most carry nothing.
        if unlikely(types.0 != types.1) {
            for at in types.0..types.1 {
                let ty = self.types[at as usize];
                self.push(ty, At::Slot);
            }
        }
        self.settled = self.stack.len();
    }

    /// The types that a branch to a frame carries.
    pub(super) fn label_types(&self, frame: &Frame) -> (u32, u32) {
        if frame.kind == FrameKind::Loop {
            frame.params
        } else {
            frame.results
        }
    }

    /// Whether a branch carries its value in a register.
    fn in_register(&self, frame: &Frame) -> bool {
        frame.kind != FrameKind::Loop
            && frame.params.0 == frame.params.1
            && frame.results.1 - frame.results.0 == 1
            && self
                .registers
                .exist(self.class_of(self.types[frame.results.0 as usize]))
    }

    /// Decides what a label expects, if this is the first branch to it. What the branch carries must be on the stack.
    #[inline(always)]
    pub(super) fn expect(&mut self, index: usize) -> u32 {
        let frame = &self.frames[index];
        let (first, end) = self.label_types(frame);
        match frame.layout {
            Some(layout) if first == end => layout,
            _ => self.decide(index, (first, end)),
        }
    }

    /// [`Self::expect`] for the first branch, or one that carries something.
    #[inline(never)]
    fn decide(&mut self, index: usize, (first, end): (u32, u32)) -> u32 {
        let frame = self.frames[index];
        if self.stack.len() < self.floor + (end - first) as usize {
            self.misuse("the operand stack is too short for a branch");
        }
        if let Some(layout) = frame.layout {
            return layout;
        }
        if self.in_register(&frame) {
            self.frames[index].result_reg = self.top_to_register();
        }
        let at = self.add_layout(self.registers.layout());
        self.forget_dead(at);
        self.frames[index].layout = Some(at);
        at
    }

    /// Brings the top operand into a register of its own, if there is one left.
    fn top_to_register(&mut self) -> Option<Reg> {
        let index = self.stack.len().checked_sub(1)?;
        let operand = self.stack[index];
        if let At::Reg(reg) = operand.at {
            return Some(reg);
        }
        let from = self.source_of(operand, index);
        let own = match from {
            From::Reg(reg) => reg,
            _ => Reg::NONE,
        };
        if self.registers.room(self.class_of(operand.ty), own) == 0 {
            return None;
        }
        let locked = self.registers.locked;
        if let From::Reg(reg) = from {
            self.registers.lock(reg);
        }
        let reg = self.allocate(self.class_of(operand.ty));
        self.registers.locked = locked;
        self.move_to_reg(operand.ty, reg, from);
        if let At::Var(var) = operand.at {
            self.vars[var as usize].reads -= 1;
        }
        self.hold(reg, index);
        Some(reg)
    }

    /// Takes the variables out of a layout whose values nobody reads any more.
    pub(super) fn forget_dead(&mut self, layout: u32) {
        let layout = &mut self.layouts[layout as usize];
        for reg in each(layout.bound) {
            if !self.vars[layout.holder(reg) as usize].live(self.pos) {
                layout.bound &= !reg.bit();
                layout.dirty &= !reg.bit();
            }
        }
    }

    pub(super) fn add_layout(&mut self, layout: Layout) -> u32 {
        self.layouts.push(layout);
        self.layouts.len() as u32 - 1
    }

    /// Takes on what a label expects, of which `missing` was not there, in place of what registers hold now.
    #[inline(always)]
    pub(super) fn adopt(&mut self, layout: u32, missing: RegSet) {
        let layout = &self.layouts[layout as usize];
        for reg in each(self.registers.vars & !(layout.bound & !missing)) {
            self.vars[self.registers.holder(reg) as usize].reg = Reg::NONE;
        }
        for reg in each(missing) {
            let var = &mut self.vars[layout.holder(reg) as usize];
            debug_assert_eq!(var.class, reg.class());
            var.reg = reg;
            var.constant = false;
        }
        self.registers.take_on(layout);
        while let Some(var) = self.constants.pop() {
            self.forget_constant(var);
        }
        self.clean_constants = 0;
    }

    /// Stores what a label expects in memory and is only in registers. Gives the registers that the label expects and that
    /// do not hold what it expects in them.
    pub(super) fn settle(&mut self, index: u32) -> RegSet {
        self.settle_here(index)
    }

    /// [`Self::settle`], with its code in its place.
    #[inline(always)]
    pub(super) fn settle_here(&mut self, index: u32) -> RegSet {
        let missing = self.missing(index);
        let layout = &self.layouts[index as usize];
        // What is where the label expects it stays there.
        let dirty = self.registers.dirty & !(layout.dirty & !missing);
        let elsewhere = layout.dirty & missing;
        if unlikely(dirty != 0) {
            self.store_dirty(dirty, elsewhere, index);
        }
        if unlikely(self.clean_constants < self.constants.len()) {
            self.settle_constants(elsewhere, index);
        }
        missing
    }

    /// Stores the variables in a set of registers, but for those that a label does not expect in memory.
    fn store_dirty(&mut self, dirty: RegSet, elsewhere: RegSet, layout: u32) {
        for reg in each(dirty) {
            let var = self.registers.holder(reg);
            if !self.expects(elsewhere, layout, var) {
                self.clean_register(reg, var);
            }
        }
    }

    /// Stores constants that a label expects in memory. Those that it expects in a register stay stale: no more than there are
    /// registers, so that every other is looked at once for each time it is written.
    #[inline]
    fn settle_constants(&mut self, elsewhere: RegSet, layout: u32) {
        let mut kept = 0;
        for at in self.clean_constants..self.constants.len() {
            let var = self.constants[at];
            if self.vars[var as usize].constant {
                if self.expects(elsewhere, layout, var) {
                    kept += 1;
                    continue;
                }
                self.clean(var);
            }
            self.vars[var as usize].stale = false;
            if kept > 0 {
                self.constants.swap(at - kept, at);
            }
        }
        self.clean_constants = self.constants.len() - kept;
    }

    /// Whether a label expects a variable in one of these registers.
    #[inline]
    fn expects(&self, registers: RegSet, layout: u32, var: u32) -> bool {
        registers != 0 && {
            let layout = &self.layouts[layout as usize];
            each(registers).any(|reg| layout.holder(reg) == var)
        }
    }

    /// The registers that a label expects to hold what they do not hold.
    #[inline]
    pub(super) fn missing(&self, layout: u32) -> RegSet {
        let layout = &self.layouts[layout as usize];
        layout.bound & !self.registers.matching(layout)
    }

    /// [`Self::missing`] for a frame's label; nothing where it is not decided what that expects.
    pub(super) fn missing_at(&self, index: usize) -> RegSet {
        let layout = self.frames[index].layout;
        layout.map_or(0, |layout| self.missing(layout))
    }

    /// Whether anything is to be moved on the way to a frame's label, which expects more in these registers.
    pub(super) fn needs_moves(&self, index: usize, missing: RegSet) -> bool {
        let frame = &self.frames[index];
        if missing != 0
            && let Some(layout) = frame.layout
        {
            let layout = &self.layouts[layout as usize];
            if each(missing).any(|reg| self.live(layout.holder(reg))) {
                return true;
            }
        }
        let (first, end) = self.label_types(frame);
        let count = (end - first) as usize;
        if count == 0 {
            return false;
        }
        let bottom = self.stack.len().saturating_sub(count);
        match frame.result_reg {
            Some(reg) => self
                .stack
                .last()
                .is_none_or(|operand| operand.at != At::Reg(reg)),
            None => {
                bottom != frame.height
                    || self.stack[bottom..]
                        .iter()
                        .any(|operand| operand.at != At::Slot)
            }
        }
    }

    /// The moves on the way to a frame's label, which expects more in these registers; the builder's state stays as it
    /// is.
    #[inline]
    pub(super) fn edge(&mut self, index: usize, missing: RegSet) {
        let frame = &self.frames[index];
        let types = self.label_types(frame);
        if unlikely(missing != 0 || types.0 != types.1) {
            self.moves_to(index, missing, types);
        }
    }

    #[inline(never)]
    fn moves_to(&mut self, index: usize, missing: RegSet, types: (u32, u32)) {
        let frame = &self.frames[index];
        let (layout, height, result_reg) = (frame.layout, frame.height, frame.result_reg);
        self.moves.clear();
        if let Some(layout) = layout {
            let layout = &self.layouts[layout as usize];
            for to in each(missing) {
                let var = layout.holder(to);
                let state = &self.vars[var as usize];
                if state.live(self.pos) {
                    let (ty, from) = (state.ty, self.source_of_var(var));
                    self.moves.push(Move { ty, to, from });
                }
            }
        }
        if let (Some(reg), Some(operand)) = (result_reg, self.stack.last().copied()) {
            let (ty, from) = (operand.ty, self.source_of(operand, self.stack.len() - 1));
            self.moves.push(Move { ty, to: reg, from });
        } else if types.0 != types.1 {
            // In ascending order no operand's slot is overwritten before it is read.
            let bottom = self
                .stack
                .len()
                .saturating_sub((types.1 - types.0) as usize);
            for (offset, at) in (bottom..self.stack.len()).enumerate() {
                let operand = self.stack[at];
                self.copy_to_slot(operand, at, self.operand_slot(height + offset));
            }
        }
        self.perform_moves();
    }
}
