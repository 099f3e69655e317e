//! What the packer and the engine know of a machine: `spec/target/<arch>/target.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::types::ValueType;

/// A register file: which registers carry values of which types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The types whose values lie in these registers.
    pub types: Vec<ValueType>,
    /// The type that holds any value of the class; stencils pass untouched registers through at this type.
    pub widest: ValueType,
    /// Names of the value registers in argument order; may be empty, then values of the class live in slots.
    pub registers: Vec<String>,
    /// How many of the registers carry arguments and results of calls between compiled functions.
    pub arguments: u8,
}

/// A pointer that every stencil receives in a fixed register and leaves as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedPointer {
    /// `mem`, `ctx` or `frame`.
    pub name: String,
    /// The register's name.
    pub register: String,
}

/// A range of immediates to try, see DESIGN of the packer: narrowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImmediateClass {
    /// `s8`, `u12`, …
    pub name: String,
    /// Least value.
    pub lo: i64,
    /// Greatest value.
    pub hi: i64,
    /// The values are multiples of 2 to this power.
    #[serde(default)]
    pub align: u8,
    /// Whether a constant operand of this range is moved to a register first, as the machine itself would do it:
    /// a form of the operation would only contain that move.
    #[serde(default)]
    pub moved: bool,
}

/// How an i32 lies in a 64-bit register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpperHalf {
    /// The upper 32 bits are zero.
    Zero,
    /// The upper 32 bits repeat the sign.
    Sign,
}

/// The part of a target that the engine needs; it travels in the pack's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The architecture's name as in a target triple.
    pub arch: String,
    /// Width of a pointer.
    pub pointer_bits: u8,
    /// The contract for the upper half of an i32 in a register.
    pub i32_upper: UpperHalf,
    /// How many bytes past slot 0 the frame pointer points.
    pub frame_bias: u32,
    /// The fixed pointers, in argument order.
    pub fixed: Vec<FixedPointer>,
    /// Register files in ascending order of name.
    pub classes: Vec<(String, Class)>,
    /// An instruction that faults: the body of a trap stub.
    pub trap_instruction: Vec<u8>,
}

impl Machine {
    /// The index of the class that holds values of `ty`, if any does.
    pub fn class_of(&self, ty: ValueType) -> Option<usize> {
        self.classes
            .iter()
            .position(|(_, class)| class.types.contains(&ty))
    }

    /// The number of value registers for `ty`; 0 if its values live in slots.
    pub fn registers(&self, ty: ValueType) -> usize {
        self.class_of(ty)
            .map_or(0, |class| self.classes[class].1.registers.len())
    }

    /// The byte offset from the frame pointer of a slot.
    pub const fn slot_offset(&self, slot: u32) -> i64 {
        slot as i64 * 8 - self.frame_bias as i64
    }
}

/// How the packer calls clang for a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clang {
    /// Flags for every stencil.
    pub flags: Vec<String>,
    /// Assembly that makes `{v}`, a number of 64 bits, in `%0`, with `%1` free for it; for constants beyond 32 bits where clang
    /// has no fixed sequence of its own.
    #[serde(default)]
    pub wide_constant: Option<String>,
    /// Assembly that copies all of the float register `%1` to `%0`, where a register may have an operand of one type and a
    /// result of the other, and there are no vectors to pass both as.
    #[serde(default)]
    pub float_copy: Option<String>,
    /// C functions that take the place of operations' bodies in stencils, by the operation's name; each has the body's
    /// prototype and is called `target_` and the body's name. They do the same, where clang's code for the body is refused.
    #[serde(default)]
    pub bodies: BTreeMap<String, String>,
    /// Whether stencils that access no linear memory may keep values in a frame on the C stack: where clang has too few
    /// registers for an operation's lanes.
    #[serde(default)]
    pub spills: bool,
}

