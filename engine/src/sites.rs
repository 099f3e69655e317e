//! Where faults are traps. Most sites are loads and stores, a quarter of all stencils, so each is kept in one word where it lies
//! near the one before: what it takes to write and page in a list of them is felt in compile time.

use std::hint::cold_path;

use zerocopy::IntoBytes;

use crate::memory::Bulk;
use crate::program::TrapSite;

/// In place of a trap's number: code that calls a helper. A fault there is none of its own, and it cannot be left in the middle:
/// where C keeps few registers (riscv64), it has the context's, and those of C's that it uses instead, somewhere else.
pub(crate) const CALLS_OUT: u8 = u8::MAX;

/// A site with all it may have: two words follow, where it begins from the start of its function and its source.
const WIDE: u32 = 1 << 31;
/// The fields of other sites, from the lowest bits up: bytes covered, bytes between the site before and this one, how far
/// its source lies behind, and its trap.
const LENGTH_BITS: u32 = 7;
const NEAR_BITS: u32 = 9;
const KIND_BITS: u32 = 6;
/// Where the last of them begins.
const KIND: u32 = LENGTH_BITS + 2 * NEAR_BITS;
const _: () = assert!(KIND + KIND_BITS == 31);

/// The sites of one function.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Where the function begins, in bytes from the start of the code.
    code: u32,
    function: u32,
    /// Its first word.
    first: u32,
}

/// Trap sites in the making, in the order of the code, function by function.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    table: Table,
    /// Those of the function that was begun last.
    words: Vec<u32>,
    near: Near,
}

/// Where faults of a program are traps.
#[derive(Debug, Default)]
pub(crate) struct Table {
    blocks: Vec<Block>,
    words: Bulk,
}

/// Bytes of room for code for each byte of sites to come: a Go program has 3 MB of them, and 640 MB of room, of which it needs 15.
const CODE_FOR_SITES: usize = 256;
/// Bytes of a word.
const WORD: usize = size_of::<u32>();

/// What the next site is told relative to: the end of the one before, from the start of the code, and above it its source. Both are told
/// in one subtraction.
#[derive(Clone, Copy, Debug, Default)]
struct Near(u64);

impl Near {
    fn new(end: u32, source: u32) -> Self {
        Self(u64::from(end) | u64::from(source) << u32::BITS)
    }

    fn end(self) -> u32 {
        self.0 as u32
    }

    fn source(self) -> u32 {
        (self.0 >> u32::BITS) as u32
    }

    /// A site in one word, if it fits there.
    #[inline(always)]
    fn word(self, start: u32, length: u16, source: u32, kind: u8) -> Option<u32> {
        const NEAR: u64 = (1 << NEAR_BITS) - 1;
        // Where code went back, or the source, what is above the near bits is not zero.
        let apart = Self::new(start, source).0.wrapping_sub(self.0);
        let near = apart & !(NEAR | NEAR << u32::BITS) == 0;
        let (gap, delta) = (apart as u32, (apart >> (u32::BITS - NEAR_BITS)) as u32);
        let (length, kind) = (u32::from(length), u32::from(kind));
        const { assert!(KIND_BITS + 1 == LENGTH_BITS) };
        (near && (length | kind << 1) >> LENGTH_BITS == 0)
            .then_some(kind << KIND | (delta | gap) << LENGTH_BITS | length)
    }

    /// Goes on behind a site.
    #[inline(always)]
    fn pass(&mut self, start: u32, length: u16, source: u32) {
        *self = Self::new(start.wrapping_add(u32::from(length)), source);
    }
}

impl Sites {
    /// No sites yet, of code that may have so many bytes.
    pub fn of_code(bytes: usize) -> Self {
        let table = Table {
            words: Bulk::for_about(bytes / CODE_FOR_SITES),
            ..Table::default()
        };
        Self {
            table,
            ..Self::default()
        }
    }

    /// Begins a function, whose code lies behind all that is there.
    pub fn begin(&mut self, function: u32, code: u32) {
        self.settle();
        let first = self.table.len();
        self.table.blocks.push(Block {
            code,
            function,
            first,
        });
        self.near = Near::new(code, 0);
    }

    /// Adds a site behind all that are there, to the function that was begun last.
    #[inline(always)]
    pub fn push(&mut self, start: u32, length: u16, source: u32, kind: u8) {
        match self.near.word(start, length, source, kind) {
            // Asked before, so that the usual case calls nothing.
            Some(word) if self.words.len() < self.words.capacity() => {
                self.near.pass(start, length, source);
                self.words.push(word);
            }
            _ => {
                cold_path();
                self.push_any(start, length, source, kind);
            }
        }
    }

    #[inline(never)]
    fn push_any(&mut self, start: u32, length: u16, source: u32, kind: u8) {
        match self.near.word(start, length, source, kind) {
            Some(word) => self.words.push(word),
            None => {
                let begin = self.table.blocks.last().map_or(0, |block| block.code);
                let first = WIDE | u32::from(kind) << u16::BITS | u32::from(length);
                self.words
                    .extend([first, start.wrapping_sub(begin), source]);
            }
        }
        self.near.pass(start, length, source);
    }

    /// Puts those of the last function to the others.
    fn settle(&mut self) {
        self.table.words.extend(self.words.as_bytes());
        self.words.clear();
    }

