//! Blocks, loops, conditionals and branches.

use copatch_spec::types::ValueType;

use super::pending::Condition;
use super::state::{At, Operand, Reg, RegSet, each};
use super::{FunctionBuilder, Mode};
use crate::buffer::{Label, Target};
use crate::error::Error;
use crate::forms::NO_VALUES;
use crate::hint::{unlikely, usual};

/// Parameters and results of all constructs that are open at once: a few bytes of a program can open one with a thousand.
const MAX_TYPES: u32 = 1 << 22;
const TYPES: &str = "the parameters and results of open blocks";

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
    pub label: Label,
    else_label: Label,
    /// Whether the condition can be false.
    else_edge: bool,
    /// Operands below its parameters.
    pub height: usize,
    /// Parameter and result types, as ranges of the builder's types.
    pub params: (u32, u32),
    pub results: (u32, u32),
    /// What its label expects, once that is decided.
    pub layout: Option<u32>,
    /// The register of its one result, once that is decided.
    pub result_reg: Option<Reg>,
    /// What the other arm begins with.
    snapshot: u32,
    /// Where the pins of the loop around it are kept.
    pub saved_pins: (u32, u32),
    /// The out-of-line edge of the branch table in hand.
    stub: Option<Label>,
    /// Control cannot get to its beginning.
    dead: bool,
}

impl Frame {
    /// Whether nothing has branched to its end yet, and nothing is carried there. The function's own end is none.
    fn fresh(&self) -> bool {
        self.kind != FrameKind::Function
            && self.layout.is_none()
            && self.results.0 == self.results.1
    }
}

/// What was settled for the targets of a branch table that were looked at.
#[derive(Default)]
struct Settled {
    /// What the last of them expects.
    layout: Option<u32>,
    /// What those expect that nothing had branched to.
    shared: Option<u32>,
    /// One of those that expect the same and take no values.
    alike: Option<usize>,
    /// How many different things they expect, roughly.
    kinds: u32,
}

impl FunctionBuilder<'_, '_> {
    pub(super) fn open_function(&mut self) {
        let results = std::mem::take(&mut self.results);
        self.open(FrameKind::Function, &[], &results);
        self.results = results;
    }

