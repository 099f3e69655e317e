//! Moves between registers, slots and constants, one at a time and in parallel.

use copatch_spec::types::{Place, ValueType};

use super::FunctionBuilder;
use super::state::{CLASSES, REGISTERS};
use crate::buffer::{Emit, Target, Values};
use crate::error::Error;
use crate::pack::{find_form, move_key};

/// Where a moved value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Reg(u8),
    Slot(u32),
    Const(i64),
}

/// One of several moves that happen at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub ty: ValueType,
    pub class: u8,
    pub to: u8,
    pub from: From,
}

impl FunctionBuilder<'_, '_> {
    /// Copies a value into a register.
    pub(super) fn move_to_reg(&mut self, ty: ValueType, to: u8, from: From) {
        match from {
            From::Reg(reg) if reg == to => {}
            From::Reg(reg) => {
                self.emit_move(
                    ty,
                    Place::Register,
                    false,
                    Some(reg),
                    Some(to),
                    &Values::default(),
                );
            }
            From::Slot(slot) => {
                let values = [self.slot_offset(slot), 0, 0, 0, 0, 0, 0];
                self.emit_move(ty, Place::Slot, false, None, Some(to), &values);
            }
            From::Const(value) => {
                self.emit_move(
                    ty,
                    Place::Immediate,
                    false,
                    None,
                    Some(to),
                    &[value, 0, 0, 0, 0, 0, 0],
                );
            }
        }
    }

    /// Copies a register into a slot.
    pub(super) fn store(&mut self, ty: ValueType, slot: u32, reg: u8) {
        let values = [self.slot_offset(slot), 0, 0, 0, 0, 0, 0];
        self.emit_move(ty, Place::Register, true, Some(reg), None, &values);
    }

