//! The rules of the language, once for both forms: parser and decoder hand over one [`Op`] after another, and add
//! to a broken rule the place where it was broken.

use std::collections::HashMap;

use crate::program::{Array, Function, Header, Local, OPERATORS, Op, Type};

/// Greatest length of the array.
pub const ARRAY: u32 = 1 << 24;
/// Greatest number of functions.
pub const FUNCTIONS: usize = 1 << 16;
/// Greatest number of parameters of a function.
pub const PARAMS: usize = 255;
/// Greatest number of locals of a function, parameters included.
pub const LOCALS: usize = 1 << 12;
/// Greatest height of an expression, and depth of nested statements: bounds the recursion of the parser.
pub const NESTING: usize = 200;
/// Greatest number of operations of a function.
pub const CODE: usize = 1 << 24;

/// Words that cannot be names.
pub(crate) const RESERVED: &[&str] = &[
    "abs", "and", "array", "bool", "break", "continue", "else", "false", "float", "fn", "if",
    "int", "let", "max", "min", "or", "print", "put", "return", "sqrt", "true", "while",
];

/// The part of a program that a function body may refer to.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub array: Option<Array>,
    pub headers: Vec<Header>,
    /// The array and the functions by name.
    names: HashMap<String, Name>,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    Array,
    Function(usize),
}

impl Scope {
    /// Adds the array.
    pub fn add_array(&mut self, array: Array) -> Result<(), String> {
        if self.array.is_some() {
            return Err("a program has at most one array".to_owned());
        }
        if array.length == 0 || array.length > ARRAY {
            return Err(format!("the array's length must be from 1 to {ARRAY}"));
        }
        self.add_name(&array.name, Name::Array)?;
        self.array = Some(array);
        Ok(())
    }

    /// Adds the next function.
    pub fn add_function(&mut self, header: Header) -> Result<(), String> {
        if self.headers.len() == FUNCTIONS {
            return Err(format!("more than {FUNCTIONS} functions"));
        }
        if header.params.len() > PARAMS {
            return Err(format!("{} has more than {PARAMS} parameters", header.name));
        }
        self.add_name(&header.name, Name::Function(self.headers.len()))?;
        self.headers.push(header);
        Ok(())
    }

    /// The number of the function of that name.
    pub fn function(&self, name: &str) -> Option<usize> {
        match self.names.get(name) {
            Some(Name::Function(index)) => Some(*index),
            _ => None,
        }
    }

