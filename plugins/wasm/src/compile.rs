//! Phase 2: function bodies become code, each in one visit that decodes, validates and generates.

use std::time::Instant;

use copatch::{FunctionBuilder, Plan, Planner, Unit, ValueType};
use wasmparser::FunctionBody;

use crate::bodies::{Bodies, Body};
use crate::cursor::Cursor;
use crate::engine::Engine;
use crate::error::Error;
use crate::facts::Facts;
use crate::generate::{Context, Generator, SCRATCH};
use crate::layout::Layout;
use crate::module::Description;
use crate::parallel;
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
    pub worked: Worked,
}

/// Address space for the code of a module: hardly any takes more than this for a byte of WebAssembly. Code that brings a thousand
/// values to where a branch wants them does, and some long operations of the baseline, if there is nothing else.
fn capacity(input: &Input<'_>) -> usize {
    (1 << 20)
        + input.description.code_bytes.saturating_mul(64)
        + input.description.imported_functions as usize * 8192
}

/// Generates imported functions' wrappers, and all bodies in order, with the engine's number of threads.
///
/// # Errors
/// The first body that is invalid or too large.
pub(crate) fn generate<'p>(
    engine: &'p Engine,
    input: &Input<'_>,
    bodies: Option<&Bodies<'_>>,
) -> Result<Output<'p>, Error> {
    match generate_within(engine, input, bodies, capacity(input)) {
        // With as much room as code can have.
        Err(error) if parallel::depends_on_place(&error) => {
            generate_within(engine, input, bodies, usize::MAX)
        }
        output => output,
    }
}

/// [`generate`], in that much address space.
fn generate_within<'p>(
    engine: &'p Engine,
    input: &Input<'_>,
    bodies: Option<&Bodies<'_>>,
    capacity: usize,
) -> Result<Output<'p>, Error> {
    let begin = || begin(engine, input, capacity);
    let Some(bodies) = bodies else {
        let unit = begin()?;
        return Ok(Output {
            unit,
            worked: Worked::default(),
        });
    };
    let refuse = |what: &str| Error::Unsupported {
        what: what.to_owned(),
        offset: bodies.offset(),
    };
    let facts = Facts::new(bodies.resources.clone()).map_err(refuse)?;
    let context = Context::new(engine, input);
    if engine.jobs() > 1 {
        let bodies = bodies.iter().collect::<Result<Vec<_>, _>>()?;
        let spans = parallel::spans(&bodies, engine.jobs());
        let worker = || Worker::new(&context, &facts);
        if spans.len() > 1
            && let Some(output) = parallel::generate(begin, worker, &spans, engine.jobs())?
        {
            return Ok(output);
        }
    }
    let mut unit = begin()?;
    let mut worker = Worker::new(&context, &facts);
    worker.compile(FunctionBuilder::new(&mut unit), bodies.iter())?;
    let worked = worker.worked;
    Ok(Output { unit, worked })
}

/// A unit with the wrappers of imported functions.
fn begin<'p>(engine: &'p Engine, input: &Input<'_>, capacity: usize) -> Result<Unit<'p>, Error> {
    let mut unit = engine.unit(capacity)?;
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
    drop(builder);
    Ok(unit)
}

/// What was counted while bodies were compiled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Worked {
    pub operations: u64,
    functions: u64,
    /// Bytes that were scanned, and those of them that a clock was looked at for.
    scanned: u64,
    clocked: u64,
    clocked_ns: u64,
}

/// Of so many functions one is timed: a clock takes as long as scanning some ten instructions. The first are all timed.
const CLOCK_EVERY: u64 = 16;

impl Worked {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.functions += other.functions;
        self.scanned += other.scanned;
        self.clocked += other.clocked;
        self.clocked_ns = self.clocked_ns.saturating_add(other.clocked_ns);
    }

    /// How long scanning took, in nanoseconds of wall clock: by the bytes of those functions that were timed.
    pub fn prescan_ns(&self) -> u64 {
        let ns = u128::from(self.clocked_ns) * u128::from(self.scanned);
        u64::try_from(ns / u128::from(self.clocked.max(1))).unwrap_or(u64::MAX)
    }
}

