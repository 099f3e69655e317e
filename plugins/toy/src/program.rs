//! What a toy program is, however it was written: functions of structured stack code, and at most one array.
//!
//! An expression is its operands, then its operator. A statement leaves the stack as it found it. Control is nested:
//!
//! | text | code |
//! |---|---|
//! | `if c { a } else { b }` | `c If a Else b End` |
//! | `while c { a }` | `Loop c While a End` |
//! | `c and d` | `c And d End` |
//! | `let x = e;` | `e Let(x)` |
//!
//! Whoever builds a program (the parser, the decoder) does so through [`crate::check`], so every [`Program`] is valid.

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Type {
    /// 64-bit integer; arithmetic wraps.
    Int,
    /// IEEE 754 binary64.
    Float,
    /// True or false.
    Bool,
}

impl Type {
    /// All types, in the order of their discriminants.
    pub const ALL: [Type; 3] = [Type::Int, Type::Float, Type::Bool];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Int => "int",
            Type::Float => "float",
            Type::Bool => "bool",
        }
    }
}

/// One step of a function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Pushes an integer.
    Int(i64),
    /// Pushes a float, given by its bits.
    Float(u64),
    /// Pushes a truth value.
    Bool(bool),
    /// Pushes the local of that number.
    Get(u32),
    /// Pops an index, pushes that element of the array.
    Load,
    /// Pops the operands of the operator of that number in [`OPERATORS`], pushes its result.
    Apply(u8),
    /// Pops the arguments of the function of that number, last on top, pushes its result if it has one.
    Call(u32),
    /// Pops a condition; pushes false and goes on after the matching `End` unless it is true.
    And,
    /// Pops a condition; pushes true and goes on after the matching `End` if it is true.
    Or,
    /// Pops the first value of the local of that number.
    Let(u32),
    /// Pops a new value of the local of that number.
    Set(u32),
    /// Pops a value, then an index, and makes the value that element of the array.
    Store,
    /// Pops a value of that type and writes it to the output, on a line of its own.
    Print(Type),
    /// Pops an integer and writes its low eight bits to the output.
    Put,
    /// Pops a value that nobody wants.
    Discard,
    /// Pops a condition; unless it is true, goes on after the matching `Else`, or `End` if there is none.
    If,
    /// Ends the first arm of an `If`.
    Else,
    /// Begins a loop with its condition.
    Loop,
    /// Pops the condition of a loop and leaves the loop unless it is true.
    While,
    /// Leaves the innermost loop.
    Break,
    /// Goes back to the condition of the innermost loop.
    Continue,
    /// Returns from the function, with the value it pops if the function has a result.
    Return,
    /// Ends the innermost `If`, `Loop`, `And` or `Or`, or the function.
    End,
}

/// A parameter or a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its name in the text form.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// What a caller knows of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<Local>,
    /// The type of its result, if it has one.
    pub result: Option<Type>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name, parameters, result.
    pub header: Header,
    /// Parameters, then variables in the order in which they begin.
    pub locals: Vec<Local>,
    /// The body, with the `End` that closes it.
    pub code: Vec<Op>,
}

/// The array of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Its name.
    pub name: String,
    /// How many integers it holds; at most [`crate::check::ARRAY`].
    pub length: u32,
}

/// A valid program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The array, if there is one; its elements begin as 0.
    pub array: Option<Array>,
    /// The functions.
    pub functions: Vec<Function>,
}

impl Program {
    /// The number of the function of that name.
    pub fn function(&self, name: &str) -> Option<usize> {
        self.functions
            .iter()
            .position(|function| function.header.name == name)
    }
}

/// Why a program stops before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trap {
    /// Division, or remainder, by zero.
    DivideByZero,
    /// The quotient of the least integer and -1.
    Overflow,
    /// An index outside the array.
    Index,
    /// Calls nested too deeply.
    StackOverflow,
    /// The output cannot be written.
    Host,
}

