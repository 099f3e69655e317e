//! Deliberate faults in a pack: a kit that is worth something finds each.
#![allow(unsafe_code)] // Hands out packs that are wrong on purpose.

use std::sync::Arc;

use copatch::{Pack, ValueType};
use copatch_spec::pack::tables::HoleRow;
use copatch_spec::pack::{FormParts, Metadata, PackError, PackWriter};
use copatch_spec::patch::Source;
use copatch_spec::variants::FormKey;
use copatch_spec::{Operation, Place, Shape};

use crate::choices::Choices;
use crate::edit::{edited, take_apart};

/// A pack with a fault.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// What is wrong with it.
    pub name: String,
    /// The pack file.
    pub bytes: Vec<u8>,
}

impl Mutant {
    /// Opens it.
    ///
    /// # Errors
    /// Where the fault makes it no pack.
    ///
    /// # Safety
    /// Its code is wrong and may do anything: run it where nothing depends on the process.
    pub unsafe fn open(&self) -> copatch::Result<Arc<Pack>> {
        // SAFETY: the caller's.
        unsafe { Pack::from_bytes(&self.name, self.bytes.clone()) }
    }
}

/// How many mutants there are of each kind, where the pack has so many.
const EACH: usize = 3;

/// Mutants of each kind of fault, chosen by the seed: an operation with another's code, a constant patched in one too high, a
/// value spilled to the place beside its own. Faults in what bounds loops (operations on i32 in slots) are left out.
///
/// # Errors
/// Where the bytes are no pack.
pub fn mutants(bytes: &[u8], seed: u64) -> Result<Vec<Mutant>, PackError> {
    let (writer, metadata) = take_apart(bytes)?;
    let numbers: Vec<u64> = (1..64u64)
        .map(|number| {
            (seed ^ number)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(23)
        })
        .collect();
    let mut choices = Choices::new(&numbers);
    let mut found = Vec::new();
    let ops: Vec<u16> = (0..metadata.ops.len() as u16)
        .filter(|op| is_plain(&metadata.ops[usize::from(*op)]))
        .collect();
    let name = |op: u16| &metadata.ops[usize::from(op)].name;

    let pairs: Vec<(u16, u16)> = ops
        .iter()
        .flat_map(|op| ops.iter().map(move |other| (*op, *other)))
        .filter(|(op, other)| op != other && are_alike(&writer, &metadata, *op, *other))
        .collect();
    for (op, other) in some(&pairs, &mut choices) {
        found.push(Mutant {
            name: format!(
                "wrong stencil: {} has the code of {}",
                name(op),
                name(other)
            ),
            bytes: edited(bytes, |writer, _| wrong_stencil(writer, op, other))?,
        });
    }

    let with_constant = |op: &u16| {
        writer
            .forms
            .iter()
            .any(|form| form.op == *op && takes_constant(form))
    };
    let constants: Vec<u16> = ops.iter().copied().filter(with_constant).collect();
    for op in some(&constants, &mut choices) {
        found.push(Mutant {
            name: format!("wrong patch: constants of {} are one too high", name(op)),
            bytes: edited(bytes, |writer, metadata| wrong_patch(writer, metadata, op))?,
        });
    }

    for ty in [
        ValueType::I64,
        ValueType::F32,
        ValueType::F64,
        ValueType::V128,
    ] {
        let spilled = format!("core.move_{}", ty.name());
        let is_used = ops
            .iter()
            .any(|op| metadata.ops[usize::from(*op)].operands.contains(&ty));
        let op = metadata.ops.iter().position(|op| op.name == spilled);
        if let (Some(op), true, true) = (op, is_used, metadata.machine.registers(ty) > 0) {
            found.push(Mutant {
                name: format!(
                    "wrong spill: {} goes to the place beside its slot",
                    ty.name()
                ),
                bytes: edited(bytes, |writer, _| wrong_spill(writer, op as u16))?,
            });
        }
    }
    Ok(found)
}

