//! C for every variant, from the op table and the target.
//!
//! One function a variant, in continuation-passing style: every register of the machine is a parameter, and the
//! function ends in tail calls to holes. Each has a prototype of its own: the registers of operands and result have
//! the operation's own types, all others the widest type of their class, so that what is passed through stays whole.

use std::fmt::Write;

use copatch_spec::isa::{ImmediateType, InstructionSet, Operation, Shape};
use copatch_spec::target::{Target, UpperHalf};
use copatch_spec::types::{Place, ValueType};
use copatch_spec::variants::{Form, Outcome, Value};

use crate::stencil::hole;

/// A variant: a form with its registers and its values filled in.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'a> {
    /// The operation.
    pub op: &'a Operation,
    /// The form.
    pub form: &'a Form,
    /// One register a register position, in the order of [`Form::radices`].
    pub registers: &'a [usize],
    /// One constant a value, in the order of [`Form::values`].
    pub values: &'a [i64],
}

/// What cannot be written in C or assembly.
#[derive(Debug, thiserror::Error)]
#[error("operation {op}: {what}")]
pub struct SourceError {
    /// The operation's name.
    pub op: String,
    /// What is wrong and what would be right.
    pub what: String,
}

/// What stands before the functions of a translation unit.
pub fn prelude(isa: &InstructionSet) -> String {
    let mut out = isa.source.clone();
    out.push_str(
        r#"
/* Holes are hidden, so that they are reached relative to the code and never through a table of the linker's. */
#pragma GCC visibility push(hidden)
extern void HOLE_NEXT(void);
extern char HOLE_TABLE[];
"#,
    );
    for number in 0..4 {
        let _ = writeln!(out, "extern void {}{number}(void);", hole::TARGET);
    }
    let traps = isa.ops.iter().map(|op| op.traps.len()).max().unwrap_or(0);
    for number in 0..traps.max(1) {
        let _ = writeln!(out, "extern void {}{number}(void);", hole::TRAP);
    }
    out.push_str(
        r#"
/* However long a body is, it becomes part of its stencil. */
#define STENCIL __attribute__((preserve_none, flatten)) void
#define TAIL(self, hole) __attribute__((musttail)) return ((__typeof__(&self))(void *)(hole))
typedef double copatch_f64x2 __attribute__((vector_size(16)));
typedef uint64_t copatch_u64x2 __attribute__((vector_size(16)));
/* The bits of a constant come through an integer register: a constant in memory differs in data, not in code. */
static inline float copatch_f32_bits(uint32_t bits) { float f; __asm__("" : "+r"(bits)); __builtin_memcpy(&f, &bits, 4); return f; }
static inline double copatch_f64_bits(uint64_t bits) { double f; __asm__("" : "+r"(bits)); __builtin_memcpy(&f, &bits, 8); return f; }
/* Where the constant goes to memory, an integer store takes it as it is. */
static inline float copatch_f32_plain(uint32_t bits) { float f; __builtin_memcpy(&f, &bits, 4); return f; }
static inline double copatch_f64_plain(uint64_t bits) { double f; __builtin_memcpy(&f, &bits, 8); return f; }
/* Both halves. Clang knows how to make zero. */
static inline v128 copatch_v128_bits(uint64_t bits) { if (bits) __asm__("" : "+r"(bits)); return (v128)(copatch_u64x2){bits, bits}; }
"#,
    );
    out
}

/// The target's own bodies for operations of an instruction set, which stand behind the prelude.
pub fn bodies(isa: &InstructionSet, target: &Target) -> String {
    let bodies = isa
        .ops
        .iter()
        .filter_map(|op| target.clang.bodies.get(&op.name));
    bodies.map(|body| format!("{body}\n")).collect()
}

/// The C type of a value in the body of an operation.
pub fn c_type(ty: ValueType) -> &'static str {
    match ty {
        ValueType::I32 => "uint32_t",
        ValueType::I64 => "uint64_t",
        ValueType::F32 => "float",
        ValueType::F64 => "double",
        ValueType::V128 => "v128",
    }
}

