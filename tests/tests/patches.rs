//! Patching, read back: what was patched into code is in it, and what does not fit is an error.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Toy, Wasm, runnable};
use copatch::Pack;
use copatch::spec::pack::tables::{HoleRow, StencilRow};
use copatch::spec::pack::{PackView, validate};
use copatch::spec::patch::{PatchKind, Source, fill};
use copatch_conformance::edit::edited;
use copatch_conformance::generate::generate;
use copatch_conformance::patches::{admits, read_back};
use copatch_conformance::{Compiled, Dialect, Program};
use proptest::prelude::*;

/// Values that a kind admits: its borders, and anything between.
fn admitted(kind: &PatchKind) -> BoxedStrategy<i64> {
    let (lo, hi, align) = (kind.lo, kind.hi, kind.align.min(63));
    let fit = move |value: i64| value.clamp(lo, hi) >> align << align;
    let near = prop_oneof![
        Just(lo),
        Just(hi),
        Just(0),
        Just(1),
        Just(-1),
        (0..63u32).prop_map(|bit| 1 << bit)
    ];
    prop_oneof![near, lo..=hi, any::<i64>()]
        .prop_map(fit)
        .prop_filter("below the least", move |value| *value >= lo)
        .boxed()
}

/// Whether the fields have fewer bits than the values that are admitted.
fn is_half(kind: &PatchKind) -> bool {
    let bits: u32 = kind
        .fields
        .iter()
        .map(|field| u32::from(field.end - field.start))
        .sum();
    let span = kind.hi.wrapping_sub(kind.lo) as u64;
    bits < u64::BITS - span.leading_zeros() - u32::from(kind.align)
}

#[test]
fn every_kind_of_every_pack_reads_back() {
    for (name, bytes) in copatch_pack_toy::packs()
        .iter()
        .chain(copatch_pack_wasm::packs())
    {
        let (_, metadata) = validate(bytes).unwrap();
        assert!(!metadata.kinds.is_empty());
        for kind in &metadata.kinds {
            let config = ProptestConfig {
                failure_persistence: None,
                ..ProptestConfig::default()
            };
            let mut runner = proptest::test_runner::TestRunner::new(config);
            let verdict = runner.run(&(admitted(kind), any::<u64>()), |(value, window)| {
                prop_assert!(admits(kind, value));
                let read = read_back(kind, fill(kind, window, value)).unwrap();
                prop_assert!(read.is(value), "{:x?}", read);
                // No bit that it says something of could be another one.
                for bit in read.unknown..read.known {
                    prop_assert!(!read.is(value ^ 1 << bit), "bit {bit} of {:x?}", read);
                }
                // Bits that the operation does not look at may be lost (the upper ones of a shift's distance, or of what
                // a narrow store stores), but never bits of a place, unless another hole has the other half of them.
                prop_assert!(
                    read.value(kind) == Some(value) || !kind.pc_relative || is_half(kind),
                    "{:x?}",
                    read
                );
                Ok(())
            });
            verdict.unwrap_or_else(|error| panic!("{name}: {kind:?}: {error}"));
        }
    }
}

