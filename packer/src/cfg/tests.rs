//! Shapes that clang emits, written by hand: input and expected code side by side.

use copatch_spec::Target;

use super::{Trimmed, trim};
use crate::stencil::{RawStencil, Relocation};

fn branch_hole(offset: usize, symbol: &str) -> Relocation {
    Relocation {
        offset,
        symbol: symbol.to_owned(),
        window: 4,
        pc_relative: true,
        addend: -4,
        bits: None,
    }
}

/// Trims `code`, in which `holes` are windows of branches.
fn trimmed(code: &[u8], holes: &[(usize, &str)]) -> Result<Trimmed, String> {
    let raw = RawStencil {
        name: "test".to_owned(),
        code: code.to_vec(),
        relocations: holes
            .iter()
            .map(|(offset, symbol)| branch_hole(*offset, symbol))
            .collect(),
    };
    let target = Target::builtin("x86_64").ok_or("no target")?;
    trim(&raw, &target).map_err(|refusal| refusal.to_string())
}

#[track_caller]
fn becomes(code: &[u8], holes: &[(usize, &str)], expected: &[u8], left: &[(usize, &str)]) {
    let trimmed = trimmed(code, holes).unwrap();
    let left: Vec<Relocation> = left
        .iter()
        .map(|(offset, symbol)| branch_hole(*offset, symbol))
        .collect();
    assert_eq!(trimmed.code, expected);
    assert_eq!(trimmed.holes, left);
}

#[track_caller]
fn refused(code: &[u8], holes: &[(usize, &str)], because: &str) {
    let text = trimmed(code, holes).unwrap_err();
    assert!(text.contains(because), "{text}");
}

#[test]
fn the_jump_to_the_continuation_is_cut() {
    // lea (%rsi,%rdi), %r15d; jmp NEXT
    let lea = [0x44, 0x8d, 0x3c, 0x3e];
    let code = [&lea[..], &[0xe9, 0, 0, 0, 0]].concat();
    becomes(&code, &[(5, "HOLE_NEXT")], &lea, &[]);
    // Falling through at the end means the same.
    becomes(&lea, &[], &lea, &[]);
    // Nothing but the jump leaves nothing.
    becomes(&[0xe9, 0, 0, 0, 0], &[(1, "HOLE_NEXT")], &[], &[]);
}

#[test]
fn what_stands_behind_the_end_is_dropped() {
    // nop; jmp NEXT; int3; nop word
    let code = [0x90, 0xe9, 0, 0, 0, 0, 0xcc, 0x66, 0x90];
    becomes(&code, &[(2, "HOLE_NEXT")], &[0x90], &[]);
}

#[test]
fn a_branch_over_the_target_is_inverted() {
    // cmp %edi, %r15d; jge NEXT; jmp T0
    let code = [0x41, 0x39, 0xff, 0x0f, 0x8d, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0];
    becomes(
        &code,
        &[(5, "HOLE_NEXT"), (10, "HOLE_T0")],
        &[0x41, 0x39, 0xff, 0x0f, 0x8c, 0, 0, 0, 0],
        &[(5, "HOLE_T0")],
    );
    // The other way round there is nothing to invert.
    becomes(
        &code,
        &[(5, "HOLE_T0"), (10, "HOLE_NEXT")],
        &[0x41, 0x39, 0xff, 0x0f, 0x8d, 0, 0, 0, 0],
        &[(5, "HOLE_T0")],
    );
}

#[test]
fn a_branch_to_a_jump_goes_where_that_goes() {
    // test %edi, %edi; je 1f; idiv %edi; jmp NEXT; 1: jmp X0
    let code = [
        0x85, 0xff, 0x74, 0x07, 0xf7, 0xff, 0xe9, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0,
    ];
    becomes(
        &code,
        &[(7, "HOLE_NEXT"), (12, "HOLE_X0")],
        &[0x85, 0xff, 0x0f, 0x84, 0, 0, 0, 0, 0xf7, 0xff],
        &[(4, "HOLE_X0")],
    );
}

#[test]
fn two_branches_in_a_row_stay_in_order() {
    // ucomisd %xmm1, %xmm0; jne T0; jp T0; jmp NEXT
    let compare = [0x66, 0x0f, 0x2e, 0xc1];
    let code = [
        &compare[..],
        &[
            0x0f, 0x85, 0, 0, 0, 0, 0x0f, 0x8a, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0,
        ],
    ]
    .concat();
    becomes(
        &code,
        &[(6, "HOLE_T0"), (12, "HOLE_T0"), (17, "HOLE_NEXT")],
        &code[..16],
        &[(6, "HOLE_T0"), (12, "HOLE_T0")],
    );
    // jne NEXT; jp NEXT; jmp T0: the first goes to the end, the second is inverted.
    becomes(
        &code,
        &[(6, "HOLE_NEXT"), (12, "HOLE_NEXT"), (17, "HOLE_T0")],
        &[0x66, 0x0f, 0x2e, 0xc1, 0x75, 0x06, 0x0f, 0x8b, 0, 0, 0, 0],
        &[(8, "HOLE_T0")],
    );
}

