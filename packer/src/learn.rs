//! From compiled samples to stencils with holes: learns where a form's values lie in its code, checks that on every
//! register assignment, and says for which values it holds.

use copatch_spec::isa::{Operation, Shape};
use copatch_spec::pack::Domain;
use copatch_spec::patch::{Field, PatchKind, Source};
use copatch_spec::target::Target;

use crate::cfg::Trimmed;
use crate::object_file::pool_constant;
use crate::plan::{AlternativePlan, FormPlan, GENERIC, Job, Range, Record};
use crate::probe::{self, Located, Sample, Windows};
use crate::prove::{Comparison, ProveError, Subject, inspect};
use crate::refusal::Refusal;
use crate::stencil::{Relocation, hole};

/// What fills a hole; like [`Source`], but constants do not have their place in the pool yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filler {
    /// Something the engine knows.
    Source(Source),
    /// The address of these bytes.
    Constant(Vec<u8>),
}

/// A hole that is understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hole {
    /// First byte of its window.
    pub offset: usize,
    /// How it is patched.
    pub kind: PatchKind,
    /// What with.
    pub filler: Filler,
    /// Added to the value first.
    pub addend: i64,
}

/// A stencil with its holes; the bits under them are zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stencil {
    /// Its bytes.
    pub code: Vec<u8>,
    /// Ascending by offset.
    pub holes: Vec<Hole>,
}

/// An alternative as it goes into the pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// One a value.
    pub domains: Vec<Domain>,
    /// One a register assignment, in index order.
    pub stencils: Vec<Stencil>,
}

/// Why an alternative is not in the pack.
#[derive(Clone, Debug)]
pub enum Dropped {
    /// Its code is not accepted.
    Refused(Box<Refusal>),
    /// Clang encodes its values in no uniform way; the text says where it differs.
    NotUniform(String),
    /// It could not be proven, since nothing could be executed.
    Unproven(String),
}

