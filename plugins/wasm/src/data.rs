//! Data segments. They are kept as they stand in the module, and read when they are wanted.
//!
//! Nearly all are at a constant offset in the memory, or passive. Some modules have a hundred thousand of them, and to read and validate
//! each as if it could be anything takes a tenth of compiling those modules.

use std::collections::BTreeMap;

use copatch::Bulk;
use wasmparser::{DataKind, DataSectionReader};

use crate::cursor::{Cursor, signed_in_word};
use crate::error::Error;
use crate::module::{Init, constant};

/// Segments of a module, at most: `wasmparser`'s limit.
const MAX_SEGMENTS: u32 = 100_000;
const I32_CONST: u8 = 0x41;
const END: u8 = 0x0b;

/// The data segments of a module.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// The contents of the data section.
    section: Bulk,
    /// Where each segment begins in it.
    begins: Vec<u32>,
    /// Those that are not [`usual`](Self::usual).
    others: BTreeMap<u32, Other>,
}

/// An active segment whose address may be anything.
#[derive(Debug)]
struct Other {
    address: Init,
    /// Bytes of it before those that go into the memory.
    header: usize,
    length: usize,
}

/// Where a segment goes when the module is instantiated.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// To this address.
    At(u32),
    /// To the address that this is.
    Computed(&'a Init),
    /// Nowhere by itself.
    Passive,
}

impl Segments {
    /// The segments of a section with these contents; `memory` says whether there is one.
    ///
    /// `None` for anything but the usual, valid or not: then `wasmparser` has to judge.
    pub fn usual(section: &[u8], memory: bool) -> Option<Self> {
        let mut cursor = Cursor::new(section, 0);
        let count = cursor.u32().ok()?;
        // A segment takes two bytes at least.
        if count > MAX_SEGMENTS || count as usize > section.len() / 2 {
            return None;
        }
        let mut begins = Vec::with_capacity(count as usize);
        for _ in 0..count {
            // A module has fewer bytes than fit in 32 bits.
            begins.push((section.len() - cursor.rest().len()) as u32);
            segment(&mut cursor, memory)?;
        }
        cursor.rest().is_empty().then(|| Self {
            section: Bulk::from(section),
            begins,
            others: BTreeMap::new(),
        })
    }

    /// The segments of a section with these contents that `wasmparser` found valid.
    ///
    /// # Errors
    /// What cannot be read, or is not supported.
    pub fn judged(reader: DataSectionReader<'_>, section: &[u8]) -> Result<Self, Error> {
        let mut segments = Self {
            section: Bulk::from(section),
            begins: Vec::with_capacity(reader.count() as usize),
            others: BTreeMap::new(),
        };
        let first = reader.range().start;
        for (index, data) in (0..).zip(reader.into_iter_with_offsets()) {
            let (offset, data) = data?;
            // A module has fewer bytes than fit in 32 bits.
            let begin = (data.range.start - first) as usize;
            segments.begins.push(begin as u32);
            let usual = section.get(begin..).is_some_and(|rest| {
                let read = segment(&mut Cursor::new(rest, 0), true);
                read.is_some()
            });
            if let DataKind::Active { offset_expr, .. } = &data.kind
                && !usual
            {
                let other = Other {
                    address: constant(offset_expr, offset)?,
                    header: (data.range.end - data.range.start) as usize - data.data.len(),
                    length: data.data.len(),
                };
                segments.others.insert(index, other);
            }
        }
        Ok(segments)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.begins.len()
    }

    /// Where a segment goes, and its bytes; `None` if there is no such segment.
    pub fn get(&self, index: u32) -> Option<(Place<'_>, &[u8])> {
        let begin = *self.begins.get(index as usize)? as usize;
        let rest = self.section.get(begin..)?;
        if !self.others.is_empty()
            && let Some(other) = self.others.get(&index)
        {
            let bytes = rest.get(other.header..)?.get(..other.length)?;
            return Some((Place::Computed(&other.address), bytes));
        }
        let (address, bytes) = segment(&mut Cursor::new(rest, 0), true)?;
        Some((address.map_or(Place::Passive, Place::At), bytes))
    }
}

/// A segment of the usual kind, which is passed over: its address, unless it is passive, and its bytes.
#[inline(always)]
fn segment<'a>(cursor: &mut Cursor<'a>, memory: bool) -> Option<(Option<u32>, &'a [u8])> {
    let address = match short(cursor.rest()) {
        Some((address, length)) if memory => {
            cursor.take(length)?;
            Some(address)
        }
        _ => address(cursor, memory)?,
    };
    let length = cursor.u32().ok()? as usize;
    Some((address, cursor.take(length)?))
}

