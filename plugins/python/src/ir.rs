//! What passes between translation, structure and generation: types, steps of a stack machine, exits.

use copatch::ValueType;

/// What is known of an object whose value is in variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    None,
    Bool,
    /// An integer of 64 bits.
    Int,
    Float,
    /// A list by its address, whose items were of a type when it was last looked at.
    List(Item),
    /// A tuple by its address, by what its items are.
    Tuple(&'static [Item]),
    /// `bytes` and a `bytearray` by their address.
    Bytes,
    ByteArray,
    /// An `array.array` by its address.
    Array(Element),
    /// An array of numpy by its address, of one or two dimensions.
    NumpyArray(Element, u8),
    /// Scalars of numpy, of float64 and of int64: they are computed with by other rules than Python's.
    NumpyFloat,
    NumpyInt,
    /// Iterators, as arguments of comprehensions: of a range with a step that is known, or 0, and of a list.
    RangeIterator(i64),
    ListIterator(Item),
}

/// What an array is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Element {
    /// By the type code of `array.array`, where `long` has 64 bits.
    pub const fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            b'b' => Element::I8,
            b'B' => Element::U8,
            b'h' => Element::I16,
            b'H' => Element::U16,
            b'i' => Element::I32,
            b'I' => Element::U32,
            b'l' | b'q' => Element::I64,
            b'L' | b'Q' => Element::U64,
            b'f' => Element::F32,
            b'd' => Element::F64,
            _ => return None,
        })
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Element::I8 => "int8",
            Element::U8 => "uint8",
            Element::I16 => "int16",
            Element::U16 => "uint16",
            Element::I32 => "int32",
            Element::U32 => "uint32",
            Element::I64 => "int64",
            Element::U64 => "uint64",
            Element::F32 => "float32",
            Element::F64 => "float64",
        }
    }
}

/// What a list's items are taken for; each access makes sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// Nothing was seen in it yet.
    Unknown,
    Bool,
    Int,
    Float,
    /// Lists, of items of the second kind.
    Lists(Leaf),
}

/// What the items of a list's lists are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    Bool,
    Int,
    Float,
}

impl Item {
    /// The type of such an item; of an unknown one a list's, as of any object.
    pub const fn ty(self) -> Type {
        match self {
            Item::Bool => Type::Bool,
            Item::Int => Type::Int,
            Item::Float => Type::Float,
            Item::Lists(leaf) => Type::List(leaf.item()),
            Item::Unknown => Type::List(Item::Unknown),
        }
    }

    /// For people.
    pub fn name(self) -> String {
        match self {
            Item::Unknown => "object".into(),
            Item::Bool => "bool".into(),
            Item::Int => "int".into(),
            Item::Float => "float".into(),
            Item::Lists(leaf) => format!("list[{}]", leaf.item().name()),
        }
    }
}

impl Leaf {
    pub const fn item(self) -> Item {
        match self {
            Leaf::Bool => Item::Bool,
            Leaf::Int => Item::Int,
            Leaf::Float => Item::Float,
        }
    }
}

impl Type {
    /// The engine's variables that hold a value of the type.
    pub const fn parts(self) -> &'static [ValueType] {
        match self {
            Type::None => &[],
            Type::Bool => &[ValueType::I32],
            Type::Float | Type::NumpyFloat => &[ValueType::F64],
            // Of a range the next value, the end and the step; of a list the list, and the index of what comes next.
            Type::RangeIterator(_) => &[ValueType::I64; 3],
            Type::ListIterator(_) => &[ValueType::I64; 2],
            // Integers, and objects by their address.
            _ => &[ValueType::I64],
        }
    }

    /// Whether a value of the type may own a reference.
    pub const fn is_object(self) -> bool {
        matches!(
            self,
            Type::List(_)
                | Type::Tuple(_)
                | Type::Bytes
                | Type::ByteArray
                | Type::Array(_)
                | Type::NumpyArray(..)
        )
    }

    /// What all items of a tuple of these are.
    pub fn common(items: &[Item]) -> Option<Item> {
        let (first, rest) = items.split_first()?;
        rest.iter().all(|item| item == first).then_some(*first)
    }

    /// Whether it is a scalar of numpy.
    pub const fn is_numpy(self) -> bool {
        matches!(self, Type::NumpyFloat | Type::NumpyInt)
    }

    /// For people.
    pub fn name(self) -> String {
        match self {
            Type::None => "None".into(),
            Type::Bool => "bool".into(),
            Type::Int => "int".into(),
            Type::Float => "float".into(),
            Type::List(Item::Unknown) => "list".into(),
            Type::List(item) => format!("list[{}]", item.name()),
            Type::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|item| item.name()).collect();
                format!("tuple[{}]", items.join(", "))
            }
            Type::Bytes => "bytes".into(),
            Type::ByteArray => "bytearray".into(),
            Type::Array(of) => format!("array[{}]", of.name()),
            Type::NumpyArray(of, dimensions) => format!("ndarray[{}, {dimensions}]", of.name()),
            Type::RangeIterator(_) => "range_iterator".into(),
            Type::ListIterator(item) => format!("iterator of {}", Type::List(item).name()),
            Type::NumpyFloat => "numpy.float64".into(),
            Type::NumpyInt => "numpy.int64".into(),
        }
    }
}

