//! The built-in op tables and targets: they parse, the C bodies have the prototypes that the tables promise, and
//! every fault of a table is told with the operation's name.

mod common;

use copatch_spec::{InstructionSet, Shape, Target, limits};

use common::{INSTRUCTION_SETS, builtin, table_text};

#[test]
fn every_operation_has_one_body_and_one_line() {
    for name in INSTRUCTION_SETS {
        let isa = builtin(name);
        for op in &isa.ops {
            if matches!(op.shape, Shape::Next | Shape::Branch) {
                let call = format!(" {}(", op.c_name());
                let bodies = isa
                    .source
                    .lines()
                    .filter(|line| line.starts_with("static inline") && line.contains(&call));
                // Some have a body for machines with an instruction, and one or two for the others.
                assert!(
                    (1..=3).contains(&bodies.count()),
                    "{name}: body of {}",
                    op.name
                );
            }
        }
        let lines = table_text(name)
            .lines()
            .filter(|line| line.starts_with('"') && line.contains("\" ") && line.ends_with("}"));
        let core = isa.ops.iter().filter(|op| op.name.starts_with("core."));
        assert_eq!(lines.count(), isa.ops.len() - core.count(), "{name}");
    }
}

#[test]
fn numbers_of_operations_follow_their_names() {
    for name in INSTRUCTION_SETS {
        let isa = builtin(name);
        for (number, op) in isa.ops.iter().enumerate() {
            assert_eq!(isa.op(&op.name), Some(number));
        }
        assert_eq!(isa.op("no.such"), None);
        let own: Vec<&str> = (isa.ops.iter().map(|op| op.name.as_str()))
            .skip_while(|name| name.starts_with("core."))
            .collect();
        assert!(own.is_sorted());
    }
}

#[test]
fn swapped_operations_swap_back() {
    for name in INSTRUCTION_SETS {
        let isa = builtin(name);
        for op in &isa.ops {
            if let Some(swap) = &op.swap {
                let back = isa.op(swap).and_then(|number| isa.ops[number].swap.clone());
                assert_eq!(back.as_ref(), Some(&op.name));
            }
        }
    }
}

#[test]
fn targets_are_within_limits() {
    for arch in Target::ARCHITECTURES {
        let target = Target::builtin(arch).unwrap_or_else(|| panic!("{arch} does not parse"));
        assert_eq!(target.arch, arch);
        assert_eq!(target.flaw(), None, "{arch}");
        for triple in &target.triples {
            assert_eq!(Target::for_triple(triple), Some(target.clone()), "{triple}");
        }
        let fixed: Vec<&str> = target.fixed.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(fixed, ["mem", "ctx", "frame"]);
        let core = InstructionSet::parse(&table(""), "").expect("core alone");
        for op in core.ops.iter().filter(|op| op.shape == Shape::Asm) {
            assert!(target.asm.contains_key(&op.name), "{arch}: {}", op.name);
        }
    }
    assert!(Target::builtin("vax").is_none());
    assert!(Target::for_triple("vax-unknown-linux-gnu").is_none());
    assert!(Target::parse("arch = 1").is_err());
}

#[test]
fn changes_take_the_place_of_what_they_name_alone() {
    let triple = "x86_64-pc-windows-msvc";
    let target = Target::for_triple(triple).expect("a target");
    assert_eq!(Target::changed(triple, ""), Ok(target.clone()));
    let fewer = Target::changed(
        triple,
        "class.int.registers = [\"rdi\"]\nclass.int.arguments = 1",
    );
    let mut expected = target;
    let class = expected.class.get_mut("int").expect("a class");
    class.registers = vec!["rdi".to_owned()];
    class.arguments = 1;
    assert_eq!(fewer, Ok(expected));
    for (changes, what) in [
        ("class.int.arguments = 9", "class int: 8 registers, 9"),
        ("class.int.registers = [", "TOML parse error"),
        ("class.int.colour = 1", "unknown field `colour`"),
        ("scratch = [\"rdi\"]", "register rdi: both scratch and int"),
        ("c_arguments = []", "two arguments"),
        ("class.int.widest = \"f32\"", "class int: its widest"),
        ("triples = []", "triples"),
        (
            "immediate = [{ name = \"none\", lo = 1, hi = 0 }]",
            "immediate none",
        ),
    ] {
        let error = Target::changed(triple, changes).expect_err(changes);
        assert!(error.contains(what), "{changes}: {error}");
    }
    // Of an architecture that nobody knows everything has to be said.
    let error = Target::changed("vax-unknown-linux-gnu", "arch = \"vax\"").expect_err("too little");
    assert!(error.contains("missing field"), "{error}");
}

#[test]
fn a_system_changes_only_what_it_says() {
    let mut changed = 0;
    for arch in Target::ARCHITECTURES {
        let base = Target::builtin(arch).unwrap_or_else(|| panic!("{arch} does not parse"));
        for (name, system) in &base.system {
            changed += 1;
            for triple in &system.triples {
                let target = Target::for_triple(triple).unwrap_or_else(|| panic!("{triple}"));
                assert!(triple.split('-').any(|part| part == name), "{triple}");
                // What the engine knows is the machine's, and the same on all its systems.
                assert_eq!(target.machine(), base.machine(), "{triple}");
                assert_eq!(target.c_arguments.len(), 2, "{triple}");
                let compiled = target.clang_triple(triple);
                assert_eq!(compiled == triple, !system.as_linux, "{triple}");
                for flag in &system.without {
                    assert!(base.clang.flags.contains(flag), "{triple}: {flag}");
                    assert!(!target.clang.flags.contains(flag), "{triple}: {flag}");
                }
                for (op, text) in &base.asm {
                    let expected = system.asm.get(op).unwrap_or(text);
                    assert_eq!(target.asm.get(op), Some(expected), "{triple}: {op}");
                }
                assert_eq!(target.asm.len(), base.asm.len(), "{triple}");
            }
        }
    }
    assert!(changed > 0);
}

