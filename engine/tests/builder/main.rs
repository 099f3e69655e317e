//! The function builder on the toy pack: each test writes a small function, runs it and compares with plain Rust.
#![allow(unsafe_code, reason = "runs generated code")]

mod exits;
mod interrupted;
mod landing;
mod tail;
mod veneers;

use std::sync::Arc;

use copatch::{
    Context, FunctionBuilder, Pack, Plan, Planner, Program, Signature, Stack, Trap, Unit,
    ValueType, call,
};

const I32: ValueType = ValueType::I32;
const I64: ValueType = ValueType::I64;
const F64: ValueType = ValueType::F64;

/// The toy pack, or nothing where it has none for this machine.
fn pack() -> Arc<Pack> {
    Pack::for_host(copatch_pack_toy::packs()).expect("a toy pack for this machine")
}

fn signature(params: &[ValueType], results: &[ValueType]) -> Signature {
    Signature {
        params: params.to_vec(),
        results: results.to_vec(),
    }
}

/// Compiles one function and its wrapper.
fn compile(
    pack: &Arc<Pack>,
    sig: &Signature,
    locals: &[ValueType],
    plan: &Plan,
    body: impl FnOnce(&mut FunctionBuilder<'_, '_>),
) -> Program {
    let mut unit = Unit::new(pack, 1 << 20).expect("memory");
    let mut builder = FunctionBuilder::new(&mut unit);
    builder.begin(0, sig, locals, plan);
    body(&mut builder);
    builder.end();
    builder.finish().expect("the function");
    builder.entry_wrapper(1, 0, sig);
    builder.finish().expect("the wrapper");
    unit.finish().expect("the program")
}

fn run(program: &Program, args: &[u64]) -> Vec<u64> {
    enter(program, 1, args).expect("no trap")
}

/// Calls the wrapper of that number.
fn enter(program: &Program, wrapper: u32, args: &[u64]) -> Result<Vec<u64>, Trap> {
    let stack = Stack::new(1 << 20).expect("a stack");
    let mut context = Context::new(stack.limit(), std::ptr::null());
    let mut slots = vec![0u64; 32];
    slots[..args.len()].copy_from_slice(args);
    let entry = program.entry(wrapper).expect("the wrapper");
    // SAFETY: the wrapper reads and writes its first slots; the stack's memory begins at its base and is 8-aligned.
    unsafe {
        std::ptr::copy_nonoverlapping(slots.as_ptr(), stack.base(), slots.len());
        call(
            program,
            entry,
            &mut context,
            stack.base(),
            std::ptr::null_mut(),
        )?;
        std::ptr::copy_nonoverlapping(stack.base(), slots.as_mut_ptr(), slots.len());
    }
    Ok(slots)
}

#[test]
fn adds_its_parameters() {
    let pack = pack();
    let add = pack.op("i64.add").expect("an operation");
    let program = compile(
        &pack,
        &signature(&[I64, I64], &[I64]),
        &[],
        &Plan::default(),
        |b| {
            b.get(0);
            b.get(1);
            b.op(add);
        },
    );
    assert_eq!(run(&program, &[40, 2])[0], 42);
    assert_eq!(run(&program, &[u64::MAX, 2])[0], 1);
}

