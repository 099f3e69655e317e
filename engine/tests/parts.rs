//! Parts of a unit, joined: however functions are spread over parts, the program is the one that is made of them in order.

use std::sync::Arc;

use copatch::{Error, FunctionBuilder, Pack, Plan, Program, Signature, Unit, ValueType};

const FUNCTIONS: u32 = 5;
const ROOM: usize = 1 << 20;

fn pack() -> Arc<Pack> {
    Pack::for_host(copatch_pack_toy::packs()).expect("a toy pack for this machine")
}

fn signature() -> Signature {
    Signature {
        params: vec![ValueType::I64, ValueType::F64, ValueType::I32],
        results: vec![ValueType::I64],
    }
}

/// A function with all that code refers to elsewhere: a table of targets, traps, a constant of the pool (which clang makes
/// of a float's sign), and calls of the functions on both sides. No two are of the same length, and the builder has to
/// choose.
fn function(builder: &mut FunctionBuilder<'_, '_>, pack: &Pack, index: u32) {
    let op = |name| pack.op(name).expect("an operation");
    let signature = signature();
    builder.at(100 * index);
    builder.begin(index, &signature, &[], &Plan::default());
    builder.block(&[], &[]);
    builder.block(&[], &[]);
    builder.get(2);
    builder.br_table(&[0, 1, 0], 1);
    builder.end();
    for at in 0..=index {
        builder.at(100 * index + at + 1);
        builder.get(0);
        builder.get(0);
        builder.op(op("i64.div_s"));
        builder.set(0);
    }
    builder.end();
    for callee in [(index + 1) % FUNCTIONS, (index + FUNCTIONS - 1) % FUNCTIONS] {
        builder.get(0);
        builder.get(1);
        builder.op(op("f64.neg"));
        builder.get(2);
        builder.call(callee, &signature);
        builder.set(0);
    }
    // More operands than registers, so that some are vacated in turn.
    for at in 0..20 + u64::from(index) {
        builder.get(0);
        builder.constant(ValueType::I64, at);
        builder.op(op("i64.add"));
    }
    for _ in 0..19 + index {
        builder.op(op("i64.add"));
    }
    builder.end();
    builder.finish().expect("the function");
}

fn unit(pack: &Arc<Pack>) -> Unit<'_> {
    Unit::new(pack, ROOM).expect("memory").with_trace()
}

fn in_order(pack: &Arc<Pack>) -> Program {
    let mut unit = unit(pack);
    let mut builder = FunctionBuilder::new(&mut unit);
    for index in 0..FUNCTIONS {
        function(&mut builder, pack, index);
    }
    drop(builder);
    unit.finish().expect("the program")
}

fn assert_same(one: &Program, other: &Program, what: &str) {
    assert!(one.code() == other.code(), "{what}: code differs");
    let entry = |program: &Program, index| Some(program.entry(index)? - program.range().start);
    for index in 0..=FUNCTIONS {
        assert_eq!(entry(one, index), entry(other, index), "{what}");
    }
    let sites =
        |program: &Program| -> Vec<_> { program.range().map(|pc| program.site(pc)).collect() };
    assert!(sites(one) == sites(other), "{what}: trap sites differ");
    // Without the values, of which there may be more than a stencil uses; code is made of the others.
    let listing = |program: &Program| -> Vec<_> {
        let emitted = program.listing().unwrap_or_default().iter();
        emitted
            .map(|it| (it.offset, it.stencil, it.op, it.key, it.function))
            .collect()
    };
    assert!(listing(one) == listing(other), "{what}: listings differ");
}

#[test]
fn parts_make_the_same_program_as_one_unit() {
    let pack = pack();
    let expected = in_order(&pack);
    let sites = expected.range().filter_map(|pc| expected.site(pc)).count();
    assert!(sites > 0 && expected.listing().is_some_and(|all| !all.is_empty()));
    // Each bit says whether another part begins behind that function; the last, whether the first is the unit itself.
    for cuts in 0..1u32 << FUNCTIONS {
        let mut unit = unit(&pack);
        let mut first = 0;
        while first < FUNCTIONS {
            let mut last = first;
            while last + 1 < FUNCTIONS && cuts >> last & 1 == 0 {
                last += 1;
            }
            if first == 0 && cuts >> (FUNCTIONS - 1) & 1 == 1 {
                let mut builder = FunctionBuilder::new(&mut unit);
                (first..=last).for_each(|index| function(&mut builder, &pack, index));
            } else {
                let mut part = unit.parts().part().expect("memory");
                let mut builder = part.builder();
                (first..=last).for_each(|index| function(&mut builder, &pack, index));
                drop(builder);
                unit.join(&mut part).expect("there is room");
            }
            first = last + 1;
        }
        let program = unit.finish().expect("the program");
        assert_same(&program, &expected, &format!("cuts {cuts:b}"));
    }
}

#[test]
fn a_part_is_filled_on_another_thread_and_again() {
    let pack = pack();
    let expected = in_order(&pack);
    let mut unit = unit(&pack);
    let mut part = unit.parts().part().expect("memory");
    for index in 0..FUNCTIONS {
        std::thread::scope(|scope| {
            scope.spawn(|| function(&mut part.builder(), &pack, index));
        });
        unit.join(&mut part).expect("there is room");
    }
    let program = unit.finish().expect("the program");
    assert_same(&program, &expected, "one part");
}

#[test]
fn a_part_that_does_not_fit_is_refused_and_kept() {
    let pack = pack();
    let mut large = unit(&pack);
    let mut part = large.parts().part().expect("memory");
    (0..FUNCTIONS).for_each(|index| function(&mut part.builder(), &pack, index));
    // A unit has at least a page.
    let mut small = Unit::new(&pack, 1).expect("memory").with_trace();
    let mut filler = large.parts().part().expect("memory");
    let error = loop {
        (0..FUNCTIONS).for_each(|index| function(&mut filler.builder(), &pack, index));
        if let Err(error) = small.join(&mut filler) {
            break error;
        }
        assert!(small.len() < ROOM, "the unit grows without end");
    };
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    assert!(matches!(small.join(&mut part), Err(Error::Limit { .. })));
    large.join(&mut part).expect("there is room");
    assert_same(
        &large.finish().expect("the program"),
        &in_order(&pack),
        "kept",
    );
}

#[test]
fn misuse_is_an_error() {
    let pack = pack();
    let mut without = unit(&pack);
    let mut with = unit(&pack).with_landing_pads();
    let mut part = without.parts().part().expect("memory");
    assert!(matches!(with.join(&mut part), Err(Error::Misuse { .. })));

    let mut builder = part.builder();
    builder.begin(0, &signature(), &[], &Plan::default());
    drop(builder);
    without.join(&mut part).expect("there is room");
    assert!(matches!(without.finish(), Err(Error::Misuse { .. })));

    let mut unit = unit(&pack);
    let mut part = unit.parts().part().expect("memory");
    function(&mut part.builder(), &pack, 0);
    unit.join(&mut part).expect("there is room");
    // The functions that it calls are nowhere.
    assert!(matches!(unit.finish(), Err(Error::Internal { .. })));
}
