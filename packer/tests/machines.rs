//! Some operations (integer add, compare-and-branch, load, float add and conversion, call) through generation, probing, trimming and
//! patching on every architecture, executed on this machine or under qemu. `--nocapture` shows the stencils.
//!
//! The program sums an array in a loop, shows a negative i32 at full width, and calls a function that leaves the work to a
//! leaf, which adds floats and returns to the caller:
//!
//! ```text
//! f:    enter; r0 = 0; r1 = 0
//! loop: r2 = load [r0 + 16]; r1 = r1 + r2; r0 = r0 + 4; if r0 < 40 goto loop
//!       slot0 = r1; r1 = r1 + 74565; r1 = r1 + -100000; slot1 = r1 (64 bits)
//!       if !(r1 < r0) goto bad; call g; return
//! bad:  return
//! g:    enter; leave; go to h
//! h:    f0 = slot0; f1 = slot1; f0 = f0 + f1; f0 = f0 as a double; f0 = f0 as a single; slot2 = f0; return
//! ```

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use copatch_packer::cfg::{Trimmed, trim};
use copatch_packer::clang::{Clang, ClangError, Unit};
use copatch_packer::disassembly::listing;
use copatch_packer::object_file::{self, ObjectError};
use copatch_packer::probe::{self, Sample, Windows};
use copatch_packer::source::{self, Variant};
use copatch_spec::target::UpperHalf;
use copatch_spec::types::Place::{self, Immediate, Register, Slot};
use copatch_spec::variants::{Form, Outcome};
use copatch_spec::{InstructionSet, Shape, Target};

/// The signal of an instruction that does not exist.
const SIGILL: i32 = 4;

/// How to build for an architecture and run there.
struct Machine {
    triple: &'static str,
    compiler: &'static str,
    emulator: Option<&'static str>,
    /// What tells the compiler how that system calls C, where it is not its own way.
    convention: &'static str,
}

const NATIVE: Machine = Machine {
    triple: "x86_64-unknown-linux-gnu",
    compiler: "clang-19",
    emulator: None,
    convention: "",
};

const MACHINES: [Machine; 5] = [
    NATIVE,
    // The code of these systems is built into a program of Linux, which calls it as they do.
    Machine {
        triple: "x86_64-apple-darwin",
        ..NATIVE
    },
    Machine {
        triple: "x86_64-pc-windows-msvc",
        convention: "__attribute__((ms_abi))",
        ..NATIVE
    },
    Machine {
        triple: "aarch64-unknown-linux-gnu",
        compiler: "aarch64-linux-gnu-gcc",
        emulator: Some("qemu-aarch64-static"),
        convention: "",
    },
    Machine {
        triple: "riscv64-unknown-linux-gnu",
        compiler: "riscv64-linux-gnu-gcc",
        emulator: Some("qemu-riscv64-static"),
        convention: "",
    },
];

/// Least and greatest value, and the power of two that divides it.
type Range = (i64, i64, u8);

const CONSTANT: Range = (i32::MIN as i64, i32::MAX as i64, 0);
const OFFSET: Range = (0, u32::MAX as i64, 0);
const SLOT: Range = (-4096, i32::MAX as i64 & !7, 3);

/// One stencil of the program.
struct Step {
    op: &'static str,
    form: Form,
    registers: Vec<usize>,
    /// Its value, and what its kind of value can be.
    value: Option<(i64, Range)>,
    /// Where a branch or call leads.
    to: Option<&'static str>,
    /// The name of this place.
    label: Option<&'static str>,
}

fn step(op: &'static str, operands: &[Place], result: Option<Place>, registers: &[usize]) -> Step {
    Step {
        op,
        form: Form {
            operands: operands.to_vec(),
            result,
            outcome: Outcome::Plain,
        },
        registers: registers.to_vec(),
        value: None,
        to: None,
        label: None,
    }
}

impl Step {
    fn value(mut self, value: i64, kind: Range) -> Self {
        self.value = Some((value, kind));
        self
    }
    fn to(mut self, label: &'static str) -> Self {
        self.to = Some(label);
        self
    }
    fn at(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }
    fn branch(mut self, outcome: Outcome) -> Self {
        self.form.outcome = outcome;
        self
    }
}

/// Bytes between the frames of `f` and `g`, which `h` takes over.
const FRAME: i64 = 64;

