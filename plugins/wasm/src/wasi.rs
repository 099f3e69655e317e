//! WASI preview 1: the calls of ordinary C programs, served by `wasi-common`, whose file access goes through capabilities
//! (`cap-std`) and so stays inside the directories that were opened for the program.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use copatch::{Signature, ValueType};
use wasi_common::WasiCtx;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1 as preview_1;
use wasi_common::sync::{Dir, WasiCtxBuilder, ambient_authority};
use wiggle::GuestMemory;

use crate::error::{Error, HostError};
use crate::linker::Linker;
use crate::value::Value;

/// The name that programs import WASI under.
const MODULE: &str = "wasi_snapshot_preview1";

/// What a program gets from its surroundings: arguments, environment, directories, standard streams.
#[derive(Debug, Default)]
pub struct WasiOptions {
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment variables; none are inherited.
    pub env: Vec<(String, String)>,
    /// Directories: the path on this machine, and the path under which the program finds it.
    pub dirs: Vec<(PathBuf, String)>,
}

/// A program's WASI state: its open files, arguments and environment.
pub struct Wasi(WasiCtx);

impl Wasi {
    /// State with this process's standard streams and everything that `options` name.
    ///
    /// # Errors
    /// [`Error::Host`] for a directory that cannot be opened, or an argument or a variable with a zero byte.
    pub fn new(options: &WasiOptions) -> Result<Self, Error> {
        let fault = |what: String| Error::Host(what.into());
        let mut builder = WasiCtxBuilder::new();
        builder.inherit_stdio();
        for arg in &options.args {
            builder
                .arg(arg)
                .map_err(|error| fault(format!("argument {arg:?}: {error}")))?;
        }
        for (name, value) in &options.env {
            builder
                .env(name, value)
                .map_err(|error| fault(format!("variable {name:?}: {error}")))?;
        }
        for (host, guest) in &options.dirs {
            let dir = Dir::open_ambient_dir(host, ambient_authority())
                .map_err(|error| fault(format!("directory {}: {error}", host.display())))?;
            builder
                .preopened_dir(dir, guest)
                .map_err(|error| fault(format!("directory {}: {error}", host.display())))?;
        }
        Ok(Self(builder.build()))
    }
}

impl std::fmt::Debug for Wasi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wasi").finish_non_exhaustive()
    }
}

/// Provides WASI preview 1 in `linker`; `state` finds the program's state in the embedder's data.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    state: impl Fn(&mut T) -> &mut Wasi + Copy + Send + Sync + 'static,
) {
    /// One line a call: name and parameter types. Each gives an error number as i32.
    macro_rules! calls {
        ($($name:ident($($arg:ident: $ty:ident),*))*) => {
            $(
                let signature = Signature { params: vec![$(ValueType::$ty),*], results: vec![ValueType::I32] };
                linker.func(MODULE, stringify!($name), signature, move |mut caller, arguments, results| {
                    let [$(Value::$ty($arg)),*] = *arguments else { return Err(mistyped(stringify!($name))) };
                    let (memory, data) = caller.memory_and_data();
                    let memory = &mut GuestMemory::Unshared(memory);
                    let number = ready(preview_1::$name(&mut state(data).0, memory, $($arg),*))??;
                    if let [result] = results {
                        *result = Value::I32(number);
                    }
                    Ok(())
                });
            )*
        };
    }
    calls! {
        args_get(argv: I32, buffer: I32)
        args_sizes_get(count: I32, size: I32)
        environ_get(environ: I32, buffer: I32)
        environ_sizes_get(count: I32, size: I32)
        clock_res_get(clock: I32, resolution: I32)
        clock_time_get(clock: I32, precision: I64, time: I32)
        fd_advise(fd: I32, offset: I64, len: I64, advice: I32)
        fd_allocate(fd: I32, offset: I64, len: I64)
        fd_close(fd: I32)
        fd_datasync(fd: I32)
        fd_fdstat_get(fd: I32, stat: I32)
        fd_fdstat_set_flags(fd: I32, flags: I32)
        fd_fdstat_set_rights(fd: I32, base: I64, inheriting: I64)
        fd_filestat_get(fd: I32, stat: I32)
        fd_filestat_set_size(fd: I32, size: I64)
        fd_filestat_set_times(fd: I32, accessed: I64, modified: I64, flags: I32)
        fd_pread(fd: I32, vectors: I32, count: I32, offset: I64, read: I32)
        fd_prestat_get(fd: I32, stat: I32)
        fd_prestat_dir_name(fd: I32, path: I32, len: I32)
        fd_pwrite(fd: I32, vectors: I32, count: I32, offset: I64, written: I32)
        fd_read(fd: I32, vectors: I32, count: I32, read: I32)
        fd_readdir(fd: I32, buffer: I32, len: I32, cookie: I64, used: I32)
        fd_renumber(from: I32, to: I32)
        fd_seek(fd: I32, offset: I64, whence: I32, position: I32)
        fd_sync(fd: I32)
        fd_tell(fd: I32, position: I32)
        fd_write(fd: I32, vectors: I32, count: I32, written: I32)
        path_create_directory(fd: I32, path: I32, len: I32)
        path_filestat_get(fd: I32, flags: I32, path: I32, len: I32, stat: I32)
        path_filestat_set_times(fd: I32, flags: I32, path: I32, len: I32, accessed: I64, modified: I64, set: I32)
        path_link(fd: I32, flags: I32, path: I32, len: I32, new_fd: I32, new_path: I32, new_len: I32)
        path_open(fd: I32, flags: I32, path: I32, len: I32, open: I32, base: I64, inheriting: I64, fd_flags: I32, opened: I32)
        path_readlink(fd: I32, path: I32, len: I32, buffer: I32, buffer_len: I32, used: I32)
        path_remove_directory(fd: I32, path: I32, len: I32)
        path_rename(fd: I32, path: I32, len: I32, new_fd: I32, new_path: I32, new_len: I32)
        path_symlink(path: I32, len: I32, fd: I32, new_path: I32, new_len: I32)
        path_unlink_file(fd: I32, path: I32, len: I32)
        poll_oneoff(subscriptions: I32, events: I32, count: I32, stored: I32)
        proc_raise(signal: I32)
        sched_yield()
        random_get(buffer: I32, len: I32)
        sock_accept(fd: I32, flags: I32, opened: I32)
        sock_recv(fd: I32, vectors: I32, count: I32, flags: I32, read: I32, out: I32)
        sock_send(fd: I32, vectors: I32, count: I32, flags: I32, written: I32)
        sock_shutdown(fd: I32, how: I32)
    }
    let signature = Signature {
        params: vec![ValueType::I32],
        results: vec![],
    };
    // Any code that an i32 holds: the system cuts it down to what it can report.
    linker.func(
        MODULE,
        "proc_exit",
        signature,
        |_, arguments, _| match *arguments {
            [Value::I32(code)] => Err(Error::Exit(code).into()),
            _ => Err(mistyped("proc_exit")),
        },
    );
}

/// The linker checks types, so this does not happen.
fn mistyped(name: &str) -> HostError {
    format!("{MODULE}.{name} was called with arguments of other types").into()
}

/// The result of a call that does not wait: the implementation is synchronous behind an asynchronous interface.
fn ready<R>(future: impl Future<Output = R>) -> Result<R, HostError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => Err("a WASI call did not finish".into()),
    }
}
