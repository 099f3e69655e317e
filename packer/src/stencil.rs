//! A stencil as it comes out of an object file, before it is trimmed and its holes are learnt.

use copatch_spec::patch::Field;

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
