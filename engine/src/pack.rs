//! A stencil pack, opened: its tables in place, its operations indexed.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use copatch_spec::isa::{Operation, Shape};
use copatch_spec::pack::{Metadata, PackError, PackView, validate};
use copatch_spec::types::{Place, ValueType};
use copatch_spec::variants::{FormKey, Outcome};
use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::forms::{FormId, Forms, OpForms};
use crate::templates::Templates;

/// The number of an operation in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub(crate) u16);

impl OpId {
    /// The operation's index in [`Metadata::ops`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// No register, no operation: the absent value of small indices.
pub(crate) const NONE: u8 = u8::MAX;

#[derive(Debug)]
enum Bytes {
    Embedded(&'static [u8]),
    Owned(Vec<u8>),
    Mapped(Mmap),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Embedded(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}

/// What is to be known when an operation is emitted; small, for it is copied for each one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emission {
    /// The result's class, if it has one.
    pub class: u8,
    /// Which of the operation's registers the result shares, or [`NONE`].
    pub tie: u8,
    /// The trap that a fault in its own memory accesses stands for, or [`NONE`] if it has none.
    pub fault: u8,
    /// Whether the condition is wanted the other way round.
    pub negated: bool,
}

/// What code generation needs to know of an operation, without a detour through names and vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpInfo {
    pub operands: [ValueType; 4],
    pub operand_count: u8,
    pub result: Option<ValueType>,
    pub immediates: u8,
    /// The operand that shares the result's register, or [`NONE`].
    pub tie: u8,
    pub shape: Shape,
    pub commutative: bool,
    pub branch: bool,
    /// What is known of its emission.
    pub emission: Emission,
    /// [`Self::usual`] of it where `base` is everything in registers and no operand shares the result's; else no such number.
    pub usual: u8,
    /// How many registers operand 1 has to choose from.
    pub radix: u8,
    /// The outcome by which its form is chosen: for branches, both have the same places.
    pub outcome: Outcome,
    /// The same operation with operands 0 and 1 exchanged.
    pub swap: Option<OpId>,
    /// The key of the form with everything in registers; what has no register class is in slots.
    pub base: FormKey,
    pub forms: OpForms,
}

impl OpInfo {
    /// A number for the shape and the numbers of operands and immediates, so that quick paths compare once.
    pub const fn usual(shape: Shape, operands: usize, immediates: usize) -> u8 {
        (shape as u8) << 5 | (operands as u8) << 2 | immediates as u8
    }
}

const _: () = assert!(
    (Shape::Asm as u8) < 7
        && copatch_spec::limits::OPERANDS < 8
        && copatch_spec::limits::IMMEDIATES < 4
);

/// The forms of the moves of one type, by where the value comes from; to a register and to a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moves {
    pub to_register: [Option<FormId>; 3],
    pub to_slot: [Option<FormId>; 3],
}

/// The operations the builder itself uses, by value type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Core {
    pub moves: [Option<Moves>; 5],
    pub selects: [Option<OpId>; 5],
    pub jump: OpId,
    pub br_if: OpId,
    pub br_table: OpId,
    pub helper: OpId,
    pub landing: OpId,
    pub enter: OpId,
    pub return_: OpId,
    pub return_leaf: OpId,
    pub call: OpId,
    pub call_pointer: OpId,
    pub leave: OpId,
    pub tail_call: OpId,
    pub tail_call_pointer: OpId,
    pub entry: OpId,
    pub unwind: OpId,
}

/// A register file, reduced to what allocation needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClassInfo {
    pub registers: u8,
    pub arguments: u8,
}

/// A stencil pack that can generate code. Cheap to share, `Send` and `Sync`.
#[derive(Debug)]
pub struct Pack {
    bytes: Bytes,
    metadata: Metadata,
    ops: Vec<OpInfo>,
    forms: Forms,
    /// Made when code is first generated.
    templates: OnceLock<Templates>,
    core: Core,
    classes: Vec<ClassInfo>,
    /// The class of each value type, [`NONE`] if its values have none.
    class_of: [u8; 5],
    slot_bytes: u32,
}

impl Pack {
    /// Opens a pack that is part of the program and was checked when it was built: only its frame is checked.
    ///
    /// # Errors
    /// [`Error::Pack`] if it is no pack of this version.
    pub fn embedded(bytes: &'static [u8]) -> Result<Arc<Self>> {
        let open = || {
            let view = PackView::open(bytes)?;
            let metadata = view.decode_metadata()?;
            Ok((view, metadata))
        };
        let (view, metadata) = open().map_err(|source| Error::Pack {
            name: "embedded pack".to_owned(),
            source,
        })?;
        Self::index(view, metadata).and_then(|index| index.finish(Bytes::Embedded(bytes)))
    }

    /// Opens a pack from memory after checking it in full; [`Pack::from_signed`] checks its signature, too.
    ///
    /// # Errors
    /// [`Error::Pack`] with offset and cause.
    ///
    /// # Safety
    /// The checks catch damage, not malice. If code is generated from the pack and run, the pack must be trusted as one trusts
    /// a program.
    #[allow(unsafe_code)]
    pub unsafe fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Arc<Self>> {
        let index = Self::checked(name, &bytes)?;
        index.finish(Bytes::Owned(bytes))
    }