/// A set of processor features a pack may be built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSet {
    /// Flags for clang.
    pub flags: Vec<String>,
    /// What the processor must report, by the names of `std::arch`'s detection macros.
    pub cpu: Vec<String>,
}

/// What a system changes of its architecture's target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// The triples that packs are made for.
    pub triples: Vec<String>,
    /// In place of [`Target::c_arguments`], where the C convention is another.
    #[serde(default)]
    pub c_arguments: Option<Vec<String>>,
    /// Whether C is compiled for Linux as assembly is, which can be where it is called alike.
    #[serde(default)]
    pub as_linux: bool,
    /// Compiler flags that are left out.
    #[serde(default)]
    pub without: Vec<String>,
    /// Assembly in place of [`Target::asm`], by name.
    #[serde(default)]
    pub asm: BTreeMap<String, String>,
}

/// A target as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// See [`Machine::arch`].
    pub arch: String,
    /// The triples that packs are made for, as file names of packs have them: those of Linux. What is the same for every
    /// system is compiled for the first one.
    #[serde(default)]
    pub triples: Vec<String>,
    /// See [`Machine::pointer_bits`].
    pub pointer_bits: u8,
    /// See [`Machine::i32_upper`].
    pub i32_upper: UpperHalf,
    /// See [`Machine::frame_bias`].
    pub frame_bias: u32,
    /// See [`Machine::fixed`].
    pub fixed: Vec<FixedPointer>,
    /// What a stencil may overwrite beside its results.
    pub scratch: Vec<String>,
    /// See [`Machine::trap_instruction`].
    pub trap_instruction: Vec<u8>,
    /// The registers of a C function's first two arguments.
    pub c_arguments: Vec<String>,
    /// Register files by name.
    pub class: BTreeMap<String, Class>,
    /// Immediate ranges, narrowest first.
    pub immediate: Vec<ImmediateClass>,
    /// Compiler flags.
    pub clang: Clang,
    /// Feature sets by name.
    #[serde(default)]
    pub features: BTreeMap<String, FeatureSet>,
    /// Assembly text of the `asm` operations by name; `{a}` stands for the operand's register.
    #[serde(default)]
    pub asm: BTreeMap<String, String>,
    /// See [`System::as_linux`].
    #[serde(default)]
    pub as_linux: bool,
    /// What other systems than Linux change, by the part of a triple that names the system.
    #[serde(default)]
    pub system: BTreeMap<String, System>,
}

impl Target {
    /// The architectures of the targets that come with copatch.
    pub const ARCHITECTURES: [&str; 3] = ["aarch64", "riscv64", "x86_64"];

    /// Reads a `target.toml`.
    ///
    /// # Errors
    /// The parser's message, with line and column.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The target of that architecture, as a triple begins with it, that comes with copatch, if there is one.
    pub fn builtin(arch: &str) -> Option<Self> {
        // A test parses every built-in target.
        Self::parse(builtin(arch)?).ok()
    }

    /// The target that comes with copatch for a triple: that of its architecture, with what its system changes.
    pub fn for_triple(triple: &str) -> Option<Self> {
        let target = Self::builtin(triple.split('-').next()?)?;
        Some(target.on_system_of(triple))
    }

    /// The target for a triple with changes: a text like `target.toml`, whose tables are merged with those of the built-in
    /// target and whose other values take the place of its. Without a built-in one the text is the whole target.
    ///
    /// # Errors
    /// The parser's message, or what makes no sense about the whole.
    pub fn changed(triple: &str, changes: &str) -> Result<Self, String> {
        let said = |error: toml::de::Error| error.to_string();
        let arch = triple.split('-').next().unwrap_or("");
        let mut table: toml::Table = builtin(arch).unwrap_or("").parse().map_err(said)?;
        merge(&mut table, changes.parse().map_err(said)?);
        let target: Self = table.try_into().map_err(said)?;
        match target.flaw() {
            Some(flaw) => Err(flaw),
            None => Ok(target.on_system_of(triple)),
        }
    }

