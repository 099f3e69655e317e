//! What each instruction becomes: calls of the engine's builder.

use copatch::{FunctionBuilder, OpId, Pack, Signature, ValueType};

use crate::compile::Input;
use crate::engine::Engine;
use crate::error::Error;
use crate::facts::Type;
use crate::helpers;
use crate::layout::Layout;
use crate::module::{Description, Global, Init};
use crate::opcodes::{Instruction, Kind, Table};
use crate::prescan::FAR;
use crate::validate::{Check, Fault, FrameKind};
use crate::visit::Sink;

/// Types of the variables that a function with far stores gets in addition, to put values aside.
pub(crate) const SCRATCH: [ValueType; TYPES] = ValueType::ALL;

/// How many types of values there are.
const TYPES: usize = ValueType::ALL.len();

/// The pack's operations by instruction, and those that no instruction is called after.
#[derive(Debug)]
pub(crate) struct Operations {
    /// All instructions.
    pub table: Table,
    far_address: OpId,
    table_entry: OpId,
    table_get: OpId,
    table_size: OpId,
    own: OpId,
    is_null: OpId,
    global_get: [OpId; TYPES],
    global_set: [OpId; TYPES],
    /// The same for globals that live in another context.
    far_get: [OpId; TYPES],
    far_set: [OpId; TYPES],
    memory_size: OpId,
    unreachable: u8,
}

impl Operations {
    /// Finds the operations in a pack.
    pub fn resolve(pack: &Pack) -> Result<Self, copatch::Error> {
        let each = |name: &str| -> Result<[OpId; TYPES], copatch::Error> {
            let [i32, i64, f32, f64, v128] =
                ValueType::ALL.map(|ty| pack.op(&format!("{name}_{}", ty.name())));
            Ok([i32?, i64?, f32?, f64?, v128?])
        };
        Ok(Self {
            table: Table::new(Some(pack)),
            far_address: pack.op("memory.far_addr")?,
            table_entry: pack.op("table.entry")?,
            table_get: pack.op("table.get")?,
            table_size: pack.op("table.size")?,
            own: pack.op("table.own")?,
            is_null: pack.op("i64.eqz")?,
            global_get: each("global.get")?,
            global_set: each("global.set")?,
            far_get: each("global.far_get")?,
            far_set: each("global.far_set")?,
            memory_size: pack.op("memory.size")?,
            unreachable: pack.trap("unreachable")?,
        })
    }

    /// Reads a word of 64 bits of the context, whose offset is the immediate.
    pub fn word(&self) -> OpId {
        self.global_get[ValueType::I64 as usize]
    }

    /// Reads a word of 64 bits whose address is in the context, at the offset that is the immediate.
    pub fn far_word(&self) -> OpId {
        self.far_get[ValueType::I64 as usize]
    }

    /// The code of the context's callee, or 0 if it needs another context.
    pub fn own(&self) -> OpId {
        self.own
    }

    /// Whether a reference is null.
    pub fn is_null(&self) -> OpId {
        self.is_null
    }
}

/// How a global is read and written.
struct GlobalAccess {
    ty: ValueType,
    /// What it is, if it can never change: then it is not read at all.
    constant: Option<u64>,
    get: OpId,
    set: OpId,
    /// Of the global, or of where it lies, in the context.
    offset: u32,
}

impl GlobalAccess {
    fn new(index: u32, global: &Global, operations: &Operations, layout: &Layout) -> Self {
        let ty = global.ty.content().code();
        let (get, set) = match global.far() {
            true => (&operations.far_get, &operations.far_set),
            false => (&operations.global_get, &operations.global_set),
        };
        let constant = match &global.init {
            Some(Init::Value(bits)) if !global.ty.mutable() => Some(*bits),
            _ => None,
        };
        Self {
            ty,
            constant,
            get: get[ty as usize],
            set: set[ty as usize],
            offset: layout.global(index),
        }
    }
}

/// What the code of every function of a module is generated from.
pub(crate) struct Context<'a> {
    operations: &'a Operations,
    description: &'a Description,
    signatures: &'a [u32],
    layout: &'a Layout,
    globals: Vec<GlobalAccess>,
}

