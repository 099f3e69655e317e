//! Moves between registers, slots and constants, one at a time and in parallel.

use copatch_spec::types::{Place, ValueType};

use super::FunctionBuilder;
use super::state::{CLASSES, Reg, RegSet, each};
use crate::buffer::{Emit, Target};
use crate::error::Error;
use crate::forms::FormId;
use crate::templates::Kind;

/// Where a moved value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Reg(Reg),
    Slot(u32),
    Const(i64),
}

/// One of several moves that happen at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub ty: ValueType,
    pub to: Reg,
    pub from: From,
}

impl FunctionBuilder<'_, '_> {
    /// Copies a value into a register.
    #[inline]
    pub(super) fn move_to_reg(&mut self, ty: ValueType, to: Reg, from: From) {
        match from {
            From::Reg(reg) if reg == to => {}
            From::Reg(reg) => {
                let index = reg.number() * self.registers.radix(to.class()) + to.number();
                self.emit_move(ty, Kind::Copy, index, 0);
            }
            From::Slot(slot) => {
                self.emit_move(ty, Kind::Load, to.number(), self.slot_offset(slot));
            }
            From::Const(value) => self.emit_move(ty, Kind::Constant, to.number(), value),
        }
    }

    /// Copies a register into a slot.
    #[inline]
    pub(super) fn store(&mut self, ty: ValueType, slot: u32, reg: Reg) {
        self.emit_move(ty, Kind::Store, reg.number(), self.slot_offset(slot));
    }

    /// Writes a constant into a slot, by way of a register where no stencil does it at once.
    #[inline]
    pub(super) fn store_const(&mut self, ty: ValueType, slot: u32, value: i64) {
        let offset = self.slot_offset(slot);
        if let Some(template) = self.templates.constant(ty, value, offset) {
            let memory = self.unit.space.bytes_mut();
            let values = [value, offset];
            return self.unit.buffer.emit_template(memory, template, values);
        }
        self.store_const_any(ty, slot, value);
    }

    /// [`Self::store_const`] where no prepared stencil does it.
    #[inline(never)]
    fn store_const_any(&mut self, ty: ValueType, slot: u32, value: i64) {
        self.move_values[0] = value;
        self.move_values[1] = self.slot_offset(slot);
        if !self.move_to_slot(ty, Place::Immediate) {
            self.with_scratch(ty, |builder, scratch| {
                builder.move_to_reg(ty, scratch, From::Const(value));
                builder.store(ty, slot, scratch);
            });
        }
    }

    /// Copies one slot to another.
    pub(super) fn copy_slot(&mut self, ty: ValueType, to: u32, from: u32) {
        if to == from {
            return;
        }
        if !self.registers.exist(self.class_of(ty)) {
            self.move_values[0] = self.slot_offset(from);
            self.move_values[1] = self.slot_offset(to);
            if !self.move_to_slot(ty, Place::Slot) {
                self.no_move(ty, Place::Slot, true);
            }
            return;
        }
        self.with_scratch(ty, |builder, scratch| {
            builder.move_to_reg(ty, scratch, From::Slot(from));
            builder.store(ty, to, scratch);
        });
    }

    /// Runs `body` with a register whose contents it may destroy: a free one, or one saved around it.
    fn with_scratch(&mut self, ty: ValueType, body: impl FnOnce(&mut Self, Reg)) {
        let class = self.class_of(ty);
        if !self.registers.exist(class) {
            self.misuse("a constant of this type cannot be written to a slot");
            return;
        }
        if let Some(scratch) = self.registers.available(class) {
            return body(self, scratch);
        }
        let saved = self.widest(class, ty);
        let slot = self.scratch_slot(1);
        let first = Reg::new(class, 0);
        self.store(saved, slot, first);
        body(self, first);
        self.move_to_reg(saved, first, From::Slot(slot));
    }

    /// A type whose move keeps every bit of a register of that class that this function may use.
    fn widest(&self, class: u8, ty: ValueType) -> ValueType {
        let classes = &self.pack.metadata().machine.classes;
        let widest = classes
            .get(usize::from(class))
            .map(|(_, class)| class.widest);
        match widest {
            // Slots of other units are too short for a vector, and their functions have none.
            Some(ValueType::V128) if !self.wide() => ValueType::F64,
            Some(widest) => widest,
            None => ty,
        }
    }

    /// Emits a move of one value or none: one that is prepared, in nearly all cases.
    #[inline(never)]
    fn emit_move(&mut self, ty: ValueType, kind: Kind, index: u32, value: i64) {
        match self.templates.find(ty, kind, index, value) {
            Some(template) => {
                let memory = self.unit.space.bytes_mut();
                self.unit.buffer.emit_template(memory, template, [value]);
            }
            None => self.emit_other_move(ty, kind, index, value),
        }
    }

