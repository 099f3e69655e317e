//! Learns where a constant lies in code by comparing what clang makes of different constants.
//!
//! ```text
//! samples (value, code) ──first's length──► generic ──bits that differ──► spans ──affine?──► fields
//! ```
//!
//! Clang has special encodings for many constants (`inc`, `test`, `lea`, an `xor` for zero), so fields are fitted on
//! *generic* constants, those without a simple bit pattern. What the fit gives is only a hypothesis about all others:
//! every sample whose code is not the patched template is listed in [`Template::disagreeing`], and stays in the
//! domain only if the patched template is shown to do the same (see [`crate::prove`]). Without that step `r < C`, for which
//! clang writes `cmp $(C - 1); jle`, would be wrong at the least integer.

use std::collections::BTreeSet;
use std::fmt;

use copatch_spec::patch::{Field, PatchKind, fill};

/// The code that clang made for one constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The constant.
    pub value: i64,
    /// The code, trimmed, with other holes zero.
    pub code: Vec<u8>,
}

/// Fields that one window of the code holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Located {
    /// First byte of the window.
    pub offset: usize,
    /// How the value becomes bits of it; its range is that of the samples.
    pub kind: PatchKind,
}

/// Code with the places where a value goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The code; bits that fields fill are zero.
    pub code: Vec<u8>,
    /// Where the value goes, ascending by offset; windows do not overlap.
    pub fields: Vec<Located>,
    /// Samples for which clang wrote something else than the patched template, ascending.
    pub disagreeing: Vec<i64>,
}

/// Why no template fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FitError {
    /// Fewer generic samples than a fit can be trusted on.
    TooFew(usize),
    /// Bits at this byte differ between samples, but not as a field of the value.
    NotAffine(usize),
    /// The code does not depend on the value, though samples with different values were given.
    Constant,
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FitError::TooFew(count) => {
                write!(
                    f,
                    "{count} generic constants are too few to learn a field from"
                )
            }
            FitError::NotAffine(offset) => {
                write!(
                    f,
                    "the code at {offset:#x} varies with the value in no uniform way"
                )
            }
            FitError::Constant => f.write_str("the code does not depend on the value"),
        }
    }
}

impl std::error::Error for FitError {}

/// Which windows of the code fields may lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// 1, 2, 4 or 8 bytes anywhere: instructions of variable length.
    Bytes,
    /// Aligned words of 4 bytes: one instruction each.
    Words,
}

/// Ranges of at most this many values are probed, and so proven, in full. With the 12 bits of aarch64 and riscv64 a pack would be
/// ten times the work.
pub const EXHAUSTIVE: u64 = 1 << 8;
/// Random values in a wider range.
const RANDOM: usize = 40;
/// With fewer generic samples two bits of the value could pass for each other.
const FEWEST: usize = 4;

/// The values on which a range is learnt and proven, ascending: all of a small one; of others walking ones and zeros,
/// powers of two and their neighbours, the ends, and random values (the same on every run).
pub fn probe_values(lo: i64, hi: i64, align: u8) -> Vec<i64> {
    let align = u32::from(align.min(62));
    let step = 1i64 << align;
    let span = hi.wrapping_sub(lo) as u64;
    if hi < lo {
        return Vec::new();
    }
    if span >> align < EXHAUSTIVE {
        let first = lo.wrapping_add(step - 1) & !(step - 1);
        return (0..=span >> align)
            .map(|index| first.wrapping_add((index as i64) << align))
            .take_while(|value| *value <= hi)
            .collect();
    }
    let mut values = BTreeSet::from([lo, hi, lo.wrapping_add(step), hi.wrapping_sub(step)]);
    values.extend([0, 0xff, 0xffff, -0x100, -0x1_0000]);
    for power in 0..64 {
        let one = 1i64 << power;
        for base in [one, one.wrapping_neg()] {
            values.extend([base, base.wrapping_add(step), base.wrapping_sub(step)]);
        }
        values.insert(!one);
    }
    values.retain(|value| (lo..=hi).contains(value) && value & (step - 1) == 0);
    let mut random = SplitMix(0x636f_7061_7463_6821 ^ span);
    let wanted = values.len() + RANDOM;
    // Almost every draw is a new value; the bound is for ranges of unfortunate alignment.
    for _ in 0..64 * RANDOM {
        let offset = match span.checked_add(1) {
            Some(count) => random.next() % count,
            None => random.next(),
        };
        let value = lo.wrapping_add(offset as i64) & !(step - 1);
        if values.len() < wanted && (lo..=hi).contains(&value) {
            values.insert(value);
        }
    }
    values.into_iter().collect()
}

