//! The proof harness's entry on x86-64, and the stubs that exits lead to.

use std::fmt::Write;

use copatch_spec::Target;

use super::harness::{CODE_AT, EXIT, LANDING, SAVED, STACK, STATE_AT, registers};

/// Assembly of `run`, `landed` and `abandon`. State is addressed absolutely, since every register belongs to the stencil;
/// rax is scratch on both sides.
pub(super) fn shim(target: &Target) -> String {
    let word = |index: usize| STATE_AT + 8 * index as u64;
    let mut text = String::new();
    let kept = ["rbx", "rbp", "r12", "r13", "r14", "r15"];
    text.push_str(".text\n.globl run, landed, abandon\nrun:\n");
    // Six words: rsp is 8 modulo 16 behind them, as at every stencil boundary.
    for register in kept {
        let _ = writeln!(text, "push %{register}");
    }
    let _ = writeln!(text, "mov %rsp, {}", word(SAVED));
    for (name, at, vector) in registers(target) {
        let load = if vector { "movups" } else { "movq" };
        let _ = writeln!(text, "{load} {}, %{name}", word(at));
    }
    let _ = writeln!(
        text,
        "mov ${CODE_AT}, %eax\njmp *%rax\nlanded:\nmov %rax, {}",
        word(EXIT)
    );
    for (name, at, vector) in registers(target) {
        let store = if vector { "movups" } else { "movq" };
        let _ = writeln!(text, "{store} %{name}, {}", word(at));
    }
    let (saved, stack) = (word(SAVED), word(STACK));
    let _ = writeln!(text, "mov %rsp, %rax\nsub {saved}, %rax\nmov %rax, {stack}");
    let _ = writeln!(text, "abandon:\nmov {saved}, %rsp\ncld");
    for register in kept.iter().rev() {
        let _ = writeln!(text, "pop %{register}");
    }
    text.push_str("ret\n.section .note.GNU-stack,\"\",@progbits\n");
    text
}

/// Code that leaves a run through the exit of that number; it may stand anywhere.
pub(super) fn stub(exit: u32) -> Vec<u8> {
    let landing = STATE_AT as u32 + 8 * LANDING as u32;
    // mov $exit, %eax; jmp *landing
    let mut code = vec![0xb8];
    code.extend_from_slice(&exit.to_le_bytes());
    code.extend_from_slice(&[0xff, 0x24, 0x25]);
    code.extend_from_slice(&landing.to_le_bytes());
    code
}
