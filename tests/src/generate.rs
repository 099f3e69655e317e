//! Random valid programs for any op table.
//!
//! Programs end: calls go to functions of higher number only, and every way back to the beginning of a loop spends one
//! of the loop's turns, which it keeps in variables of its own: `Get(a) Get(b) Set(a) Constant(0) Set(b) BrIf` takes the
//! first turn and moves the others up, with operations of `core` alone. The steps that a program can take are
//! estimated from above while it is generated.

use copatch::{Signature, ValueType};
use copatch_spec::pack::Metadata;
use copatch_spec::{Operation, Shape};

use crate::choices::Choices;
use crate::dialect::Dialect;
use crate::program::{Function, Program, Step};

/// Steps that a program may take, estimated from above.
const STEPS: u64 = 50_000;
/// Steps of a function's text, about.
const TEXT: usize = 600;
/// Constructs and expressions inside each other.
const DEPTH: usize = 7;
/// Turns of a loop after its first.
const TURNS: usize = 3;

/// Generates the program that `numbers` stand for.
pub fn generate(metadata: &Metadata, dialect: &dyn Dialect, numbers: &[u64]) -> Program {
    let mut choices = Choices::new(numbers);
    let types = types(metadata);
    let mut program = Program::default();
    for _ in 0..choices.below(3) {
        let params = pick_types(&types, choices.below(4), &mut choices);
        let results = pick_types(&types, choices.below(3), &mut choices);
        program.helpers.push(Signature { params, results });
    }
    let count = 1 + choices.below(4);
    let mut signatures: Vec<Signature> = (0..count)
        .map(|_| pick_signature(&types, &mut choices))
        .collect();
    // Tail calls need functions that return the same.
    for index in 1..count {
        if choices.one_in(2) {
            signatures[index].results = signatures[index - 1].results.clone();
        }
    }
    let mut costs = vec![0; count];
    for index in (0..count).rev() {
        let generator = Generator {
            metadata,
            dialect,
            types: &types,
            helpers: &program.helpers,
            signatures: &signatures,
            costs: &costs,
            index,
            choices: &mut choices,
            variables: Vec::new(),
            writable: Vec::new(),
            body: Vec::new(),
            frames: Vec::new(),
            weight: 1,
            cost: 0,
            depth: 0,
        };
        let (function, cost) = generator.function();
        costs[index] = cost;
        program.functions.insert(0, function);
    }
    program.arguments = signatures[0]
        .params
        .iter()
        .map(|ty| constant(*ty, &mut choices))
        .collect();
    program
}

/// The types that operations of the table compute, in the order of their discriminants.
fn types(metadata: &Metadata) -> Vec<ValueType> {
    let own = metadata
        .ops
        .iter()
        .filter(|op| !op.name.starts_with("core."));
    let mentioned: Vec<ValueType> = own
        .flat_map(|op| op.operands.iter().chain(&op.result).copied())
        .collect();
    let known = |ty: &ValueType| mentioned.contains(ty) && *ty != ValueType::V128;
    ValueType::ALL.into_iter().filter(known).collect()
}

fn pick_types(types: &[ValueType], count: usize, choices: &mut Choices) -> Vec<ValueType> {
    (0..count)
        .filter_map(|_| choices.pick(types).copied())
        .collect()
}

/// Now and then there are more parameters or results than registers that carry them.
fn pick_signature(types: &[ValueType], choices: &mut Choices) -> Signature {
    let params = if choices.one_in(6) {
        9 + choices.below(16)
    } else {
        choices.below(4)
    };
    let results = if choices.one_in(8) {
        9
    } else {
        choices.below(4)
    };
    Signature {
        params: pick_types(types, params, choices),
        results: pick_types(types, results, choices),
    }
}

