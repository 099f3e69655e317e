//! The child process that executes stencils: built by clang for the target, run natively or under an emulator.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use copatch_spec::Target;
use copatch_spec::types::ValueType;

use super::ProveError;
use super::machine::{Machine, machine};
use crate::clang::target_flag;

/// Where code is executed; branches reach everything from here.
pub(super) const CODE_AT: u64 = 0x3100_0000;
/// Bytes of code, stubs, constants and tables together.
pub(super) const CODE_BYTES: usize = 0x1_0000;
pub(super) const STATE_AT: u64 = 0x3000_0000;
pub(super) const CONTEXT_AT: u64 = 0x3200_0000;
const CONTEXT_BYTES: u64 = 0x1000;
/// Displacements of 32 bits stay in mapped memory on both sides of these.
pub(super) const FRAME_AT: u64 = 0x10_0000_0000;
pub(super) const HELPERS_AT: u64 = 0x20_0000_0000;
/// Linear memory: an index and an offset of 32 bits each stay inside.
pub(super) const MEM_AT: u64 = 0x30_0000_0000;
const REACH: u64 = 0x8000_0000;

/// What a run is entered with and what it leaves, as words.
pub(super) type State = [u64; STATE_WORDS];
pub(super) const LANDING: usize = 0;
pub(super) const SAVED: usize = 1;
pub(super) const EXIT: usize = 2;
pub(super) const FAULT: usize = 3;
/// The stack pointer at the exit, from its value at the entry.
pub(super) const STACK: usize = 4;
pub(super) const CONTEXT: usize = 5;
/// The first two C arguments where a fault happened.
pub(super) const ARGUMENTS: usize = 6;
/// Fixed pointers, then the integer value registers.
pub(super) const INTEGERS: usize = 8;
const MOST_INTEGERS: usize = 20;
/// The vector value registers, two words each.
pub(super) const VECTORS: usize = INTEGERS + MOST_INTEGERS;
const MOST_VECTORS: usize = 16;
/// An address (0: none) and the four words there, for each.
pub(super) const WINDOW_WORDS: usize = VECTORS + 2 * MOST_VECTORS;
pub(super) const WINDOWS: usize = 12;
const STATE_WORDS: usize = WINDOW_WORDS + 5 * WINDOWS;
/// Exits from here on are faults: this plus the number of the signal.
pub(super) const FAULT_EXIT: u64 = 0x100;
/// Runs of one request.
pub(super) const MOST_RUNS: usize = 192;

/// An executable for the target and the processes that run it.
pub(super) struct Harness {
    pub machine: &'static dyn Machine,
    command: Vec<PathBuf>,
    idle: Mutex<Vec<Process>>,
    /// Holds the executable.
    _folder: tempfile::TempDir,
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has answered all requests, or is already dead; either way nothing is lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What became of a request.
pub(super) enum Reply {
    /// One state a run, of the first code and of the second.
    States(Vec<State>, Vec<State>),
    /// The process died over it: the code hung or destroyed what it runs in.
    Died,
}

impl Harness {
    /// Compiles the harness and starts it once.
    pub(super) fn new(target: &Target, clang: &Path) -> Result<Self, ProveError> {
        let machine =
            machine(&target.arch).ok_or_else(|| ProveError::Architecture(target.arch.clone()))?;
        let io = |source| ProveError::Io {
            what: "the proof harness".to_owned(),
            source,
        };
        let folder = tempfile::Builder::new()
            .prefix("copatch-prove-")
            .tempdir()
            .map_err(io)?;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("harness.c", include_str!("harness.c")).map_err(io)?;
        write("layout.h", &layout(target)).map_err(io)?;
        write("run.s", &machine.shim(target)).map_err(io)?;
        let output = Command::new(clang)
            .current_dir(folder.path())
            .arg(target_flag(target.native_triple()))
            // No library at all; fixed addresses; memcpy must not become a call of itself.
            .args([
                "-O1",
                "-ffreestanding",
                "-fno-builtin",
                "-nostdlib",
                "-static",
                "-fno-pic",
            ])
            .args([
                "-no-pie",
                "-fno-stack-protector",
                "-fuse-ld=lld",
                "-include",
                "layout.h",
            ])
            .args(["harness.c", "run.s", "-o", "harness"])
            .stdin(Stdio::null())
            .output()
            .map_err(io)?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(ProveError::Build(
                message.lines().take(20).collect::<Vec<_>>().join("\n"),
            ));
        }
        let executable = folder.path().join("harness");
        let mut command = Vec::new();
        if std::env::consts::ARCH != target.arch {
            command.push(emulator(&target.arch)?);
        }
        command.push(executable);
        let harness = Self {
            machine,
            command,
            idle: Mutex::default(),
            _folder: folder,
        };
        // A system that forbids executable memory is better found here than as a thousand exceptions.
        match harness.execute([&[], &[]], &[])? {
            Reply::States(..) => Ok(harness),
            Reply::Died => Err(ProveError::Refused),
        }
    }

