//! Official test scripts of WebAssembly (`.wast`): runs them and says what failed.
//!
//! Every directive is one test. A module that must not be accepted has to be refused as malformed or invalid; why is not
//! compared, since decoders word it differently. Traps and link errors are compared by the words of their kind.

use std::collections::HashMap;
use std::fmt::Display;

use copatch_wasm::{
    Engine, Error, Extern, ExternRef, Global, GlobalType, Instance, Linker, Memory, MemoryType,
    Module, Mutability, Ref, RefType, Store, Table, TableType, Trap, TrapCode, V128, Val,
};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::{F32, F64, Id, Span};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};

/// What became of a script.
#[derive(Debug, Default)]
pub struct Report {
    /// Directives that did what they should.
    pub passed: usize,
    /// Those that did not, in order.
    pub failures: Vec<Failure>,
}

/// A directive that failed.
#[derive(Debug)]
pub struct Failure {
    /// Its line, from 1.
    pub line: usize,
    /// What happened instead.
    pub reason: String,
}

/// What a directive gives: an error's text if it failed.
type Outcome<T = ()> = Result<T, String>;

/// Runs a script. One that cannot be read is one failure.
pub fn run(engine: &Engine, text: &str) -> Report {
    let mut report = Report::default();
    let mut fail = |span: Span, reason: String| {
        let line = span.linecol_in(text).0 + 1;
        report.failures.push(Failure { line, reason });
    };
    let mut lexer = Lexer::new(text);
    // Names of all kinds are what one of the scripts is about.
    lexer.allow_confusing_unicode(true);
    let buffer = match ParseBuffer::new_with_lexer(lexer) {
        Ok(buffer) => buffer,
        Err(error) => {
            fail(error.span(), error.message());
            return report;
        }
    };
    let script = match parser::parse::<Wast<'_>>(&buffer) {
        Ok(script) => script,
        Err(error) => {
            fail(error.span(), error.message());
            return report;
        }
    };
    let mut runner = match Runner::new(engine) {
        Ok(runner) => runner,
        Err(error) => {
            fail(Span::from_offset(0), error.to_string());
            return report;
        }
    };
    let mut passed = 0;
    for directive in script.directives {
        let span = directive.span();
        match runner.directive(directive) {
            Ok(()) => passed += 1,
            Err(reason) => fail(span, reason),
        }
    }
    report.passed = passed;
    report
}

/// The instances of a script.
struct Runner {
    engine: Engine,
    store: Store<()>,
    linker: Linker<()>,
    /// The instance made last, if that did not fail.
    current: Option<Instance>,
    instances: HashMap<String, Instance>,
    definitions: HashMap<String, Module>,
    defined: Option<Module>,
}

fn text(error: impl Display) -> String {
    error.to_string()
}

impl Runner {
    fn new(engine: &Engine) -> Result<Self, Error> {
        let mut store = Store::try_new(engine, ())?;
        let mut linker = Linker::new(engine);
        linker.allow_shadowing(true);
        spectest(&mut store, &mut linker)?;
        Ok(Self {
            engine: engine.clone(),
            store,
            linker,
            current: None,
            instances: HashMap::new(),
            definitions: HashMap::new(),
            defined: None,
        })
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Outcome {
        match directive {
            WastDirective::Module(mut wat) => {
                let name = wat.name();
                self.current = None;
                let module = self.compile(&mut wat)?;
                self.instantiate(name, &module)
            }
            WastDirective::ModuleDefinition(mut wat) => {
                let module = self.compile(&mut wat)?;
                if let Some(name) = wat.name() {
                    self.definitions
                        .insert(name.name().to_owned(), module.clone());
                }
                self.defined = Some(module);
                Ok(())
            }
            WastDirective::ModuleInstance {
                instance, module, ..
            } => {
                let module = match module {
                    Some(name) => self.definitions.get(name.name()).cloned(),
                    None => self.defined.clone(),
                };
                self.instantiate(instance, &module.ok_or("no such module definition")?)
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(module)?;
                self.linker
                    .instance(&self.store, name, instance)
                    .map_err(text)?;
                Ok(())
            }
            WastDirective::Invoke(invoke) => self.invoke(&invoke)?.map(drop).map_err(text),
            WastDirective::AssertReturn { exec, results, .. } => {
                let values = self.execute(exec)?.map_err(text)?;
                self.compare(&values, &results)
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                trapped(self.execute(exec)?, |code| names(&text(code), message))
            }
            WastDirective::AssertExhaustion { call, .. } => {
                trapped(self.invoke(&call)?, |code| code == TrapCode::StackOverflow)
            }
            WastDirective::AssertMalformed { module, .. }
            | WastDirective::AssertInvalid { module, .. } => self.refused(module),
            WastDirective::AssertUnlinkable {
                module, message, ..
            } => {
                let module = self.compile(&mut QuoteWat::Wat(module))?;
                match self.linker.instantiate(&mut self.store, &module) {
                    Err(Error::Import { what, .. }) if what.contains(message) => Ok(()),
                    Err(error) => Err(format!("{error}, not {message:?}")),
                    Ok(_) => Err(format!("it was linked, not refused with {message:?}")),
                }
            }
            WastDirective::AssertException { .. } => Err("exceptions are not supported".to_owned()),
            WastDirective::AssertSuspension { .. } => {
                Err("stack switching is not supported".to_owned())
            }
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                Err("threads are not supported".to_owned())
            }
            WastDirective::AssertInvalidCustom { .. }
            | WastDirective::AssertMalformedCustom { .. } => {
                Err("custom sections are not checked".to_owned())
            }
        }
    }