/// The C type of a value in memory, where vectors have no alignment.
fn in_memory(ty: ValueType) -> &'static str {
    match ty {
        ValueType::V128 => "v128_unaligned",
        ty => c_type(ty),
    }
}

/// How a register is passed in one variant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// An integer register, whatever its value's width.
    Integer,
    /// An integer register that holds nothing but an i32, on machines whose C convention sign-extends those: clang trusts
    /// a parameter's type there, but not an assumption about 64 bits.
    Word,
    /// At the type of its operand, its result or the class's widest.
    Typed(ValueType),
    /// It holds an operand of one type and then a result of another.
    Vector,
}

impl Passing {
    fn c_type(self) -> &'static str {
        match self {
            Passing::Integer => "uint64_t",
            Passing::Word => "int32_t",
            Passing::Typed(ty) => c_type(ty),
            Passing::Vector => "v128",
        }
    }
}

fn is_integer(ty: ValueType) -> bool {
    matches!(ty, ValueType::I32 | ValueType::I64)
}

/// The registers of a variant: what each operand and the result has, by register class.
struct Registers {
    /// Class and register of each operand that has one.
    operands: Vec<Option<(usize, usize)>>,
    /// Class and register of the result, if it has one.
    result: Option<(usize, usize)>,
    /// By class, then register.
    passing: Vec<Vec<Passing>>,
}

fn registers(target: &Target, variant: &Variant<'_>) -> Registers {
    let machine = target.machine();
    let mut passing: Vec<Vec<Passing>> = machine
        .classes
        .iter()
        .map(|(_, class)| {
            let rest = if is_integer(class.widest) {
                Passing::Integer
            } else {
                Passing::Typed(class.widest)
            };
            vec![rest; class.registers.len()]
        })
        .collect();
    let mut given = variant.registers.iter().copied();
    let mut operands = Vec::new();
    let mut typed: Vec<(usize, usize, ValueType)> = Vec::new();
    for (place, ty) in variant.form.operands.iter().zip(&variant.op.operands) {
        let register = match (place, machine.class_of(*ty)) {
            (Place::Register, Some(class)) => given.next().map(|register| (class, register)),
            _ => None,
        };
        if let Some((class, register)) = register {
            typed.push((class, register, *ty));
        }
        operands.push(register);
    }
    let result = match (variant.form.result, variant.op.result) {
        (Some(Place::Register), Some(ty)) => {
            let register = if variant.form.tied(variant.op) {
                variant
                    .op
                    .tie
                    .and_then(|tie| operands.get(usize::from(tie)).copied().flatten())
            } else {
                machine.class_of(ty).zip(given.next())
            };
            if let Some((class, register)) = register {
                typed.push((class, register, ty));
            }
            register
        }
        _ => None,
    };
    for (index, (class, register, ty)) in typed.iter().enumerate() {
        if is_integer(*ty) {
            let mut same = typed.iter().filter(|(c, r, _)| (c, r) == (class, register));
            if target.i32_upper == UpperHalf::Sign && same.all(|(_, _, t)| *t == ValueType::I32) {
                passing[*class][*register] = Passing::Word;
            }
            continue;
        }
        let clash = typed[..index]
            .iter()
            .any(|(c, r, t)| (c, r) == (class, register) && t != ty);
        let widest = machine.classes[*class].1.widest;
        passing[*class][*register] = match (clash, widest) {
            (true, ValueType::V128) => Passing::Vector,
            (true, _) => Passing::Typed(widest),
            (false, _) => Passing::Typed(*ty),
        };
    }
    Registers {
        operands,
        result,
        passing,
    }
}

