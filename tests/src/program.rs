//! A program as the calls of a `FunctionBuilder`, kept as data: it can be compiled, interpreted and printed.

use std::fmt;

use copatch::{Signature, ValueType};

/// One call of the builder.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Pushes a constant; a vector has these bits in both halves.
    Constant(ValueType, u64),
    /// Pushes a variable.
    Get(u32),
    /// Pops into a variable.
    Set(u32),
    /// Copies the top operand into a variable.
    Tee(u32),
    /// Pops.
    Drop,
    /// An operation by name, with its own immediates.
    Op(String, Vec<i64>),
    /// Pops a condition and two values, pushes one of them.
    Select(ValueType),
    /// Opens a block.
    Block(Vec<ValueType>, Vec<ValueType>),
    /// Opens a loop.
    Loop(Vec<ValueType>, Vec<ValueType>),
    /// Pops a condition, opens the arm for true.
    If(Vec<ValueType>, Vec<ValueType>),
    /// Opens the arm for false.
    Else,
    /// Ends the innermost construct, or the function.
    End,
    /// Branches that many levels out.
    Br(u32),
    /// Pops a condition and branches if it is not zero.
    BrIf(u32),
    /// Pops an index and branches to that target, or to the last one.
    BrTable(Vec<u32>, u32),
    /// Returns.
    Return,
    /// Raises the trap of that number.
    Trap(u8),
    /// Calls a function of the program.
    Call(u32),
    /// Calls a function of the program through a pointer.
    CallPointer(u32),
    /// Calls a function of the program in place of the one that is running.
    TailCall(u32),
    /// The same through a pointer.
    TailCallPointer(u32),
    /// Calls a helper of the program.
    Helper(u32),
}

/// An operation, for tests that were printed.
pub fn op(name: &str, immediates: &[i64]) -> Step {
    Step::Op(name.to_owned(), immediates.to_vec())
}

/// A function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Parameters and results.
    pub signature: Signature,
    /// Types of the variables after the parameters.
    pub locals: Vec<ValueType>,
    /// The body, with the `End` that closes it.
    pub body: Vec<Step>,
}

impl Function {
    /// The type of a variable.
    pub fn variable(&self, index: u32) -> Option<ValueType> {
        self.signature
            .params
            .iter()
            .chain(&self.locals)
            .nth(index as usize)
            .copied()
    }
}

/// A program: a call of function 0 with these arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The functions.
    pub functions: Vec<Function>,
    /// Parameters and results of the helpers; what they do is the kit's, see [`crate::execute`].
    pub helpers: Vec<Signature>,
    /// The bits of each parameter of function 0.
    pub arguments: Vec<u128>,
}

/// The program as a Rust test. Paste it into a test file beside the front end's dialect.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#[test]\nfn found_by_the_kit() {{")?;
        writeln!(f, "    use copatch::{{Signature, ValueType::*}};")?;
        writeln!(
            f,
            "    use copatch_conformance::{{Function, Program, Step::*, op}};"
        )?;
        writeln!(f, "    let program = Program {{\n        functions: vec![")?;
        for function in &self.functions {
            writeln!(f, "            Function {{")?;
            writeln!(
                f,
                "                signature: {},",
                signature(&function.signature)
            )?;
            writeln!(f, "                locals: vec!{:?},", function.locals)?;
            writeln!(f, "                body: vec![")?;
            let mut depth = 5;
            for step in &function.body {
                if matches!(step, Step::Else | Step::End) {
                    depth -= 1;
                }
                writeln!(f, "{:1$}{2},", "", 4 * depth.max(5), Source(step))?;
                if matches!(
                    step,
                    Step::Block(..) | Step::Loop(..) | Step::If(..) | Step::Else
                ) {
                    depth += 1;
                }
            }
            writeln!(f, "                ],\n            }},")?;
        }
        let helpers: Vec<String> = self.helpers.iter().map(signature).collect();
        writeln!(
            f,
            "        ],\n        helpers: vec![{}],",
            helpers.join(", ")
        )?;
        writeln!(f, "        arguments: vec!{:?},\n    }};", self.arguments)?;
        writeln!(f, "    kit().agree(&program).unwrap();\n}}")
    }
}

fn signature(signature: &Signature) -> String {
    format!(
        "Signature {{ params: vec!{:?}, results: vec!{:?} }}",
        signature.params, signature.results
    )
}

/// A step as Rust source.
struct Source<'s>(&'s Step);

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::Constant(ty, bits) => write!(f, "Constant({ty:?}, {bits:#x})"),
            Step::Op(name, immediates) => write!(f, "op({name:?}, &{immediates:?})"),
            Step::Block(params, results) => write!(f, "Block(vec!{params:?}, vec!{results:?})"),
            Step::Loop(params, results) => write!(f, "Loop(vec!{params:?}, vec!{results:?})"),
            Step::If(params, results) => write!(f, "If(vec!{params:?}, vec!{results:?})"),
            Step::BrTable(targets, default) => write!(f, "BrTable(vec!{targets:?}, {default})"),
            step => write!(f, "{step:?}"),
        }
    }
}
