//! The C interface of plugins, version 2.
//!
//! A plugin `libNAME.so` exports a [`PluginTable`] as `copatch_plugin_v2_NAME` or plain `copatch_plugin_v2`. Memory that crosses the boundary is either lent for the length of a call
//! ([`Bytes`]) or owned by the plugin and given back through [`PluginTable::free`] ([`Buffer`]).
#![allow(unsafe_code)] // Memory described by pointer and length.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use super::Timings;

/// Version of the interface. The symbol's name carries it too, so that versions can live in one library.
pub const VERSION: u32 = 2;
/// Name of the exported table, or what its name begins with: [`export_plugin!`](crate::export_plugin) adds an underscore and
/// the crate's name, which is the library's too, so that one program can link several front ends.
pub const SYMBOL: &str = "copatch_plugin_v2";

/// The call did what was asked.
pub const OK: u32 = 0;
/// It did not; a message says why.
pub const FAILED: u32 = 1;
/// The plugin panicked; a message says where.
pub const PANICKED: u32 = 2;

/// What a plugin exports.
#[repr(C)]
pub struct PluginTable {
    /// [`VERSION`].
    pub abi_version: u32,
    /// Bytes of the table.
    pub size: u32,
    /// The front end's name; lives as long as the plugin.
    pub name: unsafe extern "C" fn() -> Bytes,
    /// Whether the bytes look like its programs: [`OK`] for yes, [`FAILED`] for no.
    pub probe: unsafe extern "C" fn(program: Bytes, message: *mut Buffer) -> u32,
    /// Compiles; on [`OK`] `compiled` receives what the others take.
    pub compile: unsafe extern "C" fn(
        program: Bytes,
        options: *const CompileArguments,
        compiled: *mut *mut c_void,
        message: *mut Buffer,
    ) -> u32,
    /// Runs.
    pub run: unsafe extern "C" fn(
        compiled: *const c_void,
        options: *const RunArguments,
        result: *mut RunResult,
    ),
    /// Gives JSON in `text` on [`OK`], else a message. `func` is below zero for all functions.
    pub explain: unsafe extern "C" fn(compiled: *const c_void, func: i64, text: *mut Buffer) -> u32,
    /// Gives timings.
    pub timings: unsafe extern "C" fn(
        compiled: *const c_void,
        timings: *mut Timings,
        message: *mut Buffer,
    ) -> u32,
    /// Ends the life of what `compile` gave.
    pub drop: unsafe extern "C" fn(compiled: *mut c_void),
    /// Takes a buffer back.
    pub free: unsafe extern "C" fn(buffer: Buffer),
}

/// Memory lent for a call. A null pointer is the absence of a value.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Bytes {
    ptr: *const u8,
    len: usize,
}

impl Bytes {
    /// No value.
    pub const NONE: Self = Self {
        ptr: null(),
        len: 0,
    };

    /// Lends `bytes`.
    pub const fn new(bytes: &[u8]) -> Self {
        Self {
            ptr: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// What is lent, if anything.
    ///
    /// # Safety
    /// The lender keeps it as it is for `'a`.
    pub unsafe fn get<'a>(self) -> Option<&'a [u8]> {
        // SAFETY: made by `new` on the other side, and lent for `'a`.
        (!self.ptr.is_null()).then(|| unsafe { std::slice::from_raw_parts(self.ptr, self.len) })
    }
}

/// Memory that the plugin allocated.
#[derive(Debug)]
#[repr(C)]
pub struct Buffer {
    ptr: *mut u8,
    len: usize,
}

impl Buffer {
    /// No memory.
    pub const EMPTY: Self = Self {
        ptr: null_mut(),
        len: 0,
    };

    /// Hands over `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self {
            ptr: Box::into_raw(bytes.into_boxed_slice()).cast(),
            len,
        }
    }

    /// What it holds.
    ///
    /// # Safety
    /// Made by [`Buffer::new`] and not freed.
    pub unsafe fn as_slice(&self) -> &[u8] {
        if self.ptr.is_null() {
            return &[];
        }
        // SAFETY: pointer and length are those of a boxed slice.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }

    /// Gives the memory back to the allocator of this library.
    ///
    /// # Safety
    /// Made by [`Buffer::new`] in this library, and freed once.
    pub unsafe fn free(self) {
        if !self.ptr.is_null() {
            // SAFETY: pointer and length are those of a boxed slice of this library's.
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.ptr, self.len)) });
        }
    }
}

/// [`super::CompileOptions`].
#[derive(Debug)]
#[repr(C)]
pub struct CompileArguments {
    /// A path in the system's encoding.
    pub packs_dir: Bytes,
    /// Public keys that packs from there must be signed with, one a line; without a value the caller answers for them.
    pub packs_keys: Bytes,
    /// 0 or 1.
    pub trace: u32,
    /// How many threads to compile on; 0 if the caller does not say.
    pub jobs: u32,
}

/// Two strings: a variable and its value, a folder of the host and its name in the guest.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Pair {
    /// The first.
    pub first: Bytes,
    /// The second.
    pub second: Bytes,
}

/// An array lent for a call.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Array<T> {
    ptr: *const T,
    len: usize,
}

impl<T> Array<T> {
    /// Lends `items`.
    pub const fn new(items: &[T]) -> Self {
        Self {
            ptr: items.as_ptr(),
            len: items.len(),
        }
    }

    /// What is lent.
    ///
    /// # Safety
    /// The lender keeps it as it is for `'a`.
    pub unsafe fn get<'a>(&self) -> &'a [T] {
        // SAFETY: made by `new` on the other side, and lent for `'a`.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// [`super::RunOptions`].
#[derive(Debug)]
#[repr(C)]
pub struct RunArguments {
    /// The program's arguments.
    pub args: Array<Bytes>,
    /// Its environment.
    pub env: Array<Pair>,
    /// Folders: of the host, in the guest.
    pub dirs: Array<Pair>,
    /// The function to call.
    pub invoke: Bytes,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RunStatus {
    /// With `exit_code`.
    Exit = 0,
    /// [`super::RunError::Trap`].
    Trap = 1,
    /// [`super::RunError::Usage`].
    Usage = 2,
    /// [`super::RunError::Failure`].
    Failure = 3,
    /// With a panic.
    Panic = 4,
}

/// The result of a run.
#[derive(Debug)]
#[repr(C)]
pub struct RunResult {
    /// A [`RunStatus`]; a number, since a plugin may send any.
    pub status: u32,
    /// The program's exit code.
    pub exit_code: i32,
    /// The trap's name.
    pub kind: Buffer,
    /// The function that trapped; empty if not known.
    pub function: Buffer,
    /// The message.
    pub message: Buffer,
}

impl RunResult {
    /// A result that says nothing, for the plugin to fill in.
    pub const NONE: Self = Self {
        status: RunStatus::Failure as u32,
        exit_code: 0,
        kind: Buffer::EMPTY,
        function: Buffer::EMPTY,
        message: Buffer::EMPTY,
    };
}
