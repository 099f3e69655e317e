//! Instances: modules with memories, tables and globals of their own or of others.
#![allow(unsafe_code)] // Fills in the words that compiled code works on.

use std::ptr::NonNull;

use copatch::Context;

use crate::call;
use crate::context::Words;
use crate::data::Place;
use crate::error::{Error, Result};
use crate::externals::{Extern, Global, Memory, Table};
use crate::func::Func;
use crate::layout;
use crate::module::{Item, Module, Placement};
use crate::opaque::{Handle, Opaque, admit};
use crate::store::{AsContext, AsContextMut, StoreContextMut};
use crate::typed::{TypedFunc, WasmParams, WasmResults};

/// What a store knows of an instance.
#[derive(Debug)]
pub(crate) struct InstanceData {
    pub module: Module,
    pub block: Words,
    /// Its memory, by number in the store.
    pub memory: Option<u32>,
    /// Its tables, by number in the store.
    pub tables: Vec<u32>,
    /// 1 + the number in the store of each function, or 0 if nobody asked for it yet.
    pub functions: Vec<u32>,
    /// 1 + the number in the store of each global, or 0 if nobody asked for it yet.
    pub globals: Vec<u32>,
    /// Whether each data segment was dropped.
    pub dropped_data: Vec<bool>,
    /// Whether each element segment was dropped.
    pub dropped_elements: Vec<bool>,
}

/// A module with memories, tables and globals of its own or of others, in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance(pub(crate) Handle);

