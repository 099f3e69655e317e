//! Blocks, loops and branches: what each label expects, and the moves on the edges that lead there.
//!
//! A loop's label expects the loop's pinned variables in their registers and everything else in memory. A label further
//! on expects what the first branch to it had in registers; later branches comply.

use copatch_spec::types::ValueType;

use super::moves::{From, Move};
use super::ops::Condition;
use super::state::{At, CLASSES, Layout, Operand, Reg, each};
use super::{FunctionBuilder, Mode};
use crate::buffer::{Label, Target};
use crate::forms::Values;

/// Registers of a class that no loop reserves: what an operation with three operands needs.
const TEMPORARIES: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    Function,
    Block,
    Loop,
    If,
    Else,
}

/// An open construct.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub kind: FrameKind,
    /// Its end, or the beginning of a loop.
    label: Label,
    else_label: Label,
    /// Whether the condition can be false.
    else_edge: bool,
    /// Operands below its parameters.
    pub height: usize,
    /// Parameter and result types, as ranges of the builder's types.
    params: (u32, u32),
    results: (u32, u32),
    /// What its label expects, once that is decided.
    layout: Option<u32>,
    /// The register of its one result, once that is decided.
    result_reg: Option<Reg>,
    /// What the other arm begins with.
    snapshot: u32,
    /// Where the pins of the loop around it are kept.
    saved_pins: (u32, u32),
    /// The out-of-line edge of the branch table in hand.
    stub: Option<Label>,
    /// Control cannot get to its beginning.
    dead: bool,
}

impl FunctionBuilder<'_, '_> {
    pub(super) fn open_function(&mut self) {
        let results = std::mem::take(&mut self.results);
        self.open(FrameKind::Function, &[], &results);
        self.results = results;
    }

    fn open(&mut self, kind: FrameKind, params: &[ValueType], results: &[ValueType]) {
        let start = self.types.len() as u32;
        self.types.extend_from_slice(params);
        let middle = self.types.len() as u32;
        self.types.extend_from_slice(results);
        let base = self.floor;
        let height = if self.dead() {
            self.stack.len()
        } else {
            self.stack.len().saturating_sub(params.len())
        };
        if height < base {
            self.misuse("the operand stack is too short for the parameters of a block");
        }
        let label = self.unit.buffer.label();
        let saved = self.saved_pins.len() as u32;
        self.floor = height.max(base);
        self.frames.push(Frame {
            kind,
            label,
            else_label: label,
            else_edge: false,
            height: height.max(base),
            params: (start, middle),
            results: (middle, self.types.len() as u32),
            layout: None,
            result_reg: None,
            snapshot: 0,
            saved_pins: (saved, saved),
            stub: None,
            dead: self.dead(),
        });
    }

    /// Opens a block whose label is its end.
    pub fn block(&mut self, params: &[ValueType], results: &[ValueType]) {
        if !self.dead() {
            self.flush();
            self.spill_stack();
        }
        self.open(FrameKind::Block, params, results);
    }

    /// Opens a loop, whose label is its beginning.
    pub fn loop_(&mut self, params: &[ValueType], results: &[ValueType]) {
        let index = self.loops;
        self.loops += 1;
        if self.dead() {
            return self.open(FrameKind::Loop, params, results);
        }
        self.flush();
        self.spill_stack();
        self.open(FrameKind::Loop, params, results);
        self.settle_params();
        self.choose_pins(index);
        self.spill_constants();
        self.vacate_all(self.registers.vars & !self.registers.pinned);
        // A reserved register may hold another variable whose own lies elsewhere.
        for reg in each(self.registers.vars) {
            if self.vars[self.registers.holder(reg) as usize].pin != reg {
                self.vacate(reg, None);
            }
        }
        let layout = self.snapshot(false);
        let at = self.layouts.len() as u32;
        self.layouts.push(layout);
        if let Some(frame) = self.frames.last_mut() {
            frame.layout = Some(at);
            let label = frame.label;
            self.unit.buffer.bind(label);
        }
    }

