//! Copying and patching: the only code that runs once for every stencil generated.
//!
//! A [`CodeBuffer`] is a region of writable memory that becomes executable later, at the same place; so everything in
//! it refers to everything else by distance. What a hole is filled with and how is data of the pack; this module
//! knows no architecture.

use copatch_spec::limits::{CODE_PADDING, STENCIL_BYTES};
use copatch_spec::pack::PackView;
use copatch_spec::pack::tables::{AlternativeRow, FormRow, HoleRow};
use copatch_spec::patch::{PatchKind, Source};

use crate::error::{Error, Result};
use crate::pack::absent;
use crate::program::TrapSite;

/// The values of one stencil's holes; as many as a form can have.
pub type Values = [i64; copatch_spec::limits::VALUES];

/// A place in the code that may not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(pub(crate) u32);

/// A label's offset while it is not bound.
const UNBOUND: u32 = u32::MAX;

/// Where a stencil's branch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    None,
    Label(Label),
    Function(u32),
}

/// A stencil as it was emitted, for listings.
#[derive(Clone, Copy, Debug)]
pub struct Emitted {
    /// Where it begins in the program's code.
    pub offset: u32,
    /// Its row in the pack's stencil table; `u32::MAX` for bytes that are no stencil (trap stubs, tables).
    pub stencil: u32,
    /// Its operation.
    pub op: u16,
    /// Its form.
    pub key: u16,
    /// What was patched into it.
    pub values: Values,
    /// The function it belongs to.
    pub function: u32,
}

/// A patch kind prepared for patching: the common case (one field that fills the window) needs no loop.
#[derive(Clone, Debug)]
struct Kind {
    whole: bool,
    window: u8,
    pc_relative: bool,
    negate: bool,
    shift: u8,
    align: u8,
    addend: i64,
    lo: i64,
    hi: i64,
    general: PatchKind,
}

impl Kind {
    fn new(kind: &PatchKind) -> Self {
        let field = kind.fields.first().copied();
        let whole = kind.fields.len() == 1
            && field.is_some_and(|field| {
                field.start == 0 && u32::from(field.end) == u32::from(kind.window) * 8
            });
        Self {
            whole,
            window: kind.window,
            pc_relative: kind.pc_relative,
            negate: field.is_some_and(|field| field.negate),
            shift: field.map_or(0, |field| field.shift.min(63)),
            align: kind.align.min(63),
            addend: field.map_or(0, |field| field.addend),
            lo: kind.lo,
            hi: kind.hi,
            general: kind.clone(),
        }
    }
}

/// A hole that waits for a label, a function or a trap stub.
#[derive(Clone, Copy, Debug)]
struct Fixup {
    /// Offset of the hole in the buffer.
    at: u32,
    kind: u8,
    addend: i32,
    /// A label, a function or a source offset, as the list it is in says.
    what: u32,
    trap: u8,
}

/// Machine code in the making.
pub(crate) struct CodeBuffer<'p> {
    view: PackView<'p>,
    kinds: Vec<Kind>,
    len: usize,
    pool: u32,
    labels: Vec<u32>,
    label_fixups: Vec<Fixup>,
    trap_fixups: Vec<Fixup>,
    call_fixups: Vec<Fixup>,
    table_fixups: Vec<(Fixup, u32, u32)>,
    table_entries: Vec<Label>,
    pub sites: Vec<TrapSite>,
    pub trace: Option<Vec<Emitted>>,
    pub function: u32,
    /// The front end's offset of what is being compiled.
    pub source: u32,
    error: Option<Error>,
}

/// How a stencil is to be emitted beyond its row and values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emit<'v> {
    pub form: usize,
    pub row: u32,
    pub values: &'v Values,
    pub target: Target,
    /// Front-end offset for trap sites.
    pub source: u32,
    /// The kind of a fault in the stencil's own memory accesses, if it has any.
    pub fault: Option<u8>,
    /// The entries of its table, as a range of those given to [`CodeBuffer::table`].
    pub table: (u32, u32),
}

