//! The whole build: plan, write C, compile, trim, learn, lay out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use copatch_spec::isa::{InstructionSet, Shape};
use copatch_spec::limits::CONSTANT_ALIGNMENT;
use copatch_spec::pack::tables::HoleRow;
use copatch_spec::pack::{
    AlternativeParts, FormParts, Metadata, PackWriter, StencilParts, validate,
};
use copatch_spec::patch::{PatchKind, Source};
use copatch_spec::target::Target;
use copatch_spec::types::Place;
use copatch_spec::variants::Value;
use rayon::prelude::*;

use crate::cfg::{self, Trimmed};
use crate::clang::{Clang, Unit};
use crate::error::BuildError;
use crate::evaluator;
use crate::learn::{self, Dropped, Filler, Learnt};
use crate::object_file;
use crate::plan::{self, FormPlan, Plan};
use crate::probe;
use crate::prove::{Comparison, ProveError, Prover};
use crate::refusal::Refusal;
use crate::report::{DroppedLine, Failure, Report};
use crate::source::{self, Variant};
use crate::targets::TargetName;

/// Functions of one translation unit: enough that clang's start and the prelude do not count (80 ms, and 1.6 ms a function),
/// few enough to keep all cores busy.
const UNIT_FUNCTIONS: usize = 1_000;

/// What to build.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of a built-in instruction set, or a folder with `ops.toml` and `ops.h`.
    pub isa: String,
    /// Target triple and feature set.
    pub target: TargetName,
    /// Changes to the target, if there are some; see [`Target::changed`].
    pub target_file: Option<PathBuf>,
    /// The compiler, if it is named.
    pub clang: Option<PathBuf>,
    /// What starts the compiler, if something does; see [`Clang::with_launcher`].
    pub launcher: Option<PathBuf>,
}

/// Builds a pack: its file name, its bytes and a report (whose `file` is the file name).
///
/// # Errors
/// See [`BuildError`]. Forms that the engine cannot do without and that were not accepted are in [`Report::failures`].
pub fn build(request: &Request) -> Result<(String, Vec<u8>, Report), BuildError> {
    let start = Instant::now();
    let isa = instruction_set(&request.isa)?;
    let name = &request.target;
    let (target, features) = name.resolve(request.target_file.as_deref())?;
    let clang = Clang::find(
        request.clang.as_deref(),
        &name.triple,
        &target,
        features.as_ref(),
    )?
    .with_launcher(request.launcher.clone());
    let plan = plan::plan(&isa, &target, probe::probe_values);
    let codes = compile(&isa, &target, &plan, &clang)?;
    let evaluators = evaluator::build(&isa, &clang)?;

    let prover = prover(&target, &clang)?;
    let judge = |comparison: &Comparison<'_>| match &prover {
        Ok(prover) => prover.same(comparison),
        // Nothing was shown.
        Err(_) => Ok(false),
    };
    let learnt: Vec<Vec<Result<Learnt, Dropped>>> = plan
        .forms
        .par_iter()
        .map(|form| {
            form.alternatives
                .iter()
                .map(|alternative| {
                    let op = &isa.ops[form.op];
                    learn::learn(op, form, alternative, &plan.jobs, &codes, &target, &judge)
                })
                .collect()
        })
        .collect();

    let mut layout = Layout::default();
    let mut forms = Vec::new();
    let (mut dropped, mut failures) = (Vec::new(), Vec::new());
    for (form, results) in plan.forms.iter().zip(learnt) {
        let kept = select(&isa, &target, form, results, &mut dropped, &mut failures);
        if kept.is_empty() {
            continue;
        }
        forms.push(FormParts {
            op: form.op as u16,
            key: form.form.key(),
            values: form.values.len() as u16,
            alternatives: kept
                .into_iter()
                .map(|learnt| layout.alternative(learnt))
                .collect::<Result<_, _>>()?,
        });
    }
    failures.extend(without_code(&isa, &forms, &failures));
    let mut report = Report {
        isa: isa.name.clone(),
        triple: name.triple.clone(),
        features: name.features.clone(),
        file: format!("{name}.pack"),
        operations: isa.ops.len(),
        forms: forms.len(),
        alternatives: forms.iter().map(|form| form.alternatives.len()).sum(),
        records: forms
            .iter()
            .flat_map(|form| &form.alternatives)
            .map(|alternative| alternative.stencils.len())
            .sum(),
        functions: plan.jobs.len(),
        bytes: 0,
        seconds: 0.0,
        dropped,
        failures,
        unproven: prover.as_ref().err().cloned(),
        exceptions: forms
            .iter()
            .flat_map(|form| &form.alternatives)
            .flat_map(|alternative| &alternative.domains)
            .map(|domain| domain.exceptions.len())
            .sum(),
    };
    let metadata = Metadata {
        isa: isa.name.clone(),
        isa_version: isa.version,
        isa_digest: isa.digest,
        triple: name.triple.clone(),
        features: name.features.clone(),
        cpu: features.map(|set| set.cpu).unwrap_or_default(),
        compiler: clang.version.clone(),
        flags: clang.flags.clone(),
        machine: target.machine(),
        traps: isa.traps,
        kinds: layout.kinds,
        ops: isa.ops,
    };
    let writer = PackWriter {
        forms,
        pool: layout.pool,
        evaluators,
    };
    let bytes = writer.write(&metadata)?;
    validate(&bytes)?;
    report.bytes = bytes.len();
    report.seconds = start.elapsed().as_secs_f64();
    Ok((report.file.clone(), bytes, report))
}

