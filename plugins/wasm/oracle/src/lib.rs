//! Runs a module made of arbitrary bytes here and in wasmi, and compares everything that can be seen: results, traps, what
//! host functions were called with, globals, memories, tables.
//!
//! ```text
//! bytes ──wasm-smith──► module ──┬─► copatch_wasm ─► steps ──┐
//!                                └─► wasmi ────────► steps ──┴─► equal, or a panic
//! ```
//!
//! The body of the fuzz target `plugins/wasm/fuzz`; ordinary tests run it on random bytes.

mod ours;
mod theirs;

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// What can be seen of a run, one step after another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// What happened, in order.
    steps: Vec<Step>,
    /// Whether the stack was used up, or memory, of which each side has as much as it has: no step after that counts.
    exhausted: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A host function was called: the names it was imported by, and its arguments.
    Host(String, Vec<Seen>),
    /// The module was instantiated, or a function of that name was called.
    /// A trap is told by a name that both sides can tell.
    Ran(String, Result<Vec<Seen>, &'static str>),
    /// A global of that name.
    Global(String, Seen),
    /// Size and digest of a memory of that name.
    Memory(String, u64, u64),
    /// Which elements a table of that name has, and which of them are null.
    Table(String, Vec<bool>),
}

/// A value: a number's bits, or whether a reference is null.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Bits(u64),
    Null(bool),
}

pub(crate) fn digest(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Arguments for a function: words that the module's bytes give.
pub(crate) fn word(data: &[u8], index: usize) -> u64 {
    let digest = digest(&data[data.len() / 2..]);
    // Small numbers reach more than large ones.
    let word = digest.rotate_left(index as u32 * 7);
    if index.is_multiple_of(2) {
        word & 0xff
    } else {
        word
    }
}

/// What of WebAssembly both support, bounded so that nothing takes long.
fn config() -> Config {
    Config {
        canonicalize_nans: true,
        compact_imports_enabled: false,
        custom_descriptors_enabled: false,
        exceptions_enabled: false,
        export_everything: true,
        extended_const_enabled: true,
        gc_enabled: false,
        max_imports: 8,
        max_memory32_bytes: 16 * 65536,
        max_table_elements: 200,
        max_tables: 4,
        memory64_enabled: false,
        memory_max_size_required: true,
        min_funcs: 1,
        relaxed_simd_enabled: false,
        // wasmi 2.0.0 jumps to nowhere in some modules with vectors: the official scripts and the kit judge those.
        simd_enabled: false,
        table_max_size_required: true,
        tail_call_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

/// Instructions after which a loop or a recursion is ended by a trap.
const FUEL: u32 = 1000;

/// How a comparison went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Steps that were compared; 0 if the bytes made no module.
    pub steps: usize,
    /// Calls that returned.
    pub returned: usize,
}

/// Makes a module of `data`, runs it on both sides, and compares.
///
/// # Panics
/// If they differ, or one does not accept the module; the message holds the module's bytes.
pub fn compare(data: &[u8]) -> Compared {
    let mut bytes = Unstructured::new(data);
    let Ok(mut module) = Module::new(config(), &mut bytes) else {
        return Compared::default();
    };
    if module.ensure_termination(FUEL).is_err() {
        return Compared::default();
    }
    compare_module(&module.to_bytes(), data)
}

fn compare_module(module: &[u8], data: &[u8]) -> Compared {
    let ours = ours::run(module, data).unwrap_or_else(|error| fail(module, &error));
    let theirs = theirs::run(module, data).unwrap_or_else(|error| fail(module, &error));
    let both = ours.steps.iter().zip(&theirs.steps);
    let mut compared = Compared::default();
    for (our, their) in both {
        if our != their {
            fail(module, &format!("ours {our:?}, theirs {their:?}"));
        }
        compared.steps += 1;
        compared.returned += usize::from(matches!(our, Step::Ran(_, Ok(_))));
    }
    if !ours.exhausted && !theirs.exhausted && ours.steps.len() != theirs.steps.len() {
        let (ours, theirs) = (ours.steps.len(), theirs.steps.len());
        fail(module, &format!("ours {ours} steps, theirs {theirs}"));
    }
    compared
}

fn fail(module: &[u8], what: &str) -> ! {
    let hex: String = module.iter().map(|byte| format!("{byte:02x}")).collect();
    panic!("{what}\nmodule: {hex}");
}