/// Bits of a constant: borders of the ranges that encodings of immediates have, and anything.
fn constant(ty: ValueType, choices: &mut Choices) -> u64 {
    let bits = match choices.below(6) {
        0 => choices.below(3) as u64,
        1 => (choices.below(17) as i64 - 8) as u64,
        2 => 1 << choices.below(64),
        3 => (1u64 << choices.below(64)).wrapping_sub(choices.below(3) as u64),
        4 => (1u64 << choices.below(64))
            .wrapping_sub(choices.below(2) as u64)
            .wrapping_neg(),
        _ => choices.bits(),
    };
    match ty {
        ValueType::I32 => bits & 0xffff_ffff,
        ValueType::I64 | ValueType::V128 => bits,
        ValueType::F32 => {
            let value = match choices.below(4) {
                0 => bits as i64 as f32,
                1 => f32::INFINITY,
                2 => -0.0,
                _ => f32::from_bits(bits as u32),
            };
            canonical(ty, value.to_bits().into())
        }
        ValueType::F64 => {
            let value = match choices.below(4) {
                0 => bits as i64 as f64,
                1 => f64::NEG_INFINITY,
                2 => -0.0,
                _ => f64::from_bits(bits),
            };
            canonical(ty, value.to_bits())
        }
    }
}

/// The same value with any NaN replaced by the canonical one, and without bits that the type does not have.
pub fn canonical(ty: ValueType, bits: u64) -> u64 {
    match ty {
        ValueType::I32 => bits & 0xffff_ffff,
        ValueType::F32 if f32::from_bits(bits as u32).is_nan() => 0x7fc0_0000,
        ValueType::F32 => bits & 0xffff_ffff,
        ValueType::F64 if f64::from_bits(bits).is_nan() => 0x7ff8_0000_0000_0000,
        _ => bits,
    }
}

/// What a branch to an open construct must have on the stack, and what it costs.
#[derive(Clone)]
struct Frame {
    label: Vec<ValueType>,
    /// Variables that hold a loop's turns; empty if the label lies ahead.
    turns: Vec<u32>,
    is_loop: bool,
}

struct Generator<'g, 'c> {
    metadata: &'g Metadata,
    dialect: &'g dyn Dialect,
    types: &'g [ValueType],
    helpers: &'g [Signature],
    signatures: &'g [Signature],
    /// Steps of the functions of higher number.
    costs: &'g [u64],
    index: usize,
    choices: &'g mut Choices<'c>,
    variables: Vec<ValueType>,
    /// Whether a variable may be set; those that hold turns may not.
    writable: Vec<bool>,
    body: Vec<Step>,
    frames: Vec<Frame>,
    /// How often what comes next may run.
    weight: u64,
    cost: u64,
    depth: usize,
}

impl Generator<'_, '_> {
    fn function(mut self) -> (Function, u64) {
        let signature = self.signatures[self.index].clone();
        self.variables.clone_from(&signature.params);
        let locals = 2 + self.choices.below(10);
        self.variables
            .extend(pick_types(self.types, locals, self.choices));
        self.writable.resize(self.variables.len(), true);
        self.frames.push(Frame {
            label: signature.results.clone(),
            turns: Vec::new(),
            is_loop: false,
        });
        self.statements();
        self.expressions(&signature.results);
        self.emit(Step::End);
        let locals = self.variables.split_off(signature.params.len());
        (
            Function {
                signature,
                locals,
                body: self.body,
            },
            self.cost,
        )
    }

    fn emit(&mut self, step: Step) {
        self.cost += self.weight;
        self.body.push(step);
    }

    /// Whether it is time to finish.
    fn full(&self) -> bool {
        self.depth >= DEPTH
            || self.body.len() >= TEXT
            || self.cost > STEPS
            || self.choices.exhausted()
    }

    fn expressions(&mut self, types: &[ValueType]) {
        for ty in types {
            self.expression(*ty);
        }
    }

