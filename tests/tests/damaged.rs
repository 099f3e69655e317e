//! A damaged pack is an error that says where, and never a crash.

mod common;

use common::open;
use copatch::spec::pack::{PackView, validate};
use copatch::{Pack, Signature, ValueType};
use copatch_conformance::damage::{damaged, open_and_compile};
use copatch_conformance::edit::{edited, sections, take_apart};
use copatch_conformance::{Compiled, Function, Program, Step, op};
use proptest::prelude::*;
use proptest::sample::Index;

fn packs() -> Vec<&'static [u8]> {
    let packs = common::packs().into_iter();
    packs.map(|(_, bytes)| bytes).collect()
}

#[test]
fn committed_packs_are_in_order() {
    for bytes in packs() {
        validate(bytes).unwrap();
        let (writer, metadata) = take_apart(bytes).unwrap();
        assert!(
            writer.write(&metadata).unwrap() == bytes,
            "taking {} apart loses something",
            metadata.triple
        );
    }
}

#[test]
fn every_truncation_is_an_error() {
    for bytes in packs() {
        let sections = sections(bytes);
        let ends = sections
            .iter()
            .flat_map(|range| [range.start, range.end - 1]);
        for end in (0..300).chain(ends).chain([bytes.len() - 1]) {
            let error = open("short.pack", bytes[..end].to_vec())
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("short.pack: ") && error.contains(" at byte 0x"),
                "{error}"
            );
        }
    }
}

#[test]
fn wrong_version_magic_and_digest_are_told_apart() {
    for bytes in packs() {
        let with = |at: usize, value: u8| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= value;
            open("x.pack", bytes).unwrap_err().to_string()
        };
        assert!(with(0, 1).contains("magic"), "{}", with(0, 1));
        assert!(with(8, 2).contains("version"), "{}", with(8, 2));
        // The last byte of the first section's digest, and a byte of each section.
        assert!(with(56 + 55, 1).contains("digest"), "{}", with(56 + 55, 1));
        for range in sections(bytes) {
            if !range.is_empty() {
                assert!(
                    with(range.start, 1).contains("digest"),
                    "{}",
                    with(range.start, 1)
                );
            }
        }
    }
}

#[test]
fn a_pack_for_another_machine_is_refused() {
    let (name, bytes) = copatch_pack_toy::packs()[0];
    let foreign = |triple: &str, cpu: &[&str]| {
        let bytes = edited(bytes, |_, metadata| {
            metadata.triple = triple.to_owned();
            metadata.cpu = cpu.iter().map(|feature| (*feature).to_owned()).collect();
        });
        let bytes: &'static [u8] = bytes.unwrap().leak();
        Pack::for_host(&[(name, bytes)])
            .err()
            .map(|error| error.to_string())
    };
    let machine = validate(bytes).unwrap().1;
    for triple in [
        "s390x-unknown-linux-gnu",
        "x86_64-pc-windows-msvc",
        "no triple at all",
    ] {
        let error = foreign(triple, &[]).unwrap();
        assert!(error.contains(triple) && error.contains(name), "{error}");
    }
    assert!(foreign(&machine.triple, &["a-feature-that-no-processor-has"]).is_some());
    assert_eq!(foreign(&machine.triple, &[]), None);
}

/// As on machines for which clang's code for it is refused.
#[test]
fn an_operation_without_code_is_named() {
    let (_, bytes) = copatch_pack_toy::packs()[0];
    let without = edited(bytes, |writer, metadata| {
        let name = |op: u16| metadata.ops[usize::from(op)].name.as_str();
        writer.forms.retain(|form| name(form.op) != "i64.mul");
    });
    let program = Program {
        functions: vec![Function {
            signature: Signature {
                params: vec![ValueType::I64],
                results: vec![ValueType::I64],
            },
            locals: Vec::new(),
            body: vec![Step::Get(0), Step::Get(0), op("i64.mul", &[]), Step::End],
        }],
        helpers: Vec::new(),
        arguments: vec![0],
    };
    let compiled = Compiled {
        pack: open("without.pack", without.unwrap()).unwrap(),
        planned: true,
    };
    let error = compiled.compile(&program, false).err().unwrap().to_string();
    assert!(error.contains("no code for i64.mul on "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: copatch_conformance::cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_is_an_error(which in any::<Index>(), at in any::<Index>(), bit in 0..8u32) {
        let packs = packs();
        let original = packs[which.index(packs.len())];
        let at = at.index(original.len());
        let mut bytes = original.to_vec();
        bytes[at] ^= 1 << bit;
        prop_assert!(open("flipped.pack", bytes).is_err(), "byte {at:#x} of {} changed unnoticed", original.len());
    }

    /// Damage that its digests vouch for, or not: every index and offset must be checked where it is used. The body is that
    /// of the fuzz target `load`.
    #[test]
    fn damage_is_an_error_or_harmless(
        which in any::<Index>(),
        seal in any::<u8>(),
        changes in prop::collection::vec((0..13u8, any::<[u8; 5]>()), 1..6),
    ) {
        let packs = packs();
        let changes = changes.iter().flat_map(|(section, rest)| std::iter::once(section).chain(rest));
        let data: Vec<u8> = std::iter::once(&seal).chain(changes).copied().collect();
        let bytes = damaged(packs[which.index(packs.len())], &data);
        // What digests vouch for has a frame that stands, unless the frame was changed.
        let framed = data[1..].chunks(6).all(|change| change[0] < 12);
        prop_assert!(seal & 1 == 1 || !framed || PackView::open(&bytes).is_ok());
        let _ = open_and_compile(bytes);
    }
}
