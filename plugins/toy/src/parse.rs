//! Text to program, in two passes: the first collects the headers of functions, so that they may be called before
//! they are defined; the second hands the bodies to the [`Checker`], one operation after another.

use logos::Logos;

use crate::check::{Checker, NESTING, RESERVED, Scope};
use crate::program::{
    AND, Array, Function, Header, Local, Notation, OPERATORS, OR, Op, Program, Type, find,
};
use crate::token::{Position, Token};

/// Why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {what}", position.line, position.column)]
pub struct SyntaxError {
    /// Where.
    pub position: Position,
    /// What is wrong there.
    pub what: String,
}

/// Reads the text form.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(text: &str) -> Result<Program, SyntaxError> {
    let mut parser = Parser {
        tokens: Vec::new(),
        next: 0,
        last: 0,
        depth: 0,
    };
    let program = parser.read(text);
    program.map_err(|what| SyntaxError {
        position: Position::of(text, parser.last),
        what,
    })
}

struct Parser<'s> {
    /// The tokens and where each begins; after the last one comes the end of the text.
    tokens: Vec<(Option<Token<'s>>, usize)>,
    /// The next token.
    next: usize,
    /// Where the token begins that errors are about.
    last: usize,
    /// Expressions and blocks that are open.
    depth: usize,
}

type Result<T, E = String> = std::result::Result<T, E>;

impl<'s> Parser<'s> {
    fn read(&mut self, text: &'s str) -> Result<Program> {
        for (token, span) in Token::lexer(text).spanned() {
            self.last = span.start;
            let token =
                token.map_err(|()| format!("unknown character {:?}", &text[span.clone()]))?;
            self.tokens.push((Some(token), span.start));
        }
        self.tokens.push((None, text.len()));
        let mut scope = Scope::default();
        let bodies = self.headers(&mut scope)?;
        let mut functions = Vec::new();
        for (index, body) in bodies.into_iter().enumerate() {
            self.next = body;
            functions.push(self.function(&scope, index)?);
        }
        Ok(Program {
            array: scope.array,
            functions,
        })
    }

    /// Reads everything but bodies; gives the first token of each body.
    fn headers(&mut self, scope: &mut Scope) -> Result<Vec<usize>> {
        let mut bodies = Vec::new();
        while self.peek().is_some() {
            if self.accept("array") {
                let at = self.here();
                let name = self.name()?;
                self.expect("[")?;
                let Some(Token::Int(digits)) = self.advance() else {
                    return Err("expected a length".to_owned());
                };
                let length = digits.replace('_', "").parse().unwrap_or(u32::MAX);
                self.expect("]")?;
                self.expect(";")?;
                self.last = at;
                scope.add_array(Array { name, length })?;
            } else if self.accept("fn") {
                let at = self.here();
                let header = self.header()?;
                let body = self.next;
                self.skip_block()?;
                bodies.push(body);
                self.last = at;
                scope.add_function(header)?;
            } else {
                return self.unexpected("`fn` or `array`");
            }
        }
        Ok(bodies)
    }

    fn header(&mut self) -> Result<Header> {
        let name = self.name()?;
        let mut params = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            let name = self.name()?;
            self.expect(":")?;
            let ty = self.ty()?;
            params.push(Local { name, ty });
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        let result = if self.accept("->") {
            Some(self.ty()?)
        } else {
            None
        };
        Ok(Header {
            name,
            params,
            result,
        })
    }

    fn skip_block(&mut self) -> Result<()> {
        let mut depth = 0usize;
        self.expect("{")?;
        loop {
            if self.accept("{") {
                depth += 1;
            } else if self.accept("}") {
                if depth == 0 {
                    return Ok(());
                }
                depth -= 1;
            } else if self.advance().is_none() {
                return Err("the function's `}` is missing".to_owned());
            }
        }
    }

    fn function(&mut self, scope: &Scope, index: usize) -> Result<Function> {
        let mut checker = Checker::new(scope, index)?;
        self.block(scope, &mut checker)?;
        checker.take(Op::End)?;
        checker.finish()
    }

