//! What modules share: the stencil pack, its operations by number, and function types with the code that calls them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use copatch::spec::InstructionSet;
use copatch::{Pack, PackFolder, Signature, Unit};

use crate::error::{Error, TrapCode};
use crate::generate::Operations;
use crate::interrupt::Deadline;
use crate::stubs::Stubs;
use crate::types::FuncType;

/// Threads that compile one module, at most.
const MOST_JOBS: usize = 64;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Config {
    packs: Option<PackFolder>,
    max_wasm_stack: usize,
    epochs: bool,
    jobs: usize,
    landing_pads: bool,
}

impl Config {
    /// The built-in packs, 16 MiB of stack for a store, no epochs, compilation on one thread.
    pub fn new() -> Self {
        Self {
            packs: None,
            max_wasm_stack: 16 << 20,
            epochs: false,
            jobs: 1,
            landing_pads: false,
        }
    }

    /// Bytes of stack for the variables of compiled functions, in each store. Where it ends, and where all but
    /// 256 KiB of the thread's own stack are in use, calls trap with [`TrapCode::StackOverflow`].
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Self {
        self.max_wasm_stack = bytes;
        self
    }

    /// Whether stores have an epoch deadline from the start, see
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline). It is then the epoch at which they are made, so
    /// that nothing runs before another one is set. Compiled code is the same either way.
    pub fn epoch_interruption(&mut self, enabled: bool) -> &mut Self {
        self.epochs = enabled;
        self
    }

    /// Compiles the functions of a module on so many threads, the calling one among them; 1, which starts none, if nothing
    /// else is said. Code and errors are the same for any number.
    ///
    /// `wasmtime` is told only whether to, and takes a thread for each processor:
    /// [`std::thread::available_parallelism`] says how many there are.
    ///
    /// A thread costs as much as some kilobytes of WebAssembly take to compile: small modules gain nothing. No more than 64 are
    /// used: each has room of its own for a module's code.
    pub fn parallel_compilation(&mut self, jobs: NonZeroUsize) -> &mut Self {
        self.jobs = jobs.get();
        self
    }

    /// Begins functions and the targets of branch tables with landing pads, and lets indirect branches arrive nowhere else where
    /// the system checks that; see [`Unit::with_landing_pads`]. Off if nothing else is said.
    pub fn landing_pads(&mut self, enabled: bool) -> &mut Self {
        self.landing_pads = enabled;
        self
    }

    /// Takes the stencil packs from this folder instead of the built-in ones. A pack is machine code: a folder comes with the
    /// keys that packs must be signed with.
    pub fn packs(&mut self, folder: PackFolder) -> &mut Self {
        self.packs = Some(folder);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// Compiles modules for this machine. Cheap to clone, shareable between threads.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pack: Arc<Pack>,
    operations: Operations,
    /// The trap of each number of the pack; numbers without one are the host's.
    traps: Vec<Option<TrapCode>>,
    config: Config,
    types: Mutex<Types>,
    epoch: AtomicU64,
    deadlines: Mutex<Vec<Weak<Deadline>>>,
}

/// Function types in use.
#[derive(Debug, Default)]
struct Types {
    entries: HashMap<FuncType, Weak<TypeEntry>>,
    /// The number given last. Numbers are not given twice, so a stale one equals no other.
    last: u32,
}

/// A function type in use, the same for equal types of one engine.
#[derive(Debug)]
pub(crate) struct TypeEntry {
    /// At least 1.
    pub number: u32,
    pub ty: FuncType,
    /// As compiled code has it.
    pub signature: Signature,
    stubs: OnceLock<Stubs>,
    engine: Weak<Inner>,
}

impl TypeEntry {
    /// Code that calls functions of this type from outside; made when it is first needed.
    pub fn stubs(&self) -> Result<&Stubs, Error> {
        if let Some(stubs) = self.stubs.get() {
            return Ok(stubs);
        }
        let inner = self.engine.upgrade().ok_or_else(|| {
            Error::Engine(copatch::Error::Internal {
                what: "a type outlived its engine".to_owned(),
            })
        })?;
        let stubs = Stubs::generate(&Engine { inner }, &self.signature)?;
        // Where two threads made them, one copy is dropped.
        Ok(self.stubs.get_or_init(|| stubs))
    }
}

