//! What waits for the end of a function or of the unit: trap stubs, branch tables, constants, branches forwards, calls.

use copatch_spec::limits::CONSTANT_ALIGNMENT;

use super::{CodeBuffer, Emitted, Fixup, Label, UNBOUND};
use crate::error::Error;
use crate::forms::Values;

impl<'p> CodeBuffer<'p> {
    /// Ends a function: its trap stubs and tables go behind its code, its labels are patched and forgotten.
    pub fn end_function(&mut self, memory: &mut [u8], trap_instruction: &[u8]) {
        let mut traps = std::mem::take(&mut self.trap_fixups);
        for (fixup, trap) in traps.drain(..) {
            let stub = self.len as u32;
            self.raise(memory, trap_instruction, trap, fixup.what);
            self.resolve(memory, &fixup, stub);
        }
        self.trap_fixups = traps;
        let mut tables = std::mem::take(&mut self.table_fixups);
        for (fixup, first, end) in tables.drain(..) {
            self.align(memory, 4);
            self.trace_raw();
            let table = self.len as u32;
            self.table(memory, first as usize..end as usize);
            self.resolve(memory, &fixup, table);
        }
        self.table_fixups = tables;
        self.table_entries.clear();
        self.near_pool(memory);
        let mut fixups = std::mem::take(&mut self.label_fixups);
        for fixup in fixups.drain(..) {
            match self.bound(Label(fixup.what)) {
                UNBOUND => self.fail(Error::Internal {
                    what: "a branch to a label that was never bound".to_owned(),
                }),
                place => self.resolve(memory, &fixup, place),
            }
        }
        self.label_fixups = fixups;
        self.labels.clear();
    }

    /// Where instructions reach constants from nearby only, each function that uses one gets a pool of its own behind it.
    fn near_pool(&mut self, memory: &mut [u8]) {
        if !self.forms.near_pool() || self.pool_fixups.is_empty() {
            return;
        }
        let fixups = std::mem::take(&mut self.pool_fixups);
        self.align(memory, CONSTANT_ALIGNMENT);
        self.trace_raw();
        let (pool, constants) = (self.len as u32, self.view.pool);
        self.raw(memory, constants);
        for fixup in &fixups {
            self.resolve(memory, fixup, pool);
        }
        self.pool_fixups = fixups;
        self.pool_fixups.clear();
    }

    /// Forgets what waits for the end of the function in hand.
    pub fn abandon_function(&mut self) {
        self.trap_fixups.clear();
        if self.forms.near_pool() {
            self.pool_fixups.clear();
        }
        self.table_fixups.clear();
        self.table_entries.clear();
        self.label_fixups.clear();
        self.labels.clear();
    }

    /// Appends a branch table: the distance of each label from its beginning, in four bytes.
    fn table(&mut self, memory: &mut [u8], range: std::ops::Range<usize>) {
        let table = self.len as u32;
        let entries = self.table_entries.get(range).unwrap_or_default();
        let bytes = 4 * entries.len();
        let Some(room) = memory.get_mut(self.len..self.len + bytes) else {
            return self.full();
        };
        let mut bound = true;
        for (label, room) in entries.iter().zip(room.as_chunks_mut().0) {
            let place = self.bound(*label);
            bound &= place != UNBOUND;
            *room = place.wrapping_sub(table).to_le_bytes();
        }
        self.len += bytes;
        if !bound {
            self.fail(Error::Internal {
                what: "a table entry without a place".to_owned(),
            });
        }
    }

    /// Appends an instruction that faults, recorded as a trap of that kind.
    pub fn raise(&mut self, memory: &mut [u8], instruction: &[u8], kind: u8, source: u32) {
        let length = instruction.len() as u16;
        self.sites.push(self.len as u32, length, source, kind);
        self.trace_raw();
        self.raw(memory, instruction);
    }

    fn trace_raw(&mut self) {
        let (offset, function) = (self.len as u32, self.function);
        if let Some(trace) = &mut self.trace {
            trace.push(Emitted {
                offset,
                stencil: u32::MAX,
                op: u16::MAX,
                key: 0,
                values: Values::default(),
                function,
            });
        }
    }

    /// Patches the calls of functions that had not begun when they were called.
    pub fn link(&mut self, memory: &mut [u8]) {
        let mut fixups = std::mem::take(&mut self.call_fixups);
        fixups.append(&mut self.jump_fixups);
        for fixup in fixups {
            match self.entry(fixup.what) {
                Some(place) => self.resolve(memory, &fixup, place),
                None => self.fail(Error::Internal {
                    what: format!("a call of function {}, which has no code", fixup.what),
                }),
            }
        }
    }

    #[inline(always)]
    pub(super) fn resolve(&mut self, memory: &mut [u8], fixup: &Fixup<'p>, place: u32) {
        let at = fixup.at as usize;
        let Some(window) = memory.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<8>) else {
            return;
        };
        let (value, bits) = (i64::from(place), u64::from_le_bytes(*window));
        match fixup.hole.fill(self.forms, bits, value, fixup.at) {
            Some(bits) => *window = bits.to_le_bytes(),
            None => self.out_of_reach(fixup.hole, value, fixup.at),
        }
    }
}
