//! Lists: their items are looked at in place, by offsets that the interpreter's version has; what changes a list is a helper's.

use copatch::ValueType;

use super::values::{constant_int, slot_type};
use super::{Done, Local, Place, Slot, Stop, Translator};
use crate::bytecode::Op;
use crate::helpers::Number;
use crate::ir::{Constant, Item, Leaf, Name, Step, Type};

/// Offsets within objects; the same in 3.11, 3.12 and 3.13.
mod offset {
    pub const TYPE: i32 = 8;
    pub const SIZE: i32 = 16;
    pub const ITEMS: i32 = 24;
    pub const FLOAT: i32 = 16;
    /// A signed number of digits in 3.11, a tag from 3.12 on.
    pub const INT_SIZE: i32 = 16;
    pub const INT_DIGIT: i32 = 24;
}

impl Translator<'_> {
    /// Pushes the length of a list on the engine's stack.
    pub(super) fn length(&mut self, of: &Slot) -> Done {
        match *of {
            Slot::Value {
                var,
                ty: Type::List(_),
                ..
            } => {
                self.steps
                    .extend([Step::Get(var), Step::OpImm(Name::LoadI64, offset::SIZE)]);
            }
            _ => return Err(Stop::Leave("the length of an object")),
        }
        Ok(())
    }

    /// A variable for a moment, one of several.
    fn temporary(&mut self, number: u32) -> u32 {
        self.home(Place::Scratch(number), Type::Int)
    }

    /// Leaves the index in a variable, counted from the beginning; exits if there is no such item.
    fn index(&mut self, container: &Slot, index: &Slot, operands: &[&Slot]) -> Result<u32, Stop> {
        if !matches!(slot_type(index)?, Type::Int | Type::Bool) {
            return Err(Stop::Leave("an index that is no integer"));
        }
        let (at, size) = (self.temporary(3), self.temporary(4));
        self.length(container)?;
        self.steps.push(Step::Set(size));
        self.get_int(index)?;
        match constant_int(index) {
            Some(0..) => {}
            Some(_) => self.steps.extend([Step::Get(size), Step::Op(Name::Add)]),
            None => {
                // Counted from the end if negative: the size is added, or nothing.
                self.steps.extend([
                    Step::Set(at),
                    Step::Get(at),
                    Step::Const(ValueType::I64, 63),
                    Step::Op(Name::Shr),
                    Step::Get(size),
                    Step::Op(Name::And),
                    Step::Get(at),
                    Step::Op(Name::Add),
                ]);
            }
        }
        self.steps.extend([
            Step::Set(at),
            Step::Get(at),
            Step::Get(size),
            Step::Op(Name::GeU),
        ]);
        self.exit_if(operands, "an index out of range");
        Ok(at)
    }

    pub(super) fn subscript(&mut self) -> Done {
        let (index, container) = (self.pop()?, self.pop()?);
        let operands = [&container, &index];
        match container {
            Slot::Value {
                var,
                ty: Type::List(item),
                owned,
            } => {
                let at = self.index(&container, &index, &operands)?;
                // The item may take the variable that the container was in.
                let kept = owned.then(|| self.keep(var));
                let exit = self.exit_with(&operands, "an item of another type");
                self.item_at(var, at, item, exit)?;
                if matches!(item, Item::Lists(_)) {
                    let borrowed = !owned && self.is_used_at_once();
                    if let Some(Slot::Value { var, owned, .. }) = self.state.stack.last_mut() {
                        *owned = !borrowed;
                        let var = *var;
                        if !borrowed {
                            self.retain(var);
                        }
                    }
                }
                if let Some(kept) = kept {
                    self.release_var(kept);
                }
                Ok(())
            }
            _ => Err(Stop::Leave("an item of an object")),
        }
    }

    /// Keeps an object that is to be released when its variable holds something else.
    fn keep(&mut self, var: u32) -> u32 {
        let kept = self.temporary(9);
        self.steps.extend([Step::Get(var), Step::Set(kept)]);
        kept
    }

    /// Whether the item just read is only indexed, by what runs no code of others before: then nothing can free it.
    fn is_used_at_once(&self) -> bool {
        let from = self
            .code
            .instructions
            .partition_point(|instruction| instruction.offset < self.at.next);
        for instruction in &self.code.instructions[from..] {
            if self.leaders[instruction.offset as usize] {
                return false;
            }
            match instruction.op {
                Op::LoadFast(_) | Op::LoadFastPair(..) | Op::LoadConst(_) | Op::Binary(_) => {}
                Op::Subscript | Op::StoreSubscript => return true,
                _ => return false,
            }
        }
        false
    }

    /// Pushes the item of a list at an index in range; exits if it is of another type. A list that was an item is not owned yet.
    pub(super) fn item_at(&mut self, list: u32, at: u32, item: Item, exit: u32) -> Done {
        let object = self.temporary(5);
        self.steps.extend([
            Step::Get(list),
            Step::OpImm(Name::LoadI64, offset::ITEMS),
            Step::Get(at),
            Step::Op(Name::ElementI64),
            Step::Set(object),
        ]);
        let layout = self.code.layout;
        match item {
            Item::Unknown => return Err(Stop::Leave("an item of a list that was empty")),
            Item::Float => {
                self.check_type(object, layout.float, exit);
                self.steps
                    .extend([Step::Get(object), Step::OpImm(Name::LoadF64, offset::FLOAT)]);
                self.push_result(Type::Float);
            }
            Item::Int => {
                self.check_type(object, layout.int, exit);
                self.int_value(object, exit);
            }
            Item::Bool => {
                let [no, yes] = layout.truths;
                let truth = self.scratch(Type::Bool);
                self.steps.extend([
                    Step::Get(object),
                    Step::Const(ValueType::I64, yes),
                    Step::Op(Name::Eq),
                    Step::Set(truth),
                    Step::Get(truth),
                    Step::Op(Name::Eqz32),
                    Step::If,
                    Step::Get(object),
                    Step::Const(ValueType::I64, no),
                    Step::Op(Name::Ne),
                    Step::ExitIf(exit),
                    Step::End,
                    Step::Get(truth),
                ]);
                self.push_result(Type::Bool);
            }
            Item::Lists(leaf) => {
                self.check_type(object, layout.list, exit);
                self.steps.push(Step::Get(object));
                self.push_result(Type::List(leaf.item()));
            }
        }
        Ok(())
    }

    fn check_type(&mut self, object: u32, ty: u64, exit: u32) {
        self.steps.extend([
            Step::Get(object),
            Step::OpImm(Name::LoadI64, offset::TYPE),
            Step::Const(ValueType::I64, ty),
            Step::Op(Name::Ne),
            Step::ExitIf(exit),
        ]);
    }

    /// Pushes the value of an int object: in place if it has one digit, else by a helper.
    fn int_value(&mut self, object: u32, exit: u32) {
        let (size, value) = (self.temporary(6), self.temporary(7));
        self.steps.extend([
            Step::Get(object),
            Step::OpImm(Name::LoadI64, offset::INT_SIZE),
            Step::Set(size),
            Step::Get(size),
        ]);
        let digit = [
            Step::Get(object),
            Step::OpImm(Name::LoadU32, offset::INT_DIGIT),
        ];
        let bound = if self.code.layout.minor == 11 {
            self.steps
                .extend([Step::Const(ValueType::I64, 1), Step::Op(Name::Add)]);
            3
        } else {
            16
        };
        self.steps.extend([
            Step::Const(ValueType::I64, bound),
            Step::Op(Name::GeU),
            Step::If,
            Step::Get(object),
            Step::Helper(Number::IntValue, 1, &[ValueType::I64, ValueType::I32]),
            Step::ExitIf(exit),
            Step::Set(value),
            Step::Else,
        ]);
        if self.code.layout.minor == 11 {
            self.steps.push(Step::Get(size));
        } else {
            // 1 - (tag & 3) is the sign.
            self.steps.extend([
                Step::Const(ValueType::I64, 1),
                Step::Get(size),
                Step::Const(ValueType::I64, 3),
                Step::Op(Name::And),
                Step::Op(Name::Sub),
            ]);
        }
        self.steps.extend(digit);
        self.steps.extend([
            Step::Op(Name::Mul),
            Step::Set(value),
            Step::End,
            Step::Get(value),
        ]);
        self.push_result(Type::Int);
    }

    /// Reads a value for a helper, and names the helper among those of its type.
    fn get_for(&mut self, value: &Slot, helpers: [Number; 4]) -> Result<Number, Stop> {
        let helper = match slot_type(value)? {
            Type::Int => helpers[0],
            Type::Float => helpers[1],
            Type::Bool => helpers[2],
            Type::List(_) => helpers[3],
            _ => return Err(Stop::Leave("an item that is no number")),
        };
        self.get(value)?;
        Ok(helper)
    }

    pub(super) fn store_subscript(&mut self) -> Done {
        let (index, container, value) = (self.pop()?, self.pop()?, self.pop()?);
        let operands = [&value, &container, &index];
        let Slot::Value {
            ty: Type::List(_), ..
        } = container
        else {
            return Err(Stop::Leave("an item of an object"));
        };
        if let (Slot::Value { var, .. }, Type::Bool) = (&container, slot_type(&value)?) {
            return self.store_truth(*var, &container, &index, &value);
        }
        self.get(&container)?;
        self.get_int(&index)?;
        let helpers = [
            Number::SetInt,
            Number::SetFloat,
            Number::SetBool,
            Number::SetObject,
        ];
        let helper = self.get_for(&value, helpers)?;
        self.steps.push(Step::Helper(helper, 3, &[ValueType::I32]));
        self.exit_if(
            &operands,
            "an index out of range, or an item that is replaced",
        );
        self.release(&container);
        self.release(&value);
        Ok(())
    }

    /// Stores a truth value in a list: in place where one is replaced, since neither ever goes away.
    fn store_truth(&mut self, list: u32, container: &Slot, index: &Slot, value: &Slot) -> Done {
        let operands = [value, container, index];
        let at = self.index(container, index, &operands)?;
        let [no, yes] = self.code.layout.truths;
        let (items, old, new) = (self.temporary(5), self.temporary(6), self.temporary(7));
        // no + (yes - no) * value
        self.get_int(value)?;
        self.steps.extend([
            Step::Const(ValueType::I64, yes.wrapping_sub(no)),
            Step::Op(Name::Mul),
            Step::Const(ValueType::I64, no),
            Step::Op(Name::Add),
            Step::Set(new),
            Step::Get(list),
            Step::OpImm(Name::LoadI64, offset::ITEMS),
            Step::Set(items),
            Step::Get(items),
            Step::Get(at),
            Step::Op(Name::ElementI64),
            Step::Set(old),
            Step::Get(old),
            Step::Get(new),
            Step::Op(Name::Ne),
            Step::If,
            // The other one is `no + yes - new`.
            Step::Get(old),
            Step::Const(ValueType::I64, yes.wrapping_add(no)),
            Step::Get(new),
            Step::Op(Name::Sub),
            Step::Op(Name::Ne),
            Step::If,
            Step::Get(list),
            Step::Get(at),
        ]);
        self.get(value)?;
        self.steps
            .push(Step::Helper(Number::SetBool, 3, &[ValueType::I32]));
        self.exit_if(&operands, "an item that is replaced");
        self.steps.push(Step::Else);
        if self.code.layout.minor == 11 {
            // From 3.12 on nobody counts them.
            for (object, by) in [(old, -1i64), (new, 1)] {
                self.steps.extend([
                    Step::Get(object),
                    Step::Get(object),
                    Step::OpImm(Name::LoadI64, 0),
                    Step::Const(ValueType::I64, by as u64),
                    Step::Op(Name::Add),
                    Step::OpImm(Name::StoreI64, 0),
                ]);
            }
        }
        self.steps.extend([
            Step::Get(items),
            Step::Get(at),
            Step::Get(new),
            Step::Op(Name::PutI64),
            Step::End,
            Step::End,
        ]);
        self.release(container);
        Ok(())
    }

    const APPEND: [Number; 4] = [
        Number::AppendInt,
        Number::AppendFloat,
        Number::AppendBool,
        Number::AppendObject,
    ];

    pub(super) fn append(&mut self, list: &Slot, arguments: &[Slot], operands: &[&Slot]) -> Done {
        let [value] = arguments else {
            return Err(Stop::Leave("an append of several"));
        };
        self.get(list)?;
        let helper = self.get_for(value, Self::APPEND)?;
        self.steps.push(Step::Helper(helper, 2, &[ValueType::I32]));
        self.exit_if(operands, "an append that failed");
        if let Slot::Value {
            var,
            ty: Type::List(Item::Unknown),
            ..
        } = *list
        {
            self.learn(var, item_of(value)?);
        }
        self.release(list);
        self.release(value);
        self.state.stack.push(Slot::Constant(Constant::None));
        Ok(())
    }

    /// Appends the top of the stack to the list of a comprehension, which lies below.
    pub(super) fn list_append(&mut self, depth: u32) -> Done {
        let value = self.pop()?;
        let at = self.state.stack.len().wrapping_sub(depth as usize);
        let list = self.state.stack.get(at).cloned();
        let Some(Slot::Value {
            var,
            ty: Type::List(item),
            owned,
        }) = list
        else {
            return Err(Stop::Leave("an append to something else"));
        };
        self.steps.push(Step::Get(var));
        let helper = self.get_for(&value, Self::APPEND)?;
        self.steps.push(Step::Helper(helper, 2, &[ValueType::I32]));
        self.exit_if(&[&value], "an append that failed");
        if item == Item::Unknown {
            self.state.stack[at] = Slot::Value {
                var,
                ty: Type::List(item_of(&value)?),
                owned,
            };
        }
        self.release(&value);
        Ok(())
    }

    /// What was put into a list that was empty tells what its items are taken for.
    fn learn(&mut self, list: u32, item: Item) {
        for index in 0..self.state.locals.len() {
            if let Local::Value { ty, .. } = self.state.locals[index]
                && ty == Type::List(Item::Unknown)
                && self.home_of(Place::Local(index as u32), ty) == list
                && let Local::Value { ty, .. } = &mut self.state.locals[index]
            {
                *ty = Type::List(item);
            }
        }
    }

    pub(super) fn build_list(&mut self, count: u32) -> Done {
        let at = self.state.stack.len().wrapping_sub(count as usize);
        if at > self.state.stack.len() {
            return Err(Stop::Leave("an empty stack"));
        }
        let entries = self.state.stack[at..].to_vec();
        let item = match entries.first() {
            Some(first) => item_of(first)?,
            None => Item::Unknown,
        };
        let exit = self.exit("no memory for a list");
        let list = self.temporary(8);
        self.steps.extend([
            Step::Helper(Number::NewList, 0, &[ValueType::I64, ValueType::I32]),
            Step::ExitIf(exit),
            Step::Set(list),
        ]);
        for entry in &entries {
            self.steps.push(Step::Get(list));
            let helper = self.get_for(entry, Self::APPEND)?;
            // Short of memory the list is lost, not more.
            self.steps.extend([
                Step::Helper(helper, 2, &[ValueType::I32]),
                Step::ExitIf(exit),
            ]);
        }
        self.state.stack.truncate(at);
        self.steps.push(Step::Get(list));
        self.push_result(Type::List(item));
        for entry in entries {
            self.release(&entry);
        }
        Ok(())
    }

    pub(super) fn repeat_list(&mut self, list: Slot, count: Slot, item: Item) -> Done {
        let kept = match list {
            Slot::Value {
                var, owned: true, ..
            } => Some(self.keep(var)),
            _ => None,
        };
        self.get(&list)?;
        self.get_int(&count)?;
        self.helper_result(
            Number::Repeat,
            2,
            Type::List(item),
            &[&list, &count],
            "no memory for a list",
        )?;
        if let Some(kept) = kept {
            self.release_var(kept);
        }
        Ok(())
    }
}

fn item_of(slot: &Slot) -> Result<Item, Stop> {
    Ok(match slot_type(slot)? {
        Type::Bool => Item::Bool,
        Type::Int => Item::Int,
        Type::Float => Item::Float,
        Type::List(Item::Bool) => Item::Lists(Leaf::Bool),
        Type::List(Item::Int) => Item::Lists(Leaf::Int),
        Type::List(Item::Float) => Item::Lists(Leaf::Float),
        _ => return Err(Stop::Leave("a list of objects")),
    })
}
