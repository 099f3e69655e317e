//! Program to machine code.
//!
//! [`lower`] says once what a function means in terms of the engine's stack machine. It runs twice: over a [`Planner`],
//! which finds out what is worth a register, and over a [`FunctionBuilder`], which generates the code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use copatch::{FunctionBuilder, OpId, Pack, Planner, Signature, Unit, ValueType};

use crate::program::{Function, Header, Notation, OPERATORS, Op, Program, Type};

/// Numbers of the helpers that compiled code calls.
pub(crate) mod helper {
    /// `print` of an int, a float, a bool: the number is this plus the type's.
    pub const PRINT: u32 = 0;
    /// `put`.
    pub const PUT: u32 = 3;
}

/// Bytes of code for one operation, generously; address space only.
const BYTES_PER_OPERATION: usize = 256;

/// Executable code of a program.
#[derive(Debug)]
pub(crate) struct Code {
    /// Function `i` of the program is function `i` here; that number plus the number of functions is its entry from
    /// outside.
    pub program: copatch::Program,
    /// How many operations were generated.
    pub operations: u64,
    pub scan: Duration,
    pub generate: Duration,
    pub publish: Duration,
}

/// Generates code for every function.
pub(crate) fn compile(program: &Program, pack: &Arc<Pack>, trace: bool) -> copatch::Result<Code> {
    let operations = Operations::resolve(pack)?;
    let signatures: Vec<Signature> = program
        .functions
        .iter()
        .map(|function| signature(&function.header))
        .collect();
    let count: usize = program
        .functions
        .iter()
        .map(|function| function.code.len() + 16)
        .sum();
    let mut unit = Unit::new(pack, (count + 64).saturating_mul(BYTES_PER_OPERATION))?;
    if trace {
        unit = unit.with_trace();
    }
    let begin = Instant::now();
    let mut scan = Duration::ZERO;
    let mut planner = Planner::new();
    let mut builder = FunctionBuilder::new(&mut unit);
    for (index, (function, signature)) in program.functions.iter().zip(&signatures).enumerate() {
        let scan_begin = Instant::now();
        planner.begin(function.locals.len());
        lower(
            function,
            &mut Scan {
                planner: &mut planner,
                position: 0,
            },
        );
        scan += scan_begin.elapsed();
        let variables: Vec<ValueType> = function
            .locals
            .iter()
            .skip(signature.params.len())
            .map(|local| value_type(local.ty))
            .collect();
        builder.begin(index as u32, signature, &variables, planner.finish());
        lower(
            function,
            &mut Generate {
                builder: &mut builder,
                operations: &operations,
                signatures: &signatures,
            },
        );
        builder.finish()?;
    }
    for (index, signature) in signatures.iter().enumerate() {
        builder.entry_wrapper((signatures.len() + index) as u32, index as u32, signature);
        builder.finish()?;
    }
    let operations = program
        .functions
        .iter()
        .map(|function| function.code.len() as u64);
    let operations = operations.sum();
    let generate = begin.elapsed();
    let program = unit.finish()?;
    Ok(Code {
        program,
        operations,
        scan,
        generate,
        publish: begin.elapsed() - generate,
    })
}

fn signature(header: &Header) -> Signature {
    Signature {
        params: header
            .params
            .iter()
            .map(|param| value_type(param.ty))
            .collect(),
        results: header.result.map(value_type).into_iter().collect(),
    }
}

fn value_type(ty: Type) -> ValueType {
    match ty {
        Type::Int => ValueType::I64,
        Type::Float => ValueType::F64,
        Type::Bool => ValueType::I32,
    }
}

/// The pack's operations by the numbers of operators.
struct Operations {
    operators: Vec<OpId>,
    load: OpId,
    store: OpId,
}

impl Operations {
    fn resolve(pack: &Pack) -> copatch::Result<Self> {
        let operators = OPERATORS
            .iter()
            .map(|operator| pack.op(operator.operation))
            .collect::<copatch::Result<_>>()?;
        Ok(Self {
            operators,
            load: pack.op("i64.load")?,
            store: pack.op("i64.store")?,
        })
    }
}

/// What a function is lowered to: the part of the engine's stack machine that the language needs.
trait Machine {
    fn at(&mut self, position: u32);
    fn constant(&mut self, ty: Type, bits: u64);
    fn get(&mut self, local: u32);
    fn set(&mut self, local: u32);
    fn drop_top(&mut self);
    fn operator(&mut self, number: u8);
    fn load(&mut self);
    fn store(&mut self);
    fn call(&mut self, function: u32);
    fn helper(&mut self, number: u32);
    fn loop_(&mut self);
    fn if_(&mut self, results: &[ValueType]);
    fn else_(&mut self);
    fn end(&mut self);
    /// Branches to the construct that many levels out: to the start of a loop, to the end of anything else.
    fn br(&mut self, depth: u32);
    fn return_(&mut self);
}

/// A construct of the language that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A loop before its condition is known: one construct of the machine.
    Condition,
    /// `while c { body }` is `loop { if c { body; continue } }`: two constructs of the machine.
    While,
    And,
    /// Anything else that is one construct of the machine.
    Plain,
}

