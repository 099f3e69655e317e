//! clang: the kernels' C compiled for this machine, each run a process of its own.

use std::process::Command;
use std::time::Duration;

use super::{Contender, Result, Run, ended_well};
use crate::clock;
use crate::kernels::{self, Kernel};

/// What compiles; the kernels' build script uses the same.
pub const COMPILER: &str = "clang-19";

pub struct Clang {
    name: &'static str,
    level: &'static str,
    folder: tempfile::TempDir,
}

impl Clang {
    /// Fails where there is no clang.
    pub fn new(name: &'static str, level: &'static str) -> Result<Self> {
        let status = Command::new(COMPILER).arg("--version").output();
        status.map_err(|error| format!("{COMPILER} cannot be started: {error}"))?;
        let folder = tempfile::tempdir()?;
        Ok(Self {
            name,
            level,
            folder,
        })
    }

    fn program(&self) -> std::path::PathBuf {
        self.folder.path().join("kernel")
    }
}

/// Runs a tool to its end.
///
/// # Errors
/// Where it cannot be started, or fails: with what it says.
pub fn finish(tool: &mut Command) -> Result<()> {
    let name = tool.get_program().to_string_lossy().into_owned();
    let output = tool
        .output()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

impl Contender for Clang {
    fn name(&self) -> &'static str {
        self.name
    }

    fn load(&mut self, kernel: &Kernel) -> Result<()> {
        finish(
            Command::new(COMPILER)
                .args([self.level, "-ffp-contract=off", "-fno-math-errno"])
                .arg(kernels::source(&kernel.name))
                .arg("-o")
                .arg(self.program()),
        )
    }

    /// The time is that of the whole process, whose start is a millisecond.
    fn run(&mut self) -> Result<Run> {
        let begin = clock::children()?;
        let output = Command::new(self.program()).output()?;
        let time = clock::children()? - begin;
        ended_well(output.status.code())?;
        Ok(Run {
            time,
            output: output.stdout,
        })
    }

    fn compile(&mut self, _: &[u8]) -> Result<Option<Duration>> {
        Ok(None)
    }
}
