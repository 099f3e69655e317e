//! Looks at a stencil's code: what a continuation relies on must be as it was, whichever way control leaves.
//!
//! Registers are followed through the control flow: each holds the value that some register had at the start, or
//! something new. At every exit all but the result and the target's scratch must hold their own. So a division may park a
//! value register in scratch while it needs rdx, as long as it brings it back.

use std::collections::{BTreeMap, BTreeSet};

use capstone::arch::ArchOperand;
use capstone::arch::x86::X86OperandType;
use capstone::prelude::*;
use capstone::{Insn, InsnGroupType, RegId};
use copatch_spec::Target;
use copatch_spec::isa::{Operation, Shape};
use copatch_spec::target::UpperHalf;
use copatch_spec::types::{Place, ValueType};
use copatch_spec::variants::Form;

use crate::cfg::Trimmed;
use crate::disassembly::disassembler;
use crate::object_file::pool_constant;
use crate::refusal::Refusal;
use crate::stencil::{Relocation, hole};

/// What a stencil is for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// The operation.
    pub op: &'a Operation,
    /// Its form.
    pub form: &'a Form,
    /// Register numbers of the form's positions.
    pub registers: &'a [usize],
}

/// Accepts a stencil if it decodes, leaves every register as it was except its result and the target's scratch,
/// keeps off the stack unless it is a helper's, and refers to nothing but known holes. Of assembly, which does
/// what it must, and on machines other than x86-64 only code and holes are checked.
///
/// # Errors
/// A [`Refusal`] that names the instruction.
pub fn inspect(
    subject: &Subject<'_>,
    stencil: &Trimmed,
    target: &Target,
) -> Result<(), Box<Refusal>> {
    let refuse = |(what, advice): Fault| {
        let Trimmed { code, holes } = stencil;
        Box::new(Refusal::new(
            subject.name,
            &target.arch,
            code,
            holes,
            what,
            advice,
        ))
    };
    check_holes(subject, stencil).map_err(refuse)?;
    let instructions = decode(stencil, target).map_err(refuse)?;
    // How instructions use registers is read from capstone's x86 details; elsewhere only code and holes are checked so far.
    if subject.op.shape == Shape::Asm || target.arch != "x86_64" {
        return Ok(());
    }
    follow(subject, stencil, target, &instructions).map_err(refuse)
}

