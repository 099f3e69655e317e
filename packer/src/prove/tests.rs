//! Stencils written by hand, right and wrong, before both proofs.

use copatch_spec::isa::InstructionSet;
use copatch_spec::types::Place;
use copatch_spec::variants::{Outcome, forms};

use super::*;
use crate::probe::{Sample, apply, fit, probe_values};
use crate::stencil::Relocation;

mod others;

const TABLE: &str = r#"
name = "test"
version = 1
traps = ["odd"]
[op]
"add"   = { in = "i32 i32", out = "i32", forms = "rr ri" }
"lt"    = { in = "i32 i32", out = "i32", forms = "rr ri", branch = true }
"load"  = { in = "i32", imm = "u32", out = "i32", uses = "mem" }
"check" = { in = "i32", traps = "odd" }
"spill" = { in = "i64", out = "i64", forms = "r r>s s" }
"or"    = { in = "v128 v128", out = "v128", forms = "rr rs" }
"#;

fn isa() -> InstructionSet {
    InstructionSet::parse(TABLE, "").unwrap()
}

fn target() -> Target {
    Target::builtin("x86_64").unwrap()
}

fn prover() -> Option<Prover> {
    prover_on(&target())
}

/// `None` where there is no clang to build the harness with, or nothing to run it; CI has both.
fn prover_on(target: &Target) -> Option<Prover> {
    let clang = Path::new("clang-19");
    if std::process::Command::new(clang)
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: clang-19 is not on the path");
        return None;
    }
    match Prover::new(target, clang) {
        Err(error @ ProveError::Emulator(_)) => {
            eprintln!("skipped: {error}");
            None
        }
        prover => Some(prover.unwrap()),
    }
}

fn code(bytes: &[u8]) -> Trimmed {
    Trimmed {
        code: bytes.to_vec(),
        holes: Vec::new(),
    }
}

fn with_hole(bytes: &[u8], offset: usize, symbol: &str) -> Trimmed {
    Trimmed {
        code: bytes.to_vec(),
        holes: vec![Relocation {
            offset,
            symbol: symbol.to_owned(),
            window: 4,
            pc_relative: true,
            addend: -4,
            bits: None,
        }],
    }
}

fn form(
    target: &Target,
    isa: &InstructionSet,
    op: &str,
    places: &[Place],
    outcome: Outcome,
) -> Form {
    let op = &isa.ops[isa.op(op).unwrap()];
    forms(op, &target.machine())
        .into_iter()
        .find(|form| form.operands == places && form.outcome == outcome)
        .unwrap()
}

const RI: [Place; 2] = [Place::Register, Place::Immediate];

/// Whether two codes do the same for an operation whose every register is the first, r15 on x86-64.
fn compare(
    prover: &Prover,
    (op, places, outcome): (&str, &[Place], Outcome),
    values: &[i64],
    own: &Trimmed,
    patched: &Trimmed,
) -> bool {
    let isa = isa();
    let target = &prover.target;
    let form = form(target, &isa, op, places, outcome);
    let op = &isa.ops[isa.op(op).unwrap()];
    let registers = vec![0; form.radices(op, &target.machine()).len()];
    let comparison = Comparison {
        op,
        form: &form,
        registers: &registers,
        values,
        own,
        patched,
    };
    prover.same(&comparison).unwrap()
}

