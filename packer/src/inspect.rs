//! Shows the code of an operation in a pack, with the holes marked.

use std::fmt::Write;

use copatch_spec::Operation;
use copatch_spec::pack::tables::{AlternativeRow, FormRow, HoleRow, StencilRow};
use copatch_spec::pack::{Metadata, PackError, PackView, validate};
use copatch_spec::patch::Source;
use copatch_spec::types::Place;
use copatch_spec::variants::{Form, FormKey, Value, assignments};

use crate::disassembly::listing;
use crate::stencil::{Relocation, hole};

/// What `inspect --op` prints: every form and alternative of an operation, with the code of its first registers, or of
/// all of them; `None` if there is no such operation.
///
/// # Errors
/// If the pack is not valid.
pub fn operation(bytes: &[u8], name: &str, all: bool) -> Result<Option<String>, PackError> {
    let (view, metadata) = validate(bytes)?;
    let Some(number) = metadata.ops.iter().position(|op| op.name == name) else {
        return Ok(None);
    };
    let mut out = String::new();
    for row in view.forms {
        if usize::from(row.op.get()) != number {
            continue;
        }
        let Some((op, form)) = form_of(&metadata, row) else {
            continue;
        };
        let values = form.values(op);
        let _ = writeln!(out, "{} {}", op.name, form.name());
        for index in 0..u32::from(row.count.get()) {
            let Some(alternative) = view.alternatives.get((row.first.get() + index) as usize)
            else {
                continue;
            };
            for (number, value) in values.iter().enumerate() {
                domain(&mut out, &view, alternative, number, *value);
            }
            let radices = form.radices(op, &metadata.machine);
            for (record, registers) in assignments(&radices).enumerate() {
                if !all && record != representative(&radices) {
                    continue;
                }
                let row = view
                    .stencils
                    .get(alternative.stencils.get() as usize + record);
                if let Some(row) = row {
                    stencil(&mut out, &view, &metadata, op, &form, &registers, row);
                }
            }
        }
    }
    Ok(Some(out))
}

/// The record that is shown where one must do: all positions have different registers.
fn representative(radices: &[usize]) -> usize {
    let registers: Vec<usize> = radices
        .iter()
        .enumerate()
        .map(|(position, radix)| (position + 1).min(radix.saturating_sub(1)))
        .collect();
    copatch_spec::variants::record_index(radices, &registers)
}

fn domain(
    out: &mut String,
    view: &PackView<'_>,
    alternative: &AlternativeRow,
    number: usize,
    value: Value,
) {
    let Some(row) = view
        .domains
        .get(alternative.domains.get() as usize + number)
    else {
        return;
    };
    let what = match value {
        Value::Constant(operand, _) => format!("constant {operand}"),
        Value::OperandSlot(operand, _) => format!("slot of operand {operand}"),
        Value::Immediate(index) => format!("immediate {index}"),
        Value::ResultSlot(_) => "slot of the result".to_owned(),
    };
    let first = row.first_exception.get() as usize;
    let exceptions: Vec<String> = view
        .exceptions
        .iter()
        .skip(first)
        .take(usize::from(row.exceptions.get()))
        .map(|value| value.get().to_string())
        .collect();
    let _ = write!(out, " value {number}, {what}: {} to {}", row.lo, row.hi);
    if row.align.get() > 0 {
        let _ = write!(out, ", multiples of {}", 1u64 << row.align.get());
    }
    if !exceptions.is_empty() {
        let _ = write!(out, ", but not {}", exceptions.join(", "));
    }
    out.push('\n');
}

fn stencil(
    out: &mut String,
    view: &PackView<'_>,
    metadata: &Metadata,
    op: &Operation,
    form: &Form,
    registers: &[usize],
    row: &StencilRow,
) {
    let mut given = registers.iter();
    let mut name = |ty| {
        let class = metadata.machine.class_of(ty)?;
        metadata.machine.classes[class]
            .1
            .registers
            .get(*given.next()?)
            .cloned()
    };
    let mut names: Vec<String> = Vec::new();
    for (place, ty) in form.operands.iter().zip(&op.operands) {
        if *place == Place::Register {
            names.extend(name(*ty));
        }
    }
    if let (Some(Place::Register), Some(ty)) = (form.result, op.result)
        && !form.tied(op)
    {
        names.extend(name(ty).map(|name| format!("> {name}")));
    }
    if row.code.get() == StencilRow::ABSENT {
        let _ = writeln!(out, "  {}: absent", names.join(" "));
        return;
    }
    let (start, length) = (row.code.get() as usize, usize::from(row.length.get()));
    let code = view.code.get(start..start + length).unwrap_or(&[]);
    let holes: Vec<Relocation> = view
        .hole_lists
        .get(usize::from(row.holes.get()))
        .and_then(|list| {
            let first = list.first.get() as usize;
            view.holes.get(first..first + usize::from(list.count.get()))
        })
        .unwrap_or(&[])
        .iter()
        .map(|row| marked(metadata, row))
        .collect();
    let _ = writeln!(out, "  {} ({length} bytes)", names.join(" "));
    out.push_str(&listing(&metadata.machine.arch, code, &holes));
}

/// A hole under the name by which people know it.
fn marked(metadata: &Metadata, row: &HoleRow) -> Relocation {
    let kind = metadata.kinds.get(usize::from(row.kind));
    let symbol = match Source::decode(row.source) {
        Some(Source::Value(number)) => format!("value {number}"),
        Some(Source::Target(number)) => format!("{}{number}", hole::TARGET),
        Some(Source::Table) => hole::TABLE.to_owned(),
        Some(Source::Pool) => format!("constant {:#x}", row.addend),
        Some(Source::Trap(number)) => {
            let trap = metadata.traps.get(usize::from(number));
            format!("trap {}", trap.map_or("?", String::as_str))
        }
        None => "?".to_owned(),
    };
    Relocation {
        offset: usize::from(row.offset.get()),
        symbol,
        window: kind.map_or(0, |kind| kind.window),
        pc_relative: kind.is_some_and(|kind| kind.pc_relative),
        addend: i64::from(row.addend.get()),
        bits: None,
    }
}

/// The operation and form of a row; `None` if it names none.
pub(crate) fn form_of<'a>(metadata: &'a Metadata, row: &FormRow) -> Option<(&'a Operation, Form)> {
    let op = metadata.ops.get(usize::from(row.op.get()))?;
    let key = FormKey(row.key.get());
    copatch_spec::variants::forms(op, &metadata.machine)
        .into_iter()
        .find(|form| form.key() == key)
        .map(|form| (op, form))
}