    /// Pushes a value.
    fn expression(&mut self, ty: ValueType) {
        self.depth += 1;
        let kind = if self.full() {
            self.choices.below(2)
        } else {
            self.choices.below(16)
        };
        match kind {
            0 => self.constant(ty),
            1 | 2 => match self.variable(ty, false) {
                Some(var) => self.emit(Step::Get(var)),
                None => self.constant(ty),
            },
            3 => {
                self.expression(ty);
                if let Some(var) = self.variable(ty, true) {
                    self.emit(Step::Tee(var));
                }
            }
            4 => {
                self.expressions(&[ty, ty, ValueType::I32]);
                self.emit(Step::Select(ty));
            }
            5 => self.construct(&[ty]),
            6 => self.call(Some(ty)),
            _ => self.operation(Some(ty)),
        }
        self.depth -= 1;
    }

    fn constant(&mut self, ty: ValueType) {
        let bits = constant(ty, self.choices);
        self.emit(Step::Constant(ty, bits));
    }

    fn variable(&mut self, ty: ValueType, write: bool) -> Option<u32> {
        let fits =
            |index: &usize| self.variables[*index] == ty && (!write || self.writable[*index]);
        let found: Vec<usize> = (0..self.variables.len()).filter(fits).collect();
        self.choices.pick(&found).map(|index| *index as u32)
    }

    /// An operation of the table that gives `result`.
    fn operation(&mut self, result: Option<ValueType>) {
        let may_trap = self.choices.one_in(12);
        let fits = |op: &&Operation| {
            op.shape == Shape::Next
                && op.result == result
                && !op.name.starts_with("core.")
                && (may_trap || op.traps.is_empty() || op.uses_ctx)
                && !op.operands.contains(&ValueType::V128)
        };
        let metadata = self.metadata;
        let found: Vec<&Operation> = metadata.ops.iter().filter(fits).collect();
        let chosen = self.choices.pick(&found).copied();
        let Some((operation, immediates)) = chosen.and_then(|op| {
            self.dialect
                .immediates(op, self.choices)
                .map(|immediates| (op, immediates))
        }) else {
            if let Some(ty) = result {
                self.constant(ty);
            }
            return;
        };
        for (index, ty) in operation.operands.iter().enumerate() {
            self.expression(*ty);
            for step in self.dialect.confine(operation, index, self.choices) {
                self.emit(step);
            }
        }
        if let Some(ty) = operation.operands.last().copied()
            && self.dialect.shows_nan(operation)
        {
            self.make_canonical(ty);
        }
        self.emit(Step::Op(operation.name.clone(), immediates));
    }

    /// Replaces a NaN on top of the stack by the canonical one: the value if it equals itself, else that.
    fn make_canonical(&mut self, ty: ValueType) {
        let value = self.fresh(ty);
        let nan = canonical(ty, u64::MAX);
        for step in [
            Step::Tee(value),
            Step::Constant(ty, nan),
            Step::Get(value),
            Step::Get(value),
        ] {
            self.emit(step);
        }
        self.emit(self.dialect.equal(ty));
        self.emit(Step::Select(ty));
    }

    /// A variable that only the generator writes.
    fn fresh(&mut self, ty: ValueType) -> u32 {
        self.variables.push(ty);
        self.writable.push(false);
        self.variables.len() as u32 - 1
    }

    fn statements(&mut self) {
        self.depth += 1;
        while !self.full() && !self.choices.one_in(4) {
            self.statement();
        }
        self.depth -= 1;
    }

    fn statement(&mut self) {
        match self.choices.below(14) {
            0..=4 => {
                let Some(ty) = self.choices.pick(self.types).copied() else {
                    return;
                };
                self.expression(ty);
                match self.variable(ty, true) {
                    Some(var) => self.emit(Step::Set(var)),
                    None => self.emit(Step::Drop),
                }
            }
            5 => self.operation(None),
            6 | 7 => {
                let count = self.choices.below(3);
                let results = pick_types(self.types, count, self.choices);
                self.construct(&results);
                self.consume(&results);
            }
            8 | 9 => self.construct(&[]),
            10 => self.call(None),
            11 => self.branch_if(),
            12 => self.helper(),
            _ => self.leave(),
        }
    }

    /// Pops values of these types into variables, or drops them.
    fn consume(&mut self, types: &[ValueType]) {
        for ty in types.iter().rev() {
            match self.variable(*ty, true) {
                Some(var) => self.emit(Step::Set(var)),
                None => self.emit(Step::Drop),
            }
        }
    }

