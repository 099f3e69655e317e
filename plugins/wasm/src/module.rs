//! Phase 1: a module's sections become a description; function bodies are only collected.
//!
//! Everything but function bodies is validated here, by `wasmparser`; bodies are validated in the visit that generates
//! their code ([`crate::compile`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use copatch::plugin::Timings;
use copatch::{Program, Signature, ValueType};
use wasmparser::{
    ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind, FuncToValidate, FunctionBody,
    Operator, Parser, Payload, TypeRef, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use crate::compile;
use crate::engine::Engine;
use crate::error::Error;
use crate::names;
use crate::value::Value;

/// What is supported: WebAssembly 1.0, sign extension, saturating conversions, multi-value, bulk memory. Index 0 of a
/// table may be encoded in several bytes, as clang does.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG)
    .union(WasmFeatures::GC_TYPES);

/// Bytes of a module: source offsets in generated code are 32 bits wide.
const MAX_MODULE: usize = 1 << 30;
/// Elements of a table.
pub(crate) const MAX_TABLE: u64 = 10_000_000;

/// A constant expression.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Init {
    Value(Value),
    /// The value of an imported global.
    Global(u32),
    /// A reference to a function.
    Function(u32),
    /// A null reference.
    Null,
}

#[derive(Debug)]
pub(crate) struct ImportedFunction {
    pub module: String,
    pub name: String,
}

#[derive(Debug)]
pub(crate) struct Global {
    pub ty: ValueType,
    pub mutable: bool,
    /// For an imported global its name, else its value.
    pub source: GlobalSource,
}

#[derive(Debug)]
pub(crate) enum GlobalSource {
    Import { module: String, name: String },
    Init(Init),
}

#[derive(Debug)]
pub(crate) struct Limits {
    pub initial: u64,
    pub maximum: Option<u64>,
}

/// Where a segment goes when the module is instantiated.
#[derive(Debug)]
pub(crate) enum Placement {
    /// To this offset of the table or memory of that index.
    Active { index: u32, offset: Init },
    /// Nowhere by itself.
    Passive,
    /// Nowhere: it only declares functions as referenced.
    Declared,
}

#[derive(Debug)]
pub(crate) struct Elements {
    pub placement: Placement,
    pub items: Vec<Init>,
}

#[derive(Debug)]
pub(crate) struct Data {
    pub placement: Placement,
    pub bytes: Box<[u8]>,
}

/// An export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    Function(u32),
    Table,
    Memory,
    Global(u32),
}

/// A module without its code.
#[derive(Debug, Default)]
pub(crate) struct Description {
    pub types: Vec<Signature>,
    /// The type of each function, imported ones first.
    pub functions: Vec<u32>,
    pub imports: Vec<ImportedFunction>,
    pub globals: Vec<Global>,
    pub tables: Vec<Limits>,
    pub memory: Option<Limits>,
    pub exports: BTreeMap<String, Export>,
    pub start: Option<u32>,
    pub elements: Vec<Elements>,
    pub data: Vec<Data>,
    /// The name section, undecoded: it is needed only when something went wrong.
    pub names: Vec<u8>,
    /// Bytes of the code section.
    pub code_bytes: usize,
}

impl Description {
    /// The type of a function.
    pub fn signature(&self, function: u32) -> Option<&Signature> {
        self.types
            .get(*self.functions.get(function as usize)? as usize)
    }

