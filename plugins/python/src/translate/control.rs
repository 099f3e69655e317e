//! Ways from block to block, and out: branches, the blocks of a place for the types met there, exits.

use super::state::{Local, Place, Slot, Stop, sources};
use super::{BLOCKS, Translator, VERSIONS, Version};
use crate::bytecode::{Instruction, Op};
use crate::ir::{Block, Constant, End, Exit, Resume, Source, Step, Type};

/// Why a loop is left.
const ATTENTION: &str = "a signal, or a name that means something else now";

/// Why a jump leaves: the dominator tree has no loop or block for it.
pub(super) const MISFIT: &str = "a jump that fits no structure";

impl Translator<'_> {
    /// A condition was left on the engine's stack: the branch behind it takes it, or it becomes a value.
    pub(super) fn condition(&mut self, next: Option<Instruction>) -> Result<Option<End>, Stop> {
        if let Some(instruction) = self.branch_behind(next)
            && let Op::JumpIf(when, to) = instruction.op
        {
            self.at = instruction;
            return Ok(Some(self.branch(when, to)));
        }
        self.push_result(Type::Bool);
        Ok(None)
    }

    /// The branch that is all that becomes of the condition which the instruction before `next` gives, if it is one.
    pub(super) fn branch_behind(&self, next: Option<Instruction>) -> Option<Instruction> {
        let mut next = next;
        // A truth value's truth is itself.
        if let Some(instruction) = next
            && instruction.op == Op::ToBool
            && !self.leaders[instruction.offset as usize]
        {
            let at = self
                .code
                .instructions
                .partition_point(|other| other.offset <= instruction.offset);
            next = self.code.instructions.get(at).copied();
        }
        next.filter(|instruction| {
            !self.leaders[instruction.offset as usize] && matches!(instruction.op, Op::JumpIf(..))
        })
    }

    /// The branch on the condition on the engine's stack.
    pub(super) fn branch(&mut self, when: bool, to: u32) -> End {
        // What settles the stack must not touch the condition, so it is kept meanwhile.
        if self.is_unsettled() {
            let kept = self.scratch(Type::Bool);
            self.steps.push(Step::Set(kept));
            self.settle();
            self.steps.push(Step::Get(kept));
        }
        let jump = if to <= self.at.offset {
            // Only who goes back looks up.
            let before = std::mem::take(&mut self.steps);
            let state = self.state.clone();
            let (end, exit) = self.go_back(to);
            let back = self.extra_block(end, exit);
            self.steps = before;
            self.state = state;
            back
        } else {
            self.meet(to)
        };
        let fall = self.meet(self.at.next);
        if when {
            End::If(jump, fall)
        } else {
            End::If(fall, jump)
        }
    }

    /// Goes back to an offset, with the exit for who wants attention.
    pub(super) fn go_back(&mut self, to: u32) -> (End, u32) {
        self.settle();
        let mut exit = self.exit_here(ATTENTION);
        exit.offset = to;
        let exit = self.add_exit(exit);
        self.forget_unread(to);
        (End::Again(self.version(to), exit), exit)
    }

    /// Goes on at an offset.
    pub(super) fn go_on(&mut self, to: u32) -> End {
        self.settle();
        self.forget_unread(to);
        End::Goto(self.version(to))
    }

    /// The block for that offset and the present types, whose stack is settled first.
    pub(super) fn meet(&mut self, offset: u32) -> usize {
        self.settle();
        self.goto(offset)
    }

    pub(super) fn goto(&mut self, offset: u32) -> usize {
        let kept = self.state.clone();
        self.unbind_unread(offset);
        let block = self.version(offset);
        self.state = kept;
        block
    }

    /// Numbers that nobody will read are no more, so that they make no difference.
    fn unbind_unread(&mut self, offset: u32) {
        for (index, local) in self.state.locals.iter_mut().enumerate() {
            if let Local::Value { ty, .. } = local
                && !ty.is_object()
                && !self.live.at(offset, index)
            {
                *local = Local::Unbound;
            }
        }
    }

    /// Where control only goes on at an offset: what locals and stack have no more is forgotten, too.
    fn forget_unread(&mut self, offset: u32) {
        self.unbind_unread(offset);
        let locals = self.state.locals.iter().enumerate();
        let free = locals.filter(|(_, local)| **local == Local::Unbound);
        let free = free.map(|(index, _)| Place::Local(index as u32));
        let mut forgotten: Vec<u32> = free.flat_map(|place| self.homes_at(place)).collect();
        let above =
            (self.state.stack.len() as u32..).map(|depth| self.homes_at(Place::Stack(depth)));
        forgotten.extend(above.take_while(|homes| !homes.is_empty()).flatten());
        self.steps.extend(forgotten.into_iter().map(Step::Forget));
    }

    /// Where a place has had numbers.
    fn homes_at(&self, place: Place) -> Vec<u32> {
        let types = [Type::Int, Type::Float, Type::Bool];
        types
            .into_iter()
            .filter_map(|ty| self.known_home(place, ty))
            .collect()
    }

    /// The block for that offset and state, made if there is none.
    pub(super) fn version(&mut self, offset: u32) -> usize {
        let known = self.known.entry(offset).or_default();
        for block in known.iter() {
            if self.versions[*block].state == self.state {
                return *block;
            }
        }
        let block = self.blocks.len();
        let full = known.len() >= VERSIONS || block >= BLOCKS;
        known.push(block);
        let mut refuge = self.exit_here(if full {
            "too many combinations of types"
        } else {
            MISFIT
        });
        refuge.offset = offset;
        let refuge = self.add_exit(refuge);
        self.blocks.push(Block {
            steps: Vec::new(),
            end: End::Unknown,
            refuge,
        });
        self.versions.push(Version {
            offset,
            state: self.state.clone(),
        });
        if full {
            self.blocks[block].steps.push(Step::Exit(refuge));
            self.blocks[block].end = End::Left;
        } else {
            self.waiting.push(block);
        }
        block
    }

    /// An exit to the instruction in hand, as things stand.
    pub(super) fn exit(&mut self, why: &'static str) -> u32 {
        let exit = self.exit_here(why);
        self.add_exit(exit)
    }

    /// An exit to the instruction in hand with what was popped from the stack still on it.
    pub(super) fn exit_with(&mut self, popped: &[&Slot], why: &'static str) -> u32 {
        if let Some(exit) = self.leaves_by {
            return exit;
        }
        let mut exit = self.exit_here(why);
        if let Some(Slot::Tuple(_, built) | Slot::Slice(_, built)) = popped.last() {
            exit.offset = *built;
        }
        let sources = popped.iter().flat_map(|slot| sources(slot));
        exit.stack.extend(sources);
        self.add_exit(exit)
    }

    pub(super) fn add_exit(&mut self, exit: Exit) -> u32 {
        self.exits.push(exit);
        self.exits.len() as u32 - 1
    }

    pub(super) fn exit_here(&self, why: &'static str) -> Exit {
        let local = |(index, local): (usize, &Local)| match *local {
            Local::Unbound => Source::Unbound,
            Local::Object(id, _) => Source::Object(id),
            Local::Value { ty: Type::None, .. } => Source::Constant(Constant::None),
            // Only before it is on the stack, where nothing leaves but for want of memory.
            Local::Value {
                ty: Type::RangeIterator(_) | Type::ListIterator(_),
                ..
            } => Source::Unbound,
            Local::Value { ty, owned } => Source::Value {
                var: self.home_of(Place::Local(index as u32), ty),
                ty,
                owned,
            },
        };
        // What is not built yet is on top.
        let offset = match self.state.stack.last() {
            Some(Slot::Tuple(_, built) | Slot::Slice(_, built)) => *built,
            _ => self.at.offset,
        };
        Exit {
            offset,
            resume: Resume::Continue,
            why,
            locals: self.state.locals.iter().enumerate().map(local).collect(),
            stack: self.state.stack.iter().flat_map(sources).collect(),
            release: Vec::new(),
        }
    }

    /// A block of the steps in hand, which nothing else goes to.
    pub(super) fn extra_block(&mut self, end: End, refuge: u32) -> usize {
        self.forget_now();
        self.blocks.push(Block {
            steps: std::mem::take(&mut self.steps),
            end,
            refuge,
        });
        self.versions.push(Version {
            offset: self.at.offset,
            state: self.state.clone(),
        });
        self.blocks.len() - 1
    }
}
