//! Instructions without a short path: constants of floats, branch tables, indirect calls, tables, references, bulk memory,
//! and all whose opcode has several bytes.

use copatch::ValueType;

use super::{Sink, Visit, address, reference_type, value_type};
use crate::cursor::Cursor;
use crate::facts::{Facts, Type};
use crate::opcodes::{Instruction, Kind};
use crate::validate::{Check, Fault, invalid, unknown};

/// Targets of a branch table, the default not counted.
const MAX_TARGETS: u32 = 7_654_321;

impl Visit<'_> {
    /// An instruction that is rare, or whose opcode has several bytes.
    #[inline(never)]
    pub(super) fn rare<'b, S: Sink>(
        &mut self,
        opcode: u8,
        rest: &'b [u8],
        end: u32,
        sink: &mut S,
    ) -> Check<Cursor<'b>> {
        let mut cursor = Cursor::new(rest, end);
        cursor.skip();
        let mut instruction = &self.table.plain[usize::from(opcode)];
        if let Kind::PrefixFc | Kind::PrefixFd = instruction.kind {
            let page = match instruction.kind {
                Kind::PrefixFc => &self.table.fc,
                _ => &self.table.fd,
            };
            let code = cursor.u32()?;
            instruction = page
                .get(code as usize)
                .filter(|instruction| instruction.kind != Kind::Illegal)
                .ok_or_else(|| invalid(format!("illegal opcode 0x{opcode:x} 0x{code:x}")))?;
        }
        match self.rest(opcode, instruction, &mut cursor, sink) {
            Ok(()) => Ok(cursor),
            Err(fault) => Err(match *fault {
                Fault::Unsupported => Box::new(Fault::Refused(instruction.name())),
                fault => Box::new(fault),
            }),
        }
    }

    fn rest<S: Sink>(
        &mut self,
        opcode: u8,
        instruction: &Instruction,
        cursor: &mut Cursor<'_>,
        sink: &mut S,
    ) -> Check {
        let validator = &mut self.validator;
        let facts = validator.facts;
        let table_of = |index| facts.table(index).ok_or_else(|| unknown("table", index));
        match instruction.kind {
            Kind::Unary | Kind::Binary | Kind::Ternary => {
                validator.operation(instruction)?;
                sink.operation(instruction, &[])
            }
            Kind::Load | Kind::Store => {
                let offset = address(instruction, cursor)?;
                memory(facts, 0)?;
                validator.operation(instruction)?;
                sink.access(instruction, offset)
            }
            Kind::MemoryLane => {
                let offset = address(instruction, cursor)?;
                memory(facts, 0)?;
                let lane = lane(cursor, 16 >> instruction.limit)?;
                validator.operation(instruction)?;
                sink.lane_access(instruction, offset, lane)
            }
            Kind::Lane => {
                let lane = lane(cursor, instruction.limit)?;
                validator.operation(instruction)?;
                sink.operation(instruction, &[lane])
            }
            Kind::Shuffle | Kind::V128Const => {
                let bytes = cursor.bytes::<16>()?;
                if instruction.kind == Kind::Shuffle
                    && bytes.iter().any(|lane| *lane >= instruction.limit)
                {
                    return Err(invalid("invalid lane index: SIMD index out of bounds"));
                }
                validator.operation(instruction)?;
                let word = |at| bytes.get(at..at + 8).and_then(<[u8]>::first_chunk).copied();
                let halves = [0, 8].map(|at| i64::from_le_bytes(word(at).unwrap_or_default()));
                if instruction.kind == Kind::V128Const && halves[0] == halves[1] {
                    // The engine knows such vectors as constants.
                    sink.constant(ValueType::V128, halves[0] as u64);
                    return Ok(());
                }
                sink.operation(instruction, &halves)
            }
            Kind::Unreachable => {
                validator.unreachable();
                sink.unreachable();
                Ok(())
            }
            Kind::F32Const => {
                let bits = u32::from_le_bytes(cursor.bytes()?);
                validator.push(Type::F32);
                sink.constant(ValueType::F32, u64::from(bits));
                Ok(())
            }
            Kind::F64Const => {
                let bits = u64::from_le_bytes(cursor.bytes()?);
                validator.push(Type::F64);
                sink.constant(ValueType::F64, bits);
                Ok(())
            }
            Kind::BrTable => {
                let count = cursor.u32()?;
                if count > MAX_TARGETS {
                    return Err(invalid("br_table size is out of bounds"));
                }
                self.targets.clear();
                let mut ahead = *cursor;
                match ahead.rest().get(..count as usize) {
                    // Most targets take a byte.
                    Some(short) if short.iter().fold(0, |all, byte| all | byte) < 0x80 => {
                        self.targets
                            .extend(short.iter().map(|byte| u32::from(*byte)));
                        ahead.take(short.len());
                    }
                    _ => {
                        for _ in 0..count {
                            self.targets.push(ahead.u32()?);
                        }
                    }
                }
                let default = ahead.u32()?;
                *cursor = ahead;
                validator.br_table(&self.targets, default)?;
                sink.br_table(&self.targets, default);
                Ok(())
            }
            Kind::CallIndirect | Kind::ReturnCallIndirect => {
                let (ty, table) = (cursor.u32()?, cursor.u32()?);
                if table_of(table)? != Type::FUNCREF {
                    return Err(invalid(
                        "type mismatch: indirect calls must go through a table of funcref",
                    ));
                }
                validator.pop(Type::I32)?;
                let arrow = facts.ty(ty).ok_or_else(|| unknown("type", ty))?;
                if instruction.kind == Kind::CallIndirect {
                    validator.call(arrow)?;
                    return sink.call_indirect(ty, table);
                }
                validator.return_call(arrow)?;
                sink.other(instruction, &[ty, table])
            }
            Kind::ReturnCall => {
                let function = cursor.u32()?;
                let arrow = facts.function(function);
                validator.return_call(arrow.ok_or_else(|| unknown("function", function))?)?;
                sink.other(instruction, &[function])
            }
            Kind::SelectTyped => {
                let count = cursor.u32()?;
                if count != 1 {
                    return Err(invalid("invalid result arity: select has one type"));
                }
                let ty = value_type(cursor)?;
                for operand in [Type::I32, ty, ty] {
                    validator.pop(operand)?;
                }
                validator.push(ty);
                sink.select(ty.code());
                Ok(())
            }
            Kind::MemorySize | Kind::MemoryGrow => {
                if cursor.byte()? != 0 {
                    return Err(invalid("zero byte expected"));
                }
                memory(facts, 0)?;
                if instruction.kind == Kind::MemoryGrow {
                    validator.pop(Type::I32)?;
                }
                validator.push(Type::I32);
                sink.other(instruction, &[])
            }
            Kind::MemoryFill => {
                memory(facts, cursor.u32()?)?;
                self.other(instruction, 3, &[], sink)
            }
            Kind::MemoryCopy => {
                memory(facts, cursor.u32()?)?;
                memory(facts, cursor.u32()?)?;
                self.other(instruction, 3, &[], sink)
            }
            Kind::MemoryInit => {
                let segment = cursor.u32()?;
                memory(facts, cursor.u32()?)?;
                data_segment(facts, segment)?;
                self.other(instruction, 3, &[segment], sink)
            }
            Kind::DataDrop => {
                let segment = cursor.u32()?;
                data_segment(facts, segment)?;
                sink.other(instruction, &[segment])
            }
            Kind::TableInit => {
                let (segment, table) = (cursor.u32()?, cursor.u32()?);
                let to = table_of(table)?;
                let from = facts.elements(segment);
                if from.ok_or_else(|| unknown("elem segment", segment))? != to {
                    return Err(invalid(
                        "type mismatch: segment and table hold different types",
                    ));
                }
                self.other(instruction, 3, &[segment, table], sink)
            }
            Kind::ElemDrop => {
                let segment = cursor.u32()?;
                facts
                    .elements(segment)
                    .ok_or_else(|| unknown("elem segment", segment))?;
                sink.other(instruction, &[segment])
            }
            Kind::TableCopy => {
                let (to, from) = (cursor.u32()?, cursor.u32()?);
                if table_of(to)? != table_of(from)? {
                    return Err(invalid("type mismatch: the tables hold different types"));
                }
                self.other(instruction, 3, &[to, from], sink)
            }
            Kind::TableGet => {
                let table = cursor.u32()?;
                let ty = table_of(table)?;
                validator.pop(Type::I32)?;
                validator.push(ty);
                sink.other(instruction, &[table])
            }
            Kind::TableSet => {
                let table = cursor.u32()?;
                validator.pop(table_of(table)?)?;
                validator.pop(Type::I32)?;
                sink.other(instruction, &[table])
            }
            Kind::TableGrow => {
                let table = cursor.u32()?;
                validator.pop(Type::I32)?;
                validator.pop(table_of(table)?)?;
                validator.push(Type::I32);
                sink.other(instruction, &[table])
            }
            Kind::TableSize => {
                let table = cursor.u32()?;
                table_of(table)?;
                validator.push(Type::I32);
                sink.other(instruction, &[table])
            }
            Kind::TableFill => {
                let table = cursor.u32()?;
                validator.pop(Type::I32)?;
                validator.pop(table_of(table)?)?;
                validator.pop(Type::I32)?;
                sink.other(instruction, &[table])
            }
            Kind::RefNull => {
                let ty =
                    reference_type(cursor.byte()?).ok_or_else(|| invalid("invalid heap type"))?;
                validator.push(ty);
                sink.other(instruction, &[])
            }
            Kind::RefIsNull => {
                let ty = validator.pop_any()?;
                if ty != Type::UNKNOWN && !ty.is_reference() {
                    return Err(invalid(format!(
                        "type mismatch: expected a reference, found {}",
                        ty.name()
                    )));
                }
                validator.push(Type::I32);
                sink.other(instruction, &[])
            }
            Kind::RefFunc => {
                let function = cursor.u32()?;
                facts
                    .function(function)
                    .ok_or_else(|| unknown("function", function))?;
                if !facts.is_referenced(function) {
                    return Err(invalid("undeclared function reference"));
                }
                validator.push(Type::FUNCREF);
                sink.other(instruction, &[function])
            }
            _ => Err(invalid(format!("illegal opcode 0x{opcode:x}"))),
        }
    }

    /// An instruction that takes `params` operands of type i32.
    fn other<S: Sink>(
        &mut self,
        instruction: &Instruction,
        params: u32,
        indices: &[u32],
        sink: &mut S,
    ) -> Check {
        for _ in 0..params {
            self.validator.pop(Type::I32)?;
        }
        sink.other(instruction, indices)
    }
}

fn memory(facts: &Facts, index: u32) -> Check {
    if facts.memory && index == 0 {
        return Ok(());
    }
    Err(unknown("memory", index))
}

fn data_segment(facts: &Facts, index: u32) -> Check {
    match facts.data() {
        None => Err(invalid("data count section required")),
        Some(count) if index < count => Ok(()),
        Some(_) => Err(unknown("data segment", index)),
    }
}

fn lane(cursor: &mut Cursor<'_>, count: u8) -> Check<i64> {
    let lane = cursor.byte()?;
    if lane >= count {
        return Err(invalid("invalid lane index: SIMD index out of bounds"));
    }
    Ok(i64::from(lane))
}