/// Says what a function means. Positions are twice the number of an operation.
fn lower(function: &Function, machine: &mut impl Machine) {
    let mut open: Vec<Open> = Vec::new();
    for (position, op) in function.code.iter().enumerate() {
        // Every other position is left for the end of a loop, which lies after the jump back to its beginning.
        let position = 2 * position as u32;
        machine.at(position);
        match *op {
            Op::Int(value) => machine.constant(Type::Int, value as u64),
            Op::Float(bits) => machine.constant(Type::Float, bits),
            Op::Bool(value) => machine.constant(Type::Bool, value.into()),
            Op::Get(local) => machine.get(local),
            Op::Let(local) | Op::Set(local) => machine.set(local),
            Op::Load => machine.load(),
            Op::Store => machine.store(),
            Op::Apply(number) => machine.operator(number),
            Op::Call(callee) => machine.call(callee),
            Op::Print(ty) => machine.helper(helper::PRINT + ty as u32),
            Op::Put => machine.helper(helper::PUT),
            Op::Discard => machine.drop_top(),
            Op::And => {
                machine.if_(&[ValueType::I32]);
                open.push(Open::And);
            }
            Op::Or => {
                machine.if_(&[ValueType::I32]);
                machine.constant(Type::Bool, 1);
                machine.else_();
                open.push(Open::Plain);
            }
            Op::If => {
                machine.if_(&[]);
                open.push(Open::Plain);
            }
            Op::Else => machine.else_(),
            Op::Loop => {
                machine.loop_();
                open.push(Open::Condition);
            }
            Op::While => {
                machine.if_(&[]);
                open.pop();
                open.push(Open::While);
            }
            Op::Break => machine.br(out_of_loop(&open)),
            Op::Continue => machine.br(out_of_loop(&open) + 1),
            Op::Return => machine.return_(),
            Op::End => {
                match open.pop() {
                    Some(Open::And) => {
                        machine.else_();
                        machine.constant(Type::Bool, 0);
                    }
                    Some(Open::While) => {
                        machine.br(1);
                        machine.at(position + 1);
                        machine.end();
                    }
                    _ => {}
                }
                machine.end();
            }
        }
    }
}

/// How many levels of the machine's constructs out the `if` of the innermost loop lies: its end leaves the loop.
fn out_of_loop(open: &[Open]) -> u32 {
    open.iter()
        .rev()
        .take_while(|construct| **construct != Open::While)
        .count() as u32
}

/// The pre-scan.
struct Scan<'p> {
    planner: &'p mut Planner,
    position: u32,
}

impl Machine for Scan<'_> {
    fn at(&mut self, position: u32) {
        self.position = position;
    }
    fn get(&mut self, local: u32) {
        self.planner.get(self.position, local);
    }
    fn set(&mut self, local: u32) {
        self.planner.set(self.position, local);
    }
    fn call(&mut self, _function: u32) {
        self.planner.call(self.position);
    }
    fn helper(&mut self, _number: u32) {
        self.planner.call(self.position);
    }
    fn loop_(&mut self) {
        self.planner.loop_(self.position);
    }
    fn if_(&mut self, _results: &[ValueType]) {
        self.planner.if_(self.position);
    }
    fn else_(&mut self) {
        self.planner.else_(self.position);
    }
    fn end(&mut self) {
        self.planner.end(self.position);
    }
    fn constant(&mut self, _ty: Type, _bits: u64) {}
    fn drop_top(&mut self) {}
    fn operator(&mut self, _number: u8) {}
    fn load(&mut self) {}
    fn store(&mut self) {}
    fn br(&mut self, _depth: u32) {}
    fn return_(&mut self) {}
}

/// The generation of code.
struct Generate<'b, 'u, 'p> {
    builder: &'b mut FunctionBuilder<'u, 'p>,
    operations: &'b Operations,
    signatures: &'b [Signature],
}

impl Machine for Generate<'_, '_, '_> {
    fn at(&mut self, position: u32) {
        self.builder.at(position);
    }
    fn constant(&mut self, ty: Type, bits: u64) {
        self.builder.constant(value_type(ty), bits);
    }
    fn get(&mut self, local: u32) {
        self.builder.get(local);
    }
    fn set(&mut self, local: u32) {
        self.builder.set(local);
    }
    fn drop_top(&mut self) {
        self.builder.drop_top();
    }
    fn operator(&mut self, number: u8) {
        let index = usize::from(number);
        let (operation, operator) = (self.operations.operators[index], &OPERATORS[index]);
        if operator.notation == Notation::Prefix("!") {
            // A comparison that is only branched on is turned round instead.
            self.builder.not(operation);
        } else {
            self.builder.op(operation);
        }
    }
    fn load(&mut self) {
        self.builder.op(self.operations.load);
    }
    fn store(&mut self) {
        self.builder.op(self.operations.store);
    }
    fn call(&mut self, function: u32) {
        self.builder
            .call(function, &self.signatures[function as usize]);
    }
    fn helper(&mut self, number: u32) {
        self.builder.helper(number, 1, &[]);
    }
    fn loop_(&mut self) {
        self.builder.loop_(&[], &[]);
    }
    fn if_(&mut self, results: &[ValueType]) {
        self.builder.if_(&[], results);
    }
    fn else_(&mut self) {
        self.builder.else_();
    }
    fn end(&mut self) {
        self.builder.end();
    }
    fn br(&mut self, depth: u32) {
        self.builder.br(depth);
    }
    fn return_(&mut self) {
        self.builder.return_();
    }
}