/// Writes the function of a variant under that name.
///
/// # Errors
/// If the operation's shape does not fit its operands and immediates.
pub fn function(
    out: &mut String,
    name: &str,
    target: &Target,
    variant: &Variant<'_>,
) -> Result<(), SourceError> {
    let op = variant.op;
    let fault = |what: &str| SourceError {
        op: op.name.clone(),
        what: what.to_owned(),
    };
    let machine = target.machine();
    let registers = registers(target, variant);
    let param = |class: usize, register: usize| format!("{}{register}", machine.classes[class].0);

    // The prototype, and the arguments of the three kinds of tail calls.
    let mut parameters = Vec::new();
    let mut fixed = Vec::new();
    for pointer in &machine.fixed {
        parameters.push(match pointer.name.as_str() {
            "ctx" => "struct context *ctx".to_owned(),
            name => format!("uint8_t *{name}"),
        });
        fixed.push(pointer.name.clone());
    }
    let (mut kept, mut onward, mut dead) = (fixed.clone(), fixed.clone(), fixed);
    let mut dead_types = Vec::new();
    for (class, passing) in registers.passing.iter().enumerate() {
        for (register, passing) in passing.iter().enumerate() {
            let name = param(class, register);
            let ty = passing.c_type();
            parameters.push(format!("{ty} {name}"));
            onward.push(if registers.result == Some((class, register)) {
                "result".to_owned()
            } else {
                name.clone()
            });
            kept.push(name);
            dead.push(format!("dead_{ty}"));
            if !dead_types.contains(&ty) {
                dead_types.push(ty);
            }
        }
    }
    let _ = writeln!(out, "STENCIL {name}({}) {{", parameters.join(", "));
    let declare_dead = |out: &mut String| {
        // Uninitialised: what a dead register holds does not matter, and no instruction is spent on it.
        for ty in &dead_types {
            let _ = writeln!(out, "  {ty} dead_{ty};");
        }
    };
    let tail =
        |to: &str, arguments: &[String]| format!("TAIL({name}, {to})({});", arguments.join(", "));

    // Operands.
    let form_values = variant.form.values(op);
    let literal = |wanted: Value| -> Result<i64, SourceError> {
        form_values
            .iter()
            .position(|value| *value == wanted)
            .and_then(|index| variant.values.get(index).copied())
            .ok_or_else(|| fault("a value is missing (our bug)"))
    };
    let mut arguments = Vec::new();
    if op.uses_mem {
        arguments.push("mem".to_owned());
    }
    if op.uses_ctx {
        arguments.push("ctx".to_owned());
    }
    let to_memory = variant.form.result == Some(Place::Slot) && op.operands.len() == 1;
    let mut operands = Vec::new();
    for (index, (place, ty)) in variant.form.operands.iter().zip(&op.operands).enumerate() {
        operands.push(match place {
            Place::Register => {
                let (class, register) = registers.operands[index]
                    .ok_or_else(|| fault("an operand has no register (our bug)"))?;
                let name = param(class, register);
                match (ty, registers.passing[class][register]) {
                    // An annotation is a copy that costs nothing. Without it, clang knows after a branch on `a == 7`
                    // that 7 may be passed on for `a`, and spends an instruction to load it.
                    (ValueType::I32, Passing::Word) => {
                        format!("(uint32_t)__builtin_annotation({name}, \"\")")
                    }
                    (ValueType::I32, _) => {
                        let holds = match target.i32_upper {
                            UpperHalf::Zero => format!("o{index} <= 0xffffffff"),
                            UpperHalf::Sign => format!("(int64_t)o{index} == (int32_t)o{index}"),
                        };
                        let _ = writeln!(
                            out,
                            "  uint64_t o{index} = __builtin_annotation({name}, \"\");"
                        );
                        if target.i32_upper == UpperHalf::Sign || widens(variant.op) {
                            let _ = writeln!(out, "  __builtin_assume({holds});");
                        }
                        format!("(uint32_t)o{index}")
                    }
                    (ValueType::I64, _) => format!("__builtin_annotation({name}, \"\")"),
                    (ValueType::V128, _) => name,
                    (ValueType::F64, Passing::Vector) => format!("((copatch_f64x2){name})[0]"),
                    (_, Passing::Vector) => format!("{name}[0]"),
                    (ValueType::F32, Passing::Typed(ValueType::F64)) => {
                        let copy = float_copy(target, &format!("o{index}"), &name);
                        let _ = writeln!(out, "  float o{index}; {copy}");
                        format!("o{index}")
                    }
                    _ => name,
                }
            }
            Place::Immediate => constant(
                target,
                *ty,
                literal(Value::Constant(index, *ty))?,
                to_memory,
            ),
            Place::Slot => slot(*ty, literal(Value::OperandSlot(index, *ty))?),
        });
    }
    arguments.extend(operands.iter().cloned());
    let mut immediates = Vec::new();
    for (index, ty) in op.immediates.iter().enumerate() {
        immediates.push(immediate(target, *ty, literal(Value::Immediate(index))?));
    }
    arguments.extend(immediates.iter().cloned());
    if !op.traps.is_empty() {
        arguments.push("&trap".to_owned());
    }
    let own = target.clang.bodies.get(&op.name).map_or("", |_| "target_");
    let call = format!("{own}{}({})", op.c_name(), arguments.join(", "));

    match op.shape {
        Shape::Jump => {
            let _ = writeln!(out, "  {}", tail("HOLE_T0", &kept));
        }
        Shape::Table => {
            let ([index], [bound]) = (operands.as_slice(), immediates.as_slice()) else {
                return Err(fault("a table has one operand and one immediate"));
            };
            let _ = writeln!(
                out,
                "  uint32_t index = {index};\n  uint64_t entry = index < {bound} ? index : {bound};\n  \
                 char *to = {table} + ((int32_t *){table})[entry];\n  {}",
                tail("to", &kept),
                table = hole::TABLE,
            );
        }
        Shape::Helper => {
            let [number, slot] = immediates.as_slice() else {
                return Err(fault("a helper has two immediates and no operands"));
            };
            if !operands.is_empty() || op.result.is_some() {
                return Err(fault("a helper takes and gives its values in slots"));
            }
            declare_dead(out);
            let call = format!(
                "((uint32_t (*)(struct context *, uint64_t *))ctx->helpers[{number}])(ctx, (uint64_t *)(frame + {slot}))"
            );
            if op.traps.is_empty() {
                let _ = writeln!(out, "  {call};");
            } else {
                let _ = writeln!(
                    out,
                    "  if (__builtin_expect({call} != 0, 0)) {}",
                    tail("HOLE_X0", &dead)
                );
            }
            let _ = writeln!(out, "  {}", tail(hole::NEXT, &dead));
        }
        Shape::Next | Shape::Branch => {
            if !op.traps.is_empty() {
                declare_dead(out);
                out.push_str("  int trap = 0;\n");
            }
            let gives = op.result.map_or("", c_type);
            match (op.shape, op.result) {
                (Shape::Branch, _) => drop(writeln!(out, "  uint32_t value = {call};")),
                (_, Some(_)) => drop(writeln!(out, "  {gives} value = {call};")),
                (_, None) => drop(writeln!(out, "  {call};")),
            }
            for number in 0..op.traps.len() {
                let _ = writeln!(
                    out,
                    "  if (__builtin_expect(trap == {}, 0)) {}",
                    number + 1,
                    tail(&format!("{}{number}", hole::TRAP), &dead)
                );
            }
            match variant.form.outcome {
                Outcome::BranchTrue => drop(writeln!(
                    out,
                    "  if (value) {}\n  {}",
                    tail("HOLE_T0", &kept),
                    tail(hole::NEXT, &kept)
                )),
                Outcome::BranchFalse => drop(writeln!(
                    out,
                    "  if (!value) {}\n  {}",
                    tail("HOLE_T0", &kept),
                    tail(hole::NEXT, &kept)
                )),
                Outcome::Plain => {
                    if let Some(ty) = op.result {
                        match registers.result {
                            Some((class, register)) => {
                                let passing = registers.passing[class][register];
                                result(out, target, ty, passing);
                            }
                            None => {
                                let offset = literal(Value::ResultSlot(ty))?;
                                let _ = writeln!(out, "  {} = value;", slot(ty, offset));
                            }
                        }
                    }
                    let _ = writeln!(out, "  {}", tail(hole::NEXT, &onward));
                }
            }
        }
        Shape::Asm => return Err(fault("an asm operation has no C (our bug)")),
    }
    out.push_str("}\n");
    Ok(())
}

