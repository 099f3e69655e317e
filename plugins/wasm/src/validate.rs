//! The specification's validation algorithm: a stack of types and a stack of control frames.
//!
//! Each method has a short path for what valid code does, and leaves everything else (errors, and code that control cannot
//! reach, where the stack is polymorphic) to a slow one.

use std::hint::cold_path;

use crate::error::Error;
use crate::facts::{Arrow, Facts, Span, Type};
use crate::opcodes::Instruction;

/// Operands on the stack when several are pushed at once: two bytes of code can push a thousand. The engine's frames hold
/// far fewer.
const MAX_OPERANDS: usize = 1 << 22;

/// Why validating or generating one instruction failed.
pub(crate) enum Fault {
    /// The code is malformed or invalid: why.
    Invalid(String),
    /// The instruction is valid, but there is nothing to generate for it.
    Unsupported,
    /// Something else that is not supported: what.
    Refused(String),
}

impl Fault {
    /// The error of the instruction of that name at that offset.
    #[cold]
    pub fn at(self, offset: u32, name: &str) -> Error {
        let offset = u64::from(offset);
        match self {
            Self::Invalid(what) => Error::InvalidCode { what, offset },
            Self::Unsupported => Error::Unsupported {
                what: name.to_owned(),
                offset,
            },
            Self::Refused(what) => Error::Unsupported { what, offset },
        }
    }
}

/// The outcome of a step; an error is one word, so that results stay in registers.
pub(crate) type Check<T = ()> = Result<T, Box<Fault>>;

/// The fault of code that is malformed or invalid.
#[cold]
pub(crate) fn invalid(what: impl Into<String>) -> Box<Fault> {
    Box::new(Fault::Invalid(what.into()))
}

/// What opened a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Function,
    Block,
    Loop,
    If,
    Else,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Operands below this one belong to the frames around.
    height: u32,
    arrow: Arrow,
    kind: FrameKind,
    /// Whether control cannot get to where the frame is at.
    unreachable: bool,
}

/// Types of operands and open frames of one function body.
pub(crate) struct Validator<'a> {
    pub facts: &'a Facts,
    /// Whether there is a memory.
    pub memory: bool,
    operands: Vec<Type>,
    /// The innermost frame.
    frame: Frame,
    /// Those around it, outermost first.
    outer: Vec<Frame>,
    /// Types of variables, parameters first.
    pub locals: Vec<Type>,
}