#[test]
fn other_encodings_of_the_same_are_the_same() {
    let Some(prover) = prover() else { return };
    let add = |value: i64, own: &[u8], patched: &[u8]| {
        let form = ("add", &RI[..], Outcome::Plain);
        compare(&prover, form, &[value], &code(own), &code(patched))
    };
    // inc %r15d; add $1, %r15d
    let (inc, add_1) = ([0x41, 0xff, 0xc7], [0x41, 0x83, 0xc7, 1]);
    assert!(add(1, &inc, &add_1));
    assert!(!add(1, &inc, &[0x41, 0x83, 0xc7, 2]));
    // Nothing; add $0, %r15d
    assert!(add(0, &[], &[0x41, 0x83, 0xc7, 0]));
    // In 64 bits the upper half differs.
    assert!(!add(-1, &[0x41, 0xff, 0xcf], &[0x49, 0x83, 0xc7, 0xff]));
    // A register that is not the result; the frame pointer; the stack pointer; a fault.
    assert!(!add(1, &inc, &[0x41, 0xff, 0xc7, 0xff, 0xc7]));
    assert!(!add(1, &inc, &[0x41, 0xff, 0xc7, 0x45, 0x31, 0xf6]));
    assert!(!add(1, &inc, &[0x41, 0xff, 0xc7, 0x50]));
    assert!(!add(1, &inc, &[0x41, 0xff, 0xc7, 0xcc]));
    // Scratch is free: xor %eax, %eax
    assert!(add(1, &inc, &[0x41, 0xff, 0xc7, 0x31, 0xc0]));
}

#[test]
fn accesses_are_the_same_only_at_the_same_address() {
    let Some(prover) = prover() else { return };
    let load = ("load", &[Place::Register][..], Outcome::Plain);
    // mov 16(%r12,%r15), %r15d with 8 and with 32 bits of displacement.
    let own = code(&[0x47, 0x8b, 0x7c, 0x3c, 0x10]);
    let wide = |offset: u8| code(&[0x47, 0x8b, 0xbc, 0x3c, offset, 0, 0, 0]);
    assert!(compare(&prover, load, &[16], &own, &wide(16)));
    assert!(!compare(&prover, load, &[16], &own, &wide(17)));
    let from_slot = ("spill", &[Place::Slot][..], Outcome::Plain);
    // mov 8(%r14), %r15
    let own = code(&[0x4d, 0x8b, 0x7e, 8]);
    let wide = |offset: u8| code(&[0x4d, 0x8b, 0xbe, offset, 0, 0, 0]);
    assert!(compare(&prover, from_slot, &[8], &own, &wide(8)));
    assert!(!compare(&prover, from_slot, &[8], &own, &wide(16)));
}

#[test]
fn vectors_are_the_same_in_all_lanes() {
    let Some(prover) = prover() else { return };
    let or = ("or", &[Place::Register; 2][..], Outcome::Plain);
    // por %xmm0, %xmm0; orps %xmm0, %xmm0; movq %xmm0, %xmm0, which clears the upper half
    let own = code(&[0x66, 0x0f, 0xeb, 0xc0]);
    let upper_lost = code(&[0xf3, 0x0f, 0x7e, 0xc0]);
    assert!(compare(&prover, or, &[], &own, &code(&[0x0f, 0x56, 0xc0])));
    assert!(!compare(&prover, or, &[], &own, &upper_lost));
    let from_slot = ("or", &[Place::Register, Place::Slot][..], Outcome::Plain);
    // movups 16(%r14), %xmm8; orps %xmm8, %xmm0 and the same with movq
    let own = code(&[0x45, 0x0f, 0x10, 0x46, 16, 0x41, 0x0f, 0x56, 0xc0]);
    let half = code(&[0xf3, 0x45, 0x0f, 0x7e, 0x46, 16, 0x41, 0x0f, 0x56, 0xc0]);
    assert!(compare(&prover, from_slot, &[16], &own, &own));
    assert!(!compare(&prover, from_slot, &[16], &own, &half));
    // psrldq $8, %xmm3 in an operation that has nothing to do with it
    let add = ("add", &RI[..], Outcome::Plain);
    let other = code(&[0x66, 0x0f, 0x73, 0xdb, 8]);
    assert!(!compare(&prover, add, &[0], &code(&[]), &other));
}

