//! What was measured, as tables or as JSON.

use std::fmt;

use serde::Serialize;

use crate::contender::Contender;
use crate::llc::Generation;
use crate::measure::{Measured, geometric_mean};
use crate::shapes::Shapes;
use crate::translated::Translated;

/// Everything of one run.
#[derive(Serialize)]
pub struct Report {
    /// The processor's name.
    processor: String,
    /// The core that all ran on.
    core: usize,
    /// Contenders, in the order of all lists; ratios are to the first.
    contenders: Vec<&'static str>,
    /// Times in `_start`.
    pub kernels: Vec<Measured>,
    /// Times of whole-module compilation, validation included.
    pub modules: Vec<Measured>,
    /// Generation of whole modules beside LLVM's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub translated: Vec<Translated>,
    /// Generation of the kernels beside LLVM's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// Generation as functions grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shapes: Option<Shapes>,
}

impl Report {
    /// A report without figures yet.
    pub fn new(core: usize, contenders: &[Box<dyn Contender>]) -> Self {
        let contenders = contenders
            .iter()
            .map(|contender| contender.name())
            .collect();
        Self {
            processor: processor(),
            core,
            contenders,
            kernels: Vec::new(),
            modules: Vec::new(),
            translated: Vec::new(),
            generation: None,
            shapes: None,
        }
    }

    /// Each contender with the geometric mean of its kernels' times as multiples of the first contender's.
    pub fn means(&self) -> Vec<(&'static str, f64)> {
        let ratios = |index: usize| {
            let rows = self.kernels.iter().map(Measured::medians);
            geometric_mean(rows.map(move |medians| medians[index] / medians[0]))
        };
        let names = self.contenders.iter().copied().enumerate();
        names.map(|(index, name)| (name, ratios(index))).collect()
    }

    /// A table: milliseconds of each contender, then how many times as long as the first each of the others took.
    fn table(&self, f: &mut fmt::Formatter<'_>, title: &str, rows: &[Measured]) -> fmt::Result {
        let Some((first, others)) = self.contenders.split_first() else {
            return Ok(());
        };
        let width = rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0)
            .max(14);
        writeln!(f, "{title}\n")?;
        write!(f, "{:width$}", "")?;
        for name in &self.contenders {
            write!(f, " {:>10}", format!("{name} ms"))?;
        }
        for name in others {
            write!(f, " {:>10}", format!("{name} ×"))?;
        }
        writeln!(f)?;
        let mut ratios = vec![Vec::new(); others.len()];
        for row in rows {
            let medians = row.medians();
            write!(f, "{:width$}", row.name)?;
            for seconds in &medians {
                write!(f, " {:>10}", number(seconds * 1e3, 1))?;
            }
            let base = medians.first().copied().unwrap_or(f64::NAN);
            for (seconds, ratios) in medians.iter().skip(1).zip(&mut ratios) {
                write!(f, " {:>10}", number(seconds / base, 2))?;
                ratios.push(seconds / base);
            }
            writeln!(f)?;
        }
        if rows.len() > 1 {
            write!(
                f,
                "{:1$}",
                "geometric mean",
                width + 11 * self.contenders.len()
            )?;
            for ratios in ratios {
                write!(f, " {:>10}", number(geometric_mean(ratios.into_iter()), 2))?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "\n× is how many times as long as {first} it took: above 1, {first} is faster.\n"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, core {}\n", self.processor, self.core)?;
        if !self.kernels.is_empty() {
            self.table(
                f,
                "Kernels: processor time in _start, median",
                &self.kernels,
            )?;
        }
        if !self.modules.is_empty() {
            self.table(
                f,
                "Whole-module compilation, validation included: processor time, median",
                &self.modules,
            )?;
            for module in &self.modules {
                writeln!(f, "{}: {:.1} MB", module.name, module.bytes as f64 / 1e6)?;
            }
            writeln!(f)?;
        }
        for generation in &self.translated {
            write!(f, "{generation}")?;
        }
        if let Some(generation) = &self.generation {
            write!(f, "{generation}")?;
        }
        if let Some(shapes) = &self.shapes {
            write!(f, "{shapes}")?;
        }
        Ok(())
    }
}

/// A number with so many decimals; a dash for what was not measured.
fn number(value: f64, decimals: usize) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else {
        format!("{value:.decimals$}")
    }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}
