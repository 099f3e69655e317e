//! A pack in figures: what `inspect` shows of a whole one, and `diff` compares.

use std::collections::BTreeMap;
use std::fmt;

use copatch_spec::Outcome;
use copatch_spec::pack::tables::{AlternativeRow, StencilRow};
use copatch_spec::pack::{Metadata, PackError, PackView, validate};
use copatch_spec::types::Place;
use copatch_spec::variants::Form;
use serde::Serialize;

use crate::inspect::form_of;

/// A pack in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What it says of itself.
    pub header: Header,
    /// Its sections by name, and the whole file.
    pub sections: BTreeMap<&'static str, Section>,
    /// Its variants by where values lie and what follows.
    pub axes: BTreeMap<String, Axis>,
    /// Its operations by name.
    pub operations: BTreeMap<String, OperationSummary>,
}

/// What a pack says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The instruction set.
    pub isa: String,
    /// Its version.
    pub isa_version: u32,
    /// BLAKE3 of its tables and bodies, in hexadecimal digits.
    pub isa_digest: String,
    /// The target triple.
    pub triple: String,
    /// The feature set; empty for the baseline.
    pub features: String,
    /// Processor features that the code needs.
    pub cpu: Vec<String>,
    /// The compiler's version line.
    pub compiler: String,
    /// Its flags.
    pub flags: Vec<String>,
    /// Registers of each class by name; the first `arguments` carry arguments.
    pub registers: BTreeMap<String, Vec<String>>,
    /// How many registers of each class carry arguments.
    pub arguments: BTreeMap<String, u8>,
    /// Trap names by number.
    pub traps: Vec<String>,
}

/// A section's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Rows; 0 where the section has none.
    pub rows: usize,
    /// Bytes.
    pub bytes: usize,
}

/// How many variants there are of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Axis {
    /// Alternatives.
    pub alternatives: usize,
    /// Records.
    pub records: usize,
}

/// An operation's part of a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OperationSummary {
    /// How many alternatives each form has, by the form's name as [`Form::name`] writes it.
    pub forms: BTreeMap<String, usize>,
    /// Records, those that share their code with another one included.
    pub records: usize,
    /// Bytes of code of all records, shared or not.
    pub code_bytes: usize,
    /// The first 64 bits of BLAKE3 over domains, code and holes of all records, in hexadecimal digits.
    pub digest: String,
}

/// Counts what is in a pack.
///
/// # Errors
/// If the pack is not valid.
pub fn summary(bytes: &[u8]) -> Result<Summary, PackError> {
    let (view, metadata) = validate(bytes)?;
    let mut operations: BTreeMap<String, OperationSummary> = BTreeMap::new();
    let mut digests: BTreeMap<&str, blake3::Hasher> = BTreeMap::new();
    let mut axes: BTreeMap<String, Axis> = BTreeMap::new();
    // The numbers of patch kinds differ between packs; what they say does not.
    let kinds = metadata.kinds.iter();
    let kinds: Vec<blake3::Hash> = kinds
        .map(|kind| blake3::hash(format!("{kind:?}").as_bytes()))
        .collect();
    for op in &metadata.ops {
        operations.insert(op.name.clone(), OperationSummary::default());
        digests.insert(&op.name, blake3::Hasher::new());
    }
    for row in view.forms {
        let Some((op, form)) = form_of(&metadata, row) else {
            continue;
        };
        let alternatives = usize::from(row.count.get());
        let each: usize = form.radices(op, &metadata.machine).iter().product();
        let axis = axes.entry(axis(&form)).or_default();
        axis.alternatives += alternatives;
        axis.records += alternatives * each;
        let operation = operations.entry(op.name.clone()).or_default();
        operation.forms.insert(form.name(), alternatives);
        operation.records += alternatives * each;
        let digest = digests.entry(&op.name).or_default();
        digest.update(&row.key.get().to_le_bytes());
        let first = row.first.get() as usize;
        for alternative in view.alternatives.iter().skip(first).take(alternatives) {
            let values = usize::from(row.values.get());
            operation.code_bytes +=
                digest_alternative(digest, &view, &kinds, alternative, values, each);
        }
    }
    for (name, digest) in digests {
        if let Some(operation) = operations.get_mut(name) {
            operation.digest = digest.finalize().to_hex()[..16].to_owned();
        }
    }
    Ok(Summary {
        header: header(&metadata),
        sections: sections(bytes, &view, &metadata),
        axes,
        operations,
    })
}