impl<'p> CodeBuffer<'p> {
    /// A buffer that generates code from that pack.
    pub fn new(view: PackView<'p>, kinds: &[PatchKind]) -> Self {
        Self {
            view,
            kinds: kinds.iter().map(Kind::new).collect(),
            len: 0,
            pool: 0,
            labels: Vec::new(),
            label_fixups: Vec::new(),
            trap_fixups: Vec::new(),
            call_fixups: Vec::new(),
            table_fixups: Vec::new(),
            table_entries: Vec::new(),
            sites: Vec::new(),
            trace: None,
            function: u32::MAX,
            source: 0,
            error: None,
        }
    }

    pub fn view(&self) -> &PackView<'p> {
        &self.view
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Remembers the first error; what follows is emitted into the void.
    #[cold]
    pub fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// Appends the pack's constant pool; stencils find it from here on.
    pub fn place_pool(&mut self, memory: &mut [u8]) {
        self.align(memory, copatch_spec::limits::ALIGNMENT);
        self.pool = self.len as u32;
        let pool = self.view.pool;
        self.raw(memory, pool);
    }

    /// Pads with trap instructions' place-holders (zero bytes that are never reached) to a multiple of `alignment`.
    pub fn align(&mut self, memory: &mut [u8], alignment: usize) {
        let end = self.len.next_multiple_of(alignment);
        match memory.get_mut(self.len..end) {
            Some(gap) => {
                gap.fill(0);
                self.len = end;
            }
            None => self.full(),
        }
    }

