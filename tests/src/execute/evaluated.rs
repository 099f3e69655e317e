//! An interpreter for any instruction set: control is its own, operations are the pack's evaluators. It shares the C
//! bodies with compiled code, but no register, no slot, no patch and no jump.

use std::sync::Arc;

use copatch::{EvalOutcome, Evaluators, Pack, Signature, ValueType};

use super::{Executor, Outcome, World, canonical_all, help};
use crate::dialect::Dialect;
use crate::program::{Program, Step};

/// Programs that run longer are a fault of the generator.
const STEPS: u64 = 2_000_000;

/// Interpreted by the evaluators of a pack.
pub struct Evaluated {
    pack: Arc<Pack>,
    evaluators: Evaluators,
}

impl Evaluated {
    /// An interpreter with this pack's evaluators.
    ///
    /// # Errors
    /// When they cannot be made executable.
    pub fn new(pack: Arc<Pack>) -> copatch::Result<Self> {
        let evaluators = Evaluators::new(&pack)?;
        Ok(Self { pack, evaluators })
    }
}

impl Executor for Evaluated {
    fn name(&self) -> String {
        "evaluated".to_owned()
    }

    fn run(&self, program: &Program, dialect: &dyn Dialect) -> Result<Outcome, String> {
        let mut machine = Machine {
            executor: self,
            program,
            world: World::new(dialect),
            calls: Vec::new(),
            steps: STEPS,
        };
        let end = match machine.call(0, program.arguments.clone()) {
            Ok(results) => {
                let types = program
                    .functions
                    .first()
                    .map_or(&[][..], |first| &first.signature.results);
                Ok(canonical_all(types, &results))
            }
            Err(Stop::Trap(kind)) => Err(kind),
            Err(Stop::Broken(what)) => return Err(what),
        };
        Ok(machine.world.outcome(end, machine.calls))
    }
}

enum Stop {
    Trap(u8),
    /// The program, or an evaluator, is not what it should be.
    Broken(String),
}

fn broken(what: &str) -> Stop {
    Stop::Broken(what.to_owned())
}

struct Machine<'m> {
    executor: &'m Evaluated,
    program: &'m Program,
    world: World,
    calls: Vec<(u32, Vec<u128>)>,
    steps: u64,
}

/// An open construct.
struct Frame {
    /// Where a branch to it goes on.
    target: usize,
    /// How many operands a branch carries.
    arity: usize,
    /// How many lie below those it began with.
    height: usize,
    is_loop: bool,
}

