//! From a stack machine with variables to stencils: register assignment in one pass.
//!
//! | file | phase |
//! |---|---|
//! | [`state`] | what is known of variables, operands and registers |
//! | `values` | constants and variables; bringing values into registers, making room |
//! | `ops` | choice of form and registers for an operation |
//! | `pending` | its emission, put off by one call so that its result goes where it is wanted and a comparison fuses with its branch |
//! | `control` | blocks, loops, conditionals, branches |
//! | `labels` | what labels expect, and the moves on edges |
//! | `pins` | registers that a loop reserves |
//! | `calls` | calls, returns, helpers, wrappers |
//! | `exits` | ways out of the middle of a function, with every variable in its slot |
//! | `tail` | calls in place of the function that calls |
//! | `moves` | moves, one at a time and in parallel |

mod calls;
mod control;
mod exits;
mod labels;
mod moves;
mod ops;
mod pending;
mod pins;
mod state;
mod tail;
mod values;

use std::sync::Arc;

use copatch_spec::types::ValueType;

use self::control::Frame;
use self::exits::{Exit, Store};
use self::moves::Move;
use self::pending::{Branches, Pending};
use self::state::{At, Layout, Operand, Reg, Registers, Var};
use crate::buffer::Target;
use crate::error::{Error, Result};
use crate::forms::{FormId, Forms, NO_VALUES, Values};
use crate::hint::likely;
use crate::pack::{OpId, OpInfo, Pack};
use crate::plan::Plan;
use crate::templates::Templates;
use crate::unit::Unit;

pub(crate) use self::state::CLASSES;

/// Parameters and results of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Signature {
    /// Parameter types.
    pub params: Vec<ValueType>,
    /// Result types.
    pub results: Vec<ValueType>,
}

/// What the builder does with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Ready,
    /// An operation waits to be emitted.
    Waiting,
    /// Control cannot get here.
    Dead,
}

/// Operands that every function has room for; no more reads of variables than that stay unmaterialised, so that the search for
/// them is short.
const SHALLOW: usize = 64;
/// Slots between variables and operands that moves may use for a moment.
const SCRATCH_SLOTS: u32 = 2;
/// Bytes of a frame, at most: functions that call nothing do not check the stack's limit, and the others check where
/// their frame begins, so this much memory lies beyond the limit.
pub(crate) const FRAME_BYTES: u64 = 1 << 20;

/// Generates the code of functions, one after another, into a [`Unit`].
///
/// The interface is a stack machine with variables and structured control, like WebAssembly's. After a branch that is
/// always taken everything up to the matching `else_` or `end` is ignored. Errors are kept and reported by
/// [`FunctionBuilder::finish`].
pub struct FunctionBuilder<'u, 'p> {
    unit: &'u mut Unit<'p>,
    pack: &'p Arc<Pack>,
    templates: &'p Templates,
    /// The pack's, which are looked up for every operation.
    infos: &'p [OpInfo],
    forms: &'p Forms,
    /// The form of the pack's jump, and its record.
    jump: (FormId, u32),
    /// The pack's branches on a register.
    tests: Option<Branches>,
    plan: Plan,
    vars: Vec<Var>,
    /// Has room for [`SHALLOW`] operands at least.
    stack: Vec<Operand>,
    /// Operands below this index are constants or in their slots.
    settled: usize,
    registers: Registers,
    /// The operation that is not emitted yet, if the mode is [`Mode::Waiting`].
    pending: Pending,
    mode: Mode,
    frames: Vec<Frame>,
    /// Operands below this index belong to frames around the innermost.
    floor: usize,
    /// Types of parameters and results of open frames.
    types: Vec<ValueType>,
    layouts: Vec<Layout>,
    /// Variables that may be constants.
    constants: Vec<u32>,
    /// The first so many of them are not, or have their value in their slot; the others are [`Var::stale`], each listed once.
    clean_constants: usize,
    results: Vec<ValueType>,
    /// Variables with a reserved register, and those of the loops around.
    pins: Vec<(u32, Reg)>,
    saved_pins: Vec<(u32, Reg)>,
    /// Variables that the loop in hand pins, and whether it writes them.
    chosen: Vec<(u32, bool)>,
    /// Exits of the function in hand, and what they store.
    exits: Vec<Exit>,
    exit_stores: Vec<Store>,
    /// The moves in hand.
    moves: Vec<Move>,
    /// The values of the operation in hand, pending or not.
    values: Values,
    /// The values of a move.
    move_values: Values,
    /// The operation that turns a condition round.
    not_op: OpId,
    /// The front end's offset of what comes next.
    pos: u32,
    leaf: bool,
    /// The class of each value type.
    classes: [u8; ValueType::ALL.len()],
    /// How many registers of each class carry arguments and results.
    arguments: [u8; CLASSES],
    /// Bytes of a slot.
    stride: u32,
    /// How far past slot 0 the frame pointer points, in bytes.
    bias: i64,
    loops: usize,
}

