//! Random modules, in text form, from a string of choices.
//!
//! Every module is valid and terminates: loops count down a variable that nothing else writes, and functions call only
//! functions before them. Choices that run out are 0, which is the simplest alternative, so shorter strings of smaller
//! numbers give simpler modules: that is what a failing case is shrunk to.

use std::fmt::Write;

use copatch::ValueType;
use copatch::ValueType::{F32, F64, I32, I64};

const TYPES: [ValueType; 4] = [I32, I64, F32, F64];
/// Locals of each type in every function, beside its parameters.
const LOCALS: u32 = 2;
/// Nested loops of a function.
const LOOPS: u32 = 2;

/// An instruction of the op table.
pub struct Operation {
    pub name: String,
    pub operands: Vec<ValueType>,
    pub result: Option<ValueType>,
    /// Whether it takes an offset.
    pub memory: bool,
}

/// The instructions of the op table that WebAssembly has too, under the same names, and loads and stores that the front end
/// joins of several.
pub fn operations() -> Vec<Operation> {
    let set = copatch::spec::InstructionSet::builtin("wasm")
        .expect("it is built in")
        .expect("it is well-formed");
    let own = ["core.", "global.", "table.", "memory."];
    set.ops
        .into_iter()
        .filter(|op| own.iter().all(|prefix| !op.name.starts_with(prefix)))
        // This generator makes no vectors; the kit's tests of vectors have an oracle of their own.
        .filter(|op| {
            let vector = &ValueType::V128;
            !op.operands.contains(vector) && op.result.as_ref() != Some(vector)
        })
        .map(|op| Operation {
            name: op.name,
            operands: op.operands,
            result: op.result,
            memory: op.uses_mem,
        })
        .collect()
}

/// A function's type.
#[derive(Clone)]
struct Type {
    params: Vec<ValueType>,
    results: Vec<ValueType>,
}

pub struct Generator<'a> {
    choices: std::slice::Iter<'a, u8>,
    operations: &'a [Operation],
    text: String,
    functions: Vec<Type>,
    /// Types of the function's variables; the loop counters come last.
    variables: Vec<ValueType>,
    /// Result types of open frames, outermost first; a loop's are those of its parameters, of which it has none.
    frames: Vec<Frame>,
    results: Vec<ValueType>,
    loops: u32,
    counters: u32,
}

#[derive(Clone)]
struct Frame {
    branch: Vec<ValueType>,
    is_loop: bool,
}

impl<'a> Generator<'a> {
    pub fn new(choices: &'a [u8], operations: &'a [Operation]) -> Self {
        Self {
            choices: choices.iter(),
            operations,
            text: String::new(),
            functions: Vec::new(),
            variables: Vec::new(),
            frames: Vec::new(),
            results: Vec::new(),
            loops: 0,
            counters: 0,
        }
    }

    /// A module that exports `run` with these parameters, its memory and its globals.
    pub fn module(mut self) -> (String, Vec<ValueType>) {
        let count = 1 + self.choose(3);
        self.module_of(count)
    }

    /// The same with that many functions, of which `run` is the last.
    pub fn module_of(mut self, count: u32) -> (String, Vec<ValueType>) {
        self.line("(module");
        self.line("  (memory (export \"memory\") 1 2)");
        for ty in TYPES {
            let name = ty.name();
            let _ = writeln!(
                self.text,
                "  (global $g_{name} (export \"g_{name}\") (mut {name}) ({name}.const 1))"
            );
        }
        self.line("  (data \"\\01\\80\\ff\\7fabcdefgh\")");
        for index in 0..count {
            self.function(index);
        }
        let last = count - 1;
        let table: String = (0..count).map(|index| format!(" $f{index}")).collect();
        let _ = writeln!(
            self.text,
            "  (table {} funcref)\n  (elem (i32.const 1){table})",
            count + 3
        );
        let _ = writeln!(self.text, "  (export \"run\" (func $f{last})))");
        let params = self.functions.pop().map(|ty| ty.params).unwrap_or_default();
        (self.text, params)
    }

    /// A number below `bound`.
    fn choose(&mut self, bound: u32) -> u32 {
        let choice = self.choices.next().copied().unwrap_or(0);
        u32::from(choice) % bound.max(1)
    }

