//! The op table: `spec/isa/<name>/ops.toml`, one line of data an operation, and its C bodies in `ops.h`.
//!
//! ```toml
//! name = "toy"
//! version = 1
//! traps = ["integer divide by zero"]
//!
//! [op]
//! "i32.add"   = { in = "i32 i32", out = "i32", forms = "rr ri rs", commutative = true }
//! "i32.lt_s"  = { in = "i32 i32", out = "i32", forms = "rr ri", branch = true, swap = "i32.gt_s" }
//! "i32.load"  = { in = "i32", imm = "u32", out = "i32", uses = "mem" }
//! "i32.div_s" = { in = "i32 i32", out = "i32", traps = "integer_divide_by_zero integer_overflow" }
//! "i32x4.extract_lane" = { in = "v128", imm = "lane4", out = "i32" }
//! ```
//!
//! The body of `i32.add` is the C function `i32_add` in `ops.h`. Its parameters, in this order: the fixed pointers
//! that `uses` names (`uint8_t *mem`, `struct context *ctx`), the operands (`uint32_t`, `uint64_t`, `float`, `double`,
//! `v128`), the immediates, and, if the line has `traps`, an `int *trap` that it sets to 1 for the first named trap, 2 for the second.
//! The `core` table (moves, jumps, calls) is part of every instruction set and comes first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{Place, ValueType};

/// How control leaves an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// On to the next operation; with `branch = true` also fused with a conditional branch on its result.
    #[default]
    Next,
    /// The body gives a condition: to target 0 if it is not zero, else on to the next operation.
    Branch,
    /// To target 0, always.
    Jump,
    /// Through a table of 32-bit offsets, by an index operand and its bound, an immediate.
    Table,
    /// Calls C through a pointer; every value register is dead after it.
    Helper,
    /// A few lines of assembly in the target's file.
    Asm,
}

/// The type of an immediate that belongs to an operation itself (an offset, an index), not to an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImmediateType {
    /// Unsigned, below 2^32.
    U32,
    /// Signed 32-bit.
    I32,
    /// Any 64 bits.
    I64,
    /// A lane of a vector of two.
    Lane2,
    /// A lane of a vector of four.
    Lane4,
    /// A lane of a vector of eight.
    Lane8,
    /// A lane of a vector of sixteen.
    Lane16,
}

impl ImmediateType {
    /// Least and greatest value.
    pub const fn range(self) -> (i64, i64) {
        match self {
            ImmediateType::U32 => (0, u32::MAX as i64),
            ImmediateType::I32 => (i32::MIN as i64, i32::MAX as i64),
            ImmediateType::I64 => (i64::MIN, i64::MAX),
            ImmediateType::Lane2 => (0, 1),
            ImmediateType::Lane4 => (0, 3),
            ImmediateType::Lane8 => (0, 7),
            ImmediateType::Lane16 => (0, 15),
        }
    }

    /// Whether it is the number of a lane. Instructions have lanes built in, each in its own way, so that every lane has
    /// code of its own.
    pub const fn is_lane(self) -> bool {
        matches!(
            self,
            ImmediateType::Lane2
                | ImmediateType::Lane4
                | ImmediateType::Lane8
                | ImmediateType::Lane16
        )
    }

    /// The type of that name in a table's `imm` column, if there is one.
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "u32" => ImmediateType::U32,
            "i32" => ImmediateType::I32,
            "i64" => ImmediateType::I64,
            "lane2" => ImmediateType::Lane2,
            "lane4" => ImmediateType::Lane4,
            "lane8" => ImmediateType::Lane8,
            "lane16" => ImmediateType::Lane16,
            _ => return None,
        })
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Dotted name, such as `i32.add`.
    pub name: String,
    /// How control leaves it.
    pub shape: Shape,
    /// Operand types, in order; at most four.
    pub operands: Vec<ValueType>,
    /// The result's type, if it has one.
    pub result: Option<ValueType>,
    /// Immediates of its own; at most two.
    pub immediates: Vec<ImmediateType>,
    /// Places of operands and result for each declared form.
    pub forms: Vec<FormSpec>,
    /// Whether operands 0 and 1 may be exchanged.
    pub commutative: bool,
    /// The operation that gives the same with operands 0 and 1 exchanged, by name (`lt` for `gt`).
    pub swap: Option<String>,
    /// Whether forms fused with a conditional branch on the result exist.
    pub branch: bool,
    /// The operand that shares its register with the result.
    pub tie: Option<u8>,
    /// Numbers of the traps it can raise, in the order in which the body names them.
    pub traps: Vec<u8>,
    /// Whether the body takes the base of linear memory.
    pub uses_mem: bool,
    /// Whether the body takes the context.
    pub uses_ctx: bool,
}

impl Operation {
    /// The name of its body in `ops.h` and in generated C: dots become underscores.
    pub fn c_name(&self) -> String {
        self.name.replace('.', "_")
    }

    /// Whether it is one of those that the engine itself uses, which every instruction set has: their names begin with `core.`.
    pub fn is_core(&self) -> bool {
        self.name.starts_with("core.")
    }

