//! Looks at a stencil's code: what a continuation relies on must be as it was, whichever way control leaves.
//!
//! Registers are followed through the control flow: each holds the value that some register had at the start, or
//! something new. At every exit all but the result and the target's scratch must hold their own. So a division may park a
//! value register in scratch while it needs rdx, as long as it brings it back.

use std::collections::{BTreeMap, BTreeSet};

use copatch_spec::Target;
use copatch_spec::isa::{Operation, Shape};
use copatch_spec::types::{Place, ValueType};
use copatch_spec::variants::Form;

use super::machine::{Machine, machine};
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
/// keeps off the stack unless it is a helper's or the target lets it have a frame, and refers to nothing but known holes. Of
/// assembly, which does what it must, only code and holes are checked.
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
    let machine = machine(&target.arch).ok_or_else(|| {
        let what = format!("instructions of {} are not known", target.arch);
        refuse((what, "add a module beside packer/src/prove/x86_64.rs"))
    })?;
    let instructions = decode(stencil, target, machine).map_err(refuse)?;
    if subject.op.shape == Shape::Asm {
        return Ok(());
    }
    follow(subject, stencil, target, machine, &instructions).map_err(refuse)
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
pub(super) struct Successors {
    /// Offsets within the stencil; its length is the continuation.
    pub inside: Vec<usize>,
    /// A hole that it leaves through.
    pub outside: Option<String>,
    /// It leaves by a return or through a register.
    pub away: bool,
}

impl Successors {
    /// Of a jump to a hole, else to a place, else through a register.
    pub fn jump(hole: Option<&Relocation>, to: Option<i64>) -> Self {
        let mut successors = Self::default();
        match (hole, to) {
            (Some(hole), Some(_)) => successors.outside = Some(hole.symbol.clone()),
            (None, Some(to)) => successors
                .inside
                .push(usize::try_from(to).unwrap_or(usize::MAX)),
            (_, None) => successors.away = true,
        }
        successors
    }
}

/// What an instruction does to registers.
pub(super) enum Effect {
    /// Registers and what each then holds a copy of, in all bits or only the low 32.
    Copies(Vec<(String, String)>, bool),
    /// Calls C.
    Call,
    /// Stores registers, or something else, on the stack: 8 bytes each at a distance from where the stack pointer was before.
    Saves(Vec<(Option<String>, i64)>),
    /// Loads registers from there.
    Restores(Vec<(String, i64)>),
    /// Everything else: registers that are written.
    Writes,
}

/// One instruction as far as it matters here.
pub(super) struct Step {
    pub start: usize,
    pub text: String,
    pub writes: BTreeSet<String>,
    pub effect: Effect,
    /// Bytes by which it moves the stack pointer, if it is known; `None` for instructions that do not.
    pub moves_stack: Option<i64>,
    pub touches_stack: bool,
    pub successors: Successors,
}

fn decode(stencil: &Trimmed, target: &Target, machine: &dyn Machine) -> Result<Vec<Step>, Fault> {
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
            .find(|hole| hole.offset < end && start < hole.offset + usize::from(hole.window));
        let fits = |hole: &Relocation| {
            let last = hole.offset + usize::from(hole.window);
            last <= end || machine.is_first_half(&stencil.code[start..])
        };
        if !hole.is_none_or(fits) {
            return Err((
                format!("a hole lies across instructions at {start:#x}"),
                REPORT,
            ));
        }
        let step = machine
            .step(&disassembler, instruction, start, hole)
            .map_err(|error| (format!("{error} at {start:#x}"), REPORT))?;
        steps.push(step);
    }
    if end != stencil.code.len() {
        return Err((format!("the code does not decode at {end:#x}"), BODY));
    }
    Ok(steps)
}

/// What is known on entry of an instruction.
#[derive(Clone, PartialEq)]
struct Known {
    /// Registers, and words on the stack, that do not hold their own value, and whose value they hold instead, if anyone's.
    moved: BTreeMap<String, Option<String>>,
    /// The stack pointer's distance from its value at the start.
    depth: i64,
}

/// Bytes of a stencil's frame, at most: no more than the page that guards a stack's end.
const FRAME_BYTES: i64 = 4096;

/// How the names of words on the stack begin, which are kept among the registers.
const CELL: char = '[';

impl Known {
    /// The name of the word at a distance from the stack pointer.
    fn cell(&self, at: i64) -> String {
        format!("{CELL}{}]", (self.depth + at) & !7)
    }

