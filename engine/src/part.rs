//! Parts of a unit: functions that are compiled apart, on any thread, and joined in the order of the code.

use std::sync::Arc;

use crate::builder::FunctionBuilder;
use crate::error::Result;
use crate::pack::Pack;
use crate::unit::Unit;

/// Makes parts of one unit; see [`Unit::parts`]. Each thread takes what it needs from a shared one.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'p> {
    pub(crate) pack: &'p Arc<Pack>,
    pub(crate) capacity: usize,
    pub(crate) landing_pads: bool,
    pub(crate) reach: usize,
    pub(crate) trace: bool,
}

impl<'p> Parts<'p> {
    /// A part without functions, with address space for as much code as the unit may have.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) where it cannot be had.
    pub fn part(&self) -> Result<Part<'p>> {
        let mut unit = Unit::empty(self.pack, self.capacity)?;
        unit.landing_pads = self.landing_pads;
        unit.buffer.reach = self.reach;
        // Where they stand depends on what lies before the part.
        unit.veneers_at = usize::MAX;
        if self.trace {
            unit = unit.with_trace();
        }
        Ok(Part { unit })
    }
}

/// Some functions of a unit, under construction by themselves: [`Unit::join`] puts them behind the others, and leaves the
/// part empty for more.
///
/// They may call every function of the unit; calls are resolved when the whole is finished.
pub struct Part<'p> {
    pub(crate) unit: Unit<'p>,
}

impl<'p> Part<'p> {
    /// Compiles functions into this part. Their numbers are the unit's.
    pub fn builder(&mut self) -> FunctionBuilder<'_, 'p> {
        FunctionBuilder::new(&mut self.unit)
    }
}
