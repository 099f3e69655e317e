//! Bytecode to typed steps: one block for each combination of a place and the types there.
//!
//! Types are not inferred but met: a function is translated for the types of its arguments, and a block once more for every other
//! combination of types that comes its way (basic block versioning). So `x = 0` before a loop that adds floats gives a first
//! iteration with an integer and a loop with a float. What is not known, or not supported, leaves to the interpreter.
//!
//! A stack entry says where a value is; it moves to its own variables when control meets other control, or when what it was read
//! from is written.

mod arithmetic;
mod arrays;
mod calls;
mod comprehensions;
mod control;
mod items;
mod live;
mod numpy;
mod objects;
mod state;
mod tuples;
mod values;

use std::collections::HashMap;

use copatch::ValueType;

use self::live::Liveness;
pub use self::state::{Code, Environment, Known, Layout, MathFunction, What, shared};
use self::state::{Done, Items, Local, Place, Slot, State, Stop, of_known};
use self::values::slot_type;
use crate::bytecode::{Instruction, Op};
use crate::ir::{Block, Constant, End, Exit, Function, Resume, Step, Type};

/// Combinations of types that one place is translated for; more leave to the interpreter.
const VERSIONS: usize = 8;
/// Blocks of a function, at most.
const BLOCKS: usize = 1500;

struct Version {
    offset: u32,
    state: State,
}

/// A function under translation for one combination of argument types.
pub struct Translator<'c> {
    code: &'c Code,
    params: Vec<Type>,
    result: Option<Type>,
    better: Option<Type>,
    vars: Vec<ValueType>,
    homes: HashMap<(Place, u8), u32>,
    /// Variables that hold values for a moment: all, and those of the instruction in hand.
    scratch: Vec<u32>,
    momentary: Vec<u32>,
    /// The exit for everything while a loop's items are read, whatever of them is on the stack by then.
    leaves_by: Option<u32>,
    blocks: Vec<Block>,
    versions: Vec<Version>,
    /// Blocks by their offset.
    known: HashMap<u32, Vec<usize>>,
    waiting: Vec<usize>,
    /// Offsets that something jumps to.
    leaders: Vec<bool>,
    live: Liveness,
    exits: Vec<Exit>,
    /// The block in hand.
    steps: Vec<Step>,
    state: State,
    at: Instruction,
    /// Instructions before this offset were done with one before them.
    done: u32,
    /// Reasons for which parts of the function stay with the interpreter.
    pub left: Vec<(u32, &'static str)>,
}

impl<'c> Translator<'c> {
    /// Begins a function for arguments of these types.
    pub fn new(code: &'c Code, params: &[Type]) -> Self {
        let units = code.instructions.last().map_or(0, |last| last.next) as usize;
        let mut leaders = vec![false; units + 4];
        for instruction in &code.instructions {
            let target = instruction.op.target();
            if let Some(leader) = target.and_then(|to| leaders.get_mut(to as usize)) {
                *leader = true;
            }
        }
        let mut translator = Self {
            code,
            params: params.to_vec(),
            result: None,
            better: None,
            vars: Vec::new(),
            homes: HashMap::new(),
            scratch: Vec::new(),
            momentary: Vec::new(),
            leaves_by: None,
            blocks: Vec::new(),
            versions: Vec::new(),
            known: HashMap::new(),
            waiting: Vec::new(),
            live: Liveness::new(code),
            leaders,
            exits: Vec::new(),
            steps: Vec::new(),
            state: State {
                locals: vec![Local::Unbound; code.locals],
                stack: Vec::new(),
            },
            at: code.instructions[0],
            done: 0,
            left: Vec::new(),
        };
        for (index, ty) in params.iter().enumerate() {
            let index = match index.checked_sub(code.arguments) {
                Some(shared) => code.free + shared,
                None => index,
            };
            translator.home(Place::Local(index as u32), *ty);
            translator.state.locals[index] = Local::Value {
                ty: *ty,
                owned: false,
            };
        }
        // Taken where a call begins, if too many are open.
        let mut exit = translator.exit_here("too many calls are open");
        exit.resume = Resume::TooDeep;
        translator.exits.push(exit);
        translator.goto(0);
        translator
    }

