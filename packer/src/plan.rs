//! What is compiled: every form of every operation, the ranges tried for its values, and one job for each function.

use copatch_spec::isa::{ImmediateType, InstructionSet, Operation, Shape};
use copatch_spec::target::{Machine, Target};
use copatch_spec::types::{Place, ValueType};
use copatch_spec::variants::{Form, Outcome, Value, assignments, forms, record_index};

use crate::probe::is_special;

/// One function to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Number of the operation.
    pub op: usize,
    /// Number of the form in [`Plan::forms`].
    pub form: usize,
    /// Its registers, one a position.
    pub registers: Vec<usize>,
    /// Its constants, one a value.
    pub values: Vec<i64>,
}

/// A form with everything to try for it.
#[derive(Clone, Debug)]
pub struct FormPlan {
    /// Number of the operation.
    pub op: usize,
    /// The form.
    pub form: Form,
    /// Its values.
    pub values: Vec<Value>,
    /// Narrowest ranges first.
    pub alternatives: Vec<AlternativePlan>,
}

/// Multiples of `1 << align` from `lo` to `hi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Least value.
    pub lo: i64,
    /// Greatest value.
    pub hi: i64,
    /// Power of two.
    pub align: u8,
}

impl Range {
    fn intersect(self, other: Range) -> Option<Range> {
        let align = self.align.max(other.align);
        let step = 1i64 << align;
        let lo = self
            .lo
            .max(other.lo)
            .checked_next_multiple_of_signed(step)?;
        let hi = self.hi.min(other.hi) & !(step - 1);
        (lo <= hi).then_some(Range { lo, hi, align })
    }

    /// Whether it has one value only, which then is part of the code and no field of it.
    pub fn is_single(self) -> bool {
        self.lo == self.hi
    }

    fn only(value: i64) -> Self {
        Range {
            lo: value,
            hi: value,
            align: 0,
        }
    }

    fn contains(self, value: i64) -> bool {
        self.lo <= value && value <= self.hi
    }

    fn covers(self, other: Range) -> bool {
        self.lo <= other.lo && other.hi <= self.hi && self.align <= other.align
    }
}

/// Rounding up towards positive infinity, which the standard library has for signed integers on nightly only.
trait NextMultiple: Sized {
    fn checked_next_multiple_of_signed(self, step: Self) -> Option<Self>;
}

impl NextMultiple for i64 {
    fn checked_next_multiple_of_signed(self, step: i64) -> Option<i64> {
        self.checked_add(step - 1).map(|sum| sum & !(step - 1))
    }
}

/// One combination of ranges for a form's values.
#[derive(Clone, Debug)]
pub struct AlternativePlan {
    /// One a value.
    pub ranges: Vec<Range>,
    /// One a register assignment, in index order.
    pub records: Vec<Record>,
}

impl AlternativePlan {
    /// Whether nothing varies, so that its code has no fields.
    pub fn is_fixed(&self) -> bool {
        self.ranges.iter().all(|range| range.is_single())
    }
}

/// Where the code of one register assignment comes from.
#[derive(Clone, Debug)]
pub enum Record {
    /// The record of that index has the same code, since the operands may be exchanged.
    Same(usize),
    /// Jobs with generic constants: [`GENERIC`] of them, or one if the alternative is fixed.
    Compiled {
        /// First job; the others follow it.
        generic: usize,
        /// The record on which fields are learnt for all that share registers in the same way; it may be this one.
        like: usize,
        /// On that record: for each value, its samples and their jobs. Empty elsewhere.
        probes: Vec<Vec<(i64, usize)>>,
    },
}

/// Generic constants on every register assignment: with fields known from one assignment, two values find them in the code
/// of another, and show that nothing else moves.
pub const GENERIC: usize = 2;

/// All forms and all jobs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Ascending by operation, then key.
    pub forms: Vec<FormPlan>,
    /// The functions to compile, those of a form one after another.
    pub jobs: Vec<Job>,
}

