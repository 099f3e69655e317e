//! Writes a pack: same parts, same bytes.

use std::collections::HashMap;

use zerocopy::IntoBytes;
use zerocopy::little_endian::I64;

use super::tables::{
    AlternativeRow, DomainRow, EvaluatorRow, FormRow, Header, HoleListRow, HoleRow, Section,
    SectionKind, StencilRow,
};
use super::{FORMAT_VERSION, MAGIC, Metadata, PackError};
use crate::limits::{ALIGNMENT, CODE_PADDING, EVALUATOR_ALIGNMENT, FORMS, STENCIL_BYTES};
use crate::variants::FormKey;

/// The values for which an alternative's template is right, one for each of the form's values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// Least value.
    pub lo: i64,
    /// Greatest value.
    pub hi: i64,
    /// The values are multiples of 2 to this power.
    pub align: u8,
    /// Values excepted, ascending.
    pub exceptions: Vec<i64>,
}

/// A finished stencil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StencilParts {
    /// Its code; bits that holes fill are zero.
    pub code: Vec<u8>,
    /// Its holes, ascending by offset.
    pub holes: Vec<HoleRow>,
}

/// One alternative of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeParts {
    /// One a value.
    pub domains: Vec<Domain>,
    /// One a register assignment, in index order; `None` where registers are not admitted.
    pub stencils: Vec<Option<StencilParts>>,
}

/// One form of an operation.
#[derive(Clone, Debug)]
pub struct FormParts {
    /// Number of the operation.
    pub op: u16,
    /// The form's key.
    pub key: FormKey,
    /// How many values it patches.
    pub values: u16,
    /// Narrowest domain first.
    pub alternatives: Vec<AlternativeParts>,
}

/// Collects the parts of a pack; equal code, hole lists and domains are stored once.
#[derive(Debug, Default)]
pub struct PackWriter {
    /// Forms, ascending by operation, then key.
    pub forms: Vec<FormParts>,
    /// Constants that stencils refer to by offset.
    pub pool: Vec<u8>,
    /// Position-independent code, one an operation.
    pub evaluators: Vec<Option<Vec<u8>>>,
}

