//! A [`FrontEnd`] as the C interface.
#![allow(unsafe_code)] // The C side of the boundary.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, c_void};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::PathBuf;
use std::sync::Once;

use super::abi::{
    Buffer, Bytes, CompileArguments, FAILED, OK, PANICKED, Pair, PluginTable, RunArguments,
    RunResult, RunStatus, VERSION,
};
use crate::trust::{PackFolder, TrustedKeys};

use super::{CompileOptions, Compiled, FrontEnd, GuestDir, RunError, RunOptions, Timings};

/// Exports a front end from a crate of type `cdylib`, so that [`PluginLibrary`](crate::plugin::PluginLibrary) can load it.
///
/// The type must be a [`FrontEnd`](crate::plugin::FrontEnd) and `Default`; it is made anew for each call, so it should be
/// empty. A crate exports one front end, under a symbol with the crate's name in it; the library must keep that name.
///
/// ```
/// use copatch::plugin::{CompileOptions, Compiled, FrontEnd};
///
/// #[derive(Default)]
/// struct Nothing;
///
/// impl FrontEnd for Nothing {
///     fn name(&self) -> &str { "nothing" }
///     fn probe(&self, bytes: &[u8]) -> bool { bytes.is_empty() }
///     fn compile(&self, _: &[u8], _: &CompileOptions) -> Result<Box<dyn Compiled>, String> {
///         Err("there is nothing to compile".to_owned())
///     }
/// }
///
/// copatch::export_plugin!(Nothing);
/// assert_eq!(COPATCH_PLUGIN.abi_version, 2);
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($front_end:ty) => {
        /// The plugin's table.
        #[allow(unsafe_code)] // An exported symbol; its name has the crate's in it, so that it is the only one.
        #[unsafe(export_name = concat!("copatch_plugin_v2_", env!("CARGO_CRATE_NAME")))]
        pub static COPATCH_PLUGIN: $crate::plugin::abi::PluginTable =
            $crate::plugin::export::table::<$front_end>();
    };
}

/// The table of a front end.
pub const fn table<F: FrontEnd + Default>() -> PluginTable {
    PluginTable {
        abi_version: VERSION,
        size: size_of::<PluginTable>() as u32,
        name: name::<F>,
        probe: probe::<F>,
        compile: compile::<F>,
        run,
        explain,
        timings,
        drop,
        free,
    }
}

/// What a compiled program is on the other side of the boundary.
type Handle = Box<dyn Compiled>;

unsafe extern "C" fn name<F: FrontEnd + Default>() -> Bytes {
    let name = guard(|| F::default().name().to_owned()).unwrap_or_default();
    // Once for a plugin that is never unloaded.
    Bytes::new(name.leak().as_bytes())
}

unsafe extern "C" fn probe<F: FrontEnd + Default>(program: Bytes, message: *mut Buffer) -> u32 {
    // SAFETY: lent for this call.
    let program = unsafe { program.get() }.unwrap_or_default();
    match guard(|| F::default().probe(program)) {
        Ok(true) => OK,
        Ok(false) => FAILED,
        // SAFETY: the caller passes a place for the message.
        Err(panic) => unsafe { give(message, panic, PANICKED) },
    }
}

unsafe extern "C" fn compile<F: FrontEnd + Default>(
    program: Bytes,
    options: *const CompileArguments,
    compiled: *mut *mut c_void,
    message: *mut Buffer,
) -> u32 {
    // SAFETY: lent for this call.
    let (program, options) = unsafe { (program.get().unwrap_or_default(), &*options) };
    let compiled_or_not = || {
        // SAFETY: lent for this call; without keys the caller answers for the packs.
        let packs = unsafe { pack_folder(options)? };
        let options = CompileOptions {
            packs,
            trace: options.trace != 0,
            jobs: NonZeroUsize::new(options.jobs as usize),
        };
        F::default().compile(program, &options)
    };
    match guard(compiled_or_not) {
        Ok(Ok(handle)) => {
            let handle: *mut Handle = Box::into_raw(Box::new(handle));
            // SAFETY: the caller passes a place for it.
            unsafe { compiled.write(handle.cast()) };
            OK
        }
        // SAFETY: the caller passes a place for the message.
        Ok(Err(error)) => unsafe { give(message, error, FAILED) },
        // SAFETY: as above.
        Err(panic) => unsafe { give(message, panic, PANICKED) },
    }
}

/// The folder of packs that a caller names, if it does.
///
/// # Safety
/// What is lent lives through this call, and where the caller gives no keys it answers for the folder's packs.
unsafe fn pack_folder(options: &CompileArguments) -> Result<Option<PackFolder>, String> {
    // SAFETY: lent for this call.
    let (path, keys) = unsafe { (options.packs_dir.get(), options.packs_keys.get()) };
    let Some(path) = path.map(|path| PathBuf::from(OsStr::from_bytes(path))) else {
        return Ok(None);
    };
    let Some(keys) = keys else {
        // SAFETY: the caller answers for them.
        return Ok(Some(unsafe { PackFolder::unsigned(path) }));
    };
    let keys = String::from_utf8_lossy(keys);
    let keys = TrustedKeys::parse(&keys).map_err(|error| error.to_string())?;
    Ok(Some(PackFolder::signed(path, keys)))
}