    /// Appends bytes that are no stencil.
    pub fn raw(&mut self, memory: &mut [u8], bytes: &[u8]) {
        match memory.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.full(),
        }
    }

    #[cold]
    fn full(&mut self) {
        self.fail(Error::Limit {
            what: "generated code is larger than the space reserved for it",
        });
    }

    /// The alternative of a form whose domains admit the values.
    #[inline]
    pub fn alternative(&self, form: &FormRow, values: &Values) -> Option<&'p AlternativeRow> {
        let first = form.first.get() as usize;
        let alternatives = self
            .view
            .alternatives
            .get(first..first + usize::from(form.count.get()))?;
        let count = usize::from(form.values.get());
        if count == 0 {
            return alternatives.first();
        }
        alternatives.iter().find(|alternative| {
            let first = alternative.domains.get() as usize;
            let Some(domains) = self.view.domains.get(first..first + count) else {
                return false;
            };
            domains.iter().zip(values).all(|(domain, value)| {
                *value >= domain.lo.get()
                    && *value <= domain.hi.get()
                    && value & ((1i64 << (domain.align.get() & 63)) - 1) == 0
                    && (domain.exceptions.get() == 0 || !self.excepted(domain, *value))
            })
        })
    }

    #[cold]
    fn excepted(&self, domain: &copatch_spec::pack::tables::DomainRow, value: i64) -> bool {
        let first = domain.first_exception.get() as usize;
        let list = self
            .view
            .exceptions
            .get(first..first + usize::from(domain.exceptions.get()));
        list.is_some_and(|list| list.iter().any(|exception| exception.get() == value))
    }

    /// Copies a stencil and patches its holes. This is the hot path: a table load, copies of fixed size, a few stores.
    #[inline]
    pub fn emit(&mut self, memory: &mut [u8], emit: &Emit<'_>) {
        let start = self.len;
        let Some(row) = self
            .view
            .stencils
            .get(emit.row as usize)
            .filter(|row| !absent(row))
        else {
            self.fail(Error::Internal {
                what: format!("no stencil in record {}", emit.row),
            });
            return;
        };
        let (code, length) = (row.code.get() as usize, usize::from(row.length.get()));
        let Some(room) = memory.get_mut(start..start + STENCIL_BYTES + CODE_PADDING) else {
            self.full();
            return;
        };
        // Both sides have room for whole chunks: the code section by its padding, the buffer by the check above.
        const CHUNK: usize = 16;
        let mut done = 0;
        loop {
            let from = self.view.code.get(code + done..code + done + CHUNK);
            let (Some(from), Some(to)) = (from, room.get_mut(done..done + CHUNK)) else {
                self.fail(Error::Internal {
                    what: format!("record {} lies outside the code section", emit.row),
                });
                return;
            };
            to.copy_from_slice(from);
            done += CHUNK;
            if done >= length {
                break;
            }
        }
        if let Some(kind) = emit.fault {
            self.sites.push(TrapSite {
                offset: start as u32,
                length: length as u16,
                function: self.function,
                source: emit.source,
                kind,
            });
        }
        let list = row.holes.get();
        if list != 0 {
            self.patch_all(room, start, list, emit);
        }
        if let Some(trace) = &mut self.trace {
            let form = self.view.forms.get(emit.form);
            trace.push(Emitted {
                offset: start as u32,
                stencil: emit.row,
                op: form.map_or(u16::MAX, |form| form.op.get()),
                key: form.map_or(0, |form| form.key.get()),
                values: *emit.values,
                function: self.function,
            });
        }
        self.len = start + length;
    }

    #[inline]
    fn patch_all(&mut self, room: &mut [u8], start: usize, list: u16, emit: &Emit<'_>) {
        let holes = self.view.hole_lists.get(usize::from(list)).and_then(|row| {
            let first = row.first.get() as usize;
            self.view
                .holes
                .get(first..first + usize::from(row.count.get()))
        });
        let Some(holes) = holes else {
            self.fail(Error::Internal {
                what: format!("no hole list {list}"),
            });
            return;
        };
        for hole in holes {
            let within = usize::from(hole.offset.get());
            let at = (start + within) as u32;
            let Some(window) = room.get_mut(within..within + 8) else {
                self.fail(Error::Internal {
                    what: "a hole outside its stencil".to_owned(),
                });
                return;
            };
            let value = match Source::decode(hole.source) {
                Some(Source::Value(index)) => {
                    emit.values.get(usize::from(index)).copied().unwrap_or(0)
                }
                Some(source) => match self.place(source, hole, at, emit) {
                    Some(offset) => i64::from(offset),
                    None => continue,
                },
                None => 0,
            };
            if let Err(error) = patch(
                &self.kinds,
                hole.kind,
                window,
                value + i64::from(hole.addend.get()),
                at,
            ) {
                self.fail(error);
            }
        }
    }

    /// The offset in the buffer that a hole for control flow refers to, or `None` if it was put on a list for later.
    #[inline]
    fn place(&mut self, source: Source, hole: &HoleRow, at: u32, emit: &Emit<'_>) -> Option<u32> {
        let mut fixup = Fixup {
            at,
            kind: hole.kind,
            addend: hole.addend.get(),
            what: 0,
            trap: 0,
        };
        match source {
            Source::Target(_) => match emit.target {
                Target::Label(label) => {
                    let known = self
                        .labels
                        .get(label.0 as usize)
                        .copied()
                        .unwrap_or(UNBOUND);
                    if known != UNBOUND {
                        return Some(known);
                    }
                    fixup.what = label.0;
                    self.label_fixups.push(fixup);
                }
                Target::Function(function) => {
                    fixup.what = function;
                    self.call_fixups.push(fixup);
                }
                Target::None => self.fail(Error::Internal {
                    what: "a branch without a target".to_owned(),
                }),
            },
            Source::Trap(kind) => {
                fixup.trap = kind;
                fixup.what = emit.source;
                self.trap_fixups.push(fixup);
            }
            Source::Table => self.table_fixups.push((fixup, emit.table.0, emit.table.1)),
            Source::Pool => return Some(self.pool),
            Source::Value(_) => {}
        }
        None
    }

    /// A label that is not bound yet.
    #[inline]
    pub fn label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(self.labels.len() as u32 - 1)
    }

    /// Binds a label to the current place.
    #[inline]
    pub fn bind(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0 as usize) {
            *place = self.len as u32;
        }
    }

    /// Adds an entry to the table that the next stencil with a table uses; gives its index.
    pub fn table_entry(&mut self, label: Label) -> u32 {
        self.table_entries.push(label);
        self.table_entries.len() as u32 - 1
    }

    /// Ends a function: its trap stubs and tables go behind its code, its labels are patched and forgotten.
    pub fn end_function(&mut self, memory: &mut [u8], trap_instruction: &[u8]) {
        for fixup in std::mem::take(&mut self.trap_fixups) {
            let stub = self.len as u32;
            self.raise(memory, trap_instruction, fixup.trap, fixup.what);
            self.resolve(memory, &fixup, stub);
        }
        for (fixup, first, end) in std::mem::take(&mut self.table_fixups) {
            self.align(memory, 4);
            self.trace_raw();
            let table = self.len as u32;
            for index in first..end {
                let label = self.table_entries.get(index as usize).copied();
                let place = label
                    .and_then(|label| self.labels.get(label.0 as usize))
                    .copied()
                    .unwrap_or(UNBOUND);
                if place == UNBOUND {
                    self.fail(Error::Internal {
                        what: "a table entry without a place".to_owned(),
                    });
                }
                self.raw(memory, &place.wrapping_sub(table).to_le_bytes());
            }
            self.resolve(memory, &fixup, table);
        }
        self.table_entries.clear();
        let fixups = std::mem::take(&mut self.label_fixups);
        for fixup in &fixups {
            match self.labels.get(fixup.what as usize).copied() {
                Some(place) if place != UNBOUND => self.resolve(memory, fixup, place),
                _ => self.fail(Error::Internal {
                    what: "a branch to a label that was never bound".to_owned(),
                }),
            }
        }
        self.label_fixups = fixups;
        self.label_fixups.clear();
        self.labels.clear();
    }

    /// Appends an instruction that faults, recorded as a trap of that kind.
    pub fn raise(&mut self, memory: &mut [u8], instruction: &[u8], kind: u8, source: u32) {
        self.sites.push(TrapSite {
            offset: self.len as u32,
            length: instruction.len() as u16,
            function: self.function,
            source,
            kind,
        });
        self.trace_raw();
        self.raw(memory, instruction);
    }

    fn trace_raw(&mut self) {
        let (offset, function) = (self.len as u32, self.function);
        if let Some(trace) = &mut self.trace {
            trace.push(Emitted {
                offset,
                stencil: u32::MAX,
                op: u16::MAX,
                key: 0,
                values: Values::default(),
                function,
            });
        }
    }

    /// Patches the calls of functions by number.
    pub fn link(&mut self, memory: &mut [u8], entries: &[u32]) {
        for fixup in std::mem::take(&mut self.call_fixups) {
            match entries.get(fixup.what as usize).copied() {
                Some(place) if place != UNBOUND => self.resolve(memory, &fixup, place),
                _ => self.fail(Error::Internal {
                    what: format!("a call of function {}, which has no code", fixup.what),
                }),
            }
        }
    }

    fn resolve(&mut self, memory: &mut [u8], fixup: &Fixup, place: u32) {
        let at = fixup.at as usize;
        let Some(window) = memory.get_mut(at..at + 8) else {
            return;
        };
        let value = i64::from(place) + i64::from(fixup.addend);
        if let Err(error) = patch(&self.kinds, fixup.kind, window, value, fixup.at) {
            self.fail(error);
        }
    }
}

