//! What the compiler is told of how often code runs, so that what is usual lies in one piece: a jump that is taken costs a processor more
//! than one that is not, and code that is rarely run takes room in its cache of instructions from code that is. A build with a profile
//! has half as many jumps taken without being told.

use std::hint::cold_path;

/// The same, which is hardly ever false.
#[inline(always)]
pub(crate) fn likely(usual: bool) -> bool {
    if !usual {
        cold_path();
    }
    usual
}

/// The same, which is hardly ever true.
#[inline(always)]
pub(crate) fn unlikely(unusual: bool) -> bool {
    if unusual {
        cold_path();
    }
    unusual
}

/// The same, which is hardly ever `None`.
#[inline(always)]
pub(crate) fn usual<T>(found: Option<T>) -> Option<T> {
    if found.is_none() {
        cold_path();
    }
    found
}
