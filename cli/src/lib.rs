//! What of the `copatch` command is of use to tests, too.

pub mod wast;