    /// A block, loop or conditional that gives `results`.
    fn construct(&mut self, results: &[ValueType]) {
        let kind = self.choices.below(4);
        let count = if self.choices.one_in(3) {
            1 + self.choices.below(2)
        } else {
            0
        };
        let params = pick_types(self.types, count, self.choices);
        self.expressions(&params);
        let turns = self.choices.below(TURNS + 1);
        match kind {
            0 => {
                self.emit(Step::Block(params.clone(), results.to_vec()));
                self.arm(&params, results, results, Vec::new(), false);
            }
            1 | 2 => {
                self.expression(ValueType::I32);
                self.emit(Step::If(params.clone(), results.to_vec()));
                self.arm(&params, results, results, Vec::new(), false);
                if kind == 1 || params != results {
                    self.emit(Step::Else);
                    self.arm(&params, results, results, Vec::new(), false);
                }
            }
            _ => {
                let vars: Vec<u32> = (0..turns).map(|_| self.fresh(ValueType::I32)).collect();
                for var in &vars {
                    self.emit(Step::Constant(ValueType::I32, 1));
                    self.emit(Step::Set(*var));
                }
                self.emit(Step::Loop(params.clone(), results.to_vec()));
                let outside = self.weight;
                self.weight *= turns as u64 + 1;
                let label = params.clone();
                self.arm(&params, &label, results, vars, true);
                self.weight = outside;
            }
        }
        self.emit(Step::End);
    }

    /// The inside of a construct: takes `params` from the stack, leaves `results`.
    fn arm(
        &mut self,
        params: &[ValueType],
        label: &[ValueType],
        results: &[ValueType],
        turns: Vec<u32>,
        is_loop: bool,
    ) {
        self.depth += 1;
        self.frames.push(Frame {
            label: label.to_vec(),
            turns,
            is_loop,
        });
        self.consume(params);
        self.statements();
        if is_loop {
            self.expressions(label);
            self.turn(0);
            // What was meant for the loop's beginning is still there.
            self.consume(label);
        }
        if self.choices.one_in(5) {
            // Leaves with results on top of more than them, which a branch discards.
            let extra = self.choices.below(2);
            for ty in pick_types(self.types, extra, self.choices) {
                self.expression(ty);
            }
            self.expressions(results);
            if !is_loop {
                self.emit(Step::Br(0));
                self.frames.pop();
                self.depth -= 1;
                return;
            }
            for _ in results {
                self.emit(Step::Drop);
            }
            for _ in 0..extra {
                self.emit(Step::Drop);
            }
        }
        self.expressions(results);
        self.frames.pop();
        self.depth -= 1;
    }

    /// Goes back to the beginning of the loop `depth` levels out if it has a turn left.
    fn turn(&mut self, depth: u32) {
        let at = self.frames.len() - 1 - depth as usize;
        let turns = self.frames[at].turns.clone();
        let Some(first) = turns.first() else { return };
        self.emit(Step::Get(*first));
        for pair in turns.windows(2) {
            self.emit(Step::Get(pair[1]));
            self.emit(Step::Set(pair[0]));
        }
        if let Some(last) = turns.last() {
            self.emit(Step::Constant(ValueType::I32, 0));
            self.emit(Step::Set(*last));
        }
        self.emit(Step::BrIf(depth));
    }

    /// Branches somewhere if a condition holds.
    fn branch_if(&mut self) {
        let depth = self.choices.below(self.frames.len());
        let frame = self.frames[self.frames.len() - 1 - depth].clone();
        self.expressions(&frame.label);
        if frame.is_loop {
            self.turn(depth as u32);
        } else if self.choices.one_in(3) {
            self.table(&frame.label, depth as u32);
            return;
        } else {
            self.expression(ValueType::I32);
            self.emit(Step::BrIf(depth as u32));
        }
        self.consume(&frame.label);
    }

