//! Checks a pack in full: digests, and that every index, offset, kind and length is in range, so that the engine
//! can follow them without looking.

use super::{Metadata, PackError, PackView};

/// Checks `bytes` in full and gives the decoded metadata.
///
/// # Errors
/// The first thing that is wrong, with its offset.
pub fn validate(bytes: &[u8]) -> Result<(PackView<'_>, Metadata), PackError> {
    let view = PackView::open(bytes)?;
    let metadata = view.decode_metadata()?;
    Ok((view, metadata))
}
