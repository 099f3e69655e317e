//! The same operations as compiled code: operands come from linear memory, the result goes there, and vectors that have
//! nothing to do with it must survive in their registers.

use std::sync::Arc;

use copatch::spec::Operation;
use copatch::spec::isa::ImmediateType;
use copatch::{
    Context, FunctionBuilder, OpId, Pack, Plan, Program, Signature, Stack, Unit, ValueType,
};
use copatch_conformance::MEMORY;

use super::oracle::{self, World};
use super::{Random, SCRATCH, immediates, is_vectorial, operands};

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
/// Words of the engine's context.
const ENGINE: usize = size_of::<Context>() / 8;

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
        self.builder.op_any(id, immediates);
        if let Some(ty) = op.result {
            self.access(ty, "store", RESULT);
        }
        for index in (0..bystanders as usize).rev() {
            self.access(ValueType::V128, "store", KEPT_OUT + 16 * index);
        }
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

/// Compiles that many functions, each with an entry from outside: entry *n* calls what `body` made for *n*.
fn compile(pack: &Arc<Pack>, count: u32, mut body: impl FnMut(&mut Builder, u32)) -> Program {
    let signature = Signature {
        params: vec![ValueType::I32],
        results: Vec::new(),
    };
    let mut unit = Unit::new(pack, 16 << 20).unwrap();
    let plan = Plan::default();
    let mut builder = FunctionBuilder::new(&mut unit);
    for index in 0..count {
        builder.begin(count + index, &signature, &[], &plan);
        let builder = &mut builder;
        body(&mut Builder { pack, builder }, index);
        builder.end();
        builder.finish().unwrap();
        builder.entry_wrapper(index, count + index, &signature);
        builder.finish().unwrap();
    }
    unit.finish().unwrap()
}

/// Runs a function with 0 for its variable.
fn run(code: &Program, index: u32, stack: &Stack, world: &mut World) {
    #[allow(unsafe_code)]
    // SAFETY: the context is as large as the bodies rely on, the entry is that of an entry wrapper with one parameter, for
    // which the stack has room, and accesses stay within memory.
    unsafe {
        let context: *mut Context = world.context.as_mut_ptr().cast();
        context.write(Context::new(stack.limit(), std::ptr::null()));
        stack.base().write(0);
        let memory = world.memory.as_mut_ptr().cast();
        let entry = code.entry(index).unwrap();
        copatch::call(code, entry, context, stack.base(), memory).unwrap();
    }
}

/// Compiles all programs of an operation, runs them, and compares.
fn check(name: &str, pack: &Arc<Pack>, op: &Operation, random: &mut Random) {
    let all = all_immediates(op, random);
    let programs: Vec<(&[u64], u32)> = all
        .iter()
        .flat_map(|values| BYSTANDERS.map(|bystanders| (values.as_slice(), bystanders)))
        .collect();
    let code = compile(pack, programs.len() as u32, |builder, index| {
        let (values, bystanders) = programs[index as usize];
        let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
        builder.function(op, &values, bystanders);
    });
    let stack = Stack::new(1 << 20).unwrap();
    for (index, (values, bystanders)) in (0..).zip(&programs) {
        for _ in 0..TRIES {
            let mut operands = operands(op, random);
            if op.uses_mem {
                operands[0] %= FREE as u128;
            }
            let mut world = World::new(|| random.next());
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
            let words = world.context[ENGINE..SCRATCH.start].to_vec();
            run(&code, index, &stack, &mut world);
            let shown = || {
                format!(
                    "{name}: {} {operands:x?} {values:x?} beside {bystanders}",
                    op.name
                )
            };
            let context = &world.context;
            assert!(
                context[SCRATCH.end..] == expected.context[SCRATCH.end..]
                    && context[ENGINE..SCRATCH.start] == words,
                "{}: context differs",
                shown()
            );
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
        for op in ops.iter().filter(|op| is_vectorial(op) && !op.is_core()) {
            check(name, &pack, op, &mut random);
        }
    }
}

#[test]
fn a_constant_is_both_halves() {
    const CONSTANTS: [u64; 7] = [
        0,
        1,
        u64::MAX,
        0x8000_0000,
        0xffff_ffff,
        1 << 63,
        0x0123_4567_89ab_cdef,
    ];
    for (name, pack) in super::common::runnable(copatch_pack_wasm::packs()) {
        let code = compile(&pack, CONSTANTS.len() as u32, |builder, index| {
            builder.builder.get(0);
            let bits = CONSTANTS[index as usize];
            builder.builder.constant(ValueType::V128, bits);
            builder.access(ValueType::V128, "store", RESULT);
        });
        let stack = Stack::new(1 << 20).unwrap();
        for (index, bits) in (0..).zip(CONSTANTS) {
            let mut world = World::new(|| !bits);
            run(&code, index, &stack, &mut world);
            let got = oracle::read(&world.memory, RESULT as u128, 128);
            assert_eq!(got, u128::from(bits) << 64 | u128::from(bits), "{name}");
        }
    }
}

#[test]
fn a_selected_vector_is_whole() {
    for (name, pack) in super::common::runnable(copatch_pack_wasm::packs()) {
        let code = compile(&pack, 1, |builder, _| {
            builder.builder.get(0);
            for index in 0..2 {
                builder.load(ValueType::V128, OPERANDS + 16 * index);
            }
            builder.load(ValueType::I32, OPERANDS + 32);
            builder.builder.select(ValueType::V128);
            builder.access(ValueType::V128, "store", RESULT);
        });
        let stack = Stack::new(1 << 20).unwrap();
        let mut random = Random(2);
        for condition in [0, 1, 0x8000_0000] {
            let mut world = World::new(|| random.next());
            oracle::write(&mut world.memory, (OPERANDS + 32) as u128, 32, condition);
            run(&code, 0, &stack, &mut world);
            let chosen = if condition == 0 {
                OPERANDS + 16
            } else {
                OPERANDS
            };
            let wanted = oracle::read(&world.memory, chosen as u128, 128);
            assert_eq!(
                oracle::read(&world.memory, RESULT as u128, 128),
                wanted,
                "{name}"
            );
        }
    }
}