    #[inline(never)]
    fn emit_other_move(&mut self, ty: ValueType, kind: Kind, index: u32, value: i64) {
        let place = match kind {
            Kind::Copy | Kind::Store => Place::Register,
            Kind::Constant => Place::Immediate,
            Kind::Load => Place::Slot,
        };
        self.move_values[0] = value;
        let form = self.pack.core().moves[ty as usize].and_then(|moves| match kind {
            Kind::Store => moves.to_slot[place as usize],
            _ => moves.to_register[place as usize],
        });
        if !self.emit_form(form, index) {
            self.no_move(ty, place, kind == Kind::Store);
        }
    }

    /// Emits a move from one place in memory to another, or of a constant there.
    fn move_to_slot(&mut self, ty: ValueType, from: Place) -> bool {
        let form =
            self.pack.core().moves[ty as usize].and_then(|moves| moves.to_slot[from as usize]);
        self.emit_form(form, 0)
    }

    /// Emits a form of a move, whose values are in `move_values`.
    fn emit_form(&mut self, form: Option<FormId>, index: u32) -> bool {
        let Some(form) = form else { return false };
        let Some(row) = self.forms.admit(form, &self.move_values) else {
            return false;
        };
        let emit = Emit {
            row: row + index,
            form,
            target: Target::None,
            source: self.pos,
        };
        self.unit
            .buffer
            .emit(self.unit.space.bytes_mut(), emit, &self.move_values);
        true
    }

    #[cold]
    fn no_move(&mut self, ty: ValueType, from: Place, to_slot: bool) {
        let what = format!(
            "no stencil moves a {} {}>{}",
            ty.name(),
            from.letter(),
            if to_slot { 's' } else { 'r' }
        );
        self.unit.buffer.fail(Error::Internal { what });
    }

    /// Performs the moves in hand, of which there is one in most cases, as if all happened at once.
    #[inline(always)]
    pub(super) fn perform_moves(&mut self) {
        match self.moves.as_slice() {
            [] => {}
            [mv] => {
                let Move { ty, to, from } = *mv;
                self.move_to_reg(ty, to, from);
            }
            _ => {
                let mut moves = std::mem::take(&mut self.moves);
                self.parallel_move(&mut moves);
                self.moves = moves;
            }
        }
    }

    /// Performs moves as if all happened at once: sources are read before any register they share is overwritten.
    pub(super) fn parallel_move(&mut self, moves: &mut [Move]) {
        let (mut read, mut written) = (0, 0);
        for mv in moves.iter() {
            if let From::Reg(reg) = mv.from
                && reg != mv.to
            {
                read |= reg.bit();
                written |= mv.to.bit();
            }
        }
        if read & written == 0 {
            for mv in moves.iter() {
                if let From::Reg(_) = mv.from {
                    self.move_to_reg(mv.ty, mv.to, mv.from);
                }
            }
        } else {
            self.untangle(moves, read | written);
        }
        // Loads and constants read no register, so they come last.
        for mv in moves.iter() {
            if !matches!(mv.from, From::Reg(_)) {
                self.move_to_reg(mv.ty, mv.to, mv.from);
            }
        }
    }

    /// The moves between registers, some of which overwrite what others read.
    fn untangle(&mut self, moves: &mut [Move], mut used: RegSet) {
        for mv in moves.iter() {
            used |= mv.to.bit();
        }
        let waits = |mv: &Move| match mv.from {
            From::Reg(reg) if reg != mv.to => Some(reg),
            _ => None,
        };
        let slot = self.scratch_slot(0);
        loop {
            let read = moves
                .iter()
                .filter_map(waits)
                .fold(0, |set, reg| set | reg.bit());
            if read == 0 {
                return;
            }
            let next = moves.iter().position(|mv| {
                (waits(mv).is_some() || mv.from == From::Slot(slot)) && read & mv.to.bit() == 0
            });
            if let Some(mv) = next.and_then(|next| moves.get_mut(next)) {
                let (ty, to, from) = (mv.ty, mv.to, mv.from);
                mv.from = From::Reg(to);
                self.move_to_reg(ty, to, from);
                continue;
            }
            // Only cycles are left. Park one source; its one reader reads the parked copy when its turn comes, which is
            // when this cycle has unwound, so one parking place is enough.
            let Some(parked) = moves.iter().find_map(waits) else {
                return;
            };
            let Some(ty) = moves
                .iter()
                .find(|mv| waits(mv) == Some(parked))
                .map(|mv| self.widest(parked.class(), mv.ty))
            else {
                return;
            };
            let class = self.registers.of_class(parked.class());
            let spare = each(self.registers.free & class & !used).next();
            let from = match spare {
                Some(spare) => {
                    used |= spare.bit();
                    self.move_to_reg(ty, spare, From::Reg(parked));
                    From::Reg(spare)
                }
                None => {
                    self.store(ty, slot, parked);
                    From::Slot(slot)
                }
            };
            for mv in moves.iter_mut().filter(|mv| waits(mv) == Some(parked)) {
                mv.from = from;
            }
        }
    }
}

const _: () = assert!(CLASSES == 2);