    /// Runs two codes on the same inputs; at most [`MOST_RUNS`] of them.
    pub(super) fn execute(&self, codes: [&[u8]; 2], inputs: &[State]) -> Result<Reply, ProveError> {
        let idle = || match self.idle.lock() {
            Ok(idle) => idle,
            Err(poisoned) => poisoned.into_inner(),
        };
        let waiting = idle().pop();
        let mut process = match waiting {
            Some(process) => process,
            None => self.start()?,
        };
        let mut request = Vec::new();
        for word in [inputs.len(), codes[0].len(), codes[1].len()] {
            request.extend_from_slice(&(word as u64).to_le_bytes());
        }
        request.extend_from_slice(codes[0]);
        request.extend_from_slice(codes[1]);
        for word in inputs.iter().flatten() {
            request.extend_from_slice(&word.to_le_bytes());
        }
        let mut reply = vec![0; 2 * inputs.len() * STATE_WORDS * 8];
        // The child reads a request to its end before it writes, so neither waits for the other.
        let done = process
            .stdin
            .write_all(&request)
            .and_then(|()| process.stdin.flush())
            .and_then(|()| process.stdout.read_exact(&mut reply));
        let dead = matches!(process.child.try_wait(), Ok(Some(_)));
        if done.is_err() || dead {
            return Ok(Reply::Died);
        }
        idle().push(process);
        let mut states = reply.chunks_exact(STATE_WORDS * 8).map(|bytes| {
            let mut state = [0; STATE_WORDS];
            for (word, bytes) in state.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            state
        });
        let first = states.by_ref().take(inputs.len()).collect();
        Ok(Reply::States(first, states.collect()))
    }

    fn start(&self) -> Result<Process, ProveError> {
        let io = |source| ProveError::Io {
            what: format!("{:?}", self.command),
            source,
        };
        let missing = || io(std::io::Error::other("no pipe"));
        let (program, arguments) = self.command.split_first().ok_or_else(missing)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(missing)?;
        Ok(Process {
            child,
            stdin,
            stdout,
        })
    }
}

/// The user-mode emulator of an architecture.
fn emulator(arch: &str) -> Result<PathBuf, ProveError> {
    let names = [format!("qemu-{arch}-static"), format!("qemu-{arch}")];
    let runs = |name: &&String| {
        let status = Command::new(name)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    match names.iter().find(runs) {
        Some(name) => Ok(name.into()),
        None => Err(ProveError::Emulator(arch.to_owned())),
    }
}

/// Addresses and layout as C macros.
fn layout(target: &Target) -> String {
    let mut text = String::new();
    let words = |index: usize| index as u64;
    for (name, value) in [
        ("CODE_AT", CODE_AT),
        ("CODE_BYTES", words(CODE_BYTES)),
        ("STATE_AT", STATE_AT),
        ("STATE_WORDS", words(STATE_WORDS)),
        ("CONTEXT_AT", CONTEXT_AT),
        ("CONTEXT_BYTES", CONTEXT_BYTES),
        ("FRAME_AT", FRAME_AT),
        ("HELPERS_AT", HELPERS_AT),
        ("MEM_AT", MEM_AT),
        ("REACH", REACH),
        ("LANDING_WORD", words(LANDING)),
        ("EXIT_WORD", words(EXIT)),
        ("FAULT_WORD", words(FAULT)),
        ("CONTEXT_WORD", words(CONTEXT)),
        ("ARGUMENTS_WORD", words(ARGUMENTS)),
        ("WINDOWS_WORD", words(WINDOW_WORDS)),
        ("WINDOWS", words(WINDOWS)),
        ("FAULT_EXIT", FAULT_EXIT),
        ("MOST_RUNS", words(MOST_RUNS)),
    ] {
        let _ = writeln!(text, "#define {name} {value:#x}ul");
    }
    let _ = writeln!(
        text,
        "#define C_ARGUMENTS {}",
        target.c_arguments.join(", ")
    );
    text
}

/// The registers that runs are entered with: fixed pointers, then value registers by class, each with its first word.
pub(super) fn registers(target: &Target) -> Vec<(String, usize, bool)> {
    let mut registers = Vec::new();
    let (mut integers, mut vectors) = (INTEGERS, VECTORS);
    for fixed in &target.fixed {
        registers.push((fixed.register.clone(), integers, false));
        integers += 1;
    }
    for class in target.class.values() {
        let vector = matches!(
            class.widest,
            ValueType::F32 | ValueType::F64 | ValueType::V128
        );
        for name in &class.registers {
            let (at, words) = if vector {
                (&mut vectors, 2)
            } else {
                (&mut integers, 1)
            };
            registers.push((name.clone(), *at, vector));
            *at += words;
        }
    }
    registers
}