    /// Functions that may be called from outside, each once, in ascending order.
    pub fn entries(&self) -> Vec<u32> {
        let exported = self.exports.values().filter_map(|export| match export {
            Export::Function(index) => Some(*index),
            _ => None,
        });
        let mut entries: Vec<u32> = exported.chain(self.start).collect();
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), Error> {
        match payload {
            Payload::TypeSection(reader) => {
                for ty in reader.into_iter_err_on_gc_types() {
                    let ty = ty?;
                    self.types.push(Signature {
                        params: value_types(ty.params())?,
                        results: value_types(ty.results())?,
                    });
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.import(offset, import)?;
                }
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader.into_iter_with_offsets() {
                    let (offset, table) = table?;
                    if table.ty.initial > MAX_TABLE {
                        let what = format!(
                            "a table of {} elements, more than {MAX_TABLE}",
                            table.ty.initial
                        );
                        return Err(Error::Limit { what, offset });
                    }
                    self.tables.push(Limits {
                        initial: table.ty.initial,
                        maximum: table.ty.maximum,
                    });
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    let memory = memory?;
                    self.memory = Some(Limits {
                        initial: memory.initial,
                        maximum: memory.maximum,
                    });
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader.into_iter_with_offsets() {
                    let (offset, global) = global?;
                    self.globals.push(Global {
                        ty: value_type(global.ty.content_type, offset)?,
                        mutable: global.ty.mutable,
                        source: GlobalSource::Init(constant(&global.init_expr, offset)?),
                    });
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    let item = match export.kind {
                        ExternalKind::Func => Export::Function(export.index),
                        ExternalKind::Table => Export::Table,
                        ExternalKind::Memory => Export::Memory,
                        ExternalKind::Global => Export::Global(export.index),
                        kind => return Err(unsupported(format!("export of a {kind:?}"), offset)),
                    };
                    self.exports.insert(export.name.to_owned(), item);
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(reader) => {
                for element in reader.into_iter_with_offsets() {
                    let (offset, element) = element?;
                    self.elements.push(elements(element, offset)?);
                }
            }
            Payload::DataSection(reader) => {
                for data in reader.into_iter_with_offsets() {
                    let (offset, data) = data?;
                    let placement = match data.kind {
                        DataKind::Passive => Placement::Passive,
                        DataKind::Active {
                            memory_index: index,
                            offset_expr,
                        } => Placement::Active {
                            index,
                            offset: constant(&offset_expr, offset)?,
                        },
                    };
                    self.data.push(Data {
                        placement,
                        bytes: data.data.into(),
                    });
                }
            }
            Payload::CodeSectionStart { size, .. } => self.code_bytes = size as usize,
            Payload::CustomSection(reader) if reader.name() == "name" => {
                self.names = reader.data().to_vec()
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, offset: u64, import: wasmparser::Import<'_>) -> Result<(), Error> {
        let (module, name) = (import.module.to_owned(), import.name.to_owned());
        let kind = match import.ty {
            TypeRef::Func(ty) => {
                self.functions.push(ty);
                self.imports.push(ImportedFunction { module, name });
                return Ok(());
            }
            TypeRef::Global(ty) if !ty.mutable => {
                self.globals.push(Global {
                    ty: value_type(ty.content_type, offset)?,
                    mutable: false,
                    source: GlobalSource::Import { module, name },
                });
                return Ok(());
            }
            TypeRef::Global(_) => "a mutable global",
            TypeRef::Memory(_) => "a memory",
            TypeRef::Table(_) => "a table",
            _ => "this kind of item",
        };
        Err(unsupported(
            format!("import of {kind} as {module}.{name}"),
            offset,
        ))
    }
}

fn elements(element: wasmparser::Element<'_>, offset: u64) -> Result<Elements, Error> {
    let placement = match element.kind {
        ElementKind::Passive => Placement::Passive,
        ElementKind::Declared => Placement::Declared,
        ElementKind::Active {
            table_index,
            offset_expr,
        } => Placement::Active {
            index: table_index.unwrap_or(0),
            offset: constant(&offset_expr, offset)?,
        },
    };
    let items = match element.items {
        ElementItems::Functions(reader) => reader
            .into_iter()
            .map(|item| Ok(Init::Function(item?)))
            .collect::<Result<_, Error>>()?,
        ElementItems::Expressions(_, reader) => reader
            .into_iter()
            .map(|item| constant(&item?, offset))
            .collect::<Result<_, Error>>()?,
    };
    Ok(Elements { placement, items })
}

/// A constant expression is one instruction: validation has seen to its type.
fn constant(expression: &ConstExpr<'_>, offset: u64) -> Result<Init, Error> {
    let mut operators = expression.get_operators_reader();
    let init = match operators.read()? {
        Operator::I32Const { value } => Init::Value(Value::I32(value)),
        Operator::I64Const { value } => Init::Value(Value::I64(value)),
        Operator::F32Const { value } => Init::Value(Value::F32(value.bits())),
        Operator::F64Const { value } => Init::Value(Value::F64(value.bits())),
        Operator::GlobalGet { global_index } => Init::Global(global_index),
        Operator::RefFunc { function_index } => Init::Function(function_index),
        Operator::RefNull { .. } => Init::Null,
        other => {
            return Err(unsupported(
                format!("{other:?} in a constant expression"),
                offset,
            ));
        }
    };
    match operators.read()? {
        Operator::End => Ok(init),
        other => Err(unsupported(
            format!("{other:?} in a constant expression"),
            offset,
        )),
    }
}

fn unsupported(what: String, offset: u64) -> Error {
    Error::Unsupported { what, offset }
}

/// The engine's type for a type of WebAssembly.
pub(crate) fn value_type(ty: wasmparser::ValType, offset: u64) -> Result<ValueType, Error> {
    match ty {
        wasmparser::ValType::I32 => Ok(ValueType::I32),
        wasmparser::ValType::I64 => Ok(ValueType::I64),
        wasmparser::ValType::F32 => Ok(ValueType::F32),
        wasmparser::ValType::F64 => Ok(ValueType::F64),
        other => Err(unsupported(format!("values of type {other}"), offset)),
    }
}

fn value_types(types: &[wasmparser::ValType]) -> Result<Vec<ValueType>, Error> {
    types.iter().map(|ty| value_type(*ty, 0)).collect()
}

/// A compiled module. Cheap to clone, shareable between threads; any number of instances can be made of it.
#[derive(Clone, Debug)]
pub struct Module {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    description: Description,
    program: Program,
    /// The signature number of each type.
    signatures: Vec<u32>,
    /// Functions with an entry wrapper, in ascending order: wrapper `i` is function `functions.len() + i` of the program.
    entries: Vec<u32>,
    timings: Timings,
    names: OnceLock<HashMap<u32, String>>,
}

impl Module {
    /// Compiles a module from its binary form.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is not valid WebAssembly or uses a feature that is not supported, by name and offset;
    /// [`Error::Unsupported`], [`Error::Limit`], [`Error::Function`] and [`Error::Engine`] for what cannot be compiled.
    pub fn new(engine: &Engine, bytes: &[u8]) -> Result<Self, Error> {
        Self::compile(engine, bytes, false)
    }

    /// Like [`Module::new`], and remembers each stencil for the explanation of its code.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn with_trace(engine: &Engine, bytes: &[u8]) -> Result<Self, Error> {
        Self::compile(engine, bytes, true)
    }

    fn compile(engine: &Engine, bytes: &[u8], trace: bool) -> Result<Self, Error> {
        let begin = Instant::now();
        if bytes.len() > MAX_MODULE {
            let what = format!("a module of {} bytes, more than {MAX_MODULE}", bytes.len());
            return Err(Error::Limit { what, offset: 0 });
        }
        let (description, bodies) = read(bytes)?;
        let signatures: Vec<u32> = description
            .types
            .iter()
            .map(|ty| engine.signature(ty))
            .collect();
        let entries = description.entries();
        let functions = bodies.len() as u64;
        let input = compile::Input {
            description: &description,
            signatures: &signatures,
            entries: &entries,
            trace,
        };
        let output = compile::generate(engine, &input, &bodies)?;
        let generated = Instant::now();
        let program = output.unit.finish()?;
        let published = Instant::now();
        let timings = Timings {
            bytes_in: bytes.len() as u64,
            bytes_out: program.range().len() as u64,
            functions,
            operations: output.operations,
            prescan_ns: output.prescan_ns,
            generate_ns: nanoseconds(begin, generated),
            publish_ns: nanoseconds(generated, published),
            total_ns: nanoseconds(begin, Instant::now()),
        };
        let engine = engine.clone();
        let names = OnceLock::new();
        let inner = Inner {
            engine,
            description,
            program,
            signatures,
            entries,
            timings,
            names,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// How long compiling took, and of what.
    pub fn timings(&self) -> Timings {
        self.inner.timings
    }

    /// The engine that compiled it.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The functions that the module imports: module, name and type.
    pub fn imports(&self) -> impl Iterator<Item = (&str, &str, &Signature)> {
        let description = self.description();
        description
            .imports
            .iter()
            .zip(0..)
            .filter_map(|(import, index)| {
                Some((
                    import.module.as_str(),
                    import.name.as_str(),
                    description.signature(index)?,
                ))
            })
    }

    /// The type of the function exported as `name`.
    pub fn exported_function(&self, name: &str) -> Option<&Signature> {
        match self.description().exports.get(name)? {
            Export::Function(index) => self.description().signature(*index),
            _ => None,
        }
    }

    /// The function's name, from the name section or else from an export.
    pub fn function_name(&self, function: u32) -> Option<&str> {
        let description = self.description();
        let names = self
            .inner
            .names
            .get_or_init(|| names::functions(description));
        names.get(&function).map(String::as_str)
    }

    pub(crate) fn description(&self) -> &Description {
        &self.inner.description
    }

    /// The compiled code.
    pub fn program(&self) -> &Program {
        &self.inner.program
    }

    /// The signature number of a function's type.
    pub(crate) fn signature_number(&self, function: u32) -> Option<u32> {
        let ty = *self.description().functions.get(function as usize)?;
        self.inner.signatures.get(ty as usize).copied()
    }

    /// The function behind an entry wrapper, by the wrapper's number in the program.
    pub(crate) fn wrapped(&self, wrapper: u32) -> Option<u32> {
        let index = (wrapper as usize).checked_sub(self.description().functions.len())?;
        self.inner.entries.get(index).copied()
    }

    /// The address at which a function is called from outside.
    pub(crate) fn entry(&self, function: u32) -> Option<usize> {
        let wrapper = self.inner.entries.binary_search(&function).ok()?;
        self.inner
            .program
            .entry((self.description().functions.len() + wrapper) as u32)
    }
}

/// A function body with what validates it.
pub(crate) type Body<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

fn read(bytes: &[u8]) -> Result<(Description, Vec<Body<'_>>), Error> {
    let mut description = Description::default();
    let mut bodies = Vec::new();
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            bodies.push((function, body));
        } else {
            description.section(payload)?;
        }
    }
    Ok((description, bodies))
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}
