//! What an instance consists of, apart from the embedder's part: context, memory, tables, and which segments are left.
#![allow(unsafe_code)] // The context is shared with compiled code, so it is reached through a pointer.

use std::ffi::c_void;
use std::ptr::NonNull;

use copatch::{Context, Helper, ValueType};

use crate::error::{Error, Trap, TrapCode};
use crate::layout::{Layout, MEMORY_BYTES};
use crate::memory::LinearMemory;
use crate::module::{GlobalSource, Init, Module, Placement};
use crate::table::{Entry, Table};
use crate::value::Value;

/// The words that compiled code reaches through its context register.
#[derive(Debug)]
pub(crate) struct ContextBlock {
    words: NonNull<u64>,
    count: usize,
}

impl ContextBlock {
    /// A block of `bytes` zero bytes.
    fn new(bytes: u32) -> Self {
        let words = vec![0u64; (bytes as usize).div_ceil(8)].into_boxed_slice();
        let count = words.len();
        // Kept as a pointer: compiled code and helpers read and write it while Rust holds references to its owner.
        let words = NonNull::from(Box::leak(words)).cast();
        Self { words, count }
    }

    pub fn context(&self) -> *mut Context {
        self.words.as_ptr().cast()
    }

    /// Reads the word at a byte offset, a multiple of 8.
    pub fn read(&self, offset: u32) -> u64 {
        let index = offset as usize / 8;
        assert!(index < self.count, "offset {offset} outside the context");
        // SAFETY: inside the allocation, as just checked, and initialised when it was made. Nothing else accesses it at
        // the same time: compiled code runs only on the thread that holds the instance, and not while Rust code does.
        unsafe { self.words.add(index).read() }
    }

    /// Writes the word at a byte offset, a multiple of 8.
    pub fn write(&mut self, offset: u32, value: u64) {
        let index = offset as usize / 8;
        assert!(index < self.count, "offset {offset} outside the context");
        // SAFETY: as in `read`.
        unsafe { self.words.add(index).write(value) }
    }
}

impl Drop for ContextBlock {
    fn drop(&mut self) {
        let words = std::ptr::slice_from_raw_parts_mut(self.words.as_ptr(), self.count);
        // SAFETY: made from a box of exactly this slice in `new`, and not used any more.
        drop(unsafe { Box::from_raw(words) });
    }
}

/// Why a helper failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Trap(TrapCode),
    Error(Error),
}

impl From<TrapCode> for Failure {
    fn from(code: TrapCode) -> Self {
        Failure::Trap(code)
    }
}

/// An instance without the embedder's part.
#[derive(Debug)]
pub(crate) struct State {
    pub module: Module,
    pub block: ContextBlock,
    pub memory: Option<LinearMemory>,
    pub tables: Vec<Table>,
    /// Whether each data segment was dropped.
    pub dropped_data: Vec<bool>,
    /// Whether each element segment was dropped.
    pub dropped_elements: Vec<bool>,
    /// What the helper that just failed failed with.
    pub failure: Option<Failure>,
    layout: Layout,
}

impl State {
    /// Memory, tables and globals of a new instance; segments are not yet in place.
    ///
    /// `imported` are the values of imported globals, `helpers` the table that compiled code calls helpers through,
    /// `stack_limit` the end of its stack.
    pub fn new(
        module: &Module,
        imported: &[Value],
        helpers: &'static [Helper],
        stack_limit: *mut u8,
    ) -> Result<Self, Error> {
        let description = module.description();
        let layout = Layout::of(description);
        let block = ContextBlock::new(layout.size());
        // SAFETY: the block is at least as large and as aligned as a context, which is its first part.
        unsafe {
            block
                .context()
                .write(Context::new(stack_limit, helpers.as_ptr()))
        };
        let memory = description
            .memory
            .as_ref()
            .map(LinearMemory::new)
            .transpose()
            .map_err(copatch::Error::from)?;
        let mut tables = Vec::new();
        for limits in &description.tables {
            let table = Table::new(limits.initial as usize).ok_or_else(|| Error::Memory {
                what: "table",
                reason: format!("no memory for {} elements", limits.initial),
            })?;
            tables.push(table);
        }
        let mut state = Self {
            module: module.clone(),
            block,
            memory,
            tables,
            dropped_data: vec![false; description.data.len()],
            dropped_elements: vec![false; description.elements.len()],
            failure: None,
            layout,
        };
        state.publish_memory_size();
        for (table, index) in state.tables.iter_mut().zip(0..) {
            let [entries, length] = table.descriptor();
            let offset = layout.table(index);
            state.block.write(offset, entries);
            state.block.write(offset + 8, length);
        }
        let mut imported = imported.iter();
        for (global, index) in description.globals.iter().zip(0..) {
            let value = match &global.source {
                GlobalSource::Import { .. } => imported.next().map_or(0, |value| value.to_slot()),
                GlobalSource::Init(init) => state.evaluate(*init),
            };
            state.block.write(layout.global(index), value);
        }
        Ok(state)
    }

