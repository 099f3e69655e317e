//! Programs of this build that tests start, under an emulator too.

use std::ffi::OsStr;
use std::process::Command;

/// A program for the machine that the tests were built for. If that is not this one, `COPATCH_RUNNER` holds the words of a
/// command that runs it.
pub fn program(path: impl AsRef<OsStr>) -> Command {
    let runner = std::env::var("COPATCH_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(emulator) = words.next() else {
        return Command::new(path);
    };
    let mut command = Command::new(emulator);
    command.args(words).arg(path);
    command
}
