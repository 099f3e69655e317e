//! The validator on a pack that is in order, on one with a single thing wrong, and on any damage at all.

use std::sync::LazyLock;

use copatch_spec::isa::Shape;
use copatch_spec::limits;
use copatch_spec::pack::tables::{
    AlternativeRow, DomainRow, EvaluatorRow, FormRow, Header, HoleListRow, HoleRow, Section,
    SectionKind, StencilRow,
};
use copatch_spec::pack::{
    AlternativeParts, Domain, FORMAT_VERSION, FormParts, Metadata, PackView, PackWriter,
    StencilParts, validate,
};
use copatch_spec::patch::{Field, PatchKind, Source};
use copatch_spec::variants::{FormKey, Outcome, forms};
use copatch_spec::{InstructionSet, Target};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

fn kind(window: u8, pc_relative: bool) -> PatchKind {
    let end = window * 8;
    PatchKind {
        window,
        pc_relative,
        lo: i64::MIN >> (64 - end),
        hi: i64::MAX >> (64 - end),
        align: 0,
        fields: vec![Field {
            start: 0,
            end,
            shift: 0,
            negate: false,
            addend: 0,
        }],
    }
}

/// A pack of the toy instruction set with every form, two alternatives where a form has values; its code is no code.
fn pack() -> Vec<u8> {
    static PACK: LazyLock<Vec<u8>> = LazyLock::new(build);
    PACK.clone()
}

fn build() -> Vec<u8> {
    let isa = InstructionSet::builtin("toy").unwrap().unwrap();
    let machine = Target::builtin("x86_64").unwrap().machine();
    let mut writer = PackWriter {
        pool: vec![7; 32],
        evaluators: isa
            .ops
            .iter()
            .map(|op| op.result.map(|_| vec![0xc3]))
            .collect(),
        ..PackWriter::default()
    };
    for (number, op) in isa.ops.iter().enumerate() {
        for form in forms(op, &machine) {
            let values = form.values(op).len();
            let records: usize = form.radices(op, &machine).iter().product();
            let hole = |offset: u16, kind: u8, source: Source| HoleRow {
                offset: offset.into(),
                kind,
                source: source.encode(),
                addend: 0.into(),
            };
            let mut holes: Vec<HoleRow> = (0..values as u16)
                .map(|value| hole(8 * value, 0, Source::Value(value as u8)))
                .collect();
            let mut next = 8 * values as u16;
            let mut add = |kind: u8, source: Source| {
                holes.push(hole(next, kind, source));
                next += 8;
            };
            if form.outcome != Outcome::Plain || op.shape == Shape::Jump {
                add(1, Source::Target(0));
            }
            for trap in &op.traps {
                add(1, Source::Trap(*trap));
            }
            match op.shape {
                Shape::Table => add(2, Source::Table),
                Shape::Next if op.result.is_some() => add(1, Source::Pool),
                _ => {}
            }
            let alternative = |exceptions: Vec<i64>| AlternativeParts {
                domains: vec![
                    Domain {
                        lo: -128,
                        hi: 127,
                        align: 0,
                        exceptions
                    };
                    values
                ],
                stencils: (0..records)
                    .map(|record| {
                        (record % 17 != 16).then(|| StencilParts {
                            code: vec![number as u8; next.into()],
                            holes: holes.clone(),
                        })
                    })
                    .collect(),
            };
            let mut alternatives = vec![alternative(vec![-128, 3])];
            if values > 0 {
                alternatives.push(alternative(vec![]));
            }
            writer.forms.push(FormParts {
                op: number as u16,
                key: form.key(),
                values: values as u16,
                alternatives,
            });
        }
    }
    let metadata = Metadata {
        isa: isa.name,
        isa_version: isa.version,
        isa_digest: isa.digest,
        triple: "x86_64-unknown-linux-gnu".to_owned(),
        features: String::new(),
        cpu: Vec::new(),
        compiler: "none".to_owned(),
        flags: Vec::new(),
        machine,
        traps: isa.traps,
        kinds: vec![kind(1, false), kind(4, true), kind(8, false)],
        ops: isa.ops,
    };
    writer.write(&metadata).unwrap()
}

/// The row of a section, and where the row lies in the file.
fn section(bytes: &[u8], kind: SectionKind) -> (Section, usize) {
    let at = size_of::<Header>() + (kind as usize - 1) * size_of::<Section>();
    (Section::read_from_prefix(&bytes[at..]).unwrap().0, at)
}

