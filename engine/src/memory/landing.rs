//! Which systems check where indirect branches arrive, page by page.

/// What `mprotect` is told for pages whose code has landing pads; 0 where nothing is checked, or only for the process as a
/// whole, as on x86-64.
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
pub(super) fn protection() -> libc::c_int {
    // Of Linux' asm/mman.h and asm/hwcap.h.
    const PROT_BTI: libc::c_int = 0x10;
    const HWCAP2_BTI: libc::c_ulong = 1 << 17;
    // SAFETY: getauxval reads what the kernel gave the process, and 0 for what it did not give. A kernel that has the bit
    // knows the flag.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_BTI == 0 {
        return 0;
    }
    PROT_BTI
}

#[cfg(not(all(target_arch = "aarch64", target_os = "linux")))]
pub(super) fn protection() -> libc::c_int {
    0
}
