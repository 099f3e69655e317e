//! Instructions by opcode: what follows them in the binary format, what they do to the stack of types, and the pack's
//! operation of that name.
//!
//! Numeric instructions, loads, stores and vectors are data here and need no code elsewhere: an instruction that the
//! pack has an operation for is generated, any other is validated and then refused by its name. Only instructions with an
//! effect on control, variables, tables, references or through a helper have a [`Kind`] of their own.

use copatch::{OpId, Pack};

use crate::facts::Type;

/// How an instruction is decoded and validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    // Those with a short path in the visit.
    LocalGet,
    LocalSet,
    LocalTee,
    I32Const,
    I64Const,
    /// By the table alone: one operand, one result.
    Unary,
    /// By the table alone: two operands, one result.
    Binary,
    /// As unary: whether an i32 is zero, which turns a condition round.
    Not,
    /// As unary: an i32 as an i64 without sign, with which additions of addresses begin.
    Widen,
    /// By the table and an alignment and an offset: one operand, one result.
    Load,
    /// By the table and an alignment and an offset: two operands.
    Store,
    GlobalGet,
    GlobalSet,
    Block,
    Loop,
    If,
    Else,
    End,
    Br,
    BrIf,
    Return,
    Call,
    Drop,
    Select,
    Nop,
    // The others.
    Illegal,
    /// By the table alone: three operands, one result.
    Ternary,
    /// By the table and an alignment, an offset and a lane.
    MemoryLane,
    /// By the table and a lane.
    Lane,
    /// By the table and sixteen lanes of two vectors.
    Shuffle,
    /// By the table and sixteen bytes.
    V128Const,
    /// The rest of the opcode follows.
    PrefixFc,
    PrefixFd,
    Unreachable,
    BrTable,
    CallIndirect,
    ReturnCall,
    ReturnCallIndirect,
    SelectTyped,
    TableGet,
    TableSet,
    MemorySize,
    MemoryGrow,
    F32Const,
    F64Const,
    RefNull,
    RefIsNull,
    RefFunc,
    MemoryInit,
    DataDrop,
    MemoryCopy,
    MemoryFill,
    TableInit,
    ElemDrop,
    TableCopy,
    TableGrow,
    TableSize,
    TableFill,
}

/// What the table says of one instruction.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub(crate) struct Instruction {
    pub kind: Kind,
    /// The binary logarithm of the natural alignment, or the number of lanes.
    pub limit: u8,
    /// Types of the operands, the one on top last; [`Type::UNKNOWN`] beyond the last.
    pub operands: [Type; 3],
    /// The type of the result, or [`Type::UNKNOWN`] if there is none.
    pub result: Type,
    /// The pack's operation, if it has one.
    pub op: Option<OpId>,
    /// See [`Self::sum`].
    sum: Option<OpId>,
    /// The instruction's place in the table.
    number: u16,
}

impl Instruction {
    const ILLEGAL: Self = Self {
        kind: Kind::Illegal,
        limit: 0,
        operands: [Type::UNKNOWN; 3],
        result: Type::UNKNOWN,
        op: None,
        sum: None,
        number: 0,
    };

    /// For a load or store without offset, the same with the pack's operation whose address is the operand plus the immediate,
    /// in 32 bits, if there is one.
    #[inline(always)]
    pub fn sum(&self) -> Option<Self> {
        let op = Some(self.sum?);
        Some(Self { op, ..*self })
    }

    /// Its name in the text format.
    pub fn name(&self) -> String {
        let named = |(run, number, name): (&Run, u16, &str)| {
            (number == self.number).then(|| run.name(name))
        };
        entries().find_map(named).unwrap_or_default()
    }
}

/// In place of a block's type: it has neither parameters nor results.
pub(crate) const NO_TYPES: u8 = 0x40;

