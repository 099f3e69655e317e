//! Items of `array.array`, `bytes` and `bytearray`: numbers of the machine, where a list has objects.

use copatch::ValueType;

use super::objects::offset;
use super::values::slot_type;
use super::{Done, Slot, Stop, Translator};
use crate::ir::{Element, Name, Step, Type};

/// What reads and writes an element.
fn accesses(of: Element) -> (Name, Name) {
    match of {
        Element::I8 => (Name::ElementI8, Name::PutI8),
        Element::U8 => (Name::ElementU8, Name::PutI8),
        Element::I16 => (Name::ElementI16, Name::PutI16),
        Element::U16 => (Name::ElementU16, Name::PutI16),
        Element::I32 => (Name::ElementI32, Name::PutI32),
        Element::U32 => (Name::ElementU32, Name::PutI32),
        Element::I64 | Element::U64 => (Name::ElementI64, Name::PutI64),
        Element::F32 => (Name::ElementF32, Name::PutF32),
        Element::F64 => (Name::ElementF64, Name::PutF64),
    }
}

/// What an array is of.
fn element(ty: Type) -> Element {
    match ty {
        Type::Array(of) => of,
        _ => Element::U8,
    }
}

/// How many values an integer element can have, and how many of them are negative; nothing if 64 bits say it.
fn range(of: Element) -> Option<(u64, u64)> {
    let (bits, signed) = match of {
        Element::I8 => (8, true),
        Element::U8 => (8, false),
        Element::I16 => (16, true),
        Element::U16 => (16, false),
        Element::I32 => (32, true),
        Element::U32 => (32, false),
        _ => return None,
    };
    let count = 1u64 << bits;
    Some((count, if signed { count / 2 } else { 0 }))
}

impl Translator<'_> {
    /// Pushes the address of an array's elements on the engine's stack.
    fn elements(&mut self, array: u32, ty: Type) {
        self.steps.push(Step::Get(array));
        self.steps.extend(match ty {
            Type::Bytes => vec![
                Step::Const(ValueType::I64, offset::BYTES as u64),
                Step::Op(Name::Add),
            ],
            Type::ByteArray => vec![Step::OpImm(Name::LoadI64, offset::BYTE_ARRAY)],
            _ => vec![Step::OpImm(Name::LoadI64, offset::ITEMS)],
        });
    }

    pub(super) fn array_item(
        &mut self,
        array: u32,
        ty: Type,
        index: &Slot,
        operands: &[&Slot],
    ) -> Done {
        let of = element(ty);
        let at = self.index(array, index, operands)?;
        self.elements(array, ty);
        self.steps.extend([Step::Get(at), Step::Op(accesses(of).0)]);
        match of {
            Element::F32 | Element::F64 => self.push_result(Type::Float),
            Element::U64 => {
                let value = self.temporary(6);
                self.steps.extend([
                    Step::Set(value),
                    Step::Get(value),
                    Step::Const(ValueType::I64, 0),
                    Step::Op(Name::Lt),
                ]);
                self.exit_if(operands, "an integer beyond 64 bits");
                self.steps.push(Step::Get(value));
                self.push_result(Type::Int);
            }
            _ => self.push_result(Type::Int),
        }
        Ok(())
    }

    pub(super) fn store_array_item(
        &mut self,
        array: u32,
        ty: Type,
        (index, value): (&Slot, &Slot),
        operands: &[&Slot],
    ) -> Done {
        let of = element(ty);
        let float = matches!(of, Element::F32 | Element::F64);
        match slot_type(value)? {
            Type::Int | Type::Bool => {}
            Type::Float if float => {}
            _ => return Err(Stop::Leave("an item that is no number of the array's")),
        }
        let at = self.index(array, index, operands)?;
        if of == Element::U64 {
            self.get_int(value)?;
            self.steps
                .extend([Step::Const(ValueType::I64, 0), Step::Op(Name::Lt)]);
            self.exit_if(operands, "a number that the array cannot hold");
        } else if let Some((count, negative)) = range(of) {
            self.get_int(value)?;
            self.steps.extend([
                Step::Const(ValueType::I64, negative),
                Step::Op(Name::Add),
                Step::Const(ValueType::I64, count),
                Step::Op(Name::GeU),
            ]);
            self.exit_if(operands, "a number that the array cannot hold");
        }
        self.elements(array, ty);
        self.steps.push(Step::Get(at));
        if float {
            self.get_float(value)?;
        } else {
            self.get_int(value)?;
        }
        self.steps.push(Step::Op(accesses(of).1));
        Ok(())
    }
}
