//! Where values are, and what is computed from them.

use copatch::ValueType;

use super::{Done, Items, Local, Place, Slot, Stop, Translator};
use crate::bytecode::Unary;
use crate::helpers::Number;
use crate::ir::{Constant, Name, Step, Type};

/// Binary operations by their number in `BINARY_OP`; those that work in place are 13 more.
mod number {
    pub const ADD: u32 = 0;
    pub const AND: u32 = 1;
    pub const FLOOR_DIVIDE: u32 = 2;
    pub const LSHIFT: u32 = 3;
    pub const MULTIPLY: u32 = 5;
    pub const REMAINDER: u32 = 6;
    pub const OR: u32 = 7;
    pub const POWER: u32 = 8;
    pub const RSHIFT: u32 = 9;
    pub const SUBTRACT: u32 = 10;
    pub const TRUE_DIVIDE: u32 = 11;
    pub const XOR: u32 = 12;
    pub const COUNT: u32 = 13;
}

impl Translator<'_> {
    /// The first of the variables where a place has its values of that type.
    pub(super) fn home(&mut self, place: Place, ty: Type) -> u32 {
        self.home_of_kind(place, kind(ty), ty.parts())
    }

    pub(super) fn home_of_kind(
        &mut self,
        place: Place,
        kind: u8,
        parts: &'static [ValueType],
    ) -> u32 {
        *self.homes.entry((place, kind)).or_insert_with(|| {
            let first = self.vars.len() as u32;
            self.vars.extend_from_slice(parts);
            first
        })
    }

    /// [`Self::home`] of a local that has a value of that type.
    pub(super) fn home_of(&self, place: Place, ty: Type) -> u32 {
        self.homes.get(&(place, kind(ty))).copied().unwrap_or(0)
    }

    /// [`Self::home`] of a place, if it has one.
    pub(super) fn known_home(&self, place: Place, ty: Type) -> Option<u32> {
        self.homes.get(&(place, kind(ty))).copied()
    }

    /// A variable for a moment.
    pub(super) fn scratch(&mut self, ty: Type) -> u32 {
        self.home(Place::Scratch(0), ty)
    }

    pub(super) fn copy(&mut self, from: u32, to: u32, ty: Type) {
        let parts = ty.parts().len() as u32;
        self.steps
            .extend((0..parts).map(|part| Step::Get(from + part)));
        self.steps
            .extend((0..parts).rev().map(|part| Step::Set(to + part)));
    }

    pub(super) fn pop(&mut self) -> Result<Slot, Stop> {
        self.state.stack.pop().ok_or(Stop::Leave("an empty stack"))
    }

    /// A reference more. What is counted here are lists, which always count.
    pub(super) fn retain(&mut self, var: u32) {
        self.count(var, 1);
    }

    /// A reference less.
    pub(super) fn release_var(&mut self, var: u32) {
        self.steps.extend([
            Step::Get(var),
            Step::OpImm(Name::LoadI64, 0),
            Step::Const(ValueType::I64, 1),
            Step::Op(Name::Eq),
            Step::If,
            Step::Get(var),
            Step::Helper(Number::Release, 1, &[]),
            Step::Else,
        ]);
        self.count(var, -1);
        self.steps.push(Step::End);
    }

    /// An object's first word is the number of references to it.
    pub(super) fn count(&mut self, var: u32, by: i64) {
        self.steps.extend([
            Step::Get(var),
            Step::Get(var),
            Step::OpImm(Name::LoadI64, 0),
            Step::Const(ValueType::I64, by as u64),
            Step::Op(Name::Add),
            Step::OpImm(Name::StoreI64, 0),
        ]);
    }

    /// A stack entry is not needed any more.
    pub(super) fn release(&mut self, slot: &Slot) {
        match *slot {
            Slot::Value {
                var, owned: true, ..
            } => self.release_var(var),
            Slot::ListIterator { var, items } => {
                self.release_var(var);
                if let Items::Both(..) = items {
                    self.release_var(var + 2);
                }
            }
            _ => {}
        }
    }

    /// [`Self::release`] while a condition is on the engine's stack.
    pub(super) fn release_kept(&mut self, slot: &Slot) {
        if let Slot::Value {
            var, owned: true, ..
        } = *slot
        {
            let kept = self.scratch(Type::Bool);
            self.steps.push(Step::Set(kept));
            self.release_var(var);
            self.steps.push(Step::Get(kept));
        }
    }

    pub(super) fn load(&mut self, local: u32) -> Done {
        let slot = match self.state.locals.get(local as usize) {
            Some(Local::Object(id, what)) => Slot::Object(*id, *what),
            Some(Local::Value { ty: Type::None, .. }) => Slot::Constant(Constant::None),
            Some(Local::Value { ty, .. }) => Slot::Value {
                var: self.home_of(Place::Local(local), *ty),
                ty: *ty,
                owned: false,
            },
            _ => return Err(Stop::Leave("a local without a value")),
        };
        self.state.stack.push(slot);
        Ok(())
    }

    pub(super) fn store(&mut self, local: u32) -> Done {
        let slot = self.pop()?;
        let old = self.state.locals[local as usize];
        // Also where the local has no value now: what was moved out of it is still read from its variable.
        for ty in [Type::Int, Type::Float, Type::Bool] {
            if let Some(var) = self.known_home(Place::Local(local), ty) {
                self.copy_readers(var)?;
            }
        }
        let new = match slot {
            // What LOAD_FAST_AND_CLEAR found without a value.
            Slot::Null => Local::Unbound,
            Slot::Constant(Constant::None) => Local::Value {
                ty: Type::None,
                owned: false,
            },
            Slot::Object(id, what) => Local::Object(id, what),
            Slot::Value { var, ty, owned, .. } if ty.is_object() => {
                if !owned {
                    self.retain(var);
                }
                Local::Value { ty, owned: true }
            }
            Slot::Constant(_) | Slot::Value { .. } => Local::Value {
                ty: slot_type(&slot)?,
                owned: false,
            },
            _ => return Err(Stop::Leave("a local that holds an iterator")),
        };
        let kept = match old {
            Local::Value { ty, owned: true } => {
                let kept = self.home_of_kind(Place::Scratch(1), 0, &[ValueType::I64]);
                let var = self.home_of(Place::Local(local), ty);
                self.steps.extend([Step::Get(var), Step::Set(kept)]);
                Some(kept)
            }
            _ => None,
        };
        if let Local::Value { ty, .. } = new {
            let to = self.home(Place::Local(local), ty);
            match slot {
                Slot::Value { var, ty, .. } if var != to => self.copy(var, to, ty),
                Slot::Constant(constant) if ty != Type::None => {
                    self.steps
                        .extend([Step::Const(ty.parts()[0], constant.bits()), Step::Set(to)]);
                }
                _ => {}
            }
        }
        self.state.locals[local as usize] = new;
        if let Some(kept) = kept {
            self.release_var(kept);
        }
        Ok(())
    }

    /// A local loses its value, which is on top of the stack.
    pub(super) fn move_out(&mut self, local: u32) -> Done {
        if let Local::Value { owned: true, .. } = self.state.locals[local as usize] {
            return Err(Stop::Leave("a list whose name is taken for a moment"));
        }
        self.state.locals[local as usize] = Local::Unbound;
        Ok(())
    }

    /// Stack entries that are read from a variable about to change get variables of their own.
    fn copy_readers(&mut self, changing: u32) -> Done {
        for depth in 0..self.state.stack.len() {
            if let Slot::Value { var, ty, owned } = self.state.stack[depth]
                && var == changing
            {
                if ty.is_object() && !owned {
                    self.retain(var);
                }
                let to = self.home(Place::Stack(depth as u32), ty);
                self.copy(var, to, ty);
                self.state.stack[depth] = Slot::Value {
                    var: to,
                    ty,
                    owned: ty.is_object(),
                };
            }
        }
        Ok(())
    }

    /// Whether [`Self::settle`] has anything to do.
    pub(super) fn is_unsettled(&self) -> bool {
        self.state.stack.iter().enumerate().any(|(depth, slot)| {
            let place = Place::Stack(depth as u32);
            match *slot {
                Slot::Constant(constant) => constant != Constant::None,
                Slot::Value { var, ty, owned } => {
                    self.homes.get(&(place, kind(ty))) != Some(&var) || ty.is_object() && !owned
                }
                Slot::Range { var, .. } | Slot::RangeIterator { var, .. } => {
                    self.homes.get(&(place, RANGE)) != Some(&var)
                }
                Slot::ListIterator { var, .. } => self.homes.get(&(place, RANGE)) != Some(&var),
                Slot::Null | Slot::Object(..) | Slot::Tuple(_) | Slot::Slice(_) => false,
            }
        })
    }

    /// Brings every stack entry to its own variables, as all ways to a place have them.
    pub(super) fn settle(&mut self) {
        if !self.is_unsettled() {
            return;
        }
        let mut sets = Vec::new();
        for depth in 0..self.state.stack.len() {
            let place = Place::Stack(depth as u32);
            let slot = self.state.stack[depth].clone();
            match slot {
                Slot::Constant(constant) if constant != Constant::None => {
                    let ty = constant.ty();
                    let to = self.home(place, ty);
                    self.steps.push(Step::Const(ty.parts()[0], constant.bits()));
                    sets.push(to);
                    self.state.stack[depth] = Slot::Value {
                        var: to,
                        ty,
                        owned: false,
                    };
                }
                Slot::Value { var, ty, owned } => {
                    let to = self.home(place, ty);
                    if ty.is_object() && !owned {
                        self.retain(var);
                    }
                    if var != to {
                        for part in 0..ty.parts().len() as u32 {
                            self.steps.push(Step::Get(var + part));
                            sets.push(to + part);
                        }
                    }
                    self.state.stack[depth] = Slot::Value {
                        var: to,
                        ty,
                        owned: ty.is_object(),
                    };
                }
                Slot::Range { var, .. }
                | Slot::RangeIterator { var, .. }
                | Slot::ListIterator { var, .. } => {
                    let to = self.home_of_kind(place, RANGE, PARTS);
                    if var != to {
                        let parts = match slot {
                            Slot::ListIterator {
                                items: Items::Both(..),
                                ..
                            } => 4,
                            Slot::ListIterator { .. } => 2,
                            _ => 3,
                        };
                        self.steps.extend((var..var + parts).map(Step::Get));
                        sets.extend(to..to + parts);
                    }
                    match &mut self.state.stack[depth] {
                        Slot::Range { var, .. }
                        | Slot::RangeIterator { var, .. }
                        | Slot::ListIterator { var, .. } => *var = to,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        self.steps.extend(sets.into_iter().rev().map(Step::Set));
    }

    /// Entries that were exchanged may lie in each other's variables: they go to their own before one is written.
    pub(super) fn vacate(&mut self, var: u32) {
        for depth in 0..self.state.stack.len() {
            if let Slot::Value {
                var: from,
                ty,
                owned,
            } = self.state.stack[depth]
                && from == var
            {
                let to = self.home(Place::Stack(depth as u32), ty);
                // There are no more entries than variables of their own, so this comes to an end.
                self.vacate(to);
                self.copy(from, to, ty);
                self.state.stack[depth] = Slot::Value { var: to, ty, owned };
            }
        }
    }

    /// The value on the engine's stack becomes the top of the stack.
    pub(super) fn push_result(&mut self, ty: Type) {
        let place = Place::Stack(self.state.stack.len() as u32);
        let var = self.home(place, ty);
        self.vacate(var);
        self.steps.push(Step::Set(var));
        self.state.stack.push(Slot::Value {
            var,
            ty,
            owned: ty.is_object(),
        });
    }

    /// Reads a number.
    pub(super) fn get(&mut self, slot: &Slot) -> Done {
        let step = match *slot {
            Slot::Constant(constant) if constant != Constant::None => {
                Step::Const(constant.ty().parts()[0], constant.bits())
            }
            Slot::Value { var, .. } => Step::Get(var),
            _ => return Err(Stop::Leave("an object in arithmetic")),
        };
        self.steps.push(step);
        Ok(())
    }

    /// Reads a number as an integer; truth values are 0 and 1.
    pub(super) fn get_int(&mut self, slot: &Slot) -> Done {
        match slot {
            Slot::Constant(Constant::Bool(value)) => {
                self.steps
                    .push(Step::Const(ValueType::I64, u64::from(*value)));
                Ok(())
            }
            _ => {
                self.get(slot)?;
                match slot_type(slot)? {
                    Type::Int => {}
                    Type::Bool => self.steps.push(Step::Op(Name::Extend)),
                    _ => return Err(Stop::Leave("no integer")),
                }
                Ok(())
            }
        }
    }

    /// Reads a number as a float, rounded as CPython rounds.
    pub(super) fn get_float(&mut self, slot: &Slot) -> Done {
        match (slot, slot_type(slot)?) {
            (_, Type::Float) => self.get(slot),
            (Slot::Constant(constant), _) => {
                let value = match *constant {
                    Constant::Int(value) => value as f64,
                    Constant::Bool(value) => f64::from(u8::from(value)),
                    _ => return Err(Stop::Leave("no number")),
                };
                self.steps
                    .push(Step::Const(ValueType::F64, value.to_bits()));
                Ok(())
            }
            _ => {
                self.get_int(slot)?;
                self.steps.push(Step::Op(Name::Convert));
                Ok(())
            }
        }
    }

    /// Pushes the truth of an entry as an i32 on the engine's stack.
    pub(super) fn truth(&mut self, slot: &Slot) -> Done {
        let op = match (slot, slot_type(slot)?) {
            (Slot::Constant(constant), _) => {
                let truth = match *constant {
                    Constant::None => false,
                    Constant::Bool(value) => value,
                    Constant::Int(value) => value != 0,
                    Constant::Float(value) => value != 0.0,
                };
                self.steps
                    .push(Step::Const(ValueType::I32, u64::from(truth)));
                return Ok(());
            }
            (_, Type::Bool) => return self.get(slot),
            (_, Type::Int) => Name::Nez,
            (_, Type::Float) => Name::FNez,
            (Slot::Value { .. }, Type::List(_)) => {
                self.length(slot)?;
                self.steps.push(Step::Op(Name::Nez));
                return Ok(());
            }
            _ => return Err(Stop::Leave("the truth of an object")),
        };
        self.get(slot)?;
        self.steps.push(Step::Op(op));
        Ok(())
    }

    pub(super) fn exit_if(&mut self, operands: &[&Slot], why: &'static str) {
        let exit = self.exit_with(operands, why);
        self.steps.push(Step::ExitIf(exit));
    }

    pub(super) fn binary(&mut self, operation: u32) -> Done {
        let in_place = operation >= number::COUNT;
        let operation = operation % number::COUNT;
        let (right, left) = (self.pop()?, self.pop()?);
        match (slot_type(&left)?, slot_type(&right)?) {
            (Type::Float, Type::Float | Type::Int | Type::Bool)
            | (Type::Int | Type::Bool, Type::Float) => self.float_binary(operation, left, right),
            (Type::Bool, Type::Bool)
                if matches!(operation, number::AND | number::OR | number::XOR) =>
            {
                self.get(&left)?;
                self.get(&right)?;
                let op = match operation {
                    number::AND => Name::And32,
                    number::OR => Name::Or32,
                    _ => Name::Xor32,
                };
                self.steps.push(Step::Op(op));
                self.push_result(Type::Bool);
                Ok(())
            }
            (Type::Int | Type::Bool, Type::Int | Type::Bool) => {
                self.int_binary(operation, left, right)
            }
            (Type::List(item), Type::Int) if operation == number::MULTIPLY && !in_place => {
                self.repeat_list(left, right, item)
            }
            _ => Err(Stop::Leave("an operation on objects")),
        }
    }

    fn int_binary(&mut self, operation: u32, left: Slot, right: Slot) -> Done {
        let checked = |check, op| (Some(check), op);
        let (check, op) = match operation {
            number::ADD => checked(Name::AddOverflows, Name::Add),
            number::SUBTRACT => checked(Name::SubOverflows, Name::Sub),
            number::MULTIPLY => checked(Name::MulOverflows, Name::Mul),
            number::AND => (None, Name::And),
            number::OR => (None, Name::Or),
            number::XOR => (None, Name::Xor),
            number::LSHIFT | number::RSHIFT => return self.shift(operation, left, right),
            number::FLOOR_DIVIDE | number::REMAINDER => return self.divide(operation, left, right),
            number::TRUE_DIVIDE => return self.true_divide(left, right),
            number::POWER => return self.int_power(left, right),
            _ => return Err(Stop::Leave("a binary operation")),
        };
        if let Some(check) = check {
            self.get_int(&left)?;
            self.get_int(&right)?;
            self.steps.push(Step::Op(check));
            self.exit_if(&[&left, &right], "an integer beyond 64 bits");
        }
        self.get_int(&left)?;
        self.get_int(&right)?;
        self.steps.push(Step::Op(op));
        self.push_result(Type::Int);
        Ok(())
    }

    fn shift(&mut self, operation: u32, left: Slot, right: Slot) -> Done {
        let constant = constant_int(&right);
        match constant {
            Some(count) if (0..64).contains(&count) => {}
            Some(_) => return Err(Stop::Leave("a shift by a constant beyond 63")),
            None => {
                self.get_int(&right)?;
                self.steps.push(Step::Const(ValueType::I64, 64));
                self.steps.push(Step::Op(Name::GeU));
                self.exit_if(&[&left, &right], "a shift by less than 0 or more than 63");
            }
        }
        let op = if operation == number::LSHIFT {
            self.get_int(&left)?;
            self.get_int(&right)?;
            self.steps.push(Step::Op(Name::ShlOverflows));
            self.exit_if(&[&left, &right], "an integer beyond 64 bits");
            Name::Shl
        } else {
            Name::Shr
        };
        self.get_int(&left)?;
        self.get_int(&right)?;
        self.steps.push(Step::Op(op));
        self.push_result(Type::Int);
        Ok(())
    }

    fn divide(&mut self, operation: u32, left: Slot, right: Slot) -> Done {
        let floor = operation == number::FLOOR_DIVIDE;
        if let Some(divisor) = constant_int(&right)
            && divisor > 0
            && divisor.count_ones() == 1
        {
            // Shifts and masks round down, as Python does.
            self.get_int(&left)?;
            let (op, value) = if floor {
                (Name::Shr, u64::from(divisor.trailing_zeros()))
            } else {
                (Name::And, divisor as u64 - 1)
            };
            self.steps
                .extend([Step::Const(ValueType::I64, value), Step::Op(op)]);
            self.push_result(Type::Int);
            return Ok(());
        }
        for (value, why) in [(0, "a division by zero"), (-1i64, "a division by -1")] {
            match constant_int(&right) {
                Some(divisor) if divisor == value => return Err(Stop::Leave(why)),
                Some(_) => {}
                None => {
                    self.get_int(&right)?;
                    self.steps.extend([
                        Step::Const(ValueType::I64, value as u64),
                        Step::Op(Name::Eq),
                    ]);
                    self.exit_if(&[&left, &right], why);
                }
            }
        }
        self.get_int(&left)?;
        self.get_int(&right)?;
        let op = if floor {
            Name::FloorDiv
        } else {
            Name::FloorMod
        };
        self.steps.push(Step::Op(op));
        self.push_result(Type::Int);
        Ok(())
    }

    /// Exits unless a float is an exact image of an integer.
    fn check_exact(&mut self, of: &Slot, operands: &[&Slot]) -> Done {
        match (constant_int(of), slot_type(of)?) {
            (Some(value), _) if value.unsigned_abs() <= 1 << 53 => {}
            (_, Type::Int) => {
                self.get_int(of)?;
                self.steps.push(Step::Op(Name::BeyondF64));
                self.exit_if(operands, "an integer that no float is equal to");
            }
            _ => {}
        }
        Ok(())
    }

    fn check_float_divisor(&mut self, operands: &[&Slot]) -> Done {
        if let Slot::Constant(Constant::Float(value)) = operands[1]
            && *value != 0.0
        {
            return Ok(());
        }
        if constant_int(operands[1]).is_some_and(|value| value != 0) {
            return Ok(());
        }
        self.get_float(operands[1])?;
        self.steps
            .extend([Step::Const(ValueType::F64, 0), Step::Op(Name::FEq)]);
        self.exit_if(operands, "a division by zero");
        Ok(())
    }

    fn true_divide(&mut self, left: Slot, right: Slot) -> Done {
        let operands = [&left, &right];
        self.check_exact(&left, &operands)?;
        self.check_exact(&right, &operands)?;
        self.check_float_divisor(&operands)?;
        self.get_float(&left)?;
        self.get_float(&right)?;
        self.steps.push(Step::Op(Name::FDiv));
        self.push_result(Type::Float);
        Ok(())
    }

    fn int_power(&mut self, left: Slot, right: Slot) -> Done {
        if constant_int(&right) == Some(2) {
            let again = left.clone();
            self.get_int(&left)?;
            self.get_int(&again)?;
            self.steps.push(Step::Op(Name::MulOverflows));
            self.exit_if(&[&left, &right], "an integer beyond 64 bits");
            self.get_int(&left)?;
            self.get_int(&again)?;
            self.steps.push(Step::Op(Name::Mul));
            self.push_result(Type::Int);
            return Ok(());
        }
        self.get_int(&left)?;
        self.get_int(&right)?;
        self.helper_result(
            Number::IntPower,
            2,
            Type::Int,
            &[&left, &right],
            "a power beyond 64 bits, or of a negative exponent",
        )
    }

    fn float_binary(&mut self, operation: u32, left: Slot, right: Slot) -> Done {
        let op = match operation {
            number::ADD => Name::FAdd,
            number::SUBTRACT => Name::FSub,
            number::MULTIPLY => Name::FMul,
            number::TRUE_DIVIDE => {
                self.check_float_divisor(&[&left, &right])?;
                Name::FDiv
            }
            number::FLOOR_DIVIDE | number::REMAINDER | number::POWER => {
                let helper = match operation {
                    number::FLOOR_DIVIDE => Number::FloatFloorDiv,
                    number::REMAINDER => Number::FloatMod,
                    _ => Number::FloatPower,
                };
                self.get_float(&left)?;
                self.get_float(&right)?;
                return self.helper_result(
                    helper,
                    2,
                    Type::Float,
                    &[&left, &right],
                    "a division by zero, or a power that is no float",
                );
            }
            _ => return Err(Stop::Leave("an operation that floats do not have")),
        };
        self.get_float(&left)?;
        self.get_float(&right)?;
        self.steps.push(Step::Op(op));
        self.push_result(Type::Float);
        Ok(())
    }

    /// Calls a helper whose operands are on the engine's stack; it gives a value, and not zero if the interpreter must do it.
    pub(super) fn helper_result(
        &mut self,
        helper: Number,
        params: u32,
        ty: Type,
        operands: &[&Slot],
        why: &'static str,
    ) -> Done {
        let results: &'static [ValueType] = match ty.parts() {
            [ValueType::I64] => &[ValueType::I64, ValueType::I32],
            [ValueType::F64] => &[ValueType::F64, ValueType::I32],
            _ => &[ValueType::I32, ValueType::I32],
        };
        self.steps.push(Step::Helper(helper, params, results));
        self.exit_if(operands, why);
        self.push_result(ty);
        Ok(())
    }

    /// Leaves the truth of a comparison on the engine's stack.
    pub(super) fn compare(&mut self, comparison: u32) -> Done {
        let (right, left) = (self.pop()?, self.pop()?);
        let index = comparison as usize;
        if index > 5 {
            return Err(Stop::Leave("a comparison"));
        }
        let ints = [Name::Lt, Name::Le, Name::Eq, Name::Ne, Name::Gt, Name::Ge];
        let floats = [
            Name::FLt,
            Name::FLe,
            Name::FEq,
            Name::FNe,
            Name::FGt,
            Name::FGe,
        ];
        match (slot_type(&left)?, slot_type(&right)?) {
            (Type::Int | Type::Bool, Type::Int | Type::Bool) => {
                self.get_int(&left)?;
                self.get_int(&right)?;
                self.steps.push(Step::Op(ints[index]));
            }
            (Type::Float | Type::Int | Type::Bool, Type::Float | Type::Int | Type::Bool) => {
                self.check_exact(&left, &[&left, &right])?;
                self.check_exact(&right, &[&left, &right])?;
                self.get_float(&left)?;
                self.get_float(&right)?;
                self.steps.push(Step::Op(floats[index]));
            }
            _ => return Err(Stop::Leave("a comparison of objects")),
        }
        Ok(())
    }

    pub(super) fn unary(&mut self, unary: Unary) -> Done {
        let slot = self.pop()?;
        let ty = slot_type(&slot)?;
        match (unary, ty) {
            (Unary::Not, _) => {
                self.truth(&slot)?;
                self.steps.push(Step::Op(Name::Eqz32));
                self.release_kept(&slot);
                self.push_result(Type::Bool);
            }
            (Unary::Negative, Type::Float) => {
                self.get(&slot)?;
                self.steps.push(Step::Op(Name::FNeg));
                self.push_result(Type::Float);
            }
            (Unary::Negative, Type::Int | Type::Bool) => {
                self.get_int(&slot)?;
                self.steps.extend([
                    Step::Const(ValueType::I64, i64::MIN as u64),
                    Step::Op(Name::Eq),
                ]);
                self.exit_if(&[&slot], "an integer beyond 64 bits");
                self.get_int(&slot)?;
                self.steps.push(Step::Op(Name::Neg));
                self.push_result(Type::Int);
            }
            (Unary::Invert, Type::Int) => {
                self.get_int(&slot)?;
                self.steps.push(Step::Op(Name::Invert));
                self.push_result(Type::Int);
            }
            (Unary::Positive, Type::Int | Type::Float) => self.state.stack.push(slot),
            _ => return Err(Stop::Leave("a unary operation on an object")),
        }
        Ok(())
    }

    /// Returns a value; nothing of the function's is needed any more.
    pub(super) fn return_(&mut self, slot: Slot) -> Done {
        let ty = slot_type(&slot)?;
        let result = *self.result.get_or_insert(ty);
        // Lists are told apart by what is guessed of their items; whoever reads those looks again.
        let lists = matches!((result, ty), (Type::List(_), Type::List(_)));
        if result != ty && !lists {
            return Err(Stop::Leave("a result of another type"));
        }
        if let Slot::Value {
            var,
            ty,
            owned: false,
        } = slot
            && ty.is_object()
        {
            self.retain(var);
        }
        let kept = match slot {
            Slot::Value { var, ty, .. } => {
                let kept = self.home(Place::Scratch(2), ty);
                self.copy(var, kept, ty);
                Some(kept)
            }
            _ => None,
        };
        for local in 0..self.state.locals.len() {
            if let Local::Value { ty, owned: true } = self.state.locals[local] {
                self.release_var(self.home_of(Place::Local(local as u32), ty));
            }
        }
        for slot in std::mem::take(&mut self.state.stack) {
            self.release(&slot);
        }
        match (kept, &slot) {
            (Some(kept), _) => self.steps.push(Step::Get(kept)),
            (None, Slot::Constant(Constant::None)) => {
                self.steps.push(Step::Const(ValueType::I64, 0));
            }
            _ => self.get(&slot)?,
        }
        self.steps.extend([
            Step::Op(Name::Leave),
            Step::Const(ValueType::I32, 0),
            Step::Return,
        ]);
        Ok(())
    }

    /// `and`, `or`: the value stays if control goes there.
    pub(super) fn jump_or_pop(&mut self, when: bool, to: u32) -> Result<crate::ir::End, Stop> {
        let slot = self.pop()?;
        if slot_type(&slot)?.is_object() {
            return Err(Stop::Leave("the truth of an object"));
        }
        self.state.stack.push(slot);
        self.settle();
        let slot = self.pop()?;
        self.truth(&slot)?;
        self.state.stack.push(slot);
        let jump = self.goto(to);
        self.pop()?;
        let fall = self.goto(self.at.next);
        Ok(if when {
            crate::ir::End::If(jump, fall)
        } else {
            crate::ir::End::If(fall, jump)
        })
    }
}

/// The kind of home of ranges and of iterators.
pub(super) const RANGE: u8 = 4;
pub(super) const PARTS: &[ValueType] = &[ValueType::I64; 4];

fn kind(ty: Type) -> u8 {
    match ty {
        Type::Int | Type::List(_) => 0,
        Type::Float => 1,
        Type::Bool => 2,
        // Has no variables.
        Type::None => 5,
    }
}

/// The type of an entry that is a value.
pub(super) fn slot_type(slot: &Slot) -> Result<Type, Stop> {
    match slot {
        Slot::Constant(constant) => Ok(constant.ty()),
        Slot::Value { ty, .. } => Ok(*ty),
        _ => Err(Stop::Leave("an object where a value is wanted")),
    }
}

/// An integer constant.
pub(super) fn constant_int(slot: &Slot) -> Option<i64> {
    match slot {
        Slot::Constant(Constant::Int(value)) => Some(*value),
        Slot::Constant(Constant::Bool(value)) => Some(i64::from(*value)),
        _ => None,
    }
}
