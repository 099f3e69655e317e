//! Damaged packs: what a fuzzer's bytes do to one, and opening what comes of it as a file would be opened.
#![allow(unsafe_code)] // Opens packs that nobody vouches for, and runs nothing of them.

use std::sync::Arc;

use copatch::Pack;
use copatch_spec::Operation;

use crate::choices::Choices;
use crate::dialect::Dialect;
use crate::edit::{reseal, sections};
use crate::execute::Compiled;
use crate::generate::generate;

/// Bytes of one change.
const CHANGE: usize = 6;

/// A pack after the changes that `data` stands for. Its first byte says whether digests vouch for them; then come six
/// bytes each: a section (beyond the last: anywhere), a place in it (four bytes) and a value.
pub fn damaged(pack: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = pack.to_vec();
    let Some((&seal, changes)) = data.split_first() else {
        return bytes;
    };
    let sections = sections(pack);
    let whole = 0..pack.len();
    for change in changes.chunks_exact(CHANGE) {
        let [section, place @ .., value] = change else {
            continue;
        };
        let range = sections.get(usize::from(*section)).unwrap_or(&whole);
        let place = place
            .iter()
            .fold(0, |place, byte| place << 8 | usize::from(*byte));
        let at = range.start + place % range.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = *value;
        }
    }
    if seal & 1 == 0 {
        reseal(&mut bytes);
    }
    bytes
}

/// Opens bytes as a file would be opened, and generates code where that works: it may be wrong, but it may not crash.
///
/// # Errors
/// Why the bytes are no pack, or no code can be generated from it.
pub fn open_and_compile(bytes: Vec<u8>) -> Result<(), String> {
    // SAFETY: code is generated from it, and not run.
    let pack: Arc<Pack> =
        unsafe { Pack::from_bytes("damaged", bytes) }.map_err(|error| error.to_string())?;
    let numbers: Vec<u64> = (0..200u64)
        .map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect();
    let program = generate(pack.metadata(), &Anything, &numbers);
    let compiled = Compiled {
        pack,
        planned: true,
    };
    let code = compiled.compile(&program, false);
    code.map(drop).map_err(|error| error.to_string())
}

/// Any immediate does for code that is not run.
struct Anything;

impl Dialect for Anything {
    fn immediates(&self, operation: &Operation, choices: &mut Choices) -> Option<Vec<i64>> {
        let immediates = operation.immediates.iter();
        let any = immediates.map(|ty| {
            let (lo, hi) = ty.range();
            (choices.bits() as i64).clamp(lo, hi)
        });
        Some(any.collect())
    }
}
