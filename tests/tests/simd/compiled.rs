//! The same operations as compiled code: operands come from linear memory, the result goes there, and vectors that have
//! nothing to do with it must survive in their registers.

use std::sync::Arc;

use copatch::spec::Operation;
use copatch::spec::isa::ImmediateType;
use copatch::{Context, FunctionBuilder, OpId, Pack, Plan, Signature, Stack, Unit, ValueType};
use copatch_conformance::MEMORY;

use super::oracle::{self, World};
use super::{CONTEXT, Random, SCRATCH, immediates, is_vectorial, operands};

/// Runs of each program.
const TRIES: u64 = 40;
/// Programs of an operation whose immediates have too many values to take all.
const SOME: usize = 4;
/// Vectors that are kept while the operation runs, so that it gets other registers each time.
const BYSTANDERS: [u32; 3] = [0, 1, 4];

/// Where a program finds its operands in memory, where it puts its result, and the same for the bystanders.
const OPERANDS: usize = MEMORY - 256;
const RESULT: usize = MEMORY - 192;
const KEPT: usize = MEMORY - 160;
const KEPT_OUT: usize = MEMORY - 96;
/// What operations may access themselves ends here.
const FREE: usize = MEMORY - 512;

struct Builder<'b, 'u, 'p> {
    pack: &'b Pack,
    builder: &'b mut FunctionBuilder<'u, 'p>,
}

impl Builder<'_, '_, '_> {
    fn access(&mut self, ty: ValueType, verb: &str, offset: usize) {
        let op = self.op(&format!("{}.{verb}", ty.name()));
        self.builder.op_imm(op, &[offset as i64]);
    }

    /// Pushes what lies there; variable 0 is zero.
    fn load(&mut self, ty: ValueType, offset: usize) {
        self.builder.get(0);
        self.access(ty, "load", offset);
    }

    fn op(&self, name: &str) -> OpId {
        self.pack.op(name).unwrap()
    }

    fn function(&mut self, op: &Operation, immediates: &[i64], bystanders: u32) {
        for index in 0..bystanders as usize {
            self.builder.get(0);
            self.load(ValueType::V128, KEPT + 16 * index);
        }
        if op.result.is_some() {
            self.builder.get(0);
        }
        for (index, ty) in op.operands.iter().enumerate() {
            self.load(*ty, OPERANDS + 16 * index);
        }
        let id = self.op(&op.name);
        self.builder.op_imm(id, immediates);
        if let Some(ty) = op.result {
            self.access(ty, "store", RESULT);
        }
        for index in (0..bystanders as usize).rev() {
            self.access(ValueType::V128, "store", KEPT_OUT + 16 * index);
        }
        self.builder.end();
    }
}

/// Values of the immediates to make programs for: every lane, and some of what is wider.
fn all_immediates(op: &Operation, random: &mut Random) -> Vec<Vec<u64>> {
    let lanes = op.immediates.iter().find(|ty| ty.is_lane());
    let count = match lanes {
        Some(ty) => ty.range().1 as usize + 1,
        None if op.immediates.is_empty() => 1,
        None => SOME,
    };
    let one = |number: usize| {
        let mut values = immediates(op, random);
        for (value, ty) in values.iter_mut().zip(&op.immediates) {
            if ty.is_lane() {
                *value = number as u64;
            } else if *ty == ImmediateType::U32 && op.uses_mem && number % 2 == 1 {
                // Offsets of a byte, and of more.
                *value += 100;
            }
        }
        values
    };
    (0..count).map(one).collect()
}

