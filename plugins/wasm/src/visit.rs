//! One visit of a function body: each instruction is decoded, validated, and handed to a [`Sink`] that generates code.
//!
//! The loop keeps what is common short; everything else is in `rare`, out of its way.

mod joined;
mod rare;

use std::hint::cold_path;

use copatch::ValueType;

pub(crate) use self::joined::narrow_sum;
use self::joined::{NARROW_SUM, written};

use crate::cursor::Cursor;
use crate::error::Error;
use crate::facts::{Arrow, Facts, Type};
use crate::opcodes::{
    I32_CONST, I32_EQZ, I32_SUB, I32_WRAP_I64, I64_EQZ, I64_LOAD, I64_SUB, Instruction, Kind,
    NO_TYPES, Table,
};
use crate::validate::{Check, FrameKind, Validator, invalid, unknown};

/// Parameters and locals of a function.
const MAX_LOCALS: usize = 50_000;
/// With this many bytes left, those that the short paths look at are there.
const FEW: usize = 8;

/// What becomes of instructions that were found valid.
pub(crate) trait Sink {
    /// The offset in the module of the next instruction.
    fn at(&mut self, offset: u32);
    /// The offset that [`Self::at`] told last.
    fn position(&self) -> u32;
    /// An instruction of the table, with its immediates.
    fn operation(&mut self, instruction: &Instruction, immediates: &[i64]) -> Check;
    /// [`Self::operation`] for one operand, without immediates.
    fn unary(&mut self, instruction: &Instruction) -> Check {
        self.operation(instruction, &[])
    }
    /// [`Self::operation`] for two operands, without immediates.
    fn binary(&mut self, instruction: &Instruction) -> Check {
        self.operation(instruction, &[])
    }
    /// [`Kind::Not`].
    fn not(&mut self, instruction: &Instruction) -> Check;
    /// A load or store, with its offset.
    fn access(&mut self, instruction: &Instruction, offset: u32) -> Check;
    /// A load or store of [`Instruction::sum`], with the constant.
    fn access_sum(&mut self, instruction: &Instruction, constant: i32) -> Check;
    /// A load or store of a lane, with its offset and lane.
    fn lane_access(&mut self, instruction: &Instruction, offset: u32, lane: i64) -> Check;
    fn constant(&mut self, ty: ValueType, bits: u64);
    /// [`Self::constant`], and an instruction of two operands behind it.
    fn operation_with(&mut self, instruction: &Instruction, ty: ValueType, bits: u64) -> Check {
        self.constant(ty, bits);
        self.operation(instruction, &[])
    }
    fn block(&mut self, kind: FrameKind, params: &[ValueType], results: &[ValueType]) -> Check;
    /// So many blocks without parameters and results, one directly inside the other.
    fn blocks(&mut self, count: usize);
    fn else_(&mut self);
    fn end(&mut self);
    fn br(&mut self, depth: u32);
    fn br_if(&mut self, depth: u32);
    /// An `if` that does nothing but set a variable to a constant and branch so far, seen from around it.
    fn br_if_set(&mut self, depth: u32, local: u32, bits: u64) -> Check {
        self.block(FrameKind::If, &[], &[])?;
        self.constant(ValueType::I32, bits);
        self.local_set(local);
        self.br(depth + 1);
        self.end();
        Ok(())
    }
    fn br_table(&mut self, targets: &[u32], default: u32);
    fn return_(&mut self);
    fn unreachable(&mut self);
    /// A call. A variable may be named, which need not exist, that is written behind it before anything reads it.
    fn call(&mut self, function: u32, written: Option<u32>) -> Check;
    fn call_indirect(&mut self, ty: u32, table: u32) -> Check;
    fn drop(&mut self);
    fn select(&mut self, ty: ValueType);
    fn local_get(&mut self, local: u32);
    /// [`Self::local_get`] where that is not the usual instruction.
    fn local_get_apart(&mut self, local: u32) {
        self.local_get(local);
    }
    fn local_set(&mut self, local: u32);
    fn local_tee(&mut self, local: u32);
    fn global_get(&mut self, global: u32) -> Check;
    fn global_set(&mut self, global: u32) -> Check;
    /// Any other instruction, with the indices that follow it, in their order in the binary format.
    fn other(&mut self, instruction: &Instruction, indices: &[u32]) -> Check;
}

