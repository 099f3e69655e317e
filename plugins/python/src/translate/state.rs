//! What translation is about: a code object, what is known by name, and where values are at one point.

use crate::bytecode::Instruction;
use crate::ir::{Constant, Source, Type};

/// A code object.
#[derive(Debug)]
pub struct Code {
    pub instructions: Vec<Instruction>,
    /// Numbers and `None`; nothing for what is no such thing.
    pub constants: Vec<Option<Constant>>,
    pub names: Vec<String>,
    /// Variables of all kinds: locals, then cells that are no locals, then those of the function around.
    pub locals: usize,
    /// The first arguments, and where those that a comprehension gets of the function around it begin.
    pub arguments: usize,
    /// How many of them are given by name only.
    pub named: usize,
    pub free: usize,
    /// Variables that comprehensions share.
    pub cells: Vec<u32>,
    /// Whether a handler of exceptions may read what the code behind it does not.
    pub catches: bool,
    pub layout: Layout,
}

/// Integers whose objects are shared, in all versions.
pub mod shared {
    /// The least of them.
    pub const LEAST: i64 = -5;
    pub const COUNT: u64 = 262;
    /// Bytes from each object to the next.
    pub const APART: u64 = 32;
}

/// What translation knows of the interpreter's objects.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Minor version of the interpreter.
    pub minor: u8,
    /// Addresses of types and of the two truth values.
    pub int: u64,
    pub float: u64,
    pub list: u64,
    pub truths: [u64; 2],
    /// Address of the object of the least shared integer, if they lie as [`shared`] says.
    pub shared: Option<u64>,
}

/// A thing known by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known {
    Constant(Constant),
    /// An object, by the environment's number.
    Object(u32, What),
}

/// What an object known by name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Range,
    Len,
    Abs,
    Min,
    Max,
    Int,
    Float,
    Bool,
    List,
    Sum,
    Enumerate,
    Zip,
    Module,
    /// A function of one float, of `math`.
    Math(MathFunction),
    /// A function that is compiled too.
    Compiled,
    /// A method of lists.
    Append,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MathFunction {
    Sqrt,
    Fabs,
    Floor,
    Ceil,
    /// One that a helper computes.
    Other(u8),
}

/// What surrounds a function.
pub trait Environment {
    /// A global or builtin; nothing if there is none.
    fn global(&mut self, name: &str) -> Option<Known>;
    /// An attribute of a known object.
    fn attribute(&mut self, object: u32, name: &str) -> Option<Known>;
    /// A constant of the code object that is no number.
    fn constant(&mut self, number: u32) -> u32;
    /// The address and the type of a known object that is a tuple.
    fn tuple(&mut self, object: u32) -> Option<(u64, Type)>;
    /// The number, in the unit, of the function for arguments of these types.
    fn specialise(&mut self, function: u32, arguments: &[Type]) -> Option<u32>;
    /// The number of the function of a list comprehension whose code that constant is.
    fn comprehension(&mut self, constant: u32) -> Option<u32>;
    /// [`Self::specialise`] for such a function.
    fn specialise_comprehension(&mut self, function: u32, arguments: &[Type]) -> Option<u32>;
    /// What a function of that number returns, if that is known yet.
    fn result(&self, number: u32) -> Option<Type>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Local(u32),
    Stack(u32),
    Scratch(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Local {
    Unbound,
    Value { ty: Type, owned: bool },
    Object(u32, What),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    Null,
    Constant(Constant),
    Object(u32, What),
    Value {
        var: u32,
        ty: Type,
        owned: bool,
    },
    Range {
        var: u32,
        step: i64,
    },
    RangeIterator {
        var: u32,
        step: i64,
    },
    /// Lists with the index of what comes next, in pairs of variables from that number on.
    ListIterator {
        var: u32,
        items: Items,
    },
    /// A tuple that was built at that offset and is about to be taken apart.
    Tuple(Vec<Slot>, u32),
    /// A slice that was built there of its two bounds and is about to be used.
    Slice(Vec<Slot>, u32),
    /// The function of a comprehension, by the environment's number, the cells that it gets, and between which offsets it is made.
    Comprehension {
        function: u32,
        cells: Vec<u32>,
        from: u32,
        to: u32,
    },
}

impl Slot {
    /// Whether it is, or has in it, what is in that variable.
    pub fn reads(&self, of: u32) -> bool {
        match self {
            Slot::Value { var, .. } => *var == of,
            Slot::Tuple(items, _) | Slot::Slice(items, _) => {
                items.iter().any(|item| item.reads(of))
            }
            _ => false,
        }
    }
}

/// What a loop over sequences of these types gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    One(Type),
    /// With its index.
    Enumerated(Type),
    /// One of each of two.
    Both(Type, Type),
}

#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub locals: Vec<Local>,
    pub stack: Vec<Slot>,
}

/// Why a block's translation stopped.
pub enum Stop {
    /// The instruction is the interpreter's, for that reason.
    Leave(&'static str),
    /// What a function returns is not known yet.
    Unknown,
}

pub type Done = Result<(), Stop>;

/// What an exit does for a stack entry. A tuple or slice is not there yet: the interpreter goes on where it is built.
pub fn sources(slot: &Slot) -> Vec<Source> {
    vec![match *slot {
        Slot::Null => Source::Null,
        Slot::Constant(constant) => Source::Constant(constant),
        Slot::Object(id, _) => Source::Object(id),
        Slot::Comprehension { from, to, .. } => Source::Comprehension(from, to),
        Slot::Value { var, ty, owned } => Source::Value { var, ty, owned },
        Slot::Range { var, .. } => Source::Range(var),
        Slot::RangeIterator { var, .. } => Source::RangeIterator(var),
        Slot::ListIterator { var, items } => match items {
            Items::One(_) => Source::ListIterator(var),
            Items::Enumerated(_) => Source::Enumeration(var),
            Items::Both(..) => Source::Zip(var),
        },
        Slot::Tuple(ref items, _) | Slot::Slice(ref items, _) => {
            return items.iter().flat_map(sources).collect();
        }
    }]
}

pub fn of_known(known: Known) -> Slot {
    match known {
        Known::Constant(constant) => Slot::Constant(constant),
        Known::Object(id, what) => Slot::Object(id, what),
    }
}
