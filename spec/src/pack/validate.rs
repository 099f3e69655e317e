//! Checks a pack in full: digests, and that every index, offset, kind and length is in range, so that the engine
//! can follow them without looking.
//!
//! ```text
//! frame ──► digests ──► metadata ──► holes ──► domains ──► forms, alternatives, stencils ──► evaluators
//! ```
//!
//! What is behind a form depends on its operation and on the machine: how many values it patches, how many register
//! assignments it has. Both follow from the metadata by [`crate::variants`], the enumeration that wrote the pack.

use zerocopy::{FromBytes, IntoBytes};

use super::tables::{DomainRow, FormRow, Header, HoleRow, Section, SectionKind, StencilRow};
use super::{Metadata, PackError, PackView, view};
use crate::isa::{Operation, Shape};
use crate::limits::{self, EVALUATOR_ALIGNMENT};
use crate::patch::{PatchKind, Source};
use crate::target::Machine;
use crate::types::Place;
use crate::variants::{Form, FormKey, forms};

/// Checks `bytes` in full and gives the decoded metadata. Takes time by the number of rows, and for each hole list and each stencil
/// by the number of its holes, which lists may share.
///
/// This finds damage, not malice: code that passes may still do anything. Where a pack comes from is for its user
/// to judge.
///
/// # Errors
/// The first thing that is wrong, with its offset.
pub fn validate(bytes: &[u8]) -> Result<(PackView<'_>, Metadata), PackError> {
    let view = PackView::open(bytes)?;
    let sections = view::sections(bytes)?;
    check_digests(bytes, sections)?;
    let at = Offsets(sections);
    let metadata = view
        .decode_metadata()
        .map_err(|error| PackError::new(at.of(SectionKind::Metadata, 0, 1), error.what))?;
    check_metadata(&metadata).map_err(|what| {
        PackError::new(
            at.of(SectionKind::Metadata, 0, 1),
            format!("metadata: {what}"),
        )
    })?;
    check_holes(&view, &metadata, &at)?;
    check_domains(&view, &at)?;
    check_forms(&view, &metadata, &at)?;
    check_evaluators(&view, &metadata, &at)?;
    Ok((view, metadata))
}

/// Where rows lie in the file, for messages.
struct Offsets<'a>(&'a [Section]);

impl Offsets<'_> {
    fn of(&self, kind: SectionKind, row: usize, row_bytes: usize) -> usize {
        let section = self
            .0
            .iter()
            .find(|section| section.kind.get() == kind as u32);
        let start = section.map_or(0, |section| section.offset.get() as usize);
        start.saturating_add(row.saturating_mul(row_bytes))
    }

    fn fault<T>(&self, kind: SectionKind, row: usize, what: impl Into<String>) -> PackError {
        PackError::new(self.of(kind, row, size_of::<T>()), what)
    }
}

