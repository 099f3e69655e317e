//! Hand-written x86-64 code in place of stencils: enters, traps, nests, and faults where nobody expects it.

use std::process::{Command, Output};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::context::Helper;
use crate::memory::{CodeSpace, Reservation, Stack, page_size};
use crate::program::Image;
use crate::sites::{CALLS_OUT, Sites};

/// `core.entry`, `core.unwind`, then the functions below, one after another.
#[rustfmt::skip]
const CODE: &[u8] = &[
    // entry: push rbp; mov rbp, rsp; push rbx, r12, r13, r14, r15, rax, [rdi]
    0x55, 0x48, 0x89, 0xe5, 0x53, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x50, 0xff, 0x37,
    // mov r13, rdi; mov r14, rsi; mov r12, rdx; mov [rdi], rsp; call rcx; xor eax, eax
    0x49, 0x89, 0xfd, 0x49, 0x89, 0xf6, 0x49, 0x89, 0xd4, 0x48, 0x89, 0x27, 0xff, 0xd1, 0x31, 0xc0,
    // pop [r13]; pop rcx, r15, r14, r13, r12, rbx, rbp; ret
    0x41, 0x8f, 0x45, 0x00, 0x59, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5b, 0x5d, 0xc3,
    // unwind: mov rsp, [r13]; mov eax, 1; pop as above; ret
    0x49, 0x8b, 0x65, 0x00, 0xb8, 0x01, 0x00, 0x00, 0x00,
    0x41, 0x8f, 0x45, 0x00, 0x59, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5b, 0x5d, 0xc3,
    // answer (0x49): mov rax, r14; mov qword [r14], 42; ret
    0x4c, 0x89, 0xf0, 0x49, 0xc7, 0x06, 0x2a, 0x00, 0x00, 0x00, 0xc3,
    // trap (0x54): push rbp; mov rbp, rsp; ud2
    0x55, 0x48, 0x89, 0xe5, 0x0f, 0x0b,
    // load (0x5a): mov eax, [r12]; mov [r14], eax; ret
    0x41, 0x8b, 0x04, 0x24, 0x41, 0x89, 0x06, 0xc3,
    // wild (0x62): mov ecx, [r12]; ret
    0x41, 0x8b, 0x0c, 0x24, 0xc3,
    // recurse (0x67): push rbp; mov rbp, rsp; call recurse; pop rbp; ret
    0x55, 0x48, 0x89, 0xe5, 0xe8, 0xf7, 0xff, 0xff, 0xff, 0x5d, 0xc3,
    // helper (0x72): push rbp; mov rbp, rsp; sub rsp, 8; and rsp, -16; mov rdi, r13; mov rsi, r14; mov rax, [r13+24]
    0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x08, 0x48, 0x83, 0xe4, 0xf0, 0x4c, 0x89, 0xef, 0x4c, 0x89, 0xf6,
    0x49, 0x8b, 0x45, 0x18,
    // call [rax]; test eax, eax; jne fail; mov rsp, rbp; pop rbp; ret; fail: ud2
    0xff, 0x10, 0x85, 0xc0, 0x75, 0x05, 0x48, 0x89, 0xec, 0x5d, 0xc3, 0x0f, 0x0b,
    // spin (0x95): spin: jmp spin
    0xeb, 0xfe,
];

const ANSWER: u32 = 0;
const TRAP: u32 = 1;
const LOAD: u32 = 2;
const WILD: u32 = 3;
const RECURSE: u32 = 4;
const HELPER: u32 = 5;
const SPIN: u32 = 6;

fn program() -> Program {
    let mut space = CodeSpace::new(CODE.len()).unwrap();
    space.bytes_mut()[..CODE.len()].copy_from_slice(CODE);
    let mut sites = Sites::default();
    let mut site = |begin, function, offset, length, kind| {
        sites.begin(function, begin);
        sites.push(offset, length, 1000 + function, kind);
    };
    site(0x54, TRAP, 0x58, 2, kind::UNREACHABLE);
    site(0x5a, LOAD, 0x5a, 8, kind::OUT_OF_BOUNDS);
    site(0x72, HELPER, 0x80, 8, CALLS_OUT);
    sites.push(0x93, 2, 1000 + HELPER, kind::HOST_ERROR);
    let image = Image {
        code: space.publish(CODE.len(), false).unwrap(),
        entries: vec![0x49, 0x54, 0x5a, 0x62, 0x67, 0x72, 0x95],
        sites: sites.finish(),
        shim: 0,
        unwind: 0x30,
        frame_bias: 0,
        slot_bytes: 8,
        listing: None,
    };
    Program::register(image).unwrap()
}

unsafe extern "C" fn ok(_: *mut Context, _: *mut u64) -> u32 {
    0
}