impl<'a> Context<'a> {
    pub fn new(engine: &'a Engine, input: &Input<'a>) -> Self {
        let (operations, layout) = (engine.operations(), input.layout);
        let globals = (0..).zip(&input.description.globals);
        Self {
            operations,
            description: input.description,
            signatures: input.signatures,
            layout,
            globals: globals
                .map(|(index, global)| GlobalAccess::new(index, global, operations, layout))
                .collect(),
        }
    }

    /// All instructions.
    pub fn table(&self) -> &'a Table {
        &self.operations.table
    }

    /// The type of a function.
    pub fn signature(&self, function: u32, offset: u32) -> Result<&'a Signature, Error> {
        let what = || format!("function {function} without a type");
        self.description
            .signature(function)
            .ok_or_else(|| Error::Unsupported {
                what: what(),
                offset: u64::from(offset),
            })
    }
}

/// Generates the instructions of functions, one after another. It stays where it is from one to the next: a builder is large.
pub(crate) struct Generator<'a, 'u, 'p> {
    pub builder: FunctionBuilder<'u, 'p>,
    context: &'a Context<'a>,
    /// The first of the variables of [`SCRATCH`], if the function has them.
    scratch: Option<u32>,
    /// Whether it needed them and has none.
    pub incomplete: bool,
}

impl<'a, 'u, 'p> Generator<'a, 'u, 'p> {
    pub fn new(builder: FunctionBuilder<'u, 'p>, context: &'a Context<'a>) -> Self {
        Self {
            builder,
            context,
            scratch: None,
            incomplete: false,
        }
    }

    /// Begins a function whose variables from `scratch` on are those of [`SCRATCH`], or which has none of these.
    pub fn begin(&mut self, scratch: Option<u32>) {
        self.scratch = scratch;
        self.incomplete = false;
    }
}

#[cold]
fn unsupported() -> Box<Fault> {
    Box::new(Fault::Unsupported)
}

impl<'a> Generator<'a, '_, '_> {
    /// An access whose offset reaches beyond the reserved range: the address is computed and checked first. `lane` is the
    /// access's second immediate, if it has one.
    #[cold]
    fn far_access(
        &mut self,
        op: OpId,
        instruction: &Instruction,
        offset: u32,
        lane: Option<i64>,
    ) -> Check {
        let far = self.context.operations.far_address;
        // The address lies below the operand that is stored or that a lane is loaded into.
        let aside = instruction.operands[1] != Type::UNKNOWN;
        match self.scratch {
            None if aside => {
                self.incomplete = true;
                return Err(unsupported());
            }
            Some(scratch) if aside => {
                if let Some(ty) = self.builder.top_type() {
                    let aside = scratch + ty as u32;
                    self.builder.set(aside);
                    self.builder.op_imm(far, &[i64::from(offset)]);
                    self.builder.get(aside);
                }
            }
            _ => self.builder.op_imm(far, &[i64::from(offset)]),
        }
        match lane {
            Some(lane) => self.builder.op_imm(op, &[0, lane]),
            None => self.builder.op_imm(op, &[0]),
        }
        Ok(())
    }

    /// An operation on a table whose immediate is the offset of its descriptor.
    fn table(&mut self, op: OpId, table: &[u32]) {
        let table = table.first().copied().unwrap_or_default();
        let descriptor = self.context.layout.table(table);
        self.builder.op_imm(op, &[i64::from(descriptor)]);
    }

    /// Replaces an index by the code of that element of a table, if it is of that type, which is given.
    fn element(&mut self, ty: u32, table: u32) -> Check<&'a Signature> {
        let context = self.context;
        let signature = context.description.types.get(ty as usize);
        let signature = signature.ok_or_else(unsupported)?;
        let number = context.signatures.get(ty as usize).copied().unwrap_or(0);
        let descriptor = context.layout.table(table);
        let check = [i64::from(descriptor), i64::from(number)];
        self.builder.op_imm(context.operations.table_entry, &check);
        Ok(signature)
    }

    /// A helper that takes `params` operands from the stack, then these indices.
    fn helper(&mut self, helper: u32, params: u32, indices: &[u32], results: &[ValueType]) {
        for index in indices {
            self.builder.constant(ValueType::I32, u64::from(*index));
        }
        self.builder
            .helper(helper, params + indices.len() as u32, results);
    }
}

