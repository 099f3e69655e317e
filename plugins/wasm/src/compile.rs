//! Phase 2: function bodies become code, each in one visit that decodes, validates and generates.

use std::time::Instant;

use copatch::{FunctionBuilder, Plan, Planner, Unit, ValueType};
use wasmparser::FuncValidatorAllocations;

use crate::engine::Engine;
use crate::error::Error;
use crate::layout::Layout;
use crate::module::{Body, Description, value_type};
use crate::operators::{Context, SCRATCH, Visitor};
use crate::prescan;
use crate::stubs;

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
    bytes: &[u8],
    bodies: Vec<Body<'_>>,
) -> Result<Output<'p>, Error> {
    let mut unit = Unit::new(engine.pack(), capacity(input))?;
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
    let mut generator = Generator::default();
    let context = Context::new(engine, input);
    for body in bodies {
        builder = generator.function(&context, builder, bytes, body)?;
    }
    drop(builder);
    Ok(Output {
        unit,
        operations: generator.operations,
        prescan_ns: generator.prescan_ns,
    })
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
