//! Instructions: each is validated by `wasmparser` and generated through the engine's builder in the same call, without
//! being decoded into a value in between.
//!
//! Instructions that are operations of the pack need no line here: `visit_i32_add` is the operation whose C body is
//! called `i32_add`. Those with an effect on control, locals, globals, or with a helper are listed in [`generate`].

use std::collections::HashMap;

use copatch::{FunctionBuilder, OpId, Pack, Signature, ValueType};
use wasmparser::{
    BlockType, BrTable, FrameKind, FrameStack, FuncValidator, Ieee32, Ieee64, MemArg, ValType,
    ValidatorResources, VisitOperator,
};

use crate::compile::Input;
use crate::engine::Engine;
use crate::error::Error;
use crate::helpers;
use crate::layout::Layout;
use crate::module::{Description, Init};
use crate::prescan::FAR;

/// Types of the variables that a function with far stores gets in addition, to put values aside.
pub(crate) const SCRATCH: [ValueType; 4] = [
    ValueType::I32,
    ValueType::I64,
    ValueType::F32,
    ValueType::F64,
];

macro_rules! define_instructions {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
        /// Every instruction that `wasmparser` can visit, as an index.
        #[derive(Clone, Copy)]
        #[allow(dead_code, reason = "most are never named: they are refused by validation")]
        enum Instruction { $($op),* }

        const METHODS: &[&str] = &[$(stringify!($visit)),*];
    };
}
wasmparser::for_each_visit_operator!(define_instructions);

/// The pack's operations by instruction, and those that no instruction is called after.
#[derive(Debug)]
pub(crate) struct Operations {
    by_instruction: Vec<Option<OpId>>,
    far_address: OpId,
    table_entry: OpId,
    table_get: OpId,
    table_size: OpId,
    is_null: OpId,
    global_get: [OpId; 4],
    global_set: [OpId; 4],
    far_get: [OpId; 4],
    far_set: [OpId; 4],
    unreachable: u8,
}

impl Operations {
    /// Finds the operations in a pack.
    pub fn resolve(pack: &Pack) -> Result<Self, copatch::Error> {
        let mut by_name = HashMap::new();
        for op in &pack.metadata().ops {
            by_name.insert(op.c_name(), pack.op(&op.name)?);
        }
        let find = |method: &&str| {
            method
                .strip_prefix("visit_")
                .and_then(|name| by_name.get(name).copied())
        };
        let each = |name: &str| -> Result<[OpId; 4], copatch::Error> {
            let [i32, i64, f32, f64] = SCRATCH.map(|ty| pack.op(&format!("{name}_{}", ty.name())));
            Ok([i32?, i64?, f32?, f64?])
        };
        Ok(Self {
            by_instruction: METHODS.iter().map(find).collect(),
            far_address: pack.op("memory.far_addr")?,
            table_entry: pack.op("table.entry")?,
            table_get: pack.op("table.get")?,
            table_size: pack.op("table.size")?,
            is_null: pack.op("i64.eqz")?,
            global_get: each("global.get")?,
            global_set: each("global.set")?,
            far_get: each("global.far_get")?,
            far_set: each("global.far_set")?,
            unreachable: pack.trap("unreachable")?,
        })
    }

    /// Reads a word of 64 bits of the context, whose offset is the immediate.
    pub fn word(&self) -> OpId {
        self.global_get[index_of(ValueType::I64)]
    }
}

/// What the code of every function of a module is generated from.
pub(crate) struct Context<'a> {
    operations: &'a Operations,
    description: &'a Description,
    signatures: &'a [u32],
    layout: &'a Layout,
}

impl<'a> Context<'a> {
    pub fn new(engine: &'a Engine, input: &Input<'a>) -> Self {
        Self {
            operations: engine.operations(),
            description: input.description,
            signatures: input.signatures,
            layout: input.layout,
        }
    }

    /// The type of a function.
    pub fn signature(&self, function: u32, offset: u64) -> Result<&'a Signature, Error> {
        let what = || format!("function {function} without a type");
        self.description
            .signature(function)
            .ok_or_else(|| Error::Unsupported {
                what: what(),
                offset,
            })
    }
}