    /// Maps a pack file instead of reading it, and checks it in full.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Pack`].
    ///
    /// # Safety
    /// The file must not change while the pack is in use, and must be trusted as one trusts a program.
    #[allow(unsafe_code)]
    pub unsafe fn open_mapped(path: &Path) -> Result<Arc<Self>> {
        let fault = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(fault)?;
        // SAFETY: the caller vouches that the file stays as it is.
        let map = unsafe { Mmap::map(&file) }.map_err(fault)?;
        let index = Self::checked(&path.display().to_string(), &map)?;
        index.finish(Bytes::Mapped(map))
    }

    fn checked(name: &str, bytes: &[u8]) -> Result<Index> {
        let (view, metadata) = validate(bytes).map_err(|source| Error::Pack {
            name: name.to_owned(),
            source,
        })?;
        Self::index(view, metadata)
    }

    fn index(view: PackView<'_>, metadata: Metadata) -> Result<Index> {
        Index::new(&view, metadata)
    }

    /// The bytes of the pack file.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// What the pack says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The operation of that name.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn op(&self, name: &str) -> Result<OpId> {
        find_op(&self.metadata.ops, name)
    }

    /// The number of the trap of that name.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn trap(&self, name: &str) -> Result<u8> {
        find_trap(&self.metadata.traps, name)
    }

    /// The name of a trap; `"unknown trap"` for a number that the pack does not have.
    pub fn trap_name(&self, kind: u8) -> &str {
        self.metadata
            .traps
            .get(usize::from(kind))
            .map_or("unknown trap", String::as_str)
    }

    /// Bytes of a slot, by which variables, arguments and results follow one another in memory: 16 where an operation of the
    /// instruction set has vectors, else 8.
    #[inline]
    pub fn slot_bytes(&self) -> u32 {
        self.slot_bytes
    }

    /// The tables.
    ///
    /// # Errors
    /// None for a pack that was opened; the type says so because the bytes are looked at again.
    pub fn view(&self) -> Result<PackView<'_>> {
        PackView::open(self.bytes.as_slice()).map_err(|source| Error::Pack {
            name: "pack".to_owned(),
            source,
        })
    }

    #[inline]
    pub(crate) fn info(&self, op: OpId) -> &OpInfo {
        &self.ops[op.index()]
    }

    /// Of all operations, by their numbers.
    pub(crate) fn infos(&self) -> &[OpInfo] {
        &self.ops
    }

    #[inline]
    pub(crate) fn forms(&self) -> &Forms {
        &self.forms
    }

    /// Its moves and calls, ready to be copied.
    pub(crate) fn templates(&self, view: &PackView<'_>) -> &Templates {
        let class = |ty| self.classes.get(usize::from(self.class_of(ty))).copied();
        self.templates.get_or_init(|| {
            let call = &self.info(self.core.call).forms;
            let call = self.forms.find(call, FormKey::registers());
            Templates::new(view, &self.forms, &self.core, call, class)
        })
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn classes(&self) -> &[ClassInfo] {
        &self.classes
    }

    pub(crate) fn class_of(&self, ty: ValueType) -> u8 {
        self.class_of[ty as usize]
    }
}

fn find_op(ops: &[Operation], name: &str) -> Result<OpId> {
    let missing = || Error::Missing {
        what: format!("operation {name}"),
    };
    ops.iter()
        .position(|op| op.name == name)
        .map(|index| OpId(index as u16))
        .ok_or_else(missing)
}

fn find_trap(traps: &[String], name: &str) -> Result<u8> {
    let missing = || Error::Missing {
        what: format!("trap \"{name}\""),
    };
    traps
        .iter()
        .position(|trap| trap == name)
        .map(|index| index as u8)
        .ok_or_else(missing)
}

/// Everything of a [`Pack`] but its bytes.
struct Index {
    metadata: Metadata,
    ops: Vec<OpInfo>,
    forms: Forms,
    core: Core,
    classes: Vec<ClassInfo>,
    class_of: [u8; 5],
    slot_bytes: u32,
}

