//! The vector operations of WebAssembly, one at a time through the pack's evaluators and as compiled code, against lane
//! loops in Rust that share nothing with their C bodies.

#[path = "../common/mod.rs"]
mod common;
mod compiled;
mod oracle;

use std::collections::BTreeSet;

use copatch::spec::isa::ImmediateType;
use copatch::spec::{Operation, Shape};
use copatch::{EvalOutcome, Evaluators, ValueType};
use copatch_conformance::MEMORY;

use oracle::{Answer, Nan, World};

/// Tries of each operation.
const TRIES: u64 = 4000;
/// Words of the context: the engine's, WebAssembly's, and globals behind them.
const CONTEXT: usize = 64;
/// The word of it that has the address of memory.
const ADDRESS: usize = 16;
/// Words of it that are scratch of single operations.
const SCRATCH: std::ops::Range<usize> = 11..16;

/// A small generator, the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    fn f32(&mut self) -> u32 {
        #[rustfmt::skip]
        const SOME: [f32; 24] = [
            0.0, 0.5, 1.0, 1.5, 2.5, 0.49999997, 1e-40, 3.4e38, 8388607.5, 8388608.0, 4194303.5,
            16777216.0, 2147483520.0, 2147483648.0, 4294967040.0, 4294967296.0, 9.3e18, 1.0000001,
            127.5, 255.0, 65535.7, f32::MIN_POSITIVE, f32::INFINITY, 1e30,
        ];
        let bits = match self.below(8) {
            0 => self.next() as u32,
            1 => self.of(&[0x7fc0_0000, 0x7f80_0001, 0x7fa0_0000, 0x7fff_ffff]),
            2 => ((self.next() as i32 >> self.below(31)) as f32 / 8.0).to_bits(),
            _ => self.of(&SOME).to_bits(),
        };
        bits ^ (self.next() as u32 & 0x8000_0000)
    }

    fn f64(&mut self) -> u64 {
        #[rustfmt::skip]
        const SOME: [f64; 24] = [
            0.0, 0.5, 1.0, 1.5, 2.5, 0.499_999_999_999_999_94, 5e-324, 1.7e308, 4503599627370495.5,
            4503599627370496.0, 2251799813685247.5, 9007199254740992.0, 2147483647.0, 2147483647.9,
            2147483648.0, 2147483649.0, 4294967295.0, 4294967295.9, 4294967296.0, 9.3e18, 3.5e38, 1e-46,
            f64::MIN_POSITIVE, f64::INFINITY,
        ];
        let bits = match self.below(8) {
            0 => self.next(),
            1 => self.of(&[
                0x7ff8_0000_0000_0000,
                0x7ff0_0000_0000_0001,
                0x7ff4_0000_0000_0000,
                u64::MAX >> 1,
            ]),
            2 => ((self.next() as i64 >> self.below(63)) as f64 / 8.0).to_bits(),
            _ => self.of(&SOME).to_bits(),
        };
        bits ^ (self.next() & 1 << 63)
    }

    /// Lanes of one width, each random or at a boundary; often equal, so that comparisons see that, too.
    fn vector(&mut self) -> u128 {
        let kind = self.below(7);
        let width = [8, 16, 32, 64, 32, 64, 128][kind as usize];
        let mut vector = 0;
        let mut last = 0;
        for at in (0..128).step_by(width) {
            let lane = match (self.below(4), kind) {
                (0, _) if at > 0 => last,
                (_, 4) => u128::from(self.f32()),
                (_, 5) => u128::from(self.f64()),
                (1, _) => {
                    let most = u128::MAX >> (128 - width);
                    let one = 1 << self.below(width as u64);
                    self.of(&[
                        0,
                        1,
                        most,
                        most >> 1,
                        (most >> 1) + 1,
                        one,
                        most - one,
                        127,
                        128,
                        255,
                    ])
                }
                _ => u128::from(self.next()) << 64 | u128::from(self.next()),
            };
            last = lane & (u128::MAX >> (128 - width));
            vector |= last << at;
        }
        vector
    }

    fn value(&mut self, ty: ValueType) -> u128 {
        match ty {
            ValueType::I32 => {
                let bits = self.of(&[0, 1, 7, 8, 31, 32, 63, 64, 0x80, 0x7fff_ffff, 0x8000_0000]);
                u128::from(if self.below(2) == 0 {
                    bits
                } else {
                    self.next() as u32
                })
            }
            ValueType::F32 => u128::from(self.f32()),
            ValueType::F64 => u128::from(self.f64()),
            ValueType::I64 => self.vector() as u64 as u128,
            ValueType::V128 => self.vector(),
        }
    }
}

impl World {
    /// Memory and a context that begin with what `word` gives.
    fn new(mut word: impl FnMut() -> u64) -> Self {
        let memory: Vec<u64> = (0..MEMORY / 8).map(|_| word()).collect();
        let mut context: Vec<u64> = (0..CONTEXT).map(|_| word()).collect();
        context[ADDRESS] = memory.as_ptr() as u64;
        Self { memory, context }
    }
}

