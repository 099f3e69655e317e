//! `core.entry`, `core.unwind`, `core.helper` and evaluators of every x86-64 target, executed here: a call by the system's C
//! convention must find all registers as they were that C keeps there, whatever compiled code did to them, and a helper and an
//! evaluator their arguments.
//!
//! The program that calls is Linux's. It calls as the target's system does, so what runs is the code that runs there.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use copatch_packer::cfg::{Trimmed, trim};
use copatch_packer::clang::{Clang, Unit};
use copatch_packer::error::BuildError;
use copatch_packer::source::{self, Variant};
use copatch_packer::{evaluator, object_file};
use copatch_spec::variants::{Form, Outcome};
use copatch_spec::{InstructionSet, Shape, Target, ValueType};

/// How a system calls C.
struct Convention {
    triple: &'static str,
    attribute: &'static str,
    /// From `check(entry, context, frame, memory, code)` to a call of `entry` in rax with the other four.
    arguments: &'static str,
    kept: &'static [&'static str],
    /// The first vector register that is kept, if any is.
    vectors: u32,
}

const SYSTEM_V: Convention = Convention {
    triple: "x86_64-unknown-linux-gnu",
    attribute: "",
    arguments: "mov %rdi, %rax\nmov %rsi, %rdi\nmov %rdx, %rsi\nmov %rcx, %rdx\nmov %r8, %rcx\n",
    kept: &["rbx", "rbp", "r12", "r13", "r14", "r15"],
    vectors: 16,
};

const CONVENTIONS: [Convention; 3] = [
    SYSTEM_V,
    Convention {
        triple: "x86_64-apple-darwin",
        ..SYSTEM_V
    },
    Convention {
        triple: "x86_64-pc-windows-msvc",
        attribute: "__attribute__((ms_abi))",
        arguments: "mov %rdi, %rax\nmov %r8, %r9\nmov %rcx, %r8\nmov %rsi, %rcx\n",
        kept: &["rbx", "rbp", "rdi", "rsi", "r12", "r13", "r14", "r15"],
        vectors: 6,
    },
];

/// Registers that compiled code may change; the context's is not among them.
const CHANGED: [&str; 13] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r14", "r15",
];

/// The stencil of an operation without operands.
fn stencil(
    clang: &Clang,
    isa: &InstructionSet,
    target: &Target,
    name: &str,
    values: &[i64],
) -> Trimmed {
    let op = &isa.ops[isa.op(name).unwrap()];
    let variant = Variant {
        op,
        form: &Form {
            operands: Vec::new(),
            result: None,
            outcome: Outcome::Plain,
        },
        registers: &[],
        values,
    };
    let (mut text, extension) = match op.shape {
        Shape::Asm => (String::new(), "s"),
        _ => (source::prelude(isa), "c"),
    };
    match op.shape {
        Shape::Asm => source::assembly(&mut text, "stencil", target, &variant),
        _ => source::function(&mut text, "stencil", target, &variant),
    }
    .unwrap();
    let unit = Unit {
        name: format!("stencil.{extension}"),
        text,
    };
    let read = clang.compile(vec![unit], "stencil", |unit, object| {
        Ok::<_, BuildError>(object_file::read(&unit.name, object)?)
    });
    let raw = read.unwrap().concat();
    let raw = raw.into_iter().find(|raw| raw.name == "stencil").unwrap();
    match op.shape {
        Shape::Asm => Trimmed {
            code: raw.code,
            holes: raw.relocations,
        },
        _ => trim(&raw, target).unwrap(),
    }
}

/// Stencils one after another, and a trap's stub behind them.
fn joined(target: &Target, stencils: &[Trimmed]) -> Vec<u8> {
    let mut code: Vec<u8> = Vec::new();
    let stub = stencils
        .iter()
        .map(|stencil| stencil.code.len())
        .sum::<usize>() as i64;
    for stencil in stencils {
        let start = code.len();
        code.extend(&stencil.code);
        for hole in &stencil.holes {
            assert_eq!(hole.symbol, "HOLE_X0");
            hole.apply(&mut code[start..], start as i64, stub).unwrap();
        }
    }
    code.extend(&target.trap_instruction);
    code
}

