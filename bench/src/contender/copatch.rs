//! copatch, through its library.

use std::path::Path;
use std::time::Duration;

use copatch_wasm::{
    Caller, Config, Engine, Error, FuncType, Linker, Module, PackFolder, Store, Val, ValType,
};

use super::{Contender, Result, Run, ended_well};
use crate::clock;
use crate::kernels::Kernel;
use crate::wasi::{self, Call, Outcome, Wasi};

pub struct Copatch {
    engine: Engine,
    linker: Linker<Wasi>,
    module: Option<Module>,
}

impl Copatch {
    pub fn new(packs: Option<&Path>) -> Result<Self> {
        let engine = engine(packs)?;
        let mut linker = Linker::<Wasi>::new(&engine);
        for (call, name, parameters, has_result) in Call::ALL {
            let params = parameters.bytes().map(|ty| match ty {
                b'I' => ValType::I64,
                _ => ValType::I32,
            });
            let ty = FuncType::new(&engine, params, has_result.then_some(ValType::I32));
            let body =
                move |mut caller: Caller<'_, Wasi>, arguments: &[Val], results: &mut [Val]| {
                    let arguments: Vec<i64> = arguments.iter().map(integer).collect();
                    let (memory, state) = caller.memory_and_data()?;
                    match state.call(call, &arguments, memory) {
                        Outcome::Exit(code) => Err(Error::Exit(code)),
                        Outcome::Errno(number) => {
                            if let [result] = results {
                                *result = Val::I32(number);
                            }
                            Ok(())
                        }
                    }
                };
            linker.func_new(wasi::MODULE, name, ty, body)?;
        }
        Ok(Self {
            engine,
            linker,
            module: None,
        })
    }
}

/// An engine with packs from that folder, or with those built in.
#[allow(unsafe_code, reason = "whoever measures packs answers for them")]
pub fn engine(packs: Option<&Path>) -> Result<Engine> {
    let mut config = Config::new();
    if let Some(directory) = packs {
        // SAFETY: packs are machine code, and `--packs` is the user's word for these, as `--unsigned` is elsewhere.
        config.packs(unsafe { PackFolder::unsigned(directory) });
    }
    Ok(Engine::new(&config)?)
}

/// The time from bytes to callable code, which is thrown away outside it.
pub fn compile(engine: &Engine, module: &[u8]) -> Result<Duration> {
    let begin = clock::now();
    let module = Module::new(engine, module)?;
    let time = clock::now() - begin;
    drop(module);
    Ok(time)
}

fn integer(value: &Val) -> i64 {
    match *value {
        Val::I32(value) => i64::from(value),
        Val::I64(value) => value,
        _ => 0,
    }
}

impl Contender for Copatch {
    fn name(&self) -> &'static str {
        "copatch"
    }

    fn load(&mut self, kernel: &Kernel) -> Result<()> {
        let module = kernel.module.as_slice();
        self.module = Some(Module::new(&self.engine, module)?);
        Ok(())
    }

    fn run(&mut self) -> Result<Run> {
        let module = self.module.as_ref().ok_or("no program is loaded")?;
        let mut store = Store::try_new(&self.engine, Wasi::default())?;
        let instance = self.linker.instantiate(&mut store, module)?;
        let start = instance.get_typed_func::<(), ()>(&store, "_start")?;
        let begin = clock::now();
        let ended = start.call(&mut store, ());
        let time = clock::now() - begin;
        match ended {
            Ok(()) => {}
            Err(Error::Exit(code)) => ended_well(Some(code))?,
            Err(error) => return Err(error.into()),
        }
        Ok(Run {
            time,
            output: std::mem::take(&mut store.data_mut().output),
        })
    }

    fn compile(&mut self, module: &[u8]) -> Result<Option<Duration>> {
        compile(&self.engine, module).map(Some)
    }
}
