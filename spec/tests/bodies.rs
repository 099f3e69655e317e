//! The C bodies, where clang is at hand: each has the prototype that its line in the op table promises, compiles
//! without a warning, and calls nothing.

mod common;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use copatch_spec::isa::ImmediateType;
use copatch_spec::{InstructionSet, Operation, Shape, Target, ValueType};

use common::{INSTRUCTION_SETS, builtin};

const CLANG: &str = "clang-19";

fn c_type(ty: ValueType) -> &'static str {
    match ty {
        ValueType::I32 => "uint32_t",
        ValueType::I64 => "uint64_t",
        ValueType::F32 => "float",
        ValueType::F64 => "double",
        ValueType::V128 => "v128",
    }
}

fn prototype(op: &Operation) -> (&'static str, String) {
    let mut parameters = Vec::new();
    if op.uses_mem {
        parameters.push("uint8_t *");
    }
    if op.uses_ctx {
        parameters.push("struct context *");
    }
    parameters.extend(op.operands.iter().map(|ty| c_type(*ty)));
    parameters.extend(op.immediates.iter().map(|ty| match ty {
        ImmediateType::U32
        | ImmediateType::Lane2
        | ImmediateType::Lane4
        | ImmediateType::Lane8
        | ImmediateType::Lane16 => "uint32_t",
        ImmediateType::I32 => "int32_t",
        ImmediateType::I64 => "int64_t",
    }));
    if !op.traps.is_empty() {
        parameters.push("int *");
    }
    if parameters.is_empty() {
        parameters.push("void");
    }
    (op.result.map_or("void", c_type), parameters.join(", "))
}

/// One constant pointer to each body: it compiles only if the prototypes agree, and keeps the body in the output.
fn pointers_to_bodies(isa: &InstructionSet) -> String {
    let mut out = isa.source.clone();
    for op in &isa.ops {
        if matches!(op.shape, Shape::Next | Shape::Branch) {
            let name = op.c_name();
            let (mut result, parameters) = prototype(op);
            if op.shape == Shape::Branch {
                result = "uint32_t";
            }
            let _ = writeln!(
                out,
                "extern {result} (*const body_of_{name})({parameters});"
            );
            let _ = writeln!(
                out,
                "{result} (*const body_of_{name})({parameters}) = {name};"
            );
        }
    }
    out
}

/// Compiles to assembly.
fn compile(source: &str, arch: &str, flags: &[String]) -> String {
    let mut child = Command::new(CLANG)
        .arg(format!("--target={arch}-unknown-linux-gnu"))
        .args([
            "-std=c17",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused-function",
        ])
        .args(["-x", "c", "-", "-S", "-o", "-"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("clang starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(source.as_bytes())
        .expect("clang reads");
    let output = child.wait_with_output().expect("clang ends");
    assert!(
        output.status.success(),
        "{arch} {flags:?}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("assembly is text")
}

/// Whether a line of assembly leaves its function for a named one.
fn is_call(line: &str) -> bool {
    let mut words = line.split_whitespace();
    match words.next() {
        Some("call" | "callq" | "bl" | "blr" | "tail" | "jal" | "jalr") => true,
        Some("jmp" | "b" | "j") => words.next().is_some_and(|label| !label.starts_with('.')),
        _ => false,
    }
}

#[test]
fn bodies_have_their_prototypes_and_call_nothing() {
    if Command::new(CLANG).arg("--version").output().is_err() {
        println!("skipped: no {CLANG}");
        return;
    }
    for arch in Target::ARCHITECTURES {
        let target = Target::builtin(arch).unwrap_or_else(|| panic!("{arch} does not parse"));
        let sets = target.features.values().map(|set| set.flags.as_slice());
        for features in std::iter::once(&[][..]).chain(sets) {
            let flags = [target.clang.flags.as_slice(), features].concat();
            for name in INSTRUCTION_SETS {
                let assembly = compile(&pointers_to_bodies(&builtin(name)), arch, &flags);
                for line in assembly.lines() {
                    assert!(!is_call(line), "{name} on {arch} {features:?}: {line}");
                }
            }
        }
    }
}

#[test]
fn a_wrong_prototype_and_a_call_are_found() {
    assert!(is_call("\tcall\tfloor@PLT"));
    assert!(is_call("\tjmp\tfloor@PLT"));
    assert!(is_call("\tb\tfloor"));
    assert!(!is_call("\tjmp\t.LBB0_1"));
    if Command::new(CLANG).arg("--version").output().is_err() {
        println!("skipped: no {CLANG}");
        return;
    }
    let table = "name = \"t\"\nversion = 1\n[op]\n\"t.a\" = { in = \"i64\", out = \"i32\" }";
    let source = "static inline uint32_t t_a(uint32_t a) { return a; }";
    let isa = InstructionSet::parse(table, source).expect("a table");
    let text = pointers_to_bodies(&isa);
    assert!(std::panic::catch_unwind(|| compile(&text, "x86_64", &[])).is_err());
}