    /// What it returns, once that is known.
    pub fn result(&self) -> Option<Type> {
        self.result
    }

    /// Settles what it returns, before anything is translated.
    pub fn promise(&mut self, result: Type) {
        self.result = Some(result);
    }

    /// What it had better return: a float, if that is what it returns but for the way that was translated first.
    pub fn better(&self) -> Option<Type> {
        self.better
    }

    /// Whether blocks wait to be translated.
    pub fn done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Translates what can be; gives whether anything was.
    pub fn advance(&mut self, environment: &mut dyn Environment) -> bool {
        let mut any = false;
        let mut blocked = Vec::new();
        while let Some(at) =
            (0..self.waiting.len()).min_by_key(|at| self.versions[self.waiting[*at]].offset)
        {
            let block = self.waiting.swap_remove(at);
            if self.block(block, environment) {
                any = true;
                // A result that is now known may be what another waited for.
                self.waiting.append(&mut blocked);
            } else {
                blocked.push(block);
            }
        }
        self.waiting = blocked;
        any
    }

    /// What waits for a result that is never known is left to the interpreter.
    pub fn give_up_waiting(&mut self) {
        for block in std::mem::take(&mut self.waiting) {
            let offset = self.versions[block].offset;
            self.left.push((offset, "a call whose result is not known"));
            let refuge = self.blocks[block].refuge;
            self.blocks[block].steps = vec![Step::Exit(refuge)];
            self.blocks[block].end = End::Left;
        }
    }

    /// The function, once all is translated.
    pub fn finish(self) -> Function {
        Function {
            params: self.params,
            result: self.result.unwrap_or(Type::None),
            vars: self.vars,
            scratch: self.scratch,
            blocks: self.blocks,
            exits: self.exits,
        }
    }

    /// Whether control comes to an exit from the beginning whatever happens: then there is nothing to gain.
    pub fn is_futile(&self) -> bool {
        let mut at = 0;
        for _ in 0..self.blocks.len() {
            match self.blocks[at].end {
                End::Goto(to) | End::Again(to, _) => at = to,
                End::Left => {
                    return matches!(self.blocks[at].steps.last(), Some(Step::Exit(_)));
                }
                _ => return false,
            }
        }
        false
    }

    /// Translates one block; gives false, and leaves nothing behind, if it waits for a result.
    fn block(&mut self, number: usize, environment: &mut dyn Environment) -> bool {
        let version = &self.versions[number];
        self.state = version.state.clone();
        let offset = version.offset;
        let exits = self.exits.len();
        self.steps.clear();
        self.done = 0;
        let code = self.code;
        let Ok(first) = code
            .instructions
            .binary_search_by_key(&offset, |instruction| instruction.offset)
        else {
            // The end of a loop, say, behind the last instruction: no code comes here.
            return self.close(number, End::Left);
        };
        for index in first..code.instructions.len() {
            let instruction = code.instructions[index];
            if index > first && self.leaders[instruction.offset as usize] {
                let end = self.go_on(instruction.offset);
                return self.close(number, end);
            }
            if instruction.offset < self.done {
                continue;
            }
            self.at = instruction;
            let next = code.instructions.get(index + 1).copied();
            let before = (self.steps.len(), self.state.clone(), self.exits.len());
            self.momentary.clear();
            match self.instruction(next, environment) {
                Ok(None) => self.forget(&before.1.stack),
                Ok(Some(end)) => {
                    // What was on the stack may go along one of the ways.
                    self.forget_now();
                    return self.close(number, end);
                }
                Err(Stop::Unknown) => {
                    self.exits.truncate(exits);
                    self.steps.clear();
                    return false;
                }
                Err(Stop::Leave(why)) => {
                    self.steps.truncate(before.0);
                    self.state = before.1;
                    self.exits.truncate(before.2);
                    self.left.push((instruction.offset, why));
                    let exit = self.exit(why);
                    self.steps.push(Step::Exit(exit));
                    return self.close(number, End::Left);
                }
            }
        }
        self.close(number, End::Left)
    }

    fn close(&mut self, number: usize, end: End) -> bool {
        self.blocks[number].steps = std::mem::take(&mut self.steps);
        self.blocks[number].end = end;
        true
    }

