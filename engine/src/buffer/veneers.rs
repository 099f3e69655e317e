//! Veneers: jumps that reach farther than calls, between functions where a call might not reach the function that it calls.
//!
//! ```text
//! call ──its own reach──► core.tail_call ──any distance──► function
//! ```

use super::{CodeBuffer, Emit, Target};
use crate::forms::Values;

impl CodeBuffer<'_> {
    /// How far the branch of this record reaches either way, in bytes; `None` if it has none.
    pub fn branch_reach(&self, row: u32) -> Option<usize> {
        let list = self.view.stencils.get(row as usize)?.holes.get();
        let holes = self.forms.patch(list)?.all(self.forms);
        let branch = holes.iter().find(|hole| hole.of_target())?;
        usize::try_from(branch.distance()).ok()
    }

    /// Whether a call at that place reaches that function's beginning.
    pub(super) fn near(&self, at: u32, entry: u32) -> bool {
        at.abs_diff(entry) as usize <= self.reach
    }

    /// Fills in the calls that wait for their functions: with the function where that is near, else with a veneer here, one
    /// for all calls of a function. `jump` is the stencil of a veneer. The calls of functions without code wait on if these are the
    /// `last` veneers.
    pub fn veneers(&mut self, memory: &mut [u8], jump: &Emit, last: bool) {
        let mut calls = std::mem::take(&mut self.call_fixups);
        calls.sort_by_key(|call| call.what);
        let mut veneer = None;
        for call in calls {
            let function = call.what;
            match self.entry(function) {
                Some(entry) if self.near(call.at, entry) => self.resolve(memory, &call, entry),
                None if last => self.call_fixups.push(call),
                _ => {
                    let known = veneer.filter(|(of, _)| *of == function);
                    let (_, place) = known.unwrap_or((function, self.len as u32));
                    if known.is_none() {
                        veneer = Some((function, place));
                        let emit = Emit {
                            target: Target::Jump(function),
                            ..*jump
                        };
                        self.emit_at_end(memory, &emit, &Values::default());
                    }
                    self.resolve(memory, &call, place);
                }
            }
        }
    }
}