/// Calls an entry with numbers in all registers that C keeps, and looks whether they are still there.
fn check(convention: &Convention) -> String {
    let mut text = String::from(".text\n.globl check, clobber, clobber_and_unwind\ncheck:\n");
    for register in SYSTEM_V.kept {
        let _ = writeln!(text, "push %{register}");
    }
    // The 32 bytes that belong to the callee on Windows, and 8 that align.
    let _ = writeln!(text, "sub $40, %rsp\n{}", convention.arguments);
    for (number, register) in (100..).zip(convention.kept) {
        let _ = writeln!(text, "mov ${number}, %{register}");
    }
    for vector in convention.vectors..16 {
        let _ = writeln!(
            text,
            "movl ${vector}, (%rsp)\nmovl $0, 4(%rsp)\nmovl $0, 8(%rsp)"
        );
        let _ = writeln!(
            text,
            "movl ${vector}, 12(%rsp)\nmovups (%rsp), %xmm{vector}"
        );
    }
    text.push_str("call *%rax\n");
    for (number, register) in (100..).zip(convention.kept) {
        let _ = writeln!(text, "cmp ${number}, %{register}\njne 1f");
    }
    for vector in convention.vectors..16 {
        let _ = writeln!(
            text,
            "movups %xmm{vector}, (%rsp)\ncmpl ${vector}, (%rsp)\njne 1f"
        );
        let _ = writeln!(text, "cmpl ${vector}, 12(%rsp)\njne 1f");
    }
    text.push_str("jmp 2f\n1: mov $99, %eax\n2: add $40, %rsp\n");
    for register in SYSTEM_V.kept.iter().rev() {
        let _ = writeln!(text, "pop %{register}");
    }
    text.push_str("ret\n");
    for (name, end) in [
        ("clobber", "ret"),
        ("clobber_and_unwind", "mov $-1, %rbp\npush %rax\njmp unwind"),
    ] {
        // Where a function begins the stack is aligned.
        let _ = writeln!(text, "{name}:\ntest $15, %spl\nje 1f\nud2\n1:");
        for register in CHANGED {
            let _ = writeln!(text, "mov $-1, %{register}");
        }
        for vector in 0..16 {
            let _ = writeln!(text, "pcmpeqd %xmm{vector}, %xmm{vector}");
        }
        let _ = writeln!(text, "{end}");
    }
    for name in ["entry", "unwind", "calls", "evaluators"] {
        let _ = writeln!(
            text,
            ".balign 16\n.globl {name}\n{name}: .incbin \"{name}\""
        );
    }
    text.push_str(".section .note.GNU-stack,\"\",@progbits\n");
    text
}

/// Number of the helper, and the offset of its slots from what the frame register holds.
const HELPER: [i64; 2] = [2, 48];

/// Operands that tell evaluators' operations apart, zero and the least integer among them.
const OPERANDS: [[i64; 2]; 5] = [[7, 3], [-9, 2], [5, 0], [i64::MIN, -1], [4, 4]];