#[test]
fn control_must_go_the_same_way() {
    let Some(prover) = prover() else { return };
    let branch = ("lt", &RI[..], Outcome::BranchTrue);
    // cmp $5, %r15d; jl T0 and cmp $4, %r15d; jle T0
    let own = with_hole(&[0x41, 0x83, 0xff, 5, 0x0f, 0x8c, 0, 0, 0, 0], 6, "HOLE_T0");
    let same = with_hole(&[0x41, 0x83, 0xff, 4, 0x0f, 0x8e, 0, 0, 0, 0], 6, "HOLE_T0");
    let other = with_hole(&[0x41, 0x83, 0xff, 5, 0x0f, 0x8e, 0, 0, 0, 0], 6, "HOLE_T0");
    assert!(compare(&prover, branch, &[5], &own, &same));
    assert!(!compare(&prover, branch, &[5], &own, &other));
    // A hole of another name leads elsewhere, one of an unknown name nowhere.
    let elsewhere = with_hole(&own.code, 6, "HOLE_X0");
    assert!(!compare(&prover, branch, &[5], &own, &elsewhere));
    assert!(!compare(
        &prover,
        branch,
        &[5],
        &own,
        &with_hole(&own.code, 6, "memcpy")
    ));
}

#[test]
fn code_that_does_not_come_back_is_not_the_same() {
    let Some(prover) = prover() else { return };
    let form = ("add", &RI[..], Outcome::Plain);
    // jmp to itself
    assert!(!compare(
        &prover,
        form,
        &[0],
        &code(&[]),
        &code(&[0xeb, 0xfe])
    ));
    // What it ran in is dead, and another takes its place.
    assert!(compare(&prover, form, &[0], &code(&[]), &code(&[0x90])));
}

/// `r < v` as clang writes it: `cmp $(v - 1), %r15d; setle %al; movzbl %al, %r15d`, and a constant for the least integer.
fn less_than(value: i64) -> Vec<u8> {
    if value == i64::from(i32::MIN) {
        return vec![0x45, 0x31, 0xff];
    }
    let mut code = vec![0x41, 0x81, 0xff];
    code.extend((value as i32 - 1).to_le_bytes());
    code.extend([0x0f, 0x9e, 0xc0, 0x44, 0x0f, 0xb6, 0xf8]);
    code
}

#[test]
fn a_probing_rule_without_domains_is_noticed() {
    let Some(prover) = prover() else { return };
    let least = i64::from(i32::MIN);
    let mut samples = vec![Sample {
        value: 0x1234_567b,
        code: less_than(0x1234_567b),
    }];
    samples.extend(
        probe_values(least, i32::MAX.into(), 0)
            .into_iter()
            .map(|value| Sample {
                value,
                code: less_than(value),
            }),
    );
    let template = fit(&samples).unwrap();
    // Without exceptions the template would be taken at the least integer, where it says that everything is less.
    let without_proof = code(&apply(&template, least));
    let form = ("lt", &RI[..], Outcome::Plain);
    assert!(!compare(
        &prover,
        form,
        &[least],
        &code(&less_than(least)),
        &without_proof
    ));
    // The proof finds exactly that.
    let exceptions: Vec<i64> = template
        .disagreeing
        .iter()
        .copied()
        .filter(|value| {
            let patched = code(&apply(&template, *value));
            !compare(
                &prover,
                form,
                &[*value],
                &code(&less_than(*value)),
                &patched,
            )
        })
        .collect();
    assert_eq!(exceptions, [least]);
    assert!(crate::probe::is_special(least));
}

/// Inspects code for `op` with operands in registers by number.
fn inspected(op: &str, registers: &[usize], stencil: &Trimmed) -> Result<(), String> {
    inspected_on(&target(), op, registers, stencil)
}

fn inspected_on(
    target: &Target,
    op: &str,
    registers: &[usize],
    stencil: &Trimmed,
) -> Result<(), String> {
    let isa = isa();
    let op = &isa.ops[isa.op(op).unwrap()];
    let form = forms(op, &target.machine()).remove(0);
    let subject = Subject {
        name: "test",
        op,
        form: &form,
        registers,
    };
    inspect(&subject, stencil, target).map_err(|refusal| refusal.what.clone())
}

