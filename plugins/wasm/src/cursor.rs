//! Reading the binary format: bytes and LEB128 integers of one function body, never beyond its end.

use std::hint::cold_path;

use crate::validate::{Check, Fault, invalid};

/// A place in a function body.
///
/// Where the caller has seen that enough bytes are left, the compiler leaves the checks of their number out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// The offset in the module of the body's end.
    end: u32,
}

impl<'a> Cursor<'a> {
    /// A cursor at the beginning of `bytes`, which end at `end` in the module.
    pub fn new(bytes: &'a [u8], end: u32) -> Self {
        Self { rest: bytes, end }
    }

    /// The offset in the module of the next byte.
    #[inline(always)]
    pub fn offset(&self) -> u32 {
        self.end.wrapping_sub(self.rest.len() as u32)
    }

    /// What makes a cursor of the same place. Passed on like this it stays in registers: as a whole it is put together in memory and
    /// read from there before that is in the cache.
    #[inline(always)]
    pub fn parts(&self) -> (&'a [u8], u32) {
        (self.rest, self.end)
    }

    /// What was not read yet.
    #[inline(always)]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes on where another cursor of the same body is. That they end alike is not asked of the other, so that the compiler knows it.
    #[inline(always)]
    pub fn go_on(&mut self, at: Self) {
        self.rest = at.rest;
    }

    #[inline(always)]
    pub fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// Passes over a byte that was looked at.
    #[inline(always)]
    pub fn skip(&mut self) {
        self.next();
    }