impl Drop for TypeEntry {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.upgrade() {
            let mut types = lock(&engine.types);
            // Meanwhile another thread may have entered the type anew.
            if types
                .entries
                .get(&self.ty)
                .is_some_and(|entry| entry.strong_count() == 0)
            {
                types.entries.remove(&self.ty);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// An engine for this machine.
    ///
    /// # Errors
    /// [`Error::Engine`] where no pack fits, or one is damaged.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let pack = match &config.packs {
            Some(folder) => {
                let digest = InstructionSet::builtin_digest("wasm").unwrap_or_default();
                Pack::for_host_in(folder, "wasm", digest)?
            }
            None => Pack::for_host(copatch_pack_wasm::packs())?,
        };
        Self::build(pack, config)
    }

    /// An engine with this pack.
    ///
    /// # Errors
    /// [`Error::Engine`] if the pack lacks an operation that WebAssembly needs.
    pub fn with_pack(pack: Arc<Pack>) -> Result<Self, Error> {
        Self::build(pack, &Config::new())
    }

    fn build(pack: Arc<Pack>, config: &Config) -> Result<Self, Error> {
        let operations = Operations::resolve(&pack)?;
        let traps = pack
            .metadata()
            .traps
            .iter()
            .map(|name| TrapCode::from_name(name))
            .collect();
        Ok(Self {
            inner: Arc::new(Inner {
                pack,
                operations,
                traps,
                config: config.clone(),
                types: Mutex::default(),
                epoch: AtomicU64::new(0),
                deadlines: Mutex::default(),
            }),
        })
    }

    /// A unit for code of WebAssembly, of at most so many bytes.
    pub(crate) fn unit(&self, capacity: usize) -> Result<Unit<'_>, Error> {
        let unit = Unit::new(self.pack(), capacity)?;
        Ok(match self.inner.config.landing_pads {
            true => unit.with_landing_pads(),
            false => unit,
        })
    }

    /// The stencil pack in use.
    pub fn pack(&self) -> &Arc<Pack> {
        &self.inner.pack
    }

    /// Whether both are the same engine.
    pub fn same(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Begins the next epoch: programs in stores whose deadline it is are stopped, on whatever thread they run. See
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline).
    ///
    /// It waits for each of them to notice, which takes microseconds where a processor is free to run its thread.
    pub fn increment_epoch(&self) {
        let epoch = self.inner.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        let deadlines: Vec<Arc<Deadline>> = {
            let mut deadlines = lock(&self.inner.deadlines);
            deadlines.retain(|deadline| deadline.strong_count() > 0);
            deadlines.iter().filter_map(Weak::upgrade).collect()
        };
        for deadline in deadlines {
            deadline.reach(epoch);
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::SeqCst)
    }

    pub(crate) fn watch(&self, deadline: &Arc<Deadline>) {
        lock(&self.inner.deadlines).push(Arc::downgrade(deadline));
    }

    pub(crate) fn operations(&self) -> &Operations {
        &self.inner.operations
    }

    pub(crate) fn stack_bytes(&self) -> usize {
        self.inner.config.max_wasm_stack
    }

    /// On how many threads bodies are compiled.
    pub(crate) fn jobs(&self) -> usize {
        self.inner.config.jobs.min(MOST_JOBS)
    }

    pub(crate) fn has_epochs(&self) -> bool {
        self.inner.config.epochs
    }

    /// What a trap of the pack means to WebAssembly.
    pub(crate) fn trap_code(&self, kind: u8) -> Option<TrapCode> {
        self.inner.traps.get(usize::from(kind)).copied().flatten()
    }

    /// The entry of a function type.
    pub(crate) fn intern(&self, ty: &FuncType) -> Arc<TypeEntry> {
        let mut types = lock(&self.inner.types);
        if let Some(entry) = types.entries.get(ty).and_then(Weak::upgrade) {
            return entry;
        }
        types.last += 1;
        let entry = Arc::new(TypeEntry {
            number: types.last,
            ty: ty.clone(),
            signature: ty.code(),
            stubs: OnceLock::new(),
            engine: Arc::downgrade(&self.inner),
        });
        types.entries.insert(ty.clone(), Arc::downgrade(&entry));
        entry
    }
}

/// As [`Engine::new`] with a default configuration.
///
/// # Panics
/// Where that fails.
impl Default for Engine {
    fn default() -> Self {
        match Self::new(&Config::new()) {
            Ok(engine) => engine,
            Err(error) => panic!("no engine: {error}"),
        }
    }
}
