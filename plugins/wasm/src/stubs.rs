//! Code that leads into functions of one type from outside: from the host, and from compiled code that runs in another
//! context. Made once for each type in use.

use std::sync::Arc;

use copatch::{FunctionBuilder, Plan, Program, Signature, Unit, ValueType};

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
    /// Called by compiled code in place of the function that is its context's `callee`.
    pub away: usize,
}

impl Stubs {
    pub fn generate(engine: &Engine, signature: &Signature) -> Result<Self, Error> {
        let pack: &Arc<_> = engine.pack();
        let mut unit = Unit::new(pack, capacity(signature))?;
        let mut builder = FunctionBuilder::new(&mut unit);
        builder.entry_pointer_wrapper(ENTRY, signature);
        builder.finish()?;
        builder.begin(AWAY, signature, &[], &Plan::default());
        forward(&mut builder, engine, layout::CALLEE, signature);
        builder.end();
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

/// Calls the function whose address is in the context, at that offset, with the variables as its arguments.
pub(crate) fn forward(
    builder: &mut FunctionBuilder<'_, '_>,
    engine: &Engine,
    offset: u32,
    signature: &Signature,
) {
    let read = engine.operations().word();
    builder.op_imm(read, &[i64::from(offset)]);
    debug_assert_eq!(builder.top_type(), Some(ValueType::I64));
    for var in 0..signature.params.len() as u32 {
        builder.get(var);
    }
    builder.helper(
        helpers::CALL,
        signature.params.len() as u32 + 1,
        &signature.results,
    );
}
