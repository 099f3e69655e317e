//! Reads a pack in place.

use zerocopy::FromBytes;
use zerocopy::little_endian::I64;

use super::tables::{
    AlternativeRow, DomainRow, EvaluatorRow, FormRow, Header, HoleListRow, HoleRow, Section,
    SectionKind, StencilRow,
};
use super::{FORMAT_VERSION, MAGIC, Metadata, PackError};
use crate::limits::{ALIGNMENT, CODE_PADDING, PACK_BYTES};

/// The sections of a pack, borrowed from its bytes. [`PackView::open`] checks the frame (magic, version, section
/// bounds); [`super::validate`] checks everything else.
#[derive(Clone, Copy, Debug)]
pub struct PackView<'a> {
    /// bincode of [`Metadata`].
    pub metadata: &'a [u8],
    /// See [`FormRow`].
    pub forms: &'a [FormRow],
    /// See [`AlternativeRow`].
    pub alternatives: &'a [AlternativeRow],
    /// See [`DomainRow`].
    pub domains: &'a [DomainRow],
    /// Values excepted from domains.
    pub exceptions: &'a [I64],
    /// See [`StencilRow`].
    pub stencils: &'a [StencilRow],
    /// See [`HoleListRow`].
    pub hole_lists: &'a [HoleListRow],
    /// See [`HoleRow`].
    pub holes: &'a [HoleRow],
    /// Code of all stencils, with its padding.
    pub code: &'a [u8],
    /// Constants.
    pub pool: &'a [u8],
    /// See [`EvaluatorRow`].
    pub evaluators: &'a [EvaluatorRow],
    /// Code of the evaluators.
    pub evaluator_code: &'a [u8],
}

/// The section rows of a file whose header is in order.
pub(super) fn sections(bytes: &[u8]) -> Result<&[Section], PackError> {
    let (header, rest) = Header::ref_from_prefix(bytes)
        .map_err(|_| PackError::new(0, "the file is too short for a header"))?;
    if header.magic != MAGIC {
        return Err(PackError::new(0, "not a stencil pack (wrong magic)"));
    }
    if header.version.get() != FORMAT_VERSION {
        let what = format!(
            "format version {}, but this build reads {FORMAT_VERSION}",
            header.version
        );
        return Err(PackError::new(8, what));
    }
    if header.file_bytes.get() != bytes.len() as u64 || bytes.len() > PACK_BYTES {
        let what = format!(
            "the header says {} bytes, the file has {}",
            header.file_bytes,
            bytes.len()
        );
        return Err(PackError::new(16, what));
    }
    if header.sections.get() as usize != SectionKind::ALL.len() {
        return Err(PackError::new(
            12,
            format!(
                "{} sections instead of {}",
                header.sections,
                SectionKind::ALL.len()
            ),
        ));
    }
    let (rows, _) =
        <[Section]>::ref_from_prefix_with_elems(rest, SectionKind::ALL.len()).map_err(|_| {
            PackError::new(
                size_of::<Header>(),
                "the file is too short for its section table",
            )
        })?;
    let mut end = (size_of::<Header>() + size_of_val(rows)) as u64;
    for (index, (row, kind)) in rows.iter().zip(SectionKind::ALL).enumerate() {
        let at = size_of::<Header>() + index * size_of::<Section>();
        if row.kind.get() != kind as u32 || row.reserved.get() != 0 {
            return Err(PackError::new(
                at,
                format!("section {index} is not {kind:?}"),
            ));
        }
        let next = row.offset.get().checked_add(row.length.get());
        let inside = next.is_some_and(|next| next <= bytes.len() as u64);
        if row.offset.get() < end || !row.offset.get().is_multiple_of(ALIGNMENT as u64) || !inside {
            return Err(PackError::new(
                at,
                format!("section {kind:?} lies outside the file or over another"),
            ));
        }
        end = next.unwrap_or(u64::MAX);
    }
    Ok(rows)
}

impl<'a> PackView<'a> {
    /// Finds the sections.
    ///
    /// # Errors
    /// Where the header, a section's bounds or the length of a table is wrong. Digests and contents are not looked at.
    pub fn open(bytes: &'a [u8]) -> Result<Self, PackError> {
        let rows = sections(bytes)?;
        let part = |kind: SectionKind| {
            let row = &rows[kind as usize - 1];
            &bytes[row.offset.get() as usize..][..row.length.get() as usize]
        };
        fn table<
            'a,
            T: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout + zerocopy::Unaligned,
        >(
            rows: &[Section],
            kind: SectionKind,
            bytes: &'a [u8],
        ) -> Result<&'a [T], PackError> {
            <[T]>::ref_from_bytes(bytes).map_err(|_| {
                let offset = rows[kind as usize - 1].offset.get() as usize;
                PackError::new(
                    offset,
                    format!("section {kind:?} is no whole number of rows"),
                )
            })
        }
        let view = Self {
            metadata: part(SectionKind::Metadata),
            forms: table(rows, SectionKind::Forms, part(SectionKind::Forms))?,
            alternatives: table(
                rows,
                SectionKind::Alternatives,
                part(SectionKind::Alternatives),
            )?,
            domains: table(rows, SectionKind::Domains, part(SectionKind::Domains))?,
            exceptions: table(rows, SectionKind::Exceptions, part(SectionKind::Exceptions))?,
            stencils: table(rows, SectionKind::Stencils, part(SectionKind::Stencils))?,
            hole_lists: table(rows, SectionKind::HoleLists, part(SectionKind::HoleLists))?,
            holes: table(rows, SectionKind::Holes, part(SectionKind::Holes))?,
            code: part(SectionKind::Code),
            pool: part(SectionKind::Pool),
            evaluators: table(rows, SectionKind::Evaluators, part(SectionKind::Evaluators))?,
            evaluator_code: part(SectionKind::EvaluatorCode),
        };
        if view.code.len() < CODE_PADDING {
            let offset = rows[SectionKind::Code as usize - 1].offset.get() as usize;
            return Err(PackError::new(offset, "the code section lacks its padding"));
        }
        Ok(view)
    }

    /// Decodes the metadata.
    ///
    /// # Errors
    /// The decoder's message.
    pub fn decode_metadata(&self) -> Result<Metadata, PackError> {
        crate::codec::decode(self.metadata)
            .map_err(|what| PackError::new(0, format!("metadata: {what}")))
    }
}
