//! Random toy programs as text.
//!
//! Every function takes fuel `n` first, returns when it is used up, and passes on less; loops count to a constant. So
//! most programs end soon, and the interpreter's budget finds the others.

use std::fmt::Write;

use copatch_conformance::Choices;

const TYPES: [&str; 3] = ["int", "float", "bool"];
const INT: usize = 0;
const FLOAT: usize = 1;
const BOOL: usize = 2;

/// The text that the decisions stand for.
pub fn generate(numbers: &[u64]) -> String {
    let mut choices = Choices::new(numbers);
    let count = 1 + choices.below(3);
    let signature = |choices: &mut Choices| {
        let most = if choices.one_in(5) { 9 } else { 3 };
        let params = (0..choices.below(most)).map(|_| choices.below(3)).collect();
        (params, choices.below(3))
    };
    let functions: Vec<(Vec<usize>, usize)> = (0..count).map(|_| signature(&mut choices)).collect();
    let mut out = "array a[16];\n".to_owned();
    for (index, (params, result)) in functions.iter().enumerate() {
        let mut writer = Writer {
            choices: &mut choices,
            functions: &functions,
            scope: Vec::new(),
            names: 0,
            depth: 0,
            loops: 0,
        };
        let mut header = "n: int".to_owned();
        for ty in params {
            let name = writer.name(*ty);
            let _ = write!(header, ", {name}: {}", TYPES[*ty]);
        }
        let first = writer.leaf(*result);
        let body = writer.block();
        let last = writer.expression(*result);
        let _ = writeln!(
            out,
            "fn f{index}({header}) -> {} {{\nif n <= 0 {{ return {first}; }}\n{body}return {last};\n}}",
            TYPES[*result]
        );
    }
    let mut writer = Writer {
        choices: &mut choices,
        functions: &functions,
        scope: Vec::new(),
        names: 0,
        depth: 0,
        loops: 0,
    };
    let body = writer.block();
    let _ = writeln!(
        out,
        "fn main() {{\nlet n = 5;\n{body}print({});\n}}",
        writer.call(0)
    );
    out
}

struct Writer<'w, 'c> {
    choices: &'w mut Choices<'c>,
    functions: &'w [(Vec<usize>, usize)],
    /// Variables in sight and their types.
    scope: Vec<(String, usize)>,
    names: usize,
    depth: usize,
    loops: usize,
}

impl Writer<'_, '_> {
    fn name(&mut self, ty: usize) -> String {
        let name = format!("v{}", self.names);
        self.names += 1;
        self.scope.push((name.clone(), ty));
        name
    }

    fn block(&mut self) -> String {
        let mut out = String::new();
        let visible = self.scope.len();
        self.depth += 1;
        while self.depth < 5 && !self.choices.exhausted() && !self.choices.one_in(5) {
            out.push_str(&self.statement());
        }
        self.depth -= 1;
        // The function's own block stays in sight for its last expression.
        if self.depth > 0 {
            self.scope.truncate(visible);
        }
        out
    }

    fn statement(&mut self) -> String {
        let ty = self.choices.below(3);
        match self.choices.below(10) {
            0..=2 => {
                let value = self.expression(ty);
                let name = self.name(ty);
                format!("let {name} = {value};\n")
            }
            3 | 4 => match self.variable(ty) {
                Some(name) => format!("{name} = {};\n", self.expression(ty)),
                None => format!("print({});\n", self.expression(ty)),
            },
            5 => format!(
                "a[{} & 15] = {};\n",
                self.expression(INT),
                self.expression(INT)
            ),
            6 => {
                let (condition, first) = (self.expression(BOOL), self.block());
                let second = self.block();
                format!("if {condition} {{\n{first}}} else {{\n{second}}}\n")
            }
            7 if self.loops < 2 => {
                // The counter has no name that other statements could find.
                let counter = format!("i{}", self.names);
                self.names += 1;
                self.loops += 1;
                let (bound, body) = (self.choices.below(6), self.block());
                self.loops -= 1;
                let leave = match self.choices.below(4) {
                    0 => format!("if {} {{ break; }}\n", self.expression(BOOL)),
                    1 => format!("if {} {{ continue; }}\n", self.expression(BOOL)),
                    _ => String::new(),
                };
                format!(
                    "let {counter} = 0;\nwhile {counter} < {bound} {{\n{counter} = {counter} + 1;\n{leave}{body}}}\n"
                )
            }
            8 => format!(
                "if {} {{ print({}); }}\n",
                self.expression(BOOL),
                self.expression(ty)
            ),
            _ => format!("print({});\n", self.expression(ty)),
        }
    }

