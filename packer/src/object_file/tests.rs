use std::path::Path;
use std::process::Command;

use copatch_spec::Target;
use copatch_spec::target::FeatureSet;
use object::{LittleEndian, pe};

use super::*;
use crate::cfg::{Trimmed, trim};
use crate::clang::{Clang, Unit};
use crate::error::BuildError;

const LINUX: &str = "x86_64-unknown-linux-gnu";
const DARWIN: &str = "x86_64-apple-darwin";
const WINDOWS: &str = "x86_64-pc-windows-msvc";

#[test]
fn a_constant_comes_back_from_its_symbol() {
    let bytes = [0, 1, 0xfe, 0x80];
    assert_eq!(pool_constant(&pool_symbol(&bytes)), Some(bytes.to_vec()));
    assert_eq!(pool_constant(hole::TABLE), None);
}

/// `false`, and said so, where there is no compiler; CI has it.
fn has_clang() -> bool {
    let found = Command::new("clang-19").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: clang-19 is not on the path");
    }
    found
}

/// Stencils as C, trimmed.
fn stencils(triple: &str, text: &str) -> Result<Vec<Trimmed>, BuildError> {
    let target = Target::for_triple(triple).unwrap();
    // The least that any of the systems asks of a processor.
    let features = FeatureSet {
        flags: vec!["-march=x86-64".to_owned()],
        cpu: Vec::new(),
    };
    let clang = Clang::find(
        Some(Path::new("clang-19")),
        triple,
        &target,
        Some(&features),
    )?;
    let unit = Unit {
        name: "stencils.c".to_owned(),
        text: text.to_owned(),
    };
    let read = clang.compile(vec![unit], "stencils", |unit, object| {
        Ok::<_, BuildError>(read(&unit.name, object)?)
    })?;
    let trimmed = read.concat().into_iter().map(|raw| trim(&raw, &target));
    Ok(trimmed.map(|trimmed| trimmed.unwrap()).collect())
}

/// The object file of an assembly text.
fn assembled(triple: &str, text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("code.s"), text).unwrap();
    let output = Command::new("clang-19")
        .current_dir(folder.path())
        .arg(format!("--target={triple}"))
        .args(["-c", "code.s", "-o", "code.o"])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    std::fs::read(folder.path().join("code.o")).unwrap()
}

/// What is wrong with the object file of an assembly text.
fn fault(triple: &str, text: &str) -> String {
    let error = read("code.s", &assembled(triple, text)).expect_err("it is refused");
    error.to_string()
}

/// Every kind of reference that stencils have: jumps to two holes, a table, and constants of 8 and 16 bytes, one of which is
/// followed by a byte of its instruction. (A constant of 4 bytes is in `stencil_single`.)
const STENCILS: &str = r#"
#include <stdint.h>
typedef float v128 __attribute__((vector_size(16)));
#define STENCIL __attribute__((preserve_none)) void
#define TAIL(hole) __attribute__((musttail)) return ((__typeof__(&stencil_jump))(void *)(hole))(mem, a, b, c)
#define PARAMETERS (uint8_t *mem, uint64_t a, double b, v128 c)
#pragma GCC visibility push(hidden)
extern void HOLE_NEXT(void), HOLE_T0(void);
extern char HOLE_TABLE[];
STENCIL stencil_jump PARAMETERS { if (a < 7) TAIL(HOLE_T0); TAIL(HOLE_NEXT); }
STENCIL stencil_table PARAMETERS { a = (uint64_t)HOLE_TABLE; TAIL(HOLE_NEXT); }
STENCIL stencil_store PARAMETERS { HOLE_TABLE[0] = 3; TAIL(HOLE_NEXT); }
STENCIL stencil_double PARAMETERS { b *= 3.25; TAIL(HOLE_NEXT); }
STENCIL stencil_vector PARAMETERS { c = (v128)(c < (v128){1, 2, 3, 4}); TAIL(HOLE_NEXT); }
STENCIL stencil_single PARAMETERS { *(float *)mem *= 1.5f; TAIL(HOLE_NEXT); }
"#;

#[test]
fn every_format_gives_the_same_stencils() {
    if !has_clang() {
        return;
    }
    let linux = stencils(LINUX, STENCILS).unwrap();
    // In ascending order of name: double, jump, single, store, table, vector.
    let hole = |stencil: usize| {
        let Relocation { symbol, addend, .. } = &linux[stencil].holes[0];
        (pool_constant(symbol).ok_or(symbol.as_str()), *addend)
    };
    assert_eq!(hole(0), (Ok(3.25f64.to_le_bytes().to_vec()), -4));
    assert_eq!(hole(1), (Err("HOLE_T0"), -4));
    assert_eq!(hole(2), (Ok(1.5f32.to_le_bytes().to_vec()), -4));
    assert_eq!(hole(3), (Err("HOLE_TABLE"), -5));
    assert_eq!(hole(4), (Err("HOLE_TABLE"), -4));
    let lanes = [1f32, 2., 3., 4.].map(f32::to_le_bytes).concat();
    assert_eq!(hole(5), (Ok(lanes), -5));
    for triple in [DARWIN, WINDOWS] {
        assert_eq!(stencils(triple, STENCILS).unwrap(), linux, "{triple}");
    }
}

