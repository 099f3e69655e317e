//! The context of an instance: the engine's words first, then WebAssembly's, as `spec/isa/wasm/ops.h` has them.

use copatch::ValueType;

use crate::module::Description;

/// Byte offset of the size of linear memory in bytes.
pub(crate) const MEMORY_BYTES: u32 = 64;
/// Byte offset of the address of the table element that an indirect call found last.
pub(crate) const CALLEE: u32 = 72;
/// Byte offset of the instance's number in its store.
pub(crate) const INSTANCE: u32 = 80;
/// Byte offset of the first table descriptor.
const TABLES: u32 = 128;
/// Bytes of a table descriptor: address of the entries, number of entries.
const TABLE: u32 = 16;
/// Bytes of the address of a function or a global.
const ADDRESS: u32 = 8;

/// Where tables, imported functions and globals of a module lie.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    imports: u32,
    /// Offset of each global: of its value, or of its address if it lives elsewhere.
    globals: Box<[u32]>,
    size: u32,
}

impl Layout {
    /// The layout of a module's contexts.
    pub fn of(description: &Description) -> Self {
        // Validation limits tables to 100, functions and globals to 1,000,000 each, so no offset comes near 2^31.
        let imports = TABLES + TABLE * description.tables.len() as u32;
        let mut at = (imports + ADDRESS * description.imported_functions).next_multiple_of(16);
        let mut place = |bytes: u32| {
            at = at.next_multiple_of(bytes);
            at += bytes;
            at - bytes
        };
        let globals = description
            .globals
            .iter()
            .map(|global| match global.ty.content().code() {
                ValueType::V128 if !global.far() => place(16),
                _ => place(8),
            })
            .collect();
        Self {
            imports,
            globals,
            size: at,
        }
    }

    /// Byte offset of the descriptor of a table.
    pub fn table(&self, index: u32) -> u32 {
        TABLES + TABLE * index
    }

    /// Byte offset of the address of an imported function.
    pub fn import(&self, index: u32) -> u32 {
        self.imports + ADDRESS * index
    }

    /// Byte offset of a global, or of its address if it lives elsewhere.
    pub fn global(&self, index: u32) -> u32 {
        self.globals.get(index as usize).copied().unwrap_or(0)
    }

    /// Bytes of the whole context.
    pub fn size(&self) -> u32 {
        self.size
    }
}
