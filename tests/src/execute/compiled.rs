//! The subject of the kit: programs through the function builder, run as machine code.
#![allow(unsafe_code)] // Calls generated code, and is called back by it.

use std::sync::Arc;

use copatch::{
    Context, FunctionBuilder, Helper, OpId, Pack, Plan, Planner, Signature, Stack, Unit, ValueType,
    helper_guard,
};

use super::{Executor, Outcome, World, canonical_all, help};
use crate::dialect::Dialect;
use crate::program::{Function, Program, Step};

/// Address space for the code of a program.
const CODE: usize = 16 << 20;
/// Bytes for frames.
const STACK: usize = 1 << 20;

/// Compiled code.
#[derive(Debug)]
pub struct Compiled {
    /// The pack it is generated from.
    pub pack: Arc<Pack>,
    /// Whether the builder gets a plan, and constants together with the operations behind them. Without it must generate
    /// other code with the same meaning, in which calls reach nothing but veneers, and indirect branches arrive at landing
    /// pads.
    pub planned: bool,
}

impl Executor for Compiled {
    fn name(&self) -> String {
        format!(
            "compiled{}",
            if self.planned { "" } else { " without a plan" }
        )
    }

    fn run(&self, program: &Program, dialect: &dyn Dialect) -> Result<Outcome, String> {
        let code = self
            .compile(program, false)
            .map_err(|error| error.to_string())?;
        run(&code, program, World::new(dialect))
    }
}

impl Compiled {
    /// Generates the code of a program; function 0 is callable from outside as function `functions.len()`.
    ///
    /// # Errors
    /// The builder's.
    pub fn compile(&self, program: &Program, trace: bool) -> copatch::Result<copatch::Program> {
        let mut unit = Unit::new(&self.pack, CODE)?;
        if !self.planned {
            unit = unit.with_call_reach(0).with_landing_pads();
        }
        if trace {
            unit = unit.with_trace();
        }
        let mut planner = Planner::new();
        let empty = Plan::default();
        let mut builder = FunctionBuilder::new(&mut unit);
        for (index, function) in program.functions.iter().enumerate() {
            let plan = if self.planned {
                plan(&mut planner, function)
            } else {
                &empty
            };
            builder.begin(index as u32, &function.signature, &function.locals, plan);
            self.body(&mut builder, program, function)?;
            builder.finish()?;
        }
        if let Some(first) = program.functions.first() {
            builder.entry_wrapper(program.functions.len() as u32, 0, &first.signature);
            builder.finish()?;
        }
        unit.finish()
    }

    fn body(
        &self,
        builder: &mut FunctionBuilder,
        program: &Program,
        function: &Function,
    ) -> copatch::Result<()> {
        let nothing = Signature::default();
        let callee = |index: u32| {
            program
                .functions
                .get(index as usize)
                .map_or(&nothing, |callee| &callee.signature)
        };
        let mut steps = function.body.iter().enumerate().peekable();
        while let Some((position, step)) = steps.next() {
            builder.at(position as u32);
            if let (true, Step::Constant(ty, bits)) = (self.planned, step)
                && let Some((_, Step::Op(name, immediates))) = steps.peek()
                && immediates.is_empty()
                && name != "i32.eqz"
            {
                builder.op_with(self.op(name)?, *ty, *bits);
                steps.next();
                continue;
            }
            if let (
                true,
                [
                    Step::If(params, results),
                    Step::Constant(_, bits),
                    Step::Set(var),
                    Step::Br(depth @ 1..),
                    Step::End,
                    ..,
                ],
            ) = (self.planned, &function.body[position..])
                && params.is_empty()
                && results.is_empty()
            {
                builder.br_if_set(*depth - 1, *var, *bits);
                steps.nth(3);
                continue;
            }
            match step {
                Step::Constant(ty, bits) => builder.constant(*ty, *bits),
                Step::Get(var) => builder.get(*var),
                Step::Set(var) => builder.set(*var),
                Step::Tee(var) => builder.tee(*var),
                Step::Drop => builder.drop_top(),
                // `not` may turn a comparison round instead of adding an operation: it must mean the same.
                Step::Op(name, _) if name == "i32.eqz" => builder.not(self.op(name)?),
                Step::Op(name, immediates) => builder.op_any(self.op(name)?, immediates),
                Step::Select(ty) => builder.select(*ty),
                Step::Block(params, results) => builder.block(params, results),
                Step::Loop(params, results) => builder.loop_(params, results),
                Step::If(params, results) => builder.if_(params, results),
                Step::Else => builder.else_(),
                Step::End => builder.end(),
                Step::Br(depth) => builder.br(*depth),
                Step::BrIf(depth) => builder.br_if(*depth),
                Step::BrTable(targets, default) => builder.br_table(targets, *default),
                Step::Return => builder.return_(),
                Step::Trap(kind) => builder.trap(*kind),
                Step::Call(index) => builder.call(*index, callee(*index)),
                Step::CallPointer(index) => {
                    address_of(builder, *index);
                    builder.call_pointer(callee(*index));
                }
                Step::TailCall(index) => builder.tail_call(*index, callee(*index)),
                Step::TailCallPointer(index) => {
                    address_of(builder, *index);
                    builder.tail_call_pointer(callee(*index));
                }
                Step::Helper(index) => {
                    let signature = program.helpers.get(*index as usize).unwrap_or(&nothing);
                    builder.helper(*index, signature.params.len() as u32, &signature.results);
                }
            }
        }
        Ok(())
    }

    fn op(&self, name: &str) -> copatch::Result<OpId> {
        self.pack.op(name)
    }
}