/// A table with these operation lines.
fn table(lines: &str) -> String {
    format!("name = \"t\"\nversion = 1\ntraps = [\"too far\"]\n[op]\n{lines}\n")
}

/// The error of a table with the line `"t.op" = { columns }`.
fn fault_of(columns: &str) -> String {
    match InstructionSet::parse(&table(&format!("\"t.op\" = {{ {columns} }}")), "") {
        Ok(_) => panic!("accepted: {columns}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_fault_names_its_line() {
    for (columns, words) in [
        ("in = \"i31\"", "no type is called i31"),
        ("out = \"bool\"", "no type is called bool"),
        ("in = \"i32 i32 i32 i32 i32\"", "at most four operands"),
        ("out = \"i32 i32\"", "one result"),
        ("imm = \"u8\"", "an immediate is u32, i32 or i64"),
        ("imm = \"u32 u32 u32\"", "at most two immediates"),
        ("in = \"i32\", forms = \"x\"", "no place x"),
        ("in = \"i32\", forms = \"rr\"", "form rr does not fit"),
        (
            "in = \"i32\", out = \"i32\", forms = \"r>i\"",
            "form r>i does not fit",
        ),
        (
            "in = \"i32\", out = \"i32\", forms = \"r>ss\"",
            "form r>ss does not fit",
        ),
        ("traps = \"too_near\"", "no trap is called too_near"),
        ("in = \"i32\", out = \"i64\", tie = 0", "tie names"),
        ("in = \"i32\", out = \"i32\", tie = 1", "tie names"),
        ("uses = \"frame\"", "uses is mem or ctx"),
        (
            "in = \"i32 i64\", out = \"i32\", swap = \"t.op\"",
            "swap names t.op",
        ),
        (
            "in = \"i32 i32\", out = \"i32\", swap = \"t.no\"",
            "swap names t.no",
        ),
    ] {
        let message = fault_of(columns);
        assert!(message.contains("t.op"), "{message}");
        assert!(message.contains(words), "{columns}: {message}");
    }
    assert!(fault_of("colour = 1").contains("colour"));
    assert!(fault_of("shape = \"round\"").contains("round"));
}

#[test]
fn names_are_words_and_bodies_are_distinct() {
    for name in [
        "", "i32.", ".add", "i32 add", "I32.add", "3d.x", "a-b", "a;b",
    ] {
        let text = table(&format!("\"{name}\" = {{ }}"));
        let error = InstructionSet::parse(&text, "")
            .expect_err(name)
            .to_string();
        assert!(error.contains("a name is words"), "{name}: {error}");
    }
    let text = table("\"a.b_c\" = { }\n\"a_b.c\" = { }");
    let error = InstructionSet::parse(&text, "")
        .expect_err("same body")
        .to_string();
    assert!(error.contains("rename one"), "{error}");
}

/// It names the folder that packs are written to.
#[test]
fn an_instruction_sets_name_is_one_word() {
    for name in ["", "/tmp/t", "../t", "a/b", "a b", ".", "a\\n"] {
        let text = table("").replace("\"t\"", &format!("\"{name}\""));
        let error = InstructionSet::parse(&text, "").expect_err(name);
        assert!(error.to_string().contains("letters, digits"), "{error}");
    }
}

#[test]
fn tables_have_limits() {
    let core = InstructionSet::parse(&table(""), "").expect("core alone");
    let lines = |count: usize| -> String {
        (0..count)
            .map(|number| format!("\"t.op{number}\" = {{ }}\n"))
            .collect()
    };
    let room = limits::OPS - core.ops.len();
    assert!(InstructionSet::parse(&table(&lines(room)), "").is_ok());
    let error = InstructionSet::parse(&table(&lines(room + 1)), "").expect_err("too many");
    assert!(error.to_string().contains("more than 4096 operations"));

    let traps = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("\"t{number}\"")).collect();
        format!(
            "name = \"t\"\nversion = 1\ntraps = [{}]\n[op]\n",
            names.join(",")
        )
    };
    let room = limits::TRAPS - (core.traps.len() - 1);
    assert!(InstructionSet::parse(&traps(room), "").is_ok());
    let error = InstructionSet::parse(&traps(room + 1), "").expect_err("too many");
    assert!(error.to_string().contains("more than 64 traps"));
}

#[test]
fn what_is_not_a_table_is_an_error() {
    for text in ["", "name = ", "name = \"t\"", "\u{0}", "[op]\n\"t.a\" = 1"] {
        assert!(InstructionSet::parse(text, "").is_err(), "{text:?}");
    }
    assert!(InstructionSet::builtin("no such").is_none());
}

#[test]
fn the_digest_covers_table_and_bodies() {
    let of = |lines: &str, source: &str| {
        InstructionSet::parse(&table(lines), source)
            .map(|isa| isa.digest)
            .ok()
    };
    let base = of("", "x");
    assert!(base.is_some());
    assert_ne!(base, of("", "y"));
    assert_ne!(base, of("# no operation\n", "x"));
    assert_eq!(base, of("", "x"));
}
