//! What of a pack programs exercised: read from the listings of their code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use copatch::Pack;
use copatch_spec::pack::Metadata;
use copatch_spec::patch::Source;
use copatch_spec::types::Place;
use copatch_spec::variants::{Form, Value, assignments, forms};

use crate::execute::Compiled;
use crate::program::Program;

/// How many names of what was not exercised are printed for one of [`MANY`].
const NAMES: usize = 24;

/// Counts what is in a pack, and what of it was in the code of programs that ran. Things have names by axis, so that what is
/// missing can be told.
#[derive(Clone, Debug)]
pub struct Coverage {
    pack: Arc<Pack>,
    /// What there is, in the order in which it is printed.
    all: Vec<(&'static str, BTreeSet<String>)>,
    seen: BTreeMap<&'static str, BTreeSet<String>>,
    /// The rows of the stencil table that were noted.
    rows: BTreeSet<u32>,
    /// The alternative that a row of the stencil table belongs to, by its first row.
    alternatives: BTreeMap<u32, Alternative>,
    programs: u64,
}

/// One choice of ranges of a form.
#[derive(Clone, Debug)]
struct Alternative {
    op: String,
    form: String,
    /// The form with its ranges.
    ranges: String,
    /// Values that are constants or immediates: which, least, greatest.
    borders: Vec<(usize, i64, i64)>,
    /// Registers of each record.
    records: Vec<String>,
}

const OPERATIONS: &str = "operations";
const FORMS: &str = "forms";
const RANGES: &str = "ranges of values";
const BORDERS: &str = "borders of ranges";
const REGISTERS: &str = "registers by place";
const RECORDS: &str = "register assignments";
const KINDS: &str = "patch kinds";
const SOURCES: &str = "sources of holes";

/// Axes of which there are too many things to print all that are missing.
const MANY: [&str; 4] = [FORMS, RANGES, BORDERS, RECORDS];

impl Coverage {
    /// Nothing was exercised yet.
    ///
    /// # Errors
    /// None for a pack that was opened, see [`Pack::view`].
    pub fn new(pack: &Arc<Pack>) -> copatch::Result<Self> {
        let view = pack.view()?;
        let metadata = pack.metadata();
        let names = [
            OPERATIONS, FORMS, RANGES, BORDERS, REGISTERS, RECORDS, KINDS, SOURCES,
        ];
        let mut coverage = Self {
            pack: Arc::clone(pack),
            all: Vec::new(),
            seen: names.iter().map(|name| (*name, BTreeSet::new())).collect(),
            rows: BTreeSet::new(),
            alternatives: BTreeMap::new(),
            programs: 0,
        };
        for row in view.forms {
            let Some(op) = metadata.ops.get(usize::from(row.op.get())) else {
                continue;
            };
            let all = forms(op, &metadata.machine);
            let Some(form) = all.iter().find(|form| form.key().0 == row.key.get()) else {
                continue;
            };
            let name = format!("{} {}", op.name, form.name());
            let records = records(metadata, op, form);
            let values = form.values(op);
            let first = row.first.get() as usize;
            for alternative in &view.alternatives[first..first + usize::from(row.count.get())] {
                let domains = alternative.domains.get() as usize;
                let domains = &view.domains[domains..domains + values.len()];
                let ranges = domains.iter().map(|row| format!("{}..={}", row.lo, row.hi));
                let ranges = ranges.collect::<Vec<_>>().join(", ");
                let bordered = values.iter().zip(domains).enumerate();
                let bordered = bordered.filter(|(_, (value, _))| {
                    matches!(value, Value::Constant(..) | Value::Immediate(_))
                });
                let alternative_of = Alternative {
                    op: op.name.clone(),
                    form: name.clone(),
                    ranges: format!("{name} [{ranges}]"),
                    borders: bordered
                        .map(|(index, (_, row))| (index, row.lo.get(), row.hi.get()))
                        .collect(),
                    records: records.clone(),
                };
                let first = alternative.stencils.get();
                coverage.alternatives.insert(first, alternative_of);
            }
        }
        // What there is is what would be seen if every stencil was emitted with every border.
        let mut all = coverage.clone();
        for (first, alternative) in &coverage.alternatives {
            for record in 0..alternative.records.len() {
                all.stencil(first + record as u32);
            }
            all.borders(*first, |_, _| true);
        }
        coverage.all = names
            .iter()
            .map(|name| (*name, all.seen.remove(name).unwrap_or_default()))
            .collect();
        Ok(coverage)
    }

