//! A stencil as it comes out of an object file, before it is trimmed and its holes are learnt.

use copatch_spec::patch::{Field, PatchKind, fill};

/// The code of one function and everything the linker would have to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawStencil {
    /// Its symbol.
    pub name: String,
    /// Its bytes, as the compiler left them.
    pub code: Vec<u8>,
    /// In ascending order of offset.
    pub relocations: Vec<Relocation>,
}

/// A place in the code that depends on an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relocation {
    /// First byte of the window, from the start of the stencil.
    pub offset: usize,
    /// One of the names in [`hole`], or `HOLE_T0`, `HOLE_X1`, `HOLE_V0`, …
    pub symbol: String,
    /// Bytes of the window.
    pub window: u8,
    /// Whether the address of the window is subtracted.
    pub pc_relative: bool,
    /// Added to the symbol's address.
    pub addend: i64,
    /// The bits of the window that are filled; `None` if it is a plain number that fills all of it.
    pub bits: Option<&'static Bits>,
}

impl Relocation {
    /// How the linker would fill it: certain bits, or the whole window with a signed number.
    pub fn kind(&self) -> PatchKind {
        let window = self.window;
        let kind = |lo, hi, align, fields| PatchKind {
            window,
            pc_relative: self.pc_relative,
            lo,
            hi,
            align,
            fields,
        };
        if let Some(bits) = self.bits {
            return kind(bits.lo, bits.hi, bits.align, bits.fields.to_vec());
        }
        let width = window.saturating_mul(8).clamp(1, 64);
        let whole = Field {
            start: 0,
            end: width,
            shift: 0,
            negate: false,
            addend: 0,
        };
        let (lo, hi) = (i64::MIN >> (64 - width), i64::MAX >> (64 - width));
        kind(lo, hi, 0, vec![whole])
    }

    /// Fills its window in `code` with the address `symbol`, where the code itself lies at `base`. `None` if the window lies
    /// outside, or it does not reach so far.
    pub fn apply(&self, code: &mut [u8], base: i64, symbol: i64) -> Option<()> {
        let end = self.offset.checked_add(usize::from(self.window))?;
        let window = code.get_mut(self.offset..end)?;
        let kind = self.kind();
        let place = if kind.pc_relative {
            base.wrapping_add(self.offset as i64)
        } else {
            0
        };
        let value = symbol.wrapping_add(self.addend).wrapping_sub(place);
        if !(kind.lo..=kind.hi).contains(&value) || value & ((1 << kind.align) - 1) != 0 {
            return None;
        }
        let mut word = [0; 8];
        word.get_mut(..window.len())?.copy_from_slice(window);
        let word = fill(&kind, u64::from_le_bytes(word), value);
        window.copy_from_slice(word.to_le_bytes().get(..window.len())?);
        Some(())
    }
}

/// Where a value goes within a window that also holds other bits of an instruction.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits {
    /// One run of bits each.
    pub fields: &'static [Field],
    /// Least value admitted.
    pub lo: i64,
    /// Greatest value admitted.
    pub hi: i64,
    /// The value is a multiple of 2 to this power.
    pub align: u8,
}

/// Symbols that stand for holes.
pub mod hole {
    /// Where control goes on: the end of the stencil.
    pub const NEXT: &str = "HOLE_NEXT";
    /// Followed by a number: the operation's branch target of that number.
    pub const TARGET: &str = "HOLE_T";
    /// Followed by a number: the stub of the operation's trap of that number (an index into its own list).
    pub const TRAP: &str = "HOLE_X";
    /// Followed by a number: the form's value of that number; in assembly only, since C takes literals.
    pub const VALUE: &str = "HOLE_V";
    /// The operation's table of offsets.
    pub const TABLE: &str = "HOLE_TABLE";
    /// The pack's constant pool.
    pub const POOL: &str = "HOLE_POOL";
}