impl Instance {
    /// Makes an instance: links `imports`, in the order of [`Module::imports`], puts segments in place, and runs the
    /// start function.
    ///
    /// # Errors
    /// [`Error::Import`] for imports of another number or type; [`Error::Limit`], [`Error::Memory`] and
    /// [`Error::Engine`] where memory cannot be had; what [`Func::call`] gives, for segments that do not fit and for the
    /// start function.
    ///
    /// # Panics
    /// If an import belongs to another store. Resumes the panic of a host function that the start function calls.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let mut store = store.as_context_mut();
        check_imports(store.opaque(), module, imports)?;
        let description = module.description();
        let tables = description
            .tables
            .iter()
            .filter(|table| table.init.is_some());
        let memory = description.memory.as_ref();
        let memories = memory.is_some_and(|memory| !memory.imported);
        admit(&mut store, [1, tables.count(), usize::from(memories)])?;
        let index = place(&mut store, module, imports)?;
        initialize(store.opaque_mut(), index)?;
        if let Some(start) = description.start {
            let id = store.opaque_mut().instance_function(index, start)?;
            let record = NonNull::from(store.opaque().records.get(id as usize));
            let mut none = [0; 1];
            let words = none.as_mut_ptr();
            // SAFETY: the store is borrowed for this call alone; validation has seen to it that a start function takes
            // and gives nothing.
            unsafe { call::call(store.root(), record, None, words, words) }?;
        }
        Ok(Instance(store.opaque().handle(index as usize)))
    }

    /// What it exports under that name.
    ///
    /// # Panics
    /// If it belongs to another store, as all methods do.
    pub fn get_export(&self, store: impl AsContext, name: &str) -> Option<Extern> {
        let store = store.as_context().into_opaque();
        let index = store.index(self.0);
        let item = *store.instances[index]
            .module
            .description()
            .exports
            .get(name)?;
        item_of(store, index, item)
    }

    /// What it exports, ordered by name.
    pub fn exports<'a, T: 'static>(
        &self,
        store: impl Into<crate::StoreContext<'a, T>>,
    ) -> impl Iterator<Item = (&'a str, Extern)> {
        let store = store.into().into_opaque();
        let index = store.index(self.0);
        let exports = &store.instances[index].module.description().exports;
        exports
            .iter()
            .filter_map(move |(name, item)| Some((name.as_str(), item_of(store, index, *item)?)))
    }

    /// The function that it exports under that name.
    pub fn get_func(&self, store: impl AsContext, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The function that it exports under that name, with its type checked once.
    ///
    /// # Errors
    /// [`Error::Export`] if there is none, [`Error::Arguments`] if it has another type.
    pub fn get_typed_func<P: WasmParams, R: WasmResults>(
        &self,
        store: impl AsContext,
        name: &str,
    ) -> Result<TypedFunc<P, R>> {
        let func = self.get_func(&store, name).ok_or_else(|| Error::Export {
            kind: "function",
            name: name.to_owned(),
        })?;
        TypedFunc::new(&func, store.as_context().into_opaque()).map_err(|error| match error {
            Error::Arguments { what, .. } => Error::Arguments {
                name: name.to_owned(),
                what,
            },
            error => error,
        })
    }

    /// The memory that it exports under that name.
    pub fn get_memory(&self, store: impl AsContext, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The table that it exports under that name.
    pub fn get_table(&self, store: impl AsContext, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The global that it exports under that name.
    pub fn get_global(&self, store: impl AsContext, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// The module it was made of.
    pub fn module<'a, T: 'static>(
        &self,
        store: impl Into<crate::StoreContext<'a, T>>,
    ) -> &'a Module {
        let store = store.into().into_opaque();
        &store.instances[store.index(self.0)].module
    }
}

/// An item of an instance; instantiation has entered exported functions and globals.
fn item_of(store: &Opaque, instance: usize, item: Item) -> Option<Extern> {
    let data = &store.instances[instance];
    let known = |ids: &[u32], index: u32| {
        let id = ids.get(index as usize)?.checked_sub(1)?;
        Some(store.handle(id as usize))
    };
    Some(match item {
        Item::Function(index) => Extern::Func(Func(known(&data.functions, index)?)),
        Item::Global(index) => Extern::Global(Global(known(&data.globals, index)?)),
        Item::Table(index) => {
            let id = *data.tables.get(index as usize)?;
            Extern::Table(Table(store.handle(id as usize)))
        }
        Item::Memory(_) => Extern::Memory(Memory(store.handle(data.memory? as usize))),
    })
}

fn check_imports(store: &Opaque, module: &Module, imports: &[Extern]) -> Result<()> {
    if !store.engine.same(module.engine()) {
        return Err(Error::msg("the module was compiled by another engine"));
    }
    let description = module.description();
    if imports.len() != description.imports.len() {
        return Err(Error::Arguments {
            name: "imports".to_owned(),
            what: format!(
                "{} given, {} needed",
                imports.len(),
                description.imports.len()
            ),
        });
    }
    for (import, given) in description.imports.iter().zip(imports) {
        let fault = |what: String| Error::Import {
            module: import.module.clone(),
            name: import.name.clone(),
            what,
        };
        let wanted = description
            .extern_type(import.item)
            .ok_or_else(|| fault("it has no type".to_owned()))?;
        wanted.accepts(&given.type_in(store)).map_err(fault)?;
    }
    Ok(())
}

/// Enters the instance into the store: its words are filled in, its segments are not yet in place.
fn place<T>(
    store: &mut StoreContextMut<'_, T>,
    module: &Module,
    imports: &[Extern],
) -> Result<u32> {
    let description = module.description();
    let layout = module.layout();
    let mut data = InstanceData {
        module: module.clone(),
        block: Words::new(layout.size()),
        memory: None,
        tables: Vec::with_capacity(description.tables.len()),
        functions: vec![0; description.functions.len()],
        globals: vec![0; description.globals.len()],
        dropped_data: vec![false; description.data.len()],
        dropped_elements: vec![false; description.elements.len()],
    };
    let opaque = store.opaque();
    for (import, given) in description.imports.iter().zip(imports) {
        match (import.item, given) {
            (Item::Function(index), Extern::Func(func)) => {
                let id = opaque.index(func.0);
                data.functions[index as usize] = id as u32 + 1;
                let word = opaque.records.get(id).word();
                data.block.write(layout.import(index), word);
            }
            (Item::Global(index), Extern::Global(global)) => {
                let id = opaque.index(global.0);
                data.globals[index as usize] = id as u32 + 1;
                let global = &opaque.globals[id];
                let offset = layout.global(index);
                match description.globals[index as usize].far() {
                    true => data.block.write(offset, global.address()),
                    false => {
                        let [low, high] = global.get();
                        data.block.write(offset, low);
                        if crate::value::width(global.ty.content()) == 2 {
                            data.block.write(offset + 8, high);
                        }
                    }
                }
            }
            (Item::Table(_), Extern::Table(table)) => {
                data.tables.push(opaque.index(table.0) as u32);
            }
            (Item::Memory(_), Extern::Memory(memory)) => {
                data.memory = Some(opaque.index(memory.0) as u32);
            }
            // Types were checked before.
            _ => {}
        }
    }
    for table in description
        .tables
        .iter()
        .filter(|table| table.init.is_some())
    {
        data.tables.push(Table::make(store, table.ty)?);
    }
    if let Some(memory) = description
        .memory
        .as_ref()
        .filter(|memory| !memory.imported)
    {
        data.memory = Some(Memory::make(store, memory.ty)?);
    }
    let root = store.root();
    let opaque = store.opaque_mut();
    let index = opaque.instances.len() as u32;
    let mut context = Context::new(opaque.stack.limit(), opaque.helpers.as_ptr());
    context.host = root.as_ptr().cast();
    // SAFETY: the block is at least as large and as aligned as a context, which is its first part.
    unsafe { data.block.context().write(context) };
    data.block.write(layout::INSTANCE, u64::from(index));
    let (tables, memory) = (data.tables.clone(), data.memory);
    opaque.instances.push(data);
    for table in tables {
        opaque.use_table(table, index)?;
    }
    if let Some(memory) = memory {
        opaque.use_memory(memory, index);
    }
    Ok(index)
}

/// Gives globals and tables their values and puts active segments in place: first elements, then data, each in order.
fn initialize(store: &mut Opaque, instance: u32) -> Result<()> {
    let module = store.instances[instance as usize].module.clone();
    let description = module.description();
    for (global, index) in description.globals.iter().zip(0..) {
        if let Some(init) = &global.init {
            let [low, high] = store.evaluate(instance, init)?;
            let block = &mut store.instances[instance as usize].block;
            block.write(module.layout().global(index), low);
            if crate::value::width(global.ty.content()) == 2 {
                block.write(module.layout().global(index) + 8, high);
            }
        }
    }
    for item in description.exports.values() {
        match item {
            Item::Function(index) => drop(store.instance_function(instance, *index)?),
            Item::Global(index) => drop(store.instance_global(instance, *index)),
            _ => {}
        }
    }
    for (table, index) in description.tables.iter().zip(0u64..) {
        let word = match &table.init {
            Some(init) => store.evaluate(instance, init)?[0],
            None => 0,
        };
        if word != 0 {
            store.table_fill(instance, [0, word, table.ty.minimum(), index])?;
        }
    }
    for (segment, index) in description.elements.iter().zip(0u64..) {
        match &segment.placement {
            Placement::Active {
                index: table,
                offset,
            } => {
                let [offset, _] = store.evaluate(instance, offset)?;
                let count = segment.items.len() as u64;
                store.table_init(instance, [offset, 0, count, index, u64::from(*table)])?;
                store.elem_drop(instance, [index])?;
            }
            Placement::Declared => store.elem_drop(instance, [index])?,
            Placement::Passive => {}
        }
    }
    for index in 0..description.data.len() as u32 {
        let Some((place, bytes)) = description.data.get(index) else {
            continue;
        };
        let address = match place {
            Place::At(address) => u64::from(address),
            Place::Computed(address) => store.evaluate(instance, address)?[0],
            Place::Passive => continue,
        };
        store.place_data(instance, address, bytes)?;
        store.data_drop(instance, [u64::from(index)])?;
    }
    Ok(())
}