pub(crate) const END: u8 = 0x0b;
pub(crate) const BR: u8 = 0x0c;
pub(crate) const CALL: u8 = 0x10;
pub(crate) const BR_TABLE: u8 = 0x0e;
pub(crate) const LOCAL_GET: u8 = 0x20;
pub(crate) const LOCAL_SET: u8 = 0x21;
pub(crate) const LOCAL_TEE: u8 = 0x22;
pub(crate) const GLOBAL_GET: u8 = 0x23;
pub(crate) const I64_LOAD: u8 = 0x29;
pub(crate) const I32_CONST: u8 = 0x41;
pub(crate) const I64_CONST: u8 = 0x42;
pub(crate) const I32_EQZ: u8 = 0x45;
pub(crate) const I64_EQZ: u8 = 0x50;
pub(crate) const I32_ADD: u8 = 0x6a;
pub(crate) const I32_SUB: u8 = I32_ADD + 1;
pub(crate) const I64_ADD: u8 = 0x7c;
pub(crate) const I64_SUB: u8 = I64_ADD + 1;
pub(crate) const I32_WRAP_I64: u8 = 0xa7;

/// Every instruction of WebAssembly 2.0 and tail calls.
#[derive(Debug)]
pub(crate) struct Table {
    /// The kinds of those of one byte, and of prefixes.
    pub kinds: [Kind; 256],
    /// Those of one byte.
    pub plain: [Instruction; 256],
    /// Those behind the byte 0xfc.
    pub fc: [Instruction; 256],
    /// Those behind the byte 0xfd.
    pub fd: [Instruction; 256],
    /// An `i64.load` with an `i32.wrap_i64` behind it, if the pack has an operation for both.
    pub load_wrap: Instruction,
}

impl Table {
    /// The table, with the operations of a pack.
    pub fn new(pack: Option<&Pack>) -> Self {
        let find = |name: &str| pack.and_then(|pack| pack.op(name).ok());
        let mut table = Self {
            kinds: [Kind::Illegal; 256],
            plain: [Instruction::ILLEGAL; 256],
            fc: [Instruction::ILLEGAL; 256],
            fd: [Instruction::ILLEGAL; 256],
            load_wrap: Instruction::ILLEGAL,
        };
        for (run, number, name) in entries() {
            let page = match number >> 8 {
                0 => &mut table.plain,
                1 => &mut table.fc,
                _ => &mut table.fd,
            };
            let mut operands = [Type::UNKNOWN; 3];
            let (before, after) = run.signature.split_once('>').unwrap_or_default();
            for (operand, letter) in operands.iter_mut().zip(before.chars()) {
                *operand = Type::from_letter(letter);
            }
            page[usize::from(number & 0xff)] = Instruction {
                kind: run.kind,
                limit: run.limit,
                operands,
                result: after
                    .chars()
                    .next()
                    .map_or(Type::UNKNOWN, Type::from_letter),
                op: find(&run.name(name)),
                sum: find(&format!("{}_sum", run.name(name))),
                number,
            };
        }
        table.kinds = table.plain.map(|instruction| instruction.kind);
        table.load_wrap = Instruction {
            op: find("i64.load_wrap"),
            result: Type::I32,
            ..table.plain[usize::from(I64_LOAD)]
        };
        table
    }
}

/// Instructions with consecutive opcodes and everything else in common.
struct Run {
    /// The first opcode; 0x100 stands for the prefix 0xfc, 0x200 for 0xfd.
    first: u16,
    kind: Kind,
    limit: u8,
    /// Operands and result: `i`32, `l` for i64, `f`32, `d` for f64, `v`128.
    signature: &'static str,
    prefix: &'static str,
    names: &'static str,
}

impl Run {
    fn name(&self, name: &str) -> String {
        match self.prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}.{name}"),
        }
    }
}

fn entries() -> impl Iterator<Item = (&'static Run, u16, &'static str)> {
    RUNS.iter().flat_map(|run| {
        let names = run.names.split_ascii_whitespace();
        (run.first..)
            .zip(names)
            .map(move |(number, name)| (run, number, name))
    })
}

/// Instructions with code of their own.
const fn own(first: u16, kind: Kind, names: &'static str) -> Run {
    Run {
        first,
        kind,
        limit: 0,
        signature: ">",
        prefix: "",
        names,
    }
}

/// Instructions by the table alone.
const fn data(
    first: u16,
    kind: Kind,
    limit: u8,
    signature: &'static str,
    prefix: &'static str,
    names: &'static str,
) -> Run {
    Run {
        first,
        kind,
        limit,
        signature,
        prefix,
        names,
    }
}

use Kind::{Binary, Lane, Load, MemoryLane, Store, Ternary, Unary};

