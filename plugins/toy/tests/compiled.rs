//! The language as machine code: the examples print what is expected, and the front end says what is wrong.

use copatch::plugin::{CompileOptions, FrontEnd, RunError, RunOptions};
use copatch_toy::program::Trap;
use copatch_toy::{Executable, Toy, parse};

const EXAMPLES: [(&str, &str, &str); 4] = [
    (
        "fib",
        include_str!("../examples/fib.toy"),
        include_str!("../examples/fib.expected"),
    ),
    (
        "mandelbrot",
        include_str!("../examples/mandelbrot.toy"),
        include_str!("../examples/mandelbrot.expected"),
    ),
    (
        "collatz",
        include_str!("../examples/collatz.toy"),
        include_str!("../examples/collatz.expected"),
    ),
    (
        "sieve",
        include_str!("../examples/sieve.toy"),
        include_str!("../examples/sieve.expected"),
    ),
];

/// Runs `main`; gives the output and the name of the trap.
fn run(text: &str) -> (String, Option<String>) {
    let program = parse(text).unwrap();
    let pack = copatch::Pack::for_host(copatch_pack_toy::packs()).unwrap();
    let executable = Executable::new(&program, &pack).unwrap();
    let mut output = Vec::new();
    let trap = match executable.run(program.function("main").unwrap(), &[], &mut output) {
        Ok(_) => None,
        Err(copatch_toy::RunError::Trap(trap)) => Some(pack.trap_name(trap.kind).to_owned()),
        Err(error) => panic!("{error}"),
    };
    (String::from_utf8(output).unwrap(), trap)
}

#[test]
fn examples_print_what_is_expected() {
    if !copatch::jit_available() {
        return;
    }
    for (name, text, expected) in EXAMPLES {
        assert_eq!(run(text), (expected.to_owned(), None), "{name}");
    }
}

#[test]
fn traps_stop_the_program() {
    if !copatch::jit_available() {
        return;
    }
    let cases = [
        ("print(1 / (1 - 1));", Trap::DivideByZero),
        ("print(-9223372036854775808 / -1);", Trap::Overflow),
        ("print(a[4]);", Trap::Index),
        ("a[-1] = 0;", Trap::Index),
        ("main();", Trap::StackOverflow),
    ];
    for (body, expected) in cases {
        let (output, trap) = run(&format!(
            "array a[4]; fn main() {{ print(1); {body} print(2); }}"
        ));
        assert_eq!(trap.as_deref(), Some(expected.name()), "{body}");
        assert!(
            output.starts_with("1\n") && !output.contains('2'),
            "{body}: {output}"
        );
    }
}

/// The output's panics and errors end the run, through the frames of compiled code.
#[test]
fn output_that_fails_is_a_trap_and_a_panic_comes_back() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    struct Bomb;
    impl std::io::Write for Bomb {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            panic!("boom")
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    if !copatch::jit_available() {
        return;
    }
    let program =
        parse("fn deep(n: int) { if n > 0 { deep(n - 1); } print(n); } fn main() { deep(3); }")
            .unwrap();
    let pack = copatch::Pack::for_host(copatch_pack_toy::packs()).unwrap();
    let executable = Executable::new(&program, &pack).unwrap();
    match executable.run(1, &[], &mut Full) {
        Err(copatch_toy::RunError::Trap(trap)) => {
            assert_eq!(pack.trap_name(trap.kind), Trap::Host.name())
        }
        other => panic!("{other:?}"),
    }
    let panic = std::panic::catch_unwind(|| executable.run(1, &[], &mut Bomb)).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"boom"));
}

#[test]
fn arguments_and_results_are_words_of_their_types() {
    if !copatch::jit_available() {
        return;
    }
    let text = "fn f(a: int, b: float, c: bool, d: int, e: int, f: int, g: int, h: int) -> float {
        if c { return b; } return float(a - d * 10 + e * 100 + f * 1000 + g * 10_000 + h * 100_000); }
        fn not(b: bool) -> bool { return !b; }";
    let program = parse(text).unwrap();
    let pack = copatch::Pack::for_host(copatch_pack_toy::packs()).unwrap();
    let executable = Executable::new(&program, &pack).unwrap();
    let run =
        |function, arguments: &[u64]| executable.run(function, arguments, &mut std::io::sink());
    let arguments = |c| [1, 2.5f64.to_bits(), c, 2, 3, 4, 5, 6];
    assert_eq!(
        run(0, &arguments(1)).unwrap().map(f64::from_bits),
        Some(2.5)
    );
    assert_eq!(
        run(0, &arguments(0)).unwrap().map(f64::from_bits),
        Some(654_281.0)
    );
    assert_eq!(run(1, &[0]).unwrap(), Some(1));
    assert_eq!(run(1, &[1]).unwrap(), Some(0));
    assert!(matches!(run(1, &[]), Err(copatch_toy::RunError::Usage)));
    assert!(matches!(run(2, &[]), Err(copatch_toy::RunError::Usage)));
}

#[test]
fn the_front_end_takes_both_forms_and_no_others() {
    let text = "// a comment\n\nfn main() { }";
    let binary = copatch_toy::encode(&parse(text).unwrap());
    assert!(Toy.probe(text.as_bytes()) && Toy.probe(&binary));
    assert!(!Toy.probe(b"\0asm\x01\0\0\0") && !Toy.probe(b"") && !Toy.probe(b"def f(): pass"));
    let options = CompileOptions::default();
    let error = |bytes: &[u8]| Toy.compile(bytes, &options).err().unwrap();
    assert_eq!(
        error(b"fn main() { x = 1; }"),
        "1:13: no variable is called x"
    );
    assert_eq!(
        error(&binary[..binary.len() - 1]),
        format!("byte {:#x}: the program ends too early", binary.len() - 1)
    );
    if copatch::jit_available() {
        let compiled = Toy
            .compile(
                text.as_bytes(),
                &CompileOptions {
                    trace: true,
                    ..options
                },
            )
            .unwrap();
        let invoke = |name: &str| RunOptions {
            invoke: Some(name.to_owned()),
            ..RunOptions::default()
        };
        assert_eq!(compiled.run(&RunOptions::default()), Ok(0));
        let usage = RunError::Usage("the program has no function other".to_owned());
        assert_eq!(compiled.run(&invoke("other")), Err(usage));
        let explanation = compiled.explain(Some(0)).unwrap();
        assert_eq!(explanation.functions[0].name, "main");
        assert!(compiled.timings().bytes_out > 0 && compiled.timings().functions == 1);
    }
}
