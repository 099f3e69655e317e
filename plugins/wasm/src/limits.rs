//! Limits that the embedder sets.

use crate::error::{Error, Result};
use crate::opaque::Opaque;

/// Asked before memories and tables are made or grow, and before instances are made.
pub trait ResourceLimiter {
    /// Whether a memory may have `desired` bytes; it has `current`, and may never have more than `maximum` by its type.
    ///
    /// # Errors
    /// An error ends the program; `Ok(false)` only fails `memory.grow`, or the instantiation.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Whether a table may have `desired` elements; it has `current`, and may never have more than `maximum` by its type.
    ///
    /// # Errors
    /// As for memories.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Instances that a store may have.
    fn instances(&self) -> usize {
        10_000
    }

    /// Tables that a store may have.
    fn tables(&self) -> usize {
        10_000
    }

    /// Memories that a store may have.
    fn memories(&self) -> usize {
        10_000
    }
}

/// A request to a [`ResourceLimiter`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Growth {
    Memory {
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    },
    Table {
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    },
    /// So many of each in all.
    Counts {
        instances: usize,
        tables: usize,
        memories: usize,
    },
}

impl Growth {
    /// What a store has, and so many more instances, tables and memories.
    pub fn counts(store: &Opaque, [instances, tables, memories]: [usize; 3]) -> Self {
        Growth::Counts {
            instances: store.instances.len() + instances,
            tables: store.tables.len() + tables,
            memories: store.memories.len() + memories,
        }
    }

    pub fn ask(self, limiter: &mut dyn ResourceLimiter) -> Result<bool> {
        let within = |count: usize, limit: usize, what: &str| match count > limit {
            true => Err(Error::Limit {
                what: format!("{count} {what} in a store, more than {limit}"),
                offset: 0,
            }),
            false => Ok(()),
        };
        match self {
            Growth::Memory {
                current,
                desired,
                maximum,
            } => limiter.memory_growing(current, desired, maximum),
            Growth::Table {
                current,
                desired,
                maximum,
            } => limiter.table_growing(current, desired, maximum),
            Growth::Counts {
                instances,
                tables,
                memories,
            } => {
                within(instances, limiter.instances(), "instances")?;
                within(tables, limiter.tables(), "tables")?;
                within(memories, limiter.memories(), "memories")?;
                Ok(true)
            }
        }
    }
}

/// Fixed limits, made by a [`StoreLimitsBuilder`].
#[derive(Clone, Debug)]
pub struct StoreLimits {
    memory_size: Option<usize>,
    table_elements: Option<usize>,
    instances: usize,
    tables: usize,
    memories: usize,
    trap: bool,
}

/// Sets limits; what is not set is not limited but by [`ResourceLimiter`]'s defaults.
#[derive(Clone, Debug, Default)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// No limits so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that each memory may have.
    #[must_use]
    pub fn memory_size(mut self, bytes: usize) -> Self {
        self.0.memory_size = Some(bytes);
        self
    }

    /// Elements that each table may have.
    #[must_use]
    pub fn table_elements(mut self, elements: usize) -> Self {
        self.0.table_elements = Some(elements);
        self
    }

    /// Instances that the store may have.
    #[must_use]
    pub fn instances(mut self, count: usize) -> Self {
        self.0.instances = count;
        self
    }

    /// Tables that the store may have.
    #[must_use]
    pub fn tables(mut self, count: usize) -> Self {
        self.0.tables = count;
        self
    }

    /// Memories that the store may have.
    #[must_use]
    pub fn memories(mut self, count: usize) -> Self {
        self.0.memories = count;
        self
    }

    /// Whether a memory or a table that cannot grow ends the program with an error, instead of telling it.
    #[must_use]
    pub fn trap_on_grow_failure(mut self, trap: bool) -> Self {
        self.0.trap = trap;
        self
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            memory_size: None,
            table_elements: None,
            instances: 10_000,
            tables: 10_000,
            memories: 10_000,
            trap: false,
        }
    }
}

impl StoreLimits {
    fn grown(&self, what: &str, desired: usize, limit: Option<usize>) -> Result<bool> {
        match limit {
            Some(limit) if desired > limit && self.trap => Err(Error::Limit {
                what: format!("{what} of {desired}, more than {limit}"),
                offset: 0,
            }),
            Some(limit) => Ok(desired <= limit),
            None => Ok(true),
        }
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        self.grown("bytes of a memory", desired, self.memory_size)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        self.grown("elements of a table", desired, self.table_elements)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
