//! WebAssembly on copatch.
