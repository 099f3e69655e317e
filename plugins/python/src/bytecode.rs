//! Bytecode of CPython 3.11 to 3.13 to one form: what differs from version to version ends here.
//!
//! Numbers of instructions and their inline caches come from the interpreter that runs; what an instruction of a name means,
//! from its documentation (`dis`). Offsets count code units of two bytes.

use std::collections::HashMap;

/// The instructions of the interpreter that runs.
#[derive(Debug)]
pub struct Dialect {
    /// 11, 12 or 13.
    pub minor: u8,
    names: HashMap<u8, String>,
    caches: Vec<u8>,
}

/// A unary operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Negative,
    Not,
    Invert,
    Positive,
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Nop,
    LoadFast(u32),
    /// Pushes a local, or null if it has no value, and takes its value away.
    LoadFastAndClear(u32),
    LoadFastPair(u32, u32),
    StoreFast(u32),
    StoreFastPair(u32, u32),
    StoreFastLoadFast(u32, u32),
    LoadConst(u32),
    /// The name's number, and whether a null for a call goes with it.
    LoadGlobal(u32, bool),
    /// The name's number, and whether it is for a call.
    LoadAttr(u32, bool),
    PushNull,
    Pop,
    Copy(u32),
    Swap(u32),
    /// Its number among binary operations, those that work in place after the others.
    Binary(u32),
    /// Less, less or equal, equal, not equal, greater, greater or equal.
    Compare(u32),
    /// Identity, or its opposite.
    Is(bool),
    Unary(Unary),
    ToBool,
    Jump(u32),
    /// Pops, and jumps if the truth of it is that.
    JumpIf(bool, u32),
    /// Pops, and jumps if whether it is `None` is that.
    JumpIfNone(bool, u32),
    /// Jumps if the truth of the top is that, else pops it.
    JumpOrPop(bool, u32),
    GetIter,
    /// To where control goes, without the iterator, when there is no more.
    ForIter(u32),
    Call(u32),
    Subscript,
    /// Of two bounds.
    BuildSlice,
    /// Both at once.
    SubscriptSlice,
    StoreSubscript,
    BuildTuple(u32),
    BuildList(u32),
    /// Pops an item and appends it to the list at that depth.
    ListAppend(u32),
    Unpack(u32),
    /// Pushes the cell of a variable.
    LoadClosure(u32),
    /// What goes with its code, as bits; 8 for cells.
    MakeFunction(u32),
    Return,
    ReturnConst(u32),
    /// Anything else: the interpreter's.
    Other,
}

impl Op {
    /// Where it may jump to.
    pub const fn target(self) -> Option<u32> {
        match self {
            Op::Jump(to)
            | Op::JumpIf(_, to)
            | Op::JumpIfNone(_, to)
            | Op::JumpOrPop(_, to)
            | Op::ForIter(to) => Some(to),
            _ => None,
        }
    }
}

/// An instruction with its prefixes and caches.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    pub op: Op,
    /// Its first code unit, that of its prefixes if it has any.
    pub offset: u32,
    /// The code unit behind it.
    pub next: u32,
    number: u8,
}

/// A function that is made of a constant.
#[derive(Debug)]
pub struct Made {
    /// Variables whose cells it gets.
    pub cells: Vec<u32>,
    /// The number of its code among the constants.
    pub constant: u32,
    /// Behind the last of the instructions that make it.
    pub behind: usize,
}

/// The function that the instructions from number `at` on make, without defaults or the like.
pub fn function_at(code: &[Instruction], at: usize) -> Option<Made> {
    let mut ops = code.get(at..)?.iter().map(|instruction| instruction.op);
    let mut cells = Vec::new();
    let mut op = ops.next()?;
    while let Op::LoadClosure(cell) = op {
        cells.push(cell);
        op = ops.next()?;
    }
    let mut flags = 0;
    if !cells.is_empty() {
        if op != Op::BuildTuple(cells.len() as u32) {
            return None;
        }
        flags = 8;
        op = ops.next()?;
    }
    let Op::LoadConst(constant) = op else {
        return None;
    };
    let behind = at + cells.len() + usize::from(flags != 0) + 2;
    (ops.next()? == Op::MakeFunction(flags)).then_some(Made {
        cells,
        constant,
        behind,
    })
}

impl Dialect {
    /// From `opcode.opmap` and the number of cache entries of each instruction by its number.
    pub fn new(minor: u8, opmap: HashMap<String, u8>, caches: Vec<u8>) -> Self {
        let names = opmap.into_iter().map(|(name, number)| (number, name));
        Self {
            minor,
            names: names.collect(),
            caches,
        }
    }

    /// The instruction's name.
    pub fn name(&self, instruction: &Instruction) -> &str {
        self.names
            .get(&instruction.number)
            .map_or("?", String::as_str)
    }

    /// The instructions of a code object's `co_code`, ascending by offset.
    pub fn decode(&self, code: &[u8]) -> Vec<Instruction> {
        let mut instructions = Vec::new();
        let units = (code.len() / 2) as u32;
        let (mut at, mut offset, mut argument) = (0, 0, 0u32);
        while at < units {
            let (number, byte) = (code[2 * at as usize], code[2 * at as usize + 1]);
            argument = argument << 8 | u32::from(byte);
            let name = self.names.get(&number).map_or("", String::as_str);
            let caches = self.caches.get(usize::from(number)).copied().unwrap_or(0);
            at += 1 + u32::from(caches);
            if name == "EXTENDED_ARG" {
                continue;
            }
            if name == "PRECALL" {
                // Belongs to the CALL behind it: whoever goes on at a call goes on here.
                argument = 0;
                continue;
            }
            instructions.push(Instruction {
                op: self.op(name, argument, at),
                offset,
                next: at,
                number,
            });
            (offset, argument) = (at, 0);
        }
        instructions
    }