    fn compile(&self, wat: &mut QuoteWat<'_>) -> Outcome<Module> {
        let bytes = wat.encode().map_err(|error| error.message())?;
        Module::new(&self.engine, &bytes).map_err(text)
    }

    /// A module that has to be refused, by the text's parser or by ours.
    fn refused(&self, mut wat: QuoteWat<'_>) -> Outcome {
        let Ok(bytes) = wat.encode() else {
            return Ok(());
        };
        match Module::new(&self.engine, &bytes) {
            Err(Error::Invalid(_) | Error::InvalidCode { .. }) => Ok(()),
            Err(error) => Err(format!("not refused as invalid, but: {error}")),
            Ok(_) => Err("it was accepted".to_owned()),
        }
    }

    fn instantiate(&mut self, name: Option<Id<'_>>, module: &Module) -> Outcome {
        let instance = self
            .linker
            .instantiate(&mut self.store, module)
            .map_err(text)?;
        self.current = Some(instance);
        if let Some(name) = name {
            self.instances.insert(name.name().to_owned(), instance);
        }
        Ok(())
    }

    fn instance(&self, name: Option<Id<'_>>) -> Outcome<Instance> {
        let instance = match name {
            Some(name) => self.instances.get(name.name()).copied(),
            None => self.current,
        };
        instance.ok_or_else(|| "there is no such instance".to_owned())
    }

