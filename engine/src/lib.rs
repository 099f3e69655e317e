//! Loads stencil packs and generates machine code by copying and patching.