    #[inline(always)]
    fn open(&mut self, kind: FrameKind, params: &[ValueType], results: &[ValueType]) {
        let start = self.types.len() as u32;
        let (mut middle, mut end) = (
            start + params.len() as u32,
            start + (params.len() + results.len()) as u32,
        );
        if end > MAX_TYPES {
            self.unit.buffer.fail(Error::Limit { what: TYPES });
            (middle, end) = (start, start);
        }
        // Most blocks have neither.
        if start != end {
            self.types.extend_from_slice(params);
            self.types.extend_from_slice(results);
        }
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
            results: (middle, end),
            layout: None,
            result_reg: None,
            snapshot: 0,
            saved_pins: (saved, saved),
            stub: None,
            dead: self.dead(),
        });
    }

    /// Opens so many blocks without parameters and results, one directly inside the other.
    pub fn blocks(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.block(&[], &[]);
        if count == 1 {
            return;
        }
        let Some(first) = self.frames.last().copied() else {
            return;
        };
        let buffer = &mut self.unit.buffer;
        self.frames.extend((1..count).map(|_| {
            let label = buffer.label();
            Frame {
                label,
                else_label: label,
                ..first
            }
        }));
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
        let at = self.add_layout(self.registers.layout());
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
        let at = self.add_layout(self.registers.layout());
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
        self.mode = if frame.else_edge {
            Mode::Ready
        } else {
            Mode::Dead
        };
        if frame.else_edge {
            self.begin_untaken(frame.else_label, frame.snapshot, frame.params);
        }
    }

    /// Binds the label of the untaken branch of an `if_`, and takes on what it has in registers.
    #[inline(never)]
    fn begin_untaken(&mut self, label: Label, snapshot: u32, params: (u32, u32)) {
        self.unit.buffer.bind(label);
        self.adopt(snapshot, self.missing(snapshot));
        self.push_slots(params);
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
        if unlikely(kind == FrameKind::Loop) {
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
    #[inline(never)]
    fn end_label(&mut self, index: usize) {
        let Some(layout) = usual(self.frames[index].layout) else {
            return;
        };
        let missing = if self.dead() {
            self.missing(layout)
        } else {
            let missing = self.settle_here(layout);
            self.edge(index, missing);
            missing
        };
        self.arrive(index, missing);
    }

    /// Ends a conditional without a second arm: the other edge goes to the end too.
    fn end_if(&mut self, index: usize) {
        let frame = &self.frames[index];
        let (snapshot, label, else_label) = (frame.snapshot, frame.label, frame.else_label);
        if !frame.else_edge {
            return self.end_label(index);
        }
        let reachable = !self.dead();
        let layout = match frame.layout {
            Some(layout) => layout,
            None if reachable => {
                // What the untaken branch has in registers is expected, so that it needs no moves.
                self.forget_dead(snapshot);
                self.frames[index].layout = Some(snapshot);
                snapshot
            }
            None => {
                // The first arm leaves for good: only the other edge gets here.
                let (height, params) = (frame.height, frame.params);
                self.truncate(height);
                self.begin_untaken(else_label, snapshot, params);
                self.mode = Mode::Ready;
                return;
            }
        };
        let missing = if reachable {
            let missing = self.settle(layout);
            self.edge(index, missing);
            missing
        } else {
            self.missing(layout)
        };
        if layout == snapshot || self.same(snapshot, layout) {
            self.unit.buffer.bind(else_label);
            return self.arrive(index, missing);
        }
        if reachable {
            self.jump(label);
        }
        let (height, params) = (self.frames[index].height, self.frames[index].params);
        self.truncate(height);
        self.begin_untaken(else_label, snapshot, params);
        let missing = self.settle(layout);
        self.edge(index, missing);
        self.arrive(index, missing);
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
        let (apart, missing) = if self.frames[index].kind == FrameKind::Function {
            (true, 0)
        } else {
            let layout = self.expect(index);
            let missing = self.settle_here(layout);
            (self.needs_moves(index, missing), missing)
        };
        if !apart {
            let label = self.frames[index].label;
            return self.emit_branch(&branches, true, label);
        }
        let skip = self.unit.buffer.label();
        self.emit_branch(&branches, false, skip);
        self.leave(index, missing);
        self.unit.buffer.bind(skip);
    }

    /// Pops a condition and, if it is not zero, sets a variable to a constant and branches: the same as [`Self::if_`],
    /// [`Self::constant`], [`Self::set`], [`Self::br`] one level farther and [`Self::end`], in one step and in less code. State
    /// machines are made of it.
    pub fn br_if_set(&mut self, depth: u32, var: u32, bits: u64) {
        if self.dead() {
            return;
        }
        let Some(index) = self.frame_at(depth) else {
            return;
        };
        let Some(ty) = self.vars.get(var as usize).map(|state| state.ty) else {
            return self.misuse("no such variable");
        };
        let Some(layout) = self.layout_without(index, var) else {
            self.if_(&[], &[]);
            self.constant(ty, bits);
            self.set(var);
            self.br(depth + 1);
            return self.end();
        };
        let branches = match self.take_condition() {
            Some(Condition::Test(branches)) => branches,
            Some(Condition::Known(true)) => {
                self.constant(ty, bits);
                self.set(var);
                return self.br(depth);
            }
            Some(Condition::Known(false)) | None => return,
        };
        let missing = self.settle_here(layout);
        let skip = self.unit.buffer.label();
        self.emit_branch(&branches, false, skip);
        // Before the moves, since it may go by way of a register that they fill.
        self.store_const(ty, var, ty.canonical(bits));
        self.edge(index, missing);
        self.jump(self.frames[index].label);
        self.unit.buffer.bind(skip);
    }

    /// What a frame's label expects, if branches there carry nothing and it has that variable in its slot.
    #[inline(always)]
    fn layout_without(&mut self, index: usize, var: u32) -> Option<u32> {
        let frame = &self.frames[index];
        let (first, end) = self.label_types(frame);
        if frame.kind == FrameKind::Function || first != end {
            return None;
        }
        let at = self.expect(index);
        let layout = &self.layouts[at as usize];
        let held = each(layout.bound).any(|reg| layout.holder(reg) == var);
        (!held).then_some(at)
    }

    /// Pops an index and branches to that target, or to `default` if there is none.
    pub fn br_table(&mut self, targets: &[u32], default: u32) {
        if !self.ready() {
            return;
        }
        let op = self.pack.core().br_table;
        let info = self.info(op);
        // A variable that is loaded for the branch alone: its targets do not expect it in a register, where it would have to be on
        // every other way to them.
        let loaded = match self.stack.last().map(|top| top.at) {
            Some(At::Var(var)) if self.vars[var as usize].wanted() == Reg::NONE => Some(var),
            _ => None,
        };
        if !self.prepare(op, info, &[targets.len() as i64]) {
            return;
        }
        if let Some(var) = loaded {
            self.unbind(var);
        }
        let Some(alike) = self.settle_targets(targets, default) else {
            return;
        };
        match alike {
            Some(index)
                if !self.unit.landing_pads && !self.needs_moves(index, self.missing_at(index)) =>
            {
                self.table_of_labels(targets, default);
            }
            _ => self.table_with_stubs(targets, default),
        }
        self.die();
    }

    /// Settles for all targets of a branch table. Gives one of them if the others expect the same and none takes values;
    /// `None` for a target that does not exist.
    fn settle_targets(&mut self, targets: &[u32], default: u32) -> Option<Option<usize>> {
        let mut settled = Settled::default();
        if self.settle_in_order(targets, &mut settled) {
            self.settle_target(default, &mut settled)?;
        } else {
            for depth in targets.iter().chain([&default]).copied() {
                self.settle_target(depth, &mut settled)?;
            }
        }
        // Frames that take values share what they expect with no other.
        Some(settled.alike.filter(|_| settled.kinds == 1))
    }

    /// Settles for targets that are the innermost frames in their order, each once or more, if nothing has branched to them yet and none
    /// takes values: a table of hundreds of places at which a function is entered. Else does nothing, and gives false.
    fn settle_in_order(&mut self, targets: &[u32], settled: &mut Settled) -> bool {
        let (Some(0), Some(last)) = (targets.first(), targets.last()) else {
            return false;
        };
        // All are looked at, which vectors do.
        let step = |(below, above): (&u32, &u32)| above.wrapping_sub(*below) <= 1;
        let steps = targets.iter().zip(&targets[1..]).map(step);
        let in_order = steps.fold(true, |all, step| all & step);
        let first = self.frames.len().checked_sub(*last as usize + 1);
        let Some(first) = first.filter(|_| in_order) else {
            return false;
        };
        if !self.frames[first..].iter().all(Frame::fresh) {
            return false;
        }
        if self.settle_target(0, settled).is_none() {
            return false;
        }
        for frame in &mut self.frames[first..] {
            frame.layout = settled.shared;
        }
        true
    }

    /// Settles for one target of a branch table; `None` if it does not exist.
    fn settle_target(&mut self, depth: u32, settled: &mut Settled) -> Option<()> {
        let index = self.frame_at(depth)?;
        let frame = &self.frames[index];
        if frame.kind == FrameKind::Function {
            settled.kinds = 2;
            return Some(());
        }
        if settled.layout.is_some() && frame.layout == settled.layout {
            return Some(());
        }
        // Targets without values that nothing has branched to yet share what they expect.
        let fresh = frame.fresh();
        if fresh {
            self.frames[index].layout = settled.shared;
            if settled.shared.is_some() && settled.layout == settled.shared {
                return Some(());
            }
        }
        let layout = self.expect(index);
        if fresh {
            settled.shared = Some(layout);
        }
        if settled.layout != Some(layout) {
            self.settle(layout);
            settled.layout = Some(layout);
            settled.kinds += 1;
            let types = self.label_types(&self.frames[index]);
            settled.alike = (types.0 == types.1).then_some(index);
        }
        Some(())
    }

    /// Emits a branch table whose targets need no moves.
    fn table_of_labels(&mut self, targets: &[u32], default: u32) {
        let last = self.frames.len() - 1;
        let frames = &self.frames;
        let labels = targets.iter().chain([&default]);
        // That they exist was seen when they were settled for.
        let labels = labels.map(|depth| frames[last - *depth as usize].label);
        let first = self.unit.buffer.table_entries(labels);
        self.emit_table(first);
    }

    /// Emits a branch table, and behind it the moves to targets that need some, and landing pads if there are to be any.
    fn table_with_stubs(&mut self, targets: &[u32], default: u32) {
        let depths = || targets.iter().chain([&default]).copied();
        let (mut first, mut stubs) = (None, false);
        // What was found of the last layout.
        let mut known = (None, false);
        for depth in depths() {
            let Some(index) = self.frame_at(depth) else {
                return;
            };
            let frame = &self.frames[index];
            let (types, layout) = (self.label_types(frame), frame.layout);
            let apart = if frame.kind == FrameKind::Function || self.unit.landing_pads {
                true
            } else if types.0 == types.1 && known.0 == layout {
                known.1
            } else {
                self.needs_moves(index, self.missing_at(index))
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
            let entry = self.unit.buffer.table_entries([label]);
            first = first.or(Some(entry));
        }
        self.emit_table(first.unwrap_or(0));
        for depth in depths().take_while(|_| stubs) {
            let Some(index) = self.frame_at(depth) else {
                return;
            };
            if let Some(stub) = self.frames[index].stub.take() {
                self.unit.buffer.bind(stub);
                self.unit.landing_pad();
                self.leave(index, self.missing_at(index));
            }
        }
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

    #[inline(always)]
    fn branch_always(&mut self, index: usize) {
        let missing = if self.frames[index].kind == FrameKind::Function {
            0
        } else {
            let layout = self.expect(index);
            self.settle_here(layout)
        };
        self.leave(index, missing);
    }

    /// The moves of an edge to a label, which expects more in these registers, and the jump (or the return) at its end; the
    /// builder's state stays as it is.
    #[inline(always)]
    fn leave(&mut self, index: usize, missing: RegSet) {
        if self.frames[index].kind == FrameKind::Function {
            return self.emit_return();
        }
        self.edge(index, missing);
        self.jump(self.frames[index].label);
    }

    #[inline(always)]
    pub(super) fn jump(&mut self, label: Label) {
        let (form, row) = self.jump;
        let unit = &mut *self.unit;
        let memory = unit.space.bytes_mut();
        if unit.buffer.emit_branch(memory, row, label).is_none() {
            let target = Target::Label(label);
            unit.emit_form(form, row, &NO_VALUES, target, self.pos);
        }
    }

    /// Marks what follows as out of reach.
    pub(super) fn die(&mut self) {
        self.mode = Mode::Dead;
        self.truncate(self.floor);
        self.registers.unlock_all();
    }

    /// Shortens the operand stack and gives back what its operands hold.
    pub(super) fn truncate(&mut self, height: usize) {
        while unlikely(self.stack.len() > height) {
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
        self.unsettle(height);
    }

    /// Brings the parameters of the construct just opened into their slots, constants included.
    fn settle_params(&mut self) {
        for index in self.floor..self.stack.len() {
            self.settle_operand(index, true);
        }
    }
}
