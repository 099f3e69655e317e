//! Data sections as nearly all are: segments at a constant offset in the memory, or passive ones. Some modules have a hundred
//! thousand of them, and to read and validate each as if it could be anything takes a tenth of compiling those modules.

use crate::cursor::{Cursor, signed_in_word};
use crate::module::{Data, Place};

/// Segments of a module, at most: `wasmparser`'s limit.
const MAX_SEGMENTS: u32 = 100_000;
const I32_CONST: u8 = 0x41;
const END: u8 = 0x0b;

/// The segments of a data section whose contents are `section`, in which their bytes stand. `memory` says whether there is
/// one.
///
/// `None` for anything but the usual, valid or not: then `wasmparser` has to judge.
pub(crate) fn usual(section: &[u8], memory: bool) -> Option<Vec<Data>> {
    let mut cursor = Cursor::new(section, 0);
    let count = cursor.u32().ok()?;
    // A segment takes two bytes at least.
    if count > MAX_SEGMENTS || count as usize > section.len() / 2 {
        return None;
    }
    let mut segments = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let place = match short(cursor.rest()) {
            Some((address, length)) if memory => {
                cursor.take(length)?;
                Place::At(address)
            }
            _ => place(&mut cursor, memory)?,
        };
        let length = cursor.u32().ok()? as usize;
        let begin = section.len() - cursor.rest().len();
        cursor.take(length)?;
        // A module has fewer bytes than fit in 32 bits.
        segments.push(Data {
            place,
            bytes: begin as u32..(begin + length) as u32,
        });
    }
    cursor.rest().is_empty().then_some(segments)
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

/// The place of any segment.
#[inline(never)]
fn place(cursor: &mut Cursor<'_>, memory: bool) -> Option<Place> {
    match cursor.next()? {
        0 if memory => {
            let begins = cursor.next()? == I32_CONST;
            let address = cursor.i32().ok()?;
            (begins && cursor.next()? == END).then_some(Place::At(address as u32))
        }
        1 => Some(Place::Passive),
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
        let segments = usual(&section, true).expect("the usual");
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[0].bytes, 6..8);
        assert_eq!(segments[0].place, Place::At(5));
        assert_eq!(segments[1].bytes, 10..11);
        assert!(usual(&section, false).is_none(), "without a memory");
        for length in 0..section.len() {
            assert!(usual(&section[..length], true).is_none(), "{length} bytes");
        }
        assert!(usual(&[&section[..], &[0]].concat(), true).is_none());
        for (at, byte) in [(1, 2), (2, 0x23), (4, END - 1), (0, 3), (3, 0x80)] {
            let mut other = section;
            other[at] = byte;
            assert!(usual(&other, true).is_none(), "{byte:#x} at {at}");
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
                let segments = usual(&section, true).expect("the usual");
                assert_eq!(segments[0].place, Place::At(address as u32), "{address}");
                assert_eq!(segments[0].bytes.len(), 9, "{address}");
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
}