    /// Inside a construct of its own, branches through a table to labels like that of the construct `depth` levels out.
    fn table(&mut self, label: &[ValueType], depth: u32) {
        self.emit(Step::Block(label.to_vec(), label.to_vec()));
        let like = |frame: &Frame| !frame.is_loop && frame.label == label;
        let frames = self
            .frames
            .iter()
            .rev()
            .enumerate()
            .filter(|(_, frame)| like(frame));
        let mut targets: Vec<u32> = frames.map(|(index, _)| index as u32 + 1).collect();
        targets.push(0);
        let count = self.choices.below(5);
        let chosen = (0..count)
            .filter_map(|_| self.choices.pick(&targets).copied())
            .collect();
        self.frames.push(Frame {
            label: label.to_vec(),
            turns: Vec::new(),
            is_loop: false,
        });
        self.expression(ValueType::I32);
        if self.choices.one_in(2) && self.dialect_has_and() {
            self.emit(Step::Constant(ValueType::I32, 3));
            self.emit(Step::Op("i32.and".to_owned(), Vec::new()));
        }
        self.frames.pop();
        self.emit(Step::BrTable(chosen, depth + 1));
        self.emit(Step::End);
        self.consume(label);
    }

    fn dialect_has_and(&self) -> bool {
        self.metadata.ops.iter().any(|op| op.name == "i32.and")
    }

    /// Leaves the function, or stops; what follows in the construct is not reached.
    fn leave(&mut self) {
        match self.choices.below(8) {
            0 => {
                self.begin_unless();
                let results = self.signatures[self.index].results.clone();
                self.expressions(&results);
                self.end_unless(Step::Return);
            }
            1 if self.choices.one_in(4) => {
                self.begin_unless();
                let kind = self.choices.below(self.metadata.traps.len()) as u8;
                self.end_unless(Step::Trap(kind));
            }
            2 | 3 => self.tail_call(),
            _ => self.branch_if(),
        }
    }

    /// Goes on in another function if a condition does not hold.
    fn tail_call(&mut self) {
        let (signatures, costs) = (self.signatures, self.costs);
        let fits = |callee: &usize| {
            let same = signatures[*callee].results == signatures[self.index].results;
            same && costs[*callee] + self.cost < STEPS
        };
        let found: Vec<usize> = (self.index + 1..signatures.len()).filter(fits).collect();
        let Some(callee) = self.choices.pick(&found).copied() else {
            return;
        };
        self.begin_unless();
        // State machines pass their variables on, to other places.
        let plain = self.choices.one_in(2);
        for ty in &signatures[callee].params {
            match self.variable(*ty, false) {
                Some(var) if plain => self.emit(Step::Get(var)),
                _ => self.expression(*ty),
            }
        }
        // At most once, in whatever loop it stands.
        self.cost += costs[callee];
        let last = if self.choices.one_in(3) {
            Step::TailCallPointer(callee as u32)
        } else {
            Step::TailCall(callee as u32)
        };
        self.end_unless(last);
    }

    /// Opens a block that is left at once if a condition holds.
    fn begin_unless(&mut self) {
        self.emit(Step::Block(Vec::new(), Vec::new()));
        self.frames.push(Frame {
            label: Vec::new(),
            turns: Vec::new(),
            is_loop: false,
        });
        self.expression(ValueType::I32);
        self.emit(Step::BrIf(0));
    }

    fn end_unless(&mut self, last: Step) {
        self.emit(last);
        self.frames.pop();
        self.emit(Step::End);
    }

    /// A call of a function with one result of that type, or of any.
    fn call(&mut self, result: Option<ValueType>) {
        let (signatures, costs) = (self.signatures, self.costs);
        let affordable = |callee: &usize| {
            let wanted = result.is_none_or(|ty| signatures[*callee].results == [ty]);
            wanted && costs[*callee].saturating_mul(self.weight) + self.cost < STEPS
        };
        let found: Vec<usize> = (self.index + 1..signatures.len())
            .filter(affordable)
            .collect();
        let Some(callee) = self.choices.pick(&found).copied() else {
            return match result {
                Some(ty) => self.constant(ty),
                None => self.helper(),
            };
        };
        let signature = &signatures[callee];
        self.expressions(&signature.params);
        self.cost += costs[callee].saturating_mul(self.weight);
        let through_pointer = self.choices.one_in(3);
        self.emit(if through_pointer {
            Step::CallPointer(callee as u32)
        } else {
            Step::Call(callee as u32)
        });
        if result.is_none() {
            self.consume(&signature.results);
        }
    }