    /// What makes no sense about it, if something does: a register with two purposes, a range without values.
    pub fn flaw(&self) -> Option<String> {
        if self.triples.is_empty() {
            return Some("triples: there is none".to_owned());
        }
        if self.c_arguments.len() != 2 {
            return Some("c_arguments: the registers of two arguments are asked for".to_owned());
        }
        let mut purposes: BTreeMap<&str, String> = BTreeMap::new();
        let fixed = self.fixed.iter().map(|fixed| (&fixed.register, "fixed"));
        let scratch = self.scratch.iter().map(|register| (register, "scratch"));
        let values = self.class.iter().flat_map(|(name, class)| {
            let registers = class.registers.iter();
            registers.map(move |register| (register, name.as_str()))
        });
        for (register, purpose) in fixed.chain(scratch).chain(values) {
            if let Some(other) = purposes.insert(register, purpose.to_owned()) {
                return Some(format!("register {register}: both {other} and {purpose}"));
            }
        }
        for (name, class) in &self.class {
            let (count, arguments) = (class.registers.len(), usize::from(class.arguments));
            if count > limits::REGISTERS || arguments > count {
                return Some(format!(
                    "class {name}: {count} registers, {arguments} of them for arguments, where there may be {}",
                    limits::REGISTERS
                ));
            }
            if !class.types.contains(&class.widest) {
                return Some(format!(
                    "class {name}: its widest type is none of its types"
                ));
            }
        }
        let empty = self.immediate.iter().find(|class| class.lo > class.hi);
        empty.map(|class| format!("immediate {}: no value is in it", class.name))
    }

    /// With what the triple's system changes.
    fn on_system_of(mut self, triple: &str) -> Self {
        let mut parts = triple.split('-').skip(1);
        if let Some(system) = parts.find_map(|part| self.system.remove(part)) {
            let flags = &mut self.clang.flags;
            flags.retain(|flag| !system.without.contains(flag));
            self.as_linux = system.as_linux;
            self.asm.extend(system.asm);
            self.c_arguments = system.c_arguments.unwrap_or(self.c_arguments);
        }
        self
    }

    /// What is compiled and assembled without regard to the system is so for this triple.
    pub fn native_triple(&self) -> &str {
        // Tests see to it that there is one.
        self.triples.first().map_or("", String::as_str)
    }

    /// What clang compiles C for, to make packs for that triple.
    pub fn clang_triple<'a>(&'a self, triple: &'a str) -> &'a str {
        if self.as_linux {
            self.native_triple()
        } else {
            triple
        }
    }

    /// Every triple that packs are made for.
    pub fn all_triples(&self) -> impl Iterator<Item = &String> {
        let others = self.system.values().flat_map(|system| &system.triples);
        self.triples.iter().chain(others)
    }

    /// The part that travels in a pack.
    pub fn machine(&self) -> Machine {
        Machine {
            arch: self.arch.clone(),
            pointer_bits: self.pointer_bits,
            i32_upper: self.i32_upper,
            frame_bias: self.frame_bias,
            fixed: self.fixed.clone(),
            classes: self
                .class
                .iter()
                .map(|(name, class)| (name.clone(), class.clone()))
                .collect(),
            trap_instruction: self.trap_instruction.clone(),
        }
    }
}

/// The text of a built-in target.
fn builtin(arch: &str) -> Option<&'static str> {
    Some(match arch {
        "aarch64" => include_str!("../target/aarch64/target.toml"),
        "riscv64" | "riscv64gc" => include_str!("../target/riscv64/target.toml"),
        "x86_64" => include_str!("../target/x86_64/target.toml"),
        _ => return None,
    })
}

/// Puts `changes` over a table; tables within are merged likewise.
fn merge(table: &mut toml::Table, changes: toml::Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(change)) => merge(inner, change),
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}
