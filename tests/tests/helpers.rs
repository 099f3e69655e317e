//! The native stack under compiled code: aligned as C wants it, and a chain of frames that a debugger can walk.
#![cfg(target_arch = "x86_64")] // The chain is told by rbp here; other machines get a test like this one.
#![allow(unsafe_code)] // Calls generated code, and reads the chain of frames.

mod common;

use std::arch::{asm, naked_asm};

use copatch::{
    Context, FunctionBuilder, Helper, Plan, Program, Signature, Stack, Unit, ValueType, call,
};

/// Deepest chain of calls that is tested.
const DEPTH: u32 = 3;

/// Function 0 calls the helper and returns what it gave; function n calls function n - 1 and adds 1. Function
/// `DEPTH + n` enters function n from outside.
fn program(with_operands: bool) -> Program {
    let pack = Box::leak(Box::new(common::toy_pack()));
    let signature = Signature {
        params: vec![ValueType::I64],
        results: vec![ValueType::I64],
    };
    let add = pack.op("i64.add").unwrap();
    let mut unit = Unit::new(pack, 1 << 20).unwrap();
    let mut builder = FunctionBuilder::new(&mut unit);
    for function in 0..DEPTH {
        builder.begin(function, &signature, &[], &Plan::default());
        if with_operands {
            // Something that lives across the call.
            builder.get(0);
        }
        builder.get(0);
        if function == 0 {
            builder.helper(0, 1, &[ValueType::I64]);
        } else {
            builder.call(function - 1, &signature);
            builder.constant(ValueType::I64, 1);
            builder.op(add);
        }
        if with_operands {
            builder.op(add);
        }
        builder.end();
        builder.finish().unwrap();
    }
    for function in 0..DEPTH {
        builder.entry_wrapper(DEPTH + function, function, &signature);
        builder.finish().unwrap();
    }
    unit.finish().unwrap()
}

fn run<H>(program: &Program, function: u32, argument: u64, helper: Helper, host: &mut H) -> u64 {
    let stack = Stack::new(1 << 16).unwrap();
    let helpers = [helper];
    let mut context = Context::new(stack.limit(), helpers.as_ptr());
    context.host = std::ptr::from_mut(host).cast();
    let frame = stack.base();
    let entry = program.entry(DEPTH + function).unwrap();
    // SAFETY: the entry is that of an entry wrapper with one i64; context, helpers and stack outlive the call.
    unsafe {
        frame.write(argument);
        call(
            program,
            entry,
            &raw mut context,
            frame,
            std::ptr::null_mut(),
        )
        .unwrap();
        frame.read()
    }
}

#[repr(C, align(16))]
struct Aligned([u32; 4]);

/// Stores with `movaps`, which faults where the stack is not aligned to 16 bytes.
unsafe extern "C" fn store_aligned(_context: *mut Context, slots: *mut u64) -> u32 {
    let mut local = Aligned([0; 4]);
    // SAFETY: writes the 16 bytes of `local`; there is one slot.
    unsafe {
        asm!("movd {bits}, {argument:e}", "pshufd {bits}, {bits}, 0", "movaps [{to}], {bits}",
            bits = out(xmm_reg) _, argument = in(reg) *slots as u32, to = in(reg) &raw mut local);
        *slots = local.0.iter().map(|lane| u64::from(*lane)).sum();
    }
    0
}

#[test]
fn a_helper_finds_its_stack_aligned_at_every_depth() {
    if !copatch::jit_available() {
        return;
    }
    for with_operands in [false, true] {
        let program = program(with_operands);
        for depth in 1..=DEPTH {
            let operands = if with_operands {
                5 * u64::from(depth)
            } else {
                0
            };
            let expected = 4 * 5 + u64::from(depth - 1) + operands;
            assert_eq!(
                run(&program, depth - 1, 5, store_aligned, &mut ()),
                expected,
                "depth {depth}"
            );
        }
    }
}

/// Return addresses from a helper outwards, as long as they lie in compiled code.
#[derive(Default)]
struct Trace {
    code: std::ops::Range<usize>,
    addresses: Vec<usize>,
}

/// Hands the caller's frame pointer and return address on.
#[unsafe(naked)]
unsafe extern "C" fn walk(_context: *mut Context, _slots: *mut u64) -> u32 {
    naked_asm!("mov rdx, rbp", "mov rcx, [rsp]", "jmp {inner}", inner = sym walk_from)
}

unsafe extern "C" fn walk_from(
    context: *mut Context,
    slots: *mut u64,
    mut frame: *const usize,
    mut back: usize,
) -> u32 {
    // SAFETY: the test set `host`; there is one slot. Compiled functions and the entry keep the chain: the word at the
    // frame pointer is the caller's, the one above it the return address.
    unsafe {
        let trace = &mut *(*context).host.cast::<Trace>();
        while trace.code.contains(&back) && trace.addresses.len() < 100 {
            trace.addresses.push(back);
            back = frame.add(1).read();
            frame = frame.read() as *const usize;
        }
        *slots = 7;
    }
    0
}

#[test]
fn a_backtrace_from_a_helper_is_exact() {
    if !copatch::jit_available() {
        return;
    }
    for with_operands in [false, true] {
        let program = program(with_operands);
        let mut trace = Trace {
            code: program.range(),
            addresses: Vec::new(),
        };
        run(&program, DEPTH - 1, 1, walk, &mut trace);
        // Entries by address tell which function an address lies in.
        let mut places: Vec<(usize, String)> = (0..2 * DEPTH)
            .map(|function| {
                (
                    program.entry(function).unwrap(),
                    format!("function {function}"),
                )
            })
            .collect();
        places.push((program.shim(), "entry".to_owned()));
        places.sort();
        let place = |address: &usize| {
            let after = places.partition_point(|(start, _)| start < address);
            places[after - 1].1.as_str()
        };
        let names: Vec<&str> = trace.addresses.iter().map(place).collect();
        assert_eq!(
            names,
            [
                "function 0",
                "function 1",
                "function 2",
                "function 5",
                "entry"
            ]
        );
    }
}
