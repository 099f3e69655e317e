//! Memory of the process that is not the allocator's: code, frames of compiled code, linear memories.
//!
//! Code is either writable ([`CodeSpace`]) or executable ([`Code`]), never both.
#![allow(unsafe_code)] // mmap, mprotect, munmap, and slices over what they return.

mod bulk;
mod icache;
mod landing;
mod pages;
mod spare;

use std::io;
use std::sync::OnceLock;

pub use self::bulk::Bulk;
pub(crate) use self::pages::page_size;
use self::pages::{Access, LARGE, Mapping, Pages, whole_pages};
use self::spare::Lent;

/// Memory that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The system does not hand out the address space.
    #[error("cannot reserve {bytes} bytes for {what}: {source}")]
    Reserve {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        bytes: usize,
        /// The system's reason.
        source: io::Error,
    },
    /// The system does not hand out memory for reserved address space.
    #[error("cannot get memory for {bytes} bytes of {what}: {source}")]
    Commit {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        bytes: usize,
        /// The system's reason.
        source: io::Error,
    },
    /// The system forbids executable memory.
    #[error("this system does not let {bytes} bytes of generated code become executable: {source}")]
    NotExecutable {
        /// Size of the code.
        bytes: usize,
        /// The system's reason.
        source: io::Error,
    },
    /// More was asked for than there is room for.
    #[error("{bytes} bytes of {what} do not fit into the {limit} bytes reserved for them")]
    TooLarge {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        bytes: usize,
        /// How much there is.
        limit: usize,
    },
    /// Code lies where the trap handler's table of programs does not reach.
    #[error("generated code lies at {address:#x}, above the addresses that traps can be told for")]
    OutOfReach {
        /// Where it lies.
        address: usize,
    },
}

/// Room for code in the making: writable, not executable.
#[derive(Debug)]
pub struct CodeSpace {
    pages: Pages,
}

impl CodeSpace {
    /// Room for at least `capacity` bytes. Address space is reserved, memory is taken as it is written.
    ///
    /// # Errors
    /// [`MemoryError::Reserve`].
    pub fn new(capacity: usize) -> Result<Self, MemoryError> {
        let pages = match capacity {
            LARGE.. => Pages::large(capacity, "code")?,
            _ => spare::take(capacity, "code")?,
        };
        Ok(Self { pages })
    }

    /// All of the room. What it holds where nothing was written means nothing.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.pages.bytes_mut()
    }

    /// Makes the first `used` bytes executable, at the same address; the rest is given back or holds nothing. With `landing_pads`, indirect
    /// branches may arrive at landing pads only, where processor and system check that.
    ///
    /// # Errors
    /// [`MemoryError::TooLarge`], or [`MemoryError::NotExecutable`] where the system forbids it.
    pub fn publish(self, used: usize, landing_pads: bool) -> Result<Code, MemoryError> {
        let mut pages = self.pages;
        if used > pages.len() {
            return Err(MemoryError::TooLarge {
                what: "code",
                bytes: used,
                limit: pages.len(),
            });
        }
        pages.settle(used);
        let access = if landing_pads {
            Access::Checked
        } else {
            Access::Execute
        };
        let all = 0..pages.len();
        pages
            .mapping
            .protect(all, access)
            .map_err(|source| MemoryError::NotExecutable {
                bytes: used,
                source,
            })?;
        icache::flush(pages.mapping.address(), used);
        Ok(Code {
            pages: pages.into(),
            used,
        })
    }
}

/// Executable code. On drop it is unmapped, or kept as room for code.
#[derive(Debug)]
pub struct Code {
    pages: Lent,
    used: usize,
}

impl Code {
    /// The address of the first byte; a multiple of the page size.
    #[inline]
    pub fn base(&self) -> usize {
        self.pages.mapping.address()
    }

    /// Bytes of code.
    #[inline]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no code.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The code.
    pub fn bytes(&self) -> &[u8] {
        &self.pages.bytes()[..self.used]
    }
}

/// Whether this system lets generated code run. Where it does not, use an interpreter.
///
/// Found out once, by making a page executable.
pub fn jit_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        crate::trap::supported()
            && CodeSpace::new(1)
                .and_then(|space| space.publish(1, false))
                .is_ok()
    })
}