/// Makes all digests right again.
fn seal(bytes: &mut [u8]) {
    for kind in SectionKind::ALL {
        let (mut row, at) = section(bytes, kind);
        let start = row.offset.get() as usize;
        let Some(content) = bytes
            .get(start..)
            .and_then(|rest| rest.get(..row.length.get() as usize))
        else {
            continue;
        };
        row.digest = *blake3::hash(content).as_bytes();
        bytes[at..at + size_of::<Section>()].copy_from_slice(row.as_bytes());
    }
    let table = size_of::<Header>()..size_of::<Header>() + 12 * size_of::<Section>();
    let digest = *blake3::hash(&bytes[table]).as_bytes();
    bytes[24..56].copy_from_slice(&digest);
}

/// Changes one row of a table, seals the pack and gives the validator's message.
fn with_row<T: FromBytes + IntoBytes + zerocopy::Immutable>(
    kind: SectionKind,
    index: usize,
    change: impl FnOnce(&mut T),
) -> String {
    let mut bytes = pack();
    let at = section(&bytes, kind).0.offset.get() as usize + index * size_of::<T>();
    let mut row = T::read_from_prefix(&bytes[at..]).unwrap().0;
    change(&mut row);
    bytes[at..at + size_of::<T>()].copy_from_slice(row.as_bytes());
    seal(&mut bytes);
    match validate(&bytes) {
        Ok(_) => "it passed".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Changes the metadata of a pack without forms and gives the validator's message.
fn with_metadata(change: impl FnOnce(&mut Metadata)) -> String {
    let bytes = pack();
    let (view, mut metadata) = validate(&bytes).unwrap();
    change(&mut metadata);
    let writer = PackWriter {
        pool: view.pool.to_vec(),
        evaluators: metadata.ops.iter().map(|_| None).collect(),
        ..PackWriter::default()
    };
    let bytes = writer.write(&metadata).unwrap();
    match validate(&bytes) {
        Ok(_) => "it passed".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Follows every index of a pack as the engine does, without looking.
fn walk(view: &PackView<'_>, metadata: &Metadata) -> usize {
    let mut sum = 0;
    for form in view.forms {
        let op = &metadata.ops[usize::from(form.op.get())];
        let shape = forms(op, &metadata.machine)
            .into_iter()
            .find(|other| other.key().0 == form.key.get())
            .unwrap();
        let records: usize = shape.radices(op, &metadata.machine).iter().product();
        for index in 0..form.count.get() {
            let alternative = &view.alternatives[form.first.get() as usize + usize::from(index)];
            for value in 0..usize::from(form.values.get()) {
                let domain = &view.domains[alternative.domains.get() as usize + value];
                let first = domain.first_exception.get() as usize;
                sum += view.exceptions[first..][..usize::from(domain.exceptions.get())].len();
            }
            for record in 0..records {
                let stencil = &view.stencils[alternative.stencils.get() as usize + record];
                if stencil.code.get() == StencilRow::ABSENT {
                    continue;
                }
                let mut code = view.code[stencil.code.get() as usize..]
                    [..usize::from(stencil.length.get())]
                    .to_vec();
                let list = &view.hole_lists[usize::from(stencil.holes.get())];
                for hole in
                    &view.holes[list.first.get() as usize..][..usize::from(list.count.get())]
                {
                    let kind = &metadata.kinds[usize::from(hole.kind)];
                    assert!(Source::decode(hole.source).is_some());
                    code[usize::from(hole.offset.get())..][..usize::from(kind.window)].fill(1);
                    sum += kind
                        .fields
                        .iter()
                        .map(|field| field.encode(sum as i64) as usize & 1)
                        .sum::<usize>();
                }
            }
        }
    }
    for row in view.evaluators {
        if row.code.get() != StencilRow::ABSENT {
            sum +=
                view.evaluator_code[row.code.get() as usize..][..row.length.get() as usize].len();
        }
    }
    sum
}

#[test]
fn a_pack_in_order_passes() {
    let bytes = pack();
    let (view, metadata) = validate(&bytes).unwrap();
    assert!(view.forms.len() > 50 && view.stencils.len() > 1000);
    assert!(walk(&view, &metadata) > 0);
}

#[test]
fn each_single_fault_in_a_table_is_named() {
    use SectionKind::{
        Alternatives, Domains, Evaluators, Exceptions, Forms, HoleLists, Holes, Stencils,
    };
    let bytes = pack();
    let (view, _) = validate(&bytes).unwrap();
    let with_holes = view
        .stencils
        .iter()
        .position(|row| row.holes.get() != 0)
        .unwrap();
    let list = usize::from(view.stencils[with_holes].holes.get());
    // The last one: the first belongs to core.br_table, which may refer to tables.
    let valued = view
        .holes
        .iter()
        .rposition(|hole| hole.source == 0)
        .unwrap();
    let two = view.hole_lists.iter().find(|list| list.count.get() > 1);
    let second = two.unwrap().first.get() as usize + 1;
    let pool = view
        .holes
        .iter()
        .position(|hole| hole.source == Source::Pool.encode())
        .unwrap();
    let mut evaluators = view.evaluators.iter();
    let evaluated = evaluators.position(|row| row.length.get() != 0).unwrap();
    for (what, message) in [
        (
            "operation 9999 does not exist",
            with_row(Forms, view.forms.len() - 1, |row: &mut FormRow| {
                row.op = 9999.into()
            }),
        ),
        (
            "has no form",
            with_row(Forms, view.forms.len() - 1, |row: &mut FormRow| {
                row.key = 0x7ff.into()
            }),
        ),
        (
            "forms do not ascend",
            with_row(Forms, 1, |row: &mut FormRow| row.key = 0.into()),
        ),
        (
            "values instead of",
            with_row(Forms, 0, |row: &mut FormRow| row.values = 7.into()),
        ),
        (
            "do not follow",
            with_row(Forms, 1, |row: &mut FormRow| row.first = 0.into()),
        ),
        (
            "do not follow",
            with_row(Forms, 0, |row: &mut FormRow| row.count = 0.into()),
        ),
        (
            "do not follow",
            with_row(Alternatives, 1, |row: &mut AlternativeRow| {
                row.stencils = 0.into()
            }),
        ),
        (
            "domains outside",
            with_row(Alternatives, 0, |row: &mut AlternativeRow| {
                row.domains = u32::MAX.into()
            }),
        ),
        (
            "without values",
            with_row(Domains, 0, |row: &mut DomainRow| row.lo = 128.into()),
        ),
        (
            "without values",
            with_row(Domains, 0, |row: &mut DomainRow| row.align = 63.into()),
        ),
        (
            "exceptions outside",
            with_row(Domains, 0, |row: &mut DomainRow| {
                row.exceptions = 9999.into()
            }),
        ),
        (
            "cannot hold",
            with_row(Domains, 0, |row: &mut DomainRow| row.hi = 128.into()),
        ),
        (
            "exceptions do not ascend",
            with_row(Exceptions, 0, |row: &mut [u8; 8]| *row = 3i64.to_le_bytes()),
        ),
        (
            "exceptions do not ascend",
            with_row(Exceptions, 1, |row: &mut [u8; 8]| {
                *row = 128i64.to_le_bytes()
            }),
        ),
        (
            "code outside",
            with_row(Stencils, 0, |row: &mut StencilRow| {
                row.code = 0x7fff_ffff.into()
            }),
        ),
        (
            "too long",
            with_row(Stencils, 0, |row: &mut StencilRow| {
                row.length = u16::MAX.into()
            }),
        ),
        (
            "absent stencil",
            with_row(Stencils, with_holes, |row: &mut StencilRow| {
                row.code = StencilRow::ABSENT.into()
            }),
        ),
        (
            "does not exist",
            with_row(Stencils, 0, |row: &mut StencilRow| {
                row.holes = u16::MAX.into()
            }),
        ),
        (
            "hole outside",
            with_row(Stencils, with_holes, |row: &mut StencilRow| {
                row.length = 0.into()
            }),
        ),
        (
            "list 0",
            with_row(HoleLists, 0, |row: &mut HoleListRow| row.count = 1.into()),
        ),
        (
            "outside the table",
            with_row(HoleLists, list, |row: &mut HoleListRow| {
                row.first = u32::MAX.into()
            }),
        ),
        (
            "reserved",
            with_row(HoleLists, list, |row: &mut HoleListRow| {
                row.reserved = 1.into()
            }),
        ),
        (
            "patch kind 200",
            with_row(Holes, 0, |row: &mut HoleRow| row.kind = 200),
        ),
        (
            "source 0xff",
            with_row(Holes, 0, |row: &mut HoleRow| row.source = 0xff),
        ),
        (
            "for a value",
            with_row(Holes, valued, |row: &mut HoleRow| row.source = 15),
        ),
        (
            "for a target",
            with_row(Holes, valued, |row: &mut HoleRow| {
                row.source = Source::Target(1).encode()
            }),
        ),
        (
            "for a table",
            with_row(Holes, valued, |row: &mut HoleRow| {
                row.source = Source::Table.encode()
            }),
        ),
        (
            "for a trap",
            with_row(Holes, valued, |row: &mut HoleRow| {
                row.source = Source::Trap(63).encode()
            }),
        ),
        (
            "outside the pool",
            with_row(Holes, pool, |row: &mut HoleRow| row.addend = 32.into()),
        ),
        (
            "overlap",
            with_row(Holes, second, |row: &mut HoleRow| row.offset = 0.into()),
        ),
        (
            "evaluator outside",
            with_row(Evaluators, 0, |row: &mut EvaluatorRow| {
                row.length = u32::MAX.into()
            }),
        ),
        (
            "not aligned",
            with_row(Evaluators, evaluated, |row: &mut EvaluatorRow| {
                row.code = (row.code.get() + 1).into()
            }),
        ),
    ] {
        assert!(message.contains(what), "expected {what:?}, got {message:?}");
    }
}

#[test]
fn each_single_fault_in_the_metadata_is_named() {
    for (what, message) in [
        (
            "window of 3",
            with_metadata(|data| data.kinds[0].window = 3),
        ),
        (
            "range is empty",
            with_metadata(|data| data.kinds[0].lo = 1 << 40),
        ),
        (
            "no field",
            with_metadata(|data| data.kinds[0].fields.clear()),
        ),
        (
            "outside its window",
            with_metadata(|data| data.kinds[0].fields[0].end = 9),
        ),
        (
            "outside its window",
            with_metadata(|data| data.kinds[0].fields[0].shift = 64),
        ),
        (
            "fields overlap",
            with_metadata(|data| {
                let field = data.kinds[0].fields[0];
                data.kinds[0].fields.push(field);
            }),
        ),
        (
            "too many patch kinds",
            with_metadata(|data| data.kinds = vec![kind(1, false); 257]),
        ),
        (
            "too many traps",
            with_metadata(|data| data.traps = vec![String::new(); 65]),
        ),
        (
            "too many operations",
            with_metadata(|data| data.ops = vec![data.ops[0].clone(); 4097]),
        ),
        (
            "trap without a name",
            with_metadata(|data| data.ops[0].traps = vec![63]),
        ),
        (
            "too many operands",
            with_metadata(|data| data.ops[0].operands = vec![copatch_spec::ValueType::I32; 5]),
        ),
        (
            "tied to an operand",
            with_metadata(|data| data.ops[0].tie = Some(9)),
        ),
        (
            "does not fit its operands",
            with_metadata(|data| {
                let op = data
                    .ops
                    .iter_mut()
                    .find(|op| !op.operands.is_empty())
                    .unwrap();
                op.forms[0].operands.clear();
            }),
        ),
        (
            "too many registers",
            with_metadata(|data| {
                data.machine.classes[0].1.registers =
                    (0..17).map(|number| format!("r{number}")).collect();
            }),
        ),
        (
            "two purposes",
            with_metadata(|data| {
                data.machine.classes[0].1.registers[1] = data.machine.fixed[0].register.clone();
            }),
        ),
        (
            "in two classes",
            with_metadata(|data| {
                let types = data.machine.classes[1].1.types.clone();
                data.machine.classes[0].1.types.extend(types);
            }),
        ),
        (
            "more arguments",
            with_metadata(|data| data.machine.classes[0].1.arguments = 200),
        ),
        (
            "its swap i32.no does not fit",
            with_metadata(|data| data.ops[0].swap = Some("i32.no".to_owned())),
        ),
        (
            "its swap core.jump does not fit",
            with_metadata(|data| {
                let binary = data.ops.iter_mut().find(|op| op.operands.len() == 2);
                binary.unwrap().swap = Some("core.jump".to_owned());
            }),
        ),
        (
            "control characters",
            with_metadata(|data| data.compiler = "clang\u{1b}[2J".to_owned()),
        ),
        (
            "control characters",
            with_metadata(|data| data.ops[0].name.push('\n')),
        ),
        (
            "too many traps",
            with_metadata(|data| data.ops[0].traps = vec![0; 65]),
        ),
    ] {
        assert!(message.contains(what), "expected {what:?}, got {message:?}");
    }
}

#[test]
fn forms_have_numbers_of_16_bits() {
    let bytes = pack();
    let (_, metadata) = validate(&bytes).unwrap();
    let form = || FormParts {
        op: 0,
        key: FormKey::registers(),
        values: 0,
        alternatives: vec![],
    };
    let writer = PackWriter {
        forms: (0..=limits::FORMS).map(|_| form()).collect(),
        ..PackWriter::default()
    };
    let error = writer.write(&metadata).expect_err("too many");
    assert!(error.to_string().contains("too many forms"), "{error}");
    // Rows of nothing behind those that are there: their number is looked at first. Other sections stay aligned.
    let mut bytes = bytes;
    let more = limits::FORMS.next_multiple_of(16) * size_of::<FormRow>();
    let (mut forms, at) = section(&bytes, SectionKind::Forms);
    let end = forms.offset.get() as usize + forms.length.get() as usize;
    forms.length = (forms.length.get() + more as u64).into();
    bytes[at..at + size_of::<Section>()].copy_from_slice(forms.as_bytes());
    for kind in SectionKind::ALL {
        let (mut row, at) = section(&bytes, kind);
        if row.offset.get() as usize >= end {
            row.offset = (row.offset.get() + more as u64).into();
            bytes[at..at + size_of::<Section>()].copy_from_slice(row.as_bytes());
        }
    }
    bytes.splice(end..end, vec![0; more]);
    let length = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    seal(&mut bytes);
    let error = validate(&bytes).expect_err("too many");
    assert!(error.to_string().contains("too many forms"), "{error}");
}

#[test]
fn another_version_or_kind_of_file_is_said_so() {
    let mut bytes = pack();
    bytes[8] = FORMAT_VERSION as u8 + 1;
    assert!(validate(&bytes).unwrap_err().what.contains("version"));
    assert!(validate(b"\x7fELF").unwrap_err().what.contains("too short"));
    assert!(validate(&[b'x'; 4096]).unwrap_err().what.contains("magic"));
    let mut longer = pack();
    longer.push(0);
    let length = longer.len() as u64;
    longer[16..24].copy_from_slice(&length.to_le_bytes());
    assert!(
        validate(&longer)
            .unwrap_err()
            .what
            .contains("behind the last")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// No bit of a pack is without meaning.
    #[test]
    fn any_flipped_bit_is_found(position in any::<prop::sample::Index>(), bit in 0u32..8) {
        let mut bytes = pack();
        let at = position.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(validate(&bytes).is_err(), "bit {bit} of byte {at:#x}");
    }

    #[test]
    fn any_truncation_is_found(position in any::<prop::sample::Index>()) {
        let mut bytes = pack();
        bytes.truncate(position.index(bytes.len()));
        prop_assert!(validate(&bytes).is_err());
    }

    #[test]
    fn bytes_of_any_kind_are_no_pack(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(validate(&bytes).is_err());
        let mut disguised = pack();
        let count = bytes.len().min(disguised.len());
        disguised[56..56 + count].copy_from_slice(&bytes[..count]);
        prop_assert!(bytes.is_empty() || validate(&disguised).is_err() || disguised == pack());
    }

    /// With digests made right again, what still passes can be followed without looking.
    #[test]
    fn what_passes_can_be_followed(
        kind in 0usize..12,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = pack();
        let (row, _) = section(&bytes, SectionKind::ALL[kind]);
        let (start, length) = (row.offset.get() as usize, row.length.get() as usize);
        for (position, value) in &changes {
            if length > 0 {
                bytes[start + position.index(length)] = *value;
            }
        }
        seal(&mut bytes);
        if let Ok((view, metadata)) = validate(&bytes) {
            walk(&view, &metadata);
        }
    }

    /// The same for the header and the section table.
    #[test]
    fn a_damaged_frame_never_panics(
        changes in prop::collection::vec((0usize..56 + 12 * 56, any::<u8>()), 1..4),
    ) {
        let mut bytes = pack();
        for (at, value) in &changes {
            bytes[*at] = *value;
        }
        seal(&mut bytes);
        if let Ok((view, metadata)) = validate(&bytes) {
            walk(&view, &metadata);
        }
    }
}
