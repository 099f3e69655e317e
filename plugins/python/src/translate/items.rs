//! Numbers in lists, in place: an int's digits are read and written where they lie, and so is a float.
//!
//! A number that a list alone has a reference to is overwritten rather than replaced: nobody can tell that it is not a new object.
//!
//! Of two ways the usual one comes first, and forgets what was held for a moment: where they meet, registers are as it leaves them.

use copatch::ValueType;

use super::objects::offset;
use super::values::slot_type;
use super::{Done, Slot, Stop, Translator, shared};
use crate::helpers::Number;
use crate::ir::{Constant, Name, Step, Type};

/// Bits of an int's digit.
const DIGIT: u64 = 30;
const MASK: u64 = (1 << DIGIT) - 1;

fn number(value: u64) -> Step {
    Step::Const(ValueType::I64, value)
}

impl Translator<'_> {
    /// The sign, and the number of digits, are one word: their product in 3.11, from 3.12 on eight times the number and one of 0
    /// (positive), 1 (zero) and 2 (negative).
    fn signs_are_products(&self) -> bool {
        self.code.layout.minor == 11
    }

    /// Pushes the value of an int object: in place if it has one or two digits, else by a helper.
    pub(super) fn int_value(&mut self, object: u32, exit: u32) {
        let (size, value) = (self.temporary(6), self.temporary(7));
        let products = self.signs_are_products();
        let two_digits = [
            // The first digit is the lower half of the word, the second the upper.
            Step::Get(object),
            Step::OpImm(Name::LoadI64, offset::INT_DIGIT),
            Step::Set(value),
            Step::Get(value),
            number(32),
            Step::Op(Name::Shr),
            number(DIGIT),
            Step::Op(Name::Shl),
            Step::Get(value),
            number(MASK),
            Step::Op(Name::And),
            Step::Op(Name::Add),
        ];
        // 1 - (tag & 3)
        let sign = [
            number(1),
            Step::Get(size),
            number(3),
            Step::Op(Name::And),
            Step::Op(Name::Sub),
        ];
        self.steps.extend([
            Step::Get(object),
            Step::OpImm(Name::LoadI64, offset::INT_SIZE),
            Step::Set(size),
            Step::Get(size),
        ]);
        if products {
            self.steps.extend([number(1), Step::Op(Name::Add)]);
        }
        self.steps.extend([
            number(if products { 3 } else { 16 }),
            Step::Op(Name::GeU),
            Step::Not,
            Step::If,
        ]);
        if products {
            self.steps.push(Step::Get(size));
        } else {
            self.steps.extend(sign);
        }
        self.steps.extend([
            Step::Get(object),
            Step::OpImm(Name::LoadU32, offset::INT_DIGIT),
            Step::Op(Name::Mul),
            Step::Set(value),
            Step::Forget(size),
            Step::Forget(object),
            Step::Else,
        ]);
        self.is_not_of_two_digits(size);
        self.steps.extend([Step::Not, Step::If]);
        self.steps.extend(two_digits);
        if products {
            self.steps
                .extend([Step::Get(size), number(1), Step::Op(Name::Shr)]);
        } else {
            self.steps.extend(sign);
        }
        self.steps.extend([
            Step::Op(Name::Mul),
            Step::Set(value),
            Step::Forget(size),
            Step::Forget(object),
            Step::Else,
            Step::Get(object),
            Step::Helper(Number::IntValue, 1, &[ValueType::I64, ValueType::I32]),
            Step::ExitIf(exit),
            Step::Set(value),
            Step::End,
            Step::End,
            Step::Get(value),
        ]);
        self.push_result(Type::Int);
    }

    pub(super) fn store_subscript(&mut self) -> Done {
        let (index, container, value) = (self.pop()?, self.pop()?, self.pop()?);
        let operands = [&value, &container, &index];
        let Slot::Value { var, ty, .. } = container else {
            return Err(Stop::Leave("an item of an object"));
        };
        let which = (&index, &value);
        match ty {
            Type::List(_) => self.store_list_item(var, which, &operands)?,
            Type::Array(of) => self.store_array_item(var, of, which, &operands)?,
            Type::NumpyArray(of, dimensions) => {
                self.store_numpy_item(var, of, dimensions, which, &operands)?;
            }
            _ => return Err(Stop::Leave("an item of an object")),
        }
        self.release(&container);
        self.release(&value);
        Ok(())
    }

    fn store_list_item(
        &mut self,
        list: u32,
        (index, value): (&Slot, &Slot),
        operands: &[&Slot],
    ) -> Done {
        let at = self.index(list, index, operands)?;
        let replaced = self.exit_with(operands, "an item that is replaced");
        match slot_type(value)? {
            Type::Float => self.store_float(list, at, value, replaced),
            Type::Int => self.store_int(list, at, value, replaced),
            Type::Bool => self.store_truth(list, at, value, replaced),
            Type::List(_) => self.store_by(Number::SetObject, list, at, value, replaced),
            _ => Err(Stop::Leave("an item that is no number")),
        }
    }

    /// Replaces an item by a helper.
    fn store_by(&mut self, helper: Number, list: u32, at: u32, value: &Slot, exit: u32) -> Done {
        self.steps.extend([Step::Get(list), Step::Get(at)]);
        self.get(value)?;
        self.steps.extend([
            Step::Helper(helper, 3, &[ValueType::I32]),
            Step::ExitIf(exit),
        ]);
        Ok(())
    }

    /// Leaves the item at an index in a variable.
    pub(super) fn item_object(&mut self, list: u32, at: u32) -> u32 {
        let object = self.temporary(5);
        self.steps.extend([
            Step::Get(list),
            Step::Get(at),
            Step::OpImm(Name::ItemI64, offset::ITEMS),
            Step::Set(object),
        ]);
        object
    }

    /// Pushes a word that is zero if an object is of a type and there is one reference to it.
    fn shared_or_other(&mut self, object: u32, ty: u64) {
        self.steps.extend([
            Step::Get(object),
            Step::OpImm(Name::LoadI64, offset::TYPE),
            number(ty),
            Step::Op(Name::Xor),
            Step::Get(object),
            Step::OpImm(Name::LoadI64, 0),
            number(1),
            Step::Op(Name::Xor),
            Step::Op(Name::Or),
        ]);
    }

    fn store_float(&mut self, list: u32, at: u32, value: &Slot, exit: u32) -> Done {
        let old = self.item_object(list, at);
        self.shared_or_other(old, self.code.layout.float);
        self.steps
            .extend([Step::Op(Name::Nez), Step::Not, Step::If, Step::Get(old)]);
        self.get(value)?;
        self.steps.extend([
            Step::OpImm(Name::StoreF64, offset::FLOAT),
            Step::Forget(old),
            Step::Forget(at),
            Step::Else,
        ]);
        self.store_by(Number::SetFloat, list, at, value, exit)?;
        self.steps.push(Step::End);
        Ok(())
    }

    /// Stores an integer: over one of as many digits, or one whose object is shared over another such; else by a helper.
    fn store_int(&mut self, list: u32, at: u32, value: &Slot, exit: u32) -> Done {
        let old = self.item_object(list, at);
        let (new, sign, size) = (self.temporary(6), self.temporary(7), self.temporary(8));
        self.get_int(value)?;
        self.steps
            .extend([Step::Set(new), Step::Block, Step::Block]);
        // Two levels out: stored. One level: a helper's.
        self.store_shared(list, at, old, new);
        self.shared_or_other(old, self.code.layout.int);
        self.steps.extend([
            // The magnitude, (x ^ sign) - sign, has no more than two digits.
            Step::Get(new),
            number(63),
            Step::Op(Name::Shr),
            Step::Set(sign),
            Step::Get(new),
            Step::Get(sign),
            Step::Op(Name::Xor),
            Step::Get(sign),
            Step::Op(Name::Sub),
            Step::Set(new),
            Step::Get(new),
            number(2 * DIGIT),
            Step::Op(Name::Shr),
            Step::Op(Name::Or),
            Step::Op(Name::Nez),
            Step::BrIf(0),
            Step::Get(old),
            Step::OpImm(Name::LoadI64, offset::INT_SIZE),
            Step::Set(size),
            Step::Get(new),
            number(DIGIT),
            Step::Op(Name::Shr),
            Step::Op(Name::Nez),
            Step::If,
        ]);
        self.is_not_of_two_digits(size);
        self.steps.extend([
            Step::BrIf(1),
            Step::Get(old),
            Step::Get(new),
            number(DIGIT),
            Step::Op(Name::Shr),
            number(32),
            Step::Op(Name::Shl),
            Step::Get(new),
            number(MASK),
            Step::Op(Name::And),
            Step::Op(Name::Or),
            Step::OpImm(Name::StoreI64, offset::INT_DIGIT),
        ]);
        self.store_size(2, old, sign);
        self.steps.push(Step::Else);
        self.is_beyond_two_digits(size);
        self.steps.extend([
            Step::BrIf(1),
            Step::Get(old),
            Step::Get(new),
            Step::OpImm(Name::StoreU32, offset::INT_DIGIT),
        ]);
        self.store_size(1, old, sign);
        self.steps.push(Step::End);
        self.forget_now();
        self.steps.extend([Step::Br(1), Step::End]);
        self.store_by(Number::SetInt, list, at, value, exit)?;
        self.steps.push(Step::End);
        Ok(())
    }

    /// A shared object takes the place of another, which needs no memory; goes on if the old one is none, to the helper.
    fn store_shared(&mut self, list: u32, at: u32, old: u32, new: u32) {
        let in_range = [
            Step::Get(new),
            number(-shared::LEAST as u64),
            Step::Op(Name::Add),
            number(shared::COUNT),
            Step::Op(Name::GeU),
            Step::Op(Name::Eqz32),
        ];
        self.steps.extend(in_range);
        let Some(least) = self.code.layout.shared else {
            self.steps.push(Step::BrIf(0));
            return;
        };
        let object = self.temporary(10);
        self.steps.extend([
            Step::If,
            Step::Get(old),
            number(least),
            Step::Op(Name::Sub),
            number(shared::COUNT * shared::APART),
            Step::Op(Name::GeU),
            Step::BrIf(1),
            Step::Get(new),
            number(-shared::LEAST as u64),
            Step::Op(Name::Add),
            number(shared::APART.ilog2().into()),
            Step::Op(Name::Shl),
            number(least),
            Step::Op(Name::Add),
            Step::Set(object),
        ]);
        self.exchange(list, at, old, Step::Get(object));
        self.forget_now();
        self.steps.extend([Step::Br(2), Step::End]);
    }

    /// Puts an object in another's place, neither of which ever goes away.
    fn exchange(&mut self, list: u32, at: u32, old: u32, new: Step) {
        if self.code.layout.minor == 11 {
            // From 3.12 on nobody counts them.
            self.count(old, -1);
            self.steps
                .extend([new, number(1), Step::OpImm(Name::AddI64, 0)]);
        }
        self.steps.extend([
            Step::Get(list),
            Step::Get(at),
            new,
            Step::OpImm(Name::PutItemI64, offset::ITEMS),
        ]);
    }

    /// Pushes whether an int's size is not that of two digits.
    fn is_not_of_two_digits(&mut self, size: u32) {
        self.steps.push(Step::Get(size));
        if self.signs_are_products() {
            // -2 and 2 become 0 and 4, of which the third bit is no matter.
            self.steps.extend([
                number(2),
                Step::Op(Name::Add),
                number(!4),
                Step::Op(Name::And),
                Step::Op(Name::Nez),
            ]);
        } else {
            self.steps.extend([
                number(3),
                Step::Op(Name::Shr),
                number(2),
                Step::Op(Name::Ne),
            ]);
        }
    }

    /// Pushes whether an int's size is that of zero, or of more than two digits.
    fn is_beyond_two_digits(&mut self, size: u32) {
        self.steps.push(Step::Get(size));
        let (step, bound) = if self.signs_are_products() {
            // Its square is 1 or 4.
            self.steps.push(Step::Get(size));
            (Step::Op(Name::Mul), 4)
        } else {
            self.steps.push(number(3));
            (Step::Op(Name::Shr), 2)
        };
        self.steps.extend([
            step,
            number(1),
            Step::Op(Name::Sub),
            number(bound),
            Step::Op(Name::GeU),
        ]);
    }

    /// Writes the size of an int of so many digits, negative if `sign` is -1.
    fn store_size(&mut self, digits: u64, object: u32, sign: u32) {
        self.steps.extend([Step::Get(object), Step::Get(sign)]);
        if self.signs_are_products() {
            // (digits ^ sign) - sign
            self.steps.extend([
                number(digits),
                Step::Op(Name::Xor),
                Step::Get(sign),
                Step::Op(Name::Sub),
            ]);
        } else {
            self.steps.extend([
                number(2),
                Step::Op(Name::And),
                number(digits << 3),
                Step::Op(Name::Or),
            ]);
        }
        self.steps
            .push(Step::OpImm(Name::StoreI64, offset::INT_SIZE));
    }

    /// Stores a truth value: in place of one, since neither ever goes away.
    fn store_truth(&mut self, list: u32, at: u32, value: &Slot, exit: u32) -> Done {
        let [no, yes] = self.code.layout.truths;
        let old = self.item_object(list, at);
        let (new, other) = match value {
            Slot::Constant(Constant::Bool(true)) => (number(yes), number(no)),
            Slot::Constant(Constant::Bool(false)) => (number(no), number(yes)),
            _ => {
                let (new, other) = (self.temporary(6), self.temporary(7));
                // no + (yes - no) * value, and no + yes - that
                self.get_int(value)?;
                self.steps.extend([
                    number(yes.wrapping_sub(no)),
                    Step::Op(Name::Mul),
                    number(no),
                    Step::Op(Name::Add),
                    Step::Set(new),
                    number(yes.wrapping_add(no)),
                    Step::Get(new),
                    Step::Op(Name::Sub),
                    Step::Set(other),
                ]);
                (Step::Get(new), Step::Get(other))
            }
        };
        self.steps.extend([
            Step::Get(old),
            new,
            Step::Op(Name::Ne),
            Step::If,
            Step::Get(old),
            other,
            Step::Op(Name::Eq),
            Step::If,
        ]);
        self.exchange(list, at, old, new);
        self.forget_now();
        self.steps.push(Step::Else);
        self.store_by(Number::SetBool, list, at, value, exit)?;
        self.steps.extend([Step::End, Step::End]);
        Ok(())
    }
}
