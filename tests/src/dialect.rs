//! What the kit cannot read from an op table, and a front end tells it.

use copatch::ValueType;
use copatch_spec::Operation;

use crate::choices::Choices;
use crate::program::{Step, op};

/// Bytes of linear memory (or of whatever else operations work on) that a program gets.
pub const MEMORY: usize = 1 << 16;

/// What operations of an instruction set expect of their surroundings.
pub trait Dialect {
    /// The words that follow the engine's context; `memory` is the address of [`MEMORY`] bytes.
    fn context(&self, memory: *mut u8) -> Vec<u64> {
        let _ = memory;
        Vec::new()
    }

    /// Immediates for an operation, or `None` to leave it out. Accesses that do not check themselves must stay inside
    /// [`MEMORY`] and the words of [`Dialect::context`].
    fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
        (operation.immediates.is_empty() && !operation.uses_mem && !operation.uses_ctx)
            .then(Vec::new)
            .filter(|_| choices.bits() < u64::MAX)
    }

    /// Steps that turn operand `index`, on top of the stack, into one that the operation can take.
    fn confine(&self, operation: &Operation, index: usize, choices: &mut Choices) -> Vec<Step> {
        let _ = (operation, index, choices);
        Vec::new()
    }

    /// Whether the operation shows the payload or the sign of a NaN that is its last operand. Those bits differ between
    /// ways to compute a NaN, so the kit makes it canonical first.
    fn shows_nan(&self, operation: &Operation) -> bool {
        let float = |ty: &ValueType| matches!(ty, ValueType::F32 | ValueType::F64);
        let compares = operation.branch
            || operation.result == Some(ValueType::I32) && operation.operands.len() == 2;
        let takes = operation.operands.last().is_some_and(float);
        let gives = operation.result.as_ref().is_some_and(float);
        takes && !compares && (!gives || operation.name.contains("copysign"))
    }

    /// Steps that make what a vector operation left on the stack the same however it was computed, if a lane may be a NaN.
    /// They begin by `Tee(value)`, a variable of their own, and leave the result there, too. Where the table lacks an
    /// operation of theirs, this one is left out.
    fn settle(&self, operation: &Operation, value: u32) -> Vec<Step> {
        let Some((lanes @ ("f32x4" | "f64x2"), verb)) = operation.name.split_once('.') else {
            return Vec::new();
        };
        if ["eq", "ne", "lt", "gt", "le", "ge"].contains(&verb) {
            return Vec::new();
        }
        // A lane that does not equal itself becomes zero.
        vec![
            Step::Tee(value),
            Step::Get(value),
            Step::Get(value),
            op(&format!("{lanes}.eq"), &[]),
            op("v128.and", &[]),
            Step::Tee(value),
        ]
    }

    /// The operation that compares two floats for equality.
    fn equal(&self, ty: ValueType) -> Step {
        op(&format!("{}.eq", ty.name()), &[])
    }
}

/// A dialect that is chosen when the program runs.
impl Dialect for Box<dyn Dialect> {
    fn context(&self, memory: *mut u8) -> Vec<u64> {
        (**self).context(memory)
    }

    fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
        (**self).immediates(operation, choices)
    }

    fn confine(&self, operation: &Operation, index: usize, choices: &mut Choices) -> Vec<Step> {
        (**self).confine(operation, index, choices)
    }

    fn shows_nan(&self, operation: &Operation) -> bool {
        (**self).shows_nan(operation)
    }

    fn settle(&self, operation: &Operation, value: u32) -> Vec<Step> {
        (**self).settle(operation, value)
    }

    fn equal(&self, ty: ValueType) -> Step {
        (**self).equal(ty)
    }
}
