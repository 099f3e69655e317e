//! Property-based conformance of compiled code, for any instruction set.