/// Why a visit ends early; one word, so that a visit's result stays in a register.
pub(crate) struct Stop(pub Box<Error>);

impl From<wasmparser::Error> for Stop {
    #[cold]
    fn from(error: wasmparser::Error) -> Self {
        Stop(Box::new(error.into()))
    }
}

impl From<Error> for Stop {
    #[cold]
    fn from(error: Error) -> Self {
        Stop(Box::new(error))
    }
}

/// The result of visiting one instruction.
type Visit<T = ()> = Result<T, Stop>;

/// Validates and generates the instructions of one function.
pub(crate) struct Visitor<'a, 'u, 'p> {
    /// Offset in the module of the instruction being visited.
    pub at: u64,
    pub validator: FuncValidator<ValidatorResources>,
    pub builder: FunctionBuilder<'u, 'p>,
    pub context: &'a Context<'a>,
    /// The first of the variables of [`SCRATCH`], in functions that have them.
    pub scratch: u32,
    /// Reused for branch tables.
    pub targets: Vec<u32>,
}

impl FrameStack for Visitor<'_, '_, '_> {
    #[inline]
    fn current_frame(&self) -> Option<FrameKind> {
        self.validator.get_control_frame(0).map(|frame| frame.kind)
    }
}

static I32: [ValueType; 1] = [ValueType::I32];
static I64: [ValueType; 1] = [ValueType::I64];
static F32: [ValueType; 1] = [ValueType::F32];
static F64: [ValueType; 1] = [ValueType::F64];

/// The index of a type among [`SCRATCH`].
fn index_of(ty: ValueType) -> usize {
    ty as usize & 3
}

impl<'a> Visitor<'a, '_, '_> {
    /// The next instruction lies at `offset`.
    #[inline]
    pub fn move_to(&mut self, offset: u64) {
        self.at = offset;
        self.builder.at(offset as u32);
    }

    #[cold]
    fn refuse(&self, instruction: &str) -> Visit {
        // Validation accepts what the feature set allows, and all of that has an operation or a line below.
        Err(unsupported(instruction, self.at))
    }

    #[inline]
    fn simple(&mut self, instruction: Instruction, name: &str) -> Visit {
        match self
            .context
            .operations
            .by_instruction
            .get(instruction as usize)
        {
            Some(Some(op)) => {
                self.builder.op(*op);
                Ok(())
            }
            _ => self.refuse(name),
        }
    }

    #[inline]
    fn access(&mut self, instruction: Instruction, name: &str, memarg: MemArg) -> Visit {
        let Some(Some(op)) = self
            .context
            .operations
            .by_instruction
            .get(instruction as usize)
        else {
            return self.refuse(name);
        };
        if memarg.offset < FAR {
            self.builder.op_imm(*op, &[memarg.offset as i64]);
        } else {
            self.far_access(*op, name, memarg.offset);
        }
        Ok(())
    }

    /// An access whose offset reaches beyond the reserved range: the address is computed and checked first.
    #[cold]
    fn far_access(&mut self, op: OpId, name: &str, offset: u64) {
        let far = self.context.operations.far_address;
        if name.contains("Load") {
            self.builder.op_imm(far, &[offset as i64]);
        } else if let Some(ty) = self.builder.top_type() {
            let aside = self.scratch + index_of(ty) as u32;
            self.builder.set(aside);
            self.builder.op_imm(far, &[offset as i64]);
            self.builder.get(aside);
        }
        self.builder.op_imm(op, &[0]);
    }