#[test]
fn functions_end_where_the_next_one_begins() {
    if !has_clang() {
        return;
    }
    let darwin = assembled(DARWIN, ".globl _f, _g\n_f: nop\nLinside: ret\n_g: int3\n");
    let windows = ".globl f, g\n.def f; .scl 2; .type 32; .endef\n.def g; .scl 2; .type 32; .endef\n\
        f: nop\nret\ng: int3\n";
    for object in [darwin, assembled(WINDOWS, windows)] {
        let read = read("code.s", &object).unwrap();
        let found: Vec<_> = read.iter().map(|raw| (&*raw.name, &*raw.code)).collect();
        assert_eq!(found, [("f", &[0x90, 0xc3][..]), ("g", &[0xcc])]);
    }
}

/// The file with the type of its first relocation in `.text` changed, since assemblers write few of them.
fn with_type(object: &[u8], typ: u16) -> Vec<u8> {
    let file = object::read::coff::CoffFile::<&[u8]>::parse(object).unwrap();
    let text = file.section_by_name(".text").unwrap();
    let at = text.coff_section().pointer_to_relocations.get(LittleEndian) as usize;
    let mut object = object.to_vec();
    object[at + 8..at + 10].copy_from_slice(&typ.to_le_bytes());
    object
}

#[test]
fn distances_of_coff_count_from_where_they_say() {
    if !has_clang() {
        return;
    }
    let text = ".globl f\n.def f; .scl 2; .type 32; .endef\nf: lea HOLE_TABLE+16(%rip), %rax\n";
    let object = assembled(WINDOWS, text);
    for behind in 0..=5 {
        let object = with_type(&object, pe::IMAGE_REL_AMD64_REL32.0 + behind);
        let read = read("code.s", &object).unwrap();
        let relocation = &read[0].relocations[0];
        assert_eq!(relocation.symbol, "HOLE_TABLE");
        assert_eq!(relocation.addend, 16 - 4 - i64::from(behind), "{behind}");
    }
    // Absolute addresses, distances within sections, and what does not exist.
    for typ in [0, 1, 2, 3, 10, 11, 0x7fff] {
        let error = read("code.s", &with_type(&object, typ)).expect_err("it is refused");
        let error = error.to_string();
        assert!(
            error.starts_with("code.s: relocation in .text at 0x3, in f: "),
            "{error}"
        );
        assert!(error.ends_with("is not supported"), "{error}");
    }
}

#[test]
fn what_coff_leaves_open_is_refused() {
    if !has_clang() {
        return;
    }
    // A constant that is known by its section alone: how long it is nobody says.
    let text = ".globl f\n.def f; .scl 2; .type 32; .endef\nf: mulsd .Lone(%rip), %xmm0\n\
        .section .rdata,\"dr\"\n.Lone: .quad 1\n";
    let error = fault(WINDOWS, text);
    assert!(
        error.contains(".text at 0x4, in f: a constant in .rdata has no symbol"),
        "{error}"
    );
    let text = ".globl f\n.def f; .scl 2; .type 32; .endef\nf: lea table(%rip), %rax\n\
        .section .rdata,\"dr\"\n.globl table\ntable: .quad f\n";
    let error = fault(WINDOWS, text);
    assert!(error.contains("may hold addresses"), "{error}");
}

#[test]
fn what_mach_o_has_and_stencils_do_not_is_refused() {
    if !has_clang() {
        return;
    }
    for (text, what) in [
        // Through a table of the linker's.
        ("movq _far@GOTPCREL(%rip), %rax\n", "is not supported"),
        // A pair: the difference of two symbols.
        (
            ".quad _far - _f\n.data\n.globl _far\n_far: .quad 0\n",
            "is not supported",
        ),
        (".quad _far\n", "is not supported"),
        // A constant that is known by its address alone, among constants of no size; and one that holds an address.
        (
            "mulsd Lone(%rip), %xmm0\n.section __TEXT,__const\nLone: .quad 1\n",
            "a constant of __const, where none has a size",
        ),
        (
            "lea _table(%rip), %rax\n.section __TEXT,__const\n.globl _table\n_table: .quad _f\n",
            "may hold addresses",
        ),
    ] {
        let error = fault(DARWIN, &format!(".globl _f\n_f:\n{text}"));
        assert!(
            error.starts_with("code.s: relocation in __text at 0x"),
            "{error}"
        );
        assert!(
            error.contains(", in f: ") && error.contains(what),
            "{error}"
        );
    }
    let error = fault(DARWIN, ".globl f\nf: ret\n");
    assert!(error.contains("the symbol f has no underscore"), "{error}");
}
