//! The proofs' view of aarch64.

use std::collections::BTreeSet;
use std::fmt::Write;

use capstone::arch::DetailsArchInsn;
use capstone::arch::arm64::{Arm64Extender, Arm64Operand, Arm64OperandType, Arm64Shift, Arm64Vas};
use capstone::prelude::*;
use capstone::{Insn, InsnGroupType, RegId};
use copatch_spec::Target;

use super::harness::{CODE_AT, EXIT, LANDING, SAVED, STACK, STATE_AT, registers};
use super::inspect::{Effect, Step, Successors};
use super::machine::Machine;
use crate::disassembly::text;
use crate::stencil::Relocation;

/// aarch64.
pub(super) struct Aarch64;

/// Pairs of registers that C keeps, as `run` saves them from the stack pointer upwards.
const SAVED_PAIRS: [(&str, &str); 10] = [
    ("x29", "x30"),
    ("x19", "x20"),
    ("x21", "x22"),
    ("x23", "x24"),
    ("x25", "x26"),
    ("x27", "x28"),
    ("d8", "d9"),
    ("d10", "d11"),
    ("d12", "d13"),
    ("d14", "d15"),
];

fn pairs(text: &mut String, instruction: &str) {
    for (index, (a, b)) in SAVED_PAIRS.iter().enumerate() {
        let _ = writeln!(text, "{instruction} {a}, {b}, [sp, #{}]", 16 * index);
    }
}

impl Machine for Aarch64 {
    /// x16 and x17 are scratch on both sides.
    fn shim(&self, target: &Target) -> String {
        let room = 16 * SAVED_PAIRS.len();
        let state = format!("movz x17, #{}, lsl #16\n", STATE_AT >> 16);
        let mut text = format!(".text\n.globl run, landed, abandon\nrun:\nsub sp, sp, #{room}\n");
        pairs(&mut text, "stp");
        let _ = write!(text, "{state}mov x16, sp\nstr x16, [x17, #{}]\n", 8 * SAVED);
        let transfer = |text: &mut String, instruction: &str| {
            for (name, at, vector) in registers(target) {
                let name = match name.strip_prefix('v') {
                    Some(number) if vector => format!("q{number}"),
                    _ => name,
                };
                let _ = writeln!(text, "{instruction} {name}, [x17, #{}]", 8 * at);
            }
        };
        transfer(&mut text, "ldr");
        let _ = write!(text, "movz x16, #{}, lsl #16\nbr x16\n", CODE_AT >> 16);
        let _ = write!(text, "landed:\n{state}str x16, [x17, #{}]\n", 8 * EXIT);
        transfer(&mut text, "str");
        let _ = write!(
            text,
            "mov x16, sp\nldr x9, [x17, #{}]\nsub x16, x16, x9\nstr x16, [x17, #{}]\n",
            8 * SAVED,
            8 * STACK
        );
        let _ = write!(
            text,
            "abandon:\n{state}ldr x16, [x17, #{}]\nmov sp, x16\n",
            8 * SAVED
        );
        pairs(&mut text, "ldp");
        let _ = write!(
            text,
            "add sp, sp, #{room}\nret\n.section .note.GNU-stack,\"\",@progbits\n"
        );
        text
    }

    fn stub(&self, exit: u32) -> Vec<u8> {
        let code = [
            0xd280_0010 | exit << 5,                      // movz x16, #exit
            0xd2a0_0011 | ((STATE_AT >> 16) as u32) << 5, // movz x17, #state, lsl #16
            0xf940_0231 | (LANDING as u32) << 10,         // ldr x17, [x17, #8 * landing]
            0xd61f_0220,                                  // br x17
        ];
        code.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn stack(&self) -> &'static str {
        "sp"
    }

