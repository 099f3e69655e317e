//! One visit of a function body: each instruction is decoded, validated, and handed to a [`Sink`] that generates code.
//!
//! The loop keeps what is common short; everything else is in `rare`, out of its way.

mod rare;

use std::ops::Range;

use copatch::ValueType;

use crate::cursor::Cursor;
use crate::error::Error;
use crate::facts::{Arrow, Facts, Type};
use crate::opcodes::{
    I32_ADD, I32_SUB, I32_WRAP_I64, I64_ADD, I64_CONST, I64_LOAD, I64_SUB, Instruction, Kind, Table,
};
use crate::prescan::FAR;
use crate::validate::{Check, FrameKind, Validator, invalid, unknown};

/// Parameters and locals of a function.
const MAX_LOCALS: usize = 50_000;
/// With this many bytes left, those that the short paths look at are there.
const FEW: usize = 8;

/// What becomes of instructions that were found valid.
pub(crate) trait Sink {
    /// The offset in the module of the next instruction.
    fn at(&mut self, offset: u32);
    /// An instruction of the table, with its immediates.
    fn operation(&mut self, instruction: &Instruction, immediates: &[i64]) -> Check;
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
    fn else_(&mut self);
    fn end(&mut self);
    fn br(&mut self, depth: u32);
    fn br_if(&mut self, depth: u32);
    fn br_table(&mut self, targets: &[u32], default: u32);
    fn return_(&mut self);
    fn unreachable(&mut self);
    fn call(&mut self, function: u32) -> Check;
    fn call_indirect(&mut self, ty: u32, table: u32) -> Check;
    fn drop(&mut self);
    fn select(&mut self, ty: ValueType);
    fn local_get(&mut self, local: u32);
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
    validator: Validator<'a>,
    /// The branch table in hand.
    targets: Vec<u32>,
}