/// Plans an instruction set on a target. `probe` gives the values on which a range is learnt.
pub fn plan(
    isa: &InstructionSet,
    target: &Target,
    probe: impl Fn(i64, i64, u8) -> Vec<i64>,
) -> Plan {
    let machine = target.machine();
    let mut plan = Plan {
        forms: Vec::new(),
        jobs: Vec::new(),
    };
    for (number, op) in isa.ops.iter().enumerate() {
        for form in forms(op, &machine) {
            let values = form.values(op);
            let alternatives = if op.shape == Shape::Asm {
                vec![AlternativePlan {
                    ranges: values
                        .iter()
                        .map(|value| limits(op, *value, target))
                        .collect(),
                    records: Vec::new(),
                }]
            } else {
                combinations(&values, op, target)
            };
            plan.forms.push(FormPlan {
                op: number,
                form,
                values,
                alternatives,
            });
        }
    }
    for number in 0..plan.forms.len() {
        let form = &mut plan.forms[number];
        let op = &isa.ops[form.op];
        let radices = form.form.radices(op, &machine);
        for alternative in &mut form.alternatives {
            let generic = if op.shape == Shape::Asm {
                vec![vec![0; form.values.len()]]
            } else {
                generic_constants(&alternative.ranges)
            };
            let mut patterns = Vec::new();
            for registers in assignments(&radices) {
                if let Some(other) = exchanged(op, &form.form, &registers) {
                    let record = Record::Same(record_index(&radices, &other));
                    alternative.records.push(record);
                    continue;
                }
                let mut job = |values: Vec<i64>| {
                    plan.jobs.push(Job {
                        op: form.op,
                        form: number,
                        registers: registers.clone(),
                        values,
                    });
                    plan.jobs.len() - 1
                };
                let first = job(generic[0].clone());
                for constants in &generic[1..] {
                    job(constants.clone());
                }
                let pattern = pattern(op, &form.form, &registers, &machine);
                // The first pattern of a form with one value that is kept is learnt on all samples, the others on fewer.
                let in_full = patterns.is_empty()
                    && form.values.len() == 1
                    && form.form.outcome == Outcome::Plain;
                let known = patterns.iter().find(|(known, _)| *known == pattern);
                let like = known.map_or(alternative.records.len(), |(_, record)| *record);
                let mut probes = Vec::new();
                if known.is_none() {
                    patterns.push((pattern, like));
                    for (index, range) in alternative.ranges.iter().enumerate() {
                        if op.shape == Shape::Asm {
                            break;
                        }
                        if range.is_single() {
                            probes.push(Vec::new());
                            continue;
                        }
                        let mut samples = probe(range.lo, range.hi, range.align);
                        if !in_full {
                            samples = thin(&samples);
                        }
                        let jobs = samples.into_iter().map(|value| {
                            let mut values = generic[0].clone();
                            values[index] = value;
                            (value, job(values))
                        });
                        probes.push(jobs.collect());
                    }
                }
                alternative.records.push(Record::Compiled {
                    generic: first,
                    like,
                    probes,
                });
            }
        }
    }
    plan
}

/// Every value that a form's value may have.
fn limits(op: &Operation, value: Value, target: &Target) -> Range {
    // Slots are words, and frames stay within reach of a 32-bit displacement everywhere.
    let slot = Range {
        lo: -i64::from(target.frame_bias),
        hi: i64::from(i32::MAX) & !7,
        align: 3,
    };
    match value {
        Value::Constant(_, ValueType::I32 | ValueType::F32) => Range {
            lo: i64::from(i32::MIN),
            hi: i64::from(i32::MAX),
            align: 0,
        },
        Value::Constant(..) => Range {
            lo: i64::MIN,
            hi: i64::MAX,
            align: 0,
        },
        Value::OperandSlot(..) | Value::ResultSlot(_) => slot,
        Value::Immediate(1) if op.shape == Shape::Helper => slot,
        Value::Immediate(index) => {
            let (lo, hi) = op
                .immediates
                .get(index)
                .map_or((i64::MIN, i64::MAX), |ty| ty.range());
            Range { lo, hi, align: 0 }
        }
    }
}

/// The target's ranges for one value, those that add nothing left out.
fn ranges(op: &Operation, value: Value, target: &Target) -> Vec<Range> {
    // The number of a helper is scaled by the size of a pointer before it becomes a displacement.
    let scale = match value {
        Value::Immediate(0) if op.shape == Shape::Helper => i64::from(target.pointer_bits / 8),
        _ => 1,
    };
    let limits = limits(op, value, target);
    if let Value::Immediate(index) = value
        && op.immediates.get(index).is_some_and(|ty| ty.is_lane())
    {
        return (limits.lo..=limits.hi).map(Range::only).collect();
    }
    let operand = matches!(value, Value::Constant(..)) && !op.name.starts_with("core.move_");
    let mut ranges: Vec<Range> = Vec::new();
    if matches!(value, Value::Constant(_, ValueType::V128)) {
        // Clearing a register takes no constant at all, and is what vectors are needed for most.
        ranges.push(Range::only(0));
    }
    for class in target
        .immediate
        .iter()
        .filter(|class| !(operand && class.moved))
    {
        let class = Range {
            lo: class.lo / scale,
            hi: class.hi / scale,
            align: class.align,
        };
        if let Some(range) = class.intersect(limits)
            && !ranges.iter().any(|narrower| narrower.covers(range))
        {
            ranges.push(range);
        }
    }
    ranges
}

