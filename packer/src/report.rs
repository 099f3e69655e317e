//! What a build says of itself.

use std::fmt;

use serde::Serialize;

use crate::refusal::Refusal;

/// A build in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The instruction set.
    pub isa: String,
    /// The target triple.
    pub triple: String,
    /// The feature set; empty for the baseline.
    pub features: String,
    /// The file that was written.
    pub file: String,
    /// Operations.
    pub operations: usize,
    /// Forms in the pack.
    pub forms: usize,
    /// Alternatives in the pack.
    pub alternatives: usize,
    /// Records, those that share their code with another one included.
    pub records: usize,
    /// Functions that were compiled.
    pub functions: usize,
    /// Bytes of the pack.
    pub bytes: usize,
    /// Seconds that the build took.
    pub seconds: f64,
    /// Alternatives that are not in the pack.
    pub dropped: Vec<DroppedLine>,
    /// Forms that the engine cannot do without and that were not accepted, each with its cause.
    pub failures: Vec<Failure>,
    /// Why nothing was executed, if so; then every value for which clang writes something else is an exception.
    pub unproven: Option<String>,
    /// Values that no template may be patched with, over all alternatives.
    pub exceptions: usize,
}

/// A form that the engine cannot do without and that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The operation.
    pub op: String,
    /// Its form, as [`Form::name`](copatch_spec::Form::name) writes it.
    pub form: String,
    /// What is wrong.
    pub what: String,
    /// The stencil that was refused, with its disassembly and what to do; absent if no single one is to blame.
    pub stencil: Option<Refusal>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}, form {}: ", self.op, self.form)?;
        match &self.stencil {
            Some(refusal) => refusal.fmt(f),
            None => write!(
                f,
                "{}\n  help: write the body so that clang makes the same instructions of every constant, or leave \
                 the immediate out of the table",
                self.what
            ),
        }
    }
}

/// One alternative that is not in the pack.
#[derive(Clone, Debug, Serialize)]
pub struct DroppedLine {
    /// The operation.
    pub op: String,
    /// Its form, as [`Form::name`](copatch_spec::Form::name) writes it.
    pub form: String,
    /// The ranges of its values.
    pub ranges: String,
    /// Why.
    pub why: String,
    /// Whether nothing is left of the form.
    pub form_lost: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features = if self.features.is_empty() {
            "baseline"
        } else {
            &self.features
        };
        writeln!(
            f,
            "{}: {} for {} ({features})",
            self.file, self.isa, self.triple
        )?;
        writeln!(
            f,
            "  {} operations, {} forms, {} alternatives, {} records, {} exceptions",
            self.operations, self.forms, self.alternatives, self.records, self.exceptions
        )?;
        writeln!(
            f,
            "  {} bytes from {} functions in {:.1} s",
            self.bytes, self.functions, self.seconds
        )?;
        let lost: Vec<_> = self.dropped.iter().filter(|line| line.form_lost).collect();
        for line in &lost {
            writeln!(f, "  without {} {}: {}", line.op, line.form, line.why)?;
        }
        if let Some(why) = &self.unproven {
            writeln!(f, "  not proven by execution: {why}")?;
        }
        write!(
            f,
            "  {} ranges dropped, which other ranges of their forms replace",
            self.dropped.len() - lost.len()
        )
    }
}