impl Trap {
    /// All traps.
    pub const ALL: [Trap; 5] = [
        Trap::DivideByZero,
        Trap::Overflow,
        Trap::Index,
        Trap::StackOverflow,
        Trap::Host,
    ];

    /// The name in `spec/isa/{core,toy}/ops.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Trap::DivideByZero => "integer divide by zero",
            Trap::Overflow => "integer overflow",
            Trap::Index => "index out of range",
            Trap::StackOverflow => "stack overflow",
            Trap::Host => "host error",
        }
    }
}

/// How an operator is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// Between its operands; binds the tighter the greater its precedence, and to the left among equals.
    Infix(&'static str, u8),
    /// Before its operand; binds tighter than any infix operator.
    Prefix(&'static str),
    /// Like a call.
    Named(&'static str),
}

/// One line of [`OPERATORS`].
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// How it is written.
    pub notation: Notation,
    /// The types of its operands; one or two.
    pub operands: &'static [Type],
    /// The type of its result.
    pub result: Type,
    /// The operation of `spec/isa/toy` that does it.
    pub operation: &'static str,
    /// What it means, on the words that hold the operands (the second is 0 if there is only one).
    pub meaning: fn(u64, u64) -> Result<u64, Trap>,
}

/// Precedence of `or` and `and`, below every operator.
pub(crate) const OR: u8 = 1;
pub(crate) const AND: u8 = 2;

/// Every operator: parser, printer, decoder, interpreter and compiler know them from here alone. A program refers to
/// them by number, so new ones go to the end.
#[rustfmt::skip]
pub const OPERATORS: &[Operator] = {
    use Notation::{Infix, Named, Prefix};
    use Type::{Bool, Float, Int};
    &[
        row(Infix("+", 8),  &[Int, Int], Int, "i64.add",   |a, b| Ok(a.wrapping_add(b))),
        row(Infix("-", 8),  &[Int, Int], Int, "i64.sub",   |a, b| Ok(a.wrapping_sub(b))),
        row(Infix("*", 9),  &[Int, Int], Int, "i64.mul",   |a, b| Ok(a.wrapping_mul(b))),
        row(Infix("/", 9),  &[Int, Int], Int, "i64.div_s", divide),
        row(Infix("%", 9),  &[Int, Int], Int, "i64.rem_s", remainder),
        row(Infix("&", 6),  &[Int, Int], Int, "i64.and",   |a, b| Ok(a & b)),
        row(Infix("|", 4),  &[Int, Int], Int, "i64.or",    |a, b| Ok(a | b)),
        row(Infix("^", 5),  &[Int, Int], Int, "i64.xor",   |a, b| Ok(a ^ b)),
        row(Infix("<<", 7), &[Int, Int], Int, "i64.shl",   |a, b| Ok(a << (b & 63))),
        row(Infix(">>", 7), &[Int, Int], Int, "i64.shr_s", |a, b| Ok((a as i64 >> (b & 63)) as u64)),
        row(Prefix("-"),    &[Int],      Int, "i64.neg",   |a, _| Ok(a.wrapping_neg())),
        row(Prefix("~"),    &[Int],      Int, "i64.not",   |a, _| Ok(!a)),

        row(Infix("==", 3), &[Int, Int], Bool, "i64.eq",   |a, b| Ok((a == b).into())),
        row(Infix("!=", 3), &[Int, Int], Bool, "i64.ne",   |a, b| Ok((a != b).into())),
        row(Infix("<", 3),  &[Int, Int], Bool, "i64.lt_s", |a, b| Ok(((a as i64) < b as i64).into())),
        row(Infix(">", 3),  &[Int, Int], Bool, "i64.gt_s", |a, b| Ok((a as i64 > b as i64).into())),
        row(Infix("<=", 3), &[Int, Int], Bool, "i64.le_s", |a, b| Ok((a as i64 <= b as i64).into())),
        row(Infix(">=", 3), &[Int, Int], Bool, "i64.ge_s", |a, b| Ok((a as i64 >= b as i64).into())),
        row(Prefix("!"),    &[Bool],     Bool, "i32.eqz",  |a, _| Ok((a == 0).into())),

        row(Infix("+", 8),  &[Float, Float], Float, "f64.add",  |a, b| float(real(a) + real(b))),
        row(Infix("-", 8),  &[Float, Float], Float, "f64.sub",  |a, b| float(real(a) - real(b))),
        row(Infix("*", 9),  &[Float, Float], Float, "f64.mul",  |a, b| float(real(a) * real(b))),
        row(Infix("/", 9),  &[Float, Float], Float, "f64.div",  |a, b| float(real(a) / real(b))),
        row(Prefix("-"),    &[Float],        Float, "f64.neg",  |a, _| float(-real(a))),
        row(Named("min"),   &[Float, Float], Float, "f64.min",  |a, b| float(minimum(real(a), real(b)))),
        row(Named("max"),   &[Float, Float], Float, "f64.max",  |a, b| float(-minimum(-real(a), -real(b)))),
        row(Named("sqrt"),  &[Float],        Float, "f64.sqrt", |a, _| float(real(a).sqrt())),
        row(Named("abs"),   &[Float],        Float, "f64.abs",  |a, _| float(real(a).abs())),

        row(Infix("==", 3), &[Float, Float], Bool, "f64.eq", |a, b| Ok((real(a) == real(b)).into())),
        row(Infix("!=", 3), &[Float, Float], Bool, "f64.ne", |a, b| Ok((real(a) != real(b)).into())),
        row(Infix("<", 3),  &[Float, Float], Bool, "f64.lt", |a, b| Ok((real(a) < real(b)).into())),
        row(Infix(">", 3),  &[Float, Float], Bool, "f64.gt", |a, b| Ok((real(a) > real(b)).into())),
        row(Infix("<=", 3), &[Float, Float], Bool, "f64.le", |a, b| Ok((real(a) <= real(b)).into())),
        row(Infix(">=", 3), &[Float, Float], Bool, "f64.ge", |a, b| Ok((real(a) >= real(b)).into())),

        row(Named("int"),   &[Float], Int,   "i64.trunc_sat_f64_s", |a, _| Ok(real(a) as i64 as u64)),
        row(Named("int"),   &[Bool],  Int,   "i64.extend_i32_u",    |a, _| Ok(a)),
        row(Named("float"), &[Int],   Float, "f64.convert_i64_s",   |a, _| float(a as i64 as f64)),
        row(Named("bool"),  &[Int],   Bool,  "i64.nez",             |a, _| Ok((a != 0).into())),
    ]
};

const fn row(
    notation: Notation,
    operands: &'static [Type],
    result: Type,
    operation: &'static str,
    meaning: fn(u64, u64) -> Result<u64, Trap>,
) -> Operator {
    Operator {
        notation,
        operands,
        result,
        operation,
        meaning,
    }
}

fn divide(a: u64, b: u64) -> Result<u64, Trap> {
    if b == 0 {
        return Err(Trap::DivideByZero);
    }
    (a as i64)
        .checked_div(b as i64)
        .map(|quotient| quotient as u64)
        .ok_or(Trap::Overflow)
}

fn remainder(a: u64, b: u64) -> Result<u64, Trap> {
    if b == 0 {
        return Err(Trap::DivideByZero);
    }
    Ok((a as i64).wrapping_rem(b as i64) as u64)
}

fn real(word: u64) -> f64 {
    f64::from_bits(word)
}

fn float(value: f64) -> Result<u64, Trap> {
    Ok(value.to_bits())
}

/// NaN if either operand is, and -0 below 0: `f64::min` ignores NaN and may give either zero.
fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// The operator so written that takes these operands.
pub(crate) fn find(written: impl Fn(Notation) -> bool, operands: &[Type]) -> Option<u8> {
    let fits = |operator: &Operator| written(operator.notation) && operator.operands == operands;
    OPERATORS.iter().position(fits).map(|index| index as u8)
}