/// The combinations of ranges of a form's values, in the order in which the engine tries them.
fn combinations(values: &[Value], op: &Operation, target: &Target) -> Vec<AlternativePlan> {
    let mut combinations = vec![Vec::new()];
    for value in values {
        let mut ranges = ranges(op, *value, target);
        // Combinations multiply. An operation with immediates of its own keeps those that instructions encode, and for one
        // of 64 bits the range that has all of them.
        if values.len() > 1 && !op.immediates.is_empty() && ranges.len() > 1 {
            let encoded =
                |range: &Range| i32::try_from(range.lo).and(i32::try_from(range.hi)).is_ok();
            match value {
                Value::Immediate(index)
                    if op.immediates.get(*index) == Some(&ImmediateType::I64) =>
                {
                    let limits = limits(op, *value, target);
                    ranges.retain(|range| range.covers(limits));
                }
                _ => ranges.retain(encoded),
            }
        }
        combinations = combinations
            .iter()
            .flat_map(|before: &Vec<Range>| {
                ranges.iter().map(move |range| {
                    let mut next = before.clone();
                    next.push(*range);
                    next
                })
            })
            .collect();
    }
    combinations
        .into_iter()
        .map(|ranges| AlternativePlan {
            ranges,
            records: Vec::new(),
        })
        .collect()
}

/// Fewer samples for a range whose encoding was learnt in full elsewhere: the ends, the values around zero and around
/// the widths of immediates, where compilers change encodings, and some of the others, generic ones and special ones.
fn thin(samples: &[i64]) -> Vec<i64> {
    const GENERIC: usize = 24;
    const SPECIAL: usize = 16;
    let at_width = |value: i64| {
        [7, 8, 12, 15, 16, 31, 32, 63]
            .iter()
            .any(|width| value.unsigned_abs().abs_diff(1 << width) <= 1)
    };
    let edge = |index: usize| {
        let value = samples[index];
        index < 2 || index + 2 >= samples.len() || value.unsigned_abs() <= 2 || at_width(value)
    };
    let every = |wanted: usize, special: bool| {
        let others: Vec<usize> = (0..samples.len())
            .filter(|index| is_special(samples[*index]) == special)
            .collect();
        let stride = others.len().div_ceil(wanted).max(1);
        others.into_iter().step_by(stride)
    };
    let mut kept: Vec<usize> = (0..samples.len())
        .filter(|index| edge(*index))
        .chain(every(GENERIC, false))
        .chain(every(SPECIAL, true))
        .collect();
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|index| samples[index]).collect()
}

/// The assignment whose code serves this one too, since operands 0 and 1 may be exchanged.
fn exchanged(op: &Operation, form: &Form, registers: &[usize]) -> Option<Vec<usize>> {
    let both = form.operands.get(..2) == Some(&[Place::Register; 2]);
    if !op.commutative || !both || form.tied(op) || registers[0] <= registers[1] {
        return None;
    }
    let mut other = registers.to_vec();
    other.swap(0, 1);
    Some(other)
}

/// Which positions share a register: clang chooses instructions by that, so each such pattern is learnt by itself.
fn pattern(op: &Operation, form: &Form, registers: &[usize], machine: &Machine) -> Vec<usize> {
    let places = form.operands.iter().zip(&op.operands);
    let types = places
        .filter(|(place, _)| **place == Place::Register)
        .map(|(_, ty)| *ty)
        .chain(op.result);
    let named: Vec<_> = types
        .map(|ty| machine.class_of(ty))
        .zip(registers)
        .collect();
    named
        .iter()
        .map(|register| {
            named
                .iter()
                .position(|other| other == register)
                .unwrap_or(0)
        })
        .collect()
}

/// Constants without a special encoding anywhere, widest first.
const CONSTANTS: [i64; 17] = [
    0x1b34_5a78_9cbc_d6f3,
    -0x2d5b_3c1a_97c3_9b5b,
    0x5a96_c3b1_7d2e_4f85,
    0x93b5_a7d1,
    0xd7a5_3b19,
    0xb2c6_9e4d,
    0x1234_567b,
    -0x2345_678d,
    0x5b3c_1a97,
    0x2d5b_97c3,
    83,
    -78,
    107,
    86,
    11,
    13,
    6,
];