    /// Pops a condition and opens the arm that runs if it is not zero.
    pub fn if_(&mut self, params: &[ValueType], results: &[ValueType]) {
        if self.dead() {
            return self.open(FrameKind::If, params, results);
        }
        let Some(condition) = self.take_condition() else {
            return self.open(FrameKind::If, params, results);
        };
        self.spill_stack();
        self.spill_constants();
        self.open(FrameKind::If, params, results);
        self.settle_params();
        let else_label = self.unit.buffer.label();
        let known = match condition {
            Condition::Test(branches) => {
                self.emit_branch(&branches, false, else_label);
                None
            }
            Condition::Known(value) => Some(value),
        };
        let at = self.layouts.len() as u32;
        let snapshot = self.snapshot(false);
        self.layouts.push(snapshot);
        if let Some(frame) = self.frames.last_mut() {
            frame.else_label = else_label;
            frame.else_edge = known != Some(true);
            frame.snapshot = at;
        }
        if known == Some(false) {
            self.die();
        }
    }

    /// Ends the first arm of an `if_` and opens the other.
    pub fn else_(&mut self) {
        self.flush();
        let Some(frame) = self
            .frames
            .last()
            .copied()
            .filter(|frame| frame.kind == FrameKind::If)
        else {
            return self.misuse("an else without an if");
        };
        let index = self.frames.len() - 1;
        if !self.dead() {
            self.check_height(&frame);
            self.branch_always(index);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.kind = FrameKind::Else;
        }
        if frame.dead {
            return;
        }
        self.truncate(frame.height);
        self.clear_registers();
        self.mode = if frame.else_edge {
            Mode::Ready
        } else {
            Mode::Dead
        };
        if frame.else_edge {
            self.unit.buffer.bind(frame.else_label);
            self.adopt(frame.snapshot);
            self.push_slots(frame.params);
        }
    }

    /// Ends the innermost construct.
    pub fn end(&mut self) {
        self.flush();
        let Some(index) = self.frames.len().checked_sub(1) else {
            return self.misuse("an end without a beginning");
        };
        let frame = &self.frames[index];
        let (kind, height, params) = (frame.kind, frame.height, frame.params);
        if !frame.dead {
            let results = (frame.results.1 - frame.results.0) as usize;
            if !self.dead() && self.stack.len() != height + results {
                self.misuse("a block ends with too many or too few operands");
            }
            match kind {
                FrameKind::Function => {
                    if !self.dead() {
                        self.emit_return();
                    }
                    self.mode = Mode::Dead;
                }
                FrameKind::Loop => {}
                FrameKind::Block | FrameKind::Else => self.end_label(index),
                FrameKind::If => self.end_if(index),
            }
        }
        if kind == FrameKind::Loop {
            self.restore_pins(self.frames[index].saved_pins);
        }
        self.frames.pop();
        self.floor = self.frames.last().map_or(0, |frame| frame.height);
        if self.dead() {
            self.truncate(height);
        }
        self.types.truncate(params.0 as usize);
    }

    /// Ends a construct with only its label to come.
    fn end_label(&mut self, index: usize) {
        let Some(layout) = self.frames[index].layout else {
            return;
        };
        if !self.dead() {
            self.settle(layout);
            self.edge(index);
        }
        self.arrive(index);
    }