/// Whether an operation may use an i32 operand as 64 bits. Where it does not, clang is not told that the upper half is
/// zero: it would compare and combine 64 bits, for which a negative constant is no immediate.
fn widens(op: &Operation) -> bool {
    op.uses_mem || op.shape == Shape::Table || op.result.is_some_and(|ty| ty != ValueType::I32)
}

/// Brings `value` into the form in which its register is passed.
fn result(out: &mut String, target: &Target, ty: ValueType, passing: Passing) {
    let _ = match (ty, passing) {
        (ValueType::I32, Passing::Word) => writeln!(out, "  int32_t result = (int32_t)value;"),
        (ValueType::I32, _) => match target.i32_upper {
            // The annotation keeps clang from widening `a ^ -2` to 64 bits, where the constant is no immediate.
            UpperHalf::Zero => writeln!(
                out,
                "  uint64_t result = (uint32_t)__builtin_annotation(value, \"\");"
            ),
            UpperHalf::Sign => writeln!(out, "  uint64_t result = (int64_t)(int32_t)value;"),
        },
        // The upper lanes stay uninitialised, so that no instruction clears or merges them.
        (ValueType::F32, Passing::Vector) => {
            writeln!(out, "  v128 result; result[0] = value;")
        }
        (ValueType::F64, Passing::Vector) => writeln!(
            out,
            "  copatch_f64x2 lanes; lanes[0] = value; v128 result = (v128)lanes;"
        ),
        (ValueType::F32, Passing::Typed(ValueType::F64)) => {
            let copy = float_copy(target, "result", "value");
            writeln!(out, "  double result; {copy}")
        }
        _ => writeln!(out, "  {} result = value;", c_type(ty)),
    };
}