    /// Writes a constant into a slot, by way of a register where no stencil does it at once.
    pub(super) fn store_const(&mut self, ty: ValueType, slot: u32, value: i64) {
        let values = [value, self.slot_offset(slot), 0, 0, 0, 0, 0];
        if !self.try_move(ty, Place::Immediate, true, None, None, &values) {
            let class = self.pack.class_of(ty);
            self.with_scratch(ty, class, |builder, scratch| {
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
        let class = self.pack.class_of(ty);
        if !self.registers.exist(class) {
            let values = [self.slot_offset(from), self.slot_offset(to), 0, 0, 0, 0, 0];
            self.emit_move(ty, Place::Slot, true, None, None, &values);
            return;
        }
        self.with_scratch(ty, class, |builder, scratch| {
            builder.move_to_reg(ty, scratch, From::Slot(from));
            builder.store(ty, to, scratch);
        });
    }

    /// Runs `body` with a register whose contents it may destroy: a free one, or one saved around it.
    fn with_scratch(&mut self, ty: ValueType, class: u8, body: impl FnOnce(&mut Self, u8)) {
        if !self.registers.exist(class) {
            self.misuse("a constant of this type cannot be written to a slot");
            return;
        }
        if let Some(scratch) = self.registers.available(class) {
            return body(self, scratch);
        }
        let saved = self.widest(class, ty);
        let slot = self.scratch_slot(1);
        self.store(saved, slot, 0);
        body(self, 0);
        self.move_to_reg(saved, 0, From::Slot(slot));
    }

    /// A type whose move keeps every bit of a register of that class.
    fn widest(&self, class: u8, ty: ValueType) -> ValueType {
        self.pack
            .metadata()
            .machine
            .classes
            .get(usize::from(class))
            .map_or(ty, |(_, class)| class.widest)
    }

    fn emit_move(
        &mut self,
        ty: ValueType,
        from: Place,
        to_slot: bool,
        a: Option<u8>,
        d: Option<u8>,
        values: &Values,
    ) {
        if !self.try_move(ty, from, to_slot, a, d, values) {
            let what = format!(
                "no stencil moves a {} {}>{}",
                ty.name(),
                from.letter(),
                if to_slot { 's' } else { 'r' }
            );
            self.unit.buffer.fail(Error::Internal { what });
        }
    }

    #[inline]
    fn try_move(
        &mut self,
        ty: ValueType,
        from: Place,
        to_slot: bool,
        a: Option<u8>,
        d: Option<u8>,
        values: &Values,
    ) -> bool {
        let Some(op) = self.pack.core().moves[ty as usize] else {
            return false;
        };
        let info = self.pack.info(op);
        let forms = self.unit.buffer.view().forms;
        let Some(form) = find_form(forms, info, move_key(from, to_slot)) else {
            return false;
        };
        let Some(row) = self.unit.buffer.alternative(&forms[form], values) else {
            return false;
        };
        let radix =
            u32::from(self.registers.count[usize::from(self.pack.class_of(ty)) & (CLASSES - 1)]);
        let index = [a, d]
            .into_iter()
            .flatten()
            .fold(0, |index, reg| index * radix + u32::from(reg));
        let emit = Emit {
            form,
            row: row.stencils.get() + index,
            values,
            target: Target::None,
            source: self.pos,
            fault: None,
            table: (0, 0),
        };
        self.unit.buffer.emit(self.unit.space.bytes_mut(), &emit);
        true
    }

    /// Performs moves as if all happened at once: sources are read before any register they share is overwritten.
    pub(super) fn parallel_move(&mut self, moves: &mut [Move]) {
        for class in 0..CLASSES as u8 {
            self.parallel_move_registers(class, moves);
        }
        // Loads and constants read no register, so they come last.
        for mv in moves.iter().filter(|mv| !matches!(mv.from, From::Reg(_))) {
            self.move_to_reg(mv.ty, mv.to, mv.from);
        }
    }

    fn parallel_move_registers(&mut self, class: u8, moves: &mut [Move]) {
        let from_other = |mv: &Move| match mv.from {
            From::Reg(reg) if mv.class == class && reg != mv.to => Some(reg),
            _ => None,
        };
        // How many moves still read each register, and which moves are still to be made.
        let mut readers = [0u8; REGISTERS];
        let mut used = 0u16;
        let mut waiting = 0u64;
        for (index, mv) in moves.iter().enumerate().filter(|(_, mv)| mv.class == class) {
            used |= 1 << (mv.to & 15);
            if let Some(reg) = from_other(mv) {
                used |= 1 << (reg & 15);
                readers[usize::from(reg) & (REGISTERS - 1)] += 1;
                waiting |= 1 << (index & 63);
            }
        }
        while waiting != 0 {
            let mut progressed = false;
            for (index, mv) in moves.iter_mut().enumerate() {
                let blocked = readers[usize::from(mv.to) & (REGISTERS - 1)] != 0;
                if waiting & (1 << (index & 63)) == 0 || blocked {
                    continue;
                }
                self.move_to_reg(mv.ty, mv.to, mv.from);
                if let From::Reg(reg) = mv.from {
                    readers[usize::from(reg) & (REGISTERS - 1)] -= 1;
                }
                mv.from = From::Reg(mv.to);
                waiting &= !(1 << (index & 63));
                progressed = true;
            }
            if progressed {
                continue;
            }
            // Only cycles are left. Park one source; its one reader reads the parked copy when its turn comes, which
            // is when this cycle has unwound, so one parking place is enough.
            let Some(mv) = moves.get_mut(waiting.trailing_zeros() as usize) else {
                return;
            };
            let Some(reg) = from_other(mv) else { return };
            let ty = self.widest(class, mv.ty);
            let all = ((1u32 << self.registers.count[usize::from(class)]) - 1) as u16;
            let spare = all & !used;
            readers[usize::from(reg) & (REGISTERS - 1)] -= 1;
            if spare != 0 {
                let spare = spare.trailing_zeros() as u8;
                self.move_to_reg(ty, spare, From::Reg(reg));
                mv.from = From::Reg(spare);
                readers[usize::from(spare)] += 1;
            } else {
                let slot = self.scratch_slot(0);
                self.store(ty, slot, reg);
                mv.from = From::Slot(slot);
            }
        }
    }
}