    fn helper(&mut self) {
        let helpers = self.helpers;
        let index = self.choices.below(helpers.len());
        let Some(signature) = helpers.get(index) else {
            return;
        };
        self.expressions(&signature.params);
        self.emit(Step::Helper(index as u32));
        self.consume(&signature.results);
    }
}

#[cfg(test)]
mod tests {
    use copatch_spec::{InstructionSet, Target};

    use super::*;
    use crate::dialect::Dialect;

    /// What a pack would say of an instruction set.
    fn metadata(isa: &str) -> Metadata {
        let isa = InstructionSet::builtin(isa).unwrap().unwrap();
        Metadata {
            isa: isa.name,
            isa_version: isa.version,
            isa_digest: isa.digest,
            triple: String::new(),
            features: String::new(),
            cpu: Vec::new(),
            compiler: String::new(),
            flags: Vec::new(),
            machine: Target::builtin("x86_64").unwrap().machine(),
            traps: isa.traps,
            kinds: Vec::new(),
            ops: isa.ops,
        }
    }

    struct Anything;

    impl Dialect for Anything {
        fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
            Some(
                operation
                    .immediates
                    .iter()
                    .map(|_| choices.below(100) as i64)
                    .collect(),
            )
        }
    }

    fn numbers(seed: u64, length: usize) -> Vec<u64> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..length).map(next).collect()
    }

    /// Every list of numbers is a valid program, and the programs together use everything there is.
    #[test]
    fn programs_are_valid_and_use_every_step_and_operation() {
        for isa in ["toy", "wasm"] {
            let metadata = metadata(isa);
            let mut seen = std::collections::BTreeSet::new();
            let mut steps = 0;
            for seed in 0..2_000 {
                let program = generate(&metadata, &Anything, &numbers(seed, seed as usize % 600));
                crate::valid::check(&program, &metadata)
                    .unwrap_or_else(|what| panic!("{what}\n{program}"));
                for step in program.functions.iter().flat_map(|function| &function.body) {
                    steps += 1;
                    match step {
                        Step::Op(name, _) => seen.insert(name.clone()),
                        step => seen.insert(
                            format!("{step:?}")
                                .split(['(', ' '])
                                .next()
                                .unwrap_or("")
                                .to_owned(),
                        ),
                    };
                }
            }
            // Programs of the kit have no vectors; tests/tests/simd judges those.
            let operations = metadata.ops.iter().filter(|op| {
                let vector = &ValueType::V128;
                !op.name.starts_with("core.")
                    && !op.operands.contains(vector)
                    && op.result.as_ref() != Some(vector)
            });
            for name in operations.map(|op| op.name.as_str()) {
                assert!(seen.contains(name), "{name} is never used");
            }
            let constructs = [
                "Block",
                "Loop",
                "If",
                "Else",
                "Br",
                "BrIf",
                "BrTable",
                "Return",
                "Trap",
                "Call",
                "CallPointer",
                "TailCall",
                "TailCallPointer",
            ];
            for step in constructs
                .into_iter()
                .chain(["Helper", "Select", "Tee", "Drop"])
            {
                assert!(seen.contains(step), "{step} is never used in {isa}");
            }
            assert!((100_000..2_000_000).contains(&steps), "{steps} steps");
        }
    }

    #[test]
    fn no_decisions_are_the_smallest_program() {
        let program = generate(&metadata("toy"), &Anything, &[]);
        assert_eq!(program.functions.len(), 1);
        assert_eq!(program.functions[0].body, [Step::End]);
    }
}
