//! Code that leads into functions of one type from outside: from the host, and from compiled code that runs in another
//! context. Made once for each type in use.

use copatch::{FunctionBuilder, Plan, Program, Signature, ValueType};

use crate::engine::Engine;
use crate::error::Error;
use crate::helpers;
use crate::layout;

/// Address space for two functions. A parameter or result takes a few instructions in each.
fn capacity(signature: &Signature) -> usize {
    (64 << 10) + (signature.params.len() + signature.results.len()) * 512
}

/// The functions' numbers in the program.
const ENTRY: u32 = 0;
const AWAY: u32 = 1;

/// Code for one function type.
#[derive(Debug)]
pub(crate) struct Stubs {
    /// Holds both, and the way from C into compiled code.
    pub program: Program,
    /// Called from C: arguments and results in slots, the address of the function in the slot behind them.
    pub entry: usize,
    /// Called by compiled code in place of the function that its context's `callee` refers to.
    pub away: usize,
}

impl Stubs {
    pub fn generate(engine: &Engine, signature: &Signature) -> Result<Self, Error> {
        let mut unit = engine.unit(capacity(signature))?;
        let mut builder = FunctionBuilder::new(&mut unit);
        builder.entry_pointer_wrapper(ENTRY, signature);
        builder.finish()?;
        away(&mut builder, engine, signature);
        builder.finish()?;
        drop(builder);
        let program = unit.finish()?;
        match (program.entry(ENTRY), program.entry(AWAY)) {
            (Some(entry), Some(away)) => Ok(Self {
                program,
                entry,
                away,
            }),
            _ => Err(Error::Engine(copatch::Error::Internal {
                what: "a stub without code".to_owned(),
            })),
        }
    }
}

/// A function that calls what the context's `callee` refers to: in its own place, if that runs in this context, so that a
/// chain of tail calls through a shared table does not grow.
fn away(builder: &mut FunctionBuilder<'_, '_>, engine: &Engine, signature: &Signature) {
    let operations = engine.operations();
    let own = signature.params.len() as u32;
    builder.begin(AWAY, signature, &[ValueType::I64], &Plan::default());
    builder.op(operations.own());
    builder.tee(own);
    builder.op(operations.is_null());
    builder.if_(&[], &signature.results);
    builder.op_imm(operations.far_word(), &[i64::from(layout::CALLEE)]);
    call(builder, signature);
    builder.else_();
    for var in 0..own {
        builder.get(var);
    }
    builder.get(own);
    builder.tail_call_pointer(signature);
    builder.end();
    builder.end();
}

/// Calls the function whose address is in the context, at that offset, with the variables as its arguments.
pub(crate) fn forward(
    builder: &mut FunctionBuilder<'_, '_>,
    engine: &Engine,
    offset: u32,
    signature: &Signature,
) {
    builder.op_imm(engine.operations().word(), &[i64::from(offset)]);
    call(builder, signature);
}

/// Calls the function whose address is on the stack, with the variables as its arguments.
fn call(builder: &mut FunctionBuilder<'_, '_>, signature: &Signature) {
    for var in 0..signature.params.len() as u32 {
        builder.get(var);
    }
    let params = signature.params.len() as u32 + 1;
    builder.helper(helpers::CALL, params, &signature.results);
}