    fn add_name(&mut self, word: &str, name: Name) -> Result<(), String> {
        check_name(word)?;
        match self.names.insert(word.to_owned(), name) {
            Some(_) => Err(format!("{word} is defined already")),
            None => Ok(()),
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let mut letters = name.chars();
    let begins = letters
        .next()
        .is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
    let word = begins && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if word && !RESERVED.contains(&name) {
        Ok(())
    } else {
        Err(format!("`{}` is no name", name.escape_debug()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Function,
    Then,
    Else,
    Condition,
    Body,
    Shortcut,
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    /// Values on the stack that belong to expressions around the frame.
    height: usize,
    /// Height of the expression before `and` or `or`.
    left: usize,
    /// How many locals are in sight outside the frame.
    visible: usize,
    /// Whether control reaches what follows the frame by another way than its end.
    exits: bool,
    /// Whether control reaches the next statement.
    reachable: bool,
}

/// Checks and collects one function.
#[derive(Debug)]
pub(crate) struct Checker<'s> {
    scope: &'s Scope,
    header: &'s Header,
    locals: Vec<Local>,
    /// Numbers of the locals in sight, and the same by name.
    visible: Vec<u32>,
    by_name: HashMap<String, u32>,
    in_sight: Vec<bool>,
    frames: Vec<Frame>,
    /// Type and height of each expression whose value is not used yet.
    stack: Vec<(Type, usize)>,
    code: Vec<Op>,
}

impl<'s> Checker<'s> {
    /// Begins the function of that number.
    pub fn new(scope: &'s Scope, index: usize) -> Result<Self, String> {
        let header = scope
            .headers
            .get(index)
            .ok_or("more bodies than functions")?;
        let mut checker = Self {
            scope,
            header,
            locals: Vec::new(),
            visible: Vec::new(),
            by_name: HashMap::new(),
            in_sight: Vec::new(),
            frames: Vec::new(),
            stack: Vec::new(),
            code: Vec::new(),
        };
        checker.enter(Kind::Function, true, 0);
        for param in &header.params {
            checker.declare(&param.name, param.ty)?;
        }
        Ok(checker)
    }

    /// The local of that name, if one is in sight.
    pub fn local(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The type of the last expression.
    pub fn top(&self) -> Result<Type, String> {
        let height = self.frames.last().map_or(0, |frame| frame.height);
        let value = self.stack.last().filter(|_| self.stack.len() > height);
        value
            .map(|(ty, _)| *ty)
            .ok_or_else(|| "a value is missing".to_owned())
    }

    /// How many expressions wait to be used.
    pub fn depth(&self) -> usize {
        self.stack.len()
    }

    /// The types of the last expressions, but for the first `skip`.
    pub fn types_from(&self, skip: usize) -> Vec<Type> {
        self.stack.iter().skip(skip).map(|(ty, _)| *ty).collect()
    }

    /// Begins a new local with the value of the last expression.
    pub fn begin_local(&mut self, name: &str) -> Result<(), String> {
        let ty = self.top()?;
        self.pop(ty)?;
        self.statement()?;
        let index = self.declare(name, ty)?;
        self.append(Op::Let(index))
    }

    /// Takes the next operation; [`Checker::begin_local`] takes [`Op::Let`].
    pub fn take(&mut self, op: Op) -> Result<(), String> {
        match op {
            Op::Int(_) => self.push(Type::Int, 0)?,
            Op::Float(bits) if !f64::from_bits(bits).is_finite() => {
                return Err("a float constant must be finite".to_owned());
            }
            Op::Float(_) => self.push(Type::Float, 0)?,
            Op::Bool(_) => self.push(Type::Bool, 0)?,
            Op::Get(local) => {
                let ty = self.visible_local(local)?;
                self.push(ty, 0)?;
            }
            Op::Load => {
                self.array()?;
                let height = self.pop(Type::Int)?;
                self.push(Type::Int, height + 1)?;
            }
            Op::Apply(number) => {
                let operator = OPERATORS
                    .get(usize::from(number))
                    .ok_or("no operator has this number")?;
                let mut height = 0;
                for ty in operator.operands.iter().rev() {
                    height = height.max(self.pop(*ty)?);
                }
                self.push(operator.result, height + 1)?;
            }
            Op::Call(function) => self.call(function)?,
            Op::And | Op::Or => {
                let left = self.pop(Type::Bool)?;
                let reachable = self.reachable();
                self.enter(Kind::Shortcut, reachable, left);
            }
            Op::Let(_) => return Err("a variable has no name".to_owned()),
            Op::Set(local) => {
                let ty = self.visible_local(local)?;
                self.pop(ty)?;
                self.statement()?;
            }
            Op::Store => {
                self.array()?;
                self.pop(Type::Int)?;
                self.pop(Type::Int)?;
                self.statement()?;
            }
            Op::Print(ty) => self.pop_statement(ty)?,
            Op::Put => self.pop_statement(Type::Int)?,
            Op::Discard if !matches!(self.code.last(), Some(Op::Call(_))) => {
                return Err("only the result of a call can be discarded".to_owned());
            }
            Op::Discard => {
                let ty = self.top()?;
                self.pop_statement(ty)?;
            }
            Op::If => {
                self.pop_statement(Type::Bool)?;
                let reachable = self.reachable();
                self.enter(Kind::Then, reachable, 0);
            }
            Op::Else => {
                self.statement()?;
                let before = self
                    .frames
                    .iter()
                    .rev()
                    .nth(1)
                    .is_some_and(|frame| frame.reachable);
                let frame = self
                    .frames
                    .last_mut()
                    .filter(|frame| frame.kind == Kind::Then);
                let frame = frame.ok_or("`else` without `if`")?;
                let visible = frame.visible;
                frame.kind = Kind::Else;
                frame.exits = std::mem::replace(&mut frame.reachable, before);
                self.forget(visible);
            }
            Op::Loop => {
                self.statement()?;
                let reachable = self.reachable();
                self.enter(Kind::Condition, reachable, 0);
            }
            Op::While => {
                self.pop(Type::Bool)?;
                let frame = self
                    .frames
                    .last_mut()
                    .filter(|frame| frame.kind == Kind::Condition);
                let frame = frame.filter(|frame| frame.height == self.stack.len());
                frame.ok_or("`while` does not end a condition")?.kind = Kind::Body;
            }
            Op::Break | Op::Continue => {
                self.statement()?;
                if !self.frames.iter().any(|frame| frame.kind == Kind::Body) {
                    return Err("there is no loop around this".to_owned());
                }
                self.stop();
            }
            Op::Return => {
                if let Some(ty) = self.header.result {
                    self.pop(ty)?;
                }
                self.statement()?;
                self.stop();
            }
            Op::End => self.end()?,
        }
        self.append(op)
    }

    /// Whether the function's own `End` was taken.
    pub fn ended(&self) -> bool {
        self.frames.is_empty()
    }

    /// The finished function.
    pub fn finish(self) -> Result<Function, String> {
        if !self.ended() {
            return Err("the function has no end".to_owned());
        }
        Ok(Function {
            header: self.header.clone(),
            locals: self.locals,
            code: self.code,
        })
    }

    fn append(&mut self, op: Op) -> Result<(), String> {
        if self.code.len() == CODE {
            return Err(format!("more than {CODE} operations in a function"));
        }
        self.code.push(op);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let frame = self.frames.last().ok_or("an end without a beginning")?;
        let (kind, height, left, visible) = (frame.kind, frame.height, frame.left, frame.visible);
        let after = match kind {
            Kind::Shortcut => {
                let above = self.pop(Type::Bool)?;
                if self.stack.len() != height {
                    return Err("more than one value after `and` or `or`".to_owned());
                }
                self.frames.pop();
                return self.push(Type::Bool, above.max(left) + 1);
            }
            Kind::Condition => return Err("a loop without `while`".to_owned()),
            Kind::Else => frame.reachable || frame.exits,
            Kind::Then | Kind::Body => frame.exits,
            Kind::Function => frame.reachable,
        };
        self.statement()?;
        self.forget(visible);
        self.frames.pop();
        match self.frames.last_mut() {
            Some(outer) => outer.reachable = after,
            None if after && self.header.result.is_some() => {
                return Err(format!(
                    "{} can end without returning a value",
                    self.header.name
                ));
            }
            None => {}
        }
        Ok(())
    }

    fn call(&mut self, function: u32) -> Result<(), String> {
        let callee = self
            .scope
            .headers
            .get(function as usize)
            .ok_or("no function has this number")?;
        let mut height = 0;
        for param in callee.params.iter().rev() {
            height = height.max(self.pop(param.ty)?);
        }
        match callee.result {
            Some(ty) => self.push(ty, height + 1),
            None => self
                .statement()
                .map_err(|_| format!("{} has no result", callee.name)),
        }
    }

    fn array(&self) -> Result<(), String> {
        self.scope
            .array
            .as_ref()
            .map(drop)
            .ok_or_else(|| "the program has no array".to_owned())
    }

    fn declare(&mut self, name: &str, ty: Type) -> Result<u32, String> {
        check_name(name)?;
        let taken = self
            .scope
            .array
            .as_ref()
            .is_some_and(|array| array.name == name);
        if taken || self.by_name.contains_key(name) {
            return Err(format!("{name} is defined already"));
        }
        if self.locals.len() == LOCALS {
            return Err(format!("more than {LOCALS} locals in a function"));
        }
        let index = self.locals.len() as u32;
        self.locals.push(Local {
            name: name.to_owned(),
            ty,
        });
        self.in_sight.push(true);
        self.visible.push(index);
        self.by_name.insert(name.to_owned(), index);
        Ok(index)
    }

    fn forget(&mut self, visible: usize) {
        for index in self.visible.drain(visible..) {
            self.in_sight[index as usize] = false;
            self.by_name.remove(&self.locals[index as usize].name);
        }
    }

    fn visible_local(&self, local: u32) -> Result<Type, String> {
        let in_sight = self.in_sight.get(local as usize) == Some(&true);
        self.locals
            .get(local as usize)
            .filter(|_| in_sight)
            .map(|local| local.ty)
            .ok_or_else(|| format!("local {local} is not in sight here"))
    }

    fn enter(&mut self, kind: Kind, reachable: bool, left: usize) {
        let (height, visible) = (self.stack.len(), self.visible.len());
        self.frames.push(Frame {
            kind,
            height,
            left,
            visible,
            exits: reachable,
            reachable,
        });
    }

    fn reachable(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.reachable)
    }

    fn stop(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.reachable = false;
        }
    }

    fn push(&mut self, ty: Type, height: usize) -> Result<(), String> {
        if self.frames.is_empty() {
            return Err("code after the function's end".to_owned());
        }
        if height > NESTING || self.stack.len() > NESTING || self.frames.len() > NESTING {
            return Err(format!(
                "nested more than {NESTING} deep: use a variable or a function of its own"
            ));
        }
        self.stack.push((ty, height));
        Ok(())
    }

    fn pop(&mut self, ty: Type) -> Result<usize, String> {
        let found = self.top()?;
        if found != ty {
            return Err(format!("expected {}, found {}", ty.name(), found.name()));
        }
        Ok(self.stack.pop().map_or(0, |(_, height)| height))
    }

    fn pop_statement(&mut self, ty: Type) -> Result<(), String> {
        self.pop(ty)?;
        self.statement()
    }

    /// Admits a statement: outside expressions and conditions, with nothing left on the stack.
    fn statement(&self) -> Result<(), String> {
        let frame = self.frames.last().ok_or("code after the function's end")?;
        let body = matches!(
            frame.kind,
            Kind::Function | Kind::Then | Kind::Else | Kind::Body
        );
        if !body || self.stack.len() != frame.height {
            return Err("a statement inside an expression".to_owned());
        }
        if self.frames.len() > NESTING {
            return Err(format!(
                "nested more than {NESTING} deep: use a function of its own"
            ));
        }
        Ok(())
    }
}