impl<'a> Visit<'a> {
    pub fn new(table: &'a Table, facts: &'a Facts) -> Self {
        let validator = Validator::new(facts);
        Self {
            table,
            validator,
            targets: Vec::new(),
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

    /// Visits the instructions of the function that was begun.
    ///
    /// # Errors
    /// [`Error::InvalidCode`], and what the sink cannot generate.
    pub fn instructions<S: Sink>(&mut self, cursor: Cursor<'_>, sink: &mut S) -> Result<(), Error> {
        self.run(cursor.rest(), cursor.offset(), sink)
    }

    #[inline(never)]
    fn run<S: Sink>(&mut self, body: &[u8], begin: u32, sink: &mut S) -> Result<(), Error> {
        let table = self.table;
        let mut cursor = Cursor::new(body, begin.wrapping_add(body.len() as u32));
        loop {
            let at = cursor.offset();
            sink.at(at);
            let ended = if cursor.rest().len() >= FEW {
                self.instruction(table, &mut cursor, sink)
            } else {
                self.last(cursor, sink).map(|(ended, rest)| {
                    cursor = rest;
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
                    let opcode = body.get(at.wrapping_sub(begin) as usize);
                    let instruction = opcode.map(|opcode| &table.plain[usize::from(*opcode)]);
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
        let ended = self.instruction(self.table, &mut cursor, sink)?;
        Ok((ended, cursor))
    }

    /// One instruction; gives whether it ended the function.
    #[inline(always)]
    fn instruction<S: Sink>(
        &mut self,
        table: &'a Table,
        cursor: &mut Cursor<'_>,
        sink: &mut S,
    ) -> Check<bool> {
        let Some(opcode) = cursor.rest().first().copied() else {
            return Err(invalid(
                "control frames remain at end of function body: END opcode expected",
            ));
        };
        let instruction = &table.plain[usize::from(opcode)];
        let validator = &mut self.validator;
        match table.kinds[usize::from(opcode)] {
            Kind::LocalGet => {
                cursor.skip();
                let local = cursor.u32()?;
                let ty = validator.local(local)?;
                validator.push(ty);
                sink.local_get(local);
            }
            Kind::LocalSet => {
                cursor.skip();
                let local = cursor.u32()?;
                let ty = validator.local(local)?;
                validator.pop(ty)?;
                sink.local_set(local);
            }
            Kind::LocalTee => {
                cursor.skip();
                let local = cursor.u32()?;
                let ty = validator.local(local)?;
                validator.tee(ty)?;
                sink.local_tee(local);
            }
            Kind::Binary => {
                cursor.skip();
                validator.binary(instruction)?;
                sink.operation(instruction, &[])?;
            }
            Kind::Unary => {
                cursor.skip();
                validator.unary(instruction)?;
                sink.operation(instruction, &[])?;
            }
            Kind::Not => {
                cursor.skip();
                validator.unary(instruction)?;
                sink.not(instruction)?;
            }
            Kind::Widen => {
                cursor.skip();
                match narrow_sum(cursor, Cursor::i64) {
                    Some(constant) => {
                        validator.tee(Type::I32)?;
                        *cursor = self.sum(*cursor, constant as i32, sink)?;
                    }
                    None => {
                        validator.unary(instruction)?;
                        sink.operation(instruction, &[])?;
                    }
                }
            }
            Kind::I32Const => {
                cursor.skip();
                let bits = u64::from(cursor.i32()? as u32);
                self.constant(table, (Type::I32, ValueType::I32), bits, cursor, sink)?;
            }
            Kind::I64Const => {
                cursor.skip();
                let bits = cursor.i64()? as u64;
                self.constant(table, (Type::I64, ValueType::I64), bits, cursor, sink)?;
            }
            Kind::Load => {
                cursor.skip();
                let offset = address(validator, instruction, cursor)?;
                if opcode == I64_LOAD && cursor.rest().first() == Some(&I32_WRAP_I64) {
                    cursor.skip();
                    self.narrow_load(offset, sink)?;
                } else {
                    validator.unary(instruction)?;
                    sink.access(instruction, offset)?;
                }
            }
            Kind::Store => {
                cursor.skip();
                let offset = address(validator, instruction, cursor)?;
                validator.store(instruction)?;
                sink.access(instruction, offset)?;
            }
            Kind::End => {
                cursor.skip();
                let ended = validator.end()?;
                sink.end();
                return Ok(ended);
            }
            Kind::Block => self.block(FrameKind::Block, cursor, sink)?,
            Kind::Loop => self.block(FrameKind::Loop, cursor, sink)?,
            Kind::If => {
                // The block's type stands before the condition is looked at, which makes no difference.
                validator.pop(Type::I32)?;
                self.block(FrameKind::If, cursor, sink)?;
            }
            Kind::Else => {
                cursor.skip();
                validator.else_()?;
                sink.else_();
            }
            Kind::Br => {
                cursor.skip();
                let depth = cursor.u32()?;
                validator.br(depth)?;
                sink.br(depth);
            }
            Kind::BrIf => {
                cursor.skip();
                let depth = cursor.u32()?;
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
                sink.call(function)?;
            }
            Kind::GlobalGet => {
                cursor.skip();
                let global = cursor.u32()?;
                let facts = validator.facts.global(global);
                let (ty, _) = facts.ok_or_else(|| unknown("global", global))?;
                validator.push(ty);
                sink.global_get(global)?;
            }
            Kind::GlobalSet => {
                cursor.skip();
                let global = cursor.u32()?;
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
            | Kind::TableFill => *cursor = self.rare(opcode, *cursor, sink)?,
        }
        Ok(false)
    }

    /// A constant that was read, and with it an instruction of two operands behind it, which is what most constants are for.
    #[inline(always)]
    fn constant<S: Sink>(
        &mut self,
        table: &'a Table,
        (ty, code): (Type, ValueType),
        bits: u64,
        cursor: &mut Cursor<'_>,
        sink: &mut S,
    ) -> Check {
        if let Some(opcode) = cursor.rest().first().copied()
            && table.kinds[usize::from(opcode)] == Kind::Binary
        {
            // What subtracts a constant adds its negative, for which stencils have plain holes.
            let (opcode, bits) = match opcode {
                I32_SUB | I64_SUB => (opcode - 1, bits.wrapping_neg()),
                _ => (opcode, bits),
            };
            let instruction = &table.plain[usize::from(opcode)];
            if self.validator.binary_constant(instruction, ty) {
                sink.at(cursor.offset());
                cursor.skip();
                return sink.operation_with(instruction, code, bits);
            }
        }
        self.validator.push(ty);
        sink.constant(code, bits);
        Ok(())
    }

    /// An `i64.load` and an `i32.wrap_i64`.
    #[inline(never)]
    fn narrow_load<S: Sink>(&mut self, offset: u32, sink: &mut S) -> Check {
        let (table, validator) = (self.table, &mut self.validator);
        validator.tee(Type::I32)?;
        if table.load_wrap.op.is_some() {
            return sink.access(&table.load_wrap, offset);
        }
        sink.access(&table.plain[usize::from(I64_LOAD)], offset)?;
        sink.operation(&table.plain[usize::from(I32_WRAP_I64)], &[])
    }

    /// Behind a [`narrow_sum`] of this constant: the load whose address it is, or the store there of a variable or constant,
    /// which most sums are for; else the sum alone. Gives what follows.
    #[inline(always)]
    fn sum<'b, S: Sink>(
        &mut self,
        cursor: Cursor<'b>,
        constant: i32,
        sink: &mut S,
    ) -> Check<Cursor<'b>> {
        let (table, validator) = (self.table, &mut self.validator);
        if SUMS.contains(&constant) {
            if let Some((load, rest)) = access_sum(table, validator, Kind::Load, cursor) {
                sink.at(cursor.offset());
                validator.unary(&load)?;
                sink.access_sum(&load, constant)?;
                return Ok(rest);
            }
            let mut ahead = cursor;
            if let Some((value, ty)) = stored(table, validator, &mut ahead)
                && let Some((store, rest)) = access_sum(table, validator, Kind::Store, ahead)
                && store.operands[1] == ty
            {
                validator.pop(Type::I32)?;
                sink.at(cursor.offset());
                match value {
                    Stored::Local(local) => sink.local_get(local),
                    Stored::I64(bits) => sink.constant(ValueType::I64, bits),
                }
                sink.at(ahead.offset());
                sink.access_sum(&store, constant)?;
                return Ok(rest);
            }
        }
        let add = &table.plain[usize::from(I32_ADD)];
        sink.operation_with(add, ValueType::I32, u64::from(constant as u32))?;
        Ok(cursor)
    }

    #[inline(always)]
    fn block<S: Sink>(&mut self, kind: FrameKind, cursor: &mut Cursor<'_>, sink: &mut S) -> Check {
        cursor.skip();
        let facts = self.validator.facts;
        // Most blocks have neither parameters nor results.
        if cursor.rest().first() == Some(&0x40) {
            cursor.next();
            self.validator.block(kind, Arrow::EMPTY)?;
            return sink.block(kind, &[], &[]);
        }
        let (arrow, rest) = block_type(facts, *cursor)?;
        *cursor = rest;
        self.validator.block(kind, arrow)?;
        let (params, results) = (facts.params(arrow), facts.results(arrow));
        sink.block(kind, facts.codes(params), facts.codes(results))
    }
}

/// Alignment and offset of a load or store; gives the offset.
#[inline(always)]
fn address(
    validator: &Validator<'_>,
    instruction: &Instruction,
    cursor: &mut Cursor<'_>,
) -> Check<u32> {
    let align = cursor.u32()?;
    if align > u32::from(instruction.limit) {
        return Err(invalid("alignment must not be larger than natural"));
    }
    if !validator.memory {
        return Err(unknown("memory", 0));
    }
    cursor.u32()
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
        Some(0x40) => {
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

/// The instructions of a [`narrow_sum`].
pub(crate) const NARROW_SUM: u64 = 3;

/// Behind an i32 that was widened without sign: a constant that is added to it before it is cut back to an i32, which
/// comes to the same as adding 32 bits. Go's compiler adds to addresses so; a fifth of its instructions are this. Gives what
/// `constant` makes of the constant, which stands at the cursor.
#[inline(always)]
pub(crate) fn narrow_sum<'b, T>(
    cursor: &mut Cursor<'b>,
    constant: impl FnOnce(&mut Cursor<'b>) -> Check<T>,
) -> Option<T> {
    let mut ahead = *cursor;
    if ahead.next() != Some(I64_CONST) {
        return None;
    }
    let constant = constant(&mut ahead).ok()?;
    if ahead.next() != Some(I64_ADD) || ahead.next() != Some(I32_WRAP_I64) {
        return None;
    }
    *cursor = ahead;
    Some(constant)
}

/// What operations that add to the address are given, which stencils of every pack take: some are not good for 0, or for the greatest values.
/// Other sums are additions of their own.
const SUMS: Range<i32> = 1..FAR as i32;

/// A load or store without offset, valid but for its operands, as the pack's operation that adds to the address; and what
/// follows.
#[inline(always)]
fn access_sum<'b>(
    table: &Table,
    validator: &Validator<'_>,
    kind: Kind,
    mut cursor: Cursor<'b>,
) -> Option<(Instruction, Cursor<'b>)> {
    let instruction = table.plain[usize::from(cursor.next()?)].sum()?;
    let plain = instruction.kind == kind
        && cursor.next()? <= instruction.limit
        && cursor.next()? == 0
        && validator.memory;
    plain.then_some((instruction, cursor))
}

/// A value that a store may take as it stands.
enum Stored {
    Local(u32),
    I64(u64),
}

/// The variable or constant that is read at the cursor, and its type.
#[inline(always)]
fn stored(
    table: &Table,
    validator: &Validator<'_>,
    cursor: &mut Cursor<'_>,
) -> Option<(Stored, Type)> {
    match table.kinds[usize::from(cursor.next()?)] {
        Kind::LocalGet => {
            let local = cursor.u32().ok()?;
            Some((Stored::Local(local), validator.local(local).ok()?))
        }
        Kind::I64Const => Some((Stored::I64(cursor.i64().ok()? as u64), Type::I64)),
        _ => None,
    }
}
