//! Sets two codes up, runs them on boundary operands and compares what they leave.

use copatch_spec::Target;
use copatch_spec::isa::Shape;
use copatch_spec::target::UpperHalf;
use copatch_spec::types::{Place, ValueType};
use copatch_spec::variants::Value;

use super::harness::{
    ARGUMENTS, CODE_AT, CODE_BYTES, CONTEXT, CONTEXT_AT, EXIT, FAULT, FAULT_EXIT, FRAME_AT,
    HELPERS_AT, Harness, INTEGERS, MEM_AT, MOST_RUNS, Reply, STACK, State, VECTORS, WINDOW_WORDS,
    WINDOWS, registers,
};
use super::machine::Machine;
use super::{Comparison, ProveError};
use crate::cfg::Trimmed;
use crate::object_file::pool_constant;
use crate::stencil::hole;

/// Exits by number: falling through, then targets, traps, table entries.
const NEXT: u32 = 0;
const TARGETS: u32 = 1;
const TRAPS: u32 = 32;
const ENTRIES: u32 = 64;
/// Tables of more entries are not set up.
const MOST_ENTRIES: i64 = 4000;

pub(super) fn same(
    harness: &Harness,
    target: &Target,
    comparison: &Comparison<'_>,
) -> Result<bool, ProveError> {
    let (Some(own), Some(patched)) = (
        link(harness.machine, comparison.own, comparison.values),
        link(harness.machine, comparison.patched, comparison.values),
    ) else {
        return Ok(false);
    };
    let Some(inputs) = inputs(target, comparison) else {
        return Ok(false);
    };
    match harness.execute([&own, &patched], &inputs)? {
        Reply::Died => Ok(false),
        Reply::States(own, patched) => {
            let illegal = |state: &State| state[EXIT] == FAULT_EXIT + 4;
            if own.iter().any(illegal) {
                return Err(ProveError::Processor(target.arch.clone()));
            }
            let mut pairs = own.iter().zip(&patched);
            Ok(pairs.all(|(own, patched)| equal(target, comparison, own, patched)))
        }
    }
}

/// Code as it is executed: the stencil, what it falls through into, and what its holes refer to. `None` if a hole cannot
/// be filled.
fn link(machine: &dyn Machine, trimmed: &Trimmed, values: &[i64]) -> Option<Vec<u8>> {
    let mut code = trimmed.code.clone();
    code.extend(machine.stub(NEXT));
    for relocation in &trimmed.holes {
        let number = |prefix: &str| relocation.symbol.strip_prefix(prefix)?.parse::<u32>().ok();
        let symbol = if let Some(value) = number(hole::VALUE) {
            *values.get(value as usize)?
        } else {
            code.resize(code.len().next_multiple_of(16), 0);
            let at = CODE_AT as i64 + code.len() as i64;
            if let Some(constant) = pool_constant(&relocation.symbol) {
                code.extend(constant);
            } else if relocation.symbol == hole::TABLE {
                table(machine, &mut code, values)?;
            } else if let Some(trap) = number(hole::TRAP) {
                code.extend(machine.stub(TRAPS + trap));
            } else {
                code.extend(machine.stub(TARGETS + number(hole::TARGET)?));
            }
            at
        };
        relocation.apply(&mut code, CODE_AT as i64, symbol)?;
    }
    (code.len() <= CODE_BYTES).then_some(code)
}

/// A table of 32-bit offsets from its own start, with an entry for every index up to the bound, and its stubs.
fn table(machine: &dyn Machine, code: &mut Vec<u8>, values: &[i64]) -> Option<()> {
    const DIFFERENT: usize = 16;
    let bound = *values.last()?;
    let count = usize::try_from(bound)
        .ok()
        .filter(|_| bound < MOST_ENTRIES)?
        + 1;
    let stub = machine.stub(ENTRIES).len();
    for entry in 0..count {
        let offset = count * 4 + entry % DIFFERENT * stub;
        code.extend((offset as u32).to_le_bytes());
    }
    for entry in 0..DIFFERENT {
        code.extend(machine.stub(ENTRIES + entry as u32));
    }
    Some(())
}

/// Where an operand comes from.
#[derive(Clone, Copy)]
enum Home {
    /// The word of the state, and whether it is a vector.
    Register(usize),
    /// The address of its slot.
    Slot(u64),
}

/// The word of the state for a register of a type.
fn word(target: &Target, ty: ValueType, register: usize) -> Option<usize> {
    let class = target
        .class
        .values()
        .find(|class| class.types.contains(&ty))?;
    let name = class.registers.get(register)?;
    registers(target)
        .into_iter()
        .find_map(|(register, at, _)| (register == *name).then_some(at))
}

fn slot_address(offset: i64) -> u64 {
    FRAME_AT.wrapping_add(offset as u64)
}