#[track_caller]
fn refused(op: &str, registers: &[usize], stencil: &Trimmed, because: &str) {
    let what = inspected(op, registers, stencil).unwrap_err();
    assert!(what.contains(because), "{what}");
}

#[test]
fn only_results_and_scratch_may_change() {
    // add: r15 = rdi + rsi is lea (%rdi,%rsi), %r15d
    let lea = code(&[0x44, 0x8d, 0x3c, 0x37]);
    assert_eq!(inspected("add", &[1, 2, 0], &lea), Ok(()));
    refused("add", &[1, 2, 3], &lea, "r15 does not hold");
    // xor %r14d, %r14d
    refused(
        "add",
        &[1, 2, 0],
        &code(&[0x45, 0x31, 0xf6]),
        "r14 does not hold",
    );
    // mov %eax, %ebp
    refused("add", &[1, 2, 0], &code(&[0x89, 0xc5]), "rbp does not hold");
    // xorps %xmm1, %xmm1, and xmm9, which is scratch
    refused(
        "add",
        &[1, 2, 0],
        &code(&[0x0f, 0x57, 0xc9]),
        "xmm1 does not hold",
    );
    assert_eq!(
        inspected("add", &[1, 2, 0], &code(&[0x45, 0x0f, 0x57, 0xc9])),
        Ok(())
    );
}

#[test]
fn a_vector_is_a_result_or_stays() {
    // or: xmm0 = xmm1 | xmm2 is movaps %xmm1, %xmm0; orps %xmm2, %xmm0
    let or = code(&[0x0f, 0x28, 0xc1, 0x0f, 0x56, 0xc2]);
    assert_eq!(inspected("or", &[1, 2, 0], &or), Ok(()));
    refused("or", &[1, 2, 3], &or, "xmm0 does not hold");
    // In 256 bits the register is the same: vpxor %ymm1, %ymm1, %ymm1
    let wide = code(&[0xc5, 0xf5, 0xef, 0xc9]);
    refused("or", &[1, 2, 0], &wide, "xmm1 does not hold");
    assert_eq!(inspected("or", &[1, 2, 1], &wide), Ok(()));
    // Exchanged with scratch and back is as before: movaps %xmm1, %xmm9; xorps %xmm1, %xmm1; movaps %xmm9, %xmm1
    let parked = [
        0x44, 0x0f, 0x28, 0xc9, 0x0f, 0x57, 0xc9, 0x41, 0x0f, 0x28, 0xc9,
    ];
    assert_eq!(inspected("or", &[1, 2, 0], &code(&parked)), Ok(()));
    refused("or", &[1, 2, 0], &code(&parked[..7]), "xmm1 does not hold");
}

#[test]
fn a_parked_register_must_come_back() {
    // mov %rdx, %r10; cltd; mov %r10, %rdx
    let parked = [0x49, 0x89, 0xd2, 0x99, 0x4c, 0x89, 0xd2];
    assert_eq!(inspected("add", &[1, 2, 0], &code(&parked)), Ok(()));
    refused("add", &[1, 2, 0], &code(&parked[..4]), "rdx does not hold");
    // In 32 bits only if it holds an i32: mov %edx, %r10d; cltd; mov %r10d, %edx
    let narrow = code(&[0x41, 0x89, 0xd2, 0x99, 0x44, 0x89, 0xd2]);
    refused("add", &[1, 2, 0], &narrow, "rdx does not hold");
    assert_eq!(inspected("add", &[1, 3, 0], &narrow), Ok(()));
    // Coming back on one way only: test %edi, %edi; je over the last.
    let half = [
        0x85, 0xff, 0x49, 0x89, 0xd2, 0x99, 0x74, 0x03, 0x4c, 0x89, 0xd2,
    ];
    refused("add", &[1, 2, 0], &code(&half), "at its end");
    // xchg twice
    assert_eq!(
        inspected(
            "add",
            &[1, 2, 0],
            &code(&[0x48, 0x87, 0xd7, 0x48, 0x87, 0xd7])
        ),
        Ok(())
    );
    refused(
        "add",
        &[1, 2, 0],
        &code(&[0x48, 0x87, 0xd7]),
        "does not hold",
    );
}

