//! Executable code of a unit, and what is known of its places.

use std::ops::Range;
use std::sync::Arc;

use crate::buffer::Emitted;
use crate::memory::{Code, MemoryError};
use crate::pack::Pack;
use crate::sites::{self, CALLS_OUT};
use crate::trap::registry;

/// A stretch of code in which a fault is a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrapSite {
    /// Where it begins, in bytes from the start of the code.
    pub offset: u32,
    /// The function it belongs to.
    pub function: u32,
    /// The front end's offset of what it was generated for.
    pub source: u32,
    /// Bytes it covers.
    pub length: u16,
    /// Number of the trap.
    pub kind: u8,
}

/// Executable code. Clones share it; the last one frees it.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) image: Arc<Image>,
}

/// An entry that has no code.
pub(crate) const NO_ENTRY: u32 = u32::MAX;

/// What a [`Program`] shares. The trap handler finds it by address while it lives, so it stays where it is.
#[derive(Debug)]
pub(crate) struct Image {
    pub code: Code,
    pub entries: Vec<u32>,
    pub sites: sites::Table,
    /// The entry from C.
    pub shim: u32,
    /// Where a trap continues.
    pub unwind: u32,
    /// Bytes between the address of slot 0 and what the frame register holds.
    pub frame_bias: usize,
    /// Bytes of a slot.
    pub slot_bytes: u32,
    pub listing: Option<Vec<Emitted>>,
}

impl Image {
    pub fn range(&self) -> Range<usize> {
        self.code.base()..self.code.base() + self.code.len()
    }

    pub fn unwind(&self) -> usize {
        self.code.base() + self.unwind as usize
    }

    /// The function whose body an address lies in; `None` in the shims before the first one. Async-signal-safe.
    pub fn function(&self, pc: usize) -> Option<u32> {
        let offset = u32::try_from(pc.checked_sub(self.code.base())?).ok()?;
        let begun = |entry: &(u32, u32)| entry.1 <= offset && entry.1 != NO_ENTRY;
        let entries = (0..).zip(self.entries.iter().copied());
        let last = entries.filter(begun).max_by_key(|(_, entry)| *entry)?;
        // What the shims need comes before the first function.
        (offset < self.code.len() as u32).then_some(last.0)
    }

    /// The site that covers an address. Async-signal-safe: neither locks nor allocates.
    pub fn site(&self, pc: usize) -> Option<TrapSite> {
        self.covered(pc).filter(|site| site.kind != CALLS_OUT)
    }

    /// Whether an address lies in code that calls a helper. Async-signal-safe.
    pub fn calls_out(&self, pc: usize) -> bool {
        self.covered(pc).is_some_and(|site| site.kind == CALLS_OUT)
    }

    fn covered(&self, pc: usize) -> Option<TrapSite> {
        self.sites
            .find(u32::try_from(pc.checked_sub(self.code.base())?).ok()?)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        registry::remove(self);
    }
}

impl Program {
    /// Makes code callable: from here on its traps are recognised. Offsets count from the start of the code; `entries`
    /// holds [`NO_ENTRY`] for functions without code.
    #[allow(
        clippy::too_many_arguments,
        reason = "one call site, with every part by its name"
    )]
    pub(crate) fn new(
        pack: &Pack,
        code: Code,
        entries: Vec<u32>,
        sites: sites::Table,
        shim: u32,
        unwind: u32,
        listing: Option<Vec<Emitted>>,
    ) -> Result<Self, MemoryError> {
        let frame_bias = pack.metadata().machine.frame_bias as usize;
        Self::register(Image {
            code,
            entries,
            sites,
            shim,
            unwind,
            frame_bias,
            slot_bytes: pack.slot_bytes(),
            listing,
        })
    }

    pub(crate) fn register(image: Image) -> Result<Self, MemoryError> {
        crate::trap::install();
        let image = Arc::new(image);
        // On failure the image is dropped, which takes back what was entered.
        registry::insert(&image)?;
        Ok(Self { image })
    }

    /// The address of a function's code; `None` if it has none.
    #[inline]
    pub fn entry(&self, func: u32) -> Option<usize> {
        let offset = *self.image.entries.get(func as usize)?;
        (offset != NO_ENTRY).then(|| self.image.code.base() + offset as usize)
    }

    /// The functions that have code, with where it begins in bytes from the start of the code.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, u32)> {
        let entries = self.image.entries.iter().enumerate();
        entries
            .filter(|(_, offset)| **offset != NO_ENTRY)
            .map(|(index, offset)| (index as u32, *offset))
    }

    /// The address of the entry from C.
    #[inline]
    pub fn shim(&self) -> usize {
        self.image.code.base() + self.image.shim as usize
    }

    /// The address at which a trap continues.
    pub fn unwind(&self) -> usize {
        self.image.unwind()
    }

    /// The addresses of the code.
    pub fn range(&self) -> Range<usize> {
        self.image.range()
    }

    /// The machine code.
    pub fn code(&self) -> &[u8] {
        self.image.code.bytes()
    }

    /// The trap that a fault at that address stands for. Neither locks nor allocates.
    pub fn site(&self, pc: usize) -> Option<TrapSite> {
        self.image.site(pc)
    }

    /// Every stencil in the order of the code; `None` unless the unit was made
    /// [`with_trace`](crate::Unit::with_trace).
    pub fn listing(&self) -> Option<&[Emitted]> {
        self.image.listing.as_deref()
    }

    /// Bytes from one argument or result in memory to the next, see
    /// [`Pack::slot_bytes`].
    #[inline]
    pub fn slot_bytes(&self) -> u32 {
        self.image.slot_bytes
    }

    #[inline]
    pub(crate) fn frame_bias(&self) -> usize {
        self.image.frame_bias
    }
}
