//! The C interface as a [`FrontEnd`].
#![allow(unsafe_code)] // Runs a shared library's code.

use std::env::consts::DLL_PREFIX;
use std::ffi::{OsStr, c_void};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::abi::{
    Array, Buffer, Bytes, CompileArguments, FAILED, OK, Pair, PluginTable, RunArguments, RunResult,
    RunStatus, SYMBOL, VERSION,
};
use super::{CompileOptions, Compiled, Explanation, FrontEnd, RunError, RunOptions, Timings};

/// Why a file is not a plugin that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is no whole shared library.
    #[error("{}: {what}", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        what: String,
    },
    /// The system does not load it.
    #[error("{}: cannot be loaded: {reason}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The loader's reason.
        reason: String,
    },
    /// It loads, but exports no plugin table.
    #[error("{}: no copatch plugin for interface {VERSION}: it exports no symbol {symbols}", path.display())]
    MissingSymbol {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        symbols: String,
    },
    /// Its table is of another version.
    #[error("{}: a plugin for interface {found} (table of {size} bytes), but this is interface {VERSION}", path.display())]
    WrongVersion {
        /// The file.
        path: PathBuf,
        /// The version it says.
        found: u32,
        /// The size it says.
        size: u32,
    },
}

/// A front end in a shared library.
///
/// Libraries are never unloaded: their code, thread-locals and signal handlers may be in use for as long as the process lives.
#[derive(Debug)]
pub struct PluginLibrary {
    path: PathBuf,
    name: String,
    table: &'static PluginTable,
}

impl std::fmt::Debug for PluginTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginTable")
            .field("abi_version", &self.abi_version)
            .finish_non_exhaustive()
    }
}

impl PluginLibrary {
    /// Loads a shared library that exports a plugin.
    ///
    /// This runs its code, as everything done with it does.
    ///
    /// # Errors
    /// [`PluginError`].
    ///
    /// # Safety
    /// The library must be trusted as one trusts a program: its code runs in this process, and what it says of itself is believed.
    pub unsafe fn load(path: &Path) -> Result<Self, PluginError> {
        // A bare name would make the system look in places of its own.
        let path = path.canonicalize().map_err(|source| PluginError::File {
            path: path.to_owned(),
            source,
        })?;
        check_whole(&path)?;
        // SAFETY: initialisers run here; the caller vouches for the library. RTLD_NOW makes missing symbols an error of this
        // call instead of the end of the process later.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
        let library = library.map_err(|error| PluginError::Load {
            path: path.clone(),
            reason: reason(&error),
        })?;
        let library = ManuallyDrop::new(library);
        let table = symbols(&path)
            .iter()
            // SAFETY: the symbol, if it is there, is the address of a table by the interface's definition.
            .find_map(|name| unsafe { library.get::<*const PluginTable>(name.as_bytes()) }.ok())
            .map(|symbol| *symbol)
            .filter(|table| !table.is_null() && table.is_aligned())
            .ok_or_else(|| PluginError::MissingSymbol {
                path: path.clone(),
                symbols: symbols(&path).join(" or "),
            })?;
        // SAFETY: every version of the table begins with these two numbers.
        let (found, size) = unsafe { ((*table).abi_version, (*table).size) };
        if found != VERSION || (size as usize) < size_of::<PluginTable>() {
            return Err(PluginError::WrongVersion { path, found, size });
        }
        // SAFETY: the version says that it is such a table; the library is never unloaded.
        let table = unsafe { &*table };
        // SAFETY: a name lives as long as its plugin.
        let name = unsafe { (table.name)().get() }.unwrap_or_default();
        Ok(Self {
            name: String::from_utf8_lossy(name).into_owned(),
            path,
            table,
        })
    }

    /// The file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// [`FrontEnd::probe`], with the plugin's panic as an error.
    ///
    /// # Errors
    /// One line.
    pub fn try_probe(&self, bytes: &[u8]) -> Result<bool, String> {
        let mut message = Buffer::EMPTY;
        // SAFETY: lends bytes, and a place for a message.
        let status = unsafe { (self.table.probe)(Bytes::new(bytes), &raw mut message) };
        match status {
            OK => Ok(true),
            FAILED => Ok(false),
            status => Err(self.failure(status, message)),
        }
    }