fn main_of(convention: &Convention, evaluators: &[usize]) -> String {
    let [number, slots] = HELPER;
    let operands: Vec<String> = OPERANDS
        .iter()
        .map(|[a, b]| format!("{{ {:#x}, {:#x} }}", *a as u64, *b as u64))
        .collect();
    format!(
        r#"
#include <stdint.h>
#include <stdio.h>
extern char entry[], calls[], clobber[], clobber_and_unwind[], evaluators[];
static const unsigned at[] = {{ {at} }};
static const uint64_t operands[][2] = {{ {operands} }};
int check(void *entry, void *context, void *frame, void *memory, void *code);
static uint64_t context[16], frame[64];
typedef {attribute} uint32_t evaluator(void *, void *, void *, const uint64_t *, const uint64_t *, uint64_t *);
{attribute} static uint32_t helper(void *got, uint64_t *slots) {{
    slots[0] = got == context && slots == frame + {slots} / 8 ? slots[0] * 2 : 1;
    return 0;
}}
int main(void) {{
    void *helpers[] = {{ 0, 0, 0 }};
    helpers[{number}] = helper;
    context[0] = 0x1234;
    context[1] = (uint64_t)(frame + 64);
    context[3] = (uint64_t)helpers;
    frame[{slots} / 8] = 21;
    printf("%d", check(entry, context, frame, 0, clobber));
    printf(" %d", check(entry, context, frame, 0, clobber_and_unwind));
    printf(" %d", check(entry, context, frame, 0, calls));
    printf(" %d %x\n", (int)frame[{slots} / 8], (int)context[0]);
    for (unsigned i = 0; i < sizeof at / sizeof *at; i++)
        for (unsigned j = 0; j < sizeof operands / sizeof *operands; j++) {{
            uint64_t result = 0, immediates[4] = {{ 0 }};
            evaluator *evaluate = (evaluator *)(evaluators + at[i]);
            unsigned trap = evaluate(0, context, frame, operands[j], immediates, &result);
            printf("%u %d %llx\n", i, trap, (unsigned long long)result);
        }}
    return 0;
}}
"#,
        at = evaluators
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        operands = operands.join(", "),
        attribute = convention.attribute
    )
}

#[test]
fn compiled_code_is_entered_and_left_as_each_system_calls_c() {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("skipped: this machine is another");
        return;
    }
    let missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    if let Some(tool) = ["clang-19", "gcc"].into_iter().find(missing) {
        println!("skipped: no {tool}");
        return;
    }
    let isa = InstructionSet::builtin("toy").unwrap().unwrap();
    let mut evaluated = None;
    for convention in &CONVENTIONS {
        let triple = convention.triple;
        let target = Target::for_triple(triple).unwrap();
        let clang = Clang::find(Some(Path::new("clang-19")), triple, &target, None).unwrap();
        let stencil = |name: &str, values: &[i64]| stencil(&clang, &isa, &target, name, values);
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("entry", &stencil("core.entry", &[]).code);
        write("unwind", &stencil("core.unwind", &[]).code);
        let calls = [
            stencil("core.enter", &[]),
            stencil("core.helper", &HELPER),
            stencil("core.return", &[]),
        ];
        write("calls", &joined(&target, &calls));
        write("check.s", check(convention).as_bytes());
        let (mut evaluators, mut at) = (Vec::new(), Vec::new());
        for (op, code) in isa.ops.iter().zip(evaluator::build(&isa, &clang).unwrap()) {
            // Two words are operands of any other operation.
            let narrow = op
                .operands
                .iter()
                .chain(&op.result)
                .all(|ty| *ty != ValueType::V128);
            if let Some(code) = code.filter(|_| narrow && op.operands.len() <= 2) {
                evaluators.resize(evaluators.len().next_multiple_of(16), 0);
                at.push(evaluators.len());
                evaluators.extend(code);
            }
        }
        write("evaluators", &evaluators);
        write("main.c", main_of(convention, &at).as_bytes());
        // Without optimisation a function for Windows stores its arguments in the bytes that its caller left for it.
        let built = Command::new("gcc")
            .current_dir(folder.path())
            .args(["-O0", "-w", "-no-pie", "main.c", "check.s", "-o", "program"])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{triple}: {message}");
        let output = Command::new(folder.path().join("program"))
            .output()
            .unwrap();
        // 0 for a return, 1 for an unwinding, 99 for a lost register; the helper doubled 21, and entries were undone.
        let printed = String::from_utf8_lossy(&output.stdout);
        let (first, rest) = printed.split_once('\n').unwrap_or_default();
        assert_eq!(first, "0 1 0 42 1234", "{triple}: {:?}", output.status);
        assert_eq!(rest.lines().count(), at.len() * OPERANDS.len(), "{triple}");
        // Linux's are judged by other tests.
        assert_eq!(
            evaluated.get_or_insert_with(|| rest.to_owned()),
            rest,
            "{triple}"
        );
    }
}
