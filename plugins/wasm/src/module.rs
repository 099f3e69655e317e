//! Phase 1: a module's sections become a description; function bodies are left as they are.
//!
//! Everything but function bodies is validated here, by `wasmparser`; bodies are validated in the visit that generates
//! their code ([`crate::compile`]).

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use copatch::plugin::Timings;
use copatch::{Program, Signature, ValueType};
use wasmparser::{
    Chunk, ConstExpr, ElementItems, ElementKind, ExternalKind, Operator, Parser, Payload,
    TableInit, TypeRef, Validator, WasmFeatures,
};

use crate::bodies::Bodies;
use crate::compile;
use crate::data::Segments;
use crate::engine::{Engine, TypeEntry};
use crate::error::Error;
use crate::layout::Layout;
use crate::names;
use crate::types::{
    ExportType, ExternType, FuncType, GlobalType, ImportType, MemoryType, Mutability, RefType,
    TableType, ValType,
};
use crate::value::V128;

/// What is supported: WebAssembly 2.0 and extended constants. Index 0 of a table may be encoded in several
/// bytes, as clang does.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::GC_TYPES);

/// Bytes of a module: source offsets in generated code are 32 bits wide.
const MAX_MODULE: usize = 1 << 30;
/// Elements of a table.
pub(crate) const MAX_TABLE: u64 = 10_000_000;

/// A constant expression.
#[derive(Clone, Debug)]
pub(crate) enum Init {
    /// The bits of a number of up to 64 bits.
    Value(u64),
    /// The bits of a vector, low half first.
    Vector([u64; 2]),
    /// The value of a global that stands before.
    Global(u32),
    /// A reference to a function.
    Function(u32),
    /// A null reference.
    Null,
    /// Anything longer, in the order of evaluation on a stack.
    Steps(Box<[Step]>),
}

/// A part of a constant expression.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Push(Init),
    /// An operation on the two values on top, which have that type.
    Compute(ValueType, Arithmetic),
}

/// What extended constants can compute, on integers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arithmetic {
    Add,
    Sub,
    Mul,
}

/// An import.
#[derive(Debug)]
pub(crate) struct Import {
    pub module: String,
    pub name: String,
    pub item: Item,
}

/// Something that is imported or exported, by its index among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Function(u32),
    Table(u32),
    Memory(u32),
    Global(u32),
}

#[derive(Debug)]
pub(crate) struct Global {
    pub ty: GlobalType,
    /// Its value; `None` if it is imported.
    pub init: Option<Init>,
}

impl Global {
    /// Whether it lives in another place than the instance's context. (An imported one that cannot change is copied.)
    pub fn far(&self) -> bool {
        self.init.is_none() && self.ty.mutable()
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    pub ty: TableType,
    /// What its elements are at first; `None` if the table is imported.
    pub init: Option<Init>,
}

#[derive(Debug)]
pub(crate) struct Memory {
    pub ty: MemoryType,
    pub imported: bool,
}

/// Where an element segment goes when the module is instantiated.
#[derive(Debug)]
pub(crate) enum Placement {
    /// To this offset of the table of that index.
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

/// A module without its code.
#[derive(Debug, Default)]
pub(crate) struct Description {
    pub types: Vec<Signature>,
    /// The same types as an embedder sees them.
    pub func_types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    pub functions: Vec<u32>,
    pub imported_functions: u32,
    pub imports: Vec<Import>,
    pub globals: Vec<Global>,
    pub tables: Vec<Table>,
    pub memory: Option<Memory>,
    pub exports: BTreeMap<String, Item>,
    pub start: Option<u32>,
    pub elements: Vec<Elements>,
    pub data: Segments,
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

    /// The type of a function as an embedder sees it.
    pub fn func_type(&self, function: u32) -> Option<&FuncType> {
        self.func_types
            .get(*self.functions.get(function as usize)? as usize)
    }