    /// Types of a block's parameters and results.
    fn block_types(&self, ty: BlockType) -> Visit<(&'a [ValueType], &'a [ValueType])> {
        match ty {
            BlockType::Empty => Ok((&[], &[])),
            BlockType::Type(ValType::I32) => Ok((&[], &I32)),
            BlockType::Type(ValType::I64) => Ok((&[], &I64)),
            BlockType::Type(ValType::F32) => Ok((&[], &F32)),
            BlockType::Type(ValType::F64) => Ok((&[], &F64)),
            BlockType::Type(ValType::Ref(_)) => Ok((&[], &I64)),
            BlockType::Type(other) => {
                Err(unsupported(&format!("a block of type {other}"), self.at))
            }
            BlockType::FuncType(index) => {
                let signature = self.ty(index)?;
                Ok((&signature.params, &signature.results))
            }
        }
    }

    fn ty(&self, index: u32) -> Visit<&'a Signature> {
        match self.context.description.types.get(index as usize) {
            Some(signature) => Ok(signature),
            None => Err(unsupported("a type that does not exist", self.at)),
        }
    }

    fn branch_table(&mut self, table: &BrTable<'_>) -> Visit {
        self.targets.clear();
        for target in table.targets() {
            self.targets.push(target?);
        }
        self.builder.br_table(&self.targets, table.default());
        Ok(())
    }

    fn call(&mut self, function: u32) -> Visit {
        match self.context.description.signature(function) {
            Some(signature) => {
                self.builder.call(function, signature);
                Ok(())
            }
            None => Err(unsupported(
                "a call of a function that does not exist",
                self.at,
            )),
        }
    }

    fn call_indirect(&mut self, type_index: u32, table: u32) -> Visit {
        let signature = self.ty(type_index)?;
        let number = self
            .context
            .signatures
            .get(type_index as usize)
            .copied()
            .unwrap_or(0);
        let descriptor = self.context.layout.table(table);
        self.builder.op_imm(
            self.context.operations.table_entry,
            &[i64::from(descriptor), i64::from(number)],
        );
        self.builder.call_pointer(signature);
        Ok(())
    }

    /// The type that an untyped `select` found on the stack, after validation.
    fn select(&mut self) -> Visit {
        // An unknown type occurs only where control cannot get.
        let ty = match self.validator.get_operand_type(0) {
            Some(Some(ValType::I64 | ValType::Ref(_))) => ValueType::I64,
            Some(Some(ValType::F32)) => ValueType::F32,
            Some(Some(ValType::F64)) => ValueType::F64,
            _ => ValueType::I32,
        };
        self.builder.select(ty);
        Ok(())
    }

    fn global_get(&mut self, index: u32) -> Visit {
        let Some(global) = self.context.description.globals.get(index as usize) else {
            return Err(unsupported("a global that does not exist", self.at));
        };
        let (ty, offset) = (
            global.ty.content().code(),
            self.context.layout.global(index),
        );
        match &global.init {
            // What can never change is a constant.
            Some(Init::Value(bits)) if !global.ty.mutable() => self.builder.constant(ty, *bits),
            _ => {
                let operations = self.context.operations;
                let ops = match global.far() {
                    true => &operations.far_get,
                    false => &operations.global_get,
                };
                self.builder.op_imm(ops[index_of(ty)], &[i64::from(offset)]);
            }
        }
        Ok(())
    }

    fn global_set(&mut self, index: u32) -> Visit {
        let Some(global) = self.context.description.globals.get(index as usize) else {
            return Err(unsupported("a global that does not exist", self.at));
        };
        let (ty, offset) = (
            global.ty.content().code(),
            self.context.layout.global(index),
        );
        let operations = self.context.operations;
        let ops = match global.far() {
            true => &operations.far_set,
            false => &operations.global_set,
        };
        self.builder.op_imm(ops[index_of(ty)], &[i64::from(offset)]);
        Ok(())
    }

    /// An operation on a table whose immediate is the offset of its descriptor.
    fn table(&mut self, op: OpId, table: u32) -> Visit {
        let descriptor = self.context.layout.table(table);
        self.builder.op_imm(op, &[i64::from(descriptor)]);
        Ok(())
    }

    #[inline]
    fn constant(&mut self, ty: ValueType, bits: u64) -> Visit {
        self.builder.constant(ty, bits);
        Ok(())
    }

    /// A helper that takes `params` operands from the stack, then these indices.
    fn helper(
        &mut self,
        helper: u32,
        params: u32,
        indices: &[u32],
        results: &[ValueType],
    ) -> Visit {
        for index in indices {
            self.builder.constant(ValueType::I32, u64::from(*index));
        }
        self.builder
            .helper(helper, params + indices.len() as u32, results);
        Ok(())
    }
}

