//! Random valid programs for any op table.
//!
//! Programs end: calls go to functions of higher number only, and every way back to the beginning of a loop spends one
//! of the loop's turns, which it keeps in variables of its own: `Get(a) Get(b) Set(a) Constant(0) Set(b) BrIf` takes the
//! first turn and moves the others up, with operations of `core` alone. The steps that a program can take are
//! estimated from above while it is generated.

mod calls;
mod drill;
mod machine;
mod values;

use copatch::{Signature, ValueType};
use copatch_spec::pack::Metadata;
use copatch_spec::{Operation, Shape};

pub use values::canonical;
pub(crate) use values::types;

use machine::{Transition, state_machine};
use values::{argument, constant, pick_signature, pick_types};

use crate::choices::Choices;
use crate::dialect::Dialect;
use crate::program::{Function, Program, Step};

/// Steps that a program may take, estimated from above.
const STEPS: u64 = 50_000;
/// Steps of a function's text, about.
const TEXT: usize = 600;
/// The same of a state machine's function: the numbers are for its tail calls.
const STATE_TEXT: usize = 60;
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
    let mut count = 1 + choices.below(4);
    let kind = Kind::pick(&mut choices);
    let signatures = match kind {
        Kind::Machine => {
            count = count.max(2);
            let signatures = state_machine(&types, count, &mut choices);
            // All that was handed over is looked at.
            program.helpers.push(Signature {
                params: signatures[count - 1].params.clone(),
                results: Vec::new(),
            });
            signatures
        }
        Kind::Drill => {
            count = 1;
            program.helpers = drill::helpers(&types);
            vec![drill::signature(&types)]
        }
        Kind::Ordinary => {
            let mut signatures: Vec<Signature> = (0..count)
                .map(|_| pick_signature(&types, &mut choices))
                .collect();
            // Tail calls need functions that return the same.
            for index in 1..count {
                if choices.one_in(2) {
                    signatures[index].results = signatures[index - 1].results.clone();
                }
            }
            signatures
        }
    };
    // Decided before the functions, which may use all numbers up.
    program.arguments = signatures[0]
        .params
        .iter()
        .map(|ty| argument(*ty, &mut choices))
        .collect();
    let transitions: Vec<Option<Transition>> = signatures
        .windows(2)
        .map(|pair| match kind {
            Kind::Machine => Some(Transition::new(pair, &mut choices)),
            _ => None,
        })
        .chain([None])
        .collect();
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
            kind,
            arguments: &program.arguments,
            transition: transitions[index].as_ref(),
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
    program
}

/// What a program is about.
#[derive(Clone, Copy)]
enum Kind {
    /// Everything.
    Ordinary,
    /// See [`machine`].
    Machine,
    /// See [`drill`](mod@drill).
    Drill,
}

impl Kind {
    fn pick(choices: &mut Choices) -> Self {
        match choices.below(4) {
            2 => Kind::Machine,
            3 => Kind::Drill,
            _ => Kind::Ordinary,
        }
    }

    /// Steps of a function's text, about.
    fn text(self) -> usize {
        match self {
            Kind::Machine => STATE_TEXT,
            _ => TEXT,
        }
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
    kind: Kind,
    /// What function 0 is called with.
    arguments: &'g [u128],
    /// How it goes on in the next function, if it does.
    transition: Option<&'g Transition>,
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
        let locals = match self.kind {
            Kind::Machine => self.choices.below(3),
            _ => 2 + self.choices.below(10),
        };
        self.variables
            .extend(pick_types(self.types, locals, self.choices));
        self.writable.resize(self.variables.len(), true);
        self.frames.push(Frame {
            label: signature.results.clone(),
            turns: Vec::new(),
            is_loop: false,
        });
        match self.transition {
            // Parameters that came in slots are still there.
            Some(transition) if transition.at_once => self.go_on(transition),
            None if matches!(self.kind, Kind::Machine) => {
                for var in 0..signature.params.len() {
                    self.emit(Step::Get(var as u32));
                }
                self.emit(Step::Helper(self.helpers.len() as u32 - 1));
            }
            _ => {}
        }
        match self.kind {
            Kind::Drill => self.drill(),
            _ => self.statements(),
        }
        if let Some(transition) = self.transition.filter(|transition| !transition.at_once) {
            self.go_on(transition);
        }
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
            || self.body.len() >= self.kind.text()
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
                && !op.is_core()
                && (may_trap || op.traps.is_empty() || op.uses_ctx)
        };
        let metadata = self.metadata;
        let found: Vec<&Operation> = metadata.ops.iter().filter(fits).collect();
        let chosen = self.choices.pick(&found).copied();
        let applied = chosen.is_some_and(|operation| self.apply(operation));
        if let (false, Some(ty)) = (applied, result) {
            self.constant(ty);
        }
    }

    /// Pushes operands and applies the operation; false, with nothing done, if the dialect leaves it out.
    fn apply(&mut self, operation: &Operation) -> bool {
        let Some(immediates) = self.dialect.immediates(operation, self.choices) else {
            return false;
        };
        let Some(settled) = self.settled(operation) else {
            return false;
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
        for step in settled {
            self.emit(step);
        }
        true
    }

    /// What comes behind an operation that may leave NaNs in a vector; `None` if the table has no operations for it.
    fn settled(&mut self, operation: &Operation) -> Option<Vec<Step>> {
        let next = self.variables.len() as u32;
        let steps = match operation.result {
            Some(ValueType::V128) => self.dialect.settle(operation, next),
            _ => Vec::new(),
        };
        if !steps.is_empty() {
            self.fresh(ValueType::V128);
        }
        let known = |step: &Step| match step {
            Step::Op(name, _) => self.has(name),
            _ => true,
        };
        steps.iter().all(known).then_some(steps)
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
        self.take_branch(depth);
    }

    /// Pops a condition and branches if it is not zero; where nothing is carried, now and then after setting a variable to a constant,
    /// which front ends may do in one step.
    fn take_branch(&mut self, depth: u32) {
        let carries = !self.frames[self.frames.len() - 1 - depth as usize]
            .label
            .is_empty();
        if !carries
            && self.choices.one_in(3)
            && let Some(ty) = self.choices.pick(self.types).copied()
            && let Some(var) = self.variable(ty, true)
        {
            self.emit(Step::If(Vec::new(), Vec::new()));
            self.constant(ty);
            self.emit(Step::Set(var));
            self.emit(Step::Br(depth + 1));
            self.emit(Step::End);
        } else {
            self.emit(Step::BrIf(depth));
        }
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
            self.take_branch(depth as u32);
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
        if self.choices.one_in(2) && self.has("i32.and") {
            self.emit(Step::Constant(ValueType::I32, 3));
            self.emit(Step::Op("i32.and".to_owned(), Vec::new()));
        }
        self.frames.pop();
        self.emit(Step::BrTable(chosen, depth + 1));
        self.emit(Step::End);
        self.consume(label);
    }

    fn has(&self, name: &str) -> bool {
        self.metadata.ops.iter().any(|op| op.name == name)
    }
}

#[cfg(test)]
mod tests;