/// A program, a stack and a context around one helper.
struct Machine {
    program: Program,
    stack: Stack,
    helpers: Box<[Helper; 1]>,
    context: Context,
}

impl Machine {
    fn new(helper: Helper) -> Self {
        let helpers = Box::new([helper]);
        let stack = Stack::new(page_size()).unwrap();
        let context = Context::new(stack.limit(), helpers.as_ptr());
        Self {
            program: program(),
            stack,
            helpers,
            context,
        }
    }

    fn call(&mut self, func: u32, memory: *mut u8) -> Result<u64, Trap> {
        let target = self.program.entry(func).unwrap();
        self.context.helpers = self.helpers.as_ptr();
        // SAFETY: the code above takes no parameters, uses one slot of the stack, and one helper.
        unsafe {
            call(
                &self.program,
                target,
                &raw mut self.context,
                self.stack.base(),
                memory,
            )?;
            Ok(*self.stack.base())
        }
    }
}

#[test]
fn code_returns_and_writes_its_frame() {
    assert_eq!(Machine::new(ok).call(ANSWER, null_mut()), Ok(42));
}

#[test]
fn entries_that_do_not_exist_are_none() {
    let program = program();
    assert_eq!(program.entry(ANSWER), Some(program.range().start + 0x49));
    assert_eq!(program.entry(7), None);
    assert_eq!(program.entry(u32::MAX), None);
}

#[test]
fn a_trap_instruction_is_a_trap_and_the_program_goes_on() {
    let mut machine = Machine::new(ok);
    for _ in 0..3 {
        let trap = machine.call(TRAP, null_mut()).unwrap_err();
        assert_eq!(
            (trap.kind, trap.function, trap.source),
            (kind::UNREACHABLE, Some(TRAP), Some(1001))
        );
        assert_eq!(trap.pc, machine.program.range().start + 0x58);
        assert_eq!(machine.context.entry_sp, 0, "the entry before was restored");
        assert_eq!(machine.call(ANSWER, null_mut()), Ok(42));
    }
}

#[test]
fn a_guard_page_is_a_trap_exactly_at_the_end_of_memory() {
    let mut memory = Reservation::reserve(1 << 20).unwrap();
    memory.commit(page_size()).unwrap();
    let last = memory.base().wrapping_add(page_size() - 4);
    // SAFETY: the last four bytes of committed memory.
    unsafe { last.cast::<u32>().write(7) };
    let mut machine = Machine::new(ok);
    assert_eq!(machine.call(LOAD, last).map(|value| value as u32), Ok(7));
    let trap = machine.call(LOAD, last.wrapping_add(1)).unwrap_err();
    assert_eq!(
        (trap.kind, trap.function),
        (kind::OUT_OF_BOUNDS, Some(LOAD))
    );
}

#[test]
fn traps_work_on_every_thread() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut machine = Machine::new(ok);
                for _ in 0..200 {
                    assert_eq!(
                        machine.call(TRAP, null_mut()).unwrap_err().kind,
                        kind::UNREACHABLE
                    );
                    assert_eq!(
                        machine.call(LOAD, null_mut()).unwrap_err().kind,
                        kind::OUT_OF_BOUNDS
                    );
                }
            });
        }
    });
}

#[test]
fn a_native_stack_that_ends_in_compiled_code_is_a_trap() {
    let run = || Machine::new(ok).call(RECURSE, null_mut()).unwrap_err();
    let thread = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(run)
        .unwrap();
    let trap = thread.join().unwrap();
    assert_eq!((trap.kind, trap.function), (kind::STACK_OVERFLOW, None));
}

#[test]
fn calls_nest_and_each_trap_ends_its_own() {
    unsafe extern "C" fn inner(context: *mut Context, slots: *mut u64) -> u32 {
        // SAFETY: called by compiled code; the frame's next slot is free.
        unsafe {
            helper_guard(context, || {
                let program = &*(*context).host.cast::<Program>();
                let before = (*context).entry_sp;
                let trap = call(
                    program,
                    program.entry(TRAP).unwrap(),
                    context,
                    slots.add(1),
                    null_mut(),
                )
                .unwrap_err();
                assert_eq!(trap.function, Some(TRAP));
                call(
                    program,
                    program.entry(ANSWER).unwrap(),
                    context,
                    slots.add(1),
                    null_mut(),
                )
                .unwrap();
                assert_eq!(
                    (*context).entry_sp,
                    before,
                    "the outer entry is the nearest again"
                );
                *slots = *slots.add(1) + 1;
                Ok(())
            })
        }
    }
    let mut machine = Machine::new(inner);
    machine.context.host = (&raw mut machine.program).cast();
    assert_eq!(machine.call(HELPER, null_mut()), Ok(43));
}

