//! The same of aarch64 and riscv64: code by hand, right and wrong, in words.

use copatch_spec::target::Clang;

use super::*;

fn words(words: &[u32]) -> Trimmed {
    code(
        &words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

/// Code of one architecture for what all of them are asked.
struct Machine {
    arch: &'static str,
    /// The first value register = the second + the third, in 32 bits.
    add: u32,
    /// The first value register, in 32 bits, plus 1 and plus 2.
    add_immediate: [u32; 2],
    /// Scratch = the second value register; that = 0; that = scratch.
    park: [u32; 3],
    /// What inspection says of it without the last.
    lost: &'static str,
    /// A jump to itself.
    forever: u32,
    /// Room on the stack, stores of what must survive a call, the call, loads and the end.
    helper: &'static [u32],
    /// What inspection says of that without each of its loads.
    survives: &'static [&'static str],
}

const MACHINES: [Machine; 2] = [
    Machine {
        arch: "aarch64",
        add: 0x0b19_0317,                              // add w23, w24, w25
        add_immediate: [0x1100_06f7, 0x1100_0af7],     // add w23, w23, #1
        park: [0xaa18_03e9, 0x5280_0018, 0xaa09_03f8], // mov x9, x24; mov w24, #0; mov x24, x9
        lost: "x24 does not hold",
        forever: 0x1400_0000,
        helper: &[
            0xf81f_0ffe, // str x30, [sp, #-16]!
            0xd63f_0120, // blr x9
            0xf940_03fe, // ldr x30, [sp]
            0x9100_43ff, // add sp, sp, #16
        ],
        survives: &["x30 does not hold"],
    },
    Machine {
        arch: "riscv64",
        add: 0x00f7_06bb,                              // addw a3, a4, a5
        add_immediate: [0x0016_869b, 0x0026_869b],     // addiw a3, a3, 1
        park: [0x0007_0293, 0x0000_0713, 0x0002_8713], // mv t0, a4; li a4, 0; mv a4, t0
        lost: "a4 does not hold",
        forever: 0x0000_006f,
        helper: &[
            0xfe01_0113, // addi sp, sp, -32
            0x0011_3c23, // sd ra, 24(sp)
            0x00a1_3823, // sd a0, 16(sp)
            0x00b1_3423, // sd a1, 8(sp)
            0x00c1_3023, // sd a2, 0(sp)
            0x0002_80e7, // jalr t0
            0x0181_3083, // ld ra, 24(sp)
            0x0101_3503, // ld a0, 16(sp)
            0x0081_3583, // ld a1, 8(sp)
            0x0001_3603, // ld a2, 0(sp)
            0x0201_0113, // addi sp, sp, 32
        ],
        survives: &[
            "ra does not hold",
            "a0 does not hold",
            "a1 does not hold",
            "a2 does not hold",
        ],
    },
];

fn machines() -> impl Iterator<Item = (&'static Machine, Target)> {
    MACHINES
        .iter()
        .map(|machine| (machine, Target::builtin(machine.arch).unwrap()))
}

#[test]
fn codes_are_executed_on_every_machine() {
    for (machine, target) in machines() {
        let Some(prover) = prover_on(&target) else {
            continue;
        };
        let form = ("add", &RI[..], Outcome::Plain);
        let [one, two] = machine.add_immediate;
        let same = |own: &[u32], patched: &[u32]| {
            compare(&prover, form, &[1], &words(own), &words(patched))
        };
        assert!(same(&[one], &[one]), "{}", machine.arch);
        assert!(!same(&[one], &[two]), "{}", machine.arch);
        // Scratch may differ, a value register that is not the result may not.
        let [to, clear, back] = machine.park;
        assert!(same(&[one], &[one, to, clear, back]), "{}", machine.arch);
        assert!(!same(&[one], &[one, clear]), "{}", machine.arch);
        // What does not come back is ended, and another process takes its place.
        assert!(!same(&[one], &[machine.forever]), "{}", machine.arch);
        assert!(same(&[two], &[two]), "{}", machine.arch);
    }
}

#[test]
fn registers_are_followed_on_every_machine() {
    for (machine, target) in machines() {
        let inspected = |op: &str, registers: &[usize], code: &[u32]| {
            inspected_on(&target, op, registers, &words(code))
        };
        assert_eq!(inspected("add", &[1, 2, 0], &[machine.add]), Ok(()));
        let what = inspected("add", &[1, 2, 3], &[machine.add]).unwrap_err();
        assert!(what.contains("does not hold"), "{}: {what}", machine.arch);
        assert_eq!(inspected("add", &[1, 2, 0], &machine.park), Ok(()));
        let what = inspected("add", &[1, 2, 0], &machine.park[..2]).unwrap_err();
        assert!(what.contains(machine.lost), "{}: {what}", machine.arch);
        let what = inspected("load", &[1, 0], &machine.helper[..1]).unwrap_err();
        assert!(what.contains("uses the stack"), "{}: {what}", machine.arch);
    }
}

#[test]
fn aarch64_compares_and_moves_the_stack_behind_a_load() {
    let target = Target::builtin("aarch64").unwrap();
    // cmp x23, x24; cset w25, eq: neither operand is written.
    let inspected = |op: &str, registers: &[usize], code: &[u32]| {
        inspected_on(&target, op, registers, &words(code))
    };
    let equal = [0xeb18_02ff, 0x1a9f_17f9];
    assert_eq!(inspected("add", &[0, 1, 2], &equal), Ok(()));
    // str x30, [sp, #-16]!; blr x8; ldr x30, [sp], #16
    let helper = [0xf81f_0ffe, 0xd63f_0100, 0xf841_07fe];
    assert_eq!(inspected("core.helper", &[], &helper), Ok(()));
    // … with the load 8 bytes away: ldr x30, [sp, #8]; add sp, sp, #16
    let elsewhere = [0xf81f_0ffe, 0xd63f_0100, 0xf940_07fe, 0x9100_43ff];
    let what = inspected("core.helper", &[], &elsewhere).unwrap_err();
    assert!(what.contains("x30 does not hold"), "{what}");
}

#[test]
fn riscv64_may_have_a_frame_where_nothing_faults() {
    const FRAME: [u32; 8] = [
        0xff01_0113, // addi sp, sp, -16
        0x0091_3423, // sd s1, 8(sp)
        0x0081_3027, // fsd fs0, 0(sp)
        0x0007_0493, // mv s1, a4
        0x22a5_0453, // fmv.d fs0, fa0
        0x0001_3407, // fld fs0, 0(sp)
        0x0081_3483, // ld s1, 8(sp)
        0x0101_0113, // addi sp, sp, 16
    ];
    let target = Target::builtin("riscv64").unwrap();
    let inspected = |code: &[u32]| inspected_on(&target, "add", &[1, 2, 0], &words(code));
    assert_eq!(inspected(&FRAME), Ok(()));
    for (missing, because) in [
        (5, "fs0 does not hold"),
        (6, "s1 does not hold"),
        (7, "moves the stack"),
    ] {
        let mut code = FRAME.to_vec();
        code.remove(missing);
        let what = inspected(&code).unwrap_err();
        assert!(what.contains(because), "{what}");
    }
    for other in [
        0x0091_3823, // sd s1, 16(sp): above the frame
        0x0091_3223, // sd s1, 4(sp): in two words
        0x0081_0293, // addi t0, sp, 8: an address
        0x0021_3023, // sd sp, 0(sp)
        0x0026_b023, // sd sp, 0(a3)
        0xf201_0053, // fmv.d.x ft0, sp
        0x0201_0113, // addi sp, sp, 32: above where it was
        0x8001_0113, // addi sp, sp, -2048: three of them are too much
    ] {
        let mut code = FRAME.to_vec();
        code.splice(1..1, [other; 3]);
        let what = inspected(&code).unwrap_err();
        assert!(what.contains("does more with the stack"), "{what}");
    }
    // What the stack pointer was raised above is lost.
    let mut code = FRAME.to_vec();
    code.splice(5..5, [FRAME[7], FRAME[0]]);
    let what = inspected(&code).unwrap_err();
    assert!(what.contains("does not hold"), "{what}");
    let what = inspected_on(&target, "load", &[1, 0], &words(&FRAME)).unwrap_err();
    assert!(what.contains("uses the stack"), "{what}");
    let none = Target {
        clang: Clang {
            spills: false,
            ..target.clang.clone()
        },
        ..target
    };
    let what = inspected_on(&none, "add", &[1, 2, 0], &words(&FRAME)).unwrap_err();
    assert!(what.contains("uses the stack"), "{what}");
}

#[test]
fn what_helpers_save_must_come_back_on_every_machine() {
    for (machine, target) in machines() {
        let inspected = |code: &[u32]| inspected_on(&target, "core.helper", &[], &words(code));
        assert_eq!(inspected(machine.helper), Ok(()), "{}", machine.arch);
        let loads = machine.helper.len() - 1 - machine.survives.len();
        for (index, because) in machine.survives.iter().enumerate() {
            let mut code = machine.helper.to_vec();
            code.remove(loads + index);
            let what = inspected(&code).unwrap_err();
            assert!(what.contains(because), "{}: {what}", machine.arch);
        }
        let what = inspected(&machine.helper[..machine.helper.len() - 1]).unwrap_err();
        assert!(what.contains("moves the stack"), "{}: {what}", machine.arch);
    }
}
