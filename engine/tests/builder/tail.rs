//! Tail calls: arguments from and to every place, chains that do not grow, and what is refused.

use super::*;

/// Turns of the chains below: what is left behind by each would use up the native stack or the frames' many times over.
const TURNS: u64 = 10_000_000;

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn types(&mut self, count: usize) -> Vec<ValueType> {
        (0..count)
            .map(|_| [I64, I64, I32, F64][self.below(4)])
            .collect()
    }
}

/// A plan that says: nothing is called, and every variable is read at position 1.
fn leaf(planner: &mut Planner, vars: usize) -> &Plan {
    planner.begin(vars);
    for var in 0..vars as u32 {
        planner.get(1, var);
    }
    planner.finish()
}

/// Function 0 passes its parameters, its variable and constants on to function 1 in any order, in registers, in slots and from
/// wherever they are at that moment; function 1 returns what it gets.
#[test]
fn arguments_arrive_from_every_place() {
    let pack = pack();
    let add = pack.op("i64.add").unwrap();
    let mut numbers = Numbers(1);
    let mut planner = Planner::new();
    let (mut leaves, mut passed) = (0, 0);
    for case in 0..3000 {
        let (count, given) = (numbers.below(14), numbers.below(28));
        let (params, types) = (numbers.types(count), numbers.types(given));
        let outer = signature(&params, &types);
        let inner = signature(&types, &types);
        let args: Vec<u64> = (0..count as u64).map(|index| 1000 + index).collect();
        // After so many arguments all that is in registers goes to slots.
        let settled = numbers.below(3 * given + 3);
        let is_leaf = settled > given;
        leaves += usize::from(is_leaf);
        let through_pointer = numbers.below(3) == 0;
        let mut expected = Vec::new();

        let mut unit = Unit::new(&pack, 1 << 20).expect("memory");
        let mut b = FunctionBuilder::new(&mut unit);
        // The variable behind the parameters takes the pointer; its place is used by arguments.
        let mut all = params.clone();
        all.push(I64);
        let empty = Plan::default();
        let plan = if is_leaf {
            leaf(&mut planner, all.len())
        } else {
            &empty
        };
        let with_pointer = signature(&all, &types);
        b.begin(0, &with_pointer, &[], plan);
        b.at(1);
        if numbers.below(2) == 0 {
            // Below the arguments, and dropped.
            b.constant(I64, 5);
            b.get(count as u32);
        }
        for (index, ty) in types.iter().enumerate() {
            if index == settled {
                b.call(3, &signature(&[], &[]));
            }
            let fitting: Vec<usize> = (0..count).filter(|var| params[*var] == *ty).collect();
            match numbers.below(8) {
                var if var > 0 && !fitting.is_empty() => {
                    // Its own place often, another's else.
                    let var = match fitting.contains(&index) && var > 5 {
                        true => index,
                        false => fitting[numbers.below(fitting.len())],
                    };
                    b.get(var as u32);
                    let computed = *ty == I64 && numbers.below(3) == 0;
                    if computed {
                        b.constant(I64, 7);
                        b.op(add);
                    }
                    expected.push(args[var] + if computed { 7 } else { 0 });
                }
                _ => {
                    b.constant(*ty, 77 + index as u64);
                    expected.push(77 + index as u64);
                }
            }
        }
        if settled == given {
            b.call(3, &signature(&[], &[]));
        }
        if through_pointer {
            b.get(count as u32);
            b.tail_call_pointer(&inner);
        } else {
            b.tail_call(1, &inner);
        }
        assert!(!b.reachable());
        b.end();
        b.finish().expect("the function");
        b.begin(1, &inner, &[], &Plan::default());
        for var in 0..given as u32 {
            b.get(var);
        }
        b.end();
        b.finish().expect("the callee");
        b.entry_wrapper(2, 0, &with_pointer);
        b.finish().expect("the wrapper");
        b.begin(3, &signature(&[], &[]), &[], &Plan::default());
        b.end();
        b.finish().expect("nothing");
        let program = unit.finish().expect("the program");
        let mut args = args;
        args.push(program.entry(1).expect("code") as u64);
        let got = enter(&program, 2, &args).expect("no trap");
        // Of a slot with an i32 only the lower half means something.
        let got: Vec<u64> = std::iter::zip(got, &types)
            .map(|(bits, ty)| ty.canonical(bits) as u64)
            .collect();
        assert_eq!(got, expected, "case {case}: {outer:?}");
        passed += given;
    }
    assert!(leaves > 1000 && passed > 30_000, "{leaves} {passed}");
}