/// States to run both codes from. `None` if the comparison does not fit the target.
fn inputs(target: &Target, comparison: &Comparison<'_>) -> Option<Vec<State>> {
    let Comparison {
        op, form, values, ..
    } = comparison;
    let mut positions = comparison.registers.iter();
    let mut homes = Vec::new();
    let mut contents = Vec::new();
    let mut slots = Vec::new();
    for (what, value) in form.values(op).iter().zip(*values) {
        if let Value::OperandSlot(..) | Value::ResultSlot(_) = what {
            slots.push(slot_address(*value));
        }
    }
    let mut operand_slots = slots.iter();
    for (place, ty) in form.operands.iter().zip(&op.operands) {
        match place {
            Place::Immediate => continue,
            Place::Register => homes.push(Home::Register(word(target, *ty, *positions.next()?)?)),
            Place::Slot => homes.push(Home::Slot(*operand_slots.next()?)),
        }
        contents.push((*ty, interesting(*ty, values)));
    }
    if op.shape == Shape::Helper {
        // The slot of its arguments is an immediate of its own.
        slots.push(slot_address(*values.get(1)?));
    }
    if op.shape == Shape::Table {
        // An index is bounded by the table, which is set up to its bound only.
        for (_, list) in &mut contents {
            list.retain(|index| {
                *index <= 2 * MOST_ENTRIES as u64 || *index > u64::from(u32::MAX) - 4
            });
        }
    }
    let background = background(target, &slots);
    let mut states = Vec::new();
    for choice in choices(
        &contents
            .iter()
            .map(|(_, list)| list.len())
            .collect::<Vec<_>>(),
    ) {
        let mut state = background;
        let mut windows: Vec<(u64, [u64; 4])> = vec![(CONTEXT_AT + 24, [HELPERS_AT, 1, 2, 3])];
        windows.extend(slots.iter().map(|at| (*at, pattern(*at))));
        if op.shape == Shape::Helper {
            let at = HELPERS_AT.wrapping_add((*values.first()? as u64).wrapping_mul(8));
            windows.push((at, pattern(at).map(|word| word | 1 << 63)));
        }
        for ((home, (ty, list)), chosen) in homes.iter().zip(&contents).zip(&choice) {
            let bits = *list.get(*chosen)?;
            match home {
                Home::Register(at) => {
                    state[*at] = bits_in_register(target, *ty, bits);
                    if *ty == ValueType::V128 {
                        state[*at + 1] = bits.rotate_left(17);
                    }
                }
                Home::Slot(at) => {
                    let [_, rest @ ..] = pattern(*at);
                    windows.push((*at, [bits, rest[0], rest[1], rest[2]]));
                }
            }
            if op.uses_mem && *ty == ValueType::I32 {
                for offset in std::iter::once(&0).chain(*values) {
                    // Indices and offsets are unsigned; what is not stays outside of linear memory and faults.
                    if let Ok(offset @ 0..=0xffff_ffff) = u64::try_from(*offset) {
                        let at = MEM_AT + (bits & 0xffff_ffff) + offset;
                        windows.push((at, pattern(at)));
                    }
                }
            }
        }
        // The last ones matter most: operands and what they point to.
        let excess = windows.len().saturating_sub(WINDOWS);
        for (index, (at, content)) in windows.iter().skip(excess).enumerate() {
            let first = WINDOW_WORDS + 5 * index;
            state[first] = *at;
            state[first + 1..first + 5].copy_from_slice(content);
        }
        states.push(state);
    }
    Some(states)
}

/// Fixed pointers, and in every value register something of its own.
fn background(target: &Target, slots: &[u64]) -> State {
    let mut state = [0; _];
    let mut background = 0x0102_0304_0506_0708u64.wrapping_add(slots.len() as u64);
    for (_, at, vector) in registers(target) {
        background = background.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        state[at] = background;
        if vector {
            state[at + 1] = !background;
        }
    }
    for (index, fixed) in target.fixed.iter().enumerate() {
        state[INTEGERS + index] = match fixed.name.as_str() {
            "mem" => MEM_AT,
            "ctx" => CONTEXT_AT,
            _ => FRAME_AT,
        };
    }
    state
}

/// Memory that tells its own address.
fn pattern(at: u64) -> [u64; 4] {
    [0, 8, 16, 24].map(|offset| {
        at.wrapping_add(offset)
            .wrapping_mul(0xd6e8_feb8_6659_fd93)
            .rotate_left(29)
    })
}

fn bits_in_register(target: &Target, ty: ValueType, bits: u64) -> u64 {
    match (ty, target.i32_upper) {
        (ValueType::I32, UpperHalf::Zero) => u64::from(bits as u32),
        (ValueType::I32, UpperHalf::Sign) => bits as u32 as i32 as u64,
        // The bits above are undefined; riscv64 takes no other number there for a valid single.
        (ValueType::F32, _) => bits | 0xffff_ffff << 32,
        _ => bits,
    }
}