/// Writes `value` into an eight-byte window as a kind says; `at` is the window's offset in the buffer.
#[inline]
fn patch(kinds: &[Kind], kind: u8, window: &mut [u8], value: i64, at: u32) -> Result<()> {
    let Some(kind) = kinds.get(usize::from(kind)) else {
        return Err(Error::Internal {
            what: format!("no patch kind {kind}"),
        });
    };
    let value = if kind.pc_relative {
        value.wrapping_sub(i64::from(at))
    } else {
        value
    };
    if value < kind.lo || value > kind.hi || value & ((1i64 << kind.align) - 1) != 0 {
        return Err(Error::Internal {
            what: format!("{value} is out of reach of the hole at {at:#x}"),
        });
    }
    if kind.whole {
        let signed = if kind.negate {
            value.wrapping_neg()
        } else {
            value
        };
        let bits = (signed.wrapping_add(kind.addend) >> kind.shift) as u64;
        match kind.window {
            1 => window[..1].copy_from_slice(&[bits as u8]),
            2 => window[..2].copy_from_slice(&(bits as u16).to_le_bytes()),
            4 => window[..4].copy_from_slice(&(bits as u32).to_le_bytes()),
            _ => window[..8].copy_from_slice(&bits.to_le_bytes()),
        }
        return Ok(());
    }
    let bytes = usize::from(kind.window.min(8));
    let mut raw = [0; 8];
    raw[..bytes].copy_from_slice(&window[..bytes]);
    let bits = copatch_spec::patch::fill(&kind.general, u64::from_le_bytes(raw), value);
    window[..bytes].copy_from_slice(&bits.to_le_bytes()[..bytes]);
    Ok(())
}
