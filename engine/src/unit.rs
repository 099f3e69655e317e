//! Code of many functions under construction, which becomes one [`Program`].

use std::sync::Arc;

use crate::buffer::{CODE_SPACE, CodeBuffer, Emit, Emitted, Target};
use crate::error::{Error, Result};
use crate::forms::{FormId, NO_VALUES, Values};
use crate::memory::CodeSpace;
use crate::pack::{OpId, Pack};
use crate::part::{Part, Parts};
use crate::program::Program;
use crate::sites::Sites;
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
    shim: u32,
    unwind: u32,
    pub(crate) landing_pads: bool,
    /// The size of the code from which on veneers may be needed.
    pub(crate) veneers_at: usize,
}

impl<'p> Unit<'p> {
    /// A unit whose code may grow to `capacity` bytes; address space is reserved, memory is used as code is written.
    ///
    /// # Errors
    /// [`Error::Memory`] where it cannot be had.
    pub fn new(pack: &'p Arc<Pack>, capacity: usize) -> Result<Self> {
        let mut unit = Self::empty(pack, capacity)?;
        unit.buffer.sites = Sites::of_code(capacity);
        if !pack.forms().near_pool() {
            unit.buffer.place_pool(unit.space.bytes_mut());
        }
        unit.shim = unit.place(pack.core().entry);
        unit.unwind = unit.place(pack.core().unwind);
        Ok(unit)
    }

    /// A unit without constant pool and shims: the inside of a [`Part`].
    pub(crate) fn empty(pack: &'p Arc<Pack>, capacity: usize) -> Result<Self> {
        let view = pack.view()?;
        let unit = Self {
            pack,
            templates: pack.templates(&view),
            buffer: CodeBuffer::new(view, pack.forms()),
            space: CodeSpace::new(capacity.min(MAX_CODE))?,
            shim: 0,
            unwind: 0,
            landing_pads: false,
            veneers_at: usize::MAX,
        };
        let call = unit.record(pack.core().call, &Values::default());
        let reach = call.and_then(|(_, row)| unit.buffer.branch_reach(row));
        Ok(unit.with_call_reach(reach.unwrap_or(MAX_CODE)))
    }

    /// Takes calls to reach no farther than so many bytes, so that those of functions farther away go through veneers: for
    /// tests of these. Without it, what calls of the target reach is known from the pack. To be said before the first
    /// function.
    #[must_use]
    pub fn with_call_reach(mut self, bytes: usize) -> Self {
        self.buffer.reach = bytes.min(self.buffer.reach);
        self.put_off_veneers();
        self
    }

    /// The next veneers come before a call that waits for its function is out of their reach.
    fn put_off_veneers(&mut self) {
        self.veneers_at = match self.buffer.reach {
            MAX_CODE.. => usize::MAX,
            reach => self.buffer.len() + reach / 2,
        };
    }

    /// Puts veneers here for the calls that need some.
    fn veneers(&mut self, last: bool) {
        let Some((form, row)) = self.record(self.pack.core().tail_call, &Values::default()) else {
            return;
        };
        let jump = Emit {
            row,
            form,
            target: Target::None,
            source: 0,
        };
        self.buffer
            .align(self.space.bytes_mut(), FUNCTION_ALIGNMENT);
        self.buffer.veneers(self.space.bytes_mut(), &jump, last);
        self.put_off_veneers();
    }

    /// Remembers every stencil for [`Program::listing`].
    #[must_use]
    pub fn with_trace(mut self) -> Self {
        self.buffer.remember();
        self
    }

    /// Begins functions and the targets of branch tables with the instruction at which indirect branches may arrive:
    /// `endbr64`, `bti`, `lpad`. Where the processor and the system check that (Linux on aarch64 with BTI), the code is
    /// published so that they do: an indirect branch to any other place is then an illegal instruction, which no trap
    /// stands for. To be said before the first function.
    #[must_use]
    pub fn with_landing_pads(mut self) -> Self {
        self.landing_pads = true;
        self
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
        self.emit_values(op, 0, &NO_VALUES, Target::None, 0);
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
        let info = self.pack.info(op);
        if let Some((form, row)) = info.forms.known(info.outcome, values) {
            return self.emit_form(form, row + index, values, target, source);
        }
        let Some((form, row)) = self.record(op, values) else {
            self.buffer.fail(Error::Missing {
                what: format!("stencil of operation {} for these values", op.index()),
            });
            return;
        };
        self.emit_form(form, row + index, values, target, source);
    }

