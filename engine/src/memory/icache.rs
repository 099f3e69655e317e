//! Making written code visible to instruction fetch, per architecture.

/// Makes `bytes` bytes at `address`, which were written as data, what every thread executes there.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
pub(super) fn flush(_address: usize, _bytes: usize) {
    // Caches are coherent, and the system call that made the pages executable serialised this core; other cores get at
    // the code through synchronisation that comes after it.
}

/// As above: clean data caches and invalidate instruction caches to the point of unification, line by line.
#[cfg(target_arch = "aarch64")]
pub(super) fn flush(address: usize, bytes: usize) {
    use std::arch::asm;
    let ctr: u64;
    // SAFETY: CTR_EL0 is readable from user mode on every system with copatch packs.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    let line = |bits: u64| 4usize << (bits & 0xf);
    let (data, instruction) = (line(ctr >> 16), line(ctr));
    let end = address + bytes;
    for at in (address & !(data - 1)..end).step_by(data) {
        // SAFETY: cleans a line of mapped, readable memory; no register or flag changes.
        unsafe { asm!("dc cvau, {}", in(reg) at, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for at in (address & !(instruction - 1)..end).step_by(instruction) {
        // SAFETY: invalidates a line of mapped memory; no register or flag changes.
        unsafe { asm!("ic ivau, {}", in(reg) at, options(nostack, preserves_flags)) };
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
    synchronise_cores();
}

/// Other cores may have fetched ahead; the system makes each of them synchronise before it runs this process again.
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
fn synchronise_cores() {
    const SYNC_CORE: libc::c_int = 1 << 5;
    const REGISTER_SYNC_CORE: libc::c_int = 1 << 6;
    // SAFETY: membarrier takes numbers only. Kernels without it interrupt all cores in mprotect, which suffices.
    unsafe {
        libc::syscall(libc::SYS_membarrier, REGISTER_SYNC_CORE, 0, 0);
        libc::syscall(libc::SYS_membarrier, SYNC_CORE, 0, 0);
    }
}

#[cfg(all(target_arch = "aarch64", not(target_os = "linux")))]
fn synchronise_cores() {}

/// As above; only the system can reach the other cores.
#[cfg(all(target_arch = "riscv64", target_os = "linux"))]
pub(super) fn flush(address: usize, bytes: usize) {
    const RISCV_FLUSH_ICACHE: libc::c_long = 259;
    // SAFETY: flags 0 means all threads; the range is only read.
    unsafe { libc::syscall(RISCV_FLUSH_ICACHE, address, address + bytes, 0) };
}
