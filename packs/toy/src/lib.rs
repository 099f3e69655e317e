//! The stencil packs of the toy instruction set.
