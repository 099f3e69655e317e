//! wasmtime's two compilers: Winch, a single pass, and Cranelift, optimising.

use std::time::Duration;

use wasmtime::{
    Caller, Config, Engine, Extern, FuncType, Linker, Module, OptLevel, Store, Strategy, Val,
    ValType,
};

use super::{Contender, Result, Run, ended_well};
use crate::clock;
use crate::kernels::Kernel;
use crate::wasi::{self, Call, Outcome, Wasi};

/// Stack for a program: enough for `ackermann`.
const STACK: usize = 1 << 20;

pub struct Wasmtime {
    name: &'static str,
    engine: Engine,
    linker: Linker<State>,
    module: Option<Module>,
}

/// A program's state, and with what it exited.
#[derive(Default)]
struct State {
    wasi: Wasi,
    exit: Option<i32>,
}

impl Wasmtime {
    pub fn winch() -> Result<Self> {
        Self::new("winch", Strategy::Winch)
    }

    pub fn cranelift() -> Result<Self> {
        Self::new("cranelift", Strategy::Cranelift)
    }

    fn new(name: &'static str, strategy: Strategy) -> Result<Self> {
        let mut config = Config::new();
        config.strategy(strategy).max_wasm_stack(STACK);
        if matches!(strategy, Strategy::Cranelift) {
            config.cranelift_opt_level(OptLevel::Speed);
        }
        let engine = Engine::new(&config).map_err(describe)?;
        let mut linker = Linker::new(&engine);
        for (call, name, parameters, has_result) in Call::ALL {
            let params = parameters.bytes().map(|ty| {
                if ty == b'I' {
                    ValType::I64
                } else {
                    ValType::I32
                }
            });
            let ty = FuncType::new(&engine, params, has_result.then_some(ValType::I32));
            linker
                .func_new(wasi::MODULE, name, ty, move |caller, arguments, results| {
                    serve(call, caller, arguments, results)
                })
                .map_err(describe)?;
        }
        Ok(Self {
            name,
            engine,
            linker,
            module: None,
        })
    }
}

fn serve(
    call: Call,
    mut caller: Caller<'_, State>,
    arguments: &[Val],
    results: &mut [Val],
) -> std::result::Result<(), wasmtime::Error> {
    let arguments: Vec<i64> = arguments.iter().map(integer).collect();
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(wasmtime::Error::msg("the program exports no memory"));
    };
    let (memory, state) = memory.data_and_store_mut(&mut caller);
    match state.wasi.call(call, &arguments, memory) {
        Outcome::Exit(code) => {
            state.exit = Some(code);
            Err(wasmtime::Error::msg("exit"))
        }
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

fn describe(error: wasmtime::Error) -> String {
    format!("wasmtime: {error:?}")
}

impl Contender for Wasmtime {
    fn name(&self) -> &'static str {
        self.name
    }

    fn load(&mut self, kernel: &Kernel) -> Result<()> {
        let module = kernel.module.as_slice();
        self.module = Some(Module::from_binary(&self.engine, module).map_err(describe)?);
        Ok(())
    }

    fn run(&mut self) -> Result<Run> {
        let module = self.module.as_ref().ok_or("no program is loaded")?;
        let mut store = Store::new(&self.engine, State::default());
        let instance = self
            .linker
            .instantiate(&mut store, module)
            .map_err(describe)?;
        let start = instance
            .get_typed_func::<(), ()>(&mut store, "_start")
            .map_err(describe)?;
        let begin = clock::now();
        let ended = start.call(&mut store, ());
        let time = clock::now() - begin;
        let state = store.into_data();
        match (ended, state.exit) {
            (Err(error), None) => return Err(describe(error).into()),
            (_, exit) => ended_well(exit)?,
        }
        Ok(Run {
            time,
            output: state.wasi.output,
        })
    }

    fn compile(&mut self, module: &[u8]) -> Result<Option<Duration>> {
        let begin = clock::now();
        let module = Module::from_binary(&self.engine, module).map_err(describe)?;
        let time = clock::now() - begin;
        drop(module);
        Ok(Some(time))
    }
}