    /// Emits a stencil of that form.
    #[inline(never)]
    pub(crate) fn emit_form(
        &mut self,
        form: FormId,
        row: u32,
        values: &Values,
        target: Target,
        source: u32,
    ) {
        let emit = Emit {
            row,
            form,
            target,
            source,
        };
        self.buffer.emit(self.space.bytes_mut(), emit, values);
    }

    /// The form of an operation that has its operands in registers, and its first record for these values.
    #[inline(never)]
    pub(crate) fn record(&self, op: OpId, values: &Values) -> Option<(FormId, u32)> {
        let forms = self.pack.forms();
        let form = forms.find(&self.pack.info(op).forms, FormKey::registers())?;
        Some((form, forms.admit(form, values)?))
    }

    /// Appends an instruction that faults, recorded as a trap of that kind.
    pub(crate) fn raise(&mut self, kind: u8, source: u32) {
        let instruction = &self.pack.metadata().machine.trap_instruction;
        self.buffer
            .raise(self.space.bytes_mut(), instruction, kind, source);
    }

    /// Begins the code of a function.
    pub(crate) fn begin_function(&mut self, index: u32) {
        if self.buffer.len() >= self.veneers_at {
            self.veneers(false);
        }
        self.buffer
            .align(self.space.bytes_mut(), FUNCTION_ALIGNMENT);
        if index >= MAX_FUNCTIONS {
            self.buffer.fail(Error::Limit {
                what: "number of functions",
            });
            return;
        }
        self.buffer.begin_function(index);
        self.landing_pad();
    }

    /// Lets indirect branches arrive here, if they have to be let.
    pub(crate) fn landing_pad(&mut self) {
        if self.landing_pads {
            self.emit_plain(self.pack.core().landing);
        }
    }

    /// Ends the code of a function.
    pub(crate) fn end_function(&mut self) {
        self.buffer.end_function(
            self.space.bytes_mut(),
            &self.pack.metadata().machine.trap_instruction,
        );
    }

    /// What makes parts of this unit, of which functions can be compiled on other threads.
    pub fn parts(&mut self) -> Parts<'p> {
        Parts {
            pack: self.pack,
            capacity: self.space.bytes_mut().len(),
            landing_pads: self.landing_pads,
            reach: self.buffer.reach,
            trace: self.buffer.trace.is_some(),
        }
    }

    /// Puts the functions of a part behind those that are there, with the bytes that they would have had if they had been
    /// compiled in this unit one after another, but for where veneers stand, if there are any. The part is empty afterwards, and
    /// can be filled again.
    ///
    /// # Errors
    /// [`Error::Limit`] where they do not fit; both are then as they were. [`Error::Misuse`] for a part of a unit of another
    /// pack, or with other landing pads.
    pub fn join(&mut self, part: &mut Part<'p>) -> Result<()> {
        let part = &mut part.unit;
        if part.landing_pads != self.landing_pads || !Arc::ptr_eq(part.pack, self.pack) {
            return Err(Error::Misuse {
                what: "a part of another unit",
                at: 0,
            });
        }
        if self.buffer.len().saturating_add(part.len()) >= self.veneers_at {
            self.veneers(false);
        }
        let (memory, code) = (self.space.bytes_mut(), part.space.bytes_mut());
        self.buffer
            .append(memory, &mut part.buffer, code, FUNCTION_ALIGNMENT)
            .ok_or(Error::Limit { what: CODE_SPACE })
    }

    /// Resolves the calls between functions and makes the code executable.
    ///
    /// # Errors
    /// What went wrong first while code was generated, or [`Error::Memory`].
    pub fn finish(mut self) -> Result<Program> {
        if self.veneers_at != usize::MAX {
            self.veneers(true);
        }
        self.buffer.link(self.space.bytes_mut());
        if let Some(error) = self.buffer.take_error() {
            return Err(error);
        }
        let used = self.buffer.len();
        let code = self.space.publish(used, self.landing_pads)?;
        let listing: Option<Vec<Emitted>> = self.buffer.trace.take();
        let sites = std::mem::take(&mut self.buffer.sites);
        Ok(Program::new(
            self.pack,
            code,
            std::mem::take(&mut self.buffer.entries),
            sites.finish(),
            self.shim,
            self.unwind,
            listing,
        )?)
    }
}

/// Bytes of code of a unit, at most. Calls on aarch64 reach an eighth of it; there are veneers for those that do not.
pub(crate) const MAX_CODE: usize = 1 << 30;
/// Functions of a unit.
const MAX_FUNCTIONS: u32 = 1 << 24;