/// Visits function bodies of one module, one after the other.
pub(crate) struct Visit<'a> {
    table: &'a Table,
    /// The table's, here so that it takes no register of its own to get at them.
    kinds: [Kind; 256],
    plain: [Instruction; 256],
    validator: Validator<'a>,
    /// The branch table in hand.
    targets: Vec<u32>,
    /// Instructions visited, but for those that were taken with the one before them.
    steps: u64,
    joined: u64,
}

impl<'a> Visit<'a> {
    pub fn new(table: &'a Table, facts: &'a Facts) -> Self {
        let validator = Validator::new(facts);
        let mut kinds = table.kinds;
        if !facts.memory {
            // What accesses it leaves the short path, where nobody asks whether there is one.
            let access = |kind: &&mut Kind| matches!(kind, Kind::Load | Kind::Store);
            for kind in kinds.iter_mut().filter(access) {
                *kind = Kind::Illegal;
            }
        }
        Self {
            table,
            kinds,
            plain: table.plain,
            validator,
            targets: Vec::new(),
            steps: 0,
            joined: 0,
        }
    }

    /// Begins a function: reads what comes before its instructions, and gives the types of its variables, parameters
    /// first.
    ///
    /// # Errors
    /// [`Error::InvalidCode`].
    pub fn begin(&mut self, function: u32, cursor: &mut Cursor<'_>) -> Result<&[Type], Error> {
        let begin = cursor.offset();
        self.locals(function, cursor)
            .map_err(|fault| fault.at(begin, "local"))?;
        Ok(&self.validator.locals)
    }

    fn locals(&mut self, function: u32, cursor: &mut Cursor<'_>) -> Check {
        let facts = self.validator.facts;
        let arrow = facts
            .function(function)
            .ok_or_else(|| unknown("function", function))?;
        self.validator.begin(arrow);
        let locals = &mut self.validator.locals;
        locals.extend_from_slice(facts.types(facts.params(arrow)));
        for _ in 0..cursor.u32()? {
            let count = cursor.u32()? as usize;
            let ty = value_type(cursor)?;
            if count > MAX_LOCALS - locals.len().min(MAX_LOCALS) {
                return Err(invalid("too many locals: locals exceed maximum"));
            }
            locals.resize(locals.len() + count, ty);
        }
        Ok(())
    }

    /// Visits the instructions of the function that was begun, and gives their number.
    ///
    /// # Errors
    /// [`Error::InvalidCode`], and what the sink cannot generate.
    pub fn instructions<S: Sink>(
        &mut self,
        cursor: Cursor<'_>,
        sink: &mut S,
    ) -> Result<u64, Error> {
        (self.steps, self.joined) = (0, 0);
        self.run(cursor.rest(), cursor.offset(), sink)?;
        Ok(self.steps + self.joined)
    }

    #[inline(never)]
    fn run<S: Sink>(&mut self, body: &[u8], begin: u32, sink: &mut S) -> Result<(), Error> {
        let mut cursor = Cursor::new(body, begin.wrapping_add(body.len() as u32));
        loop {
            self.steps += 1;
            sink.at(cursor.offset());
            let ended = if cursor.rest().len() >= FEW {
                self.instruction(&mut cursor, sink)
            } else {
                self.last(cursor, sink).map(|(ended, rest)| {
                    cursor.go_on(rest);
                    ended
                })
            };
            match ended {
                Ok(false) => {}
                Ok(true) if cursor.rest().is_empty() => return Ok(()),
                Ok(true) => {
                    let fault = *invalid("operators remaining after end of function body");
                    return Err(fault.at(cursor.offset(), ""));
                }
                Err(fault) => {
                    let at = sink.position();
                    let opcode = body.get(at.wrapping_sub(begin) as usize);
                    let instruction = opcode.map(|opcode| &self.table.plain[usize::from(*opcode)]);
                    let name = instruction.map_or_else(String::new, Instruction::name);
                    return Err(fault.at(at, &name));
                }
            }
        }
    }