    /// One instruction; gives how the block ends if it does.
    fn instruction(
        &mut self,
        next: Option<Instruction>,
        environment: &mut dyn Environment,
    ) -> Result<Option<End>, Stop> {
        match self.at.op {
            Op::Nop => {}
            Op::LoadFast(local) => self.load(local)?,
            Op::LoadFastPair(first, second) => {
                self.load(first)?;
                self.load(second)?;
            }
            Op::LoadFastAndClear(local) => {
                if self.state.locals.get(local as usize) == Some(&Local::Unbound) {
                    self.state.stack.push(Slot::Null);
                } else {
                    self.load(local)?;
                    self.move_out(local)?;
                }
            }
            Op::ListAppend(depth) => self.list_append(depth)?,
            Op::StoreFast(local) => self.store(local)?,
            Op::StoreFastPair(first, second) => {
                self.store(first)?;
                self.store(second)?;
            }
            Op::StoreFastLoadFast(first, second) => {
                self.store(first)?;
                self.load(second)?;
            }
            Op::LoadConst(number) => {
                if let Some(to) = self.comprehension(environment) {
                    self.done = to;
                    return Ok(None);
                }
                let slot = match self.code.constants.get(number as usize) {
                    Some(Some(constant)) => Slot::Constant(*constant),
                    _ => Slot::Object(environment.constant(number), What::Other),
                };
                self.push_known(slot, environment);
            }
            Op::LoadGlobal(name, null) => {
                let known = environment
                    .global(self.name(name))
                    .ok_or(Stop::Leave("a name that is not defined"))?;
                let slot = of_known(known);
                // 3.13 has the null above what is called.
                match (null, self.code.layout.minor >= 13) {
                    (false, _) => self.push_known(slot, environment),
                    (true, true) => self.state.stack.extend([slot, Slot::Null]),
                    (true, false) => self.state.stack.extend([Slot::Null, slot]),
                }
            }
            Op::LoadAttr(name, method) => self.attribute(name, method, environment)?,
            Op::PushNull => self.state.stack.push(Slot::Null),
            Op::Pop => {
                let slot = self.pop()?;
                self.release(&slot);
            }
            Op::Copy(depth) => {
                let at = self.state.stack.len().wrapping_sub(depth as usize);
                let slot = self.state.stack.get(at).cloned();
                let slot = match slot.ok_or(Stop::Leave("an empty stack"))? {
                    Slot::Value {
                        var,
                        ty,
                        owned: true,
                    } => {
                        self.retain(var);
                        let to = self.home(Place::Stack(self.state.stack.len() as u32), ty);
                        self.vacate(to);
                        self.copy(var, to, ty);
                        Slot::Value {
                            var: to,
                            ty,
                            owned: true,
                        }
                    }
                    slot @ (Slot::Value { .. } | Slot::Constant(_) | Slot::Object(..)) => slot,
                    _ => return Err(Stop::Leave("a copy of an iterator")),
                };
                self.state.stack.push(slot);
            }
            Op::Swap(depth) => {
                let top = self.state.stack.len();
                let other = top.wrapping_sub(depth as usize);
                if other >= top {
                    return Err(Stop::Leave("an empty stack"));
                }
                let iterators = [top - 1, other].iter().any(|at| {
                    !matches!(
                        self.state.stack[*at],
                        Slot::Value { .. } | Slot::Constant(_)
                    )
                });
                self.state.stack.swap(top - 1, other);
                if iterators {
                    self.settle();
                }
            }
            Op::Binary(number) => self.binary(number)?,
            Op::Compare(number) => {
                self.compare(number, self.branch_behind(next).is_some())?;
                return self.condition(next);
            }
            Op::Is(inverted) => {
                let (right, left) = (self.pop()?, self.pop()?);
                let known = match (&left, &right) {
                    (Slot::Constant(a), Slot::Constant(b))
                        if a.ty() == Type::None || b.ty() == Type::None =>
                    {
                        a.ty() == b.ty()
                    }
                    (Slot::Constant(Constant::None), Slot::Value { .. })
                    | (Slot::Value { .. }, Slot::Constant(Constant::None)) => false,
                    _ => return Err(Stop::Leave("an identity of objects")),
                };
                self.release(&left);
                self.release(&right);
                let constant = Constant::Bool(known != inverted);
                self.state.stack.push(Slot::Constant(constant));
            }
            Op::Unary(unary) => self.unary(unary)?,
            Op::ToBool => {
                let slot = self.pop()?;
                if let Slot::Value { ty: Type::Bool, .. } | Slot::Constant(Constant::Bool(_)) = slot
                {
                    self.state.stack.push(slot);
                } else {
                    self.truth(&slot)?;
                    self.release_kept(&slot);
                    return self.condition(next);
                }
            }
            Op::Jump(to) => {
                return Ok(Some(if to <= self.at.offset {
                    self.go_back(to).0
                } else {
                    self.go_on(to)
                }));
            }
            Op::JumpIf(when, to) => {
                let slot = self.pop()?;
                self.truth(&slot)?;
                self.release_kept(&slot);
                return Ok(Some(self.branch(when, to)));
            }
            Op::JumpIfNone(when, to) => {
                let slot = self.pop()?;
                let none = slot == Slot::Constant(Constant::None);
                self.release(&slot);
                let to = if none == when { to } else { self.at.next };
                return Ok(Some(self.go_on(to)));
            }
            Op::JumpOrPop(when, to) => return self.jump_or_pop(when, to).map(Some),
            Op::GetIter => self.iterator()?,
            Op::ForIter(to) => return self.for_iter(to).map(Some),
            Op::Call(arguments) => self.call(arguments, environment)?,
            Op::Subscript => self.subscript()?,
            Op::StoreSubscript => self.store_subscript()?,
            Op::BuildTuple(count) => {
                let at = self.below(count)?;
                if !self.is_used_up(at, next) {
                    self.build_tuple(count)?;
                    return Ok(None);
                }
                let items = self.state.stack.split_off(at);
                self.state.stack.push(Slot::Tuple(items, self.at.offset));
            }
            Op::BuildSlice => {
                let (high, low) = (self.pop()?, self.pop()?);
                let used = next.is_some_and(|next| {
                    next.op == Op::Subscript && !self.leaders[next.offset as usize]
                });
                if !used {
                    return Err(Stop::Leave("a slice"));
                }
                self.push_slice(low, high);
            }
            Op::SubscriptSlice => {
                let (high, low) = (self.pop()?, self.pop()?);
                self.push_slice(low, high);
                self.subscript()?;
            }
            Op::BuildList(count) => self.build_list(count)?,
            Op::Unpack(count) => self.unpack(count)?,
            Op::Return => {
                let slot = self.pop()?;
                self.return_(slot)?;
                return Ok(Some(End::Left));
            }
            Op::ReturnConst(number) => {
                let slot = match self.code.constants.get(number as usize) {
                    Some(Some(constant)) => Slot::Constant(*constant),
                    _ => return Err(Stop::Leave("a constant that is no number")),
                };
                self.return_(slot)?;
                return Ok(Some(End::Left));
            }
            Op::LoadClosure(_) => {
                self.done = self
                    .comprehension(environment)
                    .ok_or(Stop::Leave("a variable that functions share"))?;
            }
            Op::MakeFunction(_) => return Err(Stop::Leave("a function that is made")),
            Op::Other => return Err(Stop::Leave("an instruction that is not compiled")),
        }
        Ok(None)
    }

    fn push_slice(&mut self, low: Slot, high: Slot) {
        let slice = Slot::Slice(vec![low, high], self.at.offset);
        self.state.stack.push(slice);
    }

    fn name(&self, number: u32) -> &'c str {
        self.code.names.get(number as usize).map_or("", |s| s)
    }

    /// Whether the tuple that is built here of what lies on the stack from `at` on is taken apart at once, or an index.
    fn is_used_up(&self, at: usize, next: Option<Instruction>) -> bool {
        let Some(next) = next.filter(|next| !self.leaders[next.offset as usize]) else {
            return false;
        };
        let below = at.checked_sub(1).and_then(|at| self.state.stack.get(at));
        match next.op {
            Op::Unpack(_) => true,
            Op::Subscript | Op::StoreSubscript => matches!(
                below,
                Some(Slot::Value {
                    ty: Type::NumpyArray(..),
                    ..
                })
            ),
            _ => false,
        }
    }
}