unsafe extern "C" fn run(
    compiled: *const c_void,
    options: *const RunArguments,
    result: *mut RunResult,
) {
    // SAFETY: `compile` made it, and `drop` was not called; the options are lent for this call.
    let (compiled, options) = unsafe { (&*compiled.cast::<Handle>(), &*options) };
    let outcome = guard(|| {
        // SAFETY: lent for this call.
        let options = unsafe { run_options(options) };
        compiled.run(&options)
    });
    let mut filled = RunResult::NONE;
    let (status, message) = match outcome {
        Ok(Ok(code)) => {
            filled.exit_code = code;
            (RunStatus::Exit, String::new())
        }
        Ok(Err(RunError::Trap {
            kind,
            function,
            message,
        })) => {
            filled.kind = Buffer::new(kind.into_bytes());
            filled.function = function.map_or(Buffer::EMPTY, |name| Buffer::new(name.into_bytes()));
            (RunStatus::Trap, message)
        }
        Ok(Err(RunError::Usage(message))) => (RunStatus::Usage, message),
        Ok(Err(RunError::Failure(message))) => (RunStatus::Failure, message),
        Err(panic) => (RunStatus::Panic, panic),
    };
    filled.status = status as u32;
    filled.message = Buffer::new(message.into_bytes());
    // SAFETY: the caller passes a place for the result.
    unsafe { result.write(filled) };
}

/// # Safety
/// What the options refer to is lent for the call.
unsafe fn run_options(options: &RunArguments) -> RunOptions {
    let string = |bytes: Bytes| {
        // SAFETY: the caller's promise.
        OsStr::from_bytes(unsafe { bytes.get() }.unwrap_or_default()).to_owned()
    };
    let text = |bytes: Bytes| string(bytes).to_string_lossy().into_owned();
    // SAFETY: the caller's promise.
    let (args, env, dirs) = unsafe { (options.args.get(), options.env.get(), options.dirs.get()) };
    RunOptions {
        args: args.iter().map(|arg| string(*arg)).collect(),
        env: env
            .iter()
            .map(|Pair { first, second }| (string(*first), string(*second)))
            .collect(),
        dirs: dirs
            .iter()
            .map(|Pair { first, second }| GuestDir {
                host: string(*first).into(),
                guest: text(*second),
            })
            .collect(),
        // SAFETY: the caller's promise.
        invoke: unsafe { options.invoke.get() }
            .map(|name| String::from_utf8_lossy(name).into_owned()),
    }
}

unsafe extern "C" fn explain(compiled: *const c_void, func: i64, text: *mut Buffer) -> u32 {
    // SAFETY: `compile` made it, and `drop` was not called.
    let compiled = unsafe { &*compiled.cast::<Handle>() };
    match guard(|| {
        compiled
            .explain(u32::try_from(func).ok())
            .map(|explanation| explanation.to_json())
    }) {
        // SAFETY: the caller passes a place for the text.
        Ok(Ok(json)) => unsafe { give(text, json, OK) },
        // SAFETY: as above.
        Ok(Err(error)) => unsafe { give(text, error, FAILED) },
        // SAFETY: as above.
        Err(panic) => unsafe { give(text, panic, PANICKED) },
    }
}

unsafe extern "C" fn timings(
    compiled: *const c_void,
    timings: *mut Timings,
    message: *mut Buffer,
) -> u32 {
    // SAFETY: `compile` made it, and `drop` was not called.
    let compiled = unsafe { &*compiled.cast::<Handle>() };
    match guard(|| compiled.timings()) {
        Ok(found) => {
            // SAFETY: the caller passes a place for it.
            unsafe { timings.write(found) };
            OK
        }
        // SAFETY: as above.
        Err(panic) => unsafe { give(message, panic, PANICKED) },
    }
}

unsafe extern "C" fn drop(compiled: *mut c_void) {
    // SAFETY: `compile` made it from a box, and the caller gives it up.
    let compiled = unsafe { Box::from_raw(compiled.cast::<Handle>()) };
    // A panic here has nobody to tell; what it left half done leaks.
    let _ = guard(|| std::mem::drop(compiled));
}

unsafe extern "C" fn free(buffer: Buffer) {
    // SAFETY: a buffer of this library's, given back once.
    unsafe { buffer.free() };
}

/// # Safety
/// `place` is valid for a write.
unsafe fn give(place: *mut Buffer, text: String, status: u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { place.write(Buffer::new(text.into_bytes())) };
    status
}

thread_local! {
    /// How many guards this thread is in.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
    /// What the panic that is under way said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body`; a panic becomes one line that tells what and where, and nothing is printed.
fn guard<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDS.get() == 0 {
                before(info);
            } else {
                SAID.replace(Some(line(info)));
            }
        }));
    });
    GUARDS.set(GUARDS.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(body));
    GUARDS.set(GUARDS.get() - 1);
    result.map_err(|payload| SAID.take().unwrap_or_else(|| said(&*payload)))
}

fn line(info: &PanicHookInfo<'_>) -> String {
    let what = said(info.payload());
    info.location()
        .map_or(what.clone(), |place| format!("{what} ({place})"))
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
        .replace('\n', " ")
}
