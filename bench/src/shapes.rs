//! Generation as functions grow: nanoseconds an operation in functions of the same shape and different sizes.

#[path = "../../plugins/wasm/tests/common/shapes.rs"]
mod made;

use std::fmt;

use copatch_wasm::Engine;
use serde::Serialize;

use crate::contender::{Result, compile};
use crate::measure::median;

/// Operations of a function. A module has as many functions as make the largest.
const SIZES: [usize; 3] = [100, 10_000, 100_000];

/// What was measured of one shape.
#[derive(Serialize)]
pub struct Row {
    shape: &'static str,
    /// Nanoseconds an operation for each size, median.
    ns: [f64; SIZES.len()],
}

/// All shapes.
#[derive(Serialize)]
pub struct Shapes {
    /// Operations of a function, in the order of the figures.
    sizes: [usize; SIZES.len()],
    rows: Vec<Row>,
}

/// Measures all shapes.
///
/// # Errors
/// Where one does not compile.
pub fn measure(engine: &Engine, rounds: u32) -> Result<Shapes> {
    let row = |shape: &made::Shape| {
        let modules = SIZES.map(|size| shape.module(size, SIZES[SIZES.len() - 1] / size));
        let mut times = SIZES.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((bytes, operations), times) in modules.iter().zip(&mut times) {
                let time = compile(engine, bytes)?;
                times.push(time.as_secs_f64() * 1e9 / *operations as f64);
            }
        }
        Ok(Row {
            shape: shape.name,
            ns: times.map(|times| median(&times)),
        })
    };
    Ok(Shapes {
        sizes: SIZES,
        rows: made::Shape::ALL.iter().map(row).collect::<Result<_>>()?,
    })
}

impl fmt::Display for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Functions of different sizes: nanoseconds of processor time an operation, median\n"
        )?;
        write!(f, "{:42}", "operations of a function")?;
        for size in self.sizes {
            write!(f, " {size:>10}")?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "{:42}", row.shape)?;
            for ns in row.ns {
                write!(f, " {ns:>10.1}")?;
            }
            writeln!(f)?;
        }
        writeln!(f)
    }
}
