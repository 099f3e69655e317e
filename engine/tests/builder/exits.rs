//! Exits: whatever variables were in, their slots hold them afterwards.

use copatch::{Planner, ValueType};

use super::{F64, I64, compile, pack, run, signature};

/// Variables: 0 the parameter, 1 a counter, 2 a sum of floats, 3 a constant, 4 the exit's number.
const LOCALS: [ValueType; 4] = [I64, F64, I64, I64];

/// Counts up to the parameter in a loop (which pins the counter and the sum) and leaves from there by exit 7; leaves by exit 9,
/// before anything else, for a parameter of 1000. Whoever leaves returns number, counter, sum and constant.
fn counting(plan: bool) -> copatch::Program {
    let pack = pack();
    let op = |name: &str| pack.op(name).expect("an operation");
    let (add, add_float, eq, convert) = (
        op("i64.add"),
        op("f64.add"),
        op("i64.eq"),
        op("f64.convert_i64_s"),
    );
    let sig = signature(&[I64], &[I64, I64, F64, I64]);
    let mut planner = Planner::new();
    if plan {
        planner.begin(5);
        planner.get(1, 0);
        (0..4).for_each(|var| planner.get(2, var));
        planner.set(3, 3);
        planner.loop_(4);
        (0..4).for_each(|var| planner.get(6, var));
        planner.get(7, 1);
        planner.get(7, 2);
        planner.set(7, 2);
        planner.get(8, 1);
        planner.set(8, 1);
        planner.end(10);
    }
    let plan = planner.finish();
    compile(&pack, &sig, &LOCALS, plan, |builder| {
        builder.at(1);
        builder.get(0);
        builder.constant(I64, 1000);
        builder.op(eq);
        builder.at(2);
        builder.exit_if(9);
        builder.at(3);
        builder.constant(I64, 77);
        builder.set(3);
        builder.at(4);
        builder.loop_(&[], &[]);
        builder.at(5);
        builder.get(1);
        builder.get(0);
        builder.op(eq);
        builder.at(6);
        builder.exit_if(7);
        builder.at(7);
        builder.get(2);
        builder.get(1);
        builder.op(convert);
        builder.op(add_float);
        builder.set(2);
        builder.at(8);
        builder.get(1);
        builder.constant(I64, 1);
        builder.op(add);
        builder.set(1);
        builder.at(9);
        builder.br(0);
        builder.at(10);
        builder.end();
        builder.at(11);
        assert!(builder.exits(4));
        for var in [4, 1, 2, 3] {
            builder.get(var);
        }
        builder.return_();
    })
}

#[test]
fn an_exit_finds_every_variable_in_its_slot() {
    for plan in [false, true] {
        let program = counting(plan);
        for count in [0u64, 1, 10, 999] {
            let sum: u64 = (0..count).sum();
            assert_eq!(
                run(&program, &[count])[..4],
                [7, count, (sum as f64).to_bits(), 77],
                "plan: {plan}"
            );
        }
        assert_eq!(run(&program, &[1000])[..4], [9, 0, 0, 0], "plan: {plan}");
    }
}

#[test]
fn an_exit_that_is_always_or_never_taken_needs_no_test() {
    let pack = pack();
    let sig = signature(&[I64], &[I64]);
    let program = compile(&pack, &sig, &[I64], &Default::default(), |builder| {
        builder.constant(ValueType::I32, 0);
        builder.exit_if(1);
        builder.constant(ValueType::I32, 1);
        builder.exit_if(2);
        assert!(!builder.reachable());
        assert!(builder.exits(1));
        builder.get(1);
        builder.return_();
    });
    assert_eq!(run(&program, &[5])[0], 2);
}

#[test]
fn a_function_without_exits_has_no_code_for_them() {
    let pack = pack();
    let sig = signature(&[I64], &[I64]);
    let program = compile(&pack, &sig, &[I64], &Default::default(), |builder| {
        builder.get(0);
        builder.return_();
        assert!(!builder.exits(1));
    });
    assert_eq!(run(&program, &[5])[0], 5);
}

/// Adds 1 four times, by way of variables whose values `forget` gives up at once if that is asked for; then may leave.
fn sum(forget: bool) -> copatch::Program {
    let pack = pack();
    let op = |name: &str| pack.op(name).expect("an operation");
    let sig = signature(&[I64], &[I64]);
    // For all that the plan knows, each variable is read to the end.
    let mut planner = Planner::new();
    planner.begin(6);
    (0..6).for_each(|var| planner.get(1, var));
    compile(&pack, &sig, &[I64; 5], planner.finish(), |builder| {
        builder.at(1);
        builder.get(0);
        for var in 1..5 {
            builder.constant(I64, 1);
            builder.op(op("i64.add"));
            builder.set(var);
            builder.get(var);
            if forget && var > 1 {
                // The second is an operand, so this does nothing.
                builder.forget(var - 1);
                builder.forget(var);
            }
        }
        builder.constant(I64, 1000);
        builder.op(op("i64.eq"));
        builder.exit_if(1);
        builder.get(4);
        builder.return_();
        assert!(builder.exits(5));
        builder.get(4);
        builder.get(5);
        builder.op(op("i64.add"));
        builder.return_();
    })
}

#[test]
fn a_forgotten_value_costs_no_store() {
    let (kept, forgotten) = (sum(false), sum(true));
    for program in [&kept, &forgotten] {
        assert_eq!(run(program, &[5])[0], 9);
        assert_eq!(run(program, &[996])[0], 1001);
    }
    assert!(
        forgotten.code().len() < kept.code().len(),
        "{} bytes, {} if nothing is forgotten",
        forgotten.code().len(),
        kept.code().len()
    );
}