/// Where variables of compiled functions lie. Frames grow upwards.
#[derive(Debug)]
pub struct Stack {
    mapping: Mapping,
    /// Bytes before the limit.
    bytes: usize,
}

impl Stack {
    /// Bytes beyond [`Stack::limit`] that may still be used: functions check the limit against the start of their frame,
    /// and functions that call nothing do not check at all. So there is room for one frame of each kind.
    pub const RED_ZONE: usize = 2 * crate::builder::FRAME_BYTES as usize;

    /// A stack on which frames may begin in the first `bytes` bytes. Behind it and its red zone lies a guard page.
    ///
    /// # Errors
    /// [`MemoryError`] if the memory cannot be had.
    pub fn new(bytes: usize) -> Result<Self, MemoryError> {
        const WHAT: &str = "a stack";
        let fault = || MemoryError::Reserve {
            what: WHAT,
            bytes,
            source: io::ErrorKind::OutOfMemory.into(),
        };
        let usable = bytes
            .checked_add(Self::RED_ZONE)
            .and_then(whole_pages)
            .ok_or_else(fault)?;
        let whole = usable.checked_add(2 * page_size()).ok_or_else(fault)?;
        let mut mapping = Mapping::new(whole, Access::None, WHAT)?;
        mapping
            .protect(page_size()..page_size() + usable, Access::Write)
            .map_err(|source| MemoryError::Commit {
                what: WHAT,
                bytes,
                source,
            })?;
        Ok(Self { mapping, bytes })
    }

    /// The address of the first slot; a multiple of the page size.
    pub fn base(&self) -> *mut u64 {
        // The first page is a guard, so that a wild negative offset faults too.
        self.mapping.base.as_ptr().wrapping_add(page_size()).cast()
    }

    /// The address that no frame may begin above: [`Context::stack_limit`](crate::Context::stack_limit).
    pub fn limit(&self) -> *mut u8 {
        self.base().cast::<u8>().wrapping_add(self.bytes)
    }
}

/// A range of addresses of which a growing part at the front is memory; the rest faults when touched.
#[derive(Debug)]
pub struct Reservation {
    mapping: Mapping,
    committed: usize,
}

impl Reservation {
    /// At least `bytes` of address space, none of it accessible yet.
    ///
    /// # Errors
    /// [`MemoryError::Reserve`].
    pub fn reserve(bytes: usize) -> Result<Self, MemoryError> {
        Ok(Self {
            mapping: Mapping::new(bytes, Access::None, "linear memory")?,
            committed: 0,
        })
    }

    /// Makes the first `bytes` bytes readable and writable, zero where they were not before. Never shrinks.
    ///
    /// `bytes` is rounded up to whole pages of the host, so a memory whose size is a multiple of that faults exactly at
    /// its end.
    ///
    /// # Errors
    /// [`MemoryError::TooLarge`] beyond the reservation, [`MemoryError::Commit`] if the system has no more.
    pub fn commit(&mut self, bytes: usize) -> Result<(), MemoryError> {
        const WHAT: &str = "linear memory";
        if bytes <= self.committed {
            return Ok(());
        }
        let end = match bytes.checked_next_multiple_of(page_size()) {
            Some(end) if end <= self.mapping.len => end,
            _ => {
                return Err(MemoryError::TooLarge {
                    what: WHAT,
                    bytes,
                    limit: self.mapping.len,
                });
            }
        };
        self.mapping
            .protect(self.committed..end, Access::Write)
            .map_err(|source| MemoryError::Commit {
                what: WHAT,
                bytes,
                source,
            })?;
        self.committed = end;
        Ok(())
    }

    /// The address of the first byte; a multiple of the page size.
    pub fn base(&self) -> *mut u8 {
        self.mapping.base.as_ptr()
    }

    /// Bytes of address space.
    pub fn len(&self) -> usize {
        self.mapping.len
    }

