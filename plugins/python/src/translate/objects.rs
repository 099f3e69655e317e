//! Lists: their items are looked at in place, by offsets that the interpreter's version has; what changes a list is a helper's.

use copatch::ValueType;

use super::values::{constant_int, slot_type};
use super::{Done, Local, Place, Slot, Stop, Translator};
use crate::bytecode::Op;
use crate::foreign;
use crate::helpers::Number;
use crate::ir::{Constant, Item, Leaf, Name, Step, Type};

/// Offsets within objects; the same in 3.11, 3.12 and 3.13.
pub(super) mod offset {
    pub const TYPE: i32 = 8;
    pub const SIZE: i32 = 16;
    /// Where a list and an `array.array` point at their items, and where a tuple has them.
    pub const ITEMS: i32 = 24;
    /// Where `bytes` are, and where a `bytearray` points at them.
    pub const BYTES: i32 = 32;
    pub const BYTE_ARRAY: i32 = 40;
    pub const FLOAT: i32 = 16;
    /// Sign and number of digits; the digits lie behind.
    pub const INT_SIZE: i32 = 16;
}

impl Translator<'_> {
    /// Pushes the length of a list on the engine's stack.
    pub(super) fn length(&mut self, of: &Slot) -> Done {
        match *of {
            Slot::Value {
                var,
                ty: Type::List(_) | Type::Tuple(_) | Type::Bytes | Type::ByteArray | Type::Array(_),
                ..
            } => {
                self.steps
                    .extend([Step::Get(var), Step::OpImm(Name::LoadI64, offset::SIZE)]);
            }
            Slot::Value {
                var,
                ty: Type::NumpyArray(..),
                ..
            } => {
                self.steps.extend([
                    Step::Get(var),
                    Step::OpImm(Name::LoadI64, foreign::offset::SHAPE),
                    Step::OpImm(Name::LoadI64, 0),
                ]);
            }
            _ => return Err(Stop::Leave("the length of an object")),
        }
        Ok(())
    }

    /// A variable for a moment, one of several.
    pub(super) fn temporary(&mut self, number: u32) -> u32 {
        self.home(Place::Scratch(number), Type::Int)
    }

    /// Leaves the index in a list or an `array.array` in a variable, counted from the beginning; exits if there is no such item.
    pub(super) fn index(
        &mut self,
        container: u32,
        index: &Slot,
        operands: &[&Slot],
    ) -> Result<u32, Stop> {
        if !matches!(slot_type(index)?, Type::Int | Type::Bool | Type::NumpyInt) {
            return Err(Stop::Leave("an index that is no integer"));
        }
        let at = self.temporary(3);
        let container = Step::Get(container);
        let size = [container, Step::OpImm(Name::LoadI64, offset::SIZE)];
        let beyond = [container, Step::OpImm(Name::BeyondWord, offset::SIZE)];
        self.index_below(index, at, &size, beyond, operands)?;
        Ok(at)
    }

    /// Leaves an index in `at`, counted from the beginning; exits if it is not below the size that steps push. Others say whether what
    /// was pushed is beyond it.
    pub(super) fn index_below(
        &mut self,
        index: &Slot,
        at: u32,
        size: &[Step],
        [of, is_beyond]: [Step; 2],
        operands: &[&Slot],
    ) -> Done {
        let beyond = [Step::Get(at), of, is_beyond];
        // Counted from the end if negative: then the size is added, and it is looked at once more.
        let from_end = [size, &[Step::Get(at), Step::Op(Name::Add), Step::Set(at)]].concat();
        self.get_int(index)?;
        self.steps.push(Step::Set(at));
        let known = constant_int(index);
        match known {
            Some(0..) => {}
            Some(_) => self.steps.extend(from_end),
            None => {
                self.steps.extend(beyond);
                self.steps.push(Step::If);
                self.steps.extend(from_end);
            }
        }
        self.steps.extend(beyond);
        self.exit_if(operands, "an index out of range");
        if known.is_none() {
            self.steps.push(Step::End);
        }
        Ok(())
    }

    pub(super) fn subscript(&mut self) -> Done {
        let (index, container) = (self.pop()?, self.pop()?);
        let operands = [&container, &index];
        if let Slot::Slice(bounds, _) = &index {
            return self.slice(&container, bounds, &operands);
        }
        // A shape, whose use was looked at before it was made.
        if let Slot::Tuple(items, _) = &container {
            let at = constant_int(&index).and_then(|at| usize::try_from(at).ok());
            let item = at.and_then(|at| items.get(at).cloned());
            self.state
                .stack
                .push(item.ok_or(Stop::Leave("an item of a tuple"))?);
            self.settle();
            return Ok(());
        }
        let Slot::Value { var, ty, owned } = container else {
            return Err(Stop::Leave("an item of an object"));
        };
        // The item may take the variable that the container was in.
        let kept = owned.then(|| self.keep(var));
        match ty {
            Type::List(item) => self.list_item((var, owned), item, &index, &operands)?,
            Type::Tuple(items) => self.tuple_item((var, owned), items, &index, &operands)?,
            Type::Array(_) | Type::Bytes | Type::ByteArray => {
                self.array_item(var, ty, &index, &operands)?;
            }
            Type::NumpyArray(of, dimensions) => {
                self.numpy_item(var, of, dimensions, &index, &operands)?;
            }
            _ => return Err(Stop::Leave("an item of an object")),
        }
        if let Some(kept) = kept {
            self.release_var(kept);
        }
        Ok(())
    }

    fn list_item(
        &mut self,
        (list, owned): (u32, bool),
        item: Item,
        index: &Slot,
        operands: &[&Slot],
    ) -> Done {
        let at = self.index(list, index, operands)?;
        let exit = self.exit_with(operands, "an item of another type");
        self.item_at(list, at, item, exit)?;
        self.own_item(item, owned);
        Ok(())
    }

    /// The item just read is owned if it is a list, unless it is used before anything can free it.
    pub(super) fn own_item(&mut self, item: Item, of_owned: bool) {
        if matches!(item, Item::Lists(_)) {
            let borrowed = !of_owned && self.is_used_at_once();
            if let Some(Slot::Value { var, owned, .. }) = self.state.stack.last_mut() {
                *owned = !borrowed;
                let var = *var;
                if !borrowed {
                    self.retain(var);
                }
            }
        }
    }

    /// A list's items from one index to another.
    fn slice(&mut self, list: &Slot, bounds: &[Slot], operands: &[&Slot]) -> Done {
        let (
            Slot::Value {
                var,
                ty: ty @ Type::List(_),
                owned,
            },
            [low, high],
        ) = (list, bounds)
        else {
            return Err(Stop::Leave("a slice of an object"));
        };
        let kept = owned.then(|| self.keep(*var));
        self.get(list)?;
        for (bound, none) in [(low, 0), (high, i64::MAX)] {
            match bound {
                Slot::Constant(Constant::None) => {
                    self.steps.push(Step::Const(ValueType::I64, none as u64));
                }
                _ => self.get_int(bound)?,
            }
        }
        self.helper_result(Number::Slice, 3, *ty, operands, "no memory for a list")?;
        if let Some(kept) = kept {
            self.release_var(kept);
        }
        Ok(())
    }

    /// Keeps an object that is to be released when its variable holds something else.
    pub(super) fn keep(&mut self, var: u32) -> u32 {
        let kept = self.temporary(9);
        self.steps.extend([Step::Get(var), Step::Set(kept)]);
        kept
    }

    fn is_number(&self, local: u32) -> bool {
        matches!(self.state.locals.get(local as usize), Some(Local::Value { ty, .. }) if !ty.is_object())
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
                Op::LoadConst(_) | Op::Binary(_) => {}
                Op::LoadFast(local) if self.is_number(local) => {}
                Op::LoadFastPair(first, second)
                    if self.is_number(first) && self.is_number(second) => {}
                Op::Subscript | Op::StoreSubscript => return true,
                _ => return false,
            }
        }
        false
    }

    /// Pushes the item of a list at an index in range; exits if it is of another type. A list that was an item is not owned yet.
    pub(super) fn item_at(&mut self, list: u32, at: u32, item: Item, exit: u32) -> Done {
        let object = self.item_object(list, at);
        self.item_value(object, item, exit)
    }

    /// Pushes what an item is; exits if it is of another type. A list is not owned yet.
    pub(super) fn item_value(&mut self, object: u32, item: Item, exit: u32) -> Done {
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
            Step::Const(ValueType::I64, ty),
            Step::OpImm(Name::DiffersI64, offset::TYPE),
            Step::ExitIf(exit),
        ]);
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
        let at = self.below(count)?;
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
        // Before the list takes the variables of the first.
        for entry in entries {
            self.release(&entry);
        }
        self.steps.push(Step::Get(list));
        self.push_result(Type::List(item));
        Ok(())
    }

    /// Where so many entries of the stack begin.
    pub(super) fn below(&self, count: u32) -> Result<usize, Stop> {
        let at = self.state.stack.len().checked_sub(count as usize);
        at.ok_or(Stop::Leave("an empty stack"))
    }

    /// `list(...)` of nothing, of a range or of a list.
    pub(super) fn list_of(&mut self, arguments: &[Slot], operands: &[&Slot]) -> Done {
        let why = "no memory for a list";
        match arguments {
            [] => {
                self.helper_free(Number::NewList, operands, why);
                self.push_result(Type::List(Item::Unknown));
                Ok(())
            }
            [Slot::Range { var, .. }] => {
                self.steps.extend((*var..var + 3).map(Step::Get));
                self.helper_result(Number::ListOfRange, 3, Type::List(Item::Int), operands, why)
            }
            [
                of @ Slot::Value {
                    ty: Type::List(_), ..
                },
            ] => {
                let all = [
                    Slot::Constant(Constant::None),
                    Slot::Constant(Constant::None),
                ];
                self.slice(of, &all, operands)
            }
            _ => Err(Stop::Leave("a list of an object")),
        }
    }

    fn helper_free(&mut self, helper: Number, operands: &[&Slot], why: &'static str) {
        self.steps
            .push(Step::Helper(helper, 0, &[ValueType::I64, ValueType::I32]));
        self.exit_if(operands, why);
    }

    /// `sum` of a list, by the interpreter's own.
    pub(super) fn sum(&mut self, list: &Slot, operands: &[&Slot]) -> Done {
        let (Slot::Value { var, owned, .. }, Type::List(item)) = (list, slot_type(list)?) else {
            return Err(Stop::Leave("the sum of an object"));
        };
        let (helper, ty) = match item {
            Item::Int | Item::Bool => (Number::SumInt, Type::Int),
            Item::Float => (Number::SumFloat, Type::Float),
            _ => return Err(Stop::Leave("the sum of objects")),
        };
        let kept = owned.then(|| self.keep(*var));
        self.get(list)?;
        self.helper_result(helper, 1, ty, operands, "a sum of another type")?;
        if let Some(kept) = kept {
            self.release_var(kept);
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

pub(super) fn item_of(slot: &Slot) -> Result<Item, Stop> {
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
