//! The stencil packs of the Python instruction set for the target that this crate was built for.
//!
//! The files beside this crate are written by the packer and never edited by hand.

/// Bytes at an address that suits a pack's sections.
#[repr(C, align(64))]
struct Aligned<const N: usize>([u8; N]);

/// File name and bytes of each pack for this target; none if there is no pack for it.
pub fn packs() -> &'static [(&'static str, &'static [u8])] {
    PACKS
}

include!(concat!(env!("OUT_DIR"), "/packs.rs"));