    /// Ends a conditional without a second arm: the other edge goes to the end too.
    fn end_if(&mut self, index: usize) {
        if !self.frames[index].else_edge {
            return self.end_label(index);
        }
        let reachable = !self.dead();
        if reachable {
            if self.frames[index].layout.is_none() {
                // What the untaken branch has in registers is expected, so that it needs no moves.
                let from = self.layouts[self.frames[index].snapshot as usize];
                let mut layout = Layout {
                    first: self.bindings.len() as u32,
                    ..from
                };
                for (at, reg) in (from.first as usize..).zip(each(from.bound)) {
                    let var = self.bindings[at];
                    if self.live(var) {
                        self.bindings.push(var);
                    } else {
                        layout.bound &= !reg.bit();
                        layout.dirty &= !reg.bit();
                    }
                }
                self.frames[index].layout = Some(self.layouts.len() as u32);
                self.layouts.push(layout);
            }
            let layout = self.frames[index].layout.unwrap_or(0);
            self.settle(layout);
            self.edge(index);
        }
        let frame = self.frames[index];
        let Some(layout) = frame.layout else {
            // The first arm leaves for good: only the other edge gets here.
            self.truncate(frame.height);
            self.clear_registers();
            self.unit.buffer.bind(frame.else_label);
            self.adopt(frame.snapshot);
            self.push_slots(frame.params);
            self.mode = Mode::Ready;
            return;
        };
        if self.same(frame.snapshot, layout) {
            self.unit.buffer.bind(frame.else_label);
            return self.arrive(index);
        }
        if reachable {
            self.jump(frame.label);
        }
        self.truncate(frame.height);
        self.clear_registers();
        self.unit.buffer.bind(frame.else_label);
        self.adopt(frame.snapshot);
        self.push_slots(frame.params);
        self.settle(layout);
        self.edge(index);
        self.arrive(index);
    }