    /// Whether choices are left: if not, only leaves are generated.
    fn fresh(&self) -> bool {
        self.choices.len() > 0
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn ty(&mut self) -> ValueType {
        TYPES[self.choose(4) as usize]
    }

    fn types(&mut self, most: u32) -> Vec<ValueType> {
        (0..self.choose(most + 1)).map(|_| self.ty()).collect()
    }

    fn function(&mut self, index: u32) {
        // Some have more parameters and results than registers carry.
        let most = if self.choose(8) == 7 { 14 } else { 4 };
        let mut ty = Type {
            params: self.types(most),
            results: self.types(most.min(7)),
        };
        // Tail calls need functions that return the same.
        let same = self.choose(2) == 1;
        if let Some(before) = self.functions.last()
            && same
        {
            ty.results = before.results.clone();
        }
        let names = |types: &[ValueType]| {
            types
                .iter()
                .map(|ty| format!(" {}", ty.name()))
                .collect::<String>()
        };
        let (params, results) = (names(&ty.params), names(&ty.results));
        let _ = writeln!(
            self.text,
            "  (func $f{index} (param{params}) (result{results})"
        );
        self.variables = ty.params.clone();
        for local in TYPES {
            for _ in 0..LOCALS {
                self.variables.push(local);
                let _ = writeln!(self.text, "    (local {})", local.name());
            }
        }
        self.counters = self.variables.len() as u32;
        for _ in 0..LOOPS {
            self.line("    (local i32)");
        }
        self.results = ty.results.clone();
        self.frames = vec![Frame {
            branch: ty.results.clone(),
            is_loop: false,
        }];
        self.loops = 0;
        for _ in 0..1 + self.choose(6) {
            self.statement(3);
        }
        for result in &ty.results {
            self.value(*result, 3);
        }
        self.line("  )");
        self.functions.push(ty);
    }

    /// Instructions that leave the stack as it is.
    fn statement(&mut self, depth: u32) {
        if depth == 0 || !self.fresh() {
            return self.assignment(1);
        }
        match self.choose(14) {
            0..=2 => self.assignment(depth),
            3 => self.store(depth),
            4 => {
                let ty = self.ty();
                self.value(ty, depth - 1);
                let _ = writeln!(self.text, "global.set $g_{}", ty.name());
            }
            5 => {
                let ty = self.ty();
                self.value(ty, depth - 1);
                self.line("drop");
            }
            6 => {
                self.value(I32, depth - 1);
                self.line("if");
                self.inside(&[], false, |this| this.statements(depth - 1));
                if self.choose(2) == 1 {
                    self.line("else");
                    self.inside(&[], false, |this| this.statements(depth - 1));
                }
                self.line("end");
            }
            7 => {
                self.line("block");
                self.inside(&[], false, |this| this.statements(depth - 1));
                self.line("end");
            }
            8 => self.counted_loop(depth),
            9 => self.branch_if(depth),
            10 => self.branch_table(depth),
            11 => {
                for result in self.call(depth) {
                    let _ = result;
                    self.line("drop");
                }
            }
            12 => self.bulk(depth),
            _ => self.leave(depth),
        }
    }

    fn statements(&mut self, depth: u32) {
        for _ in 0..1 + self.choose(4) {
            self.statement(depth);
        }
    }

    /// Generates the inside of a frame whose branches carry `branch`.
    fn inside(&mut self, branch: &[ValueType], is_loop: bool, body: impl FnOnce(&mut Self)) {
        self.frames.push(Frame {
            branch: branch.to_vec(),
            is_loop,
        });
        body(self);
        self.frames.pop();
    }

    fn assignment(&mut self, depth: u32) {
        let index = self.choose(self.counters);
        let ty = self.variables[index as usize];
        self.value(ty, depth.saturating_sub(1));
        let _ = writeln!(self.text, "local.set {index}");
    }

    fn counted_loop(&mut self, depth: u32) {
        if self.loops == LOOPS {
            return self.assignment(depth);
        }
        let counter = self.counters + self.loops;
        let rounds = 1 + self.choose(5);
        let _ = writeln!(self.text, "i32.const {rounds}\nlocal.set {counter}\nloop");
        self.loops += 1;
        self.inside(&[], true, |this| this.statements(depth - 1));
        self.loops -= 1;
        let _ = writeln!(
            self.text,
            "local.get {counter}\ni32.const 1\ni32.sub\nlocal.tee {counter}\nbr_if 0\nend"
        );
    }

    /// The depths of frames that a branch may go to: not loops, which end only by counting.
    fn targets(&self) -> Vec<u32> {
        let depth = |(at, frame): (usize, &Frame)| (!frame.is_loop).then_some(at as u32);
        self.frames
            .iter()
            .rev()
            .enumerate()
            .filter_map(depth)
            .collect()
    }

    fn branch_values(&mut self, target: u32, depth: u32) -> usize {
        let frame = self.frames[self.frames.len() - 1 - target as usize].clone();
        for ty in &frame.branch {
            self.value(*ty, depth.saturating_sub(2));
        }
        frame.branch.len()
    }

    fn branch_if(&mut self, depth: u32) {
        let targets = self.targets();
        let target = targets[self.choose(targets.len() as u32) as usize];
        let carried = self.branch_values(target, depth);
        self.value(I32, depth - 1);
        let _ = writeln!(self.text, "br_if {target}");
        for _ in 0..carried {
            self.line("drop");
        }
    }

    fn branch_table(&mut self, depth: u32) {
        let all = self.targets();
        let first = all[self.choose(all.len() as u32) as usize];
        let carries = |target: u32| {
            self.frames[self.frames.len() - 1 - target as usize]
                .branch
                .clone()
        };
        let like: Vec<u32> = all
            .iter()
            .copied()
            .filter(|target| carries(*target) == carries(first))
            .collect();
        self.line("block");
        self.inside(&[], false, |this| {
            // One deeper now, and under an `if` so that what follows is reached.
            this.value(I32, depth - 1);
            this.line("if");
            this.inside(&[], false, |this| {
                this.branch_values(first + 2, depth);
                this.value(I32, 1);
                let count = this.choose(4);
                this.text.push_str("br_table");
                for _ in 0..=count {
                    let target = like[this.choose(like.len() as u32) as usize] + 2;
                    let _ = write!(this.text, " {target}");
                }
                this.line("");
            });
            this.line("end");
        });
        self.line("end");
    }

    /// Leaves the function, or traps, under a condition.
    fn leave(&mut self, depth: u32) {
        self.value(I32, depth - 1);
        self.line("if");
        self.inside(&[], false, |this| {
            let alike: Vec<u32> = (0..this.functions.len())
                .filter(|index| this.functions[*index].results == this.results)
                .map(|index| index as u32)
                .collect();
            if this.choose(4) == 3 {
                this.line("unreachable");
            } else if !alike.is_empty() && this.choose(2) == 1 {
                let index = alike[this.choose(alike.len() as u32) as usize];
                this.call_of(index, "return_", depth);
            } else {
                for ty in this.results.clone() {
                    this.value(ty, 1);
                }
                this.line("return");
            }
        });
        self.line("end");
    }

    /// A call of an earlier function, directly or through the table; gives the types of its results.
    fn call(&mut self, depth: u32) -> Vec<ValueType> {
        if self.functions.is_empty() {
            return Vec::new();
        }
        let index = self.choose(self.functions.len() as u32);
        self.call_of(index, "", depth);
        self.functions[index as usize].results.clone()
    }

    /// A call of that function with arguments, directly or through the table; `prefix` makes it a tail call.
    fn call_of(&mut self, index: u32, prefix: &str, depth: u32) {
        let ty = self.functions[index as usize].clone();
        for param in &ty.params {
            self.value(*param, depth.saturating_sub(2));
        }
        if self.choose(2) == 0 {
            let _ = writeln!(self.text, "{prefix}call $f{index}");
        } else {
            // Sometimes an element that is null, of another type, or not there; never a function after this one.
            let element = match self.choose(8) {
                0 => 0,
                1 => 100,
                2 => 1 + self.choose(self.functions.len() as u32),
                _ => index + 1,
            };
            let names = |types: &[ValueType]| {
                types
                    .iter()
                    .map(|ty| format!(" {}", ty.name()))
                    .collect::<String>()
            };
            let (params, results) = (names(&ty.params), names(&ty.results));
            let _ = writeln!(
                self.text,
                "i32.const {element}\n{prefix}call_indirect (param{params}) (result{results})"
            );
        }
    }

    fn bulk(&mut self, depth: u32) {
        match self.choose(4) {
            0 => {
                self.address(depth);
                self.value(I32, depth - 1);
                let len = self.choose_wide();
                let _ = writeln!(self.text, "i32.const {len}\nmemory.fill");
            }
            1 => {
                self.address(depth);
                self.address(depth);
                let len = self.choose_wide();
                let _ = writeln!(self.text, "i32.const {len}\nmemory.copy");
            }
            2 => {
                self.address(depth);
                let (from, len) = (self.choose(6), self.choose(9));
                let _ = writeln!(
                    self.text,
                    "i32.const {from}\ni32.const {len}\nmemory.init 0"
                );
            }
            _ => {
                let pages = self.choose(3);
                let _ = writeln!(self.text, "i32.const {pages}\nmemory.grow\ndrop");
            }
        }
    }

    fn choose_wide(&mut self) -> u32 {
        self.choose(256) << self.choose(9)
    }

    /// An address: mostly inside memory, sometimes at its end or anywhere.
    fn address(&mut self, depth: u32) {
        match self.choose(16) {
            0..=12 => {
                self.value(I32, depth.saturating_sub(1));
                self.line("i32.const 255\ni32.and");
            }
            13 | 14 => {
                let at = 65536 - 16 + self.choose(24);
                let _ = writeln!(self.text, "i32.const {at}");
            }
            _ => self.value(I32, depth.saturating_sub(1)),
        }
    }

    fn store(&mut self, depth: u32) {
        let stores: Vec<usize> = self.indices(|op| op.memory && op.result.is_none());
        let op = &self.operations[stores[self.choose_among(stores.len())]];
        self.access(op, depth);
    }

    /// A load or store. What the front end joins to one operation of the table is written as it finds it, under a comment
    /// with the operation's name.
    fn access(&mut self, op: &Operation, depth: u32) {
        self.address(depth);
        let stored = op.operands.get(1);
        if let Some(name) = op.name.strip_suffix("_sum") {
            let constant = self.sum();
            let _ = writeln!(
                self.text,
                ";; {}\ni64.extend_i32_u\ni64.const {constant}\ni64.add\ni32.wrap_i64",
                op.name
            );
            match stored {
                Some(ty) if self.choose(2) == 0 => self.constant(*ty),
                Some(ty) => {
                    let index = self.variable(*ty);
                    let _ = writeln!(self.text, "local.get {index}");
                }
                None => {}
            }
            // Now and then with an offset, which is not joined.
            let offset = if self.choose(8) == 7 { 8 } else { 0 };
            let _ = writeln!(self.text, "{name} offset={offset}");
            return;
        }
        if let Some(ty) = stored {
            self.value(*ty, depth - 1);
            self.canonical(*ty);
        }
        let offset = self.offset();
        match op.name.strip_suffix("_wrap") {
            Some(name) => {
                let _ = writeln!(
                    self.text,
                    ";; {}\n{name} offset={offset}\ni32.wrap_i64",
                    op.name
                );
            }
            None => {
                let _ = writeln!(self.text, "{} offset={offset}", op.name);
            }
        }
    }

    /// What is added to an address: mostly what leaves it inside memory.
    fn sum(&mut self) -> i64 {
        match self.choose(8) {
            6 => -i64::from(self.choose_wide()),
            7 => {
                let edges = [
                    i64::from(i32::MIN),
                    i64::from(i32::MAX),
                    1 << 31,
                    1 << 32,
                    -1,
                ];
                edges[self.choose(edges.len() as u32) as usize] + i64::from(self.choose(3))
            }
            _ => i64::from(self.choose_wide()),
        }
    }

    fn offset(&mut self) -> u32 {
        match self.choose(32) {
            31 => 0x8000_0000 | self.choose_wide(),
            30 => 0x7fff_ff00 | self.choose(256),
            _ => self.choose_wide(),
        }
    }

    fn indices(&self, wanted: impl Fn(&Operation) -> bool) -> Vec<usize> {
        self.operations
            .iter()
            .enumerate()
            .filter(|(_, op)| wanted(op))
            .map(|(index, _)| index)
            .collect()
    }

    fn choose_among(&mut self, count: usize) -> usize {
        (self.choose(256) * 256 + self.choose(256)) as usize % count
    }

    /// The payload and sign of a NaN are not determined: where they would show, every NaN becomes one.
    fn canonical(&mut self, ty: ValueType) {
        if matches!(ty, F32 | F64) {
            let name = ty.name();
            // A variable of the type that has already been used by whatever came before.
            let scratch = self.counters - LOCALS * if ty == F32 { 2 } else { 1 };
            let _ = writeln!(
                self.text,
                "local.tee {scratch}\n{name}.const nan\nlocal.get {scratch}\nlocal.get {scratch}\n{name}.eq\nselect"
            );
        }
    }

    /// Instructions that push a value of type `ty`.
    fn value(&mut self, ty: ValueType, depth: u32) {
        if depth == 0 || !self.fresh() {
            return self.leaf(ty);
        }
        match self.choose(12) {
            0 | 1 => self.leaf(ty),
            2..=6 => self.operation(ty, depth),
            7 => {
                self.value(ty, depth - 1);
                self.value(ty, depth - 1);
                self.value(I32, depth - 1);
                self.keep_comparison();
                self.line("select");
            }
            8 => {
                let _ = writeln!(self.text, "block (result {})", ty.name());
                self.inside(&[ty], false, |this| {
                    this.statement(depth - 1);
                    this.value(ty, depth - 1);
                });
                self.line("end");
            }
            9 => {
                self.value(I32, depth - 1);
                let _ = writeln!(self.text, "if (result {})", ty.name());
                self.inside(&[ty], false, |this| this.value(ty, depth - 1));
                self.line("else");
                self.inside(&[ty], false, |this| this.value(ty, depth - 1));
                self.line("end");
            }
            10 => {
                let index = self.variable(ty);
                self.value(ty, depth - 1);
                let _ = writeln!(self.text, "local.tee {index}");
            }
            _ => {
                // What a call leaves goes but for one value of the type, if it has one on top.
                let mut results = self.call(depth);
                while results.last().is_some_and(|last| *last != ty) {
                    results.pop();
                    self.line("drop");
                }
                if results.pop().is_none() {
                    return self.leaf(ty);
                }
                // The values below stay there for a while.
                let kept = self.variable(ty);
                let _ = writeln!(self.text, "local.set {kept}");
                for _ in results {
                    self.line("drop");
                }
                let _ = writeln!(self.text, "local.get {kept}");
            }
        }
    }

    /// wasmi 2.0.0 reads a condition that it has not computed where `select` follows a comparison of a local with zero;
    /// it does not if the comparison is also kept in a variable.
    fn keep_comparison(&mut self) {
        let last = self.text.lines().next_back();
        if matches!(last, Some("i32.eqz" | "i32.eq" | "i32.ne")) {
            let kept = self.variable(I32);
            let _ = writeln!(self.text, "local.tee {kept}");
        }
    }

    /// A variable of type `ty` that may be written.
    fn variable(&mut self, ty: ValueType) -> u32 {
        let of_type: Vec<u32> = (0..self.counters)
            .filter(|index| self.variables[*index as usize] == ty)
            .collect();
        of_type[self.choose(of_type.len() as u32) as usize]
    }

    fn operation(&mut self, ty: ValueType, depth: u32) {
        let candidates = self.indices(|op| op.result == Some(ty));
        let op = &self.operations[candidates[self.choose_among(candidates.len())]];
        if op.memory {
            return self.access(op, depth);
        }
        let (mixes_signs, shows_bits) = (
            op.name.ends_with("copysign"),
            op.name.contains("reinterpret_f"),
        );
        for (index, operand) in op.operands.iter().enumerate() {
            self.value(*operand, depth - 1);
            if shows_bits || (mixes_signs && index == 1) {
                self.canonical(*operand);
            }
        }
        let _ = writeln!(self.text, "{}", op.name);
    }

    fn leaf(&mut self, ty: ValueType) {
        match self.choose(8) {
            0..=2 => self.constant(ty),
            3 => {
                let _ = writeln!(self.text, "global.get $g_{}", ty.name());
            }
            4 if ty == I32 => self.line("memory.size"),
            5 if ty == I32 && self.loops > 0 => {
                let _ = writeln!(self.text, "local.get {}", self.counters + self.loops - 1);
            }
            _ => {
                let index = self.variable(ty);
                let _ = writeln!(self.text, "local.get {index}");
            }
        }
    }

    fn constant(&mut self, ty: ValueType) {
        const EDGES: [i64; 18] = [
            0,
            1,
            -1,
            2,
            7,
            31,
            32,
            63,
            127,
            128,
            -128,
            -129,
            0x7fff_ffff,
            -0x8000_0000,
            0x8000_0000,
            0xffff_ffff,
            i64::MAX,
            i64::MIN,
        ];
        const FLOATS: [&str; 12] = [
            "0",
            "-0",
            "1",
            "-1.5",
            "0.5",
            "2147483648",
            "-2147483649",
            "1e30",
            "-inf",
            "nan",
            "9223372036854775808",
            "4294967295.5",
        ];
        let text = match ty {
            I32 | I64 => {
                let wide = match self.choose(3) {
                    0 => EDGES[self.choose(EDGES.len() as u32) as usize],
                    1 => i64::from(self.choose(256) as i8),
                    _ => (0..8).fold(0, |wide, _| wide << 8 | i64::from(self.choose(256))),
                };
                if ty == I32 {
                    (wide as i32).to_string()
                } else {
                    wide.to_string()
                }
            }
            _ => match self.choose(2) {
                0 => FLOATS[self.choose(FLOATS.len() as u32) as usize].to_owned(),
                _ => (f64::from(self.choose(256)) / 8.0 - 16.0).to_string(),
            },
        };
        let _ = writeln!(self.text, "{}.const {text}", ty.name());
    }
}
