//! The language without generated code: examples, round trips, and what errors say.

use copatch_toy::{Stop, decode, encode, interpret, parse, print, program::Trap};

const EXAMPLES: [(&str, &str); 4] = [
    ("fib", include_str!("../examples/fib.toy")),
    ("mandelbrot", include_str!("../examples/mandelbrot.toy")),
    ("collatz", include_str!("../examples/collatz.toy")),
    ("sieve", include_str!("../examples/sieve.toy")),
];

/// Runs `main`; gives the output.
fn run(text: &str) -> Result<String, Stop> {
    let program = parse(text)
        .map_err(|error| panic!("{error}\n{text}"))
        .unwrap();
    let mut output = Vec::new();
    interpret(
        &program,
        program.function("main").unwrap(),
        &[],
        &mut output,
        100_000_000,
    )?;
    Ok(String::from_utf8(output).unwrap())
}

#[test]
fn examples_print_what_is_expected() {
    for (name, text) in EXAMPLES {
        let path = format!("{}/examples/{name}.expected", env!("CARGO_MANIFEST_DIR"));
        let output = run(text).unwrap();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &output).unwrap();
        }
        assert_eq!(output, std::fs::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn text_to_binary_to_text_gives_the_same_program() {
    let corners = "
        array a[3];
        fn f(x: float, b: bool) -> float { if b { return -x; } else if !b and x < -0.0 or b { return 1e300; }
            return max(-1.5e-7, sqrt(abs(x))); }
        fn nothing() { return; }
        fn main() { nothing(); f(1.0, true); let least = -9223372036854775808; print(-(5)); print(--5); print(~-least);
            a[1 + 1] = (least - (1 - least)) * 2 % (3 << 4 & 7 | 8 ^ 9); { } }";
    let corners = corners.replace("{ } }", "while a[0] >= 1 { break; } }");
    for text in EXAMPLES
        .map(|(_, text)| text)
        .into_iter()
        .chain([corners.as_str()])
    {
        let program = parse(text).unwrap_or_else(|error| panic!("{error}"));
        let decoded = decode(&encode(&program)).unwrap();
        assert_eq!(decoded, program);
        let printed = print(&decoded);
        assert_eq!(
            parse(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}")),
            program,
            "{printed}"
        );
    }
}

#[test]
fn operators_mean_what_they_say() {
    let cases = [
        ("1 + 2 * 3", "7"),
        ("7 / -2", "-3"),
        ("-7 % 3", "-1"),
        ("-8 >> 1", "-4"),
        ("1 << 65", "2"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
        ("(0 - 9223372036854775807 - 1) % -1", "0"),
        ("~0 & 6 ^ 3 | 8", "13"),
        ("1 < 2 and !(2 < 1)", "true"),
        ("false or 1.0 >= 2.0", "false"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("1.0 / 0.0", "inf"),
        ("min(0.0, -0.0)", "-0.0"),
        ("max(-0.0, 0.0)", "0.0"),
        ("max(0.0 / 0.0, 1.0)", "NaN"),
        ("int(1e300)", "9223372036854775807"),
        ("int(0.0 / 0.0)", "0"),
        ("int(-1.9)", "-1"),
        ("float(3) + float(int(true))", "4.0"),
        ("bool(2)", "true"),
        ("0 == 1 and 1 / 0 == 0", "false"),
    ];
    for (expression, expected) in cases {
        let output = run(&format!("fn main() {{ print({expression}); }}")).unwrap();
        assert_eq!(output.trim_end(), expected, "{expression}");
    }
}

#[test]
fn traps_stop_the_program() {
    let cases = [
        ("print(1 / (1 - 1));", Stop::Trap(Trap::DivideByZero)),
        ("print(1 % (1 - 1));", Stop::Trap(Trap::DivideByZero)),
        (
            "print(-9223372036854775808 / -1);",
            Stop::Trap(Trap::Overflow),
        ),
        ("print(a[4]);", Stop::Trap(Trap::Index)),
        ("a[-1] = 0;", Stop::Trap(Trap::Index)),
        ("main();", Stop::Trap(Trap::StackOverflow)),
        ("while true { }", Stop::Steps),
    ];
    for (body, expected) in cases {
        assert_eq!(
            run(&format!("array a[4]; fn main() {{ {body} }}")),
            Err(expected),
            "{body}"
        );
    }
}

#[test]
fn errors_say_where_and_why() {
    let cases = [
        (
            "fn main() {\n  print(1 + true);\n}",
            "2:11: `+` does not work on int and bool",
        ),
        ("fn main() { x = 1; }", "1:13: no variable is called x"),
        (
            "fn main() { let x = 1; let x = 2; }",
            "1:28: x is defined already",
        ),
        (
            "fn main() { if true { let x = 1; } print(x); }",
            "1:42: no variable is called x",
        ),
        (
            "fn main() { let x = 1; x = 2.0; }",
            "1:24: expected int, found float",
        ),
        (
            "fn f() -> int { if true { return 1; } }",
            "1:39: f can end without returning a value",
        ),
        ("fn f() { } fn f() { }", "1:15: f is defined already"),
        (
            "fn f(a: int) { } fn main() { f(); }",
            "1:30: f takes 1 arguments, not 0",
        ),
        (
            "fn f() { } fn main() { print(f()); }",
            "1:30: f has no result",
        ),
        ("fn f() { let y = 1 }", "1:20: expected `;`, found `}`"),
        ("fn f() {", "1:9: the function's `}` is missing"),
        ("fn f() { break; }", "1:10: there is no loop around this"),
        (
            "fn f() { while 1 { } }",
            "1:16: a condition is a bool, this is int",
        ),
        (
            "fn f() { print(99999999999999999999); }",
            "1:16: 99999999999999999999 does not fit 64 bits",
        ),
        ("fn f() { print($); }", "1:16: unknown character \"$\""),
        (
            "array a[0];",
            "1:7: the array's length must be from 1 to 16777216",
        ),
        (
            "fn f() { return 1; }",
            "1:10: a statement inside an expression",
        ),
        ("fn f() -> int { return; }", "1:17: a value is missing"),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn depth_is_an_error_and_not_a_crash() {
    for (before, after) in [("(", ")"), ("-", ""), ("f(", ")"), ("1 + (", ")")] {
        let text = format!(
            "fn f(x: int) -> int {{ return x; }} fn main() {{ print({}1{}); }}",
            before.repeat(100_000),
            after.repeat(100_000)
        );
        assert!(parse(&text).unwrap_err().what.contains("deep"), "{before}");
    }
    let blocks = format!(
        "fn main() {{ {} {} }}",
        "if true {".repeat(100_000),
        "}".repeat(100_000)
    );
    assert!(parse(&blocks).unwrap_err().what.contains("deep"));
}

mod damaged {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever happens to a file, reading it gives a program or an error that lies inside it.
        #[test]
        fn binary_is_an_error_or_a_program(example in 0..EXAMPLES.len(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<Option<prop::sample::Index>>()) {
            let mut bytes = encode(&parse(EXAMPLES[example].1).unwrap());
            for (index, value) in flips {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            match decode(&bytes) {
                Ok(program) => prop_assert_eq!(parse(&print(&program)).map_err(|error| error.to_string()), Ok(program)),
                Err(error) => prop_assert!(error.offset <= bytes.len(), "{}", error),
            }
        }

        #[test]
        fn any_bytes_after_the_magic_are_an_error_or_a_program(tail in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = encode(&parse("fn main() { }").unwrap());
            bytes.truncate(bytes.len() - 1);
            bytes.extend(tail);
            if let Ok(program) = decode(&bytes) {
                prop_assert_eq!(parse(&print(&program)).map_err(|error| error.to_string()), Ok(program));
            }
        }

        #[test]
        fn text_is_an_error_or_a_program(text in "(fn|main|let|x|=|[(){};,:]|int|1|-|and| |while|if|else|->|\\[|\\]|é)*") {
            let _ = parse(&text);
        }
    }
}