    /// Whether code that has what `from` says need do nothing for a label that expects `to`.
    fn same(&self, from: u32, to: u32) -> bool {
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
    fn arrive(&mut self, index: usize) {
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

    fn push_slots(&mut self, types: (u32, u32)) {
        for at in types.0..types.1 {
            let ty = self.types[at as usize];
            self.push(ty, At::Slot);
        }
        self.settled = self.stack.len();
    }

    fn check_height(&mut self, frame: &Frame) {
        let results = (frame.results.1 - frame.results.0) as usize;
        if self.stack.len() != frame.height + results {
            self.misuse("a block ends with too many or too few operands");
        }
    }

    /// Branches to the construct `depth` levels out; 0 is the innermost. Leaving the outermost returns.
    pub fn br(&mut self, depth: u32) {
        if !self.ready() {
            return;
        }
        let Some(index) = self.frame_at(depth) else {
            return;
        };
        self.branch_always(index);
        self.die();
    }

    /// Pops a condition and branches if it is not zero.
    pub fn br_if(&mut self, depth: u32) {
        if self.dead() {
            return;
        }
        let Some(index) = self.frame_at(depth) else {
            return;
        };
        let branches = match self.take_condition() {
            Some(Condition::Test(branches)) => branches,
            Some(Condition::Known(true)) => return self.br(depth),
            Some(Condition::Known(false)) | None => return,
        };
        let apart = if self.frames[index].kind == FrameKind::Function {
            true
        } else {
            let layout = self.expect(index);
            self.settle(layout);
            self.needs_moves(index)
        };
        if !apart {
            let label = self.frames[index].label;
            return self.emit_branch(&branches, true, label);
        }
        let skip = self.unit.buffer.label();
        self.emit_branch(&branches, false, skip);
        self.leave(index);
        self.unit.buffer.bind(skip);
    }

    /// Pops an index and branches to that target, or to `default` if there is none.
    pub fn br_table(&mut self, targets: &[u32], default: u32) {
        if !self.ready() {
            return;
        }
        let op = self.pack.core().br_table;
        let info = self.pack.info(op);
        if !self.prepare(op, info, &[targets.len() as i64]) {
            return;
        }
        let depths = || targets.iter().chain([&default]).copied();
        let (mut settled, mut shared) = (None, None);
        for depth in depths() {
            let Some(index) = self.frame_at(depth) else {
                return;
            };
            let frame = &self.frames[index];
            if frame.kind == FrameKind::Function || settled.is_some() && frame.layout == settled {
                continue;
            }
            // Targets without values that nothing has branched to yet share what they expect.
            let fresh = frame.layout.is_none() && frame.results.0 == frame.results.1;
            if fresh {
                self.frames[index].layout = shared;
            }
            let layout = self.expect(index);
            if fresh {
                shared = Some(layout);
            }
            if settled != Some(layout) {
                self.settle(layout);
                settled = Some(layout);
            }
        }
        let (mut range, mut stubs) = (None, false);
        // What was found of the last layout.
        let mut known = (None, false);
        for depth in depths() {
            let Some(index) = self.frame_at(depth) else {
                return;
            };
            let frame = &self.frames[index];
            let (types, layout) = (self.label_types(frame), frame.layout);
            let apart = if frame.kind == FrameKind::Function {
                true
            } else if types.0 == types.1 && known.0 == layout {
                known.1
            } else {
                self.needs_moves(index)
            };
            if types.0 == types.1 {
                known = (layout, apart);
            }
            let label = match self.frames[index].stub {
                Some(stub) => stub,
                None if apart => {
                    let stub = self.unit.buffer.label();
                    self.frames[index].stub = Some(stub);
                    stubs = true;
                    stub
                }
                None => self.frames[index].label,
            };
            let entry = self.unit.buffer.table_entry(label);
            range = Some((range.map_or(entry, |(first, _)| first), entry + 1));
        }
        self.emit_table(range.unwrap_or((0, 0)));
        for depth in depths().take_while(|_| stubs) {
            let Some(index) = self.frame_at(depth) else {
                return;
            };
            if let Some(stub) = self.frames[index].stub.take() {
                self.unit.buffer.bind(stub);
                self.leave(index);
            }
        }
        self.die();
    }

    /// Raises a trap.
    pub fn trap(&mut self, kind: u8) {
        if !self.ready() {
            return;
        }
        self.unit.raise(kind, self.pos);
        self.die();
    }

    fn frame_at(&mut self, depth: u32) -> Option<usize> {
        let index = self.frames.len().checked_sub(depth as usize + 1);
        if index.is_none() {
            self.misuse("a branch out of more frames than are open");
        }
        index
    }

    fn branch_always(&mut self, index: usize) {
        if self.frames[index].kind != FrameKind::Function {
            let layout = self.expect(index);
            self.settle(layout);
        }
        self.leave(index);
    }

    /// The moves of an edge and the jump (or the return) at its end; the builder's state stays as it is.
    fn leave(&mut self, index: usize) {
        if self.frames[index].kind == FrameKind::Function {
            return self.emit_return();
        }
        self.edge(index);
        self.jump(self.frames[index].label);
    }

    fn jump(&mut self, label: Label) {
        let op = self.pack.core().jump;
        self.unit
            .emit_values(op, 0, &Values::default(), Target::Label(label), self.pos);
    }

    /// The types that a branch to a frame carries.
    fn label_types(&self, frame: &Frame) -> (u32, u32) {
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
    fn expect(&mut self, index: usize) -> u32 {
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
        if self.in_register(&frame) && frame.result_reg.is_none() {
            let reg = self.top_to_register();
            self.frames[index].result_reg = Some(reg);
        }
        if let Some(layout) = frame.layout {
            return layout;
        }
        let layout = self.snapshot(true);
        let at = self.layouts.len() as u32;
        self.layouts.push(layout);
        self.frames[index].layout = Some(at);
        at
    }

    /// Brings the top operand into a register of its own.
    fn top_to_register(&mut self) -> Reg {
        let index = self.stack.len().wrapping_sub(1);
        let Some(operand) = self.stack.get(index).copied() else {
            return Reg::new(0, 0);
        };
        if let At::Reg(reg) = operand.at {
            return reg;
        }
        let from = self.source_of(operand, index);
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
        reg
    }

    /// What variables are in registers now.
    fn snapshot(&mut self, only_live: bool) -> Layout {
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
    fn clear_registers(&mut self) {
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
    fn adopt(&mut self, layout: u32) {
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
    fn settle(&mut self, layout: u32) {
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
    fn needs_moves(&self, index: usize) -> bool {
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
    fn edge(&mut self, index: usize) {
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

    /// Marks what follows as out of reach.
    pub(super) fn die(&mut self) {
        self.mode = Mode::Dead;
        self.truncate(self.floor);
        self.registers.unlock_all();
    }

    /// Shortens the operand stack and gives back what its operands hold.
    fn truncate(&mut self, height: usize) {
        while self.stack.len() > height {
            match self.stack.pop() {
                Some(Operand {
                    at: At::Var(var), ..
                }) => self.vars[var as usize].reads -= 1,
                Some(Operand {
                    at: At::Reg(reg), ..
                }) => self.registers.release(reg.bit()),
                _ => {}
            }
        }
        self.settled = self.settled.min(height);
    }

    /// Brings the parameters of the construct just opened into their slots, constants included.
    fn settle_params(&mut self) {
        for index in self.floor..self.stack.len() {
            self.settle_operand(index, true);
        }
    }

    /// Reserves registers for the variables that a loop wants most, and brings these into them.
    fn choose_pins(&mut self, index: usize) {
        let saved = self.saved_pins.len() as u32;
        self.saved_pins.extend_from_slice(&self.pins);
        if let Some(frame) = self.frames.last_mut() {
            frame.saved_pins = (saved, self.saved_pins.len() as u32);
        }
        let mut room: [u8; CLASSES] = std::array::from_fn(|class| {
            self.registers
                .count(class as u8)
                .saturating_sub(TEMPORARIES)
        });
        let mut chosen = std::mem::take(&mut self.chosen);
        chosen.clear();
        for candidate in self.plan.candidates(index) {
            let Some(state) = self.vars.get(candidate.var as usize) else {
                continue;
            };
            if let Some(room) = room.get_mut(usize::from(state.class))
                && *room > 0
            {
                *room -= 1;
                chosen.push((candidate.var, candidate.written));
            }
        }
        for (var, _) in &self.pins {
            let class = usize::from(self.vars[*var as usize].class) & (CLASSES - 1);
            if room[class] > 0 && !chosen.iter().any(|(other, _)| other == var) {
                room[class] -= 1;
                chosen.push((*var, false));
            }
        }
        // First the registers that stay, so that new pins do not take them.
        self.registers.pinned = 0;
        for at in 0..self.pins.len() {
            let (var, reg) = self.pins[at];
            if chosen.iter().any(|(other, _)| *other == var) {
                self.registers.pinned |= reg.bit();
            } else {
                self.vars[var as usize].pin = Reg::NONE;
            }
        }
        self.pins.clear();
        for (var, written) in chosen.iter().copied() {
            let state = self.vars[var as usize];
            let pin = if state.pin != Reg::NONE {
                state.pin
            } else if state.reg != Reg::NONE && self.registers.pinned & state.reg.bit() == 0 {
                state.reg
            } else {
                self.allocate(state.class)
            };
            self.registers.pinned |= pin.bit();
            self.vars[var as usize].pin = pin;
            self.pins.push((var, pin));
            if !written {
                self.clean(var);
            }
            self.bring_home(var, pin);
            if written {
                self.registers.dirty |= pin.bit();
            }
        }
        self.chosen = chosen;
    }

    /// Brings a variable into the register reserved for it.
    fn bring_home(&mut self, var: u32, pin: Reg) {
        let state = self.vars[var as usize];
        if state.reg == pin {
            return;
        }
        self.vacate(pin, Some(var));
        let dirty = self.registers.dirty & state.reg.bit() != 0;
        let from = self.source_of_var(var);
        if self.live(var) {
            self.move_to_reg(state.ty, pin, from);
        }
        let stale = state.constant && state.stale;
        self.bind(var, pin, stale || dirty);
    }

    /// Goes back to the pins of the loop around the one that ended.
    fn restore_pins(&mut self, saved: (u32, u32)) {
        for (var, _) in self.pins.drain(..) {
            self.vars[var as usize].pin = Reg::NONE;
        }
        self.registers.pinned = 0;
        for at in saved.0..saved.1 {
            let (var, reg) = self.saved_pins[at as usize];
            self.vars[var as usize].pin = reg;
            self.registers.pinned |= reg.bit();
            self.pins.push((var, reg));
        }
        self.saved_pins.truncate(saved.0 as usize);
    }
}
