//! Code that was generated apart, put behind what a buffer holds.
//!
//! Stencils refer to what lies in the same buffer by distance, which moving does not change. So only what a part does not hold
//! is filled in here: the distance to the constant pool; and calls, when all functions have their places.

use super::{CodeBuffer, Emitted, Fixup, ROOM};
use crate::error::Error;
use crate::program::NO_ENTRY;

impl<'p> CodeBuffer<'p> {
    /// Copies the code of `part`, with which `code` begins, behind this buffer's. The part is empty afterwards. `None`
    /// where it does not fit: nothing is changed then but for padding.
    pub fn append(
        &mut self,
        memory: &mut [u8],
        part: &mut CodeBuffer<'p>,
        code: &[u8],
        alignment: usize,
    ) -> Option<()> {
        self.align(memory, alignment);
        let (start, end) = (self.len, self.len.checked_add(part.len)?);
        // With as much room as a stencil needs behind it, so that what does not fit here does not fit otherwise either.
        memory.get(start..end.checked_add(ROOM)?)?;
        self.raw(memory, code.get(..part.len)?);
        part.len = 0;
        let distance = start as u32;
        if self.entries.len() < part.entries.len() {
            self.entries.resize(part.entries.len(), NO_ENTRY);
        }
        for (entry, own) in self.entries.iter_mut().zip(part.entries.drain(..)) {
            if own != NO_ENTRY {
                *entry = own + distance;
            }
        }
        let moved = |fixup: Fixup<'p>| Fixup {
            at: fixup.at + distance,
            ..fixup
        };
        self.call_fixups
            .extend(part.call_fixups.drain(..).map(moved));
        self.jump_fixups
            .extend(part.jump_fixups.drain(..).map(moved));
        for fixup in part.pool_fixups.drain(..).map(moved) {
            self.resolve(memory, &fixup, self.pool);
        }
        self.sites.append(&mut part.sites, distance);
        if let (Some(trace), Some(emitted)) = (&mut self.trace, &mut part.trace) {
            trace.extend(emitted.drain(..).map(|emitted| Emitted {
                offset: emitted.offset + distance,
                ..emitted
            }));
        }
        // Labels are forgotten where a function ends.
        if !part.labels.is_empty() {
            self.fail(Error::Misuse {
                what: "a function of a part was not finished",
                at: 0,
            });
        }
        if let Some(error) = part.error.take() {
            self.fail(error);
        }
        Some(())
    }
}
