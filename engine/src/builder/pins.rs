//! Registers that a loop reserves for the variables it wants most.

use super::FunctionBuilder;
use super::state::{CLASSES, Reg};

/// Registers of a class that no loop reserves: what an operation with three operands needs.
const TEMPORARIES: u8 = 3;

impl FunctionBuilder<'_, '_> {
    /// Reserves registers for the variables that a loop wants most, and brings these into them.
    pub(super) fn choose_pins(&mut self, index: usize) {
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
    pub(super) fn restore_pins(&mut self, saved: (u32, u32)) {
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