    /// An instruction near the end of the body.
    #[inline(never)]
    fn last<'b, S: Sink>(
        &mut self,
        mut cursor: Cursor<'b>,
        sink: &mut S,
    ) -> Check<(bool, Cursor<'b>)> {
        let ended = self.instruction(&mut cursor, sink)?;
        Ok((ended, cursor))
    }

    /// One instruction; gives whether it ended the function.
    #[inline(always)]
    fn instruction<S: Sink>(&mut self, cursor: &mut Cursor<'_>, sink: &mut S) -> Check<bool> {
        let Some(opcode) = cursor.rest().first().copied() else {
            return Err(invalid(
                "control frames remain at end of function body: END opcode expected",
            ));
        };
        let validator = &mut self.validator;
        // Where it is needed: variables, constants and control come without.
        let instruction = || &self.plain[usize::from(opcode)];
        match self.kinds[usize::from(opcode)] {
            Kind::LocalGet => {
                cursor.skip();
                let local = cursor.small()?;
                let ty = validator.local(local)?;
                validator.push(ty);
                sink.local_get(local);
            }
            Kind::LocalSet => {
                cursor.skip();
                let local = cursor.small()?;
                let ty = validator.local(local)?;
                validator.pop(ty)?;
                sink.local_set(local);
            }
            Kind::LocalTee => {
                cursor.skip();
                let local = cursor.small()?;
                let ty = validator.local(local)?;
                validator.tee(ty)?;
                sink.local_tee(local);
            }
            Kind::Binary => {
                let instruction = instruction();
                cursor.skip();
                validator.binary(instruction)?;
                sink.binary(instruction)?;
            }
            Kind::Unary => {
                let instruction = instruction();
                cursor.skip();
                validator.unary(instruction)?;
                sink.unary(instruction)?;
            }
            Kind::Not => {
                let instruction = instruction();
                cursor.skip();
                validator.unary(instruction)?;
                sink.not(instruction)?;
            }
            Kind::Widen => {
                cursor.skip();
                match narrow_sum(cursor, Cursor::i64) {
                    Some(constant) => {
                        self.joined += NARROW_SUM;
                        validator.tee(Type::I32)?;
                        cursor.go_on(self.sum(*cursor, constant as i32, sink)?);
                    }
                    // Whether it is zero is the same before it is widened.
                    None if cursor.rest().first() == Some(&I64_EQZ) => {
                        self.joined += 1;
                        cursor.skip();
                        let instruction = &self.plain[usize::from(I32_EQZ)];
                        validator.unary(instruction)?;
                        sink.not(instruction)?;
                    }
                    None => {
                        let instruction = instruction();
                        validator.unary(instruction)?;
                        sink.unary(instruction)?;
                    }
                }
            }
            Kind::I32Const => {
                cursor.skip();
                let bits = u64::from(cursor.i32()? as u32);
                self.constant((Type::I32, ValueType::I32), bits, cursor, sink)?;
            }
            Kind::I64Const => {
                cursor.skip();
                let bits = cursor.i64()? as u64;
                self.constant((Type::I64, ValueType::I64), bits, cursor, sink)?;
            }
            Kind::Load => {
                let instruction = instruction();
                cursor.skip();
                let offset = address(instruction, cursor)?;
                if opcode == I64_LOAD && cursor.rest().first() == Some(&I32_WRAP_I64) {
                    cursor.skip();
                    self.joined += 1;
                    self.narrow_load(offset, sink)?;
                } else {
                    validator.unary(instruction)?;
                    sink.access(instruction, offset)?;
                }
            }
            Kind::Store => {
                let instruction = instruction();
                cursor.skip();
                let offset = address(instruction, cursor)?;
                validator.store(instruction)?;
                sink.access(instruction, offset)?;
            }
            Kind::End => {
                cursor.skip();
                let ended = validator.end()?;
                sink.end();
                return Ok(ended);
            }
            // Where functions are left and entered again in many places, hundreds of blocks begin at one.
            Kind::Block => match cursor.skip_blocks() {
                0 => self.block(FrameKind::Block, cursor, sink)?,
                count => {
                    self.joined += count as u64 - 1;
                    validator.blocks(count);
                    sink.blocks(count);
                }
            },
            Kind::Loop => self.block(FrameKind::Loop, cursor, sink)?,
            Kind::If => {
                // The block's type stands before the condition is looked at, which makes no difference.
                validator.pop(Type::I32)?;
                if let [_, NO_TYPES, I32_CONST, ..] = cursor.rest() {
                    let (rest, end) = cursor.parts();
                    cursor.go_on(self.leaving(rest, end, sink)?);
                } else {
                    self.block(FrameKind::If, cursor, sink)?;
                }
            }
            Kind::Else => {
                cursor.skip();
                validator.else_()?;
                sink.else_();
            }
            Kind::Br => {
                cursor.skip();
                let depth = cursor.small()?;
                validator.br(depth)?;
                sink.br(depth);
            }
            Kind::BrIf => {
                cursor.skip();
                let depth = cursor.small()?;
                validator.br_if(depth)?;
                sink.br_if(depth);
            }
            Kind::Return => {
                cursor.skip();
                validator.return_()?;
                sink.return_();
            }
            Kind::Call => {
                cursor.skip();
                let function = cursor.u32()?;
                let arrow = validator.facts.function(function);
                validator.call(arrow.ok_or_else(|| unknown("function", function))?)?;
                sink.call(function, written(*cursor))?;
            }
            Kind::GlobalGet => {
                cursor.skip();
                let global = cursor.small()?;
                let facts = validator.facts.global(global);
                let (ty, _) = facts.ok_or_else(|| unknown("global", global))?;
                validator.push(ty);
                sink.global_get(global)?;
            }
            Kind::GlobalSet => {
                cursor.skip();
                let global = cursor.small()?;
                let facts = validator.facts.global(global);
                let (ty, mutable) = facts.ok_or_else(|| unknown("global", global))?;
                if !mutable {
                    return Err(invalid(
                        "global is immutable: cannot modify it with `global.set`",
                    ));
                }
                validator.pop(ty)?;
                sink.global_set(global)?;
            }
            Kind::Drop => {
                cursor.skip();
                validator.pop_any()?;
                sink.drop();
            }
            Kind::Select => {
                cursor.skip();
                let ty = validator.select()?;
                sink.select(ty.code());
            }
            Kind::Nop => cursor.skip(),
            // All named, so that the jump needs no check.
            Kind::Illegal
            | Kind::Ternary
            | Kind::MemoryLane
            | Kind::Lane
            | Kind::Shuffle
            | Kind::V128Const
            | Kind::PrefixFc
            | Kind::PrefixFd
            | Kind::Unreachable
            | Kind::BrTable
            | Kind::CallIndirect
            | Kind::ReturnCall
            | Kind::ReturnCallIndirect
            | Kind::SelectTyped
            | Kind::TableGet
            | Kind::TableSet
            | Kind::MemorySize
            | Kind::MemoryGrow
            | Kind::F32Const
            | Kind::F64Const
            | Kind::RefNull
            | Kind::RefIsNull
            | Kind::RefFunc
            | Kind::MemoryInit
            | Kind::DataDrop
            | Kind::MemoryCopy
            | Kind::MemoryFill
            | Kind::TableInit
            | Kind::ElemDrop
            | Kind::TableCopy
            | Kind::TableGrow
            | Kind::TableSize
            | Kind::TableFill => {
                let (rest, end) = cursor.parts();
                cursor.go_on(self.rare(opcode, rest, end, sink)?);
            }
        }
        Ok(false)
    }

    /// A constant that was read, and with it an instruction of two operands behind it, which is what most constants are for.
    #[inline(always)]
    fn constant<S: Sink>(
        &mut self,
        (ty, code): (Type, ValueType),
        bits: u64,
        cursor: &mut Cursor<'_>,
        sink: &mut S,
    ) -> Check {
        let opcode = cursor.rest().first().copied();
        // An address that Go's compiler knows.
        if ty == Type::I64 && opcode == Some(I32_WRAP_I64) {
            cold_path();
            self.joined += 1;
            cursor.skip();
            self.validator.push(Type::I32);
            sink.constant(ValueType::I32, bits & u64::from(u32::MAX));
            return Ok(());
        }
        if let Some(opcode) = opcode
            && self.kinds[usize::from(opcode)] == Kind::Binary
        {
            // What subtracts a constant adds its negative, for which stencils have plain holes.
            let (opcode, bits) = match opcode {
                I32_SUB | I64_SUB => (opcode - 1, bits.wrapping_neg()),
                _ => (opcode, bits),
            };
            let instruction = &self.plain[usize::from(opcode)];
            if self.validator.binary_constant(instruction, ty) {
                self.joined += 1;
                sink.at(cursor.offset());
                cursor.skip();
                return sink.operation_with(instruction, code, bits);
            }
        }
        self.validator.push(ty);
        sink.constant(code, bits);
        Ok(())
    }

    #[inline(always)]
    fn block<S: Sink>(&mut self, kind: FrameKind, cursor: &mut Cursor<'_>, sink: &mut S) -> Check {
        cursor.skip();
        let facts = self.validator.facts;
        // Most blocks have neither parameters nor results.
        if cursor.rest().first() == Some(&NO_TYPES) {
            cursor.next();
            self.validator.block(kind, Arrow::EMPTY)?;
            return sink.block(kind, &[], &[]);
        }
        let (arrow, rest) = block_type(facts, *cursor)?;
        cursor.go_on(rest);
        self.validator.block(kind, arrow)?;
        let (params, results) = (facts.params(arrow), facts.results(arrow));
        sink.block(kind, facts.codes(params), facts.codes(results))
    }
}

