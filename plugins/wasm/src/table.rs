//! Tables of functions.

/// What an element refers to; mirrors `struct entry` of `spec/isa/wasm/ops.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Entry {
    /// The address of the code.
    pub code: u64,
    /// The number of the function's type; 0 for a null reference.
    pub signature: u64,
    /// The function's index.
    pub function: u64,
    reserved: u64,
}

impl Entry {
    /// A null reference.
    pub const NULL: Entry = Entry {
        code: 0,
        signature: 0,
        function: 0,
        reserved: 0,
    };

    /// A reference to a function.
    pub fn new(code: usize, signature: u32, function: u32) -> Self {
        Entry {
            code: code as u64,
            signature: u64::from(signature),
            function: u64::from(function),
            reserved: 0,
        }
    }
}

/// A table; its size does not change.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
}

impl Table {
    /// A table of null references; `None` where memory cannot be had.
    pub fn new(length: usize) -> Option<Self> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(length).ok()?;
        entries.resize(length, Entry::NULL);
        Some(Self { entries })
    }

    /// Address and number of the entries, as compiled code finds them.
    pub fn descriptor(&mut self) -> [u64; 2] {
        [self.entries.as_mut_ptr() as u64, self.entries.len() as u64]
    }

    /// The `len` entries at `at`, if there are that many.
    pub fn range(&self, at: u32, len: u32) -> Option<&[Entry]> {
        let at = at as usize;
        self.entries.get(at..at.checked_add(len as usize)?)
    }

    /// The `len` entries at `at`, if there are that many.
    pub fn range_mut(&mut self, at: u32, len: u32) -> Option<&mut [Entry]> {
        let at = at as usize;
        self.entries.get_mut(at..at.checked_add(len as usize)?)
    }

    /// Copies `len` entries within the table; `None`, and nothing is done, if they are not all inside.
    pub fn copy_within(&mut self, to: u32, from: u32, len: u32) -> Option<()> {
        self.range(from, len)?;
        self.range(to, len)?;
        let from = from as usize;
        self.entries
            .copy_within(from..from + len as usize, to as usize);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_only_what_is_inside() {
        let mut table = Table::new(3).unwrap();
        let entry = Entry::new(16, 1, 5);
        table.range_mut(0, 1).unwrap()[0] = entry;
        assert_eq!(table.copy_within(1, 0, 2), Some(()));
        assert_eq!(table.range(0, 3).unwrap(), [entry, entry, Entry::NULL]);
        assert_eq!(table.copy_within(2, 0, 2), None);
        assert_eq!(table.copy_within(0, u32::MAX, 2), None);
        assert!(table.range(3, 0).is_some());
        assert!(table.range(4, 0).is_none());
    }
}
