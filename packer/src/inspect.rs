//! Shows what is in a pack: its header, its operations, its variants by axis, its sizes, and its code with the holes marked.

use std::collections::BTreeMap;
use std::fmt::Write;

use copatch_spec::Operation;
use copatch_spec::pack::tables::{AlternativeRow, FormRow, HoleRow, StencilRow};
use copatch_spec::pack::{Metadata, PackError, PackView, validate};
use copatch_spec::patch::Source;
use copatch_spec::types::Place;
use copatch_spec::variants::{Form, FormKey, Value, assignments};

use crate::disassembly::listing;
use crate::report::form_name;
use crate::stencil::{Relocation, hole};

/// What `inspect` prints of a whole pack.
///
/// # Errors
/// If the pack is not valid.
pub fn summary(bytes: &[u8]) -> Result<String, PackError> {
    let (view, metadata) = validate(bytes)?;
    let mut out = String::new();
    let features = if metadata.features.is_empty() {
        "baseline"
    } else {
        &metadata.features
    };
    let _ = writeln!(
        out,
        "{} version {} for {} ({features})\n  compiled by {}\n  flags {}\n  needs {}",
        metadata.isa,
        metadata.isa_version,
        metadata.triple,
        metadata.compiler,
        metadata.flags.join(" "),
        if metadata.cpu.is_empty() {
            "nothing beyond the architecture".to_owned()
        } else {
            metadata.cpu.join(", ")
        }
    );
    for (name, class) in &metadata.machine.classes {
        let _ = writeln!(
            out,
            "  {name} registers {} ({} carry arguments)",
            class.registers.join(" "),
            class.arguments
        );
    }
    let _ = writeln!(out, "\nsections                 rows       bytes");
    let mut section = |name: &str, rows: usize, size: usize| {
        let _ = writeln!(out, "  {name:20} {rows:>8} {size:>11}");
    };
    section("metadata", 1, view.metadata.len());
    section("forms", view.forms.len(), size_of_val(view.forms));
    section(
        "alternatives",
        view.alternatives.len(),
        size_of_val(view.alternatives),
    );
    section("domains", view.domains.len(), size_of_val(view.domains));
    section(
        "exceptions",
        view.exceptions.len(),
        size_of_val(view.exceptions),
    );
    section("stencils", view.stencils.len(), size_of_val(view.stencils));
    section(
        "hole lists",
        view.hole_lists.len(),
        size_of_val(view.hole_lists),
    );
    section("holes", view.holes.len(), size_of_val(view.holes));
    section("code", 0, view.code.len());
    section("constants", 0, view.pool.len());
    section(
        "evaluator code",
        view.evaluators.len(),
        view.evaluator_code.len(),
    );
    section("patch kinds", metadata.kinds.len(), 0);
    section("file", 0, bytes.len());

    let mut axes: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut forms: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let mut records: BTreeMap<u16, usize> = BTreeMap::new();
    for row in view.forms {
        let Some((op, form)) = form_of(&metadata, row) else {
            continue;
        };
        let count: usize = form.radices(op, &metadata.machine).iter().product();
        let all = count * usize::from(row.count.get());
        let axis = axes.entry(axis(&form)).or_default();
        axis.0 += usize::from(row.count.get());
        axis.1 += all;
        let name = match row.count.get() {
            1 => form_name(&form),
            count => format!("{}×{count}", form_name(&form)),
        };
        forms.entry(row.op.get()).or_default().push(name);
        *records.entry(row.op.get()).or_default() += all;
    }
    let _ = writeln!(
        out,
        "\nvariants by axis                alternatives   records"
    );
    for (name, (alternatives, records)) in axes {
        let _ = writeln!(out, "  {name:30} {alternatives:>11} {records:>9}");
    }
    let _ = writeln!(out, "\noperations (records; forms with their ranges)");
    for (number, op) in metadata.ops.iter().enumerate() {
        let number = number as u16;
        let _ = writeln!(
            out,
            "  {:24} {:>6}  {}",
            op.name,
            records.get(&number).copied().unwrap_or(0),
            forms
                .get(&number)
                .map_or(String::new(), |forms| forms.join(" "))
        );
    }
    Ok(out)
}

/// What `inspect --op` prints: every form and alternative of an operation, with the code of its first registers, or of
/// all of them.
///
/// # Errors
/// If the pack is not valid or has no such operation.
pub fn operation(bytes: &[u8], name: &str, all: bool) -> Result<String, PackError> {
    let (view, metadata) = validate(bytes)?;
    let number = metadata
        .ops
        .iter()
        .position(|op| op.name == name)
        .ok_or_else(|| PackError {
            offset: 0,
            what: format!("no operation is called {name}"),
        })?;
    let mut out = String::new();
    for row in view.forms {
        if usize::from(row.op.get()) != number {
            continue;
        }
        let Some((op, form)) = form_of(&metadata, row) else {
            continue;
        };
        let values = form.values(op);
        let _ = writeln!(out, "{} {}", op.name, form_name(&form));
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
    Ok(out)
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
fn form_of<'a>(metadata: &'a Metadata, row: &FormRow) -> Option<(&'a Operation, Form)> {
    let op = metadata.ops.get(usize::from(row.op.get()))?;
    let key = FormKey(row.key.get());
    copatch_spec::variants::forms(op, &metadata.machine)
        .into_iter()
        .find(|form| form.key() == key)
        .map(|form| (op, form))
}

/// Where values lie and what follows, whatever the number of operands.
fn axis(form: &Form) -> String {
    let has = |place| form.operands.contains(&place);
    let mut words = Vec::new();
    match (has(Place::Immediate), has(Place::Slot)) {
        (false, false) => words.push("registers"),
        (true, false) => words.push("with a constant"),
        (false, true) => words.push("with a slot"),
        (true, true) => words.push("with constant and slot"),
    }
    if form.result == Some(Place::Slot) {
        words.push("to a slot");
    }
    if form.outcome != copatch_spec::Outcome::Plain {
        words.push("and branch");
    }
    words.join(", ")
}
