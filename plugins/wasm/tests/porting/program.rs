// A program that embeds WebAssembly, as one writes it for wasmi. Included once for each crate, which it calls `wasm`.

use wasm::{Caller, Engine, Error, Extern, Func, Instance, Linker, Memory, Module, Store, Val};

#[derive(Default)]
struct Host {
    log: Vec<String>,
    calls: u32,
}

/// The text at an address of the caller's memory.
fn text(caller: &Caller<'_, Host>, memory: Memory, at: i32, len: i32) -> Result<String, Error> {
    let mut bytes = vec![0; len as usize];
    memory
        .read(caller, at as usize, &mut bytes)
        .map_err(|_| Error::new("text outside memory"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn linker(engine: &Engine) -> Result<Linker<Host>, Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(
        "env",
        "log",
        |mut caller: Caller<'_, Host>, at: i32, len: i32| -> Result<i32, Error> {
            let memory = caller
                .get_export("memory")
                .and_then(Extern::into_memory)
                .ok_or_else(|| Error::new("no memory"))?;
            let line = text(&caller, memory, at, len)?;
            caller.data_mut().log.push(line);
            Ok(len)
        },
    )?;
    linker.func_wrap("env", "mix", |a: i64, b: f64, c: f32, d: u32| {
        a as f64 + b * f64::from(c) - f64::from(d)
    })?;
    linker.func_wrap(
        "env",
        "back",
        |mut caller: Caller<'_, Host>, n: i32| -> Result<i32, Error> {
            caller.data_mut().calls += 1;
            let Some(Extern::Func(down)) = caller.get_export("down") else {
                return Err(Error::new("no down"));
            };
            down.typed::<i32, i32>(&caller)?.call(&mut caller, n)
        },
    )?;
    linker.func_wrap("env", "fail", || -> Result<(), Error> {
        Err(Error::new("failed on purpose"))
    })?;
    Ok(linker)
}

/// Runs everything and tells what happened, a line for each step.
pub fn run(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    let engine = Engine::default();
    let module = Module::new(&engine, bytes)?;
    for import in module.imports() {
        lines.push(format!("import {}.{}", import.module(), import.name()));
    }
    let linker = linker(&engine)?;
    let mut store = Store::new(&engine, Host::default());
    let instance: Instance = linker.instantiate_and_start(&mut store, &module)?;

    let greet = instance.get_typed_func::<(i32, i32), i32>(&store, "greet")?;
    lines.push(format!("greet {}", greet.call(&mut store, (16, 5))?));
    let outside = greet.call(&mut store, (65530, 10)).unwrap_err();
    lines.push(format!("outside {}", outside.to_string().contains("text outside memory")));

    let mix = instance.get_typed_func::<(i64, f64, f32, u32), f64>(&store, "mix")?;
    lines.push(format!("mix {}", mix.call(&mut store, (1 << 40, 2.5, 0.5, u32::MAX))?));
    let down = instance.get_typed_func::<i32, i32>(&store, "down")?;
    lines.push(format!("down {}", down.call(&mut store, 5)?));
    lines.push(format!("calls {}", store.data().calls));
    let swap = instance.get_typed_func::<(i32, i64), (i64, i32)>(&store, "swap")?;
    lines.push(format!("swap {:?}", swap.call(&mut store, (-1, 7))?));
    lines.push(format!("wrong type {}", instance.get_typed_func::<i64, ()>(&store, "down").is_err()));

    let fail = instance.get_func(&store, "fail").ok_or_else(|| Error::new("no fail"))?;
    let error = fail.call(&mut store, &[], &mut []).unwrap_err();
    lines.push(format!("fail {}", error.to_string().contains("failed on purpose")));
    let divide = instance.get_func(&store, "divide").ok_or_else(|| Error::new("no divide"))?;
    let mut results = [Val::I32(0)];
    divide.call(&mut store, &[Val::I32(-7), Val::I32(2)], &mut results)?;
    lines.push(format!("divide {:?}", results[0].i32()));
    let trap = divide.call(&mut store, &[Val::I32(1), Val::I32(0)], &mut results);
    lines.push(format!("trap {}", trap.unwrap_err().as_trap_code().is_some()));

    let memory = instance.get_memory(&store, "memory").ok_or_else(|| Error::new("no memory"))?;
    lines.push(format!("size {} {}", memory.size(&store), memory.data_size(&store)));
    memory.write(&mut store, 100, b"bytes").map_err(|_| Error::new("write"))?;
    lines.push(format!("greet {}", greet.call(&mut store, (100, 5))?));
    memory.data_mut(&mut store)[100] = b'B';
    lines.push(format!("data {:?}", &memory.data(&store)[99..106]));
    lines.push(format!("grow {} {}", memory.grow(&mut store, 2)?, memory.size(&store)));
    lines.push(format!("no more {}", memory.grow(&mut store, 100).is_err()));

    let global = instance.get_global(&store, "counter").ok_or_else(|| Error::new("no counter"))?;
    global.set(&mut store, Val::I64(41)).map_err(|_| Error::new("set"))?;
    instance.get_typed_func::<(), ()>(&store, "count")?.call(&mut store, ())?;
    lines.push(format!("counter {:?}", global.get(&store).i64()));

    let double = Func::wrap(&mut store, |n: i32| n * 2);
    let table = instance.get_table(&store, "table").ok_or_else(|| Error::new("no table"))?;
    lines.push(format!("table {} {}", table.size(&store), double.ty(&store).params().len()));
    let apply = instance.get_typed_func::<(i32, i32), i32>(&store, "apply")?;
    lines.push(format!("apply {}", apply.call(&mut store, (0, 10))?));
    lines.push(format!("apply {}", apply.call(&mut store, (1, 10)).is_err()));
    lines.extend(store.data().log.iter().map(|line| format!("log {line}")));
    lines.push(format!("{}", store.into_data().log.len()));
    Ok(lines)
}