    /// The message of a call that did not succeed.
    fn failure(&self, status: u32, message: Buffer) -> String {
        let message = take(self.table, message);
        if status == FAILED {
            message
        } else {
            self.panicked(&message)
        }
    }

    fn panicked(&self, message: &str) -> String {
        panicked(&self.path, message)
    }
}

fn panicked(path: &Path, message: &str) -> String {
    format!(
        "plugin {}: panicked, which is a bug of the plugin: {message}",
        path.display()
    )
}

/// The names that the table may have in the library at `path`.
fn symbols(path: &Path) -> [String; 2] {
    let file = path
        .file_name()
        .map(OsStr::to_string_lossy)
        .unwrap_or_default();
    let file = file.strip_prefix(DLL_PREFIX).unwrap_or(&file);
    let name = file.split('.').next().unwrap_or_default();
    [
        format!("{SYMBOL}_{}", name.replace('-', "_")),
        SYMBOL.to_owned(),
    ]
}

/// What a buffer of the plugin's holds; gives it back.
fn take(table: &PluginTable, buffer: Buffer) -> String {
    // SAFETY: the plugin made it and gave it to us.
    let text = String::from_utf8_lossy(unsafe { buffer.as_slice() }).into_owned();
    // SAFETY: given back once, to where it came from.
    unsafe { (table.free)(buffer) };
    text
}

/// The dynamic loader's own words.
fn reason(error: &libloading::Error) -> String {
    match error {
        libloading::Error::DlOpen { source } => source.to_string(),
        other => other.to_string(),
    }
}

impl FrontEnd for PluginLibrary {
    fn name(&self) -> &str {
        &self.name
    }

    fn probe(&self, bytes: &[u8]) -> bool {
        self.try_probe(bytes).unwrap_or(false)
    }

    fn compile(&self, bytes: &[u8], options: &CompileOptions) -> Result<Box<dyn Compiled>, String> {
        let packs = options.packs.as_ref();
        let keys = packs
            .and_then(|packs| packs.keys())
            .map(ToString::to_string);
        let arguments = CompileArguments {
            packs_dir: packs.map_or(Bytes::NONE, |packs| lend(packs.path().as_os_str())),
            packs_keys: keys
                .as_ref()
                .map_or(Bytes::NONE, |keys| Bytes::new(keys.as_bytes())),
            trace: u32::from(options.trace),
            jobs: options
                .jobs
                .map_or(0, |jobs| u32::try_from(jobs.get()).unwrap_or(u32::MAX)),
        };
        let (mut handle, mut message) = (null_mut(), Buffer::EMPTY);
        // SAFETY: lends bytes and options, and places for handle and message.
        let status = unsafe {
            (self.table.compile)(
                Bytes::new(bytes),
                &raw const arguments,
                &raw mut handle,
                &raw mut message,
            )
        };
        if status == OK && !handle.is_null() {
            return Ok(Box::new(PluginProgram {
                table: self.table,
                path: self.path.clone(),
                handle,
            }));
        }
        Err(self.failure(status, message))
    }
}

/// A program in a plugin.
struct PluginProgram {
    table: &'static PluginTable,
    path: PathBuf,
    handle: *mut c_void,
}

