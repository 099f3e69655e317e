//! A damaged pack is an error that says where, and never a crash.

mod common;

use copatch::Pack;
use copatch::spec::pack::{PackView, validate};
use copatch_conformance::edit::{edited, reseal, sections, take_apart};
use proptest::prelude::*;
use proptest::sample::Index;

fn packs() -> Vec<&'static [u8]> {
    copatch_pack_toy::packs()
        .iter()
        .chain(copatch_pack_wasm::packs())
        .map(|(_, bytes)| *bytes)
        .collect()
}

/// Opens bytes as a file would be opened, and generates code where that works: it may be wrong, but it may not crash.
fn open_and_compile(bytes: Vec<u8>) -> Result<(), String> {
    let pack = Pack::from_bytes("damaged", bytes).map_err(|error| error.to_string())?;
    let dialect: &dyn copatch_conformance::Dialect = if pack.metadata().isa == "toy" {
        &common::Toy
    } else {
        &common::Wasm
    };
    let numbers: Vec<u64> = (0..200u64)
        .map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect();
    let program = copatch_conformance::generate::generate(pack.metadata(), dialect, &numbers);
    let compiled = copatch_conformance::Compiled {
        pack,
        planned: true,
    };
    compiled
        .compile(&program, false)
        .map(drop)
        .map_err(|error| error.to_string())
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
            let error = Pack::from_bytes("short.pack", bytes[..end].to_vec())
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
            Pack::from_bytes("x.pack", bytes).unwrap_err().to_string()
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

proptest! {
    #![proptest_config(ProptestConfig { cases: copatch_conformance::cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Only bytes between sections may change unnoticed.
    #[test]
    fn a_flipped_bit_is_an_error(which in any::<Index>(), at in any::<Index>(), bit in 0..8u32) {
        let packs = packs();
        let original = packs[which.index(packs.len())];
        let at = at.index(original.len());
        let mut bytes = original.to_vec();
        bytes[at] ^= 1 << bit;
        let told = Pack::from_bytes("flipped.pack", bytes).is_err();
        let first = sections(original)[0].start;
        let table = 56 + 12 * 56;
        let counts = at < table || at >= first && sections(original).iter().any(|range| range.contains(&at));
        prop_assert!(told || !counts, "byte {at:#x} of {} changed unnoticed", original.len());
    }

    /// Damage that its digests vouch for: every index and offset must be checked where it is used.
    #[test]
    fn sealed_damage_is_an_error_or_harmless(
        which in any::<Index>(),
        changes in prop::collection::vec((0..12usize, any::<Index>(), any::<u8>()), 1..6),
    ) {
        let packs = packs();
        let mut bytes = packs[which.index(packs.len())].to_vec();
        for (section, at, value) in changes {
            let range = sections(&bytes)[section].clone();
            if !range.is_empty() {
                bytes[range.start + at.index(range.len())] = value;
            }
        }
        reseal(&mut bytes);
        prop_assert!(PackView::open(&bytes).is_ok());
        let _ = open_and_compile(bytes);
    }
}
