//! wasmi, an interpreter that translates eagerly.

use std::time::Duration;

use wasmi::{
    Caller, CompilationMode, Config, Engine, Error, Extern, FuncType, Linker, Module, Store, Val,
    ValType,
};

use super::{Contender, Result, Run, ended_well};
use crate::clock;
use crate::kernels::Kernel;
use crate::wasi::{self, Call, Outcome, Wasi};

/// Frames that a program may have: `ackermann` wants some four thousand.
const FRAMES: usize = 100_000;

pub struct Wasmi {
    engine: Engine,
    linker: Linker<Wasi>,
    module: Option<Module>,
}

impl Wasmi {
    pub fn new() -> Result<Self> {
        let mut config = Config::default();
        config.compilation_mode(CompilationMode::Eager);
        config
            .set_max_recursion_depth(FRAMES)
            .set_max_stack_height(64 << 20);
        let engine = Engine::new(&config);
        let mut linker = Linker::new(&engine);
        for (call, name, parameters, has_result) in Call::ALL {
            let params = parameters.bytes().map(|ty| {
                if ty == b'I' {
                    ValType::I64
                } else {
                    ValType::I32
                }
            });
            let ty = FuncType::new(params, has_result.then_some(ValType::I32));
            linker.func_new(wasi::MODULE, name, ty, move |caller, arguments, results| {
                serve(call, caller, arguments, results)
            })?;
        }
        Ok(Self {
            engine,
            linker,
            module: None,
        })
    }
}

fn serve(
    call: Call,
    mut caller: Caller<'_, Wasi>,
    arguments: &[Val],
    results: &mut [Val],
) -> std::result::Result<(), Error> {
    let arguments: Vec<i64> = arguments.iter().map(integer).collect();
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(Error::new("the program exports no memory"));
    };
    let (memory, state) = memory.data_and_store_mut(&mut caller);
    match state.call(call, &arguments, memory) {
        Outcome::Exit(code) => Err(Error::i32_exit(code)),
        Outcome::Errno(number) => {
            if let [result] = results {
                *result = Val::I32(number);
            }
            Ok(())
        }
    }
}

fn integer(value: &Val) -> i64 {
    value.i32().map(i64::from).or(value.i64()).unwrap_or(0)
}

impl Contender for Wasmi {
    fn name(&self) -> &'static str {
        "wasmi"
    }

    fn load(&mut self, kernel: &Kernel) -> Result<()> {
        let module = kernel.module.as_slice();
        self.module = Some(Module::new(&self.engine, module)?);
        Ok(())
    }

    fn run(&mut self) -> Result<Run> {
        let module = self.module.as_ref().ok_or("no program is loaded")?;
        let mut store = Store::new(&self.engine, Wasi::default());
        let instance = self.linker.instantiate_and_start(&mut store, module)?;
        let start = instance.get_typed_func::<(), ()>(&store, "_start")?;
        let begin = clock::now();
        let ended = start.call(&mut store, ());
        let time = clock::now() - begin;
        match ended {
            Ok(()) => {}
            Err(error) if error.i32_exit_status().is_some() => ended_well(error.i32_exit_status())?,
            Err(error) => return Err(error.into()),
        }
        Ok(Run {
            time,
            output: store.into_data().output,
        })
    }

    fn compile(&mut self, module: &[u8]) -> Result<Option<Duration>> {
        let begin = clock::now();
        let module = Module::new(&self.engine, module)?;
        let time = clock::now() - begin;
        drop(module);
        Ok(Some(time))
    }
}