/// A small generator, so that samples are the same on every run.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Whether a constant has so simple a pattern that compilers know better code for it: close to a power of two, to its
/// negative, or to zero, or a mask of whole bytes. Only such values may be exceptions of a domain.
pub fn is_special(value: i64) -> bool {
    let magnitude = value.unsigned_abs();
    let narrow = value as u32;
    near_power(magnitude)
        || near_power(u64::from(narrow))
        || near_power(u64::from(narrow.wrapping_neg()))
        || run_of_ones(value as u64)
        || run_of_ones(!value as u64)
}

/// Within two of a power of two or of zero.
fn near_power(value: u64) -> bool {
    let power_or_zero = |value: u64| value & value.wrapping_sub(1) == 0;
    (value.saturating_sub(2)..=value.saturating_add(2)).any(power_or_zero)
}

/// One run of ones, wherever it stands; none counts too.
fn run_of_ones(value: u64) -> bool {
    let filled = value | value.wrapping_sub(1);
    filled & filled.wrapping_add(1) == 0
}

/// Learns the fields of a value on instructions of variable length: [`fit_in`] with [`Windows::Bytes`].
///
/// # Errors
/// See [`FitError`].
pub fn fit(samples: &[Sample]) -> Result<Template, FitError> {
    fit_in(samples, Windows::Bytes)
}

/// Learns the fields of a value. The first sample's value must be generic: fields are fitted on the generic samples whose
/// code is as long as its code, and the range of the fields is that of all samples.
///
/// # Errors
/// See [`FitError`]. That is no failure: the range is then not encoded in a uniform way.
pub fn fit_in(samples: &[Sample], windows: Windows) -> Result<Template, FitError> {
    let Some(base) = samples.first() else {
        return Err(FitError::TooFew(0));
    };
    let alike: Vec<&Sample> = samples
        .iter()
        .filter(|sample| sample.code.len() == base.code.len())
        .collect();
    let mut generic: Vec<&Sample> = alike
        .iter()
        .copied()
        .filter(|sample| !is_special(sample.value))
        .collect();
    if generic.len() < FEWEST {
        // A range of a few values has nothing but simple ones.
        generic.clone_from(&alike);
    }
    if generic.len() < FEWEST.min(samples.len()) {
        return Err(FitError::TooFew(generic.len()));
    }
    let spans = spans(&varying(&generic), windows);
    if spans.is_empty() {
        return Err(FitError::Constant);
    }
    let range = Range::of(samples);
    let mut fields: Vec<Located> = Vec::new();
    for span in spans {
        let found = match plain(&span, &generic, base.code.len(), range, windows) {
            Some(located) => located,
            None => pieces(&span, &generic, &alike, base.code.len(), range, windows)?,
        };
        match fields.last_mut() {
            Some(last) if found.offset < last.offset + usize::from(last.kind.window) => {
                *last =
                    join(last, &found, base.code.len()).ok_or(FitError::NotAffine(found.offset))?;
            }
            _ => fields.push(found),
        }
    }
    let mut template = Template {
        code: base.code.clone(),
        fields,
        disagreeing: Vec::new(),
    };
    for located in &template.fields {
        clear(&mut template.code, located);
    }
    template.disagreeing = samples
        .iter()
        .filter(|sample| apply(&template, sample.value) != sample.code)
        .map(|sample| sample.value)
        .collect();
    template.disagreeing.sort_unstable();
    Ok(template)
}

/// The template's code with a value in its fields.
pub fn apply(template: &Template, value: i64) -> Vec<u8> {
    let mut code = template.code.clone();
    for located in &template.fields {
        let filled = fill(&located.kind, read(&code, located), value);
        write(&mut code, located, filled);
    }
    code
}

/// The smallest range and greatest alignment that all samples share.
#[derive(Clone, Copy)]
struct Range {
    lo: i64,
    hi: i64,
    align: u8,
}

impl Range {
    fn of(samples: &[Sample]) -> Self {
        let values = || samples.iter().map(|sample| sample.value);
        let bits = values().fold(0, |bits, value| bits | value);
        Self {
            lo: values().min().unwrap_or(0),
            hi: values().max().unwrap_or(0),
            align: if bits == 0 {
                0
            } else {
                bits.trailing_zeros() as u8
            },
        }
    }