    /// Counts what the code of a program consists of, with a plan and without.
    ///
    /// # Errors
    /// Where the program cannot be compiled.
    pub fn add(&mut self, program: &Program) -> copatch::Result<()> {
        self.programs += 1;
        // Every program is entered through it; listings begin after it.
        let mut entry = self.alternatives.iter();
        let entry = entry.find(|(_, found)| found.op == "core.entry");
        if let Some(first) = entry.map(|(first, _)| *first) {
            self.stencil(first);
        }
        for planned in [true, false] {
            let pack = Arc::clone(&self.pack);
            let code = Compiled { pack, planned }.compile(program, true)?;
            // Bytes between stencils have no row.
            let stencils = code.listing().unwrap_or_default().iter();
            for emitted in stencils.filter(|emitted| emitted.stencil != u32::MAX) {
                self.stencil(emitted.stencil);
                self.borders(emitted.stencil, |value, border| {
                    emitted.values.get(value) == Some(&border)
                });
            }
        }
        Ok(())
    }

    /// Notes a row of the stencil table and everything that it stands for.
    fn stencil(&mut self, row: u32) {
        if !self.rows.insert(row) {
            return;
        }
        let Some((first, found)) = self.alternatives.range(..=row).next_back() else {
            return;
        };
        let Some(record) = found.records.get((row - first) as usize) else {
            return;
        };
        let mut notes = vec![
            (OPERATIONS, found.op.clone()),
            (FORMS, found.form.clone()),
            (RANGES, found.ranges.clone()),
            (RECORDS, format!("{} {record}", found.form)),
        ];
        notes.extend(
            record
                .split_whitespace()
                .map(|place| (REGISTERS, place.to_owned())),
        );
        let Ok(view) = self.pack.view() else { return };
        let list = view.stencils.get(row as usize).map(|row| row.holes.get());
        let list = list.and_then(|list| view.hole_lists.get(usize::from(list)));
        let (first, count) = list.map_or((0, 0), |list| (list.first.get(), list.count.get()));
        for hole in view.holes.iter().skip(first as usize).take(count.into()) {
            let kind = self.pack.metadata().kinds.get(usize::from(hole.kind));
            let kind = kind.map_or(String::new(), |kind| {
                let relative = if kind.pc_relative { ", relative" } else { "" };
                format!(
                    "{} ({} bytes, {}..={}{relative})",
                    hole.kind, kind.window, kind.lo, kind.hi
                )
            });
            notes.push((KINDS, kind));
            let source = match Source::decode(hole.source) {
                Some(Source::Value(_)) => "value",
                Some(Source::Target(_)) => "target",
                Some(Source::Table) => "table",
                Some(Source::Pool) => "constant pool",
                Some(Source::Trap(_)) => "trap",
                None => "unknown",
            };
            notes.push((SOURCES, source.to_owned()));
        }
        for (axis, name) in notes {
            self.seen.entry(axis).or_default().insert(name);
        }
    }

    /// Notes the borders of a stencil's ranges that a value is at.
    fn borders(&mut self, row: u32, is: impl Fn(usize, i64) -> bool) {
        let Some((_, found)) = self.alternatives.range(..=row).next_back() else {
            return;
        };
        for (value, lo, hi) in &found.borders {
            for border in [*lo, *hi] {
                if is(*value, border) {
                    let name = format!("{} value {value} = {border}", found.form);
                    self.seen.entry(BORDERS).or_default().insert(name);
                }
            }
        }
    }

    /// Of an axis, how much was exercised, how much there is, and what was not.
    pub fn axes(&self) -> impl Iterator<Item = (&'static str, usize, usize, Vec<&str>)> {
        self.all.iter().map(|(axis, all)| {
            let seen = &self.seen[axis];
            let missing = all.difference(seen).map(String::as_str).collect();
            (*axis, seen.len(), all.len(), missing)
        })
    }
}

/// The registers of each record, by place: `0=rdi >r15`.
fn records(metadata: &Metadata, op: &copatch_spec::Operation, form: &Form) -> Vec<String> {
    let register = |ty, number: usize| {
        let class = metadata.machine.class_of(ty)?;
        metadata.machine.classes[class]
            .1
            .registers
            .get(number)
            .cloned()
    };
    let mut places = Vec::new();
    for (index, (place, ty)) in form.operands.iter().zip(&op.operands).enumerate() {
        if *place == Place::Register {
            places.push((format!("{index}="), *ty));
        }
    }
    if let (Some(Place::Register), Some(ty)) = (form.result, op.result)
        && !form.tied(op)
    {
        places.push((">".to_owned(), ty));
    }
    let radices = form.radices(op, &metadata.machine);
    assignments(&radices)
        .map(|registers| {
            let named = places.iter().zip(registers);
            let named = named.map(|((place, ty), number)| {
                let name = register(*ty, number).unwrap_or_default();
                format!("{place}{name}")
            });
            named.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exercised by {} programs:", self.programs)?;
        for (axis, seen, all, missing) in self.axes() {
            writeln!(f, "  {axis:22} {seen:>6} of {all:>6}")?;
            let most = if MANY.contains(&axis) { NAMES } else { all };
            for name in missing.iter().take(most) {
                writeln!(f, "      not {name}")?;
            }
            if missing.len() > most {
                writeln!(f, "      and {} more", missing.len() - most)?;
            }
        }
        Ok(())
    }
}