/// [`GENERIC`] constants a value, one set after another; a single set if no value varies.
fn generic_constants(ranges: &[Range]) -> Vec<Vec<i64>> {
    if ranges.iter().all(|range| range.is_single()) {
        return vec![ranges.iter().map(|range| range.lo).collect()];
    }
    let choose = |range: &Range, index: usize| {
        let mut fitting: Vec<i64> = Vec::new();
        for constant in CONSTANTS {
            let value = constant & !((1i64 << range.align) - 1);
            if range.contains(value) && !fitting.contains(&value) {
                fitting.push(value);
            }
        }
        // A range too narrow for them (it has few values at all) repeats what it has.
        match fitting.len() {
            0 => range.lo,
            some => fitting[index % some],
        }
    };
    (0..GENERIC)
        .map(|index| {
            ranges
                .iter()
                .enumerate()
                // Different constants for different values of one form, also over the whole set, so that their fields cannot
                // be mistaken.
                .map(|(value, range)| choose(range, (index + value) % (GENERIC + 1)))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(name: &str) -> (InstructionSet, Plan) {
        let isa = InstructionSet::builtin(name).unwrap().unwrap();
        let target = Target::builtin("x86_64").unwrap();
        let plan = plan(&isa, &target, |lo, hi, _| vec![lo, hi]);
        (isa, plan)
    }

    #[test]
    fn every_form_has_a_record_for_every_assignment() {
        let (isa, plan) = plan_of("toy");
        let machine = Target::builtin("x86_64").unwrap().machine();
        for form in &plan.forms {
            let op = &isa.ops[form.op];
            let count: usize = form.form.radices(op, &machine).iter().product();
            for alternative in &form.alternatives {
                assert_eq!(alternative.records.len(), count, "{}", op.name);
                for (index, record) in alternative.records.iter().enumerate() {
                    if let Record::Same(other) = record {
                        assert!(*other < index);
                        assert!(matches!(
                            alternative.records[*other],
                            Record::Compiled { .. }
                        ));
                    }
                }
            }
        }
    }

    #[test]
    fn generic_constants_lie_in_their_ranges_and_differ() {
        let (_, plan) = plan_of("wasm");
        for form in &plan.forms {
            for alternative in &form.alternatives {
                let sets = generic_constants(&alternative.ranges);
                for (value, range) in alternative.ranges.iter().enumerate() {
                    assert!(sets.iter().all(|set| range.contains(set[value])));
                    assert!(
                        range.is_single() || sets[0][value] != sets[1][value],
                        "{range:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn slots_in_reach_of_a_byte_are_offsets_of_whole_words() {
        let target = Target::builtin("x86_64").unwrap();
        let isa = InstructionSet::builtin("wasm").unwrap().unwrap();
        let op = &isa.ops[isa.op("core.move_i64").unwrap()];
        let ranges = ranges(op, Value::OperandSlot(0, ValueType::I64), &target);
        let near = Range {
            lo: -128,
            hi: 120,
            align: 3,
        };
        assert_eq!(ranges.len(), 2);
        assert_eq!(ranges[0], near);
        assert!(ranges[1].covers(near));
    }

    #[test]
    fn every_lane_has_code_of_its_own_and_a_vectors_halves_keep_all_bits() {
        let (isa, plan) = plan_of("wasm");
        let alternatives = |name: &str| {
            let op = isa.op(name).unwrap();
            let form = plan.forms.iter().find(|form| form.op == op).unwrap();
            &form.alternatives
        };
        let lanes: Vec<_> = alternatives("i32x4.extract_lane")
            .iter()
            .map(|alternative| alternative.ranges.clone())
            .collect();
        assert_eq!(lanes, [0, 1, 2, 3].map(|lane| vec![Range::only(lane)]));
        for alternative in alternatives("i32x4.extract_lane") {
            assert!(alternative.is_fixed());
            for record in &alternative.records {
                let Record::Compiled { generic, .. } = record else {
                    panic!("a lane's record that is another's")
                };
                assert_eq!(plan.jobs[*generic].values, [alternative.ranges[0].lo]);
            }
        }
        // An offset in reach of a byte, and one in reach of four.
        assert_eq!(alternatives("v128.load64_lane").len(), 2 * 2);
        let all = Range {
            lo: i64::MIN,
            hi: i64::MAX,
            align: 0,
        };
        let constants = alternatives("v128.const");
        assert_eq!(constants.len(), 1);
        assert_eq!(constants[0].ranges, [all; 2]);
    }
}
