//! Phase 2: function bodies become code, each in one visit that decodes, validates and generates.

use std::time::Instant;

use copatch::{FunctionBuilder, Plan, Planner, Signature, Unit, ValueType};
use wasmparser::FuncValidatorAllocations;

use crate::engine::Engine;
use crate::error::Error;
use crate::helpers;
use crate::module::{Body, Description, value_type};
use crate::operators::{Context, SCRATCH, Visitor};
use crate::prescan;

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
    bytes: &[u8],
    bodies: Vec<Body<'_>>,
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
    let mut generator = Generator::default();
    let context = Context::new(engine, input);
    for body in bodies {
        builder = generator.function(&context, builder, bytes, body)?;
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
        operations: generator.operations,
        prescan_ns: generator.prescan_ns,
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
struct Generator {
    planner: Planner,
    /// An empty plan, for functions whose scan did not come to their end.
    unplanned: Plan,
    allocations: FuncValidatorAllocations,
    locals: Vec<ValueType>,
    targets: Vec<u32>,
    operations: u64,
    prescan_ns: u64,
}

impl Generator {
    fn function<'u, 'p>(
        &mut self,
        context: &Context<'_>,
        mut builder: FunctionBuilder<'u, 'p>,
        bytes: &[u8],
        (function, body): Body<'_>,
    ) -> Result<FunctionBuilder<'u, 'p>, Error> {
        let index = function.index;
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        let mut reader = body.get_binary_reader();
        reader.set_features(*validator.features());
        let signature = context.signature(index, body.range().start)?;

        self.locals.clear();
        for _ in 0..reader.read_var_u32()? {
            let offset = reader.original_position();
            let count = reader.read_var_u32()?;
            let ty: wasmparser::ValType = reader.read()?;
            // Refuses more locals than the limit before they are taken.
            validator.define_locals(offset, count, ty)?;
            let ty = value_type(ty, offset)?;
            self.locals.resize(self.locals.len() + count as usize, ty);
        }

        let start = reader.original_position();
        let code = bytes
            .get(start as usize..body.range().end as usize)
            .unwrap_or_default();
        let begin = Instant::now();
        self.planner
            .begin(signature.params.len() + self.locals.len());
        let scan = prescan::scan(code, start as u32, &mut self.planner);
        let plan = if scan.complete && !scan.far {
            self.planner.finish()
        } else {
            &self.unplanned
        };
        self.operations += scan.operations;
        self.prescan_ns += u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);

        let scratch = (signature.params.len() + self.locals.len()) as u32;
        if scan.far {
            self.locals.extend(SCRATCH);
        }
        builder.begin(index, signature, &self.locals, plan);
        let targets = std::mem::take(&mut self.targets);
        let mut visitor = Visitor {
            at: start,
            validator,
            builder,
            context,
            scratch,
            targets,
        };
        while !reader.eof() {
            visitor.move_to(reader.original_position());
            reader
                .visit_operator(&mut visitor)?
                .map_err(|stop| *stop.0)?;
        }
        reader.finish_expression(&visitor)?;
        let Visitor {
            validator,
            mut builder,
            targets,
            ..
        } = visitor;
        builder.finish().map_err(|source| Error::Function {
            function: index,
            offset: start,
            source,
        })?;
        self.targets = targets;
        self.allocations = validator.into_allocations();
        Ok(builder)
    }
}
