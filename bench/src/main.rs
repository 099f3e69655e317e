//! copatch measured side by side with other WebAssembly engines, in one run, on one core.

fn main() {}
