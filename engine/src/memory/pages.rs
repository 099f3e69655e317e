//! Pages that the system hands out.

use std::io;
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::{MemoryError, landing};

/// Bytes of memory that code may have behind it; address space it may have more.
const STALE: usize = 64 << 10;
/// Room from which on large pages are asked for, in bytes.
pub(super) const LARGE: usize = 32 << 20;
/// Linux lets what is a multiple of its large pages begin at one; this is their usual size.
const LARGE_PAGE: usize = 2 << 20;

/// Bytes of a page of the host.
pub(crate) fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        // SAFETY: sysconf has no preconditions.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size)
            .ok()
            .filter(|size| size.is_power_of_two())
            .unwrap_or(4096)
    })
}

/// `bytes` rounded up to whole pages; `None` if that overflows.
pub(super) fn whole_pages(bytes: usize) -> Option<usize> {
    bytes.max(1).checked_next_multiple_of(page_size())
}

/// What may be done with pages.
#[derive(Clone, Copy)]
pub(super) enum Access {
    None,
    Write,
    Execute,
    /// With a check, if the system makes one, of where indirect branches arrive.
    Checked,
}

impl Access {
    fn flags(self) -> libc::c_int {
        match self {
            Access::None => libc::PROT_NONE,
            Access::Write => libc::PROT_READ | libc::PROT_WRITE,
            Access::Execute => libc::PROT_READ | libc::PROT_EXEC,
            Access::Checked => libc::PROT_READ | libc::PROT_EXEC | landing::protection(),
        }
    }
}

/// Anonymous private pages, unmapped on drop.
#[derive(Debug)]
pub(super) struct Mapping {
    pub base: NonNull<u8>,
    /// Bytes; whole pages, not 0.
    pub len: usize,
}

// SAFETY: the pages belong to this value alone and to no thread; all access goes through `&self` or `&mut self`.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&self` gives out addresses and, where the owner says so, shared slices only.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Address space for at least `bytes`; memory is taken page by page when it is first touched.
    pub fn new(bytes: usize, access: Access, what: &'static str) -> Result<Self, MemoryError> {
        let fault = |source| MemoryError::Reserve {
            what,
            bytes,
            source,
        };
        let len = whole_pages(bytes).ok_or_else(|| fault(io::ErrorKind::OutOfMemory.into()))?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access.flags(), flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(fault(io::Error::last_os_error()));
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| fault(io::ErrorKind::Other.into()))?;
        Ok(Self { base, len })
    }

    /// Changes what may be done with the pages of `range`, which begins and ends at pages.
    pub fn protect(&mut self, range: std::ops::Range<usize>, access: Access) -> io::Result<()> {
        if range.start > range.end || range.end > self.len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the range lies inside this mapping, as just checked, and `&mut self` excludes slices over it.
        let status = unsafe {
            libc::mprotect(
                self.base.as_ptr().add(range.start).cast(),
                range.len(),
                access.flags(),
            )
        };
        if status == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Gives back everything from `len` on, which is a multiple of the page size and not 0.
    fn trim(&mut self, len: usize) {
        if len == 0 || len >= self.len {
            return;
        }
        // SAFETY: the range lies inside this mapping, and `&mut self` excludes slices over it.
        let status = unsafe { libc::munmap(self.base.as_ptr().add(len).cast(), self.len - len) };
        // Failing to give back address space loses nothing but that.
        if status == 0 {
            self.len = len;
        }
    }

    pub fn address(&self) -> usize {
        self.base.as_ptr() as usize
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and nothing borrowed from it is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Pages that can be read and written.
#[derive(Debug)]
pub(super) struct Pages {
    pub mapping: Mapping,
    /// Bytes at the beginning that were used by what was here before; behind these, and what is written now, all are zero.
    pub touched: usize,
}

impl Pages {
    /// Room for at least `bytes`; memory is taken page by page when it is first touched.
    pub fn new(bytes: usize, what: &'static str) -> Result<Self, MemoryError> {
        Ok(Self {
            mapping: Mapping::new(bytes, Access::Write, what)?,
            touched: 0,
        })
    }

    /// [`Self::new`] for what is written from its beginning on, in large pages where the system has them: megabytes are then
    /// written with few faults.
    pub fn large(bytes: usize, what: &'static str) -> Result<Self, MemoryError> {
        let room = bytes.checked_next_multiple_of(LARGE_PAGE);
        let pages = Self::new(room.unwrap_or(bytes), what)?;
        #[cfg(target_os = "linux")]
        // SAFETY: advice on a mapping of our own, which it leaves as it is. A refusal changes nothing but speed.
        unsafe {
            let Mapping { base, len } = &pages.mapping;
            libc::madvise(base.as_ptr().cast(), *len, libc::MADV_HUGEPAGE);
        }
        Ok(pages)
    }

    pub fn len(&self) -> usize {
        self.mapping.len
    }

    pub fn bytes(&self) -> &[u8] {
        let Mapping { base, len } = &self.mapping;
        // SAFETY: the mapping is readable in full, initialised by the system, and borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts(base.as_ptr(), *len) }
    }

    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let Mapping { base, len } = &self.mapping;
        // SAFETY: as above, and it is writable, and borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), *len) }
    }

    /// Forgets what was here before and lies behind the first `used` bytes, of which there are that many, and gives back what is much
    /// more than these.
    pub fn settle(&mut self, used: usize) {
        let whole = whole_pages(used).unwrap_or(self.len());
        let stale = self.touched.saturating_sub(used);
        if stale > STALE || self.len() >= LARGE {
            self.mapping.trim(whole);
        }
        let end = self.touched.min(self.len());
        if let Some(stale) = self.bytes_mut().get_mut(used..end) {
            stale.fill(0);
        }
        self.touched = used;
    }
}