/// Copies all of a register, whatever the types on both sides.
fn float_copy(target: &Target, to: &str, from: &str) -> String {
    // Which no assembler takes.
    let missing = "the target's file has no float_copy";
    let text = target.clang.float_copy.as_deref().unwrap_or(missing);
    format!("__asm__(\"{text}\" : \"=f\"({to}) : \"f\"({from}));")
}

/// A literal of an operand's type. The bits of floats are integers; the halves of a vector are equal.
fn constant(target: &Target, ty: ValueType, value: i64, to_memory: bool) -> String {
    let wide = wide(target, value);
    let float = if to_memory { "plain" } else { "bits" };
    match ty {
        ValueType::I32 => format!("UINT32_C({:#x})", value as u32),
        ValueType::I64 => wide,
        ValueType::F32 => format!("copatch_f32_{float}(UINT32_C({:#x}))", value as u32),
        ValueType::F64 => format!("copatch_f64_{float}({wide})"),
        ValueType::V128 => format!("copatch_v128_bits({wide})"),
    }
}

/// A literal of 64 bits.
fn wide(target: &Target, value: i64) -> String {
    let number = format!("{value:#x}");
    match &target.clang.wide_constant {
        Some(text) if i32::try_from(value).is_err() => {
            let text = text.trim_end().replace("{v}", &number).replace('\n', "\\n");
            format!("({{ uint64_t c, t; __asm__(\"{text}\" : \"=&r\"(c), \"=&r\"(t)); c; }})")
        }
        _ => format!("UINT64_C({number})"),
    }
}

fn immediate(target: &Target, ty: ImmediateType, value: i64) -> String {
    match ty {
        ImmediateType::U32
        | ImmediateType::Lane2
        | ImmediateType::Lane4
        | ImmediateType::Lane8
        | ImmediateType::Lane16 => format!("UINT32_C({:#x})", value as u32),
        ImmediateType::I32 => format!("(int32_t)UINT32_C({:#x})", value as u32),
        ImmediateType::I64 => format!("(int64_t){}", wide(target, value)),
    }
}

