//! The run in copatch.

use std::sync::OnceLock;

use copatch_wasm::{
    Engine, Error, Extern, ExternType, Func, Global, Instance, Memory, Module, Ref, Store, Table,
    TrapCode, Val, ValType,
};

use crate::{Seen, Step, Steps, digest, word};

/// The name of what ended a call; `None` where each side has as much as it has.
fn code(error: &Error) -> Result<Option<&'static str>, String> {
    Ok(Some(match error.as_trap_code() {
        Some(TrapCode::Unreachable) => "unreachable",
        Some(TrapCode::MemoryOutOfBounds) => "memory",
        Some(TrapCode::TableOutOfBounds | TrapCode::UndefinedElement) => "table",
        Some(TrapCode::UninitializedElement) => "null",
        Some(TrapCode::IndirectCallTypeMismatch) => "signature",
        Some(TrapCode::IntegerDivideByZero) => "zero",
        Some(TrapCode::IntegerOverflow) => "overflow",
        Some(TrapCode::InvalidConversionToInteger) => "conversion",
        Some(TrapCode::StackOverflow) => return Ok(None),
        _ => return Err(error.to_string()),
    }))
}

fn seen(value: &Val) -> Seen {
    match value {
        Val::I32(value) => Seen::Bits(u64::from(*value as u32)),
        Val::I64(value) => Seen::Bits(*value as u64),
        Val::F32(bits) => Seen::Bits(u64::from(*bits)),
        Val::F64(bits) => Seen::Bits(*bits),
        Val::FuncRef(func) => Seen::Null(func.is_none()),
        Val::ExternRef(object) => Seen::Null(object.is_none()),
        other => panic!("{other:?}"),
    }
}

fn argument(ty: ValType, word: u64) -> Val {
    match ty {
        ValType::I32 => Val::I32(word as i32),
        ValType::I64 => Val::I64(word as i64),
        ValType::F32 => (word as i32 as f32).into(),
        ValType::F64 => (word as i64 as f64).into(),
        other => Val::default_for_ty(other),
    }
}

fn provide(store: &mut Store<Vec<Step>>, name: String, ty: ExternType) -> Result<Extern, Error> {
    Ok(match ty {
        ExternType::Func(ty) => Func::new(store, ty, move |mut caller, arguments, _| {
            let arguments = arguments.iter().map(seen).collect();
            caller.data_mut().push(Step::Host(name.clone(), arguments));
            Ok(())
        })
        .into(),
        ExternType::Global(ty) => Global::new(store, ty, Val::default_for_ty(ty.content()))?.into(),
        ExternType::Table(ty) => Table::new(store, ty, Ref::null(ty.element()))?.into(),
        ExternType::Memory(ty) => Memory::new(store, ty)?.into(),
        other => panic!("{other:?}"),
    })
}

pub(crate) fn run(bytes: &[u8], data: &[u8]) -> Result<Steps, String> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(Engine::default);
    let text = |error: Error| format!("ours: {error}");
    let module = Module::new(engine, bytes).map_err(text)?;
    let mut store = Store::new(engine, Vec::new());
    let mut imports = Vec::new();
    for import in module.imports() {
        let name = format!("{}.{}", import.module(), import.name());
        imports.push(provide(&mut store, name, import.ty()).map_err(text)?);
    }
    let made = Instance::new(&mut store, &module, &imports);
    let mut exhausted = false;
    let mut ran = |store: &mut Store<Vec<Step>>, name: &str, outcome: Result<Vec<Seen>, &Error>| {
        let outcome = match outcome {
            Ok(results) => Ok(results),
            Err(error) => match code(error)? {
                Some(code) => Err(code),
                None => {
                    exhausted = true;
                    return Ok(false);
                }
            },
        };
        store.data_mut().push(Step::Ran(name.to_owned(), outcome));
        Ok::<bool, String>(true)
    };
    let outcome = made.as_ref().map(|_| Vec::new());
    let mut going = ran(&mut store, "", outcome)?;
    if let (Ok(instance), true) = (made, going) {
        let exports: Vec<(String, Extern)> = instance
            .exports(&store)
            .map(|(name, item)| (name.to_owned(), item))
            .collect();
        for (name, item) in &exports {
            let Extern::Func(func) = item else { continue };
            let ty = func.ty(&store);
            let arguments: Vec<Val> = ty
                .params()
                .enumerate()
                .map(|(index, ty)| argument(ty, word(data, index)))
                .collect();
            let mut results = vec![Val::I32(0); ty.results().len()];
            let outcome = func.call(&mut store, &arguments, &mut results);
            let outcome = outcome
                .as_ref()
                .map(|()| results.iter().map(seen).collect());
            going = ran(&mut store, name, outcome)?;
            if !going {
                break;
            }
        }
        if going {
            for (name, item) in exports {
                let step = match item {
                    Extern::Global(global) => Step::Global(name, seen(&global.get(&store))),
                    Extern::Memory(memory) => {
                        Step::Memory(name, memory.size(&store), digest(memory.data(&store)))
                    }
                    Extern::Table(table) => {
                        let elements = (0..table.size(&store))
                            .filter_map(|index| table.get(&store, index))
                            .map(|element| element.is_null());
                        Step::Table(name, elements.collect())
                    }
                    _ => continue,
                };
                store.data_mut().push(step);
            }
        }
    }
    Ok(Steps {
        steps: store.into_data(),
        exhausted,
    })
}