    /// Puts the functions of another list behind, whose code was moved up by `distance` bytes. The other is empty afterwards.
    pub fn append(&mut self, other: &mut Self, distance: u32) {
        self.settle();
        other.settle();
        let words = self.table.len();
        let blocks = other.table.blocks.drain(..).map(|block| Block {
            code: block.code + distance,
            first: block.first + words,
            ..block
        });
        self.table.blocks.extend(blocks);
        self.table.words.extend(&other.table.words);
        other.table.words.clear();
    }

    /// All of them.
    pub fn finish(mut self) -> Table {
        self.settle();
        self.table
    }
}

impl Table {
    /// How many words there are.
    fn len(&self) -> u32 {
        (self.words.len() / WORD) as u32
    }

    /// The site that covers an offset in the code. Async-signal-safe: neither locks nor allocates. Takes as long as the
    /// function has sites.
    pub fn find(&self, offset: u32) -> Option<TrapSite> {
        let after = self.blocks.partition_point(|block| block.code <= offset);
        let block = self.blocks.get(after.checked_sub(1)?)?;
        let end = self.blocks.get(after).map_or(self.len(), |next| next.first);
        let words = WORD * block.first as usize..WORD * end as usize;
        let (words, []) = self.words.get(words)?.as_chunks() else {
            return None;
        };
        let (mut words, mut near) = (
            words.iter().map(|word| u32::from_ne_bytes(*word)),
            Near::new(block.code, 0),
        );
        while let Some(word) = words.next() {
            let bits = |from: u32, count: u32| word >> from & ((1 << count) - 1);
            let site = if word & WIDE == 0 {
                const DELTA: u32 = LENGTH_BITS + NEAR_BITS;
                TrapSite {
                    offset: near.end().wrapping_add(bits(LENGTH_BITS, NEAR_BITS)),
                    function: block.function,
                    source: near.source().wrapping_add(bits(DELTA, NEAR_BITS)),
                    length: bits(0, LENGTH_BITS) as u16,
                    kind: bits(KIND, KIND_BITS) as u8,
                }
            } else {
                TrapSite {
                    offset: block.code.wrapping_add(words.next()?),
                    function: block.function,
                    source: words.next()?,
                    length: word as u16,
                    kind: (word >> u16::BITS) as u8,
                }
            };
            if offset < site.offset {
                return None;
            }
            near.pass(site.offset, site.length, site.source);
            if offset < near.end() {
                return Some(site);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Functions of sites: a gap before each, its length, its source and its trap.
    fn functions() -> impl Strategy<Value = Vec<Vec<(u32, u32, u32, u8)>>> {
        let near = prop_oneof![0..4u32, 500..520u32, Just(1 << 20)];
        let length = prop_oneof![1..130u32, Just(1024)];
        let source = prop_oneof![0..1100u32, Just(u32::MAX), any::<u32>()];
        let kind = prop_oneof![0..4u8, 60..68u8, Just(254)];
        prop::collection::vec(
            prop::collection::vec((near, length, source, kind), 0..6),
            1..5,
        )
    }

    /// The sites as a list, and those that `into` was filled with; gives where the code ends.
    fn fill(
        functions: &[Vec<(u32, u32, u32, u8)>],
        first: u32,
        begin: u32,
        into: &mut Sites,
    ) -> (Vec<TrapSite>, u32) {
        let (mut all, mut at) = (Vec::new(), begin);
        for (function, sites) in (first..).zip(functions) {
            into.begin(function, at);
            for &(gap, length, source, kind) in sites {
                at += gap;
                into.push(at, length as u16, source, kind);
                all.push(TrapSite {
                    offset: at,
                    function,
                    source,
                    length: length as u16,
                    kind,
                });
                at += length;
            }
            at += 16;
        }
        (all, at)
    }

    fn check(sites: &Table, all: &[TrapSite]) -> Result<(), TestCaseError> {
        for site in all {
            let end = site.offset + u32::from(site.length);
            for offset in [site.offset, end - 1] {
                prop_assert_eq!(sites.find(offset), Some(*site));
            }
            for offset in [site.offset.wrapping_sub(1), end] {
                let covers = |other: &&TrapSite| {
                    (other.offset..other.offset + u32::from(other.length)).contains(&offset)
                };
                prop_assert_eq!(sites.find(offset), all.iter().find(covers).copied());
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_site_is_found_where_it_lies(functions in functions(), begin in 0..100u32) {
            let mut sites = Sites::default();
            let (all, end) = fill(&functions, 7, begin, &mut sites);
            let sites = sites.finish();
            check(&sites, &all)?;
            prop_assert_eq!(sites.find(end), None);
            prop_assert_eq!(sites.find(u32::MAX), None);
        }

        #[test]
        fn joined_sites_are_found_where_they_moved(a in functions(), b in functions()) {
            let (mut sites, mut part) = (Sites::default(), Sites::default());
            let (mut all, end) = fill(&a, 0, 0, &mut sites);
            let (behind, _) = fill(&b, a.len() as u32, 0, &mut part);
            sites.append(&mut part, end);
            all.extend(behind.into_iter().map(|site| TrapSite { offset: site.offset + end, ..site }));
            check(&sites.finish(), &all)?;
            let part = part.finish();
            prop_assert!(part.blocks.is_empty() && part.words.is_empty());
        }
    }
}