#[test]
fn a_helper_names_its_trap() {
    unsafe extern "C" fn fails(context: *mut Context, _: *mut u64) -> u32 {
        // SAFETY: called by compiled code.
        unsafe { helper_guard(context, || Err(17)) }
    }
    let mut machine = Machine::new(fails);
    let trap = machine.call(HELPER, null_mut()).unwrap_err();
    assert_eq!((trap.kind, trap.function), (17, Some(HELPER)));
    assert_eq!(
        machine.call(TRAP, null_mut()).unwrap_err().kind,
        kind::UNREACHABLE,
        "the name was used up"
    );

    unsafe extern "C" fn plain(_: *mut Context, _: *mut u64) -> u32 {
        1
    }
    assert_eq!(
        Machine::new(plain)
            .call(HELPER, null_mut())
            .unwrap_err()
            .kind,
        kind::HOST_ERROR
    );
}

#[test]
fn a_panic_in_a_helper_arrives_at_the_call() {
    unsafe extern "C" fn panics(context: *mut Context, _: *mut u64) -> u32 {
        // SAFETY: called by compiled code. resume_unwind, so that no message is printed.
        unsafe { helper_guard(context, || resume_unwind(Box::new("from the helper"))) }
    }
    let mut machine = Machine::new(panics);
    let payload = catch_unwind(AssertUnwindSafe(|| machine.call(HELPER, null_mut()))).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"from the helper"));
    assert_eq!(machine.call(ANSWER, null_mut()), Ok(42));
}

#[test]
fn sites_cover_their_bytes_and_no_others() {
    let program = program();
    let base = program.range().start;
    let found: Vec<usize> = (0..CODE.len())
        .filter(|at| program.site(base + at).is_some())
        .collect();
    let expected: Vec<usize> = (0x58..0x62).chain(0x93..0x95).collect();
    assert_eq!(found, expected);
    let calls = (0..CODE.len()).filter(|at| program.image.calls_out(base + at));
    assert!(calls.eq(0x80..0x88));
    assert_eq!(program.site(0), None);
    assert_eq!(program.site(usize::MAX), None);
}

#[test]
fn programs_come_and_go_while_others_trap() {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut machine = Machine::new(ok);
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(
                        machine.call(TRAP, null_mut()).unwrap_err().kind,
                        kind::UNREACHABLE
                    );
                }
            });
        }
        for _ in 0..2000 {
            let some: Vec<Program> = (0..10).map(|_| program()).collect();
            drop(some);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn two_hundred_thousand_programs_leave_nothing_behind() {
    for _ in 0..1000 {
        program();
    }
    let before = resident_bytes();
    for _ in 0..200_000 {
        program();
    }
    let grown = resident_bytes().saturating_sub(before);
    // One page a program would be 800 MiB; the margin is for other tests, which run meanwhile.
    assert!(grown < 100 << 20, "{grown} bytes more");
}

#[test]
fn a_program_is_found_until_its_last_clone_goes() {
    let program = program();
    let address = program.range().start;
    // SAFETY: looked for only while a clone of the program is alive.
    let found = || unsafe { registry::find(address) }.is_some();
    assert!(found());
    let twin = program.clone();
    drop(program);
    assert!(found(), "a clone keeps it");
    drop(twin);
    // SAFETY: no program can lie at these addresses.
    assert!(unsafe { registry::find(0).is_none() && registry::find(usize::MAX).is_none() });
}

#[test]
fn native_stack_shrinks_with_depth() {
    #[inline(never)]
    fn deeper() -> usize {
        let room = std::hint::black_box([0u8; 4096]);
        native_stack_left().unwrap() + usize::from(room[0])
    }
    let here = native_stack_left().unwrap();
    assert!(deeper() + 2048 <= here, "{} against {here}", deeper());
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * page_size()
}

// What must end the process runs in a process of its own: this test binary, told which of the following to do.

const CRASH: &str = "COPATCH_TEST_CRASH";

fn crash(name: &str) -> Output {
    let exe = std::env::current_exe().unwrap();
    let child = Command::new(exe)
        .args(["--exact", "trap::tests::crash_site", "--nocapture"])
        .env(CRASH, name)
        .output();
    child.unwrap()
}

/// Does nothing unless it runs in the child.
#[test]
fn crash_site() {
    let Ok(name) = std::env::var(CRASH) else {
        return;
    };
    // SAFETY: numbers only; no core files for crashes that are meant.
    unsafe {
        libc::setrlimit(
            libc::RLIMIT_CORE,
            &libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            },
        )
    };
    if name.starts_with("chained") {
        // SAFETY: a valid handler, installed before ours.
        unsafe { libc::signal(libc::SIGSEGV, note_and_leave as *const () as usize) };
    }
    let mut machine = Machine::new(ok);
    assert_eq!(
        machine.call(LOAD, null_mut()).unwrap_err().kind,
        kind::OUT_OF_BOUNDS
    );
    match name.as_str() {
        "wild" => drop(machine.call(WILD, null_mut())),
        "rust" | "chained" => {
            // SAFETY: none; this is the fault that must not be taken for a trap.
            unsafe { std::hint::black_box(null_mut::<u32>()).read_volatile() };
        }
        // Not SIGSEGV: the standard library's own handler takes the first one for a fault and returns.
        // SAFETY: raising a signal needs nothing.
        "sent" => unsafe {
            libc::raise(libc::SIGILL);
        },
        "overflow" => {
            fn forever(n: u64) -> u64 {
                if n == u64::MAX {
                    0
                } else {
                    std::hint::black_box(forever(std::hint::black_box(n) + 1) + 1)
                }
            }
            std::thread::spawn(|| {
                assert!(Machine::new(ok).call(TRAP, null_mut()).is_err());
                forever(0)
            })
            .join()
            .unwrap();
        }
        other => panic!("no crash called {other}"),
    }
    // SAFETY: ends the process with a status that no signal gives.
    unsafe { libc::_exit(77) };
}