    /// Whether the operation that it names as `swap`, if it does, is among these and takes its operands in the other order.
    pub fn swaps_within(&self, ops: &[Operation]) -> bool {
        let fits = |other: &Operation| other.operands.iter().rev().eq(&self.operands);
        let found = |swap: &String| ops.iter().any(|other| other.name == *swap && fits(other));
        self.swap.as_ref().is_none_or(found)
    }
}

/// Where one declared form has its operands and its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FormSpec {
    /// One place an operand.
    pub operands: Vec<Place>,
    /// The result's place; [`Place::Register`] if the operation has none.
    pub result: Place,
}

/// Whether a file or folder may have that name wherever packs go: letters, digits and `._+-`, of which none comes first.
pub fn is_file_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    name.chars().all(fits) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// An op table with its C bodies, `core` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstructionSet {
    /// `toy`, `wasm`, …
    pub name: String,
    /// Raised by its author when operations change meaning.
    pub version: u32,
    /// Trap names by number; those of `core` come first.
    pub traps: Vec<String>,
    /// The operations: those of `core` first, each table in ascending order of name.
    pub ops: Vec<Operation>,
    /// C source: `core`'s `ops.h`, then the instruction set's own.
    pub source: String,
    /// BLAKE3 of the tables and the source.
    pub digest: [u8; 32],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    version: u32,
    #[serde(default)]
    traps: Vec<String>,
    op: BTreeMap<String, Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, rename = "in")]
    operands: String,
    #[serde(default, rename = "out")]
    result: String,
    #[serde(default)]
    imm: String,
    #[serde(default)]
    forms: String,
    #[serde(default)]
    commutative: bool,
    #[serde(default)]
    swap: Option<String>,
    #[serde(default)]
    branch: bool,
    #[serde(default)]
    tie: Option<u8>,
    #[serde(default)]
    traps: String,
    #[serde(default)]
    uses: String,
    #[serde(default)]
    shape: Shape,
}

/// What is wrong with an op table.
#[derive(Debug, thiserror::Error)]
pub enum IsaError {
    /// The TOML does not parse.
    #[error("{isa}/ops.toml: {source}")]
    Toml {
        /// Name of the instruction set.
        isa: String,
        /// The parser's message.
        source: toml::de::Error,
    },
    /// A line does not make sense.
    #[error("{isa}/ops.toml: operation {op}: {what}")]
    Line {
        /// Name of the instruction set.
        isa: String,
        /// Name of the operation.
        op: String,
        /// What is wrong and what would be right.
        what: String,
    },
}

const CORE_TABLE: &str = include_str!("../isa/core/ops.toml");
const CORE_SOURCE: &str = include_str!("../isa/core/ops.h");

impl InstructionSet {
    /// The built-in instruction set of that name (`toy`, `wasm`, `python`), if there is one.
    ///
    /// # Errors
    /// See [`InstructionSet::parse`].
    pub fn builtin(name: &str) -> Option<Result<Self, IsaError>> {
        builtin(name).map(|(table, source)| Self::parse(table, source))
    }

    /// The [`digest`](Self::digest) of the built-in instruction set of that name, without reading its table.
    pub fn builtin_digest(name: &str) -> Option<[u8; 32]> {
        builtin(name).map(|(table, source)| digest(table, source))
    }

    /// Reads an op table and joins it to `core`. `source` is the text of its `ops.h`.
    ///
    /// # Errors
    /// The first line that does not make sense.
    pub fn parse(table: &str, source: &str) -> Result<Self, IsaError> {
        let core = parse_table("core", CORE_TABLE)?;
        let own = parse_table("isa", table)?;
        if !is_file_name(&own.name) {
            let what = "the instruction set's name, which its packs' folder has, is of letters, digits and . _ + - alone";
            return Err(fault(&own.name, "(all)", what));
        }
        let mut traps = core.traps.clone();
        traps.extend(own.traps.iter().cloned());
        let mut ops = Vec::new();
        for part in [&core, &own] {
            for (name, line) in &part.op {
                ops.push(operation(&part.name, name, line, &traps)?);
            }
        }
        if traps.len() > crate::limits::TRAPS {
            return Err(fault(&own.name, "(all)", "more than 64 traps"));
        }
        if ops.len() > crate::limits::OPS {
            return Err(fault(&own.name, "(all)", "more than 4096 operations"));
        }
        let mut bodies = BTreeMap::new();
        for op in &ops {
            if let Some(other) = bodies.insert(op.c_name(), &op.name) {
                let what = format!("its body would be {other}'s; rename one");
                return Err(fault(&own.name, &op.name, &what));
            }
        }
        for op in &ops {
            if let Some(swap) = &op.swap
                && !op.swaps_within(&ops)
            {
                return Err(fault(
                    &own.name,
                    &op.name,
                    &format!("swap names {swap}, which does not fit"),
                ));
            }
        }
        Ok(Self {
            name: own.name,
            version: own.version,
            traps,
            ops,
            source: format!("{CORE_SOURCE}\n{source}"),
            digest: digest(table, source),
        })
    }