/// Contents of an operand around which operations change what they do, and around the constants.
fn interesting(ty: ValueType, values: &[i64]) -> Vec<u64> {
    let mut list: Vec<u64> = match ty {
        ValueType::F32 => [
            0f32,
            -0.0,
            1.0,
            -1.5,
            f32::NAN,
            f32::INFINITY,
            f32::MAX,
            1e-40,
            2147483648.0,
        ]
        .map(|float| u64::from(float.to_bits()))
        .to_vec(),
        ValueType::F64 => [
            0f64,
            -0.0,
            1.0,
            -1.5,
            f64::NAN,
            f64::INFINITY,
            f64::MAX,
            1e-310,
            9.3e18,
        ]
        .map(f64::to_bits)
        .to_vec(),
        _ => vec![
            0,
            1,
            2,
            0x1f,
            0x20,
            0x3f,
            0x7f,
            0x80,
            0xff,
            0x100,
            0x7fff,
            0x8000,
            0xffff,
            0x1_0000,
            0x7fff_fffe,
            0x7fff_ffff,
            0x8000_0000,
            0x8000_0001,
            0xffff_ff7f,
            0xffff_fffe,
            0xffff_ffff,
            0x1234_5678,
            0xdead_beef,
        ],
    };
    if !matches!(ty, ValueType::I32 | ValueType::F32) {
        list.extend([
            0x1_0000_0000,
            0x7fff_ffff_ffff_ffff,
            1 << 63,
            (1 << 63) + 1,
            u64::MAX,
            u64::MAX - 1,
            0xffff_ffff_8000_0000,
            0xffff_ffff_7fff_ffff,
            0x0123_4567_89ab_cdef,
        ]);
    }
    for value in values {
        let value = *value as u64;
        for near in [value, value.wrapping_neg(), !value, value << 1, value >> 1] {
            list.extend([near.wrapping_sub(1), near, near.wrapping_add(1)]);
        }
    }
    if matches!(ty, ValueType::I32 | ValueType::F32) {
        for bits in &mut list {
            *bits &= 0xffff_ffff;
        }
    }
    list.sort_unstable();
    list.dedup();
    list
}

/// Choices of one content an operand: all, if they are not too many; else as many as fit, in which every content of
/// every operand appears with changing partners.
fn choices(lengths: &[usize]) -> Vec<Vec<usize>> {
    let all: usize = lengths.iter().product();
    if all <= MOST_RUNS {
        return copatch_spec::variants::assignments(lengths).collect();
    }
    (0..MOST_RUNS)
        .map(|run| {
            let chosen = |(operand, length): (usize, &usize)| {
                (run * (1 + operand * 5) + run / length * operand) % length
            };
            lengths.iter().enumerate().map(chosen).collect()
        })
        .collect()
}

/// Whether a continuation could not tell the two outcomes apart.
fn equal(target: &Target, comparison: &Comparison<'_>, own: &State, patched: &State) -> bool {
    if own[EXIT] != patched[EXIT] || own[WINDOW_WORDS..] != patched[WINDOW_WORDS..] {
        return false;
    }
    let op = comparison.op;
    if own[EXIT] >= FAULT_EXIT {
        // Nothing in registers is defined where an access faults, only which address it was; helpers are called by a
        // fault, with their arguments.
        return own[FAULT] == patched[FAULT]
            && (op.shape != Shape::Helper
                || own[ARGUMENTS..ARGUMENTS + 2] == patched[ARGUMENTS..ARGUMENTS + 2]);
    }
    let fixed = INTEGERS..INTEGERS + target.fixed.len();
    if own[STACK] != 0
        || patched[STACK] != 0
        || own[CONTEXT] != patched[CONTEXT]
        || own[fixed.clone()] != patched[fixed]
    {
        return false;
    }
    let trap = (u64::from(TRAPS)..u64::from(ENTRIES)).contains(&own[EXIT]);
    if trap || op.shape == Shape::Helper {
        // Value registers are dead.
        return true;
    }
    let result = result(target, comparison);
    registers(target).into_iter().all(|(_, at, vector)| {
        let mask = match result {
            // Lanes above a float are left undefined.
            Some((word, ValueType::F32)) if word == at => [0xffff_ffff, 0],
            Some((word, ValueType::F64)) if word == at => [u64::MAX, 0],
            _ => [u64::MAX; 2],
        };
        let words = if vector { 2 } else { 1 };
        (0..words).all(|i| own[at + i] & mask[i] == patched[at + i] & mask[i])
    })
}

/// The word of the register that receives the result, and its type.
fn result(target: &Target, comparison: &Comparison<'_>) -> Option<(usize, ValueType)> {
    let Comparison { op, form, .. } = comparison;
    let ty = op.result.filter(|_| form.result == Some(Place::Register))?;
    let register = if form.tied(op) {
        // The tied operand's position among the registers.
        let tied = usize::from(op.tie?);
        let before = form.operands.iter().take(tied);
        *comparison
            .registers
            .get(before.filter(|place| **place == Place::Register).count())?
    } else {
        *comparison.registers.last()?
    };
    let at = word(target, ty, register)?;
    (at >= VECTORS || !matches!(ty, ValueType::F32 | ValueType::F64)).then_some((at, ty))
}
