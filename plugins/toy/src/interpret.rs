//! Runs a program without generating code: slow, obvious, and the judge of compiled code.

use crate::program::{Function, OPERATORS, Op, Program, Trap, Type};

/// Calls nested deeper than this end in [`Trap::StackOverflow`].
const DEPTH: usize = 100_000;

/// Where a program's output goes.
pub trait Output {
    /// Writes a value on a line of its own. `word` holds an integer, the bits of a float, or a truth value.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn print(&mut self, ty: Type, word: u64) -> std::io::Result<()> {
        let line = match ty {
            Type::Int => format!("{}\n", word as i64),
            Type::Float => format!("{:?}\n", f64::from_bits(word)),
            Type::Bool => format!("{}\n", word != 0),
        };
        line.bytes().try_for_each(|byte| self.put(byte))
    }

    /// Writes a byte.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn put(&mut self, byte: u8) -> std::io::Result<()>;
}

impl<W: std::io::Write> Output for W {
    fn put(&mut self, byte: u8) -> std::io::Result<()> {
        self.write_all(&[byte])
    }
}

/// How a run ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The program did something that it must not.
    Trap(Trap),
    /// The budget was used up.
    Steps,
    /// There is no such function, or it takes other arguments.
    Usage,
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Self {
        Stop::Trap(trap)
    }
}

/// Calls the function of that number. Arguments and the result are words: an integer, the bits of a float, 0 or 1.
///
/// # Errors
/// When the program does not run to its end within `steps` operations.
pub fn interpret(
    program: &Program,
    function: usize,
    arguments: &[u64],
    output: &mut dyn Output,
    mut steps: u64,
) -> Result<Option<u64>, Stop> {
    let partners: Vec<Vec<usize>> = program.functions.iter().map(partners).collect();
    let mut array = vec![
        0;
        program
            .array
            .as_ref()
            .map_or(0, |array| array.length as usize)
    ];
    let callee = program.functions.get(function).ok_or(Stop::Usage)?;
    if callee.header.params.len() != arguments.len() {
        return Err(Stop::Usage);
    }
    let mut frames = Vec::new();
    let mut frame = Frame {
        function,
        next: 0,
        locals: 0,
        floor: 0,
    };
    let mut locals = arguments.to_vec();
    locals.resize(callee.locals.len(), 0);
    let mut stack: Vec<u64> = Vec::new();
    loop {
        let Frame { function, next, .. } = frame;
        let (Some(op), Some(partner)) = (
            program
                .functions
                .get(function)
                .and_then(|function| function.code.get(next)),
            partners
                .get(function)
                .and_then(|partners| partners.get(next)),
        ) else {
            return Err(Stop::Usage);
        };
        steps = steps.checked_sub(1).ok_or(Stop::Steps)?;
        frame.next += 1;
        let mut pop = || stack.pop().ok_or(Stop::Usage);
        match *op {
            Op::Int(value) => stack.push(value as u64),
            Op::Float(bits) => stack.push(bits),
            Op::Bool(value) => stack.push(value.into()),
            Op::Get(local) => stack.push(locals[frame.locals + local as usize]),
            Op::Let(local) | Op::Set(local) => locals[frame.locals + local as usize] = pop()?,
            Op::Load => {
                let index = pop()?;
                stack.push(*array.get(index as usize).ok_or(Trap::Index)?);
            }
            Op::Store => {
                let (value, index) = (pop()?, pop()?);
                *array.get_mut(index as usize).ok_or(Trap::Index)? = value;
            }
            Op::Apply(number) => {
                let operator = &OPERATORS[usize::from(number)];
                let second = if operator.operands.len() == 2 {
                    pop()?
                } else {
                    0
                };
                let first = pop()?;
                stack.push((operator.meaning)(first, second)?);
            }
            Op::Print(ty) => output.print(ty, pop()?).map_err(|_| Trap::Host)?,
            Op::Put => output.put(pop()? as u8).map_err(|_| Trap::Host)?,
            Op::Discard => drop(pop()?),
            Op::And | Op::Or => {
                let decided = u64::from(*op == Op::Or);
                if pop()? == decided {
                    stack.push(decided);
                    frame.next = partner + 1;
                }
            }
            Op::If | Op::While => {
                if pop()? == 0 {
                    frame.next = partner + 1;
                }
            }
            Op::Else | Op::Break => frame.next = partner + 1,
            Op::Continue => frame.next = *partner,
            Op::Loop => {}
            Op::End if *partner != next => frame.next = *partner,
            Op::End if frame.next < program.functions[function].code.len() => {}
            Op::End | Op::Return => {
                let result = program.functions[function]
                    .header
                    .result
                    .and_then(|_| stack.pop());
                locals.truncate(frame.locals);
                stack.truncate(frame.floor);
                match frames.pop() {
                    Some(caller) => {
                        frame = caller;
                        stack.extend(result);
                    }
                    None => return Ok(result),
                }
            }
            Op::Call(callee) => {
                if frames.len() == DEPTH {
                    return Err(Trap::StackOverflow.into());
                }
                let header = &program.functions[callee as usize];
                let first = stack.len() - header.header.params.len();
                frames.push(frame);
                frame = Frame {
                    function: callee as usize,
                    next: 0,
                    locals: locals.len(),
                    floor: first,
                };
                locals.extend(stack.drain(first..));
                locals.resize(frame.locals + header.locals.len(), 0);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Frame {
    function: usize,
    /// The next operation.
    next: usize,
    /// Where its locals begin.
    locals: usize,
    /// Where its part of the stack begins.
    floor: usize,
}

/// For each operation the one at which control goes on if it does not simply go on: after the partner for a condition
/// that fails, `Else` and `Break`; at the partner for `Continue` and the `End` of a loop. Others are their own partner.
fn partners(function: &Function) -> Vec<usize> {
    let mut partners: Vec<usize> = (0..function.code.len()).collect();
    let mut open: Vec<usize> = Vec::new();
    // Conditions of loops and breaks wait for the end of their loop, here with the number of open constructs.
    let mut waiting: Vec<(usize, usize)> = Vec::new();
    let loop_around = |open: &[usize]| {
        open.iter()
            .rposition(|start| function.code[*start] == Op::Loop)
    };
    for (index, op) in function.code.iter().enumerate() {
        match op {
            Op::If | Op::And | Op::Or | Op::Loop => open.push(index),
            Op::Else => {
                if let Some(start) = open.last_mut() {
                    partners[*start] = index;
                    *start = index;
                }
            }
            Op::While | Op::Break => waiting.extend(loop_around(&open).map(|depth| (depth, index))),
            Op::Continue => {
                if let Some(depth) = loop_around(&open) {
                    partners[index] = open[depth];
                }
            }
            Op::End => {
                let Some(start) = open.pop() else { break };
                if function.code[start] == Op::Loop {
                    partners[index] = start;
                    while let Some((_, jump)) = waiting.pop_if(|(depth, _)| *depth == open.len()) {
                        partners[jump] = index;
                    }
                } else {
                    partners[start] = index;
                }
            }
            _ => {}
        }
    }
    partners
}