    /// The state that a context belongs to.
    ///
    /// # Safety
    /// `context` must be the context of an instance that is running, and no other reference to its state may be in use
    /// as long as the result is.
    pub unsafe fn of<'a>(context: *mut Context) -> &'a mut State {
        // SAFETY: the caller vouches for both; `host` was set by `Instance` to a structure that begins with the state.
        unsafe { &mut *(*context).host.cast::<State>() }
    }

    /// Tells helpers where the instance is, and gives what was there before.
    pub fn set_host(&mut self, host: *mut c_void) -> *mut c_void {
        // SAFETY: the context is alive as long as the block.
        unsafe { std::mem::replace(&mut (*self.block.context()).host, host) }
    }

    /// Writes the size of memory to where compiled code reads it.
    pub fn publish_memory_size(&mut self) {
        let bytes = self.memory.as_ref().map_or(0, LinearMemory::len);
        self.block.write(MEMORY_BYTES, bytes as u64);
    }

    /// The bits of a constant expression; 0 for references, which globals cannot hold.
    fn evaluate(&self, init: Init) -> u64 {
        match init {
            Init::Value(value) => value.to_slot(),
            Init::Global(index) => self.block.read(self.layout.global(index)),
            Init::Function(_) | Init::Null => 0,
        }
    }

    /// The value of a global.
    pub fn global(&self, index: u32) -> Option<Value> {
        let global = self.module.description().globals.get(index as usize)?;
        Value::from_slot(global.ty, self.block.read(self.layout.global(index)))
    }

    /// Puts active segments in place: first elements, then data, each in order.
    pub fn place_segments(&mut self) -> Result<(), Error> {
        let module = self.module.clone();
        let mut place = || -> Result<(), Failure> {
            for (segment, index) in module.description().elements.iter().zip(0..) {
                match &segment.placement {
                    Placement::Active {
                        index: table,
                        offset,
                    } => {
                        let offset = self.evaluate(*offset) as u32;
                        self.table_init([offset, 0, segment.items.len() as u32, index, *table])?;
                        self.dropped_elements[index as usize] = true;
                    }
                    Placement::Declared => self.dropped_elements[index as usize] = true,
                    Placement::Passive => {}
                }
            }
            for (segment, index) in module.description().data.iter().zip(0..) {
                if let Placement::Active { offset, .. } = &segment.placement {
                    let offset = self.evaluate(*offset) as u32;
                    self.memory_init([offset, 0, segment.bytes.len() as u32, index])?;
                    self.dropped_data[index as usize] = true;
                }
            }
            Ok(())
        };
        place().map_err(|failure| match failure {
            Failure::Trap(code) => Error::Trap(Trap {
                code,
                function: None,
                name: None,
                offset: None,
            }),
            Failure::Error(error) => error,
        })
    }

    /// `memory.grow`: the size before in pages, or -1.
    pub fn memory_grow(&mut self, [delta]: [u32; 1]) -> Result<u32, Failure> {
        let before = self
            .memory
            .as_mut()
            .and_then(|memory| memory.grow(u64::from(delta)));
        self.publish_memory_size();
        Ok(before.unwrap_or(u32::MAX))
    }

    /// `memory.fill` of `[to, byte, length]`.
    pub fn memory_fill(&mut self, [to, byte, len]: [u32; 3]) -> Result<(), Failure> {
        let memory = self.memory.as_mut().ok_or(TrapCode::MemoryOutOfBounds)?;
        let range = memory.range(to, len).ok_or(TrapCode::MemoryOutOfBounds)?;
        memory.bytes_mut()[range].fill(byte as u8);
        Ok(())
    }

    /// `memory.copy` of `[to, from, length]`.
    pub fn memory_copy(&mut self, [to, from, len]: [u32; 3]) -> Result<(), Failure> {
        let memory = self.memory.as_mut().ok_or(TrapCode::MemoryOutOfBounds)?;
        let target = memory.range(to, len).ok_or(TrapCode::MemoryOutOfBounds)?;
        let source = memory.range(from, len).ok_or(TrapCode::MemoryOutOfBounds)?;
        memory.bytes_mut().copy_within(source, target.start);
        Ok(())
    }

