//! Copying and patching: the only code that runs once for every stencil generated.
//!
//! A [`CodeBuffer`] is a region of writable memory that becomes executable later, at the same place; so everything in
//! it refers to everything else by distance. What a hole is filled with and how is data of the pack; this module
//! knows no architecture.

mod ends;
mod join;
mod quick;
mod veneers;

use copatch_spec::limits::{CODE_PADDING, CONSTANT_ALIGNMENT, STENCIL_BYTES};
use copatch_spec::pack::PackView;
use copatch_spec::patch::Source;

use crate::error::Error;
use crate::forms::{FormId, Forms, Values};
use crate::hint::{unlikely, usual};
use crate::holes::{Hole, Patch};
use crate::program::NO_ENTRY;
use crate::sites::Sites;

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
    /// The same, of a jump, which reaches every function.
    Jump(u32),
    /// The entries given to [`CodeBuffer::table_entries`] from this one on.
    Table(u32),
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

/// A hole that waits for a label, a function, a trap stub or the constant pool.
#[derive(Clone, Copy, Debug)]
struct Fixup<'p> {
    hole: &'p Hole,
    /// Offset of the hole in the buffer.
    at: u32,
    /// A label, a function or a source offset, as the list it is in says; nothing for the pool.
    what: u32,
}

/// Machine code in the making.
pub(crate) struct CodeBuffer<'p> {
    view: PackView<'p>,
    forms: &'p Forms,
    len: usize,
    /// Where the constant pool lies, or [`UNBOUND`] in a buffer that has none, or one behind each function.
    pool: u32,
    labels: Vec<u32>,
    label_fixups: Vec<Fixup<'p>>,
    /// With the traps' numbers.
    trap_fixups: Vec<(Fixup<'p>, u8)>,
    call_fixups: Vec<Fixup<'p>>,
    jump_fixups: Vec<Fixup<'p>>,
    /// How far calls may reach, in bytes.
    pub reach: usize,
    pool_fixups: Vec<Fixup<'p>>,
    table_fixups: Vec<(Fixup<'p>, u32, u32)>,
    table_entries: Vec<Label>,
    pub sites: Sites,
    pub trace: Option<Vec<Emitted>>,
    /// Stencils that are shorter are copied the quick way: none where all are remembered.
    quick: usize,
    /// The function in hand.
    function: u32,
    /// Where functions begin, by number; [`NO_ENTRY`] for those that have not begun.
    pub entries: Vec<u32>,
    error: Option<Error>,
}

/// A stencil to be emitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emit {
    /// Its record in the pack's stencil table.
    pub row: u32,
    /// Its form, for listings.
    pub form: FormId,
    pub target: Target,
    /// Front-end offset for trap sites.
    pub source: u32,
}

