//! The proofs' view of riscv64 without compressed code.

use std::fmt::Write;

use capstone::{Capstone, Insn};
use copatch_spec::Target;

use super::harness::{CODE_AT, EXIT, LANDING, SAVED, STACK, STATE_AT, registers};
use super::inspect::{Effect, Step, Successors};
use super::machine::Machine;
use crate::cfg::riscv64::{branch_distance, jump_distance};
use crate::disassembly::text;
use crate::stencil::Relocation;

/// riscv64.
pub(super) struct Riscv64;

/// Registers that C keeps, but for the stack pointer.
const KEPT: [&str; 24] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "fs0", "fs1", "fs2",
    "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11",
];

/// Saves or restores what C keeps, and the return address.
fn saved(text: &mut String, instruction: &str) {
    for (index, name) in std::iter::once("ra").chain(KEPT).enumerate() {
        let float = if name.starts_with('f') { "f" } else { "" };
        let _ = writeln!(text, "{float}{instruction} {name}, {}(sp)", 8 * index);
    }
}

impl Machine for Riscv64 {
    /// t0 to t2 are scratch on both sides.
    fn shim(&self, target: &Target) -> String {
        let room = (8 * (KEPT.len() + 1)).next_multiple_of(16);
        let state = format!("lui t1, {}\n", STATE_AT >> 12);
        let mut text = format!(".text\n.globl run, landed, abandon\nrun:\naddi sp, sp, -{room}\n");
        saved(&mut text, "sd");
        let _ = writeln!(text, "{state}sd sp, {}(t1)", 8 * SAVED);
        let transfer = |text: &mut String, instruction: &str| {
            for (name, at, float) in registers(target) {
                let float = if float { "f" } else { "" };
                let _ = writeln!(text, "{float}{instruction} {name}, {}(t1)", 8 * at);
            }
        };
        transfer(&mut text, "ld");
        let _ = write!(text, "lui t2, {}\njr t2\n", CODE_AT >> 12);
        let _ = write!(text, "landed:\n{state}sd t0, {}(t1)\n", 8 * EXIT);
        transfer(&mut text, "sd");
        let _ = write!(
            text,
            "ld t2, {}(t1)\nsub t2, sp, t2\nsd t2, {}(t1)\n",
            8 * SAVED,
            8 * STACK
        );
        let _ = write!(text, "abandon:\n{state}ld sp, {}(t1)\n", 8 * SAVED);
        saved(&mut text, "ld");
        let _ = write!(
            text,
            "addi sp, sp, {room}\nret\n.section .note.GNU-stack,\"\",@progbits\n"
        );
        text
    }

    fn stub(&self, exit: u32) -> Vec<u8> {
        let code = [
            0x0000_0293 | exit << 20,                 // li t0, exit
            0x0000_0337 | STATE_AT as u32,            // lui t1, state
            0x0003_3303 | (8 * LANDING as u32) << 20, // ld t1, 8 * landing(t1)
            0x0003_0067,                              // jr t1
        ];
        code.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn stack(&self) -> &'static str {
        "sp"
    }

