//! Tables.

use crate::types::TableType;

/// An element; mirrors `struct entry` of `spec/isa/wasm/ops.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Entry {
    /// The reference.
    pub object: u64,
    /// The number of the function's type; 0 for a null reference, and for what is no function.
    signature: u64,
    /// Code for everybody who uses the table.
    code: u64,
    reserved: u64,
}

impl Entry {
    /// A reference that is null, or to no function.
    pub const fn plain(object: u64) -> Self {
        Self {
            object,
            signature: 0,
            code: 0,
            reserved: 0,
        }
    }

    /// A reference to a function.
    pub fn function(object: u64, signature: u32, code: usize) -> Self {
        Self {
            object,
            signature: u64::from(signature),
            code: code as u64,
            reserved: 0,
        }
    }
}

/// The elements of a table.
#[derive(Debug)]
pub(crate) struct Table {
    pub ty: TableType,
    entries: Vec<Entry>,
    /// The instances that use it, each once.
    pub users: Vec<u32>,
}

impl Table {
    /// A table of null references; `None` where memory cannot be had.
    pub fn new(ty: TableType) -> Option<Self> {
        let mut table = Self {
            ty,
            entries: Vec::new(),
            users: Vec::new(),
        };
        table.extend(ty.minimum(), Entry::plain(0))?;
        Some(table)
    }

    fn extend(&mut self, delta: u64, entry: Entry) -> Option<()> {
        let delta = usize::try_from(delta).ok()?;
        self.entries.try_reserve(delta).ok()?;
        self.entries.resize(self.entries.len() + delta, entry);
        Some(())
    }

    /// Adds `delta` elements; `None`, and nothing is done, beyond the maximum, `limit`, or the memory there is.
    pub fn grow(&mut self, delta: u64, entry: Entry, limit: u64) -> Option<()> {
        let limit = self.ty.maximum().unwrap_or(limit).min(limit);
        self.len().checked_add(delta).filter(|len| *len <= limit)?;
        self.extend(delta, entry)
    }

    /// Elements now.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Address and number of the entries, as compiled code finds them.
    pub fn descriptor(&mut self) -> [u64; 2] {
        [self.entries.as_mut_ptr() as u64, self.entries.len() as u64]
    }

    /// All elements.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The `len` entries at `at`, if there are that many.
    pub fn range(&self, at: u64, len: u64) -> Option<&[Entry]> {
        let at = usize::try_from(at).ok()?;
        self.entries
            .get(at..at.checked_add(usize::try_from(len).ok()?)?)
    }

    /// The `len` entries at `at`, if there are that many.
    pub fn range_mut(&mut self, at: u64, len: u64) -> Option<&mut [Entry]> {
        let at = usize::try_from(at).ok()?;
        self.entries
            .get_mut(at..at.checked_add(usize::try_from(len).ok()?)?)
    }

    /// Copies `len` entries within the table; `None`, and nothing is done, if they are not all inside.
    pub fn copy_within(&mut self, to: u64, from: u64, len: u64) -> Option<()> {
        self.range(from, len)?;
        self.range(to, len)?;
        let (to, from, len) = (to as usize, from as usize, len as usize);
        self.entries.copy_within(from..from + len, to);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::RefType;

    #[test]
    fn copies_only_what_is_inside() {
        let mut table = Table::new(TableType::new(RefType::Func, 3, Some(4))).unwrap();
        let (entry, null) = (Entry::function(8, 16, 1), Entry::plain(0));
        table.range_mut(0, 1).unwrap()[0] = entry;
        assert_eq!(table.copy_within(1, 0, 2), Some(()));
        assert_eq!(table.range(0, 3).unwrap(), [entry, entry, null]);
        assert_eq!(table.copy_within(2, 0, 2), None);
        assert_eq!(table.copy_within(0, u64::MAX, 2), None);
        assert!(table.range(3, 0).is_some());
        assert!(table.range(4, 0).is_none());
    }

    #[test]
    fn grows_to_its_maximum_or_the_limit() {
        let mut table = Table::new(TableType::new(RefType::Func, 1, Some(4))).unwrap();
        assert_eq!(table.grow(2, Entry::function(8, 1, 16), 100), Some(()));
        assert_eq!(table.grow(2, Entry::plain(0), 100), None);
        assert_eq!(table.grow(1, Entry::plain(0), 3), None);
        assert_eq!(table.grow(u64::MAX, Entry::plain(0), 100), None);
        assert_eq!(table.len(), 3);
    }
}