fn program(target: &Target) -> Vec<Step> {
    let slot = |index: i64| index * 8 - i64::from(target.frame_bias);
    let r = Some(Register);
    vec![
        step("core.entry", &[], None, &[]).at("entry"),
        step("core.enter", &[], None, &[]).at("f"),
        step("core.move_i32", &[Immediate], r, &[0]).value(0, CONSTANT),
        step("core.move_i32", &[Immediate], r, &[1]).value(0, CONSTANT),
        step("i32.load", &[Register], r, &[0, 2])
            .value(16, OFFSET)
            .at("loop"),
        step("i32.add", &[Register, Register], r, &[1, 2, 1]),
        step("i32.add", &[Register, Immediate], r, &[0, 0]).value(4, CONSTANT),
        step("i32.lt_s", &[Register, Immediate], None, &[0])
            .branch(Outcome::BranchTrue)
            .value(40, CONSTANT)
            .to("loop"),
        step("core.move_i32", &[Register], Some(Slot), &[1]).value(slot(0), SLOT),
        step("i32.add", &[Register, Immediate], r, &[1, 1]).value(74_565, CONSTANT),
        step("i32.add", &[Register, Immediate], r, &[1, 1]).value(-100_000, CONSTANT),
        step("core.move_i64", &[Register], Some(Slot), &[1]).value(slot(1), SLOT),
        step("i32.lt_s", &[Register, Register], None, &[1, 0])
            .branch(Outcome::BranchFalse)
            .to("bad"),
        step("core.call", &[], None, &[])
            .value(FRAME, CONSTANT)
            .to("g"),
        step("core.return", &[], None, &[]),
        step("core.return", &[], None, &[]).at("bad"),
        step("core.enter", &[], None, &[]).at("g"),
        step("core.leave", &[], None, &[]),
        step("core.tail_call", &[], None, &[]).to("h"),
        step("core.move_f32", &[Slot], r, &[0])
            .value(slot(0), SLOT)
            .at("h"),
        step("core.move_f32", &[Slot], r, &[1]).value(slot(1), SLOT),
        step("f32.add", &[Register, Register], r, &[0, 1, 0]),
        // In the same register, which is passed at one type.
        step("f64.promote_f32", &[Register], r, &[0, 0]),
        step("f32.demote_f64", &[Register], r, &[0, 0]),
        step("core.move_f32", &[Register], Some(Slot), &[0]).value(slot(2), SLOT),
        step("core.return_leaf", &[], None, &[]),
    ]
}

/// The constants on which a range is learnt here: exhaustive ranges are thinned out, since the pack's build tries them
/// all.
fn constants((lo, hi, align): Range) -> Vec<i64> {
    let all = probe::probe_values(lo, hi, align);
    let thin = all.len() / 1000 * 3 + 1;
    let mut constants: Vec<i64> = all.into_iter().step_by(thin).collect();
    // The template is made from the first one.
    if let Some(generic) = constants
        .iter()
        .position(|value| !probe::is_special(*value))
    {
        constants.swap(0, generic);
    }
    constants
}

/// The code of a step for each of these constants, trimmed.
fn compile(
    clang: &Clang,
    isa: &InstructionSet,
    target: &Target,
    step: &Step,
    constants: &[i64],
) -> Result<Vec<Trimmed>, String> {
    let op = isa
        .op(step.op)
        .map(|index| &isa.ops[index])
        .ok_or(step.op)?;
    let assembly = op.shape == Shape::Asm;
    let mut text = if assembly {
        String::new()
    } else {
        source::prelude(isa)
    };
    for (number, constant) in constants.iter().enumerate() {
        let values = [*constant];
        let variant = Variant {
            op,
            form: &step.form,
            registers: &step.registers,
            values: if step.value.is_some() { &values } else { &[] },
        };
        // The names sort as the constants stand.
        let name = format!("stencil{number:05}");
        if assembly {
            source::assembly(&mut text, &name, target, &variant)
        } else {
            source::function(&mut text, &name, target, &variant)
        }
        .map_err(|error| error.to_string())?;
    }
    let unit = Unit {
        name: format!("stencils.{}", if assembly { "s" } else { "c" }),
        text,
    };
    let mut stencils = clang
        .compile(vec![unit], "stencils", |unit, object| {
            Ok::<_, Fault>(object_file::read(&unit.name, object)?)
        })
        .map_err(|Fault(what)| what)?
        .concat();
    stencils.retain(|raw| raw.name.starts_with("stencil"));
    if stencils.len() != constants.len() {
        return Err(format!("{}: a stencil is missing", step.op));
    }
    let trimmed = stencils.into_iter().map(|raw| {
        if assembly {
            Ok(Trimmed {
                code: raw.code,
                holes: raw.relocations,
            })
        } else {
            trim(&raw, target).map_err(|refusal| refusal.to_string())
        }
    });
    trimmed.collect()
}

