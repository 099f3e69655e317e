//! WebAssembly as a front end of the command line, linked in or loaded as a shared library.

use std::io::Write;

use copatch::plugin::{
    CompileOptions, Compiled, Explanation, FrontEnd, RunError, RunOptions, Timings,
};

use crate::engine::{Config, Engine};
use crate::error::{Error, Trap};
use crate::linker::Linker;
use crate::module::Module;
use crate::store::Store;
use crate::types::ValType;
use crate::value::Val;
use crate::wasi::{self, Wasi, WasiOptions};

/// What a module's binary form begins with.
const MAGIC: &[u8] = b"\0asm";
/// What a program of WASI exports: its start, and for a library that is called by name, its initialisation.
const START: &str = "_start";
const INITIALIZE: &str = "_initialize";

/// The WebAssembly front end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wasm;

impl FrontEnd for Wasm {
    fn name(&self) -> &str {
        "wasm"
    }

    fn probe(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    fn compile(&self, bytes: &[u8], options: &CompileOptions) -> Result<Box<dyn Compiled>, String> {
        let compile = || {
            let mut config = Config::new();
            if let Some(folder) = &options.packs {
                config.packs(folder.clone());
            }
            if let Some(jobs) = options.jobs {
                config.parallel_compilation(jobs);
            }
            let engine = Engine::new(&config)?;
            match options.trace {
                true => Module::with_trace(&engine, bytes),
                false => Module::new(&engine, bytes),
            }
        };
        match compile() {
            Ok(module) => Ok(Box::new(Program { module })),
            Err(error) => Err(error.to_string()),
        }
    }
}

struct Program {
    module: Module,
}

impl Compiled for Program {
    fn run(&self, options: &RunOptions) -> Result<i32, RunError> {
        // Found before anything runs, so that a wrong call has no effect.
        let call = match &options.invoke {
            Some(name) => Some((name.as_str(), self.arguments(name, options)?)),
            None if self.exports(START) => None,
            None => {
                let what = format!("the module exports no {START}; name a function to call");
                return Err(RunError::Usage(what));
            }
        };
        match self.start(options, call) {
            Ok(results) => match print(&results) {
                Ok(()) => Ok(0),
                Err(error) => Err(RunError::Failure(format!("standard output: {error}"))),
            },
            Err(Error::Exit(code)) => Ok(code),
            Err(Error::Trap(trap)) => Err(trap_error(&trap)),
            Err(error @ (Error::Export { .. } | Error::Arguments { .. })) => {
                Err(RunError::Usage(error.to_string()))
            }
            Err(error) => Err(RunError::Failure(error.to_string())),
        }
    }

    fn explain(&self, func: Option<u32>) -> Result<Explanation, String> {
        let name = |index: u32| match self.module.function_name(index) {
            Some(name) => name.to_owned(),
            None => format!("function {index}"),
        };
        Explanation::new(
            self.module.program(),
            self.module.engine().pack(),
            func,
            &name,
        )
    }

    fn timings(&self) -> Timings {
        self.module.timings()
    }
}

impl Program {
    /// Whether a function is exported under that name.
    fn exports(&self, name: &str) -> bool {
        let export = self.module.get_export(name);
        export.is_some_and(|ty| ty.func().is_some())
    }

    /// Makes an instance and calls the named function, whose results it gives, or else the program's start.
    fn start(
        &self,
        options: &RunOptions,
        call: Option<(&str, Vec<Val>)>,
    ) -> Result<Vec<Val>, Error> {
        let mut linker = Linker::new(self.module.engine());
        wasi::add_to_linker(&mut linker, |wasi: &mut Wasi| wasi)?;
        let mut store = Store::try_new(self.module.engine(), Wasi::new(&surroundings(options))?)?;
        let instance = linker.instantiate(&mut store, &self.module)?;
        let mut invoke = |name: &str, arguments: &[Val]| -> Result<Vec<Val>, Error> {
            let func = instance
                .get_func(&store, name)
                .ok_or_else(|| Error::Export {
                    kind: "function",
                    name: name.to_owned(),
                })?;
            let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
            func.call(&mut store, arguments, &mut results)?;
            Ok(results)
        };
        let Some((name, arguments)) = call else {
            return invoke(START, &[]);
        };
        if name != INITIALIZE && self.exports(INITIALIZE) {
            invoke(INITIALIZE, &[])?;
        }
        invoke(name, &arguments)
    }

    /// The arguments of the command line as values of the types that the function takes.
    fn arguments(&self, name: &str, options: &RunOptions) -> Result<Vec<Val>, RunError> {
        let usage = |what: String| RunError::Usage(what);
        let export = self.module.get_export(name);
        let ty = export
            .as_ref()
            .and_then(|export| export.func())
            .ok_or_else(|| usage(format!("no function is exported as {name:?}")))?;
        let given = options.args.get(1..).unwrap_or_default();
        if given.len() != ty.params().len() {
            return Err(usage(format!(
                "{name} takes {} arguments, not {}",
                ty.params().len(),
                given.len()
            )));
        }
        let value = |(text, ty): (&std::ffi::OsString, ValType)| {
            let text = text.to_string_lossy();
            Val::parse(ty, &text).ok_or_else(|| usage(format!("{name}: {text:?} is no {ty}")))
        };
        given.iter().zip(ty.params()).map(value).collect()
    }
}

/// Prints results, one a line.
fn print(results: &[Val]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for value in results {
        writeln!(out, "{value}")?;
    }
    out.flush()
}

/// WASI passes UTF-8; what is not is passed as well as it can be.
fn surroundings(options: &RunOptions) -> WasiOptions {
    let text = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
    WasiOptions {
        args: options.args.iter().map(text).collect(),
        env: options
            .env
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        dirs: options
            .dirs
            .iter()
            .map(|dir| (dir.host.clone(), dir.guest.clone()))
            .collect(),
    }
}

fn trap_error(trap: &Trap) -> RunError {
    let function = trap
        .name
        .clone()
        .or_else(|| trap.function.map(|index| index.to_string()));
    let message = match (trap.function, trap.offset) {
        (Some(index), Some(offset)) => format!("function {index}, offset {offset:#x}"),
        _ => String::new(),
    };
    RunError::Trap {
        kind: trap.code.to_string(),
        function,
        message,
    }
}

copatch::export_plugin!(Wasm);
