//! WASI preview 1: the calls of ordinary C programs, served by `wasi-common`, whose file access goes through capabilities
//! (`cap-std`) and so stays inside the directories that were opened for the program.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasi_common::WasiCtx;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1 as preview_1;
use wasi_common::sync::{Dir, WasiCtxBuilder, ambient_authority};
use wiggle::GuestMemory;

use crate::error::{Error, Result};
use crate::func::Caller;
use crate::linker::Linker;

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
    pub fn new(options: &WasiOptions) -> Result<Self> {
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
///
/// # Errors
/// [`Error::Import`] if something of it is provided already.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    state: impl Fn(&mut T) -> &mut Wasi + Copy + Send + Sync + 'static,
) -> Result<()> {
    /// One line a call: name and parameter types. Each gives an error number as i32.
    macro_rules! calls {
        ($($name:ident($($arg:ident: $ty:ident),*))*) => {
            $(
                linker.func_wrap(MODULE, stringify!($name), move |mut caller: Caller<'_, T>, $($arg: $ty),*| -> Result<i32> {
                    let (memory, data) = caller.memory_and_data()?;
                    let memory = &mut GuestMemory::Unshared(memory);
                    ready(preview_1::$name(&mut state(data).0, memory, $($arg),*))?.map_err(Error::new)
                })?;
            )*
        };
    }
    calls! {
        args_get(argv: i32, buffer: i32)
        args_sizes_get(count: i32, size: i32)
        environ_get(environ: i32, buffer: i32)
        environ_sizes_get(count: i32, size: i32)
        clock_res_get(clock: i32, resolution: i32)
        clock_time_get(clock: i32, precision: i64, time: i32)
        fd_advise(fd: i32, offset: i64, len: i64, advice: i32)
        fd_allocate(fd: i32, offset: i64, len: i64)
        fd_close(fd: i32)
        fd_datasync(fd: i32)
        fd_fdstat_get(fd: i32, stat: i32)
        fd_fdstat_set_flags(fd: i32, flags: i32)
        fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64)
        fd_filestat_get(fd: i32, stat: i32)
        fd_filestat_set_size(fd: i32, size: i64)
        fd_filestat_set_times(fd: i32, accessed: i64, modified: i64, flags: i32)
        fd_pread(fd: i32, vectors: i32, count: i32, offset: i64, read: i32)
        fd_prestat_get(fd: i32, stat: i32)
        fd_prestat_dir_name(fd: i32, path: i32, len: i32)
        fd_pwrite(fd: i32, vectors: i32, count: i32, offset: i64, written: i32)
        fd_read(fd: i32, vectors: i32, count: i32, read: i32)
        fd_readdir(fd: i32, buffer: i32, len: i32, cookie: i64, used: i32)
        fd_renumber(from: i32, to: i32)
        fd_seek(fd: i32, offset: i64, whence: i32, position: i32)
        fd_sync(fd: i32)
        fd_tell(fd: i32, position: i32)
        fd_write(fd: i32, vectors: i32, count: i32, written: i32)
        path_create_directory(fd: i32, path: i32, len: i32)
        path_filestat_get(fd: i32, flags: i32, path: i32, len: i32, stat: i32)
        path_filestat_set_times(fd: i32, flags: i32, path: i32, len: i32, accessed: i64, modified: i64, set: i32)
        path_link(fd: i32, flags: i32, path: i32, len: i32, new_fd: i32, new_path: i32, new_len: i32)
        path_open(fd: i32, flags: i32, path: i32, len: i32, open: i32, base: i64, inheriting: i64, fd_flags: i32, opened: i32)
        path_readlink(fd: i32, path: i32, len: i32, buffer: i32, buffer_len: i32, used: i32)
        path_remove_directory(fd: i32, path: i32, len: i32)
        path_rename(fd: i32, path: i32, len: i32, new_fd: i32, new_path: i32, new_len: i32)
        path_symlink(path: i32, len: i32, fd: i32, new_path: i32, new_len: i32)
        path_unlink_file(fd: i32, path: i32, len: i32)
        poll_oneoff(subscriptions: i32, events: i32, count: i32, stored: i32)
        proc_raise(signal: i32)
        sched_yield()
        random_get(buffer: i32, len: i32)
        sock_accept(fd: i32, flags: i32, opened: i32)
        sock_recv(fd: i32, vectors: i32, count: i32, flags: i32, read: i32, out: i32)
        sock_send(fd: i32, vectors: i32, count: i32, flags: i32, written: i32)
        sock_shutdown(fd: i32, how: i32)
    }
    // Any code that an i32 holds: the system cuts it down to what it can report.
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<()> {
        Err(Error::Exit(code))
    })?;
    Ok(())
}

/// The result of a call that does not wait: the implementation is synchronous behind an asynchronous interface.
fn ready<R>(future: impl Future<Output = R>) -> Result<R> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => Err(Error::msg("a WASI call did not finish")),
    }
}
