//! Whether a program is one: types, heights and labels, by the rules of the function builder. Generated programs are
//! valid; programs that people write by hand are checked before anything runs them.

use copatch::{Signature, ValueType};
use copatch_spec::pack::Metadata;

use crate::program::{Function, Program, Step};

/// Checks a program against an op table.
///
/// # Errors
/// The function, the step and what is wrong there.
pub fn check(program: &Program, metadata: &Metadata) -> Result<(), String> {
    let first = program
        .functions
        .first()
        .ok_or("a program without functions")?;
    if first.signature.params.len() != program.arguments.len() {
        return Err("arguments do not fit function 0".to_owned());
    }
    for (index, function) in program.functions.iter().enumerate() {
        let mut checker = Checker {
            program,
            metadata,
            function,
            stack: Vec::new(),
            frames: vec![Frame::new(&[], &function.signature.results, 0, Kind::Block)],
        };
        for (at, step) in function.body.iter().enumerate() {
            checker
                .step(step)
                .map_err(|what| format!("function {index}, step {at}, {step:?}: {what}"))?;
        }
        if !checker.frames.is_empty() {
            return Err(format!("function {index} has no end"));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
    If,
}

struct Frame {
    params: Vec<ValueType>,
    results: Vec<ValueType>,
    height: usize,
    kind: Kind,
    /// Control cannot get here: operands are whatever is asked for.
    dead: bool,
}

impl Frame {
    fn new(params: &[ValueType], results: &[ValueType], height: usize, kind: Kind) -> Self {
        Self {
            params: params.to_vec(),
            results: results.to_vec(),
            height,
            kind,
            dead: false,
        }
    }

    /// What a branch to it carries.
    fn label(&self) -> &[ValueType] {
        if self.kind == Kind::Loop {
            &self.params
        } else {
            &self.results
        }
    }
}

struct Checker<'c> {
    program: &'c Program,
    metadata: &'c Metadata,
    function: &'c Function,
    stack: Vec<ValueType>,
    frames: Vec<Frame>,
}

type Check = Result<(), String>;

impl<'c> Checker<'c> {
    /// The function of that number.
    fn callee(&self, number: u32) -> Result<&'c Function, String> {
        let function = self.program.functions.get(number as usize);
        function.ok_or_else(|| "no such function".to_owned())
    }

    fn step(&mut self, step: &Step) -> Check {
        match step {
            Step::Constant(ty, _) => self.stack.push(*ty),
            Step::Get(var) => {
                let ty = self.variable(*var)?;
                self.stack.push(ty);
            }
            Step::Set(var) => self.pop(&[self.variable(*var)?])?,
            Step::Tee(var) => {
                let ty = self.variable(*var)?;
                self.pop(&[ty])?;
                self.stack.push(ty);
            }
            Step::Drop => {
                if self.stack.len() > self.top()?.height {
                    self.stack.pop();
                } else if !self.top()?.dead {
                    return Err("nothing to drop".to_owned());
                }
            }
            Step::Op(name, immediates) => {
                let operation = self
                    .metadata
                    .ops
                    .iter()
                    .find(|op| op.name == *name)
                    .ok_or("no such operation")?;
                if operation.immediates.len() != immediates.len() {
                    return Err("the wrong number of immediates".to_owned());
                }
                let ranges = operation.immediates.iter().map(|ty| ty.range());
                if !ranges
                    .zip(immediates)
                    .all(|((lo, hi), value)| (lo..=hi).contains(value))
                {
                    return Err("an immediate out of range".to_owned());
                }
                self.pop(&operation.operands)?;
                self.stack.extend(operation.result);
            }
            Step::Select(ty) => {
                self.pop(&[*ty, *ty, ValueType::I32])?;
                self.stack.push(*ty);
            }
            Step::Block(params, results) => self.open(params, results, Kind::Block)?,
            Step::Loop(params, results) => self.open(params, results, Kind::Loop)?,
            Step::If(params, results) => {
                self.pop(&[ValueType::I32])?;
                self.open(params, results, Kind::If)?;
            }
            Step::Else => {
                let frame = self.close()?;
                if frame.kind != Kind::If {
                    return Err("an else without an if".to_owned());
                }
                self.stack.extend(&frame.params);
                self.frames.push(Frame::new(
                    &frame.params,
                    &frame.results,
                    frame.height,
                    Kind::Block,
                ));
            }
            Step::End => {
                let frame = self.close()?;
                if frame.kind == Kind::If && frame.params != frame.results {
                    return Err("an if without an else must give what it takes".to_owned());
                }
                self.stack.extend(frame.results);
            }
            Step::Br(depth) => {
                self.branch(*depth)?;
                self.die()?;
            }
            Step::BrIf(depth) => {
                self.pop(&[ValueType::I32])?;
                let label = self.branch(*depth)?;
                self.stack.extend(label);
            }
            Step::BrTable(targets, default) => {
                self.pop(&[ValueType::I32])?;
                let label = self.branch(*default)?;
                for target in targets {
                    self.stack.extend(&label);
                    if self.branch(*target)? != label {
                        return Err("targets of a table differ in type".to_owned());
                    }
                }
                self.die()?;
            }
            Step::Return => {
                let results = self.function.signature.results.clone();
                self.pop(&results)?;
                self.die()?;
            }
            Step::Trap(kind) => {
                self.metadata
                    .traps
                    .get(usize::from(*kind))
                    .ok_or("no such trap")?;
                self.die()?;
            }
            Step::Call(callee) | Step::CallPointer(callee) => {
                let callee = self.callee(*callee)?;
                self.call(&callee.signature)?;
            }
            Step::TailCall(callee) | Step::TailCallPointer(callee) => {
                let callee = self.callee(*callee)?;
                if callee.signature.results != self.function.signature.results {
                    return Err("a tail call of a function that returns other types".to_owned());
                }
                self.pop(&callee.signature.params)?;
                self.die()?;
            }
            Step::Helper(index) => {
                let signature = self
                    .program
                    .helpers
                    .get(*index as usize)
                    .ok_or("no such helper")?;
                self.call(signature)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, signature: &Signature) -> Check {
        self.pop(&signature.params)?;
        self.stack.extend(&signature.results);
        Ok(())
    }

    fn top(&self) -> Result<&Frame, String> {
        self.frames
            .last()
            .ok_or_else(|| "a step after the end".to_owned())
    }

    fn die(&mut self) -> Check {
        let frame = self.frames.last_mut().ok_or("a step after the end")?;
        frame.dead = true;
        self.stack.truncate(frame.height);
        Ok(())
    }

    fn variable(&self, index: u32) -> Result<ValueType, String> {
        self.function
            .variable(index)
            .ok_or_else(|| "no such variable".to_owned())
    }

    /// Pops operands of these types; the last is on top.
    fn pop(&mut self, types: &[ValueType]) -> Check {
        for ty in types.iter().rev() {
            let Frame { height, dead, .. } = *self.top()?;
            match self.stack.last() {
                Some(found) if self.stack.len() > height => {
                    if found != ty {
                        return Err(format!("{found:?} where {ty:?} is wanted"));
                    }
                    self.stack.pop();
                }
                _ if dead => {}
                _ => return Err(format!("nothing where {ty:?} is wanted")),
            }
        }
        Ok(())
    }

    fn open(&mut self, params: &[ValueType], results: &[ValueType], kind: Kind) -> Check {
        self.pop(params)?;
        self.frames
            .push(Frame::new(params, results, self.stack.len(), kind));
        self.stack.extend(params);
        Ok(())
    }

    fn close(&mut self) -> Result<Frame, String> {
        let results = self.top()?.results.clone();
        self.pop(&results)?;
        let frame = self.frames.pop().ok_or("a step after the end")?;
        if self.stack.len() == frame.height {
            Ok(frame)
        } else {
            Err("operands are left over".to_owned())
        }
    }

    /// Pops what a branch carries, and gives its types.
    fn branch(&mut self, depth: u32) -> Result<Vec<ValueType>, String> {
        let at = self
            .frames
            .len()
            .checked_sub(depth as usize + 1)
            .ok_or("no such label")?;
        let label = self.frames[at].label().to_vec();
        self.pop(&label)?;
        Ok(label)
    }
}