/// Feeds everything that an alternative says into a digest. Returns the bytes of its records' code.
fn digest_alternative(
    digest: &mut blake3::Hasher,
    view: &PackView<'_>,
    kinds: &[blake3::Hash],
    alternative: &AlternativeRow,
    values: usize,
    records: usize,
) -> usize {
    let first = alternative.domains.get() as usize;
    for row in view.domains.iter().skip(first).take(values) {
        for bound in [row.lo.get(), row.hi.get(), row.align.get().into()] {
            digest.update(&bound.to_le_bytes());
        }
        let first = row.first_exception.get() as usize;
        let exceptions = view.exceptions.iter().skip(first);
        for value in exceptions.take(usize::from(row.exceptions.get())) {
            digest.update(&value.get().to_le_bytes());
        }
    }
    let mut total = 0;
    let first = alternative.stencils.get() as usize;
    for row in view.stencils.iter().skip(first).take(records) {
        let length = usize::from(row.length.get());
        digest.update(&row.length.get().to_le_bytes());
        if row.code.get() == StencilRow::ABSENT {
            continue;
        }
        let code = view.code.get(row.code.get() as usize..);
        digest.update(code.and_then(|code| code.get(..length)).unwrap_or(&[]));
        total += length;
        let list = view.hole_lists.get(usize::from(row.holes.get()));
        let (first, count) = list.map_or((0, 0), |list| (list.first.get(), list.count.get()));
        for hole in view.holes.iter().skip(first as usize).take(count.into()) {
            digest.update(&hole.offset.get().to_le_bytes());
            let kind = kinds.get(usize::from(hole.kind));
            digest.update(kind.map_or(&[], |kind| kind.as_bytes().as_slice()));
            digest.update(&[hole.source]);
            digest.update(&hole.addend.get().to_le_bytes());
        }
    }
    total
}

fn header(metadata: &Metadata) -> Header {
    let classes = &metadata.machine.classes;
    Header {
        isa: metadata.isa.clone(),
        isa_version: metadata.isa_version,
        isa_digest: blake3::Hash::from_bytes(metadata.isa_digest).to_string(),
        triple: metadata.triple.clone(),
        features: metadata.features.clone(),
        cpu: metadata.cpu.clone(),
        compiler: metadata.compiler.clone(),
        flags: metadata.flags.clone(),
        registers: classes
            .iter()
            .map(|(name, class)| (name.clone(), class.registers.clone()))
            .collect(),
        arguments: classes
            .iter()
            .map(|(name, class)| (name.clone(), class.arguments))
            .collect(),
        traps: metadata.traps.clone(),
    }
}

fn sections(
    bytes: &[u8],
    view: &PackView<'_>,
    metadata: &Metadata,
) -> BTreeMap<&'static str, Section> {
    fn rows<T>(rows: &[T]) -> Section {
        Section {
            rows: rows.len(),
            bytes: size_of_val(rows),
        }
    }
    let plain = |bytes: &[u8]| Section {
        rows: 0,
        bytes: bytes.len(),
    };
    BTreeMap::from([
        ("metadata", plain(view.metadata)),
        ("forms", rows(view.forms)),
        ("alternatives", rows(view.alternatives)),
        ("domains", rows(view.domains)),
        ("exceptions", rows(view.exceptions)),
        ("stencils", rows(view.stencils)),
        ("hole lists", rows(view.hole_lists)),
        ("holes", rows(view.holes)),
        ("code", plain(view.code)),
        ("constants", plain(view.pool)),
        ("evaluators", rows(view.evaluators)),
        ("evaluator code", plain(view.evaluator_code)),
        ("patch kinds", rows(&metadata.kinds)),
        ("file", plain(bytes)),
    ])
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
    if form.outcome != Outcome::Plain {
        words.push("and branch");
    }
    words.join(", ")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        let or = |text: &str, none: &'static str| match text {
            "" => none.to_owned(),
            text => text.to_owned(),
        };
        writeln!(
            f,
            "{} version {} ({}) for {} ({})\n  compiled by {}\n  flags {}\n  needs {}",
            header.isa,
            header.isa_version,
            &header.isa_digest[..16],
            header.triple,
            or(&header.features, "baseline"),
            header.compiler,
            header.flags.join(" "),
            or(&header.cpu.join(", "), "nothing beyond the architecture"),
        )?;
        for (name, registers) in &header.registers {
            let arguments = header.arguments.get(name).copied().unwrap_or(0);
            let registers = registers.join(" ");
            writeln!(
                f,
                "  {name} registers {registers} ({arguments} carry arguments)"
            )?;
        }
        writeln!(f, "\nsections                 rows       bytes")?;
        for (name, section) in &self.sections {
            writeln!(f, "  {name:20} {:>8} {:>11}", section.rows, section.bytes)?;
        }
        writeln!(
            f,
            "\nvariants by axis                alternatives   records"
        )?;
        for (name, axis) in &self.axes {
            writeln!(
                f,
                "  {name:30} {:>11} {:>9}",
                axis.alternatives, axis.records
            )?;
        }
        writeln!(f, "\noperations (records; forms with their ranges)")?;
        for (name, operation) in &self.operations {
            let forms = operation.forms.iter().map(|(form, count)| match count {
                1 => form.clone(),
                count => format!("{form}×{count}"),
            });
            let forms = forms.collect::<Vec<_>>().join(" ");
            writeln!(f, "  {name:24} {:>6}  {forms}", operation.records)?;
        }
        Ok(())
    }
}