    #[inline(always)]
    pub fn byte(&mut self) -> Check<u8> {
        self.next().ok_or_else(end)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn bytes<const N: usize>(&mut self) -> Check<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(end)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Passes over an integer of any size.
    #[inline(always)]
    pub fn skip_integer(&mut self) -> Check {
        match self.rest {
            [a, rest @ ..] if *a < 0x80 => {
                self.rest = rest;
                Ok(())
            }
            [_, b, rest @ ..] if *b < 0x80 => {
                self.rest = rest;
                Ok(())
            }
            _ => {
                let length = match self.rest.first_chunk().map(|word| last(*word)) {
                    Some(last @ 1..) => last.trailing_zeros() as usize / 8,
                    _ => {
                        let last = self.rest.iter().position(|byte| *byte < 0x80);
                        last.ok_or_else(end)?
                    }
                };
                self.advance(length + 1);
                Ok(())
            }
        }
    }

    /// Passes over two integers of one byte each; over nothing, and gives false, if one is longer.
    #[inline(always)]
    pub fn skip_short_pair(&mut self) -> bool {
        match self.rest {
            [a, b, rest @ ..] if (*a | *b) < 0x80 => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Passes over all blocks without parameters and results that begin here, one directly inside the other, and gives their number.
    #[inline(always)]
    pub fn skip_blocks(&mut self) -> usize {
        const BLOCK: [u8; 2] = [0x02, 0x40];
        const FOUR: [u8; 8] = [0x02, 0x40, 0x02, 0x40, 0x02, 0x40, 0x02, 0x40];
        let before = self.rest.len();
        while let Some((&FOUR, rest)) = self.rest.split_first_chunk() {
            self.rest = rest;
        }
        while let Some((&BLOCK, rest)) = self.rest.split_first_chunk() {
            self.rest = rest;
        }
        (before - self.rest.len()) / BLOCK.len()
    }

    /// Passes over `count` integers of any size.
    pub fn skip_integers(&mut self, mut count: u32) -> Check {
        // Eight bytes end at most eight integers.
        while count >= 8
            && let Some((word, rest)) = self.rest.split_first_chunk()
        {
            count -= last(*word).count_ones();
            self.rest = rest;
        }
        (0..count).try_for_each(|_| self.skip_integer())
    }

    #[inline(always)]
    fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// An unsigned integer of 32 bits.
    #[inline(always)]
    pub fn u32(&mut self) -> Check<u32> {
        match self.rest {
            [a, rest @ ..] if *a < 0x80 => {
                self.rest = rest;
                Ok(u32::from(*a))
            }
            [a, b, rest @ ..] if *b < 0x80 => {
                self.rest = rest;
                Ok(u32::from(*a & 0x7f) | u32::from(*b) << 7)
            }
            _ => {
                cold_path();
                let (value, length) = unsigned(self.rest)?;
                self.advance(length);
                Ok(value)
            }
        }
    }

    /// An unsigned integer of 32 bits that is hardly ever longer than a byte: the number of a variable, a depth.
    #[inline(always)]
    pub fn small(&mut self) -> Check<u32> {
        match self.rest {
            [a, rest @ ..] if *a < 0x80 => {
                self.rest = rest;
                Ok(u32::from(*a))
            }
            _ => {
                cold_path();
                let (value, length) = unsigned(self.rest)?;
                self.advance(length);
                Ok(value)
            }
        }
    }

    /// Two unsigned integers of 32 bits, the first of which is hardly ever longer than a byte.
    #[inline(always)]
    pub fn u32_pair(&mut self) -> Check<(u32, u32)> {
        // Each pattern tells the compiler anew how many bytes there are.
        match self.rest {
            [a, b, rest @ ..] if (*a | *b) < 0x80 => {
                self.rest = rest;
                Ok((u32::from(*a), u32::from(*b)))
            }
            [a, b, c, rest @ ..] if (*a | *c) < 0x80 => {
                self.rest = rest;
                Ok((u32::from(*a), u32::from(*b & 0x7f) | u32::from(*c) << 7))
            }
            _ => {
                cold_path();
                let (a, b, length) = pair(self.rest)?;
                self.advance(length);
                Ok((a, b))
            }
        }
    }

    /// A signed integer of 32 bits.
    #[inline(always)]
    pub fn i32(&mut self) -> Check<i32> {
        Ok(self.signed::<32>()? as i32)
    }

    /// A signed integer of 64 bits.
    #[inline(always)]
    pub fn i64(&mut self) -> Check<i64> {
        self.signed::<64>()
    }

    /// A signed integer of 33 bits.
    pub fn i33(&mut self) -> Check<i64> {
        self.signed::<33>()
    }

    #[inline(always)]
    fn signed<const BITS: u32>(&mut self) -> Check<i64> {
        match self.rest {
            [a, rest @ ..] if *a < 0x80 => {
                self.rest = rest;
                Ok(i64::from(*a) << 57 >> 57)
            }
            [a, b, rest @ ..] if *b < 0x80 => {
                self.rest = rest;
                Ok((i64::from(*a & 0x7f) | i64::from(*b) << 7) << 50 >> 50)
            }
            _ => {
                let (value, length) = signed(self.rest, BITS)?;
                self.advance(length);
                Ok(value)
            }
        }
    }
}

/// The highest bits of the bytes that end an integer: the lowest is that of the first integer's last byte.
#[inline(always)]
fn last(word: [u8; 8]) -> u64 {
    !u64::from_le_bytes(word) & 0x8080_8080_8080_8080
}

/// The bits of an integer in the first eight bytes, and its length; `None` if it does not end in them.
#[inline(always)]
fn in_word(bytes: &[u8]) -> Option<(u64, u32)> {
    let word = *bytes.first_chunk()?;
    let (word, last) = (u64::from_le_bytes(word), last(word));
    if last == 0 {
        return None;
    }
    let length = last.trailing_zeros() / 8 + 1;
    // Seven bits of each byte up to there: pairs, then fours, then all are put together.
    let bits = word & (last ^ (last - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
    let bits = (bits & 0x007f_007f_007f_007f) | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
    let bits = (bits & 0x0000_3fff_0000_3fff) | (bits & 0x3fff_0000_3fff_0000) >> 2;
    let bits = (bits & 0x0000_0000_0fff_ffff) | (bits & 0x0fff_ffff_0000_0000) >> 4;
    Some((bits, length))
}

/// A signed integer of up to `most` bytes, no more than eight, and its length.
#[inline(always)]
pub(crate) fn signed_in_word(bytes: &[u8], most: u32) -> Option<(i64, u32)> {
    let (bits, length) = in_word(bytes).filter(|(_, length)| *length <= most)?;
    let unused = u64::BITS - 7 * length;
    Some(((bits as i64) << unused >> unused, length))
}

/// An unsigned integer of 32 bits, and its length.
#[inline(never)]
fn unsigned(bytes: &[u8]) -> Check<(u32, usize)> {
    if let Some((bits, length @ ..=5)) = in_word(bytes) {
        let value = u32::try_from(bits).map_err(|_| too_long(0))?;
        return Ok((value, length as usize));
    }
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if index == 4 && *byte > 0x0f {
            return Err(too_long(*byte));
        }
        if *byte < 0x80 {
            return Ok((value, index + 1));
        }
    }
    Err(end())
}

/// Two of [`unsigned`], and their length.
#[inline(never)]
fn pair(bytes: &[u8]) -> Check<(u32, u32, usize)> {
    let (a, first) = unsigned(bytes)?;
    let (b, second) = unsigned(bytes.get(first..).unwrap_or_default())?;
    Ok((a, b, first + second))
}

/// A signed integer of `bits` bits, and its length.
#[inline(never)]
fn signed(bytes: &[u8], bits: u32) -> Check<(i64, usize)> {
    let last = (bits - 1) / 7;
    if let Some((value, length)) = signed_in_word(bytes, last) {
        return Ok((value, length as usize));
    }
    let mut value = 0;
    for (index, byte) in (0..=last).zip(bytes) {
        value |= i64::from(byte & 0x7f) << (7 * index);
        if *byte >= 0x80 && index < last {
            continue;
        }
        // Bits beyond the last one must repeat it.
        let unused = ((byte << 1) as i8) >> (bits - 7 * last).min(7);
        if index == last && (*byte >= 0x80 || (unused != 0 && unused != -1)) {
            return Err(too_long(*byte));
        }
        let shift = 64u32.saturating_sub(7 * (index + 1));
        return Ok((value << shift >> shift, index as usize + 1));
    }
    Err(end())
}

#[cold]
fn too_long(byte: u8) -> Box<Fault> {
    invalid(if byte < 0x80 {
        "integer too large"
    } else {
        "integer representation too long"
    })
}

#[cold]
fn end() -> Box<Fault> {
    invalid("unexpected end")
}

#[cfg(test)]
mod tests {
    use wasmparser::BinaryReader;

    use super::*;

    #[test]
    fn many_integers_are_passed_over_as_one_after_another() {
        let bytes: Vec<u8> = (0..200u8).map(|at| at.wrapping_mul(37) ^ at >> 3).collect();
        for start in 0..40 {
            for count in 0..120 {
                let mut one = Cursor::new(&bytes[start..], 0);
                let all = (0..count).try_for_each(|_| one.skip_integer());
                let mut together = Cursor::new(&bytes[start..], 0);
                let found = together.skip_integers(count);
                assert_eq!(found.is_ok(), all.is_ok(), "{count} from {start}");
                if all.is_ok() {
                    assert_eq!(together.rest(), one.rest(), "{count} from {start}");
                }
            }
        }
    }

    /// Every integer of up to eleven bytes made of bytes at the edges, against `wasmparser`.
    #[test]
    fn integers_agree_with_wasmparser() {
        let bytes = [
            0x00, 0x01, 0x07, 0x08, 0x0f, 0x10, 0x3f, 0x40, 0x70, 0x78, 0x7f, 0x80, 0x81, 0xff,
        ];
        let mut state = 1u64;
        let mut accepted = 0;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let length = (state >> 33) % 12;
            let mut input: Vec<u8> = (0..length)
                .map(|index| {
                    bytes[((state >> 16).rotate_left(index as u32 * 5) % 14) as usize] | 0x80
                })
                .collect();
            input.push(bytes[((state >> 59) % 14) as usize]);
            let judge = || BinaryReader::new(&input, 0);
            let ours = || Cursor::new(&input, input.len() as u32);
            let mut cursor = ours();
            let mut reader = judge();
            let theirs = reader.read_var_u32().ok();
            assert_eq!(cursor.u32().ok(), theirs, "{input:x?}");
            if theirs.is_some() {
                accepted += 1;
                assert_eq!(u64::from(cursor.offset()), reader.original_position());
            }
            let mut pair = ours();
            let mut single = ours();
            let singles = single.u32().and_then(|a| Ok((a, single.u32()?)));
            assert_eq!(pair.u32_pair().ok(), singles.ok(), "{input:x?}");
            let mut cursor = ours();
            let mut reader = judge();
            let theirs = reader.read_var_i64().ok();
            assert_eq!(cursor.i64().ok(), theirs, "{input:x?}");
            if theirs.is_some() {
                accepted += 1;
                assert_eq!(u64::from(cursor.offset()), reader.original_position());
            }
            assert_eq!(ours().i32().ok(), judge().read_var_i32().ok(), "{input:x?}");
            assert_eq!(ours().i33().ok(), judge().read_var_s33().ok(), "{input:x?}");
        }
        assert!(accepted > 100_000, "{accepted}");
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        for bytes in [&[][..], &[0x80], &[0x80, 0x80, 0x80], &[0xff; 4]] {
            assert!(Cursor::new(bytes, 0).u32().is_err());
            assert!(Cursor::new(bytes, 0).i32().is_err());
            assert!(Cursor::new(bytes, 0).i64().is_err());
            assert!(Cursor::new(bytes, 0).bytes::<5>().is_err());
        }
    }
}