    /// Words below the stack pointer are anyone's.
    fn forget_below(&mut self) {
        for (name, value) in &mut self.moved {
            let cell = name.strip_prefix(CELL).and_then(|at| at.strip_suffix(']'));
            if cell.is_some_and(|at| at.parse::<i64>().is_ok_and(|at| at < self.depth)) {
                *value = None;
            }
        }
    }

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
    machine: &dyn Machine,
    steps: &[Step],
) -> Result<(), Fault> {
    let contract = Contract::of(subject, target, machine);
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
        if step.touches_stack && !contract.helper {
            contract.within_frame(step, known.depth, &place)?;
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
    /// Registers that hold at every exit: pointers, and what C keeps and compiled code has no use for, since the entry does not save
    /// it.
    held: Vec<String>,
    /// Registers with an i32, whose upper half is what a copy of 32 bits makes of it.
    narrow: BTreeSet<String>,
    helper: bool,
    /// Whether it may have a frame. Where memory may fault it may not, since the way out of there restores nothing.
    frame: bool,
    /// The stack pointer.
    stack: &'static str,
    kept_by_c: &'static [&'static str],
}

impl Contract {
    fn of(subject: &Subject<'_>, target: &Target, machine: &dyn Machine) -> Self {
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
            if *ty == ValueType::I32 {
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
        let mut held: Vec<String> = target
            .fixed
            .iter()
            .map(|fixed| fixed.register.clone())
            .collect();
        held.extend(machine.pointers().iter().map(|name| (*name).to_owned()));
        let values = target.class.values().flat_map(|class| &class.registers);
        let used: BTreeSet<&String> = target.scratch.iter().chain(values).chain(&held).collect();
        let kept = machine.kept_by_c().iter().map(|name| (*name).to_owned());
        let unused: Vec<String> = kept.filter(|name| !used.contains(name)).collect();
        held.extend(unused);
        Self {
            free,
            held,
            narrow,
            helper: op.shape == Shape::Helper,
            frame: target.clang.spills && op.shape == Shape::Next && !op.uses_mem,
            stack: machine.stack(),
            kept_by_c: machine.kept_by_c(),
        }
    }

    /// An instruction on the stack, which lies `-depth` bytes below where it was, may move the stack pointer by as much as a frame has,
    /// and access whole words below where it was. The stack's address goes nowhere else.
    fn within_frame(&self, step: &Step, depth: i64, place: &str) -> Result<(), Fault> {
        let inside = |at: &i64| (0..-depth).contains(at) && at % 8 == 0;
        let fits = match &step.effect {
            Effect::Saves(saved) => saved
                .iter()
                .all(|(register, at)| register.as_deref() != Some(self.stack) && inside(at)),
            Effect::Restores(restored) => restored.iter().all(|(_, at)| inside(at)),
            _ => step
                .moves_stack
                .is_some_and(|by| (-FRAME_BYTES..=0).contains(&(depth + by))),
        };
        match (self.frame, fits) {
            (true, true) => Ok(()),
            (true, false) => {
                let what =
                    format!("it does more with the stack than keep words in a frame {place}");
                Err((what, BODY))
            }
            (false, _) => Err((format!("it uses the stack {place}"), BODY)),
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
            Effect::Saves(saved) => {
                let held = |register: &Option<String>| known.holds(register.as_ref()?);
                saved
                    .iter()
                    .map(|(register, at)| (known.cell(*at), held(register)))
                    .collect()
            }
            Effect::Restores(restored) => restored
                .iter()
                .map(|(register, at)| (register.clone(), known.holds(&known.cell(*at))))
                .collect(),
            Effect::Call | Effect::Writes => Vec::new(),
        };
        for register in &step.writes {
            known.set(register, None);
        }
        for (to, value) in copies {
            known.set(&to, value);
        }
        if let Effect::Call = step.effect {
            self.call(step, known);
        }
        if let Some(by) = step.moves_stack {
            known.depth += by;
            known.set(self.stack, Some(self.stack.to_owned()));
            known.forget_below();
        }
    }

    /// What C does not keep is lost. Value registers are dead after a helper anyway.
    fn call(&self, step: &Step, known: &mut Known) {
        let kept = |register: &str| self.kept_by_c.contains(&register);
        let copies: Vec<String> = known.moved.keys().cloned().collect();
        for register in copies.iter().chain(&self.held) {
            if !kept(register) && !register.starts_with(CELL) {
                known.set(register, None);
            }
        }
        for register in self.kept_by_c {
            if step.writes.contains(*register) {
                known.set(register, Some((*register).to_owned()));
            }
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
        let registers = known.moved.keys();
        for register in registers.filter(|name| !name.starts_with(CELL)) {
            let matters = if dead {
                self.held.contains(register)
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