#[rustfmt::skip]
const RUNS: &[Run] = &[
    own(0x00, Kind::Unreachable, "unreachable"),
    own(0x01, Kind::Nop, "nop"),
    own(0x02, Kind::Block, "block"),
    own(0x03, Kind::Loop, "loop"),
    own(0x04, Kind::If, "if"),
    own(0x05, Kind::Else, "else"),
    own(0x0b, Kind::End, "end"),
    own(0x0c, Kind::Br, "br"),
    own(0x0d, Kind::BrIf, "br_if"),
    own(0x0e, Kind::BrTable, "br_table"),
    own(0x0f, Kind::Return, "return"),
    own(0x10, Kind::Call, "call"),
    own(0x11, Kind::CallIndirect, "call_indirect"),
    own(0x12, Kind::ReturnCall, "return_call"),
    own(0x13, Kind::ReturnCallIndirect, "return_call_indirect"),
    own(0x1a, Kind::Drop, "drop"),
    own(0x1b, Kind::Select, "select"),
    own(0x1c, Kind::SelectTyped, "select"),
    own(0x20, Kind::LocalGet, "local.get"),
    own(0x21, Kind::LocalSet, "local.set"),
    own(0x22, Kind::LocalTee, "local.tee"),
    own(0x23, Kind::GlobalGet, "global.get"),
    own(0x24, Kind::GlobalSet, "global.set"),
    own(0x25, Kind::TableGet, "table.get"),
    own(0x26, Kind::TableSet, "table.set"),

    data(0x28, Load, 2, "i>i", "i32", "load"),
    data(0x29, Load, 3, "i>l", "i64", "load"),
    data(0x2a, Load, 2, "i>f", "f32", "load"),
    data(0x2b, Load, 3, "i>d", "f64", "load"),
    data(0x2c, Load, 0, "i>i", "i32", "load8_s load8_u"),
    data(0x2e, Load, 1, "i>i", "i32", "load16_s load16_u"),
    data(0x30, Load, 0, "i>l", "i64", "load8_s load8_u"),
    data(0x32, Load, 1, "i>l", "i64", "load16_s load16_u"),
    data(0x34, Load, 2, "i>l", "i64", "load32_s load32_u"),
    data(0x36, Store, 2, "ii>", "i32", "store"),
    data(0x37, Store, 3, "il>", "i64", "store"),
    data(0x38, Store, 2, "if>", "f32", "store"),
    data(0x39, Store, 3, "id>", "f64", "store"),
    data(0x3a, Store, 0, "ii>", "i32", "store8"),
    data(0x3b, Store, 1, "ii>", "i32", "store16"),
    data(0x3c, Store, 0, "il>", "i64", "store8"),
    data(0x3d, Store, 1, "il>", "i64", "store16"),
    data(0x3e, Store, 2, "il>", "i64", "store32"),

    own(0x3f, Kind::MemorySize, "memory.size"),
    own(0x40, Kind::MemoryGrow, "memory.grow"),
    own(0x41, Kind::I32Const, "i32.const"),
    own(0x42, Kind::I64Const, "i64.const"),
    own(0x43, Kind::F32Const, "f32.const"),
    own(0x44, Kind::F64Const, "f64.const"),

    data(0x45, Kind::Not, 0, "i>i", "i32", "eqz"),
    data(0x46, Binary, 0, "ii>i", "i32", "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
    data(0x50, Unary, 0, "l>i", "i64", "eqz"),
    data(0x51, Binary, 0, "ll>i", "i64", "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
    data(0x5b, Binary, 0, "ff>i", "f32", "eq ne lt gt le ge"),
    data(0x61, Binary, 0, "dd>i", "f64", "eq ne lt gt le ge"),
    data(0x67, Unary, 0, "i>i", "i32", "clz ctz popcnt"),
    data(0x6a, Binary, 0, "ii>i", "i32", "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"),
    data(0x79, Unary, 0, "l>l", "i64", "clz ctz popcnt"),
    data(0x7c, Binary, 0, "ll>l", "i64", "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"),
    data(0x8b, Unary, 0, "f>f", "f32", "abs neg ceil floor trunc nearest sqrt"),
    data(0x92, Binary, 0, "ff>f", "f32", "add sub mul div min max copysign"),
    data(0x99, Unary, 0, "d>d", "f64", "abs neg ceil floor trunc nearest sqrt"),
    data(0xa0, Binary, 0, "dd>d", "f64", "add sub mul div min max copysign"),
    data(0xa7, Unary, 0, "l>i", "i32", "wrap_i64"),
    data(0xa8, Unary, 0, "f>i", "i32", "trunc_f32_s trunc_f32_u"),
    data(0xaa, Unary, 0, "d>i", "i32", "trunc_f64_s trunc_f64_u"),
    data(0xac, Unary, 0, "i>l", "i64", "extend_i32_s"),
    data(0xad, Kind::Widen, 0, "i>l", "i64", "extend_i32_u"),
    data(0xae, Unary, 0, "f>l", "i64", "trunc_f32_s trunc_f32_u"),
    data(0xb0, Unary, 0, "d>l", "i64", "trunc_f64_s trunc_f64_u"),
    data(0xb2, Unary, 0, "i>f", "f32", "convert_i32_s convert_i32_u"),
    data(0xb4, Unary, 0, "l>f", "f32", "convert_i64_s convert_i64_u"),
    data(0xb6, Unary, 0, "d>f", "f32", "demote_f64"),
    data(0xb7, Unary, 0, "i>d", "f64", "convert_i32_s convert_i32_u"),
    data(0xb9, Unary, 0, "l>d", "f64", "convert_i64_s convert_i64_u"),
    data(0xbb, Unary, 0, "f>d", "f64", "promote_f32"),
    data(0xbc, Unary, 0, "f>i", "i32", "reinterpret_f32"),
    data(0xbd, Unary, 0, "d>l", "i64", "reinterpret_f64"),
    data(0xbe, Unary, 0, "i>f", "f32", "reinterpret_i32"),
    data(0xbf, Unary, 0, "l>d", "f64", "reinterpret_i64"),
    data(0xc0, Unary, 0, "i>i", "i32", "extend8_s extend16_s"),
    data(0xc2, Unary, 0, "l>l", "i64", "extend8_s extend16_s extend32_s"),

    own(0xd0, Kind::RefNull, "ref.null"),
    own(0xd1, Kind::RefIsNull, "ref.is_null"),
    own(0xd2, Kind::RefFunc, "ref.func"),
    own(0xfc, Kind::PrefixFc, "0xfc"),
    own(0xfd, Kind::PrefixFd, "0xfd"),

    data(0x100, Unary, 0, "f>i", "i32", "trunc_sat_f32_s trunc_sat_f32_u"),
    data(0x102, Unary, 0, "d>i", "i32", "trunc_sat_f64_s trunc_sat_f64_u"),
    data(0x104, Unary, 0, "f>l", "i64", "trunc_sat_f32_s trunc_sat_f32_u"),
    data(0x106, Unary, 0, "d>l", "i64", "trunc_sat_f64_s trunc_sat_f64_u"),
    own(0x108, Kind::MemoryInit, "memory.init"),
    own(0x109, Kind::DataDrop, "data.drop"),
    own(0x10a, Kind::MemoryCopy, "memory.copy"),
    own(0x10b, Kind::MemoryFill, "memory.fill"),
    own(0x10c, Kind::TableInit, "table.init"),
    own(0x10d, Kind::ElemDrop, "elem.drop"),
    own(0x10e, Kind::TableCopy, "table.copy"),
    own(0x10f, Kind::TableGrow, "table.grow"),
    own(0x110, Kind::TableSize, "table.size"),
    own(0x111, Kind::TableFill, "table.fill"),

    data(0x200, Load, 4, "i>v", "v128", "load"),
    data(0x201, Load, 3, "i>v", "v128", "load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u"),
    data(0x207, Load, 0, "i>v", "v128", "load8_splat"),
    data(0x208, Load, 1, "i>v", "v128", "load16_splat"),
    data(0x209, Load, 2, "i>v", "v128", "load32_splat"),
    data(0x20a, Load, 3, "i>v", "v128", "load64_splat"),
    data(0x20b, Store, 4, "iv>", "v128", "store"),
    data(0x20c, Kind::V128Const, 0, ">v", "v128", "const"),
    data(0x20d, Kind::Shuffle, 32, "vv>v", "i8x16", "shuffle"),
    data(0x20e, Binary, 0, "vv>v", "i8x16", "swizzle"),
    data(0x20f, Unary, 0, "i>v", "i8x16", "splat"),
    data(0x210, Unary, 0, "i>v", "i16x8", "splat"),
    data(0x211, Unary, 0, "i>v", "i32x4", "splat"),
    data(0x212, Unary, 0, "l>v", "i64x2", "splat"),
    data(0x213, Unary, 0, "f>v", "f32x4", "splat"),
    data(0x214, Unary, 0, "d>v", "f64x2", "splat"),
    data(0x215, Lane, 16, "v>i", "i8x16", "extract_lane_s extract_lane_u"),
    data(0x217, Lane, 16, "vi>v", "i8x16", "replace_lane"),
    data(0x218, Lane, 8, "v>i", "i16x8", "extract_lane_s extract_lane_u"),
    data(0x21a, Lane, 8, "vi>v", "i16x8", "replace_lane"),
    data(0x21b, Lane, 4, "v>i", "i32x4", "extract_lane"),
    data(0x21c, Lane, 4, "vi>v", "i32x4", "replace_lane"),
    data(0x21d, Lane, 2, "v>l", "i64x2", "extract_lane"),
    data(0x21e, Lane, 2, "vl>v", "i64x2", "replace_lane"),
    data(0x21f, Lane, 4, "v>f", "f32x4", "extract_lane"),
    data(0x220, Lane, 4, "vf>v", "f32x4", "replace_lane"),
    data(0x221, Lane, 2, "v>d", "f64x2", "extract_lane"),
    data(0x222, Lane, 2, "vd>v", "f64x2", "replace_lane"),
    data(0x223, Binary, 0, "vv>v", "i8x16", "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
    data(0x22d, Binary, 0, "vv>v", "i16x8", "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
    data(0x237, Binary, 0, "vv>v", "i32x4", "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"),
    data(0x241, Binary, 0, "vv>v", "f32x4", "eq ne lt gt le ge"),
    data(0x247, Binary, 0, "vv>v", "f64x2", "eq ne lt gt le ge"),
    data(0x24d, Unary, 0, "v>v", "v128", "not"),
    data(0x24e, Binary, 0, "vv>v", "v128", "and andnot or xor"),
    data(0x252, Ternary, 0, "vvv>v", "v128", "bitselect"),
    data(0x253, Unary, 0, "v>i", "v128", "any_true"),
    data(0x254, MemoryLane, 0, "iv>v", "v128", "load8_lane"),
    data(0x255, MemoryLane, 1, "iv>v", "v128", "load16_lane"),
    data(0x256, MemoryLane, 2, "iv>v", "v128", "load32_lane"),
    data(0x257, MemoryLane, 3, "iv>v", "v128", "load64_lane"),
    data(0x258, MemoryLane, 0, "iv>", "v128", "store8_lane"),
    data(0x259, MemoryLane, 1, "iv>", "v128", "store16_lane"),
    data(0x25a, MemoryLane, 2, "iv>", "v128", "store32_lane"),
    data(0x25b, MemoryLane, 3, "iv>", "v128", "store64_lane"),
    data(0x25c, Load, 2, "i>v", "v128", "load32_zero"),
    data(0x25d, Load, 3, "i>v", "v128", "load64_zero"),
    data(0x25e, Unary, 0, "v>v", "f32x4", "demote_f64x2_zero"),
    data(0x25f, Unary, 0, "v>v", "f64x2", "promote_low_f32x4"),
    data(0x260, Unary, 0, "v>v", "i8x16", "abs neg popcnt"),
    data(0x263, Unary, 0, "v>i", "i8x16", "all_true bitmask"),
    data(0x265, Binary, 0, "vv>v", "i8x16", "narrow_i16x8_s narrow_i16x8_u"),
    data(0x267, Unary, 0, "v>v", "f32x4", "ceil floor trunc nearest"),
    data(0x26b, Binary, 0, "vi>v", "i8x16", "shl shr_s shr_u"),
    data(0x26e, Binary, 0, "vv>v", "i8x16", "add add_sat_s add_sat_u sub sub_sat_s sub_sat_u"),
    data(0x274, Unary, 0, "v>v", "f64x2", "ceil floor"),
    data(0x276, Binary, 0, "vv>v", "i8x16", "min_s min_u max_s max_u"),
    data(0x27a, Unary, 0, "v>v", "f64x2", "trunc"),
    data(0x27b, Binary, 0, "vv>v", "i8x16", "avgr_u"),
    data(0x27c, Unary, 0, "v>v", "i16x8", "extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u"),
    data(0x27e, Unary, 0, "v>v", "i32x4", "extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u"),
    data(0x280, Unary, 0, "v>v", "i16x8", "abs neg"),
    data(0x282, Binary, 0, "vv>v", "i16x8", "q15mulr_sat_s"),
    data(0x283, Unary, 0, "v>i", "i16x8", "all_true bitmask"),
    data(0x285, Binary, 0, "vv>v", "i16x8", "narrow_i32x4_s narrow_i32x4_u"),
    data(0x287, Unary, 0, "v>v", "i16x8", "extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u"),
    data(0x28b, Binary, 0, "vi>v", "i16x8", "shl shr_s shr_u"),
    data(0x28e, Binary, 0, "vv>v", "i16x8", "add add_sat_s add_sat_u sub sub_sat_s sub_sat_u"),
    data(0x294, Unary, 0, "v>v", "f64x2", "nearest"),
    data(0x295, Binary, 0, "vv>v", "i16x8", "mul min_s min_u max_s max_u"),
    data(0x29b, Binary, 0, "vv>v", "i16x8", "avgr_u"),
    data(0x29c, Binary, 0, "vv>v", "i16x8", "extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u"),
    data(0x2a0, Unary, 0, "v>v", "i32x4", "abs neg"),
    data(0x2a3, Unary, 0, "v>i", "i32x4", "all_true bitmask"),
    data(0x2a7, Unary, 0, "v>v", "i32x4", "extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u"),
    data(0x2ab, Binary, 0, "vi>v", "i32x4", "shl shr_s shr_u"),
    data(0x2ae, Binary, 0, "vv>v", "i32x4", "add"),
    data(0x2b1, Binary, 0, "vv>v", "i32x4", "sub"),
    data(0x2b5, Binary, 0, "vv>v", "i32x4", "mul min_s min_u max_s max_u dot_i16x8_s"),
    data(0x2bc, Binary, 0, "vv>v", "i32x4", "extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u"),
    data(0x2c0, Unary, 0, "v>v", "i64x2", "abs neg"),
    data(0x2c3, Unary, 0, "v>i", "i64x2", "all_true bitmask"),
    data(0x2c7, Unary, 0, "v>v", "i64x2", "extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u"),
    data(0x2cb, Binary, 0, "vi>v", "i64x2", "shl shr_s shr_u"),
    data(0x2ce, Binary, 0, "vv>v", "i64x2", "add"),
    data(0x2d1, Binary, 0, "vv>v", "i64x2", "sub"),
    data(0x2d5, Binary, 0, "vv>v", "i64x2", "mul eq ne lt_s gt_s le_s ge_s"),
    data(0x2dc, Binary, 0, "vv>v", "i64x2", "extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u"),
    data(0x2e0, Unary, 0, "v>v", "f32x4", "abs neg"),
    data(0x2e3, Unary, 0, "v>v", "f32x4", "sqrt"),
    data(0x2e4, Binary, 0, "vv>v", "f32x4", "add sub mul div min max pmin pmax"),
    data(0x2ec, Unary, 0, "v>v", "f64x2", "abs neg"),
    data(0x2ef, Unary, 0, "v>v", "f64x2", "sqrt"),
    data(0x2f0, Binary, 0, "vv>v", "f64x2", "add sub mul div min max pmin pmax"),
    data(0x2f8, Unary, 0, "v>v", "i32x4", "trunc_sat_f32x4_s trunc_sat_f32x4_u"),
    data(0x2fa, Unary, 0, "v>v", "f32x4", "convert_i32x4_s convert_i32x4_u"),
    data(0x2fc, Unary, 0, "v>v", "i32x4", "trunc_sat_f64x2_s_zero trunc_sat_f64x2_u_zero"),
    data(0x2fe, Unary, 0, "v>v", "f64x2", "convert_low_i32x4_s convert_low_i32x4_u"),
];
