//! Code of many functions under construction, which becomes one [`Program`].

use std::sync::Arc;

use crate::buffer::{CodeBuffer, Emit, Emitted, Target};
use crate::error::{Error, Result};
use crate::forms::Values;
use crate::memory::CodeSpace;
use crate::pack::{OpId, Pack};
use crate::program::{NO_ENTRY, Program};
use crate::templates::Templates;
use copatch_spec::variants::FormKey;

/// Functions begin at multiples of this many bytes.
const FUNCTION_ALIGNMENT: usize = 16;

/// Code of many functions under construction. Functions are compiled into it by a
/// [`FunctionBuilder`](crate::FunctionBuilder), call each other by number, and become executable together.
pub struct Unit<'p> {
    pub(crate) pack: &'p Arc<Pack>,
    pub(crate) templates: &'p Templates,
    pub(crate) buffer: CodeBuffer<'p>,
    pub(crate) space: CodeSpace,
    entries: Vec<u32>,
    shim: u32,
    unwind: u32,
    wide: bool,
}

impl<'p> Unit<'p> {
    /// A unit whose code may grow to `capacity` bytes; address space is reserved, memory is used as code is written.
    ///
    /// # Errors
    /// [`Error::Memory`] where it cannot be had.
    pub fn new(pack: &'p Arc<Pack>, capacity: usize) -> Result<Self> {
        let space = CodeSpace::new(capacity.min(MAX_CODE))?;
        let view = pack.view()?;
        let templates = pack.templates(&view);
        let buffer = CodeBuffer::new(view, pack.forms());
        let mut unit = Self {
            pack,
            templates,
            buffer,
            space,
            entries: Vec::new(),
            shim: 0,
            unwind: 0,
            wide: false,
        };
        unit.buffer.place_pool(unit.space.bytes_mut());
        unit.shim = unit.place(pack.core().entry);
        unit.unwind = unit.place(pack.core().unwind);
        Ok(unit)
    }

    /// Remembers every stencil for [`Program::listing`].
    #[must_use]
    pub fn with_trace(mut self) -> Self {
        self.buffer.trace = Some(Vec::new());
        self
    }

    /// Gives each variable and operand in memory 16 bytes, as vectors need, in place of 8. To be said before the first
    /// function.
    #[must_use]
    pub fn with_vectors(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Bytes of a slot, by which arguments and results follow one another in memory: 8, or 16 in a unit
    /// [`with_vectors`](Self::with_vectors).
    pub fn slot_bytes(&self) -> u32 {
        if self.wide { 16 } else { 8 }
    }

    /// Bytes of code so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is no code; never, since the shims come first.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Emits an operation without operands, values or targets, aligned as a function, and gives its offset.
    fn place(&mut self, op: OpId) -> u32 {
        self.buffer
            .align(self.space.bytes_mut(), FUNCTION_ALIGNMENT);
        let at = self.buffer.len() as u32;
        self.emit_plain(op);
        at
    }

    /// Emits an operation that has neither operands nor values.
    pub(crate) fn emit_plain(&mut self, op: OpId) {
        self.emit_values(op, 0, &Values::default(), Target::None, 0);
    }

    /// Emits the form of an operation that has its operands in registers, whose numbers make up `index`.
    pub(crate) fn emit_values(
        &mut self,
        op: OpId,
        index: u32,
        values: &Values,
        target: Target,
        source: u32,
    ) {
        let forms = self.pack.forms();
        let form = forms.find(&self.pack.info(op).forms, FormKey::registers());
        let row = form.and_then(|form| forms.admit(form, values));
        let (Some(form), Some(row)) = (form, row) else {
            self.buffer.fail(Error::Missing {
                what: format!("stencil of operation {} for these values", op.index()),
            });
            return;
        };
        let emit = Emit {
            row: row + index,
            form,
            target,
            source,
        };
        self.buffer.emit(self.space.bytes_mut(), &emit, values);
    }

    /// Appends an instruction that faults, recorded as a trap of that kind.
    pub(crate) fn raise(&mut self, kind: u8, source: u32) {
        let instruction = &self.pack.metadata().machine.trap_instruction;
        self.buffer
            .raise(self.space.bytes_mut(), instruction, kind, source);
    }

    /// Begins the code of a function.
    pub(crate) fn begin_function(&mut self, index: u32) {
        self.buffer
            .align(self.space.bytes_mut(), FUNCTION_ALIGNMENT);
        self.buffer.function = index;
        let at = index as usize;
        if at >= MAX_FUNCTIONS {
            self.buffer.fail(Error::Limit {
                what: "number of functions",
            });
            return;
        }
        if at >= self.entries.len() {
            self.entries.resize(at + 1, NO_ENTRY);
        }
        self.entries[at] = self.buffer.len() as u32;
    }

    /// Ends the code of a function.
    pub(crate) fn end_function(&mut self) {
        self.buffer.end_function(
            self.space.bytes_mut(),
            &self.pack.metadata().machine.trap_instruction,
        );
    }

    /// Resolves the calls between functions and makes the code executable.
    ///
    /// # Errors
    /// What went wrong first while code was generated, or [`Error::Memory`].
    pub fn finish(mut self) -> Result<Program> {
        let slot_bytes = self.slot_bytes();
        self.buffer.link(self.space.bytes_mut(), &self.entries);
        if let Some(error) = self.buffer.take_error() {
            return Err(error);
        }
        let used = self.buffer.len();
        let code = self.space.publish(used)?;
        let listing: Option<Vec<Emitted>> = self.buffer.trace.take();
        let sites = std::mem::take(&mut self.buffer.sites);
        Ok(Program::new(
            self.pack,
            code,
            self.entries,
            sites,
            self.shim,
            self.unwind,
            slot_bytes,
            listing,
        )?)
    }
}

/// Branches between functions reach at least this far on every target that has a pack.
const MAX_CODE: usize = 1 << 30;
/// Functions of a unit.
const MAX_FUNCTIONS: usize = 1 << 24;