    /// The number of the operation of that name.
    pub fn op(&self, name: &str) -> Option<usize> {
        self.ops.iter().position(|op| op.name == name)
    }
}

/// Table and bodies of a built-in instruction set.
fn builtin(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "toy" => Some((
            include_str!("../isa/toy/ops.toml"),
            include_str!("../isa/toy/ops.h"),
        )),
        "python" => Some((
            include_str!("../isa/python/ops.toml"),
            include_str!("../isa/python/ops.h"),
        )),
        // Two files each, for their length: the second goes on where the first ends.
        "wasm" => Some((
            concat!(
                include_str!("../isa/wasm/ops.toml"),
                include_str!("../isa/wasm/simd.toml")
            ),
            concat!(
                include_str!("../isa/wasm/ops.h"),
                include_str!("../isa/wasm/simd.h")
            ),
        )),
        _ => None,
    }
}

/// BLAKE3 of the texts of `core` and these, each with its length.
fn digest(table: &str, source: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for text in [CORE_TABLE, CORE_SOURCE, table, source] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

fn parse_table(isa: &str, text: &str) -> Result<Table, IsaError> {
    toml::from_str(text).map_err(|source| IsaError::Toml {
        isa: isa.to_owned(),
        source,
    })
}

fn fault(isa: &str, op: &str, what: &str) -> IsaError {
    IsaError::Line {
        isa: isa.to_owned(),
        op: op.to_owned(),
        what: what.to_owned(),
    }
}

/// `integer divide by zero` is written `integer_divide_by_zero` in the `traps` column.
fn trap_word(name: &str) -> String {
    name.replace([' ', '-'], "_")
}

fn operation(isa: &str, name: &str, line: &Line, traps: &[String]) -> Result<Operation, IsaError> {
    let fault = |what: &str| fault(isa, name, what);
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if !name.split('.').all(word) {
        return Err(fault(
            "a name is words of a-z, 0-9 and _ with dots between them",
        ));
    }
    let types = |column: &str| {
        column
            .split_whitespace()
            .map(|word| {
                ValueType::from_name(word)
                    .ok_or_else(|| fault(&format!("no type is called {word}")))
            })
            .collect::<Result<Vec<_>, _>>()
    };
    let operands = types(&line.operands)?;
    let results = types(&line.result)?;
    if operands.len() > crate::limits::OPERANDS || results.len() > 1 {
        return Err(fault("at most four operands and one result"));
    }
    let immediates = line
        .imm
        .split_whitespace()
        .map(|word| {
            ImmediateType::from_name(word).ok_or_else(|| {
                fault(&format!(
                    "an immediate is u32, i32 or i64, or lane2, lane4, lane8 or lane16, not {word}"
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if immediates.len() > crate::limits::IMMEDIATES {
        return Err(fault("at most two immediates"));
    }
    let mut forms = Vec::new();
    let all_registers = "r".repeat(operands.len());
    let column = if line.forms.is_empty() {
        all_registers.as_str()
    } else {
        line.forms.as_str()
    };
    for word in column.split_whitespace() {
        let (inputs, output) = word.split_once('>').unwrap_or((word, "r"));
        let places = |word: &str| {
            word.chars()
                .map(|letter| {
                    Place::from_letter(letter).ok_or_else(|| fault(&format!("no place {letter}")))
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let (inputs, output) = (places(inputs)?, places(output)?);
        if inputs.len() != operands.len() || output.len() != 1 || output[0] == Place::Immediate {
            return Err(fault(&format!("form {word} does not fit the operands")));
        }
        forms.push(FormSpec {
            operands: inputs,
            result: output[0],
        });
    }
    if operands.is_empty() && forms.is_empty() {
        forms.push(FormSpec {
            operands: Vec::new(),
            result: Place::Register,
        });
    }
    let trap_numbers = line
        .traps
        .split_whitespace()
        .map(|word| {
            traps
                .iter()
                .position(|trap| trap_word(trap) == word)
                .map(|index| index as u8)
                .ok_or_else(|| fault(&format!("no trap is called {word}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(tie) = line.tie
        && operands.get(usize::from(tie)) != results.first()
    {
        return Err(fault("tie names an operand that has not the result's type"));
    }
    let uses: Vec<&str> = line.uses.split_whitespace().collect();
    if let Some(word) = uses.iter().find(|word| !["mem", "ctx"].contains(word)) {
        return Err(fault(&format!("uses is mem or ctx, not {word}")));
    }
    Ok(Operation {
        name: name.to_owned(),
        shape: line.shape,
        operands,
        result: results.first().copied(),
        immediates,
        forms,
        commutative: line.commutative,
        swap: line.swap.clone(),
        branch: line.branch,
        tie: line.tie,
        traps: trap_numbers,
        uses_mem: uses.contains(&"mem"),
        uses_ctx: uses.contains(&"ctx"),
    })
}
