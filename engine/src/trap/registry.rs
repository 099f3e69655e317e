//! Which program an address belongs to: a radix table over pages, like the processor's own page tables.
//!
//! The signal handler reads it, so reading takes no lock and allocates nothing. That is sound beside programs that come and
//! go on other threads: a thread faults in code that it runs, hence in a program that it keeps alive, whose entries nobody
//! touches meanwhile; entries of other pages are other words. Tables are never freed; there is one for every 2 MiB of
//! addresses that ever held code, and the system hands addresses out again, so they stay few.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::memory::MemoryError;
use crate::program::Image;

/// Bits of an address within an entry: the smallest page of any target.
const PAGE_BITS: u32 = 12;
/// Bits of an address that one level resolves.
const LEVEL_BITS: u32 = 9;
/// Levels. Together they reach addresses below 2^48; systems hand out others only on request.
const LEVELS: u32 = 4;

/// The entries of one level: tables of the next one, or programs in the last.
struct Table([AtomicPtr<()>; 1 << LEVEL_BITS]);

impl Table {
    const fn new() -> Self {
        Self([const { AtomicPtr::new(null_mut()) }; 1 << LEVEL_BITS])
    }

    fn entry(&self, address: usize, level: u32) -> &AtomicPtr<()> {
        let shift = PAGE_BITS + LEVEL_BITS * (LEVELS - 1 - level);
        &self.0[(address >> shift) & ((1 << LEVEL_BITS) - 1)]
    }
}

static ROOT: Table = Table::new();

fn reaches(address: usize) -> bool {
    address >> (PAGE_BITS + LEVEL_BITS * LEVELS) == 0
}

/// The table of the next level, if there is one.
fn next(entry: &AtomicPtr<()>) -> Option<&'static Table> {
    let table = entry.load(Ordering::Acquire).cast::<Table>();
    // SAFETY: above the last level, entries are null or come from `next_or_new`, which leaks what it stores.
    unsafe { table.as_ref() }
}

/// The table of the next level, made if there is none.
fn next_or_new(entry: &AtomicPtr<()>) -> &'static Table {
    if let Some(table) = next(entry) {
        return table;
    }
    let new = Box::into_raw(Box::new(Table::new()));
    match entry.compare_exchange(null_mut(), new.cast(), Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: the box has just been leaked and is never freed.
        Ok(_) => unsafe { &*new },
        Err(other) => {
            // SAFETY: the box was not stored anywhere.
            drop(unsafe { Box::from_raw(new) });
            // SAFETY: stored by another thread on this very path, and never freed.
            unsafe { &*other.cast() }
        }
    }
}

/// Stores `value` for each page of `pages`.
fn store(pages: std::ops::Range<usize>, value: *mut ()) {
    let mut address = pages.start;
    while address < pages.end {
        let mut table = &ROOT;
        for level in 0..LEVELS - 1 {
            table = next_or_new(table.entry(address, level));
        }
        // The rest of this table's pages without another walk.
        loop {
            table
                .entry(address, LEVELS - 1)
                .store(value, Ordering::Release);
            address += 1 << PAGE_BITS;
            if address >= pages.end || address.is_multiple_of(1 << (PAGE_BITS + LEVEL_BITS)) {
                break;
            }
        }
    }
}

/// Enters a program; it must be removed before it moves or its code is unmapped.
pub(crate) fn insert(image: &Image) -> Result<(), MemoryError> {
    let range = image.range();
    if !reaches(range.end) {
        return Err(MemoryError::OutOfReach {
            address: range.start,
        });
    }
    store(range, std::ptr::from_ref(image).cast_mut().cast());
    Ok(())
}

/// Takes a program out again.
pub(crate) fn remove(image: &Image) {
    let range = image.range();
    if reaches(range.end) {
        store(range, null_mut());
    }
}

/// The program whose code `address` lies in. Async-signal-safe.
///
/// # Safety
/// If `address` lies in the code of a program, that program outlives the reference.
pub(super) unsafe fn find<'a>(address: usize) -> Option<&'a Image> {
    if !reaches(address) {
        return None;
    }
    let mut table = &ROOT;
    for level in 0..LEVELS - 1 {
        table = next(table.entry(address, level))?;
    }
    let image = table
        .entry(address, LEVELS - 1)
        .load(Ordering::Acquire)
        .cast::<Image>();
    // SAFETY: entries of the last level are null or point to an image that is alive until it removes itself; the caller
    // vouches that this one has not begun to.
    let image = unsafe { image.as_ref() }?;
    image.range().contains(&address).then_some(image)
}
