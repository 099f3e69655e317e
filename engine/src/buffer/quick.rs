//! The hot paths of emission: what nearly all stencils need, in code that calls nothing, so that whoever comes here has few registers
//! to save. Each gives `None`, and changes nothing, for a stencil that needs more; that is for
//! [`CodeBuffer::emit`](super::CodeBuffer::emit).

use std::hint::cold_path;

use copatch_spec::limits::STENCIL_BYTES;
use copatch_spec::pack::tables::StencilRow;

use super::{CodeBuffer, Fixup, Label, ROOM, Target, UNBOUND, copy_first, from, from_mut, word};
use crate::forms::Values;
use crate::hint::{unlikely, usual};
use crate::holes::{Hole, Patch};
use crate::templates::{CALL_BYTES, Call, Template};

impl<'p> CodeBuffer<'p> {
    /// Copies a short stencil to the end of the code, and gives its bytes as they were in the pack, the copy, and its length.
    #[inline(always)]
    fn copy<'m>(
        &self,
        memory: &'m mut [u8],
        row: &StencilRow,
    ) -> Option<(&'p [u8; ROOM], &'m mut [u8; ROOM], usize)> {
        // With this much room on both sides no access below needs a check. An absent record's offset lies outside.
        let code = usual(from(self.view.code, row.code.get()))?;
        let room = usual(from_mut(memory, self.len as u32))?;
        let length = usize::from(row.length.get());
        if unlikely(length >= self.quick) {
            return None;
        }
        copy_first(room, code, length);
        Some((code, room, length))
    }

    /// Copies a stencil that has no hole, or one for a value: a table load, copies of fixed size, a store.
    #[inline(always)]
    pub fn emit_simple(&mut self, memory: &mut [u8], row: u32, values: &Values) -> Option<()> {
        let start = self.len;
        let row = usual(self.view.stencils.get(row as usize))?;
        let (code, room, length) = self.copy(memory, row)?;
        let list = row.holes.get();
        if list != 0 {
            let Patch::Value(hole) = usual(self.forms.patch(list))? else {
                cold_path();
                return None;
            };
            fill_value(room, code, hole, values)?;
        }
        self.len = start + length;
        Some(())
    }

    /// [`Self::emit_simple`] for a stencil whose one hole is a branch to a label.
    #[inline(always)]
    pub fn emit_branch(&mut self, memory: &mut [u8], row: u32, label: Label) -> Option<()> {
        let start = self.len;
        let row = usual(self.view.stencils.get(row as usize))?;
        let Patch::Branch(hole) = usual(self.forms.patch(row.holes.get()))? else {
            cold_path();
            return None;
        };
        let (code, room, length) = self.copy(memory, row)?;
        let within = usize::from(hole.offset) & (STENCIL_BYTES - 1);
        let at = (start + within) as u32;
        let place = usual(self.place_of(hole, at, Target::Label(label)))?;
        if place != UNBOUND {
            let window = word(&code[within..within + 8]);
            let bits = usual(hole.fill_near(window, i64::from(place), at))?;
            room[within..within + 8].copy_from_slice(&bits.to_le_bytes());
        }
        self.len = start + length;
        Some(())
    }

    /// [`Self::emit_simple`] for a stencil with two holes for values.
    #[inline(always)]
    pub fn emit_pair(&mut self, memory: &mut [u8], row: u32, values: &Values) -> Option<()> {
        let start = self.len;
        let row = usual(self.view.stencils.get(row as usize))?;
        let Patch::Pair(first) = usual(self.forms.patch(row.holes.get()))? else {
            cold_path();
            return None;
        };
        let [a, b] = usual(self.forms.holes(*first, 2).first_chunk())?;
        let (code, room, length) = self.copy(memory, row)?;
        for hole in [a, b] {
            fill_value(room, code, hole, values)?;
        }
        self.len = start + length;
        Some(())
    }

    /// [`Self::emit_simple`] for a stencil with a hole for a value and one for the label it branches to: a branch on a comparison with a
    /// constant.
    #[inline(always)]
    pub fn emit_value_branch(
        &mut self,
        memory: &mut [u8],
        row: u32,
        values: &Values,
        label: Label,
    ) -> Option<()> {
        let start = self.len;
        let row = usual(self.view.stencils.get(row as usize))?;
        let Patch::Holes {
            first,
            count: 2,
            apart: true,
        } = usual(self.forms.patch(row.holes.get()))?
        else {
            cold_path();
            return None;
        };
        let [a, b] = usual(self.forms.holes(*first, 2).first_chunk())?;
        let (value, aim) = if a.of_value() { (a, b) } else { (b, a) };
        if unlikely(!value.of_value() || !aim.of_word()) {
            return None;
        }
        let (code, room, length) = self.copy(memory, row)?;
        fill_value(room, code, value, values)?;
        self.aim(room, start, aim, Target::Label(label))?;
        self.len = start + length;
        Some(())
    }

    /// Fills a hole for where the stencil at `start` goes, which is [`Hole::of_word`], or puts it on a list for later. Of `room`, where the
    /// stencil is copied to, only the hole's own four bytes are written: what lies behind is filled in already.
    #[inline(always)]
    fn aim(&mut self, room: &mut [u8], start: usize, hole: &'p Hole, target: Target) -> Option<()> {
        let within = usize::from(hole.offset);
        let at = (start + within) as u32;
        let place = usual(self.place_of(hole, at, target))?;
        if place != UNBOUND {
            let bits = usual(hole.fill_near(0, i64::from(place), at))? as u32;
            let field = usual(room.get_mut(within..within + 4))?;
            field.copy_from_slice(&bits.to_le_bytes());
        }
        Some(())
    }

    /// Where a hole's stencil goes, or [`UNBOUND`] if the hole was put on a list for later.
    #[inline(always)]
    fn place_of(&mut self, hole: &'p Hole, at: u32, target: Target) -> Option<u32> {
        let (place, what, fixups) = match target {
            Target::Label(label) => (self.bound(label), label.0, &mut self.label_fixups),
            Target::Function(function) => {
                let known = self.entry(function).filter(|known| self.near(at, *known));
                (known.unwrap_or(UNBOUND), function, &mut self.call_fixups)
            }
            _ => return None,
        };
        if place == UNBOUND {
            // Asked before, so that nothing is called.
            if unlikely(fixups.len() == fixups.capacity()) {
                return None;
            }
            fixups.push(Fixup { at, hole, what });
        }
        Some(place)
    }

    /// Copies a prepared call of a function, which admits the value. `None`, and nothing is changed, if it needs more.
    #[inline(always)]
    pub fn emit_call(
        &mut self,
        memory: &mut [u8],
        call: &'p Call,
        value: i64,
        function: u32,
    ) -> Option<()> {
        if unlikely(self.trace.is_some()) {
            return None;
        }
        let start = self.len;
        let room = usual(from_mut::<CALL_BYTES>(memory, start as u32))?;
        call.template.write(room, [value; 2]);
        self.aim(room, start, &call.aim, Target::Function(function))?;
        self.len = start + usize::from(call.template.length);
        Some(())
    }

    /// Copies a prepared stencil that admits the values.
    #[inline(always)]
    pub fn emit_template<const N: usize, const BYTES: usize>(
        &mut self,
        memory: &mut [u8],
        template: &Template<N, BYTES>,
        values: [i64; N],
    ) {
        let start = self.len;
        let Some(room) = from_mut(memory, start as u32) else {
            return self.full();
        };
        template.write(room, values);
        self.len = start + usize::from(template.length);
        if self.trace.is_some() {
            self.record_template(start, template.row, template.form, &values);
        }
    }
}

/// Fills a hole for a value in a copy of a stencil, whose bytes as they were in the pack are `code`.
#[inline(always)]
fn fill_value(
    room: &mut [u8; ROOM],
    code: &[u8; ROOM],
    hole: &Hole,
    values: &Values,
) -> Option<()> {
    let within = usize::from(hole.offset) & (STENCIL_BYTES - 1);
    let bits = usual(hole.fill_plain(word(&code[within..within + 8]), values))?;
    room[within..within + 8].copy_from_slice(&bits.to_le_bytes());
    Some(())
}