impl Compiled for PluginProgram {
    fn run(&self, options: &RunOptions) -> Result<i32, RunError> {
        let args: Vec<Bytes> = options.args.iter().map(|arg| lend(arg)).collect();
        let env: Vec<Pair> = options
            .env
            .iter()
            .map(|(key, value)| Pair {
                first: lend(key),
                second: lend(value),
            })
            .collect();
        let dirs: Vec<Pair> = options
            .dirs
            .iter()
            .map(|dir| Pair {
                first: lend(dir.host.as_os_str()),
                second: Bytes::new(dir.guest.as_bytes()),
            })
            .collect();
        let arguments = RunArguments {
            args: Array::new(&args),
            env: Array::new(&env),
            dirs: Array::new(&dirs),
            invoke: options
                .invoke
                .as_ref()
                .map_or(Bytes::NONE, |name| Bytes::new(name.as_bytes())),
        };
        let mut result = RunResult::NONE;
        // SAFETY: the handle is alive; lends options and a place for the result.
        unsafe { (self.table.run)(self.handle, &raw const arguments, &raw mut result) };
        let RunResult {
            status,
            exit_code,
            kind,
            function,
            message,
        } = result;
        let [kind, function, message] =
            [kind, function, message].map(|buffer| take(self.table, buffer));
        const EXIT: u32 = RunStatus::Exit as u32;
        const TRAP: u32 = RunStatus::Trap as u32;
        const USAGE: u32 = RunStatus::Usage as u32;
        const FAILURE: u32 = RunStatus::Failure as u32;
        match status {
            EXIT => Ok(exit_code),
            TRAP => {
                let function = (!function.is_empty()).then_some(function);
                Err(RunError::Trap {
                    kind,
                    function,
                    message,
                })
            }
            USAGE => Err(RunError::Usage(message)),
            FAILURE => Err(RunError::Failure(message)),
            _ => Err(RunError::Failure(panicked(&self.path, &message))),
        }
    }

    fn explain(&self, func: Option<u32>) -> Result<Explanation, String> {
        let mut text = Buffer::EMPTY;
        // SAFETY: the handle is alive; lends a place for the text.
        let status =
            unsafe { (self.table.explain)(self.handle, func.map_or(-1, i64::from), &raw mut text) };
        let text = take(self.table, text);
        match status {
            OK => Explanation::from_json(&text),
            FAILED => Err(text),
            _ => Err(panicked(&self.path, &text)),
        }
    }

    fn timings(&self) -> Timings {
        let (mut timings, mut message) = (Timings::default(), Buffer::EMPTY);
        // SAFETY: the handle is alive; lends places for timings and message.
        unsafe { (self.table.timings)(self.handle, &raw mut timings, &raw mut message) };
        take(self.table, message);
        timings
    }
}

impl Drop for PluginProgram {
    fn drop(&mut self) {
        // SAFETY: made by `compile`, given up once.
        unsafe { (self.table.drop)(self.handle) };
    }
}

fn lend(text: &OsStr) -> Bytes {
    Bytes::new(text.as_bytes())
}

/// Refuses what would crash the dynamic loader instead of making it return an error: an ELF file whose parts lie beyond its
/// end, since it maps them without a look at the file's length.
fn check_whole(path: &Path) -> Result<(), PluginError> {
    let bytes = std::fs::read(path).map_err(|source| PluginError::File {
        path: path.to_owned(),
        source,
    })?;
    let broken = |what: &str| PluginError::NotALibrary {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    if bytes.get(..4) != Some(b"\x7fELF") {
        // Libraries of other systems' formats are left to those systems' loaders.
        return if cfg!(target_vendor = "apple") {
            Ok(())
        } else {
            Err(broken("not a shared library (no ELF header)"))
        };
    }
    let number = |at: usize, size: usize| {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let mut word = [0; 8];
        word[..size].copy_from_slice(field);
        Some(u64::from_le_bytes(word))
    };
    // Offsets of the 64-bit format; of a file of another class or byte order the loader reads no more than the header.
    if bytes.get(4..6) != Some(&[2, 1]) {
        return Ok(());
    }
    let within = |offset: u64, size: u64| {
        offset
            .checked_add(size)
            .is_some_and(|end| end <= bytes.len() as u64)
    };
    let check = || {
        let (segments, sections) = (number(32, 8)?, number(40, 8)?);
        let (segment_size, segment_count) = (number(54, 2)?, number(56, 2)?);
        let (section_size, section_count) = (number(58, 2)?, number(60, 2)?);
        let mut whole = within(segments, segment_size * segment_count)
            && within(sections, section_size * section_count);
        for index in 0..segment_count {
            let at = usize::try_from(segments.checked_add(index * segment_size)?).ok()?;
            whole &= within(
                number(at.checked_add(8)?, 8)?,
                number(at.checked_add(32)?, 8)?,
            );
        }
        Some(whole)
    };
    if check() == Some(true) {
        return Ok(());
    }
    let what = format!(
        "a truncated or damaged shared library: its parts lie beyond its {} bytes",
        bytes.len()
    );
    Err(broken(&what))
}