    /// The type of something imported or exported.
    pub fn extern_type(&self, item: Item) -> Option<ExternType> {
        Some(match item {
            Item::Function(index) => ExternType::Func(self.func_type(index)?.clone()),
            Item::Table(index) => ExternType::Table(self.tables.get(index as usize)?.ty),
            Item::Memory(_) => ExternType::Memory(self.memory.as_ref()?.ty),
            Item::Global(index) => ExternType::Global(self.globals.get(index as usize)?.ty),
        })
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), Error> {
        match payload {
            Payload::TypeSection(reader) => {
                for ty in reader.into_iter_err_on_gc_types() {
                    let ty = ty?;
                    let ty = FuncType::of(val_types(ty.params())?, val_types(ty.results())?);
                    self.types.push(ty.code());
                    self.func_types.push(ty);
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
                    let init = match table.init {
                        TableInit::RefNull => Init::Null,
                        TableInit::Expr(expression) => constant(&expression, offset)?,
                    };
                    self.tables.push(Table {
                        ty: table_type(table.ty, offset)?,
                        init: Some(init),
                    });
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    let memory = memory?;
                    self.memory = Some(Memory {
                        ty: MemoryType::wide(memory.initial, memory.maximum),
                        imported: false,
                    });
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader.into_iter_with_offsets() {
                    let (offset, global) = global?;
                    self.globals.push(Global {
                        ty: global_type(global.ty, offset)?,
                        init: Some(constant(&global.init_expr, offset)?),
                    });
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    let item = match export.kind {
                        ExternalKind::Func => Item::Function(export.index),
                        ExternalKind::Table => Item::Table(export.index),
                        ExternalKind::Memory => Item::Memory(export.index),
                        ExternalKind::Global => Item::Global(export.index),
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
            Payload::CustomSection(reader) if reader.name() == "name" => {
                self.names = reader.data().to_vec()
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, offset: u64, import: wasmparser::Import<'_>) -> Result<(), Error> {
        let item = match import.ty {
            TypeRef::Func(ty) => {
                self.functions.push(ty);
                self.imported_functions += 1;
                Item::Function(self.functions.len() as u32 - 1)
            }
            TypeRef::Global(ty) => {
                let ty = global_type(ty, offset)?;
                self.globals.push(Global { ty, init: None });
                Item::Global(self.globals.len() as u32 - 1)
            }
            TypeRef::Memory(ty) => {
                let ty = MemoryType::wide(ty.initial, ty.maximum);
                self.memory = Some(Memory { ty, imported: true });
                Item::Memory(0)
            }
            TypeRef::Table(ty) => {
                let ty = table_type(ty, offset)?;
                self.tables.push(Table { ty, init: None });
                Item::Table(self.tables.len() as u32 - 1)
            }
            _ => {
                let what = format!("import of this kind as {}.{}", import.module, import.name);
                return Err(unsupported(what, offset));
            }
        };
        self.imports.push(Import {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
            item,
        });
        Ok(())
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

/// Validation has seen to types.
pub(crate) fn constant(expression: &ConstExpr<'_>, offset: u64) -> Result<Init, Error> {
    let mut operators = expression.get_operators_reader();
    let mut steps = Vec::new();
    loop {
        let step = match operators.read()? {
            Operator::End => break,
            Operator::I32Const { value } => Step::Push(Init::Value(u64::from(value as u32))),
            Operator::I64Const { value } => Step::Push(Init::Value(value as u64)),
            Operator::F32Const { value } => Step::Push(Init::Value(u64::from(value.bits()))),
            Operator::F64Const { value } => Step::Push(Init::Value(value.bits())),
            Operator::V128Const { value } => {
                let bits = u128::from_le_bytes(*value.bytes());
                Step::Push(Init::Vector(V128::from(bits).words()))
            }
            Operator::GlobalGet { global_index } => Step::Push(Init::Global(global_index)),
            Operator::RefFunc { function_index } => Step::Push(Init::Function(function_index)),
            Operator::RefNull { .. } => Step::Push(Init::Null),
            Operator::I32Add => Step::Compute(ValueType::I32, Arithmetic::Add),
            Operator::I32Sub => Step::Compute(ValueType::I32, Arithmetic::Sub),
            Operator::I32Mul => Step::Compute(ValueType::I32, Arithmetic::Mul),
            Operator::I64Add => Step::Compute(ValueType::I64, Arithmetic::Add),
            Operator::I64Sub => Step::Compute(ValueType::I64, Arithmetic::Sub),
            Operator::I64Mul => Step::Compute(ValueType::I64, Arithmetic::Mul),
            other => {
                let what = format!("{other:?} in a constant expression");
                return Err(unsupported(what, offset));
            }
        };
        steps.push(step);
    }
    Ok(match steps.as_slice() {
        [Step::Push(init)] => init.clone(),
        _ => Init::Steps(steps.into()),
    })
}

fn unsupported(what: String, offset: u64) -> Error {
    Error::Unsupported { what, offset }
}

fn val_type(ty: wasmparser::ValType, offset: u64) -> Result<ValType, Error> {
    match ty {
        wasmparser::ValType::I32 => Ok(ValType::I32),
        wasmparser::ValType::I64 => Ok(ValType::I64),
        wasmparser::ValType::F32 => Ok(ValType::F32),
        wasmparser::ValType::F64 => Ok(ValType::F64),
        wasmparser::ValType::V128 => Ok(ValType::V128),
        wasmparser::ValType::Ref(ty) => ref_type(ty, offset).map(ValType::Ref),
    }
}

fn ref_type(ty: wasmparser::RefType, offset: u64) -> Result<RefType, Error> {
    match ty {
        wasmparser::RefType::FUNCREF => Ok(RefType::Func),
        wasmparser::RefType::EXTERNREF => Ok(RefType::Extern),
        other => Err(unsupported(format!("values of type {other}"), offset)),
    }
}

fn val_types(types: &[wasmparser::ValType]) -> Result<Vec<ValType>, Error> {
    types.iter().map(|ty| val_type(*ty, 0)).collect()
}

fn global_type(ty: wasmparser::GlobalType, offset: u64) -> Result<GlobalType, Error> {
    let mutability = match ty.mutable {
        true => Mutability::Var,
        false => Mutability::Const,
    };
    let content = val_type(ty.content_type, offset)?;
    Ok(GlobalType::new(content, mutability))
}

fn table_type(ty: wasmparser::TableType, offset: u64) -> Result<TableType, Error> {
    let element = ref_type(ty.element_type, offset)?;
    Ok(TableType::wide(element, ty.initial, ty.maximum))
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
    layout: Layout,
    /// Each type, as all modules of the engine know it.
    types: Vec<Arc<TypeEntry>>,
    timings: Timings,
    names: OnceLock<HashMap<u32, String>>,
}

impl Module {
    /// Compiles a module from its binary form.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is not valid WebAssembly or uses a feature that is not supported, by name and offset;
    /// [`Error::Unsupported`], [`Error::Limit`], [`Error::Function`] and [`Error::Engine`] for what cannot be compiled.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::compile(engine, bytes.as_ref(), false)
    }

    /// Compiles a module from a file in binary form.
    ///
    /// # Errors
    /// As [`Module::new`], and where the file cannot be read.
    pub fn from_file(engine: &Engine, path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path)
            .map_err(|error| Error::msg(format!("{}: {error}", path.display())))?;
        Self::compile(engine, &bytes, false)
    }

    /// Says whether a module is valid and supported, without generating code.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the reason, if it is not.
    pub fn validate(_engine: &Engine, bytes: &[u8]) -> Result<(), Error> {
        Validator::new_with_features(FEATURES).validate_all(bytes)?;
        Ok(())
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
        let types: Vec<Arc<TypeEntry>> = description
            .func_types
            .iter()
            .map(|ty| engine.intern(ty))
            .collect();
        let signatures: Vec<u32> = types.iter().map(|ty| ty.number).collect();
        let layout = Layout::of(&description);
        let functions = bodies.as_ref().map_or(0, Bodies::len);
        let input = compile::Input {
            description: &description,
            signatures: &signatures,
            layout: &layout,
            trace,
        };
        let output = compile::generate(engine, &input, bodies.as_ref())?;
        let generated = Instant::now();
        let program = output.unit.finish()?;
        let published = Instant::now();
        let timings = Timings {
            bytes_in: bytes.len() as u64,
            bytes_out: program.range().len() as u64,
            functions,
            operations: output.worked.operations,
            prescan_ns: output.worked.prescan_ns(),
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
            layout,
            types,
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

    /// What the module imports, in its order.
    pub fn imports(&self) -> impl Iterator<Item = ImportType<'_>> {
        let description = self.description();
        description.imports.iter().filter_map(|import| {
            Some(ImportType {
                module: &import.module,
                name: &import.name,
                ty: description.extern_type(import.item)?,
            })
        })
    }

    /// What the module exports, ordered by name.
    pub fn exports(&self) -> impl Iterator<Item = ExportType<'_>> {
        let description = self.description();
        description.exports.iter().filter_map(|(name, item)| {
            let ty = description.extern_type(*item)?;
            Some(ExportType { name, ty })
        })
    }

    /// The type of the export of that name.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let description = self.description();
        description.extern_type(*description.exports.get(name)?)
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

    /// The type of a function, as all modules of the engine know it.
    pub(crate) fn type_entry(&self, function: u32) -> Option<&Arc<TypeEntry>> {
        let ty = *self.description().functions.get(function as usize)?;
        self.inner.types.get(ty as usize)
    }

    /// Where the words of its instances lie.
    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }
}

/// Validates everything but function bodies.
fn read(bytes: &[u8]) -> Result<(Description, Option<Bodies<'_>>), Error> {
    let mut description = Description::default();
    let mut bodies = None;
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut rest = bytes;
    loop {
        let payload = match parser.parse(rest, true)? {
            Chunk::Parsed { consumed, payload } => {
                rest = rest.get(consumed..).unwrap_or_default();
                payload
            }
            // Never: all bytes are there.
            Chunk::NeedMoreData(_) => {
                let what = "a module that does not end".to_owned();
                return Err(unsupported(what, bytes.len() as u64));
            }
        };
        match payload {
            Payload::DataSection(reader) => {
                let section = part(bytes, reader.range());
                let usual = Segments::usual(section, description.memory.is_some());
                description.data = match usual {
                    Some(data) => data,
                    None => {
                        validator.data_section(&reader)?;
                        Segments::judged(reader, section)?
                    }
                };
            }
            Payload::CodeSectionStart {
                size,
                unchecked_range: ref range,
                ..
            } => {
                validator.payload(&payload)?;
                description.code_bytes = size as usize;
                let section = part(bytes, range.clone());
                bodies = Bodies::new(section, range.start, &mut validator)?;
                parser.skip_section();
                rest = rest.get(size as usize..).unwrap_or_default();
            }
            Payload::End(_) => {
                validator.payload(&payload)?;
                return Ok((description, bodies));
            }
            payload => {
                validator.payload(&payload)?;
                description.section(payload)?;
            }
        }
    }
}

/// A section's contents, as far as they are there.
fn part(bytes: &[u8], range: Range<u64>) -> &[u8] {
    let end = range.end.min(bytes.len() as u64);
    bytes
        .get(range.start as usize..end as usize)
        .unwrap_or_default()
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}