struct Fault(String);

impl From<ClangError> for Fault {
    fn from(error: ClangError) -> Self {
        Fault(error.to_string())
    }
}

impl From<ObjectError> for Fault {
    fn from(error: ObjectError) -> Self {
        Fault(error.to_string())
    }
}

/// The stencil of a step with its value filled in, from the narrowest range that is encoded uniformly. Where clang has
/// better code for the value than the template, it is the program's result that proves the template.
fn learn(
    clang: &Clang,
    isa: &InstructionSet,
    target: &Target,
    step: &Step,
) -> Result<Trimmed, String> {
    let Some((value, (least, most, step_of))) =
        step.value.filter(|_| !target.asm.contains_key(step.op))
    else {
        let mut codes = compile(clang, isa, target, step, &[0])?;
        return codes.pop().ok_or("no code".to_owned());
    };
    let windows = match target.arch.as_str() {
        "x86_64" => Windows::Bytes,
        _ => Windows::Words,
    };
    let mut reasons = String::new();
    for class in &target.immediate {
        let align = class.align.max(step_of);
        let (lo, hi) = (class.lo.max(least), class.hi.min(most));
        if !(lo..=hi).contains(&value) || value % (1 << align) != 0 {
            continue;
        }
        let constants = constants((lo, hi, align));
        let codes = compile(clang, isa, target, step, &constants)?;
        let samples: Vec<Sample> = constants
            .iter()
            .zip(&codes)
            .map(|(value, trimmed)| Sample {
                value: *value,
                code: trimmed.code.clone(),
            })
            .collect();
        match probe::fit_in(&samples, windows) {
            Ok(template) => {
                println!(
                    "{} {:?} {value} as {}: {} of {} samples differ {:?}",
                    step.op,
                    step.form.operands,
                    class.name,
                    template.disagreeing.len(),
                    samples.len(),
                    template.disagreeing.iter().take(12).collect::<Vec<_>>()
                );
                for field in &template.fields {
                    println!("  field at {}: {:?}", field.offset, field.kind.fields);
                }
                // clang tests `r < v` as `r <= v - 1`, which does not hold at one end of the range.
                let exceptions = &template.disagreeing;
                if step.op == "i32.lt_s" && ![lo, hi].iter().any(|end| exceptions.contains(end)) {
                    return Err(format!("no end of {} is an exception of lt_s", class.name));
                }
                let code = probe::apply(&template, value);
                let like = codes
                    .iter()
                    .find(|trimmed| trimmed.code.len() == code.len());
                let holes = like
                    .map(|trimmed| trimmed.holes.clone())
                    .unwrap_or_default();
                return Ok(Trimmed { code, holes });
            }
            Err(error) => reasons.push_str(&format!("{}: {error}; ", class.name)),
        }
    }
    Err(format!("{} {value}: {reasons}", step.op))
}

/// Copies the stencils one after another and patches what is left; gives the code and where its labels are.
fn link(
    target: &Target,
    steps: &[Step],
    stencils: &[Trimmed],
) -> Result<(Vec<u8>, BTreeMap<&'static str, usize>), String> {
    let mut code = Vec::new();
    let mut labels = BTreeMap::new();
    let mut starts = Vec::new();
    for (step, stencil) in steps.iter().zip(stencils) {
        if let Some(label) = step.label {
            labels.insert(label, code.len());
        }
        starts.push(code.len());
        code.extend_from_slice(&stencil.code);
    }
    let trap = code.len();
    code.extend_from_slice(&target.trap_instruction);
    for ((step, stencil), start) in steps.iter().zip(stencils).zip(starts) {
        for hole in &stencil.holes {
            let value = match hole.symbol.as_str() {
                "HOLE_V0" => step.value.ok_or("no value")?.0,
                "HOLE_T0" => labels[step.to.ok_or("no target")?] as i64,
                "HOLE_X0" => trap as i64,
                other => return Err(format!("{} refers to {other}", step.op)),
            };
            hole.apply(&mut code[start..], start as i64, value)
                .ok_or_else(|| format!("{value} does not fit a hole of {}", step.op))?;
        }
    }
    Ok((code, labels))
}

