//! The one enumeration of variants that packer, engine and kit share.
//!
//! An operation has **forms** (where each operand lies, and whether the result is fused with a branch); a form has
//! **alternatives** (one for each range of its immediate values, chosen by the packer); an alternative has one
//! **record** for every assignment of its register operands: an index computed here.

use crate::isa::{Operation, Shape};
use crate::target::Machine;
use crate::types::{Place, ValueType};

/// What happens after the operation's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// The result is kept (if there is one) and control goes as the operation's shape says.
    Plain = 0,
    /// To target 0 if the result is not zero; the result itself is not kept.
    BranchTrue = 1,
    /// To target 0 if the result is zero; the result itself is not kept.
    BranchFalse = 2,
}

/// A form packed into bits: two for each operand's place, then one for a result in a slot, then two for the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FormKey(pub u16);

impl FormKey {
    /// How many keys there are.
    pub const COUNT: usize = 1 << 11;

    /// The key of operands all in registers, with a result in a register.
    pub const fn registers() -> Self {
        FormKey(0)
    }

    /// The same key with operand `index` at `place`.
    pub const fn with_operand(self, index: usize, place: Place) -> Self {
        FormKey(self.0 & !(3 << (2 * index)) | (place as u16) << (2 * index))
    }

    /// The same key with the result in a slot.
    pub const fn with_result_slot(self) -> Self {
        FormKey(self.0 | 1 << 8)
    }

    /// The same key with another outcome.
    pub const fn with_outcome(self, outcome: Outcome) -> Self {
        FormKey(self.0 & !(3 << 9) | (outcome as u16) << 9)
    }

    /// The place of operand `index`; `None` if the bits name no place.
    pub const fn operand(self, index: usize) -> Option<Place> {
        match self.0 >> (2 * index) & 3 {
            0 => Some(Place::Register),
            1 => Some(Place::Immediate),
            2 => Some(Place::Slot),
            _ => None,
        }
    }

    /// Whether the result lies in a slot.
    pub const fn result_slot(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    /// The outcome; `None` if the bits name none.
    pub const fn outcome(self) -> Option<Outcome> {
        match self.0 >> 9 {
            0 => Some(Outcome::Plain),
            1 => Some(Outcome::BranchTrue),
            2 => Some(Outcome::BranchFalse),
            _ => None,
        }
    }
}

/// One form of an operation on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Form {
    /// One place an operand.
    pub operands: Vec<Place>,
    /// The result's place; `None` without a result, or when it only steers a branch.
    pub result: Option<Place>,
    /// What follows.
    pub outcome: Outcome,
}

/// What one of a form's patched values is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// The constant operand of that number, of that type.
    Constant(usize, ValueType),
    /// The byte offset from the frame pointer of the operand of that number, of that type.
    OperandSlot(usize, ValueType),
    /// The operation's own immediate of that number.
    Immediate(usize),
    /// The byte offset from the frame pointer of the result.
    ResultSlot(ValueType),
}

impl Form {
    /// The form in the letters of the op table: `ri`, `s>s`, `rr?` and `rr!` (branch if not zero, if zero); `-` without operands.
    pub fn name(&self) -> String {
        let mut name: String = self.operands.iter().map(|place| place.letter()).collect();
        if self.result == Some(Place::Slot) {
            name.push_str(">s");
        }
        name.push_str(match self.outcome {
            Outcome::Plain => "",
            Outcome::BranchTrue => "?",
            Outcome::BranchFalse => "!",
        });
        if name.is_empty() {
            "-".to_owned()
        } else {
            name
        }
    }

    /// The form's key.
    pub fn key(&self) -> FormKey {
        let mut key = FormKey::registers().with_outcome(self.outcome);
        for (index, place) in self.operands.iter().enumerate() {
            key = key.with_operand(index, *place);
        }
        if self.result == Some(Place::Slot) {
            key.with_result_slot()
        } else {
            key
        }
    }

