//! Code for machines that are not this one, generated here from the committed packs and looked at by a disassembler. What this
//! processor and its calls of C can run is run.
#![allow(unsafe_code)] // Opens packs that nobody signed: this repository's own.

use std::path::{Path, PathBuf};

use copatch::Pack;
use copatch::plugin::Explanation;
use copatch_packer::diff::diff;
use copatch_packer::disassembly::listing;
use copatch_toy::{Executable, parse};

const EXAMPLES: [(&str, &str); 3] = [
    (
        include_str!("../../plugins/toy/examples/fib.toy"),
        include_str!("../../plugins/toy/examples/fib.expected"),
    ),
    (
        include_str!("../../plugins/toy/examples/mandelbrot.toy"),
        include_str!("../../plugins/toy/examples/mandelbrot.expected"),
    ),
    (
        include_str!("../../plugins/toy/examples/sieve.toy"),
        include_str!("../../plugins/toy/examples/sieve.expected"),
    ),
];

/// The baseline packs of the toy language, for every target that there is one for.
fn packs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/toy");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut packs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    packs.retain(|path| name(path).ends_with(".pack") && !name(path).contains('+'));
    packs.sort();
    packs
}

/// Whether code for a triple runs here and calls helpers as this program's functions want it: registers and their use are the
/// processor's, and what the systems share is System V's convention.
fn runs_here(triple: &str) -> bool {
    cfg!(all(target_arch = "x86_64", target_os = "linux"))
        && triple.starts_with("x86_64-")
        && !triple.contains("windows")
        && copatch::jit_available()
}

/// The code in words, a line an instruction. Traps and tables of branches, which have no operation's name, are no code.
fn disassembled(arch: &str, explanation: &Explanation) -> String {
    let stencils = explanation
        .functions
        .iter()
        .flat_map(|function| &function.stencils);
    let code = stencils.filter(|stencil| !stencil.op.contains(' '));
    code.map(|stencil| {
        let digits = stencil.bytes.as_bytes().as_chunks::<2>().0.iter();
        let byte =
            |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.map(byte).collect();
        format!("{}:\n{}", stencil.op, listing(arch, &bytes, &[]))
    })
    .collect()
}

#[test]
fn code_for_every_target_is_generated_here() {
    let mut triples = Vec::new();
    for path in packs() {
        let bytes = std::fs::read(&path).unwrap();
        // SAFETY: the pack is part of this repository, as the tests are.
        let pack = unsafe { Pack::from_bytes(&path.display().to_string(), bytes) }.unwrap();
        let triple = pack.metadata().triple.clone();
        let arch = &pack.metadata().machine.arch;
        for (text, expected) in EXAMPLES {
            let program = parse(text).unwrap();
            let executable = Executable::with_trace(&program, &pack, true).unwrap();
            let explanation =
                Explanation::new(executable.program(), &pack, None, &|_| String::new()).unwrap();
            let code = disassembled(arch, &explanation);
            assert!(code.lines().count() > 30, "{triple}:\n{code}");
            assert!(!code.contains("does not decode"), "{triple}:\n{code}");
            // The address of its slots is a helper's second argument, and on Windows 32 bytes of the stack are its own.
            for (part, windows) in [
                ("lea rdx, [r14", true),
                ("sub rsp, 0x28", true),
                ("lea rsi, [r14", false),
            ] {
                let expected = arch == "x86_64" && triple.contains("windows") == windows;
                assert_eq!(code.contains(part), expected, "{triple}: {part} in\n{code}");
            }
            if runs_here(&triple) {
                let mut output = Vec::new();
                let main = program.function("main").unwrap();
                executable.run(main, &[], &mut output).unwrap();
                assert_eq!(String::from_utf8(output).unwrap(), expected, "{triple}");
            }
        }
        triples.push(triple);
    }
    for arch in ["aarch64-", "riscv64gc-", "x86_64-"] {
        assert!(
            triples.iter().any(|triple| triple.starts_with(arch)),
            "{arch}"
        );
    }
}

#[test]
fn systems_that_call_alike_have_the_same_stencils() {
    let mut compared = 0;
    for path in packs() {
        let linux = path
            .display()
            .to_string()
            .replace("-apple-darwin", "-unknown-linux-gnu");
        if Path::new(&linux) == path {
            continue;
        }
        let (linux, darwin) = (std::fs::read(linux).unwrap(), std::fs::read(&path).unwrap());
        let changes = diff(&linux, &darwin).ok().unwrap().changes;
        let named = [
            "header triple",
            "header flags",
            "sections metadata bytes",
            "sections file bytes",
        ];
        let mut paths: Vec<String> = changes.iter().map(|change| change.path.join(" ")).collect();
        paths.retain(|path| !named.contains(&path.as_str()));
        assert!(paths.is_empty(), "{path:?}: {paths:?}");
        compared += 1;
    }
    assert!(compared > 0);
}