impl PackWriter {
    /// The bytes of the pack.
    ///
    /// # Errors
    /// When something does not fit the tables' widths or the metadata cannot be encoded.
    pub fn write(&self, metadata: &Metadata) -> Result<Vec<u8>, PackError> {
        let too_many = |what: &str| PackError::new(0, format!("too many {what} for the format"));
        if self.forms.len() > FORMS {
            return Err(too_many("forms"));
        }
        let mut forms = Vec::new();
        let mut alternatives = Vec::new();
        let mut domains = Vec::<DomainRow>::new();
        let mut exceptions = Vec::<I64>::new();
        let mut stencils = Vec::new();
        let mut holes = Vec::<HoleRow>::new();
        let mut hole_lists = vec![HoleListRow {
            first: 0.into(),
            count: 0.into(),
            reserved: 0.into(),
        }];
        let mut code = Vec::<u8>::new();
        let mut known_code = HashMap::<&[u8], u32>::new();
        let mut known_lists = HashMap::<&[HoleRow], u16>::from([(&[][..], 0)]);
        let mut known_domains = HashMap::<&[Domain], u32>::new();
        for form in &self.forms {
            let first = alternatives.len() as u32;
            for alternative in &form.alternatives {
                let domain_row = *known_domains
                    .entry(&alternative.domains)
                    .or_insert_with(|| {
                        let row = domains.len() as u32;
                        for domain in &alternative.domains {
                            domains.push(DomainRow {
                                lo: domain.lo.into(),
                                hi: domain.hi.into(),
                                first_exception: (exceptions.len() as u32).into(),
                                exceptions: (domain.exceptions.len() as u16).into(),
                                align: u16::from(domain.align).into(),
                            });
                            exceptions
                                .extend(domain.exceptions.iter().map(|value| I64::new(*value)));
                        }
                        row
                    });
                alternatives.push(AlternativeRow {
                    domains: domain_row.into(),
                    stencils: (stencils.len() as u32).into(),
                });
                for parts in &alternative.stencils {
                    let Some(parts) = parts else {
                        stencils.push(StencilRow {
                            code: StencilRow::ABSENT.into(),
                            length: 0.into(),
                            holes: 0.into(),
                        });
                        continue;
                    };
                    if parts.code.len() > STENCIL_BYTES {
                        return Err(too_many("bytes in a stencil"));
                    }
                    let at = *known_code.entry(&parts.code).or_insert_with(|| {
                        let at = code.len() as u32;
                        code.extend_from_slice(&parts.code);
                        at
                    });
                    let list = match known_lists.get(parts.holes.as_slice()) {
                        Some(list) => *list,
                        None => {
                            let list = u16::try_from(hole_lists.len())
                                .map_err(|_| too_many("hole lists"))?;
                            hole_lists.push(HoleListRow {
                                first: (holes.len() as u32).into(),
                                count: (parts.holes.len() as u16).into(),
                                reserved: 0.into(),
                            });
                            holes.extend_from_slice(&parts.holes);
                            known_lists.insert(&parts.holes, list);
                            list
                        }
                    };
                    stencils.push(StencilRow {
                        code: at.into(),
                        length: (parts.code.len() as u16).into(),
                        holes: list.into(),
                    });
                }
            }
            forms.push(FormRow {
                op: form.op.into(),
                key: form.key.0.into(),
                first: first.into(),
                count: u16::try_from(form.alternatives.len())
                    .map_err(|_| too_many("alternatives"))?
                    .into(),
                values: form.values.into(),
            });
        }
        code.extend_from_slice(&[0; CODE_PADDING]);
        let mut evaluators = Vec::new();
        let mut evaluator_code = Vec::<u8>::new();
        for evaluator in &self.evaluators {
            let Some(bytes) = evaluator else {
                evaluators.push(EvaluatorRow {
                    code: StencilRow::ABSENT.into(),
                    length: 0.into(),
                });
                continue;
            };
            evaluator_code.resize(
                evaluator_code.len().next_multiple_of(EVALUATOR_ALIGNMENT),
                0,
            );
            evaluators.push(EvaluatorRow {
                code: (evaluator_code.len() as u32).into(),
                length: (bytes.len() as u32).into(),
            });
            evaluator_code.extend_from_slice(bytes);
        }
        let metadata = crate::codec::encode(metadata)
            .map_err(|what| PackError::new(0, format!("metadata: {what}")))?;
        Ok(assemble([
            &metadata,
            forms.as_bytes(),
            alternatives.as_bytes(),
            domains.as_bytes(),
            exceptions.as_bytes(),
            stencils.as_bytes(),
            hole_lists.as_bytes(),
            holes.as_bytes(),
            &code,
            &self.pool,
            evaluators.as_bytes(),
            &evaluator_code,
        ]))
    }
}

/// Lays the sections out, in the order of [`SectionKind::ALL`].
fn assemble(parts: [&[u8]; SectionKind::ALL.len()]) -> Vec<u8> {
    let mut offset = size_of::<Header>() + parts.len() * size_of::<Section>();
    let mut rows = Vec::new();
    for (kind, part) in SectionKind::ALL.into_iter().zip(parts) {
        offset = offset.next_multiple_of(ALIGNMENT);
        rows.push(Section {
            kind: (kind as u32).into(),
            reserved: 0.into(),
            offset: (offset as u64).into(),
            length: (part.len() as u64).into(),
            digest: *blake3::hash(part).as_bytes(),
        });
        offset += part.len();
    }
    let header = Header {
        magic: MAGIC,
        version: FORMAT_VERSION.into(),
        sections: (parts.len() as u32).into(),
        file_bytes: (offset as u64).into(),
        digest: *blake3::hash(rows.as_bytes()).as_bytes(),
    };
    let mut file = header.as_bytes().to_vec();
    file.extend_from_slice(rows.as_bytes());
    for (row, part) in rows.iter().zip(parts) {
        file.resize(row.offset.get() as usize, 0);
        file.extend_from_slice(part);
    }
    file
}