    /// Runs something: the outer error is a script's that makes no sense.
    fn execute(&mut self, execute: WastExecute<'_>) -> Outcome<Result<Vec<Val>, Error>> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module)?;
                let found = instance.get_global(&self.store, global);
                let found = found.ok_or_else(|| format!("no global {global:?} is exported"))?;
                Ok(Ok(vec![found.get(&self.store)]))
            }
            WastExecute::Wat(wat) => {
                let module = self.compile(&mut QuoteWat::Wat(wat))?;
                let made = self.linker.instantiate(&mut self.store, &module);
                Ok(made.map(|_| Vec::new()))
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Outcome<Result<Vec<Val>, Error>> {
        let instance = self.instance(invoke.module)?;
        let func = instance.get_func(&self.store, invoke.name);
        let func = func.ok_or_else(|| format!("no function {:?} is exported", invoke.name))?;
        let mut arguments = Vec::new();
        for argument in &invoke.args {
            let WastArg::Core(argument) = argument else {
                return Err("an argument of another kind".to_owned());
            };
            arguments.push(self.argument(argument)?);
        }
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        let outcome = func.call(&mut self.store, &arguments, &mut results);
        Ok(outcome.map(|()| results))
    }

    fn argument(&mut self, argument: &WastArgCore<'_>) -> Outcome<Val> {
        Ok(match argument {
            WastArgCore::I32(value) => Val::I32(*value),
            WastArgCore::I64(value) => Val::I64(*value),
            WastArgCore::F32(value) => Val::F32(value.bits),
            WastArgCore::F64(value) => Val::F64(value.bits),
            WastArgCore::V128(value) => {
                Val::V128(V128::from(u128::from_le_bytes(value.to_le_bytes())))
            }
            WastArgCore::RefNull(ty) => Ref::null(reference(ty)?).into(),
            WastArgCore::RefExtern(number) => ExternRef::new(&mut self.store, *number).into(),
            WastArgCore::RefHost(_) => return Err("a host reference of another kind".to_owned()),
        })
    }

    fn compare(&self, values: &[Val], expected: &[WastRet<'_>]) -> Outcome {
        let fits = values.len() == expected.len()
            && values.iter().zip(expected).all(|pair| match pair {
                (value, WastRet::Core(expected)) => self.fits(value, expected),
                _ => false,
            });
        match fits {
            true => Ok(()),
            false => Err(format!("it gave {values:?}, not {expected:?}")),
        }
    }

    fn fits(&self, value: &Val, expected: &WastRetCore<'_>) -> bool {
        match (value, expected) {
            (Val::I32(value), WastRetCore::I32(expected)) => value == expected,
            (Val::I64(value), WastRetCore::I64(expected)) => value == expected,
            (Val::F32(bits), WastRetCore::F32(expected)) => f32_fits(*bits, expected),
            (Val::F64(bits), WastRetCore::F64(expected)) => f64_fits(*bits, expected),
            (Val::V128(value), WastRetCore::V128(expected)) => {
                v128_fits(value.as_u128().to_le_bytes(), expected)
            }
            (Val::FuncRef(None) | Val::ExternRef(None), WastRetCore::RefNull(None)) => true,
            (Val::FuncRef(None), WastRetCore::RefNull(Some(ty))) => {
                reference(ty) == Ok(RefType::Func)
            }
            (Val::ExternRef(None), WastRetCore::RefNull(Some(ty))) => {
                reference(ty) == Ok(RefType::Extern)
            }
            (Val::FuncRef(Some(_)), WastRetCore::RefFunc(_)) => true,
            (Val::ExternRef(Some(_)), WastRetCore::RefExtern(None)) => true,
            (Val::ExternRef(Some(object)), WastRetCore::RefExtern(Some(number))) => {
                object.data(&self.store).downcast_ref() == Some(number)
            }
            (value, WastRetCore::Either(any)) => any.iter().any(|one| self.fits(value, one)),
            _ => false,
        }
    }
}

fn reference(ty: &HeapType<'_>) -> Outcome<RefType> {
    match ty {
        HeapType::Abstract {
            shared: false,
            ty: AbstractHeapType::Func,
        } => Ok(RefType::Func),
        HeapType::Abstract {
            shared: false,
            ty: AbstractHeapType::Extern,
        } => Ok(RefType::Extern),
        other => Err(format!("references of type {other:?} are not supported")),
    }
}

/// Whether a trap is the one that a script names; some name an index, too.
fn names(trap: &str, message: &str) -> bool {
    message.starts_with(trap) || trap.starts_with(message)
}

fn trapped(outcome: Result<Vec<Val>, Error>, right: impl Fn(TrapCode) -> bool) -> Outcome {
    match outcome {
        Err(Error::Trap(Trap { code, .. })) if right(code) => Ok(()),
        Err(error) => Err(format!("another error: {error}")),
        Ok(values) => Err(format!("it gave {values:?}, not a trap")),
    }
}

fn f32_fits(bits: u32, expected: &NanPattern<F32>) -> bool {
    match expected {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(value) => bits == value.bits,
    }
}

fn f64_fits(bits: u64, expected: &NanPattern<F64>) -> bool {
    const QUIET: u64 = 0x7ff8_0000_0000_0000;
    match expected {
        NanPattern::CanonicalNan => bits & (u64::MAX >> 1) == QUIET,
        NanPattern::ArithmeticNan => bits & QUIET == QUIET,
        NanPattern::Value(value) => bits == value.bits,
    }
}

fn v128_fits(bytes: [u8; 16], expected: &V128Pattern) -> bool {
    fn lanes<const N: usize, const W: usize>(bytes: [u8; 16]) -> [[u8; W]; N] {
        std::array::from_fn(|lane| std::array::from_fn(|byte| bytes[lane * W + byte]))
    }
    match expected {
        V128Pattern::I8x16(all) => lanes(bytes).map(i8::from_le_bytes) == *all,
        V128Pattern::I16x8(all) => lanes(bytes).map(i16::from_le_bytes) == *all,
        V128Pattern::I32x4(all) => lanes(bytes).map(i32::from_le_bytes) == *all,
        V128Pattern::I64x2(all) => lanes(bytes).map(i64::from_le_bytes) == *all,
        V128Pattern::F32x4(all) => {
            let given = lanes::<4, 4>(bytes).map(u32::from_le_bytes);
            given
                .iter()
                .zip(all)
                .all(|(bits, one)| f32_fits(*bits, one))
        }
        V128Pattern::F64x2(all) => {
            let given = lanes::<2, 8>(bytes).map(u64::from_le_bytes);
            given
                .iter()
                .zip(all)
                .all(|(bits, one)| f64_fits(*bits, one))
        }
    }
}

/// What scripts may import without having defined it. Printing is silent.
fn spectest(store: &mut Store<()>, linker: &mut Linker<()>) -> Result<(), Error> {
    const NAME: &str = "spectest";
    linker
        .func_wrap(NAME, "print", || {})?
        .func_wrap(NAME, "print_i32", |_: i32| {})?
        .func_wrap(NAME, "print_i64", |_: i64| {})?
        .func_wrap(NAME, "print_f32", |_: f32| {})?
        .func_wrap(NAME, "print_f64", |_: f64| {})?
        .func_wrap(NAME, "print_i32_f32", |_: i32, _: f32| {})?
        .func_wrap(NAME, "print_f64_f64", |_: f64, _: f64| {})?;
    let globals: [(&str, Val); 4] = [
        ("global_i32", 666.into()),
        ("global_i64", 666i64.into()),
        ("global_f32", 666.6f32.into()),
        ("global_f64", 666.6f64.into()),
    ];
    let mut items: Vec<(&str, Extern)> = Vec::new();
    for (name, value) in globals {
        let ty = GlobalType::new(value.ty(), Mutability::Const);
        items.push((name, Global::new(&mut *store, ty, value)?.into()));
    }
    let ty = TableType::new(RefType::Func, 10, Some(20));
    let table = Table::new(&mut *store, ty, Ref::null(RefType::Func))?;
    items.push(("table", table.into()));
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    items.push(("memory", memory.into()));
    for (name, item) in items {
        linker.define(&*store, NAME, name, item)?;
    }
    Ok(())
}