    /// The form's patched values in the order of [`crate::patch::Source::Value`]: constants and slots of operands,
    /// in operand order; then the operation's immediates; then the result's slot.
    pub fn values(&self, op: &Operation) -> Vec<Value> {
        let mut values = Vec::new();
        for (index, (place, ty)) in self.operands.iter().zip(&op.operands).enumerate() {
            match place {
                Place::Register => {}
                Place::Immediate => values.push(Value::Constant(index, *ty)),
                Place::Slot => values.push(Value::OperandSlot(index, *ty)),
            }
        }
        values.extend((0..op.immediates.len()).map(Value::Immediate));
        if let (Some(Place::Slot), Some(ty)) = (self.result, op.result) {
            values.push(Value::ResultSlot(ty));
        }
        values
    }

    /// The number of registers each register position can have: operands in order, then the result unless it is tied.
    /// A record's index is the row-major index over these, the last position running fastest.
    pub fn radices(&self, op: &Operation, machine: &Machine) -> Vec<usize> {
        let mut radices = Vec::new();
        for (place, ty) in self.operands.iter().zip(&op.operands) {
            if *place == Place::Register {
                radices.push(machine.registers(*ty));
            }
        }
        if let (Some(Place::Register), Some(ty)) = (self.result, op.result)
            && !self.tied(op)
        {
            radices.push(machine.registers(ty));
        }
        radices
    }

    /// Whether the result shares its register with an operand in this form.
    pub fn tied(&self, op: &Operation) -> bool {
        self.result == Some(Place::Register)
            && op
                .tie
                .is_some_and(|tie| self.operands.get(usize::from(tie)) == Some(&Place::Register))
    }
}

/// The row-major index of a register assignment.
pub fn record_index(radices: &[usize], registers: &[usize]) -> usize {
    radices
        .iter()
        .zip(registers)
        .fold(0, |index, (radix, register)| index * radix + register)
}

/// All register assignments, in ascending order of [`record_index`].
pub fn assignments(radices: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let count: usize = radices.iter().product();
    let radices = radices.to_vec();
    (0..count).map(move |index| {
        let mut rest = index;
        let mut registers = vec![0; radices.len()];
        for (register, radix) in registers.iter_mut().zip(&radices).rev() {
            *register = rest % radix;
            rest /= radix;
        }
        registers
    })
}

/// The forms of an operation on a machine, without repetition, in ascending order of key. Where a class has no
/// registers, register places become slots.
pub fn forms(op: &Operation, machine: &Machine) -> Vec<Form> {
    let settle = |place: Place, ty: ValueType| match place {
        Place::Register if machine.registers(ty) == 0 => Place::Slot,
        place => place,
    };
    let mut forms: Vec<Form> = Vec::new();
    for spec in &op.forms {
        let operands: Vec<Place> = spec
            .operands
            .iter()
            .zip(&op.operands)
            .map(|(place, ty)| settle(*place, *ty))
            .collect();
        if op.shape == Shape::Branch {
            for outcome in [Outcome::BranchTrue, Outcome::BranchFalse] {
                forms.push(Form {
                    operands: operands.clone(),
                    result: None,
                    outcome,
                });
            }
            continue;
        }
        let result = op.result.map(|ty| settle(spec.result, ty));
        forms.push(Form {
            operands: operands.clone(),
            result,
            outcome: Outcome::Plain,
        });
        if op.branch {
            for outcome in [Outcome::BranchTrue, Outcome::BranchFalse] {
                forms.push(Form {
                    operands: operands.clone(),
                    result: None,
                    outcome,
                });
            }
        }
    }
    forms.sort_by_key(Form::key);
    forms.dedup_by_key(|form| form.key());
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_come_in_index_order() {
        let radices = [3, 2, 4];
        for (index, registers) in assignments(&radices).enumerate() {
            assert_eq!(record_index(&radices, &registers), index);
        }
        assert_eq!(assignments(&radices).count(), 24);
        assert_eq!(assignments(&[]).count(), 1);
    }

    #[test]
    fn a_key_gives_back_what_made_it() {
        let key = FormKey::registers()
            .with_operand(1, Place::Immediate)
            .with_operand(3, Place::Slot)
            .with_result_slot()
            .with_outcome(Outcome::BranchFalse);
        assert_eq!(key.operand(0), Some(Place::Register));
        assert_eq!(key.operand(1), Some(Place::Immediate));
        assert_eq!(key.operand(3), Some(Place::Slot));
        assert!(key.result_slot());
        assert_eq!(key.outcome(), Some(Outcome::BranchFalse));
        assert!(usize::from(key.0) < FormKey::COUNT);
    }
}