/// Pushes the address of a function's code.
fn address_of(builder: &mut FunctionBuilder, function: u32) {
    builder.constant(ValueType::I64, u64::from(function));
    builder.helper(ADDRESS, 1, &[ValueType::I64]);
}

fn plan<'p>(planner: &'p mut Planner, function: &Function) -> &'p Plan {
    planner.begin(function.signature.params.len() + function.locals.len());
    for (position, step) in function.body.iter().enumerate() {
        let position = position as u32;
        match step {
            Step::Get(var) => planner.get(position, *var),
            Step::Set(var) => planner.set(position, *var),
            Step::Tee(var) => planner.tee(position, *var),
            Step::Block(..) => planner.block(position),
            Step::Loop(..) => planner.loop_(position),
            Step::If(..) => planner.if_(position),
            Step::Else => planner.else_(position),
            Step::End => {
                planner.end(position);
            }
            Step::Call(_) | Step::CallPointer(_) | Step::Helper(_) => planner.call(position),
            // It asks a helper for the address.
            Step::TailCallPointer(_) => planner.call(position),
            _ => {}
        }
    }
    planner.finish()
}

/// What [`Context::host`] points at.
struct Host<'p> {
    program: &'p Program,
    code: &'p copatch::Program,
    calls: Vec<(u32, Vec<u128>)>,
}

/// Words of a slot.
fn stride(code: &copatch::Program) -> usize {
    code.slot_bytes() as usize / 8
}

/// The words of values, each at the beginning of a slot of that many.
fn slots(values: &[u128], stride: usize) -> Vec<u64> {
    let words = |value: &u128| [*value as u64, (value >> 64) as u64];
    values
        .iter()
        .flat_map(|value| words(value).into_iter().take(stride))
        .collect()
}

/// The values in slots of that many words.
fn values(slots: &[u64], stride: usize) -> Vec<u128> {
    let value = |slot: &[u64]| {
        let words = slot.iter().rev();
        words.fold(0, |value, word| value << 64 | u128::from(*word))
    };
    slots.chunks(stride.max(1)).map(value).collect()
}

/// A program has at most this many helpers: one for each type.
const HELPERS: usize = ValueType::ALL.len();
/// The helper that gives the address of a function's code.
const ADDRESS: u32 = HELPERS as u32;
static TABLE: [Helper; HELPERS + 1] = [
    helper::<0>,
    helper::<1>,
    helper::<2>,
    helper::<3>,
    helper::<4>,
    address,
];

/// Runs function 0.
fn run(code: &copatch::Program, program: &Program, mut world: World) -> Result<Outcome, String> {
    let first = program
        .functions
        .first()
        .ok_or("a program without functions")?;
    let entry = code
        .entry(program.functions.len() as u32)
        .ok_or("function 0 has no entry")?;
    let stack = Stack::new(STACK).map_err(|error| error.to_string())?;
    let mut host = Host {
        program,
        code,
        calls: Vec::new(),
    };
    let mut core = Context::new(stack.limit(), TABLE.as_ptr());
    core.host = (&raw mut host).cast();
    let (frame, stride) = (stack.base(), stride(code));
    let arguments = slots(&program.arguments, stride);
    let context: *mut Context = world.context.as_mut_ptr().cast();
    // SAFETY: the words begin with room for a context, 8-byte aligned. The stack is new and has room for the arguments.
    unsafe {
        context.write(core);
        std::ptr::copy_nonoverlapping(arguments.as_ptr(), frame, arguments.len());
    }
    // SAFETY: the entry is that of an entry wrapper, which takes its parameters from the frame. Context, helpers and
    // stack outlive the call and are this run's own. The dialect confines accesses to the memory and the context.
    let end = unsafe {
        copatch::call(
            code,
            entry,
            context,
            frame,
            world.memory.as_mut_ptr().cast(),
        )
    };
    let end = end.map_err(|trap| trap.kind).map(|()| {
        let count = first.signature.results.len();
        // SAFETY: the wrapper wrote the results to the first slots; the stack is still there.
        let words = unsafe { std::slice::from_raw_parts(frame, count * stride) };
        canonical_all(&first.signature.results, &values(words, stride))
    });
    Ok(world.outcome(end, host.calls))
}

unsafe extern "C" fn helper<const INDEX: u32>(context: *mut Context, words: *mut u64) -> u32 {
    let body = || {
        // SAFETY: `run` set `host` to a value that lives until the compiled code has ended.
        let host = unsafe { &mut *(*context).host.cast::<Host>() };
        let Some(signature) = host.program.helpers.get(INDEX as usize) else {
            return Err(copatch::trap_kind::HOST_ERROR);
        };
        let (count, stride) = (
            signature.params.len().max(signature.results.len()),
            stride(host.code),
        );
        // SAFETY: compiled code calls a helper with that many slots of its own frame.
        let words = unsafe { std::slice::from_raw_parts_mut(words, count * stride) };
        let results = help(&mut host.calls, INDEX, signature, &values(words, stride))?;
        let results = slots(&results, stride);
        words[..results.len()].copy_from_slice(&results);
        Ok(())
    };
    // SAFETY: the context is the one that the helper was called with.
    unsafe { helper_guard(context, body) }
}

unsafe extern "C" fn address(context: *mut Context, slots: *mut u64) -> u32 {
    let body = || {
        // SAFETY: as in `helper`; there is one slot.
        let (host, slot) = unsafe { (&*(*context).host.cast::<Host>(), &mut *slots) };
        let address = host
            .code
            .entry(*slot as u32)
            .ok_or(copatch::trap_kind::HOST_ERROR)?;
        *slot = address as u64;
        Ok(())
    };
    // SAFETY: the context is the one that the helper was called with.
    unsafe { helper_guard(context, body) }
}