impl<'a> Validator<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        Self {
            facts,
            memory: facts.memory,
            operands: Vec::new(),
            frame: Frame {
                height: 0,
                arrow: Arrow::EMPTY,
                kind: FrameKind::Function,
                unreachable: false,
            },
            outer: Vec::new(),
            locals: Vec::new(),
        }
    }

    /// Begins a function; its variables are added by the caller.
    pub fn begin(&mut self, arrow: Arrow) {
        self.operands.clear();
        self.outer.clear();
        self.locals.clear();
        self.frame = Frame {
            height: 0,
            arrow,
            kind: FrameKind::Function,
            unreachable: false,
        };
    }

    /// Operands below this one belong to the frames around.
    #[inline(always)]
    fn floor(&self) -> usize {
        self.frame.height as usize
    }

    #[inline(always)]
    pub fn push(&mut self, ty: Type) {
        self.operands.push(ty);
    }

    /// Pops an operand of that type.
    #[inline(always)]
    pub fn pop(&mut self, expected: Type) -> Check {
        if self.operands.len() > self.floor() && self.operands.last() == Some(&expected) {
            self.operands.pop();
            return Ok(());
        }
        self.pop_slowly(expected).map(drop)
    }

    /// Looks at an operand of that type.
    #[inline(always)]
    pub fn tee(&mut self, expected: Type) -> Check {
        if self.operands.len() > self.floor() && self.operands.last() == Some(&expected) {
            return Ok(());
        }
        self.pop_slowly(expected)?;
        self.push(expected);
        Ok(())
    }

    /// Pops an operand of any type, and gives its type.
    #[inline(always)]
    pub fn pop_any(&mut self) -> Check<Type> {
        if self.operands.len() > self.floor()
            && let Some(ty) = self.operands.pop()
        {
            return Ok(ty);
        }
        self.pop_slowly(Type::UNKNOWN)
    }

    #[cold]
    #[inline(never)]
    fn pop_slowly(&mut self, expected: Type) -> Check<Type> {
        if self.operands.len() <= self.floor() {
            if self.frame.unreachable {
                return Ok(Type::UNKNOWN);
            }
            let expected = expected.name();
            return Err(invalid(format!(
                "type mismatch: expected {expected} but nothing on stack"
            )));
        }
        let found = self.operands.pop().unwrap_or(Type::UNKNOWN);
        if found == expected || found == Type::UNKNOWN || expected == Type::UNKNOWN {
            return Ok(found);
        }
        let (expected, found) = (expected.name(), found.name());
        Err(invalid(format!(
            "type mismatch: expected {expected}, found {found}"
        )))
    }

    /// One operand becomes a result.
    #[inline(always)]
    pub fn unary(&mut self, instruction: &Instruction) -> Check {
        if self.operands.len() > self.floor()
            && let Some(top) = self.operands.last_mut()
            && *top == instruction.operands[0]
        {
            *top = instruction.result;
            return Ok(());
        }
        cold_path();
        self.operation(instruction)
    }

    /// Two operands become a result.
    #[inline(always)]
    pub fn binary(&mut self, instruction: &Instruction) -> Check {
        let [a, b, _] = instruction.operands;
        if self.operands.len() > self.floor() + 1
            && let Some(top) = self.operands.last_chunk_mut::<2>()
            && both(top, a, b)
        {
            top[0] = instruction.result;
            self.operands.pop();
            return Ok(());
        }
        cold_path();
        self.operation(instruction)
    }

    /// [`Self::binary`] where the right operand is a constant of that type, which was not pushed. Gives false, and changes
    /// nothing, where that takes more than a look.
    #[inline(always)]
    pub fn binary_constant(&mut self, instruction: &Instruction, constant: Type) -> bool {
        let [a, b, _] = instruction.operands;
        let usual =
            b == constant && self.operands.len() > self.floor() && self.operands.last() == Some(&a);
        if usual && let Some(top) = self.operands.last_mut() {
            *top = instruction.result;
        }
        usual
    }

    /// Two operands are consumed.
    #[inline(always)]
    pub fn store(&mut self, instruction: &Instruction) -> Check {
        let [a, b, _] = instruction.operands;
        let height = self.operands.len().wrapping_sub(2);
        if self.operands.len() > self.floor() + 1
            && let Some(top) = self.operands.last_chunk::<2>()
            && both(top, a, b)
        {
            self.operands.truncate(height);
            return Ok(());
        }
        cold_path();
        self.operation(instruction)
    }

    /// What the table says, of any instruction.
    #[inline(never)]
    pub fn operation(&mut self, instruction: &Instruction) -> Check {
        for ty in instruction.operands.iter().rev() {
            if *ty != Type::UNKNOWN {
                self.pop(*ty)?;
            }
        }
        if instruction.result != Type::UNKNOWN {
            self.push(instruction.result);
        }
        Ok(())
    }

    /// Pops operands of these types, the last one on top.
    #[inline(always)]
    pub fn pop_all(&mut self, types: Span) -> Check {
        if types.is_empty() {
            return Ok(());
        }
        match self.facts.types(types) {
            [ty] => self.pop(*ty),
            types => self.pop_list(types),
        }
    }

    #[inline(never)]
    fn pop_list(&mut self, types: &[Type]) -> Check {
        for ty in types.iter().rev() {
            self.pop(*ty)?;
        }
        Ok(())
    }

    /// Pushes operands of these types.
    #[inline(always)]
    pub fn push_all(&mut self, types: Span) -> Check {
        if types.is_empty() {
            return Ok(());
        }
        if self.operands.len() > MAX_OPERANDS {
            let what = format!("more than {MAX_OPERANDS} operands on the stack");
            return Err(Box::new(Fault::Refused(what)));
        }
        match self.facts.types(types) {
            [ty] => self.push(*ty),
            types => self.operands.extend_from_slice(types),
        }
        Ok(())
    }

    /// Checks that operands of these types are on top, without popping them.
    fn check_all(&self, types: Span) -> Check {
        let operands = self.operands.get(self.floor()..).unwrap_or_default();
        let mut found = operands.iter().rev();
        for expected in self.facts.types(types).iter().rev() {
            let expected = *expected;
            match found.next() {
                Some(ty) if *ty == expected || *ty == Type::UNKNOWN => {}
                None if self.frame.unreachable => return Ok(()),
                Some(ty) => {
                    let (expected, found) = (expected.name(), ty.name());
                    return Err(invalid(format!(
                        "type mismatch: expected {expected}, found {found}"
                    )));
                }
                None => {
                    let expected = expected.name();
                    return Err(invalid(format!(
                        "type mismatch: expected {expected} but nothing on stack"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Opens a frame whose parameters were popped.
    #[inline(always)]
    fn open(&mut self, kind: FrameKind, arrow: Arrow) {
        self.outer.push(self.frame);
        self.frame = Frame {
            height: self.operands.len() as u32,
            arrow,
            kind,
            unreachable: false,
        };
    }

    /// Opens a block, loop or conditional.
    #[inline(always)]
    pub fn block(&mut self, kind: FrameKind, arrow: Arrow) -> Check {
        if arrow.is_empty() {
            self.open(kind, arrow);
            return Ok(());
        }
        let params = self.facts.params(arrow);
        self.pop_all(params)?;
        self.open(kind, arrow);
        self.push_all(params)
    }

    /// Opens so many blocks without parameters and results, at least one.
    #[inline(always)]
    pub fn blocks(&mut self, count: usize) {
        self.open(FrameKind::Block, Arrow::EMPTY);
        self.outer
            .extend(std::iter::repeat_n(self.frame, count.saturating_sub(1)));
    }

    /// Pops the results of the innermost frame, and checks that nothing else is left.
    #[inline(always)]
    fn close(&mut self) -> Check {
        // Most blocks have neither parameters nor results.
        if !self.frame.arrow.is_empty() {
            cold_path();
            self.pop_all(self.facts.results(self.frame.arrow))?;
        }
        if self.operands.len() != self.floor() {
            return Err(invalid(
                "type mismatch: values remaining on stack at end of block",
            ));
        }
        Ok(())
    }

    /// The other arm of a conditional.
    #[inline(always)]
    pub fn else_(&mut self) -> Check {
        if self.frame.kind != FrameKind::If {
            return Err(invalid("`else` found outside `if` block"));
        }
        self.close()?;
        self.frame.kind = FrameKind::Else;
        self.frame.unreachable = false;
        if self.frame.arrow.is_empty() {
            return Ok(());
        }
        self.push_all(self.facts.params(self.frame.arrow))
    }

    /// Ends the innermost frame, and gives whether it was the function's own.
    #[inline(always)]
    pub fn end(&mut self) -> Check<bool> {
        self.close()?;
        let frame = self.frame;
        let Some(outer) = self.outer.pop() else {
            cold_path();
            return Ok(true);
        };
        self.frame = outer;
        if !frame.arrow.is_empty() {
            cold_path();
            let (params, results) = (
                self.facts.params(frame.arrow),
                self.facts.results(frame.arrow),
            );
            if frame.kind == FrameKind::If && self.facts.types(params) != self.facts.types(results)
            {
                return Err(invalid(
                    "type mismatch: `if` without `else` whose results are not its parameters",
                ));
            }
            self.push_all(results)?;
        }
        Ok(false)
    }

    /// What a branch to the label at that depth carries.
    #[inline(always)]
    fn label(&self, depth: u32) -> Check<Span> {
        let index = self.outer.len().wrapping_sub(depth as usize);
        let frame = match depth {
            0 => &self.frame,
            _ => self
                .outer
                .get(index)
                .ok_or_else(|| unknown("label", depth))?,
        };
        if frame.arrow.is_empty() {
            return Ok(Span::EMPTY);
        }
        Ok(match frame.kind {
            FrameKind::Loop => self.facts.params(frame.arrow),
            _ => self.facts.results(frame.arrow),
        })
    }

    /// Whether there is a label at that depth, and a branch to it carries nothing.
    #[inline(always)]
    pub fn carries_nothing(&self, depth: u32) -> bool {
        self.label(depth).is_ok_and(Span::is_empty)
    }

    /// Whether the frames of all these labels are among the innermost, no more than there are labels, and none of them has types.
    fn all_carry_nothing(&self, labels: &[u32]) -> bool {
        let farthest = labels
            .iter()
            .fold(0, |farthest, depth| farthest.max(*depth)) as usize;
        let around = match self.outer.len().checked_sub(farthest) {
            Some(first) if farthest <= labels.len() => &self.outer[first..],
            _ => return false,
        };
        self.frame.arrow.is_empty() && around.iter().all(|frame| frame.arrow.is_empty())
    }

    /// What follows cannot be reached, up to the end of the innermost frame.
    #[inline(always)]
    pub fn unreachable(&mut self) {
        self.operands.truncate(self.floor());
        self.frame.unreachable = true;
    }

    #[inline(always)]
    pub fn br(&mut self, depth: u32) -> Check {
        let label = self.label(depth)?;
        self.pop_all(label)?;
        self.unreachable();
        Ok(())
    }

    #[inline(always)]
    pub fn br_if(&mut self, depth: u32) -> Check {
        self.pop(Type::I32)?;
        let label = self.label(depth)?;
        if !label.is_empty() {
            self.pop_all(label)?;
            self.push_all(label)?;
        }
        Ok(())
    }

    pub fn br_table(&mut self, targets: &[u32], default: u32) -> Check {
        self.pop(Type::I32)?;
        let label = self.label(default)?;
        let arity = self.facts.types(label).len();
        let mut checked = label;
        // Most tables carry nothing, and have hundreds of targets.
        let all = match label.is_empty() && self.all_carry_nothing(targets) {
            true => &[],
            false => targets,
        };
        for target in all {
            let other = self.label(*target)?;
            if other == checked {
                continue;
            }
            if self.facts.types(other).len() != arity {
                return Err(invalid(
                    "type mismatch: br_table target labels have different number of types",
                ));
            }
            self.check_all(other)?;
            checked = other;
        }
        self.pop_all(label)?;
        self.unreachable();
        Ok(())
    }

    #[inline(always)]
    pub fn return_(&mut self) -> Check {
        self.pop_all(self.results())?;
        self.unreachable();
        Ok(())
    }

    /// What the function returns.
    fn results(&self) -> Span {
        let function = self.outer.first().unwrap_or(&self.frame);
        self.facts.results(function.arrow)
    }

    #[inline(always)]
    pub fn call(&mut self, arrow: Arrow) -> Check {
        self.pop_all(self.facts.params(arrow))?;
        self.push_all(self.facts.results(arrow))
    }

    pub fn return_call(&mut self, arrow: Arrow) -> Check {
        if self.facts.types(self.facts.results(arrow)) != self.facts.types(self.results()) {
            return Err(invalid(
                "type mismatch: the function called returns other types",
            ));
        }
        self.pop_all(self.facts.params(arrow))?;
        self.unreachable();
        Ok(())
    }

    /// Two operands of one type, which is not a reference, and a condition.
    #[inline(always)]
    pub fn select(&mut self) -> Check<Type> {
        self.pop(Type::I32)?;
        let (a, b) = (self.pop_any()?, self.pop_any()?);
        if a.is_reference() || b.is_reference() {
            return Err(invalid(
                "type mismatch: select without a type takes only numbers and vectors",
            ));
        }
        let ty = match (a, b) {
            (Type::UNKNOWN, ty) | (ty, Type::UNKNOWN) => ty,
            _ if a == b => a,
            _ => {
                return Err(invalid(
                    "type mismatch: select operands have different types",
                ));
            }
        };
        self.push(ty);
        Ok(ty)
    }

    #[inline(always)]
    pub fn local(&self, index: u32) -> Check<Type> {
        match self.locals.get(index as usize) {
            Some(ty) => Ok(*ty),
            None => Err(unknown("local", index)),
        }
    }
}

/// Whether two operands are of these types. They are looked at one by one: the upper one was often just pushed, and a processor that
/// reads both at once waits until that is in its cache.
#[inline(always)]
fn both([below, top]: &[Type; 2], a: Type, b: Type) -> bool {
    (below.0 ^ a.0) | (top.0 ^ b.0) == 0
}

/// The fault of an index beyond the end of its index space.
#[cold]
pub(crate) fn unknown(what: &str, index: u32) -> Box<Fault> {
    invalid(format!("unknown {what} {index}"))
}
