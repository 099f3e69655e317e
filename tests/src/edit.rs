//! Takes a pack apart and puts it together again, so that tests can plant errors in it.

use std::collections::BTreeMap;
use std::ops::Range;

use copatch_spec::pack::tables::{DomainRow, Header, Section, SectionKind, StencilRow};
use copatch_spec::pack::{
    AlternativeParts, Domain, FormParts, Metadata, PackError, PackView, PackWriter, StencilParts,
};
use copatch_spec::variants::{self, FormKey};
use zerocopy::{FromBytes, IntoBytes};

const SECTIONS: usize = SectionKind::ALL.len();

/// The parts of a pack.
///
/// # Errors
/// Where the bytes are no pack.
pub fn take_apart(bytes: &[u8]) -> Result<(PackWriter, Metadata), PackError> {
    let (view, metadata) = copatch_spec::pack::validate(bytes)?;
    let mut counts = BTreeMap::new();
    for (number, op) in metadata.ops.iter().enumerate() {
        for form in variants::forms(op, &metadata.machine) {
            let count: usize = form.radices(op, &metadata.machine).iter().product();
            counts.insert((number as u16, form.key().0), count);
        }
    }
    let mut writer = PackWriter {
        pool: view.pool.to_vec(),
        ..PackWriter::default()
    };
    for row in view.forms {
        let (op, key) = (row.op.get(), row.key.get());
        let records = counts.get(&(op, key)).copied().unwrap_or(0);
        let first = row.first.get() as usize;
        let alternatives = (first..first + usize::from(row.count.get()))
            .map(|index| {
                let alternative = &view.alternatives[index];
                let (domains, stencils) = (
                    alternative.domains.get() as usize,
                    alternative.stencils.get() as usize,
                );
                AlternativeParts {
                    domains: view.domains[domains..][..usize::from(row.values.get())]
                        .iter()
                        .map(|row| domain(&view, row))
                        .collect(),
                    stencils: view.stencils[stencils..][..records]
                        .iter()
                        .map(|row| stencil(&view, row))
                        .collect(),
                }
            })
            .collect();
        writer.forms.push(FormParts {
            op,
            key: FormKey(key),
            values: row.values.get(),
            alternatives,
        });
    }
    for row in view.evaluators {
        let code = (row.code.get() != StencilRow::ABSENT).then(|| {
            view.evaluator_code[row.code.get() as usize..][..row.length.get() as usize].to_vec()
        });
        writer.evaluators.push(code);
    }
    Ok((writer, metadata))
}

fn domain(view: &PackView, row: &DomainRow) -> Domain {
    let first = row.first_exception.get() as usize;
    let exceptions = &view.exceptions[first..first + usize::from(row.exceptions.get())];
    Domain {
        lo: row.lo.get(),
        hi: row.hi.get(),
        align: row.align.get() as u8,
        exceptions: exceptions.iter().map(|value| value.get()).collect(),
    }
}

fn stencil(view: &PackView, row: &StencilRow) -> Option<StencilParts> {
    if row.code.get() == StencilRow::ABSENT {
        return None;
    }
    let list = &view.hole_lists[usize::from(row.holes.get())];
    Some(StencilParts {
        code: view.code[row.code.get() as usize..][..usize::from(row.length.get())].to_vec(),
        holes: view.holes[list.first.get() as usize..][..usize::from(list.count.get())].to_vec(),
    })
}

/// The same pack after `change`.
///
/// # Errors
/// Where the bytes are no pack, or what was changed does not fit one.
pub fn edited(
    bytes: &[u8],
    change: impl FnOnce(&mut PackWriter, &mut Metadata),
) -> Result<Vec<u8>, PackError> {
    let (mut writer, mut metadata) = take_apart(bytes)?;
    change(&mut writer, &mut metadata);
    writer.write(&metadata)
}

/// Where the sections of a pack lie, in file order; nothing if the bytes are no pack.
pub fn sections(bytes: &[u8]) -> Vec<Range<usize>> {
    let Ok((rows, _)) = <[Section]>::ref_from_prefix_with_elems(
        bytes.get(size_of::<Header>()..).unwrap_or_default(),
        SECTIONS,
    ) else {
        return Vec::new();
    };
    rows.iter()
        .map(|row| row.offset.get() as usize..(row.offset.get() + row.length.get()) as usize)
        .filter(|range| bytes.get(range.clone()).is_some())
        .collect()
}

/// Makes every digest of a pack right again after its sections were changed in place.
pub fn reseal(bytes: &mut [u8]) {
    let digests: Vec<[u8; 32]> = sections(bytes)
        .into_iter()
        .map(|range| *blake3::hash(&bytes[range]).as_bytes())
        .collect();
    let Ok((header, rest)) = Header::mut_from_prefix(bytes) else {
        return;
    };
    let Ok((rows, _)) = <[Section]>::mut_from_prefix_with_elems(rest, SECTIONS) else {
        return;
    };
    for (row, digest) in rows.iter_mut().zip(digests) {
        row.digest = digest;
    }
    header.digest = *blake3::hash(rows.as_bytes()).as_bytes();
}