/// Digests of the section table and of each section; what lies between sections is zero, and nothing lies behind the last.
fn check_digests(bytes: &[u8], sections: &[Section]) -> Result<(), PackError> {
    let (header, _) = Header::ref_from_prefix(bytes)
        .map_err(|_| PackError::new(0, "the file is too short for a header"))?;
    if blake3::hash(sections.as_bytes()).as_bytes() != &header.digest {
        return Err(PackError::new(24, "the section table is damaged (digest)"));
    }
    let mut end = size_of::<Header>() + size_of_val(sections);
    for (index, section) in sections.iter().enumerate() {
        let (offset, length) = (section.offset.get() as usize, section.length.get() as usize);
        if bytes
            .get(end..offset)
            .is_none_or(|gap| gap.iter().any(|byte| *byte != 0))
        {
            return Err(PackError::new(end, "bytes between sections are not zero"));
        }
        let content = bytes.get(offset..).and_then(|rest| rest.get(..length));
        if content.is_none_or(|content| blake3::hash(content).as_bytes() != &section.digest) {
            let kind = SectionKind::ALL.get(index);
            let what = match kind {
                Some(kind) => format!("section {kind:?} is damaged (digest)"),
                None => "a section too many".to_owned(),
            };
            return Err(PackError::new(offset, what));
        }
        end = offset + length;
    }
    if end != bytes.len() {
        return Err(PackError::new(end, "bytes behind the last section"));
    }
    Ok(())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn check_metadata(metadata: &Metadata) -> Result<(), String> {
    check_machine(&metadata.machine)?;
    let of_machine = &metadata.machine.classes;
    let registers = of_machine.iter().flat_map(|(_, class)| &class.registers);
    let operations = metadata.ops.iter().map(|op| &op.name);
    let texts = [
        &metadata.isa,
        &metadata.triple,
        &metadata.features,
        &metadata.compiler,
    ];
    let lists = [&metadata.cpu, &metadata.flags, &metadata.traps]
        .into_iter()
        .flatten();
    // They are shown on terminals, also of packs that nobody trusts.
    let mut shown = texts
        .into_iter()
        .chain(lists)
        .chain(registers)
        .chain(operations);
    ensure(shown.all(|text| !text.contains(char::is_control)), || {
        "a name with control characters".to_owned()
    })?;
    ensure(metadata.traps.len() <= limits::TRAPS, || {
        "too many traps".to_owned()
    })?;
    ensure(metadata.kinds.len() <= limits::KINDS, || {
        "too many patch kinds".to_owned()
    })?;
    ensure(metadata.ops.len() <= limits::OPS, || {
        "too many operations".to_owned()
    })?;
    for (number, kind) in metadata.kinds.iter().enumerate() {
        check_kind(kind).map_err(|what| format!("patch kind {number}: {what}"))?;
    }
    for (number, op) in metadata.ops.iter().enumerate() {
        check_op(op, metadata)
            .map_err(|what| format!("operation {number} ({}): {what}", op.name))?;
    }
    Ok(())
}

fn check_machine(machine: &Machine) -> Result<(), String> {
    ensure([32, 64].contains(&machine.pointer_bits), || {
        format!("pointers of {} bits", machine.pointer_bits)
    })?;
    ensure(!machine.trap_instruction.is_empty(), || {
        "no trap instruction".to_owned()
    })?;
    ensure(
        machine.trap_instruction.len() <= limits::STENCIL_BYTES,
        || "a trap instruction longer than a stencil".to_owned(),
    )?;
    let mut types: Vec<crate::types::ValueType> = Vec::new();
    let mut names: Vec<&str> = machine
        .fixed
        .iter()
        .map(|fixed| fixed.register.as_str())
        .collect();
    for (name, class) in &machine.classes {
        ensure(class.registers.len() <= limits::REGISTERS, || {
            format!("class {name} has too many registers")
        })?;
        ensure(
            usize::from(class.arguments) <= class.registers.len(),
            || format!("class {name} has more arguments than registers"),
        )?;
        ensure(class.types.contains(&class.widest), || {
            format!("class {name} does not hold its widest type")
        })?;
        types.extend(&class.types);
        names.extend(class.registers.iter().map(String::as_str));
    }
    let count = types.len();
    types.sort_unstable();
    types.dedup();
    ensure(types.len() == count, || {
        "a type is in two classes".to_owned()
    })?;
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    ensure(names.len() == count, || {
        "a register has two purposes".to_owned()
    })
}

fn check_kind(kind: &PatchKind) -> Result<(), String> {
    ensure([1, 2, 4, 8].contains(&kind.window), || {
        format!("a window of {} bytes", kind.window)
    })?;
    ensure(kind.lo <= kind.hi, || "its range is empty".to_owned())?;
    ensure(kind.align < 63, || {
        format!("an alignment of 2 to the {}", kind.align)
    })?;
    ensure(!kind.fields.is_empty(), || "it has no field".to_owned())?;
    let mut filled = 0u64;
    for field in &kind.fields {
        ensure(
            field.start < field.end && field.end <= kind.window * 8 && field.shift < 64,
            || {
                format!(
                    "field {}..{} >> {} lies outside its window",
                    field.start, field.end, field.shift
                )
            },
        )?;
        let bits = (u64::MAX >> (64 - (field.end - field.start))) << field.start;
        ensure(filled & bits == 0, || "its fields overlap".to_owned())?;
        filled |= bits;
    }
    Ok(())
}

fn check_op(op: &Operation, metadata: &Metadata) -> Result<(), String> {
    ensure(op.operands.len() <= limits::OPERANDS, || {
        "too many operands".to_owned()
    })?;
    ensure(op.immediates.len() <= limits::IMMEDIATES, || {
        "too many immediates".to_owned()
    })?;
    ensure(op.forms.len() <= FormKey::COUNT, || {
        "too many forms".to_owned()
    })?;
    for form in &op.forms {
        let fits = form.operands.len() == op.operands.len() && form.result != Place::Immediate;
        ensure(fits, || "a form does not fit its operands".to_owned())?;
    }
    if let Some(tie) = op.tie {
        let tied = op.operands.get(usize::from(tie));
        ensure(tied.is_some() && tied == op.result.as_ref(), || {
            "it is tied to an operand that has not the result's type".to_owned()
        })?;
    }
    ensure(op.swaps_within(&metadata.ops), || {
        let swap = op.swap.as_deref().unwrap_or_default();
        format!("its swap {swap} does not fit")
    })?;
    ensure(op.traps.len() <= limits::TRAPS, || {
        "too many traps".to_owned()
    })?;
    let known = |trap: &u8| usize::from(*trap) < metadata.traps.len();
    ensure(op.traps.iter().all(known), || {
        "a trap without a name".to_owned()
    })
}

/// Lists and holes, whether a stencil uses them or not.
fn check_holes(
    view: &PackView<'_>,
    metadata: &Metadata,
    at: &Offsets<'_>,
) -> Result<(), PackError> {
    for (index, hole) in view.holes.iter().enumerate() {
        let fault = |what: String| at.fault::<HoleRow>(SectionKind::Holes, index, what);
        if usize::from(hole.kind) >= metadata.kinds.len() {
            return Err(fault(format!("patch kind {} does not exist", hole.kind)));
        }
        match Source::decode(hole.source) {
            None => return Err(fault(format!("source {:#x} does not exist", hole.source))),
            Some(Source::Pool) => {
                // A relative hole's addend also holds the distance from the end of its instruction.
                let relative = metadata.kinds[usize::from(hole.kind)].pc_relative;
                let least = if relative { -16 } else { 0 };
                let addend = i64::from(hole.addend.get());
                if addend < least || addend >= view.pool.len() as i64 {
                    return Err(fault("a constant outside the pool".to_owned()));
                }
            }
            Some(_) => {}
        }
    }
    for (index, list) in view.hole_lists.iter().enumerate() {
        let fault = |what: &str| {
            at.fault::<super::tables::HoleListRow>(SectionKind::HoleLists, index, what)
        };
        if list.reserved.get() != 0 {
            return Err(fault("a reserved field is not zero"));
        }
        let Some(holes) = rows(view.holes, list.first.get(), list.count.get().into()) else {
            return Err(fault("a list of holes outside the table"));
        };
        if index == 0 && !holes.is_empty() {
            return Err(fault("hole list 0 is not empty"));
        }
        let mut end = 0;
        for hole in holes {
            if usize::from(hole.offset.get()) < end {
                return Err(fault("holes overlap or do not ascend"));
            }
            end = window_end(hole, metadata);
        }
    }
    if view.hole_lists.is_empty() {
        return Err(at.fault::<u8>(SectionKind::HoleLists, 0, "hole list 0 is missing"));
    }
    Ok(())
}

/// The rows `[first, first + count)`, if there are so many.
fn rows<T>(table: &[T], first: u32, count: usize) -> Option<&[T]> {
    table.get(first as usize..)?.get(..count)
}

/// One past the last byte of a hole's window. The kind must exist.
fn window_end(hole: &HoleRow, metadata: &Metadata) -> usize {
    let window = metadata
        .kinds
        .get(usize::from(hole.kind))
        .map_or(0, |kind| kind.window);
    usize::from(hole.offset.get()) + usize::from(window)
}

fn check_domains(view: &PackView<'_>, at: &Offsets<'_>) -> Result<(), PackError> {
    for (index, domain) in view.domains.iter().enumerate() {
        let fault = |what: &str| at.fault::<DomainRow>(SectionKind::Domains, index, what);
        let (lo, hi) = (domain.lo.get(), domain.hi.get());
        if lo > hi || domain.align.get() >= 63 {
            return Err(fault("a domain without values"));
        }
        let count = domain.exceptions.get().into();
        let Some(exceptions) = rows(view.exceptions, domain.first_exception.get(), count) else {
            return Err(fault("exceptions outside the table"));
        };
        let mut previous = None;
        for exception in exceptions {
            let value = exception.get();
            if !(lo..=hi).contains(&value) || previous.is_some_and(|previous| previous >= value) {
                return Err(fault("exceptions do not ascend within their domain"));
            }
            previous = Some(value);
        }
    }
    Ok(())
}

/// Forms, and through them alternatives and stencils: each belongs to exactly one form.
fn check_forms(
    view: &PackView<'_>,
    metadata: &Metadata,
    at: &Offsets<'_>,
) -> Result<(), PackError> {
    if view.forms.len() > limits::FORMS {
        return Err(at.fault::<FormRow>(SectionKind::Forms, limits::FORMS, "too many forms"));
    }
    let mut previous = None;
    let mut alternatives = 0;
    let mut stencils = 0;
    let mut of_op: (Option<u16>, Vec<Form>) = (None, Vec::new());
    for (index, row) in view.forms.iter().enumerate() {
        let fault = |what: String| at.fault::<FormRow>(SectionKind::Forms, index, what);
        let number = (row.op.get(), row.key.get());
        if previous.is_some_and(|previous| previous >= number) {
            return Err(fault("forms do not ascend".to_owned()));
        }
        previous = Some(number);
        let Some(op) = metadata.ops.get(usize::from(number.0)) else {
            return Err(fault(format!("operation {} does not exist", number.0)));
        };
        if of_op.0 != Some(number.0) {
            of_op = (Some(number.0), forms(op, &metadata.machine));
        }
        let found = of_op.1.binary_search_by_key(&FormKey(number.1), Form::key);
        let Some(form) = found.ok().and_then(|index| of_op.1.get(index)) else {
            return Err(fault(format!("{} has no form {:#x}", op.name, number.1)));
        };
        let values = form.values(op).len();
        if usize::from(row.values.get()) != values || values > limits::VALUES {
            return Err(fault(format!("{} values instead of {values}", row.values)));
        }
        if row.first.get() as usize != alternatives || row.count.get() == 0 {
            return Err(fault(
                "its alternatives do not follow those before".to_owned(),
            ));
        }
        let Some(own) = rows(view.alternatives, row.first.get(), row.count.get().into()) else {
            return Err(fault("alternatives outside the table".to_owned()));
        };
        let records: usize = form.radices(op, &metadata.machine).iter().product();
        for alternative in own {
            let fault = |what: &str| {
                let offset = at.of(
                    SectionKind::Alternatives,
                    alternatives,
                    size_of_val(alternative),
                );
                PackError::new(offset, format!("{}: {what}", op.name))
            };
            let Some(domains) = rows(view.domains, alternative.domains.get(), values) else {
                return Err(fault("domains outside the table"));
            };
            if alternative.stencils.get() as usize != stencils {
                return Err(fault("its stencils do not follow those before"));
            }
            let Some(records) = rows(view.stencils, alternative.stencils.get(), records) else {
                return Err(fault("stencils outside the table"));
            };
            let owner = Owner {
                op,
                values,
                domains,
            };
            for record in records {
                check_stencil(record, &owner, view, metadata).map_err(|what| {
                    at.fault::<StencilRow>(
                        SectionKind::Stencils,
                        stencils,
                        format!("{}: {what}", op.name),
                    )
                })?;
                stencils += 1;
            }
            alternatives += 1;
        }
    }
    if alternatives != view.alternatives.len() || stencils != view.stencils.len() {
        let offset = at.of(SectionKind::Forms, view.forms.len(), size_of::<FormRow>());
        return Err(PackError::new(
            offset,
            "alternatives or stencils that belong to no form",
        ));
    }
    Ok(())
}

/// What a stencil's holes may refer to.
struct Owner<'a> {
    op: &'a Operation,
    values: usize,
    domains: &'a [DomainRow],
}

