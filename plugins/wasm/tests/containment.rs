//! What programs cannot do, and what is not mistaken for one of theirs.
#![allow(unsafe_code)] // Faults on purpose.

mod common;
#[path = "common/program.rs"]
mod program;

use std::process::Output;

use common::{Alone, engine, module};
use copatch_wasm::{Caller, Error, Linker, TrapCode, Val};

/// Every access to memory: its text, bytes, and whether it stores what.
const ACCESSES: [(&str, u64, Option<&str>); 23] = [
    ("i32.load", 4, None),
    ("i32.load8_s", 1, None),
    ("i32.load8_u", 1, None),
    ("i32.load16_s", 2, None),
    ("i32.load16_u", 2, None),
    ("i64.load", 8, None),
    ("i64.load8_s", 1, None),
    ("i64.load8_u", 1, None),
    ("i64.load16_s", 2, None),
    ("i64.load16_u", 2, None),
    ("i64.load32_s", 4, None),
    ("i64.load32_u", 4, None),
    ("f32.load", 4, None),
    ("f64.load", 8, None),
    ("i32.store", 4, Some("i32")),
    ("i32.store8", 1, Some("i32")),
    ("i32.store16", 2, Some("i32")),
    ("i64.store", 8, Some("i64")),
    ("i64.store8", 1, Some("i64")),
    ("i64.store16", 2, Some("i64")),
    ("i64.store32", 4, Some("i64")),
    ("f32.store", 4, Some("f32")),
    ("f64.store", 8, Some("f64")),
];

#[test]
fn no_access_of_any_width_reaches_beyond_memory() {
    let offsets = [
        0,
        1,
        65535,
        65536,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff8,
        0xffff_ffff_u64,
    ];
    let addresses = [
        0,
        1,
        7,
        65528,
        65529,
        65532,
        65533,
        65534,
        65535,
        65536,
        131_072,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_0000,
        0xffff_ffff_u64,
    ];
    let mut text = String::from("(module (memory 1)");
    for (access, _, stores) in ACCESSES {
        for offset in offsets {
            text += &match stores {
                Some(ty) => format!(
                    r#"(func (export "{access} {offset}") (param i32)
                    ({access} offset={offset} (local.get 0) ({ty}.const 1)))"#
                ),
                None => format!(
                    r#"(func (export "{access} {offset}") (param i32)
                    (drop ({access} offset={offset} (local.get 0))))"#
                ),
            };
        }
    }
    let mut instance = common::instance(&(text + ")"));
    for (access, width, _) in ACCESSES {
        for offset in offsets {
            for address in addresses {
                let outcome = instance.invoke(
                    &format!("{access} {offset}"),
                    &[Val::I32(address as u32 as i32)],
                );
                let inside = address + offset + width <= 65536;
                match outcome {
                    Ok(_) => assert!(inside, "{access} offset={offset} of {address}"),
                    Err(error) => {
                        assert!(!inside, "{access} offset={offset} of {address}");
                        assert_eq!(error.as_trap_code(), Some(TrapCode::MemoryOutOfBounds));
                    }
                }
            }
        }
    }
}

#[test]
fn every_trap_names_its_function_and_its_instruction() {
    let cases: [(&str, &[u8], TrapCode); 22] = [
        ("(unreachable)", &[0x00], TrapCode::Unreachable),
        (
            "(drop (i32.load (i32.const 65536)))",
            &[0x28],
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(i64.store (i32.const -1) (i64.const 1))",
            &[0x37],
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(f32.store offset=0xf0000000 (i32.const 0) (f32.const 1))",
            &[0x38],
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2))",
            &[0xfc, 11],
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(memory.copy (i32.const 0) (i32.const 65535) (i32.const 2))",
            &[0xfc, 10],
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 9))",
            &[0xfc, 8],
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "(drop (table.get $t (i32.const 3)))",
            &[0x25],
            TrapCode::TableOutOfBounds,
        ),
        (
            "(table.set $t (i32.const -1) (ref.null func))",
            &[0x26],
            TrapCode::TableOutOfBounds,
        ),
        (
            "(table.fill $t (i32.const 2) (ref.null func) (i32.const 2))",
            &[0xfc, 17],
            TrapCode::TableOutOfBounds,
        ),
        (
            "(table.copy $t $t (i32.const 2) (i32.const 0) (i32.const 2))",
            &[0xfc, 14],
            TrapCode::TableOutOfBounds,
        ),
        (
            "(table.init $t $e (i32.const 0) (i32.const 1) (i32.const 1))",
            &[0xfc, 12],
            TrapCode::TableOutOfBounds,
        ),
        (
            "(call_indirect $t (i32.const 3))",
            &[0x11],
            TrapCode::UndefinedElement,
        ),
        (
            "(call_indirect $t (i32.const 1))",
            &[0x11],
            TrapCode::UninitializedElement,
        ),
        (
            "(call_indirect $t (param i32) (i32.const 1) (i32.const 0))",
            &[0x11],
            TrapCode::IndirectCallTypeMismatch,
        ),
        (
            "(drop (i32.div_s (i32.const 1) (local.get $zero)))",
            &[0x6d],
            TrapCode::IntegerDivideByZero,
        ),
        (
            "(drop (i64.rem_u (i64.const 1) (i64.extend_i32_u (local.get $zero))))",
            &[0x82],
            TrapCode::IntegerDivideByZero,
        ),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (local.get $zero) (i32.const 1))))",
            &[0x6d],
            TrapCode::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            &[0xa8],
            TrapCode::InvalidConversionToInteger,
        ),
        (
            "(drop (i64.trunc_f64_u (f64.const -1)))",
            &[0xb1],
            TrapCode::IntegerOverflow,
        ),
        ("(call $deep)", &[], TrapCode::StackOverflow),
        ("(call $deeper (i64.const 1))", &[], TrapCode::StackOverflow),
    ];
    for (body, opcode, code) in cases {
        let text = format!(
            r#"(module (memory 1) (data $d "12345678") (table $t 3 funcref) (elem (i32.const 0) func $nop)
            (elem $e func $nop) (func $nop)
            (func $deep (call $deep))
            (func $deeper (param i64) (result) (local i64) (call $deeper (local.get 0)) (local.set 1 (local.get 0)))
            (func $inner (local $zero i32) {body})
            (func (export "f") (call $inner)))"#
        );
        let bytes = wat::parse_str(&text).unwrap();
        let mut instance = common::instance(&text);
        let Err(Error::Trap(trap)) = instance.invoke("f", &[]) else {
            panic!("{body} did not trap")
        };
        assert_eq!(trap.code, code, "{body}");
        let offset = trap.offset.unwrap_or_else(|| panic!("{body}: no offset")) as usize;
        if code == TrapCode::StackOverflow {
            let body = bodies(&bytes)[trap.function.unwrap() as usize].clone();
            assert!(
                ["deep", "deeper"].contains(&trap.name.as_deref().unwrap()),
                "{trap}"
            );
            assert!(body.contains(&offset), "{trap} is not in {body:?}");
        } else {
            assert_eq!(trap.name.as_deref(), Some("inner"), "{body}");
            assert!(bytes[offset..].starts_with(opcode), "{body}: {trap}");
        }
    }
}

