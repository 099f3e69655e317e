//! A value class without registers: a made-up machine whose floats live in slots, and whose operations on them go from
//! slot to slot. `tests/packs/README.md` says where its pack comes from.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))] // The made-up machine is one of these with a smaller register file.

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::Toy;
use copatch::{Pack, ValueType};
use copatch_conformance::{Kit, cases};
use copatch_toy::{Executable, Stop, interpret, parse};
use proptest::prelude::*;

fn pack() -> Arc<Pack> {
    let name = "packs/toy-without-float-registers.pack";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    let pack = common::open(name, std::fs::read(path).unwrap()).unwrap();
    let machine = &pack.metadata().machine;
    assert_eq!(machine.registers(ValueType::F64), 0);
    assert!(machine.registers(ValueType::I64) > 0);
    pack
}

#[test]
fn random_programs_agree() {
    if let (true, Err(found)) = (
        copatch::jit_available(),
        Kit::new(pack(), Toy).unwrap().run(cases()),
    ) {
        panic!("{found}");
    }
}

#[test]
fn the_toy_suite_runs() {
    if !copatch::jit_available() {
        return;
    }
    let pack = pack();
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../plugins/toy/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toy") {
            let program = parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let main = program.function("main").unwrap();
            let mut output = Vec::new();
            let executable = Executable::new(&program, &pack).unwrap();
            executable.run(main, &[], &mut output).unwrap();
            let expected = std::fs::read(path.with_extension("expected")).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&output),
                String::from_utf8_lossy(&expected)
            );
            count += 1;
        }
    }
    assert!(count >= 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_texts_agree(numbers in prop::collection::vec(any::<u64>(), 0..400)) {
        let text = common::source::generate(&numbers);
        let program = parse(&text).unwrap();
        let main = program.function("main").unwrap();
        let mut expected = Vec::new();
        let interpreted = interpret(&program, main, &[], &mut expected, 300_000);
        if copatch::jit_available() && interpreted != Err(Stop::Steps) {
            let mut found = Vec::new();
            let compiled = Executable::new(&program, &pack()).unwrap().run(main, &[], &mut found);
            prop_assert_eq!(compiled.is_ok(), interpreted.is_ok());
            prop_assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected), "{}", text);
        }
    }
}
