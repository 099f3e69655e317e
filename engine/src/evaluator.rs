//! Runs operations one at a time, without generating code: the base of interpreters and the judge of compiled code.
#![allow(unsafe_code)] // Calls the pack's evaluators.

use copatch_spec::limits::{IMMEDIATES, OPERANDS};
use copatch_spec::pack::tables::{EvaluatorRow, StencilRow};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::memory::{Code, CodeSpace};
use crate::pack::{OpId, Pack};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalOutcome {
    /// It went on. The result lies in the low bytes, the bytes above are zero; for a branch, not 0 means that it is taken.
    /// Meaningless for operations without a result.
    Value(u128),
    /// It raised the trap of that number.
    Trap(u8),
}

/// An evaluator, by the calling convention of the pack's triple. See [`EvaluatorRow`].
type Evaluator = unsafe extern "C" fn(
    memory: *mut u8,
    context: *mut Context,
    frame: *mut u8,
    operands: *const u64,
    immediates: *const u64,
    result: *mut u64,
) -> u32;

/// Words of the operands of one operation: a vector takes two.
const OPERAND_WORDS: usize = 2 * OPERANDS;

/// The evaluators of a pack, ready to run.
#[derive(Debug)]
pub struct Evaluators {
    code: Code,
    /// Where each operation's lies in the code; `None` for operations that only steer control.
    entries: Vec<Option<u32>>,
}

impl Evaluators {
    /// Makes a pack's evaluators executable.
    ///
    /// # Errors
    /// [`Error::Memory`], also where the system forbids executable memory: evaluators are machine code too.
    pub fn new(pack: &Pack) -> Result<Self> {
        let view = pack.view()?;
        Self::map(view.evaluators, view.evaluator_code)
    }

    fn map(rows: &[EvaluatorRow], code: &[u8]) -> Result<Self> {
        let entry = |row: &EvaluatorRow| {
            let (start, length) = (row.code.get(), row.length.get());
            if start == StencilRow::ABSENT {
                return Ok(None);
            }
            match start.checked_add(length) {
                Some(end) if end as usize <= code.len() && length > 0 => Ok(Some(start)),
                _ => Err(Error::Internal {
                    what: "an evaluator lies outside the evaluators' code".to_owned(),
                }),
            }
        };
        let entries = rows.iter().map(entry).collect::<Result<_>>()?;
        let mut space = CodeSpace::new(code.len())?;
        if let Some(room) = space.bytes_mut().get_mut(..code.len()) {
            room.copy_from_slice(code);
        }
        Ok(Self {
            code: space.publish(code.len(), false)?,
            entries,
        })
    }

    /// Whether the operation has an evaluator; those that only steer control have none.
    pub fn has(&self, op: OpId) -> bool {
        self.entries.get(op.index()).is_some_and(Option::is_some)
    }

    /// Runs one operation.
    ///
    /// Operands, in order, lie in the low bytes of their words, with zeros above; a vector takes two words, the low one first.
    /// Immediates are words. Missing ones are zero. `context` and `frame` are only looked at by operations that say so in their table.
    ///
    /// # Errors
    /// [`Error::Missing`] if the operation has no evaluator, [`Error::Limit`] for more operands or immediates than any
    /// operation has.
    ///
    /// # Safety
    /// The operation is called with what its body in the instruction set's `ops.h` relies on: memory that it accesses is there
    /// (an access that faults ends the process), `context` is valid if it uses one.
    pub unsafe fn eval(
        &self,
        op: OpId,
        memory: *mut u8,
        context: *mut Context,
        frame: *mut u64,
        operands: &[u64],
        immediates: &[u64],
    ) -> Result<EvalOutcome> {
        let entry = self.entries.get(op.index()).copied().flatten();
        let entry = entry.ok_or_else(|| Error::Missing {
            what: format!("evaluator of operation {}", op.index()),
        })?;
        let operands: [u64; OPERAND_WORDS] = padded(operands)?;
        let immediates: [u64; IMMEDIATES] = padded(immediates)?;
        let mut result = [0; 2];
        // SAFETY: `map` checked that an evaluator begins there, and evaluators have this signature.
        let evaluator =
            unsafe { std::mem::transmute::<usize, Evaluator>(self.code.base() + entry as usize) };
        // SAFETY: operands, immediates and result are as large as any operation's; the rest is the caller's promise.
        let status = unsafe {
            evaluator(
                memory,
                context,
                frame.cast(),
                operands.as_ptr(),
                immediates.as_ptr(),
                result.as_mut_ptr(),
            )
        };
        Ok(match status.checked_sub(1) {
            None => EvalOutcome::Value(u128::from(result[1]) << 64 | u128::from(result[0])),
            Some(trap) => EvalOutcome::Trap(trap as u8),
        })
    }
}