/// At most [`EACH`] of them.
fn some<T: Copy>(all: &[T], choices: &mut Choices) -> Vec<T> {
    let mut left = all.to_vec();
    let mut chosen = Vec::new();
    while !left.is_empty() && chosen.len() < EACH {
        chosen.push(left.swap_remove(choices.below(left.len())));
    }
    chosen
}

/// Whether programs of the kit use the operation for its result alone.
fn is_plain(op: &Operation) -> bool {
    op.shape == Shape::Next
        && !op.is_core()
        && op.traps.is_empty()
        && op.immediates.is_empty()
        && !(op.uses_mem || op.uses_ctx)
        && op.result.is_some()
}

/// Whether one operation's code could stand in for the other's, and is different.
fn are_alike(writer: &PackWriter, metadata: &Metadata, op: u16, other: u16) -> bool {
    let [one, two] = [op, other].map(|op| &metadata.ops[usize::from(op)]);
    let [first, second] = [op, other].map(|op| in_registers(writer, op));
    one.operands == two.operands
        && one.result == two.result
        && one.tie == two.tie
        && matches!((first, second), (Some(first), Some(second))
            if first.alternatives != second.alternatives)
}

fn in_registers(writer: &PackWriter, op: u16) -> Option<&FormParts> {
    let is = |form: &&FormParts| form.op == op && form.key == FormKey::registers();
    writer.forms.iter().find(is)
}

/// With all operands in registers, `op` does what `other` should.
pub fn wrong_stencil(writer: &mut PackWriter, op: u16, other: u16) {
    let Some(code) = in_registers(writer, other).map(|form| form.alternatives.clone()) else {
        return;
    };
    let is = |form: &&mut FormParts| form.op == op && form.key == FormKey::registers();
    if let Some(form) = writer.forms.iter_mut().find(is) {
        form.alternatives = code;
    }
}

fn takes_constant(form: &FormParts) -> bool {
    form.key.operand(1) == Some(Place::Immediate)
}

/// The constant that is operand 1 of `op` is patched in one too high.
pub fn wrong_patch(writer: &mut PackWriter, metadata: &mut Metadata, op: u16) {
    let fits = |form: &&mut FormParts| form.op == op && takes_constant(form);
    for form in writer.forms.iter_mut().filter(fits) {
        for hole in holes(form) {
            if hole.source != Source::Value(0).encode() {
                continue;
            }
            // A kind of its own for these holes: others may share theirs.
            let mut wrong = metadata.kinds[usize::from(hole.kind)].clone();
            wrong.fields.iter_mut().for_each(|field| field.addend += 1);
            let known = metadata.kinds.iter().position(|kind| *kind == wrong);
            let number = known.unwrap_or(metadata.kinds.len());
            if known.is_none() {
                metadata.kinds.push(wrong);
            }
            hole.kind = number as u8;
        }
    }
}

/// What the move `op` stores into a slot goes 8 bytes beyond.
pub fn wrong_spill(writer: &mut PackWriter, op: u16) {
    let to_slot = |key: FormKey| key.result_slot() && key.operand(0) == Some(Place::Register);
    let fits = |form: &&mut FormParts| form.op == op && to_slot(form.key);
    for form in writer.forms.iter_mut().filter(fits) {
        for hole in holes(form) {
            hole.addend = (hole.addend.get() + 8).into();
        }
        // Narrow displacements keep room for the planted distance.
        let alternatives = form.alternatives.iter_mut();
        for domain in alternatives.flat_map(|alternative| &mut alternative.domains) {
            domain.hi -= 8;
            let hi = domain.hi;
            domain.exceptions.retain(|value| *value <= hi);
        }
    }
}

/// Every hole of a form.
pub fn holes(form: &mut FormParts) -> impl Iterator<Item = &mut HoleRow> {
    let stencils = form.alternatives.iter_mut();
    let stencils = stencils.flat_map(|alternative| alternative.stencils.iter_mut().flatten());
    stencils.flat_map(|stencil| &mut stencil.holes)
}