    /// Of vectors C keeps the lower halves only.
    fn kept_by_c(&self) -> &'static [&'static str] {
        &[
            "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "sp",
        ]
    }

    /// The return address is the prologue's, but leaves have none.
    fn pointers(&self) -> &'static [&'static str] {
        &["sp", "x29", "x30"]
    }

    fn step(
        &self,
        disassembler: &Capstone,
        instruction: &Insn<'_>,
        start: usize,
        hole: Option<&Relocation>,
    ) -> Result<Step, capstone::Error> {
        let end = start + 4;
        let detail = disassembler.insn_detail(instruction)?;
        let arch = detail.arch_detail();
        let details = arch.arm64().ok_or(capstone::Error::UnsupportedArch)?;
        let name =
            |register: &RegId| full_register(&disassembler.reg_name(*register).unwrap_or_default());
        let group = |group: u32| detail.groups().iter().any(|id| u32::from(id.0) == group);
        let mnemonic = instruction.mnemonic().unwrap_or("");
        let operands: Vec<Arm64Operand> = details.operands().collect();
        let mut registers = Vec::new();
        let mut immediate = None;
        let mut on_stack = None;
        for operand in &operands {
            match &operand.op_type {
                Arm64OperandType::Reg(register) => registers.push((
                    disassembler.reg_name(*register).unwrap_or_default(),
                    name(register),
                )),
                Arm64OperandType::Imm(value) => immediate = Some(*value),
                Arm64OperandType::Mem(memory) if name(&memory.base()) == "sp" => {
                    on_stack = Some(i64::from(memory.disp()));
                }
                _ => {}
            }
        }
        let mut writes: BTreeSet<String> = detail.regs_write().iter().map(name).collect();
        if details.update_flags() {
            writes.insert("flags".to_owned());
        }
        // The disassembler takes the first operand of a comparison for its result, and may miss results.
        if let Some((_, first)) = registers.first() {
            if READS_FIRST.iter().any(|start| mnemonic.starts_with(start)) {
                writes.remove(first);
            } else {
                writes.insert(first.clone());
            }
        }
        writes.remove("zr");
        let whole = operands.iter().all(|operand| {
            operand.vector_index.is_none()
                && matches!(operand.shift, Arm64Shift::Invalid)
                && operand.ext == Arm64Extender::ARM64_EXT_INVALID
        });
        let mut effect = match (mnemonic, registers.as_slice()) {
            ("mov", [(text, to), (_, from)]) if operands.len() == 2 && whole => {
                let bits = operands[0].vas == Arm64Vas::ARM64_VAS_16B || wide(text, to);
                if bits || text.starts_with('w') {
                    Effect::Copies(vec![(to.clone(), from.clone())], !bits)
                } else {
                    Effect::Writes
                }
            }
            ("bl" | "blr", _) => Effect::Call,
            _ => Effect::Writes,
        };
        let mut moves_stack = None;
        if let Some(displacement) = on_stack {
            let behind = instruction.op_str().is_some_and(|text| text.contains("],"));
            let at = if behind { 0 } else { displacement };
            if details.writeback() {
                moves_stack = Some(immediate.filter(|_| behind).unwrap_or(displacement));
            }
            let words = registers.iter().enumerate();
            let words = words.map(|(index, (text, name))| {
                (
                    wide(text, name).then(|| name.clone()),
                    at + 8 * index as i64,
                )
            });
            match mnemonic {
                "str" | "stp" | "stur" => effect = Effect::Saves(words.collect()),
                "ldr" | "ldp" | "ldur" => {
                    let words = words.filter_map(|(name, at)| Some((name?, at)));
                    effect = Effect::Restores(words.collect());
                }
                _ => {}
            }
        }
        match (mnemonic, registers.as_slice(), immediate) {
            ("sub", [(_, to), (_, from)], Some(by)) if to == "sp" && from == "sp" && whole => {
                moves_stack = Some(-by);
            }
            ("add", [(_, to), (_, from)], Some(by)) if to == "sp" && from == "sp" && whole => {
                moves_stack = Some(by);
            }
            _ => {}
        }
        let mut successors = Successors::default();
        let call = matches!(effect, Effect::Call);
        if mnemonic == "ret" {
            successors.away = true;
        } else if group(InsnGroupType::CS_GRP_JUMP) && !call {
            successors = Successors::jump(hole, immediate.filter(|_| mnemonic != "br"));
            if !["b", "br"].contains(&mnemonic) {
                successors.inside.push(end);
            }
        } else if !["brk", "udf"].contains(&mnemonic) {
            successors.inside.push(end);
        }
        Ok(Step {
            start,
            text: text(instruction),
            writes,
            effect,
            moves_stack,
            touches_stack: on_stack.is_some() || moves_stack.is_some() || call || mnemonic == "ret",
            successors,
        })
    }
}

/// Instructions, by the beginnings of their names, whose first operand is no result: stores, comparisons, branches.
const READS_FIRST: [&str; 13] = [
    "st", "cmp", "cmn", "tst", "ccmp", "ccmn", "fcmp", "fccmp", "cbz", "cbnz", "tbz", "tbnz", "br",
];

/// Whether an operand is all of an integer register, which may be called lr or fp.
fn wide(text: &str, name: &str) -> bool {
    name.starts_with('x') && !text.starts_with('w')
}

/// `w3` is a part of `x3`; `q3`, `d3`, `s3`, `h3` and `b3` are parts of `v3`.
fn full_register(name: &str) -> String {
    match name {
        "nzcv" => return "flags".to_owned(),
        "sp" | "wsp" => return "sp".to_owned(),
        "xzr" | "wzr" => return "zr".to_owned(),
        "fp" => return "x29".to_owned(),
        "lr" => return "x30".to_owned(),
        _ => {}
    }
    let Some((kind, number)) = name.split_at_checked(1) else {
        return name.to_owned();
    };
    let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
    match kind {
        "w" | "x" => format!("x{number}"),
        "q" | "d" | "s" | "h" | "b" | "v" => format!("v{number}"),
        _ => name.to_owned(),
    }
}