    fn block(&mut self, scope: &Scope, out: &mut Checker) -> Result<()> {
        self.expect("{")?;
        while !self.accept("}") {
            self.nested(|parser| parser.statement(scope, out))?;
        }
        Ok(())
    }

    fn statement(&mut self, scope: &Scope, out: &mut Checker) -> Result<()> {
        if self.accept("if") {
            return self.if_(scope, out);
        }
        if self.accept("while") {
            out.take(Op::Loop)?;
            self.condition(scope, out)?;
            out.take(Op::While)?;
            self.block(scope, out)?;
            return out.take(Op::End);
        }
        if self.accept("let") {
            let at = self.here();
            let name = self.name()?;
            self.expect("=")?;
            self.expression(scope, out, 0)?;
            self.last = at;
            out.begin_local(&name)?;
        } else if self.accept("break") {
            out.take(Op::Break)?;
        } else if self.accept("continue") {
            out.take(Op::Continue)?;
        } else if self.accept("return") {
            let at = self.last;
            if !self.at(";") {
                self.expression(scope, out, 0)?;
            }
            self.last = at;
            out.take(Op::Return)?;
        } else if self.accept("print") {
            self.expect("(")?;
            self.expression(scope, out, 0)?;
            self.expect(")")?;
            out.take(Op::Print(out.top()?))?;
        } else if self.accept("put") {
            let at = self.last;
            self.expect("(")?;
            self.expression(scope, out, 0)?;
            self.expect(")")?;
            self.last = at;
            out.take(Op::Put)?;
        } else {
            self.assignment_or_call(scope, out)?;
        }
        self.expect(";")
    }

    fn if_(&mut self, scope: &Scope, out: &mut Checker) -> Result<()> {
        self.condition(scope, out)?;
        out.take(Op::If)?;
        self.block(scope, out)?;
        if self.accept("else") {
            out.take(Op::Else)?;
            if self.accept("if") {
                self.nested(|parser| parser.if_(scope, out))?;
            } else {
                self.block(scope, out)?;
            }
        }
        out.take(Op::End)
    }

    fn condition(&mut self, scope: &Scope, out: &mut Checker) -> Result<()> {
        let at = self.here();
        self.expression(scope, out, 0)?;
        self.last = at;
        match out.top()? {
            Type::Bool => Ok(()),
            other => Err(format!("a condition is a bool, this is {}", other.name())),
        }
    }

    fn assignment_or_call(&mut self, scope: &Scope, out: &mut Checker) -> Result<()> {
        let Some(Token::Word(name)) = self.peek() else {
            return self.unexpected("a statement");
        };
        if RESERVED.contains(&name) {
            return self.unexpected("a statement");
        }
        let at = self.here();
        self.next += 1;
        if self.at("(") {
            self.call(scope, out, name, at)?;
            let callee = scope
                .function(name)
                .and_then(|index| scope.headers.get(index));
            return if callee.is_some_and(|callee| callee.result.is_some()) {
                out.take(Op::Discard)
            } else {
                Ok(())
            };
        }
        let store = self.accept("[");
        if store {
            self.last = at;
            self.array(scope, name)?;
            self.expression(scope, out, 0)?;
            self.expect("]")?;
        }
        self.expect("=")?;
        self.expression(scope, out, 0)?;
        self.last = at;
        out.take(if store {
            Op::Store
        } else {
            Op::Set(self.local(out, name)?)
        })
    }

