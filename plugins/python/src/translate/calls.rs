//! Calls, attributes and loops over iterators.

use copatch::ValueType;

use super::control::MISFIT;
use super::values::{PARTS, RANGE, constant_int, slot_type};
use super::{
    Done, Environment, Items, MathFunction, Place, Slot, Stop, Translator, What, of_known,
};
use crate::bytecode::Op;
use crate::helpers::Number;
use crate::ir::{Constant, End, Item, Name, Resume, Source, Step, Type};

impl Translator<'_> {
    pub(super) fn attribute(
        &mut self,
        name: u32,
        method: bool,
        environment: &mut dyn Environment,
    ) -> Done {
        let slot = self.pop()?;
        let name = self.name(name);
        match slot {
            Slot::Object(id, What::Module) => {
                let known = environment
                    .attribute(id, name)
                    .ok_or(Stop::Leave("an attribute that is not known"))?;
                let slot = of_known(known);
                let above = self.code.layout.minor >= 13;
                match (method, above) {
                    (false, _) => self.state.stack.push(slot),
                    (true, true) => self.state.stack.extend([slot, Slot::Null]),
                    (true, false) => self.state.stack.extend([Slot::Null, slot]),
                }
                Ok(())
            }
            Slot::Value {
                ty: Type::List(_), ..
            } if method && name == "append" => {
                let Some(super::Known::Object(id, what)) = environment.global("list.append") else {
                    return Err(Stop::Leave("a method"));
                };
                self.state.stack.extend([Slot::Object(id, what), slot]);
                Ok(())
            }
            Slot::Value {
                ty: Type::NumpyArray(_, dimensions),
                ..
            } if !method && name == "shape" => self.shape(&slot, dimensions),
            _ => Err(Stop::Leave("an attribute of an object")),
        }
    }

    pub(super) fn call(&mut self, count: u32, environment: &mut dyn Environment) -> Done {
        let at = self.state.stack.len().wrapping_sub(count as usize + 2);
        if at > self.state.stack.len() {
            return Err(Stop::Leave("an empty stack"));
        }
        let entries = self.state.stack.split_off(at);
        let operands: Vec<&Slot> = entries.iter().collect();
        let (first, second, arguments) = (&entries[0], &entries[1], &entries[2..]);
        let callee = match (first, second) {
            (Slot::Null, callee) | (callee, Slot::Null) => callee,
            (Slot::Object(_, What::Append), list) => {
                return self.append(list, arguments, &operands);
            }
            (
                Slot::Comprehension {
                    function, cells, ..
                },
                iterator,
            ) => return self.call_comprehension(*function, cells, iterator, environment),
            _ => return Err(Stop::Leave("a call of a method")),
        };
        let Slot::Object(id, what) = *callee else {
            return Err(Stop::Leave("a call of a value"));
        };
        match (what, arguments) {
            (What::Range, _) => self.range(arguments, &operands),
            (What::Len, [of]) => {
                if !slot_type(of)?.is_object() {
                    return Err(Stop::Leave("the length of a number"));
                }
                self.length(of)?;
                self.push_result(Type::Int);
                self.release(of);
                Ok(())
            }
            (What::Enumerate, [of]) => self.list_iterator(&[of], Items::Enumerated(slot_type(of)?)),
            (What::Zip, [first, second]) => {
                let items = Items::Both(slot_type(first)?, slot_type(second)?);
                self.list_iterator(&[first, second], items)
            }
            (What::List, _) => self.list_of(arguments, &operands),
            (What::Sum, [of]) => self.sum(of, &operands),
            (What::Abs, [of]) => self.absolute(of, &operands),
            (What::Min | What::Max, [_, _, ..]) => self.extreme(what == What::Max, arguments),
            (What::Bool, [of]) => {
                self.truth(of)?;
                self.release_kept(of);
                self.push_result(Type::Bool);
                Ok(())
            }
            (What::Float, [of]) => {
                self.get_float(of)?;
                self.push_result(Type::Float);
                Ok(())
            }
            (What::Int, [of]) => self.integer(of, &operands),
            (What::Math(function), [of]) => self.math(function, of, &operands),
            (What::Compiled, _) => self.call_compiled(id, arguments, environment),
            _ => Err(Stop::Leave("a call of something that is not compiled")),
        }
    }

    fn range(&mut self, arguments: &[Slot], operands: &[&Slot]) -> Done {
        let (zero, one) = (
            Slot::Constant(Constant::Int(0)),
            Slot::Constant(Constant::Int(1)),
        );
        let (start, stop, step) = match arguments {
            [stop] => (&zero, stop, &one),
            [start, stop] => (start, stop, &one),
            [start, stop, step] => (start, stop, step),
            _ => return Err(Stop::Leave("a range of something else")),
        };
        for slot in [start, stop, step] {
            if !matches!(slot_type(slot)?, Type::Int | Type::Bool) {
                return Err(Stop::Leave("a range of something else"));
            }
        }
        let known = constant_int(step);
        if known == Some(0) {
            return Err(Stop::Leave("a range without a step"));
        }
        // So that the next value never overflows.
        match known {
            Some(-1 | 1) => {}
            Some(step) => {
                self.get_int(stop)?;
                let (bound, op) = if step > 0 {
                    (i64::MAX - step, Name::Gt)
                } else {
                    (i64::MIN - step, Name::Lt)
                };
                self.steps
                    .extend([Step::Const(ValueType::I64, bound as u64), Step::Op(op)]);
                self.exit_if(operands, "a range to the end of 64 bits");
            }
            None => {
                self.get_int(step)?;
                self.steps
                    .extend([Step::Const(ValueType::I64, 1), Step::Op(Name::Lt)]);
                self.exit_if(operands, "a range downwards by a step that is no constant");
                self.steps
                    .push(Step::Const(ValueType::I64, i64::MAX as u64));
                self.get_int(step)?;
                self.steps.push(Step::Op(Name::Sub));
                self.get_int(stop)?;
                self.steps.push(Step::Op(Name::Lt));
                self.exit_if(operands, "a range to the end of 64 bits");
            }
        }
        self.get_int(start)?;
        self.get_int(stop)?;
        self.get_int(step)?;
        let place = Place::Stack(self.state.stack.len() as u32);
        let var = self.home_of_kind(place, RANGE, PARTS);
        self.steps
            .extend([Step::Set(var + 2), Step::Set(var + 1), Step::Set(var)]);
        let step = known.unwrap_or(0);
        self.state.stack.push(Slot::Range { var, step });
        Ok(())
    }

    fn absolute(&mut self, of: &Slot, operands: &[&Slot]) -> Done {
        match slot_type(of)? {
            Type::Float => {
                self.get(of)?;
                self.steps.push(Step::Op(Name::FAbs));
                self.push_result(Type::Float);
            }
            Type::Int | Type::Bool => {
                self.get_int(of)?;
                let value = self.scratch(Type::Int);
                self.steps.extend([
                    Step::Set(value),
                    Step::Get(value),
                    Step::Const(ValueType::I64, i64::MIN as u64),
                    Step::Op(Name::Eq),
                ]);
                self.exit_if(operands, "an integer beyond 64 bits");
                // (x ^ (x >> 63)) - (x >> 63)
                let sign = [
                    Step::Get(value),
                    Step::Const(ValueType::I64, 63),
                    Step::Op(Name::Shr),
                ];
                self.steps.push(Step::Get(value));
                self.steps.extend(sign);
                self.steps.push(Step::Op(Name::Xor));
                self.steps.extend(sign);
                self.steps.push(Step::Op(Name::Sub));
                self.push_result(Type::Int);
            }
            _ => return Err(Stop::Leave("the magnitude of an object")),
        }
        Ok(())
    }

    /// `min` and `max` of numbers of one type: the first that no later one beats.
    fn extreme(&mut self, max: bool, arguments: &[Slot]) -> Done {
        let ty = slot_type(&arguments[0])?;
        let op = match (ty, max) {
            (Type::Int, false) => Name::Lt,
            (Type::Int, true) => Name::Gt,
            (Type::Float, false) => Name::FLt,
            (Type::Float, true) => Name::FGt,
            _ => return Err(Stop::Leave("the least or greatest of objects")),
        };
        let best = self.scratch(ty);
        for (index, argument) in arguments.iter().enumerate() {
            if slot_type(argument)? != ty {
                return Err(Stop::Leave("the least or greatest of different types"));
            }
            if index == 0 {
                self.get(argument)?;
                self.steps.push(Step::Set(best));
                continue;
            }
            self.get(argument)?;
            self.steps.extend([Step::Get(best), Step::Op(op), Step::If]);
            self.get(argument)?;
            self.steps.extend([Step::Set(best), Step::End]);
        }
        self.steps.push(Step::Get(best));
        self.push_result(ty);
        Ok(())
    }

    fn integer(&mut self, of: &Slot, operands: &[&Slot]) -> Done {
        if matches!(slot_type(of)?, Type::Float | Type::NumpyFloat) {
            self.get(of)?;
            self.steps.push(Step::Op(Name::BeyondI64));
            self.exit_if(operands, "a float beyond 64 bits");
            self.get(of)?;
            self.steps.push(Step::Op(Name::Trunc));
        } else {
            self.get_int(of)?;
        }
        self.push_result(Type::Int);
        Ok(())
    }

    fn math(&mut self, function: MathFunction, of: &Slot, operands: &[&Slot]) -> Done {
        match function {
            MathFunction::Fabs => {
                self.get_float(of)?;
                self.steps.push(Step::Op(Name::FAbs));
            }
            MathFunction::Sqrt => {
                self.get_float(of)?;
                self.steps
                    .extend([Step::Const(ValueType::F64, 0), Step::Op(Name::FLt)]);
                self.exit_if(operands, "the root of a negative number");
                self.get_float(of)?;
                self.steps.push(Step::Op(Name::FSqrt));
            }
            MathFunction::Floor | MathFunction::Ceil => {
                if slot_type(of)? != Type::Float {
                    return Err(Stop::Leave("a number that is whole"));
                }
                self.get(of)?;
                let helper = if function == MathFunction::Floor {
                    Number::Floor
                } else {
                    Number::Ceil
                };
                return self.helper_result(
                    helper,
                    1,
                    Type::Int,
                    operands,
                    "a float beyond 64 bits",
                );
            }
            MathFunction::Other(number) => {
                self.get_float(of)?;
                self.steps
                    .push(Step::Const(ValueType::I64, u64::from(number)));
                return self.helper_result(
                    Number::Math,
                    2,
                    Type::Float,
                    operands,
                    "a function of `math` that raises",
                );
            }
        }
        self.push_result(Type::Float);
        Ok(())
    }

    fn call_compiled(
        &mut self,
        id: u32,
        arguments: &[Slot],
        environment: &mut dyn Environment,
    ) -> Done {
        let types = arguments
            .iter()
            .map(slot_type)
            .collect::<Result<Vec<_>, _>>()?;
        let callee = environment
            .specialise(id, &types)
            .ok_or(Stop::Leave("a call with these arguments"))?;
        let result = environment.result(callee).ok_or(Stop::Unknown)?;
        self.call_code(callee, result, arguments, arguments.len())
    }

    /// Calls a compiled function, for which the interpreter has `count` arguments.
    pub(super) fn call_code(
        &mut self,
        callee: u32,
        result: Type,
        arguments: &[Slot],
        count: usize,
    ) -> Done {
        for slot in arguments {
            match *slot {
                Slot::Value { var, ty, .. } => {
                    let parts = ty.parts().len() as u32;
                    self.steps.extend((var..var + parts).map(Step::Get));
                }
                Slot::RangeIterator { var, .. } => {
                    self.steps.extend((var..var + 3).map(Step::Get));
                }
                Slot::ListIterator { var, .. } => {
                    self.steps.extend((var..var + 2).map(Step::Get));
                }
                Slot::Constant(Constant::None) => {}
                _ => self.get(slot)?,
            }
        }
        self.steps.push(Step::Call(callee));
        let owned = arguments.iter().filter_map(|slot| match *slot {
            Slot::Value {
                var, owned: true, ..
            }
            | Slot::ListIterator { var, .. } => Some(var),
            _ => None,
        });
        let owned: Vec<u32> = owned.collect();
        let mut exit = self.exit_here("what a function returned");
        exit.resume = Resume::AfterCall {
            call: self.at.offset,
            arguments: count as u32,
        };
        exit.offset = self.at.next;
        exit.stack.push(Source::Result);
        exit.release.clone_from(&owned);
        let exit = self.add_exit(exit);
        self.steps.push(Step::ExitIf(exit));
        if result == Type::None {
            self.steps.push(Step::Drop);
            self.state.stack.push(Slot::Constant(Constant::None));
        } else {
            self.push_result(result);
        }
        for var in owned {
            self.release_var(var);
        }
        Ok(())
    }

    pub(super) fn iterator(&mut self) -> Done {
        let slot = self.pop()?;
        let slot = match slot {
            Slot::Range { var, step } => Slot::RangeIterator { var, step },
            Slot::Value { ty, .. } => return self.list_iterator(&[&slot], Items::One(ty)),
            // An iterator's iterator is itself; comprehensions of later patch releases ask for it.
            Slot::RangeIterator { .. } | Slot::ListIterator { .. } => slot,
            _ => return Err(Stop::Leave("an iterator of an object")),
        };
        self.state.stack.push(slot);
        Ok(())
    }

    /// An iterator of sequences, each of which it has a reference to.
    fn list_iterator(&mut self, lists: &[&Slot], items: Items) -> Done {
        let place = Place::Stack(self.state.stack.len() as u32);
        let to = self.home_of_kind(place, RANGE, PARTS);
        let mut sets = Vec::new();
        for (number, list) in lists.iter().enumerate() {
            let Slot::Value { var, owned, ty } = **list else {
                return Err(Stop::Leave("an iterator of an object"));
            };
            if !ty.is_object() {
                return Err(Stop::Leave("an iterator of a number"));
            }
            if !owned {
                self.retain(var);
            }
            self.steps
                .extend([Step::Get(var), Step::Const(ValueType::I64, 0)]);
            let at = to + 2 * number as u32;
            sets.extend([Step::Set(at), Step::Set(at + 1)]);
        }
        self.steps.extend(sets.into_iter().rev());
        self.state.stack.push(Slot::ListIterator { var: to, items });
        Ok(())
    }

    pub(super) fn for_iter(&mut self, to: u32) -> Result<End, Stop> {
        self.settle();
        match self.state.stack.last().cloned() {
            Some(Slot::RangeIterator { var, step }) => {
                let more = if step >= 0 { Name::Lt } else { Name::Gt };
                let by = match step {
                    0 => Step::Get(var + 2),
                    _ => Step::Const(ValueType::I64, step as u64),
                };
                let refuge = self.exit(MISFIT);
                self.steps
                    .extend([Step::Get(var), Step::Get(var + 1), Step::Op(more)]);
                // What only the way on needs stands in a block of its own.
                let head = std::mem::take(&mut self.steps);
                let kept = self.state.clone();
                self.steps.push(Step::Get(var));
                self.push_result(Type::Int);
                // The last of them may wrap: nobody asks for it.
                self.steps
                    .extend([Step::Get(var), by, Step::Op(Name::Add), Step::Set(var)]);
                let body = self.goto(self.at.next);
                let more = self.extra_block(End::Goto(body), refuge);
                self.state = kept;
                self.steps = head;
                self.state.stack.pop();
                Ok(End::If(more, self.goto(to)))
            }
            Some(Slot::ListIterator { var, items }) => self.for_list(var, items, to),
            _ => Err(Stop::Leave("an iterator of an object")),
        }
    }

    fn for_list(&mut self, var: u32, items: Items, to: u32) -> Result<End, Stop> {
        let lists = match items {
            Items::One(of) | Items::Enumerated(of) => vec![(var, of)],
            Items::Both(first, second) => vec![(var, first), (var + 2, second)],
        };
        // Before any step is taken away: those in hand stay if it is left to the interpreter.
        for (_, of) in &lists {
            match *of {
                Type::List(Item::Unknown) => {
                    return Err(Stop::Leave("an item of a list that was empty"));
                }
                Type::Tuple(items) if Type::common(items).is_none() => {
                    return Err(Stop::Leave("items of several types"));
                }
                Type::NumpyArray(_, 2..) => return Err(Stop::Leave("a row of an array")),
                _ => {}
            }
        }
        // Pairs are taken apart at once, or made by the interpreter.
        let body = match items {
            Items::One(_) => self.at.next,
            _ => self.behind_unpack()?,
        };
        let kept = self.state.clone();
        let exit = self.exit("an item of another type");
        for (number, (var, ty)) in lists.iter().enumerate() {
            let list = Slot::Value {
                var: *var,
                ty: *ty,
                owned: false,
            };
            self.steps.push(Step::Get(var + 1));
            self.length(&list)?;
            self.steps.push(Step::Op(Name::Lt));
            if number > 0 {
                self.steps.push(Step::Op(Name::And32));
            }
        }
        // What each way does first stands in a block of its own.
        let head = std::mem::take(&mut self.steps);
        let at = self.state.stack.len();
        // Unpacking puts the first on top.
        for (var, of) in lists.iter().rev() {
            self.leaves_by = Some(exit);
            let item = self.next_item(*var, *of);
            self.leaves_by = None;
            item?;
            if let Some(Slot::Value { var, ty, .. }) = self.state.stack.last()
                && ty.is_object()
            {
                self.retain(*var);
            }
        }
        if let Items::Enumerated(_) = items {
            self.steps.push(Step::Get(var + 1));
            self.push_result(Type::Int);
        }
        debug_assert!(self.state.stack.len() > at);
        for (var, _) in &lists {
            self.steps.extend([
                Step::Get(var + 1),
                Step::Const(ValueType::I64, 1),
                Step::Op(Name::Add),
                Step::Set(var + 1),
            ]);
        }
        let body = self.goto(body);
        let more = self.extra_block(End::Goto(body), exit);
        self.state = kept;
        if let Some(iterator) = self.state.stack.pop() {
            self.release(&iterator);
        }
        let behind = self.goto(to);
        let done = self.extra_block(End::Goto(behind), exit);
        self.steps = head;
        Ok(End::If(more, done))
    }

    /// Pushes the item of a sequence whose index lies behind it. A list is not owned yet.
    fn next_item(&mut self, var: u32, of: Type) -> Done {
        let exit = self.exit_with(&[], "an item of another type");
        let index = Slot::Value {
            var: var + 1,
            ty: Type::Int,
            owned: false,
        };
        match of {
            Type::List(item) => self.item_at(var, var + 1, item, exit),
            Type::Tuple(items) => {
                let object = self.tuple_object(var, var + 1);
                let item = Type::common(items).unwrap_or(Item::Unknown);
                self.item_value(object, item, exit)
            }
            Type::NumpyArray(of, 1) => self.numpy_item(var, of, 1, &index, &[]),
            _ => self.array_item(var, of, &index, &[]),
        }
    }

    /// The offset behind the instruction that takes apart the pair which this one gives.
    fn behind_unpack(&self) -> Result<u32, Stop> {
        let code = &self.code.instructions;
        let at = code.partition_point(|other| other.offset < self.at.next);
        match code.get(at) {
            Some(next) if next.op == Op::Unpack(2) && !self.leaders[next.offset as usize] => {
                Ok(next.next)
            }
            _ => Err(Stop::Leave("pairs that are not taken apart")),
        }
    }
}
