//! Rounds: outputs are compared before anything is timed, contenders take turns, and the median counts.

use std::time::Duration;

use serde::Serialize;

use crate::contender::{Contender, Result};
use crate::kernels::Kernel;
use crate::module::Module;

/// A contender that has had this many seconds of a kernel or a module sits out the rounds that remain.
const ENOUGH: f64 = 5.0;

/// What was measured of one kernel or one module.
#[derive(Serialize)]
pub struct Measured {
    /// The kernel's or the module's name.
    pub name: String,
    /// Bytes of the module.
    pub bytes: usize,
    /// Seconds in each round, by contender in the report's order.
    pub seconds: Vec<Vec<f64>>,
}

impl Measured {
    /// The median of each contender, in seconds.
    pub fn medians(&self) -> Vec<f64> {
        self.seconds.iter().map(|seconds| median(seconds)).collect()
    }
}

/// The middle value, or the mean of the two in the middle; not a number for none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (
        sorted.get(sorted.len().wrapping_sub(1) / 2),
        sorted.get(sorted.len() / 2),
    ) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

/// The geometric mean; not a number for none.
pub fn geometric_mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    (values.map(f64::ln).sum::<f64>() / count).exp()
}

/// Loads a kernel into every contender and runs it once.
///
/// # Errors
/// Where one fails, or prints anything but what the kernel must.
pub fn check(kernel: &Kernel, contenders: &mut [Box<dyn Contender>]) -> Result<()> {
    for contender in contenders {
        let name = contender.name();
        let fault = |what: String| format!("{}: {name}: {what}", kernel.name);
        contender
            .load(kernel)
            .map_err(|error| fault(error.to_string()))?;
        let output = contender
            .run()
            .map_err(|error| fault(error.to_string()))?
            .output;
        if output != kernel.output {
            let (expected, printed) = (
                String::from_utf8_lossy(&kernel.output),
                String::from_utf8_lossy(&output),
            );
            return Err(fault(format!("expected\n{expected}but it printed\n{printed}")).into());
        }
    }
    Ok(())
}

/// Measures one kernel.
pub fn kernel(
    kernel: &Kernel,
    contenders: &mut [Box<dyn Contender>],
    rounds: u32,
) -> Result<Measured> {
    check(kernel, contenders)?;
    let seconds = take_turns(contenders, rounds, |contender| {
        Ok(Some(contender.run()?.time))
    })?;
    Ok(Measured {
        name: kernel.name.clone(),
        bytes: kernel.module.len(),
        seconds,
    })
}

/// Measures the compilation of one module.
pub fn module(
    module: &Module,
    contenders: &mut [Box<dyn Contender>],
    rounds: u32,
) -> Result<Measured> {
    let seconds = take_turns(contenders, rounds, |contender| {
        contender.compile(&module.bytes)
    })?;
    Ok(Measured {
        name: module.name.clone(),
        bytes: module.bytes.len(),
        seconds,
    })
}

/// Seconds by contender and round. A neighbour on the machine that slows down a while slows down everyone.
fn take_turns(
    contenders: &mut [Box<dyn Contender>],
    rounds: u32,
    mut turn: impl FnMut(&mut dyn Contender) -> Result<Option<Duration>>,
) -> Result<Vec<Vec<f64>>> {
    let mut seconds = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (contender, seconds) in contenders.iter_mut().zip(&mut seconds) {
            if seconds.iter().sum::<f64>() < ENOUGH {
                let time = turn(contender.as_mut())
                    .map_err(|error| format!("{}: {error}", contender.name()))?;
                seconds.extend(time.map(|time| time.as_secs_f64()));
            }
        }
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_means() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert!((geometric_mean([1.0, 4.0].into_iter()) - 2.0).abs() < 1e-12);
    }
}