/// A constant of a code object or a global that is taken for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Constant {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Constant {
    pub const fn ty(self) -> Type {
        match self {
            Constant::None => Type::None,
            Constant::Bool(_) => Type::Bool,
            Constant::Int(_) => Type::Int,
            Constant::Float(_) => Type::Float,
        }
    }

    /// As the engine's bits.
    pub fn bits(self) -> u64 {
        match self {
            Constant::None => 0,
            Constant::Bool(value) => value.into(),
            Constant::Int(value) => value as u64,
            Constant::Float(value) => value.to_bits(),
        }
    }
}

/// Where an exit finds an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// The null of a call.
    Null,
    /// A local without a value.
    Unbound,
    Constant(Constant),
    /// One of the function's known objects.
    Object(u32),
    /// In variables from that number on; a reference of its own, or somebody else's.
    Value {
        var: u32,
        ty: Type,
        owned: bool,
    },
    /// A range whose start, stop and step are in variables from that number on.
    Range(u32),
    /// The iterator of a range: the next value, the end and the step likewise.
    RangeIterator(u32),
    /// The iterator of a list, which has the reference, with the index of what comes next in the variable behind it.
    ListIterator(u32),
    /// `enumerate` of such an iterator.
    Enumeration(u32),
    /// `zip` of two such iterators, in as many variables each.
    Zip(u32),
    /// The function of a comprehension, which the instructions between these offsets make.
    Comprehension(u32, u32),
    /// What the function called last returned as an object.
    Result,
}

/// How an exit goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// In the interpreter at `offset`.
    Continue,
    /// As `Continue`; but if the function called raised, its exception is raised by the call at this offset, which has this
    /// many arguments.
    AfterCall { call: u32, arguments: u32 },
    /// There is nothing to go on with: too many calls are open.
    TooDeep,
}

/// A place where control leaves compiled code.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Where the interpreter goes on, in code units.
    pub offset: u32,
    pub resume: Resume,
    /// A reason for people.
    pub why: &'static str,
    pub locals: Vec<Source>,
    pub stack: Vec<Source>,
    /// Variables whose reference nobody needs any more.
    pub release: Vec<u32>,
}

impl Exit {
    /// Every variable it reads.
    pub fn variables(&self) -> impl Iterator<Item = u32> {
        self.locals
            .iter()
            .chain(&self.stack)
            .flat_map(|source| {
                let range = match *source {
                    Source::Value { var, ty, .. } => var..var + ty.parts().len() as u32,
                    Source::Range(var) | Source::RangeIterator(var) => var..var + 3,
                    Source::ListIterator(var) | Source::Enumeration(var) => var..var + 2,
                    Source::Zip(var) => var..var + 4,
                    _ => 0..0,
                };
                range.collect::<Vec<_>>()
            })
            .chain(self.release.iter().copied())
    }
}

/// A step of the engine's stack machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Get(u32),
    Set(u32),
    Const(ValueType, u64),
    Op(Name),
    /// With an immediate.
    OpImm(Name, i32),
    /// The helper, how many operands it takes, and its results.
    Helper(crate::helpers::Number, u32, &'static [ValueType]),
    /// A specialised function, by its number in the unit.
    Call(u32),
    Drop,
    /// The variable's value is not read again.
    Forget(u32),
    /// Leaves by that exit if the operand is not zero.
    ExitIf(u32),
    Exit(u32),
    /// Turns round the truth of the operand.
    Not,
    Loop,
    Block,
    If,
    Else,
    End,
    Br(u32),
    BrIf(u32),
    Return,
}

