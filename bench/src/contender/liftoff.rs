//! V8's baseline compiler, in a node process of its own that is told what to do line by line.
//!
//! What is timed is `new WebAssembly.Module`: validation in a pass of its own, an eighth of the time, then Liftoff for every
//! function, which `--trace-wasm-compilation-times` confirms (the same functions each time, none by TurboFan). `--liftoff-only`
//! switches tiering off, in the code too: it is of the same size whatever is said of tiering. Each module differs from those
//! before, so that V8's cache of modules does not have it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Contender, Result, Run};
use crate::kernels::Kernel;

/// The other end: compiles, runs and times inside node.
const DRIVER: &str = include_str!("liftoff.mjs");

pub struct Liftoff {
    node: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The module that was last given to it lies in this file.
    file: std::path::PathBuf,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    nanoseconds: f64,
    #[serde(default)]
    output: String,
    error: Option<String>,
}

impl Liftoff {
    /// Starts node; fails where there is none.
    pub fn new() -> Result<Self> {
        let mut node = Command::new("node")
            .args([
                "--liftoff-only",
                "--no-wasm-lazy-compilation",
                "--single-threaded",
                "--stack-size=4000",
                "--expose-gc",
            ])
            .args(["--input-type=module", "--eval", DRIVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("node cannot be started: {error}"))?;
        let commands = node.stdin.take().ok_or("node has no standard input")?;
        let answers = BufReader::new(node.stdout.take().ok_or("node has no standard output")?);
        let file = std::env::temp_dir().join(format!("copatch-bench-{}.wasm", std::process::id()));
        Ok(Self {
            node,
            commands,
            answers,
            file,
        })
    }

    fn ask(&mut self, command: &serde_json::Value) -> Result<Answer> {
        writeln!(self.commands, "{command}")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("liftoff: node ended".into());
        }
        let answer: Answer = serde_json::from_str(&line)?;
        match answer.error {
            Some(error) => Err(format!("liftoff: {error}").into()),
            None => Ok(answer),
        }
    }
}

impl Drop for Liftoff {
    fn drop(&mut self) {
        // Both may be gone already, and then there is nothing to tidy.
        let _ = self.node.kill();
        let _ = self.node.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

impl Contender for Liftoff {
    fn name(&self) -> &'static str {
        "liftoff"
    }

    fn load(&mut self, kernel: &Kernel) -> Result<()> {
        let module = kernel.module.as_slice();
        std::fs::write(&self.file, module)?;
        self.ask(&json!({ "command": "load", "file": self.file }))
            .map(drop)
    }

    fn run(&mut self) -> Result<Run> {
        let answer = self.ask(&json!({ "command": "run" }))?;
        Ok(Run {
            time: Duration::from_nanos(answer.nanoseconds as u64),
            output: answer.output.into_bytes(),
        })
    }

    fn compile(&mut self, module: &[u8]) -> Result<Option<Duration>> {
        std::fs::write(&self.file, module)?;
        let answer = self.ask(&json!({ "command": "compile", "file": self.file }))?;
        Ok(Some(Duration::from_nanos(answer.nanoseconds as u64)))
    }
}
