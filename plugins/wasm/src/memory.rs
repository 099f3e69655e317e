//! Linear memory: a reserved range of addresses that never moves, so that an access is one instruction and the pages
//! behind the end check its bounds.
#![allow(unsafe_code)] // Slices over the reservation.

use copatch::{MemoryError, Reservation};

use crate::error::TrapCode;
use crate::types::MemoryType;

/// Bytes of a page of WebAssembly.
pub(crate) const PAGE: u64 = 65536;
/// Pages that a 32-bit memory can have.
const MAX_PAGES: u64 = 65536;
/// An address and an offset below 2^31 stay below 6 GiB; accesses are at most 16 bytes.
const RESERVED: usize = 8 << 30;

/// A linear memory.
#[derive(Debug)]
pub(crate) struct LinearMemory {
    reservation: Reservation,
    /// Size now.
    bytes: usize,
    /// Pages it may grow to.
    maximum: u64,
    /// The same, if its type says so.
    declared: Option<u64>,
}

impl LinearMemory {
    pub fn new(ty: MemoryType) -> Result<Self, MemoryError> {
        let mut reservation = Reservation::reserve(RESERVED)?;
        let bytes = (ty.minimum().min(MAX_PAGES) * PAGE) as usize;
        reservation.commit(bytes)?;
        Ok(Self {
            reservation,
            bytes,
            maximum: ty.maximum().unwrap_or(MAX_PAGES).min(MAX_PAGES),
            declared: ty.maximum(),
        })
    }

    /// Grows by `delta` pages and gives the size in pages before; `None` if it cannot.
    pub fn grow(&mut self, delta: u64) -> Option<u32> {
        let pages = self.bytes as u64 / PAGE;
        let grown = pages
            .checked_add(delta)
            .filter(|grown| *grown <= self.maximum)?;
        let bytes = (grown * PAGE) as usize;
        self.reservation.commit(bytes).ok()?;
        self.bytes = bytes;
        u32::try_from(pages).ok()
    }

    /// Pages now.
    pub fn pages(&self) -> u64 {
        self.bytes as u64 / PAGE
    }

    /// Pages it may grow to.
    pub fn maximum(&self) -> u64 {
        self.maximum
    }

    /// Pages it may grow to, if its type says so.
    pub fn declared_maximum(&self) -> Option<u64> {
        self.declared
    }

    /// The address of the first byte.
    pub fn base(&self) -> *mut u8 {
        self.reservation.base()
    }

    /// Bytes now.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the first `self.bytes` bytes were committed, readable and zero-initialised. Compiled code writes them
        // only while its store is mutably borrowed, so not while this slice lives.
        unsafe { std::slice::from_raw_parts(self.base(), self.bytes) }
    }

    /// What is in it, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` excludes any other slice over it.
        unsafe { std::slice::from_raw_parts_mut(self.base(), self.bytes) }
    }

    /// The range of `len` bytes at `at`, if it lies inside.
    pub fn range(&self, at: u64, len: u64) -> Option<std::ops::Range<usize>> {
        let (at, len) = (usize::try_from(at).ok()?, usize::try_from(len).ok()?);
        let end = at.checked_add(len)?;
        (end <= self.bytes).then_some(at..end)
    }

    /// Copies bytes to `at`.
    ///
    /// # Errors
    /// [`TrapCode::MemoryOutOfBounds`] if they do not fit there; nothing is changed then.
    pub fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), TrapCode> {
        let range = self.range(at, bytes.len() as u64);
        let target = range.and_then(|range| self.bytes_mut().get_mut(range));
        target
            .ok_or(TrapCode::MemoryOutOfBounds)?
            .copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_maximum_and_keeps_its_bytes() {
        let mut memory = LinearMemory::new(MemoryType::new(1, Some(3))).unwrap();
        let base = memory.base();
        memory.bytes_mut()[65535] = 7;
        assert_eq!(memory.grow(2), Some(1));
        assert_eq!(memory.grow(1), None);
        assert_eq!(memory.grow(u64::MAX), None);
        assert_eq!((memory.base(), memory.len()), (base, 3 * 65536));
        assert_eq!((memory.bytes()[65535], memory.bytes()[65536]), (7, 0));
    }

    #[test]
    fn ranges_end_with_the_memory() {
        let memory = LinearMemory::new(MemoryType::new(1, None)).unwrap();
        assert_eq!(memory.range(65535, 1), Some(65535..65536));
        assert_eq!(memory.range(65536, 0), Some(65536..65536));
        assert_eq!(memory.range(65536, 1), None);
        assert_eq!(memory.range(u64::MAX, u64::MAX), None);
    }
}
