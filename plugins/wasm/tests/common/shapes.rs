//! Modules of functions that a compiler's work could grow faster than. `bench/` measures the same ones.

/// A shape of functions.
#[derive(Clone, Copy)]
pub struct Shape {
    /// A few words.
    pub name: &'static str,
    /// Makes a function of about so many operations.
    body: fn(&mut Body, usize),
}

impl Shape {
    /// All shapes.
    pub const ALL: [Shape; 18] = [
        shape("arithmetic on 30 locals", arithmetic),
        shape("locals, each used once", locals),
        shape("locals, all used again and again", locals_again),
        shape("operand stack, half as deep", stack),
        shape("writes above a deep stack", writes_above_stack),
        shape("blocks inside each other", blocks),
        shape("blocks with results inside each other", results),
        shape("branches out of blocks in sequence", |body, size| {
            sequence(body, size, BLOCK)
        }),
        shape("branches with constant locals", constants),
        shape("branches with a constant for a register", register),
        shape("branches with a constant now and then", now_and_then),
        shape("conditionals in sequence", conditionals),
        shape("conditionals inside each other", nested_conditionals),
        shape("loops in sequence", |body, size| sequence(body, size, LOOP)),
        shape("loops inside each other", nested_loops),
        shape(
            "loops inside each other, many locals",
            nested_loops_with_locals,
        ),
        shape("a branch table over as many blocks", table),
        shape("calls", calls),
    ];

    /// A module of `count` functions of this shape, each of about `size` operations, and how many operations it has: instructions,
    /// and targets of branch tables.
    pub fn module(&self, size: usize, count: usize) -> (Vec<u8>, usize) {
        let mut body = Body::default();
        (self.body)(&mut body, size);
        body.op(END);
        let operations = count * body.operations;
        (module(&body.bytes(), count), operations)
    }
}

const fn shape(name: &'static str, body: fn(&mut Body, usize)) -> Shape {
    Shape { name, body }
}

const I32: u8 = 0x7f;
const EMPTY: u8 = 0x40;
const BLOCK: u8 = 0x02;
const LOOP: u8 = 0x03;
const IF: u8 = 0x04;
const ELSE: u8 = 0x05;
const END: u8 = 0x0b;
const BR_IF: u8 = 0x0d;
const BR_TABLE: u8 = 0x0e;
const CALL: u8 = 0x10;
const DROP: u8 = 0x1a;
const GET: u8 = 0x20;
const SET: u8 = 0x21;
const TEE: u8 = 0x22;
const CONST: u8 = 0x41;
const ADD: u8 = 0x6a;
const SUB: u8 = 0x6b;
const XOR: u8 = 0x73;

/// The instructions of a function of type `[i32] -> []`, whose parameter is local 0.
#[derive(Default)]
struct Body {
    code: Vec<u8>,
    locals: u32,
    operations: usize,
}

impl Body {
    fn op(&mut self, opcode: u8) {
        self.code.push(opcode);
        self.operations += 1;
    }

    /// An instruction with an index.
    fn with(&mut self, opcode: u8, index: usize) {
        self.op(opcode);
        unsigned(&mut self.code, index);
    }

    fn constant(&mut self, value: u8) {
        assert!(value < 64, "a constant of one byte");
        self.op(CONST);
        self.code.push(value);
    }

    /// Begins a block of that kind with that result.
    fn begin(&mut self, opcode: u8, ty: u8) {
        self.op(opcode);
        self.code.push(ty);
    }

    /// `locals` variables beside the parameter: the number of the `n`-th of them is `1 + n`.
    fn declare(&mut self, locals: usize) -> usize {
        // A function may have 50,000, and its frame a megabyte.
        let locals = locals.clamp(1, 40_000);
        self.locals = locals as u32;
        locals
    }

    /// `local to = local a + local b`: four operations.
    fn sum(&mut self, to: usize, a: usize, b: usize) {
        self.with(GET, a);
        self.with(GET, b);
        self.op(ADD);
        self.with(SET, to);
    }

    /// A branch on the parameter: two operations.
    fn branch(&mut self, depth: usize) {
        self.with(GET, 0);
        self.with(BR_IF, depth);
    }

    /// As the code section has it.
    fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        unsigned(&mut body, usize::from(self.locals > 0));
        if self.locals > 0 {
            unsigned(&mut body, self.locals as usize);
            body.push(I32);
        }
        body.extend(&self.code);
        let mut bytes = Vec::new();
        unsigned(&mut bytes, body.len());
        bytes.extend(body);
        bytes
    }
}

/// A module with that body so many times, exported by no name.
fn module(body: &[u8], count: usize) -> Vec<u8> {
    let vector = |item: &[u8]| {
        let mut bytes = Vec::new();
        unsigned(&mut bytes, count);
        bytes.extend(item.repeat(count));
        bytes
    };
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for (id, section) in [
        (1, vec![1, 0x60, 1, I32, 0]),
        (3, vector(&[0])),
        (10, vector(body)),
    ] {
        module.push(id);
        unsigned(&mut module, section.len());
        module.extend(section);
    }
    module
}