fn is_vectorial(op: &Operation) -> bool {
    matches!(op.shape, Shape::Next | Shape::Branch)
        && (op.operands.contains(&ValueType::V128) || op.result == Some(ValueType::V128))
}

fn operands(op: &Operation, random: &mut Random) -> Vec<u128> {
    let mut operands: Vec<u128> = op.operands.iter().map(|ty| random.value(*ty)).collect();
    if op.uses_mem {
        operands[0] %= MEMORY as u128 - 128;
    }
    if op.name == "i8x16.swizzle" && random.below(4) > 0 {
        operands[1] &= u128::MAX / 255 * 31;
    }
    // Twice the same operand is what comparisons, minima and differences are tested by, too.
    if op.operands.len() >= 2 && op.operands[0] == op.operands[1] && random.below(8) == 0 {
        operands[1] = operands[0];
    }
    operands
}

fn immediates(op: &Operation, random: &mut Random) -> Vec<u64> {
    let one = |ty: &ImmediateType| match ty {
        ImmediateType::I64 if op.name == "i8x16.shuffle" => random.next() & (u64::MAX / 255 * 31),
        ImmediateType::I64 => random.vector() as u64,
        _ if ty.is_lane() => random.below(ty.range().1 as u64 + 1),
        // Of a global from the context: the first word has the address of one that lies elsewhere.
        _ if op.name.starts_with("global.far") => 8 * ADDRESS as u64,
        _ if op.uses_ctx => 136 + 8 * random.below(16),
        // An offset in memory.
        _ => random.below(100),
    };
    op.immediates.iter().map(one).collect()
}

/// Operands as evaluators take them.
fn words(op: &Operation, operands: &[u128]) -> Vec<u64> {
    let mut words = Vec::new();
    for (ty, value) in op.operands.iter().zip(operands) {
        words.push(*value as u64);
        if *ty == ValueType::V128 {
            words.push((*value >> 64) as u64);
        }
    }
    words
}

#[test]
fn evaluators_agree_with_lane_loops() {
    for (name, pack) in common::runnable(copatch_pack_wasm::packs()) {
        let evaluators = Evaluators::new(&pack).unwrap();
        let ops = pack.metadata().ops.iter();
        let mut seen = 0;
        for op in ops.filter(|op| is_vectorial(op)) {
            seen += 1;
            let id = pack.op(&op.name).unwrap();
            let mut random = Random(seen);
            let mut world = World::new(|| random.next());
            for _ in 0..TRIES {
                let operands = operands(op, &mut random);
                let immediates = immediates(op, &mut random);
                let mut expected = world.clone();
                let answer = oracle::answer(&op.name, &operands, &immediates, &mut expected)
                    .unwrap_or_else(|| panic!("no oracle for {}", op.name));
                #[allow(unsafe_code)]
                // SAFETY: addresses and offsets were chosen within memory and context, which are as large as these bodies
                // rely on.
                let got = unsafe {
                    evaluators.eval(
                        id,
                        world.memory.as_mut_ptr().cast(),
                        world.context.as_mut_ptr().cast(),
                        std::ptr::null_mut(),
                        &words(op, &operands),
                        &immediates,
                    )
                };
                let EvalOutcome::Value(got) = got.unwrap() else {
                    panic!("{} traps", op.name);
                };
                let shown = || format!("{name}: {} {operands:x?} {immediates:x?}", op.name);
                if op.result.is_some() {
                    assert!(
                        answer.admits(got),
                        "{}: {got:032x}, not {answer:x?}",
                        shown()
                    );
                }
                world.context[SCRATCH].copy_from_slice(&expected.context[SCRATCH]);
                assert!(world == expected, "{}: memory differs", shown());
            }
        }
        assert_eq!(seen, 236 + 6, "{name}");
    }
}

#[test]
fn every_vector_instruction_has_its_operation() {
    macro_rules! names {
        ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
            [$(stringify!($visit)),*]
        };
    }
    let instructions = wasmparser::for_each_visit_simd_operator!(names);
    let pack = common::wasm_pack();
    let bodies: BTreeSet<String> = pack.metadata().ops.iter().map(Operation::c_name).collect();
    let missing: Vec<_> = instructions
        .iter()
        .filter_map(|visit| visit.strip_prefix("visit_"))
        .filter(|name| !bodies.contains(*name) && !name.contains("relaxed"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn an_answer_admits_what_the_standard_admits() {
    let nan = Answer {
        bits: 0x7fc0_0000,
        nan: Some(Nan::F32),
    };
    assert!(
        nan.admits(0xffc1_2345),
        "any sign and payload, if it is quiet"
    );
    assert!(!nan.admits(0x7f80_0001), "a signalling one");
    assert!(!nan.admits(0x7f80_0000), "infinity");
    assert!(!nan.admits(1 << 64 | 0x7fc0_0000), "another lane differs");
    assert!(!Answer::exact(1).admits(2));
}
