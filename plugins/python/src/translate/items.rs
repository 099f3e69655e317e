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

/// What reads and writes an int's digits.
struct Digits {
    not_one: Name,
    one: Name,
    not_two: Name,
    two: Name,
    misfits: Name,
    put: Name,
}

/// CPython 3.11 multiplies the number of digits by the sign.
const COUNTED: Digits = Digits {
    not_one: Name::CountedNotOne,
    one: Name::CountedOne,
    not_two: Name::CountedNotTwo,
    two: Name::CountedTwo,
    misfits: Name::CountedMisfits,
    put: Name::CountedPut,
};

/// From 3.12 on there are two bits for the sign below the number of digits.
const TAGGED: Digits = Digits {
    not_one: Name::TaggedNotOne,
    one: Name::TaggedOne,
    not_two: Name::TaggedNotTwo,
    two: Name::TaggedTwo,
    misfits: Name::TaggedMisfits,
    put: Name::TaggedPut,
};

fn number(value: u64) -> Step {
    Step::Const(ValueType::I64, value)
}

impl Translator<'_> {
    fn digits(&self) -> &'static Digits {
        if self.code.layout.minor == 11 {
            &COUNTED
        } else {
            &TAGGED
        }
    }

    /// Pushes the value of an int object: in place if it has one or two digits, else by a helper.
    pub(super) fn int_value(&mut self, object: u32, exit: u32) {
        let value = self.temporary(7);
        let digits = self.digits();
        for (other, count) in [(digits.not_one, digits.one), (digits.not_two, digits.two)] {
            self.steps.extend([
                Step::Get(object),
                Step::OpImm(other, offset::INT_SIZE),
                Step::Not,
                Step::If,
                Step::Get(object),
                Step::OpImm(count, offset::INT_SIZE),
                Step::Set(value),
                Step::Forget(object),
                Step::Else,
            ]);
        }
        self.steps.extend([
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
            Type::Array(_) | Type::ByteArray => {
                self.store_array_item(var, ty, which, &operands)?;
            }
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

    /// Goes on outside unless an object is of a type and there is one reference to it.
    fn is_alone(&mut self, object: u32, ty: u64) {
        for (word, at) in [(1, 0), (ty, offset::TYPE)] {
            self.steps.extend([
                Step::Get(object),
                number(word),
                Step::OpImm(Name::DiffersI64, at),
                Step::BrIf(0),
            ]);
        }
    }

    fn store_float(&mut self, list: u32, at: u32, value: &Slot, exit: u32) -> Done {
        let old = self.item_object(list, at);
        self.steps.extend([Step::Block, Step::Block]);
        self.is_alone(old, self.code.layout.float);
        self.steps.push(Step::Get(old));
        self.get(value)?;
        self.steps.push(Step::OpImm(Name::StoreF64, offset::FLOAT));
        self.else_by(Number::SetFloat, list, at, value, exit)
    }

    /// Ends two blocks: what comes here is done, what left the inner one is stored by a helper.
    fn else_by(&mut self, helper: Number, list: u32, at: u32, value: &Slot, exit: u32) -> Done {
        self.forget_now();
        self.steps.extend([Step::Br(1), Step::End]);
        self.store_by(helper, list, at, value, exit)?;
        self.steps.push(Step::End);
        Ok(())
    }

    /// Stores an integer: over one of as many digits, or one whose object is shared over another such; else by a helper.
    fn store_int(&mut self, list: u32, at: u32, value: &Slot, exit: u32) -> Done {
        let old = self.item_object(list, at);
        let new = self.temporary(6);
        self.get_int(value)?;
        self.steps
            .extend([Step::Set(new), Step::Block, Step::Block]);
        // Two levels out: stored. One level: a helper's.
        self.store_shared(list, at, old, new);
        self.is_alone(old, self.code.layout.int);
        let digits = self.digits();
        self.steps.extend([
            Step::Get(old),
            Step::Get(new),
            Step::OpImm(digits.misfits, offset::INT_SIZE),
            Step::BrIf(0),
            Step::Get(old),
            Step::Get(new),
            Step::OpImm(digits.put, offset::INT_SIZE),
        ]);
        self.else_by(Number::SetInt, list, at, value, exit)
    }

    /// A shared object takes the place of another, which needs no memory; goes on if the old one is none, to the helper.
    fn store_shared(&mut self, list: u32, at: u32, old: u32, new: u32) {
        let in_range = [
            Step::Get(new),
            number(-shared::LEAST as u64),
            Step::Op(Name::Add),
            number(shared::COUNT),
            Step::Op(Name::GeU),
            Step::Not,
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
            number(least.wrapping_neg()),
            Step::Op(Name::Add),
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