/// What executes stencils; where this machine cannot, why, for the report.
fn prover(target: &Target, clang: &Clang) -> Result<Result<Prover, String>, BuildError> {
    match Prover::new(target, clang.path()) {
        Ok(prover) => Ok(Ok(prover)),
        Err(
            error @ (ProveError::Architecture(_)
            | ProveError::Emulator(_)
            | ProveError::Processor(_)),
        ) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// The built-in instruction set of that name, or the one in that folder.
///
/// # Errors
/// If there is neither, or its table does not make sense.
pub fn instruction_set(name: &str) -> Result<InstructionSet, BuildError> {
    if let Some(isa) = InstructionSet::builtin(name) {
        return Ok(isa?);
    }
    let folder = Path::new(name);
    if !folder.is_dir() {
        let what = format!("{name}: neither a built-in instruction set nor a folder with one");
        return Err(BuildError::Spec(what));
    }
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).map_err(|source| BuildError::Io { path, source })
    };
    Ok(InstructionSet::parse(&read("ops.toml")?, &read("ops.h")?)?)
}

/// Compiles and trims every job; results in the order of jobs.
fn compile(
    isa: &InstructionSet,
    target: &Target,
    plan: &Plan,
    clang: &Clang,
) -> Result<Vec<Result<Trimmed, Refusal>>, BuildError> {
    let prelude = source::prelude(isa) + &source::bodies(isa, target);
    let mut units = Vec::new();
    let is_assembly = |job: &plan::Job| isa.ops[job.op].shape == Shape::Asm;
    let mut start = 0;
    while start < plan.jobs.len() {
        let assembly = is_assembly(&plan.jobs[start]);
        let count = plan.jobs[start..]
            .iter()
            .take(UNIT_FUNCTIONS)
            .take_while(|job| is_assembly(job) == assembly)
            .count();
        let mut text = if assembly {
            String::new()
        } else {
            prelude.clone()
        };
        for (index, job) in plan.jobs.iter().enumerate().skip(start).take(count) {
            let variant = Variant {
                op: &isa.ops[job.op],
                form: &plan.forms[job.form].form,
                registers: &job.registers,
                values: &job.values,
            };
            let name = job_name(isa, plan, index);
            if assembly {
                source::assembly(&mut text, &name, target, &variant)?;
            } else {
                source::function(&mut text, &name, target, &variant)?;
            }
        }
        units.push(Unit {
            name: format!("stencils_{start}.{}", if assembly { "s" } else { "c" }),
            text,
        });
        start += count;
    }
    let compiled = clang.compile(units, "stencils", |unit, object| {
        let stencils = object_file::read(&unit.name, object)?;
        let mut found = Vec::with_capacity(stencils.len());
        for raw in stencils {
            let Some(job) = job_of(&raw.name, plan) else {
                continue;
            };
            let trimmed = if is_assembly(&plan.jobs[job]) {
                // What the target's file says is taken as it is.
                Ok(Trimmed {
                    code: raw.code,
                    holes: raw.relocations,
                })
            } else {
                cfg::trim(&raw, target)
            };
            found.push((job, trimmed));
        }
        Ok::<_, BuildError>(found)
    })?;
    let mut codes: Vec<Option<Result<Trimmed, Refusal>>> = vec![None; plan.jobs.len()];
    for (job, code) in compiled.into_iter().flatten() {
        codes[job] = Some(code);
    }
    codes
        .into_iter()
        .enumerate()
        .map(|(job, code)| {
            code.ok_or_else(|| {
                let name = job_name(isa, plan, job);
                BuildError::Spec(format!("{name} is in no object file (our bug)"))
            })
        })
        .collect()
}

/// `stencil_i32_add_4711`: the prefix keeps clang from recognising functions of the C library.
fn job_name(isa: &InstructionSet, plan: &Plan, job: usize) -> String {
    format!("stencil_{}_{job}", isa.ops[plan.jobs[job].op].c_name())
}