/// LEB128.
fn unsigned(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn arithmetic(body: &mut Body, size: usize) {
    let locals = body.declare(30);
    for n in 0..size / 4 {
        body.sum(1 + n * 7 % locals, 1 + n * 11 % locals, 1 + n % locals);
    }
}

fn locals(body: &mut Body, size: usize) {
    let locals = body.declare(size / 4);
    for n in 0..size / 4 {
        body.sum(1 + n % locals, n % locals, 0);
    }
}

/// A tenth as many locals as operations, so that each is used several times, far apart.
fn locals_again(body: &mut Body, size: usize) {
    let locals = body.declare(size / 10);
    for n in 0..size / 4 {
        body.sum(1 + n % locals, 1 + (n + 1) % locals, 1 + n * 7 % locals);
    }
}

fn stack(body: &mut Body, size: usize) {
    for _ in 0..size / 2 {
        body.with(GET, 0);
    }
    for _ in 1..size / 2 {
        body.op(XOR);
    }
    body.op(DROP);
}

/// A variable with reads on the stack is written, again and again.
fn writes_above_stack(body: &mut Body, size: usize) {
    let deep = size / 4;
    for _ in 0..deep {
        body.with(GET, 0);
    }
    for n in 0..size / 10 {
        body.with(GET, 0);
        body.constant((n % 64) as u8);
        body.with(SET, 0);
        body.constant(1);
        body.op(SUB);
        body.op(DROP);
    }
    for _ in 0..deep {
        body.op(DROP);
    }
}

fn blocks(body: &mut Body, size: usize) {
    let deep = size / 6;
    for n in 0..deep {
        body.begin(BLOCK, EMPTY);
        body.branch(n / 2);
        body.branch(n);
    }
    for _ in 0..deep {
        body.op(END);
    }
}

fn results(body: &mut Body, size: usize) {
    let deep = size / 6;
    for n in 0..deep {
        body.begin(BLOCK, I32);
        body.constant((n % 64) as u8);
        body.branch(n / 3);
        body.op(DROP);
    }
    body.constant(1);
    for _ in 0..deep {
        body.op(END);
    }
    body.op(DROP);
}

/// Blocks or loops, each with a branch to its label.
fn sequence(body: &mut Body, size: usize, kind: u8) {
    let locals = body.declare(20);
    for n in 0..size / 8 {
        body.begin(kind, EMPTY);
        body.sum(1 + n % locals, 1 + n * 3 % locals, 0);
        body.branch(0);
        body.op(END);
    }
}

/// Many variables that still have the value they begin with, while another constant one is written.
fn constants(body: &mut Body, size: usize) {
    body.declare(size / 10);
    body.begin(BLOCK, EMPTY);
    for n in 0..size / 4 {
        body.constant((n % 64) as u8);
        body.with(SET, 1);
        body.branch(0);
    }
    body.op(END);
}

/// The branches' label expects a variable in a register that is a constant by now, among many others.
fn register(body: &mut Body, size: usize) {
    body.declare(size / 10);
    body.begin(BLOCK, EMPTY);
    body.sum(1, 0, 0);
    body.branch(0);
    for _ in 0..2 {
        body.constant(1);
        body.with(SET, 1);
    }
    for _ in 0..size / 2 {
        body.branch(0);
    }
    body.op(END);
    body.with(GET, 1);
    body.op(DROP);
}

/// The branches' label expects a variable in a register that is a constant at each of them, and none in between.
fn now_and_then(body: &mut Body, size: usize) {
    body.begin(BLOCK, EMPTY);
    body.declare(1);
    body.sum(1, 0, 0);
    body.branch(0);
    for n in 0..size / 8 {
        body.constant((n % 64) as u8);
        body.with(SET, 1);
        body.branch(0);
        body.sum(1, 0, 0);
    }
    body.op(END);
    body.with(GET, 1);
    body.op(DROP);
}

fn conditionals(body: &mut Body, size: usize) {
    let locals = body.declare(20);
    for n in 0..size / 12 {
        body.with(GET, 0);
        body.begin(IF, EMPTY);
        body.sum(1 + n % locals, 1 + n * 3 % locals, 0);
        body.op(ELSE);
        body.sum(1 + n * 5 % locals, 0, 1 + n % locals);
        body.op(END);
    }
}

fn nested_conditionals(body: &mut Body, size: usize) {
    let locals = body.declare(20);
    let deep = size / 8;
    for n in 0..deep {
        body.sum(1 + n % locals, 1 + n * 3 % locals, 0);
        body.with(GET, 0);
        body.begin(IF, EMPTY);
    }
    for _ in 0..deep {
        body.op(ELSE);
        body.op(END);
    }
}

fn nested_loops(body: &mut Body, size: usize) {
    let locals = body.declare(20);
    let deep = size / 8;
    for n in 0..deep {
        body.begin(LOOP, EMPTY);
        body.sum(1 + n % locals, 1 + n * 3 % locals, 0);
    }
    for n in 0..deep {
        body.branch(n % 2);
        body.op(END);
    }
}

fn nested_loops_with_locals(body: &mut Body, size: usize) {
    let locals = body.declare(size / 10);
    let deep = size / 20;
    for _ in 0..deep {
        body.begin(LOOP, EMPTY);
    }
    for n in 0..size / 4 - deep / 2 {
        body.sum(1 + n % locals, 1 + n * 3 % locals, 0);
    }
    for _ in 0..deep {
        body.op(END);
    }
}

fn table(body: &mut Body, size: usize) {
    let deep = size / 6;
    for _ in 0..deep {
        body.begin(BLOCK, EMPTY);
    }
    body.with(GET, 0);
    body.with(BR_TABLE, deep - 1);
    for n in 0..deep {
        unsigned(&mut body.code, n);
        body.operations += 1;
    }
    for n in 0..deep {
        body.op(END);
        body.with(GET, 0);
        body.constant((n % 64) as u8);
        body.op(ADD);
        body.with(SET, 0);
    }
}

fn calls(body: &mut Body, size: usize) {
    let locals = body.declare(20);
    for n in 0..size / 5 {
        body.with(GET, 1 + n % locals);
        body.with(GET, 0);
        body.op(ADD);
        body.with(TEE, 1 + n * 3 % locals);
        body.with(CALL, 0);
    }
}