/// Where the bodies of a module without imports lie.
fn bodies(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut bodies = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        if let wasmparser::Payload::CodeSectionEntry(body) = payload.unwrap() {
            let range = body.range();
            bodies.push(range.start as usize..range.end as usize);
        }
    }
    bodies
}

/// Runs one of the cases of `child` in a process of its own.
fn child_with(case: &str) -> Output {
    program::program(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--include-ignored"])
        .env("COPATCH_CHILD", case)
        .output()
        .unwrap()
}

fn signal(case: &str) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&child_with(case).status)
}

#[test]
fn a_fault_in_a_host_function_ends_the_process() {
    assert_eq!(signal("null"), Some(libc::SIGSEGV));
}

#[test]
fn a_host_function_outside_linear_memory_is_no_trap() {
    assert_eq!(signal("guard"), Some(libc::SIGSEGV));
    assert_eq!(signal("illegal"), Some(libc::SIGILL));
}

#[test]
fn faults_of_others_go_to_the_handler_that_was_there_before() {
    let output = child_with("previous");
    assert_eq!(output.status.code(), Some(42), "{output:?}");
}

#[test]
fn a_host_function_that_uses_up_its_stack_is_told_so() {
    let output = child_with("overflow");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("overflowed its stack"),
        "{output:?}"
    );
}

/// Not a test of its own: what the others run.
#[test]
#[ignore = "run by the others, in processes of their own"]
fn child() {
    let Ok(case) = std::env::var("COPATCH_CHILD") else {
        return;
    };
    if case == "previous" {
        extern "C" fn handler(_: libc::c_int) {
            // SAFETY: ends the process without running anything else.
            unsafe { libc::_exit(42) }
        }
        // SAFETY: the handler is async-signal-safe.
        unsafe { libc::signal(libc::SIGSEGV, handler as *const () as libc::sighandler_t) };
    }
    let mut linker = Linker::new(engine());
    linker
        .func_wrap("host", "fault", move |mut caller: Caller<'_, ()>| {
            let memory = caller.get_export("memory").unwrap().into_memory().unwrap();
            let base = memory.data_mut(&mut caller).as_mut_ptr();
            match case.as_str() {
                // SAFETY: none; it is the fault that the test is about.
                "null" | "previous" => unsafe {
                    std::ptr::null::<u8>().wrapping_add(8).read_volatile()
                },
                // SAFETY: as above.
                "guard" => unsafe { base.wrapping_add(1 << 20).read_volatile() },
                "illegal" => {
                    // SAFETY: as above.
                    unsafe {
                        #[cfg(target_arch = "x86_64")]
                        std::arch::asm!("ud2");
                        #[cfg(target_arch = "aarch64")]
                        std::arch::asm!("udf #0");
                        #[cfg(target_arch = "riscv64")]
                        std::arch::asm!("unimp");
                    };
                    0
                }
                _ => recurse(1),
            };
        })
        .unwrap();
    let text = r#"(module (import "host" "fault" (func $fault)) (memory (export "memory") 1)
        (func (export "trap") (drop (i32.load (i32.const -1)))) (func (export "f") (call $fault)))"#;
    let mut instance = Alone::new(&linker, &module(text), ()).unwrap();
    // Traps are traps before, so that handlers are in place.
    assert_eq!(
        common::trap(&mut instance, "trap", &[]),
        TrapCode::MemoryOutOfBounds
    );
    let outcome = instance.invoke("f", &[]);
    panic!("it survived: {outcome:?}");
}

#[allow(unconditional_recursion, reason = "it is to use up the stack")]
fn recurse(n: u8) -> u8 {
    let bytes = std::hint::black_box([n; 1024]);
    recurse(bytes[5]).wrapping_add(bytes[7])
}