fn check_stencil(
    row: &StencilRow,
    owner: &Owner<'_>,
    view: &PackView<'_>,
    metadata: &Metadata,
) -> Result<(), &'static str> {
    let length = usize::from(row.length.get());
    if row.code.get() == StencilRow::ABSENT {
        return if length == 0 && row.holes.get() == 0 {
            Ok(())
        } else {
            Err("an absent stencil with code or holes")
        };
    }
    let code = view.code.len().saturating_sub(limits::CODE_PADDING);
    let inside = (row.code.get() as usize)
        .checked_add(length)
        .is_some_and(|end| end <= code);
    if !inside || length > limits::STENCIL_BYTES {
        return Err("code outside the section, or too long");
    }
    let list = view
        .hole_lists
        .get(usize::from(row.holes.get()))
        .ok_or("a hole list that does not exist")?;
    let holes = rows(view.holes, list.first.get(), list.count.get().into())
        .ok_or("a list of holes outside the table")?;
    // Holes ascend, so the last one reaches farthest.
    if holes
        .last()
        .is_some_and(|last| window_end(last, metadata) > length)
    {
        return Err("a hole outside the code");
    }
    for hole in holes {
        let kind = metadata
            .kinds
            .get(usize::from(hole.kind))
            .ok_or("a kind that does not exist")?;
        match Source::decode(hole.source).ok_or("a source that does not exist")? {
            Source::Value(number) => {
                let domain = owner
                    .domains
                    .get(usize::from(number))
                    .filter(|_| usize::from(number) < owner.values)
                    .ok_or("a hole for a value that the form has not")?;
                if !admits(kind, domain, hole.addend.get()) {
                    return Err("a domain with values that its hole cannot hold");
                }
            }
            Source::Target(0) => {}
            Source::Target(_) => return Err("a hole for a target that no operation has"),
            Source::Table if owner.op.shape == Shape::Table => {}
            Source::Table => return Err("a hole for a table in an operation without one"),
            Source::Trap(trap) if owner.op.traps.contains(&trap) => {}
            Source::Trap(_) => return Err("a hole for a trap that the operation cannot raise"),
            Source::Pool => {}
        }
    }
    Ok(())
}