impl Index {
    fn new(view: &PackView<'_>, metadata: Metadata) -> Result<Self> {
        let names = || format!("pack of {} for {}", metadata.isa, metadata.triple);
        let fault = |what: &str| Error::Pack {
            name: names(),
            source: PackError {
                offset: 0,
                what: what.to_owned(),
            },
        };
        let out_of_bounds = find_trap(&metadata.traps, "out of bounds memory access")?;
        let counts = ValueType::ALL.map(|ty| metadata.machine.registers(ty) as u8);
        let registers = |ty: Option<&ValueType>| ty.map_or(0, |ty| counts[*ty as usize]);
        let class_of = ValueType::ALL.map(|ty| {
            metadata
                .machine
                .class_of(ty)
                .map_or(NONE, |class| class as u8)
        });
        let mut ops = Vec::with_capacity(metadata.ops.len());
        for op in &metadata.ops {
            let mut info = OpInfo {
                operands: [ValueType::I32; 4],
                operand_count: op.operands.len() as u8,
                result: op.result,
                immediates: op.immediates.len() as u8,
                tie: op.tie.unwrap_or(NONE),
                shape: op.shape,
                commutative: op.commutative,
                branch: op.branch,
                emission: Emission {
                    class: op.result.map_or(NONE, |ty| class_of[ty as usize]),
                    tie: NONE,
                    fault: if op.uses_mem { out_of_bounds } else { NONE },
                    negated: false,
                },
                usual: u8::MAX,
                radix: registers(op.operands.get(1)),
                outcome: match op.shape {
                    Shape::Branch => Outcome::BranchTrue,
                    _ => Outcome::Plain,
                },
                swap: op
                    .swap
                    .as_deref()
                    .and_then(|name| find_op(&metadata.ops, name).ok()),
                base: FormKey::registers(),
                forms: OpForms::NONE,
            };
            if op.operands.len() > info.operands.len() {
                return Err(fault("an operation with too many operands"));
            }
            info.operands[..op.operands.len()].copy_from_slice(&op.operands);
            let in_slot = |ty: &ValueType| counts[*ty as usize] == 0;
            for (index, ty) in op.operands.iter().enumerate() {
                if in_slot(ty) {
                    info.base = info.base.with_operand(index, Place::Slot);
                }
            }
            if op.result.as_ref().is_some_and(in_slot) {
                info.base = info.base.with_result_slot();
            }
            if info.base == FormKey::registers() && info.tie == NONE {
                let (operands, immediates) = (op.operands.len(), op.immediates.len());
                info.usual = OpInfo::usual(op.shape, operands, immediates);
            }
            ops.push(info);
        }
        if view.forms.len() > copatch_spec::limits::FORMS {
            return Err(fault("too many forms"));
        }
        let forms = Forms::new(view, &metadata.kinds)
            .ok_or_else(|| fault("a table refers to a row that does not exist"))?;
        for (row, form) in (0..).zip(view.forms) {
            let Some(info) = ops.get_mut(usize::from(form.op.get())) else {
                return Err(fault("a form of an operation that does not exist"));
            };
            info.forms.add(row, &forms, info.outcome);
        }
        // A few dozen names, most among the first: cheaper to look for than to hash all.
        let find = |name: &str| find_op(&metadata.ops, name);
        let by_type = |prefix: &str| {
            ValueType::ALL.map(|ty| find(&format!("core.{prefix}_{}", ty.name())).ok())
        };
        let moves = by_type("move").map(|op| {
            let of = &ops.get(op?.index())?.forms;
            let from_each = |key: FormKey| {
                [Place::Register, Place::Immediate, Place::Slot]
                    .map(|place| forms.find(of, key.with_operand(0, place)))
            };
            Some(Moves {
                to_register: from_each(FormKey::registers()),
                to_slot: from_each(FormKey::registers().with_result_slot()),
            })
        });
        let core = Core {
            moves,
            selects: by_type("select"),
            jump: find("core.jump")?,
            br_if: find("core.br_if")?,
            br_table: find("core.br_table")?,
            helper: find("core.helper")?,
            landing: find("core.landing")?,
            enter: find("core.enter")?,
            return_: find("core.return")?,
            return_leaf: find("core.return_leaf")?,
            call: find("core.call")?,
            call_pointer: find("core.call_ptr")?,
            leave: find("core.leave")?,
            tail_call: find("core.tail_call")?,
            tail_call_pointer: find("core.tail_call_ptr")?,
            entry: find("core.entry")?,
            unwind: find("core.unwind")?,
        };
        let classes = metadata
            .machine
            .classes
            .iter()
            .map(|(_, class)| ClassInfo {
                registers: class.registers.len() as u8,
                arguments: class.arguments,
            })
            .collect::<Vec<_>>();
        if classes.len() > crate::builder::CLASSES
            || classes.iter().any(|class| class.registers > 16)
        {
            return Err(fault(
                "more register classes or registers than this engine keeps track of",
            ));
        }
        // The engine's own operations move vectors, whether there are any or not.
        let own = metadata.ops.iter().filter(|op| !op.is_core());
        let mut types = own.flat_map(|op| op.operands.iter().chain(&op.result));
        let slot_bytes = if types.any(|ty| *ty == ValueType::V128) {
            16
        } else {
            8
        };
        Ok(Self {
            metadata,
            ops,
            forms,
            core,
            classes,
            class_of,
            slot_bytes,
        })
    }

    fn finish(self, bytes: Bytes) -> Result<Arc<Pack>> {
        let Self {
            metadata,
            ops,
            forms,
            core,
            classes,
            class_of,
            slot_bytes,
        } = self;
        Ok(Arc::new(Pack {
            bytes,
            metadata,
            ops,
            forms,
            templates: OnceLock::new(),
            core,
            classes,
            class_of,
            slot_bytes,
        }))
    }
}