impl<'u, 'p> FunctionBuilder<'u, 'p> {
    /// A builder into that unit; it keeps its allocations from function to function.
    pub fn new(unit: &'u mut Unit<'p>) -> Self {
        let pack = unit.pack;
        let (mut count, mut arguments) = ([0; CLASSES], [0; CLASSES]);
        for (index, class) in pack.classes().iter().enumerate().take(CLASSES) {
            (count[index], arguments[index]) = (class.registers, class.arguments);
        }
        let stride = pack.slot_bytes();
        Self {
            templates: unit.templates,
            // A pack without one gives an error where it is emitted.
            jump: unit
                .record(pack.core().jump, &NO_VALUES)
                .unwrap_or((0, u32::MAX)),
            tests: Branches::plain(pack.info(pack.core().br_if)),
            unit,
            infos: pack.infos(),
            forms: pack.forms(),
            pack,
            plan: Plan::default(),
            vars: Vec::new(),
            stack: Vec::with_capacity(SHALLOW),
            settled: 0,
            registers: Registers::new(count),
            pending: Pending::NOTHING,
            mode: Mode::Ready,
            frames: Vec::new(),
            floor: 0,
            types: Vec::new(),
            layouts: Vec::new(),
            constants: Vec::new(),
            clean_constants: 0,
            results: Vec::new(),
            pins: Vec::new(),
            saved_pins: Vec::new(),
            chosen: Vec::new(),
            exits: Vec::new(),
            exit_stores: Vec::new(),
            moves: Vec::new(),
            values: Values::default(),
            move_values: Values::default(),
            not_op: pack.core().br_if,
            pos: 0,
            leaf: false,
            classes: ValueType::ALL.map(|ty| pack.class_of(ty)),
            arguments,
            stride,
            bias: i64::from(pack.metadata().machine.frame_bias),
            loops: 0,
        }
    }

    /// Begins function `index` of the unit: its parameters are the first variables, `locals` the others, which begin
    /// as zero. What the stack's end is found at is the offset last given by [`Self::at`].
    pub fn begin(&mut self, index: u32, signature: &Signature, locals: &[ValueType], plan: &Plan) {
        self.reset(index, &signature.results, plan);
        let mut places = self.places();
        for ty in &signature.params {
            let reg = places.next(self.class_of(*ty));
            let var = self.vars.len() as u32;
            self.add_var(*ty);
            if let Some(reg) = reg {
                self.bind(var, reg, true);
            }
        }
        for ty in locals {
            let var = self.vars.len() as u32;
            self.add_var(*ty);
            self.constants.push(var);
            self.vars[var as usize].constant = true;
            self.vars[var as usize].stale = true;
        }
        self.enter();
    }

    fn reset(&mut self, index: u32, results: &[ValueType], plan: &Plan) {
        self.unit.begin_function(index);
        self.plan.copy_from(plan);
        self.vars.clear();
        self.stack.clear();
        self.stack.shrink_to(SHALLOW);
        self.settled = 0;
        self.registers.reset();
        self.mode = Mode::Ready;
        self.frames.clear();
        self.floor = 0;
        self.types.clear();
        self.layouts.clear();
        self.constants.clear();
        self.clean_constants = 0;
        self.pins.clear();
        self.saved_pins.clear();
        self.exits.clear();
        self.exit_stores.clear();
        self.results.clear();
        self.results.extend_from_slice(results);
        self.leaf = plan.leaf();
        self.loops = 0;
    }

    fn add_var(&mut self, ty: ValueType) {
        let last_use = self.plan.last_use(self.vars.len());
        let class = self.class_of(ty);
        self.vars.push(Var {
            ty,
            class,
            reg: Reg::NONE,
            pin: Reg::NONE,
            stale: false,
            constant: false,
            value: 0,
            reads: 0,
            last_use,
        });
    }

    fn enter(&mut self) {
        if !self.leaf {
            let op = self.pack.core().enter;
            self.unit
                .emit_values(op, 0, &NO_VALUES, Target::None, self.pos);
        }
        self.open_function();
    }

    /// The source offset of what follows: recorded with traps, and compared with the plan's positions.
    #[inline]
    pub fn at(&mut self, offset: u32) {
        self.pos = offset;
    }