/// Compiles all programs of an operation, runs them, and compares.
fn check(name: &str, pack: &Arc<Pack>, op: &Operation, random: &mut Random) {
    let signature = Signature {
        params: vec![ValueType::I32],
        results: Vec::new(),
    };
    let all = all_immediates(op, random);
    let programs: Vec<(&[u64], u32)> = all
        .iter()
        .flat_map(|values| BYSTANDERS.map(|bystanders| (values.as_slice(), bystanders)))
        .collect();
    let count = programs.len() as u32;
    let mut unit = Unit::new(pack, 16 << 20).unwrap();
    let plan = Plan::default();
    let mut builder = FunctionBuilder::new(&mut unit);
    for (index, (values, bystanders)) in (0..).zip(&programs) {
        builder.begin(index, &signature, &[], &plan);
        let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
        Builder {
            pack,
            builder: &mut builder,
        }
        .function(op, &values, *bystanders);
        builder
            .finish()
            .unwrap_or_else(|error| panic!("{}: {error}", op.name));
        builder.entry_wrapper(count + index, index, &signature);
        builder.finish().unwrap();
    }
    let code = unit.finish().unwrap();
    let stack = Stack::new(1 << 20).unwrap();
    for (index, (values, bystanders)) in (0..).zip(&programs) {
        for _ in 0..TRIES {
            let mut operands = operands(op, random);
            if op.uses_mem {
                operands[0] %= FREE as u128;
            }
            let mut world = World {
                memory: (0..MEMORY / 8).map(|_| random.next()).collect(),
                context: (0..CONTEXT).map(|_| random.next()).collect(),
            };
            for (index, operand) in operands.iter().enumerate() {
                oracle::write(
                    &mut world.memory,
                    (OPERANDS + 16 * index) as u128,
                    128,
                    *operand,
                );
            }
            let mut expected = world.clone();
            let answer = oracle::answer(&op.name, &operands, values, &mut expected).unwrap();
            for index in 0..*bystanders as usize {
                let vector = oracle::read(&expected.memory, (KEPT + 16 * index) as u128, 128);
                oracle::write(
                    &mut expected.memory,
                    (KEPT_OUT + 16 * index) as u128,
                    128,
                    vector,
                );
            }
            #[allow(unsafe_code)]
            // SAFETY: the context is as large as the bodies rely on, the entry is that of an entry wrapper with one
            // parameter, for which the stack has room, and accesses stay within memory.
            unsafe {
                let context: *mut Context = world.context.as_mut_ptr().cast();
                let words = world.context[8..].to_vec();
                context.write(Context::new(stack.limit(), std::ptr::null()));
                stack.base().write(0);
                let memory = world.memory.as_mut_ptr().cast();
                let entry = code.entry(count + index).unwrap();
                copatch::call(&code, entry, context, stack.base(), memory).unwrap();
                assert!(
                    world.context[16..] == expected.context[16..]
                        && (world.context[8..SCRATCH.start] == words[..SCRATCH.start - 8]),
                    "{name}: {} context",
                    op.name
                );
            }
            let shown = || {
                format!(
                    "{name}: {} {operands:x?} {values:x?} beside {bystanders}",
                    op.name
                )
            };
            if let Some(ty) = op.result {
                let width = match ty {
                    ValueType::V128 => 128,
                    ValueType::I64 | ValueType::F64 => 64,
                    _ => 32,
                };
                let got = oracle::read(&world.memory, RESULT as u128, width);
                assert!(
                    answer.admits(got),
                    "{}: {got:032x}, not {answer:x?}",
                    shown()
                );
                oracle::write(&mut expected.memory, RESULT as u128, width, got);
            }
            assert!(
                world.memory == expected.memory,
                "{}: memory differs",
                shown()
            );
        }
    }
}

#[test]
fn compiled_code_agrees_with_lane_loops() {
    for (name, pack) in super::common::runnable(copatch_pack_wasm::packs()) {
        let mut random = Random(1);
        let ops = pack.metadata().ops.clone();
        // The builder makes the core's operations itself.
        for op in ops
            .iter()
            .filter(|op| is_vectorial(op) && !op.name.starts_with("core."))
        {
            check(name, &pack, op, &mut random);
        }
    }
}