static LOCK: Mutex<()> = Mutex::new(());

extern "C" fn note_and_leave(_: libc::c_int) {
    // SAFETY: async-signal-safe.
    unsafe { libc::_exit(99) };
}

fn ended_by(output: &Output) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&output.status)
}

#[test]
fn a_fault_without_a_site_ends_the_process() {
    let _lock = LOCK.lock();
    assert_eq!(ended_by(&crash("wild")), Some(libc::SIGSEGV));
}

#[test]
fn a_fault_outside_compiled_code_ends_the_process() {
    let _lock = LOCK.lock();
    assert_eq!(ended_by(&crash("rust")), Some(libc::SIGSEGV));
}

#[test]
fn a_signal_that_was_sent_ends_the_process() {
    let _lock = LOCK.lock();
    assert_eq!(ended_by(&crash("sent")), Some(libc::SIGILL));
}

#[test]
fn the_handler_that_was_there_before_gets_its_faults() {
    let _lock = LOCK.lock();
    assert_eq!(crash("chained").status.code(), Some(99));
}

#[test]
fn a_native_stack_that_ends_in_rust_is_reported_by_rust() {
    let _lock = LOCK.lock();
    let output = crash("overflow");
    assert_eq!(ended_by(&output), Some(libc::SIGABRT));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has overflowed its stack"));
}

#[test]
fn addresses_belong_to_the_functions_whose_bodies_they_are_in() {
    let program = program();
    let base = program.range().start;
    let function = |offset: usize| program.image.function(base + offset);
    assert_eq!(function(0x48), None, "the shims");
    assert_eq!(function(0x49), Some(ANSWER));
    assert_eq!(function(0x71), Some(RECURSE));
    assert_eq!(function(0x96), Some(SPIN));
    assert_eq!(function(0x97), None);
    assert_eq!(program.image.function(base - 1), None);
}

#[test]
fn code_that_spins_is_stopped_from_another_thread() {
    let mut machine = Machine::new(ok);
    let interrupt = Interrupt::new();
    for round in 0..50u64 {
        let stopper = std::thread::spawn({
            let interrupt = interrupt.clone();
            move || {
                std::thread::sleep(std::time::Duration::from_micros(round * 20));
                interrupt.request(Reason::Asked);
            }
        });
        // SAFETY: it is dropped below, and is the only one.
        let running = unsafe { interrupt.enter() };
        // Whether the request came before or after this, exactly one of the two notices.
        if !interrupt.check() {
            let trap = machine.call(SPIN, null_mut()).unwrap_err();
            assert_eq!((trap.kind, trap.function), (kind::INTERRUPTED, Some(SPIN)));
        }
        drop(running);
        stopper.join().unwrap();
        assert_eq!(machine.call(ANSWER, null_mut()), Ok(42));
        assert!(!interrupt.check(), "the request is over");
    }
}

#[test]
fn nobody_waits_for_a_host_function() {
    let interrupt = Interrupt::new();
    // SAFETY: it is dropped below, and is the only one.
    let running = unsafe { interrupt.enter() };
    let host = interrupt.host();
    let other = interrupt.clone();
    // Would never end if this thread had to come out first.
    std::thread::spawn(move || other.request(Reason::Asked))
        .join()
        .unwrap();
    drop(host);
    assert!(interrupt.check());
    drop(running);
    assert!(!interrupt.check());
}
