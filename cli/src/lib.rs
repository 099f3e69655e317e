//! The copatch command.
