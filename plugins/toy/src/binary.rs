//! The binary form, read and written.
//!
//! ```text
//! program  = "toy" 0, version 1, array, count of functions, header of each, code of each
//! array    = 0 | length, name
//! header   = name, count of parameters, (name, type) of each, 0 | 1 + type of the result
//! code     = operations up to the End that closes the function
//! name     = count of bytes, UTF-8
//! ```
//!
//! Numbers are unsigned LEB128; integers of the language are folded to unsigned (0, -1, 1, -2, …) first. Floats are
//! their eight bytes, little-endian.

use crate::check::{Checker, FUNCTIONS, PARAMS, Scope};
use crate::program::{Array, Function, Header, Local, Op, Program, Type};

/// First bytes of the binary form.
pub const MAGIC: [u8; 4] = *b"toy\0";
/// The version written and read.
pub const VERSION: u8 = 1;

/// Why bytes are no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset:#x}: {what}")]
pub struct DecodeError {
    /// Where the part begins that is wrong.
    pub offset: usize,
    /// What is wrong there.
    pub what: String,
}

/// Operations of the same number of immediates stand together; operators follow from [`OPERATOR`].
mod code {
    pub const INT: u8 = 0x00;
    pub const FLOAT: u8 = 0x01;
    pub const FALSE: u8 = 0x02;
    pub const TRUE: u8 = 0x03;
    pub const GET: u8 = 0x04;
    pub const LOAD: u8 = 0x05;
    pub const CALL: u8 = 0x06;
    pub const AND: u8 = 0x07;
    pub const OR: u8 = 0x08;
    pub const LET: u8 = 0x09;
    pub const SET: u8 = 0x0a;
    pub const STORE: u8 = 0x0b;
    pub const PRINT: u8 = 0x0c;
    pub const PUT: u8 = 0x0d;
    pub const DISCARD: u8 = 0x0e;
    pub const IF: u8 = 0x0f;
    pub const ELSE: u8 = 0x10;
    pub const LOOP: u8 = 0x11;
    pub const WHILE: u8 = 0x12;
    pub const BREAK: u8 = 0x13;
    pub const CONTINUE: u8 = 0x14;
    pub const RETURN: u8 = 0x15;
    pub const END: u8 = 0x16;
    pub const OPERATOR: u8 = 0x40;
}

/// Writes the binary form.
pub fn encode(program: &Program) -> Vec<u8> {
    let mut out = Vec::from(MAGIC);
    out.push(VERSION);
    match &program.array {
        None => put_number(&mut out, 0),
        Some(array) => {
            put_number(&mut out, array.length.into());
            put_name(&mut out, &array.name);
        }
    }
    put_number(&mut out, program.functions.len() as u64);
    for Function { header, .. } in &program.functions {
        put_name(&mut out, &header.name);
        put_number(&mut out, header.params.len() as u64);
        for param in &header.params {
            put_name(&mut out, &param.name);
            out.push(param.ty as u8);
        }
        out.push(header.result.map_or(0, |ty| 1 + ty as u8));
    }
    for function in &program.functions {
        for op in &function.code {
            put_op(&mut out, function, *op);
        }
    }
    out
}