/// Alignment and offset of a load or store; gives the offset.
#[inline(always)]
fn address(instruction: &Instruction, cursor: &mut Cursor<'_>) -> Check<u32> {
    let (align, offset) = cursor.u32_pair()?;
    if align > u32::from(instruction.limit) {
        return Err(invalid("alignment must not be larger than natural"));
    }
    Ok(offset)
}

fn reference_type(byte: u8) -> Option<Type> {
    match byte {
        0x70 => Some(Type::FUNCREF),
        0x6f => Some(Type::EXTERNREF),
        _ => None,
    }
}

fn value_type(cursor: &mut Cursor<'_>) -> Check<Type> {
    let ty = match cursor.byte()? {
        0x7f => Some(Type::I32),
        0x7e => Some(Type::I64),
        0x7d => Some(Type::F32),
        0x7c => Some(Type::F64),
        0x7b => Some(Type::V128),
        // The long form of a nullable reference type, which `wasmparser` takes in all sections.
        0x63 => reference_type(cursor.byte()?),
        byte => reference_type(byte),
    };
    ty.ok_or_else(|| invalid("invalid value type"))
}

/// The type of a block, and what follows it.
#[inline(never)]
fn block_type<'b>(facts: &Facts, mut cursor: Cursor<'b>) -> Check<(Arrow, Cursor<'b>)> {
    let arrow = match cursor.rest().first() {
        Some(&NO_TYPES) => {
            cursor.next();
            Arrow::EMPTY
        }
        Some(0x41..=0x7f) => Arrow::result(value_type(&mut cursor)?),
        _ => {
            let index =
                u32::try_from(cursor.i33()?).map_err(|_| invalid("invalid function type"))?;
            facts.ty(index).ok_or_else(|| unknown("type", index))?
        }
    };
    Ok((arrow, cursor))
}

#[cfg(test)]
mod tests;
