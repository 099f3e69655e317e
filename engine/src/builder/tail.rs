//! Tail calls: a function that ends by calling another hands its frame and its way back over to it.
//!
//! The callee's frame begins where the present one does, and the callee returns to the present function's caller, which
//! finds results where it expects them: in registers, and from slot 0 of that frame on. So nothing is left behind, and a chain
//! of tail calls takes no more memory than its largest member.
//!
//! ```text
//! slots      0 1 2 …              vars      vars + 2 …
//! before   │ variables           │ scratch │ operands … arguments │
//! after    │ arguments beyond the registers, each in the slot of its number │
//! ```
//!
//! An argument that travels in a slot is written over variables and operands that others may still be read from. Three steps
//! make that safe without a search for cycles:
//! 1. What is in a register is stored where it goes if nothing is read there, else in the operand's own slot, which lies above
//!    that; what would be overwritten before it was read is copied there too.
//! 2. Arguments that travel in registers get there: a parallel move, as for any call.
//! 3. The other slots are written in ascending order. What they are read from lies above them, or is a constant.

use copatch_spec::types::ValueType;

use super::moves::{From, Move};
use super::state::{Operand, Reg};
use super::{FunctionBuilder, Signature};
use crate::buffer::Target;
use crate::forms::Values;
use crate::pack::OpId;

/// An argument that travels in the slot of its number.
#[derive(Clone, Copy)]
struct InSlot {
    slot: u32,
    /// The operand's own slot.
    own: u32,
    ty: ValueType,
    from: From,
}

impl FunctionBuilder<'_, '_> {
    /// Leaves the function for function `index` of the unit: pops its arguments and drops all other operands; what it
    /// returns goes to the present function's caller, so it has to return the same types.
    ///
    /// However long a chain of such calls is, it takes no more of the stack than its largest function. A
    /// [`Planner`](crate::Planner) need not be told of it: a function that calls in no other way calls nothing.
    pub fn tail_call(&mut self, index: u32, signature: &Signature) {
        if !self.ready() {
            return;
        }
        self.hand_over(signature, None);
        let op = self.pack.core().tail_call;
        self.depart(op, None, Target::Jump(index));
    }

    /// Leaves the function through a code pointer: pops an i64, then as [`Self::tail_call`].
    pub fn tail_call_pointer(&mut self, signature: &Signature) {
        if !self.ready() {
            return;
        }
        let pointer = self.pop();
        let reg = self.hand_over(signature, Some(pointer));
        let op = self.pack.core().tail_call_pointer;
        self.depart(op, reg, Target::None);
    }

    /// Brings arguments where the callee expects them. Gives the register of the code pointer.
    fn hand_over(&mut self, signature: &Signature, pointer: Option<Operand>) -> Option<Reg> {
        if signature.results != self.results {
            self.misuse("a tail call of a function that returns other types");
            return None;
        }
        let first = self.first_argument(signature)?;
        let mut places = self.places();
        let mut moves = std::mem::take(&mut self.moves);
        moves.clear();
        let mut in_slots = Vec::new();
        for (index, ty) in signature.params.iter().enumerate() {
            let from = self.source_of(self.stack[first + index], first + index);
            match places.next(self.class_of(*ty)) {
                Some(to) => moves.push(Move { ty: *ty, to, from }),
                // A parameter that is passed on as it is.
                None if from == From::Slot(index as u32) => {}
                None => in_slots.push(InSlot {
                    slot: index as u32,
                    own: self.operand_slot(first + index),
                    ty: *ty,
                    from,
                }),
            }
        }
        let mut pointer_move = pointer.map(|pointer| self.pointer_move(pointer, &moves));
        if in_slots.is_empty() {
            moves.extend(pointer_move);
            self.parallel_move(&mut moves);
        } else {
            // A class may have one register more than carry arguments, which slots are filled through: until then the pointer
            // waits in its own slot, above all others.
            let top = self.stack.len();
            if let (Some(pointer), Some(mv)) = (pointer, &mut pointer_move) {
                let slot = self.operand_slot(top);
                self.copy_to_slot(pointer, top, slot);
                mv.from = From::Slot(slot);
            }
            self.clear_the_way(&moves, &mut in_slots);
            self.parallel_move(&mut moves);
            self.fill_slots(&moves, &in_slots);
            if let Some(mv) = pointer_move {
                self.move_to_reg(mv.ty, mv.to, mv.from);
            }
        }
        self.moves = moves;
        if let Some(pointer) = pointer {
            self.free_operand(pointer);
        }
        pointer_move.map(|mv| mv.to)
    }

    /// Step 1: afterwards no argument of `in_slots` is in a register, or in a slot that step 3 writes before it reads it.
    fn clear_the_way(&mut self, moves: &[Move], in_slots: &mut [InSlot]) {
        let sources = moves.iter().map(|mv| mv.from);
        let sources = sources.chain(in_slots.iter().map(|argument| argument.from));
        let mut read: Vec<u32> = sources
            .filter_map(|from| match from {
                From::Slot(slot) => Some(slot),
                _ => None,
            })
            .collect();
        read.sort_unstable();
        let scratch = self.scratch_slot(0)..self.operand_slot(0);
        let put_aside = in_slots.first().map_or(0, |argument| argument.own);
        for at in 0..in_slots.len() {
            let InSlot {
                slot,
                own,
                ty,
                from,
            } = in_slots[at];
            let to = match from {
                From::Reg(reg) => {
                    let unread = read.binary_search(&slot).is_err();
                    let unused = slot < put_aside && !scratch.contains(&slot);
                    let to = if unread && unused { slot } else { own };
                    self.store(ty, to, reg);
                    to
                }
                From::Slot(from)
                    if from < slot
                        && in_slots
                            .binary_search_by_key(&from, |argument| argument.slot)
                            .is_ok() =>
                {
                    self.copy_slot(ty, own, from);
                    own
                }
                _ => continue,
            };
            in_slots[at].from = From::Slot(to);
        }
    }

    /// Step 3. The builder's state stays as it is.
    fn fill_slots(&mut self, moves: &[Move], in_slots: &[InSlot]) {
        // All that was in registers has been read: what carries no argument is free to copy through.
        let before = self.registers.clone();
        self.registers.reset();
        for mv in moves {
            self.registers.lock(mv.to);
        }
        for argument in in_slots {
            let class = self.class_of(argument.ty);
            if self.registers.exist(class) && self.registers.available(class).is_none() {
                self.misuse("every register carries an argument, and none is left to copy through");
            }
            match argument.from {
                From::Slot(from) => self.copy_slot(argument.ty, argument.slot, from),
                From::Const(value) => self.store_const(argument.ty, argument.slot, value),
                From::Reg(_) => {}
            }
        }
        self.registers = before;
    }

    /// Leaves for where `target` or the pointer says.
    fn depart(&mut self, op: OpId, pointer: Option<Reg>, target: Target) {
        if !self.leaf {
            self.unit.emit_plain(self.pack.core().leave);
        }
        let index = pointer.map_or(0, Reg::number);
        self.unit
            .emit_values(op, index, &Values::default(), target, self.pos);
        self.die();
    }
}