    /// The source offset that [`Self::at`] was told last.
    #[inline]
    pub fn position(&self) -> u32 {
        self.pos
    }

    /// Whether control can get here.
    #[inline]
    pub fn reachable(&self) -> bool {
        self.mode != Mode::Dead
    }

    /// How many frames are open, the function's own included.
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    /// The type of the operand on top; `None` on an empty stack or where control cannot get.
    pub fn top_type(&self) -> Option<ValueType> {
        if self.mode == Mode::Dead {
            None
        } else {
            self.stack.last().map(|operand| operand.ty)
        }
    }

    /// Gives up the function in hand, so that it can be begun again. What was generated of it stays where it is and is never run.
    pub fn abandon(&mut self) {
        self.unit.buffer.abandon_function();
        self.unit.buffer.take_error();
    }

    /// Ends the function after its outermost frame was ended.
    ///
    /// # Errors
    /// What went wrong first in this function.
    pub fn finish(&mut self) -> Result<()> {
        if !self.frames.is_empty() {
            self.misuse("a frame was left open");
        }
        if !self.exits.is_empty() {
            self.misuse("the function's exits were not emitted");
        }
        // The stack never grew beyond what it has room for.
        let slots = self.operand_slot(self.stack.capacity());
        // Variables and operands are known by numbers of 16 bits where they hold registers.
        if slots > u32::from(u16::MAX)
            || (u64::from(slots) + 16) * u64::from(self.stride) > FRAME_BYTES
        {
            self.unit.buffer.fail(Error::Limit {
                what: "variables and operands of a function",
            });
        }
        self.unit.end_function();
        match self.unit.buffer.take_error() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether control cannot get here.
    #[inline]
    fn dead(&self) -> bool {
        self.mode == Mode::Dead
    }

    /// Emits what waits; gives false where control cannot get.
    #[inline]
    fn ready(&mut self) -> bool {
        if likely(self.mode == Mode::Ready) {
            return true;
        }
        let waiting = self.mode == Mode::Waiting;
        if waiting {
            self.flush_top();
        }
        waiting
    }

    #[cold]
    fn misuse(&mut self, what: &'static str) {
        self.unit.buffer.fail(Error::Misuse { what, at: self.pos });
    }

    /// Clang's code for an operation may have been refused on one machine.
    #[cold]
    fn lack(&mut self, op: OpId) {
        let metadata = self.pack.metadata();
        let name = metadata
            .ops
            .get(op.index())
            .map_or("", |op| op.name.as_str());
        let what = format!("code for {name} on {}", metadata.machine.arch);
        self.unit.buffer.fail(Error::Missing { what });
    }

    /// What is known of an operation.
    #[inline]
    fn info(&self, op: OpId) -> &'p OpInfo {
        &self.infos[op.index()]
    }

    /// The register class of a type's values.
    #[inline]
    fn class_of(&self, ty: ValueType) -> u8 {
        self.classes[ty as usize]
    }

    /// The slot of the operand of that index.
    #[inline]
    fn operand_slot(&self, index: usize) -> u32 {
        (self.vars.len() + index) as u32 + SCRATCH_SLOTS
    }

    fn scratch_slot(&self, index: u32) -> u32 {
        self.vars.len() as u32 + index
    }

    /// The byte offset of a slot from the frame pointer.
    #[inline]
    fn slot_offset(&self, slot: u32) -> i64 {
        i64::from(slot) * i64::from(self.stride) - self.bias
    }

    /// Whether slots hold vectors.
    fn wide(&self) -> bool {
        self.stride > 8
    }

    #[inline]
    fn push(&mut self, ty: ValueType, at: At) {
        if likely(self.stack.len() < self.stack.capacity()) {
            self.stack.push(Operand { ty, at });
        } else {
            self.push_deep(Operand { ty, at });
        }
    }

    /// Operands from that index on are not known to be settled.
    #[inline(always)]
    fn unsettle(&mut self, index: usize) {
        if self.settled > index {
            self.settle_no_more(index);
        }
    }

    /// Out of the way: few blocks begin with operands on the stack.
    #[cold]
    fn settle_no_more(&mut self, index: usize) {
        self.settled = index;
    }

    /// Makes room in steps that are small against what is there, since the room counts as used, see [`Self::finish`].
    #[cold]
    fn push_deep(&mut self, operand: Operand) {
        self.stack.reserve_exact(SHALLOW + self.stack.len() / 8);
        self.stack.push(operand);
    }
}