    fn kind(self, window: usize, fields: Vec<Field>) -> PatchKind {
        PatchKind {
            window: window as u8,
            pc_relative: false,
            lo: self.lo,
            hi: self.hi,
            align: self.align,
            fields,
        }
    }
}

/// A run of bits of the code, counted from the least significant of byte 0.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

/// For each byte, the bits that are not the same in all samples.
fn varying(samples: &[&Sample]) -> Vec<u8> {
    let Some((first, rest)) = samples.split_first() else {
        return Vec::new();
    };
    let mut varying = vec![0; first.code.len()];
    for sample in rest {
        for ((bits, a), b) in varying.iter_mut().zip(&first.code).zip(&sample.code) {
            *bits |= a ^ b;
        }
    }
    varying
}

/// Runs of varying bits; with [`Windows::Words`] none crosses a word.
fn spans(varying: &[u8], windows: Windows) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for bit in 0..varying.len() * 8 {
        if varying[bit / 8] >> (bit % 8) & 1 == 0 {
            continue;
        }
        let word_starts = windows == Windows::Words && bit % 32 == 0;
        match spans.last_mut() {
            Some(last) if last.end == bit && !word_starts => last.end = bit + 1,
            _ => spans.push(Span {
                start: bit,
                end: bit + 1,
            }),
        }
    }
    spans
}

/// The window of a span: the fewest bytes that hold it.
fn window(span: &Span, length: usize, windows: Windows) -> Option<(usize, usize)> {
    if windows == Windows::Words {
        return Some((span.start / 32 * 4, 4));
    }
    let start = span.start / 8;
    let needed = span.end.div_ceil(8) - start;
    let size = [1, 2, 4, 8].into_iter().find(|size| *size >= needed)?;
    // At the end of the code a window of 4 for 3 bytes starts earlier.
    let start = start.min(length.checked_sub(size)?);
    Some((start, size))
}

/// A field that fills its whole window with `±value + c`: what most are, and the fast path of the engine.
fn plain(
    span: &Span,
    samples: &[&Sample],
    length: usize,
    range: Range,
    windows: Windows,
) -> Option<Located> {
    if windows == Windows::Words {
        return None;
    }
    let (offset, size) = window(span, length, windows)?;
    let whole = Span {
        start: offset * 8,
        end: (offset + size) * 8,
    };
    let (count, field) = longest(&whole, samples, samples, Some(0));
    (count == size * 8).then(|| Located {
        offset,
        kind: range.kind(size, vec![field]),
    })
}

/// A span cut into fields, the longest first taken from its low end.
fn pieces(
    span: &Span,
    generic: &[&Sample],
    alike: &[&Sample],
    length: usize,
    range: Range,
    windows: Windows,
) -> Result<Located, FitError> {
    let fault = FitError::NotAffine(span.start / 8);
    let (offset, size) = window(span, length, windows).ok_or(fault.clone())?;
    let mut fields = Vec::new();
    let mut rest = *span;
    while rest.start < rest.end {
        let (count, field) = longest(&rest, generic, alike, None);
        if count == 0 {
            return Err(fault);
        }
        let start = (rest.start - offset * 8) as u8;
        fields.push(Field {
            start,
            end: start + count as u8,
            ..field
        });
        rest.start += count;
    }
    // A value whose every bit went to a place of its own is not a field but an accident.
    if fields.len() > 3 {
        return Err(fault);
    }
    Ok(Located {
        offset,
        kind: range.kind(size, fields),
    })
}

/// The longest field that starts where the span starts, and its length in bits; 0 if there is none. Of equally long ones
/// the one that agrees with most samples, special ones included; then the simplest.
fn longest(
    span: &Span,
    generic: &[&Sample],
    alike: &[&Sample],
    shift: Option<u8>,
) -> (usize, Field) {
    let most = (span.end - span.start).min(64);
    let content = |sample: &Sample| bits(&sample.code, span.start, most);
    let contents: Vec<(i64, u64)> = generic
        .iter()
        .map(|sample| (sample.value, content(sample)))
        .collect();
    let mut best = (
        0,
        0,
        Field {
            start: 0,
            end: 0,
            shift: 0,
            negate: false,
            addend: 0,
        },
    );
    let shifts = shift.map_or(0..64, |shift| shift..shift + 1);
    for shift in shifts {
        for negate in [false, true] {
            for rounding in roundings(shift) {
                let (count, field) = grow(&contents, most, shift, negate, rounding);
                if count == 0 || count < best.0 {
                    continue;
                }
                let agreeing = alike
                    .iter()
                    .filter(|sample| field.encode(sample.value) == content(sample) & mask(count))
                    .count();
                if (count, agreeing) > (best.0, best.1) {
                    best = (count, agreeing, field);
                }
            }
        }
    }
    (best.0, best.2)
}