/// Whether a patched template that differs from what clang wrote does the same all the same.
pub type Judge<'a> = &'a (dyn Fn(&Comparison<'_>) -> Result<bool, ProveError> + Sync);

/// One register assignment's template.
struct Template {
    code: Vec<u8>,
    /// The number of the value and its field, ascending by offset.
    fields: Vec<(usize, Located)>,
    /// What the linker would fill in.
    relocations: Vec<Relocation>,
}

/// Learns one alternative of a form.
///
/// # Errors
/// Why it cannot be had; that is no failure as long as the engine has other forms to take.
pub fn learn(
    op: &Operation,
    form: &FormPlan,
    alternative: &AlternativePlan,
    jobs: &[Job],
    codes: &[Result<Trimmed, Refusal>],
    target: &Target,
    judge: Judge<'_>,
) -> Result<Learnt, Dropped> {
    let code = |job: usize| {
        codes[job]
            .as_ref()
            .map_err(|refusal| Dropped::Refused(Box::new(refusal.clone())))
    };
    let subject = |job: usize| Subject {
        name: &op.name,
        op,
        form: &form.form,
        registers: &jobs[job].registers,
    };
    let mut exceptions: Vec<Vec<i64>> = vec![Vec::new(); form.values.len()];
    let mut templates: Vec<Option<Template>> = Vec::new();
    for record in &alternative.records {
        let Record::Compiled {
            generic,
            like,
            probes,
        } = record
        else {
            templates.push(None);
            continue;
        };
        let base = code(*generic)?;
        inspect(&subject(*generic), base, target).map_err(Dropped::Refused)?;
        if alternative.is_fixed() || op.shape == Shape::Asm {
            templates.push(Some(Template {
                code: base.code.clone(),
                fields: Vec::new(),
                relocations: base.holes.clone(),
            }));
            continue;
        }
        let generics = (*generic..*generic + GENERIC)
            .map(|job| Ok((jobs[job].values.as_slice(), code(job)?)))
            .collect::<Result<Vec<_>, Dropped>>()?;
        let template = if *like == templates.len() {
            let template = fit(base, &jobs[*generic].values, probes, codes, target)?;
            agrees(&template, &generics).map_err(Dropped::NotUniform)?;
            for (value, samples) in probes.iter().enumerate() {
                for (constant, job) in samples {
                    let patched = Trimmed {
                        code: patch(&template, &jobs[*job].values),
                        holes: template.relocations.clone(),
                    };
                    let own = codes[*job].as_ref().ok();
                    if own == Some(&patched) {
                        continue;
                    }
                    let same = match own {
                        Some(own) => judge(&Comparison {
                            op,
                            form: &form.form,
                            registers: &jobs[*job].registers,
                            values: &jobs[*job].values,
                            own,
                            patched: &patched,
                        })
                        .map_err(|error| Dropped::Unproven(error.to_string()))?,
                        None => false,
                    };
                    if same {
                        continue;
                    }
                    // A generic constant stands for others that were not tried.
                    if !probe::is_special(*constant) {
                        let what = format!("value {value}: the template fails for {constant:#x}");
                        return Err(Dropped::NotUniform(what));
                    }
                    exceptions[value].push(*constant);
                }
            }
            template
        } else {
            let known = templates
                .get(*like)
                .and_then(Option::as_ref)
                .ok_or_else(|| Dropped::NotUniform("nothing was learnt (our bug)".to_owned()))?;
            locate(&known.fields, &generics).map_err(|what| {
                let registers = &jobs[*generic].registers;
                Dropped::NotUniform(format!("registers {registers:?}: {what}"))
            })?
        };
        templates.push(Some(template));
    }
    let domains = domains(alternative, &templates, exceptions)?;
    let mut stencils: Vec<Stencil> = Vec::new();
    for (record, template) in alternative.records.iter().zip(&templates) {
        let stencil = match (record, template) {
            (Record::Same(other), _) => stencils.get(*other).cloned(),
            (_, Some(template)) => Some(finish(op, template).map_err(|what| {
                let Record::Compiled { generic, .. } = record else {
                    return Dropped::NotUniform(what);
                };
                Dropped::NotUniform(format!("{what} (registers {:?})", jobs[*generic].registers))
            })?),
            _ => None,
        };
        stencils.extend(stencil);
    }
    Ok(Learnt { domains, stencils })
}

/// Learns the fields of all values on one register assignment.
fn fit(
    base: &Trimmed,
    generic: &[i64],
    probes: &[Vec<(i64, usize)>],
    codes: &[Result<Trimmed, Refusal>],
    target: &Target,
) -> Result<Template, Dropped> {
    let windows = match target.arch.as_str() {
        "x86_64" => Windows::Bytes,
        _ => Windows::Words,
    };
    let mut fields = Vec::new();
    for (value, jobs) in probes.iter().enumerate() {
        if jobs.is_empty() {
            // The only value of its range.
            continue;
        }
        let mut samples = vec![Sample {
            value: generic[value],
            code: base.code.clone(),
        }];
        for (constant, job) in jobs {
            if let Ok(trimmed) = &codes[*job] {
                samples.push(Sample {
                    value: *constant,
                    code: trimmed.code.clone(),
                });
            }
        }
        let template = probe::fit_in(&samples, windows)
            .map_err(|error| Dropped::NotUniform(format!("value {value}: {error}")))?;
        fields.extend(template.fields.into_iter().map(|field| (value, field)));
    }
    fields.sort_by_key(|(_, field)| field.offset);
    let mut code = base.code.clone();
    for (_, field) in &fields {
        write(&mut code, field, |_| 0)
            .ok_or_else(|| Dropped::NotUniform("a field lies outside the code".to_owned()))?;
    }
    Ok(Template {
        code,
        fields,
        relocations: base.holes.clone(),
    })
}

/// Whether the template gives the code of every generic sample.
fn agrees(template: &Template, generics: &[(&[i64], &Trimmed)]) -> Result<(), String> {
    for (values, sample) in generics {
        if patch(template, values) != sample.code || template.relocations != sample.holes {
            return Err(format!(
                "the code for {values:x?} is not that of the template"
            ));
        }
    }
    Ok(())
}

/// Finds known fields, in the same order, in the code of other registers, where offsets may differ.
fn locate(known: &[(usize, Located)], generics: &[(&[i64], &Trimmed)]) -> Result<Template, String> {
    let [(_, base), ..] = generics else {
        return Err("no samples (our bug)".to_owned());
    };
    let mut code = base.code.clone();
    let mut fields = Vec::new();
    let mut from = 0;
    for (value, field) in known {
        let kind = &field.kind;
        let fits = |offset: &usize| {
            generics.iter().all(|(values, sample)| {
                read(&sample.code, *offset, kind.window).is_some_and(|window| {
                    kind.fields
                        .iter()
                        .all(|field| bits(window, field) == field.encode(values[*value]))
                })
            })
        };
        let offset = (from..base.code.len())
            .find(fits)
            .ok_or_else(|| format!("the field of value {value} is not in the code"))?;
        let located = Located {
            offset,
            kind: kind.clone(),
        };
        write(&mut code, &located, |_| 0).ok_or("a field lies outside the code")?;
        from = offset + usize::from(kind.window);
        fields.push((*value, located));
    }
    let template = Template {
        code,
        fields,
        relocations: base.holes.clone(),
    };
    agrees(&template, generics)?;
    Ok(template)
}

/// The code with these values.
fn patch(template: &Template, values: &[i64]) -> Vec<u8> {
    let mut code = template.code.clone();
    for (value, located) in &template.fields {
        // The fields were found within this code.
        let _ = write(&mut code, located, |field| field.encode(values[*value]));
    }
    code
}

fn read(code: &[u8], offset: usize, window: u8) -> Option<u64> {
    let mut bytes = [0; 8];
    let from = code.get(offset..offset + usize::from(window))?;
    bytes.get_mut(..from.len())?.copy_from_slice(from);
    Some(u64::from_le_bytes(bytes))
}

fn mask(field: &Field) -> u64 {
    match field.end - field.start {
        64.. => u64::MAX,
        width => ((1 << width) - 1) << field.start,
    }
}

fn bits(window: u64, field: &Field) -> u64 {
    (window & mask(field)) >> field.start
}

fn write(code: &mut [u8], located: &Located, encode: impl Fn(&Field) -> u64) -> Option<()> {
    let window = located.kind.window;
    let mut word = read(code, located.offset, window)?;
    for field in &located.kind.fields {
        word = word & !mask(field) | encode(field) << field.start;
    }
    code.get_mut(located.offset..located.offset + usize::from(window))?
        .copy_from_slice(&word.to_le_bytes()[..usize::from(window)]);
    Some(())
}

/// What is left of the ranges after what the fields can hold and the exceptions.
fn domains(
    alternative: &AlternativePlan,
    templates: &[Option<Template>],
    exceptions: Vec<Vec<i64>>,
) -> Result<Vec<Domain>, Dropped> {
    let mut domains = Vec::new();
    for (value, (range, mut exceptions)) in alternative.ranges.iter().zip(exceptions).enumerate() {
        let Range {
            mut lo,
            mut hi,
            mut align,
        } = *range;
        for template in templates.iter().flatten() {
            let fields = template.fields.iter().filter(|(of, _)| *of == value);
            let named = format!("{}{value}", hole::VALUE);
            let relocated = template
                .relocations
                .iter()
                .filter(|relocation| relocation.symbol == named)
                .map(Relocation::kind);
            for kind in fields.map(|(_, field)| field.kind.clone()).chain(relocated) {
                lo = lo.max(kind.lo);
                hi = hi.min(kind.hi);
                align = align.max(kind.align);
            }
        }
        if lo > hi {
            let what = format!("value {value} has an empty domain");
            return Err(Dropped::NotUniform(what));
        }
        exceptions.sort_unstable();
        exceptions.dedup();
        exceptions.retain(|value| (lo..=hi).contains(value));
        domains.push(Domain {
            lo,
            hi,
            align,
            exceptions,
        });
    }
    Ok(domains)
}

/// Turns fields and relocations into holes.
fn finish(op: &Operation, template: &Template) -> Result<Stencil, String> {
    let mut holes = Vec::new();
    for (value, located) in &template.fields {
        holes.push(Hole {
            offset: located.offset,
            kind: located.kind.clone(),
            filler: Filler::Source(Source::Value(*value as u8)),
            addend: 0,
        });
    }
    for relocation in &template.relocations {
        holes.push(Hole {
            offset: relocation.offset,
            kind: relocation.kind(),
            filler: filler(op, &relocation.symbol)
                .ok_or_else(|| format!("it refers to {}, which is no hole", relocation.symbol))?,
            addend: relocation.addend,
        });
    }
    holes.sort_by_key(|hole| hole.offset);
    let mut end = 0;
    for hole in &holes {
        if hole.offset < end {
            return Err(format!("two holes overlap at {:#x}", hole.offset));
        }
        end = hole.offset + usize::from(hole.kind.window);
    }
    Ok(Stencil {
        code: template.code.clone(),
        holes,
    })
}

fn filler(op: &Operation, symbol: &str) -> Option<Filler> {
    if let Some(constant) = pool_constant(symbol) {
        return Some(Filler::Constant(constant));
    }
    let number = |prefix: &str| symbol.strip_prefix(prefix)?.parse::<u8>().ok();
    let source = if symbol == hole::TABLE {
        Source::Table
    } else if let Some(number) = number(hole::TRAP) {
        Source::Trap(*op.traps.get(usize::from(number))?)
    } else if let Some(number) = number(hole::VALUE) {
        Source::Value(number)
    } else {
        Source::Target(number(hole::TARGET)?)
    };
    Some(Filler::Source(source))
}
