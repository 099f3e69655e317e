//! The run in wasmi.

use std::sync::OnceLock;

use wasmi::{
    Engine, Error, Extern, ExternType, F32, F64, Func, Global, Linker, Memory, Module, Ref, Store,
    Table, TrapCode, Val, ValType,
};

use crate::{Seen, Step, Steps, digest, word};

/// The name of what ended a call; `None` where each side has as much as it has.
fn code(error: &Error) -> Result<Option<&'static str>, String> {
    Ok(Some(match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => "unreachable",
        Some(TrapCode::MemoryOutOfBounds) => "memory",
        Some(TrapCode::TableOutOfBounds) => "table",
        Some(TrapCode::IndirectCallToNull) => "null",
        Some(TrapCode::BadSignature) => "signature",
        Some(TrapCode::IntegerDivisionByZero) => "zero",
        Some(TrapCode::IntegerOverflow) => "overflow",
        Some(TrapCode::BadConversionToInteger) => "conversion",
        Some(TrapCode::StackOverflow) => return Ok(None),
        // Segments that do not fit are no traps there.
        _ if error.to_string().contains("out of bounds table access") => "table",
        _ if error.to_string().contains("out of bounds memory access") => "memory",
        _ => return Err(format!("theirs: {error}")),
    }))
}

fn seen(value: &Val) -> Seen {
    match value {
        Val::I32(value) => Seen::Bits(u64::from(*value as u32)),
        Val::I64(value) => Seen::Bits(*value as u64),
        Val::F32(value) => Seen::Bits(u64::from(value.to_bits())),
        Val::F64(value) => Seen::Bits(value.to_bits()),
        Val::FuncRef(func) => Seen::Null(func.is_null()),
        Val::ExternRef(object) => Seen::Null(object.is_null()),
        other => panic!("{other:?}"),
    }
}

fn argument(ty: ValType, word: u64) -> Val {
    match ty {
        ValType::I32 => Val::I32(word as i32),
        ValType::I64 => Val::I64(word as i64),
        ValType::F32 => Val::F32(F32::from(word as i32 as f32)),
        ValType::F64 => Val::F64(F64::from(word as i64 as f64)),
        other => Val::default_for_ty(other),
    }
}

fn provide(store: &mut Store<Vec<Step>>, name: String, ty: &ExternType) -> Result<Extern, Error> {
    Ok(match ty {
        ExternType::Func(ty) => Func::new(store, ty.clone(), move |mut caller, arguments, _| {
            let arguments = arguments.iter().map(seen).collect();
            caller.data_mut().push(Step::Host(name.clone(), arguments));
            Ok(())
        })
        .into(),
        ExternType::Global(ty) => {
            Global::new(store, Val::default_for_ty(ty.content()), ty.mutability()).into()
        }
        ExternType::Table(ty) => Table::new(store, *ty, Ref::null(ty.element()))?.into(),
        ExternType::Memory(ty) => Memory::new(store, *ty)?.into(),
    })
}

pub(crate) fn run(bytes: &[u8], data: &[u8]) -> Result<Steps, String> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(Engine::default);
    let text = |error: Error| format!("theirs: {error}");
    let module = Module::new(engine, bytes).map_err(text)?;
    let mut store = Store::new(engine, Vec::new());
    let mut linker = Linker::new(engine);
    let mut twice = false;
    for import in module.imports() {
        let name = format!("{}.{}", import.module(), import.name());
        let item = provide(&mut store, name, import.ty()).map_err(text)?;
        twice |= linker.define(import.module(), import.name(), item).is_err();
    }
    if twice {
        // Names that are imported twice cannot be linked by name.
        return Ok(Steps {
            steps: Vec::new(),
            exhausted: true,
        });
    }
    let made = linker.instantiate_and_start(&mut store, &module);
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
        let mut exports: Vec<(String, Extern)> = instance
            .exports(&store)
            .map(|export| (export.name().to_owned(), export.into_extern()))
            .collect();
        exports.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, item) in &exports {
            let Extern::Func(func) = item else { continue };
            let ty = func.ty(&store);
            let arguments: Vec<Val> = ty
                .params()
                .iter()
                .enumerate()
                .map(|(index, ty)| argument(*ty, word(data, index)))
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
                            .map(|element| match element {
                                Ref::Func(func) => func.is_null(),
                                Ref::Extern(object) => object.is_null(),
                            });
                        Step::Table(name, elements.collect())
                    }
                    Extern::Func(_) => continue,
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