type Fault = (String, &'static str);

const REPORT: &str = "this is a bug of the packer; report it with this stencil";
const BODY: &str = "write the operation's body so that clang keeps to registers (intrinsics, a simpler expression), \
    restrict its registers in the table, or make it a helper";

fn check_holes(subject: &Subject<'_>, stencil: &Trimmed) -> Result<(), Fault> {
    let mut end = 0;
    for relocation in &stencil.holes {
        let number = |prefix: &str| {
            relocation
                .symbol
                .strip_prefix(prefix)?
                .parse::<usize>()
                .ok()
        };
        let known = pool_constant(&relocation.symbol).is_some()
            || relocation.symbol == hole::TABLE && subject.op.shape == Shape::Table
            || number(hole::TARGET) == Some(0)
            || number(hole::TRAP).is_some_and(|trap| trap < subject.op.traps.len())
            || number(hole::VALUE).is_some_and(|value| {
                subject.op.shape == Shape::Asm && value < subject.form.values(subject.op).len()
            });
        if !known {
            let what = format!("it refers to {}, which is no hole of it", relocation.symbol);
            return Err((
                what,
                "call other functions through a helper; keep data in immediates",
            ));
        }
        if relocation.offset < end {
            return Err((format!("two holes overlap at {end:#x}"), REPORT));
        }
        end = relocation.offset + usize::from(relocation.window);
    }
    if end > stencil.code.len() {
        return Err((format!("a hole ends at {end:#x}, outside the code"), REPORT));
    }
    Ok(())
}

/// Where control may go.
#[derive(Default)]
struct Successors {
    /// Offsets within the stencil; its length is the continuation.
    inside: Vec<usize>,
    /// A hole that it leaves through.
    outside: Option<String>,
    /// It leaves by a return or through a register.
    away: bool,
}

/// What an instruction does to registers.
enum Effect {
    /// Registers and what each then holds a copy of, in 64 bits or only the low 32.
    Copies(Vec<(String, String)>, bool),
    /// Calls C.
    Call,
    /// Everything else: registers that are written.
    Writes,
}

/// One instruction as far as it matters here.
struct Step {
    start: usize,
    text: String,
    writes: BTreeSet<String>,
    effect: Effect,
    /// Bytes by which it moves the stack pointer, if it is known; `None` for instructions that do not.
    moves_stack: Option<i64>,
    touches_stack: bool,
    successors: Successors,
}

fn decode(stencil: &Trimmed, target: &Target) -> Result<Vec<Step>, Fault> {
    let disassembler = disassembler(&target.arch, true).map_err(|what| (what, REPORT))?;
    let decoded = disassembler
        .disasm_all(&stencil.code, 0)
        .map_err(|error| (error.to_string(), REPORT))?;
    let mut steps = Vec::new();
    let mut end = 0;
    for instruction in decoded.iter() {
        let start = end;
        end += instruction.len();
        let hole = stencil
            .holes
            .iter()
            .find(|hole| (start..end).contains(&hole.offset));
        if let Some(hole) = hole
            && hole.offset + usize::from(hole.window) > end
        {
            return Err((
                format!("a hole lies across instructions at {start:#x}"),
                REPORT,
            ));
        }
        let step = step(&disassembler, instruction, start, end, hole)
            .map_err(|error| (format!("{error} at {start:#x}"), REPORT))?;
        steps.push(step);
    }
    if end != stencil.code.len() {
        return Err((format!("the code does not decode at {end:#x}"), BODY));
    }
    Ok(steps)
}

fn step(
    disassembler: &Capstone,
    instruction: &Insn<'_>,
    start: usize,
    end: usize,
    hole: Option<&Relocation>,
) -> Result<Step, capstone::Error> {
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
                let on_stack = |register: RegId| ["rsp", "rbp"].contains(&name(&register).as_str());
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
    let jump = group(InsnGroupType::CS_GRP_JUMP);
    let mut successors = Successors::default();
    if jump {
        match (hole, immediate) {
            (Some(hole), Some(_)) => successors.outside = Some(hole.symbol.clone()),
            (None, Some(to)) => successors
                .inside
                .push(usize::try_from(to).unwrap_or(usize::MAX)),
            (_, None) => successors.away = true,
        }
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
        text: format!("{mnemonic} {}", instruction.op_str().unwrap_or("")),
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

/// Registers that a C function keeps on x86-64 systems other than Windows.
const KEPT_BY_C: [&str; 7] = ["rbx", "rbp", "rsp", "r12", "r13", "r14", "r15"];

/// What is known on entry of an instruction.
#[derive(Clone, PartialEq)]
struct Known {
    /// Registers that do not hold their own value, and whose value they hold instead, if anyone's.
    moved: BTreeMap<String, Option<String>>,
    /// The stack pointer's distance from its value at the start.
    depth: i64,
}

impl Known {
    fn holds(&self, register: &str) -> Option<String> {
        match self.moved.get(register) {
            Some(value) => value.clone(),
            None => Some(register.to_owned()),
        }
    }

    fn set(&mut self, register: &str, value: Option<String>) {
        if value.as_deref() == Some(register) {
            self.moved.remove(register);
        } else {
            self.moved.insert(register.to_owned(), value);
        }
    }

    /// What is known when control may come from either; whether that is less than `self` knew.
    fn meet(&mut self, other: &Known) -> bool {
        let before = self.clone();
        let registers: BTreeSet<String> = self
            .moved
            .keys()
            .chain(other.moved.keys())
            .cloned()
            .collect();
        for register in registers {
            let (a, b) = (self.holds(&register), other.holds(&register));
            self.set(&register, if a == b { a } else { None });
        }
        *self != before
    }
}

fn follow(
    subject: &Subject<'_>,
    stencil: &Trimmed,
    target: &Target,
    steps: &[Step],
) -> Result<(), Fault> {
    let contract = Contract::of(subject, target);
    let mut entries: BTreeMap<usize, Known> = BTreeMap::new();
    let mut open = vec![(
        0,
        Known {
            moved: BTreeMap::new(),
            depth: 0,
        },
    )];
    while let Some((at, known)) = open.pop() {
        match entries.get_mut(&at) {
            Some(before) if before.depth != known.depth => {
                return Err((format!("the stack differs between ways to {at:#x}"), BODY));
            }
            Some(before) => {
                if !before.meet(&known) {
                    continue;
                }
            }
            None => {
                entries.insert(at, known);
            }
        }
        let Some(mut known) = entries.get(&at).cloned() else {
            continue;
        };
        if at == stencil.code.len() {
            contract.check(&known, None, "at its end")?;
            continue;
        }
        let index = steps
            .binary_search_by_key(&at, |step| step.start)
            .map_err(|_| {
                (
                    format!("a branch leads to {at:#x}, into an instruction"),
                    REPORT,
                )
            })?;
        let step = &steps[index];
        let place = format!("at {at:#x}: {}", step.text);
        if step.touches_stack && subject.op.shape != Shape::Helper {
            return Err((format!("it uses the stack {place}"), BODY));
        }
        contract.apply(step, &mut known);
        if let Some(symbol) = &step.successors.outside {
            contract.check(&known, Some(symbol), &place)?;
        }
        if step.successors.away {
            contract.check(&known, None, &place)?;
            if subject.op.shape != Shape::Table {
                return Err((
                    format!("it leaves through a register or a return {place}"),
                    BODY,
                ));
            }
        }
        for next in &step.successors.inside {
            open.push((*next, known.clone()));
        }
    }
    Ok(())
}

/// What must hold at exits.
struct Contract {
    /// Registers that may hold anything.
    free: BTreeSet<String>,
    /// Registers with pointers that hold at every exit.
    pointers: Vec<String>,
    /// Registers whose upper half is zero at the start, so that a copy of 32 bits is a copy.
    narrow: BTreeSet<String>,
    helper: bool,
}

impl Contract {
    fn of(subject: &Subject<'_>, target: &Target) -> Self {
        let Subject { op, form, .. } = subject;
        let mut free: BTreeSet<String> = target.scratch.iter().cloned().collect();
        free.insert("rip".to_owned());
        let register = |ty: ValueType, number: usize| {
            let class = target
                .class
                .values()
                .find(|class| class.types.contains(&ty))?;
            class.registers.get(number).cloned()
        };
        let mut narrow = BTreeSet::new();
        let mut positions = subject.registers.iter();
        let mut tied = None;
        for (index, (place, ty)) in form.operands.iter().zip(&op.operands).enumerate() {
            if *place != Place::Register {
                continue;
            }
            let name = positions.next().and_then(|number| register(*ty, *number));
            if op.tie == Some(index as u8) {
                tied.clone_from(&name);
            }
            if *ty == ValueType::I32 && target.i32_upper == UpperHalf::Zero {
                narrow.extend(name);
            }
        }
        if let (Some(Place::Register), Some(ty)) = (form.result, op.result) {
            free.extend(if form.tied(op) {
                tied
            } else {
                positions.next().and_then(|number| register(ty, *number))
            });
        }
        let mut pointers: Vec<String> = target
            .fixed
            .iter()
            .map(|fixed| fixed.register.clone())
            .collect();
        pointers.extend(["rsp".to_owned(), "rbp".to_owned()]);
        Self {
            free,
            pointers,
            narrow,
            helper: op.shape == Shape::Helper,
        }
    }

    fn apply(&self, step: &Step, known: &mut Known) {
        let copies = match &step.effect {
            Effect::Copies(copies, narrow) => {
                let held = |from: &String| {
                    known
                        .holds(from)
                        .filter(|value| !narrow || self.narrow.contains(value))
                };
                copies
                    .iter()
                    .map(|(to, from)| (to.clone(), held(from)))
                    .collect()
            }
            _ => Vec::new(),
        };
        for register in &step.writes {
            known.set(register, None);
        }
        for (to, value) in copies {
            known.set(&to, value);
        }
        if let Effect::Call = step.effect {
            // What C does not keep is lost; value registers are dead after a helper anyway.
            for register in KEPT_BY_C {
                if step.writes.contains(register) {
                    known.set(register, Some(register.to_owned()));
                }
            }
        }
        if let Some(by) = step.moves_stack {
            known.depth += by;
            known.set("rsp", Some("rsp".to_owned()));
        }
    }

    fn check(&self, known: &Known, symbol: Option<&String>, place: &str) -> Result<(), Fault> {
        if known.depth != 0 {
            return Err((
                format!("it moves the stack by {} {place}", known.depth),
                BODY,
            ));
        }
        let dead = self.helper || symbol.is_some_and(|symbol| symbol.starts_with(hole::TRAP));
        for register in known.moved.keys() {
            let matters = if dead {
                self.pointers.contains(register)
            } else {
                !self.free.contains(register)
            };
            if matters {
                let what = format!("{register} does not hold what it held at the start {place}");
                return Err((what, BODY));
            }
        }
        Ok(())
    }
}