/// Compiles bodies, one after another; each thread has one.
pub(crate) struct Worker<'a> {
    context: &'a Context<'a>,
    visit: Visit<'a>,
    planner: Planner,
    /// An empty plan, for functions whose scan did not come to their end.
    unplanned: Plan,
    locals: Vec<ValueType>,
    pub worked: Worked,
}

impl<'a> Worker<'a> {
    pub fn new(context: &'a Context<'a>, facts: &'a Facts) -> Self {
        Self {
            context,
            visit: Visit::new(context.table(), facts),
            planner: Planner::new(),
            unplanned: Plan::default(),
            locals: Vec::new(),
            worked: Worked::default(),
        }
    }

    /// Compiles these bodies in order.
    ///
    /// # Errors
    /// The first that cannot be read, is invalid or too large.
    pub fn compile<'b>(
        &mut self,
        builder: FunctionBuilder<'_, '_>,
        bodies: impl Iterator<Item = Result<Body<'b>, Error>>,
    ) -> Result<(), Error> {
        let mut generator = Generator::new(builder, self.context);
        for body in bodies {
            let (index, body) = body?;
            self.function(&mut generator, index, &body)?;
        }
        Ok(())
    }

    /// The body of function `index`.
    fn function(
        &mut self,
        generator: &mut Generator<'a, '_, '_>,
        index: u32,
        body: &FunctionBody<'_>,
    ) -> Result<(), Error> {
        if !self.attempt(generator, index, body, true)? {
            generator.builder.abandon();
            self.attempt(generator, index, body, false)?;
        }
        Ok(())
    }

    /// [`Self::function`], with a plan that may be made of a sample. Gives whether that was good enough; else nothing was
    /// finished.
    fn attempt(
        &mut self,
        generator: &mut Generator<'a, '_, '_>,
        index: u32,
        body: &FunctionBody<'_>,
        sample: bool,
    ) -> Result<bool, Error> {
        // Modules are smaller than 2^30 bytes.
        let mut cursor = Cursor::new(body.as_bytes(), body.range().end as u32);
        let begin = cursor.offset();
        let context = self.context;
        let signature = context.signature(index, begin)?;
        let variables = self.visit.begin(index, &mut cursor)?;
        let locals = variables.get(signature.params.len()..).unwrap_or_default();
        self.locals.clear();
        self.locals.extend(locals.iter().map(|ty| ty.code()));

        let (start, scratch) = (cursor.offset(), variables.len());
        let timed = self.worked.functions < CLOCK_EVERY
            || self.worked.functions.is_multiple_of(CLOCK_EVERY);
        let clock = timed.then(Instant::now);
        let scan = prescan::scan(context.table(), cursor, scratch, sample, &mut self.planner);
        let plan = if scan.complete && !scan.far {
            self.planner.finish()
        } else {
            &self.unplanned
        };
        let clocked_ns = clock.map_or(0, |clock| clock.elapsed().as_nanos());
        let scanned = cursor.rest().len() as u64;

        // What was not scanned may have far accesses, too.
        let far = scan.far || !scan.complete;
        if far {
            self.locals.extend(SCRATCH);
        }
        generator.builder.at(start);
        generator
            .builder
            .begin(index, signature, &self.locals, plan);
        generator.begin(far.then_some(scratch as u32));
        let visited = self.visit.instructions(cursor, generator);
        if generator.incomplete && scan.sampled {
            return Ok(false);
        }
        self.worked.add(Worked {
            operations: visited?,
            functions: 1,
            scanned,
            clocked: if timed { scanned } else { 0 },
            clocked_ns: u64::try_from(clocked_ns).unwrap_or(u64::MAX),
        });
        generator
            .builder
            .finish()
            .map_err(|source| Error::Function {
                function: index,
                offset: u64::from(start),
                source,
            })?;
        Ok(true)
    }
}