    /// `memory.init` of `[to, from, length, segment]`.
    pub fn memory_init(&mut self, [to, from, len, segment]: [u32; 4]) -> Result<(), Failure> {
        let segment = segment as usize;
        let dropped = self.dropped_data.get(segment).copied().unwrap_or(true);
        let bytes: &[u8] = match self.module.description().data.get(segment) {
            Some(data) if !dropped => &data.bytes,
            _ => &[],
        };
        let from = from as usize;
        let source = bytes
            .get(from..from + len as usize)
            .ok_or(TrapCode::MemoryOutOfBounds)?;
        let memory = self.memory.as_mut().ok_or(TrapCode::MemoryOutOfBounds)?;
        let target = memory.range(to, len).ok_or(TrapCode::MemoryOutOfBounds)?;
        memory.bytes_mut()[target].copy_from_slice(source);
        Ok(())
    }

    /// `data.drop`.
    pub fn data_drop(&mut self, [segment]: [u32; 1]) -> Result<(), Failure> {
        if let Some(dropped) = self.dropped_data.get_mut(segment as usize) {
            *dropped = true;
        }
        Ok(())
    }

    /// `table.init` of `[to, from, length, segment, table]`.
    pub fn table_init(&mut self, [to, from, len, segment, table]: [u32; 5]) -> Result<(), Failure> {
        let segment = segment as usize;
        let dropped = self.dropped_elements.get(segment).copied().unwrap_or(true);
        let items: &[Init] = match self.module.description().elements.get(segment) {
            Some(elements) if !dropped => &elements.items,
            _ => &[],
        };
        let from = from as usize;
        let source = items
            .get(from..from + len as usize)
            .ok_or(TrapCode::TableOutOfBounds)?;
        let table = self
            .tables
            .get_mut(table as usize)
            .ok_or(TrapCode::TableOutOfBounds)?;
        let target = table.range_mut(to, len).ok_or(TrapCode::TableOutOfBounds)?;
        for (entry, item) in target.iter_mut().zip(source) {
            *entry = match item {
                Init::Function(function) => reference(&self.module, *function)?,
                _ => Entry::NULL,
            };
        }
        Ok(())
    }

    /// `table.copy` of `[to, from, length, table to, table from]`.
    pub fn table_copy(&mut self, [to, from, len, into, out_of]: [u32; 5]) -> Result<(), Failure> {
        if into == out_of {
            let table = self
                .tables
                .get_mut(into as usize)
                .ok_or(TrapCode::TableOutOfBounds)?;
            return Ok(table
                .copy_within(to, from, len)
                .ok_or(TrapCode::TableOutOfBounds)?);
        }
        let tables = self
            .tables
            .get_disjoint_mut([into as usize, out_of as usize]);
        let [into, out_of] = tables.map_err(|_| TrapCode::TableOutOfBounds)?;
        let source = out_of.range(from, len).ok_or(TrapCode::TableOutOfBounds)?;
        into.range_mut(to, len)
            .ok_or(TrapCode::TableOutOfBounds)?
            .copy_from_slice(source);
        Ok(())
    }

    /// `elem.drop`.
    pub fn elem_drop(&mut self, [segment]: [u32; 1]) -> Result<(), Failure> {
        if let Some(dropped) = self.dropped_elements.get_mut(segment as usize) {
            *dropped = true;
        }
        Ok(())
    }

    /// The type of an exported or imported global.
    pub fn global_type(&self, index: u32) -> Option<(ValueType, bool)> {
        self.module
            .description()
            .globals
            .get(index as usize)
            .map(|global| (global.ty, global.mutable))
    }

    /// Changes a global; the value must have its type.
    pub fn set_global(&mut self, index: u32, value: Value) {
        self.block.write(self.layout.global(index), value.to_slot());
    }
}

/// A reference to a function of the module.
fn reference(module: &Module, function: u32) -> Result<Entry, Failure> {
    match (
        module.program().entry(function),
        module.signature_number(function),
    ) {
        (Some(code), Some(signature)) => Ok(Entry::new(code, signature, function)),
        _ => Err(Failure::Error(Error::Engine(copatch::Error::Internal {
            what: format!("function {function} has no code"),
        }))),
    }
}