#[cold]
fn unsupported(what: &str, at: u64) -> Stop {
    Stop(Box::new(Error::Unsupported {
        what: what.to_owned(),
        offset: at,
    }))
}

/// What an instruction generates: `generate!(visitor Instruction method (arity …) arguments…)`.
macro_rules! generate {
    ($v:ident $op:ident visit_unreachable $arity:tt) => { { $v.builder.trap($v.context.operations.unreachable); Ok(()) } };
    ($v:ident $op:ident visit_nop $arity:tt) => { Ok(()) };
    ($v:ident $op:ident visit_block $arity:tt $ty:ident) => { {
        let (params, results) = $v.block_types($ty)?;
        $v.builder.block(params, results);
        Ok(())
    } };
    ($v:ident $op:ident visit_loop $arity:tt $ty:ident) => { {
        let (params, results) = $v.block_types($ty)?;
        $v.builder.loop_(params, results);
        Ok(())
    } };
    ($v:ident $op:ident visit_if $arity:tt $ty:ident) => { {
        let (params, results) = $v.block_types($ty)?;
        $v.builder.if_(params, results);
        Ok(())
    } };
    ($v:ident $op:ident visit_else $arity:tt) => { { $v.builder.else_(); Ok(()) } };
    ($v:ident $op:ident visit_end $arity:tt) => { { $v.builder.end(); Ok(()) } };
    ($v:ident $op:ident visit_br $arity:tt $depth:ident) => { { $v.builder.br($depth); Ok(()) } };
    ($v:ident $op:ident visit_br_if $arity:tt $depth:ident) => { { $v.builder.br_if($depth); Ok(()) } };
    ($v:ident $op:ident visit_br_table $arity:tt $table:ident) => { $v.branch_table(&$table) };
    ($v:ident $op:ident visit_return $arity:tt) => { { $v.builder.return_(); Ok(()) } };
    ($v:ident $op:ident visit_call $arity:tt $function:ident) => { $v.call($function) };
    ($v:ident $op:ident visit_call_indirect $arity:tt $ty:ident $table:ident) => { $v.call_indirect($ty, $table) };
    ($v:ident $op:ident visit_drop $arity:tt) => { { $v.builder.drop_top(); Ok(()) } };
    ($v:ident $op:ident visit_select $arity:tt) => { $v.select() };
    ($v:ident $op:ident visit_local_get $arity:tt $var:ident) => { { $v.builder.get($var); Ok(()) } };
    ($v:ident $op:ident visit_local_set $arity:tt $var:ident) => { { $v.builder.set($var); Ok(()) } };
    ($v:ident $op:ident visit_local_tee $arity:tt $var:ident) => { { $v.builder.tee($var); Ok(()) } };
    ($v:ident $op:ident visit_global_get $arity:tt $global:ident) => { $v.global_get($global) };
    ($v:ident $op:ident visit_global_set $arity:tt $global:ident) => { $v.global_set($global) };
    ($v:ident $op:ident visit_i32_const $arity:tt $value:ident) => { $v.constant(ValueType::I32, u64::from($value as u32)) };
    ($v:ident $op:ident visit_i64_const $arity:tt $value:ident) => { $v.constant(ValueType::I64, $value as u64) };
    ($v:ident $op:ident visit_f32_const $arity:tt $value:ident) => { $v.constant(ValueType::F32, u64::from(Ieee32::bits($value))) };
    ($v:ident $op:ident visit_f64_const $arity:tt $value:ident) => { $v.constant(ValueType::F64, Ieee64::bits($value)) };
    ($v:ident $op:ident visit_memory_size $arity:tt $memory:ident) => { $v.simple(Instruction::$op, stringify!($op)) };
    ($v:ident $op:ident visit_memory_grow $arity:tt $memory:ident) => { $v.helper(helpers::MEMORY_GROW, 1, &[], &I32) };
    ($v:ident $op:ident visit_memory_fill $arity:tt $memory:ident) => { $v.helper(helpers::MEMORY_FILL, 3, &[], &[]) };
    ($v:ident $op:ident visit_memory_copy $arity:tt $to:ident $from:ident) => { $v.helper(helpers::MEMORY_COPY, 3, &[], &[]) };
    ($v:ident $op:ident visit_memory_init $arity:tt $data:ident $memory:ident) => {
        $v.helper(helpers::MEMORY_INIT, 3, &[$data], &[])
    };
    ($v:ident $op:ident visit_data_drop $arity:tt $data:ident) => { $v.helper(helpers::DATA_DROP, 0, &[$data], &[]) };
    ($v:ident $op:ident visit_table_init $arity:tt $element:ident $table:ident) => {
        $v.helper(helpers::TABLE_INIT, 3, &[$element, $table], &[])
    };
    ($v:ident $op:ident visit_table_copy $arity:tt $to:ident $from:ident) => { $v.helper(helpers::TABLE_COPY, 3, &[$to, $from], &[]) };
    ($v:ident $op:ident visit_elem_drop $arity:tt $element:ident) => { $v.helper(helpers::ELEM_DROP, 0, &[$element], &[]) };
    ($v:ident $op:ident visit_table_get $arity:tt $table:ident) => { $v.table($v.context.operations.table_get, $table) };
    ($v:ident $op:ident visit_table_size $arity:tt $table:ident) => { $v.table($v.context.operations.table_size, $table) };
    ($v:ident $op:ident visit_table_set $arity:tt $table:ident) => { $v.helper(helpers::TABLE_SET, 2, &[$table], &[]) };
    ($v:ident $op:ident visit_table_grow $arity:tt $table:ident) => { $v.helper(helpers::TABLE_GROW, 2, &[$table], &I32) };
    ($v:ident $op:ident visit_table_fill $arity:tt $table:ident) => { $v.helper(helpers::TABLE_FILL, 3, &[$table], &[]) };
    ($v:ident $op:ident visit_ref_null $arity:tt $ty:ident) => { { let _ = $ty; $v.constant(ValueType::I64, 0) } };
    ($v:ident $op:ident visit_ref_is_null $arity:tt) => { { $v.builder.op($v.context.operations.is_null); Ok(()) } };
    ($v:ident $op:ident visit_ref_func $arity:tt $function:ident) => { $v.helper(helpers::REF_FUNC, 0, &[$function], &I64) };
    ($v:ident $op:ident visit_typed_select $arity:tt $ty:ident) => { { let ty = crate::module::value_type($ty, $v.at)?; $v.builder.select(ty); Ok(()) } };
    ($v:ident $op:ident $visit:ident (arity memarg $($arity:tt)*) $memarg:ident) => {
        $v.access(Instruction::$op, stringify!($op), $memarg)
    };
    // Operations of the pack without immediates.
    ($v:ident $op:ident $visit:ident $arity:tt) => { $v.simple(Instruction::$op, stringify!($op)) };
    ($v:ident $op:ident $visit:ident $arity:tt $($arg:ident)*) => { { $(let _ = $arg;)* $v.refuse(stringify!($op)) } };
}

macro_rules! define_visits {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
        $(
            #[inline]
            fn $visit(&mut self $($(, $arg: $argty)*)?) -> Visit {
                self.validator.visitor(self.at).$visit($($($arg.clone()),*)?)?;
                generate!(self $op $visit ($($ann)*) $($($arg)*)?)
            }
        )*
    };
}

#[allow(
    clippy::clone_on_copy,
    reason = "branch tables are not copied, and the macro treats all arguments alike"
)]
impl<'a> VisitOperator<'a> for Visitor<'_, '_, '_> {
    type Output = Visit;

    wasmparser::for_each_visit_operator!(define_visits);
}