    fn kept_by_c(&self) -> &'static [&'static str] {
        &KEPT
    }

    /// The return address is the prologue's, but leaves have none.
    fn pointers(&self) -> &'static [&'static str] {
        &["sp", "s0", "ra"]
    }

    /// `auipc`
    fn is_first_half(&self, code: &[u8]) -> bool {
        code.first().is_some_and(|byte| byte & 0x7f == 0x17)
    }

    /// The disassembler has no details for this architecture, so that instructions are decoded here: registers lie in the
    /// same bits of all of them.
    fn step(
        &self,
        _disassembler: &Capstone,
        instruction: &Insn<'_>,
        start: usize,
        hole: Option<&Relocation>,
    ) -> Result<Step, capstone::Error> {
        let bytes = <[u8; 4]>::try_from(instruction.bytes());
        let word = u32::from_le_bytes(bytes.map_err(|_| capstone::Error::UnsupportedArch)?);
        let end = start + 4;
        let field = |shift: u32| (word >> shift & 0x1f) as usize;
        let integer = |shift: u32| INTEGERS[field(shift)].to_owned();
        let float = |shift: u32| FLOATS[field(shift)].to_owned();
        let signed = i64::from(word as i32 >> 20);
        let opcode = Opcode::of(word);
        let mut step = Step {
            start,
            text: text(instruction),
            writes: match opcode.writes {
                Written::Nothing => None,
                Written::Integer => Some(integer(RD)).filter(|name| name != INTEGERS[0]),
                Written::Float => Some(float(RD)),
            }
            .into_iter()
            .collect(),
            effect: Effect::Writes,
            moves_stack: None,
            touches_stack: false,
            successors: Successors::default(),
        };
        let on_stack = field(RS1) == SP;
        // What makes an address on the stack of the stack pointer, or hands that on.
        step.touches_stack = match word & 0x7f {
            // OP-IMM, OP-IMM-32
            0x13 | 0x1b => on_stack,
            // OP, OP-32
            0x33 | 0x3b => on_stack || field(RS2) == SP,
            // STORE, AMO
            0x23 | 0x2f => field(RS2) == SP,
            // OP-FP: conversions and moves from integers
            0x53 => on_stack && matches!(word >> 27, 0x1a | 0x1e),
            _ => false,
        };
        match (opcode.what, word >> 12 & 7) {
            (What::Load, width) if on_stack => {
                step.touches_stack = true;
                if width == 3 {
                    let to = step.writes.iter().cloned();
                    step.effect = Effect::Restores(to.map(|to| (to, signed)).collect());
                }
            }
            (What::Store, width) if on_stack => {
                step.touches_stack = true;
                let at = signed & !0x1f | field(RD) as i64;
                let register = match word & 0x7f {
                    0x23 => integer(RS2),
                    _ => float(RS2),
                };
                step.effect = Effect::Saves(vec![((width == 3).then_some(register), at)]);
            }
            // addi
            (What::Immediate, 0) if field(RD) == SP && on_stack => {
                step.moves_stack = Some(signed);
            }
            // mv; sext.w
            (What::Immediate | What::Immediate32, 0) if signed == 0 && hole.is_none() => {
                let narrow = opcode.what == What::Immediate32;
                step.effect = Effect::Copies(vec![(integer(RD), integer(RS1))], narrow);
            }
            // fmv.d; of a single value only the lower half counts
            (What::Float, 0) if word >> 25 == 0x11 && field(RS1) == field(RS2) => {
                step.effect = Effect::Copies(vec![(float(RD), float(RS1))], false);
            }
            _ => {}
        }
        match opcode.what {
            What::Branch => {
                let to = start as i64 + branch_distance(word);
                step.successors = Successors::jump(hole, Some(to));
                step.successors.inside.push(end);
            }
            What::Jump if field(RD) == 0 => {
                let to = start as i64 + jump_distance(word);
                step.successors = Successors::jump(hole, Some(to));
            }
            What::JumpRegister if field(RD) == 0 => {
                step.touches_stack = field(RS1) == RA;
                step.successors = Successors::jump(hole, hole.map(|_| 0));
            }
            What::Jump | What::JumpRegister => {
                step.touches_stack = true;
                step.effect = Effect::Call;
                step.successors.inside.push(end);
            }
            // ebreak, unimp
            _ if matches!(word, 0x0010_0073 | 0xc000_1073) => {}
            _ => step.successors.inside.push(end),
        }
        Ok(step)
    }
}

const RD: u32 = 7;
const RS1: u32 = 15;
const RS2: u32 = 20;
const RA: usize = 1;
const SP: usize = 2;

const INTEGERS: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];
const FLOATS: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2",
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9",
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
];

/// What matters of an instruction's group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Load,
    Store,
    Immediate,
    Immediate32,
    Float,
    Branch,
    Jump,
    JumpRegister,
    Other,
}

#[derive(Clone, Copy)]
enum Written {
    Nothing,
    Integer,
    Float,
}

struct Opcode {
    what: What,
    writes: Written,
}

impl Opcode {
    /// By the names of the manual's table of major opcodes.
    fn of(word: u32) -> Self {
        let (what, writes) = match word & 0x7f {
            0x03 => (What::Load, Written::Integer),
            // LOAD-FP, of doubles and singles alike
            0x07 => (What::Load, Written::Float),
            0x13 => (What::Immediate, Written::Integer),
            0x1b => (What::Immediate32, Written::Integer),
            // STORE, STORE-FP
            0x23 | 0x27 => (What::Store, Written::Nothing),
            // MADD to NMADD
            0x43 | 0x47 | 0x4b | 0x4f => (What::Other, Written::Float),
            // OP-FP: comparisons, conversions to integers, moves to integers and classes write integers.
            0x53 => match word >> 27 {
                0x14 | 0x18 | 0x1c => (What::Other, Written::Integer),
                _ => (What::Float, Written::Float),
            },
            0x63 => (What::Branch, Written::Nothing),
            0x67 => (What::JumpRegister, Written::Integer),
            0x6f => (What::Jump, Written::Integer),
            // MISC-MEM
            0x0f => (What::Other, Written::Nothing),
            // AUIPC, LUI, OP, OP-32, AMO, SYSTEM; what is not known is no instruction of RV64G.
            _ => (What::Other, Written::Integer),
        };
        Self { what, writes }
    }
}