fn job_of(name: &str, plan: &Plan) -> Option<usize> {
    let job = name.strip_prefix("stencil_")?.rsplit('_').next()?;
    job.parse().ok().filter(|job| *job < plan.jobs.len())
}

/// The alternatives of a form that go into the pack. It is a failure if none is left of a form with all operands in
/// registers, or in slots where their types have none, or none for one of its lanes: then the operation could not be had
/// at all.
fn select(
    isa: &InstructionSet,
    target: &Target,
    form: &FormPlan,
    results: Vec<Result<Learnt, Dropped>>,
    dropped: &mut Vec<DroppedLine>,
    failures: &mut Vec<Failure>,
) -> Vec<Learnt> {
    let op = &isa.ops[form.op];
    let mut kept: Vec<Learnt> = Vec::new();
    let mut refused = Vec::new();
    for (alternative, result) in form.alternatives.iter().zip(results) {
        match result {
            Ok(learnt) => {
                // A wider range with the same code makes a narrower one superfluous.
                kept.retain(|narrower| !serves(&learnt, narrower));
                kept.push(learnt);
            }
            Err(why) => refused.push((format!("{:?}", alternative.ranges), why)),
        }
    }
    let has_registers = |ty| target.class.values().any(|class| class.types.contains(ty));
    let mut operands = form.form.operands.iter().zip(&op.operands);
    let needed = operands.all(|(place, ty)| match place {
        Place::Register => true,
        Place::Slot => !has_registers(ty),
        Place::Immediate => false,
    });
    // Without a lane's code the operation could not be had for that lane.
    let lost = |(index, value): (usize, &Value)| {
        let Value::Immediate(number) = value else {
            return false;
        };
        let has = |lane: i64| kept.iter().any(|learnt| learnt.domains[index].lo == lane);
        op.immediates.get(*number).is_some_and(|ty| {
            let (lo, hi) = ty.range();
            ty.is_lane() && !(lo..=hi).all(has)
        })
    };
    let incomplete = kept.is_empty() || form.values.iter().enumerate().any(lost);
    if incomplete
        && needed
        && let Some((_, why)) = refused.last()
    {
        let (what, stencil) = match why {
            Dropped::Refused(refusal) => (&refusal.what, Some(refusal.as_ref().clone())),
            Dropped::NotUniform(what) | Dropped::Unproven(what) => (what, None),
        };
        failures.push(Failure {
            op: op.name.clone(),
            form: form.form.name(),
            what: what.clone(),
            stencil,
        });
    }
    for (ranges, why) in refused {
        dropped.push(DroppedLine {
            op: op.name.clone(),
            form: form.form.name(),
            ranges,
            why: match why {
                Dropped::Refused(refusal) => refusal.what,
                Dropped::NotUniform(what) | Dropped::Unproven(what) => what,
            },
            form_lost: kept.is_empty(),
        });
    }
    kept
}

/// Operations of which nothing is left, and of which that is not known yet.
fn without_code(isa: &InstructionSet, forms: &[FormParts], known: &[Failure]) -> Vec<Failure> {
    let lost = isa.ops.iter().enumerate().filter(|(number, op)| {
        forms.iter().all(|form| usize::from(form.op) != *number)
            && known.iter().all(|failure| failure.op != op.name)
    });
    lost.map(|(_, op)| Failure {
        op: op.name.clone(),
        form: "any".to_owned(),
        what: "nothing could be made of it".to_owned(),
        stencil: None,
    })
    .collect()
}

/// Whether `wide` has the same stencils as `narrow` and admits every value that it admits.
fn serves(wide: &Learnt, narrow: &Learnt) -> bool {
    wide.stencils.len() == narrow.stencils.len()
        && wide
            .domains
            .iter()
            .zip(&narrow.domains)
            .all(|(wide, narrow)| {
                wide.lo <= narrow.lo
                    && narrow.hi <= wide.hi
                    && wide.align <= narrow.align
                    && wide.exceptions.iter().all(|value| {
                        !(narrow.lo..=narrow.hi).contains(value)
                            || narrow.exceptions.contains(value)
                    })
            })
        && wide
            .stencils
            .iter()
            .zip(&narrow.stencils)
            .all(|(wide, narrow)| {
                let same = |(a, b): (&learn::Hole, &learn::Hole)| {
                    (a.offset, &a.kind.fields, &a.filler, a.addend)
                        == (b.offset, &b.kind.fields, &b.filler, b.addend)
                };
                wide.code == narrow.code
                    && wide.holes.len() == narrow.holes.len()
                    && wide.holes.iter().zip(&narrow.holes).all(same)
            })
}

/// Numbers for patch kinds and places for constants, handed out in the order in which stencils come.
#[derive(Default)]
struct Layout {
    kinds: Vec<PatchKind>,
    known_kinds: HashMap<PatchKind, u8>,
    pool: Vec<u8>,
    known_constants: HashMap<Vec<u8>, i64>,
}

