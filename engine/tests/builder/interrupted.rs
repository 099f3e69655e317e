//! Stopping code from another thread, while it does hardly anything but call helpers: a call has registers elsewhere meanwhile.

use std::thread;
use std::time::Duration;

use copatch::{Helper, Interrupt, Reason, trap_kind};

use super::*;

const ROUNDS: u64 = 100;

unsafe extern "C" fn nothing(_context: *mut Context, _slots: *mut u64) -> u32 {
    0
}

#[test]
fn calls_of_helpers_are_stopped_before_or_after() {
    static TABLE: [Helper; 1] = [nothing];
    let pack = pack();
    let program = compile(&pack, &signature(&[], &[]), &[], &Plan::default(), |b| {
        b.loop_(&[], &[]);
        b.helper(0, 0, &[]);
        b.br(0);
        b.end();
    });
    let stack = Stack::new(1 << 20).expect("a stack");
    let mut context = Context::new(stack.limit(), TABLE.as_ptr());
    let entry = program.entry(1).expect("the wrapper");
    let interrupt = Interrupt::new();
    for round in 0..ROUNDS {
        let stopper = thread::spawn({
            let interrupt = interrupt.clone();
            move || {
                thread::sleep(Duration::from_micros(round * 5));
                interrupt.request(Reason::Asked);
            }
        });
        // SAFETY: it is dropped below, and is the only one.
        let running = unsafe { interrupt.enter() };
        let ended = if interrupt.check() {
            None
        } else {
            // SAFETY: the wrapper takes nothing; the helper is in the table; the stack's memory begins at its base.
            let end = unsafe {
                call(
                    &program,
                    entry,
                    &mut context,
                    stack.base(),
                    std::ptr::null_mut(),
                )
            };
            Some(end)
        };
        drop(running);
        stopper.join().expect("no panic");
        if let Some(end) = ended {
            assert_eq!(end.map_err(|trap| trap.kind), Err(trap_kind::INTERRUPTED));
        }
        // What came too late is not for the next round.
        interrupt.clear(Reason::Asked);
    }
}
