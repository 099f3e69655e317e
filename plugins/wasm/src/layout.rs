//! The context of an instance: the engine's words first, then WebAssembly's, as `spec/isa/wasm/ops.h` has them.

use crate::module::Description;

/// Byte offset of the size of linear memory in bytes.
pub(crate) const MEMORY_BYTES: u32 = 64;
/// Byte offset of the first table descriptor.
const TABLES: u32 = 128;
/// Bytes of a table descriptor: address of the entries, number of entries.
const TABLE: u32 = 16;
/// Bytes of a global.
const GLOBAL: u32 = 8;

/// Where tables and globals of a module lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    tables: u32,
    globals: u32,
}

impl Layout {
    /// The layout of a module's contexts.
    pub fn of(description: &Description) -> Self {
        // Validation limits tables to 100,000 and globals to 1,000,000, so no offset comes near 2^31.
        Self {
            tables: description.tables.len() as u32,
            globals: description.globals.len() as u32,
        }
    }

    /// Byte offset of the descriptor of a table.
    pub fn table(self, index: u32) -> u32 {
        TABLES + TABLE * index
    }

    /// Byte offset of a global.
    pub fn global(self, index: u32) -> u32 {
        TABLES + TABLE * self.tables + GLOBAL * index
    }

    /// Bytes of the whole context.
    pub fn size(self) -> u32 {
        self.global(self.globals)
    }
}