/// A frame slot as an lvalue.
fn slot(ty: ValueType, offset: i64) -> String {
    format!("*({} *)(frame + ({offset}))", in_memory(ty))
}

/// Writes the assembly of a variant of an `asm` operation under that name.
///
/// # Errors
/// If the target has no text for it.
pub fn assembly(
    out: &mut String,
    name: &str,
    target: &Target,
    variant: &Variant<'_>,
) -> Result<(), SourceError> {
    let fault = |what: String| SourceError {
        op: variant.op.name.clone(),
        what,
    };
    let mut text = target
        .asm
        .get(&variant.op.name)
        .ok_or_else(|| fault(format!("target {} has no [asm] text for it", target.arch)))?
        .clone();
    let machine = target.machine();
    for (letter, register) in ('a'..).zip(registers(target, variant).operands) {
        if let Some((class, register)) = register {
            let name = &machine.classes[class].1.registers[register];
            text = text.replace(&format!("{{{letter}}}"), name);
        }
    }
    let _ = writeln!(
        out,
        ".p2align 4\n.globl {name}\n.type {name}, @function\n{name}:\n{}\n.size {name}, . - {name}",
        text.trim_end()
    );
    Ok(())
}

/// Writes the evaluator of an operation under that name; `false` if the operation has no body.
/// See [`copatch_spec::pack::tables::EvaluatorRow`].
pub fn evaluator(out: &mut String, name: &str, op: &Operation) -> bool {
    if !matches!(op.shape, Shape::Next | Shape::Branch) {
        return false;
    }
    let mut arguments = Vec::new();
    if op.uses_mem {
        arguments.push("mem".to_owned());
    }
    if op.uses_ctx {
        arguments.push("ctx".to_owned());
    }
    let mut word = 0;
    for ty in &op.operands {
        arguments.push(format!("*(const {} *)(operands + {word})", in_memory(*ty)));
        word += ty.slots();
    }
    for (index, ty) in op.immediates.iter().enumerate() {
        arguments.push(match ty {
            ImmediateType::U32
            | ImmediateType::Lane2
            | ImmediateType::Lane4
            | ImmediateType::Lane8
            | ImmediateType::Lane16 => format!("(uint32_t)immediates[{index}]"),
            ImmediateType::I32 => format!("(int32_t)immediates[{index}]"),
            ImmediateType::I64 => format!("(int64_t)immediates[{index}]"),
        });
    }
    if !op.traps.is_empty() {
        arguments.push("&trap".to_owned());
    }
    let call = format!("{}({})", op.c_name(), arguments.join(", "));
    let body = match (op.shape, op.result) {
        (Shape::Branch, _) => format!("uint64_t value = (uint32_t){call};"),
        // The whole word is written: an i32 is zero-extended, the upper half of an f32 is zero.
        (_, Some(ValueType::F32)) => {
            format!("float f = {call}; uint64_t value = 0; __builtin_memcpy(&value, &f, 4);")
        }
        (_, Some(ValueType::F64)) => {
            format!("double f = {call}; uint64_t value; __builtin_memcpy(&value, &f, 8);")
        }
        (_, Some(ValueType::V128)) => format!("v128 value = {call};"),
        (_, Some(_)) => format!("uint64_t value = {call};"),
        (_, None) => format!("{call};"),
    };
    let store = match (op.shape, op.result) {
        (Shape::Next, None) => "",
        (_, Some(ValueType::V128)) => "__builtin_memcpy(result, &value, 16);",
        _ => "*result = value;",
    };
    let _ = writeln!(
        out,
        "uint32_t {name}(uint8_t *mem, struct context *ctx, uint8_t *frame, const uint64_t *operands, \
         const uint64_t *immediates, uint64_t *result) {{\n  int trap = 0;\n  {body}\n  if (trap) return trap;\n  \
         {store}\n  return 0;\n}}"
    );
    true
}
