//! Phase 2: function bodies become code, each in one visit that decodes, validates and generates.

use std::time::Instant;

use copatch::{FunctionBuilder, Plan, Planner, Signature, Unit, ValueType};
use wasmparser::FunctionBody;

use crate::cursor::Cursor;
use crate::engine::Engine;
use crate::error::Error;
use crate::facts::Facts;
use crate::generate::{Context, Generator, SCRATCH};
use crate::helpers;
use crate::module::{Body, Description};
use crate::prescan;
use crate::visit::Visit;

/// What the code of a module is generated from.
pub(crate) struct Input<'a> {
    pub description: &'a Description,
    /// The signature number of each type.
    pub signatures: &'a [u32],
    /// Functions that get an entry wrapper.
    pub entries: &'a [u32],
    /// Whether to remember each stencil.
    pub trace: bool,
}

/// Code that is not yet executable.
pub(crate) struct Output<'p> {
    pub unit: Unit<'p>,
    pub operations: u64,
    pub prescan_ns: u64,
}

/// Address space for the code of a module: stencils take far less than this for a byte of WebAssembly.
fn capacity(input: &Input<'_>) -> usize {
    let wrappers = input.description.imports.len() + input.entries.len();
    (1 << 20) + input.description.code_bytes.saturating_mul(64) + wrappers * 8192
}

/// Generates imported functions' wrappers, all bodies in order, and entry wrappers.
///
/// # Errors
/// The first body that is invalid or too large.
pub(crate) fn generate<'p>(
    engine: &'p Engine,
    input: &Input<'_>,
    bodies: &[Body<'_>],
) -> Result<Output<'p>, Error> {
    let mut unit = Unit::new(engine.pack(), capacity(input))?;
    if input.trace {
        unit = unit.with_trace();
    }
    let mut builder = FunctionBuilder::new(&mut unit);
    let description = input.description;
    for (index, _) in (0..).zip(&description.imports) {
        if let Some(signature) = description.signature(index) {
            import_wrapper(&mut builder, index, signature)?;
        }
    }
    let mut state = State::default();
    if let Some((first, body)) = bodies.first() {
        let refuse = |what: &str| Error::Unsupported {
            what: what.to_owned(),
            offset: body.range().start,
        };
        let facts = Facts::new(first.resources.clone()).map_err(refuse)?;
        let context = Context::new(engine, input);
        let mut visit = Visit::new(&engine.operations().table, &facts);
        for (function, body) in bodies {
            builder = self::function(
                &mut state,
                &mut visit,
                &context,
                builder,
                function.index,
                body,
            )?;
        }
    }
    for (index, target) in (description.functions.len() as u32..).zip(input.entries) {
        if let Some(signature) = description.signature(*target) {
            builder.entry_wrapper(index, *target, signature);
            builder.finish()?;
        }
    }
    drop(builder);
    Ok(Output {
        unit,
        operations: state.operations,
        prescan_ns: state.prescan_ns,
    })
}

/// A function that hands its own index and its parameters to the host.
fn import_wrapper(
    builder: &mut FunctionBuilder<'_, '_>,
    index: u32,
    signature: &Signature,
) -> Result<(), Error> {
    builder.begin(index, signature, &[], &Plan::default());
    builder.constant(ValueType::I32, u64::from(index));
    for var in 0..signature.params.len() as u32 {
        builder.get(var);
    }
    builder.helper(
        helpers::HOST_CALL,
        signature.params.len() as u32 + 1,
        &signature.results,
    );
    builder.end();
    builder.finish()?;
    Ok(())
}

/// What is kept from function to function.
#[derive(Default)]
struct State {
    planner: Planner,
    /// An empty plan, for functions whose scan did not come to their end.
    unplanned: Plan,
    locals: Vec<ValueType>,
    operations: u64,
    prescan_ns: u64,
}

/// The body of function `index`.
fn function<'u, 'p>(
    state: &mut State,
    visit: &mut Visit<'_>,
    context: &Context<'_>,
    mut builder: FunctionBuilder<'u, 'p>,
    index: u32,
    body: &FunctionBody<'_>,
) -> Result<FunctionBuilder<'u, 'p>, Error> {
    // Modules are smaller than 2^30 bytes.
    let mut cursor = Cursor::new(body.as_bytes(), body.range().end as u32);
    let begin = cursor.offset();
    let signature = context.signature(index, begin)?;
    let variables = visit.begin(index, &mut cursor)?;
    let locals = variables.get(signature.params.len()..).unwrap_or_default();
    state.locals.clear();
    state.locals.extend(locals.iter().map(|ty| ty.code()));
    context
        .supported(&state.locals)
        .map_err(|fault| fault.at(begin, "locals"))?;

    let start = cursor.offset();
    let clock = Instant::now();
    let scan = prescan::scan(context.table(), cursor, variables.len(), &mut state.planner);
    let plan = if scan.complete && !scan.far {
        state.planner.finish()
    } else {
        &state.unplanned
    };
    state.operations += scan.operations;
    state.prescan_ns += u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);

    let scratch = variables.len() as u32;
    if scan.far {
        state.locals.extend(SCRATCH);
    }
    builder.begin(index, signature, &state.locals, plan);
    let mut generator = Generator {
        builder,
        context,
        scratch,
    };
    visit.instructions(cursor, &mut generator)?;
    let Generator { mut builder, .. } = generator;
    builder.finish().map_err(|source| Error::Function {
        function: index,
        offset: u64::from(start),
        source,
    })?;
    Ok(builder)
}