#[test]
fn a_cold_block_that_leaves_stands_before_the_rest() {
    // test %edi, %edi; je 1f; neg %eax; jmp NEXT; 1: mov $1, %eax; jmp X0
    let code = [
        0x85, 0xff, 0x74, 0x07, 0xf7, 0xd8, 0xe9, 0, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0xe9, 0, 0, 0, 0,
    ];
    becomes(
        &code,
        &[(7, "HOLE_NEXT"), (17, "HOLE_X0")],
        &[
            0x85, 0xff, 0x75, 0x0a, 0xb8, 1, 0, 0, 0, 0xe9, 0, 0, 0, 0, 0xf7, 0xd8,
        ],
        &[(10, "HOLE_X0")],
    );
}

#[test]
fn a_second_way_to_the_continuation_jumps_to_the_end() {
    // test; je 1f; neg %eax; jmp NEXT; 1: not %eax; jmp NEXT
    let code = [
        0x85, 0xff, 0x74, 0x07, 0xf7, 0xd8, 0xe9, 0, 0, 0, 0, 0xf7, 0xd0, 0xe9, 0, 0, 0, 0,
    ];
    becomes(
        &code,
        &[(7, "HOLE_NEXT"), (14, "HOLE_NEXT")],
        &[0x85, 0xff, 0x74, 0x04, 0xf7, 0xd8, 0xeb, 0x02, 0xf7, 0xd0],
        &[],
    );
}

#[test]
fn branches_grow_when_what_they_skip_is_long() {
    // test; je 1f; (130 nops); jmp NEXT; 1: not %eax; jmp NEXT
    let mut code = vec![0x85, 0xff, 0x0f, 0x84, 135, 0, 0, 0];
    code.extend([0x90; 130]);
    code.extend([0xe9, 0, 0, 0, 0, 0xf7, 0xd0, 0xe9, 0, 0, 0, 0]);
    let mut expected = vec![0x85, 0xff, 0x0f, 0x84, 132, 0, 0, 0];
    expected.extend([0x90; 130]);
    expected.extend([0xeb, 2, 0xf7, 0xd0]);
    becomes(
        &code,
        &[(139, "HOLE_NEXT"), (146, "HOLE_NEXT")],
        &expected,
        &[],
    );
}

#[test]
fn a_loop_stays_a_loop() {
    // 1: dec %eax; jne 1b; jmp NEXT
    let code = [0xff, 0xc8, 0x75, 0xfc, 0xe9, 0, 0, 0, 0];
    becomes(&code, &[(5, "HOLE_NEXT")], &[0xff, 0xc8, 0x75, 0xfc], &[]);
}

#[test]
fn terminators_end_without_a_continuation() {
    // jmp *%rax
    becomes(&[0xff, 0xe0], &[], &[0xff, 0xe0], &[]);
    // pop %rbp; ret
    becomes(&[0x5d, 0xc3], &[], &[0x5d, 0xc3], &[]);
    // jmp T0
    becomes(
        &[0xe9, 0, 0, 0, 0],
        &[(1, "HOLE_T0")],
        &[0xe9, 0, 0, 0, 0],
        &[(1, "HOLE_T0")],
    );
}

#[test]
fn other_relocations_move_with_their_instruction() {
    // je 1f; mulsd POOL(%rip), %xmm0; jmp NEXT; 1: jmp X0
    let mulsd = [0xf2, 0x0f, 0x59, 0x05, 0xaa, 0xaa, 0xaa, 0xaa];
    let code = [
        &[0x74, 0x0d][..],
        &mulsd,
        &[0xe9, 0, 0, 0, 0],
        &[0xe9, 0, 0, 0, 0],
    ]
    .concat();
    becomes(
        &code,
        &[(6, "HOLE_POOL"), (11, "HOLE_NEXT"), (16, "HOLE_X0")],
        &[0x0f, 0x84, 0, 0, 0, 0, 0xf2, 0x0f, 0x59, 0x05, 0, 0, 0, 0],
        &[(2, "HOLE_X0"), (10, "HOLE_POOL")],
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    refused(&[0x06], &[], "does not decode");
    refused(&[0x0f], &[], "does not decode");
    refused(&[0x74, 0x70], &[], "leaves the stencil");
    refused(&[0x74, 0x01, 0x85, 0xff], &[], "into an instruction");
    refused(&[0xe3, 0x00, 0x90], &[], "cannot be inverted");
    refused(&[0x48, 0x8d, 0x05, 0, 0, 0, 0], &[], "no relocation");
    refused(&[0xe8, 0, 0, 0, 0], &[], "no relocation");
    refused(&[0x90, 0x90, 0x90, 0x90], &[(0, "HOLE_POOL")], "across two");
    refused(
        &[0x48, 0xc7, 0xc0, 0, 0, 0, 0],
        &[(3, "HOLE_NEXT")],
        "as a value",
    );
}

#[test]
fn an_endless_loop_of_jumps_ends() {
    // jmp self
    becomes(&[0xeb, 0xfe], &[], &[0xeb, 0xfe], &[]);
}