    /// Never: a reservation holds at least a page.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes at the front that are memory.
    pub fn committed(&self) -> usize {
        self.committed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_keeps_its_bytes_when_published() {
        let mut space = CodeSpace::new(LARGE).unwrap();
        assert!(space.bytes_mut().len() >= LARGE);
        space.bytes_mut()[..3].copy_from_slice(&[1, 2, 3]);
        let base = space.bytes_mut().as_ptr() as usize;
        let code = space.publish(3, false).unwrap();
        assert_eq!(
            (code.base(), code.len(), code.bytes()),
            (base, 3, &[1, 2, 3][..])
        );
        assert_eq!(code.pages.len(), page_size(), "the rest was given back");
    }

    #[test]
    fn nothing_of_earlier_code_is_left_behind_code() {
        for used in [
            5,
            page_size(),
            30_000,
            1 << 18,
            7,
            2 * page_size() - 1,
            3,
            1,
        ] {
            let mut space = CodeSpace::new(1 << 20).unwrap();
            space.bytes_mut()[..used].fill(0xcc);
            let code = space.publish(used, false).unwrap();
            let (bytes, rest) = code.pages.bytes().split_at(used);
            assert!(bytes.iter().all(|byte| *byte == 0xcc), "{used} bytes");
            assert!(rest.iter().all(|byte| *byte == 0), "{used} bytes");
            assert_eq!(access(code.base() + code.pages.len() - 1), "r");
        }
    }

    #[test]
    fn code_is_never_writable_and_executable_at_once() {
        let mut space = CodeSpace::new(1).unwrap();
        let base = space.bytes_mut().as_ptr() as usize;
        assert_eq!(access(base), "rw");
        let code = space.publish(1, false).unwrap();
        assert_eq!(access(code.base()), "r");
    }

    #[test]
    fn more_code_than_room_is_an_error() {
        let mut space = CodeSpace::new(1).unwrap();
        let room = space.bytes_mut().len();
        let error = space.publish(room + 1, false).unwrap_err();
        assert!(
            matches!(error, MemoryError::TooLarge { limit, .. } if limit == room),
            "{error}"
        );
    }

    #[test]
    fn address_space_that_cannot_be_had_is_an_error() {
        for bytes in [usize::MAX, usize::MAX / 2, 1 << 60] {
            assert!(matches!(
                CodeSpace::new(bytes),
                Err(MemoryError::Reserve { .. })
            ));
            assert!(matches!(
                Reservation::reserve(bytes),
                Err(MemoryError::Reserve { .. })
            ));
            assert!(matches!(
                Stack::new(bytes),
                Err(MemoryError::Reserve { .. })
            ));
        }
    }

    #[test]
    fn a_stack_has_its_red_zone_between_guards() {
        let stack = Stack::new(64 << 10).unwrap();
        let (base, limit) = (stack.base() as usize, stack.limit() as usize);
        assert_eq!(limit - base, 64 << 10);
        assert_eq!(access(base), "rw");
        assert_eq!(access(limit + Stack::RED_ZONE - 1), "rw");
        assert_eq!(access(limit + Stack::RED_ZONE), "");
        assert_eq!(access(base - 1), "");
    }

    #[test]
    fn a_reservation_grows_and_never_shrinks() {
        let mut memory = Reservation::reserve(8 << 30).unwrap();
        let base = memory.base() as usize;
        assert_eq!(access(base), "");
        memory.commit(64 << 10).unwrap();
        memory.commit(1).unwrap();
        assert_eq!(memory.committed(), 64 << 10);
        assert_eq!(access(base + (64 << 10) - 1), "rw");
        assert_eq!(access(base + (64 << 10)), "");
        let beyond = memory.len() + 1;
        assert!(matches!(
            memory.commit(beyond),
            Err(MemoryError::TooLarge { .. })
        ));
        assert!(matches!(
            memory.commit(usize::MAX),
            Err(MemoryError::TooLarge { .. })
        ));
    }

    /// What the system lets a program do with the byte at that address: a pipe takes it if it can be read, and gives it
    /// back if it can be written; a refusal is an error and no fault. The kernel's list of mappings would say it too, but
    /// qemu leaves out entries where reserved addresses lie beside unused ones.
    fn access(address: usize) -> &'static str {
        let mut ends = [0; 2];
        // SAFETY: room for the two descriptors that the call fills in.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        let byte = address as *mut libc::c_void;
        // SAFETY: the system checks the address, and what is written there is what was read there.
        let done = unsafe {
            let read = libc::write(ends[1], byte.cast_const(), 1) == 1;
            (read, read && libc::read(ends[0], byte, 1) == 1)
        };
        for end in ends {
            // SAFETY: this function opened them, and no one else knows them.
            assert_eq!(unsafe { libc::close(end) }, 0);
        }
        match done {
            (true, true) => "rw",
            (true, false) => "r",
            (false, _) => "",
        }
    }
}
