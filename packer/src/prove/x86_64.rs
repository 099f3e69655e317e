//! The proofs' view of x86-64.

use std::fmt::Write;

use capstone::arch::ArchOperand;
use capstone::arch::x86::X86OperandType;
use capstone::prelude::*;
use capstone::{Insn, InsnGroupType, RegId};
use copatch_spec::Target;

use super::harness::{CODE_AT, EXIT, LANDING, SAVED, STACK, STATE_AT, registers};
use super::inspect::{Effect, Step, Successors};
use super::machine::Machine;
use crate::disassembly::text;
use crate::stencil::Relocation;

/// x86-64.
pub(super) struct X86_64;

impl Machine for X86_64 {
    /// State is addressed absolutely, since every register belongs to the stencil;
    /// rax is scratch on both sides.
    fn shim(&self, target: &Target) -> String {
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

    fn stub(&self, exit: u32) -> Vec<u8> {
        let landing = STATE_AT as u32 + 8 * LANDING as u32;
        // mov $exit, %eax; jmp *landing
        let mut code = vec![0xb8];
        code.extend_from_slice(&exit.to_le_bytes());
        code.extend_from_slice(&[0xff, 0x24, 0x25]);
        code.extend_from_slice(&landing.to_le_bytes());
        code
    }

    fn stack(&self) -> &'static str {
        "rsp"
    }

    /// On every system; Windows keeps more.
    fn kept_by_c(&self) -> &'static [&'static str] {
        &["rbx", "rbp", "rsp", "r12", "r13", "r14", "r15"]
    }

    fn pointers(&self) -> &'static [&'static str] {
        &["rsp", "rbp"]
    }

    fn step(
        &self,
        disassembler: &Capstone,
        instruction: &Insn<'_>,
        start: usize,
        hole: Option<&Relocation>,
    ) -> Result<Step, capstone::Error> {
        let end = start + instruction.len();
        let detail = disassembler.insn_detail(instruction)?;
        let name = |register: &RegId| {
            let name = disassembler.reg_name(*register).unwrap_or_default();
            full_register(&name)
        };
        let operands = detail.arch_detail().operands();
        let group = |group: u32| detail.groups().iter().any(|id| u32::from(id.0) == group);
        let mnemonic = instruction.mnemonic().unwrap_or("");
        let mut registers = Vec::new();
        let mut immediate = None;
        let mut memory_on_stack = false;
        for operand in &operands {
            let ArchOperand::X86Operand(operand) = operand else {
                continue;
            };
            match &operand.op_type {
                X86OperandType::Reg(register) => registers.push((name(register), operand.size)),
                X86OperandType::Imm(value) => immediate = Some(*value),
                X86OperandType::Mem(memory) => {
                    let on_stack =
                        |register: RegId| ["rsp", "rbp"].contains(&name(&register).as_str());
                    memory_on_stack |= on_stack(memory.base()) || on_stack(memory.index());
                }
                X86OperandType::Invalid => {}
            }
        }
        let only_registers = registers.len() == operands.len();
        let effect = match (mnemonic, registers.as_slice()) {
            ("mov", [(to, size), (from, _)]) if only_registers && *size >= 4 => {
                Effect::Copies(vec![(to.clone(), from.clone())], *size == 4)
            }
            ("xchg", [(a, 8), (b, _)]) if only_registers => {
                Effect::Copies(vec![(a.clone(), b.clone()), (b.clone(), a.clone())], false)
            }
            (
                "movaps" | "movapd" | "movups" | "movdqa" | "vmovaps" | "vmovapd" | "vmovups"
                | "vmovdqa",
                [(to, 16), (from, 16)],
            ) if only_registers => Effect::Copies(vec![(to.clone(), from.clone())], false),
            ("call", _) => Effect::Call,
            _ => Effect::Writes,
        };
        let mut successors = Successors::default();
        if group(InsnGroupType::CS_GRP_JUMP) {
            successors = Successors::jump(hole, immediate);
            if mnemonic != "jmp" {
                successors.inside.push(end);
            }
        } else if group(InsnGroupType::CS_GRP_RET) {
            successors.away = true;
        } else if !["ud2", "hlt", "int3"].contains(&mnemonic) {
            successors.inside.push(end);
        }
        let moves_stack = match (mnemonic, registers.first(), immediate) {
            ("push", ..) => Some(-8),
            ("pop", ..) => Some(8),
            ("sub", Some((register, _)), Some(by)) if register == "rsp" => Some(-by),
            ("add", Some((register, _)), Some(by)) if register == "rsp" => Some(by),
            _ => None,
        };
        Ok(Step {
            start,
            text: text(instruction),
            writes: detail.regs_write().iter().map(name).collect(),
            effect,
            moves_stack,
            touches_stack: memory_on_stack
                || moves_stack.is_some()
                || group(InsnGroupType::CS_GRP_CALL)
                || group(InsnGroupType::CS_GRP_RET),
            successors,
        })
    }
}

/// `edx`, `dx`, `dl` and `dh` are parts of `rdx`; `ymm3` contains `xmm3`; `rflags` is `flags`.
fn full_register(name: &str) -> String {
    let full = match name {
        "rflags" | "eflags" => "flags",
        "al" | "ah" | "ax" | "eax" => "rax",
        "bl" | "bh" | "bx" | "ebx" => "rbx",
        "cl" | "ch" | "cx" | "ecx" => "rcx",
        "dl" | "dh" | "dx" | "edx" => "rdx",
        "sil" | "si" | "esi" => "rsi",
        "dil" | "di" | "edi" => "rdi",
        "bpl" | "bp" | "ebp" => "rbp",
        "spl" | "sp" | "esp" => "rsp",
        _ => {
            if let Some(number) = name.strip_prefix("ymm").or(name.strip_prefix("zmm")) {
                return format!("xmm{number}");
            }
            if name.starts_with('r') && name[1..].starts_with(|c: char| c.is_ascii_digit()) {
                return name.trim_end_matches(['b', 'w', 'd']).to_owned();
            }
            name
        }
    };
    full.to_owned()
}
