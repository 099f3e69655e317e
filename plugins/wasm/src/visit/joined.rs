//! What compilers write as several instructions and the visit takes as one: sums of addresses with the access behind them, loads that
//! are cut; and what a call looks at behind itself.

use std::ops::Range;

use copatch::ValueType;

use super::{Sink, Visit};
use crate::cursor::Cursor;
use crate::facts::Type;
use crate::opcodes::{
    BR, END, GLOBAL_GET, I32_ADD, I32_WRAP_I64, I64_ADD, I64_CONST, I64_LOAD, Instruction, Kind,
    LOCAL_SET, LOCAL_TEE,
};
use crate::prescan::FAR;
use crate::validate::{Check, FrameKind, Validator};

impl Visit<'_> {
    /// An `i64.load` and an `i32.wrap_i64`.
    #[inline(never)]
    pub(super) fn narrow_load<S: Sink>(&mut self, offset: u32, sink: &mut S) -> Check {
        let (table, validator) = (self.table, &mut self.validator);
        validator.tee(Type::I32)?;
        if table.load_wrap.op.is_some() {
            return sink.access(&table.load_wrap, offset);
        }
        sink.access(&table.plain[usize::from(I64_LOAD)], offset)?;
        sink.operation(&table.plain[usize::from(I32_WRAP_I64)], &[])
    }

    /// An `if` without types at the cursor, whose condition was popped: one that does nothing but set a variable of 32 bits to a constant
    /// and branch, which is how Go's compiler goes on elsewhere in a function, as a whole. Gives what follows.
    #[inline(never)]
    pub(super) fn leaving<'b, S: Sink>(
        &mut self,
        rest: &'b [u8],
        end: u32,
        sink: &mut S,
    ) -> Check<Cursor<'b>> {
        let validator = &self.validator;
        let mut cursor = Cursor::new(rest, end);
        let mut ahead = cursor;
        let mut read = || {
            ahead.take(3)?;
            let bits = u64::from(ahead.i32().ok()? as u32);
            let local = (ahead.next()? == LOCAL_SET).then(|| ahead.u32().ok())??;
            let depth = (ahead.next()? == BR).then(|| ahead.u32().ok())??;
            // Seen from around the `if`, whose own end is no place to go on.
            let depth = depth.checked_sub(1)?;
            let valid = ahead.next()? == END
                && validator.local(local).ok()? == Type::I32
                && validator.carries_nothing(depth);
            valid.then_some((depth, local, bits))
        };
        let Some((depth, local, bits)) = read() else {
            self.block(FrameKind::If, &mut cursor, sink)?;
            return Ok(cursor);
        };
        self.joined += 4;
        sink.br_if_set(depth, local, bits)?;
        Ok(ahead)
    }

    /// Behind a [`narrow_sum`] of this constant: the load whose address it is, or the store there of a variable or constant,
    /// which most sums are for; else the sum alone. Gives what follows.
    #[inline(always)]
    pub(super) fn sum<'b, S: Sink>(
        &mut self,
        cursor: Cursor<'b>,
        constant: i32,
        sink: &mut S,
    ) -> Check<Cursor<'b>> {
        let (plain, validator) = (&self.plain, &mut self.validator);
        if SUMS.contains(&constant) {
            if let Some((load, rest)) = access_sum(plain, validator, Kind::Load, cursor) {
                sink.at(cursor.offset());
                validator.unary(&load)?;
                self.joined += 1;
                sink.access_sum(&load, constant)?;
                return Ok(rest);
            }
            let mut ahead = cursor;
            if let Some((value, ty)) = stored(plain, validator, &mut ahead)
                && let Some((store, rest)) = access_sum(plain, validator, Kind::Store, ahead)
                && store.operands[1] == ty
            {
                validator.pop(Type::I32)?;
                self.joined += 2;
                sink.at(cursor.offset());
                match value {
                    Stored::Local(local) => sink.local_get_apart(local),
                    Stored::I64(bits) => sink.constant(ValueType::I64, bits),
                }
                sink.at(ahead.offset());
                sink.access_sum(&store, constant)?;
                return Ok(rest);
            }
        }
        let add = &self.plain[usize::from(I32_ADD)];
        sink.operation_with(add, ValueType::I32, u64::from(constant as u32))?;
        Ok(cursor)
    }
}

/// The variable that is written at the cursor, with what lies on the stack or in a global: where Go's compiler keeps its stack
/// pointer during a call.
#[inline(always)]
pub(super) fn written(cursor: Cursor<'_>) -> Option<u32> {
    let local = match *cursor.rest() {
        [LOCAL_SET | LOCAL_TEE, local, ..] => local,
        [GLOBAL_GET, global, LOCAL_SET, local, ..] if global < 0x80 => local,
        _ => return None,
    };
    (local < 0x80).then_some(u32::from(local))
}

/// The instructions of a [`narrow_sum`].
pub(super) const NARROW_SUM: u64 = 3;

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
    plain: &[Instruction; 256],
    validator: &Validator<'_>,
    kind: Kind,
    mut cursor: Cursor<'b>,
) -> Option<(Instruction, Cursor<'b>)> {
    let instruction = plain[usize::from(cursor.next()?)].sum()?;
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
    plain: &[Instruction; 256],
    validator: &Validator<'_>,
    cursor: &mut Cursor<'_>,
) -> Option<(Stored, Type)> {
    match plain[usize::from(cursor.next()?)].kind {
        Kind::LocalGet => {
            let local = cursor.u32().ok()?;
            Some((Stored::Local(local), validator.local(local).ok()?))
        }
        Kind::I64Const => Some((Stored::I64(cursor.i64().ok()? as u64), Type::I64)),
        _ => None,
    }
}