/// What may be added below the shifted-out bits: nothing, half (`lui` rounds), or all ones (rounding up).
fn roundings(shift: u8) -> Vec<i64> {
    match shift {
        0 => vec![0],
        shift => vec![0, 1 << (shift - 1), mask(shift.into()) as i64],
    }
}

/// How many low bits are `((±value + c) >> shift)` with one `c` for all samples, and that field.
fn grow(
    contents: &[(i64, u64)],
    most: usize,
    shift: u8,
    negate: bool,
    rounding: i64,
) -> (usize, Field) {
    let signed = |value: i64| if negate { value.wrapping_neg() } else { value };
    let shifted = |value: i64| (signed(value).wrapping_add(rounding) >> shift) as u64;
    let Some((value, content)) = contents.first() else {
        return (
            0,
            Field {
                start: 0,
                end: 0,
                shift,
                negate,
                addend: 0,
            },
        );
    };
    // Low bits of a sum depend on low bits only, so what the samples disagree on bounds the length.
    let difference = content.wrapping_sub(shifted(*value));
    let disagreement = contents.iter().fold(0, |bits, (value, content)| {
        bits | (content.wrapping_sub(shifted(*value)) ^ difference)
    });
    let count = most.min(disagreement.trailing_zeros() as usize);
    // The addend of least magnitude that has these low bits.
    let unused = 64 - count.clamp(1, 64) as u32;
    let addend = ((difference << unused) as i64 >> unused)
        .wrapping_mul(1i64.wrapping_shl(u32::from(shift)))
        .wrapping_add(rounding);
    (
        count,
        Field {
            start: 0,
            end: count as u8,
            shift,
            negate,
            addend,
        },
    )
}

fn mask(count: usize) -> u64 {
    if count >= 64 {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

/// `count` bits of the code from bit `start`; bits past its end are zero.
fn bits(code: &[u8], start: usize, count: usize) -> u64 {
    let mut word = 0u128;
    for (index, byte) in code.iter().skip(start / 8).take(9).enumerate() {
        word |= u128::from(*byte) << (8 * index);
    }
    (word >> (start % 8)) as u64 & mask(count)
}

/// One window for two that overlap.
fn join(first: &Located, second: &Located, length: usize) -> Option<Located> {
    let start = first.offset.min(second.offset);
    let end = (first.offset + usize::from(first.kind.window))
        .max(second.offset + usize::from(second.kind.window));
    let size = [1, 2, 4, 8].into_iter().find(|size| *size >= end - start)?;
    let start = start.min(length.checked_sub(size)?);
    let moved = |located: &Located| {
        let by = ((located.offset - start) * 8) as u8;
        let fields = located.kind.fields.iter();
        fields
            .map(|field| Field {
                start: field.start + by,
                end: field.end + by,
                ..*field
            })
            .collect::<Vec<_>>()
    };
    Some(Located {
        offset: start,
        kind: PatchKind {
            window: size as u8,
            fields: [moved(first), moved(second)].concat(),
            ..first.kind.clone()
        },
    })
}

fn read(code: &[u8], located: &Located) -> u64 {
    let size = usize::from(located.kind.window);
    bits(code, located.offset * 8, size * 8)
}

fn write(code: &mut [u8], located: &Located, word: u64) {
    let bytes = word.to_le_bytes();
    let window = code.iter_mut().skip(located.offset);
    for (byte, new) in window.zip(&bytes[..usize::from(located.kind.window).min(8)]) {
        *byte = *new;
    }
}

/// Zeroes the bits of the fields.
fn clear(code: &mut [u8], located: &Located) {
    let fields = located.kind.fields.iter();
    let filled = fields.fold(0, |bits, field| {
        bits | mask(usize::from(field.end - field.start)) << field.start
    });
    let word = read(code, located) & !filled;
    write(code, located, word);
}

#[cfg(test)]
mod tests;
