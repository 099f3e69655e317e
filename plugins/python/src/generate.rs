//! Steps to machine code: one pass for the plan, one for the code.

use std::sync::Arc;

use copatch::{FunctionBuilder, OpId, Pack, Planner, Program, Signature, Unit, ValueType};

use crate::helpers::Number;
use crate::ir::{Function, NAMES, Name, Step, Type};

/// Bytes of address space for the code of one step, generously.
const BYTES_PER_STEP: usize = 128;

/// The pack's operations, in the order of [`NAMES`].
#[derive(Debug)]
pub struct Operations([OpId; NAMES.len()]);

impl Operations {
    /// Finds them.
    ///
    /// # Errors
    /// When the pack lacks one.
    pub fn new(pack: &Pack) -> copatch::Result<Self> {
        let mut ids = [pack.op(NAMES[0])?; NAMES.len()];
        for (id, name) in ids.iter_mut().zip(NAMES) {
            *id = pack.op(name)?;
        }
        Ok(Self(ids))
    }

    fn get(&self, name: Name) -> OpId {
        self.0[name as usize]
    }
}

/// The parameters and results of a function's code: its value, and not zero if that is not all.
pub fn signature(params: &[Type], result: Type) -> Signature {
    let result = result.parts().first().copied().unwrap_or(ValueType::I64);
    Signature {
        params: params
            .iter()
            .flat_map(|ty| ty.parts().iter().copied())
            .collect(),
        results: vec![result, ValueType::I32],
    }
}

/// Generates code for functions that call each other by their number; the entry of function `i` for C is number
/// `functions.len() + i`. `structured` has each function's steps, `address` is what helpers find their exits by.
///
/// # Errors
/// When code has no place.
pub fn generate(
    functions: &[Function],
    structured: &[Vec<Step>],
    pack: &Arc<Pack>,
    operations: &Operations,
    address: u64,
) -> copatch::Result<Program> {
    let signatures: Vec<Signature> = functions
        .iter()
        .map(|function| signature(&function.params, function.result))
        .collect();
    let count: usize = structured.iter().map(|steps| steps.len() + 64).sum();
    let stores: usize = functions
        .iter()
        .map(|function| function.exits.len() * 24)
        .sum();
    let mut unit = Unit::new(pack, (count + stores) * BYTES_PER_STEP)?;
    let mut builder = FunctionBuilder::new(&mut unit);
    let mut planner = Planner::new();
    for (index, (function, steps)) in functions.iter().zip(structured).enumerate() {
        let mut vars = function.vars.clone();
        let number = vars.len() as u32;
        vars.push(ValueType::I64);
        plan(function, steps, &mut planner, vars.len());
        let params = signatures[index].params.len();
        builder.begin(
            index as u32,
            &signatures[index],
            &vars[params..],
            planner.finish(),
        );
        // Nothing is read before it is written.
        (params as u32..number).for_each(|var| builder.forget(var));
        let calls = calls(steps);
        let mut at = 0;
        if calls {
            builder.op(operations.get(Name::Enter));
            builder.exit_if(0);
        }
        for step in steps {
            at += 1;
            builder.at(at);
            if let Step::Helper(Number::Attend, ..) = step {
                builder.constant(ValueType::I64, address);
            }
            build(*step, &mut builder, operations, &signatures, calls);
        }
        if builder.reachable() {
            // Every way ends in a return or an exit; this one is never taken.
            builder.exit(0);
        }
        builder.at(at + 1);
        if builder.exits(number) {
            builder.get(number);
            builder.constant(ValueType::I64, index as u64);
            builder.constant(ValueType::I64, address);
            builder.helper(Number::Leave as u32, 3, &signatures[index].results);
            builder.return_();
        }
        builder.end();
        builder.finish()?;
    }
    for (index, signature) in signatures.iter().enumerate() {
        builder.entry_wrapper((functions.len() + index) as u32, index as u32, signature);
        builder.finish()?;
    }
    unit.finish()
}

/// Whether a function calls compiled functions: then it counts among the calls that are open.
pub fn calls(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Call(_)))
}

fn plan(function: &Function, steps: &[Step], planner: &mut Planner, vars: usize) {
    planner.begin(vars);
    let mut at = 0;
    // What is forgotten at once deserves no register of a loop's.
    let mut momentary = vec![false; vars];
    for var in &function.scratch {
        momentary[*var as usize] = true;
    }
    for step in steps {
        at += 1;
        match *step {
            Step::Get(var) | Step::Set(var) if momentary[var as usize] => {}
            Step::Get(var) => planner.get(at, var),
            Step::Set(var) => planner.set(at, var),
            // What is rare costs no register.
            Step::Helper(
                Number::Attend
                | Number::IntValue
                | Number::SetInt
                | Number::SetFloat
                | Number::SetBool
                | Number::Release,
                ..,
            ) => {}
            Step::Call(_) | Step::Helper(..) => planner.call(at),
            Step::ExitIf(number) | Step::Exit(number) => {
                for var in function.exits[number as usize].variables() {
                    planner.get(at, var);
                }
            }
            Step::Loop => planner.loop_(at),
            Step::Block => planner.block(at),
            Step::If => planner.if_(at),
            Step::Else => planner.else_(at),
            Step::End => {
                planner.end(at);
            }
            _ => {}
        }
    }
    for var in &function.scratch {
        planner.get(at + 1, *var);
    }
    // Exits call a helper.
    planner.call(at + 1);
}

fn build(
    step: Step,
    builder: &mut FunctionBuilder<'_, '_>,
    operations: &Operations,
    signatures: &[Signature],
    calls: bool,
) {
    match step {
        Step::Get(var) => builder.get(var),
        Step::Set(var) => builder.set(var),
        Step::Const(ty, bits) => builder.constant(ty, bits),
        Step::Op(Name::Leave) if !calls => {}
        Step::Op(name) => builder.op(operations.get(name)),
        Step::OpImm(name, immediate) => {
            builder.op_imm(operations.get(name), &[i64::from(immediate)]);
        }
        Step::Helper(number, params, results) => builder.helper(number as u32, params, results),
        Step::Call(function) => builder.call(function, &signatures[function as usize]),
        Step::Drop => builder.drop_top(),
        Step::Forget(var) => builder.forget(var),
        Step::ExitIf(number) => builder.exit_if(number),
        Step::Exit(number) => builder.exit(number),
        Step::Not => builder.not(operations.get(Name::Eqz32)),
        Step::Loop => builder.loop_(&[], &[]),
        Step::Block => builder.block(&[], &[]),
        Step::If => builder.if_(&[], &[]),
        Step::Else => builder.else_(),
        Step::End => builder.end(),
        Step::Br(depth) => builder.br(depth),
        Step::BrIf(depth) => builder.br_if(depth),
        Step::Return => builder.return_(),
    }
}
