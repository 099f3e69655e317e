//! Fixed-width rows of a pack's tables, used in place: little-endian, no padding, no alignment.

use zerocopy::little_endian::{I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of the file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`super::MAGIC`].
    pub magic: [u8; 8],
    /// [`super::FORMAT_VERSION`].
    pub version: U32,
    /// Number of [`Section`] rows that follow.
    pub sections: U32,
    /// Bytes of the whole file.
    pub file_bytes: U64,
    /// BLAKE3 of the section rows.
    pub digest: [u8; 32],
}

/// What a section holds, in the order in which sections stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SectionKind {
    /// bincode of [`super::Metadata`].
    Metadata = 1,
    /// [`FormRow`]s, ascending by operation, then key.
    Forms = 2,
    /// [`AlternativeRow`]s, those of a form one after another, narrowest domain first.
    Alternatives = 3,
    /// [`DomainRow`]s, one a value of each alternative.
    Domains = 4,
    /// [`I64`]s: values excepted from domains, ascending within one domain.
    Exceptions = 5,
    /// [`StencilRow`]s.
    Stencils = 6,
    /// [`HoleListRow`]s.
    HoleLists = 7,
    /// [`HoleRow`]s.
    Holes = 8,
    /// Code of the stencils, then [`crate::limits::CODE_PADDING`] bytes.
    Code = 9,
    /// Constants that stencils refer to.
    Pool = 10,
    /// [`EvaluatorRow`]s, one an operation.
    Evaluators = 11,
    /// Position-independent code of the evaluators.
    EvaluatorCode = 12,
}

impl SectionKind {
    /// All kinds, in file order.
    pub const ALL: [SectionKind; 12] = [
        SectionKind::Metadata,
        SectionKind::Forms,
        SectionKind::Alternatives,
        SectionKind::Domains,
        SectionKind::Exceptions,
        SectionKind::Stencils,
        SectionKind::HoleLists,
        SectionKind::Holes,
        SectionKind::Code,
        SectionKind::Pool,
        SectionKind::Evaluators,
        SectionKind::EvaluatorCode,
    ];
}

/// Where a section lies.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Section {
    /// A [`SectionKind`].
    pub kind: U32,
    /// Zero.
    pub reserved: U32,
    /// From the start of the file; a multiple of [`crate::limits::ALIGNMENT`].
    pub offset: U64,
    /// Bytes.
    pub length: U64,
    /// BLAKE3 of the section's bytes.
    pub digest: [u8; 32],
}

/// One form of an operation.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FormRow {
    /// Number of the operation.
    pub op: U16,
    /// Its [`crate::variants::FormKey`].
    pub key: U16,
    /// First [`AlternativeRow`].
    pub first: U32,
    /// How many; at least one.
    pub count: U16,
    /// How many values it patches, which is how many [`DomainRow`]s each alternative has.
    pub values: U16,
}

/// One choice of ranges for a form's values.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AlternativeRow {
    /// First [`DomainRow`].
    pub domains: U32,
    /// First [`StencilRow`]; the others follow in the order of [`crate::variants::record_index`].
    pub stencils: U32,
}

/// The values for which a template is right: multiples of `1 << align` in `lo..=hi`, exceptions excluded.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DomainRow {
    /// Least value.
    pub lo: I64,
    /// Greatest value.
    pub hi: I64,
    /// First exception in the exceptions section.
    pub first_exception: U32,
    /// How many.
    pub exceptions: U16,
    /// Power of two.
    pub align: U16,
}

/// One stencil.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct StencilRow {
    /// Offset in the code section, or [`StencilRow::ABSENT`].
    pub code: U32,
    /// Bytes of code.
    pub length: U16,
    /// Its [`HoleListRow`].
    pub holes: U16,
}

impl StencilRow {
    /// The `code` of a record that has no stencil (its registers are not admitted).
    pub const ABSENT: u32 = u32::MAX;
}

/// A list of holes; stencils with the same holes share one. List 0 is empty.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HoleListRow {
    /// First [`HoleRow`].
    pub first: U32,
    /// How many.
    pub count: U16,
    /// Zero.
    pub reserved: U16,
}

/// One hole.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct HoleRow {
    /// Of its window, from the start of the stencil.
    pub offset: U16,
    /// Number of its [`crate::patch::PatchKind`].
    pub kind: u8,
    /// A [`crate::patch::Source`].
    pub source: u8,
    /// Added to the value before anything else.
    pub addend: I32,
}

/// The evaluator of an operation: `uint32_t eval(uint8_t *mem, void *ctx, uint8_t *frame, const uint64_t *operands,
/// const uint64_t *immediates, uint64_t *result)`, by the C calling convention of the triple. It returns 0 to go on
/// (a condition, for branches, is in `*result`) or 1 + the number of the trap. Values lie in the low bytes of their
/// words; an i32 is zero-extended. A vector takes two words, in operands and in the result, the low one first.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EvaluatorRow {
    /// Offset in the evaluator code section, or [`StencilRow::ABSENT`] (operations that only steer control).
    pub code: U32,
    /// Bytes.
    pub length: U32,
}
