//! Labels: what each expects of registers and slots, and the moves on the edges that lead there.
//!
//! A loop's label expects the loop's pinned variables in their registers and everything else in memory. A label further
//! on expects what the first branch to it had in registers; later branches comply.

use super::control::{Frame, FrameKind};
use super::moves::{From, Move};
use super::state::{At, Layout, Reg, each};
use super::{FunctionBuilder, Mode};

impl FunctionBuilder<'_, '_> {
    /// Whether code that has what `from` says need do nothing for a label that expects `to`.
    pub(super) fn same(&self, from: u32, to: u32) -> bool {
        let (from, to) = (self.layouts[from as usize], self.layouts[to as usize]);
        each(from.bound | to.bound).all(|reg| {
            let dirty = from.dirty & reg.bit() != 0;
            match (self.expected(&from, reg), self.expected(&to, reg)) {
                (Some(a), Some(b)) if a == b => {
                    to.dirty & reg.bit() != 0 || !dirty || !self.live(a)
                }
                (from_var, to_var) => {
                    let arrives = to_var.is_none_or(|var| !self.live(var));
                    arrives && from_var.is_none_or(|var| !dirty || !self.live(var))
                }
            }
        })
    }

    /// The variable that a layout has in a register.
    fn expected(&self, layout: &Layout, reg: Reg) -> Option<u32> {
        self.bound(layout)
            .find(|(_, bound)| *bound == reg)
            .map(|(var, _)| var)
    }

    /// Binds a label and takes on what it expects.
    pub(super) fn arrive(&mut self, index: usize) {
        let frame = &self.frames[index];
        let (height, label, layout) = (frame.height, frame.label, frame.layout);
        let (results, result_reg) = (frame.results, frame.result_reg);
        self.truncate(height);
        self.clear_registers();
        self.unit.buffer.bind(label);
        if let Some(layout) = layout {
            self.adopt(layout);
        }
        self.mode = Mode::Ready;
        match result_reg {
            Some(reg) => {
                let ty = self.types[results.0 as usize];
                self.registers.give_temp(reg, self.stack.len());
                self.push(ty, At::Reg(reg));
            }
            None => self.push_slots(results),
        }
    }