/// The operations of the instruction set, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Name {
    Add,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Neg,
    Invert,
    FloorDiv,
    FloorMod,
    AddOverflows,
    SubOverflows,
    MulOverflows,
    ShlOverflows,
    BeyondF64,
    Eq,
    Ne,
    Lt,
    Gt,
    Le,
    Ge,
    GeU,
    Nez,
    Eqz32,
    And32,
    Or32,
    Xor32,
    Extend,
    FAdd,
    FSub,
    FMul,
    FDiv,
    FSqrt,
    FNeg,
    FAbs,
    FEq,
    FNe,
    FLt,
    FGt,
    FLe,
    FGe,
    FNez,
    Convert,
    Trunc,
    BeyondI64,
    NotFinite,
    Extreme,
    Enter,
    Leave,
    Interrupted,
    LoadI64,
    LoadU32,
    LoadF64,
    StoreI64,
    StoreF64,
    AddI64,
    DiffersI64,
    BeyondWord,
    DiffersU32,
    BeyondFirst,
    BeyondSecond,
    TimesFirst,
    TimesSecond,
    ItemI64,
    PutItemI64,
    ElementI8,
    ElementU8,
    ElementI16,
    ElementU16,
    ElementI32,
    ElementU32,
    ElementI64,
    ElementF32,
    ElementF64,
    PutI8,
    PutI16,
    PutI32,
    PutI64,
    PutF32,
    PutF64,
    CountedNotOne,
    CountedOne,
    CountedNotTwo,
    CountedTwo,
    CountedMisfits,
    CountedPut,
    TaggedNotOne,
    TaggedOne,
    TaggedNotTwo,
    TaggedTwo,
    TaggedMisfits,
    TaggedPut,
}

/// Their names in `spec/isa/python/ops.toml`.
pub const NAMES: [&str; 94] = [
    "i64.add",
    "i64.sub",
    "i64.mul",
    "i64.and",
    "i64.or",
    "i64.xor",
    "i64.shl",
    "i64.shr_s",
    "i64.neg",
    "i64.not",
    "i64.floor_div",
    "i64.floor_mod",
    "i64.add_overflows",
    "i64.sub_overflows",
    "i64.mul_overflows",
    "i64.shl_overflows",
    "i64.beyond_f64",
    "i64.eq",
    "i64.ne",
    "i64.lt_s",
    "i64.gt_s",
    "i64.le_s",
    "i64.ge_s",
    "i64.ge_u",
    "i64.nez",
    "i32.eqz",
    "i32.and",
    "i32.or",
    "i32.xor",
    "i64.extend_i32_u",
    "f64.add",
    "f64.sub",
    "f64.mul",
    "f64.div",
    "f64.sqrt",
    "f64.neg",
    "f64.abs",
    "f64.eq",
    "f64.ne",
    "f64.lt",
    "f64.gt",
    "f64.le",
    "f64.ge",
    "f64.nez",
    "f64.convert_i64_s",
    "i64.trunc_f64",
    "f64.beyond_i64",
    "f64.not_finite",
    "f64.extreme",
    "ctx.enter",
    "ctx.leave",
    "ctx.interrupted",
    "mem.load_i64",
    "mem.load_u32",
    "mem.load_f64",
    "mem.store_i64",
    "mem.store_f64",
    "mem.add_i64",
    "mem.differs_i64",
    "mem.beyond_i64",
    "mem.differs_u32",
    "mem.beyond_first",
    "mem.beyond_second",
    "mem.times_first",
    "mem.times_second",
    "mem.item_i64",
    "mem.put_item_i64",
    "mem.element_i8",
    "mem.element_u8",
    "mem.element_i16",
    "mem.element_u16",
    "mem.element_i32",
    "mem.element_u32",
    "mem.element_i64",
    "mem.element_f32",
    "mem.element_f64",
    "mem.put_i8",
    "mem.put_i16",
    "mem.put_i32",
    "mem.put_i64",
    "mem.put_f32",
    "mem.put_f64",
    "counted.not_one",
    "counted.one",
    "counted.not_two",
    "counted.two",
    "counted.misfits",
    "counted.put",
    "tagged.not_one",
    "tagged.one",
    "tagged.not_two",
    "tagged.two",
    "tagged.misfits",
    "tagged.put",
];

/// How the blocks of a function go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not translated yet.
    Unknown,
    Goto(usize),
    /// Back to that block, or out by the exit if somebody wants attention.
    Again(usize, u32),
    /// To the first if the operand left on the stack is not zero, else to the second.
    If(usize, usize),
    /// The steps leave: a return or an exit.
    Left,
}

/// A stretch of steps.
#[derive(Clone, Debug)]
pub struct Block {
    pub steps: Vec<Step>,
    pub end: End,
    /// Taken in place of a way to this block that no structure has room for.
    pub refuge: u32,
}

/// A function with types, ready for code.
#[derive(Debug)]
pub struct Function {
    pub params: Vec<Type>,
    pub result: Type,
    /// Types of variables; those of the parameters come first.
    pub vars: Vec<ValueType>,
    /// Those of them that hold a value for a moment only.
    pub scratch: Vec<u32>,
    pub blocks: Vec<Block>,
    pub exits: Vec<Exit>,
}
