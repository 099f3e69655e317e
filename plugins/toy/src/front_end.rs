//! The language as a front end of the command line: linked in, or loaded as this crate's shared library.

use std::sync::Arc;
use std::time::Instant;

use copatch::Pack;
use copatch::plugin::{
    CompileOptions, Compiled, Explanation, FrontEnd, RunError, RunOptions, Timings,
};
use copatch::spec::InstructionSet;

use crate::program::{Header, Program, Type};
use crate::{Executable, MAGIC, decode, parse};

/// The toy language. A program in the binary form begins with [`MAGIC`]; anything else is text, and is claimed if its
/// first word is one that programs begin with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Toy;

copatch::export_plugin!(Toy);

impl FrontEnd for Toy {
    fn name(&self) -> &str {
        "toy"
    }

    fn probe(&self, bytes: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return bytes.starts_with(&MAGIC);
        };
        let mut lines = text.lines().map(str::trim_start);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with("//"));
        bytes.starts_with(&MAGIC)
            || first.is_some_and(|line| line.starts_with("fn ") || line.starts_with("array "))
    }

    fn compile(&self, bytes: &[u8], options: &CompileOptions) -> Result<Box<dyn Compiled>, String> {
        let begin = Instant::now();
        let program = read(bytes)?;
        let pack = match &options.packs {
            Some(folder) => {
                let digest = InstructionSet::builtin_digest("toy").unwrap_or_default();
                Pack::for_host_in(folder, "toy", digest)
            }
            None => Pack::for_host(copatch_pack_toy::packs()),
        };
        let read_time = begin.elapsed();
        let make = |pack: Arc<Pack>| {
            Executable::with_trace(&program, &pack, options.trace).map(|code| (pack, code))
        };
        let (pack, executable) = pack.and_then(make).map_err(|error| error.to_string())?;
        let code = executable.code();
        let timings = Timings {
            bytes_in: bytes.len() as u64,
            bytes_out: code.program.code().len() as u64,
            functions: program.functions.len() as u64,
            operations: code.operations,
            prescan_ns: code.scan.as_nanos() as u64,
            generate_ns: (read_time + code.generate).as_nanos() as u64,
            publish_ns: code.publish.as_nanos() as u64,
            total_ns: begin.elapsed().as_nanos() as u64,
        };
        Ok(Box::new(Ready {
            program,
            pack,
            executable,
            timings,
        }))
    }
}

fn read(bytes: &[u8]) -> Result<Program, String> {
    if bytes.starts_with(&MAGIC) {
        return decode(bytes).map_err(|error| error.to_string());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        format!(
            "byte {:#x}: neither the text form (not UTF-8) nor the binary form",
            error.valid_up_to()
        )
    })?;
    parse(text).map_err(|error| error.to_string())
}

/// A program ready to run.
struct Ready {
    program: Program,
    pack: Arc<Pack>,
    executable: Executable,
    timings: Timings,
}

impl Compiled for Ready {
    /// Calls `main`, or the function that is asked for, with the arguments that its parameters say; prints its result.
    fn run(&self, options: &RunOptions) -> Result<i32, RunError> {
        let name = options.invoke.as_deref().unwrap_or("main");
        let function = self.program.function(name);
        let function = function
            .ok_or_else(|| RunError::Usage(format!("the program has no function {name}")))?;
        let header = &self.program.functions[function].header;
        let words: Vec<String> = options
            .args
            .iter()
            .skip(1)
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        let arguments = arguments(header, &words).map_err(RunError::Usage)?;
        let mut output = std::io::BufWriter::new(std::io::stdout().lock());
        let ended = self.executable.run(function, &arguments, &mut output);
        let ended = ended.map(|result| {
            let print = |(ty, word)| crate::Output::print(&mut output, ty, word);
            header.result.zip(result).map_or(Ok(()), print)
        });
        // What was written before a trap is shown, too.
        let flushed = std::io::Write::flush(&mut output);
        match ended {
            Ok(printed) => match printed.and(flushed) {
                Ok(()) => Ok(0),
                Err(error) => Err(RunError::Failure(format!("standard output: {error}"))),
            },
            Err(crate::RunError::Trap(trap)) => Err(RunError::Trap {
                kind: self.pack.trap_name(trap.kind).to_owned(),
                function: trap.function.map(|number| self.name(number)),
                message: trap.source.map_or_else(String::new, |operation| {
                    format!("operation {}", operation / 2)
                }),
            }),
            Err(error) => Err(RunError::Failure(error.to_string())),
        }
    }

    fn explain(&self, func: Option<u32>) -> Result<Explanation, String> {
        Explanation::new(self.executable.program(), &self.pack, func, &|number| {
            self.name(number)
        })
    }

    fn timings(&self) -> Timings {
        self.timings
    }
}

impl Ready {
    /// The name of a function of the generated code.
    fn name(&self, number: u32) -> String {
        let count = self.program.functions.len();
        match self.program.functions.get(number as usize % count.max(1)) {
            Some(function) if (number as usize) < count => function.header.name.clone(),
            Some(function) => format!("{} (entry)", function.header.name),
            None => format!("function {number}"),
        }
    }
}

/// Arguments as words, by the types of the parameters.
fn arguments(header: &Header, words: &[String]) -> Result<Vec<u64>, String> {
    if words.len() != header.params.len() {
        return Err(format!(
            "{} takes {} arguments, not {}",
            header.name,
            header.params.len(),
            words.len()
        ));
    }
    let argument = |(word, param): (&String, &crate::program::Local)| {
        let value = match param.ty {
            Type::Int => word.parse::<i64>().ok().map(|value| value as u64),
            Type::Float => word.parse::<f64>().ok().map(f64::to_bits),
            Type::Bool => word.parse::<bool>().ok().map(u64::from),
        };
        value.ok_or_else(|| {
            format!(
                "argument {} of {}: `{word}` is no {}",
                param.name,
                header.name,
                param.ty.name()
            )
        })
    };
    words.iter().zip(&header.params).map(argument).collect()
}