fn put_op(out: &mut Vec<u8>, function: &Function, op: Op) {
    let (opcode, number) = match op {
        Op::Int(value) => (code::INT, Some((value << 1 ^ value >> 63) as u64)),
        Op::Float(bits) => {
            out.push(code::FLOAT);
            out.extend_from_slice(&bits.to_le_bytes());
            return;
        }
        Op::Bool(false) => (code::FALSE, None),
        Op::Bool(true) => (code::TRUE, None),
        Op::Get(local) => (code::GET, Some(local.into())),
        Op::Load => (code::LOAD, None),
        Op::Apply(operator) => (code::OPERATOR + operator, None),
        Op::Call(callee) => (code::CALL, Some(callee.into())),
        Op::And => (code::AND, None),
        Op::Or => (code::OR, None),
        Op::Let(local) => {
            out.push(code::LET);
            put_name(
                out,
                function
                    .locals
                    .get(local as usize)
                    .map_or("", |local| &local.name),
            );
            return;
        }
        Op::Set(local) => (code::SET, Some(local.into())),
        Op::Store => (code::STORE, None),
        Op::Print(ty) => (code::PRINT, Some(ty as u64)),
        Op::Put => (code::PUT, None),
        Op::Discard => (code::DISCARD, None),
        Op::If => (code::IF, None),
        Op::Else => (code::ELSE, None),
        Op::Loop => (code::LOOP, None),
        Op::While => (code::WHILE, None),
        Op::Break => (code::BREAK, None),
        Op::Continue => (code::CONTINUE, None),
        Op::Return => (code::RETURN, None),
        Op::End => (code::END, None),
    };
    out.push(opcode);
    if let Some(number) = number {
        put_number(out, number);
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    put_number(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
}

/// Reads the binary form.
///
/// # Errors
/// The first thing that is wrong.
pub fn decode(bytes: &[u8]) -> Result<Program, DecodeError> {
    let mut reader = Reader {
        bytes,
        next: 0,
        last: 0,
    };
    let program = reader.program();
    program.map_err(|what| DecodeError {
        offset: reader.last,
        what,
    })
}

struct Reader<'b> {
    bytes: &'b [u8],
    next: usize,
    /// Where the part begins that errors are about.
    last: usize,
}

type Read<T> = Result<T, String>;

impl Reader<'_> {
    fn program(&mut self) -> Read<Program> {
        if self.take(MAGIC.len())? != MAGIC {
            return Err("not a toy program (wrong magic)".to_owned());
        }
        let version = self.byte()?;
        if version != VERSION {
            return Err(format!("version {version}, but this build reads {VERSION}"));
        }
        let mut scope = Scope::default();
        let at = self.next;
        let length = self.number(u32::MAX)?;
        if length > 0 {
            let array = Array {
                name: self.name()?,
                length,
            };
            self.last = at;
            scope.add_array(array)?;
        }
        let count = self.number(FUNCTIONS as u32)?;
        for _ in 0..count {
            let at = self.next;
            let header = self.header()?;
            self.last = at;
            scope.add_function(header)?;
        }
        let functions = (0..count as usize)
            .map(|index| self.function(&scope, index))
            .collect::<Read<_>>()?;
        self.last = self.next;
        match self.bytes.len() - self.next {
            0 => Ok(Program {
                array: scope.array,
                functions,
            }),
            rest => Err(format!("{rest} bytes after the program's end")),
        }
    }

    fn header(&mut self) -> Read<Header> {
        let name = self.name()?;
        let count = self.number(PARAMS as u32)?;
        let mut params = Vec::new();
        for _ in 0..count {
            params.push(Local {
                name: self.name()?,
                ty: self.ty()?,
            });
        }
        let result = match self.byte()? {
            0 => None,
            number => Some(type_of(number - 1)?),
        };
        Ok(Header {
            name,
            params,
            result,
        })
    }

    fn function(&mut self, scope: &Scope, index: usize) -> Read<Function> {
        self.last = self.next;
        let mut checker = Checker::new(scope, index)?;
        while !checker.ended() {
            let at = self.next;
            let opcode = self.byte()?;
            if opcode == code::LET {
                let name = self.name()?;
                self.last = at;
                checker.begin_local(&name)?;
                continue;
            }
            let op = self.op(opcode)?;
            self.last = at;
            checker.take(op)?;
        }
        checker.finish()
    }

    fn op(&mut self, opcode: u8) -> Read<Op> {
        Ok(match opcode {
            code::INT => {
                let folded = self.wide_number()?;
                Op::Int((folded >> 1) as i64 ^ -((folded & 1) as i64))
            }
            code::FLOAT => Op::Float(u64::from_le_bytes(
                self.take(8)?.try_into().unwrap_or_default(),
            )),
            code::FALSE => Op::Bool(false),
            code::TRUE => Op::Bool(true),
            code::GET => Op::Get(self.number(u32::MAX)?),
            code::LOAD => Op::Load,
            code::CALL => Op::Call(self.number(u32::MAX)?),
            code::AND => Op::And,
            code::OR => Op::Or,
            code::SET => Op::Set(self.number(u32::MAX)?),
            code::STORE => Op::Store,
            code::PRINT => Op::Print(self.ty()?),
            code::PUT => Op::Put,
            code::DISCARD => Op::Discard,
            code::IF => Op::If,
            code::ELSE => Op::Else,
            code::LOOP => Op::Loop,
            code::WHILE => Op::While,
            code::BREAK => Op::Break,
            code::CONTINUE => Op::Continue,
            code::RETURN => Op::Return,
            code::END => Op::End,
            code::OPERATOR.. => Op::Apply(opcode - code::OPERATOR),
            _ => return Err(format!("{opcode:#04x} is no operation")),
        })
    }

    fn take(&mut self, count: usize) -> Read<&[u8]> {
        self.last = self.next;
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        let bytes = rest.get(..count).ok_or("the program ends too early")?;
        self.next += count;
        Ok(bytes)
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn wide_number(&mut self) -> Read<u64> {
        let at = self.next;
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        self.last = at;
        Err("a number has more than 64 bits".to_owned())
    }

    fn number(&mut self, greatest: u32) -> Read<u32> {
        let at = self.next;
        let number = self.wide_number()?;
        self.last = at;
        u32::try_from(number)
            .ok()
            .filter(|number| *number <= greatest)
            .ok_or_else(|| format!("{number} is more than {greatest}"))
    }

    fn name(&mut self) -> Read<String> {
        let length = self.number(1 << 10)? as usize;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a name is not UTF-8".to_owned())
    }

    fn ty(&mut self) -> Read<Type> {
        type_of(self.byte()?)
    }
}

fn type_of(number: u8) -> Read<Type> {
    Type::ALL
        .get(usize::from(number))
        .copied()
        .ok_or_else(|| format!("{number} is no type"))
}