#[test]
fn a_trap_needs_the_pointers_only() {
    // test %edi, %edi; je +2; jmp end; xor %esi, %esi; jmp X0
    let bytes = [
        0x85, 0xff, 0x74, 0x02, 0xeb, 0x07, 0x31, 0xf6, 0xe9, 0, 0, 0, 0,
    ];
    assert_eq!(
        inspected("check", &[1], &with_hole(&bytes, 9, "HOLE_X0")),
        Ok(())
    );
    refused(
        "check",
        &[1],
        &with_hole(&bytes, 9, "HOLE_T0"),
        "rsi does not hold",
    );
    refused(
        "check",
        &[1],
        &with_hole(&bytes, 9, "HOLE_X1"),
        "no hole of it",
    );
    let mut pointer = bytes;
    pointer[6..8].copy_from_slice(&[0x31, 0xed]);
    refused(
        "check",
        &[1],
        &with_hole(&pointer, 9, "HOLE_X0"),
        "rbp does not hold",
    );
}

#[test]
fn the_stack_is_not_for_stencils() {
    for (bytes, because) in [
        (&[0x50, 0x58][..], "uses the stack"),
        (&[0x89, 0x44, 0x24, 0xf8], "uses the stack"),
        (&[0x48, 0x83, 0xec, 8], "uses the stack"),
        (&[0xc3], "uses the stack"),
        (&[0xff, 0xe0], "leaves through a register"),
        (&[0x06], "does not decode"),
        (&[0x74, 0x01, 0x85, 0xff], "into an instruction"),
    ] {
        refused("add", &[1, 2, 0], &code(bytes), because);
    }
}

#[test]
fn holes_must_be_known_and_apart() {
    let bytes = [0x90; 8];
    refused(
        "add",
        &[1, 2, 0],
        &with_hole(&bytes, 0, "memcpy"),
        "refers to memcpy",
    );
    refused(
        "add",
        &[1, 2, 0],
        &with_hole(&bytes, 0, "HOLE_V0"),
        "refers to HOLE_V0",
    );
    refused(
        "add",
        &[1, 2, 0],
        &with_hole(&bytes, 6, "HOLE_T0"),
        "outside the code",
    );
    refused(
        "add",
        &[1, 2, 0],
        &with_hole(&bytes, 0, "HOLE_T0"),
        "across instructions",
    );
    let mut twice = with_hole(&bytes, 0, "HOLE_T0");
    twice.holes.push(Relocation {
        offset: 3,
        ..twice.holes[0].clone()
    });
    refused("add", &[1, 2, 0], &twice, "overlap");
}

#[test]
fn helpers_have_their_arguments_where_the_system_wants_them() {
    let (rsi, rdx) = (0x76, 0x56);
    for (triple, second, other) in [
        ("x86_64-unknown-linux-gnu", rsi, rdx),
        ("x86_64-apple-darwin", rsi, rdx),
        ("x86_64-pc-windows-msvc", rdx, rsi),
    ] {
        let Some(prover) = prover_on(&Target::for_triple(triple).unwrap()) else {
            return;
        };
        // mov 24(%r13), %rax; lea offset(%r14), %register; call *16(%rax)
        let call = |register: u8, offset: u8| {
            let lea = [0x49, 0x8d, register, offset];
            code(&[&[0x49, 0x8b, 0x45, 0x18][..], &lea, &[0xff, 0x50, 0x10]].concat())
        };
        let same = |own: &Trimmed, patched: &Trimmed| {
            let form = ("core.helper", &[][..], Outcome::Plain);
            compare(&prover, form, &[2, 48], own, patched)
        };
        assert!(same(&call(second, 48), &call(second, 48)), "{triple}");
        assert!(!same(&call(second, 48), &call(second, 56)), "{triple}");
        // What is no argument may hold anything.
        assert!(same(&call(other, 48), &call(other, 56)), "{triple}");
    }
}