    pub(super) fn push_slots(&mut self, types: (u32, u32)) {
        for at in types.0..types.1 {
            let ty = self.types[at as usize];
            self.push(ty, At::Slot);
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
    pub(super) fn expect(&mut self, index: usize) -> u32 {
        let frame = &self.frames[index];
        let (first, end) = self.label_types(frame);
        if let Some(layout) = frame.layout
            && first == end
        {
            return layout;
        }
        let frame = *frame;
        if self.stack.len() < self.floor + (end - first) as usize {
            self.misuse("the operand stack is too short for a branch");
        }
        if let Some(layout) = frame.layout {
            return layout;
        }
        if self.in_register(&frame) {
            self.frames[index].result_reg = self.top_to_register();
        }
        let layout = self.snapshot(true);
        let at = self.layouts.len() as u32;
        self.layouts.push(layout);
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
        self.registers.give_temp(reg, index);
        self.stack[index].at = At::Reg(reg);
        Some(reg)
    }

    /// What variables are in registers now.
    pub(super) fn snapshot(&mut self, only_live: bool) -> Layout {
        let mut layout = Layout {
            first: self.bindings.len() as u32,
            ..Layout::default()
        };
        for reg in each(self.registers.vars) {
            let var = self.registers.holder(reg);
            let state = &self.vars[var as usize];
            if !only_live || state.live(self.pos) {
                layout.bound |= reg.bit();
                layout.dirty |= self.registers.dirty & reg.bit();
                self.bindings.push(var);
            }
        }
        layout
    }

    /// Forgets what is in registers.
    pub(super) fn clear_registers(&mut self) {
        for reg in each(self.registers.vars) {
            self.vars[self.registers.holder(reg) as usize].reg = Reg::NONE;
        }
        self.registers.free_all();
        self.registers.unlock_all();
        while let Some(var) = self.constants.pop() {
            self.vars[var as usize].constant = false;
        }
        self.clean_constants = 0;
    }

    /// Takes on what a label expects; registers must have been cleared.
    pub(super) fn adopt(&mut self, layout: u32) {
        let layout = self.layouts[layout as usize];
        let vars = self.bindings.get(layout.first as usize..);
        for (var, reg) in vars.unwrap_or_default().iter().zip(each(layout.bound)) {
            self.vars[*var as usize].reg = reg;
            self.vars[*var as usize].constant = false;
            self.registers
                .give_var(reg, *var, layout.dirty & reg.bit() != 0);
            debug_assert_eq!(self.vars[*var as usize].class, reg.class());
        }
    }

    /// Stores what a label expects in memory and is only in registers.
    pub(super) fn settle(&mut self, layout: u32) {
        let layout = self.layouts[layout as usize];
        let mut dirty = self.registers.dirty;
        if dirty & layout.dirty != 0 {
            // What is where the label expects it stays there.
            for (var, reg) in self.bound(&layout) {
                if layout.dirty & reg.bit() != 0 && self.registers.holder(reg) == var {
                    dirty &= !reg.bit();
                }
            }
        }
        for reg in each(dirty) {
            let var = self.registers.holder(reg);
            if !self.expects_dirty(&layout, var) {
                self.clean_register(reg, var);
            }
        }
        if self.clean_constants < self.constants.len() {
            self.settle_constants(&layout);
        }
    }

    fn settle_constants(&mut self, layout: &Layout) {
        let mut clean = true;
        for at in self.clean_constants..self.constants.len() {
            let var = self.constants[at];
            let state = &self.vars[var as usize];
            if state.constant && state.stale {
                if self.expects_dirty(layout, var) {
                    clean = false;
                } else {
                    self.clean(var);
                }
            }
        }
        if clean {
            self.clean_constants = self.constants.len();
        }
    }

    /// The variables that a layout has in registers, and where.
    #[inline]
    fn bound(&self, layout: &Layout) -> impl Iterator<Item = (u32, Reg)> + use<'_> {
        let vars = self.bindings.get(layout.first as usize..);
        vars.unwrap_or_default()
            .iter()
            .copied()
            .zip(each(layout.bound))
    }

    /// Whether a label expects a variable in a register and does not care about its slot.
    #[inline]
    fn expects_dirty(&self, layout: &Layout, var: u32) -> bool {
        layout.dirty != 0
            && self
                .bound(layout)
                .any(|(expected, reg)| expected == var && layout.dirty & reg.bit() != 0)
    }

    /// Whether anything is to be moved on the way to a frame's label.
    pub(super) fn needs_moves(&self, index: usize) -> bool {
        let frame = &self.frames[index];
        if let Some(layout) = frame.layout {
            let layout = self.layouts[layout as usize];
            let moved = |(var, reg): (u32, Reg)| {
                let state = &self.vars[var as usize];
                state.reg != reg && state.live(self.pos)
            };
            if self.bound(&layout).any(moved) {
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

    /// The moves on the way to a frame's label; the builder's state stays as it is.
    pub(super) fn edge(&mut self, index: usize) {
        let frame = &self.frames[index];
        let (types, height) = (self.label_types(frame), frame.height);
        let (layout, result_reg) = (frame.layout, frame.result_reg);
        let mut moves = std::mem::take(&mut self.moves);
        moves.clear();
        if let Some(layout) = layout {
            let layout = self.layouts[layout as usize];
            for (var, to) in self.bound(&layout) {
                let state = &self.vars[var as usize];
                if state.reg != to && state.live(self.pos) {
                    moves.push(Move {
                        ty: state.ty,
                        to,
                        from: self.source_of_var(var),
                    });
                }
            }
        }
        if let (Some(reg), Some(operand)) = (result_reg, self.stack.last().copied()) {
            moves.push(Move {
                ty: operand.ty,
                to: reg,
                from: self.source_of(operand, self.stack.len() - 1),
            });
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
        match moves.as_slice() {
            [] => {}
            [mv] => self.move_to_reg(mv.ty, mv.to, mv.from),
            _ => self.parallel_move(&mut moves),
        }
        self.moves = moves;
    }
}