/// Whether a hole can hold every value of a domain. What is relative to its place is known when it is patched only.
fn admits(kind: &PatchKind, domain: &DomainRow, addend: i32) -> bool {
    let moved = |value: i64| i128::from(value) + i128::from(addend);
    kind.pc_relative
        || moved(domain.lo.get()) >= i128::from(kind.lo)
            && moved(domain.hi.get()) <= i128::from(kind.hi)
            && domain.align.get() >= u16::from(kind.align)
}

fn check_evaluators(
    view: &PackView<'_>,
    metadata: &Metadata,
    at: &Offsets<'_>,
) -> Result<(), PackError> {
    if view.evaluators.len() != metadata.ops.len() {
        let what = format!(
            "{} evaluators for {} operations",
            view.evaluators.len(),
            metadata.ops.len()
        );
        return Err(at.fault::<u8>(SectionKind::Evaluators, 0, what));
    }
    for (index, row) in view.evaluators.iter().enumerate() {
        let (code, length) = (row.code.get() as usize, row.length.get() as usize);
        let fits = if row.code.get() == StencilRow::ABSENT {
            length == 0
        } else {
            length > 0
                && code.is_multiple_of(EVALUATOR_ALIGNMENT)
                && code
                    .checked_add(length)
                    .is_some_and(|end| end <= view.evaluator_code.len())
        };
        if !fits {
            let what = "an evaluator outside its section, or not aligned";
            return Err(at.fault::<super::tables::EvaluatorRow>(
                SectionKind::Evaluators,
                index,
                what,
            ));
        }
    }
    Ok(())
}
