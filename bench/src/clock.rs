//! Time is processor time: what a neighbour on the machine takes is not counted. On an idle machine, a program that runs on
//! one core and waits for nothing takes as long by the clock on the wall.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time that this process has used so far, in the system too.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
