//! A plugin that does what its program's text says: enough to test the plugin interface from both ends.
//!
//! The text is `#!answer` and a word: `exit` (with the number of arguments), `options` (tells them back), `trap`, `usage`,
//! `failure`, or `panic:` and the name of the call that panics.

use copatch::plugin::{
    CompileOptions, Compiled, Explanation, FrontEnd, FunctionListing, RunError, RunOptions, Timings,
};

/// The front end.
#[derive(Default)]
pub struct Answer;

/// Its programs.
struct Program {
    word: String,
    options: CompileOptions,
}

impl FrontEnd for Answer {
    fn name(&self) -> &str {
        "answer"
    }

    fn probe(&self, bytes: &[u8]) -> bool {
        assert!(bytes != b"panic:probe", "probe: as told");
        bytes.starts_with(b"#!answer")
    }

    fn compile(&self, bytes: &[u8], options: &CompileOptions) -> Result<Box<dyn Compiled>, String> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| format!("byte {}: no text", error.valid_up_to()))?;
        let word = text.trim_start_matches("#!answer").trim().to_owned();
        if word.is_empty() {
            return Err(format!("byte {}: a word is missing", bytes.len()));
        }
        let program = Program {
            word,
            options: options.clone(),
        };
        program.panic_in("compile");
        Ok(Box::new(program))
    }
}

impl Program {
    fn panic_in(&self, call: &str) {
        assert!(
            self.word != format!("panic:{call}"),
            "{call}: as told,\nin two lines"
        );
    }
}

impl Compiled for Program {
    fn run(&self, options: &RunOptions) -> Result<i32, RunError> {
        self.panic_in("run");
        let function = Some("main".to_owned());
        match self.word.as_str() {
            "exit" => Ok(options.args.len() as i32),
            "options" => Err(RunError::Usage(format!("{options:?} {:?}", self.options))),
            "trap" => Err(RunError::Trap {
                kind: "unreachable".to_owned(),
                function,
                message: "at 7".to_owned(),
            }),
            "nowhere" => Err(RunError::Trap {
                kind: "unreachable".to_owned(),
                function: None,
                message: String::new(),
            }),
            other => Err(RunError::Failure(format!("what is {other}?"))),
        }
    }

    fn explain(&self, func: Option<u32>) -> Result<Explanation, String> {
        self.panic_in("explain");
        let index = func.unwrap_or(u32::MAX);
        let name = "main".to_owned();
        match index {
            13 => Err("there is no function 13".to_owned()),
            _ => Ok(Explanation {
                arch: "x86_64".to_owned(),
                functions: vec![FunctionListing {
                    index,
                    name,
                    offset: 0,
                    stencils: Vec::new(),
                }],
            }),
        }
    }

    fn timings(&self) -> Timings {
        self.panic_in("timings");
        Timings {
            bytes_in: 1,
            total_ns: 8,
            ..Timings::default()
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.panic_in("drop");
    }
}

copatch::export_plugin!(Answer);