/// The address of an active segment at the beginning of `bytes` that is written in up to four bytes, and the bytes up to the
/// segment's length.
#[inline(always)]
fn short(bytes: &[u8]) -> Option<(u32, usize)> {
    let [0, I32_CONST, address @ ..] = bytes else {
        return None;
    };
    let (address, length) = signed_in_word(address, 4)?;
    let begin = 2 + length as usize;
    (bytes.get(begin) == Some(&END)).then_some((address as u32, begin + 1))
}

/// The address of any such segment, or that it has none.
#[inline(never)]
fn address(cursor: &mut Cursor<'_>, memory: bool) -> Option<Option<u32>> {
    match cursor.next()? {
        0 if memory => {
            let begins = cursor.next()? == I32_CONST;
            let address = cursor.i32().ok()?;
            (begins && cursor.next()? == END).then_some(Some(address as u32))
        }
        1 => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, Module};

    #[test]
    fn the_usual_is_read_and_all_else_left_to_others() {
        // Active at 5 with two bytes, passive with one.
        let section = [2, 0, I32_CONST, 5, END, 2, 7, 8, 1, 1, 9];
        let segments = Segments::usual(&section, true).expect("the usual");
        assert_eq!(segments.len(), 2);
        assert!(matches!(segments.get(0), Some((Place::At(5), [7, 8]))));
        assert!(matches!(segments.get(1), Some((Place::Passive, [9]))));
        assert!(segments.get(2).is_none());
        assert!(
            Segments::usual(&section, false).is_none(),
            "without a memory"
        );
        for length in 0..section.len() {
            assert!(
                Segments::usual(&section[..length], true).is_none(),
                "{length} bytes"
            );
        }
        assert!(Segments::usual(&[&section[..], &[0]].concat(), true).is_none());
        for (at, byte) in [(1, 2), (2, 0x23), (4, END - 1), (0, 3), (3, 0x80)] {
            let mut other = section;
            other[at] = byte;
            assert!(Segments::usual(&other, true).is_none(), "{byte:#x} at {at}");
        }
    }

    #[test]
    fn addresses_of_every_length_are_read() {
        for address in [0, 63, 64, 8191, 8192, 1 << 20, 1 << 27, i32::MAX] {
            for address in [address, -address, !address] {
                let mut section = vec![1, 0, I32_CONST];
                let mut rest = address;
                while !(-64..64).contains(&rest) {
                    section.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                section.extend([rest as u8 & 0x7f, END, 9]);
                section.extend([7; 9]);
                let segments = Segments::usual(&section, true).expect("the usual");
                let Some((Place::At(found), [7, ..])) = segments.get(0) else {
                    panic!("{address}")
                };
                assert_eq!(found, address as u32);
            }
        }
    }

    /// A module with that data section is taken exactly if `wasmparser` takes it.
    #[test]
    fn changed_sections_are_judged_as_by_wasmparser() {
        let section = [2, 0, I32_CONST, 0x85, 0, END, 2, 7, 8, 1, 1, 9];
        let engine = Engine::default();
        let mut accepted = 0;
        for at in 0..section.len() {
            for byte in 0..=255 {
                let mut changed = section;
                changed[at] = byte;
                let mut module = b"\0asm\x01\0\0\0\x05\x03\x01\x00\x01\x0b".to_vec();
                module.push(changed.len() as u8);
                module.extend(changed);
                let expected = Module::validate(&engine, &module).is_ok();
                let found = Module::new(&engine, &module).is_ok();
                assert_eq!(found, expected, "{byte:#x} at {at}");
                accepted += usize::from(found);
            }
        }
        assert!(accepted > 500, "{accepted}");
    }

    /// Segments that only `wasmparser` can read, between those that are usual.
    #[test]
    fn segments_of_every_kind_are_found_again() {
        let engine = Engine::default();
        let module = wat::parse_str(
            r#"(module (import "" "at" (global $at i32)) (memory 1)
                (data (i32.const 300) "one")
                (data (global.get $at) "two")
                (data "three")
                (data (i32.add (global.get $at) (i32.const 1)) "")
                (data (i32.const -1) "five"))"#,
        )
        .expect("a module");
        let module = Module::new(&engine, module).expect("a valid module");
        let data = &module.description().data;
        assert_eq!(data.len(), 5);
        assert!(matches!(data.get(0), Some((Place::At(300), b"one"))));
        let second = data.get(1).expect("a segment");
        assert!(matches!(second, (Place::Computed(Init::Global(0)), b"two")));
        assert!(matches!(data.get(2), Some((Place::Passive, b"three"))));
        let fourth = data.get(3).expect("a segment");
        assert!(matches!(fourth, (Place::Computed(Init::Steps(_)), b"")));
        assert!(matches!(data.get(4), Some((Place::At(u32::MAX), b"five"))));
        assert!(data.get(5).is_none());
    }
}
