//! Arrays of numpy of one and two dimensions, and numpy's scalars, which are what their items are.
//!
//! Scalars are computed with by numpy's rules: int64 does not grow, an int64 divided by an int64 is a float64, and what has no
//! finite result warns, or raises, as the program has asked for. Whenever numpy would have something to say the interpreter goes on.

use copatch::ValueType;

use super::arithmetic::number;
use super::values::slot_type;
use super::{Done, Place, Slot, Stop, Translator};
use crate::bytecode::Op;
use crate::foreign::{self, offset};
use crate::ir::{Element, Name, Step, Type};

impl Translator<'_> {
    /// Leaves an item's address in a variable; exits if there is no such item, or if the array is another kind of array now.
    fn numpy_place(
        &mut self,
        array: u32,
        of: Element,
        dimensions: u8,
        index: &Slot,
        operands: &[&Slot],
    ) -> Result<u32, Stop> {
        let single = std::slice::from_ref(index);
        let indices = match index {
            Slot::Tuple(items, _) => items.as_slice(),
            _ => single,
        };
        if indices.len() != usize::from(dimensions) {
            return Err(Stop::Leave("a part of an array"));
        }
        for index in indices {
            if !matches!(slot_type(index)?, Type::Int | Type::NumpyInt) {
                return Err(Stop::Leave("an index that is no integer"));
            }
        }
        self.check_array(array, of, dimensions, operands);
        let (at, address) = (self.temporary(3), self.temporary(12));
        let words = [
            (Name::BeyondFirst, Name::TimesFirst),
            (Name::BeyondSecond, Name::TimesSecond),
        ];
        for (dimension, (index, (beyond, times))) in indices.iter().zip(words).enumerate() {
            let size = [
                Step::Get(array),
                Step::OpImm(Name::LoadI64, offset::SHAPE),
                Step::OpImm(Name::LoadI64, 8 * dimension as i32),
            ];
            let beyond = Step::OpImm(beyond, offset::SHAPE);
            self.index_below(index, at, &size, [Step::Get(array), beyond], operands)?;
            self.steps.extend([
                Step::Get(at),
                Step::Get(array),
                Step::OpImm(times, offset::STRIDES),
            ]);
            self.steps.extend(match dimension {
                0 => vec![Step::Get(array), Step::OpImm(Name::LoadI64, offset::DATA)],
                _ => vec![Step::Get(address)],
            });
            self.steps
                .extend([Step::Op(Name::Add), Step::Set(address), Step::Forget(at)]);
        }
        Ok(address)
    }

    /// Exits unless an array is of numbers of that kind, in so many dimensions: both can be changed in place.
    fn check_array(&mut self, array: u32, of: Element, dimensions: u8, operands: &[&Slot]) {
        self.steps.extend([
            Step::Get(array),
            Step::Const(ValueType::I64, foreign::dtype(of)),
            Step::OpImm(Name::DiffersI64, offset::DTYPE),
        ]);
        self.exit_if(operands, "an array of something else");
        self.steps.extend([
            Step::Get(array),
            Step::Const(ValueType::I64, dimensions.into()),
            Step::OpImm(Name::DiffersU32, offset::DIMENSIONS),
        ]);
        self.exit_if(operands, "an array of other dimensions");
    }

    pub(super) fn numpy_item(
        &mut self,
        array: u32,
        of: Element,
        dimensions: u8,
        index: &Slot,
        operands: &[&Slot],
    ) -> Done {
        let address = self.numpy_place(array, of, dimensions, index, operands)?;
        let (load, ty) = match of {
            Element::F64 => (Name::LoadF64, Type::NumpyFloat),
            _ => (Name::LoadI64, Type::NumpyInt),
        };
        self.steps
            .extend([Step::Get(address), Step::OpImm(load, 0)]);
        self.push_result(ty);
        Ok(())
    }

    pub(super) fn store_numpy_item(
        &mut self,
        array: u32,
        of: Element,
        dimensions: u8,
        (index, value): (&Slot, &Slot),
        operands: &[&Slot],
    ) -> Done {
        match slot_type(value)? {
            Type::Int | Type::NumpyInt | Type::Bool => {}
            Type::Float | Type::NumpyFloat if of == Element::F64 => {}
            _ => return Err(Stop::Leave("an item that is no number of the array's")),
        }
        self.steps.extend([
            Step::Get(array),
            Step::OpImm(Name::LoadU32, offset::FLAGS),
            Step::Const(ValueType::I64, foreign::WRITEABLE as u64),
            Step::Op(Name::And),
            Step::Op(Name::Nez),
            Step::Not,
        ]);
        self.exit_if(operands, "an array that may only be read");
        let address = self.numpy_place(array, of, dimensions, index, operands)?;
        self.steps.push(Step::Get(address));
        if of == Element::F64 {
            self.get_float(value)?;
            self.steps.push(Step::OpImm(Name::StoreF64, 0));
        } else {
            self.get_int(value)?;
            self.steps.push(Step::OpImm(Name::StoreI64, 0));
        }
        Ok(())
    }

    /// An array's shape, where it is taken apart at once.
    pub(super) fn shape(&mut self, array: &Slot, dimensions: u8) -> Done {
        let (
            Slot::Value {
                var,
                owned,
                ty: Type::NumpyArray(of, _),
            },
            true,
        ) = (array, self.is_taken_apart(dimensions))
        else {
            return Err(Stop::Leave("a shape"));
        };
        self.check_array(*var, *of, dimensions, &[array]);
        let kept = owned.then(|| self.keep(*var));
        for dimension in 0..dimensions {
            self.steps.extend([
                Step::Get(*var),
                Step::OpImm(Name::LoadI64, offset::SHAPE),
                Step::OpImm(Name::LoadI64, 8 * i32::from(dimension)),
            ]);
        }
        let depth = self.state.stack.len() as u32;
        let homes: Vec<u32> = (0..dimensions)
            .map(|dimension| self.home(Place::Stack(depth + u32::from(dimension)), Type::Int))
            .collect();
        for home in &homes {
            self.vacate(*home);
        }
        self.steps
            .extend(homes.iter().rev().map(|var| Step::Set(*var)));
        let items = homes.into_iter().map(|var| Slot::Value {
            var,
            ty: Type::Int,
            owned: false,
        });
        let shape = Slot::Tuple(items.collect(), self.at.offset);
        self.state.stack.push(shape);
        if let Some(kept) = kept {
            self.release_var(kept);
        }
        Ok(())
    }

    /// Whether what the instruction gives is unpacked, or one of its so many items taken, with nothing in between that could leave.
    fn is_taken_apart(&self, count: u8) -> bool {
        let code = &self.code.instructions;
        let from = code.partition_point(|other| other.offset < self.at.next);
        let open = |at: usize| {
            let instruction = code.get(from + at)?;
            (!self.leaders[instruction.offset as usize]).then_some(instruction.op)
        };
        match (open(0), open(1)) {
            (Some(Op::Unpack(into)), _) => into == u32::from(count),
            (Some(Op::LoadConst(number)), Some(Op::Subscript)) => {
                let constant = self.code.constants.get(number as usize);
                matches!(constant, Some(Some(crate::ir::Constant::Int(at))) if (0..count.into()).contains(at))
            }
            _ => false,
        }
    }

    /// An operation of which one operand at least is a scalar of numpy.
    pub(super) fn numpy_binary(&mut self, operation: u32, left: Slot, right: Slot) -> Done {
        let types = [slot_type(&left)?, slot_type(&right)?];
        let is_int = |ty: &Type| matches!(ty, Type::Int | Type::NumpyInt);
        let is_float = |ty: &Type| matches!(ty, Type::Float | Type::NumpyFloat);
        if types.iter().all(is_int) && operation != number::TRUE_DIVIDE {
            // Operations that Python has and the machine has not are numpy's own.
            self.int_operation(operation, &left, &right)?;
            self.push_result(Type::NumpyInt);
            return Ok(());
        }
        if !types.iter().all(|ty| is_int(ty) || is_float(ty)) {
            return Err(Stop::Leave("an operation on objects"));
        }
        let op = match operation {
            number::ADD => Name::FAdd,
            number::SUBTRACT => Name::FSub,
            number::MULTIPLY => Name::FMul,
            number::TRUE_DIVIDE => Name::FDiv,
            _ => return Err(Stop::Leave("an operation of numpy")),
        };
        let operands = [&left, &right];
        let result = self.home(Place::Scratch(13), Type::Float);
        self.get_float(&left)?;
        self.get_float(&right)?;
        self.steps
            .extend([Step::Op(op), Step::Set(result), Step::Get(result)]);
        // A sum is exact where it is small.
        let rounds = matches!(op, Name::FMul | Name::FDiv);
        if rounds {
            self.steps
                .extend([Step::Op(Name::Extreme), Step::If, Step::Get(result)]);
        }
        self.steps.push(Step::Op(Name::NotFinite));
        self.exit_if(&operands, "a result that is not finite");
        if rounds {
            self.get_float(&left)?;
            self.steps.push(Step::Op(Name::FNez));
            self.get_float(&right)?;
            self.steps
                .extend([Step::Op(Name::FNez), Step::Op(Name::And32)]);
            self.exit_if(&operands, "a result that is very small");
            self.steps.push(Step::End);
        }
        self.steps.push(Step::Get(result));
        self.push_result(Type::NumpyFloat);
        Ok(())
    }
}