    /// An expression of operators that bind tighter than `floor`.
    fn expression(&mut self, scope: &Scope, out: &mut Checker, floor: u8) -> Result<()> {
        self.nested(|parser| {
            let start = out.depth();
            parser.operand(scope, out)?;
            while let Some((sign, precedence)) =
                parser.infix().filter(|(_, precedence)| *precedence > floor)
            {
                let at = parser.here();
                parser.next += 1;
                if let Some(op) = shortcut(precedence) {
                    parser.last = at;
                    out.take(op)?;
                    parser.expression(scope, out, precedence)?;
                    parser.last = at;
                    out.take(Op::End)?;
                } else {
                    parser.expression(scope, out, precedence)?;
                    parser.last = at;
                    apply(
                        out,
                        start,
                        sign,
                        |notation| matches!(notation, Notation::Infix(text, _) if text == sign),
                    )?;
                }
            }
            Ok(())
        })
    }

    fn operand(&mut self, scope: &Scope, out: &mut Checker) -> Result<()> {
        let (start, at) = (out.depth(), self.here());
        match self.advance() {
            Some(Token::Int(digits)) => out.take(Op::Int(int(digits, false)?)),
            Some(Token::Float(digits)) => out.take(Op::Float(float(digits)?.to_bits())),
            Some(Token::Sign("(")) => {
                self.expression(scope, out, 0)?;
                self.expect(")")
            }
            // A minus right before digits belongs to the constant: the least integer has no positive twin.
            Some(Token::Sign("-"))
                if matches!(self.peek(), Some(Token::Int(_) | Token::Float(_))) =>
            {
                match self.advance() {
                    Some(Token::Int(digits)) => out.take(Op::Int(int(digits, true)?)),
                    Some(Token::Float(digits)) => out.take(Op::Float((-float(digits)?).to_bits())),
                    _ => self.unexpected("a number"),
                }
            }
            Some(Token::Sign(sign @ ("-" | "~" | "!"))) => {
                self.nested(|parser| parser.operand(scope, out))?;
                self.last = at;
                apply(
                    out,
                    start,
                    sign,
                    |notation| matches!(notation, Notation::Prefix(text) if text == sign),
                )
            }
            Some(Token::Word("true")) => out.take(Op::Bool(true)),
            Some(Token::Word("false")) => out.take(Op::Bool(false)),
            Some(Token::Word(name)) if OPERATORS.iter().any(|row| is_named(row.notation, name)) => {
                self.arguments(scope, out)?;
                self.last = at;
                apply(out, start, name, |notation| is_named(notation, name))
            }
            Some(Token::Word(name)) if !RESERVED.contains(&name) => {
                if self.at("(") {
                    self.call(scope, out, name, at)?;
                    if out.depth() > start {
                        Ok(())
                    } else {
                        Err(format!("{name} has no result"))
                    }
                } else if self.accept("[") {
                    self.last = at;
                    self.array(scope, name)?;
                    self.expression(scope, out, 0)?;
                    self.expect("]")?;
                    self.last = at;
                    out.take(Op::Load)
                } else {
                    let local = self.local(out, name)?;
                    out.take(Op::Get(local))
                }
            }
            other => expected("an expression", other),
        }
    }

    fn call(&mut self, scope: &Scope, out: &mut Checker, name: &str, at: usize) -> Result<()> {
        self.last = at;
        let index = scope
            .function(name)
            .ok_or_else(|| format!("no function is called {name}"))?;
        let params = scope
            .headers
            .get(index)
            .map_or(0, |callee| callee.params.len());
        let given = self.arguments(scope, out)?;
        self.last = at;
        if given != params {
            return Err(format!("{name} takes {params} arguments, not {given}"));
        }
        out.take(Op::Call(index as u32))
    }