/// Two functions of different types that go to each other, one through a pointer; one of them has called before.
#[test]
fn a_chain_takes_no_more_than_its_largest_function() {
    let pack = pack();
    let (add, sub) = (pack.op("i64.add").unwrap(), pack.op("i64.sub").unwrap());
    let mut planner = Planner::new();
    let short = signature(&[I64, I64, I64, I64], &[I64]);
    // The last two are pointers, in slots.
    let long = signature(
        &[
            I64, I64, F64, F64, F64, F64, F64, F64, F64, I64, I64, I64, I64, I64,
        ],
        &[I64],
    );
    for planned in [false, true] {
        let mut unit = Unit::new(&pack, 1 << 20).expect("memory");
        let mut b = FunctionBuilder::new(&mut unit);
        let empty = Plan::default();
        let plan = if planned {
            leaf(&mut planner, 4)
        } else {
            &empty
        };
        // short(left, sum, own, other): if left = 0 then sum else long(left - 1, sum + left, 0.0 …, own, other)
        b.begin(0, &short, &[], plan);
        b.at(1);
        b.get(0);
        b.if_(&[], &[]);
        b.get(0);
        b.constant(I64, 1);
        b.op(sub);
        b.get(1);
        b.get(0);
        b.op(add);
        for number in 0..7u32 {
            b.constant(F64, f64::from(number).to_bits());
        }
        for number in 0..3 {
            b.constant(I64, number);
        }
        b.get(2);
        b.get(3);
        b.get(3);
        b.tail_call_pointer(&long);
        b.end();
        b.get(1);
        b.end();
        b.finish().expect("the short one");
        b.begin(1, &long, &[], &Plan::default());
        b.call(3, &signature(&[], &[]));
        for var in [0, 1, 12, 13] {
            b.get(var);
        }
        b.tail_call(0, &short);
        b.end();
        b.finish().expect("the long one");
        b.entry_wrapper(2, 0, &short);
        b.finish().expect("the wrapper");
        b.begin(3, &signature(&[], &[]), &[], &Plan::default());
        b.end();
        b.finish().expect("nothing");
        let program = unit.finish().expect("the program");
        let address = |index| program.entry(index).expect("code") as u64;
        let args = [TURNS, 0, address(0), address(1)];
        let got = enter(&program, 2, &args).expect("no trap");
        assert_eq!(got[0], TURNS * (TURNS + 1) / 2, "planned: {planned}");
    }
}

/// The arms of a conditional and a loop go on as if the call were a return.
#[test]
fn what_follows_in_another_arm_is_unharmed() {
    let pack = pack();
    let (add, sub) = (pack.op("i64.add").unwrap(), pack.op("i64.sub").unwrap());
    let sum = signature(&[I64; 9], &[I64]);
    let spoil = signature(&[], &[I64; 5]);
    let mut unit = Unit::new(&pack, 1 << 20).expect("memory");
    let mut b = FunctionBuilder::new(&mut unit);
    // A loop counts its first parameter down to zero and the second up; at zero it leaves, else it goes round. Only the arm that
    // leaves has the second one in a register, since something was called before.
    b.begin(0, &signature(&[I64, I64], &[I64]), &[], &Plan::default());
    b.loop_(&[], &[I64]);
    b.call(3, &spoil);
    for _ in 0..5 {
        b.drop_top();
    }
    b.get(0);
    b.if_(&[], &[]);
    b.else_();
    b.get(1);
    b.constant(I64, 1);
    b.op(add);
    for var in [0, 1, 1, 0, 0, 1, 1, 1] {
        b.get(var);
    }
    b.tail_call(2, &sum);
    b.end();
    b.get(1);
    b.constant(I64, 2);
    b.op(add);
    b.set(1);
    b.get(0);
    b.constant(I64, 1);
    b.op(sub);
    b.set(0);
    b.br(0);
    b.end();
    b.end();
    b.finish().expect("the function");
    b.begin(3, &spoil, &[], &Plan::default());
    for number in 0..5 {
        b.constant(I64, number);
    }
    b.end();
    b.finish().expect("what spoils registers");
    b.entry_wrapper(1, 0, &signature(&[I64, I64], &[I64]));
    b.finish().expect("the wrapper");
    b.begin(2, &sum, &[], &Plan::default());
    for var in 0..9 {
        b.get(var);
    }
    for _ in 0..8 {
        b.op(add);
    }
    b.end();
    b.finish().expect("the sum");
    let program = unit.finish().expect("the program");
    assert_eq!(run(&program, &[50, 1])[0], 6 * 101 + 1);
}

#[test]
fn wrong_uses_are_errors() {
    let pack = pack();
    let fault = |body: &dyn Fn(&mut FunctionBuilder<'_, '_>)| {
        let mut unit = Unit::new(&pack, 1 << 20).expect("memory");
        let mut b = FunctionBuilder::new(&mut unit);
        b.begin(0, &signature(&[I64], &[I64]), &[], &Plan::default());
        body(&mut b);
        b.end();
        b.finish().expect_err("it is misused").to_string()
    };
    let other = |b: &mut FunctionBuilder<'_, '_>| {
        b.get(0);
        b.tail_call(0, &signature(&[I64], &[F64]));
    };
    assert!(fault(&other).contains("other types"), "{}", fault(&other));
    let short = |b: &mut FunctionBuilder<'_, '_>| {
        b.get(0);
        b.tail_call(0, &signature(&[I64, I64], &[I64]));
    };
    assert!(fault(&short).contains("too short"), "{}", fault(&short));
    let none = |b: &mut FunctionBuilder<'_, '_>| b.tail_call_pointer(&signature(&[], &[I64]));
    assert!(fault(&none).contains("too short"), "{}", fault(&none));
}