/// Wherever the left operand is, an operation with a constant is the constant and then the operation.
#[test]
fn operations_take_constants_as_if_pushed() {
    let pack = pack();
    let ops = ["add", "sub", "mul", "and", "shl", "lt_s", "eq"]
        .map(|name| pack.op(&format!("i64.{name}")).expect("an operation"));
    let code = |take: &dyn Fn(&mut FunctionBuilder<'_, '_>, copatch::OpId, u64)| {
        let mut all = Vec::new();
        for op in ops {
            for value in [0, 1, -1, 127, -128, 128, 1 << 31, i64::MAX, i64::MIN] {
                let value = value as u64;
                let sig = signature(&[I64], &[I64]);
                let program = compile(&pack, &sig, &[I64], &Plan::default(), |b| {
                    // In a register of its own, in a variable's, not emitted yet, a constant, in its slot.
                    b.get(0);
                    take(b, ops[0], value);
                    take(b, op, value);
                    b.set(1);
                    b.get(1);
                    take(b, op, value);
                    b.drop_top();
                    b.constant(I64, 5);
                    take(b, op, value);
                    b.drop_top();
                    b.get(0);
                    b.get(0);
                    b.op(ops[0]);
                    b.block(&[], &[]);
                    b.end();
                    take(b, op, value);
                });
                all.push((op, value, program.code().to_vec(), run(&program, &[77])[0]));
            }
        }
        all
    };
    let pushed = code(&|b, op, value| {
        b.constant(I64, value);
        b.op(op);
    });
    assert_eq!(code(&|b, op, value| b.op_with(op, I64, value)), pushed);
}

#[test]
fn constants_fold_into_either_side() {
    let pack = pack();
    let (add, sub) = (pack.op("i64.add").unwrap(), pack.op("i64.sub").unwrap());
    for value in [
        0,
        1,
        -1,
        127,
        -128,
        128,
        1 << 31,
        -(1i64 << 31),
        i64::MAX,
        i64::MIN,
        0x1234_5678_9abc,
    ] {
        let program = compile(
            &pack,
            &signature(&[I64], &[I64]),
            &[],
            &Plan::default(),
            |b| {
                b.get(0);
                b.constant(I64, value as u64);
                b.op(add);
                b.constant(I64, value as u64);
                b.get(0);
                b.op(sub);
                b.op(add);
            },
        );
        assert_eq!(
            run(&program, &[77])[0] as i64,
            value.wrapping_add(77).wrapping_add(value.wrapping_sub(77))
        );
    }
}

/// sum = 0; i = 0; loop { sum += i; i += 1; if i < n continue } with the planner's help and without.
#[test]
fn a_loop_sums() {
    let pack = pack();
    let (add, lt) = (pack.op("i64.add").unwrap(), pack.op("i64.lt_s").unwrap());
    for planned in [false, true] {
        let mut planner = Planner::new();
        if planned {
            planner.begin(3);
            planner.loop_(1);
            planner.get(2, 1);
            planner.get(3, 2);
            planner.set(5, 1);
            planner.get(6, 2);
            planner.tee(9, 2);
            planner.get(10, 0);
            planner.end(13);
            planner.get(14, 1);
        }
        let program = compile(
            &pack,
            &signature(&[I64], &[I64]),
            &[I64, I64],
            planner.finish(),
            |b| {
                b.at(1);
                b.loop_(&[], &[]);
                b.at(2);
                b.get(1);
                b.at(3);
                b.get(2);
                b.op(add);
                b.at(5);
                b.set(1);
                b.at(6);
                b.get(2);
                b.constant(I64, 1);
                b.op(add);
                b.at(9);
                b.tee(2);
                b.at(10);
                b.get(0);
                b.op(lt);
                b.at(12);
                b.br_if(0);
                b.at(13);
                b.end();
                b.at(14);
                b.get(1);
            },
        );
        assert_eq!(run(&program, &[1000])[0], 499_500, "planned: {planned}");
    }
}

/// Naive Fibonacci: recursion, a value across a call, a conditional return.
#[test]
fn fib_recurses() {
    let pack = pack();
    let (add, sub, lt) = (
        pack.op("i64.add").unwrap(),
        pack.op("i64.sub").unwrap(),
        pack.op("i64.lt_s").unwrap(),
    );
    let sig = signature(&[I64], &[I64]);
    let program = compile(&pack, &sig.clone(), &[], &Plan::default(), |b| {
        b.get(0);
        b.constant(I64, 2);
        b.op(lt);
        b.if_(&[], &[I64]);
        b.get(0);
        b.else_();
        b.get(0);
        b.constant(I64, 1);
        b.op(sub);
        b.call(0, &sig);
        b.get(0);
        b.constant(I64, 2);
        b.op(sub);
        b.call(0, &sig);
        b.op(add);
        b.end();
    });
    assert_eq!(run(&program, &[25])[0], 75_025);
}

