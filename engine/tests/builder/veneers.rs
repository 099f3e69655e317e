//! Calls that do not reach the functions they call go through veneers.

use super::*;

const FUNCTIONS: u32 = 40;

/// Each function calls the next with one less until that is zero, and adds its own number; the last goes on with the first, by a
/// tail call. In parts of the unit, if so many functions each are given.
fn circle(pack: &Arc<Pack>, reach: Option<usize>, part: Option<u32>) -> Program {
    let sig = signature(&[I64], &[I64]);
    let mut unit = Unit::new(pack, 1 << 20).expect("memory").with_trace();
    if let Some(reach) = reach {
        unit = unit.with_call_reach(reach);
    }
    let function = |b: &mut FunctionBuilder<'_, '_>, index: u32| {
        b.begin(index, &sig, &[], &Plan::default());
        b.get(0);
        b.op(pack.op("i64.nez").expect("an operation"));
        b.op(pack.op("i32.eqz").expect("an operation"));
        b.if_(&[], &[]);
        b.constant(I64, 1000);
        b.br(1);
        b.end();
        b.get(0);
        b.constant(I64, 1);
        b.op(pack.op("i64.sub").expect("an operation"));
        if index + 1 == FUNCTIONS {
            b.tail_call(0, &sig);
        } else {
            // Both back and forth, and the same function more than once.
            for callee in [index / 2, index + 1] {
                b.set(0);
                b.get(0);
                b.constant(I64, 0);
                b.call(callee, &sig);
                b.drop_top();
            }
            b.call(index + 1, &sig);
            b.constant(I64, u64::from(index));
            b.op(pack.op("i64.add").expect("an operation"));
        }
        b.end();
        b.finish().expect("the function");
    };
    match part {
        None => {
            let mut builder = FunctionBuilder::new(&mut unit);
            (0..FUNCTIONS).for_each(|index| function(&mut builder, index));
        }
        Some(count) => {
            let mut part = unit.parts().part().expect("memory");
            for first in (0..FUNCTIONS).step_by(count as usize) {
                let mut builder = part.builder();
                let end = FUNCTIONS.min(first + count);
                (first..end).for_each(|index| function(&mut builder, index));
                drop(builder);
                unit.join(&mut part).expect("there is room");
            }
        }
    }
    let mut builder = FunctionBuilder::new(&mut unit);
    builder.entry_wrapper(FUNCTIONS, 0, &sig);
    builder.finish().expect("the wrapper");
    drop(builder);
    unit.finish().expect("the program")
}

/// Jumps beside the one that a function ends with.
fn veneers(pack: &Pack, program: &Program) -> usize {
    let jump = pack.op("core.tail_call").expect("an operation").index() as u16;
    let listing = program.listing().expect("a listing");
    listing.iter().filter(|it| it.op == jump).count() - 1
}

#[test]
fn they_are_there_as_far_as_they_are_needed_and_change_no_result() {
    let pack = pack();
    // Three times around.
    let turns = 3 * u64::from(FUNCTIONS);
    let sum = |turns: u64| {
        1000 + (0..turns)
            .map(|turn| turn % u64::from(FUNCTIONS))
            .sum::<u64>()
    };
    let expected = sum(turns) - 3 * u64::from(FUNCTIONS - 1);
    let check = |program: &Program, what: &str| {
        let result = enter(program, FUNCTIONS, &[turns]).expect("no trap")[0];
        assert_eq!(result, expected, "{what}");
    };
    let without = circle(&pack, None, None);
    assert_eq!(veneers(&pack, &without), 0);
    check(&without, "no veneers");
    let size = without.range().len();
    for (reach, least) in [
        // Every call needs one: each function is called by itself or the one before, and by those twice as far.
        (0, FUNCTIONS as usize),
        (size / 8, 1),
        (size / 2, 1),
    ] {
        let with = circle(&pack, Some(reach), None);
        let count = veneers(&pack, &with);
        assert!(count >= least, "reach {reach}: {count} veneers");
        check(&with, &format!("reach {reach}"));
        for part in [1, 3] {
            let what = format!("reach {reach}, parts of {part}");
            check(&circle(&pack, Some(reach), Some(part)), &what);
        }
    }
    assert_eq!(veneers(&pack, &circle(&pack, Some(16 * size), None)), 0);
}

/// More code than a call of some machines reaches across, aarch64 among them.
#[test]
fn calls_reach_across_more_code_than_their_instructions_do() {
    const MEBIBYTES: usize = 140;
    /// A function of these is less than the mebibyte that one may have on aarch64.
    const FACTORS: u32 = 40_000;
    const FACTOR: u64 = 0x0123_4567_89ab_cdef;
    let pack = pack();
    let sig = signature(&[I64], &[I64]);
    let op = |name: &str| pack.op(name).expect("an operation");
    let (mul, add) = (op("i64.mul"), op("i64.add"));
    let mut unit = Unit::new(&pack, 200 << 20).expect("memory");
    let mut last = 1;
    while unit.len() < MEBIBYTES << 20 {
        let begin = unit.len();
        let mut builder = FunctionBuilder::new(&mut unit);
        builder.begin(last, &sig, &[], &Plan::default());
        builder.get(0);
        for _ in 0..FACTORS {
            builder.constant(I64, FACTOR);
            builder.op(mul);
        }
        builder.call(0, &sig);
        builder.end();
        builder.finish().expect("the function");
        drop(builder);
        assert!(unit.len() > begin);
        last += 1;
    }
    let mut builder = FunctionBuilder::new(&mut unit);
    // Calls the first of them, far behind, from here, and is called from there, far before.
    builder.begin(0, &sig, &[], &Plan::default());
    builder.get(0);
    builder.constant(I64, 5);
    builder.op(add);
    builder.end();
    builder.finish().expect("the function");
    builder.begin(last, &sig, &[], &Plan::default());
    builder.get(0);
    builder.call(1, &sig);
    builder.end();
    builder.finish().expect("the function");
    builder.entry_wrapper(last + 1, last, &sig);
    builder.finish().expect("the wrapper");
    drop(builder);
    let program = unit.finish().expect("the program");
    for value in [1, u64::MAX] {
        let product = FACTOR.wrapping_pow(FACTORS).wrapping_mul(value);
        let expected = product.wrapping_add(5);
        assert_eq!(
            enter(&program, last + 1, &[value]).expect("no trap")[0],
            expected
        );
    }
}
