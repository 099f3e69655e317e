//! Makes a program smaller as long as it stays valid and interesting: what is left of a finding fits on a screen.

use copatch::ValueType;
use copatch_spec::pack::Metadata;

use crate::program::{Program, Step};
use crate::valid::check;

/// Tries, over and over, to leave out runs of steps, constructs around steps, and to put a constant in the place of an
/// expression; keeps what is still `interesting`.
pub fn shrink(
    mut program: Program,
    metadata: &Metadata,
    mut interesting: impl FnMut(&Program) -> bool,
) -> Program {
    loop {
        let before = program.clone();
        for function in 0..program.functions.len() {
            for length in [64, 32, 16, 8, 4, 3, 2, 1] {
                let mut at = 0;
                while at < program.functions[function].body.len() {
                    let smaller = candidates(&program, function, at, length)
                        .into_iter()
                        .find(|next| check(next, metadata).is_ok() && interesting(next));
                    match smaller {
                        Some(smaller) => program = smaller,
                        None => at += 1,
                    }
                }
            }
        }
        if program == before {
            return program;
        }
    }
}

/// The program without the `length` steps at `at`, and with a constant in their place.
fn candidates(program: &Program, function: usize, at: usize, length: usize) -> Vec<Program> {
    let body = &program.functions[function].body;
    let with = |replacement: &[Step]| {
        let mut smaller = program.clone();
        let steps = &mut smaller.functions[function].body;
        steps.splice(
            at..(at + length).min(steps.len()),
            replacement.iter().cloned(),
        );
        smaller
    };
    let mut found = vec![with(&[])];
    if length > 1 {
        found.extend(ValueType::ALL.map(|ty| with(&[Step::Constant(ty, 0)])));
    } else if let Some(end) = end(body, at) {
        // Only the frame of a construct goes; what is in it stays.
        let mut smaller = with(&[]);
        smaller.functions[function].body.remove(end - 1);
        found.push(smaller);
    }
    found
}

/// The `End` of the construct that begins at `at`.
fn end(body: &[Step], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, step) in body.iter().enumerate().skip(at) {
        match step {
            Step::Block(..) | Step::Loop(..) | Step::If(..) => depth += 1,
            Step::End => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (index > at).then_some(index);
        }
    }
    None
}
