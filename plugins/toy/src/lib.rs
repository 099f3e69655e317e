//! A small language on copatch.
//!
//! ```text
//! text ──parse──┐                ┌──interpret──► output
//!               ├──► Program ────┤
//! bytes ─decode─┘  (check.rs)    └──compile──► machine code ──run──► output
//! ```
mod binary;
mod check;
mod interpret;
mod parse;
mod print;
pub mod program;
mod token;

pub use binary::{DecodeError, MAGIC, VERSION, decode, encode};
pub use interpret::{Output, Stop, interpret};
pub use parse::{SyntaxError, parse};
pub use print::print;
pub use program::Program;
pub use token::Position;
