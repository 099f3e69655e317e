//! Every limit of the format, in one place.

/// Operands of an operation.
pub const OPERANDS: usize = 4;
/// Immediates of an operation's own.
pub const IMMEDIATES: usize = 2;
/// Values patched into one form: operands, immediates and the result's slot.
pub const VALUES: usize = OPERANDS + IMMEDIATES + 1;
/// Traps of an instruction set, `core` included.
pub const TRAPS: usize = 64;
/// Patch kinds of a pack: their numbers are bytes.
pub const KINDS: usize = 256;
/// Operations of an instruction set.
pub const OPS: usize = 4096;
/// Forms of all operations: an engine numbers them in 16 bits, and needs numbers that are none.
pub const FORMS: usize = u16::MAX as usize - 1;
/// Value registers of a class.
pub const REGISTERS: usize = 16;
/// Bytes of code in one stencil.
pub const STENCIL_BYTES: usize = 1024;
/// Bytes of a pack file.
pub const PACK_BYTES: usize = 64 << 20;
/// Bytes of a pack's metadata.
pub const METADATA_BYTES: usize = 4 << 20;
/// The code section ends with this many bytes that belong to no stencil, so that copies of fixed size stay inside.
pub const CODE_PADDING: usize = 32;
/// Alignment of the constant pool in memory and of each constant in it, in bytes: what aligned vector loads need.
pub const CONSTANT_ALIGNMENT: usize = 16;
/// Alignment of a pack's sections in the file, in bytes.
pub const ALIGNMENT: usize = 64;
/// Alignment of each evaluator within its section, in bytes.
pub const EVALUATOR_ALIGNMENT: usize = 16;
