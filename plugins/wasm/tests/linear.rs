//! Generating code takes time in proportion to the size of a function, whatever its shape.

#[path = "common/shapes.rs"]
mod shapes;

use std::time::Duration;

use copatch_wasm::{Engine, Module};
use rustix::time::{ClockId, clock_gettime};
use shapes::Shape;

/// Operations of a function. A module has as many functions as make the largest, so that all take about as long.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// An operation of a large function may take this many times as long as one of a small function: caches account for two.
/// In quadratic time it would take 10 times as long at the next size.
const BOUND: f64 = 4.0;
/// Neighbours on the machine take caches, which makes things slower; and what a hypervisor took, systems subtract from whoever runs when they
/// are told, which has made things ten times as fast. So the median of the rounds counts, and there are more while it is too high.
const ROUNDS: usize = 60;

/// Processor time of this thread so far.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How many times as long an operation takes as in a smaller function, at worst.
fn growth(times: &[f64; SIZES.len()]) -> f64 {
    let mut worst = 1.0f64;
    for (at, small) in times.iter().enumerate() {
        for large in &times[at..] {
            worst = worst.max(large / small);
        }
    }
    worst
}

/// Nanoseconds an operation for each size, once they grow no more than the bound, or after all rounds.
fn measure(engine: &Engine, shape: &Shape) -> [f64; SIZES.len()] {
    let modules = SIZES.map(|size| shape.module(size, SIZES[SIZES.len() - 1] / size));
    let mut all = SIZES.map(|_| Vec::new());
    let mut medians = [0.0; SIZES.len()];
    for round in 0..ROUNDS {
        for ((bytes, operations), times) in modules.iter().zip(&mut all) {
            let begin = now();
            let module = Module::new(engine, bytes);
            let time = now() - begin;
            module.unwrap_or_else(|error| panic!("{}: {error}", shape.name));
            times.push(time.as_secs_f64() * 1e9 / *operations as f64);
            times.sort_by(f64::total_cmp);
        }
        medians = std::array::from_fn(|at| all[at][all[at].len() / 2]);
        if round > 1 && growth(&medians) <= BOUND {
            break;
        }
    }
    medians
}

#[test]
fn an_operation_takes_as_long_in_a_large_function_as_in_a_small_one() {
    let engine = Engine::default();
    for shape in Shape::ALL {
        let times = measure(&engine, &shape);
        println!("{:42} {times:6.1?} ns an operation", shape.name);
        let grown = growth(&times);
        assert!(grown <= BOUND, "{}: {times:?} ns an operation", shape.name);
    }
}
