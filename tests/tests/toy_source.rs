//! Random toy programs, from text to output: compiled code and interpreter agree, and both forms of a program are it.

mod common;

use copatch_conformance::cases;
use copatch_toy::{Executable, RunError, Stop, decode, encode, interpret, parse, print};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// Operations of the interpreter for one program.
const STEPS: u64 = 300_000;

/// Runs a program both ways and compares how it ends and what it printed until then.
fn compare(text: &str) {
    let program = parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(decode(&encode(&program)).as_ref(), Ok(&program));
    assert_eq!(parse(&print(&program)).as_ref(), Ok(&program));
    let main = program.function("main").unwrap();
    let mut expected = Vec::new();
    let interpreted = match interpret(&program, main, &[], &mut expected, STEPS) {
        Ok(_) => None,
        Err(Stop::Trap(trap)) => Some(trap.name()),
        // Compiled code has no budget.
        Err(Stop::Steps) => return,
        Err(Stop::Usage) => panic!("main is not called as it should be"),
    };
    let pack = common::toy_pack();
    let mut found = Vec::new();
    let compiled = match Executable::new(&program, &pack)
        .unwrap()
        .run(main, &[], &mut found)
    {
        Ok(_) => None,
        Err(RunError::Trap(trap)) => Some(pack.trap_name(trap.kind)),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(compiled, interpreted);
    assert_eq!(
        String::from_utf8_lossy(&found),
        String::from_utf8_lossy(&expected)
    );
}

#[test]
fn random_programs_agree() {
    if !copatch::jit_available() {
        return;
    }
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    };
    let (mut ended, mut budget) = (0, 0);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let programs = prop::collection::vec(any::<u64>(), 0..400);
    let verdict = runner.run(&programs, |numbers| {
        let text = common::source::generate(&numbers);
        // A panic is a failure that proptest shrinks.
        compare(&text);
        Ok(())
    });
    if let Err(proptest::test_runner::TestError::Fail(reason, numbers)) = verdict {
        panic!("{reason}\n{}", common::source::generate(&numbers));
    }
    // The generator is worth something only if most programs end.
    let mut rng = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..50 {
        let numbers = prop::strategy::ValueTree::current(&programs.new_tree(&mut rng).unwrap());
        let text = common::source::generate(&numbers);
        let program = parse(&text).unwrap();
        let main = program.function("main").unwrap();
        match interpret(&program, main, &[], &mut std::io::sink(), STEPS) {
            Err(Stop::Steps) => budget += 1,
            _ => ended += 1,
        }
    }
    assert!(
        ended > 4 * budget,
        "{ended} programs ended, {budget} did not"
    );
}