/// More values than registers, of both classes.
#[test]
fn many_operands_spill_and_come_back() {
    let pack = pack();
    let (add, fadd) = (pack.op("i64.add").unwrap(), pack.op("f64.add").unwrap());
    let program = compile(
        &pack,
        &signature(&[I64, F64], &[I64, F64]),
        &[],
        &Plan::default(),
        |b| {
            for index in 0..30u64 {
                b.get(0);
                b.constant(I64, index);
                b.op(add);
            }
            for _ in 0..29 {
                b.op(add);
            }
            for index in 0..30u32 {
                b.get(1);
                b.constant(F64, f64::from(index).to_bits());
                b.op(fadd);
            }
            for _ in 0..29 {
                b.op(fadd);
            }
        },
    );
    let out = run(&program, &[100, 0.5f64.to_bits()]);
    assert_eq!(out[0], 30 * 100 + 435);
    assert_eq!(f64::from_bits(out[1]), 30.0 * 0.5 + 435.0);
}

/// Ten parameters and seven results: some travel in registers, some in slots.
#[test]
fn many_parameters_and_results_keep_their_order() {
    let pack = pack();
    let params = [I64; 10];
    let results = [I64; 7];
    let program = compile(
        &pack,
        &signature(&params, &results),
        &[],
        &Plan::default(),
        |b| {
            for var in [9, 0, 8, 1, 7, 2, 6] {
                b.get(var);
            }
        },
    );
    let args: Vec<u64> = (100..110).collect();
    assert_eq!(
        run(&program, &args)[..7],
        [109, 100, 108, 101, 107, 102, 106]
    );
}

/// A branch table whose targets carry different work.
#[test]
fn a_table_branches_to_each_target_and_to_the_default() {
    let pack = pack();
    let program = compile(
        &pack,
        &signature(&[I32], &[I64]),
        &[I64],
        &Plan::default(),
        |b| {
            b.constant(I64, 7);
            b.set(1);
            b.block(&[], &[]);
            b.block(&[], &[]);
            b.block(&[], &[]);
            b.get(0);
            b.br_table(&[0, 1], 2);
            b.end();
            b.constant(I64, 10);
            b.return_();
            b.end();
            b.get(1);
            b.return_();
            b.end();
            b.constant(I64, 30);
        },
    );
    assert_eq!(
        [0, 1, 2, 3, 0xffff_ffff].map(|index| run(&program, &[index])[0]),
        [10, 7, 30, 30, 30]
    );
}

/// A function that runs out of registers, so that operands are vacated in turn.
fn crowded(builder: &mut FunctionBuilder<'_, '_>, pack: &Pack, index: u32, operands: u64) {
    let add = pack.op("i64.add").unwrap();
    builder.at(0);
    builder.begin(index, &signature(&[I64], &[I64]), &[], &Plan::default());
    for value in 0..operands {
        builder.get(0);
        builder.constant(I64, value);
        builder.op(add);
    }
    for _ in 1..operands {
        builder.op(add);
    }
    builder.end();
    builder.finish().expect("the function");
}

#[test]
fn code_does_not_depend_on_the_functions_before() {
    let pack = pack();
    let code = |before: &[u64]| {
        let mut unit = Unit::new(&pack, 1 << 20).expect("memory");
        let mut builder = FunctionBuilder::new(&mut unit);
        for (index, operands) in (1..).zip(before) {
            crowded(&mut builder, &pack, index, *operands);
        }
        crowded(&mut builder, &pack, 0, 20);
        drop(builder);
        let program = unit.finish().expect("the program");
        let begin = program.entry(0).expect("function 0") - program.range().start;
        program.code()[begin..].to_vec()
    };
    let alone = code(&[]);
    for before in 1..30 {
        assert!(code(&[before]) == alone, "behind {before} operands");
    }
}