impl Layout {
    fn alternative(&mut self, learnt: Learnt) -> Result<AlternativeParts, BuildError> {
        let mut stencils = Vec::with_capacity(learnt.stencils.len());
        for stencil in learnt.stencils {
            let mut holes = Vec::with_capacity(stencil.holes.len());
            for hole in stencil.holes {
                holes.push(self.hole(hole)?);
            }
            stencils.push(Some(StencilParts {
                code: stencil.code,
                holes,
            }));
        }
        Ok(AlternativeParts {
            domains: learnt.domains,
            stencils,
        })
    }

    fn hole(&mut self, hole: learn::Hole) -> Result<HoleRow, BuildError> {
        let too_large = |what: &str| BuildError::Spec(format!("{what} does not fit the format"));
        let (source, addend) = match hole.filler {
            Filler::Source(source) => (source, hole.addend),
            Filler::Constant(bytes) => (Source::Pool, self.constant(bytes) + hole.addend),
        };
        let kind = match self.known_kinds.get(&hole.kind) {
            Some(number) => *number,
            None => {
                let number = u8::try_from(self.kinds.len())
                    .map_err(|_| too_large("the number of patch kinds"))?;
                self.kinds.push(hole.kind.clone());
                self.known_kinds.insert(hole.kind, number);
                number
            }
        };
        Ok(HoleRow {
            offset: u16::try_from(hole.offset)
                .map_err(|_| too_large("an offset"))?
                .into(),
            kind,
            source: source.encode(),
            addend: i32::try_from(addend)
                .map_err(|_| too_large("an addend"))?
                .into(),
        })
    }

    fn constant(&mut self, bytes: Vec<u8>) -> i64 {
        let pool = &mut self.pool;
        *self
            .known_constants
            .entry(bytes)
            .or_insert_with_key(|bytes| {
                pool.resize(pool.len().next_multiple_of(CONSTANT_ALIGNMENT), 0);
                let at = pool.len() as i64;
                pool.extend_from_slice(bytes);
                at
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copatch_spec::pack::Domain;

    #[test]
    fn an_operation_without_code_is_a_failure() {
        const TABLE: &str = r#"
            name = "two"
            version = 1
            [op]
            "one" = { in = "i32", out = "i32" }
            "two" = { in = "i32", out = "i32" }
        "#;
        let isa = InstructionSet::parse(TABLE, "").unwrap();
        let parts = |op: usize| FormParts {
            op: op as u16,
            key: copatch_spec::FormKey::registers(),
            values: 0,
            alternatives: Vec::new(),
        };
        let mut forms: Vec<_> = (0..isa.ops.len()).map(parts).collect();
        assert!(without_code(&isa, &forms, &[]).is_empty());
        forms.remove(isa.op("two").unwrap());
        let failures = without_code(&isa, &forms, &[]);
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].op, "two");
        assert!(without_code(&isa, &forms, &failures).is_empty());
    }

    #[test]
    fn an_operation_that_lacks_a_lane_is_a_failure() {
        const TABLE: &str = r#"
            name = "lanes"
            version = 1
            [op]
            "lane" = { in = "v128", imm = "lane4", out = "i32" }
        "#;
        let isa = InstructionSet::parse(TABLE, "").unwrap();
        for arch in ["x86_64", "riscv64"] {
            let target = Target::builtin(arch).unwrap();
            let plan = plan::plan(&isa, &target, probe::probe_values);
            let form = plan.forms.last().unwrap();
            let learnt = |lane: i64| Learnt {
                // Slots are values, too.
                domains: form
                    .values
                    .iter()
                    .map(|_| Domain {
                        lo: lane,
                        hi: lane,
                        align: 0,
                        exceptions: Vec::new(),
                    })
                    .collect(),
                // Every lane has other code.
                stencils: vec![learn::Stencil {
                    code: vec![lane as u8],
                    holes: Vec::new(),
                }],
            };
            let failures = |refused: Option<i64>| {
                let results = (0..4).map(|lane| match refused {
                    Some(which) if which == lane => {
                        Err(Dropped::NotUniform("it spills".to_owned()))
                    }
                    _ => Ok(learnt(lane)),
                });
                let (mut dropped, mut failures) = (Vec::new(), Vec::new());
                let kept = select(
                    &isa,
                    &target,
                    form,
                    results.collect(),
                    &mut dropped,
                    &mut failures,
                );
                assert_eq!(kept.len(), 4 - dropped.len());
                failures
            };
            assert!(failures(None).is_empty());
            for lane in 0..4 {
                let failures = failures(Some(lane));
                assert_eq!(failures.len(), 1);
                assert_eq!(failures[0].what, "it spills");
            }
        }
    }
}
