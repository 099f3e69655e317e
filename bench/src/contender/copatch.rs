//! copatch, through its library.

use std::path::Path;
use std::time::Duration;

use copatch_wasm::{Engine, Error, Linker, Module, Signature, Value, ValueType};

use super::{Contender, Result, Run, ended_well};
use crate::clock;
use crate::wasi::{self, Call, Outcome, Wasi};

pub struct Copatch {
    engine: Engine,
    linker: Linker<Wasi>,
    module: Option<Module>,
}

impl Copatch {
    pub fn new(packs: Option<&Path>) -> Result<Self> {
        let engine = match packs {
            Some(directory) => Engine::with_packs(directory)?,
            None => Engine::new()?,
        };
        let mut linker = Linker::<Wasi>::new();
        for (call, name, parameters, has_result) in Call::ALL {
            let params = parameters
                .bytes()
                .map(|ty| {
                    if ty == b'I' {
                        ValueType::I64
                    } else {
                        ValueType::I32
                    }
                })
                .collect();
            let results = if has_result {
                vec![ValueType::I32]
            } else {
                Vec::new()
            };
            linker.func(
                wasi::MODULE,
                name,
                Signature { params, results },
                move |mut caller, arguments, results| {
                    let arguments: Vec<i64> = arguments.iter().map(integer).collect();
                    let (memory, state) = caller.memory_and_data();
                    match state.call(call, &arguments, memory) {
                        Outcome::Exit(code) => Err(Error::Exit(code).into()),
                        Outcome::Errno(number) => {
                            if let [result] = results {
                                *result = Value::I32(number);
                            }
                            Ok(())
                        }
                    }
                },
            );
        }
        Ok(Self {
            engine,
            linker,
            module: None,
        })
    }
}

fn integer(value: &Value) -> i64 {
    match *value {
        Value::I32(value) => i64::from(value),
        Value::I64(value) => value,
        _ => 0,
    }
}

impl Contender for Copatch {
    fn name(&self) -> &'static str {
        "copatch"
    }

    fn load(&mut self, module: &[u8]) -> Result<()> {
        self.module = Some(Module::new(&self.engine, module)?);
        Ok(())
    }

    fn run(&mut self) -> Result<Run> {
        let module = self.module.as_ref().ok_or("no program is loaded")?;
        let mut instance = self.linker.instantiate(module, Wasi::default())?;
        let begin = clock::now();
        let ended = instance.invoke("_start", &[]);
        let time = clock::now() - begin;
        match ended {
            Ok(_) => {}
            Err(Error::Exit(code)) => ended_well(Some(code))?,
            Err(error) => return Err(error.into()),
        }
        Ok(Run {
            time,
            output: std::mem::take(&mut instance.data_mut().output),
        })
    }

    fn compile(&mut self, module: &[u8]) -> Result<Duration> {
        let begin = clock::now();
        let module = Module::new(&self.engine, module)?;
        let time = clock::now() - begin;
        drop(module);
        Ok(time)
    }
}
