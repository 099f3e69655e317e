//! `build`: one target after the other, each into its file. One that fails does not keep the others from being built.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;

use copatch_packer::error::BuildError;
use copatch_packer::files;
use copatch_packer::pipeline::{self, Request};
use copatch_packer::report::Report;
use copatch_packer::targets::{TargetName, known};
use serde_json::{Value, json};

use super::output::{Outcome, complain, fault, say};
use super::settings::Settings;

/// Jobs that run at a time. Each has a thread, which looks for work all the time: thousands of them stop a machine.
const JOBS: RangeInclusive<usize> = 1..=512;

/// What came of a target.
type Row = (TargetName, Result<Report, BuildError>);

/// `build`: one report a target; of several targets a table on standard error, too, and the highest of their exit codes.
pub(crate) fn build(settings: Settings, keep_going: bool) -> Result<Outcome, BuildError> {
    let missing = |what: &str| {
        BuildError::Usage(format!(
            "no {what} is named; give --{what}, or {what} in packer.toml"
        ))
    };
    let mut targets = targets_of(&settings);
    let isa = settings.isa.clone().ok_or_else(|| missing("isa"))?;
    let last = targets.pop().ok_or_else(|| missing("target"))?;
    // What is wrong with it is said once, not once a target.
    pipeline::instruction_set(&isa)?;
    if let Some(jobs) = settings.jobs
        && !JOBS.contains(&jobs)
    {
        let (least, most) = JOBS.into_inner();
        return Err(BuildError::Usage(format!(
            "{jobs} jobs at a time; there can be {least} to {most}"
        )));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        // For 0, as many as there are processors.
        .num_threads(settings.jobs.unwrap_or(0))
        .build()
        .map_err(|error| BuildError::Spec(error.to_string()))?;
    let one = |target: &TargetName| {
        let request = Request {
            isa: isa.clone(),
            target: target.clone(),
            target_file: settings.target_file.clone(),
            clang: settings.clang.clone(),
            launcher: settings.launcher.clone(),
        };
        pool.install(|| pack(&request, settings.out.as_deref(), keep_going))
    };
    if targets.is_empty() {
        return outcome(&[(last.clone(), Ok(one(&last)?))]);
    }
    targets.push(last);
    let mut rows: Vec<Row> = Vec::new();
    for target in targets {
        let result = one(&target);
        if let Err(error) = &result {
            complain(&format_args!("{target}: {error}"));
        }
        rows.push((target, result));
    }
    let outcome = outcome(&rows)?;
    say(&table(&rows));
    Ok(outcome)
}

/// Builds a pack and writes it.
fn pack(request: &Request, out: Option<&Path>, keep_going: bool) -> Result<Report, BuildError> {
    let (name, bytes, mut report) = pipeline::build(request)?;
    if !report.failures.is_empty() && !keep_going {
        return Err(BuildError::Refused(report.failures));
    }
    let folder = out.map_or_else(|| Path::new("packs").join(&report.isa), Path::to_owned);
    let path = folder.join(name);
    files::replace(&path, &bytes).map_err(|source| BuildError::Io {
        path: path.clone(),
        source,
    })?;
    report.file = path.display().to_string();
    Ok(report)
}

/// The reports, what was refused in packs that were written all the same, and the targets that failed.
fn outcome(rows: &[Row]) -> Result<Outcome, BuildError> {
    let built: Vec<&Report> = rows
        .iter()
        .filter_map(|(_, row)| row.as_ref().ok())
        .collect();
    let text: String = built.iter().map(|report| format!("{report}\n")).collect();
    let mut outcome = Outcome::new(text, &built)?;
    let refused: Vec<_> = built
        .iter()
        .flat_map(|report| report.failures.iter().cloned())
        .collect();
    if !refused.is_empty() {
        let error = BuildError::Refused(refused);
        complain(&error);
        outcome.code = error.exit_code();
        outcome.error = Some(fault(&error));
    }
    let mut failed: Vec<Value> = Vec::new();
    for (target, row) in rows {
        if let Err(error) = row {
            let mut fault = fault(error);
            fault["triple"] = json!(target.triple);
            fault["features"] = json!(target.features);
            failed.push(fault);
            outcome.code = outcome.code.max(error.exit_code());
        }
    }
    if !failed.is_empty() {
        let message = format!("{} of {} targets failed", failed.len(), rows.len());
        outcome.error =
            Some(json!({ "code": outcome.code, "message": message, "targets": failed }));
    }
    Ok(outcome)
}

/// A line for each target: figures, or the first line of what is wrong.
fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|(target, _)| target.triple.len()).max();
    let width = width.unwrap_or(0);
    let mut text = format!(
        "{:width$}  {:10}  {:>9}  {:>9}  {:>7}\n",
        "target", "features", "bytes", "functions", "seconds"
    );
    for (target, row) in rows {
        let features = match target.features.as_str() {
            "" => "baseline",
            features => features,
        };
        let _ = write!(text, "{:width$}  {features:10}  ", target.triple);
        let _ = match row {
            Ok(report) => write!(
                text,
                "{:9}  {:9}  {:7.1}",
                report.bytes, report.functions, report.seconds
            ),
            Err(error) => {
                let error = error.to_string();
                write!(text, "failed: {}", error.lines().next().unwrap_or_default())
            }
        };
        if let Ok(report) = row
            && !report.failures.is_empty()
        {
            let _ = write!(text, "  {} forms refused", report.failures.len());
        }
        text.push('\n');
    }
    text
}

/// The targets that settings name; `all` stands for all that are known.
fn targets_of(settings: &Settings) -> Vec<TargetName> {
    let mut targets = Vec::new();
    for text in &settings.target {
        if text == "all" {
            targets.extend(known().into_iter().map(|target| target.name));
            continue;
        }
        let mut target = TargetName::parse(text);
        if target.features.is_empty() {
            target.features = settings.features.clone().unwrap_or_default();
        }
        targets.push(target);
    }
    targets
}
