//! Program to text. Parsing the text gives the program back.

use std::fmt::Write;

use crate::program::{AND, Function, Header, Notation, OPERATORS, OR, Op, Program};

/// Precedence of what needs no parentheses anywhere, and of prefix operators.
const ATOM: u8 = 11;
const PREFIX: u8 = 10;

/// Writes the text form.
pub fn print(program: &Program) -> String {
    let mut out = String::new();
    if let Some(array) = &program.array {
        let _ = writeln!(out, "array {}[{}];\n", array.name, array.length);
    }
    for (index, function) in program.functions.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        print_function(&mut out, program, function);
    }
    out
}

/// The text of an expression and how tightly its outermost operator binds.
struct Expression {
    text: String,
    precedence: u8,
}

impl Expression {
    fn atom(text: String) -> Self {
        Self {
            text,
            precedence: ATOM,
        }
    }

    /// In parentheses unless it binds at least as tightly as `floor`.
    fn within(mut self, floor: u8) -> String {
        if self.precedence < floor {
            self.text.insert(0, '(');
            self.text.push(')');
        }
        self.text
    }
}

fn print_header(out: &mut String, header: &Header) {
    let params: Vec<String> = header
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, param.ty.name()))
        .collect();
    let _ = write!(out, "fn {}({})", header.name, params.join(", "));
    if let Some(ty) = header.result {
        let _ = write!(out, " -> {}", ty.name());
    }
}

fn print_function(out: &mut String, program: &Program, function: &Function) {
    print_header(out, &function.header);
    out.push_str(" {\n");
    let mut printer = Printer {
        program,
        function,
        out,
        stack: Vec::new(),
        open: vec![Op::End],
    };
    for op in &function.code {
        printer.op(*op);
    }
}

struct Printer<'p> {
    program: &'p Program,
    function: &'p Function,
    out: &'p mut String,
    stack: Vec<Expression>,
    /// What each open `End` will end.
    open: Vec<Op>,
}

impl<'p> Printer<'p> {
    fn op(&mut self, op: Op) {
        match op {
            Op::Int(value) => self.constant(value.to_string(), value < 0),
            Op::Float(bits) => {
                let value = f64::from_bits(bits);
                self.constant(format!("{value:?}"), value.is_sign_negative());
            }
            Op::Bool(value) => self.constant(value.to_string(), false),
            Op::Get(local) => {
                let name = self.local(local);
                self.stack.push(Expression::atom(name));
            }
            Op::Load => {
                let text = format!("{}[{}]", self.array(), self.pop(0));
                self.stack.push(Expression::atom(text));
            }
            Op::Apply(number) => self.apply(number),
            Op::Call(callee) => self.call(callee),
            Op::And | Op::Or => self.open.push(op),
            Op::Let(local) => {
                let text = format!("let {} = {};", self.local(local), self.pop(0));
                self.line(&text);
            }
            Op::Set(local) => {
                let text = format!("{} = {};", self.local(local), self.pop(0));
                self.line(&text);
            }
            Op::Store => {
                let value = self.pop(0);
                let text = format!("{}[{}] = {value};", self.array(), self.pop(0));
                self.line(&text);
            }
            Op::Print(_) => self.statement("print(", ");"),
            Op::Put => self.statement("put(", ");"),
            Op::Discard => self.statement("", ";"),
            Op::If => {
                self.statement("if ", " {");
                self.open.push(op);
            }
            Op::Else => {
                self.open.pop();
                self.line("} else {");
                self.open.push(op);
            }
            Op::Loop => {}
            Op::While => {
                self.statement("while ", " {");
                self.open.push(op);
            }
            Op::Break => self.line("break;"),
            Op::Continue => self.line("continue;"),
            Op::Return if self.function.header.result.is_some() => self.statement("return ", ";"),
            Op::Return => self.line("return;"),
            Op::End => self.end(),
        }
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some(Op::And) => self.infix("and", AND),
            Some(Op::Or) => self.infix("or", OR),
            _ => self.line("}"),
        }
    }

    /// A negative constant is written like a negation, and stands where one may stand.
    fn constant(&mut self, text: String, negative: bool) {
        self.stack.push(Expression {
            text,
            precedence: if negative { PREFIX } else { ATOM },
        });
    }

    fn apply(&mut self, number: u8) {
        let Some(operator) = OPERATORS.get(usize::from(number)) else {
            return;
        };
        match operator.notation {
            Notation::Infix(sign, precedence) => self.infix(sign, precedence),
            Notation::Prefix(sign) => {
                let operand = self.pop(PREFIX);
                // `-5` is a constant; the negation of 5 is written `-(5)`.
                let digits = operand.starts_with(|first: char| first.is_ascii_digit());
                let text = if digits {
                    format!("{sign}({operand})")
                } else {
                    format!("{sign}{operand}")
                };
                self.stack.push(Expression {
                    text,
                    precedence: PREFIX,
                });
            }
            Notation::Named(name) => {
                let text = self.arguments(name, operator.operands.len());
                self.stack.push(Expression::atom(text));
            }
        }
    }

    fn infix(&mut self, sign: &str, precedence: u8) {
        let right = self.pop(precedence + 1);
        let mut text = self.pop(precedence);
        let _ = write!(text, " {sign} {right}");
        self.stack.push(Expression { text, precedence });
    }

    fn call(&mut self, callee: u32) {
        let Some(callee) = self
            .program
            .functions
            .get(callee as usize)
            .map(|callee| &callee.header)
        else {
            return;
        };
        let text = self.arguments(&callee.name, callee.params.len());
        if callee.result.is_some() {
            self.stack.push(Expression::atom(text));
        } else {
            self.line(&format!("{text};"));
        }
    }

    fn arguments(&mut self, name: &str, count: usize) -> String {
        let first = self.stack.len().saturating_sub(count);
        let arguments: Vec<String> = self
            .stack
            .drain(first..)
            .map(|argument| argument.text)
            .collect();
        format!("{name}({})", arguments.join(", "))
    }

    fn statement(&mut self, before: &str, after: &str) {
        let text = format!("{before}{}{after}", self.pop(0));
        self.line(&text);
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{:1$}{text}", "", 4 * self.open.len());
    }

    /// Takes the last expression, in parentheses unless it binds at least as tightly as `floor`.
    fn pop(&mut self, floor: u8) -> String {
        self.stack
            .pop()
            .map_or_else(String::new, |expression| expression.within(floor))
    }

    fn local(&self, local: u32) -> String {
        self.function
            .locals
            .get(local as usize)
            .map_or_else(String::new, |local| local.name.clone())
    }

    fn array(&self) -> &'p str {
        self.program.array.as_ref().map_or("", |array| &array.name)
    }
}
