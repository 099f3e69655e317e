//! What commands print: text for people, or one JSON object whose schema has a version.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use copatch_packer::error::BuildError;
use serde::Serialize;
use serde_json::{Value, json};

/// The version of what is printed as JSON: raised when a field goes or changes its meaning, not when one is added.
/// `docs/packer.md` lists the fields.
pub(crate) const SCHEMA: u32 = 1;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text.
    Human,
    /// One object.
    Json,
}

/// What a command found.
pub(crate) struct Outcome {
    /// For people, with the newline at its end.
    pub text: String,
    /// The same as data.
    pub data: Value,
    /// What went wrong with a part of it, as data.
    pub error: Option<Value>,
    /// 0, or what the command's finding means.
    pub code: u8,
}

impl Outcome {
    /// A finding that is not bad news.
    pub fn new(text: impl Into<String>, data: &impl Serialize) -> Result<Self, BuildError> {
        Ok(Self {
            text: text.into(),
            data: serde_json::to_value(data)
                .map_err(|error| BuildError::Spec(error.to_string()))?,
            error: None,
            code: 0,
        })
    }
}

/// Says something on standard error. Where that is gone, the exit code still tells.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Says what is wrong on standard error.
pub(crate) fn complain(what: &impl Display) {
    say(&format!("copatch-packer: {what}\n"));
}

/// An error as data.
pub(crate) fn fault(error: &BuildError) -> Value {
    let mut fault = json!({ "code": error.exit_code(), "message": error.to_string() });
    if let BuildError::Refused(failures) = error {
        fault["refused"] = json!(failures);
    }
    fault
}

/// Prints what came of a command: results to standard output, errors to standard error, and in JSON both to standard output.
pub(crate) fn finish(
    command: &str,
    format: Format,
    result: Result<Outcome, BuildError>,
) -> ExitCode {
    let (code, text, mut object) = match result {
        Ok(outcome) => {
            let mut object = json!({ "result": outcome.data });
            if let Some(error) = outcome.error {
                object["error"] = error;
            }
            (outcome.code, outcome.text, object)
        }
        Err(error) => {
            complain(&error);
            let object = json!({ "error": fault(&error) });
            (error.exit_code(), String::new(), object)
        }
    };
    let text = match format {
        Format::Human => text,
        Format::Json => {
            object["schema"] = SCHEMA.into();
            object["command"] = command.into();
            format!("{object}\n")
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format_args!("standard output: {error}"));
            ExitCode::from(1)
        }
        _ => ExitCode::from(code),
    }
}
