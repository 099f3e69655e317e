//! Phase 2: function bodies become code, each in one visit that decodes, validates and generates.

use std::time::Instant;

use copatch::{FunctionBuilder, Plan, Planner, Unit, ValueType};
use wasmparser::FunctionBody;

use crate::cursor::Cursor;
use crate::engine::Engine;
use crate::error::Error;
use crate::facts::Facts;
use crate::generate::{Context, Generator, SCRATCH};
use crate::layout::Layout;
use crate::module::{Body, Description};
use crate::prescan;
use crate::stubs;
use crate::visit::Visit;

/// What the code of a module is generated from.
pub(crate) struct Input<'a> {
    pub description: &'a Description,
    /// The signature number of each type.
    pub signatures: &'a [u32],
    /// Where the words of an instance lie.
    pub layout: &'a Layout,
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
    (1 << 20)
        + input.description.code_bytes.saturating_mul(64)
        + input.description.imported_functions as usize * 8192
}

/// Generates imported functions' wrappers, and all bodies in order.
///
/// # Errors
/// The first body that is invalid or too large.
pub(crate) fn generate<'p>(
    engine: &'p Engine,
    input: &Input<'_>,
    bodies: &[Body<'_>],
) -> Result<Output<'p>, Error> {
    let mut unit = Unit::new(engine.pack(), capacity(input))?.with_vectors();
    if input.trace {
        unit = unit.with_trace();
    }
    let mut builder = FunctionBuilder::new(&mut unit);
    let description = input.description;
    for index in 0..description.imported_functions {
        if let Some(signature) = description.signature(index) {
            builder.begin(index, signature, &[], &Plan::default());
            stubs::forward(&mut builder, engine, input.layout.import(index), signature);
            builder.end();
            builder.finish()?;
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
    drop(builder);
    Ok(Output {
        unit,
        operations: state.operations,
        prescan_ns: state.prescan_ns,
    })
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
    builder.at(start);
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