fn padded<const N: usize>(words: &[u64]) -> Result<[u64; N]> {
    let mut all = [0; N];
    all.get_mut(..words.len())
        .ok_or(Error::Limit {
            what: "operands or immediates of an operation",
        })?
        .copy_from_slice(words);
    Ok(all)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::ptr::null_mut;

    use super::*;

    #[rustfmt::skip]
    const CODE: &[u8] = &[
        // mov rax, [rcx]; add rax, [rcx+8]; add rax, [r8+8]; mov [r9], rax; xor eax, eax; ret
        0x48, 0x8b, 0x01, 0x48, 0x03, 0x41, 0x08, 0x49, 0x03, 0x40, 0x08, 0x49, 0x89, 0x01, 0x31, 0xc0, 0xc3,
        // mov eax, 8; ret
        0xb8, 0x08, 0x00, 0x00, 0x00, 0xc3,
        // movups xmm0, [rcx+16]; movups [r9], xmm0; xor eax, eax; ret
        0x0f, 0x10, 0x41, 0x10, 0x41, 0x0f, 0x11, 0x01, 0x31, 0xc0, 0xc3,
    ];

    fn row(code: u32, length: u32) -> EvaluatorRow {
        EvaluatorRow {
            code: code.into(),
            length: length.into(),
        }
    }

    fn eval(op: u16, operands: &[u64], immediates: &[u64]) -> Result<EvalOutcome> {
        let rows = [
            row(0, 17),
            row(17, 6),
            row(StencilRow::ABSENT, 0),
            row(23, 11),
        ];
        let evaluators = Evaluators::map(&rows, CODE)?;
        // SAFETY: the code above looks at operands and immediates only.
        unsafe {
            evaluators.eval(
                OpId(op),
                null_mut(),
                null_mut(),
                null_mut(),
                operands,
                immediates,
            )
        }
    }

    #[test]
    fn operands_and_immediates_arrive_and_the_result_comes_back() {
        assert_eq!(
            eval(0, &[1, 20], &[5, 300]).unwrap(),
            EvalOutcome::Value(321)
        );
        assert_eq!(
            eval(0, &[1], &[]).unwrap(),
            EvalOutcome::Value(1),
            "what is missing is zero"
        );
    }

    #[test]
    fn a_vector_takes_two_words() {
        assert_eq!(
            eval(3, &[1, 2, 3, 4 << 60], &[]).unwrap(),
            EvalOutcome::Value(4 << 124 | 3)
        );
    }

    #[test]
    fn a_trap_has_its_number() {
        assert_eq!(eval(1, &[], &[]).unwrap(), EvalOutcome::Trap(7));
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error() {
        assert!(matches!(eval(2, &[], &[]), Err(Error::Missing { .. })));
        assert!(matches!(eval(4, &[], &[]), Err(Error::Missing { .. })));
        assert!(matches!(eval(0, &[0; 9], &[]), Err(Error::Limit { .. })));
        assert!(matches!(eval(0, &[], &[0; 3]), Err(Error::Limit { .. })));
    }

    #[test]
    fn rows_outside_the_code_are_an_error() {
        for bad in [row(23, 12), row(u32::MAX - 1, 2), row(34, 1), row(0, 0)] {
            assert!(Evaluators::map(&[bad], CODE).is_err(), "{bad:?}");
        }
    }
}