impl Machine<'_> {
    fn call(&mut self, index: usize, mut variables: Vec<u128>) -> Result<Vec<u128>, Stop> {
        let function = self
            .program
            .functions
            .get(index)
            .ok_or_else(|| broken("no such function"))?;
        let body = function.body.as_slice();
        let ends = ends(body);
        variables.resize(function.signature.params.len() + function.locals.len(), 0);
        let mut stack: Vec<u128> = Vec::new();
        let results = function.signature.results.len();
        let mut frames = vec![Frame {
            target: body.len(),
            arity: results,
            height: 0,
            is_loop: false,
        }];
        let mut next = 0;
        loop {
            self.steps = self
                .steps
                .checked_sub(1)
                .ok_or_else(|| broken("the program does not end"))?;
            let (step, end) = match (body.get(next), ends.get(next)) {
                (Some(step), Some(end)) => (step, *end),
                // A branch to the function itself, or its end.
                _ => return Ok(stack),
            };
            next += 1;
            let mut branch = None;
            match step {
                Step::Constant(ty, bits) => {
                    let both = u128::from(*bits) << 64 | u128::from(*bits);
                    stack.push(canonical_bits(*ty, both));
                }
                Step::Get(var) => stack.push(
                    *variables
                        .get(*var as usize)
                        .ok_or_else(|| broken("no such variable"))?,
                ),
                Step::Set(var) | Step::Tee(var) => {
                    let value = pop(&mut stack)?;
                    *variables
                        .get_mut(*var as usize)
                        .ok_or_else(|| broken("no such variable"))? = value;
                    if matches!(step, Step::Tee(_)) {
                        stack.push(value);
                    }
                }
                Step::Drop => drop(pop(&mut stack)?),
                Step::Op(name, immediates) => self.operation(name, immediates, &mut stack)?,
                Step::Select(_) => {
                    let (condition, second, first) =
                        (pop(&mut stack)?, pop(&mut stack)?, pop(&mut stack)?);
                    stack.push(if condition as u32 != 0 { first } else { second });
                }
                Step::Block(params, results) => {
                    let height = stack.len().saturating_sub(params.len());
                    frames.push(Frame {
                        target: end.end + 1,
                        arity: results.len(),
                        height,
                        is_loop: false,
                    });
                }
                Step::Loop(params, _) => {
                    let height = stack.len().saturating_sub(params.len());
                    frames.push(Frame {
                        target: next,
                        arity: params.len(),
                        height,
                        is_loop: true,
                    });
                }
                Step::If(params, results) => {
                    let condition = pop(&mut stack)? as u32 != 0;
                    let height = stack.len().saturating_sub(params.len());
                    frames.push(Frame {
                        target: end.end + 1,
                        arity: results.len(),
                        height,
                        is_loop: false,
                    });
                    if !condition {
                        next = end.arm.map_or(end.end, |arm| arm + 1);
                    }
                }
                // The first arm came to its end.
                Step::Else => next = end.end,
                Step::End => drop(frames.pop()),
                Step::Br(depth) => branch = Some(*depth),
                Step::BrIf(depth) => {
                    if pop(&mut stack)? as u32 != 0 {
                        branch = Some(*depth);
                    }
                }
                Step::BrTable(targets, default) => {
                    let index = pop(&mut stack)? as u32 as usize;
                    branch = Some(*targets.get(index).unwrap_or(default));
                }
                Step::Return => branch = Some(frames.len() as u32 - 1),
                Step::Trap(kind) => return Err(Stop::Trap(*kind)),
                Step::Call(callee) | Step::CallPointer(callee) => {
                    let arguments = self.arguments(*callee, &mut stack)?;
                    stack.extend(self.call(*callee as usize, arguments)?);
                }
                // Programs of the kit are not so deep that it would matter what a tail call leaves behind.
                Step::TailCall(callee) | Step::TailCallPointer(callee) => {
                    let arguments = self.arguments(*callee, &mut stack)?;
                    return self.call(*callee as usize, arguments);
                }
                Step::Helper(index) => {
                    let nothing = Signature::default();
                    let signature = self
                        .program
                        .helpers
                        .get(*index as usize)
                        .unwrap_or(&nothing);
                    let arguments = top(&mut stack, signature.params.len())?;
                    let results =
                        help(&mut self.calls, *index, signature, &arguments).map_err(Stop::Trap)?;
                    stack.extend(results);
                }
            }
            if let Some(depth) = branch {
                let at = frames
                    .len()
                    .checked_sub(depth as usize + 1)
                    .ok_or_else(|| broken("no such label"))?;
                let frame = &frames[at];
                next = frame.target;
                let carried = top(&mut stack, frame.arity)?;
                stack.truncate(frame.height);
                stack.extend(carried);
                let stays = usize::from(frame.is_loop);
                frames.truncate(at + stays);
            }
        }
    }

    /// Pops the arguments of a function.
    fn arguments(&self, callee: u32, stack: &mut Vec<u128>) -> Result<Vec<u128>, Stop> {
        let callee = self.program.functions.get(callee as usize);
        top(
            stack,
            callee.map_or(0, |callee| callee.signature.params.len()),
        )
    }

    fn operation(
        &mut self,
        name: &str,
        immediates: &[i64],
        stack: &mut Vec<u128>,
    ) -> Result<(), Stop> {
        let pack = &self.executor.pack;
        let id = pack
            .op(name)
            .map_err(|error| Stop::Broken(error.to_string()))?;
        let operation = &pack.metadata().ops[id.index()];
        let operands = top(stack, operation.operands.len())?;
        let mut words = Vec::with_capacity(operands.len());
        for (ty, operand) in operation.operands.iter().zip(operands) {
            words.push(operand as u64);
            if *ty == ValueType::V128 {
                words.push((operand >> 64) as u64);
            }
        }
        let result = self.evaluate(id, &words, immediates)?;
        stack.extend(operation.result.map(|ty| canonical_bits(ty, result)));
        Ok(())
    }

    #[allow(unsafe_code)] // Calls the pack's code on memory.
    fn evaluate(
        &mut self,
        op: copatch::OpId,
        operands: &[u64],
        immediates: &[i64],
    ) -> Result<u128, Stop> {
        let immediates: Vec<u64> = immediates.iter().map(|value| *value as u64).collect();
        let memory = self.world.memory.as_mut_ptr().cast::<u8>();
        let context = self.world.context.as_mut_ptr().cast();
        let evaluators = &self.executor.evaluators;
        // SAFETY: operands and immediates are as many as the operation has, since the program is valid; the dialect
        // confines accesses to the memory and the context, which are this run's own. Operations do not use the frame.
        let ended = unsafe {
            evaluators.eval(
                op,
                memory,
                context,
                std::ptr::null_mut(),
                operands,
                &immediates,
            )
        };
        match ended {
            Ok(EvalOutcome::Value(result)) => Ok(result),
            // Evaluators count an operation's own traps.
            Ok(EvalOutcome::Trap(number)) => {
                let operation = &self.executor.pack.metadata().ops[op.index()];
                let kind = operation.traps.get(usize::from(number));
                Err(kind.map_or_else(
                    || broken("an evaluator raises a trap that its operation has not"),
                    |kind| Stop::Trap(*kind),
                ))
            }
            Err(error) => Err(Stop::Broken(error.to_string())),
        }
    }
}

