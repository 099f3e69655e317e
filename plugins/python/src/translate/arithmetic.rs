//! What is computed from numbers, with the checks that Python's meaning asks for: integers of any size, division by zero, floats
//! that no integer is equal to.

use copatch::ValueType;

use super::values::{constant_int, slot_type};
use super::{Done, Place, Slot, Stop, Translator};
use crate::bytecode::Unary;
use crate::helpers::Number;
use crate::ir::{Constant, Name, Step, Type};

/// Binary operations by their number in `BINARY_OP`; those that work in place are 13 more.
pub(super) mod number {
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
            (left_type, right_type) if left_type.is_numpy() || right_type.is_numpy() => {
                self.numpy_binary(operation, left, right)
            }
            (Type::List(item), Type::Int) if operation == number::MULTIPLY && !in_place => {
                self.repeat_list(left, right, item)
            }
            _ => Err(Stop::Leave("an operation on objects")),
        }
    }

    fn int_binary(&mut self, operation: u32, left: Slot, right: Slot) -> Done {
        match operation {
            number::LSHIFT | number::RSHIFT => return self.shift(operation, left, right),
            number::FLOOR_DIVIDE | number::REMAINDER => return self.divide(operation, left, right),
            number::TRUE_DIVIDE => return self.true_divide(left, right),
            number::POWER => return self.int_power(left, right),
            number::ADD | number::SUBTRACT => {
                let by = match operation {
                    number::ADD => constant_int(&right),
                    _ => constant_int(&right).and_then(i64::checked_neg),
                };
                if let (Some(by), Slot::Value { var, .. }) = (by, &left)
                    && self.add_constant(*var, by, &left, &right)?
                {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.int_operation(operation, &left, &right)?;
        self.push_result(Type::Int);
        Ok(())
    }

    /// Adds a constant: the sum is on the wrong side of what it was added to if 64 bits do not hold it. Gives false, and does nothing, if
    /// the sum would take the variable that it is compared with.
    fn add_constant(&mut self, var: u32, by: i64, left: &Slot, right: &Slot) -> Result<bool, Stop> {
        let place = Place::Stack(self.state.stack.len() as u32);
        let sum = self.home(place, Type::Int);
        if sum == var {
            return Ok(false);
        }
        self.vacate(sum);
        self.get_int(left)?;
        self.steps.extend([
            Step::Const(ValueType::I64, by as u64),
            Step::Op(Name::Add),
            Step::Set(sum),
            Step::Get(sum),
        ]);
        self.get_int(left)?;
        let wrong = if by < 0 { Name::Gt } else { Name::Lt };
        self.steps.push(Step::Op(wrong));
        self.exit_if(&[left, right], "an integer beyond 64 bits");
        self.state.stack.push(Slot::Value {
            var: sum,
            ty: Type::Int,
            owned: false,
        });
        Ok(true)
    }

    /// Leaves what an operation gives that is one of the machine's on the engine's stack; exits if 64 bits do not hold it.
    pub(super) fn int_operation(&mut self, operation: u32, left: &Slot, right: &Slot) -> Done {
        let checked = |check, op| (Some(check), op);
        let (check, op) = match operation {
            number::ADD => checked(Name::AddOverflows, Name::Add),
            number::SUBTRACT => checked(Name::SubOverflows, Name::Sub),
            number::MULTIPLY => checked(Name::MulOverflows, Name::Mul),
            number::AND => (None, Name::And),
            number::OR => (None, Name::Or),
            number::XOR => (None, Name::Xor),
            _ => return Err(Stop::Leave("a binary operation")),
        };
        if let Some(check) = check {
            self.get_int(left)?;
            self.get_int(right)?;
            self.steps.push(Step::Op(check));
            self.exit_if(&[left, right], "an integer beyond 64 bits");
        }
        self.get_int(left)?;
        self.get_int(right)?;
        self.steps.push(Step::Op(op));
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
    /// Numpy's give a truth value of numpy's, unless they are only branched on.
    pub(super) fn compare(&mut self, comparison: u32, branches: bool) -> Done {
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
            (left_type, right_type) if left_type.is_numpy() || right_type.is_numpy() => {
                if !branches || left_type.is_object() || right_type.is_object() {
                    return Err(Stop::Leave("a comparison of objects"));
                }
                if matches!(
                    (left_type, right_type),
                    (Type::NumpyInt | Type::Int, Type::NumpyInt | Type::Int)
                ) {
                    self.get_int(&left)?;
                    self.get_int(&right)?;
                    self.steps.push(Step::Op(ints[index]));
                } else {
                    self.get_float(&left)?;
                    self.get_float(&right)?;
                    self.steps.push(Step::Op(floats[index]));
                }
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
            (Unary::Negative, Type::Float | Type::NumpyFloat) => {
                self.get(&slot)?;
                self.steps.push(Step::Op(Name::FNeg));
                self.push_result(ty);
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
}
