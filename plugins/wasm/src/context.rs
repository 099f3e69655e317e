//! The words of an instance that compiled code reaches through its context register.
#![allow(unsafe_code)] // Shared with compiled code, so reached through a pointer.

use std::ptr::NonNull;

use copatch::Context;

/// Words shared with compiled code, at a multiple of 16 bytes.
#[derive(Debug)]
pub(crate) struct Words {
    words: NonNull<u128>,
    count: usize,
}

impl Words {
    /// `bytes` zero bytes, or a few more.
    pub fn new(bytes: u32) -> Self {
        let words = vec![0u128; (bytes as usize).div_ceil(16)].into_boxed_slice();
        let count = words.len();
        // Kept as a pointer: compiled code and helpers read and write it while Rust holds references to its owner.
        let words = NonNull::from(Box::leak(words)).cast();
        Self { words, count }
    }

    pub fn context(&self) -> *mut Context {
        self.words.as_ptr().cast()
    }

    /// The word at a byte offset, a multiple of 8.
    pub fn at(&self, offset: u32) -> NonNull<u64> {
        let index = offset as usize / 8;
        assert!(
            index < self.count * 2,
            "offset {offset} outside the context"
        );
        // SAFETY: inside the allocation, as just checked.
        unsafe { self.words.cast::<u64>().add(index) }
    }

    /// Writes the word at a byte offset, a multiple of 8.
    pub fn write(&mut self, offset: u32, value: u64) {
        // SAFETY: nothing else accesses it at the same time: compiled code runs only on the thread that holds the store, and
        // not while Rust code does.
        unsafe { self.at(offset).write(value) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        let words = std::ptr::slice_from_raw_parts_mut(self.words.as_ptr(), self.count);
        // SAFETY: made from a box of exactly this slice in `new`, and not used any more.
        drop(unsafe { Box::from_raw(words) });
    }
}