impl Sink for Generator<'_, '_, '_> {
    #[inline(always)]
    fn at(&mut self, offset: u32) {
        self.builder.at(offset);
    }

    fn position(&self) -> u32 {
        self.builder.position()
    }

    #[inline(always)]
    fn unary(&mut self, instruction: &Instruction) -> Check {
        let op = instruction.op.ok_or_else(unsupported)?;
        self.builder.op_unary(op, &[]);
        Ok(())
    }

    #[inline(always)]
    fn binary(&mut self, instruction: &Instruction) -> Check {
        let op = instruction.op.ok_or_else(unsupported)?;
        self.builder.op_binary(op, &[]);
        Ok(())
    }

    #[inline(always)]
    fn operation(&mut self, instruction: &Instruction, immediates: &[i64]) -> Check {
        let Some(op) = instruction.op else {
            return Err(unsupported());
        };
        if immediates.is_empty() {
            self.builder.op(op);
        } else {
            self.builder.op_any(op, immediates);
        }
        Ok(())
    }

    #[inline(always)]
    fn operation_with(&mut self, instruction: &Instruction, ty: ValueType, bits: u64) -> Check {
        let op = instruction.op.ok_or_else(unsupported)?;
        self.builder.op_with(op, ty, bits);
        Ok(())
    }

    #[inline(always)]
    fn not(&mut self, instruction: &Instruction) -> Check {
        self.builder.not(instruction.op.ok_or_else(unsupported)?);
        Ok(())
    }

    #[inline(always)]
    fn access(&mut self, instruction: &Instruction, offset: u32) -> Check {
        let Some(op) = instruction.op else {
            return Err(unsupported());
        };
        if offset >= FAR {
            return self.far_access(op, instruction, offset, None);
        }
        let offset = [i64::from(offset)];
        match instruction.kind {
            Kind::Store => self.builder.op_binary(op, &offset),
            _ => self.builder.op_unary(op, &offset),
        }
        Ok(())
    }

    #[inline(always)]
    fn access_sum(&mut self, instruction: &Instruction, constant: i32) -> Check {
        let op = instruction.op.ok_or_else(unsupported)?;
        let constant = [i64::from(constant)];
        match instruction.kind {
            Kind::Store => self.builder.op_binary(op, &constant),
            _ => self.builder.op_unary(op, &constant),
        }
        Ok(())
    }

    fn lane_access(&mut self, instruction: &Instruction, offset: u32, lane: i64) -> Check {
        let op = instruction.op.ok_or_else(unsupported)?;
        if offset >= FAR {
            return self.far_access(op, instruction, offset, Some(lane));
        }
        self.builder.op_imm(op, &[i64::from(offset), lane]);
        Ok(())
    }

    #[inline(always)]
    fn constant(&mut self, ty: ValueType, bits: u64) {
        self.builder.constant(ty, bits);
    }

    #[inline(always)]
    fn block(&mut self, kind: FrameKind, params: &[ValueType], results: &[ValueType]) -> Check {
        match kind {
            FrameKind::Loop => self.builder.loop_(params, results),
            FrameKind::If => self.builder.if_(params, results),
            _ => self.builder.block(params, results),
        }
        Ok(())
    }

    #[inline(always)]
    fn blocks(&mut self, count: usize) {
        self.builder.blocks(count);
    }

    #[inline(always)]
    fn else_(&mut self) {
        self.builder.else_();
    }

    #[inline(always)]
    fn end(&mut self) {
        self.builder.end();
    }

    #[inline(always)]
    fn br(&mut self, depth: u32) {
        self.builder.br(depth);
    }

    #[inline(always)]
    fn br_if(&mut self, depth: u32) {
        self.builder.br_if(depth);
    }

    #[inline(always)]
    fn br_if_set(&mut self, depth: u32, local: u32, bits: u64) -> Check {
        self.builder.br_if_set(depth, local, bits);
        Ok(())
    }

    fn br_table(&mut self, targets: &[u32], default: u32) {
        self.builder.br_table(targets, default);
    }

    #[inline(always)]
    fn return_(&mut self) {
        self.builder.return_();
    }

    fn unreachable(&mut self) {
        self.builder.trap(self.context.operations.unreachable);
    }

    #[inline(always)]
    fn call(&mut self, function: u32, written: Option<u32>) -> Check {
        let signature = self.context.description.signature(function);
        let signature = signature.ok_or_else(unsupported)?;
        self.builder.call_before_write(function, signature, written);
        Ok(())
    }

    fn call_indirect(&mut self, ty: u32, table: u32) -> Check {
        let signature = self.element(ty, table)?;
        self.builder.call_pointer(signature);
        Ok(())
    }

    #[inline(always)]
    fn drop(&mut self) {
        self.builder.drop_top();
    }

    #[inline(always)]
    fn select(&mut self, ty: ValueType) {
        self.builder.select(ty);
    }

    #[inline(always)]
    fn local_get(&mut self, local: u32) {
        self.builder.get(local);
    }

    #[inline(always)]
    fn local_get_apart(&mut self, local: u32) {
        self.builder.get_apart(local);
    }

    #[inline(always)]
    fn local_set(&mut self, local: u32) {
        self.builder.set(local);
    }

    #[inline(always)]
    fn local_tee(&mut self, local: u32) {
        self.builder.tee(local);
    }

    #[inline(always)]
    fn global_get(&mut self, index: u32) -> Check {
        let global = self.context.globals.get(index as usize);
        let global = global.ok_or_else(unsupported)?;
        match global.constant {
            Some(bits) => self.builder.constant(global.ty, bits),
            None => self
                .builder
                .op_nullary(global.get, &[i64::from(global.offset)]),
        }
        Ok(())
    }

    #[inline(always)]
    fn global_set(&mut self, index: u32) -> Check {
        let global = self.context.globals.get(index as usize);
        let global = global.ok_or_else(unsupported)?;
        self.builder
            .op_unary(global.set, &[i64::from(global.offset)]);
        Ok(())
    }

    fn other(&mut self, instruction: &Instruction, indices: &[u32]) -> Check {
        const I32: &[ValueType] = &[ValueType::I32];
        match instruction.kind {
            Kind::MemorySize => self.builder.op(self.context.operations.memory_size),
            Kind::MemoryGrow => self.helper(helpers::MEMORY_GROW, 1, indices, I32),
            Kind::MemoryFill => self.helper(helpers::MEMORY_FILL, 3, indices, &[]),
            Kind::MemoryCopy => self.helper(helpers::MEMORY_COPY, 3, indices, &[]),
            Kind::MemoryInit => self.helper(helpers::MEMORY_INIT, 3, indices, &[]),
            Kind::DataDrop => self.helper(helpers::DATA_DROP, 0, indices, &[]),
            Kind::TableInit => self.helper(helpers::TABLE_INIT, 3, indices, &[]),
            Kind::TableCopy => self.helper(helpers::TABLE_COPY, 3, indices, &[]),
            Kind::ElemDrop => self.helper(helpers::ELEM_DROP, 0, indices, &[]),
            Kind::TableGet => self.table(self.context.operations.table_get, indices),
            Kind::TableSize => self.table(self.context.operations.table_size, indices),
            Kind::TableSet => self.helper(helpers::TABLE_SET, 2, indices, &[]),
            Kind::TableGrow => self.helper(helpers::TABLE_GROW, 2, indices, I32),
            Kind::TableFill => self.helper(helpers::TABLE_FILL, 3, indices, &[]),
            Kind::RefNull => self.builder.constant(ValueType::I64, 0),
            Kind::RefIsNull => self.builder.op(self.context.operations.is_null),
            Kind::RefFunc => self.helper(helpers::REF_FUNC, 0, indices, &[ValueType::I64]),
            Kind::ReturnCall => {
                let function = indices.first().copied().ok_or_else(unsupported)?;
                let signature = self.context.description.signature(function);
                self.builder
                    .tail_call(function, signature.ok_or_else(unsupported)?);
            }
            Kind::ReturnCallIndirect => {
                let &[ty, table] = indices else {
                    return Err(unsupported());
                };
                let signature = self.element(ty, table)?;
                self.builder.tail_call_pointer(signature);
            }
            _ => return Err(unsupported()),
        }
        Ok(())
    }
}