impl<'p> CodeBuffer<'p> {
    /// A buffer that generates code from that pack.
    pub fn new(view: PackView<'p>, forms: &'p Forms) -> Self {
        Self {
            view,
            forms,
            len: 0,
            pool: UNBOUND,
            labels: Vec::new(),
            label_fixups: Vec::new(),
            trap_fixups: Vec::new(),
            call_fixups: Vec::new(),
            jump_fixups: Vec::new(),
            reach: usize::MAX,
            pool_fixups: Vec::new(),
            table_fixups: Vec::new(),
            table_entries: Vec::new(),
            sites: Sites::default(),
            trace: None,
            quick: 2 * CHUNK + 1,
            function: u32::MAX,
            entries: Vec::new(),
            error: None,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Remembers every stencil from here on.
    pub fn remember(&mut self) {
        self.trace = Some(Vec::new());
        self.quick = 0;
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
        self.align(memory, CONSTANT_ALIGNMENT);
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

    /// Begins a function at the present place.
    pub fn begin_function(&mut self, function: u32) {
        let (index, place) = (function as usize, self.len as u32);
        if self.entries.len() <= index {
            self.entries.resize(index + 1, NO_ENTRY);
        }
        self.entries[index] = place;
        self.function = function;
        self.sites.begin(function, place);
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
        self.fail(Error::Limit { what: CODE_SPACE });
    }

    /// Copies a stencil and patches its holes.
    #[inline(always)]
    pub fn emit(&mut self, memory: &mut [u8], emit: Emit, values: &Values) {
        let start = self.len;
        let Some(row) = self.view.stencils.get(emit.row as usize) else {
            return self.refuse(emit.row);
        };
        // With this much room on both sides no access below needs a check. An absent record's offset lies outside.
        let Some(code) = from(self.view.code, row.code.get()) else {
            return self.emit_at_end(memory, &Emit { ..emit }, values);
        };
        let Some(room) = from_mut(memory, start as u32) else {
            return self.full();
        };
        let length = usize::from(row.length.get());
        copy_first(room, code, length);
        if length > 2 * CHUNK {
            copy_rest(room, code, length);
        }
        self.len = start + length;
        match self.forms.patch(row.holes.get()) {
            // What is rarely needed is put together where it is needed.
            Some(patch) => self.patch(room, code, start, patch, &Emit { ..emit }, values),
            None => self.refuse(emit.row),
        }
        if self.trace.is_some() {
            self.record(start, &Emit { ..emit }, values);
        }
    }

    #[cold]
    fn record_template(&mut self, start: usize, row: u32, form: FormId, values: &[i64]) {
        let mut all = Values::default();
        for (place, value) in all.iter_mut().zip(values) {
            *place = *value;
        }
        let emit = Emit {
            row,
            form,
            target: Target::None,
            source: 0,
        };
        self.record(start, &emit, &all);
    }

    /// The same for a stencil at the very end of the code section.
    #[cold]
    fn emit_at_end(&mut self, memory: &mut [u8], emit: &Emit, values: &Values) {
        let start = self.len;
        let row = self.view.stencils.get(emit.row as usize).copied();
        let bytes = row.and_then(|row| {
            let first = row.code.get() as usize;
            self.view
                .code
                .get(first..first + usize::from(row.length.get()))
        });
        let (Some(row), Some(bytes)) = (row, bytes) else {
            return self.fail(Error::Internal {
                what: format!("no stencil in record {}", emit.row),
            });
        };
        let Some(room) = from_mut(memory, start as u32) else {
            return self.full();
        };
        let mut code = [0; ROOM];
        let length = bytes.len().min(STENCIL_BYTES);
        code[..length].copy_from_slice(&bytes[..length]);
        *room = code;
        self.len = start + length;
        match self.forms.patch(row.holes.get()) {
            Some(patch) => self.patch(room, &code, start, patch, emit, values),
            None => self.refuse(emit.row),
        }
        if self.trace.is_some() {
            self.record(start, emit, values);
        }
    }

    /// Records that a fault in the bytes since `start` is a trap.
    #[inline]
    pub fn site(&mut self, start: usize, kind: u8, source: u32) {
        let length = (self.len - start) as u16;
        self.sites.push(start as u32, length, source, kind);
    }

    #[cold]
    fn refuse(&mut self, row: u32) {
        self.fail(Error::Internal {
            what: format!("no stencil in record {row}"),
        });
    }

    #[cold]
    fn record(&mut self, start: usize, emit: &Emit, values: &Values) {
        let (op, key) = self.forms.name(emit.form);
        let function = self.function;
        if let Some(trace) = &mut self.trace {
            trace.push(Emitted {
                offset: start as u32,
                stencil: emit.row,
                op,
                key,
                values: *values,
                function,
            });
        }
    }

    /// Fills the holes of the stencil at the beginning of `room`, whose bytes as they were in the pack are `code`.
    #[inline(never)]
    fn patch(
        &mut self,
        room: &mut [u8; ROOM],
        code: &[u8; ROOM],
        start: usize,
        patch: &'p Patch,
        emit: &Emit,
        values: &Values,
    ) {
        let forms = self.forms;
        let apart = !matches!(patch, Patch::Holes { apart: false, .. });
        for hole in patch.all(forms) {
            let within = usize::from(hole.offset) & (STENCIL_BYTES - 1);
            let at = (start + within) as u32;
            let value = match hole.value(values) {
                Some(value) => value,
                None => match self.place(hole, at, emit) {
                    UNBOUND => continue,
                    place => i64::from(place),
                },
            };
            // Where windows do not overlap, what the pack holds is combined with the value, which spares waiting for
            // the copy; eight bytes are written, and what they spoil behind the window is written again.
            let bits = if apart {
                word(&code[within..within + 8])
            } else {
                word(&room[within..within + 8])
            };
            self.fill(room, hole, within, bits, value, at);
        }
    }

    /// Writes a hole's window, which has these bits, with a value.
    #[inline(always)]
    fn fill(
        &mut self,
        room: &mut [u8; ROOM],
        hole: &Hole,
        within: usize,
        bits: u64,
        value: i64,
        at: u32,
    ) {
        match hole.fill(self.forms, bits, value, at) {
            Some(bits) => room[within..within + 8].copy_from_slice(&bits.to_le_bytes()),
            None => self.out_of_reach(hole, value, at),
        }
    }

    #[cold]
    fn out_of_reach(&mut self, hole: &Hole, value: i64, at: u32) {
        self.fail(match hole.value(&Values::default()) {
            Some(_) => Error::Internal {
                what: format!("{value} is out of reach of the hole at {at:#x}"),
            },
            None => Error::Limit { what: REACH },
        });
    }

    /// The offset in the buffer that a hole for control flow refers to, or [`UNBOUND`] if it was put on a list for later.
    #[inline]
    fn place(&mut self, hole: &'p Hole, at: u32, emit: &Emit) -> u32 {
        let mut fixup = Fixup { at, hole, what: 0 };
        let Some(source) = Source::decode(hole.source) else {
            return UNBOUND;
        };
        match (source, emit.target) {
            (Source::Target(_), Target::Label(label)) => return self.label_place(hole, at, label),
            (Source::Target(_), Target::Function(function)) => {
                if let Some(known) = self.entry(function)
                    && self.near(at, known)
                {
                    return known;
                }
                fixup.what = function;
                self.call_fixups.push(fixup);
            }
            (Source::Target(_), Target::Jump(function)) => {
                if let Some(known) = self.entry(function) {
                    return known;
                }
                fixup.what = function;
                self.jump_fixups.push(fixup);
            }
            (Source::Table, Target::Table(first)) => {
                let end = self.table_entries.len() as u32;
                self.table_fixups.push((fixup, first, end));
            }
            (Source::Target(_) | Source::Table, _) => self.fail(Error::Internal {
                what: "a branch without a target".to_owned(),
            }),
            (Source::Trap(kind), _) => {
                fixup.what = emit.source;
                self.trap_fixups.push((fixup, kind));
            }
            (Source::Pool, _) if self.pool != UNBOUND => return self.pool,
            (Source::Pool, _) => self.pool_fixups.push(fixup),
            (Source::Value(_), _) => {}
        }
        UNBOUND
    }

    /// Where a label is bound that a hole refers to, or [`UNBOUND`] if the hole was put on the list for later.
    #[inline(always)]
    fn label_place(&mut self, hole: &'p Hole, at: u32, label: Label) -> u32 {
        let place = self.bound(label);
        if place == UNBOUND {
            self.label_fixups.push(Fixup {
                at,
                hole,
                what: label.0,
            });
        }
        place
    }

    /// Where a label is bound, or [`UNBOUND`].
    #[inline(always)]
    fn bound(&self, label: Label) -> u32 {
        let place = usual(self.labels.get(label.0 as usize));
        place.copied().unwrap_or(UNBOUND)
    }

    /// Where a function begins that has begun.
    #[inline]
    fn entry(&self, function: u32) -> Option<u32> {
        let entry = self.entries.get(function as usize).copied();
        entry.filter(|entry| *entry != NO_ENTRY)
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
        if let Some(place) = usual(self.labels.get_mut(label.0 as usize)) {
            *place = self.len as u32;
        }
    }

    /// Adds entries to the table that the next stencil with a table uses; gives the first one's number.
    #[inline]
    pub fn table_entries(&mut self, labels: impl IntoIterator<Item = Label>) -> u32 {
        let first = self.table_entries.len() as u32;
        self.table_entries.extend(labels);
        first
    }
}

/// The limit that is exceeded where code does not fit.
pub(crate) const CODE_SPACE: &str = "generated code is larger than the space reserved for it";
/// The limit that is exceeded where code is too large for an instruction that refers to another place in it.
const REACH: &str = "distance that an instruction of this machine reaches within generated code";
/// Bytes copied at once.
const CHUNK: usize = 16;
/// Room for any stencil, and for the eight bytes of a hole at its end.
const ROOM: usize = STENCIL_BYTES + CODE_PADDING;

/// Copies the first two chunks, or the first alone if there is no more.
#[inline(always)]
fn copy_first(room: &mut [u8; ROOM], code: &[u8; ROOM], length: usize) {
    room[..CHUNK].copy_from_slice(&code[..CHUNK]);
    if unlikely(length > CHUNK) {
        room[CHUNK..2 * CHUNK].copy_from_slice(&code[CHUNK..2 * CHUNK]);
    }
}

/// Copies what lies behind the first two chunks.
#[inline(never)]
fn copy_rest(room: &mut [u8; ROOM], code: &[u8; ROOM], length: usize) {
    let mut done = 2 * CHUNK;
    while done < length.min(STENCIL_BYTES) {
        room[done..done + CHUNK].copy_from_slice(&code[done..done + CHUNK]);
        done += CHUNK;
    }
}

/// So many bytes from that place on. Places are below 2^32, so that the end is compared once.
#[inline(always)]
fn from<const N: usize>(bytes: &[u8], place: u32) -> Option<&[u8; N]> {
    let place = place as usize;
    bytes.get(place..place + N)?.first_chunk()
}

/// [`from`], to be written.
#[inline(always)]
fn from_mut<const N: usize>(bytes: &mut [u8], place: u32) -> Option<&mut [u8; N]> {
    let place = place as usize;
    bytes.get_mut(place..place + N)?.first_chunk_mut()
}

/// The first eight bytes as a little-endian word.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

const _: () = assert!(STENCIL_BYTES.is_power_of_two() && STENCIL_BYTES + CHUNK <= ROOM);