    fn op(&self, name: &str, arg: u32, next: u32) -> Op {
        let forward = next.saturating_add(arg);
        let backward = next.saturating_sub(arg);
        let pair = (arg >> 4, arg & 15);
        match name {
            "NOP" | "RESUME" | "CACHE" | "END_FOR" => Op::Nop,
            // Cells are variables like others: see `translate/comprehensions.rs`.
            "MAKE_CELL" | "COPY_FREE_VARS" => Op::Nop,
            "LOAD_DEREF" => Op::LoadFast(arg),
            "STORE_DEREF" => Op::StoreFast(arg),
            "LOAD_CLOSURE" => Op::LoadClosure(arg),
            "MAKE_FUNCTION" => Op::MakeFunction(arg),
            "LOAD_FAST" | "LOAD_FAST_CHECK" => Op::LoadFast(arg),
            "LOAD_FAST_LOAD_FAST" => Op::LoadFastPair(pair.0, pair.1),
            "LOAD_FAST_AND_CLEAR" => Op::LoadFastAndClear(arg),
            "STORE_FAST" => Op::StoreFast(arg),
            "STORE_FAST_STORE_FAST" => Op::StoreFastPair(pair.0, pair.1),
            "STORE_FAST_LOAD_FAST" => Op::StoreFastLoadFast(pair.0, pair.1),
            "LOAD_CONST" => Op::LoadConst(arg),
            "LOAD_GLOBAL" => Op::LoadGlobal(arg >> 1, arg & 1 != 0),
            "LOAD_METHOD" => Op::LoadAttr(arg, true),
            "LOAD_ATTR" if self.minor == 11 => Op::LoadAttr(arg, false),
            "LOAD_ATTR" => Op::LoadAttr(arg >> 1, arg & 1 != 0),
            "PUSH_NULL" => Op::PushNull,
            "POP_TOP" => Op::Pop,
            "COPY" => Op::Copy(arg),
            "SWAP" => Op::Swap(arg),
            "BINARY_OP" => Op::Binary(arg),
            "COMPARE_OP" => Op::Compare(match self.minor {
                11 => arg,
                12 => arg >> 4,
                _ => arg >> 5,
            }),
            "IS_OP" => Op::Is(arg != 0),
            "UNARY_NEGATIVE" => Op::Unary(Unary::Negative),
            "UNARY_NOT" => Op::Unary(Unary::Not),
            "UNARY_INVERT" => Op::Unary(Unary::Invert),
            "UNARY_POSITIVE" => Op::Unary(Unary::Positive),
            // INTRINSIC_UNARY_POSITIVE.
            "CALL_INTRINSIC_1" if arg == 5 => Op::Unary(Unary::Positive),
            "TO_BOOL" => Op::ToBool,
            "JUMP_FORWARD" => Op::Jump(forward),
            "JUMP_BACKWARD" | "JUMP_BACKWARD_NO_INTERRUPT" => Op::Jump(backward),
            "POP_JUMP_FORWARD_IF_TRUE" | "POP_JUMP_IF_TRUE" => Op::JumpIf(true, forward),
            "POP_JUMP_FORWARD_IF_FALSE" | "POP_JUMP_IF_FALSE" => Op::JumpIf(false, forward),
            "POP_JUMP_BACKWARD_IF_TRUE" => Op::JumpIf(true, backward),
            "POP_JUMP_BACKWARD_IF_FALSE" => Op::JumpIf(false, backward),
            "POP_JUMP_FORWARD_IF_NONE" | "POP_JUMP_IF_NONE" => Op::JumpIfNone(true, forward),
            "POP_JUMP_FORWARD_IF_NOT_NONE" | "POP_JUMP_IF_NOT_NONE" => {
                Op::JumpIfNone(false, forward)
            }
            "POP_JUMP_BACKWARD_IF_NONE" => Op::JumpIfNone(true, backward),
            "POP_JUMP_BACKWARD_IF_NOT_NONE" => Op::JumpIfNone(false, backward),
            "JUMP_IF_TRUE_OR_POP" => Op::JumpOrPop(true, forward),
            "JUMP_IF_FALSE_OR_POP" => Op::JumpOrPop(false, forward),
            "GET_ITER" => Op::GetIter,
            // 3.12 goes on behind the END_FOR it jumps to, 3.13 behind the POP_TOP after it too; both pop the iterator.
            "FOR_ITER" => Op::ForIter(forward + u32::from(self.minor.saturating_sub(11))),
            "CALL" => Op::Call(arg),
            "BUILD_SLICE" if arg == 2 => Op::BuildSlice,
            "BINARY_SLICE" => Op::SubscriptSlice,
            "BINARY_SUBSCR" => Op::Subscript,
            "STORE_SUBSCR" => Op::StoreSubscript,
            "BUILD_TUPLE" => Op::BuildTuple(arg),
            "LIST_APPEND" => Op::ListAppend(arg),
            "BUILD_LIST" => Op::BuildList(arg),
            "UNPACK_SEQUENCE" => Op::Unpack(arg),
            "RETURN_VALUE" => Op::Return,
            "RETURN_CONST" => Op::ReturnConst(arg),
            _ => Op::Other,
        }
    }
}