    fn variable(&mut self, ty: usize) -> Option<String> {
        let found: Vec<&String> = self
            .scope
            .iter()
            .filter(|(_, other)| *other == ty)
            .map(|(name, _)| name)
            .collect();
        self.choices.pick(&found).map(|name| (*name).clone())
    }

    fn leaf(&mut self, ty: usize) -> String {
        if self.choices.one_in(2)
            && let Some(name) = self.variable(ty)
        {
            return name;
        }
        let bits = self.choices.bits();
        match ty {
            INT if self.choices.one_in(4) => format!("{}", bits as i64),
            INT => format!("{}", bits as i64 % 10),
            FLOAT => format!("{:?}", (bits as i64 % 1000) as f64 / 8.0),
            _ => (bits & 1 == 1).to_string(),
        }
    }

    fn expression(&mut self, ty: usize) -> String {
        if self.depth >= 8 || self.choices.exhausted() {
            return self.leaf(ty);
        }
        self.depth += 1;
        let text = match (ty, self.choices.below(10)) {
            (_, 0..=2) => self.leaf(ty),
            (_, 3) => {
                let found: Vec<usize> = (0..self.functions.len())
                    .filter(|index| self.functions[*index].1 == ty)
                    .collect();
                match self.choices.pick(&found).copied() {
                    Some(index) => self.call(index),
                    None => self.leaf(ty),
                }
            }
            (INT, 4) => format!("a[{} & 15]", self.expression(INT)),
            (INT, 5) => format!("-({})", self.expression(INT)),
            (INT, 6) => {
                let from = FLOAT + self.choices.below(2);
                format!("int({})", self.expression(from))
            }
            (INT, _) => {
                let signs = ["+", "-", "*", "&", "|", "^", "<<", ">>", "+", "-", "/", "%"];
                let sign = self.choices.pick(&signs).copied().unwrap_or("+");
                format!("({} {sign} {})", self.expression(INT), self.expression(INT))
            }
            (FLOAT, 4) => format!("float({})", self.expression(INT)),
            (FLOAT, 5) => format!("-({})", self.expression(FLOAT)),
            (FLOAT, 6) => {
                let name = self
                    .choices
                    .pick(&["sqrt", "abs"])
                    .copied()
                    .unwrap_or("abs");
                format!("{name}({})", self.expression(FLOAT))
            }
            (FLOAT, 7) => {
                let name = self.choices.pick(&["min", "max"]).copied().unwrap_or("min");
                format!(
                    "{name}({}, {})",
                    self.expression(FLOAT),
                    self.expression(FLOAT)
                )
            }
            (FLOAT, _) => {
                let sign = self
                    .choices
                    .pick(&["+", "-", "*", "/"])
                    .copied()
                    .unwrap_or("+");
                format!(
                    "({} {sign} {})",
                    self.expression(FLOAT),
                    self.expression(FLOAT)
                )
            }
            (_, 4) => format!("!({})", self.expression(BOOL)),
            (_, 5) => format!("bool({})", self.expression(INT)),
            (_, 6) => {
                let word = self.choices.pick(&["and", "or"]).copied().unwrap_or("and");
                format!(
                    "({} {word} {})",
                    self.expression(BOOL),
                    self.expression(BOOL)
                )
            }
            _ => {
                let sign = self
                    .choices
                    .pick(&["==", "!=", "<", ">", "<=", ">="])
                    .copied()
                    .unwrap_or("==");
                let ty = self.choices.below(2);
                format!("({} {sign} {})", self.expression(ty), self.expression(ty))
            }
        };
        self.depth -= 1;
        text
    }

    fn call(&mut self, index: usize) -> String {
        let functions = self.functions;
        let arguments: Vec<String> = functions[index]
            .0
            .iter()
            .map(|ty| self.expression(*ty))
            .collect();
        let rest: String = arguments
            .iter()
            .fold(String::new(), |rest, argument| rest + ", " + argument);
        format!("f{index}(n - 1{rest})")
    }
}
