//! Drills: programs that apply one operation after another to parameters and to constants at the borders of encodings, and show
//! every result to a helper. Ordinary programs lose much of what operations give; these do not.

use copatch::{Signature, ValueType};
use copatch_spec::{Operation, Shape};

use super::{DEPTH, Generator, canonical};
use crate::program::Step;

/// Operations of one program.
const TURNS: usize = 32;

/// Parameters of each type. They are not written.
const EACH: usize = 3;

/// The function of a drill: some parameters of each type, so that operands are in different registers.
pub(super) fn signature(types: &[ValueType]) -> Signature {
    let params = types.iter().flat_map(|ty| [*ty; EACH]);
    Signature {
        params: params.collect(),
        results: Vec::new(),
    }
}

/// The helpers that look at results: one for each type.
pub(super) fn helpers(types: &[ValueType]) -> Vec<Signature> {
    let helper = |ty: &ValueType| Signature {
        params: vec![*ty],
        results: Vec::new(),
    };
    types.iter().map(helper).collect()
}

impl Generator<'_, '_> {
    /// The body, but for its end.
    pub(super) fn drill(&mut self) {
        let fits = |op: &&Operation| {
            op.shape == Shape::Next
                && op.result.is_some_and(|ty| self.types.contains(&ty))
                && op.operands.iter().all(|ty| self.types.contains(ty))
                && !op.is_core()
        };
        let operations: Vec<&Operation> = self.metadata.ops.iter().filter(fits).collect();
        // Operands are variables and constants.
        self.depth += DEPTH;
        for turn in 0..TURNS {
            if self.choices.exhausted() {
                break;
            }
            let operation = self.choices.pick(&operations).copied();
            let Some((operation, ty)) = operation.and_then(|op| Some((op, op.result?))) else {
                break;
            };
            let applied = match self.choices.below(3) {
                0 => self.apply_to_neighbours(operation),
                _ => self.apply(operation),
            };
            if !applied {
                continue;
            }
            let helper = self.types.iter().position(|other| *other == ty);
            let note = Step::Helper(helper.unwrap_or(0) as u32);
            if operation.branch && self.choices.one_in(2) {
                // Fused with a branch, what it gives is where control goes.
                self.emit(Step::If(Vec::new(), Vec::new()));
                self.emit(Step::Constant(ty, turn as u64));
                self.emit(note);
                self.emit(Step::End);
                continue;
            }
            self.emit(note);
        }
        self.depth -= DEPTH;
    }

    /// Applies an operation on two integers to a parameter and to what it holds, or one more or less: a comparison that is
    /// wrong by one shows nowhere else.
    fn apply_to_neighbours(&mut self, operation: &Operation) -> bool {
        let [ty @ (ValueType::I32 | ValueType::I64), other] = operation.operands[..] else {
            return self.apply(operation);
        };
        if ty != other || operation.uses_mem || operation.uses_ctx {
            return self.apply(operation);
        }
        let Some(immediates) = self.dialect.immediates(operation, self.choices) else {
            return false;
        };
        let first = self.types.iter().position(|found| *found == ty);
        let var = first.unwrap_or(0) * EACH + self.choices.below(EACH);
        let value = self.arguments.get(var).copied().unwrap_or(0) as u64;
        let near = value
            .wrapping_add(self.choices.below(3) as u64)
            .wrapping_sub(1);
        self.emit(Step::Get(var as u32));
        self.emit(Step::Constant(ty, canonical(ty, near)));
        self.emit(Step::Op(operation.name.clone(), immediates));
        true
    }
}