/// The bits of a value of that type; unlike [`crate::generate::canonical`], NaNs stay as they are.
fn canonical_bits(ty: ValueType, bits: u128) -> u128 {
    match ty {
        ValueType::I32 | ValueType::F32 => u128::from(bits as u32),
        ValueType::I64 | ValueType::F64 => u128::from(bits as u64),
        ValueType::V128 => bits,
    }
}

fn pop(stack: &mut Vec<u128>) -> Result<u128, Stop> {
    stack.pop().ok_or_else(|| broken("the stack is empty"))
}

/// Pops that many values; the last was on top.
fn top(stack: &mut Vec<u128>, count: usize) -> Result<Vec<u128>, Stop> {
    let first = stack
        .len()
        .checked_sub(count)
        .ok_or_else(|| broken("the stack is too short"))?;
    Ok(stack.split_off(first))
}

/// Where a construct goes on.
#[derive(Clone, Copy, Default)]
struct End {
    /// Its `End`.
    end: usize,
    /// The `Else` of an `If`.
    arm: Option<usize>,
}

/// For each step that opens a construct, and for each `Else`, where that ends.
fn ends(body: &[Step]) -> Vec<End> {
    let mut ends = vec![End::default(); body.len()];
    let mut open: Vec<usize> = Vec::new();
    for (index, step) in body.iter().enumerate() {
        match step {
            Step::Block(..) | Step::Loop(..) | Step::If(..) => open.push(index),
            Step::Else => {
                if let Some(start) = open.last() {
                    ends[*start].arm = Some(index);
                }
            }
            Step::End => {
                if let Some(start) = open.pop() {
                    ends[start].end = index;
                    if let Some(arm) = ends[start].arm {
                        ends[arm].end = index;
                    }
                }
            }
            _ => {}
        }
    }
    ends
}