/// Programs that together use much of a pack.
fn programs(pack: &Pack, dialect: &dyn Dialect) -> Vec<Program> {
    let numbers = |program: u64| {
        (0..400u64)
            .map(move |index| (index + 400 * program + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    (0..60)
        .map(|program| {
            generate(
                pack.metadata(),
                dialect,
                &numbers(program).collect::<Vec<u64>>(),
            )
        })
        .collect()
}

fn holes<'v>(view: &PackView<'v>, row: &StencilRow) -> &'v [HoleRow] {
    let list = &view.hole_lists[usize::from(row.holes.get())];
    &view.holes[list.first.get() as usize..][..usize::from(list.count.get())]
}

fn window(code: &[u8], at: usize, bytes: u8) -> u64 {
    (0..usize::from(bytes)).fold(0, |window, index| {
        window | u64::from(code[at + index]) << (8 * index)
    })
}

/// The bits of a stencil that belong to a hole.
fn mask(kind: &PatchKind) -> u64 {
    kind.fields.iter().fold(0, |mask, field| {
        mask | (u64::MAX >> (64 - (field.end - field.start))) << field.start
    })
}

/// Generated code is the pack's stencils with the builder's values in their holes, and nothing else.
#[test]
fn generated_code_reads_back() {
    if !copatch::jit_available() {
        return;
    }
    let toy = runnable(copatch_pack_toy::packs())
        .into_iter()
        .map(|pack| (pack, &Toy as &dyn Dialect));
    let wasm = runnable(copatch_pack_wasm::packs())
        .into_iter()
        .map(|pack| (pack, &Wasm as &dyn Dialect));
    for ((name, pack), dialect) in toy.chain(wasm) {
        let view = pack.view().unwrap();
        let kinds = &pack.metadata().kinds;
        let compiled = Compiled {
            pack: Arc::clone(&pack),
            planned: true,
        };
        let mut values = 0;
        for program in programs(&pack, dialect) {
            let program = compiled.compile(&program, true).unwrap();
            let code = program.code();
            for emitted in program.listing().unwrap() {
                let Some(row) = view.stencils.get(emitted.stencil as usize) else {
                    continue;
                };
                let start = emitted.offset as usize;
                let mut expected =
                    view.code[row.code.get() as usize..][..usize::from(row.length.get())].to_vec();
                for hole in holes(&view, row) {
                    let at = start + usize::from(hole.offset.get());
                    let kind = &kinds[usize::from(hole.kind)];
                    let found = window(code, at, kind.window);
                    let read = read_back(kind, found).unwrap();
                    match Source::decode(hole.source).unwrap() {
                        Source::Value(index) => {
                            let wanted =
                                emitted.values[usize::from(index)] + i64::from(hole.addend.get());
                            assert!(read.is(wanted), "{name}: {hole:?} {kind:?} in {emitted:?}");
                            values += 1;
                        }
                        _ => {
                            let value = read.value(kind).unwrap();
                            let place = value - i64::from(hole.addend.get()) + at as i64;
                            assert!(
                                (0..code.len() as i64).contains(&place),
                                "{name}: {hole:?} leads to {place:#x}"
                            );
                        }
                    }
                    for byte in 0..usize::from(kind.window) {
                        let bits = (mask(kind) >> (8 * byte)) as u8;
                        expected[usize::from(hole.offset.get()) + byte] |= code[at + byte] & bits;
                    }
                }
                assert_eq!(
                    &code[start..start + expected.len()],
                    expected,
                    "{name}: {emitted:?}"
                );
            }
        }
        assert!(values > 1_000, "{name}: only {values} values were patched");
    }
}

/// Kinds that admit less than the domains say: the engine must notice each time, and never generate code.
#[test]
fn values_out_of_a_kinds_range_are_errors() {
    if !copatch::jit_available() {
        return;
    }
    let (name, bytes) = copatch_pack_toy::packs()
        .iter()
        .find(|pack| Pack::for_host(&[**pack]).is_ok())
        .unwrap();
    let pack = Pack::for_host(&[(name, bytes)]).unwrap();
    let view = pack.view().unwrap();
    let programs = programs(&pack, &Toy);
    // For each program the kinds of holes that take values, and the values.
    let used: Vec<BTreeSet<(u8, i64)>> = programs
        .iter()
        .map(|program| {
            let program = Compiled {
                pack: Arc::clone(&pack),
                planned: true,
            }
            .compile(program, true)
            .unwrap();
            let emitted = program.listing().unwrap().iter();
            let rows = emitted.filter_map(|emitted| {
                Some((emitted, view.stencils.get(emitted.stencil as usize)?))
            });
            let values = rows.flat_map(|(emitted, row)| {
                holes(&view, row)
                    .iter()
                    .filter_map(|hole| match Source::decode(hole.source)? {
                        Source::Value(index) => Some((
                            hole.kind,
                            emitted.values[usize::from(index)] + i64::from(hole.addend.get()),
                        )),
                        _ => None,
                    })
            });
            values.collect()
        })
        .collect();
    let mut noticed = 0;
    for kind in 0..pack.metadata().kinds.len() as u8 {
        for misalign in [false, true] {
            let narrow = |kinds: &mut PatchKind| {
                if misalign {
                    kinds.align += 1
                } else {
                    kinds.lo = kinds.hi
                }
            };
            let mut narrowed = pack.metadata().kinds[usize::from(kind)].clone();
            narrow(&mut narrowed);
            let wrong = edited(bytes, |_, metadata| {
                metadata.kinds[usize::from(kind)] = narrowed.clone()
            })
            .unwrap();
            // A file with such a kind is refused, if a domain relies on it; embedded packs are not checked.
            let wrong = Pack::embedded(wrong.leak()).unwrap();
            let compiled = Compiled {
                pack: wrong,
                planned: true,
            };
            for (program, used) in programs.iter().zip(&used) {
                let refused = used
                    .iter()
                    .any(|(found, value)| *found == kind && !admits(&narrowed, *value));
                if refused {
                    let error = compiled
                        .compile(program, false)
                        .err()
                        .map(|error| error.to_string());
                    assert!(
                        error.is_some(),
                        "kind {kind} {narrowed:?} let a value through"
                    );
                    noticed += 1;
                }
            }
        }
    }
    assert!(noticed > 50, "only {noticed} values were out of range");
}