    /// Reads expressions in parentheses; gives how many.
    fn arguments(&mut self, scope: &Scope, out: &mut Checker) -> Result<usize> {
        let mut count = 0;
        self.expect("(")?;
        while !self.accept(")") {
            self.expression(scope, out, 0)?;
            count += 1;
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(count)
    }

    fn array(&self, scope: &Scope, name: &str) -> Result<()> {
        let known = scope.array.as_ref().is_some_and(|array| array.name == name);
        if known {
            Ok(())
        } else {
            Err(format!("no array is called {name}"))
        }
    }

    fn local(&self, out: &Checker, name: &str) -> Result<u32> {
        out.local(name)
            .ok_or_else(|| format!("no variable is called {name}"))
    }

    /// The infix operator that comes next, and its precedence.
    fn infix(&self) -> Option<(&'s str, u8)> {
        match self.peek()? {
            Token::Word("or") => Some(("or", OR)),
            Token::Word("and") => Some(("and", AND)),
            Token::Sign(sign) => OPERATORS.iter().find_map(|row| match row.notation {
                Notation::Infix(text, precedence) if text == sign => Some((sign, precedence)),
                _ => None,
            }),
            _ => None,
        }
    }

    /// Parses something inside something else, but not too deep for the machine's stack. One level of a valid program may
    /// take several here (operand, parentheses, statement).
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == 4 * NESTING {
            self.last = self.here();
            return Err(format!("nested more than {NESTING} deep"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn ty(&mut self) -> Result<Type> {
        let token = self.advance();
        let named = |ty: &Type| token == Some(Token::Word(ty.name()));
        Type::ALL
            .into_iter()
            .find(named)
            .map_or_else(|| expected("`int`, `float` or `bool`", token), Ok)
    }

    fn name(&mut self) -> Result<String> {
        match self.advance() {
            Some(Token::Word(name)) if !RESERVED.contains(&name) => Ok(name.to_owned()),
            other => expected("a name", other),
        }
    }

    fn peek(&self) -> Option<Token<'s>> {
        self.tokens.get(self.next).and_then(|(token, _)| *token)
    }

    /// Where the next token begins.
    fn here(&self) -> usize {
        self.tokens.get(self.next).map_or(0, |(_, start)| *start)
    }

    fn at(&self, text: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found) | Token::Sign(found)) if found == text)
    }

    fn advance(&mut self) -> Option<Token<'s>> {
        let token = self.peek();
        self.last = self.here();
        self.next += usize::from(token.is_some());
        token
    }

    fn accept(&mut self, text: &str) -> bool {
        let found = self.at(text);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        if self.accept(text) {
            Ok(())
        } else {
            expected(&format!("`{text}`"), self.advance())
        }
    }

    fn unexpected<T>(&mut self, what: &str) -> Result<T> {
        expected(what, self.advance())
    }
}

fn expected<T>(what: &str, found: Option<Token>) -> Result<T> {
    match found {
        Some(Token::Word(text) | Token::Int(text) | Token::Float(text) | Token::Sign(text)) => {
            Err(format!("expected {what}, found `{text}`"))
        }
        None => Err(format!("expected {what}, found the end of the text")),
    }
}

fn shortcut(precedence: u8) -> Option<Op> {
    match precedence {
        OR => Some(Op::Or),
        AND => Some(Op::And),
        _ => None,
    }
}

fn is_named(notation: Notation, name: &str) -> bool {
    matches!(notation, Notation::Named(text) if text == name)
}

/// Applies the operator so written to the expressions from `start`.
fn apply(
    out: &mut Checker,
    start: usize,
    text: &str,
    written: impl Fn(Notation) -> bool,
) -> Result<()> {
    let operands = out.types_from(start);
    let Some(number) = find(written, &operands) else {
        let types: Vec<&str> = operands.iter().map(|ty| ty.name()).collect();
        return Err(format!(
            "`{text}` does not work on {}",
            if types.is_empty() {
                "nothing".to_owned()
            } else {
                types.join(" and ")
            }
        ));
    };
    out.take(Op::Apply(number))
}

fn int(digits: &str, negative: bool) -> Result<i64> {
    let sign = if negative { "-" } else { "" };
    let text = format!("{sign}{}", digits.replace('_', ""));
    text.parse()
        .map_err(|_| format!("{text} does not fit 64 bits"))
}

fn float(digits: &str) -> Result<f64> {
    let value: f64 = digits
        .replace('_', "")
        .parse()
        .map_err(|_| format!("{digits} is no number"))?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(format!("{digits} is too large for a float"))
    }
}
