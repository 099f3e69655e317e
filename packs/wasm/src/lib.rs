//! The stencil packs of the WebAssembly instruction set.