/// Calls the code as C would; with an argument, with a stack that has no room.
fn harness(convention: &str, entry: usize, f: usize, bias: u32) -> String {
    format!(
        r#"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
extern unsigned char code[];
static uint64_t frames[1024];
static uint8_t memory[64];
int main(int argc, char **argv) {{
    uint64_t context[16] = {{0}};
    (void)argv;
    context[0] = 0x1234;
    context[1] = argc > 1 ? 0 : (uint64_t)(frames + 1024);
    for (int i = 0; i < 10; i++) {{ uint32_t v = i * i; memcpy(memory + 16 + 4 * i, &v, 4); }}
    float a = 0.5f, b = -3.25f;
    memcpy(frames + {g}, &a, 4);
    memcpy(frames + {g} + 1, &b, 4);
    typedef {convention} int shim(void *, void *, void *, void *);
    shim *entry = (shim *)(code + {entry});
    int r = entry(context, (uint8_t *)frames + {bias}, memory, code + {f});
    float sum;
    memcpy(&sum, frames + {g} + 2, 4);
    printf("%d %u %llx %g %llx\n", r, (uint32_t)frames[0], (unsigned long long)frames[1], sum,
        (unsigned long long)context[0]);
    return 0;
}}
"#,
        g = FRAME / 8
    )
}

fn present(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Builds a program around the code and gives a way to run it.
fn build(machine: &Machine, folder: &Path, code: &[u8], main: &str) -> impl Fn(&[&str]) -> Output {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("code.bin", code);
    write("main.c", main.as_bytes());
    write(
        "code.s",
        b".section .text\n.balign 64\n.globl code\ncode: .incbin \"code.bin\"\n.section .note.GNU-stack,\"\",%progbits\n",
    );
    let built = Command::new(machine.compiler)
        .current_dir(folder)
        .args(["-O1", "-static", "main.c", "code.s", "-o", "program"])
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let program = folder.join("program");
    let emulator = machine.emulator;
    move |arguments| {
        let mut command = match emulator {
            Some(emulator) => Command::new(emulator),
            None => Command::new(&program),
        };
        if emulator.is_some() {
            command.arg(&program);
        }
        command.args(arguments).output().unwrap()
    }
}

#[test]
fn a_program_runs_on_every_machine() {
    let isa = InstructionSet::builtin("wasm").unwrap().unwrap();
    for machine in &MACHINES {
        let triple = machine.triple;
        let target = Target::for_triple(triple).unwrap();
        let native = machine.emulator.is_none();
        if native && std::env::consts::ARCH != target.arch {
            println!("{triple} skipped: this machine is another");
            continue;
        }
        let tools = [Some("clang-19"), Some(machine.compiler), machine.emulator];
        if let Some(missing) = tools.into_iter().flatten().find(|tool| !present(tool)) {
            println!("{triple} skipped: no {missing}");
            continue;
        }
        let steps = program(&target);
        println!("== {triple}");
        let clang = Clang::find(None, triple, &target, None).unwrap();
        let stencils: Vec<Trimmed> = steps
            .iter()
            .map(|step| {
                let stencil = learn(&clang, &isa, &target, step)
                    .unwrap_or_else(|what| panic!("{triple}: {what}"));
                println!(
                    "{}:\n{}",
                    step.op,
                    listing(&target.arch, &stencil.code, &stencil.holes)
                );
                stencil
            })
            .collect();
        let (code, labels) = link(&target, &steps, &stencils).unwrap();
        let main = harness(
            machine.convention,
            labels["entry"],
            labels["f"],
            target.frame_bias,
        );
        let folder = tempfile::tempdir().unwrap();
        let run = build(machine, folder.path(), &code, &main);

        let output = run(&[]);
        // The sum of squares below 10, then 285 + 74565 - 100000 at full width, then the leaf's sum.
        let wide = match target.i32_upper {
            UpperHalf::Zero => u64::from(-25_150_i32 as u32),
            UpperHalf::Sign => -25_150_i64 as u64,
        };
        let expected = format!("0 285 {wide:x} -2.75 1234\n");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{triple}"
        );

        // Without room on the stack, the entry of `f` reaches the trap's stub.
        let output = run(&["no room"]);
        assert_eq!(output.status.signal(), Some(SIGILL), "{triple}");
    }
}
